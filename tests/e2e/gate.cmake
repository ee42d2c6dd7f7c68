add_executable(gate_probe ${CMAKE_CURRENT_LIST_DIR}/gate_probe.c)
target_link_libraries(gate_probe PRIVATE covim_gate_client)
foreach(name ops abuse symbols unit junk)
    covim_script_test(e2e/gate_${name}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate_${name}.sh
                      TIMEOUT 120)
endforeach()
