/* session/peer.h - one connection to one node, from its handshake to its end.
 *
 * Owns the connection, its control stream and the admission on it.  Streams
 * besides the control stream are handed to the owner, and only between two
 * members.  A peer that breaks the protocol is told a code and cut; nothing it
 * sends makes this grow beyond CV_CONTROL_PRE_MAX, later CV_CONTROL_MAX. */
#ifndef CV_SESSION_PEER_H
#define CV_SESSION_PEER_H
#include "session/admission.h"
#include "session/frame.h"
#include "transport/conn.h"

struct cv_peer;

/* Streams of theirs that came before we were members wait (what they bring is
 * bounded by CV_CONN_HELD); more of them are reset with CV_REFUSAL_FULL. */
#define CV_PEER_EARLY_STREAMS 4
/* What was refused or said goodbye to has so long to read it. */
#define CV_PEER_LINGER (1500 * CV_MILLISECOND)

struct cv_peer_end {
    int err;                 /* CV_OK: ended on purpose */
    bool left;               /* they said goodbye */
    bool violation;          /* they broke the protocol, or lied */
    bool refused_by_peer;    /* they would not let us in */
    enum cv_refusal refusal; /* why, as far as one is known */
    const char *reason;      /* a sentence, maybe empty; borrowed */
    const char *name;        /* NO_HOST: who may let us in; maybe empty */
};

struct cv_peer_events {
    /* The admission has moved; see cv_peer_admission(). */
    void (*admission)(void *user, struct cv_peer *p);
    /* Our grants came (before `member`). */
    void (*given)(void *user, struct cv_peer *p, const struct cv_grants *g);
    /* Both are members now. */
    void (*member)(void *user, struct cv_peer *p);
    /* A message between members; `c` is borrowed. */
    void (*control)(void *user, struct cv_peer *p, const struct cv_control *c);
    /* They opened a stream: take it (set its events) or reset it. */
    void (*stream)(void *user, struct cv_peer *p, struct cv_stream *s);
    void (*datagram)(void *user, struct cv_peer *p, struct cv_bytes data);
    void (*path)(void *user, struct cv_peer *p,
                 const struct cv_path_info *path);
    /* Final; the peer is freed when this returns. */
    void (*end)(void *user, struct cv_peer *p, const struct cv_peer_end *end);
};

struct cv_peer_config {
    struct cv_conn *conn; /* taken on success */
    /* `peer` and `exporter` are filled in from the connection. */
    struct cv_admission_config admission;
    cv_time (*now)(void *user);
    uint64_t (*unix_s)(void *user);
    const struct cv_peer_events *events; /* kept; members may be NULL */
    void *user;
};

/* CV_ERR_NOMEM, or the error of the connection. */
CV_MUST_USE int cv_peer_new(struct cv_peer **out,
                            const struct cv_peer_config *config);
/* At once and without events.  The connection is closed with `code`. */
void cv_peer_free(struct cv_peer *p, enum cv_refusal code);

cv_time cv_peer_deadline(const struct cv_peer *p);
void cv_peer_step(struct cv_peer *p);

const struct cv_admitting *cv_peer_admission(const struct cv_peer *p);
bool cv_peer_is_member(const struct cv_peer *p);
struct cv_conn *cv_peer_conn(struct cv_peer *p);
const struct cv_key *cv_peer_node(const struct cv_peer *p);
/* As certified in hello; NULL before it. */
const struct cv_key *cv_peer_identity(const struct cv_peer *p);
enum cv_role cv_peer_role(const struct cv_peer *p);
bool cv_peer_admits(const struct cv_peer *p);
const char *cv_peer_name(const struct cv_peer *p);

/* A person's decision; errors as cv_admission_accept(). */
CV_MUST_USE int cv_peer_accept(struct cv_peer *p, enum cv_role role);
CV_MUST_USE int cv_peer_reject(struct cv_peer *p, const char *reason);
/* Somebody else has let us in: say so if this one was to. */
void cv_peer_show(struct cv_peer *p);

/* A stream to a member, or to who is `vouched` for: then what it brings back
 * waits until we are members.  CV_ERR_INVALID to anybody else; errors as
 * cv_conn_open(). */
CV_MUST_USE int cv_peer_open(struct cv_peer *p, struct cv_stream **out);
/* Send a message to a member.  CV_ERR_INVALID before, CV_ERR_AGAIN when the
 * peer does not read (it is soon found dead), CV_ERR_CLOSED. */
int cv_peer_send(struct cv_peer *p, const struct cv_control *c);
/* Say goodbye and end; `end` follows within CV_PEER_LINGER. */
void cv_peer_leave(struct cv_peer *p, const char *reason);
/* End with a code, now; `end` follows. */
void cv_peer_close(struct cv_peer *p, enum cv_refusal code, const char *reason);
#endif
