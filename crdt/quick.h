/* crdt/quick.h - the update of one edit, without a plan.  For crdt/ only.
 *
 * Most updates insert one short text, delete one range, or both, and all that
 * they name is known.  They are told by their bytes; whatever looks different
 * in the least goes the long way (crdt/plan.h), so that nothing is judged
 * here. */
#ifndef CV_CRDT_QUICK_H
#define CV_CRDT_QUICK_H
#include "crdt/store.h"

/* Apply such an update, inside a transaction that was begun for it.  False:
 * nothing was changed, it is not one.  *err: CV_OK or CV_ERR_NOMEM. */
bool cv_quick_apply(struct cv_doc *doc, struct cv_bytes update, int *err);
#endif
