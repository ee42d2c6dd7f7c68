#include "session/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

/* A later version changes both; one of them alone is damage. */
#define APPLICATION 0x63766a31 /* "cvj1" */
#define VERSION     1

#define ROW_OVERHEAD 24u    /* bytes of a row beside its data, about */
#define FREE_PAGES   256    /* not worth giving back */
#define PATH_TEXT    4200u  /* a path and an ending */
#define URI_TEXT     12700u /* the same, escaped */

struct cv_store {
    sqlite3 *db;
    sqlite3_stmt *insert;
    uint64_t next; /* seq of the next row; 0: not known yet */
    uint64_t bytes;
    int wal_pages;
};

uint32_t cv_store_crc(const struct cv_store_row *row)
{
    uint8_t head[9];
    struct cv_writer w;

    cv_writer_init(&w, head, sizeof(head));
    cv_put_u64(&w, row->seq);
    cv_put_u8(&w, row->kind);
    return cv_crc32(row->data.data, row->data.len) ^ cv_crc32(head, w.len);
}

/* ---- errors ---- */

static int fail(struct cv_store_error *e, int err, int error)
{
    e->err = err;
    e->error = error;
    return err;
}

static int fail_errno(struct cv_store_error *e)
{
    int err = errno == ENOENT                     ? CV_ERR_NOTFOUND
              : errno == EEXIST                   ? CV_ERR_EXISTS
              : errno == EACCES || errno == EPERM ? CV_ERR_PERM
                                                  : CV_ERR_IO;

    return fail(e, err, errno);
}

/* The errno behind a failure.  Of a commit, only the file of the log knows. */
static int system_error(sqlite3 *db, int rc)
{
    int error = db ? sqlite3_system_errno(db) : 0;
    sqlite3_file *log = NULL;

    if (error || !db || (rc & 0xff) != SQLITE_IOERR)
        return error;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) ==
            SQLITE_OK &&
        log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
    return error;
}

/* What a result of SQLite means; `db` may be NULL. */
static int fail_sqlite(struct cv_store_error *e, sqlite3 *db, int rc)
{
    int error = system_error(db, rc);

    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return fail(e, CV_OK, 0);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* our own statements: the schema is another one */
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
        return fail(e, CV_ERR_FORMAT, EUCLEAN);
    case SQLITE_FULL:
        return fail(e, CV_ERR_IO, error == EDQUOT ? EDQUOT : ENOSPC);
    case SQLITE_READONLY:
        return fail(e, CV_ERR_IO, EROFS);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(e, CV_ERR_BUSY, EBUSY);
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
        return fail(e, CV_ERR_NOMEM, ENOMEM);
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return fail(e, CV_ERR_PERM, EACCES);
    default:
        if (rc == SQLITE_IOERR_SHORT_READ || rc == SQLITE_IOERR_CORRUPTFS)
            return fail(e, CV_ERR_FORMAT, EUCLEAN);
        if (error == EACCES || error == EPERM)
            return fail(e, CV_ERR_PERM, error);
        return fail(e, CV_ERR_IO, error ? error : EIO);
    }
}

static int run(struct cv_store *s, const char *sql, struct cv_store_error *e)
{
    return fail_sqlite(e, s->db, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

/* The one number or word that a pragma answers. */
static int ask(struct cv_store *s, const char *sql, int64_t *number,
               char word[16], struct cv_store_error *e)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        if (number)
            *number = sqlite3_column_int64(stmt, 0);
        if (word)
            snprintf(word, 16, "%s", sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    /* A pragma that has no answer is of a file that is not what it seems. */
    return rc == SQLITE_DONE ? fail(e, CV_ERR_FORMAT, EUCLEAN)
                             : fail_sqlite(e, s->db, rc);
}

/* ---- opening ---- */

static int on_wal(void *user, sqlite3 *db, const char *name, int pages)
{
    struct cv_store *s = user;

    (void)db, (void)name;
    s->wal_pages = pages;
    return SQLITE_OK;
}

/* With `alone`, readers in other processes are shut out, and no memory has to
 * be shared with them through a file. */
static int connect_to(struct cv_store **out, const char *name, int flags,
                      bool alone, struct cv_store_error *e)
{
    struct cv_store *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return fail(e, CV_ERR_NOMEM, ENOMEM);
    rc = sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        fail_sqlite(e, s->db, rc);
        sqlite3_close(s->db);
        free(s);
        return e->err;
    }
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, CV_STORE_BUSY);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 256, 32);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* Whoever closes last would take in the write-ahead log, even a damaged
     * one: we say when. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    *out = s;
    /* This first: the others look into the file. */
    if (alone && run(s, "PRAGMA locking_mode=EXCLUSIVE", e) != CV_OK)
        return e->err;
    return run(s, "PRAGMA cache_size=-256; PRAGMA cell_size_check=ON", e);
}

