#include "transport/quic_impl.h"
#include <string.h>

#define INITIAL_MIN 1200u /* RFC 9000, 14.1 */
#define VERSION_1   1u

bool cv_quic_packet_dcid(const uint8_t *data, size_t len,
                         struct cv_quic_cid *out)
{
    if (len < 1 + CV_QUIC_CID_LEN || !(data[0] & 0x40))
        return false;
    if (!(data[0] & 0x80)) {
        *out = (struct cv_quic_cid){.len = CV_QUIC_CID_LEN};
        memcpy(out->b, data + 1, CV_QUIC_CID_LEN);
        return true;
    }
    /* flags | u32 version | u8 length | id (RFC 8999, 5.1) */
    if (data[1] != 0 || data[2] != 0 || data[3] != 0 || data[4] != VERSION_1)
        return false;
    if (data[5] == 0 || data[5] > CV_QUIC_CID_MAX || len - 6 < data[5])
        return false;
    *out = cv_quic_cid_from(data + 6, data[5]);
    return true;
}

size_t cv_quic_packet_run(const uint8_t *data, size_t len, size_t segment)
{
    size_t at;

    for (at = segment; at < len; at += segment)
        if (len - at < 1 + CV_QUIC_CID_LEN || (data[0] & 0xc0) != 0x40 ||
            (data[at] & 0xc0) != 0x40 ||
            memcmp(data + at + 1, data + 1, CV_QUIC_CID_LEN) != 0)
            return at;
    return len;
}

bool cv_quic_packet_is_initial(const uint8_t *data, size_t len)
{
    struct cv_quic_cid dcid;

    return len >= INITIAL_MIN && cv_quic_packet_dcid(data, len, &dcid) &&
           (data[0] & 0xf0) == 0xc0 && dcid.len >= NGTCP2_MIN_INITIAL_DCIDLEN;
}

socklen_t cv_quic_carrier_address(const struct cv_addr *from,
                                  struct sockaddr_storage *ss)
{
    socklen_t len;

    memset(ss, 0, sizeof(*ss));
    len = cv_addr_to_sockaddr(from, ss);
    return len > 0 ? len : sizeof(struct sockaddr_in6);
}

size_t cv_quic_write_retry(struct cv_quic_ctx *ctx, uint8_t *out, size_t cap,
                           const uint8_t *data, size_t len,
                           const struct cv_addr *from, cv_time now)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
    struct sockaddr_storage ss;
    socklen_t ss_len = cv_quic_carrier_address(from, &ss);
    ngtcp2_pkt_hd hd;
    ngtcp2_cid scid;
    ngtcp2_ssize n;

    if (!cv_quic_packet_is_initial(data, len) ||
        ngtcp2_accept(&hd, data, len) != 0)
        return 0;
    cv_quic_make_cid(ctx, &scid, CV_QUIC_CID_LEN);
    n = ngtcp2_crypto_generate_retry_token(
        token, ctx->retry_secret, sizeof(ctx->retry_secret), hd.version,
        (ngtcp2_sockaddr *)&ss, ss_len, &scid, &hd.dcid, cv_quic_ts(now));
    if (n < 0)
        return 0;
    n = ngtcp2_crypto_write_retry(out, cap < len ? cap : len, hd.version,
                                  &hd.scid, &scid, &hd.dcid, token, (size_t)n);
    return n < 0 ? 0 : (size_t)n;
}

/* Ours are random bytes and the token, shorter than what provoked them so that
 * two nodes without memory do not answer each other for ever (RFC 9000,
 * 10.3.3). */
size_t cv_quic_write_reset(struct cv_quic_ctx *ctx, uint8_t *out, size_t cap,
                           const uint8_t *data, size_t len)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN], noise[24];
    size_t total = len > 40 ? 40 : len - 1;
    struct cv_quic_cid dcid;
    ngtcp2_cid cid;
    ngtcp2_ssize n;

    if (len <= NGTCP2_STATELESS_RESET_TOKENLEN +
                   NGTCP2_MIN_STATELESS_RESET_RANDLEN ||
        cap < total || (data[0] & 0x80) ||
        !cv_quic_packet_dcid(data, len, &dcid))
        return 0;
    ngtcp2_cid_init(&cid, dcid.b, dcid.len);
    if (ngtcp2_crypto_generate_stateless_reset_token(
            token, ctx->reset_secret, sizeof(ctx->reset_secret), &cid) != 0)
        return 0;
    cv_random(ctx->rng, noise, sizeof(noise));
    n = ngtcp2_pkt_write_stateless_reset(out, total, token, noise,
                                         total - sizeof(token));
    return n < 0 ? 0 : (size_t)n;
}
