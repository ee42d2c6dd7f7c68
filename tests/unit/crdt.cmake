covim_test(unit/crdt_vectors
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_vectors.c
    LINK covim_crdt PkgConfig::JANSSON m)
