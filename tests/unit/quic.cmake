# Two QUIC ends in memory: the link and the clock are the tests' own.
add_library(covim_quic_world STATIC ${CMAKE_CURRENT_LIST_DIR}/quic_world.c)
target_link_libraries(covim_quic_world PUBLIC covim_transport PkgConfig::CMOCKA
                      PkgConfig::NGTCP2 PkgConfig::GNUTLS)
covim_test(unit/quic_handshake
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_quic_handshake.c
           LINK covim_quic_world)
covim_test(unit/quic_stream
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_quic_stream.c
           LINK covim_quic_world TIMEOUT 300)
covim_test(unit/quic_conn
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_quic_conn.c
           LINK covim_quic_world TIMEOUT 300)
covim_test(unit/quic_nomem
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_quic_nomem.c
           LINK covim_quic_world)
