/* transport/gatetry.h - one try to get a stream to a gate: TCP to one address,
 * the tunnel of a proxy if it is one's, TLS, and the upgrade to a WebSocket.
 *
 * Which tries are made, and when, is transport/gatedial.h's. */
#ifndef CV_TRANSPORT_GATETRY_H
#define CV_TRANSPORT_GATETRY_H
#include "base/log.h"
#include "base/loop.h"
#include "transport/gateframe.h"
#include "transport/gatews.h"
#include "transport/proxy.h"
#include "transport/tls.h"

struct cv_gatetry;

#define CV_GATETRY_TCP   (3 * CV_SECOND) /* to connect */
#define CV_GATETRY_SHAKE (5 * CV_SECOND) /* for each of proxy, TLS, upgrade */

/* The ways to one gate: as bits, as an index and as a number of them. */
#define CV_GATE_WAY_WS    1u /* a WebSocket, else frames as they are */
#define CV_GATE_WAY_PROXY 2u /* through CONNECT */
#define CV_GATE_WAYS      4

/* Bytes of frames, both ways. */
struct cv_gatestream {
    int fd;               /* -1: none */
    struct cv_tls *tls;   /* NULL: none */
    struct cv_gatews *ws; /* NULL: the bytes are as they are */
    uint8_t *early;       /* came behind the upgrade, not decoded yet */
    size_t n_early;       /* at most CV_HTTP_HEAD_MAX */
    bool bound;           /* TLS ends at the gate: its exporter binds */
    unsigned way;
    struct cv_addr remote; /* of the gate; family NONE: only the proxy knows */
};
/* As cv_tls_read() and cv_tls_write(), of what the stream carries.  What
 * answers a WebSocket's pings goes to `answers`. */
CV_MUST_USE ptrdiff_t cv_gatestream_read(struct cv_gatestream *s, uint8_t *buf,
                                         size_t len, struct cv_bytes *answers);
void cv_gatestream_fini(struct cv_gatestream *s);

struct cv_gatetry_config {
    struct cv_loop *loop;            /* kept */
    struct cv_log *log;              /* kept, may be NULL */
    const struct cv_rng *rng;        /* kept */
    const struct cv_gate_name *name; /* kept */
    const struct cv_proxy *proxy;    /* kept; of WAY_PROXY */
    struct cv_tls_ctx *ctx; /* kept; cv_tls_client_public() for a name with a
                               path, else cv_tls_client() */
};

/* `why` is NULL: the stream can be taken.  Else a sentence for a person;
 * `err` is CV_ERR_AUTH for somebody else at the gate's address, CV_ERR_PEER
 * for somebody who answered, CV_ERR_NONET for nobody.  Free it then. */
typedef void (*cv_gatetry_fn)(void *user, struct cv_gatetry *t, int err,
                              const char *why);
/* `to` is the gate, or the proxy.  CV_ERR_NONET: not even tried. */
CV_MUST_USE int cv_gatetry_new(struct cv_gatetry **out,
                               const struct cv_gatetry_config *config,
                               unsigned way, const struct cv_addr *to,
                               cv_gatetry_fn done, void *user);
void cv_gatetry_free(struct cv_gatetry *t);
unsigned cv_gatetry_way(const struct cv_gatetry *t);
/* `out` owns it now; to be called from `done`. */
void cv_gatetry_take(struct cv_gatetry *t, struct cv_gatestream *out);
#endif
