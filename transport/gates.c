#include "transport/gates.h"
#include <stdlib.h>
#include <string.h>

enum channel_state {
    CHANNEL_FREE,
    CHANNEL_WANTED, /* RING and OPEN are to be sent, or are on their way */
    CHANNEL_RUNG,   /* somebody rang; OPENED is to come */
    CHANNEL_OPEN,
};

struct waiting {
    size_t len;
    uint8_t data[CV_GATE_PACKET_MAX];
};

struct channel {
    enum channel_state state;
    struct gate *gate;
    uint32_t number; /* ours: the path's channel */
    uint32_t id;     /* the gate's */
    uint8_t tag[CV_GATE_TAG], room[CV_GATE_ROOM];
    uint8_t key[CV_GATE_CHANNEL];
    bool claimed;
    bool asked;     /* RING and OPEN are sent… */
    cv_time ask_at; /* …not before: the first packet is to go with RING */
    cv_time open_by;
    size_t knock_len;
    uint8_t knock[CV_GATE_KNOCK_MAX];
    /* To be sent (WANTED, or RUNG and claimed) or to be handed over (RUNG). */
    struct waiting *waiting; /* [CV_GATES_WAITING], NULL: none yet */
    unsigned n_waiting;
    /* UDP. */
    bool bound;
    uint64_t counter;
    uint8_t cookie[CV_GATE_COOKIE];
    unsigned bind_tries;
    cv_time bind_at; /* CV_NEVER: no UDP */
    cv_time since;   /* when something was sent and nothing came yet, or 0 */
};

struct gate {
    struct cv_gates *all;
    bool used, own;
    struct cv_gate_name name;
    struct cv_gatelink *link;
    struct cv_gate_welcome welcome;
    cv_time idle_since;
};

struct cv_gates {
    struct cv_gates_config config;
    const struct cv_gates_events *events;
    void *user;
    struct gate gate[CV_GATES_MAX];
    struct channel channel[CV_GATES_CHANNELS];
    uint8_t rooms[CV_GATES_ROOMS][CV_GATE_ROOM_KEY];
    unsigned n_rooms;
    struct {
        uint8_t loc[20];
        cv_time until; /* 0: free */
    } looks[CV_GATES_LOOKS];
    unsigned next_look;
    uint32_t next_number;
    struct cv_timer *timer;
    struct cv_proxy proxy; /* to be used for links, if there is one */
};

static cv_time now_of(const struct cv_gates *g)
{
    return cv_loop_now(g->config.loop);
}

static void wake(struct cv_gates *g)
{
    cv_timer_set(g->timer, 0);
}

/* ---- channels ----------------------------------------------------------- */

/* The address is made up (RFC 6666: discarded by every router): it tells the
 * channels of a node apart where an address is wanted. */
static struct cv_path_addr path_of(const struct channel *ch)
{
    struct cv_path_addr path = {
        .carrier = CV_CARRIER_GATE_TLS,
        .channel = ch->number,
        .remote = {.family = CV_FAMILY_IPV6, .port = 1, .ip = {1}}};

    for (unsigned i = 0; i < 4; i++)
        path.remote.ip[12 + i] = (uint8_t)(ch->number >> (24 - 8 * i));
    return path;
}

static struct channel *by_path(struct cv_gates *g,
                               const struct cv_path_addr *path)
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (g->channel[i].state != CHANNEL_FREE &&
            g->channel[i].number == path->channel)
            return &g->channel[i];
    return NULL;
}

static struct channel *by_tag(struct cv_gates *g, const struct gate *gate,
                              const uint8_t tag[CV_GATE_TAG])
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct channel *ch = &g->channel[i];

        if (ch->state != CHANNEL_FREE && (!gate || ch->gate == gate) &&
            memcmp(ch->tag, tag, CV_GATE_TAG) == 0)
            return ch;
    }
    return NULL;
}

static struct channel *by_id(struct cv_gates *g, const struct gate *gate,
                             uint32_t id)
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct channel *ch = &g->channel[i];

        if (ch->state == CHANNEL_OPEN && ch->gate == gate && ch->id == id)
            return ch;
    }
    return NULL;
}

