/* cli/mirror.h - one editor's buffer against one document: the shadow, the
 * differences, the rebasing (docs/editor.md, "Revisions").
 *
 * The mirror holds the text as the editor will have it once every edit sent to
 * it is applied, which is the document's text, and the edits that the editor
 * has not confirmed.  A change by the editor rests on the confirmed ones only:
 * the mirror takes the others back, finds the difference, moves both past each
 * other (cli/delta.h), and sends the edits again.  Pure: no input or output. */
#ifndef CV_CLI_MIRROR_H
#define CV_CLI_MIRROR_H
#include "base/bytes.h"
#include "base/err.h"

struct cv_mirror;

/* Edits that wait for the editor; beyond it a resync is cheaper. */
#define CV_MIRROR_PENDING_MAX 65536u

struct cv_mirror_range { /* lines from 1, columns in bytes from 0 */
    size_t line, column, end_line, end_column;
};

struct cv_mirror_edit {
    uint64_t erev; /* the editor's changes it rests on */
    struct cv_mirror_range range;
    struct cv_bytes text; /* borrowed for the call */
    bool joined;          /* of many changes, with what lies between them */
};

struct cv_mirror_events {
    /* Do this to the document; each call in the coordinates that hold after
     * those before it. */
    int (*splice)(void *user, size_t at, size_t deleted,
                  struct cv_bytes inserted);
    void (*edit)(void *user, const struct cv_mirror_edit *edit);
    void (*eol)(void *user, bool eol); /* the text ends with LF, or not */
};

/* Lines lo … (last - tail) of the buffer were replaced by lines[n]. */
struct cv_mirror_change {
    uint64_t rev; /* edits that were in the buffer */
    size_t lo;    /* from 1 */
    size_t tail;
    const struct cv_bytes *lines;
    size_t n_lines;
    bool has_eol, eol;
    bool has_cursor;
    size_t cursor_line, cursor_column; /* after the change */
};

/* `text` is the document's and the editor's; both counters are 0. `eol` is the
 * editor's setting when the text is empty. */
CV_MUST_USE int cv_mirror_new(struct cv_mirror **out, struct cv_bytes text,
                              bool eol, const struct cv_mirror_events *events,
                              void *user);
void cv_mirror_free(struct cv_mirror *m);

/* The editor changed lines.  CV_ERR_INVALID: the numbers do not fit what the
 * editor can have, nothing changed, resync; CV_ERR_FORMAT: a line holds LF or
 * is not UTF-8, nothing changed, refuse; else an error of `splice`, or
 * CV_ERR_NOMEM: resync. */
CV_MUST_USE int cv_mirror_change(struct cv_mirror *m,
                                 const struct cv_mirror_change *change);
/* The document changed from elsewhere.  CV_ERR_LIMIT, CV_ERR_NOMEM: resync. */
CV_MUST_USE int cv_mirror_remote(struct cv_mirror *m, size_t at, size_t deleted,
                                 struct cv_bytes inserted);
/* The same after many changes: the document's text is `text` now, and all that
 * differs goes as one edit. */
CV_MUST_USE int cv_mirror_join(struct cv_mirror *m, struct cv_bytes text);
/* The editor has applied `rev` edits.  CV_ERR_INVALID: it cannot have. */
CV_MUST_USE int cv_mirror_ack(struct cv_mirror *m, uint64_t rev);

uint64_t cv_mirror_erev(const struct cv_mirror *m); /* changes received */
uint64_t cv_mirror_rev(const struct cv_mirror *m);  /* edits confirmed */
bool cv_mirror_in_step(const struct cv_mirror *m);  /* nothing unconfirmed */
struct cv_bytes cv_mirror_text(const struct cv_mirror *m);
size_t cv_mirror_lines(const struct cv_mirror *m); /* of the buffer */

/* Place of the editor at edits `rev` -> offset in the document's text; clamped
 * into the text.  CV_ERR_INVALID as for a change. */
CV_MUST_USE int cv_mirror_offset(struct cv_mirror *m, uint64_t rev, size_t line,
                                 size_t column, size_t *at);
/* Offset in the document's text -> line (from 1) and column. */
void cv_mirror_place(struct cv_mirror *m, size_t at, size_t *line,
                     size_t *column);
#endif
