/* Files that are cut, flipped, zeroed, replaced: each is a clear message,
 * nothing is deleted, and what verifies is there again. */
#include "tests/unit/journal_kit.h"

#include <sys/types.h>

#include "session/journal_old.h"
#include "session/salvage.h"

#define FILE_MAX (8u << 20)
#define PAGE     CV_STORE_PAGE

static uint8_t file[FILE_MAX], log_file[FILE_MAX], again[FILE_MAX];

static struct cv_rng_seeded seeded;
static struct cv_rng rng;

static size_t pick(size_t n)
{
    return (size_t)(cv_random_u64(&rng) % n);
}

/* ---- a journal of numbered updates, in a file and a write-ahead log ---- */

#define IN_FILE 400u /* updates */
#define IN_LOG  60u
#define ALL     (IN_FILE + IN_LOG)
#define LONG    16u /* each so manieth update is longer than a page */

static size_t update_len(unsigned n)
{
    return n % LONG ? 8 + n % 90 : 5000 + 700 * (n % 7);
}

static void append_update(struct cv_journal *j, unsigned n)
{
    static uint8_t update[16384];

    memset(update, 'a' + (int)(n % 26), sizeof(update));
    memcpy(update, &n, sizeof(n));
    REQUIRE(cv_journal_append(j, 1, CV_BYTES(update, update_len(n))) == CV_OK);
}

struct found {
    bool seen[ALL];
    unsigned n;
};

static int note_update(void *user, struct cv_bytes update)
{
    struct found *f = user;
    unsigned n;

    REQUIRE(update.len >= 8);
    memcpy(&n, update.data, sizeof(n));
    REQUIRE(n < ALL && update.len == update_len(n));
    for (size_t i = sizeof(n); i < update.len; i++)
        REQUIRE(update.data[i] == 'a' + n % 26);
    f->n += !f->seen[n];
    f->seen[n] = true;
    return CV_OK;
}

static char db_path[512], wal_path[520];

/* As it is after kill -9: a copy of both files while they are in use. */
static void make_sample(size_t *len, size_t *log_len)
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);

    for (unsigned n = 0; n < IN_FILE; n++)
        append_update(j, n);
    REQUIRE(cv_journal_put(j, CV_FACT_OTHER, str("k"), str("v")) == CV_OK);
    cv_journal_close(j);
    file_named(dir, ".0.db", db_path);
    snprintf(wal_path, sizeof(wal_path), "%s-wal", db_path);
    j = must_open(CV_JOURNAL_RESUME);
    for (unsigned n = IN_FILE; n < ALL; n++) {
        append_update(j, n);
        if (n % 3 == 0)
            write_all(j);
    }
    write_all(j);
    *len = slurp(db_path, file, sizeof(file));
    *log_len = slurp(wal_path, log_file, sizeof(log_file));
    cv_journal_close(j);
    REQUIRE(*len > 100 * 1024 && *log_len > 100 * 1024);
}

static void put_back(size_t len, size_t log_len)
{
    char path[512];

    while (file_named(dir, ".damaged-1", path), path[0])
        REQUIRE(remove(path) == 0);
    while (file_named(dir, ".damaged-1-wal", path), path[0])
        REQUIRE(remove(path) == 0);
    spit(db_path, file, len);
    spit(wal_path, log_file, log_len);
}

/* Open it, and count the updates; all that is found is as it was. */
static unsigned open_and_count(struct found *f)
{
    struct cv_journal *j = must_open(CV_JOURNAL_RESUME);
    char said[sizeof(why)];

    memcpy(said, why, sizeof(said));
    memset(f, 0, sizeof(*f));
    REQUIRE(cv_journal_updates(j, 1, note_update, f) == CV_OK);
    /* It goes on from there, and needs no more help. */
    REQUIRE(cv_journal_append(j, 2, str("more")) == CV_OK);
    cv_journal_close(j);
    j = must_open(CV_JOURNAL_RESUME);
    REQUIRE(why[0] == '\0');
    REQUIRE(updates_are(j, 2, "more\n"));
    cv_journal_close(j);
    memcpy(why, said, sizeof(why));
    return f->n;
}

/* The damaged files are kept, as they were. */
static void require_kept(size_t len, size_t log_len)
{
    char path[512];

    REQUIRE(strstr(why, "damaged"));
    file_named(dir, ".damaged-1", path);
    REQUIRE(path[0] && strstr(why, path));
    REQUIRE(slurp(path, again, sizeof(again)) == len);
    REQUIRE(memcmp(again, file, len) == 0);
    file_named(dir, ".damaged-1-wal", path);
    REQUIRE(path[0] || !log_len);
    if (log_len) {
        REQUIRE(slurp(path, again, sizeof(again)) == log_len);
        REQUIRE(memcmp(again, log_file, log_len) == 0);
    }
}

