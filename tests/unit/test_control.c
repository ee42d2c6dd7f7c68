#include "session/control.h"

#include "tests/test.h"

static struct cv_control c, back;

static struct cv_bytes body_of(struct cv_writer *w)
{
    struct cv_reader r;

    cv_reader_init(&r, w->data, w->len);
    return cv_get_varbytes(&r, CV_CONTROL_MAX);
}

/* Encode c, decode it, and decode every truncation of it: none may crash, and
 * none but the whole may be taken for the whole. */
static void round_trip(void **test_state_, unsigned may_lack)
{
    struct cv_writer w;
    struct cv_bytes b;

    cv_writer_init_heap(&w, CV_CONTROL_MAX + 8);
    CHECK_EQ(cv_control_put(&w, &c), CV_OK);
    b = body_of(&w);
    CHECK(b.len > 0);
    CHECK_EQ(cv_control_parse(&back, b), CV_OK);
    CHECK_EQ(back.type, c.type);
    for (size_t n = 0; n + may_lack < b.len; n++) {
        uint8_t *copy = malloc(n + 1); /* for the sanitizer */

        CHECK(copy != NULL);
        memcpy(copy, b.data, n);
        CHECK_EQ(cv_control_parse(&back, (struct cv_bytes){copy, n}),
                 CV_ERR_FORMAT);
        free(copy);
    }
    CHECK_EQ(cv_control_parse(&back, b), CV_OK);
    cv_writer_fini(&w);
}

static void make(enum cv_control_type type)
{
    memset(&c, 0, sizeof c);
    c.type = type;
}

TEST(hello_round_trip)
{
    make(CV_CONTROL_HELLO);
    c.u.hello.version = CV_CONTROL_VERSION;
    c.u.hello.capabilities = CV_CONTROL_DOCUMENTS;
    memset(c.u.hello.proof, 0x11, CV_PROOF_LEN);
    memset(&c.u.hello.cert, 0x22, sizeof c.u.hello.cert);
    c.u.hello.grants.n = 2;
    c.u.hello.grants.chain[1].role = CV_ROLE_EDITOR;
    strcpy(c.u.hello.name, "Bodil Ødegård");
    c.u.hello.colour = 5;
    c.u.hello.wants = CV_ROLE_VIEWER;
    round_trip(test_state_, 0);
    CHECK_EQ(back.u.hello.capabilities, CV_CONTROL_DOCUMENTS);
    CHECK_MEM(back.u.hello.proof, c.u.hello.proof, CV_PROOF_LEN);
    CHECK_MEM(&back.u.hello.cert, &c.u.hello.cert, sizeof c.u.hello.cert);
    CHECK_EQ(back.u.hello.grants.n, 2);
    CHECK_EQ(back.u.hello.grants.chain[1].role, CV_ROLE_EDITOR);
    CHECK_STR(back.u.hello.name, "Bodil Ødegård");
    CHECK_EQ(back.u.hello.colour, 5);
    CHECK_EQ(back.u.hello.wants, CV_ROLE_VIEWER);
}

TEST(a_hello_fits_what_may_travel_before_admission)
{
    struct cv_writer w;

    make(CV_CONTROL_HELLO);
    c.u.hello.version = CV_CONTROL_VERSION;
    c.u.hello.grants.n = CV_GRANT_CHAIN_MAX;
    memset(c.u.hello.name, 'x', sizeof c.u.hello.name - 1);
    cv_writer_init_heap(&w, CV_CONTROL_MAX);
    CHECK_EQ(cv_control_put(&w, &c), CV_OK);
    CHECK(w.len * 2 < CV_CONTROL_PRE_MAX);
    cv_writer_fini(&w);
}

