/* transport/path.h - one way to reach a peer: an address over a carrier, what
 * is known of it, and how packets are handed to it.
 *
 * Plain data, owned by transport/pathset.h.  Nothing above the send function
 * knows more of UDP, punched TCP and gates than the values of enum cv_carrier
 * and, of the latter two, a channel number. */
#ifndef CV_TRANSPORT_PATH_H
#define CV_TRANSPORT_PATH_H
#include "base/addr.h"
#include "base/time.h"
#include "transport/conn.h"

enum cv_carrier {
    CV_CARRIER_UDP,
    CV_CARRIER_TCP,
    CV_CARRIER_GATE_UDP,
    CV_CARRIER_GATE_TLS,
    CV_CARRIER_GATE_WS,
};

/* Where a packet goes, or where it came from. */
struct cv_path_addr {
    uint8_t carrier;  /* enum cv_carrier */
    uint16_t socket;  /* which of our UDP sockets; 0: the main one */
    uint32_t channel; /* of a gate or TCP link; 0 for UDP */
    struct cv_addr remote;
    /* Our own end as the packet saw it, so that answers leave from there;
     * family NONE lets the route decide.  Not part of a path's identity. */
    struct cv_addr local;
};

/* Send `len` bytes; they are packets of `segment` bytes each, the last one
 * maybe shorter (segment == len: one packet). `ttl` 0 is the system's.
 * CV_ERR_AGAIN when the carrier is full (the packets were not taken),
 * CV_ERR_IO when it refused them; both are a loss like any other. */
typedef int (*cv_path_send_fn)(void *user, const struct cv_path_addr *to,
                               unsigned ttl, const uint8_t *data, size_t len,
                               size_t segment);

/* A further UDP socket with a port of its own, for cv_path_addr.socket; a
 * negative CV_ERR_* when there is none to be had. */
typedef int (*cv_socket_open_fn)(void *user);
typedef void (*cv_socket_close_fn)(void *user, uint16_t socket);

enum cv_path_state {
    CV_PATH_NEW,      /* an address we know of; nothing was sent yet */
    CV_PATH_CHECKING, /* checks are out, none was answered */
    CV_PATH_VALID,    /* just proved; the next choice gives it a role */
    CV_PATH_SELECTED, /* packets go here */
    CV_PATH_STANDBY,  /* proved and kept warm */
    CV_PATH_SUSPECT,  /* was selected and has gone silent; doubled on the
                         standby while checks decide */
    CV_PATH_DEAD,     /* checks stay unanswered; tried again now and then */
};

struct cv_path {
    bool used; /* a slot of the set that holds a path */
    enum cv_path_state state;
    enum cv_path_kind kind;
    bool candidate;    /* named by a signed record of the peer */
    bool proved;       /* answered a check of ours at least once */
    cv_time proved_at; /* when it last became good */
    uint32_t id;       /* our number of it, PATH-ID of its checks */
    struct cv_path_addr addr;
    cv_time srtt, rttvar; /* RFC 6298; 0 until measured */
    uint64_t bytes_in;    /* before it is proved: what came, */
    uint64_t bytes_out;   /* and what went, at most three times as much */
    unsigned unanswered;  /* checks since the last answer */
    unsigned tries;       /* checks since the state was entered */
    cv_time check_at;     /* of the next check; CV_NEVER: none planned */
    cv_time last_check;   /* when one was last sent; 0: never */
    cv_time heard;        /* when anything last came from it; 0: never */
    cv_time spoke;        /* the same of packets of the connection */
    cv_time asked; /* when an authenticated check of the peer's came, or our
                      link was there; or 0 */
    cv_time since; /* when the state was entered */
};

/* Is it a channel of a gate? */
static inline bool cv_path_is_relay(const struct cv_path_addr *a)
{
    return a->carrier == CV_CARRIER_GATE_UDP ||
           a->carrier == CV_CARRIER_GATE_TLS ||
           a->carrier == CV_CARRIER_GATE_WS;
}

static inline bool cv_path_addr_same(const struct cv_path_addr *a,
                                     const struct cv_path_addr *b)
{
    return a->carrier == b->carrier && a->socket == b->socket &&
           a->channel == b->channel && cv_addr_equal(&a->remote, &b->remote);
}
#endif
