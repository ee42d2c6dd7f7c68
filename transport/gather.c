#include "transport/gather.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_V4_MAX 3
#define HOSTS_V6_MAX 2
#define SOURCES      (CV_GATHER_SERVERS * CV_GATHER_ADDRS + CV_GATHER_OTHERS)

/* All that may be asked: the servers', then the further ones. */
static struct cv_gather_source *source(struct cv_gather *g, unsigned i)
{
    const unsigned servers = CV_GATHER_SERVERS * CV_GATHER_ADDRS;

    if (i < servers)
        return &g->source[i / CV_GATHER_ADDRS][i % CV_GATHER_ADDRS];
    return &g->other[i - servers];
}

static const struct cv_gather_source *source_of(const struct cv_gather *g,
                                                unsigned i)
{
    const unsigned servers = CV_GATHER_SERVERS * CV_GATHER_ADDRS;

    if (i < servers)
        return &g->source[i / CV_GATHER_ADDRS][i % CV_GATHER_ADDRS];
    return &g->other[i - servers];
}

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
    g->kind_at = CV_NEVER;
    cv_bucket_init(&g->again, CV_SECOND / CV_GATHER_AGAIN, CV_GATHER_AGAINS);
    g->again_at = CV_NEVER;
    for (unsigned i = 0; i < SOURCES; i++)
        source(g, i)->next = CV_NEVER;
}

void cv_gather_sockets(struct cv_gather *g, cv_socket_open_fn open,
                       cv_socket_close_fn close)
{
    g->open = open;
    g->close = close;
}

static void end_kind(struct cv_gather *g)
{
    if (g->kind.socket != 0)
        g->close(g->user, g->kind.socket);
    g->kind = (struct cv_natkind){.state = CV_NATKIND_IDLE};
}

void cv_gather_fini(struct cv_gather *g)
{
    if (!g->close)
        return;
    end_kind(g);
    cv_natlife_end(&g->life);
}

void cv_gather_want_life(struct cv_gather *g)
{
    g->life_wanted = true;
}

/* So often a mapping is used that nothing else keeps. */
static cv_time refresh_every(const struct cv_gather *g)
{
    return cv_time_min(CV_GATHER_REFRESH,
                       cv_keep_standby(cv_natlife_hoped(&g->life)));
}

/* Another network: nothing is known of its NAT. */
static void forget_kind(struct cv_gather *g)
{
    cv_gather_fini(g);
    memset(g->other, 0, sizeof g->other);
    for (unsigned i = 0; i < CV_GATHER_OTHERS; i++)
        g->other[i].next = CV_NEVER;
    g->kind_server = g->kind_other = g->counted = (struct cv_addr){0};
    g->kind_at = CV_NEVER;
    g->kind_tested = false;
    g->filter = CV_FILTER_UNKNOWN;
    g->strays = CV_STRAYS_UNKNOWN;
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

/* Begin a round of questions now. */
static void ask_again(struct cv_gather_source *src, cv_time now)
{
    src->open = false;
    src->tries = 0;
    src->next = now;
}

void cv_gather_network_changed(struct cv_gather *g,
                               const struct cv_local *local, cv_time now)
{
    struct cv_addr reflexive = g->local.reflexive;

    g->local = *local;
    g->local.reflexive = reflexive; /* until the sources say otherwise */
    memset(g->peer, 0, sizeof g->peer);
    forget_kind(g);
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            struct cv_gather_source *src = &g->source[s][k];

            if (src->addr.family == CV_FAMILY_NONE)
                continue;
            src->mapped = (struct cv_addr){0};
            ask_again(src, now);
        }
    g->tell_at = now + (g->n_servers > 0 ? CV_GATHER_FIRST : CV_GATHER_SETTLE);
    g->kind_at = g->tell_at + CV_GATHER_KIND;
}

void cv_gather_refresh(struct cv_gather *g, cv_time now)
{
    if (!cv_bucket_take(&g->again, now)) {
        g->again_at = cv_time_min(g->again_at, now + CV_GATHER_AGAIN);
        return;
    }
    g->again_at = CV_NEVER;
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            struct cv_gather_source *src = &g->source[s][k];

            if (src->addr.family == CV_FAMILY_NONE ||
                (src->open && now - src->sent < CV_GATHER_RTO))
                continue; /* it is asked again soon */
            ask_again(src, now);
        }
}

static void soon(struct cv_gather *g, cv_time now)
{
    if (g->told)
        g->tell_at = cv_time_min(g->tell_at, now + CV_GATHER_SETTLE);
}

