/* Whom we send checks to, by which plan, and when. */
#include "transport/attempt_impl.h"

static const unsigned opener_ttl[CV_ATTEMPT_OPENERS] = {3, 5, 8, 3, 5};
/* What is left of the budget goes out then, counted from the start. */
static const cv_time late[] = {3 * CV_SECOND, 6 * CV_SECOND, 10 * CV_SECOND};

/* Addresses that nobody translates are dialled; a NAT is punched. */
static enum cv_attempt_plan plan_for(const struct cv_candidate *c)
{
    if (c->addr.family == CV_FAMILY_IPV6 || c->type != CV_CANDIDATE_SRFLX)
        return CV_PLAN_DIAL;
    return CV_PLAN_PUNCH;
}

bool cv_attempt_is_hard(const struct cv_attempt *at)
{
    return cv_plan_is_hard(at->local->nat);
}

static cv_time full_after(const struct cv_attempt *at)
{
    if (at->peer_nat & CV_NAT_DROPS_STRAYS)
        return CV_ATTEMPT_FULL_SAFE;
    return cv_attempt_is_hard(at) ? CV_ATTEMPT_FULL_EDM : CV_ATTEMPT_FULL;
}

cv_time cv_attempt_answer_wait(const struct cv_attempt *at)
{
    return cv_attempt_is_hard(at) ? 0 : CV_ATTEMPT_ANSWER;
}

/* Of a NAT that counts, the mapping before the newest one only says by how
 * much. */
static bool is_used_up(const struct cv_attempt *at,
                       const struct cv_candidate *c)
{
    return (at->peer_nat & CV_NAT_MAPPING_MASK) == CV_NAT_MAPPING_SEQ &&
           c->type == CV_CANDIDATE_SRFLX &&
           cv_addr_same_ip(&c->addr, &at->peer_last) &&
           !cv_addr_equal(&c->addr, &at->peer_last);
}

/* Room for one more target: that of a peer's former address, which does not
 * work any more. NULL: all are current. */
static struct cv_attempt_target *take_target(struct cv_attempt *at)
{
    if (at->n < CV_CANDIDATES_MAX)
        return &at->target[at->n];
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (!t->named && cv_pathset_forget(&at->paths, t->path))
            return t;
    }
    return NULL;
}

static bool add_target(struct cv_attempt *at, const struct cv_candidate *c,
                       bool same_nat, cv_time now)
{
    struct cv_path_addr addr = {.carrier = CV_CARRIER_UDP, .remote = c->addr};
    struct cv_attempt_target *t;
    char text[CV_ADDR_TEXT];
    struct cv_path *path;

    if (is_used_up(at, c))
        return false;
    if (!cv_local_may_send(at->local, &c->addr, same_nat)) {
        cv_debug(at->log, "attempt: candidate not tried, addr=%s",
                 cv_addr_log(at->log, &c->addr, text));
        at->skipped++;
        return false;
    }
    for (unsigned i = 0; i < at->n; i++)
        if (cv_addr_equal(&at->target[i].path->addr.remote, &c->addr)) {
            at->target[i].named = true;
            cv_pathset_renamed(&at->paths, at->target[i].path, now);
            return false;
        }
    t = take_target(at);
    path = t ? cv_pathset_candidate(&at->paths, &addr, now) : NULL;
    if (!path)
        return false;
    *t = (struct cv_attempt_target){.path = path,
                                    .plan = plan_for(c),
                                    .type = c->type,
                                    .named = true,
                                    .next = now};
    if (at->holds && path->kind != CV_PATH_LAN) {
        t->open = t->plan == CV_PLAN_DIAL;
        t->plan = CV_PLAN_PUNCH; /* there may be a NAT here, too */
    }
    if (at->joiner && t->plan == CV_PLAN_PUNCH) {
        t->full_at = at->started + full_after(at);
        if (at->answered)
            t->full_at =
                cv_time_min(t->full_at, now + cv_attempt_answer_wait(at));
        if (at->holds)
            t->full_at = CV_NEVER;
        if (at->heard || t->full_at < now)
            t->full_at = now;
    } else {
        t->full_at = now;
    }
    cv_debug(at->log, "attempt: candidate, plan=%s kind=%s addr=%s",
             t->plan == CV_PLAN_DIAL ? "dial" : "punch",
             cv_path_kind_name(path->kind),
             cv_addr_log(at->log, &c->addr, text));
    if (t == &at->target[at->n])
        at->n++;
    return true;
}

