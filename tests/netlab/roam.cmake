foreach(name roam odd loss)
    covim_script_test(netlab/${name} SCRIPT ${CMAKE_CURRENT_LIST_DIR}/${name}.sh
                      TIMEOUT 240)
endforeach()
