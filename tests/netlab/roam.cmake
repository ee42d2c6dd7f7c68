covim_script_test(netlab/roam SCRIPT ${CMAKE_CURRENT_LIST_DIR}/roam.sh
                  TIMEOUT 240)
