#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session/journal.h"

static char base_dir[64];
static char dir[128];
static char why[512];
static const struct cv_key session = {{1, 2, 3}};

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    memcpy(base_dir, "/tmp/covim-journal-XXXXXX",
           sizeof("/tmp/covim-journal-XXXXXX"));
    if (!mkdtemp(base_dir))
        return -1;
    snprintf(dir, sizeof(dir), "%s/data/sessions", base_dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(base_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct told {
    int failures, recoveries;
    char text[512];
};

static void on_trouble(void *user, int err, const char *text)
{
    struct told *t = user;

    if (err == CV_OK)
        t->recoveries++;
    else
        t->failures++;
    snprintf(t->text, sizeof(t->text), "%s", text);
}

static int open_in(struct cv_journal **j, const char *where,
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

static struct cv_journal *must_open(enum cv_journal_mode mode)
{
    struct cv_journal *j = NULL;
    int err = open_in(&j, dir, mode, NULL, NULL);

    if (err != CV_OK)
        print_error("open: %d %s\n", err, why);
    REQUIRE(err == CV_OK);
    return j;
}

static struct cv_bytes str(const char *s)
{
    return CV_BYTES(s, strlen(s));
}

static bool fact_is(const struct cv_journal *j, enum cv_journal_fact type,
                    const char *key, const char *value)
{
    struct cv_bytes v = cv_journal_get(j, type, str(key));

    return v.len == strlen(value) &&
           (!v.len || memcmp(v.data, value, v.len) == 0);
}

/* The updates of a document, one a line. */
static int add_line(void *user, struct cv_bytes update)
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

static bool updates_are(struct cv_journal *j, uint32_t document,
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
static void file_named(const char *where, const char *end, char out[512])
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

static size_t slurp(const char *path, uint8_t *out, size_t cap)
{
    int fd = open(path, O_RDONLY);
    ssize_t n;

    REQUIRE(fd >= 0);
    n = read(fd, out, cap);
    close(fd);
    REQUIRE(n >= 0);
    return (size_t)n;
}

static void spit(const char *path, const uint8_t *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, data, len) == (ssize_t)len);
    close(fd);
}

TEST(what_was_put_is_there_again)
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    struct stat st;
    char path[512];

    CHECK_EQ(cv_journal_put(j, CV_FACT_SECRET, str(""), str("seed")), CV_OK);
    CHECK_EQ(cv_journal_put(j, CV_FACT_PEER, str("ann"), str("1")), CV_OK);
    CHECK_EQ(cv_journal_append(j, 1, str("u1")), CV_OK);
    CHECK_EQ(cv_journal_append(j, 2, str("other")), CV_OK);
    CHECK_EQ(cv_journal_put(j, CV_FACT_PEER, str("ann"), str("2")), CV_OK);
    CHECK_EQ(cv_journal_put(j, CV_FACT_PEER, str("bob"), str("3")), CV_OK);
    CHECK_EQ(cv_journal_put(j, CV_FACT_PEER, str("bob"), str("")), CV_OK);
    CHECK_EQ(cv_journal_append(j, 1, str("u2")), CV_OK);
    CHECK(cv_journal_clean(j));
    CHECK(updates_are(j, 1, "u1\nu2\n"));
    cv_journal_close(j);

    j = must_open(CV_JOURNAL_RESUME);
    CHECK_STR(why, "");
    CHECK(fact_is(j, CV_FACT_SECRET, "", "seed"));
    CHECK(fact_is(j, CV_FACT_PEER, "ann", "2"));
    CHECK(fact_is(j, CV_FACT_PEER, "bob", ""));
    CHECK(updates_are(j, 1, "u1\nu2\n"));
    CHECK(updates_are(j, 2, "other\n"));
    CHECK(updates_are(j, 3, ""));

    file_named(dir, ".0", path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700);
    /* The name does not say which session it is. */
    CHECK(!strstr(path, "010203"));
    cv_journal_remove(j);
    file_named(dir, ".0", path);
    CHECK_STR(path, "");
}

TEST(modes_say_what_is_wrong)
{
    struct cv_journal *j = NULL, *k;
    char path[512];

    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_NOTFOUND);
    CHECK(strstr(why, "join"));
    j = must_open(CV_JOURNAL_CREATE);
    CHECK_EQ(open_in(&k, dir, CV_JOURNAL_CREATE, NULL, NULL), CV_ERR_EXISTS);
    CHECK_EQ(open_in(&k, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_BUSY);
    CHECK(strstr(why, "another editor"));
    cv_journal_close(j);

    file_named(dir, ".0", path);
    CHECK(chmod(path, 0644) == 0);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_PERM);
    CHECK(strstr(why, "chmod 600"));
    CHECK(chmod(path, 0600) == 0 && chmod(dir, 0755) == 0);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_PERM);
    CHECK(strstr(why, "chmod 700"));
    CHECK(chmod(dir, 0700) == 0);

    CHECK(remove(path) == 0 && symlink("/etc/passwd", path) == 0);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_PERM);
    CHECK(remove(path) == 0);
    spit(path, (const uint8_t *)"covimjl9 from the future", 24);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_VERSION);
    CHECK(strstr(why, "newer covim"));
}

