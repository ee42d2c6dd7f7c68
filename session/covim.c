/* libcovim: the public interface over one node and its meetings.
 *
 * A place is a meeting whose members speak plain streams.  Who listens is its
 * host; who dials gets the role of an editor, which here means nothing more
 * than being let in, and is found by nobody. */
#include "covim/covim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/meeting.h"

#define SAME(name)                                                             \
    static_assert((int)COVIM_##name == (int)CV_##name, "one table of errors")
SAME(OK);
SAME(ERR_NOMEM);
SAME(ERR_FORMAT);
SAME(ERR_INVALID);
SAME(ERR_LIMIT);
SAME(ERR_TIMEOUT);
SAME(ERR_DENIED);
SAME(ERR_NOTFOUND);
SAME(ERR_IO);
SAME(ERR_PERM);
SAME(ERR_CLOSED);
SAME(ERR_AGAIN);
SAME(ERR_BUSY);
SAME(ERR_NONET);
SAME(ERR_PEER);
static_assert(COVIM_KEY_LEN == CV_KEY_LEN, "one length of keys");
static_assert(COVIM_KEY_TEXT == CV_KEYTEXT_LEN + 1, "one length of text");
static_assert(COVIM_NAME_TEXT == CV_NAME_MAX_TEXT, "one length of names");
static_assert(COVIM_PRINT_TEXT == CV_FINGERPRINT_TEXT, "one fingerprint");
static_assert(COVIM_DATAGRAM_MAX == CV_DATAGRAM_MAX, "one datagram");

struct covim_node {
    struct cv_loop *loop;
    struct cv_node *node;
    struct cv_log log;
    void (*sink)(void *user, int level, const char *line);
    void *sink_user;
};

struct covim_place {
    covim_node *node;
    const struct covim_events *events;
    void *user;
    struct cv_key key;
    bool listening;
    bool closing;
    struct cv_meeting *meeting;
    struct cv_timer *timer;
    covim_peer *peers;
    void (*done)(void *user);
    void *done_user;
    bool ended;
    char ended_text[CV_STAGE_TEXT];
    bool told;
    enum covim_state state;
    cv_time since;
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
};

struct covim_peer {
    covim_peer *next;
    covim_place *place;
    struct cv_neighbour *neighbour; /* NULL: it has ended, `closed` is due */
    uint8_t identity[COVIM_KEY_LEN];
    char name[COVIM_NAME_TEXT];
    void *user;
    uint32_t asked;   /* the knock that the program was told of */
    bool opening;     /* told */
    bool established; /* told */
    bool ended;       /* `closed` is to be told */
    int err;
    enum covim_path path;
    covim_stream *streams;
};

struct covim_stream {
    covim_stream *next;
    covim_peer *peer;
    struct cv_stream *stream;
    const struct covim_stream_events *events;
    void *user;
};

const char *covim_strerror(int err)
{
    return cv_strerror(err);
}

/* --- a node --- */

static void on_log(void *user, enum cv_log_level level, const char *line)
{
    covim_node *n = user;

    n->sink(n->sink_user, (int)level, line);
}

int covim_node_new(covim_node **out, const struct covim_config *config,
                   char *why, size_t why_len)
{
    covim_node *n = calloc(1, sizeof *n);
    struct cv_node_config c = {
        .rng = &cv_rng_system,
        .data_dir = config->data_dir,
        .name = config->name,
        .bootstrap = config->bootstrap,
        .n_bootstrap = config->n_bootstrap,
        .no_bootstrap = config->no_bootstrap,
        .stun = config->stun,
        .n_stun = config->n_stun,
        .gates = config->gates,
        .n_gates = config->n_gates,
        .gate_token = config->gate_token,
        .lan = config->lan,
        .port_mapping = config->port_mapping,
        .birthday = config->no_birthday       ? CV_NET_BIRTHDAY_OFF
                    : config->gentle_birthday ? CV_NET_BIRTHDAY_GENTLE
                                              : CV_NET_BIRTHDAY,
        .port = config->port,
        .dht_port = config->dht_port,
    };
    int err;

    if (n == NULL)
        return COVIM_ERR_NOMEM;
    n->sink = config->log;
    n->sink_user = config->log_user;
    n->log = (struct cv_log){
        .level = (enum cv_log_level)config->log_level,
        .sink = on_log,
        .user = n,
    };
    if (n->sink != NULL)
        c.log = &n->log;
    err = cv_loop_new(&n->loop);
    if (err == CV_OK) {
        c.loop = n->loop;
        err = cv_node_new(&n->node, &c, why, why_len);
    }
    if (err != CV_OK) {
        if (n->loop != NULL)
            cv_loop_free(n->loop);
        free(n);
        return err;
    }
    *out = n;
    return COVIM_OK;
}

void covim_node_free(covim_node *n)
{
    if (n == NULL)
        return;
    cv_node_free(n->node);
    cv_loop_free(n->loop);
    free(n);
}

const uint8_t *covim_node_identity(const covim_node *n)
{
    return cv_node_identity(n->node)->b;
}

uint16_t covim_node_dht_port(const covim_node *n)
{
    return cv_dht_port(n->node->dht);
}

void covim_run(covim_node *n)
{
    cv_loop_run(n->loop);
}

void covim_step(covim_node *n, unsigned wait_ms)
{
    cv_loop_once(n->loop,
                 cv_loop_now(n->loop) + (cv_time)wait_ms * CV_MILLISECOND);
}

void covim_stop(covim_node *n)
{
    cv_loop_stop(n->loop);
}

int covim_post(covim_node *n, void (*fn)(void *user), void *user)
{
    return cv_loop_post(n->loop, fn, user);
}

/* --- streams --- */

/* A stream may come before the program was told of the peer: tell it first. */
static void tell_established(covim_peer *p)
{
    if (p->established)
        return;
    p->established = true;
    if (!p->place->closing && p->place->events->established != NULL)
        p->place->events->established(p->place->user, p);
}

static void on_stream_data(void *user, struct cv_stream *cs,
                           struct cv_bytes data, bool fin)
{
    covim_stream *s = user;

    (void)cs;
    tell_established(s->peer);
    if (s->events != NULL && s->events->data != NULL)
        s->events->data(s->user, s, data.data, data.len, fin);
}

static void on_stream_writable(void *user, struct cv_stream *cs)
{
    covim_stream *s = user;

    (void)cs;
    if (s->events != NULL && s->events->writable != NULL)
        s->events->writable(s->user, s);
}

static void end_stream(covim_stream *s, int err)
{
    covim_stream **at = &s->peer->streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->stream = NULL;
    if (s->events != NULL && s->events->closed != NULL)
        s->events->closed(s->user, s, err);
    free(s);
}

static void on_stream_closed(void *user, struct cv_stream *cs, int err)
{
    (void)cs;
    end_stream(user, err);
}

static const struct cv_stream_events stream_events = {
    .data = on_stream_data,
    .writable = on_stream_writable,
    .closed = on_stream_closed,
};
static const struct cv_stream_events no_stream_events;

static covim_stream *wrap_stream(covim_peer *p, struct cv_stream *cs)
{
    covim_stream *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->peer = p;
    s->stream = cs;
    s->next = p->streams;
    p->streams = s;
    cv_stream_set_events(cs, &stream_events, s);
    return s;
}

int covim_stream_open(covim_stream **out, covim_peer *p)
{
    struct cv_stream *cs;
    int err;

    if (p->neighbour == NULL || p->neighbour->peer == NULL)
        return COVIM_ERR_CLOSED;
    err = cv_peer_open(p->neighbour->peer, &cs);
    if (err != CV_OK)
        return err;
    *out = wrap_stream(p, cs);
    if (*out != NULL)
        return COVIM_OK;
    cv_stream_reset(cs, CV_REFUSAL_INTERNAL);
    return COVIM_ERR_NOMEM;
}

void covim_stream_set_events(covim_stream *s,
                             const struct covim_stream_events *events,
                             void *user)
{
    s->events = events;
    s->user = user;
}

covim_peer *covim_stream_peer(const covim_stream *s)
{
    return s->peer;
}

int covim_stream_send(covim_stream *s, const void *data, size_t len)
{
    if (s->stream == NULL)
        return COVIM_ERR_CLOSED;
    return cv_stream_send(s->stream, CV_BYTES(data, len));
}

size_t covim_stream_unsent(const covim_stream *s)
{
    return s->stream != NULL ? cv_stream_unsent(s->stream) : 0;
}

void covim_stream_finish(covim_stream *s)
{
    if (s->stream != NULL)
        cv_stream_finish(s->stream);
}

void covim_stream_reset(covim_stream *s)
{
    if (s->stream != NULL)
        cv_stream_reset(s->stream, CV_REFUSAL_NONE);
}

void covim_stream_pause(covim_stream *s, bool paused)
{
    if (s->stream != NULL)
        cv_stream_pause(s->stream, paused);
}

/* --- peers --- */

static void wake(covim_place *place)
{
    cv_timer_set(place->timer, cv_loop_now(place->node->loop));
}

/* The peer that stands for a neighbour. */
static covim_peer *peer_of(covim_place *place, struct cv_neighbour *n)
{
    covim_peer *p = n->user;

    if (p == NULL) {
        p = calloc(1, sizeof *p);
        if (p == NULL)
            return NULL;
        p->place = place;
        p->neighbour = n;
        p->next = place->peers;
        place->peers = p;
        n->user = p;
    }
    memcpy(p->identity, n->identity.b, sizeof p->identity);
    memcpy(p->name, n->name, sizeof p->name);
    return p;
}

static void free_peer(covim_peer *p)
{
    covim_peer **at = &p->place->peers;

    while (p->streams != NULL) {
        covim_stream *s = p->streams;

        p->streams = s->next;
        if (s->stream != NULL) {
            cv_stream_set_events(s->stream, &no_stream_events, NULL);
            cv_stream_reset(s->stream, CV_REFUSAL_NONE);
        }
        free(s);
    }
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->neighbour != NULL)
        p->neighbour->user = NULL;
    free(p);
}

