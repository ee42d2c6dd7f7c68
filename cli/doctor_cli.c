#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "session/session.h"

#define REPORT_MAX 65536u

struct run {
    const struct cv_options *options;
    struct cv_loop *loop;
    struct cv_node *node;
    struct cv_doctor *doctor;
    struct cv_signal *stops[2];
    int code;
};

static void on_stop(void *user)
{
    struct run *r = user;

    r->code = CV_EXIT_FAILURE;
    cv_loop_stop(r->loop);
}

static void on_progress(void *user, const char *what)
{
    (void)user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kcovim: waiting for %s", what);
}

static void print(struct run *r, const struct cv_findings *findings)
{
    struct cv_json_out json;
    struct cv_writer out;

    cv_writer_init_heap(&out, REPORT_MAX);
    if (r->options->json) {
        cv_json_out_init(&json, &out);
        cv_json_begin(&json, NULL, '{');
        cv_findings_json(findings, &json);
        cv_json_end(&json, '}');
        cv_put_u8(&out, '\n');
    } else {
        cv_findings_text(findings, &out);
    }
    if (out.err == CV_OK)
        fwrite(out.data, 1, out.len, stdout);
    cv_writer_fini(&out);
}

static void on_done(void *user, const struct cv_findings *findings)
{
    struct run *r = user;

    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    print(r, findings);
    r->code = cv_findings_worst(findings) == CV_FINDING_PROBLEM
                  ? CV_EXIT_FAILURE
                  : CV_EXIT_OK;
    cv_loop_stop(r->loop);
}

int cv_doctor_run(const struct cv_options *options, struct cv_log *log,
                  const char *key)
{
    struct run r = {.options = options, .code = CV_EXIT_FAILURE};
    struct cv_doctor_config doctor = {
        .node_options = options,
        .addresses = options->show_addresses,
        .slow = options->slow,
        .key = key,
        .progress = on_progress,
        .done = on_done,
        .user = &r,
    };
    struct cv_node_config config;
    char why[512] = "";
    int err = cv_loop_new(&r.loop);

    if (err == CV_OK)
        err = cv_signal_new(&r.stops[0], r.loop, SIGINT, on_stop, &r);
    if (err == CV_OK)
        err = cv_signal_new(&r.stops[1], r.loop, SIGTERM, on_stop, &r);
    if (err == CV_OK) {
        cv_options_node(options, r.loop, log, &config);
        err = cv_node_new(&r.node, &config, why, sizeof why);
    }
    doctor.loop = r.loop;
    doctor.node = r.node;
    if (err == CV_OK)
        err = cv_doctor_new(&r.doctor, &doctor);
    if (err == CV_OK) {
        cv_loop_run(r.loop);
    } else {
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
        r.code = (int)cv_exit_of(err);
    }
    cv_doctor_free(r.doctor);
    cv_node_free(r.node);
    cv_signal_free(r.stops[0]);
    cv_signal_free(r.stops[1]);
    cv_loop_free(r.loop);
    return r.code;
}
