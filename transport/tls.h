/* transport/tls.h - TLS 1.3 over a TCP socket, for gates and their clients.
 *
 * The gate proves its Ed25519 key as a raw public key (RFC 7250), which the
 * client pins; no certificate authority is asked.  The client proves its own
 * key afterwards, in AUTH, bound to this session by its exporter (RFC 9266).
 *
 * The socket is non-blocking and the caller's; this neither watches nor closes
 * it. */
#ifndef CV_TRANSPORT_TLS_H
#define CV_TRANSPORT_TLS_H
#include "base/key.h"
#include <stddef.h>

struct cv_tls_ctx;
struct cv_tls;

#define CV_TLS_RECORD 16384 /* bytes that fit one record */

/* What was agreed on by ALPN (RFC 7301). */
enum cv_tls_protocol {
    CV_TLS_NONE,
    CV_TLS_GATE, /* "covim-gate/1" */
    CV_TLS_HTTP, /* "http/1.1": a WebSocket, or a person with a browser */
};

/* A server that proves `key`; with `cert_file` and `key_file` (PEM, may be
 * NULL) it also has a certificate for clients that ask for one.
 * CV_ERR_NOMEM, CV_ERR_INTERNAL, CV_ERR_FORMAT: the files cannot be used. */
CV_MUST_USE int cv_tls_server(struct cv_tls_ctx **out,
                              const struct cv_keypair *key,
                              const char *cert_file, const char *key_file);
/* A client without a key of its own, for servers with a pinned key. */
CV_MUST_USE int cv_tls_client(struct cv_tls_ctx **out);
/* A client for servers with a certificate for their host (a reverse proxy
 * before a gate), issued by somebody in `ca_file` (PEM), or by somebody whom
 * this machine trusts (NULL).  TLS 1.2 will do: such a link proves nothing
 * about the gate.  CV_ERR_FORMAT: nobody is trusted. */
CV_MUST_USE int cv_tls_client_public(struct cv_tls_ctx **out,
                                     const char *ca_file);
void cv_tls_ctx_free(struct cv_tls_ctx *ctx);

struct cv_tls_config {
    struct cv_tls_ctx *ctx; /* kept */
    int fd;                 /* connected; for a client maybe not quite */
    /* Of a client: */
    const struct cv_key *pinned; /* copied; the gate's key.  Not for
                                    cv_tls_client_public() */
    enum cv_tls_protocol protocol;
    const char *host; /* the name, for SNI (NULL or a number: none) and for
                         the certificate */
};
CV_MUST_USE int cv_tls_new(struct cv_tls **out,
                           const struct cv_tls_config *config);
/* Says nothing to the other side. */
void cv_tls_free(struct cv_tls *tls);

/* Go on with the handshake.
 *   CV_OK         done
 *   CV_ERR_AGAIN  wait until the socket is as cv_tls_wants_write() says
 *   CV_ERR_AUTH   the server has another key than the pinned one, or a
 *                 certificate that is not to be trusted for its host
 *   CV_ERR_PEER   the other side broke it off or speaks no TLS of ours */
CV_MUST_USE int cv_tls_handshake(struct cv_tls *tls);
bool cv_tls_wants_write(const struct cv_tls *tls);
enum cv_tls_protocol cv_tls_protocol(const struct cv_tls *tls);
CV_MUST_USE int cv_tls_export(const struct cv_tls *tls, const char *label,
                              uint8_t out[32]);

/* Bytes read or written, at least 1, or
 *   CV_ERR_AGAIN   not now (a write has to be repeated with the same bytes)
 *   CV_ERR_CLOSED  the other side has closed
 *   CV_ERR_PEER    the session is broken */
CV_MUST_USE ptrdiff_t cv_tls_read(struct cv_tls *tls, void *buf, size_t len);
CV_MUST_USE ptrdiff_t cv_tls_write(struct cv_tls *tls, const void *data,
                                   size_t len);
/* Bytes that cv_tls_read() has and the socket does not show any more. */
size_t cv_tls_pending(const struct cv_tls *tls);
/* close_notify, as far as it goes out now. */
void cv_tls_bye(struct cv_tls *tls);
#endif
