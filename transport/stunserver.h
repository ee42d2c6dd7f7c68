/* transport/stunserver.h - a STUN Binding server over UDP and TCP (RFC 8489,
 * RFC 5780): it tells whoever asks which address the question came from.
 *
 * No state about clients but a bounded table of rates.  An answer over UDP is
 * never longer than the request, so the server amplifies nothing: what does
 * not fit is left out, least needed first, and a request that is too short
 * even for XOR-MAPPED-ADDRESS (32 bytes over IPv4, 44 over IPv6) gets none.
 * Clients pad: ours with an attribute that every server skips
 * (CV_STUN_FILL), others with SOFTWARE or PADDING. */
#ifndef CV_TRANSPORT_STUNSERVER_H
#define CV_TRANSPORT_STUNSERVER_H
#include "base/addr.h"
#include "base/log.h"
#include "base/loop.h"
#include "transport/stun.h"

/* Answers a second to one IPv4 or /64: a node that looks its network over asks
 * up to ten times at once (two servers, UDP and TCP, filters), and several may
 * sit behind one address. */
#define CV_STUN_RATE    40
#define CV_STUN_SOURCES 4096 /* sources that are counted; 2^n */
#define CV_STUN_BINDS   4
/* RESPONSE-PORT is obeyed from here on. */
#define CV_STUN_RESPONSE_LEAST 1024
/* TCP connections at once, and of one IPv4 or /64; one more takes the place of
 * the one that has been silent for longest. */
#define CV_STUN_CONNS    512
#define CV_STUN_CONNS_IP 32
/* Closed after this silence: of one that never asked, and of one that keeps
 * its NAT's mapping alive with us (transport/tcpmap.h asks every 30 s). */
#define CV_STUN_IDLE (10 * CV_SECOND)
#define CV_STUN_KEPT (150 * CV_SECOND)

/* Token buckets by source; a table of fixed size in which a new source takes
 * the place of one that has been silent. */
struct cv_stun_bucket {
    uint64_t source; /* hash of the address, 0: free */
    cv_time since;
    unsigned n;
};
struct cv_stun_limit {
    struct cv_stun_bucket *bucket; /* [CV_STUN_SOURCES], made when needed */
    uint64_t refused;
};
/* May one more answer go to this source now? */
bool cv_stun_limit_allow(struct cv_stun_limit *limit,
                         const struct cv_addr *from, cv_time now);
void cv_stun_limit_fini(struct cv_stun_limit *limit);

/* Write the answer to a Binding request that came from `from`, at most `max`
 * bytes. `origin` and `other` (RESPONSE-ORIGIN, OTHER-ADDRESS) may be NULL.
 * RESPONSE-PORT is refused: whoever obeys it takes it out before.
 * CV_ERR_INVALID: nothing is to be answered; CV_ERR_NOBUF: not even the
 * address fits. */
CV_MUST_USE int cv_stun_answer(const struct cv_stun *request,
                               const struct cv_addr *from,
                               const struct cv_addr *origin,
                               const struct cv_addr *other, size_t max,
                               struct cv_writer *out);

struct cv_stunserver;

/* Listen on binds[n] (n <= CV_STUN_BINDS), UDP and TCP.  With two or more of
 * one family the first two are each other's OTHER-ADDRESS, and CHANGE-REQUEST
 * is obeyed as far as they differ.  Over UDP RESPONSE-PORT is, too.
 *   CV_ERR_BUSY, CV_ERR_PERM, CV_ERR_NONET   an address cannot be bound
 *   CV_ERR_INVALID                           n is 0 or too large */
CV_MUST_USE int cv_stunserver_new(struct cv_stunserver **out,
                                  struct cv_loop *loop, struct cv_log *log,
                                  const struct cv_addr *binds, unsigned n);
void cv_stunserver_free(struct cv_stunserver *s);
/* What binds[i] was bound to (the port, when 0 was asked for). */
uint16_t cv_stunserver_port(const struct cv_stunserver *s, unsigned i);
#endif
