/* Two nodes in one process, over real sockets of this machine. */
#include "tests/kit.h"
#include "transport/net.h"
#include "transport/stunserver.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BULK (10u * 1024 * 1024)

struct peer {
    struct cv_net *net;
    struct cv_keypair key;
    struct cv_candidates own;
    unsigned candidates;
    enum cv_attempt_state state;
    unsigned attempts, failed, conns;
    char reason[320];
    struct cv_conn *conn;
    struct cv_stream *stream;
    uint64_t in, out;
    uint32_t sum_in, sum_out;
    bool fin_in, closed;
    int close_err;
    uint64_t close_code;
    unsigned datagrams;
    enum cv_path_kind kind;
    unsigned paths;
    bool echo;
    cv_time none_at;
};

static struct cv_loop *loop;
static const struct cv_log quiet = {.level = CV_LOG_ERROR};
static struct cv_log noisy;

static struct cv_log *test_log(void)
{
    noisy = quiet;
    if (getenv("COVIM_TEST_LOG")) {
        noisy.level = CV_LOG_DEBUG;
        noisy.show_addresses = true;
        noisy.sink = cv_log_stderr;
    }
    return &noisy;
}

/* Bytes that both ends can compute. */
static void fill(uint8_t *out, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)((at + i) * 2654435761u >> 13);
}

static void pump(struct peer *p)
{
    uint8_t buf[16384];

    while (p->out < BULK) {
        size_t n = BULK - p->out < sizeof buf ? BULK - p->out : sizeof buf;

        fill(buf, n, p->out);
        if (cv_stream_send(p->stream, CV_BYTES(buf, n)) != CV_OK)
            return;
        p->out += n;
    }
    cv_stream_finish(p->stream);
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct peer *p = user;
    uint8_t want[65536];

    if (p->echo) {
        REQUIRE(cv_stream_send(s, data) == CV_OK);
        p->in += data.len;
        return;
    }
    while (data.len > 0) {
        size_t n = data.len < sizeof want ? data.len : sizeof want;

        fill(want, n, p->in);
        REQUIRE(memcmp(want, data.data, n) == 0);
        p->in += n;
        data.data += n;
        data.len -= n;
    }
    p->fin_in |= fin;
}

static void on_writable(void *user, struct cv_stream *s)
{
    (void)s;
    pump(user);
}

static const struct cv_stream_events stream_events = {
    .data = on_data,
    .writable = on_writable,
};

static void on_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    struct peer *p = user;

    (void)conn;
    p->stream = s;
    cv_stream_set_events(s, &stream_events, p);
}

static void on_datagram(void *user, struct cv_conn *conn, struct cv_bytes data)
{
    struct peer *p = user;

    (void)conn;
    REQUIRE(data.len == 700);
    p->datagrams++;
}

static void on_path(void *user, struct cv_conn *conn,
                    const struct cv_path_info *path)
{
    struct peer *p = user;

    (void)conn;
    p->kind = path->kind;
    p->paths++;
    if (path->kind == CV_PATH_NONE && p->none_at == 0)
        p->none_at = cv_time_now();
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason)
{
    struct peer *p = user;

    (void)reason;
    if (p->conn != conn)
        return;
    p->closed = true;
    p->close_err = err;
    p->close_code = code;
    p->conn = NULL;
    p->stream = NULL;
}

static const struct cv_conn_events conn_events = {
    .stream = on_stream,
    .datagram = on_datagram,
    .path = on_path,
    .closed = on_closed,
};

static void on_candidates(void *user, const struct cv_candidates *own)
{
    struct peer *p = user;

    p->own = *own;
    p->candidates++;
}

static void on_attempt(void *user, const uint8_t attempt[8],
                       enum cv_attempt_state state, const char *reason)
{
    struct peer *p = user;

    (void)attempt;
    p->state = state;
    p->attempts++;
    p->failed += state == CV_ATTEMPT_FAILED;
    snprintf(p->reason, sizeof p->reason, "%s", reason);
}

static void on_conn(void *user, struct cv_conn *conn)
{
    struct peer *p = user;
    struct cv_path_info info;

    p->conn = conn;
    p->conns++;
    p->closed = false;
    cv_conn_path(conn, &info);
    p->kind = info.kind;
    cv_conn_set_events(conn, &conn_events, p);
    cv_conn_trust(conn);
}

static const struct cv_net_events net_events = {
    .candidates = on_candidates,
    .attempt = on_attempt,
    .conn = on_conn,
};

