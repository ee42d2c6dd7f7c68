/* The text of tokens: round trip, every way to copy it wrong, and a sentence
 * for each. */
#include "discovery/token.h"
#include "tests/test.h"

#include <ctype.h>

static char why[256];
static struct cv_token got;

static struct cv_token sample(enum cv_token_kind kind, size_t len)
{
    struct cv_token t = {.kind = kind, .len = len};

    for (size_t i = 0; i < len; i++)
        t.value[i] = (uint8_t)(i * 7 + 1);
    if (kind == CV_TOKEN_HOST) {
        memset(t.session.b, 0xa1, sizeof(t.session.b));
        t.epoch = 486108;
    } else {
        memset(t.digest, 0xb2, sizeof(t.digest));
        t.slot = 3;
    }
    return t;
}

static int parse(enum cv_token_kind want, const char *text)
{
    memset(why, 'x', sizeof(why));
    return cv_token_parse(&got, want, text, why, sizeof(why));
}

static bool same(const struct cv_token *a, const struct cv_token *b)
{
    return a->kind == b->kind && a->len == b->len &&
           cv_key_equal(&a->session, &b->session) && a->epoch == b->epoch &&
           memcmp(a->digest, b->digest, sizeof(a->digest)) == 0 &&
           a->slot == b->slot && memcmp(a->value, b->value, a->len) == 0;
}

static const struct {
    enum cv_token_kind kind;
    size_t len, text_len;
} forms[] = {
    {CV_TOKEN_HOST, 512, 903},
    {CV_TOKEN_HOST, 600, 1044},
    {CV_TOKEN_HOST, 1200, 2004},
    {CV_TOKEN_GUEST, 600, 995},
};

TEST(what_is_written_is_read)
{
    for (size_t i = 0; i < 4; i++) {
        struct cv_token t = sample(forms[i].kind, forms[i].len);
        char text[CV_TOKEN_TEXT];

        cv_token_format(&t, text);
        CHECK_EQ(strlen(text), forms[i].text_len);
        CHECK_EQ(parse(t.kind, text), CV_OK);
        CHECK_STR(why, "");
        CHECK(same(&t, &got));
        CHECK(cv_token_is(t.kind, text));
        CHECK(!cv_token_is(!t.kind, text));
    }
}

TEST(white_space_and_case_do_no_harm)
{
    struct cv_token t = sample(CV_TOKEN_HOST, 512);
    char text[CV_TOKEN_TEXT], mailed[2 * CV_TOKEN_TEXT], *at = mailed;

    cv_token_format(&t, text);
    for (size_t i = 0; text[i]; i++) {
        if (i % 60 == 0)
            at = stpcpy(at, "\r\n \t");
        *at++ = (char)toupper((unsigned char)text[i]);
    }
    strcpy(at, "\n");
    CHECK(cv_token_is(CV_TOKEN_HOST, mailed));
    CHECK_EQ(parse(CV_TOKEN_HOST, mailed), CV_OK);
    CHECK(same(&t, &got));
}

TEST(every_truncation_and_addition_is_incomplete)
{
    struct cv_token t = sample(CV_TOKEN_GUEST, 600);
    char text[CV_TOKEN_TEXT], cut[CV_TOKEN_TEXT];

    cv_token_format(&t, text);
    for (size_t n = 0; n < strlen(text); n++) {
        memcpy(cut, text, n);
        cut[n] = '\0';
        CHECK_EQ(parse(CV_TOKEN_GUEST, cut), CV_ERR_FORMAT);
        CHECK(strlen(why) > 20);
        if (n > 12)
            CHECK(strstr(why, "incomplete") != NULL);
    }
    strcpy(stpcpy(cut, text), "q");
    CHECK_EQ(parse(CV_TOKEN_GUEST, cut), CV_ERR_FORMAT);
    CHECK(strstr(why, "incomplete") != NULL);
}

TEST(every_wrong_character_is_noticed)
{
    struct cv_token t = sample(CV_TOKEN_HOST, 512);
    char text[CV_TOKEN_TEXT];

    cv_token_format(&t, text);
    for (size_t i = 10; text[i]; i++) {
        char was = text[i];

        text[i] = was == 'q' ? 'p' : 'q';
        CHECK_EQ(parse(CV_TOKEN_HOST, text), CV_ERR_FORMAT);
        CHECK(strstr(why, "copy it again") != NULL);
        text[i] = 'b'; /* no letter of the code */
        CHECK_EQ(parse(CV_TOKEN_HOST, text), CV_ERR_FORMAT);
        CHECK(strstr(why, "no token has") != NULL);
        text[i] = was;
    }
}

TEST(the_wrong_kind_is_named)
{
    struct cv_token t = sample(CV_TOKEN_HOST, 512);
    char text[CV_TOKEN_TEXT];

    CHECK_EQ(parse(CV_TOKEN_GUEST, cv_token_format(&t, text)), CV_ERR_FORMAT);
    CHECK(strstr(why, "a host's token") != NULL);
    t = sample(CV_TOKEN_GUEST, 600);
    CHECK_EQ(parse(CV_TOKEN_HOST, cv_token_format(&t, text)), CV_ERR_FORMAT);
    CHECK(strstr(why, "a guest's token") != NULL);
    CHECK_EQ(parse(CV_TOKEN_HOST, "covim1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v"
                                  "9ccrydpk8qarc0sg3sngf"),
             CV_ERR_FORMAT);
    CHECK(strstr(why, "session key") != NULL);
    CHECK_EQ(parse(CV_TOKEN_HOST, "192.0.2.1 5000"), CV_ERR_FORMAT);
    CHECK(strstr(why, "begins with covimhost1") != NULL);
    CHECK_EQ(parse(CV_TOKEN_HOST, ""), CV_ERR_FORMAT);
}

TEST(a_longer_text_than_any_is_refused)
{
    char text[3 * CV_TOKEN_TEXT];

    memset(text, 'q', sizeof(text) - 1);
    memcpy(text, "covimhost1", 10);
    text[sizeof(text) - 1] = '\0';
    CHECK_EQ(parse(CV_TOKEN_HOST, text), CV_ERR_FORMAT);
    CHECK(strstr(why, "too long") != NULL);
}

TEST(a_slot_that_no_inbox_has_is_refused)
{
    struct cv_token t = sample(CV_TOKEN_GUEST, 600);
    char text[CV_TOKEN_TEXT];

    t.slot = 4;
    CHECK_EQ(parse(CV_TOKEN_GUEST, cv_token_format(&t, text)), CV_ERR_FORMAT);
}

RUN_TESTS(T(what_is_written_is_read), T(white_space_and_case_do_no_harm),
          T(every_truncation_and_addition_is_incomplete),
          T(every_wrong_character_is_noticed), T(the_wrong_kind_is_named),
          T(a_longer_text_than_any_is_refused),
          T(a_slot_that_no_inbox_has_is_refused))
