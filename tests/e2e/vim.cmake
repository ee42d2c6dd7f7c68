# The editor plugins against a made-up agent: the same scripts in Vim and in
# Neovim.  COVIM_COUNT and COVIM_ROUNDS make the fuzzers run for longer.
add_executable(fake_agent ${CMAKE_CURRENT_LIST_DIR}/fake_agent.c)
target_link_libraries(fake_agent PRIVATE covim_flags PkgConfig::JANSSON
                      PkgConfig::NETTLE)

foreach(editor vim nvim)
    string(REPLACE "nvim" "vim_neovim" prefix e2e/${editor})
    foreach(name session edits names help blame doctor token stored follow)
        covim_script_test(${prefix}_${name}
            SCRIPT ${CMAKE_CURRENT_LIST_DIR}/vim_script.sh
            ARGS ${editor} test_${name}
            ENV "COVIM_FAKE=$<TARGET_FILE:fake_agent>")
    endforeach()
    covim_script_test(${prefix}_changes
        SCRIPT ${CMAKE_CURRENT_LIST_DIR}/vim_script.sh
        ARGS ${editor} fuzz_changes
        ENV "COVIM_FAKE=$<TARGET_FILE:fake_agent>")
    foreach(name modes typing quit undo)
        covim_script_test(${prefix}_${name}
            SCRIPT ${CMAKE_CURRENT_LIST_DIR}/vim_${name}.sh ARGS ${editor}
            ENV "COVIM_FAKE=$<TARGET_FILE:fake_agent>")
    endforeach()
endforeach()