TEST(what_a_crash_leaves_is_no_damage)
{
    struct found f;
    size_t len, log_len;

    make_sample(&len, &log_len);
    put_back(len, log_len);
    CHECK_EQ(open_and_count(&f), ALL);
    CHECK_STR(why, "");
    /* Cut anywhere, the log has the commits before; a piece of a page at its
     * end was being written. */
    for (size_t cut = 0; cut < log_len; cut += 1009) {
        put_back(len, cut);
        CHECK(open_and_count(&f) >= IN_FILE);
        CHECK_STR(why, "");
        for (unsigned n = 1; n < ALL; n++)
            CHECK(!f.seen[n] || f.seen[n - 1]);
    }
}

TEST(a_flipped_bit_in_the_log_loses_a_row_at_most)
{
    struct found f;
    size_t len, log_len;
    unsigned said = 0, lost = 0, tries = 250;

    make_sample(&len, &log_len);
    for (unsigned i = 0; i < tries; i++) {
        size_t at = i < 32 ? i : pick(log_len);
        uint8_t bit = (uint8_t)(1u << pick(8));

        log_file[at] ^= bit;
        put_back(len, log_len);
        lost += ALL - open_and_count(&f);
        CHECK(f.n >= ALL - 2);
        CHECK(why[0] || f.n == ALL);
        if (why[0]) {
            said++;
            require_kept(len, log_len);
        }
        log_file[at] ^= bit;
    }
    print_message("%u of %u told, %u updates lost\n", said, tries, lost);
    CHECK(said > tries * 9 / 10);
}

TEST(a_flipped_bit_in_the_file_loses_its_page_at_most)
{
    struct found f;
    size_t len, log_len;
    unsigned said = 0, lost = 0, tries = 250;

    make_sample(&len, &log_len);
    for (unsigned i = 0; i < tries; i++) {
        size_t at = i < 100 ? i : pick(len);
        uint8_t bit = (uint8_t)(1u << pick(8));

        file[at] ^= bit;
        put_back(len, log_len);
        lost += ALL - open_and_count(&f);
        CHECK(f.n >= ALL - 120);
        CHECK(why[0] || f.n == ALL);
        if (why[0]) {
            said++;
            require_kept(len, log_len);
        }
        file[at] ^= bit;
    }
    print_message("%u of %u told, %u updates lost\n", said, tries, lost);
    CHECK(said > tries / 4); /* the log has many pages again */
}

TEST(a_file_that_was_cut_has_what_is_left_of_it)
{
    struct found f;
    size_t len, log_len;
    static const size_t odd[] = {0, 1, 15, 16, 99, 100, 512, PAGE - 1, PAGE};

    make_sample(&len, &log_len);
    for (unsigned i = 0; i < 60; i++) {
        size_t cut = i < sizeof(odd) / sizeof(odd[0]) ? odd[i] : pick(len);
        bool logged = i % 2;

        put_back(cut, logged ? log_len : 0);
        CHECK(open_and_count(&f) >= (logged ? IN_LOG - 2 : 0));
        /* Short rows are there as far as the pages go. */
        CHECK(f.n + 40 >= cut / PAGE);
        if (cut % PAGE || !logged) {
            CHECK(strstr(why, "damaged"));
            require_kept(cut, logged ? log_len : 0);
        }
        CHECK(why[0] || f.n == ALL);
    }
}

TEST(without_its_head_all_rows_are_there)
{
    static const size_t zeroed[] = {1, 16, 100, PAGE, 3 * PAGE};
    static uint8_t saved[3 * PAGE];
    struct found f;
    size_t len, log_len;

    make_sample(&len, &log_len);
    memcpy(saved, file, sizeof(saved));
    for (unsigned i = 0; i < sizeof(zeroed) / sizeof(zeroed[0]); i++) {
        memset(file, 0, zeroed[i]);
        /* SQLite may not even notice: the log has the first page again. */
        put_back(len, log_len);
        CHECK_EQ(open_and_count(&f), ALL);
        put_back(len, 0);
        CHECK_EQ(open_and_count(&f), IN_FILE);
        CHECK(strstr(why, "changes could be read"));
        require_kept(len, 0);
        memcpy(file, saved, sizeof(saved));
    }
    /* The write-ahead log alone, and its head. */
    put_back(len, log_len);
    CHECK(remove(db_path) == 0);
    CHECK(open_and_count(&f) >= IN_LOG - 2);
    CHECK(strstr(why, "damaged"));
    memset(log_file, 0, 32);
    put_back(len, log_len);
    CHECK_EQ(open_and_count(&f), ALL);
    require_kept(len, log_len);
}

