#include "tests/unit/discovery_kit.h"

/* A sharer, and one it admitted, in one session. */
static struct cv_keypair session;
static struct kit_person host, member;
static struct cv_root root;
static struct cv_place place;
static struct cv_rng_seeded rng_state;
static struct cv_rng rng;

static void prepare(void)
{
    session = kit_keypair(1);
    host = kit_person(10);
    host.grants = kit_grant(NULL, &session, &host.identity.pub, CV_ROLE_HOST,
                            CV_GRANT_ADMIT);
    member = kit_person(20);
    member.grants = kit_grant(&host, &session, &member.identity.pub,
                              CV_ROLE_EDITOR, CV_GRANT_ADMIT);
    cv_root_of(&root, &session.pub);
    cv_place_at(&place, &root, cv_epoch_at(KIT_UNIX_MS));
    rng = cv_rng_from_seed(&rng_state, 3);
}

static struct cv_pointer pointer_of(const struct kit_person *who, unsigned n)
{
    struct cv_pointer p = {
        .seq = KIT_UNIX_MS,
        .not_after = (uint32_t)(KIT_UNIX_S + CV_POINTER_LIFETIME_S),
        .node = who->node.pub,
        .cert = who->cert,
        .grants = who->grants,
        .flags = CV_RECORD_ADMITS,
        .candidates = kit_candidates(n),
    };

    memset(p.box, 0xb0, sizeof(p.box));
    memset(p.salt, 0x5a, sizeof(p.salt));
    return p;
}

static size_t seal(uint8_t out[CV_POINTER_MAX], const struct cv_pointer *p,
                   const struct kit_person *who)
{
    size_t len;

    REQUIRE(cv_pointer_seal(out, &len, p, &place, &who->node, &rng) == CV_OK);
    return len;
}

/* What a reader makes of it: the first error, or CV_OK. */
static int take(struct cv_pointer *p, struct cv_bytes value, uint64_t now)
{
    struct cv_pointer_raw raw;
    enum cv_role role;
    uint8_t flags;
    int err = cv_pointer_open(p, &raw, &place, value);

    if (err == CV_OK)
        err = cv_pointer_verify(p, &raw, &place, &session.pub, now, &role,
                                &flags);
    return err;
}

TEST(a_pointer_comes_out_as_it_went_in)
{
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];
    struct cv_pointer_raw raw;
    enum cv_role role;
    uint8_t flags;
    size_t len;

    prepare();
    p = pointer_of(&member, 3);
    p.gates.n = 2;
    for (unsigned i = 0; i < 2; i++) {
        p.gates.g[i].key = kit_keypair((uint8_t)(90 + i)).pub;
        p.gates.g[i].transports = 3;
        p.gates.g[i].addr = cv_addr_ipv4(0xc6336401u + i, 0);
        p.gates.g[i].udp = 443;
        p.gates.g[i].tcp = 8443;
    }
    len = seal(value, &p, &member);
    CHECK_EQ(len, 1200);
    CHECK_EQ(cv_pointer_open(&q, &raw, &place, CV_BYTES(value, len)), CV_OK);
    CHECK_EQ(cv_pointer_verify(&q, &raw, &place, &session.pub, KIT_UNIX_S,
                               &role, &flags),
             CV_OK);
    CHECK_EQ(role, CV_ROLE_EDITOR);
    CHECK_EQ(flags, CV_GRANT_ADMIT);
    CHECK_EQ(q.seq, p.seq);
    CHECK_EQ(q.not_after, p.not_after);
    CHECK_MEM(&q.node, &p.node, sizeof(p.node));
    CHECK_MEM(&q.cert.identity, &p.cert.identity, sizeof(p.cert.identity));
    CHECK_EQ(q.grants.n, 2);
    CHECK_MEM(q.box, p.box, sizeof(p.box));
    CHECK_MEM(q.salt, p.salt, sizeof(p.salt));
    CHECK_EQ(q.flags, p.flags);
    CHECK_EQ(q.candidates.n, 3);
    CHECK_EQ(q.candidates.nat, p.candidates.nat);
    for (unsigned i = 0; i < 3; i++)
        CHECK_MEM(&q.candidates.c[i], &p.candidates.c[i],
                  sizeof(p.candidates.c[i]));
    CHECK_EQ(q.gates.n, 2);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_MEM(&q.gates.g[i].key, &p.gates.g[i].key, sizeof(struct cv_key));
        CHECK(cv_addr_equal(&q.gates.g[i].addr, &p.gates.g[i].addr));
        CHECK_EQ(q.gates.g[i].udp, 443);
        CHECK_EQ(q.gates.g[i].tcp, 8443);
    }
}

