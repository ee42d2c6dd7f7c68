/* The ways to a gate, past everything that may stand before it: a real gate,
 * real links, and small proxies, on loopback. */
#include "tests/unit/relay_kit.h"

#include "tests/unit/gatelink_kit.h"

#define HELLO "covim-gate/1" /* ALPN goes in clear */

static struct relay relay;
static char cert_path[] = "/tmp/covim-cert-XXXXXX";
static char key_path[] = "/tmp/covim-key-XXXXXX";

static void use_proxy(const char *login, const char *no_proxy)
{
    char url[200], why[300];

    snprintf(url, sizeof url, "http://%s127.0.0.1:%u", login,
             (unsigned)relay.port);
    REQUIRE(cv_proxy_parse(&proxy, url, no_proxy, why, sizeof why) == CV_OK);
}

static void done(void)
{
    relay_close(&relay);
    teardown();
}

/* Up, and data gets through both ways, much and in order. */
static void works(struct end *e)
{
    static uint8_t packet[1200];
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    struct end *other;
    uint64_t sent = 0;
    cv_time until;

    WAIT(e->ups == 1, 10 * CV_SECOND);
    if (e->ups != 1)
        print_error("%s\n", cv_gatelink_trouble(e->link));
    REQUIRE(e->ups == 1);
    link_port = 0;
    link_host = link_path = NULL;
    other = join(2, "", NULL);
    WAIT(other->ups == 1, 10 * CV_SECOND);
    REQUIRE(other->ups == 1);
    open_channel(e, other);
    /* Both kinds of lengths that a WebSocket has for them. */
    f.u.data.channel = e->channel;
    f.u.data.packet = CV_LITERAL("short");
    REQUIRE(cv_gatelink_send(e->link, &f) == CV_OK);
    WAIT(other->packet_len == 5, 5 * CV_SECOND);
    REQUIRE(memcmp(other->packet, "short", 5) == 0);
    memset(packet, 0xa7, sizeof packet);
    f.u.data.packet = CV_BYTES(packet, sizeof packet);
    until = cv_time_now() + 10 * CV_SECOND;
    while (sent < 50 && cv_time_now() < until) {
        if (cv_gatelink_send(e->link, &f) == CV_OK)
            sent++;
        f.u.data.channel = other->channel;
        REQUIRE(cv_gatelink_send(other->link, &f) == CV_OK);
        f.u.data.channel = e->channel;
        cv_loop_once(loop, 0);
    }
    WAIT(e->bytes == 50 * sizeof packet && other->bytes == e->bytes + 5,
         10 * CV_SECOND);
    REQUIRE(e->bytes == 50 * sizeof packet);
    REQUIRE(other->bytes == e->bytes + 5);
    REQUIRE(memcmp(e->packet, packet, sizeof packet) == 0);
    REQUIRE(e->downs == 0);
}

static void begin(enum relay_kind kind)
{
    setup(CV_GATE_OPEN_TO_ALL);
    REQUIRE(relay_open(&relay, loop, kind, "127.0.0.1", 0,
                       cv_gate_server_port(server)));
    relay.cut = HELLO;
    relay.answer = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";
}

TEST(frames_in_tls_are_the_first_way)
{
    struct end *e;

    begin(RELAY_PLAIN);
    link_port = relay.port;
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(cv_gatelink_way(e->link), 0);
    CHECK_EQ(relay.accepted, 1);
    done();
}

TEST(where_its_protocol_is_cut_off_a_websocket_gets_through_and_is_remembered)
{
    struct end *e;

    begin(RELAY_CUTS);
    link_port = relay.port;
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(cv_gatelink_way(e->link), CV_GATE_WAY_WS);
    CHECK_EQ(relay.cuts, 1);
    relay_end_all(&relay);
    WAIT(e->ups == 2, 10 * CV_SECOND);
    CHECK_EQ(e->ups, 2);
    CHECK_EQ(cv_gatelink_way(e->link), CV_GATE_WAY_WS);
    CHECK_EQ(relay.cuts, 1);
    done();
}

TEST(where_its_protocol_is_swallowed_a_websocket_follows)
{
    struct end *e;

    begin(RELAY_SILENT);
    link_port = relay.port;
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(cv_gatelink_way(e->link), CV_GATE_WAY_WS);
    CHECK_EQ(relay.cuts, 1);
    done();
}

/* From now on nothing comes out of it any more, and nobody is told. */
static void swallow_everything(void)
{
    for (unsigned i = 0; i < RELAY_PAIRS; i++)
        for (unsigned k = 0; k < 2 && relay.pair[i].used; k++)
            cv_watch_set(relay.pair[i].watch[k], 0);
}

/* How long it is until a link that is swallowed is seen to be dead. */
static cv_time dead_after(struct end *e)
{
    cv_time since = cv_time_now();

    swallow_everything();
    if (e->channel != 0) {
        struct cv_gate_frame f = {.type = CV_GATE_DATA};

        f.u.data.channel = e->channel;
        f.u.data.packet = CV_LITERAL("typed");
        REQUIRE(cv_gatelink_send(e->link, &f) == CV_OK);
    } else {
        cv_gatelink_ask(e->link);
    }
    WAIT(e->downs > 0, 20 * CV_SECOND);
    REQUIRE(e->downs > 0);
    REQUIRE(strcmp(e->why, "the gate does not answer any more") == 0);
    return cv_time_now() - since;
}

