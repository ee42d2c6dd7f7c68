/* gate/table.h - a hash table of things that hold their own place in it.
 *
 * Keys are byte strings of one length that lie in the things.  The hash is
 * multiply-shift under a secret (Dietzfelbinger et al., 1997): whoever chooses
 * keys cannot choose collisions.  Doubles when it is full, and never fails:
 * without memory it stays as it is and its chains grow. */
#ifndef CV_GATE_TABLE_H
#define CV_GATE_TABLE_H
#include "base/crypto.h"

struct cv_table_node {
    struct cv_table_node *next;
};

struct cv_table {
    struct cv_table_node **bucket;  /* [1 << bits], NULL while empty */
    struct cv_table_node *first[1]; /* the bucket of an empty table */
    unsigned bits;
    size_t n;
    size_t node_at, key_at, key_len; /* offsets in the thing */
    uint64_t secret[2];
};

/* `node_at` and `key_at` by offsetof(); `key_len` is 4 or more. */
void cv_table_init(struct cv_table *t, size_t node_at, size_t key_at,
                   size_t key_len, const struct cv_rng *rng);
/* Frees the table, not the things. */
void cv_table_fini(struct cv_table *t);
void cv_table_add(struct cv_table *t, void *thing);
void cv_table_remove(struct cv_table *t, void *thing);
/* NULL: not there. */
void *cv_table_find(const struct cv_table *t, const void *key);
/* Any thing, or the next one after `thing`; NULL at the end.  The thing that
 * was returned last may be removed before the next call only if its successor
 * was asked for already. */
void *cv_table_next(const struct cv_table *t, const void *thing);
#endif
