/* Three machines beside each other, on one table of timers:
 *
 *   search   listens at the places of e, and after a second of e - 1 and
 *            e + 1 (clocks differ); while nothing is found it also gets at 10,
 *            20, 60 s and then every minute, later every five minutes, for a
 *            listen can be lost.
 *   publish  OFF -> DUE -> PLACED -> (PUBLISHED | FAILED), and back to DUE
 *            every five minutes, on change, in the last five minutes of an
 *            epoch and when a new one begins; a get 2 s after the put says
 *            which; FAILED is DUE again after 5, 10, 20, 60 s.  LEAVING puts
 *            the last pointer, for at most 2 s.
 *   knocks   one an attempt of ours: at once, in the next slot after 1 s, then
 *            at 10, 20, 60 s and every minute; answers end the repeating.
 *
 * Values come between two steps, at the time of the last one; the deadline is
 * never more than a tick away while anything is listened to, so that this time
 * is at most a second old. */
#include "discovery/rendezvous.h"

#include "discovery/book.h"
#include "discovery/dht.h"
#include "discovery/inbox.h"
#include "discovery/knock.h"
#include "discovery/location.h"
#include "discovery/pointer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TICK              CV_SECOND
#define NEIGHBOURS_AFTER  CV_SECOND
#define REFRESH           (5 * CV_MINUTE)
#define VERIFY_AFTER      (2 * CV_SECOND)
#define VERIFY_FOR        (10 * CV_SECOND) /* in gets of 2 s or more */
#define LEAVE_FOR         (2 * CV_SECOND)
#define KNOCK_REPEATED    (15 * CV_MINUTE) /* and then only listened for */
#define KNOCK_LIFE        CV_HOUR
#define ATTEMPT_LIFE      CV_HOUR
#define ANSWER_AGAIN      (5 * CV_SECOND)
#define ROTATE_EVERY      CV_MINUTE
#define PUBLISH_RATE_TIME (10 * CV_SECOND) /* one change in that long … */
#define PUBLISH_BURST     4                /* … after these at once */
#define PUBLISH_GAP       CV_SECOND        /* changes within it go together */

#define WATCHES 3u  /* e - 1, e, e + 1 */
#define KNOCKS  16u /* attempts of ours at once */

/* A place that we search. */
struct watch {
    struct cv_rendezvous *rv;
    bool used;
    struct cv_place place;
    cv_dht_token listen;
    cv_dht_token get;
    cv_time next_get;
    unsigned gets;
};

/* A slot of an office that we serve. */
struct desk {
    struct cv_rendezvous *rv;
    unsigned office, slot;
    cv_dht_token listen;
};

enum publish_state {
    PUBLISH_OFF,
    PUBLISH_DUE,       /* at `publish_at` */
    PUBLISH_PLACED,    /* put; the get at `verify_at` has not said */
    PUBLISH_PUBLISHED, /* read back; again at `publish_at` */
    PUBLISH_FAILED,    /* not read back; again at `publish_at` */
    PUBLISH_LEAVING,   /* the last pointer is put; until `leave_at` */
};

/* What we put at one place; one for e, one for e + 1. */
struct record {
    struct cv_rendezvous *rv;
    bool used;
    struct cv_place place;
    uint8_t digest[CV_DIGEST_LEN];
    cv_dht_token put;
    bool done; /* the put called back */
};

struct publisher {
    enum publish_state state;
    struct cv_grants grants;
    struct cv_candidates own;
    uint8_t grant_flags;
    uint64_t seq; /* of the last pointer */
    struct record records[2];
    uint64_t last_epoch; /* the latest that a pointer lies under */
    cv_time publish_at;
    cv_time published; /* when the last was put */
    cv_time verify_at;
    cv_dht_token verify;
    bool verifying;
    unsigned failures;
    unsigned changes; /* tokens of the rate limit above */
    cv_time changes_at;
    cv_time leave_at;
    void (*left)(void *user);
    void *left_user;
    cv_time rotated;
};

/* An attempt of ours. */
struct knocking {
    struct cv_rendezvous *rv;
    bool used;
    struct cv_contact contact;
    uint8_t req_id[CV_REQ_ID_LEN];
    uint8_t eph_secret[32];
    uint8_t eph[32];
    /* Of the pointer knocked at; box stays, the others follow newer ones. */
    uint8_t box[32];
    uint8_t salt[CV_INBOX_SALT];
    uint64_t epoch;
    uint64_t ptr_seq;
    uint32_t ptr_not_after;
    uint8_t ptr_digest[CV_DIGEST_LEN];
    unsigned pow_bits;
    char name[CV_NAME_MAX + 1];
    struct cv_grants grants;
    struct cv_candidates own;
    unsigned slot;
    unsigned said; /* times; index of the schedule */
    bool eph_used; /* the attempt's own eph has sealed a knock */
    cv_time started;
    cv_time next;
    bool answered;
    uint32_t counter; /* of the last answer */
    struct cv_reply reply;
    cv_dht_token listen;
    cv_dht_token get; /* with each repetition, for a listen can be lost */
    uint8_t bad[8][CV_DIGEST_LEN]; /* the last that were dropped */
    unsigned n_bad;
    cv_dht_token puts[CV_INBOX_SLOTS];
};

