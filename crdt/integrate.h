/* crdt/integrate.h - put one struct that is ready into the document (YATA).
 * For crdt/ only. */
#ifndef CV_CRDT_INTEGRATE_H
#define CV_CRDT_INTEGRATE_H
#include "crdt/store.h"

/* A decoded struct with clients as indexes; offsets are from the bytes that it
 * came in. */
struct cv_struct {
    uint32_t client, clock, len;
    uint32_t oclient, oclock; /* CV_NONE: no origin */
    uint32_t rclient, rclock;
    uint32_t pclient, pclock; /* CV_PARENT_ITEM; else CV_NONE */
    uint32_t name, name_len;  /* CV_PARENT_ROOT */
    uint32_t key, key_len;
    uint32_t content, content_len;
    uint8_t kind, info, parent;
};

/* Is all that a struct needs there?  If not, what is missing. */
static inline bool cv_struct_needs(const struct cv_struct *s, uint32_t *client,
                                   uint32_t *clock, unsigned i)
{
    *client = i == 0 ? s->oclient : i == 1 ? s->rclient : s->pclient;
    *clock = i == 0 ? s->oclock : i == 1 ? s->rclock : s->pclock;
    return *client != CV_NONE && *client != s->client;
}

/* Integrate a struct whose clock is at most the state of its client and whose
 * origins and parent are known.  Units that are known already are skipped. */
CV_MUST_USE int cv_integrate(struct cv_doc *doc, const struct cv_struct *s,
                             const uint8_t *base);

/* A new item of our own between two neighbours in a list, without conflict.
 * `x` holds everything but client, clock and content; the content of `len`
 * units is appended to our log.  Used by local edits and by cv_integrate. */
CV_MUST_USE int cv_append_item(struct cv_doc *doc, const struct cv_item *x,
                               uint32_t list, uint32_t left,
                               struct cv_bytes content, uint32_t *item);

/* Like it for text of any length, in runs of bounded size.  *item is the
 * last of them. */
CV_MUST_USE int cv_append_text(struct cv_doc *doc, struct cv_item x,
                               uint32_t list, uint32_t left,
                               struct cv_bytes text, uint32_t *item);
#endif
