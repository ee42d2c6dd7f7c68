#include "transport/tcpframe.h"
#include "transport/stun.h"
#include <string.h>

/* Bytes that tell how long the packet is. */
static size_t header_size(const struct cv_tcpframe *f)
{
    return f->kind == CV_TCPFRAME_PEER ? CV_TCPFRAME_HEADER : CV_STUN_HEADER;
}

/* The whole frame, header included, that begins with `at`; 0: none can. */
static size_t frame_size(const struct cv_tcpframe *f, const uint8_t *at)
{
    size_t len;

    if (f->kind == CV_TCPFRAME_STUN) {
        len = CV_STUN_HEADER + ((size_t)at[2] << 8 | (size_t)at[3]);
        return cv_stun_is(at, CV_STUN_HEADER) && len <= CV_STUN_MAX ? len : 0;
    }
    len = (size_t)at[0] << 8 | (size_t)at[1];
    return len > 0 && len <= CV_TCPFRAME_MAX ? CV_TCPFRAME_HEADER + len : 0;
}

static struct cv_bytes packet_of(const struct cv_tcpframe *f, const uint8_t *at,
                                 size_t len)
{
    size_t skip = f->kind == CV_TCPFRAME_PEER ? CV_TCPFRAME_HEADER : 0;

    return CV_BYTES(at + skip, len - skip);
}

/* Move bytes of `in` behind what is kept, until that is `want`. */
static bool keep_until(struct cv_tcpframe *f, struct cv_bytes *in, size_t want)
{
    size_t n = want > f->have ? want - f->have : 0;

    if (n > in->len)
        n = in->len;
    if (n > 0) {
        memcpy(f->part + f->have, in->data, n);
        f->have += n;
        in->data += n;
        in->len -= n;
    }
    return f->have >= want;
}

int cv_tcpframe_next(struct cv_tcpframe *f, struct cv_bytes *in,
                     struct cv_bytes *out)
{
    size_t head = header_size(f), len;

    if (f->have == 0 && in->len >= head) { /* nothing to put together */
        len = frame_size(f, in->data);
        if (len == 0)
            return CV_ERR_FORMAT;
        if (in->len >= len) {
            *out = packet_of(f, in->data, len);
            in->data += len;
            in->len -= len;
            return CV_OK;
        }
    }
    if (!keep_until(f, in, head))
        return CV_ERR_AGAIN;
    len = frame_size(f, f->part);
    if (len == 0)
        return CV_ERR_FORMAT;
    if (!keep_until(f, in, len))
        return CV_ERR_AGAIN;
    *out = packet_of(f, f->part, len);
    f->have = 0;
    return CV_OK;
}
