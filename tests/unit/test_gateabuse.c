/* What a gate's core does to those who break rules, and what it costs. */
#include "tests/unit/gate_kit.h"

#define SPOOFED 100000u

static struct cv_addr spoofed(unsigned i)
{
    return cv_addr_ipv4(0x0b000000u + i, (uint16_t)(1024 + i % 60000));
}

static void flood_udp(struct kit *k, const uint8_t *packet, size_t len)
{
    const struct cv_addr *to;
    uint8_t data[2048];

    for (unsigned i = 0; i < SPOOFED; i++) {
        struct cv_addr from = spoofed(i);

        memcpy(data, packet, len);
        REQUIRE(!kit_udp_in(k, &from, data, len, &to));
    }
}

/* Nothing is kept for an address that was not proved, and nothing is sent. */
TEST(spoofed_datagrams_leave_no_trace)
{
    static const uint8_t types[] = {CV_GATE_UDP_BIND, CV_GATE_UDP_BOUND,
                                    CV_GATE_UDP_DATA, CV_GATE_UDP_ASK,
                                    CV_GATE_UDP_ANSWER};
    struct kit *k = kit_new();
    struct cv_gate_gauges before, after;
    uint8_t packet[100] = {0};

    kit_init(k);
    (void)kit_join(k, 1);
    before = cv_gate_core_gauges(k->core);
    for (size_t i = 0; i < sizeof types; i++) {
        packet[0] = types[i];
        flood_udp(k, packet, sizeof packet);
        flood_udp(k, packet, 64);
        flood_udp(k, packet, 1);
    }
    after = cv_gate_core_gauges(k->core);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK_EQ(k->n_udp, 0);
    kit_fini(k);
}

/* An attacker with a channel of its own lets others' addresses be answered: no
 * more bytes than it sent, and as few as its limit says. */
TEST(a_client_that_spoofs_addresses_sends_them_less_than_it_sent)
{
    struct kit *k = kit_new();
    struct kit_link *a, *b;
    struct kit_channel ch;
    struct cv_gate_bind bind = {0};
    uint8_t room[CV_GATE_ROOM], out[CV_GATE_UDP_BIND_LEN];
    const struct cv_addr *to;
    struct cv_addr victim = cv_addr_ipv4(0x01020304, 53);

    kit_init(k);
    a = kit_join(k, 1);
    b = kit_join(k, 2);
    kit_register(k, b, 3, room);
    ch = kit_open(k, a, b, room);
    bind.channel = ch.caller.u.opened.channel;
    for (unsigned i = 0; i < 10000; i++) {
        bind.counter = i + 1;
        cv_gate_bind_write(out, &bind, ch.caller.u.opened.key);
        CHECK(!kit_udp_in(k, &victim, out, sizeof out, &to));
    }
    CHECK(k->n_udp > 0);
    CHECK(k->n_udp <= 2 * k->config.limits.asks_per_source);
    for (unsigned i = 0; i < KIT_UDP && i < k->n_udp; i++)
        CHECK(k->udp[i].len <= sizeof out);
    /* The other end's own limit is another: it can still bind. */
    kit_bind(k, &ch.owner, &b->addr, 1);
    kit_fini(k);
}

TEST(an_authentication_is_good_for_one_link)
{
    struct kit *k = kit_new();
    struct kit_link *l, *again;
    struct cv_gate_auth auth = {0};
    struct cv_gate_frame f = {.type = CV_GATE_AUTH};

    kit_init(k);
    l = kit_connect(k, 1);
    kit_prove(k, l, &auth, (struct cv_bytes){0});
    CHECK(!l->closed);
    again = kit_connect(k, 1); /* the same exporter: the worst case */
    f.u.auth = auth;
    kit_say(k, again, &f);
    CHECK(again->closed);
    CHECK_EQ(cv_gate_core_counters(k->core)->auth_failed, 1);
    CHECK_EQ(cv_gate_core_gauges(k->core).links, 1);
    kit_fini(k);
}

TEST(a_registration_by_ticket_counts_once)
{
    struct kit *k = kit_new();
    struct kit_link *l;
    struct cv_gate_ask ask = {0};
    uint8_t first[256], data[256];
    struct cv_writer w;
    const struct cv_addr *to;
    struct cv_gate_ask answer;
    size_t len;

    kit_init(k);
    l = kit_join(k, 1);
    memcpy(ask.ticket, l->welcome.ticket, sizeof ask.ticket);
    ask.frame.type = CV_GATE_REGISTER;
    for (ask.counter = 1; ask.counter <= 2; ask.counter++) {
        cv_writer_init(&w, first, sizeof first);
        REQUIRE(cv_gate_ask_write(&w, false, &ask, l->welcome.ticket_key) ==
                CV_OK);
        memcpy(data, first, w.len);
        CHECK(!kit_udp_in(k, &l->addr, data, w.len, &to));
        REQUIRE(cv_gate_ask_read(&answer, true, kit_last_udp(k)->data,
                                 kit_last_udp(k)->len,
                                 l->welcome.ticket_key) == CV_OK);
        memcpy(ask.cookie, answer.cookie, sizeof ask.cookie);
    }
    CHECK_EQ(cv_gate_core_counters(k->core)->registrations, 1);
    len = w.len;
    for (unsigned i = 0; i < 10; i++) {
        unsigned n = k->n_udp;

        memcpy(data, first, len);
        CHECK(!kit_udp_in(k, &l->addr, data, len, &to));
        CHECK_EQ(k->n_udp, n);
    }
    CHECK_EQ(cv_gate_core_counters(k->core)->registrations, 1);
    kit_fini(k);
}