TEST(something_else_in_its_place_is_set_aside)
{
    struct cv_journal *j;
    size_t len, log_len;
    char path[512], inside[600];

    make_sample(&len, &log_len);
    len = 100000;
    for (size_t i = 0; i < len; i++)
        file[i] = (uint8_t)pick(256);
    put_back(len, 0);
    j = must_open(CV_JOURNAL_RESUME);
    require_kept(len, 0);
    CHECK(strstr(why, "0 changes could"));
    CHECK(updates_are(j, 1, ""));
    cv_journal_close(j);

    put_back(len, 0);
    CHECK(remove(db_path) == 0 && mkdir(db_path, 0700) == 0);
    snprintf(inside, sizeof(inside), "%s/mine", db_path);
    spit(inside, (const uint8_t *)"precious", 8);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(strstr(why, "damaged"));
    cv_journal_close(j);
    file_named(dir, ".damaged-1", path);
    snprintf(inside, sizeof(inside), "%s/mine", path);
    CHECK_EQ(slurp(inside, again, sizeof(again)), 8);

    /* The next one has the next name. */
    spit(db_path, file, 4096);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(strstr(why, ".damaged-2"));
    CHECK_EQ(slurp(inside, again, sizeof(again)), 8);
    cv_journal_close(j);
}

static int give_to_nobody(const char *path, const struct stat *st, int type,
                          struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return chown(path, 65534, 65534);
}

/* As somebody for whom permissions count. */
TEST(a_file_that_may_not_be_read_is_said_and_left_alone)
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    char path[512];
    pid_t child;
    int status;

    cv_journal_close(j);
    file_named(dir, ".0.db", path);
    CHECK(chmod(path, 0) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const uid_t nobody = 65534;

        if (geteuid() == 0 &&
            (nftw(base_dir, give_to_nobody, 16, FTW_PHYS) < 0 ||
             setuid(nobody) < 0))
            _exit(77);
        j = NULL;
        _exit(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL) == CV_ERR_PERM &&
                      strstr(why, path) && strstr(why, "chmod 600")
                  ? 0
                  : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK(access(path, F_OK) == 0);
}

static int tell_text(void *user, struct cv_writer *out)
{
    const char *const *text = user;

    return cv_put_raw(out, *text, strlen(*text));
}

TEST(a_file_that_breaks_while_it_is_open_is_written_anew)
{
    const char *state = "all of it";
    struct told told = {0};
    struct cv_journal *j = NULL;
    char path[512], aside[512];
    uint64_t mark;
    int fd;

    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, NULL, &told), CV_OK);
    memset(again, 'x', CV_JOURNAL_COMPACT / 4);
    for (unsigned n = 0; n < 5; n++)
        CHECK_EQ(
            cv_journal_append(j, 1, CV_BYTES(again, CV_JOURNAL_COMPACT / 4)),
            CV_OK);
    CHECK_EQ(cv_journal_put(j, CV_FACT_OTHER, str("k"), str("v")), CV_OK);
    cv_journal_close(j);
    j = NULL;
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, &told), CV_OK);
    cv_journal_set_source(j, 1, tell_text, &state);
    file_named(dir, ".0.db", path);
    fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    memset(again, 0xff, 200000);
    CHECK_EQ(write(fd, again, 200000), 200000);
    /* Closing it here would undo SQLite's locks. */
    CHECK_EQ(cv_journal_append(j, 1, str("more")), CV_OK);
    mark = cv_journal_mark(j);
    /* It is noticed when the file is compacted. */
    for (cv_time t = 1; t < 20; t++)
        cv_journal_step(j, t * CV_SECOND);
    CHECK(cv_journal_has_kept(j, mark));
    CHECK_EQ(told.failures, 1);
    CHECK_EQ(told.recoveries, 1);
    file_named(dir, ".damaged-1", aside);
    CHECK(aside[0] && strstr(told.text, aside));
    cv_journal_close(j);
    close(fd);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_STR(why, "");
    CHECK(fact_is(j, CV_FACT_OTHER, "k", "v"));
    CHECK(updates_are(j, 1, "all of it\n"));
    cv_journal_close(j);
}

/* ---- files of the older form ---- */

