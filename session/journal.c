#include "session/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "session/journal_struct.h"

/* Timers: `sync_due` a second after the last sync, while something is not
 * synced; `retry_due` a second after writing failed; compaction as soon as the
 * file has grown too large. */

#define SOURCES_MAX   1024u
#define DOCUMENTS_MAX 4096u

/* ---- facts in memory ---- */

static struct cv_bytes fact_key(const struct cv_journal_entry *f)
{
    return CV_BYTES(f->bytes, f->key_len);
}

static struct cv_bytes fact_value(const struct cv_journal_entry *f)
{
    return CV_BYTES(f->bytes + f->key_len, f->value_len);
}

static bool bytes_equal(struct cv_bytes a, struct cv_bytes b)
{
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

struct cv_journal_entry *cv_journal_find_fact(const struct cv_journal *j,
                                              uint8_t type, struct cv_bytes key)
{
    for (size_t i = 0; i < j->n_facts; i++)
        if (j->facts[i].type == type &&
            bytes_equal(fact_key(&j->facts[i]), key))
            return &j->facts[i];
    return NULL;
}

static void drop_fact_bytes(struct cv_journal_entry *f)
{
    /* One of them is the secret of the session. */
    cv_wipe(f->bytes, (size_t)f->key_len + f->value_len);
    free(f->bytes);
}

int cv_journal_set_fact(struct cv_journal *j, uint8_t type, struct cv_bytes key,
                        struct cv_bytes value)
{
    struct cv_journal_entry *f = cv_journal_find_fact(j, type, key);
    uint8_t *bytes;

    if (!value.len) {
        if (f) {
            drop_fact_bytes(f);
            memmove(f, f + 1,
                    (size_t)(j->facts + j->n_facts - (f + 1)) * sizeof(*f));
            j->n_facts--;
        }
        return CV_OK;
    }
    if (key.len > CV_JOURNAL_FACT_KEY || value.len > CV_JOURNAL_FACT_VALUE ||
        (!f && j->n_facts == CV_JOURNAL_FACTS))
        return CV_ERR_LIMIT;
    bytes = malloc(key.len + value.len);
    if (!bytes)
        return CV_ERR_NOMEM;
    if (key.len)
        memcpy(bytes, key.data, key.len);
    memcpy(bytes + key.len, value.data, value.len);
    if (f) {
        drop_fact_bytes(f);
    } else {
        if (j->n_facts == j->facts_cap) {
            size_t cap = j->facts_cap ? 2 * j->facts_cap : 16;
            struct cv_journal_entry *facts =
                realloc(j->facts, cap * sizeof(*facts));

            if (!facts) {
                free(bytes);
                return CV_ERR_NOMEM;
            }
            j->facts = facts;
            j->facts_cap = cap;
        }
        f = &j->facts[j->n_facts++];
    }
    f->type = type;
    f->key_len = (uint8_t)key.len;
    f->value_len = (uint16_t)value.len;
    f->bytes = bytes;
    return CV_OK;
}

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

/* ---- writing ---- */

static void say_trouble(struct cv_journal *j, int error)
{
    char text[CV_JOURNAL_PATH + 128];

    if (error == ENOSPC || error == EDQUOT)
        snprintf(text, sizeof(text),
                 "the disk is full: changes are kept in memory only until "
                 "there is room in %s",
                 j->dir);
    else
        snprintf(text, sizeof(text),
                 "changes are kept in memory only: writing to %s failed (%s)",
                 j->dir, strerror(error));
    cv_error(j->log, "journal: cannot write, errno=%d", error);
    if (j->trouble)
        j->trouble(j->user, CV_ERR_IO, text);
}

void cv_journal_note_failure(struct cv_journal *j, int error)
{
    bool first = !j->failing;

    j->failing = true;
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

/* Whole frames go to the end of the file, or nothing does.  Returns errno. */
static int write_frames(struct cv_journal *j, struct cv_bytes frames)
{
    int error = cv_journal_write_at(j->fd, j->size, frames.data, frames.len);

    if (error) {
        /* What got there is a torn record, which the next write covers and
         * opening cuts. */
        if (ftruncate(j->fd, j->size) < 0)
            cv_debug(j->log, "journal: cannot cut, errno=%d", errno);
        return error;
    }
    j->size += (off_t)frames.len;
    j->unsynced = true;
    return 0;
}

/* There is no keeping single frames: facts are in memory, and documents can
 * tell their state, so all of that is what has to be written. */
static void hold_state(struct cv_journal *j)
{
    cv_warn(j->log, "journal: too much waits, the state will be written");
    cv_writer_fini(&j->unwritten);
    cv_writer_init_heap(&j->unwritten, CV_JOURNAL_UNWRITTEN);
    j->overflow = true;
}

/* Keep frames for later. */
static void hold(struct cv_journal *j, struct cv_bytes frames)
{
    if (!j->overflow &&
        cv_put_raw(&j->unwritten, frames.data, frames.len) != CV_OK)
        hold_state(j);
}

static int emit(struct cv_journal *j, struct cv_bytes frames)
{
    int error;

    if (!cv_journal_clean(j)) {
        hold(j, frames);
        return CV_ERR_IO;
    }
    error = write_frames(j, frames);
    if (error) {
        hold(j, frames);
        cv_journal_note_failure(j, error);
        return CV_ERR_IO;
    }
    return CV_OK;
}

/* Everything as it is now: the facts and the state of the documents. */
int cv_journal_put_snapshot(const struct cv_journal *j, struct cv_writer *w)
{
    struct cv_writer state;
    int err = CV_OK;

    for (size_t i = 0; i < j->n_facts && err == CV_OK; i++)
        err = cv_journal_put_fact(w, j->facts[i].type, fact_key(&j->facts[i]),
                                  fact_value(&j->facts[i]));
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

bool cv_journal_clean(const struct cv_journal *j)
{
    return !j->unwritten.len && !j->overflow;
}

static void try_again(struct cv_journal *j)
{
    struct cv_writer all;
    int error;

    if (cv_journal_clean(j))
        return;
    if (!j->overflow) {
        error = write_frames(j, cv_writer_bytes(&j->unwritten));
    } else {
        cv_writer_init_heap(&all, SIZE_MAX);
        error = cv_journal_put_snapshot(j, &all) == CV_OK
                    ? write_frames(j, cv_writer_bytes(&all))
                    : ENOMEM;
        cv_writer_fini(&all);
    }
    if (error)
        return;
    j->overflow = false;
    cv_writer_fini(&j->unwritten);
    cv_writer_init_heap(&j->unwritten, CV_JOURNAL_UNWRITTEN);
    cv_journal_note_success(j);
}

int cv_journal_put(struct cv_journal *j, enum cv_journal_fact type,
                   struct cv_bytes key, struct cv_bytes value)
{
    int err;

    if (key.len > CV_JOURNAL_FACT_KEY)
        return CV_ERR_LIMIT;
    if (bytes_equal(cv_journal_get(j, type, key), value))
        return cv_journal_clean(j) ? CV_OK : CV_ERR_IO;
    err = cv_journal_set_fact(j, (uint8_t)type, key, value);
    if (err != CV_OK)
        return err;
    cv_writer_reset(&j->frame);
    err = cv_journal_put_fact(&j->frame, (uint8_t)type, key, value);
    if (err == CV_OK)
        err = emit(j, cv_writer_bytes(&j->frame));
    else
        hold_state(j);
    cv_wipe(j->frame.data, j->frame.len);
    return err;
}

struct cv_bytes cv_journal_get(const struct cv_journal *j,
                               enum cv_journal_fact type, struct cv_bytes key)
{
    const struct cv_journal_entry *f =
        cv_journal_find_fact(j, (uint8_t)type, key);

    return f ? fact_value(f) : CV_BYTES(NULL, 0);
}

void cv_journal_each(const struct cv_journal *j, enum cv_journal_fact type,
                     void (*fn)(void *user, struct cv_bytes key,
                                struct cv_bytes value),
                     void *user)
{
    for (size_t i = 0; i < j->n_facts; i++)
        if (j->facts[i].type == type)
            fn(user, fact_key(&j->facts[i]), fact_value(&j->facts[i]));
}

int cv_journal_append(struct cv_journal *j, uint32_t document,
                      struct cv_bytes update)
{
    int err = cv_journal_note_document(j, document);

    cv_writer_reset(&j->frame);
    if (err == CV_OK)
        err = cv_journal_put_update(&j->frame, document, update);
    if (err == CV_OK)
        err = emit(j, cv_writer_bytes(&j->frame));
    else
        hold_state(j);
    if (j->frame.cap > CV_JOURNAL_COMPACT) {
        cv_writer_fini(&j->frame);
        cv_writer_init_heap(&j->frame, CV_JOURNAL_RECORD + 64);
    }
    return err;
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

/* ---- reading ---- */

struct replaying {
    uint32_t document;
    int (*fn)(void *user, struct cv_bytes update);
    void *user;
    int err;
};

static int replay_record(void *user, uint8_t type, struct cv_bytes payload)
{
    struct replaying *r = user;
    struct cv_bytes update;
    uint32_t document;

    if (type == CV_JOURNAL_UPDATE &&
        cv_journal_split_update(payload, &document, &update) &&
        document == r->document)
        r->err = r->fn(r->user, update);
    return r->err;
}

int cv_journal_updates(struct cv_journal *j, uint32_t document,
                       int (*fn)(void *user, struct cv_bytes update),
                       void *user)
{
    struct replaying r = {document, fn, user, CV_OK};
    uint8_t *data = NULL;
    size_t len = 0, good;
    int err = cv_journal_read_file(j->fd, &data, &len);

    if (err != CV_OK)
        return err;
    if (len > (size_t)j->size)
        len = (size_t)j->size;
    (void)cv_journal_parse(CV_BYTES(data, len), &good, replay_record, &r);
    if (good != len && r.err == CV_OK)
        r.err = CV_ERR_IO; /* it was whole when it was opened */
    free(data);
    return r.err;
}

/* ---- timers, the end ---- */

struct cv_journal *cv_journal_alloc(void)
{
    struct cv_journal *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->fd = -1;
    j->retry_due = CV_NEVER;
    cv_writer_init_heap(&j->frame, CV_JOURNAL_RECORD + 64);
    cv_writer_init_heap(&j->unwritten, CV_JOURNAL_UNWRITTEN);
    return j;
}

void cv_journal_free(struct cv_journal *j)
{
    for (size_t i = 0; i < j->n_facts; i++)
        drop_fact_bytes(&j->facts[i]);
    free(j->facts);
    free(j->sources);
    free(j->documents);
    cv_writer_fini(&j->frame);
    if (j->unwritten.len) /* maybe the secret of the session */
        cv_wipe(j->unwritten.data, j->unwritten.len);
    cv_writer_fini(&j->unwritten);
    if (j->fd >= 0) {
        /* A job may still hold a duplicate; the lock is of all of them. */
        flock(j->fd, LOCK_UN);
        close(j->fd);
    }
    free(j);
}

/* Jobs end without telling anybody: while one is under way we look again every
 * second, for what it leaves to do. */
cv_time cv_journal_deadline(const struct cv_journal *j)
{
    cv_time due = CV_NEVER;

    if (j->unsynced && !j->rewrite)
        due = cv_time_min(due, j->sync_due);
    if (!cv_journal_clean(j)) /* the first step sets the time */
        due = cv_time_min(due, j->retry_due == CV_NEVER ? 0 : j->retry_due);
    if (j->compaction || cv_journal_too_large(j))
        due = cv_time_min(due, j->compact_after);
    return due;
}

void cv_journal_step(struct cv_journal *j, cv_time now)
{
    if (!cv_journal_clean(j)) {
        if (j->retry_due == CV_NEVER)
            j->retry_due = now + CV_JOURNAL_RETRY_EVERY;
        if (now >= j->retry_due) {
            try_again(j);
            j->retry_due =
                cv_journal_clean(j) ? CV_NEVER : now + CV_JOURNAL_RETRY_EVERY;
        }
    }
    if (now >= j->compact_after) {
        if (j->compaction) {
            j->compact_after = now + CV_SECOND;
        } else if (j->compaction_failed) {
            j->compaction_failed = false;
            j->compact_after = now + CV_MINUTE;
        } else if (cv_journal_too_large(j)) {
            cv_journal_start_compaction(j, now);
        }
    }
    if (j->unsynced && !j->rewrite && now >= j->sync_due) {
        if (j->sync)
            j->sync_due = now + CV_JOURNAL_SYNC_EVERY;
        else
            cv_journal_start_sync(j, now);
    }
}

void cv_journal_close(struct cv_journal *j)
{
    if (!j)
        return;
    try_again(j);
    if (j->sync)
        j->sync->j = NULL;
    if (j->compaction)
        j->compaction->j = NULL;
    cv_journal_last_sync(j);
    cv_journal_free(j);
}

void cv_journal_remove(struct cv_journal *j)
{
    if (!j)
        return;
    if (unlink(j->path) < 0)
        cv_warn(j->log, "journal: cannot delete, errno=%d", errno);
    j->unsynced = false;
    cv_writer_reset(&j->unwritten);
    j->overflow = false;
    cv_journal_close(j);
}