TEST(a_second_agent_has_a_slot_of_its_own_and_leaves_it_to_the_first)
{
    struct cv_journal *a = must_open(CV_JOURNAL_EITHER), *b;
    char path[512];

    CHECK_EQ(cv_journal_put(a, CV_FACT_GRANTS, str(""), str("grant")), CV_OK);
    CHECK_EQ(cv_journal_append(a, 1, str("a1")), CV_OK);
    b = must_open(CV_JOURNAL_EITHER);
    /* It is let in by the same grant, and has a text of its own. */
    CHECK(fact_is(b, CV_FACT_GRANTS, "", "grant"));
    CHECK(updates_are(b, 1, ""));
    CHECK_EQ(cv_journal_append(b, 1, str("b1")), CV_OK);
    CHECK_EQ(cv_journal_put(b, CV_FACT_PEER, str("eve"), str("x")), CV_OK);
    file_named(dir, ".1", path);
    CHECK(path[0]);
    cv_journal_close(a);

    /* Still open: only what it knows is taken. */
    a = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(a, 1, "a1\n"));
    CHECK(fact_is(a, CV_FACT_PEER, "eve", "x"));
    cv_journal_close(b);
    cv_journal_close(a);

    a = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(a, 1, "a1\nb1\n"));
    file_named(dir, ".1", path);
    CHECK_STR(path, "");
    cv_journal_close(a);
}

/* A journal of some records, and where each of them ends. */
#define RECORDS 6
/* Longer than what is written over its torn remains. */
#define LONG_UPDATE "an update elsewhere, longer than all the others are"
static const char *const all_updates[RECORDS + 1] = {
    "", "", "one\n", "one\n\n", "one\n\n", "one\n\nthree\n", "one\n\nthree\n",
};

static size_t make_sample(uint8_t *file, size_t cap, size_t ends[RECORDS + 1])
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    uint8_t probe[4096];
    char path[512];

    file_named(dir, ".0", path);
    ends[0] = CV_JOURNAL_HEADER;
    ends[1] = slurp(path, probe, sizeof(probe)); /* the session key */
    REQUIRE(cv_journal_append(j, 1, str("one")) == CV_OK);
    ends[2] = slurp(path, probe, sizeof(probe));
    REQUIRE(cv_journal_append(j, 1, str("")) == CV_OK);
    ends[3] = slurp(path, probe, sizeof(probe));
    REQUIRE(cv_journal_put(j, CV_FACT_OTHER, str("k"), str("v")) == CV_OK);
    ends[4] = slurp(path, probe, sizeof(probe));
    REQUIRE(cv_journal_append(j, 1, str("three")) == CV_OK);
    ends[5] = slurp(path, probe, sizeof(probe));
    REQUIRE(cv_journal_append(j, 9, str(LONG_UPDATE)) == CV_OK);
    ends[6] = slurp(path, file, cap);
    cv_journal_close(j);
    return ends[6];
}

