/* Timers: one, at the earliest of what is due: the rendezvous, the admissions
 * of the peers, the next knock, an attempt to give up, a pointer to publish.
 * Everything that happens only notes its effect and wakes the timer, so that
 * no module is stepped from within its own callback. */
#include "session/meeting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/presence.h"

enum meeting_state {
    MEETING_OPEN,
    MEETING_LEAVING, /* goodbyes and the last pointer are on their way */
    MEETING_DONE,
};

struct cv_meeting {
    struct cv_meeting_config config;
    struct cv_node *node;
    const struct cv_meeting_events *events;
    void *user;
    enum meeting_state state;
    struct cv_rendezvous *rv;
    struct cv_timer *timer;
    uint64_t realm; /* of our connections: the session, hashed */
    struct cv_grants grants;
    enum cv_role role; /* of our grants, NONE without */
    struct cv_neighbour *neighbours;
    unsigned n_known;
    bool publish_due;   /* own candidates or grants changed */
    cv_time publish_at; /* not before */
    bool publishing;    /* a pointer was handed to the rendezvous */
    bool published, unpublished;
    bool renewing; /* the rendezvous is to be made anew */
    bool had_members, all_left;
    bool refused; /* by a person: nobody is asked again */
    struct {
        struct cv_key identity;
        cv_time until;
    } rejected[CV_MEETING_REJECTED];
    unsigned next_rejected;
    cv_time stagger;
    cv_time leave_by;
    bool withdrawn;
    char host[CV_NAME_MAX_TEXT];      /* who may let us in, as a member said */
    char failure[CV_REASON_MAX_TEXT]; /* of the last try */
};

static const struct cv_peer_events peer_events;
static const struct cv_rendezvous_events rv_events;

static cv_time now_of(const struct cv_meeting *m)
{
    return cv_loop_now(m->node->loop);
}

static cv_time peer_now(void *user)
{
    const struct cv_neighbour *n = user;

    return now_of(n->meeting);
}

static uint64_t peer_unix_s(void *user)
{
    const struct cv_neighbour *n = user;

    return cv_node_unix_s(n->meeting->node);
}

static void wake(struct cv_meeting *m)
{
    cv_timer_set(m->timer, now_of(m));
}

static void changed(struct cv_meeting *m)
{
    if (m->state == MEETING_OPEN && m->events->changed != NULL)
        m->events->changed(m->user);
}

/* The only place that moves a neighbour nearer or further. */
static void set_reach(struct cv_neighbour *n, enum cv_reach to)
{
    static const char *const name[] = {"none",  "knocked", "punching", "proved",
                                       "hello", "waiting", "member"};
    char key[9];

    if (to == n->reach)
        return;
    cv_debug(n->meeting->node->log, "meeting: %s -> %s, peer=%s",
             name[n->reach], name[to], cv_key_short(&n->node, key));
    n->reach = to;
}

/* --- neighbours --- */

static struct cv_neighbour *find(const struct cv_meeting *m,
                                 const struct cv_key *node)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (cv_key_equal(&n->node, node))
            return n;
    return NULL;
}

static bool is_idle(const struct cv_neighbour *n)
{
    return n->peer == NULL && !n->called_out && !n->called_in && !n->pointer;
}

static void remove_one(struct cv_meeting *m, struct cv_neighbour *gone)
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
            if (n->peer == NULL && !n->called_out && !n->called_in)
                pick = n; /* the list's last is the oldest */
    if (pick == NULL)
        return false;
    remove_one(m, pick);
    return true;
}

static struct cv_neighbour *find_or_add(struct cv_meeting *m,
                                        const struct cv_key *node)
{
    struct cv_neighbour *n = find(m, node);

    if (n != NULL)
        return n;
    if (m->n_known >= CV_MEETING_KNOWN && !evict(m))
        return NULL;
    n = calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    n->meeting = m;
    n->silent_at = CV_NEVER;
    n->node = *node;
    n->next = m->neighbours;
    m->neighbours = n;
    m->n_known++;
    return n;
}

static bool is_member(const struct cv_neighbour *n)
{
    return n->peer != NULL && cv_peer_is_member(n->peer);
}

/* Connected, but no path has worked for a while. */
static bool is_silent(const struct cv_neighbour *n)
{
    return n->peer != NULL && now_of(n->meeting) >= n->silent_at;
}

bool cv_meeting_is_here(const struct cv_neighbour *n)
{
    return is_member(n) && !is_silent(n);
}

static unsigned count_here(const struct cv_meeting *m)
{
    unsigned count = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        count += cv_meeting_is_here(n);
    return count;
}

static unsigned count_members(const struct cv_meeting *m)
{
    unsigned count = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        count += is_member(n);
    return count;
}

