# People with real nodes on this machine, and a DHT of their own.
covim_test(e2e/session SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_real_session.c
           LINK covim_session TIMEOUT 300)
