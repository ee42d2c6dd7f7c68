/* How long a NAT keeps what is idle, asked of servers that can and cannot say
 * so; and what follows for keep-alives. */
#include "tests/test.h"
#include "transport/natlife.h"

#define SOCKETS 16

static struct cv_rng_seeded seed;
static struct cv_rng rng;

enum server { ABLE, REFUSES, IGNORES, DEAD };

struct world {
    cv_time life; /* of a mapping */
    enum server server;
    double loss;
    cv_time goes; /* when the server does; 0: never */
    cv_time used[SOCKETS];
    unsigned opened, open, asked;
    size_t longest;
    cv_time took;
};

static struct cv_addr at = {
    .family = CV_FAMILY_IPV4, .ip = {5, 0, 0, 1}, .port = 3478};

static int on_open(void *user)
{
    struct world *w = user;

    REQUIRE(w->opened + 1 < SOCKETS);
    w->open++;
    return (int)++w->opened;
}

static void on_close(void *user, uint16_t socket)
{
    struct world *w = user;

    REQUIRE(socket > 0 && socket <= w->opened && w->open > 0);
    w->open--;
}

static bool lost(const struct world *w)
{
    return (double)(cv_random_u64(&rng) >> 11) / 9007199254740992.0 < w->loss;
}

/* The NAT gives socket i the port 5000 + i, for as long as it is used. */
static void respond(struct cv_natlife *l, struct world *w,
                    const struct cv_path_addr *to, const struct cv_stun *m,
                    cv_time now)
{
    struct cv_addr mapped = cv_addr_ipv4(0x08080808, 5000);
    struct cv_path_addr from = *to;
    struct cv_stun answer;
    struct cv_writer out;
    uint8_t buf[128];

    w->asked++;
    mapped.port = (uint16_t)(mapped.port + to->socket);
    w->used[to->socket] = now;
    if (w->server == DEAD || (w->goes > 0 && now >= w->goes) || lost(w) ||
        lost(w))
        return;
    cv_writer_init(&out, buf, sizeof buf);
    cv_stun_begin(&out, CV_STUN_SUCCESS, m->txid);
    cv_stun_put_xor_addr(&out, &mapped);
    if (m->response_port != 0 && w->server == REFUSES) {
        cv_stun_begin(&out, CV_STUN_ERROR, m->txid);
        cv_stun_put_error(&out, 420, "");
    } else if (m->response_port != 0 && w->server == ABLE) {
        from.socket = (uint16_t)(m->response_port - 5000);
        REQUIRE(from.socket > 0 && from.socket <= w->opened);
        if (now - w->used[from.socket] >= w->life)
            return;
        w->used[from.socket] = now;
    }
    REQUIRE(cv_stun_parse(&answer, buf, out.len) == CV_OK);
    REQUIRE(cv_natlife_input(l, &from, &answer, now));
    /* Once is enough. */
    (void)cv_natlife_input(l, &from, &answer, now);
}

static struct cv_natlife run(struct world *w)
{
    struct cv_natlife l = {0};
    cv_time now = CV_SECOND, start = now, hoped;

    rng = cv_rng_from_seed(&seed, 5);
    cv_natlife_start(&l, &at, on_open, on_close, w, now);
    while (l.state == CV_NATLIFE_RUNS) {
        struct cv_path_addr to;
        struct cv_writer out;
        struct cv_stun m;
        uint8_t buf[128];

        REQUIRE(cv_natlife_deadline(&l) != CV_NEVER);
        now = cv_natlife_deadline(&l);
        REQUIRE(now - start < 3 * CV_MINUTE);
        hoped = cv_natlife_hoped(&l);
        REQUIRE(hoped <= w->life || hoped == CV_NATLIFE_ASSUMED ||
                hoped == CV_NATLIFE_LEAST || w->loss > 0);
        cv_writer_init(&out, buf, sizeof buf);
        if (!cv_natlife_step(&l, &rng, now, &to, &out))
            continue;
        if (out.len > w->longest)
            w->longest = out.len;
        REQUIRE(cv_addr_equal(&to.remote, &at));
        REQUIRE(cv_stun_parse(&m, buf, out.len) == CV_OK);
        REQUIRE((m.response_port != 0) == (to.socket == 0));
        respond(&l, w, &to, &m, now);
    }
    REQUIRE((cv_natlife_deadline(&l)) == (CV_NEVER));
    REQUIRE((w->open) == (0));
    w->took = now - start;
    return l;
}

TEST(the_longest_time_that_is_survived_is_found)
{
    static const struct {
        int life, kept, at_most; /* seconds */
        bool lost;
    } cases[] = {
        {3, 0, 15, true},       {6, 5, 20, true},        {15, 9, 30, true},
        {20, 19, 40, true},     {30, 29, 70, true},      {60, 58, 130, true},
        {120, 115, 125, false}, {3600, 115, 125, false},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w = {.life = cases[i].life * CV_SECOND};
        struct cv_natlife l = run(&w);

        print_message("%d s: %lld s after %lld s, %u packets\n", cases[i].life,
                      (long long)(l.kept / CV_SECOND),
                      (long long)(w.took / CV_SECOND), w.asked);
        CHECK_EQ(l.state, CV_NATLIFE_DONE);
        CHECK_EQ(l.kept, cases[i].kept * CV_SECOND);
        CHECK_EQ(l.lost, cases[i].lost);
        CHECK_EQ(cv_natlife_hoped(&l), l.kept > 0 ? l.kept : CV_NATLIFE_LEAST);
        CHECK(w.took < cases[i].at_most * CV_SECOND);
        CHECK(w.asked <= 25);
        CHECK(w.longest <= 64);
        CHECK(w.opened <= CV_NATLIFE_PROBES);
    }
}

