/* OpenDHT's messages, and values that are laid among nodes some of which never
 * answer, on a virtual clock. */
#include "discovery/dhtwire.h"
#include "discovery/quickput.h"
#include "tests/test.h"

/* --- messages ------------------------------------------------------------ */

/* As a dhtnode of Debian 12 (2.4.12) sent it. */
static const char recorded[] =
    "84a17284a26964c4149781fa5190be9784a8765c020ab4c0e2d7055c69a27361c4"
    "0414000a01a26e34c43412a30192c7f61c4fc4726559fd18e2ef021f374114000c"
    "01af81599ff1b1abc099c6e31dc8d268b1b999ccd4c98814000701107ea5746f6b"
    "656ec420e3e6fe7b584effaec938b204790b1731d4db2df64c079edb8ff8194d93"
    "751538a174ce9f8a82aca179a172a176a4524e4731";

static size_t bytes(uint8_t *out, const char *hex)
{
    const size_t len = strlen(hex) / 2;

    REQUIRE(cv_unhex(out, len, hex) == CV_OK);
    return len;
}

TEST(a_recorded_reply_is_read)
{
    struct cv_dhtwire_reply r;
    uint8_t data[256];
    const size_t len = bytes(data, recorded);
    const struct cv_addr first = cv_addr_ipv4(0x14000c01, 0xaf81);

    REQUIRE(cv_dhtwire_reply(&r, data, len) == CV_OK);
    CHECK_EQ(r.tid, 0x9f8a82ac);
    CHECK_EQ(r.id.b[0], 0x97);
    CHECK_EQ(r.token_len, 32);
    CHECK_EQ(r.n, 2);
    CHECK(cv_addr_equal(&r.node[0].addr, &first));
    CHECK_EQ(r.node[1].addr.port, 4222);
    CHECK_EQ(r.n_values, 0);
    CHECK(!r.part);
    for (size_t cut = 0; cut < len; cut++)
        CHECK(cv_dhtwire_reply(&r, data, cut) != CV_OK || cut > len - 7);
}

TEST(values_are_read_whole_and_in_parts)
{
    /* {r: {id, values: [{id, dat: {body: {type, data}}}, 300]}, t} */
    static const char whole[] =
        "82a17282a26964c414000102030405060708090a0b0c0d0e0f10111213a676616c"
        "75657392"
        "82a26964cf0000000000000001a364617481a4626f647982a47479706500a46461"
        "7461c403616263"
        "cd012ca17405";
    /* {p: {0: {o: 0, d: the same value}, 1: {o: 9, d: ""}}, t, y: "v"} */
    static const char parts[] =
        "83a17082"
        "0082a16f00a164c428"
        "82a26964cf0000000000000001a364617481a4626f647982a47479706500a46461"
        "7461c403616263"
        "0182a16f09a164c400"
        "a17405a179a176";
    struct cv_dhtwire_reply r;
    uint8_t data[256];
    size_t len = bytes(data, whole);

    REQUIRE(cv_dhtwire_reply(&r, data, len) == CV_OK);
    CHECK_EQ(r.tid, 5);
    REQUIRE(r.n_values == 1);
    CHECK(r.value[0].len == 3 && memcmp(r.value[0].data, "abc", 3) == 0);
    for (size_t cut = 0; cut < len; cut++)
        CHECK(cv_dhtwire_reply(&r, data, cut) != CV_OK);
    len = bytes(data, parts);
    REQUIRE(cv_dhtwire_reply(&r, data, len) == CV_OK);
    CHECK(r.part);
    REQUIRE(r.n_values == 1);
    CHECK(r.value[0].len == 3 && memcmp(r.value[0].data, "abc", 3) == 0);
}

TEST(requests_are_what_a_node_sends)
{
    struct cv_loc id, target;
    uint8_t buf[128], want[128];
    struct cv_writer w;
    size_t len;

    memset(id.b, 0x11, sizeof(id.b));
    memset(target.b, 0x22, sizeof(target.b));
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_dhtwire_find(&w, 0x9f8a82ac, &id, &target) == CV_OK);
    len =
        bytes(want, "86a16182a26964c4141111111111111111111111111111111111111111"
                    "a6746172676574c4142222222222222222222222222222222222222222"
                    "a171a466696e64a173c3a174ce9f8a82aca179a171a176a4524e4731");
    CHECK_EQ(w.len, len);
    CHECK_EQ(memcmp(buf, want, len), 0);
}

