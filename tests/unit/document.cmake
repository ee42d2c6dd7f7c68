covim_test(unit/textdiff SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_textdiff.c
           LINK covim_session)
covim_test(unit/journal SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_journal.c
           LINK covim_session)
covim_test(unit/journal_damage
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_journal_damage.c
           LINK covim_session)
covim_test(unit/journal_nomem
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_journal_nomem.c
           LINK covim_session)
target_link_options(unit_journal_nomem PRIVATE -Wl,--wrap=malloc
                    -Wl,--wrap=calloc -Wl,--wrap=realloc)
covim_test(unit/journal_power
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_journal_power.c
           LINK covim_session TIMEOUT 300)
target_sources(unit_journal_power PRIVATE ${CMAKE_CURRENT_LIST_DIR}/powercut.c)
covim_test(unit/document SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_document.c
           LINK covim_session)
covim_test(unit/document_nomem
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_document_nomem.c
           LINK covim_session)
target_link_options(unit_document_nomem PRIVATE -Wl,--wrap=malloc
                    -Wl,--wrap=calloc -Wl,--wrap=realloc)
covim_test(unit/document_undo
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_document_undo.c
           LINK covim_session)
covim_test(unit/document_authors
           SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_document_authors.c
           LINK covim_session)
