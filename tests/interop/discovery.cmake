covim_script_test(interop/records
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/records.sh TIMEOUT 60)
