# What is kept: real agents, killed, on a disk that is full, on one that fails.
covim_script_test(e2e/store_killed
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/store_killed.py TIMEOUT 300)
covim_script_test(e2e/store_full
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/store_full.py TIMEOUT 90)
covim_script_test(e2e/store_readonly
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/store_readonly.py TIMEOUT 90)
