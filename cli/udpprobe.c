#include "cli/udpprobe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cli/probe.h"
#include "transport/stun.h"

/* The timer is the next try, or the end. */
struct cv_udpprobe {
    struct cv_probe to;
    uint8_t txid[CV_UDPPROBE_TRIES][CV_STUN_TXID];
    cv_time sent[CV_UDPPROBE_TRIES];
    unsigned tries;
    void (*done)(void *user, int err, cv_time took);
    void *user;
};

static void end(struct cv_udpprobe *p, int err, cv_time took)
{
    if (cv_probe_stop(&p->to))
        p->done(p->user, err, took);
}

static void on_timer(void *user)
{
    struct cv_udpprobe *p = user;
    /* No answer is longer than its question: room for an IPv6 address. */
    static const uint8_t fill[20];
    uint8_t request[CV_STUN_HEADER + 4 + sizeof fill];
    struct cv_writer w;

    if (p->tries == CV_UDPPROBE_TRIES) {
        end(p, CV_ERR_TIMEOUT, 0);
        return;
    }
    cv_writer_init(&w, request, sizeof request);
    (void)cv_stun_begin(&w, CV_STUN_REQUEST, p->txid[p->tries]);
    (void)cv_stun_put(&w, CV_STUN_FILL, fill, sizeof fill);
    p->sent[p->tries++] = cv_loop_now(p->to.loop);
    (void)send(p->to.fd, request, w.len, 0); /* an error is read, too */
    cv_timer_set(p->to.timer, cv_loop_now(p->to.loop) + CV_UDPPROBE_EVERY);
}

static void on_ready(void *user, unsigned ready)
{
    struct cv_udpprobe *p = user;
    uint8_t answer[CV_STUN_MAX];
    struct cv_stun m;
    ssize_t n = recv(p->to.fd, answer, sizeof answer, 0);

    (void)ready;
    if (p->to.over)
        return;
    if (n < 0 && errno == ECONNREFUSED)
        end(p, CV_ERR_IO, 0);
    if (n <= 0 || cv_stun_parse(&m, answer, (size_t)n) != CV_OK ||
        m.type != CV_STUN_SUCCESS)
        return;
    for (unsigned i = 0; i < p->tries; i++)
        if (memcmp(m.txid, p->txid[i], CV_STUN_TXID) == 0) {
            end(p, CV_OK, cv_loop_now(p->to.loop) - p->sent[i]);
            return;
        }
}

int cv_udpprobe_new(struct cv_udpprobe **out, struct cv_loop *loop,
                    const struct cv_rng *rng, const struct cv_addr *to,
                    void (*done)(void *user, int err, cv_time took), void *user)
{
    struct cv_udpprobe *p = calloc(1, sizeof *p);
    int err;

    if (p == NULL)
        return CV_ERR_NOMEM;
    p->done = done;
    p->user = user;
    cv_random(rng, p->txid, sizeof p->txid);
    err = cv_probe_open(&p->to, loop, to, SOCK_DGRAM, CV_WATCH_READ, on_ready,
                        on_timer, p);
    if (err != CV_OK) {
        cv_udpprobe_free(p);
        return err;
    }
    cv_timer_set(p->to.timer, 0);
    *out = p;
    return CV_OK;
}

void cv_udpprobe_free(struct cv_udpprobe *p)
{
    if (p == NULL)
        return;
    cv_probe_close(&p->to);
    free(p);
}
