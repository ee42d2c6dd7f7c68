#include "transport/pathset.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "transport/natlife.h"

static const cv_time suspect_checks[] = {0, 50 * CV_MILLISECOND,
                                         100 * CV_MILLISECOND};
static const cv_time dead_checks[] = {5 * CV_SECOND, 15 * CV_SECOND,
                                      60 * CV_SECOND, 300 * CV_SECOND};

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

/* The only place that changes a path's state. */
static void set_state(struct cv_pathset *ps, struct cv_path *p,
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

static bool is_good(const struct cv_path *p)
{
    return p->used &&
           (p->state == CV_PATH_VALID || p->state == CV_PATH_STANDBY ||
            p->state == CV_PATH_SELECTED);
}

static bool is_alive(const struct cv_path *p)
{
    return is_good(p) || (p->used && p->state == CV_PATH_SUSPECT);
}

static cv_time rto(const struct cv_path *p)
{
    cv_time t = 2 * p->srtt;

    return t > CV_PATH_RTO_MIN ? t : CV_PATH_RTO_MIN;
}

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

/* The number of the best proved path other than `not_this`, or -1. */
static int index_of_best(const struct cv_pathset *ps,
                         const struct cv_path *not_this)
{
    int best = -1;

    for (int i = 0; i < CV_PATHS_MAX; i++) {
        const struct cv_path *p = &ps->path[i];

        if (is_good(p) && p != not_this &&
            (best < 0 || is_better(p, &ps->path[best], 0)))
            best = i;
    }
    return best;
}

static struct cv_path *best_good(struct cv_pathset *ps,
                                 const struct cv_path *not_this)
{
    int i = index_of_best(ps, not_this);

    return i < 0 ? NULL : &ps->path[i];
}

static struct cv_path *selected(struct cv_pathset *ps)
{
    return ps->selected < 0 ? NULL : &ps->path[ps->selected];
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
        if (is_alive(&ps->path[i]))
            return true;
    return false;
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

static void keep_alive(const struct cv_pathset *ps, struct cv_path *p,
                       cv_time now)
{
    cv_time every = keep_every(ps, p);

    if (now - p->proved_at < CV_PATH_SETTLE)
        every = CV_PATH_SETTLE / 3;
    p->check_at = now + every;
}

static void tell_selected(struct cv_pathset *ps)
{
    const struct cv_path *p = cv_pathset_best(ps);

    if (!p && ps->told_none)
        return;
    ps->told_none = p == NULL;
    if (ps->events->selected)
        ps->events->selected(ps->user, p);
}

/* What one of the two has lost the other has lost, too: they run between the
 * same two NATs. */
static bool shares_fate(const struct cv_path *a, const struct cv_path *b)
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
        if (is_good(&ps->path[i]) && (ps->doubt_from == CV_NEVER || !sel ||
                                      !shares_fate(&ps->path[i], sel)))
            return true;
    return false;
}

/* The only place that tells of silence. */
static void tell_silent(struct cv_pathset *ps, cv_time now)
{
    bool silent = !has_hope(ps) && (ps->selected >= 0 || ps->told_silent);

    if (silent == ps->told_silent)
        return;
    ps->told_silent = silent;
    if (ps->events->silent)
        ps->events->silent(ps->user, silent, now);
}

/* The path in use is suspect and there is another good one: from now on packets
 * go both ways, and what went before may be lost. */
static void tell_doubled(struct cv_pathset *ps)
{
    const struct cv_path *sel = cv_pathset_best(ps), *standby;

    if (!sel || sel->state != CV_PATH_SUSPECT)
        return;
    standby = best_good(ps, sel);
    if (!standby || standby->id == ps->doubled_on)
        return;
    ps->doubled_on = standby->id;
    tell_selected(ps);
}

static void suspect(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    set_state(ps, p, CV_PATH_SUSPECT, now);
    p->unanswered = 0;
    p->check_at = now;
    ps->doubled_on = 0;
    tell_doubled(ps);
    if (ps->doubt_from != CV_NEVER)
        return;
    ps->doubt_from = now;
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (is_good(&ps->path[i]) && shares_fate(&ps->path[i], p))
            ps->path[i].check_at = now;
}

static void revive(struct cv_pathset *ps, cv_time now);

/* Give every valid path its role.  Moves at most once a second, except when
 * the selected path is gone. */
static void choose(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *old = selected(ps), *best;
    bool was_dead = !old || !is_alive(old);

    ps->choose_at = CV_NEVER;
    best = best_good(ps, NULL);
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

        if (p == best || !is_good(p) || p->state == CV_PATH_STANDBY)
            continue;
        set_state(ps, p, CV_PATH_STANDBY, now);
        keep_alive(ps, p, now);
    }
    if (best && best->state != CV_PATH_SUSPECT &&
        best->state != CV_PATH_SELECTED) {
        set_state(ps, best, CV_PATH_SELECTED, now);
        keep_alive(ps, best, now);
    }
    if (best == old && !was_dead)
        return;
    ps->selected = best ? (int)(best - ps->path) : -1;
    ps->switched = now;
    if (best && old && ps->doubt_from != CV_NEVER && shares_fate(best, old))
        suspect(ps, best, now); /* it is in use, and as silent */
    if (best && ps->in_flight)
        ps->in_flight_at = now; /* it is not this path that was silent */
    tell_selected(ps);
}

