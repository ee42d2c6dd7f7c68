#include "transport/attempt_impl.h"
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

    if (at->phase != CV_ATTEMPT_LOOKING || cv_path_is_relay(&path->addr))
        return;
    cv_debug(at->log, "attempt: reached, kind=%s addr=%s rtt_us=%lld",
             cv_path_kind_name(path->kind),
             cv_addr_log(at->log, &path->addr.remote, text),
             (long long)(path->srtt / CV_MICROSECOND));
    at->phase = CV_ATTEMPT_REACHED;
    cv_tcpplan_stop(&at->tcp);
}

static void on_silent(void *user, bool silent, cv_time now)
{
    struct cv_attempt *at = user;

    if (!silent)
        cv_tcpplan_stop(&at->tcp);
    else if (at->phase == CV_ATTEMPT_REACHED || at->looked)
        cv_tcpplan_again(&at->tcp, now);
    cv_attempt_hard_silent(at, silent, now);
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

/* Do we take another port for every destination? */
static bool is_hard(const struct cv_attempt *at)
{
    return cv_plan_is_hard(at->local->nat);
}

static cv_time full_after(const struct cv_attempt *at)
{
    if (at->peer_nat & CV_NAT_DROPS_STRAYS)
        return CV_ATTEMPT_FULL_SAFE;
    return is_hard(at) ? CV_ATTEMPT_FULL_EDM : CV_ATTEMPT_FULL;
}

static cv_time full_after_answer(const struct cv_attempt *at)
{
    return is_hard(at) ? 0 : CV_ATTEMPT_ANSWER;
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
            t->full_at = cv_time_min(t->full_at, now + full_after_answer(at));
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

/* Does one of the two have no UDP, or seem to have none? */
static bool is_udp_blocked(const struct cv_attempt *at,
                           const struct cv_candidates *peer)
{
    return ((at->local->nat | peer->nat) & CV_NAT_UDP_BLOCKED) ||
           at->local->udp_silent;
}

/* TCP does not wait for what cannot come. */
static void hurry_tcp(struct cv_attempt *at, const struct cv_candidates *peer,
                      cv_time now)
{
    if (at->phase == CV_ATTEMPT_LOOKING &&
        (at->n == 0 || is_udp_blocked(at, peer)))
        cv_tcpplan_hurry(&at->tcp, now);
}

static bool add_candidates(struct cv_attempt *at,
                           const struct cv_candidates *peer, cv_time now)
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
    at->trusted = contact->trusted;
    at->local = local;
    at->log = log;
    at->send = send;
    at->events = events;
    at->user = user;
    at->started = at->paced_until = at->begun = now;
    at->again_at = CV_NEVER;
    at->by_hand = contact->by_hand;
    at->holds = contact->knocked && contact->by_hand;
    at->peer_at = at->joiner ? CV_NEVER : now;
    at->handed_at = CV_NEVER;
    at->fail_at = now + (at->holds     ? CV_ATTEMPT_BY_HAND
                         : at->by_hand ? CV_ATTEMPT_BY_HAND_LEAD
                         : at->joiner  ? CV_ATTEMPT_TIME
                                       : CV_ATTEMPT_DECIDE);
    at->doubt_at = at->rescue_at = CV_NEVER;
    at->hold_at = at->holds ? now : CV_NEVER;
    if (at->by_hand && !at->joiner)
        at->doubt_at = now + CV_ATTEMPT_DECIDE;
    at->prune_at = CV_NEVER;
    cv_checks_init(&at->checks, rng, contact->attempt, contact->shared,
                   contact->knocked);
    cv_pathset_init(&at->paths, &at->checks, local, log, on_send,
                    &pathset_events, at);
    cv_tcpplan_init(&at->tcp,
                    &(struct cv_tcpplan_config){
                        .joiner = at->joiner,
                        .blocked = is_udp_blocked(at, &contact->peer),
                        .by_destination = cv_plan_is_hard(local->tcp_mapping),
                        .holds = at->holds},
                    log, events->tcp, user, now);
    add_candidates(at, &contact->peer, now);
    hurry_tcp(at, &contact->peer, now);
}

void cv_attempt_fini(struct cv_attempt *at)
{
    cv_attempt_hard_end(at);
    cv_tcpplan_stop(&at->tcp);
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        const struct cv_path *p = &at->paths.path[i];

        if (p->used && p->addr.carrier == CV_CARRIER_TCP && at->events->tcp)
            at->events->tcp->close(at->user, p->addr.channel);
    }
    cv_checks_fini(&at->checks);
}

