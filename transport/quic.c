#include "transport/quic_impl.h"
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Chosen by measurement (bench_quic, cases loss-* and switch): under 5 % loss
 * cubic moves 0.2 MiB/s where this moves 5.8; and its queues are the shortest
 * of the three, so a keystroke beside a bulk transfer waits least.  ngtcp2 1.x
 * calls it NGTCP2_CC_ALGO_BBR. */
#ifndef CV_QUIC_CC
#define CV_QUIC_CC NGTCP2_CC_ALGO_BBR2
#endif

/* What may leave at once after a pause, however slow the pace: RFC 9002, 7.7
 * allows the initial window.  A keystroke never waits. */
#define BURST (10u * CV_QUIC_PAYLOAD)
/* Packets that a train may have however slow the pace: a system call each
 * would cost more than the burst does harm. */
#define TRAIN_MIN 16u
/* Bytes in one flush; then the loop serves others first. */
#define FLUSH_MAX ((size_t)256 * CV_QUIC_PAYLOAD)
/* An acknowledgement is due at most 25 ms (max_ack_delay) after its packet. */
#define ACK_DELAY (30 * CV_MILLISECOND)
/* Time-outs in a row until no more are pulled forward: 0.1 to 1.6 s, where the
 * round trip takes 50 ms. */
#define PULLS_MAX 4
/* ngtcp2's clock is unsigned, and early times are subtracted from. */
#define EPOCH CV_HOUR

ngtcp2_tstamp cv_quic_ts(cv_time now)
{
    if (now == CV_NEVER)
        return UINT64_MAX;
    return now < -EPOCH ? 0 : (ngtcp2_tstamp)(now + EPOCH);
}

static cv_time from_ts(ngtcp2_tstamp ts)
{
    if (ts > (ngtcp2_tstamp)CV_NEVER)
        return CV_NEVER;
    return (cv_time)ts - EPOCH;
}

void cv_quic_set_state(struct cv_conn *conn, enum cv_quic_state to)
{
    static const char *const name[] = {"handshake", "open", "closing",
                                       "draining", "dead"};

    assert(to > conn->state);
    cv_debug(conn->log, "quic: %s -> %s, peer=%s", name[conn->state], name[to],
             conn->name);
    conn->state = to;
}

/* ---- made-up addresses ------------------------------------------------- */

/* What ngtcp2 sees, for ever and at both ends, and compares for every packet:
 * two of 192.0.2.0/24, which are nobody's (RFC 5737). */
static struct sockaddr_in made_up[2] = {
    {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {0x010200c0}},
    {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {0x020200c0}},
};

static ngtcp2_path made_up_path(void)
{
    return (ngtcp2_path){
        .local = {(ngtcp2_sockaddr *)&made_up[0], sizeof(made_up[0])},
        .remote = {(ngtcp2_sockaddr *)&made_up[1], sizeof(made_up[1])},
    };
}

/* ---- connection ids ---------------------------------------------------- */

struct cv_quic_cid cv_quic_cid_from(const uint8_t *data, size_t len)
{
    struct cv_quic_cid cid = {0};

    assert(len <= CV_QUIC_CID_MAX);
    cid.len = (uint8_t)len;
    memcpy(cid.b, data, len);
    return cid;
}

/* False when there are more than ngtcp2 ever makes. */
static bool cid_add(struct cv_conn *conn, const ngtcp2_cid *lib_cid)
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

/* The ids are made; from now on the owner is told of every change. */
static void cids_route(struct cv_conn *conn)
{
    conn->routed = true;
    for (unsigned i = 0; conn->owner->cid_add && i < conn->n_cids; i++)
        conn->owner->cid_add(conn->owner_user, conn, &conn->cids[i]);
}

/* ---- callbacks of ngtcp2: write down, call nothing --------------------- */

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

void cv_quic_make_cid(struct cv_quic_ctx *ctx, ngtcp2_cid *cid, size_t len)
{
    uint8_t bytes[CV_QUIC_CID_MAX];

    cv_random(ctx->rng, bytes, len);
    ngtcp2_cid_init(cid, bytes, len);
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
        !cid_add(conn, cid))
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

