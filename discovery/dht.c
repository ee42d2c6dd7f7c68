/* OpenDHT (2.4) through its C bindings.
 *
 * What the library does not tell, and what follows from it:
 *   - Its callbacks run in its own thread and there is no status: they only
 *     put a message into the mailbox, which the loop empties.  Whether we are
 *     connected is known from what answers: pings of bootstrap nodes, gets and
 *     puts that end well, and a probe (a get of a random key) every minute.
 *   - "done" may come late or never, so everything has a time of its own, and
 *     what a callback may still point to is kept until its runner has ended.
 *   - A put is stored in our own node first, and a get hands that copy out at
 *     once.  Values of ours that no other node has taken are not delivered, or
 *     reading back a pointer would prove nothing.
 *   - It resolves bootstrap names in its thread, holding its lock: we resolve
 *     them and ping the addresses.
 *   - LAN discovery asks once, at the start; no "connectivity changed" is
 *     exported: while nobody answers, a new runner takes over now and then, on
 *     the same port.  It ends the old one in a thread of its own.
 *   - Operations wait while it is "connecting".
 *   - A saved port that is taken leaves it with half its sockets: we choose.
 *   - A get that is asked for before it knows a node fails at once: it is put
 *     again when somebody answered.
 *
 * Timers, all in tick(): the probe; a look at the neighbours' folder while
 * not connected (2 s); the pings of each bootstrap node until it
 * answered; the end of gets (15 s); the repetition of puts that failed (5, 10,
 * 20 … 60 s, for ten minutes); the next runner. */
#include "discovery/dht.h"

#include "base/crypto.h"
#include "discovery/neighbours.h"
#include "discovery/quicksend.h"

#include <opendht/opendht_c.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SEEN_MAX      16u  /* values of one place that are told apart */
#define WANTS_MAX     256u /* operations of the caller at once */
#define BOOTSTRAP_MAX 16u
#define CALLS_MAX     4096u /* calls into the library that may still call back */
#define QUEUE_MAX     512u  /* values waiting for the loop; more are dropped */
#define ADDRS_MAX     4u    /* pinged of one bootstrap name */

#define GET_TIMEOUT   (15 * CV_SECOND)
#define PUT_TIMEOUT   (30 * CV_SECOND) /* "done" may take 25 s or never come */
#define PUT_LIFE      (10 * CV_MINUTE)
#define PUT_RETRY     (5 * CV_SECOND)
#define PUT_RETRY_MAX CV_MINUTE
#define KEEP_CALL     CV_MINUTE /* a finished call, in case it is not */

#define PROBE_EVERY   CV_MINUTE        /* while connected */
#define PROBE_AGAIN   (10 * CV_SECOND) /* after it failed once */
#define PROBE_SEARCH  CV_SECOND        /* while not, for SEARCH_TIME */
#define PROBE_SLOW    (3 * CV_SECOND)  /* … and then */
#define PROBE_TIMEOUT (10 * CV_SECOND)
#define SEARCH_TIME   (10 * CV_SECOND) /* then it is called disconnected */
#define PING_AGAIN    (2 * CV_SECOND)
#define PING_MAX      CV_MINUTE
#define LOOK_AROUND   (2 * CV_SECOND)  /* for neighbours, while not connected */
#define NO_BOOT       UINT64_MAX       /* a ping of a neighbour */
#define SWAP_AFTER    (30 * CV_SECOND) /* without an answer */
#define SWAP_MAX      (2 * CV_MINUTE)
#define SWAP_MOVED    (4 * CV_SECOND) /* between two because of a new network */

enum kind { PUT, GET, LISTEN, PING, PROBE };

struct mailbox;

/* One call into the library.  Its thread reads and writes what is below the
 * line, under the mailbox's lock. */
struct call {
    struct call *next;
    struct mailbox *box;
    enum kind kind;
    uint64_t id; /* the want's token, or which bootstrap node */
    struct cv_loc loc;
    dht_value *value;     /* PUT: stays referenced */
    dht_op_token *listen; /* LISTEN */
    cv_time finished_at;  /* in the loop's eyes; CV_NEVER */
    /* ---- */
    bool stopped;
    bool finished;
    unsigned values;
    size_t bytes;
};

enum message_kind { VALUE, DONE, ENDED, SWAPPED };

struct message {
    struct message *next;
    enum message_kind kind;
    struct call *call;
    bool ok;
    size_t len;
    uint8_t data[];
};

struct dht;

/* Between the library's threads and the loop; outlives both. */
struct mailbox {
    pthread_mutex_t lock;
    struct message *first, **last;
    unsigned n; /* values in it */
    bool posted;
    unsigned refs; /* the dht, a post on its way, a drain at work */
    struct cv_loop *loop;
    struct dht *dht; /* NULL once closed; the loop's */
    uint64_t dropped;
};

