/* tests/unit/quic_world.h - two QUIC ends in one process, a virtual clock, and
 * a link between them that loses, delays, repeats and damages from a seed. */
#ifndef CV_TESTS_QUIC_WORLD_H
#define CV_TESTS_QUIC_WORLD_H
#include "transport/quic.h"

struct world;

struct world_link {
    cv_time delay;               /* one way */
    cv_time jitter;              /* up to so much more, each packet: reorders */
    unsigned loss, dup, corrupt; /* of 1000 */
    uint64_t rate;               /* bytes a second; 0: any */
    size_t queue; /* bytes before the rate limiter drops; 0: any */
    bool trains;  /* what comes at the same moment comes together */
};

struct world_end {
    struct world *world;
    unsigned index; /* 0 client, 1 server */
    struct cv_keypair key;
    struct cv_quic_ctx *ctx;
    struct cv_conn *conn; /* NULL before, and after it is dead and freed */
    struct cv_addr addr;
    bool awake; /* `wake` was called */
    bool deaf;  /* drops what comes */
    bool mute;  /* what it sends is lost */
    bool require_token;
    bool held; /* before it is trusted */
    struct cv_log *log;
    cv_time initial_rtt;

    /* What the owner was told. */
    cv_time confirmed_at; /* CV_NEVER */
    bool closed, dead;
    int err;
    uint64_t code;
    bool local;
    char reason[CV_QUIC_REASON_MAX + 1];
    int accept_err;                 /* of the last cv_quic_accept() */
    int cids;                       /* added and not removed */
    unsigned packets, bytes, calls; /* sent */
    unsigned retries;
    unsigned max_segments;
    size_t longest_run; /* bytes received in one call */

    /* For the test. */
    const struct cv_conn_events *events; /* set at `confirmed` */
    void *user;
    void (*on_confirmed)(struct world_end *end);
    void (*on_closed)(struct world_end *end);
    void (*on_packet)(struct world_end *end, uint8_t *data, size_t *len);
};

struct world {
    cv_time now;
    uint64_t rng; /* of the link */
    struct cv_rng_seeded rng_state;
    struct cv_rng rng_of_ends;
    struct world_link link;
    struct world_end end[2];
    struct world_packet *heap[1 << 15];
    unsigned n;
    uint64_t serial;
    cv_time busy_until[2];
};

struct world *world_new(uint64_t seed, const struct world_link *link);
void world_free(struct world *w);
uint64_t world_random(struct world *w);
/* The client's end begins. */
void world_connect(struct world *w);
bool world_try_connect(struct world *w); /* false: it could not be made */
/* Until done(user) or `until`; true when done. */
bool world_run(struct world *w, cv_time until, bool (*done)(void *user),
               void *user);
/* Both confirmed; fails the test otherwise. */
void world_join(struct world *w);
/* One datagram, delivered now. */
void world_deliver(struct world *w, unsigned to, const uint8_t *data,
                   size_t len);
/* Heap in use, as the allocator counts it. */
size_t world_heap(void);
#endif
