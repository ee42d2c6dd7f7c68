covim_script_test(netlab/tcp SCRIPT ${CMAKE_CURRENT_LIST_DIR}/tcp.sh
                  TIMEOUT 180)
