/* base/crypto.h - hashes, key derivation, sealing, key agreement (nettle).
 *
 * Ed25519 signatures are in base/key.h.  HKDF is RFC 5869 over SHA-256,
 * extract then expand; sealing is ChaCha20-Poly1305 (RFC 8439). */
#ifndef CV_BASE_CRYPTO_H
#define CV_BASE_CRYPTO_H
#include "base/bytes.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CV_HASH_LEN  32
#define CV_SEAL_KEY  32
#define CV_SEAL_TAG  16
#define CV_NONCE_LEN 12

/* Where protocol modules get randomness from: the real one below, or a seeded
 * one in tests/sim. */
struct cv_rng {
    void (*fill)(void *user, void *out, size_t len);
    void *user;
};
extern const struct cv_rng cv_rng_system;
void cv_random(const struct cv_rng *rng, void *out, size_t len);
uint64_t cv_random_u64(const struct cv_rng *rng);

/* A repeatable generator (splitmix64) for tests and simulations only. */
struct cv_rng_seeded {
    uint64_t state;
};
struct cv_rng cv_rng_from_seed(struct cv_rng_seeded *state, uint64_t seed);

void cv_wipe(void *data, size_t len);
bool cv_equal(const void *a, const void *b, size_t len); /* constant time */

/* Over the concatenation of parts[n]. */
void cv_sha256(uint8_t out[CV_HASH_LEN], const struct cv_bytes *parts,
               size_t n);
/* For WebSocket's handshake only (RFC 6455, 4.2.2): SHA-1 is broken. */
void cv_sha1(uint8_t out[20], const struct cv_bytes *parts, size_t n);
void cv_hmac_sha256(uint8_t out[CV_HASH_LEN], const uint8_t *key,
                    size_t key_len, const struct cv_bytes *parts, size_t n);
/* HKDF-Extract(salt, ikm), then Expand(info = parts[n]) to `len` <= 255*32. */
void cv_hkdf(uint8_t *out, size_t len, struct cv_bytes salt,
             struct cv_bytes ikm, const struct cv_bytes *info, size_t n);
/* HKDF-Expand only, from a 32-byte pseudo-random key. */
void cv_hkdf_expand(uint8_t *out, size_t len, const uint8_t prk[32],
                    const struct cv_bytes *info, size_t n);

/* out: len + CV_SEAL_TAG bytes; may be the same memory as `data`. */
void cv_seal(uint8_t *out, const uint8_t key[CV_SEAL_KEY],
             const uint8_t nonce[CV_NONCE_LEN], struct cv_bytes aad,
             const uint8_t *data, size_t len);
/* `len` counts the tag; out: len - CV_SEAL_TAG bytes.  CV_ERR_AUTH leaves
 * `out` zeroed. */
CV_MUST_USE int cv_open(uint8_t *out, const uint8_t key[CV_SEAL_KEY],
                        const uint8_t nonce[CV_NONCE_LEN], struct cv_bytes aad,
                        const uint8_t *data, size_t len);

/* X25519, RFC 7748.  CV_ERR_AUTH for an all-zero result. */
void cv_x25519_public(uint8_t pub[32], const uint8_t secret[32]);
CV_MUST_USE int cv_x25519(uint8_t shared[32], const uint8_t secret[32],
                          const uint8_t pub[32]);
uint32_t cv_crc32(const void *data, size_t len); /* zlib's */
#endif
