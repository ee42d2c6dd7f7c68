#include "transport/gatelink.h"
#include "base/outbuf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_MAX 65536

/* Of a failed try. */
static const cv_time backoff[] = {250 * CV_MILLISECOND, 1 * CV_SECOND,
                                  2 * CV_SECOND,        4 * CV_SECOND,
                                  15 * CV_SECOND,       30 * CV_SECOND};
#define BACKOFFS     (sizeof backoff / sizeof backoff[0])
#define BACKOFF_SOON 3 /* the longest for a gate that was there just now */

enum step {
    WAITING, /* for the next try */
    DIALLING,
    PROVING, /* CHALLENGE, AUTH, WELCOME */
    UP,
};

struct cv_gatelink {
    struct cv_gatelink_config config;
    const struct cv_gatelink_events *events;
    void *user;
    enum step step;
    struct cv_tls_ctx *ctx; /* for the gate's key, or for its host's name */
    struct cv_timer *timer;
    struct cv_gatedial *dial;
    struct cv_gatedial_memory memory;
    struct cv_gatestream stream;
    struct cv_watch *watch;
    struct cv_gate_handshake handshake;
    struct cv_gate_auth auth;
    unsigned tries;
    cv_time back_until; /* it was there lately, and may come back by then */
    bool blocked;       /* somebody was told AGAIN */
    bool dirty;
    cv_time ping_at;  /* the next one; CV_NEVER while it is not up */
    cv_time ask_at;   /* one for what was sent since something came */
    cv_time heard_by; /* then it is dead, unless something comes */
    uint64_t pinged;
    cv_time pinged_at, rtt; /* 0: answered */
    struct cv_outbuf out;
    uint8_t *in; /* [READ_MAX], what is not a whole frame yet comes first */
    size_t have;
    char why[256];
};

static void begin(struct cv_gatelink *l);

static cv_time now_of(const struct cv_gatelink *l)
{
    return cv_loop_now(l->config.loop);
}

/* ---- falling down ------------------------------------------------------- */

static void disconnect(struct cv_gatelink *l)
{
    cv_gatedial_free(l->dial);
    l->dial = NULL;
    cv_watch_free(l->watch);
    l->watch = NULL;
    cv_gatestream_fini(&l->stream);
    cv_outbuf_fini(&l->out);
    l->have = 0;
    l->ping_at = l->ask_at = l->heard_by = CV_NEVER;
    l->blocked = false;
    l->pinged_at = 0;
    cv_wipe(&l->handshake, sizeof l->handshake);
}

cv_time cv_gatelink_wait(unsigned tries, bool lately, uint64_t random)
{
    unsigned last = lately ? BACKOFF_SOON : BACKOFFS - 1;
    cv_time base = backoff[tries < last ? tries : last];

    return base / 2 + (cv_time)(random % (uint64_t)base);
}

static void fail(struct cv_gatelink *l, const char *why)
{
    cv_time now = now_of(l), wait;

    if (l->step == UP)
        l->back_until = now + CV_GATELINK_LATELY;
    wait = cv_gatelink_wait(l->tries, now < l->back_until,
                            cv_random_u64(l->config.rng));
    /* It may be the dial's, which goes with the rest. */
    if (why != l->why)
        snprintf(l->why, sizeof l->why, "%s", why);
    disconnect(l);
    l->step = WAITING;
    l->tries++;
    cv_debug(l->config.log, "gatelink: down, tries=%u: %s", l->tries, l->why);
    cv_timer_set(l->timer, now + wait);
    l->events->down(l->user, l->why);
}

/* It will not change its mind soon. */
static void give_up(struct cv_gatelink *l, const char *why)
{
    l->tries = BACKOFFS;
    l->back_until = 0;
    fail(l, why);
}

/* It connects, and leads nowhere: another way comes first next time. */
static void leads_nowhere(struct cv_gatelink *l, const char *why)
{
    cv_gatedial_bad(&l->memory, l->stream.way);
    fail(l, why);
}

/* ---- writing ------------------------------------------------------------ */

static bool has_queue(const struct cv_gatelink *l)
{
    return cv_outbuf_waiting(&l->out).len > 0;
}

static void watch_for(struct cv_gatelink *l)
{
    cv_watch_set(l->watch,
                 CV_WATCH_READ | (has_queue(l) ? CV_WATCH_WRITE : 0u));
}

