/* discovery/token.h - a pointer or a knock as text, to be carried by hand where
 * there is no DHT.
 *
 *   covimhost1…   a pointer, and the session key that opens it: a secret
 *   covimguest1…  the knock that answers it, sealed to its sender
 *
 * Base32 in the letters of bech32, with a checksum of 40 bits; only the form,
 * rendezvous.h makes and takes what is in it.  Layout: docs/protocol.md, 4. */
#ifndef CV_DISCOVERY_TOKEN_H
#define CV_DISCOVERY_TOKEN_H
#include "base/key.h"

#define CV_TOKEN_LIFETIME_S 900u /* of a pointer */
#define CV_TOKEN_VALUE      1200u
#define CV_TOKEN_DIGEST     8
#define CV_TOKEN_TEXT       2048u /* bytes, with the NUL; most have about 900 */

enum cv_token_kind {
    CV_TOKEN_HOST,  /* a pointer */
    CV_TOKEN_GUEST, /* a knock */
};

struct cv_token {
    enum cv_token_kind kind;
    struct cv_key session;           /* of a host's */
    uint64_t epoch;                  /* … and of its pointer's place */
    uint8_t digest[CV_TOKEN_DIGEST]; /* of a guest's: the pointer knocked at */
    uint8_t slot;                    /* … and where */
    size_t len;
    uint8_t value[CV_TOKEN_VALUE]; /* as it would lie in the DHT */
};

/* Returns `out`, one line. */
char *cv_token_format(const struct cv_token *t, char out[CV_TOKEN_TEXT]);

/* Parse what somebody pasted: white space anywhere, either case.
 *
 * On CV_ERR_FORMAT `why` holds a sentence for the person: that it is a token of
 * the other kind, a key, incomplete or mistyped, and what to do. */
CV_MUST_USE int cv_token_parse(struct cv_token *out, enum cv_token_kind want,
                               const char *text, char *why, size_t why_len);

/* Does the text begin as a token of this kind does? */
bool cv_token_is(enum cv_token_kind kind, const char *text);
#endif