TEST(a_link_that_is_swallowed_is_dead_within_four_seconds_of_what_was_sent)
{
    static const enum relay_kind kinds[] = {RELAY_PLAIN, RELAY_CUTS};

    for (unsigned i = 0; i < 2; i++) {
        struct end *e;
        cv_time took;

        begin(kinds[i]);
        link_port = relay.port;
        e = join(0, "", NULL);
        works(e);
        CHECK_EQ(cv_gatelink_way(e->link),
                 kinds[i] == RELAY_PLAIN ? 0 : CV_GATE_WAY_WS);
        WAIT(false, 100 * CV_MILLISECOND); /* nothing is under way */
        took = dead_after(e);
        CHECK(took >= CV_GATELINK_ASK + CV_GATELINK_PONG - CV_MILLISECOND);
        CHECK(took < CV_GATELINK_ASK + CV_GATELINK_PONG + 2 * CV_SECOND);
        /* And it is looked for again; what is in the way now lets it in. */
        WAIT(e->ups == 2, 10 * CV_SECOND);
        CHECK_EQ(e->ups, 2);
        done();
    }
}

TEST(who_asks_knows_within_three_seconds)
{
    struct end *e;
    cv_time took;

    begin(RELAY_PLAIN);
    link_port = relay.port;
    e = join(0, "", NULL);
    WAIT(e->ups == 1, 10 * CV_SECOND);
    REQUIRE(e->ups == 1);
    WAIT(cv_gatelink_rtt(e->link) > 0, 5 * CV_SECOND);
    took = dead_after(e);
    CHECK(took < CV_GATELINK_PONG + 2 * CV_SECOND);
    done();
}

/* Nobody answers what it sends, but the gate does: it stays up. */
TEST(a_link_on_which_only_one_side_speaks_lives)
{
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    struct end *e;
    cv_time until;

    begin(RELAY_PLAIN);
    link_port = relay.port;
    e = join(0, "", NULL);
    works(e);
    f.u.data.channel = e->channel;
    f.u.data.packet = CV_LITERAL("typed");
    until = cv_time_now() + CV_GATELINK_ASK + CV_GATELINK_PONG + CV_SECOND;
    while (cv_time_now() < until) {
        REQUIRE(cv_gatelink_send(e->link, &f) == CV_OK);
        WAIT(false, 50 * CV_MILLISECOND);
    }
    CHECK_EQ(e->downs, 0);
    done();
}

TEST(an_address_that_is_silent_does_not_hold_up_the_other_one)
{
    struct end *e;

    setup(CV_GATE_OPEN_TO_ALL);
    if (!relay_open(&relay, loop, RELAY_SILENT, "::1",
                    cv_gate_server_port(server), 0)) {
        print_message("no IPv6 here\n");
        done();
        skip();
    }
    relay.cut = "";
    link_host = "localhost";
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(cv_gatelink_remote(e->link).family, CV_FAMILY_IPV4);
    done();
}

/* ---- CONNECT ------------------------------------------------------------ */

TEST(a_proxy_carries_the_link_and_is_told_who_we_are)
{
    struct end *e;

    begin(RELAY_CONNECT);
    use_proxy("me:p%40ss@", NULL);
    link_port = 9; /* only the proxy can reach it */
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(cv_gatelink_way(e->link), CV_GATE_WAY_PROXY);
    CHECK(strstr(relay.request, "CONNECT 127.0.0.1:9 HTTP/1.1\r\n"
                                "Host: 127.0.0.1:9\r\n") == relay.request);
    CHECK(strstr(relay.request, "\r\nProxy-Authorization: Basic bWU6cEBzcw=="
                                "\r\n") != NULL);
    done();
}

TEST(what_a_proxy_answers_is_said)
{
    static const struct {
        const char *answer, *why;
    } cases[] = {
        {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
         "answered 407 Proxy Authentication Required; it wants to know"},
        {"HTTP/1.0 403 Forbidden\r\nX: \x1b[2J\r\n\r\n",
         "answered 403 Forbidden; it does not let covim through"},
        {"HTTP/1.1 502\r\n\r\n", "answered 502; it cannot reach the gate"},
        {"SSH-2.0-OpenSSH\r\n\r\n", "is no HTTP proxy"},
        {"", "broke off"},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct end *e;

        begin(RELAY_CONNECT);
        relay.answer = cases[i].answer;
        use_proxy("", NULL);
        link_port = 9;
        e = join(0, "", NULL);
        WAIT(e->downs > 0, 10 * CV_SECOND);
        if (!strstr(e->why, cases[i].why))
            print_error("%s\n", e->why);
        CHECK(strstr(e->why, cases[i].why) != NULL);
        CHECK_EQ(e->ups, 0);
        done();
    }
}

