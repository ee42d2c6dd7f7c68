#include "transport/gateframe_impl.h"
#include <assert.h>
#include <string.h>

const char *cv_gate_refusal_text(enum cv_gate_refusal why)
{
    switch (why) {
    case CV_GATE_REFUSAL_VERSION:
        return "the gate speaks another version of the protocol; update covim "
               "here or ask who runs the gate to";
    case CV_GATE_REFUSAL_AUTH:
        return "the gate did not accept the proof of our key";
    case CV_GATE_REFUSAL_POLICY:
        return "the gate is for others: ask who runs it to list your identity "
               "or to give you its token";
    case CV_GATE_REFUSAL_FULL:
        return "the gate is full; try another one, or later";
    case CV_GATE_REFUSAL_LIMIT:
        return "it carries no more for one user or one session: ask who runs "
               "it for more, or try another one";
    case CV_GATE_REFUSAL_RATE:
        return "too many requests in a short time; the gate wants a pause";
    case CV_GATE_REFUSAL_UNKNOWN:
        return "nobody is there under this name at the gate";
    case CV_GATE_REFUSAL_CLOSING:
        return "the gate is closing; another one is tried";
    case CV_GATE_REFUSAL_FORMAT:
        return "the gate could not read what was sent";
    }
    return "the gate refused";
}

/* ---- writing ------------------------------------------------------------ */

static int put_short(struct cv_writer *w, struct cv_bytes b, size_t max)
{
    if (b.len > max)
        return CV_ERR_INVALID;
    cv_put_u16(w, (uint16_t)b.len);
    cv_put_raw(w, b.data, b.len);
    return CV_OK;
}

static void put_auth(struct cv_writer *w, const struct cv_gate_auth *a)
{
    cv_put_raw(w, a->node.b, sizeof a->node.b);
    cv_put_raw(w, a->nonce, sizeof a->nonce);
    cv_put_u8(w, a->bound);
    cv_put_u8(w, (uint8_t)((a->has_identity ? CV_GATE_WANTS_IDENTITY : 0) |
                           (a->has_token ? CV_GATE_WANTS_TOKEN : 0)));
    if (a->has_identity)
        cv_put_cert(w, &a->cert);
    if (a->has_token)
        cv_put_raw(w, a->token, sizeof a->token);
    cv_put_raw(w, a->sig, sizeof a->sig);
}

static int put_ring(struct cv_writer *w, const struct cv_gate_frame *f)
{
    int err;

    cv_put_raw(w, f->u.ring.room, CV_GATE_ROOM);
    cv_put_raw(w, f->u.ring.tag, CV_GATE_TAG);
    if (f->u.ring.knock.len == 0)
        return CV_ERR_INVALID;
    err = put_short(w, f->u.ring.knock, CV_GATE_KNOCK_MAX);
    if (err != CV_OK)
        return err;
    return put_short(w, f->u.ring.packet, CV_GATE_PACKET_MAX);
}

static void put_opened(struct cv_writer *w, const struct cv_gate_frame *f)
{
    cv_put_raw(w, f->u.opened.room, CV_GATE_ROOM);
    cv_put_raw(w, f->u.opened.tag, CV_GATE_TAG);
    cv_put_u32(w, f->u.opened.channel);
    cv_put_raw(w, f->u.opened.key, CV_GATE_CHANNEL);
    cv_put_u8(w, f->u.opened.caller);
}

static int put_store(struct cv_writer *w, const struct cv_gate_frame *f)
{
    struct cv_bytes sealed = f->u.store.sealed;

    if (sealed.len == 0 || sealed.len > CV_GATE_STORED_MAX)
        return CV_ERR_INVALID;
    cv_put_raw(w, f->u.store.loc, sizeof f->u.store.loc);
    if (f->type == CV_GATE_STORE) {
        if (f->u.store.ttl == 0 || f->u.store.ttl > CV_GATE_TTL_MAX)
            return CV_ERR_INVALID;
        cv_put_u16(w, f->u.store.ttl);
    }
    cv_put_raw(w, sealed.data, sealed.len);
    return CV_OK;
}

static void put_vouched(struct cv_writer *w, const struct cv_gate_frame *f)
{
    cv_put_u32(w, f->u.vouched.channel);
    cv_put_addr(w, &f->u.vouched.addr);
    cv_put_u64(w, f->u.vouched.time);
    cv_put_raw(w, f->u.vouched.sig, CV_SIG_LEN);
}

