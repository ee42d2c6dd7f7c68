#include "cli/agent.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/osc52.h"
#include "cli/rpc.h"

#define PROTOCOL        1
#define SESSIONS_MAX    32
#define KNOCKS_MAX      64
#define LEAVE_TIME      (3 * CV_SECOND) /* sessions promise 2 s */
#define LAST_ERROR_TEXT 256

struct agent;

/* One session of the editor, with at most one document. */
struct place {
    struct agent *agent;
    uint64_t number; /* 0: free */
    struct cv_session *session;
    struct cv_buffer *buffer;
    bool eol;      /* of the buffer that was shared or resumed */
    bool announce; /* the document's text is news to the editor */
    bool leaving;
    struct cv_rpc_id leave_id;
    enum cv_session_state state;
    char stage[256], hint[512];
    cv_time since; /* the state began */
};

/* A knock as the editor knows it. */
struct asked {
    uint64_t number; /* 0: free */
    struct place *place;
    uint32_t id;
    char name[CV_NAME_MAX_TEXT];
    enum cv_role wants;
};

struct agent {
    struct cv_options *options;
    struct cv_log *log;
    struct cv_loop *loop;
    struct cv_rpc *rpc;
    struct cv_node *node;
    struct cv_timer *ender;
    struct cv_signal *term, *hup;
    uint64_t numbers; /* the last one given to anything */
    struct place places[SESSIONS_MAX];
    struct asked asked[KNOCKS_MAX];
    bool ending;
    struct cv_rpc_id end_id;
    char last_error[LAST_ERROR_TEXT];
};

/* --- saying things --- */

static enum cv_rpc_code code_of(int err)
{
    switch (err) {
    case CV_ERR_FORMAT:
    case CV_ERR_LIMIT:
        return CV_RPC_BAD_TEXT;
    case CV_ERR_PERM:
        return CV_RPC_IDENTITY;
    case CV_ERR_NOTFOUND:
        return CV_RPC_NOT_FOUND;
    case CV_ERR_BUSY:
        return CV_RPC_BUSY;
    case CV_ERR_NONET:
        return CV_RPC_NO_NETWORK;
    default:
        return CV_RPC_FAILED;
    }
}

static void answer_error(struct agent *a, const struct cv_rpc_id *id,
                         enum cv_rpc_code code, const char *message,
                         const char *hint)
{
    snprintf(a->last_error, sizeof(a->last_error), "%s", message);
    cv_rpc_error(a->rpc, id, code, message, hint);
}

static void answer_ok(struct agent *a, const struct cv_rpc_id *id)
{
    if (!id->present)
        return;
    cv_rpc_result(a->rpc, id);
    cv_rpc_send(a->rpc);
}

static void put_key(struct cv_json_out *o, const struct cv_session *session)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION,
                              .key = *cv_session_key(session)};
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

static void put_member(struct cv_json_out *o, const struct place *p,
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

/* --- places --- */

static struct place *place_new(struct agent *a)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct place *p = &a->places[i];

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

static struct place *place_find(struct agent *a, const struct cv_json *params)
{
    uint64_t number;

    if (!cv_json_get_uint(params, "session", &number) || !number)
        return NULL;
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (a->places[i].number == number)
            return &a->places[i];
    return NULL;
}

static struct cv_buffer *buffer_find(struct agent *a,
                                     const struct cv_json *params)
{
    uint64_t number;

    if (!cv_json_get_uint(params, "doc", &number))
        return NULL;
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct cv_buffer *b = a->places[i].number ? a->places[i].buffer : NULL;

        if (b && cv_buffer_number(b) == number)
            return b;
    }
    return NULL;
}

static void forget_knocks(struct place *p)
{
    for (size_t i = 0; i < KNOCKS_MAX; i++)
        if (p->agent->asked[i].place == p)
            memset(&p->agent->asked[i], 0, sizeof(p->agent->asked[i]));
}

static void place_clear(struct place *p)
{
    forget_knocks(p);
    cv_buffer_free(p->buffer);
    memset(p, 0, sizeof(*p));
}

/* --- what sessions say --- */