TEST(without_help_of_its_proxy_a_link_goes_straight)
{
    struct end *e;

    begin(RELAY_CONNECT);
    relay.answer = "HTTP/1.1 403 No\r\n\r\n";
    use_proxy("", NULL);
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(cv_gatelink_way(e->link), 0);
    done();
}

TEST(no_proxy_is_heeded)
{
    struct end *e;

    begin(RELAY_CONNECT);
    use_proxy("", "example.org, 127.0.0.0/8");
    e = join(0, "", NULL);
    works(e);
    CHECK_EQ(relay.accepted, 0);
    done();
}

/* ---- reverse proxies ---------------------------------------------------- */

/* A gate whose plain port is behind a relay that ends TLS. */
static void begin_reverse(void)
{
    proxied_port = relay_free_port();
    setup(CV_GATE_OPEN_TO_ALL);
    REQUIRE(relay_open(&relay, loop, RELAY_TLS, "127.0.0.1", 0, proxied_port));
    REQUIRE(cv_tls_server(&relay.tls, &gate_key, cert_path, key_path) == CV_OK);
    link_port = relay.port;
    link_path = CV_GATE_PATH;
    ca_file = cert_path;
}

TEST(behind_a_reverse_proxy_the_gate_proves_its_key_all_the_same)
{
    struct cv_keypair other = key_of(99);
    struct end *e, *fooled;

    begin_reverse();
    e = join(0, "", NULL);
    fooled = join(1, "", &other.pub);
    works(e);
    CHECK_EQ(cv_gatelink_way(e->link), CV_GATE_WAY_WS);
    WAIT(fooled->downs > 0, 10 * CV_SECOND);
    CHECK_EQ(fooled->ups, 0);
    CHECK(fooled->downs > 0);
    done();
}

TEST(a_certificate_that_nobody_vouches_for_gets_nothing)
{
    struct end *e;
    char other[] = "/tmp/covim-ca-XXXXXX", key[] = "/tmp/covim-cakey-XXXXXX";
    int fd = mkstemp(other), fd2 = mkstemp(key);

    REQUIRE(fd >= 0 && fd2 >= 0);
    relay_certificate(other, key);
    begin_reverse();
    ca_file = other;
    e = join(0, "", NULL);
    WAIT(e->downs > 0, 10 * CV_SECOND);
    CHECK(strstr(e->why, "certificate of 127.0.0.1") != NULL);
    CHECK_EQ(relay.passed, 0);
    done();
    close(fd);
    close(fd2);
    unlink(other);
    unlink(key);
}

TEST(a_path_without_a_gate_says_what_was_answered)
{
    struct end *e;

    begin_reverse();
    link_path = "/elsewhere";
    e = join(0, "", NULL);
    WAIT(e->downs > 0, 10 * CV_SECOND);
    if (!strstr(e->why, "404"))
        print_error("%s\n", e->why);
    CHECK(strstr(e->why, "404 Not Found") != NULL);
    done();
}

TEST(a_gate_that_ends_tls_itself_needs_no_wss)
{
    struct end *e;

    cert_file = cert_path;
    key_file = key_path;
    setup(CV_GATE_OPEN_TO_ALL);
    link_path = CV_GATE_PATH;
    ca_file = cert_path;
    e = join(0, "", NULL);
    WAIT(e->downs > 0, 10 * CV_SECOND);
    if (!strstr(e->why, "wss://"))
        print_error("%s\n", e->why);
    CHECK(strstr(e->why, "wss://") != NULL);
    CHECK_EQ(e->ups, 0);
    done();
}

static int make_certificate(void **state)
{
    int cert = mkstemp(cert_path), key = mkstemp(key_path);

    (void)state;
    if (cert < 0 || key < 0)
        return -1;
    close(cert);
    close(key);
    relay_certificate(cert_path, key_path);
    return 0;
}

static int remove_certificate(void **state)
{
    (void)state;
    unlink(cert_path);
    unlink(key_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(frames_in_tls_are_the_first_way),
        T(where_its_protocol_is_cut_off_a_websocket_gets_through_and_is_remembered),
        T(where_its_protocol_is_swallowed_a_websocket_follows),
        T(a_link_that_is_swallowed_is_dead_within_four_seconds_of_what_was_sent),
        T(who_asks_knows_within_three_seconds),
        T(a_link_on_which_only_one_side_speaks_lives),
        T(an_address_that_is_silent_does_not_hold_up_the_other_one),
        T(a_proxy_carries_the_link_and_is_told_who_we_are),
        T(what_a_proxy_answers_is_said),
        T(without_help_of_its_proxy_a_link_goes_straight),
        T(no_proxy_is_heeded),
        T(behind_a_reverse_proxy_the_gate_proves_its_key_all_the_same),
        T(a_certificate_that_nobody_vouches_for_gets_nothing),
        T(a_path_without_a_gate_says_what_was_answered),
        T(a_gate_that_ends_tls_itself_needs_no_wss),
    };

    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
