/* tests/sim/nat.c - see nat.h. */
#include "tests/sim/nat.h"
#include <stdlib.h>
#include <string.h>

#define FIRST_PORT 1024u
#define PORTS      64512u /* from there on */
#define OTHER      0x2a5u /* exclusive-or: a port that somebody else has */

static const char *const kind_name[] = {
    "fullcone",      "restricted", "portrestricted", "symmetric",
    "symmetric-seq", "udpblocked", "tcp443only",
};

enum natbox_kind natbox_kind_of(const char *name)
{
    unsigned i = 0;

    while (i < NATBOX_KINDS && strcmp(kind_name[i], name) != 0)
        i++;
    return (enum natbox_kind)i;
}

const char *natbox_kind_name(enum natbox_kind kind)
{
    return kind_name[kind];
}

static bool is_cone(const struct natbox *b)
{
    return b->kind != NATBOX_SYMMETRIC && b->kind != NATBOX_SYMMETRIC_SEQ;
}

/* --- flows --- */

static unsigned bucket(const struct cv_addr *remote, uint32_t more)
{
    uint64_t h = 0xcbf29ce484222325u ^ more;

    for (unsigned i = 0; i < sizeof(remote->ip); i++)
        h = (h ^ remote->ip[i]) * 0x100000001b3u;
    h = (h ^ remote->port) * 0x9e3779b97f4a7c15u;
    return (unsigned)(h >> 32) % NATBOX_BUCKETS;
}

static struct natbox_flow **inner_bucket(struct natbox *b,
                                         const struct cv_addr *inner,
                                         const struct cv_addr *remote)
{
    return &b->inner[bucket(remote, inner->port)];
}

static struct natbox_flow **outer_bucket(struct natbox *b, uint16_t port,
                                         const struct cv_addr *remote)
{
    return &b->outer[bucket(remote, port)];
}

static void forget(struct natbox *b, struct natbox_flow *f)
{
    struct natbox_flow **at = inner_bucket(b, &f->inner, &f->remote);

    while (*at != f)
        at = &(*at)->next_inner;
    *at = f->next_inner;
    at = outer_bucket(b, f->port, &f->remote);
    while (*at != f)
        at = &(*at)->next_outer;
    *at = f->next_outer;
    free(f);
    b->n_flows--;
}

static struct natbox_flow *flow_from(struct natbox *b, uint8_t proto,
                                     const struct cv_addr *inner,
                                     const struct cv_addr *remote, cv_time now)
{
    struct natbox_flow *f = *inner_bucket(b, inner, remote);

    while (f != NULL && (f->proto != proto || f->expires <= now ||
                         !cv_addr_equal(&f->inner, inner) ||
                         !cv_addr_equal(&f->remote, remote)))
        f = f->next_inner;
    return f;
}

static struct natbox_flow *flow_to(struct natbox *b, uint8_t proto,
                                   uint16_t port, const struct cv_addr *remote,
                                   cv_time now)
{
    struct natbox_flow *f = *outer_bucket(b, port, remote);

    while (f != NULL && (f->proto != proto || f->expires <= now ||
                         f->port != port || !cv_addr_equal(&f->remote, remote)))
        f = f->next_outer;
    return f;
}

static void refresh(const struct natbox *b, struct natbox_flow *f, cv_time now)
{
    f->expires = now + (f->proto == IPPROTO_TCP ? NATBOX_TCP
                        : b->udp_timeout != 0   ? b->udp_timeout
                        : f->answered           ? NATBOX_ANSWERED
                                                : NATBOX_UNANSWERED);
}

static void sweep(struct natbox *b, cv_time now)
{
    for (unsigned i = 0; i < NATBOX_BUCKETS; i++)
        for (struct natbox_flow *f = b->inner[i], *next; f != NULL; f = next) {
            next = f->next_inner;
            if (f->expires <= now)
                forget(b, f);
        }
}