bool cv_attempt_spend(struct cv_attempt *at, size_t len)
{
    if (at->phase != CV_ATTEMPT_LOOKING)
        return true;
    if (at->spent + len > CV_ATTEMPT_BYTES)
        return false;
    at->spent += len;
    return true;
}

/* The other end is known to be checking: full TTL from `when` on. */
static void go_full(struct cv_attempt *at, cv_time when)
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

/* The other end has just begun: what is left of the budget is for now. */
static void spend_rest(struct cv_attempt *at, cv_time now)
{
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (!t->path->proved && t->sent < CV_ATTEMPT_BUDGET)
            t->next = cv_time_min(t->next, now + 50 * CV_MILLISECOND);
    }
}

/* When the other side is there, one of the plans works soon or none does. */
static void peer_is_there(struct cv_attempt *at, cv_time now)
{
    if (at->peer_at != CV_NEVER)
        return;
    at->peer_at = now;
    at->fail_at = now + CV_ATTEMPT_DECIDE;
    cv_tcpplan_full(&at->tcp, now);
    cv_attempt_hard_there(at, now);
}

void cv_attempt_news(struct cv_attempt *at, const struct cv_candidates *peer,
                     cv_time now)
{
    if (add_candidates(at, peer, now) && at->phase == CV_ATTEMPT_REACHED)
        at->reached_at = now; /* look for better paths again */
    hurry_tcp(at, peer, now);
    cv_attempt_hard_aim(at, now);
}

void cv_attempt_candidates(struct cv_attempt *at,
                           const struct cv_candidates *peer, cv_time now)
{
    bool first = !at->answered;
    bool any;

    at->answered = true;
    any = add_candidates(at, peer, now);
    cv_attempt_hard_aim(at, now);
    if (any && at->phase == CV_ATTEMPT_REACHED)
        at->reached_at = now; /* look for better paths again */
    if (at->phase != CV_ATTEMPT_LOOKING)
        return;
    peer_is_there(at, now);
    if (any && at->renewed < CV_ATTEMPT_RENEWED) {
        at->renewed++;
        if (at->fail_at < now + CV_ATTEMPT_NEWS)
            at->fail_at = now + CV_ATTEMPT_NEWS;
    }
    hurry_tcp(at, peer, now);
    if (first && at->joiner) {
        go_full(at, now + full_after_answer(at));
        spend_rest(at, now);
    }
}

void cv_attempt_handed(struct cv_attempt *at, cv_time now)
{
    if (!at->joiner || at->phase != CV_ATTEMPT_LOOKING)
        return;
    at->handed_at = now;
    cv_tcpplan_lead(&at->tcp, now);
    /* Whose NAT is easy waits for the sharer's check, which is on its way:
     * then no check of its own comes before that opens the other NAT. */
    if (!is_hard(at))
        return;
    go_full(at, now);
    at->paced_until = now; /* an opener that has just left is no reason */
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

static cv_time targets_deadline(const struct cv_attempt *at)
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

/* The one that has waited longest goes first. */
static void targets_step(struct cv_attempt *at, cv_time now)
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

/* After something came of the path set's own: was it the first path? */
static void note_reached(struct cv_attempt *at, cv_time now)
{
    if (at->phase != CV_ATTEMPT_REACHED || at->reached_at > 0)
        return;
    at->reached_at = now;
    cv_attempt_hard_reached(at, now);
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
        if (!cv_path_is_relay(from))
            at->heard_from = from->remote;
        peer_is_there(at, now);
        if (!at->heard && !cv_path_is_relay(from)) {
            at->heard = true;
            go_full(at, now);
            if (at->phase == CV_ATTEMPT_LOOKING)
                spend_rest(at, now);
        }
        cv_attempt_hard_hit(at, from);
        cv_pathset_requested(&at->paths, from, m->raw.len, w.len, now);
        /* It may be a socket of another attempt with this peer, which is about
         * to end: the peer counts on our answer by now. */
        if (cv_pathset_find(&at->paths, from))
            cv_attempt_hard_share(at, from, now);
        break;
    case CV_CHECK_RESPONSE:
        /* A guess has hit: now it is a path. */
        if (cv_pathset_met(&at->paths, from, now))
            cv_attempt_hard_share(at, from, now);
        cv_pathset_answered(&at->paths, from, check.rtt, now);
        /* Other sockets have other mappings. */
        if (check.mapped.family != CV_FAMILY_NONE && from->socket == 0 &&
            from->carrier == CV_CARRIER_UDP && at->events->reflexive)
            at->events->reflexive(at->user, &check.mapped, &from->remote);
        break;
    }
    note_reached(at, now);
    return CV_OK;
}

