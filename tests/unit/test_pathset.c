#include "tests/test.h"
#include "transport/pathset.h"

#define MS CV_MILLISECOND

static struct cv_rng_seeded seed;
static struct cv_rng rng;
static struct cv_checks checks;
static struct cv_local local;
static struct cv_pathset ps;
static cv_time now;
static unsigned n_checks, n_data, n_selected, n_proved;
static size_t bytes_to[8]; /* by last octet of the address */
static unsigned checks_to[8];
static int full; /* what the carrier says to data */
static const struct cv_path *chosen;

static int on_send(void *user, const struct cv_path_addr *to, unsigned ttl,
                   const uint8_t *data, size_t len, size_t segment)
{
    unsigned i = to->remote.ip[3] % 8;

    (void)user;
    (void)ttl;
    (void)segment;
    if (!cv_stun_is(data, len)) {
        if (full != CV_OK)
            return full;
        n_data++;
    } else {
        n_checks++;
        checks_to[i]++;
    }
    bytes_to[i] += len;
    return CV_OK;
}

static void on_selected(void *user, const struct cv_path *path)
{
    (void)user;
    chosen = path;
    n_selected++;
}

static void on_proved(void *user, const struct cv_path *path)
{
    (void)user;
    (void)path;
    n_proved++;
}

static const struct cv_pathset_events events = {
    .selected = on_selected,
    .proved = on_proved,
};

static int setup(void **state)
{
    static const uint8_t attempt[8] = {1}, shared[32] = {2};

    (void)state;
    rng = cv_rng_from_seed(&seed, 1);
    cv_checks_init(&checks, &rng, attempt, shared, true);
    memset(&local, 0, sizeof local);
    local.n = 1;
    local.net[0].addr = cv_addr_ipv4(0x0a000001, 0);
    local.net[0].bits = 24;
    local.ipv4 = local.ipv6 = true;
    now = CV_SECOND;
    n_checks = n_data = n_selected = n_proved = 0;
    memset(bytes_to, 0, sizeof bytes_to);
    memset(checks_to, 0, sizeof checks_to);
    full = CV_OK;
    chosen = NULL;
    cv_pathset_init(&ps, &checks, &local, NULL, on_send, &events, NULL);
    return 0;
}

static struct cv_path_addr at(uint32_t ip)
{
    return (struct cv_path_addr){.remote = cv_addr_ipv4(ip, 4000)};
}

static void run(cv_time time)
{
    cv_time until = now + time;

    while (cv_pathset_deadline(&ps) <= until) {
        if (cv_pathset_deadline(&ps) > now)
            now = cv_pathset_deadline(&ps);
        cv_pathset_step(&ps, now);
        REQUIRE(cv_pathset_deadline(&ps) > now);
    }
    now = until;
}

static void prove(uint32_t ip, cv_time rtt)
{
    struct cv_path_addr a = at(ip);

    REQUIRE(cv_pathset_candidate(&ps, &a, now) != NULL);
    cv_pathset_answered(&ps, &a, rtt, now);
}

/* Answer every check of these addresses for a while. */
static void alive(const uint32_t *ip, unsigned n, cv_time rtt, cv_time time)
{
    for (cv_time end = now + time; now < end; run(10 * MS))
        for (unsigned i = 0; i < n; i++) {
            struct cv_path_addr a = at(ip[i]);
            struct cv_path *p = cv_pathset_find(&ps, &a);

            if (p && p->unanswered > 0 && now - p->last_check >= rtt)
                cv_pathset_answered(&ps, &a, rtt, now);
        }
}

static const uint8_t data[4800];