/* NULL when the table is full: then nothing passes. */
static struct natbox_flow *new_flow(struct natbox *b, uint8_t proto,
                                    const struct cv_addr *inner,
                                    const struct cv_addr *remote, uint16_t port,
                                    cv_time now)
{
    struct natbox_flow *f, **at;

    if (b->n_flows == NATBOX_FLOWS)
        sweep(b, now);
    if (b->n_flows == NATBOX_FLOWS || (f = calloc(1, sizeof(*f))) == NULL)
        return NULL;
    f->proto = proto;
    f->inner = *inner;
    f->remote = *remote;
    f->port = port;
    at = inner_bucket(b, inner, remote);
    f->next_inner = *at;
    *at = f;
    at = outer_bucket(b, port, remote);
    f->next_outer = *at;
    *at = f;
    b->n_flows++;
    refresh(b, f, now);
    return f;
}

/* --- ports --- */

static struct natbox_entry *entry(struct natbox *b, uint8_t proto,
                                  uint16_t port)
{
    return &b->book[proto == IPPROTO_TCP][port];
}

/* The port that a cone gives to an inner address, everywhere; refreshed. */
static uint16_t cone_port(struct natbox *b, uint8_t proto,
                          const struct cv_addr *inner, cv_time now)
{
    uint16_t port = inner->port ^ b->shift;
    struct natbox_entry *e = entry(b, proto, port);

    if (e->expires > now && !cv_addr_equal(&e->inner, inner)) {
        port = (uint16_t)(port ^ OTHER);
        e = entry(b, proto, port);
    }
    e->inner = *inner;
    e->expires = now + (proto == IPPROTO_TCP  ? NATBOX_TCP
                        : b->udp_timeout != 0 ? b->udp_timeout
                                              : NATBOX_ANSWERED);
    return port;
}

static uint16_t random_port(struct natbox *b, uint8_t proto,
                            const struct cv_addr *remote, cv_time now)
{
    const unsigned from = b->block > 0 ? b->block_from : FIRST_PORT;
    const unsigned n = b->block > 0 ? b->block : PORTS;
    uint16_t port;

    do
        port = (uint16_t)(from + cv_random_u64(b->rng) % n);
    while (flow_to(b, proto, port, remote, now) != NULL);
    return port;
}

static uint16_t next_port(struct natbox *b, uint8_t proto,
                          const struct cv_addr *remote, cv_time now)
{
    const int ports = (int)PORTS;
    uint16_t port;

    do {
        int others = (int)(cv_random_u64(b->rng) % (b->busy + 1));

        b->next =
            (uint16_t)((b->next + ports + b->step * (others + 1) % ports) %
                       ports);
        port = (uint16_t)(FIRST_PORT + b->next);
    } while (flow_to(b, proto, port, remote, now) != NULL);
    return port;
}

/* What somebody else's flow, or a stray's, holds already is not given. */
static uint16_t choose_port(struct natbox *b, uint8_t proto,
                            const struct cv_addr *inner,
                            const struct cv_addr *remote, cv_time now)
{
    uint16_t port;

    if (b->kind == NATBOX_SYMMETRIC_SEQ)
        return next_port(b, proto, remote, now);
    if (!is_cone(b))
        return random_port(b, proto, remote, now);
    port = cone_port(b, proto, inner, now);
    return flow_to(b, proto, port, remote, now) == NULL
               ? port
               : random_port(b, proto, remote, now);
}

/* --- one NAT --- */

static bool lets_out(const struct natbox *b, const struct natnet_packet *p)
{
    if (b->kind == NATBOX_TCP443ONLY)
        return p->proto == IPPROTO_TCP &&
               (p->dst.port == 443 || p->dst.port == 80);
    return b->kind != NATBOX_UDPBLOCKED || p->proto != IPPROTO_UDP;
}

