/* Meeting places over a DHT on a virtual clock (discovery_kit.h). */
#include "tests/unit/rendezvous_kit.h"

/* A shelf of one pointer at each place, which the DHT knows nothing of. */
static struct {
    uint8_t loc[20];
    struct cv_bytes sealed;
    uint8_t data[2048];
    unsigned looks;
} shelf;

static void shelf_store(void *user, const uint8_t loc[20], unsigned ttl_s,
                        struct cv_bytes sealed)
{
    (void)user;
    (void)ttl_s;
    REQUIRE(sealed.len <= sizeof(shelf.data));
    memcpy(shelf.loc, loc, 20);
    memcpy(shelf.data, sealed.data, sealed.len);
    shelf.sealed = CV_BYTES(shelf.data, sealed.len);
}

static void shelf_look(void *user, const uint8_t loc[20])
{
    struct kit_peer *p = user;

    shelf.looks++;
    if (shelf.sealed.len > 0 && memcmp(loc, shelf.loc, 20) == 0)
        cv_rendezvous_found(p->rv, loc, shelf.sealed);
}

static const struct cv_rendezvous_shelf a_shelf = {shelf_store, shelf_look};

TEST(who_comes_before_the_pointer_looks_at_the_shelf_again_soon)
{
    memset(&shelf, 0, sizeof(shelf));
    kit_world_init_beside(w, 2, 1, &a_shelf);
    w->net.loss_percent = 100;
    kit_search(w, guest);
    kit_run(w, 5 * CV_SECOND);
    CHECK_EQ(guest->n_pointers, 0);

    kit_publish(w, host, 3);
    kit_run(w, 3 * CV_SECOND);
    CHECK_EQ(guest->n_pointers, 1);
    kit_world_fini(w);
}

TEST(a_shelf_with_nothing_is_asked_ever_more_seldom)
{
    unsigned early;

    memset(&shelf, 0, sizeof(shelf));
    kit_world_init_beside(w, 2, 1, &a_shelf);
    kit_search(w, guest);
    kit_run(w, 30 * CV_SECOND);
    early = shelf.looks;
    CHECK(early <= 3 * 15);
    kit_run(w, CV_MINUTE);
    CHECK(shelf.looks - early <= 3 * 7);
    CHECK(shelf.looks > early);
    kit_world_fini(w);
}

TEST(what_was_found_may_lead_nowhere)
{
    unsigned before;

    memset(&shelf, 0, sizeof(shelf));
    kit_world_init_beside(w, 2, 1, &a_shelf);
    w->net.loss_percent = 100;
    kit_publish(w, host, 3);
    kit_search(w, guest);
    kit_run(w, 2 * CV_MINUTE);
    CHECK_EQ(guest->pointer.candidates.n, 3);
    kit_publish(w, host, 4);
    kit_run(w, 12 * CV_SECOND);
    CHECK_EQ(guest->pointer.candidates.n, 4);

    /* Who is connected has time. */
    cv_rendezvous_connected(guest->rv, true);
    kit_run(w, 11 * CV_SECOND);
    before = shelf.looks;
    kit_run(w, 4 * CV_MINUTE);
    CHECK_EQ(shelf.looks, before);
    cv_rendezvous_connected(guest->rv, false);
    kit_publish(w, host, 3);
    kit_run(w, 4 * CV_SECOND);
    CHECK_EQ(guest->pointer.candidates.n, 3);
    kit_world_fini(w);
}

