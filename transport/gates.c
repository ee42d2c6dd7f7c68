#include "transport/gates_struct.h"
#include <stdlib.h>
#include <string.h>

/* ---- the link's events -------------------------------------------------- */

static void send_rooms(struct cv_gates_gate *gate)
{
    struct cv_gates *g = gate->all;
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};

    if (!gate->own || cv_gatelink_state(gate->link) != CV_GATELINK_UP)
        return;
    for (unsigned i = 0; i < g->n_rooms; i++) {
        memcpy(f.u.room_key, g->rooms[i], CV_GATE_ROOM_KEY);
        (void)cv_gatelink_send(gate->link, &f);
    }
}

static void fetch(struct cv_gates_gate *gate, const uint8_t loc[20])
{
    struct cv_gate_frame f = {.type = CV_GATE_FETCH};

    memcpy(f.u.loc, loc, sizeof f.u.loc);
    (void)cv_gatelink_send(gate->link, &f);
}

/* What was looked for before the link was there. */
static void fetch_all(struct cv_gates_gate *gate)
{
    struct cv_gates *g = gate->all;

    for (unsigned i = 0; i < CV_GATES_LOOKS && gate->own; i++)
        if (g->looks[i].until > cv_gates_now(g))
            fetch(gate, g->looks[i].loc);
}

void cv_gates_look(struct cv_gates *g, const uint8_t loc[20])
{
    unsigned at = CV_GATES_LOOKS;

    for (unsigned i = 0; i < CV_GATES_LOOKS; i++)
        if (memcmp(g->looks[i].loc, loc, 20) == 0)
            at = i;
    if (at == CV_GATES_LOOKS)
        at = g->next_look++ % CV_GATES_LOOKS;
    memcpy(g->looks[at].loc, loc, 20);
    g->looks[at].until = cv_gates_now(g) + CV_GATES_LOOK;
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used && g->gate[i].own)
            fetch(&g->gate[i], loc);
}

void cv_gates_store(struct cv_gates *g, const uint8_t loc[20], uint16_t ttl_s,
                    struct cv_bytes sealed)
{
    struct cv_gate_frame f = {.type = CV_GATE_STORE};

    memcpy(f.u.store.loc, loc, sizeof f.u.store.loc);
    f.u.store.ttl = ttl_s;
    f.u.store.sealed = sealed;
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used && g->gate[i].own)
            (void)cv_gatelink_send(g->gate[i].link, &f);
}

static void on_up(void *user, const struct cv_gate_welcome *welcome)
{
    struct cv_gates_gate *gate = user;
    struct cv_gates *g = gate->all;

    gate->welcome = *welcome;
    /* Nobody told us where UDP for it would have to go. */
    if (cv_gatelink_remote(gate->link).family == CV_FAMILY_NONE)
        gate->welcome.udp_port = 0;
    gate->idle_since = cv_gates_now(g);
    send_rooms(gate);
    fetch_all(gate);
    cv_gates_wake(g);
    g->events->changed(g->user);
}

static void on_down(void *user, const char *why)
{
    struct cv_gates_gate *gate = user;
    struct cv_gates *g = gate->all;

    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct cv_gates_channel *ch = &g->channel[i];

        /* One that was not open yet is asked for again. */
        if (ch->gate == gate && ch->state == CV_GATES_CHANNEL_WANTED)
            ch->asked = false;
        else if (ch->gate == gate && ch->state != CV_GATES_CHANNEL_FREE)
            cv_gates_channel_lost(ch, why);
    }
    g->events->changed(g->user);
    g->events->batch(g->user);
}

static void on_rung(struct cv_gates_gate *gate, const struct cv_gate_frame *f)
{
    struct cv_gates *g = gate->all;
    struct cv_gates_channel *ch =
        cv_gates_channel_by_tag(g, NULL, f->u.ring.tag);

    if (!ch) {
        ch = cv_gates_channel_new(g, gate, f->u.ring.tag, f->u.ring.room,
                                  CV_GATES_CHANNEL_RUNG);
        if (!ch)
            return;
        cv_gates_channel_hold(ch, f->u.ring.packet.data, f->u.ring.packet.len);
    }
    g->events->rung(g->user, f->u.ring.room, f->u.ring.tag, f->u.ring.knock);
}

