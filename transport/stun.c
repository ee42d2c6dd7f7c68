#include "transport/stun.h"
#include "base/crypto.h"
#include <assert.h>
#include <string.h>

#define FINGERPRINT_XOR 0x5354554eu /* RFC 8489, 14.7 */

bool cv_stun_is(const void *data, size_t len)
{
    static const uint8_t cookie[4] = {0x21, 0x12, 0xa4, 0x42};
    const uint8_t *b = data;

    return len >= CV_STUN_HEADER && b[0] <= 3 &&
           memcmp(b + 4, cookie, sizeof cookie) == 0;
}

/* u8 0 | u8 family 1 or 2 | u16 port | address; XORed with the cookie and the
 * transaction id when `txid` is given (RFC 8489, 14.1, 14.2). */
static struct cv_addr get_address(struct cv_reader *r, const uint8_t *txid)
{
    struct cv_addr a = {0};
    uint8_t family;
    size_t n;

    cv_get_u8(r);
    family = cv_get_u8(r);
    a.port = cv_get_u16(r);
    if (family != 1 && family != 2)
        cv_reader_fail(r);
    a.family = family == 1 ? CV_FAMILY_IPV4 : CV_FAMILY_IPV6;
    n = family == 1 ? 4 : 16;
    cv_get_raw(r, a.ip, n);
    if (txid) {
        uint8_t mask[16] = {0x21, 0x12, 0xa4, 0x42};

        memcpy(mask + 4, txid, CV_STUN_TXID);
        a.port ^= (uint16_t)(CV_STUN_COOKIE >> 16);
        for (size_t i = 0; i < n; i++)
            a.ip[i] ^= mask[i];
    }
    if (r->err != CV_OK)
        return (struct cv_addr){0};
    return a;
}

static bool ignored(uint16_t type)
{
    return type == CV_STUN_MESSAGE_INTEGRITY || type == CV_STUN_REALM ||
           type == CV_STUN_NONCE || type == CV_STUN_PASSWORD_ALGORITHM ||
           type == CV_STUN_USERHASH || type == CV_STUN_USE_CANDIDATE ||
           type == CV_STUN_UNKNOWN_ATTRIBUTES || type == CV_STUN_PADDING;
}

/* Of a check (RFC 8445, and ours)?  False: of none. */
static bool get_of_check(struct cv_stun *m, uint16_t type, struct cv_reader *r)
{
    switch (type) {
    case CV_STUN_PRIORITY:
        m->priority = cv_get_u32(r);
        m->has_priority = r->err == CV_OK;
        return true;
    case CV_STUN_PATH_ID:
        m->path_id = cv_get_u32(r);
        m->has_path_id = r->err == CV_OK;
        return true;
    case CV_STUN_SEND_TIME:
        m->send_time = cv_get_u64(r);
        m->has_send_time = r->err == CV_OK;
        return true;
    case CV_STUN_NETWORK_COST:
        cv_get_u16(r);
        m->cost = cv_get_u16(r);
        m->has_cost = r->err == CV_OK;
        return true;
    default:
        return false;
    }
}

static void note_unknown(struct cv_stun *m, uint16_t type)
{
    if (type >= 0x8000 || ignored(type))
        return;
    if (m->n_unknown < CV_STUN_UNKNOWN)
        m->unknown[m->n_unknown] = type;
    m->n_unknown++;
}

static void get_attribute(struct cv_stun *m, uint16_t type, struct cv_bytes v)
{
    struct cv_reader r;
    struct cv_addr a;
    uint32_t code;

    cv_reader_init(&r, v.data, v.len);
    switch (type) {
    case CV_STUN_XOR_MAPPED_ADDRESS:
        m->mapped = get_address(&r, m->txid);
        break;
    case CV_STUN_MAPPED_ADDRESS:
        a = get_address(&r, NULL);
        if (m->mapped.family == CV_FAMILY_NONE)
            m->mapped = a;
        break;
    case CV_STUN_OTHER_ADDRESS:
        m->other = get_address(&r, NULL);
        break;
    case CV_STUN_RESPONSE_ORIGIN:
        m->origin = get_address(&r, NULL);
        break;
    case CV_STUN_USERNAME:
        m->username = v;
        break;
    case CV_STUN_SOFTWARE:
        m->software = v;
        break;
    case CV_STUN_ERROR_CODE:
        code = cv_get_u32(&r);
        m->error = (uint16_t)(((code >> 8) & 7) * 100 + (code & 0xff));
        break;
    case CV_STUN_CHANGE_REQUEST:
        m->change = cv_get_u32(&r) & (CV_STUN_CHANGE_IP | CV_STUN_CHANGE_PORT);
        break;
    case CV_STUN_RESPONSE_PORT:
        m->response_port = cv_get_u16(&r);
        break;
    case CV_STUN_INTEGRITY_SHA256:
        if (v.len >= CV_STUN_MAC_SHORT && v.len <= CV_STUN_MAC_FULL &&
            v.len % 4 == 0)
            m->mac = v;
        else
            cv_reader_fail(&r);
        break;
    default:
        if (!get_of_check(m, type, &r))
            note_unknown(m, type);
        break;
    }
    /* Trailing bytes inside an attribute are tolerated, missing ones not. */
    if (r.err != CV_OK)
        m->type = 0;
}

