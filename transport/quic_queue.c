/* Queues of bytes and of datagrams. */
#include "transport/quic_impl.h"
#include <stdlib.h>
#include <string.h>

/* ---- bytes ----------------------------------------------------------- */

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

void cv_quic_queue_add(struct cv_quic_queue *q, struct cv_quic_chunk *c)
{
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

struct cv_quic_chunk *cv_quic_queue_pop(struct cv_quic_queue *q)
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

void cv_quic_queue_free(struct cv_quic_queue *q)
{
    struct cv_quic_chunk *c;

    while ((c = cv_quic_queue_pop(q)))
        free(c);
}

bool cv_quic_queue_append_pieces(struct cv_quic_queue *q, const uint8_t *data,
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
            cv_quic_queue_free(&fresh);
            return false;
        }
        cv_quic_queue_add(&fresh, c);
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
        cv_quic_queue_add(q, c);
    }
    q->len += len;
    return true;
}

/* ---- datagrams ------------------------------------------------------- */

struct cv_quic_datagram *cv_quic_datagram_new(const uint8_t *data, size_t len)
{
    struct cv_quic_datagram *d = malloc(sizeof(*d) + len);

    if (!d)
        return NULL;
    d->next = NULL;
    d->len = len;
    memcpy(d->data, data, len);
    return d;
}

void cv_quic_datagrams_add(struct cv_quic_datagrams *q,
                           struct cv_quic_datagram *d)
{
    if (q->tail)
        q->tail->next = d;
    else
        q->head = d;
    q->tail = d;
    q->n++;
}

struct cv_quic_datagram *cv_quic_datagrams_pop(struct cv_quic_datagrams *q)
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

void cv_quic_datagrams_free(struct cv_quic_datagrams *q)
{
    struct cv_quic_datagram *d;

    while ((d = cv_quic_datagrams_pop(q)))
        free(d);
}
