#include "tests/test.h"
#include "tests/unit/quic_world.h"

#define MIB ((size_t)1024 * 1024)

static const struct world_link good = {.delay = 10 * CV_MILLISECOND};

/* ---- an application ---------------------------------------------------- */

/* One stream at one end: sends `to_send` bytes of a pattern, checks what
 * comes against the other end's pattern. */
struct flow {
    struct app *app;
    struct cv_stream *s; /* NULL when closed */
    size_t to_send, queued, received;
    size_t piece; /* of one send; 0: 8000 */
    bool finish;  /* when all is queued */
    bool finished;
    bool got_fin;
    bool wrong; /* a byte was */
    bool echo;  /* send back what comes */
    unsigned agains, writables, calls, closed;
    int err;
};

struct app {
    struct world *world;
    unsigned index;
    struct flow flow[72];
    unsigned n;
    struct flow plan; /* of streams that the peer opens */
    unsigned datagrams, datagram_bytes;
    uint8_t last_datagram;
    unsigned paths, closed;
    enum cv_path_kind path;
    int err;
    uint64_t code;
    char reason[CV_QUIC_REASON_MAX + 1];
    bool quit_in_stream, quit_in_data, quit_in_closed, free_in_data;
    bool flush_in_data;
    bool ignore; /* set no events on peers' streams */
};

/* Both patterns depend on the place only. */
static uint8_t pattern(unsigned end, size_t at)
{
    return (uint8_t)(((at * 2654435761u) >> 11) + end * 101 + (at >> 16));
}

static void pump(struct flow *f)
{
    uint8_t buf[65536];
    int err;

    while (f->s && f->queued < f->to_send) {
        size_t piece = f->piece ? f->piece : 8000;
        size_t n = f->to_send - f->queued;

        if (n > piece)
            n = piece;
        REQUIRE(n <= sizeof(buf));
        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(f->app->index, f->queued + i);
        err = cv_stream_send(f->s, CV_BYTES(buf, n));
        if (err == CV_ERR_AGAIN) {
            f->agains++;
            return;
        }
        if (err == CV_ERR_CLOSED)
            return;
        REQUIRE(err == CV_OK);
        f->queued += n;
    }
    if (f->s && f->finish && !f->finished) {
        f->finished = true;
        cv_stream_finish(f->s);
    }
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct flow *f = user;
    struct app *app = f->app;

    REQUIRE(f->s == s && !f->got_fin && (data.len > 0 || fin));
    f->calls++;
    for (size_t i = 0; i < data.len; i++)
        if (!f->echo && data.data[i] != pattern(!app->index, f->received + i))
            f->wrong = true;
    f->received += data.len;
    f->got_fin = fin;
    if (f->echo && cv_stream_send(s, data) != CV_OK)
        f->wrong = true;
    if (fin && f->echo)
        cv_stream_finish(s);
    if (app->quit_in_data)
        cv_conn_close(cv_stream_conn(s), 7, "enough");
    if (app->flush_in_data)
        cv_quic_flush(cv_stream_conn(s), app->world->now);
    if (app->free_in_data) {
        struct cv_conn *conn = cv_stream_conn(s);

        f->s = NULL;
        cv_quic_free(conn);
    }
}

static void on_writable(void *user, struct cv_stream *s)
{
    struct flow *f = user;

    REQUIRE(f->s == s && f->agains > f->writables);
    f->writables++;
    pump(f);
}

static void on_stream_closed(void *user, struct cv_stream *s, int err)
{
    struct flow *f = user;

    REQUIRE(f->s == s);
    f->s = NULL;
    f->closed++;
    f->err = err;
}

static const struct cv_stream_events stream_events = {on_data, on_writable,
                                                      on_stream_closed};

static struct flow *adopt(struct app *app, struct cv_stream *s,
                          const struct flow *plan)
{
    struct flow *f = &app->flow[app->n++];

    REQUIRE(app->n <= sizeof(app->flow) / sizeof(app->flow[0]));
    *f = *plan;
    f->app = app;
    f->s = s;
    cv_stream_set_events(s, &stream_events, f);
    pump(f);
    return f;
}

static void on_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    struct app *app = user;

    if (app->ignore)
        return;
    adopt(app, s, &app->plan);
    if (app->quit_in_stream)
        cv_conn_close(conn, 8, "no streams");
}

static void on_datagram(void *user, struct cv_conn *conn, struct cv_bytes data)
{
    struct app *app = user;

    (void)conn;
    app->datagrams++;
    app->datagram_bytes += (unsigned)data.len;
    app->last_datagram = data.data[0];
}

static void on_path(void *user, struct cv_conn *conn,
                    const struct cv_path_info *path)
{
    struct app *app = user;

    (void)conn;
    app->paths++;
    app->path = path->kind;
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason)
{
    struct app *app = user;

    REQUIRE(app->closed == 0);
    for (unsigned i = 0; i < app->n; i++)
        REQUIRE(app->flow[i].s == NULL);
    app->closed++;
    app->err = err;
    app->code = code;
    snprintf(app->reason, sizeof(app->reason), "%s", reason);
    if (app->quit_in_closed) {
        app->world->end[app->index].conn = NULL;
        cv_quic_free(conn);
    }
}

static const struct cv_conn_events conn_events = {on_stream, on_datagram,
                                                  on_path, on_closed};

struct pair {
    struct world *w;
    struct app app[2];
};

static struct pair *pair_new(uint64_t seed, const struct world_link *link)
{
    struct pair *p = calloc(1, sizeof(*p));

