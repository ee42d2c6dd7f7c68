#include "base/keytext.h"
#include "tests/test.h"

#include <ctype.h>

/* Of the key 00 01 … 1f (and the secret f0 … ff), computed with the reference
 * code of BIP 350. */
static const char session_text[] =
    "covim1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0sg3sngf";
static const char invite_text[] =
    "covim1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0lpu0j7060tahhlrul"
    "47lulhl07kw6ydd";
static const char identity_text[] =
    "covimid1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0srquxu3";
static const char gate_text[] =
    "covimgate1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0sngppc4";

static char why[256];

static struct cv_keytext sample(enum cv_keytext_kind kind, bool has_invite)
{
    struct cv_keytext k = {.kind = kind, .has_invite = has_invite};

    for (int i = 0; i < CV_KEY_LEN; i++)
        k.key.b[i] = (uint8_t)i;
    for (int i = 0; has_invite && i < CV_INVITE_LEN; i++)
        k.invite[i] = (uint8_t)(0xf0 + i);
    return k;
}

static int parse(struct cv_keytext *out, enum cv_keytext_kind want,
                 const char *text)
{
    memset(why, 'x', sizeof(why));
    return cv_keytext_parse(out, want, text, why, sizeof(why));
}

/* Parse as a session key, which must be refused; the sentence. */
static const char *refused(const char *text)
{
    struct cv_keytext k;

    REQUIRE(parse(&k, CV_KEYTEXT_SESSION, text) == CV_ERR_FORMAT);
    return why;
}

TEST(keys_look_as_computed_elsewhere_and_come_back)
{
    static const struct {
        enum cv_keytext_kind kind;
        bool has_invite;
        const char *text;
    } cases[] = {
        {CV_KEYTEXT_SESSION, false, session_text},
        {CV_KEYTEXT_SESSION, true, invite_text},
        {CV_KEYTEXT_IDENTITY, false, identity_text},
        {CV_KEYTEXT_GATE, false, gate_text},
    };

    CHECK_EQ(strlen(session_text), CV_KEYTEXT_LEN);
    CHECK_EQ(strlen(invite_text), CV_KEYTEXT_INVITE);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_keytext k = sample(cases[i].kind, cases[i].has_invite);
        struct cv_keytext again;
        char text[CV_KEYTEXT_MAX];

        CHECK_STR(cv_keytext_format(&k, text), cases[i].text);
        CHECK_EQ(parse(&again, cases[i].kind, text), CV_OK);
        CHECK_STR(why, "");
        CHECK_EQ(again.kind, k.kind);
        CHECK_EQ(again.has_invite, k.has_invite);
        CHECK(cv_key_equal(&again.key, &k.key));
        CHECK_MEM(again.invite, k.invite, CV_INVITE_LEN);
    }
}

TEST(white_space_and_upper_case_are_taken)
{
    struct cv_keytext want = sample(CV_KEYTEXT_SESSION, true), k;
    char text[1024] = " \t\r\n";
    size_t n = strlen(text);

    for (size_t i = 0; invite_text[i]; i++) {
        text[n++] = (char)toupper((unsigned char)invite_text[i]);
        if (i % 7 == 0)
            text[n++] = "\n \t\v\f\r"[i / 7 % 6];
    }
    text[n] = '\0';
    CHECK_EQ(parse(&k, CV_KEYTEXT_SESSION, text), CV_OK);
    CHECK(cv_key_equal(&k.key, &want.key));
    CHECK_MEM(k.invite, want.invite, CV_INVITE_LEN);
}

