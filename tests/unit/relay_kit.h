/* tests/unit/relay_kit.h - what stands between a client and a gate: a CONNECT
 * proxy, a reverse proxy with a certificate, a box that looks into TLS; all on
 * loopback, in the loop of the test. */
#ifndef CV_TESTS_RELAY_KIT_H
#define CV_TESTS_RELAY_KIT_H
#include "base/loop.h"
#include "tests/test.h"
#include "transport/tls.h"
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define RELAY_PAIRS 32
#define RELAY_BUF   65536

enum relay_kind {
    RELAY_PLAIN,   /* passes everything */
    RELAY_CONNECT, /* an HTTP proxy: answers, then passes */
    RELAY_CUTS,    /* ends connections whose first bytes have `cut` in them */
    RELAY_SILENT,  /* the same, but without a word */
    RELAY_TLS,     /* ends TLS, passes what was in it */
};

struct relay_way {
    uint8_t buf[RELAY_BUF];
    size_t len, sent;
};

struct relay;
struct relay_pair {
    struct relay *relay;
    int fd[2]; /* 0: the client, 1: the target; -1 */
    struct cv_watch *watch[2];
    struct relay_way way[2]; /* from the client, from the target */
    struct cv_tls *tls;
    bool used, open, silent;
};

struct relay {
    struct cv_loop *loop;
    enum relay_kind kind;
    int fd;
    uint16_t port, target;
    struct cv_watch *watch;
    const char *cut, *answer; /* of CUTS and SILENT, of CONNECT */
    struct cv_tls_ctx *tls;
    struct relay_pair *pair; /* [RELAY_PAIRS] */
    unsigned accepted, cuts, passed;
    char request[2048]; /* the first one of CONNECT */
};

static inline int relay_bind(uint16_t *port, const char *host)
{
    struct cv_addr at;
    struct sockaddr_storage ss;
    socklen_t len;
    int fd, one = 1;

    REQUIRE(cv_addr_parse(&at, host, *port) == CV_OK);
    len = cv_addr_to_sockaddr(&at, &ss);
    fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) != 0 ||
        listen(fd, 16) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    len = sizeof ss;
    REQUIRE(getsockname(fd, (struct sockaddr *)&ss, &len) == 0);
    REQUIRE(cv_addr_from_sockaddr(&at, (struct sockaddr *)&ss) == CV_OK);
    *port = at.port;
    return fd;
}

/* A port that is free just now, and below those that the kernel gives to
 * whoever connects or asks for any: it stays free. */
static inline uint16_t relay_free_port(void)
{
    enum { FIRST = 10000, PORTS = 20000 };
    uint32_t at = (uint32_t)getpid() * 31;

    for (unsigned i = 0; i < 100; i++) {
        uint16_t port = (uint16_t)(FIRST + (at + i * 7) % PORTS);
        int fd = relay_bind(&port, "127.0.0.1");

        if (fd < 0)
            continue;
        close(fd);
        return port;
    }
    REQUIRE(false);
    return 0;
}

static inline void relay_end(struct relay_pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        cv_watch_free(p->watch[i]);
        if (p->fd[i] >= 0)
            close(p->fd[i]);
    }
    cv_tls_free(p->tls);
    memset(p, 0, sizeof *p);
    p->fd[0] = p->fd[1] = -1;
}

/* Everybody is cut off. */
static inline void relay_end_all(struct relay *r)
{
    for (unsigned i = 0; i < RELAY_PAIRS; i++)
        if (r->pair[i].used)
            relay_end(&r->pair[i]);
}

static inline ptrdiff_t relay_read(struct relay_pair *p, unsigned side,
                                   void *buf, size_t len)
{
    ssize_t n;

    if (side == 0 && p->tls)
        return cv_tls_read(p->tls, buf, len);
    n = recv(p->fd[side], buf, len, 0);
    return n > 0 ? n : n < 0 && errno == EAGAIN ? CV_ERR_AGAIN : CV_ERR_CLOSED;
}

