#include "crdt/tree.h"

#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/utf8.h"
#include <assert.h>

/* As many as two leaves may have that are joined. */
#define LEAF_JOIN (CV_LEAF_ITEMS * 3 / 4)

/* ---- nodes ---- */

static uint32_t leaf_new(struct cv_doc *doc)
{
    uint32_t i = doc->leaves_free;

    if (i != CV_NONE) {
        doc->leaves_free = doc->leaves[i].next;
        doc->leaves_spare--;
    } else {
        assert(doc->leaves_n < doc->leaves_cap);
        i = doc->leaves_n++;
    }
    doc->leaves[i].n = doc->leaves[i].near = 0;
    doc->leaves[i].parent = CV_NONE;
    doc->leaves[i].prev = doc->leaves[i].next = CV_NONE;
    memset(doc->leaves[i].sum, 0, sizeof(doc->leaves[i].sum));
    return i;
}

static void leaf_free(struct cv_doc *doc, uint32_t i)
{
    doc->leaves[i].next = doc->leaves_free;
    doc->leaves_free = i;
    doc->leaves_spare++;
    if (doc->hot.leaf == i)
        cv_hot_forget(doc);
    else if (doc->hot.former.leaf == i)
        cv_hot_forget_former(doc);
}

static uint32_t inner_new(struct cv_doc *doc)
{
    uint32_t i = doc->inners_free;

    if (i != CV_NONE) {
        doc->inners_free = doc->inners[i].parent;
        doc->inners_spare--;
    } else {
        assert(doc->inners_n < doc->inners_cap);
        i = doc->inners_n++;
    }
    doc->inners[i].n = 0;
    doc->inners[i].parent = CV_NONE;
    return i;
}

static void inner_free(struct cv_doc *doc, uint32_t i)
{
    doc->inners[i].parent = doc->inners_free;
    doc->inners_free = i;
    doc->inners_spare++;
}

/* Place of an item in its leaf: the one of last time, or all are looked at,
 * without a branch, since where a search ends cannot be foreseen, and that
 * costs more. */
static inline uint32_t index_of(const struct cv_doc *doc, uint32_t item)
{
    const struct cv_leaf *l = &doc->leaves[doc->items[item].leaf];
    uint32_t at = 0, n = l->n;

    if (l->near < n && l->at[l->near].item == item)
        return l->near;
    for (uint32_t i = 0; i < CV_LEAF_ITEMS; i++)
        at |= i & -(uint32_t)((l->at[i].item == item) & (i < n));
    cv_doc_mutable(doc)->leaves[doc->items[item].leaf].near = at;
    return at;
}

uint32_t cv_tree_pos(const struct cv_doc *doc, uint32_t item)
{
    return index_of(doc, item);
}

/* ---- sums ---- */

void cv_tree_flush(struct cv_doc *doc)
{
    const struct cv_leaf *leaf;
    uint32_t node, i, d[CV_WEIGHTS];
    struct cv_inner *in;

    assert((doc->hot.typed | doc->hot.gone) == 0);
    if (doc->lazy == CV_NONE)
        return;
    leaf = &doc->leaves[doc->lazy];
    doc->lazy = CV_NONE;
    node = leaf->parent;
    if (node == CV_NONE)
        return;
    in = &doc->inners[node];
    i = leaf->slot;
    /* Differences modulo 2^32. */
    for (uint32_t k = 0; k < CV_WEIGHTS; k++) {
        d[k] = leaf->sum[k] - in->w[k][i];
        in->w[k][i] += d[k];
    }
    if ((d[CV_BYTES] | d[CV_UNITS] | d[CV_NEWLINES]) == 0)
        return;
    while (in->parent != CV_NONE) {
        i = in->slot;
        in = &doc->inners[in->parent];
        for (uint32_t k = 0; k < CV_WEIGHTS; k++)
            in->w[k][i] += d[k];
    }
}

void cv_tree_resize(struct cv_doc *doc, uint32_t item, int32_t bytes,
                    int32_t units, int32_t newlines)
{
    cv_tree_resize_at(doc, doc->items[item].leaf, cv_tree_pos(doc, item), bytes,
                      units, newlines);
}

/* ---- neighbours ---- */

uint32_t cv_tree_first(const struct cv_doc *doc, uint32_t list)
{
    const struct cv_list *l = &doc->lists[list];
    uint32_t node = l->root;

    if (node == CV_NONE)
        return CV_NONE;
    for (uint32_t h = l->height; h > 0; h--)
        node = doc->inners[node].child[0];
    return doc->leaves[node].at[0].item;
}

