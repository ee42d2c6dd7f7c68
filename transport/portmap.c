/* Timers, all in one deadline: while nobody serves, PCP's and NAT-PMP's
 * questions and the end of our patience; afterwards, of each lease, its next
 * request (first, repeated or renewing) and its end. */
#include "transport/portmap_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define RENEW_MIN (4 * CV_SECOND) /* RFC 6887, 11.2.1 */

const enum cv_pcp_proto cv_portmap_protos[CV_PORTMAP_PORTS] = {CV_PCP_UDP,
                                                               CV_PCP_TCP};

const char *cv_portmap_way_name(enum cv_portmap_way way)
{
    static const char *const name[CV_PORTMAP_WAYS] = {"nobody", "PCP",
                                                      "NAT-PMP", "UPnP"};

    return name[way];
}

static void set_state(struct cv_portmap *pm, enum cv_portmap_state to)
{
    static const char *const name[] = {"off", "asking", "served", "refused"};

    if (to == pm->state)
        return;
    cv_debug(pm->log, "portmap: %s -> %s, way=%s", name[pm->state], name[to],
             cv_portmap_way_name(pm->way));
    pm->state = to;
    pm->events->changed(pm->user);
}

/* `base`, up to a tenth more or less (RFC 6887, 8.1.1). */
static cv_time jitter(const struct cv_portmap *pm, cv_time base)
{
    cv_time tenth = base / 10;

    return base - tenth +
           (cv_time)(cv_random_u64(pm->rng) % (uint64_t)(2 * tenth + 1));
}

bool cv_portmap_is_refused(const struct cv_portmap *pm, enum cv_portmap_way way,
                           cv_time now)
{
    return !(pm->ways & 1u << way) || now < pm->refused_until[way];
}

void cv_portmap_init(struct cv_portmap *pm, const struct cv_rng *rng,
                     struct cv_log *log, unsigned ways,
                     const struct cv_portmap_events *events, void *user)
{
    memset(pm, 0, sizeof *pm);
    pm->rng = rng;
    pm->log = log;
    pm->ways = ways;
    pm->events = events;
    pm->user = user;
    pm->give_up = pm->address_next = CV_NEVER;
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++)
        pm->lease[i].next = pm->lease[i].expires = CV_NEVER;
}

/* ---- leases ---- */

void cv_portmap_forget(struct cv_portmap_lease *l, cv_time next)
{
    l->mapped = (struct cv_addr){0};
    l->expires = CV_NEVER;
    l->lost = false;
    l->renewals = l->tries = 0;
    l->rt = 0;
    l->next = l->internal != 0 ? next : CV_NEVER;
}

/* Ask everybody anew. */
static void race(struct cv_portmap *pm, cv_time now)
{
    pm->way = CV_PORTMAP_NO_WAY;
    pm->upnp_ready = pm->no_address = false;
    pm->give_up = now + CV_PORTMAP_PATIENCE;
    pm->address_next = now + CV_PORTMAP_STAGGER;
    pm->address_tries = 0;
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++)
        cv_portmap_forget(&pm->lease[i], now);
    pm->refused_until[CV_PORTMAP_UPNP] = 0;
    set_state(pm, CV_PORTMAP_ASKING);
    if (pm->ways & 1u << CV_PORTMAP_UPNP)
        pm->events->upnp_find(pm->user);
}

void cv_portmap_choose(struct cv_portmap *pm, enum cv_portmap_way way,
                       cv_time now)
{
    cv_debug(pm->log, "portmap: the gateway answers by %s",
             cv_portmap_way_name(way));
    pm->way = way;
    pm->give_up = CV_NEVER;
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++)
        if (pm->lease[i].mapped.family == CV_FAMILY_NONE)
            cv_portmap_forget(&pm->lease[i], now);
    set_state(pm, CV_PORTMAP_SERVED);
}

void cv_portmap_all_refused(struct cv_portmap *pm, cv_time now)
{
    for (enum cv_portmap_way w = CV_PORTMAP_PCP; w < CV_PORTMAP_WAYS; w++)
        if (!cv_portmap_is_refused(pm, w, now))
            return;
    pm->give_up = CV_NEVER;
    set_state(pm, CV_PORTMAP_REFUSED);
}

