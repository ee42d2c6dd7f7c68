# The editor plugins against a made-up agent.
add_executable(fake_agent ${CMAKE_CURRENT_LIST_DIR}/fake_agent.c)
target_link_libraries(fake_agent PRIVATE covim_flags PkgConfig::JANSSON
                      PkgConfig::NETTLE)
