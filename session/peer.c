/* Timers: one deadline, of the admission, or of the linger after the last
 * message was sent. */
#include "session/peer.h"

#include <stdlib.h>
#include <string.h>

enum peer_state {
    PEER_ADMISSION, /* the admission decides what may travel */
    PEER_MEMBER,    /* between two members */
    PEER_LINGER,    /* the last word is sent; it may still be read */
    PEER_CLOSING,   /* the connection was closed; `closed` will come */
};

struct cv_peer {
    struct cv_peer_config config;
    enum peer_state state;
    struct cv_conn *conn;
    struct cv_stream *control; /* NULL until the client opened it */
    struct cv_frames frames;
    struct cv_admitting admission;
    cv_time linger;
    struct cv_stream *early[CV_PEER_EARLY_STREAMS];
    unsigned n_early;
    /* Bytes for the control stream that it did not take, or that came before
     * it was there. */
    struct cv_writer queue;
    bool given_told;
    bool left;
    bool violation;
    enum cv_refusal close_code;
    char close_reason[CV_REASON_MAX_TEXT];
    char name[CV_NAME_MAX_TEXT];
    enum cv_role role;
};

static const struct cv_conn_events conn_events;
static const struct cv_stream_events control_events;
static const struct cv_stream_events early_events;

static void set_state(struct cv_peer *p, enum peer_state to)
{
    static const char *const name[] = {"admission", "member", "linger",
                                       "closing"};
    char key[9];

    if (to != p->state)
        cv_debug(p->config.admission.log, "peer: %s -> %s, peer=%s",
                 name[p->state], name[to], cv_key_short(cv_peer_node(p), key));
    p->state = to;
}

static cv_time now(const struct cv_peer *p)
{
    return p->config.now(p->config.user);
}

static uint64_t unix_s(const struct cv_peer *p)
{
    return p->config.unix_s(p->config.user);
}

/* Send what is queued.  What does not go now goes when there is room. */
static void flush(struct cv_peer *p)
{
    if (p->control == NULL || p->queue.len == 0)
        return;
    if (cv_stream_send(p->control, cv_writer_bytes(&p->queue)) == CV_OK)
        cv_writer_reset(&p->queue);
}

static void set_reason(struct cv_peer *p, enum cv_refusal code,
                       const char *reason)
{
    p->close_code = code;
    cv_text_clean(p->close_reason, sizeof p->close_reason, reason,
                  strlen(reason));
}

/* With the code and the reason that were set. */
static void cut(struct cv_peer *p)
{
    set_state(p, PEER_CLOSING);
    cv_conn_close(p->conn, (uint64_t)p->close_code, p->close_reason);
}

static void close_conn(struct cv_peer *p, enum cv_refusal code,
                       const char *reason)
{
    if (p->state == PEER_CLOSING)
        return;
    set_reason(p, code, reason);
    cut(p);
}

static bool is_violation(enum cv_refusal r)
{
    return r == CV_REFUSAL_PROTOCOL || r == CV_REFUSAL_AUTH ||
           r == CV_REFUSAL_GRANT;
}

static void violation(struct cv_peer *p, const char *what)
{
    char key[9];

    cv_info(p->config.admission.log, "peer: cut, peer=%s, because: %s",
            cv_key_short(cv_peer_node(p), key), what);
    p->violation = true;
    close_conn(p, CV_REFUSAL_PROTOCOL, what);
}

static void hand_over_early(struct cv_peer *p)
{
    for (unsigned i = 0; i < p->n_early && p->state == PEER_MEMBER; i++) {
        struct cv_stream *s = p->early[i];

        if (s == NULL)
            continue;
        p->early[i] = NULL;
        if (p->config.events->stream == NULL) {
            cv_stream_reset(s, CV_REFUSAL_PROTOCOL);
            continue;
        }
        p->config.events->stream(p->config.user, p, s);
    }
    p->n_early = 0;
    if (p->state == PEER_MEMBER)
        cv_conn_trust(p->conn);
}

/* Nobody will take them. */
static void reset_early(struct cv_peer *p, enum cv_refusal code)
{
    for (unsigned i = 0; i < p->n_early; i++) {
        struct cv_stream *s = p->early[i];

        p->early[i] = NULL;
        if (s != NULL)
            cv_stream_reset(s, (uint64_t)code);
    }
    p->n_early = 0;
}

