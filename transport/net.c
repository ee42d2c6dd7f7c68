/* The timers of a node are one: net->timer stands at the earliest deadline of
 * gathering, of every attempt, and of every connection; service() does all
 * that is due and sets it again. */
#include "transport/net.h"
#include "transport/attempt.h"
#include "transport/gather.h"
#include "transport/netif.h"
#include "transport/quic.h"
#include "transport/route.h"
#include "transport/stunserver.h"
#include "transport/udp.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINKS_MAX      96 /* attempts and connections */
#define LINKS_A_NODE   4  /* without a confirmed connection */
#define HALF_OPEN_MAX  50 /* more unconfirmed handshakes want a retry token */
#define RESETS_MAX     10 /* stateless ones a second */
#define ATTEMPTS_A_MIN 6  /* by one node key */
#define KNOCKERS       64 /* node keys whose attempts are counted */
#define RESOLVE_AGAIN  (30 * CV_SECOND)
/* Two attempts that began this close together are one wish of both sides. */
#define AT_ONCE (15 * CV_SECOND)
/* The attempt that does not stand gives the other one this lead. */
#define YIELD (1 * CV_SECOND)
/* After a path is proved: for the client's first packet to come. */
#define HANDSHAKE_TIME (20 * CV_SECOND)
#define CODE_REPLACED  1 /* close code: a newer connection stands */
#define CODE_LEAVING   0

/* One attempt at one node, and the connection that came of it. */
struct link {
    struct cv_net *net;
    struct link *next;
    struct cv_contact contact; /* peer candidates are the attempt's */
    struct cv_attempt *attempt;
    struct cv_conn *conn; /* NULL until the handshake starts */
    cv_time begun;
    cv_time connect_at;   /* when the client starts the handshake */
    cv_time handshake_by; /* without a handshake by then it failed */
    bool reached;         /* the owner was told */
    bool confirmed;
    bool handed;  /* the owner has the connection */
    bool dirty;   /* flush it */
    bool blocked; /* the socket is full */
    bool failed;  /* `reason` waits to be told; then it goes */
    bool gone;    /* free it */
    char reason[CV_ATTEMPT_REASON];
};

struct server {
    char host[256];
    uint16_t port;
    struct cv_resolve *resolve;
    bool known;
};

struct knocker {
    struct cv_key node;
    unsigned n;
    cv_time since;
};

struct cv_net {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_rng *rng;
    const struct cv_keypair *node;
    bool answer_stun;
    const struct cv_net_events *events;
    void *user;

    struct cv_udp *udp;
    struct cv_timer *timer;
    struct cv_netif_watch *watch;
    struct cv_quic_ctx *quic;
    struct cv_gather gather;
    struct cv_local local; /* what attempts look at */
    struct cv_stun_limit limit;
    struct server server[CV_NET_STUN_SERVERS];
    unsigned n_servers;
    cv_time resolve_at;

    struct link *links;
    unsigned n_links;
    struct cv_routes routes;
    struct knocker knocker[KNOCKERS];
    cv_time resets_from;
    unsigned resets;

    unsigned depth; /* of our own calls: nothing is freed below */
    bool freed;
    uint64_t junk; /* packets that were nobody's */
};

static void service(struct cv_net *net);

/* ---- links -------------------------------------------------------------- */

static char *link_name(const struct link *l, char out[9])
{
    return cv_key_short(&l->contact.node, out);
}

static struct link *find_link(const struct cv_net *net,
                              const uint8_t attempt[8])
{
    for (struct link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed &&
            memcmp(l->contact.attempt, attempt, 8) == 0)
            return l;
    return NULL;
}

static void fail(struct link *l, const char *reason)
{
    if (l->failed || l->gone)
        return;
    l->failed = true;
    snprintf(l->reason, sizeof l->reason, "%s", reason);
}

static int on_send(void *user, const struct cv_path_addr *to, unsigned ttl,
                   const uint8_t *data, size_t len, size_t segment)
{
    struct link *l = user;

    return cv_udp_send(l->net->udp, &to->remote, &to->local, ttl, data, len,
                       segment);
}