void cv_portmap_refuse(struct cv_portmap *pm, enum cv_portmap_way way,
                       cv_time how_long, const char *why, cv_time now)
{
    bool had = pm->way == way;

    if (how_long < CV_PORTMAP_REFUSED_MIN)
        how_long = CV_PORTMAP_REFUSED_MIN;
    if (how_long > CV_PORTMAP_REFUSED_MAX)
        how_long = CV_PORTMAP_REFUSED_MAX;
    pm->refused_until[way] = now + how_long;
    (void)snprintf(pm->reason, sizeof pm->reason, "%s: %s",
                   cv_portmap_way_name(way), why);
    cv_debug(pm->log, "portmap: no mapping by %s", pm->reason);
    if (pm->way != CV_PORTMAP_NO_WAY && !had)
        return;
    if (had) {
        pm->way = CV_PORTMAP_NO_WAY;
        pm->give_up = now + CV_PORTMAP_PATIENCE;
        pm->address_next = now;
        pm->address_tries = 0;
        for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++)
            cv_portmap_forget(&pm->lease[i], now);
    }
    if (pm->upnp_ready && !cv_portmap_is_refused(pm, CV_PORTMAP_UPNP, now)) {
        cv_portmap_choose(pm, CV_PORTMAP_UPNP, now);
        return;
    }
    if (had)
        set_state(pm, CV_PORTMAP_ASKING);
    cv_portmap_all_refused(pm, now);
}

/* The time of renewal n: between 1/2 and 5/8 of the lease, then 3/4 and 13/16,
 * and so on, never sooner than 4 s after the last (RFC 6887, 11.2.1). */
static cv_time renewal_time(const struct cv_portmap *pm,
                            const struct cv_portmap_lease *l, cv_time now)
{
    cv_time lease = l->expires - l->given;
    unsigned n = l->renewals < 16 ? l->renewals : 16;
    cv_time base = lease - (lease >> (n + 1));
    uint64_t spread = (uint64_t)(lease >> (n + 3)) + 1;
    cv_time at = l->given + base + (cv_time)(cv_random_u64(pm->rng) % spread);

    return at > now + RENEW_MIN ? at : now + RENEW_MIN;
}

void cv_portmap_give(struct cv_portmap *pm, enum cv_portmap_port port,
                     const struct cv_addr *mapped, uint32_t lifetime,
                     cv_time now)
{
    struct cv_portmap_lease *l = &pm->lease[port];
    bool news = !cv_addr_equal(&l->mapped, mapped);
    char text[CV_ADDR_TEXT];

    if (lifetime < CV_PORTMAP_LEASE_MIN)
        lifetime = CV_PORTMAP_LEASE_MIN;
    if (lifetime > CV_PORTMAP_LEASE_MAX)
        lifetime = CV_PORTMAP_LEASE_MAX;
    l->mapped = *mapped;
    l->lost = false;
    l->given = now;
    l->expires = now + (cv_time)lifetime * CV_SECOND;
    l->renewals = l->tries = 0;
    l->rt = 0;
    l->next = renewal_time(pm, l, now);
    if (port == CV_PORTMAP_UDP)
        pm->reason[0] = '\0';
    if (!news)
        return;
    cv_debug(pm->log, "portmap: %s maps %s to us, protocol=%u, seconds=%u",
             cv_portmap_way_name(pm->way), cv_addr_log(pm->log, mapped, text),
             (unsigned)cv_portmap_protos[port], lifetime);
    pm->events->changed(pm->user);
}

/* ---- asking ---- */

static struct cv_pcp_request request_of(const struct cv_portmap *pm,
                                        enum cv_portmap_port port,
                                        uint32_t lifetime)
{
    const struct cv_portmap_lease *l = &pm->lease[port];
    struct cv_pcp_request r = {.proto = cv_portmap_protos[port],
                               .internal = l->internal,
                               .external = l->mapped,
                               .lifetime = lifetime};

    memcpy(r.nonce, l->nonce, sizeof r.nonce);
    if (r.external.port == 0)
        r.external.port = l->internal; /* as good as any other */
    return r;
}

void cv_portmap_send(struct cv_portmap *pm, enum cv_portmap_way way,
                     enum cv_portmap_port port, uint32_t lifetime)
{
    struct cv_pcp_request r = request_of(pm, port, lifetime);
    uint8_t buf[64];
    struct cv_writer w;
    int err;