TEST(cut_anywhere_it_has_exactly_the_records_before)
{
    uint8_t file[1024];
    size_t ends[RECORDS + 1];
    size_t len = make_sample(file, sizeof(file), ends);
    char path[512];

    file_named(dir, ".0", path);
    for (size_t cut = 0; cut <= len; cut++) {
        struct cv_journal *j;
        size_t whole = 0;
        struct stat st;

        while (whole < RECORDS && ends[whole + 1] <= cut)
            whole++;
        spit(path, file, cut);
        j = must_open(CV_JOURNAL_RESUME);
        CHECK_STR(why, "");
        CHECK(updates_are(j, 1, all_updates[whole]));
        CHECK(fact_is(j, CV_FACT_OTHER, "k", whole >= 4 ? "v" : ""));
        CHECK(updates_are(j, 9, whole >= 6 ? LONG_UPDATE "\n" : ""));
        /* It goes on from there. */
        CHECK_EQ(cv_journal_append(j, 5, str("more")), CV_OK);
        cv_journal_close(j);
        j = must_open(CV_JOURNAL_RESUME);
        CHECK_STR(why, "");
        CHECK(updates_are(j, 1, all_updates[whole]));
        CHECK(updates_are(j, 5, "more\n"));
        cv_journal_close(j);
        CHECK(stat(path, &st) == 0 && (size_t)st.st_size > cut / 2);
    }
    /* Zeros that came of a loss of power are no damage. */
    memset(file + ends[5], 0, len - ends[5]);
    spit(path, file, len);
    struct cv_journal *j = must_open(CV_JOURNAL_RESUME);

    CHECK_STR(why, "");
    CHECK(updates_are(j, 1, all_updates[5]));
    cv_journal_close(j);
}

TEST(a_flipped_bit_costs_what_follows_and_the_file_is_kept)
{
    uint8_t file[1024], again[1024];
    size_t ends[RECORDS + 1];
    size_t len = make_sample(file, sizeof(file), ends);
    char path[512], aside[512];
    unsigned damaged = 0;

    file_named(dir, ".0", path);
    /* Every byte, and each of its bits in one or the other. */
    for (size_t bit = 0; bit < len * 8; bit += 5) {
        struct cv_journal *j = NULL;
        size_t before = 0;
        int err;

        while (before < RECORDS && ends[before + 1] <= bit / 8)
            before++;
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        spit(path, file, len);
        err = open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL);
        if (bit / 8 == 7) {
            CHECK_EQ(err, CV_ERR_VERSION);
        } else {
            CHECK_EQ(err, CV_OK);
            /* Of a damaged head not even the version is believed. */
            CHECK(updates_are(j, 1, all_updates[bit / 8 < 8 ? 0 : before]));
            CHECK(strstr(why, "damaged"));
            cv_journal_close(j);
            file_named(dir, ".damaged-1", aside);
            CHECK_EQ(slurp(aside, again, sizeof(again)), len);
            CHECK_MEM(again, file, len);
            CHECK(remove(aside) == 0);
            damaged++;
        }
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(damaged > len);
}

TEST(unknown_records_are_skipped)
{
    uint8_t file[1024];
    size_t ends[RECORDS + 1];
    size_t len = make_sample(file, sizeof(file), ends);
    struct cv_journal *j;
    struct cv_writer w;
    uint32_t check;
    char path[512];

    file_named(dir, ".0", path);
    cv_writer_init(&w, file, sizeof(file));
    w.len = len;
    cv_put_u32(&w, 3);
    cv_put_u8(&w, 77);
    check = cv_crc32(file + len, 5) & 0xffffff;
    cv_put_u8(&w, (uint8_t)(check >> 16));
    cv_put_u16(&w, (uint16_t)check);
    cv_put_raw(&w, "new", 3);
    CHECK_EQ(cv_put_u32(&w, cv_crc32(file + len, 11)), CV_OK);
    spit(path, file, w.len);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_STR(why, "");
    CHECK_EQ(cv_journal_append(j, 1, str("x")), CV_OK);
    CHECK(updates_are(j, 1, "one\n\nthree\nx\n"));
    cv_journal_close(j);
}

