#include "session/admission.h"

#include <assert.h>
#include <string.h>

/* The only place that changes state, so the log tells the whole story. */
static void set_state(struct cv_admitting *a, enum cv_admission_state to)
{
    static const char *const name[] = {"hello", "asked",  "lapsed", "waiting",
                                       "ready", "member", "closed"};
    char key[9];

    assert(a->state != CV_ADMISSION_CLOSED && a->state != CV_ADMISSION_MEMBER);
    if (to != a->state)
        cv_debug(a->config.log, "admission: %s -> %s, peer=%s", name[a->state],
                 name[to], cv_key_short(&a->config.peer, key));
    a->state = to;
    if (to == CV_ADMISSION_MEMBER || to == CV_ADMISSION_CLOSED)
        a->deadline = CV_NEVER;
}

static void wait_until(struct cv_admitting *a, cv_time deadline)
{
    a->deadline = cv_time_min(deadline, a->ends);
}

void cv_admission_close(struct cv_admitting *a, enum cv_refusal why,
                        const char *reason)
{
    if (a->state == CV_ADMISSION_CLOSED)
        return;
    a->refusal = why;
    cv_text_clean(a->reason, sizeof a->reason, reason, strlen(reason));
    if (a->state == CV_ADMISSION_MEMBER) {
        a->state = CV_ADMISSION_CLOSED;
        a->deadline = CV_NEVER;
        return;
    }
    set_state(a, CV_ADMISSION_CLOSED);
}

/* Tell them why, and end. */
static int refuse(struct cv_admitting *a, enum cv_refusal why,
                  const char *reason, const char *name, struct cv_writer *out)
{
    struct cv_control c;

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_REFUSED;
    c.u.refused.code = why;
    cv_text_clean(c.u.refused.reason, sizeof c.u.refused.reason, reason,
                  strlen(reason));
    cv_text_clean(c.u.refused.name, sizeof c.u.refused.name, name,
                  strlen(name));
    cv_admission_close(a, why, reason);
    a->told = true;
    return cv_control_put(out, &c);
}

static int put_simple(struct cv_writer *out, enum cv_control_type type)
{
    struct cv_control c;

    memset(&c, 0, sizeof c);
    c.type = type;
    return cv_control_put(out, &c);
}

int cv_admission_init(struct cv_admitting *a,
                      const struct cv_admission_config *config, cv_time now,
                      struct cv_writer *out)
{
    struct cv_control c;
    struct cv_hello *h = &c.u.hello;
    int err;

    memset(a, 0, sizeof *a);
    a->config = *config;
    a->state = CV_ADMISSION_HELLO;
    a->ends = now + CV_ADMISSION_TOTAL;
    wait_until(a, now + CV_ADMISSION_STEP);

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_HELLO;
    h->version = CV_CONTROL_VERSION;
    h->capabilities = config->capabilities;
    cv_session_proof(h->proof, &config->session, config->exporter,
                     &config->node);
    h->cert = config->cert;
    h->grants = *config->grants;
    cv_control_hide_session(&h->grants, &config->session);
    h->colour = config->colour;
    h->wants = (uint8_t)config->wants;
    memcpy(h->name, config->name, sizeof h->name);
    err = cv_control_put(out, &c);
    return err == CV_OK && config->vouched ? put_simple(out, CV_CONTROL_READY)
                                           : err;
}

int cv_admission_issue(struct cv_grants *out, const struct cv_grants *ours,
                       const struct cv_key *session,
                       const struct cv_keypair *identity,
                       const struct cv_key *subject, enum cv_role role,
                       uint64_t unix_s, const struct cv_rng *rng)
{
    uint64_t not_after = unix_s + CV_GRANT_LIFETIME_S;
    const struct cv_grant *last;

    if (ours->n == 0 || ours->n > CV_GRANT_CHAIN_MAX)
        return CV_ERR_DENIED;
    if (cv_key_equal(subject, &identity->pub)) {
        *out = *ours;
        return CV_OK;
    }
    last = &ours->chain[ours->n - 1];
    if (not_after > last->not_after)
        not_after = last->not_after;
    return cv_grants_issue(out, ours, session, identity, subject, role,
                           role == CV_ROLE_HOST ? CV_GRANT_ADMIT : 0, not_after,
                           rng);
}

/* They have verified our grant, too. */
static int become_member(struct cv_admitting *a, struct cv_writer *out)
{
    if (a->config.full)
        return refuse(a, CV_REFUSAL_FULL,
                      "it has as many connections as it wants; others of the "
                      "session take you",
                      "", out);
    set_state(a, CV_ADMISSION_MEMBER);
    return CV_OK;
}

