#include "crdt/encode.h"

#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <stdlib.h>

/* A run as it is written: neighbouring items that join, less the units that
 * the receiver has. */
struct group {
    uint32_t from; /* first item */
    uint32_t items;
    uint32_t clock; /* first unit written */
    uint32_t len;
    uint32_t bytes; /* of content, of whole items */
};

/* The group that begins with item `a`.  Returns the item behind it, CV_NONE
 * when that is the end. */
static uint32_t take_group(const struct cv_doc *doc, uint32_t a, uint32_t clock,
                           struct group *g)
{
    const struct cv_item *x = &doc->items[a], *y;
    uint32_t b;

    *g = (struct group){a, 1, clock, cv_item_end(x) - clock, x->bytes};
    while ((b = x->succ) != CV_NONE) {
        y = &doc->items[b];
        if (x->kind != y->kind ||
            (x->kind != CV_KIND_GC &&
             (!cv_item_joins(x, y) || cv_tree_next(doc, a) != b)))
            break;
        g->items++;
        g->len += y->len;
        g->bytes += y->bytes;
        a = b;
        x = y;
    }
    return b;
}

/* ---- writing small things without a call for each number ---- */

/* More than the fixed part of a struct, and of an update with one. */
#define PEN_BYTES 96

static inline uint8_t *pen_uint(uint8_t *p, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static inline uint8_t *pen_client(uint8_t *p, const struct cv_client *c)
{
    memcpy(p, c->id_wire, sizeof(c->id_wire));
    return p + c->id_len;
}

static bool pen_grow(struct cv_writer *w)
{
    if (w->err != CV_OK || !w->heap || w->max - w->len < PEN_BYTES ||
        cv_put_space(w, PEN_BYTES) == NULL)
        return false;
    w->len -= PEN_BYTES;
    return true;
}

/* Is there room to write at w->data + w->len at once? */
static inline bool pen_fits(struct cv_writer *w)
{
    return (w->err == CV_OK && w->cap - w->len >= PEN_BYTES) || pen_grow(w);
}

/* ---- groups ---- */

static void put_parent(const struct cv_doc *doc, struct cv_writer *w,
                       const struct cv_list *l)
{
    const struct cv_list *type = cv_list_is_key(l) ? &doc->lists[l->owner] : l;

    if (type->type_item == CV_NONE) {
        cv_put_varuint(w, 1);
        cv_put_varbytes(w, type->name, type->name_len);
    } else {
        const struct cv_item *x = &doc->items[type->type_item];

        cv_put_varuint(w, 0);
        cv_put_varuint(w, doc->clients[x->client].id);
        cv_put_varuint(w, x->clock);
    }
    if (cv_list_is_key(l))
        cv_put_varbytes(w, l->name, l->name_len);
}

/* Content of the items of a group behind the first `cut` units. */
static void put_content(const struct cv_doc *doc, struct cv_writer *w,
                        const struct group *g, uint32_t cut)
{
    const struct cv_item *x = &doc->items[g->from];
    struct cv_bytes content = {cv_item_content(doc, x), x->bytes};
    bool half = false;
    size_t at = 0;

    switch (x->kind) {
    case CV_KIND_DELETED:
        cv_put_varuint(w, g->len);
        return;
    case CV_KIND_STRING:
        if (x->bytes == x->len)
            at = cut;
        else if (cut > 0)
            at = cv_utf8_offset(content.data, content.len, cut, &half);
        if (half)
            at += cv_utf8_char_len(content.data[at]);
        cv_put_varuint(w, g->bytes - at + (half ? CV_UTF8_REPLACEMENT_LEN : 0));
        if (half)
            cv_put_raw(w, CV_UTF8_REPLACEMENT, CV_UTF8_REPLACEMENT_LEN);
        break;
    case CV_KIND_JSON:
    case CV_KIND_ANY:
        cv_put_varuint(w, g->len);
        if (cut > 0)
            at = cv_elements_offset(x->kind, content, cut);
        break;
    case CV_KIND_TYPE:
        content.data += sizeof(uint32_t); /* the number of its list */
        break;
    default:
        break;
    }
    cv_put_raw(w, content.data + at, content.len - at);
    for (uint32_t i = 1; i < g->items; i++) {
        x = &doc->items[x->succ];
        cv_put_raw(w, cv_item_content(doc, x), x->bytes);
    }
}

/* Info byte and origins.  If there are none the parent comes next. */
static inline uint8_t *pen_origins(uint8_t *p, const struct cv_doc *doc,
                                   const struct cv_item *x, uint32_t clock,
                                   bool key)
{
    bool origin = clock > x->clock || x->oclient != CV_NONE;
    bool right = x->rclient != CV_NONE;

    *p++ = (uint8_t)(x->kind | (origin ? CV_INFO_ORIGIN : 0u) |
                     (right ? CV_INFO_RIGHT : 0u) | (key ? CV_INFO_KEY : 0u));
    if (clock > x->clock) {
        p = pen_client(p, &doc->clients[x->client]);
        p = pen_uint(p, clock - 1);
    } else if (origin) {
        p = pen_client(p, &doc->clients[x->oclient]);
        p = pen_uint(p, x->oclock);
    }
    if (right) {
        p = pen_client(p, &doc->clients[x->rclient]);
        p = pen_uint(p, x->rclock);
    }
    return p;
}

/* The same for a writer that may have to grow. */
static void put_origins(const struct cv_doc *doc, struct cv_writer *w,
                        const struct cv_item *x, uint32_t clock, bool key)
{
    uint8_t own[PEN_BYTES];
    uint8_t *start = pen_fits(w) ? w->data + w->len : own;
    size_t n = (size_t)(pen_origins(start, doc, x, clock, key) - start);

    if (start == own)
        cv_put_raw(w, own, n);
    else
        w->len += n;
}

static void put_group(const struct cv_doc *doc, struct cv_writer *w,
                      const struct group *g)
{
    const struct cv_item *x = &doc->items[g->from];
    const struct cv_list *l;

    if (x->kind == CV_KIND_GC) {
        cv_put_u8(w, CV_KIND_GC);
        cv_put_varuint(w, g->len);
        return;
    }
    l = &doc->lists[doc->leaves[x->leaf].list];
    put_origins(doc, w, x, g->clock, cv_list_is_key(l));
    if (g->clock == x->clock && x->oclient == CV_NONE && x->rclient == CV_NONE)
        put_parent(doc, w, l);
    put_content(doc, w, g, g->clock - x->clock);
}

/* The block of one client from a clock below its state on. */
static void put_block(const struct cv_doc *doc, struct cv_writer *w,
                      uint32_t client, uint32_t from)
{
    const struct cv_client *c = &doc->clients[client];
    uint32_t start = cv_chain_find(doc, client, from), clock = from, n = 0;
    struct group g;

    for (uint32_t i = start; i != CV_NONE; n++, clock += g.len)
        i = take_group(doc, i, clock, &g);
    cv_put_varuint(w, n);
    cv_put_varuint(w, c->id);
    cv_put_varuint(w, from);
    if (n == 1) {
        put_group(doc, w, &g);
        return;
    }
    clock = from;
    for (uint32_t i = start; i != CV_NONE; clock += g.len) {
        i = take_group(doc, i, clock, &g);
        put_group(doc, w, &g);
    }
}

/* ---- the delete set of the whole document ---- */

/* The next run of deleted units at or behind item *at, which moves behind it;
 * false if there is none. */
static bool take_deleted(const struct cv_doc *doc, uint32_t *at,
                         uint32_t *clock, uint32_t *len)
{
    const struct cv_item *x;

    *len = 0;
    for (; *at != CV_NONE; *at = x->succ) {
        x = &doc->items[*at];
        if (cv_item_deleted(x)) {
            if (*len == 0)
                *clock = x->clock;
            *len += x->len;
        } else if (*len > 0) {
            return true;
        }
    }
    return *len > 0;
}

static uint32_t count_deleted(const struct cv_doc *doc,
                              const struct cv_client *c)
{
    uint32_t at = c->first, n = 0, clock, len;

    while (take_deleted(doc, &at, &clock, &len))
        n++;
    return n;
}

static void put_all_deleted(const struct cv_doc *doc, struct cv_writer *w,
                            const uint32_t *order, uint32_t n)
{
    uint32_t clients = 0;

    for (uint32_t i = 0; i < n; i++)
        clients += count_deleted(doc, &doc->clients[order[i]]) > 0;
    cv_put_varuint(w, clients);
    for (uint32_t i = 0; i < n; i++) {
        const struct cv_client *c = &doc->clients[order[i]];
        uint32_t ranges = count_deleted(doc, c), at = c->first, clock, len;

        if (ranges == 0)
            continue;
        cv_put_varuint(w, c->id);
        cv_put_varuint(w, ranges);
        while (take_deleted(doc, &at, &clock, &len)) {
            cv_put_varuint(w, clock);
            cv_put_varuint(w, len);
        }
    }
}

/* ---- state ---- */

static int no_memory(struct cv_writer *w)
{
    if (w->err == CV_OK)
        w->err = CV_ERR_NOMEM;
    return w->err;
}

int cv_doc_state_vector(const struct cv_doc *doc, struct cv_writer *out)
{
    uint32_t *order = malloc(((size_t)doc->clients_n + 1) * sizeof(*order)), n;

    if (order == NULL)
        return no_memory(out);
    cv_hot_settle(doc);
    n = cv_store_clients_sorted(doc, order);
    cv_put_varuint(out, n);
    for (uint32_t i = 0; i < n; i++) {
        cv_put_varuint(out, doc->clients[order[i]].id);
        cv_put_varuint(out, doc->clients[order[i]].next);
    }
    free(order);
    return out->err;
}

/* known[client] = clock, for the clients that we know.  As in Yjs the last of
 * several entries of one client counts and bytes behind the end do not: a
 * state vector only asks, it changes nothing. */
static int read_state_vector(const struct cv_doc *doc, struct cv_bytes bytes,
                             uint64_t *known)
{
    struct cv_reader r;
    uint64_t n;

    if (bytes.len == 0)
        return CV_OK;
    cv_reader_init(&r, bytes.data, bytes.len);
    n = cv_get_varuint(&r);
    if (n > cv_reader_left(&r) / 2)
        return CV_ERR_FORMAT;
    for (; n > 0; n--) {
        uint64_t id = cv_get_varuint(&r), clock = cv_get_varuint(&r);
        uint32_t c = cv_store_client(doc, id);

        if (r.err != CV_OK)
            return CV_ERR_FORMAT;
        if (c != CV_NONE)
            known[c] = clock;
    }
    return CV_OK;
}

int cv_doc_encode(const struct cv_doc *doc, struct cv_bytes state_vector,
                  struct cv_writer *out)
{
    uint32_t *order = malloc(((size_t)doc->clients_n + 1) * sizeof(*order));
    uint64_t *known = calloc((size_t)doc->clients_n + 1, sizeof(*known));
    uint32_t n, blocks = 0;
    int err = CV_ERR_NOMEM;

    if (order == NULL || known == NULL)
        goto out;
    cv_hot_settle(doc);
    err = read_state_vector(doc, state_vector, known);
    if (err != CV_OK)
        goto out;
    n = cv_store_clients_sorted(doc, order);
    for (uint32_t i = 0; i < n; i++)
        blocks += known[order[i]] < doc->clients[order[i]].next;
    cv_put_varuint(out, blocks);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t from = known[order[i]];

        if (from < doc->clients[order[i]].next)
            put_block(doc, out, order[i], (uint32_t)from);
    }
    put_all_deleted(doc, out, order, n);
    err = out->err;
out:
    free(order);
    free(known);
    return err;
}