void cv_store_close(struct cv_store *s, bool tidy)
{
    if (!s)
        return;
    if (tidy)
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    sqlite3_finalize(s->insert);
    sqlite3_close(s->db);
    free(s);
}

static int check_version(struct cv_store *s, struct cv_store_error *e)
{
    int64_t application = 0, version = 0;

    if (ask(s, "PRAGMA application_id", &application, NULL, e) != CV_OK ||
        ask(s, "PRAGMA user_version", &version, NULL, e) != CV_OK)
        return e->err;
    if (application == APPLICATION && version == VERSION)
        return CV_OK;
    if (application >> 8 == APPLICATION >> 8 && application > APPLICATION &&
        version > VERSION)
        return fail(e, CV_ERR_VERSION, 0);
    return fail(e, CV_ERR_FORMAT, EUCLEAN);
}

/* Hand over `s`, or close it if something went wrong. */
static int opened(struct cv_store **out, struct cv_store *s,
                  const struct cv_store_error *e)
{
    if (e->err == CV_OK)
        *out = s;
    else
        cv_store_close(s, false);
    return e->err;
}

static int open_to_write(struct cv_store **out, const char *path, bool alone,
                         struct cv_store_error *e)
{
    struct cv_store *s = NULL;
    char mode[16] = "";

    if (connect_to(&s, path, SQLITE_OPEN_READWRITE, alone, e) == CV_OK &&
        check_version(s, e) == CV_OK &&
        run(s,
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
            "PRAGMA journal_size_limit=4194304; PRAGMA temp_store=MEMORY",
            e) == CV_OK &&
        ask(s, "PRAGMA journal_mode", NULL, mode, e) == CV_OK &&
        strcmp(mode, "wal") != 0)
        fail(e, CV_ERR_FORMAT, EUCLEAN);
    if (e->err == CV_OK)
        sqlite3_wal_hook(s->db, on_wal, s);
    return opened(out, s, e);
}

int cv_store_open(struct cv_store **out, const char *path,
                  struct cv_store_error *e)
{
    /* On a full disk there is no room for that file, and the text is there all
     * the same. */
    if (open_to_write(out, path, false, e) == CV_ERR_IO &&
        (e->error == ENOSPC || e->error == EDQUOT))
        return open_to_write(out, path, true, e);
    return e->err;
}

/* file:PATH?immutable=1 */
static bool make_uri(char uri[URI_TEXT], const char *path, bool immutable)
{
    size_t n = (size_t)snprintf(uri, URI_TEXT, "file:");

    for (; *path; path++) {
        if (n + 16 > URI_TEXT)
            return false;
        if (strchr("?#%", *path))
            n += (size_t)sprintf(uri + n, "%%%02x", (unsigned char)*path);
        else
            uri[n++] = *path;
    }
    snprintf(uri + n, URI_TEXT - n, "%s", immutable ? "?immutable=1" : "");
    return true;
}

int cv_store_open_to_read(struct cv_store **out, const char *path,
                          struct cv_store_error *e)
{
    char wal[PATH_TEXT], uri[URI_TEXT];
    struct cv_store *s = NULL;
    struct stat st;

    snprintf(wal, sizeof(wal), "%s-wal", path);
    /* Without a write-ahead log nobody has it open: read just the file. */
    if (!make_uri(uri, path, stat(wal, &st) < 0 || st.st_size == 0))
        return fail(e, CV_ERR_INVALID, ENAMETOOLONG);
    if (connect_to(&s, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, false, e) ==
        CV_OK)
        check_version(s, e);
    return opened(out, s, e);
}

