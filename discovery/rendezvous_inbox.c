/* Knocks at us, and our answers: one again five seconds after it was given at
 * the earliest, when its knock is repeated. */
#include "discovery/name.h"
#include "discovery/rendezvous_struct.h"

#include <string.h>

#define ATTEMPT_LIFE CV_HOUR
#define ANSWER_AGAIN (5 * CV_SECOND)

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
                             cv_rv_unix_s(rv), &role, &flags) == CV_OK)
            return true;
    }
    return false;
}

void cv_rv_report_knock(struct cv_rendezvous *rv, const struct cv_knock *k,
                        const struct cv_attempt *a, bool is_update,
                        bool by_hand)
{
    struct cv_knock_info info = {
        .contact = {.node = a->node,
                    .identity = a->identity,
                    .knocked = false,
                    .by_hand = by_hand,
                    .peer = k->candidates},
        .has_grant = grant_holds(rv, k),
        .is_update = is_update,
    };
    char who[9];

    info.contact.peer.gates = k->gates;
    memcpy(info.contact.attempt, a->req_id, sizeof(info.contact.attempt));
    memcpy(info.contact.shared, a->shared, sizeof(info.contact.shared));
    cv_name_clean(info.name, k->name);
    cv_debug(rv->config.log, "rendezvous: knock, node=%s update=%d grant=%d",
             cv_key_short(&a->node, who), is_update, info.has_grant);
    if (!rv->freed && rv->events.knock != NULL)
        rv->events.knock(rv->user, &info);
    cv_wipe(&info, sizeof(info));
}

static void answer_put(struct cv_rendezvous *rv, struct cv_attempt *a)
{
    struct cv_reply reply;

    cv_reply_of(&reply, a->shared);
    cv_rv_cancel(rv, &a->put);
    a->answered = rv->now;
    a->put = cv_rv_put(rv, &reply.loc, CV_BYTES(a->answer, sizeof(a->answer)),
                       NULL, NULL);
    cv_wipe(&reply, sizeof(reply));
}

