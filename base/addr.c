#include "base/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0,    0,
                                          0, 0, 0, 0, 0xff, 0xff};

struct cv_addr cv_addr_ipv4(uint32_t ip, uint16_t port)
{
    struct cv_addr a = {.family = CV_FAMILY_IPV4, .port = port};

    for (int i = 0; i < 4; i++)
        a.ip[i] = (uint8_t)(ip >> (24 - 8 * i));
    return a;
}

/* One address has one form: IPv4-mapped IPv6 is IPv4. */
static struct cv_addr from_ipv6(const uint8_t ip[16], uint16_t port)
{
    struct cv_addr a = {.port = port};

    if (memcmp(ip, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        a.family = CV_FAMILY_IPV4;
        memcpy(a.ip, ip + 12, 4);
    } else {
        a.family = CV_FAMILY_IPV6;
        memcpy(a.ip, ip, 16);
    }
    return a;
}

/* One to five digits up to 65535, and nothing else. */
static int parse_port(const char *text, uint16_t *port)
{
    uint32_t v = 0;
    size_t n = strlen(text);

    if (n < 1 || n > 5)
        return CV_ERR_FORMAT;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return CV_ERR_FORMAT;
        v = v * 10 + (uint32_t)(*text - '0');
    }
    if (v > UINT16_MAX)
        return CV_ERR_FORMAT;
    *port = (uint16_t)v;
    return CV_OK;
}

int cv_host_port_parse(const char *text, uint16_t default_port, char host[256],
                       uint16_t *port)
{
    const char *start = text, *end, *colon;
    uint16_t p = default_port;
    struct in6_addr ip;

    if (*text == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (!end)
            return CV_ERR_FORMAT;
        colon = end + 1;
        if (*colon != '\0' && *colon != ':')
            return CV_ERR_FORMAT;
    } else {
        colon = strchr(text, ':');
        if (colon && strchr(colon + 1, ':'))
            colon = NULL; /* bare IPv6 */
        end = colon ? colon : text + strlen(text);
        if (!colon)
            colon = end;
    }
    if (*colon == ':' && parse_port(colon + 1, &p) != CV_OK)
        return CV_ERR_FORMAT;
    if (end == start || end - start > 255)
        return CV_ERR_FORMAT;
    for (const char *c = start; c < end; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("[]/@", *c))
            return CV_ERR_FORMAT;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    /* A colon inside the host: only IPv6 has them. */
    if ((*text == '[' || strchr(host, ':')) &&
        inet_pton(AF_INET6, host, &ip) != 1)
        return CV_ERR_FORMAT;
    *port = p;
    return CV_OK;
}

int cv_addr_parse(struct cv_addr *out, const char *text, uint16_t port)
{
    char host[256];
    uint8_t ip[16];

    if (cv_host_port_parse(text, port, host, &port) != CV_OK)
        return CV_ERR_FORMAT;
    if (inet_pton(AF_INET6, host, ip) == 1) {
        *out = from_ipv6(ip, port);
        return CV_OK;
    }
    if (inet_pton(AF_INET, host, ip) == 1) {
        *out = (struct cv_addr){.family = CV_FAMILY_IPV4, .port = port};
        memcpy(out->ip, ip, 4);
        return CV_OK;
    }
    return CV_ERR_FORMAT;
}

char *cv_addr_format(const struct cv_addr *a, char out[CV_ADDR_TEXT])
{
    char ip[INET6_ADDRSTRLEN];

    if (a->family == CV_FAMILY_IPV4 && inet_ntop(AF_INET, a->ip, ip, sizeof ip))
        snprintf(out, CV_ADDR_TEXT, "%.15s:%u", ip, (unsigned)a->port);
    else if (a->family == CV_FAMILY_IPV6 &&
             inet_ntop(AF_INET6, a->ip, ip, sizeof ip))
        snprintf(out, CV_ADDR_TEXT, "[%.39s]:%u", ip, (unsigned)a->port);
    else
        snprintf(out, CV_ADDR_TEXT, "none");
    return out;
}

char *cv_addr_log(const struct cv_log *log, const struct cv_addr *a,
                  char out[CV_ADDR_TEXT])
{
    if (log && log->show_addresses)
        return cv_addr_format(a, out);
    snprintf(out, CV_ADDR_TEXT, "%s",
             a->family == CV_FAMILY_IPV4   ? "ipv4:…"
             : a->family == CV_FAMILY_IPV6 ? "ipv6:…"
                                           : "none");
    return out;
}

