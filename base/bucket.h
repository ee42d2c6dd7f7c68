/* base/bucket.h - a token bucket: so many a second, so many at once. */
#ifndef CV_BASE_BUCKET_H
#define CV_BASE_BUCKET_H
#include "base/time.h"
#include <stdbool.h>

struct cv_bucket {
    unsigned rate;  /* tokens a second, > 0 */
    unsigned burst; /* tokens it holds */
    unsigned tokens;
    cv_time filled; /* when a token was last added */
};

static inline void cv_bucket_init(struct cv_bucket *b, unsigned rate,
                                  unsigned burst)
{
    *b = (struct cv_bucket){.rate = rate, .burst = burst, .tokens = burst};
}

/* n tokens at once, or none. */
static inline bool cv_bucket_take_many(struct cv_bucket *b, unsigned n,
                                       cv_time now)
{
    const cv_time each = CV_SECOND / b->rate;

    if (now > b->filled) {
        const cv_time due = (now - b->filled) / each;

        if (due >= (cv_time)(b->burst - b->tokens)) {
            b->tokens = b->burst;
            b->filled = now;
        } else {
            b->tokens += (unsigned)due;
            b->filled += due * each;
        }
    }
    if (b->tokens < n)
        return false;
    b->tokens -= n;
    return true;
}

static inline bool cv_bucket_take(struct cv_bucket *b, cv_time now)
{
    return cv_bucket_take_many(b, 1, now);
}

/* Tokens that were taken and not needed. */
static inline void cv_bucket_give_back(struct cv_bucket *b, unsigned n)
{
    b->tokens = n < b->burst - b->tokens ? b->tokens + n : b->burst;
}
#endif
