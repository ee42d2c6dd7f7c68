/* Plan P4 between two ends, each behind a NAT that follows connections: a
 * model of what the net lab's routers do, on a virtual clock. */
#include "transport/tcpplan.h"

#include "tests/test.h"

#define ONE_WAY (25 * CV_MILLISECOND)
#define POISON  (30 * CV_SECOND)

enum strays { DROP, ACCEPT, REJECT };

struct end {
    struct cv_tcpplan plan;
    struct cv_addr addr; /* as the other one knows it */
    enum strays strays;
    bool hole;             /* our NAT expects the other end */
    cv_time poisoned;      /* until then our SYNs leave from another port */
    bool by_port;          /* always so: it maps by destination */
    uint32_t channel;      /* of the socket that waits; 0: none */
    uint32_t last_channel; /* ever given */
    unsigned syns, full;   /* sent; of them with full TTL */
    bool met;              /* SYN_RECV: it answered the other's SYN */
    bool up;
    cv_time up_at;
};

enum segment { SYN, SYN_ACK, ACK, RST };

struct event {
    cv_time at;
    struct end *to;
    enum segment what;
    uint32_t sender; /* the socket that sent it */
    uint32_t mate;   /* the one it is for; not of a SYN */
    bool elsewhere;  /* it comes from a port that nobody told of */
    bool repeat;     /* by the kernel, if the socket is still there */
};

static struct end end[2];
static struct event queue[256];
static unsigned queued;
static cv_time now;

static struct end *other(const struct end *e)
{
    return e == &end[0] ? &end[1] : &end[0];
}

static void post(struct event e)
{
    REQUIRE(queued < 256);
    queue[queued++] = e;
}

static int on_connect(void *user, const struct cv_addr *to, unsigned ttl,
                      uint32_t *channel)
{
    struct end *e = user;
    bool elsewhere = e->by_port || now < e->poisoned;

    REQUIRE(cv_addr_equal(to, &other(e)->addr));
    REQUIRE(e->channel == 0); /* one socket at a time */
    REQUIRE(!e->up);
    e->syns++;
    if (!elsewhere)
        e->hole = true;
    *channel = e->channel = ++e->last_channel;
    if (ttl != 0) {
        REQUIRE(ttl <= 8);
        return CV_OK;
    }
    e->full++;
    post((struct event){.at = now + ONE_WAY,
                        .to = other(e),
                        .what = SYN,
                        .sender = *channel,
                        .elsewhere = elsewhere});
    post((struct event){.at = now + CV_SECOND + ONE_WAY,
                        .to = other(e),
                        .what = SYN,
                        .sender = *channel,
                        .elsewhere = elsewhere,
                        .repeat = true});
    return CV_OK;
}

static void on_close(void *user, uint32_t channel)
{
    struct end *e = user;

    REQUIRE(e->channel == channel);
    REQUIRE(!e->met); /* that would be a reset */
    e->channel = 0;
}

static bool on_met(void *user, uint32_t channel)
{
    struct end *e = user;

    REQUIRE(e->channel == channel);
    return e->met;
}

static const struct cv_tcpplan_ops ops = {
    .connect = on_connect,
    .is_met = on_met,
    .close = on_close,
};

static void answer(const struct event *v, enum segment what, uint32_t sender)
{
    post((struct event){.at = now + ONE_WAY,
                        .to = other(v->to),
                        .what = what,
                        .sender = sender,
                        .mate = v->sender});
}

static void on_syn(const struct event *v)
{
    struct end *e = v->to;

    if (v->repeat && other(e)->channel != v->sender)
        return;
    if (e->hole && !v->elsewhere) {
        /* Simultaneous open; what a listener answers the NAT drops. */
        if (e->channel != 0) {
            e->met = true;
            answer(v, SYN_ACK, e->channel);
        }
        return;
    }
    if (e->strays == DROP)
        return;
    if (e->strays == ACCEPT && !v->elsewhere)
        e->poisoned = now + POISON;
    answer(v, RST, 0);
}

static void arrive(const struct event *v)
{
    struct end *e = v->to;

    if (v->what == SYN) {
        on_syn(v);
    } else if (v->what == RST) {
        if (e->channel != v->mate)
            return;
        REQUIRE(!e->up); /* it would have been a connection */
        e->channel = 0;
        e->met = false;
        cv_tcpplan_down(&e->plan, v->mate, CV_ERR_DENIED, now);
    } else if (e->channel != v->mate) {
        answer(v, RST, 0); /* for a socket that is gone */
    } else if (!e->up) {
        e->up = true;
        e->up_at = now;
        REQUIRE(cv_tcpplan_up(&e->plan, e->channel));
        cv_tcpplan_stop(&e->plan);
        if (v->what == SYN_ACK)
            answer(v, ACK, e->channel);
    }
}

