/* tests/unit/full_disk.h - files that cannot grow, as on a full disk. */
#ifndef CV_TESTS_FULL_DISK_H
#define CV_TESTS_FULL_DISK_H
#include <signal.h>
#include <sys/resource.h>

#include "tests/test.h"

/* From here on no file grows beyond so many bytes; RLIM_INFINITY: as before. */
static inline void limit_files(rlim_t bytes)
{
    struct rlimit r;

    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &r) == 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &r) == 0);
}
#endif
