covim_test(unit/gateframe SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gateframe.c
           LINK covim_transport)
