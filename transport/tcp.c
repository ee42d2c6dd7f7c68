/* The states of a link:
 *
 *   CONNECTING -> UP -> GONE          STRANGER -> UP -> GONE
 *
 * One timer: the earliest CV_TCP_PROVE of a link that nobody vouches for, and
 * of the SYNs with a low TTL that the kernel is about to repeat. */
#include "transport/tcp.h"
#include "transport/tcpframe.h"
#include "transport/tcpqueue.h"
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE   65536u
#define READ_ROUNDS 4u /* before others get their turn */
#define BACKLOG     32
/* How often a SYN with a low TTL is repeated: for 127 s. */
#define LOW_SYNS 6
/* The kernel's timer is never early, and we may be late by so much. */
#define LOW_MARGIN (60 * CV_MILLISECOND)
#define LOW_LOOK   (20 * CV_MILLISECOND)
/* What the kernel holds unsent: a check waits behind no more than this. */
#define UNSENT (64 * 1024)

enum link_state {
    CONNECTING, /* our SYN is out */
    UP,
    GONE, /* freed when no call of ours is under way */
};

struct link {
    struct link *next;
    struct cv_tcp *tcp;
    enum link_state state;
    enum cv_tcp_kind kind;
    bool ours; /* we connected; else accepted */
    bool kept;
    bool full; /* somebody waits for `writable` */
    int fd;
    struct cv_watch *watch;
    struct cv_path_addr addr;
    cv_time prove_by;  /* CV_NEVER once kept, or while connecting */
    unsigned low_ttl;  /* of our SYNs; 0: the system's */
    cv_time lower_at;  /* when it has to be low again; CV_NEVER: need not */
    unsigned repeated; /* SYNs by the kernel */
    struct cv_tcpframe frames;
    struct cv_tcpqueue queue;
};

struct end { /* a listener */
    struct cv_tcp *tcp;
    int fd; /* -1: none */
    uint16_t port;
    struct cv_watch *watch;
};

struct cv_tcp {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_tcp_events *events;
    void *user;
    struct end v4, v6;
    struct link *links;
    unsigned n_links;
    uint32_t last_channel;
    struct cv_timer *timer;
    unsigned depth; /* of our own callbacks */
    bool freed;     /* by one of them: the last one out does it */
    uint8_t *buffer;
};

static void destroy(struct cv_tcp *tcp);

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* The TTL of what follows; 0: the system's.  While it is low the kernel must
 * not take the expiry of our SYN for an error: it drops errors that quote a
 * packet with less than the least TTL that we accept.  (In the lab 0 of 18
 * without, 18 of 18 with it.  For IPv6 it looks at the hop limit of the message
 * itself, so there the plan has to try again.) */
static void set_ttl(int fd, enum cv_family family, unsigned ttl)
{
    int value = ttl > 0 ? (int)ttl : -1;

    if (family == CV_FAMILY_IPV6) {
        set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, value);
        return;
    }
    set_option(fd, IPPROTO_IP, IP_TTL, value);
    if (ttl > 0)
        set_option(fd, IPPROTO_IP, IP_MINTTL, CV_TCP_LOW_TTL + 1);
}

/* An unbound socket, or -1. */
static int new_socket(enum cv_family family, bool share)
{
    int fd = socket(family == CV_FAMILY_IPV4 ? AF_INET : AF_INET6,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (share)
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (family == CV_FAMILY_IPV6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return fd;
}

static int bind_any(int fd, enum cv_family family, uint16_t port)
{
    struct cv_addr any = {.family = (uint8_t)family, .port = port};
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&any, &ss);

    return bind(fd, (struct sockaddr *)&ss, len);
}

/* ---- links -------------------------------------------------------------- */

static struct link *find(const struct cv_tcp *tcp, uint32_t channel)
{
    for (struct link *l = tcp->links; l; l = l->next)
        if (l->addr.channel == channel && l->state != GONE)
            return l;
    return NULL;
}

static bool is_stranger(const struct link *l)
{
    return l->state == UP && !l->ours && !l->kept;
}

static void set_timer(struct cv_tcp *tcp)
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
    set_timer(l->tcp);
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
    set_timer(tcp);
}

static void enter(struct cv_tcp *tcp)
{
    tcp->depth++;
}

static void leave(struct cv_tcp *tcp)
{
    if (--tcp->depth > 0)
        return;
    if (tcp->freed)
        destroy(tcp);
    else
        reap(tcp);
}

/* End it and tell. */
static void lose(struct link *l, int err)
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

static void on_ready(void *user, unsigned ready);

/* Takes the descriptor on success. */
static struct link *add_link(struct cv_tcp *tcp, int fd, enum cv_tcp_kind kind,
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

/* Once connected: no Nagle, a bounded rest in the kernel, RST at the end. */
static void set_up(struct link *l, cv_time now)
{
    struct linger abort_it = {.l_onoff = 1};
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    set_option(l->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(l->fd, IPPROTO_IP, IP_MINTTL, 0);
    set_option(l->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT);
    set_option(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, CV_TCP_DEAD_MS);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) == 0)
        (void)cv_addr_from_sockaddr(&l->addr.local, (struct sockaddr *)&ss);
    l->state = UP;
    l->lower_at = CV_NEVER;
    l->prove_by = l->kind == CV_TCP_PEER ? now + CV_TCP_PROVE : CV_NEVER;
    cv_watch_set(l->watch, CV_WATCH_READ);
    set_timer(l->tcp);
}

