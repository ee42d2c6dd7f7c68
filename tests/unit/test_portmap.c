/* The port mapping machine on a virtual clock, against a gateway that speaks
 * what a test lets it speak. */
#include "tests/test.h"
#include "transport/portmap.h"

#define INTERNAL 40000

static struct cv_rng_seeded seed;
static struct cv_rng rng;
static struct cv_portmap pm;
static cv_time now;
static struct cv_addr gateway, client;
static unsigned n_changed, n_finds, n_unmaps;
static unsigned n_upnp_maps[CV_PORTMAP_PORTS];

/* The gateway: which protocols it speaks, and what it says. */
static struct {
    bool pcp, natpmp;
    uint16_t pcp_result, natpmp_result;
    uint32_t lifetime, lifetime_of_error;
    cv_time booted; /* its clock stood at 0 then */
    struct cv_addr outside;
} gw;

#define SENT_MAX 512
static struct sent {
    uint8_t data[64];
    size_t len;
    cv_time at;
} sent[SENT_MAX];
static unsigned n_sent;

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static void answer(const uint8_t *data, size_t len)
{
    cv_portmap_input(&pm, &pm.gateway, CV_BYTES(data, len), now);
}

static uint32_t epoch(void)
{
    return (uint32_t)((now - gw.booted) / CV_SECOND);
}

/* Answer to a PCP MAP request, 60 bytes. */
static void pcp_answer(const uint8_t *request, uint8_t out[60])
{
    memcpy(out, request, 60);
    out[1] = 0x81;
    out[3] = (uint8_t)gw.pcp_result;
    put32(out + 4, gw.pcp_result == 0 ? gw.lifetime : gw.lifetime_of_error);
    if (request[4] == 0 && request[5] == 0 && request[6] == 0 &&
        request[7] == 0)
        put32(out + 4, 0);
    put32(out + 8, epoch());
    memset(out + 12, 0, 12);
    put16(out + 42, gw.outside.port);
    memcpy(out + 56, gw.outside.ip, 4);
}

static void natpmp_reply(const uint8_t *request, size_t len)
{
    uint8_t out[16] = {0, (uint8_t)(0x80 | request[1])};

    put16(out + 2, gw.natpmp_result);
    put32(out + 4, epoch());
    if (len == 2) {
        memcpy(out + 8, gw.outside.ip, 4);
        answer(out, 12);
        return;
    }
    memcpy(out + 8, request + 4, 2);
    put16(out + 10, gw.outside.port);
    put32(out + 12, gw.lifetime);
    answer(out, 16);
}

static void deliver(const struct sent *s)
{
    static const uint8_t wrong_version[8] = {0, 0x81, 0, 1};
    uint8_t out[60];

    if (s->data[0] == 2 && gw.pcp) {
        pcp_answer(s->data, out);
        answer(out, sizeof out);
    } else if (s->data[0] == 2 && gw.natpmp) {
        answer(wrong_version, sizeof wrong_version);
    } else if (s->data[0] == 0 && gw.natpmp) {
        natpmp_reply(s->data, s->len);
    }
}

static void on_send(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    REQUIRE(n_sent < SENT_MAX && len <= sizeof sent[0].data);
    memcpy(sent[n_sent].data, data, len);
    sent[n_sent].len = len;
    sent[n_sent++].at = now;
}

static void on_find(void *user)
{
    (void)user;
    n_finds++;
}

static void on_map(void *user, enum cv_portmap_port port, uint16_t internal,
                   uint16_t external, uint32_t lifetime)
{
    (void)user;
    REQUIRE(internal != 0 && external != 0 && lifetime == CV_PORTMAP_LEASE);
    n_upnp_maps[port]++;
}

static void on_unmap(void *user, enum cv_portmap_port port)
{
    (void)user;
    (void)port;
    n_unmaps++;
}

static void on_changed(void *user)
{
    (void)user;
    n_changed++;
}

static const struct cv_portmap_events events = {
    .send = on_send,
    .upnp_find = on_find,
    .upnp_map = on_map,
    .upnp_unmap = on_unmap,
    .changed = on_changed,
};

