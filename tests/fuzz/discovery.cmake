foreach(name pointer pointer_inner knock knock_inner answer token dhtwire)
    covim_fuzzer(${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_${name}.c
                 LINK covim_discovery)
endforeach()
