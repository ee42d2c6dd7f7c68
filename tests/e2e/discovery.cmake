covim_test(e2e/discovery_lan SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_discovery_lan.c
           LINK covim_discovery)
