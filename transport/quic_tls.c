#include "transport/quic_impl.h"
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

/* AES first: without CPU support for ChaCha20 it costs a fourteenth here. */
#define PRIORITY                                                               \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3"                                            \
    ":-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305"                             \
    ":-GROUP-ALL:+GROUP-X25519"                                                \
    ":-CTYPE-ALL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"                            \
    ":%DISABLE_TLS13_COMPAT_MODE"

/* A seed as PKCS#8 (RFC 8410, 7): 16 bytes before the 32. */
static const uint8_t pkcs8_prefix[16] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30,
                                         0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                         0x04, 0x22, 0x04, 0x20};

static int load_private(gnutls_privkey_t *out, const struct cv_keypair *node)
{
    uint8_t der[sizeof(pkcs8_prefix) + CV_KEY_LEN];
    gnutls_datum_t datum = {der, sizeof(der)};
    gnutls_x509_privkey_t x509 = NULL;
    gnutls_privkey_t key = NULL;
    int rv;

    memcpy(der, pkcs8_prefix, sizeof(pkcs8_prefix));
    memcpy(der + sizeof(pkcs8_prefix), node->seed, CV_KEY_LEN);
    rv = gnutls_x509_privkey_init(&x509);
    if (rv == 0)
        rv = gnutls_x509_privkey_import_pkcs8(x509, &datum, GNUTLS_X509_FMT_DER,
                                              NULL, GNUTLS_PKCS_PLAIN);
    cv_wipe(der, sizeof(der));
    if (rv == 0)
        rv = gnutls_privkey_init(&key);
    if (rv == 0)
        rv = gnutls_privkey_import_x509(key, x509, GNUTLS_PRIVKEY_IMPORT_COPY);
    gnutls_x509_privkey_deinit(x509);
    if (rv != 0) {
        gnutls_privkey_deinit(key);
        return rv == GNUTLS_E_MEMORY_ERROR ? CV_ERR_NOMEM : CV_ERR_INTERNAL;
    }
    *out = key;
    return CV_OK;
}

/* Who owns what (LeakSanitizer agrees): importing gives the public key to the
 * pcert; setting gives the pcert's contents and the private key to the
 * credentials, but not the pcert itself. */
static int load_credentials(struct cv_quic_ctx *ctx,
                            const struct cv_keypair *node)
{
    gnutls_privkey_t key = NULL;
    gnutls_pubkey_t pub = NULL;
    gnutls_pcert_st *pcert = NULL;
    int rv;

    rv = load_private(&key, node);
    if (rv != CV_OK)
        return rv;
    rv = gnutls_pubkey_init(&pub);
    if (rv == 0)
        rv = gnutls_pubkey_import_privkey(pub, key, 0, 0);
    if (rv != 0)
        goto fail;
    pcert = gnutls_malloc(sizeof(*pcert));
    if (!pcert) {
        rv = GNUTLS_E_MEMORY_ERROR;
        goto fail;
    }
    rv = gnutls_pcert_import_rawpk(pcert, pub, 0);
    if (rv != 0)
        goto fail;
    pub = NULL;
    rv = gnutls_certificate_set_key(ctx->cred, NULL, 0, pcert, 1, key);
    if (rv < 0) {
        gnutls_pcert_deinit(pcert);
        goto fail;
    }
    gnutls_free(pcert);
    return CV_OK;

fail:
    gnutls_free(pcert);
    gnutls_pubkey_deinit(pub);
    gnutls_privkey_deinit(key);
    return rv == GNUTLS_E_MEMORY_ERROR ? CV_ERR_NOMEM : CV_ERR_INTERNAL;
}

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
    err = load_credentials(ctx, node);
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
    gnutls_datum_t x = {NULL, 0};
    gnutls_ecc_curve_t curve;
    gnutls_pubkey_t pub = NULL;
    const gnutls_datum_t *spki;
    unsigned n = 0;
    bool ok = false;

    spki = gnutls_certificate_get_peers(tls, &n);
    if (gnutls_certificate_type_get2(tls, GNUTLS_CTYPE_PEERS) ==
            GNUTLS_CRT_RAWPK &&
        spki && n == 1 && gnutls_pubkey_init(&pub) == 0 &&
        gnutls_pubkey_import(pub, spki, GNUTLS_X509_FMT_DER) == 0 &&
        gnutls_pubkey_get_pk_algorithm(pub, NULL) == GNUTLS_PK_EDDSA_ED25519 &&
        gnutls_pubkey_export_ecc_raw(pub, &curve, &x, NULL) == 0)
        ok = curve == GNUTLS_ECC_CURVE_ED25519 && x.size == CV_KEY_LEN &&
             cv_equal(x.data, conn->peer.b, CV_KEY_LEN);
    gnutls_free(x.data);
    gnutls_pubkey_deinit(pub);
    if (!ok) {
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
