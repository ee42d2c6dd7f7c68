/* transport/local.h - what this node knows of its own place in the network,
 * and what follows for the addresses of others: may we send there at all, and
 * how good is a path to it.
 *
 * Filled in by transport/gather.h; pure. */
#ifndef CV_TRANSPORT_LOCAL_H
#define CV_TRANSPORT_LOCAL_H
#include "base/addr.h"
#include "base/contact.h"
#include "base/time.h"
#include "transport/conn.h"
#include <stdbool.h>

#define CV_LOCAL_NETS     32
#define CV_LOCAL_GATEWAYS 4

struct cv_local_net {
    struct cv_addr addr; /* of our interface; port 0 */
    uint8_t bits;        /* of its prefix */
};

struct cv_local {
    unsigned n;
    struct cv_local_net net[CV_LOCAL_NETS]; /* the usable interfaces */
    unsigned n_gateways;
    struct cv_addr gateway[CV_LOCAL_GATEWAYS]; /* default routes, port 0 */
    bool only_loopback;                        /* there is no other interface */
    struct cv_addr reflexive; /* our public IPv4 address, or family NONE */
    uint16_t nat;             /* CV_NAT_* of our own */
    uint16_t port;            /* of our UDP socket */
    uint16_t tcp_port;        /* that we listen on; 0: none */
    uint16_t tcp_port6;
    uint16_t tcp_mapping; /* CV_NAT_MAPPING_* of TCP over IPv4 */
    bool udp_silent;      /* servers answer us over TCP and not over UDP */
    bool ipv4, ipv6;      /* there is a socket for it */
    cv_time udp_life;     /* of an idle mapping in our NAT; 0: not known */
};

/* May an address that a peer's record names be sent to?  No multicast,
 * broadcast, loopback (unless we have nothing else), link-local, own gateway
 * or own socket, no port below 1024, and no private address unless it lies
 * in a subnet of ours or the peer is behind the NAT that we are behind
 * (`same_nat`); RFC 6598 addresses only when we have one ourselves. */
bool cv_local_may_send(const struct cv_local *local, const struct cv_addr *a,
                       bool same_nat);

/* May we connect to it by TCP?  As above, and a private address only within a
 * subnet of ours and if the peer is trusted (struct cv_contact): else a record
 * could have us knock at the printer. */
bool cv_local_may_connect(const struct cv_local *local, const struct cv_addr *a,
                          bool trusted);

/* Does the peer's record name our own reflexive address? */
bool cv_local_same_nat(const struct cv_local *local,
                       const struct cv_candidates *peer);

/* Do both know the same interfaces and routes? */
bool cv_local_same_nets(const struct cv_local *a, const struct cv_local *b);

/* The tier of a UDP path to `a`. */
enum cv_path_kind cv_local_path_kind(const struct cv_local *local,
                                     const struct cv_addr *a);
#endif
