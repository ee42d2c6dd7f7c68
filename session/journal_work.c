#include "session/journal_struct.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"

/* What blocks, on the loop's worker: commits, checkpoints, compacting.  Each
 * job has the store for itself from its start until its result is taken. */

static void free_rows(uint8_t *rows, size_t len)
{
    /* One of them may be the secret of the session. */
    if (rows)
        cv_wipe(rows, len);
    free(rows);
}

static void free_job(struct cv_journal_job *job)
{
    free_rows(job->held, job->held_len);
    free_rows(job->snapshot, job->snapshot_len);
    free(job);
}

/* ---- on the worker ---- */

static void rebuild(struct cv_journal_job *job)
{
    const struct cv_journal_place *place = &job->j->place;

    cv_store_close(job->store, false);
    job->store = NULL;
    if (cv_journal_replace(place, job->rows, job->aside, &job->e) == CV_OK &&
        cv_store_open(&job->store, place->db, &job->e) != CV_OK)
        job->store = NULL;
}

static void work(void *user)
{
    struct cv_journal_job *job = user;

    switch (job->what) {
    case CV_JOURNAL_COMMIT:
        job->e.err = cv_store_write(job->store, job->rows, false, &job->e);
        break;
    case CV_JOURNAL_CHECKPOINT:
        cv_store_checkpoint(job->store, false);
        break;
    case CV_JOURNAL_SHORTEN:
        job->e.err = cv_store_write(job->store, job->rows, true, &job->e);
        break;
    case CV_JOURNAL_REBUILD:
        rebuild(job);
        break;
    }
}

/* ---- what came of it ---- */

static void committed(struct cv_journal *j, const struct cv_journal_job *job)
{
    j->kept = job->mark;
    j->log_bytes = cv_store_bytes(job->store);
    cv_journal_note_success(j);
}

static void not_committed(struct cv_journal *j, struct cv_journal_job *job)
{
    if (job->overflow)
        j->overflow = true;
    cv_journal_hold_again(j, job->held, job->held_len);
    job->held = NULL;
}

static void rebuilt(struct cv_journal *j, const struct cv_journal_job *job)
{
    char text[CV_JOURNAL_PATH + 128];

    j->broken = false;
    j->failing = false;
    j->kept = job->mark;
    j->log_bytes = j->state_bytes = job->snapshot_len;
    snprintf(text, sizeof(text),
             "the record of this session was written anew; the damaged one "
             "is kept as %s",
             job->aside);
    cv_warn(j->log, "journal: rebuilt, bytes=%zu", job->snapshot_len);
    if (j->trouble)
        j->trouble(j->user, CV_OK, text);
}

/* Take the result, and the store back. */
static void settle(struct cv_journal *j, struct cv_journal_job *job)
{
    const int err = job->e.err;

    j->job = NULL;
    job->j = NULL;
    j->store = job->store;
    switch (job->what) {
    case CV_JOURNAL_COMMIT:
        if (err == CV_OK)
            committed(j, job);
        break;
    case CV_JOURNAL_CHECKPOINT:
        break;
    case CV_JOURNAL_SHORTEN:
        if (err == CV_OK) {
            cv_debug(j->log, "journal: compacted, before=%llu, after=%llu",
                     (unsigned long long)j->log_bytes,
                     (unsigned long long)cv_store_bytes(job->store));
            committed(j, job);
        } else {
            cv_warn(j->log, "journal: not compacted, errno=%d", job->e.error);
            j->compaction_failed = true;
        }
        break;
    case CV_JOURNAL_REBUILD:
        if (err == CV_OK)
            rebuilt(j, job);
        break;
    }
    if (err == CV_OK)
        return;
    not_committed(j, job);
    /* After EIO the kernel may have dropped what it could not write: what is on
     * the disk is unknown, only a new file helps. */
    if (err == CV_ERR_FORMAT || job->e.error == EIO || !j->store)
        j->broken = true;
    /* That the file could not be made shorter is no trouble yet. */
    if (job->what != CV_JOURNAL_SHORTEN || j->broken)
        cv_journal_note_failure(j, job->e.error ? job->e.error : EIO);
}

static void done(void *user)
{
    struct cv_journal_job *job = user;
    struct cv_journal *j = job->j;

    if (j) {
        settle(j, job);
        if (j->wake)
            j->wake(j->user);
    }
    free_job(job);
}

void cv_journal_finish_job(struct cv_journal *j)
{
    struct cv_journal_job *job = j->job;

    if (!job)
        return;
    cv_loop_work_now(j->loop, job);
    settle(j, job); /* done() frees it */
}

/* ---- starting ---- */

static int take_snapshot(struct cv_journal *j, struct cv_journal_job *job)
{
    struct cv_writer w;
    int err;

    cv_writer_init_heap(&w, SIZE_MAX);
    err = cv_journal_put_snapshot(j, &w);
    if (err != CV_OK) {
        cv_writer_fini(&w);
        return err;
    }
    job->snapshot = cv_writer_take(&w, &job->snapshot_len);
    job->rows = CV_BYTES(job->snapshot, job->snapshot_len);
    return CV_OK;
}

/* Whatever waits goes with the job; its result decides whether it waits
 * again. */
static void take_waiting(struct cv_journal *j, struct cv_journal_job *job)
{
    job->overflow = j->overflow;
    job->held = cv_writer_take(&j->waiting, &job->held_len);
    j->overflow = false;
    job->mark = j->mark;
    if (!job->snapshot)
        job->rows = CV_BYTES(job->held, job->held_len);
}

int cv_journal_start(struct cv_journal *j, enum cv_journal_work what)
{
    struct cv_journal_job *job = calloc(1, sizeof(*job));
    bool state = what == CV_JOURNAL_SHORTEN || what == CV_JOURNAL_REBUILD ||
                 (what == CV_JOURNAL_COMMIT && j->overflow);
    int err = job ? CV_OK : CV_ERR_NOMEM;

    if (err == CV_OK && state)
        err = take_snapshot(j, job);
    if (err == CV_OK && what == CV_JOURNAL_SHORTEN) {
        j->state_bytes = job->snapshot_len;
        if (j->log_bytes / 4 <= j->state_bytes) { /* not worth it */
            free_job(job);
            return CV_OK;
        }
    }
    if (err != CV_OK) {
        if (job)
            free_job(job);
        return err;
    }
    job->what = what;
    job->j = j;
    job->store = j->store;
    if (what != CV_JOURNAL_CHECKPOINT)
        take_waiting(j, job);
    j->job = job;
    if (j->loop && cv_loop_work(j->loop, work, done, job) == CV_OK)
        return CV_OK;
    work(job);
    settle(j, job);
    free_job(job);
    return CV_OK;
}
