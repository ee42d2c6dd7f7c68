#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

static struct cv_gate_channel *channel_of(struct cv_gate_end *end)
{
    struct cv_gate_end *first = end - end->which;

    return (struct cv_gate_channel *)(void *)((uint8_t *)first -
                                              offsetof(struct cv_gate_channel,
                                                       end));
}

static struct cv_gate_end *other_of(struct cv_gate_end *end)
{
    return end->which == 0 ? end + 1 : end - 1;
}

static struct cv_gate_end *find_end(const struct cv_gate_core *core,
                                    uint32_t id)
{
    return cv_table_find(&core->ends, &id);
}

/* Of this client, or NULL. */
static struct cv_gate_end *own_end(struct cv_gate_client *c, uint32_t id)
{
    struct cv_gate_end *end = find_end(c->core, id);

    return end && end->client == c ? end : NULL;
}

static void end_init(struct cv_gate_channel *ch, uint8_t which,
                     struct cv_gate_client *c)
{
    struct cv_gate_end *end = &ch->end[which];
    struct cv_gate_core *core = c->core;

    end->which = which;
    end->client = c;
    do
        cv_random(core->config.rng, &end->id, sizeof end->id);
    while (end->id == 0 || find_end(core, end->id));
    cv_random(core->config.rng, end->key, sizeof end->key);
    cv_table_add(&core->ends, end);
    end->next = c->ends;
    c->ends = end;
    c->n_ends++;
}

static void end_fini(struct cv_gate_end *end)
{
    struct cv_gate_client *c = end->client;

    cv_table_remove(&c->core->ends, end);
    for (struct cv_gate_end **p = &c->ends; *p; p = &(*p)->next)
        if (*p == end) {
            *p = end->next;
            break;
        }
    c->n_ends--;
    cv_wipe(end->key, sizeof end->key);
}

static void tell_gone(struct cv_gate_end *end)
{
    struct cv_gate_frame f = {.type = CV_GATE_GONE, .u.channel = end->id};

    (void)cv_gate_client_send(end->client, &f);
}

static void destroy(struct cv_gate_channel *ch)
{
    end_fini(&ch->end[0]);
    end_fini(&ch->end[1]);
    free(ch);
}

static void tell_opened(const struct cv_gate_end *end,
                        const struct cv_gate_frame *open)
{
    struct cv_gate_frame f;

    memset(&f, 0, sizeof f);
    f.type = CV_GATE_OPENED;
    memcpy(f.u.opened.room, open->u.open.room, CV_GATE_ROOM);
    memcpy(f.u.opened.tag, open->u.open.tag, CV_GATE_TAG);
    f.u.opened.channel = end->id;
    memcpy(f.u.opened.key, end->key, CV_GATE_CHANNEL);
    f.u.opened.caller = end->which == 0;
    (void)cv_gate_client_send(end->client, &f);
    cv_wipe(&f, sizeof f);
}

/* Channels that were opened to this room of `owner`. */
static unsigned in_room(const struct cv_gate_client *owner,
                        const uint8_t room[CV_GATE_ROOM])
{
    unsigned n = 0;

    for (struct cv_gate_end *e = owner->ends; e; e = e->next)
        n += e->which == 1 &&
             memcmp(channel_of(e)->room, room, CV_GATE_ROOM) == 0;
    return n;
}

int cv_gate_channel_open(struct cv_gate_client *c,
                         const struct cv_gate_frame *f)
{
    struct cv_gate_core *core = c->core;
    const struct cv_gate_limits *lim = &core->config.limits;
    struct cv_gate_room *room = cv_gate_room_find(core, f->u.open.room);
    struct cv_gate_channel *ch;

    if (!room || !room->owner || !room->owner->link)
        return CV_GATE_REFUSAL_UNKNOWN;
    if (room->owner == c)
        return CV_GATE_REFUSAL_FORMAT;
    if (c->n_ends >= lim->channels_per_client ||
        room->owner->n_ends >= lim->channels_per_client * 4 ||
        in_room(room->owner, room->name) >= lim->channels_per_room)
        return CV_GATE_REFUSAL_LIMIT;
    ch = calloc(1, sizeof *ch);
    if (!ch)
        return CV_GATE_REFUSAL_FULL;
    memcpy(ch->room, room->name, CV_GATE_ROOM);
    ch->heard = core->now;
    end_init(ch, 0, c);
    end_init(ch, 1, room->owner);
    core->counters.channels_opened++;
    tell_opened(&ch->end[1], f);
    tell_opened(&ch->end[0], f);
    return 0;
}

