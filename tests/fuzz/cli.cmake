covim_fuzzer(mirror SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_mirror.c
             LINK covim_cli)
covim_fuzzer(portal SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_portal.c LINK covim_cli)
