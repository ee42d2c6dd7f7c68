/* States: WARMING until our own node is ready (--warm); DIALLING until a first
 * byte came back; then BULK, REPEATING or STAYING as the options say; DONE. */
#include <stdio.h>

#include "cli/echo_struct.h"
#include "transport/pathset.h"

#define PROBE       32 /* bytes of one echo */
#define CHUNK       16384
#define WARM_EVERY  (20 * CV_MILLISECOND)
#define WARM_SETTLE (300 * CV_MILLISECOND) /* the DHT learns its neighbours */
#define WARM_MAX    (20 * CV_SECOND)
#define TIMEOUT_S   60
#define NOT_YET     (-1)

enum dial_state { WARMING, DIALLING, BULK, REPEATING, STAYING, DONE };

struct dial {
    struct cv_echo e;
    struct cv_key key;
    enum dial_state state;
    cv_time ready_at; /* warming: ready since, or CV_NEVER */
    cv_time give_up;
    cv_time until;               /* --for */
    cv_time next;                /* echo, or progress */
    struct cv_neighbour *server; /* NULL: not connected */
    struct cv_stream *stream;
    bool lost; /* the stream ended before it was done */
    const char *refused;
    bool carried; /* by a gate, and the attempt found no direct path */
    bool failed;  /* an attempt */
    char failure[CV_MEETING_FAILURE];
    uint64_t out, in; /* bytes of the stream, and those that came back */
    uint64_t want;    /* bulk: `in` at the end */
    uint64_t told;    /* bulk: `in` of the last progress */
    cv_time bulk_from, bulk_to;
    bool garbled;
    cv_time sent_at; /* of the echo that is out; 0: none */
    unsigned echoes;
    /* of the result, since the dial; NOT_YET */
    cv_time answer, failure_at, path, first;
    unsigned packets;
    enum cv_path_kind kind;
};

