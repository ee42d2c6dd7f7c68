/* transport/udp.h - one UDP port on IPv4 and IPv6.
 *
 * Reads in batches (recvmmsg, UDP_GRO), sends trains of packets in one call
 * (UDP_SEGMENT) where the kernel can, sets the TTL of single packets, and
 * knows which of our addresses a packet was sent to, so that the answer can
 * leave from there.  Knows nothing of what is in the packets. */
#ifndef CV_TRANSPORT_UDP_H
#define CV_TRANSPORT_UDP_H
#include "base/addr.h"
#include "base/log.h"
#include "base/loop.h"

struct cv_udp;

#define CV_UDP_BATCH    8     /* reads in one system call */
#define CV_UDP_READS    32    /* before others get their turn */
#define CV_UDP_MAX      65536 /* bytes of a read: many packets with GRO */
#define CV_UDP_BUFFER   (4 * 1024 * 1024) /* of the kernel, as far as allowed */
#define CV_UDP_SEGMENTS 64 /* packets in a train, the kernel's limit */

struct cv_udp_events {
    /* One datagram. `local` is the address of ours it was sent to, with our
     * port.  Each of these may free the socket. */
    void (*packet)(void *user, const struct cv_addr *from,
                   const struct cv_addr *local, const uint8_t *data,
                   size_t len);
    /* When set, called instead: one datagram (segment == len), or several of
     * `segment` bytes each that came together, the last one maybe shorter.
     * They may be written to. */
    void (*train)(void *user, const struct cv_addr *from,
                  const struct cv_addr *local, uint8_t *data, size_t len,
                  size_t segment);
    /* What was there has been read: now answer. */
    void (*batch)(void *user);
    /* There is room again after CV_ERR_AGAIN. */
    void (*writable)(void *user);
};

/* Bind `port` (0: any) on IPv4 and IPv6, the same one on both if that is
 * possible.  Everything is kept; `log` may be NULL.
 * CV_ERR_BUSY: the port is taken.  CV_ERR_NONET: no socket at all. */
CV_MUST_USE int cv_udp_new(struct cv_udp **out, struct cv_loop *loop,
                           struct cv_log *log, uint16_t port,
                           const struct cv_udp_events *events, void *user);
/* The same on one address only: for servers. */
CV_MUST_USE int cv_udp_new_at(struct cv_udp **out, struct cv_loop *loop,
                              struct cv_log *log, const struct cv_addr *bind,
                              const struct cv_udp_events *events, void *user);
void cv_udp_free(struct cv_udp *udp);

/* The bound port: of IPv4 when there is one. */
uint16_t cv_udp_port(const struct cv_udp *udp);
bool cv_udp_has(const struct cv_udp *udp, enum cv_family family);

/* Send packets of `segment` bytes each (the last one may be shorter).
 * `local`: leave from this address if it is still ours; NULL or family NONE:
 * as the route says. `ttl` 0: the system's.
 *   CV_ERR_AGAIN  the socket is full: nothing more goes until `writable`
 *   CV_ERR_NONET  no socket of this family
 *   CV_ERR_IO     refused (no route, filtered) */
int cv_udp_send(struct cv_udp *udp, const struct cv_addr *to,
                const struct cv_addr *local, unsigned ttl, const uint8_t *data,
                size_t len, size_t segment);
#endif
