#include "base/loop.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cv_loop *loop;
static pthread_t loop_thread;

static int setup(void **state)
{
    (void)state;
    loop_thread = pthread_self();
    return cv_loop_new(&loop);
}

static int teardown(void **state)
{
    (void)state;
    cv_loop_free(loop);
    loop = NULL;
    return 0;
}

/* Turn the loop until *done is `want`, 10 s at most. */
static void turn_until(const int *done, int want)
{
    cv_time deadline = cv_loop_now(loop) + 10 * CV_SECOND;

    while (*done != want && cv_loop_now(loop) < deadline)
        cv_loop_once(loop, deadline);
    if (*done != want)
        print_error("%d of %d\n", *done, want);
    REQUIRE(*done == want);
}

static void count(void *user)
{
    REQUIRE(pthread_equal(pthread_self(), loop_thread));
    ++*(int *)user;
}

static void stop(void *user)
{
    (void)user;
    cv_loop_stop(loop);
}

static int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    REQUIRE(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int open_files(void)
{
    return entries("/proc/self/fd");
}

/* ---- timers ---- */

struct alarm_clock {
    struct cv_timer *timer;
    cv_time deadline, rang;
    int order;
};

static int alarms_rang;

static void on_alarm(void *user)
{
    struct alarm_clock *a = user;

    a->rang = cv_loop_now(loop);
    a->order = alarms_rang++;
}

TEST(timers_fire_in_order_and_never_early)
{
    enum { N = 20 };
    struct alarm_clock a[N];
    cv_time start = cv_loop_now(loop);

    alarms_rang = 0;
    for (int i = 0; i < N; i++) {
        /* 1..20 ms in a shuffled order, and not on a whole microsecond. */
        a[i].deadline = start + (1 + i * 7 % N) * CV_MILLISECOND + 100 + i;
        CHECK_EQ(cv_timer_new(&a[i].timer, loop, on_alarm, &a[i]), CV_OK);
        cv_timer_set(a[i].timer, a[i].deadline);
    }
    turn_until(&alarms_rang, N);
    for (int i = 0; i < N; i++) {
        CHECK(a[i].rang >= a[i].deadline);
        CHECK_EQ(a[i].order, i * 7 % N);
        cv_timer_free(a[i].timer);
    }
}

TEST(past_deadlines_fire_at_once_and_never_does_not)
{
    struct cv_timer *past, *off, *moved, *never;
    int n = 0, wrong = 0;

    CHECK_EQ(cv_timer_new(&past, loop, count, &n), CV_OK);
    CHECK_EQ(cv_timer_new(&off, loop, count, &wrong), CV_OK);
    CHECK_EQ(cv_timer_new(&moved, loop, count, &n), CV_OK);
    CHECK_EQ(cv_timer_new(&never, loop, count, &wrong), CV_OK);
    cv_timer_set(past, cv_loop_now(loop) - CV_HOUR);
    cv_timer_set(off, cv_loop_now(loop));
    cv_timer_set(off, CV_NEVER);
    cv_timer_set(off, CV_NEVER);
    cv_timer_set(moved, cv_loop_now(loop) + CV_HOUR);
    cv_timer_set(moved, cv_loop_now(loop) + CV_MILLISECOND);
    cv_timer_set(never, CV_NEVER - 1); /* 292 years */
    turn_until(&n, 2);
    cv_loop_once(loop, cv_loop_now(loop) + 2 * CV_MILLISECOND);
    CHECK_EQ(n, 2); /* one shot */
    CHECK_EQ(wrong, 0);
    cv_timer_set(past, INT64_MIN);
    turn_until(&n, 3);
    cv_timer_free(past);
    cv_timer_free(off);
    cv_timer_free(moved);
    cv_timer_free(never);
    cv_timer_free(NULL);
}

struct ticker {
    struct cv_timer *timer;
    int n;
};

static void tick(void *user)
{
    struct ticker *t = user;

    if (++t->n == 5) {
        cv_timer_free(t->timer);
        t->timer = NULL;
    } else {
        cv_timer_set(t->timer, 0);
    }
}

TEST(a_timer_may_be_set_and_freed_in_its_callback)
{
    struct ticker t = {0};

    CHECK_EQ(cv_timer_new(&t.timer, loop, tick, &t), CV_OK);
    cv_timer_set(t.timer, 0);
    turn_until(&t.n, 5);
    CHECK(t.timer == NULL);
}

TEST(once_waits_until_its_deadline_and_no_longer)
{
    cv_time start = cv_loop_now(loop), deadline = start + 3 * CV_MILLISECOND;

    cv_loop_once(loop, start - CV_HOUR);
    cv_loop_once(loop, deadline);
    CHECK(cv_loop_now(loop) >= deadline);
    CHECK(cv_loop_now(loop) < deadline + 5 * CV_SECOND);
}

/* ---- calls from other threads ---- */

#define POSTERS 4
#define POSTS   5000

struct poster {
    pthread_t thread;
    int posted; /* by its thread */
    int ran;    /* in the loop's */
};

struct numbered {
    struct poster *by;
    int number;
};

static int all_ran;

static void on_numbered(void *user)
{
    struct numbered *m = user;

    REQUIRE(pthread_equal(pthread_self(), loop_thread));
    REQUIRE(m->number == m->by->ran);
    m->by->ran++;
    all_ran++;
    free(m);
    if (all_ran == POSTERS * POSTS)
        cv_loop_stop(loop);
}

static void *post_many(void *user)
{
    struct poster *p = user;

    for (int i = 0; i < POSTS; i++) {
        struct numbered *m = malloc(sizeof(*m));

        *m = (struct numbered){p, i};
        if (cv_loop_post(loop, on_numbered, m) != CV_OK) {
            free(m);
            break;
        }
        p->posted++;
    }
    return NULL;
}

TEST(calls_from_many_threads_run_in_order_in_the_loops_thread)
{
    struct poster p[POSTERS] = {0};

    all_ran = 0;
    for (int i = 0; i < POSTERS; i++)
        REQUIRE(pthread_create(&p[i].thread, NULL, post_many, &p[i]) == 0);
    cv_loop_run(loop);
    for (int i = 0; i < POSTERS; i++) {
        REQUIRE(pthread_join(p[i].thread, NULL) == 0);
        CHECK_EQ(p[i].posted, POSTS);
        CHECK_EQ(p[i].ran, POSTS);
    }
}

TEST(too_many_calls_are_refused_and_the_rest_runs_at_the_end)
{
    int n = 0;

    for (int i = 0; i < 65536; i++)
        CHECK_EQ(cv_loop_post(loop, count, &n), CV_OK);
    CHECK_EQ(cv_loop_post(loop, count, &n), CV_ERR_LIMIT);
    turn_until(&n, 65536);
    for (int i = 0; i < 65536; i++)
        CHECK_EQ(cv_loop_post(loop, count, &n), CV_OK);
    CHECK_EQ(cv_loop_post(loop, count, &n), CV_ERR_LIMIT);
    cv_loop_free(loop);
    loop = NULL;
    CHECK_EQ(n, 2 * 65536);
}

static void post_again(void *user)
{
    if (++*(int *)user < 3)
        REQUIRE(cv_loop_post(loop, post_again, user) == CV_OK);
}

TEST(a_call_may_post)
{
    int n = 0;

    CHECK_EQ(cv_loop_post(loop, post_again, &n), CV_OK);
    turn_until(&n, 3);
    /* And does so even when the loop ends. */
    n = 0;
    CHECK_EQ(cv_loop_post(loop, post_again, &n), CV_OK);
    cv_loop_free(loop);
    loop = NULL;
    CHECK_EQ(n, 3);
}

static void *stop_it(void *user)
{
    cv_loop_stop(user);
    return NULL;
}

TEST(stop_is_heard_before_within_and_from_elsewhere)
{
    struct cv_timer *timer;
    pthread_t thread;
    int n = 0;

    cv_loop_stop(loop);
    cv_loop_run(loop);

    CHECK_EQ(cv_timer_new(&timer, loop, stop, NULL), CV_OK);
    cv_timer_set(timer, cv_loop_now(loop) + CV_MILLISECOND);
    cv_loop_run(loop);
    cv_timer_free(timer);

    REQUIRE(pthread_create(&thread, NULL, stop_it, loop) == 0);
    cv_loop_run(loop);
    REQUIRE(pthread_join(thread, NULL) == 0);

    /* What was posted before the stop is run. */
    CHECK_EQ(cv_loop_post(loop, stop, NULL), CV_OK);
    CHECK_EQ(cv_loop_post(loop, count, &n), CV_OK);
    cv_loop_run(loop);
    CHECK_EQ(n, 1);
}

/* ---- descriptors and signals ---- */

struct seen {
    struct cv_watch *watch;
    int fd;
    int calls;
    unsigned ready;
};

static void on_ready(void *user, unsigned ready)
{
    struct seen *s = user;

    s->calls++;
    s->ready = ready;
}

static void on_ready_free(void *user, unsigned ready)
{
    struct seen *s = user;

    on_ready(user, ready);
    cv_watch_free(s->watch);
    s->watch = NULL;
}

TEST(descriptors_are_watched_as_asked)
{
    struct seen s = {0};
    int pair[2];
    char c;

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    CHECK_EQ(cv_watch_new(&s.watch, loop, pair[0], CV_WATCH_READ, on_ready, &s),
             CV_OK);
    cv_loop_once(loop, 0);
    CHECK_EQ(s.calls, 0);
    REQUIRE(write(pair[1], "a", 1) == 1);
    cv_loop_once(loop, CV_NEVER);
    cv_loop_once(loop, CV_NEVER); /* level-triggered */
    CHECK_EQ(s.calls, 2);
    CHECK_EQ(s.ready, CV_WATCH_READ);
    cv_watch_set(s.watch, 0);
    cv_loop_once(loop, 0);
    CHECK_EQ(s.calls, 2);
    cv_watch_set(s.watch, CV_WATCH_READ | CV_WATCH_WRITE);
    cv_loop_once(loop, CV_NEVER);
    CHECK_EQ(s.ready, CV_WATCH_READ | CV_WATCH_WRITE);
    REQUIRE(read(pair[0], &c, 1) == 1);
    cv_loop_once(loop, CV_NEVER);
    CHECK_EQ(s.ready, CV_WATCH_WRITE);
    cv_watch_set(s.watch, CV_WATCH_READ);
    s.calls = 0;
    cv_loop_once(loop, 0);
    CHECK_EQ(s.calls, 0);
    close(pair[1]); /* the end of the stream is readable */
    cv_loop_once(loop, CV_NEVER);
    CHECK_EQ(s.ready, CV_WATCH_READ);
    cv_watch_free(s.watch);

    CHECK_EQ(
        cv_watch_new(&s.watch, loop, pair[0], CV_WATCH_READ, on_ready_free, &s),
        CV_OK);
    turn_until(&s.calls, 2);
    CHECK(s.watch == NULL);
    close(pair[0]);
    CHECK_EQ(cv_watch_new(&s.watch, loop, pair[0], CV_WATCH_READ, on_ready, &s),
             CV_ERR_IO);
    CHECK(s.watch == NULL);
    cv_watch_free(NULL);
}

TEST(files_are_always_ready)
{
    static const char *const names[] = {"/dev/null", "/etc/passwd"};

    for (size_t i = 0; i < 2; i++) {
        struct seen s = {.fd = open(names[i], O_RDONLY | O_CLOEXEC)};
        int timers = 0;
        struct cv_timer *timer;

        REQUIRE(s.fd >= 0);
        CHECK_EQ(
            cv_watch_new(&s.watch, loop, s.fd, CV_WATCH_READ, on_ready, &s),
            CV_OK);
        cv_loop_once(loop, CV_NEVER);
        cv_loop_once(loop, CV_NEVER);
        CHECK(s.calls >= 2);
        CHECK_EQ(s.ready, CV_WATCH_READ);
        /* Others get their turn. */
        CHECK_EQ(cv_timer_new(&timer, loop, count, &timers), CV_OK);
        cv_timer_set(timer, cv_loop_now(loop) + CV_MILLISECOND);
        turn_until(&timers, 1);
        cv_timer_free(timer);
        cv_watch_set(s.watch, 0);
        s.calls = 0;
        cv_loop_once(loop, 0);
        CHECK_EQ(s.calls, 0);
        cv_watch_set(s.watch, CV_WATCH_WRITE);
        cv_loop_once(loop, CV_NEVER);
        CHECK_EQ(s.ready, CV_WATCH_WRITE);
        cv_watch_free(s.watch);
        s.calls = 0;
        CHECK_EQ(cv_watch_new(&s.watch, loop, s.fd, CV_WATCH_READ,
                              on_ready_free, &s),
                 CV_OK);
        turn_until(&s.calls, 1);
        cv_loop_once(loop, 0);
        CHECK_EQ(s.calls, 1);
        close(s.fd);
    }
}

TEST(signals_arrive_in_the_loop)
{
    struct cv_signal *s, *none;
    int n = 0;

    CHECK_EQ(cv_signal_new(&s, loop, SIGUSR1, count, &n), CV_OK);
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    turn_until(&n, 1);
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    turn_until(&n, 2);
    cv_signal_free(s);
    cv_signal_free(NULL);
    CHECK(cv_signal_new(&none, loop, 1000, count, &n) != CV_OK);
}

/* ---- the worker ---- */

struct task {
    int number;
    int *next; /* the number that must come next, in the worker */
    int *done;
    bool worked;
};

static void work(void *user)
{
    struct task *t = user;
    sigset_t blocked;

    REQUIRE(!pthread_equal(pthread_self(), loop_thread));
    REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    REQUIRE(sigismember(&blocked, SIGTERM) == 1);
    REQUIRE(*t->next == t->number);
    ++*t->next;
    t->worked = true;
}

static void work_done(void *user)
{
    struct task *t = user;

    REQUIRE(pthread_equal(pthread_self(), loop_thread));
    REQUIRE(t->worked);
    REQUIRE(t->number == *t->done);
    ++*t->done;
}

TEST(the_worker_takes_one_task_after_the_other)
{
    enum { TASKS = 200 };
    static struct task tasks[TASKS];
    int next = 0, done = 0;

    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){i, &next, &done, false};
        CHECK_EQ(cv_loop_work(loop, work, work_done, &tasks[i]), CV_OK);
    }
    turn_until(&done, TASKS);
    /* Nothing given is lost when the loop goes. */
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){TASKS + i, &next, &done, false};
        CHECK_EQ(cv_loop_work(loop, work, work_done, &tasks[i]), CV_OK);
    }
    cv_loop_free(loop);
    loop = NULL;
    CHECK_EQ(done, 2 * TASKS);
}