TEST(where_a_moved_peer_speaks_from_packets_go_at_once)
{
    struct cv_path_addr moved = at(0x0a000002);

    prove(0x0a000001, 20 * MS);
    cv_pathset_packet(&ps, &ps.path[0].addr, 1000, now);
    run(10 * MS);
    cv_pathset_packet(&ps, &moved, 1000, now);
    run(20 * MS);
    n_selected = 0;
    cv_pathset_answered(&ps, &moved, 20 * MS, now);
    CHECK_EQ(n_selected, 1); /* what is in flight is sent again */
    memset(bytes_to, 0, sizeof bytes_to);
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1000, 1000), CV_OK);
    CHECK(bytes_to[1] >= 1000);
    CHECK(bytes_to[2] >= 1000);
    run(CV_SECOND); /* the old address does not answer */
    CHECK_EQ(chosen->addr.remote.ip[3], 2);
}

TEST(a_path_of_another_attempt_is_used_and_asked)
{
    struct cv_path other = {.addr = at(0x0a000003), .srtt = 20 * MS};

    prove(0x0a000001, 20 * MS);
    run(3 * CV_SECOND);
    memset(checks_to, 0, sizeof checks_to);
    cv_pathset_adopt(&ps, &other, now);
    run(MS);
    CHECK_EQ(checks_to[3], 1);
    CHECK_EQ(chosen->addr.remote.ip[3], 1); /* no better than what there is */
    run(4 * CV_SECOND);                     /* nothing answers any more */
    CHECK(chosen == NULL);
}

TEST(nothing_is_sent_before_a_path_is_proved_or_heard)
{
    struct cv_path_addr a = at(0x05000001);

    CHECK(cv_pathset_candidate(&ps, &a, now) != NULL);
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_ERR_NOPATH);
    CHECK_EQ(ps.dropped, 1);
    run(CV_MINUTE);
    CHECK_EQ(n_checks, 0); /* that is the attempt's */
}

TEST(where_the_peer_was_just_heard_is_promising_until_it_is_proved)
{
    struct cv_path_addr named = at(0x05000001), heard = at(0x05000002);
    struct cv_path_addr link = {.carrier = CV_CARRIER_TCP,
                                .remote = cv_addr_ipv4(0x05000003, 4000)};
    const struct cv_path *p;

    CHECK(cv_pathset_candidate(&ps, &named, now) != NULL);
    CHECK(cv_pathset_promising(&ps, now) == NULL);
    cv_pathset_packet(&ps, &named, 1000, now); /* no check: anybody's */
    CHECK(cv_pathset_promising(&ps, now) == NULL);
    cv_pathset_requested(&ps, &link, 88, 60, now);
    run(10 * MS);
    cv_pathset_requested(&ps, &heard, 88, 60, now);
    p = cv_pathset_promising(&ps, now);
    REQUIRE(p != NULL);
    CHECK_EQ(p->addr.remote.ip[3], 2);
    CHECK(cv_pathset_promising(&ps, now + CV_SECOND) == NULL);
    cv_pathset_answered(&ps, &heard, 20 * MS, now);
    p = cv_pathset_promising(&ps, now);
    CHECK(p == NULL || p->addr.remote.ip[3] != 2);
}

TEST(a_link_is_promising_when_it_is_there_or_a_check_comes_over_it)
{
    struct cv_path_addr ours = {.carrier = CV_CARRIER_TCP,
                                .channel = 1,
                                .remote = cv_addr_ipv4(0x05000001, 4000)};
    struct cv_path_addr theirs = ours;
    const struct cv_path *p;

    theirs.channel = 2;
    cv_pathset_packet(&ps, &theirs, 1000, now); /* anybody's */
    cv_pathset_packet(&ps, &theirs, 1000, now);
    CHECK(cv_pathset_promising(&ps, now) == NULL);
    cv_pathset_link_up(&ps, &ours, now);
    p = cv_pathset_promising(&ps, now);
    REQUIRE(p != NULL);
    CHECK_EQ(p->addr.channel, 1);
    run(10 * MS);
    cv_pathset_requested(&ps, &theirs, 88, 60, now);
    p = cv_pathset_promising(&ps, now);
    REQUIRE(p != NULL);
    CHECK_EQ(p->addr.channel, 2);
}

