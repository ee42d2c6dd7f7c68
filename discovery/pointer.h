/* discovery/pointer.h - the codec of a pointer: the signed and sealed record by
 * which a node says where it is and how to knock.
 *
 * Knows nothing of the DHT, of time or of what was seen before; the meeting
 * place does (rendezvous.h).  Layout: docs/protocol.md, 3. */
#ifndef CV_DISCOVERY_POINTER_H
#define CV_DISCOVERY_POINTER_H
#include "base/cert.h"
#include "discovery/location.h"
#include "discovery/record.h"

#define CV_POINTER_MAX        1200u /* hard limit; up to 600 is one packet */
#define CV_POINTER_LIFETIME_S 900u
#define CV_POINTER_KEEP       4u /* candidates worth a larger record */
#define CV_DIGEST_LEN         8

struct cv_pointer {
    uint64_t seq;       /* Unix milliseconds, but always more than the last */
    uint32_t not_after; /* Unix seconds */
    struct cv_key node;
    struct cv_cert cert;     /* of `node`; carries the identity */
    struct cv_grants grants; /* how the identity comes from S */
    uint8_t box[32];         /* X25519, knocks are sealed to it */
    uint8_t salt[CV_INBOX_SALT];
    uint16_t flags;                  /* CV_RECORD_*, without those of the NAT */
    struct cv_candidates candidates; /* with the NAT's flags */
    struct cv_gate_refs gates;
};

/* Sign and seal.  The record is 512 or 600 bytes if everything fits; else 600
 * if CV_POINTER_KEEP candidates do, else 1200, and the least preferred
 * candidates are dropped.
 *
 * Returns CV_OK, CV_ERR_NOBUF (not even without candidates), CV_ERR_INTERNAL
 * (signing failed). */
CV_MUST_USE int cv_pointer_seal(uint8_t out[CV_POINTER_MAX], size_t *len,
                                const struct cv_pointer *p,
                                const struct cv_place *place,
                                const struct cv_keypair *node,
                                const struct cv_rng *rng);

/* The plain bytes of an opened record, for its signature. */
struct cv_pointer_raw {
    uint8_t data[CV_POINTER_MAX];
    size_t len;        /* with padding */
    size_t signed_len; /* what the signature covers; it follows */
};

/* Open and take apart; nothing in it is proved yet.
 *
 * Returns CV_OK, CV_ERR_FORMAT (size, version, fields) or CV_ERR_AUTH (not
 * sealed with this place's key). */
CV_MUST_USE int cv_pointer_open(struct cv_pointer *out,
                                struct cv_pointer_raw *raw,
                                const struct cv_place *place,
                                struct cv_bytes value);
/* The second half of it: fills in all but raw->data and raw->len. */
CV_MUST_USE int cv_pointer_parse(struct cv_pointer *out,
                                 struct cv_pointer_raw *raw);

/* Does it hold: N <- I <- S, signed by N for this place, not over?
 * `now` is in Unix seconds.
 *
 * Returns CV_OK and then the role of I, CV_ERR_AUTH or CV_ERR_DENIED (forged),
 * or CV_ERR_EXPIRED. */
CV_MUST_USE int cv_pointer_verify(const struct cv_pointer *p,
                                  const struct cv_pointer_raw *raw,
                                  const struct cv_place *place,
                                  const struct cv_key *session, uint64_t now,
                                  enum cv_role *role, uint8_t *grant_flags);

/* What a knock names a pointer by: of the sealed bytes. */
void cv_pointer_digest(uint8_t out[CV_DIGEST_LEN], struct cv_bytes value);
/* Of the last `n` digests, one behind the other: is this one of them?  And note
 * one, in place of the oldest, which is number *at. */
bool cv_digest_is_in(const uint8_t *ring, unsigned n,
                     const uint8_t digest[CV_DIGEST_LEN]);
void cv_digest_note(uint8_t *ring, unsigned n, unsigned *at,
                    const uint8_t digest[CV_DIGEST_LEN]);
#endif
