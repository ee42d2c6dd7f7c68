#include "session/meeting_struct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/presence.h"

/* Did a person send this identity away a moment ago? */
bool cv_meeting_was_rejected(const struct cv_meeting *m,
                             const struct cv_key *who)
{
    cv_time now = cv_meeting_now(m);

    for (unsigned i = 0; i < CV_MEETING_REJECTED; i++)
        if (now < m->rejected[i].until &&
            cv_key_equal(&m->rejected[i].identity, who))
            return true;
    return false;
}

static cv_time peer_now(void *user)
{
    const struct cv_neighbour *n = user;

    return cv_meeting_now(n->meeting);
}

static uint64_t peer_unix_s(void *user)
{
    const struct cv_neighbour *n = user;

    return cv_node_unix_s(n->meeting->node);
}

static void close_knock(struct cv_neighbour *n)
{
    if (n->knock == 0)
        return;
    if (n->meeting->events->knock != NULL)
        n->meeting->events->knock(n->meeting->user, n, true);
    n->knock = 0;
    n->early = false;
}

static void open_knock(struct cv_neighbour *n)
{
    struct cv_meeting *m = n->meeting;

    n->knock = cv_node_next_id(m->node);
    n->knock_at = cv_meeting_now(m);
    if (m->events->knock != NULL)
        m->events->knock(m->user, n, false);
}

void cv_meeting_ask_early(struct cv_neighbour *n)
{
    if (n->knock != 0 || n->peer != NULL)
        return;
    n->early = true;
    open_knock(n);
}

void cv_meeting_ask_over(struct cv_neighbour *n)
{
    if (n->early && n->peer == NULL &&
        cv_meeting_now(n->meeting) - n->knock_at >=
            CV_ADMISSION_ASK_S * CV_SECOND)
        close_knock(n);
}

enum cv_role cv_meeting_was_accepted(const struct cv_meeting *m,
                                     const struct cv_key *who)
{
    for (unsigned i = 0; i < CV_MEETING_REJECTED; i++)
        if (m->accepted[i].until > cv_meeting_now(m) &&
            cv_key_equal(&m->accepted[i].identity, who))
            return m->accepted[i].role;
    return CV_ROLE_NONE;
}

static void on_peer_admission(void *user, struct cv_peer *p)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;
    const struct cv_admitting *a = cv_peer_admission(p);
    enum cv_role role;

    if (a->have_hello) {
        n->identity = a->hello.cert.identity;
        n->identity_known = true;
        if (cv_peer_name(p)[0] != '\0')
            memcpy(n->name, cv_peer_name(p), sizeof n->name);
    }
    if (a->state == CV_ADMISSION_WAITING && a->pending)
        cv_neighbour_set_reach(n, CV_REACH_WAITING);
    if (a->state == CV_ADMISSION_ASKED &&
        cv_meeting_was_rejected(m, &n->identity)) {
        if (cv_peer_reject(p, "") != CV_OK)
            cv_peer_close(p, CV_REFUSAL_PERSON, "");
        return;
    }
    role = a->state == CV_ADMISSION_ASKED
               ? cv_meeting_was_accepted(m, &n->identity)
               : CV_ROLE_NONE;
    if (role != CV_ROLE_NONE && cv_peer_accept(p, role) == CV_OK)
        close_knock(n);
    else if (a->state == CV_ADMISSION_ASKED && n->knock == 0)
        open_knock(n);
    else if (a->state == CV_ADMISSION_ASKED)
        n->early = false;
    else if (!n->early || a->have_hello)
        close_knock(n);
    cv_meeting_changed(m);
    cv_meeting_wake(m);
}