static void put_state(struct cv_json_out *o, const struct place *p)
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
    struct place *p = user;

    if (state != p->state)
        p->since = cv_loop_now(p->agent->loop);
    p->state = state;
    snprintf(p->stage, sizeof(p->stage), "%s", stage);
    snprintf(p->hint, sizeof(p->hint), "%s", hint);
    put_state(cv_rpc_notify(p->agent->rpc, "session"), p);
    cv_rpc_send(p->agent->rpc);
}

static struct asked *find_asked(struct agent *a, const struct place *p,
                                uint32_t id)
{
    for (size_t i = 0; i < KNOCKS_MAX; i++)
        if (a->asked[i].number && a->asked[i].place == p &&
            a->asked[i].id == id)
            return &a->asked[i];
    return NULL;
}

static struct asked *new_asked(struct place *p, const struct cv_knock *k)
{
    struct agent *a = p->agent;

    for (size_t i = 0; i < KNOCKS_MAX; i++) {
        struct asked *q = &a->asked[i];

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
    struct place *p = user;
    struct asked *q = find_asked(p->agent, p, k->id);
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
    struct place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "peer");

    put_member(o, p, m);
    cv_json_put_text(o, "state", m->connected ? "joined" : "left");
    cv_rpc_send(p->agent->rpc);
}

static void announce_document(struct place *p)
{
    const struct cv_document_meta *meta =
        cv_document_meta(cv_buffer_document(p->buffer));
    const struct cv_doc *doc = cv_document_text(cv_buffer_document(p->buffer));
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "doc");
    struct cv_writer text;

    cv_writer_init_heap(&text, 2 * (size_t)CV_DOCUMENT_MAX);
    if (cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &text) != CV_OK)
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

static void on_document(void *user, struct cv_document *d)
{
    struct place *p = user;
    struct agent *a = p->agent;

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
    struct place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "role");

    cv_json_put_uint(o, "session", p->number);
    cv_json_put_uint(o, "doc", p->buffer ? cv_buffer_number(p->buffer) : 0);
    cv_json_put_text(o, "role", cv_role_name(role));
    cv_rpc_send(p->agent->rpc);
}

static void on_notice(void *user, int level, const char *text, const char *tag)
{
    static const char *const names[] = {"info", "warn", "error"};
    struct place *p = user;
    struct cv_json_out *o = cv_rpc_notify(p->agent->rpc, "notice");

    if (level == 2)
        snprintf(p->agent->last_error, sizeof(p->agent->last_error), "%s",
                 text);
    cv_json_put_text(o, "level", names[level >= 0 && level <= 2 ? level : 2]);
    cv_json_put_text(o, "text", text);
    cv_json_put_text(o, "tag", tag);
    cv_rpc_send(p->agent->rpc);
}

static const struct cv_session_events session_events = {
    on_state, on_knock, on_member, on_document, on_role, on_notice};

/* --- requests --- */

static int take_servers(struct cv_servers *s, const struct cv_json *list)
{
    char item[300];
    int err = CV_OK;

    if (!list)
        return CV_OK;
    if (cv_json_count(list))
        cv_servers_clear(s);
    for (size_t i = 0; err == CV_OK && i < cv_json_count(list); i++) {
        struct cv_bytes text;

        if (!cv_json_string(cv_json_at(list, i), &text) ||
            text.len >= sizeof(item))
            return CV_ERR_FORMAT;
        memcpy(item, text.data, text.len);
        item[text.len] = '\0';
        err = cv_servers_add(s, item);
    }
    return err;
}

struct stored_out {
    struct cv_json_out *o;
};

static void put_stored(void *user, const struct cv_key *session,
                       const char *path, enum cv_role role, bool mine)
{
    struct stored_out *s = user;
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION, .key = *session};
    char buf[CV_KEYTEXT_MAX];

    cv_json_begin(s->o, NULL, '{');
    cv_json_put_text(s->o, "key", cv_keytext_format(&text, buf));
    cv_json_put_text(s->o, "path", path);
    cv_json_put_text(s->o, "role", cv_role_name(role));
    cv_json_put_bool(s->o, "mine", mine);
    cv_json_end(s->o, '}');
}

