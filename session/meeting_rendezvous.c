#include "session/meeting_struct.h"
#include "transport/plan.h"

#include <string.h>

static void on_stage(void *user, enum cv_rendezvous_stage stage)
{
    struct cv_meeting *m = user;

    if (stage == CV_RV_PUBLISHED) {
        m->published = true;
        m->unpublished = false;
    } else if (stage == CV_RV_UNPUBLISHED) {
        m->published = false;
        m->unpublished = true;
    }
    cv_meeting_changed(m);
    cv_meeting_wake(m);
}

/* Is it news that an attempt of ours does not wait to hear?  That the inbox is
 * elsewhere, while nothing says that our knock was heard, or a gate of its own.
 */
static bool is_worth_a_knock(const struct cv_neighbour *n,
                             const struct cv_pointer_info *p)
{
    return (p->knock_again && n->reach == CV_REACH_KNOCKED) ||
           p->candidates.gates.n > n->gates;
}

static void on_pointer(void *user, const struct cv_pointer_info *p)
{
    struct cv_meeting *m = user;
    struct cv_neighbour *n;
    bool fresh;

    if (m->state != MEETING_OPEN || cv_key_equal(&p->node, &m->node->key.pub))
        return;
    n = cv_meeting_find(m, &p->node);
    if (p->gone) {
        if (n == NULL)
            return;
        n->pointer = false;
        n->seq = p->seq;
        if (n->peer == NULL && n->called_out)
            cv_neighbour_fail(n, "it has left");
        cv_meeting_changed(m);
        return;
    }
    if (n != NULL && !n->pointer && n->seq != 0 && p->seq <= n->seq)
        return; /* from before it said goodbye */
    n = cv_meeting_find_or_add(m, &p->node);
    if (n == NULL)
        return;
    fresh = !n->pointer || p->seq > n->seq; /* it lives */
    if (fresh)
        cv_meeting_mark(m, CV_MARK_POINTER, &n->node, &p->candidates, "");
    n->pointer = true;
    n->seq = p->seq;
    n->identity_known = true;
    n->identity = p->identity;
    if (n->peer == NULL) {
        n->role = p->role;
        n->admits = p->admits;
    }
    if (fresh && n->called_out && is_worth_a_knock(n, p))
        cv_neighbour_knock(n);
    n->gates = p->candidates.gates.n;
    if (fresh && n->recall_at != CV_NEVER) { /* it has moved: go there */
        n->recalls = 0;
        n->recall_at = cv_meeting_now(m);
    }
    if (fresh && n->peer == NULL) {
        n->tries = 0;
        n->next_try = cv_meeting_now(m);
        /* Both of two members find each other: one of them waits a little. */
        if (m->role >= CV_ROLE_EDITOR && m->had_members &&
            cv_key_compare(&m->node->key.pub, &n->node) > 0)
            n->next_try += CV_MEETING_YIELD;
    }
    cv_meeting_changed(m);
    cv_meeting_wake(m);
}

/* Somebody to let in, who then finds other members by their pointers? */
static bool is_newcomer(const struct cv_meeting *m,
                        const struct cv_knock_info *k)
{
    return !k->has_grant && !k->contact.by_hand && !m->config.star;
}

static enum cv_verdict judge(const struct cv_meeting *m,
                             const struct cv_knock_info *k, bool ours)
{
    enum cv_room room =
        cv_meeting_room(m, cv_meeting_find(m, &k->contact.node));

    if (!k->has_grant && !ours &&
        (!cv_meeting_may_admit(m) ||
         cv_meeting_was_rejected(m, &k->contact.identity)))
        return CV_VERDICT_NO;
    if (room < (is_newcomer(m, k) ? CV_ROOM_TO_ADMIT : CV_ROOM_TO_STAY))
        return CV_VERDICT_BUSY;
    return k->has_grant || ours || m->config.open ? CV_VERDICT_OK
                                                  : CV_VERDICT_ASK;
}

