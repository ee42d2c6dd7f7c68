#include "transport/net_struct.h"
#include <string.h>

#define RESETS_MAX 10 /* stateless ones a second */

/* The attempt that an Initial belongs to: a client's first destination id
 * begins with the attempt's; after a Retry only the address is left.  Either
 * way it must come from where an authenticated check came from. */
static struct cv_net_link *expects_initial(const struct cv_net *net,
                                           const struct cv_quic_cid *dcid,
                                           const struct cv_path_addr *from)
{
    struct cv_net_link *by_address = NULL;

    for (struct cv_net_link *l = net->links; l; l = l->next) {
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
    (void)cv_net_send(net, from, 0, out, n, n);
}

/* The link that a packet of nobody's begins, or NULL. */
static struct cv_net_link *first_packet(struct cv_net *net,
                                        const struct cv_path_addr *from,
                                        const struct cv_quic_cid *dcid,
                                        const uint8_t *data, size_t len,
                                        cv_time now)
{
    struct cv_net_link *l;
    uint8_t retry[512];
    size_t n;
    int err;

    if (!cv_quic_packet_is_initial(data, len)) {
        nobodys_packet(net, from, data, len, now);
        return NULL;
    }
    l = expects_initial(net, dcid, from);
    if (!l) {
        cv_debug(net->log, "net: Initial from nobody we expect");
        net->junk++;
        return NULL;
    }
    err = cv_net_accept(l, from, data, len, now);
    if (err == CV_ERR_AGAIN) {
        n = cv_quic_write_retry(net->quic, retry, sizeof retry, data, len,
                                &from->remote, now);
        if (n > 0)
            (void)cv_net_send(net, from, 0, retry, n, n);
        return NULL;
    }
    if (err != CV_OK) {
        cv_debug(net->log, "net: Initial not accepted: %s", cv_strerror(err));
        net->junk++;
        return NULL;
    }
    return l;
}

/* One packet of QUIC, and those behind it that are of the same connection.
 * Returns how many bytes that was. */
static size_t quic_packets(struct cv_net *net, const struct cv_path_addr *from,
                           const uint8_t *data, size_t len, size_t segment,
                           cv_time now)
{
    size_t first = segment < len ? segment : len, run;
    struct cv_quic_cid dcid;
    struct cv_net_link *l;

    if (!cv_quic_packet_dcid(data, first, &dcid)) {
        net->junk++;
        return first;
    }
    l = cv_routes_find(&net->routes, &dcid);
    if (!l) {
        l = first_packet(net, from, &dcid, data, first, now);
        run = first;
    } else {
        run = cv_quic_packet_run(data, len, first);
    }
    if (!l || l->gone || !l->conn)
        return run;
    l->came = run < CV_NET_DOUBLED - l->came ? l->came + run : CV_NET_DOUBLED;
    cv_pathset_packets(&l->attempt->paths, from,
                       (unsigned)((run + first - 1) / first), run, now);
    l->dirty = true;
    (void)cv_quic_input(l->conn, data, run, first, now);
    return run;
}

/* ---- STUN --------------------------------------------------------------- */

/* False: it is not genuine, or not this attempt's. */
static bool take_check(struct cv_net_link *l, const struct cv_path_addr *from,
                       const struct cv_stun *m, cv_time now)
{
    if (cv_attempt_input(l->attempt, from, m, now) != CV_OK)
        return false;
    if (from->carrier == CV_CARRIER_TCP)
        cv_tcp_keep(l->net->tcp, from->channel);
    return true;
}

void cv_net_early(struct cv_net_link *l, cv_time now)
{
    struct cv_net *net = l->net;
    struct cv_early_check c;
    struct cv_stun m;

    while (cv_early_take(&net->early, l->contact.attempt, now, &c))
        if (cv_stun_parse(&m, c.data, c.len) != CV_OK ||
            !take_check(l, &c.from, &m, now))
            net->junk++;
}

static void stun_packet(struct cv_net *net, const struct cv_path_addr *from,
                        const uint8_t *data, size_t len, cv_time now)
{
    uint8_t out[CV_STUN_MAX];
    struct cv_writer w;
    struct cv_stun m;
    struct cv_net_link *l;

    if (cv_stun_parse(&m, data, len) != CV_OK) {
        net->junk++;
        return;
    }
    if (m.type == CV_STUN_REQUEST && m.username.len == 8) {
        l = cv_net_find_link(net, m.username.data);
        if (!l && !cv_path_is_relay(from) &&
            cv_early_hold(&net->early, from, &m, now))
            return;
        if (!l || !take_check(l, from, &m, now))
            net->junk++;
        return;
    }
    if (m.type == CV_STUN_REQUEST) {
        cv_writer_init(&w, out, sizeof out);
        if (net->answer_stun && m.mac.len == 0 &&
            from->carrier == CV_CARRIER_UDP &&
            cv_stun_limit_allow(&net->limit, &from->remote, now) &&
            cv_stun_answer(&m, &from->remote, NULL, NULL, len, &w) == CV_OK)
            (void)cv_net_send(net, from, 0, out, w.len, w.len);
        return;
    }
    if (cv_gather_input(&net->gather, from, &m, now))
        return;
    for (l = net->links; l; l = l->next)
        if (!l->gone && !l->failed && take_check(l, from, &m, now))
            return;
    net->junk++;
}

/* ---- the socket --------------------------------------------------------- */

/* A packet of any kind but QUIC. */
static void other_packet(struct cv_net *net, const struct cv_path_addr *via,
                         const uint8_t *data, size_t len, cv_time now)
{
    if (data[0] <= 3)
        stun_packet(net, via, data, len, now);
    else if (data[0] >= CV_GATE_UDP_BIND && data[0] <= CV_GATE_UDP_ANSWER &&
             via->carrier == CV_CARRIER_UDP && via->socket == 0)
        cv_gates_udp_input(net->gates, &via->remote, data, len);
    else
        net->junk++;
}

void cv_net_input(struct cv_net *net, const struct cv_path_addr *via,
                  const uint8_t *data, size_t len, size_t segment)
{
    cv_time now = cv_loop_now(net->loop);
    size_t n;

    if (net->freed)
        return;
    net->depth++;
    for (; len > 0 && !net->freed; data += n, len -= n) {
        n = segment < len ? segment : len;
        /* RFC 9443 */
        if (data[0] >= 64)
            n = quic_packets(net, via, data, len, n, now);
        else
            other_packet(net, via, data, n, now);
    }
    net->depth--;
}

int cv_net_send(struct cv_net *net, const struct cv_path_addr *to, unsigned ttl,
                const uint8_t *data, size_t len, size_t segment)
{
    switch ((enum cv_carrier)to->carrier) {
    case CV_CARRIER_UDP:
        if (to->socket > 0)
            return cv_sockets_send(&net->sockets, to->socket, &to->remote, ttl,
                                   data, len, segment);
        return cv_udp_send(net->udp, &to->remote, &to->local, ttl, data, len,
                           segment);
    case CV_CARRIER_TCP:
        return net->tcp ? cv_tcp_send(net->tcp, to->channel, data, len, segment)
                        : CV_ERR_NONET;
    case CV_CARRIER_GATE_UDP:
    case CV_CARRIER_GATE_TLS:
    case CV_CARRIER_GATE_WS:
        return cv_gates_send(net->gates, to, data, len, segment);
    }
    return CV_ERR_UNSUPPORTED;
}

static void on_train(void *user, const struct cv_addr *from,
                     const struct cv_addr *local, uint8_t *data, size_t len,
                     size_t segment)
{
    struct cv_path_addr via = {
        .carrier = CV_CARRIER_UDP, .remote = *from, .local = *local};

    cv_net_input(user, &via, data, len, segment);
}

static void on_socket_packet(void *user, uint16_t socket,
                             const struct cv_addr *from,
                             const struct cv_addr *local, const uint8_t *data,
                             size_t len)
{
    struct cv_path_addr via = {.carrier = CV_CARRIER_UDP,
                               .socket = socket,
                               .remote = *from,
                               .local = *local};

    cv_net_input(user, &via, data, len, len);
}

static void on_batch(void *user)
{
    cv_net_service(user);
}

static void on_writable(void *user)
{
    struct cv_net *net = user;

    for (struct cv_net_link *l = net->links; l; l = l->next)
        cv_net_unblock(l);
    cv_net_service(net);
}

const struct cv_udp_events cv_net_udp_events = {
    .train = on_train,
    .batch = on_batch,
    .writable = on_writable,
};

const struct cv_sockets_events cv_net_sockets_events = {
    .packet = on_socket_packet,
    .batch = on_batch,
    .writable = on_writable,
};
