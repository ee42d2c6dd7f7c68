/* session/document.h - one shared file: its replica, its journal, its
 * neighbours.
 *
 * Owns the CRDT document, writes every update to the journal before anybody is
 * told that it is kept, passes updates on to the neighbours that may not have
 * them (y-protocols sync over one stream a neighbour), and keeps the cursors of
 * everybody (awareness).  No socket and no clock of its own. */
#ifndef CV_SESSION_DOCUMENT_H
#define CV_SESSION_DOCUMENT_H
#include "base/bytes.h"
#include "base/key.h"
#include "base/time.h"
#include "crdt/doc.h"
#include "crdt/undo.h"

#define CV_NAME_MAX_TEXT 33   /* a name and its NUL */
#define CV_PATH_MAX_TEXT 1024 /* a document's path and its NUL */
#define CV_DOCUMENT_MAX  (64u * 1024u * 1024u) /* bytes of text */

/* What undo may remember: twice, and some, that everything was deleted. */
#define CV_DOCUMENT_UNDO_MAX (160u * 1024u * 1024u)

struct cv_document;

/* How the sharer's file is written; each editor writes its own disk. */
struct cv_document_meta {
    char path[CV_PATH_MAX_TEXT]; /* relative, for showing; checked */
    char ft[32];                 /* [a-z0-9_.]*, may be empty */
    char ff[8];                  /* "unix", "dos", "mac" */
    char fenc[32];
    bool bomb;
};

struct cv_presence_range {
    size_t anchor; /* byte offsets */
    size_t head;
};

#define CV_PRESENCE_RANGES 8

/* Where somebody else is. */
struct cv_presence {
    uint32_t member; /* id as in struct cv_member; 0: not connected to us */
    uint64_t client; /* of the replica */
    char name[CV_NAME_MAX_TEXT];
    unsigned colour; /* 1…8 */
    char mode[8];
    unsigned n_ranges;
    struct cv_presence_range ranges[CV_PRESENCE_RANGES];
};

struct cv_document_events {
    /* Remote changes, each in the coordinates after those before it… */
    void (*text)(void *user, const struct cv_text_change *change);
    /* …and the end of a batch of them. */
    void (*text_done)(void *user);
    /* Local commits 1…kept are in the journal; 1…shared of them at a peer. */
    void (*kept)(void *user, uint64_t kept, uint64_t shared);
    void (*presence)(void *user); /* read it with cv_document_presence() */
};

void cv_document_set_events(struct cv_document *d,
                            const struct cv_document_events *events,
                            void *user);
uint32_t cv_document_id(const struct cv_document *d); /* within the session */
const struct cv_document_meta *cv_document_meta(const struct cv_document *d);
/* For reading: offsets, lines, text. */
const struct cv_doc *cv_document_text(const struct cv_document *d);

/* One local transaction: begin, edits, commit.  Errors as in crdt/doc.h, and
 * CV_ERR_DENIED for viewers.  `*seq` is the number of this commit (1…); an
 * empty one changes nothing and gets the number of the last.  CV_ERR_IO: the
 * journal could not be written; the edit lives on in memory, and `kept` will
 * not count it until writing works again. */
CV_MUST_USE int cv_document_begin(struct cv_document *d);
CV_MUST_USE int cv_document_insert(struct cv_document *d, size_t at,
                                   const void *text, size_t len);
CV_MUST_USE int cv_document_delete(struct cv_document *d, size_t at,
                                   size_t len);
CV_MUST_USE int cv_document_commit(struct cv_document *d, uint64_t *seq);

/* The undo group of the edits that follow; the last one again goes on with
 * it.  Edits are remembered for undo from the first call on. */
void cv_document_set_group(struct cv_document *d, uint64_t group);
/* Take back the newest group of our own edits, or redo it; a local commit.
 * The changes of the text are told as those of others are.
 *
 * Errors as cv_document_commit(), and CV_ERR_NOTFOUND: there is nothing more;
 * CV_ERR_LIMIT, CV_ERR_NOMEM: a part may be done, the rest is forgotten. */
CV_MUST_USE int cv_document_undo(struct cv_document *d, enum cv_undo_way way,
                                 struct cv_undone *out, uint64_t *seq);

/* --- who wrote what (session/authors.c) --- */

/* What others deleted, and may come back by a revert. */
#define CV_DOCUMENT_REVERT_MAX ((size_t)16 * 1024 * 1024) /* bytes */

struct cv_author {
    bool known; /* somebody signed for it; else the rest is empty */
    bool you;
    struct cv_key identity;
};

/* The authors of the text [at, at + len), as far as somebody signed for it:
 * fn() for each stretch, in order, until it returns false.  CV_ERR_INVALID:
 * outside the text, or inside of a character. */
CV_MUST_USE int cv_document_authors(
    const struct cv_document *d, size_t at, size_t len,
    bool (*fn)(void *user, const struct cv_author *who, size_t bytes),
    void *user);
/* Everybody who signed for a client id of this document, each once. */
void cv_document_writers(const struct cv_document *d,
                         void (*fn)(void *user, const struct cv_author *who),
                         void *user);

struct cv_reverted {
    size_t removed, removed_bytes;   /* pieces of text that they wrote… */
    size_t restored, restored_bytes; /* …and that they had deleted */
    bool whole;    /* all that they deleted in this session was noted */
    bool undoable; /* one step back takes it back */
    size_t at;     /* start of the topmost change */
};

/* Delete what somebody wrote in this session and what is still there, and put
 * back what they deleted, as far as that was noted: one local commit, and one
 * group of ours.  What the session began with stays, and so does all text of
 * others.  `dry`: only tell what it would do.
 *
 * Errors as cv_document_commit(), and CV_ERR_NOTFOUND: nothing is left of it;
 * CV_ERR_INVALID: that is us; CV_ERR_LIMIT: the text would be too long. */
CV_MUST_USE int cv_document_revert(struct cv_document *d,
                                   const struct cv_key *who, uint64_t group,
                                   bool dry, struct cv_reverted *out,
                                   uint64_t *seq);

/* Where our user is; n == 0: not in this text.  Sent at most every 50 ms. */
void cv_document_set_cursor(struct cv_document *d, unsigned n,
                            const struct cv_presence_range *ranges,
                            const char *mode);
void cv_document_presence(const struct cv_document *d,
                          void (*fn)(void *user, const struct cv_presence *p),
                          void *user);
#endif
