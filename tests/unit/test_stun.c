#include "base/crypto.h"
#include "tests/test.h"
#include "transport/stun.h"

static const uint8_t txid[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

/* RFC 5769, 2.1: SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME,
 * MESSAGE-INTEGRITY, FINGERPRINT. */
static const char request[] = "000100582112a442b7e7a701bc34d686fa87dfae"
                              "802200105354554e207465737420636c69656e74"
                              "002400046e0001ff"
                              "80290008932ff9b151263b36"
                              "000600096576746a3a68367659202020"
                              "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
                              "80280004e57a3bcf";
/* 2.2 and 2.3: the answers over IPv4 and IPv6. */
static const char answer4[] = "0101003c2112a442b7e7a701bc34d686fa87dfae"
                              "8022000b7465737420766563746f7220"
                              "002000080001a147e112a643"
                              "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
                              "80280004c07d4c96";
static const char answer6[] = "010100482112a442b7e7a701bc34d686fa87dfae"
                              "8022000b7465737420766563746f7220"
                              "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
                              "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
                              "80280004c8fb0b4c";
/* RFC 8489, B.1 as of erratum 6268: USERHASH, NONCE, REALM,
 * PASSWORD-ALGORITHM, MESSAGE-INTEGRITY-SHA256. */
static const char long_term[] =
    "000100902112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f733241414143662f2f343939"
    "6b39353464364f4c33346f4c394653547679363473"
    "41000000"
    "0014000b6578616d706c652e6f726700"
    "001d000400020000"
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";

static size_t unhex(uint8_t *out, const char *text)
{
    size_t len = strlen(text) / 2;

    REQUIRE(cv_unhex(out, len, text) == CV_OK);
    return len;
}

TEST(the_vectors_of_rfc_5769_are_read)
{
    struct cv_addr a4, a6;
    struct cv_stun m;
    uint8_t b[256];
    size_t len;

    len = unhex(b, request);
    CHECK_EQ(cv_stun_parse(&m, b, len), CV_OK);
    CHECK_EQ(m.type, CV_STUN_REQUEST);
    CHECK_EQ(m.username.len, 9);
    CHECK_MEM(m.username.data, "evtj:h6vY", 9);
    CHECK_EQ(m.software.len, 16);
    CHECK_MEM(m.software.data, "STUN test client", 16);
    CHECK(m.has_priority);
    CHECK_EQ(m.priority, 0x6e0001ff);
    CHECK(m.fingerprint);
    CHECK_EQ(m.n_unknown, 0);

    len = unhex(b, answer4);
    CHECK_EQ(cv_addr_parse(&a4, "192.0.2.1:32853", 0), CV_OK);
    CHECK_EQ(cv_stun_parse(&m, b, len), CV_OK);
    CHECK_EQ(m.type, CV_STUN_SUCCESS);
    CHECK(cv_addr_equal(&m.mapped, &a4));

    len = unhex(b, answer6);
    CHECK_EQ(
        cv_addr_parse(&a6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853", 0),
        CV_OK);
    CHECK_EQ(cv_stun_parse(&m, b, len), CV_OK);
    CHECK(cv_addr_equal(&m.mapped, &a6));
}

TEST(the_sha256_vector_of_rfc_8489_verifies)
{
    static const char secret[] =
        "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf"
        "\xe3\x82\xb9:example.org:TheMatrIX";
    const struct cv_bytes part = CV_LITERAL(secret);
    struct cv_stun m;
    uint8_t b[256], key[CV_HASH_LEN];
    size_t len = unhex(b, long_term);

    cv_sha256(key, &part, 1);
    CHECK_EQ(cv_stun_parse(&m, b, len), CV_OK);
    CHECK_EQ(m.n_unknown, 0);
    CHECK_EQ(m.mac.len, 32);
    CHECK(cv_stun_verify(&m, key, sizeof key));
    for (size_t i = 0; i < len - 36; i++) {
        /* Every bit before the MAC counts, padding too. */
        if (i == 2 || i == 3)
            continue; /* the length: does not parse */
        b[i] ^= 0x10;
        if (cv_stun_parse(&m, b, len) == CV_OK)
            CHECK(!cv_stun_verify(&m, key, sizeof key));
        b[i] ^= 0x10;
    }
}

static size_t sample(uint8_t *out, size_t cap)
{
    struct cv_addr a = cv_addr_ipv4(0x05060708, 4242);
    struct cv_writer w;

    cv_writer_init(&w, out, cap);
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    cv_stun_put(&w, CV_STUN_USERNAME, "12345678", 8);
    cv_stun_put_u32(&w, CV_STUN_PATH_ID, 7);
    cv_stun_put_u64(&w, CV_STUN_SEND_TIME, UINT64_C(0x0123456789abcdef));
    cv_stun_put_u32(&w, CV_STUN_NETWORK_COST, 900);
    cv_stun_put_addr(&w, CV_STUN_OTHER_ADDRESS, &a);
    cv_stun_put_addr(&w, CV_STUN_RESPONSE_ORIGIN, &a);
    cv_stun_put_xor_addr(&w, &a);
    cv_stun_put(&w, CV_STUN_SOFTWARE, "abc", 3);
    cv_stun_put_integrity(&w, txid, sizeof txid, CV_STUN_MAC_SHORT);
    cv_stun_put_fingerprint(&w);
    REQUIRE(w.err == CV_OK);
    return w.len;
}

TEST(what_is_written_is_read)
{
    struct cv_addr a = cv_addr_ipv4(0x05060708, 4242);
    struct cv_stun m;
    uint8_t b[256];
    size_t len = sample(b, sizeof b);

    CHECK_EQ(cv_stun_parse(&m, b, len), CV_OK);
    CHECK_MEM(m.txid, txid, 12);
    CHECK_MEM(m.username.data, "12345678", 8);
    CHECK(m.has_path_id && m.has_send_time && m.has_cost);
    CHECK_EQ(m.path_id, 7);
    CHECK(m.send_time == UINT64_C(0x0123456789abcdef));
    CHECK_EQ(m.cost, 900);
    CHECK(cv_addr_equal(&m.mapped, &a));
    CHECK(cv_addr_equal(&m.other, &a));
    CHECK(cv_addr_equal(&m.origin, &a));
    CHECK_EQ(m.software.len, 3);
    CHECK(m.fingerprint);
    CHECK(cv_stun_verify(&m, txid, sizeof txid));
    CHECK(!cv_stun_verify(&m, txid, sizeof txid - 1));
}

TEST(every_truncation_and_every_flipped_bit_is_refused)
{
    struct cv_stun m;
    uint8_t b[256];
    size_t len = sample(b, sizeof b);

    for (size_t n = 0; n < len; n++) {
        uint8_t *copy = malloc(n ? n : 1);

        memcpy(copy, b, n);
        CHECK(cv_stun_parse(&m, copy, n) != CV_OK);
        free(copy);
    }
    /* The fingerprint covers everything. */
    for (size_t bit = 0; bit < 8 * len; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* Unless the attribute itself is hidden; then the MAC decides. */
        if (cv_stun_parse(&m, b, len) == CV_OK) {
            CHECK(!m.fingerprint);
            if (bit / 8 < len - 8)
                CHECK(!cv_stun_verify(&m, txid, sizeof txid));
        }
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

TEST(every_short_buffer_is_reported)
{
    uint8_t b[256];
    size_t len = sample(b, sizeof b);

    for (size_t cap = 0; cap < len; cap++) {
        uint8_t *small = malloc(cap ? cap : 1);
        struct cv_writer w;

        cv_writer_init(&w, small, cap);
        cv_stun_begin(&w, CV_STUN_REQUEST, txid);
        cv_stun_put(&w, CV_STUN_USERNAME, b, len);
        cv_stun_put_integrity(&w, txid, sizeof txid, CV_STUN_MAC_FULL);
        CHECK_EQ(cv_stun_put_fingerprint(&w), CV_ERR_NOBUF);
        free(small);
    }
}

TEST(unknown_attributes_follow_the_rule)
{
    struct cv_stun m;
    struct cv_writer w;
    uint8_t b[256];

    cv_writer_init(&w, b, sizeof b);
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    for (unsigned i = 0; i < 12; i++) {
        cv_stun_put(&w, (enum cv_stun_attr)(0x7000 + i), "x", 1);
        cv_stun_put(&w, (enum cv_stun_attr)(0x9000 + i), "x", 1);
    }
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_OK);
    CHECK_EQ(m.n_unknown, 12);
    CHECK_EQ(m.unknown[0], 0x7000);
    CHECK_EQ(m.unknown[CV_STUN_UNKNOWN - 1], 0x7000 + CV_STUN_UNKNOWN - 1);
}

TEST(nothing_behind_the_mac_counts)
{
    struct cv_addr a = cv_addr_ipv4(0x01020304, 5);
    struct cv_stun m;
    struct cv_writer w;
    uint8_t b[256];

    cv_writer_init(&w, b, sizeof b);
    cv_stun_begin(&w, CV_STUN_SUCCESS, txid);
    cv_stun_put_integrity(&w, txid, sizeof txid, CV_STUN_MAC_FULL);
    cv_stun_put_xor_addr(&w, &a);
    cv_stun_put_u32(&w, CV_STUN_PATH_ID, 9);
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_OK);
    CHECK_EQ(m.mapped.family, CV_FAMILY_NONE);
    CHECK(!m.has_path_id);
    CHECK(cv_stun_verify(&m, txid, sizeof txid));
}

TEST(other_methods_lengths_and_fingerprints_are_refused)
{
    static const uint8_t short_mac[] = {0, 0x1c, 0, 12, 1, 2,  3,  4,
                                        5, 6,    7, 8,  9, 10, 11, 12};
    struct cv_stun m;
    struct cv_writer w;
    uint8_t b[256];

    cv_writer_init(&w, b, sizeof b);
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_OK);
    b[1] = 3; /* Allocate */
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_ERR_FORMAT);
    b[1] = 1;
    b[3] = 4;
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_ERR_FORMAT);
    b[3] = 0;
    b[7] = 0;
    CHECK(!cv_stun_is(b, w.len));
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_ERR_FORMAT);

    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    cv_stun_put(&w, CV_STUN_FINGERPRINT, "abcd", 4);
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_ERR_FORMAT);

    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    cv_put_raw(&w, short_mac, sizeof short_mac);
    b[3] = sizeof short_mac;
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_ERR_FORMAT);
}