TEST(a_wish_to_listen_names_where_to_tell)
{
    struct cv_loc id, loc;
    uint8_t buf[128], want[128];
    struct cv_writer w;
    size_t len;

    memset(id.b, 0x11, sizeof(id.b));
    memset(loc.b, 0x22, sizeof(loc.b));
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_dhtwire_listen(&w, 0x9f8a82ac, &id, &loc, 0x80000005,
                              CV_LITERAL("abcd")) == CV_OK);
    len =
        bytes(want, "86a16184a26964c4141111111111111111111111111111111111111111"
                    "a168c4142222222222222222222222222222222222222222"
                    "a3736964ce80000005a5746f6b656ec40461626364"
                    "a171a66c697374656ea173c3a174ce9f8a82aca179a171a176a4524e47"
                    "31");
    CHECK_EQ(w.len, len);
    CHECK_EQ(memcmp(buf, want, len), 0);
}

/* --- a network ----------------------------------------------------------- */

#define NODES 40
#define RTT   (50 * CV_MILLISECOND)

static struct cv_rng_seeded seed;
static struct cv_rng rng;
static struct cv_quickput q;
static cv_time now;
static struct {
    struct cv_loc id;
    bool silent, forgetful;
    unsigned asked, given, heard;
    cv_time given_at, heard_at;
    uint8_t sid[4];
} node[NODES];
static struct flying {
    cv_time at;
    unsigned from;
    uint8_t data[600];
    size_t len;
} flying[1024];
static unsigned n_flying, values;
static bool with_value;

static struct cv_addr address(unsigned i)
{
    return cv_addr_ipv4(0x05000001 + i, 4222);
}

static bool contains(const uint8_t *data, size_t len, const char *text)
{
    return memmem(data, len, text, strlen(text)) != NULL;
}

static bool is_nearer(const struct cv_loc *loc, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < CV_LOC_LEN; i++)
        if (node[a].id.b[i] != node[b].id.b[i])
            return (node[a].id.b[i] ^ loc->b[i]) <
                   (node[b].id.b[i] ^ loc->b[i]);
    return false;
}

static unsigned rank_of(const struct cv_loc *loc, unsigned a)
{
    unsigned n = 0;

    for (unsigned i = 0; i < NODES; i++)
        n += i != a && is_nearer(loc, i, a);
    return n;
}

/* The eight nearest nodes and a token, as a node would say it. */
static void reply(unsigned i, const struct cv_loc *target, const uint8_t *tid)
{
    struct flying *f = &flying[n_flying++];
    struct cv_writer w;

    REQUIRE(n_flying <= 1024);
    f->at = now + RTT;
    f->from = i;
    cv_writer_init(&w, f->data, sizeof(f->data));
    cv_put_raw(&w, "\x82\xa1r", 3);
    cv_put_u8(&w, with_value ? 0x84 : 0x83);
    cv_put_raw(&w, "\xa2id\xc4\x14", 5);
    cv_put_raw(&w, node[i].id.b, CV_LOC_LEN);
    cv_put_raw(&w, "\xa5token\xc4\x04\0\0\0", 11);
    cv_put_u8(&w, (uint8_t)(i + (node[i].forgetful ? node[i].asked : 0)));
    if (with_value)
        cv_put_raw(&w,
                   "\xa6values\x91\x81\xa3"
                   "dat\x81\xa4"
                   "body\x81\xa4"
                   "data\xc4\x01x",
                   28);
    cv_put_raw(&w, "\xa2n4\xc4\xd0", 5);
    for (unsigned k = 0; k < NODES; k++)
        if (rank_of(target, k) < 8) {
            const struct cv_addr a = address(k);

            cv_put_raw(&w, node[k].id.b, CV_LOC_LEN);
            cv_put_raw(&w, a.ip, 4);
            cv_put_u16(&w, a.port);
        }
    cv_put_raw(&w, "\xa1t\xce", 3);
    cv_put_raw(&w, tid, 4);
    f->len = w.len;
    REQUIRE(w.err == CV_OK);
}

