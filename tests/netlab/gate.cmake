covim_script_test(netlab/gate SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate.sh
                  TIMEOUT 360)
covim_script_test(netlab/gate_swaps
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate_swaps.sh TIMEOUT 240)
covim_script_test(netlab/gate_ports
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/gate_ports.sh TIMEOUT 60)
