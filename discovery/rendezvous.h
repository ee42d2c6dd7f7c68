/* discovery/rendezvous.h - one session's meeting place: publish our pointer,
 * find the others', knock, be knocked at, answer.
 *
 * Everything that comes out is verified (docs/protocol.md): signatures,
 * certificate, grants, times, sequence; what fails is dropped and counted.
 * It speaks to the DHT through struct cv_dht (discovery/dht.h), which tests
 * replace, and takes time from the loop's owner: no clock of its own. */
#ifndef CV_DISCOVERY_RENDEZVOUS_H
#define CV_DISCOVERY_RENDEZVOUS_H
#include "base/cert.h"
#include "base/contact.h"
#include "base/crypto.h"
#include "base/keytext.h"
#include "base/log.h"
#include "base/time.h"

struct cv_dht;   /* discovery/dht.h */
struct cv_token; /* discovery/token.h */
struct cv_rendezvous;

#define CV_NAME_MAX 32 /* bytes of a name in a knock, UTF-8 */

/* A verified pointer of another node. */
struct cv_pointer_info {
    struct cv_key node;     /* N */
    struct cv_key identity; /* I */
    enum cv_role role;      /* by its grants, verified back to S */
    bool admits;            /* may let newcomers in */
    bool gone;              /* it has left: forget it */
    bool knock_again;       /* its inbox key changed under an unanswered knock
                               of ours: a new cv_rendezvous_knock() is better
                               than waiting for the old one */
    uint64_t seq;
    uint64_t not_after; /* Unix seconds */
    struct cv_candidates candidates;
};

/* A verified knock at our inbox. */
struct cv_knock_info {
    struct cv_contact contact;  /* ready for transport; knocked == false */
    char name[CV_NAME_MAX + 1]; /* UTF-8, control characters removed */
    bool has_grant;             /* its last grant was carried and is by S or a
                                   member; the chain comes in hello */
    bool is_update;             /* same knocker, further candidates */
};

enum cv_verdict {
    CV_VERDICT_OK,
    CV_VERDICT_ASK,
    CV_VERDICT_NO,
    CV_VERDICT_BUSY,
};

/* A verified answer to a knock of ours. */
struct cv_answer_info {
    struct cv_contact contact; /* as knocked, with the answer's candidates */
    enum cv_verdict verdict;
};

enum cv_rendezvous_stage {
    CV_RV_SEARCHING,   /* no pointer seen yet */
    CV_RV_FOUND,       /* at least one living pointer */
    CV_RV_PUBLISHED,   /* our pointer was read back from the DHT */
    CV_RV_UNPUBLISHED, /* putting or reading back failed; it is retried */
};

struct cv_rendezvous_events {
    void (*stage)(void *user, enum cv_rendezvous_stage stage);
    /* New, changed or gone.  Called again when its candidates change. */
    void (*pointer)(void *user, const struct cv_pointer_info *p);
    void (*knock)(void *user, const struct cv_knock_info *k);
    void (*answer)(void *user, const struct cv_answer_info *a);
};

/* --- a second place for pointers, beside the DHT: gates --- */

struct cv_rendezvous_shelf {
    /* Keep our sealed pointer at this location for `ttl_s`, in the place of the
     * one before. */
    void (*store)(void *user, const uint8_t loc[20], unsigned ttl_s,
                  struct cv_bytes sealed);
    /* What others keep there; cv_rendezvous_found() for each. */
    void (*look)(void *user, const uint8_t loc[20]);
};

struct cv_rendezvous_config {
    struct cv_dht *dht;                      /* kept */
    struct cv_log *log;                      /* kept, may be NULL */
    const struct cv_rng *rng;                /* kept */
    struct cv_key session;                   /* S */
    const struct cv_keypair *node;           /* kept: N */
    struct cv_cert cert;                     /* of N by I */
    const struct cv_rendezvous_shelf *shelf; /* kept, with `user`; may be
                                                NULL */
};

/* What was dropped, by reason; for status, doctor and tests. */
struct cv_rendezvous_counters {
    uint64_t pointers_ok, pointers_garbage, pointers_forged, pointers_expired,
        pointers_replayed;
    uint64_t knocks_ok, knocks_garbage, knocks_forged, knocks_replayed,
        knocks_stale, knocks_limited;
    uint64_t answers_ok, answers_bad;
};

CV_MUST_USE int cv_rendezvous_new(struct cv_rendezvous **out,
                                  const struct cv_rendezvous_config *config,
                                  const struct cv_rendezvous_events *events,
                                  void *user);
void cv_rendezvous_free(struct cv_rendezvous *rv);

/* Time: call at or after the deadline, and once after each call below. */
cv_time cv_rendezvous_deadline(const struct cv_rendezvous *rv);
void cv_rendezvous_step(struct cv_rendezvous *rv, cv_time now,
                        cv_unix_ms unix_now);