/* What the caller asked for. */
struct want {
    struct want *next;
    cv_dht_token token;
    enum kind kind;
    struct cv_loc loc;
    cv_dht_value_fn value;
    cv_dht_done_fn done;
    void *user;
    struct call *call; /* NULL between two attempts */
    cv_time since;
    cv_time call_since;
    cv_time retry_at;        /* GET, PUT without a call; CV_NEVER: not now */
    uint64_t seen[SEEN_MAX]; /* of the last values, a part of their hashes */
    unsigned n_seen;
    unsigned values; /* handed on; of a GET at most so many, */
    size_t bytes;    /* and so long together, whichever way they came */
    /* PUT */
    uint8_t *data;
    size_t len;
    bool confirmed; /* other nodes have it */
    cv_time backoff;
};

struct boot {
    struct dht *d;
    char host[256];
    uint16_t port;
    bool answered;
    struct cv_resolve *resolve;
    cv_time next;
    cv_time backoff;
};

/* The end of one runner and the start of the next, in a thread. */
struct swap {
    pthread_t thread;
    struct mailbox *box;
    dht_runner *old;
    dht_runner *fresh;
    uint16_t port;
    bool lan;
    char *persist; /* borrowed */
};

struct dht {
    struct cv_dht base;
    struct cv_loop *loop;
    struct cv_log *log;
    uint16_t port;
    bool lan;
    char *persist;
    int persist_lock; /* fd, or -1 */
    void (*on_state)(void *user, enum cv_dht_state state);
    void *user;
    struct mailbox *box;
    struct cv_timer *timer;

    dht_runner *runner; /* NULL while swapping */
    struct swap *swap;
    cv_time runner_since;
    cv_time swap_interval;
    bool moved; /* the network has changed since this runner began */
    struct call *calls;
    unsigned n_calls;
    struct want *wants;
    unsigned n_wants;
    cv_dht_token last_token;

    struct cv_quicksend *quick; /* NULL: without */
    unsigned n_boots;
    struct boot boots[BOOTSTRAP_MAX];
    char *folder; /* of the neighbours; NULL: none */
    struct cv_neighbours *neighbours;
    cv_time look_at;

    enum cv_dht_state state, told;
    cv_time started;  /* or last connected: the search began */
    cv_time answered; /* when something answered last */
    struct cv_loc probe_loc;
    struct call *probe;
    cv_time probe_since;
    cv_time probe_at;
    unsigned probe_failures;
};

static void tick(void *user);
static void drain(void *user);

/* --- the mailbox ---------------------------------------------------------- */

static struct mailbox *mailbox_new(struct cv_loop *loop, struct dht *dht)
{
    struct mailbox *box = calloc(1, sizeof(*box));

    if (box == NULL)
        return NULL;
    pthread_mutex_init(&box->lock, NULL);
    box->last = &box->first;
    box->loop = loop;
    box->dht = dht;
    box->refs = 1;
    return box;
}

/* With the lock held; releases it, and the box with its last reference. */
static void unref_unlock(struct mailbox *box)
{
    const bool last = --box->refs == 0;

    pthread_mutex_unlock(&box->lock);
    if (!last)
        return;
    while (box->first != NULL) {
        struct message *m = box->first;

        box->first = m->next;
        free(m);
    }
    pthread_mutex_destroy(&box->lock);
    free(box);
}

/* With the lock held: let the loop empty it. */
static void post(struct mailbox *box)
{
    if (!box->posted && cv_loop_post(box->loop, drain, box) == CV_OK) {
        box->posted = true;
        box->refs++;
    }
}

/* It is there until box_leave(). */
static void box_hold(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->refs++;
    if (box->first != NULL)
        post(box);
    pthread_mutex_unlock(&box->lock);
}

static void box_leave(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    unref_unlock(box);
}

/* Nothing is delivered any more; the reference of the dht is given back. */
static void box_close(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->dht = NULL;
    unref_unlock(box);
}

/* With the lock held.  Values are dropped when too many wait, or when the loop
 * takes no more; what ends something is kept for the next drain. */
static void enqueue(struct mailbox *box, struct call *call,
                    enum message_kind kind, bool ok, struct cv_bytes data)
{
    struct message *m;

