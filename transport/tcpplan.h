/* transport/tcpplan.h - plan P4: which of a peer's TCP addresses to connect
 * to, when, and with what TTL, so that two NATs let a connection through.
 *
 *   knock    a SYN with TTL 3, 5 or 8 opens our own NAT and dies before the
 *            other's.  Its socket goes on waiting, with the full TTL, for the
 *            SYN of the other side (simultaneous open, RFC 9293, 3.5): a NAT
 *            that follows sequence numbers, as Linux does, lets no listener
 *            answer in its place.  What the kernel repeats of it has the low
 *            TTL again (transport/tcp.h).
 *   connect  a SYN with full TTL; after 600 ms of silence a new one, and one
 *            more after 1 s, which the kernel repeats after 1 s.
 *
 *   joiner   knocks at 0, 100, 200 ms; connects 300 ms after the sharer must
 *            have, 3 s after it began, or 600 ms when its own NAT maps by
 *            destination.  One that waits for a token that is carried by hand
 *            knocks on, with what the kernel repeats in 127 s, and again; to
 *            an address that nobody translates it connects every 15 s, too,
 *            for that may be the only way.
 *   sharer   was told by the knock of the rendezvous, when the joiner's NAT
 *            was open: it connects at once.
 *   both     connect at once to an address that nobody translates.
 *   led      with a gate between them both know when the sharer has the knock:
 *            then the joiner connects, and the sharer knocks and connects 150
 *            ms later.  Whose SYN is answered is connected half a round trip
 *            before the other, and it is the joiner that speaks next.
 *   again    below a living connection neither end knows who is first: both
 *            knock for 600 ms, then connect.
 *
 * A refusal (RST or ICMP: a gateway that does not expect us yet) is followed
 * by another try 100 ms later, from the eighth on 200 ms, for 3 s; then once
 * after 6 and 10 s.  Who knocked first knocks again meanwhile.  A target gets
 * 22 SYNs, the kernel's included, before it answers, in all rounds.
 *
 * Pure: the time and what became of connections come in, SYNs go out. */
#ifndef CV_TRANSPORT_TCPPLAN_H
#define CV_TRANSPORT_TCPPLAN_H
#include "base/contact.h"
#include "base/log.h"
#include "base/time.h"

#define CV_TCPPLAN_WAIT   (500 * CV_MILLISECOND) /* for UDP, if that may work */
#define CV_TCPPLAN_LEAD   (200 * CV_MILLISECOND) /* joiner's knocks before it */
#define CV_TCPPLAN_BUDGET 22                     /* SYNs, CV_ATTEMPT_BUDGET */
#define CV_TCPPLAN_SPARE  8 /* of them that knocks leave for connecting */
#define CV_TCPPLAN_PACE   (20 * CV_MILLISECOND) /* CV_ATTEMPT_PACE */
#define CV_TCPPLAN_HOLD   (600 * CV_MILLISECOND)
#define CV_TCPPLAN_LAST   (3 * CV_SECOND)        /* of the third silent SYN */
#define CV_TCPPLAN_MET    (500 * CV_MILLISECOND) /* for the last packet */
#define CV_TCPPLAN_RETRY  (100 * CV_MILLISECOND)
#define CV_TCPPLAN_FULL   (3 * CV_SECOND)        /* of a joiner, after its */
#define CV_TCPPLAN_EARLY  (600 * CV_MILLISECOND) /* beginning */
#define CV_TCPPLAN_ANSWER (300 * CV_MILLISECOND)
#define CV_TCPPLAN_LED    (150 * CV_MILLISECOND)
#define CV_TCPPLAN_WINDOW (3 * CV_SECOND) /* of connecting */
#define CV_TCPPLAN_EVERY                                                       \
    (15 * CV_SECOND) /* by hand, CV_ATTEMPT_BY_HAND_EVERY */
/* Rounds below a living connection that has lost its path: at once, then
 * 5, 15, 60 s after the one before, then every 300 s. */
#define CV_TCPPLAN_ROUNDS     5
#define CV_TCPPLAN_ROUND_SYNS 8 /* of one target in such a round */

