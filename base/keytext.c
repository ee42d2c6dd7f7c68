#include "base/keytext.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHECKSUM_LEN  6
#define BECH32M       UINT32_C(0x2bc830a3) /* BIP 350 */
#define KEY_GROUPS    52                   /* 32 bytes in groups of 5 bits */
#define INVITE_GROUPS 77                   /* 48 bytes */
#define WRONG_MAX     2 /* what the code can point at: its distance is 5 */

static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static const struct {
    const char *prefix; /* the human-readable part and the separator */
    const char *name;   /* "a session key" */
    bool may_invite;
} kinds[] = {
    [CV_KEYTEXT_SESSION] = {"covim1", "a session key", true},
    [CV_KEYTEXT_IDENTITY] = {"covimid1", "an identity", false},
    [CV_KEYTEXT_GATE] = {"covimgate1", "the key of a gate", false},
};
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

/* ---- the code ---- */

static uint32_t polymod_step(uint32_t c, uint32_t v)
{
    static const uint32_t generator[5] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa,
                                          0x3d4233dd, 0x2a1462b3};
    uint32_t top = c >> 25;

    c = (c & 0x1ffffff) << 5 ^ v;
    for (int i = 0; i < 5; i++)
        if (top >> i & 1)
            c ^= generator[i];
    return c;
}

/* `prefix` includes the separator, which the checksum does not see. */
static uint32_t polymod(const char *prefix, const uint8_t *groups, size_t n)
{
    size_t hrp = strlen(prefix) - 1;
    uint32_t c = 1;

    for (size_t i = 0; i < hrp; i++)
        c = polymod_step(c, (uint32_t)prefix[i] >> 5);
    c = polymod_step(c, 0);
    for (size_t i = 0; i < hrp; i++)
        c = polymod_step(c, (uint32_t)prefix[i] & 31);
    for (size_t i = 0; i < n; i++)
        c = polymod_step(c, groups[i]);
    return c;
}

/* Bytes to groups of five bits, zeros at the end. */
static size_t to_groups(uint8_t *out, const uint8_t *data, size_t len)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        acc = (acc << 8 | data[i]) & 0xfff;
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            out[n++] = acc >> bits & 31;
        }
    }
    if (bits > 0)
        out[n++] = (uint8_t)(acc << (5 - bits) & 31);
    return n;
}

/* False if the bits that are left over are not zeros. */
static bool from_groups(uint8_t *out, const uint8_t *groups, size_t n)
{
    uint32_t acc = 0;
    unsigned bits = 0;

    for (size_t i = 0; i < n; i++) {
        acc = (acc << 5 | groups[i]) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (uint8_t)(acc >> bits);
        }
    }
    return (acc & ((1u << bits) - 1)) == 0;
}

char *cv_keytext_format(const struct cv_keytext *k, char out[CV_KEYTEXT_MAX])
{
    uint8_t bytes[CV_KEY_LEN + CV_INVITE_LEN];
    uint8_t groups[1 + INVITE_GROUPS + CHECKSUM_LEN] = {0}; /* version 0 */
    const char *prefix = kinds[k->kind].prefix;
    size_t len = CV_KEY_LEN, n;
    uint32_t sum;
    char *at;

    assert(!k->has_invite || kinds[k->kind].may_invite);
    memcpy(bytes, k->key.b, CV_KEY_LEN);
    if (k->has_invite) {
        memcpy(bytes + CV_KEY_LEN, k->invite, CV_INVITE_LEN);
        len += CV_INVITE_LEN;
    }
    n = 1 + to_groups(groups + 1, bytes, len) + CHECKSUM_LEN;
    sum = polymod(prefix, groups, n) ^ BECH32M;
    for (unsigned i = 0; i < CHECKSUM_LEN; i++)
        groups[n - CHECKSUM_LEN + i] =
            (uint8_t)(sum >> 5 * (CHECKSUM_LEN - 1 - i) & 31);

    at = stpcpy(out, prefix);
    for (size_t i = 0; i < n; i++)
        *at++ = letters[groups[i]];
    *at = '\0';
    cv_wipe(bytes, sizeof(bytes));
    cv_wipe(groups, sizeof(groups));
    return out;
}

