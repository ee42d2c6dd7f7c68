#include "transport/gateframe_impl.h"
#include <stdio.h>
#include <string.h>

#define AUTH_PARTS    6
#define WELCOME_PARTS 7

/* ---- the link ----------------------------------------------------------- */

/* What AUTH signs; `b` holds its byte. */
static void auth_parts(struct cv_bytes part[AUTH_PARTS], uint8_t *b,
                       const struct cv_gate_auth *auth,
                       const struct cv_gate_handshake *h)
{
    *b = h->bound;
    part[0] = CV_LITERAL("covim gate 1");
    part[1] = CV_BYTES(h->gate.b, 32);
    part[2] = CV_BYTES(h->gate_nonce, 32);
    part[3] = CV_BYTES(auth->nonce, 32);
    part[4] = CV_BYTES(b, 1);
    part[5] = CV_BYTES(h->exporter, 32);
}

int cv_gate_auth_sign(struct cv_gate_auth *auth,
                      const struct cv_gate_handshake *h,
                      const struct cv_keypair *node)
{
    struct cv_bytes part[AUTH_PARTS];
    uint8_t b;

    auth_parts(part, &b, auth, h);
    auth->node = node->pub;
    auth->bound = h->bound;
    return cv_sign(auth->sig, node, part, AUTH_PARTS);
}

int cv_gate_auth_verify(const struct cv_gate_auth *auth,
                        const struct cv_gate_handshake *h)
{
    struct cv_bytes part[AUTH_PARTS];
    uint8_t b;

    auth_parts(part, &b, auth, h);
    if (auth->bound != h->bound)
        return CV_ERR_AUTH;
    return cv_verify(&auth->node, auth->sig, part, AUTH_PARTS);
}

void cv_gate_auth_token(uint8_t out[32], struct cv_bytes token,
                        const struct cv_gate_handshake *h,
                        const struct cv_gate_auth *auth)
{
    struct cv_bytes part[] = {CV_BYTES(h->gate_nonce, 32),
                              CV_BYTES(auth->nonce, 32),
                              CV_BYTES(auth->node.b, 32)};

    cv_hmac_sha256(out, token.data, token.len, part, 3);
}

/* What WELCOME signs, and where its pieces are. */
struct welcome_text {
    struct cv_bytes part[WELCOME_PARTS];
    uint8_t body[256], b;
};

static int welcome_text(struct welcome_text *t,
                        const struct cv_gate_welcome *welcome,
                        const struct cv_gate_handshake *h,
                        const struct cv_gate_auth *auth)
{
    struct cv_writer w;

    cv_writer_init(&w, t->body, sizeof t->body);
    cv_gate_put_welcome_body(&w, welcome);
    t->b = h->bound;
    t->part[0] = CV_LITERAL("covim welcome 1");
    t->part[1] = CV_BYTES(auth->node.b, 32);
    t->part[2] = CV_BYTES(h->gate_nonce, 32);
    t->part[3] = CV_BYTES(auth->nonce, 32);
    t->part[4] = CV_BYTES(&t->b, 1);
    t->part[5] = CV_BYTES(h->exporter, 32);
    t->part[6] = cv_writer_bytes(&w);
    return w.err;
}

int cv_gate_welcome_sign(struct cv_gate_welcome *welcome,
                         const struct cv_gate_handshake *h,
                         const struct cv_gate_auth *auth,
                         const struct cv_keypair *gate)
{
    struct welcome_text t;
    int err = welcome_text(&t, welcome, h, auth);

    return err == CV_OK ? cv_sign(welcome->sig, gate, t.part, WELCOME_PARTS)
                        : err;
}

int cv_gate_welcome_verify(const struct cv_gate_welcome *welcome,
                           const struct cv_gate_handshake *h,
                           const struct cv_gate_auth *auth)
{
    struct welcome_text t;
    int err = welcome_text(&t, welcome, h, auth);

    return err == CV_OK
               ? cv_verify(&h->gate, welcome->sig, t.part, WELCOME_PARTS)
               : err;
}

static struct cv_bytes vouch_body(uint8_t body[96], const struct cv_key *asker,
                                  const struct cv_key *peer,
                                  const struct cv_addr *addr, uint64_t time)
{
    struct cv_addr ip = *addr;
    struct cv_writer w;

    ip.port = 0;
    cv_writer_init(&w, body, 96);
    cv_put_raw(&w, asker->b, 32);
    cv_put_raw(&w, peer->b, 32);
    cv_put_addr(&w, &ip);
    cv_put_u64(&w, time);
    return cv_writer_bytes(&w);
}