bool cv_doc_covered_by(const struct cv_doc *doc, struct cv_bytes state_vector)
{
    uint64_t *known = calloc((size_t)doc->clients_n + 1, sizeof(*known));
    bool covered;

    if (known == NULL)
        return false;
    cv_hot_settle(doc);
    covered = read_state_vector(doc, state_vector, known) == CV_OK;
    for (uint32_t c = 0; covered && c < doc->clients_n; c++)
        covered = known[c] >= doc->clients[c].next;
    free(known);
    return covered;
}

/* ---- one transaction ---- */

static int by_client(const void *a, const void *b, void *clients)
{
    const struct cv_client *c = clients;
    uint64_t x = c[*(const uint32_t *)a].id, y = c[*(const uint32_t *)b].id;

    return x < y ? 1 : x > y ? -1 : 0;
}

static int by_unit(const void *a, const void *b, void *clients)
{
    const struct cv_deleted *x = a, *y = b;

    if (x->client != y->client)
        return by_client(&x->client, &y->client, clients);
    return x->clock < y->clock ? -1 : x->clock > y->clock ? 1 : 0;
}

/* Few enough for the arrays below to lie on the stack. */
#define SORT_MOST 1024
/* So few are moved one by one. */
#define SORT_FEW 24

static void sort_few(uint64_t *at, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint64_t x = at[i];
        uint32_t k = i;

        for (; k > 0 && at[k - 1] > x; k--)
            at[k] = at[k - 1];
        at[k] = x;
    }
}

