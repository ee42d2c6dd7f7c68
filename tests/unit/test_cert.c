#include "base/cert.h"
#include "tests/test.h"

#define NOW UINT64_C(1700000000)

static struct cv_rng_seeded state;
static struct cv_rng rng;
static struct cv_keypair session, ann, bob, eve, dan, fay;

static int setup(void **unused)
{
    struct cv_keypair *const all[] = {&session, &ann, &bob, &eve, &dan, &fay};

    (void)unused;
    rng = cv_rng_from_seed(&state, 7);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        REQUIRE(cv_keypair_generate(all[i], &rng) == CV_OK);
    return 0;
}

static struct cv_grants issue(const struct cv_grants *parent,
                              const struct cv_keypair *issuer,
                              const struct cv_keypair *subject,
                              enum cv_role role, uint8_t flags,
                              uint64_t not_after)
{
    struct cv_grants out;

    REQUIRE(cv_grants_issue(&out, parent, &session.pub, issuer, &subject->pub,
                            role, flags, not_after, &rng) == CV_OK);
    return out;
}

static int verify(const struct cv_grants *grants,
                  const struct cv_keypair *subject, uint64_t now)
{
    enum cv_role role = CV_ROLE_NONE;
    uint8_t flags = 0xff;
    int err = cv_grants_verify(grants, &session.pub, &subject->pub, now, &role,
                               &flags);

    /* Nothing is said about a chain that does not hold. */
    REQUIRE(err == CV_OK || (role == CV_ROLE_NONE && flags == 0xff));
    return err;
}

/* Sign grant `i` of a chain again, as `issuer` would who ignores the rules,
 * and hang what follows on it. */
static void forge(struct cv_grants *grants, unsigned i,
                  const struct cv_keypair *issuer,
                  const struct cv_keypair *next)
{
    for (; i < grants->n; i++, issuer = next) {
        uint8_t encoded[1 + CV_GRANT_CHAIN_MAX * CV_GRANT_BYTES];
        struct cv_writer w;
        struct cv_bytes parts[3] = {CV_LITERAL("covim grant 1"),
                                    CV_BYTES(session.pub.b, CV_KEY_LEN),
                                    CV_BYTES(encoded + 1 + i * CV_GRANT_BYTES,
                                             CV_GRANT_BYTES - CV_SIG_LEN)};

        cv_writer_init(&w, encoded, sizeof(encoded));
        if (i > 0) {
            REQUIRE(cv_put_grants(&w, grants) == CV_OK);
            cv_sha256(grants->chain[i].parent,
                      &CV_BYTES(encoded + 1 + (i - 1) * CV_GRANT_BYTES,
                                CV_GRANT_BYTES),
                      1);
            cv_writer_reset(&w);
        }
        REQUIRE(cv_put_grants(&w, grants) == CV_OK);
        REQUIRE(cv_sign(grants->chain[i].sig, issuer, parts, 3) == CV_OK);
    }
}

TEST(a_certificate_holds_for_its_node_and_its_time)
{
    struct cv_cert cert, other;

    CHECK_EQ(cv_cert_make(&cert, &ann, &bob.pub, NOW), CV_OK);
    CHECK(cv_key_equal(&cert.identity, &ann.pub));
    CHECK_EQ(cv_cert_verify(&cert, &bob.pub, 0), CV_OK);
    CHECK_EQ(cv_cert_verify(&cert, &bob.pub, NOW), CV_OK);
    CHECK_EQ(cv_cert_verify(&cert, &bob.pub, NOW + CV_CLOCK_SLACK_S), CV_OK);
    CHECK_EQ(cv_cert_verify(&cert, &bob.pub, NOW + CV_CLOCK_SLACK_S + 1),
             CV_ERR_EXPIRED);
    CHECK_EQ(cv_cert_verify(&cert, &eve.pub, NOW), CV_ERR_AUTH);

    other = cert;
    other.identity = eve.pub;
    CHECK_EQ(cv_cert_verify(&other, &bob.pub, NOW), CV_ERR_AUTH);
    other = cert;
    other.not_after++;
    CHECK_EQ(cv_cert_verify(&other, &bob.pub, NOW), CV_ERR_AUTH);
    other = cert;
    other.sig[63] ^= 1;
    CHECK_EQ(cv_cert_verify(&other, &bob.pub, NOW), CV_ERR_AUTH);

    /* Neither end of the numbers wraps around. */
    CHECK_EQ(cv_cert_make(&cert, &ann, &bob.pub, UINT64_MAX), CV_OK);
    CHECK_EQ(cv_cert_verify(&cert, &bob.pub, UINT64_MAX), CV_OK);
    CHECK_EQ(cv_cert_make(&cert, &ann, &bob.pub, 0), CV_OK);
    CHECK_EQ(cv_cert_verify(&cert, &bob.pub, UINT64_MAX), CV_ERR_EXPIRED);
}

