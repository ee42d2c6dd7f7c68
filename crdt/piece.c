#include "crdt/piece.h"

#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/txn.h"

/* Where the end or the start of an item goes and a tombstone of the same run
 * is beside it, move the border between the two: backspacing makes no new
 * items.  False if it is not so, or they are in different leaves. */
static inline bool move_border(struct cv_doc *doc, const struct cv_place *p,
                               const struct cv_piece *d)
{
    const struct cv_leaf *l = &doc->leaves[p->leaf];
    struct cv_item *x = &doc->items[p->item], *y;
    uint32_t clock = x->clock + d->from, off = x->off + d->bfrom, newlines;

    if (d->n == x->len || doc->txn.deleted.n == doc->txn.deleted.cap)
        return false;
    if (d->from > 0 && d->from + d->n == x->len && p->pos + 1 < l->n) {
        y = &doc->items[l->at[p->pos + 1].item];
        if (y->kind != CV_KIND_DELETED || y->client != x->client ||
            y->clock != clock + d->n || y->oclient != x->client ||
            y->oclock != y->clock - 1 || y->rclient != x->rclient ||
            y->rclock != x->rclock)
            return false;
        y->clock -= d->n;
        y->oclock -= d->n;
    } else if (d->from == 0 && p->pos > 0) {
        y = &doc->items[l->at[p->pos - 1].item];
        if (y->kind != CV_KIND_DELETED || y->client != x->client ||
            cv_item_end(y) != x->clock || x->oclient != x->client ||
            x->oclock != x->clock - 1 || y->rclient != x->rclient ||
            y->rclock != x->rclock)
            return false;
        x->clock += d->n;
        x->oclock = x->clock - 1;
        x->off += d->bytes;
    } else {
        return false;
    }
    newlines = cv_item_part_newlines(doc, x, off, d->bytes);
    y->len += d->n;
    x->len -= d->n;
    x->bytes -= d->bytes;
    cv_item_add_newlines(x, -(int32_t)newlines);
    cv_store_log_lose(doc, x->client, off, d->bytes);
    cv_txn_deleted(doc, x->client, clock, d->n);
    cv_tree_resize_at(doc, p->leaf, p->pos, -(int32_t)d->bytes, -(int32_t)d->n,
                      -(int32_t)newlines);
    if (p->leaf == doc->hot.leaf)
        cv_hot_back(doc, p->pos, p->start, d->from == 0);
    return true;
}

/* Make a tombstone of a piece of an item.  False: it has to go the long way. */
static bool carve(struct cv_doc *doc, const struct cv_place *p,
                  const struct cv_piece *d)
{
    struct cv_leaf *l;
    struct cv_item *x = &doc->items[p->item], *y = x, *z = x;
    uint32_t behind = x->len - d->from - d->n;
    uint32_t k = (d->from > 0 ? 1u : 0u) + (behind > 0 ? 1u : 0u), newlines;
    uint32_t off = x->off + d->bfrom, pos = p->pos + 1, client = x->client;
    uint32_t clock = x->clock + d->from, leaf = p->leaf, first;
    uint32_t rest = CV_NONE, tomb = p->item;

    if (k == 0 || doc->txn.deleted.n == doc->txn.deleted.cap ||
        cv_store_reserve(doc) != CV_OK)
        return false;
    if (doc->leaves[leaf].n + k > CV_LEAF_ITEMS)
        leaf = cv_tree_split(doc, leaf, &pos);
    first = --pos;
    l = &doc->leaves[leaf];
    x = y = &doc->items[p->item];
    newlines = cv_item_part_newlines(doc, x, off, d->bytes);
    cv_tree_open(l, pos + 1, k);
    if (behind > 0) {
        rest = cv_store_item_new(doc);
        z = &doc->items[rest];
        cv_item_copy(z, x);
    }
    if (d->from > 0) {
        tomb = cv_store_item_new(doc);
        y = &doc->items[tomb];
        cv_item_copy(y, x);
    }
    cv_item_add_newlines(d->from > 0 ? x : z, -(int32_t)newlines);
    if (behind > 0) {
        z->clock += d->from + d->n;
        z->len = behind;
        z->off += d->bfrom + d->bytes;
        z->bytes -= d->bfrom + d->bytes;
        z->oclient = client;
        z->oclock = z->clock - 1;
        cv_chain_divide(doc, p->item, rest);
        l->at[pos + k] = (struct cv_entry){rest, z->bytes};
    }
    if (d->from > 0) {
        y->clock = clock;
        y->oclient = client;
        y->oclock = clock - 1;
        x->len = d->from;
        x->bytes = d->bfrom;
        if (behind > 0)
            cv_item_share_newlines(doc, x, z, x->lines);
        cv_chain_divide(doc, p->item, tomb);
        l->at[pos].vis = d->bfrom;
        l->at[++pos].item = tomb;
    }
    y->kind = CV_KIND_DELETED;
    y->len = d->n;
    y->off = y->bytes = 0;
    l->at[pos].vis = d->bytes;
    cv_store_log_lose(doc, client, off, d->bytes);
    cv_txn_deleted(doc, client, clock, d->n);
    cv_tree_resize_at(doc, leaf, pos, -(int32_t)d->bytes, -(int32_t)d->n,
                      -(int32_t)newlines);
    if (leaf != doc->hot.leaf)
        return true;
    /* It is likely to go on, forwards if there is text behind. */
    if (behind > 0)
        cv_hot_back(doc, pos + 1, p->start + d->bfrom, true);
    else
        cv_hot_back(doc, first, p->start, false);
    return true;
}

bool cv_piece_delete(struct cv_doc *doc, const struct cv_place *p,
                     const struct cv_piece *d)
{
    return move_border(doc, p, d) || carve(doc, p, d);
}
