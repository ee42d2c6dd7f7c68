#include "tests/test.h"

#include <time.h>

#include "base/crypto.h"
#include "session/textdiff.h"

struct built {
    struct cv_bytes old;
    struct cv_writer out;
    size_t at; /* of the old text, up to where it is copied */
    size_t calls, deleted, inserted;
    bool ordered;
};

static bool inside(struct cv_bytes text, size_t at)
{
    return at < text.len && (text.data[at] & 0xc0) == 0x80;
}

static void splice(void *user, size_t at, size_t deleted, struct cv_bytes ins)
{
    struct built *b = user;

    if ((b->calls && at <= b->at) || at < b->at || at + deleted > b->old.len ||
        (!deleted && !ins.len) || inside(b->old, at) ||
        inside(b->old, at + deleted) || !cv_utf8_valid(ins.data, ins.len)) {
        b->ordered = false;
        return;
    }
    cv_put_raw(&b->out, b->old.data + b->at, at - b->at);
    cv_put_raw(&b->out, ins.data, ins.len);
    b->at = at + deleted;
    b->calls++;
    b->deleted += deleted;
    b->inserted += ins.len;
}

/* Does the difference make `new_text` of `old`? */
static struct built apply(struct cv_bytes old, struct cv_bytes new_text)
{
    struct built b = {.old = old, .ordered = true};

    cv_writer_init_heap(&b.out, 64u << 20);
    REQUIRE(cv_textdiff(old, new_text, splice, &b) == CV_OK);
    REQUIRE(b.ordered);
    cv_put_raw(&b.out, old.data + b.at, old.len - b.at);
    REQUIRE(b.out.err == CV_OK && b.out.len == new_text.len);
    REQUIRE(!new_text.len ||
            memcmp(b.out.data, new_text.data, new_text.len) == 0);
    cv_writer_fini(&b.out);
    return b;
}

static struct cv_bytes text(const char *s)
{
    return CV_BYTES(s, strlen(s));
}

TEST(small_cases_are_minimal)
{
    static const struct {
        const char *old, *new_text;
        size_t calls, deleted, inserted;
    } cases[] = {
        {"", "", 0, 0, 0},
        {"same\n", "same\n", 0, 0, 0},
        {"", "new", 1, 0, 3},
        {"old", "", 1, 3, 0},
        {"aXb\n", "ab\n", 1, 1, 0},
        {"a\nb\nc\n", "a\nc\n", 1, 2, 0},
        {"one\ntwo\nthree\n", "one\n2\nthree\nfour\n", 2, 3, 6},
        {"caf\xc3\xa9\n", "caf\xc3\xa8\n", 1, 2, 2},
        {"\xe2\x82\xac", "\xe2\x82\xad", 1, 3, 3},
        {"\xc3\xa9", "\xc4\xa9", 1, 2, 2}, /* equal last bytes */
        {"let a = 1;\nlet bee = 2;\n", "let aa = 1;\nlet see = 2;\n", 2, 1, 2},
        {"no newline", "no newline\n", 1, 0, 1},
        {"aaaa", "aaa", 1, 1, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct built b = apply(text(cases[i].old), text(cases[i].new_text));

        CHECK_EQ(b.calls, cases[i].calls);
        CHECK_EQ(b.deleted, cases[i].deleted);
        CHECK_EQ(b.inserted, cases[i].inserted);
    }
}

TEST(text_that_is_not_utf8_is_refused)
{
    struct built b = {0};

    CHECK_EQ(cv_textdiff(text("a"), text("\xff"), splice, &b), CV_ERR_FORMAT);
    CHECK_EQ(cv_textdiff(text("\xc3"), text("a"), splice, &b), CV_ERR_FORMAT);
    CHECK_EQ(b.calls, 0);
}

/* Text over a small alphabet, so that there is much to be confused about. */
static size_t random_text(const struct cv_rng *rng, uint8_t *out, size_t max,
                          unsigned letters)
{
    static const char *const symbol[] = {
        "a", "\n", "b", "\xc3\xa9", " ", "\xf0\x9f\x98\x80", "\xe2\x82\xac",
        "c"};
    size_t n = cv_random_u64(rng) % (max / 4), len = 0;

    for (size_t i = 0; i < n; i++) {
        const char *s = symbol[cv_random_u64(rng) % letters];

        memcpy(out + len, s, strlen(s));
        len += strlen(s);
    }
    return len;
}

TEST(random_texts_become_each_other)
{
    static uint8_t a[4096], b[4096];
    struct cv_rng_seeded state;
    const struct cv_rng rng = cv_rng_from_seed(&state, 20240501);

    for (int round = 0; round < 3000; round++) {
        size_t max = 8 + cv_random_u64(&rng) % (sizeof(a) - 8);
        unsigned letters = 1 + (unsigned)(cv_random_u64(&rng) % 8);
        size_t na = random_text(&rng, a, max, letters);
        size_t nb = random_text(&rng, b, max, letters);

        (void)apply(CV_BYTES(a, na), CV_BYTES(b, nb));
    }
    CHECK(true);
}

/* A text edited in places must give about as many changes. */
TEST(few_edits_give_few_changes)
{
    static char old[200000], fresh[220000];
    struct cv_rng_seeded state;
    const struct cv_rng rng = cv_rng_from_seed(&state, 7);

    for (int round = 0; round < 30; round++) {
        size_t n = 0, m = 0, edits = 0, changed = 0;

        for (int line = 0; line < 3000; line++) {
            char s[64];
            int len = snprintf(s, sizeof(s), "line %d says %llu\n", line,
                               (unsigned long long)cv_random_u64(&rng) % 97);
            uint64_t what = cv_random_u64(&rng) % 100;

            memcpy(old + n, s, (size_t)len);
            n += (size_t)len;
            if (what == 0) { /* gone */
                edits++;
                changed += (size_t)len;
                continue;
            }
            if (what == 1) { /* another before it */
                memcpy(fresh + m, "#!\n", 3);
                m += 3;
                edits++;
                changed += 3;
            }
            memcpy(fresh + m, s, (size_t)len);
            if (what == 2) { /* one letter */
                fresh[m + 2] = 'X';
                edits++;
                changed += 2;
            }
            m += (size_t)len;
        }
        struct built b = apply(CV_BYTES(old, n), CV_BYTES(fresh, m));

        CHECK(b.calls <= edits);
        CHECK(b.deleted + b.inserted <= changed + changed / 10);
    }
}

/* One command that changes every line must leave what it did not change: who
 * wrote it, and what others are writing there. */
TEST(a_change_of_every_line_keeps_the_lines)
{
    enum { LINES = 5000, GAINED = 4 };
    static char old[LINES * 64], fresh[LINES * 64];

    for (int way = 0; way < 4; way++) {
        size_t n = 0, m = 0, gone = 0, come = 0, calls = 0;
        struct built b;

        for (int line = 0; line < LINES; line++) {
            int blanks = line % 5;

            n += (size_t)sprintf(old + n, "%*sword %d, apple %d\n", blanks, "",
                                 line % 7, line);
            if (way == 3 && line % 500 == 250) { /* this one goes … */
                gone += (size_t)sprintf(fresh + m, "%*sword %d, apple %d\n",
                                        blanks, "", line % 7, line);
                calls++;
                continue;
            }
            if (way == 3 && line % 500 == 0) { /* … and one comes */
                size_t len = (size_t)sprintf(fresh + m, "another, %d\n", line);

                m += len;
                come += len;
                calls++;
            }
            switch (way) {
            case 0: /* another word of that length: one letter differs */
                m += (size_t)sprintf(fresh + m, "%*sword %d, ample %d\n",
                                     blanks, "", line % 7, line);
                gone++;
                come++;
                break;
            case 1: /* a longer line */
                m += (size_t)sprintf(fresh + m, "%*sword %d, apple %d;\n",
                                     blanks, "", line % 7, line);
                come++;
                break;
            default: /* indented */
                m += (size_t)sprintf(fresh + m, "%*sword %d, apple %d\n",
                                     blanks + GAINED, "", line % 7, line);
                come += GAINED;
            }
            calls++;
        }
        b = apply(CV_BYTES(old, n), CV_BYTES(fresh, m));
        CHECK(b.calls <= calls);
        CHECK(b.deleted <= gone + gone / 10);
        CHECK(b.inserted <= come + come / 10);
    }
}

static double milliseconds(struct cv_bytes a, struct cv_bytes b)
{
    struct timespec from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    (void)apply(a, b);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from.tv_sec) * 1e3 +
           (double)(to.tv_nsec - from.tv_nsec) / 1e6;
}

