#include "transport/quic_impl.h"
#include <assert.h>
#include <stdlib.h>

/* Sizes of pieces: a first small message costs 1 KiB, a large one few pieces.
 */
#define OUT_CHUNK_MIN 1024u
#define OUT_CHUNK_MAX 65536u

/* ---- lists ----------------------------------------------------------- */

void cv_quic_ready(struct cv_stream *s)
{
    struct cv_conn *conn = s->conn;

    if (s->in_ready)
        return;
    s->in_ready = true;
    s->ready_next = NULL;
    if (conn->ready_tail)
        conn->ready_tail->ready_next = s;
    else
        conn->ready_head = s;
    conn->ready_tail = s;
}

struct cv_stream *cv_quic_ready_pop(struct cv_conn *conn)
{
    struct cv_stream *s = conn->ready_head;

    if (!s)
        return NULL;
    conn->ready_head = s->ready_next;
    if (!conn->ready_head)
        conn->ready_tail = NULL;
    s->in_ready = false;
    return s;
}

void cv_quic_sending_add(struct cv_stream *s)
{
    struct cv_stream *first = s->conn->sending;

    if (s->in_send || s->blocked || !cv_quic_has_unsent(s))
        return;
    s->in_send = true;
    if (!first) {
        s->send_prev = s->send_next = s;
        s->conn->sending = s;
        return;
    }
    s->send_next = first;
    s->send_prev = first->send_prev;
    s->send_prev->send_next = s;
    s->send_next->send_prev = s;
}

void cv_quic_sending_remove(struct cv_stream *s)
{
    if (!s->in_send)
        return;
    s->in_send = false;
    if (s->conn->sending == s)
        s->conn->sending = s->send_next == s ? NULL : s->send_next;
    s->send_prev->send_next = s->send_next;
    s->send_next->send_prev = s->send_prev;
}

struct cv_stream *cv_quic_stream_new(struct cv_conn *conn, int64_t id)
{
    struct cv_stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->conn = conn;
    s->id = id;
    s->next = conn->streams;
    if (s->next)
        s->next->prev = s;
    conn->streams = s;
    return s;
}

void cv_quic_stream_free(struct cv_stream *s)
{
    assert(!s->in_ready && !s->in_send);
    if (s->prev)
        s->prev->next = s->next;
    else
        s->conn->streams = s->next;
    if (s->next)
        s->next->prev = s->prev;
    cv_quic_queue_free(&s->in);
    cv_quic_queue_free(&s->out);
    free(s);
}

/* ---- the end of a stream --------------------------------------------- */

/* Bytes that nobody will take no longer count against the connection. */
static void drop_input(struct cv_stream *s)
{
    s->conn->credit += s->in.len;
    cv_quic_queue_free(&s->in);
}

void cv_quic_stream_end(struct cv_stream *s, int err)
{
    if (s->life == CV_QUIC_TOLD)
        return;
    if (s->life == CV_QUIC_ENDED && (s->err != CV_OK || err == CV_OK))
        return;
    s->life = CV_QUIC_ENDED;
    s->err = err;
    cv_quic_sending_remove(s);
    if (err != CV_OK)
        drop_input(s);
    cv_quic_ready(s);
}

void cv_quic_streams_end(struct cv_conn *conn)
{
    for (struct cv_stream *s = conn->streams; s; s = s->next) {
        s->lib_gone = true;
        cv_quic_stream_end(s, CV_ERR_CLOSED);
        cv_quic_ready(s);
    }
}

void cv_quic_streams_free(struct cv_conn *conn)
{
    struct cv_stream *s;

    while (cv_quic_ready_pop(conn))
        ;
    while ((s = conn->streams)) {
        cv_quic_sending_remove(s);
        cv_quic_stream_free(s);
    }
    cv_quic_datagrams_free(&conn->in);
    cv_quic_datagrams_free(&conn->out);
}

/* ---- the calls of conn.h --------------------------------------------- */

static bool usable(const struct cv_conn *conn)
{
    return conn->state == CV_QUIC_STATE_OPEN && !conn->close_wanted;
}

