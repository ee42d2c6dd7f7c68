/* What is tried for which two NATs: the choice, the guesses, the schedules. */
#include "tests/test.h"
#include "transport/birthday.h"
#include "transport/hold.h"
#include "transport/predict.h"

static struct cv_candidates record(uint16_t nat, unsigned n, ...)
{
    struct cv_candidates c = {.n = n, .nat = nat};
    va_list ap;

    va_start(ap, n);
    for (unsigned i = 0; i < n; i++) {
        c.c[i].type = CV_CANDIDATE_SRFLX;
        c.c[i].pref = (uint8_t)(100 - i);
        c.c[i].addr = cv_addr_ipv4(0x05010101, (uint16_t)va_arg(ap, int));
    }
    va_end(ap);
    return c;
}

TEST(one_hard_nat_is_met_and_two_are_hopeless)
{
    static const uint16_t nat[] = {
        CV_NAT_MAPPING_UNKNOWN, CV_NAT_MAPPING_EIM | CV_NAT_DROPS_STRAYS,
        CV_NAT_MAPPING_SEQ, CV_NAT_MAPPING_RANDOM | CV_NAT_IPV6};

    for (unsigned a = 0; a < 4; a++)
        for (unsigned b = 0; b < 4; b++) {
            struct cv_plan p = cv_plan_for(nat[a], nat[b]);
            bool one = (a >= 2) != (b >= 2);

            CHECK_EQ(p.hard, a >= 2);
            CHECK_EQ(p.hopeless, a >= 2 && b >= 2);
            CHECK_EQ(p.birthday, one);
            CHECK_EQ(p.predict, (one && (a == 2 || b == 2)) || p.duel);
            CHECK_EQ(p.duel, a == 2 && b == 2);
        }
}

TEST(a_nat_is_named_in_words)
{
    CHECK(strstr(cv_plan_nat_words(CV_NAT_MAPPING_RANDOM), "random") != NULL);
    CHECK(strstr(cv_plan_nat_words(CV_NAT_MAPPING_SEQ), "counts") != NULL);
    CHECK(strstr(cv_plan_nat_words(CV_NAT_MAPPING_EIM), "one port") != NULL);
    CHECK(strstr(cv_plan_nat_words(0), "unknown") != NULL);
    CHECK(strstr(cv_plan_nat_words(CV_NAT_UDP_BLOCKED), "blocks") != NULL);
}

static uint16_t kind(int *step, unsigned n, ...)
{
    struct cv_ports_seen s = {.n = 0};
    va_list ap;

    va_start(ap, n);
    for (unsigned i = 0; i < n; i++)
        cv_ports_seen_add(&s, (uint16_t)va_arg(ap, int));
    va_end(ap);
    return cv_ports_seen_kind(&s, step);
}

TEST(ports_tell_how_a_nat_maps)
{
    int step;

    CHECK_EQ(kind(&step, 1, 4000), CV_NAT_MAPPING_UNKNOWN);
    CHECK_EQ(kind(&step, 3, 4000, 4000, 4000), CV_NAT_MAPPING_EIM);
    CHECK_EQ(kind(&step, 3, 4000, 4001, 4002), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 1);
    /* Others took ports between: 16 and 22 of them. */
    CHECK_EQ(kind(&step, 3, 4000, 4017, 4040), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 1);
    CHECK_EQ(kind(&step, 3, 4000, 4017, 4034), CV_NAT_MAPPING_RANDOM);
    CHECK_EQ(kind(&step, 4, 4000, 4006, 4008, 4014), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 2);
    CHECK_EQ(kind(&step, 3, 4002, 4001, 3995), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, -1);
    /* One mapping for both ports of one server. */
    CHECK_EQ(kind(&step, 4, 4000, 4000, 4003, 4003), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 3);
    CHECK_EQ(kind(&step, 3, 4000, 51234, 1777), CV_NAT_MAPPING_RANDOM);
    /* Two requests overtook each other. */
    CHECK_EQ(kind(&step, 4, 4000, 4003, 4001, 4005), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 1);
    CHECK_EQ(kind(&step, 4, 4009, 4003, 4005, 4001), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, -2);
    /* One is asked again, later: the mapping is that of before. */
    CHECK_EQ(kind(&step, 5, 10821, 10825, 10826, 10825, 10835),
             CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 1);
    /* All ports were given out, and it begins with the first again. */
    CHECK_EQ(kind(&step, 3, 65534, 1024, 1026), CV_NAT_MAPPING_SEQ);
    CHECK_EQ(step, 2);
    CHECK_EQ(
        kind(&step, 10, 1, 9, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007),
        CV_NAT_MAPPING_SEQ); /* the last eight count */
}

