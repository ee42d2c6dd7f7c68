#include "base/crypto.h"

#include <assert.h>
#include <errno.h>
#include <nettle/chacha-poly1305.h>
#include <nettle/curve25519.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <threads.h>

static_assert(CV_HASH_LEN == SHA256_DIGEST_SIZE, "");
static_assert(CV_SEAL_KEY == CHACHA_POLY1305_KEY_SIZE, "");
static_assert(CV_SEAL_TAG == CHACHA_POLY1305_DIGEST_SIZE, "");
static_assert(CV_NONCE_LEN == CHACHA_POLY1305_NONCE_SIZE, "");

/* ---- randomness ---- */

static void fill_system(void *user, void *out, size_t len)
{
    uint8_t *p = out;

    (void)user;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            /* Keys that are not random are worse than no program. */
            fprintf(stderr, "covim: the kernel gives no random numbers\n");
            abort();
        }
        p += n;
        len -= (size_t)n;
    }
}

const struct cv_rng cv_rng_system = {fill_system, NULL};

void cv_random(const struct cv_rng *rng, void *out, size_t len)
{
    if (len)
        rng->fill(rng->user, out, len);
}

uint64_t cv_random_u64(const struct cv_rng *rng)
{
    uint64_t v;

    cv_random(rng, &v, sizeof(v));
    return v;
}

static void fill_seeded(void *user, void *out, size_t len)
{
    struct cv_rng_seeded *state = user;
    uint8_t *p = out;

    while (len > 0) {
        uint64_t z = state->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        for (int i = 0; i < 8 && len > 0; i++, len--, z >>= 8)
            *p++ = (uint8_t)z;
    }
}

struct cv_rng cv_rng_from_seed(struct cv_rng_seeded *state, uint64_t seed)
{
    state->state = seed;
    return (struct cv_rng){fill_seeded, state};
}

void cv_wipe(void *data, size_t len)
{
    explicit_bzero(data, len);
}

bool cv_equal(const void *a, const void *b, size_t len)
{
    return memeql_sec(a, b, len);
}

/* ---- hashes ---- */

void cv_sha256(uint8_t out[CV_HASH_LEN], const struct cv_bytes *parts, size_t n)
{
    struct sha256_ctx ctx;

    sha256_init(&ctx);
    for (size_t i = 0; i < n; i++)
        sha256_update(&ctx, parts[i].len, parts[i].data);
    sha256_digest(&ctx, CV_HASH_LEN, out);
    cv_wipe(&ctx, sizeof(ctx));
}

void cv_sha1(uint8_t out[20], const struct cv_bytes *parts, size_t n)
{
    struct sha1_ctx ctx;

    sha1_init(&ctx);
    for (size_t i = 0; i < n; i++)
        sha1_update(&ctx, parts[i].len, parts[i].data);
    sha1_digest(&ctx, SHA1_DIGEST_SIZE, out);
}

void cv_hmac_sha256(uint8_t out[CV_HASH_LEN], const uint8_t *key,
                    size_t key_len, const struct cv_bytes *parts, size_t n)
{
    struct hmac_sha256_ctx ctx;

    hmac_sha256_set_key(&ctx, key_len, key);
    for (size_t i = 0; i < n; i++)
        hmac_sha256_update(&ctx, parts[i].len, parts[i].data);
    hmac_sha256_digest(&ctx, CV_HASH_LEN, out);
    cv_wipe(&ctx, sizeof(ctx));
}

void cv_hkdf_expand(uint8_t *out, size_t len, const uint8_t prk[32],
                    const struct cv_bytes *info, size_t n)
{
    struct hmac_sha256_ctx ctx;
    uint8_t block[CV_HASH_LEN];

    assert(len <= (size_t)255 * CV_HASH_LEN);
    hmac_sha256_set_key(&ctx, CV_HASH_LEN, prk);
    for (uint8_t counter = 1; len > 0; counter++) {
        size_t part = len < CV_HASH_LEN ? len : CV_HASH_LEN;

        if (counter > 1)
            hmac_sha256_update(&ctx, CV_HASH_LEN, block);
        for (size_t i = 0; i < n; i++)
            hmac_sha256_update(&ctx, info[i].len, info[i].data);
        hmac_sha256_update(&ctx, 1, &counter);
        hmac_sha256_digest(&ctx, CV_HASH_LEN, block); /* keeps the key */
        memcpy(out, block, part);
        out += part;
        len -= part;
    }
    cv_wipe(&ctx, sizeof(ctx));
    cv_wipe(block, sizeof(block));
}