static void put_refused(struct cv_writer *w, const struct cv_gate_frame *f)
{
    cv_put_u8(w, f->u.refused.of);
    cv_put_u8(w, f->u.refused.why);
    cv_put_raw(w, f->u.refused.tag, CV_GATE_TAG);
}

void cv_gate_put_welcome_body(struct cv_writer *w,
                              const struct cv_gate_welcome *m)
{
    size_t n = strnlen(m->version, CV_GATE_VERSION_TEXT);

    cv_put_addr(w, &m->seen);
    cv_put_u16(w, m->udp_port);
    cv_put_u32(w, m->rate);
    cv_put_u32(w, m->burst);
    cv_put_u16(w, m->rooms);
    cv_put_u16(w, m->channels);
    cv_put_u64(w, m->time);
    cv_put_raw(w, m->ticket, sizeof m->ticket);
    cv_put_raw(w, m->ticket_key, sizeof m->ticket_key);
    cv_put_u16(w, m->ticket_s);
    cv_put_u8(w, (uint8_t)n);
    cv_put_raw(w, m->version, n);
}

static int put_data(struct cv_writer *w, const struct cv_gate_frame *f)
{
    if (f->u.data.packet.len == 0 || f->u.data.packet.len > CV_GATE_PACKET_MAX)
        return CV_ERR_INVALID;
    cv_put_u32(w, f->u.data.channel);
    cv_put_raw(w, f->u.data.packet.data, f->u.data.packet.len);
    return CV_OK;
}

int cv_gate_put_body(struct cv_writer *w, const struct cv_gate_frame *f)
{
    switch (f->type) {
    case CV_GATE_CHALLENGE:
        cv_put_u8(w, f->u.challenge.version);
        cv_put_u8(w, f->u.challenge.wants);
        cv_put_raw(w, f->u.challenge.nonce, 32);
        break;
    case CV_GATE_AUTH:
        put_auth(w, &f->u.auth);
        break;
    case CV_GATE_WELCOME:
        cv_gate_put_welcome_body(w, &f->u.welcome);
        cv_put_raw(w, f->u.welcome.sig, CV_SIG_LEN);
        break;
    case CV_GATE_REGISTER:
        cv_put_raw(w, f->u.room_key, CV_GATE_ROOM_KEY);
        break;
    case CV_GATE_REGISTERED:
    case CV_GATE_UNREGISTER:
        cv_put_raw(w, f->u.room, CV_GATE_ROOM);
        break;
    case CV_GATE_RING:
    case CV_GATE_RUNG:
        return put_ring(w, f);
    case CV_GATE_RANG:
        cv_put_raw(w, f->u.rang.tag, CV_GATE_TAG);
        cv_put_u8(w, f->u.rang.result);
        break;
    case CV_GATE_OPEN:
        cv_put_raw(w, f->u.open.room, CV_GATE_ROOM);
        cv_put_raw(w, f->u.open.tag, CV_GATE_TAG);
        break;
    case CV_GATE_OPENED:
        put_opened(w, f);
        break;
    case CV_GATE_CLOSE:
    case CV_GATE_GONE:
    case CV_GATE_VOUCH:
    case CV_GATE_UNBIND:
        cv_put_u32(w, f->u.channel);
        break;
    case CV_GATE_DATA:
        return put_data(w, f);
    case CV_GATE_STORE:
    case CV_GATE_FOUND:
        return put_store(w, f);
    case CV_GATE_FETCH:
    case CV_GATE_NONE:
        cv_put_raw(w, f->u.loc, sizeof f->u.loc);
        break;
    case CV_GATE_VOUCHED:
        put_vouched(w, f);
        break;
    case CV_GATE_PING:
    case CV_GATE_PONG:
        cv_put_u64(w, f->u.ping);
        break;
    case CV_GATE_SLOW:
        cv_put_u32(w, f->u.slow);
        break;
    case CV_GATE_BYE:
        cv_put_u32(w, f->u.bye);
        break;
    case CV_GATE_REFUSED:
        put_refused(w, f);
        break;
    }
    return CV_OK;
}