/* ---- a disk that is full ---- */

static void limit_files(rlim_t bytes)
{
    struct rlimit r;

    REQUIRE(getrlimit(RLIMIT_FSIZE, &r) == 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &r) == 0);
}

TEST(on_a_full_disk_all_waits_and_is_written_when_there_is_room)
{
    struct told told = {0};
    struct cv_journal *j = NULL;

    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, NULL, &told), CV_OK);
    CHECK_EQ(cv_journal_append(j, 1, str("before")), CV_OK);
    limit_files(110);
    CHECK_EQ(cv_journal_append(j, 1, str("a long one that does not fit there")),
             CV_ERR_IO);
    CHECK_EQ(told.failures, 1);
    CHECK(strstr(told.text, "memory only"));
    CHECK(!cv_journal_clean(j));
    /* Short enough to fit, but it must not overtake. */
    CHECK_EQ(cv_journal_append(j, 1, str("s")), CV_ERR_IO);
    CHECK_EQ(cv_journal_put(j, CV_FACT_OTHER, str("k"), str("v")), CV_ERR_IO);
    for (cv_time t = 0; t < 5 * CV_SECOND; t += CV_SECOND / 4)
        cv_journal_step(j, t);
    CHECK(!cv_journal_clean(j));
    CHECK_EQ(told.failures, 1);
    CHECK_EQ(told.recoveries, 0);
    CHECK(updates_are(j, 1, "before\n"));

    limit_files(RLIM_INFINITY);
    CHECK(cv_journal_deadline(j) <= 6 * CV_SECOND);
    cv_journal_step(j, 6 * CV_SECOND);
    CHECK(cv_journal_clean(j));
    CHECK_EQ(told.recoveries, 1);
    CHECK_EQ(cv_journal_append(j, 1, str("after")), CV_OK);
    cv_journal_close(j);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_STR(why, "");
    CHECK(updates_are(
        j, 1, "before\na long one that does not fit there\ns\nafter\n"));
    CHECK(fact_is(j, CV_FACT_OTHER, "k", "v"));
    cv_journal_close(j);
}

static int tell_state(void *user, struct cv_writer *out)
{
    const char *const *state = user;

    return cv_put_raw(out, *state, strlen(*state));
}

TEST(when_too_much_waits_the_state_is_written_instead)
{
    const char *state = "the whole state";
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    struct cv_bytes big = {calloc(1, 1 << 20), 1 << 20};

    CHECK(big.data);
    cv_journal_set_source(j, 1, tell_state, &state);
    limit_files(64);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(cv_journal_append(j, 1, big), CV_ERR_IO);
    limit_files(RLIM_INFINITY);
    cv_journal_step(j, 0);
    cv_journal_step(j, CV_SECOND);
    CHECK(cv_journal_clean(j));
    CHECK_EQ(cv_journal_append(j, 1, str("after")), CV_OK);
    CHECK(updates_are(j, 1, "the whole state\nafter\n"));
    cv_journal_close(j);
    union {
        const uint8_t *c;
        uint8_t *m;
    } p = {big.data};
    free(p.m);
}

/* ---- compaction ---- */

