/* transport/natkind.h - what a NAT lets in, asked of a STUN server that has a
 * second address (RFC 5780, 4.4), and what a stray leaves behind in it.
 *
 *   PLAIN   to the server                    -> our mapping
 *   BOTH    please answer from the other address and port   (RFC 5780, test II)
 *   PORT    please answer from the other port               (test III)
 *   AFTER   to the other address: has the stray that BOTH or PORT sent taken
 *           the port that our own packets there would have?
 *
 * All from a socket of its own, whose mapping nothing else depends on, which
 * its caller opens and closes.  Only PLAIN also tells the newest port of a NAT
 * that counts.  Takes about two seconds, as what is filtered has to be waited
 * for.
 *
 * Pure. */
#ifndef CV_TRANSPORT_NATKIND_H
#define CV_TRANSPORT_NATKIND_H
#include "base/crypto.h"
#include "base/time.h"
#include "transport/path.h"
#include "transport/stun.h"

#define CV_NATKIND_TRIES 3 /* 250, 250, 500 ms */

enum cv_natkind_filter { /* RFC 4787, 5 */
                         CV_FILTER_UNKNOWN,
                         CV_FILTER_OPEN,    /* endpoint-independent */
                         CV_FILTER_ADDRESS, /* address-dependent */
                         CV_FILTER_PORT,    /* address and port-dependent */
};

enum cv_natkind_strays {
    CV_STRAYS_UNKNOWN,
    CV_STRAYS_DROPPED, /* without a trace */
    CV_STRAYS_TRACED,  /* they take the port */
};

enum cv_natkind_state {
    CV_NATKIND_IDLE,
    CV_NATKIND_PLAIN,
    CV_NATKIND_BOTH,
    CV_NATKIND_PORT,
    CV_NATKIND_AFTER,
    CV_NATKIND_DONE,   /* `filter` and `strays` say what was seen */
    CV_NATKIND_FAILED, /* not even PLAIN was answered */
};

struct cv_natkind {
    enum cv_natkind_state state;
    bool all; /* not only PLAIN */
    uint16_t socket;
    struct cv_addr server, other;
    uint8_t txid[CV_STUN_TXID];
    unsigned tries;
    cv_time next;
    struct cv_addr mapped; /* by PLAIN */
    enum cv_natkind_filter filter;
    enum cv_natkind_strays strays;
};

/* `other`: the server's OTHER-ADDRESS, or family NONE for PLAIN alone. */
void cv_natkind_start(struct cv_natkind *k, uint16_t socket,
                      const struct cv_addr *server, const struct cv_addr *other,
                      cv_time now);
bool cv_natkind_runs(const struct cv_natkind *k);
cv_time cv_natkind_deadline(const struct cv_natkind *k);
/* Writes the request that is due and where it goes, true; or false.  Both ways
 * it may have come to its end. */
bool cv_natkind_step(struct cv_natkind *k, const struct cv_rng *rng,
                     cv_time now, struct cv_path_addr *to,
                     struct cv_writer *out);
/* A STUN message came; true when it was for us. */
bool cv_natkind_input(struct cv_natkind *k, const struct cv_path_addr *from,
                      const struct cv_stun *m, cv_time now);
#endif
