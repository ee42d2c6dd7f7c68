#include "gate/ws.h"
#include "tests/test.h"

static const char request[] =
    "GET /covim HTTP/1.1\r\nHost: example.org\r\nupgrade: WebSocket\r\n"
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static uint8_t sent[400000], got[CV_GATE_MESSAGE];
static size_t sent_len, got_len;
static unsigned messages;
static bool full;

static int on_message(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    messages++;
    got_len = len;
    memcpy(got, data, len);
    return 0;
}

static int on_send(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    if (full || sent_len + len > sizeof sent)
        return CV_ERR_AGAIN;
    memcpy(sent + sent_len, data, len);
    sent_len += len;
    return CV_OK;
}

static struct cv_gate_ws *fresh(void)
{
    static const struct cv_gate_ws_events events = {on_message, on_send};
    struct cv_gate_ws *ws;

    sent_len = got_len = messages = 0;
    full = false;
    REQUIRE(cv_gate_ws_new(&ws, &events, NULL) == CV_OK);
    return ws;
}

/* A masked frame as a client sends it; its length. */
static size_t frame(uint8_t *out, uint8_t first, const uint8_t *data,
                    size_t len)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    size_t at = 0;

    out[at++] = first;
    if (len < 126) {
        out[at++] = (uint8_t)(0x80 | len);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(len >> 8);
        out[at++] = (uint8_t)len;
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < len; i++)
        out[at++] = data[i] ^ mask[i % 4];
    return at;
}

