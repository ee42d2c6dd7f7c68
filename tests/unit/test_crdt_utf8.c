#include "crdt/utf8.h"

#include "base/bytes.h"
#include "tests/unit/crdt_util.h"
#include <stdlib.h>

#define MOST 700

struct sample {
    uint8_t text[MOST + CV_UTF8_PAD];
    size_t len;
    size_t units, newlines; /* counted while it was made */
};

/* Valid text of at most `most` bytes, of which one in `wide` is not ASCII. */
static void make(struct sample *s, size_t most, uint32_t wide, uint64_t *seed)
{
    static const char *const chars[] = {"\xc2\x80", "\xdf\xbf", "\xe2\x82\xac",
                                        "\xef\xbf\xbd", "\xf0\x9f\x98\x80"};

    memset(s, 0, sizeof(*s));
    /* What lies behind the text is not to count. */
    memset(s->text, '\n', sizeof(s->text));
    while (s->len < most) {
        const char *c = below(seed, 9) > 0 ? "x" : "\n";

        if (below(seed, wide) == 0)
            c = chars[below(seed, 5)];
        if (s->len + strlen(c) > most)
            return;
        memcpy(s->text + s->len, c, strlen(c));
        s->len += strlen(c);
        s->units += strlen(c) == 4 ? 2 : 1;
        s->newlines += *c == '\n';
    }
}

static bool is_ascii(const struct sample *s)
{
    for (size_t i = 0; i < s->len; i++) {
        if (s->text[i] >= 0x80)
            return false;
    }
    return true;
}

TEST(text_is_weighed_in_every_way_alike)
{
    static struct sample s;
    uint64_t seed = 1;

    for (uint32_t run = 0; run < 30000; run++) {
        struct cv_text t = {.data = s.text};
        size_t units = 0;

        make(&s, below(&seed, run % 16 == 0 ? MOST : 40),
             run % 3 == 0   ? 4
             : run % 3 == 1 ? 60
                            : 100000,
             &seed);
        t.len = s.len;
        REQUIRE(cv_text_measure(&t));
        CHECK_EQ(t.units, s.units);
        CHECK_EQ(t.newlines, s.newlines);
        CHECK(cv_utf8_measure(s.text, s.len, &units));
        CHECK_EQ(units, s.units);
        CHECK_EQ(cv_utf8_units(s.text, s.len), s.units);
        CHECK_EQ(cv_utf8_newlines(s.text, s.len), s.newlines);
        CHECK_EQ(cv_utf8_newlines_padded(s.text, s.len), s.newlines);
        memset(s.text + s.len, 0xff, CV_UTF8_PAD);
        if (s.len <= CV_UTF8_PAD)
            CHECK_EQ(cv_utf8_short_ascii(s.text, s.len), is_ascii(&s));
    }
}

TEST(text_is_copied_and_nothing_behind_it_is_read)
{
    static struct sample s;
    uint8_t to[MOST + CV_UTF8_PAD + 1];
    uint64_t seed = 3;

    for (uint32_t run = 0; run < 3000; run++) {
        struct cv_text t;
        uint8_t *alone;

        make(&s, 1 + below(&seed, run % 16 == 0 ? MOST - 1 : 40), 100000,
             &seed);
        alone = malloc(s.len); /* a sanitizer knows where it ends */
        REQUIRE(alone != NULL);
        memcpy(alone, s.text, s.len);
        t = (struct cv_text){.data = alone, .len = s.len};
        CHECK(cv_text_measure(&t));
        CHECK_EQ(t.newlines, s.newlines);
        memset(to, 0xee, sizeof(to));
        cv_utf8_copy_padded(to, alone, s.len);
        CHECK(memcmp(to, alone, s.len) == 0);
        CHECK(to[s.len + CV_UTF8_PAD] == 0xee);
        memset(to, 0xee, sizeof(to));
        cv_utf8_copy_block(to, s.text, s.len);
        CHECK(memcmp(to, alone, s.len) == 0);
        CHECK(to[s.len + CV_UTF8_PAD] == 0xee);
        free(alone);
    }
}

TEST(what_is_not_utf8_is_refused)
{
    static struct sample s;
    uint64_t seed = 2;

    for (uint32_t run = 0; run < 30000; run++) {
        struct cv_text t = {.data = s.text};
        size_t units;
        bool valid;

        make(&s, 1 + below(&seed, run % 16 == 0 ? MOST - 1 : 40),
             run % 2 == 0 ? 4 : 100000, &seed);
        t.len = s.len;
        if (s.len == 0)
            continue;
        s.text[below(&seed, (uint32_t)s.len)] = (uint8_t)below(&seed, 256);
        valid = cv_utf8_valid(s.text, s.len);
        CHECK(cv_text_measure(&t) == valid);
        CHECK(cv_utf8_measure(s.text, s.len, &units) == valid);
        CHECK(!valid || t.units == units);
    }
}

RUN_TESTS(T(text_is_weighed_in_every_way_alike),
          T(text_is_copied_and_nothing_behind_it_is_read),
          T(what_is_not_utf8_is_refused))
