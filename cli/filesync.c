#include "cli/filesync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/delta.h"
#include "cli/wholetext.h"
#include "session/textdiff.h"

#define TEXT_MAX (2 * (size_t)CV_DOCUMENT_MAX)

struct cv_filesync {
    struct cv_loop *loop;
    struct cv_log *log;
    struct cv_document *document;
    char *path;
    struct cv_writer base; /* what was last the same on disk and in the text */
    struct stat seen;      /* of the file, when base was read or written */
    bool exists;           /* it did then */
    /* The file that was replaced last stays open for a while: who opened it
     * before may write there yet. */
    int old; /* -1: none */
    struct cv_writer old_text;
    struct stat old_seen;
    cv_time old_until;
    struct cv_timer *timer;
    int notify;
    struct cv_watch *watch;
    int warned; /* the error that was said last */
};

static int read_all(int fd, struct cv_writer *out)
{
    for (;;) {
        uint8_t *space = cv_put_space(out, 65536);
        ssize_t n;

        if (!space)
            return out->err == CV_ERR_NOBUF ? CV_ERR_LIMIT : out->err;
        n = read(fd, space, 65536);
        out->len -= 65536 - (n > 0 ? (size_t)n : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return CV_ERR_IO;
        if (n == 0)
            return CV_OK;
    }
}

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* All of a file from its start, if it is a text. */
static int read_text(int fd, struct cv_writer *out)
{
    struct stat st;
    int err;

    cv_writer_init_heap(out, (size_t)CV_DOCUMENT_MAX + 65536);
    err = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                  lseek(fd, 0, SEEK_SET) == 0
              ? read_all(fd, out)
              : CV_ERR_IO;
    if (err == CV_OK && out->len > CV_DOCUMENT_MAX)
        err = CV_ERR_LIMIT;
    if (err == CV_OK && ((out->len && memchr(out->data, '\0', out->len)) ||
                         !cv_utf8_valid(out->data, out->len)))
        err = CV_ERR_FORMAT;
    return err;
}

int cv_filesync_read(const char *path, struct cv_writer *out)
{
    int fd = open_file(path), err;

    if (fd < 0) {
        err = errno == ENOENT ? CV_ERR_NOTFOUND : CV_ERR_IO;
        cv_writer_init_heap(out, 0);
        return err;
    }
    err = read_text(fd, out);
    close(fd);
    return err;
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void say(struct cv_filesync *f, int err, const char *what)
{
    if (err != f->warned && err != CV_OK)
        cv_warn(f->log, "filesync: %s: %s; it is tried again", what,
                cv_strerror(err));
    f->warned = err;
}

/* --- disk -> document --- */

struct delta_of {
    struct cv_delta *delta;
    size_t at;
    int err;
};

static void delta_splice(void *user, size_t at, size_t deleted,
                         struct cv_bytes inserted)
{
    struct delta_of *x = user;

    if (x->err == CV_OK)
        x->err = cv_delta_keep(x->delta, at - x->at);
    if (x->err == CV_OK)
        x->err = cv_delta_delete(x->delta, deleted);
    if (x->err == CV_OK)
        x->err = cv_delta_insert(x->delta, inserted);
    x->at = at + deleted;
}

static int difference(struct cv_delta *out, struct cv_bytes from,
                      struct cv_bytes to)
{
    struct delta_of x = {.delta = out};
    int err;

    cv_delta_clear(out);
    err = cv_textdiff(from, to, delta_splice, &x);
    return err != CV_OK ? err : x.err;
}

static int document_splice(void *user, size_t at, size_t deleted,
                           struct cv_bytes inserted)
{
    struct cv_filesync *f = user;
    int err = CV_OK;

    if (deleted)
        err = cv_document_delete(f->document, at, deleted);
    if (err == CV_OK && inserted.len)
        err = cv_document_insert(f->document, at, inserted.data, inserted.len);
    return err;
}

/* The disk has `now`, which comes from base, as the document does. */
static int merge(struct cv_filesync *f, struct cv_bytes base,
                 struct cv_bytes now)
{
    struct cv_delta disk, others, moved;
    struct cv_writer text;
    uint64_t seq;
    int err = cv_wholetext_read(f->document, &text);

    cv_delta_init(&disk);
    cv_delta_init(&others);
    cv_delta_init(&moved);
    if (err == CV_OK)
        err = difference(&disk, base, now);
    if (err == CV_OK)
        err = difference(&others, base, cv_writer_bytes(&text));
    if (err == CV_OK)
        err = cv_delta_over(&moved, &disk, &others, true);
    if (err == CV_OK)
        err = cv_document_begin(f->document);
    if (err == CV_OK) {
        int committed;

        err = cv_delta_splices(&moved, document_splice, f);
        committed = cv_document_commit(f->document, &seq);
        if (err == CV_OK && committed != CV_ERR_IO)
            err = committed;
    }
    cv_delta_fini(&disk);
    cv_delta_fini(&others);
    cv_delta_fini(&moved);
    cv_writer_fini(&text);
    return err;
}

static int set_base(struct cv_filesync *f, struct cv_bytes text)
{
    cv_writer_reset(&f->base);
    return cv_put_raw(&f->base, text.data, text.len);
}

/* A viewer changed the file: keep that under another name, the shared text
 * comes back. */
static int set_aside(struct cv_filesync *f)
{
    size_t len = strlen(f->path) + sizeof(".covim-mine");
    char *name = malloc(len);
    int err = CV_ERR_NOMEM;

    if (name) {
        snprintf(name, len, "%s.covim-mine", f->path);
        err = rename(f->path, name) == 0 ? CV_OK : CV_ERR_IO;
        cv_warn(f->log,
                "filesync: you may read this text, not change it; "
                "what you wrote is now in %s",
                name);
    }
    free(name);
    f->exists = false;
    return err;
}

/* If the file has changed since we last saw it, merge it. */
static int look_at_disk(struct cv_filesync *f)
{
    struct cv_writer now;
    struct stat st;
    int err;

    if (stat(f->path, &st) != 0 || (f->exists && unchanged(&st, &f->seen)))
        return CV_OK;
    err = cv_filesync_read(f->path, &now);
    if (err == CV_OK &&
        !cv_bytes_equal(cv_writer_bytes(&now), cv_writer_bytes(&f->base))) {
        err = merge(f, cv_writer_bytes(&f->base), cv_writer_bytes(&now));
        if (err == CV_ERR_DENIED)
            err = set_aside(f);
        if (err == CV_OK)
            err = set_base(f, cv_writer_bytes(&now));
    }
    if (err == CV_OK && access(f->path, F_OK) == 0) {
        f->seen = st; /* from before it was read: what came since differs */
        f->exists = true;
    }
    cv_writer_fini(&now);
    return err;
}

/* --- the file that was replaced --- */

static void drop_old(struct cv_filesync *f)
{
    if (f->old >= 0)
        close(f->old);
    f->old = -1;
    cv_writer_fini(&f->old_text);
}

/* What was written there since goes into the document, and from there into the
 * file that is in its place. */
static int look_at_old(struct cv_filesync *f)
{
    struct cv_writer now;
    struct stat st;
    int err;

    if (f->old < 0 || fstat(f->old, &st) != 0 || unchanged(&st, &f->old_seen))
        return CV_OK;
    err = read_text(f->old, &now);
    if (err == CV_OK)
        err = merge(f, cv_writer_bytes(&f->old_text), cv_writer_bytes(&now));
    if (err != CV_OK) {
        cv_writer_fini(&now);
        return err;
    }
    cv_writer_fini(&f->old_text);
    f->old_text = now;
    f->old_seen = st;
    return CV_OK;
}

/* Look at it, for the last time if it was replaced a while ago. */
static void mind_old(struct cv_filesync *f, bool last)
{
    int err = look_at_old(f);

    if (err != CV_OK)
        cv_warn(f->log,
                "filesync: what was written into the file while it was "
                "replaced is lost: %s",
                cv_strerror(err));
    if (err != CV_OK || last || cv_loop_now(f->loop) >= f->old_until)
        drop_old(f);
}

/* `old` was replaced, which had the text of base, and was so when it was
 * opened. */
static void keep_old(struct cv_filesync *f, int old, const struct stat *opened)
{
    f->old = old;
    f->old_text = f->base;
    cv_writer_init_heap(&f->base, TEXT_MAX);
    f->old_seen = *opened;
    f->old_until = cv_loop_now(f->loop) + CV_FILESYNC_POLL;
}

/* --- document -> disk --- */

static int write_all(int fd, struct cv_bytes text)
{
    size_t done = 0;

    while (done < text.len) {
        ssize_t n = write(fd, text.data + done, text.len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return CV_ERR_IO;
        done += (size_t)n;
    }
    return CV_OK;
}

/* Rename a new file over ours, if that is still as it was seen: CV_ERR_AGAIN
 * if somebody has written it since. */
static int replace(struct cv_filesync *f, const char *fresh)
{
    int old = f->exists ? open_file(f->path) : -1, err = CV_OK;
    struct stat opened, st, before;

    if (old >= 0 && fstat(old, &opened) != 0) {
        close(old);
        old = -1;
    }
    if (f->exists && stat(f->path, &st) == 0 && !unchanged(&st, &f->seen))
        err = CV_ERR_AGAIN;
    else if (stat(fresh, &before) != 0 || rename(fresh, f->path) != 0)
        err = CV_ERR_IO;
    if (err != CV_OK) {
        if (old >= 0)
            close(old);
        return err;
    }
    mind_old(f, true);
    if (old >= 0)
        keep_old(f, old, &opened);
    f->seen = before; /* what comes from now on differs */
    f->exists = true;
    return CV_OK;
}

/* A new file beside the old one, with its mode, renamed over it. */
static int write_file(struct cv_filesync *f, struct cv_bytes text)
{
    size_t len = strlen(f->path) + sizeof(".covim-XXXXXX");
    char *name = malloc(len);
    mode_t mode = f->exists ? f->seen.st_mode & 07777 : 0644;
    int fd, err;

    if (!name)
        return CV_ERR_NOMEM;
    snprintf(name, len, "%s.covim-XXXXXX", f->path);
    fd = mkostemp(name, O_CLOEXEC);
    err = fd < 0 ? CV_ERR_IO : write_all(fd, text);
    if (err == CV_OK && fchmod(fd, mode) != 0)
        err = CV_ERR_IO;
    if (fd >= 0 && close(fd) != 0 && err == CV_OK)
        err = CV_ERR_IO;
    if (err == CV_OK)
        err = replace(f, name);
    if (err != CV_OK && fd >= 0)
        unlink(name);
    free(name);
    return err;
}

static int write_if_needed(struct cv_filesync *f)
{
    struct cv_writer text;
    int err = cv_wholetext_read(f->document, &text);

    if (err == CV_OK &&
        (!f->exists ||
         !cv_bytes_equal(cv_writer_bytes(&text), cv_writer_bytes(&f->base)))) {
        err = write_file(f, cv_writer_bytes(&text));
        if (err == CV_OK)
            err = set_base(f, cv_writer_bytes(&text));
    }
    cv_writer_fini(&text);
    return err;
}

static void soon(struct cv_filesync *f)
{
    cv_timer_set(f->timer, cv_loop_now(f->loop) + CV_FILESYNC_DELAY);
}

static void step(void *user)
{
    struct cv_filesync *f = user;
    int err;

    mind_old(f, false);
    err = look_at_disk(f);
    say(f, err, "the file cannot be read");
    if (err == CV_OK) {
        err = write_if_needed(f);
        if (err == CV_ERR_AGAIN) { /* first what is there now */
            soon(f);
            return;
        }
        say(f, err, "the file cannot be written");
    }
    cv_timer_set(f->timer, cv_loop_now(f->loop) + CV_FILESYNC_POLL);
}

static void on_text_done(void *user)
{
    soon(user);
}

static void on_notify(void *user, unsigned ready)
{
    struct cv_filesync *f = user;
    char events[4096];

    (void)ready;
    while (read(f->notify, events, sizeof(events)) > 0)
        ;
    soon(f);
}

static const struct cv_document_events document_events = {.text_done =
                                                              on_text_done};

/* Watch the folder: editors replace files by rename.  Without inotify, the
 * polling is enough. */
static void watch_folder(struct cv_filesync *f)
{
    const char *slash = strrchr(f->path, '/');
    char *folder =
        slash ? strndup(f->path, (size_t)(slash - f->path) + 1) : strdup(".");

    f->notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (!folder || f->notify < 0 ||
        inotify_add_watch(f->notify, folder, IN_CLOSE_WRITE | IN_MOVED_TO) <
            0 ||
        cv_watch_new(&f->watch, f->loop, f->notify, CV_WATCH_READ, on_notify,
                     f) != CV_OK)
        cv_debug(f->log, "filesync: no inotify, the file is polled");
    free(folder);
}

int cv_filesync_new(struct cv_filesync **out, struct cv_loop *loop,
                    struct cv_log *log, struct cv_document *d, const char *path,
                    struct cv_bytes base)
{
    struct cv_filesync *f = calloc(1, sizeof(*f));
    int err;

    if (!f)
        return CV_ERR_NOMEM;
    f->loop = loop;
    f->log = log;
    f->document = d;
    f->notify = f->old = -1;
    cv_writer_init_heap(&f->base, TEXT_MAX);
    f->path = realpath(path, NULL);
    if (!f->path)
        f->path = strdup(path);
    err = f->path ? set_base(f, base) : CV_ERR_NOMEM;
    if (err == CV_OK)
        err = cv_timer_new(&f->timer, loop, step, f);
    if (err != CV_OK) {
        f->document = NULL;
        cv_filesync_free(f);
        return err;
    }
    watch_folder(f);
    cv_document_set_events(d, &document_events, f);
    step(f);
    *out = f;
    return CV_OK;
}

void cv_filesync_free(struct cv_filesync *f)
{
    static const struct cv_document_events none;

    if (!f)
        return;
    if (f->document) {
        step(f);
        mind_old(f, true);
        cv_document_set_events(f->document, &none, NULL);
    }
    cv_watch_free(f->watch);
    if (f->notify >= 0)
        close(f->notify);
    cv_timer_free(f->timer);
    cv_writer_fini(&f->base);
    free(f->path);
    free(f);
}
