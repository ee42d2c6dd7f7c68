/* crdt/chain.h - the items of a client in the order of their clocks.  For crdt/
 * only.
 *
 * Each item leads to the next one of its client.  One in some is marked: the
 * marks lie in a sorted array, in chunks, so a unit is found by a search there
 * and a short walk, or by a walk from the item found last.  An item that is cut
 * off another one only has to be linked behind it; whoever walks too far leaves
 * marks.  A mark that cannot be made for want of memory only makes walks
 * longer. */
#ifndef CV_CRDT_CHAIN_H
#define CV_CRDT_CHAIN_H
#include "crdt/store.h"

/* Items from one mark to the next, about: where they were appended, and where
 * somebody has searched.  There each further step may be another miss of the
 * cache. */
#ifndef CV_MARK_STEP
#define CV_MARK_STEP 8
#endif
#define CV_MARK_WALK 2

/* Is there an item still that was noted once, and is it of this client and does
 * it not begin behind that clock?  Then the chain leads from it to the unit. */
static inline bool cv_chain_leads(const struct cv_doc *doc, uint32_t item,
                                  uint32_t client, uint32_t clock)
{
    const struct cv_item *x;

    if (item == CV_NONE)
        return false;
    x = &doc->items[item];
    return x->client == client && x->len > 0 && x->clock <= clock;
}

/* The item with that unit; clock < next. */
uint32_t cv_chain_search(struct cv_doc *doc, uint32_t client, uint32_t clock);
static inline uint32_t cv_chain_find(const struct cv_doc *doc, uint32_t client,
                                     uint32_t clock)
{
    uint32_t last = doc->clients[client].last;

    if (doc->items[last].clock <= clock)
        return last;
    return cv_chain_search(cv_doc_mutable(doc), client, clock);
}

/* Mark the newest item of its client, or the first. */
void cv_chain_mark(struct cv_doc *doc, uint32_t item);
/* Link an item behind all that its client has. */
static inline void cv_chain_append(struct cv_doc *doc, uint32_t item)
{
    struct cv_item *x = &doc->items[item];
    struct cv_client *c = &doc->clients[x->client];

    x->marked = 0;
    x->succ = CV_NONE;
    if (c->last != CV_NONE)
        doc->items[c->last].succ = item;
    else
        c->first = item;
    c->last = item;
    /* The first one has a mark if any has. */
    if (c->first == item || (++c->unmarked >= CV_MARK_STEP && c->chunks_n > 0))
        cv_chain_mark(doc, item);
}
/* Link an item behind one that it was cut off. */
static inline void cv_chain_divide(struct cv_doc *doc, uint32_t item,
                                   uint32_t right)
{
    struct cv_item *x = &doc->items[item], *y = &doc->items[right];
    struct cv_client *c = &doc->clients[x->client];

    y->marked = 0;
    y->succ = x->succ;
    x->succ = right;
    if (c->last == item)
        c->last = right;
}
/* Take `item` out, which follows `former`: its units are that one's now. */
void cv_chain_join(struct cv_doc *doc, uint32_t former, uint32_t item);

/* The client has no items any more. */
void cv_chain_clear(struct cv_client *c);
/* Bytes that they take. */
size_t cv_chain_size(const struct cv_client *c);
/* Abort if the chain of a client is not what it should be; for tests. */
void cv_chain_check(const struct cv_doc *doc, uint32_t client);
#endif
