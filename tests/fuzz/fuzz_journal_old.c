/* A file of the older form: no crash, and what was taken over reads the same
 * once more when it is written as rows. */
#include <stdint.h>
#include <stdlib.h>

#include "session/journal_old.h"
#include "session/journal_row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *user, const struct cv_store_row *row)
{
    size_t *bytes = user;

    if (!row->kind)
        abort();
    *bytes += row->data.len + CV_STORE_ROW_HEAD;
    return CV_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum cv_journal_old_end end;
    struct cv_writer rows;
    size_t bytes = 0;

    cv_writer_init_heap(&rows, SIZE_MAX);
    if (cv_journal_old_read(CV_BYTES(data, size), &end, &rows) != CV_OK ||
        rows.len > size)
        abort();
    if (cv_journal_each_row(cv_writer_bytes(&rows), count, &bytes) != CV_OK ||
        bytes != rows.len)
        abort();
    cv_writer_fini(&rows);
    return 0;
}
