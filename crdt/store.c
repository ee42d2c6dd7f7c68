#include "crdt/store.h"

#include "crdt/utf8.h"
#include <assert.h>
#include <stdlib.h>

#define FIRST_ITEMS   64
#define FIRST_CLIENTS 8
#define FIRST_LOG     32
#define FIRST_HASH    16

/* Vectors below this size grow by half. */
#define SMALL_VEC 8192 /* bytes */

/* A sixth at a time: what is held matters as much as the copying. */
static size_t next_cap(size_t cap, size_t size)
{
    size_t part = cap * size < SMALL_VEC ? 2 : 6;

    return cap + cap / part + (size < 64 ? 8 : 2);
}

bool cv_vec_grow(void **at, uint32_t *cap, uint32_t n, size_t more, size_t size)
{
    size_t want = (size_t)n + more, room = next_cap(*cap, size);
    void *grown;

    if (room < want)
        room = want;
    if (room > UINT32_MAX || room > SIZE_MAX / size)
        return false;
    grown = realloc(*at, room * size);
    if (grown == NULL)
        return false;
    *at = grown;
    *cap = (uint32_t)room;
    return true;
}

/* ---- hashing; seeded so that nobody can choose colliding keys ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint32_t hash_id(const struct cv_doc *doc, uint64_t id)
{
    return (uint32_t)mix(id + (uintptr_t)doc);
}

static uint32_t hash_name(const struct cv_doc *doc, uint32_t owner,
                          struct cv_bytes name)
{
    uint64_t h = mix(((uint64_t)owner << 32 | name.len) + (uintptr_t)doc);

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ name.data[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)mix(h);
}

static uint32_t hash_list(const struct cv_doc *doc, const struct cv_list *l)
{
    return hash_name(doc, l->owner, (struct cv_bytes){l->name, l->name_len});
}

static uint32_t *new_hash(uint32_t slots)
{
    uint32_t *h = malloc(slots * sizeof(*h));

    for (uint32_t i = 0; h != NULL && i < slots; i++)
        h[i] = CV_NONE;
    return h;
}

static uint32_t free_slot(const uint32_t *table, uint32_t mask, uint32_t hash)
{
    while (table[hash & mask] != CV_NONE)
        hash++;
    return hash & mask;
}

/* ---- clients ---- */

uint32_t cv_store_client(const struct cv_doc *doc, uint64_t id)
{
    if (doc->client_hash == NULL)
        return CV_NONE;
    for (uint32_t h = hash_id(doc, id);; h++) {
        uint32_t c = doc->client_hash[h & doc->client_mask];

        if (c == CV_NONE || doc->clients[c].id == id)
            return c;
    }
}

static int grow_client_hash(struct cv_doc *doc)
{
    uint32_t slots =
        doc->client_hash == NULL ? FIRST_HASH : (doc->client_mask + 1) * 2;
    uint32_t *table = new_hash(slots);

    if (table == NULL)
        return CV_ERR_NOMEM;
    for (uint32_t c = 0; c < doc->clients_n; c++) {
        uint32_t hash = hash_id(doc, doc->clients[c].id);

        table[free_slot(table, slots - 1, hash)] = c;
    }
    free(doc->client_hash);
    doc->client_hash = table;
    doc->client_mask = slots - 1;
    return CV_OK;
}

int cv_store_client_add(struct cv_doc *doc, uint64_t id, uint32_t *index)
{
    uint32_t c = cv_store_client(doc, id);
    struct cv_writer w;

    if (c != CV_NONE) {
        *index = c;
        return CV_OK;
    }
    if (doc->clients_n >= doc->limits.clients ||
        doc->clients_n >= CV_CLIENT_MASK)
        return CV_ERR_LIMIT;
    if (doc->client_hash == NULL ||
        doc->clients_n * 2 >= doc->client_mask + 1) {
        int err = grow_client_hash(doc);

        if (err != CV_OK)
            return err;
    }
    if (doc->clients_n == doc->clients_cap &&
        !cv_vec_grow((void **)&doc->clients, &doc->clients_cap, doc->clients_n,
                     1, sizeof(*doc->clients)))
        return CV_ERR_NOMEM;
    c = doc->clients_n++;
    doc->clients[c] = (struct cv_client){.id = id,
                                         .first = CV_NONE,
                                         .last = CV_NONE,
                                         .found = CV_NONE,
                                         .source = CV_NONE,
                                         .blocked_on = CV_NONE};
    cv_writer_init(&w, doc->clients[c].id_wire, sizeof(uint64_t));
    cv_put_varuint(&w, id);
    doc->clients[c].id_len = (uint8_t)w.len;
    doc->client_hash[free_slot(doc->client_hash, doc->client_mask,
                               hash_id(doc, id))] = c;
    *index = c;
    return CV_OK;
}

