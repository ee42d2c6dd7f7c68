#include "crdt/utf8.h"

#include <endian.h>
#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)
#define LOW_BITS  UINT64_C(0x0101010101010101)
#define NEWLINES  (LOW_BITS * '\n')
#define BLOCK     128 /* below 256 */

/* The first byte is the lowest. */
static uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static void store64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

/* Up to 7 bytes, and zeros: without a loop, whose end is hard to foresee. */
static uint64_t load_short(const uint8_t *p, size_t len)
{
    uint32_t low, high;

    if (len >= 4) {
        memcpy(&low, p, sizeof(low));
        memcpy(&high, p + len - 4, sizeof(high));
        return le32toh(low) | (uint64_t)le32toh(high) << (8 * (len - 4));
    }
    if (len == 0)
        return 0;
    return p[0] | (uint64_t)p[len / 2] << (8 * (len / 2)) |
           (uint64_t)p[len - 1] << (8 * (len - 1));
}

/* Up to CV_UTF8_PAD bytes, and zeros. */
struct words {
    uint64_t low, high;
};

static struct words load_words(const uint8_t *p, size_t len)
{
    struct words w = {0, 0};

    if (len < 8) {
        w.low = load_short(p, len);
        return w;
    }
    w.low = load64(p);
    w.high = len > 8 ? load64(p + len - 8) >> (8 * (CV_UTF8_PAD - len)) : 0;
    return w;
}

/* The same where CV_UTF8_PAD may be read: without a branch. */
static inline struct words first_words(const uint8_t *p, size_t len)
{
    unsigned low = len < 8 ? 4 * (unsigned)len : 32; /* half of the bits */
    unsigned high = 4 * (unsigned)len - low;

    return (struct words){load64(p) & ~(~UINT64_C(0) << low << low),
                          load64(p + 8) & ~(~UINT64_C(0) << high << high)};
}

/* The high bit of each of eight bytes that is a newline. */
static uint64_t newline_bits(uint64_t v)
{
    v ^= NEWLINES;
    v = ((v & ~HIGH_BITS) + ~HIGH_BITS) | v;
    return ~v & HIGH_BITS;
}

/* How many of eight bytes are newlines. */
static size_t newlines_of(uint64_t v)
{
    return (size_t)((newline_bits(v) >> 7) * LOW_BITS >> 56);
}

static size_t newlines_of_both(struct words w)
{
    uint64_t n = (newline_bits(w.low) >> 7) + (newline_bits(w.high) >> 7);

    return (size_t)(n * LOW_BITS >> 56);
}

