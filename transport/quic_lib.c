/* Packets for ngtcp2, and what it asks for and tells meanwhile: randomness,
 * connection ids, keys.  What it tells of streams: quic_input.c. */
#include "transport/quic_impl.h"
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

/* ---- made-up addresses ----------------------------------------------- */

/* What ngtcp2 sees, for ever and at both ends, and compares for every packet:
 * two of 192.0.2.0/24, which are nobody's (RFC 5737). */
static struct sockaddr_in made_up[2] = {
    {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {0x010200c0}},
    {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {0x020200c0}},
};

ngtcp2_path cv_quic_path(void)
{
    return (ngtcp2_path){
        .local = {(ngtcp2_sockaddr *)&made_up[0], sizeof(made_up[0])},
        .remote = {(ngtcp2_sockaddr *)&made_up[1], sizeof(made_up[1])},
    };
}

/* ---- connection ids -------------------------------------------------- */

void cv_quic_make_cid(struct cv_quic_ctx *ctx, ngtcp2_cid *cid, size_t len)
{
    uint8_t bytes[CV_QUIC_CID_MAX];

    cv_random(ctx->rng, bytes, len);
    ngtcp2_cid_init(cid, bytes, len);
}

struct cv_quic_cid cv_quic_cid_from(const uint8_t *data, size_t len)
{
    struct cv_quic_cid cid = {0};

    assert(len <= CV_QUIC_CID_MAX);
    cid.len = (uint8_t)len;
    memcpy(cid.b, data, len);
    return cid;
}

bool cv_quic_cid_add(struct cv_conn *conn, const ngtcp2_cid *lib_cid)
{
    struct cv_quic_cid *cid;

    if (conn->n_cids == CV_QUIC_CIDS)
        return false;
    cid = &conn->cids[conn->n_cids++];
    *cid = cv_quic_cid_from(lib_cid->data, lib_cid->datalen);
    if (conn->routed && conn->owner->cid_add)
        conn->owner->cid_add(conn->owner_user, conn, cid);
    return true;
}

static void cid_remove(struct cv_conn *conn, const ngtcp2_cid *lib_cid)
{
    struct cv_quic_cid cid = cv_quic_cid_from(lib_cid->data, lib_cid->datalen);

    for (unsigned i = 0; i < conn->n_cids; i++) {
        if (memcmp(&conn->cids[i], &cid, sizeof(cid)) != 0)
            continue;
        conn->cids[i] = conn->cids[--conn->n_cids];
        if (conn->routed && conn->owner->cid_remove)
            conn->owner->cid_remove(conn->owner_user, conn, &cid);
        return;
    }
}

void cv_quic_cids_route(struct cv_conn *conn)
{
    conn->routed = true;
    for (unsigned i = 0; conn->owner->cid_add && i < conn->n_cids; i++)
        conn->owner->cid_add(conn->owner_user, conn, &conn->cids[i]);
}

/* ---- callbacks of ngtcp2: write down, call nothing ------------------- */

static void on_rand(uint8_t *out, size_t len, const ngtcp2_rand_ctx *rand_ctx)
{
    struct cv_quic_ctx *ctx = rand_ctx->native_handle;

    cv_random(ctx->rng, out, len);
    /* A new connection draws one bit: whether to clear the fixed bit of its
     * packets (RFC 9287), which ngtcp2 invites always.  STUN and gate channels
     * share our port, told apart by that bit (RFC 9443). */
    if (ctx->making)
        out[0] &= 0xfe;
}

static int on_path_challenge(ngtcp2_conn *lib, uint8_t *out, void *user)
{
    struct cv_conn *conn = user;

    (void)lib;
    cv_random(conn->ctx->rng, out, NGTCP2_PATH_CHALLENGE_DATALEN);
    return 0;
}