void cv_attempt_link_up(struct cv_attempt *at, const struct cv_path_addr *link,
                        cv_time now)
{
    if (!cv_tcpplan_up(&at->tcp, link->channel))
        return;
    cv_pathset_link_up(&at->paths, link, now);
    note_reached(at, now);
}

void cv_attempt_link_down(struct cv_attempt *at,
                          const struct cv_path_addr *link, int err, cv_time now)
{
    cv_tcpplan_down(&at->tcp, link->channel, err, now);
    cv_pathset_link_down(&at->paths, link, now);
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

static bool is_hopeless(const struct cv_attempt *at)
{
    return !at->heard && cv_plan_for(at->local->nat, at->peer_nat).hopeless &&
           (at->tcp.n == 0 || cv_plan_is_hard(at->local->tcp_mapping));
}

/* Two NATs that nothing joins are not waited for so long. */
static cv_time fail_at(const struct cv_attempt *at)
{
    if (at->peer_at != CV_NEVER && !at->by_hand && is_hopeless(at))
        return cv_time_min(at->fail_at, at->peer_at + CV_ATTEMPT_HOPELESS);
    return at->fail_at;
}

/* By hand either side knows the other's kind from the beginning. */
static cv_time doubt_at(const struct cv_attempt *at)
{
    if (at->phase != CV_ATTEMPT_LOOKING || at->carried || !at->by_hand ||
        at->doubted)
        return CV_NEVER;
    return is_hopeless(at) ? at->begun + CV_ATTEMPT_HOPELESS : at->doubt_at;
}

static void say_doubt(struct cv_attempt *at)
{
    char reason[CV_ATTEMPT_REASON];

    at->doubted = true;
    cv_attempt_explain(at, reason, sizeof reason);
    cv_debug(at->log, "attempt: no way yet");
    if (at->events->doubt)
        at->events->doubt(at->user, reason);
}

/* ---- while there is nothing better than TCP or a gate ------------------- */

/* When it is looked for again, from the beginning of the attempt; then every
 * five minutes. */
static const cv_time again[] = {12 * CV_SECOND, 30 * CV_SECOND, 90 * CV_SECOND};
#define AGAIN_EVERY (300 * CV_SECOND)

static cv_time next_look(const struct cv_attempt *at, cv_time now)
{
    cv_time since = now - at->begun;

    for (unsigned i = 0; i < sizeof again / sizeof again[0]; i++)
        if (since < again[i])
            return at->begun + again[i];
    return at->begun + (since / AGAIN_EVERY + 1) * AGAIN_EVERY;
}

/* No better path this time. */
static void rest(struct cv_attempt *at, cv_time now)
{
    cv_debug(at->log, "attempt: no better path yet");
    at->phase = CV_ATTEMPT_REACHED;
    at->reached_at = now;
    cv_attempt_hard_end(at);
    cv_tcpplan_stop(&at->tcp);
    at->again_at = next_look(at, now);
    if (at->events->rests)
        at->events->rests(at->user);
}

static bool has_path(const struct cv_attempt *at, enum cv_carrier carrier)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        const struct cv_path *p = &at->paths.path[i];

        if (p->used && p->addr.carrier == carrier &&
            (p->state == CV_PATH_SELECTED || p->state == CV_PATH_STANDBY ||
             p->state == CV_PATH_SUSPECT))
            return true;
    }
    return false;
}

