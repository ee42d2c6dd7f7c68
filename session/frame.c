#include "session/frame.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES (64u * 1024u) /* a larger buffer is given back when read */

void cv_frames_init(struct cv_frames *f, size_t max, size_t budget)
{
    memset(f, 0, sizeof *f);
    cv_frames_limit(f, max, budget);
}

void cv_frames_fini(struct cv_frames *f)
{
    free(f->data);
    memset(f, 0, sizeof *f);
}

void cv_frames_limit(struct cv_frames *f, size_t max, size_t budget)
{
    f->max = max < CV_FRAME_LEN_MAX ? max : CV_FRAME_LEN_MAX;
    f->budget = budget;
}

bool cv_frames_partial(const struct cv_frames *f)
{
    return f->header_len > 0 || f->need > 0;
}

/* Take one byte of the length; CV_OK also when more are to come. */
static int take_header(struct cv_frames *f, uint8_t byte)
{
    struct cv_reader r;
    uint64_t need;

    f->header[f->header_len++] = byte;
    if (byte & 0x80)
        return f->header_len < CV_FRAME_HEADER_MAX ? CV_OK : CV_ERR_FORMAT;
    cv_reader_init(&r, f->header, f->header_len);
    need = cv_get_varuint(&r);
    if (cv_reader_end(&r) != CV_OK || need == 0)
        return CV_ERR_FORMAT;
    if (need > f->max)
        return CV_ERR_LIMIT;
    f->need = (size_t)need;
    f->header_len = 0;
    return CV_OK;
}

/* Room for what has come and `more`, never beyond the message. */
static int make_room(struct cv_frames *f, size_t more)
{
    size_t cap = f->cap ? f->cap : 256;
    uint8_t *data;

    if (f->len + more <= f->cap)
        return CV_OK;
    while (cap < f->len + more)
        cap *= 2;
    if (cap > f->need && f->need >= f->len + more)
        cap = f->need;
    data = realloc(f->data, cap);
    if (data == NULL)
        return CV_ERR_NOMEM;
    f->data = data;
    f->cap = cap;
    return CV_OK;
}

/* The message data[len] is whole: hand it over. */
static int finish(struct cv_frames *f, struct cv_bytes message, cv_frame_fn fn,
                  void *user)
{
    uint8_t *big = f->cap > KEEP_BYTES ? f->data : NULL;
    int err;

    f->need = 0;
    f->len = 0;
    if (big != NULL) {
        f->data = NULL;
        f->cap = 0;
    }
    err = fn(user, message);
    free(big);
    return err;
}

int cv_frames_feed(struct cv_frames *f, struct cv_bytes in, cv_frame_fn fn,
                   void *user)
{
    size_t take;
    int err;

    while (in.len > 0) {
        if (f->need == 0) {
            if (f->budget == 0)
                return CV_ERR_LIMIT;
            if (f->budget != CV_FRAME_NO_BUDGET)
                f->budget--;
            err = take_header(f, in.data[0]);
            if (err != CV_OK)
                return err;
            in.data++;
            in.len--;
            if (f->need > f->budget)
                return CV_ERR_LIMIT;
            continue;
        }
        take = f->need - f->len < in.len ? f->need - f->len : in.len;
        if (f->budget != CV_FRAME_NO_BUDGET) {
            if (take > f->budget)
                return CV_ERR_LIMIT;
            f->budget -= take;
        }
        if (f->len == 0 && take == f->need) { /* whole: no copy */
            struct cv_bytes whole = {in.data, take};

            in.data += take;
            in.len -= take;
            f->need = 0;
            err = fn(user, whole);
            if (err != CV_OK)
                return err;
            continue;
        }
        err = make_room(f, take);
        if (err != CV_OK)
            return err;
        memcpy(f->data + f->len, in.data, take);
        f->len += take;
        in.data += take;
        in.len -= take;
        if (f->len < f->need)
            continue;
        err = finish(f, (struct cv_bytes){f->data, f->need}, fn, user);
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

int cv_put_frame(struct cv_writer *w, struct cv_bytes message)
{
    if (message.len == 0 || message.len > CV_FRAME_LEN_MAX)
        return CV_ERR_INVALID;
    return cv_put_varbytes(w, message.data, message.len);
}
