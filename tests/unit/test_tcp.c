/* The TCP carrier against plain sockets of this machine. */
#include "transport/tcp.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/kit.h"
#include "transport/tcpqueue.h"

struct seen {
    unsigned packets, ups, downs, writable;
    size_t bytes;
    uint8_t first;
    int err;
    struct cv_path_addr link;
    struct cv_tcp *free_it;
};

static struct cv_loop *loop;
static struct cv_tcp *tcp;
static struct seen seen;

static void on_packet(void *user, enum cv_tcp_kind kind,
                      const struct cv_path_addr *from, const uint8_t *data,
                      size_t len)
{
    struct seen *s = user;

    (void)kind;
    s->link = *from;
    s->packets++;
    s->bytes += len;
    s->first = data[0];
    cv_tcp_free(s->free_it);
}

static void on_batch(void *user)
{
    (void)user;
}

static void on_up(void *user, const struct cv_path_addr *link)
{
    struct seen *s = user;

    s->ups++;
    s->link = *link;
}

static void on_down(void *user, const struct cv_path_addr *link, int err)
{
    struct seen *s = user;

    (void)link;
    s->downs++;
    s->err = err;
}

static void on_writable(void *user, uint32_t channel)
{
    struct seen *s = user;

    (void)channel;
    s->writable++;
}

static const struct cv_tcp_events events = {
    .packet = on_packet,
    .batch = on_batch,
    .up = on_up,
    .down = on_down,
    .writable = on_writable,
};

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    REQUIRE(cv_tcp_new(&tcp, loop, NULL, 0, 0, &events, &seen) == CV_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (!seen.free_it)
        cv_tcp_free(tcp);
    cv_loop_free(loop);
    return 0;
}

static struct cv_addr here(uint16_t port)
{
    return cv_addr_ipv4(0x7f000001, port);
}

static int client(void)
{
    struct cv_addr to = here(cv_tcp_port(tcp, CV_FAMILY_IPV4));
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&to, &ss);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    REQUIRE(connect(fd, (struct sockaddr *)&ss, len) == 0);
    return fd;
}

static int server(struct cv_addr *at)
{
    struct sockaddr_storage ss;
    socklen_t len;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *at = here(0);
    len = cv_addr_to_sockaddr(at, &ss);
    REQUIRE(fd >= 0);
    REQUIRE(bind(fd, (struct sockaddr *)&ss, len) == 0);
    REQUIRE(listen(fd, 4) == 0);
    len = sizeof ss;
    REQUIRE(getsockname(fd, (struct sockaddr *)&ss, &len) == 0);
    REQUIRE(cv_addr_from_sockaddr(at, (struct sockaddr *)&ss) == CV_OK);
    return fd;
}

/* Has the other side ended it? */
static bool is_closed(int fd)
{
    uint8_t b;

    return recv(fd, &b, 1, MSG_DONTWAIT | MSG_PEEK) == 0 ||
           (errno != EAGAIN && errno != EINTR);
}

/* A connection of ours to a socket that nobody reads; returns that one. */
static int connected(uint32_t *channel)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct cv_addr at, from;
    int listener = server(&at), fd;

    REQUIRE(cv_tcp_connect(tcp, CV_TCP_PEER, &at, 0, channel) == CV_OK);
    fd = accept(listener, (struct sockaddr *)&ss, &len);
    REQUIRE(fd >= 0);
    REQUIRE(cv_addr_from_sockaddr(&from, (struct sockaddr *)&ss) == CV_OK);
    /* From the port that we listen on: a NAT gives both one outside. */
    REQUIRE(from.port == cv_tcp_port(tcp, CV_FAMILY_IPV4));
    WAIT(seen.ups == 1, 2 * CV_SECOND);
    REQUIRE(seen.ups == 1);
    REQUIRE(seen.link.channel == *channel);
    close(listener);
    return fd;
}

TEST(packets_come_in_over_a_connection_of_somebody_else)
{
    const uint8_t stream[] = {0, 3, 1, 2, 3, 0, 1, 0x42};
    uint8_t got[16];
    int fd = client();

    REQUIRE(send(fd, stream, sizeof stream, 0) == sizeof stream);
    WAIT(seen.packets == 2, 2 * CV_SECOND);
    CHECK_EQ(seen.packets, 2);
    CHECK_EQ(seen.bytes, 4);
    CHECK_EQ(seen.link.carrier, CV_CARRIER_TCP);
    CHECK(seen.link.channel != 0);
    CHECK_EQ(cv_tcp_send(tcp, seen.link.channel, stream, 4, 4), CV_OK);
    CHECK_EQ(recv(fd, got, sizeof got, 0), 6);
    CHECK_EQ(got[1], 4);
    CHECK_EQ(memcmp(got + 2, stream, 4), 0);
    close(fd);
    WAIT(seen.downs == 1, 2 * CV_SECOND);
    CHECK_EQ(seen.err, CV_ERR_CLOSED);
    CHECK_EQ(cv_tcp_send(tcp, seen.link.channel, stream, 4, 4), CV_ERR_CLOSED);
}