struct cv_rendezvous {
    struct cv_rendezvous_config config;
    struct cv_rendezvous_events events;
    void *user;
    struct cv_root root;
    cv_time now;
    cv_unix_ms unix_now;
    bool stepped;
    unsigned depth; /* calls in progress that touch this afterwards */
    bool freed;     /* … and then free it */
    struct cv_rendezvous_counters counters;

    bool searching;
    bool found;
    cv_time search_began;
    struct watch watches[WATCHES];
    struct cv_book book;

    struct publisher pub;
    struct cv_inbox inbox;
    struct desk desks[CV_OFFICES][CV_INBOX_SLOTS];

    struct knocking knocks[KNOCKS];
};

static void release(struct cv_rendezvous *rv);

/* Around everything that may call back: the callback may free us. */
static void enter(struct cv_rendezvous *rv)
{
    rv->depth++;
}

static void leave(struct cv_rendezvous *rv)
{
    if (--rv->depth == 0 && rv->freed)
        release(rv);
}

static uint64_t unix_s(const struct cv_rendezvous *rv)
{
    return rv->unix_now / 1000;
}

static uint64_t epoch_now(const struct cv_rendezvous *rv)
{
    return cv_epoch_at(rv->unix_now);
}

/* --- the DHT -------------------------------------------------------------- */

static cv_dht_token dht_put(struct cv_rendezvous *rv, const struct cv_loc *loc,
                            struct cv_bytes value, cv_dht_done_fn done,
                            void *user)
{
    return rv->config.dht->ops->put(rv->config.dht, loc, value, done, user);
}

static cv_dht_token dht_get(struct cv_rendezvous *rv, const struct cv_loc *loc,
                            cv_dht_value_fn value, cv_dht_done_fn done,
                            void *user)
{
    return rv->config.dht->ops->get(rv->config.dht, loc, value, done, user);
}

static cv_dht_token dht_listen(struct cv_rendezvous *rv,
                               const struct cv_loc *loc, cv_dht_value_fn value,
                               void *user)
{
    return rv->config.dht->ops->listen(rv->config.dht, loc, value, user);
}

static void dht_cancel(struct cv_rendezvous *rv, cv_dht_token *token)
{
    const cv_dht_token t = *token;

    *token = 0;
    if (t != 0)
        rv->config.dht->ops->cancel(rv->config.dht, t);
}

/* --- events --------------------------------------------------------------- */

static void emit_stage(struct cv_rendezvous *rv, enum cv_rendezvous_stage stage)
{
    if (!rv->freed && rv->events.stage != NULL)
        rv->events.stage(rv->user, stage);
}

/* --- search --------------------------------------------------------------- */

static struct knocking *knock_of(struct cv_rendezvous *rv,
                                 const struct cv_key *node)
{
    for (unsigned i = 0; i < KNOCKS; i++) {
        if (rv->knocks[i].used &&
            cv_key_equal(&rv->knocks[i].contact.node, node))
            return &rv->knocks[i];
    }
    return NULL;
}

/* Take over what a newer pointer says, if our attempt can go on with it. */
static void knock_follow(struct knocking *k, const struct cv_book_entry *e)
{
    if (!cv_equal(k->box, e->p.box, sizeof(k->box)))
        return;
    memcpy(k->salt, e->p.salt, sizeof(k->salt));
    memcpy(k->ptr_digest, e->digest, sizeof(k->ptr_digest));
    k->ptr_seq = e->p.seq;
    k->ptr_not_after = e->p.not_after;
    k->epoch = e->epoch;
}

/* Has the inbox that we knock at closed?  With a new epoch there is another
 * one beside it, which is no reason; a flood moves it, time ends it. */
static bool knock_is_late(const struct cv_rendezvous *rv,
                          const struct knocking *k,
                          const struct cv_book_entry *e)
{
    return !k->answered && !cv_equal(k->box, e->p.box, sizeof(k->box)) &&
           (k->epoch == e->epoch || k->ptr_not_after < unix_s(rv));
}

static void report_pointer(struct cv_rendezvous *rv,
                           const struct cv_book_entry *e)
{
    struct knocking *k = knock_of(rv, &e->p.node);
    struct cv_pointer_info info = {
        .node = e->p.node,
        .identity = e->p.cert.identity,
        .role = e->role,
        .admits = e->admits,
        .gone = e->p.flags & CV_RECORD_GONE,
        .seq = e->p.seq,
        .not_after = e->p.not_after,
        .candidates = e->p.candidates,
    };
    char who[9];

    cv_debug(rv->config.log, "rendezvous: pointer, node=%s %s candidates=%u",
             cv_key_short(&e->p.node, who), info.gone ? "gone" : "living",
             info.candidates.n);
    if (k != NULL) {
        info.knock_again = knock_is_late(rv, k, e);
        knock_follow(k, e);
    }
    if (!rv->freed && rv->events.pointer != NULL)
        rv->events.pointer(rv->user, &info);
    if (!info.gone && !rv->found) {
        rv->found = true;
        emit_stage(rv, CV_RV_FOUND);
    }
}