static struct channel *channel_new(struct cv_gates *g, struct gate *gate,
                                   const uint8_t tag[CV_GATE_TAG],
                                   const uint8_t room[CV_GATE_ROOM],
                                   enum channel_state state)
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct channel *ch = &g->channel[i];

        if (ch->state != CHANNEL_FREE)
            continue;
        memset(ch, 0, sizeof *ch);
        ch->state = state;
        ch->gate = gate;
        ch->number = ++g->next_number;
        memcpy(ch->tag, tag, CV_GATE_TAG);
        memcpy(ch->room, room, CV_GATE_ROOM);
        ch->bind_at = CV_NEVER;
        ch->open_by = now_of(g) + CV_GATES_OPEN;
        return ch;
    }
    return NULL;
}

static void channel_free(struct channel *ch)
{
    ch->gate->idle_since = now_of(ch->gate->all);
    free(ch->waiting);
    cv_wipe(ch, sizeof *ch);
    ch->state = CHANNEL_FREE;
}

static void channel_lost(struct channel *ch, const char *why)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_path_addr path = path_of(ch);
    uint8_t tag[CV_GATE_TAG];
    bool tell = ch->claimed;

    memcpy(tag, ch->tag, sizeof tag);
    channel_free(ch);
    if (tell)
        g->events->gone(g->user, tag, &path, why);
}

static void hold(struct channel *ch, const uint8_t *data, size_t len)
{
    struct waiting *w;

    if (len == 0 || len > CV_GATE_PACKET_MAX ||
        ch->n_waiting == CV_GATES_WAITING)
        return; /* a loss like any other */
    if (!ch->waiting)
        ch->waiting = malloc(CV_GATES_WAITING * sizeof *ch->waiting);
    if (!ch->waiting)
        return;
    w = &ch->waiting[ch->n_waiting++];
    w->len = len;
    memcpy(w->data, data, len);
}

/* ---- sending ------------------------------------------------------------ */

static int send_by_link(struct channel *ch, const uint8_t *data, size_t len)
{
    struct cv_gate_frame f = {.type = CV_GATE_DATA};

    f.u.data.channel = ch->id;
    f.u.data.packet = CV_BYTES(data, len);
    return cv_gatelink_send(ch->gate->link, &f);
}

static struct cv_addr udp_address(const struct gate *gate)
{
    struct cv_addr to = cv_gatelink_remote(gate->link);

    to.port = gate->welcome.udp_port;
    return to;
}

/* A train of packets, each behind its header. */
static int send_by_udp(struct channel *ch, const uint8_t *data, size_t len,
                       size_t segment)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_addr to = udp_address(ch->gate);
    uint8_t out[32 * (CV_GATE_UDP_HEADER + CV_GATE_PACKET_MAX)];
    struct cv_writer w;
    int err = CV_OK;

    if (ch->since == 0) {
        ch->since = now_of(g);
        wake(g);
    }
    while (len > 0 && err == CV_OK) {
        cv_writer_init(&w, out, sizeof out);
        for (unsigned i = 0; i < 32 && len > 0; i++) {
            size_t n = len < segment ? len : segment;

            cv_put_u8(&w, CV_GATE_UDP_DATA);
            cv_put_u32(&w, ch->id);
            cv_put_raw(&w, data, n);
            data += n;
            len -= n;
        }
        err = w.err == CV_OK ? g->events->udp(g->user, &to, out, w.len,
                                              CV_GATE_UDP_HEADER + segment)
                             : CV_ERR_IO;
    }
    return err;
}

int cv_gates_send(struct cv_gates *g, const struct cv_path_addr *to,
                  const uint8_t *data, size_t len, size_t segment)
{
    struct channel *ch = by_path(g, to);
    int err = CV_OK;

    if (!ch || segment > CV_GATE_PACKET_MAX)
        return CV_ERR_IO;
    if (ch->state == CHANNEL_OPEN && ch->bound)
        return send_by_udp(ch, data, len, segment);
    for (size_t at = 0; at < len && err == CV_OK; at += segment) {
        size_t n = len - at < segment ? len - at : segment;

        if (ch->state == CHANNEL_OPEN)
            err = send_by_link(ch, data + at, n);
        else if (ch->state == CHANNEL_WANTED || ch->claimed)
            hold(ch, data + at, n); /* the answer to a ring is quick */
    }
    if (ch->state == CHANNEL_WANTED && !ch->asked) {
        ch->ask_at = now_of(g);
        wake(g); /* at the end of this turn, so that the packet is there */
    }
    return err == CV_ERR_CLOSED ? CV_ERR_IO : err;
}

