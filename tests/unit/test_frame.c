#include "session/frame.h"

#include "tests/test.h"

struct got {
    unsigned n;
    size_t bytes;
    uint8_t first[8];
    int answer;
};

static int take(void *user, struct cv_bytes m)
{
    struct got *g = user;

    if (g->n < 8)
        g->first[g->n] = m.data[0];
    g->n++;
    g->bytes += m.len;
    return g->answer;
}

TEST(frames_come_out_as_they_went_in_however_they_are_cut)
{
    static uint8_t message[70000];
    struct cv_writer w;
    struct cv_frames f;
    const size_t size[] = {1, 2, 127, 128, 300, 16383, 16384, 70000};

    memset(message, 7, sizeof message);
    cv_writer_init_heap(&w, 1 << 20);
    for (unsigned i = 0; i < 8; i++) {
        message[0] = (uint8_t)i;
        CHECK_EQ(cv_put_frame(&w, (struct cv_bytes){message, size[i]}), CV_OK);
    }
    for (size_t cut = 1; cut < w.len; cut = cut * 3 + 1) {
        struct got g = {0};

        cv_frames_init(&f, 70000, CV_FRAME_NO_BUDGET);
        for (size_t at = 0; at < w.len; at += cut)
            CHECK_EQ(cv_frames_feed(
                         &f,
                         (struct cv_bytes){w.data + at,
                                           w.len - at < cut ? w.len - at : cut},
                         take, &g),
                     CV_OK);
        CHECK_EQ(g.n, 8);
        for (unsigned i = 0; i < 8; i++)
            CHECK_EQ(g.first[i], i);
        CHECK_EQ(g.bytes, 1 + 2 + 127 + 128 + 300 + 16383 + 16384 + 70000);
        CHECK(!cv_frames_partial(&f));
        cv_frames_fini(&f);
    }
    cv_writer_fini(&w);
}

TEST(a_frame_above_the_bound_is_refused_before_memory_is_taken)
{
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0x7f};
    struct got g = {0};
    struct cv_frames f;

    cv_frames_init(&f, 4096, CV_FRAME_NO_BUDGET);
    CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){huge, sizeof huge}, take, &g),
             CV_ERR_LIMIT);
    CHECK(f.data == NULL);
    cv_frames_fini(&f);
}

TEST(bad_lengths_are_malformed)
{
    static const uint8_t bad[][6] = {{0}, {0x80, 0x80, 0x80, 0x80, 0x80, 1}};
    struct got g = {0};
    struct cv_frames f;

    for (unsigned i = 0; i < 2; i++) {
        cv_frames_init(&f, 4096, CV_FRAME_NO_BUDGET);
        CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){bad[i], i == 0 ? 1 : 6},
                                take, &g),
                 CV_ERR_FORMAT);
        CHECK_EQ(g.n, 0);
        cv_frames_fini(&f);
    }
}

TEST(the_budget_counts_every_byte)
{
    const uint8_t two[] = {3, 'a', 'b', 'c', 3, 'd', 'e', 'f'};
    struct got g = {0};
    struct cv_frames f;

    cv_frames_init(&f, 100, 8);
    CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){two, 8}, take, &g), CV_OK);
    CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){two, 1}, take, &g),
             CV_ERR_LIMIT);
    cv_frames_fini(&f);
    cv_frames_init(&f, 100, 7);
    g.n = 0;
    CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){two, 8}, take, &g),
             CV_ERR_LIMIT);
    CHECK_EQ(g.n, 1);
    cv_frames_fini(&f);
}

TEST(an_error_of_the_reader_stops_the_feeding)
{
    const uint8_t two[] = {1, 'a', 1, 'b'};
    struct got g = {.answer = CV_ERR_PEER};
    struct cv_frames f;

    cv_frames_init(&f, 100, CV_FRAME_NO_BUDGET);
    CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){two, 4}, take, &g),
             CV_ERR_PEER);
    CHECK_EQ(g.n, 1);
    cv_frames_fini(&f);
}

TEST(memory_grows_only_with_what_has_come)
{
    const uint8_t start[] = {0xff, 0xff, 0x3f, 1, 2, 3}; /* 1 MiB announced */
    struct got g = {0};
    struct cv_frames f;

    cv_frames_init(&f, 1 << 20, CV_FRAME_NO_BUDGET);
    CHECK_EQ(cv_frames_feed(&f, (struct cv_bytes){start, 6}, take, &g), CV_OK);
    CHECK(cv_frames_partial(&f));
    CHECK(f.cap <= 4096);
    cv_frames_fini(&f);
}

RUN_TESTS(T(frames_come_out_as_they_went_in_however_they_are_cut),
          T(a_frame_above_the_bound_is_refused_before_memory_is_taken),
          T(bad_lengths_are_malformed), T(the_budget_counts_every_byte),
          T(an_error_of_the_reader_stops_the_feeding),
          T(memory_grows_only_with_what_has_come))
