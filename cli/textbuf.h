/* cli/textbuf.h - a flat text with cheap line numbers near the last place.
 *
 * The agent's picture of an editor's buffer: UTF-8 bytes in one piece, where a
 * line ends at LF.  Editing costs a memmove; finding a line costs a scan from
 * the nearest of start, end and the place last asked for. */
#ifndef CV_CLI_TEXTBUF_H
#define CV_CLI_TEXTBUF_H
#include "base/bytes.h"
#include "base/err.h"

struct cv_textbuf {
    char *data; /* not NULL once something was spliced, be it nothing */
    size_t len;
    size_t cap;
    size_t newlines;  /* in all of data */
    size_t seen_at;   /* a line start that is known… */
    size_t seen_line; /* …and the newlines before it */
};

void cv_textbuf_init(struct cv_textbuf *t);
void cv_textbuf_fini(struct cv_textbuf *t);

/* Replace data[at, at + deleted) by `inserted`; the range must be inside.
 * CV_ERR_NOMEM changes nothing. */
CV_MUST_USE int cv_textbuf_splice(struct cv_textbuf *t, size_t at,
                                  size_t deleted, struct cv_bytes inserted);

/* Offset of the start of line `line` (from 0); len + 1 for the line after a
 * last one that has no LF, so that every line has a length. */
size_t cv_textbuf_line_start(struct cv_textbuf *t, size_t line);
/* Line (from 0) and column in bytes of an offset <= len. */
void cv_textbuf_locate(struct cv_textbuf *t, size_t at, size_t *line,
                       size_t *column);
#endif