/* Connections that were let through before they counted as links. */
TEST(links_that_became_ready_together_are_limited_too)
{
    struct kit *k = kit_new();
    struct kit_link *l = &k->link[KIT_LINKS - 1];
    unsigned n = 0;

    kit_init(k);
    l->addr = cv_addr_ipv4(0x0a000001, 1);
    while (n < 100 &&
           cv_gate_link_open(k->core, l, &l->addr, l->exporter, k->now) != NULL)
        n++;
    CHECK_EQ(n, k->config.limits.links_per_source);
    l->addr = cv_addr_ipv4(0x0a000002, 1);
    CHECK(cv_gate_link_open(k->core, l, &l->addr, l->exporter, k->now) != NULL);
    kit_fini(k);
}

/* Every frame costs, those that carry nothing too. */
TEST(a_flood_of_frames_is_held_up)
{
    static const enum cv_gate_type types[] = {CV_GATE_PING,  CV_GATE_REGISTER,
                                              CV_GATE_OPEN,  CV_GATE_VOUCH,
                                              CV_GATE_FETCH, CV_GATE_UNBIND};
    struct kit *k = kit_new();

    kit_init(k);
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        struct kit_link *l = kit_join(k, (uint8_t)(t + 1));
        unsigned n = 0;

        l->full = true;
        while (n < 1000000 &&
               cv_gate_link_paused(l->client, k->now) <= k->now) {
            struct cv_gate_frame f = {.type = types[t]};

            memcpy(f.u.room, &n, sizeof n);
            kit_say(k, l, &f);
            n++;
        }
        CHECK(n > 1000);
        CHECK(n <= k->config.limits.burst / CV_GATE_FRAME_COST + 1);
        CHECK(cv_gate_core_gauges(k->core).rooms <=
              k->config.limits.rooms_per_client);
    }
    CHECK_EQ(cv_gate_core_gauges(k->core).channels, 0);
    kit_fini(k);
}

TEST(frames_that_cannot_be_read_end_the_link_or_are_passed_over)
{
    static const uint8_t huge[] = {0xff, 0xff, CV_GATE_PING};
    static const uint8_t empty[] = {0, 0, 0};
    static const uint8_t unknown[] = {0, 3, 0x7f, 1, 2};
    static const uint8_t short_ping[] = {0, 2, CV_GATE_PING, 1};
    struct kit *k = kit_new();
    struct kit_link *l;

    kit_init(k);
    l = kit_join(k, 1);
    CHECK(cv_gate_link_input(l->client, huge, sizeof huge, k->now) < 0);
    CHECK(l->closed);
    l = kit_join(k, 2);
    CHECK(cv_gate_link_input(l->client, empty, sizeof empty, k->now) < 0);
    CHECK(l->closed);
    l = kit_join(k, 3);
    CHECK_EQ(cv_gate_link_input(l->client, unknown, sizeof unknown, k->now),
             sizeof unknown);
    CHECK_EQ(
        cv_gate_link_input(l->client, short_ping, sizeof short_ping, k->now),
        sizeof short_ping);
    CHECK(!l->closed);
    CHECK_EQ(cv_gate_core_counters(k->core)->bad_frames, 4);
    kit_fini(k);
}

/* A channel of others, and one that is no more. */
TEST(packets_to_channels_of_others_go_nowhere)
{
    struct kit *k = kit_new();
    struct kit_link *a, *b, *thief;
    struct kit_channel ch;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    uint8_t room[CV_GATE_ROOM];
    size_t before;

    kit_init(k);
    a = kit_join(k, 1);
    b = kit_join(k, 2);
    thief = kit_join(k, 3);
    kit_register(k, b, 3, room);
    ch = kit_open(k, a, b, room);
    before = a->len + b->len;
    f.u.data.packet = CV_LITERAL("mine");
    f.u.data.channel = ch.caller.u.opened.channel;
    kit_say(k, thief, &f);
    f.u.data.channel = ch.owner.u.opened.channel;
    kit_say(k, thief, &f);
    f = (struct cv_gate_frame){.type = CV_GATE_CLOSE,
                               .u.channel = ch.owner.u.opened.channel};
    kit_say(k, thief, &f);
    CHECK_EQ(a->len + b->len, before);
    CHECK_EQ(cv_gate_core_counters(k->core)->packets_unknown, 2);
    CHECK_EQ(cv_gate_core_gauges(k->core).channels, 1);
    kit_fini(k);
}

RUN_TESTS(T(spoofed_datagrams_leave_no_trace),
          T(a_client_that_spoofs_addresses_sends_them_less_than_it_sent),
          T(an_authentication_is_good_for_one_link),
          T(a_registration_by_ticket_counts_once),
          T(links_that_became_ready_together_are_limited_too),
          T(a_flood_of_frames_is_held_up),
          T(frames_that_cannot_be_read_end_the_link_or_are_passed_over),
          T(packets_to_channels_of_others_go_nowhere))
