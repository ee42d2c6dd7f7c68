add_executable(bench_quic ${CMAKE_CURRENT_LIST_DIR}/bench_quic.c)
target_link_libraries(bench_quic PRIVATE covim_quic_world)
