/* Values in our inbox, as the DHT and a gate deliver them: first the input as
 * it is, then sealed by one who read our pointer. */
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

static void check(int err, const struct cv_inbox_taken *t)
{
    const struct cv_knock *k = &t->knock;

    if (err == CV_OK &&
        (t->attempt == NULL || k->candidates.n > CV_KNOCK_CANDIDATES ||
         k->gates.n > CV_KNOCK_GATES ||
         memchr(k->name, 0, sizeof(k->name)) == 0))
        __builtin_trap();
}

static void take(unsigned slot, struct cv_bytes value)
{
    struct cv_inbox_taken t;

    check(cv_inbox_take(&in, &in.offices[0], slot, value, 0, NOW, &t), &t);
}

static void ring(unsigned slot, struct cv_bytes value)
{
    const uint8_t *room = in.moved[0].room;
    struct cv_inbox_taken t;

    check(cv_inbox_take_ring(&in, room, slot, value, 0, NOW, &t), &t);
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
    take(0, CV_BYTES(data, size));

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
    take(1, CV_BYTES(value, sizeof(value)));

    cv_inbox_move(&in, o);
    memset(in.seen, 0, sizeof(in.seen));
    ring(0, CV_BYTES(data, size));
    ring(1, CV_BYTES(value, sizeof(value)));
    return 0;
}
