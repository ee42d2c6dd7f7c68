/* session/journal_struct.h - the inside of a journal; for its own files only.
 *
 * journal.c: facts, updates, trying again.  journal_open.c: slots and what is
 * in them.  journal_disk.c: syncing and compacting.  journal_file.c: records
 * and files. */
#ifndef CV_SESSION_JOURNAL_STRUCT_H
#define CV_SESSION_JOURNAL_STRUCT_H
#include "session/journal.h"
#include "session/journal_file.h"

#define CV_JOURNAL_TMP ".tmp-" /* follows the name of an unfinished file */

struct cv_journal_entry {
    uint8_t type;
    uint8_t key_len;
    uint16_t value_len;
    uint8_t *bytes; /* key, then value */
};

struct cv_journal_source {
    uint32_t document;
    int (*state)(void *user, struct cv_writer *out);
    void *user;
};

/* Work on the worker; it outlives its journal. */
struct cv_journal_job {
    struct cv_journal *j; /* NULL once that is closed */
    int fd;               /* our own duplicate of the journal's */
    int dir_fd;           /* synced too, or -1 */
    int err;
    /* of a compaction */
    int new_fd;
    uint8_t *snapshot;
    size_t snapshot_len;
    off_t from;     /* what follows in the old file is not in the snapshot */
    off_t upto;     /* copy [from, upto) after the snapshot */
    off_t new_size; /* written so far */
    unsigned rounds;
    char tmp[CV_JOURNAL_PATH];
};

struct cv_journal {
    struct cv_loop *loop;
    struct cv_log *log;
    void (*trouble)(void *user, int err, const char *text);
    void *user;
    struct cv_key session;
    char path[CV_JOURNAL_PATH];
    char dir[CV_JOURNAL_PATH];

    int fd;
    off_t size; /* whole records end here */

    struct cv_journal_entry *facts;
    size_t n_facts;
    size_t facts_cap;
    struct cv_journal_source *sources;
    size_t n_sources;
    uint32_t *documents; /* that have records in the file */
    size_t n_documents;

    struct cv_writer frame;     /* scratch */
    struct cv_writer unwritten; /* frames that wait */
    bool overflow;              /* too many did: write the state instead */
    bool failing;
    cv_time retry_due;

    bool unsynced;
    bool dir_unsynced;
    bool rewrite; /* what the disk holds is in doubt: write it all anew */
    cv_time sync_due;
    struct cv_journal_job *sync;

    size_t state_bytes; /* size of the last snapshot */
    struct cv_journal_job *compaction;
    bool compaction_failed;
    cv_time compact_after;
};

/* --- journal.c --- */
struct cv_journal *cv_journal_alloc(void);
/* Without writing anything. */
void cv_journal_free(struct cv_journal *j);
struct cv_journal_entry *cv_journal_find_fact(const struct cv_journal *j,
                                              uint8_t type,
                                              struct cv_bytes key);
/* In memory only. */
int cv_journal_set_fact(struct cv_journal *j, uint8_t type, struct cv_bytes key,
                        struct cv_bytes value);
int cv_journal_note_document(struct cv_journal *j, uint32_t document);
/* Say once that writing fails (errno), or works again. */
void cv_journal_note_failure(struct cv_journal *j, int error);
void cv_journal_note_success(struct cv_journal *j);
/* Everything as it is now: the facts and the state of the documents. */
int cv_journal_put_snapshot(const struct cv_journal *j, struct cv_writer *w);

/* --- journal_disk.c --- */
void cv_journal_start_sync(struct cv_journal *j, cv_time now);
/* Of a file that is being closed: the job does not come back to us. */
void cv_journal_last_sync(struct cv_journal *j);
bool cv_journal_too_large(const struct cv_journal *j);
void cv_journal_start_compaction(struct cv_journal *j, cv_time now);
#endif
