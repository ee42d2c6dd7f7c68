/* The plain bytes of a pointer; what is understood comes out again. */
#include "discovery/pointer.h"

#include <string.h>

static void fill(void *user, void *out, size_t len)
{
    (void)user;
    memset(out, 7, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cv_keypair node;
    static struct cv_place place;
    const struct cv_rng rng = {fill, NULL};
    struct cv_pointer_raw raw, again;
    struct cv_pointer p, q;
    uint8_t value[CV_POINTER_MAX];
    size_t len;

    if (node.pub.b[0] == 0 && cv_keypair_generate(&node, &rng) != CV_OK)
        return 0;
    if (size > sizeof(raw.data))
        size = sizeof(raw.data);
    memcpy(raw.data, data, size);
    raw.len = size;
    if (cv_pointer_parse(&p, &raw) != CV_OK)
        return 0;
    if (raw.signed_len + CV_SIG_LEN > raw.len)
        __builtin_trap();
    if (cv_pointer_seal(value, &len, &p, &place, &node, &rng) != CV_OK)
        return 0;
    if (cv_pointer_open(&q, &again, &place, CV_BYTES(value, len)) != CV_OK ||
        q.seq != p.seq || q.flags != p.flags || q.grants.n != p.grants.n ||
        q.candidates.n > p.candidates.n || q.gates.n != p.gates.n)
        __builtin_trap();
    return 0;
}
