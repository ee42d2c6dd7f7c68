#include "session/meeting_struct.h"

#include <stdlib.h>

/* The only place that moves a neighbour nearer or further. */
void cv_neighbour_set_reach(struct cv_neighbour *n, enum cv_reach to)
{
    static const char *const name[] = {"none",  "knocked", "punching", "proved",
                                       "hello", "waiting", "member"};
    char key[9];

    if (to == n->reach)
        return;
    cv_debug(n->meeting->node->log, "meeting: %s -> %s, peer=%s",
             name[n->reach], name[to], cv_key_short(&n->node, key));
    n->reach = to;
    n->reached = cv_meeting_now(n->meeting);
}

struct cv_neighbour *cv_meeting_find(const struct cv_meeting *m,
                                     const struct cv_key *node)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (cv_key_equal(&n->node, node))
            return n;
    return NULL;
}

static bool is_idle(const struct cv_neighbour *n)
{
    return n->peer == NULL && !n->called_out && !n->called_in && !n->pointer &&
           !n->early;
}

void cv_meeting_remove(struct cv_meeting *m, struct cv_neighbour *gone)
{
    struct cv_neighbour **at = &m->neighbours;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    m->n_known--;
    if (gone->user != NULL && m->events->forget != NULL)
        m->events->forget(m->user, gone);
    free(gone);
}

/* Make room by forgetting somebody who is not there: strangers first, then
 * those whose pointer only is known. */
static bool evict(struct cv_meeting *m)
{
    struct cv_neighbour *pick = NULL;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (is_idle(n) && (pick == NULL || n->id == 0 || n->id < pick->id))
            pick = n;
    if (pick == NULL)
        for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
            if (n->peer == NULL && !n->called_out && !n->called_in && !n->early)
                pick = n; /* the list's last is the oldest */
    if (pick == NULL)
        return false;
    cv_meeting_remove(m, pick);
    return true;
}

struct cv_neighbour *cv_meeting_find_or_add(struct cv_meeting *m,
                                            const struct cv_key *node)
{
    struct cv_neighbour *n = cv_meeting_find(m, node);

    if (n != NULL)
        return n;
    if (m->n_known >= CV_MEETING_KNOWN && !evict(m))
        return NULL;
    n = calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    n->meeting = m;
    n->silent_at = n->recall_at = CV_NEVER;
    n->node = *node;
    n->next = m->neighbours;
    m->neighbours = n;
    m->n_known++;
    return n;
}

bool cv_neighbour_is_member(const struct cv_neighbour *n)
{
    return n->peer != NULL && cv_peer_is_member(n->peer);
}

/* Connected, but no path has worked for a while. */
bool cv_neighbour_is_silent(const struct cv_neighbour *n)
{
    return n->peer != NULL && cv_meeting_now(n->meeting) >= n->silent_at;
}

bool cv_neighbour_serves(const struct cv_neighbour *n)
{
    return n->role >= CV_ROLE_EDITOR;
}

bool cv_meeting_is_here(const struct cv_neighbour *n)
{
    return cv_neighbour_is_member(n) && !cv_neighbour_is_silent(n);
}

unsigned cv_meeting_count_here(const struct cv_meeting *m)
{
    unsigned count = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        count += cv_meeting_is_here(n);
    return count;
}

unsigned cv_meeting_count_members(const struct cv_meeting *m)
{
    unsigned count = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        count += cv_neighbour_is_member(n);
    return count;
}

enum cv_room cv_meeting_room(const struct cv_meeting *m,
                             const struct cv_neighbour *but)
{
    unsigned members = 0, strangers = 0, serving = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (n == but || n->peer == NULL || cv_neighbour_is_silent(n))
            continue;
        members += cv_neighbour_is_member(n);
        strangers += !cv_neighbour_is_member(n);
        serving += cv_neighbour_is_member(n) && cv_neighbour_serves(n);
    }
    if (strangers >= CV_MEETING_STRANGERS)
        return CV_ROOM_NONE;
    if (members < CV_MEETING_HARD)
        return CV_ROOM_TO_STAY;
    return serving > 0 ? CV_ROOM_TO_ADMIT : CV_ROOM_NONE;
}

struct cv_neighbour *cv_meeting_gives_way(const struct cv_meeting *m)
{
    struct cv_neighbour *pick = NULL;
    unsigned connected = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        connected += n->peer != NULL;
        if (cv_neighbour_is_silent(n) &&
            (pick == NULL || n->silent_at < pick->silent_at))
            pick = n;
    }
    return connected < CV_MEETING_HARD + CV_MEETING_STRANGERS ? NULL : pick;
}

bool cv_neighbour_is_ours(const struct cv_meeting *m,
                          const struct cv_neighbour *n)
{
    return n->identity_known &&
           cv_key_equal(&n->identity, &m->node->identity.pub);
}

bool cv_meeting_may_admit(const struct cv_meeting *m)
{
    const struct cv_grants *g = &m->grants;

    return g->n > 0 && (g->chain[g->n - 1].flags & CV_GRANT_ADMIT) != 0;
}
