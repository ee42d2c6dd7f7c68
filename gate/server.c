#include "gate/server.h"
#include "gate/conn.h"
#include "gate/listen.h"
#include "gate/metrics.h"
#include "gate/train.h"
#include "transport/stunserver.h"
#include "transport/udp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK          CV_SECOND
#define DATAGRAM_MAX  2048          /* longer ones are nobody's */
#define PAGES_WAITING (1024 * 1024) /* bytes of metrics on their way */
#define BIND_TRIES    16            /* for a port that is free twice */

struct socket {
    struct cv_gate_server *server;
    struct cv_udp *udp;
    struct cv_addr at; /* what it was bound to */
};

struct cv_gate_server {
    struct cv_gate_server_config config;
    struct cv_gate_core *core;
    struct cv_gate_conns conns, pages;
    struct cv_tls_ctx *tls;
    struct cv_gate_listen *listen[CV_GATE_BINDS], *proxied[CV_GATE_BINDS];
    struct cv_gate_listen *metrics;
    struct socket udp[CV_GATE_BINDS];
    unsigned n_udp;
    struct cv_stun_limit stun_limit;
    struct cv_timer *tick, *drain;
    struct cv_gate_train train;
    cv_time started;
    cv_time now; /* of the batch of packets that is being read; 0: none */
    cv_loop_fn drained;
    void *drained_user;
};

/* ---- out of the core ---------------------------------------------------- */

static int on_send(void *user, void *link, const uint8_t *data, size_t len)
{
    (void)user;
    return cv_gate_conn_send(link, data, len);
}

static void on_close(void *user, void *link)
{
    (void)user;
    cv_gate_conn_close(link);
}

/* Packets to any address of a family leave by the first socket that has it. */
static struct cv_udp *udp_for(const struct cv_gate_server *s,
                              const struct cv_addr *to)
{
    for (unsigned i = 0; i < s->n_udp; i++)
        if (cv_udp_has(s->udp[i].udp, (enum cv_family)to->family))
            return s->udp[i].udp;
    return NULL;
}

static void on_udp(void *user, const struct cv_addr *to, const uint8_t *data,
                   size_t len)
{
    struct cv_gate_server *s = user;
    struct cv_udp *udp = udp_for(s, to);

    if (!udp)
        return;
    cv_gate_train_leave(&s->train); /* in order */
    (void)cv_udp_send(udp, to, NULL, 0, data, len, len);
}

static const struct cv_gate_out core_out = {on_send, on_close, on_udp};

/* ---- UDP ---------------------------------------------------------------- */

static void answer_stun(struct socket *sock, const struct cv_addr *from,
                        const struct cv_addr *local, const uint8_t *data,
                        size_t len)
{
    struct cv_gate_server *s = sock->server;
    uint8_t out[CV_STUN_MAX];
    struct cv_writer w;
    struct cv_stun m;

    cv_writer_init(&w, out, sizeof out);
    if (s->config.stun && cv_stun_parse(&m, data, len) == CV_OK &&
        m.type == CV_STUN_REQUEST && m.mac.len == 0 &&
        cv_stun_limit_allow(&s->stun_limit, from,
                            cv_loop_now(s->config.loop)) &&
        cv_stun_answer(&m, from, NULL, NULL, len, &w) == CV_OK)
        (void)cv_udp_send(sock->udp, from, local, 0, out, w.len, w.len);
}

static void on_train(void *user, const struct cv_addr *from,
                     const struct cv_addr *local, uint8_t *data, size_t len,
                     size_t segment)
{
    struct socket *sock = user;
    struct cv_gate_server *s = sock->server;
    const struct cv_addr *to;
    struct cv_udp *udp;
    size_t n;

    if (s->now == 0)
        s->now = cv_loop_now(s->config.loop);
    for (; len > 0; data += n, len -= n) {
        n = segment < len ? segment : len;
        if (n > DATAGRAM_MAX)
            continue;
        if (data[0] <= 3) {
            answer_stun(sock, from, local, data, n);
            continue;
        }
        n = cv_gate_udp_input(s->core, from, data, len, n, s->now, &to);
        if (!to)
            continue;
        udp = to->family == from->family ? sock->udp : udp_for(s, to);
        if (udp)
            cv_gate_train_add(&s->train, udp, to, data, n,
                              segment < n ? segment : n);
    }
}

static void on_batch(void *user)
{
    struct socket *sock = user;

    sock->server->now = 0;
    cv_gate_train_leave(&sock->server->train);
    cv_gate_conns_flush(&sock->server->conns);
}

static const struct cv_udp_events udp_events = {
    .train = on_train,
    .batch = on_batch,
};

/* ---- TCP ---------------------------------------------------------------- */

