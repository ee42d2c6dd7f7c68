/* Everything that a peer can send to a connection: bytes as datagrams, and
 * bytes as the plaintext of packets that its keys protect.
 *
 * quic_lib.c is compiled here with a decryption that, when told to, puts the
 * fuzzer's bytes in place of what a packet said; so frames reach ngtcp2 and our
 * callbacks as from a peer that holds its key and means harm. */
#include <ngtcp2/ngtcp2_crypto.h>

static int decrypt_and_replace(uint8_t *out, const ngtcp2_crypto_aead *aead,
                               const ngtcp2_crypto_aead_ctx *aead_ctx,
                               const uint8_t *data, size_t len,
                               const uint8_t *nonce, size_t nonce_len,
                               const uint8_t *aad, size_t aad_len);
#define ngtcp2_crypto_decrypt_cb decrypt_and_replace
#include "transport/quic_lib.c"
#undef ngtcp2_crypto_decrypt_cb

#include "tests/unit/quic_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    const uint8_t *data;
    size_t len;
    bool armed;
    bool flip; /* change, not replace */
} plain;

static int decrypt_and_replace(uint8_t *out, const ngtcp2_crypto_aead *aead,
                               const ngtcp2_crypto_aead_ctx *aead_ctx,
                               const uint8_t *data, size_t len,
                               const uint8_t *nonce, size_t nonce_len,
                               const uint8_t *aad, size_t aad_len)
{
    int rv = ngtcp2_crypto_decrypt_cb(out, aead, aead_ctx, data, len, nonce,
                                      nonce_len, aad, aad_len);
    size_t room = len - 16;

    if (rv != 0 || !plain.armed)
        return rv;
    plain.armed = false;
    for (size_t i = 0; i < room; i++) {
        uint8_t byte = i < plain.len ? plain.data[i] : 0;

        out[i] = plain.flip ? out[i] ^ byte : byte;
    }
    return 0;
}

struct app {
    struct cv_stream *streams[16];
    unsigned n;
    unsigned answers;
};

static void forget(struct app *app, struct cv_stream *s)
{
    for (unsigned i = 0; i < app->n; i++)
        if (app->streams[i] == s)
            app->streams[i] = app->streams[--app->n];
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct app *app = user;

    if (data.len > 0 && data.data[0] == 'r')
        cv_stream_reset(s, 1);
    else if (data.len > 0 && data.data[0] == 'p')
        cv_stream_pause(s, true);
    else if (data.len > 0 && app->answers++ < 8)
        (void)cv_stream_send(s, data);
    if (fin)
        cv_stream_finish(s);
}

static void on_stream_closed(void *user, struct cv_stream *s, int err)
{
    (void)err;
    forget(user, s);
}

static const struct cv_stream_events stream_events = {on_data, NULL,
                                                      on_stream_closed};

static void adopt(struct app *app, struct cv_stream *s)
{
    if (app->n == sizeof(app->streams) / sizeof(app->streams[0])) {
        cv_stream_reset(s, 2);
        return;
    }
    app->streams[app->n++] = s;
    cv_stream_set_events(s, &stream_events, app);
}

static void on_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    (void)conn;
    adopt(user, s);
}

static void on_datagram(void *user, struct cv_conn *conn, struct cv_bytes data)
{
    struct app *app = user;

    if (app->answers++ < 8)
        (void)cv_conn_datagram(conn, data);
}

static void on_conn_closed(void *user, struct cv_conn *conn, int err,
                           uint64_t code, const char *reason)
{
    struct app *app = user;

    (void)conn;
    (void)err;
    (void)code;
    assert(strlen(reason) <= CV_QUIC_REASON_MAX);
    assert(cv_utf8_valid(reason, strlen(reason)));
    assert(app->n == 0);
}

static const struct cv_conn_events conn_events = {on_stream, on_datagram, NULL,
                                                  on_conn_closed};

