/* transport/portmap.h - a port of the gateway that leads to ours: who is asked
 * for it, what is believed, and when it is asked for again.
 *
 * Three ways are raced: PCP at once, NAT-PMP a moment later with a question
 * that changes nothing, and UPnP, whose search takes its time.  The first that
 * answers is used, the next when it refuses.  A mapping is leased for
 * CV_PORTMAP_LEASE, renewed between 1/2 and 5/8 of what was given (RFC 6887,
 * 11.2.1), and given back when it is closed.
 *
 * Only the default gateway is asked, and only what comes from its address, with
 * our nonce or our port, counts.  When its clock says that it has lost its
 * state (RFC 6887, 8.5; RFC 6886, 3.6), everything is asked for again.
 *
 * Pure: packets to and from the gateway, answers of UPnP and the time come in;
 * portmapper.h has the sockets. */
#ifndef CV_TRANSPORT_PORTMAP_H
#define CV_TRANSPORT_PORTMAP_H
#include "base/crypto.h"
#include "base/log.h"
#include "base/time.h"
#include "transport/pcp.h"

#define CV_PORTMAP_LEASE     1200u                  /* seconds */
#define CV_PORTMAP_LEASE_MIN 120u                   /* shorter ones count as */
#define CV_PORTMAP_LEASE_MAX (24u * 3600u)          /* longer ones, too */
#define CV_PORTMAP_PATIENCE  (2 * CV_SECOND)        /* then nobody answers */
#define CV_PORTMAP_STAGGER   (250 * CV_MILLISECOND) /* NAT-PMP after PCP */
/* Repetition: RFC 6887, 8.1.1, and RFC 6886, 3.1. */
#define CV_PCP_RT_FIRST    (3 * CV_SECOND)
#define CV_PCP_RT_MAX      (1024 * CV_SECOND)
#define CV_NATPMP_RT_FIRST (250 * CV_MILLISECOND)
#define CV_NATPMP_TRIES    9
#define CV_PORTMAP_RECOVER (5 * CV_SECOND) /* spread after a loss of state */
/* A refusal holds for as long as it says, within these. */
#define CV_PORTMAP_REFUSED_MIN (30 * CV_SECOND)
#define CV_PORTMAP_REFUSED_MAX (30 * CV_MINUTE)
#define CV_PORTMAP_TEXT        200

enum cv_portmap_way {
    CV_PORTMAP_NO_WAY, /* none has answered */
    CV_PORTMAP_PCP,
    CV_PORTMAP_NATPMP,
    CV_PORTMAP_UPNP,
    CV_PORTMAP_WAYS,
};

#define CV_PORTMAP_ALL                                                         \
    (1u << CV_PORTMAP_PCP | 1u << CV_PORTMAP_NATPMP | 1u << CV_PORTMAP_UPNP)

enum cv_portmap_state {
    CV_PORTMAP_OFF,     /* there is no gateway to ask */
    CV_PORTMAP_ASKING,  /* nobody has answered yet */
    CV_PORTMAP_SERVED,  /* `way` answers */
    CV_PORTMAP_REFUSED, /* all said no, or nobody says anything; the silent
                           ones are asked again, ever more rarely */
};

enum cv_portmap_port {
    CV_PORTMAP_UDP,
    CV_PORTMAP_TCP,
    CV_PORTMAP_PORTS,
};

struct cv_portmap_lease {
    uint16_t internal; /* our port; 0: not wanted */
    uint8_t nonce[CV_PCP_NONCE];
    struct cv_addr mapped; /* family NONE: nothing was given */
    cv_time given, expires;
    bool lost;         /* the gateway has forgotten it */
    unsigned renewals; /* since `given` */
    cv_time next;      /* of the next request */
    cv_time rt;        /* what it waits for an answer; 0: none is out */
    unsigned tries;
};

struct cv_portmap_clock { /* of the gateway */
    bool known;
    uint32_t server;
    cv_time client;
};

