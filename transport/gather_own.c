/* What follows from what others say: our candidates, and how the NAT maps. */
#include "transport/gather_impl.h"
#include <stdio.h>
#include <string.h>

#define HOSTS_V4_MAX 3
#define HOSTS_V6_MAX 2

/* What the sources say about one family. */
struct verdict {
    struct cv_addr mapped; /* to publish; family NONE: nothing agreed */
    uint16_t mapping;      /* CV_NAT_MAPPING_* */
    int step;              /* of a NAT that counts */
};

struct seen {
    struct cv_addr mapped, by;
    cv_time made;
};

/* In the order in which the mappings were made. */
static void add_seen(struct seen *list, unsigned *n, struct seen one)
{
    unsigned at = (*n)++;

    for (; at > 0 && list[at - 1].made > one.made; at--)
        list[at] = list[at - 1];
    list[at] = one;
}

static unsigned
collect_seen(const struct cv_gather *g, enum cv_family family,
             struct seen list[CV_GATHER_SOURCES + CV_GATHER_PEERS])
{
    unsigned n = 0;

    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++) {
        const struct cv_gather_source *src = &g->all[i];

        if (src->mapped.family == family &&
            (!cv_gather_is_other(g, src) ||
             !cv_gather_is_server(g, &src->addr)))
            add_seen(list, &n,
                     (struct seen){src->mapped, src->addr, src->made});
    }
    /* Peers are asked for what servers do not say: a stray of a peer's may
     * have got in the way of our mapping towards it. */
    for (unsigned i = 0; i < CV_GATHER_PEERS && n < 2; i++)
        if (g->peer[i].mapped.family == family)
            add_seen(list, &n,
                     (struct seen){g->peer[i].mapped, g->peer[i].peer,
                                   g->peer[i].at});
    return n;
}

static struct verdict judge(const struct cv_gather *g, enum cv_family family)
{
    struct verdict v = {.mapping = CV_NAT_MAPPING_UNKNOWN};
    struct seen seen[CV_GATHER_SOURCES + CV_GATHER_PEERS];
    struct cv_ports_seen ports = {.n = 0};
    unsigned n = collect_seen(g, family, seen), ips = 0, best_votes = 0;

    for (unsigned i = 0; i < n; i++) {
        unsigned votes = 0;
        bool new_ip = true;

        for (unsigned k = 0; k < n; k++)
            votes += cv_addr_same_ip(&seen[i].mapped, &seen[k].mapped);
        for (unsigned k = 0; k < i; k++)
            new_ip &= !cv_addr_same_ip(&seen[i].by, &seen[k].by);
        ips += new_ip;
        if (votes > best_votes) {
            best_votes = votes;
            v.mapped = seen[i].mapped;
        }
    }
    if (best_votes < 2 && !(best_votes == 1 && g->n_servers == 1 && n == 1))
        v.mapped = (struct cv_addr){0};
    if (v.mapped.family == CV_FAMILY_NONE)
        return v;

    for (unsigned i = 0; i < n; i++)
        if (cv_addr_same_ip(&seen[i].mapped, &v.mapped)) {
            cv_ports_seen_add(&ports, seen[i].mapped.port);
            if (seen[i].mapped.port != v.mapped.port)
                v.mapped = seen[i].mapped; /* the newest */
        }
    v.mapping = cv_ports_seen_kind(&ports, &v.step);
    if (v.mapping == CV_NAT_MAPPING_EIM && ips < 2)
        v.mapping = CV_NAT_MAPPING_UNKNOWN; /* maybe one for each address */
    if (v.mapping == CV_NAT_MAPPING_SEQ && g->counted.family == family &&
        cv_addr_same_ip(&g->counted, &v.mapped))
        v.mapped = g->counted;
    return v;
}