static void on_send(void *user, const struct cv_addr *to, const uint8_t *data,
                    size_t len)
{
    const unsigned i = to->ip[3] - 1u;
    struct cv_loc target;

    (void)user;
    REQUIRE(i < NODES && len <= CV_QUICKPUT_PACKET);
    REQUIRE(contains(data, len, "\xa1s\xc3")); /* a client */
    if (contains(data, len, "\xa1q\xa6listen")) {
        const uint8_t *t = memmem(data, len, "token", 5);

        if (node[i].silent || t[10] != (uint8_t)i)
            return;
        if (node[i].heard++ == 0)
            node[i].heard_at = now;
        memcpy(node[i].sid, (const uint8_t *)memmem(data, len, "sid", 3) + 4,
               4);
        return;
    }
    if (contains(data, len, "\xa1q\xa3put")) {
        REQUIRE(contains(data, len, "hello"));
        /* Refused unless the token is right. */
        if (!node[i].silent && !node[i].forgetful && node[i].given++ == 0)
            node[i].given_at = now;
        if (node[i].forgetful && contains(data, len, "token")) {
            const uint8_t *t = memmem(data, len, "token", 5);

            if (t[10] == (uint8_t)(i + node[i].asked) && node[i].given++ == 0)
                node[i].given_at = now;
        }
        return;
    }
    node[i].asked++;
    if (node[i].silent)
        return;
    /* … "target" or "h", its 20 bytes, "q" … */
    memcpy(target.b,
           (const uint8_t *)memmem(data, len, "\xa1q\xa4", 3) != NULL
               ? (const uint8_t *)memmem(data, len, "target", 6) + 8
               : (const uint8_t *)memmem(data, len, "\xa1h\xc4", 3) + 4,
           CV_LOC_LEN);
    reply(i, &target, (const uint8_t *)memmem(data, len, "\xa1t\xce", 3) + 3);
}

static void on_value(void *user, uint64_t get, struct cv_bytes value)
{
    (void)user;
    REQUIRE(get == 77 && value.len == 1 && value.data[0] == 'x');
    values++;
}

static void run(cv_time until)
{
    for (;;) {
        cv_time next = cv_quickput_deadline(&q);
        unsigned which = n_flying;

        for (unsigned i = 0; i < n_flying; i++)
            if (flying[i].at < next) {
                next = flying[i].at;
                which = i;
            }
        if (next > until)
            break;
        now = next > now ? next : now;
        if (which < n_flying) {
            const struct flying f = flying[which];
            const struct cv_addr from = address(f.from);

            flying[which] = flying[--n_flying];
            cv_quickput_input(&q, &from, f.data, f.len, now);
        } else {
            cv_quickput_step(&q, now);
            REQUIRE(cv_quickput_deadline(&q) > now);
        }
    }
    now = until;
}

static void start(uint64_t s, unsigned n_silent)
{
    const struct cv_addr boot = address(0);

    rng = cv_rng_from_seed(&seed, s);
    memset(node, 0, sizeof(node));
    for (unsigned i = 0; i < NODES; i++) {
        cv_random(&rng, node[i].id.b, CV_LOC_LEN);
        node[i].silent = i > 0 && i <= n_silent;
    }
    n_flying = values = 0;
    with_value = false;
    now = CV_SECOND;
    cv_quickput_init(&q, &rng, on_send, on_value, NULL);
    cv_quickput_boot(&q, &boot, now);
}

static void put(struct cv_loc *loc)
{
    cv_random(&rng, loc->b, CV_LOC_LEN);
    REQUIRE(cv_quickput_put(&q, loc, CV_LITERAL("hello"), now) == CV_OK);
}

/* When those of the eight nearest that live had it, since `from`. */
static cv_time served(const struct cv_loc *loc, cv_time from)
{
    cv_time last = 0;

    for (unsigned i = 0; i < NODES; i++) {
        if (node[i].silent || rank_of(loc, i) >= 8)
            continue;
        if (node[i].given == 0)
            return CV_NEVER;
        if (node[i].given_at - from > last)
            last = node[i].given_at - from;
    }
    return last;
}