void cv_gate_channel_close(struct cv_gate_client *c, uint32_t id)
{
    struct cv_gate_end *end = own_end(c, id);

    if (!end)
        return;
    tell_gone(other_of(end));
    destroy(channel_of(end));
}

void cv_gate_channel_unbind(struct cv_gate_client *c, uint32_t id)
{
    struct cv_gate_end *end = own_end(c, id);

    if (end)
        end->bound = false;
}

void cv_gate_channels_close_all(struct cv_gate_client *c)
{
    while (c->ends)
        cv_gate_channel_close(c, c->ends->id);
}

void cv_gate_channel_vouch(struct cv_gate_client *c, uint32_t id)
{
    struct cv_gate_core *core = c->core;
    struct cv_gate_end *end = own_end(c, id), *other;
    struct cv_gate_frame f;

    if (!end) {
        cv_gate_client_refuse(c, CV_GATE_VOUCH, CV_GATE_REFUSAL_UNKNOWN, NULL);
        return;
    }
    other = other_of(end);
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_VOUCHED;
    f.u.vouched.channel = id;
    f.u.vouched.addr = other->bound ? other->udp : other->client->addr;
    f.u.vouched.addr.port = 0;
    f.u.vouched.time = core->unix_now / 1000;
    if (cv_gate_vouch_sign(f.u.vouched.sig, core->config.key, &c->key,
                           &other->client->key, &f.u.vouched.addr,
                           f.u.vouched.time) == CV_OK)
        (void)cv_gate_client_send(c, &f);
}

/* To the other end over its link. */
static void pass_by_link(struct cv_gate_core *core, struct cv_gate_end *to,
                         struct cv_bytes packet)
{
    struct cv_gate_frame f = {.type = CV_GATE_DATA};

    f.u.data.channel = to->id;
    f.u.data.packet = packet;
    if (cv_gate_client_send(to->client, &f) != CV_OK) {
        core->counters.packets_slow++;
        return;
    }
    core->counters.packets_link++;
    core->counters.bytes_passed += packet.len;
}

static void put_header(uint8_t out[CV_GATE_UDP_HEADER], uint32_t id)
{
    out[0] = CV_GATE_UDP_DATA;
    out[1] = (uint8_t)(id >> 24);
    out[2] = (uint8_t)(id >> 16);
    out[3] = (uint8_t)(id >> 8);
    out[4] = (uint8_t)id;
}

void cv_gate_channel_data(struct cv_gate_client *c, uint32_t id,
                          struct cv_bytes packet)
{
    struct cv_gate_core *core = c->core;
    struct cv_gate_end *end = own_end(c, id), *to;
    uint8_t out[CV_GATE_UDP_HEADER + CV_GATE_PACKET_MAX];

    if (!end) {
        core->counters.packets_unknown++;
        return;
    }
    /* The link is paused when it is too fast: nothing of it is dropped. */
    cv_gate_client_owe(c, packet.len);
    channel_of(end)->heard = core->now;
    to = other_of(end);
    if (!to->bound) {
        pass_by_link(core, to, packet);
        return;
    }
    put_header(out, to->id);
    memcpy(out + CV_GATE_UDP_HEADER, packet.data, packet.len);
    core->out->udp(core->user, &to->udp, out, CV_GATE_UDP_HEADER + packet.len);
    core->counters.packets_udp++;
    core->counters.bytes_passed += packet.len;
}

static uint32_t id_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* Of a train: how many bytes from the front are packets along one channel. */
static size_t run_of(const uint8_t *data, size_t len, size_t segment)
{
    for (size_t at = segment; at < len; at += segment)
        if (len - at <= CV_GATE_UDP_HEADER ||
            memcmp(data + at, data, CV_GATE_UDP_HEADER) != 0)
            return at;
    return len;
}

