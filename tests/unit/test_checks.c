#include "tests/test.h"
#include "transport/checks.h"

static const uint8_t attempt[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t shared[32] = {42};
static struct cv_rng_seeded seed;
static struct cv_rng rng;
static struct cv_checks joiner, sharer;
static struct cv_path_addr at_joiner, at_sharer;
static uint8_t req[CV_CHECK_MAX], ans[CV_CHECK_MAX];
static struct cv_writer rw, aw;

static int setup(void **state)
{
    (void)state;
    rng = cv_rng_from_seed(&seed, 1);
    cv_checks_init(&joiner, &rng, attempt, shared, true);
    cv_checks_init(&sharer, &rng, attempt, shared, false);
    at_joiner = (struct cv_path_addr){.remote = cv_addr_ipv4(0x05010101, 4000)};
    at_sharer = (struct cv_path_addr){.remote = cv_addr_ipv4(0x05020202, 5000)};
    return 0;
}

/* One request from the joiner, as the sharer takes it. */
static int ask(struct cv_checks *from, struct cv_checks *to,
               const struct cv_path_addr *dest, const struct cv_path_addr *src,
               struct cv_stun *m, struct cv_check *c, cv_time now)
{
    cv_writer_init(&rw, req, sizeof req);
    REQUIRE(cv_checks_request(from, now, dest, 3, &rw) == CV_OK);
    REQUIRE(cv_stun_parse(m, req, rw.len) == CV_OK);
    return cv_checks_receive(to, now, src, m, c);
}

static int reply(struct cv_checks *to, struct cv_checks *from,
                 const struct cv_path_addr *src,
                 const struct cv_path_addr *dest, const struct cv_stun *m,
                 const struct cv_check *c, struct cv_check *out, cv_time now)
{
    struct cv_stun n;

    cv_writer_init(&aw, ans, sizeof ans);
    REQUIRE(cv_checks_answer(to, m, c, src, &aw) == CV_OK);
    REQUIRE(cv_stun_parse(&n, ans, aw.len) == CV_OK);
    return cv_checks_receive(from, now, dest, &n, out);
}

TEST(a_check_is_answered_and_measured)
{
    struct cv_stun m;
    struct cv_check c, d;

    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, 1000),
             CV_OK);
    CHECK_EQ(c.kind, CV_CHECK_REQUEST);
    CHECK_EQ(c.path_id, 3);
    CHECK(rw.len <= CV_CHECK_MAX);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, &d, 5000),
             CV_OK);
    CHECK_EQ(d.kind, CV_CHECK_RESPONSE);
    CHECK_EQ(d.rtt, 4000);
    CHECK(cv_addr_equal(&d.mapped, &at_joiner.remote));
    CHECK(aw.len <= rw.len); /* no amplification */
}

TEST(a_request_is_taken_once_and_an_answer_too)
{
    struct cv_stun m, n;
    struct cv_check c, d;

    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, 0), CV_OK);
    CHECK_EQ(cv_checks_receive(&sharer, 0, &at_joiner, &m, &d), CV_ERR_REPLAY);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, &d, 5),
             CV_OK);
    CHECK_EQ(cv_stun_parse(&n, ans, aw.len), CV_OK);
    CHECK_EQ(cv_checks_receive(&joiner, 6, &at_sharer, &n, &d),
             CV_ERR_NOTFOUND);
}

TEST(an_answer_from_elsewhere_or_too_late_proves_nothing)
{
    struct cv_path_addr elsewhere = at_sharer;
    struct cv_stun m;
    struct cv_check c, d;

    elsewhere.remote.port++;
    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, 0), CV_OK);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &elsewhere, &m, &c, &d, 5),
             CV_ERR_NOTFOUND);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, &d,
                   CV_CHECK_OPEN_TIME + 1),
             CV_ERR_NOTFOUND);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, &d, 5),
             CV_OK);
}

TEST(each_direction_has_its_own_key)
{
    struct cv_checks mirror;
    struct cv_stun m;
    struct cv_check c;

    /* What the joiner sends cannot be reflected to it. */
    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, 0), CV_OK);
    CHECK_EQ(cv_checks_receive(&joiner, 0, &at_sharer, &m, &c), CV_ERR_AUTH);
    cv_checks_init(&mirror, &rng, attempt, shared, true);
    CHECK_EQ(ask(&joiner, &mirror, &at_sharer, &at_joiner, &m, &c, 0),
             CV_ERR_AUTH);
}