static const ngtcp2_callbacks callbacks = {
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

/* ---- making one -------------------------------------------------------- */

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

static void conn_destroy(struct cv_conn *conn)
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

static int client_new(struct cv_conn *conn, const struct cv_quic_config *config,
                      cv_time now)
{
    struct cv_quic_ctx *ctx = conn->ctx;
    ngtcp2_path path = made_up_path();
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
    if (!cid_add(conn, &scid))
        return CV_ERR_INTERNAL;
    ctx->making = true;
    return made(conn, ngtcp2_conn_client_new(
                          &conn->lib, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1,
                          &callbacks, &settings, &params, ctx->mem, conn));
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
        conn_destroy(conn);
        return err;
    }
    ngtcp2_conn_set_tls_native_handle(conn->lib, conn->tls);
    cids_route(conn);
    *out = conn;
    return CV_OK;
}

void cv_quic_wake(struct cv_conn *conn)
{
    if (conn->woken || conn->freed)
        return;
    conn->woken = true;
    conn->owner->wake(conn->owner_user, conn);
}

/* ---- packets ----------------------------------------------------------- */

static bool enter(struct cv_conn *conn)
{
    assert(!conn->freed || conn->holds > 0);
    conn->holds++;
    return !conn->freed;
}

static cv_time find_deadline(const struct cv_conn *conn)
{
    switch (conn->state) {
    case CV_QUIC_STATE_HANDSHAKE:
    case CV_QUIC_STATE_OPEN:
        if (!conn->writable)
            return conn->last_heard + CV_QUIC_IDLE_TIMEOUT;
        return cv_time_min(from_ts(ngtcp2_conn_get_expiry(conn->lib)),
                           conn->ack_at);
    case CV_QUIC_STATE_CLOSING:
    case CV_QUIC_STATE_DRAINING:
        return conn->close_until;
    case CV_QUIC_STATE_DEAD:
        break;
    }
    return CV_NEVER;
}

/* Found when it is asked for: packets come many at a time.  But what was due
 * has been done: never ask to be called in a circle. */
static void update_deadline(struct cv_conn *conn, cv_time now, bool acted)
{
    cv_time at = acted ? find_deadline(conn) : 0;

    if (acted && at <= now)
        at = now + CV_MILLISECOND;
    conn->deadline = at;
    conn->deadline_known = acted;
}

static bool leave(struct cv_conn *conn, cv_time now, bool acted)
{
    if (--conn->holds > 0)
        return !conn->freed;
    if (conn->freed) {
        conn_destroy(conn);
        return false;
    }
    update_deadline(conn, now, acted);
    return true;
}

/* What the callbacks wrote down for ngtcp2 itself. */
static void settle(struct cv_conn *conn)
{
    if (!conn->lib)
        return;
    if (conn->credit > 0) {
        ngtcp2_conn_extend_max_offset(conn->lib, conn->credit);
        conn->credit = 0;
    }
    if (conn->confirmed && conn->state == CV_QUIC_STATE_HANDSHAKE) {
        cv_quic_set_state(conn, CV_QUIC_STATE_OPEN);
        ngtcp2_conn_set_keep_alive_timeout(conn->lib, CV_QUIC_KEEPALIVE);
    }
}

/* Until one of the packets ends it. */
static int read_packets(struct cv_conn *conn, const uint8_t *data, size_t len,
                        size_t segment, cv_time now)
{
    ngtcp2_path path = made_up_path();
    ngtcp2_pkt_info info = {0};
    ngtcp2_tstamp ts = cv_quic_ts(now);
    unsigned opened = packets_opened;
    int rv = 0;

    for (size_t at = 0; at < len && rv == 0; at += segment)
        rv = ngtcp2_conn_read_pkt(conn->lib, &path, &info, data + at,
                                  len - at < segment ? len - at : segment, ts);
    if (packets_opened != opened)
        conn->last_heard = now;
    settle(conn);
    return rv;
}

