/* When the first packets of a connection over a gate can go straight across:
 * 25 ms between any two, so 50 ms over the gate, on a virtual clock. */
#include "tests/sim/natsim.h"

#define MS      CV_MILLISECOND
#define ONE_WAY (25 * MS)
#define NEVER   (1 * CV_SECOND)

/* When each end may send to the other without the gate: the way is proved, or
 * an authenticated check has just come from there. */
struct open {
    cv_time joiner, sharer;
};

static bool may_send(const struct sim_host *h, cv_time now)
{
    return h->attempt &&
           (h->reached > 0 || cv_pathset_promising(&h->attempt->paths, now));
}

/* The knock arrives 50 ms after it left; 50 ms is also when the gate says so
 * to the joiner. */
static struct open run(enum sim_nat_kind joiner, enum sim_nat_kind sharer,
                       enum natbox_strays strays)
{
    struct sim *sim = sim_new(1, joiner, sharer);
    struct cv_candidates j, c;
    struct open r = {NEVER, NEVER};
    cv_time start = sim->now;

    sim->delay = ONE_WAY;
    sim_strays(sim, strays);
    j = sim_candidates(sim, 0);
    c = sim_candidates(sim, 1);
    sim_start(sim, 0, &c, true);
    for (cv_time t = 0; t < 300 * MS; t += MS) {
        sim_run(sim, start + t, false);
        if (t == 2 * ONE_WAY) {
            sim_start(sim, 1, &j, true);
            cv_attempt_handed(sim->host[0].attempt, sim->now);
            cv_attempt_step(sim->host[0].attempt, sim->now);
        }
        if (r.joiner == NEVER && may_send(&sim->host[0], sim->now))
            r.joiner = t;
        if (r.sharer == NEVER && may_send(&sim->host[1], sim->now))
            r.sharer = t;
    }
    sim_free(sim);
    return r;
}

/* From the dial to the echo: the sharer answers the handshake when it has the
 * knock, the joiner ends it and asks, the sharer echoes.  What comes at the
 * same moment straight across comes first: an answer takes longer to make than
 * a check. */
static cv_time echo_at(const struct open *o)
{
    cv_time t = 2 * ONE_WAY;

    t += o->sharer <= t + MS ? ONE_WAY : 2 * ONE_WAY;
    t += o->joiner <= t + MS ? ONE_WAY : 2 * ONE_WAY;
    t += o->sharer <= t + MS ? ONE_WAY : 2 * ONE_WAY;
    return t;
}

static int echo_ms(enum sim_nat_kind joiner, enum sim_nat_kind sharer,
                   enum natbox_strays strays)
{
    struct open o = run(joiner, sharer, strays);

    print_message("%-15s knocks at %-15s: sends at %3lld, %3lld ms; echo at "
                  "%lld ms\n",
                  sim_kind_name(joiner), sim_kind_name(sharer),
                  (long long)(o.joiner / MS), (long long)(o.sharer / MS),
                  (long long)(echo_at(&o) / MS));
    return (int)(echo_at(&o) / MS);
}

/* What a joiner sends to an open address at once is there before the knock. */
TEST(an_open_peer_answers_the_handshake_straight_across)
{
    for (enum sim_nat_kind k = 0; k < SIM_KINDS; k++)
        CHECK_EQ(echo_ms(k, SIM_NONE, NATBOX_STRAYS_DROP), 125);
}

/* Otherwise the first one to be let in is whoever comes second. */
TEST(cones_with_each_other_send_the_rest_of_it_straight_across)
{
    for (enum sim_nat_kind a = SIM_NONE; a <= SIM_PORT; a++)
        for (enum sim_nat_kind b = SIM_FULL_CONE; b <= SIM_PORT; b++)
            CHECK_EQ(echo_ms(a, b, NATBOX_STRAYS_DROP), 150);
}

TEST(a_hard_joiner_leads_as_soon_as_the_knock_is_there)
{
    for (enum sim_nat_kind a = SIM_SYMMETRIC; a <= SIM_COUNTING; a++)
        for (enum sim_nat_kind b = SIM_FULL_CONE; b <= SIM_ADDRESS; b++) {
            CHECK_EQ(echo_ms(a, b, NATBOX_STRAYS_DROP), 150);
            CHECK_EQ(echo_ms(a, b, NATBOX_STRAYS_ACCEPT), 150);
            CHECK_EQ(echo_ms(a, b, NATBOX_STRAYS_REJECT), 150);
        }
}

