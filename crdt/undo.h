/* crdt/undo.h - take back own edits of a document, and only those.
 *
 * Local edits that shall be undoable go through here instead of through
 * cv_doc_insert() and cv_doc_delete().  What is remembered is ids: of the units
 * that we inserted, and of those that we deleted, whoever wrote them, with
 * their text, which the document drops.
 *
 * Undo of a group deletes what is still there of what it inserted, and puts
 * back what it deleted, as new units at the old place; ids in older groups then
 * follow to the new units.  So it never deletes text of somebody else, also not
 * what was typed into ours, and what somebody else has put back meanwhile does
 * not come twice.  (When two do so at the same time it comes twice.)  Text that
 * was put back counts as written by us.
 *
 * Redo is the undo of an undo: it outlives edits of others, and ends with the
 * next local edit.  Only the text is remembered: embeds do not come back. */
#ifndef CV_CRDT_UNDO_H
#define CV_CRDT_UNDO_H
#include "crdt/doc.h"

struct cv_undo;

/* `doc` is kept.  `max_bytes`: of memory for both directions together, about;
 * the oldest groups go first, and a group that is larger alone is not kept. */
CV_MUST_USE int cv_undo_new(struct cv_undo **out, struct cv_doc *doc,
                            size_t max_bytes);
void cv_undo_free(struct cv_undo *undo);
/* Taking back never makes the text longer than this; at first it may. */
void cv_undo_limit_text(struct cv_undo *undo, size_t max_text);

/* The group of the edits that follow: the last one again goes on with it,
 * unless something was undone or redone since. */
void cv_undo_group(struct cv_undo *undo, uint64_t group);
/* As cv_doc_insert() and cv_doc_delete(), errors included.  Without memory to
 * remember them the edits are done, and all history is forgotten. */
CV_MUST_USE int cv_undo_insert(struct cv_undo *undo, size_t at,
                               const void *text, size_t len);
CV_MUST_USE int cv_undo_delete(struct cv_undo *undo, size_t at, size_t len);

enum cv_undo_way {
    CV_UNDO_BACK,  /* undo */
    CV_UNDO_AGAIN, /* redo */
};

struct cv_undone {
    uint64_t group; /* that was taken back */
    size_t at;      /* start of the topmost change */
};

/* Take back the newest group that still makes a difference; inside a
 * transaction.  `text` (may be NULL) hears of each change, in the coordinates
 * that hold after those before it; it may read the document.
 *
 * Returns CV_OK, CV_ERR_NOTFOUND when there is none, CV_ERR_INVALID without a
 * transaction; CV_ERR_LIMIT when the text would be too long: nothing is done,
 * and it stays the newest; or, from within, CV_ERR_LIMIT, CV_ERR_NOMEM: a part
 * is done, and all history is forgotten.  Cost: that of the changes, and a look
 * at all that is remembered. */
CV_MUST_USE int cv_undo_step(struct cv_undo *undo, enum cv_undo_way way,
                             void (*text)(void *user,
                                          const struct cv_text_change *change),
                             void *user, struct cv_undone *out);

/* Take back what somebody else did (crdt/revert.h), inside a transaction; that
 * is a group of ours, which the next step back takes back.  Errors as above;
 * CV_OK with `out->changed` false: nothing of it is there any more.  Without
 * memory, or if it is larger than all that may be remembered, there is no group
 * of it: see cv_undo_count(). */
struct cv_change;
struct cv_taken;
CV_MUST_USE int
cv_undo_revert(struct cv_undo *undo, struct cv_change *change, uint64_t group,
               void (*text)(void *user, const struct cv_text_change *c),
               void *user, struct cv_taken *out);

/* Groups that can be taken back, and bytes held. */
size_t cv_undo_count(const struct cv_undo *undo, enum cv_undo_way way);
size_t cv_undo_held(const struct cv_undo *undo);
void cv_undo_forget(struct cv_undo *undo);
#endif