TEST(errors_carry_their_code_and_what_was_not_understood)
{
    struct cv_stun m, n;
    struct cv_writer w;
    uint8_t b[256], c[256];

    cv_writer_init(&w, b, sizeof b);
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    cv_stun_put(&w, (enum cv_stun_attr)0x7abc, "", 0);
    CHECK_EQ(cv_stun_parse(&m, b, w.len), CV_OK);
    cv_writer_init(&w, c, sizeof c);
    cv_stun_begin(&w, CV_STUN_ERROR, txid);
    cv_stun_put_error(&w, 420, "Unknown Attribute");
    cv_stun_put_unknown(&w, &m);
    CHECK_EQ(cv_stun_parse(&n, c, w.len), CV_OK);
    CHECK_EQ(n.type, CV_STUN_ERROR);
    CHECK_EQ(n.error, 420);
    CHECK_EQ(c[w.len - 4], 0x7a);
    CHECK_EQ(c[w.len - 3], 0xbc);
}

RUN_TESTS(T(the_vectors_of_rfc_5769_are_read),
          T(the_sha256_vector_of_rfc_8489_verifies), T(what_is_written_is_read),
          T(every_truncation_and_every_flipped_bit_is_refused),
          T(every_short_buffer_is_reported),
          T(unknown_attributes_follow_the_rule),
          T(nothing_behind_the_mac_counts),
          T(other_methods_lengths_and_fingerprints_are_refused),
          T(errors_carry_their_code_and_what_was_not_understood))