/* Packets on their way when we closed: say it again, ever less often. */
static void input_closing(struct cv_conn *conn)
{
    conn->close_late++;
    if ((conn->close_late & (conn->close_late - 1)) == 0)
        cv_quic_say_closed(conn);
}

/* The first packet was the peer's, but no good. */
static void fail_accept(struct cv_conn *conn, cv_time now)
{
    if (conn->accept_rv != 0 && conn->lib)
        cv_quic_give_up(conn, conn->accept_rv, now);
    conn->accept_rv = 0;
}

bool cv_quic_input(struct cv_conn *conn, const uint8_t *data, size_t len,
                   size_t segment, cv_time now)
{
    int rv;

    if (!enter(conn))
        return leave(conn, now, false);
    fail_accept(conn, now);
    if (conn->state == CV_QUIC_STATE_CLOSING) {
        for (size_t at = 0; at < len; at += segment)
            input_closing(conn);
    } else if (conn->lib && len > 0) {
        rv = read_packets(conn, data, len, segment, now);
        /* What came before the end is told before the end. */
        if (rv == NGTCP2_ERR_DRAINING || rv == NGTCP2_ERR_CLOSING) {
            cv_quic_tell(conn);
            if (conn->lib && !conn->freed)
                cv_quic_closed_by_peer(conn, now);
        } else if (rv != 0) {
            cv_quic_give_up(conn, rv, now);
        }
    }
    cv_quic_tell(conn);
    return leave(conn, now, false);
}

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
    ngtcp2_path path = made_up_path();
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
        !cid_add(conn, &scid) || !cid_add(conn, &hd->dcid))
        return CV_ERR_INTERNAL;
    ctx->making = true;
    return made(conn, ngtcp2_conn_server_new(
                          &conn->lib, &hd->scid, &scid, &path, hd->version,
                          &callbacks, &settings, &params, ctx->mem, conn));
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
    rv = read_packets(conn, data, len, len, now);
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
    cids_route(conn);
    conn->accept_rv = rv;
    update_deadline(conn, now, false);
    *out = conn;
    return CV_OK;

fail:
    conn_destroy(conn);
    return err;
}

/* ngtcp2's own pacing would put the packet after a keystroke off by RTT / 10
 * of a fresh connection.  So we keep the account ourselves: time in which
 * nothing is sent counts for up to BURST, and ngtcp2 is only told when it is
 * used up. */
static void pace(struct cv_conn *conn, size_t sent, cv_time now)
{
    ngtcp2_conn_stat stat;
    cv_time burst;
    double rate; /* bytes a nanosecond */

    ngtcp2_conn_get_conn_stat(conn->lib, &stat);
    rate = stat.pacing_rate;
    if (rate <= 0)
        rate = 1.25 * (double)stat.cwnd /
               (double)(stat.smoothed_rtt > 0 ? stat.smoothed_rtt : 1);
    if (rate < 1e-6) /* 1 kB/s */
        rate = 1e-6;
    conn->unpaced += sent;
    burst = (cv_time)(BURST / rate);
    if (conn->pace_at < now - burst)
        conn->pace_at = now - burst;
    conn->pace_at += (cv_time)((double)sent / rate);
    if (conn->pace_at > now) {
        /* It adds what it counted itself. */
        cv_time start = conn->pace_at - (cv_time)((double)conn->unpaced / rate);

        ngtcp2_conn_update_pkt_tx_time(conn->lib, cv_quic_ts(start));
        conn->unpaced = 0;
    }
}

/* Packets of a train: what the congestion control lets go without a pause. */
static unsigned train_max(const struct cv_conn *conn)
{
    size_t n = ngtcp2_conn_get_send_quantum(conn->lib) / CV_QUIC_PAYLOAD;

    return n < TRAIN_MIN       ? TRAIN_MIN
           : n < CV_QUIC_TRAIN ? (unsigned)n
                               : CV_QUIC_TRAIN;
}

