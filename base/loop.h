/* base/loop.h - the event loop: libevent behind a small interface.
 *
 * One thread runs the loop.  Everything here belongs to that thread except
 * cv_loop_post() and cv_loop_stop(), which any thread may call. */
#ifndef CV_BASE_LOOP_H
#define CV_BASE_LOOP_H
#include "base/addr.h"
#include "base/err.h"
#include "base/time.h"

struct cv_loop;

CV_MUST_USE int cv_loop_new(struct cv_loop **out);
/* Timers may be some milliseconds late, which saves a system call at every
 * turn: for servers. */
CV_MUST_USE int cv_loop_new_coarse(struct cv_loop **out);
/* Runs what was posted and not yet run, and first all work that was given, so
 * that nothing leaks.  Timers, watches and signals are freed by their owners
 * before; a name that is still being resolved is forgotten without a call. */
void cv_loop_free(struct cv_loop *loop);
/* Until cv_loop_stop(). */
void cv_loop_run(struct cv_loop *loop);
/* Handle what is ready, wait at most until `deadline`; for tests. */
void cv_loop_once(struct cv_loop *loop, cv_time deadline);
void cv_loop_stop(struct cv_loop *loop);
/* Monotonic time, read afresh. */
cv_time cv_loop_now(const struct cv_loop *loop);

typedef void (*cv_loop_fn)(void *user);
/* Run fn(user) in the loop's thread, soon, in order.  From any thread.
 * CV_ERR_NOMEM, or CV_ERR_LIMIT when 65,536 calls wait. */
CV_MUST_USE int cv_loop_post(struct cv_loop *loop, cv_loop_fn fn, void *user);

struct cv_timer;
CV_MUST_USE int cv_timer_new(struct cv_timer **out, struct cv_loop *loop,
                             cv_loop_fn fn, void *user);
/* One shot at `deadline` (past: as soon as possible; CV_NEVER: off). */
void cv_timer_set(struct cv_timer *timer, cv_time deadline);
void cv_timer_free(struct cv_timer *timer);

#define CV_WATCH_READ  1u
#define CV_WATCH_WRITE 2u
struct cv_watch;
typedef void (*cv_watch_fn)(void *user, unsigned ready);
/* Level-triggered; starts with `what`.  Files are always ready.  CV_ERR_IO for
 * what cannot be watched. */
CV_MUST_USE int cv_watch_new(struct cv_watch **out, struct cv_loop *loop,
                             int fd, unsigned what, cv_watch_fn fn, void *user);
void cv_watch_set(struct cv_watch *watch, unsigned what);
void cv_watch_free(struct cv_watch *watch); /* does not close the fd */

struct cv_signal;
CV_MUST_USE int cv_signal_new(struct cv_signal **out, struct cv_loop *loop,
                              int signal_number, cv_loop_fn fn, void *user);
void cv_signal_free(struct cv_signal *s);

/* Resolve a name (evdns; literals answer without it).  Calls back once, from
 * the loop and within 10 s, with addrs[n], n == 0 and an error on failure
 * (NOTFOUND, TIMEOUT, NONET); then the handle is gone.  Cancel to be spared
 * the call. */
struct cv_resolve;
typedef void (*cv_resolve_fn)(void *user, int err, const struct cv_addr *addrs,
                              unsigned n);
CV_MUST_USE int cv_resolve_new(struct cv_resolve **out, struct cv_loop *loop,
                               const char *host, uint16_t port,
                               cv_resolve_fn fn, void *user);
void cv_resolve_cancel(struct cv_resolve *r);

/* Run work(user) on the one worker thread, then done(user) in the loop's.
 * For libraries that block. */
CV_MUST_USE int cv_loop_work(struct cv_loop *loop, cv_loop_fn work,
                             cv_loop_fn done, void *user);
/* Have the work that was given with `user` behind us: what has not begun is
 * run in this thread, what has is waited for.  done(user) comes as ever. */
void cv_loop_work_now(struct cv_loop *loop, const void *user);
#endif
