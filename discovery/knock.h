/* discovery/knock.h - the codecs of a knock (a request to be let in, sealed to
 * one node) and of the answers to it.
 *
 * One attempt has one key pair `eph` whose X25519 result with the pointer's
 * `box` is the attempt's shared secret.  A knock that is said again in another
 * slot, or with further candidates, is sealed under an eph of its own and names
 * the first one inside.  Layout: docs/protocol.md, 4. */
#ifndef CV_DISCOVERY_KNOCK_H
#define CV_DISCOVERY_KNOCK_H
#include "base/cert.h"
#include "discovery/location.h"
#include "discovery/pointer.h"
#include "discovery/record.h"

#define CV_KNOCK_BYTES      600u
#define CV_KNOCK_CANDIDATES 6u
#define CV_KNOCK_GATES      1u
#define CV_KNOCK_NAME       32u
#define CV_REQ_ID_LEN       16
#define CV_ATTEMPT_ID_LEN   8 /* the first half of every req_id of an attempt */
#define CV_KNOCK_POW_MAX    24u /* bits that we are ready to work for */

enum cv_knock_proof {
    CV_PROOF_NONE = 0,
    CV_PROOF_GRANT = 1,  /* the last grant of the knocker's chain */
    CV_PROOF_INVITE = 2, /* id and HMAC of an invite's secret */
};

struct cv_knock {
    uint8_t req_id[CV_REQ_ID_LEN];
    uint64_t ptr_seq;                  /* of the pointer knocked at */
    uint8_t ptr_digest[CV_DIGEST_LEN]; /* of the same */
    struct cv_key node;
    struct cv_cert cert;
    enum cv_knock_proof proof;
    struct cv_grant grant;
    uint8_t invite_id[8];
    uint8_t invite_mac[16];
    char name[CV_KNOCK_NAME + 1]; /* UTF-8, as it came */
    bool again; /* `first_eph` is the attempt's, not the outer one */
    uint8_t first_eph[32];
    struct cv_candidates candidates;
    struct cv_gate_refs gates;
};

/* Sign, seal, and work until `pow_bits` leading bits are zero.  Least
 * preferred candidates are dropped until it fits, and gates beyond the first
 * CV_KNOCK_GATES.
 *
 * Returns CV_OK, CV_ERR_NOBUF, CV_ERR_AUTH (the box is no key), CV_ERR_INVALID
 * (too much work, or a name that is not UTF-8), CV_ERR_INTERNAL. */
CV_MUST_USE int cv_knock_seal(uint8_t out[CV_KNOCK_BYTES],
                              const struct cv_knock *k,
                              const struct cv_loc *inbox,
                              const uint8_t eph_secret[32],
                              const uint8_t box[32],
                              const struct cv_keypair *node, unsigned pow_bits);

/* Size, version and work: all that costs nothing. */
bool cv_knock_plausible(struct cv_bytes value, const struct cv_loc *inbox,
                        unsigned pow_bits);

struct cv_knock_raw {
    uint8_t data[CV_KNOCK_BYTES];
    size_t len;
    size_t signed_len;
    uint8_t eph[32];       /* of the envelope */
    uint8_t shared[32];    /* of the attempt: X25519(box, its eph); secret */
    uint8_t first_eph[32]; /* the attempt's eph, whichever way it came */
};

/* Open a plausible value; nothing in it is proved yet.
 *
 * Returns CV_OK, CV_ERR_FORMAT or CV_ERR_AUTH (not sealed to this box). */
CV_MUST_USE int cv_knock_open(struct cv_knock *out, struct cv_knock_raw *raw,
                              const struct cv_loc *inbox,
                              const uint8_t box_secret[32],
                              const uint8_t box[32], struct cv_bytes value);
/* The second half of it, on raw->data and raw->len. */
CV_MUST_USE int cv_knock_parse(struct cv_knock *out, struct cv_knock_raw *raw);

/* Signed by its node, certified by its identity?  `now` in Unix seconds.
 * CV_ERR_AUTH, CV_ERR_EXPIRED. */
CV_MUST_USE int cv_knock_verify(const struct cv_knock *k,
                                const struct cv_knock_raw *raw,
                                const struct cv_loc *inbox,
                                const uint8_t box[32], uint64_t now);

#define CV_ANSWER_BYTES 512u

struct cv_answer {
    uint8_t req_id[CV_REQ_ID_LEN];
    uint32_t counter; /* from 1, only grows */
    uint8_t verdict;  /* enum cv_verdict of rendezvous.h */
    struct cv_candidates candidates;
    struct cv_gate_refs gates;
    uint16_t rtt_ms; /* hint; 0: not known */
    uint8_t plan;    /* of punching; 0: not said */
    uint16_t t0_ms;  /* from now on; 0: not said */
};

#define CV_ANSWER_VERDICTS 4 /* ok, ask, no, busy */

CV_MUST_USE int cv_answer_seal(uint8_t out[CV_ANSWER_BYTES],
                               const struct cv_answer *a,
                               const struct cv_reply *reply,
                               const uint8_t eph[32], const uint8_t box[32],
                               const struct cv_keypair *node);

struct cv_answer_raw {
    uint8_t data[CV_ANSWER_BYTES];
    size_t len;
    size_t signed_len;
};

/* CV_ERR_FORMAT, CV_ERR_AUTH. */
CV_MUST_USE int cv_answer_open(struct cv_answer *out, struct cv_answer_raw *raw,
                               const struct cv_reply *reply,
                               struct cv_bytes value);
/* The second half of it; does not set the counter. */
CV_MUST_USE int cv_answer_parse(struct cv_answer *out,
                                struct cv_answer_raw *raw);
/* Signed by `node` for this attempt? */
CV_MUST_USE int cv_answer_verify(const struct cv_answer *a,
                                 const struct cv_answer_raw *raw,
                                 const uint8_t eph[32], const uint8_t box[32],
                                 const struct cv_key *node);
#endif
