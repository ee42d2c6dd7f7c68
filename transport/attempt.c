#include "transport/attempt.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static const unsigned opener_ttl[CV_ATTEMPT_OPENERS] = {3, 5, 8, 3, 5};
/* What is left of the budget goes out then, counted from the start. */
static const cv_time late[] = {3 * CV_SECOND, 6 * CV_SECOND, 10 * CV_SECOND};

static int on_send(void *user, const struct cv_path_addr *to, unsigned ttl,
                   const uint8_t *data, size_t len, size_t segment)
{
    struct cv_attempt *at = user;

    return at->send(at->user, to, ttl, data, len, segment);
}

static void on_selected(void *user, const struct cv_path *path)
{
    struct cv_attempt *at = user;

    if (at->events->path)
        at->events->path(at->user, path);
}

static void on_proved(void *user, const struct cv_path *path)
{
    struct cv_attempt *at = user;
    char text[CV_ADDR_TEXT];

    if (at->phase != CV_ATTEMPT_LOOKING)
        return;
    cv_debug(at->log, "attempt: reached, kind=%s addr=%s rtt_us=%lld",
             cv_path_kind_name(path->kind),
             cv_addr_log(at->log, &path->addr.remote, text),
             (long long)(path->srtt / CV_MICROSECOND));
    at->phase = CV_ATTEMPT_REACHED;
}

static void on_silent(void *user, bool silent)
{
    struct cv_attempt *at = user;

    if (at->events->silent)
        at->events->silent(at->user, silent);
}

static const struct cv_pathset_events pathset_events = {
    .selected = on_selected,
    .proved = on_proved,
    .silent = on_silent,
};

/* Addresses that nobody translates are dialled; a NAT is punched. */
static enum cv_attempt_plan plan_for(const struct cv_candidate *c)
{
    if (c->addr.family == CV_FAMILY_IPV6 || c->type != CV_CANDIDATE_SRFLX)
        return CV_PLAN_DIAL;
    return CV_PLAN_PUNCH;
}

static cv_time full_after(const struct cv_attempt *at)
{
    uint16_t mapping = at->local->nat & CV_NAT_MAPPING_MASK;

    return mapping == CV_NAT_MAPPING_SEQ || mapping == CV_NAT_MAPPING_RANDOM
               ? CV_ATTEMPT_FULL_EDM
               : CV_ATTEMPT_FULL;
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

    if (c->type == CV_CANDIDATE_TCP)
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
    if (at->holds && path->kind != CV_PATH_LAN)
        t->plan = CV_PLAN_PUNCH; /* there may be a NAT here, too */
    if (at->joiner && t->plan == CV_PLAN_PUNCH) {
        t->full_at = at->started + full_after(at);
        if (at->answered)
            t->full_at = cv_time_min(t->full_at, now + CV_ATTEMPT_ANSWER);
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

static bool add_candidates(struct cv_attempt *at,
                           const struct cv_candidates *peer, cv_time now)
{
    bool same_nat = cv_local_same_nat(at->local, peer);
    bool any = false;
    bool taken[CV_CANDIDATES_MAX] = {false};
    unsigned n = peer->n < CV_CANDIDATES_MAX ? peer->n : CV_CANDIDATES_MAX;

    at->peer_nat = peer->nat;
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
        any |= add_target(at, best, same_nat, now);
    }
    return any;
}

void cv_attempt_init(struct cv_attempt *at, const struct cv_contact *contact,
                     const struct cv_local *local, const struct cv_rng *rng,
                     struct cv_log *log, cv_path_send_fn send,
                     const struct cv_attempt_events *events, void *user,
                     cv_time now)
{
    memset(at, 0, sizeof *at);
    at->phase = CV_ATTEMPT_LOOKING;
    at->joiner = contact->knocked;
    at->low_ttl = true;
    at->local = local;
    at->log = log;
    at->send = send;
    at->events = events;
    at->user = user;
    at->started = at->paced_until = now;
    at->holds = contact->knocked && contact->by_hand;
    at->fail_at = now + (at->holds ? CV_ATTEMPT_BY_HAND : CV_ATTEMPT_TIME);
    cv_checks_init(&at->checks, rng, contact->attempt, contact->shared,
                   contact->knocked);
    cv_pathset_init(&at->paths, &at->checks, local, log, on_send,
                    &pathset_events, at);
    add_candidates(at, &contact->peer, now);
}

void cv_attempt_fini(struct cv_attempt *at)
{
    cv_checks_fini(&at->checks);
}

/* The other end is known to be checking: full TTL from `when` on. */
static void go_full(struct cv_attempt *at, cv_time when)
{
    if (at->holds)
        at->fail_at = when + CV_ATTEMPT_TIME;
    at->holds = false;
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (when < t->full_at)
            t->full_at = when;
        if (t->next > t->full_at && t->full == 0)
            t->next = t->full_at;
    }
}

