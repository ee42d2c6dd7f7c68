#include "session/sync_struct.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/authors.h"
#include "crdt/sync.h"
#include "crdt/update.h"

static int on_step1(struct cv_document_link *l, struct cv_bytes vector)
{
    uint8_t *copy;

    if (l->d->role < CV_ROLE_EDITOR)
        return CV_OK;
    if (!l->step2s)
        return cv_links_step2(l, vector);
    /* Who asks before the last answer has left waits for it. */
    if (vector.len > CV_DOCUMENT_OTHER_MAX)
        return CV_ERR_LIMIT;
    copy = malloc(vector.len + 1);
    if (!copy)
        return CV_ERR_NOMEM;
    if (vector.len)
        memcpy(copy, vector.data, vector.len);
    free(l->asked);
    l->asked = copy;
    l->asked_len = vector.len;
    return CV_OK;
}

/* Until which units are known is an update of this link not integrated? */
static void add_need(struct cv_document_link *l, uint64_t client, uint64_t end)
{
    unsigned i;

    if (cv_doc_clock(l->d->doc, client) >= end)
        return;
    for (i = 0; i < l->n_needs && l->needs[i].client != client; i++)
        ;
    if (i == CV_DOCUMENT_NEEDS) {
        l->needs_all = true;
        return;
    }
    if (i == l->n_needs) {
        l->needs[l->n_needs].client = client;
        l->needs[l->n_needs++].end = 0;
    }
    if (l->needs[i].end < end)
        l->needs[i].end = end;
}

static void need_units(void *user, uint64_t client, uint64_t clock,
                       uint64_t end)
{
    (void)clock;
    add_need(user, client, end);
}

static void need_deleted(void *user, const struct cv_range *range)
{
    add_need(user, range->client, range->clock + range->len);
}

bool cv_links_settled(struct cv_document_link *l)
{
    unsigned kept = 0;

    if (!cv_doc_waiting(l->d->doc)) {
        l->n_needs = 0;
        l->needs_all = false;
    }
    for (unsigned i = 0; i < l->n_needs; i++)
        if (cv_doc_clock(l->d->doc, l->needs[i].client) < l->needs[i].end)
            l->needs[kept++] = l->needs[i];
    l->n_needs = kept;
    return kept == 0 && !l->needs_all;
}

/* What an update of this link waits for, if it does. */
static void note_needs(struct cv_document_link *l, struct cv_bytes update)
{
    if (cv_doc_waiting(l->d->doc) &&
        (cv_update_clients(update, need_units, l) != CV_OK ||
         cv_update_deletes(update, need_deleted, l) != CV_OK))
        l->needs_all = true;
    if (!cv_links_settled(l))
        /* Something is missing; not at once, for it may be under way. */
        l->repair_due =
            cv_time_min(l->repair_due, cv_document_now(l->d) + CV_SECOND);
}

/* Take what may be taken of an update. */
static int apply_update(struct cv_document_link *l, struct cv_bytes update,
                        bool step2, struct cv_doc_applied *applied)
{
    struct cv_document *d = l->d;
    uint64_t by = step2 ? 0 : l->passed_on ? l->by : l->client;
    int err;

    l->passed_on = false;
    err = cv_authors_admit(d, l, &update);
    if (err == CV_OK) {
        cv_authors_note(d, l, by, update);
        err = cv_document_take(d, update, l, by, applied);
    }
    if (err == CV_OK)
        note_needs(l, update);
    cv_document_trim(&d->admitted);
    return err;
}

static int on_update(struct cv_document_link *l, struct cv_bytes update,
                     bool step2)
{
    struct cv_document *d = l->d;
    struct cv_doc_applied applied = {0};
    bool first_text;
    int err;

    if (!cv_links_may_write(l))
        return CV_ERR_DENIED;
    err = apply_update(l, update, step2, &applied);
    if (err == CV_ERR_FORMAT)
        return CV_ERR_PEER;
    if (err != CV_OK)
        return err;
    l->received++;
    if (l->ack_due == CV_NEVER)
        l->ack_due = cv_document_now(d) + CV_DOCUMENT_ACK_DELAY;
    if (applied.news) /* else the answer to a repair asks for the next */
        cv_links_traffic(l);
    first_text = step2 && !d->in_step_told;
    if (first_text)
        d->in_step_told = true;
    if (d->text_changed)
        cv_people_moved(d);
    cv_document_wake(d);

    cv_document_text_done(d);
    cv_people_notify(d);
    if (first_text && d->config.in_step)
        d->config.in_step(d->config.user);
    return CV_OK;
}

static int on_sync(struct cv_document_link *l, struct cv_bytes body)
{
    struct cv_sync_message m;

    if (cv_sync_parse(&m, body) != CV_OK)
        return CV_ERR_PEER;
    switch (m.kind) {
    case CV_SYNC_STEP1:
        return on_step1(l, m.payload);
    case CV_SYNC_STEP2:
    case CV_SYNC_UPDATE:
        return on_update(l, m.payload, m.kind == CV_SYNC_STEP2);
    }
    return CV_ERR_PEER;
}

static int on_who(struct cv_document_link *l, uint64_t client)
{
    const struct cv_document_link *other = cv_links_owner(l->d, client);

    /* The first neighbour that says so is believed, the others lie. */
    if (client == 0 || client == cv_doc_client(l->d->doc) ||
        (other && other != l && other->config.member != l->config.member))
        return CV_OK;
    if (l->client && l->client != client)
        cv_people_left(l->d, l->client);
    l->client = client;
    l->d->people_changed = true;
    return CV_OK;
}