static void on_pointer_value(void *user, struct cv_bytes value)
{
    struct watch *w = user;
    struct cv_rendezvous *rv = w->rv;
    struct cv_rendezvous_counters *n = &rv->counters;
    struct cv_book_entry *e;
    int err;

    err = cv_book_take(&rv->book, &w->place, value, rv->now, unix_s(rv), &e);
    switch (err) {
    case CV_OK:
        n->pointers_ok++;
        enter(rv);
        report_pointer(rv, e);
        leave(rv);
        return;
    case CV_ERR_EXISTS:
    case CV_ERR_LIMIT: /* it comes again with the next get */
        return;
    case CV_ERR_FORMAT:
        n->pointers_garbage++;
        break;
    case CV_ERR_EXPIRED:
        n->pointers_expired++;
        break;
    case CV_ERR_REPLAY:
        n->pointers_replayed++;
        break;
    default:
        n->pointers_forged++;
        break;
    }
    cv_debug(rv->config.log, "rendezvous: pointer dropped, why=\"%s\"",
             cv_strerror(err));
}

static void on_pointer_get_done(void *user, bool ok)
{
    struct watch *w = user;

    (void)ok;
    w->get = 0;
}

static void watch_close(struct watch *w)
{
    dht_cancel(w->rv, &w->listen);
    dht_cancel(w->rv, &w->get);
    w->used = false;
}

static struct watch *watch_at(struct cv_rendezvous *rv, uint64_t epoch)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (rv->watches[i].used && rv->watches[i].place.epoch == epoch)
            return &rv->watches[i];
    }
    return NULL;
}

static void watch_open(struct cv_rendezvous *rv, uint64_t epoch)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        struct watch *w = &rv->watches[i];

        if (w->used)
            continue;
        *w = (struct watch){.rv = rv, .used = true, .next_get = rv->now};
        cv_place_at(&w->place, &rv->root, epoch);
        return;
    }
    assert(false); /* three watches, three epochs */
}

static cv_time get_interval(const struct cv_rendezvous *rv, unsigned gets)
{
    static const cv_time searching[] = {10 * CV_SECOND, 10 * CV_SECOND,
                                        40 * CV_SECOND};

    if (rv->found)
        return REFRESH;
    return gets < 3 ? searching[gets] : CV_MINUTE;
}

static void watch_step(struct watch *w)
{
    struct cv_rendezvous *rv = w->rv;

    if (w->listen == 0)
        w->listen = dht_listen(rv, &w->place.loc, on_pointer_value, w);
    if (!w->used || rv->freed || rv->now < w->next_get)
        return;
    dht_cancel(rv, &w->get);
    w->get =
        dht_get(rv, &w->place.loc, on_pointer_value, on_pointer_get_done, w);
    w->next_get = rv->now + get_interval(rv, w->gets++);
}

static void search_step(struct cv_rendezvous *rv)
{
    const uint64_t e = epoch_now(rv);

    for (unsigned i = 0; i < WATCHES; i++) {
        struct watch *w = &rv->watches[i];

        if (w->used && (!rv->searching || w->place.epoch + 1 < e ||
                        w->place.epoch > e + 1))
            watch_close(w);
    }
    if (!rv->searching)
        return;
    if (watch_at(rv, e) == NULL)
        watch_open(rv, e);
    if (rv->now - rv->search_began >= NEIGHBOURS_AFTER) {
        if (e > 0 && watch_at(rv, e - 1) == NULL)
            watch_open(rv, e - 1);
        if (watch_at(rv, e + 1) == NULL)
            watch_open(rv, e + 1);
    }
    for (unsigned i = 0; i < WATCHES && !rv->freed; i++) {
        if (rv->watches[i].used)
            watch_step(&rv->watches[i]);
    }
}

void cv_rendezvous_search(struct cv_rendezvous *rv, bool on)
{
    if (on == rv->searching)
        return;
    rv->searching = on;
    rv->found = false;
    rv->search_began = rv->now;
    enter(rv);
    if (on)
        emit_stage(rv, CV_RV_SEARCHING);
    else
        search_step(rv);
    leave(rv);
}

/* --- our inbox ------------------------------------------------------------ */

static void clean_name(char out[CV_NAME_MAX + 1], const char *in);
static void answer_put(struct cv_rendezvous *rv, struct cv_attempt *a);