static inline ptrdiff_t relay_write(struct relay_pair *p, unsigned side,
                                    const void *buf, size_t len)
{
    ssize_t n;

    if (side == 0 && p->tls)
        return cv_tls_write(p->tls, buf, len);
    n = send(p->fd[side], buf, len, MSG_NOSIGNAL);
    return n > 0 ? n : n < 0 && errno == EAGAIN ? CV_ERR_AGAIN : CV_ERR_CLOSED;
}

static inline void relay_on_ready(void *user, unsigned ready);

static inline bool relay_dial(struct relay_pair *p)
{
    struct cv_addr to = cv_addr_ipv4(0x7f000001, p->relay->target);
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&to, &ss);

    p->fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(p->fd[1], (struct sockaddr *)&ss, len) != 0 &&
        errno != EINPROGRESS)
        return false;
    p->open = true;
    p->relay->passed++;
    return cv_watch_new(&p->watch[1], p->relay->loop, p->fd[1],
                        CV_WATCH_READ | CV_WATCH_WRITE, relay_on_ready,
                        p) == CV_OK;
}

/* The first bytes of the client decide.  False: the end. */
static inline bool relay_first(struct relay_pair *p)
{
    struct relay *r = p->relay;
    struct relay_way *w = &p->way[0];
    uint8_t *end = memmem(w->buf, w->len, "\r\n\r\n", 4);

    switch (r->kind) {
    case RELAY_PLAIN:
    case RELAY_TLS:
        return relay_dial(p);
    case RELAY_CUTS:
    case RELAY_SILENT:
        if (!memmem(w->buf, w->len, r->cut, strlen(r->cut)))
            return relay_dial(p);
        r->cuts++;
        p->silent = r->kind == RELAY_SILENT;
        return p->silent;
    case RELAY_CONNECT:
        if (!end)
            return true;
        if (r->request[0] == '\0')
            snprintf(r->request, sizeof r->request, "%.*s",
                     (int)(end + 4 - w->buf), (const char *)w->buf);
        REQUIRE(end + 4 == w->buf + w->len); /* nothing before the answer */
        w->len = 0;
        p->way[1].len = strlen(r->answer);
        memcpy(p->way[1].buf, r->answer, p->way[1].len);
        if (strncmp(r->answer, "HTTP/1.1 200", 12) == 0)
            return relay_dial(p);
        (void)relay_write(p, 0, p->way[1].buf, p->way[1].len);
        return false;
    }
    return false;
}

/* Move what there is; false: the end. */
static inline bool relay_move(struct relay_pair *p)
{
    for (unsigned from = 0; from < 2; from++) {
        struct relay_way *w = &p->way[from];
        ptrdiff_t n;

        for (;;) {
            if (w->len == w->sent)
                w->len = w->sent = 0;
            n = p->fd[from] < 0 || w->len == RELAY_BUF
                    ? CV_ERR_AGAIN
                    : relay_read(p, from, w->buf + w->len, RELAY_BUF - w->len);
            if (n > 0)
                w->len += (size_t)n;
            if (n < 0 && n != CV_ERR_AGAIN)
                return false;
            if (!p->open) {
                if (n > 0 && !relay_first(p))
                    return false;
                return true;
            }
            if (w->len == w->sent)
                break;
            n = relay_write(p, 1 - from, w->buf + w->sent, w->len - w->sent);
            if (n == CV_ERR_AGAIN)
                break;
            if (n < 0)
                return false;
            w->sent += (size_t)n;
        }
    }
    return true;
}

static inline void relay_on_ready(void *user, unsigned ready)
{
    struct relay_pair *p = user;
    int err = p->tls ? cv_tls_handshake(p->tls) : CV_OK;

    (void)ready;
    if (err == CV_ERR_AGAIN)
        return;
    if (err != CV_OK || !relay_move(p)) {
        relay_end(p);
        return;
    }
    if (p->silent)
        cv_watch_set(p->watch[0], 0);
    for (unsigned i = 0; i < 2 && !p->silent; i++)
        if (p->watch[i])
            cv_watch_set(p->watch[i],
                         (p->way[i].len < RELAY_BUF ? CV_WATCH_READ : 0u) |
                             (p->way[1 - i].len > 0 ? CV_WATCH_WRITE : 0u));
}

