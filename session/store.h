/* session/store.h - rows in a file, by SQLite; the only file that knows it.
 *
 * One table, one writer, and any number of readers in other processes.  Rows
 * are appended and numbered without a gap, and all of them can be replaced by
 * others at once; what is in them is the journal's.
 *
 *   log(seq INTEGER PRIMARY KEY, kind INTEGER, crc INTEGER, data BLOB)
 *     crc := CRC-32(data) xor CRC-32(u64 seq, u8 kind)
 *
 * A write is in the write-ahead log (PATH-wal) and on the disk when it returns:
 * it survives a crash of the process and a loss of power.  All calls block;
 * they may come from different threads, but not at a time. */
#ifndef CV_SESSION_STORE_H
#define CV_SESSION_STORE_H
#include "base/bytes.h"

struct cv_store;

#define CV_STORE_PAGE 4096u /* bytes */
#define CV_STORE_BUSY 2000  /* ms that we wait for another process */
/* A write-ahead log of so many pages is a long one. */
#define CV_STORE_WAL_PAGES 1000

struct cv_store_row {
    uint64_t seq;
    uint8_t kind;
    struct cv_bytes data;
};

/* Rows to be written:  rows := (u8 kind, u32 length, bytes[length])* */
#define CV_STORE_ROW_HEAD 5u
uint32_t cv_store_crc(const struct cv_store_row *row);

/* CV_ERR_* and the errno behind it (or one that says as much).
 *
 *   CV_ERR_FORMAT   the file is damaged, or not a store
 *   CV_ERR_VERSION  of a later version
 *   CV_ERR_BUSY     another process would not let go
 *   CV_ERR_PERM, CV_ERR_NOTFOUND
 *   CV_ERR_IO       ENOSPC, EDQUOT, EROFS, EIO …
 *   CV_ERR_NOMEM */
struct cv_store_error {
    int err;
    int error;
};

/* Make a store with these rows: all of it is at `path` then, or nothing. */
CV_MUST_USE int cv_store_create(const char *path, struct cv_bytes rows,
                                struct cv_store_error *e);
CV_MUST_USE int cv_store_open(struct cv_store **out, const char *path,
                              struct cv_store_error *e);
/* For cv_store_each() only; changes nothing, leaves nothing behind. */
CV_MUST_USE int cv_store_open_to_read(struct cv_store **out, const char *path,
                                      struct cv_store_error *e);
/* With `tidy` the write-ahead log is taken into the file, if nobody else has
 * it open; without, the files stay as they are. */
void cv_store_close(struct cv_store *s, bool tidy);

/* Is the structure of the file whole? */
CV_MUST_USE int cv_store_check(struct cv_store *s, struct cv_store_error *e);
/* All rows in order; or those of one kind, if that is not 0.  Stops and
 * returns what `fn` returns if that is not CV_OK.  CV_ERR_FORMAT when a row
 * does not verify or is missing. */
CV_MUST_USE int cv_store_each(struct cv_store *s, uint8_t kind,
                              int (*fn)(void *user,
                                        const struct cv_store_row *row),
                              void *user, struct cv_store_error *e);
/* Append the rows, or with `replace` put them in the place of all others; one
 * transaction. */
CV_MUST_USE int cv_store_write(struct cv_store *s, struct cv_bytes rows,
                               bool replace, struct cv_store_error *e);
/* Has the write-ahead log CV_STORE_WAL_PAGES, so that it should be taken into
 * the file? */
bool cv_store_log_is_long(const struct cv_store *s);
/* Take it into the file; with `whole` wait for readers, and begin it anew. */
void cv_store_checkpoint(struct cv_store *s, bool whole);
/* Bring the names in a folder to the disk. */
CV_MUST_USE int cv_store_sync_folder(const char *path,
                                     struct cv_store_error *e);
/* Of the rows. */
uint64_t cv_store_bytes(const struct cv_store *s);
#endif
