/* The head of a request to a gate, and the WebSocket behind it: the first byte
 * says how the rest is cut. */
#include "gate/ws.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t sent;
static bool stop;

static int on_message(void *user, const uint8_t *data, size_t len)
{
    struct cv_gate_ws **ws = user;

    if (len > CV_GATE_MESSAGE)
        abort();
    if (len > 0 && data[0] == 0xff) {
        stop = true;
        return 1;
    }
    return cv_gate_ws_say(*ws, data, len < CV_GATE_SAY_MAX ? len : 1) != CV_OK;
}

static int on_send(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    (void)data;
    if (sent + len > 4096)
        return CV_ERR_AGAIN;
    sent += len;
    return CV_OK;
}

static void head(const uint8_t *data, size_t size)
{
    struct cv_gate_http http;
    uint8_t out[256];
    struct cv_writer w;
    size_t used = 0;

    if (cv_gate_http_parse(&http, data, size, &used) != CV_OK)
        return;
    if (used > size || used > CV_GATE_HTTP_MAX || http.path[0] != '/')
        abort();
    if (!http.upgrade)
        return;
    cv_writer_init(&w, out, sizeof out);
    cv_gate_http_accept(&http, &w);
    if (w.err != CV_OK || strlen(http.accept) != 28)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cv_gate_ws_events events = {on_message, on_send};
    struct cv_gate_ws *ws;
    size_t part;

    if (size < 2)
        return 0;
    head(data + 1, size - 1);
    part = (size_t)data[0] * 8 + 1;
    data++;
    size--;
    sent = 0;
    stop = false;
    if (cv_gate_ws_new(&ws, &events, &ws) != CV_OK)
        return 0;
    while (size > 0 && !stop) {
        size_t n = part < size ? part : size;
        int err = cv_gate_ws_input(ws, data, n);

        if (stop && err != CV_ERR_INTERNAL)
            abort();
        if (err != CV_OK)
            break;
        data += n;
        size -= n;
    }
    cv_gate_ws_free(ws);
    return 0;
}
