#include "cli/headless.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/filesync.h"
#include "cli/typed.h"
#include "cli/wholetext.h"

#define TOLD 128 /* members; of more, some are told of twice */

/* What was last said of a member. */
struct told {
    uint32_t id; /* 0: nothing */
    enum cv_role role;
    bool here;
};

struct headless {
    const struct cv_options *options;
    struct cv_log *log;
    struct cv_loop *loop;
    struct cv_node *node;
    struct cv_session *session;
    struct cv_filesync *file;
    const char *path;
    struct cv_signal *stops[3];
    struct cv_timer *timer; /* --timeout, then the bound on leaving */
    struct cv_typed typed;  /* accept and reject */
    struct told told[TOLD]; /* by id */
    bool leaving;
    bool arrived; /* the text is here */
    char hint[512];
    int err;
};

/* --- ending --- */

static void on_left(void *user)
{
    struct headless *h = user;

    h->session = NULL;
    cv_loop_stop(h->loop);
}

static void leave(struct headless *h, int err)
{
    if (h->leaving)
        return;
    h->leaving = true;
    h->err = err;
    cv_filesync_free(h->file);
    h->file = NULL;
    cv_timer_set(h->timer, cv_loop_now(h->loop) + 3 * CV_SECOND);
    cv_session_leave(h->session, on_left, h);
}

static void on_stop(void *user)
{
    leave(user, CV_OK);
}

static void on_timer(void *user)
{
    struct headless *h = user;

    if (h->leaving) {
        cv_loop_stop(h->loop);
        return;
    }
    fprintf(stderr, "covim: nobody let us in within %u s\n",
            h->options->timeout_s);
    if (h->hint[0])
        fprintf(stderr, "covim: %s\n", h->hint);
    leave(h, CV_ERR_TIMEOUT);
}

/* --- what the session says --- */

static void on_state(void *user, enum cv_session_state state, const char *stage,
                     const char *hint)
{
    struct headless *h = user;

    fprintf(stderr, "covim: %s: %s\n", cv_session_state_name(state), stage);
    if (*hint && strcmp(hint, h->hint) != 0)
        fprintf(stderr, "covim: %s\n", hint);
    snprintf(h->hint, sizeof(h->hint), "%s", hint);
    if (state == CV_SESSION_ENDED && !h->leaving)
        leave(h, CV_ERR_DENIED);
}

static void on_knock(void *user, const struct cv_knock *k, bool gone)
{
    (void)user;
    if (gone)
        fprintf(stderr, "covim: %s does not knock any more\n", k->name);
    else
        fprintf(stderr,
                "covim: %s (%s) asks to be let in: type \"accept %u\" or "
                "\"reject %u\"\n",
                k->name, k->fingerprint, k->id, k->id);
}

/* Another path or round trip is nothing to speak of. */
static void on_member(void *user, const struct cv_member *m)
{
    struct headless *h = user;
    struct told *t = &h->told[m->id % TOLD];

    if (t->id == m->id && t->here == m->connected && t->role == m->role)
        return;
    *t = (struct told){m->id, m->role, m->connected};
    fprintf(stderr, "covim: %s (%s, %s) %s\n", m->name, m->fingerprint,
            cv_role_name(m->role), m->connected ? "is here" : "is gone");
}

