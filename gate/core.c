#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

/* ---- sending ------------------------------------------------------------ */

int cv_gate_client_send(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    uint8_t out[CV_GATE_FRAME_MAX + 2];
    struct cv_writer w;
    int err;

    if (!c->link)
        return CV_ERR_NOTFOUND;
    cv_writer_init(&w, out, sizeof out);
    err = cv_gate_put(&w, f);
    if (err == CV_OK)
        err = c->core->out->send(c->core->user, c->link, out, w.len);
    return err;
}

void cv_gate_client_refuse(struct cv_gate_client *c, enum cv_gate_type of,
                           enum cv_gate_refusal why, const uint8_t *tag)
{
    struct cv_gate_frame f;

    memset(&f, 0, sizeof f);
    f.type = CV_GATE_REFUSED;
    f.u.refused.of = (uint8_t)of;
    f.u.refused.why = (uint8_t)why;
    if (tag)
        memcpy(f.u.refused.tag, tag, CV_GATE_TAG);
    (void)cv_gate_client_send(c, &f);
}

/* ---- budgets and cookies ------------------------------------------------ */

static void refill(struct cv_gate_client *c, cv_time now)
{
    const struct cv_gate_limits *lim = &c->core->config.limits;
    struct cv_gate_budget *b = &c->budget;
    cv_time since = now - b->filled;

    if (since <= 0)
        return;
    if (since > CV_MINUTE)
        since = CV_MINUTE;
    b->bytes += since / CV_MICROSECOND * lim->rate / 1000000;
    if (b->bytes > lim->burst)
        b->bytes = lim->burst;
    b->filled = now - since % CV_MICROSECOND;
}

static void tell_slow(struct cv_gate_client *c)
{
    struct cv_gate_frame slow = {.type = CV_GATE_SLOW};

    if (c->core->now < c->slow_at)
        return;
    c->slow_at = c->core->now + CV_SECOND;
    slow.u.slow = c->core->config.limits.rate;
    (void)cv_gate_client_send(c, &slow);
}

bool cv_gate_client_charge(struct cv_gate_client *c, size_t len)
{
    struct cv_gate_core *core = c->core;

    refill(c, core->now);
    if (c->budget.bytes > 0) {
        c->budget.bytes -= (int64_t)len;
        return true;
    }
    tell_slow(c);
    return false;
}

void cv_gate_client_owe(struct cv_gate_client *c, size_t len)
{
    refill(c, c->core->now);
    c->budget.bytes -= (int64_t)len;
    if (c->budget.bytes < 0)
        tell_slow(c);
}

cv_time cv_gate_link_paused(const struct cv_gate_client *client, cv_time now)
{
    int64_t owed = -client->budget.bytes;

    if (owed < 0)
        return now;
    return now + (owed + 1) * CV_SECOND / client->core->config.limits.rate;
}

void cv_gate_make_cookie(const struct cv_gate_core *core,
                         uint8_t out[CV_GATE_COOKIE],
                         const struct cv_addr *from, struct cv_bytes what)
{
    cv_gate_cookie(out, core->secret, from, what,
                   (uint64_t)(core->now / CV_MINUTE));
}

bool cv_gate_cookie_is_good(const struct cv_gate_core *core,
                            const uint8_t cookie[CV_GATE_COOKIE],
                            const struct cv_addr *from, struct cv_bytes what)
{
    uint64_t minute = (uint64_t)(core->now / CV_MINUTE);
    uint8_t want[CV_GATE_COOKIE];

    for (uint64_t back = 0; back < 2; back++) {
        cv_gate_cookie(want, core->secret, from, what, minute - back);
        if (cv_equal(want, cookie, sizeof want))
            return true;
    }
    return false;
}

/* ---- clients ------------------------------------------------------------ */

static bool has_room(const struct cv_gate_core *core,
                     const struct cv_gate_source *s)
{
    const struct cv_gate_limits *lim = &core->config.limits;

    return !core->draining && core->links < lim->links &&
           core->clients.n < lim->clients && s->links < lim->links_per_source;
}

bool cv_gate_link_allowed(struct cv_gate_core *core, const struct cv_addr *from,
                          cv_time now)
{
    struct cv_gate_source *s;

    core->now = now;
    s = core->draining ? NULL : cv_gate_source(core, from);
    if (s && has_room(core, s) && cv_bucket_take(&s->connects, now))
        return true;
    core->counters.links_refused++;
    return false;
}