    REQUIRE(p != NULL);
    p->w = world_new(seed, link);
    for (unsigned i = 0; i < 2; i++) {
        p->app[i].world = p->w;
        p->app[i].index = i;
        p->w->end[i].events = &conn_events;
        p->w->end[i].user = &p->app[i];
    }
    return p;
}

static struct pair *pair_join(uint64_t seed, const struct world_link *link)
{
    struct pair *p = pair_new(seed, link);

    world_join(p->w);
    return p;
}

static void pair_free(struct pair *p)
{
    world_free(p->w);
    free(p);
}

static struct flow *open_flow(struct pair *p, unsigned end,
                              const struct flow *plan)
{
    struct cv_stream *s;

    REQUIRE(cv_conn_open(p->w->end[end].conn, &s) == CV_OK);
    return adopt(&p->app[end], s, plan);
}

static void run(struct pair *p, cv_time time)
{
    world_run(p->w, p->w->now + time, NULL, NULL);
}

static bool flows_closed(void *user)
{
    struct pair *p = user;

    for (unsigned i = 0; i < 2; i++) {
        if (p->app[i].n == 0)
            return false;
        for (unsigned k = 0; k < p->app[i].n; k++)
            if (!p->app[i].flow[k].closed)
                return false;
    }
    return true;
}

static bool conns_dead(void *user)
{
    struct pair *p = user;

    return p->w->end[0].dead && p->w->end[1].dead;
}

/* ---- bytes ------------------------------------------------------------- */

static void transfer(const struct world_link *link, size_t bytes, cv_time limit)
{
    struct flow plan = {.to_send = bytes / 2, .finish = true};
    struct pair *p = pair_join(link->loss + 1, link);
    cv_time start = p->w->now;

    p->app[0].plan = p->app[1].plan = plan;
    open_flow(p, 0, &plan);
    open_flow(p, 1, &plan);
    if (!world_run(p->w, start + limit, flows_closed, p))
        print_error("loss %u: %zu and %zu of %zu\n", link->loss,
                    p->app[0].flow[0].received, p->app[1].flow[0].received,
                    bytes / 2);
    print_message("# %zu bytes each way, loss %.1f %%: %.2f s\n", bytes,
                  link->loss / 10.0, (double)(p->w->now - start) / CV_SECOND);
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(p->app[i].n == 2);
        for (unsigned k = 0; k < 2; k++) {
            REQUIRE(p->app[i].flow[k].received == bytes / 2);
            REQUIRE(!p->app[i].flow[k].wrong);
            REQUIRE(p->app[i].flow[k].got_fin);
            REQUIRE(p->app[i].flow[k].closed == 1);
            REQUIRE(p->app[i].flow[k].err == CV_OK);
        }
        /* Full trains were built. */
        REQUIRE(p->w->end[i].max_segments >= 8);
        if (link->trains)
            REQUIRE(p->w->end[i].longest_run >= 8 * CV_QUIC_PAYLOAD);
    }
    pair_free(p);
}

TEST(bytes_arrive_in_order_on_a_clean_link)
{
    struct world_link link = {.delay = 10 * CV_MILLISECOND};

    transfer(&link, 20 * MIB, CV_MINUTE);
    CHECK(true);
}

TEST(bytes_arrive_in_order_with_5_percent_loss)
{
    struct world_link link = {.delay = 10 * CV_MILLISECOND,
                              .jitter = 5 * CV_MILLISECOND,
                              .loss = 50,
                              .dup = 20,
                              .corrupt = 20};

    transfer(&link, 20 * MIB, 10 * CV_MINUTE);
    CHECK(true);
}

TEST(bytes_arrive_in_order_with_20_percent_loss)
{
    struct world_link link = {.delay = 10 * CV_MILLISECOND, .loss = 200};

    transfer(&link, 20 * MIB, 30 * CV_MINUTE);
    CHECK(true);
}

TEST(bytes_arrive_in_order_through_a_bottleneck)
{
    struct world_link link = {
        .delay = 15 * CV_MILLISECOND, .rate = 2500000, .queue = 100000};

    transfer(&link, 8 * MIB, CV_MINUTE);
    CHECK(true);
}

TEST(bytes_arrive_in_order_in_trains)
{
    struct world_link link = {.delay = 10 * CV_MILLISECOND, .trains = true};

    transfer(&link, 20 * MIB, CV_MINUTE);
    link.loss = 20;
    link.dup = 20;
    link.corrupt = 20;
    transfer(&link, 20 * MIB, 10 * CV_MINUTE);
    CHECK(true);
}

TEST(a_run_is_of_one_connection)
{
    uint8_t train[5][64] = {{0}};
    const size_t segment = sizeof train[0], len = sizeof train;

    for (unsigned i = 0; i < 5; i++)
        train[i][0] = (uint8_t)(0x40 | i);
    CHECK_EQ(cv_quic_packet_run(train[0], len, segment), len);
    CHECK_EQ(cv_quic_packet_run(train[0], len - 10, segment), len - 10);
    /* The last one is too short for an id. */
    CHECK_EQ(
        cv_quic_packet_run(train[0], 4 * segment + CV_QUIC_CID_LEN, segment),
        4 * segment);
    CHECK_EQ(cv_quic_packet_run(train[0], segment, segment), segment);
    CHECK_EQ(cv_quic_packet_run(train[0], 1, 1), 1);
    train[3][CV_QUIC_CID_LEN] = 1; /* of another one */
    CHECK_EQ(cv_quic_packet_run(train[0], len, segment), 3 * segment);
    CHECK_EQ(cv_quic_packet_run(train[3], 2 * segment, segment), segment);
    train[1][0] = 0xc0; /* a long header says how long its id is */
    CHECK_EQ(cv_quic_packet_run(train[0], len, segment), segment);
    CHECK_EQ(cv_quic_packet_run(train[1], 4 * segment, segment), segment);
    train[2][0] = 1; /* STUN */
    CHECK_EQ(cv_quic_packet_run(train[1], 4 * segment, segment), segment);
}

