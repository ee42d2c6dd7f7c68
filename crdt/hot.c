#include "crdt/hot.h"

#include "crdt/txn.h"

static void settle_typed(struct cv_doc *doc, const struct cv_hot *hot)
{
    struct cv_client *c = &doc->clients[doc->self];
    const struct cv_leaf *l = &doc->leaves[hot->leaf];
    struct cv_item *x = &doc->items[l->item[hot->pos]];
    uint32_t n = hot->typed, before = doc->txn.open ? hot->begun : n;

    c->next += before;
    if (n > before)
        cv_txn_touch(doc, doc->self);
    c->next += n - before;
    c->log_len += n;
    doc->log_total += n;
    x->bytes += n;
    x->len += n;
    cv_item_add_newlines(x, (int32_t)hot->newlines);
    cv_tree_resize_at(doc, hot->leaf, hot->pos, (int32_t)n, (int32_t)n,
                      (int32_t)hot->newlines);
}

static void settle_gone(struct cv_doc *doc, const struct cv_hot *hot)
{
    const struct cv_leaf *l = &doc->leaves[hot->leaf];
    struct cv_item *x = &doc->items[l->item[hot->pos]], *y;
    uint32_t n = hot->gone, before = doc->txn.open ? hot->begun : n;
    uint32_t clock, off;

    x->bytes -= n;
    x->len -= n;
    cv_item_add_newlines(x, -(int32_t)hot->newlines);
    if (hot->forward) {
        y = &doc->items[l->item[hot->pos - 1]];
        clock = x->clock + before;
        off = x->off;
        x->clock += n;
        x->oclock = x->clock - 1;
        x->off += n;
    } else {
        y = &doc->items[l->item[hot->pos + 1]];
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
                      -(int32_t)hot->newlines);
}

void cv_hot_settle_now(struct cv_doc *doc)
{
    const struct cv_hot hot = doc->hot;

    doc->hot.typed = doc->hot.gone = 0;
    doc->hot.newlines = doc->hot.begun = 0;
    if (hot.typed > 0)
        settle_typed(doc, &hot);
    else
        settle_gone(doc, &hot);
}

void cv_hot_set(struct cv_doc *doc, uint32_t leaf, uint32_t pos, uint32_t at)
{
    const struct cv_leaf *l = &doc->leaves[leaf];
    uint32_t start = at;

    for (uint32_t i = 0; i < pos; i++)
        start -= l->vis[i];
    doc->hot =
        (struct cv_hot){.leaf = leaf, .start = start, .pos = pos, .at = at};
}

void cv_hot_type(struct cv_doc *doc)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_client *c = &doc->clients[doc->self];
    uint32_t item = doc->leaves[hot->leaf].item[hot->pos];
    size_t room = CV_RUN_BYTES - doc->items[item].bytes, most;

    most = c->log_cap - c->log_len;
    room = most < room ? most : room;
    most = CV_DOC_CLOCK_MAX - c->next;
    room = most < room ? most : room;
    most = doc->limits.log_bytes - doc->log_total;
    room = most < room ? most : room;
    hot->typing = true;
    hot->back = 0;
    hot->end = (size_t)hot->at + doc->items[item].bytes;
    hot->room = (uint32_t)room;
    hot->to = c->log + c->log_len;
    doc->stamp.left = 0;
}

void cv_hot_back(struct cv_doc *doc, uint32_t pos, uint32_t at, bool forward)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_item *x = &doc->items[doc->leaves[hot->leaf].item[pos]];

    cv_hot_stop(doc);
    hot->pos = pos;
    hot->at = at;
    if (x->bytes != x->len || cv_txn_room(doc) != CV_OK)
        return;
    hot->back = x->bytes - 1;
    hot->forward = forward;
    hot->end = (size_t)at + (forward ? 0 : x->bytes);
    hot->to = doc->clients[x->client].log + x->off + (forward ? 0 : x->bytes);
}

/* Is what ends or begins at `at` in this leaf? */
static inline bool holds(const struct cv_leaf *l, uint32_t start, uint32_t at,
                         bool ending)
{
    uint32_t left = at - start;

    return ending ? left - 1 < l->sum[CV_BYTES] : left < l->sum[CV_BYTES];
}

/* The hot leaf, or the one beside it, holds the place. */
static inline bool is_near(struct cv_doc *doc, uint32_t at, bool ending)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l, *beside;
    uint32_t start;

    if (hot->leaf == CV_NONE)
        return false;
    l = &doc->leaves[hot->leaf];
    if (holds(l, hot->start, at, ending))
        return true;
    if (at >= hot->start && l->next != CV_NONE) {
        beside = &doc->leaves[l->next];
        start = hot->start + l->sum[CV_BYTES];
        if (!holds(beside, start, at, ending))
            return false;
        hot->leaf = l->next;
    } else if (at <= hot->start && l->prev != CV_NONE) {
        beside = &doc->leaves[l->prev];
        start = hot->start - beside->sum[CV_BYTES];
        if (!holds(beside, start, at, ending))
            return false;
        /* Behind its last item: from there one goes back. */
        hot->leaf = l->prev;
        hot->at = hot->start;
        hot->start = start;
        hot->pos = beside->n;
        return true;
    } else {
        return false;
    }
    hot->start = hot->at = start;
    hot->pos = 0;
    return true;
}

struct cv_place cv_hot_find(struct cv_doc *doc, uint32_t at, bool ending)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l;
    struct cv_place p;
    uint32_t left, i;

    cv_hot_stop(doc);
    if (!is_near(doc, at, ending)) {
        p = cv_tree_find(doc, doc->text, CV_BYTES, at, ending);
        if (p.item != CV_NONE)
            cv_hot_set(doc, p.leaf, p.pos, p.start);
        return p;
    }
    l = &doc->leaves[hot->leaf];
    /* From the item of the last edit on, or back. */
    i = hot->pos;
    left = at - hot->at;
    if (at < hot->at) {
        while ((int32_t)left < 0)
            left += l->vis[--i];
    }
    if (ending) {
        while (left == 0)
            left += l->vis[--i];
        while (left > l->vis[i])
            left -= l->vis[i++];
    } else {
        while (left >= l->vis[i])
            left -= l->vis[i++];
    }
    hot->pos = i;
    hot->at = at - left;
    return (struct cv_place){l->item[i], hot->leaf, i, hot->at};
}