uint32_t cv_tree_last(const struct cv_doc *doc, uint32_t list)
{
    const struct cv_list *l = &doc->lists[list];
    uint32_t node = l->root;

    if (node == CV_NONE)
        return CV_NONE;
    for (uint32_t h = l->height; h > 0; h--)
        node = doc->inners[node].child[doc->inners[node].n - 1];
    return doc->leaves[node].at[doc->leaves[node].n - 1].item;
}

/* What follows the i-th item of a leaf. */
static uint32_t item_behind(const struct cv_doc *doc, const struct cv_leaf *l,
                            uint32_t i)
{
    if (i + 1 < l->n)
        return l->at[i + 1].item;
    return l->next == CV_NONE ? CV_NONE : doc->leaves[l->next].at[0].item;
}

uint32_t cv_tree_next(const struct cv_doc *doc, uint32_t item)
{
    const struct cv_leaf *l = &doc->leaves[doc->items[item].leaf];

    return item_behind(doc, l, index_of(doc, item));
}

uint32_t cv_tree_prev(const struct cv_doc *doc, uint32_t item)
{
    const struct cv_leaf *l = &doc->leaves[doc->items[item].leaf];
    uint32_t i = index_of(doc, item);

    if (i > 0)
        return l->at[i - 1].item;
    if (l->prev == CV_NONE)
        return CV_NONE;
    l = &doc->leaves[l->prev];
    return l->at[l->n - 1].item;
}

bool cv_tree_followed(const struct cv_doc *doc, uint32_t item, uint32_t client,
                      uint32_t clock, uint32_t *pos, uint32_t *next)
{
    const struct cv_leaf *l = &doc->leaves[doc->items[item].leaf];
    uint32_t found;

    *pos = index_of(doc, item);
    found = item_behind(doc, l, *pos);
    if (found == CV_NONE || client == CV_NONE)
        return found == CV_NONE && client == CV_NONE;
    if (doc->items[found].client != client || doc->items[found].clock != clock)
        return false;
    *next = found;
    return true;
}

bool cv_place_next(const struct cv_doc *doc, struct cv_place *p)
{
    const struct cv_leaf *l = &doc->leaves[p->leaf];

    if (p->pos + 1 < l->n) {
        p->pos++;
    } else if (l->next != CV_NONE) {
        p->leaf = l->next;
        p->pos = 0;
        l = &doc->leaves[p->leaf];
    } else {
        p->item = CV_NONE;
        return false;
    }
    p->item = l->at[p->pos].item;
    return true;
}

/* The first leaf behind this one under which something counts. */
static uint32_t next_live_leaf(const struct cv_doc *doc, uint32_t leaf)
{
    uint32_t node = doc->leaves[leaf].parent, i = doc->leaves[leaf].slot;

    cv_tree_flush(cv_doc_mutable(doc));
    while (node != CV_NONE) {
        const struct cv_inner *in = &doc->inners[node];

        i++;
        while (i < in->n && in->w[CV_UNITS][i] == 0)
            i++;
        if (i < in->n) {
            while (in->level > 1) {
                in = &doc->inners[in->child[i]];
                i = 0;
                while (in->w[CV_UNITS][i] == 0)
                    i++;
            }
            return in->child[i];
        }
        i = in->slot;
        node = in->parent;
    }
    return CV_NONE;
}

bool cv_place_live(const struct cv_doc *doc, struct cv_place *p)
{
    const struct cv_leaf *l = &doc->leaves[p->leaf];

    for (;;) {
        while (p->pos < l->n) {
            if (l->at[p->pos].vis > 0 ||
                !cv_item_deleted(&doc->items[l->at[p->pos].item])) {
                p->item = l->at[p->pos].item;
                return true;
            }
            p->pos++;
        }
        p->leaf = next_live_leaf(doc, p->leaf);
        if (p->leaf == CV_NONE) {
            p->item = CV_NONE;
            return false;
        }
        p->pos = 0;
        l = &doc->leaves[p->leaf];
    }
}

bool cv_place_next_live(const struct cv_doc *doc, struct cv_place *p)
{
    p->pos++;
    return cv_place_live(doc, p);
}

/* ---- inserting ---- */

/* `to` has got what is at the end of `from`: tell these items, and move their
 * sums. */