TEST(a_large_log_becomes_a_snapshot)
{
    const char *state = "snapshot";
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    uint8_t update[1000] = {0};
    struct stat st;
    char path[512];
    cv_time now = 0;

    memset(update, 'u', sizeof(update));
    file_named(dir, ".0", path);
    CHECK_EQ(cv_journal_put(j, CV_FACT_SECRET, str(""), str("seed")), CV_OK);
    for (int i = 0; i < 1200; i++)
        CHECK_EQ(cv_journal_append(j, 1, CV_BYTES(update, sizeof(update))),
                 CV_OK);
    /* Without a source nothing can be left out. */
    cv_journal_step(j, now += CV_MINUTE);
    CHECK(stat(path, &st) == 0 && st.st_size > 1200000);
    cv_journal_set_source(j, 1, tell_state, &state);
    cv_journal_step(j, now += 2 * CV_MINUTE);
    CHECK(stat(path, &st) == 0 && st.st_size < 1000);
    CHECK((st.st_mode & 0777) == 0600);
    CHECK_EQ(cv_journal_append(j, 1, str("after")), CV_OK);
    CHECK(updates_are(j, 1, "snapshot\nafter\n"));

    /* One that a crash left half-made is cleared away. */
    char tmp[600];

    snprintf(tmp, sizeof(tmp), "%s.tmp-3", path);
    spit(tmp, update, sizeof(update));

    /* The new file is locked as the old one was. */
    struct cv_journal *k = NULL;

    CHECK_EQ(open_in(&k, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_BUSY);
    cv_journal_close(j);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(j, 1, "snapshot\nafter\n"));
    CHECK(access(tmp, F_OK) < 0);
    CHECK(fact_is(j, CV_FACT_SECRET, "", "seed"));
    cv_journal_close(j);
}

/* Numbers 0…n-1 as "updates"; the state is all of them at once. */
static int tell_numbers(void *user, struct cv_writer *out)
{
    const unsigned *n = user;

    for (unsigned i = 0; i < *n; i++)
        cv_put_u32(out, i);
    return out->err;
}

static int add_numbers(void *user, struct cv_bytes update)
{
    bool *seen = user;
    struct cv_reader r;

    cv_reader_init(&r, update.data, update.len);
    while (cv_reader_left(&r)) {
        uint32_t i = cv_get_u32(&r);

        REQUIRE(r.err == CV_OK && i < 1000000);
        seen[i] = true;
    }
    return CV_OK;
}

TEST(what_comes_while_it_is_compacted_stays)
{
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    unsigned n = 0;
    bool *seen = calloc(1000000, 1);
    struct stat st;
    char path[512];
    off_t largest = 0;

    CHECK(seen);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, loop, NULL), CV_OK);
    cv_journal_set_source(j, 1, tell_numbers, &n);
    file_named(dir, ".0", path);
    bool shrank = false;

    for (int round = 0; round < 4000; round++) {
        for (int i = 0; i < 40; i++, n++) {
            const uint8_t number[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16),
                                       (uint8_t)(n >> 8), (uint8_t)n};

            CHECK_EQ(cv_journal_append(j, 1, CV_BYTES(number, 4)), CV_OK);
        }
        cv_journal_step(j, round * CV_SECOND / 10);
        cv_loop_once(loop, 0);
        CHECK(stat(path, &st) == 0);
        if (st.st_size > largest)
            largest = st.st_size;
        else if (st.st_size < largest)
            shrank = true;
    }
    /* The worker may be behind on a slow disk. */
    for (cv_time end = cv_time_now() + 60 * CV_SECOND;
         !shrank && cv_time_now() < end;) {
        cv_loop_once(loop, cv_loop_now(loop) + 10 * CV_MILLISECOND);
        shrank = stat(path, &st) == 0 && st.st_size < largest;
    }
    CHECK(shrank);
    cv_journal_close(j);
    cv_loop_free(loop);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_STR(why, "");
    CHECK_EQ(cv_journal_updates(j, 1, add_numbers, seen), CV_OK);
    for (unsigned i = 0; i < n; i++)
        CHECK(seen[i]);
    CHECK(!seen[n]);
    cv_journal_close(j);
    free(seen);
}

