/* transport/natlife.h - how long the NAT keeps a UDP mapping that is idle,
 * asked of a STUN server that answers to another port than the one which asked
 * (RESPONSE-PORT; RFC 5780, 4.6).
 *
 *   MAP    a socket of its own asks the server      -> its mapping
 *   ABLE   the main socket has the server answer there: can this one do so?
 *          Only asked for the first mapping; the others begin after that.
 *   WARM   the socket asks again, 2.5 s later: Linux keeps a flow longer that
 *          has gone both ways for two seconds, and those of peers have
 *   IDLE   nothing, for another time each: 5, 9, 19, 29, 58, 115 s
 *   TEST   the main socket has the server answer there: what comes in says
 *          that the mapping is there still
 *   AFTER  nothing came: is the server there?  The socket asks once more.
 *
 * What was lost after one time needs no trial of a longer one.  So it is known
 * after two minutes at the most, and soon when it is short; at most 6 sockets,
 * and 6 * (3 * CV_NATLIFE_TRIES + CV_NATLIFE_TESTS) packets of 64 B or less
 * where nearly all are lost, else about 20.
 *
 * Below: what follows for keep-alives.
 *
 * Pure; opens and closes its sockets by its caller. */
#ifndef CV_TRANSPORT_NATLIFE_H
#define CV_TRANSPORT_NATLIFE_H
#include "base/crypto.h"
#include "base/time.h"
#include "transport/path.h"
#include "transport/stun.h"

#define CV_NATLIFE_PROBES 6
#define CV_NATLIFE_TRIES  3 /* of MAP, WARM and AFTER, 500 ms apart */
#define CV_NATLIFE_TESTS  4 /* of ABLE and TEST: one lost is no loss */
#define CV_NATLIFE_RTO    (500 * CV_MILLISECOND)
#define CV_NATLIFE_WARM   (2500 * CV_MILLISECOND)

/* While nothing is known: the least that is common (RFC 4787, 4.3, asks for
 * two minutes). */
#define CV_NATLIFE_ASSUMED (30 * CV_SECOND)
/* What is shorter than that is worth a word. */
#define CV_NATLIFE_SHORT (19 * CV_SECOND)
/* When even the shortest idle time was too long. */
#define CV_NATLIFE_LEAST (4 * CV_SECOND)

enum cv_natlife_state {
    CV_NATLIFE_OFF,   /* not begun */
    CV_NATLIFE_RUNS,  /* `kept` and `lost` say what was seen so far */
    CV_NATLIFE_DONE,  /* … in the end */
    CV_NATLIFE_UNABLE /* the server cannot, or is gone: nothing was learnt */
};

enum cv_natlife_step {
    CV_NATLIFE_STEP_NONE, /* not begun, or over */
    CV_NATLIFE_STEP_MAP,
    CV_NATLIFE_STEP_ABLE,
    CV_NATLIFE_STEP_WARM,
    CV_NATLIFE_STEP_TEST,
    CV_NATLIFE_STEP_AFTER,
};

struct cv_natlife_probe {
    enum cv_natlife_step step;
    uint16_t socket;
    uint16_t port; /* of its mapping */
    uint8_t txid[CV_STUN_TXID];
    unsigned tries;
    cv_time next;
};

struct cv_natlife {
    enum cv_natlife_state state;
    struct cv_addr server;
    cv_socket_open_fn open;
    cv_socket_close_fn close;
    void *user;
    struct cv_natlife_probe probe[CV_NATLIFE_PROBES];
    cv_time kept; /* the longest idle time that a mapping outlived; 0: none */
    bool lost;    /* … and the next longer one was too long */
};

/* `server`: IPv4.  Ends what ran before. */
void cv_natlife_start(struct cv_natlife *l, const struct cv_addr *server,
                      cv_socket_open_fn open, cv_socket_close_fn close,
                      void *user, cv_time now);
/* Closes its sockets; all is forgotten. */
void cv_natlife_end(struct cv_natlife *l);
cv_time cv_natlife_deadline(const struct cv_natlife *l);
/* Writes one request that is due and where it goes, true: call it again; or
 * false. */
bool cv_natlife_step(struct cv_natlife *l, const struct cv_rng *rng,
                     cv_time now, struct cv_path_addr *to,
                     struct cv_writer *out);
/* A STUN message came; true when it was for us. */
bool cv_natlife_input(struct cv_natlife *l, const struct cv_path_addr *from,
                      const struct cv_stun *m, cv_time now);

/* How long an idle mapping may be hoped to live: measured, or assumed. */
cv_time cv_natlife_hoped(const struct cv_natlife *l);

/* ---- keep-alives -------------------------------------------------------- */

/* So often something is sent that keeps a mapping of this life: the path in use
 * at half of it, so that one may be lost; others at five sixths.  Never more
 * often than LEAST; and QUIC itself speaks every 25 s. */
#define CV_KEEP_LEAST   (2 * CV_SECOND)
#define CV_KEEP_USED    (25 * CV_SECOND)
#define CV_KEEP_STANDBY (45 * CV_SECOND)

/* `life` 0: CV_NATLIFE_ASSUMED. */
cv_time cv_keep_used(cv_time life);
cv_time cv_keep_standby(cv_time life);
/* `often`, or more often if this life asks for it. */
cv_time cv_keep_within(cv_time often, cv_time life);
#endif
