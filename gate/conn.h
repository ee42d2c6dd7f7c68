/* gate/conn.h - one TCP connection to the gate: TLS or plain, frames or
 * WebSocket messages of frames, a queue of bounded length each way.
 *
 * Knows the core only as whom frames are for; the server owns it. */
#ifndef CV_GATE_CONN_H
#define CV_GATE_CONN_H
#include "base/loop.h"
#include "gate/core.h"
#include "transport/tls.h"

struct cv_gate_conn;

#define CV_GATE_QUEUE     (256 * 1024) /* bytes that wait for a slow reader */
#define CV_GATE_QUEUE_MIN 4096         /* when many do, each of them */
#define CV_GATE_TURN      65536 /* bytes read before others get their turn */
#define CV_GATE_HELLO     (10 * CV_SECOND) /* for TLS and the upgrade */
#define CV_GATE_FAREWELL  (2 * CV_SECOND)  /* to flush the last frames */

/* What all connections of a server share. */
struct cv_gate_conns {
    struct cv_loop *loop;      /* kept */
    struct cv_gate_core *core; /* kept */
    struct cv_tls_ctx *tls;    /* kept */
    struct cv_gate_conn *list, *dirty;
    size_t n;
    size_t n_hello;     /* of them: no links yet */
    size_t waiting_max; /* bytes of all queues together */
    size_t waiting;     /* bytes that they have taken */
    uint8_t *buf;       /* [CV_GATE_TURN], for reading */
    /* GET of anything but the WebSocket, over TLS or plain: NULL or the whole
     * answer, to be freed. */
    char *(*page)(void *user, const char *path);
    void *user;
};

CV_MUST_USE int cv_gate_conns_init(struct cv_gate_conns *all);
/* Closes every connection at once. */
void cv_gate_conns_fini(struct cv_gate_conns *all);

enum cv_gate_carriage {
    CV_GATE_TLS,   /* ALPN says whether frames or HTTP follow */
    CV_GATE_PLAIN, /* HTTP without TLS: behind a reverse proxy, on loopback */
};

/* Takes the accepted, non-blocking socket; without memory it is closed. */
void cv_gate_conn_new(struct cv_gate_conns *all, int fd,
                      const struct cv_addr *from,
                      enum cv_gate_carriage carriage);
/* struct cv_gate_out's, for links that are connections. */
int cv_gate_conn_send(struct cv_gate_conn *conn, const uint8_t *data,
                      size_t len);
void cv_gate_conn_close(struct cv_gate_conn *conn);

/* Write what was queued; call at the end of every turn of the loop. */
void cv_gate_conns_flush(struct cv_gate_conns *all);
/* End those that never said hello or do not take their farewell; call about
 * once a second. */
void cv_gate_conns_sweep(struct cv_gate_conns *all);
#endif
