/* transport/pathset.h - the paths below one connection: prove them, choose
 * the best, notice that one has died, keep the others warm.
 *
 *   NEW -> CHECKING -> VALID -> SELECTED | STANDBY
 *   SELECTED -> SUSPECT -> SELECTED | DEAD       STANDBY -> DEAD
 *   DEAD -> VALID when a check is answered after all
 *
 * Timers, all of them a path's `check_at`:
 *   CHECKING  0, 100, 250 ms, then every 250 ms, seven checks
 *   SELECTED  every 15 s, STANDBY every 25 s: keeps the NAT's mapping; over
 *             UDP as the life of such a mapping asks for (transport/natlife.h)
 *   SUSPECT   0, 50, 100 ms, then every RTO; DEAD after three lost ones when
 *             there is another path, else after 3 s
 *   DEAD      5, 15, 60, 300 s; with no path left 250 ms, doubling to 2 s
 *
 * A path becomes SUSPECT when data is in flight and nothing comes, when a
 * stream of the peer's stops and a check that asks why is not answered, when
 * its keepalive is lost, when the network changed, or when the peer turns away
 * from it.  From then on every packet goes to the best standby, too, and
 * `selected` tells it again, so that what is in flight is sent at once.
 *
 * The QUIC connection above sees one made-up address pair and never a path:
 * it hands packets to cv_pathset_send() and is told the remote address that
 * packets go to only for people's eyes.  Which packets of the peer arrive on
 * which path is the peer's choice; each end chooses for itself.
 *
 * Pure: the caller passes the time, sends what the send function is handed,
 * and comes back at the deadline. */
#ifndef CV_TRANSPORT_PATHSET_H
#define CV_TRANSPORT_PATHSET_H
#include "base/log.h"
#include "transport/checks.h"
#include "transport/local.h"
#include "transport/path.h"

#define CV_PATHS_MAX 16 /* 8 candidates and 8 learnt ones */

/* NATs forget idle UDP mappings after 30 s and more (RFC 4787, 4.3). */
#define CV_PATH_KEEP_SELECTED (15 * CV_SECOND)
#define CV_PATH_KEEP_STANDBY  (25 * CV_SECOND)
/* A path just proved is checked three times more: that measures it, and gives
 * a peer whose own check was lost another reason to try. */
#define CV_PATH_SETTLE       (1500 * CV_MILLISECOND)
#define CV_PATH_CHECKS       7 /* unanswered, then a path is not one */
#define CV_PATH_RTO_MIN      (250 * CV_MILLISECOND)
#define CV_PATH_PACE         (50 * CV_MILLISECOND) /* checks to one address */
#define CV_PATH_SUSPECT_MIN  (150 * CV_MILLISECOND)
#define CV_PATH_SUSPECT_MAX  (1 * CV_SECOND)
#define CV_PATH_SPREAD_MAX   (200 * CV_MILLISECOND) /* of answers, or srtt */
#define CV_PATH_SUSPECT_LOST 3
#define CV_PATH_SUSPECT_TIME (3 * CV_SECOND)
/* Between two moves; none from a gate to a direct path. */
#define CV_PATH_SWITCH_PAUSE (1 * CV_SECOND)
/* An address is worth this many bytes for each that came from it, until it
 * answered a check (RFC 9000, 8). */
#define CV_PATH_CREDIT 3
/* Packets of a known connection from elsewhere cause at most this many
 * checks a second. */
#define CV_PATH_STRAY_CHECKS 10
/* This many packets without a longer break are a stream; when it stops, a check
 * asks why: a round trip later than its longest pause of late, or... */
#define CV_PATH_STREAM_PACKETS 6
#define CV_PATH_STREAM_BREAK   (1 * CV_SECOND)
#define CV_PATH_QUIET_MAX      (400 * CV_MILLISECOND) /* ...this */

struct cv_pathset_events {
    /* The selected path changed; NULL: none works at the moment.  Also when
     * the first one is found; and when packets begin to go out on another one
     * as well, or it was suspect and works, and nothing came of the peer: what
     * went before may be lost. */
    void (*selected)(void *user, const struct cv_path *path);
    /* A path was proved that was not (or is again). */
    void (*proved)(void *user, const struct cv_path *path);
    /* The path in use has fallen silent and no other one is good: the peer
     * has to be found again by other means; and the end of that. */
    void (*silent)(void *user, bool silent, cv_time now);
};

struct cv_pathset {
    struct cv_path path[CV_PATHS_MAX];
    int selected; /* index, or -1 */
    uint32_t next_id;
    struct cv_checks *checks;     /* kept */
    const struct cv_local *local; /* kept */
    struct cv_log *log;           /* kept, may be NULL */
    cv_path_send_fn send;
    const struct cv_pathset_events *events;
    void *user;

    bool in_flight;       /* data of ours is not acknowledged */
    cv_time in_flight_at; /* since when */
    cv_time heard;        /* when anything last came, on any path */
    cv_time switched;     /* when the selected path last changed */
    cv_time choose_at;    /* a better one waits for the pause to end */
    cv_time quiet_at;     /* a running stream has stopped by then */
    bool stopped;         /* it has, and the check that asks is under way */
    uint32_t doubled_on;  /* the standby that packets go to as well, or 0 */
    cv_time retry;        /* dead paths are asked so often; 0: as above */
    unsigned stream;      /* its packets until now */
    cv_time gap;          /* the longest between two of them, of late */
    cv_time doubt_from;   /* a path in use is suspect, and nothing has come from
                             the peer since; CV_NEVER */
    bool told_none;
    bool told_silent;
    unsigned strays;     /* checks caused in the second from */
    cv_time strays_from; /* here on */