/* The next packet of `from` reaches the other end with these bytes in it. */
static void send_plain(struct world *w, unsigned from, struct cv_bytes bytes)
{
    static const uint8_t filler[CV_DATAGRAM_MAX];
    size_t len = bytes.len < 20 ? 20 : bytes.len;

    if (!w->end[from].conn || !w->end[!from].conn || len > sizeof(filler))
        return;
    if (cv_conn_datagram(w->end[from].conn, CV_BYTES(filler, len)) != CV_OK)
        return;
    plain.data = bytes.data;
    plain.len = bytes.len;
    plain.flip = false;
    plain.armed = true;
    world_run(w, w->now + 3 * CV_MILLISECOND, NULL, NULL);
    plain.armed = false;
}

static void act(struct world *w, struct app *app, unsigned end, uint8_t what)
{
    static const uint8_t text[3000];
    struct cv_conn *conn = w->end[end].conn;
    struct cv_stream *s = app->n > 0 ? app->streams[what % app->n] : NULL;

    if (!conn)
        return;
    switch (what % 8) {
    case 0:
    case 1:
        if (cv_conn_open(conn, &s) == CV_OK) {
            adopt(app, s);
            (void)cv_stream_send(s, CV_BYTES(text, what * 4));
        }
        break;
    case 2:
        if (s)
            (void)cv_stream_send(s, CV_BYTES(text, sizeof(text)));
        break;
    case 3:
        if (s)
            cv_stream_finish(s);
        break;
    case 4:
        if (s)
            cv_stream_reset(s, what);
        break;
    case 5:
        if (s)
            cv_stream_pause(s, what & 16);
        break;
    case 6:
        cv_quic_probe(conn, w->now);
        break;
    case 7:
        if (what > 250)
            cv_conn_close(conn, what, "fuzz");
        break;
    }
}

/* Frames with values at the edges, chosen by the fuzzer: random bytes seldom
 * are whole frames. */
static size_t compose(uint8_t *out, size_t cap, struct cv_bytes choices)
{
    static const uint64_t edge[] = {0,
                                    1,
                                    2,
                                    3,
                                    4,
                                    5,
                                    8,
                                    16,
                                    63,
                                    64,
                                    100,
                                    1000,
                                    1200,
                                    16383,
                                    16384,
                                    CV_STREAM_WINDOW - 1,
                                    CV_STREAM_WINDOW,
                                    CV_STREAM_WINDOW + 1,
                                    CV_CONN_WINDOW,
                                    CV_CONN_WINDOW + 1,
                                    252,
                                    256,
                                    260,
                                    UINT64_C(1) << 30,
                                    UINT64_C(1) << 60,
                                    (UINT64_C(1) << 62) - 1};
    /* v: a number, c: an id and a token, d: length and data, r: the rest of a
     * STREAM or DATAGRAM, 8: eight bytes.  By type (RFC 9000, 19). */
    static const char *const fields[0x20] = {
        "",    "",   "vvvv", "vvvvvvv", "vvv", "vv",  "vd",  "d",
        "vr",  "vr", "vd",   "vd",      "vvr", "vvr", "vvd", "vvd",
        "v",   "vv", "v",    "v",       "v",   "vv",  "v",   "v",
        "vvc", "v",  "8",    "8",       "vvd", "vd",  "",    ""};
    struct cv_writer w;
    struct cv_reader r;

    cv_writer_init(&w, out, cap);
    cv_reader_init(&r, choices.data, choices.len);
    while (cv_reader_left(&r) > 0 && w.err == CV_OK) {
        uint8_t type = cv_get_u8(&r);
        const char *f = fields[type & 0x1f];

        if (type >= 0xe0) { /* DATAGRAM */
            f = type & 1 ? "d" : "r";
            cv_put_u8(&w, type & 1 ? 0x31 : 0x30);
        } else {
            cv_put_u8(&w, type & 0x1f);
        }
        for (; *f; f++) {
            uint8_t pick = cv_get_u8(&r);
            uint64_t v = pick < 128
                             ? pick
                             : edge[pick % (sizeof(edge) / sizeof(edge[0]))];

            if (*f == 'v')
                cv_put_u64(&w, v | UINT64_C(3) << 62);
            if (*f == '8')
                cv_put_u64(&w, v);
            if (*f == 'd') {
                cv_put_u16(&w, (uint16_t)(0x4000 | pick));
                for (unsigned i = 0; i < pick; i++)
                    cv_put_u8(&w, cv_get_u8(&r));
            }
            if (*f == 'c') {
                cv_put_u8(&w, pick);
                for (unsigned i = 0; i < pick + 16u; i++)
                    cv_put_u8(&w, (uint8_t)(pick + i));
            }
            if (*f == 'r' && (pick & 1))
                return w.len;
        }
    }
    return w.len;
}

