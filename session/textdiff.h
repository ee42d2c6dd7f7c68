/* session/textdiff.h - what has to be done to one text to get another.
 *
 * For taking up a text that was edited elsewhere: the changes are made in a
 * shared document, so they should be few and small, or cursors and the edits
 * of others suffer.  Lines are compared first, then the characters of those
 * that changed, by Myers' O(ND) algorithm in linear space with a bound on D;
 * where the bound is met the result is right, but longer than it could be. */
#ifndef CV_SESSION_TEXTDIFF_H
#define CV_SESSION_TEXTDIFF_H
#include "base/bytes.h"
#include "base/err.h"

/* At byte `at` of the old text `deleted` bytes go and `inserted` comes.  Both
 * ends are character borders; one of the two is not empty. */
typedef void (*cv_textdiff_fn)(void *user, size_t at, size_t deleted,
                               struct cv_bytes inserted);

/* How many bytes the two begin, and end, with in common: whole characters, none
 * of them in both. */
void cv_textdiff_ends(struct cv_bytes a, struct cv_bytes b, size_t *head,
                      size_t *tail);

/* Call `splice` for each change, in ascending order, all in coordinates of the
 * old text; they neither overlap nor touch.  CV_ERR_FORMAT if one of the texts
 * is not UTF-8 and CV_ERR_NOMEM: nothing was called.  CV_ERR_LIMIT: above
 * 256 MiB. */
CV_MUST_USE int cv_textdiff(struct cv_bytes old, struct cv_bytes new_text,
                            cv_textdiff_fn splice, void *user);
#endif
