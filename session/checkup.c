#include "session/checkup.h"

#include <stdlib.h>
#include <string.h>

#include "session/meeting.h"

#define ROUNDTRIP_VALUE 32
#define ROUNDTRIP_FIRST (100 * CV_MILLISECOND)
#define ROUNDTRIP_AGAIN (500 * CV_MILLISECOND) /* a get that found nothing */

void cv_node_report(const struct cv_node *node, struct cv_node_report *out)
{
    memset(out, 0, sizeof *out);
    out->network = node->net != NULL;
    out->dht = cv_node_dht_state(node);
    if (node->net == NULL)
        return;
    cv_net_report(node->net, &out->net);
    out->n_gates = cv_net_gates(node->net, out->gate, CV_GATES_MAX);
}

/* --- a round trip --- */

struct cv_roundtrip {
    struct cv_node *node;
    void (*done)(void *user, cv_time took);
    void *user;
    struct cv_timer *timer;
    struct cv_loc loc;
    uint8_t value[ROUNDTRIP_VALUE];
    cv_time started;
    cv_dht_token put, get;
    bool found;
};

static void on_value(void *user, struct cv_bytes value)
{
    struct cv_roundtrip *r = user;

    if (value.len != sizeof r->value ||
        memcmp(value.data, r->value, sizeof r->value) != 0 || r->found)
        return;
    r->found = true;
    cv_timer_set(r->timer, cv_loop_now(r->node->loop));
}

static void on_got(void *user, bool ok)
{
    struct cv_roundtrip *r = user;

    (void)ok;
    r->get = 0;
    if (!r->found)
        cv_timer_set(r->timer, cv_loop_now(r->node->loop) + ROUNDTRIP_AGAIN);
}

static void on_roundtrip(void *user)
{
    struct cv_roundtrip *r = user;
    struct cv_dht *dht = r->node->dht;

    if (r->found) {
        r->done(r->user, cv_loop_now(r->node->loop) - r->started);
        return;
    }
    dht->ops->cancel(dht, r->get);
    r->get = dht->ops->get(dht, &r->loc, on_value, on_got, r);
    if (r->get == 0)
        cv_timer_set(r->timer, cv_loop_now(r->node->loop) + ROUNDTRIP_AGAIN);
}

int cv_roundtrip_new(struct cv_roundtrip **out, struct cv_node *node,
                     void (*done)(void *user, cv_time took), void *user)
{
    struct cv_roundtrip *r = calloc(1, sizeof *r);
    int err;

    if (r == NULL)
        return CV_ERR_NOMEM;
    r->node = node;
    r->done = done;
    r->user = user;
    r->started = cv_loop_now(node->loop);
    cv_random(node->rng, r->loc.b, sizeof r->loc.b);
    cv_random(node->rng, r->value, sizeof r->value);
    err = cv_timer_new(&r->timer, node->loop, on_roundtrip, r);
    if (err != CV_OK) {
        free(r);
        return err;
    }
    r->put = node->dht->ops->put(
        node->dht, &r->loc, CV_BYTES(r->value, sizeof r->value), NULL, NULL);
    cv_timer_set(r->timer, r->started + ROUNDTRIP_FIRST);
    *out = r;
    return CV_OK;
}

void cv_roundtrip_free(struct cv_roundtrip *r)
{
    if (r == NULL)
        return;
    r->node->dht->ops->cancel(r->node->dht, r->get);
    r->node->dht->ops->cancel(r->node->dht, r->put);
    cv_timer_free(r->timer);
    free(r);
}

/* --- a trial of a key --- */

struct cv_trial {
    struct cv_meeting *meeting;
    void (*mark)(void *user, const struct cv_mark *mark);
    void *user;
};

static void on_mark(void *user, const struct cv_mark *mark)
{
    struct cv_trial *t = user;

    t->mark(t->user, mark);
}

static void on_done(void *user)
{
    struct cv_trial *t = user;

    cv_meeting_free(t->meeting); /* the node ends */
    t->meeting = NULL;
}

static const struct cv_meeting_events trial_events = {
    .mark = on_mark,
    .done = on_done,
};

int cv_trial_new(struct cv_trial **out, struct cv_node *node,
                 const struct cv_key *session,
                 void (*mark)(void *user, const struct cv_mark *mark),
                 void *user)
{
    struct cv_meeting_config config = {
        .node = node,
        .session = *session,
        .trial = true,
        .star = true,
    };
    struct cv_trial *t;
    int err;

    if (cv_node_meets(node, session))
        return CV_ERR_BUSY;
    t = calloc(1, sizeof *t);
    if (t == NULL)
        return CV_ERR_NOMEM;
    t->mark = mark;
    t->user = user;
    err = cv_meeting_new(&t->meeting, &config, &trial_events, t);
    if (err != CV_OK) {
        free(t);
        return err;
    }
    *out = t;
    return CV_OK;
}

void cv_trial_free(struct cv_trial *t)
{
    if (t == NULL)
        return;
    cv_meeting_free(t->meeting);
    free(t);
}
