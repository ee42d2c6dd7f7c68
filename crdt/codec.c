#include "crdt/codec.h"

#include "crdt/any.h"
#include "crdt/json.h"
#include "crdt/utf8.h"
#include <string.h>

#define TYPE_REFS        7 /* 0 Array … 6 XmlText */
#define TYPE_XML_ELEMENT 3
#define TYPE_XML_HOOK    5

/* cv_get_varuint() where most numbers are short and enough bytes are left. */
static inline uint64_t get_uint(struct cv_reader *r)
{
    const uint8_t *at = r->at;
    uint64_t v;

    if (r->end - at < 5) /* also after a failure */
        return cv_get_varuint(r);
    v = at[0];
    if (v < 0x80) {
        r->at = at + 1;
        return v;
    }
    v = (v & 0x7f) | (uint64_t)at[1] << 7;
    if (at[1] < 0x80) {
        r->at = at + 2;
        return v;
    }
    v = (v & 0x3fff) | (uint64_t)at[2] << 14;
    if (at[2] < 0x80) {
        r->at = at + 3;
        return v;
    }
    v = (v & 0x1fffff) | (uint64_t)at[3] << 21;
    if (at[3] < 0x80) {
        r->at = at + 4;
        return v;
    }
    v = (v & 0xfffffff) | (uint64_t)at[4] << 28;
    if (at[4] < 0x80) {
        r->at = at + 5;
        return v;
    }
    return cv_get_varuint(r);
}

static inline uint8_t get_u8(struct cv_reader *r)
{
    return r->at < r->end ? *r->at++ : cv_get_u8(r);
}

/* The next `len` bytes, which must be there. */
static inline struct cv_bytes get_raw(struct cv_reader *r, uint64_t len)
{
    struct cv_bytes s = {r->at, (size_t)len};

    if (len > (size_t)(r->end - r->at)) {
        cv_reader_fail(r);
        return (struct cv_bytes){r->end, 0};
    }
    r->at += len;
    return s;
}

static struct cv_id get_id(struct cv_reader *r)
{
    struct cv_id id;

    id.client = get_uint(r);
    id.clock = get_uint(r);
    return id;
}

static struct cv_bytes get_buf(struct cv_reader *r)
{
    return get_raw(r, get_uint(r));
}

static struct cv_bytes get_string(struct cv_reader *r, size_t *units)
{
    struct cv_bytes s = get_buf(r);

    *units = 0;
    if (!cv_utf8_measure(s.data, s.len, units))
        cv_reader_fail(r);
    return s;
}

static void get_json(struct cv_reader *r, bool undefined)
{
    static const char word[] = "undefined";
    size_t units;
    struct cv_bytes s = get_string(r, &units);

    if (r->err != CV_OK)
        return;
    if (undefined && s.len == sizeof(word) - 1 &&
        memcmp(s.data, word, s.len) == 0)
        return;
    if (!cv_json_valid(s.data, s.len))
        cv_reader_fail(r);
}

/* Most of what comes is deleted, or short text: which of them cannot be
 * foreseen, so no branch asks.  False: it is something else, nothing was
 * read. */
static bool get_short(struct cv_reader *r, struct cv_wire *s)
{
    const uint8_t *start = r->at;
    uint64_t n;
    size_t bytes;

    if ((1u << s->kind & (1u << CV_KIND_DELETED | 1u << CV_KIND_STRING)) == 0)
        return false;
    n = get_uint(r);
    bytes = n & -(uint64_t)(s->kind == CV_KIND_STRING);
    if (bytes > CV_UTF8_PAD || r->end - r->at < CV_UTF8_PAD ||
        !cv_utf8_short_ascii(r->at, bytes)) {
        r->at = start;
        return false;
    }
    s->len = n;
    s->content.data = r->at;
    s->content.len = bytes;
    r->at += bytes;
    return true;
}

/* Sets len and content; the reader is behind the content then. */
static void get_content(struct cv_reader *r, unsigned nesting,
                        struct cv_wire *s)
{
    const uint8_t *start = r->at;
    size_t units;
    uint64_t n;

