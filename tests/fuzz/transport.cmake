foreach(name stun attempt portmap)
    covim_fuzzer(${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_${name}.c
                 LINK covim_transport)
endforeach()
