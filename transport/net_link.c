#include "transport/net_struct.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINKS_MAX      96 /* attempts and connections */
#define LINKS_A_NODE   4  /* without a confirmed connection */
#define ATTEMPTS_A_MIN 6  /* by one node key */
/* While no path works, our STUN servers are asked where we are: at first as
 * often as that, for what was lost may be lost again before it is found; later
 * less often. */
#define LOOK_MIN (500 * CV_MILLISECOND)
#define LOOK_MAX (10 * CV_SECOND)
/* Two attempts that began this close together are one wish of both sides. */
#define AT_ONCE (15 * CV_SECOND)

char *cv_net_link_name(const struct cv_net_link *l, char out[9])
{
    return cv_key_short(&l->contact.node, out);
}

struct cv_net_link *cv_net_find_link(const struct cv_net *net,
                                     const uint8_t attempt[8])
{
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed &&
            memcmp(l->contact.attempt, attempt, 8) == 0)
            return l;
    return NULL;
}

void cv_net_fail(struct cv_net_link *l, const char *reason)
{
    /* The owner has the connection, which has an end of its own. */
    if (l->failed || l->gone || l->handed)
        return;
    l->failed = true;
    snprintf(l->reason, sizeof l->reason, "%s", reason);
}

void cv_net_mark(const struct cv_net_link *l, enum cv_mark_kind kind,
                 const struct cv_path_addr *addr, const struct cv_path *path)
{
    struct cv_mark m = {
        .kind = kind,
        .at = cv_loop_now(l->net->loop),
        .node = l->contact.node,
        .n = l->sent,
        .text = "",
    };

    if (!l->net->events->mark)
        return;
    if (path) {
        addr = &path->addr;
        m.rtt = path->srtt;
    }
    if (addr) {
        m.addr = addr->remote;
        m.path = path ? path->kind
                 : addr->carrier == CV_CARRIER_TCP
                     ? CV_PATH_TCP
                     : cv_local_path_kind(&l->net->local, &addr->remote);
    }
    l->net->events->mark(l->net->user, l->contact.attempt, &m);
}

static int on_send(void *user, const struct cv_path_addr *to, unsigned ttl,
                   const uint8_t *data, size_t len, size_t segment)
{
    struct cv_net_link *l = user;

    if (!l->confirmed && l->sent++ == 0)
        cv_net_mark(l, CV_MARK_CHECK, to, NULL);
    return cv_net_send(l->net, to, ttl, data, len, segment);
}

bool cv_net_stands(const struct cv_net_link *a, const struct cv_net_link *b)
{
    const struct cv_net *net = a->net;
    bool we_are_smaller = cv_key_compare(&net->node->pub, &a->contact.node) < 0;

    assert(a->contact.knocked != b->contact.knocked);
    return a->contact.knocked == we_are_smaller;
}

bool cv_net_same_end(const struct cv_net_link *a, const struct cv_net_link *b)
{
    return a->contact.realm == b->contact.realm &&
           cv_key_equal(&a->contact.node, &b->contact.node);
}

bool cv_net_are_rivals(const struct cv_net_link *a, const struct cv_net_link *b)
{
    cv_time apart = a->begun - b->begun;

    return a != b && !b->gone && !b->failed &&
           a->contact.knocked != b->contact.knocked && cv_net_same_end(a, b) &&
           apart < AT_ONCE && apart > -AT_ONCE;
}

struct cv_net_link *cv_net_connected(const struct cv_net *net,
                                     const struct cv_contact *contact)
{
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed && l->handed &&
            !cv_quic_is_closing(l->conn) &&
            l->contact.realm == contact->realm &&
            cv_key_equal(&l->contact.node, &contact->node))
            return l;
    return NULL;
}

/* The connection that there is goes on where a later attempt has found a path:
 * only that one makes guesses about hard NATs, and between two TCP ports there
 * can be only one link. */
