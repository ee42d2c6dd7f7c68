/* cli/delta.h - a change of a text as a list of steps, and how two changes of
 * the same text pass each other (operational transformation).
 *
 * A delta walks its text from the start: keep n bytes, delete n bytes, insert
 * bytes.  What it does not mention at the end is kept.  For deltas a and b of
 * one text: applying a, then b moved over a, gives the same text as b, then a
 * moved over b (the TP1 property; Ressel et al., 1996). */
#ifndef CV_CLI_DELTA_H
#define CV_CLI_DELTA_H
#include "base/bytes.h"
#include "base/err.h"

enum cv_step_kind { CV_STEP_KEEP, CV_STEP_DELETE, CV_STEP_INSERT };

struct cv_step {
    enum cv_step_kind kind;
    size_t len;
    size_t text; /* CV_STEP_INSERT: offset into `text` of the delta */
};

struct cv_delta {
    struct cv_step *steps;
    size_t n, cap;
    uint8_t *text; /* all inserted bytes */
    size_t text_len, text_cap;
};

void cv_delta_init(struct cv_delta *d);
void cv_delta_fini(struct cv_delta *d);
void cv_delta_clear(struct cv_delta *d);

/* Append a step; neighbours of one kind are joined, len 0 does nothing.
 * CV_ERR_NOMEM. */
CV_MUST_USE int cv_delta_keep(struct cv_delta *d, size_t len);
CV_MUST_USE int cv_delta_delete(struct cv_delta *d, size_t len);
CV_MUST_USE int cv_delta_insert(struct cv_delta *d, struct cv_bytes text);

/* `out`: what `a` is after `b`.  Where both insert at one place, a's text
 * comes first if `a_first`.  `out` is cleared; it may not be `a` or `b`. */
CV_MUST_USE int cv_delta_over(struct cv_delta *out, const struct cv_delta *a,
                              const struct cv_delta *b, bool a_first);

/* Where a position of the text is after `d`; before text inserted at it. */
size_t cv_delta_position(const struct cv_delta *d, size_t at);

/* All of it as one replacement: `deleted` bytes at `at` of the old text, and in
 * `out`, which is appended to, what stands there afterwards.  The error of
 * `out`. */
CV_MUST_USE int cv_delta_span(const struct cv_delta *d, const void *text,
                              size_t *at, size_t *deleted,
                              struct cv_writer *out);

/* Call fn for each replacement, in coordinates that hold after those before
 * it; a delete and an insert at one place are one call.  Stops at an error. */
CV_MUST_USE int cv_delta_splices(const struct cv_delta *d,
                                 int (*fn)(void *user, size_t at,
                                           size_t deleted,
                                           struct cv_bytes inserted),
                                 void *user);
#endif