/* Does the record say that nobody translates this address? */
static bool is_untranslated(const struct cv_candidate *c,
                            const struct cv_candidates *peer)
{
    if (c->addr.family == CV_FAMILY_IPV6)
        return false; /* but a firewall may be in front of it */
    for (unsigned i = 0; i < peer->n && i < CV_CANDIDATES_MAX; i++) {
        const struct cv_candidate *o = &peer->c[i];

        if ((o->type == CV_CANDIDATE_HOST &&
             cv_addr_same_ip(&o->addr, &c->addr)) ||
            (o->type == CV_CANDIDATE_MAPPED &&
             cv_addr_equal(&o->addr, &c->addr)))
            return true;
    }
    return false;
}

static bool add_tcp(struct cv_attempt *at, const struct cv_candidate *c,
                    const struct cv_candidates *peer, cv_time now)
{
    char text[CV_ADDR_TEXT];

    if (!at->events->tcp)
        return false;
    if (!cv_local_may_connect(at->local, &c->addr, at->trusted)) {
        cv_debug(at->log, "attempt: candidate not tried, tcp addr=%s",
                 cv_addr_log(at->log, &c->addr, text));
        at->skipped++;
        return false;
    }
    if (!cv_tcpplan_add(&at->tcp, &c->addr, is_untranslated(c, peer), now))
        return false;
    cv_debug(at->log, "attempt: candidate, plan=tcp addr=%s",
             cv_addr_log(at->log, &c->addr, text));
    return true;
}

bool cv_attempt_add(struct cv_attempt *at, const struct cv_candidates *peer,
                    cv_time now)
{
    bool same_nat = cv_local_same_nat(at->local, peer);
    bool any = false;
    bool taken[CV_CANDIDATES_MAX] = {false};
    unsigned n = peer->n < CV_CANDIDATES_MAX ? peer->n : CV_CANDIDATES_MAX;

    at->peer_nat = peer->nat;
    cv_attempt_hard_news(at, peer);
    for (unsigned i = 0; i < at->n; i++)
        at->target[i].named = false;
    /* Best tier first, then the peer's preference: the first one is sent to at
     * once, and pacing holds up the rest. */
    for (unsigned round = 0; round < n; round++) {
        const struct cv_candidate *best = NULL;
        unsigned which = 0;

        for (unsigned i = 0; i < n; i++) {
            const struct cv_candidate *c = &peer->c[i];
            enum cv_path_kind kind = cv_local_path_kind(at->local, &c->addr);

            if (taken[i])
                continue;
            if (!best || kind < cv_local_path_kind(at->local, &best->addr) ||
                (kind == cv_local_path_kind(at->local, &best->addr) &&
                 c->pref > best->pref)) {
                best = c;
                which = i;
            }
        }
        if (!best)
            break;
        taken[which] = true;
        any |= best->type == CV_CANDIDATE_TCP
                   ? add_tcp(at, best, peer, now)
                   : add_target(at, best, same_nat, now);
    }
    return any;
}

/* ---- when each is sent what ------------------------------------------ */

void cv_attempt_go_full(struct cv_attempt *at, cv_time when)
{
    if (at->holds)
        at->fail_at = when + CV_ATTEMPT_DECIDE;
    at->holds = false;
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (when < t->full_at)
            t->full_at = when;
        if (t->next > t->full_at && t->full == 0)
            t->next = t->full_at;
    }
}

void cv_attempt_spend_rest(struct cv_attempt *at, cv_time now)
{
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (!t->path->proved && t->sent < CV_ATTEMPT_BUDGET)
            t->next = cv_time_min(t->next, now + 50 * CV_MILLISECOND);
    }
}

/* By hand: is it the turn of a check at full TTL?  Of the sixty openers of a
 * quarter of an hour these are 21. */
