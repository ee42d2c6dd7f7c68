covim_test(sim/session_chaos
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_session_chaos.c
           LINK session_fakes covim_session TIMEOUT 300)
