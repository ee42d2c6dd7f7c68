/* crdt/waiting.h - what came before the things it depends on.  For crdt/ only.
 *
 * One ordered set with three-part keys (a treap), used three times:
 *   structs  (client, clock, serial)        structs that are not ready
 *   ranges   (client, clock, 0) -> length   deleted units not yet known
 *   blocked  (needed client, needed clock, waiting client)
 * Clients are indexes into the table of the document. */
#ifndef CV_CRDT_WAITING_H
#define CV_CRDT_WAITING_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cv_wait_node {
    uint32_t key[3];
    uint32_t priority;
    struct cv_wait_node *left, *right;
    uint32_t len; /* units */
    size_t bytes; /* size of `data` */
    void *data;   /* owned; a struct, see crdt/plan.h */
};

struct cv_wait_set {
    struct cv_wait_node *root;
    uint32_t n;
};

struct cv_waiting {
    struct cv_wait_set structs, ranges, blocked;
    size_t bytes; /* of pending structs */
    uint32_t seed;
};

/* First node with key >= (a, b, c); NULL. */
struct cv_wait_node *cv_wait_from(const struct cv_wait_set *set, uint32_t a,
                                  uint32_t b, uint32_t c);
/* Last node with key <= (a, b, c); NULL. */
struct cv_wait_node *cv_wait_upto(const struct cv_wait_set *set, uint32_t a,
                                  uint32_t b, uint32_t c);
/* Takes the node; its key must not be in the set. */
void cv_wait_insert(struct cv_wait_set *set, struct cv_wait_node *node);
/* Take out a node of the set, not free it. */
void cv_wait_take(struct cv_wait_set *set, struct cv_wait_node *node);
/* A node with that key and a random priority from *seed; NULL. */
struct cv_wait_node *cv_wait_node_new(uint32_t *seed, uint32_t a, uint32_t b,
                                      uint32_t c);
void cv_wait_node_free(struct cv_wait_node *node);
/* Free all nodes. */
void cv_wait_clear(struct cv_wait_set *set);
#endif