/* Does the attempt of `a` stand against that of `b`, which the other side
 * began?  That of the smaller node key does. */
static bool stands(const struct link *a, const struct link *b)
{
    const struct cv_net *net = a->net;
    bool we_are_smaller = cv_key_compare(&net->node->pub, &a->contact.node) < 0;

    assert(a->contact.knocked != b->contact.knocked);
    return a->contact.knocked == we_are_smaller;
}

static bool same_end(const struct link *a, const struct link *b)
{
    return a->contact.realm == b->contact.realm &&
           cv_key_equal(&a->contact.node, &b->contact.node);
}

/* A rival: the same node, knocked at by the other side, about now. */
static bool are_rivals(const struct link *a, const struct link *b)
{
    cv_time apart = a->begun - b->begun;

    return a != b && !b->gone && !b->failed &&
           a->contact.knocked != b->contact.knocked && same_end(a, b) &&
           apart < AT_ONCE && apart > -AT_ONCE;
}

static void on_reached(void *user)
{
    struct link *l = user;
    cv_time now = cv_loop_now(l->net->loop);

    l->connect_at = now;
    l->handshake_by = now + HANDSHAKE_TIME;
    for (struct link *o = l->net->links; o; o = o->next)
        if (are_rivals(l, o) && stands(o, l))
            l->connect_at = now + YIELD;
}

static void on_lost(void *user, const char *reason)
{
    fail(user, reason);
}

static void on_path(void *user, const struct cv_path *path)
{
    struct link *l = user;
    struct cv_path_info info = {.kind = CV_PATH_NONE};

    if (!l->conn)
        return;
    if (path) {
        info.kind = path->kind;
        info.remote = path->addr.remote;
        info.rtt = path->srtt;
    }
    cv_quic_set_path(l->conn, &info);
    /* What went to the old path may be lost: find out in one round trip. */
    if (path && l->confirmed)
        cv_quic_probe(l->conn, cv_loop_now(l->net->loop));
    l->dirty = true;
}

static void on_reflexive(void *user, const struct cv_addr *mapped,
                         const struct cv_addr *peer)
{
    struct link *l = user;

    cv_gather_reflexive(&l->net->gather, mapped, peer,
                        cv_loop_now(l->net->loop));
}

static const struct cv_attempt_events attempt_events = {
    .reached = on_reached,
    .lost = on_lost,
    .path = on_path,
    .reflexive = on_reflexive,
};

/* End it without an event; the other side is told. */
static void drop(struct link *l)
{
    if (l->gone)
        return;
    if (l->conn) {
        cv_conn_close(l->conn, CODE_REPLACED, "replaced");
        (void)cv_quic_flush(l->conn, cv_loop_now(l->net->loop));
    }
    l->gone = true;
}

static void free_link(struct link *l)
{
    cv_quic_free(l->conn);
    if (l->attempt)
        cv_attempt_fini(l->attempt);
    free(l->attempt);
    cv_wipe(&l->contact, sizeof l->contact);
    free(l);
}

/* ---- QUIC --------------------------------------------------------------- */

static void on_output(void *user, struct cv_conn *conn, const uint8_t *data,
                      size_t len, size_t segment)
{
    struct link *l = user;

    (void)conn;
    if (cv_pathset_send(&l->attempt->paths, cv_loop_now(l->net->loop), data,
                        len, segment) == CV_ERR_AGAIN)
        l->blocked = true;
}

static void on_wake(void *user, struct cv_conn *conn)
{
    struct link *l = user;

    (void)conn;
    l->dirty = true;
    if (l->net->depth == 0)
        cv_timer_set(l->net->timer, 0);
}

/* The older connection with the same node goes; or, when both sides began at
 * once, the one that does not stand.  False: that is `l` itself. */
static bool replace_others(struct link *l)
{
    char name[9];

    for (struct link *o = l->net->links; o; o = o->next)
        if (are_rivals(l, o) && o->handed && stands(o, l)) {
            cv_debug(l->net->log, "net: attempt yields, peer=%s",
                     link_name(l, name));
            return false;
        }
    return true;
}

