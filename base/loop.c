#include "base/loop_struct.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Calls that may wait at a time. */
#define POSTS_MAX 65536

/* The longest wait given to libevent; a timer that fires early waits on. */
#define WAIT_MAX CV_HOUR

/* ---- the loop ---- */

/* Rounded up, so that nothing fires early. */
static struct timeval to_timeval(cv_time wait)
{
    if (wait < 0)
        wait = 0;
    if (wait > WAIT_MAX)
        wait = WAIT_MAX;
    wait = (wait + CV_MICROSECOND - 1) / CV_MICROSECOND;
    return (struct timeval){.tv_sec = (time_t)(wait / 1000000),
                            .tv_usec = (suseconds_t)(wait % 1000000)};
}

static cv_time time_until(cv_time deadline)
{
    cv_time now = cv_time_now();

    return deadline > now ? deadline - now : 0;
}

static void queue_init(struct cv_posts *q)
{
    *q = (struct cv_posts){.end = &q->first};
}

void cv_loop_queue(struct cv_posts *q, struct cv_post *p)
{
    p->next = NULL;
    *q->end = p;
    q->end = &p->next;
    q->n += p->owned;
}

void cv_loop_wake(struct cv_loop *loop)
{
    const uint64_t one = 1;
    ssize_t n;

    do
        n = write(loop->wake_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so it is awake. */
}

/* Run what waits now; what these calls post is for the next round.  Returns
 * whether there was anything. */
static bool run_posts(struct cv_loop *loop)
{
    struct cv_post *p, *next;

    pthread_mutex_lock(&loop->lock);
    p = loop->posts.first;
    queue_init(&loop->posts);
    pthread_mutex_unlock(&loop->lock);
    if (!p)
        return false;
    for (; p; p = next) {
        cv_loop_fn fn = p->fn;
        void *user = p->user;

        next = p->next;
        if (p->owned)
            free(p);
        fn(user);
    }
    return true;
}

static void on_wake(evutil_socket_t fd, short what, void *user)
{
    struct cv_loop *loop = user;
    uint64_t count;

    (void)what;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    run_posts(loop);
    if (atomic_load(&loop->stop))
        event_base_loopbreak(loop->base);
}

static void on_nothing(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    (void)user;
}

/* libevent prints to stderr, which is not its own; errors reach the caller as
 * codes. */
static void drop_libevent_log(int severity, const char *text)
{
    (void)severity;
    (void)text;
}

static struct event_base *new_base(bool precise)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    if (!config)
        return NULL;
    event_set_log_callback(drop_libevent_log);
    /* The coarse clock is 4 ms off, and a cached time is as late as the
     * callbacks before were long. */
    if (event_config_set_flag(config,
                              (precise ? EVENT_BASE_FLAG_PRECISE_TIMER |
                                             EVENT_BASE_FLAG_NO_CACHE_TIME
                                       : 0) |
                                  EVENT_BASE_FLAG_NOLOCK) < 0) {
        event_config_free(config);
        return NULL;
    }
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int new_loop(struct cv_loop **out, bool precise)
{
    struct cv_loop *loop = calloc(1, sizeof(*loop));
    int err = CV_ERR_NOMEM;

    if (!loop)
        return CV_ERR_NOMEM;
    queue_init(&loop->posts);
    loop->jobs_end = &loop->jobs;
    atomic_init(&loop->stop, false);
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->jobs_wait, NULL);
    pthread_cond_init(&loop->job_over, NULL);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        err = cv_err_from_errno(errno);
        goto fail;
    }
    loop->base = new_base(precise);
    if (!loop->base)
        goto fail;
    loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST,
                           on_wake, loop);
    loop->limit = event_new(loop->base, -1, 0, on_nothing, NULL);
    if (!loop->wake || !loop->limit || event_add(loop->wake, NULL) < 0 ||
        cv_loop_names_init(loop) != CV_OK)
        goto fail;
    *out = loop;
    return CV_OK;

