/* Local edits of the text. */
#include "crdt/doc.h"

#include "crdt/chain.h"
#include "crdt/encode.h"
#include "crdt/gap.h"
#include "crdt/hot.h"
#include "crdt/integrate.h"
#include "crdt/piece.h"
#include "crdt/run.h"
#include "crdt/stamp.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"

int cv_doc_begin(struct cv_doc *doc)
{
    if (doc->txn.open)
        return CV_ERR_INVALID;
    cv_txn_begin(doc, false);
    doc->txn.open = true;
    doc->hot.begun = doc->hot.typed + doc->hot.gone;
    return CV_OK;
}

static CV_APART int commit(struct cv_doc *doc, struct cv_writer *update)
{
    int err = CV_OK;

    cv_hot_settle(doc);
    if (update != NULL)
        err = cv_encode_txn(doc, update);
    doc->txn.open = false;
    cv_txn_end(doc);
    if (doc->txn.touched.cap == 0 || doc->txn.deleted.cap == 0)
        cv_hot_stop(doc);
    cv_store_tidy(doc);
    return err;
}

int cv_doc_commit(struct cv_doc *doc, struct cv_writer *update)
{
    if (!doc->txn.open)
        return CV_ERR_INVALID;
    /* Only keystrokes, or nothing? */
    if (cv_txn_news(doc) || (update != NULL && !cv_stamp_put(doc, update)))
        return commit(doc, update);
    doc->txn.open = false;
    return CV_OK;
}

/* Is there a character border at `at`, which lies in or at the end of p? */
static bool on_border(const struct cv_doc *doc, const struct cv_place *p,
                      size_t at)
{
    const struct cv_item *x = &doc->items[p->item];

    at -= p->start;
    return at == x->bytes || x->bytes == x->len ||
           cv_utf8_border(cv_item_content(doc, x), at);
}

/* ---- inserting ---- */

struct insertion {
    uint32_t at;
    struct cv_text text;
};

/* Go on where the run that was typed last ends, with what is no keystroke or
 * when the log has to grow.  False: this needs an item. */
static bool go_on(struct cv_doc *doc, const struct insertion *in, int *err)
{
    struct cv_hot *hot = &doc->hot;
    uint32_t item;

    if (!hot->typing || hot->end != in->at)
        return false;
    item = doc->leaves[hot->leaf].at[hot->pos].item;
    if (!cv_gap_grows(doc, &doc->items[item], in->text.len))
        return false;
    *err = cv_gap_grow(doc, item, hot->pos, &in->text);
    if (*err == CV_OK)
        cv_hot_type(doc);
    return true;
}

/* The items on both sides of where text for `at` goes: between the visible
 * neighbours, behind all tombstones, as Yjs does. */
static int open_gap(struct cv_doc *doc, uint32_t at, uint32_t *left,
                    uint32_t *right)
{
    struct cv_place p = {CV_NONE, CV_NONE, 0, 0};
    const struct cv_item *x;
    bool live;

    *left = *right = CV_NONE;
    if (at > 0) {
        p = cv_hot_find(doc, at, true);
        x = &doc->items[p.item];
        if (at - p.start < x->bytes) {
            int err = cv_run_split(doc, p.item,
                                   cv_item_units_before(doc, x, at - p.start));

            *left = p.item;
            *right = cv_tree_next(doc, p.item);
            return err;
        }
        live = cv_place_next_live(doc, &p);
    } else {
        p.item = cv_tree_first(doc, doc->text);
        if (p.item == CV_NONE)
            return CV_OK;
        p.leaf = doc->items[p.item].leaf;
        live = cv_place_live(doc, &p);
    }
    if (!live)
        *left = cv_tree_last(doc, doc->text);
    else if (p.pos > 0)
        *left = doc->leaves[p.leaf].at[p.pos - 1].item;
    else
        *left = cv_tree_prev(doc, p.item);
    *right = p.item;
    return CV_OK;
}

