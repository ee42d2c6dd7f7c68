/* OpenDHT (2.4) through its C bindings: runners, calls into it, its callbacks.
 * The only file that knows it. */
#include "discovery/dht_struct.h"

#include <opendht/opendht_c.h>

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_CALL CV_MINUTE /* a finished call, in case it is not */

/* --- in the library's threads --------------------------------------------- */

/* Take a value for a call; false when it wants no more. */
static bool take_value(struct call *call, const dht_value *value)
{
    const dht_data_view view = dht_value_get_data(value);
    bool more;

    pthread_mutex_lock(&call->box->lock);
    if (call->kind == GET) {
        call->values++;
        call->bytes += view.size;
    }
    if (!call->stopped && view.size <= CV_DHT_VALUE_MAX)
        cv_dht_box_put(call->box, call, VALUE, true,
                       CV_BYTES(view.data, view.size));
    if (call->values >= CV_DHT_GET_VALUES || call->bytes >= CV_DHT_GET_BYTES)
        call->stopped = true;
    more = !call->stopped;
    pthread_mutex_unlock(&call->box->lock);
    return more;
}

static bool on_get_value(const dht_value *value, void *user)
{
    return take_value(user, value);
}

static bool on_probe_value(const dht_value *value, void *user)
{
    (void)value;
    (void)user;
    return true;
}

static bool on_listen_value(const dht_value *value, bool expired, void *user)
{
    if (!expired)
        take_value(user, value);
    return true; /* it ends by cancel_listen only */
}

static void finish(struct call *call, enum message_kind kind, bool ok)
{
    struct mailbox *box = call->box;
    const struct cv_bytes none = {NULL, 0};

    pthread_mutex_lock(&box->lock);
    if (!call->finished) {
        call->finished = true;
        cv_dht_box_put(box, call, kind, ok, none);
    }
    pthread_mutex_unlock(&box->lock);
}

static void on_done(bool ok, void *user)
{
    finish(user, DONE, ok);
}

/* The last copy of a listener is gone. */
static void on_listen_end(void *user)
{
    finish(user, ENDED, true);
}

struct ending {
    pthread_mutex_t lock;
    pthread_cond_t open;
    bool done;
};

static void on_shutdown(void *user)
{
    struct ending *g = user;

    pthread_mutex_lock(&g->lock);
    g->done = true;
    pthread_cond_signal(&g->open);
    pthread_mutex_unlock(&g->lock);
}

/* --- runners -------------------------------------------------------------- */

dht_runner *cv_dht_runner_start(uint16_t port, bool lan, const char *persist)
{
    dht_runner_config config;
    dht_runner *r;
    sigset_t all, before;
    int err;

    dht_runner_config_default(&config);
    config.dht_config.node_config.persist_path = persist;
    config.peer_discovery = lan;
    config.peer_publish = lan;
    config.log = false; /* stdout is the editor's */
    config.threaded = true;
    r = dht_runner_new();
    if (r == NULL)
        return NULL;
    /* Its threads inherit the mask: signals are for the loop. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = dht_runner_run_config(r, port, &config);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0 && (dht_runner_get_bound_port(r, AF_INET) == port ||
                     dht_runner_get_bound_port(r, AF_INET6) == port))
        return r;
    dht_runner_delete(r);
    return NULL;
}

void cv_dht_runner_end(dht_runner *r, unsigned grace_ms)
{
    struct ending *g = calloc(1, sizeof(*g));
    struct timespec until;

    if (g != NULL) {
        pthread_condattr_t attr;

        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_mutex_init(&g->lock, NULL);
        pthread_cond_init(&g->open, &attr);
        pthread_condattr_destroy(&attr);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += grace_ms / 1000;
        until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        dht_runner_shutdown(r, on_shutdown, g);
        pthread_mutex_lock(&g->lock);
        while (!g->done &&
               pthread_cond_timedwait(&g->open, &g->lock, &until) == 0)
            continue;
        pthread_mutex_unlock(&g->lock);
    }
    dht_runner_delete(r);
    if (g != NULL) {
        pthread_cond_destroy(&g->open);
        pthread_mutex_destroy(&g->lock);
        free(g);
    }
}

/* --- calls ---------------------------------------------------------------- */

static dht_infohash hash_of(const struct cv_loc *loc)
{
    dht_infohash h;

    static_assert(sizeof(h.d) == CV_LOC_LEN, "the same 160 bits");
    memcpy(h.d, loc->b, sizeof(h.d));
    return h;
}

static struct call *call_new(struct dht *d, enum kind kind, uint64_t id,
                             const struct cv_loc *loc)
{
    struct call *c;

    if (d->runner == NULL || d->n_calls >= CALLS_MAX)
        return NULL;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->box = d->box;
    c->kind = kind;
    c->id = id;
    c->finished_at = CV_NEVER;
    if (loc != NULL)
        c->loc = *loc;
    c->next = d->calls;
    d->calls = c;
    d->n_calls++;
    return c;
}

static void call_free(struct call *c)
{
    if (c->value != NULL)
        dht_value_unref(c->value);
    if (c->listen != NULL)
        dht_op_token_delete(c->listen);
    free(c);
}

struct call *cv_dht_call_start(struct dht *d, enum kind kind, uint64_t id,
                               const struct cv_loc *loc, struct cv_bytes value)
{
    const dht_infohash h = hash_of(loc);
    struct call *c = call_new(d, kind, id, loc);

    if (c == NULL)
        return NULL;
    switch (kind) {
    case PUT:
        c->value = dht_value_new(value.data, value.len);
        dht_runner_put(d->runner, &h, c->value, on_done, c, false);
        break;
    case GET:
        dht_runner_get(d->runner, &h, on_get_value, on_done, c);
        break;
    case PROBE:
        dht_runner_get(d->runner, &h, on_probe_value, on_done, c);
        break;
    case LISTEN:
        c->listen =
            dht_runner_listen(d->runner, &h, on_listen_value, on_listen_end, c);
        break;
    case PING:
        assert(false); /* is not at a location */
    }
    return c;
}

void cv_dht_ping(struct dht *d, uint64_t boot, const struct cv_addr *addr)
{
    struct sockaddr_storage ss;
    const socklen_t len = cv_addr_to_sockaddr(addr, &ss);
    struct call *c = call_new(d, PING, boot, NULL);

    if (c != NULL)
        dht_runner_ping(d->runner, (struct sockaddr *)&ss, len, on_done, c);
}

void cv_dht_call_stop(struct dht *d, struct call *c)
{
    const dht_infohash h = hash_of(&c->loc);
    bool finished;

    pthread_mutex_lock(&c->box->lock);
    finished = c->finished;
    c->stopped = true;
    pthread_mutex_unlock(&c->box->lock);
    if (d->runner == NULL || finished)
        return;
    switch (c->kind) {
    case LISTEN:
        if (c->listen != NULL)
            dht_runner_cancel_listen(d->runner, &h, c->listen);
        return;
    case PUT: {
        /* The library makes the id when it starts; before, it is 0. */
        const dht_value_id id = dht_value_get_id(c->value);

        if (id != 0)
            dht_runner_cancel_put(d->runner, &h, id);
        return;
    }
    case GET:
    case PING:
    case PROBE:
        return; /* the next value ends it, or its done */
    }
}

void cv_dht_calls_sweep(struct dht *d, cv_time now, bool all)
{
    struct call **link = &d->calls;

    while (*link != NULL) {
        struct call *c = *link;

        if (!all &&
            (c->finished_at == CV_NEVER || now - c->finished_at < KEEP_CALL)) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        d->n_calls--;
        call_free(c);
    }
}
