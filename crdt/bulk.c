#include "crdt/bulk.h"

#include "crdt/chain.h"
#include "crdt/plan.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <assert.h>
#include <stdlib.h>

/* One bit a unit is taken, and half of that again.  More units than this for
 * a byte of the update, that is mostly tombstones, are not worth it. */
#define UNITS_PER_BYTE 16

/* Steps of conflict scans for each item; beyond, cv_integrate() is better. */
#define SCAN_STEPS 8

/* What is filled of leaves and inner nodes, so that the next edits
 * find room. */
#define FILL(max) ((max)*7 / 8)

#define PLAIN_KINDS                                                            \
    (1u << CV_KIND_GC | 1u << CV_KIND_DELETED | 1u << CV_KIND_STRING)

struct cv_bulk_part {
    uint32_t word;  /* its first one in `bits` */
    uint32_t first; /* its first item */
    uint32_t bytes; /* content */
};

/* ---- one item for each struct ---- */

bool cv_bulk_open(struct cv_bulk *b, struct cv_doc *doc, struct cv_bytes update)
{
    if (doc->items_n > 0 || doc->leaves_n > 0 || doc->inners_n > 0 ||
        cv_doc_waiting(doc))
        return false;
    *b = (struct cv_bulk){
        .doc = doc, .update = update, .list = CV_NONE, .head = CV_NONE};
    return true;
}

bool cv_bulk_reserve(struct cv_bulk *b, size_t more)
{
    struct cv_doc *doc = b->doc;

    return doc->items_cap - b->n >= more ||
           cv_vec_grow((void **)&doc->items, &doc->items_cap, b->n, more,
                       sizeof(*doc->items));
}

/* Is it what a text is made of? */
static bool is_plain(struct cv_bulk *b, const struct cv_struct *s)
{
    struct cv_bytes name;

    if ((1u << s->kind & PLAIN_KINDS) == 0 || (s->info & CV_INFO_KEY) ||
        s->parent == CV_PARENT_ITEM)
        return false;
    if (s->parent != CV_PARENT_ROOT)
        return true;
    name = cv_struct_root(s, b->update.data);
    if (!b->named)
        b->root = name;
    b->named = true;
    return cv_bytes_equal(b->root, name);
}

/* The content stays in the update at first. */
bool cv_bulk_take(struct cv_bulk *b, const struct cv_struct *s)
{
    struct cv_doc *doc = b->doc;
    struct cv_client *c = &doc->clients[s->client];
    struct cv_item *x;

    assert(b->n < doc->items_cap);
    if (s->clock != c->next || !is_plain(b, s))
        return false;
    if (c->next == 0)
        c->first = b->n;
    else if (doc->items[b->n - 1].client != s->client)
        return false; /* a second block of it */
    x = &doc->items[b->n++];
    x->client = s->client & CV_CLIENT_MASK;
    x->kind = s->kind & 0xfu;
    x->fresh = 0;
    x->marked = 0;
    x->lines = CV_LINES_UNKNOWN;
    x->clock = s->clock;
    x->len = s->len;
    x->oclient = s->oclient;
    x->oclock = cv_struct_oclock(s);
    x->rclient = s->rclient;
    x->rclock = cv_struct_rclock(s);
    x->off = s->content;
    x->bytes = s->content_len;
    x->leaf = CV_NONE;
    c->next += s->len;
    return true;
}

/* ---- where items begin ---- */

static uint32_t ones(uint64_t v)
{
    v -= v >> 1 & UINT64_C(0x5555555555555555);
    v = (v & UINT64_C(0x3333333333333333)) +
        (v >> 2 & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (uint32_t)(v * UINT64_C(0x0101010101010101) >> 56);
}

static void mark(struct cv_bulk *b, uint32_t client, uint32_t clock)
{
    b->bits[b->part[client].word + clock / 64] |= UINT64_C(1) << clock % 64;
}

/* The item that holds a unit. */
static uint32_t holder(const struct cv_bulk *b, uint32_t client, uint32_t clock)
{
    const struct cv_bulk_part *p = &b->part[client];
    uint32_t w = p->word + clock / 64;

    return p->first + b->rank[w] + ones(b->bits[w] << (63 - clock % 64)) - 1;
}

/* The end of the item that begins at `clock`, at most `end`. */
static uint32_t item_end(const struct cv_bulk *b, uint32_t client,
                         uint32_t clock, uint32_t end)
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

/* Where the bits of each client lie; false if they would be too many. */
static bool lay_out(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;
    uint64_t words = 0, most = b->update.len * (uint64_t)UNITS_PER_BYTE / 64;

    b->part = calloc((size_t)doc->clients_n, sizeof(*b->part));
    if (b->part == NULL)
        return false;
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        const struct cv_client *c = &doc->clients[i];

        b->part[i].word = (uint32_t)words;
        b->part[i].first = c->first;
        words += (c->next + UINT64_C(63)) / 64;
        if (words > most + doc->clients_n)
            return false;
    }
    b->words = (uint32_t)words;
    b->bits = calloc(words + 1, sizeof(*b->bits));
    b->rank = malloc((words + 1) * sizeof(*b->rank));
    return b->bits != NULL && b->rank != NULL;
}

