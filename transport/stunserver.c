#include "transport/stunserver.h"
#include "base/crypto.h"
#include "transport/udp.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBES     8 /* places of the table that are looked at */
#define BIND_TRIES 8

/* ---- rates -------------------------------------------------------------- */

static uint64_t source_of(const struct cv_addr *from)
{
    size_t n = from->family == CV_FAMILY_IPV4 ? 4 : 8; /* IPv6: the /64 */
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ from->family;

    for (size_t i = 0; i < n; i++)
        h = (h ^ from->ip[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 29;
    return h ? h : 1;
}

bool cv_stun_limit_allow(struct cv_stun_limit *limit,
                         const struct cv_addr *from, cv_time now)
{
    uint64_t source = source_of(from);
    struct cv_stun_bucket *b = NULL;

    if (!limit->bucket) {
        limit->bucket = calloc(CV_STUN_SOURCES, sizeof *limit->bucket);
        if (!limit->bucket)
            return false;
    }
    for (unsigned i = 0; i < PROBES; i++) {
        struct cv_stun_bucket *o =
            &limit->bucket[(source + i) % CV_STUN_SOURCES];

        if (o->source == source) {
            b = o;
            break;
        }
        if (!b && (o->source == 0 || now - o->since >= CV_SECOND))
            b = o;
    }
    /* All places are taken by sources of this second: under such a flood
     * nobody new is served. */
    if (!b) {
        limit->refused++;
        return false;
    }
    if (b->source != source || now - b->since >= CV_SECOND)
        *b = (struct cv_stun_bucket){.source = source, .since = now};
    if (b->n >= CV_STUN_RATE) {
        limit->refused++;
        return false;
    }
    b->n++;
    return true;
}

void cv_stun_limit_fini(struct cv_stun_limit *limit)
{
    free(limit->bucket);
    limit->bucket = NULL;
}

/* ---- answers ------------------------------------------------------------ */

static size_t addr_size(const struct cv_addr *a)
{
    return a->family == CV_FAMILY_IPV4 ? 12 : 24;
}

static int answer_error(const struct cv_stun *request, size_t max,
                        struct cv_writer *out)
{
    cv_stun_begin(out, CV_STUN_ERROR, request->txid);
    cv_stun_put_error(out, 420, "");
    cv_stun_put_unknown(out, request);
    if (request->fingerprint && out->len + 8 <= max)
        cv_stun_put_fingerprint(out);
    return out->len <= max ? out->err : CV_ERR_NOBUF;
}

int cv_stun_answer(const struct cv_stun *request, const struct cv_addr *from,
                   const struct cv_addr *origin, const struct cv_addr *other,
                   size_t max, struct cv_writer *out)
{
    size_t tail = 0;

    if (request->type != CV_STUN_REQUEST)
        return CV_ERR_INVALID;
    if (request->n_unknown > 0)
        return answer_error(request, max, out);
    if (request->response_port != 0) {
        struct cv_stun unable = *request;

        unable.unknown[0] = CV_STUN_RESPONSE_PORT;
        unable.n_unknown = 1;
        return answer_error(&unable, max, out);
    }
    if (CV_STUN_HEADER + addr_size(from) > max)
        return CV_ERR_NOBUF;
    cv_stun_begin(out, CV_STUN_SUCCESS, request->txid);
    cv_stun_put_xor_addr(out, from);
    if (request->fingerprint && out->len + 8 <= max)
        tail = 8;
    if (other && out->len + addr_size(other) + tail <= max)
        cv_stun_put_addr(out, CV_STUN_OTHER_ADDRESS, other);
    if (origin && out->len + addr_size(origin) + tail <= max)
        cv_stun_put_addr(out, CV_STUN_RESPONSE_ORIGIN, origin);
    if (out->len + 12 + tail <= max)
        cv_stun_put(out, CV_STUN_SOFTWARE, "covim", 5);
    if (tail > 0)
        cv_stun_put_fingerprint(out);
    return out->err;
}

/* ---- the server --------------------------------------------------------- */

struct conn { /* a TCP client */
    struct conn *next;
    struct cv_stunserver *server;
    unsigned bind;
    int fd;
    struct cv_watch *watch;
    struct cv_addr from;
    cv_time heard;
    cv_time since; /* answers of this second */
    unsigned answers;
    bool asked;
    bool gone;
    size_t len;
    uint8_t buf[CV_STUN_MAX];
};

struct end { /* one address that we listen on */
    struct cv_stunserver *server;
    unsigned index;
    struct cv_addr addr;
    struct cv_udp *udp;
    int fd; /* TCP */
    struct cv_watch *watch;
};

struct cv_stunserver {
    struct cv_loop *loop;
    struct cv_log *log;
    struct end end[CV_STUN_BINDS];
    unsigned n;
    struct cv_stun_limit limit;
    struct conn *conns;
    unsigned n_conns;
    struct cv_timer *timer; /* runs while there are connections */
};

static bool is_any(const struct cv_addr *a)
{
    struct cv_addr any = {.family = a->family};

    return cv_addr_same_ip(a, &any);
}

/* The end to answer from when the client asks for a change, or NULL. */
static struct end *changed_end(struct end *e, uint32_t change)
{
    struct cv_stunserver *s = e->server;

    for (unsigned i = 0; i < s->n; i++) {
        struct end *o = &s->end[i];

        if (o->addr.family == e->addr.family &&
            cv_addr_same_ip(&o->addr, &e->addr) ==
                !(change & CV_STUN_CHANGE_IP) &&
            (o->addr.port == e->addr.port) == !(change & CV_STUN_CHANGE_PORT))
            return o;
    }
    return NULL;
}

/* What to name as OTHER-ADDRESS: another address and port if there is one,
 * else another port. */
static bool other_address(struct end *e, const struct cv_addr *local,
                          struct cv_addr *out)
{
    struct end *o = changed_end(e, CV_STUN_CHANGE_IP | CV_STUN_CHANGE_PORT);

    if (!o || is_any(&o->addr))
        o = changed_end(e, CV_STUN_CHANGE_PORT);
    if (!o)
        return false;
    *out = o->addr;
    if (is_any(out)) {
        *out = *local;
        out->port = o->addr.port;
    }
    return out->family != CV_FAMILY_NONE && !is_any(out);
}

static int make_answer(struct end *e, struct cv_stun *m,
                       const struct cv_addr *from, const struct cv_addr *local,
                       size_t max, struct end **via, struct cv_writer *w)
{
    struct cv_addr other, origin = *local;
    bool has_other = other_address(e, local, &other);

    *via = e;
    if (m->change) {
        *via = changed_end(e, m->change);
        if (!*via) { /* as one without a second address: RFC 5780, 6.1 */
            m->unknown[0] = CV_STUN_CHANGE_REQUEST;
            m->n_unknown = 1;
            *via = e;
        } else if (!is_any(&(*via)->addr)) {
            origin = (*via)->addr;
        } else {
            origin.port = (*via)->addr.port;
        }
    }
    return cv_stun_answer(m, from, &origin, has_other ? &other : NULL, max, w);
}

static void on_packet(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *data,
                      size_t len)
{
    struct end *e = user, *via;
    uint8_t buf[CV_STUN_MAX];
    struct cv_addr leave = *local, to = *from;
    struct cv_writer w;
    struct cv_stun m;

    if (cv_stun_parse(&m, data, len) != CV_OK || m.type != CV_STUN_REQUEST ||
        from->port == 0)
        return;
    /* To another port of the same address (RFC 5780, 7.5), not of a service. */
    if (m.response_port >= CV_STUN_RESPONSE_LEAST) {
        to.port = m.response_port;
        m.response_port = 0;
    }
    if (!cv_stun_limit_allow(&e->server->limit, from,
                             cv_loop_now(e->server->loop)))
        return;
    cv_writer_init(&w, buf, sizeof buf);
    if (make_answer(e, &m, from, local, len, &via, &w) != CV_OK)
        return;
    if (via != e && !is_any(&via->addr))
        leave = via->addr;
    (void)cv_udp_send(via->udp, &to, &leave, 0, buf, w.len, w.len);
}

static const struct cv_udp_events udp_events = {.packet = on_packet};

static void sweep(struct cv_stunserver *s, cv_time now)
{
    for (struct conn **at = &s->conns; *at;) {
        struct conn *c = *at;

        if (!c->gone &&
            now - c->heard < (c->asked ? CV_STUN_KEPT : CV_STUN_IDLE)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        s->n_conns--;
        cv_watch_free(c->watch);
        close(c->fd);
        free(c);
    }
    if (s->conns)
        cv_timer_set(s->timer, now + CV_SECOND);
}

static void on_timer(void *user)
{
    struct cv_stunserver *s = user;

    sweep(s, cv_loop_now(s->loop));
}

/* Answer the complete message at the start of the buffer; false when the
 * connection is to be closed. */
static bool answer_one(struct conn *c, size_t len)
{
    struct end *e = &c->server->end[c->bind], *via;
    struct sockaddr_storage ss;
    socklen_t ss_len = sizeof ss;
    struct cv_addr local = e->addr;
    uint8_t buf[CV_STUN_MAX];
    struct cv_writer w;
    struct cv_stun m;

    if (cv_stun_parse(&m, c->buf, len) != CV_OK)
        return false;
    if (m.type != CV_STUN_REQUEST)
        return true;
    if (c->heard - c->since >= CV_SECOND) {
        c->since = c->heard;
        c->answers = 0;
    }
    if (c->answers++ >= CV_STUN_RATE)
        return false;
    c->asked = true;
    if (getsockname(c->fd, (struct sockaddr *)&ss, &ss_len) == 0)
        (void)cv_addr_from_sockaddr(&local, (struct sockaddr *)&ss);
    m.change = 0; /* makes no sense here */
    cv_writer_init(&w, buf, sizeof buf);
    if (make_answer(e, &m, &c->from, &local, sizeof buf, &via, &w) != CV_OK)
        return false;
    /* It fits the socket's buffer, or the client does not read. */
    return send(c->fd, buf, w.len, MSG_NOSIGNAL | MSG_DONTWAIT) ==
           (ssize_t)w.len;
}

static void on_readable(void *user, unsigned ready)
{
    struct conn *c = user;
    ssize_t n;

    (void)ready;
    if (c->gone)
        return;
    n = recv(c->fd, c->buf + c->len, sizeof c->buf - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->heard = cv_loop_now(c->server->loop);
    if (n <= 0)
        goto gone;
    c->len += (size_t)n;
    while (c->len >= CV_STUN_HEADER) {
        size_t want =
            CV_STUN_HEADER + ((size_t)c->buf[2] << 8 | (size_t)c->buf[3]);

        if (!cv_stun_is(c->buf, c->len) || want > sizeof c->buf)
            goto gone;
        if (c->len < want)
            return;
        if (!answer_one(c, want))
            goto gone;
        c->len -= want;
        memmove(c->buf, c->buf + want, c->len);
    }
    return;
gone:
    c->gone = true;
    sweep(c->server, c->heard);
}

/* Room for one more from there. */
static void make_place(struct cv_stunserver *s, const struct cv_addr *from,
                       cv_time now)
{
    struct conn *of_source = NULL, *of_all = NULL;
    uint64_t source = source_of(from);
    unsigned same = 0;

    for (struct conn *c = s->conns; c; c = c->next) {
        if (!of_all || c->heard < of_all->heard)
            of_all = c;
        if (source_of(&c->from) != source)
            continue;
        same++;
        if (!of_source || c->heard < of_source->heard)
            of_source = c;
    }
    if (same >= CV_STUN_CONNS_IP && of_source)
        of_source->gone = true;
    else if (s->n_conns >= CV_STUN_CONNS && of_all)
        of_all->gone = true;
    else
        return;
    sweep(s, now);
}

static void on_accept(void *user, unsigned ready)
{
    struct end *e = user;
    struct cv_stunserver *s = e->server;
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct cv_addr from;
    struct conn *c;
    int fd = accept4(e->fd, (struct sockaddr *)&ss, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)ready;
    if (fd < 0)
        return;
    if (cv_addr_from_sockaddr(&from, (struct sockaddr *)&ss) != CV_OK) {
        close(fd);
        return;
    }
    make_place(s, &from, cv_loop_now(s->loop));
    c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->server = s;
    c->bind = e->index;
    c->fd = fd;
    c->from = from;
    c->heard = cv_loop_now(s->loop);
    if (cv_watch_new(&c->watch, s->loop, fd, CV_WATCH_READ, on_readable, c) !=
        CV_OK) {
        close(fd);
        free(c);
        return;
    }
    c->next = s->conns;
    s->conns = c;
    s->n_conns++;
    cv_timer_set(s->timer, c->heard + CV_SECOND);
}

static int listen_tcp(struct end *e)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&e->addr, &ss);
    int on = 1, err;

    e->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0)
        return cv_err_from_errno(errno);
    (void)setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (e->addr.family == CV_FAMILY_IPV6)
        (void)setsockopt(e->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(e->fd, (struct sockaddr *)&ss, len) < 0 || listen(e->fd, 64) < 0) {
        err = errno == EADDRINUSE ? CV_ERR_BUSY : cv_err_from_errno(errno);
        return err;
    }
    return cv_watch_new(&e->watch, e->server->loop, e->fd, CV_WATCH_READ,
                        on_accept, e);
}

/* One number for both; CV_ERR_BUSY: closed again. */
static int open_end(struct end *e, const struct cv_addr *at)
{
    struct cv_stunserver *s = e->server;
    int err;

    e->addr = *at;
    err = cv_udp_new_at(&e->udp, s->loop, s->log, &e->addr, &udp_events, e);
    if (err != CV_OK)
        return err;
    e->addr.port = cv_udp_port(e->udp);
    err = listen_tcp(e);
    if (err == CV_ERR_BUSY) {
        cv_udp_free(e->udp);
        e->udp = NULL;
        close(e->fd);
        e->fd = -1;
    }
    return err;
}

int cv_stunserver_new(struct cv_stunserver **out, struct cv_loop *loop,
                      struct cv_log *log, const struct cv_addr *binds,
                      unsigned n)
{
    struct cv_stunserver *s;
    int err;

    if (n == 0 || n > CV_STUN_BINDS)
        return CV_ERR_INVALID;
    s = calloc(1, sizeof *s);
    if (!s)
        return CV_ERR_NOMEM;
    s->loop = loop;
    s->log = log;
    for (unsigned i = 0; i < CV_STUN_BINDS; i++)
        s->end[i].fd = -1;
    err = cv_timer_new(&s->timer, loop, on_timer, s);
    for (unsigned i = 0; i < n && err == CV_OK; i++) {
        struct end *e = &s->end[i];

        e->server = s;
        e->index = i;
        s->n = i + 1;
        err = CV_ERR_BUSY;
        /* A number that was free for UDP may be taken for TCP. */
        for (unsigned try = 0; err == CV_ERR_BUSY && try < BIND_TRIES; try++)
            err = open_end(e, &binds[i]);
    }
    if (err != CV_OK) {
        cv_stunserver_free(s);
        return err;
    }
    *out = s;
    return CV_OK;
}

void cv_stunserver_free(struct cv_stunserver *s)
{
    if (!s)
        return;
    for (struct conn *c = s->conns; c; c = c->next)
        c->gone = true;
    if (s->timer)
        sweep(s, 0);
    for (unsigned i = 0; i < s->n; i++) {
        cv_udp_free(s->end[i].udp);
        cv_watch_free(s->end[i].watch);
        if (s->end[i].fd >= 0)
            close(s->end[i].fd);
    }
    cv_timer_free(s->timer);
    cv_stun_limit_fini(&s->limit);
    free(s);
}

uint16_t cv_stunserver_port(const struct cv_stunserver *s, unsigned i)
{
    assert(i < s->n);
    return s->end[i].addr.port;
}
