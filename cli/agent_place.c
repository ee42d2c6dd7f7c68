#include "cli/agent_struct.h"

#include <stdio.h>
#include <string.h>

#include "cli/wholetext.h"
#include "discovery/token.h"

struct cv_place *cv_place_new(struct cv_agent *a)
{
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++) {
        struct cv_place *p = &a->places[i];

        if (p->number)
            continue;
        memset(p, 0, sizeof(*p));
        p->agent = a;
        p->number = ++a->numbers;
        p->since = cv_loop_now(a->loop);
        return p;
    }
    return NULL;
}

struct cv_place *cv_place_find(struct cv_agent *a, const struct cv_json *params)
{
    uint64_t number;

    if (!cv_json_get_uint(params, "session", &number) || !number)
        return NULL;
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++)
        if (a->places[i].number == number)
            return &a->places[i];
    return NULL;
}

struct cv_buffer *cv_place_buffer(struct cv_agent *a,
                                  const struct cv_json *params)
{
    uint64_t number;

    if (!cv_json_get_uint(params, "doc", &number))
        return NULL;
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++) {
        struct cv_buffer *b = a->places[i].number ? a->places[i].buffer : NULL;

        if (b && cv_buffer_number(b) == number)
            return b;
    }
    return NULL;
}

struct cv_place *cv_place_of(struct cv_agent *a, const struct cv_buffer *b)
{
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++)
        if (a->places[i].number && a->places[i].buffer == b)
            return &a->places[i];
    return NULL;
}

static void forget_knocks(struct cv_place *p)
{
    for (size_t i = 0; i < CV_AGENT_KNOCKS; i++)
        if (p->agent->asked[i].place == p)
            memset(&p->agent->asked[i], 0, sizeof(p->agent->asked[i]));
}

void cv_place_clear(struct cv_place *p)
{
    forget_knocks(p);
    cv_buffer_free(p->buffer);
    memset(p, 0, sizeof(*p));
}

void cv_place_put_key(struct cv_json_out *o, const struct cv_key *session)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION, .key = *session};
    char buf[CV_KEYTEXT_MAX];

    cv_json_put_text(o, "key", cv_keytext_format(&text, buf));
}

static const char *path_text(const struct cv_member *m)
{
    switch (m->path) {
    case CV_MEMBER_PATH_LAN:
        return "lan";
    case CV_MEMBER_PATH_DIRECT:
        return "direct";
    case CV_MEMBER_PATH_GATE:
        return "gate";
    case CV_MEMBER_PATH_NONE:
        break;
    }
    return "";
}

void cv_place_put_member(struct cv_json_out *o, const struct cv_place *p,
                         const struct cv_member *m)
{
    cv_json_put_uint(o, "session", p->number);
    cv_json_put_uint(o, "id", m->id);
    cv_json_put_text(o, "name", m->name);
    cv_json_put_text(o, "fingerprint", m->fingerprint);
    cv_json_put_text(o, "role", cv_role_name(m->role));
    cv_json_put_text(o, "path", path_text(m));
    cv_json_put_uint(o, "rtt_ms", m->rtt_ms);
}

/* --- what sessions say --- */

void cv_place_put_state(struct cv_json_out *o, const struct cv_place *p)
{
    cv_time elapsed = cv_loop_now(p->agent->loop) - p->since;

    cv_json_put_uint(o, "session", p->number);
    cv_json_put_text(o, "state", cv_session_state_name(p->state));
    cv_json_put_text(o, "stage", p->stage);
    cv_json_put_uint(o, "elapsed_ms", (uint64_t)(elapsed / CV_MILLISECOND));
    cv_json_put_text(o, "hint", p->hint);
}

static void on_state(void *user, enum cv_session_state state, const char *stage,
                     const char *hint)
{
    struct cv_place *p = user;

    if (state != p->state)
        p->since = cv_loop_now(p->agent->loop);
    p->state = state;
    snprintf(p->stage, sizeof(p->stage), "%s", stage);
    snprintf(p->hint, sizeof(p->hint), "%s", hint);
    cv_place_put_state(cv_rpc_notify(p->agent->rpc, "session"), p);
    cv_rpc_send(p->agent->rpc);
}

static struct cv_asked *find_asked(struct cv_agent *a, const struct cv_place *p,
                                   uint32_t id)
{
    for (size_t i = 0; i < CV_AGENT_KNOCKS; i++)
        if (a->asked[i].number && a->asked[i].place == p &&
            a->asked[i].id == id)
            return &a->asked[i];
    return NULL;
}

static struct cv_asked *new_asked(struct cv_place *p, const struct cv_knock *k)
{
    struct cv_agent *a = p->agent;

