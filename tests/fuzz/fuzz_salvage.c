/* The bytes of a store's two files, damaged in any way: no crash, an end in
 * time, and only rows that verify.  The first two bytes say how much is the
 * file, in units of 64 bytes; the rest is the write-ahead log. */
#include <stdint.h>
#include <stdlib.h>

#include "session/salvage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static int touch(void *user, const struct cv_store_row *row)
{
    (void)user;
    if (!row->kind || !row->seq)
        abort();
    for (size_t i = 0; i < row->data.len; i++)
        sink = row->data.data[i];
    return CV_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_bytes file, wal;
    size_t split;

    if (size < 2)
        return 0;
    split = 64 * ((size_t)data[0] << 8 | data[1]);
    if (split > size - 2)
        split = size - 2;
    file = CV_BYTES(data + 2, split);
    wal = CV_BYTES(data + 2 + split, size - 2 - split);
    (void)cv_salvage_wal_is_whole(wal);
    if (cv_salvage_rows(file, wal, touch, NULL) != CV_OK)
        abort();
    return 0;
}
