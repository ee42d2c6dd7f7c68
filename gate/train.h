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
    uint8_t buf[CV_TRAIN_BYTES];
};

/* Take packets along: `len` bytes, `segment` each, the last one maybe shorter.
 * What is not to go with them leaves before. */
void cv_gate_train_add(struct cv_gate_train *t, struct cv_udp *udp,
                       const struct cv_addr *to, const uint8_t *data,
                       size_t len, size_t segment);
/* Send what there is. */
void cv_gate_train_leave(struct cv_gate_train *t);
#endif
