/* crdt/stamp.h - the update of a keystroke, ours to be sent and others' to be
 * recognised.  For crdt/ only.
 *
 * While somebody types a run on, one update is like the other: only the clock
 * of the first unit, that of its origin, which is the unit before it, and the
 * text differ.  So all up to the text is kept as a block of bytes and copied;
 * of the two clocks the lowest seven bits are put right, until one of them has
 * used these up. */
#ifndef CV_CRDT_STAMP_H
#define CV_CRDT_STAMP_H
#include "crdt/hot.h"
#include "crdt/pen.h"

/* For text that goes on with an item from that clock on, where `from` is what
 * the caller counts. */
void cv_stamp_cut(struct cv_stamp *s, const struct cv_doc *doc,
                  const struct cv_item *x, uint32_t clock, uint32_t from);

/* Does an update, which has more than `len` bytes, begin as the text would that
 * goes on `units` behind that clock?  units < left. */
bool cv_stamp_matches(struct cv_stamp *s, const uint8_t *at, uint32_t units);

/* Append the update of the open transaction, which is nothing but keystrokes
 * that are not settled yet (crdt/hot.h).  False: it is not so. */
bool cv_stamp_long(struct cv_doc *doc, struct cv_writer *out);
static inline bool cv_stamp_put(struct cv_doc *doc, struct cv_writer *out)
{
    const struct cv_hot *hot = &doc->hot;
    const struct cv_stamp *s = &doc->stamp;
    uint32_t len = hot->typed - hot->begun;
    uint32_t d = hot->begun - s->from;
    uint8_t *p;

    if (d >= s->left || len - 1 >= CV_KEYSTROKE || out->err != CV_OK ||
        out->cap - out->len < CV_PEN_BYTES)
        return cv_stamp_long(doc, out);
    p = out->data + out->len;
    memcpy(p, s->bytes, sizeof(s->bytes));
    p[s->clock_at] = (uint8_t)(s->clock_low + d);
    p[s->origin_at] = (uint8_t)(s->origin_low + d);
    p += s->len;
    *p++ = (uint8_t)len;
    if (len == 1) /* mostly; a block would wait for the byte just written */
        *p = hot->to[-1];
    else
        memcpy(p, hot->to - len, CV_KEYSTROKE);
    p += len;
    *p++ = 0;
    cv_pen_done(out, p);
    return true;
}
#endif
