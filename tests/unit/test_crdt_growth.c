/* No operation is quadratic, and none takes longer than its bound: conflict
 * scans by counting their steps, all else by how its processor time grows. */
#include "crdt/codec.h"
#include "crdt/update.h"
#include "tests/unit/crdt_util.h"
#include <stdlib.h>
#include <time.h>

/* ---- conflict scans ---- */

/* One letter of a new client that says it was put into the empty text before
 * unit 1:right. */
static struct cv_bytes stray(struct cv_writer *w, uint64_t client,
                             uint64_t right)
{
    struct cv_wire s = {.info = CV_KIND_STRING | CV_INFO_RIGHT,
                        .kind = CV_KIND_STRING,
                        .right = {1, right},
                        .content = CV_LITERAL("x")};

    cv_writer_reset(w);
    cv_put_varuint(w, 1);
    cv_put_varuint(w, 1);
    cv_put_varuint(w, client);
    cv_put_varuint(w, 0);
    cv_wire_put(w, &s, false);
    cv_put_varuint(w, 0);
    return cv_writer_bytes(w);
}

/* `n` letters, no two of them in one item. */
static struct cv_doc *scattered(const struct cv_doc_limits *limits, unsigned n)
{
    struct cv_doc *doc;

    REQUIRE(cv_doc_new(&doc, 1, limits) == CV_OK);
    for (unsigned i = 0; i < n; i++)
        insert_at(doc, i % 2 ? i / 2 : i, "o", NULL);
    return doc;
}

#define ITEMS  400u
#define STRAYS 60u
#define SCAN   500u

/* One update with many strays whose origins are the length of the text
 * apart. */
static struct cv_writer many_strays(void)
{
    struct cv_writer one[STRAYS], all = heap_writer();
    struct cv_bytes parts[STRAYS];
    uint64_t seed = 9;

    for (unsigned i = 0; i < STRAYS; i++) {
        one[i] = heap_writer();
        parts[i] = stray(&one[i], 100 + next_random(&seed) % 100000,
                         ITEMS - 1 - i % 7);
    }
    REQUIRE(cv_update_merge(parts, STRAYS, &all) == CV_OK);
    for (unsigned i = 0; i < STRAYS; i++)
        cv_writer_fini(&one[i]);
    return all;
}

static void same_text(const struct cv_doc *a, const struct cv_doc *b)
{
    struct cv_writer x = read_all(a), y = read_all(b);

    REQUIRE(cv_bytes_equal(cv_writer_bytes(&x), cv_writer_bytes(&y)));
    cv_writer_fini(&x);
    cv_writer_fini(&y);
}

TEST(a_scan_that_meets_the_limit_goes_on_with_the_next_update)
{
    static const uint8_t empty[] = {0, 0};
    struct cv_doc_limits limits = cv_doc_limits_default;
    struct cv_writer update = many_strays();
    struct cv_doc *doc, *free_one = scattered(NULL, ITEMS);
    struct cv_doc_applied applied;
    unsigned calls = 0;

    limits.scan = SCAN;
    doc = scattered(&limits, ITEMS);
    REQUIRE(cv_doc_apply(free_one, cv_writer_bytes(&update), NULL, NULL,
                         &applied) == CV_OK);
    CHECK(!applied.waiting);
    /* It takes far more than the limit. */
    CHECK(free_one->scanned > 10 * SCAN);
    do {
        uint64_t before = doc->scanned;
        struct cv_bytes bytes = calls == 0 ? cv_writer_bytes(&update)
                                           : CV_BYTES(empty, sizeof(empty));

        REQUIRE(cv_doc_apply(doc, bytes, NULL, NULL, &applied) == CV_OK);
        /* The limit, and the scan that meets it. */
        CHECK(doc->scanned - before <= SCAN + ITEMS + STRAYS + 2);
        CHECK(applied.news);
        check_store(doc);
    } while (applied.waiting && ++calls < STRAYS + 1);
    CHECK(calls > 5);
    CHECK(!cv_doc_waiting(doc));
    same_text(doc, free_one);
    cv_writer_fini(&update);
    cv_doc_free(doc);
    cv_doc_free(free_one);
}

TEST(what_is_put_off_counts_as_waiting)
{
    struct cv_doc_limits limits = cv_doc_limits_default;
    struct cv_writer update = many_strays(), more = heap_writer();
    struct cv_doc_applied applied;
    struct cv_doc *doc;
    int err = CV_OK;

    limits.scan = 1;
    limits.waiting = STRAYS;
    doc = scattered(&limits, ITEMS);
    REQUIRE(cv_doc_apply(doc, cv_writer_bytes(&update), NULL, NULL, &applied) ==
            CV_OK);
    CHECK(applied.waiting);
    /* Each call does one and takes another, until too many wait. */
    for (unsigned i = 0; i < 3 && err == CV_OK; i++) {
        struct cv_writer two = heap_writer();
        struct cv_bytes parts[2];

        parts[0] = stray(&more, 500000 + i, ITEMS - 1);
        parts[1] = stray(&two, 600000 + i, ITEMS - 2);
        cv_writer_reset(&update);
        REQUIRE(cv_update_merge(parts, 2, &update) == CV_OK);
        err = cv_doc_apply(doc, cv_writer_bytes(&update), NULL, NULL, NULL);
        cv_writer_fini(&two);
    }
    CHECK_EQ(err, CV_ERR_LIMIT);
    CHECK(doc->waiting.structs.n <= STRAYS);
    cv_writer_fini(&update);
    cv_writer_fini(&more);
    cv_doc_free(doc);
}

