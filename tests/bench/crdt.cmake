add_executable(bench_text ${CMAKE_CURRENT_LIST_DIR}/bench_text.c
               ${CMAKE_CURRENT_LIST_DIR}/floor.c)
target_link_libraries(bench_text PRIVATE covim_flags covim_crdt
                      PkgConfig::JANSSON)
add_executable(bench_authors ${CMAKE_CURRENT_LIST_DIR}/bench_authors.c)
target_link_libraries(bench_authors PRIVATE covim_flags covim_crdt)