/* ---- UDP ---------------------------------------------------------------- */

static void bind_again(struct channel *ch, cv_time now)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_gate_bind bind = {.channel = ch->id, .counter = ++ch->counter};
    struct cv_addr to = udp_address(ch->gate);
    uint8_t out[CV_GATE_UDP_BIND_LEN];

    memcpy(bind.cookie, ch->cookie, sizeof bind.cookie);
    cv_gate_bind_write(out, &bind, ch->key);
    (void)g->events->udp(g->user, &to, out, sizeof out, sizeof out);
    ch->bind_tries++;
    ch->bind_at =
        now + (CV_GATES_RTO << (ch->bind_tries < 4 ? ch->bind_tries - 1 : 3));
}

/* Nothing comes over UDP (any more): back to the link, and ask now and then. */
static void give_up_udp(struct channel *ch, cv_time now)
{
    struct cv_gate_frame f = {.type = CV_GATE_UNBIND, .u.channel = ch->id};

    if (ch->bound) {
        cv_debug(ch->gate->all->config.log,
                 "gates: UDP to the gate has gone silent");
        (void)cv_gatelink_send(ch->gate->link, &f);
    }
    ch->bound = false;
    ch->since = 0;
    ch->bind_tries = 0;
    memset(ch->cookie, 0, sizeof ch->cookie);
    ch->bind_at = now + CV_GATES_BIND;
}

static void step_udp(struct channel *ch, cv_time now)
{
    if (ch->bound && ch->since != 0 && ch->bind_tries == 0 &&
        now - ch->since >= CV_GATES_SILENT)
        ch->bind_at = now;
    if (now < ch->bind_at)
        return;
    if (ch->bind_tries >= (ch->bound ? 2u : 5u))
        give_up_udp(ch, now);
    else
        bind_again(ch, now);
}

static void on_bound(struct channel *ch, const uint8_t *data, size_t len,
                     cv_time now)
{
    struct cv_gate_bind bound;

    if (cv_gate_bound_read(&bound, data, len, ch->key) != CV_OK ||
        bound.counter != ch->counter)
        return;
    ch->since = 0;
    ch->bind_tries = 0;
    if (memcmp(bound.cookie, ch->cookie, sizeof bound.cookie) == 0) {
        ch->bound = true;
        ch->bind_at = now + CV_GATES_BIND;
    } else { /* ours was none, or is too old */
        memcpy(ch->cookie, bound.cookie, sizeof ch->cookie);
        bind_again(ch, now);
    }
}

static void hand_over(struct channel *ch, const uint8_t *data, size_t len)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_path_addr path = path_of(ch);

    if (ch->claimed)
        g->events->packet(g->user, &path, data, len);
    else
        hold(ch, data, len);
}

