/* Values in our inbox, as the DHT delivers them: first the input as it is,
 * then sealed by one who read our pointer. */
#include "discovery/inbox.h"

#include <string.h>

#define NOW       UINT64_C(1749989400)
#define INNER_LEN (CV_KNOCK_BYTES - 41 - CV_SEAL_TAG)

static struct cv_inbox in;

static void fill(void *user, void *out, size_t len)
{
    (void)user;
    memset(out, 0x42, len);
}

static void take(unsigned slot, const uint8_t *data, size_t len)
{
    struct cv_attempt *a = NULL;
    struct cv_knock k;
    bool update;
    const int err = cv_inbox_take(&in, &in.offices[0], slot,
                                  CV_BYTES(data, len), 0, NOW, &k, &a, &update);

    if (err == CV_OK &&
        (a == NULL || k.candidates.n > CV_KNOCK_CANDIDATES ||
         k.gates.n > CV_KNOCK_GATES || memchr(k.name, 0, sizeof(k.name)) == 0))
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cv_rng rng = {fill, NULL};
    const struct cv_bytes none = {NULL, 0};
    const struct cv_root root = {{1}};
    const struct cv_key node = {{2}};
    uint8_t value[CV_KNOCK_BYTES] = {1}, inner[INNER_LEN] = {0};
    uint8_t secret[32] = {9}, shared[32], key[32], aad[CV_LOC_LEN + 33];
    const uint8_t nonce[CV_NONCE_LEN] = {0};
    struct cv_office *o;

    cv_inbox_init(&in, &root, &node);
    o = cv_inbox_open(&in, &in.offices[0], NOW / CV_EPOCH_S, &rng);
    cv_office_named(o, CV_BYTES("pointer", 7), NOW + 900, 0);
    take(0, data, size);

    cv_x25519_public(value + 1, secret);
    if (cv_x25519(shared, secret, o->box) != CV_OK)
        return 0;
    cv_hkdf(key, sizeof(key), none, CV_BYTES(shared, 32),
            (const struct cv_bytes[]){CV_LITERAL("covim join"),
                                      CV_BYTES(value + 1, 32),
                                      CV_BYTES(o->box, 32)},
            3);
    memcpy(aad, o->loc[1].b, CV_LOC_LEN);
    memcpy(aad + CV_LOC_LEN, value, 33);
    memcpy(inner, data, size < INNER_LEN ? size : INNER_LEN);
    /* A digest that counts, so that it goes further. */
    memcpy(inner + 24, o->pointers[0].digest, CV_DIGEST_LEN);
    cv_seal(value + 41, key, nonce, CV_BYTES(aad, sizeof(aad)), inner,
            INNER_LEN);
    take(1, value, sizeof(value));
    return 0;
}
