/* transport/tcp.h - one TCP port on IPv4 and IPv6, and the connections from
 * and to it: the carrier of packets where UDP does not get through.
 *
 * Listens, and connects from the very port it listens on (SO_REUSEADDR,
 * SO_REUSEPORT), so that a NAT which maps by source gives both the same
 * outside.  Between peers every packet is framed (transport/tcpframe.h); to a
 * STUN server messages go as they are.  A connection is named by a channel
 * number that is not used again.
 *
 * A connection that nobody vouches for (cv_tcp_keep()) is closed after 5 s.
 * Strangers have at most CV_TCP_STRANGERS places: the oldest one gives way.
 * What a link cannot send waits in a bounded queue (transport/tcpqueue.h).
 * Closing is abortive (RST): nothing here is ever the last word, and no port
 * stays taken. */
#ifndef CV_TRANSPORT_TCP_H
#define CV_TRANSPORT_TCP_H
#include "base/addr.h"
#include "base/log.h"
#include "base/loop.h"
#include "transport/path.h"

struct cv_tcp;

#define CV_TCP_LINKS     128 /* of all kinds */
#define CV_TCP_STRANGERS 32  /* accepted, and not kept yet */
#define CV_TCP_A_SOURCE  4   /* of them from one IPv4 address or IPv6 /64 */
#define CV_TCP_PROVE     (5 * CV_SECOND)
/* A peer that acknowledges nothing for this long is gone. */
#define CV_TCP_DEAD_MS 15000

enum cv_tcp_kind {
    CV_TCP_PEER, /* framed packets */
    CV_TCP_STUN, /* a STUN server */
};

/* A time-exceeded message quotes a TTL no higher than the packet's own, and
 * that is never higher than this when it is low on purpose. */
#define CV_TCP_LOW_TTL 8

struct cv_tcp_events {
    /* A packet over a link between peers (carrier TCP, channel, addresses), or
     * a message of a STUN server.  Each of these may free the carrier. */
    void (*packet)(void *user, enum cv_tcp_kind kind,
                   const struct cv_path_addr *from, const uint8_t *data,
                   size_t len);
    /* What was there has been read: now answer. */
    void (*batch)(void *user);
    /* A connection of ours (cv_tcp_connect()) is there. */
    void (*up)(void *user, const struct cv_path_addr *link);
    /* A link is gone, whoever began it, unless by cv_tcp_close().
     * CV_ERR_DENIED: refused; _NONET: unreachable; _TIMEOUT: no answer;
     * _PEER: not our framing; _CLOSED: it was there and has ended. */
    void (*down)(void *user, const struct cv_path_addr *link, int err);
    /* There is room again after CV_ERR_AGAIN or cv_tcp_is_full(). */
    void (*writable)(void *user, uint32_t channel);
};

/* Listen on `port` (0: any; another one if it is taken by somebody else), with
 * `port6` for IPv6.  Everything is kept; `log` may be NULL.
 * CV_ERR_NONET: not on any family. */
CV_MUST_USE int cv_tcp_new(struct cv_tcp **out, struct cv_loop *loop,
                           struct cv_log *log, uint16_t port, uint16_t port6,
                           const struct cv_tcp_events *events, void *user);
/* Closes all links without events. */
void cv_tcp_free(struct cv_tcp *tcp);

/* What we listen on; 0: not on this family. */
uint16_t cv_tcp_port(const struct cv_tcp *tcp, enum cv_family family);

/* Begin to connect from our port; `up` or `down` follows, never before this
 * returns.  The kernel repeats the SYN once, after a second.
 *
 * With a low `ttl` (not 0, the system's) that is the TTL of the SYN and of
 * those that the kernel repeats, for 127 s: they expire on the way, which is
 * no error.  What answers the SYN of the other side has the system's.
 *   CV_ERR_EXISTS  there is such a connection already
 *   CV_ERR_LIMIT   too many links
 *   CV_ERR_NONET   no socket of this family, or no route */
CV_MUST_USE int cv_tcp_connect(struct cv_tcp *tcp, enum cv_tcp_kind kind,
                               const struct cv_addr *to, unsigned ttl,
                               uint32_t *channel);
/* Has our SYN been answered, or met that of the other side, so that to close
 * now would undo what is about to be a connection? */
bool cv_tcp_is_met(const struct cv_tcp *tcp, uint32_t channel);
/* No event follows.  Unknown channels are ignored. */
void cv_tcp_close(struct cv_tcp *tcp, uint32_t channel);

/* Packets that we trust came over it: it may stay. */
void cv_tcp_keep(struct cv_tcp *tcp, uint32_t channel);

/* Send packets of `segment` bytes each (the last one may be shorter); a single
 * STUN packet goes before all others that wait.
 *   CV_ERR_AGAIN   the queue is full, nothing was taken
 *   CV_ERR_CLOSED  there is no such link, or it is not connected yet
 *   CV_ERR_NOBUF, CV_ERR_NOMEM   as cv_tcpqueue_put() */
int cv_tcp_send(struct cv_tcp *tcp, uint32_t channel, const uint8_t *data,
                size_t len, size_t segment);
/* Would the next packet be refused?  Then `writable` follows. */
bool cv_tcp_is_full(const struct cv_tcp *tcp, uint32_t channel);
#endif
