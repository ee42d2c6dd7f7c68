#include "session/journal_struct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Syncing and compacting: what blocks runs on the loop's worker, and swaps
 * files when it is back in the loop. */

/* Copied by the loop itself when a compaction ends; more goes to the worker. */
#define TAIL_MAX    (64 * 1024)
#define TAIL_ROUNDS 8

static void free_job(struct cv_journal_job *job)
{
    if (job->fd >= 0)
        close(job->fd);
    if (job->dir_fd >= 0)
        close(job->dir_fd);
    if (job->new_fd >= 0)
        close(job->new_fd);
    free(job->snapshot);
    free(job);
}

static struct cv_journal_job *new_job(struct cv_journal *j)
{
    struct cv_journal_job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->j = j;
    job->dir_fd = job->new_fd = -1;
    job->fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0);
    if (job->fd < 0) {
        free(job);
        return NULL;
    }
    if (j->dir_unsynced)
        job->dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return job;
}

static void run_job(struct cv_journal *j, void (*work)(void *user),
                    void (*done)(void *user), struct cv_journal_job *job)
{
    if (j->loop && cv_loop_work(j->loop, work, done, job) == CV_OK)
        return;
    work(job);
    done(job);
}

static void sync_work(void *user)
{
    struct cv_journal_job *job = user;

    if (fdatasync(job->fd) < 0)
        job->err = errno;
    if (job->dir_fd >= 0 && fsync(job->dir_fd) < 0 && errno != EINVAL)
        job->err = errno;
}

static void sync_done(void *user)
{
    struct cv_journal_job *job = user;
    struct cv_journal *j = job->j;

    if (j) {
        j->sync = NULL;
        if (job->err) {
            /* The kernel may have dropped the pages: what is on the disk is
             * unknown, only a new file helps. */
            j->rewrite = true;
            j->unsynced = true;
            cv_journal_note_failure(j, job->err);
        } else if (!j->rewrite && cv_journal_clean(j)) {
            cv_journal_note_success(j);
        }
    }
    free_job(job);
}

void cv_journal_start_sync(struct cv_journal *j, cv_time now)
{
    struct cv_journal_job *job = new_job(j);

    j->sync_due = now + CV_JOURNAL_SYNC_EVERY;
    if (!job)
        return;
    j->unsynced = false;
    j->dir_unsynced = false;
    j->sync = job;
    run_job(j, sync_work, sync_done, job);
}

void cv_journal_last_sync(struct cv_journal *j)
{
    struct cv_journal_job *job = j->unsynced ? new_job(j) : NULL;

    if (!job)
        return;
    job->j = NULL;
    run_job(j, sync_work, sync_done, job);
}

/* Copy [from, upto) of the old file to the end of the new one.  errno. */
static int copy_tail(struct cv_journal_job *job)
{
    uint8_t buf[16384];

    while (job->from < job->upto) {
        size_t want = (size_t)(job->upto - job->from);
        ssize_t n;
        int error;

        n = pread(job->fd, buf, want < sizeof(buf) ? want : sizeof(buf),
                  job->from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        error = cv_journal_write_at(job->new_fd, job->new_size, buf, (size_t)n);
        if (error)
            return error;
        job->from += n;
        job->new_size += n;
    }
    return 0;
}

static void compact_work(void *user)
{
    struct cv_journal_job *job = user;

    if (job->snapshot) {
        job->err = cv_journal_write_at(job->new_fd, job->new_size,
                                       job->snapshot, job->snapshot_len);
        job->new_size += (off_t)job->snapshot_len;
        cv_wipe(job->snapshot, job->snapshot_len);
        free(job->snapshot);
        job->snapshot = NULL;
    }
    if (!job->err)
        job->err = copy_tail(job);
    if (!job->err && fdatasync(job->new_fd) < 0)
        job->err = errno;
}

/* The new file takes the place of the old one. */
static int swap_files(struct cv_journal *j, struct cv_journal_job *job)
{
    int error;

    job->upto = j->size;
    error = copy_tail(job);
    if (error)
        return error;
    if (rename(job->tmp, j->path) < 0)
        return errno;
    cv_debug(j->log, "journal: compacted, before=%lld, after=%lld",
             (long long)j->size, (long long)job->new_size);
    flock(j->fd, LOCK_UN);
    close(j->fd);
    j->fd = job->new_fd;
    job->new_fd = -1;
    j->size = job->new_size;
    j->state_bytes = (size_t)job->new_size;
    j->rewrite = false;
    j->unsynced = true;
    j->dir_unsynced = true;
    j->sync_due = INT64_MIN; /* the tail was not synced in the new file */
    return 0;
}

static void compact_done(void *user)
{
    struct cv_journal_job *job = user;
    struct cv_journal *j = job->j;

    if (j && !job->err && j->size - job->from > TAIL_MAX &&
        ++job->rounds < TAIL_ROUNDS) {
        job->upto = j->size;
        run_job(j, compact_work, compact_done, job);
        return;
    }
    if (j) {
        j->compaction = NULL;
        if (!job->err)
            job->err = swap_files(j, job);
        if (job->err) {
            cv_warn(j->log, "journal: not compacted, errno=%d", job->err);
            unlink(job->tmp);
            j->compaction_failed = true;
        } else if (cv_journal_clean(j)) {
            cv_journal_note_success(j);
        }
    } else {
        unlink(job->tmp);
    }
    free_job(job);
}

static bool all_documents_have_sources(const struct cv_journal *j)
{
    for (size_t i = 0; i < j->n_documents; i++) {
        size_t k;

        for (k = 0; k < j->n_sources; k++)
            if (j->sources[k].document == j->documents[i])
                break;
        if (k == j->n_sources)
            return false;
    }
    return true;
}

bool cv_journal_too_large(const struct cv_journal *j)
{
    return j->rewrite || ((size_t)j->size > CV_JOURNAL_COMPACT &&
                          (size_t)j->size / 4 > j->state_bytes);
}

void cv_journal_start_compaction(struct cv_journal *j, cv_time now)
{
    static unsigned serial;
    struct cv_writer w;
    struct cv_journal_job *job;

    j->compact_after = now + CV_SECOND;
    if (!all_documents_have_sources(j)) {
        j->compact_after = now + CV_MINUTE;
        return;
    }
    cv_writer_init_heap(&w, SIZE_MAX);
    if (cv_journal_put_snapshot(j, &w) != CV_OK) {
        cv_writer_fini(&w);
        return;
    }
    j->state_bytes = w.len;
    if (!cv_journal_too_large(j)) {
        cv_writer_fini(&w);
        return;
    }
    job = new_job(j);
    if (!job) {
        cv_writer_fini(&w);
        return;
    }
    /* A job of an earlier life of this journal may still be at work. */
    snprintf(job->tmp, sizeof(job->tmp), "%.*s" CV_JOURNAL_TMP "%u",
             (int)(CV_JOURNAL_PATH - 32), j->path, serial++);
    if (cv_journal_create_locked(&job->new_fd, job->tmp) != CV_OK) {
        cv_warn(j->log, "journal: not compacted, errno=%d", errno);
        j->compaction_failed = true;
        cv_writer_fini(&w);
        free_job(job);
        return;
    }
    job->new_size = CV_JOURNAL_HEADER;
    job->snapshot = cv_writer_take(&w, &job->snapshot_len);
    job->from = job->upto = j->size;
    j->compaction = job;
    run_job(j, compact_work, compact_done, job);
}