/* ---- making ---- */

static int sync_path(const char *path, int flags, struct cv_store_error *e)
{
    int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0)
        return fail_errno(e);
    if (fsync(fd) < 0 && errno != EINVAL)
        fail_errno(e);
    close(fd);
    return e->err;
}

int cv_store_sync_folder(const char *path, struct cv_store_error *e)
{
    *e = (struct cv_store_error){CV_OK, 0};
    return sync_path(path, O_RDONLY | O_DIRECTORY, e);
}

static int fill(const char *path, struct cv_bytes rows,
                struct cv_store_error *e)
{
    struct cv_store *s = NULL;
    char sql[512];

    snprintf(sql, sizeof(sql),
             "PRAGMA page_size=%u; PRAGMA auto_vacuum=INCREMENTAL;"
             "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;"
             "PRAGMA application_id=%d; PRAGMA user_version=%d;"
             "CREATE TABLE log(seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL,"
             " crc INTEGER NOT NULL, data BLOB NOT NULL)",
             CV_STORE_PAGE, APPLICATION, VERSION);
    if (connect_to(&s, path, SQLITE_OPEN_READWRITE, false, e) == CV_OK &&
        run(s, sql, e) == CV_OK && cv_store_write(s, rows, false, e) == CV_OK)
        run(s, "PRAGMA journal_mode=WAL", e);
    cv_store_close(s, true);
    return e->err;
}

/* It is made under another name, so that the file at `path` is never one that
 * was begun and not finished. */
int cv_store_create(const char *path, struct cv_bytes rows,
                    struct cv_store_error *e)
{
    char made[PATH_TEXT], dir[PATH_TEXT];
    char *slash;
    int fd;

    snprintf(made, sizeof(made), "%s.new", path);
    snprintf(dir, sizeof(dir), "%s", path);
    slash = strrchr(dir, '/');
    if (!slash || strlen(path) + sizeof(".new") > sizeof(made))
        return fail(e, CV_ERR_INVALID, EINVAL);
    *slash = '\0';
    unlink(made);
    fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_errno(e);
    fail(e, CV_OK, 0);
    if (fchmod(fd, 0600) < 0)
        fail_errno(e);
    close(fd);
    if (e->err == CV_OK && fill(made, rows, e) == CV_OK &&
        sync_path(made, O_RDONLY, e) == CV_OK && rename(made, path) < 0)
        fail_errno(e);
    if (e->err == CV_OK)
        return cv_store_sync_folder(dir, e);
    unlink(made);
    return e->err;
}

/* ---- reading ---- */

int cv_store_check(struct cv_store *s, struct cv_store_error *e)
{
    char word[16] = "";

    if (ask(s, "PRAGMA quick_check(1)", NULL, word, e) == CV_OK &&
        strcmp(word, "ok") != 0)
        fail(e, CV_ERR_FORMAT, EUCLEAN);
    return e->err;
}

int cv_store_each(struct cv_store *s, uint8_t kind,
                  int (*fn)(void *user, const struct cv_store_row *row),
                  void *user, struct cv_store_error *e)
{
    uint64_t last = 0, bytes = 0;
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(
        s->db,
        kind ? "SELECT seq, kind, crc, data FROM log WHERE kind=? ORDER BY seq"
             : "SELECT seq, kind, crc, data FROM log ORDER BY seq",
        -1, &stmt, NULL);

    if (rc == SQLITE_OK && kind)
        rc = sqlite3_bind_int(stmt, 1, kind);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct cv_store_row row = {
            (uint64_t)sqlite3_column_int64(stmt, 0),
            (uint8_t)sqlite3_column_int(stmt, 1),
            CV_BYTES(sqlite3_column_blob(stmt, 3),
                     (size_t)sqlite3_column_bytes(stmt, 3)),
        };
        int err = CV_OK;

        rc = SQLITE_OK;
        if (row.data.len && !row.data.data)
            rc = SQLITE_NOMEM;
        else if (sqlite3_column_int64(stmt, 2) != cv_store_crc(&row) ||
                 row.seq == 0 || (!kind && last && row.seq != last + 1))
            rc = SQLITE_CORRUPT;
        else
            err = fn(user, &row);
        if (err != CV_OK) {
            sqlite3_finalize(stmt);
            return fail(e, err, 0);
        }
        last = row.seq;
        bytes += row.data.len + ROW_OVERHEAD;
    }
    fail_sqlite(e, s->db, rc);
    sqlite3_finalize(stmt);
    if (e->err == CV_OK && !kind) {
        s->next = last + 1;
        s->bytes = bytes;
    }
    return e->err;
}