static void open_peer_as(struct peer *p, const struct cv_keypair *key,
                         const char *const *stun, unsigned n_stun)
{
    struct cv_net_config config = {.loop = loop,
                                   .log = test_log(),
                                   .rng = &cv_rng_system,
                                   .node = &p->key,
                                   .stun = stun,
                                   .n_stun = n_stun};

    memset(p, 0, sizeof *p);
    p->key = *key;
    REQUIRE(cv_net_new(&p->net, &config, &net_events, p) == CV_OK);
}

static void open_peer(struct peer *p, const char *const *stun, unsigned n_stun)
{
    struct cv_keypair key;

    REQUIRE(cv_keypair_generate(&key, &cv_rng_system) == CV_OK);
    open_peer_as(p, &key, stun, n_stun);
}

static struct cv_contact contact(const struct peer *to, bool knocked,
                                 uint8_t number)
{
    struct cv_contact c = {.node = to->key.pub, .knocked = knocked};

    memset(c.attempt, number, sizeof c.attempt);
    memset(c.shared, number + 1, sizeof c.shared);
    c.peer = to->own;
    return c;
}

static void join(struct peer *a, struct peer *b, uint8_t number)
{
    struct cv_contact to_b = contact(b, true, number);
    struct cv_contact to_a = contact(a, false, number);

    REQUIRE(cv_net_connect(a->net, &to_b) == CV_OK);
    REQUIRE(cv_net_connect(b->net, &to_a) == CV_OK);
}

static void open_pair(struct peer *a, struct peer *b)
{
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    open_peer(a, NULL, 0);
    open_peer(b, NULL, 0);
    WAIT(a->candidates && b->candidates, 2 * CV_SECOND);
    REQUIRE(a->own.n > 0 && b->own.n > 0);
}

static void close_pair(struct peer *a, struct peer *b)
{
    cv_net_free(a->net);
    cv_net_free(b->net);
    cv_loop_free(loop);
}

TEST(two_nodes_connect_and_move_ten_megabytes_and_datagrams)
{
    struct peer a, b;
    uint8_t small[700] = {0};
    cv_time start, connected, done;
    unsigned sent = 0;

    open_pair(&a, &b);
    start = cv_time_now();
    join(&a, &b, 1);
    WAIT(a.conn && b.conn, 5 * CV_SECOND);
    connected = cv_time_now();
    CHECK(a.conn && b.conn);
    CHECK(a.kind == CV_PATH_LAN || a.kind == CV_PATH_IPV4 ||
          a.kind == CV_PATH_IPV6);
    CHECK(cv_conn_is_client(a.conn) && !cv_conn_is_client(b.conn));
    CHECK(cv_key_equal(cv_conn_peer(b.conn), &a.key.pub));
    CHECK_EQ(a.state, CV_ATTEMPT_DIRECT);

    CHECK_EQ(cv_conn_open(a.conn, &a.stream), CV_OK);
    cv_stream_set_events(a.stream, &stream_events, &a);
    pump(&a);
    for (int i = 0; i < 20; i++)
        sent +=
            cv_conn_datagram(b.conn, CV_BYTES(small, sizeof small)) == CV_OK;
    WAIT(b.fin_in, 30 * CV_SECOND);
    done = cv_time_now();
    CHECK_EQ(b.in, BULK);
    CHECK(b.fin_in);
    CHECK(sent > 0);
    WAIT(a.datagrams == sent, CV_SECOND);
    CHECK(a.datagrams > 0);
    print_message("connected in %lld ms, 10 MiB in %lld ms\n",
                  (long long)((connected - start) / CV_MILLISECOND),
                  (long long)((done - connected) / CV_MILLISECOND));
    CHECK(connected - start < CV_SECOND);

    cv_conn_close(a.conn, 42, "bye");
    WAIT(a.closed && b.closed, 2 * CV_SECOND);
    CHECK(a.closed && b.closed);
    CHECK_EQ(b.close_err, CV_OK);
    CHECK_EQ(b.close_code, 42);
    close_pair(&a, &b);
}

