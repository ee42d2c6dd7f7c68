#include "transport/attempt_impl.h"
#include <stdio.h>
#include <string.h>

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
    cv_attempt_add(at, &contact->peer, now);
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
    if (cv_attempt_add(at, peer, now) && at->phase == CV_ATTEMPT_REACHED)
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
    any = cv_attempt_add(at, peer, now);
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
        cv_attempt_go_full(at, now + cv_attempt_answer_wait(at));
        cv_attempt_spend_rest(at, now);
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
    if (!cv_attempt_is_hard(at))
        return;
    cv_attempt_go_full(at, now);
    at->paced_until = now; /* an opener that has just left is no reason */
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
            cv_attempt_go_full(at, now);
            if (at->phase == CV_ATTEMPT_LOOKING)
                cv_attempt_spend_rest(at, now);
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
        cv_attempt_spend_rest(at, now);
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

/* ---- while there is nothing better than TCP or a gate ---------------- */

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

/* Does a gate?  Nobody may be there, or somebody who is suspended: it takes
 * what is for that one all the same. */
static bool leads_to_peer(const struct cv_attempt *at)
{
    return at->carried && at->paths.heard > 0;
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

/* ---- gates, and time ------------------------------------------------- */

void cv_attempt_relay_up(struct cv_attempt *at, const struct cv_path_addr *path,
                         cv_time rtt, cv_time now)
{
    /* The joiner connects to us: it must know our port. */
    if (!at->carried && !at->joiner && at->phase == CV_ATTEMPT_LOOKING &&
        at->local->tcp_mapping == CV_NAT_MAPPING_EIM)
        cv_tcpplan_lead(&at->tcp, now);
    at->carried = true;
    at->no_gate[0] = '\0';
    cv_pathset_trust(&at->paths, path, rtt, now);
}

void cv_attempt_relay_down(struct cv_attempt *at,
                           const struct cv_path_addr *path, const char *why,
                           cv_time now)
{
    snprintf(at->no_gate, sizeof at->no_gate, "%s", why);
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
    return cv_time_min(due, cv_attempt_targets_deadline(at));
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
    cv_attempt_targets_step(at, now);
    if (now >= doubt_at(at))
        say_doubt(at);
    if (at->phase == CV_ATTEMPT_LOOKING && now >= fail_at(at) &&
        (leads_to_peer(at) || at->looked)) {
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
