/* The Binding server over loopback, UDP and TCP, and its limits. */
#include "base/crypto.h"
#include "tests/test.h"
#include "transport/stunserver.h"
#include <sys/socket.h>
#include <unistd.h>

static struct cv_loop *loop;
static struct cv_stunserver *server;
static struct cv_addr at[2];

static int setup(void **state)
{
    (void)state;
    at[0] = at[1] = cv_addr_ipv4(0x7f000001, 0);
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    REQUIRE(cv_stunserver_new(&server, loop, NULL, at, 2) == CV_OK);
    at[0].port = cv_stunserver_port(server, 0);
    at[1].port = cv_stunserver_port(server, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cv_stunserver_free(server);
    cv_loop_free(loop);
    return 0;
}

static int client(int type)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&at[0], &ss);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    if (type == SOCK_STREAM)
        REQUIRE(connect(fd, (struct sockaddr *)&ss, len) == 0);
    return fd;
}

static struct cv_addr own(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct cv_addr a;

    REQUIRE(getsockname(fd, (struct sockaddr *)&ss, &len) == 0);
    REQUIRE(cv_addr_from_sockaddr(&a, (struct sockaddr *)&ss) == CV_OK);
    return a;
}

static size_t make(uint8_t *out, size_t fill, uint32_t change)
{
    static const uint8_t zeros[256];
    uint8_t txid[CV_STUN_TXID];
    struct cv_writer w;

    cv_random(&cv_rng_system, txid, sizeof txid);
    cv_writer_init(&w, out, 512);
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    if (fill)
        cv_stun_put(&w, CV_STUN_FILL, zeros, fill);
    if (change)
        cv_stun_put_u32(&w, CV_STUN_CHANGE_REQUEST, change);
    REQUIRE(w.err == CV_OK);
    return w.len;
}

/* Run the server until the socket can be read; 0 when nothing comes. */
static size_t receive(int fd, uint8_t *out, size_t cap, struct cv_addr *from)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    cv_time end = cv_time_now() + 200 * CV_MILLISECOND;
    ssize_t n;

    while (cv_time_now() < end) {
        cv_loop_once(loop, cv_time_now() + 5 * CV_MILLISECOND);
        n = recvfrom(fd, out, cap, MSG_DONTWAIT, (struct sockaddr *)&ss, &len);
        if (n >= 0) {
            if (from && len > 0)
                REQUIRE(cv_addr_from_sockaddr(from, (struct sockaddr *)&ss) ==
                        CV_OK);
            return (size_t)n;
        }
    }
    return 0;
}

static void ask(int fd, const uint8_t *data, size_t len)
{
    struct sockaddr_storage ss;
    socklen_t n = cv_addr_to_sockaddr(&at[0], &ss);

    REQUIRE(sendto(fd, data, len, 0, (struct sockaddr *)&ss, n) ==
            (ssize_t)len);
}

TEST(udp_is_told_its_address_and_the_other_one_of_the_server)
{
    uint8_t req[512], ans[512];
    int fd = client(SOCK_DGRAM);
    struct cv_addr from, me;
    struct cv_stun m;
    size_t n;

    ask(fd, req, make(req, 64, 0));
    n = receive(fd, ans, sizeof ans, &from);
    CHECK(n > 0 && n <= 20 + 68);
    CHECK_EQ(cv_stun_parse(&m, ans, n), CV_OK);
    me = own(fd);
    CHECK_EQ(m.type, CV_STUN_SUCCESS);
    CHECK_EQ(m.mapped.port, me.port);
    CHECK_EQ(m.mapped.ip[0], 127);
    CHECK(cv_addr_equal(&m.other, &at[1]));
    CHECK(cv_addr_equal(&m.origin, &at[0]));
    CHECK(cv_addr_equal(&from, &at[0]));
    close(fd);
}

