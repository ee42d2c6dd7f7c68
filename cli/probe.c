#include "cli/probe.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int cv_probe_open(struct cv_probe *p, struct cv_loop *loop,
                  const struct cv_addr *to, int type, unsigned ready,
                  void (*on_ready)(void *user, unsigned ready),
                  void (*on_timer)(void *user), void *user)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(to, &ss);
    int err;

    p->loop = loop;
    p->fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    p->open = p->fd >= 0;
    if (!p->open)
        return cv_err_from_errno(errno);
    if (connect(p->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
        return cv_err_from_errno(errno);
    err = cv_timer_new(&p->timer, loop, on_timer, user);
    if (err == CV_OK)
        err = cv_watch_new(&p->watch, loop, p->fd, ready, on_ready, user);
    return err;
}

bool cv_probe_stop(struct cv_probe *p)
{
    if (p->over)
        return false;
    p->over = true;
    cv_watch_set(p->watch, 0);
    cv_timer_set(p->timer, CV_NEVER);
    return true;
}

void cv_probe_close(struct cv_probe *p)
{
    cv_watch_free(p->watch);
    cv_timer_free(p->timer);
    if (p->open)
        close(p->fd);
}
