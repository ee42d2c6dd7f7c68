/* crdt/bulk.h - build an empty document from a whole state at once.  For crdt/
 * only.
 *
 * What cv_integrate() does struct by struct, for the state of a text: its
 * structs become items as they are decoded, are cut where others point into
 * them, linked in a list by their origins, and the tree is built over that
 * list from below.  Nobody sees anything of it before cv_bulk_commit(). */
#ifndef CV_CRDT_BULK_H
#define CV_CRDT_BULK_H
#include "crdt/integrate.h"
#include "crdt/store.h"

/* For fewer structs than this, or for an update of fewer bytes, the way struct
 * by struct is as fast. */
#ifndef CV_BULK_STRUCTS
#define CV_BULK_STRUCTS 64
#endif
#ifndef CV_BULK_BYTES
#define CV_BULK_BYTES 1024
#endif

struct cv_bulk_part; /* of one client */
struct cv_step;

struct cv_bulk {
    struct cv_doc *doc; /* NULL: not in use */
    struct cv_bytes update;
    uint32_t n;           /* items */
    struct cv_bytes root; /* name of the one list */
    bool named;
    uint32_t list;
    struct cv_bulk_part *part;
    /* A bit for each unit: an item begins with it.  And how many items of that
     * client begin before each word. */
    uint64_t *bits;
    uint32_t *rank;
    uint32_t words;
    uint32_t head; /* first item of the list */
    /* Conflict scans: the last one that saw an item; since when it is left of
     * what it conflicts with. */
    uint32_t *seen, *since;
    uint32_t scan, epoch;
    uint64_t steps;
};

/* Begin.  False: this document cannot be built so. */
bool cv_bulk_open(struct cv_bulk *b, struct cv_doc *doc,
                  struct cv_bytes update);
/* Room for so many structs more; false without memory. */
bool cv_bulk_reserve(struct cv_bulk *b, size_t more);
/* The next struct, in the order of the update; there is room for it.  False if
 * it is none of a state of a text. */
bool cv_bulk_take(struct cv_bulk *b, const struct cv_struct *s);
/* Once all are there: link them in an order in which each is ready; `steps`
 * NULL: the order they came in.  False: it takes too long, or there is no
 * memory for it. */
bool cv_bulk_link(struct cv_bulk *b, const struct cv_step *steps, uint32_t n);
/* This is the document now.  Cannot fail. */
void cv_bulk_commit(struct cv_bulk *b);
/* Forget the ranges in which nothing is left to delete; how many remain.
 * After the commit, before anything else is changed. */
uint32_t cv_bulk_skim(const struct cv_bulk *b, struct cv_deleted *ranges,
                      uint32_t n);
/* The document is empty again.  Also after a failure of the others. */
void cv_bulk_drop(struct cv_bulk *b);
/* Give back what was needed to build it. */
void cv_bulk_close(struct cv_bulk *b);
#endif