    s->len = 1;
    switch (s->kind) {
    case CV_KIND_DELETED:
        s->len = get_uint(r);
        s->content = (struct cv_bytes){NULL, 0};
        return;
    case CV_KIND_JSON:
    case CV_KIND_ANY:
        n = get_uint(r);
        if (n > cv_reader_left(r))
            cv_reader_fail(r);
        start = r->at;
        s->len = n;
        for (; n > 0 && r->err == CV_OK; n--) {
            if (s->kind == CV_KIND_ANY)
                cv_any_skip(r, nesting);
            else
                get_json(r, true);
        }
        break;
    case CV_KIND_BINARY:
        get_buf(r);
        break;
    case CV_KIND_STRING:
        s->content = get_string(r, &units);
        s->len = units;
        return;
    case CV_KIND_EMBED:
        get_json(r, false);
        break;
    case CV_KIND_FORMAT:
        get_string(r, &units);
        get_json(r, false);
        break;
    case CV_KIND_TYPE:
        n = get_uint(r);
        if (n >= TYPE_REFS)
            cv_reader_fail(r);
        if (n == TYPE_XML_ELEMENT || n == TYPE_XML_HOOK)
            get_string(r, &units);
        break;
    case CV_KIND_DOC:
        get_string(r, &units);
        cv_any_skip(r, nesting);
        break;
    default:
        cv_reader_fail(r);
        break;
    }
    s->content = r->err == CV_OK
                     ? (struct cv_bytes){start, (size_t)(r->at - start)}
                     : (struct cv_bytes){NULL, 0};
}

/* Ids of the item's own client must lie before it. */
static void check_before(struct cv_reader *r, const struct cv_wire *s,
                         const struct cv_id *id)
{
    if (id->client == s->client && id->clock >= s->clock)
        cv_reader_fail(r);
}

static void get_struct(struct cv_update_reader *u, struct cv_wire *s)
{
    struct cv_reader *r = &u->r;
    size_t units;

    s->client = u->client;
    s->info = get_u8(r);
    s->kind = s->info & CV_INFO_KIND;
    s->parent = CV_PARENT_NONE;
    s->clock = u->clock;
    s->root = (struct cv_bytes){NULL, 0};
    s->key = (struct cv_bytes){NULL, 0};
    s->content = (struct cv_bytes){NULL, 0};
    if (s->kind == CV_KIND_GC || s->kind == CV_KIND_SKIP) {
        s->info = s->kind;
        s->len = get_uint(r);
        return;
    }
    if (s->info & CV_INFO_ORIGIN) {
        s->origin = get_id(r);
        check_before(r, s, &s->origin);
    }
    if (s->info & CV_INFO_RIGHT) {
        s->right = get_id(r);
        check_before(r, s, &s->right);
    }
    if (!(s->info & (CV_INFO_ORIGIN | CV_INFO_RIGHT))) {
        switch (get_uint(r)) {
        case 1:
            s->parent = CV_PARENT_ROOT;
            s->root = get_string(r, &units);
            break;
        case 0:
            s->parent = CV_PARENT_ITEM;
            s->parent_id = get_id(r);
            check_before(r, s, &s->parent_id);
            break;
        default:
            cv_reader_fail(r);
            return;
        }
        if (s->info & CV_INFO_KEY)
            s->key = get_string(r, &units);
    }
    if (!get_short(r, s))
        get_content(r, u->nesting, s);
}

void cv_update_open(struct cv_update_reader *u, struct cv_bytes update,
                    unsigned nesting)
{
    *u = (struct cv_update_reader){.nesting = nesting};
    cv_reader_init(&u->r, update.data, update.len);
    u->blocks = get_uint(&u->r);
    /* A block has at least three numbers. */
    if (u->blocks > cv_reader_left(&u->r) / 3)
        cv_reader_fail(&u->r);
}

bool cv_update_struct(struct cv_update_reader *u, struct cv_wire *out)
{
    struct cv_reader *r = &u->r;

    while (u->structs == 0 && u->blocks > 0 && r->err == CV_OK) {
        u->blocks--;
        u->structs = get_uint(r);
        u->client = get_uint(r);
        u->clock = get_uint(r);
        /* A struct has at least two bytes. */
        if (u->structs > cv_reader_left(r) / 2)
            cv_reader_fail(r);
    }
    if (r->err != CV_OK)
        return false;
    if (u->structs == 0) {
        u->delclients = get_uint(r);
        if (u->delclients > cv_reader_left(r) / 2)
            cv_reader_fail(r);
        return false;
    }
    u->structs--;
    get_struct(u, out);
    if (out->len == 0 || out->len > CV_VARUINT_MAX - out->clock)
        cv_reader_fail(r);
    u->clock += out->len;
    return r->err == CV_OK;
}