static uint8_t wants(const struct cv_gate_core *core)
{
    switch (core->config.policy) {
    case CV_GATE_OPEN_TO_ALL:
        return 0;
    case CV_GATE_KEYS:
    case CV_GATE_HOSTS:
        return CV_GATE_WANTS_IDENTITY;
    case CV_GATE_TOKEN:
        return CV_GATE_WANTS_TOKEN;
    }
    return 0;
}

static void challenge(struct cv_gate_client *c)
{
    struct cv_gate_frame f;

    memset(&f, 0, sizeof f);
    f.type = CV_GATE_CHALLENGE;
    f.u.challenge.version = CV_GATE_VERSION;
    f.u.challenge.wants = wants(c->core);
    memcpy(f.u.challenge.nonce, c->handshake->gate_nonce, 32);
    (void)cv_gate_client_send(c, &f);
}

struct cv_gate_client *cv_gate_link_open(struct cv_gate_core *core, void *link,
                                         const struct cv_addr *from,
                                         const uint8_t exporter[32],
                                         cv_time now)
{
    struct cv_gate_client *c = calloc(1, sizeof *c);
    struct cv_gate_source *s;

    core->now = now;
    s = cv_gate_source(core, from);
    if (!c || !s || !has_room(core, s)) {
        core->counters.links_refused++;
        free(c);
        return NULL;
    }
    c->handshake = calloc(1, sizeof *c->handshake);
    if (!c->handshake) {
        free(c);
        return NULL;
    }
    c->core = core;
    c->link = link;
    c->addr = *from;
    c->source = s;
    cv_gate_source_hold(s);
    s->links++;
    core->links++;
    c->opened = c->heard = c->budget.filled = now;
    c->budget.bytes = core->config.limits.burst;
    c->handshake->gate = core->config.key->pub;
    cv_random(core->config.rng, c->handshake->gate_nonce, 32);
    c->handshake->bound = exporter != NULL;
    if (exporter)
        memcpy(c->handshake->exporter, exporter, 32);
    cv_random(core->config.rng, c->ticket, sizeof c->ticket);
    cv_random(core->config.rng, c->ticket_key, sizeof c->ticket_key);
    cv_table_add(&core->clients, c);
    challenge(c);
    return c;
}

static void forget_handshake(struct cv_gate_client *c)
{
    if (c->handshake)
        cv_wipe(c->handshake, sizeof *c->handshake);
    free(c->handshake);
    c->handshake = NULL;
}

static void client_free(struct cv_gate_client *c)
{
    cv_gate_channels_close_all(c);
    cv_gate_rooms_leave_all(c);
    forget_handshake(c);
    cv_table_remove(&c->core->clients, c);
    cv_gate_source_release(c->source);
    cv_wipe(c, sizeof *c);
    free(c);
}

static void link_gone(struct cv_gate_client *c)
{
    c->link = NULL;
    c->core->links--;
    c->source->links--;
}

void cv_gate_client_end(struct cv_gate_client *c)
{
    void *link = c->link;

    if (link) {
        link_gone(c);
        c->core->out->close(c->core->user, link);
    }
    client_free(c);
}

void cv_gate_link_closed(struct cv_gate_client *c, cv_time now)
{
    c->core->now = now;
    link_gone(c);
    cv_gate_channels_close_all(c);
    /* Who can still be rung by its ticket stays. */
    if (!c->authenticated || !c->bound || !c->rooms || now >= c->ticket_until)
        client_free(c);
}

/* ---- proving ------------------------------------------------------------ */

static bool is_listed(const struct cv_gate_core *core, const struct cv_key *who)
{
    for (size_t i = 0; i < core->config.n_identities; i++)
        if (cv_key_equal(&core->config.identities[i], who))
            return true;
    return false;
}

