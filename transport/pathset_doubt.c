#include "transport/pathset_impl.h"

bool cv_pathset_shares_fate(const struct cv_path *a, const struct cv_path *b)
{
    return a->addr.carrier == CV_CARRIER_UDP &&
           b->addr.carrier == CV_CARRIER_UDP &&
           cv_addr_same_ip(&a->addr.remote, &b->addr.remote);
}

/* Is there a path of which nothing speaks against it? */
static bool has_hope(const struct cv_pathset *ps)
{
    const struct cv_path *sel = cv_pathset_best(ps);

    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (cv_path_is_good(&ps->path[i]) &&
            (ps->doubt_from == CV_NEVER || !sel ||
             !cv_pathset_shares_fate(&ps->path[i], sel)))
            return true;
    return false;
}

void cv_pathset_tell_silent(struct cv_pathset *ps, cv_time now)
{
    bool silent = !has_hope(ps) && (ps->selected >= 0 || ps->told_silent);

    if (silent == ps->told_silent)
        return;
    ps->told_silent = silent;
    if (ps->events->silent)
        ps->events->silent(ps->user, silent, now);
}

void cv_pathset_tell_doubled(struct cv_pathset *ps)
{
    const struct cv_path *sel = cv_pathset_best(ps), *standby;

    if (!sel || sel->state != CV_PATH_SUSPECT)
        return;
    standby = cv_pathset_good_but(ps, sel);
    if (!standby || standby->id == ps->doubled_on)
        return;
    ps->doubled_on = standby->id;
    cv_pathset_tell_selected(ps);
}

void cv_pathset_suspect(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    cv_pathset_set_state(ps, p, CV_PATH_SUSPECT, now);
    p->unanswered = 0;
    p->check_at = now;
    ps->doubled_on = 0;
    cv_pathset_tell_doubled(ps);
    if (ps->doubt_from != CV_NEVER)
        return;
    ps->doubt_from = now;
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (cv_path_is_good(&ps->path[i]) &&
            cv_pathset_shares_fate(&ps->path[i], p))
            ps->path[i].check_at = now;
}

void cv_pathset_doubt(struct cv_pathset *ps, struct cv_path *sel,
                      const struct cv_path *fresh, cv_time now)
{
    if (fresh->spoke > sel->spoke)
        cv_pathset_suspect(ps, sel, now);
    else
        sel->check_at = now;
}

void cv_pathset_note_stream(struct cv_pathset *ps, unsigned packets,
                            cv_time now)
{
    const struct cv_path *sel = cv_pathset_best(ps);
    cv_time gap = now - ps->heard, wait;

    ps->stopped = false;
    ps->quiet_at = CV_NEVER;
    if (ps->heard == 0 || gap > CV_PATH_STREAM_BREAK) {
        ps->stream = 0;
        ps->gap = 0;
        return;
    }
    ps->gap -= ps->gap / 8;
    if (ps->gap < gap)
        ps->gap = gap;
    ps->stream += packets;
    if (ps->stream < CV_PATH_STREAM_PACKETS || !sel)
        return;
    wait = sel->srtt + ps->gap + 50 * CV_MILLISECOND;
    if (wait < CV_PATH_SUSPECT_MIN)
        wait = CV_PATH_SUSPECT_MIN;
    if (wait > CV_PATH_QUIET_MAX)
        wait = CV_PATH_QUIET_MAX;
    ps->quiet_at = now + wait;
}

void cv_pathset_ask_quiet(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *sel = cv_pathset_selected(ps);

    ps->quiet_at = CV_NEVER;
    ps->stream = 0;
    if (!sel || sel->state != CV_PATH_SELECTED)
        return;
    ps->stopped = true;
    sel->check_at = now;
}

bool cv_pathset_has_turned(const struct cv_path *sel, const struct cv_path *p,
                           cv_time now)
{
    return sel && sel != p && sel->state == CV_PATH_SELECTED &&
           cv_path_is_good(p) && sel->spoke > p->spoke &&
           now - p->spoke >= CV_PATH_SUSPECT_MIN;
}

cv_time cv_pathset_patience(const struct cv_pathset *ps,
                            const struct cv_path *p)
{
    cv_time wait = 2 * p->srtt, spread = 4 * p->rttvar;

    /* The few checks that measure a path may have met a busy moment. */
    if (spread > CV_PATH_SPREAD_MAX && spread > p->srtt)
        spread = p->srtt > CV_PATH_SPREAD_MAX ? p->srtt : CV_PATH_SPREAD_MAX;
    wait += spread;
    /* With another path a mistake costs a few packets sent twice, so one slow
     * answer among the few that were measured does not make us wait. */
    if (wait > 3 * p->srtt && cv_pathset_index_but(ps, p) >= 0)
        wait = 3 * p->srtt;
    wait += 25 * CV_MILLISECOND;
    if (wait < CV_PATH_SUSPECT_MIN)
        wait = CV_PATH_SUSPECT_MIN;
    if (wait > CV_PATH_SUSPECT_MAX)
        wait = CV_PATH_SUSPECT_MAX;
    return wait;
}

cv_time cv_pathset_suspect_at(const struct cv_pathset *ps)
{
    const struct cv_path *p = cv_pathset_best(ps);
    cv_time from;

    if (!p || p->state != CV_PATH_SELECTED || !ps->in_flight)
        return CV_NEVER;
    from = ps->in_flight_at > ps->heard ? ps->in_flight_at : ps->heard;
    return from + cv_pathset_patience(ps, p);
}

void cv_pathset_recheck(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *p = cv_pathset_selected(ps);

    if (p)
        cv_pathset_renamed(ps, p, now);
}