int cv_gate_put(struct cv_writer *w, const struct cv_gate_frame *f)
{
    size_t at = w->len;
    int err;

    cv_put_u16(w, 0);
    cv_put_u8(w, (uint8_t)f->type);
    err = cv_gate_put_body(w, f);
    if (err == CV_OK)
        err = w->err;
    if (err == CV_OK && w->len - at - 2 > CV_GATE_FRAME_MAX)
        err = CV_ERR_INVALID;
    if (err != CV_OK) {
        if (w->err == CV_OK)
            w->len = at; /* as if nothing had been written */
        return err;
    }
    w->data[at] = (uint8_t)((w->len - at - 2) >> 8);
    w->data[at + 1] = (uint8_t)((w->len - at - 2) & 0xff);
    return CV_OK;
}

/* ---- reading ------------------------------------------------------------ */

static bool get_bool(struct cv_reader *r)
{
    uint8_t v = cv_get_u8(r);

    if (v > 1)
        cv_reader_fail(r);
    return v == 1;
}

static struct cv_bytes get_short(struct cv_reader *r, size_t min, size_t max)
{
    size_t n = cv_get_u16(r);

    if (n < min || n > max) {
        cv_reader_fail(r);
        return (struct cv_bytes){0};
    }
    return cv_get_bytes(r, n);
}

static struct cv_bytes get_rest(struct cv_reader *r, size_t max)
{
    size_t n = cv_reader_left(r);

    if (n == 0 || n > max) {
        cv_reader_fail(r);
        return (struct cv_bytes){0};
    }
    return cv_get_bytes(r, n);
}

static void get_auth(struct cv_reader *r, struct cv_gate_auth *a)
{
    uint8_t has;

    cv_get_raw(r, a->node.b, sizeof a->node.b);
    cv_get_raw(r, a->nonce, sizeof a->nonce);
    a->bound = get_bool(r);
    has = cv_get_u8(r);
    if (has & ~(CV_GATE_WANTS_IDENTITY | CV_GATE_WANTS_TOKEN))
        cv_reader_fail(r);
    a->has_identity = (has & CV_GATE_WANTS_IDENTITY) != 0;
    a->has_token = (has & CV_GATE_WANTS_TOKEN) != 0;
    if (a->has_identity)
        a->cert = cv_get_cert(r);
    if (a->has_token)
        cv_get_raw(r, a->token, sizeof a->token);
    cv_get_raw(r, a->sig, sizeof a->sig);
}

static void get_welcome(struct cv_reader *r, struct cv_gate_welcome *m)
{
    size_t n;

    m->seen = cv_get_addr(r);
    m->udp_port = cv_get_u16(r);
    m->rate = cv_get_u32(r);
    m->burst = cv_get_u32(r);
    m->rooms = cv_get_u16(r);
    m->channels = cv_get_u16(r);
    m->time = cv_get_u64(r);
    cv_get_raw(r, m->ticket, sizeof m->ticket);
    cv_get_raw(r, m->ticket_key, sizeof m->ticket_key);
    m->ticket_s = cv_get_u16(r);
    n = cv_get_u8(r);
    if (n > CV_GATE_VERSION_TEXT) {
        cv_reader_fail(r);
        return;
    }
    cv_get_raw(r, m->version, n);
    for (size_t i = 0; i < n; i++)
        if (m->version[i] < ' ' || m->version[i] > '~')
            cv_reader_fail(r);
    cv_get_raw(r, m->sig, sizeof m->sig);
}

static void get_ring(struct cv_reader *r, struct cv_gate_frame *f)
{
    cv_get_raw(r, f->u.ring.room, CV_GATE_ROOM);
    cv_get_raw(r, f->u.ring.tag, CV_GATE_TAG);
    f->u.ring.knock = get_short(r, 1, CV_GATE_KNOCK_MAX);
    f->u.ring.packet = get_short(r, 0, CV_GATE_PACKET_MAX);
}

static void get_opened(struct cv_reader *r, struct cv_gate_frame *f)
{
    cv_get_raw(r, f->u.opened.room, CV_GATE_ROOM);
    cv_get_raw(r, f->u.opened.tag, CV_GATE_TAG);
    f->u.opened.channel = cv_get_u32(r);
    cv_get_raw(r, f->u.opened.key, CV_GATE_CHANNEL);
    f->u.opened.caller = get_bool(r);
}

static void get_store(struct cv_reader *r, struct cv_gate_frame *f)
{
    cv_get_raw(r, f->u.store.loc, sizeof f->u.store.loc);
    if (f->type == CV_GATE_STORE) {
        f->u.store.ttl = cv_get_u16(r);
        if (f->u.store.ttl == 0 || f->u.store.ttl > CV_GATE_TTL_MAX)
            cv_reader_fail(r);
    }
    f->u.store.sealed = get_rest(r, CV_GATE_STORED_MAX);
}

