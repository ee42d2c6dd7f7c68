/* What stands in the way of a link and is text: answers, proxies, WebSocket
 * messages; and the order of ways and addresses. */
#include "gate/ws.h"
#include "tests/test.h"
#include "transport/gatedial.h"

static int parse(struct cv_http_answer *a, const char *text, size_t *used)
{
    return cv_http_answer_parse(a, (const uint8_t *)text, strlen(text), used);
}

TEST(an_answer_is_read_whole_or_not_at_all)
{
    static const char text[] = "HTTP/1.1 200 Connection\x07 established\r\n"
                               "A: b\r\n\r\n\0est";
    struct cv_http_answer a;
    size_t used, head = sizeof text - 5;

    for (size_t n = 0; n < head; n++)
        CHECK_EQ(cv_http_answer_parse(&a, (const uint8_t *)text, n, &used),
                 CV_ERR_AGAIN);
    CHECK_EQ(parse(&a, text, &used), CV_OK);
    CHECK_EQ(used, head);
    CHECK_EQ(a.status, 200);
    CHECK_STR(a.reason, "Connection established");
    CHECK(!a.upgraded);
}

TEST(what_is_no_answer_is_refused)
{
    static const char *const bad[] = {
        "SSH-2.0",
        "HTTP/2",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20 x\r\n\r\n",
        "HTTP/1.1 2000\r\n\r\n",
        "HTTP/1.1 099 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    };
    static uint8_t endless[CV_HTTP_HEAD_MAX];
    struct cv_http_answer a;
    size_t used;

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(parse(&a, bad[i], &used), CV_ERR_FORMAT);
    memset(endless, 'x', sizeof endless);
    memcpy(endless, "HTTP/1.1 200 ", 13);
    CHECK_EQ(cv_http_answer_parse(&a, endless, sizeof endless - 1, &used),
             CV_ERR_AGAIN);
    CHECK_EQ(cv_http_answer_parse(&a, endless, sizeof endless, &used),
             CV_ERR_FORMAT);
}

TEST(only_the_answer_to_our_key_is_an_upgrade)
{
    /* The example of RFC 6455, 1.3. */
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
    static const struct {
        const char *text;
        bool accepted;
    } cases[] = {
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
         "Connection: keep-alive, Upgrade\r\n"
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         true},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
         "Connection: Upgrade\r\n"
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n\r\n",
         false},
        {"HTTP/1.1 200 OK\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         false},
        {"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         false},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Extensions: permessage-deflate\r\n"
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         false},
        {"HTTP/1.1 101 x\r\n\r\n", false},
        {"HTTP/1.1 101 x\r\r\n\r\n", false},
    };
    struct cv_http_answer a;
    size_t used;

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(parse(&a, cases[i].text, &used), CV_OK);
        CHECK_EQ(cv_gatews_accepted(&a, key), cases[i].accepted);
    }
}

/* ---- proxies ------------------------------------------------------------ */

TEST(a_proxy_is_named_by_a_url)
{
    static const struct {
        const char *url, *host;
        unsigned port;
        const char *login;
    } cases[] = {
        {"", "", 0, ""},
        {"http://proxy.example", "proxy.example", 80, ""},
        {"HTTP://proxy.example:3128/", "proxy.example", 3128, ""},
        {"proxy.example:8080", "proxy.example", 8080, ""},
        {"http://[fd00::1]:3128", "fd00::1", 3128, ""},
        {"http://a:b@p:1", "p", 1, "YTpi"},
        {"http://a:%40%3a@p:1", "p", 1, "YTpAOg=="},
        {"http://a:b@c@p:1", "p", 1, "YTpiQGM="},
        {"http://a@p:1", "p", 1, "YTo="},
        {"http://a:100%@p:1", "p", 1, "YToxMDAl"},
    };
    struct cv_proxy p;
    char why[300], longest[1000];

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(cv_proxy_parse(&p, cases[i].url, NULL, why, sizeof why),
                 CV_OK);
        CHECK_STR(p.host, cases[i].host);
        CHECK_EQ(p.port, cases[i].port);
        CHECK_STR(p.login, cases[i].login);
    }
    CHECK_EQ(cv_proxy_parse(&p, "socks5://p:1", NULL, why, sizeof why),
             CV_ERR_FORMAT);
    CHECK_EQ(cv_proxy_parse(&p, "http://a:secret@:x", NULL, why, sizeof why),
             CV_ERR_FORMAT);
    CHECK(strstr(why, "secret") == NULL);
    CHECK_STR(p.host, "");
    snprintf(longest, sizeof longest, "http://%0255d@p:1", 7);
    CHECK_EQ(cv_proxy_parse(&p, longest, NULL, why, sizeof why), CV_OK);
    snprintf(longest, sizeof longest, "http://%0256d@p:1", 7);
    CHECK_EQ(cv_proxy_parse(&p, longest, NULL, why, sizeof why), CV_ERR_FORMAT);
}

