/* How links begin: listening, accepting, and SYNs that are to meet another. */
#include "transport/tcp_struct.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 32
/* How often a SYN with a low TTL is repeated: for 127 s. */
#define LOW_SYNS 6
/* The kernel's timer is never early, and we may be late by so much. */
#define LOW_MARGIN (60 * CV_MILLISECOND)
#define LOW_LOOK   (20 * CV_MILLISECOND)

/* The TTL of what follows; 0: the system's.  While it is low the kernel must
 * not take the expiry of our SYN for an error: it drops errors that quote a
 * packet with less than the least TTL that we accept.  (In the lab 0 of 18
 * without, 18 of 18 with it.  For IPv6 it looks at the hop limit of the message
 * itself, so there the plan has to try again.) */
static void set_ttl(int fd, enum cv_family family, unsigned ttl)
{
    int value = ttl > 0 ? (int)ttl : -1;

    if (family == CV_FAMILY_IPV6) {
        cv_tcp_set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, value);
        return;
    }
    cv_tcp_set_option(fd, IPPROTO_IP, IP_TTL, value);
    if (ttl > 0)
        cv_tcp_set_option(fd, IPPROTO_IP, IP_MINTTL, CV_TCP_LOW_TTL + 1);
}

/* An unbound socket, or -1. */
static int new_socket(enum cv_family family, bool share)
{
    int fd = socket(family == CV_FAMILY_IPV4 ? AF_INET : AF_INET6,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    cv_tcp_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (share)
        cv_tcp_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (family == CV_FAMILY_IPV6)
        cv_tcp_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return fd;
}

static int bind_any(int fd, enum cv_family family, uint16_t port)
{
    struct cv_addr any = {.family = (uint8_t)family, .port = port};
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&any, &ss);

    return bind(fd, (struct sockaddr *)&ss, len);
}

/* ---- listening ------------------------------------------------------- */

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

static bool is_stranger(const struct link *l)
{
    return l->state == UP && !l->ours && !l->kept;
}

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
        cv_tcp_lose(of_source, CV_ERR_LIMIT);
    else if (all >= CV_TCP_STRANGERS)
        cv_tcp_lose(of_all, CV_ERR_LIMIT);
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
    l = cv_tcp_add_link(tcp, fd, CV_TCP_PEER, from, CV_WATCH_READ);
    if (!l) {
        close(fd);
        return;
    }
    cv_tcp_set_up(l, cv_loop_now(tcp->loop));
    cv_debug(tcp->log, "tcp: accepted, channel=%u addr=%s",
             (unsigned)l->addr.channel, cv_addr_log(tcp->log, from, text));
}

static void on_accept(void *user, unsigned ready)
{
    struct end *end = user;
    struct cv_tcp *tcp = end->tcp;

    (void)ready;
    cv_tcp_enter(tcp);
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
    cv_tcp_leave(tcp);
}

int cv_tcp_listen(struct cv_tcp *tcp, struct end *end, enum cv_family family,
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

void cv_tcp_unlisten(struct end *end)
{
    cv_watch_free(end->watch);
    if (end->fd >= 0)
        close(end->fd);
}

/* ---- connecting ------------------------------------------------------ */

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
    cv_tcp_set_option(fd, IPPROTO_TCP, TCP_SYNCNT, ttl > 0 ? LOW_SYNS : 1);
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
    l = cv_tcp_add_link(tcp, fd, kind, to, CV_WATCH_WRITE);
    if (!l) {
        close(fd);
        return CV_ERR_NOMEM;
    }
    l->ours = true;
    l->state = CONNECTING;
    if (ttl > 0) {
        l->low_ttl = ttl;
        l->lower_at = cv_loop_now(tcp->loop) + CV_SECOND - LOW_MARGIN;
        cv_tcp_set_timer(tcp);
    }
    *channel = l->addr.channel;
    return CV_OK;
}

void cv_tcp_watch_low(struct link *l, cv_time now)
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

bool cv_tcp_is_met(const struct cv_tcp *tcp, uint32_t channel)
{
    const struct link *l = cv_tcp_find(tcp, channel);
    struct tcp_info info;
    socklen_t len = sizeof info;

    return l && getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           (info.tcpi_state == TCP_SYN_RECV ||
            info.tcpi_state == TCP_ESTABLISHED);
}