/* The long way: any length, and nodes may split. */
static int insert_long(struct cv_doc *doc, const struct insertion *in)
{
    struct cv_item x = {.client = doc->self & CV_CLIENT_MASK,
                        .kind = CV_KIND_STRING,
                        .oclient = CV_NONE,
                        .rclient = CV_NONE};
    uint32_t left, right, item;
    int err;

    cv_hot_stop(doc);
    err = open_gap(doc, in->at, &left, &right);
    if (err != CV_OK)
        return err;
    if (left != CV_NONE) {
        x.oclient = doc->items[left].client;
        x.oclock = cv_item_end(&doc->items[left]) - 1;
    }
    if (right != CV_NONE) {
        x.rclient = doc->items[right].client;
        x.rclock = doc->items[right].clock;
    }
    err = cv_append_text(doc, x, doc->text, left,
                         CV_BYTES(in->text.data, in->text.len), &item);
    if (err != CV_OK)
        return err;
    cv_hot_set(doc, doc->items[item].leaf, cv_tree_pos(doc, item),
               in->at + (uint32_t)in->text.len - doc->items[item].bytes);
    cv_hot_type(doc);
    return CV_OK;
}

/* Find the gap that open_gap() would open, if that is simple: in the middle of
 * the text.  `p` holds what ends at `at`.  Nothing is changed. */
static bool find_gap(struct cv_doc *doc, uint32_t at, struct cv_place p,
                     struct cv_gap *gap)
{
    *gap = (struct cv_gap){p.leaf, p.pos + 1, p.item,
                           doc->items[p.item].bytes - (at - p.start), CV_NONE};
    if (gap->rest > 0)
        return true;
    if (!cv_place_next_live(doc, &p))
        return false;
    gap->right = p.item;
    if (p.pos == 0) {
        p.leaf = doc->leaves[p.leaf].prev;
        p.pos = doc->leaves[p.leaf].n;
    }
    gap->leaf = p.leaf;
    gap->pos = p.pos;
    gap->left = doc->leaves[p.leaf].at[p.pos - 1].item;
    return true;
}

/* The gap where something was deleted just now. */
static inline struct cv_gap hot_gap(const struct cv_doc *doc)
{
    const struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l = &doc->leaves[hot->leaf];

    return (struct cv_gap){hot->leaf, hot->gap, l->at[hot->gap - 1].item, 0,
                           l->at[hot->gap].item};
}

/* Insert one short piece into a gap in a leaf, and whatever is cut off.  False:
 * nothing was changed, it has to go the long way. */
static inline bool insert_here(struct cv_doc *doc, const struct insertion *in,
                               struct cv_gap gap)
{
    if (in->text.len > CV_RUN_BYTES ||
        !cv_gap_fill(doc, &gap, doc->self, &in->text))
        return false;
    if (gap.leaf != doc->hot.leaf) {
        /* Nothing before the gap is visible there. */
        doc->hot.leaf = gap.leaf;
        doc->hot.start = in->at;
        cv_hot_forget_former(doc);
    }
    doc->hot.pos = gap.pos;
    doc->hot.at = in->at;
    cv_hot_type(doc);
    return true;
}

static CV_APART int insert(struct cv_doc *doc, size_t at, const void *text,
                           size_t len)
{
    struct insertion in = {(uint32_t)at, {.data = text, .len = len}};
    struct cv_place p;
    struct cv_gap gap;
    bool known = false;
    int err;

    cv_hot_settle(doc);
    if (!doc->txn.open || at > doc->lists[doc->text].sum[CV_BYTES])
        return CV_ERR_INVALID;
    /* Here lengths vary: one byte is nothing special. */
    if (!cv_text_measure_long(&in.text))
        return CV_ERR_FORMAT;
    if (len == 0)
        return CV_OK;
    if (len > doc->limits.log_bytes - doc->log_total ||
        in.text.units > CV_DOC_CLOCK_MAX - doc->clients[doc->self].next ||
        doc->items_used + len / (CV_RUN_BYTES / 2) + 3 > doc->limits.items)
        return CV_ERR_LIMIT;
    if (go_on(doc, &in, &err))
        return err;
    if (doc->hot.gap > 0 && at == doc->hot.end) {
        gap = hot_gap(doc);
        known = true;
    } else if (at > 0) {
        p = cv_hot_find(doc, in.at, true);
        if (!on_border(doc, &p, at))
            return CV_ERR_INVALID;
        known = find_gap(doc, in.at, p, &gap);
    }
    if (known && insert_here(doc, &in, gap))
        return CV_OK;
    return insert_long(doc, &in);
}

