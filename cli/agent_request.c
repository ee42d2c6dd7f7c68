#include "cli/agent_struct.h"

#include <string.h>

#define PROTOCOL 1

enum cv_rpc_code cv_agent_code(int err)
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

static void put_stored(void *user, const struct cv_stored *s)
{
    struct cv_json_out *o = user;

    cv_json_begin(o, NULL, '{');
    cv_place_put_key(o, &s->session);
    cv_json_put_text(o, "path", s->path);
    cv_json_put_text(o, "role", cv_role_name(s->role));
    cv_json_put_bool(o, "mine", s->mine);
    cv_json_put_uint(o, "used", s->used / 1000);
    cv_json_end(o, '}');
}

static void put_all_stored(struct cv_agent *a, struct cv_json_out *o)
{
    cv_json_begin(o, "sessions", '[');
    cv_node_stored(a->node, put_stored, o);
    cv_json_end(o, ']');
}

static void put_fingerprint(struct cv_agent *a, struct cv_json_out *o)
{
    char text[CV_FINGERPRINT_TEXT];

    cv_json_put_text(o, "fingerprint",
                     cv_fingerprint(cv_node_identity(a->node), text));
}

/* What the editor sets; false: the request has been answered. */
static bool take_settings(struct cv_agent *a, const struct cv_rpc_id *id,
                          const struct cv_json *params)
{
    struct cv_options *options = a->options;
    char name[CV_NAME_MAX_TEXT], level[16];

    if (cv_json_copy(params, "name", name, sizeof(name)) && *name)
        memcpy(options->name, name, strlen(name) + 1);
    cv_json_get_bool(params, "lan", &options->lan);
    cv_json_get_bool(params, "port_mapping", &options->port_mapping);
    if (cv_json_copy(params, "birthday", level, sizeof(level)) &&
        cv_net_birthday_parse(&options->birthday, level) != CV_OK) {
        cv_agent_error(a, id, CV_RPC_BAD_PARAMS,
                       "the birthday mode is not on, gentle or off",
                       "check g:covim_birthday");
        return false;
    }
    if (cv_json_copy(params, "log", level, sizeof(level)))
        cv_log_level_parse(level, &a->log->level);
    if (take_servers(&options->bootstrap, cv_json_get(params, "bootstrap")) ==
            CV_OK &&
        take_servers(&options->stun, cv_json_get(params, "stun")) == CV_OK &&
        take_servers(&options->gates, cv_json_get(params, "gate")) == CV_OK)
        return true;
    cv_agent_error(a, id, CV_RPC_BAD_PARAMS,
                   "a bootstrap or STUN server is not HOST:PORT, or a gate not "
                   "covimgate1…@HOST:PORT",
                   "check g:covim_bootstrap, g:covim_stun and g:covim_gate");
    return false;
}

/* False: the request has been answered. */
static bool have_node(struct cv_agent *a, const struct cv_rpc_id *id)
{
    struct cv_node_config config;
    char why[512] = "";
    int err;

    if (a->node) {
        cv_node_set_name(a->node, a->options->name);
        return true;
    }
    cv_options_node(a->options, a->loop, a->log, &config);
    err = cv_node_new(&a->node, &config, why, sizeof(why));
    if (err != CV_OK)
        cv_agent_error(a, id, cv_agent_code(err),
                       why[0] ? why : cv_strerror(err), "");
    return err == CV_OK;
}

static void req_hello(struct cv_agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct cv_json_out *o;
    uint64_t protocol = 0;

    if (!cv_json_get_uint(params, "protocol", &protocol) ||
        protocol != PROTOCOL) {
        cv_agent_error(a, id, CV_RPC_BAD_PARAMS,
                       "this agent speaks version 1 of the editor protocol",
                       "install the plugin and covim of the same version");
        return;
    }
    if (!take_settings(a, id, params) || !have_node(a, id))
        return;
    o = cv_rpc_result(a->rpc, id);
    cv_json_put_text(o, "version", COVIM_VERSION);
    cv_json_put_uint(o, "protocol", PROTOCOL);
    cv_json_put_text(o, "name", cv_node_name(a->node));
    put_fingerprint(a, o);
    put_all_stored(a, o);
    cv_rpc_send(a->rpc);
}

static void req_stored(struct cv_agent *a, const struct cv_rpc_id *id)
{
    put_all_stored(a, cv_rpc_result(a->rpc, id));
    cv_rpc_send(a->rpc);
}

static struct cv_asked *asked_of(struct cv_agent *a,
                                 const struct cv_json *params)
{
    struct cv_asked *found = NULL;
    struct cv_bytes name;
    uint64_t number = 0;

    cv_json_get_uint(params, "id", &number);
    for (size_t i = 0; number && i < CV_AGENT_KNOCKS; i++)
        if (a->asked[i].number == number)
            return &a->asked[i];
    if (number || !cv_json_get_string(params, "name", &name))
        return NULL;
    for (size_t i = 0; i < CV_AGENT_KNOCKS; i++) {
        struct cv_asked *q = &a->asked[i];

        if (q->number && strlen(q->name) == name.len &&
            memcmp(q->name, name.data, name.len) == 0) {
            if (found) /* two of one name: only the id tells */
                return NULL;
            found = q;
        }
    }
    return found;
}

