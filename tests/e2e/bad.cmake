# What goes wrong for people, and what they are told: real Vims and agents.
foreach(name key unknown network killed identity records impostor)
    covim_script_test(e2e/bad_${name}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/bad_${name}.sh
                      TIMEOUT 180)
endforeach()
add_executable(junk ${CMAKE_CURRENT_LIST_DIR}/junk.c)
target_link_libraries(junk PRIVATE covim_flags covim_discovery covim_transport)
add_executable(record ${CMAKE_CURRENT_LIST_DIR}/../netlab/record.c)
target_link_libraries(record PRIVATE covim_flags covim_base)
covim_script_test(e2e/nothing_leaks
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/nothing_leaks.sh TIMEOUT 120)
