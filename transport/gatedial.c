#include "transport/gatedial.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRS_ALL 16 /* of a name that are looked at */

enum way_state {
    ABSENT, /* there is no such way */
    LATER,  /* its time has not come */
    TRYING,
    FAILED,
};

struct way {
    enum way_state state;
    cv_time at;     /* it begins, or its next address is tried */
    unsigned next;  /* of the addresses */
    unsigned tries; /* that are going on */
    struct cv_gatetry *try[CV_GATEDIAL_ADDRS];
};

/* The addresses of a name that is dialled: the gate's, or the proxy's. */
struct place {
    struct cv_gatedial *dial;
    struct cv_resolve *resolve; /* while it is asked for */
    struct cv_addr addr[CV_GATEDIAL_ADDRS];
    unsigned n;
};

/* One timer: the earliest `at` of a way, or the end. */
struct cv_gatedial {
    struct cv_gatetry_config config;
    struct cv_gatedial_memory *memory;
    cv_gatedial_fn done;
    void *user;
    struct cv_timer *timer;
    struct place gate, proxy;
    struct way way[CV_GATE_WAYS];
    int err; /* and `why`: the most telling failure */
    char why[300];
};

/* ---- what is remembered ------------------------------------------------- */

void cv_gatedial_memory_init(struct cv_gatedial_memory *m)
{
    memset(m, 0, sizeof *m);
    m->order[0] = CV_GATE_WAY_PROXY;
    m->order[1] = 0;
    m->order[2] = CV_GATE_WAY_PROXY | CV_GATE_WAY_WS;
    m->order[3] = CV_GATE_WAY_WS;
}

static unsigned find_way(struct cv_gatedial_memory *m, unsigned way)
{
    unsigned at = 0;

    while (m->order[at] != way)
        at++;
    return at;
}

void cv_gatedial_good(struct cv_gatedial_memory *m, unsigned way)
{
    unsigned at = find_way(m, way);

    memmove(m->order + 1, m->order, at);
    m->order[0] = (uint8_t)way;
}

void cv_gatedial_bad(struct cv_gatedial_memory *m, unsigned way)
{
    unsigned at = find_way(m, way);

    memmove(m->order + at, m->order + at + 1, CV_GATE_WAYS - 1 - at);
    m->order[CV_GATE_WAYS - 1] = (uint8_t)way;
}

/* ---- addresses ---------------------------------------------------------- */

void cv_gatedial_interleave(struct cv_addr *addrs, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        unsigned k = i;
        struct cv_addr moved;

        /* The next one of the other family comes forward. */
        while (k < n && addrs[k].family == addrs[i - 1].family)
            k++;
        if (k == n)
            return;
        moved = addrs[k];
        memmove(addrs + i + 1, addrs + i, (k - i) * sizeof *addrs);
        addrs[i] = moved;
    }
}

static struct place *place_of(struct cv_gatedial *d, unsigned way)
{
    return way & CV_GATE_WAY_PROXY ? &d->proxy : &d->gate;
}

/* ---- failing ------------------------------------------------------------ */

/* Somebody else's key tells more than what somebody answered, and that more
 * than that nobody did. */
static unsigned weight(int err)
{
    return err == CV_ERR_AUTH ? 3 : err == CV_ERR_PEER ? 2 : err != CV_OK;
}

static void note(struct cv_gatedial *d, int err, const char *why)
{
    if (weight(err) <= weight(d->err))
        return;
    d->err = err;
    snprintf(d->why, sizeof d->why, "%s", why);
}

/* Is there a way that may still succeed? */
static bool hopeful(const struct cv_gatedial *d)
{
    for (unsigned w = 0; w < CV_GATE_WAYS; w++)
        if (d->way[w].state == LATER || d->way[w].state == TRYING)
            return true;
    return false;
}

static void end_all(struct cv_gatedial *d)
{
    cv_resolve_cancel(d->gate.resolve);
    cv_resolve_cancel(d->proxy.resolve);
    d->gate.resolve = d->proxy.resolve = NULL;
    for (unsigned w = 0; w < CV_GATE_WAYS; w++) {
        for (unsigned i = 0; i < CV_GATEDIAL_ADDRS; i++)
            cv_gatetry_free(d->way[w].try[i]);
        memset(&d->way[w], 0, sizeof d->way[w]);
    }
}

/* ---- the race ----------------------------------------------------------- */

static void go_on(struct cv_gatedial *d);

static void on_try(void *user, struct cv_gatetry *t, int err, const char *why)
{
    struct cv_gatedial *d = user;
    struct way *way = &d->way[cv_gatetry_way(t)];
    struct cv_gatestream stream;

    for (unsigned i = 0; i < CV_GATEDIAL_ADDRS; i++)
        if (way->try[i] == t)
            way->try[i] = NULL;
    way->tries--;
    if (!why) {
        cv_gatetry_take(t, &stream);
        cv_gatetry_free(t);
        cv_debug(d->config.log, "gatedial: connected, way=%s%s",
                 stream.way & CV_GATE_WAY_WS ? "websocket" : "tls",
                 stream.way & CV_GATE_WAY_PROXY ? " proxy" : "");
        if (stream.remote.family != CV_FAMILY_NONE)
            d->memory->last = stream.remote;
        else
            stream.remote = d->memory->last;
        end_all(d);
        d->done(d->user, &stream, CV_OK, NULL);
        return;
    }
    cv_debug(d->config.log, "gatedial: failed, way=%s%s: %s",
             cv_gatetry_way(t) & CV_GATE_WAY_WS ? "websocket" : "tls",
             cv_gatetry_way(t) & CV_GATE_WAY_PROXY ? " proxy" : "", why);
    note(d, err, why);
    cv_gatetry_free(t);
    way->at = 0; /* its next address, at once */
    go_on(d);
}

