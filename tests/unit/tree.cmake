covim_script_test(unit/format SCRIPT ${CMAKE_SOURCE_DIR}/tests/format.sh)
covim_script_test(unit/man SCRIPT ${CMAKE_SOURCE_DIR}/tests/man.sh)
covim_script_test(unit/docs SCRIPT ${CMAKE_SOURCE_DIR}/tests/docs.sh)
