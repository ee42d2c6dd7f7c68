/* transport/sockets.h - the UDP sockets of a node beside its main one: each
 * has a port of its own, and so a mapping of its own in every NAT.
 *
 * Opened for a moment, by plans that need many ports and to ask a STUN server
 * without touching the main mapping; the few that a path came of stay.  Told
 * apart by numbers from 1 on, which are used again late. */
#ifndef CV_TRANSPORT_SOCKETS_H
#define CV_TRANSPORT_SOCKETS_H
#include "base/log.h"
#include "base/loop.h"
#include "transport/udp.h"

#define CV_SOCKETS_MAX 560 /* two birthdays, and what else goes on */

struct cv_sockets_events {
    /* As cv_udp_events, and which socket it is. */
    void (*packet)(void *user, uint16_t socket, const struct cv_addr *from,
                   const struct cv_addr *local, const uint8_t *data,
                   size_t len);
    void (*batch)(void *user);
    void (*writable)(void *user);
};

struct cv_sockets;

struct cv_sockets_one {
    struct cv_sockets *all;
    uint16_t number;
    unsigned owners;
    struct cv_udp *udp; /* NULL: free */
};

struct cv_sockets {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_sockets_events *events;
    void *user;
    unsigned n;
    unsigned next; /* where a free one is looked for */
    struct cv_sockets_one one[CV_SOCKETS_MAX];
};

/* Everything is kept; `log` may be NULL. */
void cv_sockets_init(struct cv_sockets *s, struct cv_loop *loop,
                     struct cv_log *log, const struct cv_sockets_events *events,
                     void *user);
void cv_sockets_fini(struct cv_sockets *s);

/* An IPv4 socket on a port of the kernel's choice.  Returns its number, or
 * CV_ERR_LIMIT, CV_ERR_NONET, CV_ERR_NOMEM. */
CV_MUST_USE int cv_sockets_open(struct cv_sockets *s);
/* One more owner of an open one: it is closed with the last. */
void cv_sockets_share(struct cv_sockets *s, uint16_t number);
void cv_sockets_close(struct cv_sockets *s, uint16_t number);
/* As cv_udp_send(); CV_ERR_NONET when it is closed. */
int cv_sockets_send(struct cv_sockets *s, uint16_t number,
                    const struct cv_addr *to, unsigned ttl, const uint8_t *data,
                    size_t len, size_t segment);
#endif
