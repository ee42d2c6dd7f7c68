/* Meeting places where somebody puts what is bad, old or too much. */
#include "tests/unit/rendezvous_kit.h"

#include "discovery/inbox.h"

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

static void knock_seal(uint8_t value[CV_KNOCK_BYTES], const struct cv_knock *k,
                       const struct cv_book_pointer *at,
                       const struct cv_keypair *signer)
{
    uint8_t secret[32];

    cv_random(&w->net.rng, secret, sizeof(secret));
    REQUIRE(cv_knock_seal(value, k, &at->inbox, secret, at->p.box, signer, 0) ==
            CV_OK);
}

static void knock_put(const struct cv_knock *k,
                      const struct cv_book_pointer *at,
                      const struct cv_keypair *signer)
{
    uint8_t value[CV_KNOCK_BYTES];

    knock_seal(value, k, at, signer);
    kit_inject(&w->net, &at->inbox, CV_BYTES(value, sizeof(value)));
}

/* Over a gate: of slot `slot`, in the room of this epoch. */
static int ring(unsigned slot, const uint8_t value[CV_KNOCK_BYTES])
{
    uint8_t bytes[1 + CV_KNOCK_BYTES], room[CV_ROOM_KEY];
    const struct cv_place place = place_now(0);
    struct cv_root root;

    bytes[0] = (uint8_t)slot;
    memcpy(bytes + 1, value, CV_KNOCK_BYTES);
    cv_root_of(&root, &w->session.pub);
    cv_room_key(room, &root, place.epoch);
    return cv_rendezvous_take_ring(host->rv, room,
                                   CV_BYTES(bytes, sizeof(bytes)));
}

/* Noise in each slot, with the first byte of a knock or not. */
static void flood(unsigned each, bool plausible)
{
    uint8_t junk[CV_KNOCK_BYTES];

    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++) {
        const struct cv_book_pointer at = hosts_pointer(s);

        for (unsigned i = 0; i < each; i++) {
            cv_random(&w->net.rng, junk, sizeof(junk));
            junk[0] = plausible ? 1 : 2;
            kit_inject(&w->net, &at.inbox, CV_BYTES(junk, sizeof(junk)));
        }
    }
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

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    CHECK_EQ(kit_knock(w, guest, host, &contact), CV_OK);
    kit_run(w, CV_SECOND);
    before = hosts_pointer(0);
    flood(60, false);
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

        flood(60, false);
        kit_run(w, 20 * CV_SECOND);
        CHECK_EQ(w->net.puts, puts);
    }
    kit_world_fini(w);
}

TEST(where_the_inbox_was_a_gate_still_rings)
{
    const struct kit_person a = kit_person(60), b = kit_person(62);
    uint8_t value[CV_KNOCK_BYTES], rooms[CV_RENDEZVOUS_ROOMS][CV_ROOM_KEY];
    struct cv_book_pointer before, after;
    struct cv_knock k;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    before = hosts_pointer(2);
    flood(60, false);
    kit_run(w, 4 * CV_SECOND);
    after = hosts_pointer(3);
    CHECK(memcmp(after.p.box, before.p.box, 32) != 0);
    CHECK_EQ(cv_rendezvous_rooms(host->rv, rooms), 1);

    /* Who has just read the old pointer, and who has read the new one. */
    k = knock_of(&a, &before, 1);
    knock_seal(value, &k, &before, &a.node);
    CHECK_EQ(ring(1, value), CV_ERR_FORMAT); /* another slot's */
    knock_seal(value, &k, &before, &a.node);
    CHECK_EQ(ring(2, value), CV_OK);
    CHECK_EQ(ring(2, value), CV_ERR_EXISTS);
    k = knock_of(&b, &after, 2);
    knock_seal(value, &k, &after, &b.node);
    CHECK_EQ(ring(3, value), CV_OK);
    CHECK_EQ(host->n_knocks, 2);
    CHECK_EQ(
        cv_rendezvous_answer(host->rv, k.req_id, CV_VERDICT_OK, &k.candidates),
        CV_OK);
    /* In the DHT nobody listens there. */
    k = knock_of(&a, &before, 3);
    knock_put(&k, &before, &a.node);
    kit_run(w, CV_SECOND);
    CHECK_EQ(host->n_knocks, 2);
    /* Nor at a gate, when no such pointer can be believed any more. */
    kit_run(w, 18 * CV_MINUTE);
    knock_seal(value, &k, &before, &a.node);
    CHECK_EQ(ring(2, value), CV_ERR_FORMAT);
    kit_world_fini(w);
}