/* Look for the others' pointers, until switched off. */
void cv_rendezvous_search(struct cv_rendezvous *rv, bool on);
/* Somebody is connected now, or nobody is any more: until somebody is, all
 * places are looked at again and again, whatever was found there. */
void cv_rendezvous_connected(struct cv_rendezvous *rv, bool connected);

/* Publish our pointer and serve our inbox; again whenever something changed.
 * CV_ERR_AUTH when the grants do not make our identity a member. */
CV_MUST_USE int cv_rendezvous_publish(struct cv_rendezvous *rv,
                                      const struct cv_grants *grants,
                                      const struct cv_candidates *own);
/* Publish a last pointer that says we are gone, and stop serving.
 * `done(user)` at the latest after 2 s. */
void cv_rendezvous_withdraw(struct cv_rendezvous *rv, void (*done)(void *user),
                            void *user);

/* Knock at a node whose pointer was reported.  Fills `contact` for transport
 * (knocked == true).  The knock is repeated in the next slot after 1 s, and
 * after 3, 10, 20, 60 s and every minute, until an answer came, for 15 min, or
 * until cv_rendezvous_stop_knocking().
 * A second call for the same node sends further candidates.
 * CV_ERR_NOTFOUND: no living pointer of that node. */
CV_MUST_USE int cv_rendezvous_knock(struct cv_rendezvous *rv,
                                    const struct cv_key *node, const char *name,
                                    const struct cv_grants *grants,
                                    const struct cv_candidates *own,
                                    struct cv_contact *contact);
void cv_rendezvous_stop_knocking(struct cv_rendezvous *rv,
                                 const struct cv_key *node);

/* Answer a knock, by its attempt id; may be called again with news. */
int cv_rendezvous_answer(struct cv_rendezvous *rv, const uint8_t attempt[8],
                         enum cv_verdict verdict,
                         const struct cv_candidates *own);

/* Something was found on the shelf, by anybody. */
void cv_rendezvous_found(struct cv_rendezvous *rv, const uint8_t loc[20],
                         struct cv_bytes sealed);

/* --- at gates: the same knock, handed over by a gate --- */

#define CV_RENDEZVOUS_ROOMS 4
/* The keys of the rooms in which our pointers let us be rung; they change with
 * the hour.  Returns how many. */
unsigned cv_rendezvous_rooms(const struct cv_rendezvous *rv,
                             uint8_t out[CV_RENDEZVOUS_ROOMS][CV_ROOM_KEY]);
/* Somebody rang in the room of this key, with cv_contact.ring of the other
 * side.  Its knock is reported, unless it came by the DHT already
 * (CV_ERR_EXISTS).  Else as cv_inbox_take(), or, when it answers a token of
 * ours, as cv_rendezvous_take_knock(). */
int cv_rendezvous_take_ring(struct cv_rendezvous *rv,
                            const uint8_t room_key[CV_ROOM_KEY],
                            struct cv_bytes ring);

/* --- by hand: pointer and knock as tokens, no network needed --- */

/* A pointer of ours for one guest: good for 15 min, and for one knock.
 * CV_ERR_AUTH (the grants do not make us a member), CV_ERR_AGAIN (before the
 * first step), CV_ERR_NOMEM, CV_ERR_NOBUF. */
CV_MUST_USE int cv_rendezvous_invite(struct cv_rendezvous *rv,
                                     const struct cv_grants *grants,
                                     const struct cv_candidates *own,
                                     struct cv_token *out);
/* Take such a token: its pointer is reported, then `*node` is whose it is.
 * CV_ERR_INVALID: of another session, or no host's; else as cv_book_take(). */
CV_MUST_USE int cv_rendezvous_take_pointer(struct cv_rendezvous *rv,
                                           const struct cv_token *t,
                                           struct cv_key *node);
/* As cv_rendezvous_knock(), but the knock goes into `out` and, as the ring of
 * `contact`, to the host's gates; at the pointer that is known of the node
 * now. */
CV_MUST_USE int
cv_rendezvous_knock_by_hand(struct cv_rendezvous *rv, const struct cv_key *node,
                            const char *name, const struct cv_grants *grants,
                            const struct cv_candidates *own,
                            struct cv_contact *contact, struct cv_token *out);
/* Take the guest's token: its knock is reported, unless it was rung with at a
 * gate before.
 *   CV_ERR_NOTFOUND  answers no token of ours
 *   CV_ERR_REPLAY    another knock has used that token
 *   CV_ERR_EXPIRED   that token's 15 minutes are over
 *   else as cv_inbox_take() */
CV_MUST_USE int cv_rendezvous_take_knock(struct cv_rendezvous *rv,
                                         const struct cv_token *t);

void cv_rendezvous_counters(const struct cv_rendezvous *rv,
                            struct cv_rendezvous_counters *out);
#endif