/* Theirs is verified and they have ours.  READY says so, unless there is no
 * room for members. */
static int become_ready(struct cv_admitting *a, cv_time now,
                        struct cv_writer *out)
{
    int err = a->config.full ? CV_OK : put_simple(out, CV_CONTROL_READY);

    if (err != CV_OK)
        return err;
    set_state(a, CV_ADMISSION_READY);
    wait_until(a, now + CV_ADMISSION_STEP);
    return a->said_ready ? become_member(a, out) : CV_OK;
}

static int give_grant(struct cv_admitting *a, enum cv_role role,
                      uint64_t unix_s, cv_time now, struct cv_writer *out)
{
    struct cv_control c;
    int err;

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_GRANT;
    err = cv_admission_issue(&c.u.grant, a->config.grants, &a->config.session,
                             &a->config.identity[0], &a->hello.cert.identity,
                             role, unix_s, a->config.rng);
    if (err != CV_OK)
        return err;
    /* What we hand out must hold with everybody. */
    err = cv_grants_verify(&c.u.grant, &a->config.session,
                           &a->hello.cert.identity, unix_s, &a->peer_role,
                           &a->peer_flags);
    if (err != CV_OK)
        return CV_ERR_DENIED;
    cv_control_hide_session(&c.u.grant, &a->config.session);
    err = cv_control_put(out, &c);
    if (err != CV_OK)
        return err;
    return become_ready(a, now, out);
}

static int ask(struct cv_admitting *a, cv_time now, struct cv_writer *out)
{
    struct cv_control c;

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_PENDING;
    c.u.pending.expires_s = CV_ADMISSION_ASK_S;
    set_state(a, CV_ADMISSION_ASKED);
    wait_until(a, now + CV_ADMISSION_ASK);
    return cv_control_put(out, &c);
}

static bool may_admit(const struct cv_admitting *a)
{
    const struct cv_grants *g = a->config.grants;

    return g->n > 0 && (g->chain[g->n - 1].flags & CV_GRANT_ADMIT) != 0;
}

/* They are somebody without a grant, and we are a member. */
static int on_newcomer(struct cv_admitting *a, cv_time now, uint64_t unix_s,
                       struct cv_writer *out)
{
    enum cv_role role = a->config.offer;
    int err;

    if (cv_key_equal(&a->hello.cert.identity, &a->config.identity->pub))
        return give_grant(a, CV_ROLE_NONE, unix_s, now, out);
    if (!may_admit(a))
        return refuse(a, CV_REFUSAL_NO_HOST,
                      "this member may not let others in; a host must",
                      a->config.host_name, out);
    if (!a->config.open)
        return ask(a, now, out);
    if (role > (enum cv_role)a->hello.wants)
        role = (enum cv_role)a->hello.wants;
    err = give_grant(a, role, unix_s, now, out);
    if (err == CV_ERR_DENIED || err == CV_ERR_LIMIT)
        return refuse(a, CV_REFUSAL_NO_HOST,
                      "this member cannot pass on its own grant any further",
                      a->config.host_name, out);
    return err;
}

/* The authentication of a hello; on failure the state is CLOSED. */
static bool hello_holds(struct cv_admitting *a, const struct cv_hello *h,
                        uint64_t unix_s)
{
    uint8_t proof[CV_PROOF_LEN];
    int err;

    if (h->version != CV_CONTROL_VERSION) {
        cv_admission_close(a, CV_REFUSAL_VERSION,
                           "the two sides speak different versions of covim");
        return false;
    }
    cv_session_proof(proof, &a->config.session, a->config.exporter,
                     &a->config.peer);
    if (!cv_equal(proof, h->proof, sizeof proof)) {
        cv_admission_close(a, CV_REFUSAL_AUTH,
                           "the other side does not know this session");
        return false;
    }
    err = cv_cert_verify(&h->cert, &a->config.peer, unix_s);
    if (err != CV_OK) {
        cv_admission_close(
            a, CV_REFUSAL_AUTH,
            err == CV_ERR_EXPIRED
                ? "a node certificate has expired; check the clocks"
                : "the node certificate is not of this node");
        return false;
    }
    if (a->config.peer_identity_known &&
        !cv_key_equal(&h->cert.identity, &a->config.peer_identity)) {
        cv_admission_close(a, CV_REFUSAL_AUTH,
                           "the identity is not the one of the record");
        return false;
    }
    if ((h->capabilities & a->config.capabilities) != a->config.capabilities) {
        cv_admission_close(a, CV_REFUSAL_VERSION,
                           "the other side shares something else here");
        return false;
    }
    return true;
}