static void put_fingerprint(struct agent *a, struct cv_json_out *o)
{
    char text[CV_FINGERPRINT_TEXT];

    cv_json_put_text(o, "fingerprint",
                     cv_fingerprint(cv_node_identity(a->node), text));
}

static void req_hello(struct agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct cv_node_config config;
    struct cv_json_out *o;
    struct stored_out stored;
    char why[512] = "", level[16];
    uint64_t protocol = 0;
    int err;

    if (!cv_json_get_uint(params, "protocol", &protocol) ||
        protocol != PROTOCOL) {
        answer_error(a, id, CV_RPC_BAD_PARAMS,
                     "this agent speaks version 1 of the editor protocol",
                     "install the plugin and covim of the same version");
        return;
    }
    if (cv_json_copy(params, "name", why, CV_NAME_MAX_TEXT) && *why)
        snprintf(a->options->name, sizeof(a->options->name), "%.*s",
                 CV_NAME_MAX_TEXT - 1, why);
    why[0] = '\0';
    cv_json_get_bool(params, "lan", &a->options->lan);
    if (cv_json_copy(params, "log", level, sizeof(level)))
        cv_log_level_parse(level, &a->log->level);
    if (take_servers(&a->options->bootstrap,
                     cv_json_get(params, "bootstrap")) != CV_OK ||
        take_servers(&a->options->stun, cv_json_get(params, "stun")) != CV_OK) {
        answer_error(a, id, CV_RPC_BAD_PARAMS,
                     "a bootstrap or STUN server is not HOST:PORT",
                     "check g:covim_bootstrap and g:covim_stun");
        return;
    }
    if (!a->node) {
        cv_options_node(a->options, a->loop, a->log, &config);
        err = cv_node_new(&a->node, &config, why, sizeof(why));
        if (err != CV_OK) {
            answer_error(a, id, code_of(err), why[0] ? why : cv_strerror(err),
                         "");
            return;
        }
    } else {
        cv_node_set_name(a->node, a->options->name);
    }
    o = cv_rpc_result(a->rpc, id);
    cv_json_put_text(o, "version", COVIM_VERSION);
    cv_json_put_uint(o, "protocol", PROTOCOL);
    cv_json_put_text(o, "name", cv_node_name(a->node));
    put_fingerprint(a, o);
    cv_json_begin(o, "sessions", '[');
    stored.o = o;
    cv_node_stored(a->node, put_stored, &stored);
    cv_json_end(o, ']');
    cv_rpc_send(a->rpc);
}

static void put_place(struct cv_json_out *o, const struct place *p)
{
    cv_json_put_uint(o, "session", p->number);
    put_key(o, p->session);
    if (p->buffer) {
        cv_json_put_uint(o, "doc", cv_buffer_number(p->buffer));
        cv_json_put_uint(o, "epoch", cv_buffer_epoch(p->buffer));
    }
}

static bool lines_of(struct agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params, struct cv_writer *text)
{
    int err;

    cv_writer_init_heap(text, 2 * (size_t)CV_DOCUMENT_MAX);
    err = cv_buffer_text(params, text);
    if (err == CV_OK)
        return true;
    cv_writer_fini(text);
    answer_error(a, id, CV_RPC_BAD_TEXT,
                 err == CV_ERR_LIMIT ? "this text is larger than 64 MiB"
                                     : "this text has a NUL or is not UTF-8",
                 err == CV_ERR_LIMIT
                     ? "share a smaller file"
                     : "only text can be shared; check 'fileencoding'");
    return false;
}