/* The last message is on its way: give it time, then close. */
static void linger(struct cv_peer *p, enum cv_refusal code, const char *reason)
{
    set_reason(p, code, reason);
    p->linger = now(p) + CV_PEER_LINGER;
    reset_early(p, code);
    flush(p);
    set_state(p, PEER_LINGER);
    if (p->control != NULL && p->queue.len == 0)
        cv_stream_finish(p->control);
}

static void tell_given(struct cv_peer *p)
{
    if (p->admission.given.n == 0 || p->given_told)
        return;
    p->given_told = true;
    if (p->config.events->given != NULL)
        p->config.events->given(p->config.user, p, &p->admission.given);
}

/* Follow the admission where it went.  Returns false when the peer is closing
 * (nothing more is to be read). */
static bool follow(struct cv_peer *p, enum cv_admission_state before)
{
    struct cv_admitting *a = &p->admission;
    const struct cv_peer_events *ev = p->config.events;

    if (a->state == before)
        return true;
    if (a->state == CV_ADMISSION_CLOSED) {
        if (a->refused_by_peer) {
            close_conn(p, CV_REFUSAL_NONE, "");
        } else if (a->told) {
            linger(p, a->refusal, a->reason);
        } else {
            p->violation = is_violation(a->refusal);
            close_conn(p, a->refusal, a->reason);
        }
        if (ev->admission != NULL)
            ev->admission(p->config.user, p);
        return false;
    }
    p->role = a->peer_role;
    tell_given(p);
    if (p->state != PEER_ADMISSION)
        return false;
    if (a->state == CV_ADMISSION_MEMBER) {
        set_state(p, PEER_MEMBER);
        cv_frames_limit(&p->frames, CV_CONTROL_MAX, CV_FRAME_NO_BUDGET);
    }
    if (ev->admission != NULL)
        ev->admission(p->config.user, p);
    if (p->state == PEER_MEMBER) {
        ev->member(p->config.user, p);
        hand_over_early(p);
    }
    return p->state == PEER_ADMISSION || p->state == PEER_MEMBER;
}

static int admission_message(struct cv_peer *p, struct cv_bytes message)
{
    struct cv_admitting *a = &p->admission;
    enum cv_admission_state before = a->state;
    bool pending = a->pending;
    int err;

    err = cv_admission_message(a, message, now(p), unix_s(p), &p->queue);
    if (err != CV_OK) {
        close_conn(p, CV_REFUSAL_INTERNAL, cv_strerror(err));
        return CV_ERR_CLOSED;
    }
    if (a->state != CV_ADMISSION_CLOSED)
        flush(p);
    if (a->have_hello && p->name[0] == '\0')
        memcpy(p->name, a->hello.name, sizeof p->name);
    if (!follow(p, before))
        return CV_ERR_CLOSED;
    tell_given(p);
    if (a->pending != pending && p->config.events->admission != NULL)
        p->config.events->admission(p->config.user, p);
    return p->state == PEER_ADMISSION || p->state == PEER_MEMBER
               ? CV_OK
               : CV_ERR_CLOSED;
}

/* Our issuer gave us another role; or the peer shows us that somebody else has
 * let it in, whom our user let in before that was read. */
static void new_grant(struct cv_peer *p, struct cv_grants *g)
{
    struct cv_admission_config *c = &p->config.admission;
    enum cv_role role;
    uint8_t flags;
    bool ours;

    cv_control_show_session(g, &c->session);
    ours = cv_grants_are_for(g, &c->identity->pub);
    if (cv_grants_verify(g, &c->session,
                         ours ? &c->identity->pub : cv_peer_identity(p),
                         unix_s(p), &role, &flags) != CV_OK) {
        violation(p, "a grant that is not for us");
        return;
    }
    if (ours && p->config.events->given != NULL)
        p->config.events->given(p->config.user, p, g);
}