/* Long text is cut so that no item holds more than CV_RUN_BYTES. */
static void mark_pieces(struct cv_bulk *b, const struct cv_item *x)
{
    const uint8_t *text = b->update.data + x->off;
    uint32_t left = x->bytes, clock = x->clock;

    while (left > CV_RUN_BYTES) {
        uint32_t n = CV_RUN_BYTES;

        while (!cv_utf8_border(text, n))
            n--;
        clock += (uint32_t)cv_utf8_units(text, n);
        mark(b, x->client, clock);
        text += n;
        left -= n;
    }
}

/* How many items it will be. */
static uint32_t mark_all(struct cv_bulk *b)
{
    const struct cv_doc *doc = b->doc;
    uint32_t items = 0;

    for (uint32_t i = 0; i < b->n; i++) {
        const struct cv_item *x = &doc->items[i];

        b->part[x->client].bytes += x->bytes;
        mark(b, x->client, x->clock);
        if (x->bytes > CV_RUN_BYTES)
            mark_pieces(b, x);
        if (x->oclient != CV_NONE &&
            x->oclock + 1 < doc->clients[x->oclient].next)
            mark(b, x->oclient, x->oclock + 1);
        if (x->rclient != CV_NONE)
            mark(b, x->rclient, x->rclock);
    }
    for (uint32_t i = 0, w = 0; i < doc->clients_n; i++) {
        uint32_t end = i + 1 < doc->clients_n ? b->part[i + 1].word : b->words;
        uint32_t n = 0;

        for (; w < end; w++) {
            b->rank[w] = n;
            n += ones(b->bits[w]);
        }
        items += n;
    }
    return items;
}

/* ---- cutting them ---- */

/* Put the pieces of an item to `to`, which moves on.  False if a cut falls into
 * a surrogate pair. */
static bool cut_item(const struct cv_bulk *b, const struct cv_item *x,
                     struct cv_item **to)
{
    uint32_t clock = x->clock, end = cv_item_end(x), off = x->off;
    uint32_t left = x->bytes;
    bool inside = false;

    while (clock < end) {
        struct cv_item *y = (*to)++;
        uint32_t stop = item_end(b, x->client, clock, end), bytes = left;

        if (stop < end && left > 0)
            bytes = x->bytes == x->len
                        ? stop - clock
                        : (uint32_t)cv_utf8_offset(b->update.data + off, left,
                                                   stop - clock, &inside);
        if (inside)
            return false;
        *y = *x;
        y->clock = clock;
        y->len = stop - clock;
        y->off = off;
        y->bytes = bytes;
        if (clock > x->clock) {
            y->oclient = x->client;
            y->oclock = clock - 1;
        }
        clock = stop;
        off += bytes;
        left -= bytes;
    }
    return true;
}

/* A state rarely has others point into an item; it takes a second array. */
static bool cut_all(struct cv_bulk *b, uint32_t items)
{
    struct cv_doc *doc = b->doc;
    struct cv_item *cut = malloc(items * sizeof(*cut)), *to = cut;
    bool done = cut != NULL;

    for (uint32_t i = 0; i < b->n && done; i++) {
        const struct cv_item *x = &doc->items[i];

        if (x->clock == 0)
            b->part[x->client].first = (uint32_t)(to - cut);
        done = cut_item(b, x, &to);
    }
    if (!done) {
        free(cut);
        return false;
    }
    free(doc->items);
    doc->items = cut;
    doc->items_cap = b->n = items;
    return true;
}

/* ---- what they hold ---- */