static void req_share(struct agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct cv_share_options options = {.admission = CV_ADMIT_ASK,
                                       .role = CV_ROLE_EDITOR};
    struct cv_json_out *o;
    struct cv_writer text;
    struct place *p;
    char word[16], why[512] = "";
    int err;

    if (!lines_of(a, id, params, &text))
        return;
    cv_buffer_meta(params, &options.meta);
    options.text = cv_writer_bytes(&text);
    if (cv_json_copy(params, "admission", word, sizeof(word)) &&
        strcmp(word, "open") == 0)
        options.admission = CV_ADMIT_OPEN;
    if (cv_json_copy(params, "role", word, sizeof(word)) &&
        strcmp(word, "viewer") == 0)
        options.role = CV_ROLE_VIEWER;
    p = place_new(a);
    if (!p) {
        cv_writer_fini(&text);
        answer_error(a, id, CV_RPC_FAILED, "too many sessions in one editor",
                     ":CoVim leave one of them");
        return;
    }
    p->eol = true;
    cv_json_get_bool(params, "eol", &p->eol);
    err = cv_session_share(&p->session, a->node, &options, &session_events, p,
                           why, sizeof(why));
    cv_writer_fini(&text);
    if (err != CV_OK) {
        place_clear(p);
        answer_error(a, id, code_of(err), why[0] ? why : cv_strerror(err), "");
        return;
    }
    on_document(p, cv_session_document(p->session));
    o = cv_rpc_result(a->rpc, id);
    put_place(o, p);
    cv_osc52_put_key(o, cv_session_key(p->session));
    cv_rpc_send(a->rpc);
}

static bool key_of(struct agent *a, const struct cv_rpc_id *id,
                   const struct cv_json *params, struct cv_keytext *key)
{
    char text[256], why[256] = "";

    cv_json_copy(params, "key", text, sizeof(text));
    if (cv_keytext_parse(key, CV_KEYTEXT_SESSION, text, why, sizeof(why)) ==
        CV_OK)
        return true;
    answer_error(a, id, CV_RPC_BAD_KEY, why,
                 "ask for the key again, and paste it whole");
    return false;
}

/* Is this session open in this agent already? */
static bool is_open(const struct agent *a, const struct cv_key *key)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        const struct place *p = &a->places[i];

        if (p->number && p->session && !p->leaving &&
            cv_key_equal(cv_session_key(p->session), key))
            return true;
    }
    return false;
}

static struct place *place_for_key(struct agent *a, const struct cv_rpc_id *id,
                                   const struct cv_keytext *key)
{
    struct place *p;

    if (is_open(a, &key->key)) {
        answer_error(a, id, CV_RPC_BUSY, "this editor has that session open",
                     ":CoVim status shows it");
        return NULL;
    }
    p = place_new(a);
    if (!p)
        answer_error(a, id, CV_RPC_FAILED, "too many sessions in one editor",
                     ":CoVim leave one of them");
    return p;
}

static void req_join(struct agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params)
{
    struct cv_keytext key;
    struct cv_json_out *o;
    struct place *p;
    char why[512] = "";
    int err;

    if (!key_of(a, id, params, &key))
        return;
    p = place_for_key(a, id, &key);
    if (!p)
        return;
    p->eol = p->announce = true;
    err = cv_session_join(&p->session, a->node, &key, &session_events, p, why,
                          sizeof(why));
    if (err != CV_OK) {
        place_clear(p);
        answer_error(a, id, code_of(err), why[0] ? why : cv_strerror(err), "");
        return;
    }
    o = cv_rpc_result(a->rpc, id);
    cv_json_put_uint(o, "session", p->number);
    cv_rpc_send(a->rpc);
}

static void req_resume(struct agent *a, const struct cv_rpc_id *id,
                       const struct cv_json *params)
{
    struct cv_keytext key;
    struct cv_json_out *o;
    struct cv_writer text;
    struct cv_document *d;
    struct place *p;
    char why[512] = "";
    int err;

    if (!key_of(a, id, params, &key) || !lines_of(a, id, params, &text))
        return;
    p = place_for_key(a, id, &key);
    if (!p) {
        cv_writer_fini(&text);
        return;
    }
    p->eol = true;
    cv_json_get_bool(params, "eol", &p->eol);
    err = cv_session_resume(&p->session, a->node, &key, &session_events, p, why,
                            sizeof(why));
    d = err == CV_OK ? cv_session_document(p->session) : NULL;
    if (err == CV_OK && !d)
        err = CV_ERR_NOTFOUND;
    if (err != CV_OK) {
        cv_writer_fini(&text);
        if (p->session)
            cv_session_leave(p->session, NULL, NULL);
        place_clear(p);
        answer_error(a, id, code_of(err), why[0] ? why : cv_strerror(err), "");
        return;
    }
    /* The events come later: what the editor has must not echo. */
    cv_buffer_free(p->buffer);
    p->buffer = NULL;
    err = cv_buffer_take(d, cv_writer_bytes(&text));
    cv_writer_fini(&text);
    on_document(p, d);
    o = cv_rpc_result(a->rpc, id);
    put_place(o, p);
    cv_json_put_text(o, "role", cv_role_name(cv_session_role(p->session)));
    cv_json_put_bool(o, "mine", cv_session_is_mine(p->session));
    cv_rpc_send(a->rpc);
    if (err != CV_OK && p->buffer)
        cv_buffer_resync(p->buffer, err == CV_ERR_DENIED
                                        ? "you may read this text, not "
                                          "change it"
                                        : cv_strerror(err));
}

