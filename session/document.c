#include "session/document.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "session/control.h"
#include "session/document_impl.h"
#include "session/document_struct.h"

/* Timers: `kept_due` gathers what the editor is told of kept and shared
 * commits; those of the links are in sync.c, of the cursors in people.c, of
 * the disk in journal.c. */

static const struct cv_doc_limits limits = {
    .update_bytes = CV_DOCUMENT_UPDATE_MAX,
    .log_bytes = 4u * (size_t)CV_DOCUMENT_MAX,
    .items = 64u << 20,
    .clients = 64u << 10,
    .lists = 64u << 10,
    .waiting = 100000,
    .waiting_bytes = 16u << 20,
    .nesting = 32,
};

cv_time cv_document_now(const struct cv_document *d)
{
    return d->config.now(d->config.user);
}

void cv_document_wake(const struct cv_document *d)
{
    if (d->config.wake)
        d->config.wake(d->config.user);
}

/* ---- making one ---- */

static int draw_client(struct cv_document *d, uint64_t *out)
{
    /* Thirty-two bits, as all implementations can store them. */
    for (int i = 0; i < 100; i++) {
        uint64_t id = cv_random_u64(d->config.rng) & UINT32_MAX;

        if (id && cv_doc_clock(d->doc, id) == 0 &&
            !cv_claims_find(d->claims, id)) {
            *out = id;
            return CV_OK;
        }
    }
    return CV_ERR_INTERNAL;
}

static int new_client(struct cv_document *d)
{
    uint64_t id;
    int err = draw_client(d, &id);

    if (err == CV_OK)
        err = cv_doc_set_client(d->doc, id);
    if (err != CV_OK)
        return err;
    d->claimed = false;
    return CV_OK;
}

static int replay(void *user, struct cv_bytes update)
{
    struct cv_document *d = user;
    int err = cv_doc_apply(d->doc, update, NULL, NULL, NULL);

    /* Its checksum was right, so it is ours to be forgiven. */
    if (err == CV_ERR_FORMAT || err == CV_ERR_LIMIT) {
        cv_warn(d->config.log, "document: stored update skipped, error=%s",
                cv_strerror(err));
        return CV_OK;
    }
    return err;
}

static int tell_state(void *user, struct cv_writer *out)
{
    const struct cv_document *d = user;

    return cv_doc_encode(d->doc, CV_BYTES(NULL, 0), out);
}

static void load_claim(void *user, struct cv_bytes key, struct cv_bytes value)
{
    struct cv_document *d = user;
    struct cv_reader r;
    struct cv_claim claim;

    cv_reader_init(&r, key.data, key.len);
    if (cv_get_u32(&r) != d->config.id)
        return;
    cv_reader_init(&r, value.data, value.len);
    claim = cv_get_claim(&r);
    if (cv_reader_end(&r) != CV_OK || cv_claims_add(d->claims, &claim) != CV_OK)
        cv_debug(d->config.log, "document: stored claim skipped");
}

static int load_stored(struct cv_document *d)
{
    struct cv_journal *j = d->config.journal;
    uint8_t space[4 + sizeof(struct cv_document_meta) + 64];
    uint8_t id[4];
    struct cv_writer key, meta;
    int err;

    if (!j)
        return CV_OK;
    err = cv_journal_updates(j, d->config.id, replay, d);
    if (err != CV_OK)
        return err;
    cv_journal_each(j, CV_FACT_CLAIM, load_claim, d);
    cv_writer_init(&key, id, sizeof(id));
    cv_put_u32(&key, d->config.id);
    cv_writer_init(&meta, space, sizeof(space));
    err = cv_put_meta(&meta, &d->config.meta);
    if (err != CV_OK)
        return CV_ERR_FORMAT;
    err = cv_journal_put(j, CV_FACT_DOCUMENT, cv_writer_bytes(&key),
                         cv_writer_bytes(&meta));
    if (err != CV_OK)
        return err;
    cv_journal_set_source(j, d->config.id, tell_state, d);
    return CV_OK;
}

