/* The frames of a TCP stream: cut anywhere, they say the same; and a queue
 * whose bytes they are. */
#include "transport/tcpframe.h"

#include <stdlib.h>
#include <string.h>

#include "transport/tcpqueue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

struct sum {
    unsigned packets;
    uint64_t hash;
    int err;
};

static struct sum feed(enum cv_tcpframe_kind kind, const uint8_t *data,
                       size_t size, size_t step)
{
    struct cv_tcpframe *f = calloc(1, sizeof *f);
    struct sum s = {.err = CV_ERR_AGAIN};

    check(f != NULL);
    f->kind = kind;
    for (size_t at = 0; at < size && s.err == CV_ERR_AGAIN; at += step) {
        size_t n = size - at < step ? size - at : step;
        uint8_t *piece = malloc(n); /* so that ASan knows its end */
        struct cv_bytes in = {piece, n}, out;

        check(piece != NULL);
        memcpy(piece, data + at, n);
        while ((s.err = cv_tcpframe_next(f, &in, &out)) == CV_OK) {
            check(out.len > 0 && out.len <= CV_TCPFRAME_MAX);
            s.packets++;
            for (size_t i = 0; i < out.len; i++)
                s.hash = (s.hash ^ out.data[i]) * UINT64_C(0x100000001b3);
        }
        check(s.err != CV_ERR_AGAIN || in.len == 0);
        free(piece);
    }
    free(f);
    return s;
}

/* Bytes as orders to a queue; what comes out has to be frames. */
static void queue(const uint8_t *data, size_t size)
{
    struct cv_tcpframe *f = calloc(1, sizeof *f);
    struct cv_tcpqueue q = {0};
    unsigned in = 0, got = 0;

    check(f != NULL);
    for (size_t i = 0; i + 1 < size; i += 2) {
        static uint8_t packet[8 * 256];
        struct cv_bytes wait, out;
        size_t n;

        if (data[i] % 3 == 0)
            in += cv_tcpqueue_put(&q, packet, 1u + data[i + 1],
                                  1u + data[i + 1], true) == CV_OK;
        else if (cv_tcpqueue_put(&q, packet, 8u * (1u + data[i + 1]),
                                 1u + data[i + 1], false) == CV_OK)
            in += 8;
        wait = cv_tcpqueue_waiting(&q);
        check(wait.len <= CV_TCPQUEUE_MAX + CV_TCPQUEUE_FIRST);
        n = i + 3 >= size || wait.len < data[i] ? wait.len : data[i];
        wait.len = n;
        while (cv_tcpframe_next(f, &wait, &out) == CV_OK)
            got++;
        check(wait.len == 0);
        cv_tcpqueue_sent(&q, n);
    }
    check(in == got);
    cv_tcpqueue_fini(&q);
    free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum cv_tcpframe_kind kind = CV_TCPFRAME_PEER;
         kind <= CV_TCPFRAME_STUN; kind++) {
        struct sum whole = feed(kind, data, size, size > 0 ? size : 1);

        for (size_t step = 1; step < size; step = 2 * step + 1) {
            struct sum cut = feed(kind, data, size, step);

            check(cut.packets == whole.packets && cut.hash == whole.hash &&
                  cut.err == whole.err);
        }
    }
    queue(data, size);
    return 0;
}
