/* What a connection sees of its paths when they die, move and come back. */
#include "tests/sim/natsim.h"

#define TICK (20 * CV_MILLISECOND) /* somebody types */

/* A stand-in for QUIC: numbered packets, each acknowledged, the oldest one
 * that is not is repeated after 200 ms. */
struct app {
    uint64_t sent, acked; /* numbers from 1 */
    cv_time sent_at;
};

static struct app app[2];

static void put(uint8_t packet[200], uint8_t what, uint64_t n)
{
    memset(packet, 0, 200);
    packet[0] = what;
    memcpy(packet + 1, &n, sizeof n);
}

static void send_data(struct sim_host *h, uint64_t n)
{
    uint8_t packet[200];

    put(packet, 0x41, n);
    (void)cv_pathset_send(&h->attempt->paths, h->sim->now, packet,
                          sizeof packet, sizeof packet);
    app[h->index].sent_at = h->sim->now;
    cv_pathset_in_flight(&h->attempt->paths, true, h->sim->now);
}

static void on_app(struct sim_host *h, const struct cv_path_addr *from,
                   const uint8_t *data, size_t len)
{
    struct app *a = &app[h->index];
    uint8_t packet[200];
    uint64_t n;

    REQUIRE(len == 200);
    memcpy(&n, data + 1, sizeof n);
    cv_pathset_packet(&h->attempt->paths, from, len, h->sim->now);
    if (data[0] == 0x41) {
        if (n == h->app_in + 1) {
            if (h->app_in > 0 && h->sim->now - h->app_last > h->app_gap)
                h->app_gap = h->sim->now - h->app_last;
            h->app_last = h->sim->now;
            h->app_in = n;
        }
        put(packet, 0x42, h->app_in);
        (void)cv_pathset_send(&h->attempt->paths, h->sim->now, packet,
                              sizeof packet, sizeof packet);
    } else if (n > a->acked) {
        a->acked = n;
        cv_pathset_in_flight(&h->attempt->paths, a->acked < a->sent,
                             h->sim->now);
    }
}

/* Type for `time`. */
static void type(struct sim *sim, cv_time time)
{
    cv_time until = sim->now + time;

    while (sim->now < until) {
        cv_time next = sim->now + TICK;

        for (unsigned i = 0; i < 2; i++) {
            struct app *a = &app[i];

            if (a->acked == a->sent)
                send_data(&sim->host[i], ++a->sent);
            else if (sim->now - a->sent_at >= 200 * CV_MILLISECOND)
                send_data(&sim->host[i], a->acked + 1);
        }
        sim_run(sim, next, false);
    }
}

/* Two hosts in one LAN behind one NAT with hairpin paths by way of a public
 * address each: `lan` first, the public one second. */
static struct sim *two_paths(uint64_t seed)
{
    struct sim *sim = sim_new(seed, SIM_NONE, SIM_NONE);
    struct cv_candidates j, c;

    memset(app, 0, sizeof app);
    for (unsigned i = 0; i < 2; i++)
        sim->host[i].on_app = on_app;
    /* A second address each, private, in one LAN. */
    sim->lan = true;
    for (unsigned i = 0; i < 2; i++) {
        sim->host[i].lan_addr = cv_addr_ipv4(0x0a000002 + i, 40000);
        sim->host[i].local.net[1].addr = sim->host[i].lan_addr;
        sim->host[i].local.net[1].addr.port = 0;
        sim->host[i].local.net[1].bits = 24;
        sim->host[i].local.n = 2;
    }
    j = sim_candidates(sim, 0);
    c = sim_candidates(sim, 1);
    sim_start(sim, 0, &c, true);
    sim_start(sim, 1, &j, true);
    sim_run(sim, sim->now + 3 * CV_SECOND, false);
    REQUIRE(sim->host[0].kind == CV_PATH_LAN);
    REQUIRE(sim->host[1].kind == CV_PATH_LAN);
    type(sim, CV_SECOND);
    return sim;
}

static bool drop_lan(struct sim *sim, unsigned from, const struct cv_addr *to)
{
    (void)sim;
    (void)from;
    return cv_addr_kind(to) == CV_ADDR_PRIVATE;
}

