/* Own addresses on a virtual clock: servers, peers, interfaces. */
#include "tests/test.h"
#include "transport/gather.h"
#include "transport/netif.h"

static struct cv_rng_seeded seed;
static struct cv_rng rng;
static struct cv_gather g;
static struct cv_local local;
static struct cv_candidates told;
static unsigned n_told;
static cv_time now;

static struct sent {
    struct cv_path_addr to;
    uint8_t data[64];
    size_t len;
    cv_time at;
} sent[256];
static unsigned n_sent;

static int on_send(void *user, const struct cv_path_addr *to, unsigned ttl,
                   const uint8_t *data, size_t len, size_t segment)
{
    (void)user;
    (void)ttl;
    REQUIRE(len == segment && len <= sizeof sent[0].data && n_sent < 256);
    sent[n_sent].to = *to;
    sent[n_sent].len = len;
    sent[n_sent].at = now;
    memcpy(sent[n_sent++].data, data, len);
    return CV_OK;
}

static void on_changed(void *user, const struct cv_candidates *own)
{
    (void)user;
    told = *own;
    n_told++;
}

static void run(cv_time until)
{
    while (cv_gather_deadline(&g) <= until) {
        cv_time at = cv_gather_deadline(&g);

        if (at > now)
            now = at;
        cv_gather_step(&g, now);
        REQUIRE(cv_gather_deadline(&g) > now);
    }
    now = until;
}

/* Answer sent[i] with this address. */
static bool answer(unsigned i, const char *mapped)
{
    struct cv_addr a;
    struct cv_writer w;
    struct cv_stun m;
    uint8_t buf[128];

    REQUIRE(cv_addr_parse(&a, mapped, 0) == CV_OK);
    REQUIRE(cv_stun_parse(&m, sent[i].data, sent[i].len) == CV_OK);
    cv_writer_init(&w, buf, sizeof buf);
    cv_stun_begin(&w, CV_STUN_SUCCESS, m.txid);
    cv_stun_put_xor_addr(&w, &a);
    REQUIRE(w.len <= sent[i].len); /* a careful server may answer */
    REQUIRE(cv_stun_parse(&m, buf, w.len) == CV_OK);
    return cv_gather_input(&g, &sent[i].to, &m, now);
}

static struct cv_addr server(unsigned i)
{
    return cv_addr_ipv4(0x05000001 + i, 3478);
}

static void start(unsigned n_servers)
{
    rng = cv_rng_from_seed(&seed, 1);
    memset(&local, 0, sizeof local);
    local.n = 1;
    local.net[0].addr = cv_addr_ipv4(0xc0a80105, 0);
    local.net[0].bits = 24;
    local.port = 4444;
    local.ipv4 = local.ipv6 = true;
    n_sent = n_told = 0;
    memset(&told, 0, sizeof told);
    now = CV_SECOND;
    cv_gather_init(&g, &rng, NULL, &local, n_servers, on_send, on_changed, NULL,
                   now);
    for (unsigned i = 0; i < n_servers; i++) {
        struct cv_addr a = server(i);

        cv_gather_server(&g, i, &a, 1, now);
    }
}

static bool names(const struct cv_candidates *c, uint8_t type, const char *text)
{
    struct cv_addr a;

    REQUIRE(cv_addr_parse(&a, text, 0) == CV_OK);
    for (unsigned i = 0; i < c->n; i++)
        if (c->c[i].type == type && cv_addr_equal(&c->c[i].addr, &a))
            return true;
    return false;
}

TEST(without_servers_the_interfaces_are_told_at_once)
{
    start(0);
    run(now);
    CHECK_EQ(n_told, 1);
    CHECK_EQ(told.n, 1);
    CHECK(names(&told, CV_CANDIDATE_HOST, "192.168.1.5:4444"));
    CHECK_EQ(told.nat, CV_NAT_MAPPING_UNKNOWN);
    run(now + CV_HOUR);
    CHECK_EQ(n_told, 1);
}

