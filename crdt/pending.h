/* crdt/pending.h - structs and delete ranges that wait for what they need.
 * For crdt/ only.
 *
 * Structs wait by client and clock.  A client whose first waiting struct needs
 * units of another client is noted there, so that nothing is tried in vain. */
#ifndef CV_CRDT_PENDING_H
#define CV_CRDT_PENDING_H
#include "crdt/integrate.h"
#include "crdt/store.h"

/* A waiting struct; its strings follow it. */
struct cv_pending {
    struct cv_struct s;
    uint8_t bytes[];
};

/* The first waiting struct of a client; NULL. */
struct cv_wait_node *cv_pending_first(const struct cv_doc *doc,
                                      uint32_t client);
/* Take it out, put it back. */
void cv_pending_take(struct cv_doc *doc, struct cv_wait_node *node);
void cv_pending_return(struct cv_doc *doc, struct cv_wait_node *node);
/* Does one like it wait already? */
bool cv_pending_has(const struct cv_doc *doc, const struct cv_struct *s);
/* Bytes that it will take. */
size_t cv_pending_size(const struct cv_struct *s);
/* Let a copy wait. */
CV_MUST_USE int cv_pending_add(struct cv_doc *doc, const struct cv_struct *s,
                               const uint8_t *base);

/* Find out anew what the first waiting struct of a client needs. */
void cv_pending_recheck(struct cv_doc *doc, uint32_t client);
/* A client that is blocked by `on` reaching `state`, no longer noted so;
 * CV_NONE when there is none left. */
uint32_t cv_pending_unblock(struct cv_doc *doc, uint32_t on, uint32_t state);

/* Let a range of units that are not known wait; joined with what overlaps. */
CV_MUST_USE int cv_pending_range(struct cv_doc *doc, uint32_t client,
                                 uint32_t clock, uint32_t len);
/* Does that range wait already? */
bool cv_pending_has_range(const struct cv_doc *doc, uint32_t client,
                          uint32_t clock, uint32_t len);
/* Delete what waited for units of this client that are known now. */
CV_MUST_USE int cv_pending_delete(struct cv_doc *doc, uint32_t client);

void cv_pending_fini(struct cv_doc *doc);
#endif