/* Length of the character at text[0], 0 if it is malformed (RFC 3629, 4). */
static size_t check_char(const uint8_t *text, size_t len)
{
    uint8_t a = text[0], low = 0x80, high = 0xBF;
    size_t n;

    if (a < 0x80)
        return 1;
    if (a < 0xC2 || a > 0xF4)
        return 0;
    n = cv_utf8_char_len(a);
    if (n > len)
        return 0;
    if (a == 0xE0)
        low = 0xA0;
    else if (a == 0xED)
        high = 0x9F;
    else if (a == 0xF0)
        low = 0x90;
    else if (a == 0xF4)
        high = 0x8F;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

/* How much of a text is ASCII for certain. */
static size_t ascii_prefix(const uint8_t *text, size_t len)
{
    size_t i = 0;

    /* The compiler makes vector instructions of this. */
    for (; len - i >= BLOCK; i += BLOCK) {
        uint8_t all = 0;

        for (size_t k = 0; k < BLOCK; k++)
            all |= text[i + k];
        if (all >= 0x80)
            return i;
    }
    for (; len - i >= 8; i += 8) {
        if (load64(text + i) & HIGH_BITS)
            return i;
    }
    return load_short(text + i, len - i) & HIGH_BITS ? i : len;
}

bool cv_utf8_measure_long(const uint8_t *text, size_t len, size_t *units)
{
    size_t at = ascii_prefix(text, len), n = at;

    while (at < len) {
        size_t step;

        if (len - at >= 8 && !(load64(text + at) & HIGH_BITS)) {
            at += 8;
            n += 8;
            continue;
        }
        step = check_char(text + at, len - at);
        if (step == 0)
            return false;
        at += step;
        n += step == 4 ? 2 : 1;
    }
    *units = n;
    return true;
}

bool cv_utf8_short_ascii(const uint8_t *text, size_t len)
{
    struct words w = first_words(text, len);

    return ((w.low | w.high) & HIGH_BITS) == 0;
}

bool cv_text_measure_long(struct cv_text *t)
{
    size_t units;

    if (t->len <= CV_UTF8_PAD) {
        struct words w = load_words(t->data, t->len);

        if (((w.low | w.high) & HIGH_BITS) == 0) {
            t->units = (uint32_t)t->len;
            t->newlines = (uint32_t)newlines_of_both(w);
            return true;
        }
    }
    if (!cv_utf8_measure_long(t->data, t->len, &units))
        return false;
    t->units = (uint32_t)units;
    t->newlines = (uint32_t)cv_utf8_newlines_long(t->data, t->len);
    return true;
}

size_t cv_utf8_units(const uint8_t *text, size_t len)
{
    size_t i = ascii_prefix(text, len), n = i;

    /* Every byte that begins a character, and those of four bytes twice. */
    for (; i < len; i++)
        n += (size_t)((text[i] & 0xC0) != 0x80) + (size_t)(text[i] >= 0xF0);
    return n;
}

size_t cv_utf8_offset(const uint8_t *text, size_t len, size_t units,
                      bool *inside)
{
    size_t at = 0;

    *inside = false;
    while (units > 0 && at < len) {
        if (units >= 8 && len - at >= 8 && !(load64(text + at) & HIGH_BITS)) {
            at += 8;
            units -= 8;
            continue;
        }
        if (text[at] >= 0xF0) {
            if (units == 1) {
                *inside = true;
                return at;
            }
            units -= 2;
        } else {
            units--;
        }
        at += cv_utf8_char_len(text[at]);
    }
    return at;
}

size_t cv_utf8_newlines_long(const uint8_t *text, size_t len)
{
    size_t n = 0, i = 0;

    /* The compiler makes vector instructions of this. */
    for (; len - i >= BLOCK; i += BLOCK) {
        uint8_t some = 0;

        for (size_t k = 0; k < BLOCK; k++)
            some = (uint8_t)(some + (text[i + k] == '\n'));
        n += some;
    }
    for (; len - i >= 8; i += 8)
        n += newlines_of(load64(text + i));
    return n + newlines_of(load_short(text + i, len - i));
}

size_t cv_utf8_newlines_padded(const uint8_t *text, size_t len)
{
    size_t n = 0;

    if (len > BLOCK)
        return cv_utf8_newlines_long(text, len);
    for (; len > CV_UTF8_PAD; text += CV_UTF8_PAD, len -= CV_UTF8_PAD)
        n += newlines_of_both((struct words){load64(text), load64(text + 8)});
    return n + newlines_of_both(first_words(text, len));
}

void cv_utf8_copy_padded(uint8_t *to, const uint8_t *text, size_t len)
{
    struct words w;

    if (len > CV_UTF8_PAD) {
        memcpy(to, text, len);
        return;
    }
    w = load_words(text, len);
    store64(to, w.low);
    store64(to + 8, w.high);
}

size_t cv_utf8_after_newline(const uint8_t *text, size_t len, size_t n)
{
    const uint8_t *at = text, *end = text + len;

    while (n > 0) {
        const uint8_t *hit = memchr(at, '\n', (size_t)(end - at));

        if (hit == NULL)
            return len;
        at = hit + 1;
        n--;
    }
    return (size_t)(at - text);
}