TEST(silent_nodes_hold_up_nothing)
{
    for (uint64_t s = 1; s <= 20; s++)
        for (unsigned silent = 0; silent <= 20; silent += 10) {
            struct cv_loc loc;
            cv_time from;
            unsigned given = 0;

            start(s, silent);
            run(now + 3 * CV_SECOND); /* it has looked around */
            from = now;
            put(&loc);
            run(now + 3 * CV_SECOND);
            CHECK(served(&loc, from) <= 3 * RTT);
            for (unsigned i = 0; i < NODES; i++) {
                given += node[i].given;
                CHECK(node[i].given <= 2);
            }
            CHECK(given <= CV_QUICKPUT_PUTS);
            CHECK_EQ(cv_quickput_deadline(&q), CV_NEVER);
        }
}

TEST(known_tokens_save_a_round_trip_and_old_ones_cost_one)
{
    struct cv_loc loc;
    cv_time from;
    unsigned at_once = 0;

    start(4, 0);
    run(now + 3 * CV_SECOND);
    from = now;
    put(&loc);
    for (unsigned i = 0; i < NODES; i++)
        at_once += node[i].given > 0;
    CHECK(at_once >= 8);
    run(now + 3 * CV_SECOND);

    start(4, 0);
    for (unsigned i = 0; i < NODES; i++)
        node[i].forgetful = true;
    run(now + 3 * CV_SECOND);
    from = now;
    put(&loc);
    run(now + 3 * CV_SECOND);
    CHECK(served(&loc, from) <= 4 * RTT);
}

TEST(a_get_hands_on_what_every_node_says)
{
    struct cv_loc loc;

    start(5, 5);
    run(now + 3 * CV_SECOND);
    with_value = true;
    cv_random(&rng, loc.b, CV_LOC_LEN);
    cv_quickput_get(&q, &loc, 77, now);
    run(now + 3 * RTT);
    CHECK(values >= 4);
    run(now + 3 * CV_SECOND);
    CHECK(values <= CV_QUICKPUT_ASKED);
}

/* Half of the nodes are dead; the others tell at once. */
TEST(who_listens_is_told_by_every_near_node_and_until_it_ends)
{
    struct cv_loc loc;
    cv_time from;
    unsigned packets = 0;

    start(9, 20);
    run(now + 3 * CV_SECOND);
    cv_random(&rng, loc.b, CV_LOC_LEN);
    from = now;
    cv_quickput_listen(&q, &loc, 77, now);
    run(now + CV_SECOND);
    for (unsigned i = 0; i < NODES; i++) {
        if (node[i].silent || rank_of(&loc, i) >= 8)
            continue;
        CHECK(node[i].heard >= 1 && node[i].heard <= 2);
        CHECK(node[i].heard_at - from <= 3 * RTT);
        with_value = true;
        reply(i, &loc, node[i].sid);
        with_value = false;
        run(now + RTT);
        CHECK_EQ(values, ++packets);
        /* Whoever is not listened at says nothing. */
        for (unsigned k = 0; k < NODES; k++)
            if (node[k].heard == 0) {
                with_value = true;
                reply(k, &loc, node[i].sid);
                with_value = false;
                break;
            }
        run(now + RTT);
        CHECK_EQ(values, packets);
    }
    CHECK(packets >= 2);
    /* It is said again before it is forgotten, and costs little. */
    for (unsigned i = 0; i < NODES; i++)
        node[i].heard = node[i].asked = 0;
    run(now + 100 * CV_SECOND);
    packets = 0;
    for (unsigned i = 0; i < NODES; i++) {
        packets += node[i].heard + node[i].asked;
        if (!node[i].silent && rank_of(&loc, i) < 8)
            CHECK_EQ(node[i].heard, 4);
    }
    CHECK(packets <= 4 * 2 * (CV_QUICKPUT_NEAR + 4));
    cv_quickput_end(&q, 77);
    CHECK_EQ(cv_quickput_deadline(&q), CV_NEVER);
}

