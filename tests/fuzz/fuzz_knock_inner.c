/* The plain bytes of a knock; what is understood comes out again. */
#include "discovery/knock.h"

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
    const struct cv_rng rng = {fill, NULL};
    const struct cv_loc inbox = {{3}};
    const uint8_t secret[32] = {4}, box_secret[32] = {5};
    struct cv_knock_raw raw = {.len = 0}, again;
    struct cv_knock k, q;
    uint8_t value[CV_KNOCK_BYTES], box[32];

    if (node.pub.b[0] == 0 && cv_keypair_generate(&node, &rng) != CV_OK)
        return 0;
    if (size > sizeof(raw.data))
        size = sizeof(raw.data);
    memcpy(raw.data, data, size);
    raw.len = size;
    if (cv_knock_parse(&k, &raw) != CV_OK)
        return 0;
    if (raw.signed_len + CV_SIG_LEN > raw.len)
        __builtin_trap();
    cv_x25519_public(box, box_secret);
    k.again = false;
    if (cv_knock_seal(value, &k, &inbox, secret, box, &node, 0) != CV_OK)
        return 0;
    if (cv_knock_open(&q, &again, &inbox, box_secret, box,
                      CV_BYTES(value, sizeof(value))) != CV_OK ||
        q.ptr_seq != k.ptr_seq || q.proof != k.proof ||
        strcmp(q.name, k.name) != 0 || q.candidates.n > k.candidates.n ||
        q.candidates.nat != k.candidates.nat)
        __builtin_trap();
    return 0;
}
