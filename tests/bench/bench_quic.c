/* What a QUIC connection costs and carries.
 *
 *     bench_quic [quick]
 *
 * Over loopback UDP with the node's own socket and loop, two processes:
 * handshakes, one stream in bulk, small echoes.  On a virtual link, so
 * repeatable: memory of idle connections, loss, and a switch of paths with
 * somebody typing beside a bulk transfer.  JSON lines on stdout, a table on
 * stderr. */
#include "tests/unit/quic_world.h"
#include "transport/udp.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB  ((size_t)1024 * 1024)
#define ECHO 32u
#define CHECK0(call)                                                           \
    do {                                                                       \
        int err_ = (call);                                                     \
        if (err_ != CV_OK)                                                     \
            die(#call, err_);                                                  \
    } while (0)

static bool quick;
static uint8_t block[65536];

static void die(const char *what, int err)
{
    fprintf(stderr, "bench_quic: %s: %s\n", what, cv_strerror(err));
    exit(1);
}

static void report(const char *name, const char *metric, double value)
{
    printf("{\"bench\":\"quic\",\"case\":\"%s\",\"metric\":\"%s\","
           "\"value\":%.3f}\n",
           name, metric, value);
    fflush(stdout);
    fprintf(stderr, "%-12s %-28s %12.3f\n", name, metric, value);
}

static double cpu(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* ---- one end of a loopback connection ---------------------------------- */

enum task {
    HANDSHAKES,
    BULK,
    ECHOES,
};

struct node {
    struct cv_loop *loop;
    struct cv_udp *udp;
    struct cv_timer *timer;
    struct cv_quic_ctx *ctx;
    struct cv_keypair key;
    struct cv_key peer;
    struct cv_addr to;
    struct cv_conn *conn;
    struct cv_quic_cid cids[16];
    unsigned n_cids;
    bool server;

    enum task task;
    unsigned left; /* handshakes, echoes */
    size_t bytes;  /* to send or to come */
    size_t part;   /* of an echo */
    cv_time begun;
    double *times; /* of echoes, in microseconds */
    unsigned n_times;
};

static void schedule(struct node *n)
{
    cv_timer_set(n->timer, n->conn ? cv_quic_deadline(n->conn) : CV_NEVER);
}

static void on_output(void *user, struct cv_conn *conn, const uint8_t *data,
                      size_t len, size_t segment)
{
    struct node *n = user;

    (void)conn;
    /* A full socket loses it, as a network does. */
    (void)cv_udp_send(n->udp, &n->to, NULL, 0, data, len, segment);
}

static void on_wake(void *user, struct cv_conn *conn)
{
    struct node *n = user;

    (void)conn;
    cv_timer_set(n->timer, 0);
}

static void on_cid_add(void *user, struct cv_conn *conn,
                       const struct cv_quic_cid *cid)
{
    struct node *n = user;

    (void)conn;
    if (n->n_cids < 16)
        n->cids[n->n_cids++] = *cid;
}

static void on_cid_remove(void *user, struct cv_conn *conn,
                          const struct cv_quic_cid *cid)
{
    struct node *n = user;

    (void)conn;
    for (unsigned i = 0; i < n->n_cids; i++)
        if (memcmp(&n->cids[i], cid, sizeof(*cid)) == 0) {
            n->cids[i] = n->cids[--n->n_cids];
            return;
        }
}

static void client_begin(struct node *n);

static void pump(struct node *n, struct cv_stream *s)
{
    while (n->bytes > 0) {
        size_t len = n->bytes < sizeof(block) ? n->bytes : sizeof(block);

        if (cv_stream_send(s, CV_BYTES(block, len)) != CV_OK)
            return;
        n->bytes -= len;
    }
}

static void send_echo(struct node *n, struct cv_stream *s)
{
    n->begun = cv_time_now();
    CHECK0(cv_stream_send(s, CV_BYTES(block, ECHO)));
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct node *n = user;

    (void)fin;
    if (n->server) {
        if (n->task == BULK)
            pump(n, s);
        else
            CHECK0(cv_stream_send(s, data));
        return;
    }
    if (n->task == BULK) {
        n->bytes -= data.len < n->bytes ? data.len : n->bytes;
        if (n->bytes == 0)
            cv_loop_stop(n->loop);
        return;
    }
    n->part += data.len;
    if (n->part < ECHO)
        return;
    n->part = 0;
    n->times[n->n_times++] = (double)(cv_time_now() - n->begun) / 1000.0;
    if (--n->left == 0)
        cv_loop_stop(n->loop);
    else
        send_echo(n, s);
}

static void on_writable(void *user, struct cv_stream *s)
{
    pump(user, s);
}

static const struct cv_stream_events stream_events = {on_data, on_writable,
                                                      NULL};

static void on_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    (void)conn;
    cv_stream_set_events(s, &stream_events, user);
}

static const struct cv_conn_events conn_events = {on_stream, NULL, NULL, NULL};

static void next_handshake(void *user)
{
    struct node *n = user;
    cv_time now = cv_time_now();

    cv_conn_close(n->conn, 0, "");
    cv_quic_flush(n->conn, now);
    cv_quic_free(n->conn);
    n->conn = NULL;
    if (--n->left == 0)
        cv_loop_stop(n->loop);
    else
        client_begin(n);
}

static void on_confirmed(void *user, struct cv_conn *conn)
{
    struct node *n = user;
    struct cv_stream *s;

    cv_conn_set_events(conn, &conn_events, n);
    if (n->server)
        return;
    if (n->task == HANDSHAKES) {
        CHECK0(cv_loop_post(n->loop, next_handshake, n));
        return;
    }
    CHECK0(cv_conn_open(conn, &s));
    cv_stream_set_events(s, &stream_events, n);
    n->begun = cv_time_now();
    if (n->task == BULK)
        CHECK0(cv_stream_send(s, CV_LITERAL("go")));
    else
        send_echo(n, s);
}

static const struct cv_quic_owner owner = {
    .output = on_output,
    .wake = on_wake,
    .confirmed = on_confirmed,
    .cid_add = on_cid_add,
    .cid_remove = on_cid_remove,
};

static struct cv_quic_config config_of(struct node *n)
{
    struct cv_quic_config config = {.peer = n->peer,
                                    .initial_rtt = CV_MILLISECOND / 5,
                                    .owner = &owner,
                                    .user = n};

    return config;
}

static void on_timer(void *user)
{
    struct node *n = user;

    if (n->conn)
        cv_quic_on_deadline(n->conn, cv_time_now());
    schedule(n);
}

static bool known(const struct node *n, const struct cv_quic_cid *cid)
{
    for (unsigned i = 0; i < n->n_cids; i++)
        if (memcmp(&n->cids[i], cid, sizeof(*cid)) == 0)
            return true;
    return false;
}

static void on_packet(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *data,
                      size_t len)
{
    struct cv_quic_config config;
    struct node *n = user;
    struct cv_quic_cid cid;

    (void)local;
    if (!cv_quic_packet_dcid(data, len, &cid))
        return;
    if (n->conn && known(n, &cid)) {
        cv_quic_input(n->conn, data, len, len, cv_time_now());
        return;
    }
    if (!n->server || !cv_quic_packet_is_initial(data, len))
        return;
    cv_quic_free(n->conn);
    n->conn = NULL;
    n->to = *from;
    config = config_of(n);
    if (cv_quic_accept(&n->conn, n->ctx, &config, data, len, from, false,
                       cv_time_now()) != CV_OK)
        n->conn = NULL;
}

static void on_batch(void *user)
{
    struct node *n = user;

    if (n->conn)
        cv_quic_flush(n->conn, cv_time_now());
    schedule(n);
}

static const struct cv_udp_events udp_events = {.packet = on_packet,
                                                .batch = on_batch};

static void client_begin(struct node *n)
{
    struct cv_quic_config config = config_of(n);

    CHECK0(cv_quic_connect(&n->conn, n->ctx, &config, cv_time_now()));
    cv_quic_flush(n->conn, cv_time_now());
    schedule(n);
}

static void node_open(struct node *n)
{
    struct cv_addr any = cv_addr_ipv4(0x7f000001, 0);

    CHECK0(cv_loop_new(&n->loop));
    CHECK0(cv_udp_new_at(&n->udp, n->loop, NULL, &any, &udp_events, n));
    CHECK0(cv_timer_new(&n->timer, n->loop, on_timer, n));
    CHECK0(cv_quic_ctx_new(&n->ctx, &n->key, &cv_rng_system));
}

static void node_close(struct node *n)
{
    cv_quic_free(n->conn);
    cv_quic_ctx_free(n->ctx);
    cv_timer_free(n->timer);
    cv_udp_free(n->udp);
    cv_loop_free(n->loop);
}

static pid_t serve(struct node *n, uint16_t *port)
{
    int fds[2];
    pid_t pid;

    if (pipe(fds) != 0)
        die("pipe", CV_ERR_IO);
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        die("fork", CV_ERR_IO);
    if (pid == 0) {
        close(fds[0]);
        node_open(n);
        *port = cv_udp_port(n->udp);
        if (write(fds[1], port, sizeof(*port)) != sizeof(*port))
            _exit(1);
        alarm(120);
        cv_loop_run(n->loop);
        _exit(0);
    }
    close(fds[1]);
    if (read(fds[0], port, sizeof(*port)) != sizeof(*port))
        die("the server", CV_ERR_IO);
    close(fds[0]);
    return pid;
}

/* Returns the seconds that it took; CPU of both in cpu_s. */
static double loopback(struct node *client, enum task task, double *cpu_s)
{
    struct node server = {.server = true, .task = task, .bytes = client->bytes};
    double before, theirs = cpu(RUSAGE_CHILDREN);
    cv_time start;
    uint16_t port;
    pid_t pid;

    client->task = task;
    CHECK0(cv_keypair_generate(&client->key, &cv_rng_system));
    CHECK0(cv_keypair_generate(&server.key, &cv_rng_system));
    client->peer = server.key.pub;
    server.peer = client->key.pub;
    pid = serve(&server, &port);
    node_open(client);
    client->to = cv_addr_ipv4(0x7f000001, port);
    before = cpu(RUSAGE_SELF);
    start = cv_time_now();
    client->begun = start;
    client_begin(client);
    cv_loop_run(client->loop);
    if (task != HANDSHAKES)
        start = client->begun > start && task == BULK ? client->begun : start;
    start = cv_time_now() - start;
    *cpu_s = cpu(RUSAGE_SELF) - before;
    node_close(client);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    *cpu_s += cpu(RUSAGE_CHILDREN) - theirs;
    return (double)start / CV_SECOND;
}

static void bench_handshakes(void)
{
    struct node n = {.left = quick ? 100 : 1000};
    unsigned count = n.left;
    double cpu_s, s = loopback(&n, HANDSHAKES, &cpu_s);

    report("handshake", "per_s", count / s);
    report("handshake", "cpu_us_both", cpu_s / count * 1e6);
}

static void bench_bulk(void)
{
    struct node n = {.bytes = quick ? 64 * MIB : 1024 * MIB};
    double mib = (double)n.bytes / (double)MIB;
    double cpu_s, s = loopback(&n, BULK, &cpu_s);

    report("bulk", "MiB_per_s", mib / s);
    report("bulk", "cpu_s_per_GiB_both", cpu_s / mib * 1024);
}

static void bench_echoes(void)
{
    struct node n = {.left = quick ? 2000 : 20000};
    unsigned count = n.left;
    double cpu_s;

    n.times = calloc(count, sizeof(*n.times));
    if (!n.times)
        die("echo", CV_ERR_NOMEM);
    loopback(&n, ECHOES, &cpu_s);
    qsort(n.times, n.n_times, sizeof(*n.times), by_size);
    report("echo-32", "p50_us", n.times[count / 2]);
    report("echo-32", "p99_us", n.times[count - 1 - count / 100]);
    free(n.times);
}

/* ---- the virtual link -------------------------------------------------- */

static void bench_memory(void)
{
    struct world_link link = {.delay = 10 * CV_MILLISECOND};
    struct world *worlds[50];
    unsigned n = quick ? 10 : 50;
    size_t before, used;

    /* World by world: what a world itself takes is not counted. */
    used = 0;
    for (unsigned i = 0; i < n; i++) {
        worlds[i] = world_new(i, &link);
        before = world_heap();
        world_join(worlds[i]);
        world_run(worlds[i], worlds[i]->now + 30 * CV_SECOND, NULL, NULL);
        used += world_heap() - before;
    }
    report("memory", "KiB_per_idle_end", (double)used / n / 2 / 1024);
    for (unsigned i = 0; i < n; i++)
        world_free(worlds[i]);
}

/* Somebody types 20 times a second beside a transfer, one way. */
static struct {
    struct world *w;
    struct cv_stream *bulk, *keys;
    size_t want, queued, got;
    cv_time sent[1 << 16];
    unsigned typed, seen;
    size_t part;
    cv_time worst;
    double sum;
} v;

static void v_pump(void)
{
    while (v.queued < v.want &&
           cv_stream_send(v.bulk, CV_BYTES(block, 16384)) == CV_OK)
        v.queued += 16384;
}

static void v_bulk_data(void *user, struct cv_stream *s, struct cv_bytes data,
                        bool fin)
{
    (void)user;
    (void)s;
    (void)fin;
    v.got += data.len;
}

static void v_key_data(void *user, struct cv_stream *s, struct cv_bytes data,
                       bool fin)
{
    (void)user;
    (void)s;
    (void)fin;
    for (v.part += data.len; v.part >= ECHO; v.part -= ECHO) {
        cv_time took = v.w->now - v.sent[v.seen++];

        v.sum += (double)took;
        if (took > v.worst)
            v.worst = took;
    }
}

static void v_writable(void *user, struct cv_stream *s)
{
    (void)user;
    (void)s;
    v_pump();
}

static const struct cv_stream_events v_bulk = {v_bulk_data, v_writable, NULL};
static const struct cv_stream_events v_keys = {v_key_data, NULL, NULL};

static void v_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    (void)user;
    (void)conn;
    cv_stream_set_events(s, cv_stream_id(s) == 0 ? &v_keys : &v_bulk, NULL);
}

