/* tests/sim/natsim.h - two attempts, their NATs and the network between them
 * on a virtual clock, repeatable from a seed.
 *
 *   host 10.0.0.2 -- NAT 198.18.0.1 --+-- core, CORE_HOPS -- NAT -- host
 *                                     +-- a STUN server, for the mappings
 *
 * The NATs are those of nat.h. */
#ifndef CV_TESTS_NATSIM_H
#define CV_TESTS_NATSIM_H
#include "base/crypto.h"
#include "tests/sim/nat.h"
#include "tests/test.h"
#include "transport/attempt.h"
#include "transport/early.h"
#include <inttypes.h>

#define SIM_PACKETS 8192
#define SIM_VICTIMS 64
#define SIM_SOCKETS 12000
#define SIM_FIRST   45000 /* inner port of the first further socket */
#define SIM_MTU     1500

/* A public host, and the kinds of nat.h that are told apart over UDP. */
enum sim_nat_kind {
    SIM_NONE,
    SIM_FULL_CONE,
    SIM_ADDRESS,
    SIM_PORT,
    SIM_SYMMETRIC,
    SIM_COUNTING,
    SIM_KINDS,
};

static inline enum natbox_kind sim_box_kind(enum sim_nat_kind k)
{
    return (enum natbox_kind)(k - SIM_FULL_CONE + NATBOX_FULLCONE);
}

static inline const char *sim_kind_name(enum sim_nat_kind k)
{
    return k == SIM_NONE ? "none" : natbox_kind_name(sim_box_kind(k));
}

struct sim;

struct sim_host {
    struct sim *sim;
    unsigned index;
    struct cv_addr addr;     /* own interface and port */
    struct cv_addr lan_addr; /* a second one, in the LAN; or family NONE */
    struct natbox *nat;      /* NULL: public */
    struct cv_local local;
    struct cv_attempt *attempt; /* NULL until it starts */
    struct cv_early early;      /* checks of the time before */
    bool blackhole_in;          /* nothing arrives any more */
    uint64_t reached;           /* virtual time + 1, 0: not yet */
    bool lost;
    cv_time lost_at;
    char reason[CV_ATTEMPT_REASON];
    unsigned sent;    /* STUN packets */
    unsigned sockets; /* opened, never used again; numbers from 1 on */
    unsigned open;
    bool closed[SIM_SOCKETS];
    bool untrusting; /* the contact is nobody we know */
    bool no_burst;   /* there is no leave for birthdays */
    unsigned bursts;
    unsigned spared; /* guesses of them that were not needed */
    uint64_t bytes;
    unsigned to_port[SIM_VICTIMS]; /* packets to port 4000 and following */
    enum cv_path_kind kind;        /* of the selected path */
    cv_time selected_at;
    unsigned selections;
    bool silent; /* no path of it works just now */
    unsigned silences;
    struct cv_addr seen_as;
    /* application data */
    uint64_t app_in;
    cv_time app_last, app_gap; /* longest silence between arrivals */
    void (*on_app)(struct sim_host *h, const struct cv_path_addr *from,
                   const uint8_t *data, size_t len);
    struct cv_log *log;                    /* its attempt's, or NULL */
    void (*on_path)(struct sim_host *h);   /* `selections` has grown */
    void (*on_silent)(struct sim_host *h); /* `silent` has changed */
    /* A STUN message that may be somebody else's: taken? */
    bool (*on_stun)(struct sim_host *h, const struct cv_path_addr *from,
                    const struct cv_stun *m);
};

struct sim_packet {
    cv_time at;
    unsigned to;    /* host index */
    uint16_t inner; /* of the LAN: the port it was sent to */
    struct cv_path_addr from;
    struct natbox *turned; /* where it did; NULL: on the internet */
    size_t len;
    uint8_t data[SIM_MTU];
};

struct sim {
    cv_time now;
    cv_time delay, jitter; /* one way through the core */
    double loss;
    cv_time lan_delay;
    bool by_hand; /* the knock is a token */
    bool lan;     /* both hosts are in one LAN */
    bool (*drop)(struct sim *sim, unsigned from, const struct cv_addr *to);
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct natnet net;
    struct sim_host host[2]; /* and of `net` */
    struct sim_packet *packet[SIM_PACKETS];
    unsigned n_packets;
    uint64_t dropped;
    /* What a test does by itself: when next, and do it; or NULL. */
    cv_time (*due)(const struct sim *sim);
    void (*act)(struct sim *sim);
};

