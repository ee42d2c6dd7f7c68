/* The states of a link:
 *
 *   CONNECTING -> UP -> GONE          STRANGER -> UP -> GONE
 *
 * One timer: the earliest CV_TCP_PROVE of a link that nobody vouches for, and
 * of the SYNs with a low TTL that the kernel is about to repeat. */
#include "transport/tcp_struct.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE   65536u
#define READ_ROUNDS 4u /* before others get their turn */
/* What the kernel holds unsent: a check waits behind no more than this. */
#define UNSENT (64 * 1024)

static void on_ready(void *user, unsigned ready);
static void destroy(struct cv_tcp *tcp);

/* ---- links ----------------------------------------------------------- */

struct link *cv_tcp_find(const struct cv_tcp *tcp, uint32_t channel)
{
    for (struct link *l = tcp->links; l; l = l->next)
        if (l->addr.channel == channel && l->state != GONE)
            return l;
    return NULL;
}

void cv_tcp_set_timer(struct cv_tcp *tcp)
{
    cv_time at = CV_NEVER;

    for (const struct link *l = tcp->links; l; l = l->next)
        at = l->state == GONE
                 ? 0
                 : cv_time_min(at, cv_time_min(l->prove_by, l->lower_at));
    cv_timer_set(tcp->timer, at);
}

/* The socket goes at once, the memory when nobody is in a callback. */
static void end_link(struct link *l)
{
    if (l->state == GONE)
        return;
    l->state = GONE;
    cv_watch_free(l->watch);
    l->watch = NULL;
    close(l->fd);
    l->fd = -1;
    cv_tcpqueue_fini(&l->queue);
    l->tcp->n_links--;
    cv_tcp_set_timer(l->tcp);
}

static void reap(struct cv_tcp *tcp)
{
    if (tcp->depth > 0)
        return;
    for (struct link **at = &tcp->links; *at;) {
        struct link *l = *at;

        if (l->state != GONE) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        free(l);
    }
    cv_tcp_set_timer(tcp);
}

void cv_tcp_enter(struct cv_tcp *tcp)
{
    tcp->depth++;
}

void cv_tcp_leave(struct cv_tcp *tcp)
{
    if (--tcp->depth > 0)
        return;
    if (tcp->freed)
        destroy(tcp);
    else
        reap(tcp);
}

void cv_tcp_lose(struct link *l, int err)
{
    struct cv_tcp *tcp = l->tcp;
    struct cv_path_addr addr = l->addr;
    char text[CV_ADDR_TEXT];

    if (l->state == GONE)
        return;
    cv_debug(tcp->log, "tcp: link down, channel=%u addr=%s: %s",
             (unsigned)addr.channel, cv_addr_log(tcp->log, &addr.remote, text),
             cv_strerror(err));
    end_link(l);
    tcp->events->down(tcp->user, &addr, err);
}

static int err_of_errno(int e)
{
    switch (e) {
    case ECONNREFUSED:
        return CV_ERR_DENIED;
    case EHOSTUNREACH: /* also: our own SYN expired on the way */
    case ENETUNREACH:
        return CV_ERR_NONET;
    case ETIMEDOUT:
        return CV_ERR_TIMEOUT;
    default:
        return CV_ERR_CLOSED;
    }
}

struct link *cv_tcp_add_link(struct cv_tcp *tcp, int fd, enum cv_tcp_kind kind,
                             const struct cv_addr *remote, unsigned watch)
{
    struct link *l;

    if (tcp->n_links >= CV_TCP_LINKS)
        return NULL;
    l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->tcp = tcp;
    l->kind = kind;
    l->fd = fd;
    l->frames.kind = kind == CV_TCP_STUN ? CV_TCPFRAME_STUN : CV_TCPFRAME_PEER;
    l->prove_by = l->lower_at = CV_NEVER;
    l->addr =
        (struct cv_path_addr){.carrier = CV_CARRIER_TCP, .remote = *remote};
    if (cv_watch_new(&l->watch, tcp->loop, fd, watch, on_ready, l) != CV_OK) {
        free(l);
        return NULL;
    }
    l->addr.channel = ++tcp->last_channel;
    l->next = tcp->links;
    tcp->links = l;
    tcp->n_links++;
    return l;
}

