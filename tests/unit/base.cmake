foreach(name bytes outbuf addr log crypto key identity keytext bech32m cert loop
        base_alloc)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_base)
endforeach()
target_link_options(unit_base_alloc PRIVATE
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup)

covim_script_test(unit/includes SCRIPT ${CMAKE_SOURCE_DIR}/tests/includes.sh)