static inline double sim_chance(struct sim *sim)
{
    return (double)(cv_random_u64(&sim->rng) >> 11) / 9007199254740992.0;
}

static inline void sim_push(struct sim *sim, unsigned to,
                            const struct cv_addr *from, cv_time delay,
                            const uint8_t *data, size_t len)
{
    struct sim_packet *p = calloc(1, sizeof *p);

    REQUIRE(p != NULL && len <= SIM_MTU && sim->n_packets < SIM_PACKETS);
    p->at = sim->now + delay;
    p->to = to;
    p->from.remote = *from;
    memcpy(p->data, data, len);
    p->len = len;
    sim->packet[sim->n_packets++] = p;
}

/* A packet leaves for the internet, or for the NAT of a carrier where it turns
 * round, and is `out` from there on; false if it does not get there. */
static inline bool sim_out(struct sim *sim, const struct sim_host *h,
                           uint16_t inner, unsigned ttl,
                           const struct cv_addr *to, struct natnet_packet *out)
{
    *out = (struct natnet_packet){
        .proto = IPPROTO_UDP, .ttl = (uint8_t)ttl, .src = h->addr, .dst = *to};
    out->src.port = inner;
    return natnet_out(&sim->net, h->index, out, sim->now) == NATNET_PASSED &&
           natnet_cross(out) == NATNET_PASSED;
}

/* It comes from there; the port it is for, inside, or 0. */
static inline uint16_t sim_in(struct sim *sim, const struct sim_packet *packet)
{
    struct natnet_packet p = {.proto = IPPROTO_UDP,
                              .ttl = 64 - NATNET_HOPS,
                              .src = packet->from.remote,
                              .dst = packet->from.local,
                              .at = packet->turned};
    unsigned host;

    return natnet_in(&sim->net, &p, sim->now, &host) == NATNET_PASSED &&
                   host == packet->to
               ? p.dst.port
               : 0;
}

/* What the gateways do with packets that nobody asked for. */
static inline void sim_strays(struct sim *sim, enum natbox_strays strays)
{
    for (unsigned i = 0; i < sim->net.n_boxes; i++)
        sim->net.box[i]->strays = strays;
}

/* The host has another address; it is behind its NAT still, if it has one. */
static inline void sim_move(struct sim *sim, unsigned i, struct cv_addr addr)
{
    sim->host[i].addr = addr;
    sim->host[i].local.net[0].addr = addr;
    sim->host[i].local.net[0].addr.port = 0;
    sim->net.host[i].addr = addr;
}

/* Two homes of one carrier, whose NAT lets them meet. */
static inline void sim_one_carrier(struct sim *sim)
{
    struct natbox *carrier = natnet_box(&sim->net, NATBOX_PORTRESTRICTED,
                                        cv_addr_ipv4(0x05030303, 0), NULL);

    REQUIRE(carrier != NULL);
    carrier->hairpin = true;
    for (unsigned i = 0; i < 2; i++) {
        struct sim_host *h = &sim->host[i];

        REQUIRE(h->nat != NULL);
        h->nat->via = carrier;
        h->nat->outside = cv_addr_ipv4(0x64400002 + i, 0);
        h->local.reflexive = carrier->outside;
    }
}

/* Both behind the first one's NAT. */
static inline void sim_one_lan(struct sim *sim)
{
    sim->lan = true;
    sim->host[1].nat = sim->net.host[1].box = sim->host[0].nat;
    sim_move(sim, 1, cv_addr_ipv4(0x0a000003, 40001));
    sim->host[1].local.reflexive = sim->host[0].local.reflexive;
}

static inline uint16_t sim_inner(const struct sim_host *h, uint16_t socket)
{
    return socket == 0 ? h->addr.port : (uint16_t)(SIM_FIRST + socket);
}