TEST(hex_is_a_session_key)
{
    struct cv_keytext want = sample(CV_KEYTEXT_SESSION, false), k;
    char text[65];

    cv_hex(text, want.key.b, CV_KEY_LEN);
    CHECK_EQ(parse(&k, CV_KEYTEXT_SESSION, text), CV_OK);
    CHECK_EQ(k.kind, CV_KEYTEXT_SESSION);
    CHECK(!k.has_invite);
    CHECK(cv_key_equal(&k.key, &want.key));
    CHECK_EQ(parse(&k, CV_KEYTEXT_IDENTITY, text), CV_ERR_FORMAT);
    CHECK_STR(why, "64 hex digits are a session key, not an identity "
                   "(covimid1…)");
    text[10] = 'g';
    CHECK_STR(refused(text),
              "this is not a session key: it does not begin with covim1");
}

TEST(every_single_wrong_character_is_located)
{
    static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    static const char *const texts[] = {session_text, invite_text};

    for (int t = 0; t < 2; t++)
        for (size_t i = 6; texts[t][i]; i++)
            for (const char *c = letters; *c; c++) {
                char text[CV_KEYTEXT_MAX], want[100];

                if (*c == texts[t][i])
                    continue;
                strcpy(text, texts[t]);
                text[i] = *c;
                snprintf(want, sizeof(want),
                         "mistyped: character %zu ('%c') is wrong", i + 1, *c);
                CHECK_STR(refused(text), want);
            }
}

TEST(two_wrong_characters_are_located)
{
    static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 1);

    /* Every pair of places would take a minute: a sample of 300, in which
     * every place occurs. */
    for (size_t k = 0; k < 300; k++) {
        const char *from = k % 2 ? invite_text : session_text;
        size_t n = strlen(from) - 6, i = 6 + k % n, j;
        char text[CV_KEYTEXT_MAX], want[100];

        do
            j = 6 + cv_random_u64(&rng) % n;
        while (j == i);
        strcpy(text, from);
        while (text[i] == from[i])
            text[i] = letters[cv_random_u64(&rng) % 32];
        while (text[j] == from[j])
            text[j] = letters[cv_random_u64(&rng) % 32];
        if (i > j) {
            size_t first = j;

            j = i;
            i = first;
        }
        snprintf(want, sizeof(want),
                 "mistyped: characters %zu ('%c') and %zu ('%c') are wrong",
                 i + 1, text[i], j + 1, text[j]);
        CHECK_STR(refused(text), want);
    }
}

TEST(more_wrong_characters_are_refused_too)
{
    static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 2);
    int pointed = 0;

    for (int k = 0; k < 200; k++) {
        char text[CV_KEYTEXT_MAX];
        int changed = 0;

        strcpy(text, session_text);
        while (changed < 3 + k % 2) {
            size_t i = 6 + cv_random_u64(&rng) % 59;

            if (text[i] != session_text[i])
                continue;
            while (text[i] == session_text[i])
                text[i] = letters[cv_random_u64(&rng) % 32];
            changed++;
        }
        if (strcmp(refused(text),
                   "mistyped in more than 2 places; copy it again") != 0)
            pointed++; /* at two others, by chance */
    }
    CHECK(pointed < 10);
}

TEST(letters_that_no_key_has_are_located)
{
    static const char bad[] = "bio1!-";
    char text[CV_KEYTEXT_MAX], want[100];

    for (size_t i = 6; i < CV_KEYTEXT_LEN; i++)
        for (const char *c = bad; *c; c++) {
            strcpy(text, session_text);
            text[i] = *c;
            snprintf(want, sizeof(want),
                     "mistyped: character %zu ('%c') is wrong", i + 1, *c);
            CHECK_STR(refused(text), want);
        }

    /* With another wrong one, before and behind, also where the right letter
     * is the one of the value zero. */
    strcpy(text, session_text);
    text[20] = 'b';
    text[40] = text[40] == 'q' ? 'p' : 'q';
    snprintf(want, sizeof(want),
             "mistyped: characters 21 ('b') and 41 ('%c') are wrong", text[40]);
    CHECK_STR(refused(text), want);
    strcpy(text, session_text);
    text[7] = 'o';
    text[6] = 'p';
    CHECK_STR(refused(text),
              "mistyped: characters 7 ('p') and 8 ('o') are wrong");
    text[30] = 'i';
    CHECK_STR(refused(text),
              "mistyped: characters 8 ('o') and 31 ('i') are wrong, and more");
    text[40] = '1';
    CHECK_STR(refused(text),
              "mistyped: characters 8 ('o') and 31 ('i') are wrong, and more");
    strcpy(text, session_text);
    text[7] = 'o';
    text[30] = text[30] == 'q' ? 'p' : 'q';
    text[50] = text[50] == 'q' ? 'p' : 'q';
    CHECK_STR(refused(text), "mistyped: character 8 ('o') is wrong, and more");
}

