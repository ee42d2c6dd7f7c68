/* transport/attempt_impl.h - what the files of transport/attempt.h share.
 *
 *   attempt.c         its life
 *   attempt_target.c  the plans dial and punch: whom we check, and when
 *   attempt_hard.c    the plans for a NAT that maps by destination
 *   attempt_reason.c  why there is no path, in words */
#ifndef CV_TRANSPORT_ATTEMPT_IMPL_H
#define CV_TRANSPORT_ATTEMPT_IMPL_H
#include "transport/attempt.h"
#include "transport/natlife.h"

/* --- attempt.c --- */

/* May so many bytes more be sent to addresses that may be anybody's?  True
 * counts them. */
bool cv_attempt_spend(struct cv_attempt *at, size_t len);

/* --- attempt_target.c --- */

/* Do we take another port for every destination? */
bool cv_attempt_is_hard(const struct cv_attempt *at);
/* So long after an answer checks of the joiner's go with full TTL. */
cv_time cv_attempt_answer_wait(const struct cv_attempt *at);
/* The peer's record: check what it names.  Is any of it new? */
bool cv_attempt_add(struct cv_attempt *at, const struct cv_candidates *peer,
                    cv_time now);
/* The other end is known to be checking: full TTL from `when` on. */
void cv_attempt_go_full(struct cv_attempt *at, cv_time when);
/* The other end has just begun: what is left of the budget is for now. */
void cv_attempt_spend_rest(struct cv_attempt *at, cv_time now);
cv_time cv_attempt_targets_deadline(const struct cv_attempt *at);
void cv_attempt_targets_step(struct cv_attempt *at, cv_time now);

/* --- attempt_hard.c --- */

/* So often one attempt begins its birthday anew, elsewhere. */
#define CV_HARD_AIMS 3
/* So many it begins for one silence, so long after each other; and so long it
 * waits for leave. */
#define CV_HARD_RESCUES 3
#define CV_HARD_RESCUE  (1500 * CV_MILLISECOND)
#define CV_HARD_WAIT    (1 * CV_SECOND)
/* So many hits are enough: of a NAT that counts every guess is one. */
#define CV_HARD_HITS 4

/* The peer's record, or news of it. */
void cv_attempt_hard_news(struct cv_attempt *at,
                          const struct cv_candidates *peer);
/* The other side has begun. */
void cv_attempt_hard_there(struct cv_attempt *at, cv_time now);
/* After news: what runs goes on where the peer is now. */
void cv_attempt_hard_aim(struct cv_attempt *at, cv_time now);
/* A check of the peer's has come: a guess has hit, maybe. */
void cv_attempt_hard_hit(struct cv_attempt *at,
                         const struct cv_path_addr *from);
cv_time cv_attempt_hard_deadline(const struct cv_attempt *at);
void cv_attempt_hard_step(struct cv_attempt *at, cv_time now);
/* There is a path: the plans end, and sockets without one are closed. */
void cv_attempt_hard_reached(struct cv_attempt *at, cv_time now);
/* No path of the connection works just now, or one does again. */
void cv_attempt_hard_silent(struct cv_attempt *at, bool silent, cv_time now);
/* There is a path on a socket that is another attempt's, maybe: it is ours,
 * too. */
void cv_attempt_hard_share(struct cv_attempt *at,
                           const struct cv_path_addr *addr, cv_time now);
void cv_attempt_hard_end(struct cv_attempt *at);

/* --- attempt_reason.c --- */

/* Why nothing worked, what the two NATs are, and what to do. */
void cv_attempt_explain(const struct cv_attempt *at, char *out, size_t len);
#endif