/* One for UDP and one for TCP may have the same address. */
static bool has(const struct cv_candidates *c, enum cv_candidate_type type,
                const struct cv_addr *a)
{
    for (unsigned i = 0; i < c->n; i++)
        if (cv_addr_equal(&c->c[i].addr, a) &&
            (c->c[i].type == CV_CANDIDATE_TCP) == (type == CV_CANDIDATE_TCP))
            return true;
    return false;
}

static void add(struct cv_candidates *c, enum cv_candidate_type type,
                const struct cv_addr *a)
{
    if (c->n == CV_CANDIDATES_MAX || has(c, type, a))
        return;
    c->c[c->n].type = (uint8_t)type;
    c->c[c->n].pref = (uint8_t)(200 - 10 * c->n);
    c->c[c->n].addr = *a;
    c->n++;
}

static void add_hosts(const struct cv_gather *g, struct cv_candidates *c,
                      enum cv_family family, bool global, unsigned max)
{
    for (unsigned i = 0; i < g->local.n && max > 0; i++) {
        struct cv_addr a = g->local.net[i].addr;

        if (a.family != family ||
            (cv_addr_kind(&a) == CV_ADDR_GLOBAL) != global)
            continue;
        a.port = g->local.port;
        add(c, CV_CANDIDATE_HOST, &a);
        max--;
    }
}

static bool is_host(const struct cv_gather *g, const struct cv_addr *a)
{
    for (unsigned i = 0; i < g->local.n; i++)
        if (cv_addr_same_ip(&g->local.net[i].addr, a))
            return true;
    return false;
}

/* Where our TCP listener is seen: as the servers say, by the rule for UDP; or
 * at an address of ours that needs no translation. */
static void add_tcp(const struct cv_gather *g, struct cv_candidates *c,
                    enum cv_family family, const struct cv_addr *udp)
{
    const struct cv_tcpmap_verdict *v =
        &g->tcp[family == CV_FAMILY_IPV4 ? 0 : 1];
    uint16_t port =
        family == CV_FAMILY_IPV4 ? g->local.tcp_port : g->local.tcp_port6;

    if (port == 0)
        return;
    if (v->votes >= 2 ||
        (v->votes == 1 &&
         (g->n_servers == 1 || cv_addr_same_ip(&v->mapped, udp)))) {
        add(c, CV_CANDIDATE_TCP, &v->mapped);
        return;
    }
    for (unsigned i = 0; i < g->local.n; i++) {
        struct cv_addr a = g->local.net[i].addr;

        if (a.family != family ||
            (cv_addr_kind(&a) != CV_ADDR_GLOBAL && !g->local.only_loopback))
            continue;
        a.port = port;
        add(c, CV_CANDIDATE_TCP, &a);
        return;
    }
}

static bool all_failed(const struct cv_gather *g)
{
    bool any = false;

    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            const struct cv_gather_source *src = &g->source[s][k];

            if (src->addr.family == CV_FAMILY_NONE)
                continue;
            if (!src->failed)
                return false;
            any = true;
        }
    return any;
}