TEST(characters_beyond_ascii_count_as_one)
{
    /* The same key with its characters 12 and 40 replaced by € and ä. */
    char text[128];

    snprintf(text, sizeof(text), "%.11s€%.27s\xc3\xa4%s", session_text,
             session_text + 12, session_text + 40);
    CHECK_STR(refused(text),
              "mistyped: characters 12 ('?') and 40 ('?') are wrong");
    /* A byte that continues nothing is one, too. */
    snprintf(text, sizeof(text), "%.11s\x80%s", session_text,
             session_text + 12);
    CHECK_STR(refused(text), "mistyped: character 12 ('?') is wrong");
    snprintf(text, sizeof(text), "%.11s\x80%s", session_text,
             session_text + 11);
    CHECK_STR(refused(text),
              "mistyped or incomplete (length 66, expected 65 or 90)");
}

TEST(a_mistyped_beginning_is_located)
{
    char text[CV_KEYTEXT_MAX];

    strcpy(text, session_text);
    text[1] = '0';
    CHECK_STR(refused(text), "mistyped: character 2 ('0') is wrong");
    text[5] = 'l';
    CHECK_STR(refused(text),
              "mistyped: characters 2 ('0') and 6 ('l') are wrong");
    text[0] = 'k';
    CHECK_STR(refused(text),
              "this is not a session key: it does not begin with covim1");
    strcpy(text, session_text);
    text[5] = 'l';
    text[9] = text[9] == 'q' ? 'p' : 'q';
    snprintf(why, sizeof(why),
             "mistyped: characters 6 ('l') and 10 ('%c') are wrong", text[9]);
    {
        char want[sizeof(why)];

        strcpy(want, why);
        CHECK_STR(refused(text), want);
    }
}

TEST(the_length_is_named)
{
    char text[200];

    snprintf(text, sizeof(text), "%.64s", session_text);
    CHECK_STR(refused(text),
              "mistyped or incomplete (length 64, expected 65 or 90)");
    CHECK_STR(refused("covim1"),
              "mistyped or incomplete (length 6, expected 65 or 90)");
    snprintf(text, sizeof(text), "%sqqqqqqqqqq", invite_text);
    CHECK_STR(refused(text),
              "mistyped or incomplete (length 100, expected 65 or 90)");
    for (size_t len = 6; len < CV_KEYTEXT_INVITE; len++) {
        char want[100];

        if (len == CV_KEYTEXT_LEN)
            continue;
        snprintf(text, sizeof(text), "%.*s", (int)len, invite_text);
        snprintf(want, sizeof(want),
                 "mistyped or incomplete (length %zu, expected 65 or 90)", len);
        CHECK_STR(refused(text), want);
    }
    CHECK_STR(refused(""), "no key given");
    CHECK_STR(refused(" \n"), "no key given");
    CHECK_STR(refused("hello"),
              "this is not a session key: it does not begin with covim1");
}

TEST(an_endless_paste_is_only_long)
{
    size_t len = 1 << 20;
    char *text = malloc(len + 1), want[100];

    memset(text, 'q', len);
    memcpy(text, "covim1", 6);
    text[len] = '\0';
    snprintf(want, sizeof(want),
             "mistyped or incomplete (length %zu, expected 65 or 90)", len);
    CHECK_STR(refused(text), want);
    free(text);
}