TEST(a_record_has_one_of_three_sizes_and_drops_the_least_preferred)
{
    /* candidates of kit_candidates(): 8, 8, 20, 8, 8, 20, 8, 8 bytes */
    static const struct {
        bool admitted; /* two grants instead of one */
        unsigned n, kept;
        size_t len;
    } cases[] = {
        {false, 0, 0, 512}, {false, 2, 2, 512}, {false, 3, 3, 600},
        {false, 8, 8, 600}, {true, 0, 0, 1200}, {true, 8, 8, 1200},
    };
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];

    prepare();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct kit_person *who = cases[i].admitted ? &member : &host;
        size_t len;

        p = pointer_of(who, cases[i].n);
        len = seal(value, &p, who);
        CHECK_EQ(len, cases[i].len);
        CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_OK);
        CHECK_EQ(q.candidates.n, cases[i].kept);
    }
    /* Eight IPv6 addresses do not fit into one packet, but five do. */
    p = pointer_of(&host, 8);
    for (unsigned i = 0; i < 8; i++) {
        p.candidates.c[i] = kit_candidates(3).c[2];
        p.candidates.c[i].pref = (uint8_t)(i + 1); /* the last is preferred */
        p.candidates.c[i].addr.ip[15] = (uint8_t)(i + 1);
    }
    CHECK_EQ(seal(value, &p, &host), 600);
    CHECK_EQ(take(&q, CV_BYTES(value, 600), KIT_UNIX_S), CV_OK);
    CHECK_EQ(q.candidates.n, 5);
    for (unsigned i = 0; i < 5; i++)
        CHECK_EQ(q.candidates.c[i].pref, 8 - i);
}

TEST(addresses_that_nobody_can_be_at_are_not_carried)
{
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];
    size_t len;

    prepare();
    p = pointer_of(&host, 4);
    p.candidates.c[0].addr = cv_addr_ipv4(0xe0000001, 9999); /* multicast */
    p.candidates.c[1].addr.port = 0;
    p.candidates.c[3].type = 77;
    len = seal(value, &p, &host);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_OK);
    CHECK_EQ(q.candidates.n, 1);
}

TEST(every_flipped_byte_and_every_truncation_is_refused)
{
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX + 1];
    size_t len;

    prepare();
    p = pointer_of(&host, 8);
    len = seal(value, &p, &host);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_OK);
    for (size_t i = 0; i < len; i++) {
        value[i] ^= (uint8_t)(1u << (i % 8));
        CHECK(take(&q, CV_BYTES(value, len), KIT_UNIX_S) != CV_OK);
        value[i] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t cut = 0; cut < len; cut++)
        CHECK(take(&q, CV_BYTES(value, cut), KIT_UNIX_S) != CV_OK);
    CHECK(take(&q, CV_BYTES(value, len + 1), KIT_UNIX_S) != CV_OK);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_OK);
}

/* The inner record, as one that holds the place's key could write it. */
TEST(every_flipped_byte_of_the_inner_record_is_refused)
{
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];
    struct cv_pointer_raw raw, bad;
    enum cv_role role;
    uint8_t flags;
    size_t len;

    prepare();
    p = pointer_of(&host, 8);
    len = seal(value, &p, &host);
    CHECK_EQ(cv_pointer_open(&q, &raw, &place, CV_BYTES(value, len)), CV_OK);
    for (size_t i = 0; i < raw.len; i++) {
        int err;

        bad = raw;
        bad.data[i] ^= (uint8_t)(1u << (i % 8));
        err = cv_pointer_parse(&q, &bad);
        if (err == CV_OK)
            err = cv_pointer_verify(&q, &bad, &place, &session.pub, KIT_UNIX_S,
                                    &role, &flags);
        CHECK(err != CV_OK);
    }
    for (size_t cut = 0; cut < raw.signed_len + CV_SIG_LEN; cut++) {
        bad = raw;
        bad.len = cut;
        CHECK(cv_pointer_parse(&q, &bad) != CV_OK);
    }
}

