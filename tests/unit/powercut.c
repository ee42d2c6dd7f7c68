#include "tests/unit/powercut.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES  1024
#define FDS    1024
#define SECTOR 512u

enum op_kind {
    OP_WRITE,    /* bytes to a file */
    OP_LENGTH,   /* a file has this length now */
    OP_SYNC,     /* a file */
    OP_SYNC_DIR, /* the names */
    OP_NAME,     /* a file has this name, and no other has */
    OP_UNNAME,   /* nothing has this name */
    OP_RENAME,   /* what had this name has another */
};

struct op {
    enum op_kind kind;
    int file;
    off_t at; /* or the length */
    size_t len;
    uint8_t *data;
    char *name, *other;
};

struct disk {
    char dir[PATH_MAX];
    struct op *ops;
    size_t n, cap;
    size_t before; /* of them, what tells how the folder was */
    int n_files;
    char *names[FILES]; /* as they are now */
};

static struct disk *watched;
static int file_of[FDS]; /* file + 1; 0: of no interest; -1: the folder */

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "powercut: %s\n", what);
    abort();
}

/* ---- what happens ---- */

static struct op *note(enum op_kind kind, int file)
{
    struct disk *d = watched;

    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 1024;
        d->ops = realloc(d->ops, d->cap * sizeof(*d->ops));
        need(d->ops, "no memory");
    }
    d->ops[d->n] = (struct op){.kind = kind, .file = file};
    return &d->ops[d->n++];
}

/* The name in the watched folder; NULL: it is somewhere else. */
static const char *name_in(const char *path)
{
    size_t n = watched ? strlen(watched->dir) : 0;

    return watched && strncmp(path, watched->dir, n) == 0 && path[n] == '/' &&
                   !strchr(path + n + 1, '/')
               ? path + n + 1
               : NULL;
}

static int find_name(const char *name)
{
    for (int i = 0; i < watched->n_files; i++)
        if (watched->names[i] && strcmp(watched->names[i], name) == 0)
            return i;
    return -1;
}

static void drop_name(const char *name)
{
    int file = find_name(name);

    if (file < 0)
        return;
    free(watched->names[file]);
    watched->names[file] = NULL;
}

static int add_file(const char *name)
{
    int file = watched->n_files++;

    need(file < FILES, "too many files");
    watched->names[file] = strdup(name);
    note(OP_NAME, file)->name = strdup(name);
    return file;
}

static void note_open(int fd, const char *path)
{
    const char *name = name_in(path);
    size_t n = strlen(path);
    int file;

    need(fd < FDS, "too many descriptors");
    file_of[fd] = 0;
    if (watched && strcmp(path, watched->dir) == 0)
        file_of[fd] = -1;
    if (!name || (n > 4 && strcmp(path + n - 4, "-shm") == 0))
        return;
    file = find_name(name);
    file_of[fd] = (file < 0 ? add_file(name) : file) + 1;
}

static void note_write(int fd, const void *data, ssize_t len, off_t at)
{
    struct op *op;

    if (!watched || len <= 0 || fd >= FDS || file_of[fd] <= 0)
        return;
    op = note(OP_WRITE, file_of[fd] - 1);
    op->at = at;
    op->len = (size_t)len;
    op->data = malloc((size_t)len);
    need(op->data, "no memory");
    memcpy(op->data, data, (size_t)len);
}

static int note_length(int fd, off_t len, int result)
{
    if (watched && result == 0 && fd < FDS && file_of[fd] > 0)
        note(OP_LENGTH, file_of[fd] - 1)->at = len;
    return result;
}

static int note_sync(int fd)
{
    if (!watched || fd >= FDS || !file_of[fd])
        return (int)syscall(SYS_fsync, fd);
    if (file_of[fd] < 0)
        note(OP_SYNC_DIR, -1);
    else
        note(OP_SYNC, file_of[fd] - 1);
    return 0;
}

/* ---- in the place of the C library ---- */

#define INSTEAD_OF(name) __asm__(name)