fail:
    cv_loop_free(loop);
    return err;
}

int cv_loop_new(struct cv_loop **out)
{
    return new_loop(out, true);
}

int cv_loop_new_coarse(struct cv_loop **out)
{
    return new_loop(out, false);
}

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

void cv_loop_free(struct cv_loop *loop)
{
    if (!loop)
        return;
    cv_loop_end_worker(loop);
    while (run_posts(loop))
        ;
    cv_loop_names_fini(loop);
    free_event(loop->limit);
    free_event(loop->wake);
    if (loop->base)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_cond_destroy(&loop->job_over);
    pthread_cond_destroy(&loop->jobs_wait);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

void cv_loop_run(struct cv_loop *loop)
{
    while (!atomic_exchange(&loop->stop, false))
        event_base_loop(loop->base, EVLOOP_ONCE);
}

void cv_loop_once(struct cv_loop *loop, cv_time deadline)
{
    cv_time wait = time_until(deadline);
    struct timeval tv = to_timeval(wait);

    if (wait == 0) {
        event_base_loop(loop->base, EVLOOP_NONBLOCK);
        return;
    }
    if (deadline != CV_NEVER)
        event_add(loop->limit, &tv);
    event_base_loop(loop->base, EVLOOP_ONCE);
    event_del(loop->limit);
}

void cv_loop_stop(struct cv_loop *loop)
{
    atomic_store(&loop->stop, true);
    cv_loop_wake(loop);
}

cv_time cv_loop_now(const struct cv_loop *loop)
{
    (void)loop;
    return cv_time_now();
}

int cv_loop_post(struct cv_loop *loop, cv_loop_fn fn, void *user)
{
    struct cv_post *p = malloc(sizeof(*p));
    bool fits;

    if (!p)
        return CV_ERR_NOMEM;
    *p = (struct cv_post){.fn = fn, .user = user, .owned = true};
    pthread_mutex_lock(&loop->lock);
    fits = loop->posts.n < POSTS_MAX;
    if (fits) {
        cv_loop_queue(&loop->posts, p);
        cv_loop_wake(loop); /* locked: cv_loop_free() may follow at once */
    }
    pthread_mutex_unlock(&loop->lock);
    if (!fits) {
        free(p);
        return CV_ERR_LIMIT;
    }
    return CV_OK;
}

/* ---- timers ---- */

struct cv_timer {
    struct event *ev;
    cv_time deadline;
    cv_loop_fn fn;
    void *user;
};

static void on_timer(evutil_socket_t fd, short what, void *user)
{
    struct cv_timer *timer = user;
    cv_time wait = time_until(timer->deadline);

    (void)fd;
    (void)what;
    if (wait > 0) {
        struct timeval tv = to_timeval(wait);

        event_add(timer->ev, &tv);
        return;
    }
    timer->deadline = CV_NEVER;
    timer->fn(timer->user);
}

int cv_timer_new(struct cv_timer **out, struct cv_loop *loop, cv_loop_fn fn,
                 void *user)
{
    struct cv_timer *timer = malloc(sizeof(*timer));

    if (!timer)
        return CV_ERR_NOMEM;
    *timer = (struct cv_timer){.deadline = CV_NEVER, .fn = fn, .user = user};
    timer->ev = event_new(loop->base, -1, 0, on_timer, timer);
    if (!timer->ev) {
        free(timer);
        return CV_ERR_NOMEM;
    }
    *out = timer;
    return CV_OK;
}

void cv_timer_set(struct cv_timer *timer, cv_time deadline)
{
    struct timeval tv;

    timer->deadline = deadline;
    if (deadline == CV_NEVER) {
        event_del(timer->ev);
        return;
    }
    tv = to_timeval(time_until(deadline));
    event_add(timer->ev, &tv);
}

void cv_timer_free(struct cv_timer *timer)
{
    if (!timer)
        return;
    event_free(timer->ev);
    free(timer);
}

/* ---- file descriptors ---- */

struct cv_watch {
    struct cv_loop *loop;
    struct event *ev;
    int fd;
    unsigned what;
    bool plain; /* epoll refuses it, for it is always ready: a file */
    cv_watch_fn fn;
    void *user;
};

static void on_ready(evutil_socket_t fd, short what, void *user)
{
    struct cv_watch *watch = user;
    unsigned ready = 0;

    (void)fd;
    if (watch->plain) {
        static const struct timeval soon = {0, 0};

        ready = watch->what;
        event_add(watch->ev, &soon);
    } else {
        ready |= what & EV_READ ? CV_WATCH_READ : 0;
        ready |= what & EV_WRITE ? CV_WATCH_WRITE : 0;
    }
    watch->fn(watch->user, ready);
}

/* Regular files and /dev/null are read by polling programs, too. */
static bool is_plain(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int ep = epoll_create1(EPOLL_CLOEXEC);
    bool plain;

    if (ep < 0)
        return false;
    plain = epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EPERM;
    close(ep);
    return plain;
}

static int start_watch(struct cv_watch *watch)
{
    static const struct timeval soon = {0, 0};
    short what = EV_PERSIST;

    if (watch->what == 0)
        return 0;
    if (watch->plain) {
        event_assign(watch->ev, watch->loop->base, -1, 0, on_ready, watch);
        return event_add(watch->ev, &soon);
    }
    if (watch->what & CV_WATCH_READ)
        what |= EV_READ;
    if (watch->what & CV_WATCH_WRITE)
        what |= EV_WRITE;
    event_assign(watch->ev, watch->loop->base, watch->fd, what, on_ready,
                 watch);
    return event_add(watch->ev, NULL);
}

int cv_watch_new(struct cv_watch **out, struct cv_loop *loop, int fd,
                 unsigned what, cv_watch_fn fn, void *user)
{
    struct cv_watch *watch = malloc(sizeof(*watch));

    if (!watch)
        return CV_ERR_NOMEM;
    *watch = (struct cv_watch){.loop = loop,
                               .fd = fd,
                               .what = what,
                               .plain = is_plain(fd),
                               .fn = fn,
                               .user = user};
    watch->ev = event_new(loop->base, -1, 0, on_ready, watch);
    if (!watch->ev) {
        free(watch);
        return CV_ERR_NOMEM;
    }
    if (start_watch(watch) < 0) {
        event_free(watch->ev);
        free(watch);
        return CV_ERR_IO;
    }
    *out = watch;
    return CV_OK;
}

void cv_watch_set(struct cv_watch *watch, unsigned what)
{
    if (what == watch->what)
        return;
    watch->what = what;
    event_del(watch->ev);
    (void)start_watch(watch); /* the descriptor was accepted before */
}

void cv_watch_free(struct cv_watch *watch)
{
    if (!watch)
        return;
    event_free(watch->ev);
    free(watch);
}

/* ---- signals ---- */

struct cv_signal {
    struct event *ev;
    cv_loop_fn fn;
    void *user;
};

static void on_signal(evutil_socket_t number, short what, void *user)
{
    struct cv_signal *s = user;

    (void)number;
    (void)what;
    s->fn(s->user);
}

int cv_signal_new(struct cv_signal **out, struct cv_loop *loop,
                  int signal_number, cv_loop_fn fn, void *user)
{
    struct cv_signal *s = malloc(sizeof(*s));

    if (!s)
        return CV_ERR_NOMEM;
    *s = (struct cv_signal){.fn = fn, .user = user};
    s->ev = evsignal_new(loop->base, signal_number, on_signal, s);
    if (!s->ev || event_add(s->ev, NULL) < 0) {
        int err = s->ev ? CV_ERR_INVALID : CV_ERR_NOMEM;

        free_event(s->ev);
        free(s);
        return err;
    }
    *out = s;
    return CV_OK;
}

void cv_signal_free(struct cv_signal *s)
{
    if (!s)
        return;
    event_free(s->ev);
    free(s);
}
