/* The internet of the net lab does to packets what it is told, from a seed. */
#include "tests/netlab/wan.h"
#include "tests/test.h"
#include <inttypes.h>

#define SEED 7

static struct wan *w;
static unsigned a, b;

static void begin(void)
{
    w = wan_new(SEED);
    REQUIRE(w != NULL);
    a = (unsigned)wan_attach(w, "a");
    b = (unsigned)wan_attach(w, "b");
    REQUIRE(wan_add_prefix(w, a, "20.0.1.1") == 0);
    REQUIRE(wan_add_prefix(w, a, "2a0c:1::1") == 0);
    REQUIRE(wan_add_prefix(w, b, "20.0.2.0/24") == 0);
    REQUIRE(wan_add_prefix(w, b, "2a0c:2::/64") == 0);
}

static uint32_t checksum(const uint8_t *data, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    if (len % 2 != 0)
        sum += (uint32_t)data[len - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* From a to b, or elsewhere; `number` is in the last byte. */
static void send_ipv4(uint8_t ttl, uint8_t number, cv_time now)
{
    uint8_t data[29] = {0x45, 0, 0,  29, 0, 0, 0,  0, 0, IPPROTO_UDP,
                        0,    0, 20, 0,  1, 1, 20, 0, 2, 9};

    data[8] = ttl;
    data[28] = number;
    wan_input(w, a, data, sizeof(data), now);
}

static void send_ipv6(uint8_t ttl, cv_time now)
{
    uint8_t data[48] = {0x60, 0, 0, 0, 0, 8, IPPROTO_UDP, 0, 0x2a, 0x0c, 0, 1};

    data[7] = ttl;
    data[23] = 1;
    memcpy(data + 24, "\x2a\x0c\0\2\0\0\0\0\0\0\0\0\0\0\0\7", 16);
    wan_input(w, a, data, sizeof(data), now);
}

TEST(a_packet_comes_after_the_delay_and_ten_routers)
{
    struct wan_packet *p;

    begin();
    wan_options(w)->delay = 25 * CV_MILLISECOND;
    send_ipv4(64, 0, CV_SECOND);
    CHECK_EQ(wan_deadline(w), CV_SECOND + 25 * CV_MILLISECOND);
    CHECK(wan_output(w, wan_deadline(w) - 1) == NULL);
    p = wan_output(w, wan_deadline(w));
    CHECK(p != NULL);
    CHECK_EQ(p->to, b);
    CHECK_EQ(p->data[8], 54);
    CHECK_EQ(checksum(p->data, 20, 0), 0xffff);
    free(p);
    send_ipv6(64, 0);
    p = wan_output(w, CV_SECOND);
    CHECK(p != NULL && p->to == b && p->data[7] == 54);
    free(p);
    CHECK_EQ(wan_deadline(w), CV_NEVER);
    wan_free(w);
}

TEST(a_low_ttl_ends_at_its_router_which_says_so)
{
    static const uint8_t low[] = {1, 3, 5, 8, 10};

    begin();
    wan_options(w)->delay = 11 * CV_MILLISECOND;
    for (unsigned i = 0; i < sizeof(low); i++) {
        struct wan_packet *p;

        send_ipv4(low[i], 0, 0);
        CHECK_EQ(wan_deadline(w), 2 * low[i] * CV_MILLISECOND);
        p = wan_output(w, CV_SECOND);
        CHECK(p != NULL && p->to == a && p->len == 20 + 8 + 29);
        CHECK_EQ(p->data[15], low[i]); /* of router 20.255.255.k */
        CHECK_EQ(p->data[20], 11);     /* time exceeded */
        CHECK_EQ(checksum(p->data, 20, 0), 0xffff);
        CHECK_EQ(checksum(p->data + 20, p->len - 20, 0), 0xffff);
        CHECK_EQ(p->data[28], 0x45);
        free(p);
        send_ipv6(low[i], 0);
        p = wan_output(w, CV_SECOND);
        CHECK(p != NULL && p->to == a && p->data[40] == 3);
        CHECK_EQ(checksum(p->data + 8, p->len - 8,
                          (uint32_t)(p->len - 40) + IPPROTO_ICMPV6),
                 0xffff);
        free(p);
        CHECK_EQ(wan_deadline(w), CV_NEVER);
    }
    wan_options(w)->time_exceeded = false;
    send_ipv4(3, 0, 0);
    CHECK_EQ(wan_deadline(w), CV_NEVER);
    wan_free(w);
}

/* What came of `n` packets: how many, and how many out of order. */
static void tally(unsigned n, unsigned *came, unsigned *late)
{
    struct wan_packet *p;
    unsigned last = 0;

    *came = *late = 0;
    for (unsigned i = 0; i < n; i++)
        send_ipv4(64, (uint8_t)i, (cv_time)i * CV_MILLISECOND);
    while ((p = wan_output(w, CV_HOUR)) != NULL) {
        unsigned number = p->data[28];

        *late += (uint8_t)(number - last) > 127;
        last = number;
        ++*came;
        free(p);
    }
}

TEST(order_is_kept_while_nothing_is_wrong)
{
    unsigned came, late;

    begin();
    wan_options(w)->delay = 25 * CV_MILLISECOND;
    tally(1000, &came, &late);
    CHECK_EQ(came, 1000);
    CHECK_EQ(late, 0);
    wan_free(w);
}

TEST(shares_are_kept_and_repeat_with_the_seed)
{
    unsigned came[2], late[2];

    for (unsigned i = 0; i < 2; i++) {
        begin();
        wan_options(w)->loss = 0.2;
        tally(10000, &came[i], &late[i]);
        wan_free(w);
    }
    CHECK_EQ(came[0], came[1]);
    CHECK(came[0] > 7800 && came[0] < 8200);
    begin();
    wan_options(w)->dup = 0.1;
    tally(10000, &came[0], &late[0]);
    CHECK(came[0] > 10850 && came[0] < 11150);
    wan_free(w);
    begin();
    wan_options(w)->reorder = 0.1;
    tally(10000, &came[0], &late[0]);
    CHECK_EQ(came[0], 10000);
    CHECK(late[0] > 800 && late[0] < 1200);
    wan_free(w);
}

TEST(a_black_hole_has_a_direction)
{
    unsigned came, late;

    begin();
    CHECK_EQ(wan_block(w, "b", "a"), 0);
    tally(10, &came, &late);
    CHECK_EQ(came, 10);
    CHECK_EQ(wan_block(w, "a", NULL), 0);
    tally(10, &came, &late);
    CHECK_EQ(came, 0);
    wan_restore(w, "a", NULL);
    tally(10, &came, &late);
    CHECK_EQ(came, 10);
    wan_free(w);
}

static char *counters(void)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    wan_count(w, out);
    fclose(out);
    return text;
}

TEST(every_packet_is_counted_also_to_nobody_and_from_nowhere)
{
    uint8_t leak[20] = {0x45, 0, 0,   20,  0, 0, 0,  0, 64, IPPROTO_TCP,
                        0,    0, 192, 168, 1, 2, 20, 0, 2,  9};
    uint8_t lost[20] = {0x45, 0, 0,  20, 0, 0, 0,  0, 64, IPPROTO_TCP,
                        0,    0, 20, 0,  1, 1, 20, 0, 9,  9};
    struct wan_packet *p;
    char *text;

    begin();
    send_ipv4(64, 0, 0);
    send_ipv4(8, 0, 0);
    wan_input(w, a, leak, sizeof(leak), 0);
    wan_input(w, a, lost, sizeof(lost), 0);
    while ((p = wan_output(w, CV_HOUR)) != NULL)
        free(p);
    text = counters();
    CHECK(strstr(text, "\"src\":\"20.0.1.1\",\"to\":\"b\",\"dst\":\"20.0.2.9\","
                       "\"packets\":2,\"bytes\":58,\"udp\":2,\"tcp\":0,"
                       "\"delivered\":1,\"lost\":0,\"blocked\":0,"
                       "\"expired\":1") != NULL);
    CHECK(strstr(text, "\"spoofed\":1") != NULL);
    CHECK(strstr(text, "\"to\":null,\"dst\":\"20.0.9.9\",\"packets\":1") !=
          NULL);
    free(text);
    wan_count_reset(w);
    text = counters();
    CHECK_STR(text, "[]\n");
    free(text);
    wan_free(w);
}

TEST(whatever_is_no_packet_is_dropped)
{
    uint8_t data[64];

    begin();
    for (unsigned version = 0; version < 16; version++)
        for (size_t len = 0; len < sizeof(data); len++) {
            memset(data, 0xff, sizeof(data));
            data[0] = (uint8_t)(version << 4 | 15);
            wan_input(w, a, data, len, 0);
        }
    CHECK_EQ(wan_deadline(w), CV_NEVER);
    wan_free(w);
}

RUN_TESTS(T(a_packet_comes_after_the_delay_and_ten_routers),
          T(a_low_ttl_ends_at_its_router_which_says_so),
          T(order_is_kept_while_nothing_is_wrong),
          T(shares_are_kept_and_repeat_with_the_seed),
          T(a_black_hole_has_a_direction),
          T(every_packet_is_counted_also_to_nobody_and_from_nowhere),
          T(whatever_is_no_packet_is_dropped))
