/* gate/train.h - packets of one size to one address, gathered so that they
 * leave in one call (UDP_SEGMENT). */
#ifndef CV_GATE_TRAIN_H
#define CV_GATE_TRAIN_H
#include "transport/udp.h"

#define CV_TRAIN_BYTES 65000 /* below what one call of the kernel takes */

struct cv_gate_train {
    struct cv_udp *udp; /* that it leaves by; NULL: empty */
    struct cv_addr to;
    size_t len, segment;
    unsigned n;
    bool last; /* a shorter packet ends a train */
    uint8_t buf[CV_TRAIN_BYTES + 2048];
};

/* Where the next packet (at most 2048 bytes) is put together. */
uint8_t *cv_gate_train_space(struct cv_gate_train *t);
/* It is there now, `len` bytes of it: take it along. */
void cv_gate_train_add(struct cv_gate_train *t, struct cv_udp *udp,
                       const struct cv_addr *to, size_t len);
/* Send what there is. */
void cv_gate_train_leave(struct cv_gate_train *t);
#endif