static bool drop_wan(struct sim *sim, unsigned from, const struct cv_addr *to)
{
    return !drop_lan(sim, from, to);
}

static bool drop_all(struct sim *sim, unsigned from, const struct cv_addr *to)
{
    (void)sim;
    (void)from;
    (void)to;
    return true;
}

static bool drop_lan_of_0(struct sim *sim, unsigned from,
                          const struct cv_addr *to)
{
    return from == 0 && drop_lan(sim, from, to);
}

/* In both directions, and in one: the end that hears nothing tells the other
 * one by turning to the standby. */
TEST(a_dead_path_costs_less_than_two_fifths_of_a_second)
{
    cv_time worst = 0;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = two_paths(seed);

        sim->host[0].app_gap = sim->host[1].app_gap = 0;
        sim->drop = seed % 2 ? drop_lan : drop_lan_of_0;
        type(sim, 3 * CV_SECOND);
        for (unsigned i = 0; i < 2; i++) {
            CHECK_EQ(sim->host[i].kind, CV_PATH_IPV4);
            if (sim->host[i].app_gap > worst)
                worst = sim->host[i].app_gap;
        }
        CHECK(sim->host[0].attempt->paths.duplicated > 0);
        sim_free(sim);
    }
    print_message("longest pause %lld ms\n",
                  (long long)(worst / CV_MILLISECOND));
    CHECK(worst < 400 * CV_MILLISECOND);
}

TEST(a_path_that_comes_back_is_taken_again_without_a_pause)
{
    struct sim *sim = two_paths(1);

    sim->drop = drop_lan;
    type(sim, 3 * CV_SECOND);
    CHECK_EQ(sim->host[0].kind, CV_PATH_IPV4);
    sim->drop = NULL;
    sim->host[0].app_gap = sim->host[1].app_gap = 0;
    type(sim, 25 * CV_SECOND);
    CHECK_EQ(sim->host[0].kind, CV_PATH_LAN);
    CHECK_EQ(sim->host[1].kind, CV_PATH_LAN);
    CHECK(sim->host[0].app_gap < 200 * CV_MILLISECOND);
    CHECK(sim->host[1].app_gap < 200 * CV_MILLISECOND);
    sim_free(sim);
}

TEST(losing_the_standby_disturbs_nothing)
{
    struct sim *sim = two_paths(2);
    unsigned selections = sim->host[0].selections;

    sim->drop = drop_wan;
    sim->host[0].app_gap = 0;
    type(sim, 60 * CV_SECOND);
    CHECK_EQ(sim->host[0].selections, selections);
    CHECK(sim->host[0].app_gap < 200 * CV_MILLISECOND);
    sim_free(sim);
}

TEST(no_path_is_told_within_five_seconds_and_recovery_within_three)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = two_paths(seed);
        cv_time cut, back;

        cut = sim->now;
        sim->drop = drop_all;
        type(sim, 6 * CV_SECOND);
        for (unsigned i = 0; i < 2; i++) {
            CHECK_EQ(sim->host[i].kind, CV_PATH_NONE);
            CHECK(sim->host[i].selected_at - cut <= 5 * CV_SECOND);
        }
        type(sim, 30 * CV_SECOND);
        sim->drop = NULL;
        back = sim->now;
        type(sim, 4 * CV_SECOND);
        for (unsigned i = 0; i < 2; i++) {
            CHECK(sim->host[i].kind != CV_PATH_NONE);
            CHECK_EQ(sim->host[i].app_in, app[1 - i].sent);
            CHECK(sim->host[i].app_last - back < 4 * CV_SECOND);
        }
        sim_free(sim);
    }
}

/* A punched pair through two NATs. */
static struct sim *punched(uint64_t seed, enum sim_nat_kind a,
                           enum sim_nat_kind b)
{
    struct sim *sim = sim_new(seed, a, b);
    struct cv_candidates j, c;

    memset(app, 0, sizeof app);
    sim->host[0].on_app = sim->host[1].on_app = on_app;
    j = sim_candidates(sim, 0);
    c = sim_candidates(sim, 1);
    sim_start(sim, 0, &c, true);
    sim_run(sim, sim->now + 300 * CV_MILLISECOND, false);
    sim_start(sim, 1, &j, true);
    sim_run(sim, sim->now + 3 * CV_SECOND, false);
    REQUIRE(sim->host[0].reached && sim->host[1].reached);
    type(sim, CV_SECOND);
    return sim;
}