/* ---- finding what is wrong ---- */

/* Positions in what was pasted, from 0, ascending. */
struct wrong {
    size_t n; /* may exceed what `at` holds: then only the first ones */
    size_t at[WRONG_MAX];
};

static void add_wrong(struct wrong *w, size_t at)
{
    for (size_t i = 0; i < w->n && i < WRONG_MAX; i++)
        if (w->at[i] == at)
            return;
    if (w->n < WRONG_MAX)
        w->at[w->n] = at;
    w->n++;
    if (w->n == 2 && w->at[0] > w->at[1]) {
        size_t first = w->at[1];

        w->at[1] = w->at[0];
        w->at[0] = first;
    }
}

/* Find one or two groups whose change explains the checksum; false if there
 * are more.  The code is linear: a change of group i by the bits v changes the
 * checksum by a value that depends on nothing else, so the search tries all
 * changes and pairs of them (3.4 million for the longest key, some ms). */
static bool locate(uint32_t syndrome, size_t n, size_t at[2], size_t *found)
{
    uint32_t effect[1 + INVITE_GROUPS + CHECKSUM_LEN][31];

    assert(n <= sizeof(effect) / sizeof(effect[0]));
    for (uint32_t v = 1; v < 32; v++) {
        uint32_t e = v;

        for (size_t i = n; i-- > 0; e = polymod_step(e, 0))
            effect[i][v - 1] = e;
    }
    for (size_t i = 0; i < n; i++)
        for (int v = 0; v < 31; v++)
            if (effect[i][v] == syndrome) {
                at[0] = i;
                *found = 1;
                return true;
            }
    for (size_t i = 0; i < n; i++)
        for (int v = 0; v < 31; v++) {
            uint32_t rest = syndrome ^ effect[i][v];

            for (size_t j = i + 1; j < n; j++)
                for (int u = 0; u < 31; u++)
                    if (effect[j][u] == rest) {
                        at[0] = i;
                        at[1] = j;
                        *found = 2;
                        return true;
                    }
        }
    return false;
}

/* ---- parsing ---- */

struct why {
    char *text;
    size_t len;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct why *why,
                                                        const char *format, ...)
{
    va_list args;

    if (why->len) {
        va_start(args, format);
        if (vsnprintf(why->text, why->len, format, args) < 0)
            why->text[0] = '\0';
        va_end(args);
    }
    return CV_ERR_FORMAT;
}

/* What was pasted, without white space; one char a character, '?' for all
 * beyond ASCII. */