static void start(struct end *e, const struct cv_tcpplan_config *config)
{
    cv_tcpplan_init(&e->plan, config, NULL, &ops, e, now);
    REQUIRE(cv_tcpplan_add(&e->plan, &other(e)->addr, false, now));
}

static void reset(enum strays strays)
{
    memset(end, 0, sizeof end);
    queued = 0;
    now = CV_SECOND;
    for (unsigned i = 0; i < 2; i++) {
        end[i].addr = cv_addr_ipv4(0x05050505 + i, 5000);
        end[i].strays = strays;
        end[i].plan.stopped = true;
    }
}

/* Both plans and what is under way, until `until` or both are connected. */
static void run(cv_time until)
{
    while (!(end[0].up && end[1].up)) {
        cv_time next = until;
        unsigned which = queued;

        for (unsigned i = 0; i < 2; i++)
            next = cv_time_min(next, cv_tcpplan_deadline(&end[i].plan));
        for (unsigned i = 0; i < queued; i++)
            if (queue[i].at < next) {
                next = queue[i].at;
                which = i;
            }
        if (next >= until)
            break;
        if (next > now)
            now = next;
        if (which < queued) {
            struct event v = queue[which];

            memmove(&queue[which], &queue[which + 1],
                    (--queued - which) * sizeof v);
            arrive(&v);
        }
        for (unsigned i = 0; i < 2; i++)
            cv_tcpplan_step(&end[i].plan, now);
    }
    if (now < until && !(end[0].up && end[1].up))
        now = until;
}

static const struct cv_tcpplan_config joiner = {.joiner = true,
                                                .blocked = true};
static const struct cv_tcpplan_config sharer = {.blocked = true};

TEST(the_sharers_first_syn_meets_the_joiners)
{
    for (enum strays s = DROP; s <= REJECT; s++)
        for (cv_time late = 0; late < 2900 * CV_MILLISECOND;
             late += 37 * CV_MILLISECOND) {
            cv_time from;

            reset(s);
            start(&end[0], &joiner);
            cv_tcpplan_step(&end[0].plan, now);
            run(now + late);
            from = now;
            start(&end[1], &sharer);
            run(from + 10 * CV_SECOND);
            CHECK(end[0].up && end[1].up);
            CHECK(now - from <= 3 * ONE_WAY + CV_MILLISECOND);
            CHECK_EQ(end[1].syns, 1);
            CHECK_EQ(end[0].full, 0);
        }
}

TEST(a_token_that_is_carried_by_hand_is_waited_for)
{
    struct cv_tcpplan_config by_hand = joiner;

    by_hand.holds = true;
    for (enum strays s = DROP; s <= REJECT; s++)
        for (cv_time late = CV_SECOND; late < 14 * CV_MINUTE; late *= 3) {
            cv_time from;

            reset(s);
            start(&end[0], &by_hand);
            run(now + late);
            CHECK_EQ(end[0].full, 0);
            CHECK_EQ(end[0].syns, 3); /* the kernel repeats them */
            from = now;
            start(&end[1], &sharer);
            run(from + 10 * CV_SECOND);
            CHECK(end[0].up && now - from <= 3 * ONE_WAY + CV_MILLISECOND);
        }
}

/* Behind a NAT that maps by destination the joiner has to lead; whoever it gets
 * there does not know it yet. */
TEST(by_hand_an_open_address_is_dialled_now_and_then)
{
    struct cv_tcpplan_config by_hand = joiner;
    unsigned full = 0;

    by_hand.holds = true;
    by_hand.by_destination = true;
    reset(REJECT);
    cv_tcpplan_init(&end[0].plan, &by_hand, NULL, &ops, &end[0], now);
    CHECK(cv_tcpplan_add(&end[0].plan, &end[1].addr, true, now));
    for (unsigned i = 0; i < 15; i++) {
        run(now + CV_MINUTE);
        CHECK(end[0].full <= full + 4);
        full = end[0].full;
    }
    CHECK(full > 15);
    CHECK(full <= CV_TCPPLAN_BUDGET);
}

/* Over IPv6 the kernel takes each expiry for an error. */
TEST(by_hand_knocks_that_fail_are_rare)
{
    struct cv_tcpplan_config by_hand = joiner;

    by_hand.holds = true;
    reset(DROP);
    start(&end[0], &by_hand);
    for (cv_time until = now + 15 * CV_MINUTE; now < until;) {
        uint32_t channel;

        run(now + 50 * CV_MILLISECOND);
        channel = end[0].channel;
        if (channel == 0)
            continue;
        end[0].channel = 0;
        cv_tcpplan_down(&end[0].plan, channel, CV_ERR_NONET, now);
    }
    CHECK(end[0].syns >= 59);
    CHECK(end[0].syns <= 62);
    CHECK_EQ(end[0].full, 0);
}

