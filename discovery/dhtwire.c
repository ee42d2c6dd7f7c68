#include "discovery/dhtwire.h"

#include <string.h>

#define DEPTH_MAX 8u
#define NODE4_LEN (CV_LOC_LEN + 4u + 2u)

/* --- msgpack, as much of it as is needed --------------------------------- */

static void put_map(struct cv_writer *w, unsigned n)
{
    cv_put_u8(w, (uint8_t)(0x80u | n)); /* n < 16 */
}

static void put_text(struct cv_writer *w, const char *text)
{
    const size_t len = strlen(text);

    cv_put_u8(w, (uint8_t)(0xa0u | len)); /* len < 32 */
    cv_put_raw(w, text, len);
}

static void put_bin(struct cv_writer *w, const void *data, size_t len)
{
    if (len < 256) {
        cv_put_u8(w, 0xc4);
        cv_put_u8(w, (uint8_t)len);
    } else {
        cv_put_u8(w, 0xc5);
        cv_put_u16(w, (uint16_t)len);
    }
    cv_put_raw(w, data, len);
}

/* The number of bytes or elements that follow a tag; `elements` of maps count
 * twice. */
static size_t length_of(struct cv_reader *r, uint8_t tag, size_t *elements)
{
    *elements = 0;
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return 0;
    if (tag <= 0x8f)
        *elements = 2u * (tag & 0x0fu);
    else if (tag <= 0x9f)
        *elements = tag & 0x0fu;
    else if (tag <= 0xbf)
        return tag & 0x1fu;
    else
        switch (tag) {
        case 0xc4:
        case 0xd9:
            return cv_get_u8(r);
        case 0xc5:
        case 0xda:
            return cv_get_u16(r);
        case 0xc6:
        case 0xdb:
            return cv_get_u32(r);
        case 0xcc:
        case 0xd0:
            return 1;
        case 0xcd:
        case 0xd1:
            return 2;
        case 0xca:
        case 0xce:
        case 0xd2:
            return 4;
        case 0xcb:
        case 0xcf:
        case 0xd3:
            return 8;
        case 0xdc:
            *elements = cv_get_u16(r);
            break;
        case 0xde:
            *elements = 2u * (size_t)cv_get_u16(r);
            break;
        default: /* extensions, and 32-bit lengths of what fits a packet */
            cv_reader_fail(r);
        }
    return 0;
}

/* Step over one value. */
static void skip(struct cv_reader *r)
{
    size_t left[DEPTH_MAX] = {1};
    unsigned depth = 0;

    while (r->err == CV_OK) {
        size_t elements, len;

        if (left[depth] == 0) {
            if (depth == 0)
                return;
            depth--;
            continue;
        }
        left[depth]--;
        len = length_of(r, cv_get_u8(r), &elements);
        (void)cv_get_bytes(r, len);
        if (elements == 0)
            continue;
        if (++depth == DEPTH_MAX) {
            cv_reader_fail(r);
            return;
        }
        left[depth] = elements;
    }
}

/* How many pairs follow. */
static size_t get_map(struct cv_reader *r)
{
    const uint8_t tag = cv_get_u8(r);
    size_t elements;

    if ((tag & 0xf0u) != 0x80 && tag != 0xde)
        cv_reader_fail(r);
    (void)length_of(r, tag, &elements);
    return r->err == CV_OK ? elements / 2 : 0;
}

/* A text or binary. */
static struct cv_bytes get_string(struct cv_reader *r)
{
    const uint8_t tag = cv_get_u8(r);
    const bool string = (tag & 0xe0u) == 0xa0 || (tag >= 0xc4 && tag <= 0xc6) ||
                        (tag >= 0xd9 && tag <= 0xdb);
    size_t elements;
    const size_t len = length_of(r, tag, &elements);

    if (!string)
        cv_reader_fail(r);
    return cv_get_bytes(r, len);
}

