/* transport/gatews.h - the client's side of a WebSocket (RFC 6455): a stream
 * of bytes in binary messages.  The messages are wslay's.
 *
 * Pure: bytes in, bytes out.  Where a message ends means nothing to what is
 * carried, so nothing is kept until one is whole. */
#ifndef CV_TRANSPORT_GATEWS_H
#define CV_TRANSPORT_GATEWS_H
#include "base/crypto.h"
#include "transport/http.h"

struct cv_gatews;

#define CV_GATEWS_HEADER  14   /* bytes before a message, at most */
#define CV_GATEWS_ANSWERS 2048 /* bytes of pongs in answer to one input */

/* The request for the upgrade; `key` is drawn and remembered by the caller.
 * CV_ERR_NOBUF. */
CV_MUST_USE int cv_gatews_request(const char *host, uint16_t port,
                                  const char *path, const char key[CV_HTTP_KEY],
                                  struct cv_writer *out);
void cv_gatews_key(char key[CV_HTTP_KEY], const struct cv_rng *rng);
/* Is this the answer to a request with that key? */
bool cv_gatews_accepted(const struct cv_http_answer *answer,
                        const char key[CV_HTTP_KEY]);

/* `rng` is kept: whoever can foresee the masks can write into caches on the
 * way (RFC 6455, 10.3). */
CV_MUST_USE int cv_gatews_new(struct cv_gatews **out, const struct cv_rng *rng);
void cv_gatews_free(struct cv_gatews *ws);
/* Bytes came.  What they carry replaces them in data[*len], in place.
 *   CV_ERR_CLOSED  the other side closed, properly
 *   CV_ERR_PEER    it broke the protocol */
CV_MUST_USE int cv_gatews_decode(struct cv_gatews *ws, uint8_t *data,
                                 size_t *len);
/* What has to be sent in answer to that (pongs, a close); until the next
 * decode. */
struct cv_bytes cv_gatews_answers(const struct cv_gatews *ws);
/* Append data[len] as one message.  CV_ERR_NOBUF. */
CV_MUST_USE int cv_gatews_encode(struct cv_gatews *ws, struct cv_writer *out,
                                 const uint8_t *data, size_t len);
#endif