static void req_answer(struct cv_agent *a, const struct cv_rpc_id *id,
                       const struct cv_json *params, bool accept)
{
    struct cv_asked *q = asked_of(a, params);
    char word[128] = "";
    enum cv_role role;
    int err;

    if (!q) {
        cv_agent_error(a, id, CV_RPC_NOT_FOUND,
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
        cv_agent_error(a, id, cv_agent_code(err),
                       err == CV_ERR_NOTFOUND ? "that knock is over"
                                              : cv_strerror(err),
                       "");
    else
        cv_agent_ok(a, id);
}

struct members_out {
    struct cv_json_out *o;
    const struct cv_place *place;
    unsigned connected;
};

static void put_each_member(void *user, const struct cv_member *m)
{
    struct members_out *out = user;

    cv_json_begin(out->o, NULL, '{');
    cv_place_put_member(out->o, out->place, m);
    cv_json_put_text(out->o, "state", m->connected ? "joined" : "left");
    cv_json_end(out->o, '}');
}

static void count_member(void *user, const struct cv_member *m)
{
    struct members_out *out = user;

    out->connected += m->connected;
}

static void req_peers(struct cv_agent *a, const struct cv_rpc_id *id)
{
    struct cv_json_out *o = cv_rpc_result(a->rpc, id);

    cv_json_begin(o, "peers", '[');
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++) {
        struct members_out out = {o, &a->places[i], 0};

        if (a->places[i].number && a->places[i].session)
            cv_session_members(a->places[i].session, put_each_member, &out);
    }
    cv_json_end(o, ']');
    cv_rpc_send(a->rpc);
}

static void put_status_of(struct cv_json_out *o, const struct cv_place *p)
{
    struct members_out out = {o, p, 0};
    char text[1024] = "";

    cv_json_begin(o, NULL, '{');
    cv_place_put_key(o, cv_session_key(p->session));
    cv_place_put_state(o, p);
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

static void req_status(struct cv_agent *a, const struct cv_rpc_id *id)
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
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++)
        if (a->places[i].number && a->places[i].session &&
            !a->places[i].leaving)
            put_status_of(o, &a->places[i]);
    cv_json_end(o, ']');
    cv_json_put_text(o, "last_error", a->last_error);
    cv_rpc_send(a->rpc);
}

static void req_undo(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params, enum cv_undo_way way)
{
    struct cv_buffer *b = cv_place_buffer(a, params);
    struct cv_json_out *o;
    struct cv_buffer_undone undone;
    int err = b ? cv_buffer_undo(b, params, way, &undone) : CV_ERR_INVALID;

    if (err != CV_OK) {
        cv_agent_error(
            a, id,
            err == CV_ERR_INVALID ? CV_RPC_NOT_FOUND : cv_agent_code(err),
            err == CV_ERR_INVALID  ? "there is no such document"
            : err == CV_ERR_DENIED ? "you may read this text, not "
                                     "change it"
            : err == CV_ERR_LIMIT  ? "the text would grow beyond 64 MiB"
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

static void req_leave(struct cv_agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct cv_place *p = cv_place_find(a, params);

    if (!p || p->leaving)
        cv_agent_error(a, id, CV_RPC_NOT_FOUND, "there is no such session",
                       ":CoVim status lists them");
    else
        cv_agent_leave(p, id);
}

void cv_agent_request(struct cv_agent *a, const char *method,
                      const struct cv_rpc_id *id, const struct cv_json *params)
{
    if (strcmp(method, "hello") == 0)
        req_hello(a, id, params);
    else if (strcmp(method, "shutdown") == 0) {
        a->end_id = *id;
        cv_agent_end(a);
    } else if (!a->node)
        cv_agent_error(a, id, CV_RPC_BAD_PARAMS, "say hello first", "");
    else if (strcmp(method, "share") == 0)
        cv_agent_share(a, id, params);
    else if (strcmp(method, "join") == 0)
        cv_agent_join(a, id, params);
    else if (strcmp(method, "token") == 0)
        cv_agent_token(a, id, params);
    else if (strcmp(method, "connect") == 0)
        cv_agent_connect(a, id, params);
    else if (strcmp(method, "add") == 0)
        cv_agent_add(a, id, params);
    else if (strcmp(method, "stored") == 0)
        req_stored(a, id);
    else if (strcmp(method, "resume") == 0)
        cv_agent_resume(a, id, params);
    else if (strcmp(method, "accept") == 0)
        req_answer(a, id, params, true);
    else if (strcmp(method, "reject") == 0)
        req_answer(a, id, params, false);
    else if (strcmp(method, "peers") == 0)
        req_peers(a, id);
    else if (strcmp(method, "status") == 0)
        req_status(a, id);
    else if (strcmp(method, "doctor") == 0)
        cv_agent_doctor(a, id, params);
    else if (strcmp(method, "undo") == 0)
        req_undo(a, id, params, CV_UNDO_BACK);
    else if (strcmp(method, "redo") == 0)
        req_undo(a, id, params, CV_UNDO_AGAIN);
    else if (strcmp(method, "authors") == 0)
        cv_agent_authors(a, id, params);
    else if (strcmp(method, "revert") == 0)
        cv_agent_revert(a, id, params);
    else if (strcmp(method, "leave") == 0)
        req_leave(a, id, params);
    else
        cv_rpc_error(a->rpc, id, CV_RPC_NO_METHOD, "no such method", method);
}
