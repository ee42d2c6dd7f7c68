/* session/admission.h - from a fresh connection to two members, or to none.
 *
 * Pure: takes frames of the control stream and the time, appends frames to a
 * writer, and says where it stands.  One for each connection; it ends in
 * MEMBER or CLOSED.  Until MEMBER nothing but its own messages may travel.
 *
 *     HELLO ─┬─ both have grants ────────────────────────────┬─ READY ─ MEMBER
 *            ├─ we have one: same identity or `open`: GRANT ─┤
 *            ├─ we have one: ASKED ── accepted: GRANT ───────┤
 *            │     │    ^                                    │
 *            │   60 s   │ ask                                │
 *            │     v    │                                    │
 *            │   LAPSED ┘                                    │
 *            └─ they have one: WAITING ── GRANT verified ────┤
 *                                 └── somebody else's: GRANT ┘
 *                                      any failure, refusal or 5 min: CLOSED
 *
 * Who has seen the other's grant in a record of its node (`vouched`) says READY
 * along with its hello.  What it does next does not depend on that, but the
 * other side is a member half a round trip after the handshake.
 *
 * A newcomer may ask several at once.  The grant of the one that answers it
 * shows to the others, and takes its question back there.
 *
 * Who has no room (`full`) lets newcomers in all the same, and parts from them
 * when they have verified the grant: others take them.
 *
 * Times: HELLO and READY take at most 15 s; a person is asked for 60 s, after
 * which the newcomer asks again by itself; all of it ends after 5 min. */
#ifndef CV_SESSION_ADMISSION_H
#define CV_SESSION_ADMISSION_H
#include "base/log.h"
#include "session/control.h"

#define CV_ADMISSION_STEP  (15 * CV_SECOND)
#define CV_ADMISSION_ASK_S 60u
#define CV_ADMISSION_ASK   (CV_ADMISSION_ASK_S * CV_SECOND)
#define CV_ADMISSION_AGAIN (1 * CV_SECOND) /* after an ask has lapsed */
#define CV_ADMISSION_TOTAL (5 * CV_MINUTE)

enum cv_admission_state {
    CV_ADMISSION_HELLO,   /* ours is sent, theirs has not come */
    CV_ADMISSION_ASKED,   /* our user is asked */
    CV_ADMISSION_LAPSED,  /* our user did not answer; they may ask again */
    CV_ADMISSION_WAITING, /* they are a member, verified; we wait for a grant */
    CV_ADMISSION_READY,   /* both hold grants; theirs is verified by us */
    CV_ADMISSION_MEMBER,  /* and ours by them */
    CV_ADMISSION_CLOSED,  /* final: close the connection with `refusal` */
};

struct cv_admission_config {
    struct cv_log *log;                /* kept, may be NULL */
    const struct cv_rng *rng;          /* kept */
    const struct cv_keypair *identity; /* kept: ours, I */
    const struct cv_grants *grants;    /* kept: ours; n == 0: none yet */
    struct cv_key session;             /* S */
    struct cv_key node;                /* ours, N */
    struct cv_key peer;                /* theirs, as TLS proved it */
    bool peer_identity_known;          /* from a verified record… */
    struct cv_key peer_identity;       /* …which hello must agree with */
    bool vouched;                      /* that record shows a grant of theirs */
    struct cv_cert cert;               /* of our node */
    uint8_t exporter[32];              /* of this connection */
    uint64_t capabilities;             /* all of them are asked of the peer */
    bool full;                         /* take nobody, only let in */
    bool open;                         /* let anybody in who asks… */
    enum cv_role offer;                /* …with at most this role */
    enum cv_role wants;                /* when we have no grant */
    char name[CV_NAME_MAX_TEXT];       /* ours */
    uint8_t colour;
    char host_name[CV_NAME_MAX_TEXT]; /* of a host, if we know one */
};

struct cv_admitting {
    struct cv_admission_config config;
    enum cv_admission_state state;
    cv_time deadline; /* of the next step; CV_NEVER in the final states */
    cv_time ends;     /* of all of it */
    bool have_hello;
    bool pending;           /* WAITING: a person there was asked */
    bool shown;             /* READY: our grant is of somebody else */
    bool said_ready;        /* they have verified our grant, and ask for one */
    struct cv_hello hello;  /* of the peer; `invite` is not kept */
    enum cv_role peer_role; /* NONE until verified or granted */
    uint8_t peer_flags;
    struct cv_grants given; /* n > 0: what the peer gave us, verified */
    enum cv_refusal refusal;
    bool refused_by_peer;
    bool told; /* the peer was sent the refusal: let it read it */
    char reason[CV_REASON_MAX_TEXT]; /* for people; may be empty */
    char name[CV_NAME_MAX_TEXT];     /* NO_HOST: who may let us in */
};

/* Begins with our hello. */
CV_MUST_USE int cv_admission_init(struct cv_admitting *a,
                                  const struct cv_admission_config *config,
                                  cv_time now, struct cv_writer *out);

/* A message of the peer.  CV_OK also when it ended in CLOSED; else the
 * writer's error.  Not to be called in MEMBER or CLOSED. */
CV_MUST_USE int cv_admission_message(struct cv_admitting *a,
                                     struct cv_bytes message, cv_time now,
                                     uint64_t unix_s, struct cv_writer *out);
CV_MUST_USE int cv_admission_step(struct cv_admitting *a, cv_time now,
                                  struct cv_writer *out);

/* Somebody else gave us config.grants: show them.  CV_ERR_INVALID unless
 * WAITING with such. */
CV_MUST_USE int cv_admission_show(struct cv_admitting *a, cv_time now,
                                  struct cv_writer *out);

/* May a person's decision be applied?  (ASKED or LAPSED.) */
bool cv_admission_undecided(const struct cv_admitting *a);
/* Let them in.  CV_ERR_INVALID unless undecided; CV_ERR_DENIED when our grant
 * does not allow that role. */
CV_MUST_USE int cv_admission_accept(struct cv_admitting *a, enum cv_role role,
                                    uint64_t unix_s, cv_time now,
                                    struct cv_writer *out);
/* Or not: ends in CLOSED. */
CV_MUST_USE int cv_admission_reject(struct cv_admitting *a, const char *reason,
                                    struct cv_writer *out);
/* End it for a reason of ours. */
void cv_admission_close(struct cv_admitting *a, enum cv_refusal why,
                        const char *reason);

/* Issue a grant for `subject` from ours: CV_ERR_DENIED, CV_ERR_LIMIT as
 * cv_grants_issue().  Our own identity gets what we have. */
CV_MUST_USE int cv_admission_issue(struct cv_grants *out,
                                   const struct cv_grants *ours,
                                   const struct cv_key *session,
                                   const struct cv_keypair *identity,
                                   const struct cv_key *subject,
                                   enum cv_role role, uint64_t unix_s,
                                   const struct cv_rng *rng);
#endif
