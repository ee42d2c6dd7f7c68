/* crdt/gap.h - short text goes between two items.  For crdt/ only.
 *
 * Edits of our own and keystrokes of others come here once they know the place:
 * there is no conflict, and no node needs more than one split. */
#ifndef CV_CRDT_GAP_H
#define CV_CRDT_GAP_H
#include "crdt/store.h"

struct cv_gap {
    uint32_t leaf, pos; /* the new item goes there; pos > 0 */
    uint32_t left;      /* the item before it: its last unit is the origin */
    uint32_t rest;      /* bytes of that one, text, which go behind */
    uint32_t right;     /* the right origin if nothing is cut; CV_NONE: none */
};

/* UTF-16 units that the first `bytes` bytes of an item of text hold. */
static inline uint32_t cv_item_units_before(const struct cv_doc *doc,
                                            const struct cv_item *x,
                                            size_t bytes)
{
    if (x->bytes == x->len)
        return (uint32_t)bytes;
    return (uint32_t)cv_utf8_units(cv_item_content(doc, x), bytes);
}

/* Make an item of text of at most CV_RUN_BYTES in a gap, the next one of its
 * client, inside a transaction.  The gap then says where it is.  False: memory
 * is short, nothing was changed. */
bool cv_gap_fill(struct cv_doc *doc, struct cv_gap *gap, uint32_t client,
                 struct cv_bytes text, uint32_t units);
#endif
