/* crdt/siblings.h - a short cut through long conflict scans.  For crdt/ only.
 *
 * Items with the same origin and the same right origin stand in the order of
 * their client ids.  A scan that has to step over many of them can therefore
 * go on behind the last one with a lower id, if it knows which that is; what
 * it would have found on the way is behind its new left either way.  Only
 * places where a scan was long are remembered, so this costs nothing until
 * somebody makes thousands of inserts at one place. */
#ifndef CV_CRDT_SIBLINGS_H
#define CV_CRDT_SIBLINGS_H
#include "crdt/store.h"

/* Steps of a scan before it looks for a short cut. */
#ifndef CV_SCAN_STEPS
#define CV_SCAN_STEPS 64
#endif

/* The last sibling that `x` is known to have with a lower client id; CV_NONE.
 * `x` need not be in the list yet. */
uint32_t cv_siblings_before(struct cv_doc *doc, uint32_t list,
                            const struct cv_item *x);
/* Remember x (its client, clock and origins count).  Without memory it is not
 * remembered, which only takes time. */
void cv_siblings_add(struct cv_doc *doc, uint32_t list,
                     const struct cv_item *x);
void cv_siblings_fini(struct cv_doc *doc);
#endif