static void on_document(void *user, struct cv_document *d)
{
    struct headless *h = user;
    struct cv_writer now;
    struct cv_bytes base = {NULL, 0};
    int err;

    if (h->file || h->leaving)
        return;
    /* A file that was there is the base only if it is what the text is. */
    err = cv_filesync_read(h->path, &now);
    if (err == CV_OK && !h->options->force) {
        struct cv_writer text;

        if (cv_wholetext_read(d, &text) != CV_OK ||
            !cv_bytes_equal(cv_writer_bytes(&text), cv_writer_bytes(&now)))
            err = CV_ERR_EXISTS;
        cv_writer_fini(&text);
    }
    if (err == CV_OK)
        base = cv_writer_bytes(&now);
    if (err == CV_OK || err == CV_ERR_NOTFOUND)
        err = cv_filesync_new(&h->file, h->loop, h->log, d, h->path, base);
    cv_writer_fini(&now);
    if (err != CV_OK) {
        fprintf(stderr,
                err == CV_ERR_EXISTS
                    ? "covim: %s exists and differs from the shared text; it "
                      "was not touched. Name another file, or --force\n"
                    : "covim: %s cannot be kept in step\n",
                h->path);
        leave(h, err);
        return;
    }
    if (!h->arrived && cv_session_is_mine(h->session) == false)
        printf("%s\n", h->path);
    fflush(stdout);
    h->arrived = true;
    cv_timer_set(h->timer, CV_NEVER);
}

static void on_role(void *user, enum cv_role role)
{
    (void)user;
    fprintf(stderr, "covim: you are now %s\n", cv_role_name(role));
}

static void on_notice(void *user, int level, const char *text, const char *tag)
{
    (void)user;
    (void)level;
    (void)tag;
    fprintf(stderr, "covim: %s\n", text);
}

/* On standard output, alone: that is what is carried to the other side. */
static void on_token(void *user, const char *text, const char *why)
{
    struct headless *h = user;

    if (text == NULL) {
        fprintf(stderr, "covim: %s\n", why);
        if (!h->arrived)
            leave(h, CV_ERR_NOPATH);
        return;
    }
    printf("%s\n", text);
    fflush(stdout);
    if (cv_token_is(CV_TOKEN_HOST, text))
        fprintf(stderr,
                "covim: give this token to one guest (covim join TOKEN FILE, "
                ":CoVim connect TOKEN), and type \"add TOKEN\" with what "
                "comes back, within 15 minutes\n");
    else
        fprintf(stderr,
                "covim: give this token back to the host, who types \"add "
                "TOKEN\" or :CoVim add TOKEN, within 15 minutes\n");
}

static const struct cv_session_events session_events = {
    on_state, on_knock, on_member, on_document, on_role, on_notice, on_token};

/* --- accept, reject, token and add, typed on stdin --- */

static void on_add(struct headless *h, const char *text)
{
    struct cv_token token;
    char why[512] = "";
    int err = cv_token_parse(&token, CV_TOKEN_GUEST, text, why, sizeof(why));

    if (err == CV_OK)
        err = cv_session_add(h->session, &token, why, sizeof(why));
    if (err != CV_OK)
        fprintf(stderr, "covim: %s\n", why);
}

static void on_line(void *user, const char *line)
{
    struct headless *h = user;
    unsigned id;
    int err;

    if (h->leaving)
        return;
    if (strncmp(line, "add ", 4) == 0) {
        on_add(h, line + 4);
        return;
    }
    if (strcmp(line, "token") == 0)
        err = cv_session_invite(h->session);
    else if (sscanf(line, "accept %u", &id) == 1)
        err = cv_session_accept(h->session, id, h->options->role);
    else if (sscanf(line, "reject %u", &id) == 1)
        err = cv_session_reject(h->session, id, "");
    else
        err = CV_ERR_INVALID;
    if (err != CV_OK)
        fprintf(stderr, "covim: \"%s\": %s\n", line,
                err == CV_ERR_INVALID ? "write accept NUMBER, reject NUMBER, "
                                        "token, or add TOKEN"
                                      : cv_strerror(err));
}

/* --- life --- */

static int headless_open(struct headless *h)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    struct cv_node_config config;
    char why[512] = "";
    int err = cv_loop_new(&h->loop);

    if (err == CV_OK)
        err = cv_timer_new(&h->timer, h->loop, on_timer, h);
    for (size_t i = 0; err == CV_OK && i < 3; i++)
        err = cv_signal_new(&h->stops[i], h->loop, stops[i], on_stop, h);
    /* A descriptor that cannot be polled (a file) has no commands. */
    if (err == CV_OK)
        (void)!cv_typed_open(&h->typed, h->loop, on_line, h);
    if (err != CV_OK)
        return err;
    cv_options_node(h->options, h->loop, h->log, &config);
    err = cv_node_new(&h->node, &config, why, sizeof(why));
    if (err != CV_OK)
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
    return err;
}

