/* Two nodes of one process that have nothing but TCP between them, over real
 * sockets of this machine. */
#include "tests/test.h"
#include "transport/net_struct.h"

#define BULK (8u * 1024 * 1024)

struct peer {
    struct cv_net *net;
    struct cv_keypair key;
    struct cv_candidates own;
    struct cv_conn *conn;
    struct cv_stream *stream;
    uint64_t in, out;
    bool closed;
    unsigned failed;
    char reason[320];
    enum cv_path_kind kind;
};

static struct cv_loop *loop;
static struct cv_log loud = {
    .level = CV_LOG_DEBUG, .show_addresses = true, .sink = cv_log_stderr};

/* Run until `cond` or for `limit`. */
#define WAIT(cond, limit)                                                      \
    do {                                                                       \
        cv_time until_ = cv_time_now() + (limit);                              \
        while (!(cond) && cv_time_now() < until_)                              \
            cv_loop_once(loop, until_);                                        \
    } while (0)

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
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct peer *p = user;
    uint8_t want[65536];

    (void)s;
    (void)fin;
    while (data.len > 0) {
        size_t n = data.len < sizeof want ? data.len : sizeof want;

        fill(want, n, p->in);
        REQUIRE(memcmp(want, data.data, n) == 0);
        p->in += n;
        data.data += n;
        data.len -= n;
    }
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
    (void)conn;
    cv_stream_set_events(s, &stream_events, user);
}

static void on_path(void *user, struct cv_conn *conn,
                    const struct cv_path_info *path)
{
    struct peer *p = user;

    (void)conn;
    p->kind = path->kind;
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason)
{
    struct peer *p = user;

    (void)conn;
    (void)err;
    (void)code;
    (void)reason;
    p->closed = true;
    p->conn = NULL;
}

static const struct cv_conn_events conn_events = {
    .stream = on_stream,
    .path = on_path,
    .closed = on_closed,
};

static void on_candidates(void *user, const struct cv_candidates *own)
{
    struct peer *p = user;

    p->own = *own;
}

static void on_attempt(void *user, const uint8_t attempt[8],
                       enum cv_attempt_state state, const char *reason)
{
    struct peer *p = user;

    (void)attempt;
    p->failed += state == CV_ATTEMPT_FAILED;
    snprintf(p->reason, sizeof p->reason, "%s", reason);
}

static void on_conn(void *user, struct cv_conn *conn)
{
    struct peer *p = user;
    struct cv_path_info info;

    p->conn = conn;
    cv_conn_path(conn, &info);
    p->kind = info.kind;
    cv_conn_set_events(conn, &conn_events, p);
    cv_conn_trust(conn); /* so that both streams are told of */
}

static const struct cv_net_events net_events = {
    .candidates = on_candidates,
    .attempt = on_attempt,
    .conn = on_conn,
};

static void open_peer(struct peer *p)
{
    struct cv_net_config config = {.loop = loop,
                                   .log =
                                       getenv("COVIM_TEST_LOG") ? &loud : NULL,
                                   .rng = &cv_rng_system,
                                   .node = &p->key};

    memset(p, 0, sizeof *p);
    REQUIRE(cv_keypair_generate(&p->key, &cv_rng_system) == CV_OK);
    REQUIRE(cv_net_new(&p->net, &config, &net_events, p) == CV_OK);
    WAIT(p->own.n > 0, 2 * CV_SECOND);
    REQUIRE(p->own.n > 0);
}

/* The peer's own addresses, as if UDP did not get through: its TCP port has
 * the number of its UDP port unless somebody else has that. */
static struct cv_candidates by_tcp(const struct peer *p)
{
    struct cv_candidates c = {.nat = CV_NAT_UDP_BLOCKED};

    for (unsigned i = 0; i < p->own.n && c.n < 2; i++)
        if (p->own.c[i].type == CV_CANDIDATE_HOST) {
            c.c[c.n] = p->own.c[i];
            c.c[c.n++].type = CV_CANDIDATE_TCP;
        }
    return c;
}

static void join(struct peer *a, struct peer *b, uint8_t number)
{
    struct cv_contact to_b = {
        .node = b->key.pub, .knocked = true, .trusted = true};
    struct cv_contact to_a = {.node = a->key.pub, .trusted = true};

    memset(to_b.attempt, number, sizeof to_b.attempt);
    memset(to_b.shared, number + 1, sizeof to_b.shared);
    memcpy(to_a.attempt, to_b.attempt, sizeof to_a.attempt);
    memcpy(to_a.shared, to_b.shared, sizeof to_a.shared);
    to_b.peer = by_tcp(b);
    to_a.peer = by_tcp(a);
    REQUIRE(cv_net_connect(a->net, &to_b) == CV_OK);
    REQUIRE(cv_net_connect(b->net, &to_a) == CV_OK);
}

TEST(nodes_without_udp_connect_and_move_bytes_both_ways)
{
    struct peer a, b;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    open_peer(&a);
    open_peer(&b);
    join(&a, &b, 1);
    WAIT(a.conn && b.conn, 10 * CV_SECOND);
    REQUIRE(a.conn && b.conn);
    CHECK_EQ(a.kind, CV_PATH_TCP);
    CHECK_EQ(b.kind, CV_PATH_TCP);
    REQUIRE(cv_conn_open(a.conn, &a.stream) == CV_OK);
    cv_stream_set_events(a.stream, &stream_events, &a);
    REQUIRE(cv_conn_open(b.conn, &b.stream) == CV_OK);
    cv_stream_set_events(b.stream, &stream_events, &b);
    pump(&a);
    pump(&b);
    WAIT(a.in == BULK && b.in == BULK, 60 * CV_SECOND);
    CHECK_EQ(a.in, BULK);
    CHECK_EQ(b.in, BULK);
    CHECK_EQ(a.kind, CV_PATH_TCP);

    cv_conn_close(a.conn, 7, "bye");
    WAIT(b.closed, 5 * CV_SECOND);
    CHECK(b.closed);
    cv_net_free(a.net);
    cv_net_free(b.net);
    cv_loop_free(loop);
}

