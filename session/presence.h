/* session/presence.h - what a replica says of its user, as JSON and back.
 *
 *   {"user":  {"name": N, "color": "#rrggbb", "colorLight": "#rrggbb33"},
 *    "cursor": {"anchor": R, "head": R},
 *    "covim": {"colour": 1…8, "mode": M, "ranges": [{"anchor": R, "head": R}]}}
 *
 * `user` and `cursor` are what browser editors (y-codemirror) write and read, R
 * is a relative position (crdt/relpos.h); what is more than they know is in
 * `covim`.  Every field comes from a stranger: what is missing or odd is
 * replaced, cut or dropped, and nothing is believed of who it is.
 *
 * Of session/, only presence.c includes jansson. */
#ifndef CV_SESSION_PRESENCE_H
#define CV_SESSION_PRESENCE_H
#include "base/key.h"
#include "crdt/relpos.h"
#include "session/document.h"

#define CV_PRESENCE_CLIENTS 64   /* that are shown */
#define CV_PRESENCE_BYTES   4096 /* of one state */
#define CV_PRESENCE_COLOURS 8

struct cv_presence_position {
    struct cv_relpos anchor;
    struct cv_relpos head;
};

struct cv_presence_state {
    char name[CV_NAME_MAX_TEXT];
    unsigned colour; /* 1…8, or 0: none was given */
    char mode[8];
    unsigned n_ranges;
    struct cv_presence_position ranges[CV_PRESENCE_RANGES];
};

/* 1…8, the same for an identity everywhere. */
unsigned cv_presence_colour(const struct cv_key *identity);

/* Append the JSON text.  The writer's error, or CV_ERR_NOMEM. */
CV_MUST_USE int cv_presence_encode(struct cv_writer *w,
                                   const struct cv_presence_state *state);
/* CV_ERR_FORMAT if it is not one JSON object of at most CV_PRESENCE_BYTES. */
CV_MUST_USE int cv_presence_decode(struct cv_presence_state *out,
                                   struct cv_bytes json);
#endif