void cv_store_client_undo(struct cv_doc *doc, uint32_t n)
{
    /* The newest sits at the end of its probe sequence: no other key was
     * placed past it, so its slot can simply be cleared. */
    while (doc->clients_n > n) {
        uint32_t c = --doc->clients_n;
        uint32_t h = hash_id(doc, doc->clients[c].id);

        while (doc->client_hash[h & doc->client_mask] != c)
            h++;
        doc->client_hash[h & doc->client_mask] = CV_NONE;
        assert(doc->clients[c].chunks == NULL && doc->clients[c].log == NULL);
    }
}

static int higher_id(const void *a, const void *b, void *clients)
{
    const struct cv_client *c = clients;
    uint64_t x = c[*(const uint32_t *)a].id, y = c[*(const uint32_t *)b].id;

    return x < y ? 1 : x > y ? -1 : 0;
}

uint32_t cv_store_clients_sorted(const struct cv_doc *doc, uint32_t *order)
{
    uint32_t n = 0;

    for (uint32_t c = 0; c < doc->clients_n; c++) {
        if (doc->clients[c].next > 0)
            order[n++] = c;
    }
    if (n > 1)
        qsort_r(order, n, sizeof(*order), higher_id, doc->clients);
    return n;
}

/* ---- memory ---- */

/* Nodes may split all the way up and add a root; what was split just now has
 * room for the others, unless they lie in another leaf. */
static bool grow_nodes(struct cv_doc *doc)
{
    uint32_t inners = CV_SPARE_INNERS(doc);

    if (doc->leaves_cap - doc->leaves_n + doc->leaves_spare < CV_SPARE &&
        !cv_vec_grow((void **)&doc->leaves, &doc->leaves_cap, doc->leaves_n,
                     CV_SPARE, sizeof(*doc->leaves)))
        return false;
    return doc->inners_cap - doc->inners_n + doc->inners_spare >= inners ||
           cv_vec_grow((void **)&doc->inners, &doc->inners_cap, doc->inners_n,
                       inners, sizeof(*doc->inners));
}

CV_APART int cv_store_grow(struct cv_doc *doc)
{
    if (doc->items_cap - doc->items_used < CV_SPARE &&
        !cv_vec_grow((void **)&doc->items, &doc->items_cap, doc->items_n,
                     doc->items_n == 0 ? FIRST_ITEMS : CV_SPARE,
                     sizeof(*doc->items)))
        return CV_ERR_NOMEM;
    return grow_nodes(doc) ? CV_OK : CV_ERR_NOMEM;
}

void cv_store_item_free(struct cv_doc *doc, uint32_t item)
{
    doc->items[item].leaf = doc->items_free;
    doc->items[item].len = 0; /* who has noted it sees that it is gone */
    doc->items_free = item;
    doc->items_used--;
}

/* ---- newlines ---- */

uint32_t cv_item_count_newlines(const struct cv_doc *doc,
                                const struct cv_item *x)
{
    return (uint32_t)cv_utf8_newlines_padded(cv_item_content(doc, x), x->bytes);
}

uint32_t cv_item_part_newlines(const struct cv_doc *doc,
                               const struct cv_item *x, uint32_t off,
                               uint32_t bytes)
{
    if (x->lines == 0)
        return 0;
    return (uint32_t)cv_utf8_newlines_padded(doc->clients[x->client].log + off,
                                             bytes);
}