/* Drive the journal as a session does: by its deadline only. */
TEST(everything_is_synced_in_the_end)
{
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    const char *state = "S";
    uint8_t update[2000] = {0};

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, loop, NULL), CV_OK);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(cv_journal_append(j, 1, CV_BYTES(update, sizeof(update))),
                 CV_OK);
    cv_journal_set_source(j, 1, tell_state, &state);
    cv_journal_step(j, CV_SECOND);
    /* This comes while both jobs are at work. */
    CHECK_EQ(cv_journal_append(j, 2, str("x")), CV_OK);
    cv_journal_set_source(j, 2, tell_state, &state);
    CHECK(cv_journal_deadline(j) != CV_NEVER);
    cv_time steps = 0;

    for (cv_time end = cv_time_now() + 60 * CV_SECOND;
         cv_journal_deadline(j) != CV_NEVER && cv_time_now() < end; steps++) {
        cv_loop_once(loop, cv_loop_now(loop) + CV_MILLISECOND);
        cv_journal_step(j, cv_journal_deadline(j));
    }
    CHECK_EQ(cv_journal_deadline(j), CV_NEVER);
    CHECK(steps > 0);
    CHECK(updates_are(j, 2, "x\n"));
    cv_journal_close(j);
    cv_loop_free(loop);
}

TEST(closing_in_the_middle_of_a_compaction_loses_nothing)
{
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    const char *state = "S";
    uint8_t update[2000] = {0};
    char path[512];

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, loop, NULL), CV_OK);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(cv_journal_append(j, 1, CV_BYTES(update, sizeof(update))),
                 CV_OK);
    cv_journal_set_source(j, 1, tell_state, &state);
    cv_journal_step(j, CV_SECOND);
    cv_journal_close(j); /* both jobs are under way */
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_EQ(cv_journal_append(j, 2, str("x")), CV_OK);
    cv_loop_free(loop);
    CHECK(updates_are(j, 2, "x\n"));
    cv_journal_close(j);
    file_named(dir, "0", path);
    CHECK(strcmp(path + strlen(path) - 2, ".0") == 0);
    /* Nothing half-made is left. */
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(j, 2, "x\n"));
    cv_journal_close(j);
    DIR *d = opendir(dir);
    struct dirent *e;

    CHECK(d);
    while ((e = readdir(d)))
        CHECK(!strstr(e->d_name, ".tmp"));
    closedir(d);
}

/* ---- kill -9 ---- */

/* Write numbers and say each when it is kept, for ever. */
static void write_for_ever(int out, unsigned first)
{
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    unsigned n = first;

    if (cv_loop_new(&loop) != CV_OK ||
        open_in(&j, dir, first ? CV_JOURNAL_RESUME : CV_JOURNAL_CREATE, loop,
                NULL) != CV_OK)
        _exit(1);
    cv_journal_set_source(j, 1, tell_numbers, &n);
    for (;;) {
        const uint8_t number[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16),
                                   (uint8_t)(n >> 8), (uint8_t)n};

        if (cv_journal_append(j, 1, CV_BYTES(number, 4)) != CV_OK)
            _exit(2);
        n++;
        if (write(out, &n, sizeof(n)) != sizeof(n))
            _exit(3);
        if (n % 16 == 0) {
            cv_journal_step(j, cv_time_now());
            cv_loop_once(loop, 0);
        }
    }
}