/* Is the grant that was carried by S, or by a member whose chain we know? */
static bool grant_holds(struct cv_rendezvous *rv, const struct cv_knock *k)
{
    const struct cv_grants none = {0};
    enum cv_role role;
    uint8_t flags;

    if (k->proof != CV_PROOF_GRANT)
        return false;
    for (unsigned i = 0; i < CV_BOOK_NODES + 2; i++) {
        const struct cv_grants *parent = &none;
        struct cv_grants chain;

        if (i == 1) {
            parent = &rv->pub.grants;
        } else if (i > 1) {
            const struct cv_book_entry *e = &rv->book.entries[i - 2];

            if (!e->used)
                continue;
            parent = &e->p.grants;
        }
        /* Only a chain that ends with its issuer is worth the signatures. */
        if (parent->n > 0
                ? !cv_key_equal(&parent->chain[parent->n - 1].subject,
                                &k->grant.issuer)
                : !cv_key_equal(&rv->config.session, &k->grant.issuer))
            continue;
        if (parent->n >= CV_GRANT_CHAIN_MAX)
            continue;
        chain = *parent;
        chain.chain[chain.n++] = k->grant;
        if (cv_grants_verify(&chain, &rv->config.session, &k->cert.identity,
                             unix_s(rv), &role, &flags) == CV_OK)
            return true;
    }
    return false;
}

static void report_knock(struct cv_rendezvous *rv, const struct cv_knock *k,
                         const struct cv_attempt *a, bool is_update)
{
    struct cv_knock_info info = {
        .contact = {.node = a->node,
                    .identity = a->identity,
                    .knocked = false,
                    .peer = k->candidates},
        .has_grant = grant_holds(rv, k),
        .is_update = is_update,
    };
    char who[9];

    memcpy(info.contact.attempt, a->req_id, sizeof(info.contact.attempt));
    memcpy(info.contact.shared, a->shared, sizeof(info.contact.shared));
    clean_name(info.name, k->name);
    cv_debug(rv->config.log, "rendezvous: knock, node=%s update=%d grant=%d",
             cv_key_short(&a->node, who), is_update, info.has_grant);
    if (!rv->freed && rv->events.knock != NULL)
        rv->events.knock(rv->user, &info);
    cv_wipe(&info, sizeof(info));
}

static void on_knock_value(void *user, struct cv_bytes value)
{
    const struct desk *desk = user;
    struct cv_rendezvous *rv = desk->rv;
    struct cv_office *o = &rv->inbox.offices[desk->office];
    struct cv_rendezvous_counters *n = &rv->counters;
    struct cv_attempt *a;
    struct cv_knock k;
    bool is_update;
    int err;

    err = cv_inbox_take(&rv->inbox, o, desk->slot, value, rv->now, unix_s(rv),
                        &k, &a, &is_update);
    switch (err) {
    case CV_OK:
        n->knocks_ok++;
        enter(rv);
        report_knock(rv, &k, a, is_update);
        leave(rv);
        return;
    case CV_ERR_EXISTS:
        return;
    case CV_ERR_FORMAT:
        n->knocks_garbage++;
        break;
    case CV_ERR_NOTFOUND:
    case CV_ERR_EXPIRED:
        n->knocks_stale++;
        break;
    case CV_ERR_REPLAY:
        n->knocks_replayed++;
        /* It may be said again because our answer got lost. */
        if (a != NULL && a->counter > 0 && rv->now - a->answered > ANSWER_AGAIN)
            answer_put(rv, a);
        break;
    case CV_ERR_LIMIT:
        n->knocks_limited++;
        break;
    default:
        n->knocks_forged++;
        break;
    }
    cv_debug(rv->config.log, "rendezvous: knock dropped, why=\"%s\"",
             cv_strerror(err));
}

static void office_close(struct cv_rendezvous *rv, unsigned i)
{
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
        dht_cancel(rv, &rv->desks[i][s].listen);
    cv_office_close(&rv->inbox.offices[i]);
}

static struct cv_office *office_for(struct cv_rendezvous *rv, uint64_t epoch)
{
    struct cv_office *o = cv_inbox_office(&rv->inbox, epoch);
    unsigned at = 0;

    if (o != NULL)
        return o;
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        const struct cv_office *place = &rv->inbox.offices[i];

        if (!place->open) {
            at = i;
            break;
        }
        if (place->epoch < rv->inbox.offices[at].epoch)
            at = i;
    }
    if (rv->inbox.offices[at].open)
        office_close(rv, at);
    return cv_inbox_open(&rv->inbox, &rv->inbox.offices[at], epoch,
                         rv->config.rng);
}

static void inbox_step(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        struct cv_office *o = &rv->inbox.offices[i];

        if (!o->open)
            continue;
        if (o->not_after + CV_CLOCK_SLACK_S < unix_s(rv)) {
            office_close(rv, i);
            continue;
        }
        for (unsigned s = 0; s < CV_INBOX_SLOTS && !rv->freed; s++) {
            struct desk *d = &rv->desks[i][s];

            if (d->listen == 0)
                d->listen = dht_listen(rv, &o->loc[s], on_knock_value, d);
        }
    }
    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++) {
        struct cv_attempt *a = &rv->inbox.attempts[i];

        if (!a->used || rv->now - a->at < ATTEMPT_LIFE)
            continue;
        dht_cancel(rv, &a->put);
        cv_wipe(a, sizeof(*a));
    }
}