    if (kind == VALUE && box->n >= QUEUE_MAX) {
        box->dropped++;
        return;
    }
    m = malloc(sizeof(*m) + data.len);
    if (m == NULL) {
        box->dropped++;
        return;
    }
    *m =
        (struct message){.kind = kind, .call = call, .ok = ok, .len = data.len};
    if (data.len > 0)
        memcpy(m->data, data.data, data.len);
    *box->last = m;
    box->last = &m->next;
    box->n += kind == VALUE;
    post(box);
}

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
        enqueue(call->box, call, VALUE, true, CV_BYTES(view.data, view.size));
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
        enqueue(box, call, kind, ok, none);
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

static int udp_bind(int family, uint16_t port, uint16_t *bound)
{
    const int one = 1;
    struct sockaddr_storage ss = {0};
    struct sockaddr_in *in4 = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
    socklen_t len = family == AF_INET ? sizeof(*in4) : sizeof(*in6);
    const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    ss.ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        in4->sin_port = htons(port);
    } else {
        in6->sin6_port = htons(port);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&ss, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        close(fd);
        return -1;
    }
    *bound = ntohs(family == AF_INET ? in4->sin_port : in6->sin6_port);
    return fd;
}

/* A port that is free for both families, or for the one there is; 0 if none.
 * It may be taken before the runner has it; then the runner says so. */
static uint16_t free_port(void)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        uint16_t port = 0, other = 0;
        const int fd4 = udp_bind(AF_INET, 0, &port);
        const int fd6 = udp_bind(AF_INET6, port, &other);
        const bool have6 = fd6 >= 0;
        const bool clash = fd4 >= 0 && !have6 && errno == EADDRINUSE;

        if (fd4 >= 0)
            close(fd4);
        if (have6)
            close(fd6);
        if (fd4 < 0 && have6)
            return other;
        if (fd4 >= 0 && !clash)
            return port;
    }
    return 0;
}

/* The port of the last time, if it is free: with the node id of the cache, the
 * others then take us for the same node, not for one that is dead and one that
 * is new (a dead one costs a search one to three seconds). */
static uint16_t saved_port(const char *persist)
{
    char name[4096], line[16];
    uint16_t port = 0;
    unsigned long n = 0;
    FILE *f;
    int fd;

    if (persist == NULL || (size_t)snprintf(name, sizeof(name), "%s_port.txt",
                                            persist) >= sizeof(name))
        return 0;
    f = fopen(name, "re");
    if (f == NULL)
        return 0;
    if (fgets(line, sizeof(line), f) != NULL)
        n = strtoul(line, NULL, 10);
    fclose(f);
    if (n < 1024 || n > 65535)
        return 0;
    fd = udp_bind(AF_INET, (uint16_t)n, &port);
    if (fd < 0)
        return 0;
    close(fd);
    return port;
}

/* NULL when it cannot be started on this port. */
static dht_runner *runner_start(uint16_t port, bool lan, const char *persist)
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

/* Let it finish what it does (and save its nodes), for a bounded time. */
static void runner_end(dht_runner *r, unsigned grace_ms)
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

static dht_infohash hash_of(const struct cv_loc *loc)
{
    dht_infohash h;

    static_assert(sizeof(h.d) == CV_LOC_LEN, "the same 160 bits");
    memcpy(h.d, loc->b, sizeof(h.d));
    return h;
}

/* --- calls ---------------------------------------------------------------- */

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

/* Ask the library.  NULL: it cannot be asked now.  `value` is that of a PUT. */
static struct call *call_start(struct dht *d, enum kind kind, uint64_t id,
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

static void ping(struct dht *d, uint64_t boot, const struct cv_addr *addr)
{
    struct sockaddr_storage ss;
    const socklen_t len = cv_addr_to_sockaddr(addr, &ss);
    struct call *c = call_new(d, PING, boot, NULL);

    if (c != NULL)
        dht_runner_ping(d->runner, (struct sockaddr *)&ss, len, on_done, c);
}

/* Nobody wants to hear of it any more. */
static void call_stop(struct dht *d, struct call *c)
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

/* Free what finished a while ago; all of it when the runner has ended. */
static void calls_sweep(struct dht *d, cv_time now, bool all)
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

/* --- wants ---------------------------------------------------------------- */

static struct want *want_find(struct dht *d, cv_dht_token token)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->token == token)
            return w;
    }
    return NULL;
}

static struct want *want_new(struct dht *d, enum kind kind,
                             const struct cv_loc *loc)
{
    struct want *w;

    if (d->n_wants >= WANTS_MAX)
        return NULL;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->token = ++d->last_token;
    w->kind = kind;
    w->loc = *loc;
    w->since = cv_loop_now(d->loop);
    w->retry_at = CV_NEVER;
    w->backoff = PUT_RETRY;
    w->next = d->wants;
    d->wants = w;
    d->n_wants++;
    return w;
}

static void want_free(struct dht *d, struct want *w)
{
    struct want **link = &d->wants;

    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    d->n_wants--;
    free(w->data);
    free(w);
}

