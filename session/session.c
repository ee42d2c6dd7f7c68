/* Timers: one.  What happens in the meeting or the document wakes it; then the
 * state is worked out anew and told if it differs, the document and the
 * journal do what is due, and a session that leaves sees whether it is done.
 * So no event comes from within a call of the program. */
#include "session/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/link.h"
#include "session/meeting.h"

#define DOCUMENT_ID 1u
/* The last edits reach the others before we say goodbye. */
#define DRAIN_MAX   (700 * CV_MILLISECOND)
#define DRAIN_EVERY (20 * CV_MILLISECOND)
/* A member's figures are looked at so often. */
#define MEMBERS_EVERY (5 * CV_SECOND)
/* The journal has the text, not only the name of the document. */
#define FACT_TEXT CV_LITERAL("text")

enum life {
    SESSION_LIVES,
    SESSION_DRAINS, /* leaving: the last edits are on their way */
    SESSION_LEAVES, /* leaving: goodbyes are on their way */
};

/* What the owner knows of a member: cv_neighbour.user. */
struct seat {
    struct cv_session *session;
    struct cv_neighbour *neighbour;
    struct cv_link *link;    /* NULL: not yet, or the other side opens it */
    bool has_document;       /* it listed ours */
    bool told;               /* the program heard of it */
    struct cv_member member; /* as it was told */
};

struct cv_session {
    struct cv_node *node;
    const struct cv_session_events *events;
    void *user;
    struct cv_key key; /* S */
    bool mine;
    struct cv_journal *journal;
    struct cv_document *document; /* NULL until its name is known */
    bool have_text;
    bool announced; /* the program has the document */
    struct cv_meeting *meeting;
    struct cv_timer *timer;
    enum life life;
    cv_time leave_by;
    void (*left)(void *user);
    void *left_user;
    bool ended;
    char ended_text[CV_STAGE_TEXT];
    enum cv_role role; /* as told */
    enum cv_session_state state;
    cv_time since;
    bool told;
    char stage[CV_STAGE_TEXT];
    char hint[CV_HINT_TEXT];
};

static cv_time now_of(const struct cv_session *s)
{
    return cv_loop_now(s->node->loop);
}

static void wake(void *user)
{
    struct cv_session *s = user;

    if (s->timer != NULL)
        cv_timer_set(s->timer, now_of(s));
}

static cv_time document_now(void *user)
{
    return now_of(user);
}

static void notice(struct cv_session *s, int level, const char *text,
                   const char *tag)
{
    if (s->events->notice != NULL && s->life == SESSION_LIVES)
        s->events->notice(s->user, level, text, tag);
}

/* --- what is told --- */

static void fill_member(const struct cv_neighbour *n, struct cv_member *out)
{
    memset(out, 0, sizeof *out);
    out->id = n->id;
    out->identity = n->identity;
    out->role = n->role;
    memcpy(out->name, n->name, sizeof out->name);
    cv_fingerprint(&n->identity, out->fingerprint);
    out->connected = cv_meeting_is_here(n);
    out->path = CV_MEMBER_PATH_NONE;
    if (!out->connected)
        return;
    out->rtt_ms = (unsigned)(n->path.rtt / CV_MILLISECOND);
    switch (n->path.kind) {
    case CV_PATH_NONE:
        break;
    case CV_PATH_LAN:
        out->path = CV_MEMBER_PATH_LAN;
        break;
    case CV_PATH_IPV6:
    case CV_PATH_IPV4:
    case CV_PATH_TCP:
        out->path = CV_MEMBER_PATH_DIRECT;
        break;
    case CV_PATH_GATE_UDP:
    case CV_PATH_GATE_TLS:
    case CV_PATH_GATE_WS:
        out->path = CV_MEMBER_PATH_GATE;
        break;
    }
}

