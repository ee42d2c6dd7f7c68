#include "base/bytes.h"
#include "tests/test.h"

static struct cv_reader reader(const void *data, size_t len)
{
    struct cv_reader r;

    cv_reader_init(&r, data, len);
    return r;
}

/* One of everything; what is read back must be what was written. */
static void put_all(struct cv_writer *w)
{
    cv_put_u8(w, 0xfe);
    cv_put_u16(w, 0x1234);
    cv_put_u32(w, 0x89abcdef);
    cv_put_u64(w, UINT64_C(0x0123456789abcdef));
    cv_put_varuint(w, CV_VARUINT_MAX);
    cv_put_varint(w, -(int64_t)CV_VARUINT_MAX);
    cv_put_raw(w, "abc", 3);
    cv_put_zeros(w, 2);
    cv_put_varbytes(w, "\xff\x00", 2);
    cv_put_varbytes(w, "\xc3\xa4", 2);
}

/* True if everything came back. */
static bool get_all(struct cv_reader *r)
{
    uint8_t raw[5];
    struct cv_bytes b, s;
    bool same = true;

    same &= cv_get_u8(r) == 0xfe;
    same &= cv_get_u16(r) == 0x1234;
    same &= cv_get_u32(r) == 0x89abcdef;
    same &= cv_get_u64(r) == UINT64_C(0x0123456789abcdef);
    same &= cv_get_varuint(r) == CV_VARUINT_MAX;
    same &= cv_get_varint(r) == -(int64_t)CV_VARUINT_MAX;
    cv_get_raw(r, raw, 5);
    same &= memcmp(raw, "abc\0\0", 5) == 0;
    b = cv_get_varbytes(r, 2);
    same &= b.len == 2 && memcmp(b.data, "\xff\x00", 2) == 0;
    s = cv_get_varstring(r, 2);
    same &= s.len == 2 && memcmp(s.data, "\xc3\xa4", 2) == 0;
    return same;
}

TEST(everything_comes_back)
{
    uint8_t storage[128];
    struct cv_writer w;
    struct cv_reader r;

    cv_writer_init(&w, storage, sizeof(storage));
    put_all(&w);
    CHECK_EQ(w.err, CV_OK);
    CHECK_EQ(w.len, 1 + 2 + 4 + 8 + 8 + 8 + 5 + 3 + 3);
    CHECK_MEM(storage, "\xfe\x12\x34\x89\xab\xcd\xef\x01\x23", 9);
    r = reader(storage, w.len);
    CHECK_EQ(cv_reader_left(&r), w.len);
    CHECK(get_all(&r));
    CHECK_EQ(cv_reader_end(&r), CV_OK);
}

TEST(every_truncation_fails_and_yields_zeros)
{
    uint8_t storage[128], raw[5];
    struct cv_writer w;

    cv_writer_init(&w, storage, sizeof(storage));
    put_all(&w);
    for (size_t len = 0; len < w.len; len++) {
        /* On the heap, so that a read past the end is seen. */
        uint8_t *copy = malloc(len + 1);
        struct cv_reader r;

        memcpy(copy, storage, len);
        copy = realloc(copy, len ? len : 1);
        r = reader(copy, len);
        CHECK(!get_all(&r));
        CHECK_EQ(r.err, CV_ERR_FORMAT);
        CHECK_EQ(cv_reader_end(&r), CV_ERR_FORMAT);
        CHECK_EQ(cv_reader_left(&r), 0);
        CHECK_EQ(cv_get_u8(&r), 0);
        CHECK_EQ(cv_get_u16(&r), 0);
        CHECK_EQ(cv_get_u32(&r), 0);
        CHECK_EQ(cv_get_u64(&r), 0);
        CHECK_EQ(cv_get_varuint(&r), 0);
        CHECK_EQ(cv_get_varint(&r), 0);
        CHECK_EQ(cv_get_bytes(&r, 0).len, 0);
        memset(raw, 7, sizeof(raw));
        cv_get_raw(&r, raw, sizeof(raw));
        CHECK_MEM(raw, "\0\0\0\0\0", 5);
        CHECK_EQ(cv_get_varstring(&r, 100).len, 0);
        free(copy);
    }
}

TEST(trailing_bytes_are_an_error_at_the_end)
{
    struct cv_reader r = reader("ab", 2);

    cv_get_u8(&r);
    CHECK_EQ(cv_reader_end(&r), CV_ERR_FORMAT);
    CHECK_EQ(r.err, CV_OK);
    cv_get_u8(&r);
    CHECK_EQ(cv_reader_end(&r), CV_OK);
    cv_reader_fail(&r);
    CHECK_EQ(cv_reader_end(&r), CV_ERR_FORMAT);
}

