/* crdt/gap.h - short text goes between two items, or on with one.  For crdt/
 * only.
 *
 * Edits of our own and those of others come here once they know the place:
 * there is no conflict, and no node needs more than one split. */
#ifndef CV_CRDT_GAP_H
#define CV_CRDT_GAP_H
#include "crdt/store.h"

/* May text of so many bytes go on with an item?  It is text, the last of its
 * client, and ends the log. */
static inline bool cv_gap_grows(const struct cv_doc *doc,
                                const struct cv_item *x, size_t bytes)
{
    const struct cv_client *c = &doc->clients[x->client];

    return x->kind == CV_KIND_STRING && cv_item_end(x) == c->next &&
           x->off + x->bytes == c->log_len && x->bytes + bytes <= CV_RUN_BYTES;
}
/* It goes on with this one, at `pos` of its leaf, inside a transaction.
 * CV_ERR_NOMEM: nothing was changed. */
CV_MUST_USE int cv_gap_grow(struct cv_doc *doc, uint32_t item, uint32_t pos,
                            const struct cv_text *text);

struct cv_gap {
    uint32_t leaf, pos; /* the new item goes there; pos > 0 */
    uint32_t left;      /* the item before it: its last unit is the origin */
    uint32_t rest;      /* bytes of that one, text, which go behind */
    uint32_t right;     /* the right origin if nothing is cut; CV_NONE: none */
};

/* Make an item of text of at most CV_RUN_BYTES in a gap, the next one of its
 * client, inside a transaction.  The gap then says where it is.  False: memory
 * is short, nothing was changed. */
bool cv_gap_fill(struct cv_doc *doc, struct cv_gap *gap, uint32_t client,
                 const struct cv_text *text);
#endif
