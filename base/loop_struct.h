/* base/loop_struct.h - the inside of a loop, for its files:
 *
 *   loop.c         the loop, what is posted to it, timers, watches, signals
 *   loop_names.c   names that are resolved
 *   loop_worker.c  the thread for what blocks */
#ifndef CV_BASE_LOOP_STRUCT_H
#define CV_BASE_LOOP_STRUCT_H
#include <pthread.h>
#include <stdatomic.h>

#include "base/loop.h"

struct evdns_base;
struct event;
struct event_base;

/* A call that waits to be run in the loop's thread. */
struct cv_post {
    struct cv_post *next;
    cv_loop_fn fn;
    void *user;
    bool owned; /* the queue frees it */
};

struct cv_posts {
    struct cv_post *first;
    struct cv_post **end; /* where the next one is hung */
    size_t n;             /* that count against the limit */
};

struct cv_loop {
    struct event_base *base;
    struct event *wake;  /* on wake_fd */
    struct event *limit; /* ends cv_loop_once() */
    int wake_fd;
    atomic_bool stop;

    pthread_mutex_t lock; /* of what follows, up to the blank line */
    struct cv_posts posts;
    struct cv_job *jobs;
    struct cv_job **jobs_end;
    size_t jobs_n;
    struct cv_job *doing; /* by the worker */
    bool quit;            /* the worker ends once it has no jobs */
    pthread_cond_t jobs_wait;
    pthread_cond_t job_over;

    bool has_worker;
    pthread_t worker;

    /* Names are asked for rarely: evdns and its sockets exist only while
     * something is asked, and each time learn the system's servers afresh. */
    struct evdns_base *dns;
    unsigned dns_pending;
    struct event *dns_idle;
    struct cv_resolve *resolves; /* all, for cv_loop_free() */
};

/* --- loop.c --- */

/* With the lock held. */
void cv_loop_queue(struct cv_posts *q, struct cv_post *p);
/* Any thread. */
void cv_loop_wake(struct cv_loop *loop);

/* --- loop_names.c --- */

CV_MUST_USE int cv_loop_names_init(struct cv_loop *loop);
/* Forgets whatever is still being resolved. */
void cv_loop_names_fini(struct cv_loop *loop);

/* --- loop_worker.c --- */

/* Once it has done all of its jobs. */
void cv_loop_end_worker(struct cv_loop *loop);
#endif
