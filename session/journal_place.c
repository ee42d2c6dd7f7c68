#include "session/journal_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

#define ENDINGS 32u /* bytes that are kept free for what follows a path */

void cv_journal_hash_name(const struct cv_key *session,
                          char out[CV_JOURNAL_HASH_TEXT + 1])
{
    const struct cv_bytes parts[] = {CV_LITERAL("covim journal 1"),
                                     {session->b, CV_KEY_LEN}};
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, parts, 2);
    cv_hex(out, hash, CV_JOURNAL_HASH_TEXT / 2);
}

bool cv_journal_place_init(struct cv_journal_place *p, const char *dir,
                           const struct cv_key *session, unsigned slot)
{
    char name[CV_JOURNAL_HASH_TEXT + 1];
    int n;

    p->lock_fd = p->old_fd = -1;
    cv_journal_hash_name(session, name);
    n = snprintf(p->old, sizeof(p->old), "%s/%s.%u", dir, name, slot);
    if (n <= 0 || (size_t)n + ENDINGS > CV_JOURNAL_PATH)
        return false;
    n = (int)(CV_JOURNAL_PATH - ENDINGS);
    snprintf(p->db, sizeof(p->db), "%.*s.db", n, p->old);
    snprintf(p->wal, sizeof(p->wal), "%.*s.db-wal", n, p->old);
    snprintf(p->shm, sizeof(p->shm), "%.*s.db-shm", n, p->old);
    snprintf(p->anew, sizeof(p->anew), "%.*s.db.anew", n, p->old);
    snprintf(p->lock, sizeof(p->lock), "%.*s.lock", n, p->old);
    return true;
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

bool cv_journal_place_is_used(const struct cv_journal_place *p)
{
    return is_there(p->db) || is_there(p->wal) || is_there(p->old) ||
           is_there(p->anew);
}

/* ---- locks ---- */

static bool is_private(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
           (st->st_mode & 077) == 0;
}

/* Open and lock a file of ours. */
static int open_locked(const char *path, int flags, int *out)
{
    for (;;) {
        struct stat a, b;
        int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

        if (fd < 0)
            return errno == ENOENT ? CV_ERR_NOTFOUND
                   : errno == EACCES || errno == EPERM || errno == ELOOP
                       ? CV_ERR_PERM
                       : CV_ERR_IO;
        if (fstat(fd, &a) < 0 || !is_private(&a)) {
            close(fd);
            return CV_ERR_PERM;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            close(fd);
            return CV_ERR_BUSY;
        }
        /* It may have been removed meanwhile. */
        if (stat(path, &b) == 0 && a.st_ino == b.st_ino &&
            a.st_dev == b.st_dev) {
            *out = fd;
            return CV_OK;
        }
        close(fd);
    }
}

int cv_journal_place_lock(struct cv_journal_place *p)
{
    int err = open_locked(p->lock, O_RDWR | O_CREAT, &p->lock_fd);

    if (err != CV_OK)
        return err;
    err = open_locked(p->old, O_RDWR, &p->old_fd);
    if (err == CV_OK || err == CV_ERR_NOTFOUND)
        return CV_OK;
    cv_journal_place_unlock(p);
    return err;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void cv_journal_place_unlock(struct cv_journal_place *p)
{
    close_fd(&p->old_fd);
    close_fd(&p->lock_fd);
}

void cv_journal_place_remove(struct cv_journal_place *p)
{
    unlink(p->db);
    unlink(p->wal);
    unlink(p->shm);
    unlink(p->anew);
    unlink(p->old);
    unlink(p->lock);
    cv_journal_place_unlock(p);
}

/* ---- files ---- */

int cv_journal_place_check(const struct cv_journal_place *p)
{
    const char *const paths[] = {p->db, p->wal, p->shm};
    int err = CV_OK;

    for (unsigned i = 0; i < 3; i++) {
        struct stat st;

        if (lstat(paths[i], &st) < 0) {
            if (errno != ENOENT)
                return CV_ERR_PERM;
            if (i == 0)
                err = CV_ERR_NOTFOUND;
        } else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) {
            if (!is_private(&st))
                return CV_ERR_PERM;
            if (i == 0 && (st.st_size == 0 || st.st_size % CV_STORE_PAGE))
                err = CV_ERR_FORMAT;
        } else {
            err = CV_ERR_FORMAT;
        }
    }
    /* Without its file a write-ahead log would be thrown away. */
    return err == CV_ERR_NOTFOUND && is_there(p->wal) ? CV_ERR_FORMAT : err;
}

int cv_journal_read_file(const char *path, uint8_t **out, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    uint8_t *data;
    ssize_t n = 1;

    *out = NULL;
    *len = 0;
    if (fd < 0)
        return errno == ENOENT   ? CV_OK
               : errno == EACCES ? CV_ERR_PERM
                                 : CV_ERR_IO;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return CV_OK; /* there is nothing to read in it */
    }
    data = malloc((size_t)st.st_size + 1);
    while (data && n > 0 && *len < (size_t)st.st_size) {
        n = read(fd, data + *len, (size_t)st.st_size - *len);
        if (n > 0)
            *len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    close(fd);
    if (!data)
        return CV_ERR_NOMEM;
    if (n < 0 && *len == 0) {
        free(data);
        return CV_ERR_IO;
    }
    *out = data; /* what lies behind a bad sector is lost, not this */
    return CV_OK;
}

/* A name that nothing has yet. */
static void name_aside(const char *path, char aside[CV_JOURNAL_PATH],
                       char wal[CV_JOURNAL_PATH])
{
    const int room = (int)(CV_JOURNAL_PATH - ENDINGS);

    for (unsigned i = 1;; i++) {
        snprintf(aside, CV_JOURNAL_PATH, "%.*s.damaged-%u", room, path, i);
        snprintf(wal, CV_JOURNAL_PATH, "%.*s.damaged-%u-wal", room, path, i);
        if (!is_there(aside) && !is_there(wal))
            return;
    }
}

int cv_journal_set_old_aside(const struct cv_journal_place *p,
                             char aside[CV_JOURNAL_PATH])
{
    char wal[CV_JOURNAL_PATH];

    name_aside(p->old, aside, wal);
    return rename(p->old, aside) == 0 ? CV_OK : CV_ERR_IO;
}

bool cv_journal_place_is_half(const struct cv_journal_place *p)
{
    return is_there(p->anew);
}

/* When this ends in the middle it can be begun again: as long as the new store
 * is there under its first name, it is the one that counts. */
int cv_journal_replace_rest(const struct cv_journal_place *p,
                            char aside[CV_JOURNAL_PATH],
                            struct cv_store_error *e)
{
    char wal[CV_JOURNAL_PATH], *slash;
    struct stat st;

    if (lstat(p->wal, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
        unlink(p->wal); /* there is nothing in it to be kept */
    /* The two can still be opened together under the new name. */
    name_aside(p->db, aside, wal);
    if ((rename(p->db, aside) < 0 && errno != ENOENT) ||
        (rename(p->wal, wal) < 0 && errno != ENOENT)) {
        *e = (struct cv_store_error){CV_ERR_IO, errno};
        return e->err;
    }
    unlink(p->shm); /* an index of the log, made anew from it */
    /* The new one must not be found beside the log of the other. */
    snprintf(wal, sizeof(wal), "%s", p->db);
    slash = strrchr(wal, '/');
    *slash = '\0';
    if (cv_store_sync_folder(wal, e) != CV_OK)
        return e->err;
    if (rename(p->anew, p->db) < 0) {
        *e = (struct cv_store_error){CV_ERR_IO, errno};
        return e->err;
    }
    return cv_store_sync_folder(wal, e);
}

int cv_journal_replace(const struct cv_journal_place *p, struct cv_bytes rows,
                       char aside[CV_JOURNAL_PATH], struct cv_store_error *e)
{
    unlink(p->anew); /* of an attempt before this one */
    if (cv_store_create(p->anew, rows, e) != CV_OK)
        return e->err;
    return cv_journal_replace_rest(p, aside, e);
}
