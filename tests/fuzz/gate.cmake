covim_fuzzer(gateframe SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_gateframe.c
             LINK covim_transport)
foreach(name gatecore gatews gateconfig)
    covim_fuzzer(${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_${name}.c
                 LINK covim_gate)
endforeach()
covim_fuzzer(gateclient SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_gateclient.c
             LINK covim_transport)
