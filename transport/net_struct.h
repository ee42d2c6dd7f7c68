/* transport/net_struct.h - what the files of transport/net.h share.
 *
 *   net.c         the node's life, its one timer, its own addresses
 *   net_link.c    attempts: begun, limited, stepped, told and freed
 *   net_conn.c    the QUIC connection that comes of an attempt
 *   net_packet.c  what comes, over whatever carrier, and whose it is
 *   net_tcp.c     the TCP carrier, and how our TCP port is mapped
 *   net_gate.c    gates: rings, and channels as paths of links */
#ifndef CV_TRANSPORT_NET_STRUCT_H
#define CV_TRANSPORT_NET_STRUCT_H
#include "transport/attempt.h"
#include "transport/early.h"
#include "transport/gates.h"
#include "transport/gather.h"
#include "transport/net.h"
#include "transport/netif.h"
#include "transport/portmapper.h"
#include "transport/quic.h"
#include "transport/route.h"
#include "transport/sockets.h"
#include "transport/stunserver.h"
#include "transport/tcp.h"
#include "transport/tcpmap.h"
#include "transport/udp.h"

#define CV_NET_BURST_PAUSE (60 * CV_SECOND) /* between birthdays */
#define CV_NET_RESCUES     6 /* whole birthdays of living connections… */
#define CV_NET_RESCUE_TIME (30 * CV_SECOND) /* …in so long */
#define CV_NET_KNOCKERS    64 /* node keys whose attempts are counted */
#define CV_NET_CHANNELS    2  /* of one link, each at another gate */
/* By hand the other side is rung at so often until it speaks. */
#define CV_NET_HAND (15 * CV_SECOND)
/* The attempt that does not stand gives the other one this lead. */
#define CV_NET_YIELD (1 * CV_SECOND)
/* After a path is proved: for the client's first packet to come. */
#define CV_NET_HANDSHAKE (20 * CV_SECOND)
/* Close codes. */
#define CV_NET_LEAVING  0
#define CV_NET_REPLACED 1 /* a newer connection stands */

/* Bytes of a connection over a gate that also go to where the peer was heard;
 * they are a part of what an attempt may send to addresses that it was told,
 * CV_ATTEMPT_BYTES.  The one that was knocked at sends no more there than has
 * come of the connection, nor, with the checks that a check of 88 bytes is
 * worth, more than any address gets that has not answered (22 of 100). */
#define CV_NET_DOUBLED      4096
#define CV_NET_DOUBLED_BACK 1900

/* One attempt at one node, and the connection that came of it. */
struct cv_net_link {
    struct cv_net *net;
    struct cv_net_link *next;
    struct cv_contact contact; /* peer candidates are the attempt's */
    struct cv_attempt *attempt;
    struct cv_conn *conn; /* NULL until the handshake starts */
    cv_time begun;
    unsigned sent;        /* packets, until the handshake is confirmed */
    bool heard;           /* the mark was told */
    cv_time connect_at;   /* when the client starts the handshake */
    cv_time handshake_by; /* without a handshake by then it failed */
    bool reached;         /* the owner was told */
    struct cv_path_addr channel[CV_NET_CHANNELS]; /* channel 0: none */
    cv_time reopen_at;             /* another channel, CV_NEVER */
    struct cv_path_addr reopening; /* asked for, not open yet; or channel 0 */
    unsigned reopenings;           /* in vain, one after the other */
    /* Of a knock by hand: channels on which the other side has not spoken. */
    struct cv_path_addr hand[CV_NET_CHANNELS];
    cv_time hand_at; /* they are asked for again, CV_NEVER */
    bool confirmed;
    bool handed;       /* the owner has the connection */
    bool rescues;      /* its birthday is one of a living connection */
    bool silent;       /* no path of it works just now */
    cv_time silent_at; /* since when */
    cv_time look_at;   /* silent: where are we now? CV_NEVER: it is not */
    bool dirty;        /* flush it */
    bool blocked;      /* the socket is full */
    size_t doubled;    /* bytes, of CV_NET_DOUBLED */
    size_t came;       /* bytes of the connection, up to CV_NET_DOUBLED */
    bool doubted;      /* `reason` waits to be told */
    bool failed;       /* the same; then it goes */
    bool gone;         /* free it */
    char reason[CV_ATTEMPT_REASON];
};

struct cv_net_server {
    char host[256];
    uint16_t port;
    struct cv_resolve *resolve;
    bool known;
};

struct cv_net_knocker {
    struct cv_key node;
    unsigned n;
    cv_time since;
};

struct cv_net {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_rng *rng;
    const struct cv_keypair *node;
    bool answer_stun;
    const struct cv_net_events *events;
    void *user;
    cv_time retry; /* of dead paths, as cv_pathset's */
    cv_time nat_timeout;

    struct cv_udp *udp;
    struct cv_sockets sockets; /* and further ones, for a while */
    enum cv_net_birthday birthday;
    cv_time burst_after; /* the next birthday */
    cv_time give_back_after;
    /* Connections that have lost their path have birthdays of their own. */
    struct cv_bucket rescues; /* guesses of those of living connections */
    struct cv_gates *gates;
    uint8_t rooms[CV_NET_ROOMS][CV_ROOM_KEY];
    unsigned n_rooms;
    struct cv_tcp *tcp; /* NULL: no port could be opened */
    struct cv_tcpmap tcpmap;
    struct cv_timer *timer;
    struct cv_netif_watch *watch;
    struct cv_portmapper *portmapper; /* NULL: not wanted */
    struct cv_quic_ctx *quic;
    struct cv_gather gather;
    struct cv_local local; /* what attempts look at */
    struct cv_stun_limit limit;
    struct cv_early early; /* checks of attempts that are not here yet */
    struct cv_net_server server[CV_NET_STUN_SERVERS];
    unsigned n_servers;
    cv_time resolve_at;