TEST(a_server_is_asked_three_times_and_again_every_25_seconds)
{
    start(1);
    run(CV_SECOND + 3 * CV_SECOND);
    CHECK_EQ(n_sent, 3);
    CHECK_EQ(sent[1].at - sent[0].at, 250 * CV_MILLISECOND);
    CHECK_EQ(sent[2].at - sent[1].at, 500 * CV_MILLISECOND);
    CHECK(n_told >= 1);
    CHECK(told.nat & CV_NAT_UDP_BLOCKED);
    run(now + 27 * CV_SECOND);
    CHECK_EQ(n_sent, 6);
    CHECK(answer(3, "5.9.9.9:1111")); /* late, but of this round */
    run(now + CV_SECOND);
    CHECK(!(told.nat & CV_NAT_UDP_BLOCKED));
    n_sent = 0;
    run(now + 24 * CV_SECOND + 100 * CV_MILLISECOND);
    CHECK_EQ(n_sent, 1);
}

TEST(the_only_server_is_believed)
{
    start(1);
    run(now);
    CHECK(answer(0, "5.9.9.9:1111"));
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 1);
    CHECK(names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_UNKNOWN);
}

TEST(of_two_servers_one_is_not_enough)
{
    start(2);
    run(now + 150 * CV_MILLISECOND);
    CHECK_EQ(n_sent, 2);
    CHECK(answer(0, "5.9.9.9:1111"));
    run(now + 3 * CV_SECOND);
    CHECK(n_told >= 1);
    CHECK(!names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
}

TEST(two_that_agree_make_an_endpoint_independent_nat)
{
    start(2);
    run(now + 150 * CV_MILLISECOND);
    CHECK(answer(0, "5.9.9.9:1111"));
    CHECK(answer(1, "5.9.9.9:1111"));
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 1);
    CHECK(names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_EIM);
    CHECK_EQ(g.local.reflexive.ip[0], 5);
}

TEST(ports_that_differ_show_a_nat_that_maps_by_destination)
{
    start(3);
    run(now + 240 * CV_MILLISECOND);
    CHECK_EQ(n_sent, 3);
    CHECK(answer(0, "5.9.9.9:1111"));
    CHECK(answer(1, "5.9.9.9:1112"));
    CHECK(answer(2, "5.9.9.9:1114"));
    run(now + CV_SECOND);
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_SEQ);
    start(3);
    run(now + 240 * CV_MILLISECOND);
    CHECK(answer(0, "5.9.9.9:1111"));
    CHECK(answer(1, "5.9.9.9:41112"));
    CHECK(answer(2, "5.9.9.9:21114"));
    run(now + CV_SECOND);
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_RANDOM);
}

TEST(a_liar_is_outvoted)
{
    start(3);
    run(now + 240 * CV_MILLISECOND);
    CHECK(answer(0, "5.66.66.66:666"));
    CHECK(answer(1, "5.9.9.9:1111"));
    CHECK(answer(2, "5.9.9.9:1111"));
    run(now + CV_SECOND);
    CHECK(names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
    CHECK(!names(&told, CV_CANDIDATE_SRFLX, "5.66.66.66:666"));
}

TEST(peers_are_sources_too)
{
    struct cv_addr mapped, a, b;

    CHECK_EQ(cv_addr_parse(&mapped, "5.9.9.9:1111", 0), CV_OK);
    a = cv_addr_ipv4(0x05070707, 1000);
    b = cv_addr_ipv4(0x05080808, 2000);
    start(0);
    run(now + CV_SECOND);
    cv_gather_reflexive(&g, &mapped, &a, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 1); /* one alone is not believed */
    cv_gather_reflexive(&g, &mapped, &b, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 2);
    CHECK(names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_EIM);
    run(now + CV_GATHER_PEER_LIFE + CV_SECOND);
    CHECK(!names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
}

TEST(answers_from_elsewhere_and_to_other_questions_are_ignored)
{
    struct cv_path_addr elsewhere;
    struct cv_writer w;
    struct cv_stun m;
    uint8_t buf[128];
    struct cv_addr a = cv_addr_ipv4(0x05424242, 42);

    start(1);
    run(now);
    CHECK_EQ(cv_stun_parse(&m, sent[0].data, sent[0].len), CV_OK);
    cv_writer_init(&w, buf, sizeof buf);
    cv_stun_begin(&w, CV_STUN_SUCCESS, m.txid);
    cv_stun_put_xor_addr(&w, &a);
    CHECK_EQ(cv_stun_parse(&m, buf, w.len), CV_OK);
    elsewhere = sent[0].to;
    elsewhere.remote.ip[3]++;
    CHECK(!cv_gather_input(&g, &elsewhere, &m, now));
    buf[19] ^= 1;
    CHECK_EQ(cv_stun_parse(&m, buf, w.len), CV_OK);
    CHECK(!cv_gather_input(&g, &sent[0].to, &m, now));
    run(now + CV_SECOND);
    CHECK(!names(&told, CV_CANDIDATE_SRFLX, "5.66.66.66:42"));
}

TEST(a_public_host_has_no_reflexive_candidate)
{
    start(1);
    local.net[0].addr = cv_addr_ipv4(0x05090909, 0);
    cv_gather_network_changed(&g, &local, now);
    run(now);
    CHECK(answer(n_sent - 1, "5.9.9.9:4444"));
    run(now + CV_SECOND);
    CHECK_EQ(told.n, 1);
    CHECK(names(&told, CV_CANDIDATE_HOST, "5.9.9.9:4444"));
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_EIM);
}

TEST(a_changed_network_is_asked_about_afresh)
{
    start(1);
    run(now);
    CHECK(answer(0, "5.9.9.9:1111"));
    run(now + 5 * CV_SECOND);
    CHECK_EQ(n_told, 1);
    local.net[0].addr = cv_addr_ipv4(0x0a000009, 0);
    cv_gather_network_changed(&g, &local, now);
    run(now);
    CHECK_EQ(n_sent, 2);
    CHECK(answer(1, "5.8.8.8:2222"));
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 2);
    CHECK(names(&told, CV_CANDIDATE_HOST, "10.0.0.9:4444"));
    CHECK(names(&told, CV_CANDIDATE_SRFLX, "5.8.8.8:2222"));
    CHECK(!names(&told, CV_CANDIDATE_SRFLX, "5.9.9.9:1111"));
}

