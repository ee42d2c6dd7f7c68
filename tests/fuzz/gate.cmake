covim_fuzzer(gateframe SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_gateframe.c
             LINK covim_transport)
