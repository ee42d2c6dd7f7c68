#include "base/outbuf.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 2048

void cv_outbuf_fini(struct cv_outbuf *b)
{
    free(b->data);
    *b = (struct cv_outbuf){0};
}

int cv_outbuf_add(struct cv_outbuf *b, const uint8_t *data, size_t len,
                  size_t max)
{
    size_t waiting = b->to - b->from, room = b->room;
    uint8_t *more;

    if (waiting + len > max)
        return CV_ERR_AGAIN;
    if (len == 0)
        return CV_OK;
    if (b->from > 0 && b->to + len > room) {
        memmove(b->data, b->data + b->from, waiting);
        b->from = 0;
        b->to = waiting;
    }
    while (b->to + len > room)
        room = room ? 2 * room : FIRST_ROOM;
    if (room > b->room) {
        more = realloc(b->data, room);
        if (!more)
            return CV_ERR_AGAIN;
        b->data = more;
        b->room = room;
    }
    memcpy(b->data + b->to, data, len);
    b->to += len;
    return CV_OK;
}

struct cv_bytes cv_outbuf_waiting(const struct cv_outbuf *b)
{
    return CV_BYTES(b->data ? b->data + b->from : NULL, b->to - b->from);
}

void cv_outbuf_sent(struct cv_outbuf *b, size_t n)
{
    assert(n <= b->to - b->from);
    b->from += n;
    if (b->from == b->to)
        cv_outbuf_fini(b);
}