static void hand_over(struct cv_net_link *to, const struct cv_path *path,
                      cv_time now)
{
    struct cv_sockets *sockets = &to->net->sockets;

    cv_sockets_share(sockets, path->addr.socket);
    if (!cv_attempt_adopt(to->attempt, path, now))
        cv_sockets_close(sockets, path->addr.socket);
}

/* Others that look for the same node cannot have a link of their own: theirs
 * is this one, as soon as their checks prove it. */
static void share_link(const struct cv_net_link *l, const struct cv_path *path,
                       cv_time now)
{
    if (path->addr.carrier != CV_CARRIER_TCP)
        return;
    for (struct cv_net_link *o = l->net->links; o; o = o->next)
        if (o != l && !o->gone && !o->failed && !o->handed &&
            cv_net_same_end(o, l))
            cv_pathset_link_up(&o->attempt->paths, &path->addr, now);
}

static void on_reached(void *user)
{
    struct cv_net_link *l = user;
    struct cv_net_link *old = cv_net_connected(l->net, &l->contact);
    const struct cv_path *best = cv_pathset_best(&l->attempt->paths);
    cv_time now = cv_loop_now(l->net->loop);

    cv_net_mark(l, CV_MARK_PATH, NULL, best);
    if (old && old != l && best)
        hand_over(old, best, now);
    if (best)
        share_link(l, best, now);
    if (l->conn)
        return; /* over a gate, until now */
    l->connect_at = now;
    l->handshake_by = now + CV_NET_HANDSHAKE;
    if (old && old != l) /* it was given the same addresses */
        l->connect_at = now + CV_NET_YIELD;
    for (struct cv_net_link *o = l->net->links; o; o = o->next)
        if (cv_net_are_rivals(l, o) && cv_net_stands(o, l))
            l->connect_at = now + CV_NET_YIELD;
}

/* A path was found for `l`, but the connection that it was to replace lives
 * again: both ends leave it at that. */
static bool is_needless(const struct cv_net_link *l)
{
    const struct cv_net_link *old = cv_net_connected(l->net, &l->contact);
    const struct cv_path *path;

    if (!old || old == l || l->conn)
        return false;
    path = cv_pathset_best(&old->attempt->paths);
    return !old->silent && path && path->heard > l->begun;
}

/* A birthday that nobody came to, or that another attempt of the same wish
 * takes over, does not count; the latter once a minute. */
static void give_back(struct cv_net_link *l)
{
    struct cv_net *net = l->net;
    cv_time now = cv_loop_now(net->loop);

    if (!l->attempt->birthday.on)
        return;
    if (l->attempt->peer_at != CV_NEVER) {
        if (now < net->give_back_after)
            return;
        net->give_back_after = now + CV_NET_BURST_PAUSE;
    }
    net->burst_after = now;
}

static void on_lost(void *user, const char *reason)
{
    struct cv_net_link *l = user;

    if (l->attempt->peer_at == CV_NEVER)
        give_back(l);
    cv_net_fail(l, reason);
}

static void on_doubt(void *user, const char *reason)
{
    struct cv_net_link *l = user;

    l->doubted = true;
    snprintf(l->reason, sizeof l->reason, "%s", reason);
}

void cv_net_path_changed(struct cv_net_link *l, const struct cv_path *path)
{
    struct cv_path_info info = {.kind = CV_PATH_NONE};

    if (!l->conn)
        return;
    if (path) {
        info.kind = path->kind;
        info.remote = path->addr.remote;
        info.rtt = path->srtt;
    }
    info.silent = l->silent;
    cv_quic_set_path(l->conn, &info);
    cv_net_unblock(l); /* it was the other path that was full */
    /* What went to the old path may be lost: find out in one round trip. */
    if (path && l->confirmed)
        cv_quic_probe(l->conn, cv_loop_now(l->net->loop));
    l->dirty = true;
}

