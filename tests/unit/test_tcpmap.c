#include "transport/tcpmap.h"

#include "tests/test.h"

static struct cv_tcpmap map;
static struct cv_rng_seeded seed;
static struct cv_rng rng;
static unsigned connects, closes, sends, changes;
static uint32_t channels;
static struct cv_addr last;
static uint8_t request[64];
static size_t request_len;
static int refuse;

static int on_connect(void *user, const struct cv_addr *to, uint32_t *channel)
{
    (void)user;
    if (refuse != CV_OK)
        return refuse;
    connects++;
    last = *to;
    *channel = ++channels;
    return CV_OK;
}

static void on_close(void *user, uint32_t channel)
{
    (void)user;
    (void)channel;
    closes++;
}

static void on_send(void *user, uint32_t channel, const uint8_t *data,
                    size_t len)
{
    (void)user;
    (void)channel;
    sends++;
    REQUIRE(len <= sizeof request);
    memcpy(request, data, len);
    request_len = len;
}

static void on_changed(void *user)
{
    (void)user;
    changes++;
}

static const struct cv_tcpmap_ops ops = {
    .connect = on_connect,
    .close = on_close,
    .send = on_send,
    .changed = on_changed,
};

static void reset(void)
{
    connects = closes = sends = changes = 0;
    channels = 0;
    refuse = CV_OK;
    rng = cv_rng_from_seed(&seed, 1);
    cv_tcpmap_init(&map, &rng, NULL, &ops, NULL);
}

static struct cv_addr server(unsigned i)
{
    return cv_addr_ipv4(0x08080800 + i, 3478);
}

static void add(unsigned i, cv_time now)
{
    struct cv_addr a = server(i);

    cv_tcpmap_server(&map, i, &a, 1, now);
}

/* The newest connection is there, and is told `port` of 9.9.9.9. */
static void answer(uint32_t channel, uint16_t port, cv_time now)
{
    struct cv_stun q, a = {.type = CV_STUN_SUCCESS};

    REQUIRE(cv_stun_parse(&q, request, request_len) == CV_OK);
    memcpy(a.txid, q.txid, sizeof a.txid);
    a.mapped = cv_addr_ipv4(0x09090909, port);
    cv_tcpmap_input(&map, channel, &a, now);
}

static void serve(uint32_t channel, uint16_t port, cv_time now)
{
    cv_tcpmap_up(&map, channel, now);
    answer(channel, port, now);
}

TEST(two_servers_tell_how_the_port_is_mapped)
{
    static const struct {
        uint16_t a, b, mapping;
    } table[] = {{5000, 5000, CV_NAT_MAPPING_EIM},
                 {5000, 5001, CV_NAT_MAPPING_SEQ},
                 {5000, 9000, CV_NAT_MAPPING_RANDOM}};

    for (unsigned i = 0; i < 3; i++) {
        struct cv_tcpmap_verdict v;

        reset();
        add(0, 0);
        cv_tcpmap_step(&map, 0);
        CHECK_EQ(connects, 1);
        CHECK_EQ(last.port, 3478);
        serve(1, table[i].a, 1);
        v = cv_tcpmap_verdict(&map, CV_FAMILY_IPV4);
        CHECK_EQ(v.votes, 1);
        CHECK_EQ(v.mapping, CV_NAT_MAPPING_UNKNOWN);
        add(1, 2);
        cv_tcpmap_step(&map, 2);
        serve(2, table[i].b, 3);
        v = cv_tcpmap_verdict(&map, CV_FAMILY_IPV4);
        CHECK_EQ(v.votes, 2);
        CHECK_EQ(v.mapping, table[i].mapping);
        CHECK_EQ(v.mapped.port, table[i].a);
        CHECK_EQ(cv_tcpmap_verdict(&map, CV_FAMILY_IPV6).votes, 0);
        CHECK_EQ(changes, 2);
    }
}

TEST(a_connection_is_kept_and_asked_again)
{
    reset();
    add(0, 0);
    cv_tcpmap_step(&map, 0);
    serve(1, 5000, 1);
    CHECK_EQ(sends, 1);
    for (unsigned i = 1; i <= 10; i++) {
        cv_time now = cv_tcpmap_deadline(&map);

        CHECK_EQ(now, 1 + (cv_time)i * CV_TCPMAP_REFRESH);
        cv_tcpmap_step(&map, now);
        CHECK_EQ(sends, i + 1);
        answer(1, 5000, now);
    }
    CHECK_EQ(connects, 1);
    CHECK_EQ(changes, 1);
}