static int on_new_cid(ngtcp2_conn *lib, ngtcp2_cid *cid, uint8_t *token,
                      size_t len, void *user)
{
    struct cv_conn *conn = user;

    (void)lib;
    cv_quic_make_cid(conn->ctx, cid, len);
    if (ngtcp2_crypto_generate_stateless_reset_token(
            token, conn->ctx->reset_secret, sizeof(conn->ctx->reset_secret),
            cid) != 0 ||
        !cv_quic_cid_add(conn, cid))
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_remove_cid(ngtcp2_conn *lib, const ngtcp2_cid *cid, void *user)
{
    (void)lib;
    cid_remove(user, cid);
    return 0;
}

/* Both ends know the other's key now: a client from the server's proof, which
 * came with the server's Finished; a server from the client's.  That the
 * server has looked at the client's key a client learns half a round trip
 * later (HANDSHAKE_DONE), and does not wait for: what it sends meanwhile is
 * sealed for the pinned key. */
static int on_completed(ngtcp2_conn *lib, void *user)
{
    struct cv_conn *conn = user;

    (void)lib;
    conn->confirmed = true;
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *lib,
                              const ngtcp2_pkt_stateless_reset *sr, void *user)
{
    struct cv_conn *conn = user;

    (void)lib;
    (void)sr;
    conn->reset_received = true;
    return 0;
}

/* ngtcp2 0.12 does not say which packets were the peer's own; opening one is
 * the proof.  Packets are read by one thread at a time. */
static _Thread_local unsigned packets_opened;

static int on_decrypt(uint8_t *out, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *aead_ctx,
                      const uint8_t *data, size_t len, const uint8_t *nonce,
                      size_t nonce_len, const uint8_t *aad, size_t aad_len)
{
    int rv = ngtcp2_crypto_decrypt_cb(out, aead, aead_ctx, data, len, nonce,
                                      nonce_len, aad, aad_len);

    if (rv == 0)
        packets_opened++;
    return rv;
}

/* A server's TLS session is made when an Initial has opened, so a forged one
 * does not cost it. */
static int on_crypto(ngtcp2_conn *lib, ngtcp2_crypto_level level,
                     uint64_t offset, const uint8_t *data, size_t len,
                     void *user)
{
    struct cv_conn *conn = user;

    if (!conn->tls) {
        if (cv_quic_tls_new(conn) != CV_OK)
            return NGTCP2_ERR_CALLBACK_FAILURE;
        ngtcp2_conn_set_tls_native_handle(lib, conn->tls);
    }
    return ngtcp2_crypto_recv_crypto_data_cb(lib, level, offset, data, len,
                                             user);
}

/* A hello without transport parameters is good TLS, and ngtcp2 0.12 goes on
 * with it until an assertion ends the process.  They arrive before the keys of
 * either direction are made, so here it can still be refused. */
static int on_key(ngtcp2_conn *lib, ngtcp2_crypto_level level, void *user)
{
    struct cv_conn *conn = user;

    if ((level == NGTCP2_CRYPTO_LEVEL_APPLICATION || !conn->client) &&
        !ngtcp2_conn_get_remote_transport_params(lib))
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

const ngtcp2_callbacks cv_quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = on_crypto,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = on_decrypt,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .update_key = ngtcp2_crypto_update_key_cb,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .rand = on_rand,
    .get_path_challenge_data = on_path_challenge,
    .get_new_connection_id = on_new_cid,
    .remove_connection_id = on_remove_cid,
    .handshake_completed = on_completed,
    .handshake_confirmed = on_completed,
    .recv_stateless_reset = on_stateless_reset,
    .recv_rx_key = on_key,
    .recv_tx_key = on_key,
    .stream_open = cv_quic_on_stream_open,
    .recv_stream_data = cv_quic_on_stream_data,
    .acked_stream_data_offset = cv_quic_on_stream_acked,
    .stream_close = cv_quic_on_stream_close,
    .stream_reset = cv_quic_on_stream_reset,
    .extend_max_stream_data = cv_quic_on_stream_window,
    .recv_datagram = cv_quic_on_datagram,
};

/* ---- packets --------------------------------------------------------- */

int cv_quic_read(struct cv_conn *conn, const uint8_t *data, size_t len,
                 size_t segment, cv_time now)
{
    ngtcp2_path path = cv_quic_path();
    ngtcp2_pkt_info info = {0};
    ngtcp2_tstamp ts = cv_quic_ts(now);
    unsigned opened = packets_opened;
    int rv = 0;

    for (size_t at = 0; at < len && rv == 0; at += segment)
        rv = ngtcp2_conn_read_pkt(conn->lib, &path, &info, data + at,
                                  len - at < segment ? len - at : segment, ts);
    if (packets_opened != opened)
        conn->last_heard = now;
    cv_quic_settle(conn);
    return rv;
}