static void get_vouched(struct cv_reader *r, struct cv_gate_frame *f)
{
    f->u.vouched.channel = cv_get_u32(r);
    f->u.vouched.addr = cv_get_addr(r);
    f->u.vouched.time = cv_get_u64(r);
    cv_get_raw(r, f->u.vouched.sig, CV_SIG_LEN);
}

static void get_refused(struct cv_reader *r, struct cv_gate_frame *f)
{
    f->u.refused.of = cv_get_u8(r);
    f->u.refused.why = cv_get_u8(r);
    cv_get_raw(r, f->u.refused.tag, CV_GATE_TAG);
}

/* The body of f->type.  False: no such type. */
static bool get_body(struct cv_reader *r, struct cv_gate_frame *f)
{
    switch (f->type) {
    case CV_GATE_CHALLENGE:
        f->u.challenge.version = cv_get_u8(r);
        f->u.challenge.wants = cv_get_u8(r);
        cv_get_raw(r, f->u.challenge.nonce, 32);
        return true;
    case CV_GATE_AUTH:
        get_auth(r, &f->u.auth);
        return true;
    case CV_GATE_WELCOME:
        get_welcome(r, &f->u.welcome);
        return true;
    case CV_GATE_REGISTER:
        cv_get_raw(r, f->u.room_key, CV_GATE_ROOM_KEY);
        return true;
    case CV_GATE_REGISTERED:
    case CV_GATE_UNREGISTER:
        cv_get_raw(r, f->u.room, CV_GATE_ROOM);
        return true;
    case CV_GATE_RING:
    case CV_GATE_RUNG:
        get_ring(r, f);
        return true;
    case CV_GATE_RANG:
        cv_get_raw(r, f->u.rang.tag, CV_GATE_TAG);
        f->u.rang.result = cv_get_u8(r);
        return true;
    case CV_GATE_OPEN:
        cv_get_raw(r, f->u.open.room, CV_GATE_ROOM);
        cv_get_raw(r, f->u.open.tag, CV_GATE_TAG);
        return true;
    case CV_GATE_OPENED:
        get_opened(r, f);
        return true;
    case CV_GATE_CLOSE:
    case CV_GATE_GONE:
    case CV_GATE_VOUCH:
    case CV_GATE_UNBIND:
        f->u.channel = cv_get_u32(r);
        return true;
    case CV_GATE_DATA:
        f->u.data.channel = cv_get_u32(r);
        f->u.data.packet = get_rest(r, CV_GATE_PACKET_MAX);
        return true;
    case CV_GATE_STORE:
    case CV_GATE_FOUND:
        get_store(r, f);
        return true;
    case CV_GATE_FETCH:
    case CV_GATE_NONE:
        cv_get_raw(r, f->u.loc, sizeof f->u.loc);
        return true;
    case CV_GATE_VOUCHED:
        get_vouched(r, f);
        return true;
    case CV_GATE_PING:
    case CV_GATE_PONG:
        f->u.ping = cv_get_u64(r);
        return true;
    case CV_GATE_SLOW:
        f->u.slow = cv_get_u32(r);
        return true;
    case CV_GATE_BYE:
        f->u.bye = cv_get_u32(r);
        return true;
    case CV_GATE_REFUSED:
        get_refused(r, f);
        return true;
    }
    return false;
}

int cv_gate_get_body(struct cv_gate_frame *out, struct cv_bytes frame)
{
    struct cv_reader r;

    memset(out, 0, sizeof *out);
    cv_reader_init(&r, frame.data, frame.len);
    out->type = (enum cv_gate_type)cv_get_u8(&r);
    if (!get_body(&r, out))
        return CV_ERR_FORMAT;
    return cv_reader_end(&r);
}

int cv_gate_get(struct cv_gate_frame *out, const uint8_t *data, size_t len,
                size_t *used)
{
    size_t n;

    *used = 0;
    if (len < 2)
        return CV_ERR_AGAIN;
    n = (size_t)data[0] << 8 | data[1];
    if (n == 0 || n > CV_GATE_FRAME_MAX)
        return CV_ERR_FORMAT;
    if (len - 2 < n)
        return CV_ERR_AGAIN;
    *used = 2 + n;
    return cv_gate_get_body(out, CV_BYTES(data + 2, n));
}
