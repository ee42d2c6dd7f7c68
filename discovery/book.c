#include "discovery/book.h"

#include <string.h>

void cv_book_init(struct cv_book *book, const struct cv_key *session,
                  const struct cv_key *own)
{
    memset(book, 0, sizeof(*book));
    book->session = *session;
    book->own = *own;
    cv_bucket_init(&book->checks, CV_BOOK_RATE, CV_BOOK_BURST);
}

static bool is_over(const struct cv_book_entry *e, uint64_t now_s)
{
    return (uint64_t)e->p.not_after + CV_CLOCK_SLACK_S <= now_s;
}

static struct cv_book_entry *find(struct cv_book *book,
                                  const struct cv_key *node)
{
    for (unsigned i = 0; i < CV_BOOK_NODES; i++) {
        struct cv_book_entry *e = &book->entries[i];

        if (e->used && cv_key_equal(&e->p.node, node))
            return e;
    }
    return NULL;
}

/* Room for a new node of `identity`: its own oldest when it has its share,
 * else a free place; NULL when there is none. */
static struct cv_book_entry *room_for(struct cv_book *book,
                                      const struct cv_key *identity)
{
    struct cv_book_entry *oldest = NULL, *unused = NULL;
    unsigned share = 0;

    for (unsigned i = 0; i < CV_BOOK_NODES; i++) {
        struct cv_book_entry *e = &book->entries[i];

        if (!e->used) {
            unused = e;
        } else if (cv_key_equal(&e->p.cert.identity, identity)) {
            share++;
            if (oldest == NULL || e->p.seq < oldest->p.seq)
                oldest = e;
        }
    }
    return share >= CV_BOOK_PER_IDENTITY ? oldest : unused;
}

int cv_book_take(struct cv_book *book, const struct cv_place *place,
                 struct cv_bytes value, cv_time now, uint64_t now_s,
                 struct cv_book_entry **out)
{
    struct cv_pointer_raw raw;
    uint8_t digest[CV_DIGEST_LEN];
    struct cv_book_entry *e;
    struct cv_pointer p;
    enum cv_role role = CV_ROLE_NONE;
    uint8_t grant_flags = 0;
    int err;

    cv_pointer_digest(digest, value);
    if (cv_digest_is_in(&book->seen[0][0], CV_BOOK_SEEN, digest))
        return CV_ERR_EXISTS;
    if (cv_pointer_open(&p, &raw, place, value) != CV_OK) {
        cv_digest_note(&book->seen[0][0], CV_BOOK_SEEN, &book->seen_at, digest);
        return CV_ERR_FORMAT;
    }
    if (cv_key_equal(&p.node, &book->own))
        return CV_ERR_EXISTS;
    e = find(book, &p.node);
    if (e != NULL && p.seq <= e->p.seq) {
        cv_digest_note(&book->seen[0][0], CV_BOOK_SEEN, &book->seen_at, digest);
        return CV_ERR_REPLAY;
    }
    if (!cv_bucket_take(&book->checks, now))
        return CV_ERR_LIMIT;
    err = cv_pointer_verify(&p, &raw, place, &book->session, now_s, &role,
                            &grant_flags);
    if (err == CV_ERR_EXPIRED)
        return err;
    if (err == CV_OK && e == NULL) {
        e = room_for(book, &p.cert.identity);
        if (e == NULL)
            return CV_ERR_LIMIT;
    }
    cv_digest_note(&book->seen[0][0], CV_BOOK_SEEN, &book->seen_at, digest);
    if (err != CV_OK)
        return CV_ERR_AUTH;
    e->used = true;
    e->role = role;
    e->admits = (p.flags & CV_RECORD_ADMITS) && (grant_flags & CV_GRANT_ADMIT);
    e->epoch = place->epoch;
    memcpy(e->digest, digest, sizeof(digest));
    e->p = p;
    *out = e;
    return CV_OK;
}

struct cv_book_entry *cv_book_living(struct cv_book *book,
                                     const struct cv_key *node, uint64_t now_s)
{
    struct cv_book_entry *e = find(book, node);

    if (e == NULL || is_over(e, now_s) || (e->p.flags & CV_RECORD_GONE))
        return NULL;
    return e;
}

void cv_book_expire(struct cv_book *book, uint64_t now_s)
{
    for (unsigned i = 0; i < CV_BOOK_NODES; i++) {
        struct cv_book_entry *e = &book->entries[i];

        if (e->used && is_over(e, now_s))
            e->used = false;
    }
}
