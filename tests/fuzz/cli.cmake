covim_fuzzer(mirror SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_mirror.c
             LINK covim_cli)
