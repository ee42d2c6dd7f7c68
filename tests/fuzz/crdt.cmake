covim_fuzzer(crdt_update SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_update.c
             LINK covim_crdt)
# The same with tiny nodes, where short inputs reach every split and every load
# is one of a whole state.
covim_fuzzer(crdt_small SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_update.c
             LINK covim_crdt_small)
covim_fuzzer(crdt_merge SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_merge.c
             LINK covim_crdt)
covim_fuzzer(crdt_sync SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_sync.c
             LINK covim_crdt)
covim_fuzzer(crdt_awareness
             SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_awareness.c
             LINK covim_crdt)
covim_fuzzer(crdt_filter SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_filter.c
             LINK covim_crdt)
covim_fuzzer(crdt_undo SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_crdt_undo.c
             LINK covim_crdt)
