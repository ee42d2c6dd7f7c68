find_program(PYTHON3 python3)
if(PYTHON3)
    add_test(NAME interop/records
             COMMAND ${PYTHON3} ${CMAKE_CURRENT_LIST_DIR}/records.py
                     ${CMAKE_SOURCE_DIR}/docs/protocol.md)
    set_tests_properties(interop/records PROPERTIES TIMEOUT 60
                         SKIP_RETURN_CODE 77)
endif()
