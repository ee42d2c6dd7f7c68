/* The power goes at any moment of a journal's life: what was said to be kept
 * is there when it is opened again. */
#include "tests/unit/journal_kit.h"
#include "tests/unit/powercut.h"

#define CUTS     120u /* of each life, and as many again while it is mended */
#define DOCUMENT 1u

/* What was promised from this moment on. */
struct promise {
    size_t moment;
    uint32_t kept; /* numbers 0 … kept - 1 */
};

static struct promise promises[20000];
static size_t n_promises;

/* A journal that numbers are appended to; its state is all of them. */
struct life {
    struct cv_journal *j;
    struct disk *disk;
    cv_time now;
    uint32_t n;
    uint32_t kept;
    uint64_t marks[20000]; /* of each number */
};

static struct life life;

/* ---- numbers ---- */

static int put_numbers(struct cv_writer *w, uint32_t first, uint32_t last,
                       size_t len)
{
    cv_put_u32(w, first);
    cv_put_u32(w, last);
    return cv_put_zeros(w, len);
}

static int tell_state(void *user, struct cv_writer *out)
{
    const struct life *l = user;

    return put_numbers(out, 0, l->n - 1, 2000);
}

/* The numbers of an update, which come in order; some may come again.  What
 * was being written when the power went can have gaps: nothing behind one
 * counts. */
static int count_numbers(void *user, struct cv_bytes update)
{
    uint32_t *next = user, first, last;
    struct cv_reader r;

    cv_reader_init(&r, update.data, update.len);
    first = cv_get_u32(&r);
    last = cv_get_u32(&r);
    REQUIRE(r.err == CV_OK);
    if (first <= *next && last >= *next)
        *next = last + 1;
    return CV_OK;
}

/* ---- living ---- */

static void note_promise(struct life *l)
{
    while (l->kept < l->n && cv_journal_has_kept(l->j, l->marks[l->kept]))
        l->kept++;
    if (n_promises && promises[n_promises - 1].kept == l->kept)
        return;
    REQUIRE(n_promises < 20000);
    promises[n_promises++] = (struct promise){disk_moment(l->disk), l->kept};
}

static void be_born(struct life *l, enum cv_journal_mode mode)
{
    int err = open_in(&l->j, dir, mode, NULL, NULL);

    if (err != CV_OK)
        print_error("open: %d %s\n", err, why);
    REQUIRE(err == CV_OK);
    cv_journal_set_source(l->j, DOCUMENT, tell_state, l);
}

static void append(struct life *l, size_t len)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, 1u << 20);
    REQUIRE(put_numbers(&w, l->n, l->n, len) == CV_OK);
    REQUIRE(cv_journal_append(l->j, DOCUMENT, cv_writer_bytes(&w)) == CV_OK);
    cv_writer_fini(&w);
    l->marks[l->n++] = cv_journal_mark(l->j);
}

/* Type: a few at a time, and what is due is done. */
static void type(struct life *l, uint32_t n, size_t len)
{
    while (n) {
        for (uint32_t i = 0; i < 5 && n; i++, n--)
            append(l, len * (1 + l->n % 7));
        for (int i = 0; i < 3; i++) {
            l->now += 15 * CV_MILLISECOND;
            cv_journal_step(l->j, l->now);
            note_promise(l);
        }
    }
}

static void begin(struct life *l)
{
    *l = (struct life){.now = CV_SECOND};
    n_promises = 0;
    REQUIRE(cv_private_dir(dir) == CV_OK);
    l->disk = disk_watch(dir);
    note_promise(l);
}

/* ---- and dying ---- */

static uint32_t promised_at(size_t moment)
{
    uint32_t kept = 0;

    for (size_t i = 0; i < n_promises && promises[i].moment <= moment; i++)
        kept = promises[i].kept;
    return kept;
}

static uint32_t numbers_in(struct cv_journal *j)
{
    uint32_t next = 0;

    REQUIRE(cv_journal_updates(j, DOCUMENT, count_numbers, &next) == CV_OK);
    return next;
}

