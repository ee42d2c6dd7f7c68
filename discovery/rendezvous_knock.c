/* Our knocks, one for each attempt: at once, in the next slot after 1 s, then
 * at 3, 10, 20, 60 s and every minute; answers end the repeating. */
#include "discovery/name.h"
#include "discovery/rendezvous_struct.h"

#include <string.h>

#define KNOCK_REPEATED (15 * CV_MINUTE) /* and then only listened for */
#define KNOCK_LIFE     CV_HOUR

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
    k->contact.peer.gates = e->p.gates;
    k->ptr_not_after = e->p.not_after;
    k->epoch = e->epoch;
}

/* Has the inbox that we know closed?  With a new epoch there is another one
 * beside it, which is no reason; a flood moves it, time ends it. */
static bool inbox_is_closed(const struct cv_rendezvous *rv,
                            const struct knocking *k,
                            const struct cv_book_entry *e)
{
    return !cv_equal(k->box, e->p.box, sizeof(k->box)) &&
           (k->epoch == e->epoch || k->ptr_not_after < cv_rv_unix_s(rv));
}

static bool knock_is_late(const struct cv_rendezvous *rv,
                          const struct knocking *k,
                          const struct cv_book_entry *e)
{
    return !k->answered && inbox_is_closed(rv, k, e);
}

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
    if (a.candidates.n > 0) {
        a.candidates.gates = a.gates.n > 0 ? a.gates : k->contact.peer.gates;
        k->contact.peer = a.candidates;
    }
    info.contact = k->contact;
    info.verdict = (enum cv_verdict)a.verdict;
    cv_debug(rv->config.log, "rendezvous: answer, node=%s verdict=%u",
             cv_key_short(&k->contact.node, who), a.verdict);
    cv_rv_enter(rv);
    if (!rv->freed && rv->events.answer != NULL)
        rv->events.answer(rv->user, &info);
    cv_rv_leave(rv);
    cv_wipe(&info, sizeof(info));
}

static void knock_close(struct knocking *k)
{
    struct cv_rendezvous *rv = k->rv;

    cv_rv_cancel(rv, &k->listen);
    cv_rv_cancel(rv, &k->get);
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
        cv_rv_cancel(rv, &k->puts[s]);
    cv_wipe(k, sizeof(*k));
}

/* Seal it for the present slot: the first time under the attempt's eph, later
 * under one of its own. */
static int knock_seal(struct knocking *k, struct cv_loc *inbox,
                      uint8_t value[CV_KNOCK_BYTES])
{
    struct cv_rendezvous *rv = k->rv;
    struct cv_knock knock = {
        .ptr_seq = k->ptr_seq,
        .node = rv->config.node->pub,
        .cert = rv->config.cert,
        .again = k->eph_used,
        .candidates = k->own,
        .gates = k->own.gates,
    };
    uint8_t secret[32];
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
    cv_inbox_loc(inbox, &rv->root, k->epoch, &k->contact.node, k->salt,
                 k->slot);
    err = cv_knock_seal(value, &knock, inbox, secret, k->box, rv->config.node,
                        k->pow_bits);
    cv_wipe(secret, sizeof(secret));
    return err;
}

/* Say it in the present slot. */
static int knock_say(struct knocking *k)
{
    struct cv_rendezvous *rv = k->rv;
    uint8_t value[CV_KNOCK_BYTES];
    struct cv_loc inbox;
    int err = knock_seal(k, &inbox, value);

    if (err != CV_OK)
        return err;
    /* The same bytes go to the gates: the slot and what is sealed for it. */
    k->contact.ring[0] = (uint8_t)k->slot;
    memcpy(k->contact.ring + 1, value, sizeof(value));
    k->contact.ring_len = 1 + sizeof(value);
    cv_room_key(k->contact.room_key, &rv->root, k->epoch);
    cv_rv_cancel(rv, &k->puts[k->slot]);
    k->puts[k->slot] =
        cv_rv_put(rv, &inbox, CV_BYTES(value, sizeof(value)), NULL, NULL);
    return CV_OK;
}

/* When the answer is asked for next; CV_NEVER: the listen has begun. */
static cv_time poll_at(const struct knocking *k)
{
    static const cv_time at[] = {
        150 * CV_MILLISECOND,  300 * CV_MILLISECOND,  500 * CV_MILLISECOND,
        800 * CV_MILLISECOND,  1250 * CV_MILLISECOND, 2000 * CV_MILLISECOND,
        3000 * CV_MILLISECOND, 4500 * CV_MILLISECOND, 6500 * CV_MILLISECOND};

    if (k->answered || k->by_hand || k->polls >= sizeof(at) / sizeof(at[0]))
        return CV_NEVER;
    return k->started + at[k->polls];
}

static void poll(struct knocking *k)
{
    struct cv_rendezvous *rv = k->rv;

    while (rv->now >= poll_at(k))
        k->polls++;
    cv_rv_cancel(rv, &k->get);
    k->get = cv_rv_get(rv, &k->reply.loc, on_answer_value, NULL, k);
}

