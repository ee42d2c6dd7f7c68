#include "cli/agent.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/agent_struct.h"
#include "cli/doctor.h"

#define LEAVE_TIME (3 * CV_SECOND) /* sessions promise 2 s */

void cv_agent_error(struct cv_agent *a, const struct cv_rpc_id *id,
                    enum cv_rpc_code code, const char *message,
                    const char *hint)
{
    snprintf(a->last_error, sizeof(a->last_error), "%s", message);
    cv_rpc_error(a->rpc, id, code, message, hint);
}

void cv_agent_ok(struct cv_agent *a, const struct cv_rpc_id *id)
{
    if (!id->present)
        return;
    cv_rpc_result(a->rpc, id);
    cv_rpc_send(a->rpc);
}

/* --- leaving --- */

static bool all_left(const struct cv_agent *a)
{
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++)
        if (a->places[i].number)
            return false;
    return true;
}

static void end_now(void *user)
{
    struct cv_agent *a = user;

    cv_agent_ok(a, &a->end_id);
    cv_loop_stop(a->loop);
}

static void on_left(void *user)
{
    struct cv_place *p = user;
    struct cv_agent *a = p->agent;

    cv_agent_ok(a, &p->leave_id);
    p->session = NULL;
    cv_place_clear(p);
    if (a->ending && all_left(a))
        end_now(a);
}

void cv_agent_leave(struct cv_place *p, const struct cv_rpc_id *id)
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

void cv_agent_end(struct cv_agent *a)
{
    if (a->ending)
        return;
    a->ending = true;
    cv_timer_set(a->ender, cv_loop_now(a->loop) + LEAVE_TIME);
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++)
        if (a->places[i].number)
            cv_agent_leave(&a->places[i], NULL);
    if (all_left(a))
        end_now(a);
}

/* --- dispatch --- */

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
    struct cv_agent *a = user;

    if (a->ending)
        return;
    for (size_t i = 0; i < sizeof(about_text) / sizeof(about_text[0]); i++)
        if (strcmp(method, about_text[i].method) == 0) {
            struct cv_buffer *b = cv_place_buffer(a, params);

            if (b)
                about_text[i].fn(b, params);
            return;
        }
    if (id->present)
        cv_agent_request(a, method, id, params);
}

static void on_closed(void *user, int err)
{
    struct cv_agent *a = user;

    if (err != CV_OK)
        cv_error(a->log, "agent: the editor's messages cannot be read: %s",
                 cv_strerror(err));
    cv_agent_end(a);
}

static void on_signal(void *user)
{
    cv_agent_end(user);
}

static const struct cv_rpc_events rpc_events = {on_message, on_closed};

static int agent_open(struct cv_agent *a, int fd_in, int fd_out)
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

static void agent_close(struct cv_agent *a)
{
    for (size_t i = 0; i < CV_AGENT_SESSIONS; i++)
        if (a->places[i].number)
            cv_place_clear(&a->places[i]);
    cv_doctor_free(a->doctor);
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
    struct cv_agent *a = calloc(1, sizeof(*a));
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