static void accept_as(struct cv_gate_server *s, int fd,
                      const struct cv_addr *from,
                      enum cv_gate_carriage carriage)
{
    cv_time now = cv_loop_now(s->config.loop);

    /* Who comes through a proxy is known when it has asked. */
    if (s->conns.n_hello >= s->config.core.limits.handshakes ||
        (carriage == CV_GATE_TLS &&
         !cv_gate_link_allowed(s->core, from, now))) {
        close(fd);
        return;
    }
    cv_gate_conn_new(&s->conns, fd, from, carriage);
}

static void on_accept_tls(void *user, int fd, const struct cv_addr *from)
{
    accept_as(user, fd, from, CV_GATE_TLS);
}

static void on_accept_proxied(void *user, int fd, const struct cv_addr *from)
{
    accept_as(user, fd, from, CV_GATE_PLAIN);
}

static void on_accept_metrics(void *user, int fd, const struct cv_addr *from)
{
    struct cv_gate_server *s = user;

    if (s->pages.n < 16)
        cv_gate_conn_new(&s->pages, fd, from, CV_GATE_PLAIN);
    else
        close(fd);
}

/* ---- pages -------------------------------------------------------------- */

static char *on_page(void *user, const char *path)
{
    struct cv_gate_server *s = user;
    cv_time up = cv_loop_now(s->config.loop) - s->started;

    return cv_gate_page(s->core, path, up / CV_SECOND, s->drained != NULL);
}

static char *on_public_page(void *user, const char *path)
{
    (void)user;
    return strcmp(path, "/") == 0 ? cv_gate_front_page() : NULL;
}

/* ---- time --------------------------------------------------------------- */

static void finish_drain(struct cv_gate_server *s)
{
    cv_loop_fn done = s->drained;

    s->drained = NULL;
    cv_timer_set(s->drain, CV_NEVER);
    if (done)
        done(s->drained_user); /* may free the server */
}

static void on_drain_over(void *user)
{
    finish_drain(user);
}

static void on_tick(void *user)
{
    struct cv_gate_server *s = user;
    cv_time now = cv_loop_now(s->config.loop);

    cv_gate_core_step(s->core, now, cv_unix_now());
    cv_gate_conns_sweep(&s->conns);
    cv_gate_conns_sweep(&s->pages);
    cv_gate_conns_flush(&s->conns);
    cv_timer_set(s->tick, now + TICK);
    if (s->drained && cv_gate_core_links(s->core) == 0)
        finish_drain(s);
}

void cv_gate_server_drain(struct cv_gate_server *s, uint32_t ms,
                          cv_loop_fn done, void *user)
{
    s->drained = done;
    s->drained_user = user;
    cv_gate_core_drain(s->core, ms);
    cv_gate_conns_flush(&s->conns);
    cv_timer_set(s->drain, cv_loop_now(s->config.loop) + ms * CV_MILLISECOND);
}

/* ---- life --------------------------------------------------------------- */

static int listen_on(struct cv_gate_server *s, struct cv_gate_listen **out,
                     const struct cv_addr *at, cv_gate_accept_fn accepted,
                     char *why, size_t why_len)
{
    char text[CV_ADDR_TEXT];
    int err = cv_gate_listen_new(out, s->config.loop, at, accepted, s);

    if (err != CV_OK)
        snprintf(why, why_len, "cannot listen on TCP %s: %s%s",
                 cv_addr_format(at, text), cv_strerror(err),
                 err == CV_ERR_PERM
                     ? "; a port below 1024 needs CAP_NET_BIND_SERVICE"
                     : "");
    return err;
}

static int open_udp(struct cv_gate_server *s, const struct cv_addr *at,
                    char *why, size_t why_len)
{
    struct socket *sock = &s->udp[s->n_udp];
    char text[CV_ADDR_TEXT];
    int err;

    sock->server = s;
    sock->at = *at;
    err = cv_udp_new_at(&sock->udp, s->config.loop, s->config.core.log, at,
                        &udp_events, sock);
    if (err == CV_OK)
        s->n_udp++;
    else
        snprintf(why, why_len, "cannot bind UDP %s: %s",
                 cv_addr_format(at, text), cv_strerror(err));
    return err;
}

/* TCP and UDP on one port, of the i-th address.  If any port will do, one that
 * is free for both. */
static int open_both(struct cv_gate_server *s, unsigned i, char *why,
                     size_t why_len)
{
    for (unsigned tries = BIND_TRIES;; tries--) {
        struct cv_addr at = s->config.listen[i];
        bool any = at.port == 0;
        int err = listen_on(s, &s->listen[i], &at, on_accept_tls, why, why_len);

        if (err != CV_OK || !s->config.udp)
            return err;
        at.port = cv_gate_listen_port(s->listen[i]);
        err = open_udp(s, &at, why, why_len);
        if (err != CV_ERR_BUSY || !any || tries == 1)
            return err;
        cv_gate_listen_free(s->listen[i]);
        s->listen[i] = NULL;
    }
}