int cv_document_new(struct cv_document **out,
                    const struct cv_document_config *config)
{
    struct cv_document *d;
    uint64_t id;
    int err;

    if (!cv_path_acceptable(config->meta.path))
        return CV_ERR_FORMAT;
    d = calloc(1, sizeof(*d));
    if (!d)
        return CV_ERR_NOMEM;
    d->config = *config;
    d->config.name = NULL;
    d->role = config->role;
    d->kept_due = d->cursor_due = d->moved_due = CV_NEVER;
    if (config->name)
        cv_text_clean(d->name, sizeof(d->name), config->name,
                      strlen(config->name));
    cv_writer_init_heap(&d->update, CV_DOCUMENT_UPDATE_MAX);
    cv_writer_init_heap(&d->news, CV_DOCUMENT_UPDATE_MAX);
    cv_writer_init_heap(&d->message, CV_DOCUMENT_UPDATE_MAX + 64);
    cv_writer_init_heap(&d->admitted, CV_DOCUMENT_UPDATE_MAX);

    err = cv_claims_new(&d->claims, &config->session, config->id);
    if (err == CV_OK)
        err = cv_doc_new(&d->doc, 1, &limits);
    if (err == CV_OK)
        err = load_stored(d);
    if (err == CV_OK)
        err = draw_client(d, &id);
    if (err == CV_OK)
        err = cv_doc_set_client(d->doc, id);
    if (err == CV_OK)
        err = cv_people_new(d);
    if (err != CV_OK) {
        cv_document_free(d);
        return err;
    }
    *out = d;
    return CV_OK;
}

void cv_document_free(struct cv_document *d)
{
    if (!d)
        return;
    assert(!d->n_links);
    if (d->config.journal)
        cv_journal_set_source(d->config.journal, d->config.id, NULL, NULL);
    cv_people_free(d);
    cv_authors_free(d);
    cv_claims_free(d->claims);
    cv_undo_free(d->undo);
    cv_doc_free(d->doc);
    cv_writer_fini(&d->update);
    cv_writer_fini(&d->news);
    cv_writer_fini(&d->message);
    cv_writer_fini(&d->admitted);
    free(d);
}

/* ---- questions ---- */

void cv_document_set_events(struct cv_document *d,
                            const struct cv_document_events *events, void *user)
{
    if (events)
        d->events = *events;
    else
        memset(&d->events, 0, sizeof(d->events));
    d->user = user;
}

uint32_t cv_document_id(const struct cv_document *d)
{
    return d->config.id;
}

const struct cv_document_meta *cv_document_meta(const struct cv_document *d)
{
    return &d->config.meta;
}

const struct cv_doc *cv_document_text(const struct cv_document *d)
{
    return d->doc;
}

uint64_t cv_document_client(const struct cv_document *d)
{
    return cv_doc_client(d->doc);
}

/* ---- what is kept ---- */

uint64_t cv_document_mark(const struct cv_document *d)
{
    return d->config.journal ? cv_journal_mark(d->config.journal) : 0;
}

bool cv_document_has_kept(const struct cv_document *d, uint64_t mark)
{
    return !d->config.journal || cv_journal_has_kept(d->config.journal, mark);
}

/* So many commits are made, and the last is written with what is in the journal
 * now.  With no room to remember it, it counts with those after it. */
static void note_commit(struct cv_document *d)
{
    if (d->n_unkept == CV_DOCUMENT_UNKEPT)
        d->n_unkept--;
    d->unkept[d->n_unkept].mark = cv_document_mark(d);
    d->unkept[d->n_unkept++].commits = d->commits;
}

static void update_kept(struct cv_document *d)
{
    unsigned n = 0;

    while (n < d->n_unkept && cv_document_has_kept(d, d->unkept[n].mark))
        d->kept = d->unkept[n++].commits;
    d->n_unkept -= n;
    if (n)
        memmove(d->unkept, d->unkept + n, d->n_unkept * sizeof(d->unkept[0]));
}

static void tell_kept_soon(struct cv_document *d)
{
    if (d->kept_due == CV_NEVER) {
        d->kept_due = cv_document_now(d) + CV_DOCUMENT_KEPT_DELAY;
        cv_document_wake(d);
    }
}

void cv_document_note_shared(struct cv_document *d, uint64_t seq)
{
    if (seq <= d->shared)
        return;
    d->shared = seq;
    tell_kept_soon(d);
}

void cv_document_counts(const struct cv_document *d, uint64_t *commits,
                        uint64_t *kept, uint64_t *shared)
{
    *commits = d->commits;
    *kept = d->kept;
    for (unsigned i = 0; i < d->n_unkept; i++)
        if (cv_document_has_kept(d, d->unkept[i].mark))
            *kept = d->unkept[i].commits;
    *shared = d->shared;
}

/* Write it to the journal; what cannot be written waits there. */
static int keep(struct cv_document *d, struct cv_bytes update)
{
    return d->config.journal
               ? cv_journal_append(d->config.journal, d->config.id, update)
               : CV_OK;
}

/* Big updates are rare: do not hold their memory for ever. */
void cv_document_trim(struct cv_writer *w)
{
    if (w->cap > CV_DOCUMENT_QUEUE_MAX) {
        size_t max = w->max;

        cv_writer_fini(w);
        cv_writer_init_heap(w, max);
    }
}

/* ---- local edits ---- */

