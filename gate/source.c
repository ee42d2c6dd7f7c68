#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

#define QUIET (60 * CV_SECOND)

static void key_for(uint8_t key[9], const struct cv_addr *from)
{
    memset(key, 0, 9);
    key[0] = from->family;
    memcpy(key + 1, from->ip, from->family == CV_FAMILY_IPV6 ? 8 : 4);
}

struct cv_gate_source *cv_gate_source(struct cv_gate_core *core,
                                      const struct cv_addr *from)
{
    const struct cv_gate_limits *lim = &core->config.limits;
    struct cv_gate_source *s;
    uint8_t key[9];

    key_for(key, from);
    s = cv_table_find(&core->sources, key);
    if (s) {
        s->seen = core->now;
        return s;
    }
    if (core->sources.n >= lim->sources)
        return NULL;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    memcpy(s->key, key, sizeof s->key);
    s->seen = core->now;
    cv_bucket_init(&s->connects, lim->connects_per_source,
                   2 * lim->connects_per_source);
    cv_bucket_init(&s->rings, lim->rings_per_source, lim->rings_burst);
    cv_bucket_init(&s->fetches, lim->fetches_per_source,
                   4 * lim->fetches_per_source);
    cv_bucket_init(&s->asks, lim->asks_per_source, 2 * lim->asks_per_source);
    s->connects.filled = s->rings.filled = s->fetches.filled = s->asks.filled =
        core->now;
    cv_table_add(&core->sources, s);
    return s;
}

void cv_gate_source_hold(struct cv_gate_source *s)
{
    s->users++;
}

void cv_gate_source_release(struct cv_gate_source *s)
{
    s->users--;
}

void cv_gate_sources_sweep(struct cv_gate_core *core)
{
    struct cv_gate_source *s = cv_table_next(&core->sources, NULL), *next;

    for (; s; s = next) {
        next = cv_table_next(&core->sources, s);
        if (s->users > 0 || s->links > 0 || core->now - s->seen < QUIET)
            continue;
        cv_table_remove(&core->sources, s);
        free(s);
    }
}
