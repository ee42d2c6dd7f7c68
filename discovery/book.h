/* discovery/book.h - the verified pointers of a session, one a node.
 *
 * Takes whatever lay at a place of the session, proves it, and keeps the
 * newest of each node.  Owns no timer and no DHT. */
#ifndef CV_DISCOVERY_BOOK_H
#define CV_DISCOVERY_BOOK_H
#include "base/bucket.h"
#include "discovery/pointer.h"

#define CV_BOOK_NODES        64u  /* nodes kept */
#define CV_BOOK_PER_IDENTITY 8u   /* of those, by one identity */
#define CV_BOOK_SEEN         128u /* values recognised without opening them */
/* Records opened a second, and at once: some 0.7 ms each. */
#define CV_BOOK_RATE  50u
#define CV_BOOK_BURST 64u

struct cv_book_entry {
    bool used;
    enum cv_role role;
    bool admits;
    uint64_t epoch; /* of the place where it lay */
    uint8_t digest[CV_DIGEST_LEN];
    struct cv_pointer p;
};

struct cv_book {
    struct cv_key session;
    struct cv_key own; /* our node, whose pointers are not taken */
    struct cv_bucket checks;
    uint8_t seen[CV_BOOK_SEEN][CV_DIGEST_LEN];
    unsigned seen_at;
    struct cv_book_entry entries[CV_BOOK_NODES];
};

void cv_book_init(struct cv_book *book, const struct cv_key *session,
                  const struct cv_key *own);

/* Take a value that lay at `place`.  `now_s` is Unix time.
 *
 * On CV_OK *out is the new or changed entry.  Otherwise nothing changed:
 *   CV_ERR_EXISTS   seen before, byte for byte, or our own
 *   CV_ERR_FORMAT   garbage, or not sealed for this place
 *   CV_ERR_AUTH     forged: signature, certificate or grants
 *   CV_ERR_EXPIRED  it, its certificate or a grant is over
 *   CV_ERR_REPLAY   older than what is known of that node
 *   CV_ERR_LIMIT    too many nodes, or too many records just now */
CV_MUST_USE int cv_book_take(struct cv_book *book, const struct cv_place *place,
                             struct cv_bytes value, cv_time now, uint64_t now_s,
                             struct cv_book_entry **out);

/* The pointer of a node that has neither left nor expired, or NULL. */
struct cv_book_entry *cv_book_living(struct cv_book *book,
                                     const struct cv_key *node, uint64_t now_s);
/* Forget what has expired. */
void cv_book_expire(struct cv_book *book, uint64_t now_s);
#endif
