#include "crdt/hot.h"

#include "crdt/txn.h"

static void settle_typed(struct cv_doc *doc)
{
    struct cv_hot *hot = &doc->hot;
    struct cv_client *c = &doc->clients[doc->self];
    const struct cv_leaf *l = &doc->leaves[hot->leaf];
    struct cv_item *x = &doc->items[l->at[hot->pos].item];
    uint32_t n = hot->typed, before = doc->txn.open ? hot->begun : n;
    uint32_t newlines = hot->newlines;

    hot->typed = hot->newlines = hot->begun = 0;
    c->next += before;
    if (n > before)
        cv_txn_touch(doc, doc->self);
    c->next += n - before;
    doc->stamp.from -= n;
    c->log_len += n;
    doc->log_total += n;
    x->bytes += n;
    x->len += n;
    cv_item_add_newlines(x, (int32_t)newlines);
    cv_tree_resize_at(doc, hot->leaf, hot->pos, (int32_t)n, (int32_t)n,
                      (int32_t)newlines);
}

static void settle_gone(struct cv_doc *doc)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l = &doc->leaves[hot->leaf];
    struct cv_item *x = &doc->items[l->at[hot->pos].item], *y;
    uint32_t n = hot->gone, before = doc->txn.open ? hot->begun : n;
    uint32_t newlines = hot->newlines, clock, off;

    hot->gone = hot->newlines = hot->begun = 0;
    x->bytes -= n;
    x->len -= n;
    cv_item_add_newlines(x, -(int32_t)newlines);
    if (hot->forward) {
        y = &doc->items[l->at[hot->pos - 1].item];
        clock = x->clock + before;
        off = x->off;
        x->clock += n;
        x->oclock = x->clock - 1;
        x->off += n;
    } else {
        y = &doc->items[l->at[hot->pos + 1].item];
        y->clock -= n;
        y->oclock -= n;
        clock = y->clock;
        off = x->off + x->bytes;
    }
    y->len += n;
    if (n > before)
        cv_txn_deleted(doc, x->client, clock, n - before);
    cv_store_log_lose(doc, x->client, off, n);
    cv_tree_resize_at(doc, hot->leaf, hot->pos, -(int32_t)n, -(int32_t)n,
                      -(int32_t)newlines);
}

void cv_hot_settle_now(struct cv_doc *doc)
{
    if (doc->hot.typed > 0)
        settle_typed(doc);
    else
        settle_gone(doc);
}

void cv_hot_set(struct cv_doc *doc, uint32_t leaf, uint32_t pos, uint32_t at)
{
    const struct cv_leaf *l = &doc->leaves[leaf];
    uint32_t start = at;

    for (uint32_t i = 0; i < pos; i++)
        start -= l->at[i].vis;
    cv_hot_forget(doc);
    doc->hot.leaf = leaf;
    doc->hot.start = start;
    doc->hot.pos = pos;
    doc->hot.at = at;
}

void cv_hot_back(struct cv_doc *doc, uint32_t pos, uint32_t at, bool forward)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l = &doc->leaves[hot->leaf];
    const struct cv_item *x = &doc->items[l->at[pos].item];

    cv_hot_stop(doc);
    hot->pos = pos;
    hot->at = at;
    hot->end = (size_t)at + (forward ? 0 : x->bytes);
    /* Is there nothing but that one tombstone between two pieces of text? */
    if (forward && pos >= 2 && l->at[pos - 2].vis > 0)
        hot->gap = pos;
    else if (!forward && pos + 2 < l->n && l->at[pos + 2].vis > 0)
        hot->gap = pos + 2;
    if (x->bytes != x->len || cv_txn_room(doc) != CV_OK)
        return;
    hot->back = x->bytes - 1;
    hot->forward = forward;
    hot->to = doc->clients[x->client].log + x->off + (forward ? 0 : x->bytes);
}

/* How far a place has moved since edits left it. */
static inline uint32_t former_moved(const struct cv_doc *doc,
                                    const struct cv_former *f)
{
    return f->behind ? doc->lists[doc->text].sum[CV_BYTES] - f->total : 0;
}

