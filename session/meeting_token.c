/* Two tokens stand for a pointer and a knock.  Neither can be mended once it is
 * out of our hands, so they are made when our addresses are known. */
#include "session/meeting_struct.h"

#include <string.h>

#include "discovery/token.h"

#define LOOK_AGAIN (50 * CV_MILLISECOND)

int cv_meeting_take_token(struct cv_meeting *m)
{
    int err = cv_rendezvous_take_pointer(m->rv, m->config.token, &m->answer_to);

    if (err != CV_OK)
        return err;
    if (cv_meeting_find(m, &m->answer_to) == NULL)
        return CV_ERR_INVALID; /* it is our own, or has left */
    m->answer_due = true;
    m->addresses_by = cv_meeting_now(m) + CV_MEETING_ADDRESSES;
    return CV_OK;
}

int cv_meeting_invite(struct cv_meeting *m)
{
    if (m->state != MEETING_OPEN || !cv_meeting_may_admit(m) ||
        m->events->token == NULL)
        return CV_ERR_DENIED;
    if (m->tokens_due == 0)
        m->addresses_by = cv_meeting_now(m) + CV_MEETING_ADDRESSES;
    m->tokens_due++;
    cv_meeting_wake(m);
    return CV_OK;
}

int cv_meeting_add(struct cv_meeting *m, const struct cv_token *t)
{
    if (m->state != MEETING_OPEN)
        return CV_ERR_NOTFOUND;
    return cv_rendezvous_take_knock(m->rv, t);
}

static bool addresses_known(const struct cv_meeting *m, cv_time now)
{
    return m->node->net != NULL && ((cv_net_settled(m->node->net) &&
                                     cv_net_gates_settled(m->node->net)) ||
                                    now >= m->addresses_by);
}

/* Knock at the host by hand, and wait for it. */
static int answer(struct cv_meeting *m, struct cv_token *t, cv_time now)
{
    struct cv_neighbour *n = cv_meeting_find(m, &m->answer_to);
    struct cv_candidates own;
    struct cv_contact contact;
    int err;

    if (n == NULL)
        return CV_ERR_EXPIRED;
    cv_neighbour_stop_calling(n);
    cv_meeting_own_candidates(m, &own);
    err = cv_rendezvous_knock_by_hand(m->rv, &n->node, m->node->name,
                                      &m->grants, &own, &contact, t);
    if (err != CV_OK)
        return err;
    n->called_out = n->by_hand = true;
    memcpy(n->out, contact.attempt, sizeof n->out);
    n->give_up = now + (cv_time)CV_TOKEN_LIFETIME_S * CV_SECOND;
    contact.realm = m->realm;
    contact.trusted = true; /* its grant is in its pointer */
    err = cv_net_connect(m->node->net, &contact);
    if (err != CV_OK) {
        cv_neighbour_fail(n, cv_strerror(err));
        return err;
    }
    if (n->reach == CV_REACH_NONE)
        cv_neighbour_set_reach(n, CV_REACH_KNOCKED);
    cv_meeting_changed(m);
    return CV_OK;
}

void cv_meeting_make_tokens(struct cv_meeting *m, cv_time now)
{
    struct cv_candidates own;
    struct cv_token t;

    if (m->state != MEETING_OPEN || (m->tokens_due == 0 && !m->answer_due) ||
        !addresses_known(m, now))
        return;
    if (m->answer_due) {
        int err = answer(m, &t, now);

        m->answer_due = false;
        if (m->events->token != NULL)
            m->events->token(m->user, err, cv_strerror(err), &t);
    }
    for (; m->tokens_due > 0; m->tokens_due--) {
        int err;

        cv_meeting_own_candidates(m, &own);
        err = cv_rendezvous_invite(m->rv, &m->grants, &own, &t);
        m->events->token(m->user, err, cv_strerror(err), &t);
    }
}

void cv_meeting_token_doubted(struct cv_neighbour *n, const char *why)
{
    struct cv_meeting *m = n->meeting;

    if (n->peer != NULL)
        return;
    if (n->added) {
        n->added = false; /* told */
        if (m->events->token != NULL)
            m->events->token(m->user, CV_ERR_NOPATH, why, NULL);
    } else if (n->by_hand) {
        cv_text_clean(n->failure, sizeof n->failure, why, strlen(why));
        memcpy(m->failure, n->failure, sizeof m->failure);
        cv_meeting_changed(m);
    }
}

cv_time cv_meeting_tokens_deadline(const struct cv_meeting *m, cv_time now)
{
    if (m->state != MEETING_OPEN || (m->tokens_due == 0 && !m->answer_due))
        return CV_NEVER;
    return now + LOOK_AGAIN;
}
