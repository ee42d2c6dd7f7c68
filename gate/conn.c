#include "gate/conn.h"
#include "base/outbuf.h"
#include "gate/ws.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum conn_state {
    SHAKING,  /* TLS */
    ASKED,    /* an HTTP request is coming */
    FRAMES,   /* a link of frames */
    MESSAGES, /* a link of WebSocket messages */
    LEAVING,  /* the queue goes out, nothing is read */
};

struct cv_gate_conn {
    struct cv_gate_conns *all;
    struct cv_gate_conn *next, **at; /* in the list */
    struct cv_gate_conn *next_dirty;
    struct cv_watch *watch;
    struct cv_timer *again; /* made when first needed */
    struct cv_tls *tls;     /* NULL: plain */
    struct cv_gate_ws *ws;
    struct cv_gate_client *client; /* of the core, once there is one */
    struct cv_addr from;
    int fd;
    enum conn_state state;
    bool dirty, paused, broken;
    cv_time since; /* of SHAKING and ASKED, or of LEAVING */
    /* A frame or a request that is not whole. */
    uint8_t *part;
    size_t part_len;
    /* What waits to be written. */
    struct cv_outbuf out;
};

/* ---- life --------------------------------------------------------------- */

int cv_gate_conns_init(struct cv_gate_conns *all)
{
    all->buf = malloc(2 * CV_GATE_TURN);
    return all->buf ? CV_OK : CV_ERR_NOMEM;
}

static bool is_hello(enum conn_state state)
{
    return state == SHAKING || state == ASKED;
}

static void set_state(struct cv_gate_conn *c, enum conn_state to)
{
    c->all->n_hello += is_hello(to);
    c->all->n_hello -= is_hello(c->state);
    c->state = to;
}

/* The memory of all queues is counted. */
static void count_queue(struct cv_gate_conn *c, size_t before)
{
    c->all->waiting += c->out.room - before;
}

static void conn_free(struct cv_gate_conn *c)
{
    struct cv_gate_conns *all = c->all;

    for (struct cv_gate_conn **p = &all->dirty; *p; p = &(*p)->next_dirty)
        if (*p == c) {
            *p = c->next_dirty;
            break;
        }
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    all->n--;
    cv_watch_free(c->watch);
    cv_timer_free(c->again);
    cv_gate_ws_free(c->ws);
    cv_tls_free(c->tls);
    close(c->fd);
    free(c->part);
    c->all->waiting -= c->out.room;
    cv_outbuf_fini(&c->out);
    set_state(c, LEAVING);
    free(c);
}

void cv_gate_conns_fini(struct cv_gate_conns *all)
{
    while (all->list)
        conn_free(all->list);
    free(all->buf);
}

/* The other side is gone, or broke the protocol. */
static void lose(struct cv_gate_conn *c)
{
    struct cv_gate_client *client = c->client;
    cv_time now = cv_loop_now(c->all->loop);

    c->client = NULL;
    if (client)
        cv_gate_link_closed(client, now);
    conn_free(c);
}

/* ---- writing ------------------------------------------------------------ */

static void mark_dirty(struct cv_gate_conn *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = c->all->dirty;
    c->all->dirty = c;
}

/* What a queue may grow to: a share of the memory that is left for all, so
 * that many slow readers have short queues (Choudhury and Hahne, Dynamic Queue
 * Length Thresholds, 1998), and never less than what keeps a link alive. */
static size_t queue_max(const struct cv_gate_conns *all)
{
    size_t left = all->waiting_max > all->waiting
                      ? (all->waiting_max - all->waiting) / 4
                      : 0;

    return left > CV_GATE_QUEUE       ? CV_GATE_QUEUE
           : left < CV_GATE_QUEUE_MIN ? CV_GATE_QUEUE_MIN
                                      : left;
}

static int enqueue(struct cv_gate_conn *c, const uint8_t *data, size_t len)
{
    size_t before = c->out.room;
    int err = cv_outbuf_add(&c->out, data, len, queue_max(c->all));

    count_queue(c, before);
    if (err == CV_OK)
        mark_dirty(c);
    return err;
}

