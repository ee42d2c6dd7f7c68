/* cli/wholetext.h - a document's text in one piece. */
#ifndef CV_CLI_WHOLETEXT_H
#define CV_CLI_WHOLETEXT_H
#include "session/document.h"

/* Initialises `out` on the heap, to be finished by the caller also after an
 * error: that of the writer. */
CV_MUST_USE int cv_wholetext_read(const struct cv_document *d,
                                  struct cv_writer *out);
#endif