    uint64_t dropped;    /* packets that had no path */
    uint64_t duplicated; /* packets that went out twice */
};

/* All pointers are kept; `log` may be NULL. */
void cv_pathset_init(struct cv_pathset *ps, struct cv_checks *checks,
                     const struct cv_local *local, struct cv_log *log,
                     cv_path_send_fn send,
                     const struct cv_pathset_events *events, void *user);

/* The path to an address that the peer's record names, made if there is room;
 * NULL when the set is full. */
struct cv_path *cv_pathset_candidate(struct cv_pathset *ps,
                                     const struct cv_path_addr *addr,
                                     cv_time now);
/* One that is about to be proved, and may be forgotten again when it is dead;
 * NULL when there is no room. */
struct cv_path *cv_pathset_met(struct cv_pathset *ps,
                               const struct cv_path_addr *addr, cv_time now);
struct cv_path *cv_pathset_find(struct cv_pathset *ps,
                                const struct cv_path_addr *addr);

/* A TCP link of ours is there: it becomes a path when checks prove it.  One
 * that is gone is no path any more. */
void cv_pathset_link_up(struct cv_pathset *ps, const struct cv_path_addr *link,
                        cv_time now);
void cv_pathset_link_down(struct cv_pathset *ps,
                          const struct cv_path_addr *link, cv_time now);
/* A channel of a gate, whose other end the gate has authenticated: as good as
 * proved, `rtt` is a first guess. */
void cv_pathset_trust(struct cv_pathset *ps, const struct cv_path_addr *addr,
                      cv_time rtt, cv_time now);
/* A candidate that the peer does not name any more.  False: it works, or did
 * until just now, and stays. */
bool cv_pathset_forget(struct cv_pathset *ps, struct cv_path *path);
/* The peer names the address of `path` again: ask at once whether it works
 * (still, or again), unless it was just asked. */
void cv_pathset_renamed(struct cv_pathset *ps, struct cv_path *path,
                        cv_time now);
/* Send one check now. `ttl` 0: the system's. */
void cv_pathset_check(struct cv_pathset *ps, struct cv_path *path, unsigned ttl,
                      cv_time now);

/* An authenticated request of `len` bytes came and was answered with
 * `answered` bytes: check that way too. */
void cv_pathset_requested(struct cv_pathset *ps,
                          const struct cv_path_addr *from, size_t len,
                          size_t answered, cv_time now);
/* A check of ours was answered. */
void cv_pathset_answered(struct cv_pathset *ps, const struct cv_path_addr *from,
                         cv_time rtt, cv_time now);
/* A path that another attempt with the same peer has proved. */
void cv_pathset_adopt(struct cv_pathset *ps, const struct cv_path *proved,
                      cv_time now);
/* `packets` of the connection came together, `len` bytes in all (its connection
 * id is known; whether they are authentic is not). */
void cv_pathset_packets(struct cv_pathset *ps, const struct cv_path_addr *from,
                        unsigned packets, size_t len, cv_time now);
static inline void cv_pathset_packet(struct cv_pathset *ps,
                                     const struct cv_path_addr *from,
                                     size_t len, cv_time now)
{
    cv_pathset_packets(ps, from, 1, len, now);
}

/* Mappings live longer or shorter than was thought (cv_local.udp_life). */
void cv_pathset_life_changed(struct cv_pathset *ps);

/* Ask whether the path in use works still. */
void cv_pathset_recheck(struct cv_pathset *ps, cv_time now);

/* Send packets of the connection (`segment` bytes each, the last one maybe
 * shorter) on the best path, and on the standby too while it is suspect.
 * CV_ERR_NOPATH: there is none, the packets are lost; CV_ERR_AGAIN: the
 * carrier is full, nothing was taken. */
int cv_pathset_send(struct cv_pathset *ps, cv_time now, const uint8_t *data,
                    size_t len, size_t segment);

/* Is data of ours waiting for an acknowledgement?  Call it after every
 * packet that went or came. */
void cv_pathset_in_flight(struct cv_pathset *ps, bool in_flight, cv_time now);

/* Our addresses or routes changed: nothing is certain any more. */
void cv_pathset_network_changed(struct cv_pathset *ps, cv_time now);

cv_time cv_pathset_deadline(const struct cv_pathset *ps);
void cv_pathset_step(struct cv_pathset *ps, cv_time now);

/* A path that is not proved, where an authenticated check came in the last
 * second, or a link of TCP that is as new: the newest such, or NULL. */
const struct cv_path *cv_pathset_promising(const struct cv_pathset *ps,
                                           cv_time now);
/* The selected path, or NULL. */
const struct cv_path *cv_pathset_best(const struct cv_pathset *ps);
/* Has any path been proved that is not dead? */
bool cv_pathset_any(const struct cv_pathset *ps);
const char *cv_path_state_name(enum cv_path_state state);
const char *cv_path_kind_name(enum cv_path_kind kind);
#endif
