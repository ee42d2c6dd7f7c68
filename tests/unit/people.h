/* tests/unit/people.h - people with nodes and sessions, in one process and one
 * loop, for tests of the whole session. */
#ifndef CV_TESTS_PEOPLE_H
#define CV_TESTS_PEOPLE_H
#include "session/session.h"

#include "tests/test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

struct person {
    struct cv_loop *loop;
    struct cv_node *node;
    struct cv_session *session;
    struct cv_document *document;
    char dir[64];
    bool keep_dir; /* shared with somebody else */
    /* What was told. */
    enum cv_session_state state;
    char stage[256], hint[512];
    bool seen[CV_SESSION_ENDED + 1];
    struct cv_knock knock;
    unsigned knocks, gone, members_in, members_out, texts, notices;
    enum cv_role role;
    uint64_t kept, shared;
    unsigned presence;
    bool left;
    char notice[256];
};

static void on_state(void *user, enum cv_session_state state, const char *stage,
                     const char *hint)
{
    struct person *p = user;

    p->state = state;
    p->seen[state] = true;
    (void)snprintf(p->stage, sizeof p->stage, "%s", stage);
    (void)snprintf(p->hint, sizeof p->hint, "%s", hint);
}

static void on_knock(void *user, const struct cv_knock *k, bool gone)
{
    struct person *p = user;

    p->knock = *k;
    if (gone)
        p->gone++;
    else
        p->knocks++;
}

static void on_member(void *user, const struct cv_member *m)
{
    struct person *p = user;

    if (m->connected)
        p->members_in++;
    else
        p->members_out++;
}

static void on_text(void *user, const struct cv_text_change *change)
{
    struct person *p = user;

    (void)change;
    p->texts++;
}

static void on_text_done(void *user)
{
    (void)user;
}

static void on_kept(void *user, uint64_t kept, uint64_t shared)
{
    struct person *p = user;

    p->kept = kept;
    p->shared = shared;
}

static void on_presence(void *user)
{
    struct person *p = user;

    p->presence++;
}

static const struct cv_document_events document_events = {
    .text = on_text,
    .text_done = on_text_done,
    .kept = on_kept,
    .presence = on_presence,
};

static void on_document(void *user, struct cv_document *d)
{
    struct person *p = user;

    p->document = d;
    cv_document_set_events(d, &document_events, p);
}

static void on_role(void *user, enum cv_role role)
{
    struct person *p = user;

    p->role = role;
}

static void on_notice(void *user, int level, const char *text, const char *tag)
{
    struct person *p = user;

    (void)level;
    (void)tag;
    p->notices++;
    (void)snprintf(p->notice, sizeof p->notice, "%s", text);
}

static const struct cv_session_events session_events = {
    .state = on_state,
    .knock = on_knock,
    .member = on_member,
    .document = on_document,
    .role = on_role,
    .notice = on_notice,
};

static struct cv_log person_log = {
    .level = CV_LOG_ERROR,
    .show_addresses = true,
    .sink = cv_log_stderr,
};

static void person_dir(struct person *p)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(p->dir, sizeof p->dir, "%s/covim-XXXXXX",
                   tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
    REQUIRE(mkdtemp(p->dir) != NULL);
}

static void remove_dir(const char *path)
{
    char name[512];
    struct dirent *e;
    DIR *d = opendir(path);

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (unlink(name) != 0)
            remove_dir(name);
    }
    (void)closedir(d);
    (void)rmdir(path);
}

/* Start somebody; `config` may be NULL.  A folder in `p->dir` is used. */
static void person_start(struct person *p, struct cv_loop *loop,
                         const char *name, const struct cv_node_config *config)
{
    struct cv_node_config c = {.no_bootstrap = true};
    const char *level = getenv("COVIM_TEST_LOG");
    char why[256];

    if (config != NULL)
        c = *config;
    if (level != NULL)
        (void)cv_log_level_parse(level, &person_log.level);
    if (p->dir[0] == '\0')
        person_dir(p);
    p->loop = loop;
    c.loop = loop;
    c.log = &person_log;
    c.rng = &cv_rng_system;
    c.data_dir = p->dir;
    c.name = name;
    if (cv_node_new(&p->node, &c, why, sizeof why) != CV_OK) {
        print_error("%s\n", why);
        REQUIRE(false);
    }
}