/* 0, or why not. */
static int check_policy(struct cv_gate_client *c, const struct cv_gate_auth *a)
{
    struct cv_gate_core *core = c->core;
    uint8_t want[32];
    bool listed;

    listed =
        a->has_identity &&
        cv_cert_verify(&a->cert, &a->node, core->unix_now / 1000) == CV_OK &&
        is_listed(core, &a->cert.identity);
    c->may_register = true;
    switch (core->config.policy) {
    case CV_GATE_OPEN_TO_ALL:
        return 0;
    case CV_GATE_KEYS:
        return listed ? 0 : CV_GATE_REFUSAL_POLICY;
    case CV_GATE_HOSTS:
        c->may_register = listed;
        return 0;
    case CV_GATE_TOKEN:
        cv_gate_auth_token(want, core->config.token, c->handshake, a);
        return a->has_token && cv_equal(want, a->token, sizeof want)
                   ? 0
                   : CV_GATE_REFUSAL_POLICY;
    }
    return CV_GATE_REFUSAL_POLICY;
}

static int welcome(struct cv_gate_client *c, const struct cv_gate_auth *a)
{
    struct cv_gate_core *core = c->core;
    const struct cv_gate_limits *lim = &core->config.limits;
    struct cv_gate_frame f;
    int err;

    memset(&f, 0, sizeof f);
    f.type = CV_GATE_WELCOME;
    f.u.welcome.seen = c->addr;
    f.u.welcome.udp_port = core->config.udp_port;
    f.u.welcome.rate = lim->rate;
    f.u.welcome.burst = lim->burst;
    f.u.welcome.rooms = (uint16_t)lim->rooms_per_client;
    f.u.welcome.channels = (uint16_t)lim->channels_per_room;
    f.u.welcome.time = core->unix_now;
    memcpy(f.u.welcome.ticket, c->ticket, sizeof c->ticket);
    memcpy(f.u.welcome.ticket_key, c->ticket_key, sizeof c->ticket_key);
    f.u.welcome.ticket_s = CV_GATE_TICKET_TIME / CV_SECOND;
    strcpy(f.u.welcome.version, "covim-gate " COVIM_VERSION);
    err = cv_gate_welcome_sign(&f.u.welcome, c->handshake, a, core->config.key);
    if (err == CV_OK)
        err = cv_gate_client_send(c, &f);
    cv_wipe(&f, sizeof f);
    return err;
}

/* False: the client is gone. */
static bool authenticate(struct cv_gate_client *c, const struct cv_gate_auth *a)
{
    struct cv_gate_core *core = c->core;
    int why = 0;

    if ((!c->handshake->bound && !core->config.behind_proxy) ||
        cv_gate_auth_verify(a, c->handshake) != CV_OK) {
        core->counters.auth_failed++;
        why = CV_GATE_REFUSAL_AUTH;
    } else {
        why = check_policy(c, a);
        core->counters.policy_refused += why != 0;
    }
    if (why != 0 || welcome(c, a) != CV_OK) {
        if (why != 0)
            cv_gate_client_refuse(c, CV_GATE_AUTH, (enum cv_gate_refusal)why,
                                  NULL);
        cv_gate_client_end(c);
        return false;
    }
    c->key = a->node;
    c->authenticated = true;
    c->ticket_until = core->now + CV_GATE_TICKET_TIME;
    forget_handshake(c);
    core->counters.links_accepted++;
    return true;
}

/* ---- what is asked over a link ------------------------------------------ */

static void on_register(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    struct cv_gate_frame done = {.type = CV_GATE_REGISTERED};
    struct cv_gate_room *room;
    int why = cv_gate_room_register(c, f->u.room_key, done.u.room);

    if (why != 0) {
        cv_gate_client_refuse(c, CV_GATE_REGISTER, (enum cv_gate_refusal)why,
                              done.u.room);
        return;
    }
    (void)cv_gate_client_send(c, &done);
    room = cv_gate_room_find(c->core, done.u.room);
    if (room)
        cv_gate_room_hand_over(c->core, room);
}

static void on_ring(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    struct cv_gate_frame done = {.type = CV_GATE_RANG};
    enum cv_gate_rang result = CV_GATE_RANG_FULL;
    int why;

    why = cv_gate_room_ring(c, c->source, f, &result);
    if (why != 0) {
        cv_gate_client_refuse(c, CV_GATE_RING, (enum cv_gate_refusal)why,
                              f->u.ring.tag);
        return;
    }
    memcpy(done.u.rang.tag, f->u.ring.tag, CV_GATE_TAG);
    done.u.rang.result = (uint8_t)result;
    (void)cv_gate_client_send(c, &done);
}