/* By the byte at `shift`, stable. */
static void sort_byte(uint64_t *to, const uint64_t *from, uint32_t n,
                      unsigned shift)
{
    uint32_t place[256] = {0}, sum = 0;

    for (uint32_t i = 0; i < n; i++)
        place[from[i] >> shift & 0xff]++;
    for (unsigned i = 0; i < 256; i++) {
        uint32_t here = place[i];

        place[i] = sum;
        sum += here;
    }
    for (uint32_t i = 0; i < n; i++)
        to[place[from[i] >> shift & 0xff]++] = from[i];
}

/* Pieces of one client: byte by byte of the clock, the lowest first. */
static void sort_clocks(struct cv_deleted *d, uint32_t n)
{
    uint64_t keys[SORT_MOST], spare[SORT_MOST], *at = keys, *to = spare;
    uint32_t used = 0;

    for (uint32_t i = 0; i < n; i++) {
        keys[i] = (uint64_t)d[i].clock << 32 | d[i].len;
        used |= d[i].clock ^ d[0].clock;
    }
    if (n <= SORT_FEW)
        sort_few(keys, n);
    for (unsigned shift = 0; n > SORT_FEW && shift < 32; shift += 8) {
        uint64_t *former = at;

        if ((used >> shift & 0xff) == 0)
            continue;
        sort_byte(to, at, n, shift + 32);
        at = to;
        to = former;
    }
    for (uint32_t i = 0; i < n; i++) {
        d[i].clock = (uint32_t)(at[i] >> 32);
        d[i].len = (uint32_t)at[i];
    }
}

