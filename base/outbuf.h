/* base/outbuf.h - bytes that wait until a stream takes them, in order.
 *
 * One stretch of memory that grows by doubling and is given back as soon as
 * nothing waits: most streams are idle, and an idle one costs nothing. */
#ifndef CV_BASE_OUTBUF_H
#define CV_BASE_OUTBUF_H
#include "base/bytes.h"

/* Zero it. */
struct cv_outbuf {
    uint8_t *data;
    size_t from, to; /* data[from..to) waits */
    size_t room;     /* bytes of memory */
};

void cv_outbuf_fini(struct cv_outbuf *b);
/* Append all of it, or nothing: CV_ERR_AGAIN when more than `max` bytes would
 * wait then, or there is no memory. */
CV_MUST_USE int cv_outbuf_add(struct cv_outbuf *b, const uint8_t *data,
                              size_t len, size_t max);
/* What waits; and that its first `n` bytes have gone. */
struct cv_bytes cv_outbuf_waiting(const struct cv_outbuf *b);
void cv_outbuf_sent(struct cv_outbuf *b, size_t n);
#endif
