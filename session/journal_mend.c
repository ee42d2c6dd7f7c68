#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "session/journal_old.h"
#include "session/journal_struct.h"
#include "session/salvage.h"

/* Whatever is in a place becomes a store that is whole: made, taken over from
 * the older form, or put together from what is left of a damaged one. */

/* ---- what is in a damaged store ---- */

/* Rows that were found, to be put in order. */
struct finds {
    struct cv_writer data;
    struct find {
        uint64_t seq;
        size_t at;
        uint32_t len;
        uint8_t kind;
    } * rows;
    size_t n;
    size_t cap;
};

static int note_find(void *user, const struct cv_store_row *row)
{
    struct finds *f = user;

    if (row->data.len > CV_JOURNAL_RECORD)
        return CV_OK;
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 256;
        struct find *rows = realloc(f->rows, cap * sizeof(*rows));

        if (!rows)
            return CV_ERR_NOMEM;
        f->rows = rows;
        f->cap = cap;
    }
    f->rows[f->n++] = (struct find){row->seq, f->data.len,
                                    (uint32_t)row->data.len, row->kind};
    return cv_put_raw(&f->data, row->data.data, row->data.len);
}

static int by_seq(const void *a, const void *b)
{
    const struct find *x = a, *y = b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* `rows` and the number of them that are updates. */
static int salvage(struct cv_bytes file, struct cv_bytes wal,
                   struct cv_writer *rows, size_t *updates)
{
    struct finds f = {0};
    uint64_t last = 0;
    int err;

    cv_writer_init_heap(&f.data, SIZE_MAX);
    err = cv_salvage_rows(file, wal, note_find, &f);
    if (f.n)
        qsort(f.rows, f.n, sizeof(*f.rows), by_seq);
    *updates = 0;
    for (size_t i = 0; i < f.n && err == CV_OK; i++) {
        const struct find *r = &f.rows[i];

        if (r->seq == last)
            continue;
        last = r->seq;
        *updates += r->kind == CV_JOURNAL_UPDATE;
        err = cv_journal_put_row(rows, r->kind,
                                 CV_BYTES(f.data.data + r->at, r->len));
    }
    if (f.data.len)
        cv_wipe(f.data.data, f.data.len);
    cv_writer_fini(&f.data);
    free(f.rows);
    return err;
}

/* The damaged files get another name, and what is good of them a new file
 * under the old one. */
static int replace_damaged(const struct cv_journal_place *p, struct cv_log *log,
                           char *why, size_t why_len, struct cv_store_error *e)
{
    uint8_t *file = NULL, *wal = NULL;
    size_t file_len = 0, wal_len = 0, updates = 0;
    char aside[CV_JOURNAL_PATH] = "";
    struct cv_writer rows;

    cv_writer_init_heap(&rows, SIZE_MAX);
    e->error = 0;
    e->err = cv_journal_read_file(p->db, &file, &file_len);
    if (e->err == CV_OK)
        e->err = cv_journal_read_file(p->wal, &wal, &wal_len);
    if (e->err == CV_OK)
        e->err = salvage(CV_BYTES(file, file_len), CV_BYTES(wal, wal_len),
                         &rows, &updates);
    if (e->err == CV_OK &&
        cv_journal_replace(p, cv_writer_bytes(&rows), aside, e) == CV_OK) {
        cv_warn(log, "journal: damaged, updates=%zu, bytes=%zu", updates,
                rows.len);
        snprintf(why, why_len,
                 "the record of this session was damaged: %zu change%s could "
                 "be read, the rest comes from the others; the damaged file is "
                 "kept as %s",
                 updates, updates == 1 ? "" : "s", aside);
    }
    if (rows.len)
        cv_wipe(rows.data, rows.len);
    cv_writer_fini(&rows);
    free(file);
    free(wal);
    return e->err;
}

/* What was good is in the new file already. */
static int replace_rest(const struct cv_journal_place *p, struct cv_log *log,
                        char *why, size_t why_len, struct cv_store_error *e)
{
    char aside[CV_JOURNAL_PATH];

    *e = (struct cv_store_error){CV_OK, 0};
    if (cv_journal_replace_rest(p, aside, e) != CV_OK)
        return e->err;
    cv_warn(log, "journal: damaged, its replacement was not finished");
    snprintf(why, why_len,
             "the record of this session was damaged: what could be read is "
             "taken over, the rest comes from the others; the damaged file is "
             "kept as %s.damaged-1 (or a higher number)",
             p->db);
    return CV_OK;
}

/* ---- what is in a place ---- */

static int ignore_row(void *user, const struct cv_store_row *row)
{
    (void)user, (void)row;
    return CV_OK;
}

/* Open it if all of it is good. */
static int open_whole(const struct cv_journal_place *p, struct cv_store **out,
                      struct cv_store_error *e)
{
    struct cv_store *s = NULL;
    uint8_t *wal = NULL;
    size_t len = 0;
    bool whole;

    *e = (struct cv_store_error){cv_journal_place_check(p), 0};
    if (e->err == CV_OK)
        e->err = cv_journal_read_file(p->wal, &wal, &len);
    if (e->err != CV_OK)
        return e->err;
    whole = cv_salvage_wal_is_whole(CV_BYTES(wal, len));
    free(wal);
    if (!whole)
        return e->err = CV_ERR_FORMAT;
    if (cv_store_open(&s, p->db, e) != CV_OK)
        return e->err;
    if (cv_store_check(s, e) == CV_OK &&
        cv_store_each(s, 0, ignore_row, NULL, e) == CV_OK && len)
        cv_store_checkpoint(s, true); /* a crash left it */
    if (e->err == CV_OK)
        *out = s;
    else
        cv_store_close(s, false);
    return e->err;
}

int cv_journal_read_old(const char *path, struct cv_writer *rows, bool *damaged)
{
    enum cv_journal_old_end end = CV_JOURNAL_OLD_WHOLE;
    uint8_t *file = NULL;
    size_t len = 0;
    int err = cv_journal_read_file(path, &file, &len);

    if (err == CV_OK)
        err = cv_journal_old_read(CV_BYTES(file, len), &end, rows);
    if (len)
        cv_wipe(file, len);
    free(file);
    *damaged = end == CV_JOURNAL_OLD_DAMAGED;
    return err;
}

/* Take over a file of the older form, in one transaction; it goes then. */
static int migrate(const struct cv_journal_place *p, struct cv_store **store,
                   struct cv_log *log, char *why, size_t why_len,
                   struct cv_store_error *e)
{
    char aside[CV_JOURNAL_PATH];
    struct cv_writer rows;
    bool damaged = false;

    cv_writer_init_heap(&rows, SIZE_MAX);
    *e = (struct cv_store_error){cv_journal_read_old(p->old, &rows, &damaged),
                                 0};
    if (e->err == CV_OK && *store)
        e->err = cv_store_write(*store, cv_writer_bytes(&rows), false, e);
    else if (e->err == CV_OK &&
             cv_store_create(p->db, cv_writer_bytes(&rows), e) == CV_OK)
        open_whole(p, store, e);
    if (rows.len)
        cv_wipe(rows.data, rows.len);
    if (e->err == CV_OK)
        cv_info(log, "journal: took over the older file, bytes=%zu", rows.len);
    cv_writer_fini(&rows);
    if (e->err != CV_OK)
        return e->err;
    if (!damaged)
        (void)remove(p->old);
    else if (cv_journal_set_old_aside(p, aside) == CV_OK)
        snprintf(
            why, why_len,
            "the record of this session was damaged: what could be read is "
            "taken over, the rest comes from the others; the damaged file "
            "is kept as %s",
            aside);
    return CV_OK;
}

int cv_journal_mend(const struct cv_journal_place *p, struct cv_store **out,
                    struct cv_log *log, char *why, size_t why_len,
                    struct cv_store_error *e)
{
    *out = NULL;
    if (cv_journal_place_is_half(p) &&
        replace_rest(p, log, why, why_len, e) != CV_OK)
        return e->err;
    open_whole(p, out, e);
    if (e->err == CV_ERR_FORMAT &&
        replace_damaged(p, log, why, why_len, e) == CV_OK)
        open_whole(p, out, e);
    if (e->err != CV_OK && e->err != CV_ERR_NOTFOUND)
        return e->err;
    if (p->old_fd >= 0)
        return migrate(p, out, log, why, why_len, e);
    if (e->err == CV_ERR_NOTFOUND &&
        cv_store_create(p->db, CV_BYTES(NULL, 0), e) == CV_OK)
        open_whole(p, out, e);
    return e->err;
}
