#include "cli/agent_struct.h"

#include <string.h>

#include "cli/osc52.h"
#include "discovery/token.h"

static struct cv_place *new_place(struct cv_agent *a,
                                  const struct cv_rpc_id *id)
{
    struct cv_place *p = cv_place_new(a);

    if (!p)
        cv_agent_error(a, id, CV_RPC_FAILED, "too many sessions in one editor",
                       ":CoVim leave one of them");
    return p;
}

/* No session came of it. */
static void give_up(struct cv_place *p, const struct cv_rpc_id *id,
                    enum cv_rpc_code code, int err, const char *why)
{
    struct cv_agent *a = p->agent;

    cv_place_clear(p);
    cv_agent_error(a, id, code, why[0] ? why : cv_strerror(err), "");
}

static void put_place(struct cv_json_out *o, const struct cv_place *p)
{
    cv_json_put_uint(o, "session", p->number);
    cv_place_put_key(o, cv_session_key(p->session));
    if (p->buffer) {
        cv_json_put_uint(o, "doc", cv_buffer_number(p->buffer));
        cv_json_put_uint(o, "epoch", cv_buffer_epoch(p->buffer));
    }
}

static bool lines_of(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params, struct cv_writer *text)
{
    int err;

    cv_writer_init_heap(text, 2 * (size_t)CV_DOCUMENT_MAX);
    err = cv_buffer_text(params, text);
    if (err == CV_OK)
        return true;
    cv_writer_fini(text);
    cv_agent_error(a, id, CV_RPC_BAD_TEXT,
                   err == CV_ERR_LIMIT ? "this text is larger than 64 MiB"
                                       : "this text has a NUL or is not UTF-8",
                   err == CV_ERR_LIMIT
                       ? "share a smaller file"
                       : "only text can be shared; check 'fileencoding'");
    return false;
}

void cv_agent_share(struct cv_agent *a, const struct cv_rpc_id *id,
                    const struct cv_json *params)
{
    struct cv_share_options options = {.admission = CV_ADMIT_ASK,
                                       .role = CV_ROLE_EDITOR};
    struct cv_json_out *o;
    struct cv_writer text;
    struct cv_place *p;
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
    p = new_place(a, id);
    if (!p) {
        cv_writer_fini(&text);
        return;
    }
    p->eol = true;
    cv_json_get_bool(params, "eol", &p->eol);
    err = cv_session_share(&p->session, a->node, &options, &cv_place_events, p,
                           why, sizeof(why));
    cv_writer_fini(&text);
    if (err != CV_OK) {
        give_up(p, id, cv_agent_code(err), err, why);
        return;
    }
    cv_place_document(p, cv_session_document(p->session));
    o = cv_rpc_result(a->rpc, id);
    put_place(o, p);
    cv_osc52_put_key(o, cv_session_key(p->session));
    cv_rpc_send(a->rpc);
}

static bool key_of(struct cv_agent *a, const struct cv_rpc_id *id,
                   const struct cv_json *params, struct cv_keytext *key)
{
    char text[256], why[256] = "";

    cv_json_copy(params, "key", text, sizeof(text));
    if (cv_keytext_parse(key, CV_KEYTEXT_SESSION, text, why, sizeof(why)) ==
        CV_OK)
        return true;
    cv_agent_error(a, id, CV_RPC_BAD_KEY, why,
                   "ask for the key again, and paste it whole");
    return false;
}

/* Is this session open in this agent already? */
static bool is_open(const struct cv_agent *a, const struct cv_key *key)
{
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++) {
        const struct cv_place *p = &a->places[i];

        if (p->number && p->session && !p->leaving &&
            cv_key_equal(cv_session_key(p->session), key))
            return true;
    }
    return false;
}

static struct cv_place *place_for_key(struct cv_agent *a,
                                      const struct cv_rpc_id *id,
                                      const struct cv_keytext *key)
{
    if (is_open(a, &key->key)) {
        cv_agent_error(a, id, CV_RPC_BUSY, "this editor has that session open",
                       ":CoVim status shows it");
        return NULL;
    }
    return new_place(a, id);
}

