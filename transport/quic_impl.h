/* transport/quic_impl.h - what the files of QUIC share, and nobody else.
 *
 *     quic.c         packets in and out, timers, questions
 *     quic_new.c     how connections are made, and freed
 *     quic_lib.c     what ngtcp2 asks for while it reads and writes
 *     quic_packet.c  what needs no connection: routing, retry, reset
 *     quic_end.c     how connections end, and which error that is
 *     quic_tls.c     keys, TLS sessions, tokens: everything of GnuTLS
 *     quic_stream.c  streams, and the calls of conn.h
 *     quic_input.c   what came: written down, and told to the application
 *     quic_write.c   what goes into a packet
 *     quic_queue.c   queues of bytes and of datagrams
 *
 * ngtcp2 forbids calls from its own callbacks, and an application may close or
 * free anything from ours.  So the callbacks of ngtcp2 only write down what
 * happened; cv_quic_tell() hands it out after the library has returned.
 *
 * A port to ngtcp2 1.x changes names only: ngtcp2_connection_close_error* are
 * ngtcp2_ccerr*, ngtcp2_conn_get_conn_stat() is ngtcp2_conn_get_conn_info(),
 * ngtcp2_conn_get_num_scid() is ngtcp2_conn_get_scid(conn, NULL),
 * ngtcp2_crypto_level is ngtcp2_encryption_level, NGTCP2_ERR_NOMEM and the
 * rest stay, and settings.rand_ctx keeps its place. */
#ifndef CV_TRANSPORT_QUIC_IMPL_H
#define CV_TRANSPORT_QUIC_IMPL_H
#include "transport/quic.h"
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <string.h>

struct cv_quic_chunk;

struct cv_quic_ctx {
    const struct cv_rng *rng;
    gnutls_certificate_credentials_t cred;
    gnutls_priority_t priority;
    const char *alpn;      /* CV_QUIC_ALPN; a test changes it */
    const ngtcp2_mem *mem; /* NULL: malloc(); a test lets it fail */
    bool making;           /* ngtcp2 is setting up a connection */
    uint8_t reset_secret[32];
    uint8_t retry_secret[32];
    struct cv_quic_chunk *spare; /* for input; NULL: none */
    /* One flush at a time writes here. */
    uint8_t train[CV_QUIC_TRAIN * CV_QUIC_PAYLOAD];
};

/* A piece of a queue; full pieces are never moved: ngtcp2 points into those of
 * the send queue until they are acknowledged. */
struct cv_quic_chunk {
    struct cv_quic_chunk *next;
    size_t off; /* taken from the front */
    size_t len; /* filled */
    size_t cap;
    uint8_t data[];
};

struct cv_quic_queue {
    struct cv_quic_chunk *head;
    struct cv_quic_chunk *tail;
    size_t len; /* bytes in it */
};

enum cv_quic_send {
    CV_QUIC_SEND_OPEN,     /* the application may write */
    CV_QUIC_SEND_FINISH,   /* it called finish; the queue drains */
    CV_QUIC_SEND_FINISHED, /* FIN was written once; ngtcp2 repeats it */
};

enum cv_quic_life {
    CV_QUIC_LIVE,
    CV_QUIC_ENDED, /* `err` is known, the application is not told yet */
    CV_QUIC_TOLD,  /* the application forgot it; ngtcp2 may not have */
};

struct cv_stream {
    struct cv_conn *conn;
    int64_t id;
    const struct cv_stream_events *events;
    void *user;

    struct cv_stream *prev, *next;           /* all of the connection */
    struct cv_stream *ready_next;            /* has something to tell */
    struct cv_stream *send_prev, *send_next; /* ring: has something to send */

    enum cv_quic_life life;
    int err;       /* of ENDED */
    uint64_t code; /* to reset with, when `cut` */
    bool in_ready;
    bool in_send;
    bool announced; /* the application knows it */
    bool lib_gone;  /* ngtcp2 closed it and points to nothing of ours */
    bool cut;       /* both directions are to be reset */

    enum cv_quic_send send;
    struct cv_quic_queue out;     /* not yet acknowledged */
    struct cv_quic_chunk *unsent; /* holds the first byte never written */
    size_t unsent_off;            /* of it, in `unsent` */
    size_t wanted;                /* length last refused with AGAIN; 0 none */
    bool writable;                /* to be told */
    bool blocked;                 /* by the peer's window of this stream */

    struct cv_quic_queue in; /* not yet taken by the application */
    bool in_fin;             /* the last byte is in `in`, or was */
    bool fin_told;
    bool paused;
};

struct cv_quic_datagram {
    struct cv_quic_datagram *next;
    size_t len;
    uint8_t data[];
};

struct cv_quic_datagrams {
    struct cv_quic_datagram *head;
    struct cv_quic_datagram *tail;
    unsigned n;
};
#define CV_QUIC_DATAGRAMS_OUT 32u /* queued; then CV_ERR_AGAIN */
#define CV_QUIC_DATAGRAMS_IN  64u /* of one packet train; then dropped */