/* The key and its answer are those of RFC 6455, 1.3. */
TEST(a_request_is_read_and_accepted)
{
    struct cv_gate_http http;
    uint8_t out[256];
    struct cv_writer w;
    size_t used;

    CHECK_EQ(cv_gate_http_parse(&http, (const uint8_t *)request,
                                sizeof request - 1, &used),
             CV_OK);
    CHECK_EQ(used, sizeof request - 1);
    CHECK_STR(http.path, "/covim");
    CHECK(http.upgrade);
    CHECK_STR(http.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK_STR(http.forwarded, "192.0.2.2");
    cv_writer_init(&w, out, sizeof out);
    cv_gate_http_accept(&http, &w);
    CHECK(memmem(out, w.len, http.accept, strlen(http.accept)) != NULL);
    for (size_t len = 0; len < sizeof request - 1; len++)
        CHECK_EQ(
            cv_gate_http_parse(&http, (const uint8_t *)request, len, &used),
            CV_ERR_AGAIN);
}

TEST(what_is_no_request_is_refused)
{
    static const char *const bad[] = {
        "POST / HTTP/1.1\r\n\r\n", "GET covim HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n",           "GET / SPDY/1\r\n\r\n",
        "\x16\x03\x01\r\n\r\n",
    };
    static uint8_t endless[CV_GATE_HTTP_MAX];
    struct cv_gate_http http;
    size_t used;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(cv_gate_http_parse(&http, (const uint8_t *)bad[i],
                                    strlen(bad[i]), &used),
                 CV_ERR_FORMAT);
    memset(endless, 'a', sizeof endless);
    CHECK_EQ(cv_gate_http_parse(&http, endless, sizeof endless - 1, &used),
             CV_ERR_AGAIN);
    CHECK_EQ(cv_gate_http_parse(&http, endless, sizeof endless, &used),
             CV_ERR_FORMAT);
}

TEST(messages_come_whole_however_the_bytes_are_cut)
{
    static uint8_t data[5000], out[6000];
    struct cv_gate_ws *ws = fresh();
    size_t len;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    len = frame(out, 0x82, data, sizeof data);
    for (size_t i = 0; i < len; i++)
        CHECK_EQ(cv_gate_ws_input(ws, out + i, 1), CV_OK);
    CHECK_EQ(messages, 1);
    CHECK_EQ(got_len, sizeof data);
    CHECK_MEM(got, data, sizeof data);
    /* In two fragments. */
    len = frame(out, 0x02, data, 1000);
    len += frame(out + len, 0x80, data + 1000, 500);
    CHECK_EQ(cv_gate_ws_input(ws, out, len), CV_OK);
    CHECK_EQ(messages, 2);
    CHECK_EQ(got_len, 1500);
    CHECK_MEM(got, data, 1500);
    cv_gate_ws_free(ws);
}

TEST(what_is_said_is_one_message)
{
    struct cv_gate_ws *ws = fresh();
    uint8_t data[CV_GATE_SAY_MAX + 1] = {1, 2, 3};

    CHECK_EQ(cv_gate_ws_say(ws, data, 3), CV_OK);
    CHECK_EQ(sent_len, 5);
    CHECK_MEM(sent, "\x82\x03\x01\x02\x03", 5);
    CHECK_EQ(cv_gate_ws_say(ws, data, 300), CV_OK);
    CHECK_EQ(sent_len, 5 + 304);
    CHECK_MEM(sent + 5, "\x82\x7e\x01\x2c", 4);
    CHECK_EQ(cv_gate_ws_say(ws, data, sizeof data), CV_ERR_INVALID);
    cv_gate_ws_free(ws);
}

TEST(pings_are_answered_and_closing_is_closing)
{
    struct cv_gate_ws *ws = fresh();
    uint8_t out[64];
    size_t len = frame(out, 0x89, (const uint8_t *)"hi", 2);

    CHECK_EQ(cv_gate_ws_input(ws, out, len), CV_OK);
    CHECK_EQ(sent_len, 4);
    CHECK_MEM(sent, "\x8a\x02hi", 4);
    len = frame(out, 0x88, (const uint8_t *)"\x03\xe8", 2);
    CHECK_EQ(cv_gate_ws_input(ws, out, len), CV_ERR_CLOSED);
    cv_gate_ws_free(ws);
}

TEST(broken_frames_end_it)
{
    static uint8_t data[CV_GATE_MESSAGE + 1], out[sizeof data + 16];
    struct cv_gate_ws *ws = fresh();

    CHECK_EQ(cv_gate_ws_input(ws, (const uint8_t *)"\x82\x01x", 3),
             CV_ERR_PEER); /* not masked */
    cv_gate_ws_free(ws);
    ws = fresh(); /* a length of 2^62 */
    memcpy(out, "\x82\xff\x40\0\0\0\0\0\0\0\1\2\3\4x", 15);
    CHECK(cv_gate_ws_input(ws, out, 15) != CV_OK);
    CHECK_EQ(messages, 0);
    cv_gate_ws_free(ws);
    ws = fresh(); /* fragments without end */
    for (unsigned i = 0; i < 100; i++) {
        size_t len = frame(out, i == 0 ? 0x02 : 0x00, data, 1000);

        if (cv_gate_ws_input(ws, out, len) != CV_OK)
            break;
        CHECK(i * 1000 <= CV_GATE_MESSAGE);
    }
    CHECK_EQ(messages, 0);
    cv_gate_ws_free(ws);
}

/* Its pongs must not pile up where nobody takes them. */
TEST(who_pings_and_never_reads_is_cut_off)
{
    struct cv_gate_ws *ws = fresh();
    uint8_t out[64];
    size_t len = frame(out, 0x89, (const uint8_t *)"hi", 2);
    unsigned pings = 0;

    full = true;
    while (pings < 1000 && cv_gate_ws_input(ws, out, len) == CV_OK)
        pings++;
    CHECK_EQ(pings, CV_GATE_PONGS);
    cv_gate_ws_free(ws);
}

RUN_TESTS(T(a_request_is_read_and_accepted), T(what_is_no_request_is_refused),
          T(messages_come_whole_however_the_bytes_are_cut),
          T(what_is_said_is_one_message),
          T(pings_are_answered_and_closing_is_closing), T(broken_frames_end_it),
          T(who_pings_and_never_reads_is_cut_off))
