add_executable(natprobe ${CMAKE_CURRENT_LIST_DIR}/natprobe.c)
target_link_libraries(natprobe PRIVATE covim_flags covim_transport)
covim_script_test(netlab/kinds SCRIPT ${CMAKE_CURRENT_LIST_DIR}/kinds.sh
                  TIMEOUT 60)
