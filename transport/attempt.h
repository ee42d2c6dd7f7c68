/* transport/attempt.h - reach one peer: which of its addresses to check, when,
 * with what TTL, from which socket, until a path is proved or there is a
 * reason to give up.
 *
 * Plans (docs/protocol.md, 5):
 *   dial   P0, P5: LAN, IPv6 and open addresses. Both ends check at once:
 *          every 100 ms x 3, 200 ms x 10, 500 ms x 4.
 *   punch  P1: addresses behind a NAT. The joiner sends openers with TTL 3,
 *          5 and 8, which open its own NAT and die before the other's, and
 *          goes to full TTL on the first authenticated check, 100 ms after
 *          the answer (at once when its own NAT maps by destination, for then
 *          only its packets can lead), or 3 s after the knock (600 ms; 150 ms
 *          when the other NAT is known to drop strays); the sharer has been
 *          told by the knock and checks at full TTL at once: 50 ms x 6, 200 ms
 *          x 10.
 *   predict, birthday  P2, P3: one NAT maps by destination (transport/plan.h).
 *          P2 as soon as the peer is known to be there, P3 a little later, when
 *          punching has had its chance, and if the peer is trusted or was heard
 *          from the address in question.
 *   P4     TCP addresses: transport/tcpplan.h, at once when one of the two has
 *          no UDP, else half a second later; and when a living connection
 *          falls silent.
 *   All    after that the rest of the budget, 3, 6 and 10 s into the attempt,
 *          for a rendezvous that is late.
 * One check in 20 ms, 22 to an address before it answered, 18 kB in all; only
 * a birthday is beyond that.
 *
 * A joiner whose knock is carried by hand does not know when the sharer begins.
 * Until it hears of it, it sends openers only, one every 15 s to each address
 * beyond the LAN, for as long as the token is good: its NAT stays open for the
 * sharer's first check, and nothing reaches whoever else is at that address.
 * Only to addresses that are dialled it says some of them at full TTL, within
 * the budget: every 15 s for two minutes, then every minute.  For where our own
 * NAT maps by destination, nobody but us can begin.
 *
 * Where one of the two NATs is hard, the joiner holds its half of a birthday
 * open meanwhile (transport/hold.h).
 *
 * Owns the path set below the connection that comes of it, and goes on
 * answering the peer's checks as long as the connection lives; and the sockets
 * that it opened, of which only those with a path stay.
 *
 * When no path of the connection works any more and one of the NATs is hard,
 * its mapping is probably another one: both ends notice that at nearly the same
 * time, and begin another birthday between the addresses that they had.
 *
 * Pure: time, packets and events in; packets with a TTL, events and a deadline
 * out. */
#ifndef CV_TRANSPORT_ATTEMPT_H
#define CV_TRANSPORT_ATTEMPT_H
#include "base/contact.h"
#include "transport/birthday.h"
#include "transport/checks.h"
#include "transport/hold.h"
#include "transport/local.h"
#include "transport/pathset.h"
#include "transport/predict.h"
#include "transport/tcpplan.h"

#define CV_ATTEMPT_BUDGET  22    /* checks to one address before an answer */
#define CV_ATTEMPT_BYTES   18000 /* of checks, to all of them */
#define CV_ATTEMPT_PACE    (20 * CV_MILLISECOND)
#define CV_ATTEMPT_OPENERS 5 /* 0, 50, 100 ms; 1.1 and 2.1 s */
/* Full TTL after the knock, if nothing was heard.  Earlier than the knock
 * arrives (one in ten takes 1.4 s) it would poison a gateway that lets strays
 * in: sim/attempt, 0 of 25 at 600 ms, 25 of 25 at 3 s. */
#define CV_ATTEMPT_FULL      (3 * CV_SECOND)
#define CV_ATTEMPT_FULL_EDM  (600 * CV_MILLISECOND)
#define CV_ATTEMPT_FULL_SAFE (150 * CV_MILLISECOND)
#define CV_ATTEMPT_ANSWER    (100 * CV_MILLISECOND) /* after the answer */
/* Then there is no path: of a joiner that gets no answer; after the other side
 * is known to be there; and when the two NATs leave no hope.  New candidates
 * add a little, up to three times. */
#define CV_ATTEMPT_TIME     (15 * CV_SECOND)
#define CV_ATTEMPT_DECIDE   (7 * CV_SECOND)
#define CV_ATTEMPT_HOPELESS (4 * CV_SECOND)
#define CV_ATTEMPT_NEWS     (4 * CV_SECOND)
#define CV_ATTEMPT_RENEWED  3
/* A birthday begins so long after the other side is known to be there: the
 * knock has just come, or the answer, which took its time.  The ports are open
 * before they are guessed at; where the easy NAT is strict, punching cannot
 * work, and nothing has to be waited for but that.  Of a joiner whose answer
 * takes its time the ports, which cost nobody else anything, do not wait. */