static struct cv_netif netif(const char *name, const char *addr, uint8_t bits)
{
    struct cv_netif i = {.bits = bits};

    snprintf(i.name, sizeof i.name, "%s", name);
    REQUIRE(cv_addr_parse(&i.addr, addr, 0) == CV_OK);
    return i;
}

TEST(interfaces_are_filtered_unless_alone)
{
    struct cv_netif all[] = {
        netif("lo", "127.0.0.1", 8),       netif("docker0", "172.17.0.1", 16),
        netif("veth12", "10.200.0.1", 24), netif("eth0", "169.254.3.4", 16),
        netif("eth0", "192.168.1.5", 24),  netif("eth0", "fe80::1", 64),
        netif("eth0", "2001:db9::5", 64),
    };
    struct cv_local l = {0};

    cv_netif_filter(&l, all, 7);
    CHECK_EQ(l.n, 2);
    CHECK_EQ(l.net[0].addr.ip[3], 5);
    CHECK(!l.only_loopback);
    cv_netif_filter(&l, all, 3);
    CHECK_EQ(l.n, 2); /* docker0 and veth12, for there is nothing else */
    CHECK(!l.only_loopback);
    cv_netif_filter(&l, all, 1);
    CHECK_EQ(l.n, 1);
    CHECK(l.only_loopback);
    cv_netif_filter(&l, all, 0);
    CHECK_EQ(l.n, 0);
    CHECK(!l.only_loopback);
}

TEST(only_sensible_addresses_of_others_are_tried)
{
    static const struct {
        const char *addr;
        bool plain, same_nat;
    } cases[] = {
        {"5.1.2.3:4000", true, true},
        {"5.1.2.3:1023", false, false},
        {"5.1.2.3:443", false, false},
        {"127.0.0.1:4000", false, false},
        {"[::1]:4000", false, false},
        {"0.0.0.0:4000", false, false},
        {"224.0.0.1:4000", false, false},
        {"255.255.255.255:4000", false, false},
        {"169.254.1.1:4000", false, false},
        {"[fe80::1]:4000", false, false},
        {"[ff02::1]:4000", false, false},
        {"10.1.2.3:4000", false, true},
        {"192.168.1.77:4000", true, true},
        {"192.168.1.255:4000", false, false}, /* our subnet's broadcast */
        {"192.168.1.0:4000", false, false},
        {"192.168.1.1:4000", false, false}, /* our gateway */
        {"192.168.1.5:4444", false, false}, /* ourselves */
        {"192.168.1.5:4445", true, true},   /* another agent here */
        {"100.64.1.1:4000", false, false},  /* a carrier's, not ours */
        {"[2001:4860::1]:4000", true, true},
        {"[fd00::1]:4000", false, true},
    };
    struct cv_addr a;

    start(0);
    local.n_gateways = 1;
    local.gateway[0] = cv_addr_ipv4(0xc0a80101, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(cv_addr_parse(&a, cases[i].addr, 0), CV_OK);
        if (cv_local_may_send(&local, &a, false) != cases[i].plain ||
            cv_local_may_send(&local, &a, true) != cases[i].same_nat)
            print_error("%s\n", cases[i].addr);
        CHECK_EQ(cv_local_may_send(&local, &a, false), cases[i].plain);
        CHECK_EQ(cv_local_may_send(&local, &a, true), cases[i].same_nat);
    }
    local.only_loopback = true;
    local.net[0].addr = cv_addr_ipv4(0x7f000001, 0);
    local.net[0].bits = 8;
    CHECK_EQ(cv_addr_parse(&a, "127.0.0.1:4000", 0), CV_OK);
    CHECK(cv_local_may_send(&local, &a, false));
    local.net[0].addr = cv_addr_ipv4(0x64400505, 0);
    local.net[0].bits = 32;
    CHECK_EQ(cv_addr_parse(&a, "100.64.1.1:4000", 0), CV_OK);
    CHECK(cv_local_may_send(&local, &a, false));
    local.ipv6 = false;
    CHECK_EQ(cv_addr_parse(&a, "[2001:4860::1]:4000", 0), CV_OK);
    CHECK(!cv_local_may_send(&local, &a, false));
}

