foreach(name bytes addr log crypto key identity keytext bech32m cert loop)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_base)
endforeach()

covim_script_test(unit/includes SCRIPT ${CMAKE_SOURCE_DIR}/tests/includes.sh)
