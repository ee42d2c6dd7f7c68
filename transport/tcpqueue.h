/* transport/tcpqueue.h - what a TCP link has not yet been able to send.
 *
 * Framed packets in order, in one stretch of memory so that a train of them is
 * one system call.  Checks go first: one that waits behind a quarter of a
 * megabyte of text would say that a working path is dead.
 *
 * Bounded: beyond CV_TCPQUEUE_FULL bytes nothing is taken, so with one train
 * on top (CV_TCPQUEUE_TRAIN) it never exceeds CV_TCPQUEUE_MAX.  Pure. */
#ifndef CV_TRANSPORT_TCPQUEUE_H
#define CV_TRANSPORT_TCPQUEUE_H
#include "base/bytes.h"

#define CV_TCPQUEUE_FULL  (256u * 1024) /* connectivity.md, 12 */
#define CV_TCPQUEUE_LOW   (128u * 1024) /* and then there is room again */
#define CV_TCPQUEUE_TRAIN (128u * 1024) /* most bytes of one call */
#define CV_TCPQUEUE_MAX   (CV_TCPQUEUE_FULL + CV_TCPQUEUE_TRAIN)
#define CV_TCPQUEUE_FIRST 2048u /* bytes of checks that may wait */

/* Zero it. */
struct cv_tcpqueue {
    uint8_t *data;
    size_t cap;
    size_t head, tail; /* data[head..tail) waits */
    size_t rest;       /* of the frame at the head: its bytes still here */
    size_t first;      /* behind those: bytes of checks that overtook */
};

void cv_tcpqueue_fini(struct cv_tcpqueue *q);

/* Append packets of `segment` bytes each (the last one maybe shorter), or with
 * `urgent` put one packet before all others that have not begun to go.
 *   CV_ERR_AGAIN  full; nothing was taken
 *   CV_ERR_NOBUF  more than a train, or a packet of no or too many bytes
 *   CV_ERR_NOMEM  nothing was taken */
CV_MUST_USE int cv_tcpqueue_put(struct cv_tcpqueue *q, const uint8_t *data,
                                size_t len, size_t segment, bool urgent);

/* What waits, in order; and that the first `n` bytes of it have gone. */
struct cv_bytes cv_tcpqueue_waiting(const struct cv_tcpqueue *q);
void cv_tcpqueue_sent(struct cv_tcpqueue *q, size_t n);

/* Would a packet be refused? */
bool cv_tcpqueue_is_full(const struct cv_tcpqueue *q);
#endif
