/* base/keytext.h - keys as people paste them: bech32m (BIP 350).
 *
 *   covim1…      session key; with an invite secret it is longer
 *   covimid1…    identity
 *   covimgate1…  gate
 * One 5-bit group of version (0), then the bytes. */
#ifndef CV_BASE_KEYTEXT_H
#define CV_BASE_KEYTEXT_H
#include "base/key.h"

#define CV_INVITE_LEN     16
#define CV_KEYTEXT_LEN    65 /* "covim1…" without an invite */
#define CV_KEYTEXT_INVITE 90 /* with one */
#define CV_KEYTEXT_MAX    (CV_KEYTEXT_INVITE + 1) /* and the NUL */

enum cv_keytext_kind {
    CV_KEYTEXT_SESSION,
    CV_KEYTEXT_IDENTITY,
    CV_KEYTEXT_GATE,
};

struct cv_keytext {
    enum cv_keytext_kind kind;
    struct cv_key key;
    bool has_invite;
    uint8_t invite[CV_INVITE_LEN];
};

/* Returns `out`. */
char *cv_keytext_format(const struct cv_keytext *k, char out[CV_KEYTEXT_MAX]);

/* Parse what somebody pasted: white space anywhere and either case (not mixed
 * ones, as BIP 173 asks) are accepted, and 64 hex digits as a session key.
 *
 * On CV_ERR_FORMAT `why` holds a sentence for the person: which character is
 * wrong (up to two wrong ones are located, positions from 1), that the length
 * is off ("mistyped or incomplete (length 64, expected 65 or 90)"), or which
 * kind of key it is instead of `want`. */
CV_MUST_USE int cv_keytext_parse(struct cv_keytext *out,
                                 enum cv_keytext_kind want, const char *text,
                                 char *why, size_t why_len);

/* Four groups of five base32 letters of SHA-256(key): what people compare. */
#define CV_FINGERPRINT_TEXT 24
char *cv_fingerprint(const struct cv_key *key, char out[CV_FINGERPRINT_TEXT]);
#endif
