/* discovery/rendezvous_struct.h - what the parts of a meeting place share: its
 * state, and what each part does for the others.  Nobody else includes it.
 *
 *   rendezvous.c          the search, the time, the whole
 *   rendezvous_publish.c  our pointer
 *   rendezvous_inbox.c    knocks at us, our answers
 *   rendezvous_knock.c    our knocks, answers to them
 *   rendezvous_token.c    pointers and knocks that are carried by hand
 *
 * Values come between two steps, at the time of the last one; the deadline is
 * never more than a tick away while anything is listened to, so that this time
 * is at most a second old. */
#ifndef CV_DISCOVERY_RENDEZVOUS_STRUCT_H
#define CV_DISCOVERY_RENDEZVOUS_STRUCT_H
#include "discovery/book.h"
#include "discovery/dht.h"
#include "discovery/inbox.h"
#include "discovery/knock.h"
#include "discovery/location.h"
#include "discovery/pointer.h"
#include "discovery/rendezvous.h"
#include "discovery/token.h"

#define TICK CV_SECOND /* of whoever is listening */

#define WATCHES 3u  /* e - 1, e, e + 1 */
#define KNOCKS  16u /* attempts of ours at once */
/* Tokens of ours that are remembered; each serves once. */
#define INVITATIONS 16u

/* A place that we search. */
struct watch {
    struct cv_rendezvous *rv;
    bool used;
    struct cv_place place;
    cv_dht_token listen;
    cv_dht_token get;
    cv_time next_get;
    unsigned gets;
    cv_time next_look; /* at the shelf */
    unsigned looks;
};

/* A slot of an office that we serve. */
struct desk {
    struct cv_rendezvous *rv;
    unsigned office, slot;
    cv_dht_token listen;
};

enum publish_state {
    PUBLISH_OFF,
    PUBLISH_DUE,       /* at `publish_at` */
    PUBLISH_PLACED,    /* put; the get at `verify_at` has not said */
    PUBLISH_PUBLISHED, /* read back; again at `publish_at` */
    PUBLISH_FAILED,    /* not read back; again at `publish_at` */
    PUBLISH_LEAVING,   /* the last pointer is put; until `leave_at` */
};

/* What we put at one place; one for e, one for e + 1. */
struct record {
    struct cv_rendezvous *rv;
    bool used;
    struct cv_place place;
    uint8_t digest[CV_DIGEST_LEN];
    cv_dht_token put;
    bool done; /* the put called back */
};

struct publisher {
    enum publish_state state;
    struct cv_grants grants;
    struct cv_candidates own;
    uint8_t grant_flags;
    uint64_t seq; /* of the last pointer */
    struct record records[2];
    uint64_t last_epoch; /* the latest that a pointer lies under */
    cv_time publish_at;
    cv_time published; /* when the last was put */
    cv_time verify_at;
    cv_dht_token verify;
    bool verifying;
    unsigned failures;
    unsigned changes; /* tokens of the rate limit above */
    cv_time changes_at;
    cv_time leave_at;
    void (*left)(void *user);
    void *left_user;
    cv_time rotated;
};

/* A token of ours, and the office that it names. */
struct invitation {
    bool used;
    struct cv_office *office; /* NULL: answered, or its time is over */
    bool spent;               /* answered */
    bool rung;                /* ... by this knock, that came over a gate */
    uint8_t knock[CV_DIGEST_LEN];
    cv_time made;
    uint8_t digest[CV_DIGEST_LEN]; /* of the pointer */
};

/* An attempt of ours. */
struct knocking {
    struct cv_rendezvous *rv;
    bool used;
    struct cv_contact contact;
    uint8_t req_id[CV_REQ_ID_LEN];
    uint8_t eph_secret[32];
    uint8_t eph[32];
    /* Of the pointer knocked at; box stays, the others follow newer ones. */
    uint8_t box[32];
    uint8_t salt[CV_INBOX_SALT];
    uint64_t epoch;
    uint64_t ptr_seq;
    uint32_t ptr_not_after;
    uint8_t ptr_digest[CV_DIGEST_LEN];
    unsigned pow_bits;
    char name[CV_NAME_MAX + 1];
    struct cv_grants grants;
    struct cv_candidates own;
    unsigned slot;
    unsigned said; /* times; index of the schedule */
    bool eph_used; /* the attempt's own eph has sealed a knock */
    bool by_hand;  /* said once, as a token, and waited for */
    cv_time started;
    cv_time next;
    bool answered;
    uint32_t counter; /* of the last answer */
    struct cv_reply reply;
    cv_dht_token listen;
    /* With each repetition, for a listen can be lost; and a few times in the
     * first second, for it takes that long to begin. */
    cv_dht_token get;
    unsigned polls;
    uint8_t bad[8][CV_DIGEST_LEN]; /* the last that were dropped */
    unsigned n_bad;
    cv_dht_token puts[CV_INBOX_SLOTS];
};