static void answer_put(struct cv_rendezvous *rv, struct cv_attempt *a)
{
    struct cv_reply reply;

    cv_reply_of(&reply, a->shared);
    dht_cancel(rv, &a->put);
    a->answered = rv->now;
    a->put = dht_put(rv, &reply.loc, CV_BYTES(a->answer, sizeof(a->answer)),
                     NULL, NULL);
    cv_wipe(&reply, sizeof(reply));
}

int cv_rendezvous_answer(struct cv_rendezvous *rv, const uint8_t attempt[8],
                         enum cv_verdict verdict,
                         const struct cv_candidates *own)
{
    struct cv_attempt *a = cv_inbox_attempt(&rv->inbox, attempt);
    struct cv_answer answer = {.verdict = (uint8_t)verdict};
    struct cv_reply reply;
    int err;

    if (a == NULL)
        return CV_ERR_NOTFOUND;
    memcpy(answer.req_id, a->req_id, sizeof(answer.req_id));
    answer.counter = a->counter + 1;
    if (own != NULL)
        answer.candidates = *own;
    cv_reply_of(&reply, a->shared);
    err = cv_answer_seal(a->answer, &answer, &reply, a->eph, a->box,
                         rv->config.node);
    cv_wipe(&reply, sizeof(reply));
    a->counter++; /* never sealed with twice, whatever happened */
    if (err != CV_OK)
        return err;
    answer_put(rv, a);
    return CV_OK;
}

/* --- publish -------------------------------------------------------------- */

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
        dht_cancel(r->rv, &r->put);
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
    enter(rv);
    left(rv);
    leave(rv);
}

/* Put one pointer under `epoch`. */
static int record_put(struct cv_rendezvous *rv, struct record *r,
                      uint64_t epoch, bool gone)
{
    struct publisher *pub = &rv->pub;
    struct cv_office *o = office_for(rv, epoch);
    uint8_t value[CV_POINTER_MAX];
    struct cv_pointer p = {
        .seq = rv->unix_now > pub->seq ? rv->unix_now : pub->seq + 1,
        .not_after = (uint32_t)(unix_s(rv) + CV_POINTER_LIFETIME_S),
        .node = rv->config.node->pub,
        .cert = rv->config.cert,
        .grants = pub->grants,
        .flags =
            gone ? CV_RECORD_GONE
                 : (pub->grant_flags & CV_GRANT_ADMIT ? CV_RECORD_ADMITS : 0),
    };
    size_t len;
    int err;

    if (!gone)
        p.candidates = pub->own;
    memcpy(p.box, o->box, sizeof(p.box));
    memcpy(p.salt, o->salt, sizeof(p.salt));
    record_close(r);
    *r = (struct record){.rv = rv, .used = true};
    cv_place_at(&r->place, &rv->root, epoch);
    err = cv_pointer_seal(value, &len, &p, &r->place, rv->config.node,
                          rv->config.rng);
    if (err != CV_OK) {
        r->used = false;
        return err;
    }
    pub->seq = p.seq;
    if (epoch > pub->last_epoch)
        pub->last_epoch = epoch;
    cv_office_named(o, CV_BYTES(value, len), p.not_after, rv->now);
    cv_pointer_digest(r->digest, CV_BYTES(value, len));
    r->put = dht_put(rv, &r->place.loc, CV_BYTES(value, len), on_put_done, r);
    if (r->put == 0)
        r->done = true;
    return CV_OK;
}

/* Under e, and under e + 1 at e's end; that one has the higher sequence. */
static int records_put(struct cv_rendezvous *rv, bool gone)
{
    struct publisher *pub = &rv->pub;
    const uint64_t e = epoch_now(rv);
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
    enter(rv);
    emit_stage(rv, CV_RV_PUBLISHED);
    leave(rv);
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
    emit_stage(rv, CV_RV_UNPUBLISHED);
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
    enter(rv);
    publish_failed(rv);
    leave(rv);
}

static void publish_now(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;

    dht_cancel(rv, &pub->verify);
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
        dht_cancel(rv, &pub->verify);
        pub->verifying = false;
        publish_failed(rv);
        return;
    }
    pub->verifying = true;
    pub->verify_at = rv->now + VERIFY_FOR;
    pub->verify = dht_get(rv, &pub->records[0].place.loc, on_verify_value,
                          on_verify_done, rv);
}

/* A flood, or a full office: say other slots and another key. */
static void rotate_step(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;
    const uint64_t e = epoch_now(rv);

    if (rv->now < pub->rotated)
        return;
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        const struct cv_office *o = &rv->inbox.offices[i];

        if (!o->open || o->epoch < e || !cv_inbox_flooded(&rv->inbox, o))
            continue;
        cv_warn(rv->config.log, "rendezvous: inbox flooded, moving it");
        pub->rotated = rv->now + ROTATE_EVERY;
        for (unsigned j = 0; j < CV_OFFICES; j++) {
            if (rv->inbox.offices[j].open)
                office_close(rv, j);
        }
        rv->inbox.junk = 0;
        set_publish_state(rv, PUBLISH_DUE);
        pub->publish_at = rv->now;
        return;
    }
}

