/* Two nodes' gates and a real gate between them, on loopback: what a channel
 * carries, over the link and over UDP, and what happens when one dies. */
#include "gate/server.h"
#include "tests/kit.h"
#include "transport/gates.h"
#include "transport/udp.h"

struct node {
    struct cv_keypair key;
    struct cv_gates *gates;
    struct cv_udp *udp;
    bool deaf;    /* UDP comes no more */
    bool answers; /* a ring, within its event */
    unsigned udp_data;
    struct cv_path_addr path;
    unsigned rung, gone, reached;
    uint8_t tag[CV_GATE_TAG];
    char knock[64];
    char got[4096];
    char why[256];
};

static struct cv_loop *loop;
static struct cv_gate_server *server;
static struct cv_keypair gate_key;
static struct cv_gate_limits limits;
static struct node host, guest;
static const uint8_t room_key[CV_GATE_ROOM_KEY] = {1, 2, 3};

static void on_rung(void *user, const uint8_t room[CV_GATE_ROOM],
                    const uint8_t tag[CV_GATE_TAG], struct cv_bytes knock)
{
    struct node *n = user;

    (void)room;
    n->rung++;
    memcpy(n->tag, tag, CV_GATE_TAG);
    snprintf(n->knock, sizeof n->knock, "%.*s", (int)knock.len,
             (const char *)knock.data);
    if (!n->answers)
        return;
    REQUIRE(cv_gates_claim(n->gates, tag, &n->path) == CV_OK);
    cv_gates_deliver(n->gates, &n->path);
    REQUIRE(cv_gates_send(n->gates, &n->path, (const uint8_t *)"at once", 7,
                          7) == CV_OK);
}

static void on_packet(void *user, const struct cv_path_addr *via,
                      const uint8_t *data, size_t len)
{
    struct node *n = user;
    size_t have = strlen(n->got);

    (void)via;
    if (have + len < sizeof n->got)
        memcpy(n->got + have, data, len);
}

static void on_gone(void *user, const uint8_t tag[CV_GATE_TAG],
                    const struct cv_path_addr *path, const char *why)
{
    struct node *n = user;

    (void)tag;
    (void)path;
    n->gone++;
    snprintf(n->why, sizeof n->why, "%s", why);
}

static void nothing(void *user)
{
    (void)user;
}

static int on_udp_out(void *user, const struct cv_addr *to, const uint8_t *data,
                      size_t len, size_t segment)
{
    struct node *n = user;

    return cv_udp_send(n->udp, to, NULL, 0, data, len, segment);
}

static void on_opened(void *user, const uint8_t tag[CV_GATE_TAG])
{
    (void)user;
    (void)tag;
}

static void on_reached(void *user, const uint8_t tag[CV_GATE_TAG])
{
    struct node *n = user;

    (void)tag;
    n->reached++;
}

static void on_found(void *user, const uint8_t loc[20], struct cv_bytes sealed)
{
    struct node *n = user;

    REQUIRE(loc[0] == 77);
    snprintf(n->got, sizeof n->got, "%.*s", (int)sealed.len,
             (const char *)sealed.data);
}

static const struct cv_gates_events gates_events = {.rung = on_rung,
                                                    .opened = on_opened,
                                                    .reached = on_reached,
                                                    .packet = on_packet,
                                                    .gone = on_gone,
                                                    .batch = nothing,
                                                    .writable = nothing,
                                                    .found = on_found,
                                                    .changed = nothing,
                                                    .udp = on_udp_out};

static void on_udp_in(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *data,
                      size_t len)
{
    struct node *n = user;

    (void)local;
    if (n->deaf)
        return;
    n->udp_data += data[0] == CV_GATE_UDP_DATA;
    cv_gates_udp_input(n->gates, from, data, len);
}

static const struct cv_udp_events udp_events = {.packet = on_udp_in,
                                                .batch = nothing};

static void open_server(uint16_t port, bool udp)
{
    struct cv_gate_server_config config = {.loop = loop, .n_listen = 1};
    char why[300];

    config.listen[0] = cv_addr_ipv4(0x7f000001, port);
    config.udp = udp;
    config.core.key = &gate_key;
    config.core.rng = &cv_rng_system;
    config.core.limits = limits;
    REQUIRE(cv_gate_server_new(&server, &config, why, sizeof why) == CV_OK);
}

