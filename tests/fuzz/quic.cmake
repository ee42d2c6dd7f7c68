covim_fuzzer(quic SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_quic.c
             LINK covim_quic_world)
