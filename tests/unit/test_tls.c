#include "tests/kit.h"
#include "transport/tls.h"
#include <sys/socket.h>
#include <unistd.h>

struct pair {
    struct cv_tls_ctx *server_ctx, *client_ctx;
    struct cv_tls *server, *client;
    int fd[2];
};

static void open_pair(struct pair *p, const struct cv_key *pinned,
                      enum cv_tls_protocol protocol)
{
    struct cv_keypair key = key_of(1);
    struct cv_tls_config config = {0};

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd) == 0);
    REQUIRE(cv_tls_server(&p->server_ctx, &key, NULL, NULL) == CV_OK);
    REQUIRE(cv_tls_client(&p->client_ctx) == CV_OK);
    config.ctx = p->server_ctx;
    config.fd = p->fd[0];
    REQUIRE(cv_tls_new(&p->server, &config) == CV_OK);
    config.ctx = p->client_ctx;
    config.fd = p->fd[1];
    config.pinned = pinned;
    config.protocol = protocol;
    config.host = "gate.example";
    REQUIRE(cv_tls_new(&p->client, &config) == CV_OK);
}

static void close_pair(struct pair *p)
{
    cv_tls_free(p->server);
    cv_tls_free(p->client);
    cv_tls_ctx_free(p->server_ctx);
    cv_tls_ctx_free(p->client_ctx);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void shake(struct pair *p, int *server, int *client)
{
    *server = *client = CV_ERR_AGAIN;
    for (int i = 0; i < 20; i++) {
        if (*client == CV_ERR_AGAIN)
            *client = cv_tls_handshake(p->client);
        if (*server == CV_ERR_AGAIN)
            *server = cv_tls_handshake(p->server);
    }
}

TEST(the_pinned_key_is_proved_and_both_ends_export_the_same)
{
    struct cv_keypair key = key_of(1);
    uint8_t a[32], b[32], big[40000], got[40000];
    size_t in = 0, out = 0;
    struct pair p;
    int server, client;

    open_pair(&p, &key.pub, CV_TLS_GATE);
    shake(&p, &server, &client);
    CHECK_EQ(client, CV_OK);
    CHECK_EQ(server, CV_OK);
    CHECK_EQ(cv_tls_protocol(p.server), CV_TLS_GATE);
    CHECK_EQ(cv_tls_protocol(p.client), CV_TLS_GATE);
    CHECK_EQ(cv_tls_export(p.server, "label", a), CV_OK);
    CHECK_EQ(cv_tls_export(p.client, "label", b), CV_OK);
    CHECK_MEM(a, b, 32);

    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    while (in < sizeof big) {
        ptrdiff_t n = out < sizeof big
                          ? cv_tls_write(p.client, big + out, sizeof big - out)
                          : CV_ERR_AGAIN;

        CHECK(n > 0 || n == CV_ERR_AGAIN);
        if (n > 0)
            out += (size_t)n;
        n = cv_tls_read(p.server, got + in, sizeof got - in);
        CHECK(n > 0 || n == CV_ERR_AGAIN);
        if (n > 0)
            in += (size_t)n;
    }
    CHECK_MEM(big, got, sizeof big);
    CHECK_EQ(cv_tls_read(p.server, got, 1), CV_ERR_AGAIN);
    cv_tls_bye(p.client);
    CHECK_EQ(cv_tls_read(p.server, got, 1), CV_ERR_CLOSED);
    close_pair(&p);
}

TEST(another_key_than_the_pinned_one_is_refused)
{
    struct cv_keypair other = key_of(2);
    struct pair p;
    int server, client;

    open_pair(&p, &other.pub, CV_TLS_GATE);
    shake(&p, &server, &client);
    CHECK_EQ(client, CV_ERR_AUTH);
    CHECK(server != CV_OK);
    close_pair(&p);
}

TEST(what_is_no_tls_is_the_peers_fault)
{
    struct cv_keypair key = key_of(1);
    struct pair p;

    open_pair(&p, &key.pub, CV_TLS_HTTP);
    CHECK_EQ(write(p.fd[1], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    CHECK_EQ(cv_tls_handshake(p.server), CV_ERR_PEER);
    close_pair(&p);
}

TEST(a_websocket_says_http)
{
    struct cv_keypair key = key_of(1);
    struct pair p;
    int server, client;

    open_pair(&p, &key.pub, CV_TLS_HTTP);
    shake(&p, &server, &client);
    CHECK_EQ(server, CV_OK);
    CHECK_EQ(cv_tls_protocol(p.server), CV_TLS_HTTP);
    close_pair(&p);
}

RUN_TESTS(T(the_pinned_key_is_proved_and_both_ends_export_the_same),
          T(another_key_than_the_pinned_one_is_refused),
          T(what_is_no_tls_is_the_peers_fault), T(a_websocket_says_http))
