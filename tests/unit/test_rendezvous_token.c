/* The manual rendezvous: two tokens, and a DHT in which nothing arrives. */
#include "tests/unit/discovery_kit.h"

#include "discovery/token.h"

static struct kit_world world;
static struct kit_world *const w = &world;
static struct kit_peer *const host = &world.peers[0];
static struct kit_peer *const guest = &world.peers[1];
static struct kit_peer *const third = &world.peers[2];

static struct cv_token invitation, answer;
static struct cv_contact contact;

static void start(void)
{
    kit_world_init(w, 3, 1);
    w->net.loss_percent = 100;
    memset(&contact, 0, sizeof(contact));
    kit_run(w, 10 * CV_MILLISECOND);
}

static int invite(void)
{
    const struct cv_candidates own = kit_candidates(3);

    return cv_rendezvous_invite(host->rv, &host->person.grants, &own,
                                &invitation);
}

/* By way of its text, as people carry it. */
static void carry(struct cv_token *t)
{
    char text[CV_TOKEN_TEXT], why[128];

    cv_token_format(t, text);
    REQUIRE(cv_token_parse(t, t->kind, text, why, sizeof(why)) == CV_OK);
}

static int connect_to(struct kit_peer *p)
{
    const struct cv_candidates own = kit_candidates(2);
    struct cv_key node;
    int err = cv_rendezvous_take_pointer(p->rv, &invitation, &node);

    if (err != CV_OK)
        return err;
    REQUIRE(cv_key_equal(&node, &host->person.node.pub));
    return cv_rendezvous_knock_by_hand(p->rv, &node, "Ada", &p->person.grants,
                                       &own, &contact, &answer);
}

TEST(two_tokens_make_one_attempt)
{
    start();
    CHECK_EQ(invite(), CV_OK);
    carry(&invitation);
    CHECK_EQ(connect_to(guest), CV_OK);
    CHECK_EQ(guest->n_pointers, 1);
    CHECK_EQ(guest->pointer.candidates.n, 3);
    CHECK(contact.knocked && contact.by_hand);
    CHECK_EQ(contact.peer.n, 3);
    carry(&answer);
    kit_run(w, 10 * CV_MINUTE);
    CHECK_EQ(host->n_knocks, 0);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_OK);
    CHECK_EQ(host->n_knocks, 1);
    CHECK_STR(host->knock.name, "Ada");
    CHECK(!host->knock.contact.knocked && host->knock.contact.by_hand);
    CHECK(cv_key_equal(&host->knock.contact.node, &guest->person.node.pub));
    CHECK_EQ(host->knock.contact.peer.n, 2);
    CHECK_MEM(host->knock.contact.attempt, contact.attempt, 8);
    CHECK_MEM(host->knock.contact.shared, contact.shared, 32);
    kit_world_fini(w);
}

TEST(a_token_serves_once)
{
    struct cv_token first;

    start();
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(guest), CV_OK);
    first = answer;
    CHECK_EQ(connect_to(third), CV_OK);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &first), CV_OK);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &first), CV_ERR_REPLAY);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_ERR_REPLAY);
    CHECK_EQ(host->n_knocks, 1);
    /* Another token does not mind. */
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(third), CV_OK);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_OK);
    CHECK_EQ(host->n_knocks, 2);
    kit_world_fini(w);
}

TEST(a_token_is_good_for_fifteen_minutes)
{
    start();
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(guest), CV_OK);
    kit_run(w, 15 * CV_MINUTE + CV_SECOND);
    kit_run(w, CV_MILLISECOND);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_ERR_EXPIRED);
    CHECK_EQ(host->n_knocks, 0);

    CHECK_EQ(invite(), CV_OK);
    kit_run(w, 18 * CV_MINUTE); /* two minutes are for clocks that differ */
    kit_run(w, CV_MILLISECOND);
    CHECK_EQ(connect_to(third), CV_ERR_EXPIRED);
    kit_world_fini(w);
}

TEST(what_answers_none_of_ours_is_refused)
{
    start();
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(guest), CV_OK);
    answer.digest[0] ^= 1;
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_ERR_NOTFOUND);
    CHECK_EQ(cv_rendezvous_take_knock(third->rv, &answer), CV_ERR_NOTFOUND);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &invitation), CV_ERR_INVALID);
    kit_world_fini(w);
}

TEST(forged_tokens_are_refused_and_do_not_use_up_the_true_one)
{
    struct cv_token forged;
    struct cv_key node;

    start();
    CHECK_EQ(invite(), CV_OK);
    for (size_t at = 0; at < invitation.len; at += 37) {
        forged = invitation;
        forged.value[at] ^= 0x10;
        CHECK(cv_rendezvous_take_pointer(guest->rv, &forged, &node) != CV_OK);
    }
    forged = invitation;
    forged.epoch++;
    CHECK(cv_rendezvous_take_pointer(third->rv, &forged, &node) != CV_OK);
    forged = invitation;
    forged.session.b[3] ^= 1;
    CHECK_EQ(cv_rendezvous_take_pointer(guest->rv, &forged, &node),
             CV_ERR_INVALID);
    CHECK_EQ(guest->n_pointers, 0);

    CHECK_EQ(connect_to(guest), CV_OK);
    for (size_t at = 0; at < answer.len; at += 61) {
        forged = answer;
        forged.value[at] ^= 0x10;
        CHECK(cv_rendezvous_take_knock(host->rv, &forged) != CV_OK);
    }
    CHECK_EQ(host->n_knocks, 0);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_OK);
    kit_world_fini(w);
}

