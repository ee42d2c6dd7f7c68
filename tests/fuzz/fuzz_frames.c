/* Any bytes as a stream of frames, in two different cuts: both give the same
 * messages and the same end, within the bounds. */
#include "session/frame.h"

#include "base/crypto.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX    5000u
#define BUDGET 20000u

struct seen {
    size_t n, bytes;
    uint32_t crc;
};

static int take(void *user, struct cv_bytes m)
{
    struct seen *s = user;

    if (m.len == 0 || m.len > MAX)
        abort();
    s->n++;
    s->bytes += m.len;
    s->crc = s->crc * 31 + cv_crc32(m.data, m.len);
    return CV_OK;
}

static int feed(const uint8_t *data, size_t size, size_t cut, struct seen *s)
{
    struct cv_frames f;
    int err = CV_OK;

    cv_frames_init(&f, MAX, BUDGET);
    for (size_t at = 0; at < size && err == CV_OK; at += cut)
        err = cv_frames_feed(
            &f, (struct cv_bytes){data + at, size - at < cut ? size - at : cut},
            take, s);
    if (f.cap > 2 * MAX)
        abort();
    cv_frames_fini(&f);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen a = {0}, b = {0};
    size_t cut;
    int err;

    if (size < 2)
        return 0;
    cut = 1 + data[0];
    err = feed(data + 1, size - 1, size, &a);
    if (feed(data + 1, size - 1, cut, &b) != err || a.n != b.n ||
        a.bytes != b.bytes || a.crc != b.crc || a.bytes > BUDGET)
        abort();
    return 0;
}
