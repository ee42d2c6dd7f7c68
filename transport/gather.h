/* transport/gather.h - our own candidates: addresses of interfaces, and how
 * others see us (STUN servers, peers), and what that says about the NAT.
 *
 * A STUN client towards every configured server: RTO 250, 500, 1000 ms, then
 * again every 25 s (sooner if its life is shorter), answered or not, so that
 * the NAT keeps the mapping.
 *
 * A reflexive address is published when two sources agree on it, or when the
 * one configured server says so.  Peers are sources too.  Sources that agree
 * on the address but not on the port show a NAT that maps by destination; the
 * address is published all the same, because a peer behind an address-
 * restricted NAT needs it.
 *
 * A server that has a second address (OTHER-ADDRESS) is asked there as well, so
 * that one server is enough to know how the NAT maps, and is made to send
 * strays, to know what the NAT does with those (transport/natkind.h); that
 * begins a second later and delays nothing.  Of a NAT that counts, the newest
 * port is looked up every 5 s, or every second where others use it much. Behind
 * a NAT it is then asked how long that keeps an idle mapping
 * (transport/natlife.h), if this is wanted.
 *
 * Pure: interfaces, resolved names, packets and the time come in. */
#ifndef CV_TRANSPORT_GATHER_H
#define CV_TRANSPORT_GATHER_H
#include "base/bucket.h"
#include "base/contact.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/time.h"
#include "transport/local.h"
#include "transport/natkind.h"
#include "transport/natlife.h"
#include "transport/path.h"
#include "transport/predict.h"
#include "transport/stun.h"
#include "transport/tcpmap.h"

#define CV_GATHER_SERVERS 8
#define CV_GATHER_ADDRS   2 /* of a server: one IPv4, one IPv6 */
#define CV_GATHER_OTHERS  2 /* further addresses of one of the servers */
#define CV_GATHER_SOURCES                                                      \
    (CV_GATHER_SERVERS * CV_GATHER_ADDRS + CV_GATHER_OTHERS)
#define CV_GATHER_PEERS   8 /* last peers that told us how they see us */
#define CV_GATHER_TRIES   3 /* 250, 500, 1000 ms */
#define CV_GATHER_RTO     (250 * CV_MILLISECOND)
#define CV_GATHER_STAGGER (100 * CV_MILLISECOND)
/* That of a standby path whose mapping lives as long as is assumed; more often
 * if it is known to live shorter. */
#define CV_GATHER_REFRESH (25 * CV_SECOND)
/* Filters are asked about so long after the first candidates were told. */
#define CV_GATHER_KIND (1 * CV_SECOND)
/* A port that was counted up is good for so long; where others take this many
 * ports a second, for less.  Where they take more than that, for nothing. */
#define CV_GATHER_COUNT      (5 * CV_SECOND)
#define CV_GATHER_COUNT_BUSY (1 * CV_SECOND)
#define CV_GATHER_BUSY       3
#define CV_GATHER_TOO_BUSY   100
#define CV_GATHER_PEER_LIFE  (5 * CV_MINUTE)
/* The first candidates are told when all sources have spoken, at the latest
 * after this; later changes wait a little for more. */
#define CV_GATHER_FIRST  (300 * CV_MILLISECOND)
#define CV_GATHER_SETTLE (100 * CV_MILLISECOND)
/* Nobody is asked out of turn more often than that, whatever happens; but three
 * times in a row, for a false alarm may come just before a true one. */
#define CV_GATHER_AGAIN  (250 * CV_MILLISECOND)
#define CV_GATHER_AGAINS 3

struct cv_gather_source { /* one address of one server */
    struct cv_addr addr;  /* family NONE: unused */
    uint8_t txid[CV_STUN_TXID];
    unsigned tries; /* of this round */
    bool failed;    /* the last round had no answer */
    bool open;      /* `txid` waits for an answer */
    cv_time sent, next;
    struct cv_addr mapped; /* what it says; family NONE: nothing yet */
    cv_time made;          /* when that mapping was asked for first */
    cv_time rtt;
};

struct cv_gather_peer {
    struct cv_addr peer, mapped;
    cv_time at;
};

