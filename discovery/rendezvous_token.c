/* By hand: a pointer of ours for one guest, and the knock that answers it.
 *
 * Each token has an office of its own, so that a knock says which token it
 * answers, one is enough to close it, and what happens in the DHT does not
 * touch it. */
#include "discovery/name.h"
#include "discovery/rendezvous_struct.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void close_office(struct invitation *i)
{
    if (i->office != NULL) {
        cv_office_close(i->office);
        free(i->office);
    }
    i->office = NULL;
}

static struct invitation *invitation_of(struct cv_rendezvous *rv,
                                        const uint8_t digest[CV_DIGEST_LEN])
{
    for (unsigned i = 0; i < INVITATIONS; i++)
        if (rv->invitations[i].used &&
            memcmp(rv->invitations[i].digest, digest, CV_DIGEST_LEN) == 0)
            return &rv->invitations[i];
    return NULL;
}

/* A free place; else that of the oldest that is over; else of the oldest. */
static struct invitation *invitation_place(struct cv_rendezvous *rv)
{
    struct invitation *best = &rv->invitations[0];

    for (unsigned k = 0; k < INVITATIONS; k++) {
        struct invitation *i = &rv->invitations[k];

        if (!i->used)
            return i;
        if ((i->office == NULL) != (best->office == NULL)
                ? i->office == NULL
                : i->made < best->made)
            best = i;
    }
    close_office(best);
    return best;
}

int cv_rendezvous_invite(struct cv_rendezvous *rv,
                         const struct cv_grants *grants,
                         const struct cv_candidates *own, struct cv_token *out)
{
    const uint64_t epoch = cv_rv_epoch(rv);
    struct invitation *i;
    struct cv_place place;
    enum cv_role role;
    uint8_t flags;
    int err;

    if (!rv->stepped)
        return CV_ERR_AGAIN;
    if (cv_grants_verify(grants, &rv->config.session, &rv->config.cert.identity,
                         cv_rv_unix_s(rv), &role, &flags) != CV_OK)
        return CV_ERR_AUTH;
    i = invitation_place(rv);
    *i = (struct invitation){.office = calloc(1, sizeof(*i->office))};
    if (i->office == NULL)
        return CV_ERR_NOMEM;
    cv_inbox_open(&rv->inbox, i->office, epoch, rv->config.rng);
    cv_place_at(&place, &rv->root, epoch);
    memset(out, 0, sizeof(*out));
    out->kind = CV_TOKEN_HOST;
    out->session = rv->config.session;
    out->epoch = epoch;
    err = cv_rv_seal_pointer(rv, i->office, &place, grants, flags, own,
                             out->value, &out->len);
    if (err != CV_OK) {
        close_office(i);
        return err;
    }
    cv_pointer_digest(i->digest, CV_BYTES(out->value, out->len));
    i->made = rv->now;
    i->used = true;
    return CV_OK;
}

int cv_rendezvous_take_pointer(struct cv_rendezvous *rv,
                               const struct cv_token *t, struct cv_key *node)
{
    struct cv_book_entry *e;
    struct cv_place place;
    int err;

    if (!rv->stepped)
        return CV_ERR_AGAIN;
    if (t->kind != CV_TOKEN_HOST ||
        !cv_key_equal(&t->session, &rv->config.session))
        return CV_ERR_INVALID;
    cv_place_at(&place, &rv->root, t->epoch);
    err = cv_book_take(&rv->book, &place, CV_BYTES(t->value, t->len), rv->now,
                       cv_rv_unix_s(rv), &e);
    if (err != CV_OK)
        return err;
    *node = e->p.node;
    cv_rv_enter(rv);
    cv_rv_report_pointer(rv, e);
    cv_rv_leave(rv);
    return CV_OK;
}

/* The knock that answers one of our tokens, from wherever it came. */
static int take_knock(struct cv_rendezvous *rv, struct invitation *i,
                      unsigned slot, struct cv_bytes value, bool by_hand)
{
    struct cv_rendezvous_counters *n = &rv->counters;
    struct cv_inbox_taken t;
    int err;

    if (i->office == NULL)
        return i->spent ? CV_ERR_REPLAY : CV_ERR_EXPIRED;
    err = cv_inbox_take_token(&rv->inbox, i->office, slot, value, rv->now,
                              cv_rv_unix_s(rv), &t);
    if (err != CV_OK) {
        n->knocks_forged++;
        cv_debug(rv->config.log, "rendezvous: token dropped, why=\"%s\"",
                 cv_strerror(err));
        return err;
    }
    n->knocks_ok++;
    i->spent = true;
    i->rung = !by_hand;
    cv_pointer_digest(i->knock, value);
    close_office(i);
    cv_rv_enter(rv);
    cv_rv_report_knock(rv, &t.knock, t.attempt, false, by_hand);
    cv_rv_leave(rv);
    return CV_OK;
}

int cv_rendezvous_take_knock(struct cv_rendezvous *rv, const struct cv_token *t)
{
    struct invitation *i = invitation_of(rv, t->digest);
    const struct cv_bytes value = CV_BYTES(t->value, t->len);
    uint8_t digest[CV_DIGEST_LEN];

    if (t->kind != CV_TOKEN_GUEST)
        return CV_ERR_INVALID;
    if (i == NULL)
        return CV_ERR_NOTFOUND;
    cv_pointer_digest(digest, value);
    if (i->rung && memcmp(i->knock, digest, sizeof(digest)) == 0) {
        i->rung = false; /* a gate was faster than the people */
        return CV_OK;
    }
    return take_knock(rv, i, t->slot, value, true);
}

/*   u8 0x80 | ptr_digest[8] | u8 slot | knock[600], as in the token */
size_t cv_rv_token_ring(uint8_t out[CV_RING_MAX], const struct cv_token *t)
{
    struct cv_writer w;

    cv_writer_init(&w, out, CV_RING_MAX);
    cv_put_u8(&w, CV_RING_TOKEN);
    cv_put_raw(&w, t->digest, CV_DIGEST_LEN);
    cv_put_u8(&w, t->slot);
    cv_put_raw(&w, t->value, CV_KNOCK_BYTES);
    assert(w.err == CV_OK);
    return w.len;
}

int cv_rv_take_token_ring(struct cv_rendezvous *rv, struct cv_bytes ring)
{
    uint8_t digest[CV_DIGEST_LEN], slot;
    struct invitation *i;
    struct cv_reader r;

    if (ring.len != 1 + CV_DIGEST_LEN + 1 + CV_KNOCK_BYTES)
        return CV_ERR_FORMAT;
    cv_reader_init(&r, ring.data + 1, ring.len - 1);
    cv_get_raw(&r, digest, sizeof(digest));
    slot = cv_get_u8(&r);
    if (slot >= CV_INBOX_SLOTS)
        return CV_ERR_FORMAT;
    i = invitation_of(rv, digest);
    if (i == NULL)
        return CV_ERR_NOTFOUND;
    return take_knock(
        rv, i, slot,
        CV_BYTES(ring.data + ring.len - CV_KNOCK_BYTES, CV_KNOCK_BYTES), false);
}

void cv_rv_invitations_step(struct cv_rendezvous *rv)
{
    for (unsigned k = 0; k < INVITATIONS; k++) {
        struct invitation *i = &rv->invitations[k];

        if (i->office != NULL &&
            rv->now - i->made >= (cv_time)CV_TOKEN_LIFETIME_S * CV_SECOND)
            close_office(i);
    }
}

void cv_rv_invitations_close(struct cv_rendezvous *rv)
{
    for (unsigned k = 0; k < INVITATIONS; k++)
        close_office(&rv->invitations[k]);
}
