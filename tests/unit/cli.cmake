covim_test(unit/delta SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_delta.c
           LINK covim_cli)
covim_test(unit/mirror SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_mirror.c
           LINK covim_cli)
covim_test(unit/rpc SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_rpc.c LINK covim_cli)
covim_test(unit/agent SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_agent.c
           LINK covim_cli TIMEOUT 120)
covim_test(unit/doctor SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_doctor.c
           LINK covim_cli)
covim_test(unit/filesync SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_filesync.c
           LINK session_fakes covim_cli)