void cv_item_share_newlines(const struct cv_doc *doc, struct cv_item *x,
                            struct cv_item *y, uint32_t n)
{
    uint32_t first = n;

    if (n > 0 && n < CV_LINES_UNKNOWN)
        first = cv_item_count_newlines(doc, x);
    cv_item_set_newlines(x, first);
    cv_item_set_newlines(y, n < CV_LINES_UNKNOWN ? n - first : n);
}

/* ---- logs ---- */

uint32_t cv_item_stored(const struct cv_item *x)
{
    return x->kind == CV_KIND_TYPE ? x->bytes + (uint32_t)sizeof(uint32_t)
                                   : x->bytes;
}

int cv_store_log_grow(struct cv_doc *doc, uint32_t client, size_t len)
{
    struct cv_client *c = &doc->clients[client];
    size_t cap = (size_t)c->log_cap + c->log_cap / 4;
    uint8_t *log;

    if (cap < FIRST_LOG)
        cap = FIRST_LOG;
    if (cap < c->log_len + len)
        cap = c->log_len + len;
    if (c->log_len + len > UINT32_MAX)
        return CV_ERR_LIMIT;
    if (cap > UINT32_MAX)
        cap = UINT32_MAX;
    log = realloc(c->log, cap + CV_LOG_SLACK);
    if (log == NULL)
        return CV_ERR_NOMEM;
    c->log = log;
    c->log_cap = (uint32_t)cap;
    return CV_OK;
}

static int compact_client(struct cv_doc *doc, struct cv_client *c)
{
    uint32_t live = c->log_len - c->log_lost, len = 0;
    uint8_t *log = NULL; /* stays so if nothing is left */

    if (live > 0 && (log = malloc((size_t)live + CV_LOG_SLACK)) == NULL)
        return CV_ERR_NOMEM;
    for (uint32_t i = c->first; i != CV_NONE; i = doc->items[i].succ) {
        struct cv_item *x = &doc->items[i];
        uint32_t stored = cv_item_stored(x);

        assert(stored <= live - len && x->off <= c->log_cap);
        if (log != NULL)
            cv_utf8_copy_block(log + len, c->log + x->off, stored);
        /* What has no text may not point behind a log that is shorter now. */
        x->off = stored > 0 ? len : 0;
        len += stored;
    }
    assert(len == live);
    free(c->log);
    c->log = log;
    c->log_len = c->log_cap = live;
    c->log_lost = 0;
    return CV_OK;
}

int cv_store_compact(struct cv_doc *doc, bool force)
{
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        struct cv_client *c = &doc->clients[i];

        if (force ? c->log_lost == 0 : !cv_log_wasteful(c))
            continue;
        doc->hot.room = doc->hot.back = 0; /* the log moves */
        if (compact_client(doc, c) != CV_OK)
            return CV_ERR_NOMEM;
    }
    doc->log_wasteful = false;
    return CV_OK;
}

/* ---- lists ---- */

uint32_t cv_store_list(const struct cv_doc *doc, uint32_t owner,
                       struct cv_bytes name)
{
    if (doc->list_hash == NULL)
        return CV_NONE;
    for (uint32_t h = hash_name(doc, owner, name);; h++) {
        uint32_t i = doc->list_hash[h & doc->list_mask];
        const struct cv_list *l;

        if (i == CV_NONE)
            return CV_NONE;
        l = &doc->lists[i];
        if (l->owner == owner && l->name_len == name.len &&
            (name.len == 0 || memcmp(l->name, name.data, name.len) == 0))
            return i;
    }
}

static int grow_list_hash(struct cv_doc *doc)
{
    uint32_t slots =
        doc->list_hash == NULL ? FIRST_HASH : (doc->list_mask + 1) * 2;
    uint32_t *table = new_hash(slots);

    if (table == NULL)
        return CV_ERR_NOMEM;
    for (uint32_t i = 0; i < doc->lists_n; i++) {
        const struct cv_list *l = &doc->lists[i];

        if (l->used && l->name != NULL)
            table[free_slot(table, slots - 1, hash_list(doc, l))] = i;
    }
    free(doc->list_hash);
    doc->list_hash = table;
    doc->list_mask = slots - 1;
    return CV_OK;
}

