/* Meeting places over a DHT on a virtual clock (discovery_kit.h). */
#include "tests/unit/discovery_kit.h"

#include "discovery/inbox.h"

static struct kit_world world;
static struct kit_world *const w = &world;
static struct kit_peer *const host = &world.peers[0];
static struct kit_peer *const guest = &world.peers[1];

static struct cv_place place_now(uint64_t plus)
{
    struct cv_root root;
    struct cv_place place;

    cv_root_of(&root, &w->session.pub);
    cv_place_at(&place, &root, cv_epoch_at(kit_unix(w, host)) + plus);
    return place;
}

/* The value that lies at `loc` now; the newest if several. */
static struct kit_value *stored(const struct cv_loc *loc)
{
    for (unsigned i = w->net.n_values; i-- > 0;) {
        if (cv_loc_equal(&w->net.values[i]->loc, loc))
            return w->net.values[i];
    }
    return NULL;
}

/* The newest value that is a knock by its size. */
static struct kit_value *stored_knock(void)
{
    for (unsigned i = w->net.n_values; i-- > 0;) {
        const struct cv_place p = place_now(0);

        if (w->net.values[i]->len == CV_KNOCK_BYTES &&
            !cv_loc_equal(&w->net.values[i]->loc, &p.loc))
            return w->net.values[i];
    }
    return NULL;
}

static void found(void **test_state_)
{
    kit_world_init(w, 2, 1);
    kit_publish(w, host, 3);
    kit_search(w, guest);
    kit_run(w, 5 * CV_SECOND);
    CHECK_EQ(guest->n_pointers, 1);
}

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
    CHECK_EQ(w->net.puts - before, 5); /* 0, 1, 10, 20, 60 s */
    CHECK_EQ(host->n_knocks, 1);       /* the others are repetitions */
    CHECK_EQ(kit_counters(host).knocks_replayed, 4);
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

TEST(bad_pointers_are_dropped_and_counted)
{
    struct cv_place place;
    struct cv_pointer p;
    struct kit_person stranger = kit_person(60);
    uint8_t value[CV_POINTER_MAX], junk[600];
    size_t len;
    struct kit_value *good;

    found(test_state_);
    place = place_now(0);

    /* Garbage of the right and of the wrong size. */
    cv_random(&w->net.rng, junk, sizeof(junk));
    kit_inject(&w->net, &place.loc, CV_BYTES(junk, sizeof(junk)));
    junk[0] = 1;
    kit_inject(&w->net, &place.loc, CV_BYTES(junk, sizeof(junk)));
    kit_inject(&w->net, &place.loc, CV_BYTES(junk, 3));
    kit_inject(&w->net, &place.loc, CV_BYTES(junk, 0));
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_counters(guest).pointers_garbage, 4);

    /* Forged: the host's certificate and grants, another's signature. */
    p = (struct cv_pointer){.seq = kit_unix(w, host) + 5,
                            .not_after =
                                (uint32_t)(kit_unix(w, host) / 1000 + 900),
                            .node = host->person.node.pub,
                            .cert = host->person.cert,
                            .grants = host->person.grants};
    CHECK_EQ(
        cv_pointer_seal(value, &len, &p, &place, &stranger.node, &w->net.rng),
        CV_OK);
    kit_inject(&w->net, &place.loc, CV_BYTES(value, len));
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_counters(guest).pointers_forged, 1);

    /* Expired, by a member. */
    p.node = w->peers[0].person.node.pub;
    p.not_after = (uint32_t)(kit_unix(w, host) / 1000 - 121);
    CHECK_EQ(cv_pointer_seal(value, &len, &p, &place, &host->person.node,
                             &w->net.rng),
             CV_OK);
    kit_inject(&w->net, &place.loc, CV_BYTES(value, len));
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_counters(guest).pointers_expired, 1);

    /* Replayed: an older one, once a newer is known.  Not the same bytes
     * twice, which the DHT does by itself. */
    good = stored(&place.loc);
    CHECK(good != NULL);
    p.not_after = (uint32_t)(kit_unix(w, host) / 1000 + 900);
    p.seq = guest->pointer.seq - 1;
    CHECK_EQ(cv_pointer_seal(value, &len, &p, &place, &host->person.node,
                             &w->net.rng),
             CV_OK);
    kit_inject(&w->net, &place.loc, CV_BYTES(value, len));
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_counters(guest).pointers_replayed, 1);
    kit_run(w, CV_MINUTE);
    CHECK_EQ(guest->n_pointers, 1);
    kit_world_fini(w);
}

