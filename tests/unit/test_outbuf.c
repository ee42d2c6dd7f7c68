#include "base/outbuf.h"
#include "tests/test.h"

TEST(bytes_leave_in_the_order_they_came)
{
    struct cv_outbuf b = {0};
    uint8_t piece[700], next_in = 0, next_out = 0;

    for (unsigned round = 0; round < 200; round++) {
        struct cv_bytes waiting;
        size_t take;

        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = next_in++;
        CHECK_EQ(cv_outbuf_add(&b, piece, sizeof piece, SIZE_MAX), CV_OK);
        waiting = cv_outbuf_waiting(&b);
        take = round == 199 ? waiting.len : round * 37 % waiting.len;
        for (size_t i = 0; i < take; i++)
            CHECK_EQ(waiting.data[i], next_out++);
        cv_outbuf_sent(&b, take);
    }
    CHECK_EQ(cv_outbuf_waiting(&b).len, 0);
    CHECK_EQ(b.room, 0); /* nothing waits: no memory */
    cv_outbuf_fini(&b);
}

TEST(what_does_not_fit_is_not_taken_at_all)
{
    struct cv_outbuf b = {0};
    uint8_t piece[100] = {1};

    CHECK_EQ(cv_outbuf_add(&b, piece, 100, 150), CV_OK);
    CHECK_EQ(cv_outbuf_add(&b, piece, 51, 150), CV_ERR_AGAIN);
    CHECK_EQ(cv_outbuf_waiting(&b).len, 100);
    CHECK_EQ(cv_outbuf_add(&b, piece, 50, 150), CV_OK);
    cv_outbuf_sent(&b, 149);
    CHECK_EQ(cv_outbuf_add(&b, piece, 100, 150), CV_OK);
    CHECK_EQ(cv_outbuf_waiting(&b).len, 101);
    cv_outbuf_fini(&b);
}

TEST(its_memory_does_not_grow_with_what_has_passed)
{
    struct cv_outbuf b = {0};
    uint8_t piece[1000] = {0};

    CHECK_EQ(cv_outbuf_add(&b, piece, 1000, 5000), CV_OK);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK_EQ(cv_outbuf_add(&b, piece, 1000, 5000), CV_OK);
        cv_outbuf_sent(&b, 1000);
    }
    CHECK(b.room <= 4096);
    cv_outbuf_fini(&b);
}

RUN_TESTS(T(bytes_leave_in_the_order_they_came),
          T(what_does_not_fit_is_not_taken_at_all),
          T(its_memory_does_not_grow_with_what_has_passed))