static const struct cv_conn_events v_events = {v_stream, NULL, NULL, NULL};

static void v_open(uint64_t seed, const struct world_link *link)
{
    memset(&v, 0, sizeof(v));
    v.w = world_new(seed, link);
    v.w->end[0].events = v.w->end[1].events = &v_events;
    world_join(v.w);
    CHECK0(cv_conn_open(v.w->end[0].conn, &v.keys));
    CHECK0(cv_conn_open(v.w->end[0].conn, &v.bulk));
    cv_stream_set_events(v.bulk, &v_bulk, NULL);
}

static bool v_done(void *user)
{
    (void)user;
    return v.got >= v.want;
}

/* Types until `until`, or until all has arrived. */
static void v_type(cv_time until, bool to_the_end)
{
    v.worst = 0;
    v.sum = 0;
    while (v.w->now < until && !(to_the_end && v_done(NULL))) {
        if (v.typed < sizeof(v.sent) / sizeof(v.sent[0])) {
            v.sent[v.typed++] = v.w->now;
            CHECK0(cv_stream_send(v.keys, CV_BYTES(block, ECHO)));
        }
        world_run(v.w, v.w->now + 50 * CV_MILLISECOND,
                  to_the_end ? v_done : NULL, NULL);
    }
}

static void bench_loss(const char *name, unsigned loss, size_t mib)
{
    struct world_link link = {.delay = 20 * CV_MILLISECOND, .loss = loss};
    double seconds = 0, worst = 0;

    for (uint64_t seed = 1; seed <= 3; seed++) {
        cv_time start;

        v_open(seed, &link);
        start = v.w->now;
        v.want = mib * MIB;
        v_pump();
        v_type(start + CV_HOUR, true);
        seconds += (double)(v.w->now - start) / CV_SECOND / 3;
        worst += (double)v.worst / CV_MILLISECOND / 3;
        world_free(v.w);
    }
    report(name, "MiB_per_s", (double)mib / seconds);
    report(name, "key_worst_ms", worst);
}

