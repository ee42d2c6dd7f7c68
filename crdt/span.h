/* crdt/span.h - pieces of the text by the ids of their units.  For crdt/ only.
 *
 * A unit has its id for ever, also when it is deleted: its place in the list
 * stays.  So text can be found by id, and put back where it was. */
#ifndef CV_CRDT_SPAN_H
#define CV_CRDT_SPAN_H
#include "crdt/doc.h"

/* Visible text of one run. */
struct cv_span {
    struct cv_id id; /* of its first unit */
    uint64_t units;
    size_t at; /* byte offset in the text */
    size_t bytes;
};

/* The run at byte `at`, at most `max` of its bytes; both ends are character
 * borders, and `at` is inside the text. */
void cv_span_at(const struct cv_doc *doc, size_t at, size_t max,
                struct cv_span *out);
/* The first span, by clock, of units [id, id + n) that is visible text; half a
 * surrogate pair is none.  False: there is none. */
bool cv_span_live(const struct cv_doc *doc, struct cv_id id, uint64_t n,
                  struct cv_span *out);

/* Is the unit in the list of the text, visible or not?  *at: the offset of
 * it, or where it was; *units: how many from it on, at most `n`, lie side by
 * side. */
bool cv_span_place(const struct cv_doc *doc, struct cv_id id, uint64_t n,
                   size_t *at, uint64_t *units);
/* Does a lie before b?  Both are in the list of the text. */
bool cv_span_before(const struct cv_doc *doc, struct cv_id a, struct cv_id b);
/* The unit left of `id`, deleted or not; false: `id` is the first one. */
bool cv_span_left(const struct cv_doc *doc, struct cv_id id,
                  struct cv_id *left);

/* Insert text between the unit left of `id` and `id`, which is in the list of
 * the text: among tombstones, where cv_doc_insert() cannot.  Inside a
 * transaction.  CV_ERR_LIMIT, CV_ERR_NOMEM. */
CV_MUST_USE int cv_span_insert(struct cv_doc *doc, struct cv_id id,
                               struct cv_bytes text);

/* Has somebody else put text back before the deleted unit `id`?  Compares
 * `text`, what was there, with what others inserted directly before the
 * tombstone; `left` (NULL: none) is the unit left of it when it was deleted,
 * so what was there already does not count.  Returns how many bytes of `text`
 * are back. */
size_t cv_span_returned(const struct cv_doc *doc, struct cv_id id,
                        const struct cv_id *left, struct cv_bytes text);
#endif