/* The connection is gone, and its streams with it; the program is told in its
 * turn. */
static void end_peer(covim_peer *p, int err)
{
    while (p->streams != NULL) {
        covim_stream *s = p->streams;

        if (s->stream != NULL) {
            cv_stream_set_events(s->stream, &no_stream_events, NULL);
            cv_stream_reset(s->stream, CV_REFUSAL_NONE);
        }
        end_stream(s, COVIM_ERR_CLOSED);
    }
    if (p->neighbour != NULL)
        p->neighbour->user = NULL;
    p->neighbour = NULL;
    p->ended = true;
    p->err = err;
    wake(p->place);
}

const uint8_t *covim_peer_identity(const covim_peer *p)
{
    return p->identity;
}

char *covim_peer_fingerprint(const covim_peer *p, char out[COVIM_PRINT_TEXT])
{
    struct cv_key key;

    memcpy(key.b, p->identity, sizeof key.b);
    return cv_fingerprint(&key, out);
}

const char *covim_peer_name(const covim_peer *p)
{
    return p->name;
}

covim_place *covim_peer_place(const covim_peer *p)
{
    return p->place;
}

void covim_peer_set_user(covim_peer *p, void *user)
{
    p->user = user;
}

void *covim_peer_user(const covim_peer *p)
{
    return p->user;
}