static void phase(const char *metric, cv_time length)
{
    char name[64];
    size_t got = v.got;
    unsigned seen = v.seen;

    v_type(v.w->now + length, false);
    snprintf(name, sizeof(name), "%s_MiB_per_s", metric);
    report("switch", name,
           (double)(v.got - got) / (double)MIB / ((double)length / CV_SECOND));
    snprintf(name, sizeof(name), "%s_key_worst_ms", metric);
    report("switch", name, (double)v.worst / CV_MILLISECOND);
    snprintf(name, sizeof(name), "%s_key_mean_ms", metric);
    if (v.seen > seen)
        report("switch", name, v.sum / (v.seen - seen) / CV_MILLISECOND);
}

/* From a good direct path to a slow one and back, as the path set does it. */
static void bench_switch(void)
{
    struct world_link fast = {
        .delay = 10 * CV_MILLISECOND, .rate = 12500000, .queue = 150000};
    struct world_link slow = {
        .delay = 20 * CV_MILLISECOND, .rate = 250000, .queue = 60000};
    struct world_end *end;

    v_open(1, &fast);
    end = &v.w->end[0];
    v_type(v.w->now + 5 * CV_SECOND, false);
    v.want = SIZE_MAX / 2;
    v_pump();
    phase("100Mbit", 10 * CV_SECOND);
    v.w->link = slow;
    v.w->busy_until[0] = v.w->busy_until[1] = v.w->now;
    cv_quic_probe(end->conn, v.w->now);
    phase("to_2Mbit", 3 * CV_SECOND);
    phase("2Mbit", 20 * CV_SECOND);
    v.w->link = fast;
    cv_quic_probe(end->conn, v.w->now);
    phase("back_to_100Mbit", 3 * CV_SECOND);
    phase("100Mbit_again", 10 * CV_SECOND);
    world_free(v.w);
}

int main(int argc, char **argv)
{
    quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    bench_handshakes();
    bench_bulk();
    bench_echoes();
    bench_memory();
    bench_loss("loss-0", 0, 20);
    bench_loss("loss-1", 10, 20);
    bench_loss("loss-5", 50, 20);
    bench_loss("loss-20", 200, 4);
    bench_switch();
    return 0;
}
