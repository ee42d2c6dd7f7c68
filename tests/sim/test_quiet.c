/* Connections that nothing is said on, behind NATs that forget soon: how long
 * those keep what is idle is measured first, and keep-alives follow. */
#include "tests/sim/natsim.h"
#include "transport/natlife.h"

#define SEEDS 8

/* The server answers from where it was asked, to the port that is wanted; the
 * number of the socket that this comes to, or -1. */
static int answer(struct sim *sim, struct sim_host *h,
                  const struct natnet_packet *request, uint16_t port,
                  cv_time now)
{
    struct natnet_packet p = {.proto = IPPROTO_UDP,
                              .ttl = 64 - NATNET_HOPS,
                              .src = request->dst,
                              .dst = request->src};
    unsigned host;

    if (port != 0)
        p.dst.port = port;
    if (natnet_in(&sim->net, &p, now, &host) != NATNET_PASSED ||
        host != h->index)
        return -1;
    return p.dst.port == h->addr.port ? 0 : p.dst.port - SIM_FIRST;
}

/* One request of the host to a server that obeys RESPONSE-PORT. */
static void ask(struct sim *sim, struct sim_host *h, struct cv_natlife *l,
                const struct cv_path_addr *to, const struct cv_writer *w)
{
    struct cv_path_addr from = *to;
    struct natnet_packet out;
    struct cv_writer reply;
    struct cv_stun m;
    uint8_t buf[128];
    int socket;

    REQUIRE(cv_stun_parse(&m, w->data, w->len) == CV_OK);
    if (!sim_out(sim, h, sim_inner(h, to->socket), 64, &to->remote, &out))
        return;
    socket = answer(sim, h, &out, m.response_port, sim->now);
    if (socket < 0)
        return;
    from.socket = (uint16_t)socket;
    cv_writer_init(&reply, buf, sizeof buf);
    cv_stun_begin(&reply, CV_STUN_SUCCESS, m.txid);
    cv_stun_put_xor_addr(&reply, &out.src);
    REQUIRE(cv_stun_parse(&m, buf, reply.len) == CV_OK);
    (void)cv_natlife_input(l, &from, &m, sim->now);
}

static cv_time measure(struct sim *sim, unsigned i)
{
    struct cv_addr server = cv_addr_ipv4(0x05060708, 3478);
    struct sim_host *h = &sim->host[i];
    struct cv_natlife l = {0};
    cv_time life;

    cv_natlife_start(&l, &server, sim_open, sim_close, h, sim->now);
    while (l.state == CV_NATLIFE_RUNS) {
        struct cv_path_addr to;
        struct cv_writer w;
        uint8_t buf[128];

        sim->now = cv_natlife_deadline(&l);
        cv_writer_init(&w, buf, sizeof buf);
        if (cv_natlife_step(&l, &sim->rng, sim->now, &to, &w))
            ask(sim, h, &l, &to, &w);
    }
    REQUIRE(l.state == CV_NATLIFE_DONE);
    life = cv_natlife_hoped(&l);
    cv_natlife_end(&l);
    return life;
}

/* Two that are connected and quiet for `time`, the first behind a symmetric
 * NAT: how often has either lost its path? */
static unsigned losses(uint64_t seed, int timeout, bool measured, cv_time time,
                       unsigned *packets)
{
    struct sim *sim = sim_new(seed, SIM_SYMMETRIC, SIM_PORT);
    struct cv_candidates j, c;
    unsigned n, before;

    for (unsigned i = 0; i < 2; i++) {
        sim->host[i].nat->udp_timeout = timeout * CV_SECOND;
        if (measured)
            sim->host[i].local.udp_life = measure(sim, i);
    }
    j = sim_candidates(sim, 0);
    c = sim_candidates(sim, 1);
    sim_start(sim, 0, &c, true);
    sim_start(sim, 1, &j, true);
    sim_run(sim, sim->now + 5 * CV_SECOND, false);
    REQUIRE(sim->host[0].reached && sim->host[1].reached);
    n = sim->host[0].silences + sim->host[1].silences;
    before = sim->host[0].sent + sim->host[1].sent;
    sim_run(sim, sim->now + time, false);
    n = sim->host[0].silences + sim->host[1].silences - n;
    *packets = sim->host[0].sent + sim->host[1].sent - before;
    sim_free(sim);
    return n;
}

TEST(what_a_nat_of_any_kind_forgets_is_measured)
{
    static const struct {
        int timeout, life;
    } cases[] = {{3, 4},   {6, 5},    {10, 9},   {25, 19},
                 {30, 29}, {100, 58}, {300, 115}};

    for (enum sim_nat_kind k = SIM_FULL_CONE; k < SIM_KINDS; k++)
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct sim *sim = sim_new(1, k, SIM_NONE);

            sim->host[0].nat->udp_timeout = cases[i].timeout * CV_SECOND;
            CHECK_EQ(measure(sim, 0), cases[i].life * CV_SECOND);
            sim_free(sim);
        }
}

/* And costs no more than it must where NATs remember for longer. */
TEST(a_quiet_connection_stays_when_keep_alives_were_measured)
{
    static const int timeouts[] = {6, 10, 20, 60, 300};

    for (unsigned i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        bool forgetful = timeouts[i] < 15;
        unsigned measured = 0, assumed = 0, packets = 0, usual = 0;

        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            measured +=
                losses(seed, timeouts[i], true, 10 * CV_MINUTE, &packets);
            assumed += losses(seed, timeouts[i], false,
                              forgetful ? CV_MINUTE : 10 * CV_MINUTE, &usual);
        }
        print_message("forgets after %3d s: lost %u times of %d, %u packets in "
                      "10 min; assumed: %u times, %u packets in %d min\n",
                      timeouts[i], measured, SEEDS, packets, assumed, usual,
                      forgetful ? 1 : 10);
        CHECK_EQ(measured, 0);
        CHECK(forgetful ? assumed >= SEEDS : assumed == 0);
        if (timeouts[i] >= 60)
            CHECK(packets < usual);
    }
}

/* What was said before is not too late: the check that was to come in 15 s
 * comes sooner. */
TEST(a_life_that_is_learnt_late_counts_at_once)
{
    struct sim *sim = sim_new(1, SIM_SYMMETRIC, SIM_PORT);
    struct cv_candidates j = sim_candidates(sim, 0), c = sim_candidates(sim, 1);
    struct cv_pathset *ps;

    sim_start(sim, 0, &c, true);
    sim_start(sim, 1, &j, true);
    sim_run(sim, sim->now + 10 * CV_SECOND, false);
    ps = &sim->host[0].attempt->paths;
    CHECK(cv_pathset_deadline(ps) > sim->now + 5 * CV_SECOND);
    sim->host[0].local.udp_life = 5 * CV_SECOND;
    cv_pathset_life_changed(ps);
    CHECK(cv_pathset_deadline(ps) <= sim->now + 2500 * CV_MILLISECOND);
    sim_free(sim);
}

RUN_TESTS(T(what_a_nat_of_any_kind_forgets_is_measured),
          T(a_quiet_connection_stays_when_keep_alives_were_measured),
          T(a_life_that_is_learnt_late_counts_at_once))
