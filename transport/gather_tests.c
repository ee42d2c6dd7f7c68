/* What the NAT filters, which port it counts up to, and how long it keeps a
 * mapping: tests that run on sockets of their own. */
#include "transport/gather_impl.h"
#include <string.h>

void cv_gather_sockets(struct cv_gather *g, cv_socket_open_fn open,
                       cv_socket_close_fn close)
{
    g->open = open;
    g->close = close;
}

void cv_gather_want_life(struct cv_gather *g)
{
    g->life_wanted = true;
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

void cv_gather_forget(struct cv_gather *g)
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

/* --- the kind ------------------------------------------------------------- */

/* May a server name this as another address of its own?  It could be anybody's,
 * and gets three small packets. */
static bool may_ask(const struct cv_addr *server, const struct cv_addr *a)
{
    return a->family == CV_FAMILY_IPV4 && server->family == CV_FAMILY_IPV4 &&
           a->port >= 1024 && cv_addr_kind(a) == cv_addr_kind(server) &&
           !cv_addr_equal(a, server);
}

void cv_gather_ask_other(struct cv_gather *g,
                         const struct cv_gather_source *src,
                         const struct cv_addr *other, cv_time now)
{
    struct cv_addr third = *other;

    if (g->kind_server.family != CV_FAMILY_NONE || !may_ask(&src->addr, other))
        return;
    g->kind_server = src->addr;
    g->kind_other = *other;
    if (!cv_gather_is_server(g, other))
        g->other[0] = (struct cv_gather_source){.addr = *other, .next = now};
    third.port = src->addr.port;
    if (!cv_addr_same_ip(other, &src->addr) && third.port != other->port &&
        !cv_gather_is_server(g, &third))
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
        cv_gather_soon(g, now);
    }
    g->kind_tested |= g->kind.all;
    end_kind(g);
    g->kind_at = now + again;
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

/* Somebody to ask for one more mapping. */
static const struct cv_addr *any_server(const struct cv_gather *g)
{
    for (unsigned i = 0; i < CV_GATHER_SOURCES; i++)
        if (g->all[i].mapped.family == CV_FAMILY_IPV4)
            return &g->all[i].addr;
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

/* --- the life ------------------------------------------------------------- */

static void told_life(struct cv_gather *g, cv_time was)
{
    if (g->life.kept == was && g->life.state == CV_NATLIFE_RUNS)
        return;
    cv_debug(g->log, "gather: idle mappings are kept %lld s%s%s",
             (long long)(g->life.kept / CV_SECOND),
             g->life.lost ? ", and no longer" : "",
             g->life.state == CV_NATLIFE_UNABLE ? " (not known)" : "");
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

/* --- both ----------------------------------------------------------------- */

bool cv_gather_tests_input(struct cv_gather *g, const struct cv_path_addr *from,
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

cv_time cv_gather_tests_deadline(const struct cv_gather *g)
{
    cv_time at = cv_time_min(cv_natkind_deadline(&g->kind), kind_due(g));

    return life_due(g) ? g->started
                       : cv_time_min(at, cv_natlife_deadline(&g->life));
}

void cv_gather_tests_step(struct cv_gather *g, cv_time now)
{
    step_kind(g, now);
    step_life(g, now);
}
