#include "transport/checks.h"
#include <assert.h>
#include <string.h>

/* PRIORITY has no meaning between us; the attribute is there because ICE's
 * checks carry one and middleboxes know it (RFC 8445, 7.1.1). */
#define CHECK_PRIORITY 0x6e0001ffu

static void derive(uint8_t key[CV_CHECK_KEY], const uint8_t shared[32],
                   struct cv_bytes label)
{
    cv_hkdf(key, CV_CHECK_KEY, CV_BYTES(NULL, 0), CV_BYTES(shared, 32), &label,
            1);
}

void cv_checks_init(struct cv_checks *c, const struct cv_rng *rng,
                    const uint8_t attempt[8], const uint8_t shared[32],
                    bool joiner)
{
    memset(c, 0, sizeof *c);
    c->rng = rng;
    memcpy(c->attempt, attempt, sizeof c->attempt);
    c->joiner = joiner;
    c->old_until = CV_NEVER;
    derive(joiner ? c->now.ours : c->now.theirs, shared,
           CV_LITERAL("checks joiner"));
    derive(joiner ? c->now.theirs : c->now.ours, shared,
           CV_LITERAL("checks sharer"));
    c->now.set = true;
}

void cv_checks_fini(struct cv_checks *c)
{
    cv_wipe(&c->now, sizeof c->now);
    cv_wipe(&c->old, sizeof c->old);
}

void cv_checks_rekey(struct cv_checks *c, const uint8_t exported[64],
                     cv_time now)
{
    /* Open transactions were signed with what is old now. */
    for (unsigned i = 0; i < CV_CHECK_OPEN; i++) {
        c->sent[i].open = c->sent[i].open && !c->sent[i].old_key;
        c->sent[i].old_key = true;
    }
    c->old = c->now;
    c->old_until = now + CV_CHECK_OLD_TIME;
    memset(&c->now, 0, sizeof c->now);
    memcpy(c->joiner ? c->now.ours : c->now.theirs, exported, CV_CHECK_KEY);
    memcpy(c->joiner ? c->now.theirs : c->now.ours, exported + CV_CHECK_KEY,
           CV_CHECK_KEY);
    c->now.set = true;
    /* The peer may not have them yet. */
    c->switch_at = now + CV_CHECK_SWITCH;
}

static void expire(struct cv_checks *c, cv_time now)
{
    if (now < c->old_until)
        return;
    cv_wipe(&c->old, sizeof c->old);
    c->old_until = CV_NEVER;
}

int cv_checks_request(struct cv_checks *c, cv_time now,
                      const struct cv_path_addr *to, uint32_t path_id,
                      struct cv_writer *out)
{
    struct cv_check_sent *s = &c->sent[c->next];
    bool old;
    int err;

    expire(c, now);
    old = c->old.set && now < c->switch_at;
    memset(s, 0, sizeof *s);
    cv_random(c->rng, s->txid, sizeof s->txid);
    cv_stun_begin(out, CV_STUN_REQUEST, s->txid);
    cv_stun_put(out, CV_STUN_USERNAME, c->attempt, sizeof c->attempt);
    cv_stun_put_u32(out, CV_STUN_PRIORITY, CHECK_PRIORITY);
    cv_stun_put_u32(out, CV_STUN_PATH_ID, path_id);
    cv_stun_put_u64(out, CV_STUN_SEND_TIME, (uint64_t)(now / CV_MICROSECOND));
    cv_stun_put_integrity(out, old ? c->old.ours : c->now.ours, CV_CHECK_KEY,
                          CV_STUN_MAC_SHORT);
    err = cv_stun_put_fingerprint(out);
    if (err != CV_OK)
        return err;
    assert(out->len <= CV_CHECK_MAX);
    s->open = true;
    s->old_key = old;
    s->to = *to;
    s->at = now;
    c->next = (c->next + 1) % CV_CHECK_OPEN;
    return CV_OK;
}

static uint64_t id_prefix(const uint8_t txid[CV_STUN_TXID])
{
    uint64_t v;

    memcpy(&v, txid, sizeof v);
    return v;
}

