#include "transport/early.h"

#include "tests/test.h"

#define MS CV_MILLISECOND

static struct cv_early e;
static struct cv_early_check out;
static struct cv_rng_seeded seed;
static struct cv_rng rng;
static const uint8_t shared[32] = {42};

static int setup(void **state)
{
    (void)state;
    memset(&e, 0, sizeof e);
    rng = cv_rng_from_seed(&seed, 1);
    return 0;
}

static void name(uint8_t attempt[8], uint8_t number)
{
    memset(attempt, number, 8);
}

static struct cv_path_addr at(uint32_t ip, uint16_t port)
{
    return (struct cv_path_addr){.remote = cv_addr_ipv4(ip, port)};
}

/* A genuine check of the joiner of attempt `number`. */
static bool hold(uint8_t number, const struct cv_path_addr *from, cv_time now)
{
    struct cv_path_addr to = at(0x05020202, 5000);
    uint8_t buf[CV_CHECK_MAX], attempt[8];
    struct cv_checks c;
    struct cv_writer w;
    struct cv_stun m;

    name(attempt, number);
    cv_checks_init(&c, &rng, attempt, shared, true);
    cv_writer_init(&w, buf, sizeof buf);
    REQUIRE(cv_checks_request(&c, now, &to, 1, &w) == CV_OK);
    REQUIRE(cv_stun_parse(&m, buf, w.len) == CV_OK);
    return cv_early_hold(&e, from, &m, now);
}

static bool take(uint8_t number, cv_time now)
{
    uint8_t attempt[8];

    name(attempt, number);
    return cv_early_take(&e, attempt, now, &out);
}

TEST(a_check_is_genuine_when_the_knock_is_there)
{
    struct cv_path_addr from = at(0x05010101, 4000);
    uint8_t attempt[8];
    struct cv_checks sharer;
    struct cv_check check;
    struct cv_stun m;

    CHECK(hold(7, &from, 25 * MS));
    CHECK(!take(8, 50 * MS));
    REQUIRE(take(7, 50 * MS));
    CHECK_EQ(out.at, 25 * MS);
    CHECK(cv_path_addr_same(&out.from, &from));
    name(attempt, 7);
    cv_checks_init(&sharer, &rng, attempt, shared, false);
    CHECK_EQ(cv_stun_parse(&m, out.data, out.len), CV_OK);
    CHECK_EQ(cv_checks_receive(&sharer, 50 * MS, &from, &m, &check), CV_OK);
    CHECK(!take(7, 50 * MS)); /* once */
}

TEST(it_waits_for_a_fifth_of_a_second)
{
    struct cv_path_addr from = at(0x05010101, 4000);

    CHECK(hold(7, &from, 0));
    CHECK(!take(7, CV_EARLY_TIME));
    CHECK(take(7, CV_EARLY_TIME - 1));
}

TEST(of_one_address_the_newest_counts_and_the_oldest_comes_first)
{
    struct cv_path_addr a = at(0x05010101, 4000), b = at(0x05010101, 4001);

    CHECK(hold(7, &a, 0));
    CHECK(hold(7, &b, 10 * MS));
    CHECK(hold(7, &a, 20 * MS));
    REQUIRE(take(7, 50 * MS));
    CHECK_EQ(out.from.remote.port, 4001);
    REQUIRE(take(7, 50 * MS));
    CHECK_EQ(out.at, 20 * MS);
    CHECK(!take(7, 50 * MS));
}

TEST(one_source_takes_only_its_own_places)
{
    struct cv_path_addr honest = at(0x05010101, 4000);

    CHECK(hold(7, &honest, 0));
    for (unsigned i = 0; i < 1000; i++) {
        struct cv_path_addr junk = at(0x05060708, (uint16_t)(1024 + i));

        CHECK(hold(8, &junk, MS));
    }
    CHECK(take(7, 2 * MS));
    for (unsigned i = 0; i < CV_EARLY_A_SOURCE; i++)
        CHECK(take(8, 2 * MS));
    CHECK(!take(8, 2 * MS));
}

TEST(many_sources_push_out_the_oldest)
{
    for (unsigned i = 0; i <= CV_EARLY_CHECKS; i++) {
        struct cv_path_addr from = at(0x05010100 + i, 4000);

        CHECK(hold((uint8_t)i, &from, (cv_time)i * MS));
    }
    CHECK(!take(0, 50 * MS));
    for (unsigned i = 1; i <= CV_EARLY_CHECKS; i++)
        CHECK(take((uint8_t)i, 50 * MS));
}

TEST(what_is_no_check_is_not_kept)
{
    struct cv_path_addr from = at(0x05010101, 4000);
    uint8_t buf[200] = {0}, txid[CV_STUN_TXID] = {1};
    struct cv_writer w;
    struct cv_stun m;

    cv_writer_init(&w, buf, sizeof buf);
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    CHECK_EQ(cv_stun_parse(&m, buf, w.len), CV_OK);
    CHECK(!cv_early_hold(&e, &from, &m, 0)); /* no name */
    cv_stun_put(&w, CV_STUN_USERNAME, "12345678", 8);
    cv_stun_put(&w, CV_STUN_FILL, txid, 4);
    CHECK_EQ(cv_stun_parse(&m, buf, w.len), CV_OK);
    CHECK(cv_early_hold(&e, &from, &m, 0));
    while (w.len <= CV_CHECK_MAX)
        cv_stun_put(&w, CV_STUN_FILL, txid, 12);
    CHECK_EQ(cv_stun_parse(&m, buf, w.len), CV_OK);
    CHECK(!cv_early_hold(&e, &from, &m, 0)); /* too long */
}

#define S(name) cmocka_unit_test_setup(name, setup)
RUN_TESTS(S(a_check_is_genuine_when_the_knock_is_there),
          S(it_waits_for_a_fifth_of_a_second),
          S(of_one_address_the_newest_counts_and_the_oldest_comes_first),
          S(one_source_takes_only_its_own_places),
          S(many_sources_push_out_the_oldest), S(what_is_no_check_is_not_kept))
