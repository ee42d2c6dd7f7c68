#include "transport/quic_impl.h"
#include <assert.h>
#include <string.h>

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

void cv_quic_wake(struct cv_conn *conn)
{
    if (conn->woken || conn->freed)
        return;
    conn->woken = true;
    conn->owner->wake(conn->owner_user, conn);
}

/* ---- in and out of a call -------------------------------------------- */

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

void cv_quic_set_deadline(struct cv_conn *conn, cv_time now, bool acted)
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
        cv_quic_destroy(conn);
        return false;
    }
    cv_quic_set_deadline(conn, now, acted);
    return true;
}

void cv_quic_settle(struct cv_conn *conn)
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

/* ---- what came ------------------------------------------------------- */

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
        rv = cv_quic_read(conn, data, len, segment, now);
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

/* ---- what leaves ----------------------------------------------------- */

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
    cv_quic_settle(conn);
    cv_quic_tell(conn);
    if (conn->freed)
        return;
    cv_quic_settle(conn);
    if (conn->ack_at <= now)
        conn->ack_at = CV_NEVER;
    write_packets(conn, now);
    if (conn->close_wanted && conn->lib)
        cv_quic_close_now(conn, now);
    else if (conn->close_unsent)
        cv_quic_say_closed(conn);
    cv_quic_settle(conn);
    cv_quic_tell(conn);
}

bool cv_quic_flush(struct cv_conn *conn, cv_time now)
{
    if (enter(conn))
        flush(conn, now);
    return leave(conn, now, true);
}

/* ---- time ------------------------------------------------------------ */

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
        cv_quic_settle(conn);
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
        cv_quic_destroy(conn);
}

/* ---- questions, and the simple calls of conn.h ----------------------- */

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