TEST(the_next_ports_wrap_and_are_never_privileged)
{
    CHECK_EQ(cv_predict_port(4000, 1, 3), 4003);
    CHECK_EQ(cv_predict_port(4000, -2, 3), 3994);
    CHECK_EQ(cv_predict_port(65534, 1, 1), 65535);
    CHECK_EQ(cv_predict_port(65534, 1, 2), 1024);
    CHECK_EQ(cv_predict_port(1024, -1, 1), 65535);
    for (unsigned d = 0; d < 200000; d += 977)
        CHECK(cv_predict_port(9, -16, d) >= 1024);
}

TEST(a_record_of_a_counting_nat_names_its_newest_port_and_its_step)
{
    struct cv_candidates c = record(CV_NAT_MAPPING_SEQ, 2, 4010, 4008);
    struct cv_addr last;
    int step;

    REQUIRE(cv_predict_from(&c, &last, &step));
    CHECK_EQ(last.port, 4010);
    CHECK_EQ(step, 2);
    c = record(CV_NAT_MAPPING_SEQ, 1, 4010);
    CHECK(!cv_predict_from(&c, &last, &step));
    c = record(CV_NAT_MAPPING_SEQ, 2, 4010, 9000); /* no step is that long */
    CHECK(!cv_predict_from(&c, &last, &step));
    c = record(CV_NAT_MAPPING_SEQ, 0);
    CHECK(!cv_predict_from(&c, &last, &step));
    CHECK(cv_plan_outside(&c) == NULL);
}

TEST(prediction_sends_little_and_ends)
{
    struct cv_addr to = cv_addr_ipv4(0x05010101, 4000);
    struct cv_predict p;
    struct cv_shot shot;
    unsigned n = 0, low = 0;
    cv_time now = CV_SECOND;

    cv_predict_start(&p, true, &to, 0, now);
    while (cv_predict_deadline(&p) != CV_NEVER) {
        if (cv_predict_deadline(&p) > now)
            now = cv_predict_deadline(&p);
        REQUIRE(cv_predict_shot(&p, now, &shot));
        CHECK(shot.socket >= 1 && shot.socket <= CV_PREDICT_SOCKETS);
        CHECK(cv_addr_equal(&shot.to, &to));
        low += shot.ttl == CV_PREDICT_TTL;
        n++;
    }
    CHECK(!cv_predict_shot(&p, now + CV_HOUR, &shot));
    CHECK_EQ(n, 2 * CV_PREDICT_SOCKETS);
    CHECK_EQ(low, CV_PREDICT_SOCKETS);
    CHECK(now <= CV_SECOND + CV_PREDICT_AGAIN + 150 * CV_MILLISECOND);

    now = CV_SECOND;
    n = 0;
    cv_predict_start(&p, false, &to, 1, now);
    while (cv_predict_deadline(&p) != CV_NEVER) {
        if (cv_predict_deadline(&p) > now)
            now = cv_predict_deadline(&p);
        REQUIRE(cv_predict_shot(&p, now, &shot));
        CHECK_EQ(shot.socket, 0);
        CHECK(shot.to.port > 4000 && shot.to.port <= 4000 + CV_PREDICT_WINDOW);
        if (n == 0)
            CHECK_EQ(shot.to.port, 4001);
        n++;
    }
    CHECK_EQ(n, CV_PREDICT_FIRST + CV_PREDICT_WINDOW);
    CHECK(now <= CV_SECOND + CV_PREDICT_AGAIN + 150 * CV_MILLISECOND);
}

TEST(a_duel_sends_no_port_too_much_and_its_guesses_are_there_first)
{
    struct cv_addr to = cv_addr_ipv4(0x05010101, 4000);
    struct cv_predict a, b;
    struct cv_shot shot;
    unsigned to_port[512] = {0}, n = 0;
    cv_time there[512] = {0};

    cv_predict_start_duel(&b, false, &to, 2, CV_SECOND);
    while (cv_predict_deadline(&b) != CV_NEVER) {
        REQUIRE(cv_predict_shot(&b, cv_predict_deadline(&b), &shot));
        CHECK(shot.socket == 0 && shot.ttl == 0);
        CHECK_EQ(shot.to.port, 4000 + 2 * ++n);
        there[n] = b.started + (n - 1) * CV_PREDICT_GAP;
    }
    CHECK_EQ(n, CV_PREDICT_DUEL * (2 * CV_PREDICT_DUELS - 1));
    cv_predict_start_duel(&a, true, &to, 2, CV_SECOND);
    for (n = 0; cv_predict_deadline(&a) != CV_NEVER; n++) {
        cv_time now = cv_predict_deadline(&a);
        unsigned guess;

        REQUIRE(cv_predict_shot(&a, now, &shot));
        CHECK(shot.socket == n + 1 && shot.ttl == 0);
        guess = (unsigned)(shot.to.port - 4000) / 2;
        REQUIRE(guess < 512);
        CHECK(now >= there[guess]);
        CHECK(++to_port[guess] <= CV_PREDICT_DUEL);
    }
    CHECK_EQ(n, CV_PREDICT_DUEL * CV_PREDICT_DUELS);
}

