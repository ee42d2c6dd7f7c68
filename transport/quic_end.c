#include "transport/quic_impl.h"
#include <stdlib.h>
#include <string.h>

/* Longest time in which late packets are answered. */
#define CLOSE_MAX (10 * CV_SECOND)

/* ---- texts ------------------------------------------------------------- */

/* Cut to CV_QUIC_REASON_MAX bytes of UTF-8 without control characters. */
static void clean(char out[CV_QUIC_REASON_MAX + 1], const uint8_t *text,
                  size_t len)
{
    size_t n = 0, i = 0;

    while (i < len) {
        size_t run = text[i] < 0x80   ? 1
                     : text[i] < 0xe0 ? 2
                     : text[i] < 0xf0 ? 3
                                      : 4;
        bool bad = run > len - i || !cv_utf8_valid(text + i, run);

        if (bad)
            run = 1;
        if (n + run > CV_QUIC_REASON_MAX)
            break;
        /* C0, DEL, and C1 as UTF-8. */
        if (bad || text[i] == 0x7f ||
            (run == 2 && text[i] == 0xc2 && text[i + 1] < 0xa0))
            out[n++] = '?';
        else if (text[i] < 0x20)
            out[n++] = ' ';
        else {
            memcpy(out + n, text + i, run);
            n += run;
        }
        i += run;
    }
    out[n] = '\0';
}

static void set_text(char out[CV_QUIC_REASON_MAX + 1], const char *text)
{
    if (!text)
        text = "";
    clean(out, (const uint8_t *)text, strlen(text));
}

/* ---- ending ------------------------------------------------------------ */

/* ngtcp2 is done with: keep what is needed to end politely. */
static void end(struct cv_conn *conn, enum cv_quic_state to, int err,
                uint64_t code, const char *reason, bool local, cv_time now)
{
    cv_time linger = 3 * (cv_time)ngtcp2_conn_get_pto(conn->lib);

    conn->close_until = now + (linger < CLOSE_MAX ? linger : CLOSE_MAX);
    ngtcp2_conn_del(conn->lib);
    conn->lib = NULL;
    cv_quic_tls_free(conn);
    cv_quic_set_state(conn, to);
    conn->end_known = true;
    conn->end_err = err;
    conn->end_code = code;
    conn->end_local = local;
    set_text(conn->end_reason, reason);
    cv_debug(conn->log, "quic: ended, peer=%s by=%s err=%d code=%llu: %s",
             conn->name, local ? "us" : "it", err, (unsigned long long)code,
             conn->end_reason);
    cv_quic_streams_end(conn);
}

void cv_quic_say_closed(struct cv_conn *conn)
{
    conn->close_unsent = !conn->writable;
    if (conn->writable)
        conn->owner->output(conn->owner_user, conn, conn->close_packet,
                            conn->close_len, conn->close_len);
}

/* Say goodbye to the peer, then end. */
static void end_with_packet(struct cv_conn *conn,
                            const ngtcp2_connection_close_error *why, int err,
                            uint64_t code, const char *reason, cv_time now)
{
    uint8_t packet[CV_QUIC_PAYLOAD];
    ngtcp2_path_storage path;
    enum cv_quic_state to;
    ngtcp2_ssize n;

    ngtcp2_path_storage_zero(&path);
    n = ngtcp2_conn_write_connection_close(conn->lib, &path.path, NULL, packet,
                                           sizeof(packet), why,
                                           cv_quic_ts(now));
    if (n > 0)
        conn->close_packet = malloc((size_t)n);
    to = conn->close_packet ? CV_QUIC_STATE_CLOSING : CV_QUIC_STATE_DEAD;
    if (conn->close_packet) {
        conn->close_len = (size_t)n;
        memcpy(conn->close_packet, packet, conn->close_len);
    }
    end(conn, to, err, code, reason, true, now);
    if (conn->close_packet)
        cv_quic_say_closed(conn);
}

void cv_quic_close_now(struct cv_conn *conn, cv_time now)
{
    const char *text = conn->close_reason;
    ngtcp2_connection_close_error why;
    uint8_t reason[CV_QUIC_REASON_MAX];
    size_t len = strlen(text);

    memcpy(reason, text, len);
    /* Before the handshake is confirmed the reason would travel in the clear,
     * and RFC 9000, 10.2.3 wants APPLICATION_ERROR. */
    if (conn->state == CV_QUIC_STATE_OPEN)
        ngtcp2_connection_close_error_set_application_error(
            &why, conn->close_code, reason, len);
    else
        ngtcp2_connection_close_error_set_transport_error(
            &why, NGTCP2_APPLICATION_ERROR, NULL, 0);
    end_with_packet(conn, &why, CV_OK, conn->close_code, text, now);
}

