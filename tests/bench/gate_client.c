#include "tests/bench/gate_client.h"
#include "base/crypto.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

void gc_die(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s failed (%s)\n", file, line, what,
            strerror(errno));
    exit(1);
}

void gc_random(void *out, size_t len)
{
    cv_random(&cv_rng_system, out, len);
}

/* ---- sockets ------------------------------------------------------------ */

static int connected(int type, const struct cv_addr *to,
                     const struct cv_addr *from)
{
    struct sockaddr_storage ss;
    socklen_t len;
    int one = 1, fd;

    fd = socket(to->family == CV_FAMILY_IPV4 ? AF_INET : AF_INET6,
                type | SOCK_CLOEXEC, 0);
    GC_NEED(fd >= 0);
    if (from && from->family != CV_FAMILY_NONE) {
        len = cv_addr_to_sockaddr(from, &ss);
        if (type == SOCK_STREAM)
            (void)setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */,
                             &one, sizeof one);
        GC_NEED(bind(fd, (struct sockaddr *)&ss, len) == 0);
    }
    len = cv_addr_to_sockaddr(to, &ss);
    if (connect(fd, (struct sockaddr *)&ss, len) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int gc_connect(const struct cv_addr *to, const struct cv_addr *from)
{
    int fd = connected(SOCK_STREAM, to, from), one = 1;

    if (fd >= 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int gc_udp(const struct gc_gate *gate, const struct cv_addr *from)
{
    struct timeval second = {.tv_sec = 1};
    int fd = connected(SOCK_DGRAM, &gate->tcp, from);

    GC_NEED(fd >= 0);
    GC_NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second) ==
            0);
    return fd;
}

static ptrdiff_t read_some(struct gc_link *l, uint8_t *out, size_t len)
{
    ptrdiff_t n;

    do
        n = l->tls ? cv_tls_read(l->tls, out, len) : read(l->fd, out, len);
    while (l->tls && n == CV_ERR_AGAIN);
    return n;
}

static bool write_all(struct gc_link *l, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ptrdiff_t n = l->tls ? cv_tls_write(l->tls, data, len)
                             : send(l->fd, data, len, MSG_NOSIGNAL);

        if (l->tls && n == CV_ERR_AGAIN)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* ---- WebSocket ---------------------------------------------------------- */

static bool upgrade(struct gc_link *l)
{
    static const char ask[] =
        "GET /covim HTTP/1.1\r\nHost: gate\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    uint8_t *end = NULL;

    if (!write_all(l, (const uint8_t *)ask, sizeof ask - 1))
        return false;
    while (!end) {
        ptrdiff_t n =
            read_some(l, l->raw + l->raw_have, GC_BUFFER - l->raw_have);

        if (n <= 0)
            return false;
        l->raw_have += (size_t)n;
        end = memmem(l->raw, l->raw_have, "\r\n\r\n", 4);
    }
    if (memcmp(l->raw, "HTTP/1.1 101 ", 13) != 0)
        return false;
    end += 4;
    l->raw_have -= (size_t)(end - l->raw);
    memmove(l->raw, end, l->raw_have);
    return true;
}

/* One masked message; the mask is zero, which nobody can see in the speed. */
static bool write_message(struct gc_link *l, const uint8_t *data, size_t len)
{
    static uint8_t out[GC_BUFFER];
    size_t head = len < 126 ? 6 : 8;

    GC_NEED(len + 8 <= sizeof out && len < 65536);
    memset(out, 0, 8);
    out[0] = 0x82;
    out[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        out[2] = (uint8_t)(len >> 8);
        out[3] = (uint8_t)len;
    }
    memcpy(out + head, data, len);
    return write_all(l, out, head + len);
}

/* The messages in `raw`, unpacked to `in`. */
static void unpack(struct gc_link *l)
{
    size_t at = 0;

    while (l->raw_have - at >= 2) {
        const uint8_t *p = l->raw + at;
        size_t head = p[1] < 126 ? 2 : 4, len = p[1];

        GC_NEED(p[1] <= 126);
        if (l->raw_have - at < head)
            break;
        if (len == 126)
            len = (size_t)p[2] << 8 | p[3];
        if (l->raw_have - at < head + len || l->have + len > GC_BUFFER)
            break;
        if ((p[0] & 15) == 2) {
            memcpy(l->in + l->have, p + head, len);
            l->have += len;
        }
        at += head + len;
    }
    l->raw_have -= at;
    memmove(l->raw, l->raw + at, l->raw_have);
}

/* ---- frames ------------------------------------------------------------- */

bool gc_write(struct gc_link *l, const uint8_t *frames, size_t len)
{
    return l->carriage == GC_TLS ? write_all(l, frames, len)
                                 : write_message(l, frames, len);
}

void gc_send(struct gc_link *l, const struct cv_gate_frame *f)
{
    uint8_t out[CV_GATE_FRAME_MAX + 2];
    struct cv_writer w;

    cv_writer_init(&w, out, sizeof out);
    GC_NEED(cv_gate_put(&w, f) == CV_OK);
    GC_NEED(gc_write(l, out, w.len));
}

/* More bytes of frames; false: the end. */
static bool fill(struct gc_link *l)
{
    ptrdiff_t n;

    memmove(l->in, l->in + l->at, l->have - l->at);
    l->have -= l->at;
    l->at = 0;
    if (l->carriage == GC_TLS) {
        n = read_some(l, l->in + l->have, GC_BUFFER - l->have);
        l->have += n > 0 ? (size_t)n : 0;
    } else {
        n = read_some(l, l->raw + l->raw_have, GC_BUFFER - l->raw_have);
        l->raw_have += n > 0 ? (size_t)n : 0;
        unpack(l);
    }
    return n > 0;
}

bool gc_recv(struct gc_link *l, struct cv_gate_frame *f)
{
    for (;;) {
        size_t used;
        int err = cv_gate_get(f, l->in + l->at, l->have - l->at, &used);

        if (err == CV_OK) {
            l->at += used;
            return true;
        }
        GC_NEED(err == CV_ERR_AGAIN);
        if (!fill(l))
            return false;
    }
}

bool gc_drain(struct gc_link *l, uint64_t *packets, uint64_t *bytes)
{
    if (!fill(l))
        return false;
    while (l->have - l->at >= 3) {
        const uint8_t *p = l->in + l->at;
        size_t used = ((size_t)p[0] << 8 | p[1]) + 2;

        if (used > l->have - l->at)
            break;
        if (p[2] == CV_GATE_DATA) {
            *packets += 1;
            *bytes += used - 7;
        }
        l->at += used;
    }
    return true;
}

struct cv_gate_frame gc_want(struct gc_link *l, enum cv_gate_type type)
{
    struct cv_gate_frame f;

    do {
        GC_NEED(gc_recv(l, &f));
        if (f.type == CV_GATE_REFUSED)
            fprintf(
                stderr, "refused: %s\n",
                cv_gate_refusal_text((enum cv_gate_refusal)f.u.refused.why));
        GC_NEED(f.type != CV_GATE_REFUSED);
    } while (f.type != type);
    return f;
}

/* ---- links -------------------------------------------------------------- */

static bool prove(struct gc_link *l, const struct gc_gate *gate)
{
    struct cv_gate_handshake h = {.gate = gate->key};
    struct cv_gate_frame f, auth = {.type = CV_GATE_AUTH};

    if (!gc_recv(l, &f) || f.type != CV_GATE_CHALLENGE)
        return false;
    memcpy(h.gate_nonce, f.u.challenge.nonce, sizeof h.gate_nonce);
    h.bound = l->tls != NULL;
    if (l->tls && cv_tls_export(l->tls, CV_GATE_EXPORTER, h.exporter) != CV_OK)
        return false;
    gc_random(auth.u.auth.nonce, sizeof auth.u.auth.nonce);
    GC_NEED(cv_gate_auth_sign(&auth.u.auth, &h, &l->key) == CV_OK);
    gc_send(l, &auth);
    if (!gc_recv(l, &f) || f.type != CV_GATE_WELCOME)
        return false;
    GC_NEED(cv_gate_welcome_verify(&f.u.welcome, &h, &auth.u.auth) == CV_OK);
    l->welcome = f.u.welcome;
    return true;
}

bool gc_link_try(struct gc_link *l, const struct gc_gate *gate,
                 enum gc_carriage carriage, const struct cv_addr *from)
{
    struct cv_tls_config tls = {.ctx = gate->ctx, .pinned = &gate->key};
    uint8_t seed[32];
    int err = CV_OK;

    memset(l, 0, sizeof *l);
    gc_random(seed, sizeof seed);
    GC_NEED(cv_keypair_from_seed(&l->key, seed) == CV_OK);
    l->carriage = carriage;
    l->in = malloc(GC_BUFFER);
    l->raw = malloc(GC_BUFFER);
    GC_NEED(l->in && l->raw);
    l->fd = gc_connect(carriage == GC_PLAIN ? &gate->plain : &gate->tcp, from);
    if (l->fd < 0)
        goto fail;
    tls.fd = l->fd;
    tls.protocol = carriage == GC_TLS ? CV_TLS_GATE : CV_TLS_HTTP;
    if (carriage != GC_PLAIN) {
        GC_NEED(cv_tls_new(&l->tls, &tls) == CV_OK);
        do
            err = cv_tls_handshake(l->tls);
        while (err == CV_ERR_AGAIN);
    }
    if (err != CV_OK || (carriage != GC_TLS && !upgrade(l)))
        goto fail;
    unpack(l);
    if (prove(l, gate))
        return true;
fail:
    gc_link_close(l);
    return false;
}

void gc_link_open(struct gc_link *l, const struct gc_gate *gate,
                  enum gc_carriage carriage, const struct cv_addr *from)
{
    GC_NEED(gc_link_try(l, gate, carriage, from));
}

void gc_link_close(struct gc_link *l)
{
    cv_tls_free(l->tls);
    if (l->fd >= 0)
        close(l->fd);
    free(l->in);
    free(l->raw);
    l->tls = NULL;
    l->in = l->raw = NULL;
    l->fd = -1;
}

/* ---- rooms and channels ------------------------------------------------- */

void gc_register(struct gc_link *l, uint8_t room[CV_GATE_ROOM])
{
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};

    gc_random(f.u.room_key, sizeof f.u.room_key);
    gc_send(l, &f);
    f = gc_want(l, CV_GATE_REGISTERED);
    memcpy(room, f.u.room, CV_GATE_ROOM);
}

static void take(struct gc_end *end, const struct cv_gate_frame *f)
{
    end->id = f->u.opened.channel;
    memcpy(end->key, f->u.opened.key, sizeof end->key);
}

void gc_channel(struct gc_link *a, struct gc_link *b,
                const uint8_t room[CV_GATE_ROOM], struct gc_end *end_a,
                struct gc_end *end_b)
{
    struct cv_gate_frame f = {.type = CV_GATE_OPEN};

    memcpy(f.u.open.room, room, CV_GATE_ROOM);
    gc_send(a, &f);
    f = gc_want(a, CV_GATE_OPENED);
    take(end_a, &f);
    f = gc_want(b, CV_GATE_OPENED);
    take(end_b, &f);
}

void gc_bind(int udp, const struct gc_end *end)
{
    struct cv_gate_bind bind = {.channel = end->id}, bound;
    uint8_t out[CV_GATE_UDP_BIND_LEN], in[2048];
    ssize_t n;

    for (unsigned i = 0; i < 2; i++) {
        bind.counter = i + 1;
        cv_gate_bind_write(out, &bind, end->key);
        GC_NEED(send(udp, out, sizeof out, 0) == (ssize_t)sizeof out);
        n = recv(udp, in, sizeof in, 0);
        GC_NEED(n > 0 && (size_t)n <= sizeof out);
        GC_NEED(cv_gate_bound_read(&bound, in, (size_t)n, end->key) == CV_OK);
        memcpy(bind.cookie, bound.cookie, sizeof bind.cookie);
    }
}

bool gc_ask(int udp, const struct cv_gate_welcome *welcome, uint64_t counter,
            const uint8_t cookie[CV_GATE_COOKIE], const struct cv_gate_frame *f)
{
    struct cv_gate_ask ask = {.counter = counter, .frame = *f};
    uint8_t out[CV_GATE_FRAME_MAX];
    struct cv_writer w;

    memcpy(ask.ticket, welcome->ticket, sizeof ask.ticket);
    memcpy(ask.cookie, cookie, sizeof ask.cookie);
    cv_writer_init(&w, out, sizeof out);
    GC_NEED(cv_gate_ask_write(&w, false, &ask, welcome->ticket_key) == CV_OK);
    return send(udp, out, w.len, 0) > 0;
}

bool gc_answer(int udp, const struct cv_gate_welcome *welcome,
               uint8_t cookie[CV_GATE_COOKIE])
{
    struct cv_gate_ask answer;
    uint8_t in[2048];
    ssize_t n = recv(udp, in, sizeof in, 0);

    if (n <= 0 || cv_gate_ask_read(&answer, true, in, (size_t)n,
                                   welcome->ticket_key) != CV_OK)
        return false;
    memcpy(cookie, answer.cookie, CV_GATE_COOKIE);
    return true;
}
