#include "transport/pathset_impl.h"
#include <stdlib.h>
#include <string.h>

const char *cv_path_state_name(enum cv_path_state state)
{
    static const char *const name[] = {
        "new", "checking", "valid", "selected", "standby", "suspect", "dead"};

    return name[state];
}

const char *cv_path_kind_name(enum cv_path_kind kind)
{
    static const char *const name[] = {"none",     "lan",           "ipv6",
                                       "ipv4",     "tcp",           "gate-udp",
                                       "gate-tls", "gate-websocket"};

    return name[kind];
}

void cv_pathset_init(struct cv_pathset *ps, struct cv_checks *checks,
                     const struct cv_local *local, struct cv_log *log,
                     cv_path_send_fn send,
                     const struct cv_pathset_events *events, void *user)
{
    memset(ps, 0, sizeof *ps);
    ps->selected = -1;
    ps->next_id = 1;
    ps->checks = checks;
    ps->local = local;
    ps->log = log;
    ps->send = send;
    ps->events = events;
    ps->user = user;
    ps->told_none = true;
    ps->choose_at = CV_NEVER;
    ps->quiet_at = ps->doubt_from = CV_NEVER;
}

void cv_pathset_set_state(struct cv_pathset *ps, struct cv_path *p,
                          enum cv_path_state to, cv_time now)
{
    char text[CV_ADDR_TEXT];

    if (to == p->state)
        return;
    cv_debug(ps->log, "pathset: %s -> %s, path=%u kind=%s addr=%s",
             cv_path_state_name(p->state), cv_path_state_name(to),
             (unsigned)p->id, cv_path_kind_name(p->kind),
             cv_addr_log(ps->log, &p->addr.remote, text));
    p->state = to;
    p->since = now;
    p->tries = 0;
}

/* Can it make room for a path to `addr`?  What is dead; and, when the peer
 * itself has spoken there, one of many between the same two NATs. */
static bool is_spare(const struct cv_pathset *ps, const struct cv_path *p,
                     const struct cv_path_addr *addr, bool spoken)
{
    if (p->candidate || p == cv_pathset_best(ps))
        return false;
    return p->state == CV_PATH_DEAD ||
           (spoken && p->state == CV_PATH_STANDBY &&
            addr->carrier == CV_CARRIER_UDP &&
            p->addr.carrier == CV_CARRIER_UDP &&
            cv_addr_same_ip(&p->addr.remote, &addr->remote));
}

/* `spoken`: an authenticated check of the peer's came from there. */
static struct cv_path *take_slot(struct cv_pathset *ps,
                                 const struct cv_path_addr *addr, bool spoken)
{
    struct cv_path *victim = NULL;

    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (!p->used)
            return p;
        /* The one that has been of no use for longest, a dead one first. */
        if (is_spare(ps, p, addr, spoken) &&
            (!victim || (p->state == victim->state ? p->heard < victim->heard
                                                   : p->state == CV_PATH_DEAD)))
            victim = p;
    }
    return victim;
}

static enum cv_path_kind kind_of(const struct cv_pathset *ps,
                                 const struct cv_path_addr *addr)
{
    switch ((enum cv_carrier)addr->carrier) {
    case CV_CARRIER_UDP:
        break;
    case CV_CARRIER_TCP:
        return CV_PATH_TCP;
    case CV_CARRIER_GATE_UDP:
        return CV_PATH_GATE_UDP;
    case CV_CARRIER_GATE_TLS:
        return CV_PATH_GATE_TLS;
    case CV_CARRIER_GATE_WS:
        return CV_PATH_GATE_WS;
    }
    return cv_local_path_kind(ps->local, &addr->remote);
}

static struct cv_path *add(struct cv_pathset *ps,
                           const struct cv_path_addr *addr, bool spoken,
                           cv_time now)
{
    struct cv_path *p = take_slot(ps, addr, spoken);

    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->used = true;
    p->state = CV_PATH_NEW;
    p->id = ps->next_id++;
    p->addr = *addr;
    p->kind = kind_of(ps, addr);
    p->check_at = CV_NEVER;
    p->since = now;
    return p;
}