    for (size_t i = 0; i < CV_AGENT_KNOCKS; i++) {
        struct cv_asked *q = &a->asked[i];

        if (q->number)
            continue;
        q->number = ++a->numbers;
        q->place = p;
        q->id = k->id;
        q->wants = k->wants;
        snprintf(q->name, sizeof(q->name), "%s", k->name);
        return q;
    }
    return NULL;
}

static void on_knock(void *user, const struct cv_knock *k, bool gone)
{
    struct cv_place *p = user;
    struct cv_asked *q = find_asked(p->agent, p, k->id);
    struct cv_json_out *o;

    if (!q && !gone)
        q = new_asked(p, k);
    if (!q) {
        cv_warn(p->agent->log, "agent: too many knocks at once");
        return;
    }
    o = cv_rpc_notify(p->agent->rpc, "knock");
    cv_json_put_uint(o, "session", p->number);
    cv_json_put_uint(o, "id", q->number);
    cv_json_put_text(o, "name", k->name);
    cv_json_put_text(o, "fingerprint", k->fingerprint);
    cv_json_put_text(o, "wants", cv_role_name(k->wants));
    cv_json_put_uint(o, "expires_s", k->expires_s);
    cv_json_put_bool(o, "gone", gone);
    cv_rpc_send(p->agent->rpc);
    if (gone)
        memset(q, 0, sizeof(*q));
}

static void on_member(void *user, const struct cv_member *m)
{
    struct cv_place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "peer");

    cv_place_put_member(o, p, m);
    cv_json_put_text(o, "state", m->connected ? "joined" : "left");
    cv_rpc_send(p->agent->rpc);
}

static void announce_document(struct cv_place *p)
{
    const struct cv_document_meta *meta =
        cv_document_meta(cv_buffer_document(p->buffer));
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "doc");
    struct cv_writer text;

    if (cv_wholetext_read(cv_buffer_document(p->buffer), &text) != CV_OK)
        cv_error(p->agent->log, "agent: the text could not be read");
    cv_json_put_uint(o, "session", p->number);
    cv_json_put_uint(o, "doc", cv_buffer_number(p->buffer));
    cv_json_put_uint(o, "epoch", cv_buffer_epoch(p->buffer));
    cv_json_put_text(o, "path", meta->path);
    cv_json_put_text(o, "role", cv_role_name(cv_session_role(p->session)));
    cv_buffer_put_lines(o, cv_writer_bytes(&text));
    cv_json_put_text(o, "ft", meta->ft);
    cv_json_put_text(o, "ff", meta->ff);
    cv_json_put_text(o, "fenc", meta->fenc);
    cv_json_put_bool(o, "bomb", meta->bomb);
    cv_rpc_send(p->agent->rpc);
    cv_writer_fini(&text);
}

void cv_place_document(void *user, struct cv_document *d)
{
    struct cv_place *p = user;
    struct cv_agent *a = p->agent;

    if (p->buffer && cv_buffer_document(p->buffer) == d)
        return;
    if (p->buffer || cv_buffer_new(&p->buffer, a->rpc, a->log, d, ++a->numbers,
                                   1, p->eol) != CV_OK) {
        cv_error(a->log, "agent: no place for a document");
        return;
    }
    if (p->announce)
        announce_document(p);
}

static void on_role(void *user, enum cv_role role)
{
    struct cv_place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "role");

    cv_json_put_uint(o, "session", p->number);
    cv_json_put_uint(o, "doc", p->buffer ? cv_buffer_number(p->buffer) : 0);
    cv_json_put_text(o, "role", cv_role_name(role));
    cv_rpc_send(p->agent->rpc);
}

static void on_notice(void *user, int level, const char *text, const char *tag)
{
    static const char *const names[] = {"info", "warn", "error"};
    struct cv_place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "notice");

    if (level == 2)
        snprintf(p->agent->last_error, sizeof(p->agent->last_error), "%s",
                 text);
    cv_json_put_text(o, "level", names[level >= 0 && level <= 2 ? level : 2]);
    cv_json_put_text(o, "text", text);
    cv_json_put_text(o, "tag", tag);
    cv_rpc_send(p->agent->rpc);
}

static void on_token(void *user, const char *text, const char *why)
{
    struct cv_place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "token");

    cv_json_put_uint(o, "session", p->number);
    cv_json_put_text(
        o, "kind",
        text != NULL && cv_token_is(CV_TOKEN_GUEST, text) ? "guest" : "host");
    cv_json_put_text(o, "token", text != NULL ? text : "");
    cv_json_put_uint(o, "expires_s", CV_TOKEN_LIFETIME_S);
    cv_json_put_text(o, "why", why);
    cv_rpc_send(p->agent->rpc);
}

const struct cv_session_events cv_place_events = {
    on_state, on_knock,  on_member, cv_place_document,
    on_role,  on_notice, on_token};
