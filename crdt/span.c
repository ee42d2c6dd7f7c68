#include "crdt/span.h"

#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/integrate.h"
#include "crdt/run.h"
#include "crdt/tree.h"
#include "crdt/utf8.h"

static bool in_text(const struct cv_doc *doc, const struct cv_item *x)
{
    return x->kind != CV_KIND_GC && x->leaf != CV_NONE &&
           doc->leaves[x->leaf].list == doc->text;
}

/* The item of a unit; CV_NONE if it is not known or not of the text. */
static uint32_t find(const struct cv_doc *doc, struct cv_id id)
{
    uint32_t client = cv_store_client(doc, id.client), item;

    cv_hot_settle(doc);
    if (client == CV_NONE || id.clock >= doc->clients[client].next)
        return CV_NONE;
    item = cv_chain_find(doc, client, (uint32_t)id.clock);
    return in_text(doc, &doc->items[item]) ? item : CV_NONE;
}

static struct cv_id last_unit(const struct cv_doc *doc, const struct cv_item *x)
{
    return (struct cv_id){doc->clients[x->client].id, cv_item_end(x) - 1};
}

static bool same_id(struct cv_id a, struct cv_id b)
{
    return a.client == b.client && a.clock == b.clock;
}

void cv_span_at(const struct cv_doc *doc, size_t at, size_t max,
                struct cv_span *out)
{
    const struct cv_item *x;
    const uint8_t *text;
    struct cv_place p;
    size_t from;

    cv_hot_settle(doc);
    p = cv_tree_find(doc, doc->text, CV_BYTES, (uint32_t)at, false);
    x = &doc->items[p.item];
    text = cv_item_content(doc, x);
    from = at - p.start;
    out->at = at;
    out->bytes = x->bytes - from < max ? x->bytes - from : max;
    out->id.client = doc->clients[x->client].id;
    out->id.clock = x->clock + cv_utf8_units(text, from);
    out->units = cv_utf8_units(text + from, out->bytes);
}

bool cv_span_live(const struct cv_doc *doc, struct cv_id id, uint64_t n,
                  struct cv_span *out)
{
    uint32_t client = cv_store_client(doc, id.client);
    uint64_t end = id.clock + n;
    uint32_t item;

    cv_hot_settle(doc);
    if (client == CV_NONE || id.clock >= doc->clients[client].next)
        return false;
    item = cv_chain_find(doc, client, (uint32_t)id.clock);
    for (; item != CV_NONE; item = doc->items[item].succ) {
        const struct cv_item *x = &doc->items[item];
        const uint8_t *text = cv_item_content(doc, x);
        size_t from = 0, to = x->bytes;
        bool half = false;

        if (x->clock >= end)
            return false;
        if (x->kind != CV_KIND_STRING || !in_text(doc, x))
            continue;
        if (x->clock < id.clock) {
            from = cv_utf8_offset(text, x->bytes, id.clock - x->clock, &half);
            if (half)
                from += cv_utf8_char_len(text[from]);
        }
        if (end < cv_item_end(x))
            to = cv_utf8_offset(text, x->bytes, end - x->clock, &half);
        if (from >= to)
            continue;
        out->id.client = id.client;
        out->id.clock = x->clock + cv_utf8_units(text, from);
        out->units = cv_utf8_units(text + from, to - from);
        out->bytes = to - from;
        out->at = cv_tree_offset(doc, item, CV_BYTES) + from;
        return true;
    }
    return false;
}

bool cv_span_place(const struct cv_doc *doc, struct cv_id id, uint64_t n,
                   size_t *at, uint64_t *units)
{
    uint32_t item = find(doc, id);
    const struct cv_item *x;
    bool half;

    if (item == CV_NONE)
        return false;
    x = &doc->items[item];
    *at = cv_tree_offset(doc, item, CV_BYTES);
    if (x->kind == CV_KIND_STRING)
        *at += cv_utf8_offset(cv_item_content(doc, x), x->bytes,
                              id.clock - x->clock, &half);
    *units = cv_item_end(x) - id.clock;
    while (*units < n) {
        uint32_t next = cv_tree_next(doc, item);

        if (next == CV_NONE || doc->items[next].client != x->client ||
            doc->items[next].clock != cv_item_end(x))
            return true;
        item = next;
        x = &doc->items[item];
        *units += x->len;
    }
    *units = n;
    return true;
}