static void on_path(void *user, const struct cv_path *path)
{
    cv_net_path_changed(user, path);
}

static void on_silent(void *user, bool silent)
{
    struct cv_net_link *l = user;
    cv_time now = cv_loop_now(l->net->loop);

    l->silent = silent;
    l->silent_at = now;
    l->look_at = silent ? now : CV_NEVER;
    if (silent)
        cv_net_gate_hurry(l, now);
    cv_net_path_changed(l, cv_pathset_best(&l->attempt->paths));
}

static void on_reflexive(void *user, const struct cv_addr *mapped,
                         const struct cv_addr *peer)
{
    struct cv_net_link *l = user;

    cv_gather_reflexive(&l->net->gather, mapped, peer,
                        cv_loop_now(l->net->loop));
}

static int on_open(void *user)
{
    struct cv_net_link *l = user;

    return cv_sockets_open(&l->net->sockets);
}

static void on_close(void *user, uint16_t socket)
{
    struct cv_net_link *l = user;

    cv_sockets_close(&l->net->sockets, socket);
}

static void on_share(void *user, uint16_t socket)
{
    struct cv_net_link *l = user;

    cv_sockets_share(&l->net->sockets, socket);
}

static bool on_may_burst(void *user, bool *gentle)
{
    struct cv_net_link *l = user;
    cv_time now = cv_loop_now(l->net->loop);

    struct cv_net *net = l->net;

    if (net->birthday == CV_NET_BIRTHDAY_OFF)
        return false;
    if (cv_net_connected(net, &l->contact)) {
        if (!cv_bucket_take_many(&net->rescues, CV_BIRTHDAY_GUESSES, now))
            return false;
        l->rescues = true;
    } else if (now >= net->burst_after) {
        net->burst_after = now + CV_NET_BURST_PAUSE;
    } else {
        return false;
    }
    *gentle = l->net->birthday == CV_NET_BIRTHDAY_GENTLE;
    return true;
}

static void on_spared(void *user, unsigned guesses)
{
    struct cv_net_link *l = user;

    if (l->rescues)
        cv_bucket_give_back(&l->net->rescues, guesses);
    l->rescues = false;
}

static void on_rests(void *user)
{
    cv_net_mark(user, CV_MARK_CARRIED, NULL, NULL);
}

static const struct cv_attempt_events attempt_events = {
    .rests = on_rests,
    .reached = on_reached,
    .lost = on_lost,
    .doubt = on_doubt,
    .path = on_path,
    .silent = on_silent,
    .reflexive = on_reflexive,
    .open = on_open,
    .close = on_close,
    .share = on_share,
    .may_burst = on_may_burst,
    .spared = on_spared,
    .tcp = &cv_net_tcpplan_ops,
};

void cv_net_drop(struct cv_net_link *l)
{
    if (l->gone)
        return;
    if (l->conn) {
        cv_conn_close(l->conn, CV_NET_REPLACED, "replaced");
        (void)cv_quic_flush(l->conn, cv_loop_now(l->net->loop));
    }
    give_back(l);
    l->gone = true;
}

void cv_net_link_free(struct cv_net_link *l)
{
    cv_net_gate_end(l);
    cv_quic_free(l->conn);
    if (l->attempt)
        cv_attempt_fini(l->attempt);
    free(l->attempt);
    cv_wipe(&l->contact, sizeof l->contact);
    free(l);
}

/* Was our own mapping lost, or is it lost again? */
static void look_for_ourselves(struct cv_net_link *l, cv_time now)
{
    cv_time wait = (now - l->silent_at) / 4;

    if (wait < LOOK_MIN)
        wait = LOOK_MIN;
    if (wait > LOOK_MAX)
        wait = LOOK_MAX;
    l->look_at = now + wait;
    cv_gather_refresh(&l->net->gather, now);
}

/* Is there a way for the handshake? */
static bool may_begin(const struct cv_net_link *l)
{
    return l->reached || l->attempt->carried;
}