TEST(no_proxy_names_hosts_domains_and_networks)
{
    static const struct {
        const char *except, *host;
        unsigned port;
        bool used;
    } cases[] = {
        {"", "gate.example", 443, true},
        {"*", "gate.example", 443, false},
        {"example", "gate.example", 443, false},
        {".example", "gate.example", 443, false},
        {"*.example", "gate.example", 443, false},
        {"a, GATE.example ,b", "gate.EXAMPLE", 443, false},
        {"ate.example", "gate.example", 443, true},
        {"gate.example.org", "gate.example", 443, true},
        {"gate.example:8443", "gate.example", 443, true},
        {"gate.example:443", "gate.example", 443, false},
        {"192.0.2.1", "192.0.2.1", 443, false},
        {"192.0.2.0/24", "192.0.2.77", 443, false},
        {"192.0.2.0/24", "192.0.3.77", 443, true},
        {"192.0.2.1:8443", "192.0.2.1", 443, true},
        {"fd00::/8", "fd12::1", 443, false},
        {"fd12::1", "fd12::1", 443, false},
        {"2.1", "192.0.2.1", 443, true},
        {"/", "192.0.2.1", 443, true},
    };
    struct cv_proxy p;
    char why[300];

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(
            cv_proxy_parse(&p, "http://p", cases[i].except, why, sizeof why),
            CV_OK);
        if (cv_proxy_used(&p, cases[i].host, (uint16_t)cases[i].port) !=
            cases[i].used)
            print_error("no_proxy=%s, %s\n", cases[i].except, cases[i].host);
        CHECK_EQ(cv_proxy_used(&p, cases[i].host, (uint16_t)cases[i].port),
                 cases[i].used);
    }
    memset(&p, 0, sizeof p);
    CHECK(!cv_proxy_used(&p, "gate.example", 443));
}

TEST(the_environment_names_the_proxy_in_small_letters_first)
{
    struct cv_proxy p;
    char why[300];

    setenv("HTTPS_PROXY", "http://big:1", 1);
    setenv("NO_PROXY", "example", 1);
    unsetenv("https_proxy");
    unsetenv("no_proxy");
    CHECK_EQ(cv_proxy_environment(&p, why, sizeof why), CV_OK);
    CHECK_STR(p.host, "big");
    CHECK(!cv_proxy_used(&p, "gate.example", 443));
    setenv("https_proxy", "http://small:1", 1);
    setenv("no_proxy", "", 1);
    CHECK_EQ(cv_proxy_environment(&p, why, sizeof why), CV_OK);
    CHECK_STR(p.host, "small");
    CHECK(cv_proxy_used(&p, "gate.example", 443));
    unsetenv("HTTPS_PROXY");
    unsetenv("NO_PROXY");
    unsetenv("https_proxy");
    unsetenv("no_proxy");
}