/* Go towards who knocked. */
static enum cv_verdict meet(struct cv_neighbour *n,
                            const struct cv_knock_info *k,
                            const struct cv_contact *contact,
                            const struct cv_candidates *own,
                            enum cv_verdict verdict)
{
    struct cv_net *net = n->meeting->node->net;

    n->identity_known = true;
    n->identity = contact->identity;
    if (n->name[0] == '\0')
        cv_text_clean(n->name, sizeof n->name, k->name, strlen(k->name));
    if (n->called_in && memcmp(n->in, contact->attempt, sizeof n->in) != 0)
        cv_net_abandon(net, n->in);
    n->called_in = true;
    memcpy(n->in, contact->attempt, sizeof n->in);
    n->added = contact->by_hand;
    n->newcomer = is_newcomer(n->meeting, k);
    n->give_up = cv_meeting_now(n->meeting) +
                 (n->added ? CV_MEETING_BY_HAND : CV_MEETING_ATTEMPT);
    if (cv_net_connect(net, contact) != CV_OK) {
        n->called_in = false;
        verdict = CV_VERDICT_BUSY;
    } else if (verdict == CV_VERDICT_ASK && !contact->trusted &&
               cv_plan_for(own->nat, contact->peer.nat).birthday) {
        /* Between these two NATs only a plan works that strangers do not
         * get (transport/plan.h): the person is asked first. */
        cv_meeting_ask_early(n);
    }
    n->verdict = verdict;
    return verdict;
}

static void on_knock(void *user, const struct cv_knock_info *k)
{
    struct cv_meeting *m = user;
    struct cv_contact contact = k->contact;
    struct cv_candidates own;
    struct cv_neighbour *n = NULL;
    enum cv_verdict verdict;
    bool ours = cv_key_equal(&contact.identity, &m->node->identity.pub);
    bool welcome =
        cv_meeting_was_accepted(m, &contact.identity) != CV_ROLE_NONE;
    char key[9];

    if (m->state != MEETING_OPEN || m->grants.n == 0 || m->node->net == NULL)
        return;
    contact.realm = m->realm;
    /* A token was added by a person. */
    contact.trusted =
        k->has_grant || ours || m->config.open || welcome || contact.by_hand;
    cv_meeting_mark(m, CV_MARK_KNOCKED, &contact.node, &contact.peer, "");
    cv_meeting_own_candidates(m, &own);
    verdict = judge(m, k, ours);
    if (verdict == CV_VERDICT_OK || verdict == CV_VERDICT_ASK) {
        n = cv_meeting_find_or_add(m, &contact.node);
        if (n == NULL)
            verdict = CV_VERDICT_BUSY;
    }
    cv_info(m->node->log, "meeting: knock, peer=%s, verdict=%u",
            cv_key_short(&contact.node, key), (unsigned)verdict);
    if (n != NULL)
        verdict = meet(n, k, &contact, &own, verdict);
    (void)cv_rendezvous_answer(m->rv, contact.attempt, verdict, &own);
    cv_meeting_wake(m);
}

static void on_answer(void *user, const struct cv_answer_info *a)
{
    struct cv_meeting *m = user;
    struct cv_neighbour *n = cv_meeting_find(m, &a->contact.node);
    struct cv_contact contact = a->contact;

    if (m->state != MEETING_OPEN || n == NULL || !n->called_out ||
        memcmp(n->out, a->contact.attempt, sizeof n->out) != 0)
        return;
    cv_meeting_mark(m, CV_MARK_ANSWER, &n->node, &a->contact.peer, "");
    switch (a->verdict) {
    case CV_VERDICT_OK:
    case CV_VERDICT_ASK:
        contact.realm = m->realm;
        contact.answered = true;
        if (m->node->net != NULL &&
            cv_net_connect(m->node->net, &contact) != CV_OK)
            return;
        if (n->reach == CV_REACH_KNOCKED) {
            cv_neighbour_set_reach(n, CV_REACH_PUNCHING);
            cv_meeting_changed(m);
        }
        return;
    case CV_VERDICT_NO:
        n->admits = false;
        cv_neighbour_fail(n, "it may not let others in; a host must");
        return;
    case CV_VERDICT_BUSY:
        cv_neighbour_fail(n, "it has as many connections as it wants");
        return;
    }
}