uint64_t cv_store_bytes(const struct cv_store *s)
{
    return s->bytes;
}

/* ---- writing ---- */

static int find_next(struct cv_store *s, struct cv_store_error *e)
{
    int64_t last = 0;

    if (s->next)
        return CV_OK;
    if (ask(s, "SELECT max(seq) FROM log", &last, NULL, e) == CV_OK)
        s->next = (uint64_t)last + 1;
    return e->err;
}

/* `*n` rows and their `*bytes`. */
static int insert_rows(struct cv_store *s, struct cv_bytes rows, uint64_t *n,
                       uint64_t *bytes, struct cv_store_error *e)
{
    struct cv_reader r;
    int rc = SQLITE_OK;

    if (!s->insert)
        rc = sqlite3_prepare_v3(s->db, "INSERT INTO log VALUES(?,?,?,?)", -1,
                                SQLITE_PREPARE_PERSISTENT, &s->insert, NULL);
    cv_reader_init(&r, rows.data, rows.len);
    while (rc == SQLITE_OK && cv_reader_left(&r)) {
        struct cv_store_row row = {.seq = s->next + *n, .kind = cv_get_u8(&r)};

        row.data = cv_get_bytes(&r, cv_get_u32(&r));
        assert(r.err == CV_OK && row.kind);
        sqlite3_bind_int64(s->insert, 1, (int64_t)row.seq);
        sqlite3_bind_int(s->insert, 2, row.kind);
        sqlite3_bind_int64(s->insert, 3, cv_store_crc(&row));
        sqlite3_bind_blob64(s->insert, 4, row.data.data ? row.data.data : r.at,
                            row.data.len, SQLITE_STATIC);
        rc = sqlite3_step(s->insert);
        sqlite3_reset(s->insert);
        sqlite3_clear_bindings(s->insert);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
        ++*n;
        *bytes += row.data.len + ROW_OVERHEAD;
    }
    return fail_sqlite(e, s->db, rc);
}

/* Pages that nothing uses any more go back to the disk when they are many. */
static void give_back(struct cv_store *s)
{
    struct cv_store_error e;
    int64_t unused = 0, all = 0;

    if (ask(s, "PRAGMA freelist_count", &unused, NULL, &e) == CV_OK &&
        ask(s, "PRAGMA page_count", &all, NULL, &e) == CV_OK &&
        unused > FREE_PAGES && unused > all / 2)
        (void)run(s, "PRAGMA incremental_vacuum", &e);
}

int cv_store_write(struct cv_store *s, struct cv_bytes rows, bool replace,
                   struct cv_store_error *e)
{
    uint64_t n = 0, bytes = 0;

    if (run(s, "BEGIN IMMEDIATE", e) != CV_OK)
        return e->err;
    if (find_next(s, e) == CV_OK &&
        (!replace || run(s, "DELETE FROM log", e) == CV_OK) &&
        insert_rows(s, rows, &n, &bytes, e) == CV_OK)
        run(s, "COMMIT", e);
    if (e->err != CV_OK) {
        struct cv_store_error ignored;

        (void)run(s, "ROLLBACK", &ignored);
        return e->err;
    }
    s->next += n;
    s->bytes = replace ? bytes : s->bytes + bytes;
    if (replace)
        give_back(s);
    return CV_OK;
}

bool cv_store_log_is_long(const struct cv_store *s)
{
    return s->wal_pages > CV_STORE_WAL_PAGES;
}

void cv_store_checkpoint(struct cv_store *s, bool whole)
{
    (void)sqlite3_wal_checkpoint_v2(s->db, NULL,
                                    whole ? SQLITE_CHECKPOINT_TRUNCATE
                                          : SQLITE_CHECKPOINT_PASSIVE,
                                    NULL, NULL);
    /* What failed now is done after the next write, which counts again. */
    s->wal_pages = 0;
}
