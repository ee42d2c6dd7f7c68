#include "crdt/bulk.h"

#include "crdt/chain.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <stdlib.h>

/* One bit a unit is taken, and half of that again.  More units than this for
 * a byte of the update, that is mostly tombstones, are not worth it. */
#define UNITS_PER_BYTE 16

/* Steps of conflict scans for each item; beyond, cv_integrate() is better. */
#define SCAN_STEPS 8

/* What is filled of leaves and inner nodes, so that the next edits
 * find room. */
#define FILL(max) ((max)*7 / 8)

struct part {       /* of one client */
    uint32_t word;  /* its first one in `bits` */
    uint32_t first; /* its first item */
    uint32_t next;  /* clock */
    uint32_t bytes; /* content */
};

struct bulk {
    struct cv_doc *doc;
    const struct cv_plan *plan;
    uint32_t n; /* structs */
    const uint8_t *base;
    struct part *part;
    /* A bit for each unit: an item begins with it.  And how many items begin
     * before each word. */
    uint64_t *bits;
    uint32_t *rank;
    uint32_t words;
    uint32_t items;
    uint32_t *next; /* of each item in the list; [items] leads to the first */
    uint32_t listed;
    struct cv_bytes root; /* name of the one list */
    bool named;
    /* Conflict scans: the last one that saw an item; since when it is left of
     * what it conflicts with. */
    uint32_t *seen, *since;
    uint32_t scan, epoch;
    uint64_t steps;
};

/* The structs in an order in which each is ready. */
static const struct cv_struct *nth(const struct bulk *b, uint32_t i)
{
    return b->plan->natural ? &b->plan->structs.at[i] : b->plan->steps.at[i].s;
}

/* ---- units and items ---- */

