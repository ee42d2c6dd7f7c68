/* session/journal_place.h - where a journal is: names, locks, setting aside.
 *
 *   DATA_DIR/sessions/HASH.SLOT.db      the store; and with -wal, -shm, its own
 *   DATA_DIR/sessions/HASH.SLOT.lock    locked while an agent has it
 *   DATA_DIR/sessions/HASH.SLOT         a file of the older form
 *   DATA_DIR/sessions/….damaged-N       what could not be read
 *   DATA_DIR/sessions/HASH.SLOT.db.anew  what is to take its place
 *
 * HASH is of the session key, so that a listing does not give the key away;
 * the slot lets a second agent of the same user take part in the session. */
#ifndef CV_SESSION_JOURNAL_PLACE_H
#define CV_SESSION_JOURNAL_PLACE_H
#include "session/journal.h"
#include "session/store.h"

#define CV_JOURNAL_HASH_TEXT 32u /* hex digits of a file name */
#define CV_JOURNAL_PATH      4096u

struct cv_journal_place {
    char db[CV_JOURNAL_PATH];
    char wal[CV_JOURNAL_PATH];
    char shm[CV_JOURNAL_PATH];
    char anew[CV_JOURNAL_PATH];
    char lock[CV_JOURNAL_PATH];
    char old[CV_JOURNAL_PATH];
    int lock_fd; /* -1: not locked */
    int old_fd;  /* so that an older covim keeps off it */
};

void cv_journal_hash_name(const struct cv_key *session,
                          char out[CV_JOURNAL_HASH_TEXT + 1]);
/* False if the path is too long. */
bool cv_journal_place_init(struct cv_journal_place *p, const char *dir,
                           const struct cv_key *session, unsigned slot);
/* Is there anything? */
bool cv_journal_place_is_used(const struct cv_journal_place *p);
/* CV_ERR_BUSY: another agent has it; CV_ERR_PERM, CV_ERR_IO with errno. */
CV_MUST_USE int cv_journal_place_lock(struct cv_journal_place *p);
void cv_journal_place_unlock(struct cv_journal_place *p);
/* Delete it; it is locked, and unlocked then. */
void cv_journal_place_remove(struct cv_journal_place *p);

/* Are its files such as only we can have made?  CV_OK, CV_ERR_NOTFOUND (no
 * store), CV_ERR_PERM, CV_ERR_FORMAT (something else in its place, or a file
 * that was cut: SQLite would take one without a page for a new one). */
CV_MUST_USE int cv_journal_place_check(const struct cv_journal_place *p);
/* The whole of a file into heap memory; nothing if there is none.  Not while
 * SQLite has it open: closing it would undo SQLite's locks.  CV_ERR_IO,
 * CV_ERR_PERM, CV_ERR_NOMEM. */
CV_MUST_USE int cv_journal_read_file(const char *path, uint8_t **out,
                                     size_t *len);
/* Rename the older file to NAME.damaged-N; `aside` is that name.  CV_ERR_IO
 * with errno. */
CV_MUST_USE int cv_journal_set_old_aside(const struct cv_journal_place *p,
                                         char aside[CV_JOURNAL_PATH]);
/* Put a new store with these rows in the place of the one that is there, which
 * is renamed to NAME.damaged-N.  Nobody has that open. */
CV_MUST_USE int cv_journal_replace(const struct cv_journal_place *p,
                                   struct cv_bytes rows,
                                   char aside[CV_JOURNAL_PATH],
                                   struct cv_store_error *e);
/* Was that begun, and has the new store to take its place yet?  The other one
 * may be there in part. */
bool cv_journal_place_is_half(const struct cv_journal_place *p);
/* Then go on with it. */
CV_MUST_USE int cv_journal_replace_rest(const struct cv_journal_place *p,
                                        char aside[CV_JOURNAL_PATH],
                                        struct cv_store_error *e);
#endif