enum cv_quic_state {
    CV_QUIC_STATE_HANDSHAKE,
    CV_QUIC_STATE_OPEN,     /* confirmed */
    CV_QUIC_STATE_CLOSING,  /* we closed; late packets are answered with that */
    CV_QUIC_STATE_DRAINING, /* the peer closed: silence until nothing is on its
                               way */
    CV_QUIC_STATE_DEAD,
};

/* Ids of ours that ngtcp2 keeps at once are 8 at most; and the client's first
 * destination id. */
#define CV_QUIC_CIDS 10u

struct cv_conn {
    struct cv_quic_ctx *ctx;
    struct cv_log *log;
    const struct cv_quic_owner *owner;
    void *owner_user;
    const struct cv_conn_events *events;
    void *user;
    struct cv_key peer;
    char name[9]; /* of the peer, for the log */
    uint8_t attempt[8];
    bool client;
    bool held; /* until cv_conn_trust() */

    enum cv_quic_state state;
    ngtcp2_conn *lib; /* NULL from CLOSING on, as `tls` */
    gnutls_session_t tls;
    ngtcp2_crypto_conn_ref ref;
    struct cv_quic_cid cids[CV_QUIC_CIDS];
    unsigned n_cids;
    bool routed; /* the owner knows cids[] */

    /* Depth of calls that still use the connection; the last one out frees
     * it when `freed`. */
    unsigned holds;
    bool freed;
    bool telling;

    /* To be told. */
    bool confirmed;   /* by ngtcp2 */
    bool handed_over; /* `confirmed` was told */
    bool path_changed;
    bool end_known;
    bool end_told;
    bool dead_told;
    bool woken; /* `wake` was called since the last flush */

    /* How it ended. */
    int end_err;
    uint64_t end_code;
    bool end_local;
    char end_reason[CV_QUIC_REASON_MAX + 1];
    int accept_rv;       /* of ngtcp2, about the first packet */
    bool key_refused;    /* by us, in the handshake */
    bool reset_received; /* a stateless one */
    bool close_wanted;   /* by cv_conn_close() */
    uint64_t close_code;
    char close_reason[CV_QUIC_REASON_MAX + 1];
    uint8_t *close_packet; /* of CLOSING */
    size_t close_len;
    bool close_unsent;   /* the carrier was full */
    unsigned close_late; /* packets that came since */
    cv_time close_until;

    cv_time last_heard;
    cv_time deadline; /* if it is known: since then nothing came */
    bool deadline_known;
    cv_time ack_at;   /* look for a due acknowledgement; CV_NEVER */
    cv_time pace_at;  /* when what was sent has left, at the paced rate */
    uint64_t unpaced; /* bytes that ngtcp2 has not been told of */
    bool writable;
    bool probe;        /* an empty datagram is to be sent… */
    cv_time probed_at; /* …since then */
    uint64_t credit;   /* received bytes that nobody will read */

    struct cv_path_info path;
    struct cv_stream *streams;
    struct cv_stream *ready_head, *ready_tail;
    struct cv_stream *sending; /* next in the ring */
    struct cv_quic_datagrams out, in;
};

/* quic_tls.c */
int cv_quic_tls_new(struct cv_conn *conn);
void cv_quic_tls_free(struct cv_conn *conn);
int cv_quic_tls_export(struct cv_conn *conn, const char *label, uint8_t *out,
                       size_t len);

/* quic.c */
void cv_quic_set_state(struct cv_conn *conn, enum cv_quic_state to);
void cv_quic_wake(struct cv_conn *conn);
/* ngtcp2's time: never negative, UINT64_MAX for never. */
ngtcp2_tstamp cv_quic_ts(cv_time now);
/* What the callbacks wrote down for ngtcp2 itself. */
void cv_quic_settle(struct cv_conn *conn);
/* Found when it is asked for: packets come many at a time.  But what was due
 * has been done: never ask to be called in a circle. */
void cv_quic_set_deadline(struct cv_conn *conn, cv_time now, bool acted);

/* quic_new.c */
void cv_quic_destroy(struct cv_conn *conn);

/* quic_lib.c */
extern const ngtcp2_callbacks cv_quic_callbacks;
/* What ngtcp2 sees, for ever and at both ends. */
ngtcp2_path cv_quic_path(void);
void cv_quic_make_cid(struct cv_quic_ctx *ctx, ngtcp2_cid *cid, size_t len);
struct cv_quic_cid cv_quic_cid_from(const uint8_t *data, size_t len);
/* False when there are more than ngtcp2 ever makes. */
bool cv_quic_cid_add(struct cv_conn *conn, const ngtcp2_cid *lib_cid);
/* The ids are made; from now on the owner is told of every change. */
void cv_quic_cids_route(struct cv_conn *conn);
/* Packets of `segment` bytes, until one of them ends it.  Returns 0 or an error
 * of ngtcp2. */