static void close_others(struct link *l)
{
    for (struct link *o = l->net->links; o; o = o->next) {
        if (o == l || o->gone || o->failed || !same_end(o, l))
            continue;
        if (o->handed) {
            if (o->begun <= l->begun || are_rivals(l, o))
                cv_conn_close(o->conn, CODE_REPLACED,
                              "replaced by a newer connection");
        } else if (o->begun <= l->begun || (are_rivals(l, o) && stands(l, o))) {
            drop(o);
        }
    }
}

static void on_confirmed(void *user, struct cv_conn *conn)
{
    struct link *l = user;
    struct cv_net *net = l->net;
    const struct cv_path *best = cv_pathset_best(&l->attempt->paths);
    uint8_t exported[64];
    char name[9];

    l->confirmed = true;
    if (cv_conn_export(conn, CV_CHECK_EXPORTER, exported, sizeof exported) ==
        CV_OK)
        cv_attempt_rekey(l->attempt, exported, cv_loop_now(net->loop));
    cv_wipe(exported, sizeof exported);
    if (!replace_others(l)) {
        cv_conn_close(conn, CODE_REPLACED, "replaced");
        return;
    }
    cv_info(net->log, "net: connected, peer=%s path=%s role=%s",
            link_name(l, name), cv_path_kind_name(best ? best->kind : 0),
            l->contact.knocked ? "client" : "server");
    l->handed = true;
    close_others(l);
    net->events->conn(net->user, conn);
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason, bool local)
{
    struct link *l = user;
    char text[CV_ATTEMPT_REASON];

    (void)conn;
    (void)local;
    if (l->handed || l->gone || (l->confirmed && code == CODE_REPLACED))
        return;
    switch (err) {
    case CV_ERR_AUTH:
        snprintf(text, sizeof text,
                 "whoever answers at the other side's address has another key "
                 "than its record says; nothing was sent to it");
        break;
    case CV_ERR_DENIED:
        snprintf(text, sizeof text, "the other side did not accept our key");
        break;
    case CV_ERR_VERSION:
        snprintf(text, sizeof text,
                 "the other side speaks another version of covim");
        break;
    case CV_ERR_TIMEOUT:
        snprintf(text, sizeof text,
                 "a path was found but the handshake did not end in time: "
                 "packets of 1200 bytes may not get through; try another "
                 "network");
        break;
    default:
        snprintf(text, sizeof text, "the handshake failed: %s%s%s",
                 cv_strerror(err), reason[0] ? ": " : "", reason);
        break;
    }
    fail(l, text);
}

static void on_dead(void *user, struct cv_conn *conn)
{
    struct link *l = user;

    (void)conn;
    if (!l->failed)
        l->gone = true;
}

static void on_cid_add(void *user, struct cv_conn *conn,
                       const struct cv_quic_cid *cid)
{
    struct link *l = user;

    (void)conn;
    if (cv_routes_add(&l->net->routes, cid, l) != CV_OK)
        cv_warn(l->net->log, "net: routing table is full");
}

static void on_cid_remove(void *user, struct cv_conn *conn,
                          const struct cv_quic_cid *cid)
{
    struct link *l = user;

    (void)conn;
    cv_routes_remove(&l->net->routes, cid, l);
}

static const struct cv_quic_owner owner = {
    .output = on_output,
    .wake = on_wake,
    .confirmed = on_confirmed,
    .closed = on_closed,
    .dead = on_dead,
    .cid_add = on_cid_add,
    .cid_remove = on_cid_remove,
};

/* QUIC's timers count in milliseconds; less would only make it repeat. */
static cv_time clamp_rtt(cv_time rtt)
{
    return rtt > CV_MILLISECOND ? rtt : CV_MILLISECOND;
}

static struct cv_quic_config quic_config(struct link *l)
{
    const struct cv_path *best = cv_pathset_best(&l->attempt->paths);
    struct cv_quic_config c = {.peer = l->contact.node,
                               .initial_rtt = best ? clamp_rtt(best->srtt) : 0,
                               .log = l->net->log,
                               .owner = &owner,
                               .user = l};

