#include "crdt/encode.h"

#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/pen.h"
#include "crdt/sort.h"
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
        p = cv_pen_client(p, &doc->clients[x->client]);
        p = cv_pen_uint(p, clock - 1);
    } else if (origin) {
        p = cv_pen_client(p, &doc->clients[x->oclient]);
        p = cv_pen_uint(p, x->oclock);
    }
    if (right) {
        p = cv_pen_client(p, &doc->clients[x->rclient]);
        p = cv_pen_uint(p, x->rclock);
    }
    return p;
}

/* Text that has an origin, in one go.  False: it has to go the long way. */
static inline bool pen_text(const struct cv_doc *doc, struct cv_writer *w,
                            const struct group *g, bool key)
{
    const struct cv_item *x = &doc->items[g->from];
    uint32_t cut = g->clock - x->clock, len = x->bytes - cut;
    const uint8_t *text;
    uint8_t *p;

    if (x->kind != CV_KIND_STRING || (cut > 0 && x->bytes != x->len) ||
        (cut == 0 && x->oclient == CV_NONE && x->rclient == CV_NONE))
        return false;
    p = cv_pen_room(w, (size_t)g->bytes + CV_PEN_BYTES);
    if (p == NULL)
        return false;
    p = pen_origins(p, doc, x, g->clock, key);
    p = cv_pen_uint(p, g->bytes - cut);
    text = cv_item_content(doc, x) + cut;
    p = cv_pen_text(p, text, len);
    for (uint32_t i = 1; i < g->items; i++) {
        x = &doc->items[x->succ];
        memcpy(p, cv_item_content(doc, x), x->bytes);
        p += x->bytes;
    }
    cv_pen_done(w, p);
    return true;
}

static void put_group(const struct cv_doc *doc, struct cv_writer *w,
                      const struct group *g)
{
    const struct cv_item *x = &doc->items[g->from];
    uint8_t origins[CV_PEN_BYTES];
    const struct cv_list *l;
    const uint8_t *end;

    if (x->kind == CV_KIND_GC) {
        cv_put_u8(w, CV_KIND_GC);
        cv_put_varuint(w, g->len);
        return;
    }
    l = &doc->lists[doc->leaves[x->leaf].list];
    if (pen_text(doc, w, g, cv_list_is_key(l)))
        return;
    end = pen_origins(origins, doc, x, g->clock, cv_list_is_key(l));
    cv_put_raw(w, origins, (size_t)(end - origins));
    if (g->clock == x->clock && x->oclient == CV_NONE && x->rclient == CV_NONE)
        put_parent(doc, w, l);
    put_content(doc, w, g, g->clock - x->clock);
}

/* So few groups are remembered between counting and writing them. */
#define GROUPS_FEW 32

static void put_block_head(const struct cv_doc *doc, struct cv_writer *w,
                           uint32_t groups, uint32_t client, uint32_t from)
{
    const struct cv_client *c = &doc->clients[client];
    uint8_t *p = cv_pen_room(w, CV_PEN_BYTES);

    if (p == NULL) {
        cv_put_varuint(w, groups);
        cv_put_varuint(w, c->id);
        cv_put_varuint(w, from);
        return;
    }
    p = cv_pen_uint(p, groups);
    p = cv_pen_client(p, c);
    cv_pen_done(w, cv_pen_uint(p, from));
}

/* The block of one client from a clock below its state on, which is in the item
 * `start`. */