static inline int sim_open(void *user)
{
    struct sim_host *h = user;

    if (h->sockets == SIM_SOCKETS)
        return CV_ERR_LIMIT;
    h->open++;
    return (int)++h->sockets;
}

static inline void sim_close(void *user, uint16_t socket)
{
    struct sim_host *h = user;

    REQUIRE(socket > 0 && socket <= h->sockets && !h->closed[socket - 1]);
    h->closed[socket - 1] = true;
    h->open--;
}

static inline bool sim_may_burst(void *user, bool *gentle)
{
    struct sim_host *h = user;

    *gentle = false;
    h->bursts++;
    return !h->no_burst;
}

static inline void sim_spared(void *user, unsigned guesses)
{
    struct sim_host *h = user;

    h->spared += guesses;
    REQUIRE(h->spared <= h->bursts * CV_BIRTHDAY_GUESSES);
}

static inline int sim_send(void *user, const struct cv_path_addr *to,
                           unsigned ttl, const uint8_t *data, size_t len,
                           size_t segment)
{
    struct sim_host *h = user;
    struct sim *sim = h->sim;
    struct sim_host *peer = &sim->host[1 - h->index];
    struct cv_addr from = h->addr;
    uint16_t inner = sim_inner(h, to->socket);
    struct natnet_packet out;
    cv_time delay;

    from.port = inner;
    REQUIRE(segment > 0 && len > 0);
    if (ttl == 0)
        ttl = 64;
    if (cv_stun_is(data, len)) {
        h->sent++;
        h->bytes += len;
        if (to->remote.port >= 4000 && to->remote.port < 4000 + SIM_VICTIMS)
            h->to_port[to->remote.port - 4000]++;
    }
    for (size_t at = 0; at < len; at += segment) {
        size_t n = len - at < segment ? len - at : segment;

        if (sim->drop && sim->drop(sim, h->index, &to->remote)) {
            sim->dropped++;
            continue;
        }
        if (sim->lan &&
            (cv_addr_equal(&to->remote, &peer->lan_addr) ||
             (peer->nat && cv_addr_equal(&to->remote, &peer->addr)))) {
            if (h->lan_addr.family != CV_FAMILY_NONE)
                from = h->lan_addr;
            if (to->socket > 0)
                from.port = inner;
            sim_push(sim, peer->index, &from, sim->lan_delay, data + at, n);
            sim->packet[sim->n_packets - 1]->inner = to->remote.port;
            from = h->addr;
            from.port = inner;
            continue;
        }
        if (cv_addr_kind(&to->remote) == CV_ADDR_PRIVATE)
            continue; /* not routed */
        if (!sim_out(sim, h, inner, ttl, &to->remote, &out) ||
            sim_chance(sim) < sim->loss) {
            sim->dropped++;
            continue;
        }
        delay = out.at ? sim->lan_delay : sim->delay;
        if (sim->jitter > 0)
            delay += (cv_time)(sim_chance(sim) * (double)sim->jitter);
        /* What the far NAT says is decided when the packet gets there. */
        sim_push(sim, peer->index, &out.src, delay, data + at, n);
        sim->packet[sim->n_packets - 1]->from.local = out.dst;
        sim->packet[sim->n_packets - 1]->turned = out.at;
    }
    return CV_OK;
}

static inline void sim_reached(void *user)
{
    struct sim_host *h = user;

    h->reached = (uint64_t)h->sim->now + 1;
}

static inline void sim_lost(void *user, const char *reason)
{
    struct sim_host *h = user;

    h->lost = true;
    h->lost_at = h->sim->now;
    snprintf(h->reason, sizeof h->reason, "%s", reason);
}

static inline void sim_path(void *user, const struct cv_path *path)
{
    struct sim_host *h = user;

    h->kind = path ? path->kind : CV_PATH_NONE;
    h->selected_at = h->sim->now;
    h->selections++;
    if (h->on_path)
        h->on_path(h);
}

static inline void sim_silent(void *user, bool silent)
{
    struct sim_host *h = user;

    h->silent = silent;
    h->silences += silent;
    if (h->on_silent)
        h->on_silent(h);
}

static inline void sim_reflexive(void *user, const struct cv_addr *mapped,
                                 const struct cv_addr *peer)
{
    struct sim_host *h = user;

    (void)peer;
    h->seen_as = *mapped;
}

