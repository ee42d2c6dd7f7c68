#include "tests/unit/discovery_kit.h"

static struct cv_keypair session;
static struct kit_person host, guest;
static struct cv_root root;
static struct cv_loc inbox;
static uint8_t box_secret[32], box[32], eph_secret[32], eph[32];

static void prepare(void)
{
    const uint8_t salt[CV_INBOX_SALT] = {1, 2, 3};

    session = kit_keypair(1);
    host = kit_person(10);
    host.grants = kit_grant(NULL, &session, &host.identity.pub, CV_ROLE_HOST,
                            CV_GRANT_ADMIT);
    guest = kit_person(20);
    guest.grants =
        kit_grant(&host, &session, &guest.identity.pub, CV_ROLE_EDITOR, 0);
    cv_root_of(&root, &session.pub);
    cv_inbox_loc(&inbox, &root, cv_epoch_at(KIT_UNIX_MS), &host.node.pub, salt,
                 cv_inbox_slot(&guest.node.pub));
    memset(box_secret, 0x42, sizeof(box_secret));
    cv_x25519_public(box, box_secret);
    memset(eph_secret, 0x24, sizeof(eph_secret));
    cv_x25519_public(eph, eph_secret);
}

static struct cv_knock knock_of(const struct kit_person *who, unsigned n)
{
    struct cv_knock k = {.ptr_seq = KIT_UNIX_MS,
                         .node = who->node.pub,
                         .cert = who->cert,
                         .proof = CV_PROOF_GRANT,
                         .grant = who->grants.chain[1],
                         .name = "Grace \xc3\xa9",
                         .candidates = kit_candidates(n)};

    memset(k.req_id, 0x77, sizeof(k.req_id));
    memset(k.ptr_digest, 0x66, sizeof(k.ptr_digest));
    return k;
}

static void seal(uint8_t out[CV_KNOCK_BYTES], const struct cv_knock *k)
{
    REQUIRE(cv_knock_seal(out, k, &inbox, eph_secret, box, &guest.node, 0) ==
            CV_OK);
}

static int take_raw(struct cv_knock *k, struct cv_knock_raw *raw,
                    struct cv_bytes value)
{
    int err;

    if (!cv_knock_plausible(value, &inbox, 0))
        return CV_ERR_FORMAT;
    err = cv_knock_open(k, raw, &inbox, box_secret, box, value);
    if (err == CV_OK)
        err = cv_knock_verify(k, raw, &inbox, box, KIT_UNIX_S);
    return err;
}

static int take(struct cv_knock *k, struct cv_bytes value)
{
    struct cv_knock_raw raw;

    return take_raw(k, &raw, value);
}

TEST(a_knock_comes_out_as_it_went_in)
{
    struct cv_knock k, q;
    struct cv_knock_raw raw;
    uint8_t value[CV_KNOCK_BYTES], shared[32];

    prepare();
    k = knock_of(&guest, 3);
    k.gates.n = 1;
    k.gates.g[0].key = kit_keypair(90).pub;
    k.gates.g[0].addr = cv_addr_ipv4(0xc6336401, 0);
    k.gates.g[0].udp = 443;
    seal(value, &k);
    CHECK_EQ(take_raw(&q, &raw, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_MEM(q.req_id, k.req_id, sizeof(k.req_id));
    CHECK_EQ(q.ptr_seq, k.ptr_seq);
    CHECK_MEM(q.ptr_digest, k.ptr_digest, sizeof(k.ptr_digest));
    CHECK(cv_key_equal(&q.node, &k.node));
    CHECK(cv_key_equal(&q.cert.identity, &k.cert.identity));
    CHECK_EQ(q.proof, CV_PROOF_GRANT);
    CHECK(cv_key_equal(&q.grant.issuer, &host.identity.pub));
    CHECK(cv_key_equal(&q.grant.subject, &guest.identity.pub));
    CHECK_STR(q.name, k.name);
    CHECK(!q.again);
    CHECK_EQ(q.candidates.n, 3);
    CHECK_EQ(q.candidates.nat, k.candidates.nat);
    CHECK_MEM(&q.candidates.c[2], &k.candidates.c[2],
              sizeof(k.candidates.c[2]));
    CHECK_EQ(q.gates.n, 1);
    CHECK_EQ(q.gates.g[0].udp, 443);
    /* Both ends have the X25519 result, the 32 bytes as they are. */
    CHECK_EQ(cv_x25519(shared, eph_secret, box), CV_OK);
    CHECK_MEM(raw.shared, shared, sizeof(shared));
}

TEST(of_several_gates_a_knock_names_the_first)
{
    struct cv_knock k, q;
    uint8_t value[CV_KNOCK_BYTES];

    prepare();
    k = knock_of(&guest, 6);
    k.gates.n = CV_GATE_REFS_MAX;
    for (unsigned i = 0; i < CV_GATE_REFS_MAX; i++) {
        k.gates.g[i].key = kit_keypair((uint8_t)(90 + i)).pub;
        k.gates.g[i].addr = cv_addr_ipv4(0xc6336401 + i, 0);
    }
    seal(value, &k);
    CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_EQ(q.gates.n, CV_KNOCK_GATES);
    CHECK(cv_key_equal(&q.gates.g[0].key, &k.gates.g[0].key));
}

/* 0x8000 says in a knock that it is a repeated one. */
TEST(every_word_about_the_nat_is_carried_by_a_first_knock_and_a_repeated_one)
{
    struct cv_knock k, q;
    uint8_t value[CV_KNOCK_BYTES];

    prepare();
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned bit = 0; bit < 16; bit++) {
            const uint16_t nat = (uint16_t)(1u << bit & CV_RECORD_NAT_MASK);

            k = knock_of(&guest, 3);
            k.again = again;
            memset(k.first_eph, 0x55, sizeof(k.first_eph));
            k.candidates.nat = nat;
            seal(value, &k);
            CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_OK);
            CHECK_EQ(q.again, again);
            CHECK_EQ(q.candidates.nat, nat);
            CHECK_EQ(q.candidates.n, 3);
        }
    }
}