static void knock_step(struct knocking *k)
{
    /* From the start; then every minute. */
    static const cv_time at[] = {CV_SECOND, 3 * CV_SECOND, 10 * CV_SECOND,
                                 20 * CV_SECOND, CV_MINUTE};
    static const unsigned n = sizeof(at) / sizeof(at[0]);
    struct cv_rendezvous *rv = k->rv;

    if (rv->now - k->started > KNOCK_LIFE) {
        knock_close(k);
        return;
    }
    if (k->listen == 0)
        k->listen = cv_rv_listen(rv, &k->reply.loc, on_answer_value, k);
    if (k->used && rv->now >= poll_at(k))
        poll(k);
    if (!k->used || k->answered || rv->now < k->next)
        return;
    if (rv->now - k->started > KNOCK_REPEATED) {
        k->next = CV_NEVER;
        return;
    }
    k->slot = (k->slot + 1) % CV_INBOX_SLOTS;
    k->said++;
    k->next = k->said < n ? k->started + at[k->said] : rv->now + CV_MINUTE;
    cv_rv_cancel(rv, &k->get);
    k->get = cv_rv_get(rv, &k->reply.loc, on_answer_value, NULL, k);
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
    k->contact.peer.gates = e->p.gates;
    k->slot = cv_inbox_slot(&rv->config.node->pub);
    k->used = true;
    return CV_OK;
}

/* The attempt at this node, or a new one, ready to be said. */
static int knock_prepare(struct cv_rendezvous *rv, struct knocking **out,
                         const struct cv_key *node, const char *name,
                         const struct cv_grants *grants,
                         const struct cv_candidates *own)
{
    const struct cv_book_entry *e =
        cv_book_living(&rv->book, node, cv_rv_unix_s(rv));
    struct knocking *k = knock_of(rv, node);
    unsigned pow_bits;
    int err;

    if (e == NULL)
        return CV_ERR_NOTFOUND;
    pow_bits = (e->p.flags & CV_RECORD_POW_MASK) >> CV_RECORD_POW_SHIFT;
    if (pow_bits > CV_KNOCK_POW_MAX)
        return CV_ERR_UNSUPPORTED;
    /* Another attempt would end this one, with all the ports that it opened. */
    if (k != NULL && inbox_is_closed(rv, k, e)) {
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
        k->listen = cv_rv_listen(rv, &k->reply.loc, on_answer_value, k);
    } else {
        /* The same attempt, another request. */
        cv_random(rv->config.rng, k->req_id + CV_ATTEMPT_ID_LEN,
                  CV_REQ_ID_LEN - CV_ATTEMPT_ID_LEN);
    }
    knock_follow(k, e);
    k->pow_bits = pow_bits;
    cv_name_clean(k->name, name != NULL ? name : "");
    k->grants = grants != NULL ? *grants : (struct cv_grants){0};
    k->own = own != NULL ? *own : (struct cv_candidates){0};
    k->started = rv->now;
    k->said = k->polls = 0;
    *out = k;
    return CV_OK;
}

int cv_rendezvous_knock(struct cv_rendezvous *rv, const struct cv_key *node,
                        const char *name, const struct cv_grants *grants,
                        const struct cv_candidates *own,
                        struct cv_contact *contact)
{
    struct knocking *k;
    int err = knock_prepare(rv, &k, node, name, grants, own);

    if (err != CV_OK)
        return err;
    k->next = k->answered ? CV_NEVER : rv->now + CV_SECOND;
    err = knock_say(k);
    if (err != CV_OK) {
        knock_close(k);
        return err;
    }
    *contact = k->contact;
    return CV_OK;
}

int cv_rendezvous_knock_by_hand(struct cv_rendezvous *rv,
                                const struct cv_key *node, const char *name,
                                const struct cv_grants *grants,
                                const struct cv_candidates *own,
                                struct cv_contact *contact,
                                struct cv_token *out)
{
    struct cv_loc inbox;
    struct knocking *k;
    int err = knock_prepare(rv, &k, node, name, grants, own);

    if (err != CV_OK)
        return err;
    k->by_hand = k->contact.by_hand = true;
    k->next = CV_NEVER;
    memset(out, 0, sizeof(*out));
    out->kind = CV_TOKEN_GUEST;
    out->slot = (uint8_t)k->slot;
    out->len = CV_KNOCK_BYTES;
    memcpy(out->digest, k->ptr_digest, sizeof(out->digest));
    err = knock_seal(k, &inbox, out->value);
    if (err != CV_OK) {
        knock_close(k);
        return err;
    }
    k->contact.ring_len = (uint16_t)cv_rv_token_ring(k->contact.ring, out);
    cv_room_key(k->contact.room_key, &rv->root, k->epoch);
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

bool cv_rv_knock_pointer(struct cv_rendezvous *rv,
                         const struct cv_book_entry *e)
{
    struct knocking *k = knock_of(rv, &e->p.node);
    bool late;

    if (k == NULL || k->by_hand)
        return false;
    late = knock_is_late(rv, k, e);
    knock_follow(k, e);
    return late;
}

void cv_rv_knocks_step(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < KNOCKS && !rv->freed; i++) {
        if (rv->knocks[i].used)
            knock_step(&rv->knocks[i]);
    }
}

cv_time cv_rv_knocks_deadline(const struct cv_rendezvous *rv)
{
    cv_time d = CV_NEVER;

    for (unsigned i = 0; i < KNOCKS; i++) {
        if (rv->knocks[i].used)
            d = cv_time_min(cv_time_min(d, poll_at(&rv->knocks[i])),
                            cv_time_min(rv->knocks[i].next, rv->now + TICK));
    }
    return d;
}

void cv_rv_knocks_close(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < KNOCKS; i++) {
        if (rv->knocks[i].used)
            knock_close(&rv->knocks[i]);
    }
}