static void store_claim(struct cv_document *d, const struct cv_claim *claim)
{
    uint8_t space[12], body[CV_CLAIM_BYTES];
    struct cv_writer key, value;

    if (!d->config.journal)
        return;
    cv_writer_init(&key, space, sizeof(space));
    cv_put_u32(&key, d->config.id);
    cv_put_u64(&key, claim->client);
    cv_writer_init(&value, body, sizeof(body));
    cv_put_claim(&value, claim);
    if (cv_journal_put(d->config.journal, CV_FACT_CLAIM, cv_writer_bytes(&key),
                       cv_writer_bytes(&value)) != CV_OK)
        cv_debug(d->config.log, "document: claim not stored yet");
}

/* State that we write under our client id, before the first edit does. */
static void make_claim(struct cv_document *d)
{
    uint8_t body[1 + CV_CLAIM_BYTES + 2];
    struct cv_claim claim;
    struct cv_writer w;
    int err;

    if (d->claimed || !d->config.identity)
        return;
    err = cv_claims_sign(d->claims, &claim, d->config.identity,
                         d->seeding ? &d->config.session : &d->config.node,
                         cv_doc_client(d->doc));
    if (err == CV_OK)
        err = cv_claims_add(d->claims, &claim);
    if (err != CV_OK) {
        /* Text without a claim shows as of an unknown author. */
        cv_warn(d->config.log, "document: no claim made, error=%s",
                cv_strerror(err));
        d->claimed = err == CV_ERR_EXISTS || err == CV_ERR_LIMIT;
        return;
    }
    d->claimed = true;
    store_claim(d, &claim);
    cv_writer_init(&w, body, sizeof(body));
    cv_put_varuint(&w, CV_MESSAGE_CLAIM);
    cv_put_claim(&w, &claim);
    cv_links_send(d, cv_writer_bytes(&w), NULL, false);
}

int cv_document_take_claim(struct cv_document *d, const struct cv_claim *claim)
{
    int err = cv_claims_add(d->claims, claim);

    if (err == CV_OK)
        store_claim(d, claim);
    return err;
}

int cv_document_begin(struct cv_document *d)
{
    int err;

    if (d->role < CV_ROLE_EDITOR)
        return CV_ERR_DENIED;
    err = cv_doc_begin(d->doc);
    if (err != CV_OK)
        return err;
    d->open = true;
    return CV_OK;
}

int cv_document_insert(struct cv_document *d, size_t at, const void *text,
                       size_t len)
{
    if (!d->open)
        return CV_ERR_INVALID;
    if (len > CV_DOCUMENT_MAX ||
        cv_doc_text_bytes(d->doc) > CV_DOCUMENT_MAX - len)
        return CV_ERR_LIMIT;
    if (d->undo)
        return cv_undo_insert(d->undo, at, text, len);
    return cv_doc_insert(d->doc, at, text, len);
}

int cv_document_delete(struct cv_document *d, size_t at, size_t len)
{
    if (!d->open)
        return CV_ERR_INVALID;
    if (d->undo)
        return cv_undo_delete(d->undo, at, len);
    return cv_doc_delete(d->doc, at, len);
}

/* Close the transaction, keep and pass on what it did.  `*changed`: it did
 * something. */
static int finish(struct cv_document *d, bool *changed, bool counts)
{
    uint64_t by = cv_doc_client(d->doc);
    int err;

    d->open = false;
    *changed = false;
    cv_writer_reset(&d->update);
    err = cv_doc_commit(d->doc, &d->update);
    if (err != CV_OK) {
        /* The update of it could not be made: tell everything instead, now
         * that the transaction is closed. */
        cv_writer_reset(&d->update);
        by = 0;
        err = cv_doc_encode(d->doc, CV_BYTES(NULL, 0), &d->update);
        if (err != CV_OK)
            return err;
    }
    if (!d->update.len)
        return CV_OK;
    *changed = true;
    make_claim(d);
    err = keep(d, cv_writer_bytes(&d->update));
    if (counts)
        d->commits++;
    cv_links_update(d, cv_writer_bytes(&d->update), NULL, by);
    cv_document_trim(&d->update);
    return err;
}

int cv_document_commit(struct cv_document *d, uint64_t *seq)
{
    bool changed;
    int err;

    if (!d->open)
        return CV_ERR_INVALID;
    err = finish(d, &changed, true);
    if (seq)
        *seq = d->commits;
    if (!changed)
        return err;
    cv_people_moved(d);
    note_commit(d);
    update_kept(d);
    tell_kept_soon(d);
    return err;
}

void cv_document_set_group(struct cv_document *d, uint64_t group)
{
    if (!d->undo &&
        cv_undo_new(&d->undo, d->doc, CV_DOCUMENT_UNDO_MAX) != CV_OK)
        return; /* without memory there is no undo yet */
    cv_undo_limit_text(d->undo, CV_DOCUMENT_MAX);
    cv_undo_group(d->undo, group);
}