/* The host's inbox, as one that holds the session key can find it. */
static struct cv_book_pointer {
    struct cv_pointer p;
    uint8_t digest[CV_DIGEST_LEN];
    struct cv_loc inbox;
} hosts_pointer(unsigned slot)
{
    struct cv_book_pointer out;
    const struct cv_place place = place_now(0);
    const struct kit_value *v = stored(&place.loc);
    struct cv_pointer_raw raw;
    struct cv_root root;

    REQUIRE(v != NULL);
    REQUIRE(cv_pointer_open(&out.p, &raw, &place, CV_BYTES(v->data, v->len)) ==
            CV_OK);
    cv_pointer_digest(out.digest, CV_BYTES(v->data, v->len));
    cv_root_of(&root, &w->session.pub);
    cv_inbox_loc(&out.inbox, &root, place.epoch, &host->person.node.pub,
                 out.p.salt, slot);
    return out;
}

static struct cv_knock knock_of(const struct kit_person *who,
                                const struct cv_book_pointer *at, uint8_t id)
{
    struct cv_knock k = {.ptr_seq = at->p.seq,
                         .node = who->node.pub,
                         .cert = who->cert,
                         .candidates = kit_candidates(1)};

    memset(k.req_id, id, sizeof(k.req_id));
    memcpy(k.ptr_digest, at->digest, sizeof(k.ptr_digest));
    return k;
}

static void knock_put(const struct cv_knock *k,
                      const struct cv_book_pointer *at,
                      const struct cv_keypair *signer)
{
    uint8_t value[CV_KNOCK_BYTES], secret[32];

    cv_random(&w->net.rng, secret, sizeof(secret));
    REQUIRE(cv_knock_seal(value, k, &at->inbox, secret, at->p.box, signer, 0) ==
            CV_OK);
    kit_inject(&w->net, &at->inbox, CV_BYTES(value, sizeof(value)));
}

TEST(bad_knocks_are_dropped_and_counted)
{
    struct kit_person a = kit_person(60), b = kit_person(62);
    struct cv_book_pointer at;
    struct cv_rendezvous_counters n;
    struct cv_contact contact;
    struct cv_knock k;
    uint8_t junk[CV_KNOCK_BYTES];

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    at = hosts_pointer(2);

    /* Garbage: wrong sizes, wrong version, noise. */
    cv_random(&w->net.rng, junk, sizeof(junk));
    junk[0] = 1;
    kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk)));
    kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk) - 1));
    junk[0] = 2;
    kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk)));
    kit_run(w, CV_SECOND);
    n = kit_counters(host);
    CHECK_EQ(n.knocks_garbage, 3);

    /* Forged: a's certificate, b's signature; and a's, of a stolen id. */
    k = knock_of(&a, &at, 1);
    knock_put(&k, &at, &b.node);
    kit_run(w, CV_SECOND);
    n = kit_counters(host);
    CHECK_EQ(n.knocks_forged, 1);
    CHECK_EQ(host->n_knocks, 0);

    /* Good; then the same again under another envelope; then from b. */
    knock_put(&k, &at, &a.node);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    knock_put(&k, &at, &a.node);
    kit_run(w, CV_SECOND);
    n = kit_counters(host);
    CHECK_EQ(n.knocks_ok, 1);
    CHECK_EQ(n.knocks_replayed, 1);
    k = knock_of(&b, &at, 1);
    k.req_id[15] = 9; /* the same attempt by somebody else */
    knock_put(&k, &at, &b.node);
    kit_run(w, CV_SECOND);
    n = kit_counters(host);
    CHECK_EQ(n.knocks_replayed, 2);
    CHECK_EQ(host->n_knocks, 1);

    /* At a pointer that never was; with an expired certificate. */
    k = knock_of(&b, &at, 3);
    k.ptr_digest[0] ^= 1;
    knock_put(&k, &at, &b.node);
    k = knock_of(&b, &at, 4);
    CHECK_EQ(cv_cert_make(&k.cert, &b.identity, &b.node.pub, KIT_UNIX_S - 200),
             CV_OK);
    knock_put(&k, &at, &b.node);
    kit_run(w, CV_SECOND);
    n = kit_counters(host);
    CHECK_EQ(n.knocks_stale, 2);

    /* The host's own name on it. */
    k = knock_of(&host->person, &at, 5);
    knock_put(&k, &at, &host->person.node);
    kit_run(w, CV_SECOND);
    n = kit_counters(host);
    CHECK_EQ(n.knocks_forged, 2);

    /* A recorded knock, put again byte for byte, is not even opened. */
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, CV_SECOND / 2);
    CHECK_EQ(host->n_knocks, 2);
    {
        const struct kit_value *v = stored_knock();

        CHECK(v != NULL);
        kit_inject(&w->net, &v->loc, CV_BYTES(v->data, v->len));
    }
    kit_run(w, CV_SECOND / 2);
    CHECK_EQ(host->n_knocks, 2);
    kit_world_fini(w);
}

