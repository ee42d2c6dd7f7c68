/* tests/sim/nat.h - the NATs of tests/netlab as objects, for simulations.
 *
 * The kinds, and their names, are those of tests/netlab/README.md, and
 * sim/nat proves them with the same prober (natkind.h).  Nothing waits and
 * nothing is sent: a packet is a value, that natnet_out() carries from a host
 * to the internet and natnet_in() from there to a host; the time between, and
 * what gets lost in it, are the caller's.
 *
 * As in Linux, a NAT has a table of flows.  A stray that the gateway accepts
 * makes an entry in it, and a later flow from the same port to the stray's
 * sender gets another port. */
#ifndef CV_TESTS_SIM_NAT_H
#define CV_TESTS_SIM_NAT_H
#include "base/addr.h"
#include "base/crypto.h"
#include "base/time.h"

#define NATBOX_FLOWS   16384 /* of one NAT; a further one is not made */
#define NATBOX_BUCKETS 4096
#define NATNET_HOSTS   16
#define NATNET_BOXES   16
#define NATNET_HOPS    10 /* routers between any two attachments */

/* How long mappings live: Linux's for UDP, and long enough for TCP. */
#define NATBOX_UNANSWERED (30 * CV_SECOND)
#define NATBOX_ANSWERED   (120 * CV_SECOND)
#define NATBOX_TCP        (600 * CV_SECOND)

enum natbox_kind {
    NATBOX_FULLCONE,
    NATBOX_RESTRICTED,
    NATBOX_PORTRESTRICTED,
    NATBOX_SYMMETRIC,
    NATBOX_SYMMETRIC_SEQ,
    NATBOX_UDPBLOCKED,
    NATBOX_TCP443ONLY,
    NATBOX_KINDS,
};

enum natbox_strays {
    NATBOX_STRAYS_DROP,
    NATBOX_STRAYS_ACCEPT,
    NATBOX_STRAYS_REJECT,
};

struct natbox_flow {
    struct natbox_flow *next_inner, *next_outer; /* of a bucket */
    struct cv_addr inner, remote; /* inner: family NONE in a stray's */
    uint16_t port;                /* outer */
    uint8_t proto;
    bool answered;
    cv_time expires;
};

/* A cone's book: an outer port belongs to who came first. */
struct natbox_entry {
    struct cv_addr inner;
    cv_time expires; /* 0: free */
};

struct natbox {
    enum natbox_kind kind;
    enum natbox_strays strays;
    bool hairpin;
    cv_time udp_timeout;    /* 0: the two above */
    struct cv_addr outside; /* its address, port 0 */
    struct natbox *via;     /* another NAT, or NULL: the internet */
    uint16_t shift;         /* outer port ^ inner port of a cone */
    /* Of NATBOX_SYMMETRIC: its customer's ports, as a carrier gives them;
     * 0: all. */
    uint16_t block, block_from;
    /* Of NATBOX_SYMMETRIC_SEQ: */
    uint16_t next;      /* less 1024 */
    int step;           /* between two flows; 1 at first */
    unsigned busy;      /* flows of others between two of ours: 0 to so many */
    struct cv_rng *rng; /* borrowed */
    struct natbox_flow *inner[NATBOX_BUCKETS], *outer[NATBOX_BUCKETS];
    unsigned n_flows;
    struct natbox_entry book[2][65536]; /* UDP, TCP */
};

struct natnet_host {
    struct cv_addr addr;
    struct natbox *box; /* NULL: public */
};

struct natnet {
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct natbox *box[NATNET_BOXES];
    struct natnet_host host[NATNET_HOSTS];
    unsigned n_boxes, n_hosts;
};

struct natnet_packet {
    uint8_t proto; /* IPPROTO_UDP or IPPROTO_TCP */
    uint8_t ttl;
    struct cv_addr src, dst;
    struct natbox *at; /* where it turned round; NULL: the internet */
};

enum natnet_verdict {
    NATNET_PASSED,
    NATNET_DROPPED,
    NATNET_REFUSED, /* the sender is told: ICMP, or RST */
    NATNET_EXPIRED, /* its TTL ended */
};

void natnet_init(struct natnet *n, uint64_t seed);
void natnet_fini(struct natnet *n);

/* "fullcone"…; NATBOX_KINDS for other names. */
enum natbox_kind natbox_kind_of(const char *name);
const char *natbox_kind_name(enum natbox_kind kind);

/* A NAT with the address `outside` (port 0), on the internet or behind `via`;
 * NULL when there is no room.  Owned by `n`; its options are set in it. */
struct natbox *natnet_box(struct natnet *n, enum natbox_kind kind,
                          struct cv_addr outside, struct natbox *via);
/* A host, by its number.  The address is unique, the port is ignored. */
unsigned natnet_host(struct natnet *n, struct cv_addr addr, struct natbox *box);

/* From a host to the internet; `p` is filled by the caller up to `dst`, and is
 * what the internet sees afterwards. */
enum natnet_verdict natnet_out(struct natnet *n, unsigned host,
                               struct natnet_packet *p, cv_time now);
/* The ten routers between. */
enum natnet_verdict natnet_cross(struct natnet_packet *p);
/* From the internet to a host, whose number is written when it PASSED. */
enum natnet_verdict natnet_in(struct natnet *n, struct natnet_packet *p,
                              cv_time now, unsigned *host);

/* The NAT forgets its mappings. */
void natbox_forget(struct natbox *b);
/* And gives other ones. */
void natbox_rebind(struct natbox *b);
#endif