TEST(a_change_of_port_is_obeyed_and_of_address_refused)
{
    uint8_t req[512], ans[512];
    int fd = client(SOCK_DGRAM);
    struct cv_addr from;
    struct cv_stun m;
    size_t n;

    ask(fd, req, make(req, 64, CV_STUN_CHANGE_PORT));
    n = receive(fd, ans, sizeof ans, &from);
    CHECK(n > 0);
    CHECK(cv_addr_equal(&from, &at[1]));
    ask(fd, req, make(req, 64, CV_STUN_CHANGE_IP));
    n = receive(fd, ans, sizeof ans, &from);
    CHECK_EQ(cv_stun_parse(&m, ans, n), CV_OK);
    CHECK_EQ(m.type, CV_STUN_ERROR);
    CHECK_EQ(m.error, 420);
    close(fd);
}

static size_t make_response_port(uint8_t *out, uint16_t port)
{
    size_t len = make(out, 24, 0);
    struct cv_stun m;
    struct cv_writer w;

    REQUIRE(cv_stun_parse(&m, out, len) == CV_OK);
    cv_writer_init(&w, out, 512);
    cv_stun_begin(&w, CV_STUN_REQUEST, m.txid);
    cv_stun_put_u32(&w, CV_STUN_RESPONSE_PORT, (uint32_t)port << 16);
    cv_stun_put(&w, CV_STUN_FILL, "123456789012345678901234", 24);
    REQUIRE(w.err == CV_OK);
    return w.len;
}

/* RFC 5780, 7.5: it comes from where it was asked for, and says who asked. */
TEST(another_port_of_the_client_is_answered)
{
    uint8_t req[512], ans[512];
    int fd = client(SOCK_DGRAM), other = client(SOCK_DGRAM), tcp;
    struct cv_addr from, me;
    struct cv_stun m;
    size_t n;

    ask(other, req, make(req, 64, 0)); /* binds it */
    CHECK(receive(other, ans, sizeof ans, NULL) > 0);
    n = make_response_port(req, own(other).port);
    ask(fd, req, n);
    n = receive(other, ans, sizeof ans, &from);
    CHECK(n > 0);
    CHECK_EQ(cv_stun_parse(&m, ans, n), CV_OK);
    me = own(fd);
    CHECK_EQ(m.type, CV_STUN_SUCCESS);
    CHECK_EQ(m.mapped.port, me.port);
    CHECK(cv_addr_equal(&from, &at[0]));
    CHECK_EQ(receive(fd, ans, sizeof ans, NULL), 0);

    /* Not to a service's port, and not for who asks by TCP. */
    n = make_response_port(req, 53);
    ask(fd, req, n);
    n = receive(fd, ans, sizeof ans, NULL);
    CHECK_EQ(cv_stun_parse(&m, ans, n), CV_OK);
    CHECK_EQ(m.error, 420);
    tcp = client(SOCK_STREAM);
    n = make_response_port(req, own(other).port);
    CHECK_EQ(send(tcp, req, n, 0), (ssize_t)n);
    n = receive(tcp, ans, sizeof ans, NULL);
    CHECK_EQ(cv_stun_parse(&m, ans, n), CV_OK);
    CHECK_EQ(m.error, 420);
    close(tcp);
    close(other);
    close(fd);
}

TEST(no_answer_is_longer_than_its_request)
{
    struct cv_addr four = cv_addr_ipv4(0x05060708, 99), six = four;
    uint8_t req[512], out[512];
    unsigned answered = 0;

    six.family = CV_FAMILY_IPV6;
    for (size_t fill = 0; fill <= 128; fill += 4)
        for (int v = 0; v < 2; v++) {
            const struct cv_addr *from = v ? &six : &four;
            size_t len = make(req, fill, 0);
            struct cv_writer w;
            struct cv_stun m;

            CHECK_EQ(cv_stun_parse(&m, req, len), CV_OK);
            cv_writer_init(&w, out, sizeof out);
            if (cv_stun_answer(&m, from, from, from, len, &w) != CV_OK) {
                CHECK(len < (v ? 44u : 32u));
                continue;
            }
            answered++;
            CHECK(w.len <= len);
            CHECK_EQ(cv_stun_parse(&m, out, w.len), CV_OK);
            CHECK(cv_addr_equal(&m.mapped, from));
        }
    CHECK(answered > 50);
}

