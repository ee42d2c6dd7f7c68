/* transport/tcpframe.h - packets in a TCP stream: where one ends and the next
 * begins.
 *
 *   between peers   | length 16, big-endian | packet |    (as RFC 4571)
 *   STUN servers    | STUN message, whose header says its length | (RFC 8489,
 *                   6.2.2)
 *
 * Pure: bytes in, packets out.  What is in a packet is others' business; its
 * first byte tells, as over UDP. */
#ifndef CV_TRANSPORT_TCPFRAME_H
#define CV_TRANSPORT_TCPFRAME_H
#include "base/bytes.h"

#define CV_TCPFRAME_HEADER 2
#define CV_TCPFRAME_MAX    1500 /* bytes of a packet; more ends the link */

enum cv_tcpframe_kind {
    CV_TCPFRAME_PEER,
    CV_TCPFRAME_STUN,
};

/* Zero it, and set `kind`. */
struct cv_tcpframe {
    enum cv_tcpframe_kind kind;
    size_t have; /* bytes of a packet that is not complete */
    uint8_t part[CV_TCPFRAME_HEADER + CV_TCPFRAME_MAX];
};

/* Take the next packet off the front of `in`.
 *   CV_OK          `out` is it, borrowed from `in` or, until the next call,
 *                  from `f`
 *   CV_ERR_AGAIN   `in` is used up and kept; call again with more
 *   CV_ERR_FORMAT  an empty or too long packet, or no STUN: close the link */
CV_MUST_USE int cv_tcpframe_next(struct cv_tcpframe *f, struct cv_bytes *in,
                                 struct cv_bytes *out);
#endif
