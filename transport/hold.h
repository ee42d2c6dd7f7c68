/* transport/hold.h - keep a hard pair of NATs open for a peer that begins in
 * minutes: the knock was a token, carried by hand.
 *
 * Of the two plans for a NAT that maps by destination (transport/predict.h,
 * transport/birthday.h) both sides have to act at the same moment.  Who waits
 * does not know the moment, so it keeps its half of the birthday open, by
 * packets with a low TTL that open its own NAT and reach nobody:
 *
 *   hard side   256 sockets, towards the easy side's port: it meets them with
 *               its guesses, whenever it begins.  Opened in a row, they are
 *               what it predicts when our NAT counts.
 *   easy side   512 ports of the hard side's address.  Half of them follow its
 *               newest mapping if its NAT counts; the others are random.  It
 *               meets them with 4 x 256 sockets (cv_birthday_start_rounds()):
 *               one is met with 99.97 %.
 *
 * All once at 1000/s, and then again every 15 s (NATs forget in 30 s, RFC 4787,
 * 4.3), evenly: 17 or 34 packets a second.
 *
 * Pure. */
#ifndef CV_TRANSPORT_HOLD_H
#define CV_TRANSPORT_HOLD_H
#include "transport/birthday.h"
#include "transport/plan.h"

#define CV_HOLD_PORTS        512
#define CV_HOLD_GENTLE_PORTS 256
#define CV_HOLD_EVERY        (15 * CV_SECOND)
#define CV_HOLD_FIRST        (1 * CV_MILLISECOND) /* apart, the first time */
#define CV_HOLD_TTL          5

struct cv_hold {
    bool on, hard;
    struct cv_addr to; /* hard: the peer's port; easy: its newest mapping */
    int step;          /* easy: from one mapping to the next; 0: not known */
    unsigned total;    /* sockets, or ports */
    unsigned i;        /* of them is next */
    uint64_t seed;     /* of the ports */
    cv_time every;     /* each again; CV_HOLD_EVERY unless it is set */
    cv_time next;
};

/* `seed` is random. */
void cv_hold_start(struct cv_hold *h, bool hard, bool gentle,
                   const struct cv_addr *to, int step, uint64_t seed,
                   cv_time now);
/* CV_NEVER when it is off. */
cv_time cv_hold_deadline(const struct cv_hold *h);
/* The next packet that is due, or false. */
bool cv_hold_shot(struct cv_hold *h, cv_time now, struct cv_shot *out);
#endif