/* Try the next address of a way; false: it has failed. */
static bool try_next(struct cv_gatedial *d, unsigned w, cv_time now)
{
    struct place *place = place_of(d, w);
    struct way *way = &d->way[w];

    while (way->next < place->n) {
        unsigned i = way->next++;

        if (cv_gatetry_new(&way->try[i], &d->config, w, &place->addr[i], on_try,
                           d) == CV_OK) {
            way->tries++;
            way->at = way->next < place->n ? now + CV_GATEDIAL_ADDR : CV_NEVER;
            return true;
        }
        note(d, CV_ERR_NONET,
             w & CV_GATE_WAY_PROXY
                 ? "the proxy of https_proxy cannot be reached"
                 : "the gate's address cannot be reached");
    }
    way->at = CV_NEVER;
    return way->tries > 0 || place->resolve;
}

/* In their order: those whose time has come, and without waiting for it when
 * no way before is left. */
static void start_ways(struct cv_gatedial *d, cv_time now)
{
    bool trying = false;

    for (unsigned i = 0; i < CV_GATE_WAYS; i++) {
        unsigned w = d->memory->order[i];
        struct way *way = &d->way[w];

        if (way->state == LATER && (way->at <= now || !trying)) {
            way->state = TRYING;
            way->at = now;
        }
        if (way->state == TRYING && way->at <= now && !try_next(d, w, now))
            way->state = FAILED;
        trying |= way->state == TRYING;
    }
}

static void go_on(struct cv_gatedial *d)
{
    cv_time now = cv_loop_now(d->config.loop), next = CV_NEVER;

    start_ways(d, now);
    if (!hopeful(d)) {
        end_all(d);
        cv_timer_set(d->timer, CV_NEVER);
        d->done(d->user, NULL, d->err == CV_OK ? CV_ERR_NONET : d->err,
                d->why[0] ? d->why : "the gate's address cannot be reached");
        return;
    }
    for (unsigned w = 0; w < CV_GATE_WAYS; w++)
        if (d->way[w].state == LATER || d->way[w].state == TRYING)
            next = cv_time_min(next, d->way[w].at);
    cv_timer_set(d->timer, next);
}

static void on_timer(void *user)
{
    go_on(user);
}

static void on_resolved(void *user, int err, const struct cv_addr *addrs,
                        unsigned n)
{
    struct place *place = user;
    struct cv_gatedial *d = place->dial;
    struct cv_addr all[ADDRS_ALL];
    char why[300];

    place->resolve = NULL;
    if (err != CV_OK || n == 0) {
        snprintf(why, sizeof why, "the %s name %.100s: %s",
                 place == &d->proxy ? "proxy's" : "gate's",
                 place == &d->proxy ? d->config.proxy->host
                                    : d->config.name->host,
                 cv_strerror(err == CV_OK ? CV_ERR_NOTFOUND : err));
        note(d, CV_ERR_NONET, why);
        n = 0;
    }
    if (n > ADDRS_ALL)
        n = ADDRS_ALL;
    if (n > 0) {
        memcpy(all, addrs, n * sizeof all[0]);
        cv_gatedial_interleave(all, n);
        place->n = n < CV_GATEDIAL_ADDRS ? n : CV_GATEDIAL_ADDRS;
        memcpy(place->addr, all, place->n * sizeof all[0]);
        if (place == &d->gate)
            d->memory->last = all[0];
    }
    for (unsigned w = 0; w < CV_GATE_WAYS; w++)
        if (place_of(d, w) == place && d->way[w].state == TRYING)
            d->way[w].at = 0;
    go_on(d);
}

/* ---- life --------------------------------------------------------------- */

static int resolve(struct cv_gatedial *d, struct place *place, const char *host,
                   uint16_t port)
{
    place->dial = d;
    return cv_resolve_new(&place->resolve, d->config.loop, host, port,
                          on_resolved, place);
}

/* A gate behind a reverse proxy speaks WebSocket only. */
static void list_ways(struct cv_gatedial *d, bool proxied)
{
    cv_time at = cv_loop_now(d->config.loop);

    for (unsigned i = 0; i < CV_GATE_WAYS; i++) {
        unsigned w = d->memory->order[i];

        if ((w & CV_GATE_WAY_PROXY && !proxied) ||
            (!(w & CV_GATE_WAY_WS) && d->config.name->path[0]))
            continue;
        d->way[w].state = LATER;
        d->way[w].at = at;
        at += CV_GATEDIAL_NEXT;
    }
}

int cv_gatedial_new(struct cv_gatedial **out,
                    const struct cv_gatetry_config *config,
                    struct cv_gatedial_memory *memory, cv_gatedial_fn done,
                    void *user)
{
    const struct cv_gate_name *name = config->name;
    bool proxied =
        config->proxy && cv_proxy_used(config->proxy, name->host, name->port);
    struct cv_gatedial *d = calloc(1, sizeof *d);
    int err;

    if (!d)
        return CV_ERR_NOMEM;
    d->config = *config;
    d->memory = memory;
    d->done = done;
    d->user = user;
    err = cv_timer_new(&d->timer, config->loop, on_timer, d);
    if (err == CV_OK)
        err = resolve(d, &d->gate, name->host, name->port);
    if (err == CV_OK && proxied)
        err = resolve(d, &d->proxy, config->proxy->host, config->proxy->port);
    if (err != CV_OK) {
        cv_gatedial_free(d);
        return err;
    }
    list_ways(d, proxied);
    cv_timer_set(d->timer, 0);
    *out = d;
    return CV_OK;
}

void cv_gatedial_free(struct cv_gatedial *d)
{
    if (!d)
        return;
    end_all(d);
    cv_timer_free(d->timer);
    free(d);
}
