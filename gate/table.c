#include "gate/table.h"
#include <stdlib.h>
#include <string.h>

#define FIRST_BITS 6
#define LAST_BITS  24

void cv_table_init(struct cv_table *t, size_t node_at, size_t key_at,
                   size_t key_len, const struct cv_rng *rng)
{
    memset(t, 0, sizeof *t);
    t->bucket = t->first;
    t->node_at = node_at;
    t->key_at = key_at;
    t->key_len = key_len;
    t->secret[0] = cv_random_u64(rng);
    t->secret[1] = cv_random_u64(rng) | 1;
}

void cv_table_fini(struct cv_table *t)
{
    if (t->bucket != t->first)
        free(t->bucket);
    t->bucket = t->first;
    t->first[0] = NULL;
    t->bits = 0;
    t->n = 0;
}

static const uint8_t *key_of(const struct cv_table *t, const void *thing)
{
    return (const uint8_t *)thing + t->key_at;
}

static struct cv_table_node *node_of(const struct cv_table *t, void *thing)
{
    return (struct cv_table_node *)(void *)((uint8_t *)thing + t->node_at);
}

static void *thing_of(const struct cv_table *t, struct cv_table_node *node)
{
    return node ? (uint8_t *)node - t->node_at : NULL;
}

static size_t place(const struct cv_table *t, const uint8_t *key)
{
    uint64_t h = t->secret[0];

    if (t->bits == 0)
        return 0;
    for (size_t i = 0; i < t->key_len; i += 8) {
        uint64_t word = 0;

        memcpy(&word, key + i, t->key_len - i < 8 ? t->key_len - i : 8);
        h = (h ^ word) * t->secret[1];
        h ^= h >> 32;
    }
    return (size_t)((h * t->secret[1]) >> (64 - t->bits));
}

static void grow(struct cv_table *t)
{
    unsigned bits = t->bits == 0 ? FIRST_BITS : t->bits + 1;
    struct cv_table_node **old = t->bucket, **bigger;
    size_t old_cap = (size_t)1 << t->bits;

    if (bits > LAST_BITS)
        return;
    bigger = calloc((size_t)1 << bits, sizeof(struct cv_table_node *));
    if (!bigger)
        return;
    t->bucket = bigger;
    t->bits = bits;
    for (size_t i = 0; i < old_cap; i++)
        while (old[i]) {
            struct cv_table_node *node = old[i];
            size_t at = place(t, key_of(t, thing_of(t, node)));

            old[i] = node->next;
            node->next = bigger[at];
            bigger[at] = node;
        }
    if (old != t->first)
        free(old);
}

void cv_table_add(struct cv_table *t, void *thing)
{
    struct cv_table_node *node = node_of(t, thing);
    size_t at;

    if (t->n >= (size_t)1 << t->bits)
        grow(t);
    at = place(t, key_of(t, thing));
    node->next = t->bucket[at];
    t->bucket[at] = node;
    t->n++;
}

void cv_table_remove(struct cv_table *t, void *thing)
{
    struct cv_table_node *node = node_of(t, thing), **p;

    for (p = &t->bucket[place(t, key_of(t, thing))]; *p; p = &(*p)->next)
        if (*p == node) {
            *p = node->next;
            t->n--;
            return;
        }
}

void *cv_table_find(const struct cv_table *t, const void *key)
{
    struct cv_table_node *node = t->bucket[place(t, key)];

    for (; node; node = node->next) {
        void *thing = thing_of(t, node);

        if (memcmp(key_of(t, thing), key, t->key_len) == 0)
            return thing;
    }
    return NULL;
}

void *cv_table_next(const struct cv_table *t, const void *thing)
{
    size_t at = 0;

    if (thing) {
        const struct cv_table_node *node =
            (const struct cv_table_node *)(const void *)((const uint8_t *)
                                                             thing +
                                                         t->node_at);

        if (node->next)
            return thing_of(t, node->next);
        at = place(t, key_of(t, thing)) + 1;
    }
    for (; at < (size_t)1 << t->bits; at++)
        if (t->bucket[at])
            return thing_of(t, t->bucket[at]);
    return NULL;
}
