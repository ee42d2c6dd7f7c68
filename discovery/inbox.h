/* discovery/inbox.h - where others knock: the box keys, what was seen, who is
 * waiting for an answer.
 *
 * An *office* is an inbox with its box key and salt: one an epoch, and a new
 * one after a flood.  It is open as long as a pointer that names it can be
 * believed; the one that a flood closed in the DHT, for knocks that come over
 * gates, since who has just read the old pointer knocks there.  Owns no timer
 * and no DHT. */
#ifndef CV_DISCOVERY_INBOX_H
#define CV_DISCOVERY_INBOX_H
#include "base/bucket.h"
#include "discovery/knock.h"

#define CV_OFFICES         3u        /* this epoch's and its neighbours' */
#define CV_OFFICES_MOVED   3u        /* of before; the oldest is given up */
#define CV_OFFICE_POINTERS 16u       /* remembered */
#define CV_OFFICE_RECENT   3u        /* of those, the last three count */
#define CV_OFFICE_GRACE    CV_MINUTE /* and all that are not older than this */
#define CV_OFFICE_REQUESTS 1024u     /* knocks; then a new office is due */
#define CV_INBOX_SEEN      256u /* values recognised without opening them */
#define CV_INBOX_ATTEMPTS  64u  /* knockers waiting */
/* 20 knocks a second overall, a quarter for each slot, so that who floods one
 * slot does not close the others. */
#define CV_INBOX_SLOT_RATE  5u
#define CV_INBOX_SLOT_BURST 20u
/* And as many over gates and by hand, whatever lies in the DHT; a gate lets one
 * a second pass from one address. */
#define CV_INBOX_RING_RATE  20u
#define CV_INBOX_RING_BURST 40u
/* Of one node: attempts, and as many times further candidates.  A member that
 * roams makes one for every new address, and is lost while it may not: its
 * share fills up evenly, so that the knock said again a second later is let
 * in. */
#define CV_INBOX_NODE_RATE  2u
#define CV_INBOX_NODE_BURST 30u
/* So much junk in the DHT within ten seconds is a flood. */
#define CV_INBOX_FLOOD      100u
#define CV_INBOX_FLOOD_TIME (10 * CV_SECOND)

struct cv_office_pointer {
    uint8_t digest[CV_DIGEST_LEN];
    cv_time at;
};

struct cv_office {
    bool open;
    uint64_t epoch;
    uint8_t secret[32];
    uint8_t box[32];
    uint8_t salt[CV_INBOX_SALT];
    struct cv_loc loc[CV_INBOX_SLOTS];
    uint8_t room[CV_ROOM_KEY]; /* r of its epoch, for gates */
    uint64_t not_after;  /* of the last pointer that named it, Unix seconds */
    unsigned n_pointers; /* ever; the ring holds the last */
    struct cv_office_pointer pointers[CV_OFFICE_POINTERS];
    unsigned n_requests;
    uint8_t requests[CV_OFFICE_REQUESTS][CV_REQ_ID_LEN];
};

/* Somebody who knocked. */
struct cv_attempt {
    bool used;
    uint8_t req_id[CV_REQ_ID_LEN]; /* of the latest knock */
    struct cv_key node;
    struct cv_key identity;
    uint8_t shared[32];
    uint8_t eph[32];
    uint8_t box[32];
    uint64_t ptr_seq;                   /* of the pointer knocked at */
    cv_time at;                         /* of the first knock */
    struct cv_bucket attempts, updates; /* its node's */
    uint32_t counter;                   /* of the last answer; 0: none yet */
    uint8_t answer[CV_ANSWER_BYTES];
    cv_time answered;
    cv_dht_token put; /* for the owner of the DHT */
};

struct cv_inbox {
    struct cv_root root;
    struct cv_key node;
    struct cv_office offices[CV_OFFICES];
    struct cv_office moved[CV_OFFICES_MOVED];
    unsigned moved_at; /* where the next one goes */
    uint8_t seen[CV_INBOX_SEEN][CV_DIGEST_LEN];
    unsigned seen_at;
    struct cv_bucket slots[CV_INBOX_SLOTS];
    struct cv_bucket rings;
    struct cv_attempt attempts[CV_INBOX_ATTEMPTS];
    cv_time junk_since;
    unsigned junk;
};

void cv_inbox_init(struct cv_inbox *in, const struct cv_root *root,
                   const struct cv_key *node);
void cv_inbox_fini(struct cv_inbox *in); /* wipes the keys */

/* The office that pointers of this epoch name; NULL: none is open. */
struct cv_office *cv_inbox_office(struct cv_inbox *in, uint64_t epoch);
/* Open one in a closed place, which must exist. */
struct cv_office *cv_inbox_open(struct cv_inbox *in, struct cv_office *place,
                                uint64_t epoch, const struct cv_rng *rng);
void cv_office_close(struct cv_office *o);
/* Close it to the DHT, and keep it for what comes over gates. */
void cv_inbox_move(struct cv_inbox *in, struct cv_office *o);
/* Note a pointer that names it; without this, knocks are refused. */
void cv_office_named(struct cv_office *o, struct cv_bytes pointer,
                     uint32_t not_after, cv_time now);

/* What a value that came has proved to be. */
struct cv_inbox_taken {
    struct cv_knock knock;
    struct cv_attempt *attempt;
    bool is_update; /* the attempt was known */
};

/* Take a value that lay in a slot of an open office.
 *
 * On CV_OK *out is proved.  Otherwise nothing changed but counts:
 *   CV_ERR_EXISTS    seen before, byte for byte
 *   CV_ERR_FORMAT    garbage, or not sealed to this office
 *   CV_ERR_NOTFOUND  knocks at a pointer that no longer counts, or is of an
 *                    attempt that the same node has given up since
 *   CV_ERR_EXPIRED   its certificate is over
 *   CV_ERR_REPLAY    req_id seen before; out->attempt is set if it is waiting
 *   CV_ERR_AUTH      forged
 *   CV_ERR_LIMIT     too many just now */
CV_MUST_USE int cv_inbox_take(struct cv_inbox *in, struct cv_office *o,
                              unsigned slot, struct cv_bytes value, cv_time now,
                              uint64_t now_s, struct cv_inbox_taken *out);
/* The same of what came over a gate, for an office whose room has this key, be
 * it one that has moved; CV_ERR_CLOSED when there is none. */
CV_MUST_USE int cv_inbox_take_ring(struct cv_inbox *in,
                                   const uint8_t room[CV_ROOM_KEY],
                                   unsigned slot, struct cv_bytes value,
                                   cv_time now, uint64_t now_s,
                                   struct cv_inbox_taken *out);
/* The same of what came over a gate or by hand, for an office that no pointer
 * in the DHT names. */
CV_MUST_USE int cv_inbox_take_token(struct cv_inbox *in, struct cv_office *o,
                                    unsigned slot, struct cv_bytes value,
                                    cv_time now, uint64_t now_s,
                                    struct cv_inbox_taken *out);

/* By attempt id; NULL if there is none. */
struct cv_attempt *cv_inbox_attempt(struct cv_inbox *in,
                                    const uint8_t id[CV_ATTEMPT_ID_LEN]);
/* Is so much junk coming, or is an office so full, that a new one is due? */
bool cv_inbox_flooded(const struct cv_inbox *in, const struct cv_office *o);
#endif
