/* The NATs of nat.h are the kinds they say they are: the prober of the net lab
 * finds what it finds behind the kernel's, and tells each from its neighbours.
 * Then what it does not look at. */
#include "tests/netlab/natkind.h"
#include "tests/sim/nat.h"
#include "tests/test.h"
#include <inttypes.h>

#define SEEDS   20
#define STEP    (10 * CV_MILLISECOND) /* every packet takes that long */
#define STRAY   9000                  /* a port of the server's */
#define PRIVATE 0xc0a80002            /* 192.168.0.2 */

struct world {
    struct natnet net;
    unsigned host, server[2];
    cv_time now;
    uint16_t next;
};

static struct cv_addr point(const struct world *w, struct nat_point p)
{
    struct cv_addr a = w->net.host[w->server[p.ip]].addr;

    a.port = p.port == NAT_443 ? 443 : (uint16_t)(STRAY + p.port);
    return a;
}

/* A packet, all the way; what the receiver sees is in `p`. */
static enum natnet_verdict carry(struct world *w, unsigned from,
                                 struct natnet_packet *p, unsigned *host)
{
    enum natnet_verdict v = natnet_out(&w->net, from, p, w->now);

    w->now += STEP;
    if (v == NATNET_PASSED)
        v = natnet_cross(p);
    return v == NATNET_PASSED ? natnet_in(&w->net, p, w->now, host) : v;
}

static struct natnet_packet packet(enum nat_proto proto, struct cv_addr src,
                                   struct cv_addr dst)
{
    return (struct natnet_packet){.proto = proto == NAT_TCP ? IPPROTO_TCP
                                                            : IPPROTO_UDP,
                                  .ttl = 64,
                                  .src = src,
                                  .dst = dst};
}

static uint16_t world_bind(void *user, enum nat_proto proto)
{
    struct world *w = user;

    (void)proto;
    return w->next++;
}

static bool world_ask(void *user, enum nat_proto proto, uint16_t local,
                      struct nat_point to, struct nat_point from,
                      struct cv_addr *mapped)
{
    struct world *w = user;
    struct cv_addr own = w->net.host[w->host].addr;
    struct natnet_packet p;
    unsigned at;

    own.port = local;
    p = packet(proto, own, point(w, to));
    if (carry(w, w->host, &p, &at) != NATNET_PASSED || at != w->server[to.ip])
        return false;
    *mapped = p.src;
    p = packet(proto, point(w, from), *mapped);
    return carry(w, w->server[from.ip], &p, &at) == NATNET_PASSED &&
           at == w->host && p.dst.port == local;
}

static enum nat_strays world_stray(void *user, enum nat_proto proto,
                                   struct nat_point from,
                                   const struct cv_addr *to)
{
    struct world *w = user;
    struct natnet_packet p = packet(proto, point(w, from), *to);
    unsigned at;

    switch (carry(w, w->server[from.ip], &p, &at)) {
    case NATNET_PASSED:
        return NAT_ANSWERED;
    case NATNET_REFUSED:
        return NAT_REFUSED;
    case NATNET_DROPPED:
    case NATNET_EXPIRED:
        break;
    }
    return NAT_SILENT;
}

static struct cv_addr world_own(void *user)
{
    struct world *w = user;

    return w->net.host[w->host].addr;
}

static uint64_t seed = 1;

static void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    natnet_init(&w->net, seed);
    w->now = CV_SECOND;
    w->next = 40000;
    for (unsigned i = 0; i < 2; i++)
        w->server[i] =
            natnet_host(&w->net, cv_addr_ipv4(0x14000101 + i, 0), NULL);
}

/* A host behind a kind, behind another if `via` is given. */
static struct natbox *world_side(struct world *w, const char *kind,
                                 enum natbox_strays strays, const char *via)
{
    struct natbox *outer = NULL, *b = NULL;

    if (via != NULL) {
        outer = natnet_box(&w->net, natbox_kind_of(via),
                           cv_addr_ipv4(0x14000301, 0), NULL);
        outer->strays = strays;
        outer->hairpin = true;
    }
    if (strcmp(kind, "none") != 0) {
        b = natnet_box(&w->net, natbox_kind_of(kind),
                       cv_addr_ipv4(via ? 0x6440000b : 0x14000201, 0), outer);
        b->strays = strays;
    }
    w->host = natnet_host(&w->net,
                          cv_addr_ipv4(b != NULL ? PRIVATE : 0x14000401, 0), b);
    return b;
}