/* The bounds are wide, for sanitizers: what they catch is quadratic time. */
TEST(a_megabyte_takes_no_time)
{
    const size_t size = 1u << 20;
    uint8_t *a = malloc(size), *b = malloc(size);
    struct cv_rng_seeded state;
    const struct cv_rng rng = cv_rng_from_seed(&state, 3);
    double ms;

    CHECK(a && b);
    for (size_t i = 0; i < size; i++)
        a[i] = i % 40 == 39 ? '\n' : (uint8_t)('a' + cv_random_u64(&rng) % 26);
    memcpy(b, a, size);
    for (int i = 0; i < 200; i++)
        b[cv_random_u64(&rng) % size] = 'X';
    ms = milliseconds(CV_BYTES(a, size), CV_BYTES(b, size));
    print_message("200 letters of 1 MiB: %.1f ms\n", ms);
    CHECK(ms < 2000);

    /* Nothing in common, and only single letters in common. */
    for (size_t i = 0; i < size; i++)
        b[i] = i % 33 == 32 ? '\n' : (uint8_t)('a' + cv_random_u64(&rng) % 26);
    ms = milliseconds(CV_BYTES(a, size), CV_BYTES(b, size));
    print_message("1 MiB of other lines: %.1f ms\n", ms);
    CHECK(ms < 10000);

    for (size_t i = 0; i < size; i++) {
        a[i] = (uint8_t)(cv_random_u64(&rng) % 2 ? '\n' : 'a');
        b[i] = (uint8_t)(cv_random_u64(&rng) % 2 ? '\n' : 'a');
    }
    ms = milliseconds(CV_BYTES(a, size), CV_BYTES(b, size));
    print_message("1 MiB of short lines in disorder: %.1f ms\n", ms);
    CHECK(ms < 30000);
    free(a);
    free(b);
}

RUN_TESTS(T(small_cases_are_minimal), T(text_that_is_not_utf8_is_refused),
          T(random_texts_become_each_other), T(few_edits_give_few_changes),
          T(a_change_of_every_line_keeps_the_lines),
          T(a_megabyte_takes_no_time))