static const struct cv_attempt_events sim_events = {
    .reached = sim_reached,
    .lost = sim_lost,
    .path = sim_path,
    .reflexive = sim_reflexive,
    .open = sim_open,
    .close = sim_close,
    .may_burst = sim_may_burst,
    .spared = sim_spared,
    .silent = sim_silent,
};

static inline struct sim *sim_new(uint64_t seed, enum sim_nat_kind joiner,
                                  enum sim_nat_kind sharer)
{
    struct sim *sim = calloc(1, sizeof *sim);
    enum sim_nat_kind kind[2] = {joiner, sharer};

    REQUIRE(sim != NULL);
    sim->rng = cv_rng_from_seed(&sim->seed, seed);
    natnet_init(&sim->net, seed);
    sim->now = CV_SECOND;
    sim->delay = 40 * CV_MILLISECOND;
    sim->lan_delay = 200 * CV_MICROSECOND;
    for (unsigned i = 0; i < 2; i++) {
        struct sim_host *h = &sim->host[i];
        struct cv_addr outside =
            cv_addr_ipv4(i == 0 ? 0x05010101 : 0x05020202, 0);
        uint16_t port = (uint16_t)(40000 + i);

        h->sim = sim;
        h->index = i;
        h->addr = outside;
        if (kind[i] != SIM_NONE) {
            h->nat =
                natnet_box(&sim->net, sim_box_kind(kind[i]), outside, NULL);
            REQUIRE(h->nat != NULL);
            h->addr = cv_addr_ipv4(i == 0 ? 0x0a000002 : 0x0a010002, 0);
        }
        h->addr.port = port;
        natnet_host(&sim->net, h->addr, h->nat);
        h->local.n = 1;
        h->local.net[0].addr = h->addr;
        h->local.net[0].addr.port = 0;
        h->local.net[0].bits = 24;
        h->local.port = port;
        h->local.ipv4 = true;
        /* As two STUN servers would tell. */
        h->local.nat = kind[i] == SIM_SYMMETRIC  ? CV_NAT_MAPPING_RANDOM
                       : kind[i] == SIM_COUNTING ? CV_NAT_MAPPING_SEQ
                                                 : CV_NAT_MAPPING_EIM;
        h->local.reflexive = outside;
    }
    return sim;
}

static inline void sim_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n_packets; i++)
        free(sim->packet[i]);
    for (unsigned i = 0; i < 2; i++) {
        if (sim->host[i].attempt)
            cv_attempt_fini(sim->host[i].attempt);
        REQUIRE(sim->host[i].open == 0); /* every socket was closed */
        free(sim->host[i].attempt);
    }
    natnet_fini(&sim->net);
    free(sim);
}

/* Host and server-reflexive candidates, as gathering would find them. */
static inline struct cv_candidates sim_candidates(struct sim *sim, unsigned i)
{
    struct sim_host *h = &sim->host[i];
    struct cv_addr stun = cv_addr_ipv4(0x05060708, 3478);
    struct cv_candidates c = {.n = 1, .nat = h->local.nat};
    struct natnet_packet out;

    c.c[0] = (struct cv_candidate){
        .type = CV_CANDIDATE_HOST, .pref = 100, .addr = h->addr};
    if (h->lan_addr.family != CV_FAMILY_NONE) {
        c.c[1] = (struct cv_candidate){
            .type = CV_CANDIDATE_HOST, .pref = 90, .addr = h->lan_addr};
        c.n = 2;
    }
    if (h->nat) {
        c.c[1].type = CV_CANDIDATE_SRFLX;
        c.c[1].pref = 50;
        REQUIRE(sim_out(sim, h, h->addr.port, 64, &stun, &out));
        c.c[1].addr = out.src;
        c.n = 2;
        if (h->nat->kind == NATBOX_SYMMETRIC_SEQ) {
            c.c[2] = c.c[1];
            c.c[2].pref = 40;
            c.c[2].addr.port = (uint16_t)(c.c[1].addr.port - h->nat->step);
            c.n = 3;
        }
    }
    return c;
}