static void work_here(void *user)
{
    struct task *t = user;

    REQUIRE(!t->worked);
    t->worked = true;
}

static void wait_for_go(void *user)
{
    struct task *t = user;
    char c;

    REQUIRE(read(t->number, &c, 1) == 1);
    t->worked = true;
}

static void here_done(void *user)
{
    struct task *t = user;

    REQUIRE(t->worked);
    ++*t->done;
}

TEST(work_can_be_had_now)
{
    int pipes[2], next = 0, done = 0;

    CHECK(pipe(pipes) == 0);
    struct task slow = {pipes[0], &next, &done, false};
    struct task quick = {0, &next, &done, false};

    /* What waits behind slow work is done here… */
    CHECK_EQ(cv_loop_work(loop, wait_for_go, here_done, &slow), CV_OK);
    CHECK_EQ(cv_loop_work(loop, work_here, here_done, &quick), CV_OK);
    cv_loop_work_now(loop, &quick);
    CHECK(quick.worked);
    CHECK_EQ(done, 0);
    /* …what was begun is waited for, and what is unknown is not. */
    CHECK_EQ(write(pipes[1], "x", 1), 1);
    cv_loop_work_now(loop, &slow);
    CHECK(slow.worked);
    cv_loop_work_now(loop, &next);
    turn_until(&done, 2);
    close(pipes[0]);
    close(pipes[1]);
}

