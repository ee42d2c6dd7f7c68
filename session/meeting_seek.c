#include "session/meeting_struct.h"

#include <string.h>

void cv_meeting_own_candidates(const struct cv_meeting *m,
                               struct cv_candidates *out)
{
    memset(out, 0, sizeof *out);
    if (m->node->net != NULL)
        cv_net_candidates(m->node->net, out);
}

void cv_neighbour_stop_calling(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;

    if (n->called_out) {
        cv_rendezvous_stop_knocking(m->rv, &n->node);
        if (m->node->net != NULL)
            cv_net_abandon(m->node->net, n->out);
    }
    if (n->called_in && m->node->net != NULL)
        cv_net_abandon(m->node->net, n->in);
    n->called_out = n->called_in = n->by_hand = false;
}

void cv_neighbour_retry_later(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;

    n->next_try =
        cv_meeting_now(m) + cv_finding_backoff(n->tries, m->node->rng);
    n->tries++;
    cv_meeting_wake(m);
}

void cv_neighbour_fail(struct cv_neighbour *n, const char *reason)
{
    struct cv_meeting *m = n->meeting;
    char key[9];

    cv_info(m->node->log, "meeting: not reached, peer=%s, because: %s",
            cv_key_short(&n->node, key), reason);
    cv_text_clean(n->failure, sizeof n->failure, reason, strlen(reason));
    memcpy(m->failure, n->failure, sizeof m->failure);
    cv_meeting_mark(m, CV_MARK_FAILED, &n->node, NULL, n->failure);
    if (n->by_hand)
        n->pointer = false; /* a token serves once */
    cv_neighbour_stop_calling(n);
    if (n->peer == NULL)
        cv_neighbour_set_reach(n, CV_REACH_NONE);
    cv_neighbour_retry_later(n);
    cv_meeting_changed(m);
}

void cv_neighbour_knock(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;
    struct cv_candidates own;
    struct cv_contact contact;
    int err;

    cv_meeting_own_candidates(m, &own);
    err = cv_rendezvous_knock(m->rv, &n->node, m->node->name, &m->grants, &own,
                              &contact);
    if (err == CV_ERR_NOTFOUND) {
        n->pointer = false;
        return;
    }
    if (err == CV_OK) {
        cv_meeting_mark(m, CV_MARK_KNOCK, &n->node, &own, "");
        /* At an inbox that has moved it is another attempt. */
        if (n->called_out && memcmp(n->out, contact.attempt, sizeof n->out))
            cv_net_abandon(m->node->net, n->out);
        n->called_out = true;
        memcpy(n->out, contact.attempt, sizeof n->out);
        n->give_up = cv_meeting_now(m) + CV_MEETING_ATTEMPT;
        contact.realm = m->realm;
        contact.trusted = true; /* its grant is in its pointer */
        err = cv_net_connect(m->node->net, &contact);
    }
    if (err != CV_OK) {
        cv_neighbour_fail(n, cv_strerror(err));
        return;
    }
    if (n->reach == CV_REACH_NONE)
        cv_neighbour_set_reach(n, CV_REACH_KNOCKED);
    cv_meeting_changed(m);
}

cv_time cv_meeting_ask_next(const struct cv_meeting *m)
{
    cv_time at = m->stagger;

    if (m->grants.n > 0)
        return 0;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->reach != CV_REACH_WAITING && n->reach >= CV_REACH_PROVED)
            return CV_NEVER;
        else if (n->reach == CV_REACH_WAITING)
            at = cv_time_max(at, n->reached + CV_MEETING_ASK_NEXT);
    return at;
}

/* Whom to knock at next: our own, then those who may admit, then the newest
 * pointer. */
static bool is_better(const struct cv_meeting *m, const struct cv_neighbour *a,
                      const struct cv_neighbour *b)
{
    if (cv_neighbour_is_ours(m, a) != cv_neighbour_is_ours(m, b))
        return cv_neighbour_is_ours(m, a);
    if (a->tries != b->tries)
        return a->tries < b->tries;
    if (a->admits != b->admits)
        return a->admits;
    return a->seq > b->seq;
}

static struct cv_neighbour *next_to_knock(const struct cv_meeting *m,
                                          cv_time now)
{
    struct cv_neighbour *best = NULL;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (!n->pointer || n->peer != NULL || n->called_out || n->called_in ||
            now < n->next_try)
            continue;
        if (m->answer_due && cv_key_equal(&n->node, &m->answer_to))
            continue; /* the knock that it gets is a token */
        if ((m->grants.n == 0 || m->config.star) && !n->admits &&
            (m->config.star || !cv_neighbour_is_ours(m, n)))
            continue;
        if (m->grants.n > 0 && !cv_neighbour_serves(n))
            continue; /* who reads along comes to who serves it */
        if (best == NULL || is_better(m, n, best))
            best = n;
    }
    return best;
}