int cv_document_undo(struct cv_document *d, enum cv_undo_way way,
                     struct cv_undone *out, uint64_t *seq)
{
    int err, closed;

    *out = (struct cv_undone){0, 0};
    *seq = d->commits;
    if (!d->undo || (d->role >= CV_ROLE_EDITOR && !cv_undo_count(d->undo, way)))
        return CV_ERR_NOTFOUND;
    err = cv_document_begin(d);
    if (err != CV_OK)
        return err;
    d->text_changed = false;
    err = cv_undo_step(d->undo, way, cv_document_on_text, d, out);
    closed = cv_document_commit(d, seq);
    cv_document_text_done(d);
    return err != CV_OK ? err : closed;
}

int cv_document_seed(struct cv_document *d, struct cv_bytes text)
{
    bool changed;
    int err, closed;

    if (text.len > CV_DOCUMENT_MAX)
        return CV_ERR_LIMIT;
    err = cv_doc_begin(d->doc);
    if (err != CV_OK)
        return err;
    err = cv_doc_insert(d->doc, cv_doc_text_bytes(d->doc), text.data, text.len);
    d->seeding = true;
    closed = finish(d, &changed, false);
    d->seeding = false;
    /* What is written from now on has another client id, so that it can be
     * told from what there was. */
    d->all_noted = true;
    if (changed)
        cv_document_change_client(d);
    return err != CV_OK ? err : closed;
}

/* ---- remote updates ---- */

void cv_document_on_text(void *user, const struct cv_text_change *change)
{
    struct cv_document *d = user;

    d->text_changed = true;
    if (d->events.text)
        d->events.text(d->user, change);
}

void cv_document_text_done(struct cv_document *d)
{
    if (d->text_changed && d->events.text_done)
        d->events.text_done(d->user);
}

void cv_document_change_client(struct cv_document *d)
{
    if (new_client(d) != CV_OK)
        return;
    cv_people_client_changed(d);
    cv_links_client_changed(d);
}

int cv_document_take(struct cv_document *d, struct cv_bytes update,
                     struct cv_document_link *from, uint64_t by,
                     struct cv_doc_applied *applied)
{
    const struct cv_doc_observer observer = {.text = cv_document_on_text,
                                             .user = d};
    int err;

    d->text_changed = false;
    cv_writer_reset(&d->news);
    err = cv_doc_apply(d->doc, update, &observer, &d->news, applied);
    if (err == CV_ERR_NOMEM && d->news.err != CV_OK) {
        /* Applied, but what was new of it could not be told. */
        cv_writer_reset(&d->news);
        err = cv_doc_encode(d->doc, CV_BYTES(NULL, 0), &d->news);
        by = 0; /* it tells of all deletes, whoever made them */
    }
    if (err != CV_OK && err != CV_ERR_NOBUF)
        return err;
    if (d->news.len) {
        if (keep(d, cv_writer_bytes(&d->news)) != CV_OK)
            cv_debug(d->config.log, "document: update cannot be stored yet");
        /* A viewer could forge, so nobody takes text from one. */
        if (d->role >= CV_ROLE_EDITOR)
            cv_links_update(d, cv_writer_bytes(&d->news), from, by);
    }
    cv_document_trim(&d->news);
    if (applied->own_id) {
        cv_warn(d->config.log, "document: somebody writes under our client id");
        cv_document_change_client(d);
    }
    return CV_OK;
}

/* ---- roles, timers ---- */

void cv_document_set_role(struct cv_document *d, enum cv_role role)
{
    bool wrote = d->role >= CV_ROLE_EDITOR;

    d->role = role;
    if (wrote != (role >= CV_ROLE_EDITOR))
        cv_links_role_changed(d, role >= CV_ROLE_EDITOR);
}

cv_time cv_document_deadline(const struct cv_document *d)
{
    cv_time due = cv_time_min(d->kept_due, cv_links_deadline(d));

    due = cv_time_min(due, cv_people_deadline(d));
    if (d->config.journal)
        due = cv_time_min(due, cv_journal_deadline(d->config.journal));
    return due;
}

void cv_document_step(struct cv_document *d, cv_time now)
{
    if (d->config.journal)
        cv_journal_step(d->config.journal, now);
    update_kept(d);
    /* The journal has gathered them. */
    if (d->config.journal && d->kept != d->told_kept)
        d->kept_due = now;
    cv_links_step(d, now);
    cv_people_step(d, now);

    cv_people_notify(d);
    if (now < d->kept_due)
        return;
    d->kept_due = CV_NEVER;
    if (d->told_kept == d->kept && d->told_shared == d->shared)
        return;
    d->told_kept = d->kept;
    d->told_shared = d->shared;
    if (d->events.kept)
        d->events.kept(d->user, d->kept, d->shared);
}
