/* transport/conn.h - a connection to one node, and its streams.
 *
 * What a user of TCP expects: ordered reliable streams both ways, back
 * pressure, half close; and unreliable datagrams.  The connection lives on
 * whichever path is best and says when that changes; nothing above it needs to
 * know.  Nothing here names QUIC.  All calls and callbacks are in the loop's
 * thread; a callback may close or free anything. */
#ifndef CV_TRANSPORT_CONN_H
#define CV_TRANSPORT_CONN_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/key.h"
#include "base/time.h"

struct cv_conn;
struct cv_stream;

/* What a stream keeps unsent before cv_stream_send() says CV_ERR_AGAIN. */
#define CV_STREAM_SEND_MAX (1024u * 1024u)
/* What a peer may send on a stream, and on a connection, before we read it. */
#define CV_STREAM_WINDOW (1024u * 1024u)
#define CV_CONN_WINDOW   (4u * 1024u * 1024u)
/* The same of a peer that is not trusted yet. */
#define CV_CONN_HELD    (64u * 1024u)
#define CV_CONN_STREAMS 64u   /* open at once, each way */
#define CV_DATAGRAM_MAX 1100u /* always fits one packet */

enum cv_path_kind { /* best first: the tiers of a path choice */
                    CV_PATH_NONE,
                    CV_PATH_LAN,
                    CV_PATH_IPV6,
                    CV_PATH_IPV4,
                    CV_PATH_TCP,
                    CV_PATH_GATE_UDP,
                    CV_PATH_GATE_TLS,
                    CV_PATH_GATE_WS,
};

struct cv_path_info {
    enum cv_path_kind kind; /* CV_PATH_NONE: no path works at the moment */
    struct cv_addr remote;
    cv_time rtt; /* smoothed, of the selected path */
    /* It has fallen silent, and there is no other: the peer may have moved,
     * or we may. */
    bool silent;
};

struct cv_conn_events {
    /* The peer opened a stream; set its events now or lose its data. */
    void (*stream)(void *user, struct cv_conn *conn, struct cv_stream *s);
    void (*datagram)(void *user, struct cv_conn *conn, struct cv_bytes data);
    void (*path)(void *user, struct cv_conn *conn,
                 const struct cv_path_info *path);
    /* Final: the connection and its streams are freed on return.  `err` is
     * CV_OK when either side closed it on purpose (`code` is theirs or ours),
     * CV_ERR_TIMEOUT when the peer vanished, CV_ERR_DENIED when it did not
     * accept our key (it looks at a client's half a round trip after the
     * client was told of the connection), or CV_ERR_PEER. `reason` is
     * UTF-8 text by the peer, at most 128 bytes, may be empty. */
    void (*closed)(void *user, struct cv_conn *conn, int err, uint64_t code,
                   const char *reason);
};

/* `events` is kept and must outlive the connection; members may be NULL. */
void cv_conn_set_events(struct cv_conn *conn,
                        const struct cv_conn_events *events, void *user);
const struct cv_key *cv_conn_peer(const struct cv_conn *conn); /* node key */
const uint8_t *cv_conn_attempt(const struct cv_conn *conn);    /* [8] */
bool cv_conn_is_client(const struct cv_conn *conn);            /* we knocked */
void cv_conn_path(const struct cv_conn *conn, struct cv_path_info *out);

/* A connection of a node begins held: what comes on any stream but the first
 * (id 0) waits, and all of it is CV_CONN_HELD bytes at most, by QUIC's flow
 * control.  This ends it. */
void cv_conn_trust(struct cv_conn *conn);

/* Close with an application code and reason (cut to 128 bytes).  Queued stream
 * data is not waited for.  `closed` follows, later. */
void cv_conn_close(struct cv_conn *conn, uint64_t code, const char *reason);

/* Keying material bound to this connection (RFC 5705 exporter). */
CV_MUST_USE int cv_conn_export(struct cv_conn *conn, const char *label,
                               uint8_t *out, size_t len);

/* CV_ERR_LIMIT when the peer allows no more streams, CV_ERR_CLOSED. */
CV_MUST_USE int cv_conn_open(struct cv_conn *conn, struct cv_stream **out);
/* Unreliable, unordered.  CV_ERR_AGAIN: not now, dropped. CV_ERR_NOBUF: longer
 * than CV_DATAGRAM_MAX. */
int cv_conn_datagram(struct cv_conn *conn, struct cv_bytes data);

struct cv_stream_events {
    /* In order, borrowed for the call; `fin` with the last (maybe empty). */
    void (*data)(void *user, struct cv_stream *s, struct cv_bytes data,
                 bool fin);
    /* There is room again after CV_ERR_AGAIN. */
    void (*writable)(void *user, struct cv_stream *s);
    /* Final: freed on return.  CV_OK when both directions ended in order,
     * CV_ERR_CLOSED with the connection, CV_ERR_PEER when it was reset. */
    void (*closed)(void *user, struct cv_stream *s, int err);
};

void cv_stream_set_events(struct cv_stream *s,
                          const struct cv_stream_events *events, void *user);
struct cv_conn *cv_stream_conn(const struct cv_stream *s);
uint64_t cv_stream_id(const struct cv_stream *s);
/* Queue all of `data` (copied).  CV_ERR_AGAIN: nothing was taken, wait for
 * `writable`; CV_ERR_CLOSED after finish or reset.  A message larger than
 * CV_STREAM_SEND_MAX is taken when nothing else is queued. */
CV_MUST_USE int cv_stream_send(struct cv_stream *s, struct cv_bytes data);
/* Bytes queued and not yet acknowledged by the peer. */
size_t cv_stream_unsent(const struct cv_stream *s);
void cv_stream_finish(
    struct cv_stream *s); /* half close, after what is queued */
void cv_stream_reset(struct cv_stream *s, uint64_t code);
/* Stop reading (back pressure reaches the peer); false: go on. */
void cv_stream_pause(struct cv_stream *s, bool paused);
#endif