/* False: it is down. */
static bool flush(struct cv_gatelink *l)
{
    while (has_queue(l)) {
        struct cv_bytes out = cv_outbuf_waiting(&l->out);
        ptrdiff_t n = cv_tls_write(l->stream.tls, out.data, out.len);

        if (n == CV_ERR_AGAIN) {
            watch_for(l);
            return true;
        }
        if (n < 0) {
            fail(l, "the link to the gate broke");
            return false;
        }
        cv_outbuf_sent(&l->out, (size_t)n);
    }
    watch_for(l);
    if (l->blocked) {
        l->blocked = false;
        l->events->writable(l->user);
    }
    return true;
}

static int enqueue(struct cv_gatelink *l, const uint8_t *data, size_t len)
{
    int err = cv_outbuf_add(&l->out, data, len, CV_GATELINK_QUEUE);

    if (l->step == UP && l->ask_at == CV_NEVER && l->heard_by == CV_NEVER)
        l->ask_at = now_of(l) + CV_GATELINK_ASK;
    if (err == CV_OK && !l->dirty) {
        l->dirty = true;
        cv_timer_set(l->timer, 0);
    }
    return err;
}

static int put(struct cv_gatelink *l, const struct cv_gate_frame *f)
{
    uint8_t out[CV_GATE_FRAME_MAX + 2];
    uint8_t message[sizeof out + CV_GATEWS_HEADER];
    struct cv_writer w, m;
    int err;

    cv_writer_init(&w, out, sizeof out);
    err = cv_gate_put(&w, f);
    if (err != CV_OK)
        return err;
    if (!l->stream.ws)
        return enqueue(l, out, w.len);
    cv_writer_init(&m, message, sizeof message);
    err = cv_gatews_encode(l->stream.ws, &m, out, w.len);
    return err == CV_OK ? enqueue(l, message, m.len) : err;
}

int cv_gatelink_send(struct cv_gatelink *l, const struct cv_gate_frame *f)
{
    int err;

    if (l->step != UP)
        return CV_ERR_CLOSED;
    err = put(l, f);
    if (err == CV_ERR_AGAIN)
        l->blocked = true;
    return err;
}

/* ---- the proofs --------------------------------------------------------- */

static void on_challenge(struct cv_gatelink *l, const struct cv_gate_frame *f)
{
    struct cv_gate_frame auth;
    struct cv_bytes token = CV_BYTES(l->config.token, strlen(l->config.token));

    if (f->u.challenge.version != CV_GATE_VERSION) {
        fail(l, cv_gate_refusal_text(CV_GATE_REFUSAL_VERSION));
        return;
    }
    l->handshake.gate = l->config.name.key;
    memcpy(l->handshake.gate_nonce, f->u.challenge.nonce, 32);
    l->handshake.bound = l->stream.bound;
    memset(&l->auth, 0, sizeof l->auth);
    cv_random(l->config.rng, l->auth.nonce, sizeof l->auth.nonce);
    if ((l->stream.bound && cv_tls_export(l->stream.tls, CV_GATE_EXPORTER,
                                          l->handshake.exporter) != CV_OK) ||
        cv_gate_auth_sign(&l->auth, &l->handshake, l->config.node) != CV_OK) {
        fail(l, "internal error while proving our key to the gate");
        return;
    }
    /* Who we are is told only to a gate that asks for it. */
    if ((f->u.challenge.wants & CV_GATE_WANTS_IDENTITY) && l->config.cert) {
        l->auth.has_identity = true;
        l->auth.cert = *l->config.cert;
    }
    if ((f->u.challenge.wants & CV_GATE_WANTS_TOKEN) && token.len > 0) {
        l->auth.has_token = true;
        cv_gate_auth_token(l->auth.token, token, &l->handshake, &l->auth);
    }
    memset(&auth, 0, sizeof auth);
    auth.type = CV_GATE_AUTH;
    auth.u.auth = l->auth;
    (void)put(l, &auth);
}

static void on_welcome(struct cv_gatelink *l, const struct cv_gate_frame *f)
{
    if (cv_gate_welcome_verify(&f->u.welcome, &l->handshake, &l->auth) !=
        CV_OK) {
        give_up(l, "the gate did not prove its key");
        return;
    }
    cv_gatedial_good(&l->memory, l->stream.way);
    l->step = UP;
    l->tries = 0;
    l->why[0] = '\0';
    l->ping_at = now_of(l); /* the first one measures */
    cv_timer_set(l->timer, 0);
    l->events->up(l->user, &f->u.welcome);
}

static void on_refused(struct cv_gatelink *l, const struct cv_gate_frame *f)
{
    if (f->u.refused.why == CV_GATE_REFUSAL_AUTH && !l->stream.bound)
        give_up(l, "the gate is not set up for a reverse proxy "
                   "(listen-proxied), or there is none before it: then its "
                   "name has no wss://");
    else
        give_up(l,
                cv_gate_refusal_text((enum cv_gate_refusal)f->u.refused.why));
}