static void move_items(struct cv_doc *doc, uint32_t from, uint32_t to)
{
    struct cv_leaf *l = &doc->leaves[from], *t = &doc->leaves[to];
    uint32_t bytes = 0, units = 0, newlines = 0;

    for (uint32_t i = 0; i < t->n; i++) {
        struct cv_item *x = &doc->items[t->at[i].item];
        uint32_t lines = x->lines & -(uint32_t)(x->kind == CV_KIND_STRING);

        if (lines == CV_LINES_UNKNOWN)
            lines = cv_item_count_newlines(doc, x);
        x->leaf = to;
        bytes += cv_item_visible(x);
        units += cv_item_units(x);
        newlines += lines;
    }
    t->sum[CV_BYTES] = bytes;
    t->sum[CV_UNITS] = units;
    t->sum[CV_NEWLINES] = newlines;
    for (uint32_t k = 0; k < CV_WEIGHTS; k++)
        l->sum[k] -= t->sum[k];
}

/* Tell the children of a node from the i-th on where they are. */
static void adopt(struct cv_doc *doc, uint32_t node, uint32_t i)
{
    const struct cv_inner *in = &doc->inners[node];

    for (; i < in->n; i++) {
        uint32_t child = in->child[i];

        if (in->level == 1) {
            doc->leaves[child].parent = node;
            doc->leaves[child].slot = i;
        } else {
            doc->inners[child].parent = node;
            doc->inners[child].slot = i;
        }
    }
}

static void put_child(struct cv_doc *doc, uint32_t node, uint32_t i,
                      uint32_t child, const uint32_t sum[CV_WEIGHTS])
{
    struct cv_inner *in = &doc->inners[node];
    uint32_t behind = in->n - i;

    memmove(&in->child[i + 1], &in->child[i], behind * sizeof(uint32_t));
    in->child[i] = child;
    for (uint32_t k = 0; k < CV_WEIGHTS; k++) {
        memmove(&in->w[k][i + 1], &in->w[k][i], behind * sizeof(uint32_t));
        in->w[k][i] = sum[k];
    }
    in->n++;
    adopt(doc, node, i);
}

static void drop_child(struct cv_doc *doc, uint32_t node, uint32_t i)
{
    struct cv_inner *in = &doc->inners[node];
    uint32_t behind = --in->n - i;

    memmove(&in->child[i], &in->child[i + 1], behind * sizeof(uint32_t));
    for (uint32_t k = 0; k < CV_WEIGHTS; k++)
        memmove(&in->w[k][i], &in->w[k][i + 1], behind * sizeof(uint32_t));
    adopt(doc, node, i);
}

static void sum_inner(const struct cv_inner *in, uint32_t sum[CV_WEIGHTS])
{
    memset(sum, 0, CV_WEIGHTS * sizeof(*sum));
    for (uint32_t k = 0; k < CV_WEIGHTS; k++) {
        for (uint32_t i = 0; i < in->n; i++)
            sum[k] += in->w[k][i];
    }
}

/* `right` has been split off `left`, both of height `level` - 1, whose sums
 * are lsum and rsum: tell the parent, splitting it where it is full. */
static void link_right(struct cv_doc *doc, uint32_t list, uint32_t level,
                       uint32_t left, const uint32_t lsum[CV_WEIGHTS],
                       uint32_t right, const uint32_t rsum[CV_WEIGHTS])
{
    uint32_t ls[CV_WEIGHTS], rs[CV_WEIGHTS];
    uint32_t node =
        level == 1 ? doc->leaves[left].parent : doc->inners[left].parent;
    struct cv_inner *in;
    uint32_t i;

    memcpy(ls, lsum, sizeof(ls));
    memcpy(rs, rsum, sizeof(rs));
    for (;;) {
        uint32_t twin, keep;
        struct cv_inner *t;

        if (node == CV_NONE) {
            node = inner_new(doc);
            doc->inners[node].level = level;
            put_child(doc, node, 0, left, ls);
            put_child(doc, node, 1, right, rs);
            doc->lists[list].root = node;
            doc->lists[list].height = level;
            if (level > doc->height_max)
                doc->height_max = level;
            return;
        }
        in = &doc->inners[node];
        i = level == 1 ? doc->leaves[left].slot : doc->inners[left].slot;
        for (uint32_t k = 0; k < CV_WEIGHTS; k++)
            in->w[k][i] = ls[k];
        if (in->n < CV_INNER_NODES) {
            put_child(doc, node, i + 1, right, rs);
            return;
        }
        twin = inner_new(doc);
        in = &doc->inners[node];
        t = &doc->inners[twin];
        t->level = level;
        t->parent = in->parent;
        /* Leave a node full that only grows at its end. */
        keep =
            i + 1 == CV_INNER_NODES ? CV_INNER_NODES - 1 : CV_INNER_NODES / 2;
        t->n = CV_INNER_NODES - keep;
        memcpy(t->child, in->child + keep, t->n * sizeof(uint32_t));
        for (uint32_t k = 0; k < CV_WEIGHTS; k++)
            memcpy(t->w[k], in->w[k] + keep, t->n * sizeof(uint32_t));
        in->n = keep;
        adopt(doc, twin, 0);
        if (i < keep)
            put_child(doc, node, i + 1, right, rs);
        else
            put_child(doc, twin, i + 1 - keep, right, rs);
        sum_inner(in, ls);
        sum_inner(t, rs);
        left = node;
        right = twin;
        node = in->parent;
        level++;
    }
}

