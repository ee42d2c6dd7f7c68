/* Trains of packets through the gate: along channels, and out of the socket. */
#include "gate/train.h"
#include "tests/test.h"
#include "tests/unit/gate_kit.h"

#define SIZE  105 /* a packet with its header */
#define TRAIN 8

static struct kit *k;
static struct kit_link *host, *guest;
static struct kit_channel one, two;
static struct cv_addr caller, owner;
static uint8_t data[TRAIN * SIZE];

static void put_id(uint8_t *at, uint32_t id)
{
    at[0] = CV_GATE_UDP_DATA;
    for (int i = 0; i < 4; i++)
        at[1 + i] = (uint8_t)(id >> (24 - 8 * i));
}

/* All of channel `one`. */
static void lay_out(void)
{
    for (unsigned i = 0; i < TRAIN; i++) {
        memset(data + i * SIZE, (int)i, SIZE);
        put_id(data + i * SIZE, one.caller.u.opened.channel);
    }
}

/* Two channels between the same two; `one` is bound at both ends. */
static void open_two(uint32_t burst)
{
    uint8_t room[CV_GATE_ROOM];

    k = kit_new();
    k->config.limits = cv_gate_limits_default();
    if (burst > 0) {
        k->config.limits.rate = 1000;
        k->config.limits.burst = burst;
    }
    kit_init(k);
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    one = kit_open(k, guest, host, room);
    two = kit_open(k, guest, host, room);
    caller = cv_addr_ipv4(0x0b000001, 7);
    owner = cv_addr_ipv4(0x0b000001, 8);
    kit_bind(k, &one.caller, &caller, 1);
    kit_bind(k, &one.owner, &owner, 1);
    lay_out();
}

static size_t input(size_t len, const struct cv_addr **to)
{
    return cv_gate_udp_input(k->core, &caller, data, len, SIZE, k->now, to);
}

TEST(a_train_along_one_channel_is_passed_on_whole)
{
    const struct cv_addr *to;
    uint8_t header[CV_GATE_UDP_HEADER];

    open_two(0);
    put_id(header, one.owner.u.opened.channel);
    CHECK_EQ(input(sizeof data - 10, &to), sizeof data - 10);
    CHECK(to && cv_addr_equal(to, &owner));
    for (unsigned i = 0; i < TRAIN; i++) {
        CHECK_MEM(data + i * SIZE, header, sizeof header);
        CHECK_EQ(data[i * SIZE + CV_GATE_UDP_HEADER], i);
    }
    CHECK_EQ(cv_gate_core_counters(k->core)->packets_udp, TRAIN);
    CHECK_EQ(cv_gate_core_counters(k->core)->bytes_passed,
             sizeof data - 10 - TRAIN * CV_GATE_UDP_HEADER);
    kit_fini(k);
}

TEST(what_is_of_another_channel_or_too_short_ends_the_run)
{
    const struct cv_addr *to;

    open_two(0);
    put_id(data + 3 * SIZE, one.caller.u.opened.channel + 1);
    CHECK_EQ(input(sizeof data, &to), 3 * SIZE);
    CHECK(to != NULL);
    lay_out();
    data[2 * SIZE] = CV_GATE_UDP_BIND;
    CHECK_EQ(input(sizeof data, &to), 2 * SIZE);
    CHECK(to != NULL);
    lay_out();
    CHECK_EQ(input(5 * SIZE + CV_GATE_UDP_HEADER, &to), 5 * SIZE);
    CHECK(to != NULL);
    /* That last one by itself. */
    CHECK_EQ(input(CV_GATE_UDP_HEADER, &to), CV_GATE_UDP_HEADER);
    CHECK(to == NULL);
    CHECK_EQ(cv_gate_core_counters(k->core)->bad_frames, 1);
    /* Another's, and nobody's. */
    lay_out();
    put_id(data, one.owner.u.opened.channel);
    CHECK_EQ(input(sizeof data, &to), SIZE);
    CHECK(to == NULL);
    for (unsigned i = 0; i < TRAIN; i++)
        put_id(data + i * SIZE, one.owner.u.opened.channel);
    CHECK_EQ(input(sizeof data, &to), sizeof data);
    CHECK(to == NULL);
    CHECK_EQ(cv_gate_core_counters(k->core)->packets_unknown, 1 + TRAIN);
    kit_fini(k);
}

TEST(a_train_reaches_an_end_that_has_only_a_link)
{
    const struct cv_addr *to;
    struct cv_gate_frame f;

    open_two(0);
    kit_bind(k, &two.caller, &caller, 1);
    for (unsigned i = 0; i < TRAIN; i++)
        put_id(data + i * SIZE, two.caller.u.opened.channel);
    CHECK_EQ(input(sizeof data - 10, &to), sizeof data - 10);
    CHECK(to == NULL);
    for (unsigned i = 0; i < TRAIN; i++) {
        f = kit_want(host, CV_GATE_DATA);
        CHECK_EQ(f.u.data.channel, two.owner.u.opened.channel);
        CHECK_EQ(f.u.data.packet.len,
                 SIZE - CV_GATE_UDP_HEADER - (i == TRAIN - 1 ? 10 : 0));
        CHECK_EQ(f.u.data.packet.data[0], i);
    }
    kit_fini(k);
}

