/* Our pointer:  OFF -> DUE -> PLACED -> (PUBLISHED | FAILED), and back to DUE
 * every five minutes, on change, in the last five minutes of an epoch and when
 * a new one begins; a get 2 s after the put says which; FAILED is DUE again
 * after 5, 10, 20, 60 s.  LEAVING puts the last pointer, for at most 2 s. */
#include "discovery/rendezvous_struct.h"

#include <string.h>

#define REFRESH           (5 * CV_MINUTE)
#define VERIFY_AFTER      (2 * CV_SECOND)
#define VERIFY_FOR        (10 * CV_SECOND) /* in gets of 2 s or more */
#define LEAVE_FOR         (2 * CV_SECOND)
#define ROTATE_EVERY      CV_MINUTE
#define SHELF_TTL_S       900u /* the pointer says itself when it is over */
#define PUBLISH_RATE_TIME (10 * CV_SECOND) /* one change in that long … */
#define PUBLISH_BURST     4                /* … after these at once */
#define PUBLISH_GAP       CV_SECOND        /* changes within it go together */

static void set_publish_state(struct cv_rendezvous *rv, enum publish_state to)
{
    static const char *const name[] = {"off",       "due",    "placed",
                                       "published", "failed", "leaving"};

    if (to != rv->pub.state)
        cv_debug(rv->config.log, "rendezvous: publish %s -> %s",
                 name[rv->pub.state], name[to]);
    rv->pub.state = to;
}

static void record_close(struct record *r)
{
    if (r->rv != NULL)
        cv_rv_cancel(r->rv, &r->put);
    r->used = false;
}

static void left(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;
    void (*done)(void *user) = pub->left;

    for (unsigned i = 0; i < 2; i++)
        record_close(&pub->records[i]);
    pub->left = NULL;
    set_publish_state(rv, PUBLISH_OFF);
    if (!rv->freed && done != NULL)
        done(pub->left_user);
}

static bool last_words_said(const struct publisher *pub)
{
    for (unsigned i = 0; i < 2; i++) {
        if (pub->records[i].used && !pub->records[i].done)
            return false;
    }
    return true;
}

static void on_put_done(void *user, bool ok)
{
    struct record *r = user;
    struct cv_rendezvous *rv = r->rv;

    (void)ok; /* reading it back says more */
    r->done = true;
    r->put = 0;
    if (rv->pub.state != PUBLISH_LEAVING || !last_words_said(&rv->pub))
        return;
    cv_rv_enter(rv);
    left(rv);
    cv_rv_leave(rv);
}

static int seal_pointer(struct cv_rendezvous *rv, struct cv_office *o,
                        const struct cv_place *place, struct cv_pointer *p,
                        uint8_t value[CV_POINTER_MAX], size_t *len)
{
    struct publisher *pub = &rv->pub;
    int err;

    p->seq = rv->unix_now > pub->seq ? rv->unix_now : pub->seq + 1;
    p->not_after = (uint32_t)(cv_rv_unix_s(rv) + CV_POINTER_LIFETIME_S);
    p->node = rv->config.node->pub;
    p->cert = rv->config.cert;
    memcpy(p->box, o->box, sizeof(p->box));
    memcpy(p->salt, o->salt, sizeof(p->salt));
    err =
        cv_pointer_seal(value, len, p, place, rv->config.node, rv->config.rng);
    if (err != CV_OK)
        return err;
    pub->seq = p->seq;
    cv_office_named(o, CV_BYTES(value, *len), p->not_after, rv->now);
    return CV_OK;
}

int cv_rv_seal_pointer(struct cv_rendezvous *rv, struct cv_office *o,
                       const struct cv_place *place,
                       const struct cv_grants *grants, uint8_t grant_flags,
                       const struct cv_candidates *own,
                       uint8_t value[CV_POINTER_MAX], size_t *len)
{
    struct cv_pointer p = {
        .grants = *grants,
        .flags = grant_flags & CV_GRANT_ADMIT ? CV_RECORD_ADMITS : 0,
        .candidates = *own,
        .gates = own->gates,
    };

    return seal_pointer(rv, o, place, &p, value, len);
}

