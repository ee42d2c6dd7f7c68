#include "cli/rpc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define READ_SIZE  65536u
#define HEADER_MAX 4096u

enum framing { FRAMING_UNKNOWN, FRAMING_LENGTH, FRAMING_LINES };

struct cv_rpc {
    struct cv_loop *loop;
    struct cv_log *log;
    int fd_in, fd_out;
    struct cv_watch *in, *out;
    enum framing framing;
    struct cv_writer input;  /* not yet parsed */
    size_t scanned;          /* of it, without a line end (NDJSON) */
    struct cv_writer output; /* not yet written… */
    size_t written;          /* …from here */
    struct cv_writer message;
    struct cv_json_out json;
    bool closed;
    bool *freed; /* set by cv_rpc_free() inside a callback */
    const struct cv_rpc_events *events;
    void *user;
};

static void on_readable(void *user, unsigned ready);
static void on_writable(void *user, unsigned ready);

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return cv_err_from_errno(errno);
    return CV_OK;
}

int cv_rpc_new(struct cv_rpc **out, struct cv_loop *loop, struct cv_log *log,
               int fd_in, int fd_out, const struct cv_rpc_events *events,
               void *user)
{
    struct cv_rpc *rpc = calloc(1, sizeof(*rpc));
    int err;

    if (!rpc)
        return CV_ERR_NOMEM;
    rpc->loop = loop;
    rpc->log = log;
    rpc->fd_in = fd_in;
    rpc->fd_out = fd_out;
    rpc->events = events;
    rpc->user = user;
    cv_writer_init_heap(&rpc->input, CV_RPC_MESSAGE_MAX + HEADER_MAX);
    cv_writer_init_heap(&rpc->output, CV_RPC_QUEUE_MAX);
    cv_writer_init_heap(&rpc->message, CV_RPC_MESSAGE_MAX);
    err = set_nonblocking(fd_in);
    if (err == CV_OK)
        err = set_nonblocking(fd_out);
    if (err == CV_OK)
        err = cv_watch_new(&rpc->in, loop, fd_in, CV_WATCH_READ, on_readable,
                           rpc);
    if (err == CV_OK)
        err = cv_watch_new(&rpc->out, loop, fd_out, 0, on_writable, rpc);
    if (err != CV_OK) {
        cv_rpc_free(rpc);
        return err;
    }
    *out = rpc;
    return CV_OK;
}

void cv_rpc_free(struct cv_rpc *rpc)
{
    if (!rpc)
        return;
    if (rpc->freed)
        *rpc->freed = true;
    cv_watch_free(rpc->in);
    cv_watch_free(rpc->out);
    cv_writer_fini(&rpc->input);
    cv_writer_fini(&rpc->output);
    cv_writer_fini(&rpc->message);
    free(rpc);
}

static void fail(struct cv_rpc *rpc, int err)
{
    if (rpc->closed)
        return;
    rpc->closed = true;
    cv_watch_set(rpc->in, 0);
    cv_watch_set(rpc->out, 0);
    rpc->events->closed(rpc->user, err);
}

/* --- writing --- */

/* CV_ERR_AGAIN while something is left. */
static int flush_output(struct cv_rpc *rpc)
{
    while (rpc->written < rpc->output.len) {
        ssize_t n = write(rpc->fd_out, rpc->output.data + rpc->written,
                          rpc->output.len - rpc->written);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return CV_ERR_AGAIN;
        if (n < 0)
            return CV_ERR_CLOSED;
        rpc->written += (size_t)n;
    }
    rpc->written = 0;
    if (rpc->output.cap > 4 * READ_SIZE) { /* do not keep a peak for ever */
        cv_writer_fini(&rpc->output);
        cv_writer_init_heap(&rpc->output, CV_RPC_QUEUE_MAX);
    }
    cv_writer_reset(&rpc->output);
    return CV_OK;
}

static void write_now(struct cv_rpc *rpc)
{
    int err = flush_output(rpc);

    if (err == CV_ERR_CLOSED)
        cv_debug(rpc->log, "rpc: the editor does not read any more");
    cv_watch_set(rpc->out, err == CV_ERR_AGAIN ? CV_WATCH_WRITE : 0);
}

static void on_writable(void *user, unsigned ready)
{
    (void)ready;
    write_now(user);
}

