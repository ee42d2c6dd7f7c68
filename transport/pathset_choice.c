#include "transport/pathset_impl.h"

/* IPv6 and IPv4 are one tier, in which IPv6 is worth 3 ms: a slow tunnel must
 * not beat a good IPv4 path. */
static unsigned tier(const struct cv_path *p)
{
    return p->kind == CV_PATH_IPV4 ? CV_PATH_IPV6 : (unsigned)p->kind;
}

static cv_time effective_rtt(const struct cv_path *p)
{
    return p->srtt - (p->kind == CV_PATH_IPV6 ? 3 * CV_MILLISECOND : 0);
}

static bool is_better(const struct cv_path *a, const struct cv_path *b,
                      cv_time margin)
{
    if (tier(a) != tier(b))
        return tier(a) < tier(b);
    return effective_rtt(a) + margin < effective_rtt(b);
}

/* While the path in use is in doubt, or dead: was the peer heard later on `a`,
 * or, if it was heard on both, does it speak there?  It may have moved, and b
 * be of before.  0: nothing says so. */
static int is_fresher(const struct cv_path *a, const struct cv_path *b)
{
    if (a->heard > b->heard + CV_PATH_RTO_MIN)
        return 1;
    if (b->heard > a->heard + CV_PATH_RTO_MIN)
        return -1;
    if (a->spoke > b->spoke + CV_PATH_RTO_MIN)
        return 1;
    return b->spoke > a->spoke + CV_PATH_RTO_MIN ? -1 : 0;
}

/* One that owes us an answer may have died with the path in use. */
static bool is_fitter(const struct cv_pathset *ps, const struct cv_path *a,
                      const struct cv_path *b)
{
    const struct cv_path *sel = cv_pathset_best(ps);
    int fresher = 0;

    if ((!sel || !cv_path_is_good(sel)) && tier(a) == tier(b))
        fresher = is_fresher(a, b);
    if (fresher != 0)
        return fresher > 0;
    if ((a->unanswered == 0) != (b->unanswered == 0))
        return a->unanswered == 0;
    return is_better(a, b, 0);
}

int cv_pathset_index_but(const struct cv_pathset *ps,
                         const struct cv_path *not_this)
{
    int best = -1;

    for (int i = 0; i < CV_PATHS_MAX; i++) {
        const struct cv_path *p = &ps->path[i];

        if (cv_path_is_good(p) && p != not_this &&
            (best < 0 || is_fitter(ps, p, &ps->path[best])))
            best = i;
    }
    return best;
}

const struct cv_path *cv_pathset_best(const struct cv_pathset *ps)
{
    return ps->selected < 0 ? NULL : &ps->path[ps->selected];
}

const struct cv_path *cv_pathset_promising(const struct cv_pathset *ps,
                                           cv_time now)
{
    const struct cv_path *best = NULL;

    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        const struct cv_path *p = &ps->path[i];

        if (p->used && p->state == CV_PATH_CHECKING && p->asked > 0 &&
            now - p->asked < CV_SECOND && !cv_path_is_relay(&p->addr) &&
            (!best || p->asked > best->asked))
            best = p;
    }
    return best;
}

bool cv_pathset_any(const struct cv_pathset *ps)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (cv_path_is_alive(&ps->path[i]))
            return true;
    return false;
}

void cv_pathset_tell_selected(struct cv_pathset *ps)
{
    const struct cv_path *p = cv_pathset_best(ps);

    if (!p && ps->told_none)
        return;
    ps->told_none = p == NULL;
    if (ps->events->selected)
        ps->events->selected(ps->user, p);
}

void cv_pathset_choose(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *old = cv_pathset_selected(ps), *best;
    bool was_dead = !old || !cv_path_is_alive(old);

    ps->choose_at = CV_NEVER;
    best = cv_pathset_good_but(ps, NULL);
    if (!was_dead && best && best != old) {
        cv_time margin = effective_rtt(old) / 10;

        if (margin < 5 * CV_MILLISECOND)
            margin = 5 * CV_MILLISECOND;
        if (old->state == CV_PATH_SUSPECT || !is_better(best, old, margin)) {
            best = old;
        } else if (now - ps->switched < CV_PATH_SWITCH_PAUSE &&
                   cv_path_is_relay(&old->addr) ==
                       cv_path_is_relay(&best->addr)) {
            ps->choose_at = ps->switched + CV_PATH_SWITCH_PAUSE;
            best = old;
        }
    } else if (!was_dead) {
        best = old;
    }
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (p == best || !cv_path_is_good(p) || p->state == CV_PATH_STANDBY)
            continue;
        cv_pathset_set_state(ps, p, CV_PATH_STANDBY, now);
        cv_pathset_keep_alive(ps, p, now);
    }
    if (best && best->state != CV_PATH_SUSPECT &&
        best->state != CV_PATH_SELECTED) {
        cv_pathset_set_state(ps, best, CV_PATH_SELECTED, now);
        if (was_dead && now - best->heard > CV_PATH_RTO_MIN)
            best->check_at = now; /* it may have died with the one before */
        else if (best->unanswered == 0) /* else its check goes on */
            cv_pathset_keep_alive(ps, best, now);
    }
    if (best == old && !was_dead)
        return;
    ps->selected = best ? (int)(best - ps->path) : -1;
    ps->switched = now;
    if (best && old && ps->doubt_from != CV_NEVER &&
        cv_pathset_shares_fate(best, old))
        cv_pathset_suspect(ps, best, now); /* it is in use, and as silent */
    if (best && ps->in_flight)
        ps->in_flight_at = now; /* it is not this path that was silent */
    cv_pathset_tell_selected(ps);
}