static struct asked *asked_of(struct agent *a, const struct cv_json *params)
{
    struct asked *found = NULL;
    struct cv_bytes name;
    uint64_t number = 0;

    cv_json_get_uint(params, "id", &number);
    for (size_t i = 0; number && i < KNOCKS_MAX; i++)
        if (a->asked[i].number == number)
            return &a->asked[i];
    if (number || !cv_json_get_string(params, "name", &name))
        return NULL;
    for (size_t i = 0; i < KNOCKS_MAX; i++) {
        struct asked *q = &a->asked[i];

        if (q->number && strlen(q->name) == name.len &&
            memcmp(q->name, name.data, name.len) == 0) {
            if (found) /* two of one name: only the id tells */
                return NULL;
            found = q;
        }
    }
    return found;
}

static void req_answer(struct agent *a, const struct cv_rpc_id *id,
                       const struct cv_json *params, bool accept)
{
    struct asked *q = asked_of(a, params);
    char word[128] = "";
    enum cv_role role;
    int err;

    if (!q) {
        answer_error(a, id, CV_RPC_NOT_FOUND,
                     "nobody of that name knocks, or several do",
                     ":CoVim status lists who knocks");
        return;
    }
    role = q->wants;
    if (accept) {
        if (cv_json_copy(params, "role", word, sizeof(word)) && *word)
            role =
                strcmp(word, "viewer") == 0 ? CV_ROLE_VIEWER : CV_ROLE_EDITOR;
        err = cv_session_accept(q->place->session, q->id, role);
    } else {
        cv_json_copy(params, "reason", word, sizeof(word));
        err = cv_session_reject(q->place->session, q->id, word);
    }
    if (err != CV_OK)
        answer_error(a, id, code_of(err),
                     err == CV_ERR_NOTFOUND ? "that knock is over"
                                            : cv_strerror(err),
                     "");
    else
        answer_ok(a, id);
}

struct members_out {
    struct cv_json_out *o;
    const struct place *place;
    unsigned connected;
};

static void put_each_member(void *user, const struct cv_member *m)
{
    struct members_out *out = user;

    cv_json_begin(out->o, NULL, '{');
    put_member(out->o, out->place, m);
    cv_json_put_text(out->o, "state", m->connected ? "joined" : "left");
    cv_json_end(out->o, '}');
}

static void count_member(void *user, const struct cv_member *m)
{
    struct members_out *out = user;

    out->connected += m->connected;
}

static void req_peers(struct agent *a, const struct cv_rpc_id *id)
{
    struct cv_json_out *o = cv_rpc_result(a->rpc, id);

    cv_json_begin(o, "peers", '[');
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct members_out out = {o, &a->places[i], 0};

        if (a->places[i].number && a->places[i].session)
            cv_session_members(a->places[i].session, put_each_member, &out);
    }
    cv_json_end(o, ']');
    cv_rpc_send(a->rpc);
}