TEST(whoever_vanishes_without_a_word_is_missed_soon)
{
    struct peer a, b;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    open_peer(&a);
    open_peer(&b);
    join(&a, &b, 2);
    WAIT(a.conn && b.conn, 10 * CV_SECOND);
    REQUIRE(a.conn && b.conn);
    cv_net_free(b.net);
    WAIT(a.kind == CV_PATH_NONE || a.closed, 10 * CV_SECOND);
    CHECK(a.kind == CV_PATH_NONE || a.closed);
    cv_net_free(a.net);
    cv_loop_free(loop);
}

/* The TCP link of the connection breaks at both ends. */
static void break_link(struct cv_net *net)
{
    cv_time now = cv_loop_now(loop);

    for (struct cv_net_link *l = net->links; l; l = l->next) {
        const struct cv_path *best = cv_pathset_best(&l->attempt->paths);
        struct cv_path_addr at;

        if (!best || best->addr.carrier != CV_CARRIER_TCP)
            continue;
        at = best->addr;
        cv_tcp_close(net->tcp, at.channel);
        cv_attempt_link_down(l->attempt, &at, CV_ERR_CLOSED, now);
    }
    cv_timer_set(net->timer, now);
}

static unsigned links(const struct cv_net *net)
{
    return net->n_links;
}

/* The first to connect is the second attempt, as the connection waits for UDP;
 * and there can be only one link between two ports. */
TEST(a_connection_goes_on_over_the_link_of_a_later_attempt)
{
    struct cv_conn *conn;
    struct peer a, b;
    uint64_t before;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    open_peer(&a);
    open_peer(&b);
    join(&a, &b, 3);
    WAIT(a.conn && b.conn, 10 * CV_SECOND);
    REQUIRE(a.conn && b.conn);
    conn = a.conn;
    REQUIRE(cv_conn_open(a.conn, &a.stream) == CV_OK);
    cv_stream_set_events(a.stream, &stream_events, &a);
    break_link(a.net);
    break_link(b.net);
    WAIT(a.kind == CV_PATH_NONE && b.kind == CV_PATH_NONE, CV_SECOND);
    CHECK_EQ(a.kind, CV_PATH_NONE);
    join(&a, &b, 4);
    before = (uint64_t)cv_time_now();
    WAIT(a.kind == CV_PATH_TCP && b.kind == CV_PATH_TCP, 5 * CV_SECOND);
    print_message("found again after %llu ms\n",
                  (unsigned long long)((uint64_t)cv_time_now() - before) /
                      1000000);
    CHECK_EQ(a.kind, CV_PATH_TCP);
    pump(&a);
    WAIT(b.in == BULK || a.closed, 30 * CV_SECOND);
    CHECK_EQ(b.in, BULK);
    CHECK(a.conn == conn);
    CHECK(!a.closed && !b.closed);
    CHECK_EQ(a.failed + b.failed, 0);
    /* The later one has ended; its link has not. */
    WAIT(links(a.net) == 1 && links(b.net) == 1, 40 * CV_SECOND);
    CHECK_EQ(links(a.net), 1);
    CHECK_EQ(links(b.net), 1);
    WAIT(false, 500 * CV_MILLISECOND);
    CHECK_EQ(a.kind, CV_PATH_TCP);
    CHECK_EQ(b.kind, CV_PATH_TCP);
    cv_net_free(a.net);
    cv_net_free(b.net);
    cv_loop_free(loop);
}

/* Both knock at once: one attempt of the two stands, whichever of them has
 * the link. */
TEST(of_two_attempts_at_once_either_may_have_the_link)
{
    for (uint8_t i = 0; i < 4; i++) {
        struct peer a, b;
        cv_time start;

        REQUIRE(cv_loop_new(&loop) == CV_OK);
        open_peer(&a);
        open_peer(&b);
        start = cv_time_now();
        join(&a, &b, (uint8_t)(10 + 4 * i));
        join(&b, &a, (uint8_t)(12 + 4 * i));
        WAIT(a.conn && b.conn, 10 * CV_SECOND);
        REQUIRE(a.conn && b.conn);
        print_message("connected after %lld ms\n",
                      (long long)((cv_time_now() - start) / CV_MILLISECOND));
        REQUIRE(cv_conn_open(a.conn, &a.stream) == CV_OK);
        cv_stream_set_events(a.stream, &stream_events, &a);
        pump(&a);
        WAIT(b.in == BULK || a.closed, 30 * CV_SECOND);
        CHECK_EQ(b.in, BULK);
        CHECK(!a.closed && !b.closed);
        CHECK_EQ(a.failed + b.failed, 0);
        CHECK_EQ(a.kind, CV_PATH_TCP);
        cv_net_free(a.net);
        cv_net_free(b.net);
        cv_loop_free(loop);
    }
}

RUN_TESTS(T(a_connection_goes_on_over_the_link_of_a_later_attempt),
          T(of_two_attempts_at_once_either_may_have_the_link),
          T(nodes_without_udp_connect_and_move_bytes_both_ways),
          T(whoever_vanishes_without_a_word_is_missed_soon))