void cv_gates_udp_input(struct cv_gates *g, const struct cv_addr *from,
                        const uint8_t *data, size_t len)
{
    cv_time now = now_of(g);
    uint32_t id;

    if (len <= CV_GATE_UDP_HEADER)
        return;
    id = (uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 |
         (uint32_t)data[3] << 8 | data[4];
    for (unsigned i = 0; i < CV_GATES_MAX; i++) {
        struct gate *gate = &g->gate[i];
        struct cv_addr at;
        struct channel *ch;

        if (!gate->used)
            continue;
        at = udp_address(gate);
        ch = cv_addr_equal(&at, from) ? by_id(g, gate, id) : NULL;
        if (!ch)
            continue;
        if (data[0] == CV_GATE_UDP_BOUND) {
            on_bound(ch, data, len, now);
            wake(g);
        } else if (data[0] == CV_GATE_UDP_DATA) {
            ch->since = 0;
            hand_over(ch, data + CV_GATE_UDP_HEADER, len - CV_GATE_UDP_HEADER);
        }
        return;
    }
}

/* ---- the link's events -------------------------------------------------- */

static void send_rooms(struct gate *gate)
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

/* The knock and the first packet of QUIC. */
static bool send_ring(struct channel *ch)
{
    struct cv_gate_frame f;

    memset(&f, 0, sizeof f);
    f.type = CV_GATE_RING;
    memcpy(f.u.ring.room, ch->room, CV_GATE_ROOM);
    memcpy(f.u.ring.tag, ch->tag, CV_GATE_TAG);
    f.u.ring.knock = CV_BYTES(ch->knock, ch->knock_len);
    if (ch->n_waiting > 0)
        f.u.ring.packet = CV_BYTES(ch->waiting[0].data, ch->waiting[0].len);
    if (cv_gatelink_send(ch->gate->link, &f) != CV_OK)
        return false;
    if (ch->n_waiting > 0)
        memmove(&ch->waiting[0], &ch->waiting[1],
                --ch->n_waiting * sizeof ch->waiting[0]);
    return true;
}

static void ask_for(struct channel *ch)
{
    struct cv_gate_frame f;

    if (ch->asked || cv_gatelink_state(ch->gate->link) != CV_GATELINK_UP ||
        (ch->knock_len > 0 && !send_ring(ch)))
        return;
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_OPEN;
    memcpy(f.u.open.room, ch->room, CV_GATE_ROOM);
    memcpy(f.u.open.tag, ch->tag, CV_GATE_TAG);
    (void)cv_gatelink_send(ch->gate->link, &f);
    ch->asked = true;
}

static void fetch(struct gate *gate, const uint8_t loc[20])
{
    struct cv_gate_frame f = {.type = CV_GATE_FETCH};

    memcpy(f.u.loc, loc, sizeof f.u.loc);
    (void)cv_gatelink_send(gate->link, &f);
}

/* What was looked for before the link was there. */
static void fetch_all(struct gate *gate)
{
    struct cv_gates *g = gate->all;

    for (unsigned i = 0; i < CV_GATES_LOOKS && gate->own; i++)
        if (g->looks[i].until > now_of(g))
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
    g->looks[at].until = now_of(g) + CV_GATES_LOOK;
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
    struct gate *gate = user;
    struct cv_gates *g = gate->all;

    gate->welcome = *welcome;
    /* Nobody told us where UDP for it would have to go. */
    if (cv_gatelink_remote(gate->link).family == CV_FAMILY_NONE)
        gate->welcome.udp_port = 0;
    gate->idle_since = now_of(g);
    send_rooms(gate);
    fetch_all(gate);
    wake(g);
    g->events->changed(g->user);
}

static void on_down(void *user, const char *why)
{
    struct gate *gate = user;
    struct cv_gates *g = gate->all;

    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct channel *ch = &g->channel[i];

        /* One that was not open yet is asked for again. */
        if (ch->gate == gate && ch->state == CHANNEL_WANTED)
            ch->asked = false;
        else if (ch->gate == gate && ch->state != CHANNEL_FREE)
            channel_lost(ch, why);
    }
    g->events->changed(g->user);
    g->events->batch(g->user);
}

static void on_rung(struct gate *gate, const struct cv_gate_frame *f)
{
    struct cv_gates *g = gate->all;
    struct channel *ch = by_tag(g, NULL, f->u.ring.tag);

    if (!ch) {
        ch = channel_new(g, gate, f->u.ring.tag, f->u.ring.room, CHANNEL_RUNG);
        if (!ch)
            return;
        hold(ch, f->u.ring.packet.data, f->u.ring.packet.len);
    }
    g->events->rung(g->user, f->u.ring.room, f->u.ring.tag, f->u.ring.knock);
}

static void on_opened(struct gate *gate, const struct cv_gate_frame *f)
{
    struct cv_gates *g = gate->all;
    struct channel *ch = by_tag(g, gate, f->u.opened.tag);
    bool caller;

    if (!ch && !f->u.opened.caller)
        ch = channel_new(g, gate, f->u.opened.tag, f->u.opened.room,
                         CHANNEL_RUNG);
    if (!ch || ch->state == CHANNEL_OPEN)
        return;
    caller = ch->state == CHANNEL_WANTED;
    ch->state = CHANNEL_OPEN;
    ch->id = f->u.opened.channel;
    memcpy(ch->key, f->u.opened.key, CV_GATE_CHANNEL);
    ch->bind_at = gate->welcome.udp_port != 0 ? now_of(g) : CV_NEVER;
    if (ch->claimed) {
        for (unsigned i = 0; i < ch->n_waiting; i++)
            (void)send_by_link(ch, ch->waiting[i].data, ch->waiting[i].len);
        ch->n_waiting = 0;
    }
    if (!ch->claimed || (caller && ch->knock_len == 0))
        g->events->opened(g->user, ch->tag);
    wake(g);
}

