#include "transport/tls_key.h"
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <string.h>

/* A seed as PKCS#8 (RFC 8410, 7): 16 bytes before the 32. */
static const uint8_t pkcs8_prefix[16] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30,
                                         0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                         0x04, 0x22, 0x04, 0x20};

static int load_private(gnutls_privkey_t *out, const struct cv_keypair *keypair)
{
    uint8_t der[sizeof(pkcs8_prefix) + CV_KEY_LEN];
    gnutls_datum_t datum = {der, sizeof(der)};
    gnutls_x509_privkey_t x509 = NULL;
    gnutls_privkey_t key = NULL;
    int rv;

    memcpy(der, pkcs8_prefix, sizeof(pkcs8_prefix));
    memcpy(der + sizeof(pkcs8_prefix), keypair->seed, CV_KEY_LEN);
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
int cv_tls_key_load(gnutls_certificate_credentials_t cred,
                    const struct cv_keypair *keypair)
{
    gnutls_privkey_t key = NULL;
    gnutls_pubkey_t pub = NULL;
    gnutls_pcert_st *pcert = NULL;
    int rv;

    rv = load_private(&key, keypair);
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
    rv = gnutls_certificate_set_key(cred, NULL, 0, pcert, 1, key);
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

bool cv_tls_key_is(gnutls_session_t tls, const struct cv_key *want)
{
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
             cv_equal(x.data, want->b, CV_KEY_LEN);
    gnutls_free(x.data);
    gnutls_pubkey_deinit(pub);
    return ok;
}