TEST(small_messages_leave_at_once_and_whole)
{
    struct pair *p = pair_join(5, &good);
    struct flow plan = {.to_send = 0}, *f;
    cv_time sent;

    f = open_flow(p, 0, &plan);
    f->piece = 30;
    for (unsigned i = 0; i < 50; i++) {
        unsigned calls = p->w->end[0].calls;

        f->to_send += 30;
        sent = p->w->now;
        pump(f);
        CHECK(p->w->end[0].awake);
        world_run(p->w, sent, NULL, NULL);
        CHECK(p->w->end[0].calls > calls);
        /* Not earlier than the link allows, and not later. */
        run(p, good.delay + CV_MILLISECOND);
        CHECK_EQ(p->app[1].flow[0].received, f->to_send);
        if (i % 10 == 9)
            run(p, 20 * CV_SECOND);
    }
    CHECK_EQ(p->app[1].flow[0].wrong, 0);
    pair_free(p);
}

TEST(many_small_messages_share_packets)
{
    struct pair *p = pair_join(6, &good);
    struct flow plan = {.to_send = 20, .piece = 20};
    unsigned packets = p->w->end[0].packets;

    for (unsigned i = 0; i < 30; i++)
        open_flow(p, 0, &plan);
    run(p, good.delay + CV_MILLISECOND);
    CHECK_EQ(p->app[1].n, 30);
    for (unsigned i = 0; i < 30; i++)
        CHECK_EQ(p->app[1].flow[i].received, 20);
    CHECK(p->w->end[0].packets - packets <= 2);
    pair_free(p);
}

/* ---- back pressure ----------------------------------------------------- */

TEST(a_full_queue_says_again_and_then_writable)
{
    struct flow plan = {.to_send = 5 * MIB, .finish = true}, *f;
    struct pair *p = pair_join(7, &good);
    size_t most = 0;

    p->app[1].plan.finish = true;
    f = open_flow(p, 0, &plan);
    CHECK_EQ(f->agains, 1);
    CHECK(f->queued <= CV_STREAM_SEND_MAX);
    CHECK(f->queued > CV_STREAM_SEND_MAX - 8000);
    while (!flows_closed(p)) {
        if (f->s && cv_stream_unsent(f->s) > most)
            most = cv_stream_unsent(f->s);
        run(p, CV_MILLISECOND);
    }
    CHECK(most <= CV_STREAM_SEND_MAX);
    CHECK(f->writables >= 5);
    CHECK_EQ(f->agains, f->writables);
    CHECK_EQ(p->app[1].flow[0].received, 5 * MIB);
    pair_free(p);
}

TEST(a_big_message_is_taken_by_an_empty_queue_only)
{
    struct pair *p = pair_join(8, &good);
    struct flow plan = {.to_send = 0}, *f = open_flow(p, 0, &plan);
    size_t len = 3 * MIB;
    uint8_t *big = malloc(len);

    CHECK(big != NULL);
    for (size_t i = 0; i < len; i++)
        big[i] = pattern(0, i);
    CHECK_EQ(cv_stream_send(f->s, CV_BYTES(big, 10)), CV_OK);
    CHECK_EQ(cv_stream_send(f->s, CV_BYTES(big + 10, len - 10)), CV_ERR_AGAIN);
    f->agains++;
    run(p, CV_SECOND);
    CHECK_EQ(f->writables, 1);
    CHECK_EQ(cv_stream_unsent(f->s), 0);
    CHECK_EQ(cv_stream_send(f->s, CV_BYTES(big + 10, len - 10)), CV_OK);
    CHECK_EQ(cv_stream_send(f->s, CV_BYTES(big, 1)), CV_ERR_AGAIN);
    f->agains++;
    run(p, 10 * CV_SECOND);
    CHECK_EQ(p->app[1].flow[0].received, len);
    CHECK(!p->app[1].flow[0].wrong);
    CHECK_EQ(f->writables, 2);
    free(big);
    pair_free(p);
}

static bool second_closed(void *user)
{
    struct pair *p = user;

    return p->app[1].flow[1].closed == 1;
}

TEST(a_paused_reader_stops_the_writer_and_loses_nothing)
{
    struct flow plan = {.to_send = 4 * MIB, .finish = true}, *f, *r;
    struct pair *p = pair_join(9, &good);

    p->app[1].plan.finish = true;
    f = open_flow(p, 0, &plan);
    run(p, 15 * CV_MILLISECOND);
    r = &p->app[1].flow[0];
    CHECK(r->received > 0);
    cv_stream_pause(r->s, true);
    run(p, 30 * CV_SECOND);
    CHECK(r->received < 2 * CV_STREAM_WINDOW);
    CHECK(f->queued <= r->received + CV_STREAM_WINDOW + CV_STREAM_SEND_MAX);
    CHECK_EQ(f->closed, 0);
    /* Another stream is not held up. */
    plan.to_send = 2 * MIB;
    open_flow(p, 0, &plan);
    run(p, 30 * CV_SECOND);
    CHECK_EQ(p->app[1].flow[1].received, 2 * MIB);
    cv_stream_pause(r->s, false);
    CHECK(world_run(p->w, p->w->now + CV_MINUTE, flows_closed, p));
    CHECK_EQ(r->received, 4 * MIB);
    CHECK(!r->wrong);
    CHECK_EQ(r->err, CV_OK);
    pair_free(p);
}

