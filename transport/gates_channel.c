#include "transport/gates_struct.h"
#include "transport/natlife.h"
#include <stdlib.h>
#include <string.h>

/* ---- channels ----------------------------------------------------------- */

/* The address is made up (RFC 6666: discarded by every router): it tells the
 * channels of a node apart where an address is wanted. */
struct cv_path_addr cv_gates_channel_path(const struct cv_gates_channel *ch)
{
    struct cv_path_addr path = {
        .carrier = CV_CARRIER_GATE_TLS,
        .channel = ch->number,
        .remote = {.family = CV_FAMILY_IPV6, .port = 1, .ip = {1}}};

    for (unsigned i = 0; i < 4; i++)
        path.remote.ip[12 + i] = (uint8_t)(ch->number >> (24 - 8 * i));
    return path;
}

/* The slot is in the number; what was there before had another one. */
static struct cv_gates_channel *by_path(struct cv_gates *g,
                                        const struct cv_path_addr *path)
{
    struct cv_gates_channel *ch =
        &g->channel[path->channel % CV_GATES_CHANNELS];

    return ch->state != CV_GATES_CHANNEL_FREE && ch->number == path->channel
               ? ch
               : NULL;
}

struct cv_gates_channel *
cv_gates_channel_by_tag(struct cv_gates *g, const struct cv_gates_gate *gate,
                        const uint8_t tag[CV_GATE_TAG])
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct cv_gates_channel *ch = &g->channel[i];

        if (ch->state != CV_GATES_CHANNEL_FREE && (!gate || ch->gate == gate) &&
            memcmp(ch->tag, tag, CV_GATE_TAG) == 0)
            return ch;
    }
    return NULL;
}

/* Gates choose ids at random. */
static struct cv_gates_channel **place_of(struct cv_gates *g, uint32_t id)
{
    return &g->by_id[id % CV_GATES_CHANNELS];
}

static void add_id(struct cv_gates_channel *ch, uint32_t id)
{
    struct cv_gates_channel **place = place_of(ch->gate->all, id);

    ch->id = id;
    ch->same_id = *place;
    *place = ch;
}

static void remove_id(struct cv_gates_channel *ch)
{
    struct cv_gates_channel **at = place_of(ch->gate->all, ch->id);

    for (; *at; at = &(*at)->same_id)
        if (*at == ch) {
            *at = ch->same_id;
            return;
        }
}

struct cv_gates_channel *
cv_gates_channel_by_id(struct cv_gates *g, const struct cv_gates_gate *gate,
                       uint32_t id)
{
    for (struct cv_gates_channel *ch = *place_of(g, id); ch; ch = ch->same_id)
        if (ch->gate == gate && ch->id == id)
            return ch;
    return NULL;
}

struct cv_gates_channel *cv_gates_channel_new(struct cv_gates *g,
                                              struct cv_gates_gate *gate,
                                              const uint8_t tag[CV_GATE_TAG],
                                              const uint8_t room[CV_GATE_ROOM],
                                              enum cv_gates_channel_state state)
{
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct cv_gates_channel *ch = &g->channel[i];

        if (ch->state != CV_GATES_CHANNEL_FREE)
            continue;
        memset(ch, 0, sizeof *ch);
        ch->state = state;
        ch->gate = gate;
        /* By which it is found; never 0, and not soon the same again. */
        g->rounds = g->rounds % (UINT32_MAX / CV_GATES_CHANNELS - 1) + 1;
        ch->number = g->rounds * CV_GATES_CHANNELS + i;
        memcpy(ch->tag, tag, CV_GATE_TAG);
        memcpy(ch->room, room, CV_GATE_ROOM);
        ch->bind_at = ch->ring_at = CV_NEVER;
        ch->open_by = cv_gates_now(g) + CV_GATES_OPEN;
        return ch;
    }
    return NULL;
}