TEST(a_sharer_is_found_knocked_at_and_answers)
{
    struct cv_contact contact;
    cv_time began;

    kit_world_init(w, 2, 1);
    kit_publish(w, host, 3);
    kit_run(w, 5 * CV_SECOND);
    CHECK_EQ(host->stages[CV_RV_PUBLISHED], 1);
    CHECK_EQ(host->stages[CV_RV_UNPUBLISHED], 0);

    began = w->net.now;
    kit_search(w, guest);
    CHECK_EQ(guest->stages[CV_RV_SEARCHING], 1);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(guest->n_pointers, 1);
    CHECK(guest->pointer_at - began < 500 * CV_MILLISECOND);
    CHECK_EQ(guest->stages[CV_RV_FOUND], 1);
    CHECK(cv_key_equal(&guest->pointer.node, &host->person.node.pub));
    CHECK(cv_key_equal(&guest->pointer.identity, &host->person.identity.pub));
    CHECK_EQ(guest->pointer.role, CV_ROLE_HOST);
    CHECK(guest->pointer.admits);
    CHECK(!guest->pointer.gone);
    CHECK_EQ(guest->pointer.candidates.n, 3);

    host->answer_at_once = true;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    CHECK(contact.knocked);
    CHECK(cv_key_equal(&contact.node, &host->person.node.pub));
    CHECK_EQ(contact.peer.n, 3);
    kit_run(w, 3 * CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    CHECK(cv_key_equal(&host->knock.contact.node, &guest->person.node.pub));
    CHECK(cv_key_equal(&host->knock.contact.identity,
                       &guest->person.identity.pub));
    CHECK(!host->knock.contact.knocked);
    CHECK_STR(host->knock.name, "Ada");
    CHECK(!host->knock.has_grant);
    CHECK(!host->knock.is_update);
    CHECK_EQ(host->knock.contact.peer.n, 3);
    /* Both ends name the attempt alike and hold the same secret. */
    CHECK_MEM(host->knock.contact.attempt, contact.attempt, 8);
    CHECK_MEM(host->knock.contact.shared, contact.shared, 32);

    CHECK_EQ(guest->n_answers, 1);
    CHECK_EQ(guest->answer.verdict, CV_VERDICT_OK);
    CHECK_EQ(guest->answer.contact.peer.n, 2);
    CHECK_MEM(guest->answer.contact.attempt, contact.attempt, 8);
    CHECK_MEM(guest->answer.contact.shared, contact.shared, 32);
    kit_world_fini(w);
}

TEST(ask_comes_first_and_ok_later)
{
    struct cv_contact contact;
    struct cv_candidates own = kit_candidates(1);

    found(test_state_);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, CV_SECOND);
    CHECK_EQ(
        cv_rendezvous_answer(host->rv, contact.attempt, CV_VERDICT_ASK, NULL),
        CV_OK);
    kit_run(w, 30 * CV_SECOND);
    CHECK_EQ(guest->n_answers, 1);
    CHECK_EQ(guest->answer.verdict, CV_VERDICT_ASK);
    CHECK_EQ(guest->answer.contact.peer.n, 3); /* still the pointer's */
    kit_run(w, 20 * CV_MINUTE);
    CHECK_EQ(
        cv_rendezvous_answer(host->rv, contact.attempt, CV_VERDICT_OK, &own),
        CV_OK);
    kit_run(w, CV_SECOND);
    CHECK_EQ(guest->n_answers, 2);
    CHECK_EQ(guest->answer.verdict, CV_VERDICT_OK);
    CHECK_EQ(guest->answer.contact.peer.n, 1);
    CHECK_EQ(cv_rendezvous_answer(host->rv, (const uint8_t *)"nothere!",
                                  CV_VERDICT_OK, &own),
             CV_ERR_NOTFOUND);
    kit_world_fini(w);
}

TEST(an_unanswered_knock_is_repeated_and_then_stops)
{
    struct cv_contact contact;
    uint64_t before;

    found(test_state_);
    before = w->net.puts;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 65 * CV_SECOND);
    CHECK_EQ(w->net.puts - before, 6); /* 0, 1, 3, 10, 20, 60 s */
    CHECK_EQ(host->n_knocks, 1);       /* the others are repetitions */
    CHECK_EQ(kit_counters(host).knocks_replayed, 5);
    cv_rendezvous_stop_knocking(guest->rv, &host->person.node.pub);
    before = w->net.puts;
    kit_run(w, 3 * CV_MINUTE);
    CHECK(w->net.puts - before <= 1); /* the host's pointer */
    kit_world_fini(w);
}

