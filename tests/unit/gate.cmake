covim_test(unit/gateframe SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gateframe.c
           LINK covim_transport)
covim_test(unit/gatecore SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gatecore.c
           LINK covim_gate)
covim_test(unit/gatetrain SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gatetrain.c
           LINK covim_gate)
covim_test(unit/tls SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_tls.c
           LINK covim_transport)
covim_test(unit/gatelink SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gatelink.c
           LINK covim_gate)
covim_test(unit/gates SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gates.c
           LINK covim_gate)
covim_test(unit/gateabuse SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gateabuse.c
           LINK covim_gate)
covim_test(unit/ws SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_ws.c LINK covim_gate)
covim_test(unit/gate_vectors
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gate_vectors.c
           LINK covim_transport)
covim_test(unit/gateways SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gateways.c
           LINK covim_gate PkgConfig::GNUTLS)
covim_test(unit/gatehttp SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_gatehttp.c
           LINK covim_gate)
covim_test(unit/early_net SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_early_net.c
           LINK covim_gate)
