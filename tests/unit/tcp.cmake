foreach(name tcp tcpframe tcpmap tcpplan)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_transport)
endforeach()