/* Only the first stream speaks, and all of them share a small window. */
TEST(who_is_not_trusted_is_held_and_then_let_go)
{
    struct flow small = {.to_send = 100},
                big = {.to_send = 2 * MIB, .finish = true};
    struct pair *p = pair_new(17, &good);
    struct flow *first, *second, *sent;
    size_t taken;

    p->w->end[1].held = true;
    world_join(p->w);
    p->app[1].plan.finish = true;
    open_flow(p, 0, &small);
    run(p, CV_SECOND);
    sent = open_flow(p, 0, &big);
    run(p, 10 * CV_SECOND);
    REQUIRE(p->app[1].n == 2);
    first = &p->app[1].flow[0];
    second = &p->app[1].flow[1];
    CHECK_EQ(first->received, 100);
    CHECK_EQ(second->received, 0);
    /* What it has taken of the rest is bounded, and not nothing. */
    taken = sent->queued - cv_stream_unsent(sent->s);
    CHECK(taken <= CV_CONN_HELD);
    CHECK(taken > CV_CONN_HELD / 2);
    cv_conn_trust(p->w->end[1].conn);
    CHECK(world_run(p->w, p->w->now + CV_MINUTE, second_closed, p));
    CHECK_EQ(second->received, 2 * MIB);
    CHECK(!second->wrong);
    pair_free(p);
}

/* Both directions ended while the reader was paused. */
TEST(the_end_waits_for_a_paused_reader)
{
    struct flow plan = {.to_send = 5000, .finish = true};
    struct pair *p = pair_join(10, &good);
    struct flow *r;

    p->app[1].plan.finish = true;
    open_flow(p, 0, &plan);
    cv_stream_pause(p->app[0].flow[0].s, true);
    p->app[1].plan.to_send = 5000;
    run(p, CV_SECOND);
    r = &p->app[0].flow[0];
    CHECK_EQ(p->app[1].flow[0].closed, 1);
    CHECK_EQ(r->closed, 0);
    CHECK_EQ(r->received, 0);
    cv_stream_pause(r->s, false);
    run(p, CV_SECOND);
    CHECK_EQ(r->received, 5000);
    CHECK(r->got_fin);
    CHECK_EQ(r->closed, 1);
    CHECK_EQ(r->err, CV_OK);
    pair_free(p);
}

/* What is not read does not take the connection's window for ever. */
TEST(dropped_input_gives_its_window_back)
{
    struct flow plan = {.to_send = 2 * MIB};
    struct pair *p = pair_join(11, &good);

    for (unsigned i = 0; i < 20; i++) {
        struct flow *r;

        open_flow(p, 0, &plan);
        run(p, 30 * CV_MILLISECOND);
        r = &p->app[1].flow[i];
        cv_stream_pause(r->s, true);
        run(p, 2 * CV_SECOND);
        cv_stream_reset(r->s, 1);
        run(p, CV_SECOND);
        CHECK_EQ(r->err, CV_ERR_CLOSED);
        CHECK_EQ(p->app[0].flow[i].err, CV_ERR_PEER);
    }
    plan.finish = true;
    p->app[1].plan.finish = true;
    open_flow(p, 0, &plan);
    run(p, 5 * CV_SECOND);
    CHECK_EQ(p->app[1].flow[20].received, 2 * MIB);
    pair_free(p);
}

/* ---- ends of streams --------------------------------------------------- */

TEST(half_a_stream_can_close)
{
    struct flow plan = {.to_send = 1000, .finish = true}, *f, *r;
    struct pair *p = pair_join(12, &good);

    f = open_flow(p, 0, &plan);
    run(p, CV_SECOND);
    r = &p->app[1].flow[0];
    CHECK(r->got_fin);
    CHECK_EQ(r->closed, 0);
    CHECK_EQ(f->closed, 0);
    CHECK_EQ(cv_stream_send(f->s, CV_LITERAL("more")), CV_ERR_CLOSED);
    r->to_send = 300000;
    r->finish = true;
    pump(r);
    run(p, 2 * CV_SECOND);
    CHECK_EQ(f->received, 300000);
    CHECK(f->got_fin && !f->wrong);
    CHECK_EQ(f->closed, 1);
    CHECK_EQ(r->closed, 1);
    CHECK_EQ(f->err, CV_OK);
    CHECK_EQ(r->err, CV_OK);
    pair_free(p);
}

TEST(an_empty_stream_can_close)
{
    struct flow plan = {.finish = true};
    struct pair *p = pair_join(13, &good);

    p->app[1].plan.finish = true;
    open_flow(p, 0, &plan);
    CHECK(world_run(p->w, p->w->now + CV_SECOND, flows_closed, p));
    CHECK_EQ(p->app[0].flow[0].err, CV_OK);
    CHECK(p->app[0].flow[0].got_fin);
    CHECK_EQ(p->app[1].flow[0].err, CV_OK);
    pair_free(p);
}