static int on_by(struct cv_document_link *l, uint64_t client)
{
    l->passed_on = true;
    l->by = client;
    return CV_OK;
}

static int on_ack(struct cv_document_link *l, uint64_t count)
{
    uint64_t seq = 0;
    unsigned n = 0;

    if (count > l->sent || count < l->sent_acked)
        return CV_ERR_PEER;
    l->sent_acked = count;
    while (n < l->n_awaited && l->awaited[n].count <= count)
        seq = l->awaited[n++].seq;
    if (n) {
        memmove(l->awaited, l->awaited + n,
                (l->n_awaited - n) * sizeof(l->awaited[0]));
        l->n_awaited -= n;
        cv_document_note_shared(l->d, seq);
    }
    return CV_OK;
}

static int on_claims(struct cv_document_link *l, struct cv_bytes body)
{
    struct cv_document *d = l->d;
    struct cv_reader r;
    struct cv_writer *w = &d->message;

    if (!cv_links_may_write(l))
        return CV_ERR_DENIED;
    cv_writer_reset(w);
    cv_put_varuint(w, CV_MESSAGE_CLAIM);
    cv_reader_init(&r, body.data, body.len);
    while (cv_reader_left(&r)) {
        struct cv_claim claim = cv_get_claim(&r);

        if (r.err != CV_OK)
            return CV_ERR_PEER;
        if (!cv_authors_believe(d, l, &claim))
            continue;
        switch (cv_document_take_claim(d, &claim)) {
        case CV_OK:
            cv_put_claim(w, &claim);
            break;
        case CV_ERR_AUTH:
            return CV_ERR_PEER;
        default: /* known, too many, no memory: authorship is a courtesy */
            break;
        }
    }
    if (d->role >= CV_ROLE_EDITOR && w->len > 1 && w->err == CV_OK)
        cv_links_send(d, cv_writer_bytes(w), l, false);
    return CV_OK;
}

static int on_message(struct cv_document_link *l, struct cv_bytes message);

static int on_part(struct cv_document_link *l, struct cv_bytes body)
{
    struct cv_writer whole;
    struct cv_reader r;
    uint8_t last;
    int err;

    cv_reader_init(&r, body.data, body.len);
    last = cv_get_u8(&r);
    body = cv_get_bytes(&r, cv_reader_left(&r));
    if (r.err == CV_OK && last == CV_PART_ABANDON) {
        cv_writer_fini(&l->parts);
        cv_writer_init_heap(&l->parts, CV_DOCUMENT_OTHER_MAX);
        return CV_OK;
    }
    if (r.err != CV_OK || last > CV_PART_LAST || !body.len)
        return CV_ERR_PEER;
    l->parts.max = cv_links_may_write(l) ? CV_DOCUMENT_UPDATE_MAX + 64
                                         : CV_DOCUMENT_OTHER_MAX;
    if (l->parts.len + body.len > l->parts.max)
        return cv_links_may_write(l) ? CV_ERR_LIMIT : CV_ERR_DENIED;
    err = cv_put_raw(&l->parts, body.data, body.len);
    if (err != CV_OK)
        return err;
    if (!last)
        return CV_OK;
    /* Finish with our own state before calling on. */
    whole = l->parts;
    cv_writer_init_heap(&l->parts, CV_DOCUMENT_OTHER_MAX);
    err = on_message(l, cv_writer_bytes(&whole));
    cv_writer_fini(&whole);
    return err;
}

static int on_message(struct cv_document_link *l, struct cv_bytes message)
{
    struct cv_reader r;
    struct cv_bytes body;
    uint64_t kind, number;
    int err;

    cv_reader_init(&r, message.data, message.len);
    kind = cv_get_varuint(&r);
    body = cv_get_bytes(&r, cv_reader_left(&r));
    if (r.err != CV_OK)
        return CV_ERR_PEER;
    switch (kind) {
    case CV_MESSAGE_SYNC:
        return on_sync(l, body);
    case CV_MESSAGE_AWARENESS:
        err = cv_people_input(l->d, body, l);
        if (err == CV_OK)
            cv_people_notify(l->d);
        return err;
    case CV_MESSAGE_BY:
    case CV_MESSAGE_WHO:
    case CV_MESSAGE_ACK:
        cv_reader_init(&r, body.data, body.len);
        number = cv_get_varuint(&r);
        if (r.err != CV_OK)
            return CV_ERR_PEER;
        return kind == CV_MESSAGE_BY    ? on_by(l, number)
               : kind == CV_MESSAGE_WHO ? on_who(l, number)
                                        : on_ack(l, number);
    case CV_MESSAGE_ASK:
        return cv_links_step1(l);
    case CV_MESSAGE_CLAIM:
        return on_claims(l, body);
    default:
        return CV_OK; /* of a later version */
    }
}

int cv_document_link_input(struct cv_document_link *l, struct cv_bytes message)
{
    struct cv_reader r;
    uint64_t kind;

    if (message.len > CV_DOCUMENT_MESSAGE_MAX)
        return CV_ERR_PEER;
    cv_reader_init(&r, message.data, message.len);
    kind = cv_get_varuint(&r);
    if (r.err == CV_OK && kind == CV_MESSAGE_PART)
        return on_part(l, CV_BYTES(r.at, cv_reader_left(&r)));
    /* Parts of one message come one after the other. */
    if (l->parts.len)
        return CV_ERR_PEER;
    return on_message(l, message);
}