static enum natnet_verdict box_out(struct natbox *b, struct natnet_packet *p,
                                   cv_time now)
{
    struct natbox_flow *f;

    if (p->ttl < 2)
        return NATNET_EXPIRED;
    p->ttl--;
    if (!lets_out(b, p))
        return NATNET_DROPPED;
    f = flow_from(b, p->proto, &p->src, &p->dst, now);
    if (f == NULL)
        f = new_flow(b, p->proto, &p->src, &p->dst,
                     choose_port(b, p->proto, &p->src, &p->dst, now), now);
    else if (is_cone(b))
        (void)cone_port(b, p->proto, &p->src, now);
    if (f == NULL)
        return NATNET_DROPPED;
    refresh(b, f, now);
    p->src = b->outside;
    p->src.port = f->port;
    return NATNET_PASSED;
}

/* Did `inner` send to the address of `remote`, from this outer port? */
static bool sent_there(struct natbox *b, uint8_t proto, uint16_t port,
                       const struct cv_addr *remote, cv_time now)
{
    for (unsigned i = 0; i < NATBOX_BUCKETS; i++)
        for (struct natbox_flow *f = b->outer[i]; f; f = f->next_outer)
            if (f->proto == proto && f->port == port && f->expires > now &&
                f->inner.family != CV_FAMILY_NONE &&
                cv_addr_same_ip(&f->remote, remote))
                return true;
    return false;
}

/* What the filter of a cone lets in although no flow is there. */
static struct natbox_flow *let_in(struct natbox *b,
                                  const struct natnet_packet *p, bool hairpin,
                                  cv_time now)
{
    struct natbox_entry *e = entry(b, p->proto, p->dst.port);

    if (!is_cone(b) || e->expires <= now)
        return NULL;
    if (!hairpin && b->kind != NATBOX_FULLCONE &&
        (b->kind != NATBOX_RESTRICTED ||
         !sent_there(b, p->proto, p->dst.port, &p->src, now)))
        return NULL;
    return new_flow(b, p->proto, &e->inner, &p->src, p->dst.port, now);
}

static enum natnet_verdict stray(struct natbox *b,
                                 const struct natnet_packet *p, cv_time now)
{
    static const struct cv_addr nobody;

    if (b->strays == NATBOX_STRAYS_DROP)
        return NATNET_DROPPED;
    /* A connection that is refused leaves nothing behind. */
    if (b->strays == NATBOX_STRAYS_ACCEPT && p->proto == IPPROTO_UDP)
        new_flow(b, p->proto, &nobody, &p->src, p->dst.port, now);
    return NATNET_REFUSED;
}

static enum natnet_verdict box_in(struct natbox *b, struct natnet_packet *p,
                                  bool hairpin, cv_time now)
{
    struct natbox_flow *f = flow_to(b, p->proto, p->dst.port, &p->src, now);

    if (b->kind == NATBOX_UDPBLOCKED && p->proto == IPPROTO_UDP)
        return NATNET_DROPPED;
    if (f != NULL && f->inner.family == CV_FAMILY_NONE)
        return NATNET_REFUSED; /* the stray's sender again */
    if (f == NULL)
        f = let_in(b, p, hairpin, now);
    if (f == NULL)
        return hairpin ? NATNET_DROPPED : stray(b, p, now);
    if (p->ttl < 2)
        return NATNET_EXPIRED;
    p->ttl--;
    f->answered = true;
    refresh(b, f, now);
    p->dst = f->inner;
    return NATNET_PASSED;
}

static void forget_flows(struct natbox *b)
{
    for (unsigned i = 0; i < NATBOX_BUCKETS; i++)
        while (b->inner[i] != NULL)
            forget(b, b->inner[i]);
}

void natbox_forget(struct natbox *b)
{
    forget_flows(b);
    memset(b->book, 0, sizeof(b->book));
}