/* TLS alerts that are about the key (RFC 8446, 6.2; RFC 9001, 4.8). */
static bool alert_about_key(uint8_t alert)
{
    switch (alert) {
    case GNUTLS_A_HANDSHAKE_FAILURE: /* no common kind of key */
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_REVOKED:
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_ACCESS_DENIED:
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static bool alert_about_version(uint8_t alert)
{
    return alert == GNUTLS_A_NO_APPLICATION_PROTOCOL ||
           alert == GNUTLS_A_PROTOCOL_VERSION;
}

/* The peer's fault, mostly. */
void cv_quic_give_up(struct cv_conn *conn, int rv, cv_time now)
{
    ngtcp2_connection_close_error why;
    const char *reason = ngtcp2_strerror(rv);
    uint8_t alert;
    int err = CV_ERR_PEER;

    cv_debug(conn->log, "quic: peer=%s failed: %s", conn->name, reason);
    switch (rv) {
    case NGTCP2_ERR_IDLE_CLOSE:
        end(conn, CV_QUIC_STATE_DEAD, CV_ERR_TIMEOUT, 0,
            "nothing was heard of the other side", true, now);
        return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        end(conn, CV_QUIC_STATE_DEAD, CV_ERR_TIMEOUT, 0,
            "the handshake took too long", true, now);
        return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
        end(conn, CV_QUIC_STATE_DEAD, CV_ERR_PEER, 0, reason, true, now);
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        end(conn, CV_QUIC_STATE_DEAD, CV_ERR_VERSION, 0,
            "the other side speaks another QUIC", true, now);
        return;
    case NGTCP2_ERR_CRYPTO:
        alert = ngtcp2_conn_get_tls_alert(conn->lib);
        if (conn->key_refused || alert_about_key(alert)) {
            err = CV_ERR_AUTH;
            reason = "the other side's key is not the expected one";
        } else if (alert_about_version(alert)) {
            err = CV_ERR_VERSION;
            reason = "the other side speaks no " CV_QUIC_ALPN;
        }
        ngtcp2_connection_close_error_set_transport_error_tls_alert(&why, alert,
                                                                    NULL, 0);
        break;
    default:
        if (rv == NGTCP2_ERR_NOMEM)
            err = CV_ERR_NOMEM;
        else if (rv == NGTCP2_ERR_CALLBACK_FAILURE || rv == NGTCP2_ERR_INTERNAL)
            err = CV_ERR_INTERNAL;
        ngtcp2_connection_close_error_set_transport_error_liberr(&why, rv, NULL,
                                                                 0);
        break;
    }
    end_with_packet(conn, &why, err, why.error_code, reason, now);
}

void cv_quic_closed_by_peer(struct cv_conn *conn, cv_time now)
{
    char reason[CV_QUIC_REASON_MAX + 1];
    ngtcp2_connection_close_error why;
    int err = CV_ERR_PEER;
    uint64_t code;

    if (conn->reset_received) {
        end(conn, CV_QUIC_STATE_DRAINING, CV_ERR_TIMEOUT, 0,
            "the other side has forgotten the connection", false, now);
        return;
    }
    ngtcp2_conn_get_connection_close_error(conn->lib, &why);
    code = why.error_code;
    clean(reason, why.reason, why.reason ? why.reasonlen : 0);
    if (why.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION ||
        code == NGTCP2_NO_ERROR || code == NGTCP2_APPLICATION_ERROR) {
        err = CV_OK;
    } else if (code >= NGTCP2_CRYPTO_ERROR &&
               code <= NGTCP2_CRYPTO_ERROR + 0xff) {
        uint8_t alert = (uint8_t)(code - NGTCP2_CRYPTO_ERROR);

        if (alert_about_key(alert)) {
            err = CV_ERR_DENIED;
            set_text(reason, "the other side refused our key");
        } else if (alert_about_version(alert)) {
            err = CV_ERR_VERSION;
            set_text(reason, "the other side speaks no " CV_QUIC_ALPN);
        }
    }
    /* The application knows these four words only. */
    if (conn->handed_over && err != CV_OK && err != CV_ERR_DENIED)
        err = CV_ERR_PEER;
    end(conn, CV_QUIC_STATE_DRAINING, err, code, reason, false, now);
}

void cv_conn_close(struct cv_conn *conn, uint64_t code, const char *reason)
{
    if (!conn->lib || conn->close_wanted)
        return;
    conn->close_wanted = true;
    conn->close_code = code < NGTCP2_MAX_VARINT ? code : NGTCP2_MAX_VARINT;
    set_text(conn->close_reason, reason);
    cv_quic_wake(conn);
}