bool cv_span_before(const struct cv_doc *doc, struct cv_id a, struct cv_id b)
{
    uint32_t x = find(doc, a), y = find(doc, b);

    if (x == y)
        return a.clock < b.clock;
    return cv_tree_before(doc, x, y);
}

bool cv_span_left(const struct cv_doc *doc, struct cv_id id, struct cv_id *left)
{
    uint32_t item = find(doc, id);

    if (item == CV_NONE)
        return false;
    if (doc->items[item].clock < id.clock) {
        *left = (struct cv_id){id.client, id.clock - 1};
        return true;
    }
    item = cv_tree_prev(doc, item);
    if (item == CV_NONE)
        return false;
    *left = last_unit(doc, &doc->items[item]);
    return true;
}

int cv_span_insert(struct cv_doc *doc, struct cv_id id, struct cv_bytes text)
{
    struct cv_item x = {.client = doc->self & CV_CLIENT_MASK,
                        .kind = CV_KIND_STRING,
                        .oclient = CV_NONE};
    uint32_t right = find(doc, id), left, item;
    size_t units = cv_utf8_units(text.data, text.len);

    if (!doc->txn.open || right == CV_NONE)
        return CV_ERR_INVALID;
    if (text.len > doc->limits.log_bytes - doc->log_total ||
        units > CV_DOC_CLOCK_MAX - doc->clients[doc->self].next ||
        doc->items_used + text.len / (CV_RUN_BYTES / 2) + 3 > doc->limits.items)
        return CV_ERR_LIMIT;
    cv_hot_forget(doc);
    if (doc->items[right].clock < id.clock) {
        int err = cv_run_split(doc, right,
                               (uint32_t)id.clock - doc->items[right].clock);

        if (err != CV_OK)
            return err;
        right = find(doc, id);
    }
    left = cv_tree_prev(doc, right);
    if (left != CV_NONE) {
        x.oclient = doc->items[left].client;
        x.oclock = cv_item_end(&doc->items[left]) - 1;
    }
    x.rclient = doc->items[right].client;
    x.rclock = doc->items[right].clock;
    return cv_append_text(doc, x, doc->text, left, text, &item);
}

/* Is it text of somebody else that was inserted directly before a unit? */
static bool came_before(const struct cv_doc *doc, uint32_t item,
                        const struct cv_item *right)
{
    const struct cv_item *y;

    if (item == CV_NONE)
        return false;
    y = &doc->items[item];
    return y->kind == CV_KIND_STRING && y->client != doc->self &&
           y->rclient == right->client && y->rclock == right->clock;
}

size_t cv_span_returned(const struct cv_doc *doc, struct cv_id id,
                        const struct cv_id *left, struct cv_bytes text)
{
    uint32_t item = find(doc, id), prev;
    const struct cv_item *x, *y;
    size_t done = 0;

    if (item == CV_NONE || doc->items[item].clock != id.clock)
        return 0;
    x = &doc->items[item];
    prev = cv_tree_prev(doc, item);
    if (!came_before(doc, prev, x) ||
        (left != NULL && same_id(*left, last_unit(doc, &doc->items[prev]))))
        return 0;
    /* Long text is several items: to the first of them. */
    for (item = prev;; item = prev) {
        y = &doc->items[item];
        prev = cv_tree_prev(doc, item);
        if (!came_before(doc, prev, x) ||
            doc->items[prev].client != y->client ||
            cv_item_end(&doc->items[prev]) != y->clock)
            break;
    }
    for (; done < text.len && came_before(doc, item, x);
         item = cv_tree_next(doc, item)) {
        size_t n;

        y = &doc->items[item];
        n = y->bytes < text.len - done ? y->bytes : text.len - done;
        if (memcmp(cv_item_content(doc, y), text.data + done, n) != 0)
            return 0;
        done += n;
    }
    return done;
}
