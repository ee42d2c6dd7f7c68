/* The whole: opening and closing it, and what is due. */
#include "discovery/dht_struct.h"

#include "base/crypto.h"
#include "discovery/neighbours.h"
#include "discovery/quicksend.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* --- time ----------------------------------------------------------------- */

void cv_dht_schedule(struct dht *d)
{
    /* Not more often than this, whatever the above says. */
    const cv_time soonest = cv_loop_now(d->loop) + 50 * CV_MILLISECOND;
    const cv_time t = cv_time_min(
        cv_dht_swap_deadline(d),
        cv_time_min(cv_dht_wants_deadline(d), cv_dht_search_deadline(d)));

    cv_timer_set(d->timer, t > soonest ? t : soonest);
}

void cv_dht_tell(struct dht *d)
{
    cv_dht_schedule(d);
    if (d->told == d->state)
        return;
    d->told = d->state;
    if (d->on_state != NULL)
        d->on_state(d->user, d->state);
}

static void tick(void *user)
{
    struct dht *d = user;
    struct mailbox *box = d->box;
    const cv_time now = cv_loop_now(d->loop);

    cv_dht_box_hold(box);
    cv_dht_calls_sweep(d, now, false);
    cv_dht_wants_step(d, now);
    cv_dht_search_step(d, now);
    cv_dht_swap_step(d, now);
    while (box->dht != NULL && cv_dht_want_expire(d, now))
        continue;
    if (box->dht != NULL)
        cv_dht_tell(d);
    cv_dht_box_leave(box);
}

/* --- the whole ------------------------------------------------------------ */

/* Two nodes with one file would have one node id: the second goes without. */
static int persist_begin(struct dht *d, const char *path)
{
    char name[4096];

    if (path == NULL)
        return CV_OK;
    if ((size_t)snprintf(name, sizeof(name), "%s.lock", path) >= sizeof(name))
        return CV_ERR_INVALID;
    d->persist_lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->persist_lock < 0 || flock(d->persist_lock, LOCK_EX | LOCK_NB) != 0) {
        cv_info(d->log, "dht: the node cache is in use, going without");
        return CV_OK;
    }
    d->persist = strdup(path);
    return d->persist != NULL ? CV_OK : CV_ERR_NOMEM;
}

static void dht_free(struct dht *d)
{
    struct mailbox *box = d->box;

    for (unsigned i = 0; i < d->n_boots; i++)
        cv_resolve_cancel(d->boots[i].resolve);
    cv_dht_wants_free(d);
    cv_dht_calls_sweep(d, 0, true);
    cv_timer_free(d->timer);
    if (d->persist_lock >= 0)
        close(d->persist_lock);
    cv_neighbours_close(d->neighbours);
    cv_quicksend_free(d->quick);
    free(d->folder);
    free(d->persist);
    free(d);
    if (box != NULL)
        cv_dht_box_close(box);
}

int cv_dht_open(struct cv_dht **out, const struct cv_dht_config *config)
{
    struct dht *d = calloc(1, sizeof(*d));
    cv_time now;
    int err;

    if (d == NULL)
        return CV_ERR_NOMEM;
    d->base.ops = &cv_dht_want_ops;
    d->loop = config->loop;
    d->log = config->log;
    d->lan = config->lan;
    d->on_state = config->state;
    d->user = config->user;
    d->persist_lock = -1;
    d->state = d->told = CV_DHT_CONNECTING;
    d->swap_interval = SWAP_AFTER;
    err = cv_dht_boots_add(d, config->bootstrap, config->n_bootstrap);
    if (err == CV_OK)
        err = persist_begin(d, config->persist_path);
    if (err == CV_OK)
        err = cv_timer_new(&d->timer, d->loop, tick, d);
    if (err != CV_OK)
        goto fail;
    err = CV_ERR_NOMEM;
    d->box = cv_dht_box_new(d->loop, d);
    if (d->box == NULL)
        goto fail;
    err = cv_dht_runner_first(d, config->port);
    if (err != CV_OK)
        goto fail;
    if (config->neighbours != NULL) {
        d->folder = strdup(config->neighbours);
        cv_dht_neighbours_join(d);
    }
    now = cv_loop_now(d->loop);
    d->started = d->runner_since = now;
    d->probe_at = now + PROBE_SEARCH;
    cv_random(&cv_rng_system, d->probe_loc.b, CV_LOC_LEN);
    if (cv_quicksend_new(&d->quick, d->loop, cv_dht_want_quick, d) != CV_OK)
        cv_debug(d->log, "dht: no socket for quick puts");
    cv_dht_boots_again(d);
    cv_timer_set(d->timer, now);
    *out = &d->base;
    return CV_OK;
fail:
    dht_free(d);
    return err;
}

void cv_dht_close(struct cv_dht *dht, unsigned grace_ms)
{
    struct dht *d = (struct dht *)dht;

    if (dht == NULL)
        return;
    if (d->swap != NULL) { /* a third of a second at most */
        pthread_join(d->swap->thread, NULL);
        d->runner = d->swap->fresh;
        free(d->swap);
    }
    if (d->runner != NULL)
        cv_dht_runner_end(d->runner, grace_ms);
    d->runner = NULL;
    dht_free(d);
}

enum cv_dht_state cv_dht_state(const struct cv_dht *dht)
{
    return ((const struct dht *)dht)->state;
}

uint16_t cv_dht_port(const struct cv_dht *dht)
{
    return ((const struct dht *)dht)->port;
}

void cv_dht_network_changed(struct cv_dht *dht)
{
    struct dht *d = (struct dht *)dht;
    const cv_time now = cv_loop_now(d->loop);

    d->swap_interval = SWAP_AFTER;
    d->probe_at = now;
    d->started = now;
    /* The nodes that we listen at would go on talking to where we were. */
    if (d->state == CV_DHT_DISCONNECTED)
        cv_dht_swap_begin(d, now);
    else
        d->moved = true;
    cv_dht_schedule(d);
}

void cv_dht_mapping_changed(struct cv_dht *dht)
{
    struct dht *d = (struct dht *)dht;

    cv_quicksend_moved(d->quick);
}