/* Let time pass; the gateway answers 10 ms after it is asked. */
static void run(cv_time until)
{
    static unsigned answered;

    if (n_sent < answered)
        answered = 0;
    if (n_sent == 0)
        answered = 0;
    for (;;) {
        cv_time at = cv_portmap_deadline(&pm);

        if (answered < n_sent && sent[answered].at + 10 * CV_MILLISECOND < at)
            at = sent[answered].at + 10 * CV_MILLISECOND;
        if (at > until)
            break;
        if (at > now)
            now = at;
        if (answered < n_sent &&
            sent[answered].at + 10 * CV_MILLISECOND <= now) {
            deliver(&sent[answered++]);
            continue;
        }
        cv_portmap_step(&pm, now);
        REQUIRE(cv_portmap_deadline(&pm) > now || sent[n_sent - 1].at == now);
    }
    now = until;
}

static void start(bool pcp, bool natpmp)
{
    rng = cv_rng_from_seed(&seed, 7);
    now = 1000 * CV_SECOND;
    memset(&gw, 0, sizeof gw);
    gw.pcp = pcp;
    gw.natpmp = natpmp;
    gw.lifetime = 1200;
    gw.lifetime_of_error = 300;
    gw.outside = cv_addr_ipv4(0x08080404, 51111);
    gateway = cv_addr_ipv4(0xc0a80101, 0);
    client = cv_addr_ipv4(0xc0a80102, 0);
    n_sent = n_changed = n_finds = n_unmaps = 0;
    memset(n_upnp_maps, 0, sizeof n_upnp_maps);
    cv_portmap_init(&pm, &rng, NULL, CV_PORTMAP_ALL, &events, NULL);
    cv_portmap_want(&pm, CV_PORTMAP_UDP, INTERNAL, now);
    run(now);
    cv_portmap_network(&pm, &gateway, &client, now);
}

static bool is_mapped(void)
{
    const struct cv_addr *a = cv_portmap_public(&pm, CV_PORTMAP_UDP);

    return a != NULL && cv_addr_equal(a, &gw.outside);
}

static unsigned count(uint8_t version, size_t len)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_sent; i++)
        n += sent[i].data[0] == version && sent[i].len == len;
    return n;
}

TEST(pcp_answers_first_and_wins)
{
    start(true, true);
    CHECK(!cv_portmap_settled(&pm));
    run(now + 3 * CV_SECOND);
    CHECK_EQ(pm.state, CV_PORTMAP_SERVED);
    CHECK_EQ(pm.way, CV_PORTMAP_PCP);
    CHECK(is_mapped() && cv_portmap_settled(&pm));
    CHECK_EQ(n_sent, 1);
    CHECK_EQ(count(2, 60), 1);
    cv_portmap_upnp_found(&pm, true, now);
    CHECK_EQ(pm.way, CV_PORTMAP_PCP);
    CHECK_EQ(n_upnp_maps[0], 0);
}

TEST(natpmp_serves_where_pcp_is_not_spoken)
{
    start(false, true);
    run(now + CV_SECOND);
    CHECK_EQ(pm.way, CV_PORTMAP_NATPMP);
    CHECK(is_mapped());
    CHECK_EQ(count(2, 60), 1);
    CHECK_EQ(count(0, 2), 1);
    CHECK_EQ(count(0, 12), 1);
}

TEST(upnp_serves_where_the_others_are_silent)
{
    start(false, false);
    run(now + 500 * CV_MILLISECOND);
    CHECK_EQ(n_finds, 1);
    cv_portmap_upnp_found(&pm, true, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_upnp_maps[CV_PORTMAP_UDP], 1);
    CHECK(!cv_portmap_settled(&pm));
    cv_portmap_upnp_mapped(&pm, CV_PORTMAP_UDP, CV_OK, &gw.outside, 1200, "",
                           now);
    CHECK(is_mapped());
    /* It is renewed, and given back. */
    run(now + 11 * CV_MINUTE);
    run(now + 2 * CV_MINUTE);
    CHECK_EQ(n_upnp_maps[CV_PORTMAP_UDP], 2);
    cv_portmap_close(&pm);
    CHECK_EQ(n_unmaps, 1);
}