static void on_peer_given(void *user, struct cv_peer *p,
                          const struct cv_grants *g)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;

    m->grants = *g;
    m->role = cv_grants_role(g);
    m->publish_due = true;
    m->publish_at = 0;
    m->host[0] = '\0';
    cv_info(m->node->log, "meeting: admitted, role=%s", cv_role_name(m->role));
    if (m->events->given != NULL)
        m->events->given(m->user, &m->grants);
    for (n = m->neighbours; n != NULL; n = n->next)
        if (n->peer != NULL && n->peer != p)
            cv_peer_show(n->peer);
    cv_meeting_wake(m);
}

static void put_member(struct cv_control *c, const struct cv_key *node,
                       const struct cv_key *identity, enum cv_role role,
                       bool admits, const char *name)
{
    struct cv_control_member *e;

    if (c->u.members.n == CV_CONTROL_MEMBERS || role == CV_ROLE_NONE)
        return;
    e = &c->u.members.m[c->u.members.n++];
    e->node = *node;
    e->identity = *identity;
    e->role = (uint8_t)role;
    e->admits = admits;
    cv_text_clean(e->name, sizeof e->name, name, strlen(name));
}

static void tell_members(struct cv_meeting *m)
{
    struct cv_control *c = calloc(1, sizeof *c);

    if (c == NULL)
        return;
    c->type = CV_CONTROL_MEMBER_LIST;
    put_member(c, &m->node->key.pub, &m->node->identity.pub, m->role,
               cv_meeting_may_admit(m), m->node->name);
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (cv_neighbour_is_member(n))
            put_member(c, &n->node, &n->identity, n->role, n->admits, n->name);
    cv_meeting_tell(m, c);
    free(c);
}

static void mark_path(struct cv_neighbour *n, const struct cv_path_info *path)
{
    struct cv_mark mark = {
        .kind = CV_MARK_SWITCHED,
        .at = cv_meeting_now(n->meeting),
        .node = n->node,
        .path = path->kind,
        .addr = path->remote,
        .rtt = path->rtt,
        .text = "",
    };

    if (n->meeting->events->mark == NULL ||
        (path->kind == n->path.kind &&
         cv_addr_equal(&path->remote, &n->path.remote)))
        return;
    n->meeting->events->mark(n->meeting->user, &mark);
}

static void on_peer_member(void *user, struct cv_peer *p)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;
    struct cv_path_info path;
    char key[9];

    if (n->id == 0)
        n->id = cv_node_next_id(m->node);
    n->role = cv_peer_role(p);
    n->admits = cv_peer_admits(p);
    n->colour = cv_peer_admission(p)->hello.colour;
    n->failure[0] = '\0';
    m->failure[0] = '\0';
    m->had_members = true;
    m->all_left = false;
    m->node->counters.admitted++;
    cv_neighbour_set_reach(n, CV_REACH_MEMBER);
    cv_conn_path(cv_peer_conn(p), &path);
    mark_path(n, &path); /* it may have changed just now */
    n->path = path;
    cv_meeting_mark(m, CV_MARK_MEMBER, &n->node, NULL, "");
    cv_info(m->node->log, "meeting: joined, peer=%s, role=%s",
            cv_key_short(&n->node, key), cv_role_name(n->role));
    if (m->events->member != NULL)
        m->events->member(m->user, n);
    tell_members(m);
    cv_meeting_changed(m);
}

static void on_peer_control(void *user, struct cv_peer *p,
                            const struct cv_control *c)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;

    if (c->type == CV_CONTROL_NAME)
        memcpy(n->name, cv_peer_name(p), sizeof n->name);
    if (c->type == CV_CONTROL_MEMBER_LIST)
        for (unsigned i = 0; i < c->u.members.n; i++)
            if (c->u.members.m[i].admits)
                memcpy(m->host, c->u.members.m[i].name, sizeof m->host);
    if (m->events->control != NULL)
        m->events->control(m->user, n, c);
}

static void on_peer_stream(void *user, struct cv_peer *p, struct cv_stream *s)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;

    (void)p;
    if (m->events->stream != NULL)
        m->events->stream(m->user, n, s);
    else
        cv_stream_reset(s, CV_REFUSAL_PROTOCOL);
}

