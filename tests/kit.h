/* tests/kit.h - what tests with a loop and with keys share. */
#ifndef CV_TESTS_KIT_H
#define CV_TESTS_KIT_H
#include "base/key.h"
#include "base/loop.h"
#include "tests/test.h"

/* Run the test's `loop` until `cond` or for `limit`.  Of what happens outside
 * the loop nobody tells it, so it looks every 5 ms. */
#define WAIT(cond, limit)                                                      \
    do {                                                                       \
        cv_time until_ = cv_time_now() + (limit);                              \
        while (!(cond) && cv_time_now() < until_)                              \
            cv_loop_once(loop, cv_time_now() + 5 * CV_MILLISECOND);            \
    } while (0)

/* The same key for the same seed. */
static inline struct cv_keypair key_of(uint8_t seed)
{
    struct cv_keypair k;
    uint8_t raw[CV_KEY_LEN];

    memset(raw, seed, sizeof raw);
    REQUIRE(cv_keypair_from_seed(&k, raw) == CV_OK);
    return k;
}
#endif