TEST(an_address_that_is_only_heard_gets_three_times_what_it_sent)
{
    struct cv_path_addr a = at(0x05000001);
    size_t in = 88, out = 60;

    cv_pathset_requested(&ps, &a, in, out, now);
    CHECK_EQ(checks_to[1], 1);
    /* Until it is heard again or the set forgets it. */
    run(500 * MS);
    CHECK(out + bytes_to[1] <= 3 * in);
    cv_pathset_packet(&ps, &a, 1200, now);
    in += 1200;
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
    CHECK_EQ(cv_pathset_send(&ps, now, data, 2400, 1200), CV_OK);
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_ERR_NOPATH);
    CHECK(out + bytes_to[1] <= 3 * in);
    run(CV_MINUTE);
    CHECK(out + bytes_to[1] <= 3 * in);
    CHECK(cv_pathset_find(&ps, &a) == NULL); /* forgotten */
}

TEST(the_first_proved_path_is_selected_at_once)
{
    prove(0x05000001, 20 * MS);
    CHECK_EQ(n_selected, 1);
    CHECK_EQ(n_proved, 1);
    CHECK(chosen && chosen->kind == CV_PATH_IPV4);
    CHECK_EQ(chosen->state, CV_PATH_SELECTED);
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
    CHECK_EQ(n_data, 1);
}

TEST(an_answer_that_was_held_up_at_first_is_forgotten)
{
    struct cv_path_addr a = at(0x05000001);
    const struct cv_path *p;

    CHECK(cv_pathset_candidate(&ps, &a, now) != NULL);
    cv_pathset_answered(&ps, &a, 150 * MS, now);
    p = cv_pathset_best(&ps);
    REQUIRE(p != NULL);
    CHECK_EQ(p->srtt, 150 * MS);
    now += 500 * MS;
    cv_pathset_answered(&ps, &a, 50 * MS, now);
    CHECK_EQ(p->srtt, 50 * MS);
    now += CV_PATH_SETTLE; /* later it is one of many */
    cv_pathset_answered(&ps, &a, 42 * MS, now);
    CHECK_EQ(p->srtt, 49 * MS);
}

TEST(a_better_tier_wins_after_a_second_and_a_little_better_path_never)
{
    static const uint32_t all[] = {0x05000001, 0x05000002, 0x0a000003};

    prove(0x05000001, 20 * MS);
    prove(0x05000002, 17 * MS); /* within 5 ms */
    alive(all, 2, 17 * MS, 3 * CV_SECOND);
    CHECK_EQ(n_selected, 1);
    prove(0x0a000003, 60 * MS); /* the LAN, however slow */
    CHECK_EQ(chosen->kind, CV_PATH_LAN);
    CHECK_EQ(n_selected, 2);

    setup(NULL);
    prove(0x05000001, 20 * MS);
    run(100 * MS);
    prove(0x0a000003, MS); /* too soon after the last choice */
    CHECK_EQ(chosen->kind, CV_PATH_IPV4);
    alive(all, 3, MS, 950 * MS);
    CHECK_EQ(chosen->kind, CV_PATH_LAN);
}

TEST(ipv6_has_three_milliseconds_in_hand_but_not_more)
{
    struct cv_path_addr six = {0};

    CHECK_EQ(cv_addr_parse(&six.remote, "[2001:4860::1]:4000", 0), CV_OK);
    prove(0x05000001, 20 * MS);
    run(2 * CV_SECOND);
    CHECK(cv_pathset_candidate(&ps, &six, now) != NULL);
    cv_pathset_answered(&ps, &six, 40 * MS, now);
    run(20 * MS);
    CHECK_EQ(chosen->kind, CV_PATH_IPV4);
    setup(NULL);
    CHECK(cv_pathset_candidate(&ps, &six, now) != NULL);
    cv_pathset_answered(&ps, &six, 22 * MS, now);
    run(1100 * MS);
    prove(0x05000001, 20 * MS);
    CHECK_EQ(chosen->kind, CV_PATH_IPV6);
}

