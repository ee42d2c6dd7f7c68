/* tests/netlab/wan.h - the public internet between the attachments of a lab:
 * ten routers, a delay, and what goes wrong on the way.
 *
 *   attachment ── r1 ── r2 ── … ── r10 ── attachment
 *
 * Pure: IP packets go in with the time, and come out when their delay is over.
 * Every decision comes from the seed, in the order of the packets.  Packets
 * whose TTL ends at one of the routers are answered with time exceeded from
 * that router's address, 20.255.255.k or 2a0c:ffff::k.  A source address that
 * is not the sender's is dropped (BCP 38), so a NAT that leaks shows. */
#ifndef CV_TESTS_WAN_H
#define CV_TESTS_WAN_H
#include "base/addr.h"
#include "base/time.h"
#include <stdio.h>

#define WAN_PORTS    256
#define WAN_PREFIXES 8 /* of one attachment */
#define WAN_NAME     32
#define WAN_PAIRS    4096  /* counted; more are dropped */
#define WAN_QUEUE    65536 /* packets under way; more are dropped */
#define WAN_MTU      1500
#define WAN_BLOCKS   256

struct wan_options {
    cv_time delay;  /* one way, between any two attachments */
    cv_time jitter; /* uniform, on top; it may reorder */
    cv_time hold;   /* a reordered packet comes so much later */
    double loss;    /* share of the packets, 0..1 */
    double dup, reorder;
    unsigned hops;      /* routers on the way */
    bool time_exceeded; /* do they say so? */
};

struct wan_packet {
    unsigned to; /* attachment, or WAN_PORTS: it has gone */
    struct wan_pair *pair;
    size_t len;
    uint8_t data[];
};

struct wan;

struct wan *wan_new(uint64_t seed);
void wan_free(struct wan *w);
struct wan_options *wan_options(struct wan *w);

/* The number of a new attachment, or CV_ERR_LIMIT, CV_ERR_EXISTS. */
int wan_attach(struct wan *w, const char *name);
void wan_detach(struct wan *w, unsigned port);
/* CV_ERR_NOTFOUND if there is none of the name. */
int wan_find(const struct wan *w, const char *name);
const char *wan_name(const struct wan *w, unsigned port);
/* "20.0.0.1", "20.0.1.0/24", "2a0c::/64"; CV_ERR_FORMAT, CV_ERR_LIMIT. */
int wan_add_prefix(struct wan *w, unsigned port, const char *text);

/* Silence from one attachment to another; NULL stands for all of them.
 * CV_ERR_LIMIT.  Restore with both NULL ends all silence. */
int wan_block(struct wan *w, const char *from, const char *to);
void wan_restore(struct wan *w, const char *from, const char *to);

/* A packet of `port`; it is changed in place. */
void wan_input(struct wan *w, unsigned port, uint8_t *data, size_t len,
               cv_time now);
cv_time wan_deadline(const struct wan *w);
/* The next packet that is due, or NULL.  The caller frees it with free(). */
struct wan_packet *wan_output(struct wan *w, cv_time now);

/* What passed, a JSON array with one object for each pair of addresses. */
void wan_count(const struct wan *w, FILE *out);
void wan_count_reset(struct wan *w);
#endif