    memcpy(c.attempt, l->contact.attempt, sizeof c.attempt);
    return c;
}

static void start_handshake(struct link *l, cv_time now)
{
    struct cv_quic_config config = quic_config(l);
    int err;

    l->connect_at = CV_NEVER;
    l->handshake_by = CV_NEVER; /* QUIC has its own */
    err = cv_quic_connect(&l->conn, l->net->quic, &config, now);
    if (err != CV_OK) {
        fail(l, cv_strerror(err));
        return;
    }
    on_path(l, cv_pathset_best(&l->attempt->paths));
}

static unsigned half_open(const struct cv_net *net)
{
    unsigned n = 0;

    for (struct link *l = net->links; l; l = l->next)
        n += l->conn != NULL && !l->confirmed;
    return n;
}

/* The attempt that an Initial belongs to: a client's first destination id
 * begins with the attempt's; after a Retry only the address is left.  Either
 * way it must come from where an authenticated check came from. */
static struct link *expects_initial(const struct cv_net *net,
                                    const struct cv_quic_cid *dcid,
                                    const struct cv_path_addr *from)
{
    struct link *by_address = NULL;

    for (struct link *l = net->links; l; l = l->next) {
        const struct cv_path *p;

        if (l->gone || l->failed || l->conn || l->contact.knocked)
            continue;
        p = cv_pathset_find(&l->attempt->paths, from);
        if (!p || p->heard == 0)
            continue;
        if (dcid->len >= 8 && memcmp(dcid->b, l->contact.attempt, 8) == 0)
            return l;
        if (!by_address || l->begun > by_address->begun)
            by_address = l;
    }
    return by_address;
}

static void nobodys_packet(struct cv_net *net, const struct cv_path_addr *from,
                           const uint8_t *data, size_t len, cv_time now)
{
    uint8_t out[64];
    size_t n;

    net->junk++;
    if (now - net->resets_from >= CV_SECOND) {
        net->resets_from = now;
        net->resets = 0;
    }
    if (net->resets >= RESETS_MAX)
        return;
    n = cv_quic_write_reset(net->quic, out, sizeof out, data, len);
    if (n == 0)
        return;
    net->resets++;
    (void)cv_udp_send(net->udp, &from->remote, &from->local, 0, out, n, n);
}

static void quic_packet(struct cv_net *net, const struct cv_path_addr *from,
                        const uint8_t *data, size_t len, cv_time now)
{
    struct cv_quic_config config;
    struct cv_quic_cid dcid;
    struct link *l;
    uint8_t retry[512];
    size_t n;
    int err;

    if (!cv_quic_packet_dcid(data, len, &dcid)) {
        net->junk++;
        return;
    }
    l = cv_routes_find(&net->routes, &dcid);
    if (!l) {
        if (!cv_quic_packet_is_initial(data, len)) {
            nobodys_packet(net, from, data, len, now);
            return;
        }
        l = expects_initial(net, &dcid, from);
        if (!l) {
            cv_debug(net->log, "net: Initial from nobody we expect");
            net->junk++;
            return;
        }
        config = quic_config(l);
        err =
            cv_quic_accept(&l->conn, net->quic, &config, data, len,
                           &from->remote, half_open(net) > HALF_OPEN_MAX, now);
        if (err == CV_ERR_AGAIN) {
            n = cv_quic_write_retry(net->quic, retry, sizeof retry, data, len,
                                    &from->remote, now);
            if (n > 0)
                (void)cv_udp_send(net->udp, &from->remote, &from->local, 0,
                                  retry, n, n);
            return;
        }
        if (err != CV_OK) {
            cv_debug(net->log, "net: Initial not accepted: %s",
                     cv_strerror(err));
            net->junk++;
            return;
        }
        l->handshake_by = CV_NEVER;
        on_path(l, cv_pathset_best(&l->attempt->paths));
    }
    if (l->gone || !l->conn)
        return;
    cv_pathset_packet(&l->attempt->paths, from, len, now);
    l->dirty = true;
    (void)cv_quic_input(l->conn, data, len, now);
}

/* ---- STUN --------------------------------------------------------------- */

