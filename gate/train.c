#include "gate/train.h"
#include <string.h>

uint8_t *cv_gate_train_space(struct cv_gate_train *t)
{
    return t->buf + t->len;
}

void cv_gate_train_leave(struct cv_gate_train *t)
{
    /* A full socket is a loss like any other: QUIC sends again. */
    if (t->n > 0)
        (void)cv_udp_send(t->udp, &t->to, NULL, 0, t->buf, t->len, t->segment);
    t->n = 0;
    t->len = 0;
    t->last = false;
}

void cv_gate_train_add(struct cv_gate_train *t, struct cv_udp *udp,
                       const struct cv_addr *to, size_t len)
{
    if (t->n > 0 && (t->last || t->n >= CV_UDP_SEGMENTS || len > t->segment ||
                     t->len + len > CV_TRAIN_BYTES || t->udp != udp ||
                     !cv_addr_equal(&t->to, to))) {
        const uint8_t *packet = t->buf + t->len;

        cv_gate_train_leave(t);
        memmove(t->buf, packet, len);
    }
    if (t->n == 0) {
        t->udp = udp;
        t->to = *to;
        t->segment = len;
    }
    t->last = len < t->segment;
    t->len += len;
    t->n++;
}
