#include "tests/test.h"

#include "base/crypto.h"
#include "cli/delta.h"
#include "cli/textbuf.h"

static struct cv_rng_seeded state;
static struct cv_rng rng;

static size_t below(size_t n)
{
    return n ? (size_t)(cv_random_u64(&rng) % n) : 0;
}

static int splice(void *user, size_t at, size_t deleted, struct cv_bytes text)
{
    return cv_textbuf_splice(user, at, deleted, text);
}

/* A random delta of a text of `len` bytes. */
static void random_delta(struct cv_delta *d, size_t len, char letter)
{
    char text[4];

    memset(text, letter, sizeof(text));
    cv_delta_clear(d);
    while (len) {
        size_t n = 1 + below(len);

        switch (below(3)) {
        case 0:
            REQUIRE(cv_delta_keep(d, n) == CV_OK);
            len -= n;
            break;
        case 1:
            REQUIRE(cv_delta_delete(d, n) == CV_OK);
            len -= n;
            break;
        default:
            REQUIRE(cv_delta_insert(d, CV_BYTES(text, 1 + below(4))) == CV_OK);
        }
    }
    if (below(2))
        REQUIRE(cv_delta_insert(d, CV_BYTES(text, 1)) == CV_OK);
}

TEST(two_changes_pass_each_other_to_the_same_text)
{
    static const char start[] = "abcdefghijklmnop";
    uint64_t seed = cv_random_u64(&cv_rng_system);

    rng = cv_rng_from_seed(&state, seed);
    for (int i = 0; i < 20000; i++) {
        size_t len = below(sizeof(start));
        struct cv_delta a, b, a2, b2;
        struct cv_textbuf x, y;
        bool a_first = below(2);

        cv_delta_init(&a), cv_delta_init(&b);
        cv_delta_init(&a2), cv_delta_init(&b2);
        cv_textbuf_init(&x), cv_textbuf_init(&y);
        random_delta(&a, len, 'A');
        random_delta(&b, len, 'B');
        CHECK_EQ(cv_delta_over(&a2, &a, &b, a_first), CV_OK);
        CHECK_EQ(cv_delta_over(&b2, &b, &a, !a_first), CV_OK);
        CHECK_EQ(cv_textbuf_splice(&x, 0, 0, CV_BYTES(start, len)), CV_OK);
        CHECK_EQ(cv_textbuf_splice(&y, 0, 0, CV_BYTES(start, len)), CV_OK);
        CHECK_EQ(cv_delta_splices(&a, splice, &x), CV_OK);
        CHECK_EQ(cv_delta_splices(&b2, splice, &x), CV_OK);
        CHECK_EQ(cv_delta_splices(&b, splice, &y), CV_OK);
        CHECK_EQ(cv_delta_splices(&a2, splice, &y), CV_OK);
        if (x.len != y.len || (x.len && memcmp(x.data, y.data, x.len) != 0))
            print_error("seed %llu, round %d\n", (unsigned long long)seed, i);
        CHECK_EQ(x.len, y.len);
        if (x.len)
            CHECK_MEM(x.data, y.data, x.len);
        cv_delta_fini(&a), cv_delta_fini(&b);
        cv_delta_fini(&a2), cv_delta_fini(&b2);
        cv_textbuf_fini(&x), cv_textbuf_fini(&y);
    }
}

TEST(all_of_a_change_is_one_replacement)
{
    static const char start[] = "abcdefghijklmnop";

    rng = cv_rng_from_seed(&state, cv_random_u64(&cv_rng_system));
    for (int i = 0; i < 20000; i++) {
        size_t len = below(sizeof(start)), at, deleted;
        struct cv_textbuf x, y;
        struct cv_delta d;
        struct cv_writer now;

        cv_delta_init(&d);
        cv_textbuf_init(&x), cv_textbuf_init(&y);
        cv_writer_init_heap(&now, 1 << 16);
        REQUIRE(cv_textbuf_splice(&x, 0, 0, CV_BYTES(start, len)) == CV_OK);
        REQUIRE(cv_textbuf_splice(&y, 0, 0, CV_BYTES(start, len)) == CV_OK);
        random_delta(&d, len, 'X');
        REQUIRE(cv_delta_splices(&d, splice, &x) == CV_OK);
        CHECK_EQ(cv_delta_span(&d, y.data, &at, &deleted, &now), CV_OK);
        CHECK_EQ(cv_textbuf_splice(&y, at, deleted, cv_writer_bytes(&now)),
                 CV_OK);
        CHECK_EQ(x.len, y.len);
        CHECK(!memcmp(x.data, y.data, x.len));
        cv_writer_fini(&now);
        cv_textbuf_fini(&x), cv_textbuf_fini(&y);
        cv_delta_fini(&d);
    }
}

TEST(positions_follow_the_text)
{
    struct cv_delta d;

    cv_delta_init(&d); /* keep 2, delete 3, insert 4, keep the rest */
    CHECK_EQ(cv_delta_keep(&d, 2), CV_OK);
    CHECK_EQ(cv_delta_delete(&d, 3), CV_OK);
    CHECK_EQ(cv_delta_insert(&d, CV_LITERAL("four")), CV_OK);
    CHECK_EQ(cv_delta_position(&d, 1), 1);
    CHECK_EQ(cv_delta_position(&d, 2), 2);
    CHECK_EQ(cv_delta_position(&d, 4), 2);
    CHECK_EQ(cv_delta_position(&d, 5), 2);
    CHECK_EQ(cv_delta_position(&d, 6), 7);
    cv_delta_fini(&d);
}

TEST(lines_are_found_from_everywhere)
{
    struct cv_textbuf t;
    size_t line, column, starts[4000], n = 0;
    uint64_t seed = cv_random_u64(&cv_rng_system);

    rng = cv_rng_from_seed(&state, seed);
    cv_textbuf_init(&t);
    for (int i = 0; i < 3000; i++) {
        size_t at = below(t.len + 1);
        size_t deleted = below(3) ? 0 : below(t.len - at < 9 ? t.len - at : 9);

        CHECK_EQ(cv_textbuf_splice(&t, at, deleted,
                                   below(2) ? CV_LITERAL("xy\nz")
                                            : CV_LITERAL("abc")),
                 CV_OK);
        if (i % 100)
            continue;
        for (starts[0] = 0, n = 1, at = 0; at < t.len; at++)
            if (t.data[at] == '\n')
                starts[n++] = at + 1;
        CHECK_EQ(t.newlines, n - 1);
        for (int k = 0; k < 50; k++) {
            size_t want = below(n);

            CHECK_EQ(cv_textbuf_line_start(&t, want), starts[want]);
            at = below(t.len + 1);
            cv_textbuf_locate(&t, at, &line, &column);
            CHECK_EQ(starts[line] + column, at);
            CHECK(line + 1 == n || starts[line + 1] > at);
        }
    }
    cv_textbuf_fini(&t);
}

RUN_TESTS(T(two_changes_pass_each_other_to_the_same_text),
          T(all_of_a_change_is_one_replacement), T(positions_follow_the_text),
          T(lines_are_found_from_everywhere))
