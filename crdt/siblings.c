#include "crdt/siblings.h"

#include "crdt/chain.h"
#include <stdlib.h>

static uint32_t hash_group(const struct cv_doc *doc, uint32_t list,
                           const struct cv_item *x)
{
    uint64_t h = (uintptr_t)doc ^ list;

    h = (h ^ x->oclient) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 29) ^ x->oclock) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 29) ^ x->rclient) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 29) ^ x->rclock) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static bool is_group(const struct cv_group *g, uint32_t list,
                     const struct cv_item *x)
{
    return g->list == list && g->oclient == x->oclient &&
           g->oclock == x->oclock && g->rclient == x->rclient &&
           g->rclock == x->rclock;
}

static struct cv_group *find_group(const struct cv_doc *doc, uint32_t list,
                                   const struct cv_item *x)
{
    const struct cv_siblings *s = &doc->siblings;

    if (s->slot == NULL)
        return NULL;
    for (uint32_t h = hash_group(doc, list, x);; h++) {
        struct cv_group *g = s->slot[h & s->mask];

        if (g == NULL || is_group(g, list, x))
            return g;
    }
}

static bool grow(struct cv_doc *doc)
{
    struct cv_siblings *s = &doc->siblings;
    uint32_t slots = s->slot == NULL ? 16 : (s->mask + 1) * 2;
    struct cv_group **slot = calloc(slots, sizeof(struct cv_group *));

    if (slot == NULL)
        return false;
    for (uint32_t i = 0; s->slot != NULL && i <= s->mask; i++) {
        struct cv_group *g = s->slot[i];
        struct cv_item x;
        uint32_t h;

        if (g == NULL)
            continue;
        x = (struct cv_item){.oclient = g->oclient,
                             .oclock = g->oclock,
                             .rclient = g->rclient,
                             .rclock = g->rclock};
        h = hash_group(doc, g->list, &x);
        while (slot[h & (slots - 1)] != NULL)
            h++;
        slot[h & (slots - 1)] = g;
    }
    free(s->slot);
    s->slot = slot;
    s->mask = slots - 1;
    return true;
}

static struct cv_group *add_group(struct cv_doc *doc, uint32_t list,
                                  const struct cv_item *x)
{
    struct cv_siblings *s = &doc->siblings;
    struct cv_group *g = find_group(doc, list, x);
    uint32_t h;

    if (g != NULL)
        return g;
    if ((s->slot == NULL || s->n * 2 > s->mask) && !grow(doc))
        return NULL;
    g = calloc(1, sizeof(*g));
    if (g == NULL)
        return NULL;
    g->list = list;
    g->oclient = x->oclient;
    g->oclock = x->oclock;
    g->rclient = x->rclient;
    g->rclock = x->rclock;
    h = hash_group(doc, list, x);
    while (s->slot[h & s->mask] != NULL)
        h++;
    s->slot[h & s->mask] = g;
    s->n++;
    return g;
}

/* Is the unit that a node names still the first of an item of that group? */
static uint32_t member(const struct cv_doc *doc, const struct cv_group *g,
                       const struct cv_wait_node *n)
{
    uint32_t client = n->len, item;
    const struct cv_item *y;

    if (n->key[2] >= doc->clients[client].next)
        return CV_NONE;
    item = cv_chain_find(doc, client, n->key[2]);
    y = &doc->items[item];
    if (y->kind == CV_KIND_GC || y->clock != n->key[2] ||
        doc->leaves[y->leaf].list != g->list || !is_group(g, g->list, y))
        return CV_NONE;
    return item;
}

uint32_t cv_siblings_before(struct cv_doc *doc, uint32_t list,
                            const struct cv_item *x)
{
    struct cv_group *g = find_group(doc, list, x);
    uint64_t id = doc->clients[x->client].id;
    struct cv_wait_node *n;

    if (g == NULL || id == 0)
        return CV_NONE;
    id--;
    while ((n = cv_wait_upto(&g->members, (uint32_t)(id >> 32), (uint32_t)id,
                             UINT32_MAX)) != NULL) {
        uint32_t item = member(doc, g, n);

        if (item != CV_NONE)
            return item;
        /* Joined with another item, or collected. */
        cv_wait_take(&g->members, n);
        cv_wait_node_free(n);
    }
    return CV_NONE;
}

void cv_siblings_add(struct cv_doc *doc, uint32_t list, const struct cv_item *x)
{
    struct cv_group *g = add_group(doc, list, x);
    uint64_t id = doc->clients[x->client].id;
    uint32_t high = (uint32_t)(id >> 32), low = (uint32_t)id;
    struct cv_wait_node *n;

    if (g == NULL)
        return;
    n = cv_wait_from(&g->members, high, low, x->clock);
    if (n != NULL && n->key[0] == high && n->key[1] == low &&
        n->key[2] == x->clock)
        return;
    n = cv_wait_node_new(&doc->waiting.seed, high, low, x->clock);
    if (n == NULL)
        return;
    n->len = x->client;
    cv_wait_insert(&g->members, n);
}

void cv_siblings_fini(struct cv_doc *doc)
{
    struct cv_siblings *s = &doc->siblings;

    for (uint32_t i = 0; s->slot != NULL && i <= s->mask; i++) {
        if (s->slot[i] == NULL)
            continue;
        cv_wait_clear(&s->slot[i]->members);
        free(s->slot[i]);
    }
    free(s->slot);
}