/* Members whose paths are all silent: by the rendezvous each learns where the
 * other is now, and the connection goes on there. */
static void recall(struct cv_meeting *m, cv_time now)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (n->peer == NULL || now < n->recall_at)
            continue;
        n->recall_at =
            now + CV_SECOND + cv_finding_backoff(n->recalls++, m->node->rng);
        if (n->pointer)
            cv_neighbour_knock(n);
    }
}

void cv_meeting_try_knocks(struct cv_meeting *m, cv_time now)
{
    const unsigned most =
        m->config.lacks_text ? CV_MEETING_HARD : CV_MEETING_NEIGHBOURS;
    unsigned out = 0, members = 0;
    struct cv_neighbour *n;

    if (m->state != MEETING_OPEN || m->node->net == NULL || m->config.hold)
        return;
    recall(m, now);
    if (m->refused || (m->config.star && m->config.grants.n > 0))
        return;
    for (n = m->neighbours; n != NULL; n = n->next) {
        out += n->called_out;
        members += n->peer != NULL && !cv_neighbour_is_silent(n) &&
                   cv_neighbour_serves(n);
    }
    while (out + members < most && out < CV_MEETING_KNOCKING) {
        if (now < cv_meeting_ask_next(m))
            return;
        n = next_to_knock(m, now);
        if (n == NULL)
            return;
        cv_neighbour_knock(n);
        if (n->called_out)
            m->stagger = now + CV_MEETING_STAGGER;
        out++;
    }
}

struct cv_neighbour *cv_meeting_by_attempt(const struct cv_meeting *m,
                                           const uint8_t attempt[8])
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if ((n->called_out && memcmp(n->out, attempt, 8) == 0) ||
            (n->called_in && memcmp(n->in, attempt, 8) == 0))
            return n;
    return NULL;
}

bool cv_meeting_attempt(struct cv_meeting *m, const uint8_t attempt[8],
                        enum cv_attempt_state state, const char *reason)
{
    struct cv_neighbour *n = cv_meeting_by_attempt(m, attempt);
    bool out;

    if (n == NULL)
        return false;
    out = n->called_out && memcmp(n->out, attempt, 8) == 0;
    switch (state) {
    case CV_ATTEMPT_PUNCHING:
        break; /* ours begin at once: an answer says more */
    case CV_ATTEMPT_DIRECT:
        if (out && n->reach < CV_REACH_PROVED) {
            cv_neighbour_set_reach(n, CV_REACH_PROVED);
            cv_meeting_changed(m);
        }
        break;
    case CV_ATTEMPT_DOUBTED:
        cv_meeting_token_doubted(n, reason);
        break;
    case CV_ATTEMPT_FAILED:
        if (!out) {
            n->called_in = false;
            if (n->added)
                cv_meeting_token_doubted(n, reason);
            break;
        }
        n->called_out = false;
        cv_rendezvous_stop_knocking(m->rv, &n->node);
        if (n->peer == NULL)
            cv_neighbour_fail(n, n->by_hand ? reason
                                 : n->reach == CV_REACH_KNOCKED
                                     ? "no answer to the knock"
                                     : reason);
        break;
    }
    return true;
}

void cv_meeting_candidates(struct cv_meeting *m)
{
    struct cv_candidates own;

    cv_meeting_own_candidates(m, &own);
    cv_meeting_mark(m, CV_MARK_GATHERED, NULL, &own, "");
    m->publish_due = true;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        /* Who is on the way to us hears of it, too: what it was told may be
         * wrong since, and a path that it has proved be lost again. */
        if (n->called_in)
            (void)cv_rendezvous_answer(m->rv, n->in, n->verdict, &own);
        if (n->recall_at != CV_NEVER)
            n->recall_at = cv_meeting_now(m); /* it must hear of this */
        else if (n->by_hand)
            continue; /* what it was told is out of our hands */
        else if (n->called_out)
            cv_neighbour_knock(n); /* with what we know now */
        else if (n->tries > 1)
            n->next_try = cv_meeting_now(m); /* another network, another try */
    }
    cv_meeting_changed(m);
    cv_meeting_wake(m);
}