static const struct cv_rendezvous_events rv_events = {
    .stage = on_stage,
    .pointer = on_pointer,
    .knock = on_knock,
    .answer = on_answer,
};

void cv_meeting_found(struct cv_meeting *m, const uint8_t loc[20],
                      struct cv_bytes sealed)
{
    if (m->state != MEETING_OPEN)
        return;
    cv_rendezvous_found(m->rv, loc, sealed);
    cv_meeting_wake(m);
}

static void on_store(void *user, const uint8_t loc[20], unsigned ttl_s,
                     struct cv_bytes sealed)
{
    const struct cv_meeting *m = user;

    if (m->node->net != NULL)
        cv_net_store(m->node->net, loc, ttl_s, sealed);
}

static void on_look(void *user, const uint8_t loc[20])
{
    const struct cv_meeting *m = user;

    if (m->node->net != NULL)
        cv_net_look(m->node->net, loc);
}

static const struct cv_rendezvous_shelf shelf = {on_store, on_look};

int cv_meeting_open_rendezvous(struct cv_meeting *m)
{
    struct cv_rendezvous_config config = {
        .dht = m->node->dht,
        .log = m->node->log,
        .rng = m->node->rng,
        .session = m->config.session,
        .node = &m->node->key,
        .cert = m->node->cert,
        .shelf = &shelf,
    };
    int err = cv_rendezvous_new(&m->rv, &config, &rv_events, m);

    if (err != CV_OK)
        return err;
    cv_rendezvous_search(m->rv, true);
    m->publish_due = true;
    m->publishing = false;
    return CV_OK;
}

bool cv_meeting_rung(struct cv_meeting *m, const uint8_t room_key[CV_ROOM_KEY],
                     struct cv_bytes ring)
{
    int err = cv_rendezvous_take_ring(m->rv, room_key, ring);

    if (err == CV_ERR_NOTFOUND)
        return false;
    cv_meeting_wake(m);
    return true;
}

unsigned cv_meeting_rooms(const struct cv_meeting *m,
                          uint8_t (*out)[CV_ROOM_KEY])
{
    if (m->state != MEETING_OPEN || m->grants.n == 0)
        return 0;
    return cv_rendezvous_rooms(m->rv, out);
}

void cv_meeting_renew(struct cv_meeting *m)
{
    m->renewing = true;
    cv_meeting_wake(m);
}

void cv_meeting_publish(struct cv_meeting *m, cv_time now)
{
    struct cv_candidates own;
    int err;

    if (!m->publish_due || m->grants.n == 0 || m->node->net == NULL ||
        (m->config.star && m->config.grants.n == 0))
        return;
    cv_meeting_own_candidates(m, &own);
    /* The first addresses come in a moment: a pointer without any is of no
     * use to anybody. */
    if (own.n == 0 && m->publish_at == 0)
        m->publish_at = now + CV_SECOND;
    if (own.n == 0 && now < m->publish_at)
        return;
    m->publish_due = false;
    m->publish_at = 0;
    err = cv_rendezvous_publish(m->rv, &m->grants, &own);
    if (err == CV_OK && !m->publishing) {
        m->publishing = true;
        cv_meeting_changed(m);
    } else if (err != CV_OK)
        cv_error(m->node->log, "meeting: cannot publish, because: %s",
                 cv_strerror(err));
}

void cv_meeting_make_anew(struct cv_meeting *m)
{
    struct cv_rendezvous *old = m->rv;

    m->renewing = false;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->peer == NULL && n->called_out) {
            cv_neighbour_stop_calling(n);
            cv_neighbour_set_reach(n, CV_REACH_NONE);
        }
    if (cv_meeting_open_rendezvous(m) != CV_OK) {
        m->rv = old;
        m->renewing = true;
        return;
    }
    cv_rendezvous_free(old);
}