void cv_hkdf(uint8_t *out, size_t len, struct cv_bytes salt,
             struct cv_bytes ikm, const struct cv_bytes *info, size_t n)
{
    uint8_t prk[CV_HASH_LEN];

    cv_hmac_sha256(prk, salt.data, salt.len, &ikm, 1);
    cv_hkdf_expand(out, len, prk, info, n);
    cv_wipe(prk, sizeof(prk));
}

/* ---- sealing ---- */

static void aead_start(struct chacha_poly1305_ctx *ctx,
                       const uint8_t key[CV_SEAL_KEY],
                       const uint8_t nonce[CV_NONCE_LEN], struct cv_bytes aad)
{
    chacha_poly1305_set_key(ctx, key);
    chacha_poly1305_set_nonce(ctx, nonce);
    chacha_poly1305_update(ctx, aad.len, aad.data);
}

void cv_seal(uint8_t *out, const uint8_t key[CV_SEAL_KEY],
             const uint8_t nonce[CV_NONCE_LEN], struct cv_bytes aad,
             const uint8_t *data, size_t len)
{
    struct chacha_poly1305_ctx ctx;

    aead_start(&ctx, key, nonce, aad);
    chacha_poly1305_encrypt(&ctx, len, out, data);
    chacha_poly1305_digest(&ctx, CV_SEAL_TAG, out + len);
    cv_wipe(&ctx, sizeof(ctx));
}

int cv_open(uint8_t *out, const uint8_t key[CV_SEAL_KEY],
            const uint8_t nonce[CV_NONCE_LEN], struct cv_bytes aad,
            const uint8_t *data, size_t len)
{
    struct chacha_poly1305_ctx ctx;
    uint8_t tag[CV_SEAL_TAG];
    bool right;

    if (len < CV_SEAL_TAG)
        return CV_ERR_AUTH; /* no room in `out` to clear */
    len -= CV_SEAL_TAG;
    aead_start(&ctx, key, nonce, aad);
    chacha_poly1305_decrypt(&ctx, len, out, data);
    chacha_poly1305_digest(&ctx, CV_SEAL_TAG, tag);
    cv_wipe(&ctx, sizeof(ctx));
    right = cv_equal(tag, data + len, CV_SEAL_TAG);
    if (!right)
        cv_wipe(out, len);
    return right ? CV_OK : CV_ERR_AUTH;
}

/* ---- key agreement ---- */

void cv_x25519_public(uint8_t pub[32], const uint8_t secret[32])
{
    curve25519_mul_g(pub, secret);
}

int cv_x25519(uint8_t shared[32], const uint8_t secret[32],
              const uint8_t pub[32])
{
    static const uint8_t zeros[32];

    curve25519_mul(shared, secret, pub);
    return cv_equal(shared, zeros, 32) ? CV_ERR_AUTH : CV_OK;
}

/* ---- checksum ---- */

/* table[k][b]: what byte b does to the sum k bytes later ("slicing by 8",
 * Kounavis and Berry, 2005). */
static uint32_t table[8][256];
static once_flag table_once = ONCE_FLAG_INIT;

static void make_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
        table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++)
            table[k][b] =
                table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

uint32_t cv_crc32(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t crc = UINT32_MAX;

    call_once(&table_once, make_table);
    for (; len >= 8; len -= 8, p += 8) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
               (uint32_t)p[3] << 24;
        crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^
              table[5][crc >> 16 & 0xff] ^ table[4][crc >> 24] ^
              table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; len; len--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
    return ~crc;
}