TEST(a_mapped_address_is_told_when_it_comes_and_goes)
{
    struct cv_addr udp = cv_addr_ipv4(0x08080404, 4444), other = udp;

    start(0);
    run(now);
    CHECK(cv_gather_settled(&g));
    cv_gather_mapped(&g, &udp, &udp, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 2);
    CHECK(names(&told, CV_CANDIDATE_MAPPED, "8.8.4.4:4444"));
    CHECK(names(&told, CV_CANDIDATE_TCP, "8.8.4.4:4444"));
    CHECK_EQ(told.c[0].type, CV_CANDIDATE_MAPPED); /* before the LAN's */
    cv_gather_mapped(&g, &udp, &udp, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 2);
    other.port++;
    cv_gather_mapped(&g, &other, NULL, now);
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 3);
    CHECK(names(&told, CV_CANDIDATE_MAPPED, "8.8.4.4:4445"));
    CHECK(!names(&told, CV_CANDIDATE_TCP, "8.8.4.4:4444"));
    cv_gather_mapped(&g, NULL, NULL, now);
    run(now + CV_SECOND);
    CHECK_EQ(told.n, 1);
}

/* A server with a second address: what it answers to sent[i]. */
static bool answer_other(unsigned i, const char *mapped, const char *other)
{
    struct cv_addr a, o;
    struct cv_writer w;
    struct cv_stun m;
    uint8_t buf[128];

    REQUIRE(cv_addr_parse(&a, mapped, 0) == CV_OK);
    REQUIRE(cv_addr_parse(&o, other, 0) == CV_OK);
    REQUIRE(cv_stun_parse(&m, sent[i].data, sent[i].len) == CV_OK);
    cv_writer_init(&w, buf, sizeof buf);
    cv_stun_begin(&w, CV_STUN_SUCCESS, m.txid);
    cv_stun_put_xor_addr(&w, &a);
    cv_stun_put_addr(&w, CV_STUN_OTHER_ADDRESS, &o);
    REQUIRE(w.len <= sent[i].len);
    REQUIRE(cv_stun_parse(&m, buf, w.len) == CV_OK);
    return cv_gather_input(&g, &sent[i].to, &m, now);
}