TEST(who_has_another_address_says_so_at_once_wherever_it_listens)
{
    struct cv_loc loc;
    unsigned told = 0;

    start(9, 0);
    run(now + 3 * CV_SECOND);
    cv_random(&rng, loc.b, CV_LOC_LEN);
    cv_quickput_listen(&q, &loc, 77, now);
    run(now + 5 * CV_SECOND);
    for (unsigned i = 0; i < NODES; i++)
        node[i].heard = 0;
    cv_quickput_moved(&q, now);
    run(now + 2 * RTT);
    for (unsigned i = 0; i < NODES; i++)
        told += node[i].heard > 0;
    CHECK(told >= CV_QUICKPUT_NEAR);
}

/* Near each of many places is somebody who is gone: their rounds wait for it,
 * those of other places do not. */
TEST(many_places_are_listened_at_beside_each_other)
{
    struct cv_loc loc[16];

    start(9, 2);
    run(now + 3 * CV_SECOND);
    for (unsigned i = 0; i < 16; i++) {
        cv_random(&rng, loc[i].b, CV_LOC_LEN);
        cv_quickput_listen(&q, &loc[i], 100 + i, now);
    }
    run(now + 5 * CV_SECOND);
    for (unsigned i = 0; i < NODES; i++) {
        node[i].silent = i % 4 == 0;
        node[i].heard = 0;
    }
    cv_quickput_moved(&q, now);
    run(now + CV_QUICKPUT_AGAIN);
    for (unsigned i = 0; i < NODES; i++) {
        unsigned places = 0;

        for (unsigned k = 0; k < 16; k++)
            places += rank_of(&loc[k], i) < 4;
        CHECK(node[i].silent || node[i].heard >= places);
    }
}

TEST(what_is_listened_at_before_anybody_is_known_begins_with_the_first_node)
{
    const struct cv_addr boot = address(0);
    struct cv_loc loc;
    unsigned heard = 0;

    start(5, 0);
    cv_quickput_init(&q, &rng, on_send, on_value, NULL);
    n_flying = 0;
    cv_random(&rng, loc.b, CV_LOC_LEN);
    cv_quickput_listen(&q, &loc, 77, now);
    run(now + CV_SECOND / 2);
    cv_quickput_boot(&q, &boot, now);
    run(now + CV_SECOND);
    for (unsigned i = 0; i < NODES; i++)
        heard += node[i].heard > 0;
    CHECK(heard >= CV_QUICKPUT_NEAR);
}

TEST(answers_of_others_and_long_values_are_refused)
{
    struct cv_loc loc;
    static const uint8_t large[CV_QUICKPUT_VALUE + 1];
    const struct cv_addr stranger = cv_addr_ipv4(0x06060606, 4222);

    start(6, 0);
    CHECK_EQ(n_flying, 2); /* two looks around, at the one node */
    cv_quickput_input(&q, &stranger, flying[0].data, flying[0].len, now);
    CHECK_EQ(n_flying, 2);
    cv_random(&rng, loc.b, CV_LOC_LEN);
    CHECK_EQ(cv_quickput_put(&q, &loc, CV_BYTES(large, sizeof(large)), now),
             CV_ERR_NOBUF);
    for (unsigned i = 2; i < CV_QUICKPUT_JOBS; i++)
        CHECK_EQ(cv_quickput_put(&q, &loc, CV_LITERAL("hello"), now), CV_OK);
    CHECK_EQ(cv_quickput_put(&q, &loc, CV_LITERAL("hello"), now), CV_ERR_LIMIT);
    run(now + 5 * CV_SECOND);
    CHECK_EQ(cv_quickput_put(&q, &loc, CV_LITERAL("hello"), now), CV_OK);
}

RUN_TESTS(
    T(a_wish_to_listen_names_where_to_tell),
    T(who_listens_is_told_by_every_near_node_and_until_it_ends),
    T(who_has_another_address_says_so_at_once_wherever_it_listens),
    T(many_places_are_listened_at_beside_each_other),
    T(what_is_listened_at_before_anybody_is_known_begins_with_the_first_node),
    T(a_recorded_reply_is_read), T(values_are_read_whole_and_in_parts),
    T(requests_are_what_a_node_sends), T(silent_nodes_hold_up_nothing),
    T(known_tokens_save_a_round_trip_and_old_ones_cost_one),
    T(a_get_hands_on_what_every_node_says),
    T(answers_of_others_and_long_values_are_refused))
