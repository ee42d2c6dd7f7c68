#include "base/addr.h"
#include "tests/test.h"

#include <arpa/inet.h>

static struct cv_addr parse(const char *text)
{
    struct cv_addr a;

    REQUIRE(cv_addr_parse(&a, text, 0) == CV_OK);
    return a;
}

TEST(addresses_parse_and_come_back)
{
    static const struct {
        const char *text, *again;
    } cases[] = {
        {"1.2.3.4:5", "1.2.3.4:5"},
        {"1.2.3.4", "1.2.3.4:7"},
        {"[::1]:5", "[::1]:5"},
        {"[::1]", "[::1]:7"},
        {"::1", "[::1]:7"},
        {"2001:db8::1:5", "[2001:db8::1:5]:7"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"255.255.255.255:65535", "255.255.255.255:65535"},
        {"[2001:DB8::A]:65535", "[2001:db8::a]:65535"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"[::ffff:10.1.2.3]:5", "10.1.2.3:5"},
        {"::ffff:10.1.2.3", "10.1.2.3:7"},
        {"[64:ff9b::1.2.3.4]:5", "[64:ff9b::102:304]:5"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CV_ADDR_TEXT];
        struct cv_addr a, b;

        CHECK_EQ(cv_addr_parse(&a, cases[i].text, 7), CV_OK);
        CHECK_STR(cv_addr_format(&a, text), cases[i].again);
        CHECK_EQ(cv_addr_parse(&b, text, 1), CV_OK);
        CHECK(cv_addr_equal(&a, &b));
        CHECK_MEM(&a, &b, sizeof(a));
    }
}

TEST(what_is_no_address_is_refused)
{
    static const char *const cases[] = {
        "",          ":5",          "1.2.3.4:",        "1.2.3.4:65536",
        "1.2.3.4:x", "1.2.3.4:-1",  "1.2.3.4:+1",      "1.2.3.4:000001",
        "1.2.3",     "1.2.3.256",   "1.2.3.4.5",       "01.2.3.4",
        "[::1",      "[::1]5",      "[::1]:",          "[::1]:70000",
        "[]:5",      "[1.2.3.4]:5", "[::1%eth0]:5",    "fe80::1%eth0",
        ":::",       "::1::2",      " 1.2.3.4",        "1.2.3.4 ",
        "name",      "name:5",      "[::1]:5:6",       "1.2.3.4:5:6",
        "[[::1]]:5", "::1]:5",      "1.2.3.4:5\n",     "0x1.2.3.4",
        "12345",     "1.2.3.4/24",  "[::ffff:1.2.3]:5"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_addr a;

        if (cv_addr_parse(&a, cases[i], 7) != CV_ERR_FORMAT)
            print_error("taken: \"%s\"\n", cases[i]);
        CHECK_EQ(cv_addr_parse(&a, cases[i], 7), CV_ERR_FORMAT);
    }
}

TEST(host_and_port_are_split)
{
    static const struct {
        const char *text, *host;
        int port; /* -1: refused */
    } cases[] = {
        {"bootstrap.jami.net:4222", "bootstrap.jami.net", 4222},
        {"localhost", "localhost", 99},
        {"1.2.3.4:80", "1.2.3.4", 80},
        {"[2001:db8::1]:80", "2001:db8::1", 80},
        {"[2001:db8::1]", "2001:db8::1", 99},
        {"2001:db8::1", "2001:db8::1", 99},
        {"", "", -1},
        {":80", "", -1},
        {"host:", "", -1},
        {"host:http", "", -1},
        {"host:65536", "", -1},
        {"a b:80", "", -1},
        {"[name]:80", "", -1},
        {"a:b:c", "", -1},
        {"user@host:80", "", -1},
        {"http://host", "", -1},
        {"[::1", "", -1},
    };
    char host[256], longest[300];
    uint16_t port;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err = cv_host_port_parse(cases[i].text, 99, host, &port);

        CHECK_EQ(err, cases[i].port < 0 ? CV_ERR_FORMAT : CV_OK);
        if (err == CV_OK) {
            CHECK_STR(host, cases[i].host);
            CHECK_EQ(port, cases[i].port);
        }
    }
    memset(longest, 'a', sizeof(longest));
    longest[255] = '\0';
    CHECK_EQ(cv_host_port_parse(longest, 1, host, &port), CV_OK);
    CHECK_EQ(strlen(host), 255);
    longest[255] = 'a';
    longest[256] = '\0';
    CHECK_EQ(cv_host_port_parse(longest, 1, host, &port), CV_ERR_FORMAT);
}