int covim_accept(covim_peer *p)
{
    if (p->neighbour == NULL || p->neighbour->knock == 0)
        return COVIM_ERR_NOTFOUND;
    return cv_meeting_accept(p->place->meeting, p->neighbour->knock,
                             CV_ROLE_EDITOR);
}

int covim_reject(covim_peer *p, const char *reason)
{
    if (p->neighbour == NULL || p->neighbour->knock == 0)
        return COVIM_ERR_NOTFOUND;
    return cv_meeting_reject(p->place->meeting, p->neighbour->knock,
                             reason != NULL ? reason : "");
}

void covim_peer_close(covim_peer *p)
{
    if (p->neighbour != NULL && p->neighbour->peer != NULL)
        cv_peer_leave(p->neighbour->peer, "closed");
}

int covim_datagram(covim_peer *p, const void *data, size_t len)
{
    if (p->neighbour == NULL || p->neighbour->peer == NULL)
        return COVIM_ERR_CLOSED;
    if (!cv_peer_is_member(p->neighbour->peer))
        return COVIM_ERR_INVALID;
    if (len > COVIM_DATAGRAM_MAX)
        return COVIM_ERR_LIMIT;
    return cv_conn_datagram(cv_peer_conn(p->neighbour->peer),
                            CV_BYTES(data, len));
}

