foreach(name pointer knock rendezvous)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_discovery)
endforeach()
