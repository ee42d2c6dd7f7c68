/* session/meeting.h - who is in: the members of one session.
 *
 * Publishes our pointer, finds the others', knocks and is knocked at, connects,
 * admits, and keeps up to CV_MEETING_NEIGHBOURS connections alive; lost ones
 * are sought again.  Knows nothing of documents or streams: its owner hears of
 * each member and does with the connection what it is for. */
#ifndef CV_SESSION_MEETING_H
#define CV_SESSION_MEETING_H
#include "discovery/rendezvous.h"
#include "session/finding.h"
#include "session/node.h"
#include "session/peer.h"

#define CV_MEETING_KNOWN    128 /* nodes heard of */
#define CV_MEETING_KNOCKING 4   /* knocks of ours at a time */
/* NEIGHBOURS: that we connect to.  HARD: that may be connected to us, for a
 * whole class is to the one who lets it in; those that are silent do not count,
 * and give way to others.  STRANGERS: connected and not yet admitted. */
#ifndef CV_MEETING_HARD
#define CV_MEETING_NEIGHBOURS 8
#define CV_MEETING_HARD       48
#define CV_MEETING_STRANGERS  8
#endif
/* Somebody without a grant disturbs one person at a time. */
#define CV_MEETING_STAGGER (3 * CV_SECOND)
/* …unless that person has not answered for so long, and may be away. */
#define CV_MEETING_ASK_NEXT (10 * CV_SECOND)
#define CV_MEETING_ATTEMPT  (30 * CV_SECOND) /* then it is given up */
/* Whom a person sent away may ask again after so long. */
#define CV_MEETING_REJECTED_FOR (1 * CV_MINUTE)
#define CV_MEETING_REJECTED     16 /* of them are remembered */
/* Whom a person lets in before he is connected may take so long to come. */
#define CV_MEETING_ACCEPTED_FOR (10 * CV_MINUTE)
#define CV_MEETING_LEAVE        (1200 * CV_MILLISECOND)
/* A connection that lived for less counts as a failed try. */
#define CV_MEETING_LIVED (10 * CV_SECOND)
/* A member without any path for so long is lost, though its connection may yet
 * come back: it is sought anew meanwhile.  With the second at most after which
 * a path counts as silent, people know within 5 s. */
#define CV_MEETING_SILENT (3500 * CV_MILLISECOND)
/* A member whose only path has fallen silent is knocked at after so long: one
 * of the two may have another address now.  At once when it is us. */
#define CV_MEETING_RECALL (250 * CV_MILLISECOND)
/* The one that added a token waits for the other, which may have to lead. */
#define CV_MEETING_BY_HAND (90 * CV_SECOND)
/* So long a token waits for our addresses to be known. */
#define CV_MEETING_ADDRESSES (3 * CV_SECOND)
/* Two members that lost each other do not knock at the same moment: the one
 * with the larger node key waits for so long. */
#define CV_MEETING_YIELD (2 * CV_SECOND)

/* Why a try failed: both kinds of NAT, and what to do. */
#define CV_MEETING_FAILURE 449

struct cv_meeting;

/* Another node of the session, as far as we know it. */
struct cv_neighbour {
    struct cv_meeting *meeting;
    struct cv_neighbour *next;
    struct cv_key node;
    bool identity_known; /* from a verified record or a hello */
    struct cv_key identity;
    uint32_t id; /* of a member; 0 until it was one */
    char name[CV_NAME_MAX_TEXT];
    enum cv_role role;
    bool admits;
    uint8_t colour;

    bool pointer;   /* a living one is known… */
    uint64_t seq;   /* …and this is the last that was seen */
    unsigned gates; /* that it names */
    enum cv_reach reach;
    cv_time reached;            /* it, from nearer or further */
    bool called_out, called_in; /* attempts that live */
    bool by_hand;               /* `out`: the knock is a token */
    bool added;                 /* `in`: the same, of the guest */
    bool newcomer;              /* `in`: had no grant */
    enum cv_verdict verdict;    /* `in`: what it was answered */
    uint8_t out[8], in[8];      /* their ids */
    cv_time give_up;
    unsigned tries;
    cv_time next_try;
    char failure[CV_MEETING_FAILURE];

    struct cv_peer *peer;
    cv_time since;  /* the connection */
    uint32_t knock; /* our user is asked under this id; else 0 */
    cv_time knock_at;
    bool early; /* asked for a knock; there is no connection yet */
    struct cv_path_info path;
    cv_time silent_at; /* lost from then on, CV_NEVER while a path works */
    cv_time recall_at; /* knock at it then, CV_NEVER while a path works */
    unsigned recalls;  /* since the last one did */
    bool was_here;     /* when it was last looked at */
    void *user;        /* the owner's */
};

