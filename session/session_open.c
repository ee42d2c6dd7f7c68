#include "session/session_struct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/token.h"

#define DOCUMENT_ID 1u

static int begin(struct cv_session **out, struct cv_node *node,
                 const struct cv_key *key,
                 const struct cv_session_events *events, void *user,
                 enum cv_journal_mode mode, char *why, size_t why_len)
{
    struct cv_session *s = calloc(1, sizeof *s);
    char dir[sizeof node->data_dir + 16], text[1024] = "";
    struct cv_journal_config config = {
        .dir = dir,
        .session = *key,
        .mode = mode,
        .loop = node->loop,
        .log = node->log,
        .trouble = cv_session_trouble,
        .wake = cv_session_wake,
        .user = s,
    };
    int err;

    if (why_len > 0)
        why[0] = '\0';
    if (s == NULL)
        return CV_ERR_NOMEM;
    (void)snprintf(dir, sizeof dir, "%s/sessions", node->data_dir);
    s->node = node;
    s->key = *key;
    s->events = events;
    s->user = user;
    err = cv_timer_new(&s->timer, node->loop, cv_session_on_timer, s);
    if (err == CV_OK)
        err = cv_journal_open(&s->journal, &config, cv_loop_now(node->loop),
                              text, sizeof text);
    if (err != CV_OK) {
        (void)snprintf(why, why_len, "%s",
                       text[0] != '\0' ? text : cv_strerror(err));
        cv_timer_free(s->timer);
        free(s);
        return err;
    }
    s->mine =
        cv_journal_get(s->journal, CV_FACT_SECRET, CV_BYTES("", 0)).len > 0;
    if (text[0] != '\0')
        cv_session_notice(s, 1, text, "storage");
    cv_session_note_use(s);
    *out = s;
    return CV_OK;
}

static int meet(struct cv_session *s, const struct cv_grants *grants, bool open,
                enum cv_role offer, const struct cv_token *token)
{
    struct cv_meeting_config config = {
        .node = s->node,
        .session = s->key,
        .grants = *grants,
        .capabilities = CV_CONTROL_DOCUMENTS,
        .open = open,
        .offer = offer,
        .wants = CV_ROLE_EDITOR,
        .lacks_text = !s->have_text,
        .token = token,
    };
    int err =
        cv_meeting_new(&s->meeting, &config, &cv_session_meeting_events, s);

    if (err == CV_OK) {
        s->role = cv_meeting_role(s->meeting);
        cv_session_wake(s);
    }
    return err;
}

static void make_path_acceptable(struct cv_document_meta *meta)
{
    const char *slash = strrchr(meta->path, '/');
    char name[CV_PATH_MAX_TEXT];

    if (cv_path_acceptable(meta->path))
        return;
    (void)snprintf(name, sizeof name, "%s",
                   slash != NULL ? slash + 1 : meta->path);
    (void)snprintf(meta->path, sizeof meta->path, "%s",
                   cv_path_acceptable(name) ? name : "untitled");
}

static int put_settings(struct cv_session *s,
                        const struct cv_share_options *options)
{
    const uint8_t value[2] = {options->admission == CV_ADMIT_OPEN,
                              (uint8_t)options->role};

    return cv_journal_put(s->journal, CV_FACT_OTHER, CV_LITERAL("admission"),
                          CV_BYTES(value, sizeof value));
}

