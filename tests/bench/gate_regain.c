#include "tests/bench/gate_regain.h"
#include "base/crypto.h"
#include "transport/gatelink.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct one {
    struct gr_crowd *crowd;
    struct cv_keypair node;
    struct cv_gatelink *link;
    bool in; /* its room is registered */
};

struct gr_crowd {
    struct cv_loop *loop;
    unsigned n, in;
    struct one one[];
};

static void set_in(struct one *o, bool in)
{
    o->crowd->in += in;
    o->crowd->in -= o->in;
    o->in = in;
}

static void on_up(void *user, const struct cv_gate_welcome *welcome)
{
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};
    struct one *o = user;

    (void)welcome;
    gc_random(f.u.room_key, sizeof f.u.room_key);
    GC_NEED(cv_gatelink_send(o->link, &f) == CV_OK);
}

static void on_frame(void *user, const struct cv_gate_frame *f)
{
    struct one *o = user;

    GC_NEED(f->type != CV_GATE_REFUSED);
    if (f->type == CV_GATE_REGISTERED)
        set_in(o, true);
}

static void on_down(void *user, const char *why)
{
    (void)why;
    set_in(user, false);
}

static void on_writable(void *user)
{
    (void)user;
}

static const struct cv_gatelink_events events = {on_up, on_frame, on_down,
                                                 on_writable};

static void enter(struct gr_crowd *crowd, struct one *o,
                  const struct gc_gate *gate)
{
    struct cv_gatelink_config config = {
        .loop = crowd->loop, .rng = &cv_rng_system, .node = &o->node};

    o->crowd = crowd;
    GC_NEED(cv_keypair_generate(&o->node, &cv_rng_system) == CV_OK);
    config.name.key = gate->key;
    snprintf(config.name.host, sizeof config.name.host, "127.0.0.1");
    config.name.port = gate->tcp.port;
    GC_NEED(cv_gatelink_new(&o->link, &config, &events, o) == CV_OK);
}

static cv_time in_seconds(const struct gr_crowd *crowd, double seconds)
{
    return cv_loop_now(crowd->loop) + (cv_time)(seconds * 1e9);
}

/* They come 64 at a time, as they would in a life; `most_s` is for each of
 * these. */
struct gr_crowd *gr_new(const struct gc_gate *gate, unsigned n, double most_s)
{
    struct gr_crowd *crowd = calloc(1, sizeof *crowd + n * sizeof(struct one));

    GC_NEED(crowd != NULL && cv_loop_new(&crowd->loop) == CV_OK);
    while (crowd->n < n) {
        cv_time until = in_seconds(crowd, most_s);

        for (unsigned i = 0; i < 64 && crowd->n < n; i++)
            enter(crowd, &crowd->one[crowd->n++], gate);
        while (crowd->in < crowd->n && cv_loop_now(crowd->loop) < until)
            cv_loop_once(crowd->loop, until);
        GC_NEED(crowd->in == crowd->n);
    }
    return crowd;
}

void gr_free(struct gr_crowd *crowd)
{
    for (unsigned i = 0; i < crowd->n; i++)
        cv_gatelink_free(crowd->one[i].link);
    cv_loop_free(crowd->loop);
    free(crowd);
}

void gr_run(struct gr_crowd *crowd, double seconds)
{
    cv_time until = in_seconds(crowd, seconds);

    while (cv_loop_now(crowd->loop) < until)
        cv_loop_once(crowd->loop, until);
}

struct gr_times gr_regain(struct gr_crowd *crowd, double most_s)
{
    cv_time from = cv_loop_now(crowd->loop), until = in_seconds(crowd, most_s);
    struct gr_times t = {INFINITY, INFINITY, 0};

    while (crowd->in < crowd->n && cv_loop_now(crowd->loop) < until) {
        cv_loop_once(crowd->loop, until);
        if (crowd->in >= crowd->n / 2 && isinf(t.half))
            t.half = (double)(cv_loop_now(crowd->loop) - from) / 1e9;
    }
    if (crowd->in == crowd->n)
        t.all = (double)(cv_loop_now(crowd->loop) - from) / 1e9;
    t.in = crowd->in;
    return t;
}

unsigned gr_in(const struct gr_crowd *crowd)
{
    return crowd->in;
}
