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

/* Where our user is; n == 0: not in this text.  Sent at most every 50 ms. */
void cv_document_set_cursor(struct cv_document *d, unsigned n,
                            const struct cv_presence_range *ranges,
                            const char *mode);
void cv_document_presence(const struct cv_document *d,
                          void (*fn)(void *user, const struct cv_presence *p),
                          void *user);
#endif
