#include "transport/udp.h"
#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define LOOK_EVERY 8    /* times that one thing came */
#define TRAIN_LONG 4096 /* bytes */
#define BIND_TRIES 16   /* for one number that is free on both families */
#define READ_CONTROL                                                           \
    (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)))
#define SEND_CONTROL                                                           \
    (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) +        \
     CMSG_SPACE(sizeof(uint16_t)))

struct end { /* one socket */
    struct cv_udp *udp;
    int fd; /* -1: none */
    uint16_t port;
    struct cv_watch *watch;
    bool gso;
    bool waiting;  /* for room */
    bool trains;   /* come just now, long ones */
    unsigned lone; /* times in a row that there was just one thing to read */
};

struct cv_udp {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_udp_events *events;
    void *user;
    struct end v4, v6;
    unsigned depth;      /* of our own callbacks */
    bool freed;          /* by one of them: the last one out does it */
    struct mmsghdr *msg; /* [CV_UDP_BATCH], buffers behind */
    struct iovec iov[CV_UDP_BATCH];
    struct sockaddr_storage from[CV_UDP_BATCH];
    _Alignas(struct cmsghdr) char control[CV_UDP_BATCH][READ_CONTROL];
    uint8_t *buffer; /* made by the first read */
};

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* Returns the descriptor, or a negative CV_ERR_*. */
static int open_socket(const struct cv_addr *bind_to)
{
    bool v4 = bind_to->family == CV_FAMILY_IPV4;
    struct sockaddr_storage ss;
    socklen_t ss_len = cv_addr_to_sockaddr(bind_to, &ss);
    int fd, err;

    fd = socket(v4 ? AF_INET : AF_INET6,
                SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? CV_ERR_NONET : cv_err_from_errno(errno);
    if (v4) {
        set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    } else {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
    set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
    set_option(fd, SOL_SOCKET, SO_RCVBUF, CV_UDP_BUFFER);
    set_option(fd, SOL_SOCKET, SO_SNDBUF, CV_UDP_BUFFER);
    if (bind(fd, (struct sockaddr *)&ss, ss_len) < 0) {
        err = errno == EADDRINUSE      ? CV_ERR_BUSY
              : errno == EADDRNOTAVAIL ? CV_ERR_NONET
                                       : cv_err_from_errno(errno);
        close(fd);
        return err;
    }
    return fd;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct cv_addr a;

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
        cv_addr_from_sockaddr(&a, (struct sockaddr *)&ss) != CV_OK)
        return 0;
    return a.port;
}

/* One datagram or, with GRO, several of `segment` bytes. */
static void deliver(struct end *end, struct msghdr *h, size_t len)
{
    struct cv_udp *udp = end->udp;
    struct cv_addr from, local = {0};
    size_t segment = len;
    uint8_t *data = h->msg_iov->iov_base;

    if (cv_addr_from_sockaddr(&from, h->msg_name) != CV_OK || len == 0 ||
        (h->msg_flags & MSG_TRUNC))
        return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof info);
            local.family = CV_FAMILY_IPV4;
            memcpy(local.ip, &info.ipi_addr, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 &&
                   c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof info);
            local.family = CV_FAMILY_IPV6;
            memcpy(local.ip, &info.ipi6_addr, 16);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;

            memcpy(&size, CMSG_DATA(c), sizeof size);
            if (size > 0)
                segment = (size_t)size;
        }
    }
    local.port = end->port;
    end->trains = len > segment && len >= TRAIN_LONG;
    if (udp->events->train) {
        udp->events->train(udp->user, &from, &local, data, len,
                           segment < len ? segment : len);
        return;
    }
    for (size_t at = 0; at < len && !udp->freed; at += segment)
        udp->events->packet(udp->user, &from, &local, data + at,
                            len - at < segment ? len - at : segment);
}

/* Read at most `batch` times at once.  Returns how often there was something,
 * 0 to try again, or -1 when there is nothing more. */
static int read_batch(struct end *end, unsigned batch)
{
    struct cv_udp *udp = end->udp;
    int n;

    for (unsigned i = 0; i < batch; i++) {
        udp->iov[i].iov_base = udp->buffer + (size_t)i * CV_UDP_MAX;
        udp->iov[i].iov_len = CV_UDP_MAX;
        udp->msg[i].msg_hdr = (struct msghdr){
            .msg_name = &udp->from[i],
            .msg_namelen = sizeof udp->from[i],
            .msg_iov = &udp->iov[i],
            .msg_iovlen = 1,
            .msg_control = udp->control[i],
            .msg_controllen = sizeof udp->control[i],
        };
    }
    n = recvmmsg(end->fd, udp->msg, batch, MSG_DONTWAIT, NULL);
    /* Errors of earlier sends are reported here; they are losses. */
    if (n < 0)
        return errno == EINTR || errno == ECONNREFUSED ||
                       errno == EHOSTUNREACH || errno == ENETUNREACH
                   ? 0
                   : -1;
    for (int i = 0; i < n && !udp->freed; i++)
        deliver(end, &udp->msg[i].msg_hdr, udp->msg[i].msg_len);
    return n;
}