/* Does the attribute's value fit the `before` bytes that precede it? */
static bool is_fingerprint(struct cv_bytes v, const uint8_t *data,
                           size_t before)
{
    struct cv_reader r;

    cv_reader_init(&r, v.data, v.len);
    return v.len == 4 &&
           cv_get_u32(&r) == (cv_crc32(data, before) ^ FINGERPRINT_XOR);
}

int cv_stun_parse(struct cv_stun *out, const void *data, size_t len)
{
    struct cv_stun m = {0};
    struct cv_reader r;
    uint16_t body;

    if (!cv_stun_is(data, len) || len > CV_STUN_MAX)
        return CV_ERR_FORMAT;
    m.raw = CV_BYTES(data, len);
    cv_reader_init(&r, data, len);
    m.type = cv_get_u16(&r);
    body = cv_get_u16(&r);
    cv_get_u32(&r);
    cv_get_raw(&r, m.txid, sizeof m.txid);
    if (body % 4 != 0 || body != cv_reader_left(&r))
        return CV_ERR_FORMAT;
    if (m.type != CV_STUN_REQUEST && m.type != CV_STUN_INDICATION &&
        m.type != CV_STUN_SUCCESS && m.type != CV_STUN_ERROR)
        return CV_ERR_FORMAT;

    while (cv_reader_left(&r) > 0) {
        const uint8_t *start = r.at;
        uint16_t type = cv_get_u16(&r);
        uint16_t n = cv_get_u16(&r);
        struct cv_bytes v = cv_get_bytes(&r, n);

        cv_get_bytes(&r, (4 - n % 4u) % 4u); /* padding, any value */
        if (r.err != CV_OK)
            return CV_ERR_FORMAT;
        if (type == CV_STUN_FINGERPRINT) {
            /* It must be the last one. */
            if (cv_reader_left(&r) > 0 ||
                !is_fingerprint(v, m.raw.data, (size_t)(start - m.raw.data)))
                return CV_ERR_FORMAT;
            m.fingerprint = true;
            break;
        }
        if (m.mac.len > 0)
            continue; /* nothing behind it is protected: RFC 8489, 14.6 */
        get_attribute(&m, type, v);
        if (m.type == 0)
            return CV_ERR_FORMAT;
    }
    *out = m;
    return CV_OK;
}

/* The MAC covers everything before its attribute, with a length field that
 * ends with it (RFC 8489, 14.6). */
static void message_mac(uint8_t out[CV_HASH_LEN], const uint8_t *message,
                        size_t before, size_t mac_len, const uint8_t *key,
                        size_t key_len)
{
    size_t body = before + 4 + mac_len - CV_STUN_HEADER;
    uint8_t field[2] = {(uint8_t)(body >> 8), (uint8_t)body};
    const struct cv_bytes parts[] = {
        CV_BYTES(message, 2),
        CV_BYTES(field, 2),
        CV_BYTES(message + 4, before - 4),
    };

    cv_hmac_sha256(out, key, key_len, parts, 3);
}

bool cv_stun_verify(const struct cv_stun *m, const uint8_t *key, size_t key_len)
{
    uint8_t mac[CV_HASH_LEN];
    bool ok;

    if (m->mac.len == 0)
        return false;
    message_mac(mac, m->raw.data, (size_t)(m->mac.data - 4 - m->raw.data),
                m->mac.len, key, key_len);
    ok = cv_equal(mac, m->mac.data, m->mac.len);
    cv_wipe(mac, sizeof mac);
    return ok;
}

static int set_length(struct cv_writer *w)
{
    if (w->err == CV_OK) {
        size_t body = w->len - CV_STUN_HEADER;

        assert(w->len >= CV_STUN_HEADER && body <= UINT16_MAX);
        w->data[2] = (uint8_t)(body >> 8);
        w->data[3] = (uint8_t)body;
    }
    return w->err;
}

int cv_stun_begin(struct cv_writer *w, enum cv_stun_type type,
                  const uint8_t txid[CV_STUN_TXID])
{
    cv_writer_reset(w);
    cv_put_u16(w, (uint16_t)type);
    cv_put_u16(w, 0);
    cv_put_u32(w, CV_STUN_COOKIE);
    return cv_put_raw(w, txid, CV_STUN_TXID);
}