/* The other end has just begun: what is left of the budget is for now. */
static void spend_rest(struct cv_attempt *at, cv_time now)
{
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (!t->path->proved && t->sent < CV_ATTEMPT_BUDGET)
            t->next = cv_time_min(t->next, now + 50 * CV_MILLISECOND);
    }
}

void cv_attempt_candidates(struct cv_attempt *at,
                           const struct cv_candidates *peer, cv_time now)
{
    bool first = !at->answered;

    at->answered = true;
    if (add_candidates(at, peer, now) && at->phase == CV_ATTEMPT_REACHED)
        at->reached_at = now; /* look for better paths again */
    if (at->phase == CV_ATTEMPT_LOOKING) {
        if (at->renewed < CV_ATTEMPT_RENEWED) {
            at->renewed++;
            at->fail_at = now + CV_ATTEMPT_TIME;
        }
        if (first && at->joiner) {
            go_full(at, now + CV_ATTEMPT_ANSWER);
            spend_rest(at, now);
        }
    }
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
    cv_pathset_check(&at->paths, t->path, ttl, now);
    if (!at->holds || !opener)
        t->sent++; /* those of the hold have a limit of their own */
}

/* When the next check to `t` is due after one that was just sent. */
static cv_time next_check(const struct cv_attempt *at,
                          const struct cv_attempt_target *t, cv_time now)
{
    cv_time gap;

    if (at->holds && t->plan == CV_PLAN_PUNCH)
        return now + (t->openers < 3 ? 50 * CV_MILLISECOND
                                     : CV_ATTEMPT_BY_HAND_EVERY);
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

static void explain(const struct cv_attempt *at, char *out, size_t len)
{
    uint16_t map = at->peer_nat & CV_NAT_MAPPING_MASK;
    uint16_t own = at->local->nat & CV_NAT_MAPPING_MASK;

    if (at->n == 0)
        snprintf(out, len,
                 "no direct path: the other side named no address that can be "
                 "reached from here (%u skipped); give both sides a STUN "
                 "server (--stun HOST:PORT) or put them in one network",
                 at->skipped);
    else if (at->heard)
        snprintf(out, len,
                 "no direct path: the other side's packets arrive here, but "
                 "ours do not get back; look for a firewall here that drops "
                 "outgoing UDP, or one there that drops incoming UDP");
    else if (at->local->nat & CV_NAT_UDP_BLOCKED)
        snprintf(out, len,
                 "no direct path: UDP seems to be blocked here, no STUN server "
                 "answers; try another network");
    else if (own == CV_NAT_MAPPING_SEQ || own == CV_NAT_MAPPING_RANDOM)
        snprintf(
            out, len,
            "no direct path: this computer is behind a NAT that uses "
            "another port for every destination; try from another network, "
            "forward UDP port %u, or use IPv6",
            (unsigned)at->local->port);
    else if (map == CV_NAT_MAPPING_SEQ || map == CV_NAT_MAPPING_RANDOM)
        snprintf(out, len,
                 "no direct path: the other side is behind a NAT that uses "
                 "another port for every destination; try from another network "
                 "there, forward a UDP port, or use IPv6");
    else if (at->peer_nat & CV_NAT_UDP_BLOCKED)
        snprintf(out, len,
                 "no direct path: UDP seems to be blocked on the other side; "
                 "try another network there");
    else
        snprintf(out, len,
                 "no direct path: nothing came back from %u address%s in %d "
                 "s; check that both sides are online and that no firewall "
                 "blocks UDP, and give both sides a STUN server "
                 "(--stun HOST:PORT)",
                 at->n, at->n == 1 ? "" : "es",
                 (int)(CV_ATTEMPT_TIME / CV_SECOND));
}

/* After something came of the path set's own: was it the first path? */
static void note_reached(struct cv_attempt *at, cv_time now)
{
    if (at->phase != CV_ATTEMPT_REACHED || at->reached_at > 0)
        return;
    at->reached_at = now;
    if (at->events->reached)
        at->events->reached(at->user);
}

int cv_attempt_input(struct cv_attempt *at, const struct cv_path_addr *from,
                     const struct cv_stun *m, cv_time now)
{
    uint8_t buf[CV_CHECK_MAX];
    struct cv_writer w;
    struct cv_check check;
    int err = cv_checks_receive(&at->checks, now, from, m, &check);

    if (err != CV_OK)
        return err;
    switch (check.kind) {
    case CV_CHECK_REQUEST:
        cv_writer_init(&w, buf, sizeof buf);
        err = cv_checks_answer(&at->checks, m, &check, from, &w);
        if (err != CV_OK)
            return err;
        (void)at->send(at->user, from, 0, buf, w.len, w.len);
        if (!at->heard) {
            at->heard = true;
            go_full(at, now);
            if (at->phase == CV_ATTEMPT_LOOKING)
                spend_rest(at, now);
        }
        cv_pathset_requested(&at->paths, from, m->raw.len, w.len, now);
        break;
    case CV_CHECK_RESPONSE:
        cv_pathset_answered(&at->paths, from, check.rtt, now);
        if (check.mapped.family != CV_FAMILY_NONE && at->events->reflexive)
            at->events->reflexive(at->user, &check.mapped, &from->remote);
        break;
    }
    note_reached(at, now);
    return CV_OK;
}

void cv_attempt_rekey(struct cv_attempt *at, const uint8_t exported[64],
                      cv_time now)
{
    cv_checks_rekey(&at->checks, exported, now);
}

void cv_attempt_network_changed(struct cv_attempt *at, cv_time now)
{
    cv_pathset_network_changed(&at->paths, now);
    if (at->phase == CV_ATTEMPT_LOOKING)
        spend_rest(at, now);
}

cv_time cv_attempt_deadline(const struct cv_attempt *at)
{
    cv_time due = cv_pathset_deadline(&at->paths);

    if (at->phase == CV_ATTEMPT_LOST)
        return CV_NEVER;
    if (at->phase == CV_ATTEMPT_LOOKING)
        due = cv_time_min(due, at->fail_at);
    for (unsigned i = 0; i < at->n; i++) {
        const struct cv_attempt_target *t = &at->target[i];
        cv_time next = t->next > at->paced_until ? t->next : at->paced_until;

        if (t->next != CV_NEVER && wants_more(at, t, next))
            due = cv_time_min(due, next);
    }
    return due;
}

void cv_attempt_step(struct cv_attempt *at, cv_time now)
{
    char reason[CV_ATTEMPT_REASON];

    if (at->phase == CV_ATTEMPT_LOST)
        return;
    cv_pathset_step(&at->paths, now);
    note_reached(at, now);
    /* The one that has waited longest goes first. */
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
            break;
        send_check(at, first, now);
        first->next = next_check(at, first, now);
        at->paced_until = now + CV_ATTEMPT_PACE;
    }
    if (at->phase == CV_ATTEMPT_LOOKING && now >= at->fail_at) {
        explain(at, reason, sizeof reason);
        cv_debug(at->log, "attempt: lost, heard=%d targets=%u skipped=%u",
                 at->heard, at->n, at->skipped);
        at->phase = CV_ATTEMPT_LOST;
        if (at->events->lost)
            at->events->lost(at->user, reason);
    }
}
