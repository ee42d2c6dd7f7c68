#include "gate/listen.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct cv_gate_listen {
    int fd;
    int spare; /* given up for a moment when descriptors run out */
    struct cv_watch *watch;
    cv_gate_accept_fn accepted;
    void *user;
};

/* No descriptor is left: who waits is turned away, for the listener would be
 * ready for ever. */
static void turn_away(struct cv_gate_listen *l)
{
    int fd;

    if (l->spare >= 0)
        close(l->spare);
    fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_ready(void *user, unsigned ready)
{
    struct cv_gate_listen *l = user;

    (void)ready;
    for (unsigned i = 0; i < CV_GATE_ACCEPTS; i++) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;
        struct cv_addr from;
        int one = 1, fd;

        fd = accept4(l->fd, (struct sockaddr *)&ss, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            turn_away(l);
            continue;
        }
        if (fd < 0)
            return;
        if (cv_addr_from_sockaddr(&from, (struct sockaddr *)&ss) != CV_OK) {
            close(fd);
            continue;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        l->accepted(l->user, fd, &from);
    }
}

int cv_gate_listen_new(struct cv_gate_listen **out, struct cv_loop *loop,
                       const struct cv_addr *at, cv_gate_accept_fn accepted,
                       void *user)
{
    struct cv_gate_listen *l = calloc(1, sizeof *l);
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(at, &ss);
    int one = 1, err;

    if (!l)
        return CV_ERR_NOMEM;
    l->accepted = accepted;
    l->user = user;
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    l->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        goto fail;
    (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ss.ss_family == AF_INET6)
        (void)setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(l->fd, (struct sockaddr *)&ss, len) < 0 ||
        listen(l->fd, CV_GATE_BACKLOG) < 0)
        goto fail;
    err = cv_watch_new(&l->watch, loop, l->fd, CV_WATCH_READ, on_ready, l);
    if (err != CV_OK) {
        cv_gate_listen_free(l);
        return err;
    }
    *out = l;
    return CV_OK;
fail:
    err = cv_err_from_errno(errno);
    cv_gate_listen_free(l);
    return err;
}

void cv_gate_listen_free(struct cv_gate_listen *l)
{
    if (!l)
        return;
    cv_watch_free(l->watch);
    if (l->fd >= 0)
        close(l->fd);
    if (l->spare >= 0)
        close(l->spare);
    free(l);
}

uint16_t cv_gate_listen_port(const struct cv_gate_listen *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct cv_addr a;

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0 ||
        cv_addr_from_sockaddr(&a, (struct sockaddr *)&ss) != CV_OK)
        return 0;
    return a.port;
}