int disk_open(const char *path, int flags, ...) INSTEAD_OF("open");
int disk_open64(const char *path, int flags, ...) INSTEAD_OF("open64");
int disk_open_2(const char *path, int flags) INSTEAD_OF("__open_2");
int disk_close(int fd) INSTEAD_OF("close");
ssize_t disk_write(int fd, const void *data, size_t len) INSTEAD_OF("write");
ssize_t disk_pwrite(int fd, const void *data, size_t len, off_t at)
    INSTEAD_OF("pwrite64");
int disk_ftruncate(int fd, off_t len) INSTEAD_OF("ftruncate64");
int disk_fsync(int fd) INSTEAD_OF("fsync");
int disk_fdatasync(int fd) INSTEAD_OF("fdatasync");
int disk_unlink(const char *path) INSTEAD_OF("unlink");
int disk_rename(const char *from, const char *to) INSTEAD_OF("rename");

static int do_open(const char *path, int flags, mode_t mode)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);

    if (fd >= 0)
        note_open(fd, path);
    return fd;
}

int disk_open(const char *path, int flags, ...)
{
    va_list arguments;
    int fd;

    va_start(arguments, flags);
    fd = do_open(path, flags, flags & O_CREAT ? va_arg(arguments, mode_t) : 0);
    va_end(arguments);
    return fd;
}

int disk_open64(const char *path, int flags, ...)
{
    va_list arguments;
    int fd;

    va_start(arguments, flags);
    fd = do_open(path, flags, flags & O_CREAT ? va_arg(arguments, mode_t) : 0);
    va_end(arguments);
    return fd;
}

int disk_open_2(const char *path, int flags)
{
    return do_open(path, flags, 0);
}

int disk_close(int fd)
{
    if (fd >= 0 && fd < FDS)
        file_of[fd] = 0;
    return (int)syscall(SYS_close, fd);
}

ssize_t disk_write(int fd, const void *data, size_t len)
{
    off_t at = watched ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_write, fd, data, len);

    note_write(fd, data, n, at);
    return n;
}

ssize_t disk_pwrite(int fd, const void *data, size_t len, off_t at)
{
    ssize_t n = syscall(SYS_pwrite64, fd, data, len, at);

    note_write(fd, data, n, at);
    return n;
}

int disk_ftruncate(int fd, off_t len)
{
    return note_length(fd, len, (int)syscall(SYS_ftruncate, fd, len));
}

int disk_fsync(int fd)
{
    return note_sync(fd);
}

int disk_fdatasync(int fd)
{
    return note_sync(fd);
}

int disk_unlink(const char *path)
{
    const char *name = name_in(path);
    int result = (int)syscall(SYS_unlink, path);

    if (name && result == 0 && find_name(name) >= 0) {
        note(OP_UNNAME, -1)->name = strdup(name);
        drop_name(name);
    }
    return result;
}

int disk_rename(const char *from, const char *to)
{
    const char *a = name_in(from), *b = name_in(to);
    int result = (int)syscall(SYS_rename, from, to);
    struct op *op;
    int file;

    if (!a || !b || result != 0 || (file = find_name(a)) < 0)
        return result;
    op = note(OP_RENAME, file);
    op->name = strdup(a);
    op->other = strdup(b);
    drop_name(b);
    free(watched->names[file]);
    watched->names[file] = strdup(b);
    return result;
}

/* ---- watching ---- */

/* A file that is there already counts as written and synced. */
static void add_safe(const char *path)
{
    uint8_t piece[65536];
    struct stat st;
    off_t at = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY);

    need(fd >= 0 && fstat(fd, &st) == 0, "a file cannot be read");
    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        note_write(fd, piece, n, at);
        at += n;
    }
    fsync(fd);
    close(fd);
}

struct disk *disk_watch(const char *dir)
{
    struct disk *d = calloc(1, sizeof(*d));
    char path[PATH_MAX + 300];
    struct dirent *e;
    DIR *folder;

    need(d && !watched, "one disk at a time");
    snprintf(d->dir, sizeof(d->dir), "%s", dir);
    watched = d;
    memset(file_of, 0, sizeof(file_of));
    folder = opendir(dir);
    while (folder && (e = readdir(folder)))
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
            add_safe(path);
        }
    if (folder)
        closedir(folder);
    note(OP_SYNC_DIR, -1);
    d->before = d->n;
    return d;
}

void disk_unwatch(struct disk *d)
{
    need(watched == d, "this disk is not watched");
    watched = NULL;
}

