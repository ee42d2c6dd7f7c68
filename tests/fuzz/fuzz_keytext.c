/* Pasted keys.  The first byte chooses: text as it is, or a right key of the
 * bytes that follow, with one or two characters changed, which must be
 * located. */
#include "base/keytext.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                          \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static void check_text(enum cv_keytext_kind want, const uint8_t *data,
                       size_t size)
{
    char *text = malloc(size + 1), why[200];
    char squeezed[CV_KEYTEXT_MAX + 1], again[CV_KEYTEXT_MAX];
    struct cv_keytext k;
    size_t n = 0;

    REQUIRE(text != NULL);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    if (cv_keytext_parse(&k, want, text, why, sizeof(why)) == CV_OK) {
        /* It is what was pasted, but for white space and case, or hex. */
        REQUIRE(k.kind == want && why[0] == '\0');
        for (const char *c = text; *c && n < CV_KEYTEXT_MAX; c++)
            if (!isspace((unsigned char)*c))
                squeezed[n++] = (char)tolower((unsigned char)*c);
        squeezed[n] = '\0';
        if (n != 64)
            REQUIRE(strcmp(cv_keytext_format(&k, again), squeezed) == 0);
    } else {
        REQUIRE(why[0] != '\0' && memchr(why, '\0', sizeof(why)) != NULL);
    }
    free(text);
}

/* u8 place, u8 change, twice; then the key. */
static void check_mistyped(enum cv_keytext_kind kind, bool has_invite,
                           const uint8_t *data, size_t size)
{
    struct cv_keytext k = {.kind = kind, .has_invite = has_invite}, out;
    char text[CV_KEYTEXT_MAX], right[CV_KEYTEXT_MAX], why[200], want[200];
    size_t at[2], n = 0, len, prefix;

    if (size < 4 + CV_KEY_LEN + CV_INVITE_LEN)
        return;
    memcpy(k.key.b, data + 4, CV_KEY_LEN);
    if (has_invite)
        memcpy(k.invite, data + 4 + CV_KEY_LEN, CV_INVITE_LEN);
    cv_keytext_format(&k, right);
    strcpy(text, right);
    len = strlen(text);
    prefix = (size_t)(strchr(text, '1') - text) + 1;
    for (int i = 0; i < 2; i++) {
        size_t place = prefix + data[2 * i] % (len - prefix);
        const char *letter = strchr(letters, right[place]);

        REQUIRE(letter != NULL);
        text[place] = letters[((letter - letters) + data[2 * i + 1]) % 32];
    }
    for (size_t i = 0; i < len; i++)
        if (text[i] != right[i])
            at[n++] = i;
    if (n == 0) {
        REQUIRE(cv_keytext_parse(&out, kind, text, why, sizeof(why)) == CV_OK);
        REQUIRE(cv_key_equal(&out.key, &k.key));
        return;
    }
    REQUIRE(cv_keytext_parse(&out, kind, text, why, sizeof(why)) ==
            CV_ERR_FORMAT);
    if (n == 1)
        snprintf(want, sizeof(want), "mistyped: character %zu ('%c') is wrong",
                 at[0] + 1, text[at[0]]);
    else
        snprintf(want, sizeof(want),
                 "mistyped: characters %zu ('%c') and %zu ('%c') are wrong",
                 at[0] + 1, text[at[0]], at[1] + 1, text[at[1]]);
    REQUIRE(strcmp(why, want) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum cv_keytext_kind kind;

    if (size == 0)
        return 0;
    kind = (enum cv_keytext_kind)(data[0] % 3);
    if (data[0] & 0x80)
        check_mistyped(kind, kind == CV_KEYTEXT_SESSION && (data[0] & 0x40),
                       data + 1, size - 1);
    else
        check_text(kind, data + 1, size - 1);
    return 0;
}
