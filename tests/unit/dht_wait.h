/* tests/unit/dht_wait.h - run the loop of real nodes until something came. */
#ifndef CV_TESTS_DHT_WAIT_H
#define CV_TESTS_DHT_WAIT_H
#include "base/loop.h"
#include "discovery/dht.h"

/* Until *what reaches `n`, for at most `max`. */
static inline bool live_wait(struct cv_loop *loop, const unsigned *what,
                             unsigned n, cv_time max)
{
    const cv_time end = cv_loop_now(loop) + max;

    while (*what < n && cv_loop_now(loop) < end)
        cv_loop_once(loop, cv_loop_now(loop) + 20 * CV_MILLISECOND);
    return *what >= n;
}

static inline bool live_wait_state(struct cv_loop *loop,
                                   const struct cv_dht *dht,
                                   enum cv_dht_state state, cv_time max)
{
    const cv_time end = cv_loop_now(loop) + max;

    while (cv_dht_state(dht) != state && cv_loop_now(loop) < end)
        cv_loop_once(loop, cv_loop_now(loop) + 20 * CV_MILLISECOND);
    return cv_dht_state(dht) == state;
}
#endif
