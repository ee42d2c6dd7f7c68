/* What a node of transport/ costs over loopback: from the contact to a
 * confirmed connection, bulk, and the echo of a keystroke, through sockets,
 * checks, path set and QUIC.
 *
 *     bench_net [tcp] [quick | bulk MIB]
 *
 * With `tcp` there is nothing but TCP between the two.
 *
 * Two processes; "bulk" is that alone, with the CPU time of both.  JSON lines
 * on stdout, a table on stderr. */
#include "transport/net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO 32u

/* As many connections as one node may ask for in a minute. */
static unsigned rounds = 6, echoes = 5000;
static uint64_t bulk = 512ull << 20;
static struct cv_loop *loop;
static struct cv_net *net;
static struct cv_keypair key;
static struct cv_candidates own;
static bool have_own, child, by_tcp;
static struct cv_conn *conn;
static struct cv_stream *stream;
static uint64_t in, out, want_out;
static bool bulk_mode, closed, only_bulk;
static uint8_t block[65536];

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_net: %s failed\n", what);
    exit(1);
}

static void report(const char *name, const char *metric, double value)
{
    const char *over = by_tcp ? "tcp " : "";

    printf("{\"bench\":\"net\",\"case\":\"%s%s\",\"metric\":\"%s\","
           "\"value\":%.3f}\n",
           over, name, metric, value);
    fflush(stdout);
    fprintf(stderr, "%s%-12s %-28s %12.3f\n", over, name, metric, value);
}

static double cpu(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void pump(void)
{
    while (out < want_out) {
        size_t n = want_out - out < sizeof block ? (size_t)(want_out - out)
                                                 : sizeof block;

        if (cv_stream_send(stream, CV_BYTES(block, n)) != CV_OK)
            return;
        out += n;
    }
}

/* The child echoes what is short and counts what is long; it says so with one
 * byte at the end. */
static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    (void)user;
    (void)fin;
    in += data.len;
    if (!child)
        return;
    if (data.len == ECHO && !bulk_mode)
        need(cv_stream_send(s, data) == CV_OK, "echo");
    else
        bulk_mode = true;
    if (bulk_mode && in >= bulk)
        need(cv_stream_send(s, CV_LITERAL("!")) == CV_OK, "report");
}

static void on_writable(void *user, struct cv_stream *s)
{
    (void)user;
    (void)s;
    pump();
}

static const struct cv_stream_events stream_events = {
    .data = on_data,
    .writable = on_writable,
};

static void on_stream(void *user, struct cv_conn *c, struct cv_stream *s)
{
    (void)user;
    (void)c;
    in = 0;
    cv_stream_set_events(s, &stream_events, NULL);
}

static void on_closed(void *user, struct cv_conn *c, int err, uint64_t code,
                      const char *reason)
{
    (void)user;
    (void)err;
    (void)code;
    (void)reason;
    if (c == conn) {
        closed = true;
        conn = NULL;
    }
}

static const struct cv_conn_events conn_events = {
    .stream = on_stream,
    .closed = on_closed,
};

static void on_conn(void *user, struct cv_conn *c)
{
    (void)user;
    conn = c;
    cv_conn_set_events(c, &conn_events, NULL);
    cv_conn_trust(c);
}

static void on_candidates(void *user, const struct cv_candidates *c)
{
    (void)user;
    own = *c;
    have_own = true;
}

static void on_attempt(void *user, const uint8_t attempt[8],
                       enum cv_attempt_state state, const char *reason)
{
    (void)user;
    (void)attempt;
    need(state != CV_ATTEMPT_FAILED, reason);
}

static const struct cv_net_events net_events = {
    .candidates = on_candidates,
    .attempt = on_attempt,
    .conn = on_conn,
};

static void open_net(void)
{
    struct cv_net_config config = {
        .rng = &cv_rng_system,
        .node = &key,
    };

    need(cv_keypair_generate(&key, &cv_rng_system) == CV_OK, "key");
    need(cv_loop_new(&loop) == CV_OK, "loop");
    config.loop = loop;
    need(cv_net_new(&net, &config, &net_events, NULL) == CV_OK, "net");
    while (!have_own)
        cv_loop_once(loop, cv_time_now() + CV_SECOND);
}

struct record {
    struct cv_key node;
    struct cv_candidates own;
};

static struct cv_contact contact_of(const struct record *r, bool knocked,
                                    unsigned round)
{
    struct cv_contact c = {
        .node = r->node, .knocked = knocked, .trusted = true, .peer = r->own};

    if (by_tcp) {
        c.peer = (struct cv_candidates){.nat = CV_NAT_UDP_BLOCKED};
        for (unsigned i = 0; i < r->own.n && c.peer.n == 0; i++)
            if (r->own.c[i].type == CV_CANDIDATE_HOST)
                c.peer.c[c.peer.n++] = r->own.c[i];
        c.peer.c[0].type = CV_CANDIDATE_TCP;
    }
    memcpy(c.attempt, &round, sizeof round);
    memcpy(c.shared, &round, sizeof round);
    /* Every round stands for another session. */
    c.realm = round;
    return c;
}