/* Ask the library.  Without a runner it is done when there is one. */
static void want_start(struct dht *d, struct want *w)
{
    struct call *c =
        call_start(d, w->kind, w->token, &w->loc, CV_BYTES(w->data, w->len));

    if (c == NULL)
        return;
    w->call = c;
    w->call_since = cv_loop_now(d->loop);
    w->retry_at = CV_NEVER;
}

/* Somebody is there: start what waits. */
static void wants_resume(struct dht *d)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->call == NULL && !w->confirmed)
            want_start(d, w);
    }
}

/* The runner is new: ask for all of it. */
static void wants_again(struct dht *d)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        w->call = NULL;
        w->confirmed = false;
        want_start(d, w);
    }
}

static void wants_free(struct dht *d)
{
    while (d->wants != NULL)
        want_free(d, d->wants);
}

static void schedule(struct dht *d);

static cv_dht_token put(struct cv_dht *base, const struct cv_loc *loc,
                        struct cv_bytes value, cv_dht_done_fn done, void *user)
{
    struct dht *d = (struct dht *)base;
    struct want *w;

    if (value.len == 0 || value.len > CV_DHT_VALUE_MAX)
        return 0;
    w = want_new(d, PUT, loc);
    if (w == NULL)
        return 0;
    w->data = malloc(value.len);
    if (w->data == NULL) {
        want_free(d, w);
        return 0;
    }
    memcpy(w->data, value.data, value.len);
    w->len = value.len;
    w->done = done;
    w->user = user;
    want_start(d, w);
    cv_quicksend_put(d->quick, loc, value);
    schedule(d);
    return w->token;
}

static cv_dht_token get(struct cv_dht *base, const struct cv_loc *loc,
                        cv_dht_value_fn value, cv_dht_done_fn done, void *user)
{
    struct dht *d = (struct dht *)base;
    struct want *w = want_new(d, GET, loc);

    if (w == NULL)
        return 0;
    w->value = value;
    w->done = done;
    w->user = user;
    want_start(d, w);
    cv_quicksend_get(d->quick, loc, w->token);
    schedule(d);
    return w->token;
}

static cv_dht_token listen_at(struct cv_dht *base, const struct cv_loc *loc,
                              cv_dht_value_fn value, void *user)
{
    struct dht *d = (struct dht *)base;
    struct want *w = want_new(d, LISTEN, loc);

    if (w == NULL)
        return 0;
    w->value = value;
    w->user = user;
    want_start(d, w);
    cv_quicksend_listen(d->quick, loc, w->token);
    return w->token;
}

static void cancel(struct cv_dht *base, cv_dht_token token)
{
    struct dht *d = (struct dht *)base;
    struct want *w = want_find(d, token);

    if (w == NULL)
        return;
    if (w->call != NULL)
        call_stop(d, w->call);
    if (w->kind != PUT)
        cv_quicksend_end(d->quick, token);
    want_free(d, w);
}

/* --- is anybody there? ---------------------------------------------------- */

static void set_state(struct dht *d, enum cv_dht_state to)
{
    static const char *const name[] = {"disconnected", "connecting",
                                       "connected"};

    if (d->state != to)
        cv_debug(d->log, "dht: %s -> %s", name[d->state], name[to]);
    d->state = to;
}

static void somebody_answered(struct dht *d)
{
    const cv_time now = cv_loop_now(d->loop);

    d->answered = now;
    d->probe_failures = 0;
    d->swap_interval = SWAP_AFTER;
    if (d->state == CV_DHT_CONNECTED)
        return;
    set_state(d, CV_DHT_CONNECTED);
    d->probe_at = now + PROBE_EVERY;
    wants_resume(d);
}

static void nobody_answered(struct dht *d)
{
    const cv_time now = cv_loop_now(d->loop);

    d->probe_failures++;
    switch (d->state) {
    case CV_DHT_CONNECTED:
        d->probe_at = now + PROBE_AGAIN;
        d->started = now;
        set_state(d, CV_DHT_CONNECTING);
        return;
    case CV_DHT_CONNECTING:
        d->probe_at = now + PROBE_SEARCH;
        if (now - d->started >= SEARCH_TIME)
            set_state(d, CV_DHT_DISCONNECTED);
        return;
    case CV_DHT_DISCONNECTED:
        d->probe_at = now + PROBE_SLOW;
        return;
    }
}

static void probe_done(struct dht *d, const struct call *c, bool ok)
{
    if (d->probe != c)
        return;
    d->probe = NULL;
    if (ok)
        somebody_answered(d);
    else
        nobody_answered(d);
}