TEST(one_server_with_two_addresses_tells_how_the_nat_maps)
{
    static const struct {
        const char *port[3];
        uint16_t nat;
    } cases[] = {
        {{"9.9.9.9:4444", "9.9.9.9:4444", "9.9.9.9:4444"}, CV_NAT_MAPPING_EIM},
        {{"9.9.9.9:5001", "9.9.9.9:5002", "9.9.9.9:5003"}, CV_NAT_MAPPING_SEQ},
        {{"9.9.9.9:5001", "9.9.9.9:812", "9.9.9.9:50003"},
         CV_NAT_MAPPING_RANDOM},
    };

    for (unsigned i = 0; i < 3; i++) {
        start(1);
        run(now);
        CHECK_EQ(n_sent, 1);
        CHECK(answer_other(0, cases[i].port[0], "5.0.0.9:3479"));
        run(now + 10 * CV_MILLISECOND);
        CHECK_EQ(n_sent, 3); /* the other one, and its port of ours */
        CHECK_EQ(sent[1].to.remote.port, 3479);
        CHECK_EQ(sent[2].to.remote.port, 3478);
        CHECK(answer(1, cases[i].port[1]));
        CHECK(answer(2, cases[i].port[2]));
        run(now);
        CHECK_EQ(n_told, 1); /* without waiting any longer */
        CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, cases[i].nat);
        CHECK(names(&told, CV_CANDIDATE_SRFLX, cases[i].port[i > 0 ? 2 : 0]));
        /* How it counts. */
        CHECK_EQ(names(&told, CV_CANDIDATE_SRFLX, "9.9.9.9:5002"), i == 1);
        /* They are asked once: a liar may have named anybody. */
        run(now + 5 * CV_MINUTE);
        for (unsigned k = 3; k < n_sent; k++)
            CHECK(cv_addr_equal(&sent[k].to.remote, &sent[0].to.remote));
    }
}

/* A counting NAT has one mapping for it, made when it was asked first. */
TEST(another_address_that_is_asked_already_is_not_asked_twice)
{
    struct cv_addr two;

    start(2);
    REQUIRE(cv_addr_parse(&two, "5.0.0.9:3479", 0) == CV_OK);
    cv_gather_server(&g, 1, &two, 1, now);
    run(now + 100 * CV_MILLISECOND);
    CHECK_EQ(n_sent, 2);
    CHECK(answer_other(0, "9.9.9.9:5001", "5.0.0.9:3479"));
    run(now);
    CHECK_EQ(n_sent, 3); /* only the other one's port of ours is new */
    CHECK_EQ(sent[2].to.remote.port, 3478);
    CHECK(answer(1, "9.9.9.9:5002"));
    CHECK(answer(2, "9.9.9.9:5005"));
    run(now);
    CHECK_EQ(n_told, 1);
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_SEQ);
}

TEST(another_address_that_is_none_is_not_asked)
{
    static const char *const bad[] = {"10.0.0.1:3479", "127.0.0.1:3479",
                                      "5.0.0.9:53", "224.0.0.1:3479",
                                      "5.0.0.1:3478"};

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start(1);
        run(now);
        CHECK(answer_other(0, "9.9.9.9:4444", bad[i]));
        run(now + 5 * CV_SECOND);
        CHECK_EQ(n_sent, 1);
    }
}

static unsigned opened, closed;

static int on_open(void *user)
{
    (void)user;
    return (int)++opened;
}

static void on_close(void *user, uint16_t socket)
{
    (void)user;
    REQUIRE(socket == opened);
    closed++;
}

TEST(the_filter_is_asked_about_later_and_from_another_socket)
{
    opened = closed = 0;
    start(1);
    cv_gather_sockets(&g, on_open, on_close);
    run(now);
    CHECK(answer_other(0, "9.9.9.9:4444", "5.0.0.9:3479"));
    run(now);
    CHECK(answer(1, "9.9.9.9:4444"));
    CHECK(answer(2, "9.9.9.9:4444"));
    run(now);
    CHECK_EQ(n_told, 1);
    CHECK_EQ(opened, 0);
    run(now + CV_GATHER_KIND);
    CHECK_EQ(opened, 1);
    CHECK_EQ(n_sent, 4);
    CHECK_EQ(sent[3].to.socket, 1);
    CHECK(answer(3, "9.9.9.9:6000"));
    run(now + 2500 * CV_MILLISECOND); /* neither stray comes in */
    CHECK(cv_addr_equal(&sent[n_sent - 1].to.remote, &sent[1].to.remote));
    CHECK_EQ(sent[n_sent - 1].to.socket, 1);
    CHECK(answer(n_sent - 1, "9.9.9.9:6000"));
    run(now + CV_SECOND);
    CHECK_EQ(closed, 1);
    CHECK_EQ(n_told, 2);
    CHECK_EQ(told.nat,
             CV_NAT_MAPPING_EIM | CV_NAT_DROPS_STRAYS | CV_NAT_STRICT);
    run(now + 20 * CV_SECOND);
    CHECK_EQ(opened, 1); /* once is enough */
    cv_gather_fini(&g);
    CHECK_EQ(closed, 1);
}

static unsigned n_open; /* several at once */

static int on_open_many(void *user)
{
    (void)user;
    n_open++;
    return (int)++opened;
}