/* What came was taken, or not: count it, and tell of it. */
static int knock_taken(struct cv_rendezvous *rv, int err,
                       const struct cv_inbox_taken *t)
{
    struct cv_rendezvous_counters *n = &rv->counters;
    struct cv_attempt *a = t->attempt;

    switch (err) {
    case CV_OK:
        n->knocks_ok++;
        cv_rv_enter(rv);
        cv_rv_report_knock(rv, &t->knock, a, t->is_update, false);
        cv_rv_leave(rv);
        return CV_OK;
    case CV_ERR_EXISTS:
        return err;
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
    return err;
}

static void on_knock_value(void *user, struct cv_bytes value)
{
    const struct desk *desk = user;
    struct cv_rendezvous *rv = desk->rv;
    struct cv_inbox_taken t;
    const int err =
        cv_inbox_take(&rv->inbox, &rv->inbox.offices[desk->office], desk->slot,
                      value, rv->now, cv_rv_unix_s(rv), &t);

    (void)knock_taken(rv, err, &t);
}

/* The room of an office, unless it is among the first `n`; returns how many
 * there are then. */
static unsigned add_room(uint8_t out[CV_RENDEZVOUS_ROOMS][CV_ROOM_KEY],
                         unsigned n, const struct cv_office *o)
{
    if (!o->open || n == CV_RENDEZVOUS_ROOMS)
        return n;
    for (unsigned i = 0; i < n; i++)
        if (memcmp(out[i], o->room, CV_ROOM_KEY) == 0)
            return n;
    memcpy(out[n], o->room, CV_ROOM_KEY);
    return n + 1;
}

unsigned cv_rendezvous_rooms(const struct cv_rendezvous *rv,
                             uint8_t out[CV_RENDEZVOUS_ROOMS][CV_ROOM_KEY])
{
    unsigned n = 0;

    for (unsigned i = 0; i < CV_OFFICES; i++)
        n = add_room(out, n, &rv->inbox.offices[i]);
    for (unsigned i = 0; i < CV_OFFICES_MOVED; i++)
        n = add_room(out, n, &rv->inbox.moved[i]);
    return n;
}

int cv_rendezvous_take_ring(struct cv_rendezvous *rv,
                            const uint8_t room_key[CV_ROOM_KEY],
                            struct cv_bytes ring)
{
    struct cv_inbox_taken t;
    int err;

    if (ring.len > 0 && ring.data[0] == CV_RING_TOKEN)
        return cv_rv_take_token_ring(rv, ring);
    if (ring.len != 1 + CV_KNOCK_BYTES || ring.data[0] >= CV_INBOX_SLOTS)
        return CV_ERR_FORMAT;
    err = cv_inbox_take_ring(&rv->inbox, room_key, ring.data[0],
                             CV_BYTES(ring.data + 1, ring.len - 1), rv->now,
                             cv_rv_unix_s(rv), &t);
    if (err == CV_ERR_CLOSED)
        return CV_ERR_NOTFOUND; /* the room of another session */
    return knock_taken(rv, err, &t);
}

static void desks_close(struct cv_rendezvous *rv, unsigned i)
{
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
        cv_rv_cancel(rv, &rv->desks[i][s].listen);
}

static void office_close(struct cv_rendezvous *rv, unsigned i)
{
    desks_close(rv, i);
    cv_office_close(&rv->inbox.offices[i]);
}

/* Can no pointer that names it be believed any more? */
static bool is_over(const struct cv_rendezvous *rv, const struct cv_office *o)
{
    return o->not_after + CV_CLOCK_SLACK_S < cv_rv_unix_s(rv);
}

struct cv_office *cv_rv_office_for(struct cv_rendezvous *rv, uint64_t epoch)
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

void cv_rv_inbox_step(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        struct cv_office *o = &rv->inbox.offices[i];

        if (!o->open)
            continue;
        if (is_over(rv, o)) {
            office_close(rv, i);
            continue;
        }
        for (unsigned s = 0; s < CV_INBOX_SLOTS && !rv->freed; s++) {
            struct desk *d = &rv->desks[i][s];

            if (d->listen == 0)
                d->listen = cv_rv_listen(rv, &o->loc[s], on_knock_value, d);
        }
    }
    for (unsigned i = 0; i < CV_OFFICES_MOVED; i++) {
        struct cv_office *o = &rv->inbox.moved[i];

        if (o->open && is_over(rv, o))
            cv_office_close(o);
    }
    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++) {
        struct cv_attempt *a = &rv->inbox.attempts[i];

        if (!a->used || rv->now - a->at < ATTEMPT_LIFE)
            continue;
        cv_rv_cancel(rv, &a->put);
        cv_wipe(a, sizeof(*a));
    }
}

int cv_rendezvous_answer(struct cv_rendezvous *rv, const uint8_t attempt[8],
                         enum cv_verdict verdict,
                         const struct cv_candidates *own)
{
    struct cv_attempt *a = cv_inbox_attempt(&rv->inbox, attempt);
    struct cv_answer answer = {.verdict = (uint8_t)verdict};
    struct cv_reply reply;
    char who[9];
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
    cv_debug(rv->config.log, "rendezvous: answered, node=%s verdict=%u no=%u",
             cv_key_short(&a->node, who), (unsigned)verdict, a->counter);
    answer_put(rv, a);
    return CV_OK;
}

void cv_rv_offices_move(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        if (!rv->inbox.offices[i].open)
            continue;
        desks_close(rv, i);
        cv_inbox_move(&rv->inbox, &rv->inbox.offices[i]);
    }
}

void cv_rv_offices_close(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        if (rv->inbox.offices[i].open)
            office_close(rv, i);
    }
    for (unsigned i = 0; i < CV_OFFICES_MOVED; i++)
        cv_office_close(&rv->inbox.moved[i]);
}

void cv_rv_inbox_close(struct cv_rendezvous *rv)
{
    cv_rv_offices_close(rv);
    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++)
        cv_rv_cancel(rv, &rv->inbox.attempts[i].put);
}