static void ping_done(struct dht *d, const struct call *c, bool ok)
{
    if (!ok)
        return;
    if (c->id != NO_BOOT)
        d->boots[c->id].answered = true;
    somebody_answered(d);
}

static void probe_start(struct dht *d, cv_time now)
{
    const struct cv_bytes none = {NULL, 0};

    d->probe_at = now + PROBE_EVERY;
    d->probe = call_start(d, PROBE, 0, &d->probe_loc, none);
    if (d->probe != NULL)
        d->probe_since = now;
}

static void probe_step(struct dht *d, cv_time now)
{
    if (d->probe != NULL && now - d->probe_since >= PROBE_TIMEOUT) {
        call_stop(d, d->probe);
        d->probe = NULL;
        nobody_answered(d);
    }
    if (d->probe == NULL && now >= d->probe_at)
        probe_start(d, now);
}

static void on_resolved(void *user, int err, const struct cv_addr *addrs,
                        unsigned n)
{
    struct boot *b = user;
    struct dht *d = b->d;

    b->resolve = NULL;
    if (err != CV_OK)
        cv_debug(d->log, "dht: %s does not resolve, why=\"%s\"", b->host,
                 cv_strerror(err));
    for (unsigned i = 0; i < n && i < ADDRS_MAX; i++) {
        ping(d, (unsigned)(b - d->boots), &addrs[i]);
        cv_quicksend_boot(d->quick, &addrs[i]);
    }
}

/* Also while others answer: those may be an island, the LAN's. */
static void boots_step(struct dht *d, cv_time now)
{
    for (unsigned i = 0; i < d->n_boots; i++) {
        struct boot *b = &d->boots[i];

        if ((b->answered && d->state == CV_DHT_CONNECTED) ||
            b->resolve != NULL || now < b->next)
            continue;
        b->next = now + b->backoff;
        b->backoff = b->backoff * 2 < PING_MAX ? b->backoff * 2 : PING_MAX;
        if (cv_resolve_new(&b->resolve, d->loop, b->host, b->port, on_resolved,
                           b) != CV_OK)
            b->resolve = NULL;
    }
}

/* The user's other agents on this machine. */
static void neighbours_step(struct dht *d, cv_time now)
{
    uint16_t ports[CV_NEIGHBOURS_MAX];
    unsigned n;

    if (d->neighbours == NULL || d->runner == NULL || now < d->look_at ||
        d->state == CV_DHT_CONNECTED)
        return;
    d->look_at = now + LOOK_AROUND;
    n = cv_neighbours_list(d->neighbours, ports);
    for (unsigned i = 0; i < n; i++) {
        const struct cv_addr here = cv_addr_ipv4(INADDR_LOOPBACK, ports[i]);

        ping(d, NO_BOOT, &here);
    }
}

/* Under the port that we have now. */
static void neighbours_join(struct dht *d)
{
    int err;

    cv_neighbours_close(d->neighbours);
    d->neighbours = NULL;
    if (d->folder == NULL)
        return;
    err = cv_neighbours_open(&d->neighbours, d->folder, d->port);
    if (err != CV_OK)
        cv_info(d->log, "dht: no neighbours, why=\"%s\"", cv_strerror(err));
}

static void boots_again(struct dht *d)
{
    for (unsigned i = 0; i < d->n_boots; i++) {
        d->boots[i].answered = false;
        d->boots[i].next = cv_loop_now(d->loop);
        d->boots[i].backoff = PING_AGAIN;
    }
}

/* --- a new runner --------------------------------------------------------- */

/* The first one; 0: on any port, best on that of the last time. */
static int runner_first(struct dht *d, uint16_t port)
{
    for (unsigned tries = 0; tries < 3 && d->runner == NULL; tries++) {
        d->port = port;
        if (d->port == 0 && tries == 0)
            d->port = saved_port(d->persist);
        if (d->port == 0)
            d->port = free_port();
        if (d->port != 0)
            d->runner = runner_start(d->port, d->lan, d->persist);
    }
    if (d->runner == NULL)
        return port != 0 ? CV_ERR_BUSY : CV_ERR_NONET;
    return CV_OK;
}

static void *swap_run(void *user)
{
    struct swap *s = user;
    const struct cv_bytes none = {NULL, 0};

    if (s->old != NULL)
        runner_end(s->old, 300);
    s->fresh = runner_start(s->port, s->lan, s->persist);
    if (s->fresh == NULL) {
        s->port = free_port();
        if (s->port != 0)
            s->fresh = runner_start(s->port, s->lan, s->persist);
    }
    pthread_mutex_lock(&s->box->lock);
    enqueue(s->box, NULL, SWAPPED, s->fresh != NULL, none);
    pthread_mutex_unlock(&s->box->lock);
    return NULL;
}