static struct cv_path *take_slot(struct cv_pathset *ps)
{
    struct cv_path *victim = NULL;

    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (!p->used)
            return p;
        /* The one that has been of no use for longest. */
        if (!p->candidate && p->state == CV_PATH_DEAD &&
            (!victim || p->since < victim->since))
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
                           const struct cv_path_addr *addr, cv_time now)
{
    struct cv_path *p = take_slot(ps);

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
        p = add(ps, addr, now);
    if (p)
        p->candidate = true;
    return p;
}

struct cv_path *cv_pathset_met(struct cv_pathset *ps,
                               const struct cv_path_addr *addr, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, addr);

    return p ? p : add(ps, addr, now);
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
        set_state(ps, p, CV_PATH_CHECKING, now);
    p->last_check = now;
    p->unanswered++;
    p->tries++;
    (void)ps->send(ps->user, &p->addr, ttl, buf, w.len, w.len);
}

bool cv_pathset_forget(struct cv_pathset *ps, struct cv_path *p)
{
    (void)ps;
    if (is_alive(p))
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
        p = add(ps, link, now);
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
        set_state(ps, p, CV_PATH_DEAD, now);
    p->used = false;
    if (p != selected(ps))
        return;
    choose(ps, now);
    if (ps->selected < 0)
        revive(ps, now);
    cv_pathset_step(ps, now);
}

/* A check that the peer's packets asked for: it counts against their bytes. */
static void check_back(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    if (!p->proved)
        p->bytes_out += CV_CHECK_MAX;
    cv_pathset_check(ps, p, 0, now);
}

/* May `len` bytes go to it? */
static bool has_credit(const struct cv_path *p, size_t len)
{
    return p->proved || p->bytes_out + len <= CV_PATH_CREDIT * p->bytes_in;
}

void cv_pathset_requested(struct cv_pathset *ps,
                          const struct cv_path_addr *from, size_t len,
                          size_t answered, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, from);
    cv_time at;
    bool first;

    if (!p)
        p = add(ps, from, now);
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
        set_state(ps, p, CV_PATH_CHECKING, now);
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
            set_state(ps, p, CV_PATH_CHECKING, now);
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

    if (!p || is_alive(p))
        return;
    p->srtt = 0;
    measure(p, rtt);
    p->proved = true;
    p->proved_at = p->heard = now;
    p->unanswered = 0;
    set_state(ps, p, CV_PATH_VALID, now);
    p->check_at = CV_NEVER;
    choose(ps, now);
    cv_pathset_step(ps, now);
}

/* `fresh` was proved: the peer may have moved, so ask whether the path in use
 * is alive.  When its packets come on the fresh one, ours go there, too,
 * meanwhile. */
static void doubt(struct cv_pathset *ps, struct cv_path *sel,
                  const struct cv_path *fresh, cv_time now)
{
    if (fresh->spoke > sel->spoke)
        suspect(ps, sel, now);
    else
        sel->check_at = now;
}

void cv_pathset_answered(struct cv_pathset *ps, const struct cv_path_addr *from,
                         cv_time rtt, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, from);
    struct cv_path *sel = selected(ps);

    if (!p)
        return; /* forgotten meanwhile */
    p->heard = now;
    p->unanswered = 0;
    ps->doubt_from = CV_NEVER;
    if (p->state == CV_PATH_NEW || p->state == CV_PATH_CHECKING ||
        p->state == CV_PATH_DEAD) {
        p->srtt = 0; /* it may lead elsewhere now */
        measure(p, rtt);
        p->proved = true;
        p->proved_at = now;
        set_state(ps, p, CV_PATH_VALID, now);
        p->check_at = CV_NEVER;
        if (ps->events->proved)
            ps->events->proved(ps->user, p);
        if (sel && sel != p && is_good(sel))
            doubt(ps, sel, p, now);
    } else {
        /* The first check may have waited at the other end for its knock. */
        if (rtt < p->srtt && now - p->proved_at < CV_PATH_SETTLE)
            p->srtt = 0;
        measure(p, rtt);
        if (p->state == CV_PATH_SUSPECT) {
            set_state(ps, p, CV_PATH_SELECTED, now);
            ps->in_flight_at = now;
        }
        keep_alive(ps, p, now);
    }
    choose(ps, now);
    tell_doubled(ps);
    cv_pathset_step(ps, now);
}

