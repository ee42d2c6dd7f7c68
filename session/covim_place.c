#include "session/covim_struct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cv_api_wake(covim_place *place)
{
    cv_timer_set(place->timer, cv_loop_now(place->node->loop));
}

void cv_api_tell_established(covim_peer *p)
{
    if (p->established)
        return;
    p->established = true;
    if (!p->place->closing && p->place->events->established != NULL)
        p->place->events->established(p->place->user, p);
}

/* ---- what the meeting tells ---- */

static void on_changed(void *user)
{
    cv_api_wake(user);
}

static void on_knock(void *user, struct cv_neighbour *n, bool gone)
{
    covim_place *place = user;

    if (!gone)
        (void)cv_api_peer_of(place, n);
    cv_api_wake(place);
}

static void on_opening(void *user, struct cv_neighbour *n)
{
    covim_place *place = user;
    covim_peer *p;

    if (place->closing || place->events->opening == NULL)
        return;
    p = cv_api_peer_of(place, n);
    if (p == NULL)
        return;
    p->opening = true;
    place->events->opening(place->user, p);
}

static void on_member(void *user, struct cv_neighbour *n)
{
    covim_place *place = user;

    if (cv_api_peer_of(place, n) == NULL)
        cv_peer_close(n->peer, CV_REFUSAL_INTERNAL, "");
    cv_api_wake(place);
}

static void on_lost(void *user, struct cv_neighbour *n, bool left)
{
    (void)user;
    if (n->user != NULL)
        cv_api_end_peer(n->user, left ? COVIM_OK : COVIM_ERR_PEER);
}

static void on_stream(void *user, struct cv_neighbour *n, struct cv_stream *cs)
{
    covim_place *place = user;
    covim_peer *p = n->user;
    covim_stream *s;

    if (p == NULL || place->closing || place->events->stream == NULL) {
        cv_stream_reset(cs, CV_REFUSAL_NONE);
        return;
    }
    cv_api_tell_established(p);
    s = cv_api_wrap_stream(p, cs);
    if (s == NULL)
        cv_stream_reset(cs, CV_REFUSAL_INTERNAL);
    else
        place->events->stream(place->user, p, s);
}

static void on_datagram(void *user, struct cv_neighbour *n,
                        struct cv_bytes data)
{
    covim_place *place = user;

    if (n->user == NULL || place->closing || place->events->datagram == NULL)
        return;
    cv_api_tell_established(n->user);
    place->events->datagram(place->user, n->user, data.data, data.len);
}

static void on_forget(void *user, struct cv_neighbour *n)
{
    (void)user;
    cv_api_free_peer(n->user);
}

static void on_refused(void *user, const char *text)
{
    covim_place *place = user;

    place->ended = true;
    (void)snprintf(place->ended_text, sizeof place->ended_text, "%s", text);
    cv_api_wake(place);
}

static void free_place(covim_place *place)
{
    while (place->peers != NULL)
        cv_api_free_peer(place->peers);
    cv_meeting_free(place->meeting);
    cv_timer_free(place->timer);
    free(place);
}

static void on_done(void *user)
{
    covim_place *place = user;
    void (*done)(void *user) = place->done;
    void *done_user = place->done_user;

    free_place(place);
    if (done != NULL)
        done(done_user);
}

static const struct cv_meeting_events meeting_events = {
    .changed = on_changed,
    .knock = on_knock,
    .opening = on_opening,
    .member = on_member,
    .lost = on_lost,
    .stream = on_stream,
    .datagram = on_datagram,
    .forget = on_forget,
    .refused = on_refused,
    .done = on_done,
};

/* ---- what is told ---- */

static enum covim_state state_of(enum cv_session_state state)
{
    switch (state) {
    case CV_SESSION_FINDING:
        return COVIM_FINDING;
    case CV_SESSION_CONTACTING:
        return COVIM_CONTACTING;
    case CV_SESSION_PUNCHING:
        return COVIM_PUNCHING;
    case CV_SESSION_WAITING:
        return COVIM_WAITING;
    case CV_SESSION_DIRECT:
        return COVIM_CONNECTED;
    case CV_SESSION_ALONE:
        return COVIM_LISTENING;
    case CV_SESSION_OFFLINE:
        return COVIM_LOST;
    case CV_SESSION_ENDED:
        break;
    }
    return COVIM_ENDED;
}

static void tell_state(covim_place *place, cv_time now)
{
    const struct cv_finding_told *t = &place->told;
    struct cv_facts f;

    cv_meeting_facts(place->meeting, &f);
    f.ended = place->ended;
    f.in_step = true;
    f.have_text = place->listening;
    f.all_left = f.all_left || place->listening;
    if (place->ended)
        f.failure = place->ended_text;
    if (cv_finding_update(&place->told, &f, now) &&
        place->events->state != NULL)
        place->events->state(place->user, place, state_of(t->state), t->stage,
                             t->hint);
}

static enum covim_path path_of(const struct cv_path_info *info)
{
    switch (info->kind) {
    case CV_PATH_NONE:
        break;
    case CV_PATH_LAN:
        return COVIM_PATH_LAN;
    case CV_PATH_IPV6:
    case CV_PATH_IPV4:
    case CV_PATH_TCP:
        return COVIM_PATH_DIRECT;
    case CV_PATH_GATE_UDP:
    case CV_PATH_GATE_TLS:
    case CV_PATH_GATE_WS:
        return COVIM_PATH_GATE;
    }
    return COVIM_PATH_NONE;
}

