/* crdt/pen.h - write small things without a call for each number.  For crdt/
 * only.
 *
 * Room is made once; what is written then goes to a pointer that moves on. */
#ifndef CV_CRDT_PEN_H
#define CV_CRDT_PEN_H
#include "crdt/store.h"

/* More than the fixed part of a struct, and of an update with one. */
#define CV_PEN_BYTES 96
/* A 32-bit number at most. */
#define CV_PEN_UINT 5

/* Where to write up to `size` bytes at once; NULL: a fixed writer is nearly
 * full, or memory is short, and the cv_put_ functions will tell. */
static inline uint8_t *cv_pen_room(struct cv_writer *w, size_t size)
{
    if (w->err != CV_OK)
        return NULL;
    if (w->cap - w->len < size) {
        if (!w->heap || w->max - w->len < size || cv_put_space(w, size) == NULL)
            return NULL;
        w->len -= size;
    }
    return w->data + w->len;
}
/* So far it was written. */
static inline void cv_pen_done(struct cv_writer *w, const uint8_t *p)
{
    w->len = (size_t)(p - w->data);
}

static inline uint8_t *cv_pen_uint(uint8_t *p, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static inline uint8_t *cv_pen_client(uint8_t *p, const struct cv_client *c)
{
    memcpy(p, c->id_wire, sizeof(c->id_wire));
    return p + c->id_len;
}

/* Text in a log.  What is short is copied in blocks, with what lies behind it,
 * for which CV_PEN_BYTES are room enough; blocks as they were written, or the
 * read would wait. */
static inline uint8_t *cv_pen_text(uint8_t *p, const uint8_t *text,
                                   uint32_t len)
{
    enum { HALF = CV_LOG_SLACK / 2 };

    if (len <= CV_LOG_SLACK) {
        memcpy(p, text, HALF);
        memcpy(p + HALF, text + HALF, HALF);
    } else {
        memcpy(p, text, len);
    }
    return p + len;
}

/* Deletes: one range of one client. */
static inline uint8_t *cv_pen_deleted(uint8_t *p, const struct cv_client *c,
                                      uint32_t clock, uint32_t len)
{
    *p++ = 1;
    p = cv_pen_client(p, c);
    *p++ = 1;
    p = cv_pen_uint(p, clock);
    return cv_pen_uint(p, len);
}
#endif