static void sort_deleted(const struct cv_doc *doc, struct cv_deleted *d,
                         uint32_t n)
{
    bool one = n <= SORT_MOST;

    for (uint32_t i = 1; i < n && one; i++)
        one = d[i].client == d[0].client;
    if (one)
        sort_clocks(d, n);
    else
        qsort_r(d, n, sizeof(*d), by_unit, doc->clients);
}

/* Sort the deleted pieces and join those that touch. */
static void tidy_deleted(struct cv_doc *doc)
{
    struct cv_deleted *d = doc->txn.deleted.at;
    uint32_t n = doc->txn.deleted.n, kept = 0;

    if (n < 2)
        return;
    sort_deleted(doc, d, n);
    for (uint32_t i = 1; i < n; i++) {
        if (d[i].client == d[kept].client &&
            d[i].clock == d[kept].clock + d[kept].len)
            d[kept].len += d[i].len;
        else
            d[++kept] = d[i];
    }
    doc->txn.deleted.n = kept + 1;
}

static inline void put_number(struct cv_writer *w, uint32_t v)
{
    if (pen_fits(w))
        w->len = (size_t)(pen_uint(w->data + w->len, v) - w->data);
    else
        cv_put_varuint(w, v);
}

static void put_range(struct cv_writer *w, uint32_t clock, uint32_t len)
{
    uint8_t *p;

    if (!pen_fits(w)) {
        cv_put_varuint(w, clock);
        cv_put_varuint(w, len);
        return;
    }
    p = pen_uint(w->data + w->len, clock);
    w->len = (size_t)(pen_uint(p, len) - w->data);
}