TEST(a_certificate_signs_the_bytes_of_the_protocol)
{
    struct cv_cert cert;
    uint8_t time[8] = {0, 0, 0, 0, 0x65, 0x53, 0xf1, 0x00}; /* NOW */
    struct cv_bytes parts[] = {CV_LITERAL("covim node 1"),
                               CV_BYTES(bob.pub.b, 32), CV_BYTES(time, 8)};

    CHECK_EQ(cv_cert_make(&cert, &ann, &bob.pub, NOW), CV_OK);
    CHECK_EQ(cv_verify(&ann.pub, cert.sig, parts, 3), CV_OK);
}

TEST(certificates_come_back_and_truncations_do_not)
{
    uint8_t buf[CV_CERT_BYTES + 1];
    struct cv_writer w;
    struct cv_reader r;
    struct cv_cert cert, again;

    CHECK_EQ(cv_cert_make(&cert, &ann, &bob.pub, NOW), CV_OK);
    cv_writer_init(&w, buf, sizeof(buf));
    CHECK_EQ(cv_put_cert(&w, &cert), CV_OK);
    CHECK_EQ(w.len, CV_CERT_BYTES);
    cv_reader_init(&r, buf, w.len);
    again = cv_get_cert(&r);
    CHECK_EQ(cv_reader_end(&r), CV_OK);
    CHECK_EQ(cv_cert_verify(&again, &bob.pub, NOW), CV_OK);
    CHECK_EQ(again.not_after, NOW);
    for (size_t len = 0; len < CV_CERT_BYTES; len++) {
        cv_reader_init(&r, buf, len);
        again = cv_get_cert(&r);
        CHECK_EQ(r.err, CV_ERR_FORMAT);
        CHECK_EQ(cv_cert_verify(&again, &bob.pub, NOW), CV_ERR_AUTH);
    }
    cv_writer_init(&w, buf, CV_CERT_BYTES - 1);
    CHECK_EQ(cv_put_cert(&w, &cert), CV_ERR_NOBUF);
}

TEST(a_chain_of_four_holds)
{
    struct cv_grants g = {0};
    enum cv_role role;
    uint8_t flags;

    g = issue(NULL, &session, &ann, CV_ROLE_HOST, CV_GRANT_ADMIT, NOW + 400);
    CHECK_EQ(cv_grants_verify(&g, &session.pub, &ann.pub, NOW, &role, &flags),
             CV_OK);
    CHECK_EQ(role, CV_ROLE_HOST);
    CHECK_EQ(flags, CV_GRANT_ADMIT);
    g = issue(&g, &ann, &bob, CV_ROLE_EDITOR, CV_GRANT_ADMIT, NOW + 300);
    g = issue(&g, &bob, &eve, CV_ROLE_EDITOR, CV_GRANT_ADMIT, NOW + 300);
    g = issue(&g, &eve, &dan, CV_ROLE_VIEWER, 0, NOW + 200);
    CHECK_EQ(g.n, 4);
    CHECK_EQ(cv_grants_verify(&g, &session.pub, &dan.pub, NOW, &role, &flags),
             CV_OK);
    CHECK_EQ(role, CV_ROLE_VIEWER);
    CHECK_EQ(flags, 0);
    CHECK_EQ(verify(&g, &dan, NOW + 200 + CV_CLOCK_SLACK_S), CV_OK);
    CHECK_EQ(verify(&g, &dan, NOW + 201 + CV_CLOCK_SLACK_S), CV_ERR_EXPIRED);
}

TEST(a_chain_of_five_is_too_long)
{
    struct cv_grants g, five;
    const struct cv_keypair *const who[] = {&session, &ann, &bob, &eve, &dan};

    g = (struct cv_grants){0};
    for (int i = 0; i < 4; i++)
        g = issue(&g, who[i], who[i + 1], CV_ROLE_HOST, CV_GRANT_ADMIT, NOW);
    five = g;
    CHECK_EQ(cv_grants_issue(&five, &g, &session.pub, &dan, &fay.pub,
                             CV_ROLE_VIEWER, 0, NOW, &rng),
             CV_ERR_LIMIT);
    CHECK_EQ(five.n, 4); /* untouched */
    five.n = 5;
    CHECK_EQ(verify(&five, &dan, NOW), CV_ERR_DENIED);
}