struct cv_path *cv_pathset_find(struct cv_pathset *ps,
                                const struct cv_path_addr *addr)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (ps->path[i].used && cv_path_addr_same(&ps->path[i].addr, addr))
            return &ps->path[i];
    return NULL;
}

struct cv_path *cv_pathset_candidate(struct cv_pathset *ps,
                                     const struct cv_path_addr *addr,
                                     cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, addr);

    if (!p)
        p = add(ps, addr, false, now);
    if (p)
        p->candidate = true;
    return p;
}

struct cv_path *cv_pathset_met(struct cv_pathset *ps,
                               const struct cv_path_addr *addr, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, addr);

    return p ? p : add(ps, addr, false, now);
}

void cv_pathset_check(struct cv_pathset *ps, struct cv_path *p, unsigned ttl,
                      cv_time now)
{
    uint8_t buf[CV_CHECK_MAX];
    struct cv_writer w;

    cv_writer_init(&w, buf, sizeof buf);
    if (cv_checks_request(ps->checks, now, &p->addr, p->id, &w) != CV_OK)
        return;
    if (p->state == CV_PATH_NEW)
        cv_pathset_set_state(ps, p, CV_PATH_CHECKING, now);
    p->last_check = now;
    p->unanswered++;
    p->tries++;
    (void)ps->send(ps->user, &p->addr, ttl, buf, w.len, w.len);
}

bool cv_pathset_has_credit(const struct cv_path *p, size_t len)
{
    return p->proved || p->bytes_out + len <= CV_PATH_CREDIT * p->bytes_in;
}

void cv_pathset_check_back(struct cv_pathset *ps, struct cv_path *p,
                           cv_time now)
{
    if (!p->proved)
        p->bytes_out += CV_CHECK_MAX;
    cv_pathset_check(ps, p, 0, now);
}

bool cv_pathset_forget(struct cv_pathset *ps, struct cv_path *p)
{
    (void)ps;
    if (cv_path_is_alive(p))
        return false;
    p->used = false;
    return true;
}

void cv_pathset_renamed(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    (void)ps;
    if (p->state == CV_PATH_NEW || p->state == CV_PATH_CHECKING)
        return; /* the attempt's */
    if (p->state == CV_PATH_DEAD)
        p->tries = 0;
    p->check_at = cv_time_min(p->check_at, p->last_check + CV_PATH_PACE);
    if (p->check_at < now)
        p->check_at = now;
}

void cv_pathset_link_up(struct cv_pathset *ps, const struct cv_path_addr *link,
                        cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, link);

    if (!p)
        p = add(ps, link, false, now);
    if (!p)
        return;
    /* Three packets each way have proved the address. */
    p->bytes_in += CV_PATH_CHECKS * CV_CHECK_MAX;
    p->heard = p->asked = now;
    p->check_at = now;
    cv_pathset_step(ps, now);
}

void cv_pathset_link_down(struct cv_pathset *ps,
                          const struct cv_path_addr *link, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, link);

    if (!p)
        return;
    if (p->state != CV_PATH_DEAD)
        cv_pathset_set_state(ps, p, CV_PATH_DEAD, now);
    p->used = false;
    if (p != cv_pathset_selected(ps))
        return;
    cv_pathset_choose(ps, now);
    if (ps->selected < 0)
        cv_pathset_revive(ps, now);
    cv_pathset_step(ps, now);
}

