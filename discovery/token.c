/*   host   u8 1 | S[32] | u64 epoch | value[512, 600 or 1200] | check[5]
 *   guest  u8 1 | digest[8] | u8 slot | value[600] | check[5]
 *
 *   check = SHA-256( "covim host token 1" or "covim guest token 1"
 *                    || all before )[0..5] */
#include "discovery/token.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "discovery/knock.h"
#include "discovery/pointer.h"

#define VERSION   1
#define CHECK     5u
#define HOST_HEAD (1u + CV_KEY_LEN + 8u)
#define BYTES_MAX (HOST_HEAD + CV_POINTER_MAX + CHECK)

static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static const struct {
    const char *prefix, *other, *label;
    size_t head;
    size_t sizes[3]; /* of the value; 0: none */
} kinds[] = {
    [CV_TOKEN_HOST] = {"covimhost1",
                       "this is a host's token: the guest gives it to :CoVim "
                       "connect, and the host needs the one that comes of it",
                       "covim host token 1",
                       HOST_HEAD,
                       {512, 600, 1200}},
    [CV_TOKEN_GUEST] = {"covimguest1",
                        "this is a guest's token: the host gives it to :CoVim "
                        "add, and the guest needs the host's own",
                        "covim guest token 1",
                        1 + CV_DIGEST_LEN + 1,
                        {CV_KNOCK_BYTES, 0, 0}},
};

static_assert(CV_TOKEN_LIFETIME_S == CV_POINTER_LIFETIME_S &&
                  CV_TOKEN_VALUE == CV_POINTER_MAX &&
                  CV_TOKEN_DIGEST == CV_DIGEST_LEN,
              "the token carries what the record is");
static_assert(sizeof("covimguest1") + (BYTES_MAX * 8 + 4) / 5 < CV_TOKEN_TEXT,
              "the longest token fits");

static size_t text_len(enum cv_token_kind kind, size_t value_len)
{
    return strlen(kinds[kind].prefix) +
           ((kinds[kind].head + value_len + CHECK) * 8 + 4) / 5;
}

static void checksum(uint8_t out[CHECK], enum cv_token_kind kind,
                     const uint8_t *data, size_t len)
{
    const struct cv_bytes parts[] = {
        CV_BYTES(kinds[kind].label, strlen(kinds[kind].label)),
        CV_BYTES(data, len)};
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, parts, 2);
    memcpy(out, hash, CHECK);
}

char *cv_token_format(const struct cv_token *t, char out[CV_TOKEN_TEXT])
{
    uint8_t bytes[BYTES_MAX];
    struct cv_writer w;
    uint32_t acc = 0;
    unsigned bits = 0;
    char *at = stpcpy(out, kinds[t->kind].prefix);

    assert(t->len <= CV_POINTER_MAX);
    cv_writer_init(&w, bytes, sizeof(bytes));
    cv_put_u8(&w, VERSION);
    if (t->kind == CV_TOKEN_HOST) {
        cv_put_raw(&w, t->session.b, CV_KEY_LEN);
        cv_put_u64(&w, t->epoch);
    } else {
        cv_put_raw(&w, t->digest, CV_DIGEST_LEN);
        cv_put_u8(&w, t->slot);
    }
    cv_put_raw(&w, t->value, t->len);
    checksum(bytes + w.len, t->kind, bytes, w.len);
    for (size_t i = 0; i < w.len + CHECK; i++) {
        acc = (acc << 8 | bytes[i]) & 0xfff;
        for (bits += 8; bits >= 5; bits -= 5)
            *at++ = letters[acc >> (bits - 5) & 31];
    }
    if (bits > 0)
        *at++ = letters[acc << (5 - bits) & 31];
    *at = '\0';
    cv_wipe(bytes, sizeof(bytes));
    return out;
}

/* ---- reading ---- */

