foreach(name bootstrap pointer knock book vectors rendezvous rendezvous_junk
        rendezvous_token token neighbours dht discovery_live quickput)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_discovery)
endforeach()
set_tests_properties(unit/dht unit/discovery_live PROPERTIES
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/tsan.supp")