/* What the kernel gives up is begun again. */
TEST(a_wait_goes_on_when_the_kernel_has_given_up)
{
    struct cv_tcpplan_config by_hand = joiner;

    by_hand.holds = true;
    reset(ACCEPT);
    start(&end[0], &by_hand);
    for (unsigned i = 0; i < 7; i++) {
        uint32_t channel;

        run(now + 127 * CV_SECOND);
        channel = end[0].channel;
        CHECK(channel != 0);
        end[0].channel = 0;
        cv_tcpplan_down(&end[0].plan, channel, CV_ERR_TIMEOUT, now);
    }
    run(now + CV_SECOND);
    CHECK(end[0].channel != 0);
    CHECK_EQ(end[0].full, 0);
    start(&end[1], &sharer);
    run(now + CV_SECOND);
    CHECK(end[0].up);
}

/* Gateways that only drop forgive any order; so does one that rejects. */
TEST(a_joiner_that_is_late_is_met_by_a_later_syn)
{
    for (enum strays s = DROP; s <= REJECT; s += REJECT)
        for (cv_time late = 10 * CV_MILLISECOND; late < 2 * CV_SECOND;
             late += 51 * CV_MILLISECOND) {
            cv_time from;

            reset(s);
            start(&end[1], &sharer);
            run(now + late);
            from = now;
            start(&end[0], &joiner);
            run(from + 10 * CV_SECOND);
            CHECK(end[0].up && end[1].up);
            CHECK(now - from <= 1100 * CV_MILLISECOND);
        }
}

TEST(below_a_living_connection_neither_has_to_be_first)
{
    for (enum strays s = DROP; s <= REJECT; s++)
        for (cv_time late = 0; late < 550 * CV_MILLISECOND;
             late += 50 * CV_MILLISECOND)
            for (unsigned first = 0; first < 2; first++) {
                cv_time from;

                reset(s);
                for (unsigned i = 0; i < 2; i++) {
                    start(&end[i], i == 0 ? &joiner : &sharer);
                    cv_tcpplan_stop(&end[i].plan);
                }
                cv_tcpplan_again(&end[first].plan, now);
                run(now + late);
                from = now;
                cv_tcpplan_again(&end[1 - first].plan, now);
                run(from + 10 * CV_SECOND);
                CHECK(end[0].up && end[1].up);
                CHECK(now - from <= 1300 * CV_MILLISECOND);
            }
}

/* Somebody who never answers, however he does not. */
TEST(a_bystander_gets_no_more_than_the_budget)
{
    for (enum strays s = DROP; s <= REJECT; s++)
        for (unsigned side = 0; side < 2; side++) {
            struct end *e = &end[side];
            unsigned spent;

            reset(s);
            start(e, side == 0 ? &joiner : &sharer);
            run(now + CV_MINUTE);
            CHECK(e->full > 0);
            CHECK(e->syns <= CV_TCPPLAN_BUDGET);
            CHECK(e->plan.target[0].syns <= CV_TCPPLAN_BUDGET);
            spent = e->syns;
            /* A connection that lives elsewhere and loses its paths. */
            cv_tcpplan_stop(&e->plan);
            e->channel = 0;
            cv_tcpplan_again(&e->plan, now);
            run(now + CV_HOUR);
            CHECK(e->syns <= CV_TCPPLAN_BUDGET);
            CHECK(spent <= e->syns);
        }
}

TEST(udp_has_half_a_second_unless_it_is_known_to_be_blocked)
{
    struct cv_tcpplan_config config = {0};

    reset(DROP);
    start(&end[1], &config);
    run(now + CV_TCPPLAN_WAIT - 1);
    CHECK_EQ(end[1].syns, 0);
    run(now + 2);
    CHECK_EQ(end[1].syns, 1);

    reset(DROP);
    start(&end[1], &config);
    run(now + 100 * CV_MILLISECOND);
    cv_tcpplan_hurry(&end[1].plan, now);
    run(now + CV_MILLISECOND);
    CHECK_EQ(end[1].syns, 1);

    /* The joiner's NAT is open by then. */
    reset(DROP);
    config.joiner = true;
    start(&end[0], &config);
    run(now + CV_TCPPLAN_WAIT - CV_TCPPLAN_LEAD + CV_MILLISECOND);
    CHECK_EQ(end[0].syns, 1);
    CHECK_EQ(end[0].full, 0);

    /* And nothing happens at all when UDP was quick. */
    reset(DROP);
    start(&end[0], &config);
    run(now + 200 * CV_MILLISECOND);
    cv_tcpplan_stop(&end[0].plan);
    run(now + CV_MINUTE);
    CHECK_EQ(end[0].syns, 0);
    CHECK_EQ(cv_tcpplan_deadline(&end[0].plan), CV_NEVER);
}

