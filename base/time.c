#include "base/time.h"

#include <time.h>

static cv_time read_clock(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (cv_time)ts.tv_sec * CV_SECOND + ts.tv_nsec;
}

cv_time cv_time_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

cv_unix_ms cv_unix_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (ts.tv_sec < 0)
        return 0;
    return (cv_unix_ms)ts.tv_sec * 1000 + (cv_unix_ms)ts.tv_nsec / 1000000;
}

cv_time cv_time_suspended(void)
{
    return read_clock(CLOCK_BOOTTIME) - read_clock(CLOCK_MONOTONIC);
}