TEST(a_reset_reaches_the_other_side)
{
    struct flow plan = {.to_send = 100000};
    struct pair *p = pair_join(14, &good);

    p->app[1].plan.to_send = 100000;
    open_flow(p, 0, &plan);
    run(p, 25 * CV_MILLISECOND);
    cv_stream_reset(p->app[0].flow[0].s, 5);
    CHECK_EQ(p->app[0].flow[0].closed, 0); /* later, not in the call */
    CHECK_EQ(cv_stream_send(p->app[0].flow[0].s, CV_LITERAL("x")),
             CV_ERR_CLOSED);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[0].flow[0].closed, 1);
    CHECK_EQ(p->app[0].flow[0].err, CV_ERR_CLOSED);
    CHECK_EQ(p->app[1].flow[0].closed, 1);
    CHECK_EQ(p->app[1].flow[0].err, CV_ERR_PEER);
    /* And leaves nothing behind. */
    open_flow(p, 0, &plan);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].flow[1].received, 100000);
    pair_free(p);
}

TEST(streams_are_limited_and_come_back)
{
    struct flow plan = {.to_send = 10};
    struct pair *p = pair_join(15, &good);
    struct cv_stream *s;

    for (unsigned i = 0; i < CV_CONN_STREAMS; i++)
        open_flow(p, 0, &plan);
    CHECK_EQ(cv_conn_open(p->w->end[0].conn, &s), CV_ERR_LIMIT);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].n, CV_CONN_STREAMS);
    CHECK_EQ(cv_conn_open(p->w->end[0].conn, &s), CV_ERR_LIMIT);
    for (unsigned i = 0; i < 3; i++) {
        cv_stream_finish(p->app[0].flow[i].s);
        cv_stream_finish(p->app[1].flow[i].s);
    }
    run(p, CV_SECOND);
    for (unsigned i = 0; i < 3; i++)
        open_flow(p, 0, &plan);
    CHECK_EQ(cv_conn_open(p->w->end[0].conn, &s), CV_ERR_LIMIT);
    /* The other way is counted apart. */
    open_flow(p, 1, &plan);
    run(p, CV_SECOND);
    CHECK(!p->app[0].closed && !p->app[1].closed);
    pair_free(p);
}

TEST(thousands_of_streams_one_after_another)
{
    struct world_link lossy = {.delay = CV_MILLISECOND, .loss = 50};
    struct flow plan = {.to_send = 3000, .finish = true};
    struct pair *p = pair_join(16, &lossy);
    size_t before = 0;

    p->app[1].plan.finish = true;
    for (unsigned i = 0; i < 3000; i++) {
        open_flow(p, 0, &plan);
        REQUIRE(world_run(p->w, p->w->now + 10 * CV_SECOND, flows_closed, p));
        REQUIRE(p->app[1].flow[0].received == 3000);
        p->app[0].n = p->app[1].n = 0;
        if (i == 500)
            before = world_heap();
    }
    CHECK(world_heap() < before + 65536);
    pair_free(p);
}

TEST(streams_nobody_wants_do_not_stall_the_connection)
{
    struct flow plan = {.to_send = 6 * MIB, .finish = true};
    struct pair *p = pair_join(17, &good);

    p->app[1].ignore = true;
    open_flow(p, 0, &plan);
    run(p, 20 * CV_SECOND);
    CHECK_EQ(p->app[0].flow[0].queued, 6 * MIB);
    CHECK_EQ(cv_stream_unsent(p->app[0].flow[0].s), 0);
    pair_free(p);
}

/* ---- datagrams --------------------------------------------------------- */

TEST(datagrams_arrive_and_are_bounded)
{
    struct pair *p = pair_join(18, &good);
    struct cv_conn *conn = p->w->end[0].conn;
    uint8_t data[CV_DATAGRAM_MAX + 1] = {42};
    unsigned n = 0;

    CHECK_EQ(cv_conn_datagram(conn, CV_BYTES(data, sizeof(data))),
             CV_ERR_NOBUF);
    CHECK_EQ(cv_conn_datagram(conn, CV_BYTES(data, 0)), CV_ERR_INVALID);
    CHECK_EQ(cv_conn_datagram(conn, CV_BYTES(data, CV_DATAGRAM_MAX)), CV_OK);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].datagrams, 1);
    CHECK_EQ(p->app[1].datagram_bytes, CV_DATAGRAM_MAX);
    CHECK_EQ(p->app[1].last_datagram, 42);
    while (cv_conn_datagram(conn, CV_BYTES(data, 1000)) == CV_OK)
        n++;
    CHECK(n >= 16 && n <= 64);
    CHECK_EQ(cv_conn_datagram(conn, CV_BYTES(data, 1)), CV_ERR_AGAIN);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].datagrams, 1 + n);
    CHECK_EQ(cv_conn_datagram(conn, CV_BYTES(data, 1)), CV_OK);
    pair_free(p);
}

TEST(datagrams_pass_a_busy_stream)
{
    struct world_link slow = {
        .delay = 10 * CV_MILLISECOND, .rate = 1000000, .queue = 50000};
    struct flow plan = {.to_send = 4 * MIB};
    struct pair *p = pair_join(19, &slow);
    unsigned sent = 0;
    uint8_t data[20] = {1};

    open_flow(p, 0, &plan);
    for (unsigned i = 0; i < 30; i++) {
        run(p, 100 * CV_MILLISECOND);
        if (cv_conn_datagram(p->w->end[0].conn, CV_BYTES(data, 20)) == CV_OK)
            sent++;
    }
    run(p, CV_SECOND);
    CHECK_EQ(sent, 30);
    CHECK(p->app[1].datagrams >= 25);
    CHECK(p->app[1].flow[0].received > MIB);
    pair_free(p);
}

/* ---- ends of connections ----------------------------------------------- */