    cv_writer_init(&w, buf, sizeof buf);
    err = way == CV_PORTMAP_PCP ? cv_pcp_put_map(&w, &r, &pm->client)
                                : cv_natpmp_put_map(&w, &r);
    if (err == CV_OK)
        pm->events->send(pm->user, buf, w.len);
}

static void ask_address(struct cv_portmap *pm, cv_time now)
{
    uint8_t buf[2];
    struct cv_writer w;

    if (pm->address_tries >= CV_NATPMP_TRIES) {
        pm->address_next = CV_NEVER;
        return;
    }
    cv_writer_init(&w, buf, sizeof buf);
    if (cv_natpmp_put_address(&w) == CV_OK)
        pm->events->send(pm->user, buf, w.len);
    pm->address_next = now + (CV_NATPMP_RT_FIRST << pm->address_tries);
    pm->address_tries++;
}

/* When to say it again if nothing comes. */
static void wait_for_answer(struct cv_portmap *pm, struct cv_portmap_lease *l,
                            enum cv_portmap_way way, cv_time now)
{
    bool pcp = way == CV_PORTMAP_PCP;

    if (l->mapped.family != CV_FAMILY_NONE && !l->lost) {
        /* A renewal has its own rhythm, which leaves it several chances. */
        l->renewals++;
        l->next = renewal_time(pm, l, now);
        l->rt = l->next - now;
        return;
    }
    if (l->rt == 0)
        l->rt = pcp ? jitter(pm, CV_PCP_RT_FIRST) : CV_NATPMP_RT_FIRST;
    else if (pcp)
        l->rt =
            jitter(pm, 2 * l->rt < CV_PCP_RT_MAX ? 2 * l->rt : CV_PCP_RT_MAX);
    else
        l->rt *= 2;
    l->tries++;
    l->next = now + l->rt;
}

static void ask(struct cv_portmap *pm, enum cv_portmap_port port, cv_time now)
{
    struct cv_portmap_lease *l = &pm->lease[port];
    /* While nobody serves, this is PCP's question in the race. */
    enum cv_portmap_way way =
        pm->way != CV_PORTMAP_NO_WAY ? pm->way : CV_PORTMAP_PCP;

    switch (way) {
    case CV_PORTMAP_PCP:
        cv_portmap_send(pm, way, port, CV_PORTMAP_LEASE);
        break;
    case CV_PORTMAP_NATPMP:
        if (l->tries >= CV_NATPMP_TRIES && port == CV_PORTMAP_UDP) {
            cv_portmap_refuse(pm, way, 0, "it fell silent", now);
            return;
        }
        if (l->tries >= CV_NATPMP_TRIES) {
            l->next = CV_NEVER;
            return;
        }
        cv_portmap_send(pm, way, port, CV_PORTMAP_LEASE);
        break;
    case CV_PORTMAP_UPNP:
        l->next = CV_NEVER; /* cv_portmap_upnp_mapped() comes in any case */
        pm->events->upnp_map(pm->user, port, l->internal,
                             l->mapped.port != 0 ? l->mapped.port : l->internal,
                             CV_PORTMAP_LEASE);
        return;
    case CV_PORTMAP_NO_WAY:
    case CV_PORTMAP_WAYS:
        assert(false);
        return;
    }
    wait_for_answer(pm, l, way, now);
}

static void give_back(struct cv_portmap *pm, enum cv_portmap_port port)
{
    if (pm->lease[port].mapped.family == CV_FAMILY_NONE)
        return;
    switch (pm->way) {
    case CV_PORTMAP_PCP:
    case CV_PORTMAP_NATPMP:
        cv_portmap_send(pm, pm->way, port, 0);
        return;
    case CV_PORTMAP_UPNP:
        pm->events->upnp_unmap(pm->user, port);
        return;
    case CV_PORTMAP_NO_WAY:
    case CV_PORTMAP_WAYS:
        return;
    }
}

/* ---- the outside ---- */