int cv_gate_conn_send(struct cv_gate_conn *c, const uint8_t *data, size_t len)
{
    if (c->state == MESSAGES)
        return cv_gate_ws_say(c->ws, data, len);
    return enqueue(c, data, len);
}

static bool has_queue(const struct cv_gate_conn *c)
{
    return cv_outbuf_waiting(&c->out).len > 0;
}

static void watch_for(struct cv_gate_conn *c, bool write)
{
    bool read = !c->paused && c->state != LEAVING;

    cv_watch_set(c->watch,
                 (read ? CV_WATCH_READ : 0u) | (write ? CV_WATCH_WRITE : 0u));
}

static ptrdiff_t write_some(struct cv_gate_conn *c, const uint8_t *data,
                            size_t len)
{
    ssize_t n;

    if (c->tls)
        return cv_tls_write(c->tls, data, len);
    n = send(c->fd, data, len, MSG_NOSIGNAL);
    if (n > 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? CV_ERR_AGAIN : CV_ERR_PEER;
}

/* False: the connection is gone. */
static bool flush(struct cv_gate_conn *c)
{
    while (has_queue(c)) {
        struct cv_bytes out = cv_outbuf_waiting(&c->out);
        ptrdiff_t n = write_some(c, out.data, out.len);
        size_t before = c->out.room;

        if (n == CV_ERR_AGAIN) {
            watch_for(c, true);
            return true;
        }
        if (n < 0) {
            lose(c);
            return false;
        }
        cv_outbuf_sent(&c->out, (size_t)n);
        count_queue(c, before);
    }
    if (c->state == LEAVING) {
        if (c->tls)
            cv_tls_bye(c->tls);
        conn_free(c);
        return false;
    }
    watch_for(c, false);
    return true;
}

void cv_gate_conns_flush(struct cv_gate_conns *all)
{
    while (all->dirty) {
        struct cv_gate_conn *c = all->dirty;

        all->dirty = c->next_dirty;
        c->dirty = false;
        if (c->state != SHAKING)
            (void)flush(c);
    }
}

void cv_gate_conn_close(struct cv_gate_conn *c)
{
    c->client = NULL;
    set_state(c, LEAVING);
    c->since = cv_loop_now(c->all->loop);
    mark_dirty(c);
}

/* ---- frames ------------------------------------------------------------- */

static bool keep_part(struct cv_gate_conn *c, const uint8_t *data, size_t len)
{
    free(c->part);
    c->part = NULL;
    c->part_len = len;
    if (len == 0)
        return true;
    c->part = malloc(len);
    if (c->part)
        memcpy(c->part, data, len);
    return c->part != NULL;
}

static bool begin_link(struct cv_gate_conn *c)
{
    uint8_t exporter[32], *bound = NULL;

    if (c->tls) {
        if (cv_tls_export(c->tls, CV_GATE_EXPORTER, exporter) != CV_OK)
            return false;
        bound = exporter;
    }
    c->client = cv_gate_link_open(c->all->core, c, &c->from, bound,
                                  cv_loop_now(c->all->loop));
    return c->client != NULL;
}

/* Frames came: data[len] begins where the last ones ended.  False: stop. */
static bool frames(struct cv_gate_conn *c, const uint8_t *data, size_t len)
{
    cv_time now = cv_loop_now(c->all->loop);
    ptrdiff_t used = cv_gate_link_input(c->client, data, len, now);

    if (used < 0)
        return false; /* it is LEAVING */
    return keep_part(c, data + used, len - (size_t)used);
}

/* A message holds whole frames. */
static int on_message(void *user, const uint8_t *data, size_t len)
{
    struct cv_gate_conn *c = user;

    if (c->state != MESSAGES)
        return 1;
    if (!frames(c, data, len) || c->part_len > 0) {
        c->broken = c->state == MESSAGES;
        return 1;
    }
    return 0;
}

static int on_ws_send(void *user, const uint8_t *data, size_t len)
{
    return enqueue(user, data, len);
}

static const struct cv_gate_ws_events ws_events = {on_message, on_ws_send};

/* ---- HTTP --------------------------------------------------------------- */

static void answer_page(struct cv_gate_conn *c, const char *path)
{
    char *page = c->all->page ? c->all->page(c->all->user, path) : NULL;
    static const char none[] = "HTTP/1.1 404 Not Found\r\nConnection: close"
                               "\r\nContent-Length: 0\r\n\r\n";
    const char *text = page ? page : none;

    (void)enqueue(c, (const uint8_t *)text, strlen(text));
    free(page);
    set_state(c, LEAVING);
    c->since = cv_loop_now(c->all->loop);
}

/* Behind a proxy everybody comes from one address: it says the true one. */
static void take_forwarded(struct cv_gate_conn *c,
                           const struct cv_gate_http *request)
{
    struct cv_addr addr;

    if (!c->tls && cv_addr_parse(&addr, request->forwarded, 0) == CV_OK)
        c->from = addr;
}

/* The head of a request came.  False: the connection is to be lost. */
static bool request(struct cv_gate_conn *c, const uint8_t *data, size_t len)
{
    uint8_t out[256];
    struct cv_gate_http http;
    struct cv_writer w;
    size_t used;
    int err = cv_gate_http_parse(&http, data, len, &used);

    if (err == CV_ERR_AGAIN)
        return keep_part(c, data, len);
    if (err != CV_OK)
        return false;
    if (!http.upgrade || !c->all->core || strcmp(http.path, "/covim") != 0) {
        answer_page(c, http.path);
        return true;
    }
    take_forwarded(c, &http);
    if (!c->tls && !cv_gate_link_allowed(c->all->core, &c->from,
                                         cv_loop_now(c->all->loop)))
        return false;
    cv_writer_init(&w, out, sizeof out);
    cv_gate_http_accept(&http, &w);
    if (w.err != CV_OK || enqueue(c, out, w.len) != CV_OK ||
        cv_gate_ws_new(&c->ws, &ws_events, c) != CV_OK)
        return false;
    set_state(c, MESSAGES);
    if (!keep_part(c, NULL, 0) || !begin_link(c))
        return false;
    return len == used ||
           cv_gate_ws_input(c->ws, data + used, len - used) == CV_OK;
}

/* ---- reading ------------------------------------------------------------ */

static bool read_turn(struct cv_gate_conn *c);

static void on_again(void *user)
{
    struct cv_gate_conn *c = user;
    struct cv_gate_conns *all = c->all;

    c->paused = false;
    watch_for(c, has_queue(c));
    if (c->state != LEAVING)
        (void)read_turn(c);
    cv_gate_conns_flush(all);
}

/* Read on then, whatever the socket shows: TLS may hold bytes of a record. */
static void read_again(struct cv_gate_conn *c, cv_time when)
{
    if (!c->again &&
        cv_timer_new(&c->again, c->all->loop, on_again, c) != CV_OK)
        return;
    cv_timer_set(c->again, when);
}

static void pause_if_fast(struct cv_gate_conn *c)
{
    cv_time now = cv_loop_now(c->all->loop), until;

    if (!c->client)
        return;
    until = cv_gate_link_paused(c->client, now);
    if (until <= now)
        return;
    c->paused = true;
    read_again(c, until);
    watch_for(c, has_queue(c));
}

/* Bytes came, in clear.  False: the connection is to be lost. */
static bool input(struct cv_gate_conn *c, const uint8_t *data, size_t len)
{
    int err;

    switch (c->state) {
    case FRAMES:
        return frames(c, data, len) || c->state == LEAVING;
    case MESSAGES:
        err = cv_gate_ws_input(c->ws, data, len);
        return err == CV_OK || (c->state == LEAVING && !c->broken);
    case ASKED:
        return request(c, data, len);
    case SHAKING:
    case LEAVING:
        return true;
    }
    return false;
}

static ptrdiff_t read_some(struct cv_gate_conn *c, uint8_t *buf, size_t len)
{
    ssize_t n;

    if (c->tls)
        return cv_tls_read(c->tls, buf, len);
    n = recv(c->fd, buf, len, 0);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CV_ERR_AGAIN;
    return CV_ERR_CLOSED;
}

/* Read what is there, a turn of it.  False: the connection is gone. */
static bool read_turn(struct cv_gate_conn *c)
{
    uint8_t *buf = c->all->buf;
    size_t turn = 0, have, held;

    do {
        ptrdiff_t n = 0;

        held = c->state == MESSAGES ? 0 : c->part_len;
        if (held > 0)
            memcpy(buf, c->part, held);
        for (have = held; have < CV_GATE_TURN; have += (size_t)n) {
            n = read_some(c, buf + have, CV_GATE_TURN - have);
            if (n <= 0)
                break;
        }
        if (n < 0 && n != CV_ERR_AGAIN && have == held) {
            lose(c);
            return false;
        }
        if (have == held)
            return true;
        turn += have - held;
        if (!input(c, buf, have)) {
            lose(c);
            return false;
        }
        if (n == CV_ERR_AGAIN || c->state == LEAVING)
            break;
        pause_if_fast(c);
    } while (turn < CV_GATE_TURN && !c->paused);
    pause_if_fast(c);
    if (!c->paused && c->tls && cv_tls_pending(c->tls) > 0)
        read_again(c, 0);
    return true;
}

/* ---- the handshake ------------------------------------------------------ */

/* False: the connection is gone. */
static bool shake(struct cv_gate_conn *c)
{
    int err = cv_tls_handshake(c->tls);

    if (err == CV_ERR_AGAIN) {
        cv_watch_set(c->watch, cv_tls_wants_write(c->tls) ? CV_WATCH_WRITE
                                                          : CV_WATCH_READ);
        return true;
    }
    if (err != CV_OK) {
        lose(c);
        return false;
    }
    c->since = cv_loop_now(c->all->loop);
    set_state(c, cv_tls_protocol(c->tls) == CV_TLS_GATE ? FRAMES : ASKED);
    cv_watch_set(c->watch, CV_WATCH_READ);
    if (c->state == FRAMES && !begin_link(c)) {
        lose(c);
        return false;
    }
    return true;
}

static void on_ready(void *user, unsigned ready)
{
    struct cv_gate_conn *c = user;
    struct cv_gate_conns *all = c->all;
    bool alive = true;

    if (c->state == SHAKING)
        alive = shake(c);
    if (alive && c->state != SHAKING && (ready & CV_WATCH_WRITE) &&
        has_queue(c))
        alive = flush(c);
    if (alive && c->state != SHAKING && c->state != LEAVING && !c->paused)
        (void)read_turn(c);
    cv_gate_conns_flush(all);
}

void cv_gate_conn_new(struct cv_gate_conns *all, int fd,
                      const struct cv_addr *from,
                      enum cv_gate_carriage carriage)
{
    struct cv_tls_config config = {.ctx = all->tls, .fd = fd};
    struct cv_gate_conn *c = calloc(1, sizeof *c);
    int err;

    if (!c) {
        close(fd);
        return;
    }
    c->all = all;
    c->fd = fd;
    c->from = *from;
    c->since = cv_loop_now(all->loop);
    c->state = carriage == CV_GATE_TLS ? SHAKING : ASKED;
    all->n_hello++;
    c->next = all->list;
    c->at = &all->list;
    if (c->next)
        c->next->at = &c->next;
    all->list = c;
    all->n++;
    err = cv_watch_new(&c->watch, all->loop, fd, CV_WATCH_READ, on_ready, c);
    if (err == CV_OK && carriage == CV_GATE_TLS)
        err = cv_tls_new(&c->tls, &config);
    if (err != CV_OK)
        conn_free(c);
}

void cv_gate_conns_sweep(struct cv_gate_conns *all)
{
    cv_time now = cv_loop_now(all->loop);
    struct cv_gate_conn *next;

    for (struct cv_gate_conn *c = all->list; c; c = next) {
        bool hello = is_hello(c->state);

        next = c->next;
        if ((hello && now - c->since >= CV_GATE_HELLO) ||
            (c->state == LEAVING && now - c->since >= CV_GATE_FAREWELL))
            lose(c);
    }
}
