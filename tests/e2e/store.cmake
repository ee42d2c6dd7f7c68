# What is kept: real agents, killed, and on a disk that is full.
covim_script_test(e2e/store_killed
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/store_killed.py TIMEOUT 300)
covim_script_test(e2e/store_full
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/store_full.py TIMEOUT 90)