static void put_block(const struct cv_doc *doc, struct cv_writer *w,
                      uint32_t client, uint32_t from, uint32_t start)
{
    uint32_t clock = from, n = 0;
    struct group few[GROUPS_FEW], *g = few;

    for (uint32_t i = start; i != CV_NONE; n++, clock += g->len) {
        g = &few[n % GROUPS_FEW];
        i = take_group(doc, i, clock, g);
    }
    put_block_head(doc, w, n, client, from);
    for (uint32_t i = 0; i < n && n <= GROUPS_FEW; i++)
        put_group(doc, w, &few[i]);
    if (n <= GROUPS_FEW)
        return;
    clock = from;
    for (uint32_t i = start; i != CV_NONE; clock += g->len) {
        i = take_group(doc, i, clock, g);
        put_group(doc, w, g);
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
            put_block(doc, out, order[i], (uint32_t)from,
                      cv_chain_find(doc, order[i], (uint32_t)from));
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

/* So many ranges lie on the stack. */
#define RANGES_FEW 512

/* Deleted ranges of one client, each a clock and a length, in any order: `at`
 * and `spare` have room for them. */
static bool put_ranges(struct cv_doc *doc, struct cv_writer *w, uint64_t *at,
                       uint64_t *spare)
{
    const struct cv_deleted *d = doc->txn.deleted.at;
    uint32_t n = doc->txn.deleted.n;
    uint8_t *p;

    for (uint32_t i = 0; i < n; i++) {
        if (d[i].client != d[0].client)
            return false;
        at[i] = cv_range_key(d[i].clock, d[i].len);
    }
    p = cv_pen_room(w, (size_t)n * 2 * CV_PEN_UINT + CV_PEN_BYTES);
    if (p == NULL)
        return false;
    at = cv_sort_ranges(at, spare, n);
    n = cv_join_ranges(at, n);
    *p++ = 1;
    p = cv_pen_client(p, &doc->clients[d->client]);
    p = cv_pen_uint(p, n);
    for (uint32_t i = 0; i < n; i++) {
        p = cv_pen_uint(p, (uint32_t)(at[i] >> 32));
        p = cv_pen_uint(p, (uint32_t)at[i]);
    }
    cv_pen_done(w, p);
    return true;
}

/* The deleted ranges, if they are of one client. */
static CV_APART bool put_own_deleted(struct cv_doc *doc, struct cv_writer *w)
{
    uint64_t few[2 * RANGES_FEW], *many;
    size_t n = doc->txn.deleted.n;
    bool put;

    if (n == 0)
        return false;
    if (n <= RANGES_FEW)
        return put_ranges(doc, w, few, few + n);
    many = malloc(2 * n * sizeof(*many));
    if (many == NULL)
        return false;
    put = put_ranges(doc, w, many, many + n);
    free(many);
    return put;
}

/* Sort the deleted ranges and join those that touch. */
static void tidy_deleted(struct cv_doc *doc)
{
    struct cv_deleted *d = doc->txn.deleted.at;
    uint32_t n = doc->txn.deleted.n, kept = 0;

    if (n < 2)
        return;
    qsort_r(d, n, sizeof(*d), by_unit, doc->clients);
    for (uint32_t i = 1; i < n; i++) {
        if (d[i].client == d[kept].client &&
            d[i].clock == d[kept].clock + d[kept].len)
            d[kept].len += d[i].len;
        else
            d[++kept] = d[i];
    }
    doc->txn.deleted.n = kept + 1;
}

static void put_txn_deleted(struct cv_doc *doc, struct cv_writer *w)
{
    const struct cv_deleted *d = doc->txn.deleted.at;
    uint32_t n, clients = 0, end;

    if (put_own_deleted(doc, w))
        return;
    tidy_deleted(doc);
    n = doc->txn.deleted.n;
    for (uint32_t i = 0; i < n; i++)
        clients += i == 0 || d[i].client != d[i - 1].client;
    cv_put_varuint(w, clients);
    for (uint32_t i = 0; i < n; i = end) {
        for (end = i + 1; end < n && d[end].client == d[i].client;)
            end++;
        cv_put_varuint(w, doc->clients[d[i].client].id);
        cv_put_varuint(w, end - i);
        for (uint32_t k = i; k < end; k++) {
            cv_put_varuint(w, d[k].clock);
            cv_put_varuint(w, d[k].len);
        }
    }
}

/* The common transaction: text in one item of ASCII, and the parent need not be
 * told.  False: it has to go the long way.  What is deleted is still to be
 * put. */
static inline bool put_typed(const struct cv_doc *doc, struct cv_writer *w)
{
    const struct cv_client *c = &doc->clients[doc->txn.touched.at[0]];
    const struct cv_item *x = &doc->items[c->last];
    uint32_t from = c->before, at = from - x->clock, len = x->len - at;
    const uint8_t *text;
    uint8_t *p;

    if (x->clock > from || x->kind != CV_KIND_STRING || x->bytes != x->len ||
        cv_list_is_key(&doc->lists[doc->leaves[x->leaf].list]) ||
        (at == 0 && x->oclient == CV_NONE && x->rclient == CV_NONE))
        return false;
    p = cv_pen_room(w, (size_t)len + CV_PEN_BYTES);
    if (p == NULL)
        return false;
    *p++ = 1;
    *p++ = 1;
    p = cv_pen_client(p, c);
    p = cv_pen_uint(p, from);
    p = pen_origins(p, doc, x, from, false);
    p = cv_pen_uint(p, len);
    text = c->log + x->off + at;
    cv_pen_done(w, cv_pen_text(p, text, len));
    return true;
}

/* The deletes of the common transaction: none, or one range.  `alone`: there
 * are no structs before them. */
static inline bool put_one_deleted(const struct cv_doc *doc,
                                   struct cv_writer *w, bool alone)
{
    const struct cv_deleted *d = doc->txn.deleted.at;
    uint8_t *p = cv_pen_room(w, CV_PEN_BYTES);

    if (doc->txn.deleted.n > 1 || p == NULL)
        return false;
    if (alone)
        *p++ = 0;
    if (doc->txn.deleted.n == 0)
        *p++ = 0;
    else
        p = cv_pen_deleted(p, &doc->clients[d->client], d->clock, d->len);
    cv_pen_done(w, p);
    return true;
}

/* The item with the first unit that the transaction brought of a client. */
static uint32_t first_new(const struct cv_doc *doc, uint32_t client)
{
    const struct cv_client *c = &doc->clients[client];
    uint32_t item = c->newest;

    if (!cv_chain_leads(doc, item, client, c->before))
        return cv_chain_find(doc, client, c->before);
    while (cv_item_end(&doc->items[item]) <= c->before)
        item = doc->items[item].succ;
    return item;
}

int cv_encode_txn(struct cv_doc *doc, struct cv_writer *out)
{
    struct cv_txn *t = &doc->txn;

    if (!cv_txn_news(doc))
        return out->err;
    if (t->touched.n == 0 && put_one_deleted(doc, out, true))
        return CV_OK;
    if (t->touched.n > 1)
        qsort_r(t->touched.at, t->touched.n, sizeof(*t->touched.at), by_client,
                doc->clients);
    if (t->touched.n != 1 || !put_typed(doc, out)) {
        cv_put_varuint(out, t->touched.n);
        for (uint32_t i = 0; i < t->touched.n; i++)
            put_block(doc, out, t->touched.at[i],
                      doc->clients[t->touched.at[i]].before,
                      first_new(doc, t->touched.at[i]));
    }
    if (!put_one_deleted(doc, out, false))
        put_txn_deleted(doc, out);
    return out->err;
}
