/* crdt/integrate.h - put one struct that is ready into the document (YATA).
 * For crdt/ only. */
#ifndef CV_CRDT_INTEGRATE_H
#define CV_CRDT_INTEGRATE_H
#include "crdt/store.h"

/* A decoded struct with clients as indexes; offsets are from the bytes that it
 * came in.  It names its parent only where it has no origin. */
struct cv_struct {
    uint32_t client, clock, len;
    uint32_t oclient, rclient; /* CV_NONE: no origin */
    union {
        struct {
            uint32_t oclock, rclock;
        };
        struct { /* CV_PARENT_ITEM */
            uint32_t pclient, pclock;
        };
        struct { /* CV_PARENT_ROOT */
            uint32_t name, name_len;
        };
    };
    uint32_t key, key_len;
    uint32_t content, content_len;
    uint8_t kind, info, parent;
};

/* Is all that a struct needs there?  If not, what is missing: of its origin
 * (i is 0), right origin and parent. */
static inline bool cv_struct_needs(const struct cv_struct *s, uint32_t *client,
                                   uint32_t *clock, unsigned i)
{
    if (i == 2 && s->parent != CV_PARENT_ITEM)
        return false;
    *client = i == 0 ? s->oclient : i == 1 ? s->rclient : s->pclient;
    *clock = i == 0 ? s->oclock : i == 1 ? s->rclock : s->pclock;
    return *client != CV_NONE && *client != s->client;
}

/* For an item, which has no parent: 0 where there is none. */
static inline uint32_t cv_struct_oclock(const struct cv_struct *s)
{
    return s->oclient == CV_NONE ? 0 : s->oclock;
}
static inline uint32_t cv_struct_rclock(const struct cv_struct *s)
{
    return s->rclient == CV_NONE ? 0 : s->rclock;
}

/* The root that is its parent, or nothing. */
static inline uint32_t cv_struct_root_len(const struct cv_struct *s)
{
    return s->parent == CV_PARENT_ROOT ? s->name_len : 0;
}
static inline struct cv_bytes cv_struct_root(const struct cv_struct *s,
                                             const uint8_t *base)
{
    return s->parent == CV_PARENT_ROOT
               ? (struct cv_bytes){base + s->name, s->name_len}
               : (struct cv_bytes){NULL, 0};
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
