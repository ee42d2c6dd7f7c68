/* An answer as it comes, and (for one who knows the shared secret) its plain
 * bytes under a seal. */
#include "discovery/knock.h"

#include <string.h>

#define INNER_LEN (CV_ANSWER_BYTES - 5 - CV_SEAL_TAG)

static void take(const struct cv_reply *reply, const uint8_t *data, size_t len)
{
    const uint8_t eph[32] = {1}, box[32] = {2};
    const struct cv_key node = {{3}};
    struct cv_answer_raw raw;
    struct cv_answer a = {.counter = 0};

    if (cv_answer_open(&a, &raw, reply, CV_BYTES(data, len)) != CV_OK)
        return;
    if (a.verdict >= CV_ANSWER_VERDICTS || a.candidates.n > CV_CANDIDATES_MAX ||
        a.gates.n > CV_GATE_REFS_MAX || raw.signed_len + CV_SIG_LEN > raw.len)
        __builtin_trap();
    if (cv_answer_verify(&a, &raw, eph, box, &node) == CV_OK)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t shared[32] = {8};
    uint8_t value[CV_ANSWER_BYTES] = {1}, inner[INNER_LEN] = {0};
    const uint8_t nonce[CV_NONCE_LEN] = {0};
    struct cv_reply reply;

    cv_reply_of(&reply, shared);
    take(&reply, data, size);
    memcpy(inner, data, size < INNER_LEN ? size : INNER_LEN);
    cv_seal(value + 5, reply.key, nonce, CV_BYTES(reply.loc.b, CV_LOC_LEN),
            inner, INNER_LEN);
    take(&reply, value, sizeof(value));
    return 0;
}
