/* transport/tls_key.h - an Ed25519 key as TLS credentials without a
 * certificate (raw public keys, RFC 7250), for QUIC and for gates. */
#ifndef CV_TRANSPORT_TLS_KEY_H
#define CV_TRANSPORT_TLS_KEY_H
#include "base/key.h"
#include <gnutls/gnutls.h>

/* Prove `key` with these credentials.  CV_ERR_NOMEM, CV_ERR_INTERNAL. */
CV_MUST_USE int cv_tls_key_load(gnutls_certificate_credentials_t cred,
                                const struct cv_keypair *key);
/* Did the peer of this session send the raw public key `want`? */
bool cv_tls_key_is(gnutls_session_t tls, const struct cv_key *want);
#endif
