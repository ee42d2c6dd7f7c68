/* crdt/tree.h - the items of a list in document order.  For crdt/ only.
 *
 * A B+tree: leaves hold items, inner nodes sum what is visible below them in
 * UTF-8 bytes, UTF-16 units and newlines, so any of the three finds a place in
 * O(log n).  Nothing here allocates: cv_store_reserve() comes first. */
#ifndef CV_CRDT_TREE_H
#define CV_CRDT_TREE_H
#include "crdt/store.h"

struct cv_place {
    uint32_t item; /* CV_NONE: there is none */
    uint32_t leaf;
    uint32_t pos;   /* in the leaf */
    uint32_t start; /* where the item begins, in what was searched */
};

/* Tell the parents of the lazy leaf its sums. */
void cv_tree_flush(struct cv_doc *doc);

/* The list that an item is in. */
static inline uint32_t cv_tree_list(const struct cv_doc *doc, uint32_t item)
{
    return doc->leaves[doc->items[item].leaf].list;
}
/* Place of an item in its leaf. */
uint32_t cv_tree_pos(const struct cv_doc *doc, uint32_t item);
/* Neighbours in the list; CV_NONE at the ends. */
uint32_t cv_tree_next(const struct cv_doc *doc, uint32_t item);
uint32_t cv_tree_prev(const struct cv_doc *doc, uint32_t item);
uint32_t cv_tree_first(const struct cv_doc *doc, uint32_t list);
uint32_t cv_tree_last(const struct cv_doc *doc, uint32_t list);

/* Does the item with that first unit follow an item, or with client CV_NONE
 * nothing?  *pos: the place of the former.  *next: what follows, if it is so
 * and not nothing. */
bool cv_tree_followed(const struct cv_doc *doc, uint32_t item, uint32_t client,
                      uint32_t clock, uint32_t *pos, uint32_t *next);

/* Step a place to the next item (start is not kept up); false at the end. */
bool cv_place_next(const struct cv_doc *doc, struct cv_place *p);
/* To the next item that is not deleted, over any number of tombstones in
 * O(log n).  Over format marks too, when nothing else is near them. */
bool cv_place_next_live(const struct cv_doc *doc, struct cv_place *p);
/* Like it, but stays where it is if that is not deleted. */
bool cv_place_live(const struct cv_doc *doc, struct cv_place *p);

/* Split a leaf that has no room for more items at *pos, which is not 0.
 * Returns the leaf where they go now, and *pos in it, not 0 either; so does the
 * hot leaf.  After cv_store_reserve(). */
uint32_t cv_tree_split(struct cv_doc *doc, uint32_t leaf, uint32_t *pos);
/* Link an item behind `left`, or at the start for CV_NONE. */
void cv_tree_insert(struct cv_doc *doc, uint32_t list, uint32_t left,
                    uint32_t item, uint32_t newlines);
/* Link the second part of an item that was cut in two behind the first; both
 * have their final values. */
void cv_tree_divide(struct cv_doc *doc, uint32_t item, uint32_t right);
/* Unlink an item of which nothing is visible. */
void cv_tree_remove(struct cv_doc *doc, uint32_t item);
/* A leaf with fewer items than this looks for a neighbour to join. */
#define CV_LEAF_LOW (CV_LEAF_ITEMS / 4)
/* Items were taken out of a leaf and it has few: join it with a neighbour. */
void cv_tree_mend(struct cv_doc *doc, uint32_t leaf);
/* What is visible of an item changes by this. */
void cv_tree_resize(struct cv_doc *doc, uint32_t item, int32_t bytes,
                    int32_t units, int32_t newlines);
/* The sums of a leaf change by this; the caller keeps up `vis`. */
static inline void cv_tree_weigh(struct cv_doc *doc, uint32_t leaf,
                                 int32_t bytes, int32_t units, int32_t newlines)
{
    struct cv_leaf *l = &doc->leaves[leaf];
    struct cv_list *list = &doc->lists[l->list];

    if (doc->lazy != leaf) {
        cv_tree_flush(doc);
        doc->lazy = leaf;
    }
    l->sum[CV_BYTES] += (uint32_t)bytes;
    l->sum[CV_UNITS] += (uint32_t)units;
    l->sum[CV_NEWLINES] += (uint32_t)newlines;
    list->sum[CV_BYTES] += (uint32_t)bytes;
    list->sum[CV_UNITS] += (uint32_t)units;
    list->sum[CV_NEWLINES] += (uint32_t)newlines;
}
/* cv_tree_resize() when its place in the leaf is known. */
static inline void cv_tree_resize_at(struct cv_doc *doc, uint32_t leaf,
                                     uint32_t pos, int32_t bytes, int32_t units,
                                     int32_t newlines)
{
    struct cv_leaf *l = &doc->leaves[leaf];

    l->at[pos].vis += (uint32_t)bytes;
    cv_tree_weigh(doc, leaf, bytes, units, newlines);
}
/* Make room for `k` more items at `pos` of a leaf that is not too full.  The
 * caller fills it in. */
static inline void cv_tree_open(struct cv_leaf *l, uint32_t pos, uint32_t k)
{
    uint32_t behind = l->n - pos;

    l->n += k;
    l->near = pos;
    memmove(&l->at[pos + k], &l->at[pos], behind * sizeof(*l->at));
}
/* Take items [to, from) out of a leaf. */
static inline void cv_tree_close(struct cv_leaf *l, uint32_t to, uint32_t from)
{
    uint32_t behind = l->n - from;

    l->n -= from - to;
    memmove(&l->at[to], &l->at[from], behind * sizeof(*l->at));
}
/* Free all nodes of a list; the items are not looked at. */
void cv_tree_clear(struct cv_doc *doc, uint32_t list);

/* The item that holds what lies before (`ending`) or behind offset `at` of
 * that weight: start < at <= start + w, or start <= at < start + w. */
struct cv_place cv_tree_find(const struct cv_doc *doc, uint32_t list,
                             enum cv_weight weight, uint32_t at, bool ending);
/* The leaf that holds a byte of the list; it is there.  *start: where it
 * begins. */
uint32_t cv_tree_leaf(struct cv_doc *doc, uint32_t list, uint32_t byte,
                      uint32_t *start);
/* How much of a weight lies before this item. */
uint32_t cv_tree_offset(const struct cv_doc *doc, uint32_t item,
                        enum cv_weight weight);
uint32_t cv_tree_leaf_offset(const struct cv_doc *doc, uint32_t leaf,
                             enum cv_weight weight);
/* Does a lie before b in the list that both are in? */
bool cv_tree_before(const struct cv_doc *doc, uint32_t a, uint32_t b);

/* Abort if the tree of a list is not what it should be; for tests. */
void cv_tree_check(const struct cv_doc *doc, uint32_t list);
#endif