static uint32_t get_number(struct cv_reader *r)
{
    const uint8_t tag = cv_get_u8(r);

    if (tag <= 0x7f)
        return tag;
    switch (tag) {
    case 0xcc:
        return cv_get_u8(r);
    case 0xcd:
        return cv_get_u16(r);
    case 0xce:
        return cv_get_u32(r);
    default:
        cv_reader_fail(r);
        return 0;
    }
}

static bool is(struct cv_bytes key, const char *text)
{
    return key.len == strlen(text) && memcmp(key.data, text, key.len) == 0;
}

/* --- messages ------------------------------------------------------------ */

static int put_end(struct cv_writer *w, const char *query, uint32_t tid)
{
    put_text(w, "q");
    put_text(w, query);
    put_text(w, "s");
    cv_put_u8(w, 0xc3); /* true */
    put_text(w, "t");
    cv_put_u8(w, 0xce);
    cv_put_u32(w, tid);
    put_text(w, "y");
    put_text(w, "q");
    put_text(w, "v");
    put_text(w, "RNG1");
    return w->err;
}

/* The head of a request whose `n` arguments begin with who asks, and what for,
 * named `what`. */
static void put_args(struct cv_writer *w, unsigned n, const struct cv_loc *id,
                     const char *what, const struct cv_loc *loc)
{
    put_map(w, 6);
    put_text(w, "a");
    put_map(w, n);
    put_text(w, "id");
    put_bin(w, id->b, CV_LOC_LEN);
    put_text(w, what);
    put_bin(w, loc->b, CV_LOC_LEN);
}

static void put_token(struct cv_writer *w, struct cv_bytes token)
{
    put_text(w, "token");
    put_bin(w, token.data, token.len);
}

int cv_dhtwire_find(struct cv_writer *w, uint32_t tid, const struct cv_loc *id,
                    const struct cv_loc *target)
{
    put_args(w, 2, id, "target", target);
    return put_end(w, "find", tid);
}

int cv_dhtwire_get(struct cv_writer *w, uint32_t tid, const struct cv_loc *id,
                   const struct cv_loc *loc)
{
    put_args(w, 2, id, "h", loc);
    return put_end(w, "get", tid);
}

int cv_dhtwire_put(struct cv_writer *w, uint32_t tid, const struct cv_loc *id,
                   const struct cv_loc *loc, uint64_t value_id,
                   struct cv_bytes value, struct cv_bytes token)
{
    put_args(w, 4, id, "h", loc);
    put_text(w, "values");
    cv_put_u8(w, 0x91); /* an array of one */
    put_map(w, 2);
    put_text(w, "id");
    cv_put_u8(w, 0xcf);
    cv_put_u64(w, value_id);
    put_text(w, "dat");
    put_map(w, 1);
    put_text(w, "body");
    put_map(w, 2);
    put_text(w, "type");
    cv_put_u8(w, 0); /* USER_DATA */
    put_text(w, "data");
    put_bin(w, value.data, value.len);
    put_token(w, token);
    return put_end(w, "put", tid);
}

int cv_dhtwire_listen(struct cv_writer *w, uint32_t tid,
                      const struct cv_loc *id, const struct cv_loc *loc,
                      uint32_t sid, struct cv_bytes token)
{
    put_args(w, 4, id, "h", loc);
    put_text(w, "sid");
    cv_put_u8(w, 0xce);
    cv_put_u32(w, sid);
    put_token(w, token);
    return put_end(w, "listen", tid);
}

static void get_nodes(struct cv_dhtwire_reply *out, struct cv_bytes raw)
{
    struct cv_reader r;

    cv_reader_init(&r, raw.data, raw.len);
    while (cv_reader_left(&r) >= NODE4_LEN && out->n < CV_DHTWIRE_NODES) {
        struct cv_dhtwire_node *n = &out->node[out->n];

        memset(n, 0, sizeof(*n));
        cv_get_raw(&r, n->id.b, CV_LOC_LEN);
        n->addr.family = CV_FAMILY_IPV4;
        cv_get_raw(&r, n->addr.ip, 4);
        n->addr.port = cv_get_u16(&r);
        out->n++;
    }
}

