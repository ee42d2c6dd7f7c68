#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

struct cv_gate_room *cv_gate_room_find(struct cv_gate_core *core,
                                       const uint8_t name[CV_GATE_ROOM])
{
    return cv_table_find(&core->rooms, name);
}

static struct cv_gate_room *find_or_add(struct cv_gate_core *core,
                                        const uint8_t name[CV_GATE_ROOM])
{
    struct cv_gate_room *room = cv_gate_room_find(core, name);

    if (room)
        return room;
    room = calloc(1, sizeof *room);
    if (!room)
        return NULL;
    memcpy(room->name, name, CV_GATE_ROOM);
    cv_table_add(&core->rooms, room);
    return room;
}

/* ---- mails -------------------------------------------------------------- */

static void drop_first_mail(struct cv_gate_core *core,
                            struct cv_gate_room *room)
{
    struct cv_gate_mail *m = room->mails;

    room->mails = m->next;
    room->n_mails--;
    m->from->mails--;
    cv_gate_source_release(m->from);
    core->mails--;
    core->mail_bytes -= m->len;
    free(m);
}

static void free_if_empty(struct cv_gate_core *core, struct cv_gate_room *room)
{
    if (room->owner || room->mails)
        return;
    cv_table_remove(&core->rooms, room);
    free(room);
}

/* The owner may send it to itself by a ticket: then without the packet. */
static bool deliver(struct cv_gate_client *owner, const uint8_t *room,
                    const uint8_t *tag, struct cv_bytes knock,
                    struct cv_bytes packet)
{
    struct cv_gate_frame f;

    memset(&f, 0, sizeof f);
    f.type = CV_GATE_RUNG;
    memcpy(f.u.ring.room, room, CV_GATE_ROOM);
    memcpy(f.u.ring.tag, tag, CV_GATE_TAG);
    f.u.ring.knock = knock;
    f.u.ring.packet = packet;
    if (owner->link)
        return cv_gate_client_send(owner, &f) == CV_OK;
    f.u.ring.packet.len = 0;
    return cv_gate_tell(owner, &f);
}

void cv_gate_room_hand_over(struct cv_gate_core *core,
                            struct cv_gate_room *room)
{
    while (room->mails) {
        struct cv_gate_mail *m = room->mails;

        if (m->until > core->now) {
            if (!deliver(room->owner, room->name, m->tag,
                         CV_BYTES(m->knock, m->len), (struct cv_bytes){0}))
                return; /* its link is full: the next sweep tries again */
            core->counters.rings_delivered++;
        }
        drop_first_mail(core, room);
    }
}

static enum cv_gate_rang keep(struct cv_gate_core *core,
                              struct cv_gate_source *from,
                              const struct cv_gate_frame *ring)
{
    const struct cv_gate_limits *lim = &core->config.limits;
    struct cv_bytes knock = ring->u.ring.knock;
    struct cv_gate_room *room;
    struct cv_gate_mail *m, **end;

    if (from->mails >= lim->mails_per_source || core->mails >= lim->mails)
        return CV_GATE_RANG_FULL;
    room = find_or_add(core, ring->u.ring.room);
    if (!room)
        return CV_GATE_RANG_FULL;
    m = room->n_mails < lim->mails_per_room ? malloc(sizeof *m + knock.len)
                                            : NULL;
    if (!m) {
        free_if_empty(core, room);
        return CV_GATE_RANG_FULL;
    }
    *m = (struct cv_gate_mail){
        .from = from, .until = core->now + CV_GATE_MAIL_TIME, .len = knock.len};
    memcpy(m->tag, ring->u.ring.tag, CV_GATE_TAG);
    memcpy(m->knock, knock.data, knock.len);
    for (end = &room->mails; *end; end = &(*end)->next)
        ;
    *end = m;
    room->n_mails++;
    from->mails++;
    cv_gate_source_hold(from);
    core->mails++;
    core->mail_bytes += knock.len;
    return CV_GATE_RANG_STORED;
}

int cv_gate_room_ring(struct cv_gate_client *c, struct cv_gate_source *from,
                      const struct cv_gate_frame *ring,
                      enum cv_gate_rang *result)
{
    struct cv_gate_core *core = c->core;
    struct cv_gate_room *room = cv_gate_room_find(core, ring->u.ring.room);

    if (!cv_bucket_take(&from->rings, core->now)) {
        core->counters.rings_refused++;
        return CV_GATE_REFUSAL_RATE;
    }
    if (room && room->owner &&
        deliver(room->owner, room->name, ring->u.ring.tag, ring->u.ring.knock,
                ring->u.ring.packet)) {
        core->counters.rings_delivered++;
        *result = CV_GATE_RANG_DELIVERED;
        return 0;
    }
    *result = keep(core, from, ring);
    if (*result == CV_GATE_RANG_STORED)
        core->counters.rings_stored++;
    else
        core->counters.rings_refused++;
    return 0;
}

/* ---- rooms -------------------------------------------------------------- */

int cv_gate_room_register(struct cv_gate_client *c,
                          const uint8_t r[CV_GATE_ROOM_KEY],
                          uint8_t name[CV_GATE_ROOM])
{
    struct cv_gate_core *core = c->core;
    struct cv_gate_room *room;

    cv_gate_room(name, &c->key, r);
    if (!c->may_register)
        return CV_GATE_REFUSAL_POLICY;
    room = cv_gate_room_find(core, name);
    if (room && room->owner == c)
        return 0;
    if (c->n_rooms >= core->config.limits.rooms_per_client)
        return CV_GATE_REFUSAL_LIMIT;
    if (room && room->owner) /* its former link, not yet noticed as dead */
        cv_gate_room_leave(room->owner, name);
    room = find_or_add(core, name);
    if (!room)
        return CV_GATE_REFUSAL_FULL;
    room->owner = c;
    room->next = c->rooms;
    c->rooms = room;
    c->n_rooms++;
    core->counters.registrations++;
    return 0;
}

void cv_gate_room_leave(struct cv_gate_client *c,
                        const uint8_t name[CV_GATE_ROOM])
{
    for (struct cv_gate_room **p = &c->rooms; *p; p = &(*p)->next) {
        struct cv_gate_room *room = *p;

        if (memcmp(room->name, name, CV_GATE_ROOM) != 0)
            continue;
        *p = room->next;
        room->owner = NULL;
        room->next = NULL;
        c->n_rooms--;
        free_if_empty(c->core, room);
        return;
    }
}

void cv_gate_rooms_leave_all(struct cv_gate_client *c)
{
    while (c->rooms)
        cv_gate_room_leave(c, c->rooms->name);
}

void cv_gate_rooms_sweep(struct cv_gate_core *core)
{
    struct cv_gate_room *room = cv_table_next(&core->rooms, NULL), *next;

    for (; room; room = next) {
        next = cv_table_next(&core->rooms, room);
        while (room->mails && room->mails->until <= core->now)
            drop_first_mail(core, room);
        if (room->owner && room->mails)
            cv_gate_room_hand_over(core, room);
        free_if_empty(core, room);
    }
}

void cv_gate_rooms_free(struct cv_gate_core *core)
{
    struct cv_gate_room *room;

    while ((room = cv_table_next(&core->rooms, NULL)) != NULL) {
        while (room->mails)
            drop_first_mail(core, room);
        cv_table_remove(&core->rooms, room);
        free(room);
    }
}