static int member_message(struct cv_peer *p, struct cv_bytes message)
{
    struct cv_control c;

    if (cv_control_parse(&c, message) != CV_OK) {
        violation(p, "a malformed message");
        return CV_ERR_CLOSED;
    }
    switch (c.type) {
    case CV_CONTROL_NONE:
        return CV_OK;
    case CV_CONTROL_ASK:   /* it crossed our grant */
    case CV_CONTROL_READY: /* once for the grant they had, once for ours */
        return CV_OK;
    case CV_CONTROL_HELLO:
    case CV_CONTROL_PENDING:
    case CV_CONTROL_REFUSED:
        violation(p, "a message that belongs before admission");
        return CV_ERR_CLOSED;
    case CV_CONTROL_GRANT:
        new_grant(p, &c.u.grant);
        break;
    case CV_CONTROL_BYE:
        p->left = true;
        close_conn(p, CV_REFUSAL_NONE, "");
        break;
    case CV_CONTROL_NAME:
    case CV_CONTROL_MEMBER_LIST:
    case CV_CONTROL_FILE_LIST:
        if (c.type == CV_CONTROL_NAME)
            memcpy(p->name, c.u.name.name, sizeof p->name);
        if (p->config.events->control != NULL)
            p->config.events->control(p->config.user, p, &c);
        break;
    }
    return p->state == PEER_MEMBER ? CV_OK : CV_ERR_CLOSED;
}

static int on_frame(void *user, struct cv_bytes message)
{
    struct cv_peer *p = user;

    switch (p->state) {
    case PEER_ADMISSION:
        return admission_message(p, message);
    case PEER_MEMBER:
        return member_message(p, message);
    case PEER_LINGER:
    case PEER_CLOSING:
        break;
    }
    return CV_ERR_CLOSED;
}

static void on_control_data(void *user, struct cv_stream *s,
                            struct cv_bytes data, bool fin)
{
    struct cv_peer *p = user;
    int err;

    (void)s;
    if (p->state == PEER_LINGER || p->state == PEER_CLOSING)
        return;
    err = cv_frames_feed(&p->frames, data, on_frame, p);
    if (err == CV_ERR_FORMAT || err == CV_ERR_LIMIT)
        violation(p, err == CV_ERR_LIMIT ? "more than it may send"
                                         : "a malformed frame");
    else if (err == CV_ERR_NOMEM)
        close_conn(p, CV_REFUSAL_INTERNAL, cv_strerror(err));
    else if (err == CV_OK && fin)
        close_conn(p, CV_REFUSAL_PROTOCOL, "the control stream ended");
}

static void on_control_writable(void *user, struct cv_stream *s)
{
    struct cv_peer *p = user;

    flush(p);
    if (p->state == PEER_LINGER && p->queue.len == 0)
        cv_stream_finish(s);
}

static void on_control_closed(void *user, struct cv_stream *s, int err)
{
    struct cv_peer *p = user;

    (void)s;
    p->control = NULL;
    if (err == CV_ERR_CLOSED)
        return; /* with the connection, whose end follows */
    if (p->state == PEER_ADMISSION || p->state == PEER_MEMBER)
        close_conn(p, CV_REFUSAL_PROTOCOL, "the control stream was reset");
    else if (p->state == PEER_LINGER)
        cut(p);
}

static const struct cv_stream_events control_events = {
    .data = on_control_data,
    .writable = on_control_writable,
    .closed = on_control_closed,
};

static void on_early_closed(void *user, struct cv_stream *s, int err)
{
    struct cv_peer *p = user;

    (void)err;
    for (unsigned i = 0; i < p->n_early; i++)
        if (p->early[i] == s)
            p->early[i] = NULL;
}

static const struct cv_stream_events early_events = {
    .closed = on_early_closed,
};

static void on_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    struct cv_peer *p = user;

    /* The first one, though another may overtake it. */
    if (p->control == NULL && !cv_conn_is_client(conn) &&
        cv_stream_id(s) == 0 && p->state == PEER_ADMISSION) {
        p->control = s;
        cv_stream_set_events(s, &control_events, p);
        flush(p);
        return;
    }
    switch (p->state) {
    case PEER_MEMBER:
        if (p->config.events->stream != NULL)
            p->config.events->stream(p->config.user, p, s);
        else
            cv_stream_reset(s, CV_REFUSAL_PROTOCOL);
        return;
    case PEER_ADMISSION:
        if (p->n_early == CV_PEER_EARLY_STREAMS) {
            cv_stream_reset(s, CV_REFUSAL_FULL);
            return;
        }
        cv_stream_set_events(s, &early_events, p);
        p->early[p->n_early++] = s;
        return;
    case PEER_LINGER:
    case PEER_CLOSING:
        cv_stream_reset(s, CV_REFUSAL_NONE);
        return;
    }
}

static void on_datagram(void *user, struct cv_conn *conn, struct cv_bytes data)
{
    struct cv_peer *p = user;

    (void)conn;
    if (p->state == PEER_MEMBER && p->config.events->datagram != NULL)
        p->config.events->datagram(p->config.user, p, data);
}

