#include "cli/tcpprobe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "cli/probe.h"

struct cv_tcpprobe {
    struct cv_probe to; /* its timer: the time is up */
    cv_time started, took;
    bool connected;
    struct cv_writer request, answer;
    void (*done)(void *user, int err, cv_time took, struct cv_bytes answer);
    void *user;
};

static void end(struct cv_tcpprobe *p, int err)
{
    if (cv_probe_stop(&p->to))
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

    if (getsockopt(p->to.fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
        failure = errno;
    if (failure != 0) {
        end(p, cv_err_from_errno(failure));
        return;
    }
    p->connected = true;
    p->took = cv_loop_now(p->to.loop) - p->started;
    /* It is short, and the socket is new: it fits. */
    if (p->request.len == 0 ||
        send(p->to.fd, p->request.data, p->request.len, MSG_NOSIGNAL) < 0)
        end(p, CV_OK);
    else
        cv_watch_set(p->to.watch, CV_WATCH_READ);
}

static void on_ready(void *user, unsigned ready)
{
    struct cv_tcpprobe *p = user;
    uint8_t data[1024];
    ssize_t n;

    (void)ready;
    if (p->to.over)
        return;
    if (!p->connected) {
        on_connected(p);
        return;
    }
    n = recv(p->to.fd, data, sizeof data, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        cv_put_raw(&p->answer, data, (size_t)n);
    if (n <= 0 || p->answer.err != CV_OK)
        end(p, CV_OK);
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
    p->done = done;
    p->user = user;
    p->started = cv_loop_now(loop);
    cv_writer_init_heap(&p->answer, max);
    cv_writer_init_heap(&p->request, request.len + 1);
    cv_put_raw(&p->request, request.data, request.len);
    err = p->request.err;
    if (err == CV_OK)
        err = cv_probe_open(&p->to, loop, to, SOCK_STREAM, CV_WATCH_WRITE,
                            on_ready, on_timer, p);
    if (err != CV_OK) {
        cv_tcpprobe_free(p);
        return err;
    }
    cv_timer_set(p->to.timer, p->started + CV_TCPPROBE_TIME);
    *out = p;
    return CV_OK;
}

void cv_tcpprobe_free(struct cv_tcpprobe *p)
{
    if (p == NULL)
        return;
    cv_probe_close(&p->to);
    cv_writer_fini(&p->request);
    cv_writer_fini(&p->answer);
    free(p);
}
