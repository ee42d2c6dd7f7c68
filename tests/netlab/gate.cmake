covim_script_test(netlab/gate SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate.sh
                  TIMEOUT 180)