void cv_pathset_requested(struct cv_pathset *ps,
                          const struct cv_path_addr *from, size_t len,
                          size_t answered, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, from);
    cv_time at;
    bool first;

    if (!p)
        p = add(ps, from, true, now);
    if (!p)
        return;
    p->addr.local = from->local;
    first = p->heard == 0;
    p->heard = p->asked = now;
    if (!p->proved) {
        p->bytes_in += len;
        p->bytes_out += answered;
    }
    switch (p->state) {
    case CV_PATH_DEAD:
        cv_pathset_set_state(ps, p, CV_PATH_CHECKING, now);
        p->unanswered = 0;
        p->check_at = now;
        break;
    case CV_PATH_NEW:
    case CV_PATH_CHECKING:
        /* The triggered check of RFC 8445, 7.3.1.4; what was sent before the
         * first sign of life may have come too early. */
        at = p->last_check + CV_PATH_PACE;
        if (first || p->last_check == 0 || at < now)
            at = now;
        p->check_at = cv_time_min(p->check_at, at);
        if (p->tries > CV_PATH_CHECKS - 3)
            p->tries = CV_PATH_CHECKS - 3;
        if (p->state == CV_PATH_NEW)
            cv_pathset_set_state(ps, p, CV_PATH_CHECKING, now);
        break;
    case CV_PATH_SUSPECT:
    case CV_PATH_VALID:
    case CV_PATH_SELECTED:
    case CV_PATH_STANDBY:
        break;
    }
    cv_pathset_step(ps, now);
}

static void measure(struct cv_path *p, cv_time rtt)
{
    if (rtt < 1)
        rtt = 1;
    if (p->srtt == 0) {
        p->srtt = rtt;
        p->rttvar = rtt / 2;
        return;
    }
    p->rttvar = (3 * p->rttvar + llabs(p->srtt - rtt)) / 4;
    p->srtt = (7 * p->srtt + rtt) / 8;
}

void cv_pathset_trust(struct cv_pathset *ps, const struct cv_path_addr *addr,
                      cv_time rtt, cv_time now)
{
    struct cv_path *p = cv_pathset_candidate(ps, addr, now);

    if (!p || cv_path_is_alive(p))
        return;
    p->srtt = 0;
    measure(p, rtt);
    p->proved = true;
    p->proved_at = p->heard = now;
    p->unanswered = 0;
    cv_pathset_set_state(ps, p, CV_PATH_VALID, now);
    p->check_at = CV_NEVER;
    cv_pathset_choose(ps, now);
    cv_pathset_step(ps, now);
}

void cv_pathset_answered(struct cv_pathset *ps, const struct cv_path_addr *from,
                         cv_time rtt, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, from);
    struct cv_path *sel = cv_pathset_selected(ps);

    if (!p)
        return; /* forgotten meanwhile */
    p->heard = now;
    p->unanswered = 0;
    ps->doubt_from = CV_NEVER;
    ps->stopped = false;
    if (p->state == CV_PATH_NEW || p->state == CV_PATH_CHECKING ||
        p->state == CV_PATH_DEAD) {
        p->srtt = 0; /* it may lead elsewhere now */
        measure(p, rtt);
        p->proved = true;
        p->proved_at = now;
        cv_pathset_set_state(ps, p, CV_PATH_VALID, now);
        p->check_at = CV_NEVER;
        if (ps->events->proved)
            ps->events->proved(ps->user, p);
        if (sel && sel != p && cv_path_is_good(sel))
            cv_pathset_doubt(ps, sel, p, now);
    } else {
        /* The first check may have waited at the other end for its knock. */
        if (rtt < p->srtt && now - p->proved_at < CV_PATH_SETTLE)
            p->srtt = 0;
        measure(p, rtt);
        if (p->state == CV_PATH_SUSPECT) {
            /* It works, and yet the peer said nothing to what is in flight. */
            bool lost = ps->in_flight && ps->heard < p->since;

            cv_pathset_set_state(ps, p, CV_PATH_SELECTED, now);
            ps->in_flight_at = now;
            if (lost)
                cv_pathset_tell_selected(ps);
        }
        cv_pathset_keep_alive(ps, p, now);
    }
    cv_pathset_choose(ps, now);
    cv_pathset_tell_doubled(ps);
    cv_pathset_step(ps, now);
}