int cv_addr_from_sockaddr(struct cv_addr *out, const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, sa, sizeof(in));
        *out = cv_addr_ipv4(ntohl(in.sin_addr.s_addr), ntohs(in.sin_port));
        return CV_OK;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof(in6));
        *out = from_ipv6(in6.sin6_addr.s6_addr, ntohs(in6.sin6_port));
        return CV_OK;
    }
    return CV_ERR_FORMAT;
}

socklen_t cv_addr_to_sockaddr(const struct cv_addr *a,
                              struct sockaddr_storage *ss)
{
    memset(ss, 0, sizeof(*ss));
    if (a->family == CV_FAMILY_IPV4) {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons(a->port)};

        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(ss, &in, sizeof(in));
        return sizeof(in);
    }
    if (a->family == CV_FAMILY_IPV6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(a->port)};

        memcpy(&in6.sin6_addr, a->ip, 16);
        memcpy(ss, &in6, sizeof(in6));
        return sizeof(in6);
    }
    ss->ss_family = AF_UNSPEC;
    return 0;
}

bool cv_addr_same_ip(const struct cv_addr *a, const struct cv_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool cv_addr_equal(const struct cv_addr *a, const struct cv_addr *b)
{
    return a->port == b->port && cv_addr_same_ip(a, b);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

bool cv_addr_in_prefix(const struct cv_addr *a, const struct cv_addr *prefix,
                       unsigned bits)
{
    unsigned most = a->family == CV_FAMILY_IPV4 ? 32 : 128;

    if (a->family != prefix->family || a->family == CV_FAMILY_NONE)
        return false;
    return same_bits(a->ip, prefix->ip, bits < most ? bits : most);
}

bool cv_addr_same_source(const struct cv_addr *a, const struct cv_addr *b)
{
    return cv_addr_in_prefix(a, b, a->family == CV_FAMILY_IPV4 ? 32 : 64);
}

/* The first row that fits decides.  Addresses for documentation and for
 * benchmarks count as global: labs use them as their internet. */
static const struct {
    uint8_t family;
    uint8_t bits;
    uint8_t ip[16];
    enum cv_addr_kind kind;
} kinds[] = {
    {4, 8, {0}, CV_ADDR_UNUSABLE},
    {4, 8, {127}, CV_ADDR_LOOPBACK},
    {4, 16, {169, 254}, CV_ADDR_LINK_LOCAL},
    {4, 8, {10}, CV_ADDR_PRIVATE},
    {4, 12, {172, 16}, CV_ADDR_PRIVATE},
    {4, 16, {192, 168}, CV_ADDR_PRIVATE},
    {4, 10, {100, 64}, CV_ADDR_SHARED},
    {4, 3, {224}, CV_ADDR_UNUSABLE}, /* multicast, reserved, broadcast */
    {4, 0, {0}, CV_ADDR_GLOBAL},
    {6, 128, {[15] = 1}, CV_ADDR_LOOPBACK},
    {6, 10, {0xfe, 0x80}, CV_ADDR_LINK_LOCAL},
    {6, 7, {0xfc}, CV_ADDR_PRIVATE},
    {6, 3, {0x20}, CV_ADDR_GLOBAL},                       /* RFC 4291, 2.4 */
    {6, 96, {0, 0x64, 0xff, 0x9b}, CV_ADDR_GLOBAL},       /* NAT64, RFC 6052 */
    {6, 48, {0, 0x64, 0xff, 0x9b, 0, 1}, CV_ADDR_GLOBAL}, /* RFC 8215 */
    /* Unspecified, IPv4 in disguise, multicast, and what IANA keeps. */
    {6, 0, {0}, CV_ADDR_UNUSABLE},
};

enum cv_addr_kind cv_addr_kind(const struct cv_addr *a)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].family == a->family &&
            same_bits(a->ip, kinds[i].ip, kinds[i].bits))
            return kinds[i].kind;
    return CV_ADDR_UNUSABLE;
}

int cv_put_addr(struct cv_writer *w, const struct cv_addr *a)
{
    assert(a->family == CV_FAMILY_IPV4 || a->family == CV_FAMILY_IPV6);
    cv_put_u8(w, a->family);
    cv_put_raw(w, a->ip, a->family == CV_FAMILY_IPV4 ? 4 : 16);
    return cv_put_u16(w, a->port);
}

struct cv_addr cv_get_addr(struct cv_reader *r)
{
    struct cv_addr a = {.family = cv_get_u8(r)};

    if (a.family != CV_FAMILY_IPV4 && a.family != CV_FAMILY_IPV6) {
        cv_reader_fail(r);
        return (struct cv_addr){0};
    }
    cv_get_raw(r, a.ip, a.family == CV_FAMILY_IPV4 ? 4 : 16);
    a.port = cv_get_u16(r);
    return r->err == CV_OK ? a : (struct cv_addr){0};
}