void cv_gates_channel_free(struct cv_gates_channel *ch)
{
    ch->gate->idle_since = cv_gates_now(ch->gate->all);
    if (ch->state == CV_GATES_CHANNEL_OPEN)
        remove_id(ch);
    free(ch->waiting);
    cv_wipe(ch, sizeof *ch);
    ch->state = CV_GATES_CHANNEL_FREE;
}

void cv_gates_channel_lost(struct cv_gates_channel *ch, const char *why)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_path_addr path = cv_gates_channel_path(ch);
    uint8_t tag[CV_GATE_TAG];
    bool tell = ch->claimed;

    memcpy(tag, ch->tag, sizeof tag);
    cv_gates_channel_free(ch);
    if (tell)
        g->events->gone(g->user, tag, &path, why);
}

void cv_gates_give_back(struct cv_gates_gate *gate, uint32_t id)
{
    struct cv_gate_frame f = {.type = CV_GATE_CLOSE};

    f.u.channel = id;
    (void)cv_gatelink_send(gate->link, &f);
}

void cv_gates_channel_give_up(struct cv_gates_channel *ch, const char *why)
{
    if (ch->state == CV_GATES_CHANNEL_OPEN)
        cv_gates_give_back(ch->gate, ch->id);
    cv_gates_channel_lost(ch, why);
}