void cv_pathset_adopt(struct cv_pathset *ps, const struct cv_path *proved,
                      cv_time now)
{
    struct cv_path *p = cv_pathset_met(ps, &proved->addr, now);

    if (!p || cv_path_is_alive(p))
        return;
    p->srtt = proved->srtt;
    p->rttvar = proved->rttvar;
    p->proved = true;
    p->proved_at = now;
    p->unanswered = 0;
    cv_pathset_set_state(ps, p, CV_PATH_VALID, now);
    cv_pathset_choose(ps, now);
    p->check_at = now; /* is this connection known there, too? */
    cv_pathset_tell_doubled(ps);
    cv_pathset_step(ps, now);
}

void cv_pathset_packets(struct cv_pathset *ps, const struct cv_path_addr *from,
                        unsigned packets, size_t len, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, from);
    struct cv_path *sel = cv_pathset_selected(ps);

    cv_pathset_note_stream(ps, packets, now);
    ps->heard = now;
    if (p) {
        if (cv_pathset_has_turned(sel, p, now)) {
            cv_pathset_suspect(ps, sel, now);
            ps->doubt_from = CV_NEVER; /* it speaks */
            cv_pathset_step(ps, now);
        }
        p->heard = p->spoke = now;
        ps->doubt_from = CV_NEVER;
        if (!p->proved)
            p->bytes_in += len;
        if (p->state != CV_PATH_DEAD && p->state != CV_PATH_NEW)
            return;
        /* Silent for us, yet it speaks: look again. */
    }
    if (len < CV_CHECK_MAX)
        return;
    if (now - ps->strays_from >= CV_SECOND) {
        ps->strays_from = now;
        ps->strays = 0;
    }
    if (ps->strays >= CV_PATH_STRAY_CHECKS)
        return;
    if (!p) {
        p = add(ps, from, false, now);
        if (!p)
            return;
        p->bytes_in += len;
        p->spoke = now;
    }
    ps->strays++;
    if (p->state == CV_PATH_DEAD)
        cv_pathset_set_state(ps, p, CV_PATH_CHECKING, now);
    cv_pathset_check_back(ps, p, now);
    p->check_at = now + CV_PATH_RTO_MIN;
}

int cv_pathset_send(struct cv_pathset *ps, cv_time now, const uint8_t *data,
                    size_t len, size_t segment)
{
    struct cv_path *p = cv_pathset_selected(ps), *standby;
    int err;

    (void)now;
    if (!p) {
        /* Not proved yet: where the peer was heard, as far as the credit
         * goes. */
        for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
            struct cv_path *q = &ps->path[i];

            if (q->used && q->state == CV_PATH_CHECKING && q->heard > 0 &&
                cv_pathset_has_credit(q, len) && (!p || q->heard > p->heard))
                p = q;
        }
        if (!p) {
            ps->dropped += (len + segment - 1) / segment;
            return CV_ERR_NOPATH;
        }
        p->bytes_out += len;
    }
    err = ps->send(ps->user, &p->addr, 0, data, len, segment);
    if (p->state != CV_PATH_SUSPECT)
        return err;
    standby = cv_pathset_good_but(ps, p);
    if (standby &&
        ps->send(ps->user, &standby->addr, 0, data, len, segment) == CV_OK) {
        ps->duplicated += (len + segment - 1) / segment;
        return CV_OK; /* one of the two has it */
    }
    return err;
}

void cv_pathset_in_flight(struct cv_pathset *ps, bool in_flight, cv_time now)
{
    if (in_flight && !ps->in_flight)
        ps->in_flight_at = now;
    ps->in_flight = in_flight;
}

void cv_pathset_network_changed(struct cv_pathset *ps, cv_time now)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (!p->used)
            continue;
        /* Our end may be gone. */
        p->addr.local = (struct cv_addr){0};
        if (p->state == CV_PATH_SELECTED)
            cv_pathset_suspect(ps, p, now);
        else if (p->state == CV_PATH_STANDBY || p->state == CV_PATH_DEAD)
            p->check_at = now;
        if (p->state == CV_PATH_DEAD)
            p->tries = 0;
    }
    cv_pathset_step(ps, now);
}