void cv_rpc_drain(struct cv_rpc *rpc, cv_time deadline)
{
    while (flush_output(rpc) == CV_ERR_AGAIN) {
        struct pollfd p = {.fd = rpc->fd_out, .events = POLLOUT};
        cv_time left = deadline - cv_time_now();

        if (left <= 0 || poll(&p, 1, (int)(left / CV_MILLISECOND) + 1) <= 0)
            return;
    }
}

static struct cv_json_out *begin(struct cv_rpc *rpc)
{
    cv_writer_reset(&rpc->message);
    cv_json_out_init(&rpc->json, &rpc->message);
    cv_json_begin(&rpc->json, NULL, '{');
    cv_json_put_text(&rpc->json, "jsonrpc", "2.0");
    return &rpc->json;
}

struct cv_json_out *cv_rpc_notify(struct cv_rpc *rpc, const char *method)
{
    struct cv_json_out *o = begin(rpc);

    cv_json_put_text(o, "method", method);
    cv_json_begin(o, "params", '{');
    return o;
}

static void put_id(struct cv_json_out *o, const struct cv_rpc_id *id)
{
    if (!id->present)
        cv_json_put_null(o, "id");
    else if (id->is_text)
        cv_json_put_text(o, "id", id->text);
    else
        cv_json_put_uint(o, "id", id->number);
}

struct cv_json_out *cv_rpc_result(struct cv_rpc *rpc,
                                  const struct cv_rpc_id *id)
{
    struct cv_json_out *o = begin(rpc);

    put_id(o, id);
    cv_json_begin(o, "result", '{');
    return o;
}

static void queue_message(struct cv_rpc *rpc)
{
    char header[64];

    cv_json_end(&rpc->json, '}');
    if (rpc->message.err != CV_OK || rpc->closed) {
        cv_error(rpc->log, "rpc: a message was lost, error=%s",
                 cv_strerror(rpc->message.err));
        return;
    }
    if (rpc->framing == FRAMING_LINES) {
        cv_put_u8(&rpc->message, '\n');
    } else {
        int n = snprintf(header, sizeof(header), "Content-Length: %zu\r\n\r\n",
                         rpc->message.len);

        cv_put_raw(&rpc->output, header, (size_t)n);
    }
    if (cv_put_raw(&rpc->output, rpc->message.data, rpc->message.len) != CV_OK)
        fail(rpc, CV_ERR_LIMIT);
    else
        write_now(rpc);
    if (rpc->message.cap > 4 * READ_SIZE) {
        cv_writer_fini(&rpc->message);
        cv_writer_init_heap(&rpc->message, CV_RPC_MESSAGE_MAX);
    }
}

void cv_rpc_send(struct cv_rpc *rpc)
{
    cv_json_end(&rpc->json, '}');
    queue_message(rpc);
}

void cv_rpc_error(struct cv_rpc *rpc, const struct cv_rpc_id *id,
                  enum cv_rpc_code code, const char *message, const char *hint)
{
    struct cv_json_out *o;

    if (!id->present)
        return;
    o = begin(rpc);
    put_id(o, id);
    cv_json_begin(o, "error", '{');
    cv_json_put_int(o, "code", code);
    cv_json_put_text(o, "message", message);
    cv_json_begin(o, "data", '{');
    cv_json_put_text(o, "hint", hint ? hint : "");
    cv_json_end(o, '}');
    cv_json_end(o, '}');
    queue_message(rpc);
}

/* --- reading --- */

/* Find the next message: its bytes, and how much of the input it took.
 * CV_ERR_AGAIN: not all there. */
static int next_line(struct cv_rpc *rpc, struct cv_bytes input,
                     struct cv_bytes *message, size_t *used)
{
    const uint8_t *end =
        input.len > rpc->scanned
            ? memchr(input.data + rpc->scanned, '\n', input.len - rpc->scanned)
            : NULL;

    if (!end) {
        rpc->scanned = input.len;
        return CV_ERR_AGAIN;
    }
    rpc->scanned = 0;
    *message = CV_BYTES(input.data, (size_t)(end - input.data));
    *used = message->len + 1;
    return CV_OK;
}