int cv_doc_insert(struct cv_doc *doc, size_t at, const void *text, size_t len)
{
    if (doc->txn.open && cv_hot_key(&doc->hot, at, text, len))
        return CV_OK;
    return insert(doc, at, text, len);
}

/* ---- deleting ---- */

/* Delete what counts but is no text (embeds) between an item and the next
 * text. */
static int delete_embeds(struct cv_doc *doc, uint32_t item)
{
    struct cv_place p = {item, doc->items[item].leaf, cv_tree_pos(doc, item),
                         0};

    while (cv_place_next_live(doc, &p)) {
        const struct cv_item *x = &doc->items[p.item];
        int err;

        if (x->kind == CV_KIND_STRING)
            break;
        if (!cv_kind_countable(x->kind))
            continue;
        err = cv_run_delete(doc, p.item);
        if (err != CV_OK)
            return err;
        p = (struct cv_place){item, doc->items[item].leaf,
                              cv_tree_pos(doc, item), 0};
    }
    return CV_OK;
}

/* Delete a piece: in place, or as others' updates do. */
static int delete_piece(struct cv_doc *doc, const struct cv_place *p,
                        const struct cv_piece *d)
{
    const struct cv_item *x = &doc->items[p->item];
    uint32_t client = x->client, clock = x->clock + d->from;

    if (cv_piece_delete(doc, p, d))
        return CV_OK;
    cv_hot_forget(doc);
    return cv_run_delete_range(doc, client, clock, d->n);
}

/* Are both ends on character borders?  *p: the item that holds the first. */
static bool deletable(struct cv_doc *doc, size_t at, size_t len,
                      struct cv_place *p)
{
    const struct cv_leaf *l;
    struct cv_place q = *p;

    if (!on_border(doc, p, at))
        return false;
    /* Most end in the same leaf. */
    l = &doc->leaves[p->leaf];
    for (; q.pos < l->n; q.start += l->at[q.pos++].vis) {
        q.item = l->at[q.pos].item;
        if (at + len <= (size_t)q.start + l->at[q.pos].vis)
            return on_border(doc, &q, at + len);
    }
    *p = cv_hot_find(doc, (uint32_t)(at + len), true);
    if (!on_border(doc, p, at + len))
        return false;
    *p = cv_hot_find(doc, (uint32_t)at, false);
    return true;
}

/* Is b a tombstone that carries on the tombstone a before it? */
static bool same_tomb(const struct cv_item *a, const struct cv_item *b)
{
    return a->kind == CV_KIND_DELETED && cv_item_joins(a, b);
}

/* Put an item behind the `n` that a leaf keeps, or join it with the last of
 * them; the number of those kept. */
static inline uint32_t keep_tomb(struct cv_doc *doc, struct cv_leaf *l,
                                 uint32_t n, uint32_t item)
{
    struct cv_item *x = &doc->items[item];

    if (n > 0 && same_tomb(&doc->items[l->at[n - 1].item], x)) {
        cv_chain_join(doc, l->at[n - 1].item, item);
        doc->items[l->at[n - 1].item].len += x->len;
        cv_store_item_free(doc, item);
        return n;
    }
    l->at[n] = (struct cv_entry){item, 0};
    return n + 1;
}

/* Delete whole items of one leaf, from `p` on: as many as `len` bytes reach.
 * Stops before what is neither text nor a tombstone.  Returns the bytes;
 * *last: the tombstone of the last one. */