int cv_store_list_new(struct cv_doc *doc, uint32_t *list)
{
    uint32_t i = doc->lists_free;

    if (doc->lists_used >= doc->limits.lists)
        return CV_ERR_LIMIT;
    if (i != CV_NONE) {
        doc->lists_free = doc->lists[i].next_key;
    } else {
        if (doc->lists_n == doc->lists_cap &&
            !cv_vec_grow((void **)&doc->lists, &doc->lists_cap, doc->lists_n, 1,
                         sizeof(*doc->lists)))
            return CV_ERR_NOMEM;
        i = doc->lists_n++;
    }
    doc->lists_used++;
    doc->lists[i] = (struct cv_list){.root = CV_NONE,
                                     .type_item = CV_NONE,
                                     .owner = CV_NONE,
                                     .keys = CV_NONE,
                                     .next_key = CV_NONE,
                                     .prev_key = CV_NONE,
                                     .used = true};
    *list = i;
    return CV_OK;
}

int cv_store_list_add(struct cv_doc *doc, uint32_t owner, struct cv_bytes name,
                      uint32_t *list)
{
    uint32_t i = cv_store_list(doc, owner, name);
    struct cv_list *l;
    uint8_t *copy;
    int err;

    if (i != CV_NONE) {
        *list = i;
        return CV_OK;
    }
    if (name.len > UINT32_MAX / 4)
        return CV_ERR_LIMIT;
    if ((doc->list_hash == NULL || doc->list_named * 2 >= doc->list_mask + 1) &&
        (err = grow_list_hash(doc)) != CV_OK)
        return err;
    copy = malloc(name.len + 1);
    if (copy == NULL)
        return CV_ERR_NOMEM;
    err = cv_store_list_new(doc, &i);
    if (err != CV_OK) {
        free(copy);
        return err;
    }
    if (name.len > 0)
        memcpy(copy, name.data, name.len);
    copy[name.len] = 0;
    l = &doc->lists[i];
    l->name = copy;
    l->name_len = (uint32_t)name.len;
    l->owner = owner;
    if (owner != CV_NONE) {
        struct cv_list *o = &doc->lists[owner];

        l->next_key = o->keys;
        if (o->keys != CV_NONE)
            doc->lists[o->keys].prev_key = i;
        o->keys = i;
    }
    doc->log_total += name.len;
    doc->list_hash[free_slot(doc->list_hash, doc->list_mask,
                             hash_list(doc, l))] = i;
    doc->list_named++;
    *list = i;
    return CV_OK;
}

/* Take a key out of the hash and close the gap (linear probing). */
static void unhash_list(struct cv_doc *doc, uint32_t list)
{
    uint32_t *table = doc->list_hash, mask = doc->list_mask;
    uint32_t gap = hash_list(doc, &doc->lists[list]) & mask;

    while (table[gap] != list)
        gap = (gap + 1) & mask;
    for (uint32_t i = (gap + 1) & mask; table[i] != CV_NONE;
         i = (i + 1) & mask) {
        uint32_t home = hash_list(doc, &doc->lists[table[i]]) & mask;

        /* Move it up unless its home lies cyclically in (gap, i]. */
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            table[gap] = table[i];
            gap = i;
        }
    }
    table[gap] = CV_NONE;
    doc->list_named--;
}

void cv_store_list_free(struct cv_doc *doc, uint32_t list)
{
    struct cv_list *l = &doc->lists[list];

    assert(l->used && l->root == CV_NONE && l->keys == CV_NONE);
    if (l->name != NULL) {
        unhash_list(doc, list);
        doc->log_total -= l->name_len;
        free(l->name);
    }
    if (l->owner != CV_NONE) {
        if (l->prev_key != CV_NONE)
            doc->lists[l->prev_key].next_key = l->next_key;
        else
            doc->lists[l->owner].keys = l->next_key;
        if (l->next_key != CV_NONE)
            doc->lists[l->next_key].prev_key = l->prev_key;
    }
    *l = (struct cv_list){.next_key = doc->lists_free, .root = CV_NONE};
    doc->lists_free = list;
    doc->lists_used--;
}