static void put_status_of(struct cv_json_out *o, const struct place *p)
{
    struct members_out out = {o, p, 0};
    char text[1024] = "";

    cv_json_begin(o, NULL, '{');
    put_key(o, p->session);
    put_state(o, p);
    cv_session_members(p->session, count_member, &out);
    cv_json_put_uint(o, "peers", out.connected);
    cv_session_describe(p->session, text, sizeof(text));
    cv_json_put_text(o, "about", text);
    cv_json_begin(o, "docs", '[');
    if (p->buffer) {
        cv_json_begin(o, NULL, '{');
        cv_json_put_uint(o, "doc", cv_buffer_number(p->buffer));
        cv_json_put_text(o, "path",
                         cv_document_meta(cv_buffer_document(p->buffer))->path);
        cv_json_put_uint(o, "unsynced", cv_buffer_unsynced(p->buffer));
        cv_json_end(o, '}');
    }
    cv_json_end(o, ']');
    cv_json_end(o, '}');
}

static void req_status(struct agent *a, const struct cv_rpc_id *id)
{
    struct cv_json_out *o = cv_rpc_result(a->rpc, id);
    struct cv_node_status status;

    cv_node_status(a->node, &status);
    cv_json_put_text(o, "version", COVIM_VERSION);
    put_fingerprint(a, o);
    cv_json_begin(o, "dht", '{');
    cv_json_put_text(o, "state", status.dht);
    cv_json_end(o, '}');
    cv_json_put_text(o, "network", status.network);
    cv_json_begin(o, "sessions", '[');
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (a->places[i].number && a->places[i].session &&
            !a->places[i].leaving)
            put_status_of(o, &a->places[i]);
    cv_json_end(o, ']');
    cv_json_put_text(o, "last_error", a->last_error);
    cv_rpc_send(a->rpc);
}

/* --- leaving --- */

static bool all_left(const struct agent *a)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (a->places[i].number)
            return false;
    return true;
}

static void end_now(void *user)
{
    struct agent *a = user;

    answer_ok(a, &a->end_id);
    cv_loop_stop(a->loop);
}

static void on_left(void *user)
{
    struct place *p = user;
    struct agent *a = p->agent;

    answer_ok(a, &p->leave_id);
    p->session = NULL;
    place_clear(p);
    if (a->ending && all_left(a))
        end_now(a);
}

static void leave(struct place *p, const struct cv_rpc_id *id)
{
    if (p->leaving)
        return;
    p->leaving = true;
    if (id)
        p->leave_id = *id;
    cv_buffer_free(p->buffer);
    p->buffer = NULL;
    cv_session_leave(p->session, on_left, p);
}

static void req_undo(struct agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params, enum cv_undo_way way)
{
    struct cv_buffer *b = buffer_find(a, params);
    struct cv_json_out *o;
    struct cv_buffer_undone undone;
    int err = b ? cv_buffer_undo(b, params, way, &undone) : CV_ERR_INVALID;

    if (err != CV_OK) {
        answer_error(a, id,
                     err == CV_ERR_INVALID ? CV_RPC_NOT_FOUND : code_of(err),
                     err == CV_ERR_INVALID  ? "there is no such document"
                     : err == CV_ERR_DENIED ? "you may read this text, not "
                                              "change it"
                                            : cv_strerror(err),
                     "");
        return;
    }
    o = cv_rpc_result(a->rpc, id);
    cv_json_put_bool(o, "done", undone.count > 0);
    cv_json_put_uint(o, "count", undone.count);
    if (undone.grouped)
        cv_json_put_uint(o, "group", undone.group);
    cv_json_begin(o, "cursor", '[');
    cv_json_put_uint(o, NULL, undone.line);
    cv_json_put_uint(o, NULL, undone.column);
    cv_json_end(o, ']');
    cv_rpc_send(a->rpc);
}

static void req_leave(struct agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct place *p = place_find(a, params);

    if (!p || p->leaving)
        answer_error(a, id, CV_RPC_NOT_FOUND, "there is no such session",
                     ":CoVim status lists them");
    else
        leave(p, id);
}

static void end(struct agent *a)
{
    if (a->ending)
        return;
    a->ending = true;
    cv_timer_set(a->ender, cv_loop_now(a->loop) + LEAVE_TIME);
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (a->places[i].number)
            leave(&a->places[i], NULL);
    if (all_left(a))
        end_now(a);
}

/* --- dispatch --- */

