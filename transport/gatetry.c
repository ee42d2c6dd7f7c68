#include "transport/gatetry.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum step {
    CONNECTING, /* TCP */
    TUNNELLING, /* CONNECT and its answer */
    SHAKING,    /* TLS */
    UPGRADING,  /* GET and its answer */
    DONE,       /* told; nothing more happens */
};

/* One timer: what the step may take. */
struct cv_gatetry {
    struct cv_gatetry_config config;
    cv_gatetry_fn done;
    void *user;
    enum step step;
    struct cv_gatestream stream;
    struct cv_watch *watch;
    struct cv_timer *timer;
    uint8_t request[2048];
    size_t request_len, sent;
    char key[CV_HTTP_KEY];
    uint8_t *head; /* [CV_HTTP_HEAD_MAX], what came of an answer's */
    size_t have;
};

/* ---- streams ------------------------------------------------------------ */

ptrdiff_t cv_gatestream_read(struct cv_gatestream *s, uint8_t *buf, size_t len,
                             struct cv_bytes *answers)
{
    size_t n;
    int err;

    *answers = CV_BYTES(NULL, 0);
    for (;;) {
        if (s->n_early > 0 && s->n_early <= len) {
            n = s->n_early;
            memcpy(buf, s->early, n);
            free(s->early);
            s->early = NULL;
            s->n_early = 0;
        } else {
            ptrdiff_t got = cv_tls_read(s->tls, buf, len);

            if (got < 0 || !s->ws)
                return got;
            n = (size_t)got;
        }
        err = cv_gatews_decode(s->ws, buf, &n);
        *answers = cv_gatews_answers(s->ws);
        /* What came before a close counts; the end is seen next time. */
        if (err != CV_OK && (n == 0 || err != CV_ERR_CLOSED))
            return err;
        if (n > 0 || answers->len > 0)
            return (ptrdiff_t)n;
    }
}