TEST(the_other_messages_round_trip)
{
    make(CV_CONTROL_PENDING);
    c.u.pending.expires_s = 60;
    round_trip(test_state_, 0);
    CHECK_EQ(back.u.pending.expires_s, 60);

    make(CV_CONTROL_ASK);
    round_trip(test_state_, 0);
    make(CV_CONTROL_READY);
    round_trip(test_state_, 0);

    make(CV_CONTROL_GRANT);
    c.u.grant.n = 1;
    c.u.grant.chain[0].role = CV_ROLE_HOST;
    round_trip(test_state_, 0);
    CHECK_EQ(back.u.grant.chain[0].role, CV_ROLE_HOST);

    make(CV_CONTROL_REFUSED);
    c.u.refused.code = CV_REFUSAL_NO_HOST;
    strcpy(c.u.refused.reason, "a host must");
    strcpy(c.u.refused.name, "Ann");
    round_trip(test_state_, 0);
    CHECK_EQ(back.u.refused.code, CV_REFUSAL_NO_HOST);
    CHECK_STR(back.u.refused.reason, "a host must");
    CHECK_STR(back.u.refused.name, "Ann");

    make(CV_CONTROL_BYE);
    strcpy(c.u.bye.reason, "left");
    round_trip(test_state_, 0);
    CHECK_STR(back.u.bye.reason, "left");

    make(CV_CONTROL_NAME);
    strcpy(c.u.name.name, "Cy");
    round_trip(test_state_, 0);
    CHECK_STR(back.u.name.name, "Cy");
}

TEST(members_round_trip)
{
    make(CV_CONTROL_MEMBER_LIST);
    c.u.members.n = 2;
    memset(c.u.members.m[1].node.b, 9, CV_KEY_LEN);
    c.u.members.m[0].role = CV_ROLE_HOST;
    c.u.members.m[0].admits = true;
    strcpy(c.u.members.m[0].name, "Ann");
    c.u.members.m[1].role = CV_ROLE_VIEWER;
    round_trip(test_state_, 0);
    CHECK_EQ(back.u.members.n, 2);
    CHECK(back.u.members.m[0].admits);
    CHECK_STR(back.u.members.m[0].name, "Ann");
    CHECK_EQ(back.u.members.m[1].node.b[31], 9);
    CHECK_EQ(back.u.members.m[1].role, CV_ROLE_VIEWER);
}

TEST(files_round_trip)
{
    make(CV_CONTROL_FILE_LIST);
    c.u.files.n = 1;
    c.u.files.f[0].id = 1;
    strcpy(c.u.files.f[0].meta.path, "src/main.c");
    strcpy(c.u.files.f[0].meta.ft, "c");
    strcpy(c.u.files.f[0].meta.ff, "dos");
    strcpy(c.u.files.f[0].meta.fenc, "utf-8");
    c.u.files.f[0].meta.bomb = true;
    round_trip(test_state_, 0);
    CHECK_EQ(back.u.files.f[0].id, 1);
    CHECK_STR(back.u.files.f[0].meta.path, "src/main.c");
    CHECK_STR(back.u.files.f[0].meta.ff, "dos");
    CHECK(back.u.files.f[0].meta.bomb);
}

TEST(what_is_of_a_later_version_is_left_alone)
{
    const uint8_t unknown[] = {0xc8, 0x01, 1, 2, 3};
    const uint8_t ready[] = {CV_CONTROL_READY, 1, 2, 3};
    const uint8_t hello[] = {CV_CONTROL_HELLO, 2, 0xff, 0xff};

    CHECK_EQ(cv_control_parse(&back, (struct cv_bytes){unknown, 5}), CV_OK);
    CHECK_EQ(back.type, CV_CONTROL_NONE);
    CHECK_EQ(cv_control_parse(&back, (struct cv_bytes){ready, 4}), CV_OK);
    CHECK_EQ(back.type, CV_CONTROL_READY);
    CHECK_EQ(cv_control_parse(&back, (struct cv_bytes){hello, 4}), CV_OK);
    CHECK_EQ(back.u.hello.version, 2);
}

TEST(counts_beyond_their_bounds_are_malformed)
{
    const uint8_t members[] = {CV_CONTROL_MEMBER_LIST, 33};
    const uint8_t files[] = {CV_CONTROL_FILE_LIST, 0xff, 0xff, 0x03};

    CHECK_EQ(cv_control_parse(&back, (struct cv_bytes){members, 2}),
             CV_ERR_FORMAT);
    CHECK_EQ(cv_control_parse(&back, (struct cv_bytes){files, 4}),
             CV_ERR_FORMAT);
}

