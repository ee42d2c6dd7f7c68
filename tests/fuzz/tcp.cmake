covim_fuzzer(tcpframe SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_tcpframe.c
             LINK covim_transport)
