add_executable(gate_probe ${CMAKE_CURRENT_LIST_DIR}/gate_probe.c)
target_link_libraries(gate_probe PRIVATE covim_gate_client)
# Loaded into a gate; without sanitizers, which have to come first.
add_library(gate_tap MODULE ${CMAKE_CURRENT_LIST_DIR}/gate_tap.c)
set_target_properties(gate_tap PROPERTIES PREFIX "")
target_compile_definitions(gate_tap PRIVATE _GNU_SOURCE)
target_compile_options(gate_tap PRIVATE -Wall -Wextra -Wpedantic)
target_link_libraries(gate_tap PRIVATE ${CMAKE_DL_LIBS})
foreach(name ops abuse symbols unit junk leaks)
    covim_script_test(e2e/gate_${name}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate_${name}.sh
                      TIMEOUT 120)
endforeach()