static const struct {
    const char *kind, *via;
    enum natbox_strays strays;
    const char *udp, *tcp;
} want[] = {
    {"none", NULL, 0, "eim/eif/not/answered", "eim/eif/not/answered"},
    {"fullcone", NULL, NATBOX_STRAYS_DROP, "eim/eif/preserved/silent",
     "eim/eif/preserved/silent"},
    {"restricted", NULL, NATBOX_STRAYS_DROP, "eim/adf/preserved/silent",
     "eim/adf/preserved/silent"},
    {"portrestricted", NULL, NATBOX_STRAYS_DROP, "eim/apdf/preserved/silent",
     "eim/apdf/preserved/silent"},
    {"symmetric", NULL, NATBOX_STRAYS_DROP, "apdm/apdf/random/silent",
     "apdm/apdf/random/silent"},
    {"symmetric-seq", NULL, NATBOX_STRAYS_DROP, "apdm/apdf/sequential/silent",
     "apdm/apdf/sequential/silent"},
    {"udpblocked", NULL, NATBOX_STRAYS_DROP, "blocked",
     "eim/apdf/preserved/silent"},
    {"tcp443only", NULL, NATBOX_STRAYS_DROP, "blocked", "443only"},
    {"portrestricted", "portrestricted", NATBOX_STRAYS_DROP,
     "eim/apdf/preserved/silent", "eim/apdf/preserved/silent"},
    {"fullcone", NULL, NATBOX_STRAYS_ACCEPT, "eim/eif/preserved/accept",
     "eim/eif/preserved/reject"},
    {"portrestricted", NULL, NATBOX_STRAYS_ACCEPT, "eim/apdf/preserved/accept",
     "eim/apdf/preserved/reject"},
    {"portrestricted", "portrestricted", NATBOX_STRAYS_ACCEPT,
     "eim/apdf/preserved/accept", "eim/apdf/preserved/reject"},
    {"portrestricted", NULL, NATBOX_STRAYS_REJECT, "eim/apdf/preserved/reject",
     "eim/apdf/preserved/reject"},
    {"symmetric", NULL, NATBOX_STRAYS_ACCEPT, "apdm/apdf/random/refused",
     "apdm/apdf/random/refused"},
};

static void expect(struct world *w, enum nat_proto proto, unsigned row)
{
    const struct nat_world prober = {world_bind, world_ask, world_stray,
                                     world_own, w};
    const char *wanted = proto == NAT_UDP ? want[row].udp : want[row].tcp;
    struct nat_found found;
    char text[NAT_TEXT];

    nat_find(&prober, proto, &found);
    if (strcmp(nat_format(&found, text), wanted) != 0) {
        print_error("%s, seed %" PRIu64 ": %s, not %s\n", want[row].kind, seed,
                    text, wanted);
        fail();
    }
}

TEST(each_kind_is_what_it_says)
{
    (void)test_state_;
    for (seed = 1; seed <= SEEDS; seed++)
        for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
            struct world w;

            world_init(&w);
            world_side(&w, want[i].kind, want[i].strays, want[i].via);
            expect(&w, NAT_UDP, i);
            expect(&w, NAT_TCP, i);
            natnet_fini(&w.net);
        }
    seed = 1;
}

static uint16_t mapped_port(struct world *w, uint16_t local, unsigned port)
{
    const struct nat_point p = {0, port};
    struct cv_addr mapped = {0};

    REQUIRE(world_ask(w, NAT_UDP, local, p, p, &mapped));
    return mapped.port;
}

TEST(mappings_end_when_they_are_idle)
{
    struct world w;
    struct natbox *b;

    world_init(&w);
    b = world_side(&w, "symmetric", NATBOX_STRAYS_DROP, NULL);
    b->udp_timeout = 2 * CV_SECOND;
    uint16_t port = mapped_port(&w, 5000, 0);

    w.now += CV_SECOND;
    CHECK_EQ(mapped_port(&w, 5000, 0), port);
    w.now += 3 * CV_SECOND;
    CHECK(mapped_port(&w, 5000, 0) != port);
    natnet_fini(&w.net);
}

TEST(rebinding_changes_every_mapping)
{
    static const char *const kind[] = {"fullcone", "portrestricted",
                                       "symmetric", "symmetric-seq"};

    for (unsigned i = 0; i < 4; i++) {
        struct world w;
        struct natbox *b;
        uint16_t port, other;

        world_init(&w);
        b = world_side(&w, kind[i], NATBOX_STRAYS_DROP, NULL);
        port = mapped_port(&w, 5000, 0);
        other = mapped_port(&w, 5000, 1);
        natbox_rebind(b);
        CHECK(mapped_port(&w, 5000, 0) != port);
        CHECK_EQ(mapped_port(&w, 5000, 0) == mapped_port(&w, 5000, 1), i < 2);
        CHECK_EQ(port == other, i < 2);
        natnet_fini(&w.net);
    }
}

TEST(two_hosts_with_one_port_have_a_mapping_each)
{
    struct world w;
    struct natbox *b;
    uint16_t one, two;

    world_init(&w);
    b = world_side(&w, "portrestricted", NATBOX_STRAYS_DROP, NULL);
    one = mapped_port(&w, 5000, 0);
    w.host = natnet_host(&w.net, cv_addr_ipv4(PRIVATE + 1, 0), b);
    two = mapped_port(&w, 5000, 0);
    CHECK(one != two);
    CHECK_EQ(mapped_port(&w, 5000, 1), two);
    natnet_fini(&w.net);
}

