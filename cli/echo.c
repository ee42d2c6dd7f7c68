/* The timer is the one place that acts: what the meeting tells is noted, and
 * the timer woken, so that nothing is closed from within its own callback. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/echo_struct.h"

static void on_stop(void *user)
{
    cv_echo_leave(user, CV_OK);
}

static void on_timer(void *user)
{
    struct cv_echo *e = user;

    if (e->leaving) /* the goodbye took too long */
        cv_loop_stop(e->loop);
    else
        e->due(e, cv_loop_now(e->loop));
}

void cv_echo_done(void *user)
{
    struct cv_echo *e = user;

    cv_loop_stop(e->loop);
}

void cv_echo_leave(struct cv_echo *e, int err)
{
    if (e->leaving)
        return;
    e->leaving = true;
    e->err = err;
    if (e->meeting != NULL)
        cv_meeting_leave(e->meeting);
    else
        cv_loop_stop(e->loop);
    cv_timer_set(e->timer, cv_loop_now(e->loop) + 2 * CV_MEETING_LEAVE);
}

/* With the machine's monotonic time, as "clock_ms" is: two sides of one test
 * are laid side by side. */
static void on_log(void *user, enum cv_log_level level, const char *line)
{
    cv_time now = cv_time_now();
    char text[1280];

    (void)user;
    snprintf(text, sizeof text, "%" PRId64 ".%03d %s", now / CV_MILLISECOND,
             (int)(now % CV_MILLISECOND / CV_MICROSECOND), line);
    cv_log_stderr(NULL, level, text);
}

int cv_echo_open(struct cv_echo *e)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    struct cv_node_config config;
    char why[512] = "";
    int err = cv_loop_new(&e->loop);

    e->log->sink = on_log;
    if (err == CV_OK)
        err = cv_timer_new(&e->timer, e->loop, on_timer, e);
    for (size_t i = 0; err == CV_OK && i < 3; i++)
        err = cv_signal_new(&e->stops[i], e->loop, stops[i], on_stop, e);
    if (err == CV_OK) {
        cv_options_node(e->options, e->loop, e->log, &config);
        e->zero = cv_loop_now(e->loop);
        err = cv_node_new(&e->node, &config, why, sizeof why);
    }
    if (err != CV_OK)
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
    return err;
}

int cv_echo_meet(struct cv_echo *e, const struct cv_key *session,
                 const struct cv_grants *grants)
{
    struct cv_meeting_config config = {
        .node = e->node,
        .session = *session,
        .grants = *grants,
        .capabilities = CV_CONTROL_STREAMS,
        .open = true,
        .offer = CV_ROLE_EDITOR,
        .wants = CV_ROLE_EDITOR,
        .star = true,
        .hold = e->hold,
        .token = e->token,
    };

    return cv_meeting_new(&e->meeting, &config, e->events, e);
}

void cv_echo_token(void *user, int err, const char *why,
                   const struct cv_token *t)
{
    struct cv_echo *e = user;
    char text[CV_TOKEN_TEXT];
    struct cv_echo_line l;

    cv_echo_begin(&l, e, cv_loop_now(e->loop), "token");
    if (err == CV_OK)
        cv_json_put_text(&l.json, "token", cv_token_format(t, text));
    else
        cv_json_put_text(&l.json, "why", why);
    cv_echo_put_clock(&l, e);
    cv_echo_end(&l);
}

static void say_added(const struct cv_echo *e)
{
    struct cv_echo_line l;

    cv_echo_begin(&l, e, cv_loop_now(e->loop), "added");
    cv_echo_put_clock(&l, e);
    cv_echo_end(&l);
}

static void on_line(void *user, const char *line)
{
    struct cv_echo *e = user;
    struct cv_token t;
    char why[256] = "";
    int err;

    if (e->leaving)
        return;
    if (strncmp(line, "add ", 4) != 0) {
        fprintf(stderr, "covim: write add TOKEN\n");
        return;
    }
    err = cv_token_parse(&t, CV_TOKEN_GUEST, line + 4, why, sizeof why);
    if (err == CV_OK)
        err = cv_meeting_add(e->meeting, &t);
    if (err != CV_OK)
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
    else
        say_added(e);
}

int cv_echo_invite(struct cv_echo *e)
{
    int err = cv_meeting_invite(e->meeting);

    if (err == CV_OK)
        err = cv_typed_open(&e->typed, e->loop, on_line, e);
    return err;
}

int cv_echo_run(struct cv_echo *e)
{
    int code;

    if (e->err == CV_OK)
        cv_loop_run(e->loop);
    code = (int)cv_exit_of(e->err);
    cv_typed_close(&e->typed);
    cv_meeting_free(e->meeting);
    cv_node_free(e->node);
    for (size_t i = 0; i < 3; i++)
        cv_signal_free(e->stops[i]);
    cv_timer_free(e->timer);
    cv_loop_free(e->loop);
    return code;
}
