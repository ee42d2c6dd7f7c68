covim_test(unit/textdiff SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_textdiff.c
           LINK covim_session)
covim_test(unit/journal SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_journal.c
           LINK covim_session)
covim_test(unit/document SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_document.c
           LINK covim_session)
