#include "discovery/quicksend.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_MAX 64 /* before others get their turn */

struct cv_quicksend {
    struct cv_loop *loop;
    int fd;
    struct cv_watch *watch;
    struct cv_timer *timer;
    void (*value)(void *user, uint64_t get, struct cv_bytes value);
    void *user;
    struct cv_quickput q;
};

static void on_send(void *user, const struct cv_addr *to, const uint8_t *data,
                    size_t len)
{
    struct cv_quicksend *s = user;
    struct sockaddr_storage ss;
    const socklen_t ss_len = cv_addr_to_sockaddr(to, &ss);

    (void)sendto(s->fd, data, len, MSG_DONTWAIT, (struct sockaddr *)&ss,
                 ss_len); /* a loss like any other */
}

static void on_value(void *user, uint64_t get, struct cv_bytes value)
{
    struct cv_quicksend *s = user;

    s->value(s->user, get, value);
}

static void on_readable(void *user, unsigned ready)
{
    struct cv_quicksend *s = user;
    uint8_t buf[2048];

    (void)ready;
    for (unsigned i = 0; i < READS_MAX; i++) {
        struct sockaddr_storage ss;
        socklen_t ss_len = sizeof(ss);
        struct cv_addr from;
        const ssize_t n = recvfrom(s->fd, buf, sizeof(buf), MSG_DONTWAIT,
                                   (struct sockaddr *)&ss, &ss_len);

        if (n < 0 && errno != EINTR)
            break;
        if (n > 0 &&
            cv_addr_from_sockaddr(&from, (struct sockaddr *)&ss) == CV_OK)
            cv_quickput_input(&s->q, &from, buf, (size_t)n,
                              cv_loop_now(s->loop));
    }
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

static void on_timer(void *user)
{
    struct cv_quicksend *s = user;

    cv_quickput_step(&s->q, cv_loop_now(s->loop));
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

int cv_quicksend_new(struct cv_quicksend **out, struct cv_loop *loop,
                     void (*value)(void *user, uint64_t get,
                                   struct cv_bytes value),
                     void *user)
{
    struct cv_quicksend *s = calloc(1, sizeof(*s));
    int err = CV_ERR_NONET;

    if (s == NULL)
        return CV_ERR_NOMEM;
    s->loop = loop;
    s->value = value;
    s->user = user;
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        goto fail;
    err = cv_watch_new(&s->watch, loop, s->fd, CV_WATCH_READ, on_readable, s);
    if (err == CV_OK)
        err = cv_timer_new(&s->timer, loop, on_timer, s);
    if (err != CV_OK)
        goto fail;
    cv_quickput_init(&s->q, &cv_rng_system, on_send, on_value, s);
    *out = s;
    return CV_OK;
fail:
    cv_quicksend_free(s);
    return err;
}

void cv_quicksend_free(struct cv_quicksend *s)
{
    if (s == NULL)
        return;
    cv_watch_free(s->watch);
    cv_timer_free(s->timer);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

void cv_quicksend_boot(struct cv_quicksend *s, const struct cv_addr *addr)
{
    if (s == NULL)
        return;
    cv_quickput_boot(&s->q, addr, cv_loop_now(s->loop));
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

void cv_quicksend_put(struct cv_quicksend *s, const struct cv_loc *loc,
                      struct cv_bytes value)
{
    if (s == NULL)
        return;
    if (cv_quickput_put(&s->q, loc, value, cv_loop_now(s->loop)) != CV_OK)
        return; /* the library's own put is on its way, too */
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

void cv_quicksend_get(struct cv_quicksend *s, const struct cv_loc *loc,
                      uint64_t get)
{
    if (s == NULL)
        return;
    cv_quickput_get(&s->q, loc, get, cv_loop_now(s->loop));
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

void cv_quicksend_listen(struct cv_quicksend *s, const struct cv_loc *loc,
                         uint64_t get)
{
    if (s == NULL)
        return;
    cv_quickput_listen(&s->q, loc, get, cv_loop_now(s->loop));
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

void cv_quicksend_moved(struct cv_quicksend *s)
{
    if (s == NULL)
        return;
    cv_quickput_moved(&s->q, cv_loop_now(s->loop));
    cv_timer_set(s->timer, cv_quickput_deadline(&s->q));
}

void cv_quicksend_end(struct cv_quicksend *s, uint64_t get)
{
    if (s != NULL)
        cv_quickput_end(&s->q, get);
}
