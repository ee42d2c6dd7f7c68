#include "transport/tls.h"
#include "transport/tls_key.h"
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

/* As for QUIC: AES first, X25519 only, raw keys; X.509 for servers that have a
 * certificate.  No compatibility mode: its change_cipher_spec messages help
 * with middleboxes that nobody could name. */
#define PRIORITY_COMMON                                                        \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3"                                            \
    ":-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305"                             \
    ":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1"
#define PRIORITY_RAW PRIORITY_COMMON ":-CTYPE-ALL:+CTYPE-SRV-RAWPK"
#define PRIORITY_BOTH                                                          \
    PRIORITY_COMMON ":-CTYPE-ALL:+CTYPE-SRV-RAWPK:+CTYPE-SRV-X509"

/* To whatever a certificate authority vouches for. */
#define PRIORITY_PUBLIC "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static const char *const names[] = {
    [CV_TLS_NONE] = "",
    [CV_TLS_GATE] = "covim-gate/1",
    [CV_TLS_HTTP] = "http/1.1",
};

struct cv_tls_ctx {
    bool server, by_name; /* a certificate for the host is asked for */
    gnutls_certificate_credentials_t cred;
    gnutls_priority_t priority; /* shared: one of its own costs 8 KiB */
};

struct cv_tls {
    gnutls_session_t session;
    struct cv_key pinned;
    bool server, refused;
};

static int ctx_new(struct cv_tls_ctx **out, bool server, const char *priority)
{
    struct cv_tls_ctx *ctx = calloc(1, sizeof *ctx);

    if (!ctx)
        return CV_ERR_NOMEM;
    ctx->server = server;
    if (gnutls_certificate_allocate_credentials(&ctx->cred) != 0) {
        free(ctx);
        return CV_ERR_NOMEM;
    }
    if (gnutls_priority_init(&ctx->priority, priority, NULL) != 0) {
        cv_tls_ctx_free(ctx);
        return CV_ERR_INTERNAL;
    }
    *out = ctx;
    return CV_OK;
}

int cv_tls_server(struct cv_tls_ctx **out, const struct cv_keypair *key,
                  const char *cert_file, const char *key_file)
{
    int err = ctx_new(out, true, cert_file ? PRIORITY_BOTH : PRIORITY_RAW);

    if (err != CV_OK)
        return err;
    err = cv_tls_key_load((*out)->cred, key);
    if (err == CV_OK && cert_file &&
        gnutls_certificate_set_x509_key_file((*out)->cred, cert_file, key_file,
                                             GNUTLS_X509_FMT_PEM) < 0)
        err = CV_ERR_FORMAT;
    if (err != CV_OK) {
        cv_tls_ctx_free(*out);
        *out = NULL;
    }
    return err;
}

int cv_tls_client(struct cv_tls_ctx **out)
{
    return ctx_new(out, false, PRIORITY_RAW);
}

int cv_tls_client_public(struct cv_tls_ctx **out, const char *ca_file)
{
    int err = ctx_new(out, false, PRIORITY_PUBLIC), n;

    if (err != CV_OK)
        return err;
    (*out)->by_name = true;
    n = ca_file ? gnutls_certificate_set_x509_trust_file((*out)->cred, ca_file,
                                                         GNUTLS_X509_FMT_PEM)
                : gnutls_certificate_set_x509_system_trust((*out)->cred);
    if (n > 0)
        return CV_OK;
    cv_tls_ctx_free(*out);
    *out = NULL;
    return CV_ERR_FORMAT;
}

void cv_tls_ctx_free(struct cv_tls_ctx *ctx)
{
    if (!ctx)
        return;
    if (ctx->priority)
        gnutls_priority_deinit(ctx->priority);
    gnutls_certificate_free_credentials(ctx->cred);
    free(ctx);
}

static int verify_server(gnutls_session_t session)
{
    struct cv_tls *tls = gnutls_session_get_ptr(session);

    if (cv_tls_key_is(session, &tls->pinned))
        return 0;
    tls->refused = true;
    return GNUTLS_E_CERTIFICATE_ERROR;
}

static bool is_name(const char *host)
{
    uint8_t ip[16];

    return host && host[0] && inet_pton(AF_INET, host, ip) != 1 &&
           inet_pton(AF_INET6, host, ip) != 1;
}

static int set_alpn(struct cv_tls *tls, const struct cv_tls_config *config)
{
    gnutls_datum_t list[2];
    unsigned n = 0;

    for (int p = CV_TLS_GATE; p <= CV_TLS_HTTP; p++)
        if (tls->server || config->protocol == (enum cv_tls_protocol)p) {
            /* It is only read. */
            list[n].data = (unsigned char *)(uintptr_t)names[p];
            list[n++].size = (unsigned)strlen(names[p]);
        }
    return n == 0 ? 0
                  : gnutls_alpn_set_protocols(
                        tls->session, list, n,
                        tls->server ? GNUTLS_ALPN_SERVER_PRECEDENCE : 0);
}

