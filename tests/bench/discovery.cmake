add_executable(bench_discovery ${CMAKE_CURRENT_LIST_DIR}/bench_discovery.c)
target_link_libraries(bench_discovery PRIVATE covim_flags covim_discovery
                      PkgConfig::CMOCKA)
