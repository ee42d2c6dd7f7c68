/* transport/quic.h - QUIC v1 for one node: the connections of transport/conn.h.
 *
 * Pure: no socket, no clock, no timer.  The owner hands in packets and the
 * time, sends what it is handed, and comes back at the deadline.  A connection
 * sees one made-up address pair for ever; which path carries a packet is the
 * path set's affair (docs/protocol.md, 6).
 *
 * Both ends prove an Ed25519 node key (RFC 7250 raw public keys, TLS 1.3) and
 * pin the other's.  The calls of conn.h are implemented here, too.
 *
 * Owner's callbacks come from cv_quic_input(), cv_quic_flush() and
 * cv_quic_on_deadline() only, except where said.  `confirmed`, `closed` and
 * `dead` may call anything, cv_quic_free() included; the others only note what
 * they are told. */
#ifndef CV_TRANSPORT_QUIC_H
#define CV_TRANSPORT_QUIC_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/crypto.h"
#include "base/key.h"
#include "base/log.h"
#include "base/time.h"
#include "transport/conn.h"

#define CV_QUIC_ALPN "covim/1"
#define CV_QUIC_PAYLOAD                                                        \
    1200u                   /* of UDP, always: fits IPv6's least MTU below a   \
                               gate's 5 bytes */
#define CV_QUIC_TRAIN   54u /* packets of one call of `output`: below 64 KiB */
#define CV_QUIC_CID_LEN 8u  /* of every connection id that we choose */
#define CV_QUIC_CID_MAX 20u /* of those that peers choose (RFC 9000, 17.2) */

#define CV_QUIC_KEEPALIVE    (25 * CV_SECOND)
#define CV_QUIC_IDLE_TIMEOUT (60 * CV_SECOND)
#define CV_QUIC_HANDSHAKE    (20 * CV_SECOND) /* then it is given up */
#define CV_QUIC_RETRY_LIFE   (10 * CV_SECOND) /* of a retry token */
#define CV_QUIC_REASON_MAX   128u

struct cv_quic_ctx;

/* What every connection of a node shares: credentials, secrets.  `node` is
 * copied, `rng` kept.  CV_ERR_NOMEM, CV_ERR_INTERNAL. */
CV_MUST_USE int cv_quic_ctx_new(struct cv_quic_ctx **out,
                                const struct cv_keypair *node,
                                const struct cv_rng *rng);
void cv_quic_ctx_free(struct cv_quic_ctx *ctx); /* after its connections */

/* A connection id, as key of the owner's routing table. */
struct cv_quic_cid {
    uint8_t len;                /* 1..CV_QUIC_CID_MAX; 0: none */
    uint8_t b[CV_QUIC_CID_MAX]; /* the rest is zero, so memcmp() compares */
};

/* All but `output` and `wake` may be NULL. */
struct cv_quic_owner {
    /* Send `len` bytes as packets of `segment` bytes each (the last one may be
     * shorter): one UDP_SEGMENT call.  Must not call into the connection. */
    void (*output)(void *user, struct cv_conn *conn, const uint8_t *data,
                   size_t len, size_t segment);
    /* A call of conn.h left something to do: call cv_quic_flush() soon, from
     * the loop and not from here.  Comes from within those calls, once until
     * the next flush. */
    void (*wake)(void *user, struct cv_conn *conn);
    /* The peer's key is proved and the handshake confirmed: hand the
     * connection to the application, which sets its events in this call. */
    void (*confirmed)(void *user, struct cv_conn *conn);
    /* It is over, told once, before the application's `closed`.  `err`:
     *   CV_OK           closed on purpose by either side
     *   CV_ERR_TIMEOUT  the peer vanished, or no handshake in time
     *   CV_ERR_AUTH     handshake: its key is not the pinned one, or none
     *   CV_ERR_DENIED   handshake: it refused our key
     *   CV_ERR_VERSION  handshake: it speaks no covim/1 over QUIC v1
     *   CV_ERR_PEER     anything else that the peer did wrong
     *   CV_ERR_NOMEM, CV_ERR_INTERNAL
     * `local`: we ended it.  The connection goes on answering late packets
     * until `dead`; most of its memory is released. */
    void (*closed)(void *user, struct cv_conn *conn, int err, uint64_t code,
                   const char *reason, bool local);
    /* Nothing more to say: call cv_quic_free(), now or later. */
    void (*dead)(void *user, struct cv_conn *conn);
    /* Route packets with this destination id to `conn`; no more.  `cid_add`
     * comes from cv_quic_connect() and cv_quic_accept() too, `cid_remove` from
     * cv_quic_free() too: every id added is removed. */
    void (*cid_add)(void *user, struct cv_conn *conn,
                    const struct cv_quic_cid *cid);
    void (*cid_remove)(void *user, struct cv_conn *conn,
                       const struct cv_quic_cid *cid);
};

