#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

/* Several pointers lie at one location: they are chained in the table, which
 * is walked with cv_table_find() for the first and next_at() for the rest. */
static struct cv_gate_pointer *next_at(const struct cv_gate_pointer *p)
{
    struct cv_table_node *node = p->node.next;

    for (; node; node = node->next) {
        struct cv_gate_pointer *q =
            (struct cv_gate_pointer *)(void *)((uint8_t *)node -
                                               offsetof(struct cv_gate_pointer,
                                                        node));

        if (memcmp(q->loc, p->loc, sizeof q->loc) == 0)
            return q;
    }
    return NULL;
}

static void drop(struct cv_gate_core *core, struct cv_gate_pointer *p)
{
    cv_table_remove(&core->shelf, p);
    cv_gate_source_release(p->from);
    core->pointer_bytes -= p->len;
    free(p);
}

/* Of this location: how many, that of `owner`, and the oldest of `from`. */
struct shelf {
    unsigned n;
    struct cv_gate_pointer *own, *oldest;
};

static struct shelf look(struct cv_gate_core *core, const uint8_t loc[20],
                         const struct cv_gate_client *c)
{
    struct shelf s = {0};
    struct cv_gate_pointer *p = cv_table_find(&core->shelf, loc);

    for (; p; p = next_at(p)) {
        s.n++;
        if (cv_key_equal(&p->owner, &c->key))
            s.own = p;
        if (p->from == c->source && (!s.oldest || p->until < s.oldest->until))
            s.oldest = p;
    }
    return s;
}

/* All that a client has stored, the oldest of them. */
static unsigned count_own(struct cv_gate_core *core,
                          const struct cv_gate_client *c,
                          struct cv_gate_pointer **oldest)
{
    unsigned n = 0;

    *oldest = NULL;
    for (struct cv_gate_pointer *p = cv_table_next(&core->shelf, NULL); p;
         p = cv_table_next(&core->shelf, p)) {
        if (!cv_key_equal(&p->owner, &c->key))
            continue;
        n++;
        if (!*oldest || p->until < (*oldest)->until)
            *oldest = p;
    }
    return n;
}

/* Make room for one more; false: there is none. */
static bool make_room(struct cv_gate_client *c, const uint8_t loc[20])
{
    struct cv_gate_core *core = c->core;
    const struct cv_gate_limits *lim = &core->config.limits;
    struct shelf s = look(core, loc, c);
    struct cv_gate_pointer *oldest;

    if (s.own) { /* it has a newer one */
        drop(core, s.own);
        return true;
    }
    if (count_own(core, c, &oldest) >= lim->pointers_per_client) {
        drop(core, oldest);
        s = look(core, loc, c);
    }
    if (s.n >= lim->pointers_per_location || core->shelf.n >= lim->pointers) {
        if (!s.oldest)
            return false;
        drop(core, s.oldest);
    }
    return true;
}

int cv_gate_shelf_store(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    struct cv_gate_core *core = c->core;
    struct cv_bytes sealed = f->u.store.sealed;
    struct cv_gate_pointer *p;

    if (!cv_bucket_take(&c->source->fetches, core->now))
        return CV_GATE_REFUSAL_RATE;
    if (!make_room(c, f->u.store.loc))
        return CV_GATE_REFUSAL_FULL;
    p = malloc(sizeof *p + sealed.len);
    if (!p)
        return CV_GATE_REFUSAL_FULL;
    *p = (struct cv_gate_pointer){.owner = c->key,
                                  .from = c->source,
                                  .until =
                                      core->now + f->u.store.ttl * CV_SECOND,
                                  .len = sealed.len};
    memcpy(p->loc, f->u.store.loc, sizeof p->loc);
    memcpy(p->sealed, sealed.data, sealed.len);
    cv_gate_source_hold(p->from);
    cv_table_add(&core->shelf, p);
    core->pointer_bytes += p->len;
    core->counters.stored++;
    return 0;
}

int cv_gate_shelf_fetch(struct cv_gate_client *c, const uint8_t loc[20])
{
    struct cv_gate_core *core = c->core;
    struct cv_gate_frame f;

    if (!cv_bucket_take(&c->source->fetches, core->now))
        return CV_GATE_REFUSAL_RATE;
    for (struct cv_gate_pointer *p = cv_table_find(&core->shelf, loc); p;
         p = next_at(p)) {
        if (p->until <= core->now)
            continue;
        memset(&f, 0, sizeof f);
        f.type = CV_GATE_FOUND;
        memcpy(f.u.store.loc, loc, sizeof f.u.store.loc);
        f.u.store.sealed = CV_BYTES(p->sealed, p->len);
        (void)cv_gate_client_send(c, &f);
        core->counters.fetched++;
    }
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_NONE;
    memcpy(f.u.loc, loc, sizeof f.u.loc);
    (void)cv_gate_client_send(c, &f);
    return 0;
}

void cv_gate_shelf_sweep(struct cv_gate_core *core)
{
    struct cv_gate_pointer *p = cv_table_next(&core->shelf, NULL), *next;

    for (; p; p = next) {
        next = cv_table_next(&core->shelf, p);
        if (p->until <= core->now)
            drop(core, p);
    }
}

void cv_gate_shelf_free(struct cv_gate_core *core)
{
    struct cv_gate_pointer *p;

    while ((p = cv_table_next(&core->shelf, NULL)) != NULL)
        drop(core, p);
}
