/* `covim agent` as an editor sees it: each test runs one in a child process
 * with a data folder of its own, no LAN and no bootstrap node. */
#include "tests/test.h"

#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "cli/agent.h"
#include "cli/json.h"

#define WAIT_MS 15000

struct editor {
    pid_t pid;
    int to, from;
    char input[1 << 20]; /* lines not yet looked at */
    size_t len;
    struct cv_json *message; /* the last one that was waited for */
    unsigned id;
};

static char data_dir[64];

static void open_dir(void)
{
    snprintf(data_dir, sizeof(data_dir), "/tmp/covim-test-XXXXXX");
    REQUIRE(mkdtemp(data_dir));
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void close_dir(void)
{
    nftw(data_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void start(struct editor *e)
{
    int in[2], out[2];

    memset(e, 0, sizeof(*e));
    REQUIRE(pipe(in) == 0 && pipe(out) == 0);
    e->pid = fork();
    REQUIRE(e->pid >= 0);
    if (e->pid == 0) {
        struct cv_log log = {.level = CV_LOG_ERROR, .sink = cv_log_stderr};
        struct cv_options options;
        char none[] = "none", name[] = "covim";

        log.user = name;
        close(in[1]);
        close(out[0]);
        if (cv_options_init(&options) != CV_OK ||
            cv_servers_add(&options.bootstrap, none) != CV_OK)
            _exit(99);
        options.lan = false;
        options.data_dir = strdup(data_dir);
        _exit(cv_agent_run(&options, &log, in[0], out[1]));
    }
    close(in[0]);
    close(out[1]);
    e->to = in[1];
    e->from = out[0];
}

static void say(struct editor *e, const char *text)
{
    size_t len = strlen(text);

    REQUIRE(write(e->to, text, len) == (ssize_t)len);
    REQUIRE(write(e->to, "\n", 1) == 1);
}

/* A request: its number is put in front. */
static void ask(struct editor *e, const char *method, const char *params)
{
    static char text[1 << 16];

    snprintf(text, sizeof(text),
             "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"%s\",\"params\":%s}",
             ++e->id, method, params);
    say(e, text);
}

static bool is_wanted(const struct editor *e, const char *method)
{
    struct cv_bytes text;
    uint64_t id;

    if (!method)
        return cv_json_get_uint(e->message, "id", &id) && id == e->id;
    return cv_json_get_string(e->message, "method", &text) &&
           text.len == strlen(method) &&
           memcmp(text.data, method, text.len) == 0;
}

static bool take_line(struct editor *e, const char *method)
{
    char *end = memchr(e->input, '\n', e->len);
    size_t len;

    if (!end)
        return false;
    len = (size_t)(end - e->input) + 1;
    cv_json_free(e->message);
    e->message = NULL;
    REQUIRE(cv_json_parse(&e->message, CV_BYTES(e->input, len - 1)) == CV_OK);
    memmove(e->input, e->input + len, e->len - len);
    e->len -= len;
    return is_wanted(e, method) || take_line(e, method);
}

/* Wait for a notification, or with NULL for the answer to the last request;
 * what comes before is dropped.  Returns its params, result or error. */
static const struct cv_json *await(struct editor *e, const char *method)
{
    struct pollfd p = {.fd = e->from, .events = POLLIN};

    while (!take_line(e, method)) {
        ssize_t n;

        REQUIRE(poll(&p, 1, WAIT_MS) == 1);
        n = read(e->from, e->input + e->len, sizeof(e->input) - e->len);
        REQUIRE(n > 0);
        e->len += (size_t)n;
    }
    if (method)
        return cv_json_get(e->message, "params");
    return cv_json_get(e->message, "result") ? cv_json_get(e->message, "result")
                                             : cv_json_get(e->message, "error");
}

/* The code of an error answer; 0: it is a result. */
static long error_code(struct editor *e)
{
    const struct cv_json *answer = await(e, NULL);
    struct cv_bytes text;
    int64_t code;

    if (!cv_json_get(e->message, "error"))
        return 0;
    REQUIRE(cv_json_get_string(answer, "message", &text) && text.len > 5);
    REQUIRE(cv_json_get_int(answer, "code", &code));
    return (long)code;
}

static int stop(struct editor *e, int how)
{
    int status;

    if (how)
        kill(e->pid, how);
    close(e->to);
    REQUIRE(waitpid(e->pid, &status, 0) == e->pid);
    close(e->from);
    cv_json_free(e->message);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

static uint64_t number(const struct cv_json *o, const char *key)
{
    uint64_t n;

    REQUIRE(cv_json_get_uint(o, key, &n));
    return n;
}

static void hello(struct editor *e)
{
    ask(e, "hello", "{\"protocol\":1,\"name\":\"ada\",\"lan\":false}");
    REQUIRE(error_code(e) == 0);
}

/* Share "one\ntwo\n"; the numbers that later messages need. */
static void share(struct editor *e, char key[CV_KEYTEXT_MAX], char about[64])
{
    const struct cv_json *r;

    ask(e, "share",
        "{\"path\":\"a.txt\",\"lines\":[\"one\",\"two\"],\"eol\":true}");
    r = await(e, NULL);
    REQUIRE(cv_json_copy(r, "key", key, CV_KEYTEXT_MAX));
    snprintf(about, 64, "\"doc\":%llu,\"epoch\":%llu",
             (unsigned long long)number(r, "doc"),
             (unsigned long long)number(r, "epoch"));
}

static void notify(struct editor *e, const char *method, const char *about,
                   const char *rest)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":{%s,%s}}",
             method, about, rest);
    say(e, text);
}

TEST(what_is_wrong_is_said_with_its_code)
{
    static const struct {
        const char *method, *params;
        long code;
    } cases[] = {
        {"share", "{}", -32602}, /* before hello */
        {"hello", "{\"protocol\":2}", -32602},
        {"hello", "{\"protocol\":1,\"bootstrap\":[\"host:99999\"]}", -32602},
        {"hello", "{\"protocol\":1,\"lan\":false}", 0},
        {"dance", "{}", -32601},
        {"join", "{\"key\":\"covim1qqq\"}", -32001},
        {"join", "{}", -32001},
        {"share", "{\"path\":\"x\",\"lines\":[]}", -32002},
        {"share", "{\"path\":\"x\",\"lines\":[\"a\\nb\"]}", -32002},
        {"share", "{\"path\":\"x\",\"lines\":[3]}", -32002},
        {"accept", "{\"id\":99}", -32004},
        {"reject", "{\"name\":\"nobody\"}", -32004},
        {"leave", "{\"session\":99}", -32004},
        {"leave", "{}", -32004},
        {"peers", "{}", 0},
        {"status", "{}", 0},
    };
    static struct editor e;

    open_dir();
    start(&e);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask(&e, cases[i].method, cases[i].params);
        CHECK_EQ(error_code(&e), cases[i].code);
    }
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

TEST(a_change_is_kept_and_a_wrong_hash_brings_the_text_back)
{
    char key[CV_KEYTEXT_MAX], about[64], hex[65], verify[160];
    struct cv_bytes line, text = CV_LITERAL("one\nnew\ntwo");
    static struct editor e;
    const struct cv_json *p;
    uint8_t hash[32];

    open_dir();
    start(&e);
    hello(&e);
    share(&e, key, about);
    CHECK_EQ(strlen(key), CV_KEYTEXT_LEN);
    notify(&e, "change", about,
           "\"rev\":0,\"lo\":2,\"tail\":1,\"lines\":[\"new\"]");
    do
        p = await(&e, "kept");
    while (number(p, "erev") < 1);
    CHECK_EQ(number(p, "shared"), 0);

    cv_sha256(hash, &text, 1);
    cv_hex(hex, hash, sizeof(hash));
    snprintf(verify, sizeof(verify),
             "\"rev\":0,\"erev\":1,\"count\":3,\"sha256\":\"%s\"", hex);
    notify(&e, "verify", about, verify);
    ask(&e, "status", "{}"); /* no resync came before its answer */
    CHECK(!cv_json_get(await(&e, NULL), "reason"));

    notify(&e, "verify", about,
           "\"rev\":0,\"erev\":1,\"count\":3,\"sha256\":\"00\"");
    p = await(&e, "resync");
    CHECK_EQ(cv_json_count(cv_json_get(p, "lines")), 3);
    CHECK(cv_json_string(cv_json_at(cv_json_get(p, "lines"), 1), &line));
    CHECK(line.len == 3 && memcmp(line.data, "new", 3) == 0);
    CHECK_EQ(number(p, "epoch"), 2);
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

/* Wait for an edit, and what it says about itself. */
static bool edit_is(struct editor *e, const char *kind, const char *text,
                    uint64_t line, uint64_t column)
{
    const struct cv_json *p = await(e, "edit"), *range;
    char is[16] = "", with[64] = "";
    uint64_t place[2] = {0, 0};

    cv_json_copy(p, "kind", is, sizeof(is));
    cv_json_copy(p, "text", with, sizeof(with));
    range = cv_json_get(p, "range");
    for (size_t i = 0; i < 2; i++)
        REQUIRE(cv_json_uint(cv_json_at(range, i), &place[i]));
    return strcmp(is, kind) == 0 && strcmp(with, text) == 0 &&
           place[0] == line && place[1] == column;
}

/* Wait for the answer to an undo or redo. */
static bool undone(struct editor *e, uint64_t count, uint64_t line,
                   uint64_t column)
{
    const struct cv_json *r = await(e, NULL);
    const struct cv_json *cursor = cv_json_get(r, "cursor");
    uint64_t place[2] = {0, 0};
    bool done = !count;

    REQUIRE(cv_json_get_bool(r, "done", &done));
    for (size_t i = 0; i < 2; i++)
        REQUIRE(cv_json_uint(cv_json_at(cursor, i), &place[i]));
    return done == (count > 0) && number(r, "count") == count &&
           (!count || (place[0] == line && place[1] == column));
}

/* The stretches of line `i` of an answer to `authors`, as text. */
static const char *stretches(const struct cv_json *r, size_t i)
{
    static char text[256];
    const struct cv_json *line = cv_json_at(cv_json_get(r, "lines"), i);
    size_t at = 0;

    text[0] = '\0';
    for (size_t k = 0; k < cv_json_count(line); k++) {
        uint64_t n;

        REQUIRE(cv_json_uint(cv_json_at(line, k), &n));
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu",
                               k ? " " : "", (unsigned long long)n);
    }
    return text;
}

TEST(authors_are_told_line_by_line_and_nobody_reverts_himself)
{
    static const struct {
        const char *params;
        long code;
    } reverts[] = {
        {"\"name\":\"ada\",\"dry\":true", -32602},
        {"\"name\":\"bob\"", -32004},
        {"\"name\":\"\"", -32004},
        {"\"dry\":true", -32004},
    };
    char key[CV_KEYTEXT_MAX], about[64], request[256], name[33], print[32];
    const struct cv_json *r, *who;
    static struct editor e;
    bool you = false;

    open_dir();
    start(&e);
    hello(&e);
    share(&e, key, about);
    notify(&e, "change", about,
           "\"rev\":0,\"lo\":1,\"tail\":1,\"lines\":[\"on\\u00e9e\",\"\"]");
    snprintf(request, sizeof(request), "{%s,\"lo\":1,\"hi\":99}", about);
    ask(&e, "authors", request);
    r = await(&e, NULL);
    CHECK_EQ(number(r, "erev"), 1);
    CHECK_EQ(number(r, "lo"), 1);
    CHECK_EQ(cv_json_count(cv_json_get(r, "lines")), 4);
    CHECK(strcmp(stretches(r, 0), "5 1") == 0);
    CHECK(strcmp(stretches(r, 1), "") == 0);
    CHECK(strcmp(stretches(r, 2), "3 1") == 0);
    CHECK(strcmp(stretches(r, 3), "") == 0);
    who = cv_json_at(cv_json_get(r, "people"), 0);
    CHECK(cv_json_get_bool(who, "you", &you) && you);
    CHECK(cv_json_copy(who, "name", name, sizeof(name)));
    CHECK(strcmp(name, "ada") == 0);
    CHECK(cv_json_copy(who, "fingerprint", print, sizeof(print)));
    CHECK_EQ(strlen(print), 23);
    /* Without lines: who wrote here at all. */
    snprintf(request, sizeof(request), "{%s}", about);
    ask(&e, "authors", request);
    r = await(&e, NULL);
    CHECK(!cv_json_get(r, "lines"));
    CHECK_EQ(cv_json_count(cv_json_get(r, "people")), 1);

    for (size_t i = 0; i < sizeof(reverts) / sizeof(reverts[0]); i++) {
        snprintf(request, sizeof(request), "{%s,%s}", about, reverts[i].params);
        ask(&e, "revert", request);
        CHECK_EQ(error_code(&e), reverts[i].code);
    }
    ask(&e, "authors", "{\"doc\":99,\"epoch\":1}");
    CHECK_EQ(error_code(&e), -32004);
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

TEST(changes_of_one_group_are_undone_and_redone_together)
{
    char key[CV_KEYTEXT_MAX], about[64], request[128];
    static struct editor e;

    open_dir();
    start(&e);
    hello(&e);
    share(&e, key, about);
    snprintf(request, sizeof(request), "{%s}", about);
    ask(&e, "undo", request);
    CHECK(undone(&e, 0, 0, 0)); /* what was shared is not an edit */

    notify(&e, "change", about,
           "\"rev\":0,\"lo\":1,\"tail\":1,\"lines\":[\"one!\"],\"group\":7");
    notify(&e, "change", about,
           "\"rev\":0,\"lo\":2,\"tail\":0,\"lines\":[\"t-wo\"],\"group\":7");
    notify(&e, "change", about,
           "\"rev\":0,\"lo\":2,\"tail\":1,\"lines\":[\"mid\"],\"group\":8");
    ask(&e, "undo", request);
    CHECK(edit_is(&e, "undo", "", 2, 0));
    CHECK(undone(&e, 1, 2, 0));
    ask(&e, "undo", request);
    CHECK(edit_is(&e, "undo", "", 2, 1));
    CHECK(edit_is(&e, "undo", "", 1, 3));
    CHECK(undone(&e, 1, 1, 3));
    ask(&e, "undo", request);
    CHECK(undone(&e, 0, 0, 0));

    snprintf(request, sizeof(request), "{%s,\"count\":5}", about);
    ask(&e, "redo", request);
    CHECK(edit_is(&e, "redo", "!", 1, 3));
    CHECK(edit_is(&e, "redo", "-", 2, 1));
    CHECK(edit_is(&e, "redo", "mid\n", 2, 0));
    CHECK(undone(&e, 2, 2, 0));

    /* A change without a group is one by itself, and ends what can be
     * redone. */
    ask(&e, "undo", request);
    CHECK(undone(&e, 2, 1, 3));
    notify(&e, "change", about,
           "\"rev\":6,\"lo\":1,\"tail\":1,\"lines\":[\"One\"]");
    notify(&e, "change", about,
           "\"rev\":6,\"lo\":1,\"tail\":1,\"lines\":[\"ONe\"]");
    ask(&e, "redo", request);
    CHECK(undone(&e, 0, 0, 0));
    snprintf(request, sizeof(request), "{%s}", about);
    ask(&e, "undo", request);
    CHECK(undone(&e, 1, 1, 1));

    ask(&e, "undo", "{\"doc\":99,\"epoch\":1}");
    CHECK_EQ(error_code(&e), -32004);
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

TEST(impossible_changes_bring_the_text_back)
{
    static const char *const bad[] = {
        "\"rev\":7,\"lo\":1,\"tail\":0,\"lines\":[\"x\"]",
        "\"rev\":0,\"lo\":0,\"tail\":0,\"lines\":[\"x\"]",
        "\"rev\":0,\"lo\":9,\"tail\":0,\"lines\":[\"x\"]",
        "\"rev\":0,\"lo\":1,\"tail\":9,\"lines\":[\"x\"]",
        "\"rev\":0,\"lo\":1,\"tail\":0,\"lines\":[\"x\\ny\"]",
        "\"rev\":0,\"lo\":1,\"tail\":0,\"lines\":[7]",
        "\"rev\":0,\"lo\":1,\"tail\":0",
    };
    char key[CV_KEYTEXT_MAX], about[64];
    static struct editor e;

    open_dir();
    start(&e);
    hello(&e);
    share(&e, key, about);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct cv_json *p;

        notify(&e, "change", about, bad[i]);
        p = await(&e, "resync");
        CHECK_EQ(cv_json_count(cv_json_get(p, "lines")), 2);
        snprintf(about, sizeof(about), "\"doc\":%llu,\"epoch\":%llu",
                 (unsigned long long)number(p, "doc"),
                 (unsigned long long)number(p, "epoch"));
    }
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

TEST(after_kill_9_a_buffer_is_taken_up_with_what_it_holds)
{
    char key[CV_KEYTEXT_MAX], about[64], resume[256];
    static struct editor e;
    const struct cv_json *p;

    open_dir();
    start(&e);
    hello(&e);
    share(&e, key, about);
    notify(&e, "change", about,
           "\"rev\":0,\"lo\":2,\"tail\":1,\"lines\":[\"kept\"]");
    do
        p = await(&e, "kept");
    while (number(p, "erev") < 1);
    CHECK_EQ(stop(&e, SIGKILL), 256);

    start(&e);
    hello(&e);
    snprintf(resume, sizeof(resume),
             "{\"key\":\"%s\",\"eol\":true,"
             "\"lines\":[\"one\",\"kept\",\"and typed since\",\"two\"]}",
             key);
    ask(&e, "resume", resume);
    p = await(&e, NULL);
    CHECK(cv_json_get(p, "doc"));
    snprintf(about, sizeof(about), "\"doc\":%llu,\"epoch\":%llu",
             (unsigned long long)number(p, "doc"),
             (unsigned long long)number(p, "epoch"));
    /* The same key cannot be open twice in one editor. */
    ask(&e, "resume", resume);
    CHECK_EQ(error_code(&e), -32005);
    notify(&e, "verify", about,
           "\"rev\":0,\"erev\":0,\"count\":4,\"sha256\":\"00\"");
    p = await(&e, "resync");
    CHECK_EQ(cv_json_count(cv_json_get(p, "lines")), 4);
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

TEST(an_unknown_key_cannot_be_resumed)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION};
    char key[CV_KEYTEXT_MAX], resume[256];
    static struct editor e;

    open_dir();
    start(&e);
    hello(&e);
    cv_random(&cv_rng_system, text.key.b, sizeof(text.key.b));
    snprintf(resume, sizeof(resume), "{\"key\":\"%s\",\"lines\":[\"x\"]}",
             cv_keytext_format(&text, key));
    ask(&e, "resume", resume);
    CHECK_EQ(error_code(&e), -32004);
    /* Nor is it found, which is said while it goes on looking. */
    ask(&e, "join", resume);
    CHECK_EQ(error_code(&e), 0);
    CHECK(cv_json_get(await(&e, "session"), "stage"));
    ask(&e, "shutdown", "{}");
    CHECK_EQ(error_code(&e), 0);
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

TEST(an_open_identity_is_refused_with_what_to_do)
{
    static struct editor e;
    char path[128];
    struct cv_bytes text;

    open_dir();
    start(&e);
    hello(&e);
    CHECK_EQ(stop(&e, 0), 0);
    snprintf(path, sizeof(path), "%s/identity", data_dir);
    CHECK_EQ(chmod(path, 0644), 0);
    start(&e);
    ask(&e, "hello", "{\"protocol\":1,\"lan\":false}");
    CHECK_EQ(error_code(&e), -32003);
    CHECK(
        cv_json_get_string(cv_json_get(e.message, "error"), "message", &text));
    CHECK(memmem(text.data, text.len, "chmod 600", 9));
    CHECK_EQ(stop(&e, 0), 0);
    close_dir();
}

RUN_TESTS(T(what_is_wrong_is_said_with_its_code),
          T(a_change_is_kept_and_a_wrong_hash_brings_the_text_back),
          T(authors_are_told_line_by_line_and_nobody_reverts_himself),
          T(changes_of_one_group_are_undone_and_redone_together),
          T(impossible_changes_bring_the_text_back),
          T(after_kill_9_a_buffer_is_taken_up_with_what_it_holds),
          T(an_unknown_key_cannot_be_resumed),
          T(an_open_identity_is_refused_with_what_to_do))