enum cv_tcpplan_state {
    CV_TCPPLAN_WAITING,    /* for `next` */
    CV_TCPPLAN_KNOCKING,   /* a low SYN is out and waits until `next` */
    CV_TCPPLAN_CONNECTING, /* a SYN is out; given up at `next` */
    CV_TCPPLAN_OPEN,       /* the path set has it now */
};

struct cv_tcpplan_target {
    enum cv_tcpplan_state state;
    struct cv_addr addr;
    bool dial;     /* nobody translates it */
    bool answered; /* a connection was there once: it is no bystander's */
    unsigned knocks, tries, silent; /* in this round */
    unsigned syns;                  /* of the budget */
    uint32_t channel;
    cv_time since;   /* when the SYN went out */
    cv_time full_at; /* knocks until then */
    cv_time until;   /* end of the window; CV_NEVER before the first try */
    cv_time next;    /* CV_NEVER: nothing more */
};

/* What the plan makes happen. */
struct cv_tcpplan_ops {
    /* Send a SYN from our listener's port, the first one with this TTL (0: the
     * system's), and wait for what comes of it: cv_tcpplan_up() or _down().
     * CV_ERR_EXISTS: there is such a connection (the peer's). */
    int (*connect)(void *user, const struct cv_addr *to, unsigned ttl,
                   uint32_t *channel);
    /* Has the SYN met the other side's, so that _up() is about to follow? */
    bool (*is_met)(void *user, uint32_t channel);
    /* No call follows. */
    void (*close)(void *user, uint32_t channel);
};

struct cv_tcpplan {
    bool joiner;
    bool stopped; /* nothing is begun until the next round */
    bool answered;
    bool holds;      /* the other side begins in minutes, not seconds */
    unsigned rounds; /* begun below a living connection */
    cv_time start;   /* of connecting, in this round */
    cv_time round_at;
    cv_time paced_until;
    cv_time wait;       /* of both, for UDP */
    cv_time full_after; /* a joiner's, from `start` on */
    unsigned n;
    struct cv_tcpplan_target target[CV_CANDIDATES_MAX];
    struct cv_log *log; /* kept, may be NULL */
    const struct cv_tcpplan_ops *ops;
    void *user;
};

struct cv_tcpplan_config {
    bool joiner;
    bool blocked; /* one of the two says that UDP does not get through, so
                     there is nothing to wait for */
    bool by_destination; /* our own NAT maps so */
    bool holds;          /* the joiner's token is carried by hand */
};

void cv_tcpplan_init(struct cv_tcpplan *p,
                     const struct cv_tcpplan_config *config, struct cv_log *log,
                     const struct cv_tcpplan_ops *ops, void *user, cv_time now);

/* UDP turned out to be blocked: do not wait for it. */
void cv_tcpplan_hurry(struct cv_tcpplan *p, cv_time now);

/* An address of the peer that we may connect to.  False: known, or full. */
bool cv_tcpplan_add(struct cv_tcpplan *p, const struct cv_addr *addr, bool dial,
                    cv_time now);
/* The other end is there, as from now: a joiner connects when that one has had
 * time to. */
void cv_tcpplan_full(struct cv_tcpplan *p, cv_time now);

/* The sharer has the knock just now, and both know: the joiner leads.  Nothing
 * changes where UDP is waited for. */
void cv_tcpplan_lead(struct cv_tcpplan *p, cv_time now);

/* A connection is there, or is gone.  _up: false if it is not this plan's. */
bool cv_tcpplan_up(struct cv_tcpplan *p, uint32_t channel);
void cv_tcpplan_down(struct cv_tcpplan *p, uint32_t channel, int err,
                     cv_time now);

/* A path is proved: what is not open is given up. */
void cv_tcpplan_stop(struct cv_tcpplan *p);
/* The connection lives and has no path: begin again, in rounds, until
 * cv_tcpplan_stop(). */
void cv_tcpplan_again(struct cv_tcpplan *p, cv_time now);

cv_time cv_tcpplan_deadline(const struct cv_tcpplan *p);
void cv_tcpplan_step(struct cv_tcpplan *p, cv_time now);
#endif
