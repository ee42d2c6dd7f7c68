/* cli/agent_struct.h - what the files of the agent share:
 *
 *   agent.c          its life, and leaving
 *   agent_request.c  what the editor asks
 *   agent_open.c     of it, how a session begins: share, join, resume, tokens
 *   agent_authors.c  of it, who wrote what
 *   agent_doctor.c   of it, what is wrong
 *   agent_place.c    the sessions, and what they say */
#ifndef CV_CLI_AGENT_STRUCT_H
#define CV_CLI_AGENT_STRUCT_H
#include "cli/buffer.h"
#include "cli/options.h"
#include "cli/rpc.h"

#define CV_AGENT_SESSIONS 32  /* of one editor, at once */
#define CV_AGENT_KNOCKS   64  /* open at once */
#define CV_AGENT_ERROR    256 /* bytes of the last error's sentence */

struct cv_agent;
struct cv_doctor;

/* One session of the editor, with at most one document. */
struct cv_place {
    struct cv_agent *agent;
    uint64_t number; /* 0: free */
    struct cv_session *session;
    struct cv_buffer *buffer;
    bool eol;      /* of the buffer that was shared or resumed */
    bool announce; /* the document's text is news to the editor */
    bool leaving;
    struct cv_rpc_id leave_id;
    enum cv_session_state state;
    char stage[256], hint[512];
    cv_time since; /* the state began */
};

/* A knock as the editor knows it. */
struct cv_asked {
    uint64_t number; /* 0: free */
    struct cv_place *place;
    uint32_t id;
    char name[CV_NAME_MAX_TEXT];
    enum cv_role wants;
};

struct cv_agent {
    struct cv_options *options;
    struct cv_log *log;
    struct cv_loop *loop;
    struct cv_rpc *rpc;
    struct cv_node *node;
    struct cv_timer *ender;
    struct cv_signal *term, *hup;
    uint64_t numbers; /* the last one given to anything */
    struct cv_place places[CV_AGENT_SESSIONS];
    struct cv_asked asked[CV_AGENT_KNOCKS];
    bool ending;
    struct cv_rpc_id end_id;
    char last_error[CV_AGENT_ERROR];
    struct cv_doctor *doctor; /* at work; NULL */
    struct cv_rpc_id doctor_id;
};

/* --- agent.c --- */

/* Answer a request; the sentence of an error is kept for `status`. */
void cv_agent_error(struct cv_agent *a, const struct cv_rpc_id *id,
                    enum cv_rpc_code code, const char *message,
                    const char *hint);
void cv_agent_ok(struct cv_agent *a, const struct cv_rpc_id *id);
/* Leave a session; `id` (may be NULL) is answered when that is done. */
void cv_agent_leave(struct cv_place *p, const struct cv_rpc_id *id);
/* Leave everything, then stop the loop. */
void cv_agent_end(struct cv_agent *a);

/* --- agent_request.c --- */

enum cv_rpc_code cv_agent_code(int err);

void cv_agent_request(struct cv_agent *a, const char *method,
                      const struct cv_rpc_id *id, const struct cv_json *params);

/* --- agent_open.c --- */

void cv_agent_share(struct cv_agent *a, const struct cv_rpc_id *id,
                    const struct cv_json *params);
void cv_agent_join(struct cv_agent *a, const struct cv_rpc_id *id,
                   const struct cv_json *params);
void cv_agent_token(struct cv_agent *a, const struct cv_rpc_id *id,
                    const struct cv_json *params);
void cv_agent_connect(struct cv_agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params);
void cv_agent_add(struct cv_agent *a, const struct cv_rpc_id *id,
                  const struct cv_json *params);
void cv_agent_resume(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params);

/* --- agent_authors.c --- */

void cv_agent_authors(struct cv_agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params);
void cv_agent_revert(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params);

/* --- agent_doctor.c --- */

void cv_agent_doctor(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params);

/* --- agent_place.c --- */

extern const struct cv_session_events cv_place_events;
/* NULL: all are taken. */
struct cv_place *cv_place_new(struct cv_agent *a);
void cv_place_clear(struct cv_place *p);
/* By `session`, by `doc`; NULL: there is none. */
struct cv_place *cv_place_find(struct cv_agent *a,
                               const struct cv_json *params);
struct cv_buffer *cv_place_buffer(struct cv_agent *a,
                                  const struct cv_json *params);
/* The place of that buffer. */
struct cv_place *cv_place_of(struct cv_agent *a, const struct cv_buffer *b);
/* A document is here; `user` is the place. */
void cv_place_document(void *user, struct cv_document *d);
/* Member `key`. */
void cv_place_put_key(struct cv_json_out *o, const struct cv_key *session);
void cv_place_put_state(struct cv_json_out *o, const struct cv_place *p);
void cv_place_put_member(struct cv_json_out *o, const struct cv_place *p,
                         const struct cv_member *m);
#endif