int cv_gate_vouch_sign(uint8_t sig[CV_SIG_LEN], const struct cv_keypair *gate,
                       const struct cv_key *asker, const struct cv_key *peer,
                       const struct cv_addr *addr, uint64_t time)
{
    uint8_t body[96];
    struct cv_bytes part[] = {CV_LITERAL("covim vouch 1"),
                              vouch_body(body, asker, peer, addr, time)};

    return cv_sign(sig, gate, part, 2);
}

int cv_gate_vouch_verify(const uint8_t sig[CV_SIG_LEN],
                         const struct cv_key *gate, const struct cv_key *asker,
                         const struct cv_key *peer, const struct cv_addr *addr,
                         uint64_t time)
{
    uint8_t body[96];
    struct cv_bytes part[] = {CV_LITERAL("covim vouch 1"),
                              vouch_body(body, asker, peer, addr, time)};

    return cv_verify(gate, sig, part, 2);
}

void cv_gate_room(uint8_t room[CV_GATE_ROOM], const struct cv_key *node,
                  const uint8_t r[CV_GATE_ROOM_KEY])
{
    uint8_t hash[CV_HASH_LEN];
    struct cv_bytes part[] = {CV_LITERAL("covim room"), CV_BYTES(node->b, 32),
                              CV_BYTES(r, CV_GATE_ROOM_KEY)};

    cv_sha256(hash, part, 3);
    memcpy(room, hash, CV_GATE_ROOM);
}

/* ---- UDP ---------------------------------------------------------------- */

static void mac(uint8_t out[CV_GATE_MAC], const uint8_t key[16],
                const uint8_t *data, size_t len)
{
    uint8_t full[CV_HASH_LEN];
    struct cv_bytes part = CV_BYTES(data, len);

    cv_hmac_sha256(full, key, 16, &part, 1);
    memcpy(out, full, CV_GATE_MAC);
}

/* The last 16 bytes of data[len] are the MAC of those before. */
static bool mac_is_right(const uint8_t key[16], const uint8_t *data, size_t len)
{
    uint8_t want[CV_GATE_MAC];

    mac(want, key, data, len - CV_GATE_MAC);
    return cv_equal(want, data + len - CV_GATE_MAC, CV_GATE_MAC);
}

static int put_mac(struct cv_writer *w, size_t from, const uint8_t key[16])
{
    uint8_t out[CV_GATE_MAC];

    if (w->err != CV_OK)
        return w->err;
    mac(out, key, w->data + from, w->len - from);
    return cv_put_raw(w, out, sizeof out);
}

#define BIND_BODY (1 + 4 + 8 + CV_GATE_COOKIE)

void cv_gate_bind_write(uint8_t out[CV_GATE_UDP_BIND_LEN],
                        const struct cv_gate_bind *bind,
                        const uint8_t key[CV_GATE_CHANNEL])
{
    struct cv_writer w;

    cv_writer_init(&w, out, CV_GATE_UDP_BIND_LEN);
    cv_put_u8(&w, CV_GATE_UDP_BIND);
    cv_put_u32(&w, bind->channel);
    cv_put_u64(&w, bind->counter);
    cv_put_raw(&w, bind->cookie, CV_GATE_COOKIE);
    put_mac(&w, 0, key);
    cv_put_zeros(&w, CV_GATE_UDP_BIND_LEN - w.len);
}

int cv_gate_bind_channel(const uint8_t *data, size_t len, uint32_t *channel)
{
    struct cv_reader r;

    if (len < BIND_BODY + CV_GATE_MAC)
        return CV_ERR_FORMAT;
    cv_reader_init(&r, data + 1, len - 1);
    *channel = cv_get_u32(&r);
    return CV_OK;
}

static void get_bind(struct cv_reader *r, struct cv_gate_bind *out)
{
    memset(out, 0, sizeof *out);
    out->channel = cv_get_u32(r);
    out->counter = cv_get_u64(r);
    cv_get_raw(r, out->cookie, CV_GATE_COOKIE);
}

int cv_gate_bind_read(struct cv_gate_bind *out, const uint8_t *data, size_t len,
                      const uint8_t key[CV_GATE_CHANNEL])
{
    struct cv_reader r;

    if (len != CV_GATE_UDP_BIND_LEN || data[0] != CV_GATE_UDP_BIND)
        return CV_ERR_FORMAT;
    if (!mac_is_right(key, data, BIND_BODY + CV_GATE_MAC))
        return CV_ERR_AUTH;
    cv_reader_init(&r, data + 1, len - 1);
    get_bind(&r, out);
    return r.err;
}