static bool differs(const struct cv_member *a, const struct cv_member *b)
{
    unsigned more = a->rtt_ms > b->rtt_ms ? a->rtt_ms : b->rtt_ms;
    unsigned less = a->rtt_ms > b->rtt_ms ? b->rtt_ms : a->rtt_ms;

    return a->connected != b->connected || a->role != b->role ||
           a->path != b->path || strcmp(a->name, b->name) != 0 ||
           more - less > 10 + less / 2;
}

static void tell_members(struct cv_session *s)
{
    for (struct cv_neighbour *n = cv_meeting_neighbours(s->meeting); n != NULL;
         n = n->next) {
        struct seat *seat = n->user;
        struct cv_member now;

        if (seat == NULL)
            continue;
        if (n->peer != NULL)
            cv_conn_path(cv_peer_conn(n->peer), &n->path);
        fill_member(n, &now);
        if (seat->told && !differs(&now, &seat->member))
            continue;
        seat->told = true;
        seat->member = now;
        if (s->events->member != NULL)
            s->events->member(s->user, &now);
    }
}

static void get_facts(const struct cv_session *s, struct cv_facts *f)
{
    cv_meeting_facts(s->meeting, f);
    f->ended = s->ended;
    f->have_text = s->have_text;
    f->in_step = s->have_text;
    if (s->ended)
        f->failure = s->ended_text;
}

static void tell_state(struct cv_session *s, cv_time now)
{
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
    enum cv_session_state state;
    struct cv_facts f;

    get_facts(s, &f);
    state = cv_finding_state(&f);
    if (!s->told || state != s->state)
        s->since = now;
    f.elapsed = now - s->since;
    cv_finding_tell(&f, stage, hint);
    if (s->told && state == s->state && strcmp(stage, s->stage) == 0 &&
        strcmp(hint, s->hint) == 0)
        return;
    if (!s->told || state != s->state)
        cv_info(s->node->log, "session: %s -> %s",
                s->told ? cv_session_state_name(s->state) : "new",
                cv_session_state_name(state));
    s->told = true;
    s->state = state;
    memcpy(s->stage, stage, sizeof stage);
    memcpy(s->hint, hint, sizeof hint);
    if (s->events->state != NULL)
        s->events->state(s->user, state, s->stage, s->hint);
}

static void tell_role(struct cv_session *s)
{
    enum cv_role role = cv_meeting_role(s->meeting);

    if (role == s->role)
        return;
    s->role = role;
    if (s->document != NULL)
        cv_document_set_role(s->document, role);
    if (s->events->role != NULL)
        s->events->role(s->user, role);
}

static void announce(struct cv_session *s)
{
    if (s->announced || s->document == NULL || !s->have_text)
        return;
    s->announced = true;
    if (s->events->document != NULL)
        s->events->document(s->user, s->document);
}

/* --- the document --- */

static void on_trouble(void *user, int err, const char *text)
{
    notice(user, err == CV_OK ? 0 : 2, text, "storage");
}

/* What cannot be written now waits in the journal, which says so itself. */
static void remember(struct cv_session *s, enum cv_journal_fact type,
                     struct cv_bytes key, struct cv_bytes value)
{
    int err = cv_journal_put(s->journal, type, key, value);

    if (err != CV_OK && err != CV_ERR_IO)
        cv_warn(s->node->log, "session: not stored, fact=%d, because: %s",
                (int)type, cv_strerror(err));
}

static void on_in_step(void *user)
{
    struct cv_session *s = user;

    s->have_text = true;
    remember(s, CV_FACT_OTHER, FACT_TEXT, CV_LITERAL("1"));
    wake(s);
}

static int open_document(struct cv_session *s, uint32_t id,
                         const struct cv_document_meta *meta, enum cv_role role)
{
    struct cv_document_config config = {
        .id = id,
        .meta = *meta,
        .session = s->key,
        .identity = &s->node->identity,
        .node = s->node->key.pub,
        .role = role,
        .name = s->node->name,
        .rng = s->node->rng,
        .journal = s->journal,
        .log = s->node->log,
        .now = document_now,
        .wake = wake,
        .in_step = on_in_step,
        .user = s,
    };

    return cv_document_new(&s->document, &config);
}