TEST(other_attempts_and_other_secrets_are_refused)
{
    uint8_t other[32] = {43}, other_attempt[8] = {9};
    struct cv_checks stranger;
    struct cv_stun m;
    struct cv_check c;

    cv_checks_init(&stranger, &rng, attempt, other, true);
    CHECK_EQ(ask(&stranger, &sharer, &at_sharer, &at_joiner, &m, &c, 0),
             CV_ERR_AUTH);
    cv_checks_init(&stranger, &rng, other_attempt, shared, true);
    CHECK_EQ(ask(&stranger, &sharer, &at_sharer, &at_joiner, &m, &c, 0),
             CV_ERR_NOTFOUND);
}

TEST(every_changed_byte_of_a_request_is_refused)
{
    struct cv_checks fresh;
    struct cv_stun m;
    struct cv_check c;
    uint8_t copy[CV_CHECK_MAX];

    cv_writer_init(&rw, req, sizeof req);
    CHECK_EQ(cv_checks_request(&joiner, 0, &at_sharer, 3, &rw), CV_OK);
    for (size_t i = 0; i < rw.len - 8; i++) { /* less the fingerprint */
        struct cv_writer w;
        int err;

        memcpy(copy, req, rw.len);
        copy[i] ^= 0x01;
        /* Whoever changes it can also compute the fingerprint. */
        cv_writer_init(&w, copy, sizeof copy);
        w.len = rw.len - 8;
        CHECK_EQ(cv_stun_put_fingerprint(&w), CV_OK);
        cv_checks_init(&fresh, &rng, attempt, shared, false);
        err = cv_stun_parse(&m, copy, rw.len);
        if (err == CV_OK)
            err = cv_checks_receive(&fresh, 0, &at_joiner, &m, &c);
        /* The length field is written anew by the fingerprint. */
        CHECK((i == 2 || i == 3) == (err == CV_OK));
    }
}

TEST(exported_keys_replace_the_first_ones)
{
    uint8_t exported[64];
    struct cv_stun m;
    struct cv_check c, d;
    cv_time now = CV_SECOND;

    memset(exported, 7, 32);
    memset(exported + 32, 8, 32);

    /* An answer on its way survives the change on both ends. */
    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, now), CV_OK);
    cv_checks_rekey(&joiner, exported, now);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, &d, now),
             CV_OK);
    /* The joiner signs with the old key until the sharer has the new one. */
    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, now), CV_OK);
    CHECK_EQ(reply(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, &d, now),
             CV_OK);
    CHECK(d.old_key);
    cv_checks_rekey(&sharer, exported, now);
    now += CV_CHECK_SWITCH;
    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, now), CV_OK);
    CHECK(!c.old_key);
    /* That told the sharer. */
    CHECK_EQ(ask(&sharer, &joiner, &at_joiner, &at_sharer, &m, &c, now), CV_OK);
    CHECK(!c.old_key);
}

TEST(old_keys_are_wiped_after_ten_seconds)
{
    static const uint8_t zeros[CV_CHECK_KEY];
    uint8_t exported[64] = {1};
    struct cv_checks late;
    struct cv_stun m;
    struct cv_check c;

    cv_checks_init(&late, &rng, attempt, shared, true);
    cv_checks_rekey(&sharer, exported, 0);
    CHECK_EQ(ask(&late, &sharer, &at_sharer, &at_joiner, &m, &c,
                 CV_CHECK_OLD_TIME - 1),
             CV_OK);
    CHECK(c.old_key);
    CHECK_EQ(
        ask(&late, &sharer, &at_sharer, &at_joiner, &m, &c, CV_CHECK_OLD_TIME),
        CV_ERR_AUTH);
    CHECK_MEM(sharer.old.ours, zeros, sizeof zeros);
    CHECK_MEM(sharer.old.theirs, zeros, sizeof zeros);
}

