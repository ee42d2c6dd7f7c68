#include "discovery/inbox.h"

#include <assert.h>
#include <string.h>

void cv_inbox_init(struct cv_inbox *in, const struct cv_root *root,
                   const struct cv_key *node)
{
    memset(in, 0, sizeof(*in));
    in->root = *root;
    in->node = *node;
    for (unsigned i = 0; i < CV_INBOX_SLOTS; i++)
        cv_bucket_init(&in->slots[i], CV_INBOX_SLOT_RATE, CV_INBOX_SLOT_BURST);
    cv_bucket_init(&in->rings, CV_INBOX_RING_RATE, CV_INBOX_RING_BURST);
}

void cv_inbox_fini(struct cv_inbox *in)
{
    cv_wipe(in, sizeof(*in));
}

struct cv_office *cv_inbox_office(struct cv_inbox *in, uint64_t epoch)
{
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        if (in->offices[i].open && in->offices[i].epoch == epoch)
            return &in->offices[i];
    }
    return NULL;
}

struct cv_office *cv_inbox_open(struct cv_inbox *in, struct cv_office *place,
                                uint64_t epoch, const struct cv_rng *rng)
{
    assert(!place->open);
    memset(place, 0, sizeof(*place));
    place->open = true;
    place->epoch = epoch;
    cv_random(rng, place->secret, sizeof(place->secret));
    cv_x25519_public(place->box, place->secret);
    cv_random(rng, place->salt, sizeof(place->salt));
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
        cv_inbox_loc(&place->loc[s], &in->root, epoch, &in->node, place->salt,
                     s);
    cv_room_key(place->room, &in->root, epoch);
    in->junk = 0;
    return place;
}

void cv_office_close(struct cv_office *o)
{
    cv_wipe(o, sizeof(*o));
}

void cv_inbox_move(struct cv_inbox *in, struct cv_office *o)
{
    in->moved[in->moved_at++ % CV_OFFICES_MOVED] = *o;
    cv_office_close(o);
}

void cv_office_named(struct cv_office *o, struct cv_bytes pointer,
                     uint32_t not_after, cv_time now)
{
    struct cv_office_pointer *p =
        &o->pointers[o->n_pointers % CV_OFFICE_POINTERS];

    cv_pointer_digest(p->digest, pointer);
    p->at = now;
    o->n_pointers++;
    o->not_after = not_after;
}

/* Is it one of the last three, or younger than the grace? */
static bool names(const struct cv_office *o,
                  const uint8_t digest[CV_DIGEST_LEN], cv_time now)
{
    for (unsigned back = 1; back <= o->n_pointers && back <= CV_OFFICE_POINTERS;
         back++) {
        const struct cv_office_pointer *p =
            &o->pointers[(o->n_pointers - back) % CV_OFFICE_POINTERS];

        if (back > CV_OFFICE_RECENT && now - p->at > CV_OFFICE_GRACE)
            return false;
        if (memcmp(p->digest, digest, CV_DIGEST_LEN) == 0)
            return true;
    }
    return false;
}

static bool was_asked(const struct cv_office *o,
                      const uint8_t req_id[CV_REQ_ID_LEN])
{
    for (unsigned i = 0; i < o->n_requests; i++) {
        if (memcmp(o->requests[i], req_id, CV_REQ_ID_LEN) == 0)
            return true;
    }
    return false;
}

/* A value that came, and whom it may be for. */
struct arrival {
    struct cv_office *offices[CV_OFFICES + CV_OFFICES_MOVED];
    unsigned n_offices;
    unsigned slot;
    struct cv_bytes value;
    bool in_dht;
    cv_time now;
    uint64_t now_s;
};

/* Of the DHT only: elsewhere there are no other keys to move to. */
static void note_junk(struct cv_inbox *in, const struct arrival *v)
{
    const cv_time now = v->now;

    if (!v->in_dht)
        return;
    if (now - in->junk_since > CV_INBOX_FLOOD_TIME) {
        in->junk_since = now;
        in->junk = 0;
    }
    in->junk++;
}

bool cv_inbox_flooded(const struct cv_inbox *in, const struct cv_office *o)
{
    return in->junk >= CV_INBOX_FLOOD || o->n_requests >= CV_OFFICE_REQUESTS;
}

