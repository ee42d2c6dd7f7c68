add_library(covim_gate_client STATIC ${CMAKE_CURRENT_LIST_DIR}/gate_client.c)
target_link_libraries(covim_gate_client PUBLIC covim_flags covim_transport)
add_executable(gateload ${CMAKE_CURRENT_LIST_DIR}/gateload.c
               ${CMAKE_CURRENT_LIST_DIR}/gate_flow.c
               ${CMAKE_CURRENT_LIST_DIR}/gate_regain.c)
target_link_libraries(gateload PRIVATE covim_gate_client)
