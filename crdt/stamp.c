#include "crdt/stamp.h"

/* How far a number may go up in its lowest seven bits. */
static uint32_t room_of(uint32_t v)
{
    return 0x80 - (v & 0x7f);
}

/*   1 block, of 1 struct
 *   client, clock            of the first unit
 *   info: string, origin, perhaps right origin
 *   client, clock - 1        its origin
 *   client, clock            its right origin
 *   length, text, 0 deletes  not in the stamp
 */
void cv_stamp_cut(struct cv_stamp *s, const struct cv_doc *doc,
                  const struct cv_item *x, uint32_t clock, uint32_t from)
{
    const struct cv_client *c = &doc->clients[x->client];
    bool right = x->rclient != CV_NONE;
    uint8_t *p = s->bytes;

    *p++ = 1;
    *p++ = 1;
    p = cv_pen_client(p, c);
    s->clock_at = (uint8_t)(p - s->bytes);
    p = cv_pen_uint(p, clock);
    *p++ = (uint8_t)(x->kind | CV_INFO_ORIGIN | (right ? CV_INFO_RIGHT : 0u));
    p = cv_pen_client(p, c);
    s->origin_at = (uint8_t)(p - s->bytes);
    p = cv_pen_uint(p, clock - 1);
    if (right) {
        p = cv_pen_client(p, &doc->clients[x->rclient]);
        p = cv_pen_uint(p, x->rclock);
    }
    s->len = (uint8_t)(p - s->bytes);
    s->clock_low = s->bytes[s->clock_at];
    s->origin_low = s->bytes[s->origin_at];
    s->from = from;
    s->left = room_of(clock);
    if (room_of(clock - 1) < s->left)
        s->left = room_of(clock - 1);
}

bool cv_stamp_matches(struct cv_stamp *s, const uint8_t *at, uint32_t units)
{
    uint64_t diff = 0, a, b;
    uint32_t i = 0;

    s->bytes[s->clock_at] = (uint8_t)(s->clock_low + units);
    s->bytes[s->origin_at] = (uint8_t)(s->origin_low + units);
    for (; i + sizeof(a) <= s->len; i += (uint32_t)sizeof(a)) {
        memcpy(&a, s->bytes + i, sizeof(a));
        memcpy(&b, at + i, sizeof(b));
        diff |= a ^ b;
    }
    for (; i < s->len; i++)
        diff |= s->bytes[i] ^ at[i];
    return diff == 0;
}

static const struct cv_item *hot_item(const struct cv_doc *doc)
{
    return &doc->items[doc->leaves[doc->hot.leaf].at[doc->hot.pos].item];
}

/* Taken back at the place of the last edit. */
static uint8_t *pen_gone(uint8_t *p, const struct cv_doc *doc, uint32_t len)
{
    const struct cv_hot *hot = &doc->hot;
    const struct cv_item *x = hot_item(doc);
    uint32_t at =
        hot->forward ? x->clock + hot->begun : cv_item_end(x) - hot->gone;

    *p++ = 0; /* blocks */
    return cv_pen_deleted(p, &doc->clients[x->client], at, len);
}

CV_APART bool cv_stamp_long(struct cv_doc *doc, struct cv_writer *out)
{
    const struct cv_hot *hot = &doc->hot;
    uint32_t len = hot->typed + hot->gone - hot->begun;
    uint8_t *p = cv_pen_room(out, CV_PEN_BYTES);

    if (len == 0 || len > CV_KEYSTROKE || p == NULL)
        return false;
    if (hot->gone > 0) {
        cv_pen_done(out, pen_gone(p, doc, len));
        return true;
    }
    cv_stamp_cut(&doc->stamp, doc, hot_item(doc),
                 doc->clients[doc->self].next + hot->begun, hot->begun);
    return cv_stamp_put(doc, out);
}