TEST(a_knock_goes_through_when_its_first_slot_is_lost)
{
    struct cv_contact contact;
    struct cv_place place;

    found(test_state_);
    host->answer_at_once = true;
    w->net.loss_percent = 100;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 500 * CV_MILLISECOND);
    w->net.loss_percent = 0;
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    /* It is a repetition under another key, of the same attempt. */
    CHECK_MEM(host->knock.contact.attempt, contact.attempt, 8);
    CHECK_MEM(host->knock.contact.shared, contact.shared, 32);
    CHECK_EQ(guest->n_answers, 1);
    place = place_now(0);
    CHECK(stored(&place.loc) != NULL);
    kit_world_fini(w);
}

TEST(an_answer_that_was_lost_is_given_again_when_the_knock_is_repeated)
{
    struct cv_contact contact;

    found(test_state_);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    w->net.loss_percent = 100;
    CHECK_EQ(
        cv_rendezvous_answer(host->rv, contact.attempt, CV_VERDICT_NO, NULL),
        CV_OK);
    kit_run(w, CV_SECOND);
    w->net.loss_percent = 0;
    kit_run(w, 5 * CV_SECOND);
    CHECK_EQ(guest->n_answers, 0);
    kit_run(w, 10 * CV_SECOND);
    CHECK_EQ(guest->n_answers, 1);
    CHECK_EQ(guest->answer.verdict, CV_VERDICT_NO);
    kit_world_fini(w);
}

TEST(further_candidates_update_the_same_attempt)
{
    struct cv_contact contact, again;

    found(test_state_);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_knock(w, guest, host, &again), CV_OK);
    CHECK_MEM(again.attempt, contact.attempt, 8);
    CHECK_MEM(again.shared, contact.shared, 32);
    kit_run(w, 3 * CV_SECOND);
    CHECK_EQ(host->n_knocks, 2);
    CHECK(host->knock.is_update);
    CHECK_MEM(host->knock.contact.attempt, contact.attempt, 8);
    CHECK_MEM(host->knock.contact.shared, contact.shared, 32);
    kit_world_fini(w);
}

TEST(a_knock_needs_a_living_pointer)
{
    struct cv_contact contact;

    kit_world_init(w, 2, 1);
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_ERR_NOTFOUND);
    kit_world_fini(w);

    found(test_state_);
    host->dht.down = true; /* no refreshing any more */
    kit_run(w, 10 * CV_MINUTE);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    cv_rendezvous_stop_knocking(guest->rv, &host->person.node.pub);
    kit_run(w, 8 * CV_MINUTE);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_ERR_NOTFOUND);
    kit_world_fini(w);
}

TEST(withdrawing_says_that_it_is_gone)
{
    struct cv_contact contact;
    unsigned pointers;

    found(test_state_);
    pointers = guest->n_pointers;
    cv_rendezvous_withdraw(host->rv, kit_on_left, host);
    kit_step(w, host);
    CHECK_EQ(host->n_left, 0);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(host->n_left, 1);
    CHECK_EQ(guest->n_gone, 1);
    CHECK_EQ(guest->n_pointers, pointers);
    CHECK(guest->pointer.gone);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_ERR_NOTFOUND);
    CHECK_EQ(kit_ops_open(&w->net, &host->dht), 0); /* it serves no more */
    /* One who comes later may see the old one first, but not last. */
    kit_run(w, CV_MINUTE);
    cv_rendezvous_search(guest->rv, false);
    kit_step(w, guest);
    CHECK_EQ(kit_ops_open(&w->net, &guest->dht), 0);

    /* It may come back. */
    kit_search(w, guest);
    kit_publish(w, host, 2);
    kit_run(w, 3 * CV_SECOND);
    CHECK(!guest->pointer.gone);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_world_fini(w);
}

TEST(withdrawing_ends_within_two_seconds_without_a_network)
{
    found(test_state_);
    host->dht.down = true;
    cv_rendezvous_withdraw(host->rv, kit_on_left, host);
    kit_step(w, host);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(host->n_left, 1);
    kit_world_fini(w);

    /* And when nothing was ever said. */
    kit_world_init(w, 1, 1);
    cv_rendezvous_withdraw(host->rv, kit_on_left, host);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_left, 1);
    kit_world_fini(w);
}

