/* What the gateway says, and what is believed of it. */
#include "transport/portmap_impl.h"

#include "base/crypto.h"

#include <string.h>

/* The gateway's clock of this version says `epoch`.  False: it has started
 * anew since we last heard it (RFC 6887, 8.5). */
static bool clock_holds(struct cv_portmap *pm, uint8_t version, uint32_t epoch,
                        cv_time now)
{
    struct cv_portmap_clock *c = &pm->clock[version == 2];
    int64_t client, server;
    bool holds;

    client = (now - c->client) / CV_SECOND;
    server = (int64_t)epoch - (int64_t)c->server;
    holds = !c->known || (server >= -1 && client + 2 >= server - server / 16 &&
                          server + 2 >= client - client / 16);
    c->known = true;
    c->server = epoch;
    c->client = now;
    return holds;
}

static bool is_address(const struct cv_addr *a)
{
    return a->family == CV_FAMILY_IPV4 && cv_addr_kind(a) != CV_ADDR_UNUSABLE;
}

static bool port_of(const struct cv_portmap *pm, const struct cv_pcp_answer *a,
                    enum cv_portmap_port *out)
{
    for (enum cv_portmap_port p = 0; p < CV_PORTMAP_PORTS; p++)
        if (cv_portmap_protos[p] == (enum cv_pcp_proto)a->proto &&
            a->internal != 0 && pm->lease[p].internal == a->internal) {
            *out = p;
            return true;
        }
    return false;
}

/* A no to one of the ports.  TCP is a bonus: UDP goes on without. */
static void say_no(struct cv_portmap *pm, enum cv_portmap_port port,
                   enum cv_portmap_way way, uint32_t seconds, const char *why,
                   cv_time now)
{
    struct cv_portmap_lease *l = &pm->lease[port];

    if (port == CV_PORTMAP_UDP) {
        cv_portmap_refuse(pm, way, (cv_time)seconds * CV_SECOND, why, now);
        return;
    }
    cv_debug(pm->log, "portmap: no mapping for TCP, because %s", why);
    cv_portmap_forget(l, now + CV_PORTMAP_REFUSED_MAX);
}

static void on_pcp_map(struct cv_portmap *pm, const struct cv_pcp_answer *a,
                       cv_time now)
{
    enum cv_portmap_port port;

    if (!port_of(pm, a, &port) ||
        !cv_equal(a->nonce, pm->lease[port].nonce, CV_PCP_NONCE)) {
        pm->junk++;
        return;
    }
    if (pm->way != CV_PORTMAP_NO_WAY && pm->way != CV_PORTMAP_PCP) {
        /* Late: another way serves. */
        if (a->result == CV_PCP_SUCCESS && a->lifetime > 0)
            cv_portmap_send(pm, CV_PORTMAP_PCP, port, 0);
        return;
    }
    if (a->result != CV_PCP_SUCCESS) {
        say_no(pm, port, CV_PORTMAP_PCP, a->lifetime,
               cv_pcp_result_text(a->version, a->result), now);
        return;
    }
    if (a->lifetime == 0)
        return; /* what we gave back */
    if (!is_address(&a->external) || a->external.port == 0) {
        say_no(pm, port, CV_PORTMAP_PCP, 0, "it gave no usable address", now);
        return;
    }
    if (pm->way == CV_PORTMAP_NO_WAY)
        cv_portmap_choose(pm, CV_PORTMAP_PCP, now);
    cv_portmap_give(pm, port, &a->external, a->lifetime, now);
}

static void on_address(struct cv_portmap *pm, const struct cv_pcp_answer *a,
                       cv_time now)
{
    if (a->result != CV_PCP_SUCCESS) {
        if (pm->way == CV_PORTMAP_NO_WAY || pm->way == CV_PORTMAP_NATPMP)
            cv_portmap_refuse(pm, CV_PORTMAP_NATPMP, 0,
                              cv_pcp_result_text(a->version, a->result), now);
        return;
    }
    if (!is_address(&a->external)) {
        pm->junk++;
        return;
    }
    pm->address = a->external;
    pm->address_next = CV_NEVER;
    if (pm->way == CV_PORTMAP_NO_WAY &&
        !cv_portmap_is_refused(pm, CV_PORTMAP_NATPMP, now)) {
        cv_portmap_choose(pm, CV_PORTMAP_NATPMP, now);
        return;
    }
    if (pm->way != CV_PORTMAP_NATPMP)
        return;
    for (unsigned i = 0; i < CV_PORTMAP_PORTS; i++) {
        struct cv_addr *m = &pm->lease[i].mapped;

        if (m->family == CV_FAMILY_NONE || cv_addr_same_ip(m, &pm->address))
            continue;
        memcpy(m->ip, pm->address.ip, sizeof m->ip);
        pm->events->changed(pm->user);
    }
}

