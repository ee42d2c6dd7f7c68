/* session/journal_row.h - what is in the rows of a journal; for the journal's
 * own files only.
 *
 *   1, an update: u32 document, bytes
 *   2, a fact:    u8 fact, varbytes key, varbytes value
 *
 * Rows of other kinds are skipped, and lost when the journal is compacted. */
#ifndef CV_SESSION_JOURNAL_ROW_H
#define CV_SESSION_JOURNAL_ROW_H
#include "session/journal.h"
#include "session/store.h"

#define CV_JOURNAL_UPDATE 1u
#define CV_JOURNAL_FACT   2u

/* Append one row, as cv_store_write() takes it.  The writer's error, or
 * CV_ERR_LIMIT. */
CV_MUST_USE int cv_journal_put_row(struct cv_writer *w, uint8_t kind,
                                   struct cv_bytes data);
CV_MUST_USE int cv_journal_put_fact(struct cv_writer *w, uint8_t type,
                                    struct cv_bytes key, struct cv_bytes value);
CV_MUST_USE int cv_journal_put_update(struct cv_writer *w, uint32_t document,
                                      struct cv_bytes update);
/* Take a row apart; false if it is not of that form. */
bool cv_journal_split_fact(const struct cv_store_row *row, uint8_t *type,
                           struct cv_bytes *key, struct cv_bytes *value);
bool cv_journal_split_update(const struct cv_store_row *row, uint32_t *document,
                             struct cv_bytes *update);
/* Call for each of the rows that wait to be written (their seq is 0). */
int cv_journal_each_row(struct cv_bytes rows,
                        int (*fn)(void *user, const struct cv_store_row *row),
                        void *user);
#endif
