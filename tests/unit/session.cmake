# The fakes stand in for transport and for the DHT node: they come first, so
# that the real ones are not taken from their libraries.
add_library(session_fakes STATIC ${CMAKE_CURRENT_LIST_DIR}/fake_net.c)
target_link_libraries(session_fakes PUBLIC covim_flags covim_base)

foreach(name frame control admission finding session_vectors)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_session)
endforeach()
covim_test(unit/peer SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_peer.c
           LINK session_fakes covim_session)
# With room for few: what happens when there is no more.
covim_sources(session_sources covim_session)
covim_library(covim_session_small
    SOURCES ${session_sources}
    LINK covim_base covim_crdt covim_discovery covim_transport
    LINK_PRIVATE PkgConfig::JANSSON PkgConfig::SQLITE)
target_compile_definitions(covim_session_small PUBLIC CV_MEETING_NEIGHBOURS=2 CV_MEETING_HARD=6
                           CV_MEETING_STRANGERS=4)
covim_test(unit/session_crowd
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_session_crowd.c
           LINK session_fakes covim_session_small TIMEOUT 300)
covim_test(unit/session SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_session.c
           LINK session_fakes covim_session TIMEOUT 300)
