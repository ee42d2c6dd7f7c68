#include "transport/gatews.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <wslay/wslay.h>

#define TLS_PORT 443

/* ---- the upgrade -------------------------------------------------------- */

void cv_gatews_key(char key[CV_HTTP_KEY], const struct cv_rng *rng)
{
    uint8_t raw[16];

    cv_random(rng, raw, sizeof raw);
    cv_base64(key, raw, sizeof raw);
}

int cv_gatews_request(const char *host, uint16_t port, const char *path,
                      const char key[CV_HTTP_KEY], struct cv_writer *out)
{
    bool v6 = strchr(host, ':') != NULL;
    char text[1024], number[8] = "";
    int n;

    if (port != TLS_PORT)
        snprintf(number, sizeof number, ":%u", (unsigned)port);
    n = snprintf(text, sizeof text,
                 "GET %.255s HTTP/1.1\r\nHost: %s%.255s%s%s\r\n"
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.24s\r\n"
                 "User-Agent: covim/" COVIM_VERSION "\r\n\r\n",
                 path, v6 ? "[" : "", host, v6 ? "]" : "", number, key);
    cv_put_raw(out, text, (size_t)n);
    return out->err;
}

bool cv_gatews_accepted(const struct cv_http_answer *answer,
                        const char key[CV_HTTP_KEY])
{
    char accept[CV_HTTP_ACCEPT];

    cv_http_accept(accept, key);
    return answer->upgraded && strcmp(accept, answer->accept) == 0;
}

/* ---- messages ----------------------------------------------------------- */

struct cv_gatews {
    wslay_event_context_ptr ctx;
    const struct cv_rng *rng;
    uint8_t *data; /* what is being decoded; what it carries goes before `at` */
    size_t len, at, carried;
    bool binary, broken;
    uint8_t answers[CV_GATEWS_ANSWERS];
    size_t n_answers;
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len,
                       int flags, void *user)
{
    struct cv_gatews *ws = user;

    (void)flags;
    if (ws->at == ws->len || ws->broken) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (len > ws->len - ws->at)
        len = ws->len - ws->at;
    memcpy(buf, ws->data + ws->at, len);
    ws->at += len;
    return (ssize_t)len;
}

/* Headers and payloads come by themselves: all of it is kept together, so that
 * no message of ours gets between them. */
static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data,
                       size_t len, int flags, void *user)
{
    struct cv_gatews *ws = user;

    (void)flags;
    if (len > sizeof ws->answers - ws->n_answers) {
        ws->broken = true;
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    memcpy(ws->answers + ws->n_answers, data, len);
    ws->n_answers += len;
    return (ssize_t)len;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len,
                   void *user)
{
    struct cv_gatews *ws = user;

    (void)ctx;
    cv_random(ws->rng, buf, len);
    return 0;
}

static void on_frame(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_start_arg *arg,
                     void *user)
{
    struct cv_gatews *ws = user;

    (void)ctx;
    if (arg->opcode == WSLAY_TEXT_FRAME)
        ws->broken = true;
    ws->binary = arg->opcode == WSLAY_BINARY_FRAME ||
                 arg->opcode == WSLAY_CONTINUATION_FRAME;
}

static void on_chunk(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_chunk_arg *arg,
                     void *user)
{
    struct cv_gatews *ws = user;

    (void)ctx;
    if (!ws->binary || ws->broken)
        return;
    /* wslay has its own copy of what it was given, so this is only ever
     * written where all has been read. */
    if (arg->data_length > ws->at - ws->carried) {
        ws->broken = true;
        return;
    }
    memmove(ws->data + ws->carried, arg->data, arg->data_length);
    ws->carried += arg->data_length;
}

int cv_gatews_new(struct cv_gatews **out, const struct cv_rng *rng)
{
    static const struct wslay_event_callbacks calls = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_chunk,
    };
    struct cv_gatews *ws = calloc(1, sizeof *ws);

    if (!ws)
        return CV_ERR_NOMEM;
    ws->rng = rng;
    if (wslay_event_context_client_init(&ws->ctx, &calls, ws) != 0) {
        free(ws);
        return CV_ERR_NOMEM;
    }
    wslay_event_config_set_no_buffering(ws->ctx, 1);
    *out = ws;
    return CV_OK;
}

void cv_gatews_free(struct cv_gatews *ws)
{
    if (!ws)
        return;
    wslay_event_context_free(ws->ctx);
    free(ws);
}

int cv_gatews_decode(struct cv_gatews *ws, uint8_t *data, size_t *len)
{
    int rv;

    ws->data = data;
    ws->len = *len;
    ws->at = ws->carried = ws->n_answers = 0;
    rv = wslay_event_recv(ws->ctx);
    if (rv == 0 && !ws->broken && wslay_event_want_write(ws->ctx))
        rv = wslay_event_send(ws->ctx);
    *len = ws->carried;
    if (rv != 0 || ws->broken)
        return CV_ERR_PEER;
    if (wslay_event_get_close_received(ws->ctx))
        return CV_ERR_CLOSED;
    return wslay_event_get_read_enabled(ws->ctx) ? CV_OK : CV_ERR_PEER;
}

struct cv_bytes cv_gatews_answers(const struct cv_gatews *ws)
{
    return CV_BYTES(ws->answers, ws->n_answers);
}

/* wslay would keep a copy of it; the frame is its header and the masked
 * bytes. */
int cv_gatews_encode(struct cv_gatews *ws, struct cv_writer *out,
                     const uint8_t *data, size_t len)
{
    uint8_t mask[4];
    size_t at;

    if (len > UINT16_MAX)
        return CV_ERR_INVALID;
    cv_random(ws->rng, mask, sizeof mask);
    cv_put_u8(out, 0x82); /* FIN, binary */
    if (len < 126) {
        cv_put_u8(out, (uint8_t)(0x80 | len));
    } else {
        cv_put_u8(out, 0x80 | 126);
        cv_put_u16(out, (uint16_t)len);
    }
    cv_put_raw(out, mask, sizeof mask);
    at = out->len;
    cv_put_raw(out, data, len);
    for (size_t i = 0; out->err == CV_OK && i < len; i++)
        out->data[at + i] ^= mask[i % 4];
    return out->err;
}