void cv_tcp_set_up(struct link *l, cv_time now)
{
    struct linger abort_it = {.l_onoff = 1};
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    cv_tcp_set_option(l->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    cv_tcp_set_option(l->fd, IPPROTO_IP, IP_MINTTL, 0);
    cv_tcp_set_option(l->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT);
    cv_tcp_set_option(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, CV_TCP_DEAD_MS);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) == 0)
        (void)cv_addr_from_sockaddr(&l->addr.local, (struct sockaddr *)&ss);
    l->state = UP;
    l->lower_at = CV_NEVER;
    l->prove_by = l->kind == CV_TCP_PEER ? now + CV_TCP_PROVE : CV_NEVER;
    cv_watch_set(l->watch, CV_WATCH_READ);
    cv_tcp_set_timer(l->tcp);
}

/* ---- sending --------------------------------------------------------- */

/* As much as the kernel takes.  0, or an errno that ends the link. */
static int flush(struct link *l)
{
    for (;;) {
        struct cv_bytes b = cv_tcpqueue_waiting(&l->queue);
        ssize_t n;

        if (b.len == 0)
            break;
        n = send(l->fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            cv_watch_set(l->watch, CV_WATCH_READ | CV_WATCH_WRITE);
            return 0;
        }
        if (n < 0)
            return errno;
        cv_tcpqueue_sent(&l->queue, (size_t)n);
    }
    cv_watch_set(l->watch, CV_WATCH_READ);
    return 0;
}