/* The places in the leaf have shifted. */
static void cool(struct cv_doc *doc, uint32_t leaf)
{
    struct cv_hot *hot = &doc->hot;

    if (hot->former.leaf == leaf)
        cv_hot_forget_former(doc);
    if (hot->leaf != leaf)
        return;
    hot->pos = 0;
    hot->at = hot->start;
    cv_hot_stop(doc);
}

uint32_t cv_tree_split(struct cv_doc *doc, uint32_t leaf, uint32_t *pos)
{
    uint32_t twin = leaf_new(doc);
    struct cv_leaf *l = &doc->leaves[leaf], *t = &doc->leaves[twin];
    uint32_t keep = *pos == l->n && l->next == CV_NONE ? l->n - 1 : l->n / 2;

    cv_tree_flush(doc);
    t->list = l->list;
    t->parent = l->parent;
    t->n = l->n - keep;
    memcpy(t->at, l->at + keep, t->n * sizeof(*t->at));
    l->n = keep;
    t->prev = leaf;
    t->next = l->next;
    if (l->next != CV_NONE)
        doc->leaves[l->next].prev = twin;
    l->next = twin;
    move_items(doc, leaf, twin);
    link_right(doc, l->list, 1, leaf, l->sum, twin, t->sum);
    cool(doc, leaf);
    if (*pos <= keep)
        return leaf;
    if (doc->hot.leaf == leaf) {
        doc->hot.leaf = twin;
        doc->hot.at = doc->hot.start += l->sum[CV_BYTES];
    }
    *pos -= keep;
    return twin;
}

/* Put an item into a leaf that has room, nothing of it visible yet. */
static void open_leaf(struct cv_doc *doc, uint32_t leaf, uint32_t pos,
                      uint32_t item)
{
    struct cv_leaf *l = &doc->leaves[leaf];

    cv_tree_open(l, pos, 1);
    l->at[pos] = (struct cv_entry){item, 0};
    doc->items[item].leaf = leaf;
    cool(doc, leaf);
}

void cv_tree_insert(struct cv_doc *doc, uint32_t list, uint32_t left,
                    uint32_t item, uint32_t newlines)
{
    const struct cv_item *x = &doc->items[item];
    struct cv_list *l = &doc->lists[list];
    uint32_t at, pos;

    if (l->root == CV_NONE) {
        at = leaf_new(doc);
        doc->leaves[at].list = list;
        l->root = at;
        l->height = 0;
        pos = 0;
    } else if (left != CV_NONE) {
        at = doc->items[left].leaf;
        pos = cv_tree_pos(doc, left) + 1;
    } else {
        at = doc->items[cv_tree_first(doc, list)].leaf;
        pos = 0;
    }
    if (doc->leaves[at].n == CV_LEAF_ITEMS) {
        /* The next leaf may have room at its front. */
        uint32_t next = doc->leaves[at].next;

        if (pos == CV_LEAF_ITEMS && next != CV_NONE &&
            doc->leaves[next].n < CV_LEAF_ITEMS) {
            at = next;
            pos = 0;
        } else {
            at = cv_tree_split(doc, at, &pos);
        }
    }
    open_leaf(doc, at, pos, item);
    cv_tree_resize_at(doc, at, pos, (int32_t)cv_item_visible(x),
                      (int32_t)cv_item_units(x), (int32_t)newlines);
}

