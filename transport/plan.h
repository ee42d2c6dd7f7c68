/* transport/plan.h - what can be done about two NATs, and how that is said.
 *
 * A NAT is *easy* when it keeps one port for all destinations (or there is
 * none, or nothing is known of it), *hard* when it takes another one for each.
 * Two easy ones are joined by dialling and punching; one hard one needs the
 * right port to be met, by prediction when it counts and by the birthday
 * method when it does not.  Two that count may be joined when neither is busy;
 * other pairs of hard ones cannot be, in a sensible number of packets.
 *
 * Pure. */
#ifndef CV_TRANSPORT_PLAN_H
#define CV_TRANSPORT_PLAN_H
#include "base/contact.h"
#include "base/time.h"

struct cv_plan {
    bool predict;  /* P2 */
    bool birthday; /* P3 */
    bool hard;     /* of the two, we are the hard side */
    bool duel;     /* P2 with both ends hard: which is which is the caller's */
    bool hopeless; /* both are: nothing is sure to do */
};

/* Of CV_NAT_*: does it take another port for every destination? */
bool cv_plan_is_hard(uint16_t nat);
/* From the CV_NAT_* of both ends. */
struct cv_plan cv_plan_for(uint16_t own, uint16_t peer);

/* The address that the peer's NAT shows, or NULL: of its best IPv4 server-
 * reflexive candidate. */
const struct cv_addr *cv_plan_outside(const struct cv_candidates *peer);

/* The NAT in words: "a NAT that …", or "a NAT of unknown kind". */
const char *cv_plan_nat_words(uint16_t nat);

/* One check that a plan wants to be sent. */
struct cv_shot {
    unsigned socket; /* of the plan's own sockets, from 1 on; 0: the main one */
    struct cv_addr to;
    unsigned ttl; /* 0: the system's */
    bool anew;    /* the socket is another one than before */
};
#endif
