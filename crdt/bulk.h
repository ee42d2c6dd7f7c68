/* crdt/bulk.h - build an empty document from a whole state at once.  For crdt/
 * only.
 *
 * What cv_integrate() does struct by struct, for the state of a text: all cuts
 * are known beforehand, so the items are made in clock order, linked in a list
 * by their origins, and the tree is built over that list from below.  It gives
 * up, having changed nothing, on what a state of a text rarely holds. */
#ifndef CV_CRDT_BULK_H
#define CV_CRDT_BULK_H
#include "crdt/plan.h"

/* Below this many structs the way struct by struct is as fast. */
#ifndef CV_BULK_STRUCTS
#define CV_BULK_STRUCTS 64
#endif

/* Carry out the structs of a plan.  False: nothing was done, integrate them one
 * by one. */
bool cv_bulk(struct cv_doc *doc, const struct cv_plan *plan);
#endif