TEST(a_repeated_knock_keeps_the_shared_secret_of_the_attempt)
{
    struct cv_knock k, q;
    struct cv_knock_raw raw;
    uint8_t value[CV_KNOCK_BYTES], other[32], shared[32];

    prepare();
    k = knock_of(&guest, 3);
    k.again = true;
    memcpy(k.first_eph, eph, sizeof(eph));
    memset(other, 0x99, sizeof(other));
    CHECK_EQ(cv_knock_seal(value, &k, &inbox, other, box, &guest.node, 0),
             CV_OK);
    CHECK(memcmp(value + 1, eph, sizeof(eph)) != 0);
    CHECK_EQ(take_raw(&q, &raw, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_EQ(cv_x25519(shared, eph_secret, box), CV_OK);
    CHECK_MEM(raw.shared, shared, sizeof(shared));
    CHECK_MEM(raw.first_eph, eph, sizeof(eph));
    /* A point of low order as the attempt's eph is no key. */
    memset(k.first_eph, 0, sizeof(k.first_eph));
    CHECK_EQ(cv_knock_seal(value, &k, &inbox, other, box, &guest.node, 0),
             CV_OK);
    CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_ERR_AUTH);
}

TEST(an_invite_proof_is_carried)
{
    struct cv_knock k, q;
    uint8_t value[CV_KNOCK_BYTES];

    prepare();
    k = knock_of(&guest, 0);
    k.proof = CV_PROOF_INVITE;
    memset(k.invite_id, 0x31, sizeof(k.invite_id));
    memset(k.invite_mac, 0x32, sizeof(k.invite_mac));
    seal(value, &k);
    CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_EQ(q.proof, CV_PROOF_INVITE);
    CHECK_MEM(q.invite_id, k.invite_id, sizeof(k.invite_id));
    CHECK_MEM(q.invite_mac, k.invite_mac, sizeof(k.invite_mac));
}

TEST(what_does_not_fit_a_knock_is_dropped_least_preferred_first)
{
    struct cv_knock k, q;
    uint8_t value[CV_KNOCK_BYTES];

    prepare();
    k = knock_of(&guest, 8);
    memset(k.name, 'x', CV_KNOCK_NAME);
    seal(value, &k);
    CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_EQ(q.candidates.n, 6);
    for (unsigned i = 0; i < 8; i++)
        k.candidates.c[i] = kit_candidates(3).c[2];
    k.candidates.c[7].pref = 255;
    k.again = true;
    memcpy(k.first_eph, eph, sizeof(eph));
    seal(value, &k);
    CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_EQ(q.candidates.n, 2);
    CHECK_EQ(q.candidates.c[0].pref, 255);
    memset(k.name, 0xff, 3);
    CHECK_EQ(cv_knock_seal(value, &k, &inbox, eph_secret, box, &guest.node, 0),
             CV_ERR_INVALID);
}

/* The eight bytes of work are nobody's when none is asked: whoever changes
 * them has the same request, which the replay cache knows. */
static bool is_work(size_t at)
{
    return at >= 33 && at < 41;
}

TEST(every_flipped_byte_and_every_truncation_of_a_knock_is_refused)
{
    struct cv_knock k, q;
    uint8_t value[CV_KNOCK_BYTES + 1] = {0};

    prepare();
    k = knock_of(&guest, 6);
    seal(value, &k);
    for (size_t i = 0; i < CV_KNOCK_BYTES; i++) {
        int err;

        value[i] ^= (uint8_t)(1u << (i % 8));
        err = take(&q, CV_BYTES(value, CV_KNOCK_BYTES));
        CHECK(is_work(i) ? err == CV_OK : err != CV_OK);
        value[i] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t cut = 0; cut < CV_KNOCK_BYTES; cut++)
        CHECK(take(&q, CV_BYTES(value, cut)) != CV_OK);
    CHECK(take(&q, CV_BYTES(value, sizeof(value))) != CV_OK);
    CHECK_EQ(take(&q, CV_BYTES(value, CV_KNOCK_BYTES)), CV_OK);
}

TEST(every_flipped_byte_of_the_inner_knock_is_refused)
{
    struct cv_knock k, q;
    struct cv_knock_raw raw, bad;
    uint8_t value[CV_KNOCK_BYTES];

    prepare();
    k = knock_of(&guest, 6);
    seal(value, &k);
    CHECK_EQ(take_raw(&q, &raw, CV_BYTES(value, sizeof(value))), CV_OK);
    for (size_t i = 0; i < raw.len; i++) {
        int err;

        bad = raw;
        bad.data[i] ^= (uint8_t)(1u << (i % 8));
        err = cv_knock_parse(&q, &bad);
        if (err == CV_OK)
            err = cv_knock_verify(&q, &bad, &inbox, box, KIT_UNIX_S);
        CHECK(err != CV_OK);
    }
    for (size_t cut = 0; cut < raw.signed_len + CV_SIG_LEN; cut++) {
        bad = raw;
        bad.len = cut;
        CHECK(cv_knock_parse(&q, &bad) != CV_OK);
    }
}

TEST(a_knock_is_bound_to_its_inbox_its_box_and_its_knocker)
{
    struct cv_knock k, q;
    struct cv_knock_raw raw;
    uint8_t value[CV_KNOCK_BYTES], other_secret[32] = {9}, other[32];
    struct cv_loc elsewhere = inbox;

    prepare();
    k = knock_of(&guest, 2);
    seal(value, &k);
    elsewhere.b[0] ^= 1;
    CHECK_EQ(cv_knock_open(&q, &raw, &elsewhere, box_secret, box,
                           CV_BYTES(value, sizeof(value))),
             CV_ERR_AUTH);
    cv_x25519_public(other, other_secret);
    CHECK_EQ(cv_knock_open(&q, &raw, &inbox, other_secret, other,
                           CV_BYTES(value, sizeof(value))),
             CV_ERR_AUTH);
    CHECK_EQ(cv_knock_open(&q, &raw, &inbox, box_secret, box,
                           CV_BYTES(value, sizeof(value))),
             CV_OK);
    CHECK_EQ(cv_knock_verify(&q, &raw, &elsewhere, box, KIT_UNIX_S),
             CV_ERR_AUTH);
    CHECK_EQ(cv_knock_verify(&q, &raw, &inbox, other, KIT_UNIX_S), CV_ERR_AUTH);
    CHECK_EQ(cv_knock_verify(&q, &raw, &inbox, box,
                             KIT_UNIX_S + CV_CERT_LIFETIME_S + 121),
             CV_ERR_EXPIRED);
    /* Signed by another than it names. */
    k.node = host.node.pub;
    seal(value, &k);
    CHECK_EQ(take(&q, CV_BYTES(value, sizeof(value))), CV_ERR_AUTH);
}

TEST(work_is_done_and_checked)
{
    struct cv_knock k, q;
    struct cv_knock_raw raw;
    uint8_t value[CV_KNOCK_BYTES];
    unsigned passed = 0;

    prepare();
    k = knock_of(&guest, 2);
    CHECK_EQ(cv_knock_seal(value, &k, &inbox, eph_secret, box, &guest.node, 10),
             CV_OK);
    CHECK(cv_knock_plausible(CV_BYTES(value, sizeof(value)), &inbox, 10));
    CHECK(cv_knock_plausible(CV_BYTES(value, sizeof(value)), &inbox, 0));
    CHECK_EQ(cv_knock_open(&q, &raw, &inbox, box_secret, box,
                           CV_BYTES(value, sizeof(value))),
             CV_OK);
    for (unsigned i = 0; i < 64; i++) {
        value[33 + i / 8] ^= (uint8_t)(1u << (i % 8));
        passed +=
            cv_knock_plausible(CV_BYTES(value, sizeof(value)), &inbox, 10);
        value[33 + i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    CHECK(passed < 4);
    CHECK_EQ(cv_knock_seal(value, &k, &inbox, eph_secret, box, &guest.node,
                           CV_KNOCK_POW_MAX + 1),
             CV_ERR_INVALID);
}

static struct cv_answer answer_of(unsigned n)
{
    struct cv_answer a = {.counter = 2,
                          .verdict = CV_VERDICT_ASK,
                          .candidates = kit_candidates(n),
                          .rtt_ms = 80,
                          .plan = 1,
                          .t0_ms = 140};

    memset(a.req_id, 0x77, sizeof(a.req_id));
    return a;
}

static int answer_take(struct cv_answer *a, const struct cv_reply *reply,
                       struct cv_bytes value)
{
    struct cv_answer_raw raw;
    int err = cv_answer_open(a, &raw, reply, value);

    if (err == CV_OK)
        err = cv_answer_verify(a, &raw, eph, box, &host.node.pub);
    return err;
}

TEST(an_answer_comes_out_as_it_went_in)
{
    struct cv_answer a, q = {0};
    struct cv_reply reply;
    uint8_t value[CV_ANSWER_BYTES], shared[32];

    prepare();
    CHECK_EQ(cv_x25519(shared, eph_secret, box), CV_OK);
    cv_reply_of(&reply, shared);
    a = answer_of(8);
    CHECK_EQ(cv_answer_seal(value, &a, &reply, eph, box, &host.node), CV_OK);
    CHECK_EQ(answer_take(&q, &reply, CV_BYTES(value, sizeof(value))), CV_OK);
    CHECK_MEM(q.req_id, a.req_id, sizeof(a.req_id));
    CHECK_EQ(q.counter, 2);
    CHECK_EQ(q.verdict, CV_VERDICT_ASK);
    CHECK_EQ(q.candidates.n, 8);
    CHECK_EQ(q.rtt_ms, 80);
    CHECK_EQ(q.plan, 1);
    CHECK_EQ(q.t0_ms, 140);
}

TEST(every_flipped_byte_and_every_truncation_of_an_answer_is_refused)
{
    struct cv_answer a, q = {0};
    struct cv_answer_raw raw, bad;
    struct cv_reply reply;
    uint8_t value[CV_ANSWER_BYTES + 1] = {0}, shared[32];

    prepare();
    CHECK_EQ(cv_x25519(shared, eph_secret, box), CV_OK);
    cv_reply_of(&reply, shared);
    a = answer_of(8);
    CHECK_EQ(cv_answer_seal(value, &a, &reply, eph, box, &host.node), CV_OK);
    for (size_t i = 0; i < CV_ANSWER_BYTES; i++) {
        value[i] ^= (uint8_t)(1u << (i % 8));
        CHECK(answer_take(&q, &reply, CV_BYTES(value, CV_ANSWER_BYTES)) !=
              CV_OK);
        value[i] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t cut = 0; cut < CV_ANSWER_BYTES; cut++)
        CHECK(answer_take(&q, &reply, CV_BYTES(value, cut)) != CV_OK);
    CHECK(answer_take(&q, &reply, CV_BYTES(value, sizeof(value))) != CV_OK);

    CHECK_EQ(cv_answer_open(&q, &raw, &reply, CV_BYTES(value, CV_ANSWER_BYTES)),
             CV_OK);
    for (size_t i = 0; i < raw.len; i++) {
        int err;

        bad = raw;
        bad.data[i] ^= (uint8_t)(1u << (i % 8));
        err = cv_answer_parse(&q, &bad);
        if (err == CV_OK)
            err = cv_answer_verify(&q, &bad, eph, box, &host.node.pub);
        CHECK(err != CV_OK);
    }
    /* Another counter than it was signed with. */
    CHECK_EQ(cv_answer_parse(&q, &raw), CV_OK);
    q.counter = 3;
    CHECK_EQ(cv_answer_verify(&q, &raw, eph, box, &host.node.pub), CV_ERR_AUTH);
    CHECK_EQ(cv_answer_parse(&q, &raw), CV_OK);
    CHECK_EQ(cv_answer_verify(&q, &raw, eph, box, &guest.node.pub),
             CV_ERR_AUTH);
}

RUN_TESTS(
    T(a_knock_comes_out_as_it_went_in),
    T(of_several_gates_a_knock_names_the_first),
    T(every_word_about_the_nat_is_carried_by_a_first_knock_and_a_repeated_one),
    T(a_repeated_knock_keeps_the_shared_secret_of_the_attempt),
    T(an_invite_proof_is_carried),
    T(what_does_not_fit_a_knock_is_dropped_least_preferred_first),
    T(every_flipped_byte_and_every_truncation_of_a_knock_is_refused),
    T(every_flipped_byte_of_the_inner_knock_is_refused),
    T(a_knock_is_bound_to_its_inbox_its_box_and_its_knocker),
    T(work_is_done_and_checked), T(an_answer_comes_out_as_it_went_in),
    T(every_flipped_byte_and_every_truncation_of_an_answer_is_refused))