void cv_gather_collect(struct cv_gather *g, struct cv_candidates *c)
{
    struct verdict v4 = judge(g, CV_FAMILY_IPV4);
    struct verdict v6 = judge(g, CV_FAMILY_IPV6);

    memset(c, 0, sizeof *c);
    if (g->local.ipv6)
        add_hosts(g, c, CV_FAMILY_IPV6, true, HOSTS_V6_MAX);
    if (c->n > 0)
        c->nat |= CV_NAT_IPV6;
    if (g->local.ipv4)
        add_hosts(g, c, CV_FAMILY_IPV4, true, HOSTS_V4_MAX);
    if (g->local.ipv4 && g->mapped.family != CV_FAMILY_NONE)
        add(c, CV_CANDIDATE_MAPPED, &g->mapped);
    c->nat |= v4.mapping;
    if (v4.mapped.family != CV_FAMILY_NONE) {
        if (is_host(g, &v4.mapped))
            c->nat = (c->nat & (uint16_t)~CV_NAT_MAPPING_MASK) |
                     CV_NAT_MAPPING_EIM; /* no NAT at all */
        else
            add(c, CV_CANDIDATE_SRFLX, &v4.mapped);
        if (v4.mapping == CV_NAT_MAPPING_SEQ) {
            /* The one before, to say how it counts. */
            struct cv_addr before = v4.mapped;

            before.port = cv_predict_port(before.port, -v4.step, 1);
            add(c, CV_CANDIDATE_SRFLX, &before);
        }
        if (v4.mapping == CV_NAT_MAPPING_EIM && g->strays == CV_STRAYS_DROPPED)
            c->nat |= CV_NAT_DROPS_STRAYS;
        if (v4.mapping == CV_NAT_MAPPING_EIM && g->filter == CV_FILTER_PORT)
            c->nat |= CV_NAT_STRICT;
        g->local.reflexive = v4.mapped;
        g->local.reflexive.port = 0;
    }
    if (v6.mapped.family != CV_FAMILY_NONE && !is_host(g, &v6.mapped))
        add(c, CV_CANDIDATE_SRFLX, &v6.mapped);
    add_tcp(g, c, CV_FAMILY_IPV4, &v4.mapped);
    add_tcp(g, c, CV_FAMILY_IPV6, &v6.mapped);
    if (g->local.ipv4)
        add_hosts(g, c, CV_FAMILY_IPV4, false, HOSTS_V4_MAX);
    if (g->local.ipv6)
        add_hosts(g, c, CV_FAMILY_IPV6, false, 1);
    if (g->mapped_tcp.family != CV_FAMILY_NONE)
        add(c, CV_CANDIDATE_TCP, &g->mapped_tcp);
    if (all_failed(g))
        c->nat |= CV_NAT_UDP_BLOCKED;
}

bool cv_gather_same(const struct cv_candidates *a,
                    const struct cv_candidates *b)
{
    bool seq = (a->nat & CV_NAT_MAPPING_MASK) == CV_NAT_MAPPING_SEQ;

    if (a->n != b->n || a->nat != b->nat)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        const struct cv_candidate *x = &a->c[i], *y = &b->c[i];

        if (x->type != y->type || x->pref != y->pref ||
            !(seq && x->type == CV_CANDIDATE_SRFLX
                  ? cv_addr_same_ip(&x->addr, &y->addr)
                  : cv_addr_equal(&x->addr, &y->addr)))
            return false;
    }
    return true;
}

const struct cv_candidates *cv_gather_own(const struct cv_gather *g)
{
    return &g->own;
}

void cv_gather_describe(const struct cv_gather *g, char *out, size_t len)
{
    static const char *const mapping[] = {
        "NAT kind not known",
        "the NAT keeps one port for all destinations",
        "the NAT gives every destination another port, in sequence",
        "the NAT gives every destination another port, at random",
    };
    unsigned host = 0, srflx = 0, answers = 0;

    for (unsigned i = 0; i < g->own.n; i++) {
        host += g->own.c[i].type == CV_CANDIDATE_HOST;
        srflx += g->own.c[i].type == CV_CANDIDATE_SRFLX;
    }
    for (unsigned s = 0; s < g->n_servers; s++)
        answers += g->source[s][0].mapped.family != CV_FAMILY_NONE ||
                   g->source[s][1].mapped.family != CV_FAMILY_NONE;
    snprintf(out, len,
             "UDP port %u%s; %u own address%s, %u seen from outside; %u of %u "
             "STUN servers answer%s; %s",
             (unsigned)g->local.port,
             g->local.only_loopback ? " (only loopback, no network)" : "", host,
             host == 1 ? "" : "es", srflx, answers, g->n_servers,
             g->own.nat & CV_NAT_UDP_BLOCKED ? " (UDP seems to be blocked)"
                                             : "",
             mapping[g->own.nat & CV_NAT_MAPPING_MASK]);
}
