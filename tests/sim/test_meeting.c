/* Three members meet over a DHT that delays, loses and is away at times; many
 * seeds, an hour of virtual time each. */
#include "tests/unit/discovery_kit.h"

static struct kit_world world;
static struct kit_world *const w = &world;

#define SEEDS 60

static uint64_t seed_now;

static void say_seed(void)
{
    print_message("seed %llu\n", (unsigned long long)seed_now);
}

/* Like CHECK, with the seed. */
#define HOLDS(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            say_seed();                                                        \
            CHECK(cond);                                                       \
        }                                                                      \
    } while (0)

/* Knock at the host as an agent does: once, and again when told to. */
static void knock_when_found(struct kit_peer *p,
                             const struct cv_pointer_info *info)
{
    const struct cv_candidates own = kit_candidates(3);
    struct cv_contact contact;

    if (info->gone || p->n_answers > 0 ||
        !cv_key_equal(&info->node, &w->peers[0].person.node.pub))
        return;
    if (p->n_pointers == 1 || info->knock_again)
        REQUIRE(cv_rendezvous_knock(p->rv, &info->node, "Ada", NULL, &own,
                                    &contact) == CV_OK);
}

static void world_of(uint64_t seed, unsigned loss)
{
    seed_now = seed;
    kit_world_init(w, 3, seed);
    w->net.delay_min = 40 * CV_MILLISECOND;
    w->net.delay_max = 1400 * CV_MILLISECOND; /* p90 at 5 % loss, measured */
    w->net.loss_percent = loss;
    /* Anywhere in the hour, and clocks some minutes apart. */
    w->unix_start += kit_random(&w->net, 3600) * 1000;
    for (unsigned i = 0; i < 3; i++) {
        w->peers[i].skew_ms = (int64_t)kit_random(&w->net, 240000) - 120000;
        w->peers[i].on_pointer = i > 0 ? knock_when_found : NULL;
    }
    w->peers[0].answer_at_once = true;
    kit_publish(w, &w->peers[0], 3);
    kit_search(w, &w->peers[0]);
    for (unsigned i = 1; i < 3; i++) {
        kit_run(w, (cv_time)kit_random(&w->net, 20000) * CV_MILLISECOND);
        kit_search(w, &w->peers[i]);
    }
}

static bool all_answered(void)
{
    return w->peers[1].n_answers > 0 && w->peers[2].n_answers > 0;
}

static void nothing_odd(void **test_state_)
{
    for (unsigned i = 0; i < 3; i++) {
        const struct cv_rendezvous_counters n = kit_counters(&w->peers[i]);

        HOLDS(n.pointers_garbage + n.pointers_forged == 0);
        HOLDS(n.knocks_garbage + n.knocks_forged + n.knocks_limited == 0);
        HOLDS(n.answers_bad == 0);
        HOLDS(kit_ops_open(&w->net, &w->peers[i].dht) <= 40);
    }
}

static void meet(void **test_state_, unsigned loss, cv_time within)
{
    cv_time worst = 0, sum = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        cv_time began;

        world_of(seed, loss);
        began = w->net.now;
        while (!all_answered() && w->net.now - began < within)
            kit_run(w, 100 * CV_MILLISECOND);
        HOLDS(all_answered());
        sum += w->net.now - began;
        if (w->net.now - began > worst)
            worst = w->net.now - began;
        for (unsigned i = 1; i < 3; i++) {
            HOLDS(w->peers[i].answer.verdict == CV_VERDICT_OK);
            HOLDS(cv_key_equal(&w->peers[i].answer.contact.node,
                               &w->peers[0].person.node.pub));
        }
        nothing_odd(test_state_);
        kit_world_fini(w);
    }
    print_message("loss %u %%: all met after %.1f s on average, %.1f s at "
                  "worst\n",
                  loss, (double)(sum / SEEDS) / CV_SECOND,
                  (double)worst / CV_SECOND);
}

TEST(everybody_meets_without_loss)
{
    meet(test_state_, 0, 10 * CV_SECOND);
}

/* A loss here is of a whole put, or of a whole delivery, where OpenDHT has
 * eight copies of each; the limits follow from the schedule of the repetitions
 * (1, 3, 10, 20, 60 s, then every minute). */
TEST(everybody_meets_at_five_percent_loss)
{
    meet(test_state_, 5, 130 * CV_SECOND);
}

TEST(everybody_meets_at_twenty_percent_loss)
{
    meet(test_state_, 20, 14 * CV_MINUTE);
}

TEST(an_hour_with_outages_ends_with_a_living_pointer)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        world_of(seed, 10);
        for (unsigned part = 0; part < 12; part++) {
            struct kit_peer *p = &w->peers[kit_random(&w->net, 3)];

            p->dht.down = true;
            kit_run(w, (cv_time)kit_random(&w->net, 90) * CV_SECOND);
            p->dht.down = false;
            kit_run(w, 4 * CV_MINUTE);
            nothing_odd(test_state_);
        }
        for (unsigned i = 1; i < 3; i++) {
            HOLDS(w->peers[i].n_answers > 0);
            HOLDS(!w->peers[i].pointer.gone);
            HOLDS(kit_unix(w, &w->peers[0]) - w->peers[i].pointer.seq <
                  10 * 60 * 1000);
        }
        /* 12 refreshes, e + 1 beside e, failures; knocks and answers. */
        HOLDS(w->net.puts < 150);
        kit_world_fini(w);
    }
}

TEST(the_same_seed_gives_the_same_run)
{
    uint64_t seqs[2], orders[2];

    for (unsigned i = 0; i < 2; i++) {
        world_of(42, 10);
        kit_run(w, 2 * CV_MINUTE);
        seqs[i] = w->peers[1].pointer.seq;
        orders[i] = w->net.next_order;
        kit_world_fini(w);
    }
    CHECK_EQ(seqs[0], seqs[1]);
    CHECK_EQ(orders[0], orders[1]);
}

RUN_TESTS(T(everybody_meets_without_loss),
          T(everybody_meets_at_five_percent_loss),
          T(everybody_meets_at_twenty_percent_loss),
          T(an_hour_with_outages_ends_with_a_living_pointer),
          T(the_same_seed_gives_the_same_run))