static int open_sockets(struct cv_gate_server *s, char *why, size_t why_len)
{
    int err = CV_OK;

    for (unsigned i = 0; i < s->config.n_listen && err == CV_OK; i++)
        err = open_both(s, i, why, why_len);
    for (unsigned i = 0; i < s->config.n_proxied && err == CV_OK; i++)
        err = listen_on(s, &s->proxied[i], &s->config.proxied[i],
                        on_accept_proxied, why, why_len);
    if (err == CV_OK && s->config.metrics.family != CV_FAMILY_NONE)
        err = listen_on(s, &s->metrics, &s->config.metrics, on_accept_metrics,
                        why, why_len);
    return err;
}

/* What of the core's settings only the sockets know. */
static struct cv_gate_core_config with_sockets(const struct cv_gate_server *s,
                                               struct cv_gate_core_config core)
{
    core.udp_port = s->n_udp > 0 ? cv_udp_port(s->udp[0].udp) : 0;
    core.behind_proxy = s->config.n_proxied > 0;
    return core;
}

static int open_core(struct cv_gate_server *s)
{
    struct cv_gate_core_config core = with_sockets(s, s->config.core);
    cv_time now = cv_loop_now(s->config.loop);
    int err;

    err = cv_gate_core_new(&s->core, &core, &core_out, s, now);
    if (err != CV_OK)
        return err;
    s->conns = (struct cv_gate_conns){.loop = s->config.loop,
                                      .core = s->core,
                                      .tls = s->tls,
                                      .page = on_public_page,
                                      .waiting_max = core.limits.waiting,
                                      .user = s};
    s->pages = (struct cv_gate_conns){.loop = s->config.loop,
                                      .page = on_page,
                                      .waiting_max = PAGES_WAITING,
                                      .user = s};
    err = cv_gate_conns_init(&s->conns);
    return err == CV_OK ? cv_gate_conns_init(&s->pages) : err;
}

int cv_gate_server_new(struct cv_gate_server **out,
                       const struct cv_gate_server_config *config, char *why,
                       size_t why_len)
{
    struct cv_gate_server *s = calloc(1, sizeof *s);
    int err;

    if (!s)
        return CV_ERR_NOMEM;
    s->config = *config;
    s->started = cv_loop_now(config->loop);
    snprintf(why, why_len, "%s", cv_strerror(CV_ERR_NOMEM));
    err = cv_tls_server(&s->tls, config->core.key, config->cert_file,
                        config->key_file);
    if (err == CV_ERR_FORMAT)
        snprintf(why, why_len,
                 "the certificate %s and its key %s cannot be used: both have "
                 "to be PEM and belong together",
                 config->cert_file, config->key_file);
    if (err == CV_OK)
        err = open_sockets(s, why, why_len);
    if (err == CV_OK)
        err = open_core(s);
    if (err == CV_OK)
        err = cv_timer_new(&s->tick, config->loop, on_tick, s);
    if (err == CV_OK)
        err = cv_timer_new(&s->drain, config->loop, on_drain_over, s);
    if (err != CV_OK) {
        cv_gate_server_free(s);
        return err;
    }
    on_tick(s);
    *out = s;
    return CV_OK;
}

void cv_gate_server_free(struct cv_gate_server *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < CV_GATE_BINDS; i++) {
        cv_gate_listen_free(s->listen[i]);
        cv_gate_listen_free(s->proxied[i]);
    }
    cv_gate_listen_free(s->metrics);
    /* The core says goodbye to its links, which are connections. */
    cv_gate_core_free(s->core);
    cv_gate_conns_flush(&s->conns);
    cv_gate_conns_fini(&s->conns);
    cv_gate_conns_fini(&s->pages);
    for (unsigned i = 0; i < s->n_udp; i++)
        cv_udp_free(s->udp[i].udp);
    cv_stun_limit_fini(&s->stun_limit);
    cv_timer_free(s->tick);
    cv_timer_free(s->drain);
    cv_tls_ctx_free(s->tls);
    free(s);
}

void cv_gate_server_configure(struct cv_gate_server *s,
                              const struct cv_gate_core_config *config)
{
    struct cv_gate_core_config core = with_sockets(s, *config);

    s->config.core = core;
    s->conns.waiting_max = core.limits.waiting;
    cv_gate_core_configure(s->core, &core);
}

uint16_t cv_gate_server_port(const struct cv_gate_server *s)
{
    return s->listen[0] ? cv_gate_listen_port(s->listen[0]) : 0;
}
