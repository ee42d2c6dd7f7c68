/* Further UDP sockets, over loopback. */
#include "tests/test.h"
#include "transport/sockets.h"

static struct cv_loop *loop;
static struct cv_sockets sockets;
static unsigned packets, last_number;
static struct cv_addr last_from;
static bool close_it;

static void on_packet(void *user, uint16_t socket, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *data,
                      size_t len)
{
    (void)user;
    (void)local;
    REQUIRE(len == 3 && memcmp(data, "abc", 3) == 0);
    packets++;
    last_number = socket;
    last_from = *from;
    if (close_it)
        cv_sockets_close(&sockets, socket);
}

static void on_batch(void *user)
{
    (void)user;
}

static const struct cv_sockets_events events = {
    .packet = on_packet, .batch = on_batch, .writable = on_batch};

static void wait_packets(unsigned n)
{
    cv_time until = cv_loop_now(loop) + 5 * CV_SECOND;

    while (packets < n && cv_loop_now(loop) < until)
        cv_loop_once(loop, until);
    REQUIRE(packets == n);
}

/* The port of a socket, as another one sees it. */
static struct cv_addr address_of(uint16_t number)
{
    struct cv_udp *udp = sockets.one[number - 1].udp;

    return cv_addr_ipv4(0x7f000001, cv_udp_port(udp));
}

TEST(each_has_a_port_and_a_number)
{
    int a, b;
    struct cv_addr to;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    cv_sockets_init(&sockets, loop, NULL, &events, NULL);
    a = cv_sockets_open(&sockets);
    b = cv_sockets_open(&sockets);
    REQUIRE(a > 0 && b > 0 && a != b);
    to = address_of((uint16_t)b);
    CHECK_EQ(cv_sockets_send(&sockets, (uint16_t)a, &to, 0,
                             (const uint8_t *)"abc", 3, 3),
             CV_OK);
    wait_packets(1);
    CHECK_EQ(last_number, b);
    CHECK_EQ(last_from.port, address_of((uint16_t)a).port);

    /* From within its own packet. */
    close_it = true;
    CHECK_EQ(cv_sockets_send(&sockets, (uint16_t)a, &to, 0,
                             (const uint8_t *)"abc", 3, 3),
             CV_OK);
    wait_packets(2);
    CHECK_EQ(sockets.n, 1);
    close_it = false;
    CHECK_EQ(cv_sockets_send(&sockets, (uint16_t)b, &to, 0,
                             (const uint8_t *)"abc", 3, 3),
             CV_ERR_NONET);
    cv_sockets_close(&sockets, (uint16_t)b); /* harmless */
    cv_sockets_close(&sockets, 0);
    cv_sockets_close(&sockets, CV_SOCKETS_MAX + 1);
    cv_sockets_fini(&sockets);
    cv_loop_free(loop);
}

TEST(there_is_a_limit_and_numbers_are_used_again_late)
{
    int first = 0, again;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    cv_sockets_init(&sockets, loop, NULL, &events, NULL);
    for (unsigned i = 0; i < CV_SOCKETS_MAX; i++) {
        int n = cv_sockets_open(&sockets);

        REQUIRE(n > 0);
        if (i == 0)
            first = n;
    }
    CHECK_EQ(cv_sockets_open(&sockets), CV_ERR_LIMIT);
    cv_sockets_close(&sockets, (uint16_t)first);
    cv_sockets_close(&sockets, (uint16_t)(first + 9));
    again = cv_sockets_open(&sockets);
    CHECK(again == first);
    cv_sockets_close(&sockets, (uint16_t)again);
    CHECK_EQ(cv_sockets_open(&sockets), first + 9);
    cv_sockets_fini(&sockets);
    cv_loop_free(loop);
}

RUN_TESTS(T(each_has_a_port_and_a_number),
          T(there_is_a_limit_and_numbers_are_used_again_late))
