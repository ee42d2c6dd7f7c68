/* The doctor, for the editor: one at a time. */
#include "cli/agent_struct.h"

#include <string.h>

#include "cli/doctor.h"

#define REPORT_MAX 65536u

static void on_progress(void *user, const char *what)
{
    struct cv_agent *a = user;

    cv_json_put_text(cv_rpc_notify(a->rpc, "doctor"), "waiting", what);
    cv_rpc_send(a->rpc);
}

/* The text form, a line each. */
static void put_lines(struct cv_json_out *o, const struct cv_findings *findings)
{
    struct cv_writer text;
    const uint8_t *at, *end;

    cv_writer_init_heap(&text, REPORT_MAX);
    cv_findings_text(findings, &text);
    cv_json_begin(o, "lines", '[');
    at = text.data;
    end = text.err == CV_OK && at != NULL ? at + text.len : at;
    while (at < end) {
        const uint8_t *nl = memchr(at, '\n', (size_t)(end - at));

        if (nl == NULL)
            nl = end;
        cv_json_put_string(o, NULL, CV_BYTES(at, (size_t)(nl - at)));
        at = nl + 1;
    }
    cv_json_end(o, ']');
    cv_writer_fini(&text);
}

static void on_done(void *user, const struct cv_findings *findings)
{
    struct cv_agent *a = user;
    struct cv_json_out *o = cv_rpc_result(a->rpc, &a->doctor_id);

    put_lines(o, findings);
    cv_findings_json(findings, o);
    cv_rpc_send(a->rpc);
    cv_doctor_free(a->doctor);
    a->doctor = NULL;
}

void cv_agent_doctor(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params)
{
    const struct cv_json *editor = cv_json_get(params, "editor");
    struct cv_doctor_config config = {
        .loop = a->loop,
        .node = a->node,
        .node_options = a->options,
        .progress = on_progress,
        .done = on_done,
        .user = a,
    };
    char key[CV_KEYTEXT_MAX * 2];
    int err;

    if (a->doctor != NULL) {
        cv_agent_error(a, id, CV_RPC_BUSY, "the doctor is at work", "");
        return;
    }
    cv_json_get_bool(params, "addresses", &config.addresses);
    if (cv_json_copy(params, "key", key, sizeof key) && key[0] != '\0')
        config.key = key;
    cv_json_copy(editor, "name", config.editor.name, sizeof config.editor.name);
    cv_json_copy(editor, "plugin", config.editor.plugin,
                 sizeof config.editor.plugin);
    cv_json_copy(editor, "features", config.editor.features,
                 sizeof config.editor.features);
    a->doctor_id = *id;
    err = cv_doctor_new(&a->doctor, &config);
    if (err != CV_OK)
        cv_agent_error(a, id, cv_agent_code(err), cv_strerror(err), "");
}
