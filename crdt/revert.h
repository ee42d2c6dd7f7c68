/* crdt/revert.h - what others did, to be taken back as a whole.
 *
 * What somebody inserted is known for ever by the client ids.  What somebody
 * deleted is not in the format: it is noted here when the update that deletes
 * it comes, while the text is still there, and only as far as there is room. */
#ifndef CV_CRDT_REVERT_H
#define CV_CRDT_REVERT_H
#include "crdt/change.h"

/* People whose deletions are told apart; numbers below it name them. */
#define CV_REVERT_PEOPLE 64u

struct cv_revert;

/* `doc` is kept.  `max_bytes`: of memory for all, about; the oldest deletions
 * go first. */
CV_MUST_USE int cv_revert_new(struct cv_revert **out, struct cv_doc *doc,
                              size_t max_bytes);
void cv_revert_free(struct cv_revert *r);

/* An update of person `who` is about to be applied: note the text of others
 * that it deletes.  theirs() says whether a client id is of that person.
 * Malformed updates note nothing; nor is it an error that memory is short. */
void cv_revert_note(struct cv_revert *r, unsigned who, struct cv_bytes update,
                    bool (*theirs)(void *user, uint64_t client), void *user);
/* Does an update delete text that is there?  False for a malformed one. */
bool cv_revert_would_delete(const struct cv_doc *doc, struct cv_bytes update);
/* Were deletions of this person forgotten for want of room? */
bool cv_revert_forgot(const struct cv_revert *r, unsigned who);
size_t cv_revert_held(const struct cv_revert *r);

/* Fill `out` (empty; the caller ends it) with all that clients[n] inserted and
 * that `who` (CV_REVERT_PEOPLE: nobody) deleted.  CV_ERR_NOMEM. */
CV_MUST_USE int cv_revert_change(const struct cv_revert *r, unsigned who,
                                 const uint64_t *clients, size_t n,
                                 struct cv_change *out);
/* It was taken back: what was noted of this person is used up. */
void cv_revert_forget(struct cv_revert *r, unsigned who);
#endif
