/* What came: written down when ngtcp2 calls, and told when it has returned. */
#include "transport/quic_impl.h"
#include <stdlib.h>
#include <string.h>

/* Sizes of pieces.  Of a queue of input at most half is empty. */
#define IN_CHUNK_MIN 4096u
#define IN_CHUNK_MAX 65536u /* a train */

/* ---- callbacks of ngtcp2: write down, call nothing ------------------- */

int cv_quic_on_stream_open(ngtcp2_conn *lib, int64_t id, void *user)
{
    struct cv_stream *s = cv_quic_stream_new(user, id);

    if (!s)
        return NGTCP2_ERR_NOMEM;
    /* Only looks the stream up; the library's own example does it here. */
    if (ngtcp2_conn_set_stream_user_data(lib, id, s) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    cv_quic_ready(s);
    return 0;
}

/* Mostly what came is handed out after the packets that came with it: that
 * takes the same piece again and again, which stays in the processor's cache.
 * What the application does not want yet gets no more room than it needs. */
static bool input_append(struct cv_stream *s, const uint8_t *data, size_t len)
{
    struct cv_quic_ctx *ctx = s->conn->ctx;
    struct cv_quic_chunk *spare = ctx->spare;
    bool waits = s->paused || (s->conn->held && s->id != 0);
    size_t min = s->in.len > IN_CHUNK_MIN ? s->in.len : IN_CHUNK_MIN;

    if (!s->in.head && !waits && spare && spare->cap >= len) {
        ctx->spare = NULL;
        spare->next = NULL;
        spare->off = spare->len = 0;
        cv_quic_queue_add(&s->in, spare);
    }
    /* Many one-byte frames must not cost a piece each. */
    return cv_quic_queue_append(&s->in, data, len,
                                !s->in.head          ? 1
                                : min > IN_CHUNK_MAX ? IN_CHUNK_MAX
                                                     : min,
                                SIZE_MAX);
}

int cv_quic_on_stream_data(ngtcp2_conn *lib, uint32_t flags, int64_t id,
                           uint64_t offset, const uint8_t *data, size_t len,
                           void *user, void *stream_user)
{
    struct cv_conn *conn = user;
    struct cv_stream *s = stream_user;

    (void)lib;
    (void)id;
    (void)offset;
    if (!s || s->life != CV_QUIC_LIVE) {
        conn->credit += len;
        return 0;
    }
    if (len > 0 && !input_append(s, data, len))
        return NGTCP2_ERR_NOMEM;
    if (flags & NGTCP2_STREAM_DATA_FLAG_FIN)
        s->in_fin = true;
    cv_quic_ready(s);
    return 0;
}

/* Pieces whose every byte was acknowledged go; ngtcp2 reports in order. */
static void take_acked(struct cv_stream *s, size_t len)
{
    while (len > 0 && s->out.head) {
        struct cv_quic_chunk *c = s->out.head;
        size_t n = c->len - c->off;

        if (n > len)
            n = len;
        c->off += n;
        s->out.len -= n;
        len -= n;
        if (c->off == c->len)
            free(cv_quic_queue_pop(&s->out));
    }
}

/* Room again, after a refusal? */
static void check_writable(struct cv_stream *s)
{
    size_t queued = s->out.len;

    if (s->wanted == 0 || s->life != CV_QUIC_LIVE)
        return;
    if (queued > 0 && (queued > CV_STREAM_SEND_MAX / 2 ||
                       s->wanted > CV_STREAM_SEND_MAX - queued))
        return;
    s->wanted = 0;
    s->writable = true;
    cv_quic_ready(s);
}

int cv_quic_on_stream_acked(ngtcp2_conn *lib, int64_t id, uint64_t offset,
                            uint64_t len, void *user, void *stream_user)
{
    struct cv_stream *s = stream_user;

    (void)lib;
    (void)id;
    (void)offset;
    (void)user;
    if (!s)
        return 0;
    take_acked(s, (size_t)len);
    check_writable(s);
    return 0;
}

int cv_quic_on_stream_close(ngtcp2_conn *lib, uint32_t flags, int64_t id,
                            uint64_t code, void *user, void *stream_user)
{
    struct cv_stream *s = stream_user;

    (void)lib;
    (void)id;
    (void)code;
    (void)user;
    if (!s)
        return 0;
    s->lib_gone = true;
    cv_quic_stream_end(s, flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET
                              ? CV_ERR_PEER
                              : CV_OK);
    cv_quic_ready(s); /* to be freed, when it was told before */
    return 0;
}

/* The peer gave up its direction; one alone is of no use to ours. */
int cv_quic_on_stream_reset(ngtcp2_conn *lib, int64_t id, uint64_t final_size,
                            uint64_t code, void *user, void *stream_user)
{
    struct cv_stream *s = stream_user;

    (void)lib;
    (void)id;
    (void)final_size;
    (void)user;
    if (!s || s->life == CV_QUIC_TOLD)
        return 0;
    s->cut = true;
    s->code = code;
    cv_quic_stream_end(s, CV_ERR_PEER);
    return 0;
}

int cv_quic_on_stream_window(ngtcp2_conn *lib, int64_t id, uint64_t max,
                             void *user, void *stream_user)
{
    struct cv_stream *s = stream_user;

    (void)lib;
    (void)id;
    (void)max;
    (void)user;
    if (!s || s->life != CV_QUIC_LIVE)
        return 0;
    s->blocked = false;
    cv_quic_sending_add(s);
    return 0;
}

int cv_quic_on_datagram(ngtcp2_conn *lib, uint32_t flags, const uint8_t *data,
                        size_t len, void *user)
{
    struct cv_conn *conn = user;
    struct cv_quic_datagram *d;

    (void)lib;
    (void)flags;
    /* Empty ones are probes of cv_quic_probe(). */
    if (len == 0 || conn->in.n == CV_QUIC_DATAGRAMS_IN)
        return 0;
    d = cv_quic_datagram_new(data, len);
    if (d)
        cv_quic_datagrams_add(&conn->in, d);
    return 0;
}

/* ---- telling --------------------------------------------------------- */

/* Free a piece, or keep it for the next packets. */
static void input_free(struct cv_quic_ctx *ctx, struct cv_quic_chunk *c)
{
    if (c && c->cap <= IN_CHUNK_MAX &&
        (!ctx->spare || ctx->spare->cap < c->cap)) {
        free(ctx->spare);
        ctx->spare = c;
    } else {
        free(c);
    }
}

/* Hand out what was received, until it is paused or something ends. */
static void tell_data(struct cv_stream *s)
{
    struct cv_conn *conn = s->conn;
    struct cv_quic_ctx *ctx = conn->ctx;

    if (conn->held && s->id != 0)
        return;
    while (!s->paused && !s->fin_told && (s->in.head || s->in_fin)) {
        struct cv_quic_chunk *c = cv_quic_queue_pop(&s->in);
        struct cv_bytes data = {NULL, 0};
        bool fin = s->in_fin && !s->in.head;

        if (c)
            data = (struct cv_bytes){c->data + c->off, c->len - c->off};
        s->fin_told = fin;
        if (conn->lib && data.len > 0) {
            ngtcp2_conn_extend_max_offset(conn->lib, data.len);
            if (!s->lib_gone)
                ngtcp2_conn_extend_max_stream_offset(conn->lib, s->id,
                                                     data.len);
        }
        if (s->events && s->events->data)
            s->events->data(s->user, s, data, fin);
        input_free(ctx, c);
        if (conn->freed || (s->life == CV_QUIC_ENDED && s->err != CV_OK))
            return;
    }
}

/* Has the application had everything, so that it can be told of the end? */
static bool end_is_due(const struct cv_stream *s)
{
    return s->life == CV_QUIC_ENDED &&
           (s->err != CV_OK || s->fin_told || !s->announced);
}

static void tell_end(struct cv_stream *s)
{
    struct cv_conn *conn = s->conn;

    if (s->cut && conn->lib && !s->lib_gone) {
        ngtcp2_conn_shutdown_stream(conn->lib, s->id, s->code);
        cv_quic_wake(conn);
    }
    s->life = CV_QUIC_TOLD;
    if (s->announced && s->events && s->events->closed)
        s->events->closed(s->user, s, s->err);
    s->events = NULL;
    s->user = NULL;
}

static void tell_stream(struct cv_stream *s)
{
    struct cv_conn *conn = s->conn;
    bool dropped = s->life == CV_QUIC_ENDED && s->err != CV_OK;

    /* What was reset before anybody heard of it is not worth a word. */
    if (!s->announced && !dropped && s->life != CV_QUIC_TOLD) {
        s->announced = true;
        if (!conn->close_wanted && conn->events && conn->events->stream)
            conn->events->stream(conn->user, conn, s);
    }
    if (!conn->freed && !conn->close_wanted && s->life != CV_QUIC_TOLD)
        tell_data(s);
    if (!conn->freed && s->writable && s->life == CV_QUIC_LIVE) {
        s->writable = false;
        if (!conn->close_wanted && s->events && s->events->writable)
            s->events->writable(s->user, s);
    }
    if (!conn->freed && end_is_due(s))
        tell_end(s);
    if (conn->freed || s->life != CV_QUIC_TOLD || !s->lib_gone)
        return;
    if (s->in_ready)
        return; /* comes again */
    if (conn->lib && !ngtcp2_conn_is_local_stream(conn->lib, s->id))
        ngtcp2_conn_extend_max_streams_bidi(conn->lib, 1);
    cv_quic_stream_free(s);
}

static void tell_datagram(struct cv_conn *conn, struct cv_quic_datagram *d)
{
    struct cv_bytes data = {d->data, d->len};

    if (!conn->close_wanted && conn->events && conn->events->datagram)
        conn->events->datagram(conn->user, conn, data);
    free(d);
}

static void tell_closed(struct cv_conn *conn)
{
    const struct cv_conn_events *events;

    conn->end_told = true;
    if (conn->owner->closed)
        conn->owner->closed(conn->owner_user, conn, conn->end_err,
                            conn->end_code, conn->end_reason, conn->end_local);
    if (conn->freed)
        return;
    events = conn->events;
    conn->events = NULL;
    if (conn->handed_over && events && events->closed)
        events->closed(conn->user, conn, conn->end_err, conn->end_code,
                       conn->end_reason);
}

/* One thing that happened; false when there is nothing. */
static bool tell_next(struct cv_conn *conn)
{
    struct cv_quic_datagram *d;
    struct cv_stream *s;

    if (conn->confirmed && !conn->handed_over && !conn->end_known) {
        conn->handed_over = true;
        if (conn->owner->confirmed)
            conn->owner->confirmed(conn->owner_user, conn);
        return true;
    }
    /* Until then nobody could set events. */
    if ((conn->handed_over || conn->end_known) &&
        (s = cv_quic_ready_pop(conn))) {
        tell_stream(s);
        return true;
    }
    if (conn->handed_over && (d = cv_quic_datagrams_pop(&conn->in))) {
        tell_datagram(conn, d);
        return true;
    }
    if (conn->path_changed) {
        conn->path_changed = false;
        if (!conn->end_known && conn->events && conn->events->path)
            conn->events->path(conn->user, conn, &conn->path);
        return true;
    }
    if (conn->end_known && !conn->end_told) {
        tell_closed(conn);
        return true;
    }
    if (conn->state == CV_QUIC_STATE_DEAD && !conn->dead_told) {
        conn->dead_told = true;
        if (conn->owner->dead)
            conn->owner->dead(conn->owner_user, conn);
        return true;
    }
    return false;
}

void cv_quic_tell(struct cv_conn *conn)
{
    if (conn->telling)
        return; /* the outer call goes on */
    conn->telling = true;
    while (!conn->freed && tell_next(conn))
        ;
    conn->telling = false;
}