void cv_tree_divide(struct cv_doc *doc, uint32_t item, uint32_t right)
{
    const struct cv_item *y = &doc->items[right];
    uint32_t leaf = doc->items[item].leaf, pos = cv_tree_pos(doc, item);
    struct cv_leaf *l = &doc->leaves[leaf];
    uint32_t newlines;

    if (l->n < CV_LEAF_ITEMS) {
        /* The sums stay what they are. */
        open_leaf(doc, leaf, pos + 1, right);
        l->at[pos + 1].vis = cv_item_visible(y);
        l->at[pos].vis -= l->at[pos + 1].vis;
        return;
    }
    newlines = cv_item_newlines(doc, y);
    cv_tree_resize_at(doc, leaf, pos, -(int32_t)cv_item_visible(y),
                      -(int32_t)cv_item_units(y), -(int32_t)newlines);
    cv_tree_insert(doc, l->list, item, right, newlines);
}

/* ---- removing ---- */

/* An inner node has lost a child: drop what became empty or superfluous. */
static void shrink(struct cv_doc *doc, uint32_t list, uint32_t node)
{
    struct cv_list *l = &doc->lists[list];

    while (node != CV_NONE && doc->inners[node].n == 0) {
        uint32_t up = doc->inners[node].parent;

        if (up != CV_NONE)
            drop_child(doc, up, doc->inners[node].slot);
        else
            l->root = CV_NONE;
        inner_free(doc, node);
        node = up;
    }
    while (l->root != CV_NONE && l->height > 0 && doc->inners[l->root].n == 1) {
        uint32_t child = doc->inners[l->root].child[0];

        inner_free(doc, l->root);
        l->root = child;
        if (--l->height == 0)
            doc->leaves[child].parent = CV_NONE;
        else
            doc->inners[child].parent = CV_NONE;
    }
    if (l->root == CV_NONE)
        l->height = 0;
}

static void unlink_leaf(struct cv_doc *doc, uint32_t leaf)
{
    struct cv_leaf *l = &doc->leaves[leaf];
    uint32_t list = l->list, node = l->parent;

    if (l->prev != CV_NONE)
        doc->leaves[l->prev].next = l->next;
    if (l->next != CV_NONE)
        doc->leaves[l->next].prev = l->prev;
    leaf_free(doc, leaf);
    if (node == CV_NONE) {
        doc->lists[list].root = CV_NONE;
        return;
    }
    drop_child(doc, node, doc->leaves[leaf].slot);
    shrink(doc, list, node);
}

/* Move the items of `right` to the end of `left`, its neighbour under the same
 * parent. */
static void join_leaves(struct cv_doc *doc, uint32_t left, uint32_t right)
{
    struct cv_leaf *l = &doc->leaves[left], *r = &doc->leaves[right];
    struct cv_inner *in = &doc->inners[l->parent];

    for (uint32_t k = 0; k < r->n; k++)
        doc->items[r->at[k].item].leaf = left;
    memcpy(l->at + l->n, r->at, r->n * sizeof(*r->at));
    l->n += r->n;
    for (uint32_t k = 0; k < CV_WEIGHTS; k++) {
        l->sum[k] += r->sum[k];
        in->w[k][l->slot] = l->sum[k];
    }
    if (doc->hot.leaf == left)
        cv_hot_forget(doc);
    unlink_leaf(doc, right);
}

void cv_tree_mend(struct cv_doc *doc, uint32_t leaf)
{
    const struct cv_leaf *l = &doc->leaves[leaf];

    if (l->n > 0 && l->parent == CV_NONE)
        return;
    cv_tree_flush(doc);
    if (l->n == 0)
        unlink_leaf(doc, leaf);
    else if (l->next != CV_NONE && doc->leaves[l->next].parent == l->parent &&
             l->n + doc->leaves[l->next].n <= LEAF_JOIN)
        join_leaves(doc, leaf, l->next);
    else if (l->prev != CV_NONE && doc->leaves[l->prev].parent == l->parent &&
             l->n + doc->leaves[l->prev].n <= LEAF_JOIN)
        join_leaves(doc, l->prev, leaf);
}