#define CV_ATTEMPT_BIRTHDAY_KNOCK  (200 * CV_MILLISECOND)
#define CV_ATTEMPT_BIRTHDAY_ANSWER (100 * CV_MILLISECOND)
#define CV_ATTEMPT_BIRTHDAY_OPEN   (75 * CV_MILLISECOND)
#define CV_ATTEMPT_BIRTHDAY_EARLY  (400 * CV_MILLISECOND)
#define CV_ATTEMPT_SOCKETS         (CV_PREDICT_SOCKETS + CV_BIRTHDAY_SOCKETS)
/* A connection that is silent for so long, and for two round trips, has lost
 * its mappings: both ends know that, so neither waits for the rendezvous. */
#define CV_ATTEMPT_RESCUE (150 * CV_MILLISECOND)
/* Sockets without a path are closed so often once there is one. */
#define CV_ATTEMPT_PRUNE (5 * CV_SECOND)
/* How long better or second paths are still looked for once one is proved. */
#define CV_ATTEMPT_AFTER  (2 * CV_SECOND)
#define CV_ATTEMPT_REASON 448
#define CV_ATTEMPT_GATE   128 /* what a gate said */
/* By hand: as long as a token is good; NATs forget in 30 s (RFC 4787, 4.3). */
#define CV_ATTEMPT_BY_HAND       (15 * CV_MINUTE)
#define CV_ATTEMPT_BY_HAND_EVERY (15 * CV_SECOND)
/* … and so long the sharer waits for a joiner that has to lead, after it has
 * said that there seems to be no way. */
#define CV_ATTEMPT_BY_HAND_LEAD (75 * CV_SECOND)

enum cv_attempt_phase {
    CV_ATTEMPT_LOOKING, /* checks are out, no path yet */
    CV_ATTEMPT_REACHED, /* a path is proved; the path set has taken over */
    CV_ATTEMPT_LOST,    /* final: the time is up; `reason` says what was seen */
};

enum cv_attempt_plan {
    CV_PLAN_DIAL,
    CV_PLAN_PUNCH,
};

struct cv_attempt_target {
    struct cv_path *path; /* in `paths` */
    enum cv_attempt_plan plan;
    uint8_t type;     /* enum cv_candidate_type */
    unsigned openers; /* low-TTL checks sent */
    unsigned sent;    /* all checks of this attempt */
    bool named;       /* in the newest news of the peer */
    cv_time next;     /* of the next check; CV_NEVER: none */
    cv_time full_at;  /* punch: when full TTL begins */
    unsigned full;    /* full-TTL checks of the first burst */
    bool open;        /* by hand: to be dialled, so that we may lead */
};

struct cv_attempt_events {
    /* The first path is proved. */
    void (*reached)(void *user);
    /* The time is up.  The caller may free the attempt. */
    void (*lost)(void *user, const char *reason);
    /* By hand: there is no way, as it seems; it goes on for a while.  Once; may
     * be NULL. */
    void (*doubt)(void *user, const char *reason);
    /* The time is up, and a gate carries the connection.  NULL: no matter. */
    void (*rests)(void *user);
    /* The path that packets take changed; NULL: none works just now. */
    void (*path)(void *user, const struct cv_path *path);
    /* As cv_pathset_events. */
    void (*silent)(void *user, bool silent);
    /* The peer sees us at `mapped`. */
    void (*reflexive)(void *user, const struct cv_addr *mapped,
                      const struct cv_addr *peer);
    /* A further UDP socket, and its end.  NULL: plans that need them are not
     * tried. */
    cv_socket_open_fn open;
    cv_socket_close_fn close;
    /* One more owner of a socket that is open: close() is called once more.
     * May be NULL. */
    cv_socket_close_fn share;
    /* Begin a birthday now?  True counts as one.  NULL: never. */
    bool (*may_burst)(void *user, bool *gentle);
    /* It has ended, or makes room for another one, and so many of its
     * CV_BIRTHDAY_GUESSES were not needed.  May be NULL. */
    void (*spared)(void *user, unsigned guesses);
    /* How to connect by TCP, with the same `user`; NULL: not at all. */
    const struct cv_tcpplan_ops *tcp;
};

struct cv_attempt {
    enum cv_attempt_phase phase;
    bool joiner;
    bool by_hand; /* the knock was a token */
    bool holds;   /* by hand, and nothing was heard yet: openers only */
    bool low_ttl; /* openers have a low TTL; tests switch it off */
    struct cv_checks checks;
    struct cv_pathset paths;
    struct cv_attempt_target target[CV_CANDIDATES_MAX];
    unsigned n;
    struct cv_tcpplan tcp;
    const struct cv_local *local; /* kept */
    struct cv_log *log;           /* kept, may be NULL */
    cv_path_send_fn send;
    const struct cv_attempt_events *events;
    void *user;