/* ---- sending ------------------------------------------------------------ */

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
    struct link *l = find(tcp, channel);
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
    struct link *l = find(tcp, channel);

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
        lose(l, err_of_errno(e));
        return;
    }
    if (!l->full || cv_tcpqueue_waiting(&l->queue).len > CV_TCPQUEUE_LOW)
        return;
    l->full = false;
    tcp->events->writable(tcp->user, channel);
}

/* ---- receiving ---------------------------------------------------------- */

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
            lose(l, CV_ERR_PEER);
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
            lose(l, n == 0 ? CV_ERR_CLOSED : err_of_errno(errno));
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
        lose(l, err_of_errno(e));
        return;
    }
    set_up(l, cv_loop_now(tcp->loop));
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
    enter(tcp);
    if (l->state == CONNECTING) {
        on_connected(l);
    } else {
        if (ready & CV_WATCH_WRITE)
            on_writable(l);
        if ((ready & CV_WATCH_READ) && !tcp->freed && l->state == UP)
            on_readable(l);
    }
    leave(tcp);
}

/* ---- accepting ---------------------------------------------------------- */

/* Room for one more stranger from there: the oldest one of its source, or of
 * all, gives way. */
static void make_place(struct cv_tcp *tcp, const struct cv_addr *from)
{
    struct link *of_source = NULL, *of_all = NULL;
    unsigned same = 0, all = 0;

    /* The newest link is the first one. */
    for (struct link *l = tcp->links; l; l = l->next) {
        if (!is_stranger(l))
            continue;
        all++;
        of_all = l;
        if (cv_addr_same_source(&l->addr.remote, from)) {
            same++;
            of_source = l;
        }
    }
    if (same >= CV_TCP_A_SOURCE)
        lose(of_source, CV_ERR_LIMIT);
    else if (all >= CV_TCP_STRANGERS)
        lose(of_all, CV_ERR_LIMIT);
}

static void accept_one(struct end *end, int fd, const struct cv_addr *from)
{
    struct cv_tcp *tcp = end->tcp;
    struct link *l;
    char text[CV_ADDR_TEXT];

    make_place(tcp, from);
    if (tcp->freed) {
        close(fd);
        return;
    }
    l = add_link(tcp, fd, CV_TCP_PEER, from, CV_WATCH_READ);
    if (!l) {
        close(fd);
        return;
    }
    set_up(l, cv_loop_now(tcp->loop));
    cv_debug(tcp->log, "tcp: accepted, channel=%u addr=%s",
             (unsigned)l->addr.channel, cv_addr_log(tcp->log, from, text));
}

static void on_accept(void *user, unsigned ready)
{
    struct end *end = user;
    struct cv_tcp *tcp = end->tcp;

    (void)ready;
    enter(tcp);
    for (unsigned i = 0; i < BACKLOG && !tcp->freed; i++) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;
        struct cv_addr from;
        int fd = accept4(end->fd, (struct sockaddr *)&ss, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            break;
        if (cv_addr_from_sockaddr(&from, (struct sockaddr *)&ss) == CV_OK)
            accept_one(end, fd, &from);
        else
            close(fd);
    }
    leave(tcp);
}

/* A SYN that waits for the other side's: low TTL while the kernel is about to
 * repeat it, else the system's, for the answer to the other side.  What is
 * answered just then is answered again a second later. */