static void on_opened(struct cv_gates_gate *gate, const struct cv_gate_frame *f)
{
    struct cv_gates *g = gate->all;
    struct cv_gates_channel *ch =
        cv_gates_channel_by_tag(g, gate, f->u.opened.tag);

    if (!ch && !f->u.opened.caller)
        ch = cv_gates_channel_new(g, gate, f->u.opened.tag, f->u.opened.room,
                                  CV_GATES_CHANNEL_RUNG);
    if (ch && ch->state != CV_GATES_CHANNEL_OPEN)
        cv_gates_channel_opened(ch, f);
    else /* it was given up meanwhile */
        cv_gates_give_back(gate, f->u.opened.channel);
}

static void on_refused(struct cv_gates_gate *gate,
                       const struct cv_gate_frame *f)
{
    struct cv_gates_channel *ch =
        cv_gates_channel_by_tag(gate->all, gate, f->u.refused.tag);
    const bool rung = f->u.refused.of == CV_GATE_RING;

    if (!ch || (!rung && f->u.refused.of != CV_GATE_OPEN))
        return;
    if (rung && f->u.refused.why == CV_GATE_REFUSAL_RATE &&
        cv_gates_channel_ring_later(ch))
        return;
    cv_gates_channel_give_up(
        ch, cv_gate_refusal_text((enum cv_gate_refusal)f->u.refused.why));
}

static void on_frame(void *user, const struct cv_gate_frame *f)
{
    struct cv_gates_gate *gate = user;
    struct cv_gates *g = gate->all;
    struct cv_gates_channel *ch;

    switch ((int)f->type) {
    case CV_GATE_RUNG:
        on_rung(gate, f);
        break;
    case CV_GATE_OPENED:
        on_opened(gate, f);
        break;
    case CV_GATE_RANG:
        ch = cv_gates_channel_by_tag(g, gate, f->u.rang.tag);
        if (ch)
            cv_gates_channel_rang(ch);
        break;
    case CV_GATE_REFUSED:
        on_refused(gate, f);
        break;
    case CV_GATE_FOUND:
        if (gate->own)
            g->events->found(g->user, f->u.store.loc, f->u.store.sealed);
        break;
    case CV_GATE_GONE:
        ch = cv_gates_channel_by_id(g, gate, f->u.channel);
        if (ch)
            cv_gates_channel_lost(ch, "the other side has left the gate");
        break;
    case CV_GATE_DATA:
        ch = cv_gates_channel_by_id(g, gate, f->u.data.channel);
        if (ch)
            cv_gates_channel_packet(ch, f->u.data.packet.data,
                                    f->u.data.packet.len);
        break;
    default:
        return;
    }
    g->events->batch(g->user);
}

static void on_writable(void *user)
{
    struct cv_gates_gate *gate = user;

    gate->all->events->writable(gate->all->user);
}

static const struct cv_gatelink_events link_events = {on_up, on_frame, on_down,
                                                      on_writable};

/* ---- gates -------------------------------------------------------------- */

static struct cv_gates_gate *find_gate(struct cv_gates *g,
                                       const struct cv_key *key)
{
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used && cv_key_equal(&g->gate[i].name.key, key))
            return &g->gate[i];
    return NULL;
}

