# The NATs of the net lab, without a kernel.
add_library(natnet STATIC ${CMAKE_CURRENT_LIST_DIR}/nat.c
            ${CMAKE_CURRENT_LIST_DIR}/../netlab/natkind.c)
target_link_libraries(natnet PUBLIC covim_flags covim_base)
covim_test(sim/nat SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_nat.c LINK natnet)
