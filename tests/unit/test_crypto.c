#include "base/crypto.h"
#include "tests/test.h"

/* Hex to bytes in one of a few static buffers. */
static struct cv_bytes hex(const char *text)
{
    static uint8_t storage[8][256];
    static unsigned next;
    uint8_t *out = storage[next++ % 8];
    size_t len = strlen(text) / 2;

    REQUIRE(len <= sizeof(storage[0]));
    REQUIRE(cv_unhex(out, len, text) == CV_OK);
    return CV_BYTES(out, len);
}

#define CHECK_HEX(got, want)                                                   \
    do {                                                                       \
        char text_[2 * 256 + 1];                                               \
        cv_hex(text_, got, strlen(want) / 2);                                  \
        CHECK_STR(text_, want);                                                \
    } while (0)

TEST(sha256_takes_parts)
{
    uint8_t out[CV_HASH_LEN];
    struct cv_bytes parts[] = {CV_LITERAL("a"), CV_LITERAL(""),
                               CV_LITERAL("bc")};

    cv_sha256(out, parts, 3); /* FIPS 180-4 */
    CHECK_HEX(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
                   "f20015ad");
    cv_sha256(out, NULL, 0);
    CHECK_HEX(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b"
                   "7852b855");
}

TEST(hmac_is_that_of_rfc_4231)
{
    uint8_t out[CV_HASH_LEN];
    struct cv_bytes parts[] = {CV_LITERAL("what do ya want "),
                               CV_LITERAL("for nothing?")};

    cv_hmac_sha256(out, (const uint8_t *)"Jefe", 4, parts, 2);
    CHECK_HEX(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b9"
                   "64ec3843");
}

TEST(hkdf_is_that_of_rfc_5869)
{
    static const char ikm1[] = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
    uint8_t out[82], prk[32], ikm[80], salt[80], info[80];
    struct cv_bytes parts[2];

    parts[0] = hex("f0f1f2");
    parts[1] = hex("f3f4f5f6f7f8f9");
    cv_hkdf(out, 42, hex("000102030405060708090a0b0c"), hex(ikm1), parts, 2);
    CHECK_HEX(out, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56"
                   "ecc4c5bf34007208d5b887185865");

    memcpy(prk,
           hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2"
               "b3e5")
               .data,
           32);
    memset(out, 0, sizeof(out));
    cv_hkdf_expand(out, 42, prk, parts, 2);
    CHECK_HEX(out, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56"
                   "ecc4c5bf34007208d5b887185865");

    for (int i = 0; i < 80; i++) {
        ikm[i] = (uint8_t)i;
        salt[i] = (uint8_t)(0x60 + i);
        info[i] = (uint8_t)(0xb0 + i);
    }
    parts[0] = CV_BYTES(info, 80);
    cv_hkdf(out, 82, CV_BYTES(salt, 80), CV_BYTES(ikm, 80), parts, 1);
    CHECK_HEX(out, "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c"
                   "19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8"
                   "367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");

    cv_hkdf(out, 42, CV_LITERAL(""), hex(ikm1), NULL, 0);
    CHECK_HEX(out, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f"
                   "3c738d2d9d201395faa4b61a96c8");
}

TEST(hkdf_gives_as_much_as_it_may)
{
    uint8_t longest[255 * 32], shorter[100];

    cv_hkdf(longest, sizeof(longest), CV_LITERAL("s"), CV_LITERAL("k"), NULL,
            0);
    cv_hkdf(shorter, sizeof(shorter), CV_LITERAL("s"), CV_LITERAL("k"), NULL,
            0);
    CHECK_MEM(longest, shorter, sizeof(shorter));
    CHECK(memcmp(longest + 254 * 32, longest + 253 * 32, 32) != 0);
}

static const char sunscreen[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one "
    "tip for the future, sunscreen would be it.";

TEST(sealing_is_that_of_rfc_8439)
{
    const size_t len = sizeof(sunscreen) - 1;
    uint8_t key[32], nonce[12], out[256];
    struct cv_bytes aad = hex("50515253c0c1c2c3c4c5c6c7");

    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)(0x80 + i);
    memcpy(nonce, hex("070000004041424344454647").data, 12);
    cv_seal(out, key, nonce, aad, (const uint8_t *)sunscreen, len);
    CHECK_HEX(out, "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a7"
                   "36ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
                   "05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4"
                   "fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b"
                   "6116"
                   "1ae10b594f09e26a7e902ecbd0600691");
    CHECK_EQ(cv_open(out, key, nonce, aad, out, len + CV_SEAL_TAG), CV_OK);
    CHECK_MEM(out, sunscreen, len);
}

