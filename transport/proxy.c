#include "transport/proxy.h"
#include "base/addr.h"
#include "base/crypto.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PORT      80
#define LOGIN_MAX 255 /* bytes of USER:PASSWORD */

static int from_hex(char c)
{
    const char *digits = "0123456789abcdef", *at;

    at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* USER:PASSWORD in text[len], percent-decoded, then base64. */
static int take_login(struct cv_proxy *out, const char *text, size_t len)
{
    char login[LOGIN_MAX + 1];
    size_t n = 0;

    if (len > 3 * LOGIN_MAX)
        return CV_ERR_FORMAT;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)text[i];

        if (c == '%' && i + 2 < len && from_hex(text[i + 1]) >= 0 &&
            from_hex(text[i + 2]) >= 0) {
            c = from_hex(text[i + 1]) * 16 + from_hex(text[i + 2]);
            i += 2;
        }
        if (n == LOGIN_MAX)
            return CV_ERR_FORMAT;
        login[n++] = (char)c;
    }
    if (!memchr(login, ':', n) && n < LOGIN_MAX)
        login[n++] = ':'; /* no password */
    cv_base64(out->login, login, n);
    cv_wipe(login, sizeof login);
    return CV_OK;
}

int cv_proxy_parse(struct cv_proxy *out, const char *url, const char *no_proxy,
                   char *why, size_t why_len)
{
    char place[300];
    const char *at, *scheme;
    size_t len;

    memset(out, 0, sizeof *out);
    if (!url || url[0] == '\0')
        return CV_OK;
    scheme = strstr(url, "://");
    if (scheme && strncasecmp(url, "http://", 7) != 0) {
        snprintf(why, why_len,
                 "https_proxy: covim speaks to http:// proxies only");
        return CV_ERR_FORMAT;
    }
    if (scheme)
        url = scheme + 3;
    len = strcspn(url, "/");
    at = memrchr(url, '@', len);
    if (at && take_login(out, url, (size_t)(at - url)) != CV_OK) {
        snprintf(why, why_len,
                 "https_proxy: user and password are longer than %d bytes",
                 LOGIN_MAX);
        return CV_ERR_FORMAT;
    }
    if (at) {
        len -= (size_t)(at + 1 - url);
        url = at + 1;
    }
    snprintf(place, sizeof place, "%.*s", len < 299 ? (int)len : 299, url);
    if (cv_host_port_parse(place, PORT, out->host, &out->port) != CV_OK) {
        memset(out, 0, sizeof *out);
        snprintf(why, why_len,
                 "https_proxy has to be http://HOST:PORT or "
                 "http://USER:PASSWORD@HOST:PORT");
        return CV_ERR_FORMAT;
    }
    snprintf(out->except, sizeof out->except, "%s", no_proxy ? no_proxy : "");
    return CV_OK;
}

static const char *variable(const char *lower, const char *upper)
{
    const char *v = getenv(lower);

    return v ? v : getenv(upper);
}

int cv_proxy_environment(struct cv_proxy *out, char *why, size_t why_len)
{
    return cv_proxy_parse(out, variable("https_proxy", "HTTPS_PROXY"),
                          variable("no_proxy", "NO_PROXY"), why, why_len);
}

/* ---- no_proxy ----------------------------------------------------------- */

/* "ADDRESS/BITS" or "ADDRESS". */
static bool matches_address(const char *word, const struct cv_addr *host)
{
    char text[64];
    const char *slash = strchr(word, '/');
    size_t len = slash ? (size_t)(slash - word) : strlen(word);
    struct cv_addr net;
    unsigned long bits;

    if (len >= sizeof text)
        return false;
    memcpy(text, word, len);
    text[len] = '\0';
    if (cv_addr_parse(&net, text, 0) != CV_OK || net.family != host->family)
        return false;
    bits = net.family == CV_FAMILY_IPV4 ? 32 : 128;
    if (slash && slash[1] >= '0' && slash[1] <= '9' &&
        strtoul(slash + 1, NULL, 10) < bits)
        bits = strtoul(slash + 1, NULL, 10);
    return cv_addr_in_prefix(host, &net, (unsigned)bits);
}

static bool matches_name(const char *word, const char *host)
{
    size_t n, h = strlen(host);

    word += word[0] == '*' && word[1] == '.' ? 2 : word[0] == '.' ? 1 : 0;
    n = strlen(word);
    return n > 0 && n <= h && strcasecmp(host + h - n, word) == 0 &&
           (n == h || host[h - n - 1] == '.');
}

static bool matches(const char *word, const char *host, uint16_t port,
                    const struct cv_addr *addr)
{
    char name[256];
    uint16_t only = 0;

    if (strcmp(word, "*") == 0)
        return true;
    if (!strchr(word, '/') &&
        cv_host_port_parse(word, 0, name, &only) == CV_OK) {
        if (only != 0 && only != port)
            return false;
        word = name;
    }
    return addr->family != CV_FAMILY_NONE ? matches_address(word, addr)
                                          : matches_name(word, host);
}

bool cv_proxy_used(const struct cv_proxy *p, const char *host, uint16_t port)
{
    const char *list = p->except;
    struct cv_addr addr = {0};
    char word[256];

    if (p->host[0] == '\0')
        return false;
    /* A bare address has no port to be read. */
    if (strchr(host, ':') || strspn(host, "0123456789.") == strlen(host))
        if (cv_addr_parse(&addr, host, 0) != CV_OK)
            addr.family = CV_FAMILY_NONE;
    for (;;) {
        size_t len;

        list += strspn(list, ", \t");
        len = strcspn(list, ", \t");
        if (len == 0)
            return true;
        if (len < sizeof word) {
            memcpy(word, list, len);
            word[len] = '\0';
            if (matches(word, host, port, &addr))
                return false;
        }
        list += len;
    }
}

/* ---- CONNECT ------------------------------------------------------------ */

int cv_proxy_request(const struct cv_proxy *p, const char *host, uint16_t port,
                     struct cv_writer *out)
{
    bool v6 = strchr(host, ':') != NULL;
    char place[300], text[1200];
    int n;

    snprintf(place, sizeof place, "%s%s%s:%u", v6 ? "[" : "", host,
             v6 ? "]" : "", (unsigned)port);
    n = snprintf(text, sizeof text,
                 "CONNECT %s HTTP/1.1\r\nHost: %s\r\n"
                 "User-Agent: covim/" COVIM_VERSION "\r\n%s%s%s\r\n",
                 place, place, p->login[0] ? "Proxy-Authorization: Basic " : "",
                 p->login, p->login[0] ? "\r\n" : "");
    cv_put_raw(out, text, (size_t)n);
    cv_wipe(text, sizeof text);
    return out->err;
}

static const char *advice(const struct cv_proxy *p, unsigned status)
{
    if (status == 407)
        return p->login[0] ? "; the user and password in https_proxy are not "
                             "accepted, or it wants another method than Basic"
                           : "; it wants to know who you are: "
                             "https_proxy=http://USER:PASSWORD@HOST:PORT";
    if (status == 403 || status == 405)
        return "; it does not let covim through to the gate: a gate at port "
               "443 has the best chance";
    if (status == 502 || status == 503 || status == 504)
        return "; it cannot reach the gate itself";
    return "";
}

void cv_proxy_refusal(const struct cv_proxy *p,
                      const struct cv_http_answer *answer, char *why,
                      size_t why_len)
{
    snprintf(why, why_len, "the proxy %.100s:%u answered %u%s%s%s", p->host,
             (unsigned)p->port, answer->status, answer->reason[0] ? " " : "",
             answer->reason, advice(p, answer->status));
}
