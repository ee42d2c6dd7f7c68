#include "session/session_struct.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/token.h"
#include "session/document_impl.h"

static_assert(CV_MEETING_HARD + CV_MEETING_STRANGERS <= CV_DOCUMENT_LINKS_MAX,
              "a document has a link with every member");

static struct cv_document *link_document(void *user, uint32_t id)
{
    struct seat *seat = user;
    struct cv_session *s = seat->session;

    return s->document != NULL && cv_document_id(s->document) == id
               ? s->document
               : NULL;
}

static void on_link_end(void *user, struct cv_link *link, int err)
{
    struct seat *seat = user;
    struct cv_session *s = seat->session;
    struct cv_peer *peer = seat->neighbour->peer;
    bool theirs = err == CV_ERR_PEER || err == CV_ERR_FORMAT ||
                  err == CV_ERR_LIMIT || err == CV_ERR_DENIED;

    if (seat->link == link)
        seat->link = NULL;
    if (err == CV_ERR_DENIED)
        s->node->counters.writes_refused++;
    if (peer == NULL || err == CV_ERR_CLOSED)
        return;
    cv_info(s->node->log, "session: document link ended, because: %s",
            cv_strerror(err));
    /* A connection without its document is of no use: begin again. */
    cv_peer_close(peer, theirs ? CV_REFUSAL_PROTOCOL : CV_REFUSAL_INTERNAL,
                  err == CV_ERR_DENIED ? "a viewer may not write"
                                       : "the document stream broke");
}

static int make_link(struct seat *seat, struct cv_stream *stream, bool ours)
{
    struct cv_session *s = seat->session;
    struct cv_link_config config = {
        .stream = stream,
        .member = seat->neighbour->id,
        .identity = seat->neighbour->identity,
        .node = seat->neighbour->node,
        .role = seat->neighbour->role,
        .document = link_document,
        .end = on_link_end,
        .user = seat,
    };

    return cv_link_new(&seat->link, &config, ours ? s->document : NULL);
}

/* The connection's client opens the stream, when both have the document. */
static void open_link(struct seat *seat)
{
    struct cv_session *s = seat->session;
    struct cv_peer *peer = seat->neighbour->peer;
    struct cv_stream *stream;
    int err;

    if (peer == NULL || seat->link != NULL || s->document == NULL ||
        !seat->has_document || !cv_conn_is_client(cv_peer_conn(peer)))
        return;
    err = cv_conn_open(cv_peer_conn(peer), &stream);
    if (err == CV_OK) {
        err = make_link(seat, stream, true);
        if (err != CV_OK)
            cv_stream_reset(stream, CV_REFUSAL_INTERNAL);
    }
    if (err != CV_OK)
        cv_peer_close(peer, CV_REFUSAL_INTERNAL, "no stream can be opened");
}

static void send_files(struct cv_session *s, struct cv_peer *peer)
{
    struct cv_control *c;

    if (s->document == NULL)
        return;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return;
    c->type = CV_CONTROL_FILE_LIST;
    c->u.files.n = 1;
    c->u.files.f[0].id = cv_document_id(s->document);
    c->u.files.f[0].meta = *cv_document_meta(s->document);
    if (peer != NULL)
        (void)cv_peer_send(peer, c);
    else
        cv_meeting_tell(s->meeting, c);
    free(c);
}

static void on_files(struct seat *seat, const struct cv_control *c)
{
    struct cv_session *s = seat->session;
    int err;

    if (c->u.files.n == 0 || s->life != SESSION_LIVES)
        return;
    /* The first document that somebody tells us of who may write. */
    if (s->document == NULL && seat->neighbour->role >= CV_ROLE_EDITOR) {
        err = cv_session_open_document(s, c->u.files.f[0].id,
                                       &c->u.files.f[0].meta,
                                       cv_meeting_role(s->meeting));
        if (err != CV_OK) {
            cv_session_notice(
                s, 2, "the document cannot be stored: see the disk", "storage");
            return;
        }
        send_files(s, NULL);
    }
    for (unsigned i = 0; i < c->u.files.n; i++)
        if (s->document != NULL &&
            c->u.files.f[i].id == cv_document_id(s->document))
            seat->has_document = true;
    open_link(seat);
}

static void on_changed(void *user)
{
    cv_session_wake(user);
}