static uint32_t ones(uint64_t v)
{
    v -= v >> 1 & UINT64_C(0x5555555555555555);
    v = (v & UINT64_C(0x3333333333333333)) +
        (v >> 2 & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (uint32_t)(v * UINT64_C(0x0101010101010101) >> 56);
}

static void mark(struct bulk *b, uint32_t client, uint32_t clock)
{
    b->bits[b->part[client].word + clock / 64] |= UINT64_C(1) << clock % 64;
}

/* The item that holds a unit. */
static uint32_t holder(const struct bulk *b, uint32_t client, uint32_t clock)
{
    uint32_t w = b->part[client].word + clock / 64;

    return b->rank[w] + ones(b->bits[w] << (63 - clock % 64)) - 1;
}

/* The end of the item that begins at `clock`, at most `end`. */
static uint32_t item_end(const struct bulk *b, uint32_t client, uint32_t clock,
                         uint32_t end)
{
    uint32_t word = b->part[client].word, at = clock + 1;

    while (at < end) {
        uint64_t v = b->bits[word + at / 64] >> at % 64;

        if (v == 0) {
            at = (at / 64 + 1) * 64;
            continue;
        }
        /* The lowest bit that is set. */
        at += ones((v & (~v + 1)) - 1);
        break;
    }
    return at < end ? at : end;
}

/* ---- where items begin ---- */

static bool same_name(struct cv_bytes a, struct cv_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Is it what a text is made of? */
static bool is_plain(struct bulk *b, const struct cv_struct *s)
{
    struct cv_bytes name = cv_struct_root(s, b->base);

    if (s->clock != b->part[s->client].next ||
        (s->kind > CV_KIND_DELETED && s->kind != CV_KIND_STRING) ||
        (s->info & CV_INFO_KEY) || s->parent == CV_PARENT_ITEM)
        return false;
    if (s->parent != CV_PARENT_ROOT)
        return true;
    if (!b->named)
        b->root = name;
    b->named = true;
    return same_name(b->root, name);
}

/* Long text is cut so that no item holds more than CV_RUN_BYTES. */
static void mark_pieces(struct bulk *b, const struct cv_struct *s)
{
    const uint8_t *text = b->base + s->content;
    uint32_t left = s->content_len, clock = s->clock;

    while (left > CV_RUN_BYTES) {
        uint32_t n = CV_RUN_BYTES;

        while (!cv_utf8_border(text, n))
            n--;
        clock += (uint32_t)cv_utf8_units(text, n);
        mark(b, s->client, clock);
        text += n;
        left -= n;
    }
}

static bool mark_all(struct bulk *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct cv_struct *s = nth(b, i);
        struct part *p = &b->part[s->client];

        if (!is_plain(b, s))
            return false;
        p->next += s->len;
        p->bytes += s->content_len;
        mark(b, s->client, s->clock);
        if (s->content_len > CV_RUN_BYTES)
            mark_pieces(b, s);
        if (s->oclient != CV_NONE &&
            s->oclock + 1 < b->doc->clients[s->oclient].sim)
            mark(b, s->oclient, s->oclock + 1);
        if (s->rclient != CV_NONE)
            mark(b, s->rclient, s->rclock);
    }
    for (uint32_t w = 0; w < b->words; w++) {
        b->rank[w] = b->items;
        b->items += ones(b->bits[w]);
    }
    return true;
}

/* ---- making them ---- */

/* The items of one struct.  False without memory, or if a cut falls into a
 * surrogate pair. */
static bool make_items(struct bulk *b, const struct cv_struct *s)
{
    struct cv_doc *doc = b->doc;
    struct cv_client *c = &doc->clients[s->client];
    struct part *p = &b->part[s->client];
    uint32_t clock = s->clock, end = clock + s->len, i = p->next;
    uint32_t off = c->log_len, left = s->content_len;
    bool ascii = s->content_len == s->len, inside = false;

    if (s->kind == CV_KIND_DELETED)
        cv_txn_deleted(doc, s->client, clock, s->len);
    if (left > 0)
        memcpy(c->log + off, b->base + s->content, left);
    c->log_len += left;
    while (clock < end) {
        struct cv_item *x = &doc->items[i];
        uint32_t stop = item_end(b, s->client, clock, end), bytes = left;

        if (stop < end && left > 0)
            bytes = ascii ? stop - clock
                          : (uint32_t)cv_utf8_offset(c->log + off, left,
                                                     stop - clock, &inside);
        if (inside)
            return false;
        x->client = s->client & CV_CLIENT_MASK;
        x->kind = s->kind & 0xfu;
        x->fresh = 0;
        x->lines = CV_LINES_UNKNOWN;
        x->clock = clock;
        x->len = stop - clock;
        x->oclient = clock > s->clock ? s->client : s->oclient;
        x->oclock = clock > s->clock ? clock - 1 : cv_struct_oclock(s);
        x->rclient = s->rclient;
        x->rclock = cv_struct_rclock(s);
        x->off = left > 0 ? off : 0;
        x->bytes = bytes;
        x->leaf = CV_NONE;
        cv_chain_append(doc, i);
        clock = stop;
        off += bytes;
        left -= bytes;
        i++;
    }
    p->next = i;
    c->next = end;
    return true;
}

/* Room for all of a client.  part.next becomes the next item, part.bytes the
 * number of them. */
static bool reserve_client(struct bulk *b, uint32_t client)
{
    struct part *p = &b->part[client];
    uint32_t last =
        client + 1 < b->doc->clients_n ? b->part[client + 1].word : b->words;
    uint32_t bytes = p->bytes;

    p->first = p->next = p->word < b->words ? b->rank[p->word] : b->items;
    p->bytes = (last < b->words ? b->rank[last] : b->items) - p->first;
    if (p->bytes == 0)
        return true;
    return cv_store_log_reserve(b->doc, client, bytes) == CV_OK;
}

static bool make_all(struct bulk *b)
{
    struct cv_doc *doc = b->doc;

    if (!cv_vec_grow((void **)&doc->items, &doc->items_cap, 0, b->items,
                     sizeof(*doc->items)) ||
        !cv_vec_reserve(&doc->txn.deleted, b->n))
        return false;
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        if (!reserve_client(b, i))
            return false;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        if (!make_items(b, nth(b, i)))
            return false;
    }
    return true;
}

/* ---- linking them ---- */

static bool same_unit(uint32_t client, uint32_t clock, uint32_t other,
                      uint32_t at)
{
    return client == other && (client == CV_NONE || clock == at);
}

/* The conflict scan of YATA (docs/protocol.md): the item that x goes behind,
 * `head` for the start.  CV_NONE when it takes too long or finds a GC. */
