/* transport/gates.h - the gates of a node: links to them, the rooms in which
 * it can be rung, and channels, which are paths like any other.
 *
 * A channel is known by the tag of its ring, which is the id of the attempt.
 * It carries packets from the moment it is asked for: the first one travels
 * with the knock.  What the gate's link carries at first goes over UDP as soon
 * as that is seen to get through, and comes back to the link when it does not
 * any more (connectivity.md, 13). */
#ifndef CV_TRANSPORT_GATES_H
#define CV_TRANSPORT_GATES_H
#include "transport/gatelink.h"
#include "transport/path.h"

struct cv_gates;

/* Of struct cv_gate_ref: how the gate can be spoken to.  Without BY_TLS only
 * those can who have it in their own settings: the address leads to a reverse
 * proxy, whose name is not in the reference, or is not known (0.0.0.0). */
#define CV_GATE_BY_TLS 0x01
#define CV_GATE_BY_UDP 0x02
#define CV_GATE_BY_WS  0x04

#define CV_GATES_MAX      8   /* our own, and those that peers named */
#define CV_GATES_ROOMS    96  /* sessions times epochs */
#define CV_GATES_CHANNELS 128 /* two of each member of a class */
#define CV_GATES_WAITING  4 /* packets that a channel holds until it is open */
/* The packet that goes with a ring is made in the same turn, unless the
 * handshake is to begin later. */
#define CV_GATES_PACKET (10 * CV_MILLISECOND)
#define CV_GATES_OPEN   (10 * CV_SECOND) /* then a ring has failed */
/* A ring that was one too many is sent again after so long, and as much more at
 * random. */
#define CV_GATES_AGAIN (750 * CV_MILLISECOND)
#define CV_GATES_IDLE  (60 * CV_SECOND) /* a peer's gate without a channel */
/* Over UDP: a channel is bound again so often, which keeps the NAT's mapping,
 * and asked after so long without an answer to what was sent. */
#define CV_GATES_BIND   (15 * CV_SECOND)
#define CV_GATES_SILENT (400 * CV_MILLISECOND)
#define CV_GATES_RTO    (250 * CV_MILLISECOND)

struct cv_gates_config {
    struct cv_loop *loop;          /* kept */
    struct cv_log *log;            /* kept, may be NULL */
    const struct cv_rng *rng;      /* kept */
    const struct cv_keypair *node; /* kept: N */
    const struct cv_cert *cert;    /* kept, may be NULL */
};

struct cv_gates_events {
    /* Somebody rings in `room`.  Its channel exists already; packets of it are
     * held until cv_gates_claim(). */
    void (*rung)(void *user, const uint8_t room[CV_GATE_ROOM],
                 const uint8_t tag[CV_GATE_TAG], struct cv_bytes knock);
    /* Somebody opened a channel with this tag, which may be claimed; or one of
     * ours without a knock is open now. */
    void (*opened)(void *user, const uint8_t tag[CV_GATE_TAG]);
    /* Our ring has been handed over: the peer has the knock, or is about to.
     * May be NULL. */
    void (*reached)(void *user, const uint8_t tag[CV_GATE_TAG]);
    /* A packet of a claimed channel. */
    void (*packet)(void *user, const struct cv_path_addr *via,
                   const uint8_t *data, size_t len);
    /* The channel is no more, or could not be had; `why` is a sentence. */
    void (*gone)(void *user, const uint8_t tag[CV_GATE_TAG],
                 const struct cv_path_addr *path, const char *why);
    /* After the last packet of a turn. */
    void (*batch)(void *user);
    /* There is room again after CV_ERR_AGAIN. */
    void (*writable)(void *user);
    /* A pointer lies at this location, on the shelf of a gate of ours. */
    void (*found)(void *user, const uint8_t loc[20], struct cv_bytes sealed);
    /* A gate of ours came or went: the pointer names others now. */
    void (*changed)(void *user);
    /* Send from the node's UDP port. */
    int (*udp)(void *user, const struct cv_addr *to, const uint8_t *data,
               size_t len, size_t segment);
};