static int begin_share(struct cv_session *s, const struct cv_keypair *secret,
                       const struct cv_share_options *options)
{
    struct cv_document_meta meta = options->meta;
    uint64_t not_after = cv_node_unix_s(s->node) + CV_GRANT_LIFETIME_S;
    struct cv_grants grants;
    int err;

    make_path_acceptable(&meta);
    if (meta.ff[0] == '\0')
        memcpy(meta.ff, "unix", sizeof "unix");
    err = cv_journal_put(s->journal, CV_FACT_SECRET, CV_BYTES("", 0),
                         CV_BYTES(secret->seed, sizeof secret->seed));
    if (err == CV_OK)
        err = put_settings(s, options);
    if (err == CV_OK)
        err = cv_grants_issue(&grants, NULL, &s->key, secret,
                              &s->node->identity.pub, CV_ROLE_HOST,
                              CV_GRANT_ADMIT, not_after, s->node->rng);
    if (err != CV_OK)
        return err;
    s->mine = true;
    cv_session_keep_grants(s, &grants);
    err = cv_session_open_document(s, DOCUMENT_ID, &meta, CV_ROLE_HOST);
    if (err == CV_OK)
        err = cv_document_seed(s->document, options->text);
    if (err != CV_OK)
        return err;
    cv_session_have_text(s);
    err = cv_journal_flush(s->journal);
    if (err != CV_OK)
        return err;
    s->announced = true; /* the caller has the text */
    return meet(s, &grants, options->admission == CV_ADMIT_OPEN, options->role,
                NULL);
}

int cv_session_share(struct cv_session **out, struct cv_node *node,
                     const struct cv_share_options *options,
                     const struct cv_session_events *events, void *user,
                     char *why, size_t why_len)
{
    struct cv_keypair secret;
    struct cv_session *s;
    int err;

    if (options->text.len > CV_DOCUMENT_MAX) {
        (void)snprintf(why, why_len, "the text is larger than %u MiB",
                       CV_DOCUMENT_MAX >> 20);
        return CV_ERR_LIMIT;
    }
    if (!cv_utf8_valid(options->text.data, options->text.len)) {
        (void)snprintf(why, why_len,
                       "the text is not UTF-8: set "
                       "'encoding' or convert it first");
        return CV_ERR_FORMAT;
    }
    err = cv_keypair_generate(&secret, node->rng);
    if (err != CV_OK)
        return err;
    err = begin(&s, node, &secret.pub, events, user, CV_JOURNAL_CREATE, why,
                why_len);
    if (err == CV_OK) {
        err = begin_share(s, &secret, options);
        if (err != CV_OK) {
            struct cv_journal *journal = s->journal;

            if (why_len > 0 && why[0] == '\0')
                (void)snprintf(why, why_len,
                               "the session cannot be stored: "
                               "%s; is the disk full?",
                               cv_strerror(err));
            cv_document_free(s->document);
            s->document = NULL;
            s->journal = NULL;
            cv_journal_remove(journal);
            cv_session_free(s);
        }
    }
    cv_wipe(&secret, sizeof secret);
    if (err == CV_OK)
        *out = s;
    return err;
}

/* The grants in the journal, if they still hold; n == 0 otherwise. */
static void stored_grants(const struct cv_session *s, struct cv_grants *out)
{
    struct cv_bytes b =
        cv_journal_get(s->journal, CV_FACT_GRANTS, CV_BYTES("", 0));
    struct cv_reader r;
    enum cv_role role;
    uint8_t flags;

    memset(out, 0, sizeof *out);
    if (b.len == 0)
        return;
    cv_reader_init(&r, b.data, b.len);
    *out = cv_get_grants(&r);
    if (cv_reader_end(&r) != CV_OK ||
        cv_grants_verify(out, &s->key, &s->node->identity.pub,
                         cv_node_unix_s(s->node), &role, &flags) != CV_OK)
        memset(out, 0, sizeof *out);
}

/* The session is ours, but its first grant is over: sign another one. */
static void renew_own_grants(struct cv_session *s, struct cv_grants *out)
{
    struct cv_bytes seed =
        cv_journal_get(s->journal, CV_FACT_SECRET, CV_BYTES("", 0));
    uint64_t not_after = cv_node_unix_s(s->node) + CV_GRANT_LIFETIME_S;
    struct cv_keypair secret;

    if (seed.len != CV_KEY_LEN ||
        cv_keypair_from_seed(&secret, seed.data) != CV_OK)
        return;
    if (!cv_key_equal(&secret.pub, &s->key) ||
        cv_grants_issue(out, NULL, &s->key, &secret, &s->node->identity.pub,
                        CV_ROLE_HOST, CV_GRANT_ADMIT, not_after,
                        s->node->rng) != CV_OK)
        memset(out, 0, sizeof *out);
    else
        cv_session_keep_grants(s, out);
    cv_wipe(&secret, sizeof secret);
}

