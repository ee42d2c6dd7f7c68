#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The first heap allocation of a writer; it doubles from here. */
#define HEAP_FIRST 64

#define VARUINT_BYTES 8 /* of 7 bits: 56, enough for 2^53 - 1 */

/* ---- reading ---- */

bool cv_bytes_equal(struct cv_bytes a, struct cv_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

void cv_reader_init(struct cv_reader *r, const void *data, size_t len)
{
    static const uint8_t nothing;

    r->at = len ? data : &nothing;
    r->end = r->at + len;
    r->err = CV_OK;
}

size_t cv_reader_left(const struct cv_reader *r)
{
    return r->err == CV_OK ? (size_t)(r->end - r->at) : 0;
}

void cv_reader_fail(struct cv_reader *r)
{
    r->at = r->end;
    r->err = CV_ERR_FORMAT;
}

int cv_reader_end(const struct cv_reader *r)
{
    return r->err == CV_OK && r->at == r->end ? CV_OK : CV_ERR_FORMAT;
}

/* The next `len` bytes, or NULL and the reader has failed. */
static const uint8_t *take(struct cv_reader *r, size_t len)
{
    const uint8_t *p = r->at;

    if (r->err != CV_OK)
        return NULL;
    if (len > (size_t)(r->end - r->at)) {
        cv_reader_fail(r);
        return NULL;
    }
    r->at += len;
    return p;
}

static uint64_t get_big_endian(struct cv_reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    uint64_t v = 0;

    if (!p)
        return 0;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t cv_get_u8(struct cv_reader *r)
{
    return (uint8_t)get_big_endian(r, 1);
}

uint16_t cv_get_u16(struct cv_reader *r)
{
    return (uint16_t)get_big_endian(r, 2);
}

uint32_t cv_get_u32(struct cv_reader *r)
{
    return (uint32_t)get_big_endian(r, 4);
}

uint64_t cv_get_u64(struct cv_reader *r)
{
    return get_big_endian(r, 8);
}

/* Seven bits a byte, the lowest first, from `shift` bits that are known. */
static uint64_t get_rest(struct cv_reader *r, uint64_t v, unsigned shift)
{
    unsigned left = VARUINT_BYTES - (shift > 0);

    while (left-- > 0) {
        const uint8_t *p = take(r, 1);

        if (!p)
            return 0;
        v |= (uint64_t)(*p & 0x7f) << shift;
        shift += 7;
        if (!(*p & 0x80)) {
            if (v <= CV_VARUINT_MAX)
                return v;
            break;
        }
    }
    cv_reader_fail(r);
    return 0;
}

uint64_t cv_get_varuint(struct cv_reader *r)
{
    /* Nearly all numbers of a document fit one byte. */
    if (r->err == CV_OK && r->at < r->end && *r->at < 0x80)
        return *r->at++;
    return get_rest(r, 0, 0);
}

int64_t cv_get_varint(struct cv_reader *r)
{
    const uint8_t *p = take(r, 1);
    uint64_t v;

    if (!p)
        return 0;
    v = *p & 0x3f;
    if (*p & 0x80)
        v = get_rest(r, v, 6);
    return *p & 0x40 ? -(int64_t)v : (int64_t)v;
}

void cv_get_raw(struct cv_reader *r, void *out, size_t len)
{
    const uint8_t *p = take(r, len);

    if (len == 0)
        return;
    if (p)
        memcpy(out, p, len);
    else
        memset(out, 0, len);
}

struct cv_bytes cv_get_bytes(struct cv_reader *r, size_t len)
{
    const uint8_t *p = take(r, len);

    return (struct cv_bytes){p ? p : r->end, p ? len : 0};
}

struct cv_bytes cv_get_varbytes(struct cv_reader *r, size_t max)
{
    uint64_t len = cv_get_varuint(r);

    if (len > max)
        cv_reader_fail(r);
    return cv_get_bytes(r, (size_t)len);
}

struct cv_bytes cv_get_varstring(struct cv_reader *r, size_t max)
{
    struct cv_bytes s = cv_get_varbytes(r, max);

    if (cv_utf8_valid(s.data, s.len))
        return s;
    cv_reader_fail(r);
    return (struct cv_bytes){r->end, 0};
}

/* ---- writing ---- */

void cv_writer_init(struct cv_writer *w, void *storage, size_t cap)
{
    *w = (struct cv_writer){.data = storage, .cap = cap, .max = cap};
}

void cv_writer_init_heap(struct cv_writer *w, size_t max)
{
    *w = (struct cv_writer){.max = max, .heap = true};
}

void cv_writer_fini(struct cv_writer *w)
{
    if (w->heap)
        free(w->data);
    *w = (struct cv_writer){0};
}

uint8_t *cv_writer_take(struct cv_writer *w, size_t *len)
{
    uint8_t *data = w->data;

    assert(w->heap);
    *len = w->len;
    if (w->err != CV_OK || w->len == 0) {
        free(data);
        data = NULL;
        *len = 0;
    }
    cv_writer_init_heap(w, w->max);
    return data;
}

struct cv_bytes cv_writer_bytes(const struct cv_writer *w)
{
    return (struct cv_bytes){w->data, w->len};
}

/* Let cap - len be at least `len`. */
static int make_room(struct cv_writer *w, size_t len)
{
    size_t cap = w->cap ? w->cap : HEAP_FIRST;
    uint8_t *data;

    if (w->err != CV_OK)
        return w->err;
    if (len <= w->cap - w->len)
        return CV_OK;
    if (len > w->max - w->len)
        return w->err = CV_ERR_NOBUF;

    while (cap < w->len + len)
        cap = cap > w->max / 2 ? w->max : cap * 2;
    if (cap > w->max)
        cap = w->max;
    data = realloc(w->data, cap);
    if (!data)
        return w->err = CV_ERR_NOMEM;
    w->data = data;
    w->cap = cap;
    return CV_OK;
}

uint8_t *cv_put_space(struct cv_writer *w, size_t len)
{
    static uint8_t nothing;
    uint8_t *p;

    if (make_room(w, len) != CV_OK)
        return NULL;
    if (!w->data)
        return &nothing; /* of length 0, in a writer that has no storage */
    p = w->data + w->len;
    w->len += len;
    return p;
}

static int put_big_endian(struct cv_writer *w, uint64_t v, size_t len)
{
    uint8_t *p = cv_put_space(w, len);

    if (p)
        for (size_t i = len; i-- > 0; v >>= 8)
            p[i] = (uint8_t)v;
    return w->err;
}

int cv_put_u8(struct cv_writer *w, uint8_t v)
{
    return put_big_endian(w, v, 1);
}

int cv_put_u16(struct cv_writer *w, uint16_t v)
{
    return put_big_endian(w, v, 2);
}

int cv_put_u32(struct cv_writer *w, uint32_t v)
{
    return put_big_endian(w, v, 4);
}

int cv_put_u64(struct cv_writer *w, uint64_t v)
{
    return put_big_endian(w, v, 8);
}

int cv_put_varuint(struct cv_writer *w, uint64_t v)
{
    uint8_t b[VARUINT_BYTES];
    size_t n = 0;

    assert(v <= CV_VARUINT_MAX);
    for (; v >= 0x80; v >>= 7)
        b[n++] = (uint8_t)(v | 0x80);
    b[n++] = (uint8_t)v;
    return cv_put_raw(w, b, n);
}

int cv_put_varint(struct cv_writer *w, int64_t v)
{
    uint64_t m = v < 0 ? -(uint64_t)v : (uint64_t)v;
    uint8_t b[VARUINT_BYTES];
    size_t n = 0;

    assert(m <= CV_VARUINT_MAX);
    b[n++] = (uint8_t)((m & 0x3f) | (v < 0 ? 0x40 : 0) | (m > 0x3f ? 0x80 : 0));
    for (m >>= 6; m > 0; m >>= 7)
        b[n++] = (uint8_t)((m & 0x7f) | (m > 0x7f ? 0x80 : 0));
    return cv_put_raw(w, b, n);
}

int cv_put_raw(struct cv_writer *w, const void *data, size_t len)
{
    uint8_t *p = cv_put_space(w, len);

    if (p && len)
        memcpy(p, data, len);
    return w->err;
}

int cv_put_varbytes(struct cv_writer *w, const void *data, size_t len)
{
    cv_put_varuint(w, len);
    return cv_put_raw(w, data, len);
}

int cv_put_zeros(struct cv_writer *w, size_t len)
{
    uint8_t *p = cv_put_space(w, len);

    if (p && len)
        memset(p, 0, len);
    return w->err;
}

/* ---- text ---- */

bool cv_utf8_valid(const void *data, size_t len)
{
    const uint8_t *p = data, *end;

    if (len == 0)
        return true;
    end = p + len;
    while (p < end) {
        uint8_t low = 0x80, high = 0xbf; /* of the second byte */
        size_t more;

        if (*p < 0x80) {
            p++;
            continue;
        }
        if (*p < 0xc2 || *p > 0xf4)
            return false;
        more = *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
        if ((size_t)(end - p) <= more)
            return false;
        if (*p == 0xe0)
            low = 0xa0; /* overlong */
        else if (*p == 0xed)
            high = 0x9f; /* surrogates */
        else if (*p == 0xf0)
            low = 0x90; /* overlong */
        else if (*p == 0xf4)
            high = 0x8f; /* above U+10FFFF */
        if (p[1] < low || p[1] > high)
            return false;
        for (size_t i = 2; i <= more; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        p += more + 1;
    }
    return true;
}

void cv_hex(char *out, const void *data, size_t len)
{
    static const char digit[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        *out++ = digit[p[i] >> 4];
        *out++ = digit[p[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void cv_base64(char *out, const void *data, size_t len)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16 |
                     (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (n > 2 ? (uint32_t)p[i + 2] : 0);

        *out++ = digit[v >> 18];
        *out++ = digit[v >> 12 & 63];
        *out++ = n > 1 ? digit[v >> 6 & 63] : '=';
        *out++ = n > 2 ? digit[v & 63] : '=';
    }
    *out = '\0';
}

int cv_unhex(void *out, size_t len, const char *text)
{
    uint8_t *p = out;

    if (strlen(text) != 2 * len)
        return CV_ERR_FORMAT;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return CV_ERR_FORMAT;
        p[i] = (uint8_t)(high << 4 | low);
    }
    return CV_OK;
}
