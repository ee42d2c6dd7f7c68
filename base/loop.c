#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Calls and jobs that may wait at a time. */
#define POSTS_MAX 65536
#define JOBS_MAX  65536

/* Addresses that one name yields at most; the rest is dropped. */
#define RESOLVE_ADDRS_MAX 16
/* evdns asks 2 times for 3 s; this ends it whatever the servers do. */
#define RESOLVE_TIMEOUT (10 * CV_SECOND)

/* The longest wait given to libevent; a timer that fires early waits on. */
#define WAIT_MAX CV_HOUR

/* A call that waits to be run in the loop's thread. */
struct post {
    struct post *next;
    cv_loop_fn fn;
    void *user;
    bool owned; /* the queue frees it */
};

struct queue {
    struct post *first;
    struct post **end; /* where the next one is hung */
    size_t n;          /* that count against the limit */
};

struct job {
    struct job *next;
    struct post post; /* brings it back to the loop */
    struct cv_loop *loop;
    cv_loop_fn work;
    cv_loop_fn done;
    void *user;
};

struct cv_loop {
    struct event_base *base;
    struct event *wake;  /* on wake_fd */
    struct event *limit; /* ends cv_loop_once() */
    int wake_fd;
    atomic_bool stop;

    pthread_mutex_t lock; /* of what follows, up to the blank line */
    struct queue posts;
    struct job *jobs;
    struct job **jobs_end;
    size_t jobs_n;
    struct job *doing; /* by the worker */
    bool quit;         /* the worker ends once it has no jobs */
    pthread_cond_t jobs_wait;
    pthread_cond_t job_over;

    bool has_worker;
    pthread_t worker;

    /* Names are asked for rarely: evdns and its sockets exist only while
     * something is asked, and each time learn the system's servers afresh. */
    struct evdns_base *dns;
    unsigned dns_pending;
    struct event *dns_idle;
    struct cv_resolve *resolves; /* all, for cv_loop_free() */
};

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

static void queue_init(struct queue *q)
{
    *q = (struct queue){.end = &q->first};
}

/* With the lock held. */
static void queue_put(struct queue *q, struct post *p)
{
    p->next = NULL;
    *q->end = p;
    q->end = &p->next;
    q->n += p->owned;
}

static void wake_up(struct cv_loop *loop)
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
    struct post *p, *next;

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

static void free_dns(struct cv_loop *loop);