static void on_knock(void *user, struct cv_neighbour *n, bool gone)
{
    struct cv_session *s = user;
    struct cv_knock k;
    const struct cv_admitting *a;

    if (s->events->knock == NULL || s->life != SESSION_LIVES)
        return;
    memset(&k, 0, sizeof k);
    k.id = n->knock;
    memcpy(k.name, n->name, sizeof k.name);
    cv_fingerprint(&n->identity, k.fingerprint);
    k.wants = CV_ROLE_EDITOR;
    k.expires_s = CV_ADMISSION_ASK_S;
    if (n->peer != NULL) {
        a = cv_peer_admission(n->peer);
        k.wants = (enum cv_role)a->hello.wants;
    }
    s->events->knock(s->user, &k, gone);
}

void cv_session_keep_grants(void *user, const struct cv_grants *g)
{
    struct cv_session *s = user;
    uint8_t bytes[1 + CV_GRANT_CHAIN_MAX * CV_GRANT_BYTES];
    struct cv_writer w;

    cv_writer_init(&w, bytes, sizeof bytes);
    if (cv_put_grants(&w, g) == CV_OK)
        cv_session_remember(s, CV_FACT_GRANTS, CV_BYTES("", 0),
                            cv_writer_bytes(&w));
    cv_session_wake(s);
}

static void on_member(void *user, struct cv_neighbour *n)
{
    struct cv_session *s = user;
    struct seat *seat = n->user;

    if (seat == NULL) {
        seat = calloc(1, sizeof *seat);
        if (seat == NULL) {
            cv_peer_close(n->peer, CV_REFUSAL_INTERNAL, "");
            return;
        }
        seat->session = s;
        seat->neighbour = n;
        n->user = seat;
    }
    seat->has_document = false;
    send_files(s, n->peer);
    cv_session_wake(s);
}

static void on_lost(void *user, struct cv_neighbour *n, bool left)
{
    struct cv_session *s = user;
    struct seat *seat = n->user;

    (void)left;
    if (seat != NULL) {
        cv_link_free(seat->link);
        seat->link = NULL;
    }
    cv_session_wake(s);
}

static void on_control(void *user, struct cv_neighbour *n,
                       const struct cv_control *c)
{
    if (c->type == CV_CONTROL_FILE_LIST && n->user != NULL)
        on_files(n->user, c);
    if (c->type == CV_CONTROL_MEMBER_LIST)
        cv_session_hear(user, c);
    cv_session_wake(user);
}

static void on_stream(void *user, struct cv_neighbour *n,
                      struct cv_stream *stream)
{
    struct cv_session *s = user;
    struct seat *seat = n->user;

    if (seat == NULL || seat->link != NULL || s->document == NULL ||
        cv_conn_is_client(cv_peer_conn(n->peer)) ||
        make_link(seat, stream, false) != CV_OK)
        cv_stream_reset(stream, CV_REFUSAL_PROTOCOL);
}

static void on_forget(void *user, struct cv_neighbour *n)
{
    struct seat *seat = n->user;

    (void)user;
    cv_link_free(seat->link);
    free(seat);
    n->user = NULL;
}

static void on_renamed(void *user)
{
    struct cv_session *s = user;

    if (s->document != NULL)
        cv_document_set_name(s->document, s->node->name);
}

static void on_refused(void *user, const char *text)
{
    struct cv_session *s = user;

    s->ended = true;
    (void)snprintf(s->ended_text, sizeof s->ended_text, "%s", text);
    cv_session_wake(s);
}

static void on_token(void *user, int err, const char *why,
                     const struct cv_token *t)
{
    struct cv_session *s = user;
    char text[CV_TOKEN_TEXT], unreached[512];

    if (s->events->token == NULL)
        return;
    (void)snprintf(
        unreached, sizeof unreached,
        "the guest whose token was added was not reached: %s. To try "
        "again both begin with a new token",
        why);
    if (err == CV_OK)
        s->events->token(s->user, cv_token_format(t, text), "");
    else
        s->events->token(s->user, NULL,
                         err == CV_ERR_EXPIRED
                             ? "the host's token is over; ask for a new one"
                         : err == CV_ERR_NOPATH ? unreached
                                                : why);
    cv_wipe(text, sizeof text);
}

static void on_meeting_done(void *user)
{
    struct cv_session *s = user;
    void (*left)(void *user) = s->left;
    void *left_user = s->left_user;

    cv_session_free(s);
    if (left != NULL)
        left(left_user);
}

const struct cv_meeting_events cv_session_meeting_events = {
    .changed = on_changed,
    .knock = on_knock,
    .given = cv_session_keep_grants,
    .member = on_member,
    .lost = on_lost,
    .control = on_control,
    .stream = on_stream,
    .forget = on_forget,
    .token = on_token,
    .renamed = on_renamed,
    .refused = on_refused,
    .done = on_meeting_done,
};
