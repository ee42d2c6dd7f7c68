/* discovery/location.h - where the records of a session lie, and under which
 * keys they are sealed.
 *
 * All of it derives from the session key S, so that only those who were given
 * S can find, open or leave anything, and all of it but the reply changes with
 * the hour.  Derivations: docs/protocol.md, 2. */
#ifndef CV_DISCOVERY_LOCATION_H
#define CV_DISCOVERY_LOCATION_H
#include "base/contact.h"
#include "base/key.h"
#include "base/time.h"
#include "discovery/dht.h"

#define CV_EPOCH_S         3600u /* limits tracking and targeted Sybils */
#define CV_EPOCH_OVERLAP_S 300u  /* published under e and e + 1 at e's end */
#define CV_INBOX_SLOTS     4u    /* four spread a flood */
#define CV_INBOX_SALT      16

/* The secret that all places of a session share; wipe with cv_wipe. */
struct cv_root {
    uint8_t b[32];
};

void cv_root_of(struct cv_root *out, const struct cv_key *session);

/* floor(unix / 3600) */
uint64_t cv_epoch_at(cv_unix_ms now);
/* Is `now` in the last five minutes of its epoch? */
bool cv_epoch_ending(cv_unix_ms now);

/* Where pointers of one epoch lie, and what they are sealed with. */
struct cv_place {
    uint64_t epoch;
    struct cv_loc loc;
    uint8_t key[CV_SEAL_KEY];
};

void cv_place_at(struct cv_place *out, const struct cv_root *root,
                 uint64_t epoch);

/* A slot (0..CV_INBOX_SLOTS - 1) of the inbox that `node` announces, with this
 * salt, in its pointer of this epoch. */
void cv_inbox_loc(struct cv_loc *out, const struct cv_root *root,
                  uint64_t epoch, const struct cv_key *node,
                  const uint8_t salt[CV_INBOX_SALT], unsigned slot);
/* The slot in which `knocker` knocks first. */
unsigned cv_inbox_slot(const struct cv_key *knocker);

/* r of the room in which members of the session are rung at gates, in this
 * epoch: HKDF(root, "room" || e). */
void cv_room_key(uint8_t out[CV_ROOM_KEY], const struct cv_root *root,
                 uint64_t epoch);

/* Where answers to a knock lie; `shared` is its X25519 result. */
struct cv_reply {
    struct cv_loc loc;
    uint8_t key[CV_SEAL_KEY];
};

void cv_reply_of(struct cv_reply *out, const uint8_t shared[32]);

bool cv_loc_equal(const struct cv_loc *a, const struct cv_loc *b);
#endif
