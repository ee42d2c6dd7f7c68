/* crdt/txn.h - what one transaction has changed.  For crdt/ only.
 *
 * One local edit command or one remote update: which clients got structs, from
 * which clock on, which units were deleted, and what an observer will want to
 * know.  From this come the update for the peers and the events. */
#ifndef CV_CRDT_TXN_H
#define CV_CRDT_TXN_H
#include "crdt/store.h"

/* Begin; `notes`: collect what an observer needs. */
static inline void cv_txn_begin(struct cv_doc *doc, bool notes)
{
    /* What earlier ones have marked is void from here on. */
    doc->txn.serial++;
    doc->txn.notes_on = notes;
}

/* More entries than this are not kept as room for the next transaction. */
#define CV_TXN_KEEP 4096

void cv_txn_clear(struct cv_doc *doc);
static inline void cv_txn_end(struct cv_doc *doc)
{
    struct cv_txn *t = &doc->txn;

    if (t->notes.n > 0 || t->touched.n > CV_TXN_KEEP ||
        t->deleted.n > CV_TXN_KEEP || t->keys.n > CV_TXN_KEEP)
        cv_txn_clear(doc);
    t->touched.n = t->deleted.n = t->keys.n = 0;
}

/* The state of a client before the transaction. */
static inline uint32_t cv_txn_before(const struct cv_doc *doc, uint32_t client)
{
    const struct cv_client *c = &doc->clients[client];

    return c->mark == doc->txn.serial ? c->before : c->next;
}

int cv_txn_reserve(struct cv_doc *doc);
/* Room for one more entry of each kind (three notes).  Asked for with each
 * keystroke, from many places: the compiler may not make a call of it. */
__attribute__((always_inline)) static inline int cv_txn_room(struct cv_doc *doc)
{
    const struct cv_txn *t = &doc->txn;

    if (t->touched.n < t->touched.cap && t->deleted.n < t->deleted.cap &&
        t->keys.n < t->keys.cap &&
        (!t->notes_on || t->notes.cap - t->notes.n >= 3))
        return CV_OK;
    return cv_txn_reserve(doc);
}
/* After room was made.  Structs of this client are about to be added: nothing
 * can fail between this and that. */
static inline void cv_txn_touch(struct cv_doc *doc, uint32_t client)
{
    struct cv_client *c = &doc->clients[client];

    if (c->mark == doc->txn.serial)
        return;
    doc->txn.touched.at[doc->txn.touched.n++] = client;
    c->mark = doc->txn.serial;
    c->before = c->next;
    c->newest = c->last;
}
static inline void cv_txn_deleted(struct cv_doc *doc, uint32_t client,
                                  uint32_t clock, uint32_t len)
{
    struct cv_txn *t = &doc->txn;

    if (t->deleted.n > 0) {
        struct cv_deleted *d = &t->deleted.at[t->deleted.n - 1];

        if (d->client == client && d->clock + d->len == clock) {
            d->len += len;
            return;
        }
        if (d->client == client && clock + len == d->clock) {
            d->clock = clock;
            d->len += len;
            return;
        }
    }
    t->deleted.at[t->deleted.n++] = (struct cv_deleted){client, clock, len};
}
void cv_txn_note(struct cv_doc *doc, enum cv_note_kind kind, uint32_t client,
                 uint32_t clock, uint32_t bytes);
/* The value of a map key may have changed (a key list). */
void cv_txn_key(struct cv_doc *doc, uint32_t list);

/* Has anything changed? */
static inline bool cv_txn_news(const struct cv_doc *doc)
{
    return (doc->txn.touched.n | doc->txn.deleted.n) > 0;
}
#endif
