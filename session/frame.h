/* session/frame.h - messages of a known length over a stream.
 *
 *   frame := varuint length (1…max), bytes
 *
 * The reader holds one unfinished message at most, never more memory than has
 * come of it (rounded up), and counts what it may still read in all. */
#ifndef CV_SESSION_FRAME_H
#define CV_SESSION_FRAME_H
#include "base/bytes.h"

/* Longest length field; larger numbers are malformed. */
#define CV_FRAME_HEADER_MAX 5u
#define CV_FRAME_LEN_MAX    (UINT32_C(1) << 28)
#define CV_FRAME_NO_BUDGET  SIZE_MAX

struct cv_frames {
    size_t max;    /* of one message */
    size_t budget; /* bytes that may still come; CV_FRAME_NO_BUDGET */
    uint8_t header[CV_FRAME_HEADER_MAX];
    unsigned header_len;
    size_t need; /* length of the message being read; 0: in the header */
    uint8_t *data;
    size_t len;
    size_t cap;
};

void cv_frames_init(struct cv_frames *f, size_t max, size_t budget);
void cv_frames_fini(struct cv_frames *f);
/* Other bounds from the next message on. */
void cv_frames_limit(struct cv_frames *f, size_t max, size_t budget);

/* One whole message, borrowed for the call.  Anything but CV_OK ends the
 * feeding: `f` may then be gone, and is not touched any more. */
typedef int (*cv_frame_fn)(void *user, struct cv_bytes message);

/* Take what came.  CV_OK, the error of `fn`, or
 *   CV_ERR_FORMAT  an empty message or a bad length
 *   CV_ERR_LIMIT   longer than `max`, or over the budget
 *   CV_ERR_NOMEM
 * after which the stream is of no further use. */
CV_MUST_USE int cv_frames_feed(struct cv_frames *f, struct cv_bytes in,
                               cv_frame_fn fn, void *user);
/* Is a message unfinished?  (An end of stream is then an error.) */
bool cv_frames_partial(const struct cv_frames *f);

/* Append a frame.  CV_ERR_INVALID if it is empty or above CV_FRAME_LEN_MAX. */
CV_MUST_USE int cv_put_frame(struct cv_writer *w, struct cv_bytes message);
#endif