void natbox_rebind(struct natbox *b)
{
    natbox_forget(b);
    b->shift = (uint16_t)(b->shift ^ (1 + cv_random_u64(b->rng) % 1000));
    b->next = (uint16_t)(cv_random_u64(b->rng) % PORTS);
}

/* --- all of them --- */

void natnet_init(struct natnet *n, uint64_t seed)
{
    memset(n, 0, sizeof(*n));
    n->rng = cv_rng_from_seed(&n->seed, seed);
}

void natnet_fini(struct natnet *n)
{
    for (unsigned i = 0; i < n->n_boxes; i++) {
        forget_flows(n->box[i]);
        free(n->box[i]);
    }
    n->n_boxes = 0;
}

struct natbox *natnet_box(struct natnet *n, enum natbox_kind kind,
                          struct cv_addr outside, struct natbox *via)
{
    struct natbox *b;

    if (n->n_boxes == NATNET_BOXES || (b = calloc(1, sizeof(*b))) == NULL)
        return NULL;
    b->kind = kind;
    b->outside = outside;
    b->outside.port = 0;
    b->via = via;
    b->rng = &n->rng;
    b->step = 1;
    b->next = (uint16_t)(cv_random_u64(b->rng) % PORTS);
    n->box[n->n_boxes++] = b;
    return b;
}

unsigned natnet_host(struct natnet *n, struct cv_addr addr, struct natbox *box)
{
    if (n->n_hosts == NATNET_HOSTS)
        abort();
    addr.port = 0;
    n->host[n->n_hosts] = (struct natnet_host){addr, box};
    return n->n_hosts++;
}

/* Who is there at `at` with this address: a host's number, or -1 and a NAT in
 * `box`, or neither. */
static int resident(const struct natnet *n, const struct natbox *at,
                    const struct cv_addr *addr, struct natbox **box)
{
    *box = NULL;
    for (unsigned i = 0; i < n->n_hosts; i++)
        if (n->host[i].box == at && cv_addr_same_ip(&n->host[i].addr, addr))
            return (int)i;
    for (unsigned i = 0; i < n->n_boxes; i++)
        if (n->box[i]->via == at && cv_addr_same_ip(&n->box[i]->outside, addr))
            *box = n->box[i];
    return -1;
}

enum natnet_verdict natnet_out(struct natnet *n, unsigned host,
                               struct natnet_packet *p, cv_time now)
{
    struct natbox *other;

    for (struct natbox *b = n->host[host].box; b != NULL; b = b->via) {
        enum natnet_verdict v;
        bool turns = cv_addr_same_ip(&p->dst, &b->outside);

        p->at = b;
        if (resident(n, b, &p->dst, &other) >= 0 || other != NULL)
            return NATNET_PASSED; /* in this LAN */
        if (turns && !b->hairpin)
            return NATNET_DROPPED;
        v = box_out(b, p, now);
        if (v == NATNET_PASSED && turns)
            v = box_in(b, p, true, now);
        if (v != NATNET_PASSED || turns)
            return v;
    }
    p->at = NULL;
    return NATNET_PASSED;
}

enum natnet_verdict natnet_cross(struct natnet_packet *p)
{
    if (p->at != NULL)
        return NATNET_PASSED; /* it never gets there */
    if (p->ttl <= NATNET_HOPS)
        return NATNET_EXPIRED;
    p->ttl = (uint8_t)(p->ttl - NATNET_HOPS);
    return NATNET_PASSED;
}

enum natnet_verdict natnet_in(struct natnet *n, struct natnet_packet *p,
                              cv_time now, unsigned *host)
{
    struct natbox *box;

    for (;;) {
        int at = resident(n, p->at, &p->dst, &box);
        enum natnet_verdict v;

        if (at >= 0) {
            *host = (unsigned)at;
            return NATNET_PASSED;
        }
        if (box == NULL)
            return NATNET_DROPPED;
        v = box_in(box, p, false, now);
        if (v != NATNET_PASSED)
            return v;
        p->at = box;
    }
}