    struct cv_net_link *links;
    unsigned n_links;
    struct cv_routes routes;
    struct cv_net_knocker knocker[CV_NET_KNOCKERS];
    cv_time resets_from;
    unsigned resets;

    unsigned depth; /* of our own calls: nothing is freed below */
    bool freed;
    uint64_t junk; /* packets that were nobody's */
};

/* --- net.c --- */

/* Do all that is due, then set the timer.  May free the node. */
void cv_net_service(struct cv_net *net);
/* Of an idle mapping in our NAT, as it is known just now. */
cv_time cv_net_life(const struct cv_net *net);

/* --- net_link.c --- */

char *cv_net_link_name(const struct cv_net_link *l, char out[9]);
struct cv_net_link *cv_net_find_link(const struct cv_net *net,
                                     const uint8_t attempt[8]);
/* It ends, and its owner will be told `reason`. */
void cv_net_fail(struct cv_net_link *l, const char *reason);
/* The connection that there is with this end, with a path or without. */
struct cv_net_link *cv_net_connected(const struct cv_net *net,
                                     const struct cv_contact *contact);
/* The same node in the same realm. */
bool cv_net_same_end(const struct cv_net_link *a, const struct cv_net_link *b);
/* A rival: the same node, knocked at by the other side, about now. */
bool cv_net_are_rivals(const struct cv_net_link *a,
                       const struct cv_net_link *b);
/* Does the attempt of `a` stand against its rival `b`?  That of the smaller
 * node key does. */
bool cv_net_stands(const struct cv_net_link *a, const struct cv_net_link *b);
/* Tell whoever measures: `addr` and `path` may be NULL. */
void cv_net_mark(const struct cv_net_link *l, enum cv_mark_kind kind,
                 const struct cv_path_addr *addr, const struct cv_path *path);
/* The path that packets take changed; NULL: none works. */
void cv_net_path_changed(struct cv_net_link *l, const struct cv_path *path);
/* End it without an event; the other side is told. */
void cv_net_drop(struct cv_net_link *l);
void cv_net_link_free(struct cv_net_link *l);
void cv_net_link_step(struct cv_net_link *l, cv_time now);
cv_time cv_net_link_deadline(const struct cv_net_link *l);
/* Tell of failed attempts, free what is gone.  May set `freed`. */
void cv_net_reap(struct cv_net *net);

/* --- net_conn.c --- */

void cv_net_start_handshake(struct cv_net_link *l, cv_time now);
/* A client's first packet came.  CV_ERR_AGAIN: it wants a retry token. */
int cv_net_accept(struct cv_net_link *l, const struct cv_path_addr *from,
                  const uint8_t *data, size_t len, cv_time now);
/* The carrier that was full has room again. */
void cv_net_unblock(struct cv_net_link *l);
/* Write what waits, or with `due` do what its deadline asks for. */
void cv_net_flush(struct cv_net_link *l, bool due, cv_time now);

/* --- net_packet.c --- */

/* Packets came by `via`, whatever carried them: `len` bytes, `segment` each,
 * the last one maybe shorter.  Call cv_net_service() after the last ones. */
void cv_net_input(struct cv_net *net, const struct cv_path_addr *via,
                  const uint8_t *data, size_t len, size_t segment);
/* The link is new: checks of it may have been here before the knock. */
void cv_net_early(struct cv_net_link *l, cv_time now);
/* A cv_path_send_fn for every carrier: the one place that packets leave by. */
int cv_net_send(struct cv_net *net, const struct cv_path_addr *to, unsigned ttl,
                const uint8_t *data, size_t len, size_t segment);

extern const struct cv_udp_events cv_net_udp_events;
extern const struct cv_sockets_events cv_net_sockets_events;

/* --- net_tcp.c --- */

/* Listen for TCP, and ask how the port is mapped.  Without TCP all else works
 * as before. */
void cv_net_tcp_open(struct cv_net *net);

/* --- net_gate.c --- */

CV_MUST_USE int cv_net_gates_open(struct cv_net *net,
                                  const struct cv_net_config *config);
void cv_net_gate_refs(const struct cv_net *net, struct cv_gate_refs *out);
/* Ring at the peer's gates, or claim the channel of its ring. */
void cv_net_gate_begin(struct cv_net_link *l);
/* The peer names gates, maybe others than before. */
void cv_net_gate_news(struct cv_net_link *l, const struct cv_contact *contact);
void cv_net_gate_end(struct cv_net_link *l);
/* Another channel may be had, or is needed: ask for it no later than that. */
void cv_net_gate_hurry(struct cv_net_link *l, cv_time at);
/* Open another channel when that is due (reopen_at). */
void cv_net_gate_step(struct cv_net_link *l, cv_time now);

/* `user` is the struct cv_net_link. */
extern const struct cv_tcpplan_ops cv_net_tcpplan_ops;
#endif