static unsigned count_strangers(const struct cv_meeting *m)
{
    unsigned count = 0;

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        count += n->peer != NULL && !cv_peer_is_member(n->peer);
    return count;
}

static bool is_ours(const struct cv_meeting *m, const struct cv_neighbour *n)
{
    return n->identity_known &&
           cv_key_equal(&n->identity, &m->node->identity.pub);
}

bool cv_meeting_may_admit(const struct cv_meeting *m)
{
    const struct cv_grants *g = &m->grants;

    return g->n > 0 && (g->chain[g->n - 1].flags & CV_GRANT_ADMIT) != 0;
}

/* --- trying to reach --- */

static void own_candidates(const struct cv_meeting *m,
                           struct cv_candidates *out)
{
    memset(out, 0, sizeof *out);
    if (m->node->net != NULL)
        cv_net_candidates(m->node->net, out);
}

static void stop_calling(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;

    if (n->called_out) {
        cv_rendezvous_stop_knocking(m->rv, &n->node);
        if (m->node->net != NULL)
            cv_net_abandon(m->node->net, n->out);
    }
    if (n->called_in && m->node->net != NULL)
        cv_net_abandon(m->node->net, n->in);
    n->called_out = n->called_in = false;
}

static void retry_later(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;

    n->next_try = now_of(m) + cv_finding_backoff(n->tries, m->node->rng);
    n->tries++;
    wake(m);
}

static void fail_attempt(struct cv_neighbour *n, const char *reason)
{
    struct cv_meeting *m = n->meeting;
    char key[9];

    cv_info(m->node->log, "meeting: not reached, peer=%s, because: %s",
            cv_key_short(&n->node, key), reason);
    cv_text_clean(n->failure, sizeof n->failure, reason, strlen(reason));
    memcpy(m->failure, n->failure, sizeof m->failure);
    stop_calling(n);
    if (n->peer == NULL)
        set_reach(n, CV_REACH_NONE);
    retry_later(n);
    changed(m);
}

static void knock(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;
    struct cv_candidates own;
    struct cv_contact contact;
    int err;

    own_candidates(m, &own);
    err = cv_rendezvous_knock(m->rv, &n->node, m->node->name, &m->grants, &own,
                              &contact);
    if (err == CV_ERR_NOTFOUND) {
        n->pointer = false;
        return;
    }
    if (err == CV_OK) {
        n->called_out = true;
        memcpy(n->out, contact.attempt, sizeof n->out);
        n->give_up = now_of(m) + CV_MEETING_ATTEMPT;
        contact.realm = m->realm;
        err = cv_net_connect(m->node->net, &contact);
    }
    if (err != CV_OK) {
        fail_attempt(n, cv_strerror(err));
        return;
    }
    if (n->reach == CV_REACH_NONE)
        set_reach(n, CV_REACH_KNOCKED);
    changed(m);
}

/* Is somebody being asked to let us in, or about to? */
static bool is_asking(const struct cv_meeting *m)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->reach >= CV_REACH_PROVED)
            return true;
    return false;
}

/* Whom to knock at next: our own, then those who may admit, then the newest
 * pointer. */
static bool is_better(const struct cv_meeting *m, const struct cv_neighbour *a,
                      const struct cv_neighbour *b)
{
    if (is_ours(m, a) != is_ours(m, b))
        return is_ours(m, a);
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
        if (!n->pointer || (n->peer != NULL && !is_silent(n)) ||
            n->called_out || n->called_in || now < n->next_try)
            continue;
        if ((m->grants.n == 0 || m->config.star) && !n->admits &&
            (m->config.star || !is_ours(m, n)))
            continue;
        if (best == NULL || is_better(m, n, best))
            best = n;
    }
    return best;
}

static void try_knocks(struct cv_meeting *m, cv_time now)
{
    unsigned out = 0, members = 0;
    struct cv_neighbour *n;

    if (m->state != MEETING_OPEN || m->refused || m->node->net == NULL ||
        (m->config.star && m->config.grants.n > 0))
        return;
    for (n = m->neighbours; n != NULL; n = n->next) {
        out += n->called_out;
        members += n->peer != NULL;
    }
    while (out + members < CV_MEETING_NEIGHBOURS && out < CV_MEETING_KNOCKING) {
        if (m->grants.n == 0 && (is_asking(m) || now < m->stagger))
            return;
        n = next_to_knock(m, now);
        if (n == NULL)
            return;
        knock(n);
        if (n->called_out)
            m->stagger = now + CV_MEETING_STAGGER;
        out++;
    }
}

/* --- what the rendezvous tells --- */

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
    changed(m);
    wake(m);
}