/* `events` is kept.  https_proxy and no_proxy are read. */
CV_MUST_USE int cv_gates_new(struct cv_gates **out,
                             const struct cv_gates_config *config,
                             const struct cv_gates_events *events, void *user);
void cv_gates_free(struct cv_gates *g);

/* A gate from our settings: linked to for good.  CV_ERR_LIMIT, CV_ERR_NOMEM;
 * CV_ERR_EXISTS: it is there. `token` may be NULL. */
CV_MUST_USE int cv_gates_add(struct cv_gates *g,
                             const struct cv_gate_name *name,
                             const char *token);

/* The rooms (their keys r) in which we can be rung, at every gate of ours;
 * replaces what was said before. */
void cv_gates_set_rooms(struct cv_gates *g,
                        const uint8_t (*keys)[CV_GATE_ROOM_KEY], unsigned n);

/* Keep a sealed pointer at every gate of ours that is linked just now. */
void cv_gates_store(struct cv_gates *g, const uint8_t loc[20], uint16_t ttl_s,
                    struct cv_bytes sealed);
/* Ask the gates of ours for what lies there: `found` for each.  Those that are
 * not linked yet are asked when they are, within CV_GATES_LOOK. */
#define CV_GATES_LOOK  (30 * CV_SECOND)
#define CV_GATES_LOOKS 8
void cv_gates_look(struct cv_gates *g, const uint8_t loc[20]);

/* Ring at a peer's gate, one of ours or not, and open a channel.  The path is
 * usable at once.  Without a knock (empty) only the channel is opened, for an
 * attempt that the peer knows already.  CV_ERR_LIMIT, CV_ERR_NOMEM,
 * CV_ERR_EXISTS (this tag). */
CV_MUST_USE int cv_gates_ring(struct cv_gates *g,
                              const struct cv_gate_name *gate,
                              const struct cv_key *peer,
                              const uint8_t room_key[CV_GATE_ROOM_KEY],
                              const uint8_t tag[CV_GATE_TAG],
                              struct cv_bytes knock, struct cv_path_addr *path);
/* The channel of somebody who rang: we want it.  CV_ERR_NOTFOUND. */
CV_MUST_USE int cv_gates_claim(struct cv_gates *g,
                               const uint8_t tag[CV_GATE_TAG],
                               struct cv_path_addr *path);
/* Now for what was held until it was claimed: it comes by `packet`. */
void cv_gates_deliver(struct cv_gates *g, const struct cv_path_addr *path);
/* No event follows. */
void cv_gates_close(struct cv_gates *g, const struct cv_path_addr *path);

/* As cv_path_send_fn. */
CV_MUST_USE int cv_gates_send(struct cv_gates *g, const struct cv_path_addr *to,
                              const uint8_t *data, size_t len, size_t segment);
/* A UDP packet whose first byte is 0x10..0x14. */
void cv_gates_udp_input(struct cv_gates *g, const struct cv_addr *from,
                        const uint8_t *data, size_t len);
/* The round trip to the gate of this path, 0 when it is not known. */
cv_time cv_gates_rtt(const struct cv_gates *g, const struct cv_path_addr *path);
/* Does this path go over UDP just now? */
bool cv_gates_is_udp(const struct cv_gates *g, const struct cv_path_addr *path);
/* The network changed: see what still works. */
void cv_gates_recheck(struct cv_gates *g);
/* How long our NAT keeps an idle UDP mapping: channels are kept by BIND every
 * 15 s, or more often if that is needed; from the next BIND on. */
void cv_gates_life(struct cv_gates *g, cv_time life);

struct cv_gates_info {
    struct cv_gate_name name;
    struct cv_addr remote; /* family NONE: not linked, or only a proxy knows */
    enum cv_gatelink_state state;
    cv_time rtt;
    bool own;
    const char *trouble; /* "" or a sentence; until the next call */
    uint16_t udp_port;   /* 0: none, or not known yet */
    unsigned way;        /* it is linked by, CV_GATE_WAY_* */
};
/* Returns how many there are; fills the first `max`, best first. */
unsigned cv_gates_list(const struct cv_gates *g, struct cv_gates_info *out,
                       unsigned max);
#endif