TEST(text_of_others_is_cleaned)
{
    static const struct {
        const char *in, *out;
    } row[] = {
        {"Ann", "Ann"},
        {"a\x1b]0;x\x07"
         "b",
         "a]0;xb"},
        {"line\nbreak\r\t", "linebreak"},
        {"\xe2\x80\xae"
         "evil",
         "evil"}, /* right-to-left override */
        {"\xc2\x9b"
         "31m",
         "31m"},         /* CSI as one character */
        {"bad\xff", ""}, /* not UTF-8 */
        {"\xf0\x9f\x8e\x89 ok", "\xf0\x9f\x8e\x89 ok"},
    };
    char out[CV_NAME_MAX_TEXT];

    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        cv_text_clean(out, sizeof out, row[i].in, strlen(row[i].in));
        CHECK_STR(out, row[i].out);
    }
    cv_text_clean(out, 5, "abc\xc3\xa9", 5); /* no half of a character */
    CHECK_STR(out, "abc");
}

TEST(paths_that_leave_the_tree_or_deceive_are_refused)
{
    static const char *const bad[] = {"",         "/etc/passwd",
                                      "..",       "../x",
                                      "a/../b",   "a/..",
                                      "./a",      "a/.",
                                      "a//b",     "a/",
                                      "a\\b",     "a\nb",
                                      "a\x1b[2J", "\xe2\x80\xaetxt.exe",
                                      "bad\xff"};
    static const char *const good[] = {"a",   "a.txt", "src/a.c",
                                       "...", "a b",   "\xc3\xa9t\xc3\xa9/x",
                                       "`x`", "-"};
    struct cv_writer w;

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(!cv_path_acceptable(bad[i]));
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        CHECK(cv_path_acceptable(good[i]));

    make(CV_CONTROL_FILE_LIST);
    c.u.files.n = 1;
    c.u.files.f[0].id = 1;
    strcpy(c.u.files.f[0].meta.path, "../up");
    strcpy(c.u.files.f[0].meta.ff, "unix");
    cv_writer_init_heap(&w, CV_CONTROL_MAX);
    CHECK_EQ(cv_control_put(&w, &c), CV_OK);
    CHECK_EQ(cv_control_parse(&back, body_of(&w)), CV_ERR_FORMAT);
    cv_writer_reset(&w);
    strcpy(c.u.files.f[0].meta.path, "up");
    strcpy(c.u.files.f[0].meta.ft, "x|!rm");
    CHECK_EQ(cv_control_put(&w, &c), CV_OK);
    CHECK_EQ(cv_control_parse(&back, body_of(&w)), CV_ERR_FORMAT);
    cv_writer_fini(&w);
}

TEST(the_proof_depends_on_session_connection_and_sender)
{
    struct cv_key s1 = {{1}}, s2 = {{2}}, a = {{3}}, b = {{4}};
    uint8_t e1[32] = {5}, e2[32] = {6};
    uint8_t p[5][CV_PROOF_LEN];

    cv_session_proof(p[0], &s1, e1, &a);
    cv_session_proof(p[1], &s2, e1, &a);
    cv_session_proof(p[2], &s1, e2, &a);
    cv_session_proof(p[3], &s1, e1, &b);
    cv_session_proof(p[4], &s1, e1, &a);
    for (unsigned i = 1; i < 4; i++)
        CHECK(memcmp(p[0], p[i], CV_PROOF_LEN) != 0);
    CHECK_MEM(p[0], p[4], CV_PROOF_LEN);
}

RUN_TESTS(T(hello_round_trip), T(a_hello_fits_what_may_travel_before_admission),
          T(the_other_messages_round_trip), T(members_round_trip),
          T(files_round_trip), T(what_is_of_a_later_version_is_left_alone),
          T(counts_beyond_their_bounds_are_malformed),
          T(text_of_others_is_cleaned),
          T(paths_that_leave_the_tree_or_deceive_are_refused),
          T(the_proof_depends_on_session_connection_and_sender))