struct pasted {
    char text[CV_KEYTEXT_MAX];
    size_t len; /* may exceed what `text` holds */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void squeeze(struct pasted *p, const char *text)
{
    bool inside = false; /* a character of several bytes */
    size_t kept;

    p->len = 0;
    for (; *text; text++) {
        bool beyond_ascii = (unsigned char)*text >= 0x80;
        bool goes_on = inside && ((unsigned char)*text & 0xc0) == 0x80;

        inside = beyond_ascii;
        if (is_space(*text) || goes_on)
            continue;
        if (p->len < sizeof(p->text) - 1)
            p->text[p->len] = (char)(*text > ' ' && *text < 0x7f ? *text : '?');
        p->len++;
    }
    kept = p->len < sizeof(p->text) - 1 ? p->len : sizeof(p->text) - 1;
    p->text[kept] = '\0';
}

/* Make everything lower case; letters of the rarer case are wrong. */
static void fold_case(struct pasted *p, struct wrong *mixed)
{
    size_t upper = 0, lower = 0;

    for (const char *c = p->text; *c; c++) {
        upper += *c >= 'A' && *c <= 'Z';
        lower += *c >= 'a' && *c <= 'z';
    }
    for (char *c = p->text; *c; c++) {
        bool is_upper = *c >= 'A' && *c <= 'Z';
        bool is_lower = *c >= 'a' && *c <= 'z';

        if (upper && lower && (upper < lower ? is_upper : is_lower))
            add_wrong(mixed, (size_t)(c - p->text));
        if (is_upper)
            *c = (char)(*c - 'A' + 'a');
    }
}

/* Which kind its beginning says, or -1. */
static int kind_of(const char *text)
{
    for (int k = 0; k < KINDS; k++)
        if (strncmp(text, kinds[k].prefix, strlen(kinds[k].prefix)) == 0)
            return k;
    return -1;
}

static bool length_fits(int kind, size_t len)
{
    size_t plain = strlen(kinds[kind].prefix) + 1 + KEY_GROUPS + CHECKSUM_LEN;

    return len == plain || (kinds[kind].may_invite && len == CV_KEYTEXT_INVITE);
}

static int refuse_length(const struct why *why, int kind, size_t len)
{
    size_t plain = strlen(kinds[kind].prefix) + 1 + KEY_GROUPS + CHECKSUM_LEN;

    if (kinds[kind].may_invite)
        return refuse(why,
                      "mistyped or incomplete (length %zu, expected %zu or "
                      "%d)",
                      len, plain, CV_KEYTEXT_INVITE);
    return refuse(why, "mistyped or incomplete (length %zu, expected %zu)", len,
                  plain);
}

static int refuse_wrong(const struct why *why, const struct pasted *p,
                        const struct wrong *w, const char *more)
{
    if (w->n == 1)
        return refuse(why, "mistyped: character %zu ('%c') is wrong%s",
                      w->at[0] + 1, p->text[w->at[0]], more);
    return refuse(
        why, "mistyped: characters %zu ('%c') and %zu ('%c') are wrong%s",
        w->at[0] + 1, p->text[w->at[0]], w->at[1] + 1, p->text[w->at[1]], more);
}

/* Look at the characters of a key of `kind` that has the right length; fill
 * groups[] or say what is wrong. */
static int read_groups(uint8_t *groups, size_t n, int kind,
                       const struct pasted *p, const struct why *why)
{
    const char *prefix = kinds[kind].prefix;
    size_t skip = strlen(prefix), at[2], found = 0;
    struct wrong certain = {0}, all;
    uint32_t syndrome;

    for (size_t i = 0; i < skip; i++)
        if (p->text[i] != prefix[i])
            add_wrong(&certain, i);
    for (size_t i = 0; i < n; i++) {
        const char *c = strchr(letters, p->text[skip + i]);

        groups[i] = c ? (uint8_t)(c - letters) : 0;
        if (!c)
            add_wrong(&certain, skip + i);
    }
    syndrome = polymod(prefix, groups, n) ^ BECH32M;
    if (syndrome == 0 && certain.n == 0)
        return CV_OK;
    if (certain.n > WRONG_MAX)
        return refuse_wrong(why, p, &certain, ", and more");

    all = certain;
    if (syndrome != 0 && locate(syndrome, n, at, &found))
        for (size_t i = 0; i < found; i++)
            add_wrong(&all, skip + at[i]);
    if (all.n > 0 && all.n <= WRONG_MAX && (syndrome == 0 || found > 0))
        return refuse_wrong(why, p, &all, "");
    if (certain.n > 0)
        return refuse_wrong(why, p, &certain, ", and more");
    return refuse(why, "mistyped in more than %d places; copy it again",
                  WRONG_MAX);
}

static int parse_bech32m(struct cv_keytext *out, int kind,
                         const struct pasted *p, const struct why *why)
{
    uint8_t groups[1 + INVITE_GROUPS + CHECKSUM_LEN];
    uint8_t bytes[CV_KEY_LEN + CV_INVITE_LEN];
    size_t n = p->len - strlen(kinds[kind].prefix);
    int err;

    err = read_groups(groups, n, kind, p, why);
    if (err != CV_OK)
        goto out;
    if (groups[0] != 0) {
        err = refuse(why, "this key is of a newer version of covim");
        goto out;
    }
    n -= 1 + CHECKSUM_LEN;
    if (!from_groups(bytes, groups + 1, n)) {
        err = refuse(why, "malformed key: its last bits are not zero");
        goto out;
    }
    *out = (struct cv_keytext){.kind = (enum cv_keytext_kind)kind,
                               .has_invite = n == INVITE_GROUPS};
    memcpy(out->key.b, bytes, CV_KEY_LEN);
    if (out->has_invite)
        memcpy(out->invite, bytes + CV_KEY_LEN, CV_INVITE_LEN);
out:
    cv_wipe(groups, sizeof(groups));
    cv_wipe(bytes, sizeof(bytes));
    return err;
}

static int parse(struct cv_keytext *out, enum cv_keytext_kind want,
                 struct pasted *p, const struct why *why)
{
    struct wrong mixed = {0};
    struct cv_key key;
    struct pasted typed = *p;
    int kind;

