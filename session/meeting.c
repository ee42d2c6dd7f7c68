/* Timers: one, at the earliest of what is due: the rendezvous, the admissions
 * of the peers, the next knock, an attempt to give up, a pointer to publish.
 * Everything that happens only notes its effect and wakes the timer, so that
 * no module is stepped from within its own callback. */
#include "session/meeting_struct.h"
#include "transport/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cv_time cv_meeting_now(const struct cv_meeting *m)
{
    return cv_loop_now(m->node->loop);
}

void cv_meeting_wake(struct cv_meeting *m)
{
    cv_timer_set(m->timer, cv_meeting_now(m));
}

void cv_meeting_changed(struct cv_meeting *m)
{
    if (m->state == MEETING_OPEN && m->events->changed != NULL)
        m->events->changed(m->user);
}

void cv_meeting_mark(struct cv_meeting *m, enum cv_mark_kind kind,
                     const struct cv_key *node,
                     const struct cv_candidates *candidates, const char *text)
{
    struct cv_mark mark = {.kind = kind, .at = cv_meeting_now(m), .text = text};

    if (m->events->mark == NULL || m->state != MEETING_OPEN)
        return;
    if (node != NULL)
        mark.node = *node;
    if (candidates != NULL) {
        mark.n = candidates->n;
        mark.nat = candidates->nat;
    }
    m->events->mark(m->user, &mark);
}

/* Of an attempt, or of the connection that came of one and still looks for a
 * better path. */
static bool is_of(const struct cv_meeting *m, const uint8_t attempt[8])
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->peer != NULL &&
            memcmp(cv_conn_attempt(cv_peer_conn(n->peer)), attempt, 8) == 0)
            return true;
    return cv_meeting_by_attempt(m, attempt) != NULL;
}

bool cv_meeting_attempt_mark(struct cv_meeting *m, const uint8_t attempt[8],
                             const struct cv_mark *mark)
{
    if (!is_of(m, attempt))
        return false;
    if (m->events->mark != NULL && m->state == MEETING_OPEN)
        m->events->mark(m->user, mark);
    return true;
}

static void step_neighbours(struct cv_meeting *m, cv_time now)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (n->peer != NULL && now >= cv_peer_deadline(n->peer))
            cv_peer_step(n->peer);
        cv_meeting_ask_over(n);
        if (n->was_here != cv_meeting_is_here(n)) {
            n->was_here = !n->was_here;
            cv_meeting_changed(m);
        }
        if ((n->called_out || n->called_in) && now >= n->give_up) {
            if (n->called_out)
                cv_neighbour_fail(n, n->by_hand
                                         ? "nobody answered the token in its "
                                           "15 minutes: begin with a new one"
                                     : n->reach == CV_REACH_KNOCKED
                                         ? "no answer to the knock"
                                         : "no path was found in time");
            else
                cv_neighbour_stop_calling(n);
        }
    }
}

static cv_time next_deadline(const struct cv_meeting *m, cv_time now)
{
    cv_time at = cv_rendezvous_deadline(m->rv);
    cv_time ask = cv_meeting_ask_next(m);

    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        if (n->peer != NULL)
            at = cv_time_min(at, cv_peer_deadline(n->peer));
        if (n->peer != NULL && n->silent_at > now)
            at = cv_time_min(at, n->silent_at);
        if (n->peer != NULL)
            at = cv_time_min(at, n->recall_at);
        if (n->early)
            at = cv_time_min(at, n->knock_at + CV_ADMISSION_ASK_S * CV_SECOND);
        if (n->called_out || n->called_in)
            at = cv_time_min(at, n->give_up);
        else if (n->pointer && n->next_try > now)
            at = cv_time_min(at, n->next_try);
    }
    at = cv_time_min(at, cv_meeting_tokens_deadline(m, now));
    if (ask > now)
        at = cv_time_min(at, ask);
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

static bool hears_anybody(const struct cv_meeting *m)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->peer != NULL && !cv_neighbour_is_silent(n))
            return true;
    return false;
}

