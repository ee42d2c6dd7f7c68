/* crdt/run.h - what is done to runs: cut, deleted, joined.  For crdt/ only.
 *
 * Each function leaves a consistent document also when it fails.  Indexes of
 * items stay valid unless a comment says that the item may be gone; pointers
 * to items do not. */
#ifndef CV_CRDT_RUN_H
#define CV_CRDT_RUN_H
#include "crdt/store.h"

/* Cut an item (not a GC) before its unit `n`, 0 < n < len.  Where this falls
 * into a surrogate pair, both halves become U+FFFD, for ever. */
CV_MUST_USE int cv_run_split(struct cv_doc *doc, uint32_t item, uint32_t n);

/* The same to a new item `right` that is not in the tree yet; unit `n` begins
 * at byte `at` of the content. */
void cv_run_cut(struct cv_doc *doc, uint32_t item, uint32_t right, uint32_t n,
                uint32_t at);

/* Delete an item that is in a list and not deleted.  Its content is dropped,
 * all that a type holds goes with it, and it is joined with tombstones beside
 * it: the item itself may be gone. */
CV_MUST_USE int cv_run_delete(struct cv_doc *doc, uint32_t item);

/* Delete whatever is known of units [clock, clock + len) of a client. */
CV_MUST_USE int cv_run_delete_range(struct cv_doc *doc, uint32_t client,
                                    uint32_t clock, uint32_t len);
#endif
