/* session/document_struct.h - the inside of a document; for its own files only.
 *
 * document.c: the replica, local edits, the journal.  sync.c, and what
 * sync_struct.h names: links.  people.c: cursors.  authors.c: who wrote what.
 * All timers meet in cv_document_deadline(). */
#ifndef CV_SESSION_DOCUMENT_STRUCT_H
#define CV_SESSION_DOCUMENT_STRUCT_H
#include "crdt/awareness.h"
#include "crdt/revert.h"
#include "session/claims.h"
#include "session/document_impl.h"
#include "session/presence.h"

/* One update, and what a neighbour may make us hold while it sends one. */
#define CV_DOCUMENT_UPDATE_MAX (128u << 20)
/* The same of somebody who may not write: a state vector, cursors. */
#define CV_DOCUMENT_OTHER_MAX (1u << 20)
/* Commits that are being written; more are remembered coarsely. */
#define CV_DOCUMENT_UNKEPT 64

/* Kinds of messages, as in document_impl.h. */
enum cv_document_message {
    CV_MESSAGE_SYNC = 0,
    CV_MESSAGE_AWARENESS = 1,
    CV_MESSAGE_WHO = 64,
    CV_MESSAGE_ACK = 65,
    CV_MESSAGE_ASK = 66,
    CV_MESSAGE_PART = 67,
    CV_MESSAGE_CLAIM = 68,
    CV_MESSAGE_BY = 69,
};

/* Somebody's state, parsed. */
struct cv_person {
    uint64_t client;
    uint32_t crc; /* of the text, to tell a renewal from a change */
    struct cv_presence_state state;
};

struct cv_document {
    struct cv_document_config config;
    enum cv_role role;
    char name[CV_NAME_MAX_TEXT];
    struct cv_doc *doc;
    struct cv_document_events events;
    void *user;

    struct cv_undo *undo; /* NULL: nobody asked for it */

    bool open; /* a local transaction */
    bool in_step_told;
    bool text_changed; /* by the update that is being applied */
    uint64_t commits;
    uint64_t kept;
    uint64_t shared;
    uint64_t told_kept;
    uint64_t told_shared;
    cv_time kept_due;
    struct {
        uint64_t mark;    /* when the journal has kept this… */
        uint64_t commits; /* …so many commits are kept */
    } unkept[CV_DOCUMENT_UNKEPT];
    unsigned n_unkept;

    struct cv_writer update; /* scratch */
    struct cv_writer news;
    struct cv_writer message;

    struct cv_document_link *links[CV_DOCUMENT_LINKS_MAX];
    unsigned n_links;

    struct cv_claims *claims;
    bool claimed; /* our present client id */
    bool seeding; /* the text that the session begins with */

    struct cv_writer admitted; /* scratch */
    bool held; /* text was left for its author to bring, since… */
    struct cv_revert *revert; /* NULL: nothing was deleted yet */
    bool all_noted;           /* all deletions, since the session began */
    struct cv_key deleters[CV_REVERT_PEOPLE];
    unsigned n_deleters;

    struct cv_awareness *awareness;
    struct cv_person *people;
    size_t n_people;
    struct cv_presence_state self;
    bool gone;       /* goodbye was said */
    bool unresolved; /* a cursor is in text that has not come yet */
    bool people_changed;
    cv_time cursor_due; /* CV_NEVER: nothing to tell */
    cv_time cursor_sent;
    cv_time moved_due; /* the text moved cursors; CV_NEVER: they are told of */
    cv_time people_told;
};

/* --- document.c --- */
cv_time cv_document_now(const struct cv_document *d);
void cv_document_wake(const struct cv_document *d);
/* A neighbour confirmed the first `seq` local commits. */
void cv_document_note_shared(struct cv_document *d, uint64_t seq);
/* Apply what came from `from` and was made by replica `by` (0: not known),
 * keep it, pass it on.
 * Observers are told nothing yet but the text changes. */