void cv_agent_join(struct cv_agent *a, const struct cv_rpc_id *id,
                   const struct cv_json *params)
{
    struct cv_keytext key;
    struct cv_json_out *o;
    struct cv_place *p;
    char why[512] = "";
    int err;

    if (!key_of(a, id, params, &key))
        return;
    p = place_for_key(a, id, &key);
    if (!p)
        return;
    p->eol = p->announce = true;
    err = cv_session_join(&p->session, a->node, &key, &cv_place_events, p, why,
                          sizeof(why));
    if (err != CV_OK) {
        give_up(p, id, cv_agent_code(err), err, why);
        return;
    }
    o = cv_rpc_result(a->rpc, id);
    cv_json_put_uint(o, "session", p->number);
    cv_rpc_send(a->rpc);
}

static bool token_of(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params, enum cv_token_kind want,
                     struct cv_token *token)
{
    char text[2 * CV_TOKEN_TEXT], why[256] = "";

    cv_json_copy(params, "token", text, sizeof(text));
    if (cv_token_parse(token, want, text, why, sizeof(why)) == CV_OK)
        return true;
    cv_agent_error(a, id, CV_RPC_BAD_KEY, why, "");
    return false;
}

void cv_agent_token(struct cv_agent *a, const struct cv_rpc_id *id,
                    const struct cv_json *params)
{
    struct cv_place *p = cv_place_find(a, params);

    if (!p || p->leaving)
        cv_agent_error(a, id, CV_RPC_NOT_FOUND, "there is no such session",
                       ":CoVim start shares this buffer");
    else if (cv_session_invite(p->session) != CV_OK)
        cv_agent_error(a, id, CV_RPC_FAILED,
                       "you may not let others in, so you have no token to "
                       "give",
                       "a host of the session can make one");
    else
        cv_agent_ok(a, id);
}

void cv_agent_connect(struct cv_agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct cv_keytext key = {.kind = CV_KEYTEXT_SESSION};
    struct cv_json_out *o;
    struct cv_token token;
    struct cv_place *p;
    char why[512] = "";
    int err;

    if (!token_of(a, id, params, CV_TOKEN_HOST, &token))
        return;
    key.key = token.session;
    p = place_for_key(a, id, &key);
    if (!p)
        return;
    p->eol = p->announce = true;
    err = cv_session_connect(&p->session, a->node, &token, &cv_place_events, p,
                             why, sizeof(why));
    if (err != CV_OK) {
        give_up(p, id, CV_RPC_BAD_KEY, err, why);
        return;
    }
    o = cv_rpc_result(a->rpc, id);
    cv_json_put_uint(o, "session", p->number);
    cv_place_put_key(o, cv_session_key(p->session));
    cv_rpc_send(a->rpc);
}

void cv_agent_add(struct cv_agent *a, const struct cv_rpc_id *id,
                  const struct cv_json *params)
{
    char why[512] = "no session of this editor waits for a token";
    struct cv_token token;
    int err = CV_ERR_NOTFOUND;

    if (!token_of(a, id, params, CV_TOKEN_GUEST, &token))
        return;
    for (size_t i = 0; i < CV_AGENT_SESSIONS && err == CV_ERR_NOTFOUND; i++) {
        struct cv_place *p = &a->places[i];

        if (p->number && p->session && !p->leaving)
            err = cv_session_add(p->session, &token, why, sizeof(why));
    }
    if (err == CV_OK)
        cv_agent_ok(a, id);
    else
        cv_agent_error(a, id, CV_RPC_BAD_KEY, why, "");
}

void cv_agent_resume(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params)
{
    struct cv_keytext key;
    struct cv_json_out *o;
    struct cv_writer text;
    struct cv_document *d;
    struct cv_place *p;
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
    err = cv_session_resume(&p->session, a->node, &key, &cv_place_events, p,
                            why, sizeof(why));
    d = err == CV_OK ? cv_session_document(p->session) : NULL;
    if (err == CV_OK && !d)
        err = CV_ERR_NOTFOUND;
    if (err != CV_OK) {
        cv_writer_fini(&text);
        if (p->session)
            cv_session_leave(p->session, NULL, NULL);
        give_up(p, id, cv_agent_code(err), err, why);
        return;
    }
    /* The events come later: what the editor has must not echo. */
    cv_buffer_free(p->buffer);
    p->buffer = NULL;
    err = cv_buffer_take(d, cv_writer_bytes(&text));
    cv_writer_fini(&text);
    cv_place_document(p, d);
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