TEST(a_close_tells_the_other_side_why)
{
    struct flow plan = {.to_send = 100};
    struct pair *p = pair_join(20, &good);
    struct cv_stream *s;

    p->app[1].plan.to_send = 100;
    open_flow(p, 0, &plan);
    run(p, CV_SECOND);
    cv_conn_close(p->w->end[0].conn, 77,
                  "g\xc3\xb6ne \x1b[31mfishing\x7f\n\x80");
    cv_conn_close(p->w->end[0].conn, 78, "again");
    CHECK_EQ(p->app[0].closed, 0);
    CHECK_EQ(cv_conn_open(p->w->end[0].conn, &s), CV_ERR_CLOSED);
    CHECK_EQ(cv_stream_send(p->app[0].flow[0].s, CV_LITERAL("x")),
             CV_ERR_CLOSED);
    run(p, CV_SECOND);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(p->app[i].closed, 1);
        CHECK_EQ(p->app[i].err, CV_OK);
        CHECK_EQ(p->app[i].code, 77);
        CHECK_STR(p->app[i].reason, "g\xc3\xb6ne  [31mfishing? ?");
        CHECK_EQ(p->app[i].flow[0].err, CV_ERR_CLOSED);
        CHECK_EQ(p->w->end[i].local, i == 0);
    }
    CHECK(world_run(p->w, p->w->now + 20 * CV_SECOND, conns_dead, p));
    pair_free(p);
}

TEST(a_long_reason_is_cut_between_characters)
{
    struct pair *p = pair_join(21, &good);
    char text[400] = "", want[200] = "";

    for (unsigned i = 0; i < 100; i++)
        strcat(text, "\xe2\x82\xac");
    for (unsigned i = 0; i < 42; i++)
        strcat(want, "\xe2\x82\xac");
    cv_conn_close(p->w->end[1].conn, 1, text);
    run(p, CV_SECOND);
    CHECK_STR(p->app[0].reason, want);
    pair_free(p);
}

TEST(a_lost_close_is_said_again)
{
    struct pair *p = pair_join(22, &good);
    struct flow plan = {.to_send = 100};

    p->w->end[0].mute = true;
    cv_conn_close(p->w->end[0].conn, 5, "bye");
    run(p, 5 * CV_MILLISECOND);
    p->w->end[0].mute = false;
    CHECK_EQ(p->app[0].closed, 1);
    open_flow(p, 1, &plan);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].closed, 1);
    CHECK_EQ(p->app[1].code, 5);
    CHECK_EQ(p->app[1].err, CV_OK);
    pair_free(p);
}

TEST(a_close_waits_for_a_full_carrier)
{
    struct pair *p = pair_join(55, &good);

    cv_quic_set_writable(p->w->end[0].conn, false);
    cv_conn_close(p->w->end[0].conn, 9, "bye");
    run(p, 15 * CV_MILLISECOND);
    CHECK_EQ(p->app[0].closed, 1);
    CHECK_EQ(p->app[1].closed, 0);
    cv_quic_set_writable(p->w->end[0].conn, true);
    run(p, 15 * CV_MILLISECOND);
    CHECK_EQ(p->app[1].closed, 1);
    CHECK_EQ(p->app[1].code, 9);
    pair_free(p);
}

TEST(last_words_come_before_the_close)
{
    struct world_link link = good;
    struct flow plan = {.to_send = 5000};

    for (unsigned i = 0; i < 2; i++) {
        struct pair *p = pair_join(23, &link);

        open_flow(p, 0, &plan);
        cv_conn_close(p->w->end[0].conn, 5, "bye");
        run(p, CV_SECOND);
        CHECK_EQ(p->app[1].n, 1);
        CHECK_EQ(p->app[1].flow[0].received, 5000);
        CHECK_EQ(p->app[1].closed, 1);
        pair_free(p);
        link.trains = true;
    }
}

TEST(an_idle_connection_stays_for_an_hour)
{
    struct pair *p = pair_join(24, &good);
    struct flow plan = {.to_send = 10};
    unsigned packets = p->w->end[0].packets;

    run(p, CV_HOUR);
    CHECK(!p->app[0].closed && !p->app[1].closed);
    /* Keep-alive each 25 s and its acknowledgement, by both. */
    CHECK(p->w->end[0].packets - packets < 600);
    open_flow(p, 0, &plan);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].flow[0].received, 10);
    pair_free(p);
}

TEST(a_vanished_peer_is_noticed)
{
    for (unsigned busy = 0; busy < 2; busy++) {
        struct pair *p = pair_join(25, &good);
        struct flow plan = {.to_send = busy ? 3 * MIB : 0};

        open_flow(p, 0, &plan);
        run(p, 30 * CV_MILLISECOND);
        p->w->end[0].deaf = p->w->end[1].deaf = true;
        run(p, 40 * CV_SECOND);
        CHECK(!p->app[0].closed && !p->app[1].closed);
        run(p, 60 * CV_SECOND);
        for (unsigned i = 0; i < 2; i++) {
            CHECK_EQ(p->app[i].closed, 1);
            CHECK_EQ(p->app[i].err, CV_ERR_TIMEOUT);
        }
        pair_free(p);
    }
}