static void headless_close(struct headless *h)
{
    cv_filesync_free(h->file);
    cv_node_free(h->node);
    cv_typed_close(&h->typed);
    for (size_t i = 0; i < 3; i++)
        cv_signal_free(h->stops[i]);
    cv_timer_free(h->timer);
    cv_loop_free(h->loop);
}

static int run(struct headless *h)
{
    if (h->options->timeout_s && !h->arrived)
        cv_timer_set(h->timer,
                     cv_loop_now(h->loop) + h->options->timeout_s * CV_SECOND);
    cv_loop_run(h->loop);
    return (int)cv_exit_of(h->err);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Print the key of the session. */
static void print_key(const struct cv_session *session)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION,
                              .key = *cv_session_key(session)};
    char buf[CV_KEYTEXT_MAX];

    printf("%s\n", cv_keytext_format(&text, buf));
    fflush(stdout);
}

static int start_share(struct headless *h)
{
    struct cv_share_options share = {.admission = h->options->admission,
                                     .role = h->options->role};
    struct cv_writer text;
    char why[512] = "";
    int err = cv_filesync_read(h->path, &text);

    if (err == CV_OK) {
        share.text = cv_writer_bytes(&text);
        snprintf(share.meta.path, sizeof(share.meta.path), "%s",
                 base_name(h->path));
        snprintf(share.meta.ff, sizeof(share.meta.ff), "unix");
        err = cv_session_share(&h->session, h->node, &share, &session_events, h,
                               why, sizeof(why));
    } else {
        snprintf(why, sizeof(why), "%s: %s", h->path,
                 err == CV_ERR_FORMAT ? "not UTF-8 text" : cv_strerror(err));
    }
    if (err != CV_OK)
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
    cv_writer_fini(&text);
    return err;
}

int cv_headless_share(const struct cv_options *options, struct cv_log *log,
                      const char *path)
{
    struct headless h = {.options = options, .log = log, .path = path};
    int err = headless_open(&h), code;

    if (err == CV_OK)
        err = start_share(&h);
    if (err == CV_OK && options->token)
        err = cv_session_invite(h.session);
    if (err == CV_OK) {
        print_key(h.session);
        h.arrived = true;
        on_document(&h, cv_session_document(h.session));
        code = run(&h);
    } else {
        code = (int)cv_exit_of(err);
    }
    headless_close(&h);
    return code;
}

/* `text` is a key, or a host's token. */
static int start_join(struct headless *h, const char *text)
{
    struct cv_keytext key;
    struct cv_token token;
    char why[512] = "";
    bool by_token =
        cv_token_is(CV_TOKEN_HOST, text) || cv_token_is(CV_TOKEN_GUEST, text);
    int err =
        by_token ? cv_token_parse(&token, CV_TOKEN_HOST, text, why, sizeof(why))
                 : cv_keytext_parse(&key, CV_KEYTEXT_SESSION, text, why,
                                    sizeof(why));

    if (err != CV_OK) {
        fprintf(stderr, "covim: %s\n", why);
        return CV_ERR_INVALID;
    }
    err = headless_open(h);
    if (err != CV_OK)
        return err;
    err = by_token ? cv_session_connect(&h->session, h->node, &token,
                                        &session_events, h, why, sizeof(why))
                   : cv_session_join(&h->session, h->node, &key,
                                     &session_events, h, why, sizeof(why));
    if (err != CV_OK)
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
    return err;
}

int cv_headless_join(const struct cv_options *options, struct cv_log *log,
                     const char *key, const char *path)
{
    struct headless h = {.options = options, .log = log, .path = path};
    int err = start_join(&h, key);
    int code = err == CV_OK ? run(&h) : (int)cv_exit_of(err);

    headless_close(&h);
    return code;
}