bool cv_update_range(struct cv_update_reader *u, struct cv_range *out)
{
    struct cv_reader *r = &u->r;

    while (u->ranges == 0 && u->delclients > 0 && r->err == CV_OK) {
        u->delclients--;
        u->client = get_uint(r);
        u->ranges = get_uint(r);
        if (u->ranges > cv_reader_left(r) / 2)
            cv_reader_fail(r);
    }
    if (u->ranges == 0 || r->err != CV_OK)
        return false;
    u->ranges--;
    out->client = u->client;
    out->clock = get_uint(r);
    out->len = get_uint(r);
    if (out->len == 0 || out->len > CV_VARUINT_MAX - out->clock)
        cv_reader_fail(r);
    return r->err == CV_OK;
}

int cv_update_close(const struct cv_update_reader *u)
{
    if (u->structs != 0 || u->blocks != 0 || u->ranges != 0 ||
        u->delclients != 0)
        return CV_ERR_FORMAT;
    return cv_reader_end(&u->r);
}

size_t cv_elements_offset(unsigned kind, struct cv_bytes content, uint64_t n)
{
    struct cv_reader r;

    cv_reader_init(&r, content.data, content.len);
    for (; n > 0 && r.err == CV_OK; n--) {
        if (kind == CV_KIND_ANY)
            cv_any_skip(&r, UINT16_MAX);
        else
            cv_get_varbytes(&r, SIZE_MAX);
    }
    return content.len - cv_reader_left(&r);
}

void cv_wire_cut(struct cv_wire *s, uint64_t n, bool *half)
{
    size_t at = 0;

    *half = false;
    if (s->kind == CV_KIND_STRING) {
        at = cv_utf8_offset(s->content.data, s->content.len, (size_t)n, half);
        if (*half)
            at += 4; /* U+FFFD stands for the second half */
    } else if (s->kind == CV_KIND_JSON || s->kind == CV_KIND_ANY) {
        at = cv_elements_offset(s->kind, s->content, n);
    }
    if (at > 0) {
        s->content.data += at;
        s->content.len -= at;
    }
    s->clock += n;
    s->len -= n;
    if (s->kind == CV_KIND_GC || s->kind == CV_KIND_SKIP)
        return;
    s->info |= CV_INFO_ORIGIN;
    s->origin = (struct cv_id){s->client, s->clock - 1};
}

static void put_id(struct cv_writer *w, const struct cv_id *id)
{
    cv_put_varuint(w, id->client);
    cv_put_varuint(w, id->clock);
}

void cv_wire_put(struct cv_writer *w, const struct cv_wire *s, bool half)
{
    size_t extra = half ? CV_UTF8_REPLACEMENT_LEN : 0;

    cv_put_u8(w, s->info);
    if (s->kind == CV_KIND_GC || s->kind == CV_KIND_SKIP) {
        cv_put_varuint(w, s->len);
        return;
    }
    if (s->info & CV_INFO_ORIGIN)
        put_id(w, &s->origin);
    if (s->info & CV_INFO_RIGHT)
        put_id(w, &s->right);
    if (!(s->info & (CV_INFO_ORIGIN | CV_INFO_RIGHT))) {
        if (s->parent == CV_PARENT_ROOT) {
            cv_put_varuint(w, 1);
            cv_put_varbytes(w, s->root.data, s->root.len);
        } else {
            cv_put_varuint(w, 0);
            put_id(w, &s->parent_id);
        }
        if (s->info & CV_INFO_KEY)
            cv_put_varbytes(w, s->key.data, s->key.len);
    }
    switch (s->kind) {
    case CV_KIND_DELETED:
        cv_put_varuint(w, s->len);
        return;
    case CV_KIND_JSON:
    case CV_KIND_ANY:
        cv_put_varuint(w, s->len);
        break;
    case CV_KIND_STRING:
        cv_put_varuint(w, s->content.len + extra);
        cv_put_raw(w, CV_UTF8_REPLACEMENT, extra);
        break;
    default:
        break;
    }
    cv_put_raw(w, s->content.data, s->content.len);
}