/* All but `done` may be NULL. */
struct cv_meeting_events {
    /* State, stage or path may be different now. */
    void (*changed)(void *user);
    void (*knock)(void *user, struct cv_neighbour *n, bool gone);
    void (*given)(void *user, const struct cv_grants *g);
    /* A connection to a member stands, as its record says: cv_peer_open()
     * works.  `member` follows, or the streams end. */
    void (*opening)(void *user, struct cv_neighbour *n);
    void (*member)(void *user, struct cv_neighbour *n);
    /* A member is not connected any more.  `left`: it said goodbye. */
    void (*lost)(void *user, struct cv_neighbour *n, bool left);
    void (*control)(void *user, struct cv_neighbour *n,
                    const struct cv_control *c);
    void (*stream)(void *user, struct cv_neighbour *n, struct cv_stream *s);
    void (*datagram)(void *user, struct cv_neighbour *n, struct cv_bytes data);
    /* The node is forgotten: `n->user` is to be freed. */
    void (*forget)(void *user, struct cv_neighbour *n);
    void (*renamed)(void *user); /* we have another name */
    /* The token that was asked for, or an error and why; CV_ERR_NOPATH: the
     * guest whose token was added was not reached. */
    void (*token)(void *user, int err, const char *why,
                  const struct cv_token *t);
    /* A person would not let us in; nobody is asked again. */
    void (*refused)(void *user, const char *text);
    /* A milestone on the way to somebody; see transport/mark.h. */
    void (*mark)(void *user, const struct cv_mark *mark);
    /* cv_meeting_leave() is done, or the node ends: free it. */
    void (*done)(void *user);
};

struct cv_meeting_config {
    struct cv_node *node;    /* kept */
    struct cv_key session;   /* S */
    struct cv_grants grants; /* ours; n == 0: to be got */
    uint64_t capabilities;
    bool open;          /* let anybody in… */
    enum cv_role offer; /* …with this role at most */
    enum cv_role wants;
    /* Go no further than the proof of a peer's key (session/checkup.h). */
    bool trial;
    /* Who begins with a grant publishes and waits; who does not seeks those,
     * and nobody else. */
    bool star;
    /* Those whom we are connected to may have no more than we have: go on
     * seeking, up to CV_MEETING_HARD, until cv_meeting_has_text(). */
    bool lacks_text;
    /* Look for the others, and go to nobody before cv_meeting_go(). */
    bool hold;
    /* A host's token, to begin with; copied, may be NULL. */
    const struct cv_token *token;
};

/* Starts looking, and publishing if we are a member.  With a token the event
 * `token` brings the one that answers it.  CV_ERR_NOMEM, CV_ERR_LIMIT (too many
 * meetings); of the token: as cv_rendezvous_take_pointer(). */
CV_MUST_USE int cv_meeting_new(struct cv_meeting **out,
                               const struct cv_meeting_config *config,
                               const struct cv_meeting_events *events,
                               void *user);
/* The end of `hold`. */
void cv_meeting_go(struct cv_meeting *m);
/* The end of `lacks_text`. */
void cv_meeting_has_text(struct cv_meeting *m);
/* At once, without goodbye.  Not from within its events, but `done`. */
void cv_meeting_free(struct cv_meeting *m);
/* Say goodbye to everybody and withdraw the pointer; `done` within
 * CV_MEETING_LEAVE. */
void cv_meeting_leave(struct cv_meeting *m);

const struct cv_key *cv_meeting_session(const struct cv_meeting *m);
enum cv_role cv_meeting_role(const struct cv_meeting *m);
bool cv_meeting_may_admit(const struct cv_meeting *m);
/* What it knows, for cv_finding_tell(); `elapsed`, the text, `in_step`,
 * `ended` are the owner's. */
void cv_meeting_facts(const struct cv_meeting *m, struct cv_facts *out);
struct cv_neighbour *cv_meeting_neighbours(const struct cv_meeting *m);
/* Is it a member that can be reached? */
bool cv_meeting_is_here(const struct cv_neighbour *n);
struct cv_neighbour *cv_meeting_knock(const struct cv_meeting *m, uint32_t id);
/* CV_ERR_NOTFOUND, CV_ERR_DENIED. */
CV_MUST_USE int cv_meeting_accept(struct cv_meeting *m, uint32_t knock,
                                  enum cv_role role);
CV_MUST_USE int cv_meeting_reject(struct cv_meeting *m, uint32_t knock,
                                  const char *reason);
/* Make a token for one guest: the event `token` brings it.  CV_ERR_DENIED. */
CV_MUST_USE int cv_meeting_invite(struct cv_meeting *m);
/* Take the guest's token; errors as cv_rendezvous_take_knock(). */
CV_MUST_USE int cv_meeting_add(struct cv_meeting *m, const struct cv_token *t);
/* To every member. */
void cv_meeting_tell(struct cv_meeting *m, const struct cv_control *c);
void cv_meeting_describe(const struct cv_meeting *m, char *out, size_t len);

/* From the node. */
void cv_meeting_candidates(struct cv_meeting *m);
/* Somebody rang at a gate; false: in no room of this meeting. */
bool cv_meeting_rung(struct cv_meeting *m, const uint8_t room_key[CV_ROOM_KEY],
                     struct cv_bytes ring);
/* Something lies at this location, on the shelf of a gate. */
void cv_meeting_found(struct cv_meeting *m, const uint8_t loc[20],
                      struct cv_bytes sealed);
/* The keys of the rooms in which it can be rung now; returns how many. */
unsigned cv_meeting_rooms(const struct cv_meeting *m,
                          uint8_t (*out)[CV_ROOM_KEY]);
void cv_meeting_renew(struct cv_meeting *m); /* the certificate is new */
void cv_meeting_renamed(struct cv_meeting *m);
bool cv_meeting_attempt(struct cv_meeting *m, const uint8_t attempt[8],
                        enum cv_attempt_state state, const char *reason);
bool cv_meeting_conn(struct cv_meeting *m, struct cv_conn *conn);
bool cv_meeting_attempt_mark(struct cv_meeting *m, const uint8_t attempt[8],
                             const struct cv_mark *mark);
void cv_meeting_end(struct cv_meeting *m); /* the node ends: `done` at once */
#endif