static void stun_packet(struct cv_net *net, const struct cv_path_addr *from,
                        const uint8_t *data, size_t len, cv_time now)
{
    uint8_t out[CV_STUN_MAX];
    struct cv_writer w;
    struct cv_stun m;
    struct link *l;

    if (cv_stun_parse(&m, data, len) != CV_OK) {
        net->junk++;
        return;
    }
    if (m.type == CV_STUN_REQUEST && m.username.len == 8) {
        l = find_link(net, m.username.data);
        if (!l || cv_attempt_input(l->attempt, from, &m, now) != CV_OK)
            net->junk++;
        return;
    }
    if (m.type == CV_STUN_REQUEST) {
        cv_writer_init(&w, out, sizeof out);
        if (net->answer_stun && m.mac.len == 0 &&
            cv_stun_limit_allow(&net->limit, &from->remote, now) &&
            cv_stun_answer(&m, &from->remote, NULL, NULL, len, &w) == CV_OK)
            (void)cv_udp_send(net->udp, &from->remote, &from->local, 0, out,
                              w.len, w.len);
        return;
    }
    if (cv_gather_input(&net->gather, from, &m, now))
        return;
    for (l = net->links; l; l = l->next)
        if (!l->gone && !l->failed &&
            cv_attempt_input(l->attempt, from, &m, now) == CV_OK)
            return;
    net->junk++;
}

/* ---- the socket --------------------------------------------------------- */

static void on_packet(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *data,
                      size_t len)
{
    struct cv_net *net = user;
    struct cv_path_addr via = {
        .carrier = CV_CARRIER_UDP, .remote = *from, .local = *local};
    cv_time now = cv_loop_now(net->loop);

    if (net->freed)
        return;
    net->depth++;
    /* RFC 9443 */
    if (len > 0 && data[0] <= 3)
        stun_packet(net, &via, data, len, now);
    else if (len > 0 && data[0] >= 64)
        quic_packet(net, &via, data, len, now);
    else
        net->junk++; /* 16..19 will be gate channels */
    net->depth--;
}

static void on_batch(void *user)
{
    service(user);
}

static void on_writable(void *user)
{
    struct cv_net *net = user;

    for (struct link *l = net->links; l; l = l->next)
        if (l->blocked && l->conn) {
            l->blocked = false;
            cv_quic_set_writable(l->conn, true);
            l->dirty = true;
        }
    service(net);
}

static const struct cv_udp_events udp_events = {
    .packet = on_packet,
    .batch = on_batch,
    .writable = on_writable,
};

/* ---- time --------------------------------------------------------------- */

static void flush_link(struct link *l, bool due, cv_time now)
{
    struct cv_quic_stats stats;

    l->dirty = false;
    if (!(due ? cv_quic_on_deadline(l->conn, now)
              : cv_quic_flush(l->conn, now)))
        return;
    if (l->blocked)
        cv_quic_set_writable(l->conn, false);
    cv_quic_stats(l->conn, &stats);
    cv_pathset_in_flight(&l->attempt->paths, stats.in_flight > 0, now);
}

static void step_link(struct link *l, cv_time now)
{
    if (cv_attempt_deadline(l->attempt) <= now)
        cv_attempt_step(l->attempt, now);
    if (l->attempt->phase == CV_ATTEMPT_REACHED && !l->reached) {
        l->reached = true;
        l->net->events->attempt(l->net->user, l->contact.attempt,
                                CV_ATTEMPT_DIRECT, "");
        if (l->gone || l->net->freed)
            return;
    }
    if (l->contact.knocked && !l->conn && l->reached && l->connect_at <= now)
        start_handshake(l, now);
    if (l->handshake_by <= now) {
        l->handshake_by = CV_NEVER;
        fail(l, "a path was found, but the other side did not begin the "
                "handshake; it may have given up");
    }
    if (l->conn && l->dirty)
        flush_link(l, false, now);
    if (l->conn && cv_quic_deadline(l->conn) <= now)
        flush_link(l, true, now);
}