/* What is in `where` is opened, and all that was promised is there. */
static void check_promise(const char *where, uint32_t kept, unsigned *alarms)
{
    struct cv_journal *j = NULL;
    int err = open_in(&j, where, CV_JOURNAL_EITHER, NULL, NULL);
    uint32_t found;

    if (err != CV_OK)
        print_error("open: %d %s\n", err, why);
    REQUIRE(err == CV_OK);
    *alarms += why[0] != '\0';
    found = numbers_in(j);
    if (found < kept)
        print_error("kept were %u, %u are there; %s\n", kept, found, why);
    REQUIRE(found >= kept);
    /* It can be gone on with. */
    REQUIRE(cv_journal_put(j, CV_FACT_OTHER, str("k"), str("v")) == CV_OK);
    write_all(j);
    cv_journal_close(j);
}

static void empty_folder(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    REQUIRE(mkdir(path, 0700) == 0);
}

/* Cut the power at random moments, with all kinds of luck; and again while
 * what is left is opened. */
static void cut_often(struct life *l, uint64_t seed)
{
    const size_t moments = disk_moment(l->disk);
    char found[160], again[160];
    unsigned alarms = 0;

    snprintf(found, sizeof(found), "%s/found", base_dir);
    snprintf(again, sizeof(again), "%s/again", base_dir);
    disk_unwatch(l->disk);
    REQUIRE(moments > 200); /* else it is not we who are called */
    for (unsigned i = 0; i < CUTS; i++) {
        const enum disk_luck luck = i % 8 == 7   ? DISK_ALL
                                    : i % 8 >= 4 ? DISK_SOME
                                                 : DISK_NOTHING;
        /* Each moment counts: spread over all, and never the same. */
        const size_t moment =
            (size_t)i * moments / CUTS + (seed * 31 + i) % (moments / CUTS + 1);
        const uint32_t kept = promised_at(moment < moments ? moment : moments);
        struct disk *d;

        empty_folder(found);
        disk_cut(l->disk, moment < moments ? moment : moments, luck, seed + i,
                 found);
        d = disk_watch(found);
        check_promise(found, kept, &alarms);
        disk_unwatch(d);
        empty_folder(again);
        disk_cut(d, (seed + i * 7) % (disk_moment(d) + 1), luck, seed + i,
                 again);
        disk_free(d);
        check_promise(again, kept, &alarms);
    }
    print_message("%zu writes, %u numbers, %u cuts; damage was seen %u times\n",
                  moments, l->n, 2 * CUTS, alarms);
    disk_free(l->disk);
}

static uint64_t seed_of_run(void)
{
    const char *text = getenv("COVIM_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10)
                         : (uint64_t)cv_time_now() / CV_MICROSECOND % 1000000;

    print_message("COVIM_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

TEST(what_is_kept_outlasts_the_power)
{
    struct life *l = &life;

    (void)test_state_;
    begin(l);
    be_born(l, CV_JOURNAL_CREATE);
    type(l, 700, 40);
    cv_journal_close(l->j);
    be_born(l, CV_JOURNAL_RESUME);
    note_promise(l);
    type(l, 300, 40);
    cv_journal_close(l->j);
    cut_often(l, seed_of_run());
}

/* It grows, is compacted, and the log is taken into the file. */
TEST(so_it_does_while_the_record_is_compacted)
{
    struct life *l = &life;

    (void)test_state_;
    begin(l);
    be_born(l, CV_JOURNAL_CREATE);
    type(l, 1200, 1500);
    cv_journal_close(l->j);
    cut_often(l, seed_of_run());
}

/* Somebody writes into the file; what is good of it goes to a new one. */
TEST(so_it_does_while_a_damaged_record_is_replaced)
{
    uint8_t junk[4096];
    struct life *l = &life;
    char path[512];
    int fd;

    memset(junk, 0xff, sizeof(junk));
    begin(l);
    be_born(l, CV_JOURNAL_CREATE);
    type(l, 200, 200);
    cv_journal_close(l->j);
    file_named(dir, ".0.db", path);
    fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, junk, 100), 100); /* its header: no row is lost */
    CHECK_EQ(fsync(fd), 0);
    close(fd);
    be_born(l, CV_JOURNAL_RESUME);
    CHECK(strstr(why, "damaged"));
    type(l, 200, 200);
    cv_journal_close(l->j);
    cut_often(l, seed_of_run());
}

#define J(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN_TESTS(J(what_is_kept_outlasts_the_power),
          J(so_it_does_while_the_record_is_compacted),
          J(so_it_does_while_a_damaged_record_is_replaced))