static void on_natpmp_map(struct cv_portmap *pm, const struct cv_pcp_answer *a,
                          cv_time now)
{
    struct cv_addr mapped = pm->address;
    enum cv_portmap_port port;

    if (pm->way != CV_PORTMAP_NATPMP || !port_of(pm, a, &port)) {
        pm->junk++;
        return;
    }
    if (a->result != CV_PCP_SUCCESS) {
        say_no(pm, port, CV_PORTMAP_NATPMP, 0,
               cv_pcp_result_text(a->version, a->result), now);
        return;
    }
    if (a->lifetime == 0)
        return;
    if (a->external.port == 0) {
        say_no(pm, port, CV_PORTMAP_NATPMP, 0, "it gave no usable port", now);
        return;
    }
    mapped.port = a->external.port;
    cv_portmap_give(pm, port, &mapped, a->lifetime, now);
}

/* A body-less error: a version that it does not speak, or a request that it
 * did not understand. */
static void on_other(struct cv_portmap *pm, const struct cv_pcp_answer *a,
                     cv_time now)
{
    bool wrong_version = a->result == CV_PCP_UNSUPP_VERSION;
    const char *why = cv_pcp_result_text(a->version, a->result);
    /* Version 0 that does not know the version was asked by PCP. */
    enum cv_portmap_way way =
        a->version == 2 || wrong_version ? CV_PORTMAP_PCP : CV_PORTMAP_NATPMP;

    if (a->result == CV_PCP_SUCCESS ||
        (pm->way != CV_PORTMAP_NO_WAY && pm->way != way))
        return;
    if (way == CV_PORTMAP_PCP && pm->lease[CV_PORTMAP_UDP].rt == 0) {
        pm->junk++; /* nothing was asked */
        return;
    }
    cv_portmap_refuse(pm, way, wrong_version ? CV_PORTMAP_REFUSED_MAX : 0, why,
                      now);
    if (wrong_version && a->version == 0 && pm->way == CV_PORTMAP_NO_WAY)
        pm->address_next = now;
}

void cv_portmap_input(struct cv_portmap *pm, const struct cv_addr *from,
                      struct cv_bytes data, cv_time now)
{
    struct cv_pcp_answer a;

    if (pm->state == CV_PORTMAP_OFF || !cv_addr_equal(from, &pm->gateway) ||
        cv_pcp_parse(&a, data) != CV_OK) {
        pm->junk++;
        return;
    }
    if (a.result == CV_PCP_SUCCESS &&
        !clock_holds(pm, a.version, a.epoch, now)) {
        cv_debug(pm->log, "portmap: the gateway has lost its state");
        cv_portmap_ask_again(pm, CV_PORTMAP_RECOVER, now);
    }
    if (a.result ==
        (a.version == 2 ? CV_PCP_NETWORK_FAILED : CV_NATPMP_NETWORK_FAILED))
        pm->no_address = true;
    switch (a.kind) {
    case CV_PCP_ANNOUNCE:
        return; /* the clock was all that it has to say */
    case CV_PCP_MAP:
        on_pcp_map(pm, &a, now);
        return;
    case CV_PCP_NATPMP_ADDRESS:
        on_address(pm, &a, now);
        return;
    case CV_PCP_NATPMP_MAP:
        on_natpmp_map(pm, &a, now);
        return;
    case CV_PCP_OTHER:
        on_other(pm, &a, now);
        return;
    }
}

void cv_portmap_upnp_found(struct cv_portmap *pm, bool found, cv_time now)
{
    if (pm->state == CV_PORTMAP_OFF)
        return;
    pm->upnp_ready = found;
    if (!found) {
        pm->refused_until[CV_PORTMAP_UPNP] = CV_NEVER; /* until a new race */
        if (pm->way == CV_PORTMAP_NO_WAY)
            cv_portmap_all_refused(pm, now);
        return;
    }
    if (pm->way == CV_PORTMAP_NO_WAY)
        cv_portmap_choose(pm, CV_PORTMAP_UPNP, now);
}

void cv_portmap_upnp_mapped(struct cv_portmap *pm, enum cv_portmap_port port,
                            int err, const struct cv_addr *mapped,
                            uint32_t lifetime, const char *why, cv_time now)
{
    if (pm->way != CV_PORTMAP_UPNP || pm->lease[port].internal == 0)
        return;
    if (err != CV_OK || !is_address(mapped) || mapped->port == 0)
        say_no(pm, port, CV_PORTMAP_UPNP, 0,
               err != CV_OK ? why : "it gave no usable address", now);
    else
        cv_portmap_give(pm, port, mapped, lifetime, now);
}
