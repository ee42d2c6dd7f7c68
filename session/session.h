/* session/session.h - sharing and joining, seen by a program.
 *
 * A node is this process on the network: identity, keys, sockets, DHT.  A
 * session is one shared place that the node takes part in: it finds the other
 * members, connects, lets newcomers in when the user says so, and keeps the
 * documents in step.  All in the loop's thread.  A callback may call anything
 * here except free what it was called for. */
#ifndef CV_SESSION_SESSION_H
#define CV_SESSION_SESSION_H
#include "base/cert.h"
#include "base/keytext.h"
#include "base/loop.h"
#include "session/document.h"
#include "transport/net.h"

struct cv_node;
struct cv_session;
struct cv_token; /* discovery/token.h */

struct cv_node_config {
    struct cv_loop *loop;     /* kept */
    struct cv_log *log;       /* kept, may be NULL */
    const struct cv_rng *rng; /* kept */
    const char *data_dir;     /* identity and journals; NULL: cv_data_dir() */
    const char *name;         /* what others see; cut to CV_NAME_MAX */
    const char *const *bootstrap; /* "HOST:PORT"[n]; n == 0: the default list */
    unsigned n_bootstrap;
    bool no_bootstrap;       /* none at all, not even the default */
    const char *const *stun; /* "HOST:PORT"[n] */
    unsigned n_stun;
    const char *const *gates; /* "covimgate1…@HOST:PORT"[n] */
    unsigned n_gates;
    const char *gate_token; /* for gates that want one; NULL: none */
    bool lan;               /* find peers on the LAN by multicast */
    bool port_mapping;      /* ask the gateway for a port: PCP, NAT-PMP, UPnP */
    enum cv_net_birthday birthday;
    uint16_t port;       /* of our UDP socket; 0: any */
    uint16_t dht_port;   /* 0: any */
    cv_time nat_timeout; /* our NAT keeps idle UDP mappings; 0: measure */
    cv_time path_retry;  /* of dead paths, for measurements; 0: as it is */
};

/* Load or make the identity, open the sockets, start the DHT node.  On failure
 * `why` says what to do.  CV_ERR_PERM: the identity file or its folder. */
CV_MUST_USE int cv_node_new(struct cv_node **out,
                            const struct cv_node_config *config, char *why,
                            size_t why_len);
/* Ends everything at once; leave the sessions first to say goodbye. */
void cv_node_free(struct cv_node *node);
const struct cv_key *cv_node_identity(const struct cv_node *node);
const char *cv_node_data_dir(const struct cv_node *node);
const char *cv_node_name(const struct cv_node *node);
void cv_node_set_name(struct cv_node *node, const char *name);

struct cv_node_status {
    const char *dht;      /* "connected", "connecting", "disconnected" */
    char network[512];    /* a sentence: addresses masked, NAT kind */
    unsigned connections; /* to peers */
};
void cv_node_status(const struct cv_node *node, struct cv_node_status *out);

enum cv_session_state {                        /* as in docs/editor.md */
                        CV_SESSION_FINDING,    /* looks for a member */
                        CV_SESSION_CONTACTING, /* knocked, no answer yet */
                        CV_SESSION_PUNCHING,   /* a path is being opened */
                        CV_SESSION_WAITING, /* connected; a person must let us
                                               in */
                        CV_SESSION_DIRECT,  /* in step with at least one member
                                             */
                        CV_SESSION_ALONE,   /* we share, nobody is there */
                        CV_SESSION_OFFLINE, /* all members were lost; looking
                                               for them */
                        CV_SESSION_ENDED,   /* final */
};
const char *cv_session_state_name(enum cv_session_state state);

enum cv_admission { CV_ADMIT_ASK, CV_ADMIT_OPEN };

/* Another member, connected to us. */
struct cv_member {
    uint32_t id; /* 1…; stable while this node lives */
    char name[CV_NAME_MAX_TEXT];
    char fingerprint[CV_FINGERPRINT_TEXT];
    struct cv_key identity;
    enum cv_role role;
    bool connected;
    enum {
        CV_MEMBER_PATH_NONE,
        CV_MEMBER_PATH_LAN,
        CV_MEMBER_PATH_DIRECT,
        CV_MEMBER_PATH_GATE
    } path;
    unsigned rtt_ms;
};

/* Somebody who asks to be let in. */
struct cv_knock {
    uint32_t id;
    char name[CV_NAME_MAX_TEXT];
    char fingerprint[CV_FINGERPRINT_TEXT];
    enum cv_role wants;
    unsigned expires_s;
};

