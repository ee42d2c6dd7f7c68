foreach(name stun checks gather pathset stunserver pcp portmap plan natkind
             natlife early sockets udp)
    covim_test(unit/${name} SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
               LINK covim_transport)
endforeach()

covim_test(unit/suspend SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_suspend.c
           LINK covim_transport)
target_link_options(unit_suspend PRIVATE
    -Wl,--wrap=timerfd_create,--wrap=timerfd_settime,--wrap=cv_time_suspended)