struct cv_attempt *cv_inbox_attempt(struct cv_inbox *in,
                                    const uint8_t id[CV_ATTEMPT_ID_LEN])
{
    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++) {
        struct cv_attempt *a = &in->attempts[i];

        if (a->used && memcmp(a->req_id, id, CV_ATTEMPT_ID_LEN) == 0)
            return a;
    }
    return NULL;
}

static struct cv_attempt *attempt_of(struct cv_inbox *in,
                                     const struct cv_key *node)
{
    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++) {
        struct cv_attempt *a = &in->attempts[i];

        if (a->used && cv_key_equal(&a->node, node))
            return a;
    }
    return NULL;
}

/* A free place, else that of the oldest unanswered, else of the oldest. */
static struct cv_attempt *attempt_place(struct cv_inbox *in)
{
    struct cv_attempt *best = &in->attempts[0];

    for (unsigned i = 0; i < CV_INBOX_ATTEMPTS; i++) {
        struct cv_attempt *a = &in->attempts[i];
        const bool answered = a->counter > 0;

        if (!a->used)
            return a;
        if (answered != (best->counter > 0) ? !answered : a->at < best->at)
            best = a;
    }
    return best;
}

static struct cv_attempt *attempt_begin(struct cv_inbox *in)
{
    struct cv_attempt *a = attempt_place(in);
    const cv_dht_token put = a->put; /* the next answer ends it */

    memset(a, 0, sizeof(*a));
    a->put = put;
    a->used = true;
    cv_bucket_init(&a->attempts, CV_INBOX_NODE_RATE, CV_INBOX_NODE_BURST);
    cv_bucket_init(&a->updates, CV_INBOX_NODE_RATE, CV_INBOX_NODE_BURST);
    return a;
}

/* A new attempt, or one more knock of a known one; NULL: too many. */
static struct cv_attempt *admit(struct cv_inbox *in, const struct cv_office *o,
                                const struct cv_knock *k,
                                const struct cv_knock_raw *raw, cv_time now,
                                bool *is_update)
{
    struct cv_attempt *a = attempt_of(in, &k->node);
    const bool known = a != NULL;

    *is_update = known &&
                 memcmp(a->req_id, k->req_id, CV_ATTEMPT_ID_LEN) == 0 &&
                 cv_equal(a->shared, raw->shared, sizeof(a->shared));
    if (!known)
        a = attempt_begin(in);
    if (!cv_bucket_take(*is_update ? &a->updates : &a->attempts, now))
        return NULL;
    if (!*is_update) {
        a->node = k->node;
        a->at = now;
        a->counter = 0;
        a->ptr_seq = k->ptr_seq;
        memcpy(a->shared, raw->shared, sizeof(a->shared));
        memcpy(a->eph, raw->first_eph, sizeof(a->eph));
        memcpy(a->box, o->box, sizeof(a->box));
    }
    a->identity = k->cert.identity;
    memcpy(a->req_id, k->req_id, sizeof(a->req_id));
    return a;
}

/* Open what came, if it is new and there is not too much; *at is the office
 * that it is for. */
static int open_value(struct cv_inbox *in, const struct arrival *v,
                      struct cv_knock *k, struct cv_knock_raw *raw,
                      struct cv_office **at)
{
    uint8_t digest[CV_DIGEST_LEN];

    cv_pointer_digest(digest, v->value);
    if (cv_digest_is_in(&in->seen[0][0], CV_INBOX_SEEN, digest))
        return CV_ERR_EXISTS;
    if (!cv_knock_plausible(v->value, &v->offices[0]->loc[v->slot], 0)) {
        cv_digest_note(&in->seen[0][0], CV_INBOX_SEEN, &in->seen_at, digest);
        note_junk(in, v);
        return CV_ERR_FORMAT;
    }
    if (!cv_bucket_take(v->in_dht ? &in->slots[v->slot] : &in->rings, v->now)) {
        note_junk(in, v);
        return CV_ERR_LIMIT;
    }
    cv_digest_note(&in->seen[0][0], CV_INBOX_SEEN, &in->seen_at, digest);
    for (unsigned i = 0; i < v->n_offices; i++) {
        *at = v->offices[i];
        if (cv_knock_open(k, raw, &(*at)->loc[v->slot], (*at)->secret,
                          (*at)->box, v->value) == CV_OK)
            return CV_OK;
    }
    note_junk(in, v);
    return CV_ERR_FORMAT;
}

