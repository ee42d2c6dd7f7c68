covim_test(unit/crdt_vectors
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_vectors.c
    LINK covim_crdt PkgConfig::JANSSON m)
covim_test(unit/crdt_model
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_model.c
    LINK covim_crdt)

# The same engine with tiny nodes: short histories reach every split and join.
covim_sources(crdt_sources covim_crdt)
covim_library(covim_crdt_small SOURCES ${crdt_sources} LINK covim_core)
target_compile_definitions(covim_crdt_small PUBLIC CV_LEAF_ITEMS=4
                           CV_INNER_NODES=4 CV_CHUNK_MARKS=4 CV_MARK_STEP=2 CV_RUN_BYTES=16
                           CV_SCAN_STEPS=2 CV_BULK_STRUCTS=1 CV_BULK_BYTES=1
                           CV_LOG_COMPACT=64)
covim_test(unit/crdt_model_small
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_model.c
    LINK covim_crdt_small)
covim_test(unit/crdt_vectors_small
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_vectors.c
    LINK covim_crdt_small PkgConfig::JANSSON m)
covim_test(unit/crdt_bulk
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_bulk.c
    LINK covim_crdt_small)
covim_test(unit/crdt_places
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_places.c
    LINK covim_crdt)
covim_test(unit/crdt_places_small
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_places.c
    LINK covim_crdt_small)
covim_test(unit/crdt_doc
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_doc.c
    LINK covim_crdt)
covim_test(unit/crdt_sort
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_sort.c
    LINK covim_crdt)
covim_test(unit/crdt_utf8
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_utf8.c
    LINK covim_crdt)
covim_test(unit/crdt_awareness
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_awareness.c
    LINK covim_crdt)
# Small nodes: more allocations to fail.
covim_test(unit/crdt_memory
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_memory.c
    LINK covim_crdt_small)
target_link_options(unit_crdt_memory PRIVATE
                    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)
covim_test(unit/crdt_undo
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_undo.c
    LINK covim_crdt)
covim_test(unit/crdt_undo_small
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_undo.c
    LINK covim_crdt_small)
covim_test(unit/crdt_undo_memory
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_undo_memory.c
    LINK covim_crdt_small)
target_link_options(unit_crdt_undo_memory PRIVATE
                    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)
covim_test(unit/crdt_authors
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_authors.c
    LINK covim_crdt)
covim_test(unit/crdt_authors_small
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_authors.c
    LINK covim_crdt_small)
covim_test(unit/crdt_growth
    SOURCE ${CMAKE_CURRENT_LIST_DIR}/test_crdt_growth.c
    LINK covim_crdt)

# By itself, as docs/text.md says; and its example with all warnings.
add_executable(example_text ${CMAKE_SOURCE_DIR}/docs/examples/text.c)
target_link_libraries(example_text PRIVATE covim_flags covim_crdt)
covim_script_test(unit/crdt_alone
                  SCRIPT ${CMAKE_CURRENT_LIST_DIR}/crdt_alone.sh)