struct cv_session_events {
    /* `stage`: a sentence on what is going on; `hint`: what to check, or "". */
    void (*state)(void *user, enum cv_session_state state, const char *stage,
                  const char *hint);
    void (*knock)(void *user, const struct cv_knock *k, bool gone);
    void (*member)(void *user, const struct cv_member *m);
    /* A document is here with its text (for a joiner, after admission; for a
     * resumed session at once).  Set its events now. */
    void (*document)(void *user, struct cv_document *d);
    void (*role)(void *user, enum cv_role role); /* ours changed */
    /* level: 0 info, 1 warning, 2 error; tag: a help tag */
    void (*notice)(void *user, int level, const char *text, const char *tag);
    /* The token that cv_session_invite() or cv_session_connect() is about, one
     * line; NULL: there is none, and `why` says what to do. */
    void (*token)(void *user, const char *text, const char *why);
};

struct cv_share_options {
    struct cv_document_meta meta; /* path, file type, … */
    struct cv_bytes text;         /* UTF-8 */
    enum cv_admission admission;
    enum cv_role role; /* of those who are let in: editor or viewer */
};

/* Start a session with one document.  The journal is written before this
 * returns, so the key is good at once.  `events` is kept.
 * CV_ERR_FORMAT: the text is not UTF-8; CV_ERR_LIMIT: too large; CV_ERR_IO,
 * CV_ERR_PERM: the journal. `why` says what to do. */
CV_MUST_USE int cv_session_share(struct cv_session **out, struct cv_node *node,
                                 const struct cv_share_options *options,
                                 const struct cv_session_events *events,
                                 void *user, char *why, size_t why_len);
/* Join by a pasted key.  Asks nobody when a grant is stored, or when the
 * session is of our own identity.  Goes on looking until left. */
CV_MUST_USE int cv_session_join(struct cv_session **out, struct cv_node *node,
                                const struct cv_keytext *key,
                                const struct cv_session_events *events,
                                void *user, char *why, size_t why_len);
/* Join by a host's token: no DHT is needed.  The event `token` brings, within
 * CV_MEETING_ADDRESSES, the one to hand back to the host.  CV_ERR_EXPIRED,
 * CV_ERR_AUTH, CV_ERR_FORMAT, CV_ERR_INVALID: the token; `why` says what to do.
 */
CV_MUST_USE int cv_session_connect(struct cv_session **out,
                                   struct cv_node *node,
                                   const struct cv_token *token,
                                   const struct cv_session_events *events,
                                   void *user, char *why, size_t why_len);
/* Take up what the journal holds, whether we shared or joined it; the document
 * event comes before this returns.  CV_ERR_NOTFOUND: nothing stored (join
 * instead); CV_ERR_BUSY: another agent of this user has it open. */
CV_MUST_USE int cv_session_resume(struct cv_session **out, struct cv_node *node,
                                  const struct cv_keytext *key,
                                  const struct cv_session_events *events,
                                  void *user, char *why, size_t why_len);
/* Say goodbye, withdraw pointer and presence; done(user) within 2 s, then the
 * session is freed and no event comes. */
void cv_session_leave(struct cv_session *session, void (*done)(void *user),
                      void *user);

const struct cv_key *cv_session_key(const struct cv_session *session);
bool cv_session_is_mine(const struct cv_session *session);
enum cv_role cv_session_role(const struct cv_session *session);
enum cv_session_state cv_session_state(const struct cv_session *session);
struct cv_document *cv_session_document(const struct cv_session *session);
/* Members that are or were connected; calls fn for each. */
void cv_session_members(const struct cv_session *session,
                        void (*fn)(void *user, const struct cv_member *m),
                        void *user);
/* What somebody calls himself: a member who is or was connected, also before
 * we started, or who another member told of.  False: not known, `out` is
 * empty. */
bool cv_session_name_of(const struct cv_session *session,
                        const struct cv_key *identity,
                        char out[CV_NAME_MAX_TEXT]);
/* CV_ERR_NOTFOUND: no such knock (any more); CV_ERR_DENIED: we may not admit.
 */
CV_MUST_USE int cv_session_accept(struct cv_session *session, uint32_t knock,
                                  enum cv_role role);
CV_MUST_USE int cv_session_reject(struct cv_session *session, uint32_t knock,
                                  const char *reason);

/* Make a token for one guest, for 15 min; the event brings it.  CV_ERR_DENIED:
 * we may not admit. */
CV_MUST_USE int cv_session_invite(struct cv_session *session);
/* The token that the guest handed back: connect to it.  CV_ERR_NOTFOUND: it
 * answers none of this session's tokens; otherwise `why` says what to do. */
CV_MUST_USE int cv_session_add(struct cv_session *session,
                               const struct cv_token *token, char *why,
                               size_t why_len);

/* What a person may want to see: one line a fact. */
void cv_session_describe(const struct cv_session *session, char *out,
                         size_t len);

#define CV_STORED_MAX 256u

/* A session in the data folder that could be joined again or resumed. */
struct cv_stored {
    struct cv_key session;
    char path[CV_PATH_MAX_TEXT];
    enum cv_role role;
    bool mine;
    cv_unix_ms used; /* when it was taken up last; 0: not known */
};

/* Those that were used last, the newest first, open ones too. */
void cv_node_stored(struct cv_node *node,
                    void (*fn)(void *user, const struct cv_stored *stored),
                    void *user);
#endif
