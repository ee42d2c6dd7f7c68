/* tests/crdt_check.h - how a document lies in memory is as crdt/ promises. */
#ifndef CV_TESTS_CRDT_CHECK_H
#define CV_TESTS_CRDT_CHECK_H
#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/tree.h"

/* Abort if a list, the chain of a client or the place of the last edit is not
 * what it should be. */
static inline void check_store(const struct cv_doc *doc)
{
    cv_hot_check(doc);
    for (uint32_t i = 0; i < doc->lists_n; i++) {
        if (doc->lists[i].used)
            cv_tree_check(doc, i);
    }
    for (uint32_t i = 0; i < doc->clients_n; i++)
        cv_chain_check(doc, i);
}

/* An update that waits, for unit 0 of a client who does not come: while it
 * does, none takes the quick way (crdt/quick.h). */
static inline int make_wait(struct cv_doc *doc, uint64_t client)
{
    uint8_t bytes[16];
    struct cv_writer w;

    cv_writer_init(&w, bytes, sizeof(bytes));
    cv_put_varuint(&w, 0); /* structs */
    cv_put_varuint(&w, 1); /* a range of one client */
    cv_put_varuint(&w, client);
    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, 0);
    cv_put_varuint(&w, 1);
    return cv_doc_apply(doc, cv_writer_bytes(&w), NULL, NULL, NULL);
}
#endif
