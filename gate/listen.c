#include "gate/listen.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct cv_gate_listen {
    int fd;
    struct cv_watch *watch;
    cv_gate_accept_fn accepted;
    void *user;
};

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
        if (fd < 0)
            return; /* none, or no descriptors left: later */
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