void cv_pathset_adopt(struct cv_pathset *ps, const struct cv_path *proved,
                      cv_time now)
{
    struct cv_path *p = cv_pathset_met(ps, &proved->addr, now);

    if (!p || is_alive(p))
        return;
    p->srtt = proved->srtt;
    p->rttvar = proved->rttvar;
    p->proved = true;
    p->proved_at = now;
    p->unanswered = 0;
    set_state(ps, p, CV_PATH_VALID, now);
    choose(ps, now);
    p->check_at = now; /* is this connection known there, too? */
    tell_doubled(ps);
    cv_pathset_step(ps, now);
}

/* An end that only receives has nothing in flight to miss: a second of silence
 * after a busy one is a reason to ask. */
static void note_stream(struct cv_pathset *ps, unsigned packets, cv_time now)
{
    if (now - ps->stream_from >= CV_SECOND) {
        ps->stream_from = now;
        ps->stream = 0;
    }
    ps->stream += packets;
    ps->quiet_at =
        ps->stream >= CV_PATH_STREAM_PACKETS ? now + CV_SECOND : CV_NEVER;
}

/* The peer spoke on the path in use until just now, and speaks on another one:
 * it hears nothing of us, and would wait as long again for our answer as it has
 * waited already.  What was still under way on the other one when the peer came
 * to this one is none of that. */
static bool has_turned(const struct cv_path *sel, const struct cv_path *p,
                       cv_time now)
{
    return sel && sel != p && sel->state == CV_PATH_SELECTED && is_good(p) &&
           sel->spoke > p->spoke && now - p->spoke >= CV_PATH_SUSPECT_MIN;
}