/* Move the content of an item into the log of its client. */
static void keep_text(struct cv_bulk *b, struct cv_item *x)
{
    struct cv_doc *doc = b->doc;
    uint8_t *log = doc->clients[x->client].log;
    const uint8_t *text = b->update.data + x->off;
    uint32_t off = cv_store_log_extend(doc, x->client, x->bytes);

    if (log != NULL && b->update.len - x->off >= CV_UTF8_PAD)
        cv_utf8_copy_block(log + off, text, x->bytes);
    else if (x->bytes > 0)
        cv_utf8_copy_padded(log + off, text, x->bytes);
    x->off = off & -(uint32_t)(x->bytes > 0);
}

/* Fill the logs, link each client's items, note what is deleted: which that
 * will be cannot be foreseen, so no branch asks. */
static bool fill_all(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;
    struct cv_deleted *gone;

    if (!cv_vec_reserve(&doc->txn.deleted, b->n))
        return false;
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        if (b->part[i].bytes > 0 &&
            cv_store_log_reserve(doc, i, b->part[i].bytes) != CV_OK)
            return false;
    }
    gone = doc->txn.deleted.at;
    for (uint32_t i = 0; i < b->n; i++) {
        struct cv_item *x = &doc->items[i];

        *gone = (struct cv_deleted){x->client, x->clock, x->len};
        gone += x->kind == CV_KIND_DELETED;
        keep_text(b, x);
        cv_chain_append(doc, i);
    }
    doc->txn.deleted.n = (uint32_t)(gone - doc->txn.deleted.at);
    return true;
}

/* ---- linking them; until there are leaves, `leaf` is the next item ---- */

static uint32_t *next_of(struct cv_bulk *b, uint32_t item)
{
    return item == CV_NONE ? &b->head : &b->doc->items[item].leaf;
}

static bool same_unit(uint32_t client, uint32_t clock, uint32_t other,
                      uint32_t at)
{
    return client == other && (client == CV_NONE || clock == at);
}

/* The conflict scan of YATA (docs/protocol.md): *left becomes the item that x
 * goes behind, CV_NONE for the start.  False when it takes too long. */
static bool scan(struct cv_bulk *b, const struct cv_item *x, uint32_t *left,
                 uint32_t right)
{
    const struct cv_item *items = b->doc->items;
    const struct cv_client *clients = b->doc->clients;

    if (b->seen == NULL) {
        b->seen = calloc((size_t)b->n * 2, sizeof(*b->seen));
        if (b->seen == NULL)
            return false;
        b->since = b->seen + b->n;
    }
    b->scan++;
    b->epoch++;
    for (uint32_t o = *next_of(b, *left); o != right; o = items[o].leaf) {
        const struct cv_item *y;

        if (o == CV_NONE)
            break;
        y = &items[o];
        if (++b->steps > (uint64_t)SCAN_STEPS * b->n)
            return false;
        b->seen[o] = b->scan;
        b->since[o] = b->epoch;
        if (same_unit(x->oclient, x->oclock, y->oclient, y->oclock)) {
            if (clients[y->client].id < clients[x->client].id) {
                *left = o;
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
                *left = o;
                b->epoch++;
            }
        }
    }
    return true;
}

static bool link_item(struct cv_bulk *b, uint32_t item)
{
    struct cv_item *items = b->doc->items, *x = &items[item];
    uint32_t left = CV_NONE, right = CV_NONE, *next;

    if (x->oclient != CV_NONE) {
        left = holder(b, x->oclient, x->oclock);
        if (items[left].kind == CV_KIND_GC)
            return false;
    }
    if (x->rclient != CV_NONE) {
        right = holder(b, x->rclient, x->rclock);
        if (items[right].kind == CV_KIND_GC)
            return false;
    }
    next = next_of(b, left);
    if (*next != right) {
        if (!scan(b, x, &left, right))
            return false;
        next = next_of(b, left);
    }
    x->leaf = *next;
    *next = item;
    return true;
}

static bool link_all(struct cv_bulk *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->doc->items[i].kind != CV_KIND_GC && !link_item(b, i))
            return false;
    }
    return true;
}