struct cv_gather {
    const struct cv_rng *rng; /* kept */
    struct cv_log *log;       /* kept, may be NULL */
    cv_path_send_fn send;
    void (*changed)(void *user, const struct cv_candidates *own);
    void *user;
    struct cv_local local;
    unsigned n_servers; /* configured, resolved or not */
    union {             /* by server, or all in a row */
        struct {
            struct cv_gather_source source[CV_GATHER_SERVERS][CV_GATHER_ADDRS];
            struct cv_gather_source other[CV_GATHER_OTHERS]; /* asked once */
        };
        struct cv_gather_source all[CV_GATHER_SOURCES];
    };
    struct cv_gather_peer peer[CV_GATHER_PEERS];
    struct cv_addr mapped, mapped_tcp; /* by the gateway; family NONE: none */
    struct cv_tcpmap_verdict tcp[2];   /* IPv4, IPv6 */
    cv_socket_open_fn open; /* NULL: no filter is tested, no port counted */
    cv_socket_close_fn close;
    struct cv_natkind kind;
    struct cv_addr kind_server, kind_other; /* family NONE: none has two */
    cv_time kind_at;
    bool kind_tested;
    enum cv_natkind_filter filter;
    enum cv_natkind_strays strays;
    bool life_wanted;
    struct cv_natlife life;
    struct cv_addr counted; /* the newest mapping of a NAT that counts */
    cv_time counted_at;
    struct cv_candidates own;
    bool rebound; /* the NAT has forgotten, which was not told yet */
    bool told;    /* `changed` was called at least once */
    cv_time tell_at;
    cv_time started;
    struct cv_bucket again; /* leave to ask out of turn… */
    cv_time again_at;       /* …which was wanted too often, and is due then */
};

/* `local` holds the interfaces, the port and the families of our socket. */
void cv_gather_init(struct cv_gather *g, const struct cv_rng *rng,
                    struct cv_log *log, const struct cv_local *local,
                    unsigned n_servers, cv_path_send_fn send,
                    void (*changed)(void *user,
                                    const struct cv_candidates *own),
                    void *user, cv_time now);

/* How to open sockets for what the main one is not fit for; with the user of
 * cv_gather_init(). */
void cv_gather_sockets(struct cv_gather *g, cv_socket_open_fn open,
                       cv_socket_close_fn close);
/* Measure how long the NAT keeps an idle mapping; with such sockets. */
void cv_gather_want_life(struct cv_gather *g);
/* Ends what runs on such a socket. */
void cv_gather_fini(struct cv_gather *g);

/* A server's name was resolved: the first address of each family counts. */
void cv_gather_server(struct cv_gather *g, unsigned server,
                      const struct cv_addr *addrs, unsigned n, cv_time now);
/* The interfaces changed: ask everybody again. */
void cv_gather_network_changed(struct cv_gather *g,
                               const struct cv_local *local, cv_time now);
/* How our TCP port is mapped. */
void cv_gather_tcp(struct cv_gather *g, const struct cv_tcpmap_verdict *v4,
                   const struct cv_tcpmap_verdict *v6, cv_time now);
/* Something is wrong, maybe with our mapping: ask all servers, within
 * CV_GATHER_AGAIN of now.  That one has just answered in its turn is no reason
 * not to: that was before. */
void cv_gather_refresh(struct cv_gather *g, cv_time now);
/* An authenticated check of ours was answered. */
void cv_gather_reflexive(struct cv_gather *g, const struct cv_addr *mapped,
                         const struct cv_addr *peer, cv_time now);
/* The gateway maps these public addresses to our ports (portmap.h); NULL: it
 * does not. */
void cv_gather_mapped(struct cv_gather *g, const struct cv_addr *udp,
                      const struct cv_addr *tcp, cv_time now);
/* A STUN message that is not an attempt's; true when it was ours. */
bool cv_gather_input(struct cv_gather *g, const struct cv_path_addr *from,
                     const struct cv_stun *m, cv_time now);

cv_time cv_gather_deadline(const struct cv_gather *g);
void cv_gather_step(struct cv_gather *g, cv_time now);

/* Do servers answer over TCP, and none over UDP?  What is asked both ways is
 * answered over UDP a round trip earlier, so that is a sign, long before UDP is
 * said to be blocked. */
bool cv_gather_udp_silent(const struct cv_gather *g);
/* Has every source had its say, or failed to? */
bool cv_gather_settled(const struct cv_gather *g);
/* Current candidates, best first. */
const struct cv_candidates *cv_gather_own(const struct cv_gather *g);
/* A sentence: addresses by kind, NAT, servers that answer. */
void cv_gather_describe(const struct cv_gather *g, char *out, size_t len);
#endif