TEST(a_hard_sharer_is_let_in_by_whoever_dialled_it)
{
    for (enum sim_nat_kind a = SIM_NONE; a <= SIM_ADDRESS; a++)
        for (enum sim_nat_kind b = SIM_SYMMETRIC; b <= SIM_COUNTING; b++)
            CHECK_EQ(echo_ms(a, b, NATBOX_STRAYS_DROP), 150);
}

/* While nobody else uses it. */
TEST(a_nat_that_counts_is_guessed_right_as_soon_as_the_knock_is_there)
{
    CHECK_EQ(echo_ms(SIM_PORT, SIM_COUNTING, NATBOX_STRAYS_DROP), 150);
    CHECK_EQ(echo_ms(SIM_COUNTING, SIM_PORT, NATBOX_STRAYS_DROP), 150);
}

/* Its ports have to be guessed, which begins when both are there, and takes
 * longer than what is left of the handshake. */
TEST(a_strict_peer_of_a_random_one_is_met_after_the_handshake)
{
    CHECK_EQ(echo_ms(SIM_PORT, SIM_SYMMETRIC, NATBOX_STRAYS_DROP), 200);
}

/* ---- TCP ---------------------------------------------------------------- */

static cv_time first_syn;
static const struct sim *syn_sim;

static int on_connect(void *user, const struct cv_addr *to, unsigned ttl,
                      uint32_t *channel)
{
    (void)user;
    (void)to;
    (void)ttl;
    *channel = 1;
    first_syn = cv_time_min(first_syn, syn_sim->now);
    return CV_OK;
}

static void on_close(void *user, uint32_t channel)
{
    (void)user;
    (void)channel;
}

static bool on_met(void *user, uint32_t channel)
{
    (void)user;
    (void)channel;
    return false;
}

/* A joiner's first SYN, when the peer names these addresses. */
static int syn_ms(bool silent, unsigned n, uint8_t first)
{
    static const struct cv_tcpplan_ops ops = {
        .connect = on_connect, .close = on_close, .is_met = on_met};
    struct cv_attempt_events events = sim_events;
    struct sim *sim = sim_new(1, SIM_PORT, SIM_PORT);
    struct sim_host *h = &sim->host[0];
    struct cv_contact contact = {.knocked = true, .peer = {.n = n}};
    cv_time start = sim->now;

    for (unsigned i = 0; i < n; i++)
        contact.peer.c[i] =
            (struct cv_candidate){.type = i == 0 ? first : CV_CANDIDATE_TCP,
                                  .addr = cv_addr_ipv4(0x05020202, 5000)};
    events.tcp = &ops;
    h->local.tcp_port = h->local.port;
    h->local.udp_silent = silent;
    h->attempt = calloc(1, sizeof *h->attempt);
    REQUIRE(h->attempt != NULL);
    first_syn = CV_NEVER;
    syn_sim = sim;
    cv_attempt_init(h->attempt, &contact, &h->local, &sim->rng, NULL, sim_send,
                    &events, h, sim->now);
    sim_run(sim, start + CV_SECOND, false);
    sim_free(sim);
    return (int)((first_syn - start) / MS);
}

TEST(tcp_waits_for_udp_only_if_udp_may_work)
{
    CHECK_EQ(syn_ms(false, 2, CV_CANDIDATE_SRFLX), 300); /* a knock */
    CHECK_EQ(syn_ms(true, 2, CV_CANDIDATE_SRFLX), 0);
    CHECK_EQ(syn_ms(false, 1, CV_CANDIDATE_TCP), 0);
}

RUN_TESTS(T(tcp_waits_for_udp_only_if_udp_may_work),
          T(an_open_peer_answers_the_handshake_straight_across),
          T(cones_with_each_other_send_the_rest_of_it_straight_across),
          T(a_hard_joiner_leads_as_soon_as_the_knock_is_there),
          T(a_hard_sharer_is_let_in_by_whoever_dialled_it),
          T(a_nat_that_counts_is_guessed_right_as_soon_as_the_knock_is_there),
          T(a_strict_peer_of_a_random_one_is_met_after_the_handshake))
