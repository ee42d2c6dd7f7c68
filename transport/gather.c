#include "transport/gather.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_V4_MAX 3
#define HOSTS_V6_MAX 2
/* Ports that follow each other this closely are given out in sequence. */
#define SEQUENTIAL 16

void cv_gather_init(struct cv_gather *g, const struct cv_rng *rng,
                    struct cv_log *log, const struct cv_local *local,
                    unsigned n_servers, cv_path_send_fn send,
                    void (*changed)(void *user,
                                    const struct cv_candidates *own),
                    void *user, cv_time now)
{
    memset(g, 0, sizeof *g);
    g->rng = rng;
    g->log = log;
    g->send = send;
    g->changed = changed;
    g->user = user;
    g->local = *local;
    g->n_servers =
        n_servers < CV_GATHER_SERVERS ? n_servers : CV_GATHER_SERVERS;
    g->started = now;
    g->tell_at = g->n_servers > 0 ? now + CV_GATHER_FIRST : now;
    for (unsigned s = 0; s < CV_GATHER_SERVERS; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++)
            g->source[s][k].next = CV_NEVER;
}

void cv_gather_server(struct cv_gather *g, unsigned server,
                      const struct cv_addr *addrs, unsigned n, cv_time now)
{
    if (server >= g->n_servers)
        return;
    for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
        struct cv_gather_source *s = &g->source[server][k];
        uint8_t family = k == 0 ? CV_FAMILY_IPV4 : CV_FAMILY_IPV6;
        cv_time first = g->started + server * CV_GATHER_STAGGER;

        for (unsigned i = 0; i < n; i++) {
            if (addrs[i].family != family)
                continue;
            if (cv_addr_equal(&s->addr, &addrs[i]))
                break;
            memset(s, 0, sizeof *s);
            s->addr = addrs[i];
            s->next = first > now ? first : now;
            break;
        }
    }
}

void cv_gather_network_changed(struct cv_gather *g,
                               const struct cv_local *local, cv_time now)
{
    struct cv_addr reflexive = g->local.reflexive;

    g->local = *local;
    g->local.reflexive = reflexive; /* until the sources say otherwise */
    memset(g->peer, 0, sizeof g->peer);
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            struct cv_gather_source *src = &g->source[s][k];

            if (src->addr.family == CV_FAMILY_NONE)
                continue;
            src->mapped = (struct cv_addr){0};
            src->open = false;
            src->tries = 0;
            src->next = now;
        }
    g->tell_at = now + (g->n_servers > 0 ? CV_GATHER_FIRST : CV_GATHER_SETTLE);
}

void cv_gather_refresh(struct cv_gather *g, cv_time now)
{
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            struct cv_gather_source *src = &g->source[s][k];

            if (src->addr.family == CV_FAMILY_NONE ||
                now - src->sent < CV_SECOND)
                continue;
            src->open = false;
            src->tries = 0;
            src->next = now;
        }
}

static void soon(struct cv_gather *g, cv_time now)
{
    if (g->told)
        g->tell_at = cv_time_min(g->tell_at, now + CV_GATHER_SETTLE);
}

void cv_gather_reflexive(struct cv_gather *g, const struct cv_addr *mapped,
                         const struct cv_addr *peer, cv_time now)
{
    struct cv_gather_peer *p = &g->peer[0];

    /* Only what the internet sees is news. */
    if (cv_addr_kind(mapped) != CV_ADDR_GLOBAL ||
        cv_addr_kind(peer) != CV_ADDR_GLOBAL)
        return;
    for (unsigned i = 0; i < CV_GATHER_PEERS; i++) {
        struct cv_gather_peer *q = &g->peer[i];

        if (cv_addr_same_ip(&q->peer, peer)) {
            p = q;
            break;
        }
        if (q->at < p->at)
            p = q;
    }
    if (!cv_addr_equal(&p->mapped, mapped))
        soon(g, now);
    *p = (struct cv_gather_peer){.peer = *peer, .mapped = *mapped, .at = now};
}

static bool set_mapped(struct cv_addr *at, const struct cv_addr *to)
{
    struct cv_addr was = *at;

    *at = to ? *to : (struct cv_addr){0};
    return !cv_addr_equal(&was, at);
}

void cv_gather_mapped(struct cv_gather *g, const struct cv_addr *udp,
                      const struct cv_addr *tcp, cv_time now)
{
    bool news = set_mapped(&g->mapped, udp);

    news = set_mapped(&g->mapped_tcp, tcp) || news;
    if (news)
        soon(g, now);
}

