/* transport/pathset_impl.h - what the files of transport/pathset.h share.
 *
 *   pathset.c         the set: what comes in, what goes out
 *   pathset_choice.c  which path packets go to
 *   pathset_doubt.c   when a path in use is not to be trusted any more
 *   pathset_step.c    the timers of all paths: checks, and death */
#ifndef CV_TRANSPORT_PATHSET_IMPL_H
#define CV_TRANSPORT_PATHSET_IMPL_H
#include "transport/pathset.h"

static inline bool cv_path_is_good(const struct cv_path *p)
{
    return p->used &&
           (p->state == CV_PATH_VALID || p->state == CV_PATH_STANDBY ||
            p->state == CV_PATH_SELECTED);
}

static inline bool cv_path_is_alive(const struct cv_path *p)
{
    return cv_path_is_good(p) || (p->used && p->state == CV_PATH_SUSPECT);
}

/* --- pathset.c --- */

/* The only place that changes a path's state. */
void cv_pathset_set_state(struct cv_pathset *ps, struct cv_path *p,
                          enum cv_path_state to, cv_time now);
/* May `len` bytes go to it? */
bool cv_pathset_has_credit(const struct cv_path *p, size_t len);
/* A check that the peer's packets asked for: it counts against their bytes. */
void cv_pathset_check_back(struct cv_pathset *ps, struct cv_path *p,
                           cv_time now);

/* --- pathset_choice.c --- */

/* The number of the best proved path other than `not_this`, or -1. */
int cv_pathset_index_but(const struct cv_pathset *ps,
                         const struct cv_path *not_this);
void cv_pathset_tell_selected(struct cv_pathset *ps);
/* Give every valid path its role.  Moves at most once a second, except when
 * the selected path is gone. */
void cv_pathset_choose(struct cv_pathset *ps, cv_time now);

static inline struct cv_path *cv_pathset_selected(struct cv_pathset *ps)
{
    return ps->selected < 0 ? NULL : &ps->path[ps->selected];
}

static inline struct cv_path *
cv_pathset_good_but(struct cv_pathset *ps, const struct cv_path *not_this)
{
    int i = cv_pathset_index_but(ps, not_this);

    return i < 0 ? NULL : &ps->path[i];
}

/* --- pathset_doubt.c --- */

/* What one of the two has lost the other has lost, too: they run between the
 * same two NATs. */
bool cv_pathset_shares_fate(const struct cv_path *a, const struct cv_path *b);
/* The only place that tells of silence. */
void cv_pathset_tell_silent(struct cv_pathset *ps, cv_time now);
/* The path in use is suspect and there is another good one: from now on packets
 * go both ways, and what went before may be lost. */
void cv_pathset_tell_doubled(struct cv_pathset *ps);
void cv_pathset_suspect(struct cv_pathset *ps, struct cv_path *p, cv_time now);
/* `fresh` was proved: the peer may have moved, so ask whether the path in use
 * is alive.  When its packets come on the fresh one, ours go there, too,
 * meanwhile. */
void cv_pathset_doubt(struct cv_pathset *ps, struct cv_path *sel,
                      const struct cv_path *fresh, cv_time now);
/* Packets of the connection came; before `heard` is set.  An end that only
 * receives has nothing in flight to miss: its sign is that packets came at a
 * pace, and do not any more. */
void cv_pathset_note_stream(struct cv_pathset *ps, unsigned packets,
                            cv_time now);
/* The stream has stopped: one check asks whether its path works. */
void cv_pathset_ask_quiet(struct cv_pathset *ps, cv_time now);
/* The peer spoke on the path in use until just now, and speaks on another one:
 * it hears nothing of us, and would wait as long again for our answer as it has
 * waited already.  What was still under way on the other one when the peer came
 * to this one is none of that. */
bool cv_pathset_has_turned(const struct cv_path *sel, const struct cv_path *p,
                           cv_time now);
/* So long an answer on `p` may take, to data or to a check, while data goes. */
cv_time cv_pathset_patience(const struct cv_pathset *ps,
                            const struct cv_path *p);
/* When the selected path becomes suspect if nothing comes. */
cv_time cv_pathset_suspect_at(const struct cv_pathset *ps);

/* --- pathset_step.c --- */

void cv_pathset_keep_alive(const struct cv_pathset *ps, struct cv_path *p,
                           cv_time now);
/* Without any path, every address that is known is worth asking. */
void cv_pathset_revive(struct cv_pathset *ps, cv_time now);
#endif