static void open_node(struct node *n, uint8_t seed)
{
    struct cv_gates_config config = {.loop = loop, .rng = &cv_rng_system};

    memset(n, 0, sizeof *n);
    n->key = key_of(seed);
    config.node = &n->key;
    REQUIRE(cv_gates_new(&n->gates, &config, &gates_events, n) == CV_OK);
    REQUIRE(cv_udp_new(&n->udp, loop, NULL, 0, &udp_events, n) == CV_OK);
}

static struct cv_gate_name gate_name(void)
{
    struct cv_gate_name name = {.key = gate_key.pub,
                                .port = cv_gate_server_port(server)};

    strcpy(name.host, "127.0.0.1");
    return name;
}

static bool is_up(const struct node *n)
{
    struct cv_gates_info info;

    return cv_gates_list(n->gates, &info, 1) > 0 &&
           info.state == CV_GATELINK_UP;
}

/* With `limits`. */
static void begin(bool udp)
{
    struct cv_gate_name name;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    gate_key = key_of(200);
    open_server(0, udp);
    open_node(&host, 1);
    open_node(&guest, 2);
    name = gate_name();
    REQUIRE(cv_gates_add(host.gates, &name, NULL) == CV_OK);
    REQUIRE(cv_gates_add(host.gates, &name, NULL) == CV_ERR_EXISTS);
    cv_gates_set_rooms(host.gates, &room_key, 1);
    WAIT(is_up(&host), 5 * CV_SECOND);
    REQUIRE(is_up(&host));
    WAIT(false, 20 * CV_MILLISECOND); /* and its room is registered */
}

static void setup(bool udp)
{
    limits = cv_gate_limits_default();
    begin(udp);
}

static void link_guest(void)
{
    struct cv_gate_name name = gate_name();

    REQUIRE(cv_gates_add(guest.gates, &name, NULL) == CV_OK);
    WAIT(is_up(&guest), 5 * CV_SECOND);
}

static void teardown(void)
{
    cv_gates_free(host.gates);
    cv_gates_free(guest.gates);
    cv_udp_free(host.udp);
    cv_udp_free(guest.udp);
    cv_gate_server_free(server);
    server = NULL;
    cv_loop_free(loop);
}

static void say(struct node *n, const char *text)
{
    int err = cv_gates_send(n->gates, &n->path, (const uint8_t *)text,
                            strlen(text), strlen(text));

    REQUIRE(err == CV_OK);
}

/* The guest asks for a channel, with or without a knock. */
static void ask(uint8_t number, struct cv_bytes knock)
{
    struct cv_gate_name name = gate_name();
    uint8_t tag[CV_GATE_TAG];

    memset(tag, number, sizeof tag);
    REQUIRE(cv_gates_ring(guest.gates, &name, &host.key.pub, room_key, tag,
                          knock, &guest.path) == CV_OK);
}

static void knock(uint8_t number)
{
    ask(number, CV_LITERAL("knock"));
}

static void ring(uint8_t number)
{
    uint8_t tag[CV_GATE_TAG];

    memset(tag, number, sizeof tag);
    knock(number);
    say(&guest, "first ");
    say(&guest, "second ");
    WAIT(host.rung, 5 * CV_SECOND);
    REQUIRE(host.rung == 1);
    REQUIRE(strcmp(host.knock, "knock") == 0);
    REQUIRE(memcmp(host.tag, tag, sizeof tag) == 0);
    REQUIRE(cv_gates_claim(host.gates, host.tag, &host.path) == CV_OK);
    cv_gates_deliver(host.gates, &host.path);
}

TEST(a_knock_brings_the_first_packet_and_the_rest_follow_in_order)
{
    setup(false);
    ring(7);
    CHECK_STR(host.got, "first "); /* with the knock, before any answer */
    WAIT(strlen(host.got) > 6, 5 * CV_SECOND);
    CHECK_STR(host.got, "first second ");
    say(&host, "answer");
    WAIT(guest.got[0], 5 * CV_SECOND);
    CHECK_STR(guest.got, "answer");
    CHECK(!cv_gates_is_udp(host.gates, &host.path));
    cv_gates_close(guest.gates, &guest.path);
    WAIT(host.gone, 5 * CV_SECOND);
    CHECK_EQ(host.gone, 1);
    CHECK_EQ(guest.gone, 0);
    teardown();
}