TEST(kinds)
{
    static const struct {
        const char *ip;
        enum cv_addr_kind kind;
    } cases[] = {
        {"0.0.0.0", CV_ADDR_UNUSABLE},
        {"0.255.255.255", CV_ADDR_UNUSABLE},
        {"1.0.0.0", CV_ADDR_GLOBAL},
        {"9.255.255.255", CV_ADDR_GLOBAL},
        {"10.0.0.0", CV_ADDR_PRIVATE},
        {"10.255.255.255", CV_ADDR_PRIVATE},
        {"11.0.0.0", CV_ADDR_GLOBAL},
        {"100.63.255.255", CV_ADDR_GLOBAL},
        {"100.64.0.0", CV_ADDR_SHARED},
        {"100.127.255.255", CV_ADDR_SHARED},
        {"100.128.0.0", CV_ADDR_GLOBAL},
        {"126.255.255.255", CV_ADDR_GLOBAL},
        {"127.0.0.1", CV_ADDR_LOOPBACK},
        {"127.255.255.255", CV_ADDR_LOOPBACK},
        {"128.0.0.0", CV_ADDR_GLOBAL},
        {"169.253.255.255", CV_ADDR_GLOBAL},
        {"169.254.0.1", CV_ADDR_LINK_LOCAL},
        {"169.255.0.0", CV_ADDR_GLOBAL},
        {"172.15.255.255", CV_ADDR_GLOBAL},
        {"172.16.0.0", CV_ADDR_PRIVATE},
        {"172.31.255.255", CV_ADDR_PRIVATE},
        {"172.32.0.0", CV_ADDR_GLOBAL},
        {"192.0.2.1", CV_ADDR_GLOBAL},
        {"192.167.255.255", CV_ADDR_GLOBAL},
        {"192.168.0.0", CV_ADDR_PRIVATE},
        {"192.168.255.255", CV_ADDR_PRIVATE},
        {"192.169.0.0", CV_ADDR_GLOBAL},
        {"198.51.100.1", CV_ADDR_GLOBAL},
        {"203.0.113.9", CV_ADDR_GLOBAL},
        {"223.255.255.255", CV_ADDR_GLOBAL},
        {"224.0.0.1", CV_ADDR_UNUSABLE},
        {"239.255.255.255", CV_ADDR_UNUSABLE},
        {"240.0.0.1", CV_ADDR_UNUSABLE},
        {"255.255.255.255", CV_ADDR_UNUSABLE},
        {"::", CV_ADDR_UNUSABLE},
        {"::1", CV_ADDR_LOOPBACK},
        {"::2", CV_ADDR_UNUSABLE},
        {"::127.0.0.1", CV_ADDR_UNUSABLE},
        {"::ffff:127.0.0.1", CV_ADDR_LOOPBACK},
        {"::ffff:10.0.0.1", CV_ADDR_PRIVATE},
        {"64:ff9b::1.2.3.4", CV_ADDR_GLOBAL},
        {"64:ff9b:1::1", CV_ADDR_GLOBAL},
        {"64:ff9c::1", CV_ADDR_UNUSABLE},
        {"100::1", CV_ADDR_UNUSABLE},
        {"1fff::1", CV_ADDR_UNUSABLE},
        {"2000::1", CV_ADDR_GLOBAL},
        {"2001:db8::1", CV_ADDR_GLOBAL},
        {"3fff:ffff::1", CV_ADDR_GLOBAL},
        {"4000::1", CV_ADDR_UNUSABLE},
        {"fbff::1", CV_ADDR_UNUSABLE},
        {"fc00::1", CV_ADDR_PRIVATE},
        {"fdff::1", CV_ADDR_PRIVATE},
        {"fe00::1", CV_ADDR_UNUSABLE},
        {"fe80::1", CV_ADDR_LINK_LOCAL},
        {"febf::1", CV_ADDR_LINK_LOCAL},
        {"fec0::1", CV_ADDR_UNUSABLE},
        {"ff02::1", CV_ADDR_UNUSABLE},
    };
    struct cv_addr none = {0}, mapped = {.family = CV_FAMILY_IPV6};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_addr a = parse(cases[i].ip);

        if (cv_addr_kind(&a) != cases[i].kind)
            print_error("%s is %d\n", cases[i].ip, (int)cv_addr_kind(&a));
        CHECK_EQ(cv_addr_kind(&a), cases[i].kind);
    }
    CHECK_EQ(cv_addr_kind(&none), CV_ADDR_UNUSABLE);

    /* A peer may send an IPv4-mapped address as IPv6: it leads nowhere. */
    memcpy(mapped.ip + 10, "\xff\xff\x08\x08\x08\x08", 6);
    CHECK_EQ(cv_addr_kind(&mapped), CV_ADDR_UNUSABLE);
}