CV_MUST_USE int cv_document_take(struct cv_document *d, struct cv_bytes update,
                                 struct cv_document_link *from, uint64_t by,
                                 struct cv_doc_applied *applied);
/* CV_OK: new, valid, and stored. Else as cv_claims_add(). */
CV_MUST_USE int cv_document_take_claim(struct cv_document *d,
                                       const struct cv_claim *claim);
/* struct cv_document: tell the observer of a change. */
void cv_document_on_text(void *user, const struct cv_text_change *change);
/* All changes of one update were told, if there were any. */
void cv_document_text_done(struct cv_document *d);
/* Draw a new client id, and tell everybody. */
void cv_document_change_client(struct cv_document *d);
/* Give back the memory of a scratch writer that has become large. */
void cv_document_trim(struct cv_writer *w);
/* What the journal has to have kept for all that was applied so far. */
uint64_t cv_document_mark(const struct cv_document *d);
bool cv_document_has_kept(const struct cv_document *d, uint64_t mark);

/* --- sync.c --- */
/* Pass an update to all neighbours in step except `from`.  `by`: the replica
 * that made it, 0 when that is not known. */
void cv_links_update(struct cv_document *d, struct cv_bytes update,
                     const struct cv_document_link *from, uint64_t by);
/* Pass a small message on; with `awareness` it may be dropped for a slow one,
 * which gets the newest later. */
void cv_links_send(struct cv_document *d, struct cv_bytes message,
                   const struct cv_document_link *from, bool awareness);
/* Our role or client id changed. */
void cv_links_role_changed(struct cv_document *d, bool may_write);
void cv_links_client_changed(struct cv_document *d);
cv_time cv_links_deadline(const struct cv_document *d);
void cv_links_step(struct cv_document *d, cv_time now);
/* The link whose peer has this replica, or NULL. */
const struct cv_document_link *cv_links_owner(const struct cv_document *d,
                                              uint64_t client);

/* Updates of others may come, that were left for somebody who is gone. */
void cv_links_ask_again(struct cv_document *d);

/* --- authors.c --- */
/* Point `*update` to what of it may be taken from this neighbour: not what
 * somebody else signed for who is connected to us, too.  CV_ERR_FORMAT,
 * CV_ERR_NOMEM. */
CV_MUST_USE int cv_authors_admit(struct cv_document *d,
                                 const struct cv_document_link *from,
                                 struct cv_bytes *update);
/* May this claim be believed, as far as the neighbours show? */
bool cv_authors_believe(struct cv_document *d,
                        const struct cv_document_link *from,
                        const struct cv_claim *claim);
/* An update is about to be applied: note what it deletes of others' text.
 * `by`: the replica that made it, 0 when that is not known. */
void cv_authors_note(struct cv_document *d, const struct cv_document_link *from,
                     uint64_t by, struct cv_bytes update);
void cv_authors_free(struct cv_document *d);

/* --- people.c --- */
CV_MUST_USE int cv_people_new(struct cv_document *d);
void cv_people_free(struct cv_document *d);
/* A new link begins with all we know; ours with a higher clock. */
CV_MUST_USE int cv_people_greet(struct cv_document *d);
/* Append an awareness message with all that are here; none if nobody is. */
CV_MUST_USE int cv_people_put_all(const struct cv_document *d,
                                  struct cv_writer *w);
/* The body of an awareness message.  CV_ERR_PEER, CV_ERR_NOMEM. */
CV_MUST_USE int cv_people_input(struct cv_document *d, struct cv_bytes body,
                                const struct cv_document_link *from);
void cv_people_left(struct cv_document *d, uint64_t client);
void cv_people_client_changed(struct cv_document *d);
cv_time cv_people_deadline(const struct cv_document *d);
void cv_people_step(struct cv_document *d, cv_time now);
/* The text has changed: tell the observer soon, but not at each keystroke, for
 * a cursor may be in another line now though it is where it was in the text;
 * and at once if text has come in which a cursor was. */
void cv_people_moved(struct cv_document *d);
/* Tell the observer, if something changed. */
void cv_people_notify(struct cv_document *d);
#endif