TEST(a_pointer_is_refreshed_every_five_minutes_and_lives_through_epochs)
{
    cv_unix_ms seen;
    struct cv_contact contact;

    found(test_state_);
    for (unsigned i = 0; i < 3 * 60; i++) {
        kit_run(w, CV_MINUTE);
        seen = guest->pointer.seq;
        CHECK(kit_unix(w, host) - seen < 6 * 60 * 1000);
    }
    /* 36 refreshes, and e + 1 beside e for five minutes of each hour. */
    CHECK(w->net.puts < 50);
    CHECK_EQ(host->stages[CV_RV_UNPUBLISHED], 0);
    CHECK_EQ(guest->stages[CV_RV_FOUND], 1);
    host->answer_at_once = true;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(guest->n_answers, 1);
    /* Watches 3, offices 1 with 4 slots; nothing piles up. */
    CHECK(kit_ops_open(&w->net, &guest->dht) <= 6);
    CHECK(kit_ops_open(&w->net, &host->dht) <= 10);
    kit_world_fini(w);
}

TEST(a_knock_at_any_time_around_an_epoch_arrives)
{
    /* KIT_UNIX_S is ten minutes into the epoch: its end comes after 50. */
    static const unsigned at_s[] = {2690, 2701, 2995, 2999, 3000,
                                    3001, 3010, 3299, 3301, 3400};

    for (size_t i = 0; i < sizeof(at_s) / sizeof(at_s[0]); i++) {
        struct cv_contact contact;

        found(test_state_);
        host->answer_at_once = true;
        kit_run(w, (cv_time)at_s[i] * CV_SECOND - 5 * CV_SECOND);
        CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
        kit_run(w, 12 * CV_SECOND);
        CHECK_EQ(host->n_knocks, 1);
        CHECK_EQ(guest->n_answers, 1);
        CHECK_MEM(host->knock.contact.shared, contact.shared, 32);
        kit_world_fini(w);
    }
}

TEST(one_who_starts_searching_at_any_time_around_an_epoch_finds)
{
    static const unsigned at_s[] = {2690, 2701, 2999, 3000, 3001, 3299, 3301};

    for (size_t i = 0; i < sizeof(at_s) / sizeof(at_s[0]); i++) {
        kit_world_init(w, 2, 1);
        kit_publish(w, host, 3);
        kit_run(w, (cv_time)at_s[i] * CV_SECOND);
        kit_search(w, guest);
        kit_run(w, 3 * CV_SECOND);
        CHECK(guest->n_pointers > 0);
        kit_world_fini(w);
    }
}

TEST(clocks_may_differ)
{
    /* Of the guest; it begins ten minutes into the host's epoch.  A pointer
     * lives 15 min, and 2 min of slack. */
    static const int skew_s[] = {-3000, -1800, -900, -120, 120, 600, 900};

    for (size_t i = 0; i < sizeof(skew_s) / sizeof(skew_s[0]); i++) {
        struct cv_contact contact;

        kit_world_init(w, 2, 1);
        guest->skew_ms = skew_s[i] * 1000;
        kit_publish(w, host, 3);
        kit_search(w, guest);
        kit_run(w, 5 * CV_SECOND);
        CHECK_EQ(guest->n_pointers, 1);
        host->answer_at_once = true;
        CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
        kit_run(w, 3 * CV_SECOND);
        CHECK_EQ(guest->n_answers, 1);
        kit_world_fini(w);
    }
}

TEST(a_clock_that_jumps_keeps_the_sequence_growing)
{
    uint64_t seq;

    found(test_state_);
    seq = guest->pointer.seq;
    host->skew_ms = -100 * 1000;
    kit_publish(w, host, 2);
    kit_run(w, 3 * CV_SECOND);
    CHECK(guest->pointer.seq > seq);
    CHECK_EQ(guest->pointer.candidates.n, 2);
    kit_world_fini(w);
}