static void on_pointer(void *user, const struct cv_pointer_info *p)
{
    struct cv_meeting *m = user;
    struct cv_neighbour *n;
    bool fresh;

    if (m->state != MEETING_OPEN || cv_key_equal(&p->node, &m->node->key.pub))
        return;
    n = find(m, &p->node);
    if (p->gone) {
        if (n == NULL)
            return;
        n->pointer = false;
        n->seq = p->seq;
        if (n->peer == NULL && n->called_out)
            fail_attempt(n, "it has left");
        changed(m);
        return;
    }
    if (n != NULL && !n->pointer && n->seq != 0 && p->seq <= n->seq)
        return; /* from before it said goodbye */
    n = find_or_add(m, &p->node);
    if (n == NULL)
        return;
    fresh = !n->pointer;
    n->pointer = true;
    n->seq = p->seq;
    n->identity_known = true;
    n->identity = p->identity;
    if (n->peer == NULL) {
        n->role = p->role;
        n->admits = p->admits;
    }
    if (fresh && n->peer == NULL) {
        n->tries = 0;
        n->next_try = now_of(m);
        /* Both of two members find each other: one of them waits a little. */
        if (m->grants.n > 0 && m->had_members &&
            cv_key_compare(&m->node->key.pub, &n->node) > 0)
            n->next_try += CV_MEETING_YIELD;
    }
    changed(m);
    wake(m);
}

/* Did a person send this identity away a moment ago? */
static bool was_rejected(const struct cv_meeting *m, const struct cv_key *who)
{
    cv_time now = now_of(m);

    for (unsigned i = 0; i < CV_MEETING_REJECTED; i++)
        if (now < m->rejected[i].until &&
            cv_key_equal(&m->rejected[i].identity, who))
            return true;
    return false;
}

static void on_knock(void *user, const struct cv_knock_info *k)
{
    struct cv_meeting *m = user;
    struct cv_candidates own;
    struct cv_neighbour *n;
    enum cv_verdict verdict = CV_VERDICT_OK;
    bool ours = cv_key_equal(&k->contact.identity, &m->node->identity.pub);
    struct cv_contact contact = k->contact;
    char key[9];

    contact.realm = m->realm;

    if (m->state != MEETING_OPEN || m->grants.n == 0 || m->node->net == NULL)
        return;
    own_candidates(m, &own);
    if (!k->has_grant && !ours &&
        (!cv_meeting_may_admit(m) || was_rejected(m, &contact.identity)))
        verdict = CV_VERDICT_NO;
    else if (count_members(m) >= CV_MEETING_HARD ||
             count_strangers(m) >= CV_MEETING_STRANGERS)
        verdict = CV_VERDICT_BUSY;
    else if (!k->has_grant && !ours && !m->config.open)
        verdict = CV_VERDICT_ASK;
    n = verdict == CV_VERDICT_NO || verdict == CV_VERDICT_BUSY
            ? NULL
            : find_or_add(m, &k->contact.node);
    if (n == NULL && verdict != CV_VERDICT_NO)
        verdict = CV_VERDICT_BUSY;
    cv_info(m->node->log, "meeting: knock, peer=%s, verdict=%u",
            cv_key_short(&k->contact.node, key), (unsigned)verdict);
    if (n != NULL) {
        n->identity_known = true;
        n->identity = k->contact.identity;
        if (n->name[0] == '\0')
            cv_text_clean(n->name, sizeof n->name, k->name, strlen(k->name));
        if (n->called_in &&
            memcmp(n->in, k->contact.attempt, sizeof n->in) != 0)
            cv_net_abandon(m->node->net, n->in);
        n->called_in = true;
        memcpy(n->in, k->contact.attempt, sizeof n->in);
        n->give_up = now_of(m) + CV_MEETING_ATTEMPT;
        if (cv_net_connect(m->node->net, &contact) != CV_OK) {
            n->called_in = false;
            verdict = CV_VERDICT_BUSY;
        }
    }
    (void)cv_rendezvous_answer(m->rv, k->contact.attempt, verdict, &own);
    wake(m);
}

static void on_answer(void *user, const struct cv_answer_info *a)
{
    struct cv_meeting *m = user;
    struct cv_neighbour *n = find(m, &a->contact.node);
    struct cv_contact contact = a->contact;

    if (m->state != MEETING_OPEN || n == NULL || !n->called_out ||
        memcmp(n->out, a->contact.attempt, sizeof n->out) != 0)
        return;
    switch (a->verdict) {
    case CV_VERDICT_OK:
    case CV_VERDICT_ASK:
        contact.realm = m->realm;
        if (m->node->net != NULL &&
            cv_net_connect(m->node->net, &contact) != CV_OK)
            return;
        if (n->reach == CV_REACH_KNOCKED) {
            set_reach(n, CV_REACH_PUNCHING);
            changed(m);
        }
        return;
    case CV_VERDICT_NO:
        n->admits = false;
        fail_attempt(n, "it may not let others in; a host must");
        return;
    case CV_VERDICT_BUSY:
        fail_attempt(n, "it has as many connections as it wants");
        return;
    }
}

