#include "session/journal_old.h"

#include <string.h>

#include "base/crypto.h"
#include "session/journal_row.h"

#define MAGIC_LEN (sizeof(CV_JOURNAL_OLD_MAGIC) - 1)
#define HEAD_LEN  8u /* u32 length, u8 type, u24 check */
#define CRC_LEN   4u

static bool all_zero(const uint8_t *p, size_t len)
{
    while (len--)
        if (*p++)
            return false;
    return true;
}

/* Was this being written when the end came?  A record that the file ends in;
 * and after a loss of power the end may be zeros. */
static bool is_torn(const uint8_t *p, size_t left)
{
    size_t len;

    if (left < HEAD_LEN || all_zero(p, left))
        return true;
    len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    return ((uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7]) ==
               (cv_crc32(p, 5) & 0xffffffu) &&
           left < HEAD_LEN + len + CRC_LEN;
}

/* One record; CV_ERR_FORMAT if it is not whole. */
static int read_record(struct cv_reader *r, struct cv_store_row *row)
{
    const uint8_t *start = r->at;
    uint32_t len = cv_get_u32(r), check;

    row->kind = cv_get_u8(r);
    check = (uint32_t)cv_get_u8(r) << 16;
    check |= cv_get_u16(r);
    if (r->err != CV_OK || check != (cv_crc32(start, 5) & 0xffffffu))
        return CV_ERR_FORMAT;
    row->data = cv_get_bytes(r, len);
    check = cv_get_u32(r);
    if (r->err != CV_OK || check != cv_crc32(start, HEAD_LEN + (size_t)len))
        return CV_ERR_FORMAT;
    return CV_OK;
}

int cv_journal_old_read(struct cv_bytes file, enum cv_journal_old_end *end,
                        struct cv_writer *rows)
{
    struct cv_reader r;
    size_t magic = file.len < MAGIC_LEN ? file.len : MAGIC_LEN;

    *end = CV_JOURNAL_OLD_WHOLE;
    if (magic && memcmp(file.data, CV_JOURNAL_OLD_MAGIC, magic) != 0) {
        *end = CV_JOURNAL_OLD_DAMAGED;
        return CV_OK;
    }
    cv_reader_init(&r, file.data + magic, file.len - magic);
    while (cv_reader_left(&r)) {
        const struct cv_reader here = r;
        struct cv_store_row row = {0};
        int err = read_record(&r, &row);

        if (err != CV_OK) {
            if (!is_torn(here.at, cv_reader_left(&here)))
                *end = CV_JOURNAL_OLD_DAMAGED;
            return CV_OK;
        }
        if (row.kind && cv_journal_put_row(rows, row.kind, row.data) != CV_OK)
            return rows->err != CV_OK ? rows->err : CV_ERR_LIMIT;
    }
    return CV_OK;
}