TEST(nobody_issues_what_is_not_theirs)
{
    struct cv_grants first, g, out = {.n = 77};

    /* Not the session key. */
    CHECK_EQ(cv_grants_issue(&out, NULL, &session.pub, &eve, &bob.pub,
                             CV_ROLE_VIEWER, 0, NOW, &rng),
             CV_ERR_DENIED);
    /* May not admit. */
    first = issue(NULL, &session, &ann, CV_ROLE_EDITOR, 0, NOW);
    CHECK_EQ(cv_grants_issue(&out, &first, &session.pub, &ann, &bob.pub,
                             CV_ROLE_VIEWER, 0, NOW, &rng),
             CV_ERR_DENIED);
    /* A higher role. */
    first = issue(NULL, &session, &ann, CV_ROLE_EDITOR, CV_GRANT_ADMIT, NOW);
    CHECK_EQ(cv_grants_issue(&out, &first, &session.pub, &ann, &bob.pub,
                             CV_ROLE_HOST, 0, NOW, &rng),
             CV_ERR_DENIED);
    /* Somebody else's grant; the session key below a grant. */
    CHECK_EQ(cv_grants_issue(&out, &first, &session.pub, &eve, &bob.pub,
                             CV_ROLE_VIEWER, 0, NOW, &rng),
             CV_ERR_DENIED);
    CHECK_EQ(cv_grants_issue(&out, &first, &session.pub, &session, &bob.pub,
                             CV_ROLE_VIEWER, 0, NOW, &rng),
             CV_ERR_DENIED);
    CHECK_EQ(out.n, 77);
    /* The time is cut to the parent's. */
    g = issue(&first, &ann, &bob, CV_ROLE_EDITOR, 0, NOW + 1000);
    CHECK_EQ(g.chain[1].not_after, NOW);
    CHECK_EQ(verify(&g, &bob, NOW), CV_OK);
    /* Into the same storage. */
    CHECK_EQ(cv_grants_issue(&first, &first, &session.pub, &ann, &bob.pub,
                             CV_ROLE_VIEWER, 0, NOW, &rng),
             CV_OK);
    CHECK_EQ(verify(&first, &bob, NOW), CV_OK);
}

/* ann (host, may admit) lets bob in as editor; each case breaks one rule.
 * Where the break is one that its issuer could sign, it is signed. */
enum breakage {
    NOTHING,
    NO_GRANTS,
    TOO_MANY,
    OTHER_SUBJECT,
    OTHER_SESSION,
    FIRST_NOT_BY_SESSION,
    FIRST_HAS_PARENT,
    SECOND_HAS_NO_PARENT,
    OTHER_PARENT,
    OTHER_ISSUER,
    SIGNED_BY_ANOTHER,
    FIRST_SIG,
    LAST_SIG,
    CHANGED_ROLE,
    CHANGED_FLAGS,
    CHANGED_TIME,
    CHANGED_SERIAL,
    PARENT_MAY_NOT_ADMIT,
    ROLE_ABOVE_PARENT,
    ROLE_NONE,
    ROLE_UNKNOWN,
    FLAG_UNKNOWN,
    OUTLIVES_PARENT,
    PARENT_EXPIRED,
    EXPIRED,
    SWAPPED,
    FIRST_DROPPED,
    BREAKAGES
};

