#include "session/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "session/journal_struct.h"

/* Timers: `commit_due` a little after the first that waits and 20 ms after the
 * last commit, so that many go together; `retry_due` a second after writing
 * failed; `compact_after` when there is much more than the state.  A long
 * write-ahead log is due at once.  One job is under way at a time; what is due
 * meanwhile waits for its end. */

#define SOURCES_MAX   1024u
#define DOCUMENTS_MAX 4096u

int cv_journal_note_document(struct cv_journal *j, uint32_t document)
{
    uint32_t *documents;

    for (size_t i = 0; i < j->n_documents; i++)
        if (j->documents[i] == document)
            return CV_OK;
    if (j->n_documents == DOCUMENTS_MAX)
        return CV_ERR_LIMIT;
    documents =
        realloc(j->documents, (j->n_documents + 1) * sizeof(*documents));
    if (!documents)
        return CV_ERR_NOMEM;
    j->documents = documents;
    documents[j->n_documents++] = document;
    return CV_OK;
}

/* ---- trouble ---- */

static void say_trouble(struct cv_journal *j, int error)
{
    char text[CV_JOURNAL_PATH + 128];
    const char *what = "changes are kept in memory only";

    if (error == ENOSPC)
        snprintf(text, sizeof(text),
                 "the disk is full: %s until there is room in %s", what,
                 j->dir);
    else if (error == EDQUOT)
        snprintf(text, sizeof(text),
                 "your quota is used up: %s until there is room in %s", what,
                 j->dir);
    else if (error == EUCLEAN)
        snprintf(text, sizeof(text),
                 "the record of this session was damaged: %s until it is "
                 "written anew in %s",
                 what, j->dir);
    else
        snprintf(text, sizeof(text), "%s: writing to %s failed (%s)", what,
                 j->dir, strerror(error));
    cv_error(j->log, "journal: cannot write, errno=%d", error);
    if (j->trouble)
        j->trouble(j->user, CV_ERR_IO, text);
}

void cv_journal_note_failure(struct cv_journal *j, int error)
{
    bool first = !j->failing;

    j->failing = true;
    j->retry_due = CV_NEVER; /* the next step sets it */
    if (first)
        say_trouble(j, error);
}

void cv_journal_note_success(struct cv_journal *j)
{
    if (!j->failing)
        return;
    j->failing = false;
    cv_info(j->log, "journal: writing works again");
    if (j->trouble)
        j->trouble(j->user, CV_OK, "changes are written to the disk again");
}

/* ---- what waits ---- */

static bool waits(const struct cv_journal *j)
{
    return j->waiting.len || j->overflow;
}

bool cv_journal_clean(const struct cv_journal *j)
{
    return j->kept == j->mark;
}

uint64_t cv_journal_mark(const struct cv_journal *j)
{
    return j->mark;
}

bool cv_journal_has_kept(const struct cv_journal *j, uint64_t mark)
{
    return j->kept >= mark;
}

/* There is no keeping single rows: facts are in memory, and documents can tell
 * their state, so all of that is what has to be written. */
static void hold_state(struct cv_journal *j)
{
    cv_warn(j->log, "journal: too much waits, the state will be written");
    if (j->waiting.len)
        cv_wipe(j->waiting.data, j->waiting.len);
    cv_writer_fini(&j->waiting);
    cv_writer_init_heap(&j->waiting, CV_JOURNAL_RECORD + 64);
    j->overflow = true;
}

void cv_journal_hold_again(struct cv_journal *j, uint8_t *rows, size_t len)
{
    struct cv_writer all;

    if (!j->overflow && len) {
        cv_writer_init_heap(&all, 2 * (size_t)CV_JOURNAL_RECORD);
        cv_put_raw(&all, rows, len);
        if (cv_put_raw(&all, j->waiting.data, j->waiting.len) != CV_OK) {
            cv_writer_fini(&all);
            hold_state(j);
        } else {
            all.max = j->waiting.max;
            cv_writer_fini(&j->waiting);
            j->waiting = all;
        }
    }
    if (j->failing && j->waiting.len > CV_JOURNAL_UNWRITTEN)
        hold_state(j);
    if (len)
        cv_wipe(rows, len);
    free(rows);
}