static void on_peer_datagram(void *user, struct cv_peer *p,
                             struct cv_bytes data)
{
    struct cv_neighbour *n = user;

    (void)p;
    if (n->meeting->events->datagram != NULL)
        n->meeting->events->datagram(n->meeting->user, n, data);
}

static void on_peer_path(void *user, struct cv_peer *p,
                         const struct cv_path_info *path)
{
    struct cv_neighbour *n = user;

    (void)p;
    mark_path(n, path);
    n->path = *path;
    if (path->kind != CV_PATH_NONE && !path->silent) {
        n->silent_at = n->recall_at = CV_NEVER;
        cv_neighbour_stop_calling(n);
    } else if (n->silent_at == CV_NEVER) {
        n->silent_at = cv_meeting_now(n->meeting) + CV_MEETING_SILENT;
        n->recall_at = cv_meeting_now(n->meeting) + CV_MEETING_RECALL;
        n->recalls = 0;
        n->tries = 0;
    }
    cv_meeting_changed(n->meeting);
    cv_meeting_wake(n->meeting);
}

/* What follows from the end of a connection for the next try. */
static void after_end(struct cv_neighbour *n, const struct cv_peer_end *end,
                      bool was_member)
{
    struct cv_meeting *m = n->meeting;

    if (end->left) {
        n->pointer = false; /* until a newer one is seen */
        return;
    }
    if (was_member) {
        if (end->violation && n->tries < 3)
            n->tries = 3; /* no hurry */
        else if (cv_meeting_now(m) - n->since > CV_MEETING_LIVED)
            n->tries = 0;
        cv_neighbour_retry_later(n);
        if (cv_key_compare(&m->node->key.pub, &n->node) > 0)
            n->next_try += CV_MEETING_YIELD;
        return;
    }
    cv_text_clean(n->failure, sizeof n->failure, end->reason,
                  strlen(end->reason));
    memcpy(m->failure, n->failure, sizeof m->failure);
    if (end->refusal == CV_REFUSAL_NO_HOST) {
        n->admits = false;
        memcpy(m->host, end->name, sizeof m->host);
    }
    if (n->tries < 3 && (end->violation || end->refused_by_peer))
        n->tries = 3; /* no hurry */
    cv_neighbour_retry_later(n);
}

/* A person said no: that is the answer of all who were asked. */
static void ask_no_more(struct cv_meeting *m)
{
    m->refused = true;
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next) {
        cv_neighbour_stop_calling(n);
        if (n->peer != NULL)
            cv_peer_leave(n->peer, "");
    }
}

static void on_peer_end(void *user, struct cv_peer *p,
                        const struct cv_peer_end *end)
{
    struct cv_neighbour *n = user;
    struct cv_meeting *m = n->meeting;
    bool was_member = n->reach == CV_REACH_MEMBER;
    char key[9], text[CV_STAGE_TEXT];

    (void)p;
    n->peer = NULL;
    n->path = (struct cv_path_info){0};
    cv_info(m->node->log,
            "meeting: connection ended, peer=%s, %s%s, code=%s%s%s",
            cv_key_short(&n->node, key), was_member ? "member" : "not a member",
            end->left ? ", left" : "", cv_refusal_name(end->refusal),
            end->reason[0] != '\0' ? ", because: " : "", end->reason);
    cv_neighbour_set_reach(n, CV_REACH_NONE);
    if (end->violation)
        m->node->counters.violations++;
    if (end->refused_by_peer)
        m->node->counters.refused++;
    close_knock(n);
    after_end(n, end, was_member);
    if (was_member) {
        m->all_left = end->left && cv_meeting_count_members(m) == 0;
        if (m->events->lost != NULL)
            m->events->lost(m->user, n, end->left);
        tell_members(m);
    } else if (end->refused_by_peer && end->refusal == CV_REFUSAL_PERSON &&
               m->grants.n == 0) {
        ask_no_more(m);
        (void)snprintf(text, sizeof text, "%s did not let you in%s%s",
                       n->name[0] != '\0' ? n->name : "The host",
                       end->reason[0] != '\0' ? ": " : "", end->reason);
        if (m->events->refused != NULL && m->state == MEETING_OPEN)
            m->events->refused(m->user, text);
    }
    cv_meeting_changed(m);
    cv_meeting_wake(m);
}