static struct cv_gather_source *find_open(struct cv_gather *g,
                                          const struct cv_stun *m)
{
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            struct cv_gather_source *src = &g->source[s][k];

            if (src->open && memcmp(src->txid, m->txid, sizeof m->txid) == 0)
                return src;
        }
    return NULL;
}

bool cv_gather_input(struct cv_gather *g, const struct cv_path_addr *from,
                     const struct cv_stun *m, cv_time now)
{
    struct cv_gather_source *src;
    char text[CV_ADDR_TEXT];

    if (m->type != CV_STUN_SUCCESS && m->type != CV_STUN_ERROR)
        return false;
    src = find_open(g, m);
    if (!src || !cv_addr_equal(&from->remote, &src->addr))
        return false;
    if (m->type == CV_STUN_ERROR || m->n_unknown > 0 ||
        m->mapped.family != src->addr.family || m->mapped.port == 0)
        return true; /* of no use; the time-out goes on */
    src->open = false;
    src->failed = false;
    src->tries = 0;
    src->next = now + CV_GATHER_REFRESH;
    src->rtt = now - src->sent;
    if (!cv_addr_equal(&src->mapped, &m->mapped)) {
        cv_debug(g->log, "gather: server sees us at %s",
                 cv_addr_log(g->log, &m->mapped, text));
        src->mapped = m->mapped;
        soon(g, now);
    }
    return true;
}

static void ask(struct cv_gather *g, struct cv_gather_source *s, cv_time now)
{
    struct cv_path_addr to = {.carrier = CV_CARRIER_UDP, .remote = s->addr};
    static const uint8_t fill[24];
    uint8_t buf[64];
    struct cv_writer w;

    if (s->tries == 0) {
        cv_random(g->rng, s->txid, sizeof s->txid);
        s->sent = now;
    }
    s->open = true;
    cv_writer_init(&w, buf, sizeof buf);
    /* Says nothing of who we are; 56 bytes, so that a server which never
     * sends more than it got can answer. */
    cv_stun_begin(&w, CV_STUN_REQUEST, s->txid);
    cv_stun_put(&w, CV_STUN_FILL, fill, sizeof fill);
    if (cv_stun_put_fingerprint(&w) == CV_OK)
        (void)g->send(g->user, &to, 0, buf, w.len, w.len);
    s->next = now + (CV_GATHER_RTO << s->tries);
    s->tries++;
}

/* What the sources say about one family. */
struct verdict {
    struct cv_addr mapped; /* to publish; family NONE: nothing agreed */
    uint16_t mapping;      /* CV_NAT_MAPPING_* */
};

static struct verdict judge(const struct cv_gather *g, enum cv_family family)
{
    struct verdict v = {.mapping = CV_NAT_MAPPING_UNKNOWN};
    struct cv_addr seen[CV_GATHER_SERVERS + CV_GATHER_PEERS];
    struct cv_addr by[CV_GATHER_SERVERS + CV_GATHER_PEERS];
    unsigned n = 0, ips = 0, best_votes = 0;
    bool differ = false, near = true;

    for (unsigned s = 0; s < g->n_servers; s++) {
        const struct cv_gather_source *src =
            &g->source[s][family == CV_FAMILY_IPV4 ? 0 : 1];

        if (src->mapped.family == family) {
            by[n] = src->addr;
            seen[n++] = src->mapped;
        }
    }
    for (unsigned i = 0; i < CV_GATHER_PEERS; i++)
        if (g->peer[i].mapped.family == family) {
            by[n] = g->peer[i].peer;
            seen[n++] = g->peer[i].mapped;
        }

    for (unsigned i = 0; i < n; i++) {
        unsigned votes = 0;
        bool new_ip = true;

        for (unsigned k = 0; k < n; k++)
            votes += cv_addr_same_ip(&seen[i], &seen[k]);
        for (unsigned k = 0; k < i; k++)
            new_ip &= !cv_addr_same_ip(&by[i], &by[k]);
        ips += new_ip;
        if (votes > best_votes) {
            best_votes = votes;
            v.mapped = seen[i];
        }
    }
    if (best_votes < 2 && !(best_votes == 1 && g->n_servers == 1 && n == 1))
        v.mapped = (struct cv_addr){0};
    if (ips < 2 || v.mapped.family == CV_FAMILY_NONE)
        return v;

