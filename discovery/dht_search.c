/* Is anybody there: the probe, bootstrap nodes, neighbours. */
#include "discovery/dht_struct.h"

#include "discovery/neighbours.h"
#include "discovery/quicksend.h"

#include <netinet/in.h>

#define ADDRS_MAX 4u /* pinged of one bootstrap name */

#define PROBE_EVERY   CV_MINUTE        /* while connected */
#define PROBE_AGAIN   (10 * CV_SECOND) /* after it failed once */
#define PROBE_SLOW    (3 * CV_SECOND)  /* … and then */
#define PROBE_TIMEOUT (10 * CV_SECOND)
#define SEARCH_TIME   (10 * CV_SECOND) /* then it is called disconnected */
#define PING_AGAIN    (2 * CV_SECOND)
#define PING_MAX      CV_MINUTE
#define LOOK_AROUND   (2 * CV_SECOND) /* for neighbours, while not connected */

static void set_state(struct dht *d, enum cv_dht_state to)
{
    static const char *const name[] = {"disconnected", "connecting",
                                       "connected"};

    if (d->state != to)
        cv_debug(d->log, "dht: %s -> %s", name[d->state], name[to]);
    d->state = to;
}

void cv_dht_nobody_to_ask(struct dht *d)
{
    set_state(d, CV_DHT_DISCONNECTED);
}

void cv_dht_somebody_answered(struct dht *d)
{
    const cv_time now = cv_loop_now(d->loop);

    d->swap_interval = SWAP_AFTER;
    if (d->state == CV_DHT_CONNECTED)
        return;
    set_state(d, CV_DHT_CONNECTED);
    d->probe_at = now + PROBE_EVERY;
    cv_dht_wants_resume(d);
}

static void nobody_answered(struct dht *d)
{
    const cv_time now = cv_loop_now(d->loop);

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

/* --- the probe ------------------------------------------------------------ */

void cv_dht_probe_done(struct dht *d, const struct call *c, bool ok)
{
    if (d->probe != c)
        return;
    d->probe = NULL;
    if (ok)
        cv_dht_somebody_answered(d);
    else
        nobody_answered(d);
}

static void probe_start(struct dht *d, cv_time now)
{
    const struct cv_bytes none = {NULL, 0};

    d->probe_at = now + PROBE_EVERY;
    d->probe = cv_dht_call_start(d, PROBE, 0, &d->probe_loc, none);
    if (d->probe != NULL)
        d->probe_since = now;
}

static void probe_step(struct dht *d, cv_time now)
{
    if (d->probe != NULL && now - d->probe_since >= PROBE_TIMEOUT) {
        cv_dht_call_stop(d, d->probe);
        d->probe = NULL;
        nobody_answered(d);
    }
    if (d->probe == NULL && now >= d->probe_at)
        probe_start(d, now);
}

/* --- bootstrap nodes and neighbours --------------------------------------- */

int cv_dht_boots_add(struct dht *d, const char *const *list, unsigned n)
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

void cv_dht_boots_again(struct dht *d)
{
    for (unsigned i = 0; i < d->n_boots; i++) {
        d->boots[i].answered = false;
        d->boots[i].next = cv_loop_now(d->loop);
        d->boots[i].backoff = PING_AGAIN;
    }
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
        cv_dht_ping(d, (unsigned)(b - d->boots), &addrs[i]);
        cv_quicksend_boot(d->quick, &addrs[i]);
    }
}

void cv_dht_ping_done(struct dht *d, const struct call *c, bool ok)
{
    if (!ok)
        return;
    if (c->id != NO_BOOT)
        d->boots[c->id].answered = true;
    cv_dht_somebody_answered(d);
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

void cv_dht_neighbours_join(struct dht *d)
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

        cv_dht_ping(d, NO_BOOT, &here);
    }
}

/* --- both ----------------------------------------------------------------- */

void cv_dht_search_step(struct dht *d, cv_time now)
{
    boots_step(d, now);
    neighbours_step(d, now);
    probe_step(d, now);
}

cv_time cv_dht_search_deadline(const struct dht *d)
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