static void pass_all_by_link(struct cv_gate_core *core, struct cv_gate_end *to,
                             const uint8_t *data, size_t len, size_t segment)
{
    for (size_t at = 0; at < len; at += segment) {
        size_t n = len - at < segment ? len - at : segment;

        pass_by_link(
            core, to,
            CV_BYTES(data + at + CV_GATE_UDP_HEADER, n - CV_GATE_UDP_HEADER));
    }
}

size_t cv_gate_channel_forward(struct cv_gate_core *core,
                               const struct cv_addr *from, uint8_t *data,
                               size_t len, size_t segment,
                               const struct cv_addr **to)
{
    struct cv_gate_end *end, *other;
    size_t run, packets, bytes;

    if (segment <= CV_GATE_UDP_HEADER ||
        segment > CV_GATE_UDP_HEADER + CV_GATE_PACKET_MAX) {
        core->counters.bad_frames++;
        return segment;
    }
    run = run_of(data, len, segment);
    packets = (run + segment - 1) / segment;
    bytes = run - packets * CV_GATE_UDP_HEADER;
    end = find_end(core, id_at(data + 1));
    if (!end || !end->bound || !cv_addr_equal(&end->udp, from)) {
        core->counters.packets_unknown += packets;
        return run;
    }
    /* What it has left may be overdrawn by one train, which is paid for before
     * the next one. */
    if (!cv_gate_client_charge(end->client, bytes)) {
        core->counters.packets_limited += packets;
        return run;
    }
    end->client->heard = core->now;
    channel_of(end)->heard = core->now;
    other = other_of(end);
    if (!other->bound) {
        pass_all_by_link(core, other, data, run, segment);
        return run;
    }
    for (size_t at = 0; at < run; at += segment)
        put_header(data + at, other->id);
    *to = &other->udp;
    core->counters.packets_udp += packets;
    core->counters.bytes_passed += bytes;
    return run;
}

void cv_gate_channel_bind(struct cv_gate_core *core, const struct cv_addr *from,
                          const uint8_t *data, size_t len)
{
    uint8_t out[CV_GATE_UDP_BIND_LEN];
    struct cv_gate_bind bind, bound;
    struct cv_gate_end *end;
    struct cv_writer w;
    uint32_t id;

    if (cv_gate_bind_channel(data, len, &id) != CV_OK) {
        core->counters.bad_frames++;
        return;
    }
    end = find_end(core, id);
    /* Who does not know an id can neither cost a hash nor a place in a list;
     * who does pays for it, wherever it says that it comes from. */
    if (end && !cv_bucket_take(&end->client->source->asks, core->now)) {
        core->counters.packets_limited++;
        return;
    }
    if (!end || cv_gate_bind_read(&bind, data, len, end->key) != CV_OK ||
        bind.counter <= end->counter) {
        core->counters.packets_unknown++;
        return;
    }
    end->counter = bind.counter;
    bound = (struct cv_gate_bind){
        .channel = id, .counter = bind.counter, .seen = *from};
    cv_gate_make_cookie(core, bound.cookie, from, CV_BYTES(&end->id, 4));
    if (cv_gate_cookie_is_good(core, bind.cookie, from,
                               CV_BYTES(&end->id, 4))) {
        end->bound = true;
        end->udp = *from;
        end->client->heard = core->now;
        memcpy(bound.cookie, bind.cookie, CV_GATE_COOKIE);
    }
    cv_writer_init(&w, out, sizeof out);
    if (cv_gate_bound_write(&w, &bound, end->key) == CV_OK)
        core->out->udp(core->user, from, out, w.len);
}

void cv_gate_channels_sweep(struct cv_gate_core *core)
{
    struct cv_gate_end *end = cv_table_next(&core->ends, NULL);

    while (end) {
        struct cv_gate_channel *ch = channel_of(end);

        if (end->which == 0 && core->now - ch->heard >= CV_GATE_CHANNEL_IDLE) {
            tell_gone(&ch->end[0]);
            tell_gone(&ch->end[1]);
            destroy(ch);
            end = cv_table_next(&core->ends, NULL); /* both ends are gone */
        } else {
            end = cv_table_next(&core->ends, end);
        }
    }
}