TEST(a_tunnel_is_asked_for_with_both_names_of_an_ipv6_address_in_brackets)
{
    struct cv_proxy p;
    uint8_t out[1024];
    struct cv_writer w;
    char why[300];

    CHECK_EQ(cv_proxy_parse(&p, "http://p", NULL, why, sizeof why), CV_OK);
    cv_writer_init(&w, out, sizeof out);
    CHECK_EQ(cv_proxy_request(&p, "fd00::1", 443, &w), CV_OK);
    CHECK_MEM(out, "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n",
              53);
    CHECK_MEM(out + w.len - 4, "\r\n\r\n", 4);
}

/* ---- messages ----------------------------------------------------------- */

static uint8_t sink[1 << 18];
static size_t sunk;

static int to_sink(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    REQUIRE(sunk + len <= sizeof sink);
    memcpy(sink + sunk, data, len);
    sunk += len;
    return CV_OK;
}

static const struct cv_gate_ws_events server_events = {to_sink, to_sink};

static struct cv_gatews *client(void)
{
    struct cv_gatews *ws;

    REQUIRE(cv_gatews_new(&ws, &cv_rng_system) == CV_OK);
    sunk = 0;
    return ws;
}

/* What the gate's own side makes of it. */
TEST(what_a_client_says_is_what_a_gate_hears)
{
    static const size_t lengths[] = {1, 125, 126, 127, 1000, 2050};
    static uint8_t data[2050], wire[2100];
    struct cv_gatews *ws = client();
    struct cv_gate_ws *gate;
    struct cv_writer w;

    CHECK_EQ(cv_gate_ws_new(&gate, &server_events, NULL), CV_OK);
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memset(data, (int)(i + 1), sizeof data);
        cv_writer_init(&w, wire, sizeof wire);
        CHECK_EQ(cv_gatews_encode(ws, &w, data, lengths[i]), CV_OK);
        CHECK(w.len <= lengths[i] + CV_GATEWS_HEADER);
        /* Masked: nothing of it is to be seen as it is. */
        CHECK(lengths[i] < 8 || !memmem(wire, w.len, data, 8));
        sunk = 0;
        CHECK_EQ(cv_gate_ws_input(gate, wire, w.len), CV_OK);
        CHECK_EQ(sunk, lengths[i]);
        CHECK_MEM(sink, data, lengths[i]);
    }
    cv_gate_ws_free(gate);
    cv_gatews_free(ws);
}

/* In pieces of every size, with pings in between. */
TEST(what_a_gate_says_is_what_a_client_hears)
{
    static uint8_t said[40000], heard[40000], piece[7000];
    size_t n_said = 0;
    struct cv_gate_ws *gate;

    for (size_t size = 1; size < sizeof piece; size = size * 3 + 1) {
        struct cv_gatews *ws = client();
        size_t n_heard = 0, pongs = 0;

        n_said = 0;
        CHECK_EQ(cv_gate_ws_new(&gate, &server_events, NULL), CV_OK);
        for (size_t len = 1; len < 2300; len += 127) {
            memset(said + n_said, (int)len, len);
            CHECK_EQ(cv_gate_ws_say(gate, said + n_said, len), CV_OK);
            n_said += len;
            to_sink(NULL, (const uint8_t *)"\x89\x02hi", 4);
        }
        for (size_t at = 0; at < sunk; at += size) {
            size_t n = sunk - at < size ? sunk - at : size;

            memcpy(piece, sink + at, n);
            CHECK_EQ(cv_gatews_decode(ws, piece, &n), CV_OK);
            memcpy(heard + n_heard, piece, n);
            n_heard += n;
            pongs += cv_gatews_answers(ws).len / 8;
        }
        CHECK_EQ(n_heard, n_said);
        CHECK_MEM(heard, said, n_said);
        CHECK_EQ(pongs, 19);
        cv_gate_ws_free(gate);
        cv_gatews_free(ws);
    }
}