TEST(the_replay_window_holds_a_thousand)
{
    static uint8_t kept[CV_CHECK_WINDOW + 1][CV_CHECK_MAX];
    size_t len[CV_CHECK_WINDOW + 1];
    struct cv_stun m;
    struct cv_check c;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i <= CV_CHECK_WINDOW; i++) {
            CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &c, 0),
                     CV_OK);
            memcpy(kept[i], req, rw.len);
            len[i] = rw.len;
        }
        for (unsigned i = 1; i <= CV_CHECK_WINDOW; i++) {
            CHECK_EQ(cv_stun_parse(&m, kept[i], len[i]), CV_OK);
            CHECK_EQ(cv_checks_receive(&sharer, 0, &at_joiner, &m, &c),
                     CV_ERR_REPLAY);
        }
    }
}

/* The hex digits below "vector NAME" of docs/protocol.md. */
static size_t documented(const char *name, uint8_t *out, size_t cap)
{
    static char doc[1 << 20];
    char line[64], hex[2 * CV_CHECK_MAX + 1];
    FILE *f = fopen(COVIM_SOURCE_DIR "/docs/protocol.md", "re");
    size_t n = 0;
    char *at;

    REQUIRE(f != NULL);
    doc[fread(doc, 1, sizeof doc - 1, f)] = '\0';
    fclose(f);
    snprintf(line, sizeof line, "\nvector %s\n", name);
    at = strstr(doc, line);
    if (!at)
        return 0;
    for (at += strlen(line); *at && n < sizeof hex - 1; at++) {
        if (*at == '\n' && (at[1] == '\n' || at[1] == '`'))
            break;
        if (*at != '\n')
            hex[n++] = *at;
    }
    hex[n] = '\0';
    REQUIRE(n / 2 <= cap && cv_unhex(out, n / 2, hex) == CV_OK);
    return n / 2;
}

static unsigned wrong;

static void check_vector(const char *name, const uint8_t *data, size_t len)
{
    uint8_t want[CV_CHECK_MAX];
    char hex[2 * CV_CHECK_MAX + 1];

    cv_hex(hex, data, len);
    if (documented(name, want, sizeof want) != len ||
        memcmp(want, data, len) != 0) {
        print_error("vector %s\n%s\n", name, hex);
        wrong++;
    }
}

static void count_up(void *user, void *out, size_t len)
{
    uint8_t *b = out;

    (void)user;
    for (size_t i = 0; i < len; i++)
        b[i] = (uint8_t)i;
}

TEST(the_document_has_the_vectors_that_the_code_makes)
{
    const struct cv_rng counting = {.fill = count_up};
    struct cv_checks *c = &joiner;
    uint8_t secret[32];
    struct cv_stun m;
    struct cv_check got;

    memset(secret, 0x11, sizeof secret);
    cv_checks_init(&joiner, &counting, attempt, secret, true);
    cv_checks_init(&sharer, &counting, attempt, secret, false);
    check_vector("check.joiner", c->now.ours, CV_CHECK_KEY);
    check_vector("check.sharer", c->now.theirs, CV_CHECK_KEY);
    CHECK_EQ(ask(&joiner, &sharer, &at_sharer, &at_joiner, &m, &got, CV_SECOND),
             CV_OK);
    check_vector("check.request", req, rw.len);
    cv_writer_init(&aw, ans, sizeof ans);
    CHECK_EQ(cv_checks_answer(&sharer, &m, &got, &at_joiner, &aw), CV_OK);
    check_vector("check.response", ans, aw.len);
    CHECK_EQ(wrong, 0);
}

#define S(name) cmocka_unit_test_setup(name, setup)
RUN_TESTS(S(a_check_is_answered_and_measured),
          S(a_request_is_taken_once_and_an_answer_too),
          S(an_answer_from_elsewhere_or_too_late_proves_nothing),
          S(each_direction_has_its_own_key),
          S(other_attempts_and_other_secrets_are_refused),
          S(every_changed_byte_of_a_request_is_refused),
          S(exported_keys_replace_the_first_ones),
          S(old_keys_are_wiped_after_ten_seconds),
          S(the_replay_window_holds_a_thousand),
          S(the_document_has_the_vectors_that_the_code_makes))