/* --- places: what the meeting tells --- */

static void on_changed(void *user)
{
    wake(user);
}

static void on_knock(void *user, struct cv_neighbour *n, bool gone)
{
    covim_place *place = user;

    if (!gone)
        (void)peer_of(place, n);
    wake(place);
}

static void on_opening(void *user, struct cv_neighbour *n)
{
    covim_place *place = user;
    covim_peer *p;

    if (place->closing || place->events->opening == NULL)
        return;
    p = peer_of(place, n);
    if (p == NULL)
        return;
    p->opening = true;
    place->events->opening(place->user, p);
}

static void on_member(void *user, struct cv_neighbour *n)
{
    covim_place *place = user;

    if (peer_of(place, n) == NULL)
        cv_peer_close(n->peer, CV_REFUSAL_INTERNAL, "");
    wake(place);
}

static void on_lost(void *user, struct cv_neighbour *n, bool left)
{
    (void)user;
    if (n->user != NULL)
        end_peer(n->user, left ? COVIM_OK : COVIM_ERR_PEER);
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
    tell_established(p);
    s = wrap_stream(p, cs);
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
    tell_established(n->user);
    place->events->datagram(place->user, n->user, data.data, data.len);
}

static void on_forget(void *user, struct cv_neighbour *n)
{
    (void)user;
    free_peer(n->user);
}

static void on_refused(void *user, const char *text)
{
    covim_place *place = user;

    place->ended = true;
    (void)snprintf(place->ended_text, sizeof place->ended_text, "%s", text);
    wake(place);
}

static void free_place(covim_place *place)
{
    while (place->peers != NULL)
        free_peer(place->peers);
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

/* --- places: what is told --- */

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
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
    enum covim_state state;
    struct cv_facts f;

    cv_meeting_facts(place->meeting, &f);
    f.ended = place->ended;
    f.in_step = true;
    f.have_text = place->listening;
    f.all_left = f.all_left || place->listening;
    if (place->ended)
        f.failure = place->ended_text;
    state = state_of(cv_finding_state(&f));
    if (!place->told || state != place->state)
        place->since = now;
    f.elapsed = now - place->since;
    cv_finding_tell(&f, stage, hint);
    if (place->told && state == place->state &&
        strcmp(stage, place->stage) == 0 && strcmp(hint, place->hint) == 0)
        return;
    place->told = true;
    place->state = state;
    memcpy(place->stage, stage, sizeof stage);
    memcpy(place->hint, hint, sizeof hint);
    if (place->events->state != NULL)
        place->events->state(place->user, place, state, stage, hint);
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
        free_peer(p);
        return true;
    }
    if (n->peer == NULL) { /* it was never let in */
        end_peer(p, COVIM_ERR_CLOSED);
        return true;
    }
    if (cv_peer_is_member(n->peer) && !p->established) {
        tell_established(p);
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
    next = cv_finding_next(now - place->since);
    if (next != CV_NEVER)
        cv_timer_set(place->timer, place->since + next);
}

/* --- places: listen, dial, close --- */

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
    wake(place);
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
