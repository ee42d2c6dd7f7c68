/* PCP and NAT-PMP bytes: vectors made by hand from the drawings of RFC 6887
 * and RFC 6886, every truncation, and what is not ours. */
#include "tests/test.h"
#include "transport/pcp.h"

static const struct cv_pcp_request request = {
    .proto = CV_PCP_UDP,
    .nonce = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
    .internal = 40000,
    .external = {.family = CV_FAMILY_IPV4,
                 .port = 40001,
                 .ip = {198, 51, 100, 7}},
    .lifetime = 1200,
};

/* clang-format off */
static const uint8_t pcp_map_request[60] = {
    2, 1, 0, 0,  0, 0, 0x04, 0xb0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 2,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    17, 0, 0, 0,  0x9c, 0x40, 0x9c, 0x41,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7};
static const uint8_t pcp_map_answer[60] = {
    2, 0x81, 0, 0,  0, 0, 0x02, 0x58,  0, 0, 0x30, 0x39,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    17, 0, 0, 0,  0x9c, 0x40, 0xc3, 0x51,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9};
static const uint8_t natpmp_map_request[12] = {
    0, 2, 0, 0, 0x9c, 0x40, 0x9c, 0x41, 0, 0, 0x04, 0xb0};
static const uint8_t natpmp_map_answer[16] = {
    0, 0x82, 0, 0, 0, 0, 0, 99, 0x9c, 0x40, 0xc3, 0x51, 0, 0, 0x0e, 0x10};
static const uint8_t natpmp_address_answer[12] = {
    0, 0x80, 0, 0, 0, 0, 0, 99, 203, 0, 113, 9};
/* clang-format on */

static struct cv_pcp_answer got;

static int parse(const void *data, size_t len)
{
    /* Exactly so long on the heap, for the sanitizer. */
    uint8_t *copy = malloc(len > 0 ? len : 1);
    int err;

    REQUIRE(copy != NULL);
    memcpy(copy, data, len);
    err = cv_pcp_parse(&got, CV_BYTES(copy, len));
    free(copy);
    return err;
}

TEST(requests_are_the_bytes_of_the_rfcs)
{
    const struct cv_addr client = {.family = CV_FAMILY_IPV4,
                                   .ip = {192, 168, 1, 2}};
    struct cv_pcp_request r = request;
    uint8_t buf[64];
    struct cv_writer w;

    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_pcp_put_map(&w, &r, &client), CV_OK);
    CHECK_EQ(w.len, sizeof pcp_map_request);
    CHECK(memcmp(buf, pcp_map_request, w.len) == 0);

    r.proto = CV_PCP_TCP;
    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_natpmp_put_map(&w, &r), CV_OK);
    CHECK_EQ(w.len, sizeof natpmp_map_request);
    CHECK(memcmp(buf, natpmp_map_request, w.len) == 0);

    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_natpmp_put_address(&w), CV_OK);
    CHECK(w.len == 2 && buf[0] == 0 && buf[1] == 0);
}

TEST(a_deletion_suggests_nothing)
{
    const struct cv_addr client = {.family = CV_FAMILY_IPV4,
                                   .ip = {192, 168, 1, 2}};
    struct cv_pcp_request r = request;
    uint8_t buf[64];
    struct cv_writer w;

    r.lifetime = 0;
    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_pcp_put_map(&w, &r, &client), CV_OK);
    for (unsigned i = 42; i < 54; i++)
        CHECK_EQ(buf[i], 0);
    CHECK(buf[56] == 0 && buf[59] == 0);
    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_natpmp_put_map(&w, &r), CV_OK);
    CHECK(buf[6] == 0 && buf[7] == 0 && buf[11] == 0);
}

TEST(no_room_is_an_error)
{
    const struct cv_addr client = {.family = CV_FAMILY_IPV4};
    uint8_t buf[60];
    struct cv_writer w;

    for (size_t cap = 0; cap < sizeof buf; cap++) {
        cv_writer_init(&w, buf, cap);
        CHECK_EQ(cv_pcp_put_map(&w, &request, &client), CV_ERR_NOBUF);
    }
    cv_writer_init(&w, buf, 11);
    CHECK_EQ(cv_natpmp_put_map(&w, &request), CV_ERR_NOBUF);
    cv_writer_init(&w, buf, 1);
    CHECK_EQ(cv_natpmp_put_address(&w), CV_ERR_NOBUF);
}

