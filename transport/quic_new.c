/* How connections are made, and freed. */
#include "transport/quic_impl.h"
#include <stdlib.h>
#include <string.h>

/* Chosen by measurement (bench_quic, cases loss-* and switch): under 5 % loss
 * cubic moves 0.2 MiB/s where this moves 5.8; and its queues are the shortest
 * of the three, so a keystroke beside a bulk transfer waits least.  ngtcp2 1.x
 * calls it NGTCP2_CC_ALGO_BBR. */
#ifndef CV_QUIC_CC
#define CV_QUIC_CC NGTCP2_CC_ALGO_BBR2
#endif

static void settings_init(const struct cv_conn *conn, ngtcp2_settings *s,
                          cv_time initial_rtt, cv_time now)
{
    ngtcp2_settings_default(s);
    s->cc_algo = CV_QUIC_CC;
    s->initial_ts = cv_quic_ts(now);
    if (initial_rtt > 0)
        s->initial_rtt = (ngtcp2_duration)initial_rtt;
    s->max_tx_udp_payload_size = CV_QUIC_PAYLOAD;
    s->no_pmtud = 1;
    s->handshake_timeout = CV_QUIC_HANDSHAKE;
    s->rand_ctx.native_handle = conn->ctx;
}

static void params_init(const struct cv_conn *conn, ngtcp2_transport_params *p)
{
    ngtcp2_transport_params_default(p);
    p->initial_max_stream_data_bidi_local = CV_STREAM_WINDOW;
    p->initial_max_stream_data_bidi_remote = CV_STREAM_WINDOW;
    p->initial_max_data = conn->held ? CV_CONN_HELD : CV_CONN_WINDOW;
    p->initial_max_streams_bidi = CV_CONN_STREAMS;
    p->initial_max_streams_uni = 0;
    p->max_idle_timeout = CV_QUIC_IDLE_TIMEOUT;
    p->active_connection_id_limit = 2;
    p->max_datagram_frame_size = CV_DATAGRAM_MAX + 3; /* type and length */
    p->disable_active_migration = 1;
}

static struct cv_conn *conn_new(struct cv_quic_ctx *ctx,
                                const struct cv_quic_config *config,
                                bool client, cv_time now)
{
    struct cv_conn *conn = calloc(1, sizeof(*conn));

    if (!conn)
        return NULL;
    conn->ctx = ctx;
    conn->log = config->log;
    conn->owner = config->owner;
    conn->owner_user = config->user;
    conn->peer = config->peer;
    cv_key_short(&config->peer, conn->name);
    memcpy(conn->attempt, config->attempt, sizeof(conn->attempt));
    conn->client = client;
    conn->held = config->held;
    conn->last_heard = now;
    conn->deadline = now;
    conn->deadline_known = true;
    conn->ack_at = CV_NEVER;
    conn->pace_at = now - CV_MINUTE; /* a whole BURST is saved up */
    conn->writable = true;
    return conn;
}

void cv_quic_destroy(struct cv_conn *conn)
{
    if (conn->lib)
        ngtcp2_conn_del(conn->lib);
    cv_quic_tls_free(conn);
    cv_quic_streams_free(conn);
    free(conn->close_packet);
    while (conn->routed && conn->n_cids > 0) {
        conn->n_cids--;
        if (conn->owner->cid_remove)
            conn->owner->cid_remove(conn->owner_user, conn,
                                    &conn->cids[conn->n_cids]);
    }
    free(conn);
}

/* ngtcp2 has made its connection, or failed with `rv`. */
static int made(struct cv_conn *conn, int rv)
{
    conn->ctx->making = false;
    if (rv == 0)
        return CV_OK;
    conn->lib = NULL; /* it was set, and freed */
    return rv == NGTCP2_ERR_NOMEM ? CV_ERR_NOMEM : CV_ERR_INTERNAL;
}

/* ---- as a client ----------------------------------------------------- */

static int client_new(struct cv_conn *conn, const struct cv_quic_config *config,
                      cv_time now)
{
    struct cv_quic_ctx *ctx = conn->ctx;
    ngtcp2_path path = cv_quic_path();
    ngtcp2_transport_params params;
    ngtcp2_settings settings;
    ngtcp2_cid dcid, scid;

    settings_init(conn, &settings, config->initial_rtt, now);
    params_init(conn, &params);
    /* The first half tells the server which attempt is meant, the rest is
     * unguessable, so nobody else can answer for it. */
    cv_quic_make_cid(ctx, &dcid, 16);
    memcpy(dcid.data, config->attempt, sizeof(config->attempt));
    cv_quic_make_cid(ctx, &scid, CV_QUIC_CID_LEN);
    if (!cv_quic_cid_add(conn, &scid))
        return CV_ERR_INTERNAL;
    ctx->making = true;
    return made(conn,
                ngtcp2_conn_client_new(&conn->lib, &dcid, &scid, &path,
                                       NGTCP2_PROTO_VER_V1, &cv_quic_callbacks,
                                       &settings, &params, ctx->mem, conn));
}