void disk_free(struct disk *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->ops[i].data);
        free(d->ops[i].name);
        free(d->ops[i].other);
    }
    for (int i = 0; i < d->n_files; i++)
        free(d->names[i]);
    free(d->ops);
    free(d);
}

size_t disk_moment(const struct disk *d)
{
    return d->n - d->before;
}

/* ---- the cut ---- */

struct luck {
    enum disk_luck kind;
    uint64_t state;
};

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift
 * generators, scrambled". */
static uint32_t draw(struct luck *l, uint32_t below)
{
    l->state ^= l->state >> 12;
    l->state ^= l->state << 25;
    l->state ^= l->state >> 27;
    return (uint32_t)(l->state * 0x2545f4914f6cdd1du >> 33) % below;
}

static bool arrives(struct luck *l)
{
    return l->kind == DISK_ALL || (l->kind == DISK_SOME && draw(l, 2));
}

static void put(int fd, const uint8_t *data, size_t len, off_t at)
{
    need(syscall(SYS_pwrite64, fd, data, len, at) == (long)len, "pwrite");
}

/* One that was not synced: all of it, some sectors, or nothing. */
static void put_perhaps(int fd, const struct op *op, struct luck *l)
{
    if (arrives(l)) {
        put(fd, op->data, op->len, op->at);
        return;
    }
    for (size_t from = 0; l->kind == DISK_SOME && from < op->len;) {
        size_t piece = SECTOR - (size_t)(op->at + (off_t)from) % SECTOR;

        piece = piece < op->len - from ? piece : op->len - from;
        if (draw(l, 4) == 0)
            put(fd, op->data + from, piece, op->at + (off_t)from);
        from += piece;
    }
}

static void fill_file(const struct disk *d, int file, size_t moment,
                      struct luck *l, const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                          O_RDWR | O_CREAT | O_TRUNC, 0600);
    size_t safe = 0;

    need(fd >= 0, "a file cannot be made");
    for (size_t i = 0; i < moment; i++)
        if (d->ops[i].kind == OP_SYNC && d->ops[i].file == file)
            safe = i;
    for (size_t i = 0; i < moment; i++) {
        const struct op *op = &d->ops[i];

        if (op->file != file)
            continue;
        if (op->kind == OP_WRITE && i < safe)
            put(fd, op->data, op->len, op->at);
        else if (op->kind == OP_WRITE)
            put_perhaps(fd, op, l);
        else if (op->kind == OP_LENGTH && (i < safe || arrives(l)))
            need(syscall(SYS_ftruncate, fd, op->at) == 0, "ftruncate");
    }
    syscall(SYS_close, fd);
}

/* Which file has which name, after the first `n` of what happened. */
static void names_after(const struct disk *d, size_t n,
                        const char *names[FILES])
{
    for (size_t i = 0; i < n; i++) {
        const struct op *op = &d->ops[i];
        const char *gone = op->kind == OP_RENAME ? op->other : op->name;

        if (op->kind < OP_NAME)
            continue;
        for (int f = 0; f < d->n_files; f++)
            if (names[f] && strcmp(names[f], gone) == 0)
                names[f] = NULL;
        if (op->kind == OP_NAME)
            names[op->file] = op->name;
        else if (op->kind == OP_RENAME)
            names[op->file] = op->other;
    }
}

void disk_cut(const struct disk *d, size_t moment, enum disk_luck luck,
              uint64_t seed, const char *to)
{
    struct luck l = {luck, seed * 0x9e3779b97f4a7c15u + 1};
    const char *names[FILES] = {NULL};
    char path[PATH_MAX + 300];
    size_t n = 0;

    moment += d->before;
    need(moment <= d->n, "that has not happened");
    for (size_t i = 0; i < moment; i++)
        if (d->ops[i].kind == OP_SYNC_DIR)
            n = i;
    while (n < moment && (d->ops[n].kind < OP_NAME || arrives(&l)))
        n++;
    names_after(d, n, names);
    for (int f = 0; f < d->n_files; f++)
        if (names[f]) {
            snprintf(path, sizeof(path), "%s/%s", to, names[f]);
            fill_file(d, f, moment, &l, path);
        }
}
