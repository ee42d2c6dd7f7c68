/* tests/crdt_check.h - how a document lies in memory is as crdt/ promises. */
#ifndef CV_TESTS_CRDT_CHECK_H
#define CV_TESTS_CRDT_CHECK_H
#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/tree.h"

/* Abort if a list or the chain of a client is not what it should be. */
static inline void check_store(const struct cv_doc *doc)
{
    cv_hot_settle(doc);
    for (uint32_t i = 0; i < doc->lists_n; i++) {
        if (doc->lists[i].used)
            cv_tree_check(doc, i);
    }
    for (uint32_t i = 0; i < doc->clients_n; i++)
        cv_chain_check(doc, i);
}
#endif