static const struct cv_rendezvous_events rv_events = {
    .stage = on_stage,
    .pointer = on_pointer,
    .knock = on_knock,
    .answer = on_answer,
};

static int open_rendezvous(struct cv_meeting *m)
{
    struct cv_rendezvous_config config = {
        .dht = m->node->dht,
        .log = m->node->log,
        .rng = m->node->rng,
        .session = m->config.session,
        .node = &m->node->key,
        .cert = m->node->cert,
    };
    int err = cv_rendezvous_new(&m->rv, &config, &rv_events, m);

    if (err != CV_OK)
        return err;
    cv_rendezvous_search(m->rv, true);
    m->publish_due = true;
    m->publishing = false;
    return CV_OK;
}

/* --- what a peer tells --- */

static void close_knock(struct cv_neighbour *n)
{
    if (n->knock == 0)
        return;
    n->meeting->events->knock(n->meeting->user, n, true);
    n->knock = 0;
}

static void on_peer_admission(void *user, struct cv_peer *p)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;
    const struct cv_admitting *a = cv_peer_admission(p);

    if (a->have_hello) {
        n->identity = a->hello.cert.identity;
        n->identity_known = true;
        if (cv_peer_name(p)[0] != '\0')
            memcpy(n->name, cv_peer_name(p), sizeof n->name);
    }
    if (a->state == CV_ADMISSION_WAITING && a->pending)
        set_reach(n, CV_REACH_WAITING);
    if (a->state == CV_ADMISSION_ASKED && was_rejected(m, &n->identity)) {
        if (cv_peer_reject(p, "") != CV_OK)
            cv_peer_close(p, CV_REFUSAL_PERSON, "");
        return;
    }
    if (a->state == CV_ADMISSION_ASKED && n->knock == 0) {
        n->knock = cv_node_next_id(m->node);
        n->knock_at = now_of(m);
        m->events->knock(m->user, n, false);
    } else if (a->state != CV_ADMISSION_ASKED) {
        close_knock(n);
    }
    changed(m);
    wake(m);
}

static void on_peer_given(void *user, struct cv_peer *p,
                          const struct cv_grants *g)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;

    (void)p;
    m->grants = *g;
    m->role = (enum cv_role)g->chain[g->n - 1].role;
    m->publish_due = true;
    m->publish_at = 0;
    m->host[0] = '\0';
    cv_info(m->node->log, "meeting: admitted, role=%s", cv_role_name(m->role));
    if (m->events->given != NULL)
        m->events->given(m->user, &m->grants);
    wake(m);
}

static void put_member(struct cv_control *c, const struct cv_key *node,
                       const struct cv_key *identity, enum cv_role role,
                       bool admits, const char *name)
{
    struct cv_control_member *e;

    if (c->u.members.n == CV_CONTROL_MEMBERS || role == CV_ROLE_NONE)
        return;
    e = &c->u.members.m[c->u.members.n++];
    e->node = *node;
    e->identity = *identity;
    e->role = (uint8_t)role;
    e->admits = admits;
    cv_text_clean(e->name, sizeof e->name, name, strlen(name));
}

static void tell_members(struct cv_meeting *m)
{
    struct cv_control *c = calloc(1, sizeof *c);

    if (c == NULL)
        return;
    c->type = CV_CONTROL_MEMBER_LIST;
    put_member(c, &m->node->key.pub, &m->node->identity.pub, m->role,
               cv_meeting_may_admit(m), m->node->name);
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (is_member(n))
            put_member(c, &n->node, &n->identity, n->role, n->admits, n->name);
    cv_meeting_tell(m, c);
    free(c);
}

static void on_peer_member(void *user, struct cv_peer *p)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;
    char key[9];

    if (n->id == 0)
        n->id = cv_node_next_id(m->node);
    n->role = cv_peer_role(p);
    n->admits = cv_peer_admits(p);
    n->colour = cv_peer_admission(p)->hello.colour;
    n->failure[0] = '\0';
    m->failure[0] = '\0';
    m->had_members = true;
    m->all_left = false;
    m->node->counters.admitted++;
    set_reach(n, CV_REACH_MEMBER);
    cv_conn_path(cv_peer_conn(p), &n->path);
    cv_info(m->node->log, "meeting: joined, peer=%s, role=%s",
            cv_key_short(&n->node, key), cv_role_name(n->role));
    m->events->member(m->user, n);
    tell_members(m);
    changed(m);
}

static void on_peer_control(void *user, struct cv_peer *p,
                            const struct cv_control *c)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;

    if (c->type == CV_CONTROL_NAME)
        memcpy(n->name, cv_peer_name(p), sizeof n->name);
    if (c->type == CV_CONTROL_MEMBER_LIST)
        for (unsigned i = 0; i < c->u.members.n; i++)
            if (c->u.members.m[i].admits)
                memcpy(m->host, c->u.members.m[i].name, sizeof m->host);
    if (m->events->control != NULL)
        m->events->control(m->user, n, c);
}