/* The packet may come a moment after the ring, and the answer before the
 * channel is open. */
TEST(a_ring_waits_for_its_packet_and_the_answer_for_the_channel)
{
    setup(false);
    link_guest();
    knock(9);
    cv_loop_once(loop, cv_time_now()); /* its timer may be due */
    say(&guest, "first ");
    host.answers = true;
    WAIT(host.rung, 5 * CV_SECOND);
    CHECK_STR(host.got, "first ");
    WAIT(guest.got[0], 5 * CV_SECOND);
    CHECK_STR(guest.got, "at once");
    teardown();
}

TEST(packets_go_over_udp_as_soon_as_it_gets_through)
{
    setup(true);
    ring(7);
    WAIT(cv_gates_is_udp(host.gates, &host.path) &&
             cv_gates_is_udp(guest.gates, &guest.path),
         5 * CV_SECOND);
    CHECK(cv_gates_is_udp(host.gates, &host.path));
    CHECK(cv_gates_is_udp(guest.gates, &guest.path));
    memset(host.got, 0, sizeof host.got);
    say(&guest, "over udp");
    WAIT(host.got[0], 5 * CV_SECOND);
    CHECK_STR(host.got, "over udp");
    CHECK(host.udp_data > 0);
    teardown();
}

/* Both directions come back to the link, whatever died. */
TEST(when_udp_falls_silent_the_link_carries_on)
{
    cv_time until;

    setup(true);
    ring(7);
    WAIT(cv_gates_is_udp(host.gates, &host.path) &&
             cv_gates_is_udp(guest.gates, &guest.path),
         5 * CV_SECOND);
    guest.deaf = true;
    until = cv_time_now() + 5 * CV_SECOND;
    while (cv_gates_is_udp(guest.gates, &guest.path) && cv_time_now() < until) {
        say(&guest, "x");
        cv_loop_once(loop, cv_time_now() + 20 * CV_MILLISECOND);
    }
    CHECK(!cv_gates_is_udp(guest.gates, &guest.path));
    WAIT(false, 200 * CV_MILLISECOND); /* what is under way arrives */
    memset(guest.got, 0, sizeof guest.got);
    memset(host.got, 0, sizeof host.got);
    say(&host, "to you");
    say(&guest, "to me");
    WAIT(guest.got[0] && host.got[0], 5 * CV_SECOND);
    CHECK_STR(guest.got, "to you");
    CHECK_STR(host.got, "to me");
    teardown();
}

TEST(who_is_not_there_is_not_reached_and_that_is_said)
{
    struct cv_gate_name name;
    uint8_t tag[CV_GATE_TAG] = {1}, other_room[CV_GATE_ROOM_KEY] = {9};

    setup(true);
    name = gate_name();
    CHECK_EQ(cv_gates_ring(guest.gates, &name, &host.key.pub, other_room, tag,
                           CV_LITERAL("knock"), &guest.path),
             CV_OK);
    WAIT(guest.gone, 5 * CV_SECOND);
    CHECK_EQ(guest.gone, 1);
    CHECK(strstr(guest.why, "nobody is there") != NULL);
    CHECK_EQ(host.rung, 0);
    teardown();
}

/* The gate lets one knock a second pass, and one channel into a room. */
static void begin_narrow(void)
{
    limits = cv_gate_limits_default();
    limits.rings_burst = 1;
    limits.channels_per_room = 1;
    begin(false);
    link_guest();
}

TEST(a_knock_too_many_is_said_again_and_its_channel_is_the_same)
{
    cv_time first;

    begin_narrow();
    first = cv_time_now();
    knock(7);
    WAIT(host.rung, 5 * CV_SECOND);
    cv_gates_close(guest.gates, &guest.path);
    WAIT(false, 50 * CV_MILLISECOND);
    guest.reached = 0;
    knock(8);
    WAIT(false, 300 * CV_MILLISECOND);
    if (cv_time_now() - first < 900 * CV_MILLISECOND) {
        CHECK_EQ(host.rung, 1);
        CHECK_EQ(guest.reached, 0);
    }
    say(&guest, "on the open channel");
    WAIT(host.rung == 2, 5 * CV_SECOND);
    CHECK_EQ(host.rung, 2);
    WAIT(guest.reached, CV_SECOND);
    CHECK_EQ(guest.reached, 1);
    CHECK_EQ(guest.gone, 0);
    CHECK_EQ(host.tag[0], 8);
    CHECK_EQ(cv_gates_claim(host.gates, host.tag, &host.path), CV_OK);
    cv_gates_deliver(host.gates, &host.path);
    CHECK_STR(host.got, "on the open channel");
    teardown();
}