static void nothing(void *user)
{
    (void)user;
}

TEST(a_result_is_delivered_though_the_queue_is_full)
{
    int n = 0, done = 0;

    for (int i = 0; i < 65536; i++)
        CHECK_EQ(cv_loop_post(loop, count, &n), CV_OK);
    CHECK_EQ(cv_loop_work(loop, nothing, count, &done), CV_OK);
    turn_until(&n, 65536);
    turn_until(&done, 1);
}

/* ---- names ---- */

struct answer {
    struct cv_resolve *resolve;
    int calls, err;
    unsigned n;
    struct cv_addr addrs[32];
};

static void on_answer(void *user, int err, const struct cv_addr *addrs,
                      unsigned n)
{
    struct answer *a = user;

    REQUIRE(n <= 32);
    a->calls++;
    a->err = err;
    a->n = n;
    memcpy(a->addrs, addrs, n * sizeof(*addrs));
}

static void ask(struct answer *a, const char *host, uint16_t port)
{
    *a = (struct answer){0};
    REQUIRE(cv_resolve_new(&a->resolve, loop, host, port, on_answer, a) ==
            CV_OK);
    REQUIRE(a->calls == 0); /* never before the caller has its handle */
}

TEST(literals_need_no_names)
{
    static const char *const hosts[] = {"192.0.2.7", "2001:db8::7"};
    static const char *const want[] = {"192.0.2.7:99", "[2001:db8::7]:99"};
    int before = open_files();
    char text[CV_ADDR_TEXT];
    struct answer a;

    for (size_t i = 0; i < 2; i++) {
        ask(&a, hosts[i], 99);
        CHECK_EQ(open_files(), before); /* evdns was not even made */
        turn_until(&a.calls, 1);
        CHECK_EQ(a.err, CV_OK);
        CHECK_EQ(a.n, 1);
        CHECK_STR(cv_addr_format(&a.addrs[0], text), want[i]);
    }
    ask(&a, hosts[0], 99);
    cv_resolve_cancel(a.resolve);
    cv_loop_once(loop, 0);
    cv_loop_once(loop, 0);
    CHECK_EQ(a.calls, 0);
    ask(&a, hosts[0], 99); /* and the loop goes before the answer */
    cv_resolve_cancel(NULL);
    CHECK_EQ(cv_resolve_new(&a.resolve, loop, "", 1, on_answer, &a),
             CV_ERR_INVALID);
}

