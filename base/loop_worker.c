#include "base/loop_struct.h"

#include <signal.h>
#include <stdlib.h>

/* Jobs that may wait at a time. */
#define JOBS_MAX 65536

struct cv_job {
    struct cv_job *next;
    struct cv_post post; /* brings it back to the loop */
    cv_loop_fn work;
    cv_loop_fn done;
    void *user;
};

static void finish_job(void *user)
{
    struct cv_job *job = user;
    cv_loop_fn done = job->done;
    void *done_user = job->user;

    free(job);
    done(done_user);
}

/* Take a job out of the queue.  With the lock. */
static struct cv_job *take_job(struct cv_loop *loop, struct cv_job **at)
{
    struct cv_job *job = *at;

    *at = job->next;
    if (!*at)
        loop->jobs_end = at;
    loop->jobs_n--;
    return job;
}

/* Do it, without the lock meanwhile, and tell the loop. */
static void do_job(struct cv_loop *loop, struct cv_job *job)
{
    pthread_mutex_unlock(&loop->lock);
    job->work(job->user);
    pthread_mutex_lock(&loop->lock);
    /* Not counted: what was begun is also reported. */
    job->post = (struct cv_post){.fn = finish_job, .user = job};
    cv_loop_queue(&loop->posts, &job->post);
    cv_loop_wake(loop);
}

static void *run_worker(void *user)
{
    struct cv_loop *loop = user;

    pthread_mutex_lock(&loop->lock);
    for (;;) {
        if (!loop->jobs && loop->quit)
            break;
        if (!loop->jobs) {
            pthread_cond_wait(&loop->jobs_wait, &loop->lock);
            continue;
        }
        loop->doing = take_job(loop, &loop->jobs);
        do_job(loop, loop->doing);
        loop->doing = NULL;
        pthread_cond_broadcast(&loop->job_over);
    }
    pthread_mutex_unlock(&loop->lock);
    return NULL;
}

static int start_worker(struct cv_loop *loop)
{
    sigset_t all, before;
    int rc;

    if (loop->has_worker)
        return CV_OK;
    /* Signals are for the loop's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&loop->worker, NULL, run_worker, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return CV_ERR_NOMEM;
    loop->has_worker = true;
    return CV_OK;
}

void cv_loop_end_worker(struct cv_loop *loop)
{
    if (!loop->has_worker)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->quit = true;
    pthread_cond_signal(&loop->jobs_wait);
    pthread_mutex_unlock(&loop->lock);
    pthread_join(loop->worker, NULL);
}

int cv_loop_work(struct cv_loop *loop, cv_loop_fn work, cv_loop_fn done,
                 void *user)
{
    struct cv_job *job;
    bool fits;
    int err;

    err = start_worker(loop);
    if (err != CV_OK)
        return err;
    job = malloc(sizeof(*job));
    if (!job)
        return CV_ERR_NOMEM;
    *job = (struct cv_job){.work = work, .done = done, .user = user};
    pthread_mutex_lock(&loop->lock);
    fits = loop->jobs_n < JOBS_MAX;
    if (fits) {
        *loop->jobs_end = job;
        loop->jobs_end = &job->next;
        loop->jobs_n++;
        pthread_cond_signal(&loop->jobs_wait);
    }
    pthread_mutex_unlock(&loop->lock);
    if (!fits) {
        free(job);
        return CV_ERR_LIMIT;
    }
    return CV_OK;
}

void cv_loop_work_now(struct cv_loop *loop, const void *user)
{
    struct cv_job **at;

    pthread_mutex_lock(&loop->lock);
    for (at = &loop->jobs; *at; at = &(*at)->next)
        if ((*at)->user == user)
            break;
    if (*at)
        do_job(loop, take_job(loop, at));
    /* The job itself is the loop's to free, which is us. */
    while (loop->doing && loop->doing->user == user)
        pthread_cond_wait(&loop->job_over, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
}