void cv_gates_channel_hold(struct cv_gates_channel *ch, const uint8_t *data,
                           size_t len)
{
    struct cv_gates_waiting *w;

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

static int send_by_link(struct cv_gates_channel *ch, const uint8_t *data,
                        size_t len)
{
    struct cv_gate_frame f = {.type = CV_GATE_DATA};

    f.u.data.channel = ch->id;
    f.u.data.packet = CV_BYTES(data, len);
    return cv_gatelink_send(ch->gate->link, &f);
}

static struct cv_addr udp_address(const struct cv_gates_gate *gate)
{
    struct cv_addr to = cv_gatelink_remote(gate->link);

    to.port = gate->welcome.udp_port;
    return to;
}

/* A train of packets, each behind its header. */
static int send_by_udp(struct cv_gates_channel *ch, const uint8_t *data,
                       size_t len, size_t segment)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_addr to = udp_address(ch->gate);
    uint8_t out[32 * (CV_GATE_UDP_HEADER + CV_GATE_PACKET_MAX)];
    struct cv_writer w;
    int err = CV_OK;

    if (ch->since == 0) {
        ch->since = cv_gates_now(g);
        cv_gates_wake(g);
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
    struct cv_gates_channel *ch = by_path(g, to);
    int err = CV_OK;

    if (!ch || segment > CV_GATE_PACKET_MAX)
        return CV_ERR_IO;
    if (ch->state == CV_GATES_CHANNEL_OPEN && ch->bound)
        return send_by_udp(ch, data, len, segment);
    for (size_t at = 0; at < len && err == CV_OK; at += segment) {
        size_t n = len - at < segment ? len - at : segment;

        if (ch->state == CV_GATES_CHANNEL_OPEN)
            err = send_by_link(ch, data + at, n);
        else if (ch->state == CV_GATES_CHANNEL_WANTED || ch->claimed)
            cv_gates_channel_hold(ch, data + at,
                                  n); /* the answer to a ring is quick */
    }
    if (ch->state == CV_GATES_CHANNEL_WANTED && !ch->asked) {
        ch->ask_at = cv_gates_now(g);
        cv_gates_wake(
            g); /* at the end of this turn, so that the packet is there */
    }
    return err == CV_ERR_CLOSED ? CV_ERR_IO : err;
}

/* ---- opening ------------------------------------------------------------ */

/* The knock and the first packet of QUIC. */
static bool send_ring(struct cv_gates_channel *ch)
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

static void ask_for(struct cv_gates_channel *ch)
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

bool cv_gates_channel_ring_later(struct cv_gates_channel *ch)
{
    struct cv_gates *g = ch->gate->all;
    uint8_t more;
    cv_time at;

    cv_random(g->config.rng, &more, sizeof more);
    at = cv_gates_now(g) + CV_GATES_AGAIN + CV_GATES_AGAIN * more / UINT8_MAX;
    if (at >= ch->open_by)
        return false;
    ch->ring_at = at;
    cv_gates_wake(g);
    return true;
}

/* Most often before the channel is open. */
void cv_gates_channel_rang(struct cv_gates_channel *ch)
{
    struct cv_gates *g = ch->gate->all;

    if (ch->state == CV_GATES_CHANNEL_OPEN && g->events->reached)
        g->events->reached(g->user, ch->tag);
}

void cv_gates_channel_opened(struct cv_gates_channel *ch,
                             const struct cv_gate_frame *opened)
{
    struct cv_gates_gate *gate = ch->gate;
    struct cv_gates *g = gate->all;
    bool caller = ch->state == CV_GATES_CHANNEL_WANTED;

    ch->state = CV_GATES_CHANNEL_OPEN;
    add_id(ch, opened->u.opened.channel);
    memcpy(ch->key, opened->u.opened.key, CV_GATE_CHANNEL);
    ch->bind_at = gate->welcome.udp_port != 0 ? cv_gates_now(g) : CV_NEVER;
    if (ch->claimed) {
        for (unsigned i = 0; i < ch->n_waiting; i++)
            (void)send_by_link(ch, ch->waiting[i].data, ch->waiting[i].len);
        ch->n_waiting = 0;
    }
    if (!ch->claimed || (caller && ch->knock_len == 0))
        g->events->opened(g->user, ch->tag);
    else if (caller && ch->ring_at == CV_NEVER && g->events->reached)
        g->events->reached(g->user, ch->tag);
    cv_gates_wake(g);
}

/* ---- UDP ---------------------------------------------------------------- */

static void bind_again(struct cv_gates_channel *ch, cv_time now)
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
static void give_up_udp(struct cv_gates_channel *ch, cv_time now)
{
    struct cv_gate_frame f = {.type = CV_GATE_UNBIND, .u.channel = ch->id};

    if (ch->bound) {
        cv_debug(ch->gate->all->config.log,
                 "gates: UDP to the gate has gone silent");
        (void)cv_gatelink_send(ch->gate->link, &f);
        cv_gatelink_ask(ch->gate->link);
    }
    ch->bound = false;
    ch->since = 0;
    ch->bind_tries = 0;
    memset(ch->cookie, 0, sizeof ch->cookie);
    ch->bind_at = now + CV_GATES_BIND;
}

static void step_udp(struct cv_gates_channel *ch, cv_time now)
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

static void on_bound(struct cv_gates_channel *ch, const uint8_t *data,
                     size_t len, cv_time now)
{
    struct cv_gate_bind bound;

    if (cv_gate_bound_read(&bound, data, len, ch->key) != CV_OK ||
        bound.counter != ch->counter)
        return;
    ch->since = 0;
    ch->bind_tries = 0;
    if (memcmp(bound.cookie, ch->cookie, sizeof bound.cookie) == 0) {
        ch->bound = true;
        ch->bind_at = now + cv_keep_within(CV_GATES_BIND, ch->gate->all->life);
    } else { /* ours was none, or is too old */
        memcpy(ch->cookie, bound.cookie, sizeof ch->cookie);
        bind_again(ch, now);
    }
}

void cv_gates_channel_packet(struct cv_gates_channel *ch, const uint8_t *data,
                             size_t len)
{
    struct cv_gates *g = ch->gate->all;
    struct cv_path_addr path = cv_gates_channel_path(ch);

    if (ch->claimed)
        g->events->packet(g->user, &path, data, len);
    else
        cv_gates_channel_hold(ch, data, len);
}

void cv_gates_udp_input(struct cv_gates *g, const struct cv_addr *from,
                        const uint8_t *data, size_t len)
{
    struct cv_gates_channel *ch;
    uint32_t id;

    if (len <= CV_GATE_UDP_HEADER)
        return;
    id = (uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 |
         (uint32_t)data[3] << 8 | data[4];
    for (ch = *place_of(g, id); ch; ch = ch->same_id) {
        struct cv_addr at = udp_address(ch->gate);

        if (ch->id == id && cv_addr_equal(&at, from))
            break;
    }
    if (!ch)
        return;
    if (data[0] == CV_GATE_UDP_BOUND) {
        on_bound(ch, data, len, cv_gates_now(g));
        cv_gates_wake(g);
    } else if (data[0] == CV_GATE_UDP_DATA) {
        ch->since = 0;
        cv_gates_channel_packet(ch, data + CV_GATE_UDP_HEADER,
                                len - CV_GATE_UDP_HEADER);
    }
}

/* ---- whose it is -------------------------------------------------------- */

int cv_gates_claim(struct cv_gates *g, const uint8_t tag[CV_GATE_TAG],
                   struct cv_path_addr *path)
{
    /* The other side may have rung at several gates. */
    for (unsigned i = 0; i < CV_GATES_CHANNELS; i++) {
        struct cv_gates_channel *ch = &g->channel[i];

        if (ch->state == CV_GATES_CHANNEL_FREE || ch->claimed ||
            memcmp(ch->tag, tag, CV_GATE_TAG) != 0)
            continue;
        ch->claimed = true;
        *path = cv_gates_channel_path(ch);
        cv_gates_wake(g);
        return CV_OK;
    }
    return CV_ERR_NOTFOUND;
}

void cv_gates_deliver(struct cv_gates *g, const struct cv_path_addr *path)
{
    struct cv_gates_channel *ch = by_path(g, path);
    struct cv_gates_waiting *waiting;
    unsigned n;

    if (!ch || ch->state == CV_GATES_CHANNEL_WANTED)
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
    struct cv_gates_channel *ch = by_path(g, path);

    if (!ch)
        return;
    if (ch->state == CV_GATES_CHANNEL_OPEN)
        cv_gates_give_back(ch->gate, ch->id);
    cv_gates_channel_free(ch);
}

/* NULL: it is no more. */
static const struct cv_gates_channel *look_at(const struct cv_gates *g,
                                              const struct cv_path_addr *path)
{
    const struct cv_gates_channel *ch =
        &g->channel[path->channel % CV_GATES_CHANNELS];

    return ch->state != CV_GATES_CHANNEL_FREE && ch->number == path->channel
               ? ch
               : NULL;
}

cv_time cv_gates_rtt(const struct cv_gates *g, const struct cv_path_addr *path)
{
    const struct cv_gates_channel *ch = look_at(g, path);

    return ch ? cv_gatelink_rtt(ch->gate->link) : 0;
}

bool cv_gates_is_udp(const struct cv_gates *g, const struct cv_path_addr *path)
{
    const struct cv_gates_channel *ch = look_at(g, path);

    return ch && ch->bound;
}

cv_time cv_gates_channel_step(struct cv_gates_channel *ch, cv_time now)
{
    cv_time next;

    if (ch->state == CV_GATES_CHANNEL_WANTED && now >= ch->ask_at)
        ask_for(ch);
    if (now >= ch->ring_at) {
        ch->ring_at = CV_NEVER;
        (void)send_ring(ch);
    }
    if (ch->state != CV_GATES_CHANNEL_OPEN || !ch->claimed) {
        if (now >= ch->open_by) {
            const char *why = cv_gatelink_trouble(ch->gate->link);

            cv_gates_channel_give_up(
                ch, why[0] ? why : "nobody answers at the peer's gate");
            return CV_NEVER;
        }
        next = cv_time_min(ch->ring_at, ch->open_by);
        return ch->asked || now >= ch->ask_at ? next
                                              : cv_time_min(next, ch->ask_at);
    }
    step_udp(ch, now);
    next = cv_time_min(ch->ring_at, ch->bind_at);
    /* What was sent over UDP is to be answered soon. */
    return ch->bound && ch->since != 0 && ch->bind_tries == 0
               ? cv_time_min(next, ch->since + CV_GATES_SILENT)
               : next;
}