TEST(guesses_are_distinct_and_cover_every_port_in_the_end)
{
    uint8_t *seen = calloc(1, 65536);

    REQUIRE(seen != NULL);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        memset(seen, 0, 65536);
        for (unsigned i = 0; i < CV_BIRTHDAY_PORTS; i++) {
            uint16_t port = cv_birthday_port(seed * 0x123456789, i);

            REQUIRE(port >= CV_BIRTHDAY_LOWEST && !seen[port]);
            seen[port] = 1;
        }
    }
    CHECK(cv_birthday_port(1, 0) != cv_birthday_port(2, 0));
    free(seen);
}

/* Runs it; returns how many checks it sent, and when the last one went. */
static unsigned whole(struct cv_birthday *b, cv_time *end, unsigned *low)
{
    struct cv_shot shot;
    unsigned n = 0;
    cv_time now = b->started;

    *low = 0;
    while (cv_birthday_deadline(b) != CV_NEVER) {
        if (cv_birthday_deadline(b) > now)
            now = cv_birthday_deadline(b);
        REQUIRE(cv_birthday_shot(b, now, &shot));
        REQUIRE(!cv_birthday_shot(b, now - CV_MILLISECOND, &shot));
        *low += shot.ttl == CV_BIRTHDAY_TTL;
        REQUIRE((shot.socket > 0) == b->hard);
        REQUIRE(cv_addr_same_ip(&shot.to, &b->to));
        n++;
    }
    *end = now - b->started;
    return n;
}

TEST(a_birthday_is_as_large_and_as_fast_as_said)
{
    struct cv_addr to = cv_addr_ipv4(0x05010101, 4000);
    struct cv_birthday b;
    unsigned low;
    cv_time end;

    cv_birthday_start(&b, true, false, &to, 0, 1, CV_SECOND);
    CHECK_EQ(whole(&b, &end, &low), 2 * CV_BIRTHDAY_SOCKETS);
    CHECK_EQ(low, CV_BIRTHDAY_SOCKETS);
    CHECK(end <= CV_BIRTHDAY_AGAIN + CV_BIRTHDAY_OPEN);
    cv_birthday_start(&b, false, false, &to, 0, 1, CV_SECOND);
    CHECK_EQ(whole(&b, &end, &low), CV_BIRTHDAY_GUESSES);
    CHECK(end >= 2 * CV_SECOND && end <= 2100 * CV_MILLISECOND);
    cv_birthday_start(&b, true, true, &to, 0, 1, CV_SECOND);
    CHECK_EQ(whole(&b, &end, &low), 2 * CV_BIRTHDAY_GENTLE_SOCKETS);
    cv_birthday_start(&b, false, true, &to, 0, 1, CV_SECOND);
    CHECK_EQ(whole(&b, &end, &low), CV_BIRTHDAY_GENTLE_GUESSES);
}

/* Every one of them is asked again before a NAT forgets it. */
TEST(what_is_held_is_refreshed_in_time_and_no_faster)
{
    for (unsigned i = 0; i < 8; i++) {
        bool hard = i & 1, gentle = i & 2;
        int step = i & 4 ? -3 : 0;
        struct cv_addr to = cv_addr_ipv4(0x05010101, 5000);
        cv_time last[CV_HOLD_PORTS] = {0}, now = CV_SECOND, at = now;
        struct cv_hold h = {.on = false};
        struct cv_shot shot;
        unsigned sent = 0;

        CHECK_EQ(cv_hold_deadline(&h), CV_NEVER);
        CHECK(!cv_hold_shot(&h, now, &shot));
        cv_hold_start(&h, hard, gentle, &to, step, 7, now);
        CHECK_EQ(h.total, hard ? gentle ? 128 : 256 : gentle ? 256 : 512);
        while (at < 5 * CV_MINUTE) {
            unsigned which = sent++ % h.total;

            at = cv_hold_deadline(&h);
            CHECK(cv_hold_shot(&h, at, &shot));
            CHECK(!shot.anew && shot.ttl == CV_HOLD_TTL);
            CHECK_EQ(shot.socket, hard ? which + 1 : 0);
            if (hard)
                CHECK(cv_addr_equal(&shot.to, &to));
            else if (step != 0 && which < h.total / 2)
                CHECK_EQ(shot.to.port, cv_predict_port(5000, -3, which + 1));
            CHECK(shot.to.port >= 1024);
            CHECK(last[which] == 0 || at - last[which] < 17 * CV_SECOND);
            last[which] = at;
        }
        CHECK(sent <= 21 * h.total);
        /* After a suspend it does not make up for what it missed. */
        now = at + CV_MINUTE;
        CHECK(cv_hold_shot(&h, now, &shot));
        CHECK(!cv_hold_shot(&h, now, &shot));
    }
}

