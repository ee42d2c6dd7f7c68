/* What goes into a packet: streams in turn, datagrams before them. */
#include "transport/quic_impl.h"
#include <stdlib.h>

/* Pieces in one packet: 1200 bytes are 3 of the smallest at most, and their
 * ends. */
#define VECS 8u

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
    cv_quic_stream_end(s, CV_ERR_PEER);
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
        cv_quic_sending_remove(s);
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
        if (!cv_quic_has_unsent(s))
            cv_quic_sending_remove(s);
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
            free(cv_quic_datagrams_pop(&conn->out));
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