static inline void relay_on_accept(void *user, unsigned ready)
{
    struct relay *r = user;
    int fd = accept4(r->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct relay_pair *p = r->pair;

    (void)ready;
    if (fd < 0)
        return;
    r->accepted++;
    while (p < r->pair + RELAY_PAIRS && p->used)
        p++;
    REQUIRE(p < r->pair + RELAY_PAIRS);
    memset(p, 0, sizeof *p);
    p->used = true;
    p->relay = r;
    p->fd[0] = fd;
    p->fd[1] = -1;
    if (r->kind == RELAY_TLS) {
        struct cv_tls_config config = {.ctx = r->tls, .fd = fd};

        REQUIRE(cv_tls_new(&p->tls, &config) == CV_OK);
    }
    REQUIRE(cv_watch_new(&p->watch[0], r->loop, fd, CV_WATCH_READ,
                         relay_on_ready, p) == CV_OK);
}

/* False: the address cannot be had. */
static inline bool relay_open(struct relay *r, struct cv_loop *loop,
                              enum relay_kind kind, const char *host,
                              uint16_t port, uint16_t target)
{
    memset(r, 0, sizeof *r);
    r->loop = loop;
    r->kind = kind;
    r->target = target;
    r->port = port;
    r->fd = relay_bind(&r->port, host);
    if (r->fd < 0)
        return false;
    r->pair = calloc(RELAY_PAIRS, sizeof *r->pair);
    REQUIRE(r->pair != NULL);
    REQUIRE(cv_watch_new(&r->watch, loop, r->fd, CV_WATCH_READ, relay_on_accept,
                         r) == CV_OK);
    return true;
}

static inline void relay_close(struct relay *r)
{
    if (!r->pair)
        return;
    relay_end_all(r);
    cv_watch_free(r->watch);
    close(r->fd);
    cv_tls_ctx_free(r->tls);
    free(r->pair);
    memset(r, 0, sizeof *r);
}

/* ---- a certificate ------------------------------------------------------ */

static inline void relay_write_file(const char *path,
                                    const gnutls_datum_t *text)
{
    FILE *f = fopen(path, "w");

    REQUIRE(f != NULL);
    REQUIRE(fwrite(text->data, 1, text->size, f) == text->size);
    REQUIRE(fclose(f) == 0);
}

/* For 127.0.0.1, issued by itself, good for an hour. */
static inline void relay_certificate(const char *cert_file,
                                     const char *key_file)
{
    static const uint8_t ip[4] = {127, 0, 0, 1};
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    gnutls_datum_t text;

    REQUIRE(gnutls_x509_privkey_init(&key) == 0);
    REQUIRE(gnutls_x509_privkey_generate(
                key, GNUTLS_PK_ECDSA,
                GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0);
    REQUIRE(gnutls_x509_crt_init(&crt) == 0);
    REQUIRE(gnutls_x509_crt_set_key(crt, key) == 0);
    REQUIRE(gnutls_x509_crt_set_version(crt, 3) == 0);
    REQUIRE(gnutls_x509_crt_set_serial(crt, "\1", 1) == 0);
    REQUIRE(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60) == 0);
    REQUIRE(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600) == 0);
    REQUIRE(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
                                          "test", 4) == 0);
    REQUIRE(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, ip,
                                                 sizeof ip,
                                                 GNUTLS_FSAN_SET) == 0);
    REQUIRE(gnutls_x509_crt_set_ca_status(crt, 1) == 0);
    REQUIRE(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) == 0);
    REQUIRE(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text) == 0);
    relay_write_file(cert_file, &text);
    gnutls_free(text.data);
    REQUIRE(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text) == 0);
    relay_write_file(key_file, &text);
    gnutls_free(text.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}
#endif
