covim_test(sim/attempt SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_attempt.c
           LINK covim_transport)