static bool at_map(const struct cv_reader *r)
{
    const uint8_t tag = cv_reader_left(r) > 0 ? *r->at : 0;

    return (tag & 0xf0u) == 0x80 || tag == 0xde;
}

/* {id, dat: {body: {type, data}}}: only `data` is looked for, at any depth up
 * to three. */
static void get_value(struct cv_dhtwire_reply *out, struct cv_reader *r,
                      unsigned depth)
{
    if (!at_map(r)) {
        skip(r);
        return;
    }
    for (size_t n = get_map(r); n > 0 && r->err == CV_OK; n--) {
        const struct cv_bytes key = get_string(r);

        if (depth < 2 && (is(key, "dat") || is(key, "body"))) {
            get_value(out, r, depth + 1);
        } else if (depth == 2 && is(key, "data")) {
            const struct cv_bytes v = get_string(r);

            if (r->err == CV_OK && out->n_values < CV_DHTWIRE_VALUES)
                out->value[out->n_values++] = v;
        } else {
            skip(r);
        }
    }
}

/* {number: {o, d}}: `d` is an encoded value, or a piece of one. */
static void get_parts(struct cv_dhtwire_reply *out, struct cv_reader *r)
{
    for (size_t n = get_map(r); n > 0 && r->err == CV_OK; n--) {
        struct cv_bytes piece = {NULL, 0};
        struct cv_reader inner;
        uint32_t offset = 0;

        (void)get_number(r);
        for (size_t k = get_map(r); k > 0 && r->err == CV_OK; k--) {
            const struct cv_bytes key = get_string(r);

            if (is(key, "o"))
                offset = get_number(r);
            else if (is(key, "d"))
                piece = get_string(r);
            else
                skip(r);
        }
        if (r->err != CV_OK || offset != 0)
            continue;
        cv_reader_init(&inner, piece.data, piece.len);
        get_value(out, &inner, 0);
    }
}

static void get_values(struct cv_dhtwire_reply *out, struct cv_reader *r)
{
    const uint8_t tag = cv_get_u8(r);
    size_t n;

    if ((tag & 0xf0u) != 0x90 && tag != 0xdc)
        cv_reader_fail(r);
    (void)length_of(r, tag, &n);
    for (; n > 0 && r->err == CV_OK; n--)
        get_value(out, r, 0);
}

static bool get_body(struct cv_dhtwire_reply *out, struct cv_reader *r)
{
    bool id = false;

    for (size_t n = get_map(r); n > 0 && r->err == CV_OK; n--) {
        const struct cv_bytes key = get_string(r);

        if (is(key, "id")) {
            const struct cv_bytes v = get_string(r);

            id = v.len == CV_LOC_LEN;
            if (id)
                memcpy(out->id.b, v.data, CV_LOC_LEN);
        } else if (is(key, "token")) {
            const struct cv_bytes v = get_string(r);

            if (v.len > 0 && v.len <= CV_DHTWIRE_TOKEN) {
                memcpy(out->token, v.data, v.len);
                out->token_len = v.len;
            }
        } else if (is(key, "n4")) {
            get_nodes(out, get_string(r));
        } else if (is(key, "values")) {
            get_values(out, r);
        } else {
            skip(r);
        }
    }
    return id;
}

int cv_dhtwire_reply(struct cv_dhtwire_reply *out, const uint8_t *data,
                     size_t len)
{
    struct cv_reader r;
    bool body = false, tid = false;

    memset(out, 0, sizeof(*out));
    cv_reader_init(&r, data, len);
    for (size_t n = get_map(&r); n > 0 && r.err == CV_OK; n--) {
        const struct cv_bytes key = get_string(&r);

        if (is(key, "r")) {
            body = get_body(out, &r);
        } else if (is(key, "p")) {
            get_parts(out, &r);
            out->part = true;
        } else if (is(key, "t")) {
            out->tid = get_number(&r);
            tid = true;
        } else {
            skip(&r);
        }
    }
    return r.err == CV_OK && body != out->part && tid ? CV_OK : CV_ERR_FORMAT;
}
