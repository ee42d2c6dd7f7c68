foreach(name stun checks gather pathset stunserver pcp portmap plan natkind
             sockets)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_transport)
endforeach()