/* Packets of one size, and at most one shorter at the end. */
static int write_train(struct cv_conn *conn, size_t *sent, cv_time now)
{
    uint8_t *train = conn->ctx->train;
    unsigned max = train_max(conn);
    size_t len = 0, segment = 0;
    ngtcp2_ssize n = 0;

    for (unsigned i = 0; i < max; i++) {
        n = cv_quic_write_packet(conn, train + len, cv_quic_ts(now));
        if (n <= 0)
            break;
        if (segment == 0)
            segment = (size_t)n;
        len += (size_t)n;
        /* A packet is never longer than the payload, so a full first one
         * bounds the others; after a short one the train ends. */
        if ((size_t)n < CV_QUIC_PAYLOAD)
            break;
    }
    if (len > 0) {
        conn->owner->output(conn->owner_user, conn, train, len, segment);
        pace(conn, len, now);
    }
    *sent = len;
    return n < 0 ? (int)n : 0;
}

static void write_packets(struct cv_conn *conn, cv_time now)
{
    size_t total = 0, sent;
    int rv;

    while (conn->lib && conn->writable) {
        rv = write_train(conn, &sent, now);
        if (rv != 0) {
            cv_quic_give_up(conn, rv, now);
            return;
        }
        if (sent == 0)
            return;
        total += sent;
        if (total >= FLUSH_MAX) {
            cv_quic_wake(conn);
            return;
        }
    }
}

static void flush(struct cv_conn *conn, cv_time now)
{
    conn->woken = false;
    fail_accept(conn, now);
    settle(conn);
    cv_quic_tell(conn);
    if (conn->freed)
        return;
    settle(conn);
    if (conn->ack_at <= now)
        conn->ack_at = CV_NEVER;
    write_packets(conn, now);
    if (conn->close_wanted && conn->lib)
        cv_quic_close_now(conn, now);
    else if (conn->close_unsent)
        cv_quic_say_closed(conn);
    settle(conn);
    cv_quic_tell(conn);
}

bool cv_quic_flush(struct cv_conn *conn, cv_time now)
{
    if (enter(conn))
        flush(conn, now);
    return leave(conn, now, true);
}

cv_time cv_quic_deadline(const struct cv_conn *conn)
{
    if (conn->woken)
        return 0;
    return conn->deadline_known ? conn->deadline : find_deadline(conn);
}

bool cv_quic_on_deadline(struct cv_conn *conn, cv_time now)
{
    int rv = 0;

    if (!enter(conn))
        return leave(conn, now, false);
    if (conn->lib) {
        /* With a full carrier nothing can be repeated, so nothing may be
         * given up as lost either. */
        if (conn->writable)
            rv = ngtcp2_conn_handle_expiry(conn->lib, cv_quic_ts(now));
        else if (conn->last_heard + CV_QUIC_IDLE_TIMEOUT <= now)
            rv = NGTCP2_ERR_IDLE_CLOSE;
        settle(conn);
        if (rv != 0)
            cv_quic_give_up(conn, rv, now);
    } else if (conn->state != CV_QUIC_STATE_DEAD && now >= conn->close_until) {
        cv_quic_set_state(conn, CV_QUIC_STATE_DEAD);
    }
    flush(conn, now);
    return leave(conn, now, true);
}

/* A time-out of ngtcp2 sends two packets whatever the window, and repeats what
 * is oldest: just what is needed, only it may be seconds away.  So it is told
 * that the moment has come.  Each one doubles the wait for the next (RFC 9002,
 * 6.2.1), so while the window has room for a probe, few are pulled: many paths
 * may be tried before one works.  Acknowledgements that this makes it think are
 * out already are looked for at `ack_at`. */