TEST(who_sends_too_fast_loses_packets_of_trains_too)
{
    const struct cv_addr *to;
    const uint32_t bytes = TRAIN * (SIZE - CV_GATE_UDP_HEADER);

    open_two(2 * bytes + 1);
    kit_pass(k, 10 * CV_SECOND); /* frames over the link are paid for */
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(input(sizeof data, &to), sizeof data);
        CHECK(to != NULL);
        lay_out();
    }
    /* One train more than it had left is owed now. */
    CHECK_EQ(input(sizeof data, &to), sizeof data);
    CHECK(to == NULL);
    CHECK_EQ(cv_gate_core_counters(k->core)->packets_limited, TRAIN);
    k->now += CV_SECOND;
    CHECK_EQ(input(sizeof data, &to), sizeof data);
    CHECK(to != NULL);
    kit_fini(k);
}

/* ---- out of the socket --------------------------------------------------- */

static struct cv_loop *loop;
static size_t came[200]; /* lengths */
static unsigned n_came;

static void on_packet(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *at,
                      size_t len)
{
    (void)user;
    (void)from;
    (void)local;
    REQUIRE(len == 0 || at[0] == at[len - 1]);
    REQUIRE(n_came < sizeof came / sizeof came[0]);
    came[n_came++] = len;
}

static const struct cv_udp_events events = {.packet = on_packet};

static void wait_for(unsigned n)
{
    cv_time until = cv_loop_now(loop) + 5 * CV_SECOND;

    while (n_came < n && cv_loop_now(loop) < until)
        cv_loop_once(loop, until);
    REQUIRE(n_came == n);
}

TEST(what_goes_together_leaves_together_and_nothing_is_changed)
{
    static struct cv_gate_train t;
    static uint8_t big[70 * 10];
    struct cv_addr any = cv_addr_ipv4(0x7f000001, 0), to = any, other = any;
    static const size_t lens[] = {10, 10, 10, 7, 20, 20, 5, 30};
    struct cv_udp *a, *b, *c;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    REQUIRE(cv_udp_new_at(&a, loop, NULL, &any, &events, NULL) == CV_OK);
    REQUIRE(cv_udp_new_at(&b, loop, NULL, &any, &events, NULL) == CV_OK);
    REQUIRE(cv_udp_new_at(&c, loop, NULL, &any, &events, NULL) == CV_OK);
    to.port = cv_udp_port(b);
    other.port = cv_udp_port(c);
    memset(big, 'x', sizeof big);

    for (unsigned i = 0; i < 8; i++)
        cv_gate_train_add(&t, a, &to, big, lens[i], lens[i]);
    CHECK_EQ(t.n, 1); /* the last one is longer than those before */
    cv_gate_train_leave(&t);
    wait_for(8);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(came[i], lens[i]);

    /* 35 packets of 10, the last one shorter; then of 9. */
    n_came = 0;
    cv_gate_train_add(&t, a, &to, big, 20 * 10, 10);
    cv_gate_train_add(&t, a, &to, big, 15 * 10 - 1, 10);
    CHECK_EQ(t.n, 35);
    cv_gate_train_add(&t, a, &to, big, 2 * 9, 9);
    CHECK_EQ(t.n, 2);
    cv_gate_train_leave(&t);
    wait_for(37);
    CHECK_EQ(came[33], 10);
    CHECK_EQ(came[34], 9);
    CHECK_EQ(came[36], 9);

    /* More than one train holds, and elsewhere. */
    n_came = 0;
    cv_gate_train_add(&t, a, &to, big, 40 * 10, 10);
    cv_gate_train_add(&t, a, &to, big, 40 * 10, 10);
    CHECK_EQ(t.n, 40);
    cv_gate_train_add(&t, a, &other, big, 10, 10);
    CHECK_EQ(t.n, 1);
    cv_gate_train_add(&t, a, &to, big, sizeof big, 10);
    CHECK_EQ(t.n, 0);
    wait_for(80 + 1 + 70);
    cv_udp_free(a);
    cv_udp_free(b);
    cv_udp_free(c);
    cv_loop_free(loop);
}

RUN_TESTS(T(a_train_along_one_channel_is_passed_on_whole),
          T(what_is_of_another_channel_or_too_short_ends_the_run),
          T(a_train_reaches_an_end_that_has_only_a_link),
          T(who_sends_too_fast_loses_packets_of_trains_too),
          T(what_goes_together_leaves_together_and_nothing_is_changed))
