/* The timers of a node are one: net->timer stands at the earliest deadline of
 * gathering, of every attempt, and of every connection; cv_net_service() does
 * all that is due and sets it again. */
#include "transport/net_struct.h"
#include <stdlib.h>
#include <string.h>

#define RESOLVE_AGAIN (30 * CV_SECOND)

static void destroy(struct cv_net *net);

static void resolve_servers(struct cv_net *net);

cv_time cv_net_life(const struct cv_net *net)
{
    return net->nat_timeout > 0 ? net->nat_timeout
                                : cv_natlife_hoped(&net->gather.life);
}

/* How long mappings live was learnt, or is not known any more. */
static void note_life(struct cv_net *net)
{
    cv_time life = cv_net_life(net);

    if (life == net->local.udp_life)
        return;
    net->local.udp_life = life;
    cv_gates_life(net->gates, life);
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed)
            cv_pathset_life_changed(&l->attempt->paths);
}

void cv_net_service(struct cv_net *net)
{
    cv_time now, next;

    if (net->depth > 0)
        return; /* whoever is further out does it */
    net->depth++;
    now = cv_loop_now(net->loop);
    for (unsigned round = 0; round < 8 && !net->freed; round++) {
        bool busy = false;

        cv_tcpmap_step(&net->tcpmap, now);
        cv_gather_step(&net->gather, now);
        if (net->freed)
            break;
        if (net->resolve_at <= now)
            resolve_servers(net);
        for (struct cv_net_link *l = net->links; l && !net->freed;
             l = l->next) {
            if (l->gone || l->failed || cv_net_link_deadline(l) > now)
                continue;
            cv_net_link_step(l, now);
            busy = true;
        }
        if (!net->freed)
            cv_net_reap(net);
        if (!busy)
            break;
        now = cv_loop_now(net->loop);
    }
    net->depth--;
    if (net->freed) {
        destroy(net);
        return;
    }
    note_life(net);
    net->local.reflexive = net->gather.local.reflexive;
    net->local.nat = cv_gather_own(&net->gather)->nat;
    net->local.udp_silent = cv_gather_udp_silent(&net->gather);
    next = cv_time_min(cv_gather_deadline(&net->gather), net->resolve_at);
    next = cv_time_min(next, cv_tcpmap_deadline(&net->tcpmap));
    for (struct cv_net_link *l = net->links; l; l = l->next)
        next = cv_time_min(next, cv_net_link_deadline(l));
    cv_timer_set(net->timer, next);
}

static void on_timer(void *user)
{
    cv_net_service(user);
}

/* ---- own addresses ------------------------------------------------------ */

static int on_gather_send(void *user, const struct cv_path_addr *to,
                          unsigned ttl, const uint8_t *data, size_t len,
                          size_t segment)
{
    struct cv_net *net = user;

    return cv_net_send(net, to, ttl, data, len, segment);
}

static int on_gather_open(void *user)
{
    struct cv_net *net = user;

    return cv_sockets_open(&net->sockets);
}

static void on_gather_close(void *user, uint16_t socket)
{
    struct cv_net *net = user;

    cv_sockets_close(&net->sockets, socket);
    /* If a packet of its own was the reason, no end of a batch follows. */
    cv_timer_set(net->timer, cv_loop_now(net->loop));
}

static void on_candidates(void *user, const struct cv_candidates *own)
{
    struct cv_net *net = user;

    net->events->candidates(net->user, own);
}

static void on_mapping(void *user)
{
    struct cv_net *net = user;
    const struct cv_portmap *pm = cv_portmapper_state(net->portmapper);

    cv_gather_mapped(&net->gather, cv_portmap_public(pm, CV_PORTMAP_UDP),
                     cv_portmap_public(pm, CV_PORTMAP_TCP),
                     cv_loop_now(net->loop));
    cv_timer_set(net->timer, 0);
}

static void on_resolved(void *user, int err, const struct cv_addr *addrs,
                        unsigned n);

/* A route or a link changed, our addresses did not: see whether everything
 * still works. */
static void recheck(struct cv_net *net, cv_time now)
{
    cv_gather_refresh(&net->gather, now);
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed)
            cv_pathset_recheck(&l->attempt->paths, now);
}

static void start_anew(struct cv_net *net, cv_time now)
{
    cv_gates_recheck(net->gates);
    cv_gather_network_changed(&net->gather, &net->local, now);
    if (net->portmapper)
        cv_portmapper_network(net->portmapper, &net->local);
    cv_tcpmap_network_changed(&net->tcpmap, now);
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (!l->gone && !l->failed)
            cv_attempt_network_changed(l->attempt, now);
    net->resolve_at = now;
    if (net->events->network_changed)
        net->events->network_changed(net->user);
}

static void on_netif(void *user)
{
    struct cv_net *net = user;
    struct cv_local now_local = net->local;
    bool slept = cv_netif_watch_slept(net->watch);
    cv_time now = cv_loop_now(net->loop);

    if (cv_netif_read(&now_local) != CV_OK)
        return;
    net->depth++;
    if (slept || !cv_local_same_nets(&now_local, &net->local)) {
        cv_debug(net->log, "net: %s, addresses=%u",
                 slept ? "awake again" : "addresses changed", now_local.n);
        net->local = now_local;
        start_anew(net, now);
    } else {
        recheck(net, now);
    }
    net->depth--;
    cv_net_service(net);
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
        struct cv_net_server *s = &net->server[i];
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
    struct cv_net_server *s = &net->server[r->index];
    cv_time now = cv_loop_now(net->loop);

    s->resolve = NULL;
    if (err != CV_OK || n == 0) {
        cv_debug(net->log, "net: STUN server %u was not resolved: %s", r->index,
                 cv_strerror(err));
        net->resolve_at = cv_time_min(net->resolve_at, now + RESOLVE_AGAIN);
    } else {
        s->known = true;
        cv_gather_server(&net->gather, r->index, addrs, n, now);
        if (net->tcp)
            cv_tcpmap_server(&net->tcpmap, r->index, addrs, n, now);
    }
    free(r);
    cv_net_service(net);
}