static void pull_timeout(struct cv_conn *conn, cv_time now)
{
    ngtcp2_conn_stat stat;
    ngtcp2_tstamp at;

    ngtcp2_conn_get_conn_stat(conn->lib, &stat);
    at = stat.loss_detection_timer;
    if (stat.bytes_in_flight == 0 || at == UINT64_MAX || at <= cv_quic_ts(now))
        return;
    if (stat.pto_count >= PULLS_MAX &&
        stat.bytes_in_flight + CV_QUIC_PAYLOAD <= stat.cwnd)
        return;
    /* Armed by an acknowledgement: it is not a time-out, and near. */
    if (stat.loss_time[NGTCP2_PKTNS_ID_APPLICATION] != UINT64_MAX)
        return;
    /* Fails, and changes nothing, when that would be past the idle time-out. */
    if (ngtcp2_conn_handle_expiry(conn->lib, at) == 0)
        conn->ack_at = now + ACK_DELAY;
}

void cv_quic_probe(struct cv_conn *conn, cv_time now)
{
    if (conn->state != CV_QUIC_STATE_OPEN || conn->freed)
        return;
    if (!conn->probe || conn->probed_at != now) /* once is enough */
        pull_timeout(conn, now);
    conn->probe = true;
    conn->probed_at = now;
    cv_quic_wake(conn);
}

void cv_quic_free(struct cv_conn *conn)
{
    if (!conn || conn->freed)
        return;
    conn->freed = true;
    if (conn->holds == 0)
        conn_destroy(conn);
}

/* ---- questions, and the simple calls of conn.h ------------------------- */

void cv_quic_stats(const struct cv_conn *conn, struct cv_quic_stats *out)
{
    ngtcp2_conn_stat stat;

    memset(out, 0, sizeof(*out));
    out->last_heard = conn->last_heard;
    if (!conn->lib)
        return;
    ngtcp2_conn_get_conn_stat(conn->lib, &stat);
    out->in_flight = stat.bytes_in_flight;
    out->cwnd = stat.cwnd;
    out->pto_count = (unsigned)stat.pto_count;
    if (stat.first_rtt_sample_ts != UINT64_MAX) {
        out->srtt = (cv_time)stat.smoothed_rtt;
        out->rttvar = (cv_time)stat.rttvar;
        out->min_rtt = (cv_time)stat.min_rtt;
    }
}

void cv_quic_set_writable(struct cv_conn *conn, bool writable)
{
    if (conn->writable == writable)
        return;
    conn->writable = writable;
    if (writable)
        cv_quic_wake(conn);
}

void cv_quic_set_path(struct cv_conn *conn, const struct cv_path_info *path)
{
    bool changed = conn->path.kind != path->kind ||
                   conn->path.silent != path->silent ||
                   !cv_addr_equal(&conn->path.remote, &path->remote);

    conn->path = *path;
    if (!changed || !conn->handed_over || conn->end_known)
        return;
    conn->path_changed = true;
    cv_quic_wake(conn);
}

bool cv_quic_is_confirmed(const struct cv_conn *conn)
{
    return conn->confirmed;
}

bool cv_quic_is_closing(const struct cv_conn *conn)
{
    return conn->end_known || conn->close_wanted;
}

void *cv_quic_user(const struct cv_conn *conn)
{
    return conn->owner_user;
}

void cv_quic_set_owner(struct cv_conn *conn, const struct cv_quic_owner *owner,
                       void *user)
{
    conn->owner = owner;
    conn->owner_user = user;
}

void cv_conn_set_events(struct cv_conn *conn,
                        const struct cv_conn_events *events, void *user)
{
    conn->events = events;
    conn->user = user;
}

const struct cv_key *cv_conn_peer(const struct cv_conn *conn)
{
    return &conn->peer;
}

const uint8_t *cv_conn_attempt(const struct cv_conn *conn)
{
    return conn->attempt;
}

bool cv_conn_is_client(const struct cv_conn *conn)
{
    return conn->client;
}

void cv_conn_path(const struct cv_conn *conn, struct cv_path_info *out)
{
    *out = conn->path;
}

int cv_conn_export(struct cv_conn *conn, const char *label, uint8_t *out,
                   size_t len)
{
    if (conn->state != CV_QUIC_STATE_OPEN)
        return CV_ERR_CLOSED;
    return cv_quic_tls_export(conn, label, out, len);
}