/* Does TCP or a gate carry the connection, for want of UDP? */
static bool is_second_best(const struct cv_attempt *at)
{
    return at->phase == CV_ATTEMPT_REACHED && !has_path(at, CV_CARRIER_UDP) &&
           cv_pathset_any(&at->paths);
}

static void look_again(struct cv_attempt *at, cv_time now)
{
    at->again_at = CV_NEVER;
    if (!is_second_best(at))
        return;
    at->again_at = next_look(at, now);
    at->looked = true;
    at->phase = CV_ATTEMPT_LOOKING;
    at->started = at->paced_until = now;
    at->reached_at = 0;
    at->spent = 0;
    at->peer_at = now; /* it is connected to us */
    at->fail_at = now + CV_ATTEMPT_DECIDE;
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        t->sent = t->openers = t->full = 0;
        t->next = t->full_at = now;
    }
    if (!has_path(at, CV_CARRIER_TCP))
        cv_tcpplan_again(&at->tcp, now);
}

void cv_attempt_relay_up(struct cv_attempt *at, const struct cv_path_addr *path,
                         cv_time rtt, cv_time now)
{
    /* The joiner connects to us: it must know our port. */
    if (!at->carried && !at->joiner && at->phase == CV_ATTEMPT_LOOKING &&
        at->local->tcp_mapping == CV_NAT_MAPPING_EIM)
        cv_tcpplan_lead(&at->tcp, now);
    at->carried = true;
    cv_pathset_trust(&at->paths, path, rtt, now);
}

void cv_attempt_relay_down(struct cv_attempt *at,
                           const struct cv_path_addr *path, cv_time now)
{
    cv_pathset_link_down(&at->paths, path, now);
}

cv_time cv_attempt_deadline(const struct cv_attempt *at)
{
    cv_time due = cv_pathset_deadline(&at->paths);

    if (at->phase == CV_ATTEMPT_LOST)
        return CV_NEVER;
    if (at->phase == CV_ATTEMPT_LOOKING)
        due = cv_time_min(due, fail_at(at));
    due = cv_time_min(due, doubt_at(at));
    due = cv_time_min(due, at->again_at);
    due = cv_time_min(due, cv_attempt_hard_deadline(at));
    due = cv_time_min(due, cv_tcpplan_deadline(&at->tcp));
    return cv_time_min(due, targets_deadline(at));
}

void cv_attempt_step(struct cv_attempt *at, cv_time now)
{
    char reason[CV_ATTEMPT_REASON];

    if (at->phase == CV_ATTEMPT_LOST)
        return;
    cv_pathset_step(&at->paths, now);
    note_reached(at, now);
    if (at->again_at == CV_NEVER && is_second_best(at))
        at->again_at = next_look(at, now);
    if (now >= at->again_at)
        look_again(at, now);
    cv_attempt_hard_step(at, now);
    cv_tcpplan_step(&at->tcp, now);
    targets_step(at, now);
    if (now >= doubt_at(at))
        say_doubt(at);
    if (at->phase == CV_ATTEMPT_LOOKING && now >= fail_at(at) &&
        (at->carried || at->looked)) {
        rest(at, now);
    } else if (at->phase == CV_ATTEMPT_LOOKING && now >= fail_at(at)) {
        cv_attempt_explain(at, reason, sizeof reason);
        cv_debug(at->log, "attempt: lost, heard=%d targets=%u skipped=%u",
                 at->heard, at->n, at->skipped);
        at->phase = CV_ATTEMPT_LOST;
        cv_tcpplan_stop(&at->tcp);
        if (at->events->lost)
            at->events->lost(at->user, reason);
    }
}