TEST(who_cannot_say_costs_little_and_teaches_nothing)
{
    static const enum server cases[] = {REFUSES, IGNORES, DEAD};

    for (unsigned i = 0; i < 3; i++) {
        struct world w = {.life = 10 * CV_SECOND, .server = cases[i]};
        struct cv_natlife l = run(&w);

        CHECK_EQ(l.state, CV_NATLIFE_UNABLE);
        CHECK_EQ(cv_natlife_hoped(&l), CV_NATLIFE_ASSUMED);
        CHECK(w.asked <= 3);
        CHECK(w.took < 3 * CV_SECOND);
        CHECK_EQ(w.opened, 1);
    }
}

TEST(a_server_that_goes_is_no_nat_that_forgets)
{
    struct world w = {.life = CV_HOUR, .goes = 40 * CV_SECOND};
    struct cv_natlife l = run(&w);

    CHECK_EQ(l.state, CV_NATLIFE_DONE);
    CHECK(!l.lost);
    CHECK_EQ(l.kept, 29 * CV_SECOND);
    CHECK_EQ(cv_natlife_hoped(&l), CV_NATLIFE_ASSUMED);
    w = (struct world){.life = CV_HOUR, .goes = 5 * CV_SECOND};
    l = run(&w);
    CHECK_EQ(l.state, CV_NATLIFE_UNABLE);
    CHECK(w.asked <=
          CV_NATLIFE_PROBES * (3 * CV_NATLIFE_TRIES + CV_NATLIFE_TESTS));
}

TEST(some_loss_is_no_nat_that_forgets)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < 50; i++) {
        struct world w = {.life = 60 * CV_SECOND, .loss = 0.1};
        struct cv_natlife l = run(&w);

        wrong += l.lost && l.kept < 29 * CV_SECOND;
        CHECK(l.kept <= 58 * CV_SECOND);
    }
    CHECK(wrong <= 2);
}

TEST(others_messages_are_left_alone)
{
    struct world w = {.life = CV_MINUTE};
    struct cv_path_addr to, from = {.remote = at};
    struct cv_natlife l = {0};
    struct cv_stun m = {.type = CV_STUN_SUCCESS};
    struct cv_writer out;
    uint8_t buf[128];

    rng = cv_rng_from_seed(&seed, 5);
    CHECK(!cv_natlife_input(&l, &from, &m, 1));
    cv_natlife_start(&l, &at, on_open, on_close, &w, 1);
    cv_writer_init(&out, buf, sizeof buf);
    REQUIRE(cv_natlife_step(&l, &rng, 1, &to, &out));
    CHECK(!cv_natlife_input(&l, &to, &m, 1)); /* another transaction */
    REQUIRE(cv_stun_parse(&m, buf, out.len) == CV_OK);
    m.type = CV_STUN_SUCCESS;
    m.mapped = cv_addr_ipv4(0x08080808, 5001);
    from = to;
    from.remote.port++;
    CHECK(!cv_natlife_input(&l, &from, &m, 1)); /* another sender */
    from = to;
    from.socket++;
    CHECK(!cv_natlife_input(&l, &from, &m, 1)); /* another socket */
    CHECK(cv_natlife_input(&l, &to, &m, 1));
    cv_natlife_end(&l);
    CHECK_EQ(w.open, 0);
    CHECK_EQ(l.state, CV_NATLIFE_OFF);
}

TEST(keep_alives_follow_within_bounds)
{
    cv_time last = 0;

    CHECK_EQ(cv_keep_used(0), 15 * CV_SECOND);
    CHECK_EQ(cv_keep_standby(0), 25 * CV_SECOND);
    CHECK_EQ(cv_keep_within(15 * CV_SECOND, 0), 15 * CV_SECOND);
    CHECK_EQ(cv_keep_within(15 * CV_SECOND, CV_HOUR), 15 * CV_SECOND);
    CHECK_EQ(cv_keep_within(15 * CV_SECOND, 9 * CV_SECOND), 9 * CV_SECOND / 2);
    CHECK_EQ(cv_keep_used(CV_HOUR), CV_KEEP_USED);
    CHECK_EQ(cv_keep_standby(CV_HOUR), CV_KEEP_STANDBY);
    for (cv_time life = CV_SECOND; life < 2 * CV_MINUTE; life += CV_SECOND) {
        CHECK(cv_keep_used(life) >= CV_KEEP_LEAST);
        CHECK(cv_keep_used(life) >= last);
        last = cv_keep_used(life);
        CHECK(cv_keep_standby(life) >= last);
        if (life >= CV_NATLIFE_LEAST)
            CHECK(cv_keep_standby(life) < life);
    }
}

RUN_TESTS(T(the_longest_time_that_is_survived_is_found),
          T(who_cannot_say_costs_little_and_teaches_nothing),
          T(a_server_that_goes_is_no_nat_that_forgets),
          T(some_loss_is_no_nat_that_forgets),
          T(others_messages_are_left_alone),
          T(keep_alives_follow_within_bounds))