TEST(localhost_is_known_without_a_network)
{
    int before = open_files();
    struct answer a, b;

    ask(&a, "localhost", 7);
    ask(&b, "localhost", 8);
    turn_until(&a.calls, 1);
    turn_until(&b.calls, 1);
    CHECK_EQ(a.err, CV_OK);
    CHECK(a.n >= 1);
    for (unsigned i = 0; i < a.n; i++) {
        CHECK_EQ(cv_addr_kind(&a.addrs[i]), CV_ADDR_LOOPBACK);
        CHECK_EQ(a.addrs[i].port, 7);
        CHECK_EQ(b.addrs[i].port, 8);
    }
    /* Once nothing is asked, evdns is gone. */
    cv_loop_once(loop, cv_loop_now(loop) + CV_SECOND);
    cv_loop_once(loop, 0);
    CHECK_EQ(open_files(), before);
}

/* A name server on 127.0.0.1:53 of a network namespace of its own, as the
 * fall-back of a system without /etc/resolv.conf. */

static int server_fd;

/* Answers A with 192.0.2.1 and .2, AAAA with 2001:db8::1, and "missing…"
 * with "no such name"; says nothing to "silent…". */
static void *serve_names(void *user)
{
    (void)user;
    for (;;) {
        uint8_t p[512 + 64];
        struct sockaddr_in from;
        socklen_t from_len = sizeof(from);
        ssize_t len =
            recvfrom(server_fd, p, 512, 0, (struct sockaddr *)&from, &from_len);
        size_t end = 12;
        bool six;

        if (len < 17)
            return NULL;
        while (end < (size_t)len && p[end] != 0)
            end += 1u + p[end];
        end += 5;
        if (end > (size_t)len || memcmp(p + 13, "silent", 6) == 0)
            continue;
        six = p[end - 3] == 28;
        p[2] = 0x81;
        p[3] = 0x80;
        memset(p + 8, 0, 4);
        p[7] = 0;
        if (memcmp(p + 13, "missing", 7) == 0) {
            p[3] = 0x83;
        } else {
            p[7] = six ? 1 : 2;
            for (int i = 0; i < p[7]; i++) {
                static const uint8_t head[] = {0xc0, 12, 0, 1, 0, 1,
                                               0,    0,  0, 9, 0, 4};

                memcpy(p + end, head, sizeof(head));
                end += sizeof(head);
                if (six) {
                    p[end - 9] = 28;
                    p[end - 1] = 16;
                    memcpy(p + end, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1",
                           16);
                    end += 16;
                } else {
                    p[end++] = 192;
                    p[end++] = 0;
                    p[end++] = 2;
                    p[end++] = (uint8_t)(i + 1);
                }
            }
        }
        if (sendto(server_fd, p, end, 0, (struct sockaddr *)&from, from_len) <
            0)
            return NULL;
    }
}

