/* session/sync_struct.h - the inside of a link of a document:
 *
 *   sync.c        its life, its time, and what goes to all links
 *   sync_queue.c  messages that wait for room in the stream
 *   sync_input.c  what the neighbour sends
 *
 * people.c and authors.c look at who is at the other end. */
#ifndef CV_SESSION_SYNC_STRUCT_H
#define CV_SESSION_SYNC_STRUCT_H
#include "session/document_struct.h"

/* Messages on a link whose ack is awaited; more are remembered coarsely. */
#define CV_DOCUMENT_AWAITED 256
/* Clients whose units updates of a link wait for; with more it is settled when
 * nothing waits at all. */
#define CV_DOCUMENT_NEEDS 32

enum cv_document_part {
    CV_PART_MORE = 0,
    CV_PART_LAST = 1,
    CV_PART_ABANDON = 2, /* forget those that came */
};

enum cv_outgoing_kind {
    OUTGOING_STEP1,
    OUTGOING_STEP2,  /* counted: the peer will ack it */
    OUTGOING_UPDATE, /* the same */
    OUTGOING_BY,     /* belongs to the update behind it */
    OUTGOING_OTHER,
};

/* A message that waits for room in the stream. */
struct cv_outgoing {
    struct cv_outgoing *next;
    enum cv_outgoing_kind kind;
    uint64_t seq; /* local commits that it and all before it bring */
    size_t len;
    size_t at; /* sent so far, in parts */
    uint8_t data[];
};

enum cv_link_state {
    CV_LINK_WAITING, /* for a step1; updates would be of no use yet */
    CV_LINK_IN_STEP, /* gets every update */
    CV_LINK_LAGGING, /* too slow: updates are dropped until the queue is empty,
                        then it is asked for a step1 */
};

struct cv_document_link {
    struct cv_document *d;
    struct cv_document_link_config config;
    enum cv_role role; /* theirs */
    enum cv_link_state state;
    bool dead; /* sending failed for good */
    bool full; /* the stream said CV_ERR_AGAIN */

    struct cv_outgoing *first;
    struct cv_outgoing **last;
    size_t queued;       /* bytes */
    size_t other_queued; /* of them OUTGOING_OTHER */
    unsigned step1s;     /* in the queue */
    unsigned step2s;
    bool awareness_owed; /* cursors changed while the stream was full */

    uint64_t client; /* of the peer's replica; 0: not told yet */
    bool passed_on;  /* the next update was made by… */
    uint64_t by;     /* …this replica; 0: nobody knows */
    struct cv_writer parts;

    uint64_t sent; /* counted messages handed to the stream */
    uint64_t sent_acked;
    struct {
        uint64_t count; /* when this many are acked… */
        uint64_t seq;   /* …so many commits are shared */
    } awaited[CV_DOCUMENT_AWAITED];
    unsigned n_awaited;

    uint64_t received; /* counted messages that came and were applied */
    uint64_t received_acked;
    /* Updates of it are not integrated before these units are known. */
    struct {
        uint64_t client, end;
    } needs[CV_DOCUMENT_NEEDS];
    unsigned n_needs;
    bool needs_all;           /* there were more */
    uint64_t received_marked; /* so many can be acked when… */
    uint64_t ack_mark;        /* …the journal has kept this */
    cv_time ack_due;
    cv_time repair_due; /* CV_NEVER: nothing happened since the last */
    /* A step1 that came while the answer to the last still waits. */
    uint8_t *asked;
    size_t asked_len;
};

static inline bool cv_links_may_write(const struct cv_document_link *l)
{
    return l->role >= CV_ROLE_EDITOR;
}

/* --- sync.c --- */
CV_MUST_USE int cv_links_step1(struct cv_document_link *l);
/* The answer to a step1; from here on the peer gets every update. */
CV_MUST_USE int cv_links_step2(struct cv_document_link *l,
                               struct cv_bytes vector);
/* Something happened: a repair becomes due. */
void cv_links_traffic(struct cv_document_link *l);

/* --- sync_queue.c --- */
/* Send a message, or let it wait behind others.  `seq`: so many local commits
 * are shared when it is acked.  CV_ERR_NOMEM. */
CV_MUST_USE int cv_queue_put(struct cv_document_link *l,
                             struct cv_bytes message,
                             enum cv_outgoing_kind kind, uint64_t seq);
/* A message that has no meaning for the order of updates, and is small.  What
 * a stopped peer makes wait is bounded too. */
void cv_queue_small(struct cv_document_link *l, struct cv_bytes message);
void cv_queue_number(struct cv_document_link *l, uint64_t kind, uint64_t n);
/* Send as much as the stream takes. */
void cv_queue_pump(struct cv_document_link *l);
/* Updates that wait are no longer ours to send. */
void cv_queue_drop_updates(struct cv_document_link *l);
void cv_queue_clear(struct cv_document_link *l);

/* --- sync_input.c --- */
/* Is all that this link brought integrated?  What others brought may wait for
 * ever, and that is no matter of this link. */
bool cv_links_settled(struct cv_document_link *l);
#endif