static void swap_begin(struct dht *d, cv_time now)
{
    struct swap *s;

    if (d->swap != NULL)
        return;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return;
    *s = (struct swap){.box = d->box,
                       .old = d->runner,
                       .port = d->port,
                       .lan = d->lan,
                       .persist = d->persist};
    if (pthread_create(&s->thread, NULL, swap_run, s) != 0) {
        free(s);
        return;
    }
    cv_info(d->log, "dht: beginning afresh, state=%s",
            d->state == CV_DHT_CONNECTED ? "connected" : "not connected");
    d->swap = s;
    d->runner = NULL;
    d->probe = NULL;
    d->moved = false;
    d->swap_interval =
        d->swap_interval * 2 < SWAP_MAX ? d->swap_interval * 2 : SWAP_MAX;
    d->runner_since = now;
}

/* The old runner is no more: nothing calls back that it was asked for. */
static void swap_end(struct dht *d)
{
    struct swap *s = d->swap;

    d->swap = NULL;
    pthread_join(s->thread, NULL);
    calls_sweep(d, 0, true);
    d->runner = s->fresh;
    if (d->port != s->port) {
        d->port = s->port;
        neighbours_join(d);
    }
    d->runner_since = cv_loop_now(d->loop);
    d->probe_at = d->runner_since + PROBE_SEARCH;
    free(s);
    boots_again(d);
    wants_again(d);
}

static void swap_step(struct dht *d, cv_time now)
{
    if (d->n_calls >= CALLS_MAX ||
        (d->moved && now - d->runner_since >= SWAP_MOVED) ||
        (d->state == CV_DHT_DISCONNECTED &&
         now - d->runner_since >= d->swap_interval))
        swap_begin(d, now);
}

static cv_time swap_deadline(const struct dht *d)
{
    return d->runner_since + (d->moved ? SWAP_MOVED : CV_HOUR);
}

/* --- the loop's side of the mailbox --------------------------------------- */

/* A value of ours that no other node is known to hold. */
static bool only_ours(const struct dht *d, const struct cv_loc *loc,
                      struct cv_bytes value)
{
    for (const struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->kind == PUT && !w->confirmed && w->len == value.len &&
            memcmp(w->loc.b, loc->b, CV_LOC_LEN) == 0 &&
            memcmp(w->data, value.data, value.len) == 0)
            return true;
    }
    return false;
}

static void get_ended(struct dht *d, struct want *w, bool ok)
{
    const cv_dht_done_fn done = w->done;
    void *user = w->user;

    want_free(d, w);
    if (done != NULL)
        done(user, ok);
}

static void put_ended(struct dht *d, struct want *w, bool ok)
{
    const cv_dht_done_fn done = w->done;

    w->call = NULL;
    w->confirmed = ok;
    if (!ok) {
        w->retry_at = cv_loop_now(d->loop) + w->backoff;
        w->backoff =
            w->backoff * 2 < PUT_RETRY_MAX ? w->backoff * 2 : PUT_RETRY_MAX;
        return;
    }
    w->done = NULL; /* once */
    if (done != NULL)
        done(w->user, true);
}

/* Hand a value on, if it was not: the library finds it at several nodes, and
 * the quick way finds it once more. */
static void deliver(struct want *w, struct cv_bytes value)
{
    uint8_t hash[CV_HASH_LEN];
    uint64_t part;

    cv_sha256(hash, &value, 1);
    memcpy(&part, hash, sizeof(part));
    for (unsigned i = 0; i < w->n_seen && i < SEEN_MAX; i++)
        if (w->seen[i] == part)
            return;
    if (w->kind == GET && (w->values >= CV_DHT_GET_VALUES ||
                           w->bytes + value.len > CV_DHT_GET_BYTES))
        return;
    w->values++;
    w->bytes += value.len;
    w->seen[w->n_seen++ % SEEN_MAX] = part;
    if (w->n_seen == 2 * SEEN_MAX)
        w->n_seen = SEEN_MAX; /* the same place of the ring */
    w->value(w->user, value);
}

/* What came for a call of a want. */
static void want_value(struct dht *d, const struct call *c,
                       struct cv_bytes value)
{
    struct want *w = want_find(d, c->id);

    if (w != NULL && w->call == c && w->value != NULL &&
        !only_ours(d, &w->loc, value))
        deliver(w, value);
}

static void want_done(struct dht *d, const struct call *c, bool ok)
{
    struct want *w = want_find(d, c->id);

    if (w == NULL || w->call != c)
        return;
    if (ok && w->kind == PUT)
        somebody_answered(d);
    if (w->kind == PUT)
        put_ended(d, w, ok);
    else if (w->kind == GET && !ok && d->state != CV_DHT_CONNECTED)
        w->call = NULL; /* again as soon as somebody is there */
    else if (w->kind == GET)
        get_ended(d, w, ok);
}

