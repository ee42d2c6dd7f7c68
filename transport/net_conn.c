#include "transport/net_struct.h"
#include <stdio.h>
#include <string.h>

#define HALF_OPEN_MAX 50 /* more unconfirmed handshakes want a retry token */

/* What was taken filled the queue of a TCP link: QUIC waits before anything is
 * refused, so nothing is lost. */
static bool is_full(const struct cv_net_link *l)
{
    const struct cv_path *best = cv_pathset_best(&l->attempt->paths);

    return best && best->addr.carrier == CV_CARRIER_TCP &&
           cv_tcp_is_full(l->net->tcp, best->addr.channel);
}

/* Whoever has us send to an address sends as much himself. */
static size_t may_double(const struct cv_net_link *l)
{
    if (l->contact.knocked)
        return CV_NET_DOUBLED;
    return l->came < CV_NET_DOUBLED_BACK ? l->came : CV_NET_DOUBLED_BACK;
}

/* Of what a gate carries, the first bytes also go where the peer has just been
 * heard: they are there before that way is proved. */
static void double_early(struct cv_net_link *l, const uint8_t *data, size_t len,
                         size_t segment)
{
    const struct cv_path *best = cv_pathset_best(&l->attempt->paths);
    cv_time now = cv_loop_now(l->net->loop);
    const struct cv_path *q;

    if (l->doubled + len > may_double(l) || !best ||
        !cv_path_is_relay(&best->addr))
        return;
    q = cv_pathset_promising(&l->attempt->paths, now);
    if (!q)
        return;
    l->doubled += len;
    (void)cv_net_send(l->net, &q->addr, 0, data, len, segment);
}

static void on_output(void *user, struct cv_conn *conn, const uint8_t *data,
                      size_t len, size_t segment)
{
    struct cv_net_link *l = user;

    if (cv_pathset_send(&l->attempt->paths, cv_loop_now(l->net->loop), data,
                        len, segment) == CV_ERR_AGAIN ||
        is_full(l))
        l->blocked = true;
    double_early(l, data, len, segment);
    if (l->blocked)
        cv_quic_set_writable(conn, false);
}

void cv_net_unblock(struct cv_net_link *l)
{
    if (!l->blocked || !l->conn)
        return;
    l->blocked = false;
    cv_quic_set_writable(l->conn, true);
    l->dirty = true;
}

static void on_wake(void *user, struct cv_conn *conn)
{
    struct cv_net_link *l = user;

    (void)conn;
    l->dirty = true;
    if (l->net->depth == 0)
        cv_timer_set(l->net->timer, 0);
}

/* The older connection with the same node goes; or, when both sides began at
 * once, the one that does not stand.  False: that is `l` itself. */
static bool replace_others(struct cv_net_link *l)
{
    char name[9];

    for (struct cv_net_link *o = l->net->links; o; o = o->next)
        if (cv_net_are_rivals(l, o) && o->handed && cv_net_stands(o, l)) {
            cv_debug(l->net->log, "net: attempt yields, peer=%s",
                     cv_net_link_name(l, name));
            return false;
        }
    return true;
}

static void close_others(struct cv_net_link *l)
{
    for (struct cv_net_link *o = l->net->links; o; o = o->next) {
        if (o == l || o->gone || o->failed || !cv_net_same_end(o, l))
            continue;
        if (o->handed) {
            if (o->begun <= l->begun || cv_net_are_rivals(l, o))
                cv_conn_close(o->conn, CV_NET_REPLACED,
                              "replaced by a newer connection");
        } else if (o->begun <= l->begun ||
                   (cv_net_are_rivals(l, o) && cv_net_stands(l, o))) {
            cv_net_drop(o);
        }
    }
}

static void on_confirmed(void *user, struct cv_conn *conn)
{
    struct cv_net_link *l = user;
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
        cv_conn_close(conn, CV_NET_REPLACED, "replaced");
        return;
    }
    cv_info(net->log, "net: connected, peer=%s path=%s role=%s",
            cv_net_link_name(l, name), cv_path_kind_name(best ? best->kind : 0),
            l->contact.knocked ? "client" : "server");
    cv_net_mark(l, CV_MARK_CONFIRMED, NULL, best);
    l->handed = true;
    close_others(l);
    net->events->conn(net->user, conn);
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason, bool local)
{
    struct cv_net_link *l = user;
    char text[CV_ATTEMPT_REASON];

    (void)conn;
    (void)local;
    if (l->handed || l->gone || (l->confirmed && code == CV_NET_REPLACED))
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
    cv_net_fail(l, text);
}

static void on_dead(void *user, struct cv_conn *conn)
{
    struct cv_net_link *l = user;

    (void)conn;
    if (!l->failed)
        l->gone = true;
}

static void on_cid_add(void *user, struct cv_conn *conn,
                       const struct cv_quic_cid *cid)
{
    struct cv_net_link *l = user;

    (void)conn;
    if (cv_routes_add(&l->net->routes, cid, l) != CV_OK)
        cv_warn(l->net->log, "net: routing table is full");
}

static void on_cid_remove(void *user, struct cv_conn *conn,
                          const struct cv_quic_cid *cid)
{
    struct cv_net_link *l = user;

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

static struct cv_quic_config quic_config(struct cv_net_link *l)
{
    const struct cv_path *best = cv_pathset_best(&l->attempt->paths);
    struct cv_quic_config c = {.peer = l->contact.node,
                               .initial_rtt = best ? clamp_rtt(best->srtt) : 0,
                               .held = true,
                               .log = l->net->log,
                               .owner = &owner,
                               .user = l};

    memcpy(c.attempt, l->contact.attempt, sizeof c.attempt);
    return c;
}

void cv_net_start_handshake(struct cv_net_link *l, cv_time now)
{
    struct cv_quic_config config = quic_config(l);
    int err;

    cv_net_mark(l, CV_MARK_HANDSHAKE, NULL, NULL);
    l->connect_at = CV_NEVER;
    l->handshake_by = CV_NEVER; /* QUIC has its own */
    err = cv_quic_connect(&l->conn, l->net->quic, &config, now);
    if (err != CV_OK) {
        cv_net_fail(l, cv_strerror(err));
        return;
    }
    cv_net_path_changed(l, cv_pathset_best(&l->attempt->paths));
}

static unsigned half_open(const struct cv_net *net)
{
    unsigned n = 0;

    for (struct cv_net_link *l = net->links; l; l = l->next)
        n += l->conn != NULL && !l->confirmed;
    return n;
}

int cv_net_accept(struct cv_net_link *l, const struct cv_path_addr *from,
                  const uint8_t *data, size_t len, cv_time now)
{
    struct cv_quic_config config = quic_config(l);
    int err =
        cv_quic_accept(&l->conn, l->net->quic, &config, data, len,
                       &from->remote, half_open(l->net) > HALF_OPEN_MAX, now);

    if (err != CV_OK)
        return err;
    l->handshake_by = CV_NEVER;
    cv_net_path_changed(l, cv_pathset_best(&l->attempt->paths));
    return CV_OK;
}

void cv_net_flush(struct cv_net_link *l, bool due, cv_time now)
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
