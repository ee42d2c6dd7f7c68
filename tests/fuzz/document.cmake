covim_fuzzer(journal SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_journal.c
             LINK covim_session)
covim_fuzzer(journal_old SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_journal_old.c
             LINK covim_session)
covim_fuzzer(salvage SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_salvage.c
             LINK covim_session)
covim_fuzzer(document SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_document.c
             LINK covim_session)
covim_fuzzer(presence SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_presence.c
             LINK covim_session)
