add_executable(natprobe ${CMAKE_CURRENT_LIST_DIR}/natprobe.c
               ${CMAKE_CURRENT_LIST_DIR}/natkind.c)
target_link_libraries(natprobe PRIVATE covim_flags covim_base)
# The public segment of every lab.
add_library(wan STATIC ${CMAKE_CURRENT_LIST_DIR}/wan.c)
target_link_libraries(wan PUBLIC covim_flags covim_base)
add_executable(segment ${CMAKE_CURRENT_LIST_DIR}/segment.c)
target_link_libraries(segment PRIVATE wan)
covim_test(netlab/wan SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_wan.c LINK wan)
add_executable(flow ${CMAKE_CURRENT_LIST_DIR}/flow.c)
target_link_libraries(flow PRIVATE covim_flags covim_base)
foreach(name kinds segment topology)
    covim_script_test(netlab/${name} SCRIPT ${CMAKE_CURRENT_LIST_DIR}/${name}.sh
                      TIMEOUT 120)
endforeach()