TEST(prefixes_compare_to_the_bit)
{
    struct cv_addr a = parse("10.1.128.0"), b = parse("10.1.255.255");
    struct cv_addr c = parse("10.1.127.255"), six = parse("2001:db8::1");
    struct cv_addr none = {0};

    CHECK(cv_addr_in_prefix(&b, &a, 17));
    CHECK(!cv_addr_in_prefix(&b, &a, 18));
    CHECK(!cv_addr_in_prefix(&c, &a, 17));
    CHECK(cv_addr_in_prefix(&c, &a, 16));
    CHECK(cv_addr_in_prefix(&a, &a, 32));
    CHECK(cv_addr_in_prefix(&a, &a, 128)); /* means all of it */
    CHECK(!cv_addr_in_prefix(&a, &b, 32));
    CHECK(cv_addr_in_prefix(&a, &c, 0));
    CHECK(!cv_addr_in_prefix(&a, &six, 0));
    CHECK(cv_addr_in_prefix(&six, &six, 1000));
    CHECK(!cv_addr_in_prefix(&none, &none, 0));
}

TEST(socket_addresses_come_back)
{
    static const char *const cases[] = {"1.2.3.4:5", "[2001:db8::1]:65535"};
    struct sockaddr_storage ss;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct cv_addr a, b, none = {0};

    for (size_t i = 0; i < 2; i++) {
        socklen_t len;

        a = parse(cases[i]);
        len = cv_addr_to_sockaddr(&a, &ss);
        CHECK_EQ(len, i == 0 ? sizeof(struct sockaddr_in)
                             : sizeof(struct sockaddr_in6));
        CHECK_EQ(cv_addr_from_sockaddr(&b, (struct sockaddr *)&ss), CV_OK);
        CHECK_MEM(&a, &b, sizeof(a));
    }
    REQUIRE(inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr) == 1);
    CHECK_EQ(cv_addr_from_sockaddr(&a, (struct sockaddr *)&in6), CV_OK);
    b = parse("1.2.3.4:9");
    CHECK_MEM(&a, &b, sizeof(a));
    CHECK_EQ(cv_addr_from_sockaddr(&a, &other), CV_ERR_FORMAT);
    CHECK_EQ(cv_addr_to_sockaddr(&none, &ss), 0);
    a = cv_addr_ipv4(0x01020304, 9);
    CHECK_MEM(&a, &b, sizeof(a));
}

TEST(comparing)
{
    struct cv_addr a = parse("1.2.3.4:5"), b = parse("1.2.3.4:6");
    struct cv_addr c = parse("1.2.3.5:5"), six = parse("[102:304::]:5");

    CHECK(cv_addr_equal(&a, &a));
    CHECK(!cv_addr_equal(&a, &b));
    CHECK(cv_addr_same_ip(&a, &b));
    CHECK(!cv_addr_same_ip(&a, &c));
    CHECK(!cv_addr_same_ip(&a, &six)); /* the same first bytes */
}

TEST(logs_hide_addresses_unless_asked)
{
    struct cv_addr a = parse("1.2.3.4:5"), six = parse("[::1]:5"), none = {0};
    struct cv_log log = {.show_addresses = true}, quiet = {0};
    char out[CV_ADDR_TEXT];

    CHECK_STR(cv_addr_log(&log, &a, out), "1.2.3.4:5");
    CHECK_STR(cv_addr_log(&quiet, &a, out), "ipv4:…");
    CHECK_STR(cv_addr_log(NULL, &six, out), "ipv6:…");
    CHECK_STR(cv_addr_log(&quiet, &none, out), "none");
    CHECK_STR(cv_addr_format(&none, out), "none");
}

TEST(the_codec_comes_back_and_refuses_the_rest)
{
    static const char *const cases[] = {"1.2.3.4:5", "[2001:db8::1]:65535"};
    uint8_t buf[64];
    struct cv_writer w;
    struct cv_reader r;
    struct cv_addr a, b;

    for (size_t i = 0; i < 2; i++) {
        a = parse(cases[i]);
        cv_writer_init(&w, buf, sizeof(buf));
        CHECK_EQ(cv_put_addr(&w, &a), CV_OK);
        CHECK_EQ(w.len, i == 0 ? 7 : 19);
        cv_reader_init(&r, buf, w.len);
        b = cv_get_addr(&r);
        CHECK_EQ(cv_reader_end(&r), CV_OK);
        CHECK_MEM(&a, &b, sizeof(a));
        for (size_t len = 0; len < w.len; len++) {
            cv_reader_init(&r, buf, len);
            b = cv_get_addr(&r);
            CHECK_EQ(r.err, CV_ERR_FORMAT);
            CHECK_EQ(b.family, CV_FAMILY_NONE);
        }
    }
    for (int family = 0; family < 256; family++) {
        buf[0] = (uint8_t)family;
        cv_reader_init(&r, buf, sizeof(buf));
        b = cv_get_addr(&r);
        CHECK_EQ(r.err, family == 4 || family == 6 ? CV_OK : CV_ERR_FORMAT);
    }
}

RUN_TESTS(T(addresses_parse_and_come_back), T(what_is_no_address_is_refused),
          T(host_and_port_are_split), T(kinds), T(prefixes_compare_to_the_bit),
          T(socket_addresses_come_back), T(comparing),
          T(logs_hide_addresses_unless_asked),
          T(the_codec_comes_back_and_refuses_the_rest))
