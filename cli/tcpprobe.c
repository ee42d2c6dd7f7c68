#include "cli/tcpprobe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct cv_tcpprobe {
    struct cv_loop *loop;
    int fd;
    struct cv_watch *watch;
    struct cv_timer *timer; /* the time is up */
    cv_time started, took;
    bool connected, over;
    struct cv_writer request, answer;
    void (*done)(void *user, int err, cv_time took, struct cv_bytes answer);
    void *user;
};

static void end(struct cv_tcpprobe *p, int err)
{
    if (p->over)
        return;
    p->over = true;
    cv_watch_set(p->watch, 0);
    cv_timer_set(p->timer, CV_NEVER);
    p->done(p->user, err, p->took, cv_writer_bytes(&p->answer));
}

static void on_timer(void *user)
{
    struct cv_tcpprobe *p = user;

    end(p, p->connected ? CV_OK : CV_ERR_TIMEOUT);
}

static void on_connected(struct cv_tcpprobe *p)
{
    socklen_t len = sizeof(int);
    int failure = 0;

    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
        failure = errno;
    if (failure != 0) {
        end(p, cv_err_from_errno(failure));
        return;
    }
    p->connected = true;
    p->took = cv_loop_now(p->loop) - p->started;
    /* It is short, and the socket is new: it fits. */
    if (p->request.len == 0 ||
        send(p->fd, p->request.data, p->request.len, MSG_NOSIGNAL) < 0)
        end(p, CV_OK);
    else
        cv_watch_set(p->watch, CV_WATCH_READ);
}

static void on_ready(void *user, unsigned ready)
{
    struct cv_tcpprobe *p = user;
    uint8_t data[1024];
    ssize_t n;

    (void)ready;
    if (p->over)
        return;
    if (!p->connected) {
        on_connected(p);
        return;
    }
    n = recv(p->fd, data, sizeof data, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        cv_put_raw(&p->answer, data, (size_t)n);
    if (n <= 0 || p->answer.err != CV_OK)
        end(p, CV_OK);
}

static int begin(struct cv_tcpprobe *p, const struct cv_addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(to, &ss);
    int err;

    p->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return cv_err_from_errno(errno);
    if (connect(p->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
        return cv_err_from_errno(errno);
    err = cv_timer_new(&p->timer, p->loop, on_timer, p);
    if (err == CV_OK)
        err = cv_watch_new(&p->watch, p->loop, p->fd, CV_WATCH_WRITE, on_ready,
                           p);
    if (err == CV_OK)
        cv_timer_set(p->timer, p->started + CV_TCPPROBE_TIME);
    return err;
}

int cv_tcpprobe_new(struct cv_tcpprobe **out, struct cv_loop *loop,
                    const struct cv_addr *to, struct cv_bytes request,
                    size_t max,
                    void (*done)(void *user, int err, cv_time took,
                                 struct cv_bytes answer),
                    void *user)
{
    struct cv_tcpprobe *p = calloc(1, sizeof *p);
    int err;

    if (p == NULL)
        return CV_ERR_NOMEM;
    p->fd = -1;
    p->loop = loop;
    p->done = done;
    p->user = user;
    p->started = cv_loop_now(loop);
    cv_writer_init_heap(&p->answer, max);
    cv_writer_init_heap(&p->request, request.len + 1);
    cv_put_raw(&p->request, request.data, request.len);
    err = p->request.err != CV_OK ? p->request.err : begin(p, to);
    if (err != CV_OK) {
        cv_tcpprobe_free(p);
        return err;
    }
    *out = p;
    return CV_OK;
}

void cv_tcpprobe_free(struct cv_tcpprobe *p)
{
    if (p == NULL)
        return;
    cv_watch_free(p->watch);
    cv_timer_free(p->timer);
    if (p->fd >= 0)
        close(p->fd);
    cv_writer_fini(&p->request);
    cv_writer_fini(&p->answer);
    free(p);
}