static const struct cv_peer_events peer_events = {
    .admission = on_peer_admission,
    .given = on_peer_given,
    .member = on_peer_member,
    .control = on_peer_control,
    .stream = on_peer_stream,
    .datagram = on_peer_datagram,
    .path = on_peer_path,
    .end = on_peer_end,
};

/* End a connection that another one takes the place of. */
static void drop_peer(struct cv_neighbour *n, enum cv_refusal code)
{
    struct cv_meeting *m = n->meeting;
    bool was_member = n->reach == CV_REACH_MEMBER;

    if (was_member && m->events->lost != NULL)
        m->events->lost(m->user, n, false);
    close_knock(n);
    cv_peer_free(n->peer, code);
    n->peer = NULL;
    cv_neighbour_set_reach(n, CV_REACH_NONE);
}

/* It is silent, and others want to come: it is sought anew, as after any loss,
 * or comes back by itself. */
static void let_go(struct cv_neighbour *n)
{
    bool was_member = n->reach == CV_REACH_MEMBER;
    char key[9];

    cv_info(n->meeting->node->log, "meeting: silent, gives way, peer=%s",
            cv_key_short(&n->node, key));
    drop_peer(n, CV_REFUSAL_FULL);
    n->path = (struct cv_path_info){0};
    cv_neighbour_retry_later(n);
    if (was_member)
        tell_members(n->meeting);
}

/* Have we knocked at a living record, signed by that node, with a grant? */
static bool is_vouched(const struct cv_neighbour *n, const struct cv_conn *conn)
{
    return cv_conn_is_client(conn) && n->pointer && n->identity_known &&
           n->role != CV_ROLE_NONE;
}

static int make_peer(struct cv_neighbour *n, struct cv_conn *conn, bool full)
{
    struct cv_meeting *m = n->meeting;
    struct cv_peer_config config = {
        .conn = conn,
        .admission =
            {
                .log = m->node->log,
                .rng = m->node->rng,
                .identity = &m->node->identity,
                .grants = &m->grants,
                .session = m->config.session,
                .node = m->node->key.pub,
                .peer_identity_known = n->identity_known,
                .peer_identity = n->identity,
                .vouched = is_vouched(n, conn),
                .cert = m->node->cert,
                .capabilities = m->config.capabilities,
                .full = full,
                .open = m->config.open,
                .offer = m->config.offer,
                .wants = m->config.wants,
                .colour = (uint8_t)cv_presence_colour(&m->node->identity.pub),
            },
        .now = peer_now,
        .unix_s = peer_unix_s,
        .events = &peer_events,
        .user = n,
    };

    memcpy(config.admission.name, m->node->name, CV_NAME_MAX_TEXT);
    for (struct cv_neighbour *h = m->neighbours; h != NULL; h = h->next)
        if (cv_neighbour_is_member(h) && h->admits)
            memcpy(config.admission.host_name, h->name, CV_NAME_MAX_TEXT);
    return cv_peer_new(&n->peer, &config);
}