void cv_net_link_step(struct cv_net_link *l, cv_time now)
{
    if (l->look_at <= now)
        look_for_ourselves(l, now);
    if (cv_attempt_deadline(l->attempt) <= now)
        cv_attempt_step(l->attempt, now);
    if (l->doubted) {
        l->doubted = false;
        l->net->events->attempt(l->net->user, l->contact.attempt,
                                CV_ATTEMPT_DOUBTED, l->reason);
        if (l->gone || l->net->freed)
            return;
    }
    if (l->attempt->heard && !l->heard) {
        l->heard = true;
        cv_net_mark(l, CV_MARK_HEARD, NULL, NULL);
    }
    if (l->attempt->phase == CV_ATTEMPT_REACHED && !l->reached) {
        l->reached = true;
        l->net->events->attempt(l->net->user, l->contact.attempt,
                                CV_ATTEMPT_DIRECT, "");
        if (l->gone || l->net->freed)
            return;
    }
    if (may_begin(l) && is_needless(l)) {
        cv_net_drop(l);
        return;
    }
    cv_net_gate_step(l, now);
    if (l->contact.knocked && !l->conn && may_begin(l) && l->connect_at <= now)
        cv_net_start_handshake(l, now);
    if (l->handshake_by <= now) {
        l->handshake_by = CV_NEVER;
        cv_net_fail(l, "a path was found, but the other side did not begin the "
                       "handshake; it may have given up");
    }
    if (l->conn && l->dirty)
        cv_net_flush(l, false, now);
    if (l->conn && cv_quic_deadline(l->conn) <= now)
        cv_net_flush(l, true, now);
}

cv_time cv_net_link_deadline(const struct cv_net_link *l)
{
    cv_time at = cv_attempt_deadline(l->attempt);

    if (l->gone || l->failed || l->dirty ||
        (l->attempt->phase == CV_ATTEMPT_REACHED && !l->reached))
        return 0;
    at = cv_time_min(at, l->handshake_by);
    at = cv_time_min(at, cv_time_min(l->reopen_at, l->hand_at));
    at = cv_time_min(at, l->look_at);
    if (l->contact.knocked && !l->conn && may_begin(l))
        at = cv_time_min(at, l->connect_at);
    if (l->conn)
        at = cv_time_min(at, cv_quic_deadline(l->conn));
    return at;
}

void cv_net_reap(struct cv_net *net)
{
    for (struct cv_net_link **at = &net->links; *at;) {
        struct cv_net_link *l = *at;
        bool tell = l->failed && !l->gone;
        uint8_t id[8];
        char reason[CV_ATTEMPT_REASON], name[9];

        if (!l->gone && !l->failed) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        net->n_links--;
        memcpy(id, l->contact.attempt, sizeof id);
        memcpy(reason, l->reason, sizeof reason);
        if (tell)
            cv_debug(net->log, "net: attempt failed, peer=%s: %s",
                     cv_net_link_name(l, name), reason);
        cv_net_link_free(l);
        if (!tell)
            continue;
        net->events->attempt(net->user, id, CV_ATTEMPT_FAILED, reason);
        if (net->freed)
            return;
        at = &net->links; /* the owner may have begun another one */
    }
}

/* ---- begun and given up ------------------------------------------------- */

/* Others may make us dial: how often is limited by node key. */
static bool may_knock(struct cv_net *net, const struct cv_key *node,
                      cv_time now)
{
    struct cv_net_knocker *k = NULL;

    for (unsigned i = 0; i < CV_NET_KNOCKERS; i++) {
        struct cv_net_knocker *o = &net->knocker[i];

        if (o->n > 0 && cv_key_equal(&o->node, node)) {
            k = o;
            break;
        }
        if (!k || (k->n > 0 && (o->n == 0 || o->since < k->since)))
            k = o;
    }
    if (k->n == 0 || !cv_key_equal(&k->node, node) ||
        now - k->since >= CV_MINUTE)
        *k = (struct cv_net_knocker){.node = *node, .since = now};
    if (k->n >= ATTEMPTS_A_MIN)
        return false;
    k->n++;
    return true;
}