static void on_timer(void *user)
{
    struct cv_meeting *m = user;
    cv_time now = cv_meeting_now(m);

    step_neighbours(m, now);
    if (m->state == MEETING_OPEN) {
        if (m->renewing)
            cv_meeting_make_anew(m);
        cv_meeting_publish(m, now);
        cv_meeting_try_knocks(m, now);
    }
    cv_rendezvous_connected(m->rv, hears_anybody(m));
    cv_rendezvous_step(m->rv, now, cv_unix_now());
    cv_node_rooms_changed(m->node); /* maybe: cheap when they are the same */
    cv_meeting_make_tokens(m, now);
    cv_timer_set(m->timer, next_deadline(m, now));
    if (m->state == MEETING_LEAVING &&
        ((m->withdrawn && !has_peers(m)) || now >= m->leave_by)) {
        m->state = MEETING_DONE;
        cv_timer_set(m->timer, CV_NEVER);
        m->events->done(m->user); /* frees */
    }
}

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
    m->role = cv_grants_role(&m->grants);
    m->events = events;
    m->user = user;
    cv_sha256(hash, &key, 1);
    memcpy(&m->realm, hash, sizeof m->realm);
    err = cv_timer_new(&m->timer, m->node->loop, on_timer, m);
    if (err == CV_OK)
        err = cv_meeting_open_rendezvous(m);
    if (err == CV_OK)
        err = cv_node_add_meeting(m->node, m);
    if (err == CV_OK && config->token != NULL) {
        cv_rendezvous_step(m->rv, cv_meeting_now(m), cv_unix_now());
        err = cv_meeting_take_token(m);
        if (err != CV_OK)
            cv_node_remove_meeting(m->node, m);
    }
    m->config.token = NULL;
    if (err != CV_OK) {
        while (m->neighbours != NULL)
            cv_meeting_remove(m, m->neighbours);
        cv_rendezvous_free(m->rv);
        cv_timer_free(m->timer);
        free(m);
        return err;
    }
    cv_meeting_wake(m);
    *out = m;
    return CV_OK;
}

void cv_meeting_go(struct cv_meeting *m)
{
    m->config.hold = false;
    cv_meeting_wake(m);
}

void cv_meeting_has_text(struct cv_meeting *m)
{
    m->config.lacks_text = false;
}

void cv_meeting_free(struct cv_meeting *m)
{
    if (m == NULL)
        return;
    cv_node_remove_meeting(m->node, m);
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        cv_neighbour_stop_calling(n);
        cv_peer_free(n->peer, CV_REFUSAL_LEAVING);
    }
    while (m->neighbours != NULL)
        cv_meeting_remove(m, m->neighbours);
    cv_rendezvous_free(m->rv);
    cv_timer_free(m->timer);
    free(m);
}

static void on_withdrawn(void *user)
{
    struct cv_meeting *m = user;

    m->withdrawn = true;
    cv_meeting_wake(m);
}

void cv_meeting_leave(struct cv_meeting *m)
{
    if (m->state != MEETING_OPEN)
        return;
    m->state = MEETING_LEAVING;
    m->leave_by = cv_meeting_now(m) + CV_MEETING_LEAVE;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        cv_neighbour_stop_calling(n);
        if (n->peer != NULL)
            cv_peer_leave(n->peer, "left");
    }
    cv_rendezvous_search(m->rv, false);
    if (m->publishing)
        cv_rendezvous_withdraw(m->rv, on_withdrawn, m);
    else
        m->withdrawn = true;
    cv_meeting_wake(m);
}

const struct cv_key *cv_meeting_session(const struct cv_meeting *m)
{
    return &m->config.session;
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
    /* Where the DHT is out of reach, those with our gates find it there. */
    out->published = m->published || (m->publishing && m->node->net != NULL &&
                                      cv_net_has_gate(m->node->net));
    out->unpublished = m->unpublished && !out->published;
    out->dht = cv_node_dht_state(m->node);
    out->here = "";
    if (m->node->net != NULL) {
        struct cv_candidates own;

        cv_net_candidates(m->node->net, &own);
        out->here = cv_plan_nat_words(own.nat);
    }
    out->failure = m->failure;
    out->host = m->host;
    out->who = "";
    out->members = cv_meeting_count_here(m);
    for (const struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        out->pointers += n->pointer;
        out->admitting +=
            n->pointer && (n->admits || cv_neighbour_is_ours(m, n));
        out->serving += n->pointer && cv_neighbour_serves(n);
        if (n->reach != CV_REACH_NONE && !cv_neighbour_is_silent(n) &&
            (best == NULL || n->reach > best->reach))
            best = n;
        out->by_hand |= n->by_hand && n->reach == CV_REACH_KNOCKED;
    }
    if (best != NULL) {
        out->reach = best->reach;
        out->who = best->name;
    }
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
