/* By hand: a pointer of ours for one guest, and the knock that answers it.
 *
 * Each token has an office of its own, so that a knock says which token it
 * answers, one is enough to close it, and what happens in the DHT does not
 * touch it. */
#include "discovery/name.h"
#include "discovery/rendezvous_struct.h"

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

int cv_rendezvous_take_knock(struct cv_rendezvous *rv, const struct cv_token *t)
{
    struct invitation *i = invitation_of(rv, t->digest);
    struct cv_rendezvous_counters *n = &rv->counters;
    struct cv_attempt *a;
    struct cv_knock k;
    bool is_update;
    int err;

    if (t->kind != CV_TOKEN_GUEST)
        return CV_ERR_INVALID;
    if (i == NULL)
        return CV_ERR_NOTFOUND;
    if (i->office == NULL)
        return i->spent ? CV_ERR_REPLAY : CV_ERR_EXPIRED;
    err = cv_inbox_take(&rv->inbox, i->office, t->slot,
                        CV_BYTES(t->value, t->len), rv->now, cv_rv_unix_s(rv),
                        &k, &a, &is_update);
    if (err != CV_OK) {
        n->knocks_forged++;
        cv_debug(rv->config.log, "rendezvous: token dropped, why=\"%s\"",
                 cv_strerror(err));
        return err;
    }
    n->knocks_ok++;
    i->spent = true;
    close_office(i);
    cv_rv_enter(rv);
    cv_rv_report_knock(rv, &k, a, false, true);
    cv_rv_leave(rv);
    return CV_OK;
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
