/* Timers: one.  What happens in the meeting or the document wakes it; then the
 * state is worked out anew and told if it differs, the document and the
 * journal do what is due, and a session that leaves sees whether it is done.
 * So no event comes from within a call of the program. */
#include "session/session_struct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last edits reach the others before we say goodbye. */
#define DRAIN_MAX   (700 * CV_MILLISECOND)
#define DRAIN_EVERY (20 * CV_MILLISECOND)
/* A member's figures are looked at so often. */
#define MEMBERS_EVERY (5 * CV_SECOND)

cv_time cv_session_now(const struct cv_session *s)
{
    return cv_loop_now(s->node->loop);
}

void cv_session_wake(void *user)
{
    struct cv_session *s = user;

    if (s->timer != NULL)
        cv_timer_set(s->timer, cv_session_now(s));
}

static cv_time document_now(void *user)
{
    return cv_session_now(user);
}

void cv_session_notice(struct cv_session *s, int level, const char *text,
                       const char *tag)
{
    if (s->events->notice != NULL && s->life == SESSION_LIVES)
        s->events->notice(s->user, level, text, tag);
}

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

/* Names outlive the process: text of who is not here has an author, too. */
static void keep_name(struct cv_session *s, const struct cv_member *m)
{
    const struct cv_bytes key = CV_BYTES(m->identity.b, CV_KEY_LEN);
    struct cv_bytes old = cv_journal_get(s->journal, CV_FACT_PEER, key);
    size_t len = strlen(m->name);

    if (len > 0 && (old.len != len || memcmp(old.data, m->name, len) != 0))
        cv_session_remember(s, CV_FACT_PEER, key, CV_BYTES(m->name, len));
}

void cv_session_hear(struct cv_session *s, const struct cv_control *c)
{
    for (unsigned i = 0; i < c->u.members.n; i++) {
        const struct cv_control_member *m = &c->u.members.m[i];
        unsigned k = 0;

        while (k < s->n_heard && k < CV_SESSION_HEARD &&
               !cv_key_equal(&s->heard[k].identity, &m->identity))
            k++;
        if (k == s->n_heard || k == CV_SESSION_HEARD)
            k = s->n_heard++ % CV_SESSION_HEARD;
        s->heard[k].identity = m->identity;
        memcpy(s->heard[k].name, m->name, sizeof s->heard[k].name);
    }
}