int cv_gate_bound_write(struct cv_writer *w, const struct cv_gate_bind *bound,
                        const uint8_t key[CV_GATE_CHANNEL])
{
    size_t from = w->len;

    cv_put_u8(w, CV_GATE_UDP_BOUND);
    cv_put_u32(w, bound->channel);
    cv_put_u64(w, bound->counter);
    cv_put_raw(w, bound->cookie, CV_GATE_COOKIE);
    cv_put_addr(w, &bound->seen);
    return put_mac(w, from, key);
}

int cv_gate_bound_read(struct cv_gate_bind *out, const uint8_t *data,
                       size_t len, const uint8_t key[CV_GATE_CHANNEL])
{
    struct cv_reader r;

    if (len < BIND_BODY + CV_GATE_MAC || data[0] != CV_GATE_UDP_BOUND)
        return CV_ERR_FORMAT;
    if (!mac_is_right(key, data, len))
        return CV_ERR_AUTH;
    cv_reader_init(&r, data + 1, len - 1 - CV_GATE_MAC);
    get_bind(&r, out);
    out->seen = cv_get_addr(&r);
    return cv_reader_end(&r);
}

int cv_gate_ask_write(struct cv_writer *w, bool answer,
                      const struct cv_gate_ask *ask,
                      const uint8_t key[CV_GATE_TICKET_KEY])
{
    size_t from = w->len;
    int err;

    cv_put_u8(w, answer ? CV_GATE_UDP_ANSWER : CV_GATE_UDP_ASK);
    cv_put_raw(w, ask->ticket, CV_GATE_TICKET_ID);
    cv_put_u64(w, ask->counter);
    cv_put_raw(w, ask->cookie, CV_GATE_COOKIE);
    cv_put_u8(w, ask->empty ? 0 : (uint8_t)ask->frame.type);
    if (!ask->empty) {
        err = cv_gate_put_body(w, &ask->frame);
        if (err != CV_OK)
            return err;
    }
    return put_mac(w, from, key);
}

int cv_gate_ask_ticket(const uint8_t *data, size_t len,
                       uint8_t ticket[CV_GATE_TICKET_ID])
{
    if (len < CV_GATE_ASK_HEADER + CV_GATE_MAC)
        return CV_ERR_FORMAT;
    memcpy(ticket, data + 1, CV_GATE_TICKET_ID);
    return CV_OK;
}

int cv_gate_ask_read(struct cv_gate_ask *out, bool answer, const uint8_t *data,
                     size_t len, const uint8_t key[CV_GATE_TICKET_KEY])
{
    uint8_t first = answer ? CV_GATE_UDP_ANSWER : CV_GATE_UDP_ASK;
    struct cv_reader r;

    memset(out, 0, sizeof *out);
    if (len < CV_GATE_ASK_HEADER + CV_GATE_MAC || data[0] != first ||
        len > CV_GATE_FRAME_MAX)
        return CV_ERR_FORMAT;
    if (!mac_is_right(key, data, len))
        return CV_ERR_AUTH;
    len -= CV_GATE_MAC;
    cv_reader_init(&r, data + 1, len - 1);
    cv_get_raw(&r, out->ticket, CV_GATE_TICKET_ID);
    out->counter = cv_get_u64(&r);
    cv_get_raw(&r, out->cookie, CV_GATE_COOKIE);
    if (r.at < r.end && *r.at == 0 && cv_reader_left(&r) == 1) {
        out->empty = true;
        return CV_OK;
    }
    return cv_gate_get_body(&out->frame, CV_BYTES(r.at, cv_reader_left(&r)));
}

void cv_gate_cookie(uint8_t out[CV_GATE_COOKIE], const uint8_t secret[32],
                    const struct cv_addr *from, struct cv_bytes what,
                    uint64_t minute)
{
    uint8_t full[CV_HASH_LEN], text[32];
    struct cv_bytes part[3];
    struct cv_writer w;

    cv_writer_init(&w, text, sizeof text);
    cv_put_addr(&w, from);
    cv_put_u64(&w, minute);
    part[0] = CV_LITERAL("covim cookie 1");
    part[1] = cv_writer_bytes(&w);
    part[2] = what;
    cv_hmac_sha256(full, secret, 32, part, 3);
    memcpy(out, full, CV_GATE_COOKIE);
}