static void publish_step(struct cv_rendezvous *rv)
{
    struct publisher *pub = &rv->pub;
    const uint64_t e = epoch_now(rv);

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
                         unix_s(rv), &role, &flags) != CV_OK)
        return CV_ERR_AUTH;
    pub->grants = *grants;
    pub->grant_flags = flags;
    pub->own = *own;
    enter(rv);
    if (pub->state == PUBLISH_LEAVING)
        left(rv);
    if (rv->freed) {
        leave(rv);
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
    leave(rv);
    return CV_OK;
}

void cv_rendezvous_withdraw(struct cv_rendezvous *rv, void (*done)(void *user),
                            void *user)
{
    struct publisher *pub = &rv->pub;
    const bool said = pub->last_epoch != 0;

    enter(rv);
    pub->left = done;
    pub->left_user = user;
    pub->leave_at = rv->now + LEAVE_FOR;
    dht_cancel(rv, &pub->verify);
    pub->verifying = false;
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        if (!rv->inbox.offices[i].open)
            continue;
        for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
            dht_cancel(rv, &rv->desks[i][s].listen);
    }
    if (pub->state != PUBLISH_OFF && pub->state != PUBLISH_LEAVING && said)
        (void)records_put(rv, true); /* else nothing is left but to wait */
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        if (rv->inbox.offices[i].open)
            office_close(rv, i);
    }
    set_publish_state(rv, PUBLISH_LEAVING);
    pub->last_epoch = 0;
    leave(rv);
}

/* --- our knocks ----------------------------------------------------------- */

static bool answer_was_bad(const struct knocking *k, struct cv_bytes value)
{
    uint8_t digest[CV_DIGEST_LEN];

    cv_pointer_digest(digest, value);
    for (unsigned i = 0; i < k->n_bad && i < 8; i++) {
        if (memcmp(k->bad[i], digest, sizeof(digest)) == 0)
            return true;
    }
    return false;
}

static void answer_is_bad(struct knocking *k, struct cv_bytes value)
{
    cv_pointer_digest(k->bad[k->n_bad++ % 8], value);
}

static void on_answer_value(void *user, struct cv_bytes value)
{
    struct knocking *k = user;
    struct cv_rendezvous *rv = k->rv;
    struct cv_answer_info info;
    struct cv_answer_raw raw;
    struct cv_answer a = {0};
    char who[9];
    int err;

    /* The DHT delivers everything more than once. */
    if (answer_was_bad(k, value))
        return;
    err = cv_answer_open(&a, &raw, &k->reply, value);
    if (err == CV_OK && a.counter <= k->counter)
        return;
    if (err == CV_OK && memcmp(a.req_id, k->req_id, CV_ATTEMPT_ID_LEN) != 0)
        err = CV_ERR_AUTH;
    if (err == CV_OK)
        err = cv_answer_verify(&a, &raw, k->eph, k->box, &k->contact.node);
    if (err != CV_OK) {
        answer_is_bad(k, value);
        rv->counters.answers_bad++;
        cv_debug(rv->config.log, "rendezvous: answer dropped, why=\"%s\"",
                 cv_strerror(err));
        return;
    }
    rv->counters.answers_ok++;
    k->counter = a.counter;
    k->answered = true;
    k->next = CV_NEVER;
    if (a.candidates.n > 0)
        k->contact.peer = a.candidates;
    info.contact = k->contact;
    info.verdict = (enum cv_verdict)a.verdict;
    cv_debug(rv->config.log, "rendezvous: answer, node=%s verdict=%u",
             cv_key_short(&k->contact.node, who), a.verdict);
    enter(rv);
    if (!rv->freed && rv->events.answer != NULL)
        rv->events.answer(rv->user, &info);
    leave(rv);
    cv_wipe(&info, sizeof(info));
}

static void knock_close(struct knocking *k)
{
    struct cv_rendezvous *rv = k->rv;

    dht_cancel(rv, &k->listen);
    dht_cancel(rv, &k->get);
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
        dht_cancel(rv, &k->puts[s]);
    cv_wipe(k, sizeof(*k));
}

/* Say it in the present slot: the first time under the attempt's eph, later
 * under one of its own. */
static int knock_say(struct knocking *k)
{
    struct cv_rendezvous *rv = k->rv;
    struct cv_knock knock = {
        .ptr_seq = k->ptr_seq,
        .node = rv->config.node->pub,
        .cert = rv->config.cert,
        .again = k->eph_used,
        .candidates = k->own,
    };
    uint8_t value[CV_KNOCK_BYTES], secret[32];
    struct cv_loc inbox;
    int err;

    memcpy(knock.req_id, k->req_id, sizeof(knock.req_id));
    memcpy(knock.ptr_digest, k->ptr_digest, sizeof(knock.ptr_digest));
    memcpy(knock.first_eph, k->eph, sizeof(knock.first_eph));
    memcpy(knock.name, k->name, sizeof(knock.name));
    if (k->grants.n > 0) {
        knock.proof = CV_PROOF_GRANT;
        knock.grant = k->grants.chain[k->grants.n - 1];
    }
    memcpy(secret, k->eph_secret, sizeof(secret));
    if (k->eph_used)
        cv_random(rv->config.rng, secret, sizeof(secret));
    k->eph_used = true;
    cv_inbox_loc(&inbox, &rv->root, k->epoch, &k->contact.node, k->salt,
                 k->slot);
    err = cv_knock_seal(value, &knock, &inbox, secret, k->box, rv->config.node,
                        k->pow_bits);
    cv_wipe(secret, sizeof(secret));
    if (err != CV_OK)
        return err;
    dht_cancel(rv, &k->puts[k->slot]);
    k->puts[k->slot] =
        dht_put(rv, &inbox, CV_BYTES(value, sizeof(value)), NULL, NULL);
    return CV_OK;
}

