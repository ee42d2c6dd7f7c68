#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

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

/* ---- budgets ---- */

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

/* ---- their life ---- */

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

void cv_gate_client_forget_handshake(struct cv_gate_client *c)
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
    cv_gate_client_forget_handshake(c);
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

void cv_gate_clients_sweep(struct cv_gate_core *core)
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