static bool was_seen(const struct cv_check_keys *k, uint64_t id)
{
    unsigned n = k->n_seen < CV_CHECK_WINDOW ? k->n_seen : CV_CHECK_WINDOW;

    for (unsigned i = 0; i < n; i++)
        if (k->seen[i] == id)
            return true;
    return false;
}

static int receive_request(struct cv_checks *c, const struct cv_stun *m,
                           struct cv_check *out)
{
    struct cv_check_keys *k = NULL;
    uint64_t id = id_prefix(m->txid);

    if (m->username.len != sizeof c->attempt ||
        memcmp(m->username.data, c->attempt, sizeof c->attempt) != 0)
        return CV_ERR_NOTFOUND;
    if (cv_stun_verify(m, c->now.theirs, CV_CHECK_KEY)) {
        k = &c->now;
        c->switch_at = 0; /* the peer has the new keys */
    } else if (c->old.set && cv_stun_verify(m, c->old.theirs, CV_CHECK_KEY)) {
        k = &c->old;
    }
    if (!k)
        return CV_ERR_AUTH;
    if (m->n_unknown > 0)
        return CV_ERR_FORMAT;
    if (was_seen(k, id))
        return CV_ERR_REPLAY;
    k->seen[k->n_seen % CV_CHECK_WINDOW] = id;
    k->n_seen++;
    if (k->n_seen == 2 * CV_CHECK_WINDOW)
        k->n_seen = CV_CHECK_WINDOW; /* the same place of the ring */

    *out = (struct cv_check){.kind = CV_CHECK_REQUEST,
                             .old_key = k == &c->old,
                             .path_id = m->path_id,
                             .cost = m->cost};
    return CV_OK;
}

static int receive_response(struct cv_checks *c, cv_time now,
                            const struct cv_path_addr *from,
                            const struct cv_stun *m, struct cv_check *out)
{
    for (unsigned i = 0; i < CV_CHECK_OPEN; i++) {
        struct cv_check_sent *s = &c->sent[i];
        const struct cv_check_keys *k = &c->now;

        if (!s->open || memcmp(s->txid, m->txid, CV_STUN_TXID) != 0)
            continue;
        /* A transaction of before the last rekeying has its key in `old`. */
        if (c->old.set && s->old_key)
            k = &c->old;
        if (!cv_stun_verify(m, k->ours, CV_CHECK_KEY))
            return CV_ERR_AUTH;
        if (m->n_unknown > 0)
            return CV_ERR_FORMAT;
        if (!cv_path_addr_same(&s->to, from) ||
            now - s->at > CV_CHECK_OPEN_TIME)
            return CV_ERR_NOTFOUND;
        s->open = false;
        *out = (struct cv_check){.kind = CV_CHECK_RESPONSE,
                                 .old_key = k == &c->old,
                                 .mapped = m->mapped,
                                 .rtt = now - s->at};
        return CV_OK;
    }
    return CV_ERR_NOTFOUND;
}

int cv_checks_receive(struct cv_checks *c, cv_time now,
                      const struct cv_path_addr *from, const struct cv_stun *m,
                      struct cv_check *out)
{
    expire(c, now);
    switch (m->type) {
    case CV_STUN_REQUEST:
        return receive_request(c, m, out);
    case CV_STUN_SUCCESS:
        return receive_response(c, now, from, m, out);
    default:
        return CV_ERR_FORMAT;
    }
}

int cv_checks_answer(const struct cv_checks *c, const struct cv_stun *request,
                     const struct cv_check *check,
                     const struct cv_path_addr *from, struct cv_writer *out)
{
    const struct cv_check_keys *k = check->old_key ? &c->old : &c->now;

    cv_stun_begin(out, CV_STUN_SUCCESS, request->txid);
    cv_stun_put_xor_addr(out, &from->remote);
    cv_stun_put_integrity(out, k->theirs, CV_CHECK_KEY, CV_STUN_MAC_SHORT);
    cv_stun_put_fingerprint(out);
    if (out->err != CV_OK)
        return out->err;
    return out->len <= request->raw.len ? CV_OK : CV_ERR_NOBUF;
}
