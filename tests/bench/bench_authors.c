/* Who wrote a text, and taking back what one of two did, as the text grows:
 * one character of the second after each ten of the first.
 *
 *   bench_authors [CHARACTERS…]     of the second; 1e4 1e5 1e6
 *
 * One line each: authors_ms of the whole text, authors_screen_ms of 4,000 bytes
 * in the middle, measure_ms and revert_ms.  Processor time. */
#include "crdt/authors.h"
#include "crdt/revert.h"
#include "crdt/undo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVERY  10
#define SCREEN 4000

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_authors: %s\n", what);
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool count(void *user, uint64_t client, size_t bytes)
{
    (void)client;
    (void)bytes;
    ++*(size_t *)user;
    return true;
}

/* The first one's text, and `n` characters of the second in it. */
static struct cv_doc *make(size_t n)
{
    struct cv_doc *mine = NULL, *theirs = NULL;
    struct cv_writer w;
    char *text = malloc(n * EVERY);

    need(text != NULL && cv_doc_new(&mine, 1, NULL) == CV_OK &&
             cv_doc_new(&theirs, 2, NULL) == CV_OK,
         "no memory");
    memset(text, 'a', n * EVERY);
    cv_writer_init_heap(&w, (size_t)1 << 30);
    need(cv_doc_begin(mine) == CV_OK &&
             cv_doc_insert(mine, 0, text, n * EVERY) == CV_OK &&
             cv_doc_commit(mine, &w) == CV_OK &&
             cv_doc_apply(theirs, cv_writer_bytes(&w), NULL, NULL, NULL) ==
                 CV_OK,
         "the first text");
    cv_writer_reset(&w);
    need(cv_doc_begin(theirs) == CV_OK, "the second text");
    for (size_t i = 0; i < n; i++)
        need(cv_doc_insert(theirs, i * (EVERY + 1) + EVERY / 2, "b", 1) ==
                 CV_OK,
             "the second text");
    need(cv_doc_commit(theirs, &w) == CV_OK &&
             cv_doc_apply(mine, cv_writer_bytes(&w), NULL, NULL, NULL) == CV_OK,
         "the second text");
    cv_writer_fini(&w);
    cv_doc_free(theirs);
    free(text);
    return mine;
}

static void run(size_t n)
{
    struct cv_doc *doc = make(n);
    size_t total = cv_doc_text_bytes(doc), stretches = 0, screen = 0;
    struct cv_change change = {0};
    struct cv_taken taken;
    struct cv_revert *revert = NULL;
    struct cv_undo *undo;
    const uint64_t second = 2;
    double t[5];

    need(cv_undo_new(&undo, doc, SIZE_MAX) == CV_OK &&
             cv_revert_new(&revert, doc, 1 << 20) == CV_OK,
         "no memory");
    t[0] = now_ms();
    need(cv_doc_authors(doc, 0, total, count, &stretches) == CV_OK, "authors");
    t[1] = now_ms();
    need(cv_doc_authors(doc, total / 2, SCREEN, count, &screen) == CV_OK,
         "authors");
    t[2] = now_ms();
    need(cv_revert_change(revert, CV_REVERT_PEOPLE, &second, 1, &change) ==
                 CV_OK &&
             cv_change_measure(doc, &change, &taken) == CV_OK,
         "measure");
    t[3] = now_ms();
    need(cv_doc_begin(doc) == CV_OK &&
             cv_undo_revert(undo, &change, 1, NULL, NULL, &taken) == CV_OK &&
             cv_doc_commit(doc, NULL) == CV_OK && taken.removed == n,
         "revert");
    t[4] = now_ms();
    printf("%zu of %zu bytes: stretches=%zu authors_ms=%.2f "
           "authors_screen_ms=%.3f measure_ms=%.2f revert_ms=%.2f\n",
           n, total, stretches, t[1] - t[0], t[2] - t[1], t[3] - t[2],
           t[4] - t[3]);
    cv_change_fini(&change);
    cv_revert_free(revert);
    cv_undo_free(undo);
    cv_doc_free(doc);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {10000, 100000, 1000000};

    for (int i = 1; i < argc; i++)
        run(strtoull(argv[i], NULL, 10));
    for (size_t i = 0; argc == 1 && i < sizeof(sizes) / sizeof(sizes[0]); i++)
        run(sizes[i]);
    return 0;
}