/* ---- growth ---- */

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct job {
    const char *name;
    void (*run)(size_t n);
    size_t n;
};

static void put(struct cv_doc *doc, size_t at, const char *text, size_t len,
                struct cv_writer *out)
{
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_insert(doc, at, text, len) == CV_OK);
    REQUIRE(cv_doc_commit(doc, out) == CV_OK);
}

/* A paste, sent, and all of it deleted, sent. */
static void paste(size_t n)
{
    struct cv_doc *doc = new_doc(1), *peer = new_doc(2);
    struct cv_writer w = heap_writer();
    char *text = malloc(n);

    REQUIRE(text != NULL);
    memset(text, 'p', n);
    put(doc, 0, text, n, &w);
    REQUIRE(cv_doc_apply(peer, cv_writer_bytes(&w), NULL, NULL, NULL) == CV_OK);
    cv_writer_reset(&w);
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_delete(doc, 0, n) == CV_OK);
    REQUIRE(cv_doc_commit(doc, &w) == CV_OK);
    REQUIRE(cv_doc_apply(peer, cv_writer_bytes(&w), NULL, NULL, NULL) == CV_OK);
    REQUIRE(cv_doc_text_bytes(doc) == 0 && cv_doc_text_bytes(peer) == 0);
    free(text);
    cv_writer_fini(&w);
    cv_doc_free(doc);
    cv_doc_free(peer);
}

/* Letters at random places, each sent; saved, loaded, deleted, sent. */
static void scatter(size_t n)
{
    struct cv_doc *doc = new_doc(1), *peer = new_doc(2), *late = new_doc(3);
    struct cv_writer w = heap_writer();
    uint64_t seed = 4;

    for (size_t i = 0; i < n; i++) {
        cv_writer_reset(&w);
        put(doc, below(&seed, i + 1), "s", 1, &w);
        REQUIRE(cv_doc_apply(peer, cv_writer_bytes(&w), NULL, NULL, NULL) ==
                CV_OK);
    }
    cv_writer_reset(&w);
    REQUIRE(cv_doc_encode(doc, CV_BYTES(NULL, 0), &w) == CV_OK);
    REQUIRE(cv_doc_apply(late, cv_writer_bytes(&w), NULL, NULL, NULL) == CV_OK);
    cv_writer_reset(&w);
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_delete(doc, 0, n) == CV_OK);
    REQUIRE(cv_doc_commit(doc, &w) == CV_OK);
    REQUIRE(cv_doc_apply(late, cv_writer_bytes(&w), NULL, NULL, NULL) == CV_OK);
    REQUIRE(cv_doc_text_bytes(doc) == 0 && cv_doc_text_bytes(late) == 0);
    cv_writer_fini(&w);
    cv_doc_free(doc);
    cv_doc_free(peer);
    cv_doc_free(late);
}

/* One long line, typed; then backspaced from the middle on, deleted
 * forwards. */
static void line(size_t n)
{
    struct cv_doc *doc = new_doc(1);

    for (size_t i = 0; i < n; i++)
        put(doc, i, "l", 1, NULL);
    for (size_t i = n / 2; i > 0; i--)
        delete_at(doc, i - 1, 1, NULL);
    for (size_t i = n / 2; i > 0; i--)
        delete_at(doc, 0, 1, NULL);
    cv_doc_free(doc);
}

/* Everybody's first letter, at one place. */
static void crowd(size_t n)
{
    struct cv_doc *doc = new_doc(1);
    struct cv_writer w = heap_writer();
    uint64_t seed = 6;

    insert_at(doc, 0, "c", NULL);
    for (size_t i = 0; i < n; i++)
        REQUIRE(cv_doc_apply(doc,
                             stray(&w, 2 + next_random(&seed) % 1000000000, 0),
                             NULL, NULL, NULL) == CV_OK);
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

static double least(const struct job *job, size_t n)
{
    double best = 1e9;

    for (int i = 0; i < 3; i++) {
        double start = cpu_ms(), took;

        job->run(n);
        took = cpu_ms() - start;
        best = took < best ? took : best;
    }
    return best;
}

#define TIMES 8
/* Eight times the work in eight times the time; 64 times would be quadratic.
 * Caches and the logarithm take their share. */
#define ALLOWED 26

TEST(eight_times_the_text_takes_no_more_than_a_few_times_eight)
{
    static const struct job jobs[] = {
        {"paste", paste, 400000},
        {"scatter", scatter, 2000},
        {"line", line, 20000},
        {"crowd", crowd, 1000},
    };

    for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++) {
        double small = least(&jobs[i], jobs[i].n);
        double large = least(&jobs[i], jobs[i].n * TIMES);

        print_message("%s: %.2f ms, %.2f ms\n", jobs[i].name, small, large);
        CHECK(large < small * ALLOWED);
    }
}

RUN_TESTS(T(a_scan_that_meets_the_limit_goes_on_with_the_next_update),
          T(what_is_put_off_counts_as_waiting),
          T(eight_times_the_text_takes_no_more_than_a_few_times_eight))