static void on_peer_stream(void *user, struct cv_peer *p, struct cv_stream *s)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;

    (void)p;
    if (m->events->stream != NULL)
        m->events->stream(m->user, n, s);
    else
        cv_stream_reset(s, CV_REFUSAL_PROTOCOL);
}

static void on_peer_datagram(void *user, struct cv_peer *p,
                             struct cv_bytes data)
{
    struct cv_neighbour *n = user;

    (void)p;
    if (n->meeting->events->datagram != NULL)
        n->meeting->events->datagram(n->meeting->user, n, data);
}

static void on_peer_path(void *user, struct cv_peer *p,
                         const struct cv_path_info *path)
{
    struct cv_neighbour *n = user;

    (void)p;
    n->path = *path;
    if (path->kind == CV_PATH_NONE && n->silent_at == CV_NEVER) {
        n->silent_at = now_of(n->meeting) + CV_MEETING_SILENT;
        n->tries = 0;
    } else if (path->kind != CV_PATH_NONE && n->silent_at != CV_NEVER) {
        n->silent_at = CV_NEVER;
        stop_calling(n);
    }
    changed(n->meeting);
    wake(n->meeting);
}

/* What follows from the end of a connection for the next try. */
static void after_end(struct cv_neighbour *n, const struct cv_peer_end *end,
                      bool was_member)
{
    struct cv_meeting *m = n->meeting;

    if (end->left) {
        n->pointer = false; /* until a newer one is seen */
        return;
    }
    if (was_member) {
        if (end->violation && n->tries < 3)
            n->tries = 3; /* no hurry */
        else if (now_of(m) - n->since > CV_MEETING_LIVED)
            n->tries = 0;
        retry_later(n);
        if (cv_key_compare(&m->node->key.pub, &n->node) > 0)
            n->next_try += CV_MEETING_YIELD;
        return;
    }
    cv_text_clean(n->failure, sizeof n->failure, end->reason,
                  strlen(end->reason));
    memcpy(m->failure, n->failure, sizeof m->failure);
    if (end->refusal == CV_REFUSAL_NO_HOST) {
        n->admits = false;
        memcpy(m->host, end->name, sizeof m->host);
    }
    if (n->tries < 3 && (end->violation || end->refused_by_peer))
        n->tries = 3; /* no hurry */
    retry_later(n);
}

static void on_peer_end(void *user, struct cv_peer *p,
                        const struct cv_peer_end *end)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;
    bool was_member = n->reach == CV_REACH_MEMBER;
    char key[9], text[CV_STAGE_TEXT];

    (void)p;
    n->peer = NULL;
    n->path = (struct cv_path_info){0};
    cv_info(m->node->log, "meeting: connection ended, peer=%s, %s%s, code=%s",
            cv_key_short(&n->node, key), was_member ? "member" : "not a member",
            end->left ? ", left" : "", cv_refusal_name(end->refusal));
    set_reach(n, CV_REACH_NONE);
    if (end->violation)
        m->node->counters.violations++;
    if (end->refused_by_peer)
        m->node->counters.refused++;
    close_knock(n);
    after_end(n, end, was_member);
    if (was_member) {
        m->all_left = end->left && count_members(m) == 0;
        m->events->lost(m->user, n, end->left);
        tell_members(m);
    } else if (end->refused_by_peer && end->refusal == CV_REFUSAL_PERSON &&
               m->grants.n == 0) {
        m->refused = true;
        (void)snprintf(text, sizeof text, "%s did not let you in%s%s",
                       n->name[0] != '\0' ? n->name : "The host",
                       end->reason[0] != '\0' ? ": " : "", end->reason);
        if (m->events->refused != NULL && m->state == MEETING_OPEN)
            m->events->refused(m->user, text);
    }
    changed(m);
    wake(m);
}

static const struct cv_peer_events peer_events = {
    .admission = on_peer_admission,
    .given = on_peer_given,
    .member = on_peer_member,
    .control = on_peer_control,
    .stream = on_peer_stream,
    .datagram = on_peer_datagram,
    .path = on_peer_path,
    .end = on_peer_end,
};

/* --- what the node hands over --- */