static cv_time link_deadline(const struct link *l)
{
    cv_time at = cv_attempt_deadline(l->attempt);

    if (l->gone || l->failed || l->dirty ||
        (l->attempt->phase == CV_ATTEMPT_REACHED && !l->reached))
        return 0;
    at = cv_time_min(at, l->handshake_by);
    if (l->contact.knocked && !l->conn && l->reached)
        at = cv_time_min(at, l->connect_at);
    if (l->conn)
        at = cv_time_min(at, cv_quic_deadline(l->conn));
    return at;
}

/* Tell of failed attempts, free what is gone. */
static void reap(struct cv_net *net)
{
    for (struct link **at = &net->links; *at;) {
        struct link *l = *at;
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
                     link_name(l, name), reason);
        free_link(l);
        if (!tell)
            continue;
        net->events->attempt(net->user, id, CV_ATTEMPT_FAILED, reason);
        if (net->freed)
            return;
        at = &net->links; /* the owner may have begun another one */
    }
}

static void resolve_servers(struct cv_net *net);

static void destroy(struct cv_net *net);

static void service(struct cv_net *net)
{
    cv_time now, next;

    if (net->depth > 0)
        return; /* whoever is further out does it */
    net->depth++;
    now = cv_loop_now(net->loop);
    for (unsigned round = 0; round < 8 && !net->freed; round++) {
        bool busy = false;

        cv_gather_step(&net->gather, now);
        if (net->freed)
            break;
        if (net->resolve_at <= now)
            resolve_servers(net);
        for (struct link *l = net->links; l && !net->freed; l = l->next) {
            if (l->gone || l->failed || link_deadline(l) > now)
                continue;
            step_link(l, now);
            busy = true;
        }
        if (!net->freed)
            reap(net);
        if (!busy)
            break;
        now = cv_loop_now(net->loop);
    }
    net->depth--;
    if (net->freed) {
        destroy(net);
        return;
    }
    net->local.reflexive = net->gather.local.reflexive;
    net->local.nat = cv_gather_own(&net->gather)->nat;
    next = cv_time_min(cv_gather_deadline(&net->gather), net->resolve_at);
    for (struct link *l = net->links; l; l = l->next)
        next = cv_time_min(next, link_deadline(l));
    cv_timer_set(net->timer, next);
}

static void on_timer(void *user)
{
    service(user);
}

/* ---- own addresses ------------------------------------------------------ */

static int on_gather_send(void *user, const struct cv_path_addr *to,
                          unsigned ttl, const uint8_t *data, size_t len,
                          size_t segment)
{
    struct cv_net *net = user;

    return cv_udp_send(net->udp, &to->remote, NULL, ttl, data, len, segment);
}

static void on_candidates(void *user, const struct cv_candidates *own)
{
    struct cv_net *net = user;

    net->events->candidates(net->user, own);
}

static void on_resolved(void *user, int err, const struct cv_addr *addrs,
                        unsigned n);

static void on_netif(void *user)
{
    struct cv_net *net = user;
    struct cv_local now_local = net->local;
    cv_time now = cv_loop_now(net->loop);

    if (cv_netif_read(&now_local) != CV_OK ||
        cv_local_same_nets(&now_local, &net->local))
        return;
    cv_debug(net->log, "net: addresses changed, n=%u", now_local.n);
    net->local = now_local;
    cv_gather_network_changed(&net->gather, &net->local, now);
    net->depth++;
    for (struct link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed)
            cv_attempt_network_changed(l->attempt, now);
    net->depth--;
    net->resolve_at = now;
    service(net);
}

static void on_resolved(void *user, int err, const struct cv_addr *addrs,
                        unsigned n);

struct resolving {
    struct cv_net *net;
    unsigned index;
};

static void resolve_servers(struct cv_net *net)
{
    cv_time now = cv_loop_now(net->loop);

    net->resolve_at = CV_NEVER;
    for (unsigned i = 0; i < net->n_servers; i++) {
        struct server *s = &net->server[i];
        struct resolving *r;

        if (s->known || s->resolve)
            continue;
        r = malloc(sizeof *r);
        if (r) {
            *r = (struct resolving){net, i};
            if (cv_resolve_new(&s->resolve, net->loop, s->host, s->port,
                               on_resolved, r) == CV_OK)
                continue;
            free(r);
        }
        net->resolve_at = now + RESOLVE_AGAIN;
    }
}

