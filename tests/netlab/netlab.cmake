add_executable(natprobe ${CMAKE_CURRENT_LIST_DIR}/natprobe.c
               ${CMAKE_CURRENT_LIST_DIR}/natkind.c)
target_link_libraries(natprobe PRIVATE covim_flags covim_base)
covim_script_test(netlab/kinds SCRIPT ${CMAKE_CURRENT_LIST_DIR}/kinds.sh
                  TIMEOUT 60)
# The public segment of every lab.
add_executable(segment ${CMAKE_CURRENT_LIST_DIR}/segment.c
               ${CMAKE_CURRENT_LIST_DIR}/wan.c)
target_link_libraries(segment PRIVATE covim_flags covim_base)
