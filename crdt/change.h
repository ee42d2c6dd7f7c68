/* crdt/change.h - what somebody did to the text, and taking it back.  For
 * crdt/undo.c (own edits) and crdt/revert.c (those of others) only.
 *
 * A change is ids: of units that were inserted, and of those that were deleted,
 * whoever wrote them, with their text, which the document drops.  Taking it
 * back deletes what is still there of the first, and puts back the second, as
 * new units of ours at the old place; the change that would take that back is
 * the result. */
#ifndef CV_CRDT_CHANGE_H
#define CV_CRDT_CHANGE_H
#include "crdt/doc.h"
#include "crdt/span.h"

/* Units of one client. */
struct cv_units {
    uint64_t client, clock, len;
};

/* A deleted range and its text. */
struct cv_gone {
    struct cv_units range;
    struct cv_id left; /* unit before it, when it was deleted */
    bool has_left;
    size_t text, bytes; /* in the text of the change */
};

struct cv_change {
    struct cv_units *ours;
    size_t n_ours, cap_ours;
    struct cv_gone *gone; /* none of them in `ours` */
    size_t n_gone, cap_gone;
    uint8_t *text;
    size_t n_text, cap_text;
};

/* Old units that are new ones now; by old id. */
struct cv_moved {
    struct cv_units from;
    struct cv_id to;
};
struct cv_moves {
    struct cv_moved *at;
    size_t n, cap;
};

/* Heap bytes in use. */
size_t cv_change_bytes(const struct cv_change *c);
void cv_change_fini(struct cv_change *c);

/* Both: false without memory, nothing is added then. */
bool cv_change_add_ours(struct cv_change *c, struct cv_units r);
/* Visible text that is about to be deleted. */
bool cv_change_add_gone(struct cv_change *c, const struct cv_doc *doc,
                        const struct cv_span *s);
/* All of what `more` has of deleted text; what is there all the same, because
 * deleting it failed, is left out. */
bool cv_change_add_all_gone(struct cv_change *c, const struct cv_doc *doc,
                            const struct cv_change *more);

struct cv_taken {
    bool changed;
    size_t first;   /* start of the topmost change */
    size_t removed; /* pieces of text that were deleted, */
    size_t removed_bytes;
    size_t restored; /* and that came back */
    size_t restored_bytes;
};

/* What taking it back would do; sorts `c`.  Text that was put back meanwhile by
 * whom `c` is of counts as there, so less may come back.  CV_ERR_NOMEM. */
CV_MUST_USE int cv_change_measure(const struct cv_doc *doc, struct cv_change *c,
                                  struct cv_taken *out);

/* Take `from` back, inside a transaction; `*back` (empty) becomes the change
 * that takes this back.  `moves` (empty) says which units are others now.
 * `text` (may be NULL) hears of each change of the text, in the coordinates
 * that hold after those before it.  `from` is sorted.
 *
 * CV_ERR_LIMIT with nothing changed and `out->changed` false: the text would
 * be longer than `max_text`.  Else CV_ERR_LIMIT, CV_ERR_NOMEM: a part is done,
 * `*back` holds what could be remembered of it. */
CV_MUST_USE int cv_change_take_back(
    struct cv_doc *doc, struct cv_change *from, size_t max_text,
    void (*text)(void *user, const struct cv_text_change *change), void *user,
    struct cv_change *back, struct cv_moves *moves, struct cv_taken *out);

/* What a change inserted follows units that have moved.  CV_ERR_NOMEM. */
CV_MUST_USE int cv_change_follow(struct cv_change *c,
                                 const struct cv_moves *moves);

/* Room for `more` elements behind the first `n` of an array; false without
 * memory. */
bool cv_change_grow(void **at, size_t *cap, size_t n, size_t more, size_t size);
#endif