/* Take up what is stored of the document, if there is any. */
static int take_up(struct cv_session *s, const struct cv_grants *grants)
{
    struct cv_document_meta meta;
    uint32_t id = cv_session_stored_document(s->journal, &meta);
    int err;

    if (id == 0)
        return CV_ERR_NOTFOUND;
    err = cv_session_open_document(s, id, &meta, cv_grants_role(grants));
    if (err == CV_OK)
        s->have_text =
            cv_journal_get(s->journal, CV_FACT_OTHER, CV_SESSION_FACT_TEXT)
                .len > 0;
    return err;
}

/* What is wrong with a host's token. */
static const char *token_trouble(int err)
{
    switch (err) {
    case CV_ERR_EXPIRED:
        return "this token is over: it is good for 15 minutes (or a clock is "
               "wrong); ask the host for a new one";
    case CV_ERR_INVALID:
    case CV_ERR_EXISTS:
        return "this token is of this very editor: give it to somebody else";
    case CV_ERR_FORMAT:
    case CV_ERR_AUTH:
        return "this token is not genuine; ask the host for a new one";
    default:
        return cv_strerror(err);
    }
}

static int join_or_resume(struct cv_session **out, struct cv_node *node,
                          const struct cv_key *key, bool resume,
                          const struct cv_token *token,
                          const struct cv_session_events *events, void *user,
                          char *why, size_t why_len)
{
    struct cv_grants grants;
    struct cv_session *s;
    struct cv_bytes settings;
    bool open = false;
    enum cv_role offer = CV_ROLE_EDITOR;
    int err;

    err = begin(&s, node, key, events, user,
                resume ? CV_JOURNAL_RESUME : CV_JOURNAL_EITHER, why, why_len);
    if (err != CV_OK)
        return err;
    stored_grants(s, &grants);
    if (grants.n == 0 && s->mine)
        renew_own_grants(s, &grants);
    err = take_up(s, &grants);
    if (err == CV_ERR_NOTFOUND && !resume)
        err = CV_OK;
    if (err == CV_OK && resume && !s->have_text)
        err = CV_ERR_NOTFOUND;
    settings =
        cv_journal_get(s->journal, CV_FACT_OTHER, CV_LITERAL("admission"));
    if (settings.len == 2) {
        open = settings.data[0] == 1;
        offer = (enum cv_role)settings.data[1];
    }
    if (err == CV_OK)
        err = meet(s, &grants, open, offer, token);
    if (err != CV_OK) {
        if (why_len > 0 && why[0] == '\0')
            (void)snprintf(why, why_len, "%s",
                           token != NULL ? token_trouble(err)
                           : err == CV_ERR_NOTFOUND
                               ? "no text of this session is stored: join it"
                               : cv_strerror(err));
        cv_session_free(s);
        return err;
    }
    *out = s;
    if (resume)
        cv_session_announce(s);
    return CV_OK;
}

int cv_session_join(struct cv_session **out, struct cv_node *node,
                    const struct cv_keytext *key,
                    const struct cv_session_events *events, void *user,
                    char *why, size_t why_len)
{
    return join_or_resume(out, node, &key->key, false, NULL, events, user, why,
                          why_len);
}

int cv_session_connect(struct cv_session **out, struct cv_node *node,
                       const struct cv_token *token,
                       const struct cv_session_events *events, void *user,
                       char *why, size_t why_len)
{
    if (token->kind != CV_TOKEN_HOST)
        return CV_ERR_INVALID;
    return join_or_resume(out, node, &token->session, false, token, events,
                          user, why, why_len);
}

int cv_session_resume(struct cv_session **out, struct cv_node *node,
                      const struct cv_keytext *key,
                      const struct cv_session_events *events, void *user,
                      char *why, size_t why_len)
{
    return join_or_resume(out, node, &key->key, true, NULL, events, user, why,
                          why_len);
}
