#include "crdt/authors.h"
#include "crdt/update.h"
#include "session/sync_struct.h"

/* Of the text that the session began with, as its sharer signed. */
static bool is_first_text(const struct cv_document *d,
                          const struct cv_claim *claim)
{
    return cv_key_equal(&claim->node, &d->config.session) &&
           cv_key_equal(&claim->identity, &d->config.sharer);
}

static bool is_us(const struct cv_document *d, const struct cv_key *identity)
{
    return d->config.identity &&
           cv_key_equal(&d->config.identity->pub, identity);
}

/* ---- what is taken from whom ---- */

static bool is_claimant(const struct cv_key *identity,
                        const struct cv_key *node, const struct cv_claim *claim)
{
    return cv_key_equal(identity, &claim->identity) &&
           cv_key_equal(node, &claim->node);
}

/* Does what is new under this client id have to come from somebody else? */
static bool is_held(const struct cv_document *d,
                    const struct cv_document_link *from, uint64_t client)
{
    const struct cv_claim *claim = cv_claims_find(d->claims, client);

    /* Nobody continues what this process writes. */
    if (client == cv_doc_client(d->doc))
        return d->claimed;
    if (!claim || cv_key_equal(&claim->identity, &from->config.identity))
        return false;
    if (d->config.identity &&
        is_claimant(&d->config.identity->pub, &d->config.node, claim))
        return true;
    for (unsigned i = 0; i < d->n_links; i++) {
        const struct cv_document_link *l = d->links[i];

        if (l != from && !l->dead && l->role >= CV_ROLE_EDITOR &&
            is_claimant(&l->config.identity, &l->config.node, claim))
            return true;
    }
    return false;
}

struct admission {
    struct cv_document *d;
    const struct cv_document_link *from;
    bool holds; /* something new is to be left out */
    bool own;   /* of it under our own client id */
};

static void look(void *user, uint64_t client, uint64_t clock, uint64_t end)
{
    struct admission *a = user;

    (void)clock;
    if (end <= cv_doc_clock(a->d->doc, client) ||
        !is_held(a->d, a->from, client))
        return;
    a->holds = true;
    a->own = a->own || client == cv_doc_client(a->d->doc);
}

static bool keep(void *user, uint64_t client)
{
    const struct admission *a = user;

    return !is_held(a->d, a->from, client);
}

int cv_authors_admit(struct cv_document *d, const struct cv_document_link *from,
                     struct cv_bytes *update)
{
    struct admission a = {.d = d, .from = from};
    int err = cv_update_clients(*update, look, &a);

    if (err != CV_OK || !a.holds)
        return err;
    cv_debug(d->config.log, "document: text of another left out, member=%u",
             from->config.member);
    cv_writer_reset(&d->admitted);
    err = cv_update_filter(*update, keep, &a, &d->admitted);
    if (err != CV_OK)
        return err;
    d->held = true;
    *update = cv_writer_bytes(&d->admitted);
    if (a.own) {
        cv_warn(d->config.log, "document: somebody writes under our client id");
        cv_document_change_client(d);
    }
    return CV_OK;
}

bool cv_authors_believe(struct cv_document *d,
                        const struct cv_document_link *from,
                        const struct cv_claim *claim)
{
    if (claim->client == cv_doc_client(d->doc)) {
        if (is_us(d, &claim->identity))
            return true;
        /* Whoever heard of it first believes it: write under another one. */
        if (!d->open && !d->claimed)
            cv_document_change_client(d);
        return false;
    }
    for (unsigned i = 0; i < d->n_links; i++) {
        const struct cv_document_link *l = d->links[i];

        if (cv_key_equal(&l->config.identity, &claim->identity))
            continue;
        if (cv_key_equal(&l->config.node, &claim->node) ||
            (l != from && l->client == claim->client))
            return false;
    }
    return true;
}

/* ---- who deleted what ---- */

/* The number of a person; CV_REVERT_PEOPLE: there are too many. */
static unsigned number_of(struct cv_document *d, const struct cv_key *identity,
                          bool add)
{
    for (unsigned i = 0; i < d->n_deleters; i++)
        if (cv_key_equal(&d->deleters[i], identity))
            return i;
    if (!add || d->n_deleters == CV_REVERT_PEOPLE)
        return CV_REVERT_PEOPLE;
    d->deleters[d->n_deleters] = *identity;
    return d->n_deleters++;
}

struct deleter {
    const struct cv_document *d;
    const struct cv_key *identity;
    uint64_t client;
};

/* Did the one who deletes write it?  What the session began with comes back
 * also when its sharer deleted it. */
static bool is_theirs(void *user, uint64_t client)
{
    const struct deleter *x = user;
    const struct cv_claim *claim = cv_claims_find(x->d->claims, client);

    if (!claim)
        return client == x->client;
    return cv_key_equal(&claim->identity, x->identity) &&
           !is_first_text(x->d, claim);
}

/* Whose replica made an update, as its neighbour says; NULL: nobody knows. */
static const struct cv_key *maker_of(const struct cv_document *d,
                                     const struct cv_document_link *from,
                                     uint64_t by)
{
    static const struct cv_key nobody;
    const struct cv_claim *claim;

    if (by && by == from->client)
        return cv_key_equal(&from->config.identity, &nobody)
                   ? NULL
                   : &from->config.identity;
    claim = cv_claims_find(d->claims, by);
    return by && claim ? &claim->identity : NULL;
}