static int next_framed(struct cv_bytes input, struct cv_bytes *message,
                       size_t *used)
{
    static const char name[] = "Content-Length:";
    size_t look = input.len < HEADER_MAX ? input.len : HEADER_MAX, length = 0;
    const uint8_t *end = look ? memmem(input.data, look, "\r\n\r\n", 4) : NULL;
    const char *line = (const char *)input.data;
    bool found = false;

    if (!end)
        return look == HEADER_MAX ? CV_ERR_FORMAT : CV_ERR_AGAIN;
    while (line < (const char *)end + 2) {
        const char *next =
            memmem(line, (size_t)((const char *)end + 2 - line), "\r\n", 2);

        if ((size_t)(next - line) >= sizeof(name) - 1 &&
            strncasecmp(line, name, sizeof(name) - 1) == 0) {
            line += sizeof(name) - 1;
            while (line < next && *line == ' ')
                line++;
            for (; line < next && isdigit((unsigned char)*line); line++) {
                length = 10 * length + (size_t)(*line - '0');
                found = true;
                if (length > CV_RPC_MESSAGE_MAX)
                    return CV_ERR_LIMIT;
            }
        }
        line = next + 2;
    }
    if (!found)
        return CV_ERR_FORMAT;
    *used = (size_t)(end + 4 - input.data);
    if (input.len - *used < length)
        return CV_ERR_AGAIN;
    *message = CV_BYTES(input.data + *used, length);
    *used += length;
    return CV_OK;
}

static void take_id(struct cv_rpc_id *id, const struct cv_json *v)
{
    struct cv_bytes text;

    memset(id, 0, sizeof(*id));
    if (cv_json_uint(v, &id->number)) {
        id->present = true;
    } else if (cv_json_string(v, &text) && text.len < sizeof(id->text)) {
        id->present = id->is_text = true;
        memcpy(id->text, text.data, text.len);
    }
}

static void dispatch(struct cv_rpc *rpc, struct cv_bytes message)
{
    struct cv_json *root;
    struct cv_rpc_id id;
    char method[64];
    size_t blank = 0;

    while (blank < message.len && isspace(message.data[blank]))
        blank++;
    if (blank == message.len)
        return;
    if (cv_json_parse(&root, message) != CV_OK) {
        cv_warn(rpc->log, "rpc: a message is not JSON, bytes=%zu", message.len);
        return;
    }
    take_id(&id, cv_json_get(root, "id"));
    if (cv_json_copy(root, "method", method, sizeof(method)))
        rpc->events->message(rpc->user, method, &id,
                             cv_json_get(root, "params"));
    cv_json_free(root);
}

static void parse_input(struct cv_rpc *rpc)
{
    size_t done = 0;
    bool freed = false;
    int err = CV_OK;

    rpc->freed = &freed;
    while (err == CV_OK && !rpc->closed && done < rpc->input.len) {
        struct cv_bytes input =
            CV_BYTES(rpc->input.data + done, rpc->input.len - done);
        struct cv_bytes message;
        size_t used;

        if (rpc->framing == FRAMING_UNKNOWN)
            rpc->framing =
                isalpha(input.data[0]) ? FRAMING_LENGTH : FRAMING_LINES;
        err = rpc->framing == FRAMING_LINES
                  ? next_line(rpc, input, &message, &used)
                  : next_framed(input, &message, &used);
        if (err != CV_OK)
            break;
        done += used;
        dispatch(rpc, message);
        if (freed)
            return;
    }
    rpc->freed = NULL;
    if (done) {
        memmove(rpc->input.data, rpc->input.data + done, rpc->input.len - done);
        rpc->input.len -= done;
    }
    if (!rpc->input.len && rpc->input.cap > 4 * READ_SIZE) {
        cv_writer_fini(&rpc->input);
        cv_writer_init_heap(&rpc->input, CV_RPC_MESSAGE_MAX + HEADER_MAX);
    }
    if (err != CV_OK && err != CV_ERR_AGAIN)
        fail(rpc, err);
}

static void on_readable(void *user, unsigned ready)
{
    struct cv_rpc *rpc = user;
    uint8_t chunk[READ_SIZE];
    ssize_t n = read(rpc->fd_in, chunk, sizeof(chunk));

    (void)ready;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail(rpc, n ? CV_ERR_IO : CV_OK);
        return;
    }
    if (cv_put_raw(&rpc->input, chunk, (size_t)n) != CV_OK)
        fail(rpc, CV_ERR_LIMIT);
    else
        parse_input(rpc);
}