TEST(the_wrong_kind_is_named)
{
    struct cv_keytext k;

    CHECK_STR(refused(identity_text),
              "this is an identity (covimid1…), not a session key (covim1…)");
    CHECK_STR(refused(gate_text), "this is the key of a gate (covimgate1…), "
                                  "not a session key (covim1…)");
    CHECK_EQ(parse(&k, CV_KEYTEXT_IDENTITY, session_text), CV_ERR_FORMAT);
    CHECK_STR(why,
              "this is a session key (covim1…), not an identity (covimid1…)");
    CHECK_EQ(parse(&k, CV_KEYTEXT_GATE, invite_text), CV_ERR_FORMAT);
    CHECK_EQ(parse(&k, CV_KEYTEXT_GATE, "covimgate1qqq"), CV_ERR_FORMAT);
    CHECK_STR(why, "mistyped or incomplete (length 13, expected 69)");
}

TEST(mixed_case_is_refused)
{
    char text[CV_KEYTEXT_MAX];

    strcpy(text, session_text);
    text[9] = (char)toupper((unsigned char)text[9]);
    snprintf(why, sizeof(why), "%c", text[9]);
    CHECK(strstr(refused(text), "character 10 (") != NULL);
    CHECK(strstr(why, "case are mixed") != NULL);
    for (int i = 0; text[i]; i++)
        if (i % 2)
            text[i] = (char)toupper((unsigned char)text[i]);
    CHECK_STR(refused(text), "upper and lower case are mixed; copy it again");
}

TEST(other_versions_and_padding_are_refused)
{
    /* Version 1; the last of the four padding bits set.  Right checksums. */
    CHECK_STR(refused("covim1pqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qa"
                      "rc0sh6qk4h"),
              "this key is of a newer version of covim");
    CHECK_STR(refused("covim1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qa"
                      "rc0348yx4m"),
              "malformed key: its last bits are not zero");
}

TEST(the_sentence_fits_any_buffer)
{
    struct cv_keytext k;
    char text[CV_KEYTEXT_MAX], small[10];

    strcpy(text, session_text);
    text[9] = 'b';
    CHECK_EQ(cv_keytext_parse(&k, CV_KEYTEXT_SESSION, text, NULL, 0),
             CV_ERR_FORMAT);
    CHECK_EQ(cv_keytext_parse(&k, CV_KEYTEXT_SESSION, text, small, 10),
             CV_ERR_FORMAT);
    CHECK_STR(small, "mistyped:");
    CHECK_EQ(cv_keytext_parse(&k, CV_KEYTEXT_SESSION, session_text, small, 10),
             CV_OK);
    CHECK_STR(small, "");
}

TEST(fingerprints_are_base32_of_the_hash)
{
    struct cv_keytext k = sample(CV_KEYTEXT_SESSION, false);
    char out[CV_FINGERPRINT_TEXT];

    CHECK_STR(cv_fingerprint(&k.key, out), "MMG42-KLGYQ-ZWNEI-SKREL");
}

RUN_TESTS(T(keys_look_as_computed_elsewhere_and_come_back),
          T(white_space_and_upper_case_are_taken), T(hex_is_a_session_key),
          T(every_single_wrong_character_is_located),
          T(two_wrong_characters_are_located),
          T(more_wrong_characters_are_refused_too),
          T(letters_that_no_key_has_are_located),
          T(characters_beyond_ascii_count_as_one),
          T(a_mistyped_beginning_is_located), T(the_length_is_named),
          T(an_endless_paste_is_only_long), T(the_wrong_kind_is_named),
          T(mixed_case_is_refused), T(other_versions_and_padding_are_refused),
          T(the_sentence_fits_any_buffer),
          T(fingerprints_are_base32_of_the_hash))