TEST(silence_with_data_in_flight_makes_a_path_suspect)
{
    static const struct {
        cv_time rtt;
        bool standby;
        cv_time wait;
    } cases[] = {
        {1 * MS, true, 150 * MS},        /* the least */
        {80 * MS, true, 265 * MS},       /* 3 srtt + 25 ms */
        {80 * MS, false, 305 * MS},      /* 2 srtt + 4 rttvar + 25 ms */
        {400 * MS, true, 1 * CV_SECOND}, /* the most */
    };

    for (unsigned i = 0; i < 4; i++) {
        setup(NULL);
        prove(0x05000001, cases[i].rtt);
        if (cases[i].standby)
            prove(0x05000002, cases[i].rtt + 100 * MS);
        prove(0x05000001, cases[i].rtt); /* it was asked, now */
        run(10 * MS);
        cv_pathset_in_flight(&ps, true, now);
        run(cases[i].wait - 2 * MS);
        CHECK_EQ(ps.path[0].state, CV_PATH_SELECTED);
        n_data = 0;
        CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
        CHECK_EQ(n_data, 1);
        run(4 * MS);
        CHECK_EQ(ps.path[0].state, CV_PATH_SUSPECT);
        CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
        CHECK_EQ(n_data, cases[i].standby ? 3 : 2); /* doubled */
        CHECK_EQ(ps.duplicated, cases[i].standby);
    }
}

TEST(with_a_standby_it_is_told_at_once_what_may_be_lost)
{
    prove(0x05000001, 20 * MS);
    prove(0x05000002, 60 * MS);
    n_selected = 0;
    cv_pathset_in_flight(&ps, true, now);
    while (ps.path[0].state == CV_PATH_SELECTED)
        run(10 * MS);
    CHECK_EQ(ps.path[0].state, CV_PATH_SUSPECT);
    CHECK_EQ(n_selected, 1);
    run(50 * MS);
    CHECK_EQ(n_selected, 1); /* once */
}

/* The peer was the first to miss an answer. */
TEST(a_peer_that_turns_to_the_standby_makes_the_path_in_use_suspect)
{
    static const uint32_t both[] = {0x05000001, 0x05000002};
    struct cv_path_addr a = at(both[0]), b = at(both[1]);

    prove(both[0], 20 * MS);
    prove(both[1], 60 * MS);
    cv_pathset_packet(&ps, &b, 1200, now);
    alive(both, 2, 20 * MS, 300 * MS);
    CHECK_EQ(ps.path[0].state, CV_PATH_SELECTED);
    cv_pathset_packet(&ps, &a, 1200, now);
    run(10 * MS);
    n_selected = checks_to[1] = 0;
    cv_pathset_packet(&ps, &b, 1200, now);
    CHECK_EQ(ps.path[0].state, CV_PATH_SUSPECT);
    CHECK_EQ(n_selected, 1);
    CHECK_EQ(checks_to[1], 1);
    n_data = 0;
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
    CHECK_EQ(n_data, 2);
    cv_pathset_answered(&ps, &a, 20 * MS, now);
    CHECK_EQ(ps.path[0].state, CV_PATH_SELECTED);
}

/* A peer that moves again and again leaves standbys behind that are dead and
 * not known to be. */
TEST(after_a_death_the_path_counts_where_the_peer_was_heard_last)
{
    static const uint32_t first = 0x05000001, old = 0x05000002,
                          fresh = 0x05000003;
    struct cv_path_addr a = at(first), f = at(fresh);

    prove(first, 20 * MS);
    prove(old, 48 * MS);
    alive((uint32_t[]){first, old}, 2, 20 * MS, 3 * CV_SECOND);
    prove(fresh, 50 * MS);
    cv_pathset_packet(&ps, &a, 1200, now);
    cv_pathset_in_flight(&ps, true, now);
    while (ps.path[0].state != CV_PATH_DEAD) {
        cv_pathset_packet(&ps, &f, 1200, now);
        alive(&fresh, 1, 50 * MS, 10 * MS);
    }
    CHECK_EQ(chosen->addr.remote.ip[3], 3);
}

