covim_script_test(bench/text_lockfile
                  SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/interop/lockfile.sh
                  ARGS ${CMAKE_CURRENT_LIST_DIR}/text)