static int break_chain(enum breakage b, struct cv_grants *g)
{
    const struct cv_keypair *subject = &bob;
    struct cv_key other = eve.pub;
    uint64_t now = NOW;
    enum cv_role role = CV_ROLE_NONE;
    uint8_t flags;

    switch (b) {
    case NOTHING:
    case BREAKAGES:
        break;
    case NO_GRANTS:
        g->n = 0;
        break;
    case TOO_MANY:
        g->n = CV_GRANT_CHAIN_MAX + 1;
        break;
    case OTHER_SUBJECT:
        subject = &ann;
        break;
    case OTHER_SESSION:
        return cv_grants_verify(g, &other, &bob.pub, now, &role, &flags);
    case FIRST_NOT_BY_SESSION:
        g->chain[0].issuer = eve.pub;
        forge(g, 0, &eve, &ann);
        break;
    case FIRST_HAS_PARENT:
        g->chain[0].parent[31] = 1;
        forge(g, 0, &session, &ann);
        break;
    case SECOND_HAS_NO_PARENT:
        *g = issue(NULL, &session, &ann, CV_ROLE_HOST, CV_GRANT_ADMIT, NOW);
        g->chain[1] = g->chain[0];
        g->chain[1].issuer = ann.pub;
        g->chain[1].subject = bob.pub;
        g->n = 2;
        break;
    case OTHER_PARENT:
        /* Another grant of the same, in the place of the one it hangs on. */
        g->chain[0] =
            issue(NULL, &session, &ann, CV_ROLE_HOST, CV_GRANT_ADMIT, NOW + 100)
                .chain[0];
        break;
    case OTHER_ISSUER:
        g->chain[1].issuer = eve.pub;
        forge(g, 1, &eve, NULL);
        break;
    case SIGNED_BY_ANOTHER:
        forge(g, 1, &eve, NULL);
        break;
    case FIRST_SIG:
        forge(g, 0, &eve, &ann);
        break;
    case LAST_SIG:
        g->chain[1].sig[5] ^= 1;
        break;
    case CHANGED_ROLE:
        g->chain[1].role = CV_ROLE_VIEWER;
        break;
    case CHANGED_FLAGS:
        g->chain[1].flags ^= CV_GRANT_ADMIT;
        break;
    case CHANGED_TIME:
        g->chain[1].not_after--;
        break;
    case CHANGED_SERIAL:
        g->chain[1].serial[15] ^= 1;
        break;
    case PARENT_MAY_NOT_ADMIT:
        g->chain[0].flags = 0;
        forge(g, 0, &session, &ann);
        break;
    case ROLE_ABOVE_PARENT:
        g->chain[0].role = CV_ROLE_VIEWER;
        forge(g, 0, &session, &ann);
        break;
    case ROLE_NONE:
        g->chain[1].role = CV_ROLE_NONE;
        forge(g, 1, &ann, NULL);
        break;
    case ROLE_UNKNOWN:
        g->chain[0].role = 4;
        g->chain[1].role = 4;
        forge(g, 0, &session, &ann);
        break;
    case FLAG_UNKNOWN:
        g->chain[1].flags = 0x02;
        forge(g, 1, &ann, NULL);
        break;
    case OUTLIVES_PARENT:
        g->chain[1].not_after = g->chain[0].not_after + 1;
        forge(g, 1, &ann, NULL);
        break;
    case PARENT_EXPIRED:
        g->chain[0].not_after = NOW - 1000;
        forge(g, 0, &session, &ann);
        break;
    case EXPIRED:
        now = g->chain[1].not_after + CV_CLOCK_SLACK_S + 1;
        break;
    case SWAPPED: {
        struct cv_grant first = g->chain[0];

        g->chain[0] = g->chain[1];
        g->chain[1] = first;
        break;
    }
    case FIRST_DROPPED:
        g->chain[0] = g->chain[1];
        g->n = 1;
        break;
    }
    return verify(g, subject, now);
}

TEST(every_rule_of_a_chain_can_fail)
{
    static const int want[BREAKAGES] = {
        [NOTHING] = CV_OK,
        [NO_GRANTS] = CV_ERR_DENIED,
        [TOO_MANY] = CV_ERR_DENIED,
        [OTHER_SUBJECT] = CV_ERR_AUTH,
        [OTHER_SESSION] = CV_ERR_AUTH,
        [FIRST_NOT_BY_SESSION] = CV_ERR_AUTH,
        [FIRST_HAS_PARENT] = CV_ERR_AUTH,
        [SECOND_HAS_NO_PARENT] = CV_ERR_AUTH,
        [OTHER_PARENT] = CV_ERR_AUTH,
        [OTHER_ISSUER] = CV_ERR_AUTH,
        [SIGNED_BY_ANOTHER] = CV_ERR_AUTH,
        [FIRST_SIG] = CV_ERR_AUTH,
        [LAST_SIG] = CV_ERR_AUTH,
        [CHANGED_ROLE] = CV_ERR_AUTH,
        [CHANGED_FLAGS] = CV_ERR_AUTH,
        [CHANGED_TIME] = CV_ERR_AUTH,
        [CHANGED_SERIAL] = CV_ERR_AUTH,
        [PARENT_MAY_NOT_ADMIT] = CV_ERR_DENIED,
        [ROLE_ABOVE_PARENT] = CV_ERR_DENIED,
        [ROLE_NONE] = CV_ERR_DENIED,
        [ROLE_UNKNOWN] = CV_ERR_DENIED,
        [FLAG_UNKNOWN] = CV_ERR_DENIED,
        [OUTLIVES_PARENT] = CV_ERR_DENIED,
        [PARENT_EXPIRED] = CV_ERR_DENIED, /* the child outlives it */
        [EXPIRED] = CV_ERR_EXPIRED,
        [SWAPPED] = CV_ERR_AUTH,
        [FIRST_DROPPED] = CV_ERR_AUTH,
    };

    for (int b = 0; b < BREAKAGES; b++) {
        struct cv_grants g = issue(NULL, &session, &ann, CV_ROLE_HOST,
                                   CV_GRANT_ADMIT, NOW + 100);
        int got;

        g = issue(&g, &ann, &bob, CV_ROLE_EDITOR, 0, NOW + 50);
        got = break_chain((enum breakage)b, &g);
        if (got != want[b])
            print_error("breakage %d\n", b);
        CHECK_EQ(got, want[b]);
    }
}

