covim_test(sim/meeting SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_meeting.c
           LINK covim_discovery)
