#include "crdt/txn.h"

#include "crdt/chain.h"
#include <stdlib.h>

#define TRIM(vec)                                                              \
    do {                                                                       \
        if ((vec)->cap > CV_TXN_KEEP) {                                        \
            free((vec)->at);                                                   \
            (vec)->at = NULL;                                                  \
            (vec)->cap = 0;                                                    \
        }                                                                      \
        (vec)->n = 0;                                                          \
    } while (0)

void cv_txn_clear(struct cv_doc *doc)
{
    struct cv_txn *t = &doc->txn;

    for (uint32_t i = 0; i < t->notes.n; i++) {
        const struct cv_note *n = &t->notes.at[i];

        if (n->kind == CV_NOTE_HALF)
            doc->items[cv_chain_find(doc, n->client, n->clock)].fresh = 0;
    }
    TRIM(&t->touched);
    TRIM(&t->deleted);
    TRIM(&t->notes);
    TRIM(&t->keys);
}

int cv_txn_reserve(struct cv_doc *doc)
{
    struct cv_txn *t = &doc->txn;

    if (!cv_vec_reserve(&t->touched, 1) || !cv_vec_reserve(&t->deleted, 1) ||
        !cv_vec_reserve(&t->keys, 1) ||
        (t->notes_on && !cv_vec_reserve(&t->notes, 3)))
        return CV_ERR_NOMEM;
    return CV_OK;
}

void cv_txn_note(struct cv_doc *doc, enum cv_note_kind kind, uint32_t client,
                 uint32_t clock, uint32_t bytes)
{
    struct cv_txn *t = &doc->txn;

    t->notes.at[t->notes.n++] = (struct cv_note){client, clock, bytes, kind};
}

void cv_txn_key(struct cv_doc *doc, uint32_t list)
{
    struct cv_list *l = &doc->lists[list];

    if (!doc->txn.notes_on || l->changed == doc->txn.serial)
        return;
    l->changed = doc->txn.serial;
    doc->txn.keys.at[doc->txn.keys.n++] = list;
}
