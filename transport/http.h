/* transport/http.h - the little of HTTP/1.1 (RFC 9112) that is in the way of a
 * link: heads of messages, and the key of a WebSocket (RFC 6455).
 *
 * Pure: text in, values out. */
#ifndef CV_TRANSPORT_HTTP_H
#define CV_TRANSPORT_HTTP_H
#include "base/bytes.h"
#include <stdbool.h>

#define CV_HTTP_HEAD_MAX 8192 /* bytes of an answer's head */
#define CV_HTTP_REASON   64   /* of its reason, and the NUL */
#define CV_HTTP_ACCEPT   29   /* a Sec-WebSocket-Accept, and the NUL */
#define CV_HTTP_KEY      25   /* a Sec-WebSocket-Key, and the NUL */

/* The value of header `name` in head[len], trimmed; the last one of several.
 * False: there is none, or it does not fit out[out_len]. */
bool cv_http_header(const char *head, size_t len, const char *name, char *out,
                    size_t out_len);
/* Is `word` one of the comma-separated words of `list`? */
bool cv_http_has_word(const char *list, const char *word);
/* Sec-WebSocket-Accept for a key of any length up to 63 (RFC 6455, 4.2.2). */
void cv_http_accept(char out[CV_HTTP_ACCEPT], const char *key);

struct cv_http_answer {
    unsigned status;             /* 100..599 */
    char reason[CV_HTTP_REASON]; /* printable ASCII, cut; "" without */
    bool upgraded;               /* 101, to a WebSocket without extensions */
    char accept[CV_HTTP_ACCEPT]; /* "" without */
};
/* The head of an answer: how long it is in `used`.
 *   CV_ERR_AGAIN   it is not whole yet
 *   CV_ERR_FORMAT  no answer of HTTP/1.x, or too long */
CV_MUST_USE int cv_http_answer_parse(struct cv_http_answer *out,
                                     const uint8_t *data, size_t len,
                                     size_t *used);
#endif
