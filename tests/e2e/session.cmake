# People with real nodes on this machine, and a DHT of their own.
covim_test(e2e/session SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_real_session.c
           LINK covim_session TIMEOUT 300)
covim_test(e2e/covim SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_covim.c
           LINK libcovim)
# The example of the documentation, built and run.
add_executable(example_echo ${CMAKE_SOURCE_DIR}/docs/examples/echo.c)
target_link_libraries(example_echo PRIVATE covim_flags libcovim)
covim_script_test(e2e/echo SCRIPT ${CMAKE_CURRENT_LIST_DIR}/echo.sh TIMEOUT 90)
covim_script_test(e2e/echo_cli SCRIPT ${CMAKE_CURRENT_LIST_DIR}/echo_cli.sh
                  TIMEOUT 120)
covim_script_test(e2e/token_vims
    SCRIPT ${CMAKE_CURRENT_LIST_DIR}/token_vims.sh TIMEOUT 180)
covim_script_test(e2e/token_gate
    SCRIPT ${CMAKE_CURRENT_LIST_DIR}/token_gate.sh TIMEOUT 180)
covim_script_test(e2e/class SCRIPT ${CMAKE_CURRENT_LIST_DIR}/class.sh
                  TIMEOUT 240)