    cv_time started, fail_at, paced_until, reached_at;
    cv_time doubt_at; /* by hand, of the sharer; CV_NEVER */
    bool doubted;
    unsigned renewed;
    uint16_t peer_nat; /* CV_NAT_* of its record */
    unsigned skipped;  /* candidates that the rules forbid */
    bool heard;        /* an authenticated request came */
    bool answered;     /* the rendezvous answered: news after the first */
    bool trusted;      /* as cv_contact */
    bool carried;      /* a gate takes packets for the peer */
    bool looked;       /* again, below a connection */
    cv_time begun;     /* the first time it was started */
    cv_time again_at;  /* when a better path is looked for next */
    size_t spent;      /* bytes of checks before any path */

    /* Why a gate takes none; or "". */
    char no_gate[CV_ATTEMPT_GATE];

    /* Plans for hard NATs. */
    cv_time peer_at;             /* the peer is there since; CV_NEVER */
    cv_time handed_at;           /* a gate gave it our knock; CV_NEVER */
    struct cv_addr peer_outside; /* its NAT's address, or family NONE */
    struct cv_addr peer_last;    /* its newest mapping, or family NONE */
    int peer_step;
    struct cv_predict predict;
    struct cv_birthday birthday;
    unsigned aimed;          /* begun anew, elsewhere */
    struct cv_addr lost_end; /* where the path led that has fallen silent */
    unsigned rescues;        /* birthdays because of that */
    unsigned hits;           /* of the one that runs */
    unsigned leave;          /* guesses that it may still make */
    bool moved;            /* there was news of the peer since it fell silent */
    struct cv_hold hold;   /* by hand, of the joiner */
    cv_time hold_at;       /* it is asked for then; CV_NEVER */
    bool birthday_refused; /* there was no leave for it */
    struct cv_addr heard_from;
    uint16_t socket[CV_ATTEMPT_SOCKETS]; /* 0: not open */
    unsigned n_sockets;
    cv_time prune_at;
    cv_time rescue_at; /* silent: another birthday, on our own; CV_NEVER */
};

/* Start; nothing is sent before the first step.  Pointers are kept, `contact`
 * is not.  Large (about 50
 * KiB): allocate it. */
void cv_attempt_init(struct cv_attempt *at, const struct cv_contact *contact,
                     const struct cv_local *local, const struct cv_rng *rng,
                     struct cv_log *log, cv_path_send_fn send,
                     const struct cv_attempt_events *events, void *user,
                     cv_time now);
/* Wipes the keys, closes the TCP links. */
void cv_attempt_fini(struct cv_attempt *at);

/* A newer record of the peer; it need not know of us yet. */
void cv_attempt_news(struct cv_attempt *at, const struct cv_candidates *peer,
                     cv_time now);
/* The peer has heard of us, and says where it is: its answer, or a knock. */
void cv_attempt_candidates(struct cv_attempt *at,
                           const struct cv_candidates *peer, cv_time now);

/* A gate has handed our knock over, and says so at the moment when the peer has
 * it, more or less: what we send at full TTL from now on comes later. */
void cv_attempt_handed(struct cv_attempt *at, cv_time now);

/* A path that another attempt with the same peer has proved, not a gate's: also
 * a TCP link, which the last of them closes.  True:
 * its socket, which is not the main one, is closed by this attempt, too. */
bool cv_attempt_adopt(struct cv_attempt *at, const struct cv_path *proved,
                      cv_time now);

/* A STUN message came.  CV_OK when it was one of this attempt's, else as
 * cv_checks_receive(). */
int cv_attempt_input(struct cv_attempt *at, const struct cv_path_addr *from,
                     const struct cv_stun *m, cv_time now);

/* A channel of a gate leads to the peer, or does no more (`why`): the
 * connection is made over it.  As long as gates or TCP are all there is,
 * another path is looked for 12, 30 and 90 s after the attempt began, then
 * every five minutes; both ends count from there, so that they look at the same
 * time. */
void cv_attempt_relay_up(struct cv_attempt *at, const struct cv_path_addr *path,
                         cv_time rtt, cv_time now);
void cv_attempt_relay_down(struct cv_attempt *at,
                           const struct cv_path_addr *path, const char *why,
                           cv_time now);

/* A TCP connection is there or is gone, maybe one of this attempt's. */
void cv_attempt_link_up(struct cv_attempt *at, const struct cv_path_addr *link,
                        cv_time now);
void cv_attempt_link_down(struct cv_attempt *at,
                          const struct cv_path_addr *link, int err,
                          cv_time now);

/* The handshake is confirmed: new keys for the checks. */
void cv_attempt_rekey(struct cv_attempt *at, const uint8_t exported[64],
                      cv_time now);
/* Our own addresses changed (the struct cv_local has been updated). */
void cv_attempt_network_changed(struct cv_attempt *at, cv_time now);

cv_time cv_attempt_deadline(const struct cv_attempt *at);
/* Do what is due.  May call `lost`, and then returns without touching `at`. */
void cv_attempt_step(struct cv_attempt *at, cv_time now);
#endif
