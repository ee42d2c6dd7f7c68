#include "gate/core_struct.h"
#include <string.h>

/* ---- proving ---- */

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
    cv_gate_client_forget_handshake(c);
    core->counters.links_accepted++;
    return true;
}

/* ---- what is asked ---- */

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
