/* How connections end, what a callback may do, and paths below them. */
#include "tests/unit/quic_app.h"

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

RUN_TESTS(T(a_close_tells_the_other_side_why),
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