void cv_tree_remove(struct cv_doc *doc, uint32_t item)
{
    uint32_t leaf = doc->items[item].leaf, pos = cv_tree_pos(doc, item);
    struct cv_leaf *l = &doc->leaves[leaf];

    assert(l->at[pos].vis == 0);
    cv_tree_close(l, pos, pos + 1);
    doc->items[item].leaf = CV_NONE;
    cool(doc, leaf);
    if (l->n < CV_LEAF_LOW)
        cv_tree_mend(doc, leaf);
}

void cv_tree_clear(struct cv_doc *doc, uint32_t list)
{
    struct cv_list *l = &doc->lists[list];
    uint32_t node = l->root, h = l->height;

    cv_tree_flush(doc);
    /* Depth first, freeing the last child of a node as long as it has one. */
    while (node != CV_NONE) {
        uint32_t up;

        while (h > 0 && doc->inners[node].n > 0) {
            node = doc->inners[node].child[doc->inners[node].n - 1];
            h--;
        }
        if (h == 0) {
            up = doc->leaves[node].parent;
            leaf_free(doc, node);
        } else {
            up = doc->inners[node].parent;
            inner_free(doc, node);
        }
        if (up != CV_NONE)
            doc->inners[up].n--;
        node = up;
        h++;
    }
    l->root = CV_NONE;
    l->height = 0;
    memset(l->sum, 0, sizeof(l->sum));
}

/* ---- searching ---- */

/* What an item weighs. */
static uint32_t item_weight(const struct cv_doc *doc, const struct cv_leaf *l,
                            uint32_t i, enum cv_weight weight)
{
    switch (weight) {
    case CV_BYTES:
        return l->at[i].vis;
    case CV_UNITS:
        return cv_item_units(&doc->items[l->at[i].item]);
    case CV_NEWLINES:
    case CV_WEIGHTS:
        break;
    }
    return cv_item_newlines(doc, &doc->items[l->at[i].item]);
}

struct cv_place cv_tree_find(const struct cv_doc *doc, uint32_t list,
                             enum cv_weight weight, uint32_t at, bool ending)
{
    const struct cv_list *l = &doc->lists[list];
    struct cv_place p = {CV_NONE, CV_NONE, 0, 0};
    const struct cv_leaf *leaf;
    uint32_t node = l->root, left = at;

    /* With `ending`, what begins at `left` is already too far. */
    if (node == CV_NONE || left > l->sum[weight] ||
        (ending ? left == 0 : left == l->sum[weight]))
        return p;
    cv_tree_flush(cv_doc_mutable(doc));
    for (uint32_t h = l->height; h > 0; h--) {
        const struct cv_inner *in = &doc->inners[node];
        const uint32_t *w = in->w[weight];
        uint32_t i = 0;

        while (left > w[i] || (left == w[i] && !ending))
            left -= w[i++];
        node = in->child[i];
    }
    leaf = &doc->leaves[node];
    for (uint32_t i = 0;; i++) {
        uint32_t w = item_weight(doc, leaf, i, weight);

        if (left < w || (left == w && ending)) {
            p = (struct cv_place){leaf->at[i].item, node, i, at - left};
            return p;
        }
        left -= w;
    }
}

uint32_t cv_tree_leaf(struct cv_doc *doc, uint32_t list, uint32_t byte,
                      uint32_t *start)
{
    const struct cv_list *l = &doc->lists[list];
    uint32_t node = l->root, left = byte;

    cv_tree_flush(doc);
    for (uint32_t h = l->height; h > 0; h--) {
        const struct cv_inner *in = &doc->inners[node];
        const uint32_t *w = in->w[CV_BYTES];
        uint32_t i = 0;

        while (left >= w[i])
            left -= w[i++];
        node = in->child[i];
    }
    *start = byte - left;
    return node;
}

uint32_t cv_tree_leaf_offset(const struct cv_doc *doc, uint32_t leaf,
                             enum cv_weight weight)
{
    uint32_t node = doc->leaves[leaf].parent, n = doc->leaves[leaf].slot;
    uint32_t sum = 0;

    cv_tree_flush(cv_doc_mutable(doc));
    while (node != CV_NONE) {
        const struct cv_inner *in = &doc->inners[node];

        for (uint32_t i = 0; i < n; i++)
            sum += in->w[weight][i];
        n = in->slot;
        node = in->parent;
    }
    return sum;
}

uint32_t cv_tree_offset(const struct cv_doc *doc, uint32_t item,
                        enum cv_weight weight)
{
    uint32_t leaf = doc->items[item].leaf;
    const struct cv_leaf *l = &doc->leaves[leaf];
    uint32_t sum = cv_tree_leaf_offset(doc, leaf, weight);