TEST(a_pointer_is_bound_to_its_place_its_session_and_its_time)
{
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];
    struct cv_pointer_raw raw;
    struct cv_place next;
    struct cv_keypair other = kit_keypair(2);
    enum cv_role role;
    uint8_t flags;
    size_t len;

    prepare();
    p = pointer_of(&host, 2);
    len = seal(value, &p, &host);
    cv_place_at(&next, &root, place.epoch + 1);
    CHECK_EQ(cv_pointer_open(&q, &raw, &next, CV_BYTES(value, len)),
             CV_ERR_AUTH);
    CHECK_EQ(cv_pointer_open(&q, &raw, &place, CV_BYTES(value, len)), CV_OK);
    CHECK_EQ(cv_pointer_verify(&q, &raw, &next, &session.pub, KIT_UNIX_S, &role,
                               &flags),
             CV_ERR_AUTH);
    CHECK_EQ(cv_pointer_verify(&q, &raw, &place, &other.pub, KIT_UNIX_S, &role,
                               &flags),
             CV_ERR_AUTH);
    /* not_after and two minutes of slack */
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S + 900 + 119), CV_OK);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S + 900 + 120),
             CV_ERR_EXPIRED);
    /* Nobody may announce itself far beyond the epoch of the place. */
    p.not_after = (uint32_t)((place.epoch + 1) * CV_EPOCH_S + 901);
    len = seal(value, &p, &host);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_ERR_AUTH);
}

TEST(only_members_with_their_own_keys_have_pointers)
{
    struct kit_person stranger, self_made;
    struct cv_keypair other = kit_keypair(2);
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];
    size_t len;

    prepare();
    stranger = kit_person(30);

    /* Somebody else's grants. */
    p = pointer_of(&stranger, 2);
    p.grants = host.grants;
    len = seal(value, &p, &stranger);
    CHECK(take(&q, CV_BYTES(value, len), KIT_UNIX_S) != CV_OK);

    /* Somebody else's certificate and grants. */
    p = pointer_of(&host, 2);
    p.node = stranger.node.pub;
    len = seal(value, &p, &stranger);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_ERR_AUTH);

    /* Everything of the host but its node key. */
    p = pointer_of(&host, 2);
    len = seal(value, &p, &stranger);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_ERR_AUTH);

    /* A grant by another session's key. */
    self_made = kit_person(30);
    self_made.grants = kit_grant(NULL, &other, &self_made.identity.pub,
                                 CV_ROLE_HOST, CV_GRANT_ADMIT);
    p = pointer_of(&self_made, 2);
    len = seal(value, &p, &self_made);
    CHECK(take(&q, CV_BYTES(value, len), KIT_UNIX_S) != CV_OK);

    /* A certificate that is over, and a grant that is. */
    p = pointer_of(&host, 2);
    CHECK_EQ(
        cv_cert_make(&p.cert, &host.identity, &host.node.pub, KIT_UNIX_S - 121),
        CV_OK);
    len = seal(value, &p, &host);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_ERR_EXPIRED);
    p = pointer_of(&host, 2);
    CHECK_EQ(cv_grants_issue(&p.grants, NULL, &session.pub, &session,
                             &host.identity.pub, CV_ROLE_HOST, 0,
                             KIT_UNIX_S - 121, &rng),
             CV_OK);
    len = seal(value, &p, &host);
    CHECK_EQ(take(&q, CV_BYTES(value, len), KIT_UNIX_S), CV_ERR_EXPIRED);
}

TEST(nothing_of_the_session_is_readable_outside)
{
    struct cv_pointer p;
    uint8_t value[CV_POINTER_MAX];
    size_t len;

    prepare();
    p = pointer_of(&host, 8);
    len = seal(value, &p, &host);
    for (size_t i = 0; i + 8 <= len; i++) {
        CHECK(memcmp(value + i, host.node.pub.b, 8) != 0);
        CHECK(memcmp(value + i, host.identity.pub.b, 8) != 0);
        CHECK(memcmp(value + i, session.pub.b, 8) != 0);
        CHECK(memcmp(value + i, p.candidates.c[0].addr.ip, 4) != 0);
    }
}

RUN_TESTS(T(a_pointer_comes_out_as_it_went_in),
          T(a_record_has_one_of_three_sizes_and_drops_the_least_preferred),
          T(addresses_that_nobody_can_be_at_are_not_carried),
          T(every_flipped_byte_and_every_truncation_is_refused),
          T(every_flipped_byte_of_the_inner_record_is_refused),
          T(a_pointer_is_bound_to_its_place_its_session_and_its_time),
          T(only_members_with_their_own_keys_have_pointers),
          T(nothing_of_the_session_is_readable_outside))
