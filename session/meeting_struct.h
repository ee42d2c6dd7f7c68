/* session/meeting_struct.h - the inside of a meeting, for its six files:
 *
 *   meeting.c             its life, its time, and what it answers
 *   meeting_known.c       the nodes that were heard of
 *   meeting_rendezvous.c  pointers, and who knocks: towards us
 *   meeting_seek.c        at whom we knock, and what becomes of attempts
 *   meeting_token.c       knocks that are carried by hand
 *   meeting_peers.c       connections: who is let in, who is a member */
#ifndef CV_SESSION_MEETING_STRUCT_H
#define CV_SESSION_MEETING_STRUCT_H
#include "session/meeting.h"

enum meeting_state {
    MEETING_OPEN,
    MEETING_LEAVING, /* goodbyes and the last pointer are on their way */
    MEETING_DONE,
};

struct cv_meeting {
    struct cv_meeting_config config;
    struct cv_node *node;
    const struct cv_meeting_events *events;
    void *user;
    enum meeting_state state;
    struct cv_rendezvous *rv;
    struct cv_timer *timer;
    uint64_t realm; /* of our connections: the session, hashed */
    struct cv_grants grants;
    enum cv_role role; /* of our grants, NONE without */
    struct cv_neighbour *neighbours;
    unsigned n_known;
    bool publish_due;   /* own candidates or grants changed */
    cv_time publish_at; /* not before */
    bool publishing;    /* a pointer was handed to the rendezvous */
    bool published, unpublished;
    bool renewing; /* the rendezvous is to be made anew */
    bool had_members, all_left;
    bool refused; /* by a person: nobody is asked again */
    struct {
        struct cv_key identity;
        cv_time until;
    } rejected[CV_MEETING_REJECTED];
    unsigned next_rejected;
    struct { /* by a person, before there was a connection */
        struct cv_key identity;
        enum cv_role role;
        cv_time until;
    } accepted[CV_MEETING_REJECTED];
    unsigned next_accepted;
    cv_time stagger;
    unsigned tokens_due; /* of a host */
    bool answer_due;     /* a guest's token, to be knocked with at… */
    struct cv_key answer_to;
    cv_time addresses_by; /* …and then what is known must do */
    cv_time leave_by;
    bool withdrawn;
    char host[CV_NAME_MAX_TEXT];      /* who may let us in, as a member said */
    char failure[CV_MEETING_FAILURE]; /* of the last try */
};

cv_time cv_meeting_now(const struct cv_meeting *m);
/* Do what is due, soon. */
void cv_meeting_wake(struct cv_meeting *m);
/* Tell the owner that something is different. */
void cv_meeting_changed(struct cv_meeting *m);

/* Tell whoever measures.  NULL: about ourselves; about nobody's addresses. */
void cv_meeting_mark(struct cv_meeting *m, enum cv_mark_kind kind,
                     const struct cv_key *node,
                     const struct cv_candidates *candidates, const char *text);

/* --- meeting_known.c --- */

/* The only place that moves a neighbour nearer or further. */
void cv_neighbour_set_reach(struct cv_neighbour *n, enum cv_reach to);
struct cv_neighbour *cv_meeting_find(const struct cv_meeting *m,
                                     const struct cv_key *node);
/* NULL: there are CV_MEETING_KNOWN, and all of them are busy. */
struct cv_neighbour *cv_meeting_find_or_add(struct cv_meeting *m,
                                            const struct cv_key *node);
void cv_meeting_remove(struct cv_meeting *m, struct cv_neighbour *gone);
bool cv_neighbour_is_member(const struct cv_neighbour *n);
/* Connected, but no path has worked for a while. */
bool cv_neighbour_is_silent(const struct cv_neighbour *n);
/* Does it pass on what others wrote?  Viewers do not. */
bool cv_neighbour_serves(const struct cv_neighbour *n);
/* Of our own identity? */
bool cv_neighbour_is_ours(const struct cv_meeting *m,
                          const struct cv_neighbour *n);
unsigned cv_meeting_count_here(const struct cv_meeting *m);
unsigned cv_meeting_count_members(const struct cv_meeting *m);
enum cv_room {
    CV_ROOM_NONE,
    CV_ROOM_TO_ADMIT, /* to let a newcomer in, whom others serve */
    CV_ROOM_TO_STAY,
};
/* For one more connection, `but` (NULL: nobody) aside.  Who is silent does not
 * count. */
enum cv_room cv_meeting_room(const struct cv_meeting *m,
                             const struct cv_neighbour *but);
/* Whose connection has to end before there is another: nobody's (NULL), or
 * where the silent ones are too many, of the one that is so for longest. */
struct cv_neighbour *cv_meeting_gives_way(const struct cv_meeting *m);

/* --- meeting_rendezvous.c --- */

CV_MUST_USE int cv_meeting_open_rendezvous(struct cv_meeting *m);
/* A new rendezvous with the new certificate; what was learnt stays. */
void cv_meeting_make_anew(struct cv_meeting *m);
void cv_meeting_publish(struct cv_meeting *m, cv_time now);

/* --- meeting_seek.c --- */

/* Knock at its pointer, with what we know now. */
void cv_neighbour_knock(struct cv_neighbour *n);
void cv_meeting_try_knocks(struct cv_meeting *m, cv_time now);
/* When somebody else may be disturbed, if somebody is asked to let us in or
 * about to be; in the past with a grant. */
cv_time cv_meeting_ask_next(const struct cv_meeting *m);
struct cv_neighbour *cv_meeting_by_attempt(const struct cv_meeting *m,
                                           const uint8_t attempt[8]);
void cv_meeting_own_candidates(const struct cv_meeting *m,
                               struct cv_candidates *out);
void cv_neighbour_stop_calling(struct cv_neighbour *n);
void cv_neighbour_retry_later(struct cv_neighbour *n);
void cv_neighbour_fail(struct cv_neighbour *n, const char *reason);

/* --- meeting_token.c --- */

/* Take config.token; the rendezvous has been stepped. */
CV_MUST_USE int cv_meeting_take_token(struct cv_meeting *m);
/* Make the tokens that are due, once our addresses are known. */
void cv_meeting_make_tokens(struct cv_meeting *m, cv_time now);
/* Of a token that was carried to the other side: there seems to be no way. */
void cv_meeting_token_doubted(struct cv_neighbour *n, const char *why);
cv_time cv_meeting_tokens_deadline(const struct cv_meeting *m, cv_time now);

/* --- meeting_peers.c --- */

/* Ask the person about somebody whom we know by his knock only. */
void cv_meeting_ask_early(struct cv_neighbour *n);
/* Close the question of cv_meeting_ask_early() when nobody answers it. */
void cv_meeting_ask_over(struct cv_neighbour *n);
/* The role that a person gave to this identity before it was connected, or
 * NONE. */
enum cv_role cv_meeting_was_accepted(const struct cv_meeting *m,
                                     const struct cv_key *who);
/* Did a person send this identity away a moment ago? */
bool cv_meeting_was_rejected(const struct cv_meeting *m,
                             const struct cv_key *who);
#endif
