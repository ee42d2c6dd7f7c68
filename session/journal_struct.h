/* session/journal_struct.h - the inside of a journal; for its own files only.
 *
 * journal.c: what waits, what is kept, when something is due.  journal_work.c:
 * the writing itself, on the worker.  journal_open.c: slots, and what is in
 * them.  journal_mend.c: what is damaged or old.  journal_facts.c: facts.
 * journal_row.c: what is in a row. journal_place.c: names and locks.  store.c:
 * SQLite. */
#ifndef CV_SESSION_JOURNAL_STRUCT_H
#define CV_SESSION_JOURNAL_STRUCT_H
#include "session/journal.h"
#include "session/journal_place.h"
#include "session/journal_row.h"
#include "session/store.h"

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

enum cv_journal_work {
    CV_JOURNAL_COMMIT,     /* write what waits */
    CV_JOURNAL_CHECKPOINT, /* take a long write-ahead log into the file */
    CV_JOURNAL_SHORTEN,    /* write the state in the place of everything */
    CV_JOURNAL_REBUILD,    /* the same to a new file, setting the old aside */
};

/* Work on the worker, one at a time; until it is over, the store is its. */
struct cv_journal_job {
    enum cv_journal_work what;
    struct cv_journal *j; /* NULL once its result was taken */
    struct cv_store *store;
    bool overflow;        /* `held` is not all that waited */
    struct cv_bytes rows; /* to be written, in `held` or `snapshot` */
    uint8_t *held;        /* rows that waited */
    size_t held_len;
    uint8_t *snapshot;
    size_t snapshot_len;
    uint64_t mark; /* what is kept if it succeeds */
    struct cv_store_error e;
    char aside[CV_JOURNAL_PATH]; /* of a rebuild */
};

struct cv_journal {
    struct cv_loop *loop;
    struct cv_log *log;
    void (*trouble)(void *user, int err, const char *text);
    void (*wake)(void *user);
    void *user;
    struct cv_key session;
    char dir[CV_JOURNAL_PATH];
    struct cv_journal_place place;
    struct cv_store *store; /* NULL: of a scan, or a rebuild failed */

    struct cv_journal_entry *facts;
    size_t n_facts;
    size_t facts_cap;
    struct cv_journal_source *sources;
    size_t n_sources;
    uint32_t *documents; /* that have updates */
    size_t n_documents;

    struct cv_writer waiting; /* rows to be written */
    bool overflow;            /* too many were: write the state instead */
    uint64_t mark;            /* puts and appends so far… */
    uint64_t kept;            /* …and how many of them are written */
    struct cv_journal_job *job;
    cv_time job_looked; /* when we look whether it is over */
    cv_time commit_due; /* CV_NEVER: nothing waits, or the next step sets it */
    cv_time commit_after; /* 20 ms after the last */
    cv_time retry_due;
    bool failing;
    bool broken; /* the file was damaged while we had it open */

    uint64_t log_bytes;   /* of all rows */
    uint64_t state_bytes; /* of them, in the last snapshot */
    cv_time compact_after;
    bool compaction_failed;
};

/* --- journal.c --- */
struct cv_journal *cv_journal_alloc(void);
/* Without writing anything. */
void cv_journal_free(struct cv_journal *j);
int cv_journal_note_document(struct cv_journal *j, uint32_t document);
/* Say once that writing fails (errno), or works again. */
void cv_journal_note_failure(struct cv_journal *j, int error);
void cv_journal_note_success(struct cv_journal *j);
/* Rows that were not written wait again, before all others.  Takes them. */
void cv_journal_hold_again(struct cv_journal *j, uint8_t *rows, size_t len);
/* Everything as it is now: the facts and the state of the documents. */
int cv_journal_put_snapshot(const struct cv_journal *j, struct cv_writer *w);
bool cv_journal_all_have_sources(const struct cv_journal *j);

/* --- journal_facts.c --- */
struct cv_journal_entry *cv_journal_find_fact(const struct cv_journal *j,
                                              uint8_t type,
                                              struct cv_bytes key);
/* In memory only. */
int cv_journal_set_fact(struct cv_journal *j, uint8_t type, struct cv_bytes key,
                        struct cv_bytes value);
CV_MUST_USE int cv_journal_put_facts(const struct cv_journal *j,
                                     struct cv_writer *w);
void cv_journal_drop_facts(struct cv_journal *j);

/* --- journal_mend.c --- */
/* Bring a locked place into order, whatever is there, and open it.  `why` says
 * what had to be done, if somebody should know. */
CV_MUST_USE int cv_journal_mend(const struct cv_journal_place *p,
                                struct cv_store **out, struct cv_log *log,
                                char *why, size_t why_len,
                                struct cv_store_error *e);
/* The records of a file of the older form, and whether it is damaged. */
CV_MUST_USE int cv_journal_read_old(const char *path, struct cv_writer *rows,
                                    bool *damaged);

/* --- journal_work.c --- */
/* CV_ERR_NOMEM; else it is under way, or done if there is no loop. */
CV_MUST_USE int cv_journal_start(struct cv_journal *j,
                                 enum cv_journal_work what);
/* Wait until what is under way is over. */
void cv_journal_finish_job(struct cv_journal *j);
#endif