void cv_pathset_packets(struct cv_pathset *ps, const struct cv_path_addr *from,
                        unsigned packets, size_t len, cv_time now)
{
    struct cv_path *p = cv_pathset_find(ps, from);
    struct cv_path *sel = selected(ps);

    ps->heard = now;
    note_stream(ps, packets, now);
    if (p) {
        if (has_turned(sel, p, now)) {
            suspect(ps, sel, now);
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
        p = add(ps, from, now);
        if (!p)
            return;
        p->bytes_in += len;
        p->spoke = now;
    }
    ps->strays++;
    if (p->state == CV_PATH_DEAD)
        set_state(ps, p, CV_PATH_CHECKING, now);
    check_back(ps, p, now);
    p->check_at = now + CV_PATH_RTO_MIN;
}

int cv_pathset_send(struct cv_pathset *ps, cv_time now, const uint8_t *data,
                    size_t len, size_t segment)
{
    struct cv_path *p = selected(ps), *standby;
    int err;

    (void)now;
    if (!p) {
        /* Not proved yet: where the peer was heard, as far as the credit
         * goes. */
        for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
            struct cv_path *q = &ps->path[i];

            if (q->used && q->state == CV_PATH_CHECKING && q->heard > 0 &&
                has_credit(q, len) && (!p || q->heard > p->heard))
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
    standby = best_good(ps, p);
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
            suspect(ps, p, now);
        else if (p->state == CV_PATH_STANDBY || p->state == CV_PATH_DEAD)
            p->check_at = now;
        if (p->state == CV_PATH_DEAD)
            p->tries = 0;
    }
    cv_pathset_step(ps, now);
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

void cv_pathset_recheck(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *p = selected(ps);

    if (p)
        cv_pathset_renamed(ps, p, now);
}

/* When the selected path becomes suspect if nothing comes. */
static cv_time suspect_at(const struct cv_pathset *ps)
{
    const struct cv_path *p = cv_pathset_best(ps);
    cv_time wait, from;

    if (!p || p->state != CV_PATH_SELECTED || !ps->in_flight)
        return CV_NEVER;
    wait = 2 * p->srtt + 4 * p->rttvar;
    /* With another path a mistake costs a few packets sent twice, so one slow
     * answer among the few that were measured does not make us wait. */
    if (wait > 3 * p->srtt && index_of_best(ps, p) >= 0)
        wait = 3 * p->srtt;
    wait += 25 * CV_MILLISECOND;
    if (wait < CV_PATH_SUSPECT_MIN)
        wait = CV_PATH_SUSPECT_MIN;
    if (wait > CV_PATH_SUSPECT_MAX)
        wait = CV_PATH_SUSPECT_MAX;
    from = ps->in_flight_at > ps->heard ? ps->in_flight_at : ps->heard;
    return from + wait;
}

/* Until the check after so many. */
static cv_time dead_wait(const struct cv_pathset *ps, unsigned tries)
{
    return ps->retry > 0 ? ps->retry : dead_checks[tries > 4 ? 3 : tries - 1];
}

static void die(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    set_state(ps, p, CV_PATH_DEAD, now);
    p->check_at = now + dead_wait(ps, 1);
    if (!p->proved && !p->candidate)
        p->used = false; /* never was one */
}

static void step_checking(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    static const cv_time gap[] = {100 * CV_MILLISECOND, 150 * CV_MILLISECOND};

    if (p->tries >= CV_PATH_CHECKS || !has_credit(p, CV_CHECK_MAX)) {
        /* A candidate is the attempt's to go on with; an address that spoke
         * to us waits for it to speak again, a little. */
        if (now - p->heard < 2 * CV_SECOND || p->candidate)
            p->check_at = p->candidate ? CV_NEVER : now + 2 * CV_SECOND;
        else
            die(ps, p, now);
        return;
    }
    check_back(ps, p, now);
    p->check_at = now + (p->tries <= 2 ? gap[p->tries - 1] : CV_PATH_RTO_MIN);
}

static void step_selected(struct cv_pathset *ps, struct cv_path *p, cv_time now)
{
    if (p->unanswered > 0 && now - p->last_check >= rto(p)) {
        suspect(ps, p, now); /* the keepalive was lost */
        return;
    }
    if (p->unanswered == 0)
        cv_pathset_check(ps, p, 0, now);
    p->check_at = p->last_check + rto(p);
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
    bool other = best_good(ps, p) != NULL;

    if ((p->unanswered >= CV_PATH_SUSPECT_LOST && other &&
         now - p->last_check >= rto(p)) ||
        now - p->since >= CV_PATH_SUSPECT_TIME) {
        die(ps, p, now);
        choose(ps, now);
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

    if (!p->candidate && !has_credit(p, CV_CHECK_MAX)) {
        p->used = false; /* spoke once, never proved: not worth more */
        return;
    }
    check_back(ps, p, now);
    if (cv_pathset_any(ps)) {
        wait = dead_wait(ps, p->tries);
    } else {
        unsigned shift = p->tries > 3 ? 3 : p->tries - 1;

        wait = (250 * CV_MILLISECOND) << shift;
    }
    p->check_at = now + wait;
}

/* Without any path, every address that is known is worth asking. */
static void revive(struct cv_pathset *ps, cv_time now)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++) {
        struct cv_path *p = &ps->path[i];

        if (!p->used || !(p->proved || p->candidate))
            continue;
        if (p->state != CV_PATH_DEAD)
            set_state(ps, p, CV_PATH_DEAD, now);
        p->tries = 0;
        p->check_at = now;
    }
}

static void step_once(struct cv_pathset *ps, cv_time now)
{
    struct cv_path *sel = selected(ps);
    bool had = sel != NULL;

    if (sel && now >= suspect_at(ps))
        suspect(ps, sel, now);
    if (now >= ps->choose_at)
        choose(ps, now);
    if (now >= ps->quiet_at) {
        ps->quiet_at = CV_NEVER;
        sel = selected(ps);
        if (sel && is_good(sel))
            sel->check_at = now;
    }
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
        revive(ps, now);
}

void cv_pathset_step(struct cv_pathset *ps, cv_time now)
{
    /* A path's fate can make another one's check due at once. */
    for (unsigned i = 0; i < 4 && cv_pathset_deadline(ps) <= now; i++)
        step_once(ps, now);
    tell_silent(ps, now);
}

cv_time cv_pathset_deadline(const struct cv_pathset *ps)
{
    cv_time at = cv_time_min(suspect_at(ps), ps->choose_at);

    at = cv_time_min(at, ps->quiet_at);
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (ps->path[i].used)
            at = cv_time_min(at, ps->path[i].check_at);
    return at;
}