static void on_done_message(struct dht *d, struct call *c, bool ok)
{
    c->finished_at = cv_loop_now(d->loop);
    switch (c->kind) {
    case PROBE:
        probe_done(d, c, ok);
        return;
    case PING:
        ping_done(d, c, ok);
        return;
    case GET:
    case PUT:
    case LISTEN:
        want_done(d, c, ok);
        return;
    }
}

static void on_message(struct dht *d, const struct message *m)
{
    switch (m->kind) {
    case VALUE:
        want_value(d, m->call, CV_BYTES(m->data, m->len));
        return;
    case DONE:
        on_done_message(d, m->call, m->ok);
        return;
    case ENDED:
        m->call->finished_at = cv_loop_now(d->loop);
        return;
    case SWAPPED:
        swap_end(d);
        return;
    }
}

static void on_quick_value(void *user, uint64_t get_token,
                           struct cv_bytes value)
{
    struct want *w = want_find(user, get_token);

    if (w != NULL && w->value != NULL && value.len <= CV_DHT_VALUE_MAX)
        deliver(w, value);
}

/* Tell the state, as the last thing: the callback may close us. */
static void tell(struct dht *d)
{
    schedule(d);
    if (d->told == d->state)
        return;
    d->told = d->state;
    if (d->on_state != NULL)
        d->on_state(d->user, d->state);
}

static void drain(void *user)
{
    struct mailbox *box = user;
    struct message *list;

    pthread_mutex_lock(&box->lock);
    box->posted = false; /* its reference is now ours */
    list = box->first;
    box->first = NULL;
    box->last = &box->first;
    box->n = 0;
    pthread_mutex_unlock(&box->lock);
    while (list != NULL) {
        struct message *m = list;

        list = m->next;
        if (box->dht != NULL)
            on_message(box->dht, m);
        free(m);
    }
    if (box->dht != NULL)
        tell(box->dht);
    box_leave(box);
}

/* --- time ----------------------------------------------------------------- */

static void wants_step(struct dht *d, cv_time now)
{
    struct want *next;

    for (struct want *w = d->wants; w != NULL; w = next) {
        next = w->next;
        switch (w->kind) {
        case PUT:
            if (now - w->since >= PUT_LIFE) {
                if (w->call != NULL)
                    call_stop(d, w->call);
                want_free(d, w);
            } else if (w->call != NULL && now - w->call_since >= PUT_TIMEOUT) {
                call_stop(d, w->call);
                put_ended(d, w, false);
            } else if (w->call == NULL && now >= w->retry_at) {
                want_start(d, w);
            }
            break;
        case LISTEN:
            if (w->call == NULL)
                want_start(d, w);
            break;
        case GET:
            if (w->call == NULL && now >= w->retry_at)
                want_start(d, w);
            break;
        case PING:
        case PROBE:
            break;
        }
    }
}

/* One get that took too long; its callback may change everything. */
static bool get_expire(struct dht *d, cv_time now)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->kind != GET || now - w->since < GET_TIMEOUT)
            continue;
        if (w->call != NULL)
            call_stop(d, w->call);
        get_ended(d, w, false);
        return true;
    }
    return false;
}

static void search_step(struct dht *d, cv_time now)
{
    boots_step(d, now);
    neighbours_step(d, now);
    probe_step(d, now);
}

static cv_time wants_deadline(const struct dht *d)
{
    cv_time t = CV_NEVER;

    for (const struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->kind == GET) {
            t = cv_time_min(t, w->since + GET_TIMEOUT);
            if (w->call == NULL)
                t = cv_time_min(t, w->retry_at);
        } else if (w->kind == PUT) {
            t = cv_time_min(t, w->since + PUT_LIFE);
            t = cv_time_min(t, w->call != NULL ? w->call_since + PUT_TIMEOUT
                                               : w->retry_at);
        }
    }
    return t;
}

/* Of the search: bootstrap nodes, neighbours, the probe. */
static cv_time search_deadline(const struct dht *d)
{
    cv_time t = CV_NEVER;

    for (unsigned i = 0; i < d->n_boots; i++) {
        const struct boot *b = &d->boots[i];

        if ((!b->answered || d->state != CV_DHT_CONNECTED) &&
            b->resolve == NULL)
            t = cv_time_min(t, b->next);
    }
    if (d->runner == NULL)
        return t;
    if (d->neighbours != NULL && d->state != CV_DHT_CONNECTED)
        t = cv_time_min(t, d->look_at);
    return cv_time_min(t, d->probe != NULL ? d->probe_since + PROBE_TIMEOUT
                                           : d->probe_at);
}