/* Go to a leaf that is not beside the hot one. */
static void go_far(struct cv_doc *doc, uint32_t byte)
{
    struct cv_hot *hot = &doc->hot;
    struct cv_former f = hot->former;
    uint32_t moved = former_moved(doc, &f);

    hot->former =
        (struct cv_former){.leaf = hot->leaf,
                           .start = hot->start,
                           .pos = hot->pos,
                           .at = hot->at,
                           .total = doc->lists[doc->text].sum[CV_BYTES]};
    if (f.leaf != CV_NONE &&
        byte - f.start - moved < doc->leaves[f.leaf].sum[CV_BYTES]) {
        hot->leaf = f.leaf;
        hot->start = f.start + moved;
        hot->pos = f.pos;
        hot->at = f.at + moved;
    } else {
        hot->leaf = cv_tree_leaf(doc, doc->text, byte, &hot->start);
        hot->at = hot->start;
        hot->pos = 0;
    }
    hot->former.behind = hot->former.start > hot->start;
}

/* Go to the leaf behind the hot one, or before it, if that holds a byte. */
static inline bool go_beside(struct cv_doc *doc, uint32_t byte)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l = &doc->leaves[hot->leaf], *beside;

    if (byte > hot->start && l->next != CV_NONE) {
        beside = &doc->leaves[l->next];
        if (byte - hot->start - l->sum[CV_BYTES] < beside->sum[CV_BYTES]) {
            hot->leaf = l->next;
            hot->at = hot->start += l->sum[CV_BYTES];
            hot->pos = 0;
            return true;
        }
    } else if (byte < hot->start && l->prev != CV_NONE) {
        beside = &doc->leaves[l->prev];
        if (hot->start - byte <= beside->sum[CV_BYTES]) {
            /* Behind its last item: from there one goes back. */
            hot->leaf = l->prev;
            hot->at = hot->start;
            hot->start -= beside->sum[CV_BYTES];
            hot->pos = beside->n;
            return true;
        }
    }
    return false;
}

/* Make the leaf that holds a byte the hot one: it is, or one beside it is, or
 * it is looked for. */
static inline void go_near(struct cv_doc *doc, uint32_t byte)
{
    struct cv_hot *hot = &doc->hot;

    if (hot->leaf != CV_NONE &&
        byte - hot->start < doc->leaves[hot->leaf].sum[CV_BYTES])
        return;
    if (hot->leaf == CV_NONE || !go_beside(doc, byte))
        go_far(doc, byte);
    else if (hot->leaf == hot->former.leaf)
        cv_hot_forget_former(doc);
}

struct cv_place cv_hot_find(struct cv_doc *doc, uint32_t at, bool ending)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l;
    uint32_t byte = ending ? at - 1 : at, left, i;

    cv_hot_stop(doc);
    go_near(doc, byte);
    l = &doc->leaves[hot->leaf];
    /* From the item of the last edit on, or back. */
    i = hot->pos;
    left = byte - hot->at;
    while ((int32_t)left < 0)
        left += l->at[--i].vis;
    while (left >= l->at[i].vis)
        left -= l->at[i++].vis;
    hot->pos = i;
    hot->at = byte - left;
    return (struct cv_place){l->at[i].item, hot->leaf, i, hot->at};
}

/* Is an item at that place of a leaf of the text, which begins at `start`? */
static void check_place(const struct cv_doc *doc, uint32_t leaf, uint32_t start,
                        uint32_t pos, uint32_t at)
{
    const struct cv_leaf *l = &doc->leaves[leaf];

    cv_expect(l->list == doc->text && pos <= l->n);
    cv_expect(cv_tree_leaf_offset(doc, leaf, CV_BYTES) == start);
    for (uint32_t i = 0; i < pos; i++)
        start += l->at[i].vis;
    cv_expect(at == start);
}

void cv_hot_check(const struct cv_doc *doc)
{
    const struct cv_hot *hot = &doc->hot;
    const struct cv_former *f = &hot->former;

    cv_hot_settle(doc);
    if (hot->leaf == CV_NONE)
        return;
    check_place(doc, hot->leaf, hot->start, hot->pos, hot->at);
    if (f->leaf == CV_NONE || doc->leaves[f->leaf].sum[CV_BYTES] == 0)
        return;
    cv_expect(f->leaf != hot->leaf);
    check_place(doc, f->leaf, f->start + former_moved(doc, f), f->pos,
                f->at + former_moved(doc, f));
}
