#include "transport/tcpqueue.h"
#include "transport/tcpframe.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAP_FIRST 4096u

void cv_tcpqueue_fini(struct cv_tcpqueue *q)
{
    free(q->data);
    memset(q, 0, sizeof *q);
}

struct cv_bytes cv_tcpqueue_waiting(const struct cv_tcpqueue *q)
{
    return CV_BYTES(q->data ? q->data + q->head : NULL, q->tail - q->head);
}

bool cv_tcpqueue_is_full(const struct cv_tcpqueue *q)
{
    return q->tail - q->head >= CV_TCPQUEUE_FULL;
}

/* Room for `need` more bytes at the tail. */
static int make_room(struct cv_tcpqueue *q, size_t need)
{
    size_t used = q->tail - q->head, cap = q->cap ? q->cap : CAP_FIRST;
    uint8_t *grown;

    if (q->cap - q->tail >= need)
        return CV_OK;
    if (q->head > 0 && q->data) {
        memmove(q->data, q->data + q->head, used);
        q->head = 0;
        q->tail = used;
    }
    if (q->cap - q->tail >= need)
        return CV_OK;
    while (cap - used < need)
        cap *= 2;
    grown = realloc(q->data, cap);
    if (!grown)
        return CV_ERR_NOMEM;
    q->data = grown;
    q->cap = cap;
    return CV_OK;
}

static void put_frame(uint8_t *at, const uint8_t *data, size_t len)
{
    at[0] = (uint8_t)(len >> 8);
    at[1] = (uint8_t)len;
    memcpy(at + CV_TCPFRAME_HEADER, data, len);
}

/* The frame that begins at `at`, header included. */
static size_t frame_at(const struct cv_tcpqueue *q, size_t at)
{
    return CV_TCPFRAME_HEADER +
           ((size_t)q->data[at] << 8 | (size_t)q->data[at + 1]);
}

static int put_first(struct cv_tcpqueue *q, const uint8_t *data, size_t len)
{
    size_t size = CV_TCPFRAME_HEADER + len, at;
    int err;

    if (q->first + size > CV_TCPQUEUE_FIRST)
        return CV_ERR_AGAIN;
    err = make_room(q, size);
    if (err != CV_OK)
        return err;
    /* Behind a frame of which a part has gone, and behind earlier checks. */
    at = q->head + q->rest + q->first;
    memmove(q->data + at + size, q->data + at, q->tail - at);
    put_frame(q->data + at, data, len);
    q->tail += size;
    q->first += size;
    return CV_OK;
}

int cv_tcpqueue_put(struct cv_tcpqueue *q, const uint8_t *data, size_t len,
                    size_t segment, bool urgent)
{
    size_t n;
    int err;

    if (len == 0 || segment == 0 || segment > CV_TCPFRAME_MAX)
        return CV_ERR_NOBUF;
    n = (len + segment - 1) / segment;
    if (len + n * CV_TCPFRAME_HEADER > CV_TCPQUEUE_TRAIN)
        return CV_ERR_NOBUF;
    if (urgent && n == 1)
        return put_first(q, data, len);
    if (cv_tcpqueue_is_full(q))
        return CV_ERR_AGAIN;
    err = make_room(q, len + n * CV_TCPFRAME_HEADER);
    if (err != CV_OK)
        return err;
    while (len > 0) {
        size_t one = len < segment ? len : segment;

        put_frame(q->data + q->tail, data, one);
        q->tail += CV_TCPFRAME_HEADER + one;
        data += one;
        len -= one;
    }
    return CV_OK;
}

/* `rest` is what is left of a frame that has begun to go; a frame of which
 * nothing has gone is not begun, so that a check may still overtake it. */
void cv_tcpqueue_sent(struct cv_tcpqueue *q, size_t n)
{
    assert(n <= q->tail - q->head);
    while (n > 0) {
        size_t left = q->rest > 0 ? q->rest : frame_at(q, q->head);
        size_t gone = n < left ? n : left;

        if (q->rest == 0 && q->first > 0)
            q->first -= left; /* it has begun: no longer one to count */
        q->head += gone;
        q->rest = left - gone;
        n -= gone;
    }
    if (q->head == q->tail)
        q->head = q->tail = 0;
}