void cv_authors_note(struct cv_document *d, const struct cv_document_link *from,
                     uint64_t by, struct cv_bytes update)
{
    struct deleter x = {d, maker_of(d, from, by), by};
    unsigned who = CV_REVERT_PEOPLE;

    if (!cv_revert_would_delete(d->doc, update))
        return;
    if (x.identity && is_us(d, x.identity))
        return;
    if (x.identity &&
        (d->revert ||
         cv_revert_new(&d->revert, d->doc, CV_DOCUMENT_REVERT_MAX) == CV_OK))
        who = number_of(d, x.identity, true);
    if (who == CV_REVERT_PEOPLE)
        d->all_noted = false; /* and nobody knows whose it was */
    else
        cv_revert_note(d->revert, who, update, is_theirs, &x);
}

void cv_authors_free(struct cv_document *d)
{
    cv_revert_free(d->revert);
}

/* ---- who wrote what ---- */

struct telling {
    const struct cv_document *d;
    bool (*fn)(void *user, const struct cv_author *who, size_t bytes);
    void *user;
    struct cv_author who;
    size_t bytes;
};

static struct cv_author author_of(const struct cv_document *d,
                                  const struct cv_claim *claim)
{
    struct cv_author who = {.known = claim != NULL};

    if (claim) {
        who.identity = claim->identity;
        who.you = is_us(d, &claim->identity);
    }
    return who;
}

static bool tell(void *user, uint64_t client, size_t bytes)
{
    struct telling *t = user;
    struct cv_author who =
        author_of(t->d, cv_claims_find(t->d->claims, client));
    bool go_on = true;

    if (t->bytes && (who.known != t->who.known ||
                     !cv_key_equal(&who.identity, &t->who.identity))) {
        go_on = t->fn(t->user, &t->who, t->bytes);
        t->bytes = 0;
    }
    t->who = who;
    t->bytes += bytes;
    if (!go_on)
        t->bytes = 0;
    return go_on;
}

int cv_document_authors(const struct cv_document *d, size_t at, size_t len,
                        bool (*fn)(void *user, const struct cv_author *who,
                                   size_t bytes),
                        void *user)
{
    struct telling t = {.d = d, .fn = fn, .user = user};
    int err = cv_doc_authors(d->doc, at, len, tell, &t);

    if (err == CV_OK && t.bytes)
        (void)fn(user, &t.who, t.bytes);
    return err;
}

void cv_document_writers(const struct cv_document *d,
                         void (*fn)(void *user, const struct cv_author *who),
                         void *user)
{
    const struct cv_claim *claim, *other;

    for (size_t i = 0; (claim = cv_claims_at(d->claims, i)); i++) {
        struct cv_author who = author_of(d, claim);
        size_t k = 0;

        while ((other = cv_claims_at(d->claims, k)) != claim &&
               !cv_key_equal(&other->identity, &claim->identity))
            k++;
        if (other == claim)
            fn(user, &who);
    }
}

/* ---- taking back what somebody did ---- */

/* Everything of one person but what the session began with. */
static int change_of(const struct cv_document *d, const struct cv_key *who,
                     unsigned number, struct cv_change *out)
{
    const struct cv_claim *claim;
    int err = CV_OK;

    for (size_t i = 0; err == CV_OK && (claim = cv_claims_at(d->claims, i));
         i++)
        if (cv_key_equal(&claim->identity, who) && !is_first_text(d, claim))
            err = cv_revert_change(d->revert, CV_REVERT_PEOPLE, &claim->client,
                                   1, out);
    return err == CV_OK ? cv_revert_change(d->revert, number, NULL, 0, out)
                        : err;
}

static void fill_reverted(const struct cv_taken *taken, struct cv_reverted *out)
{
    out->removed = taken->removed;
    out->removed_bytes = taken->removed_bytes;
    out->restored = taken->restored;
    out->restored_bytes = taken->restored_bytes;
    out->at = taken->first;
}

static int take_back(struct cv_document *d, struct cv_change *change,
                     unsigned number, uint64_t group, struct cv_taken *taken,
                     uint64_t *seq)
{
    int err, closed;

    cv_document_set_group(d, group);
    if (!d->undo)
        return CV_ERR_NOMEM;
    err = cv_document_begin(d);
    if (err != CV_OK)
        return err;
    d->text_changed = false;
    err = cv_undo_revert(d->undo, change, group, cv_document_on_text, d, taken);
    closed = cv_document_commit(d, seq);
    if (taken->changed)
        cv_revert_forget(d->revert, number);
    cv_document_text_done(d);
    return err != CV_OK ? err : closed;
}

int cv_document_revert(struct cv_document *d, const struct cv_key *who,
                       uint64_t group, bool dry, struct cv_reverted *out,
                       uint64_t *seq)
{
    unsigned number = number_of(d, who, false);
    struct cv_change change = {0};
    struct cv_taken taken = {0};
    int err;

    *out = (struct cv_reverted){0};
    *seq = d->commits;
    if (d->role < CV_ROLE_EDITOR)
        return CV_ERR_DENIED;
    if (is_us(d, who) || d->open)
        return CV_ERR_INVALID;
    if (!d->revert &&
        cv_revert_new(&d->revert, d->doc, CV_DOCUMENT_REVERT_MAX) != CV_OK)
        return CV_ERR_NOMEM;
    err = change_of(d, who, number, &change);
    if (err == CV_OK)
        err = cv_change_measure(d->doc, &change, &taken);
    fill_reverted(&taken, out);
    out->whole = d->all_noted && !cv_revert_forgot(d->revert, number);
    if (err == CV_OK && !taken.removed && !taken.restored)
        err = CV_ERR_NOTFOUND;
    if (err == CV_OK && !dry) {
        err = take_back(d, &change, number, group, &taken, seq);
        fill_reverted(&taken, out);
        out->undoable = d->undo && cv_undo_count(d->undo, CV_UNDO_BACK) > 0;
    }
    cv_change_fini(&change);
    return err;
}