TEST(in_doubt_packets_go_to_the_standby_that_the_peer_speaks_on)
{
    static const uint32_t ip[] = {0x05000001, 0x05000002, 0x05000003};
    struct cv_path_addr first = at(ip[0]), other = at(ip[2]);

    prove(ip[0], 20 * MS);
    cv_pathset_packet(&ps, &first, 1200, now);
    cv_pathset_in_flight(&ps, true, now);
    while (ps.path[0].state == CV_PATH_SELECTED)
        run(10 * MS);
    prove(ip[1], 50 * MS);
    prove(ip[2], 51 * MS);
    cv_pathset_packet(&ps, &other, 1200, now);
    memset(bytes_to, 0, sizeof bytes_to);
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
    CHECK_EQ(bytes_to[2], 0);
    CHECK_EQ(bytes_to[3], 1200);
}

TEST(a_standby_not_heard_of_lately_is_asked_when_it_is_taken)
{
    static const uint32_t both[] = {0x05000001, 0x05000002};

    prove(both[0], 20 * MS);
    prove(both[1], 60 * MS);
    alive(both, 2, 20 * MS, 5 * CV_SECOND);
    checks_to[2] = 0;
    cv_pathset_link_down(&ps, &ps.path[0].addr, now);
    CHECK_EQ(chosen->addr.remote.ip[3], 2);
    run(MS);
    CHECK_EQ(checks_to[2], 1);
}

TEST(what_was_still_under_way_on_the_standby_is_no_turn)
{
    struct cv_path_addr a = at(0x05000001), b = at(0x05000002);

    prove(0x05000001, 20 * MS);
    prove(0x05000002, 60 * MS);
    cv_pathset_packet(&ps, &b, 1200, now);
    run(20 * MS);
    cv_pathset_packet(&ps, &a, 1200, now);
    run(10 * MS);
    cv_pathset_packet(&ps, &b, 1200, now);
    CHECK_EQ(ps.path[0].state, CV_PATH_SELECTED);
}

/* Its checks are answered, packets of the connection are not: they were lost
 * on another path, and their own time-out may be far away. */
TEST(when_a_suspect_works_and_the_peer_is_silent_it_is_told)
{
    static const uint32_t ip[] = {0x05000001};

    prove(ip[0], 20 * MS);
    cv_pathset_packet(&ps, &ps.path[0].addr, 1200, now);
    cv_pathset_in_flight(&ps, true, now);
    n_selected = 0;
    alive(ip, 1, 20 * MS, 2 * CV_SECOND);
    CHECK(n_selected >= 5);
    n_selected = 0;
    for (unsigned i = 0; i < 40; i++) { /* an answer comes to it */
        cv_pathset_packet(&ps, &ps.path[0].addr, 1200, now);
        alive(ip, 1, 20 * MS, 50 * MS);
    }
    CHECK_EQ(n_selected, 0);
}

TEST(dead_paths_are_asked_after_5_15_60_and_300_seconds)
{
    static const uint32_t other[] = {0x05000002};
    static const cv_time gap[] = {5, 15, 60, 300, 300};

    prove(0x05000001, 20 * MS);
    prove(0x05000002, 60 * MS);
    cv_pathset_in_flight(&ps, true, now);
    while (ps.path[0].state != CV_PATH_DEAD)
        alive(other, 1, 60 * MS, 10 * MS);
    cv_pathset_in_flight(&ps, false, now);
    for (unsigned i = 0; i < 5; i++) {
        checks_to[1] = 0;
        alive(other, 1, 60 * MS, gap[i] * CV_SECOND - 100 * MS);
        CHECK_EQ(checks_to[1], 0);
        alive(other, 1, 60 * MS, 100 * MS);
        CHECK_EQ(checks_to[1], 1);
    }
}

