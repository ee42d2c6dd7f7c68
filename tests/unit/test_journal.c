#include "tests/unit/full_disk.h"
#include "tests/unit/journal_kit.h"

/* By its deadlines only, as a session does. */
static void run_to(struct cv_journal *j, cv_time end)
{
    while (cv_journal_deadline(j) <= end)
        cv_journal_step(j, cv_journal_deadline(j));
    cv_journal_step(j, end);
}

static unsigned count_files(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n = 0;

    REQUIRE(d);
    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
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
    /* Also while it waits. */
    CHECK(!cv_journal_clean(j));
    CHECK(updates_are(j, 1, "u1\nu2\n"));
    cv_journal_step(j, CV_SECOND);
    CHECK_EQ(cv_journal_deadline(j), CV_SECOND + CV_JOURNAL_DELAY);
    cv_journal_step(j, cv_journal_deadline(j));
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

    file_named(dir, ".0.db", path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_EQ(cv_journal_append(j, 1, str("u3")), CV_OK);
    write_all(j);
    CHECK_EQ(count_files(), 4); /* .db, -wal, -shm, .lock */
    file_named(dir, "-wal", path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    file_named(dir, ".lock", path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700);
    /* The name does not say which session it is. */
    CHECK(!strstr(path, "010203"));
    cv_journal_remove(j);
    CHECK_EQ(count_files(), 0);
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

    file_named(dir, ".0.db", path);
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
}

TEST(a_store_of_a_later_version_is_left_alone)
{
    struct cv_journal *j = must_open(CV_JOURNAL_CREATE);
    static uint8_t file[1 << 20], again[1 << 20];
    char path[512];
    size_t len;

    cv_journal_close(j);
    file_named(dir, ".0.db", path);
    len = slurp(path, file, sizeof(file));
    /* user_version and application_id, "cvj1". */
    CHECK_EQ(file[63], 1);
    CHECK_MEM(file + 68, "cvj1", 4);
    file[63]++;
    file[71]++;
    spit(path, file, len);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_VERSION);
    CHECK(strstr(why, "newer covim"));
    CHECK_EQ(slurp(path, again, sizeof(again)), len);
    CHECK_MEM(again, file, len);
}

TEST(a_second_agent_has_a_slot_of_its_own_and_leaves_it_to_the_first)
{
    struct cv_journal *a = must_open(CV_JOURNAL_EITHER), *b;
    char path[512];

    CHECK_EQ(cv_journal_put(a, CV_FACT_GRANTS, str(""), str("grant")), CV_OK);
    CHECK_EQ(cv_journal_append(a, 1, str("a1")), CV_OK);
    write_all(a);
    b = must_open(CV_JOURNAL_EITHER);
    CHECK(strstr(why, "another editor of yours"));
    /* It is let in by the same grant, and has a text of its own. */
    CHECK(fact_is(b, CV_FACT_GRANTS, "", "grant"));
    CHECK(updates_are(b, 1, ""));
    CHECK_EQ(cv_journal_append(b, 1, str("b1")), CV_OK);
    CHECK_EQ(cv_journal_put(b, CV_FACT_PEER, str("eve"), str("x")), CV_OK);
    write_all(b);
    file_named(dir, ".1.db", path);
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
    file_named(dir, ".1.db", path);
    CHECK_STR(path, "");
    cv_journal_close(a);
}

/* ---- a disk that is full ---- */

TEST(on_a_full_disk_all_waits_and_is_written_when_there_is_room)
{
    struct told told = {0};
    struct cv_journal *j = NULL;
    uint64_t before, held;
    char *got;

    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, NULL, &told), CV_OK);
    CHECK_EQ(cv_journal_append(j, 1, str("before")), CV_OK);
    before = cv_journal_mark(j);
    run_to(j, CV_SECOND);
    CHECK(cv_journal_has_kept(j, before));
    limit_files(110);
    CHECK_EQ(cv_journal_append(j, 1, str("this does not fit there")), CV_OK);
    held = cv_journal_mark(j);
    run_to(j, 2 * CV_SECOND);
    CHECK_EQ(told.failures, 1);
    CHECK(strstr(told.text, "memory only"));
    CHECK(cv_journal_has_kept(j, before));
    CHECK(!cv_journal_has_kept(j, held));
    /* From now on it is said at once. */
    CHECK_EQ(cv_journal_append(j, 1, str("s")), CV_ERR_IO);
    CHECK_EQ(cv_journal_put(j, CV_FACT_OTHER, str("k"), str("v")), CV_ERR_IO);
    for (cv_time t = 2 * CV_SECOND; t < 7 * CV_SECOND; t += CV_SECOND / 4)
        cv_journal_step(j, t);
    CHECK(!cv_journal_has_kept(j, held));
    CHECK_EQ(told.failures, 1);
    CHECK_EQ(told.recoveries, 0);
    got = updates_of(j, 1); /* all is there to be read */
    CHECK_STR(got, "before\nthis does not fit there\ns\n");
    free(got);

    limit_files(RLIM_INFINITY);
    CHECK(cv_journal_deadline(j) <= 8 * CV_SECOND);
    cv_journal_step(j, 8 * CV_SECOND);
    CHECK(cv_journal_clean(j));
    CHECK_EQ(told.recoveries, 1);
    CHECK_EQ(cv_journal_append(j, 1, str("after")), CV_OK);
    cv_journal_close(j);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_STR(why, "");
    CHECK(updates_are(j, 1, "before\nthis does not fit there\ns\nafter\n"));
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
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(cv_journal_append(j, 1, big), i ? CV_ERR_IO : CV_OK);
        run_to(j, CV_SECOND + i);
    }
    limit_files(RLIM_INFINITY);
    run_to(j, 3 * CV_SECOND);
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
    CHECK_EQ(cv_journal_put(j, CV_FACT_SECRET, str(""), str("seed")), CV_OK);
    for (int i = 0; i < 1200; i++)
        CHECK_EQ(cv_journal_append(j, 1, CV_BYTES(update, sizeof(update))),
                 CV_OK);
    /* Without a source nothing can be left out. */
    run_to(j, now += CV_MINUTE);
    char *all = updates_of(j, 1);

    CHECK_EQ(strlen(all), 1200 * 1001);
    free(all);
    cv_journal_set_source(j, 1, tell_state, &state);
    run_to(j, now += 2 * CV_MINUTE);
    CHECK(updates_are(j, 1, "snapshot\n"));
    CHECK_EQ(cv_journal_append(j, 1, str("after")), CV_OK);
    CHECK(updates_are(j, 1, "snapshot\nafter\n"));

    /* It is locked all the time. */
    struct cv_journal *k = NULL;

    CHECK_EQ(open_in(&k, dir, CV_JOURNAL_RESUME, NULL, NULL), CV_ERR_BUSY);
    cv_journal_close(j);
    /* The disk has its room back. */
    file_named(dir, ".0.db", path);
    CHECK(stat(path, &st) == 0 && st.st_size < 100000);
    CHECK((st.st_mode & 0777) == 0600);
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(j, 1, "snapshot\nafter\n"));
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

