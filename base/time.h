/* base/time.h - the two clocks: monotonic time for what waits, Unix time for
 * what is signed.  Protocol modules are handed both and read neither. */
#ifndef CV_BASE_TIME_H
#define CV_BASE_TIME_H
#include <stdint.h>

/* Nanoseconds of a monotonic clock; differences matter, the origin does not. */
typedef int64_t cv_time;

#define CV_MICROSECOND ((cv_time)1000)
#define CV_MILLISECOND (1000 * CV_MICROSECOND)
#define CV_SECOND      (1000 * CV_MILLISECOND)
#define CV_MINUTE      (60 * CV_SECOND)
#define CV_HOUR        (60 * CV_MINUTE)
#define CV_NEVER       INT64_MAX

/* Milliseconds since 1970, UTC; may jump. */
typedef uint64_t cv_unix_ms;

/* Read the real clocks; for carriers and programs only. */
cv_time cv_time_now(void);
cv_unix_ms cv_unix_now(void);
/* How long the machine has been suspended since it was started: the monotonic
 * clock stands still meanwhile. */
cv_time cv_time_suspended(void);

/* The earlier of two deadlines. */
static inline cv_time cv_time_min(cv_time a, cv_time b)
{
    return a < b ? a : b;
}
static inline cv_time cv_time_max(cv_time a, cv_time b)
{
    return a > b ? a : b;
}
#endif