bool cv_meeting_conn(struct cv_meeting *m, struct cv_conn *conn)
{
    struct cv_neighbour *n = cv_meeting_by_attempt(m, cv_conn_attempt(conn));
    bool client = cv_conn_is_client(conn);
    struct cv_neighbour *silent;
    enum cv_room room;

    if (n == NULL || !cv_key_equal(&n->node, cv_conn_peer(conn)))
        return false;
    if (client) {
        n->called_out = false;
        cv_rendezvous_stop_knocking(m->rv, &n->node);
    } else {
        n->called_in = false;
    }
    if (m->state != MEETING_OPEN || m->config.trial) {
        cv_conn_close(conn, CV_REFUSAL_LEAVING, "");
        return true;
    }
    if (n->peer != NULL) /* transport has chosen between the two */
        drop_peer(n, CV_REFUSAL_REPLACED);
    room = cv_meeting_room(m, n);
    if (room < (n->newcomer && !client ? CV_ROOM_TO_ADMIT : CV_ROOM_TO_STAY)) {
        cv_conn_close(conn, CV_REFUSAL_FULL, "no room for more connections");
        return true;
    }
    silent = cv_meeting_gives_way(m);
    if (silent != NULL)
        let_go(silent);
    n->since = cv_meeting_now(m);
    n->silent_at = n->recall_at = CV_NEVER;
    cv_conn_path(conn, &n->path);
    if (make_peer(n, conn, room < CV_ROOM_TO_STAY) != CV_OK) {
        cv_conn_close(conn, CV_REFUSAL_INTERNAL, "");
        cv_neighbour_retry_later(n);
        return true;
    }
    cv_neighbour_set_reach(n, CV_REACH_HELLO);
    if (cv_peer_admission(n->peer)->config.vouched &&
        m->events->opening != NULL)
        m->events->opening(m->user, n); /* in the packet with our hello */
    cv_meeting_changed(m);
    cv_meeting_wake(m);
    return true;
}

struct cv_neighbour *cv_meeting_knock(const struct cv_meeting *m, uint32_t id)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (n->knock == id && id != 0)
            return n;
    return NULL;
}

int cv_meeting_accept(struct cv_meeting *m, uint32_t knock_id,
                      enum cv_role role)
{
    struct cv_neighbour *n = cv_meeting_knock(m, knock_id);

    unsigned i;

    if (n == NULL || (n->peer == NULL && !n->early))
        return CV_ERR_NOTFOUND;
    if (!cv_meeting_may_admit(m))
        return CV_ERR_DENIED;
    if (n->peer != NULL)
        return cv_peer_accept(n->peer, role);
    /* His next knock is that of somebody who is trusted. */
    i = m->next_accepted++ % CV_MEETING_REJECTED;
    m->accepted[i].identity = n->identity;
    m->accepted[i].role = role;
    m->accepted[i].until = cv_meeting_now(m) + CV_MEETING_ACCEPTED_FOR;
    close_knock(n);
    return CV_OK;
}

int cv_meeting_reject(struct cv_meeting *m, uint32_t knock_id,
                      const char *reason)
{
    struct cv_neighbour *n = cv_meeting_knock(m, knock_id);
    unsigned i;

    if (n == NULL || (n->peer == NULL && !n->early))
        return CV_ERR_NOTFOUND;
    i = m->next_rejected++ % CV_MEETING_REJECTED;
    m->rejected[i].identity = n->identity;
    m->rejected[i].until = cv_meeting_now(m) + CV_MEETING_REJECTED_FOR;
    if (n->peer != NULL)
        return cv_peer_reject(n->peer, reason);
    close_knock(n);
    return CV_OK;
}

void cv_meeting_tell(struct cv_meeting *m, const struct cv_control *c)
{
    for (struct cv_neighbour *n = m->neighbours; n != NULL; n = n->next)
        if (cv_neighbour_is_member(n))
            (void)cv_peer_send(n->peer, c);
}

void cv_meeting_renamed(struct cv_meeting *m)
{
    struct cv_control c;

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_NAME;
    memcpy(c.u.name.name, m->node->name, sizeof c.u.name.name);
    cv_meeting_tell(m, &c);
    if (m->events->renamed != NULL)
        m->events->renamed(m->user);
}