#define CANNOT 77

/* Without any network, and without /etc. */
static int isolate(void)
{
    /* As root, or as root of a user namespace where users may make them. */
    if (geteuid() != 0 && unshare(CLONE_NEWUSER) != 0)
        return CANNOT;
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/etc", "tmpfs", 0, NULL) != 0 ||
        access("/etc/resolv.conf", F_OK) == 0)
        return CANNOT;
    return 0;
}

/* Everything below runs in a child, which has no cmocka around it. */
#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond)) {                                                         \
            print_error("line %d: %s is false\n", __LINE__, #cond);            \
            return 1;                                                          \
        }                                                                      \
    } while (0)

static bool ask_and_wait(struct answer *a, const char *host)
{
    cv_time deadline = cv_loop_now(loop) + 15 * CV_SECOND;

    *a = (struct answer){0};
    if (cv_resolve_new(&a->resolve, loop, host, 5, on_answer, a) != CV_OK ||
        a->calls != 0)
        return false;
    while (a->calls == 0 && cv_loop_now(loop) < deadline)
        cv_loop_once(loop, deadline);
    return a->calls == 1;
}

static int run_without_network(void)
{
    int rc = isolate();
    struct answer a;

    if (rc != 0)
        return rc;
    EXPECT(cv_loop_new(&loop) == CV_OK);
    EXPECT(ask_and_wait(&a, "nobody.example"));
    EXPECT(a.err == CV_ERR_NONET || a.err == CV_ERR_TIMEOUT);
    EXPECT(a.n == 0);
    EXPECT(ask_and_wait(&a, "192.0.2.7"));
    EXPECT(a.err == CV_OK && a.n == 1);
    EXPECT(ask_and_wait(&a, "localhost"));
    EXPECT(a.err == CV_OK);
    EXPECT(cv_addr_kind(&a.addrs[0]) == CV_ADDR_LOOPBACK);
    cv_loop_free(loop);
    return 0;
}