/* Put one pointer under `epoch`. */
static int record_put(struct cv_rendezvous *rv, struct record *r,
                      uint64_t epoch, bool gone)
{
    struct publisher *pub = &rv->pub;
    struct cv_office *o = cv_rv_office_for(rv, epoch);
    struct cv_pointer last = {.grants = pub->grants, .flags = CV_RECORD_GONE};
    uint8_t value[CV_POINTER_MAX];
    size_t len;
    int err;

    record_close(r);
    *r = (struct record){.rv = rv, .used = true};
    cv_place_at(&r->place, &rv->root, epoch);
    err = gone ? seal_pointer(rv, o, &r->place, &last, value, &len)
               : cv_rv_seal_pointer(rv, o, &r->place, &pub->grants,
                                    pub->grant_flags, &pub->own, value, &len);
    if (err != CV_OK) {
        r->used = false;
        return err;
    }
    if (epoch > pub->last_epoch)
        pub->last_epoch = epoch;
    cv_pointer_digest(r->digest, CV_BYTES(value, len));
    r->put = cv_rv_put(rv, &r->place.loc, CV_BYTES(value, len), on_put_done, r);
    if (r->put == 0)
        r->done = true;
    if (rv->config.shelf != NULL)
        rv->config.shelf->store(rv->user, r->place.loc.b, SHELF_TTL_S,
                                CV_BYTES(value, len));
    return CV_OK;
}

/* Under e, and under e + 1 at e's end; that one has the higher sequence. */
static int records_put(struct cv_rendezvous *rv, bool gone)
{
    struct publisher *pub = &rv->pub;
    const uint64_t e = cv_rv_epoch(rv);
    const bool both = cv_epoch_ending(rv->unix_now) || pub->last_epoch > e;
    int err;

    err = record_put(rv, &pub->records[0], e, gone);
    if (err == CV_OK && both)
        err = record_put(rv, &pub->records[1], e + 1, gone);
    else
        record_close(&pub->records[1]);
    return err;
}

static void on_verify_value(void *user, struct cv_bytes value)
{
    struct cv_rendezvous *rv = user;
    struct publisher *pub = &rv->pub;
    uint8_t digest[CV_DIGEST_LEN];

    if (pub->state != PUBLISH_PLACED)
        return;
    cv_pointer_digest(digest, value);
    if (memcmp(digest, pub->records[0].digest, CV_DIGEST_LEN) != 0)
        return;
    pub->failures = 0;
    pub->verify_at = CV_NEVER;
    pub->publish_at = pub->published + REFRESH;
    set_publish_state(rv, PUBLISH_PUBLISHED);
    cv_rv_enter(rv);
    cv_rv_emit(rv, CV_RV_PUBLISHED);
    cv_rv_leave(rv);
}

static void publish_failed(struct cv_rendezvous *rv)
{
    static const cv_time again[] = {5 * CV_SECOND, 10 * CV_SECOND,
                                    20 * CV_SECOND, CV_MINUTE};
    struct publisher *pub = &rv->pub;
    const unsigned i = pub->failures < 3 ? pub->failures : 3;

    pub->failures++;
    pub->verify_at = CV_NEVER;
    pub->publish_at = rv->now + again[i];
    set_publish_state(rv, PUBLISH_FAILED);
    cv_rv_emit(rv, CV_RV_UNPUBLISHED);
}

static void on_verify_done(void *user, bool ok)
{
    struct cv_rendezvous *rv = user;

    (void)ok;
    rv->pub.verify = 0;
    rv->pub.verifying = false;
    if (rv->pub.state != PUBLISH_PLACED)
        return;
    if (rv->now - rv->pub.published < VERIFY_AFTER + VERIFY_FOR) {
        rv->pub.verify_at = rv->now + VERIFY_AFTER;
        return;
    }
    cv_rv_enter(rv);
    publish_failed(rv);
    cv_rv_leave(rv);
}

static void publish_now(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;

    cv_rv_cancel(rv, &pub->verify);
    pub->verifying = false;
    pub->published = rv->now;
    set_publish_state(rv, PUBLISH_PLACED);
    pub->publish_at = CV_NEVER;
    pub->verify_at = rv->now + VERIFY_AFTER;
    if (records_put(rv, false) != CV_OK)
        publish_failed(rv);
}

/* The get that reads our own pointer back, and its end. */
static void verify_step(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;

    if (pub->state != PUBLISH_PLACED || rv->now < pub->verify_at)
        return;
    if (pub->verifying) {
        cv_rv_cancel(rv, &pub->verify);
        pub->verifying = false;
        publish_failed(rv);
        return;
    }
    pub->verifying = true;
    pub->verify_at = rv->now + VERIFY_FOR;
    pub->verify = cv_rv_get(rv, &pub->records[0].place.loc, on_verify_value,
                            on_verify_done, rv);
}

/* A flood, or a full office: say other slots and another key. */
static void rotate_step(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;
    const uint64_t e = cv_rv_epoch(rv);

    if (rv->now < pub->rotated)
        return;
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        const struct cv_office *o = &rv->inbox.offices[i];

        if (!o->open || o->epoch < e || !cv_inbox_flooded(&rv->inbox, o))
            continue;
        cv_warn(rv->config.log, "rendezvous: inbox flooded, moving it");
        pub->rotated = rv->now + ROTATE_EVERY;
        cv_rv_offices_move(rv);
        rv->inbox.junk = 0;
        set_publish_state(rv, PUBLISH_DUE);
        pub->publish_at = rv->now;
        return;
    }
}

