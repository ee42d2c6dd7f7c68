/* Whom we ask how we are seen, and when. */
#include "transport/gather_impl.h"
#include <string.h>

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
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++)
        g->all[i].next = CV_NEVER;
}

/* So often a mapping is used that nothing else keeps. */
static cv_time refresh_every(const struct cv_gather *g)
{
    return cv_time_min(CV_GATHER_REFRESH,
                       cv_keep_standby(cv_natlife_hoped(&g->life)));
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
    cv_gather_forget(g);
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

void cv_gather_soon(struct cv_gather *g, cv_time now)
{
    if (g->told)
        g->tell_at = cv_time_min(g->tell_at, now + CV_GATHER_SETTLE);
}

void cv_gather_tcp(struct cv_gather *g, const struct cv_tcpmap_verdict *v4,
                   const struct cv_tcpmap_verdict *v6, cv_time now)
{
    g->tcp[0] = *v4;
    g->tcp[1] = *v6;
    cv_gather_soon(g, now);
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
        cv_gather_soon(g, now);
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
        cv_gather_soon(g, now);
}

/* The NAT has forgotten its mappings: what else we were told is from before,
 * unless it was asked for now. */
static void rebound(struct cv_gather *g, const struct cv_gather_source *news,
                    cv_time now)
{
    memset(g->peer, 0, sizeof g->peer);
    g->counted = (struct cv_addr){0};
    g->rebound = true;
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++) {
        struct cv_gather_source *src = &g->all[i];

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
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++)
        if (g->all[i].open || g->all[i].next <= now)
            return;
    if (g->told && g->tell_at != CV_NEVER)
        g->tell_at = now;
}

static struct cv_gather_source *find_open(struct cv_gather *g,
                                          const struct cv_stun *m)
{
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++) {
        struct cv_gather_source *src = &g->all[i];

        if (src->open && memcmp(src->txid, m->txid, sizeof m->txid) == 0)
            return src;
    }
    return NULL;
}

bool cv_gather_is_server(const struct cv_gather *g, const struct cv_addr *a)
{
    for (unsigned i = 0; i < CV_GATHER_SERVERS * CV_GATHER_ADDRS; i++)
        if (cv_addr_equal(&g->all[i].addr, a))
            return true;
    return false;
}

bool cv_gather_input(struct cv_gather *g, const struct cv_path_addr *from,
                     const struct cv_stun *m, cv_time now)
{
    struct cv_gather_source *src;
    char text[CV_ADDR_TEXT];

    if (m->type != CV_STUN_SUCCESS && m->type != CV_STUN_ERROR)
        return false;
    if (cv_gather_tests_input(g, from, m, now))
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
    src->next = cv_gather_is_other(g, src) ? CV_NEVER : now + refresh_every(g);
    src->rtt = now - src->sent;
    if (!cv_addr_equal(&src->mapped, &m->mapped)) {
        if (src->mapped.family != CV_FAMILY_NONE)
            rebound(g, src, now);
        cv_debug(g->log, "gather: server sees us at %s",
                 cv_addr_log(g->log, &m->mapped, text));
        src->mapped = m->mapped;
        src->made = src->sent;
        cv_gather_soon(g, now);
    }
    cv_gather_ask_other(g, src, &m->other, now);
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

cv_time cv_gather_deadline(const struct cv_gather *g)
{
    cv_time at = cv_time_min(g->tell_at, g->again_at);

    at = cv_time_min(at, cv_gather_tests_deadline(g));
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++)
        at = cv_time_min(at, g->all[i].next);
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
        cv_gather_soon(g, now);
    s->failed = true;
    s->mapped = (struct cv_addr){0};
    s->tries = 0;
    s->next = cv_gather_is_other(g, s) ? CV_NEVER : now + refresh_every(g);
}

void cv_gather_step(struct cv_gather *g, cv_time now)
{
    struct cv_candidates c;

    if (g->again_at <= now)
        cv_gather_refresh(g, now);
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++)
        step_source(g, &g->all[i], now);
    cv_gather_tests_step(g, now);
    for (unsigned i = 0; i < CV_GATHER_PEERS; i++)
        if (g->peer[i].mapped.family != CV_FAMILY_NONE &&
            now - g->peer[i].at >= CV_GATHER_PEER_LIFE) {
            memset(&g->peer[i], 0, sizeof g->peer[i]);
            cv_gather_soon(g, now);
        }
    if (now < g->tell_at && (g->told || !cv_gather_settled(g)))
        return;
    g->tell_at = CV_NEVER;
    cv_gather_collect(g, &c);
    if (g->told && !g->rebound && cv_gather_same(&c, &g->own)) {
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