struct cv_rendezvous {
    struct cv_rendezvous_config config;
    struct cv_rendezvous_events events;
    void *user;
    struct cv_root root;
    cv_time now;
    cv_unix_ms unix_now;
    bool stepped;
    unsigned depth; /* calls in progress that touch this afterwards */
    bool freed;     /* … and then free it */
    struct cv_rendezvous_counters counters;

    bool searching;
    bool found; /* anything, since the search began */
    bool connected;
    cv_time search_began;
    struct watch watches[WATCHES];
    struct cv_book book;

    struct publisher pub;
    struct cv_inbox inbox;
    struct desk desks[CV_OFFICES][CV_INBOX_SLOTS];

    struct knocking knocks[KNOCKS];
    struct invitation invitations[INVITATIONS];
};

/* Around everything that may call back: the callback may free us, which then
 * happens with the last leave; until then `freed` is set. */
void cv_rv_enter(struct cv_rendezvous *rv);
void cv_rv_leave(struct cv_rendezvous *rv);
uint64_t cv_rv_unix_s(const struct cv_rendezvous *rv);
uint64_t cv_rv_epoch(const struct cv_rendezvous *rv);
void cv_rv_emit(struct cv_rendezvous *rv, enum cv_rendezvous_stage stage);

/* The DHT; cancelling clears the token. */
cv_dht_token cv_rv_put(struct cv_rendezvous *rv, const struct cv_loc *loc,
                       struct cv_bytes value, cv_dht_done_fn done, void *user);
cv_dht_token cv_rv_get(struct cv_rendezvous *rv, const struct cv_loc *loc,
                       cv_dht_value_fn value, cv_dht_done_fn done, void *user);
cv_dht_token cv_rv_listen(struct cv_rendezvous *rv, const struct cv_loc *loc,
                          cv_dht_value_fn value, void *user);
void cv_rv_cancel(struct cv_rendezvous *rv, cv_dht_token *token);

void cv_rv_report_pointer(struct cv_rendezvous *rv,
                          const struct cv_book_entry *e);

/* Publishing. */
/* Seal a pointer of ours that names this office, and note it there. */
CV_MUST_USE int
cv_rv_seal_pointer(struct cv_rendezvous *rv, struct cv_office *o,
                   const struct cv_place *place, const struct cv_grants *grants,
                   uint8_t grant_flags, const struct cv_candidates *own,
                   uint8_t value[CV_POINTER_MAX], size_t *len);
void cv_rv_publish_step(struct cv_rendezvous *rv);
cv_time cv_rv_publish_deadline(const struct cv_rendezvous *rv);
void cv_rv_publish_close(struct cv_rendezvous *rv);

/* The inbox.  An office is opened for a pointer that will name it. */
void cv_rv_inbox_step(struct cv_rendezvous *rv);
void cv_rv_inbox_close(struct cv_rendezvous *rv);
struct cv_office *cv_rv_office_for(struct cv_rendezvous *rv, uint64_t epoch);
/* All of them, for good; or what lies in the DHT does not count any more. */
void cv_rv_offices_close(struct cv_rendezvous *rv);
void cv_rv_offices_move(struct cv_rendezvous *rv);
void cv_rv_report_knock(struct cv_rendezvous *rv, const struct cv_knock *k,
                        const struct cv_attempt *a, bool is_update,
                        bool by_hand);

/* By hand. */
#define CV_RING_TOKEN 0x80 /* first byte of a ring; of others the slot */
/* How the knock of a guest's token is rung with; returns how long it is. */
size_t cv_rv_token_ring(uint8_t out[CV_RING_MAX], const struct cv_token *t);
/* As cv_rendezvous_take_knock(), and CV_ERR_FORMAT. */
int cv_rv_take_token_ring(struct cv_rendezvous *rv, struct cv_bytes ring);
void cv_rv_invitations_step(struct cv_rendezvous *rv);
void cv_rv_invitations_close(struct cv_rendezvous *rv);

/* Our knocks.  A newer pointer: is our knock too late for it? */
void cv_rv_knocks_step(struct cv_rendezvous *rv);
cv_time cv_rv_knocks_deadline(const struct cv_rendezvous *rv);
void cv_rv_knocks_close(struct cv_rendezvous *rv);
bool cv_rv_knock_pointer(struct cv_rendezvous *rv,
                         const struct cv_book_entry *e);
#endif
