/* transport/predict.h - NATs that give out their ports in order: seen from a
 * few mappings of ours, and met by a peer that knows the last one (plan P2).
 *
 *   hard side   8 sockets, one check each to the easy side's port, with a low
 *               TTL so that they open our NAT and do not reach the other one;
 *               after 500 ms at full TTL
 *   easy side   from its one socket to the hard side's ports p + d*step:
 *               d = 1..48 every 2 ms, and from 500 ms on 1..64
 *
 * p, the port of the newest mapping, and p - step are two server-reflexive
 * candidates of the hard side's record, the newer one preferred; between p and
 * the eight other connections may have taken ports.
 *
 * When both count (a duel), the j-th guess of the one end at p + j*step comes
 * from its own j-th next port.  The other end, the joiner, sends from new
 * sockets, 20 at a time, to the (20 + 40*k)-th next port of the first one.  If
 * others have taken n ports at the two NATs since the ports were named, the
 * k-th twenty meets n = 20*k .. 20*k + 19; four of them and 140 guesses, each
 * at full TTL, as each opens a NAT for what comes back.
 *
 * Pure. */
#ifndef CV_TRANSPORT_PREDICT_H
#define CV_TRANSPORT_PREDICT_H
#include "transport/plan.h"

#define CV_PREDICT_SAMPLES 8
/* Ports of mappings made in turn that differ by no more are in sequence: a DHT
 * that begins makes dozens of others in between. */
#define CV_PREDICT_NEAR    128
#define CV_PREDICT_STEP    16 /* from one to the next, at most */
#define CV_PREDICT_SOCKETS 8
#define CV_PREDICT_FIRST   48
#define CV_PREDICT_WINDOW  64
#define CV_PREDICT_GAP     (2 * CV_MILLISECOND)
#define CV_PREDICT_AGAIN   (500 * CV_MILLISECOND)
#define CV_PREDICT_TTL     5
#define CV_PREDICT_DUEL    20 /* sockets at a time: below CV_ATTEMPT_BUDGET */
#define CV_PREDICT_DUELS   4
#define CV_PREDICT_AHEAD   (50 * CV_MILLISECOND) /* of the guesses */
/* What is behind the window by then is met by a birthday, which begins near
 * the port that was named. */
#define CV_PREDICT_TIME (300 * CV_MILLISECOND)

/* The ports of mappings, in the order in which they were made. */
struct cv_ports_seen {
    unsigned n;
    uint16_t port[CV_PREDICT_SAMPLES];
};

/* The newest CV_PREDICT_SAMPLES count. */
void cv_ports_seen_add(struct cv_ports_seen *s, uint16_t port);
/* CV_NAT_MAPPING_*, UNKNOWN below two samples; `step` of a sequence, which may
 * be negative. */
uint16_t cv_ports_seen_kind(const struct cv_ports_seen *s, int *step);

/* The d-th port after `last`; never 0 and never below 1024: it wraps there. */
uint16_t cv_predict_port(uint16_t last, int step, unsigned d);
/* From one port to another, the shorter way round: less than 0 is down. */
int cv_predict_way(uint16_t from, uint16_t to);
/* What the peer's record says, false when it does not: the newest mapping and
 * the step to the next. */
bool cv_predict_from(const struct cv_candidates *peer, struct cv_addr *last,
                     int *step);

struct cv_predict {
    bool on, hard;
    bool duel;         /* both count; `hard` is the one with the sockets */
    struct cv_addr to; /* hard: the peer's port; easy, and in a duel: its newest
                          mapping */
    int step;
    unsigned sent;
    cv_time started, next;
};

void cv_predict_start(struct cv_predict *p, bool hard, const struct cv_addr *to,
                      int step, cv_time now);
void cv_predict_start_duel(struct cv_predict *p, bool joiner,
                           const struct cv_addr *to, int step, cv_time now);
/* CV_NEVER when all is sent. */
cv_time cv_predict_deadline(const struct cv_predict *p);
/* The next check that is due, or false. */
bool cv_predict_shot(struct cv_predict *p, cv_time now, struct cv_shot *out);
#endif