static void knock_step(struct knocking *k)
{
    /* From the start: 1, 10, 20, 60 s, then every minute. */
    static const cv_time at[] = {CV_SECOND, 10 * CV_SECOND, 20 * CV_SECOND,
                                 60 * CV_SECOND};
    struct cv_rendezvous *rv = k->rv;

    if (rv->now - k->started > KNOCK_LIFE) {
        knock_close(k);
        return;
    }
    if (k->listen == 0)
        k->listen = dht_listen(rv, &k->reply.loc, on_answer_value, k);
    if (!k->used || k->answered || rv->now < k->next)
        return;
    if (rv->now - k->started > KNOCK_REPEATED) {
        k->next = CV_NEVER;
        return;
    }
    k->slot = (k->slot + 1) % CV_INBOX_SLOTS;
    k->said++;
    k->next = k->said < 4 ? k->started + at[k->said] : rv->now + CV_MINUTE;
    dht_cancel(rv, &k->get);
    k->get = dht_get(rv, &k->reply.loc, on_answer_value, NULL, k);
    (void)knock_say(k);
}

static int knock_begin(struct knocking *k, struct cv_rendezvous *rv,
                       const struct cv_book_entry *e)
{
    int err;

    memset(k, 0, sizeof(*k));
    k->rv = rv;
    cv_random(rv->config.rng, k->req_id, sizeof(k->req_id));
    cv_random(rv->config.rng, k->eph_secret, sizeof(k->eph_secret));
    cv_x25519_public(k->eph, k->eph_secret);
    memcpy(k->box, e->p.box, sizeof(k->box));
    err = cv_x25519(k->contact.shared, k->eph_secret, k->box);
    if (err != CV_OK)
        return err;
    cv_reply_of(&k->reply, k->contact.shared);
    k->contact.node = e->p.node;
    k->contact.identity = e->p.cert.identity;
    k->contact.knocked = true;
    memcpy(k->contact.attempt, k->req_id, sizeof(k->contact.attempt));
    k->contact.peer = e->p.candidates;
    k->slot = cv_inbox_slot(&rv->config.node->pub);
    k->used = true;
    return CV_OK;
}

int cv_rendezvous_knock(struct cv_rendezvous *rv, const struct cv_key *node,
                        const char *name, const struct cv_grants *grants,
                        const struct cv_candidates *own,
                        struct cv_contact *contact)
{
    struct cv_book_entry *e = cv_book_living(&rv->book, node, unix_s(rv));
    struct knocking *k = knock_of(rv, node);
    unsigned pow_bits;
    int err;

    if (e == NULL)
        return CV_ERR_NOTFOUND;
    pow_bits = (e->p.flags & CV_RECORD_POW_MASK) >> CV_RECORD_POW_SHIFT;
    if (pow_bits > CV_KNOCK_POW_MAX)
        return CV_ERR_UNSUPPORTED;
    if (k != NULL && !cv_equal(k->box, e->p.box, sizeof(k->box))) {
        knock_close(k);
        k = NULL;
    }
    if (k == NULL) {
        for (unsigned i = 0; i < KNOCKS && k == NULL; i++) {
            if (!rv->knocks[i].used)
                k = &rv->knocks[i];
        }
        if (k == NULL)
            return CV_ERR_LIMIT;
        err = knock_begin(k, rv, e);
        if (err != CV_OK) {
            cv_wipe(k, sizeof(*k));
            return err;
        }
        k->listen = dht_listen(rv, &k->reply.loc, on_answer_value, k);
    } else {
        /* The same attempt, another request. */
        cv_random(rv->config.rng, k->req_id + CV_ATTEMPT_ID_LEN,
                  CV_REQ_ID_LEN - CV_ATTEMPT_ID_LEN);
    }
    knock_follow(k, e);
    k->pow_bits = pow_bits;
    clean_name(k->name, name != NULL ? name : "");
    k->grants = grants != NULL ? *grants : (struct cv_grants){0};
    k->own = own != NULL ? *own : (struct cv_candidates){0};
    k->started = rv->now;
    k->said = 0;
    k->next = k->answered ? CV_NEVER : rv->now + CV_SECOND;
    err = knock_say(k);
    if (err != CV_OK) {
        knock_close(k);
        return err;
    }
    *contact = k->contact;
    return CV_OK;
}

