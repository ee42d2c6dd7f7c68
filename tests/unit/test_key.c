#include "base/key.h"
#include "tests/test.h"

static const struct {
    const char *seed, *pub, *message, *sig;
} rfc_8032[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb882159"
     "0a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43"
     "e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538"
     "d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
};

TEST(signatures_are_those_of_rfc_8032)
{
    for (size_t i = 0; i < sizeof(rfc_8032) / sizeof(rfc_8032[0]); i++) {
        uint8_t seed[32], message[2], sig[CV_SIG_LEN];
        size_t len = strlen(rfc_8032[i].message) / 2;
        struct cv_bytes parts[] = {{message, len}};
        struct cv_keypair key;
        char text[2 * CV_SIG_LEN + 1];

        REQUIRE(cv_unhex(seed, 32, rfc_8032[i].seed) == CV_OK);
        REQUIRE(cv_unhex(message, len, rfc_8032[i].message) == CV_OK);
        CHECK_EQ(cv_keypair_from_seed(&key, seed), CV_OK);
        CHECK_MEM(key.seed, seed, 32);
        cv_hex(text, key.pub.b, CV_KEY_LEN);
        CHECK_STR(text, rfc_8032[i].pub);
        CHECK_EQ(cv_sign(sig, &key, parts, 1), CV_OK);
        cv_hex(text, sig, CV_SIG_LEN);
        CHECK_STR(text, rfc_8032[i].sig);
        CHECK_EQ(cv_verify(&key.pub, sig, parts, 1), CV_OK);
    }
}

TEST(parts_are_one_message)
{
    struct cv_bytes one[] = {CV_LITERAL("covim")};
    struct cv_bytes three[] = {CV_LITERAL("co"), {NULL, 0}, CV_LITERAL("vim")};
    struct cv_bytes other[] = {CV_LITERAL("co"), CV_LITERAL("vin")};
    struct cv_keypair key;
    uint8_t sig[CV_SIG_LEN];

    CHECK_EQ(cv_keypair_generate(&key, &cv_rng_system), CV_OK);
    CHECK_EQ(cv_sign(sig, &key, three, 3), CV_OK);
    CHECK_EQ(cv_verify(&key.pub, sig, one, 1), CV_OK);
    CHECK_EQ(cv_verify(&key.pub, sig, other, 2), CV_ERR_AUTH);
    CHECK_EQ(cv_verify(&key.pub, sig, NULL, 0), CV_ERR_AUTH);
    CHECK_EQ(cv_sign(sig, &key, NULL, 0), CV_OK);
    CHECK_EQ(cv_verify(&key.pub, sig, NULL, 0), CV_OK);
}

TEST(every_changed_bit_is_noticed)
{
    struct cv_bytes parts[] = {CV_LITERAL("message")};
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 3);
    struct cv_keypair key, other;
    uint8_t sig[CV_SIG_LEN];

    CHECK_EQ(cv_keypair_generate(&key, &rng), CV_OK);
    CHECK_EQ(cv_keypair_generate(&other, &rng), CV_OK);
    CHECK(!cv_key_equal(&key.pub, &other.pub));
    CHECK_EQ(cv_sign(sig, &key, parts, 1), CV_OK);
    CHECK_EQ(cv_verify(&other.pub, sig, parts, 1), CV_ERR_AUTH);
    for (int bit = 0; bit < 8 * CV_SIG_LEN; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ(cv_verify(&key.pub, sig, parts, 1), CV_ERR_AUTH);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (int bit = 0; bit < 8 * CV_KEY_LEN; bit++) {
        struct cv_key changed = key.pub;

        changed.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ(cv_verify(&changed, sig, parts, 1), CV_ERR_AUTH);
    }
    CHECK_EQ(cv_verify(&key.pub, sig, parts, 1), CV_OK);
}

TEST(the_second_form_of_a_signature_is_refused)
{
    /* S + L instead of S (RFC 8032, 5.1.7). */
    static const uint8_t order[32] = {
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
        0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    struct cv_bytes parts[] = {CV_LITERAL("message")};
    struct cv_keypair key;
    uint8_t sig[CV_SIG_LEN];
    unsigned carry = 0;

    CHECK_EQ(cv_keypair_generate(&key, &cv_rng_system), CV_OK);
    CHECK_EQ(cv_sign(sig, &key, parts, 1), CV_OK);
    for (int i = 0; i < 32; i++) {
        carry += (unsigned)sig[32 + i] + order[i];
        sig[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    CHECK_EQ(carry, 0);
    CHECK_EQ(cv_verify(&key.pub, sig, parts, 1), CV_ERR_AUTH);
}

TEST(keys_that_are_no_points_are_refused)
{
    struct cv_bytes parts[] = {CV_LITERAL("message")};
    uint8_t sig[CV_SIG_LEN] = {0};
    struct cv_key key;

    memset(key.b, 0xff, sizeof(key.b));
    CHECK_EQ(cv_verify(&key, sig, parts, 1), CV_ERR_AUTH);
    memset(key.b, 0, sizeof(key.b));
    key.b[0] = 2;
    CHECK_EQ(cv_verify(&key, sig, parts, 1), CV_ERR_AUTH);
}

TEST(keys_have_an_order_and_a_short_name)
{
    struct cv_key a = {{0x01, 0xab, 0xcd, 0xef, 0x55}}, b = a;
    char text[9];

    CHECK(cv_key_equal(&a, &b));
    CHECK_EQ(cv_key_compare(&a, &b), 0);
    b.b[31] = 1;
    CHECK(!cv_key_equal(&a, &b));
    CHECK(cv_key_compare(&a, &b) < 0);
    CHECK(cv_key_compare(&b, &a) > 0);
    CHECK_STR(cv_key_short(&a, text), "01abcdef");
}

RUN_TESTS(T(signatures_are_those_of_rfc_8032), T(parts_are_one_message),
          T(every_changed_bit_is_noticed),
          T(the_second_form_of_a_signature_is_refused),
          T(keys_that_are_no_points_are_refused),
          T(keys_have_an_order_and_a_short_name))