TEST(answers_are_read)
{
    const struct cv_addr outside = cv_addr_ipv4(0xcb007109, 50001);

    CHECK_EQ(parse(pcp_map_answer, 60), CV_OK);
    CHECK_EQ(got.kind, CV_PCP_MAP);
    CHECK_EQ(got.version, 2);
    CHECK_EQ(got.result, 0);
    CHECK_EQ(got.lifetime, 600);
    CHECK_EQ(got.epoch, 12345);
    CHECK_EQ(got.proto, CV_PCP_UDP);
    CHECK_EQ(got.internal, 40000);
    CHECK(cv_addr_equal(&got.external, &outside));
    CHECK(memcmp(got.nonce, request.nonce, CV_PCP_NONCE) == 0);

    CHECK_EQ(parse(natpmp_map_answer, 16), CV_OK);
    CHECK_EQ(got.kind, CV_PCP_NATPMP_MAP);
    CHECK_EQ(got.version, 0);
    CHECK_EQ(got.proto, CV_PCP_TCP);
    CHECK_EQ(got.epoch, 99);
    CHECK_EQ(got.internal, 40000);
    CHECK_EQ(got.external.port, 50001);
    CHECK_EQ(got.external.family, CV_FAMILY_NONE);
    CHECK_EQ(got.lifetime, 3600);

    CHECK_EQ(parse(natpmp_address_answer, 12), CV_OK);
    CHECK_EQ(got.kind, CV_PCP_NATPMP_ADDRESS);
    CHECK(cv_addr_same_ip(&got.external, &outside));
    CHECK_EQ(got.external.port, 0);
}

TEST(every_truncation_of_a_success_is_refused)
{
    for (size_t n = 0; n < sizeof pcp_map_answer; n++)
        CHECK_EQ(parse(pcp_map_answer, n), CV_ERR_FORMAT);
    for (size_t n = 0; n < sizeof natpmp_map_answer; n++)
        CHECK_EQ(parse(natpmp_map_answer, n), CV_ERR_FORMAT);
    for (size_t n = 0; n < sizeof natpmp_address_answer; n++)
        CHECK_EQ(parse(natpmp_address_answer, n), CV_ERR_FORMAT);
}

TEST(options_are_skipped_and_too_long_is_refused)
{
    uint8_t buf[CV_PCP_MAX + 4] = {0};

    memcpy(buf, pcp_map_answer, 60);
    CHECK_EQ(parse(buf, 64), CV_OK);
    CHECK_EQ(got.kind, CV_PCP_MAP);
    CHECK_EQ(parse(buf, 62), CV_ERR_FORMAT); /* not in units of four */
    CHECK_EQ(parse(buf, CV_PCP_MAX), CV_OK);
    CHECK_EQ(parse(buf, CV_PCP_MAX + 4), CV_ERR_FORMAT);
}

TEST(requests_and_other_versions_are_not_answers)
{
    uint8_t buf[60];

    CHECK_EQ(parse(pcp_map_request, 60), CV_ERR_FORMAT);
    CHECK_EQ(parse(natpmp_map_request, 12), CV_ERR_FORMAT);
    memcpy(buf, pcp_map_answer, 60);
    for (unsigned version = 0; version < 256; version++)
        if (version != 0 && version != 2) {
            buf[0] = (uint8_t)version;
            CHECK_EQ(parse(buf, 60), CV_ERR_FORMAT);
        }
}

TEST(errors_may_come_without_a_body)
{
    static const uint8_t version[8] = {0, 0x81, 0, 1, 0, 0, 0, 7};
    uint8_t short_error[24] = {2, 0x81, 0, 8, 0, 0, 0, 60};

    /* A NAT-PMP gateway that was asked by PCP. */
    CHECK_EQ(parse(version, 8), CV_OK);
    CHECK_EQ(got.kind, CV_PCP_OTHER);
    CHECK_EQ(got.result, CV_PCP_UNSUPP_VERSION);
    CHECK_EQ(parse(short_error, 24), CV_OK);
    CHECK_EQ(got.kind, CV_PCP_OTHER);
    CHECK_EQ(got.result, 8);
    CHECK_EQ(got.lifetime, 60);
}

TEST(every_result_has_words)
{
    for (unsigned r = 0; r < 300; r++) {
        CHECK(*cv_pcp_result_text(0, (uint16_t)r) != '\0');
        CHECK(*cv_pcp_result_text(2, (uint16_t)r) != '\0');
    }
}

RUN_TESTS(T(requests_are_the_bytes_of_the_rfcs), T(a_deletion_suggests_nothing),
          T(no_room_is_an_error), T(answers_are_read),
          T(every_truncation_of_a_success_is_refused),
          T(options_are_skipped_and_too_long_is_refused),
          T(requests_and_other_versions_are_not_answers),
          T(errors_may_come_without_a_body), T(every_result_has_words))
