foreach(name punchprobe stunprobe portprobe)
    add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
    target_link_libraries(${name} PRIVATE covim_flags covim_transport)
endforeach()
covim_script_test(netlab/punch SCRIPT ${CMAKE_CURRENT_LIST_DIR}/punch.sh
                  TIMEOUT 180)
covim_script_test(netlab/portmap SCRIPT ${CMAKE_CURRENT_LIST_DIR}/portmap.sh
                  TIMEOUT 120)
covim_script_test(netlab/punch_kinds
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/punch_kinds.sh TIMEOUT 180)
covim_script_test(netlab/doctor SCRIPT ${CMAKE_CURRENT_LIST_DIR}/doctor.sh
                  TIMEOUT 240)
covim_script_test(netlab/quiet SCRIPT ${CMAKE_CURRENT_LIST_DIR}/quiet.sh
                  TIMEOUT 240)