static void on_dns_idle(evutil_socket_t fd, short what, void *user)
{
    struct cv_loop *loop = user;

    (void)fd;
    (void)what;
    if (loop->dns_pending == 0)
        free_dns(loop);
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
    loop->dns_idle = event_new(loop->base, -1, 0, on_dns_idle, loop);
    if (!loop->wake || !loop->limit || !loop->dns_idle ||
        event_add(loop->wake, NULL) < 0)
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

static void cancel_resolves(struct cv_loop *loop);

void cv_loop_free(struct cv_loop *loop)
{
    if (!loop)
        return;
    if (loop->has_worker) {
        pthread_mutex_lock(&loop->lock);
        loop->quit = true;
        pthread_cond_signal(&loop->jobs_wait);
        pthread_mutex_unlock(&loop->lock);
        pthread_join(loop->worker, NULL);
    }
    while (run_posts(loop))
        ;
    cancel_resolves(loop);
    free_dns(loop);
    assert(!loop->resolves);
    free_event(loop->dns_idle);
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
    wake_up(loop);
}

cv_time cv_loop_now(const struct cv_loop *loop)
{
    (void)loop;
    return cv_time_now();
}

int cv_loop_post(struct cv_loop *loop, cv_loop_fn fn, void *user)
{
    struct post *p = malloc(sizeof(*p));
    bool fits;

    if (!p)
        return CV_ERR_NOMEM;
    *p = (struct post){.fn = fn, .user = user, .owned = true};
    pthread_mutex_lock(&loop->lock);
    fits = loop->posts.n < POSTS_MAX;
    if (fits) {
        queue_put(&loop->posts, p);
        wake_up(loop); /* locked: cv_loop_free() may follow at once */
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

/* ---- names ---- */

struct cv_resolve {
    struct cv_loop *loop;
    struct cv_resolve *next, **link; /* in loop->resolves */
    struct cv_timer *timer;          /* gives the answer, or ends the wait */
    struct evdns_getaddrinfo_request *request; /* while evdns knows us */
    bool asking;                               /* on_addrinfo() will come */
    bool cancelled; /* nobody waits; freed when evdns lets go */
    int err;
    unsigned n;
    struct cv_addr addrs[RESOLVE_ADDRS_MAX];
    uint16_t port;
    cv_resolve_fn fn;
    void *user;
};

static void free_dns(struct cv_loop *loop)
{
    struct evdns_base *dns = loop->dns;

    if (!dns)
        return;
    loop->dns = NULL;
    evdns_base_free(dns, 1);
    /* It leaves callbacks for the loop to run. */
    while (loop->dns_pending > 0 &&
           event_base_loop(loop->base, EVLOOP_NONBLOCK) == 0)
        ;
}

static void free_resolve(struct cv_resolve *r)
{
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    cv_timer_free(r->timer);
    free(r);
}

/* Have on_answer() called from the loop: the caller has its handle by then,
 * and evdns is not on the stack. */
static void answer(struct cv_resolve *r, int err)
{
    r->err = err;
    cv_timer_set(r->timer, 0);
}

static void on_answer(void *user)
{
    struct cv_resolve *r = user;
    struct cv_addr addrs[RESOLVE_ADDRS_MAX];
    cv_resolve_fn fn = r->fn;
    void *fn_user = r->user;
    unsigned n = r->n;
    int err = r->err;

    memcpy(addrs, r->addrs, sizeof(addrs));
    if (r->asking)
        err = CV_ERR_TIMEOUT;
    cv_resolve_cancel(r);
    fn(fn_user, err, addrs, err == CV_OK ? n : 0);
}

static int err_from_eai(int rc)
{
    switch (rc) {
    case 0:
        return CV_OK;
    case EVUTIL_EAI_NONAME:
    case EVUTIL_EAI_NODATA:
        return CV_ERR_NOTFOUND;
    case EVUTIL_EAI_MEMORY:
        return CV_ERR_NOMEM;
    case EVUTIL_EAI_AGAIN:
        return CV_ERR_TIMEOUT;
    default:
        return CV_ERR_NONET;
    }
}

static void on_addrinfo(int rc, struct evutil_addrinfo *list, void *user)
{
    struct cv_resolve *r = user;
    struct cv_loop *loop = r->loop;
    static const struct timeval soon = {0, 0};

    assert(loop->dns_pending > 0);
    if (--loop->dns_pending == 0 && loop->dns)
        event_add(loop->dns_idle, &soon);
    r->asking = false;
    r->request = NULL;
    for (const struct evutil_addrinfo *ai = list; ai; ai = ai->ai_next) {
        struct cv_addr *a = &r->addrs[r->n];
        bool known = false;

        if (r->n == RESOLVE_ADDRS_MAX)
            break;
        if (cv_addr_from_sockaddr(a, ai->ai_addr) != CV_OK)
            continue;
        a->port = r->port;
        for (unsigned i = 0; i < r->n; i++)
            known = known || cv_addr_equal(&r->addrs[i], a);
        r->n += !known;
    }
    if (list)
        evutil_freeaddrinfo(list);
    if (r->cancelled)
        free_resolve(r);
    else
        answer(r, rc == 0 && r->n == 0 ? CV_ERR_NOTFOUND : err_from_eai(rc));
}

static int open_dns(struct cv_loop *loop)
{
    struct evdns_base *dns = loop->dns;

    if (dns)
        return CV_OK;
    dns = evdns_base_new(loop->base, 0);
    if (!dns)
        return CV_ERR_NOMEM;
    /* Some resolvers do not keep the case of a name, and what we find by one
     * is authenticated by its key. */
    evdns_base_set_option(dns, "randomize-case:", "0");
    evdns_base_set_option(dns, "timeout:", "3");
    evdns_base_set_option(dns, "attempts:", "2");
    /* Without the file it asks this machine, as the C library does. */
    (void)evdns_base_resolv_conf_parse(
        dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS | DNS_OPTION_HOSTSFILE,
        "/etc/resolv.conf");
    loop->dns = dns;
    return CV_OK;
}

static int ask(struct cv_resolve *r, const char *host)
{
    const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                          .ai_socktype = SOCK_DGRAM,
                                          .ai_protocol = IPPROTO_UDP};
    struct evdns_getaddrinfo_request *request;
    int err = open_dns(r->loop);

    if (err != CV_OK)
        return err;
    cv_timer_set(r->timer, cv_time_now() + RESOLVE_TIMEOUT);
    r->asking = true;
    r->loop->dns_pending++;
    request =
        evdns_getaddrinfo(r->loop->dns, host, NULL, &hints, on_addrinfo, r);
    if (r->asking)
        r->request = request;
    return CV_OK;
}

int cv_resolve_new(struct cv_resolve **out, struct cv_loop *loop,
                   const char *host, uint16_t port, cv_resolve_fn fn,
                   void *user)
{
    struct cv_resolve *r;
    int err;

    if (host[0] == '\0' || strlen(host) > 255)
        return CV_ERR_INVALID;
    r = calloc(1, sizeof(*r));
    if (!r)
        return CV_ERR_NOMEM;
    r->loop = loop;
    r->port = port;
    r->fn = fn;
    r->user = user;
    err = cv_timer_new(&r->timer, loop, on_answer, r);
    if (err != CV_OK) {
        free(r);
        return err;
    }
    r->link = &loop->resolves;
    r->next = loop->resolves;
    if (r->next)
        r->next->link = &r->next;
    loop->resolves = r;

    /* A name with a port in it is none. */
    if (cv_addr_parse(&r->addrs[0], host, port) == CV_OK) {
        r->addrs[0].port = port;
        r->n = 1;
        answer(r, CV_OK);
    } else {
        err = ask(r, host);
        if (err != CV_OK) {
            free_resolve(r);
            return err;
        }
    }
    *out = r;
    return CV_OK;
}

void cv_resolve_cancel(struct cv_resolve *r)
{
    if (!r)
        return;
    if (!r->asking) {
        free_resolve(r);
        return;
    }
    r->cancelled = true;
    cv_timer_set(r->timer, CV_NEVER);
    if (r->request)
        evdns_getaddrinfo_cancel(r->request);
}

static void cancel_resolves(struct cv_loop *loop)
{
    struct cv_resolve *next;

    for (struct cv_resolve *r = loop->resolves; r; r = next) {
        next = r->next;
        cv_resolve_cancel(r);
    }
}

/* ---- the worker ---- */

static void finish_job(void *user)
{
    struct job *job = user;
    cv_loop_fn done = job->done;
    void *done_user = job->user;

    free(job);
    done(done_user);
}

/* Take a job out of the queue.  With the lock. */
static struct job *take_job(struct cv_loop *loop, struct job **at)
{
    struct job *job = *at;

    *at = job->next;
    if (!*at)
        loop->jobs_end = at;
    loop->jobs_n--;
    return job;
}

/* Do it, without the lock meanwhile, and tell the loop. */
static void do_job(struct cv_loop *loop, struct job *job)
{
    pthread_mutex_unlock(&loop->lock);
    job->work(job->user);
    pthread_mutex_lock(&loop->lock);
    /* Not counted: what was begun is also reported. */
    job->post = (struct post){.fn = finish_job, .user = job};
    queue_put(&loop->posts, &job->post);
    wake_up(loop);
}

static void *run_worker(void *user)
{
    struct cv_loop *loop = user;

    pthread_mutex_lock(&loop->lock);
    for (;;) {
        if (!loop->jobs && loop->quit)
            break;
        if (!loop->jobs) {
            pthread_cond_wait(&loop->jobs_wait, &loop->lock);
            continue;
        }
        loop->doing = take_job(loop, &loop->jobs);
        do_job(loop, loop->doing);
        loop->doing = NULL;
        pthread_cond_broadcast(&loop->job_over);
    }
    pthread_mutex_unlock(&loop->lock);
    return NULL;
}

static int start_worker(struct cv_loop *loop)
{
    sigset_t all, before;
    int rc;

    if (loop->has_worker)
        return CV_OK;
    /* Signals are for the loop's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&loop->worker, NULL, run_worker, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return CV_ERR_NOMEM;
    loop->has_worker = true;
    return CV_OK;
}

int cv_loop_work(struct cv_loop *loop, cv_loop_fn work, cv_loop_fn done,
                 void *user)
{
    struct job *job;
    bool fits;
    int err;

    err = start_worker(loop);
    if (err != CV_OK)
        return err;
    job = malloc(sizeof(*job));
    if (!job)
        return CV_ERR_NOMEM;
    *job = (struct job){.loop = loop, .work = work, .done = done, .user = user};
    pthread_mutex_lock(&loop->lock);
    fits = loop->jobs_n < JOBS_MAX;
    if (fits) {
        *loop->jobs_end = job;
        loop->jobs_end = &job->next;
        loop->jobs_n++;
        pthread_cond_signal(&loop->jobs_wait);
    }
    pthread_mutex_unlock(&loop->lock);
    if (!fits) {
        free(job);
        return CV_ERR_LIMIT;
    }
    return CV_OK;
}

void cv_loop_work_now(struct cv_loop *loop, const void *user)
{
    struct job **at;

    pthread_mutex_lock(&loop->lock);
    for (at = &loop->jobs; *at; at = &(*at)->next)
        if ((*at)->user == user)
            break;
    if (*at)
        do_job(loop, take_job(loop, at));
    /* The job itself is the loop's to free, which is us. */
    while (loop->doing && loop->doing->user == user)
        pthread_cond_wait(&loop->job_over, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
}
