/* session/journal_old.h - the file that a journal was before it was a store.
 *
 * Still read, once, to take it over.
 *
 *   file   := "covimjl1", record*
 *   record := u32 length, u8 type, u24 head check, payload[length], u32 crc
 *
 * Types and payloads are those of rows (journal_row.h).  The head check is the
 * low 24 bits of CRC-32 over length and type, so that a record cut short by a
 * crash can be told from one whose length is damaged; crc is CRC-32 over all
 * before it. */
#ifndef CV_SESSION_JOURNAL_OLD_H
#define CV_SESSION_JOURNAL_OLD_H
#include "base/bytes.h"

#define CV_JOURNAL_OLD_MAGIC "covimjl1"

enum cv_journal_old_end {
    CV_JOURNAL_OLD_WHOLE,   /* nothing is wrong, or the last write was cut */
    CV_JOURNAL_OLD_DAMAGED, /* what follows cannot be trusted */
};

/* Append its records as rows, up to the end or the first that is not whole.
 * CV_ERR_NOMEM, CV_ERR_NOBUF: of the writer. */
CV_MUST_USE int cv_journal_old_read(struct cv_bytes file,
                                    enum cv_journal_old_end *end,
                                    struct cv_writer *rows);
#endif
