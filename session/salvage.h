/* session/salvage.h - the rows of a damaged store, from the bytes of its files.
 *
 * A store (session/store.h) is a file of SQLite and its write-ahead log.  When
 * SQLite cannot read them any more, most pages are still good, and each row
 * tells by its checksum whether it is.  So every page is looked at as if it
 * were a leaf of the table, whatever the header, the tree and the other pages
 * say (https://www.sqlite.org/fileformat2.html, 1.6 and 4.1).
 *
 * Pure: the bytes are the caller's, and they are not trusted. */
#ifndef CV_SESSION_SALVAGE_H
#define CV_SESSION_SALVAGE_H
#include <stdbool.h>

#include "session/store.h"

/* Was this write-ahead log written as far as it goes?  One that a crash cut
 * short is whole: what is missing was never promised.  SQLite ignores what
 * comes after a damaged page of it, and says nothing. */
bool cv_salvage_wal_is_whole(struct cv_bytes wal);

/* Every row that verifies, in no order, some more than once, and some that
 * were replaced long ago.  The bytes are borrowed for the call.  Stops and
 * returns what `fn` returns if that is not CV_OK; CV_ERR_NOMEM. */
CV_MUST_USE int cv_salvage_rows(struct cv_bytes file, struct cv_bytes wal,
                                int (*fn)(void *user,
                                          const struct cv_store_row *row),
                                void *user);
#endif
