#include "crdt/waiting.h"

#include <stdlib.h>

static int compare(const struct cv_wait_node *n, uint32_t a, uint32_t b,
                   uint32_t c)
{
    if (n->key[0] != a)
        return n->key[0] < a ? -1 : 1;
    if (n->key[1] != b)
        return n->key[1] < b ? -1 : 1;
    if (n->key[2] != c)
        return n->key[2] < c ? -1 : 1;
    return 0;
}

struct cv_wait_node *cv_wait_from(const struct cv_wait_set *set, uint32_t a,
                                  uint32_t b, uint32_t c)
{
    struct cv_wait_node *best = NULL;

    for (struct cv_wait_node *n = set->root; n != NULL;) {
        if (compare(n, a, b, c) >= 0) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct cv_wait_node *cv_wait_upto(const struct cv_wait_set *set, uint32_t a,
                                  uint32_t b, uint32_t c)
{
    struct cv_wait_node *best = NULL;

    for (struct cv_wait_node *n = set->root; n != NULL;) {
        if (compare(n, a, b, c) <= 0) {
            best = n;
            n = n->right;
        } else {
            n = n->left;
        }
    }
    return best;
}

void cv_wait_insert(struct cv_wait_set *set, struct cv_wait_node *node)
{
    struct cv_wait_node **link = &set->root, *rest;
    struct cv_wait_node **low = &node->left, **high = &node->right;
    const uint32_t *k = node->key;

    /* Down to the first node of lower priority, which the new one replaces;
     * what hangs there is split by the key into its two subtrees. */
    while (*link != NULL && (*link)->priority >= node->priority)
        link = compare(*link, k[0], k[1], k[2]) < 0 ? &(*link)->right
                                                    : &(*link)->left;
    rest = *link;
    *link = node;
    while (rest != NULL) {
        if (compare(rest, k[0], k[1], k[2]) < 0) {
            *low = rest;
            low = &rest->right;
            rest = rest->right;
        } else {
            *high = rest;
            high = &rest->left;
            rest = rest->left;
        }
    }
    *low = NULL;
    *high = NULL;
    set->n++;
}

void cv_wait_take(struct cv_wait_set *set, struct cv_wait_node *node)
{
    struct cv_wait_node **link = &set->root;
    struct cv_wait_node *a = node->left, *b = node->right;
    const uint32_t *k = node->key;

    while (*link != node)
        link = compare(*link, k[0], k[1], k[2]) < 0 ? &(*link)->right
                                                    : &(*link)->left;
    /* Join the two subtrees in its place. */
    while (a != NULL && b != NULL) {
        if (a->priority >= b->priority) {
            *link = a;
            link = &a->right;
            a = a->right;
        } else {
            *link = b;
            link = &b->left;
            b = b->left;
        }
    }
    *link = a != NULL ? a : b;
    node->left = node->right = NULL;
    set->n--;
}

struct cv_wait_node *cv_wait_node_new(uint32_t *seed, uint32_t a, uint32_t b,
                                      uint32_t c)
{
    struct cv_wait_node *n = calloc(1, sizeof(*n));
    uint32_t x = *seed ? *seed : 1;

    if (n == NULL)
        return NULL;
    x ^= x << 13; /* xorshift32 */
    x ^= x >> 17;
    x ^= x << 5;
    *seed = x;
    n->priority = x;
    n->key[0] = a;
    n->key[1] = b;
    n->key[2] = c;
    return n;
}

void cv_wait_node_free(struct cv_wait_node *node)
{
    if (node == NULL)
        return;
    free(node->data);
    free(node);
}

void cv_wait_clear(struct cv_wait_set *set)
{
    struct cv_wait_node *n = set->root;

    /* Rotate left children up, so that no stack is needed. */
    while (n != NULL) {
        struct cv_wait_node *next = n->left;

        if (next != NULL) {
            n->left = next->right;
            next->right = n;
        } else {
            next = n->right;
            cv_wait_node_free(n);
        }
        n = next;
    }
    set->root = NULL;
    set->n = 0;
}