/* As if killed: no goodbye. */
static void person_crash(struct person *p)
{
    cv_node_free(p->node);
    p->node = NULL;
    p->session = NULL;
    p->document = NULL;
}

static void person_end(struct person *p)
{
    person_crash(p);
    if (!p->keep_dir)
        remove_dir(p->dir);
    memset(p, 0, sizeof *p);
}

static struct cv_keytext person_share(struct person *p, const char *text,
                                      enum cv_admission admission,
                                      enum cv_role role)
{
    struct cv_share_options o = {
        .meta = {.path = "notes.txt", .ft = "text", .ff = "unix"},
        .text = {(const uint8_t *)text, strlen(text)},
        .admission = admission,
        .role = role,
    };
    struct cv_keytext key = {.kind = CV_KEYTEXT_SESSION};
    char why[256];

    if (cv_session_share(&p->session, p->node, &o, &session_events, p, why,
                         sizeof why) != CV_OK) {
        print_error("%s\n", why);
        REQUIRE(false);
    }
    key.key = *cv_session_key(p->session);
    on_document(p, cv_session_document(p->session));
    return key;
}

__attribute__((unused)) static int person_join(struct person *p,
                                               const struct cv_keytext *key)
{
    char why[256];

    return cv_session_join(&p->session, p->node, key, &session_events, p, why,
                           sizeof why);
}

__attribute__((unused)) static int person_resume(struct person *p,
                                                 const struct cv_keytext *key)
{
    char why[256];

    return cv_session_resume(&p->session, p->node, key, &session_events, p, why,
                             sizeof why);
}

__attribute__((unused)) static bool person_has(const struct person *p,
                                               const char *text)
{
    struct cv_writer w;
    const struct cv_doc *doc;
    bool same;

    if (p->document == NULL)
        return false;
    doc = cv_document_text(p->document);
    cv_writer_init_heap(&w, 1 << 24);
    REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &w) == CV_OK);
    same = w.len == strlen(text) &&
           (w.len == 0 || memcmp(w.data, text, w.len) == 0);
    cv_writer_fini(&w);
    return same;
}

/* How many of these have that text? */
__attribute__((unused)) static unsigned
people_have(const struct person *p, unsigned n, const char *text)
{
    unsigned have = 0;

    for (unsigned i = 0; i < n; i++)
        have += person_has(&p[i], text);
    return have;
}

static int person_type(struct person *p, size_t at, const char *text)
{
    uint64_t seq;
    int err = cv_document_begin(p->document);

    if (err != CV_OK)
        return err;
    err = cv_document_insert(p->document, at, text, strlen(text));
    if (cv_document_commit(p->document, &seq) != CV_OK)
        return CV_ERR_IO;
    return err;
}

__attribute__((unused)) static void on_left(void *user)
{
    struct person *p = user;

    p->left = true;
    p->session = NULL;
    p->document = NULL;
}

/* Run the loop until `cond` or the time is up; false then. */
#define UNTIL(loop, seconds, cond)                                             \
    do {                                                                       \
        cv_time until_ = cv_loop_now(loop) + (seconds)*CV_SECOND;              \
        while (!(cond)) {                                                      \
            cv_time now_ = cv_loop_now(loop);                                  \
            if (now_ >= until_) {                                              \
                print_error("%s did not become true\n", #cond);                \
                _fail(__FILE__, __LINE__);                                     \
            }                                                                  \
            cv_loop_once(loop, now_ + 20 * CV_MILLISECOND);                    \
        }                                                                      \
    } while (0)
#endif