/* May a verified knock begin an attempt, or go on with one? */
static int may_knock(struct cv_inbox *in, const struct cv_office *o,
                     const struct cv_knock *k)
{
    const struct cv_attempt *a = cv_inbox_attempt(in, k->req_id), *other;

    if (a != NULL && !cv_key_equal(&a->node, &k->node))
        return CV_ERR_REPLAY; /* somebody else's attempt id */
    /* A node has one attempt at a time: the one at the newer pointer. */
    other = a == NULL ? attempt_of(in, &k->node) : NULL;
    if (other != NULL && k->ptr_seq < other->ptr_seq)
        return CV_ERR_NOTFOUND;
    return o->n_requests < CV_OFFICE_REQUESTS ? CV_OK : CV_ERR_LIMIT;
}

static int take(struct cv_inbox *in, const struct arrival *v,
                struct cv_inbox_taken *out)
{
    struct cv_knock *k = &out->knock;
    struct cv_knock_raw raw = {0};
    struct cv_office *o;
    struct cv_attempt *a;
    int err;

    out->attempt = NULL;
    err = open_value(in, v, k, &raw, &o);
    if (err != CV_OK)
        goto out;
    err = CV_ERR_NOTFOUND;
    if (!names(o, k->ptr_digest, v->now))
        goto out;
    if (was_asked(o, k->req_id)) {
        a = cv_inbox_attempt(in, k->req_id);
        if (a != NULL && cv_key_equal(&a->node, &k->node))
            out->attempt = a;
        err = CV_ERR_REPLAY;
        goto out;
    }
    err = cv_knock_verify(k, &raw, &o->loc[v->slot], o->box, v->now_s);
    if (err == CV_OK && cv_key_equal(&k->node, &in->node))
        err = CV_ERR_AUTH;
    if (err != CV_OK) {
        note_junk(in, v);
        goto out;
    }
    err = may_knock(in, o, k);
    if (err != CV_OK)
        goto out;
    err = CV_ERR_LIMIT;
    a = admit(in, o, k, &raw, v->now, &out->is_update);
    if (a == NULL)
        goto out;
    memcpy(o->requests[o->n_requests++], k->req_id, CV_REQ_ID_LEN);
    out->attempt = a;
    err = CV_OK;
out:
    cv_wipe(&raw, sizeof(raw));
    return err;
}

static struct arrival arrived(unsigned slot, struct cv_bytes value, bool in_dht,
                              cv_time now, uint64_t now_s)
{
    return (struct arrival){.slot = slot % CV_INBOX_SLOTS,
                            .value = value,
                            .in_dht = in_dht,
                            .now = now,
                            .now_s = now_s};
}

int cv_inbox_take(struct cv_inbox *in, struct cv_office *o, unsigned slot,
                  struct cv_bytes value, cv_time now, uint64_t now_s,
                  struct cv_inbox_taken *out)
{
    struct arrival v = arrived(slot, value, true, now, now_s);

    v.offices[v.n_offices++] = o;
    return take(in, &v, out);
}

int cv_inbox_take_token(struct cv_inbox *in, struct cv_office *o, unsigned slot,
                        struct cv_bytes value, cv_time now, uint64_t now_s,
                        struct cv_inbox_taken *out)
{
    struct arrival v = arrived(slot, value, false, now, now_s);

    v.offices[v.n_offices++] = o;
    return take(in, &v, out);
}

/* Those among `n` that are rung in this room. */
static void add_offices(struct arrival *v, struct cv_office *offices,
                        unsigned n, const uint8_t room[CV_ROOM_KEY])
{
    for (unsigned i = 0; i < n; i++)
        if (offices[i].open && memcmp(offices[i].room, room, CV_ROOM_KEY) == 0)
            v->offices[v->n_offices++] = &offices[i];
}

int cv_inbox_take_ring(struct cv_inbox *in, const uint8_t room[CV_ROOM_KEY],
                       unsigned slot, struct cv_bytes value, cv_time now,
                       uint64_t now_s, struct cv_inbox_taken *out)
{
    struct arrival v = arrived(slot, value, false, now, now_s);

    out->attempt = NULL;
    add_offices(&v, in->offices, CV_OFFICES, room);
    add_offices(&v, in->moved, CV_OFFICES_MOVED, room);
    return v.n_offices > 0 ? take(in, &v, out) : CV_ERR_CLOSED;
}