static inline void sim_start(struct sim *sim, unsigned i,
                             const struct cv_candidates *peer, bool low_ttl)
{
    struct sim_host *h = &sim->host[i];
    struct cv_contact contact = {
        .knocked = i == 0,
        .trusted = !h->untrusting,
        .by_hand = sim->by_hand,
        .peer = *peer,
    };
    struct cv_early_check early;
    struct cv_stun m;

    memset(contact.attempt, 0x5a, sizeof contact.attempt);
    memset(contact.shared, 0xa5, sizeof contact.shared);
    h->attempt = calloc(1, sizeof *h->attempt);
    REQUIRE(h->attempt != NULL);
    cv_attempt_init(h->attempt, &contact, &h->local, &sim->rng, h->log,
                    sim_send, &sim_events, h, sim->now);
    h->attempt->low_ttl = low_ttl;
    while (cv_early_take(&h->early, contact.attempt, sim->now, &early)) {
        REQUIRE(cv_stun_parse(&m, early.data, early.len) == CV_OK);
        REQUIRE(cv_attempt_input(h->attempt, &early.from, &m, sim->now) ==
                CV_OK);
    }
    cv_attempt_step(h->attempt, sim->now);
}

static inline void sim_deliver(struct sim *sim, struct sim_packet *p)
{
    struct sim_host *h = &sim->host[p->to];
    struct cv_stun m;
    uint16_t inner = p->inner;

    if (p->from.local.family != CV_FAMILY_NONE)
        inner = sim_in(sim, p);
    if (inner > SIM_FIRST && inner <= SIM_FIRST + h->sockets &&
        !h->closed[inner - SIM_FIRST - 1])
        p->from.socket = (uint16_t)(inner - SIM_FIRST);
    else if (inner != h->addr.port && p->inner == 0)
        return;
    p->from.local = (struct cv_addr){0};
    if (h->blackhole_in)
        return;
    if (h->on_stun && cv_stun_parse(&m, p->data, p->len) == CV_OK &&
        h->on_stun(h, &p->from, &m))
        return;
    if (!h->attempt) {
        if (cv_stun_parse(&m, p->data, p->len) == CV_OK)
            (void)cv_early_hold(&h->early, &p->from, &m, sim->now);
        return;
    }
    if (cv_stun_is(p->data, p->len)) {
        if (cv_stun_parse(&m, p->data, p->len) == CV_OK)
            (void)cv_attempt_input(h->attempt, &p->from, &m, sim->now);
    } else if (h->on_app) {
        h->on_app(h, &p->from, p->data, p->len);
    }
    if (!h->lost)
        cv_attempt_step(h->attempt, sim->now);
}

/* Run until `until`, or until both have reached each other if asked. */
static inline void sim_run(struct sim *sim, cv_time until, bool stop_reached)
{
    for (;;) {
        cv_time next = until;
        int which = -1, kind = 0;

        for (unsigned i = 0; i < sim->n_packets; i++)
            if (sim->packet[i]->at < next) {
                next = sim->packet[i]->at;
                which = (int)i;
                kind = 1;
            }
        for (unsigned i = 0; i < 2; i++) {
            struct sim_host *h = &sim->host[i];
            cv_time at =
                h->attempt ? cv_attempt_deadline(h->attempt) : CV_NEVER;

            if (at < next) {
                next = at;
                which = (int)i;
                kind = 2;
            }
        }
        if (sim->due && sim->due(sim) < next) {
            next = sim->due(sim);
            which = 0;
            kind = 3;
        }
        if (next > sim->now)
            sim->now = next;
        if (which < 0)
            return;
        if (kind == 1) {
            struct sim_packet *p = sim->packet[which];

            sim->packet[which] = sim->packet[--sim->n_packets];
            sim_deliver(sim, p);
            free(p);
        } else if (kind == 3) {
            sim->act(sim);
            REQUIRE(sim->due(sim) > sim->now);
        } else {
            struct sim_host *h = &sim->host[which];

            cv_attempt_step(h->attempt, sim->now);
            REQUIRE(cv_attempt_deadline(h->attempt) > sim->now);
        }
        if (stop_reached && sim->host[0].reached && sim->host[1].reached)
            return;
    }
}
#endif