/* So that nothing but the channel is limited. */
static const struct cv_bytes no_knock;

/* Does the gate give the guest a channel, within seconds? */
static bool there_is_room(void)
{
    for (uint8_t tag = 100; tag < 120; tag++) {
        guest.gone = 0;
        ask(tag, no_knock);
        WAIT(guest.gone, 100 * CV_MILLISECOND);
        if (guest.gone == 0)
            return true;
        WAIT(false, 100 * CV_MILLISECOND);
    }
    return false;
}

/* However far it has come: asked for, opened there, opened here. */
TEST(a_channel_that_is_given_up_before_it_is_open_does_not_stay_at_the_gate)
{
    begin_narrow();
    for (unsigned turns = 0; turns < 12; turns++) {
        ask(1, no_knock);
        for (unsigned i = 0; i < turns; i++)
            cv_loop_once(loop, cv_time_now() + CV_MILLISECOND);
        cv_gates_close(guest.gates, &guest.path);
        CHECK(there_is_room());
        cv_gates_close(guest.gates, &guest.path);
    }
    teardown();
}

TEST(a_channel_that_nobody_takes_does_not_stay_at_the_gate)
{
    begin_narrow();
    ask(7, no_knock);
    WAIT(guest.gone, CV_GATES_OPEN + 2 * CV_SECOND);
    CHECK_EQ(guest.gone, 1); /* the host has given it back */
    CHECK(there_is_room());
    teardown();
}

/* Looked for before there is a link, found when there is. */
TEST(a_pointer_is_kept_at_a_gate_and_found_by_others)
{
    struct cv_gate_name name;
    const uint8_t loc[20] = {77};

    setup(true);
    name = gate_name();
    cv_gates_store(host.gates, loc, 100, CV_LITERAL("old"));
    cv_gates_store(host.gates, loc, 100, CV_LITERAL("sealed"));
    CHECK_EQ(cv_gates_add(guest.gates, &name, NULL), CV_OK);
    cv_gates_look(guest.gates, loc);
    WAIT(guest.got[0], 5 * CV_SECOND);
    CHECK_STR(guest.got, "sealed");
    teardown();
}

TEST(a_gate_that_dies_takes_its_channels_and_they_can_be_had_again)
{
    uint16_t port;

    setup(true);
    ring(7);
    port = cv_gate_server_port(server);
    cv_gate_server_free(server);
    server = NULL;
    WAIT(host.gone && guest.gone, 5 * CV_SECOND);
    CHECK(host.gone == 1 && guest.gone == 1);
    open_server(port, true);
    WAIT(is_up(&host), 10 * CV_SECOND);
    CHECK(is_up(&host));
    WAIT(false, 50 * CV_MILLISECOND);
    host.rung = 0;
    memset(host.got, 0, sizeof host.got);
    ring(8);
    WAIT(strlen(host.got) > 6, 5 * CV_SECOND);
    CHECK_STR(host.got, "first second ");
    teardown();
}

RUN_TESTS(
    T(a_knock_brings_the_first_packet_and_the_rest_follow_in_order),
    T(a_ring_waits_for_its_packet_and_the_answer_for_the_channel),
    T(packets_go_over_udp_as_soon_as_it_gets_through),
    T(when_udp_falls_silent_the_link_carries_on),
    T(who_is_not_there_is_not_reached_and_that_is_said),
    T(a_knock_too_many_is_said_again_and_its_channel_is_the_same),
    T(a_channel_that_is_given_up_before_it_is_open_does_not_stay_at_the_gate),
    T(a_channel_that_nobody_takes_does_not_stay_at_the_gate),
    T(a_pointer_is_kept_at_a_gate_and_found_by_others),
    T(a_gate_that_dies_takes_its_channels_and_they_can_be_had_again))