static uint32_t scan(struct bulk *b, const struct cv_item *x, uint32_t left,
                     uint32_t right)
{
    const struct cv_item *items = b->doc->items;
    const struct cv_client *clients = b->doc->clients;

    if (b->seen == NULL) {
        b->seen = calloc((size_t)b->items * 2, sizeof(*b->seen));
        if (b->seen == NULL)
            return CV_NONE;
        b->since = b->seen + b->items;
    }
    b->scan++;
    b->epoch++;
    for (uint32_t o = b->next[left]; o != right; o = b->next[o]) {
        const struct cv_item *y;

        if (o == CV_NONE)
            break;
        y = &items[o];
        if (++b->steps > (uint64_t)SCAN_STEPS * b->items)
            return CV_NONE;
        b->seen[o] = b->scan;
        b->since[o] = b->epoch;
        if (same_unit(x->oclient, x->oclock, y->oclient, y->oclock)) {
            if (clients[y->client].id < clients[x->client].id) {
                left = o;
                b->epoch++;
            } else if (same_unit(x->rclient, x->rclock, y->rclient,
                                 y->rclock)) {
                break;
            }
        } else {
            uint32_t h;

            if (y->oclient == CV_NONE)
                break;
            h = holder(b, y->oclient, y->oclock);
            if (b->seen[h] != b->scan)
                break;
            if (b->since[h] != b->epoch) {
                left = o;
                b->epoch++;
            }
        }
    }
    return left;
}

/* Link the items of one struct, from `item` on. */
static bool link_struct(struct bulk *b, const struct cv_struct *s,
                        uint32_t item)
{
    const struct cv_item *x = &b->doc->items[item];
    uint32_t left = b->items, right = CV_NONE, end = s->clock + s->len;

    if (s->oclient != CV_NONE) {
        left = holder(b, s->oclient, s->oclock);
        if (b->doc->items[left].kind == CV_KIND_GC)
            return false;
    }
    if (s->rclient != CV_NONE) {
        right = holder(b, s->rclient, s->rclock);
        if (b->doc->items[right].kind == CV_KIND_GC)
            return false;
    }
    if (b->next[left] != right) {
        left = scan(b, x, left, right);
        if (left == CV_NONE)
            return false;
        right = b->next[left];
    }
    b->next[left] = item;
    for (; cv_item_end(x) != end; x++, item++)
        b->next[item] = item + 1;
    b->next[item] = right;
    return true;
}

static bool link_all(struct bulk *b)
{
    uint32_t item = 0;

    b->next = malloc(((size_t)b->items + 1) * sizeof(*b->next));
    if (b->next == NULL)
        return false;
    b->next[b->items] = CV_NONE;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct cv_struct *s = nth(b, i);

        item = holder(b, s->client, s->clock);
        if (s->kind == CV_KIND_GC)
            continue;
        if (!link_struct(b, s, item))
            return false;
    }
    return true;
}

/* ---- the tree over them ---- */

/* Parents for nodes [from, from + n) of one level; the first of them. */
static uint32_t make_parents(struct cv_doc *doc, uint32_t from, uint32_t n,
                             uint32_t level)
{
    uint32_t first = doc->inners_n;

    for (uint32_t i = 0; i < n; i++) {
        struct cv_inner *in;

        if (i % FILL(CV_INNER_NODES) == 0) {
            in = &doc->inners[doc->inners_n++];
            in->level = level;
            in->parent = CV_NONE;
            in->n = 0;
        }
        in = &doc->inners[doc->inners_n - 1];
        in->child[in->n] = from + i;
        for (uint32_t k = 0; k < CV_WEIGHTS; k++) {
            uint32_t sum = 0;

            if (level == 1)
                sum = doc->leaves[from + i].sum[k];
            else
                for (uint32_t c = 0; c < doc->inners[from + i].n; c++)
                    sum += doc->inners[from + i].w[k][c];
            in->w[k][in->n] = sum;
        }
        if (level == 1) {
            doc->leaves[from + i].parent = doc->inners_n - 1;
            doc->leaves[from + i].slot = in->n;
        } else {
            doc->inners[from + i].parent = doc->inners_n - 1;
            doc->inners[from + i].slot = in->n;
        }
        in->n++;
    }
    return first;
}

static void fill_leaves(struct bulk *b, uint32_t list)
{
    struct cv_doc *doc = b->doc;
    struct cv_list *top = &doc->lists[list];
    struct cv_leaf *l = NULL;

    for (uint32_t i = b->next[b->items]; i != CV_NONE; i = b->next[i]) {
        struct cv_item *x = &doc->items[i];
        uint32_t newlines;

        if (l == NULL || l->n == FILL(CV_LEAF_ITEMS)) {
            uint32_t at = doc->leaves_n++;

            if (l != NULL)
                l->next = at;
            l = &doc->leaves[at];
            *l = (struct cv_leaf){.parent = CV_NONE,
                                  .list = list,
                                  .prev = at == 0 ? CV_NONE : at - 1,
                                  .next = CV_NONE};
        }
        x->leaf = doc->leaves_n - 1;
        l->at[l->n++] = (struct cv_entry){i, cv_item_visible(x)};
        l->sum[CV_BYTES] += cv_item_visible(x);
        l->sum[CV_UNITS] += cv_item_units(x);
        newlines = cv_item_newlines(doc, x);
        cv_item_set_newlines(x, newlines);
        l->sum[CV_NEWLINES] += newlines;
    }
    for (uint32_t i = 0; i < doc->leaves_n; i++) {
        for (uint32_t k = 0; k < CV_WEIGHTS; k++)
            top->sum[k] += doc->leaves[i].sum[k];
    }
}