static int open_server(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(53),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct ifreq ifr = {.ifr_name = "lo"};
    pthread_t thread;

    server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifr.ifr_flags = IFF_UP;
    if (server_fd < 0 || ioctl(server_fd, SIOCSIFFLAGS, &ifr) < 0 ||
        bind(server_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        pthread_create(&thread, NULL, serve_names, NULL) != 0)
        return -1;
    pthread_detach(thread);
    return 0;
}

static int run_with_server(void)
{
    int rc = isolate(), before;
    struct answer a, b;

    if (rc != 0)
        return rc;
    if (open_server() < 0)
        return CANNOT;
    EXPECT(cv_loop_new(&loop) == CV_OK);
    before = open_files();
    EXPECT(ask_and_wait(&a, "gate.example"));
    EXPECT(a.err == CV_OK && a.n == 3);
    for (unsigned i = 0; i < a.n; i++) {
        struct cv_addr want[3] = {cv_addr_ipv4(0xc0000201, 5),
                                  cv_addr_ipv4(0xc0000202, 5)};
        bool found = false;

        EXPECT(cv_addr_parse(&want[2], "2001:db8::1", 5) == CV_OK);
        for (int k = 0; k < 3; k++)
            found = found || cv_addr_equal(&a.addrs[i], &want[k]);
        EXPECT(found);
    }
    EXPECT(ask_and_wait(&a, "missing.example"));
    EXPECT(a.err == CV_ERR_NOTFOUND && a.n == 0);

    /* Cancelled while it is asked, next to one that is answered. */
    a = (struct answer){0};
    EXPECT(cv_resolve_new(&a.resolve, loop, "silent.example", 1, on_answer,
                          &a) == CV_OK);
    EXPECT(ask_and_wait(&b, "other.example"));
    EXPECT(b.err == CV_OK);
    cv_resolve_cancel(a.resolve);
    for (int i = 0; i < 10; i++)
        cv_loop_once(loop, cv_loop_now(loop) + CV_MILLISECOND);
    EXPECT(a.calls == 0);
    EXPECT(open_files() == before); /* evdns is gone */

    /* The loop goes while one is asked and another was cancelled. */
    EXPECT(cv_resolve_new(&a.resolve, loop, "silent.example", 1, on_answer,
                          &a) == CV_OK);
    EXPECT(cv_resolve_new(&b.resolve, loop, "silent2.example", 1, on_answer,
                          &b) == CV_OK);
    b.calls = 0;
    cv_loop_once(loop, 0);
    cv_resolve_cancel(b.resolve);
    cv_loop_free(loop);
    EXPECT(a.calls == 0 && b.calls == 0);
    return 0;
}

/* Leaks of a child are looked for at its exit(). */
static int run_child(int (*fn)(void))
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        cv_loop_free(loop);
        loop = NULL;
        exit(fn());
    }
    REQUIRE(waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(names_fail_soon_without_a_network)
{
    int status = run_child(run_without_network);

    if (status == CANNOT)
        skip();
    CHECK_EQ(status, 0);
}

TEST(names_are_asked_of_the_server)
{
    int status = run_child(run_with_server);

    if (status == CANNOT)
        skip();
    CHECK_EQ(status, 0);
}

TEST(an_idle_loop_has_few_files_and_no_thread)
{
    int files, threads;

    cv_loop_free(loop);
    loop = NULL;
    files = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    cv_loop_once(loop, 0);
    /* epoll, timerfd, eventfd, and the pair for signals. */
    CHECK(entries("/proc/self/fd") - files <= 5);
    CHECK_EQ(entries("/proc/self/task"), threads);
    cv_loop_free(loop);
    CHECK_EQ(entries("/proc/self/fd"), files);
    loop = NULL;
    cv_loop_free(NULL);
}

#define IN_LOOP(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

RUN_TESTS(IN_LOOP(an_idle_loop_has_few_files_and_no_thread),
          IN_LOOP(names_fail_soon_without_a_network),
          IN_LOOP(names_are_asked_of_the_server),
          IN_LOOP(timers_fire_in_order_and_never_early),
          IN_LOOP(past_deadlines_fire_at_once_and_never_does_not),
          IN_LOOP(a_timer_may_be_set_and_freed_in_its_callback),
          IN_LOOP(once_waits_until_its_deadline_and_no_longer),
          IN_LOOP(calls_from_many_threads_run_in_order_in_the_loops_thread),
          IN_LOOP(too_many_calls_are_refused_and_the_rest_runs_at_the_end),
          IN_LOOP(a_call_may_post),
          IN_LOOP(stop_is_heard_before_within_and_from_elsewhere),
          IN_LOOP(descriptors_are_watched_as_asked),
          IN_LOOP(files_are_always_ready), IN_LOOP(signals_arrive_in_the_loop),
          IN_LOOP(the_worker_takes_one_task_after_the_other),
          IN_LOOP(work_can_be_had_now),
          IN_LOOP(a_result_is_delivered_though_the_queue_is_full),
          IN_LOOP(literals_need_no_names),
          IN_LOOP(localhost_is_known_without_a_network))