static struct cv_neighbour *by_attempt(const struct cv_meeting *m,
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
    struct cv_neighbour *n = by_attempt(m, attempt);
    bool out;

    if (n == NULL)
        return false;
    out = n->called_out && memcmp(n->out, attempt, 8) == 0;
    switch (state) {
    case CV_ATTEMPT_PUNCHING:
        break; /* ours begin at once: an answer says more */
    case CV_ATTEMPT_DIRECT:
        if (out && n->reach < CV_REACH_PROVED) {
            set_reach(n, CV_REACH_PROVED);
            changed(m);
        }
        break;
    case CV_ATTEMPT_FAILED:
        if (!out) {
            n->called_in = false;
            break;
        }
        n->called_out = false;
        cv_rendezvous_stop_knocking(m->rv, &n->node);
        if (n->peer == NULL)
            fail_attempt(n, n->reach == CV_REACH_KNOCKED
                                ? "no answer to the knock"
                                : reason);
        break;
    }
    return true;
}

/* Drop the connection that a newer one replaces. */
static void drop_peer(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;
    bool was_member = n->reach == CV_REACH_MEMBER;

    if (was_member)
        m->events->lost(m->user, n, false);
    close_knock(n);
    cv_peer_free(n->peer, CV_REFUSAL_REPLACED);
    n->peer = NULL;
    set_reach(n, CV_REACH_NONE);
}

static int make_peer(struct cv_neighbour *n, struct cv_conn *conn)
{
    struct cv_meeting *m = n->meeting;
    struct cv_peer_config config = {
        .conn = conn,
        .admission =
            {
                .log = m->node->log,
                .rng = m->node->rng,
                .identity = &m->node->identity,
                .grants = &m->grants,
                .session = m->config.session,
                .node = m->node->key.pub,
                .peer_identity_known = n->identity_known,
                .peer_identity = n->identity,
                .cert = m->node->cert,
                .capabilities = m->config.capabilities,
                .open = m->config.open,
                .offer = m->config.offer,
                .wants = m->config.wants,
                .colour = (uint8_t)cv_presence_colour(&m->node->identity.pub),
            },
        .now = peer_now,
        .unix_s = peer_unix_s,
        .events = &peer_events,
        .user = n,
    };

    memcpy(config.admission.name, m->node->name, CV_NAME_MAX_TEXT);
    for (struct cv_neighbour *h = m->neighbours; h != NULL; h = h->next)
        if (is_member(h) && h->admits)
            memcpy(config.admission.host_name, h->name, CV_NAME_MAX_TEXT);
    return cv_peer_new(&n->peer, &config);
}

bool cv_meeting_conn(struct cv_meeting *m, struct cv_conn *conn)
{
    struct cv_neighbour *n = by_attempt(m, cv_conn_attempt(conn));
    bool client = cv_conn_is_client(conn);

    if (n == NULL || !cv_key_equal(&n->node, cv_conn_peer(conn)))
        return false;
    if (client) {
        n->called_out = false;
        cv_rendezvous_stop_knocking(m->rv, &n->node);
    } else {
        n->called_in = false;
    }
    if (m->state != MEETING_OPEN) {
        cv_conn_close(conn, CV_REFUSAL_LEAVING, "");
        return true;
    }
    if (n->peer != NULL) /* transport has chosen between the two */
        drop_peer(n);
    if (count_members(m) >= CV_MEETING_HARD ||
        count_strangers(m) >= CV_MEETING_STRANGERS) {
        cv_conn_close(conn, CV_REFUSAL_FULL, "no room for more connections");
        return true;
    }
    n->since = now_of(m);
    n->silent_at = CV_NEVER;
    cv_conn_path(conn, &n->path);
    if (make_peer(n, conn) != CV_OK) {
        cv_conn_close(conn, CV_REFUSAL_INTERNAL, "");
        retry_later(n);
        return true;
    }
    set_reach(n, CV_REACH_HELLO);
    changed(m);
    wake(m);
    return true;
}

void cv_meeting_candidates(struct cv_meeting *m)
{
    m->publish_due = true;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->called_out)
            knock(n); /* with what we know now */
    changed(m);
    wake(m);
}

void cv_meeting_renew(struct cv_meeting *m)
{
    m->renewing = true;
    wake(m);
}

void cv_meeting_renamed(struct cv_meeting *m)
{
    struct cv_control c;

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_NAME;
    memcpy(c.u.name.name, m->node->name, sizeof c.u.name.name);
    cv_meeting_tell(m, &c);
    if (m->events->renamed != NULL)
        m->events->renamed(m->user);
}

/* --- time --- */

static void publish(struct cv_meeting *m, cv_time now)
{
    struct cv_candidates own;
    int err;

    if (!m->publish_due || m->grants.n == 0 || m->node->net == NULL ||
        (m->config.star && m->config.grants.n == 0))
        return;
    own_candidates(m, &own);
    /* The first addresses come in a moment: a pointer without any is of no
     * use to anybody. */
    if (own.n == 0 && m->publish_at == 0)
        m->publish_at = now + CV_SECOND;
    if (own.n == 0 && now < m->publish_at)
        return;
    m->publish_due = false;
    m->publish_at = 0;
    err = cv_rendezvous_publish(m->rv, &m->grants, &own);
    if (err == CV_OK)
        m->publishing = true;
    else
        cv_error(m->node->log, "meeting: cannot publish, because: %s",
                 cv_strerror(err));
}

