/* cli/probe.h - what the probes share: a socket to one address, of which
 * something is awaited until a time. */
#ifndef CV_CLI_PROBE_H
#define CV_CLI_PROBE_H
#include <stdbool.h>

#include "base/loop.h"

/* Zeroed before cv_probe_open(). */
struct cv_probe {
    struct cv_loop *loop;
    int fd;
    struct cv_watch *watch;
    struct cv_timer *timer;
    bool over;
    bool open;
};

/* Connect a new socket (SOCK_STREAM: that is under way then) and watch it for
 * `ready`; `on_timer` when the probe's timer is due, which is not set yet.
 * Both callbacks get `user`.  CV_ERR_* of the socket, CV_ERR_NOMEM; in any
 * case close it. */
CV_MUST_USE int cv_probe_open(struct cv_probe *p, struct cv_loop *loop,
                              const struct cv_addr *to, int type,
                              unsigned ready,
                              void (*on_ready)(void *user, unsigned ready),
                              void (*on_timer)(void *user), void *user);
/* Nothing is awaited any more.  False if that was so before. */
bool cv_probe_stop(struct cv_probe *p);
void cv_probe_close(struct cv_probe *p);
#endif