TEST(a_forgotten_connection_is_reset)
{
    struct pair *p = pair_join(26, &good);
    struct flow plan = {.to_send = 100};
    uint8_t packet[64] = {0x40}, reset[64];
    struct cv_quic_cid cid;
    size_t n;

    /* The server loses the connection, not its secret. */
    open_flow(p, 0, &plan);
    run(p, CV_SECOND);
    cv_quic_free(p->w->end[1].conn);
    p->w->end[1].conn = NULL;
    p->w->end[1].deaf = true;
    CHECK_EQ(
        cv_quic_write_reset(p->w->end[1].ctx, reset, sizeof(reset), packet, 21),
        0);
    n = cv_quic_write_reset(p->w->end[1].ctx, reset, sizeof(reset), packet, 40);
    CHECK(n > 21 && n < 40);
    CHECK(cv_quic_packet_dcid(reset, n, &cid));
    pair_free(p);
}

static uint8_t caught[1252];
static size_t caught_len;

static void catch_packet(struct world_end *end, uint8_t *data, size_t *len)
{
    (void)end;
    memcpy(caught, data, *len);
    caught_len = *len;
}

TEST(a_stateless_reset_ends_the_connection)
{
    struct pair *p = pair_join(27, &good);
    struct flow plan = {.to_send = 100};
    uint8_t reset[64];
    size_t n;

    open_flow(p, 0, &plan);
    run(p, CV_SECOND);
    p->w->end[1].on_packet = catch_packet;
    p->app[0].flow[0].to_send = 200;
    pump(&p->app[0].flow[0]);
    run(p, 15 * CV_MILLISECOND);
    n = cv_quic_write_reset(p->w->end[1].ctx, reset, sizeof(reset), caught,
                            caught_len);
    CHECK(n > 0);
    world_deliver(p->w, 0, reset, n);
    CHECK_EQ(p->app[0].closed, 1);
    CHECK_EQ(p->app[0].err, CV_ERR_TIMEOUT);
    pair_free(p);
}

/* ---- an application may do anything in a callback ---------------------- */

TEST(a_callback_may_close_or_free_anything)
{
    struct flow plan = {.to_send = 50000, .finish = true};
    struct world_link link = good;

    for (unsigned n = 0; n < 14; n++) {
        unsigned i = n % 7;
        struct pair *p;

        link.trains = n >= 7;
        p = pair_join(30 + i, &link);
        p->app[1].plan = plan;
        p->app[1].quit_in_stream = i == 0;
        p->app[1].quit_in_data = i == 1 || i >= 5;
        p->app[1].free_in_data = i == 2 || i == 6;
        p->app[1].flush_in_data = i >= 5;
        p->app[1].quit_in_closed = i == 3;
        for (unsigned k = 0; k < 5; k++)
            open_flow(p, 0, &plan);
        run(p, 15 * CV_MILLISECOND);
        if (i == 3 || i == 4)
            cv_conn_close(p->w->end[i == 3].conn, 1, "");
        run(p, CV_SECOND);
        if (i == 2 || i == 6) {
            CHECK(p->w->end[1].conn == NULL);
            CHECK_EQ(p->app[1].closed, 0);
        } else {
            CHECK_EQ(p->app[0].closed, 1);
            CHECK_EQ(p->app[1].closed, 1);
        }
        pair_free(p);
    }
}

static void free_at_once(struct world_end *end)
{
    struct cv_conn *conn = end->conn;

    end->conn = NULL;
    cv_quic_free(conn);
}

TEST(an_owner_may_free_in_its_callbacks)
{
    for (unsigned i = 0; i < 4; i++) {
        struct pair *p = pair_new(40 + i, &good);
        struct world_end *end = &p->w->end[i & 1];

        if (i < 2)
            end->on_confirmed = free_at_once;
        else
            end->on_closed = free_at_once;
        world_connect(p->w);
        run(p, CV_SECOND);
        if (i >= 2)
            cv_conn_close(p->w->end[0].conn, 1, "");
        run(p, CV_SECOND);
        CHECK(end->conn == NULL);
        CHECK_EQ(end->cids, 0);
        pair_free(p);
    }
}

/* ---- paths ------------------------------------------------------------- */

TEST(a_new_path_is_told)
{
    struct pair *p = pair_join(50, &good);
    struct cv_path_info path = {.kind = CV_PATH_GATE_UDP, .rtt = 5}, got;

    cv_quic_set_path(p->w->end[0].conn, &path);
    run(p, CV_MILLISECOND);
    CHECK_EQ(p->app[0].paths, 1);
    CHECK_EQ(p->app[0].path, CV_PATH_GATE_UDP);
    path.rtt = 6;
    cv_quic_set_path(p->w->end[0].conn, &path);
    run(p, CV_MILLISECOND);
    CHECK_EQ(p->app[0].paths, 1);
    cv_conn_path(p->w->end[0].conn, &got);
    CHECK_EQ(got.rtt, 6);
    path.remote = cv_addr_ipv4(0x01020304, 5);
    cv_quic_set_path(p->w->end[0].conn, &path);
    run(p, CV_MILLISECOND);
    CHECK_EQ(p->app[0].paths, 2);
    pair_free(p);
}

/* A path dies under a full window, the timer backs off; then there is a new
 * one. */