void cv_rendezvous_stop_knocking(struct cv_rendezvous *rv,
                                 const struct cv_key *node)
{
    struct knocking *k = knock_of(rv, node);

    if (k != NULL)
        knock_close(k);
}

/* --- names ---------------------------------------------------------------- */

/* Control characters, and those that turn the direction of the text around. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
           c == 0x061c || c == 0x200e || c == 0x200f;
}

static size_t utf8_len(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static uint32_t utf8_code(const uint8_t *s, size_t len)
{
    static const uint8_t mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & mask[len];

    for (size_t i = 1; i < len; i++)
        c = c << 6 | (s[i] & 0x3fu);
    return c;
}

/* At most 32 bytes of whole characters, without controls; empty if it is not
 * UTF-8. */
static void clean_name(char out[CV_NAME_MAX + 1], const char *in)
{
    const size_t n = strlen(in);
    size_t len = 0;

    memset(out, 0, CV_NAME_MAX + 1);
    if (!cv_utf8_valid(in, n))
        return;
    for (size_t i = 0; i < n;) {
        const uint8_t *at = (const uint8_t *)in + i;
        const size_t one = utf8_len(*at);

        i += one;
        if (is_control(utf8_code(at, one)))
            continue;
        if (len + one > CV_NAME_MAX)
            return;
        memcpy(out + len, at, one);
        len += one;
    }
}

/* --- the whole ------------------------------------------------------------ */

int cv_rendezvous_new(struct cv_rendezvous **out,
                      const struct cv_rendezvous_config *config,
                      const struct cv_rendezvous_events *events, void *user)
{
    struct cv_rendezvous *rv = calloc(1, sizeof(*rv));

    if (rv == NULL)
        return CV_ERR_NOMEM;
    rv->config = *config;
    rv->events = *events;
    rv->user = user;
    cv_root_of(&rv->root, &config->session);
    cv_book_init(&rv->book, &config->session, &config->node->pub);
    cv_inbox_init(&rv->inbox, &rv->root, &config->node->pub);
    rv->pub.publish_at = CV_NEVER;
    rv->pub.verify_at = CV_NEVER;
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
            rv->desks[i][s] = (struct desk){.rv = rv, .office = i, .slot = s};
    }
    *out = rv;
    return CV_OK;
}

static void release(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (rv->watches[i].used)
            watch_close(&rv->watches[i]);
    }
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        if (rv->inbox.offices[i].open)
            office_close(rv, i);
    }
    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++)
        dht_cancel(rv, &rv->inbox.attempts[i].put);
    for (unsigned i = 0; i < 2; i++)
        record_close(&rv->pub.records[i]);
    dht_cancel(rv, &rv->pub.verify);
    for (unsigned i = 0; i < KNOCKS; i++) {
        if (rv->knocks[i].used)
            knock_close(&rv->knocks[i]);
    }
    cv_inbox_fini(&rv->inbox);
    cv_wipe(rv, sizeof(*rv));
    free(rv);
}

void cv_rendezvous_free(struct cv_rendezvous *rv)
{
    if (rv == NULL)
        return;
    rv->freed = true;
    if (rv->depth == 0)
        release(rv);
}

cv_time cv_rendezvous_deadline(const struct cv_rendezvous *rv)
{
    const struct publisher *pub = &rv->pub;
    cv_time d = CV_NEVER;
    bool active = rv->searching || pub->state != PUBLISH_OFF;

    if (!rv->stepped)
        return 0;
    if (pub->state == PUBLISH_LEAVING)
        d = last_words_said(pub) ? rv->now : pub->leave_at;
    else if (pub->state == PUBLISH_PLACED)
        d = pub->verify_at;
    else if (pub->state != PUBLISH_OFF)
        d = pub->publish_at;
    for (unsigned i = 0; i < KNOCKS; i++) {
        if (!rv->knocks[i].used)
            continue;
        active = true;
        d = cv_time_min(d, rv->knocks[i].next);
    }
    return active ? cv_time_min(d, rv->now + TICK) : d;
}

void cv_rendezvous_step(struct cv_rendezvous *rv, cv_time now,
                        cv_unix_ms unix_now)
{
    enter(rv);
    if (!rv->stepped) {
        rv->stepped = true;
        rv->search_began = now;
        if (rv->pub.state == PUBLISH_DUE)
            rv->pub.publish_at = now;
    }
    rv->now = now;
    rv->unix_now = unix_now;
    cv_book_expire(&rv->book, unix_s(rv));
    search_step(rv);
    if (!rv->freed)
        publish_step(rv);
    if (!rv->freed)
        inbox_step(rv);
    for (unsigned i = 0; i < KNOCKS && !rv->freed; i++) {
        if (rv->knocks[i].used)
            knock_step(&rv->knocks[i]);
    }
    leave(rv);
}

void cv_rendezvous_counters(const struct cv_rendezvous *rv,
                            struct cv_rendezvous_counters *out)
{
    *out = rv->counters;
}
