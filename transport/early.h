/* transport/early.h - keep checks that are there before the knock they belong
 * to.
 *
 * Whoever knocks checks the addresses of the pointer at once.  Straight across
 * that takes 25 ms where the knock takes 50 over a gate, and without the knock
 * nobody knows the key of the check.  It is kept, as ICE keeps what comes ahead
 * of the other side's description (RFC 8445, 7.3); nothing is answered until
 * the knock is there and the check is found to be genuine.
 *
 * Bounded: the oldest gives way, of one source the oldest of its own. Whoever
 * fills the places makes others wait for their next check, as without this.
 *
 * Pure: owns no socket and no clock. */
#ifndef CV_TRANSPORT_EARLY_H
#define CV_TRANSPORT_EARLY_H
#include "base/time.h"
#include "transport/checks.h"

#define CV_EARLY_CHECKS   16
#define CV_EARLY_A_SOURCE 4 /* of them from one IPv4 address or IPv6 /64 */
/* What waited as long says too little of the round trip. */
#define CV_EARLY_TIME (200 * CV_MILLISECOND)

struct cv_early_check {
    bool used;
    cv_time at; /* when it came */
    struct cv_path_addr from;
    uint8_t attempt[8];
    uint8_t len;
    uint8_t data[CV_CHECK_MAX];
};

/* All zeros is empty. */
struct cv_early {
    struct cv_early_check check[CV_EARLY_CHECKS];
};

/* Keep a request whose USERNAME (8 bytes) is no attempt of ours.  Of one
 * attempt and address only the newest stays.  False: it is too long. */
bool cv_early_hold(struct cv_early *e, const struct cv_path_addr *from,
                   const struct cv_stun *m, cv_time now);

/* Take out the oldest one of this attempt that is not too old; false: there is
 * none. */
bool cv_early_take(struct cv_early *e, const uint8_t attempt[8], cv_time now,
                   struct cv_early_check *out);
#endif
