/* cli/filesync.h - a file on disk and a document, in step both ways.
 *
 * What changes on disk (any program may write there) becomes edits of our
 * user; what others change is written to disk, whole and by rename, so that
 * nobody reads half of it.  When both changed, the disk's change is moved over
 * the others' (cli/delta.h): nothing is lost.  A file that was written since it
 * was read is not replaced before it was read again; and who had it open when
 * it was replaced may write there for CV_FILESYNC_POLL longer. */
#ifndef CV_CLI_FILESYNC_H
#define CV_CLI_FILESYNC_H
#include "base/log.h"
#include "base/loop.h"
#include "session/document.h"

struct cv_filesync;

#define CV_FILESYNC_DELAY (50 * CV_MILLISECOND)  /* to gather changes */
#define CV_FILESYNC_POLL  (500 * CV_MILLISECOND) /* look at the disk, too */

/* Read a whole text file.  CV_ERR_NOTFOUND, CV_ERR_IO, CV_ERR_FORMAT (NUL or
 * not UTF-8), CV_ERR_LIMIT (CV_DOCUMENT_MAX). */
CV_MUST_USE int cv_filesync_read(const char *path, struct cv_writer *out);

/* `path` is copied; links are followed once, now.  `base`: what document and
 * file are taken to have in common; a file that is missing is written.  Sets
 * the document's events. `d`, `loop` and `log` are kept. */
CV_MUST_USE int cv_filesync_new(struct cv_filesync **out, struct cv_loop *loop,
                                struct cv_log *log, struct cv_document *d,
                                const char *path, struct cv_bytes base);
/* Write what is not written yet, once more look at the disk, then end. */
void cv_filesync_free(struct cv_filesync *f);
#endif