/* ---- frames ------------------------------------------------------------- */

static void on_frame(struct cv_gatelink *l, const struct cv_gate_frame *f)
{
    struct cv_gate_frame pong = {.type = CV_GATE_PONG, .u.ping = f->u.ping};
    cv_time rtt;

    if (l->step == PROVING) {
        if (f->type == CV_GATE_CHALLENGE)
            on_challenge(l, f);
        else if (f->type == CV_GATE_WELCOME)
            on_welcome(l, f);
        else if (f->type == CV_GATE_REFUSED)
            on_refused(l, f);
        return;
    }
    switch ((int)f->type) {
    case CV_GATE_PING:
        (void)put(l, &pong);
        return;
    case CV_GATE_PONG:
        if (l->pinged_at == 0 || f->u.ping != l->pinged)
            return;
        rtt = now_of(l) - l->pinged_at;
        l->rtt = l->rtt ? (7 * l->rtt + rtt) / 8 : rtt;
        l->pinged_at = 0;
        return;
    case CV_GATE_CHALLENGE:
    case CV_GATE_WELCOME:
        return;
    default:
        l->events->frame(l->user, f);
    }
}

/* False: it is down. */
static bool parse(struct cv_gatelink *l)
{
    size_t at = 0, used;
    struct cv_gate_frame f;

    while (at < l->have) {
        int err = cv_gate_get(&f, l->in + at, l->have - at, &used);

        if (err == CV_ERR_AGAIN)
            break;
        if (used == 0) {
            fail(l, "the gate does not keep to the protocol");
            return false;
        }
        at += used;
        if (err == CV_OK)
            on_frame(l, &f);
        if (l->stream.fd < 0)
            return false;
    }
    memmove(l->in, l->in + at, l->have - at);
    l->have -= at;
    return true;
}

/* Whatever it says, it is there. */
static void heard(struct cv_gatelink *l)
{
    l->ask_at = l->heard_by = CV_NEVER;
}

static void read_all(struct cv_gatelink *l)
{
    for (;;) {
        struct cv_bytes answers;
        ptrdiff_t n = cv_gatestream_read(&l->stream, l->in + l->have,
                                         READ_MAX - l->have, &answers);

        if (n == CV_ERR_AGAIN)
            return;
        if (n < 0 && l->step == UP) {
            fail(l, "the gate has closed the link");
            return;
        }
        if (n < 0) {
            leads_nowhere(l, "the gate broke off the handshake");
            return;
        }
        heard(l);
        /* Without room for it a pong is left out. */
        if (answers.len > 0)
            (void)enqueue(l, answers.data, answers.len);
        l->have += (size_t)n;
        if (!parse(l))
            return;
    }
}

/* ---- connecting --------------------------------------------------------- */

static void on_ready(void *user, unsigned ready)
{
    struct cv_gatelink *l = user;

    if ((ready & CV_WATCH_WRITE) && !flush(l))
        return;
    if (ready & CV_WATCH_READ)
        read_all(l);
}

static void on_dialled(void *user, struct cv_gatestream *stream, int err,
                       const char *why)
{
    struct cv_gatelink *l = user;

    if (err == CV_ERR_AUTH) {
        give_up(l, why);
        return;
    }
    if (!stream) {
        fail(l, why);
        return;
    }
    cv_gatedial_free(l->dial);
    l->dial = NULL;
    l->stream = *stream;
    l->why[0] = '\0';
    if (cv_watch_new(&l->watch, l->config.loop, l->stream.fd, CV_WATCH_READ,
                     on_ready, l) != CV_OK) {
        fail(l, cv_strerror(CV_ERR_NOMEM));
        return;
    }
    l->step = PROVING;
    cv_timer_set(l->timer, now_of(l) + CV_GATELINK_PROVE);
    read_all(l);
}

/* Reading whom this machine trusts takes time and memory: only for names that
 * need it, and not before. */
static int context(struct cv_gatelink *l)
{
    if (l->ctx)
        return CV_OK;
    return l->config.name.path[0]
               ? cv_tls_client_public(&l->ctx, l->config.ca_file)
               : cv_tls_client(&l->ctx);
}