static int on_hello(struct cv_admitting *a, const struct cv_hello *h,
                    cv_time now, uint64_t unix_s, struct cv_writer *out)
{
    int err;

    if (a->have_hello) {
        cv_admission_close(a, CV_REFUSAL_PROTOCOL, "a second hello");
        return CV_OK;
    }
    a->have_hello = true;
    a->hello = *h;
    a->hello.invite = (struct cv_bytes){NULL, 0};
    cv_control_show_session(&a->hello.grants, &a->config.session);
    h = &a->hello;
    if (!hello_holds(a, h, unix_s))
        return CV_OK;

    if (h->grants.n > 0) {
        err =
            cv_grants_verify(&h->grants, &a->config.session, &h->cert.identity,
                             unix_s, &a->peer_role, &a->peer_flags);
        if (err != CV_OK) {
            a->peer_role = CV_ROLE_NONE;
            a->peer_flags = 0;
        }
        /* An honest node presents one that has expired, never a false one. */
        if (err != CV_OK && err != CV_ERR_EXPIRED) {
            cv_admission_close(a, CV_REFUSAL_GRANT,
                               "the grant is not of this session");
            return CV_OK;
        }
    }
    if (a->peer_role != CV_ROLE_NONE && a->config.grants->n > 0)
        return become_ready(a, now, out);
    if (a->peer_role != CV_ROLE_NONE) {
        set_state(a, CV_ADMISSION_WAITING);
        wait_until(a, now + CV_ADMISSION_STEP);
        return CV_OK;
    }
    if (a->config.grants->n > 0)
        return on_newcomer(a, now, unix_s, out);
    cv_admission_close(a, CV_REFUSAL_STRANGERS,
                       "neither side is a member of the session");
    return CV_OK;
}

/* Somebody else has let in whom our user is asked about, or let in just now:
 * the role that our user gave stands. */
static int on_shown(struct cv_admitting *a, const struct cv_grants *g,
                    cv_time now, uint64_t unix_s, struct cv_writer *out)
{
    enum cv_role role;
    uint8_t flags;

    if (cv_grants_verify(g, &a->config.session, &a->hello.cert.identity, unix_s,
                         &role, &flags) != CV_OK) {
        cv_admission_close(a, CV_REFUSAL_GRANT,
                           "the grant is not of this session");
        return CV_OK;
    }
    if (a->state == CV_ADMISSION_READY)
        return CV_OK;
    a->peer_role = role;
    a->peer_flags = flags;
    return become_ready(a, now, out);
}

static int on_grant(struct cv_admitting *a, struct cv_grants *g, cv_time now,
                    uint64_t unix_s, struct cv_writer *out)
{
    enum cv_role role;
    uint8_t flags;
    int err;

    cv_control_show_session(g, &a->config.session);
    if (cv_admission_undecided(a) ||
        (a->state == CV_ADMISSION_READY &&
         !cv_grants_are_for(g, &a->config.identity->pub)))
        return on_shown(a, g, now, unix_s, out);
    err = cv_grants_verify(g, &a->config.session, &a->config.identity->pub,
                           unix_s, &role, &flags);
    if (err != CV_OK) {
        cv_admission_close(
            a, CV_REFUSAL_GRANT,
            err == CV_ERR_EXPIRED
                ? "the grant that came has expired; check the clocks"
                : "the grant that came is not for us");
        return CV_OK;
    }
    /* Of two grants the lower one counts: nobody refuses what it allows. */
    if (!a->shown || cv_grants_role(g) < cv_grants_role(a->config.grants))
        a->given = *g;
    return become_ready(a, now, out);
}

static int unexpected(struct cv_admitting *a)
{
    cv_admission_close(a, CV_REFUSAL_PROTOCOL,
                       "a message came that may not come before admission");
    return CV_OK;
}