void cv_portmap_network(struct cv_portmap *pm, const struct cv_addr *gateway,
                        const struct cv_addr *client, cv_time now)
{
    if (cv_addr_same_ip(&pm->gateway, gateway) &&
        cv_addr_same_ip(&pm->client, client))
        return;
    pm->gateway = *gateway;
    pm->gateway.port = CV_PCP_PORT;
    pm->client = *client;
    memset(pm->clock, 0, sizeof pm->clock);
    memset(pm->refused_until, 0, sizeof pm->refused_until);
    pm->reason[0] = '\0';
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++)
        cv_random(pm->rng, pm->lease[i].nonce, sizeof pm->lease[i].nonce);
    if (gateway->family != CV_FAMILY_IPV4 || client->family != CV_FAMILY_IPV4) {
        pm->gateway = (struct cv_addr){0};
        pm->way = CV_PORTMAP_NO_WAY;
        pm->give_up = pm->address_next = CV_NEVER;
        for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++)
            cv_portmap_forget(&pm->lease[i], CV_NEVER);
        set_state(pm, CV_PORTMAP_OFF);
        return;
    }
    race(pm, now);
}

void cv_portmap_want(struct cv_portmap *pm, enum cv_portmap_port port,
                     uint16_t internal, cv_time now)
{
    struct cv_portmap_lease *l = &pm->lease[port];

    if (l->internal == internal)
        return;
    give_back(pm, port);
    l->internal = internal;
    cv_random(pm->rng, l->nonce, sizeof l->nonce);
    cv_portmap_forget(l, now);
    pm->events->changed(pm->user);
}

void cv_portmap_close(struct cv_portmap *pm)
{
    for (enum cv_portmap_port p = 0; p < CV_PORTMAP_PORTS; p++) {
        give_back(pm, p);
        cv_portmap_forget(&pm->lease[p], CV_NEVER);
        pm->lease[p].next = CV_NEVER;
    }
    pm->give_up = pm->address_next = CV_NEVER;
    pm->state = CV_PORTMAP_OFF;
}

void cv_portmap_ask_again(struct cv_portmap *pm, cv_time spread, cv_time now)
{
    memset(pm->refused_until, 0, sizeof pm->refused_until);
    if (pm->way == CV_PORTMAP_NO_WAY) {
        race(pm, now);
        return;
    }
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++) {
        struct cv_portmap_lease *l = &pm->lease[i];
        cv_time in = (cv_time)(cv_random_u64(pm->rng) % (uint64_t)spread);

        if (l->internal == 0 || l->mapped.family == CV_FAMILY_NONE)
            continue;
        l->lost = true;
        l->rt = 0;
        l->tries = 0;
        l->next = cv_time_min(l->next, now + in);
    }
}

void cv_portmap_refresh(struct cv_portmap *pm, cv_time now)
{
    if (pm->state != CV_PORTMAP_OFF)
        cv_portmap_ask_again(pm, CV_MILLISECOND, now);
}

/* ---- time ---- */

/* Is this lease's request due to anybody? */
static bool is_asked(const struct cv_portmap *pm, enum cv_portmap_port port,
                     cv_time now)
{
    if (pm->lease[port].internal == 0)
        return false;
    return pm->way != CV_PORTMAP_NO_WAY ||
           (port == CV_PORTMAP_UDP &&
            !cv_portmap_is_refused(pm, CV_PORTMAP_PCP, now));
}

/* `at`, or when the refusal of this way is over. */
static cv_time way_time(const struct cv_portmap *pm, enum cv_portmap_way way,
                        cv_time at)
{
    if (!(pm->ways & 1u << way))
        return CV_NEVER;
    return at > pm->refused_until[way] ? at : pm->refused_until[way];
}

cv_time cv_portmap_deadline(const struct cv_portmap *pm)
{
    cv_time at = pm->give_up;

    if (pm->state == CV_PORTMAP_OFF)
        return CV_NEVER;
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++) {
        at = cv_time_min(at, pm->lease[i].expires);
        if (pm->way != CV_PORTMAP_NO_WAY)
            at = cv_time_min(at, pm->lease[i].next);
    }
    if (pm->way != CV_PORTMAP_NO_WAY)
        return at;
    at = cv_time_min(
        at, way_time(pm, CV_PORTMAP_PCP, pm->lease[CV_PORTMAP_UDP].next));
    at = cv_time_min(at, way_time(pm, CV_PORTMAP_NATPMP, pm->address_next));
    if (pm->upnp_ready)
        at = cv_time_min(at, way_time(pm, CV_PORTMAP_UPNP, 0));
    return at;
}