struct cv_portmap_events {
    /* To the gateway's port CV_PCP_PORT. */
    void (*send)(void *user, const uint8_t *data, size_t len);
    /* UPnP: look for the gateway, then cv_portmap_upnp_found(); map, then
     * cv_portmap_upnp_mapped(); forget a mapping, without an answer. */
    void (*upnp_find)(void *user);
    void (*upnp_map)(void *user, enum cv_portmap_port port, uint16_t internal,
                     uint16_t external, uint32_t lifetime);
    void (*upnp_unmap)(void *user, enum cv_portmap_port port);
    /* A mapping, or the state, is another. */
    void (*changed)(void *user);
};

struct cv_portmap {
    const struct cv_rng *rng; /* kept */
    struct cv_log *log;       /* kept, may be NULL */
    const struct cv_portmap_events *events;
    void *user;
    unsigned ways; /* that are tried, as bits */
    enum cv_portmap_state state;
    enum cv_portmap_way way;
    struct cv_addr gateway, client; /* IPv4; the gateway's port is 5351 */
    struct cv_portmap_lease lease[CV_PORTMAP_PORTS];
    struct cv_portmap_clock clock[2]; /* NAT-PMP's and PCP's */
    cv_time refused_until[CV_PORTMAP_WAYS];
    char reason[CV_PORTMAP_TEXT]; /* of the last refusal; "" */
    cv_time give_up;              /* ASKING becomes REFUSED */
    cv_time address_next;         /* of NAT-PMP's question */
    unsigned address_tries;
    struct cv_addr address; /* NAT-PMP's answer */
    bool upnp_ready;
    bool no_address; /* the gateway says that it has no public one itself */
    uint64_t junk;   /* packets that were not believed */
};

/* Nothing is asked before cv_portmap_network().  `ways`: CV_PORTMAP_ALL, or
 * some of its bits. */
void cv_portmap_init(struct cv_portmap *pm, const struct cv_rng *rng,
                     struct cv_log *log, unsigned ways,
                     const struct cv_portmap_events *events, void *user);
/* The default gateway and our address towards it, both IPv4; family NONE: there
 * is none.  What the last one gave is forgotten, not given back. */
void cv_portmap_network(struct cv_portmap *pm, const struct cv_addr *gateway,
                        const struct cv_addr *client, cv_time now);
/* Have this port of ours mapped; 0: no more. */
void cv_portmap_want(struct cv_portmap *pm, enum cv_portmap_port port,
                     uint16_t internal, cv_time now);
/* The gateway may have forgotten us: have its mappings renewed now. */
void cv_portmap_refresh(struct cv_portmap *pm, cv_time now);
/* Give everything back. */
void cv_portmap_close(struct cv_portmap *pm);

/* A packet that came to a socket of ours. */
void cv_portmap_input(struct cv_portmap *pm, const struct cv_addr *from,
                      struct cv_bytes data, cv_time now);
void cv_portmap_upnp_found(struct cv_portmap *pm, bool found, cv_time now);
/* CV_OK and `mapped`, or an error; then `why` says what the gateway said. */
void cv_portmap_upnp_mapped(struct cv_portmap *pm, enum cv_portmap_port port,
                            int err, const struct cv_addr *mapped,
                            uint32_t lifetime, const char *why, cv_time now);

cv_time cv_portmap_deadline(const struct cv_portmap *pm);
void cv_portmap_step(struct cv_portmap *pm, cv_time now);

/* The outside address of a mapping that anybody can send to: NULL when there is
 * none, or when that address is not public. */
const struct cv_addr *cv_portmap_public(const struct cv_portmap *pm,
                                        enum cv_portmap_port port);
/* Has it had its say: a mapping, a no, or PATIENCE of silence? */
bool cv_portmap_settled(const struct cv_portmap *pm);
/* The gateway has no public address itself: there is a second NAT. */
bool cv_portmap_is_inside(const struct cv_portmap *pm);
const char *cv_portmap_way_name(enum cv_portmap_way way);
/* A sentence: who maps, or why nobody does.  No addresses. */
void cv_portmap_describe(const struct cv_portmap *pm, char *out, size_t len);
#endif
