# What goes wrong for people, and what they are told: real Vims and agents.
foreach(name key unknown network killed identity)
    covim_script_test(e2e/bad_${name}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/bad_${name}.sh
                      TIMEOUT 180)
endforeach()