TEST(a_joiner_leads_when_only_it_can)
{
    struct cv_tcpplan_config config = joiner;

    config.by_destination = true;
    reset(DROP);
    end[0].by_port = true;
    start(&end[0], &config);
    run(now + CV_TCPPLAN_EARLY + CV_MILLISECOND);
    CHECK_EQ(end[0].full, 1);

    reset(DROP);
    start(&end[0], &joiner);
    run(now + 100 * CV_MILLISECOND);
    cv_tcpplan_full(&end[0].plan, now); /* the answer */
    run(now + CV_TCPPLAN_ANSWER - 1);
    CHECK_EQ(end[0].full, 0);
    run(now + CV_MILLISECOND);
    CHECK_EQ(end[0].full, 1);
}

/* The sharer has the knock, and the joiner knows. */
static void lead(cv_time *from)
{
    *from = now;
    start(&end[1], &sharer);
    cv_tcpplan_lead(&end[1].plan, now);
    cv_tcpplan_lead(&end[0].plan, now);
}

TEST(with_a_gate_the_joiner_is_connected_first)
{
    cv_time from;

    for (enum strays s = DROP; s <= REJECT; s++) {
        reset(s);
        start(&end[0], &joiner);
        cv_tcpplan_step(&end[0].plan, now);
        run(now + 2 * ONE_WAY);
        lead(&from);
        run(from + CV_SECOND);
        CHECK(end[0].up && end[1].up);
        CHECK_EQ((end[0].up_at - from) / CV_MILLISECOND, 50);
        CHECK_EQ((end[1].up_at - from) / CV_MILLISECOND, 75);
        CHECK_EQ(end[0].full, 1);
        CHECK_EQ(end[1].full, 0);
    }
}

TEST(a_joiner_that_cannot_lead_is_met_by_the_sharer)
{
    cv_time from;

    reset(DROP);
    end[0].by_port = true; /* the sharer's NAT does not expect that port */
    start(&end[0], &joiner);
    cv_tcpplan_step(&end[0].plan, now);
    run(now + 2 * ONE_WAY);
    end[0].hole = true;
    lead(&from);
    run(from + CV_SECOND);
    CHECK(end[0].up && end[1].up);
    CHECK(end[1].up_at - from >= CV_TCPPLAN_LED);
    CHECK_EQ(end[1].full, 1);
}

TEST(nobody_leads_where_udp_is_waited_for)
{
    struct cv_tcpplan_config config = {.joiner = true};

    reset(DROP);
    start(&end[0], &config);
    cv_tcpplan_lead(&end[0].plan, now);
    run(now + CV_TCPPLAN_WAIT - CV_TCPPLAN_LEAD - 1);
    CHECK_EQ(end[0].syns, 0);
}

TEST(an_address_is_taken_once_and_old_ones_give_way)
{
    struct cv_addr a = cv_addr_ipv4(0x05050506, 1025);

    reset(DROP);
    start(&end[0], &joiner);
    CHECK(!cv_tcpplan_add(&end[0].plan, &end[1].addr, false, now));
    cv_tcpplan_stop(&end[0].plan);
    for (unsigned i = 0; i < 3 * CV_CANDIDATES_MAX; i++) {
        a.port++;
        CHECK(cv_tcpplan_add(&end[0].plan, &a, false, now));
        CHECK(end[0].plan.n <= CV_CANDIDATES_MAX);
    }
    CHECK_EQ(cv_tcpplan_deadline(&end[0].plan), CV_NEVER);
}

RUN_TESTS(T(the_sharers_first_syn_meets_the_joiners),
          T(a_token_that_is_carried_by_hand_is_waited_for),
          T(by_hand_an_open_address_is_dialled_now_and_then),
          T(by_hand_knocks_that_fail_are_rare),
          T(a_wait_goes_on_when_the_kernel_has_given_up),
          T(a_joiner_that_is_late_is_met_by_a_later_syn),
          T(below_a_living_connection_neither_has_to_be_first),
          T(a_bystander_gets_no_more_than_the_budget),
          T(udp_has_half_a_second_unless_it_is_known_to_be_blocked),
          T(a_joiner_leads_when_only_it_can),
          T(with_a_gate_the_joiner_is_connected_first),
          T(a_joiner_that_cannot_lead_is_met_by_the_sharer),
          T(nobody_leads_where_udp_is_waited_for),
          T(an_address_is_taken_once_and_old_ones_give_way))