static void begin(struct cv_gatelink *l)
{
    struct cv_gatetry_config config = {.loop = l->config.loop,
                                       .log = l->config.log,
                                       .rng = l->config.rng,
                                       .name = &l->config.name,
                                       .proxy = l->config.proxy};
    int err = context(l);

    if (err == CV_ERR_FORMAT) {
        give_up(l, "this machine trusts no certificate authority (on Debian "
                   "install ca-certificates), so the reverse proxy before the "
                   "gate cannot be known");
        return;
    }
    l->step = DIALLING;
    cv_timer_set(l->timer, CV_NEVER); /* dialling bounds itself */
    config.ctx = l->ctx;
    if (err == CV_OK)
        err = cv_gatedial_new(&l->dial, &config, &l->memory, on_dialled, l);
    if (err != CV_OK)
        fail(l, cv_strerror(err));
}

/* ---- time --------------------------------------------------------------- */

static void send_ping(struct cv_gatelink *l, cv_time now)
{
    struct cv_gate_frame ping = {.type = CV_GATE_PING};

    l->pinged = cv_random_u64(l->config.rng);
    ping.u.ping = l->pinged;
    l->pinged_at = now;
    l->heard_by = cv_time_min(l->heard_by, now + CV_GATELINK_PONG);
    l->ask_at = CV_NEVER;
    l->ping_at = now + CV_GATELINK_PING;
    (void)put(l, &ping);
}

static void on_timer(void *user)
{
    struct cv_gatelink *l = user;
    cv_time now = now_of(l);

    switch (l->step) {
    case WAITING:
        begin(l);
        return;
    case DIALLING:
        return;
    case PROVING:
        if (l->dirty) {
            l->dirty = false;
            if (flush(l))
                cv_timer_set(l->timer, now + CV_GATELINK_PROVE);
            return;
        }
        leads_nowhere(l, "the gate does not go on with the handshake");
        return;
    case UP:
        break;
    }
    if (now >= l->heard_by)
        read_all(l); /* it may be us who had no time */
    if (l->step != UP)
        return;
    if (now >= l->heard_by) {
        fail(l, "the gate does not answer any more");
        return;
    }
    if (now >= cv_time_min(l->ping_at, l->ask_at))
        send_ping(l, now);
    l->dirty = false;
    if (flush(l))
        cv_timer_set(l->timer, cv_time_min(cv_time_min(l->ping_at, l->ask_at),
                                           l->heard_by));
}

void cv_gatelink_ask(struct cv_gatelink *l)
{
    if (l->step != UP || l->heard_by != CV_NEVER)
        return;
    l->ask_at = now_of(l);
    cv_timer_set(l->timer, 0);
}

void cv_gatelink_recheck(struct cv_gatelink *l)
{
    l->tries = 0;
    cv_gatelink_ask(l);
    if (l->step == WAITING)
        cv_timer_set(l->timer, 0);
}

/* ---- life --------------------------------------------------------------- */

int cv_gatelink_new(struct cv_gatelink **out,
                    const struct cv_gatelink_config *config,
                    const struct cv_gatelink_events *events, void *user)
{
    struct cv_gatelink *l = calloc(1, sizeof *l);
    int err = CV_ERR_NOMEM;

    if (!l)
        return err;
    l->config = *config;
    l->events = events;
    l->user = user;
    l->stream.fd = -1;
    l->ping_at = l->ask_at = l->heard_by = CV_NEVER;
    cv_gatedial_memory_init(&l->memory);
    l->in = malloc(READ_MAX);
    if (l->in)
        err = cv_timer_new(&l->timer, config->loop, on_timer, l);
    if (err != CV_OK) {
        cv_gatelink_free(l);
        return err;
    }
    l->step = WAITING;
    cv_timer_set(l->timer, 0);
    *out = l;
    return CV_OK;
}

void cv_gatelink_free(struct cv_gatelink *l)
{
    if (!l)
        return;
    if (l->stream.tls && l->step == UP)
        cv_tls_bye(l->stream.tls);
    disconnect(l);
    cv_timer_free(l->timer);
    cv_tls_ctx_free(l->ctx);
    free(l->in);
    cv_wipe(l->config.token, sizeof l->config.token);
    free(l);
}

enum cv_gatelink_state cv_gatelink_state(const struct cv_gatelink *l)
{
    return l->step == UP        ? CV_GATELINK_UP
           : l->step == WAITING ? CV_GATELINK_DOWN
                                : CV_GATELINK_CONNECTING;
}

const char *cv_gatelink_trouble(const struct cv_gatelink *l)
{
    return l->why;
}

struct cv_addr cv_gatelink_remote(const struct cv_gatelink *l)
{
    return l->stream.remote; /* zeros without a stream */
}

unsigned cv_gatelink_way(const struct cv_gatelink *l)
{
    return l->step == UP ? l->stream.way : 0;
}

cv_time cv_gatelink_rtt(const struct cv_gatelink *l)
{
    return l->rtt;
}
