#include "transport/portmapper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/upnp.h"

#define READS 16 /* packets at a time; the rest may wait a turn */

struct cv_portmapper {
    struct cv_loop *loop;
    struct cv_log *log;
    cv_loop_fn changed;
    void *user;
    struct cv_portmap pm;
    struct cv_timer *timer;
    struct cv_upnp *upnp;
    int fd; /* connected to the gateway, so that nobody else is heard; or -1 */
    struct cv_watch *watch;
    int news_fd; /* announcements; -1: somebody has the port for himself */
    struct cv_watch *news_watch;
    bool closing;
};

static void set_timer(struct cv_portmapper *p)
{
    cv_timer_set(p->timer, cv_portmap_deadline(&p->pm));
}

static void on_timer(void *user)
{
    struct cv_portmapper *p = user;

    cv_portmap_step(&p->pm, cv_loop_now(p->loop));
    set_timer(p);
}

/* ---- the machine's wishes ---- */

static void on_send(void *user, const uint8_t *data, size_t len)
{
    struct cv_portmapper *p = user;

    /* The first error may be the answer to an earlier packet, at a time when
     * the gateway did not listen (ECONNREFUSED). */
    for (unsigned i = 0; p->fd >= 0 && i < 2; i++) {
        if (send(p->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return;
        cv_debug(p->log, "portmap: cannot send to the gateway: %s",
                 strerror(errno));
    }
}

static void on_upnp_found(void *user, bool found)
{
    struct cv_portmapper *p = user;

    cv_portmap_upnp_found(&p->pm, found, cv_loop_now(p->loop));
    set_timer(p);
}

static void on_upnp_mapped(void *user, enum cv_portmap_port port, int err,
                           const struct cv_addr *mapped, uint32_t lifetime,
                           const char *why)
{
    struct cv_portmapper *p = user;

    cv_portmap_upnp_mapped(&p->pm, port, err, mapped, lifetime, why,
                           cv_loop_now(p->loop));
    set_timer(p);
}

static const struct cv_upnp_events upnp_events = {
    .found = on_upnp_found,
    .mapped = on_upnp_mapped,
};

static void on_upnp_find(void *user)
{
    struct cv_portmapper *p = user;

    cv_upnp_free(p->upnp, false);
    p->upnp = NULL;
    if (cv_upnp_new(&p->upnp, p->loop, p->log, &p->pm.gateway, &p->pm.client,
                    &upnp_events, p) != CV_OK)
        cv_warn(p->log, "portmap: UPnP cannot be tried");
}

static void on_upnp_map(void *user, enum cv_portmap_port port,
                        uint16_t internal, uint16_t external, uint32_t lifetime)
{
    struct cv_portmapper *p = user;

    cv_upnp_map(p->upnp, port, internal, external, lifetime);
}

static void on_upnp_unmap(void *user, enum cv_portmap_port port)
{
    struct cv_portmapper *p = user;

    cv_upnp_unmap(p->upnp, port);
}

static void on_changed(void *user)
{
    struct cv_portmapper *p = user;

    if (!p->closing)
        p->changed(p->user);
}

static const struct cv_portmap_events events = {
    .send = on_send,
    .upnp_find = on_upnp_find,
    .upnp_map = on_upnp_map,
    .upnp_unmap = on_upnp_unmap,
    .changed = on_changed,
};

/* ---- sockets ---- */

static void read_all(struct cv_portmapper *p, int fd)
{
    uint8_t buf[CV_PCP_MAX + 1]; /* one more shows what is too long */
    struct sockaddr_storage ss;
    struct cv_addr from;

    for (unsigned i = 0; i < READS; i++) {
        socklen_t ss_len = sizeof ss;
        ssize_t n = recvfrom(fd, buf, sizeof buf, MSG_DONTWAIT,
                             (struct sockaddr *)&ss, &ss_len);

        if (n < 0 && errno == ECONNREFUSED)
            continue;
        if (n < 0)
            break;
        if (cv_addr_from_sockaddr(&from, (struct sockaddr *)&ss) == CV_OK)
            cv_portmap_input(&p->pm, &from, CV_BYTES(buf, (size_t)n),
                             cv_loop_now(p->loop));
    }
    set_timer(p);
}

static void on_readable(void *user, unsigned ready)
{
    struct cv_portmapper *p = user;

    (void)ready;
    read_all(p, p->fd);
}

static void on_news(void *user, unsigned ready)
{
    struct cv_portmapper *p = user;

    (void)ready;
    read_all(p, p->news_fd);
}

static void close_gateway(struct cv_portmapper *p)
{
    cv_watch_free(p->watch);
    p->watch = NULL;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static void open_gateway(struct cv_portmapper *p, const struct cv_addr *gateway,
                         const struct cv_addr *client)
{
    struct cv_addr to = *gateway;
    struct sockaddr_storage ss;
    socklen_t len;

    p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return;
    len = cv_addr_to_sockaddr(client, &ss);
    if (bind(p->fd, (struct sockaddr *)&ss, len) < 0)
        goto fail;
    to.port = CV_PCP_PORT;
    len = cv_addr_to_sockaddr(&to, &ss);
    if (connect(p->fd, (struct sockaddr *)&ss, len) < 0 ||
        cv_watch_new(&p->watch, p->loop, p->fd, CV_WATCH_READ, on_readable,
                     p) != CV_OK)
        goto fail;
    return;
fail:
    cv_debug(p->log, "portmap: no socket to the gateway: %s", strerror(errno));
    close_gateway(p);
}

/* RFC 6887, 14.1; several programs of this machine share the port. */
static void open_news(struct cv_portmapper *p)
{
    const struct cv_addr any = cv_addr_ipv4(0, CV_PCP_NEWS_PORT);
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&any, &ss);
    int one = 1;

    p->news_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->news_fd < 0)
        return;
    (void)setsockopt(p->news_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(p->news_fd, (struct sockaddr *)&ss, len) < 0 ||
        cv_watch_new(&p->news_watch, p->loop, p->news_fd, CV_WATCH_READ,
                     on_news, p) != CV_OK) {
        close(p->news_fd);
        p->news_fd = -1;
    }
}

/* The first gateway that lies in a subnet of ours, where our own address there
 * is not public: then nothing is to be mapped. */
static bool choose_gateway(const struct cv_local *local,
                           struct cv_addr *gateway, struct cv_addr *client)
{
    memset(gateway, 0, sizeof *gateway);
    memset(client, 0, sizeof *client);
    if (local->only_loopback)
        return false;
    for (unsigned g = 0; g < local->n_gateways; g++)
        for (unsigned i = 0; i < local->n; i++) {
            const struct cv_local_net *net = &local->net[i];

            if (net->addr.family != CV_FAMILY_IPV4 ||
                cv_addr_kind(&net->addr) == CV_ADDR_GLOBAL ||
                !cv_addr_in_prefix(&local->gateway[g], &net->addr, net->bits))
                continue;
            *gateway = local->gateway[g];
            *client = net->addr;
            return true;
        }
    return false;
}

void cv_portmapper_network(struct cv_portmapper *p,
                           const struct cv_local *local)
{
    cv_time now = cv_loop_now(p->loop);
    struct cv_addr gateway, client;
    bool any = choose_gateway(local, &gateway, &client);

    if (cv_addr_same_ip(&gateway, &p->pm.gateway) &&
        cv_addr_same_ip(&client, &p->pm.client)) {
        cv_portmap_refresh(&p->pm, now);
    } else {
        close_gateway(p);
        cv_upnp_free(p->upnp, false);
        p->upnp = NULL;
        if (any)
            open_gateway(p, &gateway, &client);
    }
    cv_portmap_want(&p->pm, CV_PORTMAP_UDP, local->port, now);
    cv_portmap_network(&p->pm, &gateway, &client, now);
    set_timer(p);
}

void cv_portmapper_want_tcp(struct cv_portmapper *p, uint16_t port)
{
    cv_portmap_want(&p->pm, CV_PORTMAP_TCP, port, cv_loop_now(p->loop));
    set_timer(p);
}

const struct cv_portmap *cv_portmapper_state(const struct cv_portmapper *p)
{
    return &p->pm;
}

int cv_portmapper_new(struct cv_portmapper **out, struct cv_loop *loop,
                      struct cv_log *log, const struct cv_rng *rng,
                      unsigned ways, cv_loop_fn changed, void *user)
{
    struct cv_portmapper *p = calloc(1, sizeof *p);
    int err;

    if (!p)
        return CV_ERR_NOMEM;
    p->loop = loop;
    p->log = log;
    p->changed = changed;
    p->user = user;
    p->fd = p->news_fd = -1;
    cv_portmap_init(&p->pm, rng, log, ways, &events, p);
    err = cv_timer_new(&p->timer, loop, on_timer, p);
    if (err != CV_OK) {
        free(p);
        return err;
    }
    open_news(p);
    *out = p;
    return CV_OK;
}

void cv_portmapper_free(struct cv_portmapper *p)
{
    if (!p)
        return;
    p->closing = true;
    cv_portmap_close(&p->pm);
    cv_upnp_free(p->upnp, true);
    close_gateway(p);
    cv_watch_free(p->news_watch);
    if (p->news_fd >= 0)
        close(p->news_fd);
    cv_timer_free(p->timer);
    free(p);
}
