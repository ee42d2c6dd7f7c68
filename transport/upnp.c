/* Two threads share struct cv_upnp: the loop's gives orders, one for each port
 * at most, the newest counts; ours carries them out.  Whoever lets go last
 * frees it, so that a gateway that takes its time never holds up the loop. */
#include "transport/upnp.h"

#include <errno.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEARCH_MS 400 /* for each of the names that a gateway may have */
#define CONFLICTS 4   /* other ports that are tried */
#define DEVICES   64  /* of the LAN that are looked at */
/* Errors of AddPortMapping. */
#define CONFLICT       718
#define ONLY_PERMANENT 725

enum wish {
    WISH_NOTHING,
    WISH_MAP,
    WISH_UNMAP,
};

struct order {
    enum wish wish;
    uint16_t internal, external;
    uint32_t lifetime;
};

struct cv_upnp {
    struct cv_log *log;
    struct cv_addr gateway;
    char client[CV_ADDR_TEXT]; /* without a port */
    const struct cv_upnp_events *events;
    void *user;
    bool closed_here; /* the loop's thread: no events any more */

    pthread_mutex_t lock; /* of what follows, up to the blank line */
    pthread_cond_t wake;  /* of the thread */
    pthread_cond_t ended; /* of cv_upnp_free() */
    struct cv_loop *loop; /* NULL: closed, nothing is posted */
    struct order order[CV_PORTMAP_PORTS];
    bool quit, done;
    unsigned refs;

    /* The thread's own. */
    struct UPNPUrls urls;
    struct IGDdatas igd;
    bool found;
    uint16_t mapped[CV_PORTMAP_PORTS]; /* outside port; 0: none */
};

/* What the thread tells the loop. */
struct news {
    struct cv_upnp *u;
    bool is_found; /* else a mapping */
    bool found;
    enum cv_portmap_port port;
    int err;
    struct cv_addr mapped;
    uint32_t lifetime;
    char why[64];
};

static const char *const protocol[CV_PORTMAP_PORTS] = {"UDP", "TCP"};

