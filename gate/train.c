#include "gate/train.h"
#include <string.h>

void cv_gate_train_leave(struct cv_gate_train *t)
{
    /* A full socket is a loss like any other: QUIC sends again. */
    if (t->n > 0)
        (void)cv_udp_send(t->udp, &t->to, NULL, 0, t->buf, t->len, t->segment);
    t->n = 0;
    t->len = 0;
    t->last = false;
}

/* Packets behind those that are there are of the same size, only the very last
 * one may be shorter. */
static bool goes_with(const struct cv_gate_train *t, const struct cv_udp *udp,
                      const struct cv_addr *to, size_t len, size_t segment,
                      unsigned n)
{
    return !t->last && t->n + n <= CV_UDP_SEGMENTS &&
           t->len + len <= CV_TRAIN_BYTES &&
           (segment == t->segment || (n == 1 && len < t->segment)) &&
           t->udp == udp && cv_addr_equal(&t->to, to);
}

void cv_gate_train_add(struct cv_gate_train *t, struct cv_udp *udp,
                       const struct cv_addr *to, const uint8_t *data,
                       size_t len, size_t segment)
{
    unsigned n = (unsigned)((len + segment - 1) / segment);

    if (t->n > 0 && !goes_with(t, udp, to, len, segment, n))
        cv_gate_train_leave(t);
    if (n > CV_UDP_SEGMENTS || len > CV_TRAIN_BYTES) {
        (void)cv_udp_send(udp, to, NULL, 0, data, len, segment);
        return;
    }
    if (t->n == 0) {
        t->udp = udp;
        t->to = *to;
        t->segment = segment;
    }
    memcpy(t->buf + t->len, data, len);
    t->last = len % segment != 0 || segment < t->segment;
    t->len += len;
    t->n += n;
}