TEST(a_nat_that_forgets_costs_less_than_a_second)
{
    cv_time worst = 0;

    for (unsigned who = 0; who < 2; who++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct sim *sim = who == 0 ? punched(seed, SIM_PORT, SIM_NONE)
                                       : punched(seed, SIM_NONE, SIM_PORT);

            sim->host[0].app_gap = sim->host[1].app_gap = 0;
            for (int again = 0; again < 3; again++) {
                natbox_rebind(sim->host[who].nat);
                type(sim, 5 * CV_SECOND);
            }
            for (unsigned i = 0; i < 2; i++) {
                CHECK_EQ(sim->host[i].kind, CV_PATH_IPV4);
                if (sim->host[i].app_gap > worst)
                    worst = sim->host[i].app_gap;
            }
            sim_free(sim);
        }
    print_message("longest pause %lld ms\n",
                  (long long)(worst / CV_MILLISECOND));
    CHECK(worst < CV_SECOND);
}

TEST(roaming_to_another_network_keeps_the_session)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = punched(seed, SIM_PORT, SIM_NONE);
        struct sim_host *h = &sim->host[0];

        /* Another NAT, another address inside. */
        h->nat->outside = cv_addr_ipv4(0x05030303, 0);
        natbox_forget(h->nat);
        sim_move(sim, 0, cv_addr_ipv4(0x0a090909, h->addr.port));
        cv_attempt_network_changed(h->attempt, sim->now);
        sim->host[0].app_gap = sim->host[1].app_gap = 0;
        type(sim, 5 * CV_SECOND);
        for (unsigned i = 0; i < 2; i++) {
            CHECK_EQ(sim->host[i].kind, CV_PATH_IPV4);
            CHECK(sim->host[i].app_gap < 2 * CV_SECOND);
        }
        sim_free(sim);
    }
}

TEST(five_minutes_of_loss_keep_the_path)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct sim *sim = punched(seed, SIM_PORT, SIM_PORT);
        unsigned none = 0;

        sim->loss = 0.2;
        sim->jitter = 60 * CV_MILLISECOND;
        for (int i = 0; i < 300; i++) {
            type(sim, CV_SECOND);
            none += sim->host[0].kind == CV_PATH_NONE;
        }
        CHECK_EQ(none, 0);
        sim->loss = 0;
        type(sim, 2 * CV_SECOND);
        sim_run(sim, sim->now + CV_SECOND, false);
        CHECK_EQ(sim->host[0].app_in, app[1].sent);
        CHECK_EQ(sim->host[1].app_in, app[0].sent);
        sim_free(sim);
    }
}

TEST(an_idle_hour_is_quiet_and_keeps_the_path)
{
    struct sim *sim = punched(1, SIM_PORT, SIM_PORT);
    unsigned before = sim->host[0].sent + sim->host[1].sent;
    unsigned selections = sim->host[0].selections;

    sim_run(sim, sim->now + CV_HOUR, false);
    before = sim->host[0].sent + sim->host[1].sent - before;
    print_message("%u packets in an idle hour\n", before);
    CHECK(before < 2 * 2 * 3600 / 15 + 20);
    CHECK_EQ(sim->host[0].selections, selections);
    CHECK_EQ(sim->host[0].kind, CV_PATH_IPV4);
    type(sim, CV_SECOND);
    CHECK_EQ(sim->host[0].app_in, app[1].sent);
    sim_free(sim);
}

RUN_TESTS(T(a_dead_path_costs_less_than_two_fifths_of_a_second),
          T(a_path_that_comes_back_is_taken_again_without_a_pause),
          T(losing_the_standby_disturbs_nothing),
          T(no_path_is_told_within_five_seconds_and_recovery_within_three),
          T(a_nat_that_forgets_costs_less_than_a_second),
          T(roaming_to_another_network_keeps_the_session),
          T(five_minutes_of_loss_keep_the_path),
          T(an_idle_hour_is_quiet_and_keeps_the_path))
