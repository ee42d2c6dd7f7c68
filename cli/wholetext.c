#include "cli/wholetext.h"

int cv_wholetext_read(const struct cv_document *d, struct cv_writer *out)
{
    const struct cv_doc *doc = cv_document_text(d);

    cv_writer_init_heap(out, 2 * (size_t)CV_DOCUMENT_MAX);
    return cv_doc_read(doc, 0, cv_doc_text_bytes(doc), out);
}