int cv_admission_message(struct cv_admitting *a, struct cv_bytes message,
                         cv_time now, uint64_t unix_s, struct cv_writer *out)
{
    struct cv_control c;
    int err = cv_control_parse(&c, message);

    assert(a->state != CV_ADMISSION_MEMBER && a->state != CV_ADMISSION_CLOSED);
    if (err != CV_OK) {
        cv_admission_close(a, CV_REFUSAL_PROTOCOL, "a malformed message");
        return CV_OK;
    }
    switch (c.type) {
    case CV_CONTROL_NONE: /* of a later version */
        return CV_OK;
    case CV_CONTROL_HELLO:
        return on_hello(a, &c.u.hello, now, unix_s, out);
    case CV_CONTROL_REFUSED:
        cv_admission_close(a, CV_REFUSAL_PERSON, c.u.refused.reason);
        if (c.u.refused.code <= CV_REFUSAL_INTERNAL)
            a->refusal = (enum cv_refusal)c.u.refused.code;
        a->refused_by_peer = true;
        memcpy(a->name, c.u.refused.name, sizeof a->name);
        return CV_OK;
    case CV_CONTROL_PENDING:
        /* In READY: by their clock our grant has expired. */
        if (a->state != CV_ADMISSION_WAITING && a->state != CV_ADMISSION_READY)
            return unexpected(a);
        set_state(a, CV_ADMISSION_WAITING);
        a->pending = true;
        a->shown = false;
        wait_until(a, now + (cv_time)c.u.pending.expires_s * CV_SECOND +
                          CV_ADMISSION_AGAIN);
        return CV_OK;
    case CV_CONTROL_ASK:
        if (a->state == CV_ADMISSION_LAPSED)
            return ask(a, now, out);
        /* The clocks of the two sides run at their own pace. */
        return a->state == CV_ADMISSION_ASKED || a->state == CV_ADMISSION_READY
                   ? CV_OK
                   : unexpected(a);
    case CV_CONTROL_GRANT:
        if (a->state == CV_ADMISSION_HELLO)
            return unexpected(a);
        return on_grant(a, &c.u.grant, now, unix_s, out);
    case CV_CONTROL_READY:
        /* Ours is in our record; or theirs has expired by our clock only. */
        if (cv_admission_undecided(a)) {
            a->said_ready = true;
            return CV_OK;
        }
        /* Who sends it has verified our grant; hello or grant came first. */
        if (a->state != CV_ADMISSION_READY)
            return unexpected(a);
        return become_member(a, out);
    case CV_CONTROL_MEMBER_LIST:
    case CV_CONTROL_FILE_LIST:
    case CV_CONTROL_BYE:
    case CV_CONTROL_NAME:
        return unexpected(a);
    }
    return CV_OK;
}

int cv_admission_step(struct cv_admitting *a, cv_time now,
                      struct cv_writer *out)
{
    if (now < a->deadline)
        return CV_OK;
    switch (a->state) {
    case CV_ADMISSION_HELLO:
    case CV_ADMISSION_READY:
        cv_admission_close(a, CV_REFUSAL_TIMEOUT,
                           "the other side did not speak in time");
        return CV_OK;
    case CV_ADMISSION_ASKED:
        set_state(a, CV_ADMISSION_LAPSED);
        wait_until(a, now + CV_ADMISSION_ASK);
        return CV_OK;
    case CV_ADMISSION_LAPSED:
        return refuse(a, CV_REFUSAL_TIMEOUT, "nobody answered", "", out);
    case CV_ADMISSION_WAITING:
        if (now >= a->ends || !a->pending) {
            cv_admission_close(a, CV_REFUSAL_TIMEOUT, "nobody answered");
            return CV_OK;
        }
        wait_until(a, now + CV_ADMISSION_STEP);
        return put_simple(out, CV_CONTROL_ASK);
    case CV_ADMISSION_MEMBER:
    case CV_ADMISSION_CLOSED:
        break;
    }
    return CV_OK;
}

int cv_admission_show(struct cv_admitting *a, cv_time now,
                      struct cv_writer *out)
{
    struct cv_control c;
    int err;

    if (a->state != CV_ADMISSION_WAITING || a->config.grants->n == 0)
        return CV_ERR_INVALID;
    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_GRANT;
    c.u.grant = *a->config.grants;
    cv_control_hide_session(&c.u.grant, &a->config.session);
    err = cv_control_put(out, &c);
    if (err != CV_OK)
        return err;
    a->shown = true;
    return become_ready(a, now, out);
}

bool cv_admission_undecided(const struct cv_admitting *a)
{
    return a->state == CV_ADMISSION_ASKED || a->state == CV_ADMISSION_LAPSED;
}

int cv_admission_accept(struct cv_admitting *a, enum cv_role role,
                        uint64_t unix_s, cv_time now, struct cv_writer *out)
{
    if (!cv_admission_undecided(a))
        return CV_ERR_INVALID;
    return give_grant(a, role, unix_s, now, out);
}

int cv_admission_reject(struct cv_admitting *a, const char *reason,
                        struct cv_writer *out)
{
    if (!cv_admission_undecided(a))
        return CV_ERR_INVALID;
    return refuse(a, CV_REFUSAL_PERSON, reason, "", out);
}