static void on_resolved(void *user, int err, const struct cv_addr *addrs,
                        unsigned n)
{
    struct resolving *r = user;
    struct cv_net *net = r->net;
    struct server *s = &net->server[r->index];
    cv_time now = cv_loop_now(net->loop);

    s->resolve = NULL;
    if (err != CV_OK || n == 0) {
        cv_debug(net->log, "net: STUN server %u was not resolved: %s", r->index,
                 cv_strerror(err));
        net->resolve_at = cv_time_min(net->resolve_at, now + RESOLVE_AGAIN);
    } else {
        s->known = true;
        cv_gather_server(&net->gather, r->index, addrs, n, now);
    }
    free(r);
    service(net);
}

/* ---- the interface ------------------------------------------------------ */

int cv_net_new(struct cv_net **out, const struct cv_net_config *config,
               const struct cv_net_events *events, void *user)
{
    struct cv_net *net = calloc(1, sizeof *net);
    cv_time now;
    int err;

    if (!net)
        return CV_ERR_NOMEM;
    net->loop = config->loop;
    net->log = config->log;
    net->rng = config->rng;
    net->node = config->node;
    net->answer_stun = config->answer_stun;
    net->events = events;
    net->user = user;
    cv_routes_init(&net->routes, net->rng);
    err = CV_ERR_FORMAT;
    for (unsigned i = 0; i < config->n_stun && i < CV_NET_STUN_SERVERS; i++) {
        struct server *s = &net->server[net->n_servers];

        if (cv_host_port_parse(config->stun[i], CV_STUN_PORT, s->host,
                               &s->port) != CV_OK)
            goto fail;
        net->n_servers++;
    }
    err = cv_udp_new(&net->udp, net->loop, net->log, config->port, &udp_events,
                     net);
    if (err != CV_OK)
        goto fail;
    err = cv_timer_new(&net->timer, net->loop, on_timer, net);
    if (err != CV_OK)
        goto fail;
    err = cv_quic_ctx_new(&net->quic, net->node, net->rng);
    if (err != CV_OK)
        goto fail;
    /* Without netlink addresses are read once. */
    if (cv_netif_watch_new(&net->watch, net->loop, on_netif, net) != CV_OK)
        cv_warn(net->log, "net: changes of the network are not noticed");
    net->local.port = cv_udp_port(net->udp);
    net->local.ipv4 = cv_udp_has(net->udp, CV_FAMILY_IPV4);
    net->local.ipv6 = cv_udp_has(net->udp, CV_FAMILY_IPV6);
    err = cv_netif_read(&net->local);
    if (err != CV_OK)
        goto fail;
    now = cv_loop_now(net->loop);
    cv_gather_init(&net->gather, net->rng, net->log, &net->local,
                   net->n_servers, on_gather_send, on_candidates, net, now);
    net->resolve_at = now;
    cv_timer_set(net->timer, now);
    *out = net;
    return CV_OK;
fail:
    destroy(net);
    return err;
}

static void destroy(struct cv_net *net)
{
    while (net->links) {
        struct link *l = net->links;

        net->links = l->next;
        free_link(l);
    }
    for (unsigned i = 0; i < net->n_servers; i++)
        cv_resolve_cancel(net->server[i].resolve);
    cv_netif_watch_free(net->watch);
    cv_quic_ctx_free(net->quic);
    cv_timer_free(net->timer);
    cv_udp_free(net->udp);
    cv_routes_fini(&net->routes);
    cv_stun_limit_fini(&net->limit);
    free(net);
}

void cv_net_free(struct cv_net *net)
{
    cv_time now;

    if (!net || net->freed)
        return;
    now = cv_loop_now(net->loop);
    net->freed = true;
    net->depth++;
    for (struct link *l = net->links; l; l = l->next)
        if (l->conn && !l->gone) {
            cv_conn_close(l->conn, CODE_LEAVING, "leaving");
            (void)cv_quic_flush(l->conn, now);
        }
    net->depth--;
    if (net->depth == 0)
        destroy(net);
}

