#include "tests/test.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "cli/rpc.h"

struct peer {
    struct cv_loop *loop;
    struct cv_rpc *rpc;
    int to, from; /* our ends of the two pipes */
    unsigned messages;
    char method[64];
    struct cv_rpc_id id;
    uint64_t number;
    bool closed;
    int err;
};

static void on_message(void *user, const char *method,
                       const struct cv_rpc_id *id, const struct cv_json *params)
{
    struct peer *p = user;

    p->messages++;
    snprintf(p->method, sizeof(p->method), "%s", method);
    p->id = *id;
    p->number = 0;
    cv_json_get_uint(params, "n", &p->number);
}

static void on_closed(void *user, int err)
{
    struct peer *p = user;

    p->closed = true;
    p->err = err;
}

static const struct cv_rpc_events events = {on_message, on_closed};

static void open_peer(struct peer *p)
{
    int in[2], out[2];

    memset(p, 0, sizeof(*p));
    REQUIRE(pipe(in) == 0 && pipe(out) == 0);
    p->to = in[1];
    p->from = out[0];
    REQUIRE(cv_loop_new(&p->loop) == CV_OK);
    REQUIRE(cv_rpc_new(&p->rpc, p->loop, NULL, in[0], out[1], &events, p) ==
            CV_OK);
}

static void feed(struct peer *p, const char *text, size_t len)
{
    REQUIRE(write(p->to, text, len) == (ssize_t)len);
    cv_loop_once(p->loop, cv_loop_now(p->loop) + 20 * CV_MILLISECOND);
}

static void close_peer(struct peer *p)
{
    cv_rpc_free(p->rpc);
    cv_loop_free(p->loop);
    close(p->to);
    close(p->from);
}

static void read_answer(struct peer *p, char *out, size_t len)
{
    struct pollfd ready = {.fd = p->from, .events = POLLIN};
    ssize_t n;

    REQUIRE(poll(&ready, 1, 5000) == 1);
    n = read(p->from, out, len - 1);
    REQUIRE(n >= 0);
    out[n] = '\0';
}

static const char framed[] =
    "Content-Length: 56\r\n\r\n"
    "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"params\":{\"n\":3}}  ";

TEST(a_message_may_come_in_any_pieces)
{
    for (size_t cut = 1; cut < sizeof(framed) - 1; cut++) {
        struct peer p;

        open_peer(&p);
        feed(&p, framed, cut);
        CHECK_EQ(p.messages, 0);
        feed(&p, framed + cut, sizeof(framed) - 1 - cut);
        CHECK_EQ(p.messages, 1);
        CHECK_STR(p.method, "m");
        CHECK(p.id.present && p.id.number == 7 && p.number == 3);
        close_peer(&p);
    }
}

TEST(several_messages_may_come_at_once_and_are_answered_in_kind)
{
    static const char lines[] = "{\"method\":\"a\",\"params\":{\"n\":1}}\n\n"
                                "not json\n{\"method\":\"b\",\"id\":\"x\"}\n";
    struct peer p;
    char answer[256];

    open_peer(&p);
    feed(&p, lines, sizeof(lines) - 1);
    CHECK_EQ(p.messages, 2);
    CHECK_STR(p.method, "b");
    CHECK(p.id.present && p.id.is_text);
    cv_json_put_text(cv_rpc_result(p.rpc, &p.id), "say", "\x01\"\\\n\xc3\xa9");
    cv_rpc_send(p.rpc);
    read_answer(&p, answer, sizeof(answer));
    CHECK_STR(answer, "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"say\":"
                      "\"\\u0001\\u0022\\u005c\\n\xc3\xa9\"}}\n");
    close_peer(&p);

    open_peer(&p);
    feed(&p, framed, sizeof(framed) - 1);
    cv_rpc_error(p.rpc, &p.id, CV_RPC_BAD_KEY, "no", "try");
    read_answer(&p, answer, sizeof(answer));
    CHECK_STR(answer, "Content-Length: 85\r\n\r\n{\"jsonrpc\":\"2.0\","
                      "\"id\":7,\"error\":{\"code\":-32001,\"message\":\"no\","
                      "\"data\":{\"hint\":\"try\"}}}");
    close_peer(&p);
}

TEST(what_is_no_message_ends_it)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"Content-Length: nine\r\n\r\n", CV_ERR_FORMAT},
        {"X: y\r\n\r\n", CV_ERR_FORMAT},
        {"Content-Length: 99999999999999999999\r\n\r\n", CV_ERR_LIMIT},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer p;

        open_peer(&p);
        feed(&p, cases[i].text, strlen(cases[i].text));
        CHECK(p.closed);
        CHECK_EQ(p.err, cases[i].err);
        CHECK_EQ(p.messages, 0);
        close_peer(&p);
    }
}

TEST(an_endless_header_ends_it)
{
    char junk[8192];
    struct peer p;

    memset(junk, 'x', sizeof(junk));
    open_peer(&p);
    feed(&p, junk, sizeof(junk));
    CHECK(p.closed);
    CHECK_EQ(p.err, CV_ERR_FORMAT);
    close_peer(&p);
}

TEST(the_end_of_input_is_no_error)
{
    struct peer p;

    open_peer(&p);
    close(p.to);
    p.to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    cv_loop_once(p.loop, cv_loop_now(p.loop) + CV_SECOND);
    CHECK(p.closed);
    CHECK_EQ(p.err, CV_OK);
    close_peer(&p);
}

TEST(a_slow_reader_gets_everything_in_order)
{
    static char big[100000];
    struct peer p;
    size_t got = 0, wanted = 0;
    ssize_t n;

    memset(big, 'y', sizeof(big) - 1);
    open_peer(&p);
    feed(&p, "{}\n", 3);
    for (int i = 0; i < 20; i++) { /* far more than a pipe holds */
        cv_json_put_text(cv_rpc_notify(p.rpc, "m"), "text", big);
        cv_rpc_send(p.rpc);
    }
    wanted = 20 * (sizeof(big) - 1 +
                   strlen("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":"
                          "{\"text\":\"\"}}\n"));
    REQUIRE(fcntl(p.from, F_SETFL, O_NONBLOCK) == 0);
    for (int i = 0; got < wanted && i < 10000; i++) {
        while ((n = read(p.from, big, sizeof(big))) > 0)
            got += (size_t)n;
        cv_loop_once(p.loop, cv_loop_now(p.loop) + CV_MILLISECOND);
    }
    CHECK_EQ(got, wanted);
    close_peer(&p);
}

RUN_TESTS(T(a_message_may_come_in_any_pieces),
          T(several_messages_may_come_at_once_and_are_answered_in_kind),
          T(what_is_no_message_ends_it), T(an_endless_header_ends_it),
          T(the_end_of_input_is_no_error),
          T(a_slow_reader_gets_everything_in_order))