TEST(five_a_second_and_no_more)
{
    struct cv_stun_limit limit = {0};
    struct cv_addr a = cv_addr_ipv4(0x05060708, 1), six = {0}, six2;
    unsigned ok = 0;

    for (cv_time t = CV_SECOND; t < 3 * CV_SECOND; t += CV_MILLISECOND) {
        a.port++; /* ports do not count */
        ok += cv_stun_limit_allow(&limit, &a, t);
    }
    CHECK_EQ(ok, 2 * CV_STUN_RATE);
    /* One /64 is one source. */
    CHECK_EQ(cv_addr_parse(&six, "[2001:db8::1]:1", 0), CV_OK);
    CHECK_EQ(cv_addr_parse(&six2, "[2001:db8:0:1::1]:1", 0), CV_OK);
    ok = 0;
    for (unsigned i = 0; i < 100; i++) {
        six.ip[15] = (uint8_t)i;
        ok += cv_stun_limit_allow(&limit, &six, CV_SECOND);
    }
    CHECK_EQ(ok, CV_STUN_RATE);
    CHECK(cv_stun_limit_allow(&limit, &six2, CV_SECOND));
    /* A flood of sources neither grows it nor lasts. */
    for (uint32_t i = 0; i < 100000; i++) {
        a = cv_addr_ipv4(0x06000000 + i * 7919, 1);
        (void)cv_stun_limit_allow(&limit, &a, 10 * CV_SECOND);
    }
    a = cv_addr_ipv4(0x05060708, 1);
    CHECK(cv_stun_limit_allow(&limit, &a, 12 * CV_SECOND));
    cv_stun_limit_fini(&limit);
}

TEST(tcp_answers_piece_by_piece_and_closes_on_garbage)
{
    uint8_t req[512], ans[512];
    int fd = client(SOCK_STREAM);
    struct cv_stun m;
    size_t len = make(req, 0, 0), n;

    for (size_t i = 0; i < len; i++) {
        CHECK_EQ(send(fd, req + i, 1, 0), 1);
        cv_loop_once(loop, cv_time_now() + CV_MILLISECOND);
    }
    n = receive(fd, ans, sizeof ans, NULL);
    CHECK_EQ(cv_stun_parse(&m, ans, n), CV_OK);
    CHECK_EQ(m.mapped.port, own(fd).port);
    CHECK_EQ(send(fd, "GET / HTTP/1.0\r\n\r\n...........", 29, 0), 29);
    n = receive(fd, ans, sizeof ans, NULL);
    CHECK_EQ(n, 0);
    CHECK_EQ(recv(fd, ans, 1, MSG_DONTWAIT), 0); /* closed */
    close(fd);
}

TEST(tcp_connections_of_one_address_are_counted)
{
    int fd[CV_STUN_CONNS_IP + 2];
    unsigned closed = 0;
    char c;

    for (unsigned i = 0; i < CV_STUN_CONNS_IP + 2; i++)
        fd[i] = client(SOCK_STREAM);
    for (unsigned i = 0; i < 50; i++)
        cv_loop_once(loop, cv_time_now() + CV_MILLISECOND);
    for (unsigned i = 0; i < CV_STUN_CONNS_IP + 2; i++) {
        closed += recv(fd[i], &c, 1, MSG_DONTWAIT) == 0;
        close(fd[i]);
    }
    CHECK_EQ(closed, 2);
}

TEST(a_taken_port_is_reported)
{
    struct cv_stunserver *second;

    CHECK_EQ(cv_stunserver_new(&second, loop, NULL, at, 1), CV_ERR_BUSY);
    CHECK_EQ(cv_stunserver_new(&second, loop, NULL, at, 0), CV_ERR_INVALID);
}

#define S(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN_TESTS(S(udp_is_told_its_address_and_the_other_one_of_the_server),
          S(a_change_of_port_is_obeyed_and_of_address_refused),
          S(another_port_of_the_client_is_answered),
          S(no_answer_is_longer_than_its_request), S(five_a_second_and_no_more),
          S(tcp_answers_piece_by_piece_and_closes_on_garbage),
          S(tcp_connections_of_one_address_are_counted),
          S(a_taken_port_is_reported))