TEST(silence_is_said_after_two_seconds_and_asked_into_ever_more_rarely)
{
    cv_time begun;

    start(false, false);
    begun = now;
    cv_portmap_upnp_found(&pm, false, now);
    run(begun + CV_PORTMAP_PATIENCE - 1);
    CHECK_EQ(pm.state, CV_PORTMAP_ASKING);
    run(begun + CV_PORTMAP_PATIENCE);
    CHECK_EQ(pm.state, CV_PORTMAP_REFUSED);
    CHECK(cv_portmap_settled(&pm));
    run(begun + 3 * CV_HOUR);
    CHECK_EQ(count(0, 2), CV_NATPMP_TRIES);
    /* 3, 6, 12 … 1024 s, each up to a tenth more or less. */
    CHECK(count(2, 60) >= 16 && count(2, 60) <= 22);
    for (unsigned i = 0, k = 0; i < n_sent; i++) {
        static cv_time last;

        if (sent[i].data[0] != 2)
            continue;
        if (k == 1)
            CHECK(sent[i].at - last >= CV_PCP_RT_FIRST * 9 / 10 &&
                  sent[i].at - last <= CV_PCP_RT_FIRST * 11 / 10);
        if (k > 1)
            CHECK(sent[i].at - last <= CV_PCP_RT_MAX * 11 / 10 + 1);
        last = sent[i].at;
        k++;
    }
    /* A gateway that comes up later is noticed. */
    gw.pcp = true;
    run(now + 20 * CV_MINUTE);
    CHECK(is_mapped());
}

TEST(a_lease_is_renewed_between_a_half_and_five_eighths)
{
    cv_time given;

    start(true, false);
    run(now + CV_SECOND);
    given = pm.lease[CV_PORTMAP_UDP].given;
    run(given + 1200 * CV_SECOND / 2 - 1);
    CHECK_EQ(count(2, 60), 1);
    run(given + 1200 * CV_SECOND * 5 / 8 + CV_SECOND);
    CHECK_EQ(count(2, 60), 2);
    CHECK(is_mapped());
    CHECK(pm.lease[CV_PORTMAP_UDP].given > given);
    /* Suggested is what we have. */
    CHECK_EQ(sent[1].data[42] << 8 | sent[1].data[43], gw.outside.port);
}

TEST(a_lease_that_is_not_renewed_ends)
{
    cv_time given;

    start(true, false);
    cv_portmap_upnp_found(&pm, false, now);
    run(now + CV_SECOND);
    given = pm.lease[CV_PORTMAP_UDP].given;
    gw.pcp = false;
    run(given + 1199 * CV_SECOND);
    CHECK(is_mapped());
    /* At 1/2, 3/4, 7/8 … of it, never within 4 s. */
    CHECK(count(2, 60) >= 5 && count(2, 60) <= 12);
    n_changed = 0;
    run(given + 1201 * CV_SECOND);
    CHECK(cv_portmap_public(&pm, CV_PORTMAP_UDP) == NULL);
    CHECK(n_changed > 0);
    gw.pcp = true;
    run(now + 30 * CV_SECOND);
    CHECK(is_mapped());
}

TEST(a_gateway_that_restarted_is_asked_again)
{
    unsigned before;

    start(true, false);
    gw.booted = now - 5000 * CV_SECOND;
    run(now + 60 * CV_SECOND);
    CHECK(is_mapped());
    before = n_sent;
    gw.booted = now;
    gw.outside.port = 52222;
    {
        uint8_t news[24] = {2, 0x80};

        put32(news + 8, epoch());
        answer(news, sizeof news);
    }
    run(now + CV_PORTMAP_RECOVER + CV_SECOND);
    CHECK(n_sent > before);
    CHECK(is_mapped());
}

TEST(a_clock_that_runs_as_ours_is_no_restart)
{
    unsigned before;
    uint8_t news[24] = {2, 0x80};

    start(true, false);
    gw.booted = now - 5000 * CV_SECOND;
    run(now + 60 * CV_SECOND);
    before = n_sent;
    for (int i = 0; i < 20; i++) {
        put32(news + 8, epoch());
        answer(news, sizeof news);
        run(now + 7 * CV_SECOND);
    }
    CHECK_EQ(n_sent, before);
}