/* A new rendezvous with the new certificate; what was learnt stays. */
static void renew(struct cv_meeting *m)
{
    struct cv_rendezvous *old = m->rv;

    m->renewing = false;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->peer == NULL && n->called_out) {
            stop_calling(n);
            set_reach(n, CV_REACH_NONE);
        }
    if (open_rendezvous(m) != CV_OK) {
        m->rv = old;
        m->renewing = true;
        return;
    }
    cv_rendezvous_free(old);
}

static void step_neighbours(struct cv_meeting *m, cv_time now)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (n->peer != NULL && now >= cv_peer_deadline(n->peer))
            cv_peer_step(n->peer);
        if (n->was_here != cv_meeting_is_here(n)) {
            n->was_here = !n->was_here;
            changed(m);
        }
        if ((n->called_out || n->called_in) && now >= n->give_up) {
            if (n->called_out)
                fail_attempt(n, n->reach == CV_REACH_KNOCKED
                                    ? "no answer to the knock"
                                    : "no path was found in time");
            else
                stop_calling(n);
        }
    }
}

static cv_time next_deadline(const struct cv_meeting *m, cv_time now)
{
    cv_time at = cv_rendezvous_deadline(m->rv);

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (n->peer != NULL)
            at = cv_time_min(at, cv_peer_deadline(n->peer));
        if (n->peer != NULL && n->silent_at > now)
            at = cv_time_min(at, n->silent_at);
        if (n->called_out || n->called_in)
            at = cv_time_min(at, n->give_up);
        else if (n->pointer && n->next_try > now)
            at = cv_time_min(at, n->next_try);
    }
    if (m->stagger > now)
        at = cv_time_min(at, m->stagger);
    if (m->publish_due && m->publish_at > now)
        at = cv_time_min(at, m->publish_at);
    if (m->state == MEETING_LEAVING)
        at = cv_time_min(at, m->leave_by);
    return at;
}

static bool has_peers(const struct cv_meeting *m)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->peer != NULL)
            return true;
    return false;
}

static void on_timer(void *user)
{
    struct cv_meeting *m = user;
    cv_time now = now_of(m);

    step_neighbours(m, now);
    if (m->state == MEETING_OPEN) {
        if (m->renewing)
            renew(m);
        publish(m, now);
        try_knocks(m, now);
    }
    cv_rendezvous_step(m->rv, now, cv_unix_now());
    cv_timer_set(m->timer, next_deadline(m, now));
    if (m->state == MEETING_LEAVING &&
        ((m->withdrawn && !has_peers(m)) || now >= m->leave_by)) {
        m->state = MEETING_DONE;
        cv_timer_set(m->timer, CV_NEVER);
        m->events->done(m->user); /* frees */
    }
}

/* --- the owner's --- */

int cv_meeting_new(struct cv_meeting **out,
                   const struct cv_meeting_config *config,
                   const struct cv_meeting_events *events, void *user)
{
    struct cv_meeting *m = calloc(1, sizeof *m);
    const struct cv_bytes key = CV_BYTES(config->session.b, CV_KEY_LEN);
    uint8_t hash[CV_HASH_LEN];
    int err;

    if (m == NULL)
        return CV_ERR_NOMEM;
    m->config = *config;
    m->node = config->node;
    m->grants = config->grants;
    m->role = m->grants.n > 0
                  ? (enum cv_role)m->grants.chain[m->grants.n - 1].role
                  : CV_ROLE_NONE;
    m->events = events;
    m->user = user;
    cv_sha256(hash, &key, 1);
    memcpy(&m->realm, hash, sizeof m->realm);
    err = cv_timer_new(&m->timer, m->node->loop, on_timer, m);
    if (err == CV_OK)
        err = open_rendezvous(m);
    if (err == CV_OK)
        err = cv_node_add_meeting(m->node, m);
    if (err != CV_OK) {
        cv_rendezvous_free(m->rv);
        cv_timer_free(m->timer);
        free(m);
        return err;
    }
    wake(m);
    *out = m;
    return CV_OK;
}

void cv_meeting_free(struct cv_meeting *m)
{
    if (m == NULL)
        return;
    cv_node_remove_meeting(m->node, m);
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        stop_calling(n);
        cv_peer_free(n->peer, CV_REFUSAL_LEAVING);
    }
    while (m->neighbours != NULL)
        remove_one(m, m->neighbours);
    cv_rendezvous_free(m->rv);
    cv_timer_free(m->timer);
    free(m);
}

static void on_withdrawn(void *user)
{
    struct cv_meeting *m = user;

    m->withdrawn = true;
    wake(m);
}