static void on_refused(struct gate *gate, const struct cv_gate_frame *f)
{
    struct channel *ch = by_tag(gate->all, gate, f->u.refused.tag);

    if (ch && ch->state == CHANNEL_WANTED &&
        (f->u.refused.of == CV_GATE_OPEN || f->u.refused.of == CV_GATE_RING))
        channel_lost(
            ch, cv_gate_refusal_text((enum cv_gate_refusal)f->u.refused.why));
}

static void on_frame(void *user, const struct cv_gate_frame *f)
{
    struct gate *gate = user;
    struct cv_gates *g = gate->all;
    struct channel *ch;

    switch ((int)f->type) {
    case CV_GATE_RUNG:
        on_rung(gate, f);
        break;
    case CV_GATE_OPENED:
        on_opened(gate, f);
        break;
    case CV_GATE_REFUSED:
        on_refused(gate, f);
        break;
    case CV_GATE_FOUND:
        if (gate->own)
            g->events->found(g->user, f->u.store.loc, f->u.store.sealed);
        break;
    case CV_GATE_GONE:
        ch = by_id(g, gate, f->u.channel);
        if (ch)
            channel_lost(ch, "the other side has left the gate");
        break;
    case CV_GATE_DATA:
        ch = by_id(g, gate, f->u.data.channel);
        if (ch)
            hand_over(ch, f->u.data.packet.data, f->u.data.packet.len);
        break;
    default:
        return;
    }
    g->events->batch(g->user);
}

static void on_writable(void *user)
{
    struct gate *gate = user;

    gate->all->events->writable(gate->all->user);
}

static const struct cv_gatelink_events link_events = {on_up, on_frame, on_down,
                                                      on_writable};

/* ---- gates -------------------------------------------------------------- */

static struct gate *find_gate(struct cv_gates *g, const struct cv_key *key)
{
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used && cv_key_equal(&g->gate[i].name.key, key))
            return &g->gate[i];
    return NULL;
}

static int open_gate(struct cv_gates *g, const struct cv_gate_name *name,
                     const char *token, bool own, struct gate **out)
{
    struct cv_gatelink_config config = {.loop = g->config.loop,
                                        .log = g->config.log,
                                        .rng = g->config.rng,
                                        .node = g->config.node,
                                        .cert = g->config.cert,
                                        .name = *name,
                                        .proxy = &g->proxy};
    struct gate *gate = NULL;
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
    gate->idle_since = now_of(g);
    err = cv_gatelink_new(&gate->link, &config, &link_events, gate);
    cv_wipe(config.token, sizeof config.token);
    gate->used = err == CV_OK;
    *out = gate;
    return err;
}

int cv_gates_add(struct cv_gates *g, const struct cv_gate_name *name,
                 const char *token)
{
    struct gate *gate = find_gate(g, &name->key);

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
    struct gate *gate = find_gate(g, &name->key);
    uint8_t room[CV_GATE_ROOM];
    struct channel *ch;
    int err;

    if (knock.len > CV_GATE_KNOCK_MAX)
        return CV_ERR_INVALID;
    if (by_tag(g, gate, tag))
        return CV_ERR_EXISTS;
    if (!gate) {
        err = open_gate(g, name, NULL, false, &gate);
        if (err != CV_OK)
            return err;
    }
    cv_gate_room(room, peer, room_key);
    ch = channel_new(g, gate, tag, room, CHANNEL_WANTED);
    if (!ch)
        return CV_ERR_LIMIT;
    ch->claimed = true;
    ch->knock_len = knock.len;
    ch->ask_at = now_of(g) + (knock.len > 0 ? CV_GATES_PACKET : 0);
    if (knock.len > 0)
        memcpy(ch->knock, knock.data, knock.len);
    *path = path_of(ch);
    wake(g);
    return CV_OK;
}