static void on_close_many(void *user, uint16_t socket)
{
    (void)user;
    REQUIRE(socket > 0 && n_open > 0);
    n_open--;
}

/* An EIM NAT that forgets after 6 s; all that was sent since `from` is
 * answered, and is written over. */
static void answer_aged(unsigned from, cv_time used[64])
{
    for (unsigned i = from; i < n_sent; i++) {
        uint16_t socket = sent[i].to.socket;
        struct cv_path_addr at = sent[i].to;
        char text[32];
        struct cv_stun m;

        REQUIRE(cv_stun_parse(&m, sent[i].data, sent[i].len) == CV_OK);
        REQUIRE(socket < 64);
        used[socket] = now;
        if (m.change)
            continue; /* nothing comes in */
        if (m.response_port != 0) {
            at.socket = (uint16_t)(m.response_port - 6000);
            REQUIRE(at.socket < 64);
            if (now - used[at.socket] >= 6 * CV_SECOND)
                continue;
            sent[i].to = at;
        }
        snprintf(text, sizeof text, "9.9.9.9:%u", 6000u + socket);
        (void)answer(i, text);
    }
    n_sent = from;
}

TEST(how_long_a_nat_keeps_what_is_idle_is_measured_and_obeyed)
{
    cv_time used[64] = {0}, asked = 0, start_at;

    opened = n_open = 0;
    start(1);
    cv_gather_sockets(&g, on_open_many, on_close_many);
    cv_gather_want_life(&g);
    run(now);
    CHECK(answer_other(0, "9.9.9.9:6000", "5.0.0.9:3479"));
    run(now);
    CHECK(answer(1, "9.9.9.9:6000"));
    CHECK(answer(2, "9.9.9.9:6000"));
    n_sent = 0;
    start_at = now;
    while (now - start_at < 30 * CV_SECOND) {
        run(now + 50 * CV_MILLISECOND);
        answer_aged(0, used);
        if (g.life.state == CV_NATLIFE_RUNS)
            CHECK(g.kind_tested);
    }
    CHECK_EQ(g.life.state, CV_NATLIFE_DONE);
    CHECK(g.life.lost);
    CHECK_EQ(g.life.kept, 5 * CV_SECOND);
    CHECK_EQ(n_open, 0);
    /* The server is asked as often as that needs. */
    for (unsigned i = 0; i < 300; i++) {
        run(now + 50 * CV_MILLISECOND);
        for (unsigned k = 0; k < n_sent; k++) {
            CHECK(asked == 0 || sent[k].at - asked <= 4200 * CV_MILLISECOND);
            asked = sent[k].at;
        }
        answer_aged(0, used);
    }
    CHECK(asked > 0);
    /* Another network has another NAT. */
    cv_gather_network_changed(&g, &local, now);
    CHECK_EQ(g.life.state, CV_NATLIFE_OFF);
    CHECK_EQ(cv_natlife_hoped(&g.life), CV_NATLIFE_ASSUMED);
    cv_gather_fini(&g);
}

TEST(the_newest_port_of_a_nat_that_counts_is_looked_up)
{
    struct cv_candidates own;
    unsigned at;

    opened = closed = 0;
    start(3);
    cv_gather_sockets(&g, on_open, on_close);
    run(now + 200 * CV_MILLISECOND);
    CHECK(answer(0, "9.9.9.9:5001"));
    CHECK(answer(1, "9.9.9.9:5002"));
    CHECK(answer(2, "9.9.9.9:5003"));
    run(now);
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_SEQ);
    at = n_sent;
    run(now + CV_GATHER_KIND);
    REQUIRE(n_sent == at + 1);
    CHECK_EQ(sent[at].to.socket, 1);
    CHECK(answer(at, "9.9.9.9:5040"));
    run(now + CV_SECOND);
    CHECK_EQ(n_told, 1); /* no news for anybody */
    own = *cv_gather_own(&g);
    CHECK(names(&own, CV_CANDIDATE_SRFLX, "9.9.9.9:5040"));
    CHECK(names(&own, CV_CANDIDATE_SRFLX, "9.9.9.9:5039"));
    CHECK_EQ(closed, 1);
    run(now + CV_GATHER_COUNT);
    CHECK_EQ(opened, 2);
    cv_gather_fini(&g);
    CHECK_EQ(closed, 2);
}