TEST(dead_paths_are_asked_as_often_as_is_wanted)
{
    static const uint32_t other[] = {0x05000002};

    ps.retry = 200 * MS;
    prove(0x05000001, 20 * MS);
    prove(0x05000002, 60 * MS);
    cv_pathset_in_flight(&ps, true, now);
    while (ps.path[0].state != CV_PATH_DEAD)
        alive(other, 1, 60 * MS, 10 * MS);
    checks_to[1] = 0;
    alive(other, 1, 60 * MS, CV_SECOND);
    CHECK(checks_to[1] >= 4 && checks_to[1] <= 5);
}

TEST(a_suspect_that_answers_is_selected_again)
{
    struct cv_path_addr a = at(0x05000001);

    prove(0x05000001, 20 * MS);
    cv_pathset_in_flight(&ps, true, now);
    run(300 * MS);
    CHECK_EQ(ps.path[0].state, CV_PATH_SUSPECT);
    CHECK(checks_to[1] >= 3); /* 0, 50, 100 ms */
    cv_pathset_answered(&ps, &a, 20 * MS, now);
    CHECK_EQ(ps.path[0].state, CV_PATH_SELECTED);
    CHECK_EQ(n_selected, 2); /* what is in flight may be lost */
}

TEST(with_another_path_three_lost_checks_kill_and_without_three_seconds)
{
    static const uint32_t other[] = {0x05000002};
    cv_time start;

    prove(0x05000001, 20 * MS);
    prove(0x05000002, 60 * MS);
    cv_pathset_in_flight(&ps, true, now);
    start = now;
    while (chosen->addr.remote.ip[3] == 1)
        alive(other, 1, 60 * MS, 10 * MS);
    CHECK(now - start < 700 * MS);
    CHECK_EQ(ps.path[0].state, CV_PATH_DEAD);

    setup(NULL);
    prove(0x05000001, 20 * MS);
    cv_pathset_in_flight(&ps, true, now);
    start = now;
    while (chosen)
        run(10 * MS);
    CHECK(now - start > 3 * CV_SECOND && now - start < 3500 * MS);
    CHECK_EQ(n_selected, 2);
    /* It goes on asking, at least every two seconds. */
    n_checks = 0;
    run(20 * CV_SECOND);
    CHECK(n_checks >= 10 && n_checks <= 40);
    prove(0x05000001, 20 * MS);
    CHECK(chosen != NULL);
    CHECK_EQ(n_proved, 2);
}

static unsigned n_silent;

static void on_silent(void *user, bool silent, cv_time when)
{
    (void)user;
    (void)when;
    n_silent += silent;
}

/* Two paths between the same NATs end together; one elsewhere does not. */
TEST(of_paths_to_one_address_none_is_hoped_for_when_one_falls_silent)
{
    static const struct cv_pathset_events with_silence = {
        .selected = on_selected, .silent = on_silent};

    for (unsigned elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct cv_path_addr second = at(elsewhere ? 0x0a000002 : 0x0a000001);

        CHECK_EQ(setup(NULL), 0);
        ps.events = &with_silence;
        n_silent = 0;
        second.remote.port++;
        prove(0x0a000001, 50 * MS);
        CHECK(cv_pathset_met(&ps, &second, now) != NULL);
        cv_pathset_answered(&ps, &second, 50 * MS, now);
        cv_pathset_in_flight(&ps, true, now);
        run(400 * MS);
        CHECK_EQ(n_silent, elsewhere ? 0 : 1);
        CHECK(checks_to[1] >= 2);
        /* The second one speaks: it is good after all. */
        cv_pathset_answered(&ps, &second, 50 * MS, now);
        CHECK(!ps.told_silent);
    }
}

