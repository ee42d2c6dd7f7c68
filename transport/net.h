/* transport/net.h - this node's end of the network: sockets, own candidates,
 * attempts to reach a peer, and the connections that come of them.
 *
 * One UDP port for STUN, checks and QUIC, told apart by the first byte (RFC
 * 9443).  Whoever found the peer hands in a contact; both sides do, the one
 * that knocked and the one that was knocked at, and each gets a connection
 * when the peer's key is proved and the handshake confirmed. */
#ifndef CV_TRANSPORT_NET_H
#define CV_TRANSPORT_NET_H
#include "base/contact.h"
#include "base/log.h"
#include "base/loop.h"
#include "transport/conn.h"
#include "transport/gates.h"
#include "transport/mark.h"

struct cv_net;

#define CV_NET_STUN_SERVERS 8
#define CV_NET_ATTEMPTS     32 /* living at once */

/* Plan P3 sends thousands of packets to join two networks that nothing else
 * joins (transport/birthday.h); some routers fall over. */
enum cv_net_birthday {
    CV_NET_BIRTHDAY,
    CV_NET_BIRTHDAY_GENTLE,
    CV_NET_BIRTHDAY_OFF,
};

/* "on", "gentle" or "off"; CV_ERR_INVALID. */
CV_MUST_USE int cv_net_birthday_parse(enum cv_net_birthday *out,
                                      const char *text);

struct cv_net_gate {
    struct cv_gate_name name;
    const char *token; /* NULL: none; copied */
};

struct cv_net_config {
    struct cv_loop *loop;          /* kept */
    struct cv_log *log;            /* kept, may be NULL */
    const struct cv_rng *rng;      /* kept */
    const struct cv_keypair *node; /* kept: N */
    uint16_t port;                 /* of UDP; 0: any */
    bool answer_stun;              /* answer unauthenticated Binding requests */
    bool port_mapping;             /* ask the gateway for a port (portmap.h) */
    const char *const *stun;       /* "HOST:PORT"[n_stun], copied */
    unsigned n_stun;
    enum cv_net_birthday birthday;
    const struct cv_net_gate *gates; /* [n_gates], copied */
    unsigned n_gates;
    const struct cv_cert *cert; /* kept; for gates that list identities */
    cv_time retry; /* as cv_pathset's, for measurements; 0: as it is */
    /* How long the NAT keeps an idle UDP mapping (transport/natlife.h); 0: it
     * is measured. */
    cv_time nat_timeout;
};

enum cv_attempt_state {
    CV_ATTEMPT_PUNCHING, /* checks are out */
    CV_ATTEMPT_DIRECT,   /* a path is proved; the handshake runs */
    CV_ATTEMPT_DOUBTED,  /* no path, as it seems: `reason`; it goes on */
    CV_ATTEMPT_FAILED,   /* final: no path; `reason` says what was tried */
};

struct cv_net_events {
    /* Our own candidates or NAT kind changed; publish them. */
    void (*candidates)(void *user, const struct cv_candidates *own);
    /* This machine has other addresses, or was suspended.  May be NULL. */
    void (*network_changed)(void *user);
    void (*attempt)(void *user, const uint8_t attempt[8],
                    enum cv_attempt_state state, const char *reason);
    /* A milestone of an attempt, told from where it happens; may be NULL. */
    void (*mark)(void *user, const uint8_t attempt[8],
                 const struct cv_mark *mark);
    /* Somebody rang at a gate in the room of this key, with cv_contact.ring of
     * the other side.  May be NULL. */
    void (*rung)(void *user, const uint8_t room_key[CV_ROOM_KEY],
                 struct cv_bytes ring);
    /* A gate of ours keeps this at a location that was looked for.  May be
     * NULL. */
    void (*found)(void *user, const uint8_t loc[20], struct cv_bytes sealed);
    /* Handshake confirmed with the pinned node key.  Set its events now. */
    void (*conn)(void *user, struct cv_conn *conn);
};

/* Opens the sockets and starts gathering.  CV_ERR_NONET when no socket can be
 * opened, CV_ERR_BUSY when `port` is taken. `events` is kept. */
CV_MUST_USE int cv_net_new(struct cv_net **out,
                           const struct cv_net_config *config,
                           const struct cv_net_events *events, void *user);
/* Closes every connection at once (the peers are told, unacknowledged). */
void cv_net_free(struct cv_net *net);

void cv_net_candidates(const struct cv_net *net, struct cv_candidates *out);
/* Has everybody who is asked for our addresses had his say? */
bool cv_net_settled(const struct cv_net *net);
/* Has every gate of ours let us in once, or failed to? */
bool cv_net_gates_settled(const struct cv_net *net);
uint16_t cv_net_port(const struct cv_net *net);

/* The keys of the rooms in which this node can be rung at its gates. */
#define CV_NET_ROOMS CV_GATES_ROOMS
void cv_net_set_rooms(struct cv_net *net, const uint8_t (*keys)[CV_ROOM_KEY],
                      unsigned n);
/* Sealed pointers at our gates; as cv_gates_store(), cv_gates_look(). */
void cv_net_store(struct cv_net *net, const uint8_t loc[20], unsigned ttl_s,
                  struct cv_bytes sealed);
void cv_net_look(struct cv_net *net, const uint8_t loc[20]);
/* Is at least one gate of ours linked? */
bool cv_net_has_gate(const struct cv_net *net);
/* The gates, for status; as cv_gates_list(). */
unsigned cv_net_gates(const struct cv_net *net, struct cv_gates_info *out,
                      unsigned max);

/* Begin, or with a known attempt id add the contact's candidates to, an
 * attempt (also below a living connection).  CV_ERR_LIMIT: too many attempts,
 * or more than six a minute by one node that knocks.  CV_ERR_INVALID: the node
 * is ourselves, or the attempt is another node's.
 *
 * With a node that we are connected to already, the connection is given the
 * contact's candidates too: it goes on if one of them works.  Otherwise the
 * newer attempt replaces it, but only when its handshake is confirmed: `conn`
 * tells the new one first, then the old one's `closed` says CV_OK.  When both
 * sides knock at once, the attempt of the smaller node key stands; the other
 * one ends, without an event if it had no connection yet. */
CV_MUST_USE int cv_net_connect(struct cv_net *net,
                               const struct cv_contact *contact);
/* Give up an attempt that has no connection yet; no event follows. */
void cv_net_abandon(struct cv_net *net, const uint8_t attempt[8]);

/* A sentence on what the node knows of its network, for status and doctor. */
void cv_net_describe(const struct cv_net *net, char *out, size_t len);
#endif