static void refuse_if(struct cv_gate_client *c, const struct cv_gate_frame *f,
                      int why, const uint8_t *tag)
{
    if (why != 0)
        cv_gate_client_refuse(c, f->type, (enum cv_gate_refusal)why, tag);
}

static void on_frame(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    struct cv_gate_frame pong = {.type = CV_GATE_PONG, .u.ping = f->u.ping};

    switch ((int)f->type) {
    case CV_GATE_REGISTER:
        on_register(c, f);
        return;
    case CV_GATE_UNREGISTER:
        cv_gate_room_leave(c, f->u.room);
        return;
    case CV_GATE_RING:
        on_ring(c, f);
        return;
    case CV_GATE_OPEN:
        refuse_if(c, f, cv_gate_channel_open(c, f), f->u.open.tag);
        return;
    case CV_GATE_CLOSE:
        cv_gate_channel_close(c, f->u.channel);
        return;
    case CV_GATE_DATA:
        cv_gate_channel_data(c, f->u.data.channel, f->u.data.packet);
        return;
    case CV_GATE_UNBIND:
        cv_gate_channel_unbind(c, f->u.channel);
        return;
    case CV_GATE_VOUCH:
        cv_gate_channel_vouch(c, f->u.channel);
        return;
    case CV_GATE_STORE:
        refuse_if(c, f, cv_gate_shelf_store(c, f), NULL);
        return;
    case CV_GATE_FETCH:
        refuse_if(c, f, cv_gate_shelf_fetch(c, f->u.loc), NULL);
        return;
    case CV_GATE_PING:
        (void)cv_gate_client_send(c, &pong);
        return;
    case CV_GATE_PONG:
        return;
    default:
        c->core->counters.bad_frames++;
        return; /* only a gate says these */
    }
}

ptrdiff_t cv_gate_link_input(struct cv_gate_client *c, const uint8_t *data,
                             size_t len, cv_time now)
{
    struct cv_gate_core *core = c->core;
    struct cv_gate_frame f;
    size_t at = 0, used;
    int err;

    core->now = now;
    c->heard = now;
    while (at < len) {
        err = cv_gate_get(&f, data + at, len - at, &used);
        if (err == CV_ERR_AGAIN)
            break;
        if (err != CV_OK)
            core->counters.bad_frames++;
        if ((err != CV_OK && used == 0) ||
            (!c->authenticated && (err != CV_OK || f.type != CV_GATE_AUTH))) {
            cv_gate_client_refuse(c, CV_GATE_AUTH, CV_GATE_REFUSAL_FORMAT,
                                  NULL);
            cv_gate_client_end(c);
            return -1;
        }
        at += used;
        if (err != CV_OK)
            continue;
        if (c->authenticated && f.type != CV_GATE_DATA)
            cv_gate_client_owe(c, used + CV_GATE_FRAME_COST);
        if (c->authenticated)
            on_frame(c, &f);
        else if (!authenticate(c, &f.u.auth))
            return -1;
    }
    return (ptrdiff_t)at;
}

/* ---- UDP ---------------------------------------------------------------- */

size_t cv_gate_udp_input(struct cv_gate_core *core, const struct cv_addr *from,
                         uint8_t *data, size_t len, size_t segment, cv_time now,
                         const struct cv_addr **to)
{
    size_t one = segment < len ? segment : len;

    core->now = now;
    *to = NULL;
    if (one == 0)
        return len;
    switch (data[0]) {
    case CV_GATE_UDP_DATA:
        return cv_gate_channel_forward(core, from, data, len, one, to);
    case CV_GATE_UDP_BIND:
        cv_gate_channel_bind(core, from, data, one);
        return one;
    case CV_GATE_UDP_ASK:
        cv_gate_ask(core, from, data, one);
        return one;
    default:
        core->counters.bad_frames++;
        return one;
    }
}

/* ---- life --------------------------------------------------------------- */