TEST(every_bit_of_a_grant_is_signed)
{
    struct cv_grants g =
        issue(NULL, &session, &ann, CV_ROLE_HOST, CV_GRANT_ADMIT, NOW);
    uint8_t buf[1 + CV_GRANT_BYTES];
    struct cv_writer w;

    cv_writer_init(&w, buf, sizeof(buf));
    CHECK_EQ(cv_put_grants(&w, &g), CV_OK);
    for (size_t bit = 8; bit < 8 * sizeof(buf); bit++) {
        struct cv_reader r;

        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cv_reader_init(&r, buf, sizeof(buf));
        g = cv_get_grants(&r);
        CHECK_EQ(cv_reader_end(&r), CV_OK);
        CHECK_EQ(verify(&g, &ann, NOW), CV_ERR_AUTH);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

TEST(chains_come_back_and_truncations_do_not)
{
    uint8_t buf[1 + CV_GRANT_CHAIN_MAX * CV_GRANT_BYTES];
    const struct cv_keypair *const who[] = {&session, &ann, &bob, &eve, &dan};
    struct cv_grants g = {0};

    for (unsigned n = 0; n <= CV_GRANT_CHAIN_MAX; n++) {
        struct cv_grants again;
        struct cv_writer w;
        struct cv_reader r;

        if (n > 0)
            g = issue(&g, who[n - 1], who[n], CV_ROLE_HOST, CV_GRANT_ADMIT,
                      NOW);
        cv_writer_init(&w, buf, sizeof(buf));
        CHECK_EQ(cv_put_grants(&w, &g), CV_OK);
        CHECK_EQ(w.len, 1 + n * CV_GRANT_BYTES);
        cv_reader_init(&r, buf, w.len);
        again = cv_get_grants(&r);
        CHECK_EQ(cv_reader_end(&r), CV_OK);
        CHECK_EQ(again.n, n);
        if (n > 0)
            CHECK_EQ(verify(&again, who[n], NOW), CV_OK);
        for (size_t len = 0; len < w.len; len++) {
            cv_reader_init(&r, buf, len);
            again = cv_get_grants(&r);
            CHECK_EQ(r.err, CV_ERR_FORMAT);
            CHECK_EQ(again.n, 0);
        }
    }
    for (unsigned n = CV_GRANT_CHAIN_MAX + 1; n < 256; n++) {
        struct cv_reader r;

        buf[0] = (uint8_t)n;
        cv_reader_init(&r, buf, sizeof(buf));
        CHECK_EQ(cv_get_grants(&r).n, 0);
        CHECK_EQ(r.err, CV_ERR_FORMAT);
    }
}

TEST(roles_have_names)
{
    CHECK_STR(cv_role_name(CV_ROLE_NONE), "none");
    CHECK_STR(cv_role_name(CV_ROLE_VIEWER), "viewer");
    CHECK_STR(cv_role_name(CV_ROLE_EDITOR), "editor");
    CHECK_STR(cv_role_name(CV_ROLE_HOST), "host");
    CHECK_STR(cv_role_name((enum cv_role)9), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_certificate_holds_for_its_node_and_its_time),
        T(a_certificate_signs_the_bytes_of_the_protocol),
        T(certificates_come_back_and_truncations_do_not),
        T(a_chain_of_four_holds),
        T(a_chain_of_five_is_too_long),
        T(nobody_issues_what_is_not_theirs),
        T(every_rule_of_a_chain_can_fail),
        T(every_bit_of_a_grant_is_signed),
        T(chains_come_back_and_truncations_do_not),
        T(roles_have_names),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
