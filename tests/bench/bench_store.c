/* What it costs to keep edits: from an append to its being kept, the time that
 * the loop itself spends, opening, and the state of a large document.
 *
 *     bench_store [quick]
 *
 * In a folder of $TMPDIR (/tmp): the disk counts.  JSON lines on stdout, a
 * table on stderr. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session/journal.h"

#define KEYS_MAX 1000u
#define PACE     (50 * CV_MILLISECOND)

static char dir[512];
static struct cv_loop *loop;
static double sample[KEYS_MAX];
static size_t state_bytes;

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_store: %s failed\n", what);
    exit(1);
}

static void report(const char *name, const char *metric, double value)
{
    printf("{\"bench\":\"store\",\"case\":\"%s\",\"metric\":\"%s\","
           "\"value\":%.4f}\n",
           name, metric, value);
    fflush(stdout);
    fprintf(stderr, "%-12s %-28s %12.4f\n", name, metric, value);
}

static double ms_since(cv_time start)
{
    return (double)(cv_time_now() - start) / CV_MILLISECOND;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void report_samples(const char *name, size_t n)
{
    qsort(sample, n, sizeof(sample[0]), by_value);
    report(name, "median_ms", sample[n / 2]);
    report(name, "p99_ms", sample[n * 99 / 100]);
    report(name, "max_ms", sample[n - 1]);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_dir(void)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int tell_state(void *user, struct cv_writer *out)
{
    (void)user;
    return cv_put_zeros(out, state_bytes);
}

static struct cv_journal *open_it(enum cv_journal_mode mode)
{
    const struct cv_journal_config c = {
        .dir = dir, .session = {{1}}, .mode = mode, .loop = loop};
    struct cv_journal *j = NULL;
    char why[512];

    need(cv_journal_open(&j, &c, cv_time_now(), why, sizeof(why)) == CV_OK,
         why);
    cv_journal_set_source(j, 1, tell_state, NULL);
    return j;
}

/* What is due; wait for more at most so long. */
static void turn(struct cv_journal *j, cv_time wait)
{
    cv_time now = cv_time_now();

    if (cv_journal_deadline(j) <= now)
        cv_journal_step(j, now);
    cv_loop_once(loop, cv_time_min(cv_journal_deadline(j), now + wait));
}

static void append(struct cv_journal *j, size_t len)
{
    static uint8_t update[1 << 20];

    need(cv_journal_append(j, 1, CV_BYTES(update, len)) == CV_OK, "append");
}

/* One keystroke after the other, as somebody types who is fast. */
static void keystrokes(struct cv_journal *j, const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cv_time start = cv_time_now();

        append(j, 24);
        while (!cv_journal_clean(j))
            turn(j, 100 * CV_MILLISECOND);
        sample[i] = ms_since(start);
        while (cv_time_now() < start + PACE)
            turn(j, start + PACE - cv_time_now());
    }
    report_samples(name, n);
}

/* As fast as they come; only the loop's own time counts. */
static void burst(struct cv_journal *j, unsigned n)
{
    cv_time start = cv_time_now(), own = 0;

    for (unsigned i = 0; i < n; i++) {
        cv_time before = cv_time_now();

        append(j, 24);
        own += cv_time_now() - before;
        if (i % 16 == 0)
            turn(j, 0);
    }
    while (!cv_journal_clean(j))
        turn(j, 100 * CV_MILLISECOND);
    report("burst", "append_us", (double)own / n / CV_MICROSECOND);
    report("burst", "kept_per_s", n / ms_since(start) * 1000);
}

static int ignore(void *user, struct cv_bytes update)
{
    *(size_t *)user += update.len;
    return CV_OK;
}

static void open_again(const char *name)
{
    cv_time start = cv_time_now();
    struct cv_journal *j = open_it(CV_JOURNAL_RESUME);
    size_t bytes = 0;

    report(name, "open_ms", ms_since(start));
    start = cv_time_now();
    need(cv_journal_updates(j, 1, ignore, &bytes) == CV_OK, "reading");
    report(name, "read_ms", ms_since(start));
    report(name, "mib", (double)bytes / (1 << 20));
    cv_journal_close(j);
}

/* How long an edit waits for a large state that is being written. */
static void large(size_t bytes)
{
    struct cv_journal *j = open_it(CV_JOURNAL_RESUME);
    cv_time start;

    state_bytes = bytes;
    for (size_t i = 0; i < 5 * (bytes >> 20); i++)
        append(j, 1 << 20);
    need(cv_journal_flush(j) == CV_OK, "writing");
    start = cv_time_now();
    cv_journal_step(j, start + CV_SECOND); /* the state is begun */
    report("large", "loop_ms", ms_since(start));
    start = cv_time_now();
    append(j, 24);
    while (!cv_journal_clean(j))
        turn(j, 100 * CV_MILLISECOND);
    report("large", "kept_ms", ms_since(start));
    cv_journal_close(j);
    open_again("large");
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    const char *tmp = getenv("TMPDIR");
    struct cv_journal *j;

    snprintf(dir, sizeof(dir), "%s/covim-bench-XXXXXX", tmp ? tmp : "/tmp");
    need(mkdtemp(dir) != NULL && cv_loop_new(&loop) == CV_OK, "beginning");
    atexit(remove_dir);
    state_bytes = 100000;
    j = open_it(CV_JOURNAL_CREATE);
    keystrokes(j, "keystroke", quick ? 200 : KEYS_MAX);
    burst(j, quick ? 5000 : 100000);
    cv_journal_close(j);
    open_again("burst");
    large((size_t)(quick ? 2 : 20) << 20);
    cv_loop_free(loop);
    return 0;
}