void cv_portmap_step(struct cv_portmap *pm, cv_time now)
{
    if (pm->state == CV_PORTMAP_OFF)
        return;
    for (enum cv_portmap_port p = 0; p < CV_PORTMAP_PORTS; p++)
        if (now >= pm->lease[p].expires) {
            cv_debug(pm->log, "portmap: a mapping was not renewed in time");
            if (p == CV_PORTMAP_UDP) {
                race(pm, now);
                break;
            }
            cv_portmap_forget(&pm->lease[p], now);
            pm->events->changed(pm->user);
        }
    if (pm->way == CV_PORTMAP_NO_WAY && pm->upnp_ready &&
        !cv_portmap_is_refused(pm, CV_PORTMAP_UPNP, now))
        cv_portmap_choose(pm, CV_PORTMAP_UPNP,
                          now); /* it has thought it over */
    for (enum cv_portmap_port p = 0; p < CV_PORTMAP_PORTS; p++)
        if (now >= pm->lease[p].next && is_asked(pm, p, now))
            ask(pm, p, now);
    if (pm->way == CV_PORTMAP_NO_WAY && now >= pm->address_next &&
        !cv_portmap_is_refused(pm, CV_PORTMAP_NATPMP, now))
        ask_address(pm, now);
    if (now >= pm->give_up) {
        pm->give_up = CV_NEVER;
        if (pm->way == CV_PORTMAP_NO_WAY)
            set_state(pm, CV_PORTMAP_REFUSED);
    }
}

/* ---- what is known ---- */

const struct cv_addr *cv_portmap_public(const struct cv_portmap *pm,
                                        enum cv_portmap_port port)
{
    const struct cv_addr *a = &pm->lease[port].mapped;

    return pm->state == CV_PORTMAP_SERVED && a->family != CV_FAMILY_NONE &&
                   cv_addr_kind(a) == CV_ADDR_GLOBAL
               ? a
               : NULL;
}

bool cv_portmap_settled(const struct cv_portmap *pm)
{
    switch (pm->state) {
    case CV_PORTMAP_OFF:
    case CV_PORTMAP_REFUSED:
        return true;
    case CV_PORTMAP_ASKING:
        return false;
    case CV_PORTMAP_SERVED:
        return pm->lease[CV_PORTMAP_UDP].mapped.family != CV_FAMILY_NONE;
    }
    return true;
}

bool cv_portmap_is_inside(const struct cv_portmap *pm)
{
    const struct cv_addr *a = &pm->lease[CV_PORTMAP_UDP].mapped;

    return a->family != CV_FAMILY_NONE ? cv_addr_kind(a) != CV_ADDR_GLOBAL
                                       : pm->no_address;
}

void cv_portmap_describe(const struct cv_portmap *pm, char *out, size_t len)
{
    const char *way = cv_portmap_way_name(pm->way);

    switch (pm->state) {
    case CV_PORTMAP_OFF:
        (void)snprintf(out, len, "no gateway to ask for a port");
        return;
    case CV_PORTMAP_ASKING:
        (void)snprintf(out, len, "the gateway is being asked for a port");
        return;
    case CV_PORTMAP_SERVED:
        if (cv_portmap_is_inside(pm))
            (void)snprintf(out, len,
                           "the gateway maps a port to us (%s), but has no "
                           "public address itself: there is a second NAT",
                           way);
        else if (cv_portmap_public(pm, CV_PORTMAP_UDP) != NULL)
            (void)snprintf(out, len, "the gateway maps a port to us (%s)", way);
        else
            (void)snprintf(out, len, "the gateway is asked for a port (%s)",
                           way);
        return;
    case CV_PORTMAP_REFUSED:
        if (pm->no_address)
            (void)snprintf(out, len,
                           "the gateway maps no port, for it has no public "
                           "address itself: there is a second NAT");
        else if (pm->reason[0] != '\0')
            (void)snprintf(out, len, "the gateway maps no port (%s)",
                           pm->reason);
        else
            (void)snprintf(out, len,
                           "the gateway answers neither PCP nor NAT-PMP nor "
                           "UPnP");
        return;
    }
}