/* Each rebinding leaves a dead path behind. */
TEST(there_is_always_room_for_a_path_of_another_attempt)
{
    struct cv_path_addr first = at(0x0a000001);
    struct cv_path proved = {.srtt = 20 * MS, .rttvar = MS};

    CHECK(cv_pathset_candidate(&ps, &first, now) != NULL);
    for (unsigned i = 0; i < 3 * CV_PATHS_MAX; i++) {
        proved.addr = at(0x0a000002);
        proved.addr.remote.port = (uint16_t)(2000 + i);
        cv_pathset_adopt(&ps, &proved, now);
        REQUIRE(cv_pathset_find(&ps, &proved.addr) != NULL);
        cv_pathset_in_flight(&ps, false, now);
        cv_pathset_in_flight(&ps, true, now);
        run(6 * CV_SECOND); /* and nothing answers */
        CHECK_EQ(cv_pathset_find(&ps, &proved.addr)->state, CV_PATH_DEAD);
    }
    CHECK(cv_pathset_find(&ps, &first) != NULL); /* the attempt's */
}

TEST(packets_from_elsewhere_cause_a_few_checks_and_move_nothing)
{
    prove(0x05000001, 20 * MS);
    run(2 * CV_SECOND);
    n_checks = 0;
    memset(checks_to, 0, sizeof checks_to);
    for (unsigned i = 0; i < 500; i++) {
        struct cv_path_addr a = at(0x06000000 + (i << 8) + 2);

        cv_pathset_packet(&ps, &a, 1200, now);
    }
    CHECK(checks_to[2] <= CV_PATH_STRAY_CHECKS);
    CHECK(checks_to[2] >= 1);
    CHECK_EQ(chosen->addr.remote.ip[0], 5);
    /* Nothing shorter than a check causes one. */
    setup(NULL);
    prove(0x05000001, 20 * MS);
    n_checks = 0;
    for (unsigned i = 0; i < 10; i++) {
        struct cv_path_addr a = at(0x06000000 + (i << 8) + 2);

        cv_pathset_packet(&ps, &a, 40, now);
    }
    CHECK_EQ(checks_to[2], 0);
}

TEST(the_table_is_bounded_and_keeps_what_is_good)
{
    static const uint32_t good = 0x05000001;

    prove(0x05000001, 20 * MS);
    for (unsigned i = 0; i < 1000; i++) {
        struct cv_path_addr a = at(0x07000000 + (i << 8) + 3);

        cv_pathset_requested(&ps, &a, 88, 60, now);
        alive(&good, 1, 10 * MS, 20 * MS);
    }
    CHECK(chosen != NULL);
    CHECK_EQ(chosen->addr.remote.ip[0], 5);
    CHECK(checks_to[3] < 300);
}

TEST(a_changed_network_is_looked_at_at_once)
{
    static const uint32_t good = 0x05000001;

    prove(good, 20 * MS);
    alive(&good, 1, 10 * MS, 3 * CV_SECOND);
    memset(checks_to, 0, sizeof checks_to);
    cv_pathset_network_changed(&ps, now);
    CHECK_EQ(ps.path[0].state, CV_PATH_SUSPECT);
    CHECK_EQ(checks_to[1], 1);
}

TEST(a_full_carrier_is_reported_and_one_of_two_is_enough)
{
    prove(0x05000001, 20 * MS);
    full = CV_ERR_AGAIN;
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_ERR_AGAIN);
    full = CV_OK;
    CHECK_EQ(cv_pathset_send(&ps, now, data, 1200, 1200), CV_OK);
}

TEST(a_stream_that_stops_is_a_reason_to_ask)
{
    struct cv_path_addr a = at(0x05000001);

    prove(0x05000001, 20 * MS);
    run(100 * MS);
    cv_pathset_answered(&ps, &a, 20 * MS, now);
    for (unsigned i = 0; i < 5; i++) { /* settle */
        run(500 * MS);
        cv_pathset_answered(&ps, &a, 20 * MS, now);
    }
    for (unsigned i = 0; i < 50; i++) {
        cv_pathset_packet(&ps, &a, 1200, now);
        run(5 * MS);
    }
    memset(checks_to, 0, sizeof checks_to);
    run(140 * MS);
    CHECK_EQ(checks_to[1], 0);
    run(10 * MS);
    CHECK_EQ(checks_to[1], 1);
    CHECK_EQ(ps.path[0].state, CV_PATH_SELECTED);
    run(150 * MS); /* no longer than data would wait */
    CHECK_EQ(ps.path[0].state, CV_PATH_SUSPECT);
}