/* STUN over a link to a server goes without our framing. */
static int send_plain(struct link *l, const uint8_t *data, size_t len)
{
    ssize_t n = send(l->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n == (ssize_t)len ? CV_OK : CV_ERR_AGAIN; /* asked again later */
}

int cv_tcp_send(struct cv_tcp *tcp, uint32_t channel, const uint8_t *data,
                size_t len, size_t segment)
{
    struct link *l = cv_tcp_find(tcp, channel);
    bool urgent, waited;
    int err;

    if (!l || l->state != UP)
        return CV_ERR_CLOSED;
    if (l->kind == CV_TCP_STUN)
        return send_plain(l, data, len);
    urgent = len > 0 && segment >= len && data[0] <= 3; /* RFC 9443 */
    waited = cv_tcpqueue_waiting(&l->queue).len > 0;
    err = cv_tcpqueue_put(&l->queue, data, len, segment, urgent);
    if (err == CV_ERR_AGAIN)
        l->full = true;
    if (err != CV_OK)
        return err;
    /* What broke is reported when the socket is read. */
    if (!waited)
        (void)flush(l);
    return CV_OK;
}

bool cv_tcp_is_full(const struct cv_tcp *tcp, uint32_t channel)
{
    struct link *l = cv_tcp_find(tcp, channel);

    if (!l || !cv_tcpqueue_is_full(&l->queue))
        return false;
    l->full = true;
    return true;
}

static void on_writable(struct link *l)
{
    struct cv_tcp *tcp = l->tcp;
    uint32_t channel = l->addr.channel;
    int e = flush(l);

    if (e != 0) {
        cv_tcp_lose(l, err_of_errno(e));
        return;
    }
    if (!l->full || cv_tcpqueue_waiting(&l->queue).len > CV_TCPQUEUE_LOW)
        return;
    l->full = false;
    tcp->events->writable(tcp->user, channel);
}

/* ---- receiving ------------------------------------------------------- */

/* False: the link or the carrier is gone. */
static bool hand_over(struct link *l, struct cv_bytes in)
{
    struct cv_tcp *tcp = l->tcp;
    struct cv_bytes packet;
    int err;

    for (;;) {
        err = cv_tcpframe_next(&l->frames, &in, &packet);
        if (err == CV_ERR_AGAIN)
            return true;
        if (err != CV_OK) {
            cv_tcp_lose(l, CV_ERR_PEER);
            return false;
        }
        tcp->events->packet(tcp->user, l->kind, &l->addr, packet.data,
                            packet.len);
        if (tcp->freed || l->state == GONE)
            return false;
    }
}

static void on_readable(struct link *l)
{
    struct cv_tcp *tcp = l->tcp;

    for (unsigned i = 0; i < READ_ROUNDS; i++) {
        ssize_t n = recv(l->fd, tcp->buffer, READ_SIZE, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            cv_tcp_lose(l, n == 0 ? CV_ERR_CLOSED : err_of_errno(errno));
            break;
        }
        if (!hand_over(l, CV_BYTES(tcp->buffer, (size_t)n)) ||
            (size_t)n < READ_SIZE)
            break;
    }
    if (!tcp->freed)
        tcp->events->batch(tcp->user);
}

static void on_connected(struct link *l)
{
    struct cv_tcp *tcp = l->tcp;
    int e = 0;
    socklen_t len = sizeof e;
    char text[CV_ADDR_TEXT];

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
        e = errno;
    if (e != 0) {
        cv_tcp_lose(l, err_of_errno(e));
        return;
    }
    cv_tcp_set_up(l, cv_loop_now(tcp->loop));
    cv_debug(tcp->log, "tcp: connected, channel=%u addr=%s",
             (unsigned)l->addr.channel,
             cv_addr_log(tcp->log, &l->addr.remote, text));
    tcp->events->up(tcp->user, &l->addr);
}

static void on_ready(void *user, unsigned ready)
{
    struct link *l = user;
    struct cv_tcp *tcp = l->tcp;

    if (l->state == GONE || tcp->freed)
        return;
    cv_tcp_enter(tcp);
    if (l->state == CONNECTING) {
        on_connected(l);
    } else {
        if (ready & CV_WATCH_WRITE)
            on_writable(l);
        if ((ready & CV_WATCH_READ) && !tcp->freed && l->state == UP)
            on_readable(l);
    }
    cv_tcp_leave(tcp);
}

/* ---- the whole ------------------------------------------------------- */

static void on_timer(void *user)
{
    struct cv_tcp *tcp = user;
    cv_time now = cv_loop_now(tcp->loop);

    cv_tcp_enter(tcp);
    for (struct link *l = tcp->links; l && !tcp->freed; l = l->next) {
        if (l->state == CONNECTING && l->lower_at <= now)
            cv_tcp_watch_low(l, now);
        if (l->state != GONE && l->prove_by <= now)
            cv_tcp_lose(l, CV_ERR_TIMEOUT);
    }
    cv_tcp_set_timer(tcp);
    cv_tcp_leave(tcp);
}

int cv_tcp_new(struct cv_tcp **out, struct cv_loop *loop, struct cv_log *log,
               uint16_t port, uint16_t port6,
               const struct cv_tcp_events *events, void *user)
{
    struct cv_tcp *tcp = calloc(1, sizeof *tcp);
    int err = CV_ERR_NOMEM;

    if (!tcp)
        return CV_ERR_NOMEM;
    tcp->loop = loop;
    tcp->log = log;
    tcp->events = events;
    tcp->user = user;
    tcp->v4.fd = tcp->v6.fd = -1;
    tcp->buffer = malloc(READ_SIZE);
    if (tcp->buffer)
        err = cv_timer_new(&tcp->timer, loop, on_timer, tcp);
    if (err == CV_OK)
        err = cv_tcp_listen(tcp, &tcp->v4, CV_FAMILY_IPV4, port);
    if (err == CV_OK)
        err = cv_tcp_listen(tcp, &tcp->v6, CV_FAMILY_IPV6, port6);
    if (err == CV_OK && tcp->v4.fd < 0 && tcp->v6.fd < 0)
        err = CV_ERR_NONET;
    if (err != CV_OK) {
        destroy(tcp);
        return err;
    }
    *out = tcp;
    return CV_OK;
}

static void destroy(struct cv_tcp *tcp)
{
    while (tcp->links) {
        struct link *l = tcp->links;

        tcp->links = l->next;
        if (l->state != GONE) {
            cv_watch_free(l->watch);
            close(l->fd);
            cv_tcpqueue_fini(&l->queue);
        }
        free(l);
    }
    cv_tcp_unlisten(&tcp->v4);
    cv_tcp_unlisten(&tcp->v6);
    cv_timer_free(tcp->timer);
    free(tcp->buffer);
    free(tcp);
}

void cv_tcp_free(struct cv_tcp *tcp)
{
    if (!tcp || tcp->freed)
        return;
    tcp->freed = true;
    if (tcp->depth == 0)
        destroy(tcp);
}

uint16_t cv_tcp_port(const struct cv_tcp *tcp, enum cv_family family)
{
    return family == CV_FAMILY_IPV4 ? tcp->v4.port : tcp->v6.port;
}

void cv_tcp_close(struct cv_tcp *tcp, uint32_t channel)
{
    struct link *l = cv_tcp_find(tcp, channel);

    if (!l)
        return;
    cv_tcp_enter(tcp);
    end_link(l);
    cv_tcp_leave(tcp);
}

void cv_tcp_keep(struct cv_tcp *tcp, uint32_t channel)
{
    struct link *l = cv_tcp_find(tcp, channel);

    if (!l || l->kept)
        return;
    l->kept = true;
    l->prove_by = CV_NEVER;
    cv_tcp_set_timer(tcp);
}