struct cv_quic_config {
    struct cv_key peer;  /* pinned node key */
    uint8_t attempt[8];  /* for cv_conn_attempt() */
    cv_time initial_rtt; /* as the checks measured it; 0: unknown */
    bool held;           /* until cv_conn_trust() */
    struct cv_log *log;  /* kept, may be NULL */
    const struct cv_quic_owner *owner; /* kept */
    void *user;
};

/* A client: call cv_quic_flush() for its first packet.  CV_ERR_NOMEM,
 * CV_ERR_INTERNAL. */
CV_MUST_USE int cv_quic_connect(struct cv_conn **out, struct cv_quic_ctx *ctx,
                                const struct cv_quic_config *config,
                                cv_time now);

/* Routing ---------------------------------------------------------------- */

/* The destination id of the first QUIC packet in a datagram; false when it is
 * none of QUIC v1. */
bool cv_quic_packet_dcid(const uint8_t *data, size_t len,
                         struct cv_quic_cid *out);
/* Of `len` bytes that came together, datagrams of `segment` bytes each: how
 * many, from the front, are of one connection, whole datagrams.  All that
 * follow the first one carry its destination id behind a short header. */
size_t cv_quic_packet_run(const uint8_t *data, size_t len, size_t segment);
/* A client's first packet: Initial of QUIC v1 in at least 1200 bytes.  Only
 * the form is checked. */
bool cv_quic_packet_is_initial(const uint8_t *data, size_t len);

/* A server: an Initial whose destination id is nobody's.
 *
 * It is read here (not by cv_quic_input() again): then call cv_quic_flush().
 * `from` is the address of the carrier; retry tokens are bound to it.
 *   CV_ERR_FORMAT   no Initial that opens; nothing is kept of it
 *   CV_ERR_AUTH     its retry token is forged, expired or another address's
 *   CV_ERR_AGAIN    `need_token` and it carries none: answer with
 *                   cv_quic_write_retry()
 *   CV_ERR_NOMEM, CV_ERR_INTERNAL */
CV_MUST_USE int cv_quic_accept(struct cv_conn **out, struct cv_quic_ctx *ctx,
                               const struct cv_quic_config *config,
                               const uint8_t *data, size_t len,
                               const struct cv_addr *from, bool need_token,
                               cv_time now);
/* A Retry for this Initial into out[cap] (cap >= 256; it is shorter than the
 * Initial).  Returns its length, 0 when there is nothing to say.  No state. */
size_t cv_quic_write_retry(struct cv_quic_ctx *ctx, uint8_t *out, size_t cap,
                           const uint8_t *data, size_t len,
                           const struct cv_addr *from, cv_time now);
/* A stateless reset for a short-header packet that is nobody's: its sender
 * learns that the connection is gone.  Returns the length, less than `len`; 0
 * when there is nothing to say.  Limit the rate. */
size_t cv_quic_write_reset(struct cv_quic_ctx *ctx, uint8_t *out, size_t cap,
                           const uint8_t *data, size_t len);

/* A living connection ------------------------------------------------------
 * The three calls below return false when a callback freed the connection. */

/* What came together: `len` bytes, datagrams of `segment` bytes each, the last
 * one maybe shorter (segment == len: one).  The application is told after the
 * last of them.  Flush when no more is there. */
bool cv_quic_input(struct cv_conn *conn, const uint8_t *data, size_t len,
                   size_t segment, cv_time now);
/* Send what may be sent now through `output`. */
bool cv_quic_flush(struct cv_conn *conn, cv_time now);
/* When cv_quic_on_deadline() is due; changes with every call above. */
cv_time cv_quic_deadline(const struct cv_conn *conn);
/* Timers, and a flush. */
bool cv_quic_on_deadline(struct cv_conn *conn, cv_time now);

/* Send something that the peer acknowledges at once, even with a full window
 * and a backed-off timer: after a switch of paths.  Goes out with the next
 * flush (`wake` is called). */
void cv_quic_probe(struct cv_conn *conn, cv_time now);

struct cv_quic_stats {
    uint64_t in_flight; /* bytes sent, not acknowledged, not given up */
    cv_time last_heard; /* a packet of the peer proved to be its own */
    cv_time srtt;       /* 0 before the first sample */
    cv_time rttvar;
    cv_time min_rtt;
    uint64_t cwnd;
    unsigned pto_count; /* time-outs in a row */
};
void cv_quic_stats(const struct cv_conn *conn, struct cv_quic_stats *out);

/* Do not write packets while the carrier's queue is full; true: go on. */
void cv_quic_set_writable(struct cv_conn *conn, bool writable);

/* What cv_conn_path() says; a change of kind or address is told to the
 * application at the next flush (`wake` is called). */
void cv_quic_set_path(struct cv_conn *conn, const struct cv_path_info *path);

bool cv_quic_is_confirmed(const struct cv_conn *conn);
/* It has ended, or is about to. */
bool cv_quic_is_closing(const struct cv_conn *conn);
/* At once and silently: no `closed`, no `dead`, nothing is sent.  To tell the
 * peer, cv_conn_close() and cv_quic_flush() first.  May be called in any
 * callback.  NULL is fine. */
void cv_quic_free(struct cv_conn *conn);
#endif
