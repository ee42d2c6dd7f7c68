foreach(name bootstrap pointer knock vectors rendezvous dht discovery_live)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_discovery)
endforeach()