    if (p->len == 0)
        return refuse(why, "no key given");
    if (p->len == 2 * sizeof(key.b) &&
        cv_unhex(key.b, sizeof(key.b), p->text) == CV_OK) {
        if (want != CV_KEYTEXT_SESSION)
            return refuse(why, "64 hex digits are a session key, not %s (%s…)",
                          kinds[want].name, kinds[want].prefix);
        *out = (struct cv_keytext){.kind = CV_KEYTEXT_SESSION, .key = key};
        return CV_OK;
    }

    fold_case(p, &mixed);
    kind = kind_of(p->text);
    if (kind >= 0 && kind != (int)want)
        return refuse(why, "this is %s (%s…), not %s (%s…)", kinds[kind].name,
                      kinds[kind].prefix, kinds[want].name, kinds[want].prefix);
    if (kind < 0) {
        /* Perhaps the beginning is mistyped. */
        const char *prefix = kinds[want].prefix;
        size_t differ = 0;

        for (size_t i = 0; length_fits((int)want, p->len) && prefix[i]; i++)
            differ += p->text[i] != prefix[i];
        if (differ == 0 || differ > WRONG_MAX)
            return refuse(why, "this is not %s: it does not begin with %s",
                          kinds[want].name, prefix);
        kind = (int)want;
    }
    if (!length_fits(kind, p->len))
        return refuse_length(why, kind, p->len);
    if (mixed.n > WRONG_MAX)
        return refuse(why, "upper and lower case are mixed; copy it again");
    if (mixed.n > 0)
        return refuse_wrong(why, &typed, &mixed,
                            ": upper and lower case are mixed");
    return parse_bech32m(out, kind, p, why);
}

int cv_keytext_parse(struct cv_keytext *out, enum cv_keytext_kind want,
                     const char *text, char *why_text, size_t why_len)
{
    const struct why why = {why_text, why_len};
    struct pasted p;
    int err;

    if (why_len)
        why_text[0] = '\0';
    squeeze(&p, text);
    err = parse(out, want, &p, &why);
    cv_wipe(&p, sizeof(p));
    return err;
}

char *cv_fingerprint(const struct cv_key *key, char out[CV_FINGERPRINT_TEXT])
{
    static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t hash[CV_HASH_LEN], groups[KEY_GROUPS];
    char *at = out;

    cv_sha256(hash, &CV_BYTES(key->b, CV_KEY_LEN), 1);
    to_groups(groups, hash, sizeof(hash));
    for (int i = 0; i < 20; i++) {
        if (i > 0 && i % 5 == 0)
            *at++ = '-';
        *at++ = base32[groups[i]];
    }
    *at = '\0';
    return out;
}