static void put_txn_deleted(struct cv_doc *doc, struct cv_writer *w)
{
    const struct cv_deleted *d = doc->txn.deleted.at;
    uint32_t n = doc->txn.deleted.n, clients = 0, end;

    for (uint32_t i = 0; i < n; i++)
        clients += i == 0 || d[i].client != d[i - 1].client;
    put_number(w, clients);
    for (uint32_t i = 0; i < n; i = end) {
        for (end = i + 1; end < n && d[end].client == d[i].client;)
            end++;
        cv_put_varuint(w, doc->clients[d[i].client].id);
        put_number(w, end - i);
        for (uint32_t k = i; k < end; k++)
            put_range(w, d[k].clock, d[k].len);
    }
}

/* The common transactions: one piece inserted or deleted, or both.  False if it
 * has to go the long way.  What is deleted is still to be put. */
static inline bool put_typed(struct cv_doc *doc, struct cv_writer *w)
{
    const struct cv_client *c = &doc->clients[doc->txn.touched.at[0]];
    const struct cv_item *x = &doc->items[c->last];
    uint32_t from = c->before, at = from - x->clock, len;
    const uint8_t *text;
    uint8_t *p;

    /* Text of ASCII, all in one item, and the parent need not be told. */
    if (!pen_fits(w) || x->clock > from || x->kind != CV_KIND_STRING ||
        x->bytes != x->len ||
        cv_list_is_key(&doc->lists[doc->leaves[x->leaf].list]) ||
        (at == 0 && x->oclient == CV_NONE && x->rclient == CV_NONE))
        return false;
    len = x->len - at;
    text = c->log + x->off + at;
    p = w->data + w->len;
    *p++ = 1;
    *p++ = 1;
    p = pen_client(p, c);
    p = pen_uint(p, from);
    p = pen_origins(p, doc, x, from, false);
    p = pen_uint(p, len);
    if (len > CV_KEYSTROKE) {
        w->len = (size_t)(p - w->data);
        cv_put_raw(w, text, len);
        return true;
    }
    do
        *p++ = *text++;
    while (--len > 0);
    w->len = (size_t)(p - w->data);
    return true;
}

static inline uint8_t *pen_deleted(uint8_t *p, const struct cv_client *c,
                                   uint32_t clock, uint32_t len)
{
    *p++ = 0;
    *p++ = 1;
    p = pen_client(p, c);
    *p++ = 1;
    p = pen_uint(p, clock);
    return pen_uint(p, len);
}

static inline bool put_one_deleted(const struct cv_doc *doc,
                                   struct cv_writer *w)
{
    const struct cv_deleted *d = &doc->txn.deleted.at[0];
    uint8_t *p;

    if (!pen_fits(w))
        return false;
    p = pen_deleted(w->data + w->len, &doc->clients[d->client], d->clock,
                    d->len);
    w->len = (size_t)(p - w->data);
    return true;
}

/* What each keystroke of the hot run begins with: its origin is the unit
 * before it. */