static uint32_t sweep(struct cv_doc *doc, const struct cv_place *p,
                      uint32_t len, uint32_t *last)
{
    struct cv_leaf *l = &doc->leaves[p->leaf];
    uint32_t bytes = 0, units = 0, newlines = 0, i, n = p->pos;

    for (i = p->pos; i < l->n && bytes < len; i++) {
        struct cv_item *x = &doc->items[l->at[i].item];

        if (l->at[i].vis > 0) {
            if (l->at[i].vis > len - bytes ||
                doc->txn.deleted.n == doc->txn.deleted.cap)
                break;
            bytes += l->at[i].vis;
            units += x->len;
            newlines += cv_item_newlines(doc, x);
            cv_txn_deleted(doc, x->client, x->clock, x->len);
            cv_store_log_lose(doc, x->client, x->off, x->bytes);
            x->kind = CV_KIND_DELETED;
            x->off = x->bytes = 0;
        } else if (!cv_item_deleted(x)) {
            break;
        }
        n = keep_tomb(doc, l, n, l->at[i].item);
    }
    if (i == p->pos)
        return 0;
    if (i < l->n && l->at[i].vis == 0 &&
        cv_item_deleted(&doc->items[l->at[i].item])) {
        n = keep_tomb(doc, l, n, l->at[i].item);
        i++;
    }
    l->near = n - 1; /* the caller asks for it */
    *last = l->at[n - 1].item;
    if (n < i)
        cv_tree_close(l, n, i);
    doc->hot.pos = n;
    doc->hot.at = p->start;
    if (p->pos > 0 && l->at[p->pos - 1].vis > 0 && n < l->n &&
        l->at[n].vis > 0) {
        doc->hot.gap = n;
        doc->hot.end = p->start;
    }
    cv_tree_weigh(doc, p->leaf, -(int32_t)bytes, -(int32_t)units,
                  -(int32_t)newlines);
    if (l->n < CV_LEAF_LOW)
        cv_tree_mend(doc, p->leaf);
    return bytes;
}

/* Delete what of one item lies behind its first `from` bytes, at most *left of
 * them; *left: what goes on behind the item. */
static int delete_part(struct cv_doc *doc, struct cv_place *p, uint32_t from,
                       uint32_t *left)
{
    const struct cv_item *x = &doc->items[p->item];
    uint32_t n = x->bytes - from;
    struct cv_piece d;
    int err;

    if (n > *left)
        n = *left;
    d = cv_piece_of(doc, x, from, n);
    *left -= n;
    if (*left > 0) {
        doc->leaves[p->leaf].near = p->pos;
        err = delete_embeds(doc, p->item);
        if (err != CV_OK)
            return err;
        p->leaf = doc->items[p->item].leaf;
        p->pos = cv_tree_pos(doc, p->item);
    }
    return delete_piece(doc, p, &d);
}

/* Delete a part of the item that holds the first byte. */
static inline int erase_part(struct cv_doc *doc, const struct cv_place *p,
                             uint32_t from, uint32_t len)
{
    const struct cv_item *x = &doc->items[p->item];
    struct cv_piece d;
    int err;

    if (!on_border(doc, p, p->start + from) ||
        !on_border(doc, p, p->start + from + len))
        return CV_ERR_INVALID;
    err = cv_txn_room(doc);
    if (err != CV_OK)
        return err;
    d = cv_piece_of(doc, x, from, len);
    return delete_piece(doc, p, &d);
}

static CV_APART int erase(struct cv_doc *doc, size_t at, size_t len)
{
    uint32_t left = (uint32_t)len, last;
    const struct cv_item *x;
    struct cv_place p;
    size_t total;
    int err;

    cv_hot_settle(doc);
    total = doc->lists[doc->text].sum[CV_BYTES];
    if (!doc->txn.open || at > total || len > total - at)
        return CV_ERR_INVALID;
    if (len == 0)
        return CV_OK;
    p = cv_hot_find(doc, (uint32_t)at, false);
    x = &doc->items[p.item];
    if (len < x->bytes && len <= x->bytes - (at - p.start))
        return erase_part(doc, &p, (uint32_t)at - p.start, left);
    if (!deletable(doc, at, len, &p))
        return CV_ERR_INVALID;
    for (;;) {
        uint32_t from = (uint32_t)at - p.start, n = 0;

        err = cv_txn_room(doc);
        if (err == CV_OK && from == 0)
            n = sweep(doc, &p, left, &last);
        if (n > 0) {
            left -= n;
            if (left > 0)
                err = delete_embeds(doc, last);
        } else if (err == CV_OK) {
            err = delete_part(doc, &p, from, &left);
        }
        if (err != CV_OK || left == 0)
            return err;
        p = cv_hot_find(doc, (uint32_t)at, false);
    }
}

int cv_doc_delete(struct cv_doc *doc, size_t at, size_t len)
{
    if (doc->txn.open && cv_hot_erase(&doc->hot, at, len))
        return CV_OK;
    return erase(doc, at, len);
}
