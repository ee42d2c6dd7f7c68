/* crdt/awareness.h - who is here, as y-protocols tells it.
 *
 *   update := varuint n, n * (varuint client, varuint clock, string state)
 *
 * A state is a JSON object or `null` for gone; its text is checked to be JSON
 * of bounded depth and kept as it is: reading it is the caller's.  Each client
 * owns its entry and raises its clock with every change; the latest wins,
 * nothing is stored.  Times are handed in. */
#ifndef CV_CRDT_AWARENESS_H
#define CV_CRDT_AWARENESS_H
#include "base/bytes.h"
#include "base/err.h"
#include "base/time.h"

#define CV_AWARENESS_RENEW (15 * CV_SECOND) /* our own entry, unchanged */
#define CV_AWARENESS_DROP  (30 * CV_SECOND) /* others, not renewed */

/* Clocks above this are refused: ours must be able to go on from there. */
#define CV_AWARENESS_CLOCK_MAX (UINT64_C(1) << 52)

struct cv_awareness;

struct cv_awareness_limits {
    uint32_t clients;    /* known at a time, gone ones included */
    size_t state_bytes;  /* one state */
    size_t update_bytes; /* one update */
};
/* 1,024 clients, 16 KiB, 1 MiB. */
extern const struct cv_awareness_limits cv_awareness_limits_default;

CV_MUST_USE int cv_awareness_new(struct cv_awareness **out, uint64_t self,
                                 const struct cv_awareness_limits *limits);
void cv_awareness_free(struct cv_awareness *aw);

enum cv_awareness_event {
    CV_AWARENESS_ADDED,
    CV_AWARENESS_UPDATED, /* the state differs, or was only renewed */
    CV_AWARENESS_REMOVED,
};
/* `state` is borrowed JSON text, empty when removed.  The callback must not
 * change or free the awareness. */
typedef void (*cv_awareness_fn)(void *user, enum cv_awareness_event event,
                                uint64_t client, struct cv_bytes state);

/* Set our own state (NULL data: we are leaving) and raise our clock.
 * CV_ERR_FORMAT if it is not a JSON object, CV_ERR_LIMIT, CV_ERR_NOMEM. */
CV_MUST_USE int cv_awareness_set(struct cv_awareness *aw, struct cv_bytes state,
                                 cv_time now);

/* Apply a remote update; `fn` (may be NULL) hears of each change.
 *
 * `news` (may be NULL) gets the update of the entries that were new here, for
 * the neighbours; our own entry is in it when somebody declared us gone.
 * Nothing is appended if nothing was new.  CV_ERR_FORMAT, CV_ERR_LIMIT or
 * CV_ERR_NOMEM: nothing changed. */
CV_MUST_USE int cv_awareness_apply(struct cv_awareness *aw,
                                   struct cv_bytes update, cv_time now,
                                   cv_awareness_fn fn, void *user,
                                   struct cv_writer *news);

/* Append what we know: all entries that are present (with ours), or only ours.
 * Nothing is appended if there is nothing to tell. */
CV_MUST_USE int cv_awareness_encode(const struct cv_awareness *aw,
                                    struct cv_writer *out);
CV_MUST_USE int cv_awareness_encode_self(const struct cv_awareness *aw,
                                         struct cv_writer *out);

/* Do what is due at `now`: renew our entry (its update goes to `out`) and drop
 * the silent ones. */
CV_MUST_USE int cv_awareness_step(struct cv_awareness *aw, cv_time now,
                                  cv_awareness_fn fn, void *user,
                                  struct cv_writer *out);
cv_time cv_awareness_deadline(const struct cv_awareness *aw);

/* A link ended: forget a client that was known only through it.  If `out` is
 * not NULL it gets the null entry with the same clock for the others. */
CV_MUST_USE int cv_awareness_remove(struct cv_awareness *aw, uint64_t client,
                                    cv_awareness_fn fn, void *user,
                                    struct cv_writer *out);

/* The state of a client, empty bytes if it is not here.  Borrowed until the
 * next change.  `clock` may be NULL. */
struct cv_bytes cv_awareness_get(const struct cv_awareness *aw, uint64_t client,
                                 uint64_t *clock);
/* Client ids that are present: fills clients[max], returns how many there are
 * in all. */
size_t cv_awareness_clients(const struct cv_awareness *aw, uint64_t *clients,
                            size_t max);
#endif