/* Room for one more at this node: the oldest unfinished one goes. */
static void make_room(struct cv_net *net, const struct cv_key *node)
{
    struct cv_net_link *oldest = NULL;
    unsigned n = 0;

    for (struct cv_net_link *l = net->links; l; l = l->next) {
        if (l->gone || l->failed || l->handed ||
            !cv_key_equal(&l->contact.node, node))
            continue;
        n++;
        if (!oldest || l->begun < oldest->begun)
            oldest = l;
    }
    if (n >= LINKS_A_NODE)
        cv_net_drop(oldest);
}

/* In no list yet; NULL: out of memory. */
static struct cv_net_link *
link_new(struct cv_net *net, const struct cv_contact *contact, cv_time now)
{
    struct cv_net_link *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->attempt = calloc(1, sizeof *l->attempt);
    if (!l->attempt) {
        free(l);
        return NULL;
    }
    l->net = net;
    l->contact = *contact;
    l->begun = now;
    l->connect_at = l->handshake_by = l->reopen_at = l->look_at = CV_NEVER;
    l->hand_at = CV_NEVER;
    return l;
}

int cv_net_connect(struct cv_net *net, const struct cv_contact *contact)
{
    struct cv_net_link *l = cv_net_find_link(net, contact->attempt), *old;
    cv_time now = cv_loop_now(net->loop);
    unsigned unfinished = 0;
    char name[9];

    old = cv_net_connected(net, contact);
    if (l) {
        if (!cv_key_equal(&l->contact.node, &contact->node))
            return CV_ERR_INVALID;
        if (contact->knocked && !contact->answered)
            cv_attempt_news(l->attempt, &contact->peer, now);
        else
            cv_attempt_candidates(l->attempt, &contact->peer, now);
        cv_net_gate_news(l, contact);
        if (old && old != l)
            cv_attempt_candidates(old->attempt, &contact->peer, now);
        cv_timer_set(net->timer, now);
        return CV_OK;
    }
    if (cv_key_equal(&contact->node, &net->node->pub))
        return CV_ERR_INVALID;
    for (l = net->links; l; l = l->next)
        unfinished += !l->handed && !l->gone && !l->failed;
    if (unfinished >= CV_NET_ATTEMPTS || net->n_links >= LINKS_MAX)
        return CV_ERR_LIMIT;
    if (!contact->knocked && !old && !may_knock(net, &contact->node, now))
        return CV_ERR_LIMIT;
    if (old)
        cv_attempt_candidates(old->attempt, &contact->peer, now);

    l = link_new(net, contact, now);
    if (!l)
        return CV_ERR_NOMEM;
    make_room(net, &contact->node);
    cv_debug(net->log, "net: attempt, peer=%s role=%s candidates=%u",
             cv_net_link_name(l, name), contact->knocked ? "joiner" : "sharer",
             contact->peer.n);
    cv_attempt_init(l->attempt, contact, &net->local, net->rng, net->log,
                    on_send, &attempt_events, l, now);
    l->attempt->paths.retry = net->retry;
    cv_wipe(l->contact.shared, sizeof l->contact.shared);
    l->next = net->links;
    net->links = l;
    net->n_links++;
    cv_net_early(l, now);
    cv_net_gate_begin(l);
    cv_timer_set(net->timer, now);
    return CV_OK;
}

void cv_net_abandon(struct cv_net *net, const uint8_t attempt[8])
{
    struct cv_net_link *l = cv_net_find_link(net, attempt);

    if (!l || l->handed)
        return;
    cv_net_drop(l);
    cv_timer_set(net->timer, cv_loop_now(net->loop));
}