static void on_path(void *user, struct cv_conn *conn,
                    const struct cv_path_info *path)
{
    struct cv_peer *p = user;

    (void)conn;
    if (p->config.events->path != NULL)
        p->config.events->path(p->config.user, p, path);
}

static void release(struct cv_peer *p)
{
    cv_frames_fini(&p->frames);
    cv_writer_fini(&p->queue);
    free(p);
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason)
{
    struct cv_peer *p = user;
    bool ours = p->state == PEER_CLOSING || p->state == PEER_LINGER;
    struct cv_peer_end end = {
        .err = err,
        .left = p->left,
        .violation = p->violation,
        .refused_by_peer = p->admission.refused_by_peer,
        .refusal = p->close_code,
        .reason = p->close_reason,
        .name = p->admission.name,
    };
    char text[CV_REASON_MAX_TEXT];

    (void)conn;
    p->conn = NULL;
    p->control = NULL;
    p->n_early = 0;
    set_state(p, PEER_CLOSING);
    if (p->admission.refused_by_peer) {
        end.refusal = p->admission.refusal;
        end.reason = p->admission.reason;
    } else if (!ours) {
        cv_text_clean(text, sizeof text, reason, strlen(reason));
        end.reason = text;
        end.refusal = CV_REFUSAL_NONE;
        if (err == CV_ERR_TIMEOUT)
            end.refusal = CV_REFUSAL_TIMEOUT;
        else if (code <= CV_REFUSAL_INTERNAL)
            end.refusal = (enum cv_refusal)code;
        /* Theirs may come without the message that was before it. */
        if (err == CV_OK && code == CV_REFUSAL_LEAVING)
            end.left = true;
        if (err == CV_OK && p->admission.state != CV_ADMISSION_MEMBER &&
            (code == CV_REFUSAL_PERSON || code == CV_REFUSAL_NO_HOST))
            end.refused_by_peer = true;
    }
    p->config.events->end(p->config.user, p, &end);
    release(p);
}

static const struct cv_conn_events conn_events = {
    .stream = on_stream,
    .datagram = on_datagram,
    .path = on_path,
    .closed = on_closed,
};

int cv_peer_new(struct cv_peer **out, const struct cv_peer_config *config)
{
    struct cv_peer *p = calloc(1, sizeof *p);
    int err;

    if (p == NULL)
        return CV_ERR_NOMEM;
    p->config = *config;
    p->conn = config->conn;
    p->linger = CV_NEVER;
    p->config.admission.peer = *cv_conn_peer(p->conn);
    cv_frames_init(&p->frames, CV_CONTROL_PRE_MAX, CV_CONTROL_PRE_MAX);
    cv_writer_init_heap(&p->queue, 4 * CV_CONTROL_MAX);
    err = cv_conn_export(p->conn, "EXPORTER-covim-hello",
                         p->config.admission.exporter,
                         sizeof p->config.admission.exporter);
    if (err == CV_OK)
        err = cv_admission_init(&p->admission, &p->config.admission, now(p),
                                &p->queue);
    if (err == CV_OK && cv_conn_is_client(p->conn))
        err = cv_conn_open(p->conn, &p->control);
    if (err != CV_OK) {
        release(p);
        return err;
    }
    cv_conn_set_events(p->conn, &conn_events, p);
    if (p->control != NULL) {
        cv_stream_set_events(p->control, &control_events, p);
        flush(p);
    }
    *out = p;
    return CV_OK;
}

static const struct cv_conn_events no_conn_events;
static const struct cv_stream_events no_stream_events;

void cv_peer_free(struct cv_peer *p, enum cv_refusal code)
{
    if (p == NULL)
        return;
    if (p->conn != NULL) {
        if (p->control != NULL)
            cv_stream_set_events(p->control, &no_stream_events, NULL);
        for (unsigned i = 0; i < p->n_early; i++)
            if (p->early[i] != NULL)
                cv_stream_set_events(p->early[i], &no_stream_events, NULL);
        cv_conn_set_events(p->conn, &no_conn_events, NULL);
        if (p->state != PEER_CLOSING)
            cv_conn_close(p->conn, (uint64_t)code, "");
    }
    release(p);
}

cv_time cv_peer_deadline(const struct cv_peer *p)
{
    switch (p->state) {
    case PEER_ADMISSION:
        return p->admission.deadline;
    case PEER_LINGER:
        return p->linger;
    case PEER_MEMBER:
    case PEER_CLOSING:
        break;
    }
    return CV_NEVER;
}

