/* TCP below a node: links between peers are a carrier like UDP, begun by the
 * attempts; connections to STUN servers tell how our port is mapped. */
#include "transport/net_struct.h"

/* ---- attempts connect --------------------------------------------------- */

static int on_connect(void *user, const struct cv_addr *to, unsigned ttl,
                      uint32_t *channel)
{
    struct cv_net_link *l = user;

    if (!l->net->tcp)
        return CV_ERR_NONET;
    if (!l->confirmed)
        l->sent++;
    return cv_tcp_connect(l->net->tcp, CV_TCP_PEER, to, ttl, channel);
}

/* Is it a path of somebody else, too (hand_over() in net_link.c)? */
static bool is_shared(const struct cv_net_link *l, uint32_t channel)
{
    for (const struct cv_net_link *o = l->net->links; o; o = o->next) {
        const struct cv_pathset *ps = &o->attempt->paths;

        for (unsigned i = 0; o != l && !o->gone && i < CV_PATHS_MAX; i++)
            if (ps->path[i].used &&
                ps->path[i].addr.carrier == CV_CARRIER_TCP &&
                ps->path[i].addr.channel == channel)
                return true;
    }
    return false;
}

static void on_close(void *user, uint32_t channel)
{
    struct cv_net_link *l = user;

    if (l->net->tcp && !is_shared(l, channel))
        cv_tcp_close(l->net->tcp, channel);
}

static bool on_met(void *user, uint32_t channel)
{
    struct cv_net_link *l = user;

    return l->net->tcp && cv_tcp_is_met(l->net->tcp, channel);
}

const struct cv_tcpplan_ops cv_net_tcpplan_ops = {
    .connect = on_connect,
    .is_met = on_met,
    .close = on_close,
};

/* ---- how our port is mapped --------------------------------------------- */

static int on_map_connect(void *user, const struct cv_addr *to,
                          uint32_t *channel)
{
    struct cv_net *net = user;

    return cv_tcp_connect(net->tcp, CV_TCP_STUN, to, 0, channel);
}

static void on_map_close(void *user, uint32_t channel)
{
    struct cv_net *net = user;

    cv_tcp_close(net->tcp, channel);
}

static void on_map_send(void *user, uint32_t channel, const uint8_t *data,
                        size_t len)
{
    struct cv_net *net = user;

    /* What is lost with its connection is asked again over the next. */
    (void)cv_tcp_send(net->tcp, channel, data, len, len);
}

static void on_map_changed(void *user)
{
    struct cv_net *net = user;
    struct cv_tcpmap_verdict v4 =
        cv_tcpmap_verdict(&net->tcpmap, CV_FAMILY_IPV4);
    struct cv_tcpmap_verdict v6 =
        cv_tcpmap_verdict(&net->tcpmap, CV_FAMILY_IPV6);

    net->local.tcp_mapping = v4.mapping;
    cv_gather_tcp(&net->gather, &v4, &v6, cv_loop_now(net->loop));
}

static const struct cv_tcpmap_ops map_ops = {
    .connect = on_map_connect,
    .close = on_map_close,
    .send = on_map_send,
    .changed = on_map_changed,
};

/* ---- what comes --------------------------------------------------------- */

static void on_packet(void *user, enum cv_tcp_kind kind,
                      const struct cv_path_addr *from, const uint8_t *data,
                      size_t len)
{
    struct cv_net *net = user;
    struct cv_stun m;

    if (kind == CV_TCP_PEER) {
        cv_net_input(net, from, data, len, len);
        return;
    }
    if (net->freed || cv_stun_parse(&m, data, len) != CV_OK)
        return;
    net->depth++;
    cv_tcpmap_input(&net->tcpmap, from->channel, &m, cv_loop_now(net->loop));
    net->depth--;
}

static void on_batch(void *user)
{
    cv_net_service(user);
}

static void on_up(void *user, const struct cv_path_addr *link)
{
    struct cv_net *net = user;
    cv_time now = cv_loop_now(net->loop);

    if (net->freed)
        return;
    net->depth++;
    cv_tcpmap_up(&net->tcpmap, link->channel, now);
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed)
            cv_attempt_link_up(l->attempt, link, now);
    net->depth--;
    cv_net_service(net);
}

static void on_down(void *user, const struct cv_path_addr *link, int err)
{
    struct cv_net *net = user;
    cv_time now = cv_loop_now(net->loop);

    if (net->freed)
        return;
    net->depth++;
    cv_tcpmap_down(&net->tcpmap, link->channel, now);
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed)
            cv_attempt_link_down(l->attempt, link, err, now);
    net->depth--;
    cv_net_service(net);
}

static void on_writable(void *user, uint32_t channel)
{
    struct cv_net *net = user;

    for (struct cv_net_link *l = net->links; l; l = l->next) {
        const struct cv_path *best = cv_pathset_best(&l->attempt->paths);

        if (best && best->addr.carrier == CV_CARRIER_TCP &&
            best->addr.channel == channel)
            cv_net_unblock(l);
    }
    cv_net_service(net);
}

static const struct cv_tcp_events tcp_events = {
    .packet = on_packet,
    .batch = on_batch,
    .up = on_up,
    .down = on_down,
    .writable = on_writable,
};

void cv_net_tcp_open(struct cv_net *net)
{
    uint16_t port = net->local.port;

    cv_tcpmap_init(&net->tcpmap, net->rng, net->log, &map_ops, net);
    if (cv_tcp_new(&net->tcp, net->loop, net->log, port, port, &tcp_events,
                   net) != CV_OK) {
        cv_info(net->log, "net: no TCP port, only UDP will be tried");
        net->tcp = NULL;
        return;
    }
    net->local.tcp_port = cv_tcp_port(net->tcp, CV_FAMILY_IPV4);
    net->local.tcp_port6 = cv_tcp_port(net->tcp, CV_FAMILY_IPV6);
}
