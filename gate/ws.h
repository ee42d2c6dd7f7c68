/* gate/ws.h - a WebSocket server over bytes (RFC 6455): the upgrade, then
 * binary messages of whole frames.  The messages are wslay's.
 *
 * Pure: bytes in, bytes out. */
#ifndef CV_GATE_WS_H
#define CV_GATE_WS_H
#include "base/bytes.h"

struct cv_gate_ws;

#define CV_GATE_HTTP_MAX 4096  /* bytes of a request's head */
#define CV_GATE_MESSAGE  65536 /* bytes of a message that comes */
#define CV_GATE_SAY_MAX  2304  /* of one that goes: a frame */
#define CV_GATE_PONGS    16    /* that may wait for a slow reader */

/* The head of an HTTP request. */
struct cv_gate_http {
    char path[256];
    bool upgrade;       /* a WebSocket, well asked for */
    char accept[29];    /* Sec-WebSocket-Accept, and the NUL */
    char forwarded[64]; /* the last X-Forwarded-For, "" without */
};
/* CV_OK and how long it is in `used`; CV_ERR_AGAIN: not whole yet;
 * CV_ERR_FORMAT: no GET of HTTP/1.1, or too long. */
CV_MUST_USE int cv_gate_http_parse(struct cv_gate_http *out,
                                   const uint8_t *data, size_t len,
                                   size_t *used);
/* "101 Switching Protocols" for it; text to be sent. */
void cv_gate_http_accept(const struct cv_gate_http *request,
                         struct cv_writer *out);

struct cv_gate_ws_events {
    /* A whole binary message.  Nonzero: stop, the socket is gone. */
    int (*message)(void *user, const uint8_t *data, size_t len);
    /* Bytes for the other side. */
    int (*send)(void *user, const uint8_t *data, size_t len);
};
CV_MUST_USE int cv_gate_ws_new(struct cv_gate_ws **out,
                               const struct cv_gate_ws_events *events,
                               void *user);
void cv_gate_ws_free(struct cv_gate_ws *ws);
/* Bytes came.  CV_ERR_CLOSED: the other side closed, properly; CV_ERR_PEER: it
 * broke the protocol; CV_ERR_INTERNAL: `message` said stop. */
CV_MUST_USE int cv_gate_ws_input(struct cv_gate_ws *ws, const uint8_t *data,
                                 size_t len);
/* Send one binary message: calls `send`. */
CV_MUST_USE int cv_gate_ws_say(struct cv_gate_ws *ws, const uint8_t *data,
                               size_t len);
#endif