TEST(a_server_that_breaks_the_rules_is_left)
{
    static const struct {
        const char *bytes;
        size_t len;
        int err;
    } cases[] = {
        {"\x82\x81\0\0\0\0x", 7, CV_ERR_PEER}, /* masked */
        {"\x81\x01x", 3, CV_ERR_PEER},         /* text */
        {"\xc2\x01x", 3, CV_ERR_PEER},         /* an extension's bit */
        {"\x83\x01x", 3, CV_ERR_PEER},         /* no such opcode */
        {"\x89\x7e\0\x80", 4, CV_ERR_PEER},    /* a ping that is too long */
        {"\x80\x01x", 3, CV_ERR_PEER},         /* goes on with nothing */
        {"\x88\x00", 2, CV_ERR_CLOSED},
        {"\x88\x02\x03\xe8", 4, CV_ERR_CLOSED},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cv_gatews *ws = client();
        uint8_t data[16];
        size_t len = cases[i].len;

        memcpy(data, cases[i].bytes, len);
        CHECK_EQ(cv_gatews_decode(ws, data, &len), cases[i].err);
        CHECK_EQ(len, 0);
        cv_gatews_free(ws);
    }
}

TEST(a_flood_of_pings_is_not_answered_without_end)
{
    struct cv_gatews *ws = client();
    static uint8_t pings[65536];
    size_t len = sizeof pings;

    for (size_t i = 0; i < sizeof pings; i += 2)
        memcpy(pings + i, "\x89\x00", 2);
    CHECK_EQ(cv_gatews_decode(ws, pings, &len), CV_ERR_PEER);
    CHECK(cv_gatews_answers(ws).len <= CV_GATEWS_ANSWERS);
    cv_gatews_free(ws);
}

/* ---- order -------------------------------------------------------------- */

TEST(addresses_are_tried_by_turns_of_their_families)
{
    struct cv_addr a[5];

    for (unsigned i = 0; i < 5; i++)
        a[i] =
            (struct cv_addr){.family = i < 3 ? CV_FAMILY_IPV6 : CV_FAMILY_IPV4,
                             .port = (uint16_t)i};
    cv_gatedial_interleave(a, 5);
    for (unsigned i = 0; i < 5; i++)
        CHECK_EQ(a[i].port, ((unsigned[]){0, 3, 1, 4, 2})[i]);
    cv_gatedial_interleave(a, 1);
    cv_gatedial_interleave(a, 0);
}

TEST(the_way_that_worked_comes_first_and_the_one_that_did_not_last)
{
    struct cv_gatedial_memory m;

    cv_gatedial_memory_init(&m);
    CHECK_EQ(m.order[0], CV_GATE_WAY_PROXY);
    CHECK_EQ(m.order[1], 0);
    cv_gatedial_good(&m, CV_GATE_WAY_WS);
    CHECK_EQ(m.order[0], CV_GATE_WAY_WS);
    CHECK_EQ(m.order[1], CV_GATE_WAY_PROXY);
    cv_gatedial_bad(&m, CV_GATE_WAY_WS);
    CHECK_EQ(m.order[0], CV_GATE_WAY_PROXY);
    CHECK_EQ(m.order[3], CV_GATE_WAY_WS);
    cv_gatedial_bad(&m, CV_GATE_WAY_WS);
    cv_gatedial_good(&m, CV_GATE_WAY_PROXY);
    CHECK_EQ(m.order[0], CV_GATE_WAY_PROXY);
    CHECK_EQ(m.order[3], CV_GATE_WAY_WS);
}

RUN_TESTS(
    T(an_answer_is_read_whole_or_not_at_all), T(what_is_no_answer_is_refused),
    T(only_the_answer_to_our_key_is_an_upgrade), T(a_proxy_is_named_by_a_url),
    T(no_proxy_names_hosts_domains_and_networks),
    T(the_environment_names_the_proxy_in_small_letters_first),
    T(a_tunnel_is_asked_for_with_both_names_of_an_ipv6_address_in_brackets),
    T(what_a_client_says_is_what_a_gate_hears),
    T(what_a_gate_says_is_what_a_client_hears),
    T(a_server_that_breaks_the_rules_is_left),
    T(a_flood_of_pings_is_not_answered_without_end),
    T(addresses_are_tried_by_turns_of_their_families),
    T(the_way_that_worked_comes_first_and_the_one_that_did_not_last))
