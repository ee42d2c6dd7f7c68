/* transport/checks.h - authenticated path checks: STUN Binding requests and
 * responses under keys that only the two ends of an attempt know.
 *
 *   request   USERNAME attempt[8] | PRIORITY | PATH-ID | SEND-TIME |
 *             MESSAGE-INTEGRITY-SHA256 (16 bytes) | FINGERPRINT     88 bytes
 *   response  XOR-MAPPED-ADDRESS | MESSAGE-INTEGRITY-SHA256 | FINGERPRINT
 *                                                          60 or 72 bytes
 *
 * Each end signs its requests with its own key; a response is signed with the
 * key of the request that it answers.  A transaction id is accepted once.  A
 * response counts only for a transaction of ours that is still open, from the
 * address that it was sent to.
 *
 * The first keys come from the knock's shared secret.  When the handshake is
 * confirmed, keys of the TLS exporter replace them; the old ones are good for
 * ten more seconds, for what is in flight, and then wiped.
 *
 * Pure: owns no socket and no clock. */
#ifndef CV_TRANSPORT_CHECKS_H
#define CV_TRANSPORT_CHECKS_H
#include "base/crypto.h"
#include "base/time.h"
#include "transport/path.h"
#include "transport/stun.h"

#define CV_CHECK_KEY       32
#define CV_CHECK_MAX       100  /* bytes of a request, at most */
#define CV_CHECK_OPEN      128  /* transactions of ours that are remembered */
#define CV_CHECK_WINDOW    1024 /* transaction ids of theirs, a key */
#define CV_CHECK_OPEN_TIME (10 * CV_SECOND)
#define CV_CHECK_OLD_TIME  (10 * CV_SECOND)
#define CV_CHECK_SWITCH    (2 * CV_SECOND)
#define CV_CHECK_EXPORTER  "EXPORTER-covim-checks"

struct cv_check_keys {
    bool set;
    uint8_t ours[CV_CHECK_KEY];   /* of requests that we send */
    uint8_t theirs[CV_CHECK_KEY]; /* of requests that we get */
    /* The first 8 bytes of ids that were accepted, a ring. */
    uint64_t seen[CV_CHECK_WINDOW];
    unsigned n_seen;
};

struct cv_check_sent {
    bool open;
    bool old_key;
    uint8_t txid[CV_STUN_TXID];
    struct cv_path_addr to;
    cv_time at;
};

struct cv_checks {
    const struct cv_rng *rng; /* kept */
    uint8_t attempt[8];
    bool joiner;
    struct cv_check_keys now; /* the keys in use */
    struct cv_check_keys old; /* still accepted until `old_until` */
    cv_time old_until;        /* CV_NEVER: none */
    cv_time switch_at; /* we sign with `now` from then on, or as soon as the
                          peer does */
    struct cv_check_sent sent[CV_CHECK_OPEN];
    unsigned next; /* ring position in `sent` */
};

enum cv_check_kind {
    CV_CHECK_REQUEST,
    CV_CHECK_RESPONSE,
};

struct cv_check {
    enum cv_check_kind kind;
    bool old_key; /* which keys it was made with */
    /* of a request */
    uint32_t path_id;
    uint16_t cost;
    /* of a response */
    struct cv_addr mapped; /* our address as the peer sees it */
    cv_time rtt;
};

/* `rng` is kept. `joiner`: this end knocked. */
void cv_checks_init(struct cv_checks *c, const struct cv_rng *rng,
                    const uint8_t attempt[8], const uint8_t shared[32],
                    bool joiner);
/* Wipe the keys. */
void cv_checks_fini(struct cv_checks *c);

/* Replace the keys by `exported` (joiner's, then sharer's). */
void cv_checks_rekey(struct cv_checks *c, const uint8_t exported[64],
                     cv_time now);

/* Write a request for `to` and remember it.  CV_ERR_NOBUF below
 * CV_CHECK_MAX bytes of room. */
CV_MUST_USE int cv_checks_request(struct cv_checks *c, cv_time now,
                                  const struct cv_path_addr *to,
                                  uint32_t path_id, struct cv_writer *out);

/* Verify what came.  On CV_OK `out` says what it is; a request is then marked
 * as seen and wants an answer, a response has closed its transaction.
 *   CV_ERR_NOTFOUND  not of this attempt, or no open transaction
 *   CV_ERR_AUTH      wrong or no MAC
 *   CV_ERR_REPLAY    a request that was seen before
 *   CV_ERR_FORMAT    something else than a request or success response, or
 *                    one with attributes that we do not understand */
CV_MUST_USE int cv_checks_receive(struct cv_checks *c, cv_time now,
                                  const struct cv_path_addr *from,
                                  const struct cv_stun *m,
                                  struct cv_check *out);

/* The answer to an accepted request, never longer than it. */
CV_MUST_USE int cv_checks_answer(const struct cv_checks *c,
                                 const struct cv_stun *request,
                                 const struct cv_check *check,
                                 const struct cv_path_addr *from,
                                 struct cv_writer *out);
#endif