static void put_old(struct cv_writer *w, uint8_t type, struct cv_bytes payload)
{
    size_t start = w->len;
    uint32_t check;

    cv_put_u32(w, (uint32_t)payload.len);
    cv_put_u8(w, type);
    check = cv_crc32(w->data + start, 5) & 0xffffff;
    cv_put_u8(w, (uint8_t)(check >> 16));
    cv_put_u16(w, (uint16_t)check);
    cv_put_raw(w, payload.data, payload.len);
    REQUIRE(cv_put_u32(w, cv_crc32(w->data + start, w->len - start)) == CV_OK);
}

/* Two updates of document 1, a fact, a record of an unknown type, and where
 * each of them ends. */
static size_t make_old(size_t ends[5])
{
    struct cv_writer w;

    cv_writer_init(&w, file, sizeof(file));
    cv_put_raw(&w, CV_JOURNAL_OLD_MAGIC, 8);
    ends[0] = w.len;
    put_old(&w, 1, CV_LITERAL("\0\0\0\1one"));
    ends[1] = w.len;
    put_old(&w, 2, CV_LITERAL("\7\1k\1v"));
    ends[2] = w.len;
    put_old(&w, 77, CV_LITERAL("later"));
    ends[3] = w.len;
    put_old(&w, 1, CV_LITERAL("\0\0\0\1two"));
    ends[4] = w.len;
    return w.len;
}

static const char *const old_updates[] = {"", "one\n", "one\n", "one\n",
                                          "one\ntwo\n"};

static void old_path(char path[512])
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);

    file_named(dir, ".0.db", path);
    path[strlen(path) - strlen(".db")] = '\0';
    cv_journal_remove(j);
}

TEST(an_older_file_is_taken_over_as_far_as_it_goes)
{
    size_t ends[5], len = make_old(ends);
    char path[512];

    old_path(path);
    for (size_t cut = 0; cut <= len; cut++) {
        struct cv_journal *j;
        size_t whole = 0;

        while (whole < 4 && ends[whole + 1] <= cut)
            whole++;
        spit(path, file, cut);
        j = must_open(CV_JOURNAL_RESUME);
        CHECK_STR(why, "");
        CHECK(updates_are(j, 1, old_updates[whole]));
        CHECK(fact_is(j, CV_FACT_OTHER, "k", whole >= 2 ? "v" : ""));
        CHECK(access(path, F_OK) < 0);
        cv_journal_remove(j);
    }
    /* Zeros that came of a loss of power are no damage. */
    memset(file + ends[3], 0, len - ends[3]);
    spit(path, file, len);
    struct cv_journal *j = must_open(CV_JOURNAL_RESUME);

    CHECK_STR(why, "");
    CHECK(updates_are(j, 1, old_updates[3]));
    /* A covim of before wrote on: that comes, too. */
    spit(path, file, ends[2]);
    cv_journal_close(j);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(j, 1, "one\none\n"));
    CHECK(access(path, F_OK) < 0);
    cv_journal_close(j);
}

TEST(a_damaged_older_file_is_kept)
{
    size_t ends[5], len = make_old(ends);
    char path[512], aside[512];

    old_path(path);
    for (size_t bit = 0; bit < len * 8; bit += 5) {
        struct cv_journal *j;
        size_t before = 0;

        while (before < 4 && ends[before + 1] <= bit / 8)
            before++;
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        spit(path, file, len);
        j = must_open(CV_JOURNAL_RESUME);
        CHECK(updates_are(j, 1, old_updates[bit / 8 < 8 ? 0 : before]));
        CHECK(strstr(why, "damaged"));
        cv_journal_remove(j);
        file_named(dir, ".damaged-1", aside);
        CHECK_EQ(slurp(aside, again, sizeof(again)), len);
        CHECK_MEM(again, file, len);
        CHECK(remove(aside) == 0);
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static int setup_seeded(void **state)
{
    rng = cv_rng_from_seed(&seeded, 20261);
    return setup(state);
}

#define J(f) cmocka_unit_test_setup_teardown(f, setup_seeded, teardown)
RUN_TESTS(J(what_a_crash_leaves_is_no_damage),
          J(a_flipped_bit_in_the_log_loses_a_row_at_most),
          J(a_flipped_bit_in_the_file_loses_its_page_at_most),
          J(a_file_that_was_cut_has_what_is_left_of_it),
          J(without_its_head_all_rows_are_there),
          J(something_else_in_its_place_is_set_aside),
          J(a_file_that_may_not_be_read_is_said_and_left_alone),
          J(a_file_that_breaks_while_it_is_open_is_written_anew),
          J(an_older_file_is_taken_over_as_far_as_it_goes),
          J(a_damaged_older_file_is_kept))
