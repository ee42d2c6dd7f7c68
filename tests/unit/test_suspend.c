/* Waking up is a change of network.  No machine can be put to sleep for a test,
 * so the two things by which the kernel tells of it are ours: the timer that
 * ends when the clock is set, and how long the machine has slept. */
#include "tests/kit.h"
#include "transport/net.h"
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static struct cv_loop *loop;
static cv_time slept;
static int clock_set = -1; /* an eventfd in the place of the timer */
static unsigned changes;

int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *to,
                           struct itimerspec *was);
cv_time __wrap_cv_time_suspended(void);

int __wrap_timerfd_create(int clock, int flags)
{
    (void)flags;
    REQUIRE(clock == CLOCK_REALTIME);
    clock_set = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return clock_set;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *to,
                           struct itimerspec *was)
{
    (void)to;
    (void)was;
    REQUIRE(fd == clock_set);
    REQUIRE(flags & TFD_TIMER_CANCEL_ON_SET);
    return 0;
}

cv_time __wrap_cv_time_suspended(void)
{
    return slept;
}

static void on_changed(void *user)
{
    (void)user;
    changes++;
}

static void on_candidates(void *user, const struct cv_candidates *own)
{
    (void)user;
    (void)own;
}

/* The clock was set, as it is when the machine wakes, after a sleep of
 * `length`. */
static bool set_clock(cv_time length)
{
    uint64_t one = 1;

    slept += length;
    return write(clock_set, &one, sizeof one) == sizeof one;
}

TEST(waking_up_is_a_change_of_network)
{
    static const struct cv_net_events events = {.candidates = on_candidates,
                                                .network_changed = on_changed};
    struct cv_keypair key = key_of(1);
    struct cv_net_config config = {
        .loop = NULL, .rng = &cv_rng_system, .node = &key};
    struct cv_net *net;
    unsigned before;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    config.loop = loop;
    REQUIRE(cv_net_new(&net, &config, &events, NULL) == CV_OK);
    for (unsigned nights = 1; nights <= 3; nights++) {
        before = changes;
        CHECK(set_clock(8 * 60 * CV_MINUTE));
        WAIT(changes > before, 5 * CV_SECOND);
        CHECK_EQ(changes, before + 1);
        WAIT(false, 1500 * CV_MILLISECOND); /* it looks once more */
        CHECK_EQ(changes, before + 1);
    }

    /* Somebody set the clock, and a nod of a second. */
    before = changes;
    CHECK(set_clock(0));
    CHECK(set_clock(CV_SECOND));
    WAIT(changes > before, 300 * CV_MILLISECOND);
    CHECK_EQ(changes, before);
    cv_net_free(net);
    cv_loop_free(loop);
}

RUN_TESTS(T(waking_up_is_a_change_of_network))