TEST(a_restart_during_silence_begins_a_new_race)
{
    uint8_t news[24] = {2, 0x80};

    start(false, false);
    run(now + 100 * CV_SECOND);
    put32(news + 8, 5000);
    answer(news, sizeof news);
    run(now + CV_SECOND);
    gw.pcp = true;
    gw.booted = now;
    put32(news + 8, 0);
    answer(news, sizeof news);
    run(now + CV_SECOND);
    CHECK(is_mapped());
    CHECK_EQ(n_finds, 2);
}

TEST(a_refusal_makes_room_for_the_next_way)
{
    start(true, true);
    gw.pcp_result = CV_PCP_NOT_AUTHORIZED;
    run(now + CV_SECOND);
    CHECK_EQ(pm.way, CV_PORTMAP_NATPMP);
    CHECK(is_mapped());

    start(true, true);
    gw.pcp_result = CV_PCP_NOT_AUTHORIZED;
    gw.natpmp_result = CV_PCP_NOT_AUTHORIZED;
    run(now + CV_SECOND);
    CHECK_EQ(pm.state, CV_PORTMAP_ASKING);
    cv_portmap_upnp_found(&pm, true, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_upnp_maps[0], 1);
    cv_portmap_upnp_mapped(&pm, CV_PORTMAP_UDP, CV_ERR_DENIED, NULL, 0,
                           "it does not allow mappings", now);
    CHECK_EQ(pm.state, CV_PORTMAP_REFUSED);
    CHECK(strstr(pm.reason, "UPnP") != NULL);
    /* Each of them is asked again when its refusal is over. */
    gw.pcp_result = 0;
    run(now + 6 * CV_MINUTE);
    CHECK(n_upnp_maps[0] > 1 || is_mapped());
}

TEST(a_refusal_lasts_as_long_as_it_says)
{
    start(true, false);
    cv_portmap_upnp_found(&pm, false, now);
    gw.pcp_result = 8;
    gw.lifetime_of_error = 300;
    run(now + 290 * CV_SECOND);
    CHECK_EQ(count(2, 60), 1);
    run(now + 20 * CV_SECOND);
    CHECK_EQ(count(2, 60), 2);
}

TEST(only_the_gateway_is_believed)
{
    struct cv_addr other = cv_addr_ipv4(0xc0a80163, CV_PCP_PORT);
    struct cv_addr port = cv_addr_ipv4(0xc0a80101, 9999);
    uint8_t out[60];
    cv_time at;

    start(false, false);
    run(now + 100 * CV_MILLISECOND);
    at = now;
    pcp_answer(sent[0].data, out);
    cv_portmap_input(&pm, &other, CV_BYTES(out, 60), at);
    cv_portmap_input(&pm, &port, CV_BYTES(out, 60), at);
    CHECK(!is_mapped());
    CHECK_EQ(pm.junk, 2);
    out[24] ^= 1; /* the nonce */
    answer(out, 60);
    CHECK(!is_mapped());
    out[24] ^= 1;
    out[36] = 6; /* the protocol */
    answer(out, 60);
    CHECK(!is_mapped());
    out[36] = 17;
    out[41] ^= 1; /* our port */
    answer(out, 60);
    CHECK(!is_mapped());
    CHECK_EQ(pm.junk, 5);
    out[41] ^= 1;
    answer(out, 60);
    CHECK(is_mapped());
}

TEST(useless_addresses_are_refused)
{
    static const uint32_t ips[] = {0, 0xffffffff, 0xe0000001};

    for (unsigned i = 0; i < 3; i++) {
        start(true, false);
        gw.outside = cv_addr_ipv4(ips[i], 50000);
        run(now + CV_SECOND);
        CHECK(pm.way != CV_PORTMAP_PCP);
        CHECK(cv_portmap_public(&pm, CV_PORTMAP_UDP) == NULL);
    }
    start(true, false);
    gw.outside.port = 0;
    run(now + CV_SECOND);
    CHECK(pm.way != CV_PORTMAP_PCP);
}