int cv_stun_put(struct cv_writer *w, enum cv_stun_attr type, const void *data,
                size_t len)
{
    assert(len <= CV_STUN_MAX);
    cv_put_u16(w, (uint16_t)type);
    cv_put_u16(w, (uint16_t)len);
    cv_put_raw(w, data, len);
    cv_put_zeros(w, (4 - len % 4) % 4);
    return set_length(w);
}

int cv_stun_put_u32(struct cv_writer *w, enum cv_stun_attr type, uint32_t v)
{
    cv_put_u16(w, (uint16_t)type);
    cv_put_u16(w, 4);
    cv_put_u32(w, v);
    return set_length(w);
}

int cv_stun_put_u64(struct cv_writer *w, enum cv_stun_attr type, uint64_t v)
{
    cv_put_u16(w, (uint16_t)type);
    cv_put_u16(w, 8);
    cv_put_u64(w, v);
    return set_length(w);
}

int cv_stun_put_addr(struct cv_writer *w, enum cv_stun_attr type,
                     const struct cv_addr *a)
{
    size_t n = a->family == CV_FAMILY_IPV4 ? 4 : 16;

    cv_put_u16(w, (uint16_t)type);
    cv_put_u16(w, (uint16_t)(4 + n));
    cv_put_u8(w, 0);
    cv_put_u8(w, a->family == CV_FAMILY_IPV4 ? 1 : 2);
    cv_put_u16(w, a->port);
    cv_put_raw(w, a->ip, n);
    return set_length(w);
}

int cv_stun_put_xor_addr(struct cv_writer *w, const struct cv_addr *a)
{
    struct cv_addr x = *a;
    size_t n = a->family == CV_FAMILY_IPV4 ? 4 : 16;

    if (w->err != CV_OK)
        return w->err;
    /* Cookie and transaction id are the mask, and stand in the header. */
    x.port ^= (uint16_t)(CV_STUN_COOKIE >> 16);
    for (size_t i = 0; i < n; i++)
        x.ip[i] ^= w->data[4 + i];
    return cv_stun_put_addr(w, CV_STUN_XOR_MAPPED_ADDRESS, &x);
}

int cv_stun_put_error(struct cv_writer *w, unsigned code, const char *reason)
{
    uint8_t value[4 + 127];
    size_t n = strlen(reason);

    assert(code >= 300 && code <= 699 && n <= 127);
    value[0] = value[1] = 0;
    value[2] = (uint8_t)(code / 100);
    value[3] = (uint8_t)(code % 100);
    memcpy(value + 4, reason, n);
    return cv_stun_put(w, CV_STUN_ERROR_CODE, value, 4 + n);
}

int cv_stun_put_unknown(struct cv_writer *w, const struct cv_stun *request)
{
    uint8_t value[2 * CV_STUN_UNKNOWN];
    size_t n = 0;

    for (; n < request->n_unknown && n < CV_STUN_UNKNOWN; n++) {
        value[2 * n] = (uint8_t)(request->unknown[n] >> 8);
        value[2 * n + 1] = (uint8_t)request->unknown[n];
    }
    return cv_stun_put(w, CV_STUN_UNKNOWN_ATTRIBUTES, value, 2 * n);
}

int cv_stun_put_integrity(struct cv_writer *w, const uint8_t *key,
                          size_t key_len, size_t mac_len)
{
    uint8_t mac[CV_HASH_LEN];

    assert(mac_len >= CV_STUN_MAC_SHORT && mac_len <= CV_STUN_MAC_FULL &&
           mac_len % 4 == 0);
    if (w->err != CV_OK)
        return w->err;
    message_mac(mac, w->data, w->len, mac_len, key, key_len);
    return cv_stun_put(w, CV_STUN_INTEGRITY_SHA256, mac, mac_len);
}

int cv_stun_put_fingerprint(struct cv_writer *w)
{
    size_t body;
    uint32_t crc;
    uint8_t *at = cv_put_space(w, 8);

    if (!at)
        return w->err;
    /* The CRC covers a length that includes the attribute itself. */
    body = w->len - CV_STUN_HEADER;
    w->data[2] = (uint8_t)(body >> 8);
    w->data[3] = (uint8_t)body;
    crc = cv_crc32(w->data, w->len - 8) ^ FINGERPRINT_XOR;
    at[0] = (uint8_t)(CV_STUN_FINGERPRINT >> 8);
    at[1] = (uint8_t)(CV_STUN_FINGERPRINT & 0xff);
    at[2] = 0;
    at[3] = 4;
    at[4] = (uint8_t)(crc >> 24);
    at[5] = (uint8_t)(crc >> 16);
    at[6] = (uint8_t)(crc >> 8);
    at[7] = (uint8_t)crc;
    return CV_OK;
}
