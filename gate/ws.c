#include "gate/ws.h"
#include "transport/http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <wslay/wslay.h>

/* ---- the upgrade -------------------------------------------------------- */

static void check_upgrade(struct cv_gate_http *out, const char *head,
                          size_t len)
{
    char value[256], key[64];

    if (!cv_http_header(head, len, "Upgrade", value, sizeof value) ||
        !cv_http_has_word(value, "websocket") ||
        !cv_http_header(head, len, "Connection", value, sizeof value) ||
        !cv_http_has_word(value, "upgrade") ||
        !cv_http_header(head, len, "Sec-WebSocket-Version", value,
                        sizeof value) ||
        strcmp(value, "13") != 0 ||
        !cv_http_header(head, len, "Sec-WebSocket-Key", key, sizeof key) ||
        strlen(key) != 24)
        return;
    cv_http_accept(out->accept, key);
    out->upgrade = true;
}

int cv_gate_http_parse(struct cv_gate_http *out, const uint8_t *data,
                       size_t len, size_t *used)
{
    size_t max = len < CV_GATE_HTTP_MAX ? len : CV_GATE_HTTP_MAX, path_len;
    const char *head = (const char *)data, *end, *eol, *path;

    memset(out, 0, sizeof *out);
    if (memchr(data, '\0', max))
        return CV_ERR_FORMAT;
    end = memmem(data, max, "\r\n\r\n", 4);
    if (!end)
        return len < CV_GATE_HTTP_MAX ? CV_ERR_AGAIN : CV_ERR_FORMAT;
    *used = (size_t)(end - head) + 4;
    eol = memchr(head, '\r', *used);
    if (strncmp(head, "GET /", 5) != 0)
        return CV_ERR_FORMAT;
    path = head + 4;
    path_len = strcspn(path, " \r");
    if (path + path_len + 9 > eol || path_len >= sizeof out->path ||
        strncmp(path + path_len, " HTTP/1.", 8) != 0)
        return CV_ERR_FORMAT;
    memcpy(out->path, path, path_len);
    check_upgrade(out, eol + 2, (size_t)(end - eol));
    if (!cv_http_header(eol + 2, (size_t)(end - eol), "X-Forwarded-For",
                        out->forwarded, sizeof out->forwarded))
        out->forwarded[0] = '\0';
    /* The last hop is the one that our own proxy saw. */
    if (strrchr(out->forwarded, ','))
        memmove(out->forwarded,
                strrchr(out->forwarded, ',') + 1 +
                    strspn(strrchr(out->forwarded, ',') + 1, " "),
                strlen(strrchr(out->forwarded, ',') + 1 +
                       strspn(strrchr(out->forwarded, ',') + 1, " ")) +
                    1);
    return CV_OK;
}

void cv_gate_http_accept(const struct cv_gate_http *request,
                         struct cv_writer *out)
{
    char text[256];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 101 Switching Protocols\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n",
                     request->accept);

    cv_put_raw(out, text, (size_t)n);
}

/* ---- messages ----------------------------------------------------------- */

struct cv_gate_ws {
    wslay_event_context_ptr ctx;
    const struct cv_gate_ws_events *events;
    void *user;
    const uint8_t *data; /* what is being read */
    size_t len;
    bool stop;
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len,
                       int flags, void *user)
{
    struct cv_gate_ws *ws = user;

    (void)flags;
    if (ws->len == 0 || ws->stop) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (len > ws->len)
        len = ws->len;
    memcpy(buf, ws->data, len);
    ws->data += len;
    ws->len -= len;
    return (ssize_t)len;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data,
                       size_t len, int flags, void *user)
{
    struct cv_gate_ws *ws = user;

    (void)flags;
    if (ws->events->send(ws->user, data, len) != CV_OK) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    return (ssize_t)len;
}

static void on_message(wslay_event_context_ptr ctx,
                       const struct wslay_event_on_msg_recv_arg *arg,
                       void *user)
{
    struct cv_gate_ws *ws = user;

    (void)ctx;
    if (arg->opcode == WSLAY_BINARY_FRAME && !ws->stop &&
        ws->events->message(ws->user, arg->msg, arg->msg_length) != 0)
        ws->stop = true;
}

int cv_gate_ws_new(struct cv_gate_ws **out,
                   const struct cv_gate_ws_events *events, void *user)
{
    static const struct wslay_event_callbacks calls = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_msg_recv_callback = on_message,
    };
    struct cv_gate_ws *ws = calloc(1, sizeof *ws);

    if (!ws)
        return CV_ERR_NOMEM;
    ws->events = events;
    ws->user = user;
    if (wslay_event_context_server_init(&ws->ctx, &calls, ws) != 0) {
        free(ws);
        return CV_ERR_NOMEM;
    }
    wslay_event_config_set_max_recv_msg_length(ws->ctx, CV_GATE_MESSAGE);
    *out = ws;
    return CV_OK;
}

void cv_gate_ws_free(struct cv_gate_ws *ws)
{
    if (!ws)
        return;
    wslay_event_context_free(ws->ctx);
    free(ws);
}

/* Pongs and the answer to a close. */
static bool flush(struct cv_gate_ws *ws)
{
    return !wslay_event_want_write(ws->ctx) || wslay_event_send(ws->ctx) == 0;
}

int cv_gate_ws_input(struct cv_gate_ws *ws, const uint8_t *data, size_t len)
{
    int rv;

    ws->data = data;
    ws->len = len;
    rv = wslay_event_recv(ws->ctx);
    if (ws->stop)
        return CV_ERR_INTERNAL;
    if (rv != 0 || !flush(ws) ||
        wslay_event_get_queued_msg_count(ws->ctx) > CV_GATE_PONGS ||
        (wslay_event_get_close_sent(ws->ctx) &&
         !wslay_event_get_close_received(ws->ctx)))
        return CV_ERR_PEER;
    if (wslay_event_get_close_received(ws->ctx))
        return CV_ERR_CLOSED;
    return wslay_event_get_read_enabled(ws->ctx) ? CV_OK : CV_ERR_PEER;
}

/* What a server sends is not masked, so the frame is its header and the data;
 * nothing of it has to wait in wslay's queue. */
int cv_gate_ws_say(struct cv_gate_ws *ws, const uint8_t *data, size_t len)
{
    uint8_t frame[10 + CV_GATE_SAY_MAX];
    struct cv_writer w;

    if (len > CV_GATE_SAY_MAX)
        return CV_ERR_INVALID;
    cv_writer_init(&w, frame, sizeof frame);
    cv_put_u8(&w, 0x82); /* FIN, binary */
    if (len < 126) {
        cv_put_u8(&w, (uint8_t)len);
    } else {
        cv_put_u8(&w, 126);
        cv_put_u16(&w, (uint16_t)len);
    }
    cv_put_raw(&w, data, len);
    return ws->events->send(ws->user, frame, w.len);
}
