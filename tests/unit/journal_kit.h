/* tests/unit/journal_kit.h - a folder with journals in it, for tests. */
#ifndef CV_TESTS_JOURNAL_KIT_H
#define CV_TESTS_JOURNAL_KIT_H
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session/journal.h"
#include "session/store.h"

static char base_dir[64];
static char dir[128];
static char why[512];
static const struct cv_key session = {{1, 2, 3}};

static inline int remove_one(const char *path, const struct stat *st, int type,
                             struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int setup(void **state)
{
    (void)state;
    /* In memory, if there is such a place: syncing a disk takes long. */
    snprintf(base_dir, sizeof(base_dir), "%s/covim-journal-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(base_dir))
        return -1;
    snprintf(dir, sizeof(dir), "%s/data/sessions", base_dir);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    return nftw(base_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct told {
    int failures, recoveries;
    char text[512];
};

static inline void on_trouble(void *user, int err, const char *text)
{
    struct told *t = user;

    if (err == CV_OK)
        t->recoveries++;
    else
        t->failures++;
    snprintf(t->text, sizeof(t->text), "%s", text);
}

static inline int open_in(struct cv_journal **j, const char *where,
                          enum cv_journal_mode mode, struct cv_loop *loop,
                          struct told *told)
{
    const struct cv_journal_config config = {.dir = where,
                                             .session = session,
                                             .mode = mode,
                                             .loop = loop,
                                             .trouble =
                                                 told ? on_trouble : NULL,
                                             .user = told};

    return cv_journal_open(j, &config, 0, why, sizeof(why));
}

static inline struct cv_journal *must_open(enum cv_journal_mode mode)
{
    struct cv_journal *j = NULL;
    int err = open_in(&j, dir, mode, NULL, NULL);

    if (err != CV_OK)
        print_error("open: %d %s\n", err, why);
    REQUIRE(err == CV_OK);
    return j;
}

/* As a session does until nothing is due at once. */
static inline void write_all(struct cv_journal *j)
{
    REQUIRE(cv_journal_flush(j) == CV_OK);
    REQUIRE(cv_journal_clean(j));
}

static inline struct cv_bytes str(const char *s)
{
    return CV_BYTES(s, strlen(s));
}

static inline bool fact_is(const struct cv_journal *j,
                           enum cv_journal_fact type, const char *key,
                           const char *value)
{
    struct cv_bytes v = cv_journal_get(j, type, str(key));

    return v.len == strlen(value) &&
           (!v.len || memcmp(v.data, value, v.len) == 0);
}

/* The updates of a document, one a line. */
static inline int add_line(void *user, struct cv_bytes update)
{
    struct cv_writer *w = user;

    cv_put_raw(w, update.data, update.len);
    return cv_put_u8(w, '\n');
}

static char *updates_of(struct cv_journal *j, uint32_t document)
{
    struct cv_writer w;
    size_t len;

    cv_writer_init_heap(&w, 64u << 20);
    REQUIRE(cv_journal_updates(j, document, add_line, &w) == CV_OK);
    REQUIRE(cv_put_u8(&w, 0) == CV_OK);
    return (char *)cv_writer_take(&w, &len);
}

static inline bool updates_are(struct cv_journal *j, uint32_t document,
                               const char *want)
{
    char *got = updates_of(j, document);
    bool same = strcmp(got, want) == 0;

    if (!same)
        print_error("updates are \"%s\", not \"%s\"\n", got, want);
    free(got);
    return same;
}

/* The only file whose name ends so; "" if there is none. */
static inline void file_named(const char *where, const char *end, char out[512])
{
    DIR *d = opendir(where);
    struct dirent *e;

    out[0] = '\0';
    REQUIRE(d);
    while ((e = readdir(d)))
        if (strlen(e->d_name) > strlen(end) &&
            strcmp(e->d_name + strlen(e->d_name) - strlen(end), end) == 0)
            snprintf(out, 512, "%s/%s", where, e->d_name);
    closedir(d);
}

static inline size_t slurp(const char *path, uint8_t *out, size_t cap)
{
    int fd = open(path, O_RDONLY);
    ssize_t n;

    REQUIRE(fd >= 0);
    n = read(fd, out, cap);
    close(fd);
    REQUIRE(n >= 0);
    return (size_t)n;
}

static inline void spit(const char *path, const uint8_t *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, data, len) == (ssize_t)len);
    close(fd);
}
#endif
