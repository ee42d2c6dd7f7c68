/* crdt/piece.h - a part of an item of text is deleted.  For crdt/ only. */
#ifndef CV_CRDT_PIECE_H
#define CV_CRDT_PIECE_H
#include "crdt/gap.h"
#include "crdt/tree.h"

/* A piece of an item of text, in units and in bytes. */
struct cv_piece {
    uint32_t from, n;
    uint32_t bfrom, bytes;
};

static inline struct cv_piece cv_piece_of(const struct cv_doc *doc,
                                          const struct cv_item *x,
                                          uint32_t bfrom, uint32_t bytes)
{
    uint32_t from = cv_item_units_before(doc, x, bfrom);

    return (struct cv_piece){
        from, cv_item_units_before(doc, x, bfrom + bytes) - from, bfrom, bytes};
}

/* Make a tombstone of a piece of the item at a place, or add it to the
 * tombstone beside it, inside a transaction that has room.  Goes on being the
 * hot place if it is in the hot leaf.  False: nothing was changed, it is all of
 * the item or memory is short. */
bool cv_piece_delete(struct cv_doc *doc, const struct cv_place *p,
                     const struct cv_piece *d);
#endif