/* ---- the interface ------------------------------------------------------ */

int cv_net_birthday_parse(enum cv_net_birthday *out, const char *text)
{
    static const char *const name[] = {"on", "gentle", "off"};

    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, name[i]) == 0) {
            *out = (enum cv_net_birthday)i;
            return CV_OK;
        }
    return CV_ERR_INVALID;
}

static int read_servers(struct cv_net *net, const struct cv_net_config *config)
{
    for (unsigned i = 0; i < config->n_stun && i < CV_NET_STUN_SERVERS; i++) {
        struct cv_net_server *s = &net->server[net->n_servers];

        if (cv_host_port_parse(config->stun[i], CV_STUN_PORT, s->host,
                               &s->port) != CV_OK)
            return CV_ERR_FORMAT;
        net->n_servers++;
    }
    return CV_OK;
}

static int read_interfaces(struct cv_net *net)
{
    net->local.port = cv_udp_port(net->udp);
    net->local.ipv4 = cv_udp_has(net->udp, CV_FAMILY_IPV4);
    net->local.ipv6 = cv_udp_has(net->udp, CV_FAMILY_IPV6);
    return cv_netif_read(&net->local);
}

static void ask_gateway(struct cv_net *net)
{
    if (cv_portmapper_new(&net->portmapper, net->loop, net->log, net->rng,
                          CV_PORTMAP_ALL, on_mapping, net) != CV_OK)
        return;
    if (net->tcp)
        cv_portmapper_want_tcp(net->portmapper, net->local.tcp_port);
    cv_portmapper_network(net->portmapper, &net->local);
}

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
    net->retry = config->retry;
    net->nat_timeout = config->nat_timeout;
    net->birthday = config->birthday;
    net->events = events;
    net->user = user;
    cv_bucket_init(&net->rescues,
                   CV_NET_RESCUES * CV_BIRTHDAY_GUESSES /
                       (CV_NET_RESCUE_TIME / CV_SECOND),
                   CV_NET_RESCUES * CV_BIRTHDAY_GUESSES);
    cv_routes_init(&net->routes, net->rng);
    cv_sockets_init(&net->sockets, net->loop, net->log, &cv_net_sockets_events,
                    net);
    err = read_servers(net, config);
    if (err != CV_OK)
        goto fail;
    err = cv_udp_new(&net->udp, net->loop, net->log, config->port,
                     &cv_net_udp_events, net);
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
    err = read_interfaces(net);
    if (err != CV_OK)
        goto fail;
    cv_net_tcp_open(net);
    now = cv_loop_now(net->loop);
    cv_gather_init(&net->gather, net->rng, net->log, &net->local,
                   net->n_servers, on_gather_send, on_candidates, net, now);
    cv_gather_sockets(&net->gather, on_gather_open, on_gather_close);
    if (net->nat_timeout == 0)
        cv_gather_want_life(&net->gather);
    err = cv_net_gates_open(net, config);
    if (err != CV_OK)
        goto fail;
    net->resolve_at = now;
    cv_timer_set(net->timer, now);
    if (config->port_mapping)
        ask_gateway(net);
    *out = net;
    return CV_OK;
fail:
    destroy(net);
    return err;
}

static void destroy(struct cv_net *net)
{
    while (net->links) {
        struct cv_net_link *l = net->links;

        net->links = l->next;
        cv_net_link_free(l);
    }
    cv_gates_free(net->gates);
    for (unsigned i = 0; i < net->n_servers; i++)
        cv_resolve_cancel(net->server[i].resolve);
    cv_portmapper_free(net->portmapper);
    cv_netif_watch_free(net->watch);
    cv_quic_ctx_free(net->quic);
    cv_timer_free(net->timer);
    cv_sockets_fini(&net->sockets);
    cv_udp_free(net->udp);
    cv_tcp_free(net->tcp);
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
    for (struct cv_net_link *l = net->links; l; l = l->next)
        if (l->conn && !l->gone) {
            cv_conn_close(l->conn, CV_NET_LEAVING, "leaving");
            (void)cv_quic_flush(l->conn, now);
        }
    net->depth--;
    if (net->depth == 0)
        destroy(net);
}

void cv_net_candidates(const struct cv_net *net, struct cv_candidates *out)
{
    *out = *cv_gather_own(&net->gather);
    cv_net_gate_refs(net, &out->gates);
}

bool cv_net_settled(const struct cv_net *net)
{
    /* `tell_at`: what was learnt last has been told. */
    return cv_gather_settled(&net->gather) && cv_tcpmap_settled(&net->tcpmap) &&
           net->gather.told && net->gather.tell_at == CV_NEVER &&
           (!net->portmapper ||
            cv_portmap_settled(cv_portmapper_state(net->portmapper)));
}

uint16_t cv_net_port(const struct cv_net *net)
{
    return cv_udp_port(net->udp);
}

void cv_net_describe(const struct cv_net *net, char *out, size_t len)
{
    size_t n;

    cv_gather_describe(&net->gather, out, len);
    n = strlen(out);
    if (!net->portmapper || len - n < 3)
        return;
    memcpy(out + n, "; ", 3);
    cv_portmap_describe(cv_portmapper_state(net->portmapper), out + n + 2,
                        len - n - 2);
}

unsigned cv_net_gates(const struct cv_net *net, struct cv_gates_info *out,
                      unsigned max)
{
    return cv_gates_list(net->gates, out, max);
}