static int open_gate(struct cv_gates *g, const struct cv_gate_name *name,
                     const char *token, bool own, struct cv_gates_gate **out)
{
    struct cv_gatelink_config config = {.loop = g->config.loop,
                                        .log = g->config.log,
                                        .rng = g->config.rng,
                                        .node = g->config.node,
                                        .cert = g->config.cert,
                                        .name = *name,
                                        .proxy = &g->proxy};
    struct cv_gates_gate *gate = NULL;
    int err;

    for (unsigned i = 0; i < CV_GATES_MAX && !gate; i++)
        if (!g->gate[i].used)
            gate = &g->gate[i];
    if (!gate)
        return CV_ERR_LIMIT;
    if (token) {
        if (strlen(token) >= sizeof config.token)
            return CV_ERR_INVALID;
        strcpy(config.token, token);
    }
    memset(gate, 0, sizeof *gate);
    gate->all = g;
    gate->own = own;
    gate->name = *name;
    gate->idle_since = cv_gates_now(g);
    err = cv_gatelink_new(&gate->link, &config, &link_events, gate);
    cv_wipe(config.token, sizeof config.token);
    gate->used = err == CV_OK;
    *out = gate;
    return err;
}

int cv_gates_add(struct cv_gates *g, const struct cv_gate_name *name,
                 const char *token)
{
    struct cv_gates_gate *gate = find_gate(g, &name->key);

    if (gate && gate->own)
        return CV_ERR_EXISTS;
    if (gate) { /* a peer's, and now ours too */
        gate->own = true;
        send_rooms(gate);
        return CV_OK;
    }
    return open_gate(g, name, token, true, &gate);
}

void cv_gates_set_rooms(struct cv_gates *g,
                        const uint8_t (*keys)[CV_GATE_ROOM_KEY], unsigned n)
{
    struct cv_gate_frame f = {.type = CV_GATE_UNREGISTER};

    if (n > CV_GATES_ROOMS)
        n = CV_GATES_ROOMS;
    for (unsigned i = 0; i < g->n_rooms; i++) {
        bool stays = false;

        for (unsigned k = 0; k < n; k++)
            stays |= memcmp(keys[k], g->rooms[i], CV_GATE_ROOM_KEY) == 0;
        if (stays)
            continue;
        cv_gate_room(f.u.room, &g->config.node->pub, g->rooms[i]);
        for (unsigned k = 0; k < CV_GATES_MAX; k++)
            if (g->gate[k].used && g->gate[k].own)
                (void)cv_gatelink_send(g->gate[k].link, &f);
    }
    if (n > 0)
        memcpy(g->rooms, keys, n * sizeof g->rooms[0]);
    g->n_rooms = n;
    for (unsigned k = 0; k < CV_GATES_MAX; k++)
        if (g->gate[k].used)
            send_rooms(&g->gate[k]);
}

int cv_gates_ring(struct cv_gates *g, const struct cv_gate_name *name,
                  const struct cv_key *peer,
                  const uint8_t room_key[CV_GATE_ROOM_KEY],
                  const uint8_t tag[CV_GATE_TAG], struct cv_bytes knock,
                  struct cv_path_addr *path)
{
    struct cv_gates_gate *gate = find_gate(g, &name->key);
    uint8_t room[CV_GATE_ROOM];
    struct cv_gates_channel *ch;
    int err;

    if (knock.len > CV_GATE_KNOCK_MAX)
        return CV_ERR_INVALID;
    if (cv_gates_channel_by_tag(g, gate, tag))
        return CV_ERR_EXISTS;
    if (!gate) {
        err = open_gate(g, name, NULL, false, &gate);
        if (err != CV_OK)
            return err;
    }
    cv_gate_room(room, peer, room_key);
    ch = cv_gates_channel_new(g, gate, tag, room, CV_GATES_CHANNEL_WANTED);
    if (!ch)
        return CV_ERR_LIMIT;
    ch->claimed = true;
    ch->knock_len = knock.len;
    ch->ask_at = cv_gates_now(g) + (knock.len > 0 ? CV_GATES_PACKET : 0);
    if (knock.len > 0)
        memcpy(ch->knock, knock.data, knock.len);
    *path = cv_gates_channel_path(ch);
    cv_gates_wake(g);
    return CV_OK;
}

/* ---- time --------------------------------------------------------------- */

static bool has_channels(const struct cv_gates_gate *gate)
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (gate->all->channel[i].state != CV_GATES_CHANNEL_FREE &&
            gate->all->channel[i].gate == gate)
            return true;
    return false;
}