static void unref(struct cv_upnp *u)
{
    bool last;

    pthread_mutex_lock(&u->lock);
    last = --u->refs == 0;
    pthread_mutex_unlock(&u->lock);
    if (!last)
        return;
    pthread_cond_destroy(&u->wake);
    pthread_cond_destroy(&u->ended);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

/* ---- in the loop's thread ---- */

static void on_news(void *user)
{
    struct news *n = user;
    struct cv_upnp *u = n->u;

    if (!u->closed_here && n->is_found)
        u->events->found(u->user, n->found);
    else if (!u->closed_here)
        u->events->mapped(u->user, n->port, n->err, &n->mapped, n->lifetime,
                          n->why);
    unref(u);
    free(n);
}

static void give_order(struct cv_upnp *u, enum cv_portmap_port port,
                       struct order order)
{
    pthread_mutex_lock(&u->lock);
    u->order[port] = order;
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
}

void cv_upnp_map(struct cv_upnp *u, enum cv_portmap_port port,
                 uint16_t internal, uint16_t external, uint32_t lifetime)
{
    give_order(u, port, (struct order){WISH_MAP, internal, external, lifetime});
}

void cv_upnp_unmap(struct cv_upnp *u, enum cv_portmap_port port)
{
    give_order(u, port, (struct order){.wish = WISH_UNMAP});
}

void cv_upnp_free(struct cv_upnp *u, bool wait)
{
    struct timespec until;

    if (!u)
        return;
    u->closed_here = true;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += CV_UPNP_LEAVE;
    until.tv_sec += until.tv_nsec / CV_SECOND;
    until.tv_nsec %= CV_SECOND;
    pthread_mutex_lock(&u->lock);
    u->loop = NULL;
    u->quit = true;
    pthread_cond_signal(&u->wake);
    while (wait && !u->done && (u->mapped[0] != 0 || u->mapped[1] != 0))
        if (pthread_cond_timedwait(&u->ended, &u->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&u->lock);
    unref(u);
}

/* ---- in the thread ---- */

static void tell(struct cv_upnp *u, const struct news *what)
{
    struct news *n = malloc(sizeof *n);

    if (!n)
        return;
    *n = *what;
    n->u = u;
    pthread_mutex_lock(&u->lock);
    if (u->loop && cv_loop_post(u->loop, on_news, n) == CV_OK) {
        u->refs++;
        n = NULL;
    }
    pthread_mutex_unlock(&u->lock);
    free(n);
}

/* Does this URL lead to the gateway, and nowhere else? */
static bool is_gateways(const struct cv_upnp *u, const char *url)
{
    static const char scheme[] = "http://";
    struct cv_addr a;
    char host[CV_ADDR_TEXT];
    size_t len;

    if (!url || strncmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    url += sizeof scheme - 1;
    len = strcspn(url, "/?#");
    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, url, len);
    host[len] = '\0';
    return cv_addr_parse(&a, host, 80) == CV_OK &&
           cv_addr_same_ip(&a, &u->gateway);
}

static bool look(struct cv_upnp *u)
{
    int err = 0;
    unsigned n = 0;
    char client[64];
    struct UPNPDev *list = upnpDiscover(SEARCH_MS, u->client, NULL,
                                        UPNP_LOCAL_PORT_ANY, 0, 2, &err);

    for (struct UPNPDev *d = list; d && n < DEVICES && !u->found;
         d = d->pNext, n++) {
        if (!is_gateways(u, d->descURL))
            continue;
        if (!UPNP_GetIGDFromUrl(d->descURL, &u->urls, &u->igd, client,
                                (int)sizeof client))
            continue;
        if (is_gateways(u, u->urls.controlURL) && u->igd.first.servicetype[0])
            u->found = true;
        else
            FreeUPNPUrls(&u->urls);
    }
    freeUPNPDevlist(list);
    return u->found;
}

static void unmap(struct cv_upnp *u, enum cv_portmap_port port)
{
    char external[8];

    if (!u->found || u->mapped[port] == 0)
        return;
    (void)snprintf(external, sizeof external, "%u", u->mapped[port]);
    (void)UPNP_DeletePortMapping(u->urls.controlURL, u->igd.first.servicetype,
                                 external, protocol[port], NULL);
    pthread_mutex_lock(&u->lock);
    u->mapped[port] = 0;
    pthread_mutex_unlock(&u->lock);
}

static int add_mapping(struct cv_upnp *u, enum cv_portmap_port port,
                       const struct order *o, uint16_t external,
                       uint32_t lifetime)
{
    char in[8], out[8], lease[16];

    (void)snprintf(in, sizeof in, "%u", o->internal);
    (void)snprintf(out, sizeof out, "%u", external);
    (void)snprintf(lease, sizeof lease, "%u", lifetime);
    return UPNP_AddPortMapping(u->urls.controlURL, u->igd.first.servicetype,
                               out, in, u->client, "covim", protocol[port],
                               NULL, lease);
}

/* Ports above 1024 that are easy to tell apart from the wanted one. */
static uint16_t other_port(uint16_t external, unsigned try)
{
    return (uint16_t)(1024 + (external + 7919u * (try + 1)) % 64000);
}

static void map(struct cv_upnp *u, enum cv_portmap_port port,
                const struct order *o)
{
    struct news n = {
        .port = port, .err = CV_ERR_DENIED, .lifetime = o->lifetime};
    char ip[40] = "";
    uint16_t external = o->external;
    uint32_t lifetime = o->lifetime;
    int rc = -1;

    for (unsigned i = 0; i <= CONFLICTS; i++) {
        rc = add_mapping(u, port, o, external, lifetime);
        if (rc == ONLY_PERMANENT && lifetime > 0)
            lifetime = 0; /* we renew it, and give it back */
        else if (rc == CONFLICT)
            external = other_port(o->external, i);
        else
            break;
    }
    if (rc == UPNPCOMMAND_SUCCESS) {
        pthread_mutex_lock(&u->lock);
        u->mapped[port] = external;
        pthread_mutex_unlock(&u->lock);
        rc = UPNP_GetExternalIPAddress(u->urls.controlURL,
                                       u->igd.first.servicetype, ip);
        ip[sizeof ip - 1] = '\0';
        if (rc == UPNPCOMMAND_SUCCESS &&
            cv_addr_parse(&n.mapped, ip, external) == CV_OK) {
            n.mapped.port = external;
            n.err = CV_OK;
        }
    }
    if (n.err != CV_OK) {
        const char *text = rc > 0 ? strupnperror(rc) : NULL;

        (void)snprintf(n.why, sizeof n.why, "%s",
                       text ? text : "it does not answer as it should");
        unmap(u, port);
    }
    tell(u, &n);
}

static struct order next_order(struct cv_upnp *u, enum cv_portmap_port *port)
{
    struct order o = {.wish = WISH_NOTHING};

    pthread_mutex_lock(&u->lock);
    while (!u->quit) {
        for (*port = 0; *port < CV_PORTMAP_PORTS; (*port)++)
            if (u->order[*port].wish != WISH_NOTHING)
                break;
        if (*port < CV_PORTMAP_PORTS) {
            o = u->order[*port];
            u->order[*port].wish = WISH_NOTHING;
            break;
        }
        pthread_cond_wait(&u->wake, &u->lock);
    }
    pthread_mutex_unlock(&u->lock);
    return o;
}

static void *run(void *user)
{
    struct cv_upnp *u = user;
    struct news n = {.is_found = true};
    enum cv_portmap_port port;

    n.found = look(u);
    tell(u, &n);
    for (bool more = n.found; more;) {
        struct order o = next_order(u, &port);

        switch (o.wish) {
        case WISH_NOTHING:
            more = false;
            break;
        case WISH_MAP:
            map(u, port, &o);
            break;
        case WISH_UNMAP:
            unmap(u, port);
            break;
        }
    }
    for (port = 0; port < CV_PORTMAP_PORTS; port++)
        unmap(u, port);
    if (u->found)
        FreeUPNPUrls(&u->urls);
    pthread_mutex_lock(&u->lock);
    u->done = true;
    pthread_cond_signal(&u->ended);
    pthread_mutex_unlock(&u->lock);
    unref(u);
    return NULL;
}

int cv_upnp_new(struct cv_upnp **out, struct cv_loop *loop, struct cv_log *log,
                const struct cv_addr *gateway, const struct cv_addr *client,
                const struct cv_upnp_events *events, void *user)
{
    struct cv_upnp *u = calloc(1, sizeof *u);
    pthread_condattr_t monotonic;
    pthread_attr_t detached;
    pthread_t thread;
    int rc;

    if (!u)
        return CV_ERR_NOMEM;
    u->log = log;
    u->loop = loop;
    u->gateway = *gateway;
    u->events = events;
    u->user = user;
    u->refs = 2;
    (void)snprintf(u->client, sizeof u->client, "%u.%u.%u.%u", client->ip[0],
                   client->ip[1], client->ip[2], client->ip[3]);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->wake, NULL);
    pthread_cond_init(&u->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &detached, run, u);
    pthread_attr_destroy(&detached);
    if (rc != 0) {
        u->refs = 1;
        unref(u);
        return CV_ERR_LIMIT;
    }
    *out = u;
    return CV_OK;
}
