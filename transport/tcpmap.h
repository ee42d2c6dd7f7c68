/* transport/tcpmap.h - how others see our TCP port: the port of our listener
 * as a NAT maps it, which a UDP mapping says nothing about.
 *
 * A STUN client over TCP (RFC 8489, 6.2.2), from the listener's port, towards
 * the configured servers: at most three at once of a family, the rest when one
 * of these fails.  A connection is kept open and asked every 30 s, so that the
 * NAT keeps the mapping; when the server ends it, it is made again.  One that
 * fails is tried again after 30 s, doubling to 16 min.
 *
 * Pure: resolved names, connections, messages and the time come in. */
#ifndef CV_TRANSPORT_TCPMAP_H
#define CV_TRANSPORT_TCPMAP_H
#include "base/contact.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/time.h"
#include "transport/stun.h"

#define CV_TCPMAP_SERVERS 8
#define CV_TCPMAP_AT_ONCE 3               /* connections of one family */
#define CV_TCPMAP_TIMEOUT (3 * CV_SECOND) /* to connect, and to answer */
#define CV_TCPMAP_REFRESH (30 * CV_SECOND)
#define CV_TCPMAP_PAUSE   (5 * CV_SECOND) /* a server that hangs up is left */
#define CV_TCPMAP_AGAIN   (30 * CV_SECOND)
#define CV_TCPMAP_DOUBLE  5 /* times: 16 min at most */

enum cv_tcpmap_state {
    CV_TCPMAP_IDLE,       /* until `next` */
    CV_TCPMAP_CONNECTING, /* given up at `next` */
    CV_TCPMAP_ASKED,      /* given up at `next` */
    CV_TCPMAP_OPEN,       /* asked again at `next` */
};

struct cv_tcpmap_source {
    struct cv_addr addr; /* of the server; family NONE: unused */
    enum cv_tcpmap_state state;
    uint32_t channel;
    uint8_t txid[CV_STUN_TXID];
    unsigned failed; /* times in a row */
    cv_time asked, next;
    struct cv_addr mapped; /* what it says; family NONE: nothing */
};

struct cv_tcpmap_ops {
    /* From the listener's port; cv_tcpmap_up() or _down() follows. */
    int (*connect)(void *user, const struct cv_addr *to, uint32_t *channel);
    void (*close)(void *user, uint32_t channel); /* no call follows */
    void (*send)(void *user, uint32_t channel, const uint8_t *data, size_t len);
    /* cv_tcpmap_verdict() may say something else than before. */
    void (*changed)(void *user);
};

struct cv_tcpmap {
    const struct cv_rng *rng; /* kept */
    struct cv_log *log;       /* kept, may be NULL */
    const struct cv_tcpmap_ops *ops;
    void *user;
    struct cv_tcpmap_source source[CV_TCPMAP_SERVERS][2]; /* IPv4, IPv6 */
};

void cv_tcpmap_init(struct cv_tcpmap *m, const struct cv_rng *rng,
                    struct cv_log *log, const struct cv_tcpmap_ops *ops,
                    void *user);

/* A server's name was resolved: the first address of each family counts. */
void cv_tcpmap_server(struct cv_tcpmap *m, unsigned server,
                      const struct cv_addr *addrs, unsigned n, cv_time now);
/* Our addresses changed: everything is asked anew. */
void cv_tcpmap_network_changed(struct cv_tcpmap *m, cv_time now);

/* Of a connection: it is there, it is gone, it brought a message.  Channels
 * that are not ours are ignored. */
void cv_tcpmap_up(struct cv_tcpmap *m, uint32_t channel, cv_time now);
void cv_tcpmap_down(struct cv_tcpmap *m, uint32_t channel, cv_time now);
void cv_tcpmap_input(struct cv_tcpmap *m, uint32_t channel,
                     const struct cv_stun *s, cv_time now);

struct cv_tcpmap_verdict {
    struct cv_addr mapped; /* what most servers see; family NONE: unknown */
    unsigned votes;        /* servers that see this IP address */
    uint16_t mapping;      /* CV_NAT_MAPPING_* */
};
struct cv_tcpmap_verdict cv_tcpmap_verdict(const struct cv_tcpmap *m,
                                           enum cv_family family);

/* Has every server had its say, or failed to? */
bool cv_tcpmap_settled(const struct cv_tcpmap *m);

cv_time cv_tcpmap_deadline(const struct cv_tcpmap *m);
void cv_tcpmap_step(struct cv_tcpmap *m, cv_time now);
#endif