static int refuse(char *why, size_t why_len, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(char *why, size_t why_len, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, why_len, format, args);
    va_end(args);
    return CV_ERR_FORMAT;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Lower case, without white space.  False: too long. */
static bool tidy(char out[CV_TOKEN_TEXT], size_t *len, const char *text)
{
    *len = 0;
    for (; *text; text++) {
        if (is_space(*text))
            continue;
        if (*len + 1 >= CV_TOKEN_TEXT)
            return false;
        out[(*len)++] =
            (char)(*text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text);
    }
    out[*len] = '\0';
    return true;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool cv_token_is(enum cv_token_kind kind, const char *text)
{
    const char *prefix = kinds[kind].prefix;

    for (; *text && *prefix; text++) {
        if (is_space(*text))
            continue;
        if ((*text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text) !=
            *prefix)
            return false;
        prefix++;
    }
    return *prefix == '\0';
}

/* The size of the value in a text of `len` characters; 0: there is none. */
static size_t value_len(enum cv_token_kind kind, size_t len)
{
    for (unsigned i = 0; i < 3; i++)
        if (kinds[kind].sizes[i] > 0 &&
            text_len(kind, kinds[kind].sizes[i]) == len)
            return kinds[kind].sizes[i];
    return 0;
}

/* False: a character that no token has, or bits left over. */
static bool decode(uint8_t *out, size_t len, const char *text)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t n = 0;

    for (; *text; text++) {
        const char *at = strchr(letters, *text);

        if (!at)
            return false;
        acc = (acc << 5 | (uint32_t)(at - letters)) & 0xfff;
        bits += 5;
        if (bits >= 8 && n < len) {
            bits -= 8;
            out[n++] = (uint8_t)(acc >> bits);
        }
    }
    return n == len && bits < 5 && (acc & ((1u << bits) - 1)) == 0;
}

static int take_apart(struct cv_token *out, const uint8_t *bytes, size_t len)
{
    struct cv_reader r;

    cv_reader_init(&r, bytes, len);
    if (cv_get_u8(&r) != VERSION)
        return CV_ERR_VERSION;
    if (out->kind == CV_TOKEN_HOST) {
        cv_get_raw(&r, out->session.b, CV_KEY_LEN);
        out->epoch = cv_get_u64(&r);
    } else {
        cv_get_raw(&r, out->digest, CV_DIGEST_LEN);
        out->slot = cv_get_u8(&r);
        if (out->slot >= CV_INBOX_SLOTS)
            return CV_ERR_FORMAT;
    }
    cv_get_raw(&r, out->value, out->len);
    return cv_reader_end(&r);
}

int cv_token_parse(struct cv_token *out, enum cv_token_kind want,
                   const char *text, char *why, size_t why_len)
{
    enum cv_token_kind other =
        want == CV_TOKEN_HOST ? CV_TOKEN_GUEST : CV_TOKEN_HOST;
    char tidied[CV_TOKEN_TEXT];
    uint8_t bytes[BYTES_MAX], check[CHECK];
    size_t len, size;
    int err;

    if (why_len > 0)
        why[0] = '\0';
    memset(out, 0, sizeof(*out));
    out->kind = want;
    if (!tidy(tidied, &len, text))
        return refuse(why, why_len, "this is too long to be a token");
    if (begins(tidied, kinds[other].prefix))
        return refuse(why, why_len, "%s", kinds[other].other);
    if (!begins(tidied, kinds[want].prefix) && begins(tidied, "covim1"))
        return refuse(why, why_len,
                      "this is a session key, not a token: :CoVim join takes "
                      "it");
    if (!begins(tidied, kinds[want].prefix))
        return refuse(why, why_len, "this is not a token: one begins with %s",
                      kinds[want].prefix);
    out->len = value_len(want, len);
    if (out->len == 0)
        return refuse(why, why_len,
                      "the token is incomplete, or has something added to it "
                      "(%zu characters): copy it again, whole",
                      len);
    size = kinds[want].head + out->len + CHECK;
    if (!decode(bytes, size, tidied + strlen(kinds[want].prefix)))
        return refuse(why, why_len,
                      "the token has a character that no token has: copy it "
                      "again");
    checksum(check, want, bytes, size - CHECK);
    if (memcmp(check, bytes + size - CHECK, CHECK) != 0)
        return refuse(why, why_len,
                      "the token is mistyped: copy it again, do not type it");
    err = take_apart(out, bytes, size - CHECK);
    cv_wipe(bytes, sizeof(bytes));
    if (err == CV_ERR_VERSION)
        return refuse(why, why_len,
                      "the token is of another version of covim: use the same "
                      "on both sides");
    if (err != CV_OK)
        return refuse(why, why_len, "the token is malformed: ask for another");
    return CV_OK;
}
