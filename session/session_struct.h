/* session/session_struct.h - the inside of a session, for its four files:
 *
 *   session.c         its life, what the program is told and may ask
 *   session_open.c    share, join, resume
 *   session_stored.c  what is stored: of one, and which there are
 *   session_link.c    what the meeting tells: members, and documents with them
 */
#ifndef CV_SESSION_SESSION_STRUCT_H
#define CV_SESSION_SESSION_STRUCT_H
#include "session/link.h"
#include "session/meeting.h"

/* The journal has the text, not only the name of the document. */
#define CV_SESSION_FACT_TEXT CV_LITERAL("text")

/* Names that members told of others. */
#define CV_SESSION_HEARD 64

enum life {
    SESSION_LIVES,
    SESSION_DRAINS, /* leaving: the last edits are on their way */
    SESSION_LEAVES, /* leaving: goodbyes are on their way */
};

/* What the owner knows of a member: cv_neighbour.user. */
struct seat {
    struct cv_session *session;
    struct cv_neighbour *neighbour;
    struct cv_link *link;    /* NULL: not yet, or the other side opens it */
    bool has_document;       /* it listed ours */
    bool told;               /* the program heard of it */
    struct cv_member member; /* as it was told */
};

struct cv_session {
    struct cv_node *node;
    const struct cv_session_events *events;
    void *user;
    struct cv_key key; /* S */
    bool mine;
    struct cv_journal *journal;
    struct cv_document *document; /* NULL until its name is known */
    bool have_text;
    bool announced; /* the program has the document */
    struct cv_meeting *meeting;
    struct cv_timer *timer;
    enum life life;
    cv_time leave_by;
    void (*left)(void *user);
    void *left_user;
    bool ended;
    char ended_text[CV_STAGE_TEXT];
    enum cv_role role; /* as told */
    struct cv_finding_told told;
    struct {
        struct cv_key identity;
        char name[CV_NAME_MAX_TEXT];
    } heard[CV_SESSION_HEARD]; /* the oldest is overwritten */
    unsigned n_heard;          /* ever */
};

cv_time cv_session_now(const struct cv_session *s);
/* struct cv_session: do what is due, soon. */
void cv_session_wake(void *user);
void cv_session_on_timer(void *user);
void cv_session_notice(struct cv_session *s, int level, const char *text,
                       const char *tag);
/* Of the journal. */
void cv_session_trouble(void *user, int err, const char *text);
/* What cannot be written now waits in the journal, which says so itself. */
void cv_session_remember(struct cv_session *s, enum cv_journal_fact type,
                         struct cv_bytes key, struct cv_bytes value);
/* A member listed who is there. */
void cv_session_hear(struct cv_session *s, const struct cv_control *c);
/* struct cv_session, grants: these are ours now. */
void cv_session_keep_grants(void *user, const struct cv_grants *g);
CV_MUST_USE int cv_session_open_document(struct cv_session *s, uint32_t id,
                                         const struct cv_document_meta *meta,
                                         enum cv_role role);
/* struct cv_session: the text of the document is here. */
void cv_session_have_text(void *user);
/* Hand the document to the program, once. */
void cv_session_announce(struct cv_session *s);
void cv_session_free(struct cv_session *s);
/* Remember that it was taken up now. */
void cv_session_note_use(struct cv_session *s);
/* The document of a stored session: its id, 0 without, and what it is called.
 */
uint32_t cv_session_stored_document(const struct cv_journal *j,
                                    struct cv_document_meta *meta);

extern const struct cv_meeting_events cv_session_meeting_events;
#endif