TEST(a_web_browser_is_sent_away)
{
    int fd = client();

    REQUIRE(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
    WAIT(seen.downs == 1, 2 * CV_SECOND);
    CHECK_EQ(seen.err, CV_ERR_PEER);
    CHECK(is_closed(fd));
    close(fd);
}

TEST(a_refused_connection_is_told_later)
{
    struct cv_addr at;
    uint32_t channel;
    int fd = server(&at);

    close(fd);
    CHECK_EQ(cv_tcp_connect(tcp, CV_TCP_PEER, &at, 0, &channel), CV_OK);
    CHECK_EQ(seen.downs, 0);
    WAIT(seen.downs == 1, 2 * CV_SECOND);
    CHECK_EQ(seen.err, CV_ERR_DENIED);
    CHECK_EQ(seen.ups, 0);
}

/* A peer that does not read: nothing is lost, and memory stays bounded. */
TEST(a_slow_reader_gets_all_that_was_taken_and_checks_first)
{
    static uint8_t train[40 * 1000], stream[16 << 20];
    uint64_t taken = 0, packets = 0;
    uint32_t channel;
    int fd = connected(&channel), err;
    size_t len = 0, at = 0;
    bool check = false;
    ssize_t n;

    cv_tcp_keep(tcp, channel);
    memset(train, 0x40, sizeof train);
    for (;;) {
        for (unsigned i = 0; i < 40; i++) {
            uint64_t number = taken * 40 + i;

            memcpy(train + i * 1000 + 8, &number, sizeof number);
        }
        err = cv_tcp_send(tcp, channel, train, sizeof train, 1000);
        if (err != CV_OK)
            break;
        taken++;
        REQUIRE(taken < 400);
    }
    CHECK_EQ(err, CV_ERR_AGAIN);
    CHECK(cv_tcp_is_full(tcp, channel));
    CHECK(taken * sizeof train >= CV_TCPQUEUE_FULL);
    train[0] = 1;
    CHECK_EQ(cv_tcp_send(tcp, channel, train, 88, 88), CV_OK);
    CHECK_EQ(seen.writable, 0);

    while (len < taken * 40 * 1002 + 90) {
        REQUIRE(len < sizeof stream);
        n = recv(fd, stream + len, sizeof stream - len, MSG_DONTWAIT);
        if (n > 0)
            len += (size_t)n;
        cv_loop_once(loop, cv_time_now() + CV_MILLISECOND);
        REQUIRE(n > 0 || errno == EAGAIN);
    }
    CHECK_EQ(seen.writable, 1);
    CHECK(!cv_tcp_is_full(tcp, channel));
    while (at + 2 <= len) {
        size_t one = (size_t)stream[at] << 8 | stream[at + 1];
        uint64_t number;

        REQUIRE(at + 2 + one <= len);
        if (stream[at + 2] == 1) {
            check = true;
            CHECK(packets < taken * 40); /* it overtook some */
        } else {
            memcpy(&number, stream + at + 2 + 8, sizeof number);
            CHECK_EQ(number, packets++);
        }
        at += 2 + one;
    }
    CHECK(check);
    CHECK_EQ(packets, taken * 40);
    close(fd);
}

TEST(strangers_have_few_places_and_little_time)
{
    int fd[CV_TCP_A_SOURCE + 3];
    const uint8_t hello[] = {0, 1, 0x42};
    cv_time from = cv_time_now();
    unsigned closed = 0;

    fd[0] = client();
    REQUIRE(send(fd[0], hello, sizeof hello, 0) == sizeof hello);
    WAIT(seen.packets == 1, 2 * CV_SECOND);
    cv_tcp_keep(tcp, seen.link.channel); /* no stranger any more */
    for (unsigned i = 1; i < CV_TCP_A_SOURCE + 3; i++)
        fd[i] = client();
    WAIT(seen.downs == 2, 2 * CV_SECOND);
    CHECK_EQ(seen.downs, 2);
    CHECK(is_closed(fd[1]) && is_closed(fd[2])); /* the oldest ones */
    WAIT(seen.downs == CV_TCP_A_SOURCE + 2, CV_TCP_PROVE + 2 * CV_SECOND);
    CHECK(cv_time_now() - from >= CV_TCP_PROVE);
    for (unsigned i = 0; i < CV_TCP_A_SOURCE + 3; i++) {
        closed += is_closed(fd[i]);
        close(fd[i]);
    }
    CHECK_EQ(closed, CV_TCP_A_SOURCE + 2);
}

TEST(it_may_be_freed_in_its_own_callback)
{
    const uint8_t stream[] = {0, 1, 1, 0, 1, 2, 0, 1, 3};
    int fd = client();

    seen.free_it = tcp;
    REQUIRE(send(fd, stream, sizeof stream, 0) == sizeof stream);
    WAIT(seen.packets > 0, 2 * CV_SECOND);
    CHECK_EQ(seen.packets, 1);
    CHECK(is_closed(fd));
    close(fd);
}

TEST(a_taken_port_is_left_to_its_owner)
{
    uint16_t port = cv_tcp_port(tcp, CV_FAMILY_IPV4);
    struct cv_tcp *second;

    CHECK_EQ(cv_tcp_new(&second, loop, NULL, port, 0, &events, &seen), CV_OK);
    CHECK(cv_tcp_port(second, CV_FAMILY_IPV4) != 0);
    CHECK(cv_tcp_port(second, CV_FAMILY_IPV4) != port);
    cv_tcp_free(second);
}

#define S(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN_TESTS(S(packets_come_in_over_a_connection_of_somebody_else),
          S(a_web_browser_is_sent_away), S(a_refused_connection_is_told_later),
          S(a_slow_reader_gets_all_that_was_taken_and_checks_first),
          S(strangers_have_few_places_and_little_time),
          S(it_may_be_freed_in_its_own_callback),
          S(a_taken_port_is_left_to_its_owner))