/* Bytes of no connection. */
static void no_connection(struct world *w, struct cv_bytes bytes)
{
    struct cv_quic_cid cid;
    uint8_t out[256];
    size_t n;

    (void)cv_quic_packet_dcid(bytes.data, bytes.len, &cid);
    n = cv_quic_write_retry(w->end[1].ctx, out, sizeof(out), bytes.data,
                            bytes.len, &w->end[0].addr, w->now);
    assert(n <= bytes.len);
    n = cv_quic_write_reset(w->end[1].ctx, out, sizeof(out), bytes.data,
                            bytes.len);
    assert(n == 0 || n < bytes.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct world_link link = {.delay = CV_MILLISECOND};
    struct app apps[2] = {0};
    struct world *w = world_new(1, &link);
    struct cv_reader r;
    uint8_t mode;

    for (unsigned i = 0; i < 2; i++) {
        w->end[i].events = &conn_events;
        w->end[i].user = &apps[i];
    }
    cv_reader_init(&r, data, size);
    mode = cv_get_u8(&r);
    if (mode & 1) { /* damage one packet of the handshake */
        unsigned skip = (mode >> 1) & 15;
        struct cv_bytes bytes = cv_get_bytes(&r, cv_get_u8(&r));

        world_connect(w);
        w->end[1].require_token = mode & 64;
        for (unsigned i = 0; i < skip; i++)
            world_run(w, w->now + CV_MILLISECOND / 3, NULL, NULL);
        plain.data = bytes.data;
        plain.len = bytes.len;
        plain.flip = !(mode & 32);
        plain.armed = true;
        world_run(w, w->now + 20 * CV_MILLISECOND, NULL, NULL);
        plain.armed = false;
    } else {
        world_join(w);
    }
    for (unsigned ops = 0; ops < 64 && cv_reader_left(&r) > 0; ops++) {
        uint8_t op = cv_get_u8(&r), frames[CV_DATAGRAM_MAX];
        unsigned end = op >> 7;
        struct cv_bytes bytes;

        switch (op % 5) {
        case 4:
            bytes = cv_get_bytes(&r, cv_get_u8(&r));
            bytes = CV_BYTES(frames, compose(frames, sizeof(frames), bytes));
            send_plain(w, end, bytes);
            break;
        case 0:
            bytes = cv_get_bytes(&r, cv_get_u8(&r));
            send_plain(w, end, bytes);
            break;
        case 1:
            bytes = cv_get_bytes(&r, cv_get_u16(&r) % 1400);
            if (bytes.data) {
                no_connection(w, bytes);
                world_deliver(w, end, bytes.data, bytes.len);
            }
            break;
        case 2:
            act(w, &apps[end], end, cv_get_u8(&r));
            break;
        case 3:
            world_run(w, w->now + (cv_time)cv_get_u8(&r) * 4 * CV_MILLISECOND,
                      NULL, NULL);
            break;
        }
    }
    world_run(w, w->now + 2 * CV_SECOND, NULL, NULL);
    world_free(w);
    return 0;
}