TEST(a_peer_with_another_key_is_refused_with_a_reason)
{
    struct peer a, b, c;
    struct cv_contact wrong, to_a;

    open_pair(&a, &b);
    open_peer(&c, NULL, 0);
    /* The record names C's key, but B's shared secret and address. */
    wrong = contact(&b, true, 3);
    wrong.node = c.key.pub;
    to_a = contact(&a, false, 3);
    CHECK_EQ(cv_net_connect(a.net, &wrong), CV_OK);
    CHECK_EQ(cv_net_connect(b.net, &to_a), CV_OK);
    WAIT(a.failed && b.failed, 10 * CV_SECOND);
    CHECK_EQ(a.failed, 1);
    CHECK_EQ(b.failed, 1);
    CHECK(strstr(a.reason, "another key") != NULL);
    CHECK_EQ(a.conns + b.conns, 0);
    cv_net_free(c.net);
    close_pair(&a, &b);
}

TEST(both_may_knock_at_once_and_one_connection_stands)
{
    for (uint8_t round = 0; round < 4; round++) {
        struct peer a, b;
        cv_time until;

        open_pair(&a, &b);
        join(&a, &b, 10);
        join(&b, &a, 20);
        WAIT(a.conn && b.conn, 5 * CV_SECOND);
        until = cv_time_now() + 1500 * CV_MILLISECOND;
        WAIT(false, until - cv_time_now());
        CHECK(a.conn && b.conn);
        CHECK_EQ(a.conns, 1);
        CHECK_EQ(b.conns, 1);
        CHECK_EQ(a.failed + b.failed, 0);
        CHECK_EQ(cv_conn_is_client(a.conn),
                 cv_key_compare(&a.key.pub, &b.key.pub) < 0);
        CHECK(cv_conn_is_client(a.conn) != cv_conn_is_client(b.conn));
        close_pair(&a, &b);
    }
}

TEST(a_living_connection_is_kept_when_its_end_is_found_again)
{
    struct peer a, b;

    open_pair(&a, &b);
    join(&a, &b, 30);
    WAIT(a.conn && b.conn, 5 * CV_SECOND);
    CHECK(a.conn && b.conn);
    join(&a, &b, 31);
    WAIT(a.conns > 1 || b.conns > 1, 3 * CV_SECOND);
    CHECK_EQ(a.conns, 1);
    CHECK_EQ(b.conns, 1);
    CHECK_EQ(a.failed + b.failed, 0);
    CHECK(a.conn && b.conn);
    CHECK_EQ(cv_conn_attempt(a.conn)[0], 30);
    close_pair(&a, &b);
}

/* The other end of the next tests, a process: echoes until it is killed. */
struct child {
    pid_t pid;
    int to, from;
};

static void child_run(const struct cv_keypair *key, uint8_t number, int in,
                      int out)
{
    struct peer b;
    struct cv_contact c = {0};

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    open_peer_as(&b, key, NULL, 0);
    b.echo = true;
    WAIT(b.candidates, 2 * CV_SECOND);
    REQUIRE(write(out, &b.own, sizeof b.own) == (ssize_t)sizeof b.own);
    REQUIRE(read(in, &c.node, sizeof c.node) == (ssize_t)sizeof c.node);
    REQUIRE(read(in, &c.peer, sizeof c.peer) == (ssize_t)sizeof c.peer);
    memset(c.attempt, number, sizeof c.attempt);
    memset(c.shared, number + 1, sizeof c.shared);
    REQUIRE(cv_net_connect(b.net, &c) == CV_OK);
    WAIT(false, 30 * CV_SECOND);
    _exit(1);
}

static struct child child_start(const struct cv_keypair *key, uint8_t number)
{
    struct child child;
    int to[2], from[2];

