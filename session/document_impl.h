/* session/document_impl.h - what the session does with a document: make it,
 * link it with neighbours, drive its timers.
 *
 * A link is one stream to one member.  It carries messages; how a message is
 * framed on the stream is the session's (varuint length and the bytes).  None
 * is longer than CV_DOCUMENT_MESSAGE_MAX: what is larger is cut into parts
 * here, so neither side has to buffer a document to move a keystroke.
 *
 *   message := varuint kind, body
 *    0 sync       a message of y-protocols (crdt/sync.h)
 *    1 awareness  varbytes awareness update (crdt/awareness.h)
 *   64 who        varuint client id of the sender's replica
 *   65 ack        varuint n: of the step2 and update messages received on this
 *                 link, the first n are integrated and in the journal
 *   66 ask        please send step1 again: updates may have been dropped
 *   67 part       u8 0 more follow, 1 the last, 2 forget them; bytes: a piece
 *                 of one longer message
 *   68 claim      n times: session/claims.h
 *   69 by         varuint client id of the replica that made the next update
 *                 (0: not known), which is passed on; without it, it is the
 *                 sender's own
 * Other kinds are ignored.
 *
 * Each side begins with who, step1, its claims and its awareness; answers a
 * step1 with a step2; and then sends an update for each local commit and for
 * what it learns from others.  A viewer neither answers nor sends updates. */
#ifndef CV_SESSION_DOCUMENT_IMPL_H
#define CV_SESSION_DOCUMENT_IMPL_H
#include "base/cert.h"
#include "session/document.h"
#include "session/journal.h"

#define CV_DOCUMENT_MESSAGE_MAX (64u * 1024u)   /* bytes of one message */
#define CV_DOCUMENT_QUEUE_MAX   (1024u * 1024u) /* waits for a slow neighbour */
#define CV_DOCUMENT_LINKS_MAX   64              /* with so many at a time */
#define CV_DOCUMENT_REPAIR      (60 * CV_SECOND)      /* step1 again */
#define CV_DOCUMENT_ACK_DELAY   (20 * CV_MILLISECOND) /* acks are gathered */
#define CV_DOCUMENT_KEPT_DELAY  (10 * CV_MILLISECOND) /* so is `kept` */
#define CV_DOCUMENT_CURSOR      (50 * CV_MILLISECOND) /* between two cursors */

/* --- the document --- */

struct cv_document_config {
    uint32_t id;                       /* within the session; 1… */
    struct cv_document_meta meta;      /* coded by session/control.h */
    struct cv_key session;             /* S, for claims */
    const struct cv_keypair *identity; /* kept; NULL: no claims are made */
    struct cv_key node;                /* N of this process */
    struct cv_key sharer;              /* I of who began the session */
    enum cv_role role;                 /* ours */
    const char *name;                  /* ours; copied */
    const struct cv_rng *rng;          /* kept; client ids */
    struct cv_journal *journal; /* kept; NULL: nothing is stored, and `kept`
                                   means held in memory */
    struct cv_log *log;         /* kept, may be NULL */
    cv_time (*now)(void *user);
    /* The deadline may be earlier than before.  May be NULL. */
    void (*wake)(void *user);
    /* The first step2 of somebody who may write was applied: the text of the
     * session is here.  Once a document.  May be NULL. */
    void (*in_step)(void *user);
    void *user;
};

/* Make the document with what the journal has of it (cv_journal_updates) and
 * a new client id; its meta is written to the journal if that has another.
 *
 * Returns CV_OK or CV_ERR_NOMEM, CV_ERR_IO, CV_ERR_FORMAT (meta). */
CV_MUST_USE int cv_document_new(struct cv_document **out,
                                const struct cv_document_config *config);
/* All links must be freed before.  Closes nothing of the journal. */
void cv_document_free(struct cv_document *d);
/* The first text of a share, one transaction; not counted as a commit.
 * CV_ERR_FORMAT, CV_ERR_LIMIT, CV_ERR_IO, CV_ERR_NOMEM. */
CV_MUST_USE int cv_document_seed(struct cv_document *d, struct cv_bytes text);
/* Our role changed: a viewer's local edits are refused. */
void cv_document_set_role(struct cv_document *d, enum cv_role role);
void cv_document_set_name(struct cv_document *d, const char *name);
/* Tell the neighbours that our cursor is gone; before the links are closed. */
void cv_document_goodbye(struct cv_document *d);
uint64_t cv_document_client(const struct cv_document *d);
/* Local commits so far, and how many of them are kept and shared. */
void cv_document_counts(const struct cv_document *d, uint64_t *commits,
                        uint64_t *kept, uint64_t *shared);

/* Timers, those of the journal included. */
cv_time cv_document_deadline(const struct cv_document *d);
void cv_document_step(struct cv_document *d, cv_time now);

/* --- links --- */

struct cv_document_link;

struct cv_document_link_config {
    uint32_t member;              /* id as in struct cv_member */
    struct cv_key identity, node; /* theirs, proved; zeros: nobody's */
    enum cv_role role;            /* theirs */
    /* Take one message whole (CV_OK) or not at all (CV_ERR_AGAIN: then
     * cv_document_link_writable() when there is room).  Any other error: the
     * link is dead, nothing more is sent, the session frees it soon.  Must not
     * call back into the document. */
    int (*send)(void *user, struct cv_bytes message);
    void *user;
};

/* CV_ERR_LIMIT, CV_ERR_NOMEM.  Sends the first messages at once. */
CV_MUST_USE int cv_document_link_new(struct cv_document_link **out,
                                     struct cv_document *d,
                                     const struct cv_document_link_config *c);
/* Forgets the cursors that came only through it. */
void cv_document_link_free(struct cv_document_link *link);
/* One message came.  The callbacks of the document run from here.  Any error
 * means: close the stream and free the link.
 *
 *   CV_ERR_PEER    not a message, or an update that does not parse
 *   CV_ERR_DENIED  text from a member who may not write
 *   CV_ERR_LIMIT   beyond a limit of the document
 *   CV_ERR_NOMEM */
CV_MUST_USE int cv_document_link_input(struct cv_document_link *link,
                                       struct cv_bytes message);
void cv_document_link_writable(struct cv_document_link *link);
void cv_document_link_set_role(struct cv_document_link *link,
                               enum cv_role role);
/* Bytes that wait here for room in the stream. */
size_t cv_document_link_queued(const struct cv_document_link *link);
/* Has the peer everything of ours, as far as it told? */
bool cv_document_link_in_step(const struct cv_document_link *link);
#endif