int cv_tls_new(struct cv_tls **out, const struct cv_tls_config *config)
{
    struct cv_tls *tls = calloc(1, sizeof *tls);
    int rv;

    if (!tls)
        return CV_ERR_NOMEM;
    tls->server = config->ctx->server;
    if (config->pinned)
        tls->pinned = *config->pinned;
    rv = gnutls_init(&tls->session,
                     (unsigned)(tls->server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
                         GNUTLS_ENABLE_RAWPK | GNUTLS_NO_TICKETS |
                         GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (rv != 0) {
        free(tls);
        return CV_ERR_NOMEM;
    }
    gnutls_session_set_ptr(tls->session, tls);
    rv = gnutls_priority_set(tls->session, config->ctx->priority);
    if (rv == 0)
        rv = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE,
                                    config->ctx->cred);
    if (rv == 0)
        rv = set_alpn(tls, config);
    if (rv == 0 && !tls->server && is_name(config->host))
        rv = gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, config->host,
                                    strlen(config->host));
    if (rv != 0) {
        cv_tls_free(tls);
        return CV_ERR_INTERNAL;
    }
    if (!tls->server && !config->ctx->by_name)
        gnutls_session_set_verify_function(tls->session, verify_server);
    if (config->ctx->by_name)
        gnutls_session_set_verify_cert(tls->session, config->host, 0);
    gnutls_transport_set_int(tls->session, config->fd);
    *out = tls;
    return CV_OK;
}

void cv_tls_free(struct cv_tls *tls)
{
    if (!tls)
        return;
    gnutls_deinit(tls->session);
    free(tls);
}

int cv_tls_handshake(struct cv_tls *tls)
{
    int rv;

    do
        rv = gnutls_handshake(tls->session);
    while (rv < 0 && rv != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(rv));
    if (rv == 0)
        return CV_OK;
    if (rv == GNUTLS_E_AGAIN)
        return CV_ERR_AGAIN;
    return tls->refused || rv == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR
               ? CV_ERR_AUTH
               : CV_ERR_PEER;
}

bool cv_tls_wants_write(const struct cv_tls *tls)
{
    return gnutls_record_get_direction(tls->session) == 1;
}

enum cv_tls_protocol cv_tls_protocol(const struct cv_tls *tls)
{
    gnutls_datum_t got;

    if (gnutls_alpn_get_selected_protocol(tls->session, &got) != 0)
        return CV_TLS_NONE;
    for (int p = CV_TLS_GATE; p <= CV_TLS_HTTP; p++)
        if (got.size == strlen(names[p]) &&
            memcmp(got.data, names[p], got.size) == 0)
            return (enum cv_tls_protocol)p;
    return CV_TLS_NONE;
}

int cv_tls_export(const struct cv_tls *tls, const char *label, uint8_t out[32])
{
    if (gnutls_prf_rfc5705(tls->session, strlen(label), label, 0, NULL, 32,
                           (char *)out) != 0)
        return CV_ERR_INTERNAL;
    return CV_OK;
}

static ptrdiff_t result(ssize_t rv)
{
    if (rv > 0)
        return rv;
    if (rv == GNUTLS_E_AGAIN || rv == GNUTLS_E_INTERRUPTED)
        return CV_ERR_AGAIN;
    if (rv == 0 || rv == GNUTLS_E_PREMATURE_TERMINATION)
        return CV_ERR_CLOSED;
    return CV_ERR_PEER;
}

ptrdiff_t cv_tls_read(struct cv_tls *tls, void *buf, size_t len)
{
    ssize_t rv;

    /* What is not fatal (a key update, say) is passed over. */
    do
        rv = gnutls_record_recv(tls->session, buf, len);
    while (rv < 0 && rv != GNUTLS_E_AGAIN && rv != GNUTLS_E_INTERRUPTED &&
           !gnutls_error_is_fatal((int)rv));
    return result(rv);
}

ptrdiff_t cv_tls_write(struct cv_tls *tls, const void *data, size_t len)
{
    return result(gnutls_record_send(
        tls->session, data, len > CV_TLS_RECORD ? CV_TLS_RECORD : len));
}

size_t cv_tls_pending(const struct cv_tls *tls)
{
    return gnutls_record_check_pending(tls->session);
}

void cv_tls_bye(struct cv_tls *tls)
{
    (void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}