TEST(a_server_that_hangs_up_is_left_for_a_while_and_its_word_stands)
{
    cv_time now = 1;

    reset();
    add(0, 0);
    cv_tcpmap_step(&map, 0);
    for (unsigned i = 1; i <= 5; i++) {
        serve(i, 5000, now);
        cv_tcpmap_down(&map, i, now + 1);
        CHECK_EQ(cv_tcpmap_deadline(&map), now + CV_TCPMAP_PAUSE);
        now += CV_TCPMAP_PAUSE;
        cv_tcpmap_step(&map, now);
        CHECK_EQ(connects, i + 1);
    }
    CHECK_EQ(cv_tcpmap_verdict(&map, CV_FAMILY_IPV4).votes, 1);
    CHECK_EQ(changes, 1);
}

TEST(who_does_not_answer_is_asked_ever_more_rarely)
{
    cv_time now = 0, before = 0;

    reset();
    add(0, 0);
    cv_tcpmap_step(&map, 0);
    for (unsigned i = 0; i < 12; i++) {
        cv_time next;

        if (i % 3 == 0) { /* silence */
            now = cv_tcpmap_deadline(&map);
            CHECK_EQ(now, before + CV_TCPMAP_TIMEOUT);
            cv_tcpmap_step(&map, now);
        } else if (i % 3 == 1) { /* refused */
            cv_tcpmap_down(&map, channels, now);
        } else { /* connected, then silent */
            cv_tcpmap_up(&map, channels, now);
            now = cv_tcpmap_deadline(&map);
            cv_tcpmap_step(&map, now);
        }
        next = cv_tcpmap_deadline(&map);
        CHECK_EQ(next - now, CV_TCPMAP_AGAIN << (i < 5 ? i : 5));
        now = before = next;
        cv_tcpmap_step(&map, now);
    }
    CHECK_EQ(changes, 0);
    CHECK_EQ(connects, 13);
}

TEST(three_are_asked_and_the_others_when_one_fails)
{
    reset();
    for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++)
        add(i, 0);
    cv_tcpmap_step(&map, 0);
    CHECK_EQ(connects, CV_TCPMAP_AT_ONCE);
    cv_tcpmap_down(&map, 2, 10);
    cv_tcpmap_step(&map, 10);
    CHECK_EQ(connects, CV_TCPMAP_AT_ONCE + 1);
    refuse = CV_ERR_NONET; /* none of the rest can be reached at all */
    cv_tcpmap_down(&map, 1, 11);
    cv_tcpmap_step(&map, 11);
    CHECK_EQ(connects, CV_TCPMAP_AT_ONCE + 1);
    CHECK(cv_tcpmap_deadline(&map) > 11);
}

TEST(only_the_answer_to_the_question_counts)
{
    struct cv_stun a = {.type = CV_STUN_SUCCESS};

    reset();
    add(0, 0);
    cv_tcpmap_step(&map, 0);
    cv_tcpmap_up(&map, 1, 1);
    a.mapped = cv_addr_ipv4(0x01010101, 1);
    cv_tcpmap_input(&map, 1, &a, 2); /* another transaction */
    cv_tcpmap_input(&map, 7, &a, 2); /* no connection of ours */
    CHECK_EQ(changes, 0);
    answer(1, 0, 3); /* no port */
    CHECK_EQ(changes, 0);
    answer(1, 5000, 3);
    CHECK_EQ(changes, 1);
    answer(1, 6000, 4); /* once more */
    CHECK_EQ(changes, 1);
    cv_tcpmap_network_changed(&map, 5);
    CHECK_EQ(closes, 1);
    CHECK_EQ(changes, 2);
    CHECK_EQ(cv_tcpmap_verdict(&map, CV_FAMILY_IPV4).votes, 0);
    cv_tcpmap_step(&map, 5);
    CHECK_EQ(connects, 2);
}

RUN_TESTS(T(two_servers_tell_how_the_port_is_mapped),
          T(a_connection_is_kept_and_asked_again),
          T(a_server_that_hangs_up_is_left_for_a_while_and_its_word_stands),
          T(who_does_not_answer_is_asked_ever_more_rarely),
          T(three_are_asked_and_the_others_when_one_fails),
          T(only_the_answer_to_the_question_counts))