int cv_quic_read(struct cv_conn *conn, const uint8_t *data, size_t len,
                 size_t segment, cv_time now);

/* quic_packet.c */
/* What a retry token is bound to; returns the length. */
socklen_t cv_quic_carrier_address(const struct cv_addr *from,
                                  struct sockaddr_storage *ss);

/* quic_end.c */
/* After each of these ngtcp2 and TLS are gone, and the end waits to be told. */
/* A call of ngtcp2 failed with `rv`. */
void cv_quic_give_up(struct cv_conn *conn, int rv, cv_time now);
/* CONNECTION_CLOSE or a stateless reset came. */
void cv_quic_closed_by_peer(struct cv_conn *conn, cv_time now);
/* What cv_conn_close() asked for. */
void cv_quic_close_now(struct cv_conn *conn, cv_time now);
/* Send the goodbye (again). */
void cv_quic_say_closed(struct cv_conn *conn);

/* quic_stream.c */
/* It has something to tell. */
void cv_quic_ready(struct cv_stream *s);
struct cv_stream *cv_quic_ready_pop(struct cv_conn *conn);
/* Into the ring of those who have something to send, as the last. */
void cv_quic_sending_add(struct cv_stream *s);
void cv_quic_sending_remove(struct cv_stream *s);
struct cv_stream *cv_quic_stream_new(struct cv_conn *conn, int64_t id);
/* It is in no list but the first. */
void cv_quic_stream_free(struct cv_stream *s);
/* `err` other than CV_OK: at once, without what was received. */
void cv_quic_stream_end(struct cv_stream *s, int err);
/* Every stream ends with CV_ERR_CLOSED; ngtcp2 is gone. */
void cv_quic_streams_end(struct cv_conn *conn);
/* Free what is left, tell nobody. */
void cv_quic_streams_free(struct cv_conn *conn);

static inline bool cv_quic_has_unsent(const struct cv_stream *s)
{
    return s->unsent || s->send == CV_QUIC_SEND_FINISH;
}

/* quic_write.c */
/* Write one packet into out[CV_QUIC_PAYLOAD].  Returns its length, 0 when
 * nothing may be sent, or an error of ngtcp2 that ends the connection. */
ngtcp2_ssize cv_quic_write_packet(struct cv_conn *conn, uint8_t *out,
                                  ngtcp2_tstamp ts);

/* quic_queue.c */
void cv_quic_queue_add(struct cv_quic_queue *q, struct cv_quic_chunk *c);
struct cv_quic_chunk *cv_quic_queue_pop(struct cv_quic_queue *q);
void cv_quic_queue_free(struct cv_quic_queue *q);
/* Append in full or not at all; new pieces hold min..max bytes. */
bool cv_quic_queue_append_pieces(struct cv_quic_queue *q, const uint8_t *data,
                                 size_t len, size_t min, size_t max);

static inline bool cv_quic_queue_append(struct cv_quic_queue *q,
                                        const uint8_t *data, size_t len,
                                        size_t min, size_t max)
{
    struct cv_quic_chunk *c = q->tail;

    if (!c || c->cap - c->len < len)
        return cv_quic_queue_append_pieces(q, data, len, min, max);
    memcpy(c->data + c->len, data, len);
    c->len += len;
    q->len += len;
    return true;
}

/* NULL: out of memory. */
struct cv_quic_datagram *cv_quic_datagram_new(const uint8_t *data, size_t len);
void cv_quic_datagrams_add(struct cv_quic_datagrams *q,
                           struct cv_quic_datagram *d);
struct cv_quic_datagram *cv_quic_datagrams_pop(struct cv_quic_datagrams *q);
void cv_quic_datagrams_free(struct cv_quic_datagrams *q);

/* quic_input.c */
/* Tell the application and the owner what happened.  After it `freed` may be
 * set. */
void cv_quic_tell(struct cv_conn *conn);

/* Callbacks of ngtcp2 about streams. */
int cv_quic_on_stream_open(ngtcp2_conn *lib, int64_t id, void *user);
int cv_quic_on_stream_data(ngtcp2_conn *lib, uint32_t flags, int64_t id,
                           uint64_t offset, const uint8_t *data, size_t len,
                           void *user, void *stream_user);
int cv_quic_on_stream_acked(ngtcp2_conn *lib, int64_t id, uint64_t offset,
                            uint64_t len, void *user, void *stream_user);
int cv_quic_on_stream_close(ngtcp2_conn *lib, uint32_t flags, int64_t id,
                            uint64_t code, void *user, void *stream_user);
int cv_quic_on_stream_reset(ngtcp2_conn *lib, int64_t id, uint64_t final_size,
                            uint64_t code, void *user, void *stream_user);
int cv_quic_on_stream_window(ngtcp2_conn *lib, int64_t id, uint64_t max,
                             void *user, void *stream_user);
int cv_quic_on_datagram(ngtcp2_conn *lib, uint32_t flags, const uint8_t *data,
                        size_t len, void *user);
#endif