void cv_meeting_leave(struct cv_meeting *m)
{
    if (m->state != MEETING_OPEN)
        return;
    m->state = MEETING_LEAVING;
    m->leave_by = now_of(m) + CV_MEETING_LEAVE;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        stop_calling(n);
        if (n->peer != NULL)
            cv_peer_leave(n->peer, "left");
    }
    cv_rendezvous_search(m->rv, false);
    if (m->publishing)
        cv_rendezvous_withdraw(m->rv, on_withdrawn, m);
    else
        m->withdrawn = true;
    wake(m);
}

const struct cv_grants *cv_meeting_grants(const struct cv_meeting *m)
{
    return &m->grants;
}

enum cv_role cv_meeting_role(const struct cv_meeting *m)
{
    return m->role;
}

struct cv_neighbour *cv_meeting_neighbours(const struct cv_meeting *m)
{
    return m->neighbours;
}

void cv_meeting_facts(const struct cv_meeting *m, struct cv_facts *out)
{
    const struct cv_neighbour *best = NULL;

    memset(out, 0, sizeof *out);
    out->network = m->node->net != NULL;
    out->member = m->grants.n > 0;
    out->had_members = m->had_members;
    out->all_left = m->all_left;
    out->published = m->published;
    out->unpublished = m->unpublished;
    out->dht = cv_node_dht_state(m->node);
    out->failure = m->failure;
    out->host = m->host;
    out->who = "";
    out->members = count_here(m);
    for (const struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        out->pointers += n->pointer;
        out->admitting += n->pointer && (n->admits || is_ours(m, n));
        if (n->reach != CV_REACH_NONE && !is_silent(n) &&
            (best == NULL || n->reach > best->reach))
            best = n;
    }
    if (best != NULL) {
        out->reach = best->reach;
        out->who = best->name;
    }
}

struct cv_neighbour *cv_meeting_knock(const struct cv_meeting *m, uint32_t id)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->knock == id && id != 0)
            return n;
    return NULL;
}

int cv_meeting_accept(struct cv_meeting *m, uint32_t knock_id,
                      enum cv_role role)
{
    struct cv_neighbour *n = cv_meeting_knock(m, knock_id);

    if (n == NULL || n->peer == NULL)
        return CV_ERR_NOTFOUND;
    if (!cv_meeting_may_admit(m))
        return CV_ERR_DENIED;
    return cv_peer_accept(n->peer, role);
}

int cv_meeting_reject(struct cv_meeting *m, uint32_t knock_id,
                      const char *reason)
{
    struct cv_neighbour *n = cv_meeting_knock(m, knock_id);
    unsigned i;

    if (n == NULL || n->peer == NULL)
        return CV_ERR_NOTFOUND;
    i = m->next_rejected++ % CV_MEETING_REJECTED;
    m->rejected[i].identity = n->identity;
    m->rejected[i].until = now_of(m) + CV_MEETING_REJECTED_FOR;
    return cv_peer_reject(n->peer, reason);
}

void cv_meeting_tell(struct cv_meeting *m, const struct cv_control *c)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (is_member(n))
            (void)cv_peer_send(n->peer, c);
}

void cv_meeting_end(struct cv_meeting *m)
{
    m->state = MEETING_DONE;
    m->events->done(m->user); /* frees */
}

void cv_meeting_describe(const struct cv_meeting *m, char *out, size_t len)
{
    struct cv_rendezvous_counters c;
    struct cv_facts f;
    const struct cv_node_counters *nc = &m->node->counters;

    cv_rendezvous_counters(m->rv, &c);
    cv_meeting_facts(m, &f);
    (void)snprintf(
        out, len,
        "pointer: %s\nothers known: %u (%u may let newcomers in)\n"
        "connected members: %u\nDHT: %s\n"
        "pointers: %llu good, %llu dropped\nknocks: %llu good, %llu dropped\n"
        "peers: %llu connections, %llu broke the protocol, %llu not let in, "
        "%llu writes of viewers refused\n",
        f.published     ? "published and read back"
        : f.unpublished ? "not published, trying again"
        : f.member      ? "being published"
                        : "none (not a member yet)",
        f.pointers, f.admitting, f.members, f.dht,
        (unsigned long long)c.pointers_ok,
        (unsigned long long)(c.pointers_garbage + c.pointers_forged +
                             c.pointers_expired + c.pointers_replayed),
        (unsigned long long)c.knocks_ok,
        (unsigned long long)(c.knocks_garbage + c.knocks_forged +
                             c.knocks_replayed + c.knocks_stale +
                             c.knocks_limited),
        (unsigned long long)nc->connections, (unsigned long long)nc->violations,
        (unsigned long long)nc->refused,
        (unsigned long long)nc->writes_refused);
}