TEST(a_failure_from_outside_sticks)
{
    struct cv_reader r = reader("abc", 3);

    cv_reader_fail(&r);
    CHECK_EQ(cv_get_u8(&r), 0);
    CHECK_EQ(cv_get_bytes(&r, 1).len, 0);
    CHECK_EQ(cv_reader_left(&r), 0);
}

TEST(varuints_are_those_of_lib0)
{
    static const struct {
        uint64_t v;
        size_t len;
        const char *bytes;
    } cases[] = {
        {0, 1, "\x00"},
        {1, 1, "\x01"},
        {127, 1, "\x7f"},
        {128, 2, "\x80\x01"},
        {300, 2, "\xac\x02"},
        {16383, 2, "\xff\x7f"},
        {16384, 3, "\x80\x80\x01"},
        {UINT32_MAX, 5, "\xff\xff\xff\xff\x0f"},
        {UINT64_C(1) << 32, 5, "\x80\x80\x80\x80\x10"},
        {CV_VARUINT_MAX, 8, "\xff\xff\xff\xff\xff\xff\xff\x0f"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[16];
        struct cv_writer w;
        struct cv_reader r;

        cv_writer_init(&w, out, sizeof(out));
        CHECK_EQ(cv_put_varuint(&w, cases[i].v), CV_OK);
        CHECK_EQ(w.len, cases[i].len);
        CHECK_MEM(out, cases[i].bytes, cases[i].len);
        r = reader(out, w.len);
        CHECK_EQ(cv_get_varuint(&r), cases[i].v);
        CHECK_EQ(cv_reader_end(&r), CV_OK);
    }
}

TEST(varuints_have_limits)
{
    static const struct {
        size_t len;
        const char *bytes;
        int err;
        uint64_t v;
    } cases[] = {
        /* Longer than needed. */
        {2, "\x80\x00", CV_OK, 0},
        {8, "\x81\x80\x80\x80\x80\x80\x80\x00", CV_OK, 1},
        /* 2^53, and all bits. */
        {8, "\x80\x80\x80\x80\x80\x80\x80\x10", CV_ERR_FORMAT, 0},
        {8, "\xff\xff\xff\xff\xff\xff\xff\x7f", CV_ERR_FORMAT, 0},
        /* Nine bytes, even if the value is small. */
        {9, "\x81\x80\x80\x80\x80\x80\x80\x80\x00", CV_ERR_FORMAT, 0},
        {9, "\xff\xff\xff\xff\xff\xff\xff\xff\x01", CV_ERR_FORMAT, 0},
        /* No end. */
        {1, "\x80", CV_ERR_FORMAT, 0},
        {8, "\x80\x80\x80\x80\x80\x80\x80\x80", CV_ERR_FORMAT, 0},
        {0, "", CV_ERR_FORMAT, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_reader r = reader(cases[i].bytes, cases[i].len);

        CHECK_EQ(cv_get_varuint(&r), cases[i].v);
        CHECK_EQ(r.err, cases[i].err);
    }
}

TEST(varints_are_those_of_lib0)
{
    static const struct {
        int64_t v;
        size_t len;
        const char *bytes;
    } cases[] = {
        {0, 1, "\x00"},
        {1, 1, "\x01"},
        {-1, 1, "\x41"},
        {63, 1, "\x3f"},
        {-63, 1, "\x7f"},
        {64, 2, "\x80\x01"},
        {-64, 2, "\xc0\x01"},
        {8191, 2, "\xbf\x7f"},
        {8192, 3, "\x80\x80\x01"},
        {(int64_t)CV_VARUINT_MAX, 8, "\xbf\xff\xff\xff\xff\xff\xff\x1f"},
        {-(int64_t)CV_VARUINT_MAX, 8, "\xff\xff\xff\xff\xff\xff\xff\x1f"},
    };
    struct cv_reader r;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[16];
        struct cv_writer w;

        cv_writer_init(&w, out, sizeof(out));
        CHECK_EQ(cv_put_varint(&w, cases[i].v), CV_OK);
        CHECK_EQ(w.len, cases[i].len);
        CHECK_MEM(out, cases[i].bytes, cases[i].len);
        r = reader(out, w.len);
        CHECK_EQ(cv_get_varint(&r), cases[i].v);
        CHECK_EQ(cv_reader_end(&r), CV_OK);
    }
    /* 2^53, nine bytes, no end. */
    r = reader("\x80\x80\x80\x80\x80\x80\x80\x20", 8);
    CHECK_EQ(cv_get_varint(&r), 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("\x81\x80\x80\x80\x80\x80\x80\x80\x00", 9);
    CHECK_EQ(cv_get_varint(&r), 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("\xff\x80", 2);
    CHECK_EQ(cv_get_varint(&r), 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
}

TEST(lengths_are_checked_against_the_rest_and_the_maximum)
{
    struct cv_reader r = reader("\x03ghi", 4);
    struct cv_bytes b = cv_get_varbytes(&r, 3);

    CHECK_EQ(b.len, 3);
    CHECK_MEM(b.data, "ghi", 3);
    r = reader("\x03ghi", 4);
    CHECK_EQ(cv_get_varbytes(&r, 2).len, 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("\x04ghi", 4);
    CHECK_EQ(cv_get_varbytes(&r, 100).len, 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("\xff\xff\xff\xff\xff\xff\xff\x0fghi", 11);
    CHECK_EQ(cv_get_varbytes(&r, SIZE_MAX).len, 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("abc", 3);
    CHECK_EQ(cv_get_bytes(&r, SIZE_MAX).len, 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("\x01\xff", 2);
    CHECK_EQ(cv_get_varstring(&r, 9).len, 0);
    CHECK_EQ(r.err, CV_ERR_FORMAT);
    r = reader("\0", 1);
    CHECK_EQ(cv_get_varstring(&r, 9).len, 0);
    CHECK_EQ(cv_reader_end(&r), CV_OK);
}

TEST(nothing_can_be_read_and_written)
{
    struct cv_reader r = reader(NULL, 0);
    struct cv_writer w;

    CHECK_EQ(cv_reader_end(&r), CV_OK);
    CHECK_EQ(cv_get_bytes(&r, 0).len, 0);
    cv_get_raw(&r, NULL, 0);
    CHECK_EQ(cv_reader_end(&r), CV_OK);

    cv_writer_init(&w, NULL, 0);
    CHECK_EQ(cv_put_raw(&w, NULL, 0), CV_OK);
    CHECK_EQ(cv_put_zeros(&w, 0), CV_OK);
    CHECK(cv_put_space(&w, 0) != NULL);
    CHECK_EQ(cv_put_u8(&w, 1), CV_ERR_NOBUF);
    cv_writer_fini(&w);
}

TEST(a_full_writer_sticks_until_reset)
{
    uint8_t storage[5] = {9, 9, 9, 9, 9};
    struct cv_writer w;

    cv_writer_init(&w, storage, 4);
    CHECK_EQ(cv_put_u16(&w, 0x0102), CV_OK);
    CHECK_EQ(cv_put_u32(&w, 0x03040506), CV_ERR_NOBUF);
    CHECK_EQ(w.len, 2);
    CHECK_EQ(cv_put_u8(&w, 1), CV_ERR_NOBUF); /* it would fit */
    CHECK(cv_put_space(&w, 0) == NULL);
    CHECK_MEM(storage, "\x01\x02\x09\x09\x09", 5);
    cv_writer_reset(&w);
    CHECK_EQ(cv_put_u32(&w, 0x03040506), CV_OK);
    CHECK_MEM(storage, "\x03\x04\x05\x06\x09", 5);
    CHECK_EQ(cv_writer_bytes(&w).len, 4);
    cv_writer_fini(&w);
}

TEST(a_heap_writer_grows_to_its_maximum_and_no_further)
{
    struct cv_writer w;
    uint8_t *data;
    size_t len;

    cv_writer_init_heap(&w, 1000);
    data = cv_writer_take(&w, &len);
    CHECK(data == NULL && len == 0);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(cv_put_u8(&w, (uint8_t)i), CV_OK);
    CHECK_EQ(w.cap, 1000);
    CHECK_EQ(cv_put_u8(&w, 0), CV_ERR_NOBUF);
    CHECK_EQ(w.len, 1000);
    cv_writer_reset(&w);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(cv_put_u8(&w, (uint8_t)i), CV_OK);
    data = cv_writer_take(&w, &len);
    CHECK_EQ(len, 1000);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(data[i], (uint8_t)i);
    free(data);

    /* It can be used again, and one that failed hands over nothing. */
    CHECK_EQ(cv_put_raw(&w, "abc", 3), CV_OK);
    CHECK_EQ(cv_put_zeros(&w, 998), CV_ERR_NOBUF);
    data = cv_writer_take(&w, &len);
    CHECK(data == NULL && len == 0);
    CHECK_EQ(cv_put_zeros(&w, 999), CV_OK);
    CHECK(cv_put_space(&w, SIZE_MAX) == NULL);
    CHECK_EQ(w.err, CV_ERR_NOBUF);
    cv_writer_fini(&w);
    cv_writer_fini(&w);
}

TEST(utf8_is_that_of_rfc_3629)
{
    static const char *const good[] = {
        "",
        "plain",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "a\xe2\x82\xac z",
    };
    static const char *const bad[] = {
        "\x80",             /* continuation alone */
        "\xbf",             /* the same */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xc2",             /* cut */
        "\xc2\x41",         /* no continuation */
        "\xe0\x9f\xbf",     /* overlong */
        "\xe2\x82",         /* cut */
        "\xe2\x82\x41",     /* no continuation */
        "\xed\xa0\x80",     /* U+D800 */
        "\xed\xbf\xbf",     /* U+DFFF */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xf0\x9f\x98",     /* cut */
        "\xf4\x90\x80\x80", /* U+110000 */
        "\xf5\x80\x80\x80",
        "\xfe",
        "\xff",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(cv_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!cv_utf8_valid(bad[i], strlen(bad[i])));
    CHECK(cv_utf8_valid("a\0b", 3));
    CHECK(cv_utf8_valid(NULL, 0));
}

TEST(utf8_agrees_with_a_slow_decoder_on_all_short_strings)
{
    /* Every string of a lead byte and three more out of the bytes at which
     * a rule changes. */
    static const uint8_t edge[] = {0x00, 0x41, 0x7f, 0x80, 0x8f,
                                   0x90, 0x9f, 0xa0, 0xbf, 0xc0};
    const size_t n = sizeof(edge);

    for (unsigned lead = 0; lead < 256; lead++)
        for (size_t k = 0; k < n * n * n; k++) {
            uint8_t s[4] = {(uint8_t)lead, edge[k % n], edge[k / n % n],
                            edge[k / n / n]};
            size_t at = 0;
            bool valid = true;

            while (at < 4 && valid) {
                static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
                uint8_t b = s[at];
                size_t len = b < 0x80             ? 1
                             : (b & 0xe0) == 0xc0 ? 2
                             : (b & 0xf0) == 0xe0 ? 3
                             : (b & 0xf8) == 0xf0 ? 4
                                                  : 0;
                uint32_t c = len == 1 ? b : b & (0xffu >> (len + 1));

                valid = len > 0 && at + len <= 4;
                for (size_t i = 1; valid && i < len; i++) {
                    valid = (s[at + i] & 0xc0) == 0x80;
                    c = c << 6 | (s[at + i] & 0x3f);
                }
                valid = valid && c >= least[len] && c <= 0x10ffff &&
                        (c < 0xd800 || c > 0xdfff);
                at += len;
            }
            CHECK(cv_utf8_valid(s, 4) == valid);
        }
}

TEST(hex_comes_back_and_nothing_else_is_taken)
{
    char text[9];
    uint8_t out[4];

    cv_hex(text, "\x00\x9a\xbc\xff", 4);
    CHECK_STR(text, "009abcff");
    CHECK_EQ(cv_unhex(out, 4, "009ABcfF"), CV_OK);
    CHECK_MEM(out, "\x00\x9a\xbc\xff", 4);
    CHECK_EQ(cv_unhex(out, 4, "009abcf"), CV_ERR_FORMAT);
    CHECK_EQ(cv_unhex(out, 4, "009abcfff"), CV_ERR_FORMAT);
    CHECK_EQ(cv_unhex(out, 4, "009abcfg"), CV_ERR_FORMAT);
    CHECK_EQ(cv_unhex(out, 4, "009abc f"), CV_ERR_FORMAT);
    CHECK_EQ(cv_unhex(out, 4, ""), CV_ERR_FORMAT);
    cv_hex(text, NULL, 0);
    CHECK_STR(text, "");
}

RUN_TESTS(T(everything_comes_back), T(every_truncation_fails_and_yields_zeros),
          T(trailing_bytes_are_an_error_at_the_end),
          T(a_failure_from_outside_sticks), T(varuints_are_those_of_lib0),
          T(varuints_have_limits), T(varints_are_those_of_lib0),
          T(lengths_are_checked_against_the_rest_and_the_maximum),
          T(nothing_can_be_read_and_written),
          T(a_full_writer_sticks_until_reset),
          T(a_heap_writer_grows_to_its_maximum_and_no_further),
          T(utf8_is_that_of_rfc_3629),
          T(utf8_agrees_with_a_slow_decoder_on_all_short_strings),
          T(hex_comes_back_and_nothing_else_is_taken))
