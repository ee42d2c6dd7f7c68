/* Streams and datagrams: bytes, back pressure, ends. */
#include "tests/unit/quic_app.h"

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
          T(datagrams_arrive_and_are_bounded), T(datagrams_pass_a_busy_stream))