/* The byte at an offset of what we send: nothing that repeats soon. */
static uint8_t byte_at(uint64_t offset)
{
    uint64_t x = (offset / 8 + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x ^= x >> 29;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    return (uint8_t)(x >> (offset % 8 * 8));
}

static int send_bytes(struct dial *d, size_t len)
{
    uint8_t data[CHUNK];
    int err;

    for (size_t i = 0; i < len; i++)
        data[i] = byte_at(d->out + i);
    err = cv_stream_send(d->stream, CV_BYTES(data, len));
    if (err == CV_OK)
        d->out += len;
    return err;
}

static void wake(struct dial *d)
{
    cv_timer_set(d->e.timer, cv_loop_now(d->e.loop));
}

/* --- the stream --- */

static void bulk_more(struct dial *d)
{
    while (d->stream != NULL && d->out < d->want) {
        uint64_t left = d->want - d->out;

        if (send_bytes(d, left < CHUNK ? (size_t)left : CHUNK) != CV_OK)
            return; /* `writable` calls us again */
    }
}

static void say_echo(struct dial *d, cv_time now)
{
    struct cv_echo_line l;

    cv_echo_begin(&l, &d->e, now, "echo");
    cv_json_put_uint(&l.json, "n", ++d->echoes);
    cv_json_put_ms(&l.json, "rtt_ms", now - d->sent_at);
    cv_echo_end(&l);
    d->sent_at = 0;
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct dial *d = user;
    cv_time now = cv_loop_now(d->e.loop);

    (void)s;
    (void)fin;
    for (size_t i = 0; i < data.len; i++)
        d->garbled |= data.data[i] != byte_at(d->in + i);
    d->in += data.len;
    if (d->state == BULK) {
        d->bulk_to = now;
        if (d->in < d->want)
            return;
    } else if (d->sent_at != 0 && d->in == d->out) {
        if (d->first == NOT_YET)
            d->first = now - d->e.zero;
        say_echo(d, now);
    }
    wake(d);
}

static void on_writable(void *user, struct cv_stream *s)
{
    struct dial *d = user;

    (void)s;
    if (d->state == BULK)
        bulk_more(d);
}

static void on_stream_closed(void *user, struct cv_stream *s, int err)
{
    struct dial *d = user;

    (void)s;
    (void)err;
    d->stream = NULL;
    d->lost = true;
    wake(d);
}

static const struct cv_stream_events stream_events = {
    .data = on_data,
    .writable = on_writable,
    .closed = on_stream_closed,
};

static void open_stream(struct dial *d, struct cv_neighbour *n)
{
    if (n->peer == NULL || cv_peer_open(n->peer, &d->stream) != CV_OK)
        return;
    cv_stream_set_events(d->stream, &stream_events, d);
    d->out = d->in = 0;
    d->sent_at = 0;
    d->lost = false;
    cv_echo_say(&d->e, "stream");
}

static void send_echo(struct dial *d, cv_time now)
{
    if (d->sent_at != 0)
        return; /* the one before is still out */
    if (send_bytes(d, PROBE) == CV_OK)
        d->sent_at = now;
}

/* --- what the meeting tells --- */

static bool is_direct(enum cv_path_kind kind)
{
    return kind >= CV_PATH_LAN && kind <= CV_PATH_TCP;
}

static void on_mark(void *user, const struct cv_mark *m)
{
    struct dial *d = user;
    cv_time at = m->at - d->e.zero;

    cv_echo_mark(&d->e, m);
    switch (m->kind) {
    case CV_MARK_ANSWER:
        if (d->answer == NOT_YET)
            d->answer = at;
        break;
    case CV_MARK_PATH:
        if (d->path == NOT_YET)
            d->path = at;
        break;
    case CV_MARK_CONFIRMED:
        d->packets += m->n;
        d->kind = m->path;
        break;
    case CV_MARK_SWITCHED:
        d->kind = m->path;
        if (d->path == NOT_YET && is_direct(m->path))
            d->path = at; /* the other side has proved it */
        wake(d);
        break;
    case CV_MARK_CARRIED:
        d->carried = true;
        wake(d);
        break;
    case CV_MARK_FAILED:
        if (d->failure_at == NOT_YET)
            d->failure_at = at;
        d->failed = true;
        snprintf(d->failure, sizeof d->failure, "%s", m->text);
        wake(d);
        break;
    case CV_MARK_GATHERED:
    case CV_MARK_POINTER:
    case CV_MARK_KNOCK:
    case CV_MARK_KNOCKED:
    case CV_MARK_CHECK:
    case CV_MARK_HEARD:
    case CV_MARK_HANDSHAKE:
    case CV_MARK_MEMBER:
        break;
    }
}

static void on_opening(void *user, struct cv_neighbour *n)
{
    struct dial *d = user;

    if (d->stream == NULL)
        open_stream(d, n);
    if (d->stream != NULL)
        send_echo(d, cv_loop_now(d->e.loop));
}

static void on_member(void *user, struct cv_neighbour *n)
{
    struct dial *d = user;

    d->server = n;
    wake(d);
}

static void on_lost(void *user, struct cv_neighbour *n, bool left)
{
    struct dial *d = user;

    if (n != d->server)
        return;
    d->server = NULL;
    if (d->e.leaving)
        return; /* that was us */
    cv_echo_closed(&d->e, n, left);
    wake(d);
}

static void on_refused(void *user, const char *text)
{
    struct dial *d = user;

    snprintf(d->failure, sizeof d->failure, "%s", text);
    d->refused = d->failure;
    wake(d);
}

static const struct cv_meeting_events events = {
    .opening = on_opening,
    .member = on_member,
    .lost = on_lost,
    .refused = on_refused,
    .mark = on_mark,
    .token = cv_echo_token,
    .done = cv_echo_done,
};

/* --- the way through the states --- */

static void put_since(struct cv_echo_line *l, const char *key, cv_time at)
{
    if (at != NOT_YET)
        cv_json_put_ms(&l->json, key, at);
}

static void finish(struct dial *d, int err, const char *why)
{
    struct cv_echo_line l;
    cv_time took = d->bulk_to - d->bulk_from;

    d->state = DONE;
    cv_echo_begin(&l, &d->e, cv_loop_now(d->e.loop), "result");
    cv_json_put_bool(&l.json, "ok", err == CV_OK);
    if (*why != '\0')
        cv_json_put_text(&l.json, "why", why);
    if (d->first != NOT_YET)
        cv_json_put_text(&l.json, "path", cv_path_kind_name(d->kind));
    put_since(&l, "answer_ms", d->answer);
    put_since(&l, "direct_ms", d->path);
    put_since(&l, "echo_ms", d->first);
    put_since(&l, "failed_ms", d->failure_at);
    cv_json_put_uint(&l.json, "packets", d->packets);
    cv_json_put_uint(&l.json, "echoes", d->echoes);
    if (d->want > 0) {
        cv_json_put_uint(&l.json, "bytes", d->in);
        if (took > 0)
            cv_json_put_uint(
                &l.json, "bytes_s",
                (uint64_t)((double)(d->in - PROBE) * CV_SECOND / (double)took));
    }
    cv_echo_end(&l);
    cv_echo_leave(&d->e, err);
}

static void begin_dialling(struct dial *d, cv_time now)
{
    const struct cv_grants none = {0};
    unsigned timeout_s = d->e.options->timeout_s;
    struct cv_echo_line l;
    int err = CV_OK;

    d->state = DIALLING;
    d->e.zero = now;
    d->give_up = now + (timeout_s > 0 ? timeout_s : TIMEOUT_S) * CV_SECOND;
    cv_echo_begin(&l, &d->e, now, "dial");
    cv_echo_put_clock(&l, &d->e);
    cv_echo_end(&l);
    if (d->e.meeting == NULL)
        err = cv_echo_meet(&d->e, &d->key, &none);
    else
        cv_meeting_go(d->e.meeting);
    if (err != CV_OK)
        finish(d, err, cv_strerror(err));
}

/* A token needs no DHT; whoever names a gate wants to be there. */
static bool is_ready(const struct dial *d)
{
    const struct cv_options *o = d->e.options;
    struct cv_facts f;

    if (d->e.token != NULL)
        return cv_node_is_settled(d->e.node);
    if (!cv_node_is_ready(d->e.node) ||
        (o->gates.n > 0 && !cv_node_has_gate(d->e.node)))
        return false;
    if (d->e.meeting == NULL)
        return true;
    cv_meeting_facts(d->e.meeting, &f);
    return f.admitting > 0;
}

/* --found: look, and go nowhere yet. */
static int begin_warming(struct dial *d)
{
    const struct cv_grants none = {0};

    cv_timer_set(d->e.timer, d->e.zero + WARM_EVERY);
    if (!d->e.options->found || d->e.token != NULL)
        return CV_OK;
    d->e.hold = true;
    return cv_echo_meet(&d->e, &d->key, &none);
}

static void step_warming(struct dial *d, cv_time now)
{
    if (!is_ready(d))
        d->ready_at = CV_NEVER;
    else if (d->ready_at == CV_NEVER)
        d->ready_at = now;
    if (now < d->give_up &&
        (d->ready_at == CV_NEVER || now - d->ready_at < WARM_SETTLE))
        return;
    cv_echo_say(&d->e, d->ready_at == CV_NEVER ? "not ready" : "ready");
    begin_dialling(d, now);
}

/* --direct: has it come, or is it not coming? */
static bool is_waited_for(const struct dial *d)
{
    return d->carried || (d->path != NOT_YET && is_direct(d->kind));
}

static void step_dialling(struct dial *d, cv_time now)
{
    const struct cv_options *o = d->e.options;

    if (d->first == NOT_YET) {
        if (d->refused != NULL)
            finish(d, CV_ERR_DENIED, d->refused);
        else if (d->failed && o->once)
            finish(d, CV_ERR_NOPATH, d->failure);
        else if (now >= d->give_up)
            finish(d, d->failed ? CV_ERR_NOPATH : CV_ERR_TIMEOUT,
                   d->failed ? d->failure : "nobody was reached in time");
        return;
    }
    d->give_up = CV_NEVER;
    if (o->for_s > 0)
        d->until = now + o->for_s * CV_SECOND;
    if (o->bytes > 0) {
        d->state = BULK;
        d->want = d->in + o->bytes;
        d->bulk_from = d->bulk_to = now;
        d->told = d->in;
        d->next = now + o->interval_ms * CV_MILLISECOND;
        bulk_more(d);
    } else if (o->interval_ms > 0) {
        d->state = REPEATING;
        d->next = now + o->interval_ms * CV_MILLISECOND;
    } else if (o->for_s > 0) {
        d->state = STAYING;
    } else if (o->direct_s > 0 && !is_waited_for(d)) {
        d->state = STAYING;
        d->until = now + o->direct_s * CV_SECOND;
    } else {
        finish(d, CV_OK, "");
    }
}

/* --interval beside --bytes: how far it is, and how much came since the last
 * such line. */
static void say_progress(struct dial *d, cv_time now)
{
    struct cv_echo_line l;

    cv_echo_begin(&l, &d->e, now, "progress");
    cv_json_put_uint(&l.json, "bytes", d->in);
    cv_json_put_uint(&l.json, "new", d->in - d->told);
    cv_echo_end(&l);
    d->told = d->in;
    d->next = now + d->e.options->interval_ms * CV_MILLISECOND;
}

static void step_bulk(struct dial *d, cv_time now)
{
    if (d->e.options->interval_ms > 0 && now >= d->next)
        say_progress(d, now);
    if (d->garbled)
        finish(d, CV_ERR_PEER, "other bytes came back than were sent");
    else if (d->in >= d->want)
        finish(d, CV_OK, "");
    else if (d->lost)
        finish(d, CV_ERR_CLOSED, "the connection ended before all came back");
    else if (now >= d->until)
        finish(d, CV_ERR_TIMEOUT, "not all came back in time");
}

static void step_repeating(struct dial *d, cv_time now)
{
    if (d->garbled) {
        finish(d, CV_ERR_PEER, "other bytes came back than were sent");
    } else if (now >= d->until) {
        finish(d, CV_OK, "");
    } else if (now >= d->next) {
        d->next = now + d->e.options->interval_ms * CV_MILLISECOND;
        if (d->stream != NULL)
            send_echo(d, now);
    }
}

static void step(struct dial *d, cv_time now)
{
    switch (d->state) {
    case WARMING:
        step_warming(d, now);
        return;
    case DIALLING:
        step_dialling(d, now);
        return;
    case BULK:
        step_bulk(d, now);
        return;
    case REPEATING:
        step_repeating(d, now);
        return;
    case STAYING:
        if (now >= d->until || (d->e.options->direct_s > 0 && is_waited_for(d)))
            finish(d, CV_OK, "");
        return;
    case DONE:
        return;
    }
}

static void on_due(struct cv_echo *e, cv_time now)
{
    struct dial *d = (struct dial *)e;
    cv_time next = cv_time_min(d->give_up, d->until);

    if (d->server != NULL && d->stream == NULL && d->state != BULK) {
        open_stream(d, d->server);
        if (d->stream != NULL)
            send_echo(d, now);
    }
    step(d, now);
    if (e->leaving)
        return;
    next = cv_time_min(d->give_up, d->until);
    if (d->state == WARMING)
        next = cv_time_min(next, now + WARM_EVERY);
    if (d->state == REPEATING ||
        (d->state == BULK && e->options->interval_ms > 0))
        next = cv_time_min(next, d->next);
    cv_timer_set(e->timer, next);
}

int cv_echo_dial(const struct cv_options *options, struct cv_log *log,
                 const char *key)
{
    struct dial d = {
        .e = {.options = options, .log = log, .events = &events, .due = on_due},
        .state = WARMING,
        .ready_at = CV_NEVER,
        .until = CV_NEVER,
        .answer = NOT_YET,
        .failure_at = NOT_YET,
        .path = NOT_YET,
        .first = NOT_YET,
    };
    struct cv_token token;
    struct cv_keytext parsed;
    char why[512] = "";
    bool by_token = cv_token_is(CV_TOKEN_HOST, key);
    int err = by_token
                  ? cv_token_parse(&token, CV_TOKEN_HOST, key, why, sizeof why)
                  : cv_keytext_parse(&parsed, CV_KEYTEXT_SESSION, key, why,
                                     sizeof why);

    if (err != CV_OK) {
        fprintf(stderr, "covim: %s\n", why);
        return CV_EXIT_USAGE;
    }
    d.key = by_token ? token.session : parsed.key;
    d.e.token = by_token ? &token : NULL;
    d.e.err = cv_echo_open(&d.e);
    if (d.e.err == CV_OK) {
        d.give_up = d.e.zero + WARM_MAX;
        if (options->warm)
            d.e.err = begin_warming(&d);
        else
            begin_dialling(&d, d.e.zero);
    }
    if (d.e.err == CV_OK && d.state == DIALLING)
        cv_timer_set(d.e.timer, d.give_up);
    return cv_echo_run(&d.e);
}