static CV_APART void cut_stamps(struct cv_doc *doc)
{
    const struct cv_hot *hot = &doc->hot;
    const struct cv_client *c = &doc->clients[doc->self];
    const struct cv_item *x =
        &doc->items[doc->leaves[hot->leaf].item[hot->pos]];
    struct cv_stamps *s = &doc->stamps;
    uint8_t *p = s->head.bytes;

    *p++ = 1;
    *p++ = 1;
    s->head.len = (uint32_t)(pen_client(p, c) - s->head.bytes);
    p = s->origin.bytes;
    *p++ = (uint8_t)(x->kind | CV_INFO_ORIGIN |
                     (x->rclient != CV_NONE ? CV_INFO_RIGHT : 0u));
    s->origin.len = (uint32_t)(pen_client(p, c) - s->origin.bytes);
    p = s->right.bytes;
    if (x->rclient != CV_NONE) {
        p = pen_client(p, &doc->clients[x->rclient]);
        p = pen_uint(p, x->rclock);
    }
    s->right.len = (uint32_t)(p - s->right.bytes);
    s->ready = true;
}

static inline uint8_t *pen_stamp(uint8_t *p, const struct cv_stamp *s)
{
    memcpy(p, s->bytes, sizeof(s->bytes));
    return p + s->len;
}

/* Taken back at the place of the last edit. */
static inline uint8_t *pen_gone(uint8_t *p, const struct cv_doc *doc,
                                uint32_t len)
{
    const struct cv_hot *hot = &doc->hot;
    const struct cv_item *x =
        &doc->items[doc->leaves[hot->leaf].item[hot->pos]];
    uint32_t at =
        hot->forward ? x->clock + hot->begun : cv_item_end(x) - hot->gone;

    return pen_deleted(p, &doc->clients[x->client], at, len);
}

/* Typed there. */
static inline uint8_t *pen_typed(uint8_t *p, const struct cv_doc *doc,
                                 uint32_t len)
{
    const struct cv_stamps *s = &doc->stamps;
    const uint8_t *text = doc->hot.to - len;
    uint32_t from = doc->clients[doc->self].next + doc->hot.begun;

    p = pen_stamp(p, &s->head);
    p = pen_uint(p, from);
    p = pen_stamp(p, &s->origin);
    p = pen_uint(p, from - 1);
    p = pen_stamp(p, &s->right);
    *p++ = (uint8_t)len;
    *p++ = *text++;
    while (--len > 0)
        *p++ = *text++;
    *p++ = 0;
    return p;
}

bool cv_encode_hot(struct cv_doc *doc, struct cv_writer *out)
{
    const struct cv_hot *hot = &doc->hot;
    uint32_t len = hot->typed + hot->gone - hot->begun;
    uint8_t *p;

    if (len == 0 || len > CV_KEYSTROKE || !pen_fits(out))
        return false;
    p = out->data + out->len;
    if (hot->gone > 0) {
        p = pen_gone(p, doc, len);
    } else {
        if (!doc->stamps.ready)
            cut_stamps(doc);
        p = pen_typed(p, doc, len);
    }
    out->len = (size_t)(p - out->data);
    return true;
}

int cv_encode_txn(struct cv_doc *doc, struct cv_writer *out)
{
    struct cv_txn *t = &doc->txn;

    if (t->touched.n == 0 && t->deleted.n == 1 && put_one_deleted(doc, out))
        return CV_OK;
    if (!cv_txn_news(doc))
        return out->err;
    if (t->touched.n > 1)
        qsort_r(t->touched.at, t->touched.n, sizeof(*t->touched.at), by_client,
                doc->clients);
    if (t->touched.n != 1 || !put_typed(doc, out)) {
        cv_put_varuint(out, t->touched.n);
        for (uint32_t i = 0; i < t->touched.n; i++)
            put_block(doc, out, t->touched.at[i],
                      doc->clients[t->touched.at[i]].before);
    }
    tidy_deleted(doc);
    put_txn_deleted(doc, out);
    return out->err;
}