TEST(the_pace_of_a_stream_says_when_it_has_stopped)
{
    struct cv_path_addr a = at(0x05000001);

    prove(0x05000001, 20 * MS);
    for (unsigned i = 0; i < 6; i++) { /* settle */
        run(500 * MS);
        cv_pathset_answered(&ps, &a, 20 * MS, now);
    }
    for (unsigned i = 0; i < 20; i++) {
        cv_pathset_packet(&ps, &a, 100, now);
        run(60 * MS);
    }
    memset(checks_to, 0, sizeof checks_to);
    run(60 * MS); /* 120 ms after the last one */
    CHECK_EQ(checks_to[1], 0);
    run(40 * MS); /* a round trip and a pause, and 50 ms; 150 at least */
    CHECK_EQ(checks_to[1], 1);
    cv_pathset_answered(&ps, &a, 20 * MS, now);
    run(5 * CV_SECOND); /* it was asked once */
    CHECK_EQ(checks_to[1], 1);
    for (unsigned i = 0; i < 8; i++) { /* these are none */
        cv_pathset_packet(&ps, &a, 100, now);
        run(1100 * MS);
    }
    CHECK_EQ(checks_to[1], 1);
}

#define S(name) cmocka_unit_test_setup(name, setup)
RUN_TESTS(S(nothing_is_sent_before_a_path_is_proved_or_heard),
          S(where_a_moved_peer_speaks_from_packets_go_at_once),
          S(a_path_of_another_attempt_is_used_and_asked),
          S(where_the_peer_was_just_heard_is_promising_until_it_is_proved),
          S(a_link_is_promising_when_it_is_there_or_a_check_comes_over_it),
          S(an_address_that_is_only_heard_gets_three_times_what_it_sent),
          S(the_first_proved_path_is_selected_at_once),
          S(an_answer_that_was_held_up_at_first_is_forgotten),
          S(a_better_tier_wins_after_a_second_and_a_little_better_path_never),
          S(ipv6_has_three_milliseconds_in_hand_but_not_more),
          S(silence_with_data_in_flight_makes_a_path_suspect),
          S(with_a_standby_it_is_told_at_once_what_may_be_lost),
          S(a_peer_that_turns_to_the_standby_makes_the_path_in_use_suspect),
          S(after_a_death_the_path_counts_where_the_peer_was_heard_last),
          S(in_doubt_packets_go_to_the_standby_that_the_peer_speaks_on),
          S(a_standby_not_heard_of_lately_is_asked_when_it_is_taken),
          S(what_was_still_under_way_on_the_standby_is_no_turn),
          S(when_a_suspect_works_and_the_peer_is_silent_it_is_told),
          S(dead_paths_are_asked_after_5_15_60_and_300_seconds),
          S(dead_paths_are_asked_as_often_as_is_wanted),
          S(a_suspect_that_answers_is_selected_again),
          S(with_another_path_three_lost_checks_kill_and_without_three_seconds),
          S(of_paths_to_one_address_none_is_hoped_for_when_one_falls_silent),
          S(there_is_always_room_for_a_path_of_another_attempt),
          S(packets_from_elsewhere_cause_a_few_checks_and_move_nothing),
          S(the_table_is_bounded_and_keeps_what_is_good),
          S(a_changed_network_is_looked_at_at_once),
          S(a_full_carrier_is_reported_and_one_of_two_is_enough),
          S(a_stream_that_stops_is_a_reason_to_ask),
          S(the_pace_of_a_stream_says_when_it_has_stopped))