static bool link_steps(struct cv_bulk *b, const struct cv_step *steps,
                       uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct cv_struct *s = steps[i].s;
        uint32_t item = holder(b, s->client, s->clock), clock = s->clock;

        if (s->kind == CV_KIND_GC)
            continue;
        for (; clock < s->clock + s->len; item++) {
            clock = cv_item_end(&b->doc->items[item]);
            if (!link_item(b, item))
                return false;
        }
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

static void fill_leaves(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;
    struct cv_list *top = &doc->lists[b->list];
    struct cv_leaf *l = NULL;

    for (uint32_t i = b->head, next; i != CV_NONE; i = next) {
        struct cv_item *x = &doc->items[i];
        uint32_t newlines;

        if (l == NULL || l->n == FILL(CV_LEAF_ITEMS)) {
            uint32_t at = doc->leaves_n++;

            if (l != NULL)
                l->next = at;
            l = &doc->leaves[at];
            *l = (struct cv_leaf){.parent = CV_NONE,
                                  .list = b->list,
                                  .prev = at == 0 ? CV_NONE : at - 1,
                                  .next = CV_NONE};
        }
        next = x->leaf;
        x->leaf = doc->leaves_n - 1;
        l->at[l->n++] = (struct cv_entry){i, cv_item_visible(x)};
        l->sum[CV_BYTES] += cv_item_visible(x);
        l->sum[CV_UNITS] += cv_item_units(x);
        newlines = (uint32_t)cv_utf8_newlines_padded(cv_item_content(doc, x),
                                                     x->bytes);
        cv_item_set_newlines(x, newlines);
        l->sum[CV_NEWLINES] += newlines;
    }
    for (uint32_t i = 0; i < doc->leaves_n; i++) {
        for (uint32_t k = 0; k < CV_WEIGHTS; k++)
            top->sum[k] += doc->leaves[i].sum[k];
    }
}

static void build_tree(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;
    struct cv_list *l = &doc->lists[b->list];
    uint32_t from = 0, n, level = 0;

    fill_leaves(b);
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
static bool reserve_tree(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;
    size_t leaves = b->n / FILL(CV_LEAF_ITEMS) + 2;
    size_t inners = leaves / (FILL(CV_INNER_NODES) - 1) + 34;

    return cv_vec_grow((void **)&doc->leaves, &doc->leaves_cap, 0, leaves,
                       sizeof(*doc->leaves)) &&
           cv_vec_grow((void **)&doc->inners, &doc->inners_cap, 0, inners,
                       sizeof(*doc->inners)) &&
           cv_vec_reserve(&doc->txn.touched, doc->clients_n) &&
           (!b->named ||
            cv_store_list_add(doc, CV_NONE, b->root, &b->list) == CV_OK);
}

/* ---- all of it ---- */

bool cv_bulk_link(struct cv_bulk *b, const struct cv_step *steps, uint32_t n)
{
    uint32_t items;

    if (!lay_out(b))
        return false;
    items = mark_all(b);
    return (items == b->n || cut_all(b, items)) && fill_all(b) &&
           (steps == NULL ? link_all(b) : link_steps(b, steps, n)) &&
           reserve_tree(b);
}

void cv_bulk_commit(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;

    /* Tell the transaction what has come. */
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        struct cv_client *c = &doc->clients[i];

        if (c->next == 0)
            continue;
        c->mark = doc->txn.serial;
        c->before = 0;
        c->newest = CV_NONE;
        doc->txn.touched.at[doc->txn.touched.n++] = i;
    }
    doc->items_n = doc->items_used = b->n;
    if (b->list != CV_NONE)
        build_tree(b);
}

static bool has_gone(const struct cv_bulk *b, const struct cv_deleted *r)
{
    const struct cv_doc *doc = b->doc;
    uint32_t clock = r->clock, end = r->clock + r->len, item;

    if (end > doc->clients[r->client].next)
        return false;
    for (item = holder(b, r->client, clock); clock < end; item++) {
        if (!cv_item_deleted(&doc->items[item]))
            return false;
        clock = cv_item_end(&doc->items[item]);
    }
    return true;
}

uint32_t cv_bulk_skim(const struct cv_bulk *b, struct cv_deleted *ranges,
                      uint32_t n)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (!has_gone(b, &ranges[i]))
            ranges[kept++] = ranges[i];
    }
    return kept;
}

void cv_bulk_drop(struct cv_bulk *b)
{
    struct cv_doc *doc = b->doc;

    for (uint32_t i = 0; i < doc->clients_n; i++) {
        struct cv_client *c = &doc->clients[i];

        cv_chain_clear(c);
        free(c->log);
        doc->log_total -= c->log_len;
        c->log = NULL;
        c->log_len = c->log_cap = c->next = 0;
    }
    doc->txn.deleted.n = 0;
    free(doc->items);
    doc->items = NULL;
    doc->items_cap = 0;
    cv_bulk_close(b);
}

void cv_bulk_close(struct cv_bulk *b)
{
    free(b->part);
    free(b->bits);
    free(b->rank);
    free(b->seen);
    *b = (struct cv_bulk){.doc = NULL};
}