void cv_gather_tcp(struct cv_gather *g, const struct cv_tcpmap_verdict *v4,
                   const struct cv_tcpmap_verdict *v6, cv_time now)
{
    g->tcp[0] = *v4;
    g->tcp[1] = *v6;
    soon(g, now);
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

/* The NAT has forgotten its mappings: what else we were told is from before,
 * unless it was asked for now. */
static void rebound(struct cv_gather *g, const struct cv_gather_source *news,
                    cv_time now)
{
    memset(g->peer, 0, sizeof g->peer);
    g->counted = (struct cv_addr){0};
    g->rebound = true;
    for (unsigned i = 0; i < SOURCES; i++) {
        struct cv_gather_source *src = source(g, i);

        if (src == news || src->addr.family != news->addr.family ||
            news->sent - src->sent < CV_GATHER_SETTLE ||
            src->mapped.family == CV_FAMILY_NONE)
            continue; /* who never answered is not bothered again */
        src->mapped = (struct cv_addr){0};
        ask_again(src, now);
    }
}

/* Later changes wait for more news, but for no longer than it takes. */
static void all_spoke(struct cv_gather *g, cv_time now)
{
    for (unsigned i = 0; i < SOURCES; i++)
        if (source(g, i)->open || source(g, i)->next <= now)
            return;
    if (g->told && g->tell_at != CV_NEVER)
        g->tell_at = now;
}

static struct cv_gather_source *find_open(struct cv_gather *g,
                                          const struct cv_stun *m)
{
    for (unsigned i = 0; i < SOURCES; i++) {
        struct cv_gather_source *src = source(g, i);

        if (src->open && memcmp(src->txid, m->txid, sizeof m->txid) == 0)
            return src;
    }
    return NULL;
}

/* May a server name this as another address of its own?  It could be anybody's,
 * and gets three small packets. */
static bool may_ask(const struct cv_addr *server, const struct cv_addr *a)
{
    return a->family == CV_FAMILY_IPV4 && server->family == CV_FAMILY_IPV4 &&
           a->port >= 1024 && cv_addr_kind(a) == cv_addr_kind(server) &&
           !cv_addr_equal(a, server);
}

static bool is_server(const struct cv_gather *g, const struct cv_addr *a)
{
    for (unsigned i = 0; i < CV_GATHER_SERVERS * CV_GATHER_ADDRS; i++)
        if (cv_addr_equal(&source_of(g, i)->addr, a))
            return true;
    return false;
}

/* The first server that has a second address is asked there as well; what is
 * asked already would only tell of its one mapping again, as if it were new. */
static void ask_other(struct cv_gather *g, const struct cv_gather_source *src,
                      const struct cv_addr *other, cv_time now)
{
    struct cv_addr third = *other;

    if (g->kind_server.family != CV_FAMILY_NONE || !may_ask(&src->addr, other))
        return;
    g->kind_server = src->addr;
    g->kind_other = *other;
    if (!is_server(g, other))
        g->other[0] = (struct cv_gather_source){.addr = *other, .next = now};
    third.port = src->addr.port;
    if (!cv_addr_same_ip(other, &src->addr) && third.port != other->port &&
        !is_server(g, &third))
        g->other[1] = (struct cv_gather_source){.addr = third, .next = now};
}

/* When the port of a NAT that counts is looked up again. */
static cv_time count_every(const struct cv_gather *g,
                           const struct cv_addr *before, cv_time before_at)
{
    int16_t taken = (int16_t)(g->counted.port - before->port);
    cv_time ports = taken < 0 ? -taken : taken;
    cv_time time = g->counted_at - before_at;

    return cv_addr_same_ip(before, &g->counted) &&
                   ports * CV_SECOND >= CV_GATHER_BUSY * time &&
                   ports * CV_SECOND <= CV_GATHER_TOO_BUSY * time
               ? CV_GATHER_COUNT_BUSY
               : CV_GATHER_COUNT;
}

static void kind_ended(struct cv_gather *g, cv_time now)
{
    struct cv_addr before = g->counted;
    cv_time before_at = g->counted_at, again = CV_GATHER_COUNT;
    char text[CV_ADDR_TEXT];

    if (g->kind.state == CV_NATKIND_DONE) {
        if (g->kind.all) {
            g->filter = g->kind.filter;
            g->strays = g->kind.strays;
            cv_debug(g->log, "gather: filter=%d strays=%d", (int)g->filter,
                     (int)g->strays);
        }
        g->counted = g->kind.mapped;
        g->counted_at = now;
        if (before.family != CV_FAMILY_NONE)
            again = count_every(g, &before, before_at);
        cv_debug(g->log, "gather: newest mapping %s",
                 cv_addr_log(g->log, &g->counted, text));
        soon(g, now);
    }
    g->kind_tested |= g->kind.all;
    end_kind(g);
    g->kind_at = now + again;
}

static void told_life(struct cv_gather *g, cv_time was)
{
    if (g->life.kept == was && g->life.state == CV_NATLIFE_RUNS)
        return;
    cv_debug(g->log, "gather: idle mappings are kept %lld s%s%s",
             (long long)(g->life.kept / CV_SECOND),
             g->life.lost ? ", and no longer" : "",
             g->life.state == CV_NATLIFE_UNABLE ? " (not known)" : "");
}

/* An answer to one of the two tests. */
static bool tests_input(struct cv_gather *g, const struct cv_path_addr *from,
                        const struct cv_stun *m, cv_time now)
{
    cv_time kept = g->life.kept;

    if (cv_natlife_input(&g->life, from, m, now)) {
        told_life(g, kept);
        return true;
    }
    if (!cv_natkind_input(&g->kind, from, m, now))
        return false;
    if (!cv_natkind_runs(&g->kind))
        kind_ended(g, now);
    return true;
}

static bool is_other(const struct cv_gather *g,
                     const struct cv_gather_source *src)
{
    return src >= g->other && src < g->other + CV_GATHER_OTHERS;
}

bool cv_gather_input(struct cv_gather *g, const struct cv_path_addr *from,
                     const struct cv_stun *m, cv_time now)
{
    struct cv_gather_source *src;
    char text[CV_ADDR_TEXT];

    if (m->type != CV_STUN_SUCCESS && m->type != CV_STUN_ERROR)
        return false;
    if (tests_input(g, from, m, now))
        return true;
    src = find_open(g, m);
    if (!src || from->socket != 0 || !cv_addr_equal(&from->remote, &src->addr))
        return false;
    if (m->type == CV_STUN_ERROR || m->n_unknown > 0 ||
        m->mapped.family != src->addr.family || m->mapped.port == 0)
        return true; /* of no use; the time-out goes on */
    src->open = false;
    src->failed = false;
    src->tries = 0;
    src->next = is_other(g, src) ? CV_NEVER : now + refresh_every(g);
    src->rtt = now - src->sent;
    if (!cv_addr_equal(&src->mapped, &m->mapped)) {
        if (src->mapped.family != CV_FAMILY_NONE)
            rebound(g, src, now);
        cv_debug(g->log, "gather: server sees us at %s",
                 cv_addr_log(g->log, &m->mapped, text));
        src->mapped = m->mapped;
        src->made = src->sent;
        soon(g, now);
    }
    ask_other(g, src, &m->other, now);
    all_spoke(g, now);
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
    if (cv_stun_put_fingerprint(&w) == CV_OK &&
        g->send(g->user, &to, 0, buf, w.len, w.len) != CV_OK)
        s->sent = 0; /* without a route: as soon as there is one */
    s->next = now + (CV_GATHER_RTO << s->tries);
    s->tries++;
}

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

static unsigned collect_seen(const struct cv_gather *g, enum cv_family family,
                             struct seen list[SOURCES + CV_GATHER_PEERS])
{
    unsigned n = 0;

    for (unsigned i = 0; i < SOURCES; i++) {
        const struct cv_gather_source *src = source_of(g, i);

        if (src->mapped.family == family &&
            (!is_other(g, src) || !is_server(g, &src->addr)))
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
    struct seen seen[SOURCES + CV_GATHER_PEERS];
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

bool cv_gather_udp_silent(const struct cv_gather *g)
{
    bool asked = false;

    if (g->tcp[0].mapped.family == CV_FAMILY_NONE &&
        g->tcp[1].mapped.family == CV_FAMILY_NONE)
        return false;
    for (unsigned s = 0; s < g->n_servers; s++)
        for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
            const struct cv_gather_source *src = &g->source[s][k];

            if (src->mapped.family != CV_FAMILY_NONE)
                return false;
            asked |= src->sent != 0;
        }
    return asked;
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
    for (unsigned i = 0; i < CV_GATHER_OTHERS; i++)
        if (g->other[i].next != CV_NEVER &&
            g->other[i].mapped.family == CV_FAMILY_NONE)
            return false;
    return true;
}

static bool counts(const struct cv_gather *g)
{
    return (g->own.nat & CV_NAT_MAPPING_MASK) == CV_NAT_MAPPING_SEQ;
}

/* When the filter is to be asked about, or the port of a NAT that counts. */
static cv_time kind_due(const struct cv_gather *g)
{
    bool filter = !g->kind_tested && g->kind_server.family != CV_FAMILY_NONE;

    if (!g->open || !g->told || cv_natkind_runs(&g->kind) ||
        (!filter && !counts(g)))
        return CV_NEVER;
    return g->kind_at;
}

/* Once, after the kind of NAT is known, and only where there is one. */
static bool life_due(const struct cv_gather *g)
{
    if (!g->life_wanted || !g->open || !g->kind_tested ||
        g->life.state != CV_NATLIFE_OFF)
        return false;
    for (unsigned i = 0; i < g->own.n; i++)
        if (g->own.c[i].type == CV_CANDIDATE_SRFLX &&
            g->own.c[i].addr.family == CV_FAMILY_IPV4)
            return true;
    return false;
}

static cv_time tests_deadline(const struct cv_gather *g)
{
    cv_time at = cv_time_min(cv_natkind_deadline(&g->kind), kind_due(g));

    return life_due(g) ? g->started
                       : cv_time_min(at, cv_natlife_deadline(&g->life));
}

cv_time cv_gather_deadline(const struct cv_gather *g)
{
    cv_time at = cv_time_min(g->tell_at, g->again_at);

    at = cv_time_min(at, tests_deadline(g));
    for (unsigned i = 0; i < SOURCES; i++)
        at = cv_time_min(at, source_of(g, i)->next);
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
    s->next = is_other(g, s) ? CV_NEVER : now + refresh_every(g);
}

/* Somebody to ask for one more mapping. */
static const struct cv_addr *any_server(const struct cv_gather *g)
{
    for (unsigned i = 0; i < SOURCES; i++)
        if (source_of(g, i)->mapped.family == CV_FAMILY_IPV4)
            return &source_of(g, i)->addr;
    return NULL;
}

static void start_kind(struct cv_gather *g, cv_time now)
{
    static const struct cv_addr none;
    const struct cv_addr *server = any_server(g), *other = &none;
    int socket;

    g->kind_at = now + CV_GATHER_COUNT;
    if (!g->kind_tested && g->kind_server.family != CV_FAMILY_NONE) {
        server = &g->kind_server;
        other = &g->kind_other;
    }
    socket = server ? g->open(g->user) : CV_ERR_NONET;
    if (socket > 0)
        cv_natkind_start(&g->kind, (uint16_t)socket, server, other, now);
}

static void step_kind(struct cv_gather *g, cv_time now)
{
    struct cv_path_addr to;
    uint8_t buf[128];
    struct cv_writer w;

    if (kind_due(g) <= now)
        start_kind(g, now);
    cv_writer_init(&w, buf, sizeof buf);
    if (cv_natkind_step(&g->kind, g->rng, now, &to, &w))
        (void)g->send(g->user, &to, 0, buf, w.len, w.len);
    if (g->kind.state == CV_NATKIND_DONE || g->kind.state == CV_NATKIND_FAILED)
        kind_ended(g, now);
}

static void step_life(struct cv_gather *g, cv_time now)
{
    cv_time kept = g->life.kept;
    struct cv_path_addr to;
    uint8_t buf[128];
    struct cv_writer w;

    if (life_due(g))
        cv_natlife_start(&g->life, &g->kind_server, g->open, g->close, g->user,
                         now);
    if (cv_natlife_deadline(&g->life) > now)
        return;
    cv_writer_init(&w, buf, sizeof buf);
    while (cv_natlife_step(&g->life, g->rng, now, &to, &w)) {
        (void)g->send(g->user, &to, 0, buf, w.len, w.len);
        cv_writer_init(&w, buf, sizeof buf);
    }
    told_life(g, kept);
}

static void tests_step(struct cv_gather *g, cv_time now)
{
    step_kind(g, now);
    step_life(g, now);
}

/* A port that was counted up is no news: who asks gets the newest. */
static bool same_candidates(const struct cv_candidates *a,
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

void cv_gather_step(struct cv_gather *g, cv_time now)
{
    struct cv_candidates c;

    if (g->again_at <= now)
        cv_gather_refresh(g, now);
    for (unsigned i = 0; i < SOURCES; i++)
        step_source(g, source(g, i), now);
    tests_step(g, now);
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
    if (g->told && !g->rebound && same_candidates(&c, &g->own)) {
        g->own = c;
        return;
    }
    g->rebound = false;
    if (!g->told)
        g->kind_at = now + CV_GATHER_KIND;
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