    for (unsigned i = 0; i < n; i++) {
        if (!cv_addr_same_ip(&seen[i], &v.mapped))
            continue;
        if (seen[i].port != v.mapped.port) {
            differ = true;
            near &= abs((int)seen[i].port - (int)v.mapped.port) <= SEQUENTIAL;
        }
    }
    v.mapping = !differ ? CV_NAT_MAPPING_EIM
                : near  ? CV_NAT_MAPPING_SEQ
                        : CV_NAT_MAPPING_RANDOM;
    return v;
}

/* A TCP address is another one than the same of UDP. */
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

/* IPv6 global, mapped, reflexive, then addresses of the LAN. */
static void collect(struct cv_gather *g, struct cv_candidates *c)
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
        g->local.reflexive = v4.mapped;
        g->local.reflexive.port = 0;
    }
    if (v6.mapped.family != CV_FAMILY_NONE && !is_host(g, &v6.mapped))
        add(c, CV_CANDIDATE_SRFLX, &v6.mapped);
    if (g->local.ipv4)
        add_hosts(g, c, CV_FAMILY_IPV4, false, HOSTS_V4_MAX);
    if (g->local.ipv6)
        add_hosts(g, c, CV_FAMILY_IPV6, false, 1);
    if (g->mapped_tcp.family != CV_FAMILY_NONE)
        add(c, CV_CANDIDATE_TCP, &g->mapped_tcp);
    if (all_failed(g))
        c->nat |= CV_NAT_UDP_BLOCKED;
}

bool cv_gather_settled(const struct cv_gather *g)
{
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            const struct cv_gather_source *src = &g->source[s][k];

            if (k == 0 && src->addr.family == CV_FAMILY_NONE &&
                g->source[s][1].addr.family == CV_FAMILY_NONE)
                return false; /* not resolved */
            if (src->addr.family != CV_FAMILY_NONE && !src->failed &&
                src->mapped.family == CV_FAMILY_NONE)
                return false;
        }
    return true;
}

cv_time cv_gather_deadline(const struct cv_gather *g)
{
    cv_time at = g->tell_at;

    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++)
            if (g->source[s][k].addr.family != CV_FAMILY_NONE)
                at = cv_time_min(at, g->source[s][k].next);
    for (unsigned i = 0; i < CV_GATHER_PEERS; i++)
        if (g->peer[i].mapped.family != CV_FAMILY_NONE)
            at = cv_time_min(at, g->peer[i].at + CV_GATHER_PEER_LIFE);
    if (!g->told && cv_gather_settled(g))
        at = cv_time_min(at, g->started);
    return at;
}

static void step_source(struct cv_gather *g, struct cv_gather_source *s,
                        cv_time now)
{
    if (s->addr.family == CV_FAMILY_NONE || now < s->next)
        return;
    if (s->tries < CV_GATHER_TRIES) {
        ask(g, s, now);
        return;
    }
    if (!s->failed)
        soon(g, now);
    s->failed = true;
    s->mapped = (struct cv_addr){0};
    s->tries = 0;
    s->next = now + CV_GATHER_REFRESH;
}

static bool same_candidates(const struct cv_candidates *a,
                            const struct cv_candidates *b)
{
    if (a->n != b->n || a->nat != b->nat)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (a->c[i].type != b->c[i].type || a->c[i].pref != b->c[i].pref ||
            !cv_addr_equal(&a->c[i].addr, &b->c[i].addr))
            return false;
    return true;
}

void cv_gather_step(struct cv_gather *g, cv_time now)
{
    struct cv_candidates c;

    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++)
            step_source(g, &g->source[s][k], now);
    for (unsigned i = 0; i < CV_GATHER_PEERS; i++)
        if (g->peer[i].mapped.family != CV_FAMILY_NONE &&
            now - g->peer[i].at >= CV_GATHER_PEER_LIFE) {
            memset(&g->peer[i], 0, sizeof g->peer[i]);
            soon(g, now);
        }
    if (now < g->tell_at && (g->told || !cv_gather_settled(g)))
        return;
    g->tell_at = CV_NEVER;
    collect(g, &c);
    if (g->told && same_candidates(&c, &g->own))
        return;
    g->own = c;
    g->told = true;
    cv_debug(g->log, "gather: %u candidates, nat=%#x", c.n, c.nat);
    g->changed(g->user, &g->own);
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