int cv_quic_connect(struct cv_conn **out, struct cv_quic_ctx *ctx,
                    const struct cv_quic_config *config, cv_time now)
{
    struct cv_conn *conn = conn_new(ctx, config, true, now);
    int err;

    if (!conn)
        return CV_ERR_NOMEM;
    err = client_new(conn, config, now);
    if (err == CV_OK)
        err = cv_quic_tls_new(conn);
    if (err != CV_OK) {
        cv_quic_destroy(conn);
        return err;
    }
    ngtcp2_conn_set_tls_native_handle(conn->lib, conn->tls);
    cv_quic_cids_route(conn);
    *out = conn;
    return CV_OK;
}

/* ---- as a server ----------------------------------------------------- */

/* A packet that may begin a connection.  `first_dcid` is what the client called
 * us in the very first one, which a retry may have answered. */
static int first_packet(const struct cv_quic_ctx *ctx, ngtcp2_pkt_hd *hd,
                        ngtcp2_cid *first_dcid, const uint8_t *data, size_t len,
                        const struct cv_addr *from, bool need_token,
                        cv_time now)
{
    struct sockaddr_storage ss;
    socklen_t ss_len = cv_quic_carrier_address(from, &ss);

    if (!cv_quic_packet_is_initial(data, len) ||
        ngtcp2_accept(hd, data, len) != 0)
        return CV_ERR_FORMAT;
    *first_dcid = hd->dcid;
    if (hd->token.len == 0)
        return need_token ? CV_ERR_AGAIN : CV_OK;
    if (ngtcp2_crypto_verify_retry_token(
            first_dcid, hd->token.base, hd->token.len, ctx->retry_secret,
            sizeof(ctx->retry_secret), hd->version, (ngtcp2_sockaddr *)&ss,
            ss_len, &hd->dcid, CV_QUIC_RETRY_LIFE, cv_quic_ts(now)) != 0)
        return CV_ERR_AUTH;
    return CV_OK;
}

static int server_new(struct cv_conn *conn, const struct cv_quic_config *config,
                      const ngtcp2_pkt_hd *hd, const ngtcp2_cid *first_dcid,
                      cv_time now)
{
    struct cv_quic_ctx *ctx = conn->ctx;
    ngtcp2_path path = cv_quic_path();
    ngtcp2_transport_params params;
    ngtcp2_settings settings;
    ngtcp2_cid scid;

    settings_init(conn, &settings, config->initial_rtt, now);
    params_init(conn, &params);
    cv_quic_make_cid(ctx, &scid, CV_QUIC_CID_LEN);
    params.original_dcid = *first_dcid;
    if (hd->token.len > 0) {
        params.retry_scid = hd->dcid;
        params.retry_scid_present = 1;
        settings.token = hd->token;
    }
    params.stateless_reset_token_present = 1;
    if (ngtcp2_crypto_generate_stateless_reset_token(
            params.stateless_reset_token, ctx->reset_secret,
            sizeof(ctx->reset_secret), &scid) != 0 ||
        !cv_quic_cid_add(conn, &scid) || !cv_quic_cid_add(conn, &hd->dcid))
        return CV_ERR_INTERNAL;
    ctx->making = true;
    return made(conn,
                ngtcp2_conn_server_new(&conn->lib, &hd->scid, &scid, &path,
                                       hd->version, &cv_quic_callbacks,
                                       &settings, &params, ctx->mem, conn));
}

int cv_quic_accept(struct cv_conn **out, struct cv_quic_ctx *ctx,
                   const struct cv_quic_config *config, const uint8_t *data,
                   size_t len, const struct cv_addr *from, bool need_token,
                   cv_time now)
{
    struct cv_conn *conn;
    ngtcp2_pkt_hd hd;
    ngtcp2_cid first_dcid;
    int err, rv;

    err = first_packet(ctx, &hd, &first_dcid, data, len, from, need_token, now);
    if (err != CV_OK)
        return err;
    conn = conn_new(ctx, config, false, now);
    if (!conn)
        return CV_ERR_NOMEM;
    err = server_new(conn, config, &hd, &first_dcid, now);
    if (err != CV_OK)
        goto fail;
    rv = cv_quic_read(conn, data, len, len, now);
    if (rv == NGTCP2_ERR_NOMEM) {
        err = CV_ERR_NOMEM;
        goto fail;
    }
    /* Nothing in it opened, or it closed at once. */
    if (!conn->tls || rv == NGTCP2_ERR_DRAINING || rv == NGTCP2_ERR_RETRY ||
        rv == NGTCP2_ERR_DROP_CONN) {
        err = CV_ERR_FORMAT;
        goto fail;
    }
    cv_quic_cids_route(conn);
    conn->accept_rv = rv;
    cv_quic_set_deadline(conn, now, false);
    *out = conn;
    return CV_OK;

fail:
    cv_quic_destroy(conn);
    return err;
}