/* Sixty in five seconds, then one in one, then more than any guess is worth. */
TEST(where_others_take_ports_the_newest_is_looked_up_more_often)
{
    static const struct {
        const char *seen;
        cv_time next;
    } samples[] = {
        {"9.9.9.9:5040", CV_GATHER_COUNT},
        {"9.9.9.9:5100", CV_GATHER_COUNT_BUSY},
        {"9.9.9.9:5101", CV_GATHER_COUNT},
        {"9.9.9.9:9101", CV_GATHER_COUNT},
        {"9.9.9.9:9081", CV_GATHER_COUNT_BUSY},
        {"8.8.8.8:9090", CV_GATHER_COUNT},
    };

    opened = closed = 0;
    start(3);
    cv_gather_sockets(&g, on_open, on_close);
    run(now + 200 * CV_MILLISECOND);
    CHECK(answer(0, "9.9.9.9:5001"));
    CHECK(answer(1, "9.9.9.9:5002"));
    CHECK(answer(2, "9.9.9.9:5003"));
    run(now + CV_GATHER_KIND);
    for (unsigned i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        CHECK_EQ(opened, i + 1);
        CHECK(answer(n_sent - 1, samples[i].seen));
        run(now + samples[i].next - 1);
        CHECK_EQ(opened, i + 1);
        run(now + 1);
    }
    cv_gather_fini(&g);
    CHECK_EQ(closed, opened);
}

TEST(a_tcp_address_stands_beside_the_same_of_udp)
{
    struct cv_tcpmap_verdict v4 = {.votes = 1}, v6 = {0};
    const struct cv_candidates *own;
    unsigned udp = 0, tcp = 0;

    start(2);
    g.local.tcp_port = 4444;
    CHECK_EQ(cv_addr_parse(&v4.mapped, "5.9.9.9:4444", 0), CV_OK);
    /* One of two servers says so: not enough; two are. */
    for (unsigned votes = 1; votes <= 2; votes++) {
        v4.votes = votes;
        cv_gather_tcp(&g, &v4, &v6, now);
        now += CV_SECOND;
        cv_gather_step(&g, now);
        own = cv_gather_own(&g);
        udp = tcp = 0;
        for (unsigned i = 0; i < own->n; i++) {
            tcp += own->c[i].type == CV_CANDIDATE_TCP &&
                   cv_addr_equal(&own->c[i].addr, &v4.mapped);
            udp += own->c[i].type != CV_CANDIDATE_TCP;
        }
        CHECK_EQ(tcp, votes - 1);
        CHECK(udp > 0);
    }
}

TEST(private_addresses_are_connected_to_near_by_and_with_friends)
{
    static const struct {
        const char *addr;
        bool stranger, trusted;
    } cases[] = {
        {"5.1.2.3:4000", true, true},
        {"5.1.2.3:80", false, false},
        {"192.168.1.77:4000", false, true},
        {"192.168.1.5:4444", false, false}, /* ourselves */
        {"192.168.1.5:4445", false, true},
        {"10.1.2.3:4000", false, false},
        {"127.0.0.1:4000", false, false},
    };
    struct cv_addr a;

    start(0);
    local.tcp_port = 4444;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(cv_addr_parse(&a, cases[i].addr, 0), CV_OK);
        CHECK_EQ(cv_local_may_connect(&local, &a, false), cases[i].stranger);
        CHECK_EQ(cv_local_may_connect(&local, &a, true), cases[i].trusted);
    }
    local.tcp_port = 0;
    CHECK_EQ(cv_addr_parse(&a, "5.1.2.3:4000", 0), CV_OK);
    CHECK(!cv_local_may_connect(&local, &a, true));
}

/* Answer what was sent from number `from` on. */
static void answer_all(unsigned from, const char *mapped)
{
    for (unsigned i = from, n = n_sent; i < n; i++)
        REQUIRE(answer(i, mapped));
}

