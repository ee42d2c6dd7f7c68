#include "transport/pathset_impl.h"

#include "transport/natlife.h"

static const cv_time suspect_checks[] = {0, 50 * CV_MILLISECOND,
                                         100 * CV_MILLISECOND};

static const cv_time dead_checks[] = {5 * CV_SECOND, 15 * CV_SECOND,
                                      60 * CV_SECOND, 300 * CV_SECOND};

static cv_time rto(const struct cv_path *p)
{
    cv_time t = 2 * p->srtt;

    return t > CV_PATH_RTO_MIN ? t : CV_PATH_RTO_MIN;
}

/* A firewall of IPv6 may be another box than the NAT that was measured: it is
 * taken for as forgetful, but for no better. */
static cv_time keep_every(const struct cv_pathset *ps, const struct cv_path *p)
{
    bool used = p->state == CV_PATH_SELECTED;
    cv_time every = used ? CV_PATH_KEEP_SELECTED : CV_PATH_KEEP_STANDBY;
    cv_time life = ps->local->udp_life;

    if (p->addr.carrier != CV_CARRIER_UDP || p->kind == CV_PATH_LAN ||
        life == 0)
        return every;
    if (p->kind == CV_PATH_IPV6)
        life = cv_time_min(life, CV_NATLIFE_ASSUMED);
    return used ? cv_keep_used(life) : cv_keep_standby(life);
}

void cv_pathset_keep_alive(const struct cv_pathset *ps, struct cv_path *p,
                           cv_time now)
{
    cv_time every = keep_every(ps, p);

    if (now - p->proved_at < CV_PATH_SETTLE)
        every = CV_PATH_SETTLE / 3;
    p->check_at = now + every;
}

void cv_pathset_life_changed(struct cv_pathset *ps)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (p->used && p->unanswered == 0 &&
            (p->state == CV_PATH_SELECTED || p->state == CV_PATH_STANDBY))
            p->check_at =
                cv_time_min(p->check_at, p->last_check + keep_every(ps, p));
    }
}

/* Until the check after so many. */
static cv_time dead_wait(const struct cv_pathset *ps, unsigned tries)
{
    return ps->retry > 0 ? ps->retry : dead_checks[tries < 3 ? tries : 3];
}

static void die(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    cv_pathset_set_state(ps, p, CV_PATH_DEAD, now);
    p->check_at = now + dead_wait(ps, 0);
    if (!p->proved && !p->candidate)
        p->used = false; /* never was one */
}

static void step_checking(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    static const cv_time gap[] = {100 * CV_MILLISECOND, 150 * CV_MILLISECOND};

    if (p->tries >= CV_PATH_CHECKS || !cv_pathset_has_credit(p, CV_CHECK_MAX)) {
        /* A candidate is the attempt's to go on with; an address that spoke
         * to us waits for it to speak again, a little. */
        if (now - p->heard < 2 * CV_SECOND || p->candidate)
            p->check_at = p->candidate ? CV_NEVER : now + 2 * CV_SECOND;
        else
            die(ps, p, now);
        return;
    }
    cv_pathset_check_back(ps, p, now);
    p->check_at = now + (p->tries <= 2 ? gap[p->tries - 1] : CV_PATH_RTO_MIN);
}

static void step_selected(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    cv_time wait = ps->stopped ? cv_pathset_patience(ps, p) : rto(p);

    if (p->unanswered > 0 && now - p->last_check >= wait) {
        cv_pathset_suspect(ps, p, now); /* the check was lost */
        return;
    }
    if (p->unanswered == 0)
        cv_pathset_check(ps, p, 0, now);
    p->check_at = p->last_check + wait;
}

static void step_standby(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    if (p->unanswered >= CV_PATH_SUSPECT_LOST) {
        die(ps, p, now);
        return;
    }
    cv_pathset_check(ps, p, 0, now);
    p->check_at = now + rto(p);
}

static void step_suspect(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    bool other = cv_pathset_good_but(ps, p) != NULL;

    if ((p->unanswered >= CV_PATH_SUSPECT_LOST && other &&
         now - p->last_check >= rto(p)) ||
        now - p->since >= CV_PATH_SUSPECT_TIME) {
        die(ps, p, now);
        cv_pathset_choose(ps, now);
        return;
    }
    if (p->unanswered < CV_PATH_SUSPECT_LOST || now - p->last_check >= rto(p))
        cv_pathset_check(ps, p, 0, now);
    p->check_at = p->unanswered < CV_PATH_SUSPECT_LOST
                      ? p->since + suspect_checks[p->unanswered]
                      : p->last_check + rto(p);
    if (p->check_at <= now)
        p->check_at = now + 50 * CV_MILLISECOND;
    p->check_at = cv_time_min(p->check_at, p->since + CV_PATH_SUSPECT_TIME);
}

static void step_dead(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    cv_time wait;

    if (!p->candidate && !cv_pathset_has_credit(p, CV_CHECK_MAX)) {
        p->used = false; /* spoke once, never proved: not worth more */
        return;
    }
    cv_pathset_check_back(ps, p, now);
    if (cv_pathset_any(ps)) {
        wait = dead_wait(ps, p->tries);
    } else {
        unsigned shift = p->tries > 3 ? 3 : p->tries - 1;

        wait = (250 * CV_MILLISECOND) << shift;
    }
    p->check_at = now + wait;
}

void cv_pathset_revive(struct cv_pathset *ps, cv_time now)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (!p->used || !(p->proved || p->candidate))
            continue;
        if (p->state != CV_PATH_DEAD)
            cv_pathset_set_state(ps, p, CV_PATH_DEAD, now);
        p->tries = 0;
        p->check_at = now;
    }
}

static void step_once(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *sel = cv_pathset_selected(ps);
    bool had = sel != NULL;

    if (sel && now >= cv_pathset_suspect_at(ps))
        cv_pathset_suspect(ps, sel, now);
    if (now >= ps->choose_at)
        cv_pathset_choose(ps, now);
    if (now >= ps->quiet_at)
        cv_pathset_ask_quiet(ps, now);
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (!p->used || now < p->check_at)
            continue;
        switch (p->state) {
        case CV_PATH_NEW:
        case CV_PATH_CHECKING:
            step_checking(ps, p, now);
            break;
        case CV_PATH_VALID:
            p->check_at = CV_NEVER;
            break;
        case CV_PATH_SELECTED:
            step_selected(ps, p, now);
            break;
        case CV_PATH_STANDBY:
            step_standby(ps, p, now);
            break;
        case CV_PATH_SUSPECT:
            step_suspect(ps, p, now);
            break;
        case CV_PATH_DEAD:
            step_dead(ps, p, now);
            break;
        }
    }
    if (had && ps->selected < 0)
        cv_pathset_revive(ps, now);
}

void cv_pathset_step(struct cv_pathset *ps, cv_time now)
{
    /* A path's fate can make another one's check due at once. */
    for (unsigned i = 0; i < 4 && cv_pathset_deadline(ps) <= now; i++)
        step_once(ps, now);
    cv_pathset_tell_silent(ps, now);
}

cv_time cv_pathset_deadline(const struct cv_pathset *ps)
{
    cv_time at = cv_time_min(cv_pathset_suspect_at(ps), ps->choose_at);

    at = cv_time_min(at, ps->quiet_at);
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (ps->path[i].used)
            at = cv_time_min(at, ps->path[i].check_at);
    return at;
}