/* A row was put into `waiting`, with this result, that had `before` bytes. */
static int accepted(struct cv_journal *j, size_t before, int err)
{
    bool first = before == 0 && !j->overflow;

    j->mark++;
    if (err != CV_OK || (j->failing && j->waiting.len > CV_JOURNAL_UNWRITTEN))
        hold_state(j);
    if (j->overflow)
        cv_writer_reset(&j->waiting); /* the state has it */
    if (first && j->wake)
        j->wake(j->user);
    return j->failing ? CV_ERR_IO : CV_OK;
}

int cv_journal_put(struct cv_journal *j, enum cv_journal_fact type,
                   struct cv_bytes key, struct cv_bytes value)
{
    struct cv_bytes now = cv_journal_get(j, type, key);
    size_t before = j->waiting.len;
    int err;

    if (key.len > CV_JOURNAL_FACT_KEY)
        return CV_ERR_LIMIT;
    if (cv_bytes_equal(now, value))
        return j->failing ? CV_ERR_IO : CV_OK;
    err = cv_journal_set_fact(j, (uint8_t)type, key, value);
    if (err != CV_OK)
        return err;
    err = cv_journal_put_fact(&j->waiting, (uint8_t)type, key, value);
    return accepted(j, before, err);
}

int cv_journal_append(struct cv_journal *j, uint32_t document,
                      struct cv_bytes update)
{
    size_t before = j->waiting.len;
    int err = cv_journal_note_document(j, document);

    if (err == CV_OK)
        err = cv_journal_put_update(&j->waiting, document, update);
    return accepted(j, before, err);
}

void cv_journal_set_source(struct cv_journal *j, uint32_t document,
                           int (*state)(void *user, struct cv_writer *out),
                           void *user)
{
    struct cv_journal_source *sources;
    size_t i;

    for (i = 0; i < j->n_sources && j->sources[i].document != document; i++)
        ;
    if (!state) {
        if (i < j->n_sources)
            j->sources[i] = j->sources[--j->n_sources];
        return;
    }
    if (i == j->n_sources) {
        /* Without a source the file just is not compacted. */
        if (j->n_sources == SOURCES_MAX)
            return;
        sources = realloc(j->sources, (j->n_sources + 1) * sizeof(*sources));
        if (!sources)
            return;
        j->sources = sources;
        j->n_sources++;
    }
    j->sources[i] = (struct cv_journal_source){document, state, user};
}

bool cv_journal_all_have_sources(const struct cv_journal *j)
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

int cv_journal_put_snapshot(const struct cv_journal *j, struct cv_writer *w)
{
    struct cv_writer state;
    int err = cv_journal_put_facts(j, w);

    cv_writer_init_heap(&state, CV_JOURNAL_RECORD - 4);
    for (size_t i = 0; i < j->n_sources && err == CV_OK; i++) {
        const struct cv_journal_source *s = &j->sources[i];

        cv_writer_reset(&state);
        err = s->state(s->user, &state);
        if (err == CV_OK)
            err =
                cv_journal_put_update(w, s->document, cv_writer_bytes(&state));
    }
    cv_writer_fini(&state);
    return err;
}

/* ---- reading ---- */

struct replaying {
    uint32_t document;
    int (*fn)(void *user, struct cv_bytes update);
    void *user;
};

static int replay_row(void *user, const struct cv_store_row *row)
{
    const struct replaying *r = user;
    struct cv_bytes update;
    uint32_t document;

    if (!cv_journal_split_update(row, &document, &update) ||
        document != r->document)
        return CV_OK;
    return r->fn(r->user, update);
}

int cv_journal_updates(struct cv_journal *j, uint32_t document,
                       int (*fn)(void *user, struct cv_bytes update),
                       void *user)
{
    struct replaying r = {document, fn, user};
    struct cv_store_error e;
    int err = CV_OK;

    cv_journal_finish_job(j);
    if (j->store)
        err = cv_store_each(j->store, CV_JOURNAL_UPDATE, replay_row, &r, &e);
    if (err == CV_ERR_FORMAT)
        err = CV_ERR_IO; /* it was whole when it was opened */
    if (err != CV_OK)
        return err;
    return cv_journal_each_row(cv_writer_bytes(&j->waiting), replay_row, &r);
}

/* ---- timers ---- */

static bool is_too_large(const struct cv_journal *j)
{
    return j->log_bytes > CV_JOURNAL_COMPACT &&
           j->log_bytes / 4 > j->state_bytes;
}

static bool has_to_write(const struct cv_journal *j)
{
    return waits(j) || j->broken;
}

