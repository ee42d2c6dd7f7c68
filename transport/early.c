#include "transport/early.h"
#include <string.h>

static bool is_over(const struct cv_early_check *c, cv_time now)
{
    return !c->used || now - c->at >= CV_EARLY_TIME;
}

static bool is_older(const struct cv_early_check *c,
                     const struct cv_early_check *than)
{
    return !than || c->at < than->at;
}

/* Where the next one goes: in the place of its own forerunner, of the oldest
 * of a source that has its share, into a free one, or of the oldest of all. */
static struct cv_early_check *place_for(struct cv_early *e,
                                        const struct cv_path_addr *from,
                                        const uint8_t *attempt, cv_time now)
{
    struct cv_early_check *oldest = NULL, *oldest_own = NULL, *free = NULL;
    unsigned own = 0;

    for (unsigned i = 0; i < CV_EARLY_CHECKS; i++) {
        struct cv_early_check *c = &e->check[i];

        if (is_over(c, now)) {
            free = c;
            continue;
        }
        if (cv_path_addr_same(&c->from, from) &&
            memcmp(c->attempt, attempt, sizeof c->attempt) == 0)
            return c;
        if (is_older(c, oldest))
            oldest = c;
        if (!cv_addr_same_source(&c->from.remote, &from->remote))
            continue;
        own++;
        if (is_older(c, oldest_own))
            oldest_own = c;
    }
    if (own >= CV_EARLY_A_SOURCE)
        return oldest_own;
    return free ? free : oldest;
}

bool cv_early_hold(struct cv_early *e, const struct cv_path_addr *from,
                   const struct cv_stun *m, cv_time now)
{
    struct cv_early_check *c;

    if (m->raw.len > sizeof c->data || m->username.len != sizeof c->attempt)
        return false;
    c = place_for(e, from, m->username.data, now);
    *c = (struct cv_early_check){
        .used = true, .at = now, .from = *from, .len = (uint8_t)m->raw.len};
    memcpy(c->attempt, m->username.data, sizeof c->attempt);
    memcpy(c->data, m->raw.data, m->raw.len);
    return true;
}

bool cv_early_take(struct cv_early *e, const uint8_t attempt[8], cv_time now,
                   struct cv_early_check *out)
{
    struct cv_early_check *first = NULL;

    for (unsigned i = 0; i < CV_EARLY_CHECKS; i++) {
        struct cv_early_check *c = &e->check[i];

        if (!is_over(c, now) &&
            memcmp(c->attempt, attempt, sizeof c->attempt) == 0 &&
            is_older(c, first))
            first = c;
    }
    if (!first)
        return false;
    *out = *first;
    first->used = false;
    return true;
}
