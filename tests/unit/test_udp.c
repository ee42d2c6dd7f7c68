/* A UDP port, over loopback: what is sent as a train comes as one. */
#include "tests/test.h"
#include "transport/udp.h"
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define SEGMENT 1000
#define MANY    30

static struct cv_loop *loop;
static uint8_t data[MANY * SEGMENT];
static unsigned calls, packets, batches;
static size_t bytes;
static struct cv_udp *to_free;

static void take(const uint8_t *at, size_t len)
{
    REQUIRE(bytes + len <= sizeof data);
    REQUIRE(memcmp(data + bytes, at, len) == 0);
    bytes += len;
    packets++;
}

static void on_packet(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *at,
                      size_t len)
{
    (void)user;
    (void)from;
    (void)local;
    calls++;
    take(at, len);
}

static void on_train(void *user, const struct cv_addr *from,
                     const struct cv_addr *local, uint8_t *at, size_t len,
                     size_t segment)
{
    (void)user;
    (void)from;
    (void)local;
    calls++;
    REQUIRE(segment > 0 && segment <= len);
    for (size_t i = 0; i < len; i += segment)
        take(at + i, len - i < segment ? len - i : segment);
    cv_udp_free(to_free);
    to_free = NULL;
}

static void on_batch(void *user)
{
    (void)user;
    batches++;
}

static const struct cv_udp_events by_packet = {.packet = on_packet,
                                               .batch = on_batch};
static const struct cv_udp_events by_train = {.train = on_train,
                                              .batch = on_batch};

static struct cv_udp *open_one(const struct cv_udp_events *events)
{
    struct cv_addr any = cv_addr_ipv4(0x7f000001, 0);
    struct cv_udp *udp;

    if (!loop) {
        REQUIRE(cv_loop_new(&loop) == CV_OK);
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)(i * 7 + i / SEGMENT);
    }
    calls = packets = batches = 0;
    bytes = 0;
    REQUIRE(cv_udp_new_at(&udp, loop, NULL, &any, events, NULL) == CV_OK);
    return udp;
}

static void send_and_wait(struct cv_udp *from, struct cv_udp *to, size_t len)
{
    struct cv_addr at = cv_addr_ipv4(0x7f000001, cv_udp_port(to));
    cv_time until = cv_loop_now(loop) + 5 * CV_SECOND;
    size_t before = bytes;

    REQUIRE(cv_udp_send(from, &at, NULL, 0, data + bytes, len, SEGMENT) ==
            CV_OK);
    while (bytes < before + len && cv_loop_now(loop) < until)
        cv_loop_once(loop, until);
    REQUIRE(bytes == before + len);
}

TEST(a_train_comes_packet_by_packet)
{
    struct cv_udp *a = open_one(&by_packet), *b = open_one(&by_packet);

    send_and_wait(a, b, 9 * SEGMENT + 10);
    CHECK_EQ(packets, 10);
    CHECK_EQ(calls, 10);
    CHECK(batches >= 1);
    cv_udp_free(a);
    cv_udp_free(b);
}

static bool kernel_has_gro(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    bool has = setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0;

    close(fd);
    return has;
}

TEST(a_train_comes_whole)
{
    struct cv_udp *a = open_one(&by_packet), *b = open_one(&by_train);

    send_and_wait(a, b, 10); /* one packet is a train, too */
    CHECK_EQ(calls, 1);
    bytes = 0;
    send_and_wait(a, b, 9 * SEGMENT + 10);
    CHECK_EQ(packets, 11);
    CHECK_EQ(calls, kernel_has_gro() ? 2 : 11);
    /* Reading goes on as before after trains. */
    bytes = 0;
    for (unsigned i = 0; i < MANY; i++)
        send_and_wait(a, b, SEGMENT);
    CHECK_EQ(packets, 11 + MANY);
    cv_udp_free(a);
    cv_udp_free(b);
}

TEST(a_train_may_free_its_socket)
{
    struct cv_udp *a = open_one(&by_packet), *b = open_one(&by_train);

    to_free = b;
    send_and_wait(a, b, SEGMENT);
    CHECK(to_free == NULL);
    CHECK_EQ(batches, 0);
    cv_udp_free(a);
    cv_loop_free(loop);
    loop = NULL;
}

RUN_TESTS(T(a_train_comes_packet_by_packet), T(a_train_comes_whole),
          T(a_train_may_free_its_socket))
