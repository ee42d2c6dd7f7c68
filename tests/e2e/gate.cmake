add_executable(gate_probe ${CMAKE_CURRENT_LIST_DIR}/gate_probe.c)
target_link_libraries(gate_probe PRIVATE covim_gate_client)
# Loaded into a gate; without sanitizers, which have to come first.
foreach(name tap try)
    add_library(gate_${name} MODULE ${CMAKE_CURRENT_LIST_DIR}/gate_${name}.c)
    set_target_properties(gate_${name} PROPERTIES PREFIX "")
    target_compile_definitions(gate_${name} PRIVATE _GNU_SOURCE)
    target_compile_options(gate_${name} PRIVATE -Wall -Wextra -Wpedantic)
    target_link_libraries(gate_${name} PRIVATE ${CMAKE_DL_LIBS})
endforeach()
foreach(name ops abuse symbols unit junk stale leaks sandbox)
    covim_script_test(e2e/gate_${name}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate_${name}.sh
                      TIMEOUT 120)
endforeach()
foreach(carrier tls udp)
    covim_script_test(e2e/gate_vims_${carrier}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate_vims.sh
                      ARGS ${carrier} TIMEOUT 120)
endforeach()