static void build_tree(struct bulk *b, uint32_t list)
{
    struct cv_doc *doc = b->doc;
    struct cv_list *l = &doc->lists[list];
    uint32_t from = 0, n, level = 0;

    fill_leaves(b, list);
    n = doc->leaves_n;
    if (n == 0)
        return;
    while (n > 1) {
        from = make_parents(doc, from, n, ++level);
        n = doc->inners_n - from;
    }
    l->root = from;
    l->height = level;
    if (level > doc->height_max)
        doc->height_max = level;
}

/* Take all memory that is left to take. */
static bool reserve_tree(struct bulk *b, uint32_t *list)
{
    struct cv_doc *doc = b->doc;
    size_t leaves = b->items / FILL(CV_LEAF_ITEMS) + 2;
    size_t inners = leaves / (FILL(CV_INNER_NODES) - 1) + 34;

    return cv_vec_grow((void **)&doc->leaves, &doc->leaves_cap, 0, leaves,
                       sizeof(*doc->leaves)) &&
           cv_vec_grow((void **)&doc->inners, &doc->inners_cap, 0, inners,
                       sizeof(*doc->inners)) &&
           cv_vec_reserve(&doc->txn.touched, doc->clients_n) &&
           (!b->named ||
            cv_store_list_add(doc, CV_NONE, b->root, list) == CV_OK);
}

/* ---- all of it ---- */

/* Tell the transaction what has come. */
static void note_all(struct bulk *b)
{
    struct cv_doc *doc = b->doc;

    for (uint32_t i = 0; i < doc->clients_n; i++) {
        struct cv_client *c = &doc->clients[i];

        if (c->next == 0)
            continue;
        c->mark = doc->txn.serial;
        c->before = 0;
        c->newest = CV_NONE;
        doc->txn.touched.at[doc->txn.touched.n++] = i;
        doc->log_total += c->log_len;
    }
    doc->items_n = doc->items_used = b->items;
}

/* The document is empty again. */
static void clear_all(struct cv_doc *doc)
{
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        struct cv_client *c = &doc->clients[i];

        cv_chain_clear(c);
        free(c->log);
        c->log = NULL;
        c->log_len = c->log_cap = c->next = 0;
    }
    doc->txn.deleted.n = 0;
}

/* Where the bits of each client lie; false if they would be too many. */
static bool lay_out(struct bulk *b, size_t update_len)
{
    struct cv_doc *doc = b->doc;
    uint64_t words = 0;

    b->part = calloc((size_t)doc->clients_n, sizeof(*b->part));
    if (b->part == NULL)
        return false;
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        const struct cv_client *c = &doc->clients[i];

        b->part[i].word = (uint32_t)words;
        if (c->plan == doc->plan_serial)
            words += (c->sim + UINT64_C(63)) / 64;
        if (words > update_len * UNITS_PER_BYTE / 64 + doc->clients_n)
            return false;
    }
    b->words = (uint32_t)words;
    b->bits = calloc(words, sizeof(*b->bits));
    b->rank = malloc(words * sizeof(*b->rank));
    return b->bits != NULL && b->rank != NULL;
}

bool cv_bulk(struct cv_doc *doc, const struct cv_plan *plan)
{
    struct bulk b = {
        .doc = doc, .plan = plan, .n = plan->structs.n, .base = plan->base};
    uint32_t list = CV_NONE;
    bool done;

    /* All of it can go, and nothing was there or waiting. */
    if (doc->items_n > 0 || doc->leaves_n > 0 || doc->inners_n > 0 ||
        cv_doc_waiting(doc) ||
        (!plan->natural && plan->steps.n != plan->structs.n))
        return false;
    done = lay_out(&b, plan->len) && mark_all(&b) && make_all(&b) &&
           link_all(&b) && reserve_tree(&b, &list);
    if (done) {
        note_all(&b);
        if (list != CV_NONE)
            build_tree(&b, list);
    } else {
        clear_all(doc);
    }
    free(b.part);
    free(b.bits);
    free(b.rank);
    free(b.next);
    free(b.seen);
    return done;
}