int cv_conn_open(struct cv_conn *conn, struct cv_stream **out)
{
    struct cv_stream *s;
    int64_t id;
    int rv;

    if (!usable(conn))
        return CV_ERR_CLOSED;
    if (ngtcp2_conn_get_streams_bidi_left(conn->lib) == 0)
        return CV_ERR_LIMIT;
    s = cv_quic_stream_new(conn, -1);
    if (!s)
        return CV_ERR_NOMEM;
    rv = ngtcp2_conn_open_bidi_stream(conn->lib, &id, s);
    if (rv != 0) {
        cv_quic_stream_free(s);
        return rv == NGTCP2_ERR_NOMEM ? CV_ERR_NOMEM : CV_ERR_LIMIT;
    }
    s->id = id;
    s->announced = true;
    *out = s;
    return CV_OK;
}

int cv_conn_datagram(struct cv_conn *conn, struct cv_bytes data)
{
    struct cv_quic_datagram *d;

    if (!usable(conn))
        return CV_ERR_CLOSED;
    if (data.len > CV_DATAGRAM_MAX)
        return CV_ERR_NOBUF;
    if (data.len == 0)
        return CV_ERR_INVALID;
    if (conn->out.n == CV_QUIC_DATAGRAMS_OUT)
        return CV_ERR_AGAIN;
    d = cv_quic_datagram_new(data.data, data.len);
    if (!d)
        return CV_ERR_NOMEM;
    cv_quic_datagrams_add(&conn->out, d);
    cv_quic_wake(conn);
    return CV_OK;
}

void cv_stream_set_events(struct cv_stream *s,
                          const struct cv_stream_events *events, void *user)
{
    s->events = events;
    s->user = user;
}

struct cv_conn *cv_stream_conn(const struct cv_stream *s)
{
    return s->conn;
}

uint64_t cv_stream_id(const struct cv_stream *s)
{
    return (uint64_t)s->id;
}

size_t cv_stream_unsent(const struct cv_stream *s)
{
    return s->out.len;
}

int cv_stream_send(struct cv_stream *s, struct cv_bytes data)
{
    size_t queued = s->out.len, before;
    struct cv_quic_chunk *tail = s->out.tail;

    if (s->life != CV_QUIC_LIVE || s->send != CV_QUIC_SEND_OPEN ||
        !usable(s->conn))
        return CV_ERR_CLOSED;
    if (data.len == 0)
        return CV_OK;
    if (queued > 0 && (queued >= CV_STREAM_SEND_MAX ||
                       data.len > CV_STREAM_SEND_MAX - queued)) {
        s->wanted = data.len;
        return CV_ERR_AGAIN;
    }
    before = tail ? tail->len : 0;
    if (!cv_quic_queue_append(&s->out, data.data, data.len, OUT_CHUNK_MIN,
                              OUT_CHUNK_MAX))
        return CV_ERR_NOMEM;
    if (!s->unsent) {
        /* Where the first new byte went. */
        s->unsent = tail && tail->len > before ? tail
                    : tail                     ? tail->next
                                               : s->out.head;
        s->unsent_off = s->unsent == tail ? before : 0;
    }
    cv_quic_sending_add(s);
    cv_quic_wake(s->conn);
    return CV_OK;
}

void cv_stream_finish(struct cv_stream *s)
{
    if (s->life != CV_QUIC_LIVE || s->send != CV_QUIC_SEND_OPEN)
        return;
    s->send = CV_QUIC_SEND_FINISH;
    s->wanted = 0;
    cv_quic_sending_add(s);
    cv_quic_wake(s->conn);
}

void cv_stream_reset(struct cv_stream *s, uint64_t code)
{
    if (s->life == CV_QUIC_TOLD || (s->life == CV_QUIC_ENDED && s->err))
        return;
    s->cut = true;
    s->code = code < NGTCP2_MAX_VARINT ? code : NGTCP2_MAX_VARINT;
    cv_quic_stream_end(s, CV_ERR_CLOSED);
    cv_quic_wake(s->conn);
}

void cv_conn_trust(struct cv_conn *conn)
{
    if (!conn->held)
        return;
    conn->held = false;
    conn->credit += CV_CONN_WINDOW - CV_CONN_HELD;
    for (struct cv_stream *s = conn->streams; s; s = s->next)
        cv_quic_ready(s);
    cv_quic_wake(conn);
}

void cv_stream_pause(struct cv_stream *s, bool paused)
{
    if (s->paused == paused)
        return;
    s->paused = paused;
    if (!paused) {
        cv_quic_ready(s);
        cv_quic_wake(s->conn);
    }
}