bool cv_session_name_of(const struct cv_session *s,
                        const struct cv_key *identity,
                        char out[CV_NAME_MAX_TEXT])
{
    struct cv_bytes stored;

    out[0] = '\0';
    if (cv_key_equal(identity, &s->node->identity.pub))
        (void)snprintf(out, CV_NAME_MAX_TEXT, "%s", s->node->name);
    for (const struct cv_neighbour *n = cv_meeting_neighbours(s->meeting);
         out[0] == '\0' && n != NULL; n = n->next)
        if (n->user != NULL && cv_key_equal(&n->identity, identity))
            memcpy(out, n->name, CV_NAME_MAX_TEXT);
    stored = cv_journal_get(s->journal, CV_FACT_PEER,
                            CV_BYTES(identity->b, CV_KEY_LEN));
    if (out[0] == '\0' && stored.len > 0)
        cv_text_clean(out, CV_NAME_MAX_TEXT, stored.data, stored.len);
    for (unsigned i = 0;
         out[0] == '\0' && i < s->n_heard && i < CV_SESSION_HEARD; i++)
        if (cv_key_equal(&s->heard[i].identity, identity))
            memcpy(out, s->heard[i].name, CV_NAME_MAX_TEXT);
    return out[0] != '\0';
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
        keep_name(s, &now);
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
    struct cv_finding_told *t = &s->told;
    enum cv_session_state before = t->state;
    bool first = !t->told;
    struct cv_facts f;

    get_facts(s, &f);
    if (!cv_finding_update(t, &f, now))
        return;
    if (first || t->state != before)
        cv_info(s->node->log, "session: %s -> %s",
                first ? "new" : cv_session_state_name(before),
                cv_session_state_name(t->state));
    if (s->events->state != NULL)
        s->events->state(s->user, t->state, t->stage, t->hint);
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

void cv_session_announce(struct cv_session *s)
{
    if (s->announced || s->document == NULL || !s->have_text)
        return;
    s->announced = true;
    if (s->events->document != NULL)
        s->events->document(s->user, s->document);
}

void cv_session_trouble(void *user, int err, const char *text)
{
    cv_session_notice(user, err == CV_OK ? 0 : 2, text, "storage");
}

/* What cannot be written now waits in the journal, which says so itself. */
void cv_session_remember(struct cv_session *s, enum cv_journal_fact type,
                         struct cv_bytes key, struct cv_bytes value)
{
    int err = cv_journal_put(s->journal, type, key, value);

    if (err != CV_OK && err != CV_ERR_IO)
        cv_warn(s->node->log, "session: not stored, fact=%d, because: %s",
                (int)type, cv_strerror(err));
}

void cv_session_have_text(void *user)
{
    struct cv_session *s = user;

    s->have_text = true;
    if (s->meeting != NULL)
        cv_meeting_has_text(s->meeting);
    cv_session_remember(s, CV_FACT_OTHER, CV_SESSION_FACT_TEXT,
                        CV_LITERAL("1"));
    cv_session_wake(s);
}

/* Who began the session: the first that was granted anything. */
static struct cv_key sharer_of(const struct cv_session *s)
{
    struct cv_bytes b =
        cv_journal_get(s->journal, CV_FACT_GRANTS, CV_BYTES("", 0));
    struct cv_grants grants = {.n = 0};
    struct cv_reader r;

    cv_reader_init(&r, b.data, b.len);
    if (b.len > 0)
        grants = cv_get_grants(&r);
    return r.err == CV_OK && grants.n > 0 ? grants.chain[0].subject
                                          : (struct cv_key){{0}};
}

int cv_session_open_document(struct cv_session *s, uint32_t id,
                             const struct cv_document_meta *meta,
                             enum cv_role role)
{
    struct cv_document_config config = {
        .id = id,
        .meta = *meta,
        .session = s->key,
        .identity = &s->node->identity,
        .node = s->node->key.pub,
        .sharer = sharer_of(s),
        .role = role,
        .name = s->node->name,
        .rng = s->node->rng,
        .journal = s->journal,
        .log = s->node->log,
        .now = document_now,
        .wake = cv_session_wake,
        .in_step = cv_session_have_text,
        .user = s,
    };

    return cv_document_new(&s->document, &config);
}

void cv_session_free(struct cv_session *s)
{
    cv_meeting_free(s->meeting); /* and the links of its members */
    cv_document_free(s->document);
    cv_timer_free(s->timer);
    cv_journal_close(s->journal);
    free(s);
}

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

void cv_session_on_timer(void *user)
{
    struct cv_session *s = user;
    cv_time now = cv_session_now(s), next = CV_NEVER;

    if (s->life == SESSION_LIVES) {
        tell_role(s);
        cv_session_announce(s);
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
        next = cv_time_min(next, cv_finding_due(&s->told, now));
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

void cv_session_leave(struct cv_session *s, void (*done)(void *user),
                      void *user)
{
    if (s->life != SESSION_LIVES)
        return;
    s->left = done;
    s->left_user = user;
    s->life = SESSION_DRAINS;
    s->leave_by = cv_session_now(s) + DRAIN_MAX;
    if (s->document != NULL)
        cv_document_set_events(s->document, NULL, NULL);
    cv_session_wake(s);
}

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

int cv_session_invite(struct cv_session *s)
{
    return cv_meeting_invite(s->meeting);
}

int cv_session_add(struct cv_session *s, const struct cv_token *token,
                   char *why, size_t why_len)
{
    int err = cv_meeting_add(s->meeting, token);
    const char *text = cv_strerror(err);

    switch (err) {
    case CV_ERR_NOTFOUND:
        text = "this token answers none of yours: it belongs to another "
               "session, or to one that has ended since; :CoVim start makes "
               "a new one to begin with";
        break;
    case CV_ERR_REPLAY:
    case CV_ERR_EXISTS:
        text = "your token has been answered already: each is for one guest, "
               "once; :CoVim start makes another";
        break;
    case CV_ERR_EXPIRED:
        text = "your token's 15 minutes are over; :CoVim start makes another";
        break;
    case CV_ERR_FORMAT:
    case CV_ERR_AUTH:
        text = "this token is not genuine; begin again with :CoVim start";
        break;
    default:
        break;
    }
    if (why_len > 0)
        (void)snprintf(why, why_len, "%s", err == CV_OK ? "" : text);
    return err;
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