static void schedule(struct dht *d)
{
    /* Not more often than this, whatever the above says. */
    const cv_time soonest = cv_loop_now(d->loop) + 50 * CV_MILLISECOND;
    const cv_time t = cv_time_min(
        swap_deadline(d), cv_time_min(wants_deadline(d), search_deadline(d)));

    cv_timer_set(d->timer, t > soonest ? t : soonest);
}

static void tick(void *user)
{
    struct dht *d = user;
    struct mailbox *box = d->box;
    const cv_time now = cv_loop_now(d->loop);

    box_hold(box);
    calls_sweep(d, now, false);
    wants_step(d, now);
    search_step(d, now);
    swap_step(d, now);
    while (box->dht != NULL && get_expire(d, now))
        continue;
    if (box->dht != NULL)
        tell(d);
    box_leave(box);
}

/* --- the whole ------------------------------------------------------------ */

static int boots_add(struct dht *d, const char *const *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct boot *b = &d->boots[d->n_boots];

        if (d->n_boots == BOOTSTRAP_MAX) {
            cv_warn(d->log, "dht: only the first %u bootstrap nodes are used",
                    BOOTSTRAP_MAX);
            return CV_OK;
        }
        if (cv_host_port_parse(list[i], CV_DHT_DEFAULT_PORT, b->host,
                               &b->port) != CV_OK ||
            b->port == 0)
            return CV_ERR_INVALID;
        b->d = d;
        d->n_boots++;
    }
    return CV_OK;
}

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
    wants_free(d);
    calls_sweep(d, 0, true);
    cv_timer_free(d->timer);
    if (d->persist_lock >= 0)
        close(d->persist_lock);
    cv_neighbours_close(d->neighbours);
    cv_quicksend_free(d->quick);
    free(d->folder);
    free(d->persist);
    free(d);
    if (box != NULL)
        box_close(box);
}

int cv_dht_open(struct cv_dht **out, const struct cv_dht_config *config)
{
    static const struct cv_dht_ops ops = {put, get, listen_at, cancel};
    struct dht *d = calloc(1, sizeof(*d));
    cv_time now;
    int err;

    if (d == NULL)
        return CV_ERR_NOMEM;
    d->base.ops = &ops;
    d->loop = config->loop;
    d->log = config->log;
    d->lan = config->lan;
    d->on_state = config->state;
    d->user = config->user;
    d->persist_lock = -1;
    d->state = d->told = CV_DHT_CONNECTING;
    d->swap_interval = SWAP_AFTER;
    err = boots_add(d, config->bootstrap, config->n_bootstrap);
    if (err == CV_OK)
        err = persist_begin(d, config->persist_path);
    if (err == CV_OK)
        err = cv_timer_new(&d->timer, d->loop, tick, d);
    if (err != CV_OK)
        goto fail;
    err = CV_ERR_NOMEM;
    d->box = mailbox_new(d->loop, d);
    if (d->box == NULL)
        goto fail;
    err = runner_first(d, config->port);
    if (err != CV_OK)
        goto fail;
    if (config->neighbours != NULL) {
        d->folder = strdup(config->neighbours);
        neighbours_join(d);
    }
    now = cv_loop_now(d->loop);
    d->started = d->answered = d->runner_since = now;
    d->probe_at = now + PROBE_SEARCH;
    cv_random(&cv_rng_system, d->probe_loc.b, CV_LOC_LEN);
    if (cv_quicksend_new(&d->quick, d->loop, on_quick_value, d) != CV_OK)
        cv_debug(d->log, "dht: no socket for quick puts");
    boots_again(d);
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
        runner_end(d->runner, grace_ms);
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
        swap_begin(d, now);
    else
        d->moved = true;
    schedule(d);
}

void cv_dht_mapping_changed(struct cv_dht *dht)
{
    struct dht *d = (struct dht *)dht;

    cv_quicksend_moved(d->quick);
}

unsigned cv_dht_public_addresses(const struct cv_dht *dht, struct cv_addr *out,
                                 unsigned max)
{
    const struct dht *d = (const struct dht *)dht;
    struct sockaddr **list;
    unsigned n = 0;

    if (d->runner == NULL)
        return 0;
    list = dht_runner_get_public_address(d->runner);
    if (list == NULL)
        return 0;
    for (unsigned i = 0; list[i] != NULL; i++) {
        if (n < max && cv_addr_from_sockaddr(&out[n], list[i]) == CV_OK) {
            out[n].port = 0;
            n++;
        }
        free(list[i]);
    }
    free(list);
    return n;
}
