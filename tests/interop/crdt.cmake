covim_program(crdt_driver SOURCES ${CMAKE_CURRENT_LIST_DIR}/crdt_driver.c
              LINK covim_crdt)
covim_script_test(interop/crdt_yjs SCRIPT ${CMAKE_CURRENT_LIST_DIR}/crdt.sh
                  ARGS $<TARGET_FILE:crdt_driver> 150 1 TIMEOUT 300)
covim_script_test(interop/lockfile
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/lockfile.sh)