void cv_net_candidates(const struct cv_net *net, struct cv_candidates *out)
{
    *out = *cv_gather_own(&net->gather);
}

uint16_t cv_net_port(const struct cv_net *net)
{
    return cv_udp_port(net->udp);
}

/* Others may make us dial: how often is limited by node key. */
static bool may_knock(struct cv_net *net, const struct cv_key *node,
                      cv_time now)
{
    struct knocker *k = NULL;

    for (unsigned i = 0; i < KNOCKERS; i++) {
        struct knocker *o = &net->knocker[i];

        if (o->n > 0 && cv_key_equal(&o->node, node)) {
            k = o;
            break;
        }
        if (!k || (k->n > 0 && (o->n == 0 || o->since < k->since)))
            k = o;
    }
    if (k->n == 0 || !cv_key_equal(&k->node, node) ||
        now - k->since >= CV_MINUTE)
        *k = (struct knocker){.node = *node, .since = now};
    if (k->n >= ATTEMPTS_A_MIN)
        return false;
    k->n++;
    return true;
}

/* Room for one more at this node: the oldest unfinished one goes. */
static void make_room(struct cv_net *net, const struct cv_key *node)
{
    struct link *oldest = NULL;
    unsigned n = 0;

    for (struct link *l = net->links; l; l = l->next) {
        if (l->gone || l->failed || l->handed ||
            !cv_key_equal(&l->contact.node, node))
            continue;
        n++;
        if (!oldest || l->begun < oldest->begun)
            oldest = l;
    }
    if (n >= LINKS_A_NODE)
        drop(oldest);
}

int cv_net_connect(struct cv_net *net, const struct cv_contact *contact)
{
    struct link *l = find_link(net, contact->attempt);
    cv_time now = cv_loop_now(net->loop);
    unsigned unfinished = 0;
    char name[9];

    if (l) {
        if (!cv_key_equal(&l->contact.node, &contact->node))
            return CV_ERR_INVALID;
        cv_attempt_candidates(l->attempt, &contact->peer, now);
        cv_timer_set(net->timer, now);
        return CV_OK;
    }
    if (cv_key_equal(&contact->node, &net->node->pub))
        return CV_ERR_INVALID;
    for (l = net->links; l; l = l->next)
        unfinished += !l->handed && !l->gone && !l->failed;
    if (unfinished >= CV_NET_ATTEMPTS || net->n_links >= LINKS_MAX)
        return CV_ERR_LIMIT;
    if (!contact->knocked && !may_knock(net, &contact->node, now))
        return CV_ERR_LIMIT;

    l = calloc(1, sizeof *l);
    if (!l)
        return CV_ERR_NOMEM;
    l->attempt = calloc(1, sizeof *l->attempt);
    if (!l->attempt) {
        free(l);
        return CV_ERR_NOMEM;
    }
    make_room(net, &contact->node);
    l->net = net;
    l->contact = *contact;
    l->begun = now;
    l->connect_at = l->handshake_by = CV_NEVER;
    cv_debug(net->log, "net: attempt, peer=%s role=%s candidates=%u",
             link_name(l, name), contact->knocked ? "joiner" : "sharer",
             contact->peer.n);
    cv_attempt_init(l->attempt, contact, &net->local, net->rng, net->log,
                    on_send, &attempt_events, l, now);
    cv_wipe(l->contact.shared, sizeof l->contact.shared);
    l->next = net->links;
    net->links = l;
    net->n_links++;
    cv_timer_set(net->timer, now);
    return CV_OK;
}

void cv_net_abandon(struct cv_net *net, const uint8_t attempt[8])
{
    struct link *l = find_link(net, attempt);

    if (!l || l->handed)
        return;
    drop(l);
    cv_timer_set(net->timer, cv_loop_now(net->loop));
}

void cv_net_describe(const struct cv_net *net, char *out, size_t len)
{
    cv_gather_describe(&net->gather, out, len);
}