void cv_rv_publish_step(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;
    const uint64_t e = cv_rv_epoch(rv);

    switch (pub->state) {
    case PUBLISH_OFF:
        return;
    case PUBLISH_LEAVING:
        if (rv->now >= pub->leave_at || last_words_said(pub))
            left(rv);
        return;
    case PUBLISH_DUE:
    case PUBLISH_PLACED:
    case PUBLISH_PUBLISHED:
    case PUBLISH_FAILED:
        break;
    }
    rotate_step(rv);
    /* A new epoch, or the end of one. */
    if (pub->state != PUBLISH_DUE &&
        (pub->last_epoch < e ||
         (pub->last_epoch == e && cv_epoch_ending(rv->unix_now)))) {
        set_publish_state(rv, PUBLISH_DUE);
        pub->publish_at = rv->now;
    }
    if (rv->now >= pub->publish_at)
        publish_now(rv);
    if (!rv->freed)
        verify_step(rv);
}

/* When may a change go out? */
static cv_time change_time(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;

    while (pub->changes < PUBLISH_BURST &&
           rv->now - pub->changes_at >= PUBLISH_RATE_TIME) {
        pub->changes++;
        pub->changes_at += PUBLISH_RATE_TIME;
    }
    if (pub->changes == PUBLISH_BURST)
        pub->changes_at = rv->now;
    if (pub->changes > 0) {
        pub->changes--;
        return pub->published + PUBLISH_GAP;
    }
    pub->changes_at += PUBLISH_RATE_TIME; /* the next token, before it comes */
    return pub->changes_at;
}

int cv_rendezvous_publish(struct cv_rendezvous *rv,
                          const struct cv_grants *grants,
                          const struct cv_candidates *own)
{
    struct publisher *pub = &rv->pub;
    enum cv_role role;
    uint8_t flags;

    if (cv_grants_verify(grants, &rv->config.session, &rv->config.cert.identity,
                         cv_rv_unix_s(rv), &role, &flags) != CV_OK)
        return CV_ERR_AUTH;
    pub->grants = *grants;
    pub->grant_flags = flags;
    pub->own = *own;
    cv_rv_enter(rv);
    if (pub->state == PUBLISH_LEAVING)
        left(rv);
    if (rv->freed) {
        cv_rv_leave(rv);
        return CV_OK;
    }
    if (pub->state == PUBLISH_OFF) {
        pub->changes = PUBLISH_BURST;
        pub->changes_at = rv->now;
        pub->publish_at = rv->now;
    } else if (pub->state != PUBLISH_DUE) {
        pub->publish_at = change_time(rv);
    }
    set_publish_state(rv, PUBLISH_DUE);
    cv_rv_leave(rv);
    return CV_OK;
}

void cv_rendezvous_withdraw(struct cv_rendezvous *rv, void (*done)(void *user),
                            void *user)
{
    struct publisher *pub = &rv->pub;
    const bool said = pub->last_epoch != 0;

    cv_rv_enter(rv);
    pub->left = done;
    pub->left_user = user;
    pub->leave_at = rv->now + LEAVE_FOR;
    cv_rv_cancel(rv, &pub->verify);
    pub->verifying = false;
    if (pub->state != PUBLISH_OFF && pub->state != PUBLISH_LEAVING && said)
        (void)records_put(rv, true); /* else nothing is left but to wait */
    cv_rv_offices_close(rv);
    set_publish_state(rv, PUBLISH_LEAVING);
    pub->last_epoch = 0;
    cv_rv_leave(rv);
}

cv_time cv_rv_publish_deadline(const struct cv_rendezvous *rv)
{
    const struct publisher *pub = &rv->pub;

    switch (pub->state) {
    case PUBLISH_OFF:
        return CV_NEVER;
    case PUBLISH_LEAVING:
        return last_words_said(pub) ? rv->now : pub->leave_at;
    case PUBLISH_PLACED:
        return cv_time_min(pub->verify_at, rv->now + TICK);
    case PUBLISH_DUE:
    case PUBLISH_PUBLISHED:
    case PUBLISH_FAILED:
        return cv_time_min(pub->publish_at, rv->now + TICK);
    }
    return CV_NEVER;
}

void cv_rv_publish_close(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < 2; i++)
        record_close(&rv->pub.records[i]);
    cv_rv_cancel(rv, &rv->pub.verify);
}