static cv_time recovery(bool probe)
{
    struct flow plan = {.to_send = 8 * MIB, .finish = true};
    struct pair *p = pair_join(51, &good);
    struct cv_quic_stats stats;
    cv_time back, took = 0;
    size_t at_switch;

    p->app[1].plan.finish = true;
    open_flow(p, 0, &plan);
    run(p, 60 * CV_MILLISECOND);
    p->w->end[0].mute = p->w->end[1].mute = true;
    run(p, 6 * CV_SECOND);
    cv_quic_stats(p->w->end[0].conn, &stats);
    REQUIRE(stats.in_flight > 0);
    REQUIRE(stats.pto_count > 3);
    REQUIRE(p->w->now - stats.last_heard > 5 * CV_SECOND);
    p->w->end[0].mute = p->w->end[1].mute = false;
    back = p->w->now;
    at_switch = p->app[1].flow[0].received;
    if (probe)
        cv_quic_probe(p->w->end[0].conn, p->w->now);
    while (took == 0) {
        run(p, CV_MILLISECOND);
        if (p->app[1].flow[0].received > at_switch)
            took = p->w->now - back;
    }
    REQUIRE(world_run(p->w, p->w->now + CV_MINUTE, flows_closed, p));
    REQUIRE(p->app[1].flow[0].received == 8 * MIB);
    REQUIRE(!p->app[1].flow[0].wrong);
    pair_free(p);
    return took;
}

TEST(a_probe_recovers_at_once_on_a_new_path)
{
    cv_time with = recovery(true), without = recovery(false);

    print_message("# recovery %.0f ms with a probe, %.0f ms without\n",
                  (double)with / CV_MILLISECOND,
                  (double)without / CV_MILLISECOND);
    CHECK(with <= 3 * good.delay + 2 * CV_MILLISECOND);
    CHECK(without > 4 * with);
}

TEST(a_probe_is_acknowledged_by_an_idle_peer)
{
    struct pair *p = pair_join(52, &good);
    struct cv_quic_stats stats;
    cv_time at;

    run(p, 10 * CV_SECOND);
    at = p->w->now;
    cv_quic_probe(p->w->end[1].conn, at);
    run(p, 100 * CV_MILLISECOND);
    cv_quic_stats(p->w->end[1].conn, &stats);
    CHECK(stats.last_heard >= at + 2 * good.delay);
    CHECK_EQ(stats.in_flight, 0);
    CHECK_EQ(p->app[0].datagrams, 0);
    CHECK(stats.srtt > 0);
    pair_free(p);
}

TEST(junk_is_not_heard)
{
    struct pair *p = pair_join(53, &good);
    struct cv_quic_stats stats;
    uint8_t junk[100];
    cv_time at;

    run(p, 5 * CV_SECOND);
    cv_quic_stats(p->w->end[0].conn, &stats);
    at = stats.last_heard;
    for (unsigned i = 0; i < 1000; i++) {
        cv_random(&p->w->rng_of_ends, junk, sizeof(junk));
        world_deliver(p->w, 0, junk, sizeof(junk));
    }
    cv_quic_stats(p->w->end[0].conn, &stats);
    CHECK_EQ(stats.last_heard, at);
    pair_free(p);
}

TEST(a_full_carrier_is_waited_for)
{
    struct flow plan = {.to_send = 100000, .finish = true};
    struct pair *p = pair_join(54, &good);
    unsigned packets;

    p->app[1].plan.finish = true;
    cv_quic_set_writable(p->w->end[0].conn, false);
    open_flow(p, 0, &plan);
    packets = p->w->end[0].packets;
    run(p, 5 * CV_SECOND);
    CHECK_EQ(p->w->end[0].packets, packets);
    cv_quic_set_writable(p->w->end[0].conn, true);
    run(p, CV_SECOND);
    CHECK_EQ(p->app[1].flow[0].received, 100000);
    /* But not for ever. */
    cv_quic_set_writable(p->w->end[0].conn, false);
    p->w->end[1].mute = true;
    run(p, 90 * CV_SECOND);
    CHECK_EQ(p->app[0].err, CV_ERR_TIMEOUT);
    pair_free(p);
}

RUN_TESTS(T(bytes_arrive_in_order_on_a_clean_link),
          T(bytes_arrive_in_order_with_5_percent_loss),
          T(bytes_arrive_in_order_with_20_percent_loss),
          T(bytes_arrive_in_order_through_a_bottleneck),
          T(bytes_arrive_in_order_in_trains), T(a_run_is_of_one_connection),
          T(small_messages_leave_at_once_and_whole),
          T(many_small_messages_share_packets),
          T(a_full_queue_says_again_and_then_writable),
          T(a_big_message_is_taken_by_an_empty_queue_only),
          T(a_paused_reader_stops_the_writer_and_loses_nothing),
          T(who_is_not_trusted_is_held_and_then_let_go),
          T(the_end_waits_for_a_paused_reader),
          T(dropped_input_gives_its_window_back), T(half_a_stream_can_close),
          T(an_empty_stream_can_close), T(a_reset_reaches_the_other_side),
          T(streams_are_limited_and_come_back),
          T(thousands_of_streams_one_after_another),
          T(streams_nobody_wants_do_not_stall_the_connection),
          T(datagrams_arrive_and_are_bounded), T(datagrams_pass_a_busy_stream),
          T(a_close_tells_the_other_side_why),
          T(a_long_reason_is_cut_between_characters),
          T(a_lost_close_is_said_again), T(a_close_waits_for_a_full_carrier),
          T(last_words_come_before_the_close),
          T(an_idle_connection_stays_for_an_hour),
          T(a_vanished_peer_is_noticed), T(a_forgotten_connection_is_reset),
          T(a_stateless_reset_ends_the_connection),
          T(a_callback_may_close_or_free_anything),
          T(an_owner_may_free_in_its_callbacks), T(a_new_path_is_told),
          T(a_probe_recovers_at_once_on_a_new_path),
          T(a_probe_is_acknowledged_by_an_idle_peer), T(junk_is_not_heard),
          T(a_full_carrier_is_waited_for))