TEST(against_held_ports_a_hard_side_makes_four_rounds_of_new_sockets)
{
    struct cv_addr to = cv_addr_ipv4(0x05010101, 5000);
    struct cv_birthday b;
    struct cv_shot shot;
    unsigned sent = 0;
    cv_time at = 0;

    cv_birthday_start_rounds(&b, false, &to, CV_SECOND);
    while (cv_birthday_deadline(&b) != CV_NEVER) {
        at = cv_birthday_deadline(&b);
        REQUIRE(cv_birthday_shot(&b, at, &shot));
        CHECK_EQ(shot.socket, 1 + sent % CV_BIRTHDAY_SOCKETS);
        CHECK(shot.anew && shot.ttl == 0 && cv_addr_equal(&shot.to, &to));
        sent++;
    }
    CHECK_EQ(sent, CV_BIRTHDAY_ROUNDS * CV_BIRTHDAY_SOCKETS);
    CHECK(at < CV_SECOND + CV_BIRTHDAY_ROUNDS * CV_BIRTHDAY_ROUND);
}

/* Whatever port was named, and however it counts. */
TEST(guesses_begin_near_the_port_that_was_named_and_none_is_made_twice)
{
    static const int steps[] = {0, 1, -1, 2, -16};
    static const uint16_t ports[] = {1, 1024, 4000, 65000, 65535};
    uint8_t *seen = malloc(65536);

    REQUIRE(seen != NULL);
    for (unsigned i = 0; i < 25; i++) {
        struct cv_addr to = cv_addr_ipv4(0x05010101, ports[i / 5]);
        struct cv_birthday b;
        struct cv_shot shot;
        unsigned near = 0;
        int step = steps[i % 5];

        memset(seen, 0, 65536);
        cv_birthday_start(&b, false, false, &to, step, i, CV_SECOND);
        for (unsigned n = 0; n < CV_BIRTHDAY_GUESSES; n++) {
            REQUIRE(cv_birthday_shot(&b, CV_MINUTE, &shot));
            REQUIRE(shot.to.port >= CV_BIRTHDAY_LOWEST);
            REQUIRE(!seen[shot.to.port]);
            seen[shot.to.port] = 1;
            if (n >= 512 || to.port < CV_BIRTHDAY_LOWEST)
                continue;
            if (step == 0)
                near += shot.to.port / CV_BIRTHDAY_NEAR ==
                        to.port / CV_BIRTHDAY_NEAR;
            for (unsigned d = 1; step != 0 && d <= CV_BIRTHDAY_NEAR; d++)
                near += shot.to.port == cv_predict_port(to.port, step, d);
        }
        CHECK_EQ(near, to.port < CV_BIRTHDAY_LOWEST ? 0 : 256);
        CHECK(!cv_birthday_shot(&b, CV_MINUTE, &shot));
    }
    free(seen);
}

RUN_TESTS(T(a_duel_sends_no_port_too_much_and_its_guesses_are_there_first),
          T(what_is_held_is_refreshed_in_time_and_no_faster),
          T(against_held_ports_a_hard_side_makes_four_rounds_of_new_sockets),
          T(guesses_begin_near_the_port_that_was_named_and_none_is_made_twice),
          T(one_hard_nat_is_met_and_two_are_hopeless),
          T(a_nat_is_named_in_words), T(ports_tell_how_a_nat_maps),
          T(the_next_ports_wrap_and_are_never_privileged),
          T(a_record_of_a_counting_nat_names_its_newest_port_and_its_step),
          T(prediction_sends_little_and_ends),
          T(guesses_are_distinct_and_cover_every_port_in_the_end),
          T(a_birthday_is_as_large_and_as_fast_as_said))