/* --- links with members --- */

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
        err = open_document(s, c->u.files.f[0].id, &c->u.files.f[0].meta,
                            cv_meeting_role(s->meeting));
        if (err != CV_OK) {
            notice(s, 2, "the document cannot be stored: see the disk",
                   "storage");
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

/* --- what the meeting tells --- */

static void on_changed(void *user)
{
    wake(user);
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

static void on_given(void *user, const struct cv_grants *g)
{
    struct cv_session *s = user;
    uint8_t bytes[1 + CV_GRANT_CHAIN_MAX * CV_GRANT_BYTES];
    struct cv_writer w;

    cv_writer_init(&w, bytes, sizeof bytes);
    if (cv_put_grants(&w, g) == CV_OK)
        remember(s, CV_FACT_GRANTS, CV_BYTES("", 0), cv_writer_bytes(&w));
    wake(s);
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
    wake(s);
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
    wake(s);
}

static void on_control(void *user, struct cv_neighbour *n,
                       const struct cv_control *c)
{
    if (c->type == CV_CONTROL_FILE_LIST && n->user != NULL)
        on_files(n->user, c);
    wake(user);
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
    wake(s);
}

static void free_session(struct cv_session *s)
{
    cv_meeting_free(s->meeting); /* and the links of its members */
    cv_document_free(s->document);
    cv_timer_free(s->timer);
    cv_journal_close(s->journal);
    free(s);
}

static void on_meeting_done(void *user)
{
    struct cv_session *s = user;
    void (*left)(void *user) = s->left;
    void *left_user = s->left_user;

    free_session(s);
    if (left != NULL)
        left(left_user);
}

static const struct cv_meeting_events meeting_events = {
    .changed = on_changed,
    .knock = on_knock,
    .given = on_given,
    .member = on_member,
    .lost = on_lost,
    .control = on_control,
    .stream = on_stream,
    .forget = on_forget,
    .renamed = on_renamed,
    .refused = on_refused,
    .done = on_meeting_done,
};

/* --- time --- */

static bool is_drained(const struct cv_session *s)
{
    for (struct cv_neighbour *n = cv_meeting_neighbours(s->meeting); n != NULL;
         n = n->next) {
        const struct seat *seat = n->user;

        if (seat != NULL && seat->link != NULL && !cv_link_in_step(seat->link))
            return false;
    }
    return true;
}

static void say_goodbye(struct cv_session *s)
{
    s->life = SESSION_LEAVES;
    if (s->document != NULL)
        cv_document_goodbye(s->document);
    cv_meeting_leave(s->meeting);
}

static void on_timer(void *user)
{
    struct cv_session *s = user;
    cv_time now = now_of(s), next = CV_NEVER;

    if (s->life == SESSION_LIVES) {
        tell_role(s);
        announce(s);
        tell_members(s);
        tell_state(s, now);
    }
    cv_journal_step(s->journal, now);
    next = cv_time_min(next, cv_journal_deadline(s->journal));
    if (s->document != NULL) {
        cv_document_step(s->document, now);
        next = cv_time_min(next, cv_document_deadline(s->document));
    }
    switch (s->life) {
    case SESSION_LIVES:
        if (cv_finding_next(now - s->since) != CV_NEVER)
            next =
                cv_time_min(next, s->since + cv_finding_next(now - s->since));
        next = cv_time_min(next, now + MEMBERS_EVERY);
        break;
    case SESSION_DRAINS:
        if (is_drained(s) || now >= s->leave_by)
            say_goodbye(s);
        else
            next = cv_time_min(next, now + DRAIN_EVERY);
        break;
    case SESSION_LEAVES:
        break;
    }
    cv_timer_set(s->timer, next);
}

/* --- share, join, resume, leave --- */

static int begin(struct cv_session **out, struct cv_node *node,
                 const struct cv_key *key,
                 const struct cv_session_events *events, void *user,
                 enum cv_journal_mode mode, char *why, size_t why_len)
{
    struct cv_session *s = calloc(1, sizeof *s);
    char dir[sizeof node->data_dir + 16], text[256] = "";
    struct cv_journal_config config = {
        .dir = dir,
        .session = *key,
        .mode = mode,
        .loop = node->loop,
        .log = node->log,
        .trouble = on_trouble,
        .user = s,
    };
    int err;

    if (why_len > 0)
        why[0] = '\0';
    if (s == NULL)
        return CV_ERR_NOMEM;
    (void)snprintf(dir, sizeof dir, "%s/sessions", node->data_dir);
    s->node = node;
    s->key = *key;
    s->events = events;
    s->user = user;
    err = cv_timer_new(&s->timer, node->loop, on_timer, s);
    if (err == CV_OK)
        err = cv_journal_open(&s->journal, &config, cv_loop_now(node->loop),
                              text, sizeof text);
    if (err != CV_OK) {
        (void)snprintf(why, why_len, "%s",
                       text[0] != '\0' ? text : cv_strerror(err));
        cv_timer_free(s->timer);
        free(s);
        return err;
    }
    s->mine =
        cv_journal_get(s->journal, CV_FACT_SECRET, CV_BYTES("", 0)).len > 0;
    if (text[0] != '\0')
        notice(s, 1, text, "storage");
    *out = s;
    return CV_OK;
}

static int meet(struct cv_session *s, const struct cv_grants *grants, bool open,
                enum cv_role offer)
{
    struct cv_meeting_config config = {
        .node = s->node,
        .session = s->key,
        .grants = *grants,
        .capabilities = CV_CONTROL_DOCUMENTS,
        .open = open,
        .offer = offer,
        .wants = CV_ROLE_EDITOR,
    };
    int err = cv_meeting_new(&s->meeting, &config, &meeting_events, s);

    if (err == CV_OK) {
        s->role = cv_meeting_role(s->meeting);
        wake(s);
    }
    return err;
}

static void make_path_acceptable(struct cv_document_meta *meta)
{
    const char *slash = strrchr(meta->path, '/');
    char name[CV_PATH_MAX_TEXT];

    if (cv_path_acceptable(meta->path))
        return;
    (void)snprintf(name, sizeof name, "%s",
                   slash != NULL ? slash + 1 : meta->path);
    (void)snprintf(meta->path, sizeof meta->path, "%s",
                   cv_path_acceptable(name) ? name : "untitled");
}

static int put_settings(struct cv_session *s,
                        const struct cv_share_options *options)
{
    const uint8_t value[2] = {options->admission == CV_ADMIT_OPEN,
                              (uint8_t)options->role};

    return cv_journal_put(s->journal, CV_FACT_OTHER, CV_LITERAL("admission"),
                          CV_BYTES(value, sizeof value));
}

static int begin_share(struct cv_session *s, const struct cv_keypair *secret,
                       const struct cv_share_options *options)
{
    struct cv_document_meta meta = options->meta;
    uint64_t not_after = cv_node_unix_s(s->node) + CV_GRANT_LIFETIME_S;
    struct cv_grants grants;
    int err;

    make_path_acceptable(&meta);
    if (meta.ff[0] == '\0')
        memcpy(meta.ff, "unix", sizeof "unix");
    err = cv_journal_put(s->journal, CV_FACT_SECRET, CV_BYTES("", 0),
                         CV_BYTES(secret->seed, sizeof secret->seed));
    if (err == CV_OK)
        err = put_settings(s, options);
    if (err == CV_OK)
        err = cv_grants_issue(&grants, NULL, &s->key, secret,
                              &s->node->identity.pub, CV_ROLE_HOST,
                              CV_GRANT_ADMIT, not_after, s->node->rng);
    if (err != CV_OK)
        return err;
    s->mine = true;
    on_given(s, &grants);
    err = open_document(s, DOCUMENT_ID, &meta, CV_ROLE_HOST);
    if (err == CV_OK)
        err = cv_document_seed(s->document, options->text);
    if (err != CV_OK)
        return err;
    on_in_step(s);
    if (!cv_journal_clean(s->journal))
        return CV_ERR_IO;
    s->announced = true; /* the caller has the text */
    return meet(s, &grants, options->admission == CV_ADMIT_OPEN, options->role);
}

int cv_session_share(struct cv_session **out, struct cv_node *node,
                     const struct cv_share_options *options,
                     const struct cv_session_events *events, void *user,
                     char *why, size_t why_len)
{
    struct cv_keypair secret;
    struct cv_session *s;
    int err;

    if (options->text.len > CV_DOCUMENT_MAX) {
        (void)snprintf(why, why_len, "the text is larger than %u MiB",
                       CV_DOCUMENT_MAX >> 20);
        return CV_ERR_LIMIT;
    }
    if (!cv_utf8_valid(options->text.data, options->text.len)) {
        (void)snprintf(why, why_len,
                       "the text is not UTF-8: set "
                       "'encoding' or convert it first");
        return CV_ERR_FORMAT;
    }
    err = cv_keypair_generate(&secret, node->rng);
    if (err != CV_OK)
        return err;
    err = begin(&s, node, &secret.pub, events, user, CV_JOURNAL_CREATE, why,
                why_len);
    if (err == CV_OK) {
        err = begin_share(s, &secret, options);
        if (err != CV_OK) {
            struct cv_journal *journal = s->journal;

            if (why_len > 0 && why[0] == '\0')
                (void)snprintf(why, why_len,
                               "the session cannot be stored: "
                               "%s; is the disk full?",
                               cv_strerror(err));
            cv_document_free(s->document);
            s->document = NULL;
            s->journal = NULL;
            cv_journal_remove(journal);
            free_session(s);
        }
    }
    cv_wipe(&secret, sizeof secret);
    if (err == CV_OK)
        *out = s;
    return err;
}

/* The grants in the journal, if they still hold; n == 0 otherwise. */
static void stored_grants(const struct cv_session *s, struct cv_grants *out)
{
    struct cv_bytes b =
        cv_journal_get(s->journal, CV_FACT_GRANTS, CV_BYTES("", 0));
    struct cv_reader r;
    enum cv_role role;
    uint8_t flags;

    memset(out, 0, sizeof *out);
    if (b.len == 0)
        return;
    cv_reader_init(&r, b.data, b.len);
    *out = cv_get_grants(&r);
    if (cv_reader_end(&r) != CV_OK ||
        cv_grants_verify(out, &s->key, &s->node->identity.pub,
                         cv_node_unix_s(s->node), &role, &flags) != CV_OK)
        memset(out, 0, sizeof *out);
}

/* The session is ours, but its first grant is over: sign another one. */
static void renew_own_grants(struct cv_session *s, struct cv_grants *out)
{
    struct cv_bytes seed =
        cv_journal_get(s->journal, CV_FACT_SECRET, CV_BYTES("", 0));
    uint64_t not_after = cv_node_unix_s(s->node) + CV_GRANT_LIFETIME_S;
    struct cv_keypair secret;

    if (seed.len != CV_KEY_LEN ||
        cv_keypair_from_seed(&secret, seed.data) != CV_OK)
        return;
    if (!cv_key_equal(&secret.pub, &s->key) ||
        cv_grants_issue(out, NULL, &s->key, &secret, &s->node->identity.pub,
                        CV_ROLE_HOST, CV_GRANT_ADMIT, not_after,
                        s->node->rng) != CV_OK)
        memset(out, 0, sizeof *out);
    else
        on_given(s, out);
    cv_wipe(&secret, sizeof secret);
}

struct stored_document {
    bool found;
    uint32_t id;
    struct cv_document_meta meta;
};

static void on_stored_document(void *user, struct cv_bytes key,
                               struct cv_bytes value)
{
    struct stored_document *d = user;
    struct cv_reader r;

    cv_reader_init(&r, key.data, key.len);
    d->id = cv_get_u32(&r);
    if (cv_reader_end(&r) != CV_OK || d->id == 0 || d->found)
        return;
    cv_reader_init(&r, value.data, value.len);
    cv_get_meta(&r, &d->meta);
    d->found = r.err == CV_OK;
}

/* Take up what is stored of the document, if there is any. */
static int take_up(struct cv_session *s, const struct cv_grants *grants)
{
    struct stored_document d = {0};
    enum cv_role role = grants->n > 0
                            ? (enum cv_role)grants->chain[grants->n - 1].role
                            : CV_ROLE_NONE;
    int err;

    cv_journal_each(s->journal, CV_FACT_DOCUMENT, on_stored_document, &d);
    if (!d.found)
        return CV_ERR_NOTFOUND;
    err = open_document(s, d.id, &d.meta, role);
    if (err == CV_OK)
        s->have_text =
            cv_journal_get(s->journal, CV_FACT_OTHER, FACT_TEXT).len > 0;
    return err;
}

static int join_or_resume(struct cv_session **out, struct cv_node *node,
                          const struct cv_keytext *key, bool resume,
                          const struct cv_session_events *events, void *user,
                          char *why, size_t why_len)
{
    struct cv_grants grants;
    struct cv_session *s;
    struct cv_bytes settings;
    bool open = false;
    enum cv_role offer = CV_ROLE_EDITOR;
    int err;

    err = begin(&s, node, &key->key, events, user,
                resume ? CV_JOURNAL_RESUME : CV_JOURNAL_EITHER, why, why_len);
    if (err != CV_OK)
        return err;
    stored_grants(s, &grants);
    if (grants.n == 0 && s->mine)
        renew_own_grants(s, &grants);
    err = take_up(s, &grants);
    if (err == CV_ERR_NOTFOUND && !resume)
        err = CV_OK;
    if (err == CV_OK && resume && !s->have_text)
        err = CV_ERR_NOTFOUND;
    settings =
        cv_journal_get(s->journal, CV_FACT_OTHER, CV_LITERAL("admission"));
    if (settings.len == 2) {
        open = settings.data[0] == 1;
        offer = (enum cv_role)settings.data[1];
    }
    if (err == CV_OK)
        err = meet(s, &grants, open, offer);
    if (err != CV_OK) {
        if (why_len > 0 && why[0] == '\0')
            (void)snprintf(why, why_len, "%s",
                           err == CV_ERR_NOTFOUND
                               ? "no text of this session is stored: join it"
                               : cv_strerror(err));
        free_session(s);
        return err;
    }
    *out = s;
    if (resume)
        announce(s);
    return CV_OK;
}

int cv_session_join(struct cv_session **out, struct cv_node *node,
                    const struct cv_keytext *key,
                    const struct cv_session_events *events, void *user,
                    char *why, size_t why_len)
{
    return join_or_resume(out, node, key, false, events, user, why, why_len);
}

int cv_session_resume(struct cv_session **out, struct cv_node *node,
                      const struct cv_keytext *key,
                      const struct cv_session_events *events, void *user,
                      char *why, size_t why_len)
{
    return join_or_resume(out, node, key, true, events, user, why, why_len);
}

void cv_session_leave(struct cv_session *s, void (*done)(void *user),
                      void *user)
{
    if (s->life != SESSION_LIVES)
        return;
    s->left = done;
    s->left_user = user;
    s->life = SESSION_DRAINS;
    s->leave_by = now_of(s) + DRAIN_MAX;
    if (s->document != NULL)
        cv_document_set_events(s->document, NULL, NULL);
    wake(s);
}

/* --- questions --- */

const struct cv_key *cv_session_key(const struct cv_session *s)
{
    return &s->key;
}

bool cv_session_is_mine(const struct cv_session *s)
{
    return s->mine;
}

enum cv_role cv_session_role(const struct cv_session *s)
{
    return cv_meeting_role(s->meeting);
}

enum cv_session_state cv_session_state(const struct cv_session *s)
{
    struct cv_facts f;

    get_facts(s, &f);
    return cv_finding_state(&f);
}

struct cv_document *cv_session_document(const struct cv_session *s)
{
    return s->have_text ? s->document : NULL;
}

void cv_session_members(const struct cv_session *s,
                        void (*fn)(void *user, const struct cv_member *m),
                        void *user)
{
    struct cv_member member;

    for (struct cv_neighbour *n = cv_meeting_neighbours(s->meeting); n != NULL;
         n = n->next) {
        if (n->user == NULL)
            continue;
        if (n->peer != NULL)
            cv_conn_path(cv_peer_conn(n->peer), &n->path);
        fill_member(n, &member);
        fn(user, &member);
    }
}

int cv_session_accept(struct cv_session *s, uint32_t knock, enum cv_role role)
{
    return cv_meeting_accept(s->meeting, knock, role);
}

int cv_session_reject(struct cv_session *s, uint32_t knock, const char *reason)
{
    return cv_meeting_reject(s->meeting, knock, reason != NULL ? reason : "");
}

void cv_session_describe(const struct cv_session *s, char *out, size_t len)
{
    uint64_t commits = 0, kept = 0, shared = 0;
    int n;

    if (len == 0)
        return;
    if (s->document != NULL)
        cv_document_counts(s->document, &commits, &kept, &shared);
    n = snprintf(out, len,
                 "state: %s\nour role: %s\n"
                 "local changes: %llu, kept: %llu, at a peer: %llu\n",
                 cv_session_state_name(cv_session_state(s)),
                 cv_role_name(cv_session_role(s)), (unsigned long long)commits,
                 (unsigned long long)kept, (unsigned long long)shared);
    if (n > 0 && (size_t)n < len)
        cv_meeting_describe(s->meeting, out + n, len - (size_t)n);
}

/* --- what is stored --- */

#define STORED_MAX 256u

struct listing {
    void (*fn)(void *user, const struct cv_key *session, const char *path,
               enum cv_role role, bool mine);
    void *user;
    unsigned n;
    struct cv_key seen[STORED_MAX]; /* a session may be in several slots */
};

static void on_scan(void *user, const struct cv_journal *j)
{
    const struct cv_bytes none = CV_BYTES("", 0);
    struct listing *l = user;
    struct stored_document d = {0};
    struct cv_bytes b = cv_journal_get(j, CV_FACT_SESSION, none);
    struct cv_grants grants;
    struct cv_reader r;
    struct cv_key key;

    if (b.len != CV_KEY_LEN || l->n == STORED_MAX)
        return;
    memcpy(key.b, b.data, CV_KEY_LEN);
    for (unsigned i = 0; i < l->n; i++)
        if (cv_key_equal(&l->seen[i], &key))
            return;
    cv_journal_each(j, CV_FACT_DOCUMENT, on_stored_document, &d);
    if (!d.found || cv_journal_get(j, CV_FACT_OTHER, FACT_TEXT).len == 0)
        return;
    b = cv_journal_get(j, CV_FACT_GRANTS, none);
    cv_reader_init(&r, b.data, b.len);
    grants = cv_get_grants(&r);
    l->seen[l->n++] = key;
    l->fn(l->user, &key, d.meta.path,
          grants.n > 0 ? (enum cv_role)grants.chain[grants.n - 1].role
                       : CV_ROLE_NONE,
          cv_journal_get(j, CV_FACT_SECRET, none).len > 0);
}

void cv_node_stored(struct cv_node *node,
                    void (*fn)(void *user, const struct cv_key *session,
                               const char *path, enum cv_role role, bool mine),
                    void *user)
{
    char dir[sizeof node->data_dir + 16];
    struct listing *l = calloc(1, sizeof *l);

    if (l == NULL)
        return;
    l->fn = fn;
    l->user = user;
    (void)snprintf(dir, sizeof dir, "%s/sessions", node->data_dir);
    cv_journal_scan(dir, on_scan, l);
    free(l);
}