/* How often to read at once.  Long trains fill their buffers: few, so that they
 * stay in the processor's cache.  Where things come one by one, looking for
 * more would only cost time before the answer; now and then we look. */
static unsigned batch_of(const struct end *end)
{
    if (end->trains)
        return 2;
    return end->lone % LOOK_EVERY == 0 ? CV_UDP_BATCH : 1;
}

static void read_some(struct end *end)
{
    struct cv_udp *udp = end->udp;
    unsigned batch, reads;

    /* Of hundreds of sockets opened for a moment few are ever sent to. */
    if (!udp->buffer)
        udp->buffer = malloc((size_t)CV_UDP_BATCH * CV_UDP_MAX);
    if (!udp->buffer) {
        (void)recv(end->fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC); /* lost */
        return;
    }
    batch = batch_of(end);
    for (reads = 0; reads < CV_UDP_READS && !udp->freed;) {
        int n = read_batch(end, batch);

        if (n < 0)
            break;
        reads += n > 0 ? (unsigned)n : batch;
        if (n > 0 && ((unsigned)n < batch || batch == 1))
            break;
    }
    end->lone = reads == 1 ? end->lone + 1 : 0;
    if (udp->events->batch && !udp->freed)
        udp->events->batch(udp->user);
}

static void destroy(struct cv_udp *udp);

static void on_ready(void *user, unsigned ready)
{
    struct end *end = user;
    struct cv_udp *udp = end->udp;

    udp->depth++;
    if ((ready & CV_WATCH_WRITE) && end->waiting) {
        end->waiting = false;
        cv_watch_set(end->watch, CV_WATCH_READ);
        if (udp->events->writable)
            udp->events->writable(udp->user);
    }
    if ((ready & CV_WATCH_READ) && !udp->freed)
        read_some(end);
    if (--udp->depth == 0 && udp->freed)
        destroy(udp);
}

static int start(struct cv_udp *udp, struct end *end)
{
    if (end->fd < 0)
        return CV_OK;
    end->udp = udp;
    end->gso = true;
    end->port = bound_port(end->fd);
    return cv_watch_new(&end->watch, udp->loop, end->fd, CV_WATCH_READ,
                        on_ready, end);
}

/* Takes the descriptors. */
static int make(struct cv_udp **out, struct cv_loop *loop, struct cv_log *log,
                int fd4, int fd6, const struct cv_udp_events *events,
                void *user)
{
    struct cv_udp *udp = calloc(1, sizeof *udp);
    int err = CV_ERR_NOMEM;

    if (!udp) {
        if (fd4 >= 0)
            close(fd4);
        if (fd6 >= 0)
            close(fd6);
        return CV_ERR_NOMEM;
    }
    udp->loop = loop;
    udp->log = log;
    udp->events = events;
    udp->user = user;
    udp->v4.fd = fd4;
    udp->v6.fd = fd6;
    udp->msg = calloc(CV_UDP_BATCH, sizeof *udp->msg);
    if (!udp->msg)
        goto fail;
    err = start(udp, &udp->v4);
    if (err == CV_OK)
        err = start(udp, &udp->v6);
    if (err != CV_OK)
        goto fail;
    *out = udp;
    return CV_OK;
fail:
    cv_udp_free(udp);
    return err;
}

int cv_udp_new(struct cv_udp **out, struct cv_loop *loop, struct cv_log *log,
               uint16_t port, const struct cv_udp_events *events, void *user)
{
    struct cv_addr any4 = {.family = CV_FAMILY_IPV4};
    struct cv_addr any6 = {.family = CV_FAMILY_IPV6};
    int fd4 = CV_ERR_NONET, fd6 = CV_ERR_NONET;

    for (unsigned i = 0; i < BIND_TRIES; i++) {
        any4.port = port;
        fd4 = open_socket(&any4);
        if (fd4 < 0 && fd4 != CV_ERR_NONET)
            return fd4;
        any6.port = fd4 >= 0 ? bound_port(fd4) : port;
        fd6 = open_socket(&any6);
        if (fd6 != CV_ERR_BUSY || port != 0)
            break;
        close(fd4);
    }
    if (fd4 < 0 && fd6 < 0)
        return fd6 == CV_ERR_BUSY ? CV_ERR_BUSY : CV_ERR_NONET;
    if (fd6 == CV_ERR_BUSY && fd4 >= 0 && port == 0) {
        any6.port = 0; /* never the same number: live with two */
        fd6 = open_socket(&any6);
    } else if (fd6 == CV_ERR_BUSY) {
        close(fd4);
        return CV_ERR_BUSY;
    }
    return make(out, loop, log, fd4, fd6, events, user);
}

