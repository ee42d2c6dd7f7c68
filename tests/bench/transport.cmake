add_executable(bench_net ${CMAKE_CURRENT_LIST_DIR}/bench_net.c)
target_link_libraries(bench_net PRIVATE covim_flags covim_transport)
# The library by itself, to compare with; not a benchmark of ours.
add_executable(ngtcp2_bulk ${CMAKE_CURRENT_LIST_DIR}/ngtcp2_bulk.c)
target_link_libraries(ngtcp2_bulk PRIVATE covim_flags covim_transport
                      PkgConfig::NGTCP2 PkgConfig::GNUTLS)