static void on_timer(void *user)
{
    struct cv_gates *g = user;
    cv_time now = cv_gates_now(g), next = CV_NEVER;

    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (g->channel[i].state != CV_GATES_CHANNEL_FREE)
            next =
                cv_time_min(next, cv_gates_channel_step(&g->channel[i], now));
    for (unsigned i = 0; i < CV_GATES_MAX; i++) {
        struct cv_gates_gate *gate = &g->gate[i];

        if (!gate->used || gate->own || has_channels(gate))
            continue;
        if (now - gate->idle_since < CV_GATES_IDLE) {
            next = cv_time_min(next, gate->idle_since + CV_GATES_IDLE);
            continue;
        }
        cv_gatelink_free(gate->link);
        gate->used = false;
    }
    cv_timer_set(g->timer, next);
    g->events->batch(g->user);
}

void cv_gates_life(struct cv_gates *g, cv_time life)
{
    g->life = life;
}

void cv_gates_recheck(struct cv_gates *g)
{
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used)
            cv_gatelink_recheck(g->gate[i].link);
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (g->channel[i].state == CV_GATES_CHANNEL_OPEN &&
            g->channel[i].bind_at != CV_NEVER)
            g->channel[i].bind_at = cv_gates_now(g);
    cv_gates_wake(g);
}

/* ---- life --------------------------------------------------------------- */

int cv_gates_new(struct cv_gates **out, const struct cv_gates_config *config,
                 const struct cv_gates_events *events, void *user)
{
    struct cv_gates *g = calloc(1, sizeof *g);
    char why[300];
    int err;

    if (!g)
        return CV_ERR_NOMEM;
    g->config = *config;
    g->events = events;
    g->user = user;
    /* Without it there is still the direct way. */
    if (cv_proxy_environment(&g->proxy, why, sizeof why) != CV_OK)
        cv_warn(config->log, "gates: %s", why);
    err = cv_timer_new(&g->timer, config->loop, on_timer, g);
    if (err != CV_OK) {
        free(g);
        return err;
    }
    *out = g;
    return CV_OK;
}

void cv_gates_free(struct cv_gates *g)
{
    if (!g)
        return;
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (g->channel[i].state != CV_GATES_CHANNEL_FREE)
            cv_gates_channel_free(&g->channel[i]);
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used)
            cv_gatelink_free(g->gate[i].link);
    cv_timer_free(g->timer);
    cv_wipe(&g->proxy, sizeof g->proxy);
    free(g);
}

static bool is_better(const struct cv_gates_info *a,
                      const struct cv_gates_info *b)
{
    if (a->own != b->own)
        return a->own;
    if ((a->state == CV_GATELINK_UP) != (b->state == CV_GATELINK_UP))
        return a->state == CV_GATELINK_UP;
    return a->rtt < b->rtt;
}

unsigned cv_gates_list(const struct cv_gates *g, struct cv_gates_info *out,
                       unsigned max)
{
    struct cv_gates_info all[CV_GATES_MAX];
    unsigned n = 0;

    for (unsigned i = 0; i < CV_GATES_MAX; i++) {
        const struct cv_gates_gate *gate = &g->gate[i];
        struct cv_gates_info info;
        unsigned at = n;

        if (!gate->used)
            continue;
        info = (struct cv_gates_info){
            .name = gate->name,
            .remote = cv_gatelink_remote(gate->link),
            .state = cv_gatelink_state(gate->link),
            .rtt = cv_gatelink_rtt(gate->link),
            .own = gate->own,
            .trouble = cv_gatelink_trouble(gate->link),
            .udp_port = gate->welcome.udp_port,
            .way = cv_gatelink_way(gate->link),
        };
        for (; at > 0 && is_better(&info, &all[at - 1]); at--)
            all[at] = all[at - 1];
        all[at] = info;
        n++;
    }
    memcpy(out, all, (n < max ? n : max) * sizeof *out);
    return n;
}
