#include "transport/quic_impl.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Sizes of pieces: a first small message costs 1 KiB, a large one few pieces.
 * Of a queue of input at most half is empty. */
#define OUT_CHUNK_MIN 1024u
#define OUT_CHUNK_MAX 65536u
#define IN_CHUNK_MIN  4096u
#define IN_CHUNK_MAX  65536u /* a train */
/* Pieces in one packet: 1200 bytes are 3 of the smallest at most, and their
 * ends. */
#define VECS 8u

/* ---- queues of bytes --------------------------------------------------- */

static struct cv_quic_chunk *chunk_new(size_t cap)
{
    struct cv_quic_chunk *c = malloc(sizeof(*c) + cap);

    if (!c)
        return NULL;
    c->next = NULL;
    c->off = 0;
    c->len = 0;
    c->cap = cap;
    return c;
}

static void queue_add_chunk(struct cv_quic_queue *q, struct cv_quic_chunk *c)
{
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

static struct cv_quic_chunk *queue_pop(struct cv_quic_queue *q)
{
    struct cv_quic_chunk *c = q->head;

    if (!c)
        return NULL;
    q->head = c->next;
    if (!q->head)
        q->tail = NULL;
    q->len -= c->len - c->off;
    return c;
}

static void queue_free(struct cv_quic_queue *q)
{
    struct cv_quic_chunk *c;

    while ((c = queue_pop(q)))
        free(c);
}

/* Append in full or not at all; new pieces hold min..max bytes. */
static bool queue_append_pieces(struct cv_quic_queue *q, const uint8_t *data,
                                size_t len, size_t min, size_t max)
{
    size_t room = q->tail ? q->tail->cap - q->tail->len : 0;
    size_t left = len, n;
    struct cv_quic_queue fresh = {0};
    struct cv_quic_chunk *c;

    for (left = len > room ? len - room : 0; left > 0; left -= n) {
        n = left < max ? left : max;
        c = chunk_new(n > min ? n : min);
        if (!c) {
            queue_free(&fresh);
            return false;
        }
        queue_add_chunk(&fresh, c);
    }
    n = len < room ? len : room;
    if (n > 0) {
        memcpy(q->tail->data + q->tail->len, data, n);
        q->tail->len += n;
    }
    for (left = len - n, data += n; left > 0; left -= n, data += n) {
        c = fresh.head;
        fresh.head = c->next;
        c->next = NULL;
        n = left < c->cap ? left : c->cap;
        memcpy(c->data, data, n);
        c->len = n;
        queue_add_chunk(q, c);
    }
    q->len += len;
    return true;
}

static inline bool queue_append(struct cv_quic_queue *q, const uint8_t *data,
                                size_t len, size_t min, size_t max)
{
    struct cv_quic_chunk *c = q->tail;

    if (!c || c->cap - c->len < len)
        return queue_append_pieces(q, data, len, min, max);
    memcpy(c->data + c->len, data, len);
    c->len += len;
    q->len += len;
    return true;
}

/* ---- lists ------------------------------------------------------------- */

static void ready(struct cv_stream *s)
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

static struct cv_stream *ready_pop(struct cv_conn *conn)
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

static bool has_unsent(const struct cv_stream *s)
{
    return s->unsent || s->send == CV_QUIC_SEND_FINISH;
}

/* Into the ring, as the last. */
static void sending_add(struct cv_stream *s)
{
    struct cv_stream *first = s->conn->sending;

    if (s->in_send || s->blocked || !has_unsent(s))
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

static void sending_remove(struct cv_stream *s)
{
    if (!s->in_send)
        return;
    s->in_send = false;
    if (s->conn->sending == s)
        s->conn->sending = s->send_next == s ? NULL : s->send_next;
    s->send_prev->send_next = s->send_next;
    s->send_next->send_prev = s->send_prev;
}

static struct cv_stream *stream_new(struct cv_conn *conn, int64_t id)
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

/* It is in no list but the first. */
static void stream_free(struct cv_stream *s)
{
    assert(!s->in_ready && !s->in_send);
    if (s->prev)
        s->prev->next = s->next;
    else
        s->conn->streams = s->next;
    if (s->next)
        s->next->prev = s->prev;
    queue_free(&s->in);
    queue_free(&s->out);
    free(s);
}

/* ---- the end of a stream ----------------------------------------------- */

/* Bytes that nobody will take no longer count against the connection. */
static void drop_input(struct cv_stream *s)
{
    s->conn->credit += s->in.len;
    queue_free(&s->in);
}

/* `err` other than CV_OK: at once, without what was received. */
static void stream_end(struct cv_stream *s, int err)
{
    if (s->life == CV_QUIC_TOLD)
        return;
    if (s->life == CV_QUIC_ENDED && (s->err != CV_OK || err == CV_OK))
        return;
    s->life = CV_QUIC_ENDED;
    s->err = err;
    sending_remove(s);
    if (err != CV_OK)
        drop_input(s);
    ready(s);
}

void cv_quic_streams_end(struct cv_conn *conn)
{
    for (struct cv_stream *s = conn->streams; s; s = s->next) {
        s->lib_gone = true;
        stream_end(s, CV_ERR_CLOSED);
        ready(s);
    }
}

static void datagrams_free(struct cv_quic_datagrams *q)
{
    struct cv_quic_datagram *d;

    while ((d = q->head)) {
        q->head = d->next;
        free(d);
    }
    q->tail = NULL;
    q->n = 0;
}

void cv_quic_streams_free(struct cv_conn *conn)
{
    struct cv_stream *s;

    while (ready_pop(conn))
        ;
    while ((s = conn->streams)) {
        sending_remove(s);
        stream_free(s);
    }
    datagrams_free(&conn->in);
    datagrams_free(&conn->out);
}

/* ---- callbacks of ngtcp2: write down, call nothing --------------------- */

int cv_quic_on_stream_open(ngtcp2_conn *lib, int64_t id, void *user)
{
    struct cv_stream *s = stream_new(user, id);

    if (!s)
        return NGTCP2_ERR_NOMEM;
    /* Only looks the stream up; the library's own example does it here. */
    if (ngtcp2_conn_set_stream_user_data(lib, id, s) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    ready(s);
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
        queue_add_chunk(&s->in, spare);
    }
    /* Many one-byte frames must not cost a piece each. */
    return queue_append(&s->in, data, len,
                        !s->in.head          ? 1
                        : min > IN_CHUNK_MAX ? IN_CHUNK_MAX
                                             : min,
                        SIZE_MAX);
}

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
    ready(s);
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
            free(queue_pop(&s->out));
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
    ready(s);
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
    stream_end(s, flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET
                      ? CV_ERR_PEER
                      : CV_OK);
    ready(s); /* to be freed, when it was told before */
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
    stream_end(s, CV_ERR_PEER);
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
    sending_add(s);
    return 0;
}

static void datagrams_add(struct cv_quic_datagrams *q,
                          struct cv_quic_datagram *d)
{
    if (q->tail)
        q->tail->next = d;
    else
        q->head = d;
    q->tail = d;
    q->n++;
}

static struct cv_quic_datagram *datagrams_pop(struct cv_quic_datagrams *q)
{
    struct cv_quic_datagram *d = q->head;

    if (!d)
        return NULL;
    q->head = d->next;
    if (!q->head)
        q->tail = NULL;
    q->n--;
    return d;
}

static struct cv_quic_datagram *datagram_new(const uint8_t *data, size_t len)
{
    struct cv_quic_datagram *d = malloc(sizeof(*d) + len);

    if (!d)
        return NULL;
    d->next = NULL;
    d->len = len;
    memcpy(d->data, data, len);
    return d;
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
    d = datagram_new(data, len);
    if (d)
        datagrams_add(&conn->in, d);
    return 0;
}

/* ---- telling ----------------------------------------------------------- */

/* Hand out what was received, until it is paused or something ends. */
static void tell_data(struct cv_stream *s)
{
    struct cv_conn *conn = s->conn;
    struct cv_quic_ctx *ctx = conn->ctx;

    if (conn->held && s->id != 0)
        return;
    while (!s->paused && !s->fin_told && (s->in.head || s->in_fin)) {
        struct cv_quic_chunk *c = queue_pop(&s->in);
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
    stream_free(s);
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
    if ((conn->handed_over || conn->end_known) && (s = ready_pop(conn))) {
        tell_stream(s);
        return true;
    }
    if (conn->handed_over && (d = datagrams_pop(&conn->in))) {
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

/* ---- writing ----------------------------------------------------------- */

/* What the next packet may take; `all`: there is nothing behind it. */
static size_t fill_vecs(const struct cv_stream *s, ngtcp2_vec vecs[VECS],
                        bool *all)
{
    struct cv_quic_chunk *c = s->unsent;
    size_t off = s->unsent_off, n = 0, len = 0;

    for (; c && n < VECS && len < CV_QUIC_PAYLOAD; c = c->next, off = 0) {
        if (c->len == off)
            continue;
        vecs[n].base = c->data + off;
        vecs[n].len = c->len - off;
        len += vecs[n++].len;
    }
    *all = !c;
    return n;
}

/* ngtcp2 took the next `len` unsent bytes. */
static void advance(struct cv_stream *s, size_t len)
{
    while (s->unsent) {
        size_t left = s->unsent->len - s->unsent_off;

        if (left > len) {
            s->unsent_off += len;
            return;
        }
        len -= left;
        s->unsent = s->unsent->next;
        s->unsent_off = 0;
    }
}

/* The peer stopped reading, or the stream is gone. */
static void lost_direction(struct cv_stream *s)
{
    s->cut = true;
    s->code = 0;
    stream_end(s, CV_ERR_PEER);
}

/* Add data of `s` to the packet under construction. */
static ngtcp2_ssize write_stream(struct cv_stream *s, ngtcp2_path *path,
                                 uint8_t *out, ngtcp2_tstamp ts)
{
    uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
    struct cv_conn *conn = s->conn;
    ngtcp2_vec vecs[VECS];
    ngtcp2_ssize taken = -1, n;
    bool all, fin;
    size_t count;

    count = fill_vecs(s, vecs, &all);
    fin = all && s->send == CV_QUIC_SEND_FINISH;
    if (fin)
        flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
    n = ngtcp2_conn_writev_stream(conn->lib, path, NULL, out, CV_QUIC_PAYLOAD,
                                  &taken, flags, s->id, vecs, count, ts);
    if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
        s->blocked = true;
        sending_remove(s);
        return NGTCP2_ERR_WRITE_MORE;
    }
    if (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND) {
        lost_direction(s);
        return NGTCP2_ERR_WRITE_MORE;
    }
    if (taken >= 0) {
        size_t offered = 0;

        for (size_t i = 0; i < count; i++)
            offered += vecs[i].len;
        advance(s, (size_t)taken);
        if (fin && (size_t)taken == offered)
            s->send = CV_QUIC_SEND_FINISHED;
        /* The next packet is another stream's turn. */
        conn->sending = s->send_next;
        if (!has_unsent(s))
            sending_remove(s);
    }
    return n;
}

static ngtcp2_ssize write_datagram(struct cv_conn *conn, ngtcp2_path *path,
                                   uint8_t *out, ngtcp2_tstamp ts)
{
    struct cv_quic_datagram *d = conn->probe ? NULL : conn->out.head;
    ngtcp2_vec vec = {d ? d->data : NULL, d ? d->len : 0};
    int accepted = 0;
    ngtcp2_ssize n;

    n = ngtcp2_conn_writev_datagram(conn->lib, path, NULL, out, CV_QUIC_PAYLOAD,
                                    &accepted, NGTCP2_WRITE_DATAGRAM_FLAG_MORE,
                                    0, &vec, d ? 1 : 0, ts);
    /* A peer that takes none, or none of this size. */
    if (n == NGTCP2_ERR_INVALID_STATE || n == NGTCP2_ERR_INVALID_ARGUMENT) {
        accepted = 1;
        n = NGTCP2_ERR_WRITE_MORE;
    }
    if (accepted) {
        if (conn->probe)
            conn->probe = false;
        else
            free(datagrams_pop(&conn->out));
    }
    return n;
}

/* The next stream that may add something; data needs the connection's window,
 * a bare FIN does not. */
static struct cv_stream *next_sender(struct cv_conn *conn)
{
    struct cv_stream *s = conn->sending;

    if (!s || ngtcp2_conn_get_max_data_left(conn->lib) > 0)
        return s;
    do {
        if (!s->unsent)
            return s;
        s = s->send_next;
    } while (s != conn->sending);
    return NULL;
}

ngtcp2_ssize cv_quic_write_packet(struct cv_conn *conn, uint8_t *out,
                                  ngtcp2_tstamp ts)
{
    ngtcp2_path_storage path;
    ngtcp2_ssize n;

    ngtcp2_path_storage_zero(&path);
    do {
        struct cv_stream *s = NULL;
        bool open = conn->state == CV_QUIC_STATE_OPEN;

        if (open && (conn->probe || conn->out.head))
            n = write_datagram(conn, &path.path, out, ts);
        else if (open && (s = next_sender(conn)))
            n = write_stream(s, &path.path, out, ts);
        else
            n = ngtcp2_conn_writev_stream(
                conn->lib, &path.path, NULL, out, CV_QUIC_PAYLOAD, NULL,
                NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL, 0, ts);
    } while (n == NGTCP2_ERR_WRITE_MORE);
    return n;
}

/* ---- the calls of conn.h ----------------------------------------------- */

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
    s = stream_new(conn, -1);
    if (!s)
        return CV_ERR_NOMEM;
    rv = ngtcp2_conn_open_bidi_stream(conn->lib, &id, s);
    if (rv != 0) {
        stream_free(s);
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
    d = datagram_new(data.data, data.len);
    if (!d)
        return CV_ERR_NOMEM;
    datagrams_add(&conn->out, d);
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
    if (!queue_append(&s->out, data.data, data.len, OUT_CHUNK_MIN,
                      OUT_CHUNK_MAX))
        return CV_ERR_NOMEM;
    if (!s->unsent) {
        /* Where the first new byte went. */
        s->unsent = tail && tail->len > before ? tail
                    : tail                     ? tail->next
                                               : s->out.head;
        s->unsent_off = s->unsent == tail ? before : 0;
    }
    sending_add(s);
    cv_quic_wake(s->conn);
    return CV_OK;
}

void cv_stream_finish(struct cv_stream *s)
{
    if (s->life != CV_QUIC_LIVE || s->send != CV_QUIC_SEND_OPEN)
        return;
    s->send = CV_QUIC_SEND_FINISH;
    s->wanted = 0;
    sending_add(s);
    cv_quic_wake(s->conn);
}

void cv_stream_reset(struct cv_stream *s, uint64_t code)
{
    if (s->life == CV_QUIC_TOLD || (s->life == CV_QUIC_ENDED && s->err))
        return;
    s->cut = true;
    s->code = code < NGTCP2_MAX_VARINT ? code : NGTCP2_MAX_VARINT;
    stream_end(s, CV_ERR_CLOSED);
    cv_quic_wake(s->conn);
}

void cv_conn_trust(struct cv_conn *conn)
{
    if (!conn->held)
        return;
    conn->held = false;
    conn->credit += CV_CONN_WINDOW - CV_CONN_HELD;
    for (struct cv_stream *s = conn->streams; s; s = s->next)
        ready(s);
    cv_quic_wake(conn);
}

void cv_stream_pause(struct cv_stream *s, bool paused)
{
    if (s->paused == paused)
        return;
    s->paused = paused;
    if (!paused) {
        ready(s);
        cv_quic_wake(s->conn);
    }
}