TEST(old_pointers_stop_counting)
{
    struct kit_person a = kit_person(60);
    struct cv_book_pointer at;
    struct cv_knock k;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    at = hosts_pointer(1);
    kit_run(w, 11 * CV_MINUTE); /* two refreshes: the third last */
    k = knock_of(&a, &at, 1);
    knock_put(&k, &at, &a.node);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    kit_run(w, 5 * CV_MINUTE);
    k = knock_of(&a, &at, 2);
    knock_put(&k, &at, &a.node);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    CHECK_EQ(kit_counters(host).knocks_stale, 1);
    kit_world_fini(w);
}

TEST(a_flooded_slot_does_not_close_the_others)
{
    struct cv_book_pointer at;
    struct cv_contact contact;
    uint8_t junk[CV_KNOCK_BYTES];
    unsigned slot;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    slot = cv_inbox_slot(&guest->person.node.pub);
    at = hosts_pointer(slot);
    for (unsigned i = 0; i < 80; i++) {
        cv_random(&w->net.rng, junk, sizeof(junk));
        junk[0] = 1;
        kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk)));
    }
    kit_run(w, CV_SECOND / 2);
    CHECK(kit_counters(host).knocks_limited >= 50);
    CHECK(kit_counters(host).knocks_garbage <=
          CV_INBOX_SLOT_BURST + CV_INBOX_SLOT_RATE);
    host->answer_at_once = true;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 3 * CV_SECOND); /* through its second slot at the latest */
    CHECK_EQ(host->n_knocks, 1);
    CHECK_EQ(guest->n_answers, 1);
    kit_world_fini(w);
}

TEST(a_flooded_inbox_moves)
{
    struct cv_book_pointer before, after;
    struct cv_contact contact;
    uint8_t junk[CV_KNOCK_BYTES];

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, CV_SECOND);
    before = hosts_pointer(0);
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++) {
        const struct cv_book_pointer at = hosts_pointer(s);

        for (unsigned i = 0; i < 60; i++) {
            cv_random(&w->net.rng, junk, sizeof(junk));
            kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk)));
        }
    }
    kit_run(w, 4 * CV_SECOND);
    after = hosts_pointer(0);
    CHECK(after.p.seq > before.p.seq);
    CHECK(memcmp(after.p.box, before.p.box, 32) != 0);
    CHECK(memcmp(after.p.salt, before.p.salt, CV_INBOX_SALT) != 0);
    /* Who waits is told that knocking again is better, and it is. */
    CHECK(guest->pointer.knock_again);
    host->answer_at_once = true;
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(guest->n_answers, 1);
    CHECK_MEM(guest->answer.contact.attempt, contact.attempt, 8);
    /* At most once a minute. */
    {
        const uint64_t puts = w->net.puts;

        for (unsigned s = 0; s < CV_INBOX_SLOTS; s++) {
            const struct cv_book_pointer at = hosts_pointer(s);

            for (unsigned i = 0; i < 60; i++) {
                cv_random(&w->net.rng, junk, sizeof(junk));
                kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk)));
            }
        }
        kit_run(w, 20 * CV_SECOND);
        CHECK_EQ(w->net.puts, puts);
    }
    kit_world_fini(w);
}

