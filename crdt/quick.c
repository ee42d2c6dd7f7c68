#include "crdt/quick.h"

#include "crdt/run.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <endian.h>

/* A keystroke is at most this long on the wire, and at least that. */
#define QUICK_MAX 80
#define QUICK_MIN 6

/* The next number, in its shortest form; false at the end. */
static inline bool get(const uint8_t **at, const uint8_t *end, uint32_t *v)
{
    const uint8_t *p = *at;
    uint64_t n = 0;

    for (unsigned shift = 0; p < end && shift < 35; shift += 7) {
        n |= (uint64_t)(*p & 0x7f) << shift;
        if (*p++ >= 0x80)
            continue;
        *at = p;
        *v = (uint32_t)n;
        return n <= CV_DOC_CLOCK_MAX;
    }
    return false;
}

/* Does the id of this client come next? */
static inline bool skip_id(const uint8_t **at, const uint8_t *end,
                           const struct cv_client *c)
{
    uint64_t a, b;

    if (end - *at >= (ptrdiff_t)sizeof(a)) {
        /* The bytes behind the id are shifted out. */
        memcpy(&a, *at, sizeof(a));
        memcpy(&b, c->id_wire, sizeof(b));
        a = htole64(a ^ b) << (64 - 8 * c->id_len);
        if (a != 0)
            return false;
    } else if (end - *at < c->id_len ||
               memcmp(*at, c->id_wire, c->id_len) != 0) {
        return false;
    }
    *at += c->id_len;
    return true;
}

/* The client whose id comes next: mostly that of the update before. */
static uint32_t get_client(struct cv_doc *doc, const uint8_t **at,
                           const uint8_t *end)
{
    struct cv_reader r;
    uint32_t client = doc->quick;

    if (client < doc->clients_n && skip_id(at, end, &doc->clients[client]))
        return client;
    cv_reader_init(&r, *at, (size_t)(end - *at));
    client = cv_store_client(doc, cv_get_varuint(&r));
    if (r.err != CV_OK || client == CV_NONE ||
        !skip_id(at, end, &doc->clients[client]))
        return CV_NONE;
    doc->quick = client;
    return client;
}

/* Is x followed by the item of its right origin, or by none without one?
 * *pos: the place of x in its leaf. */
static bool ends_place(const struct cv_doc *doc, uint32_t item, uint32_t *pos)
{
    const struct cv_item *x = &doc->items[item], *y;
    const struct cv_leaf *l = &doc->leaves[x->leaf];
    uint32_t next = CV_NONE;

    *pos = cv_tree_pos(doc, item);
    if (*pos + 1 < l->n)
        next = l->item[*pos + 1];
    else if (l->next != CV_NONE)
        next = doc->leaves[l->next].item[0];
    if (next == CV_NONE || x->rclient == CV_NONE)
        return next == CV_NONE && x->rclient == CV_NONE;
    y = &doc->items[next];
    return y->client == x->rclient && y->clock == x->rclock;
}

/* Is `x` text that ends its log and that text of `n` bytes may carry on? */
static bool may_grow(const struct cv_doc *doc, const struct cv_item *x,
                     uint32_t n)
{
    const struct cv_client *c = &doc->clients[x->client];

    return x->kind == CV_KIND_STRING && x->off + x->bytes == c->log_len &&
           x->bytes + n <= CV_RUN_BYTES && n <= CV_DOC_CLOCK_MAX - c->next &&
           doc->log_total + n <= doc->limits.log_bytes &&
           !cv_list_is_key(&doc->lists[doc->leaves[x->leaf].list]);
}

/* 1 block of 1 struct: text whose origin is the unit before it. */
static bool apply_typed(struct cv_doc *doc, const uint8_t *at,
                        const uint8_t *end, int *err)
{
    uint32_t client = get_client(doc, &at, end), clock, v, item, n, pos;
    int32_t newlines;
    bool right;
    uint8_t all = 0;
    struct cv_client *c;
    struct cv_item *x;

    if (client == CV_NONE || client == doc->self)
        return false;
    c = &doc->clients[client];
    if (c->next == 0 || !get(&at, end, &clock) || clock != c->next || at == end)
        return false;
    right = *at == (CV_KIND_STRING | CV_INFO_ORIGIN | CV_INFO_RIGHT);
    if (!right && *at != (CV_KIND_STRING | CV_INFO_ORIGIN))
        return false;
    at++;
    if (!skip_id(&at, end, c) || !get(&at, end, &v) || v != clock - 1)
        return false;
    item = c->last;
    x = &doc->items[item];
    if (right != (x->rclient != CV_NONE) ||
        (right && (!skip_id(&at, end, &doc->clients[x->rclient]) ||
                   !get(&at, end, &v) || v != x->rclock)))
        return false;
    /* The rest is the text, and no deletes. */
    if (!get(&at, end, &n) || n == 0 || end - at != (ptrdiff_t)n + 1 ||
        at[n] != 0)
        return false;
    for (uint32_t i = 0; i < n; i++)
        all |= at[i];
    if (all >= 0x80 || !may_grow(doc, x, n) || !ends_place(doc, item, &pos))
        return false;
    *err = cv_store_log_reserve(doc, client, n);
    if (*err == CV_OK)
        *err = cv_txn_room(doc);
    if (*err != CV_OK)
        return true;
    cv_txn_touch(doc, client);
    cv_store_log_append(doc, client, at, n);
    newlines = (int32_t)cv_utf8_newlines(at, n);
    x->bytes += n;
    x->len += n;
    cv_item_add_newlines(x, newlines);
    c->next += n;
    cv_tree_resize_at(doc, x->leaf, pos, (int32_t)n, (int32_t)n, newlines);
    return true;
}

/* No blocks; 1 client with 1 range, all of which is known. */
static bool apply_deleted(struct cv_doc *doc, const uint8_t *at,
                          const uint8_t *end, int *err)
{
    uint32_t client = get_client(doc, &at, end), clock, len;

    if (client == CV_NONE || at == end || *at++ != 1 ||
        !get(&at, end, &clock) || !get(&at, end, &len) || at != end ||
        len == 0 || clock > doc->clients[client].next ||
        len > doc->clients[client].next - clock ||
        doc->limits.items - doc->items_used < 2)
        return false;
    *err = cv_run_delete_range(doc, client, clock, len);
    return true;
}

bool cv_quick_apply(struct cv_doc *doc, struct cv_bytes update, int *err)
{
    const uint8_t *at = update.data, *end = at + update.len;

    if (update.len < QUICK_MIN || update.len > QUICK_MAX ||
        cv_doc_waiting(doc) || doc->unsettled || at[1] != 1)
        return false;
    if (at[0] == 1)
        return apply_typed(doc, at + 2, end, err);
    return at[0] == 0 && apply_deleted(doc, at + 2, end, err);
}
