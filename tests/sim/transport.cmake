covim_test(sim/attempt SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_attempt.c
           LINK natnet covim_transport)
covim_test(sim/early SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_early.c
           LINK natnet covim_transport)
covim_test(sim/net SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_net.c
           LINK covim_transport)
covim_test(sim/paths SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_paths.c
           LINK natnet covim_transport)
covim_test(sim/tcp SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_tcp.c
           LINK covim_transport)
covim_test(sim/quiet SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_quiet.c
           LINK natnet covim_transport)
covim_test(sim/roam SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_roam.c
           LINK natnet covim_transport TIMEOUT 300)
