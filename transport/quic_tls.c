#include "transport/quic_impl.h"
#include "transport/tls_key.h"
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

/* AES first: without CPU support for ChaCha20 it costs a fourteenth here. */
#define PRIORITY                                                               \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3"                                            \
    ":-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305"                             \
    ":-GROUP-ALL:+GROUP-X25519"                                                \
    ":-CTYPE-ALL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"                            \
    ":%DISABLE_TLS13_COMPAT_MODE"

int cv_quic_ctx_new(struct cv_quic_ctx **out, const struct cv_keypair *node,
                    const struct cv_rng *rng)
{
    struct cv_quic_ctx *ctx = calloc(1, sizeof(*ctx));
    int err;

    if (!ctx)
        return CV_ERR_NOMEM;
    ctx->rng = rng;
    ctx->alpn = CV_QUIC_ALPN;
    cv_random(rng, ctx->reset_secret, sizeof(ctx->reset_secret));
    cv_random(rng, ctx->retry_secret, sizeof(ctx->retry_secret));
    err = CV_ERR_NOMEM;
    if (gnutls_certificate_allocate_credentials(&ctx->cred) != 0)
        goto fail;
    err = cv_tls_key_load(ctx->cred, node);
    if (err != CV_OK)
        goto fail;
    /* Shared: one of its own costs a session 8 KiB. */
    if (gnutls_priority_init(&ctx->priority, PRIORITY, NULL) != 0) {
        err = CV_ERR_INTERNAL;
        goto fail;
    }
    *out = ctx;
    return CV_OK;

fail:
    cv_quic_ctx_free(ctx);
    return err;
}

void cv_quic_ctx_free(struct cv_quic_ctx *ctx)
{
    if (!ctx)
        return;
    if (ctx->priority)
        gnutls_priority_deinit(ctx->priority);
    if (ctx->cred)
        gnutls_certificate_free_credentials(ctx->cred);
    free(ctx->spare);
    cv_wipe(ctx, sizeof(*ctx));
    free(ctx);
}

static ngtcp2_conn *ref_conn(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct cv_conn *)ref->user_data)->lib;
}

/* Is the peer's key the pinned one?  Called within the handshake, on both
 * sides, when a key was sent. */
static int verify_peer(gnutls_session_t tls)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(tls);
    struct cv_conn *conn = ref->user_data;

    if (!cv_tls_key_is(tls, &conn->peer)) {
        conn->key_refused = true;
        return GNUTLS_E_CERTIFICATE_ERROR;
    }
    return 0;
}

int cv_quic_tls_new(struct cv_conn *conn)
{
    uint8_t name[32];
    gnutls_datum_t alpn = {name, 0};
    unsigned role = conn->client ? GNUTLS_CLIENT : GNUTLS_SERVER;
    int rv;

    alpn.size = (unsigned)strnlen(conn->ctx->alpn, sizeof(name));
    memcpy(name, conn->ctx->alpn, alpn.size);
    conn->ref.get_conn = ref_conn;
    conn->ref.user_data = conn;
    rv =
        gnutls_init(&conn->tls, role | GNUTLS_ENABLE_RAWPK | GNUTLS_NO_TICKETS |
                                    GNUTLS_NO_END_OF_EARLY_DATA);
    if (rv != 0) {
        conn->tls = NULL;
        return CV_ERR_NOMEM;
    }
    gnutls_session_set_ptr(conn->tls, &conn->ref);
    rv = gnutls_priority_set(conn->tls, conn->ctx->priority);
    if (rv == 0)
        rv = gnutls_credentials_set(conn->tls, GNUTLS_CRD_CERTIFICATE,
                                    conn->ctx->cred);
    if (rv == 0)
        rv = gnutls_alpn_set_protocols(conn->tls, &alpn, 1,
                                       GNUTLS_ALPN_MANDATORY);
    if (rv == 0)
        rv = conn->client
                 ? ngtcp2_crypto_gnutls_configure_client_session(conn->tls)
                 : ngtcp2_crypto_gnutls_configure_server_session(conn->tls);
    if (rv != 0)
        return CV_ERR_INTERNAL;
    gnutls_session_set_verify_function(conn->tls, verify_peer);
    if (!conn->client)
        gnutls_certificate_server_set_request(conn->tls, GNUTLS_CERT_REQUIRE);
    return CV_OK;
}

void cv_quic_tls_free(struct cv_conn *conn)
{
    if (conn->tls)
        gnutls_deinit(conn->tls);
    conn->tls = NULL;
}

int cv_quic_tls_export(struct cv_conn *conn, const char *label, uint8_t *out,
                       size_t len)
{
    if (!conn->tls)
        return CV_ERR_CLOSED;
    if (gnutls_prf_rfc5705(conn->tls, strlen(label), label, 0, NULL, len,
                           (char *)out) != 0)
        return CV_ERR_INTERNAL;
    return CV_OK;
}