/* One node makes n attempts, evenly over the time and over the slots. */
static void knock_on_and_on(unsigned n, cv_time time)
{
    const struct kit_person a = kit_person(60);

    for (unsigned i = 0; i < n; i++) {
        const struct cv_book_pointer at = hosts_pointer(i % CV_INBOX_SLOTS);
        struct cv_knock k = knock_of(&a, &at, 0);

        memcpy(k.req_id, &i, sizeof(i));
        k.req_id[CV_REQ_ID_LEN - 1] = 1; /* none is all zeros */
        knock_put(&k, &at, &a.node);
        kit_run(w, time / n);
    }
    kit_run(w, CV_SECOND);
}

TEST(one_node_may_not_knock_without_end)
{
    const unsigned s = 10, may = CV_INBOX_NODE_BURST + s * CV_INBOX_NODE_RATE;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    knock_on_and_on(15 * s, s * CV_SECOND);
    CHECK(host->n_knocks + 1 >= may && host->n_knocks <= may + 1);
    CHECK_EQ(kit_counters(host).knocks_limited, 15 * s - host->n_knocks);
    kit_world_fini(w);
}

/* A train, a lift, a bad cell: each new address is an attempt. */
TEST(who_roams_without_end_is_always_heard)
{
    const unsigned s = 240, n = s * CV_INBOX_NODE_RATE;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    knock_on_and_on(n, s * CV_SECOND);
    CHECK_EQ(host->n_knocks, n);
    CHECK_EQ(kit_counters(host).knocks_limited, 0);
    kit_world_fini(w);
}

TEST(many_knockers_do_not_make_it_grow)
{
    struct cv_book_pointer at;
    unsigned n = 0;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    for (unsigned i = 0; i < 100; i++) {
        const struct kit_person a = kit_person((uint8_t)(100 + i));
        struct cv_knock k;

        at = hosts_pointer(i % 4);
        k = knock_of(&a, &at, (uint8_t)i);
        knock_put(&k, &at, &a.node);
        kit_run(w, CV_SECOND / 4);
        n = host->n_knocks;
    }
    CHECK(n >= 90);
    kit_world_fini(w);
}

TEST(a_carried_grant_is_checked_against_the_members)
{
    struct cv_contact contact;
    struct cv_candidates own = kit_candidates(1);
    struct cv_grants grants;
    struct kit_person stranger = kit_person(60);

    found(test_state_);
    /* By the host itself, whose chain is known. */
    grants = kit_grant(&host->person, &w->session, &guest->person.identity.pub,
                       CV_ROLE_EDITOR, 0);
    CHECK_EQ(cv_rendezvous_knock(guest->rv, &host->person.node.pub, "x\x1b[0m",
                                 &grants, &own, &contact),
             CV_OK);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_knocks, 1);
    CHECK(host->knock.has_grant);
    CHECK_STR(host->knock.name, "x[0m");
    /* Made out to somebody else. */
    grants = kit_grant(&host->person, &w->session, &stranger.identity.pub,
                       CV_ROLE_EDITOR, 0);
    CHECK_EQ(cv_rendezvous_knock(guest->rv, &host->person.node.pub, "x",
                                 &grants, &own, &contact),
             CV_OK);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_knocks, 2);
    CHECK(!host->knock.has_grant);
    kit_world_fini(w);
}