TEST(three_floods_later_an_inbox_is_forgotten)
{
    const struct kit_person a = kit_person(60);
    struct cv_book_pointer at[CV_OFFICES_MOVED + 2];
    uint8_t value[CV_KNOCK_BYTES];

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    for (unsigned i = 0; i < CV_OFFICES_MOVED + 2; i++) {
        at[i] = hosts_pointer(0);
        flood(60, false);
        kit_run(w, CV_MINUTE + 5 * CV_SECOND);
    }
    for (unsigned i = 0; i < CV_OFFICES_MOVED + 2; i++) {
        struct cv_knock k = knock_of(&a, &at[i], (uint8_t)(i + 1));

        knock_seal(value, &k, &at[i], &a.node);
        CHECK_EQ(ring(0, value), i < 2 ? CV_ERR_FORMAT : CV_OK);
    }
    kit_world_fini(w);
}

TEST(junk_in_the_dht_does_not_silence_a_gate)
{
    const struct kit_person a = kit_person(60);
    uint8_t value[CV_KNOCK_BYTES];
    struct cv_book_pointer at;
    struct cv_knock k;

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    flood(CV_INBOX_SLOT_BURST + 2, true);
    kit_run(w, CV_SECOND / 2);
    CHECK(kit_counters(host).knocks_limited > 0);
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++) {
        at = hosts_pointer(s);
        k = knock_of(&a, &at, (uint8_t)(s + 1));
        knock_seal(value, &k, &at, &a.node);
        CHECK_EQ(ring(s, value), CV_OK);
    }
    kit_world_fini(w);
}

TEST(junk_at_a_gate_is_limited_and_moves_nothing)
{
    struct cv_book_pointer before, after;
    uint8_t junk[CV_KNOCK_BYTES];

    found(test_state_);
    kit_run(w, 2 * CV_SECOND);
    before = hosts_pointer(0);
    for (unsigned i = 0; i < 2 * CV_INBOX_FLOOD; i++) {
        cv_random(&w->net.rng, junk, sizeof(junk));
        junk[0] = 1;
        CHECK_EQ(ring(i % CV_INBOX_SLOTS, junk),
                 i < CV_INBOX_RING_BURST ? CV_ERR_FORMAT : CV_ERR_LIMIT);
    }
    kit_run(w, 5 * CV_SECOND);
    after = hosts_pointer(0);
    CHECK_MEM(after.p.box, before.p.box, 32);
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

RUN_TESTS(T(bad_pointers_are_dropped_and_counted),
          T(bad_knocks_are_dropped_and_counted), T(old_pointers_stop_counting),
          T(a_flooded_slot_does_not_close_the_others), T(a_flooded_inbox_moves),
          T(where_the_inbox_was_a_gate_still_rings),
          T(three_floods_later_an_inbox_is_forgotten),
          T(junk_in_the_dht_does_not_silence_a_gate),
          T(junk_at_a_gate_is_limited_and_moves_nothing),
          T(one_node_may_not_knock_without_end),
          T(who_roams_without_end_is_always_heard),
          T(many_knockers_do_not_make_it_grow),
          T(a_carried_grant_is_checked_against_the_members),
          T(names_are_cleaned), T(bad_answers_are_dropped_and_counted))