void cv_peer_step(struct cv_peer *p)
{
    cv_time at = now(p);
    enum cv_admission_state before = p->admission.state;

    if (p->state == PEER_LINGER && at >= p->linger) {
        cut(p);
        return;
    }
    if (p->state != PEER_ADMISSION)
        return;
    if (cv_admission_step(&p->admission, at, &p->queue) != CV_OK) {
        close_conn(p, CV_REFUSAL_INTERNAL, "out of memory");
        return;
    }
    if (p->admission.state != CV_ADMISSION_CLOSED)
        flush(p);
    (void)follow(p, before);
}

const struct cv_admitting *cv_peer_admission(const struct cv_peer *p)
{
    return &p->admission;
}

bool cv_peer_is_member(const struct cv_peer *p)
{
    return p->state == PEER_MEMBER;
}

struct cv_conn *cv_peer_conn(struct cv_peer *p)
{
    return p->conn;
}

const struct cv_key *cv_peer_node(const struct cv_peer *p)
{
    return &p->config.admission.peer;
}

const struct cv_key *cv_peer_identity(const struct cv_peer *p)
{
    return p->admission.have_hello ? &p->admission.hello.cert.identity : NULL;
}

enum cv_role cv_peer_role(const struct cv_peer *p)
{
    return p->role;
}

bool cv_peer_admits(const struct cv_peer *p)
{
    return (p->admission.peer_flags & CV_GRANT_ADMIT) != 0;
}

const char *cv_peer_name(const struct cv_peer *p)
{
    return p->name;
}

int cv_peer_accept(struct cv_peer *p, enum cv_role role)
{
    enum cv_admission_state before = p->admission.state;
    int err;

    if (p->state != PEER_ADMISSION)
        return CV_ERR_INVALID;
    err =
        cv_admission_accept(&p->admission, role, unix_s(p), now(p), &p->queue);
    if (err != CV_OK)
        return err;
    flush(p);
    (void)follow(p, before);
    return CV_OK;
}

int cv_peer_reject(struct cv_peer *p, const char *reason)
{
    enum cv_admission_state before = p->admission.state;
    int err;

    if (p->state != PEER_ADMISSION)
        return CV_ERR_INVALID;
    err = cv_admission_reject(&p->admission, reason, &p->queue);
    if (err != CV_OK)
        return err;
    (void)follow(p, before);
    return CV_OK;
}

void cv_peer_show(struct cv_peer *p)
{
    enum cv_admission_state before = p->admission.state;

    if (p->state != PEER_ADMISSION || before != CV_ADMISSION_WAITING)
        return;
    if (cv_admission_show(&p->admission, now(p), &p->queue) != CV_OK) {
        close_conn(p, CV_REFUSAL_INTERNAL, "out of memory");
        return;
    }
    flush(p);
    (void)follow(p, before);
}

int cv_peer_open(struct cv_peer *p, struct cv_stream **out)
{
    if (p->state != PEER_MEMBER &&
        (p->state != PEER_ADMISSION || !p->config.admission.vouched))
        return CV_ERR_INVALID;
    return cv_conn_open(p->conn, out);
}

int cv_peer_send(struct cv_peer *p, const struct cv_control *c)
{
    size_t before = p->queue.len;
    int err;

    if (p->state != PEER_MEMBER)
        return CV_ERR_INVALID;
    err = cv_control_put(&p->queue, c);
    if (err != CV_OK) {
        p->queue.len = before; /* whole messages only */
        p->queue.err = CV_OK;
        return err == CV_ERR_NOBUF ? CV_ERR_AGAIN : err;
    }
    flush(p);
    return CV_OK;
}

void cv_peer_leave(struct cv_peer *p, const char *reason)
{
    struct cv_control c;

    if (p->state != PEER_MEMBER) {
        close_conn(p, CV_REFUSAL_LEAVING, reason);
        return;
    }
    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_BYE;
    cv_text_clean(c.u.bye.reason, sizeof c.u.bye.reason, reason,
                  strlen(reason));
    (void)cv_peer_send(p, &c);
    linger(p, CV_REFUSAL_LEAVING, reason);
}

void cv_peer_close(struct cv_peer *p, enum cv_refusal code, const char *reason)
{
    p->violation = p->violation || is_violation(code);
    close_conn(p, code, reason);
}