void cv_gatestream_fini(struct cv_gatestream *s)
{
    cv_gatews_free(s->ws);
    cv_tls_free(s->tls);
    free(s->early);
    if (s->fd >= 0)
        close(s->fd);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

/* ---- the end of a try --------------------------------------------------- */

static void finish(struct cv_gatetry *t, int err, const char *why)
{
    t->step = DONE;
    cv_timer_set(t->timer, CV_NEVER);
    cv_watch_free(t->watch);
    t->watch = NULL;
    t->done(t->user, t, err, why);
}

static void on_timer(void *user)
{
    struct cv_gatetry *t = user;
    char why[300];

    switch (t->step) {
    case CONNECTING:
        finish(t, CV_ERR_NONET,
               t->stream.way & CV_GATE_WAY_PROXY
                   ? "the proxy of https_proxy does not answer"
                   : "the gate's address does not answer");
        return;
    case TUNNELLING:
        snprintf(why, sizeof why,
                 "the proxy %.100s:%u does not say whether it connects",
                 t->config.proxy->host, (unsigned)t->config.proxy->port);
        finish(t, CV_ERR_PEER, why);
        return;
    case SHAKING:
    case UPGRADING:
        finish(t, CV_ERR_PEER, "the gate does not go on with the handshake");
        return;
    case DONE:
        return;
    }
}

static void enter(struct cv_gatetry *t, enum step step)
{
    t->step = step;
    cv_timer_set(t->timer, cv_loop_now(t->config.loop) + CV_GATETRY_SHAKE);
}

/* ---- the upgrade -------------------------------------------------------- */

/* The request goes out; false: it cannot. */
static bool ask(struct cv_gatetry *t)
{
    while (t->sent < t->request_len) {
        const uint8_t *data = t->request + t->sent;
        size_t len = t->request_len - t->sent;
        ptrdiff_t n = t->step == UPGRADING
                          ? cv_tls_write(t->stream.tls, data, len)
                          : send(t->stream.fd, data, len, MSG_NOSIGNAL);

        if (n == CV_ERR_AGAIN ||
            (t->step == TUNNELLING && n < 0 && errno == EAGAIN)) {
            cv_watch_set(t->watch, CV_WATCH_READ | CV_WATCH_WRITE);
            return true;
        }
        if (n <= 0)
            return false;
        t->sent += (size_t)n;
    }
    cv_watch_set(t->watch, CV_WATCH_READ);
    return true;
}

static void upgraded(struct cv_gatetry *t, size_t used)
{
    t->stream.n_early = t->have - used;
    if (t->stream.n_early > 0) {
        memmove(t->head, t->head + used, t->stream.n_early);
        t->stream.early = t->head;
        t->head = NULL;
    }
    if (cv_gatews_new(&t->stream.ws, t->config.rng) != CV_OK) {
        finish(t, CV_ERR_NOMEM, cv_strerror(CV_ERR_NOMEM));
        return;
    }
    finish(t, CV_OK, NULL);
}

static void read_upgrade(struct cv_gatetry *t)
{
    struct cv_http_answer answer;
    char why[400];
    size_t used;
    int err;

    for (;;) {
        ptrdiff_t n = cv_tls_read(t->stream.tls, t->head + t->have,
                                  CV_HTTP_HEAD_MAX - t->have);

        if (n == CV_ERR_AGAIN)
            return;
        if (n < 0) {
            finish(t, CV_ERR_PEER, "the gate broke off the handshake");
            return;
        }
        t->have += (size_t)n;
        err = cv_http_answer_parse(&answer, t->head, t->have, &used);
        if (err != CV_ERR_AGAIN)
            break;
    }
    if (err == CV_OK && cv_gatews_accepted(&answer, t->key)) {
        upgraded(t, used);
        return;
    }
    if (err == CV_OK)
        snprintf(why, sizeof why,
                 "at %.100s%.100s there is no gate's WebSocket: the answer "
                 "was %u %s",
                 t->config.name->host,
                 t->config.name->path[0] ? t->config.name->path : CV_GATE_PATH,
                 answer.status, answer.reason);
    finish(t, CV_ERR_PEER,
           err == CV_OK ? why
                        : "the gate's address answers, but not as a gate");
}

static void upgrade(struct cv_gatetry *t)
{
    const struct cv_gate_name *name = t->config.name;
    struct cv_writer w;

    enter(t, UPGRADING);
    cv_gatews_key(t->key, t->config.rng);
    cv_writer_init(&w, t->request, sizeof t->request);
    if (cv_gatews_request(name->host, name->port,
                          name->path[0] ? name->path : CV_GATE_PATH, t->key,
                          &w) != CV_OK) {
        finish(t, CV_ERR_INTERNAL, cv_strerror(CV_ERR_INTERNAL));
        return;
    }
    t->request_len = w.len;
    t->sent = t->have = 0;
    if (!ask(t))
        finish(t, CV_ERR_PEER, "the gate broke off the handshake");
}

/* ---- TLS ---------------------------------------------------------------- */

static void shake(struct cv_gatetry *t)
{
    int err = cv_tls_handshake(t->stream.tls);
    bool named = t->config.name->path[0] != '\0';
    char why[300];

    if (err == CV_ERR_AGAIN) {
        cv_watch_set(t->watch, cv_tls_wants_write(t->stream.tls)
                                   ? CV_WATCH_WRITE
                                   : CV_WATCH_READ);
        return;
    }
    if (err == CV_ERR_AUTH && named) {
        snprintf(why, sizeof why,
                 "the certificate of %.100s is not one that this machine "
                 "trusts for that name; nothing was sent to it",
                 t->config.name->host);
        finish(t, CV_ERR_AUTH, why);
        return;
    }
    if (err != CV_OK) {
        finish(t, err,
               err == CV_ERR_AUTH
                   ? "whoever answers at the gate's address has another key "
                     "than the gate's name says; nothing was sent to it"
                   : "the gate's address answers, but not as a gate");
        return;
    }
    cv_watch_set(t->watch, CV_WATCH_READ);
    if (t->stream.way & CV_GATE_WAY_WS)
        upgrade(t);
    else if (cv_tls_protocol(t->stream.tls) == CV_TLS_GATE)
        finish(t, CV_OK, NULL);
    else
        finish(t, CV_ERR_PEER, "the gate's address answers, but not as a gate");
}

static void begin_tls(struct cv_gatetry *t)
{
    bool named = t->config.name->path[0] != '\0';
    struct cv_tls_config config = {
        .ctx = t->config.ctx,
        .fd = t->stream.fd,
        .pinned = named ? NULL : &t->config.name->key,
        .protocol = t->stream.way & CV_GATE_WAY_WS ? CV_TLS_HTTP : CV_TLS_GATE,
        .host = t->config.name->host};

    if (cv_tls_new(&t->stream.tls, &config) != CV_OK) {
        finish(t, CV_ERR_NOMEM, cv_strerror(CV_ERR_NOMEM));
        return;
    }
    t->stream.bound = !named;
    enter(t, SHAKING);
    shake(t);
}

/* ---- the tunnel --------------------------------------------------------- */

static void proxy_broke_off(struct cv_gatetry *t)
{
    char why[200];

    snprintf(why, sizeof why, "the proxy %.100s:%u broke off the connection",
             t->config.proxy->host, (unsigned)t->config.proxy->port);
    finish(t, CV_ERR_PEER, why);
}

/* Take what belongs to the answer's head, and nothing behind it: that is for
 * TLS.  Returns bytes taken, CV_ERR_AGAIN or CV_ERR_CLOSED. */
static ptrdiff_t take_head(struct cv_gatetry *t)
{
    struct cv_http_answer answer;
    uint8_t *end = t->head + t->have;
    size_t used;
    ssize_t n = recv(t->stream.fd, end, CV_HTTP_HEAD_MAX - t->have, MSG_PEEK);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CV_ERR_AGAIN;
    if (n <= 0)
        return CV_ERR_CLOSED;
    if (cv_http_answer_parse(&answer, t->head, t->have + (size_t)n, &used) ==
        CV_OK)
        n = (ssize_t)(used - t->have);
    n = recv(t->stream.fd, end, (size_t)n, 0);
    return n > 0 ? n : CV_ERR_CLOSED;
}

static void read_tunnel(struct cv_gatetry *t)
{
    struct cv_http_answer answer;
    char why[300];
    size_t used;
    int err;

    do {
        ptrdiff_t n = take_head(t);

        if (n == CV_ERR_AGAIN)
            return;
        if (n < 0) {
            proxy_broke_off(t);
            return;
        }
        t->have += (size_t)n;
        err = cv_http_answer_parse(&answer, t->head, t->have, &used);
    } while (err == CV_ERR_AGAIN);
    if (err == CV_OK && answer.status >= 200 && answer.status < 300) {
        begin_tls(t);
        return;
    }
    if (err == CV_OK)
        cv_proxy_refusal(t->config.proxy, &answer, why, sizeof why);
    else
        snprintf(why, sizeof why,
                 "what answers at %.100s:%u (https_proxy) is no HTTP proxy",
                 t->config.proxy->host, (unsigned)t->config.proxy->port);
    finish(t, CV_ERR_PEER, why);
}

static void tunnel(struct cv_gatetry *t)
{
    struct cv_writer w;

    enter(t, TUNNELLING);
    cv_writer_init(&w, t->request, sizeof t->request);
    if (cv_proxy_request(t->config.proxy, t->config.name->host,
                         t->config.name->port, &w) != CV_OK) {
        finish(t, CV_ERR_INTERNAL, cv_strerror(CV_ERR_INTERNAL));
        return;
    }
    t->request_len = w.len;
    if (!ask(t))
        proxy_broke_off(t);
}

/* ---- TCP ---------------------------------------------------------------- */

static void connected(struct cv_gatetry *t)
{
    bool proxied = t->stream.way & CV_GATE_WAY_PROXY;
    socklen_t len = sizeof(int);
    char why[200];
    int error = 0;

    if (getsockopt(t->stream.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
        error != 0) {
        snprintf(why, sizeof why, "the %s: %s",
                 proxied ? "proxy of https_proxy" : "gate's address",
                 strerror(error));
        finish(t, CV_ERR_NONET, why);
        return;
    }
    if (proxied)
        tunnel(t);
    else
        begin_tls(t);
}

static void on_ready(void *user, unsigned ready)
{
    struct cv_gatetry *t = user;

    if ((t->step == TUNNELLING || t->step == UPGRADING) &&
        (ready & CV_WATCH_WRITE) && !ask(t)) {
        finish(t, CV_ERR_PEER, "the connection to the gate broke");
        return;
    }
    switch (t->step) {
    case CONNECTING:
        connected(t);
        return;
    case TUNNELLING:
        if (ready & CV_WATCH_READ)
            read_tunnel(t);
        return;
    case SHAKING:
        shake(t);
        return;
    case UPGRADING:
        if (ready & CV_WATCH_READ)
            read_upgrade(t);
        return;
    case DONE:
        return;
    }
}

static int dial(struct cv_gatetry *t, const struct cv_addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(to, &ss);
    int one = 1;

    t->stream.fd =
        socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->stream.fd < 0)
        return CV_ERR_NONET;
    (void)setsockopt(t->stream.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(t->stream.fd, (struct sockaddr *)&ss, len) < 0 &&
        errno != EINPROGRESS)
        return CV_ERR_NONET;
    return CV_OK;
}

int cv_gatetry_new(struct cv_gatetry **out,
                   const struct cv_gatetry_config *config, unsigned way,
                   const struct cv_addr *to, cv_gatetry_fn done, void *user)
{
    struct cv_gatetry *t = calloc(1, sizeof *t);
    int err;

    if (!t)
        return CV_ERR_NOMEM;
    t->config = *config;
    t->done = done;
    t->user = user;
    t->stream.fd = -1;
    t->stream.way = way;
    if (!(way & CV_GATE_WAY_PROXY))
        t->stream.remote = *to;
    t->head = malloc(CV_HTTP_HEAD_MAX);
    err = t->head ? dial(t, to) : CV_ERR_NOMEM;
    if (err == CV_OK)
        err = cv_timer_new(&t->timer, config->loop, on_timer, t);
    if (err == CV_OK)
        err = cv_watch_new(&t->watch, config->loop, t->stream.fd,
                           CV_WATCH_WRITE, on_ready, t);
    if (err != CV_OK) {
        cv_gatetry_free(t);
        return err;
    }
    cv_timer_set(t->timer, cv_loop_now(config->loop) + CV_GATETRY_TCP);
    *out = t;
    return CV_OK;
}

void cv_gatetry_free(struct cv_gatetry *t)
{
    if (!t)
        return;
    cv_watch_free(t->watch);
    cv_timer_free(t->timer);
    cv_gatestream_fini(&t->stream);
    cv_wipe(t->request, sizeof t->request);
    free(t->head);
    free(t);
}

unsigned cv_gatetry_way(const struct cv_gatetry *t)
{
    return t->stream.way;
}

void cv_gatetry_take(struct cv_gatetry *t, struct cv_gatestream *out)
{
    *out = t->stream;
    memset(&t->stream, 0, sizeof t->stream);
    t->stream.fd = -1;
    t->stream.way = out->way;
}