    REQUIRE(pipe(to) == 0);
    REQUIRE(pipe(from) == 0);
    child.pid = fork();
    REQUIRE(child.pid >= 0);
    if (child.pid == 0)
        child_run(key, number, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    child.to = to[1];
    child.from = from[0];
    return child;
}

static void child_join(const struct child *child, const struct cv_keypair *key,
                       uint8_t number, struct peer *a)
{
    struct cv_contact c = {.node = key->pub, .knocked = true};

    REQUIRE(read(child->from, &c.peer, sizeof c.peer) ==
            (ssize_t)sizeof c.peer);
    REQUIRE(write(child->to, &a->key.pub, sizeof a->key.pub) ==
            (ssize_t)sizeof a->key.pub);
    REQUIRE(write(child->to, &a->own, sizeof a->own) == (ssize_t)sizeof a->own);
    memset(c.attempt, number, sizeof c.attempt);
    memset(c.shared, number + 1, sizeof c.shared);
    REQUIRE(cv_net_connect(a->net, &c) == CV_OK);
}

static void child_kill(struct child *child)
{
    int status;

    REQUIRE(kill(child->pid, SIGKILL) == 0);
    REQUIRE(waitpid(child->pid, &status, 0) == child->pid);
    close(child->to);
    close(child->from);
}

TEST(a_connection_that_the_other_side_has_lost_is_replaced)
{
    struct cv_keypair key;
    struct child child;
    struct peer a;

    CHECK_EQ(cv_keypair_generate(&key, &cv_rng_system), CV_OK);
    child = child_start(&key, 5);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    open_peer(&a, NULL, 0);
    WAIT(a.candidates, 2 * CV_SECOND);
    child_join(&child, &key, 5, &a);
    WAIT(a.conn, 5 * CV_SECOND);
    CHECK(a.conn != NULL);
    child_kill(&child);
    /* What it has sent is read before the search begins: later it would be a
     * sign of life, and the old connection would be kept. */
    WAIT(false, 50 * CV_MILLISECOND);

    child = child_start(&key, 7);
    child_join(&child, &key, 7, &a);
    WAIT(a.conns == 2, 10 * CV_SECOND);
    CHECK_EQ(a.conns, 2);
    CHECK_EQ(cv_conn_attempt(a.conn)[0], 7);
    child_kill(&child);
    cv_net_free(a.net);
    cv_loop_free(loop);
}

TEST(a_killed_peer_is_noticed_within_five_seconds)
{
    struct cv_keypair key;
    struct child child;
    struct peer a;
    cv_time killed, next = 0, until;

    CHECK_EQ(cv_keypair_generate(&key, &cv_rng_system), CV_OK);
    child = child_start(&key, 5);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    open_peer(&a, NULL, 0);
    WAIT(a.candidates, 2 * CV_SECOND);
    child_join(&child, &key, 5, &a);
    WAIT(a.conn, 5 * CV_SECOND);
    CHECK(a.conn != NULL);
    CHECK_EQ(cv_conn_open(a.conn, &a.stream), CV_OK);
    a.echo = true;
    child_kill(&child);
    killed = cv_time_now();
    until = killed + 8 * CV_SECOND;
    while (a.none_at == 0 && cv_time_now() < until) {
        if (cv_time_now() >= next && a.stream) { /* somebody types */
            CHECK_EQ(cv_stream_send(a.stream, CV_LITERAL("x")), CV_OK);
            next = cv_time_now() + 100 * CV_MILLISECOND;
        }
        cv_loop_once(loop, next);
    }
    CHECK(a.none_at > 0);
    print_message("path gone after %lld ms\n",
                  (long long)((a.none_at - killed) / CV_MILLISECOND));
    CHECK(a.none_at - killed < 5 * CV_SECOND);
    CHECK(a.conn != NULL); /* it may still come back */
    cv_net_free(a.net);
    cv_loop_free(loop);
}

TEST(servers_tell_the_address_and_the_kind_of_mapping)
{
    struct cv_stunserver *s[2];
    struct cv_addr at = cv_addr_ipv4(0x7f000001, 0);
    char name[2][32];
    const char *names[2] = {name[0], name[1]};
    struct peer a;
    char text[400];
    bool answered = false;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(cv_stunserver_new(&s[i], loop, NULL, &at, 1), CV_OK);
        snprintf(name[i], sizeof name[i], "127.0.0.1:%u",
                 (unsigned)cv_stunserver_port(s[i], 0));
    }
    open_peer(&a, names, 2);
    for (int i = 0; i < 100 && !answered; i++) {
        WAIT(false, 20 * CV_MILLISECOND);
        cv_net_describe(a.net, text, sizeof text);
        answered = strstr(text, "2 of 2 STUN servers answer") != NULL;
    }
    CHECK(answered);
    cv_net_free(a.net);
    cv_stunserver_free(s[0]);
    cv_stunserver_free(s[1]);
    cv_loop_free(loop);
}

RUN_TESTS(T(two_nodes_connect_and_move_ten_megabytes_and_datagrams),
          T(a_peer_with_another_key_is_refused_with_a_reason),
          T(both_may_knock_at_once_and_one_connection_stands),
          T(a_living_connection_is_kept_when_its_end_is_found_again),
          T(a_connection_that_the_other_side_has_lost_is_replaced),
          T(a_killed_peer_is_noticed_within_five_seconds),
          T(servers_tell_the_address_and_the_kind_of_mapping))