TEST(what_was_said_to_be_kept_survives_kill_9)
{
    struct cv_rng_seeded seeded;
    const struct cv_rng rng = cv_rng_from_seed(&seeded, 99);
    bool *seen = calloc(1000000, 1);
    unsigned kept = 0;

    CHECK(seen);
    for (int round = 0; round < 15; round++) {
        struct cv_journal *j;
        unsigned got, target;
        int pipes[2], status;
        pid_t child;

        CHECK(pipe(pipes) == 0);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            close(pipes[0]);
            write_for_ever(pipes[1], kept);
        }
        close(pipes[1]);
        target = kept + (unsigned)(cv_random_u64(&rng) % 12000);
        while (read(pipes[0], &got, sizeof(got)) == sizeof(got)) {
            kept = got;
            if (kept >= target)
                break;
        }
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        while (read(pipes[0], &got, sizeof(got)) == sizeof(got))
            kept = got;
        close(pipes[0]);

        j = must_open(CV_JOURNAL_RESUME);
        CHECK_STR(why, "");
        memset(seen, 0, 1000000);
        CHECK_EQ(cv_journal_updates(j, 1, add_numbers, seen), CV_OK);
        for (unsigned i = 0; i < kept; i++)
            CHECK(seen[i]);
        /* The child numbers on from what is there. */
        while (seen[kept])
            kept++;
        cv_journal_close(j);
    }
    print_message("kept through 15 kills: %u\n", kept);
    free(seen);
}

/* ---- the list ---- */

static void count_stored(void *user, const struct cv_journal *j)
{
    unsigned *n = user;

    if (fact_is(j, CV_FACT_DOCUMENT, "d", "meta") &&
        fact_is(j, CV_FACT_PEER, "p", "of the second slot") &&
        cv_journal_get(j, CV_FACT_SESSION, str("")).len == CV_KEY_LEN)
        ++*n;
}

TEST(stored_sessions_are_listed_once)
{
    struct cv_journal *a, *b;
    unsigned n = 0;
    char path[512];

    cv_journal_scan(dir, count_stored, &n);
    CHECK_EQ(n, 0);
    a = must_open(CV_JOURNAL_EITHER);
    b = must_open(CV_JOURNAL_EITHER);
    CHECK_EQ(cv_journal_put(a, CV_FACT_DOCUMENT, str("d"), str("meta")), CV_OK);
    CHECK_EQ(
        cv_journal_put(b, CV_FACT_PEER, str("p"), str("of the second slot")),
        CV_OK);
    snprintf(path, sizeof(path), "%s/0123456789abcdef0123456789abcdef.0", dir);
    spit(path, (const uint8_t *)"junk", 4);
    cv_journal_scan(dir, count_stored, &n);
    CHECK_EQ(n, 1);
    cv_journal_close(a);
    cv_journal_close(b);
}

TEST(facts_are_bounded)
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    static uint8_t big[CV_JOURNAL_FACT_VALUE + 1];
    uint8_t key[4];
    unsigned n = 0;
    int err = CV_OK;

    CHECK_EQ(
        cv_journal_put(j, CV_FACT_OTHER, str("k"), CV_BYTES(big, sizeof(big))),
        CV_ERR_LIMIT);
    CHECK_EQ(cv_journal_put(j, CV_FACT_OTHER, CV_BYTES(big, 65), str("v")),
             CV_ERR_LIMIT);
    for (; err == CV_OK && n <= CV_JOURNAL_FACTS; n++) {
        memcpy(key, &n, sizeof(key));
        err = cv_journal_put(j, CV_FACT_PEER, CV_BYTES(key, 4), str("v"));
    }
    CHECK_EQ(err, CV_ERR_LIMIT);
    cv_journal_close(j);
}

#define J(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
RUN_TESTS(J(what_was_put_is_there_again), J(modes_say_what_is_wrong),
          J(a_second_agent_has_a_slot_of_its_own_and_leaves_it_to_the_first),
          J(cut_anywhere_it_has_exactly_the_records_before),
          J(a_flipped_bit_costs_what_follows_and_the_file_is_kept),
          J(unknown_records_are_skipped),
          J(on_a_full_disk_all_waits_and_is_written_when_there_is_room),
          J(when_too_much_waits_the_state_is_written_instead),
          J(a_large_log_becomes_a_snapshot),
          J(what_comes_while_it_is_compacted_stays),
          J(everything_is_synced_in_the_end),
          J(closing_in_the_middle_of_a_compaction_loses_nothing),
          J(what_was_said_to_be_kept_survives_kill_9),
          J(stored_sessions_are_listed_once), J(facts_are_bounded))