TEST(names_are_cleaned)
{
    static const struct {
        const char *sent, *seen;
    } cases[] = {
        {"Ada", "Ada"},
        {"", ""},
        {"a\tb\x7f"
         "c\nd",
         "abcd"},
        {"\xc2\x9b"
         "31m",
         "31m"},                                /* C1 control */
        {"x\xe2\x80\xaey", "xy"},               /* right-to-left override */
        {"\xff\xfe", ""},                       /* not UTF-8 */
        {"12345678901234567890123456789012345", /* 32 bytes at most */
         "12345678901234567890123456789012"},
        {"1234567890123456789012345678901\xc3\xa9", /* whole characters */
         "1234567890123456789012345678901"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_candidates own = kit_candidates(1);
        struct cv_contact contact;

        found(test_state_);
        CHECK_EQ(cv_rendezvous_knock(guest->rv, &host->person.node.pub,
                                     cases[i].sent, NULL, &own, &contact),
                 CV_OK);
        kit_run(w, CV_SECOND);
        CHECK_EQ(host->n_knocks, 1);
        CHECK_STR(host->knock.name, cases[i].seen);
        kit_world_fini(w);
    }
}

TEST(bad_answers_are_dropped_and_counted)
{
    struct cv_contact contact;
    struct cv_reply reply;
    struct kit_value *v;
    uint8_t value[CV_ANSWER_BYTES];
    struct cv_answer a = {.counter = 9, .verdict = CV_VERDICT_OK};
    const uint8_t any[32] = {0};

    found(test_state_);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, CV_SECOND);
    cv_reply_of(&reply, contact.shared);
    /* Noise, and one that another than the host signed. */
    memset(value, 1, sizeof(value));
    kit_inject(&w->net, &reply.loc, CV_BYTES(value, sizeof(value)));
    memcpy(a.req_id, contact.attempt, 8);
    CHECK_EQ(cv_answer_seal(value, &a, &reply, any, any, &guest->person.node),
             CV_OK);
    kit_inject(&w->net, &reply.loc, CV_BYTES(value, sizeof(value)));
    kit_run(w, CV_SECOND);
    CHECK_EQ(kit_counters(guest).answers_bad, 2);
    CHECK_EQ(guest->n_answers, 0);
    /* Two good ones, then the first again. */
    CHECK_EQ(
        cv_rendezvous_answer(host->rv, contact.attempt, CV_VERDICT_ASK, NULL),
        CV_OK);
    kit_run(w, CV_SECOND);
    v = stored(&reply.loc);
    CHECK(v != NULL);
    CHECK_EQ(
        cv_rendezvous_answer(host->rv, contact.attempt, CV_VERDICT_NO, NULL),
        CV_OK);
    kit_run(w, CV_SECOND);
    kit_inject(&w->net, &reply.loc, CV_BYTES(v->data, v->len));
    kit_run(w, CV_SECOND);
    CHECK_EQ(guest->n_answers, 2);
    CHECK_EQ(guest->answer.verdict, CV_VERDICT_NO);
    CHECK_EQ(kit_counters(guest).answers_bad, 2);
    kit_world_fini(w);
}

/* A callback frees its meeting place. */
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

RUN_TESTS(T(a_sharer_is_found_knocked_at_and_answers),
          T(who_comes_before_the_pointer_looks_at_the_shelf_again_soon),
          T(a_shelf_with_nothing_is_asked_ever_more_seldom),
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
          T(only_a_member_publishes), T(bad_pointers_are_dropped_and_counted),
          T(bad_knocks_are_dropped_and_counted), T(old_pointers_stop_counting),
          T(a_flooded_slot_does_not_close_the_others), T(a_flooded_inbox_moves),
          T(one_node_may_not_knock_without_end),
          T(who_roams_without_end_is_always_heard),
          T(many_knockers_do_not_make_it_grow),
          T(a_carried_grant_is_checked_against_the_members),
          T(names_are_cleaned), T(bad_answers_are_dropped_and_counted),
          T(a_callback_may_free_it))
