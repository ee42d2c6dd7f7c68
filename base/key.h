/* base/key.h - Ed25519 keys (RFC 8032) through GnuTLS, and the identity file.
 */
#ifndef CV_BASE_KEY_H
#define CV_BASE_KEY_H
#include "base/bytes.h"
#include "base/crypto.h"
#include "base/log.h"
#include <stdbool.h>
#include <stdint.h>

#define CV_KEY_LEN 32
#define CV_SIG_LEN 64

struct cv_key { /* a public key */
    uint8_t b[CV_KEY_LEN];
};

struct cv_keypair {
    struct cv_key pub;
    uint8_t seed[CV_KEY_LEN]; /* secret; wipe with cv_wipe */
};

CV_MUST_USE int cv_keypair_from_seed(struct cv_keypair *out,
                                     const uint8_t seed[CV_KEY_LEN]);
CV_MUST_USE int cv_keypair_generate(struct cv_keypair *out,
                                    const struct cv_rng *rng);
/* Sign the concatenation of parts[n]. */
CV_MUST_USE int cv_sign(uint8_t sig[CV_SIG_LEN], const struct cv_keypair *key,
                        const struct cv_bytes *parts, size_t n);
/* CV_ERR_AUTH if the signature is not by `key`. */
CV_MUST_USE int cv_verify(const struct cv_key *key,
                          const uint8_t sig[CV_SIG_LEN],
                          const struct cv_bytes *parts, size_t n);

bool cv_key_equal(const struct cv_key *a, const struct cv_key *b);
int cv_key_compare(const struct cv_key *a, const struct cv_key *b);
/* The first 8 hex digits, for logs; returns `out`. */
char *cv_key_short(const struct cv_key *key, char out[9]);

/* Load the identity of the user from `path`, or make it (folders 0700, file
 * 0600, O_EXCL, then rename).
 *
 * Returns CV_OK, or
 *   CV_ERR_PERM    the file or its folder is open to others, or not ours
 *   CV_ERR_FORMAT  the file is damaged
 *   CV_ERR_IO      it could not be read or written
 *   CV_ERR_NOMEM
 * and then a sentence that says what to do is in `why` (NUL-terminated). */
CV_MUST_USE int cv_identity_load(struct cv_keypair *out, const char *path,
                                 char *why, size_t why_len);

/* $XDG_DATA_HOME/covim or ~/.local/share/covim; CV_ERR_NOTFOUND without a
 * home.  The folder is not made. */
CV_MUST_USE int cv_data_dir(char *out, size_t len);
/* Make `path` and its missing parents, 0700; CV_ERR_PERM if the last one is
 * open to others or not ours. */
CV_MUST_USE int cv_private_dir(const char *path);
#endif