static bool leads_now(const struct cv_attempt_target *t)
{
    unsigned n = t->openers > 3 ? t->openers - 3 : 0;

    return t->open && t->sent < CV_ATTEMPT_BUDGET && n > 0 &&
           (n <= 8 || n % 4 == 0);
}

static void send_check(struct cv_attempt *at, struct cv_attempt_target *t,
                       cv_time now)
{
    bool opener = t->plan == CV_PLAN_PUNCH && now < t->full_at &&
                  (at->holds || t->openers < CV_ATTEMPT_OPENERS);
    unsigned ttl = 0;

    if (opener) {
        ttl = at->low_ttl ? opener_ttl[t->openers % CV_ATTEMPT_OPENERS] : 0;
        t->openers++;
    } else {
        t->full++;
    }
    if (at->holds && opener && !leads_now(t)) {
        /* These have a limit of their own. */
        cv_pathset_check(&at->paths, t->path, ttl, now);
        return;
    }
    if (at->holds && opener)
        ttl = 0;
    t->sent++;
    if (cv_attempt_spend(at, CV_CHECK_MAX))
        cv_pathset_check(&at->paths, t->path, ttl, now);
}

/* When the next check to `t` is due after one that was just sent. */
static cv_time next_check(const struct cv_attempt *at,
                          const struct cv_attempt_target *t, cv_time now)
{
    cv_time gap;

    if (at->holds && t->plan == CV_PLAN_PUNCH)
        return now + (t->openers < 3 ? 50 * CV_MILLISECOND
                                     : cv_keep_within(CV_ATTEMPT_BY_HAND_EVERY,
                                                      at->local->udp_life));
    if (t->sent >= CV_ATTEMPT_BUDGET)
        return CV_NEVER;
    if (t->full == 0) {
        /* Openers, then silence until full TTL. */
        gap = t->openers < 3 ? 50 * CV_MILLISECOND : CV_SECOND;
        if (t->openers < CV_ATTEMPT_OPENERS)
            return cv_time_min(now + gap, t->full_at);
        return t->full_at > now ? t->full_at : now;
    }
    if (t->plan == CV_PLAN_DIAL)
        gap = t->full < 3    ? 100 * CV_MILLISECOND
              : t->full < 13 ? 200 * CV_MILLISECOND
              : t->full < 17 ? 500 * CV_MILLISECOND
                             : 0;
    else
        gap = t->full < 6    ? 50 * CV_MILLISECOND
              : t->full < 16 ? 200 * CV_MILLISECOND
                             : 0;
    if (gap > 0)
        return now + gap;
    for (unsigned i = 0; i < sizeof late / sizeof late[0]; i++)
        if (at->started + late[i] > now)
            return at->started + late[i];
    return CV_NEVER;
}

static bool wants_more(const struct cv_attempt *at,
                       const struct cv_attempt_target *t, cv_time now)
{
    if (t->path->proved || t->next == CV_NEVER)
        return false;
    return at->phase == CV_ATTEMPT_LOOKING ||
           now < at->reached_at + CV_ATTEMPT_AFTER;
}

cv_time cv_attempt_targets_deadline(const struct cv_attempt *at)
{
    cv_time due = CV_NEVER;

    for (unsigned i = 0; i < at->n; i++) {
        const struct cv_attempt_target *t = &at->target[i];
        cv_time next = t->next > at->paced_until ? t->next : at->paced_until;

        if (t->next != CV_NEVER && wants_more(at, t, next))
            due = cv_time_min(due, next);
    }
    return due;
}

void cv_attempt_targets_step(struct cv_attempt *at, cv_time now)
{
    while (now >= at->paced_until) {
        struct cv_attempt_target *first = NULL;

        for (unsigned i = 0; i < at->n; i++) {
            struct cv_attempt_target *t = &at->target[i];

            if (t->next > now)
                continue;
            if (!wants_more(at, t, now))
                t->next = CV_NEVER;
            else if (!first || t->next < first->next)
                first = t;
        }
        if (!first)
            return;
        send_check(at, first, now);
        first->next = next_check(at, first, now);
        at->paced_until = now + CV_ATTEMPT_PACE;
    }
}