static void tell_path(covim_peer *p)
{
    enum covim_path path;

    if (p->neighbour == NULL || p->neighbour->peer == NULL || !p->established)
        return;
    path = path_of(&p->neighbour->path);
    if (path == p->path)
        return;
    p->path = path;
    if (p->place->events->path != NULL)
        p->place->events->path(
            p->place->user, p, path,
            (unsigned)(p->neighbour->path.rtt / CV_MILLISECOND));
}

/* One thing that the program has not heard of this peer.  True if there was
 * one: the list of peers may then be another. */
static bool tell_peer(covim_peer *p)
{
    covim_place *place = p->place;
    struct cv_neighbour *n = p->neighbour;

    if (p->ended) {
        if ((p->opening || p->established || p->asked != 0) &&
            place->events->closed != NULL)
            place->events->closed(place->user, p, p->err);
        cv_api_free_peer(p);
        return true;
    }
    if (n->peer == NULL) { /* it was never let in */
        cv_api_end_peer(p, COVIM_ERR_CLOSED);
        return true;
    }
    if (cv_peer_is_member(n->peer) && !p->established) {
        cv_api_tell_established(p);
        return true;
    }
    if (n->knock != 0 && n->knock != p->asked) {
        p->asked = n->knock;
        if (place->events->ask != NULL)
            place->events->ask(place->user, p);
        return true;
    }
    return false;
}

static void on_timer(void *user)
{
    covim_place *place = user;
    cv_time now = cv_loop_now(place->node->loop), next;
    covim_peer *p;

    cv_timer_set(place->timer, CV_NEVER);
    if (place->closing)
        return;
    for (p = place->peers; p != NULL && !place->closing;)
        p = tell_peer(p) ? place->peers : p->next;
    for (p = place->peers; p != NULL && !place->closing; p = p->next)
        tell_path(p);
    if (place->closing)
        return;
    tell_state(place, now);
    next = cv_finding_due(&place->told, now);
    if (next != CV_NEVER)
        cv_timer_set(place->timer, next);
}

/* ---- listen, dial, close ---- */

static int open_place(covim_place **out, covim_node *node,
                      const struct cv_key *key, const struct cv_grants *grants,
                      const struct covim_events *events, void *user)
{
    covim_place *place = calloc(1, sizeof *place);
    struct cv_meeting_config config = {
        .node = node->node,
        .session = *key,
        .grants = *grants,
        .capabilities = CV_CONTROL_STREAMS,
        .open = events->ask == NULL,
        .offer = CV_ROLE_EDITOR,
        .wants = CV_ROLE_EDITOR,
        .star = true,
    };
    int err;

    if (place == NULL)
        return COVIM_ERR_NOMEM;
    place->node = node;
    place->events = events;
    place->user = user;
    place->key = *key;
    place->listening = grants->n > 0;
    err = cv_timer_new(&place->timer, node->loop, on_timer, place);
    if (err == CV_OK)
        err = cv_meeting_new(&place->meeting, &config, &meeting_events, place);
    if (err != CV_OK) {
        free_place(place);
        return err;
    }
    cv_api_wake(place);
    *out = place;
    return COVIM_OK;
}

int covim_listen(covim_place **out, covim_node *node, const uint8_t *secret,
                 const struct covim_events *events, void *user)
{
    struct cv_node *n = node->node;
    struct cv_grants grants;
    struct cv_keypair pair;
    int err;

    err = secret != NULL ? cv_keypair_from_seed(&pair, secret)
                         : cv_keypair_generate(&pair, n->rng);
    if (err != CV_OK)
        return err;
    err = cv_node_host(n, &pair, &grants);
    if (err == CV_OK)
        err = open_place(out, node, &pair.pub, &grants, events, user);
    cv_wipe(&pair, sizeof pair);
    return err;
}

int covim_dial(covim_place **out, covim_node *node, const char *key,
               const struct covim_events *events, void *user, char *why,
               size_t why_len)
{
    const struct cv_grants none = {0};
    struct cv_keytext text;
    int err;

    if (why_len > 0)
        why[0] = '\0';
    err = cv_keytext_parse(&text, CV_KEYTEXT_SESSION, key, why, why_len);
    if (err != CV_OK)
        return err;
    return open_place(out, node, &text.key, &none, events, user);
}

char *covim_place_key(const covim_place *place, char out[COVIM_KEY_TEXT])
{
    struct cv_keytext k = {.kind = CV_KEYTEXT_SESSION, .key = place->key};
    char text[CV_KEYTEXT_MAX];

    (void)cv_keytext_format(&k, text);
    (void)snprintf(out, COVIM_KEY_TEXT, "%.*s", COVIM_KEY_TEXT - 1, text);
    return out;
}

void covim_close(covim_place *place, void (*done)(void *user), void *user)
{
    if (place->closing)
        return;
    place->closing = true;
    place->done = done;
    place->done_user = user;
    cv_meeting_leave(place->meeting);
}