int cv_gates_claim(struct cv_gates *g, const uint8_t tag[CV_GATE_TAG],
                   struct cv_path_addr *path)
{
    /* The other side may have rung at several gates. */
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct channel *ch = &g->channel[i];

        if (ch->state == CHANNEL_FREE || ch->claimed ||
            memcmp(ch->tag, tag, CV_GATE_TAG) != 0)
            continue;
        ch->claimed = true;
        *path = path_of(ch);
        wake(g);
        return CV_OK;
    }
    return CV_ERR_NOTFOUND;
}

void cv_gates_deliver(struct cv_gates *g, const struct cv_path_addr *path)
{
    struct channel *ch = by_path(g, path);
    struct waiting *waiting;
    unsigned n;

    if (!ch || ch->state == CHANNEL_WANTED)
        return;
    /* The calls may close the channel. */
    waiting = ch->waiting;
    n = ch->n_waiting;
    ch->waiting = NULL;
    ch->n_waiting = 0;
    for (unsigned i = 0; i < n; i++)
        g->events->packet(g->user, path, waiting[i].data, waiting[i].len);
    free(waiting);
}

void cv_gates_close(struct cv_gates *g, const struct cv_path_addr *path)
{
    struct channel *ch = by_path(g, path);
    struct cv_gate_frame f = {.type = CV_GATE_CLOSE};

    if (!ch)
        return;
    if (ch->state == CHANNEL_OPEN) {
        f.u.channel = ch->id;
        (void)cv_gatelink_send(ch->gate->link, &f);
    }
    channel_free(ch);
}

/* ---- time --------------------------------------------------------------- */

static bool has_channels(const struct gate *gate)
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (gate->all->channel[i].state != CHANNEL_FREE &&
            gate->all->channel[i].gate == gate)
            return true;
    return false;
}

static cv_time step_channel(struct channel *ch, cv_time now)
{
    if (ch->state == CHANNEL_WANTED && now >= ch->ask_at)
        ask_for(ch);
    if (ch->state != CHANNEL_OPEN || !ch->claimed) {
        if (now >= ch->open_by) {
            const char *why = cv_gatelink_trouble(ch->gate->link);

            channel_lost(ch,
                         why[0] ? why : "nobody answers at the peer's gate");
            return CV_NEVER;
        }
        return ch->asked || now >= ch->ask_at
                   ? ch->open_by
                   : cv_time_min(ch->open_by, ch->ask_at);
    }
    step_udp(ch, now);
    /* What was sent over UDP is to be answered soon. */
    return ch->bound && ch->since != 0 && ch->bind_tries == 0
               ? cv_time_min(ch->bind_at, ch->since + CV_GATES_SILENT)
               : ch->bind_at;
}

static void on_timer(void *user)
{
    struct cv_gates *g = user;
    cv_time now = now_of(g), next = CV_NEVER;

    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (g->channel[i].state != CHANNEL_FREE)
            next = cv_time_min(next, step_channel(&g->channel[i], now));
    for (unsigned i = 0; i < CV_GATES_MAX; i++) {
        struct gate *gate = &g->gate[i];

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

void cv_gates_recheck(struct cv_gates *g)
{
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used)
            cv_gatelink_recheck(g->gate[i].link);
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++)
        if (g->channel[i].state == CHANNEL_OPEN &&
            g->channel[i].bind_at != CV_NEVER)
            g->channel[i].bind_at = now_of(g);
    wake(g);
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
        if (g->channel[i].state != CHANNEL_FREE)
            channel_free(&g->channel[i]);
    for (unsigned i = 0; i < CV_GATES_MAX; i++)
        if (g->gate[i].used)
            cv_gatelink_free(g->gate[i].link);
    cv_timer_free(g->timer);
    cv_wipe(&g->proxy, sizeof g->proxy);
    free(g);
}

cv_time cv_gates_rtt(const struct cv_gates *g, const struct cv_path_addr *path)
{
    const struct channel *ch = by_path((struct cv_gates *)(uintptr_t)g, path);

    return ch ? cv_gatelink_rtt(ch->gate->link) : 0;
}

bool cv_gates_is_udp(const struct cv_gates *g, const struct cv_path_addr *path)
{
    const struct channel *ch = by_path((struct cv_gates *)(uintptr_t)g, path);

    return ch && ch->bound;
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
        const struct gate *gate = &g->gate[i];
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
