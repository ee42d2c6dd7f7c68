/* transport/birthday.h - plan P3, for a NAT that takes a random port for every
 * destination: many ports on its side, many guesses on the other.
 *
 *   hard side   256 sockets, one check each to the easy side's port within
 *               50 ms, with a low TTL; after 1 s at full TTL, or so long
 *               after the easy side is known to be there
 *   easy side   2048 distinct ports of 1024..65535 at 1000/s, from its one
 *               socket: 1024 near the port that the hard side named and 1024
 *               elsewhere, in turn, either at random
 *
 * Near is the block of 1024 ports that it is in: carriers give a customer a
 * block (RFC 6888, RFC 7422).  Of a NAT that counts it is the next 1024 ports.
 * Where all ports are alike it costs nothing.
 *
 * With K sockets and N ports, n guesses miss with C(N-K, n)/C(N, n): 256 and
 * 2048 of 64512 hit with 99.97 %, half of the time within 174.  A gentle burst
 * has half the sockets and a quarter of the guesses (64 %), for routers that
 * fall over.
 *
 * Against a peer that holds ports open (transport/hold.h) the hard side makes
 * four rounds of full-TTL checks, 500 ms apart, each from sockets of its own.
 *
 * Between two ends that were connected until just now it is hurried: 2000
 * guesses a second, and rounds at full TTL from the beginning, for by then what
 * comes from the hard side meets what the easy side has guessed.
 *
 * Who may be sent this much, and how often, is for the caller to say.
 *
 * Pure. */
#ifndef CV_TRANSPORT_BIRTHDAY_H
#define CV_TRANSPORT_BIRTHDAY_H
#include "transport/plan.h"

#define CV_BIRTHDAY_SOCKETS        256
#define CV_BIRTHDAY_GUESSES        2048
#define CV_BIRTHDAY_GENTLE_SOCKETS 128
#define CV_BIRTHDAY_GENTLE_GUESSES 512
#define CV_BIRTHDAY_LOWEST         1024
#define CV_BIRTHDAY_PORTS          (65536 - CV_BIRTHDAY_LOWEST)
#define CV_BIRTHDAY_NEAR           1024
#define CV_BIRTHDAY_TTL            5
#define CV_BIRTHDAY_OPEN           (50 * CV_MILLISECOND) /* all sockets by then */
#define CV_BIRTHDAY_AGAIN          (1 * CV_SECOND)
#define CV_BIRTHDAY_GUESS_GAP      (1 * CV_MILLISECOND)
#define CV_BIRTHDAY_TIME           (4 * CV_SECOND) /* then it has failed */
#define CV_BIRTHDAY_HURRY_GAP      (500 * CV_MICROSECOND)
#define CV_BIRTHDAY_HURRY_ROUNDS   5 /* the first with a low TTL */
#define CV_BIRTHDAY_HURRY_ROUND    (250 * CV_MILLISECOND)
/* Until the second one; an easy side that does not drop strays must have made
 * most of its guesses. */
#define CV_BIRTHDAY_HURRY_AGAIN    (500 * CV_MILLISECOND)
#define CV_BIRTHDAY_HURRY_STRAIGHT (100 * CV_MILLISECOND)

#define CV_BIRTHDAY_ROUNDS 4
#define CV_BIRTHDAY_ROUND  (500 * CV_MILLISECOND)

struct cv_birthday {
    bool on, hard;
    bool hurry;
    bool rounds;       /* hard, against a peer that holds ports */
    struct cv_addr to; /* hard: the peer's port; easy: its newest one */
    int step;          /* easy: of a NAT that counts, or 0 */
    unsigned total;    /* sockets, or guesses */
    unsigned sent;
    unsigned near; /* guesses near by */
    unsigned far;  /* and elsewhere, with those left out */
    uint64_t seed; /* of the order of the ports */
    cv_time started;
    cv_time again; /* hard: the second round; CV_NEVER: not yet */
};

/* `seed` is random. `step`: as of cv_predict_from(), or 0. */
void cv_birthday_start(struct cv_birthday *b, bool hard, bool gentle,
                       const struct cv_addr *to, int step, uint64_t seed,
                       cv_time now);
/* The hard side, against a peer that holds ports open. */
void cv_birthday_start_rounds(struct cv_birthday *b, bool gentle,
                              const struct cv_addr *to, cv_time now);
/* Just started; `drops`: the other NAT drops strays. */
void cv_birthday_hurry(struct cv_birthday *b, bool drops);
/* CV_NEVER when all is sent. */
cv_time cv_birthday_deadline(const struct cv_birthday *b);
/* The next check that is due, or false. */
bool cv_birthday_shot(struct cv_birthday *b, cv_time now, struct cv_shot *out);

/* The i-th port of an order that `seed` fixes: a permutation of 1024..65535. */
uint16_t cv_birthday_port(uint64_t seed, unsigned i);
#endif