static void append_number(struct cv_journal *j, unsigned n)
{
    const uint8_t number[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16),
                               (uint8_t)(n >> 8), (uint8_t)n};

    REQUIRE(cv_journal_append(j, 1, CV_BYTES(number, 4)) == CV_OK);
}

static int count_rows(void *user, struct cv_bytes update)
{
    (void)update;
    ++*(unsigned *)user;
    return CV_OK;
}

/* Edits go on while the state is written: more come with each turn of the
 * loop, and the file is compacted in the meantime, more than once. */
TEST(what_comes_while_it_is_compacted_stays)
{
    enum { ENOUGH = 150000 };
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    unsigned n = 0, rows = 0;
    bool *seen = calloc(1000000, 1);
    cv_time now = 0;

    CHECK(seen);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    CHECK_EQ(open_in(&j, dir, CV_JOURNAL_CREATE, loop, NULL), CV_OK);
    cv_journal_set_source(j, 1, tell_numbers, &n);
    while (n < ENOUGH) {
        for (int i = 0; i < 40; i++, n++)
            append_number(j, n);
        cv_journal_step(j, now += CV_SECOND / 10);
        cv_loop_once(loop, 0);
    }
    /* However slow the worker is: it ends in time. */
    for (cv_time end = cv_time_now() + 60 * CV_SECOND;
         cv_journal_deadline(j) != CV_NEVER && cv_time_now() < end;) {
        cv_loop_once(loop, cv_loop_now(loop) + CV_MILLISECOND);
        cv_journal_step(j, now += CV_SECOND / 10);
    }
    CHECK(cv_journal_clean(j));
    CHECK_EQ(cv_journal_updates(j, 1, count_rows, &rows), CV_OK);
    CHECK(rows < ENOUGH);
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

static void count_wake(void *user)
{
    ++*(unsigned *)user;
}

TEST(a_keystroke_is_written_soon_and_many_go_together)
{
    const unsigned n = 400;
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    unsigned wakes = 0, commits = 0;
    struct cv_journal_config c = {.dir = dir,
                                  .session = session,
                                  .mode = CV_JOURNAL_CREATE,
                                  .wake = count_wake,
                                  .user = &wakes};
    uint64_t kept = 0;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    c.loop = loop;
    CHECK_EQ(cv_journal_open(&j, &c, 0, why, sizeof(why)), CV_OK);
    write_all(j);
    CHECK_EQ(wakes, 0);
    append_number(j, 0);
    CHECK_EQ(wakes, 1);
    run_to(j, CV_JOURNAL_DELAY);
    CHECK(!cv_journal_clean(j)); /* not before the worker says so */
    while (wakes < 2)
        cv_loop_once(loop, cv_loop_now(loop) + CV_SECOND);
    CHECK(cv_journal_clean(j));
    /* One a millisecond, and a worker that takes no time. */
    for (cv_time t = 1; t <= n; t++) {
        append_number(j, (unsigned)t);
        cv_journal_step(j, (100 + t) * CV_MILLISECOND);
        CHECK(updates_are(j, 9, "")); /* waits for it */
        cv_loop_once(loop, 0);
        commits += cv_journal_mark(j) > kept && cv_journal_clean(j);
        kept = cv_journal_clean(j) ? cv_journal_mark(j) : kept;
    }
    CHECK(commits >= 15 && commits <= 20);
    cv_journal_close(j);
    cv_loop_free(loop);
}

/* Drive the journal as a session does: by its deadline only. */
TEST(everything_is_synced_in_the_end)
{
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    const char *state = "S", *other = "x";
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
    cv_journal_set_source(j, 2, tell_state, &other);
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
    write_all(j);
    cv_journal_step(j, CV_SECOND);
    cv_journal_close(j); /* a job is under way */
    j = must_open(CV_JOURNAL_RESUME);
    CHECK_EQ(cv_journal_append(j, 2, str("x")), CV_OK);
    cv_loop_free(loop);
    CHECK(updates_are(j, 2, "x\n"));
    cv_journal_close(j);
    /* Nothing half-made is left. */
    j = must_open(CV_JOURNAL_RESUME);
    CHECK(updates_are(j, 2, "x\n"));
    cv_journal_close(j);
    file_named(dir, "-wal", path);
    CHECK_STR(path, "");
}

/* ---- kill -9 ---- */

/* Write numbers and say each when it is kept, for ever. */
static void write_for_ever(int out, unsigned first)
{
    struct cv_loop *loop = NULL;
    struct cv_journal *j = NULL;
    unsigned n = first, said[4096] = {0};
    uint64_t last = 0;

    if (cv_loop_new(&loop) != CV_OK ||
        open_in(&j, dir, first ? CV_JOURNAL_RESUME : CV_JOURNAL_CREATE, loop,
                NULL) != CV_OK)
        _exit(1);
    cv_journal_set_source(j, 1, tell_numbers, &n);
    for (;;) {
        unsigned kept;

        for (int i = 0; i < 5; i++)
            append_number(j, n++);
        said[cv_journal_mark(j) % 4096] = n;
        cv_journal_step(j, cv_time_now());
        cv_loop_once(loop, cv_loop_now(loop) + CV_MILLISECOND / 10);
        for (uint64_t m = last + 1;
             cv_journal_has_kept(j, m) && m <= cv_journal_mark(j); m++)
            last = m;
        kept = said[last % 4096];
        if (kept && write(out, &kept, sizeof(kept)) != sizeof(kept))
            _exit(3);
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
    snprintf(path, sizeof(path), "%s/0123456789abcdef0123456789abcdef.1.db",
             dir);
    spit(path, (const uint8_t *)"junk", 4);
    write_all(a);
    write_all(b);
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
          J(a_store_of_a_later_version_is_left_alone),
          J(a_second_agent_has_a_slot_of_its_own_and_leaves_it_to_the_first),
          J(on_a_full_disk_all_waits_and_is_written_when_there_is_room),
          J(when_too_much_waits_the_state_is_written_instead),
          J(a_large_log_becomes_a_snapshot),
          J(what_comes_while_it_is_compacted_stays),
          J(a_keystroke_is_written_soon_and_many_go_together),
          J(everything_is_synced_in_the_end),
          J(closing_in_the_middle_of_a_compaction_loses_nothing),
          J(what_was_said_to_be_kept_survives_kill_9),
          J(stored_sessions_are_listed_once), J(facts_are_bounded))