static bool has_long_log(const struct cv_journal *j)
{
    return !j->broken && cv_store_log_is_long(j->store);
}

cv_time cv_journal_deadline(const struct cv_journal *j)
{
    cv_time due = CV_NEVER;

    if (j->job)
        return j->job_looked;
    if (has_to_write(j)) /* the first step sets the time */
        due = j->failing ? j->retry_due : j->commit_due;
    if (due == CV_NEVER && has_to_write(j))
        due = 0;
    if (has_long_log(j))
        due = 0;
    if (is_too_large(j))
        due = cv_time_min(due, j->compact_after);
    return due;
}

static void start(struct cv_journal *j, enum cv_journal_work what, cv_time now)
{
    j->job_looked = now + CV_SECOND;
    if (cv_journal_start(j, what) != CV_OK)
        cv_journal_note_failure(j, ENOMEM);
}

static void step_write(struct cv_journal *j, cv_time now)
{
    if (!has_to_write(j))
        return;
    if (j->failing && j->retry_due == CV_NEVER)
        j->retry_due = now + CV_JOURNAL_RETRY_EVERY;
    if (!j->failing && j->commit_due == CV_NEVER)
        j->commit_due = now + CV_JOURNAL_DELAY > j->commit_after
                            ? now + CV_JOURNAL_DELAY
                            : j->commit_after;
    if (now < (j->failing ? j->retry_due : j->commit_due))
        return;
    j->retry_due = CV_NEVER;
    j->commit_due = CV_NEVER;
    j->commit_after = now + CV_JOURNAL_GROUP;
    start(j, j->broken ? CV_JOURNAL_REBUILD : CV_JOURNAL_COMMIT, now);
    if (j->failing && !j->job)
        j->retry_due = now + CV_JOURNAL_RETRY_EVERY;
}

static void step_compact(struct cv_journal *j, cv_time now)
{
    if (!is_too_large(j) || j->broken || j->failing || now < j->compact_after)
        return;
    j->compact_after = now + CV_SECOND;
    if (j->compaction_failed || !cv_journal_all_have_sources(j)) {
        j->compaction_failed = false;
        j->compact_after = now + CV_MINUTE;
        return;
    }
    start(j, CV_JOURNAL_SHORTEN, now);
}

void cv_journal_step(struct cv_journal *j, cv_time now)
{
    if (!j->job)
        step_write(j, now);
    if (!j->job && has_long_log(j))
        start(j, CV_JOURNAL_CHECKPOINT, now);
    if (!j->job)
        step_compact(j, now);
    if (j->job && now >= j->job_looked)
        j->job_looked = now + CV_SECOND;
}

/* ---- the beginning and the end ---- */

struct cv_journal *cv_journal_alloc(void)
{
    struct cv_journal *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->place.lock_fd = j->place.old_fd = -1;
    j->retry_due = j->commit_due = CV_NEVER;
    cv_writer_init_heap(&j->waiting, CV_JOURNAL_RECORD + 64);
    return j;
}

void cv_journal_free(struct cv_journal *j)
{
    cv_journal_finish_job(j);
    cv_journal_drop_facts(j);
    free(j->sources);
    free(j->documents);
    if (j->waiting.len) /* maybe the secret of the session */
        cv_wipe(j->waiting.data, j->waiting.len);
    cv_writer_fini(&j->waiting);
    cv_store_close(j->store, true);
    cv_journal_place_unlock(&j->place);
    free(j);
}

int cv_journal_flush(struct cv_journal *j)
{
    struct cv_loop *loop = j->loop;
    int err = CV_OK;

    cv_journal_finish_job(j);
    j->loop = NULL; /* here and now */
    if (has_to_write(j))
        err = cv_journal_start(j, j->broken ? CV_JOURNAL_REBUILD
                                            : CV_JOURNAL_COMMIT);
    j->loop = loop;
    return err != CV_OK ? err : cv_journal_clean(j) ? CV_OK : CV_ERR_IO;
}

void cv_journal_close(struct cv_journal *j)
{
    if (!j)
        return;
    if (cv_journal_flush(j) != CV_OK)
        cv_error(j->log, "journal: closed with changes that are not written");
    cv_journal_free(j);
}

void cv_journal_remove(struct cv_journal *j)
{
    if (!j)
        return;
    cv_journal_finish_job(j);
    cv_store_close(j->store, false);
    j->store = NULL;
    cv_journal_place_remove(&j->place);
    cv_journal_free(j);
}