TEST(only_a_carrier_with_hairpin_joins_its_customers)
{
    for (int hairpin = 0; hairpin < 2; hairpin++) {
        struct world w;
        struct natbox *a, *b;
        struct natnet_packet p;
        unsigned ha, hb, at;
        struct cv_addr ma, mb;
        const struct nat_point server = {0, 0};

        world_init(&w);
        a = world_side(&w, "portrestricted", NATBOX_STRAYS_DROP,
                       "portrestricted");
        a->via->hairpin = hairpin == 1;
        b = natnet_box(&w.net, NATBOX_PORTRESTRICTED,
                       cv_addr_ipv4(0x6440000c, 0), a->via);
        ha = w.host;
        hb = natnet_host(&w.net, cv_addr_ipv4(PRIVATE, 0), b);
        CHECK(world_ask(&w, NAT_UDP, 5000, server, server, &ma));
        w.host = hb;
        CHECK(world_ask(&w, NAT_UDP, 6000, server, server, &mb));
        /* Both punch: the first is dropped, the second arrives. */
        p = packet(NAT_UDP, cv_addr_ipv4(PRIVATE, 5000), mb);
        CHECK_EQ(carry(&w, ha, &p, &at), NATNET_DROPPED);
        p = packet(NAT_UDP, cv_addr_ipv4(PRIVATE, 6000), ma);
        CHECK_EQ(carry(&w, hb, &p, &at),
                 hairpin ? NATNET_PASSED : NATNET_DROPPED);
        if (hairpin) {
            CHECK_EQ(at, ha);
            CHECK(cv_addr_equal(&p.src, &mb));
        }
        natnet_fini(&w.net);
    }
}

TEST(a_low_ttl_opens_the_own_nat_and_ends_on_the_way)
{
    static const uint8_t low[] = {3, 5, 8};
    struct world w;
    struct natnet_packet p;
    unsigned at;

    world_init(&w);
    world_side(&w, "portrestricted", NATBOX_STRAYS_DROP, "portrestricted");
    for (unsigned i = 0; i < 3; i++) {
        struct cv_addr server = point(&w, (struct nat_point){0, i});

        p = packet(NAT_UDP, cv_addr_ipv4(PRIVATE, 5000), server);
        p.ttl = low[i];
        CHECK_EQ(carry(&w, w.host, &p, &at), NATNET_EXPIRED);
        p = packet(NAT_UDP, server, p.src);
        CHECK_EQ(carry(&w, w.server[0], &p, &at), NATNET_PASSED);
        CHECK_EQ(at, w.host);
    }
    natnet_fini(&w.net);
}

/* connectivity.md, 1: an early packet that the far gateway accepts spoils the
 * port that it was sent to; with a low TTL it never gets there. */
TEST(punching_through_gateways_that_accept_strays_needs_openers)
{
    for (int opener = 0; opener < 2; opener++) {
        struct world w;
        struct natbox *b[2];
        unsigned host[2], at;
        struct cv_addr mapped[2];
        const struct nat_point server = {0, 0};
        enum natnet_verdict v;

        world_init(&w);
        for (unsigned i = 0; i < 2; i++) {
            b[i] = natnet_box(&w.net, NATBOX_PORTRESTRICTED,
                              cv_addr_ipv4(0x14000a01 + (i << 8), 0), NULL);
            b[i]->strays = NATBOX_STRAYS_ACCEPT;
            host[i] = w.host =
                natnet_host(&w.net, cv_addr_ipv4(PRIVATE, 0), b[i]);
            CHECK(world_ask(&w, NAT_UDP, 5000, server, server, &mapped[i]));
        }
        for (unsigned i = 0; i < 2; i++) {
            struct natnet_packet p =
                packet(NAT_UDP, cv_addr_ipv4(PRIVATE, 5000), mapped[1 - i]);

            p.ttl = i == 0 && opener ? 5 : 64;
            v = carry(&w, host[i], &p, &at);
            CHECK_EQ(v, i == 0 ? (opener ? NATNET_EXPIRED : NATNET_REFUSED)
                               : (opener ? NATNET_PASSED : NATNET_REFUSED));
        }
        natnet_fini(&w.net);
    }
}

RUN_TESTS(T(each_kind_is_what_it_says), T(mappings_end_when_they_are_idle),
          T(rebinding_changes_every_mapping),
          T(two_hosts_with_one_port_have_a_mapping_each),
          T(only_a_carrier_with_hairpin_joins_its_customers),
          T(a_low_ttl_opens_the_own_nat_and_ends_on_the_way),
          T(punching_through_gateways_that_accept_strays_needs_openers))