TEST(whatever_was_changed_does_not_open)
{
    static const uint8_t zeros[64];
    uint8_t key[32] = {1}, nonce[12] = {2}, sealed[64 + CV_SEAL_TAG], out[64];
    struct cv_bytes aad = CV_LITERAL("aad");

    memset(out, 5, sizeof(out));
    cv_seal(sealed, key, nonce, aad, out, sizeof(out));
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 0x10;
        memset(out, 7, sizeof(out));
        CHECK_EQ(cv_open(out, key, nonce, aad, sealed, sizeof(sealed)),
                 CV_ERR_AUTH);
        CHECK_MEM(out, zeros, sizeof(out));
        sealed[i] ^= 0x10;
    }
    for (size_t len = 0; len < sizeof(sealed); len++)
        CHECK_EQ(cv_open(out, key, nonce, aad, sealed, len), CV_ERR_AUTH);
    CHECK_EQ(
        cv_open(out, key, nonce, CV_LITERAL("abd"), sealed, sizeof(sealed)),
        CV_ERR_AUTH);
    nonce[11] ^= 1;
    CHECK_EQ(cv_open(out, key, nonce, aad, sealed, sizeof(sealed)),
             CV_ERR_AUTH);
    nonce[11] ^= 1;
    key[31] ^= 1;
    CHECK_EQ(cv_open(out, key, nonce, aad, sealed, sizeof(sealed)),
             CV_ERR_AUTH);
    key[31] ^= 1;
    CHECK_EQ(cv_open(out, key, nonce, aad, sealed, sizeof(sealed)), CV_OK);
    CHECK_EQ(out[63], 5);

    /* Nothing but a tag. */
    cv_seal(sealed, key, nonce, aad, NULL, 0);
    CHECK_EQ(cv_open(out, key, nonce, aad, sealed, CV_SEAL_TAG), CV_OK);
}

TEST(x25519_is_that_of_rfc_7748)
{
    static const struct {
        const char *scalar, *u, *out;
    } cases[] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
    };
    static const char alice[] =
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    static const char bob[] =
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
    uint8_t a[32], b[32], out[32];

    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(
            cv_x25519(out, hex(cases[i].scalar).data, hex(cases[i].u).data),
            CV_OK);
        CHECK_HEX(out, cases[i].out);
    }
    cv_x25519_public(a, hex(alice).data);
    CHECK_HEX(a, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b"
                 "4e6a");
    cv_x25519_public(b, hex(bob).data);
    CHECK_HEX(b, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f88"
                 "2b4f");
    CHECK_EQ(cv_x25519(out, hex(alice).data, b), CV_OK);
    CHECK_HEX(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e"
                   "161742");
    CHECK_EQ(cv_x25519(out, hex(bob).data, a), CV_OK);
    CHECK_HEX(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e"
                   "161742");
}

TEST(points_of_small_order_agree_on_nothing)
{
    /* RFC 7748, 6.1: those that give zero. */
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    const uint8_t secret[32] = {1, 2, 3};
    uint8_t out[32];

    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        CHECK_EQ(cv_x25519(out, secret, hex(points[i]).data), CV_ERR_AUTH);
}

TEST(randomness_differs_and_a_seed_repeats)
{
    struct cv_rng_seeded s1, s2;
    struct cv_rng a = cv_rng_from_seed(&s1, 42), b = cv_rng_from_seed(&s2, 42);
    uint8_t x[33], y[33], zeros[33] = {0};

    cv_random(&cv_rng_system, x, sizeof(x));
    cv_random(&cv_rng_system, y, sizeof(y));
    CHECK(memcmp(x, y, sizeof(x)) != 0);
    CHECK(memcmp(x, zeros, sizeof(x)) != 0);
    CHECK(cv_random_u64(&cv_rng_system) != cv_random_u64(&cv_rng_system));
    cv_random(&cv_rng_system, NULL, 0);

    cv_random(&a, x, sizeof(x));
    cv_random(&b, y, sizeof(y));
    CHECK_MEM(x, y, sizeof(x));
    CHECK_EQ(cv_random_u64(&a), cv_random_u64(&b));
    /* splitmix64 of seed 1234567, as published with it. */
    a = cv_rng_from_seed(&s1, 1234567);
    CHECK(cv_random_u64(&a) == UINT64_C(6457827717110365317));
    CHECK(cv_random_u64(&a) == UINT64_C(3203168211198807973));
}

TEST(wiping_and_comparing)
{
    uint8_t a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 5};

    CHECK(cv_equal(a, a, 4));
    CHECK(!cv_equal(a, b, 4));
    CHECK(cv_equal(a, b, 3));
    cv_wipe(a, 3);
    CHECK_MEM(a, "\0\0\0\4", 4);
}

TEST(crc32_is_zlibs)
{
    CHECK_EQ(cv_crc32("123456789", 9), 0xcbf43926);
    CHECK_EQ(cv_crc32(NULL, 0), 0);
}

RUN_TESTS(T(sha256_takes_parts), T(hmac_is_that_of_rfc_4231),
          T(hkdf_is_that_of_rfc_5869), T(hkdf_gives_as_much_as_it_may),
          T(sealing_is_that_of_rfc_8439), T(whatever_was_changed_does_not_open),
          T(x25519_is_that_of_rfc_7748),
          T(points_of_small_order_agree_on_nothing),
          T(randomness_differs_and_a_seed_repeats), T(wiping_and_comparing),
          T(crc32_is_zlibs))