static void watch_low(struct link *l, cv_time now)
{
    enum cv_family family = l->addr.remote.family;
    struct tcp_info info;
    socklen_t len = sizeof info;

    l->lower_at = CV_NEVER;
    if (getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return;
    if (info.tcpi_state != TCP_SYN_SENT) {
        set_ttl(l->fd, family, 0);
    } else if (info.tcpi_retransmits == l->repeated) {
        set_ttl(l->fd, family, l->low_ttl);
        l->lower_at = now + LOW_LOOK;
    } else {
        l->repeated = info.tcpi_retransmits;
        set_ttl(l->fd, family, 0);
        l->lower_at =
            now + (cv_time)info.tcpi_rto * CV_MICROSECOND - LOW_MARGIN;
    }
}

static void on_timer(void *user)
{
    struct cv_tcp *tcp = user;
    cv_time now = cv_loop_now(tcp->loop);

    enter(tcp);
    for (struct link *l = tcp->links; l && !tcp->freed; l = l->next) {
        if (l->state == CONNECTING && l->lower_at <= now)
            watch_low(l, now);
        if (l->state != GONE && l->prove_by <= now)
            lose(l, CV_ERR_TIMEOUT);
    }
    set_timer(tcp);
    leave(tcp);
}

/* ---- the interface ------------------------------------------------------ */

/* Is nobody else listening there?  With SO_REUSEPORT alone another process of
 * ours could be, and would get half of the connections. */
static bool is_free(enum cv_family family, uint16_t port)
{
    int fd = new_socket(family, false);
    bool ok = fd >= 0 && bind_any(fd, family, port) == 0 && listen(fd, 1) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

/* Returns the listening descriptor, or -1. */
static int open_listener(enum cv_family family, uint16_t port)
{
    int fd;

    if (port != 0 && !is_free(family, port))
        return -1;
    fd = new_socket(family, true);
    if (fd < 0)
        return -1;
    if (bind_any(fd, family, port) < 0 || listen(fd, BACKLOG) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int start(struct cv_tcp *tcp, struct end *end, enum cv_family family,
                 uint16_t port)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct cv_addr a;

    end->tcp = tcp;
    end->fd = open_listener(family, port);
    if (end->fd < 0 && port != 0)
        end->fd = open_listener(family, 0);
    if (end->fd < 0)
        return CV_OK; /* not on this family */
    if (getsockname(end->fd, (struct sockaddr *)&ss, &len) < 0 ||
        cv_addr_from_sockaddr(&a, (struct sockaddr *)&ss) != CV_OK)
        return CV_ERR_IO;
    end->port = a.port;
    return cv_watch_new(&end->watch, tcp->loop, end->fd, CV_WATCH_READ,
                        on_accept, end);
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
        err = start(tcp, &tcp->v4, CV_FAMILY_IPV4, port);
    if (err == CV_OK)
        err = start(tcp, &tcp->v6, CV_FAMILY_IPV6, port6);
    if (err == CV_OK && tcp->v4.fd < 0 && tcp->v6.fd < 0)
        err = CV_ERR_NONET;
    if (err != CV_OK) {
        destroy(tcp);
        return err;
    }
    *out = tcp;
    return CV_OK;
}

static void stop(struct end *end)
{
    cv_watch_free(end->watch);
    if (end->fd >= 0)
        close(end->fd);
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
    stop(&tcp->v4);
    stop(&tcp->v6);
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

/* A socket whose SYN has gone, from the port we listen on.  A negative
 * CV_ERR_* otherwise. */
static int begin(struct cv_tcp *tcp, const struct cv_addr *to, unsigned ttl)
{
    const struct end *end = to->family == CV_FAMILY_IPV4 ? &tcp->v4 : &tcp->v6;
    struct sockaddr_storage ss;
    struct linger abort_it = {.l_onoff = 1};
    socklen_t len = cv_addr_to_sockaddr(to, &ss);
    int fd, e;

    if (end->fd < 0)
        return CV_ERR_NONET;
    fd = new_socket(to->family, true);
    if (fd < 0)
        return cv_err_from_errno(errno);
    set_option(fd, IPPROTO_TCP, TCP_SYNCNT, ttl > 0 ? LOW_SYNS : 1);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    if (ttl > 0)
        set_ttl(fd, to->family, ttl);
    if (bind_any(fd, to->family, end->port) == 0 &&
        (connect(fd, (struct sockaddr *)&ss, len) == 0 ||
         errno == EINPROGRESS)) {
        set_ttl(fd, to->family, 0); /* the SYN has gone */
        return fd;
    }
    e = errno;
    close(fd);
    return e == EADDRNOTAVAIL || e == EADDRINUSE   ? CV_ERR_EXISTS
           : e == ENETUNREACH || e == EHOSTUNREACH ? CV_ERR_NONET
                                                   : CV_ERR_IO;
}

int cv_tcp_connect(struct cv_tcp *tcp, enum cv_tcp_kind kind,
                   const struct cv_addr *to, unsigned ttl, uint32_t *channel)
{
    struct link *l;
    int fd;

    if (tcp->n_links >= CV_TCP_LINKS)
        return CV_ERR_LIMIT;
    fd = begin(tcp, to, ttl);
    if (fd < 0)
        return fd;
    l = add_link(tcp, fd, kind, to, CV_WATCH_WRITE);
    if (!l) {
        close(fd);
        return CV_ERR_NOMEM;
    }
    l->ours = true;
    l->state = CONNECTING;
    if (ttl > 0) {
        l->low_ttl = ttl;
        l->lower_at = cv_loop_now(tcp->loop) + CV_SECOND - LOW_MARGIN;
        set_timer(tcp);
    }
    *channel = l->addr.channel;
    return CV_OK;
}

bool cv_tcp_is_met(const struct cv_tcp *tcp, uint32_t channel)
{
    const struct link *l = find(tcp, channel);
    struct tcp_info info;
    socklen_t len = sizeof info;

    return l && getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           (info.tcpi_state == TCP_SYN_RECV ||
            info.tcpi_state == TCP_ESTABLISHED);
}

void cv_tcp_close(struct cv_tcp *tcp, uint32_t channel)
{
    struct link *l = find(tcp, channel);

    if (!l)
        return;
    enter(tcp);
    end_link(l);
    leave(tcp);
}

void cv_tcp_keep(struct cv_tcp *tcp, uint32_t channel)
{
    struct link *l = find(tcp, channel);

    if (!l || l->kept)
        return;
    l->kept = true;
    l->prove_by = CV_NEVER;
    set_timer(tcp);
}