int cv_udp_new_at(struct cv_udp **out, struct cv_loop *loop, struct cv_log *log,
                  const struct cv_addr *bind_to,
                  const struct cv_udp_events *events, void *user)
{
    bool v4 = bind_to->family == CV_FAMILY_IPV4;
    int fd = open_socket(bind_to);

    if (fd < 0)
        return fd;
    return make(out, loop, log, v4 ? fd : -1, v4 ? -1 : fd, events, user);
}

static void stop(struct end *end)
{
    cv_watch_free(end->watch);
    if (end->fd >= 0)
        close(end->fd);
}

void cv_udp_free(struct cv_udp *udp)
{
    if (!udp || udp->freed)
        return;
    udp->freed = true;
    if (udp->depth == 0)
        destroy(udp);
}

static void destroy(struct cv_udp *udp)
{
    stop(&udp->v4);
    stop(&udp->v6);
    free(udp->msg);
    free(udp->buffer);
    free(udp);
}

uint16_t cv_udp_port(const struct cv_udp *udp)
{
    return udp->v4.fd >= 0 ? udp->v4.port : udp->v6.port;
}

bool cv_udp_has(const struct cv_udp *udp, enum cv_family family)
{
    return (family == CV_FAMILY_IPV4 ? udp->v4.fd : udp->v6.fd) >= 0;
}

/* Append one header; the buffer of `h` has room for all three. */
static void add_control(struct msghdr *h, int level, int type, const void *data,
                        size_t len)
{
    void *at = (char *)h->msg_control + h->msg_controllen;
    struct cmsghdr *c = at;

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    h->msg_controllen += CMSG_SPACE(len);
}

/* One sendmsg; returns 0 or errno. */
static int send_once(struct end *end, const struct cv_addr *to,
                     const struct cv_addr *local, unsigned ttl,
                     const uint8_t *data, size_t len, size_t segment)
{
    _Alignas(struct cmsghdr) char control[SEND_CONTROL] = {0};
    struct sockaddr_storage ss;
    struct iovec iov = {.iov_len = len};
    struct msghdr h = {.msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1};
    bool v4 = to->family == CV_FAMILY_IPV4;

    memcpy(&iov.iov_base, &data, sizeof data); /* sendmsg does not write */
    h.msg_namelen = cv_addr_to_sockaddr(to, &ss);
    h.msg_control = control;
    if (local && local->family == to->family) {
        if (v4) {
            struct in_pktinfo info = {0};

            memcpy(&info.ipi_spec_dst, local->ip, 4);
            add_control(&h, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
        } else {
            struct in6_pktinfo info = {0};

            memcpy(&info.ipi6_addr, local->ip, 16);
            add_control(&h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
        }
    }
    if (ttl > 0) {
        int value = (int)ttl;

        add_control(&h, v4 ? IPPROTO_IP : IPPROTO_IPV6,
                    v4 ? IP_TTL : IPV6_HOPLIMIT, &value, sizeof value);
    }
    if (segment < len) {
        uint16_t value = (uint16_t)segment;

        add_control(&h, IPPROTO_UDP, UDP_SEGMENT, &value, sizeof value);
    }
    if (h.msg_controllen == 0)
        h.msg_control = NULL;
    for (;;) {
        if (sendmsg(end->fd, &h, 0) >= 0)
            return 0;
        if (errno != EINTR)
            return errno;
    }
}

int cv_udp_send(struct cv_udp *udp, const struct cv_addr *to,
                const struct cv_addr *local, unsigned ttl, const uint8_t *data,
                size_t len, size_t segment)
{
    struct end *end = to->family == CV_FAMILY_IPV4 ? &udp->v4 : &udp->v6;
    int e = 0;

    assert(segment > 0 && segment <= UINT16_MAX && len > 0);
    if (end->fd < 0)
        return CV_ERR_NONET;
    while (len > 0) {
        size_t n = end->gso ? segment * CV_UDP_SEGMENTS : segment;

        if (n > 65000)
            n = 65000 / segment * segment;
        if (n > len)
            n = len;
        e = send_once(end, to, local, ttl, data, n, segment);
        if (e != 0 && local && local->family != CV_FAMILY_NONE &&
            (e == EINVAL || e == EADDRNOTAVAIL || e == ENETUNREACH ||
             e == ENODEV)) {
            local = NULL; /* that address is no longer ours */
            continue;
        }
        if (n > segment && (e == EINVAL || e == EIO || e == EOPNOTSUPP)) {
            /* No UDP_SEGMENT here, or not through this device: one by one
             * from now on. */
            cv_debug(udp->log, "udp: no segmentation, errno=%d", e);
            end->gso = false;
            continue;
        }
        if (e == EAGAIN || e == EWOULDBLOCK || e == ENOBUFS) {
            if (!end->waiting) {
                end->waiting = true;
                cv_watch_set(end->watch, CV_WATCH_READ | CV_WATCH_WRITE);
            }
            return CV_ERR_AGAIN;
        }
        if (e != 0)
            return CV_ERR_IO;
        data += n;
        len -= n;
    }
    return CV_OK;
}
