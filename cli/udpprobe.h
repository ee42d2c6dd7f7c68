/* cli/udpprobe.h - does a STUN server answer at an address over UDP? */
#ifndef CV_CLI_UDPPROBE_H
#define CV_CLI_UDPPROBE_H
#include "base/crypto.h"
#include "base/loop.h"

/* Asked so often, so far apart; then nobody is there. */
#define CV_UDPPROBE_TRIES 4
#define CV_UDPPROBE_EVERY (500 * CV_MILLISECOND)

struct cv_udpprobe;

/* `done` once, from the loop: CV_OK and the round trip, or CV_ERR_TIMEOUT, or
 * CV_ERR_IO (refused).  Then free it, not from within. */
CV_MUST_USE int cv_udpprobe_new(struct cv_udpprobe **out, struct cv_loop *loop,
                                const struct cv_rng *rng,
                                const struct cv_addr *to,
                                void (*done)(void *user, int err, cv_time took),
                                void *user);
void cv_udpprobe_free(struct cv_udpprobe *p);
#endif