static void sweep_clients(struct cv_gate_core *core)
{
    struct cv_gate_client *c = cv_table_next(&core->clients, NULL), *next;

    for (; c; c = next) {
        bool late, idle, over;

        next = cv_table_next(&core->clients, c);
        late = c->link && !c->authenticated &&
               core->now - c->opened >= CV_GATE_AUTH_TIME;
        idle = c->link && c->authenticated &&
               core->now - c->heard >= CV_GATE_IDLE_TIME;
        over = !c->link && core->now >= c->ticket_until;
        if (c->link && c->authenticated)
            c->ticket_until = core->now + CV_GATE_TICKET_TIME;
        if (late || idle || over)
            cv_gate_client_end(c);
    }
}

void cv_gate_core_step(struct cv_gate_core *core, cv_time now,
                       cv_unix_ms unix_now)
{
    core->now = now;
    core->unix_now = unix_now;
    sweep_clients(core);
    cv_gate_channels_sweep(core);
    cv_gate_rooms_sweep(core);
    cv_gate_shelf_sweep(core);
    cv_gate_sources_sweep(core);
}

void cv_gate_core_drain(struct cv_gate_core *core, uint32_t within_ms)
{
    struct cv_gate_frame bye = {.type = CV_GATE_BYE, .u.bye = within_ms};

    core->draining = true;
    for (struct cv_gate_client *c = cv_table_next(&core->clients, NULL); c;
         c = cv_table_next(&core->clients, c))
        (void)cv_gate_client_send(c, &bye);
}

void cv_gate_core_configure(struct cv_gate_core *core,
                            const struct cv_gate_core_config *config)
{
    core->config = *config;
}

int cv_gate_core_new(struct cv_gate_core **out,
                     const struct cv_gate_core_config *config,
                     const struct cv_gate_out *calls, void *user, cv_time now)
{
    struct cv_gate_core *core = calloc(1, sizeof *core);
    const struct cv_rng *rng = config->rng;

    if (!core)
        return CV_ERR_NOMEM;
    core->config = *config;
    core->out = calls;
    core->user = user;
    core->now = now;
    cv_random(rng, core->secret, sizeof core->secret);
    cv_table_init(&core->clients, offsetof(struct cv_gate_client, node),
                  offsetof(struct cv_gate_client, ticket), CV_GATE_TICKET_ID,
                  rng);
    cv_table_init(&core->rooms, offsetof(struct cv_gate_room, node),
                  offsetof(struct cv_gate_room, name), CV_GATE_ROOM, rng);
    cv_table_init(&core->ends, offsetof(struct cv_gate_end, node),
                  offsetof(struct cv_gate_end, id), sizeof(uint32_t), rng);
    cv_table_init(&core->shelf, offsetof(struct cv_gate_pointer, node),
                  offsetof(struct cv_gate_pointer, loc), 20, rng);
    cv_table_init(&core->sources, offsetof(struct cv_gate_source, node),
                  offsetof(struct cv_gate_source, key), 9, rng);
    *out = core;
    return CV_OK;
}

void cv_gate_core_free(struct cv_gate_core *core)
{
    struct cv_gate_client *c;
    struct cv_gate_source *s;

    if (!core)
        return;
    while ((c = cv_table_next(&core->clients, NULL)) != NULL)
        cv_gate_client_end(c);
    cv_gate_rooms_free(core);
    cv_gate_shelf_free(core);
    while ((s = cv_table_next(&core->sources, NULL)) != NULL) {
        cv_table_remove(&core->sources, s);
        free(s);
    }
    cv_table_fini(&core->clients);
    cv_table_fini(&core->rooms);
    cv_table_fini(&core->ends);
    cv_table_fini(&core->shelf);
    cv_table_fini(&core->sources);
    cv_wipe(core, sizeof *core);
    free(core);
}

size_t cv_gate_core_links(const struct cv_gate_core *core)
{
    return core->links;
}

const struct cv_gate_counters *
cv_gate_core_counters(const struct cv_gate_core *core)
{
    return &core->counters;
}

struct cv_gate_gauges cv_gate_core_gauges(const struct cv_gate_core *core)
{
    return (struct cv_gate_gauges){
        .clients = core->clients.n,
        .links = core->links,
        .rooms = core->rooms.n,
        .channels = core->ends.n / 2,
        .mails = core->mails,
        .pointers = core->shelf.n,
        .sources = core->sources.n,
        .mail_bytes = core->mail_bytes,
        .pointer_bytes = core->pointer_bytes,
    };
}
