/* session/journal_file.h - the records and the files of a journal; for the
 * journal's own files only. */
#ifndef CV_SESSION_JOURNAL_FILE_H
#define CV_SESSION_JOURNAL_FILE_H
#include <stdbool.h>
#include <sys/types.h>

#include "session/journal.h"

#define CV_JOURNAL_MAGIC     "covimjl"
#define CV_JOURNAL_VERSION   '1'
#define CV_JOURNAL_HASH_TEXT 32u /* hex digits of a file name */
#define CV_JOURNAL_PATH      4096u

/* A whole header. */
extern const uint8_t cv_journal_magic[CV_JOURNAL_HEADER];

/* Append one record.  The writer's error, or CV_ERR_LIMIT. */
CV_MUST_USE int cv_journal_put_fact(struct cv_writer *w, uint8_t type,
                                    struct cv_bytes key, struct cv_bytes value);
CV_MUST_USE int cv_journal_put_update(struct cv_writer *w, uint32_t document,
                                      struct cv_bytes update);
/* Take a payload apart; false if it is not of that form. */
bool cv_journal_split_fact(struct cv_bytes payload, uint8_t *type,
                           struct cv_bytes *key, struct cv_bytes *value);
bool cv_journal_split_update(struct cv_bytes payload, uint32_t *document,
                             struct cv_bytes *update);

/* All of it, or an errno. */
int cv_journal_write_at(int fd, off_t at, const uint8_t *data, size_t len);
/* The whole file into heap memory; CV_ERR_IO, CV_ERR_NOMEM. */
CV_MUST_USE int cv_journal_read_file(int fd, uint8_t **out, size_t *out_len);
void cv_journal_hash_name(const struct cv_key *session,
                          char out[CV_JOURNAL_HASH_TEXT + 1]);
/* False if the path is too long. */
bool cv_journal_slot_path(char out[CV_JOURNAL_PATH], const char *dir,
                          const struct cv_key *session, unsigned slot);
/* Is the file one that only we can have written? */
bool cv_journal_is_private(int fd);
/* Open an existing file and lock it.  CV_ERR_NOTFOUND, CV_ERR_BUSY (`*out` is
 * then open for reading all the same), CV_ERR_PERM, CV_ERR_IO. */
CV_MUST_USE int cv_journal_open_locked(int *out, const char *path);
/* Make a new file, locked, with its header.  CV_ERR_EXISTS, CV_ERR_PERM,
 * CV_ERR_IO. */
CV_MUST_USE int cv_journal_create_locked(int *out, const char *path);
#endif