static int ring(size_t len)
{
    return cv_rendezvous_take_ring(host->rv, contact.room_key,
                                   CV_BYTES(contact.ring, len));
}

TEST(a_gate_may_be_faster_than_the_people)
{
    const struct cv_candidates own = kit_candidates(1);
    uint8_t rooms[CV_RENDEZVOUS_ROOMS][CV_ROOM_KEY];

    start();
    CHECK_EQ(invite(), CV_OK);
    carry(&invitation);
    CHECK_EQ(connect_to(guest), CV_OK);
    carry(&answer);
    CHECK_EQ(contact.ring_len, CV_RING_MAX);
    CHECK_EQ(ring(contact.ring_len), CV_OK);
    CHECK_EQ(host->n_knocks, 1);
    CHECK(!host->knock.contact.by_hand && !host->knock.has_grant);
    CHECK_MEM(host->knock.contact.attempt, contact.attempt, 8);
    CHECK_MEM(host->knock.contact.shared, contact.shared, 32);
    /* Rung again, and then carried, too: it is one knock. */
    CHECK_EQ(ring(contact.ring_len), CV_ERR_REPLAY);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_OK);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_ERR_REPLAY);
    CHECK_EQ(ring(contact.ring_len), CV_ERR_REPLAY);
    CHECK_EQ(host->n_knocks, 1);
    /* Whoever publishes is in the room that the guest rings in. */
    CHECK_EQ(cv_rendezvous_rooms(host->rv, rooms), 0);
    CHECK_EQ(cv_rendezvous_publish(host->rv, &host->person.grants, &own),
             CV_OK);
    kit_run(w, CV_SECOND);
    CHECK_EQ(cv_rendezvous_rooms(host->rv, rooms), 1);
    CHECK_MEM(rooms[0], contact.room_key, CV_ROOM_KEY);
    kit_world_fini(w);
}

TEST(a_token_that_a_gate_has_used_up_serves_nobody_else)
{
    start();
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(guest), CV_OK);
    CHECK_EQ(ring(contact.ring_len), CV_OK);
    CHECK_EQ(connect_to(third), CV_OK);
    CHECK_EQ(ring(contact.ring_len), CV_ERR_REPLAY);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_ERR_REPLAY);
    CHECK_EQ(host->n_knocks, 1);
    kit_world_fini(w);
}

TEST(forged_rings_are_refused_and_do_not_use_up_the_token)
{
    /* The form, the token, the slot, the knock. */
    static const size_t at[] = {0, 1, 8, 9, 10, 11, 42, 51, 300, 609};

    start();
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(guest), CV_OK);
    for (size_t len = 0; len < contact.ring_len; len++)
        CHECK_EQ(ring(len), CV_ERR_FORMAT);
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        contact.ring[at[i]] ^= 0x14;
        CHECK(ring(contact.ring_len) != CV_OK);
        contact.ring[at[i]] ^= 0x14;
    }
    CHECK_EQ(host->n_knocks, 0);
    CHECK_EQ(ring(contact.ring_len), CV_OK);
    CHECK_EQ(host->n_knocks, 1);
    kit_world_fini(w);
}

TEST(only_a_member_makes_one)
{
    const struct cv_candidates own = kit_candidates(1);

    start();
    CHECK_EQ(cv_rendezvous_invite(guest->rv, &guest->person.grants, &own,
                                  &invitation),
             CV_ERR_AUTH);
    kit_world_fini(w);
}

TEST(many_tokens_do_not_make_it_grow)
{
    struct cv_token oldest;

    start();
    CHECK_EQ(invite(), CV_OK);
    CHECK_EQ(connect_to(guest), CV_OK);
    oldest = answer;
    for (unsigned i = 0; i < 200; i++) {
        kit_run(w, CV_MILLISECOND);
        CHECK_EQ(invite(), CV_OK);
    }
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &oldest), CV_ERR_NOTFOUND);
    CHECK_EQ(connect_to(third), CV_OK);
    CHECK_EQ(cv_rendezvous_take_knock(host->rv, &answer), CV_OK);
    kit_world_fini(w);
}

RUN_TESTS(T(two_tokens_make_one_attempt), T(a_token_serves_once),
          T(a_token_is_good_for_fifteen_minutes),
          T(what_answers_none_of_ours_is_refused),
          T(a_gate_may_be_faster_than_the_people),
          T(a_token_that_a_gate_has_used_up_serves_nobody_else),
          T(forged_rings_are_refused_and_do_not_use_up_the_token),
          T(forged_tokens_are_refused_and_do_not_use_up_the_true_one),
          T(only_a_member_makes_one), T(many_tokens_do_not_make_it_grow))