TEST(changes_are_published_soon_and_not_too_often)
{
    uint64_t before;

    found(test_state_);
    before = w->net.puts;
    kit_publish(w, host, 1);
    kit_run(w, CV_SECOND);
    CHECK_EQ(guest->pointer.candidates.n, 1);
    for (unsigned i = 0; i < 600; i++) {
        kit_publish(w, host, 2 + i % 5);
        kit_run(w, CV_SECOND / 10);
    }
    kit_run(w, 12 * CV_SECOND);
    CHECK_EQ(guest->pointer.candidates.n, 2 + 599 % 5);
    CHECK(w->net.puts - before <= 4 + 60 / 10 + 2);
    kit_world_fini(w);
}

TEST(what_cannot_be_read_back_is_said_and_tried_again)
{
    kit_world_init(w, 2, 1);
    host->dht.down = true;
    kit_publish(w, host, 3);
    kit_run(w, 30 * CV_SECOND);
    CHECK(host->stages[CV_RV_UNPUBLISHED] >= 1);
    CHECK_EQ(host->stages[CV_RV_PUBLISHED], 0);
    host->dht.down = false;
    kit_run(w, CV_MINUTE);
    CHECK_EQ(host->stages[CV_RV_PUBLISHED], 1);
    kit_search(w, guest);
    kit_run(w, CV_SECOND);
    CHECK_EQ(guest->n_pointers, 1);
    kit_world_fini(w);
}

TEST(only_a_member_publishes)
{
    struct cv_grants none = {0};
    struct cv_candidates own = kit_candidates(1);

    kit_world_init(w, 2, 1);
    CHECK_EQ(cv_rendezvous_publish(guest->rv, &none, &own), CV_ERR_AUTH);
    CHECK_EQ(cv_rendezvous_publish(guest->rv, &host->person.grants, &own),
             CV_ERR_AUTH);
    kit_world_fini(w);
}

static void free_on_pointer(struct kit_peer *p,
                            const struct cv_pointer_info *info)
{
    (void)info;
    cv_rendezvous_free(p->rv);
    p->rv = NULL;
}

static void free_on_knock(struct kit_peer *p, const struct cv_knock_info *info)
{
    (void)info;
    cv_rendezvous_free(p->rv);
    p->rv = NULL;
}

TEST(a_callback_may_free_it)
{
    struct cv_contact contact;

    kit_world_init(w, 2, 1);
    guest->on_pointer = free_on_pointer;
    kit_publish(w, host, 3);
    kit_search(w, guest);
    kit_run(w, 5 * CV_SECOND);
    CHECK(guest->rv == NULL);
    CHECK_EQ(kit_ops_open(&w->net, &guest->dht), 0);
    kit_world_fini(w);

    found(test_state_);
    host->on_knock = free_on_knock;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 2 * CV_SECOND);
    CHECK(host->rv == NULL);
    CHECK_EQ(kit_ops_open(&w->net, &host->dht), 0);
    kit_world_fini(w);
}

RUN_TESTS(T(who_comes_before_the_pointer_looks_at_the_shelf_again_soon),
          T(a_shelf_with_nothing_is_asked_ever_more_seldom),
          T(what_was_found_may_lead_nowhere),
          T(a_sharer_is_found_knocked_at_and_answers),
          T(ask_comes_first_and_ok_later),
          T(an_unanswered_knock_is_repeated_and_then_stops),
          T(a_knock_goes_through_when_its_first_slot_is_lost),
          T(an_answer_that_was_lost_is_given_again_when_the_knock_is_repeated),
          T(further_candidates_update_the_same_attempt),
          T(a_knock_needs_a_living_pointer),
          T(withdrawing_says_that_it_is_gone),
          T(withdrawing_ends_within_two_seconds_without_a_network),
          T(a_pointer_is_refreshed_every_five_minutes_and_lives_through_epochs),
          T(a_knock_at_any_time_around_an_epoch_arrives),
          T(one_who_starts_searching_at_any_time_around_an_epoch_finds),
          T(clocks_may_differ),
          T(a_clock_that_jumps_keeps_the_sequence_growing),
          T(changes_are_published_soon_and_not_too_often),
          T(what_cannot_be_read_back_is_said_and_tried_again),
          T(only_a_member_publishes), T(a_callback_may_free_it))