TEST(a_private_outside_is_a_second_nat)
{
    char text[CV_PORTMAP_TEXT];

    start(true, false);
    gw.outside = cv_addr_ipv4(0x0a000005, 50000);
    run(now + CV_SECOND);
    CHECK_EQ(pm.state, CV_PORTMAP_SERVED);
    CHECK(cv_portmap_settled(&pm));
    CHECK(cv_portmap_is_inside(&pm));
    CHECK(cv_portmap_public(&pm, CV_PORTMAP_UDP) == NULL);
    cv_portmap_describe(&pm, text, sizeof text);
    CHECK(strstr(text, "second NAT") != NULL);

    start(true, false); /* a carrier's NAT */
    gw.outside = cv_addr_ipv4(0x64400005, 50000);
    run(now + CV_SECOND);
    CHECK(cv_portmap_is_inside(&pm));
}

TEST(a_gateway_that_says_it_has_no_address_is_behind_a_second_nat)
{
    char text[CV_PORTMAP_TEXT];

    start(true, true);
    cv_portmap_upnp_found(&pm, false, now);
    gw.pcp_result = 8;
    gw.natpmp_result = CV_NATPMP_NETWORK_FAILED;
    run(now + CV_SECOND);
    CHECK_EQ(pm.state, CV_PORTMAP_REFUSED);
    CHECK(cv_portmap_is_inside(&pm));
    cv_portmap_describe(&pm, text, sizeof text);
    CHECK(strstr(text, "second NAT") != NULL);
}

TEST(leases_are_bounded)
{
    start(true, false);
    gw.lifetime = 1;
    run(now + CV_SECOND);
    CHECK(is_mapped());
    CHECK_EQ(pm.lease[0].expires - pm.lease[0].given,
             CV_PORTMAP_LEASE_MIN * CV_SECOND);

    start(true, false);
    gw.lifetime = UINT32_MAX;
    run(now + CV_SECOND);
    CHECK_EQ(pm.lease[0].expires - pm.lease[0].given,
             CV_PORTMAP_LEASE_MAX * CV_SECOND);
}

TEST(tcp_is_mapped_when_asked_for)
{
    start(true, false);
    run(now + CV_SECOND);
    CHECK_EQ(n_sent, 1);
    cv_portmap_want(&pm, CV_PORTMAP_TCP, INTERNAL, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_sent, 2);
    CHECK_EQ(sent[1].data[36], CV_PCP_TCP);
    CHECK(cv_portmap_public(&pm, CV_PORTMAP_TCP) != NULL);
    cv_portmap_want(&pm, CV_PORTMAP_TCP, 0, now);
    CHECK_EQ(n_sent, 3); /* given back */
    CHECK(cv_portmap_public(&pm, CV_PORTMAP_TCP) == NULL);
    CHECK(is_mapped());
}

TEST(a_refused_tcp_port_does_not_cost_the_udp_one)
{
    start(true, false);
    run(now + CV_SECOND);
    gw.pcp_result = 9;
    cv_portmap_want(&pm, CV_PORTMAP_TCP, INTERNAL, now);
    run(now + CV_SECOND);
    CHECK(is_mapped());
    CHECK(cv_portmap_public(&pm, CV_PORTMAP_TCP) == NULL);
    CHECK_EQ(n_sent, 2);
}

TEST(everything_is_given_back_at_the_end)
{
    for (int natpmp = 0; natpmp < 2; natpmp++) {
        const struct sent *last;

        start(!natpmp, natpmp);
        run(now + CV_SECOND);
        CHECK(is_mapped());
        cv_portmap_close(&pm);
        last = &sent[n_sent - 1];
        CHECK_EQ(last->len, natpmp ? 12 : 60);
        for (unsigned i = 0; i < 4; i++)
            CHECK_EQ(last->data[(natpmp ? 8 : 4) + i], 0); /* the lifetime */
        CHECK_EQ(cv_portmap_deadline(&pm), CV_NEVER);
    }
}