static void on_request(struct agent *a, const char *method,
                       const struct cv_rpc_id *id, const struct cv_json *params)
{
    if (strcmp(method, "hello") == 0)
        req_hello(a, id, params);
    else if (strcmp(method, "shutdown") == 0) {
        a->end_id = *id;
        end(a);
    } else if (!a->node)
        answer_error(a, id, CV_RPC_BAD_PARAMS, "say hello first", "");
    else if (strcmp(method, "share") == 0)
        req_share(a, id, params);
    else if (strcmp(method, "join") == 0)
        req_join(a, id, params);
    else if (strcmp(method, "resume") == 0)
        req_resume(a, id, params);
    else if (strcmp(method, "accept") == 0)
        req_answer(a, id, params, true);
    else if (strcmp(method, "reject") == 0)
        req_answer(a, id, params, false);
    else if (strcmp(method, "peers") == 0)
        req_peers(a, id);
    else if (strcmp(method, "status") == 0)
        req_status(a, id);
    else if (strcmp(method, "undo") == 0)
        req_undo(a, id, params, CV_UNDO_BACK);
    else if (strcmp(method, "redo") == 0)
        req_undo(a, id, params, CV_UNDO_AGAIN);
    else if (strcmp(method, "leave") == 0)
        req_leave(a, id, params);
    else
        cv_rpc_error(a->rpc, id, CV_RPC_NO_METHOD, "no such method", method);
}

static void on_message(void *user, const char *method,
                       const struct cv_rpc_id *id, const struct cv_json *params)
{
    static const struct {
        const char *method;
        void (*fn)(struct cv_buffer *b, const struct cv_json *params);
    } about_text[] = {{"change", cv_buffer_change},
                      {"ack", cv_buffer_ack},
                      {"cursor", cv_buffer_cursor},
                      {"verify", cv_buffer_verify}};
    struct agent *a = user;

    if (a->ending)
        return;
    for (size_t i = 0; i < sizeof(about_text) / sizeof(about_text[0]); i++)
        if (strcmp(method, about_text[i].method) == 0) {
            struct cv_buffer *b = buffer_find(a, params);

            if (b)
                about_text[i].fn(b, params);
            return;
        }
    if (id->present)
        on_request(a, method, id, params);
}

static void on_closed(void *user, int err)
{
    struct agent *a = user;

    if (err != CV_OK)
        cv_error(a->log, "agent: the editor's messages cannot be read: %s",
                 cv_strerror(err));
    end(a);
}

static void on_signal(void *user)
{
    end(user);
}

static const struct cv_rpc_events rpc_events = {on_message, on_closed};

static int agent_open(struct agent *a, int fd_in, int fd_out)
{
    int err = cv_loop_new(&a->loop);

    if (err == CV_OK)
        err = cv_timer_new(&a->ender, a->loop, end_now, a);
    if (err == CV_OK)
        err = cv_signal_new(&a->term, a->loop, SIGTERM, on_signal, a);
    if (err == CV_OK)
        err = cv_signal_new(&a->hup, a->loop, SIGHUP, on_signal, a);
    if (err == CV_OK)
        err =
            cv_rpc_new(&a->rpc, a->loop, a->log, fd_in, fd_out, &rpc_events, a);
    return err;
}

static void agent_close(struct agent *a)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (a->places[i].number)
            place_clear(&a->places[i]);
    if (a->node)
        cv_node_free(a->node);
    if (a->rpc)
        cv_rpc_drain(a->rpc, cv_time_now() + CV_SECOND);
    cv_rpc_free(a->rpc);
    cv_signal_free(a->term);
    cv_signal_free(a->hup);
    cv_timer_free(a->ender);
    cv_loop_free(a->loop);
}

int cv_agent_run(struct cv_options *options, struct cv_log *log, int fd_in,
                 int fd_out)
{
    struct agent *a = calloc(1, sizeof(*a));
    int err;

    if (!a)
        return CV_EXIT_FAILURE;
    a->options = options;
    a->log = log;
    signal(SIGPIPE, SIG_IGN);
    err = agent_open(a, fd_in, fd_out);
    if (err == CV_OK)
        cv_loop_run(a->loop);
    else
        cv_error(log, "agent: cannot start: %s", cv_strerror(err));
    agent_close(a);
    free(a);
    return (int)cv_exit_of(err);
}
