/* cli/rpc.h - JSON-RPC 2.0 over two file descriptors (docs/editor.md).
 *
 * Messages are framed by Content-Length, or one a line (NDJSON) when the first
 * byte that comes is not a letter; we answer in kind. */
#ifndef CV_CLI_RPC_H
#define CV_CLI_RPC_H
#include "base/log.h"
#include "base/loop.h"
#include "cli/json.h"

struct cv_rpc;

#define CV_RPC_MESSAGE_MAX (256u * 1024u * 1024u) /* bytes of one message */
#define CV_RPC_QUEUE_MAX   (512u * 1024u * 1024u) /* that wait to be read */

/* Codes of JSON-RPC, and ours (docs/editor.md). */
enum cv_rpc_code {
    CV_RPC_NO_METHOD = -32601,
    CV_RPC_BAD_PARAMS = -32602,
    CV_RPC_FAILED = -32000,
    CV_RPC_BAD_KEY = -32001,
    CV_RPC_BAD_TEXT = -32002,
    CV_RPC_IDENTITY = -32003,
    CV_RPC_NOT_FOUND = -32004,
    CV_RPC_BUSY = -32005,
    CV_RPC_NO_NETWORK = -32006,
};

/* The id of a request; copy it to answer later. */
struct cv_rpc_id {
    bool present; /* false: a notification, answers go nowhere */
    bool is_text;
    uint64_t number;
    char text[64];
};

struct cv_rpc_events {
    /* `params` may be NULL; both are borrowed for the call. */
    void (*message)(void *user, const char *method, const struct cv_rpc_id *id,
                    const struct cv_json *params);
    /* The other side is gone (CV_OK: end of file), or broke the framing. */
    void (*closed)(void *user, int err);
};

/* The descriptors are made non-blocking and stay the caller's. */
CV_MUST_USE int cv_rpc_new(struct cv_rpc **out, struct cv_loop *loop,
                           struct cv_log *log, int fd_in, int fd_out,
                           const struct cv_rpc_events *events, void *user);
void cv_rpc_free(struct cv_rpc *rpc);
/* Wait until all is written, at most until `deadline`. */
void cv_rpc_drain(struct cv_rpc *rpc, cv_time deadline);

/* Begin a message, write the members of `params` or `result` into what is
 * returned, then cv_rpc_send().  One at a time. */
struct cv_json_out *cv_rpc_notify(struct cv_rpc *rpc, const char *method);
struct cv_json_out *cv_rpc_result(struct cv_rpc *rpc,
                                  const struct cv_rpc_id *id);
void cv_rpc_send(struct cv_rpc *rpc);
void cv_rpc_error(struct cv_rpc *rpc, const struct cv_rpc_id *id,
                  enum cv_rpc_code code, const char *message, const char *hint);
#endif