TEST(another_network_begins_anew)
{
    uint8_t nonce[CV_PCP_NONCE];
    struct cv_addr none = {0}, next = cv_addr_ipv4(0x0a000001, 0);

    start(true, false);
    run(now + CV_SECOND);
    memcpy(nonce, pm.lease[0].nonce, sizeof nonce);
    cv_portmap_network(&pm, &gateway, &client, now);
    CHECK(is_mapped()); /* the same one */
    cv_portmap_network(&pm, &none, &none, now);
    CHECK_EQ(pm.state, CV_PORTMAP_OFF);
    CHECK(cv_portmap_public(&pm, CV_PORTMAP_UDP) == NULL);
    CHECK_EQ(cv_portmap_deadline(&pm), CV_NEVER);
    cv_portmap_network(&pm, &next, &client, now);
    run(now + CV_SECOND);
    CHECK(is_mapped());
    CHECK(memcmp(nonce, pm.lease[0].nonce, sizeof nonce) != 0);
}

TEST(a_new_outside_address_is_told)
{
    uint8_t news[12] = {0, 0x80};

    start(false, true);
    run(now + CV_SECOND);
    n_changed = 0;
    gw.outside = cv_addr_ipv4(0x08080505, 51111);
    put32(news + 4, epoch());
    memcpy(news + 8, gw.outside.ip, 4);
    answer(news, sizeof news);
    CHECK_EQ(n_changed, 1);
    CHECK(is_mapped());
}

TEST(a_way_that_is_switched_off_is_not_tried)
{
    start(true, true);
    n_sent = n_finds = 0;
    cv_portmap_init(&pm, &rng, NULL, 1u << CV_PORTMAP_NATPMP, &events, NULL);
    cv_portmap_want(&pm, CV_PORTMAP_UDP, INTERNAL, now);
    cv_portmap_network(&pm, &gateway, &client, now);
    run(now + CV_SECOND);
    CHECK_EQ(pm.way, CV_PORTMAP_NATPMP);
    CHECK_EQ(count(2, 60), 0);
    CHECK_EQ(n_finds, 0);
}

TEST(every_state_has_a_sentence)
{
    char text[CV_PORTMAP_TEXT];

    cv_portmap_init(&pm, &rng, NULL, CV_PORTMAP_ALL, &events, NULL);
    cv_portmap_describe(&pm, text, sizeof text);
    CHECK(strstr(text, "no gateway") != NULL);
    start(true, false);
    cv_portmap_describe(&pm, text, sizeof text);
    CHECK(strstr(text, "being asked") != NULL);
    run(now + CV_SECOND);
    cv_portmap_describe(&pm, text, sizeof text);
    CHECK(strstr(text, "maps a port to us (PCP)") != NULL);
    start(false, false);
    run(now + 3 * CV_SECOND);
    cv_portmap_describe(&pm, text, sizeof text);
    CHECK(strstr(text, "answers neither") != NULL);
}

RUN_TESTS(T(pcp_answers_first_and_wins),
          T(natpmp_serves_where_pcp_is_not_spoken),
          T(upnp_serves_where_the_others_are_silent),
          T(silence_is_said_after_two_seconds_and_asked_into_ever_more_rarely),
          T(a_lease_is_renewed_between_a_half_and_five_eighths),
          T(a_lease_that_is_not_renewed_ends),
          T(a_gateway_that_restarted_is_asked_again),
          T(a_clock_that_runs_as_ours_is_no_restart),
          T(a_restart_during_silence_begins_a_new_race),
          T(a_refusal_makes_room_for_the_next_way),
          T(a_refusal_lasts_as_long_as_it_says),
          T(only_the_gateway_is_believed), T(useless_addresses_are_refused),
          T(a_private_outside_is_a_second_nat),
          T(a_gateway_that_says_it_has_no_address_is_behind_a_second_nat),
          T(leases_are_bounded), T(tcp_is_mapped_when_asked_for),
          T(a_refused_tcp_port_does_not_cost_the_udp_one),
          T(everything_is_given_back_at_the_end),
          T(another_network_begins_anew), T(a_new_outside_address_is_told),
          T(a_way_that_is_switched_off_is_not_tried),
          T(a_way_that_is_switched_off_is_not_tried),
          T(every_state_has_a_sentence))
