#include "discovery/location.h"

#include <string.h>

/* Big-endian, as every integer that is hashed. */
static void put_u64(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

void cv_root_of(struct cv_root *out, const struct cv_key *session)
{
    cv_hkdf(out->b, sizeof(out->b), CV_LITERAL("covim share 1"),
            CV_BYTES(session->b, sizeof(session->b)), NULL, 0);
}

uint64_t cv_epoch_at(cv_unix_ms now)
{
    return now / 1000 / CV_EPOCH_S;
}

bool cv_epoch_ending(cv_unix_ms now)
{
    return now / 1000 % CV_EPOCH_S >= CV_EPOCH_S - CV_EPOCH_OVERLAP_S;
}

void cv_place_at(struct cv_place *out, const struct cv_root *root,
                 uint64_t epoch)
{
    const struct cv_bytes prk = CV_BYTES(root->b, sizeof(root->b));
    const struct cv_bytes none = {NULL, 0};
    uint8_t e[8];

    put_u64(e, epoch);
    out->epoch = epoch;
    cv_hkdf(out->loc.b, sizeof(out->loc.b), none, prk,
            (const struct cv_bytes[]){CV_LITERAL("ptr loc"), CV_BYTES(e, 8)},
            2);
    cv_hkdf(out->key, sizeof(out->key), none, prk,
            (const struct cv_bytes[]){CV_LITERAL("ptr key"), CV_BYTES(e, 8)},
            2);
}

void cv_inbox_loc(struct cv_loc *out, const struct cv_root *root,
                  uint64_t epoch, const struct cv_key *node,
                  const uint8_t salt[CV_INBOX_SALT], unsigned slot)
{
    const struct cv_bytes none = {NULL, 0};
    const uint8_t s = (uint8_t)(slot % CV_INBOX_SLOTS);
    uint8_t e[8];

    put_u64(e, epoch);
    cv_hkdf(out->b, sizeof(out->b), none, CV_BYTES(root->b, sizeof(root->b)),
            (const struct cv_bytes[]){CV_LITERAL("inbox"), CV_BYTES(e, 8),
                                      CV_BYTES(node->b, sizeof(node->b)),
                                      CV_BYTES(salt, CV_INBOX_SALT),
                                      CV_BYTES(&s, 1)},
            5);
}

void cv_room_key(uint8_t out[CV_ROOM_KEY], const struct cv_root *root,
                 uint64_t epoch)
{
    const struct cv_bytes none = {NULL, 0};
    uint8_t e[8];

    put_u64(e, epoch);
    cv_hkdf(out, CV_ROOM_KEY, none, CV_BYTES(root->b, sizeof(root->b)),
            (const struct cv_bytes[]){CV_LITERAL("room"), CV_BYTES(e, 8)}, 2);
}

unsigned cv_inbox_slot(const struct cv_key *knocker)
{
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, &CV_BYTES(knocker->b, sizeof(knocker->b)), 1);
    return hash[0] % CV_INBOX_SLOTS;
}

void cv_reply_of(struct cv_reply *out, const uint8_t shared[32])
{
    const struct cv_bytes none = {NULL, 0};

    cv_hkdf(out->loc.b, sizeof(out->loc.b), none, CV_BYTES(shared, 32),
            &CV_LITERAL("reply loc"), 1);
    cv_hkdf(out->key, sizeof(out->key), none, CV_BYTES(shared, 32),
            &CV_LITERAL("reply"), 1);
}

bool cv_loc_equal(const struct cv_loc *a, const struct cv_loc *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