TEST(a_nat_that_forgot_its_mappings_is_no_other_kind_of_nat)
{
    struct cv_addr mapped, peer = cv_addr_ipv4(0x05070707, 1000);
    unsigned asked;

    start(1);
    run(now);
    CHECK(answer_other(0, "9.9.9.9:4444", "5.0.0.9:3479"));
    run(now + 10 * CV_MILLISECOND);
    answer_all(1, "9.9.9.9:4444");
    CHECK_EQ(cv_addr_parse(&mapped, "9.9.9.9:4444", 0), CV_OK);
    cv_gather_reflexive(&g, &mapped, &peer, now);
    run(now + 5 * CV_SECOND);
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_EIM);
    asked = n_sent;
    cv_gather_refresh(&g, now);
    run(now);
    CHECK_EQ(n_sent, asked + 1);
    answer_all(asked, "9.9.9.9:5555");
    asked = n_sent;
    run(now);
    CHECK_EQ(n_sent, asked + 2); /* its other addresses, again */
    run(now + 50 * CV_MILLISECOND);
    n_told = 0;
    answer_all(asked, "9.9.9.9:5555");
    run(now);
    CHECK_EQ(n_told, 1); /* without waiting for more */
    CHECK_EQ(told.nat & CV_NAT_MAPPING_MASK, CV_NAT_MAPPING_EIM);
    CHECK(names(&told, CV_CANDIDATE_SRFLX, "9.9.9.9:5555"));
}

/* Ask out of turn, and answer. */
static unsigned refresh(void)
{
    unsigned before = n_sent;

    cv_gather_refresh(&g, now);
    run(now);
    answer_all(before, "9.9.9.9:4444");
    return n_sent - before;
}

TEST(what_is_asked_too_often_is_asked_a_little_later)
{
    unsigned asked;

    start(1);
    run(now);
    answer_all(0, "9.9.9.9:4444");
    run(now + 5 * CV_SECOND);
    for (unsigned i = 0; i < CV_GATHER_AGAINS; i++)
        CHECK_EQ(refresh(), 1);
    CHECK_EQ(refresh(), 0);
    CHECK_EQ(refresh(), 0);
    asked = n_sent;
    run(now + CV_GATHER_AGAIN);
    CHECK_EQ(n_sent, asked + 1); /* once for both */
    answer_all(asked, "9.9.9.9:4444");
    run(now + 5 * CV_SECOND);
    CHECK_EQ(n_sent, asked + 1);
}

TEST(udp_is_silent_when_only_tcp_is_answered)
{
    struct cv_tcpmap_verdict v4 = {.votes = 1}, v6 = {0};

    start(2);
    run(now + 100 * CV_MILLISECOND);
    CHECK(!cv_gather_udp_silent(&g)); /* maybe we are offline */
    CHECK_EQ(cv_addr_parse(&v4.mapped, "5.9.9.9:4444", 0), CV_OK);
    cv_gather_tcp(&g, &v4, &v6, now);
    CHECK(cv_gather_udp_silent(&g));
    CHECK(answer(0, "5.9.9.9:4444"));
    CHECK(!cv_gather_udp_silent(&g));

    start(0); /* nobody was asked */
    cv_gather_tcp(&g, &v4, &v6, now);
    CHECK(!cv_gather_udp_silent(&g));
}

RUN_TESTS(T(how_long_a_nat_keeps_what_is_idle_is_measured_and_obeyed),
          T(what_is_asked_too_often_is_asked_a_little_later),
          T(udp_is_silent_when_only_tcp_is_answered),
          T(where_others_take_ports_the_newest_is_looked_up_more_often),
          T(a_nat_that_forgot_its_mappings_is_no_other_kind_of_nat),
          T(without_servers_the_interfaces_are_told_at_once),
          T(a_server_is_asked_three_times_and_again_every_25_seconds),
          T(the_only_server_is_believed), T(of_two_servers_one_is_not_enough),
          T(two_that_agree_make_an_endpoint_independent_nat),
          T(ports_that_differ_show_a_nat_that_maps_by_destination),
          T(a_liar_is_outvoted), T(peers_are_sources_too),
          T(answers_from_elsewhere_and_to_other_questions_are_ignored),
          T(a_public_host_has_no_reflexive_candidate),
          T(a_changed_network_is_asked_about_afresh),
          T(a_mapped_address_is_told_when_it_comes_and_goes),
          T(interfaces_are_filtered_unless_alone),
          T(only_sensible_addresses_of_others_are_tried),
          T(a_tcp_address_stands_beside_the_same_of_udp),
          T(private_addresses_are_connected_to_near_by_and_with_friends),
          T(one_server_with_two_addresses_tells_how_the_nat_maps),
          T(another_address_that_is_none_is_not_asked),
          T(another_address_that_is_asked_already_is_not_asked_twice),
          T(the_filter_is_asked_about_later_and_from_another_socket),
          T(the_newest_port_of_a_nat_that_counts_is_looked_up))
