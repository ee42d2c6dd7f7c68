covim_script_test(e2e/two_vims SCRIPT ${CMAKE_CURRENT_LIST_DIR}/two_vims.sh
                  TIMEOUT 240)
covim_script_test(e2e/random_vims
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/random_vims.sh TIMEOUT 180)
covim_script_test(e2e/mass_vims
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/mass_vims.sh TIMEOUT 180)
covim_script_test(e2e/undo_vims
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/undo_vims.sh TIMEOUT 120)
foreach(editor vim nvim)
    covim_script_test(e2e/blame_${editor}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/blame_vims.sh ARGS ${editor} TIMEOUT 150)
    covim_script_test(e2e/follow_${editor}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/follow_vims.sh ARGS ${editor} TIMEOUT 120)
    covim_script_test(e2e/readonly_${editor}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/readonly_vims.sh ARGS ${editor} TIMEOUT 120)
    covim_script_test(e2e/still_${editor}
                      SCRIPT ${CMAKE_CURRENT_LIST_DIR}/still_vims.sh ARGS ${editor} TIMEOUT 150)
endforeach()