static void run_child(int from, int to)
{
    struct record mine, theirs;
    unsigned round = 0;

    child = true;
    open_net();
    mine = (struct record){key.pub, own};
    need(write(to, &mine, sizeof mine) == (ssize_t)sizeof mine, "pipe");
    need(read(from, &theirs, sizeof theirs) == (ssize_t)sizeof theirs, "pipe");
    for (;;) {
        struct cv_contact c;
        char go;

        /* Told of each round by the pipe, as by a knock. */
        if (read(from, &go, 1) != 1)
            break;
        c = contact_of(&theirs, false, ++round);
        need(cv_net_connect(net, &c) == CV_OK, "connect");
        need(write(to, &go, 1) == 1, "pipe");
        conn = NULL;
        closed = false;
        while (!closed)
            cv_loop_once(loop, cv_time_now() + CV_SECOND);
    }
    exit(0);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void quantiles(const char *name, const char *unit, double *v, unsigned n)
{
    char metric[32];

    qsort(v, n, sizeof *v, by_value);
    snprintf(metric, sizeof metric, "%s_p50", unit);
    report(name, metric, v[n / 2]);
    snprintf(metric, sizeof metric, "%s_p99", unit);
    report(name, metric, v[n * 99 / 100]);
}

static void wait_in(uint64_t until)
{
    cv_time end = cv_time_now() + 60 * CV_SECOND;

    while (in < until && cv_time_now() < end)
        cv_loop_once(loop, end);
    need(in >= until, "waiting for data");
}

int main(int argc, char **argv)
{
    static double sample[20000];
    struct record mine, theirs;
    int to[2], from[2];
    cv_time start;
    double used;
    pid_t pid;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "quick") == 0) {
            echoes = 500;
            bulk = 64ull << 20;
        } else if (strcmp(argv[i], "tcp") == 0) {
            by_tcp = true;
        } else if (strcmp(argv[i], "bulk") == 0 && i + 1 < argc) {
            only_bulk = true;
            echoes = 1;
            rounds = 1;
            bulk = strtoull(argv[++i], NULL, 10) << 20;
        }
    need(pipe(to) == 0 && pipe(from) == 0, "pipe");
    pid = fork();
    need(pid >= 0, "fork");
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        run_child(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    open_net();
    mine = (struct record){key.pub, own};
    need(read(from[0], &theirs, sizeof theirs) == (ssize_t)sizeof theirs,
         "pipe");
    need(write(to[1], &mine, sizeof mine) == (ssize_t)sizeof mine, "pipe");

    for (unsigned i = 1; i <= rounds; i++) {
        struct cv_contact c = contact_of(&theirs, true, i);
        char go = 1;

        conn = NULL;
        need(write(to[1], &go, 1) == 1, "pipe");
        need(read(from[0], &go, 1) == 1, "pipe");
        start = cv_time_now();
        need(cv_net_connect(net, &c) == CV_OK, "connect");
        while (!conn)
            cv_loop_once(loop, start + 20 * CV_SECOND);
        sample[i - 1] = (double)(cv_time_now() - start) / 1e6;
        if (i == rounds)
            break;
        cv_conn_close(conn, 0, "");
        while (conn)
            cv_loop_once(loop, cv_time_now() + CV_SECOND);
    }
    if (!only_bulk)
        quantiles("connect", "ms", sample, rounds);

    need(cv_conn_open(conn, &stream) == CV_OK, "stream");
    cv_stream_set_events(stream, &stream_events, NULL);
    for (unsigned i = 0; i < echoes; i++) {
        start = cv_time_now();
        need(cv_stream_send(stream, CV_BYTES(block, ECHO)) == CV_OK, "send");
        wait_in((i + 1) * ECHO);
        sample[i] = (double)(cv_time_now() - start) / 1e3;
    }
    if (!only_bulk)
        quantiles("echo", "us", sample, echoes);

    need(cv_conn_open(conn, &stream) == CV_OK, "stream");
    cv_stream_set_events(stream, &stream_events, NULL);
    in = 0;
    want_out = bulk;
    used = cpu(RUSAGE_SELF);
    start = cv_time_now();
    pump();
    wait_in(1);
    report("bulk", "mib_per_s",
           (double)(bulk >> 20) /
               ((double)(cv_time_now() - start) / (double)CV_SECOND));
    used = cpu(RUSAGE_SELF) - used;
    report("bulk", "sender_cpu_s_per_gib", used * 1024 / (double)(bulk >> 20));
    cv_net_free(net);
    cv_loop_free(loop);
    close(to[1]);
    waitpid(pid, NULL, 0);
    if (only_bulk)
        report("bulk", "cpu_s_per_gib_both",
               (used + cpu(RUSAGE_CHILDREN)) * 1024 / (double)(bulk >> 20));
    return 0;
}