    for (uint32_t i = 0; l->at[i].item != item; i++)
        sum += item_weight(doc, l, i, weight);
    return sum;
}

bool cv_tree_before(const struct cv_doc *doc, uint32_t a, uint32_t b)
{
    uint32_t x = doc->items[a].leaf, y = doc->items[b].leaf, px, py;

    if (x == y) {
        const struct cv_leaf *l = &doc->leaves[x];

        for (uint32_t i = 0;; i++) {
            if (l->at[i].item == b)
                return false;
            if (l->at[i].item == a)
                return true;
        }
    }
    px = doc->leaves[x].parent;
    py = doc->leaves[y].parent;
    x = doc->leaves[x].slot;
    y = doc->leaves[y].slot;
    while (px != py) {
        x = doc->inners[px].slot;
        y = doc->inners[py].slot;
        px = doc->inners[px].parent;
        py = doc->inners[py].parent;
    }
    return x < y;
}

/* ---- checking ---- */

static void check_leaf(const struct cv_doc *doc, uint32_t list, uint32_t leaf,
                       uint32_t parent, uint32_t *last,
                       uint32_t sum[CV_WEIGHTS])
{
    const struct cv_leaf *l = &doc->leaves[leaf];

    memset(sum, 0, CV_WEIGHTS * sizeof(*sum));
    cv_expect(l->list == list && l->parent == parent && l->prev == *last);
    cv_expect(*last == CV_NONE || doc->leaves[*last].next == leaf);
    cv_expect(l->n > 0 && l->n <= CV_LEAF_ITEMS);
    *last = leaf;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct cv_item *x = &doc->items[l->at[i].item];

        cv_expect(x->leaf == leaf && l->at[i].vis == cv_item_visible(x));
        cv_expect(x->len > 0 && x->kind != CV_KIND_GC);
        cv_expect(cv_chain_find(doc, x->client, x->clock) == l->at[i].item);
        if (x->kind == CV_KIND_STRING) {
            size_t units;

            cv_expect(
                cv_utf8_measure(cv_item_content(doc, x), x->bytes, &units));
            cv_expect(units == x->len);
            cv_expect(cv_item_newlines(doc, x) ==
                      cv_item_count_newlines(doc, x));
            cv_expect(x->bytes <= CV_RUN_BYTES ||
                      cv_list_is_key(&doc->lists[list]));
        }
        sum[CV_BYTES] += cv_item_visible(x);
        sum[CV_UNITS] += cv_item_units(x);
        sum[CV_NEWLINES] += cv_item_newlines(doc, x);
    }
    cv_expect(memcmp(sum, l->sum, sizeof(l->sum)) == 0);
}

static void check_node(const struct cv_doc *doc, uint32_t list, uint32_t node,
                       uint32_t height, uint32_t parent, uint32_t *last,
                       uint32_t sum[CV_WEIGHTS])
{
    const struct cv_inner *in = &doc->inners[node];

    if (height == 0) {
        check_leaf(doc, list, node, parent, last, sum);
        return;
    }
    memset(sum, 0, CV_WEIGHTS * sizeof(*sum));
    cv_expect(in->parent == parent && in->level == height);
    cv_expect(in->n > 0 && in->n <= CV_INNER_NODES);
    for (uint32_t i = 0; i < in->n; i++) {
        uint32_t s[CV_WEIGHTS], c = in->child[i];

        cv_expect((height == 1 ? doc->leaves[c].slot : doc->inners[c].slot) ==
                  i);
        check_node(doc, list, c, height - 1, node, last, s);
        for (uint32_t k = 0; k < CV_WEIGHTS; k++) {
            cv_expect(in->w[k][i] == s[k]);
            sum[k] += s[k];
        }
    }
}

void cv_tree_check(const struct cv_doc *doc, uint32_t list)
{
    const struct cv_list *l = &doc->lists[list];
    uint32_t sum[CV_WEIGHTS] = {0}, last = CV_NONE;

    cv_tree_flush(cv_doc_mutable(doc));
    if (l->root != CV_NONE)
        check_node(doc, list, l->root, l->height, CV_NONE, &last, sum);
    cv_expect(memcmp(sum, l->sum, sizeof(l->sum)) == 0);
    cv_expect(last == CV_NONE || doc->leaves[last].next == CV_NONE);
}
