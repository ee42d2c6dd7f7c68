#include "crdt/sync.h"
#include "crdt/authors.h"
#include "crdt/update.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "session/document_struct.h"

/* Timers of a link: `ack_due` gathers acks, `repair_due` sends step1, and asks
 * for one, after CV_DOCUMENT_REPAIR in which something happened. */

/* Bytes of small messages that wait; then acks do not join them. */
#define ACKS_QUEUED 4096

static void set_state(struct cv_document_link *l, enum cv_link_state to)
{
    static const char *const name[] = {"waiting", "in step", "lagging"};

    if (to != l->state)
        cv_debug(l->d->config.log, "sync: member=%u, %s -> %s",
                 l->config.member, name[l->state], name[to]);
    l->state = to;
}

static bool may_write(const struct cv_document_link *l)
{
    return l->role >= CV_ROLE_EDITOR;
}

/* ---- sending ---- */

/* Hand one message of at most CV_DOCUMENT_MESSAGE_MAX to the stream. */
static bool hand_over(struct cv_document_link *l, struct cv_bytes message)
{
    int err;

    if (l->dead || l->full)
        return false;
    assert(message.len <= CV_DOCUMENT_MESSAGE_MAX);
    err = l->config.send(l->config.user, message);
    if (err == CV_ERR_AGAIN)
        l->full = true;
    else if (err != CV_OK)
        l->dead = true;
    return err == CV_OK;
}

/* A counted message left: its ack says that `seq` commits are shared. */
static void note_sent(struct cv_document_link *l, uint64_t seq)
{
    l->sent++;
    if (seq == 0 || (l->n_awaited && l->awaited[l->n_awaited - 1].seq == seq))
        return;
    if (l->n_awaited < CV_DOCUMENT_AWAITED)
        l->n_awaited++;
    l->awaited[l->n_awaited - 1].count = l->sent;
    l->awaited[l->n_awaited - 1].seq = seq;
}

/* Send as much of a queued message as the stream takes; true when all went. */
static bool pump_one(struct cv_document_link *l, struct cv_outgoing *o)
{
    /* Kind and `last` of a part take three bytes. */
    const size_t chunk = CV_DOCUMENT_MESSAGE_MAX - 8;
    uint8_t part[CV_DOCUMENT_MESSAGE_MAX];
    struct cv_writer w;

    if (o->len <= CV_DOCUMENT_MESSAGE_MAX)
        return hand_over(l, CV_BYTES(o->data, o->len));
    while (o->at < o->len) {
        size_t n = o->len - o->at < chunk ? o->len - o->at : chunk;

        cv_writer_init(&w, part, sizeof(part));
        cv_put_varuint(&w, CV_MESSAGE_PART);
        cv_put_u8(&w, o->at + n == o->len ? CV_PART_LAST : CV_PART_MORE);
        cv_put_raw(&w, o->data + o->at, n);
        if (!hand_over(l, cv_writer_bytes(&w)))
            return false;
        o->at += n;
    }
    return true;
}

static bool is_counted(enum cv_outgoing_kind kind)
{
    return kind == OUTGOING_STEP2 || kind == OUTGOING_UPDATE;
}

/* A message came into the queue, or left it. */
static void account(struct cv_document_link *l, const struct cv_outgoing *o,
                    bool in)
{
    if (in)
        l->queued += o->len;
    else
        l->queued -= o->len;
    switch (o->kind) {
    case OUTGOING_STEP1:
        l->step1s = in ? l->step1s + 1 : l->step1s - 1;
        break;
    case OUTGOING_STEP2:
        l->step2s = in ? l->step2s + 1 : l->step2s - 1;
        break;
    case OUTGOING_UPDATE:
    case OUTGOING_BY:
        break;
    case OUTGOING_OTHER:
        l->other_queued =
            in ? l->other_queued + o->len : l->other_queued - o->len;
        break;
    }
}

static void drop_first(struct cv_document_link *l)
{
    struct cv_outgoing *o = l->first;

    l->first = o->next;
    if (!l->first)
        l->last = &l->first;
    account(l, o, false);
    free(o);
}

static void pump_queue(struct cv_document_link *l)
{
    while (l->first && pump_one(l, l->first)) {
        if (is_counted(l->first->kind))
            note_sent(l, l->first->seq);
        drop_first(l);
    }
}

static int enqueue(struct cv_document_link *l, struct cv_bytes message,
                   enum cv_outgoing_kind kind, uint64_t seq)
{
    struct cv_outgoing *o;

    if (l->dead)
        return CV_OK;
    if (!l->first && message.len <= CV_DOCUMENT_MESSAGE_MAX &&
        hand_over(l, message)) {
        if (is_counted(kind))
            note_sent(l, seq);
        return CV_OK;
    }
    o = malloc(sizeof(*o) + message.len);
    if (!o)
        return CV_ERR_NOMEM;
    *o = (struct cv_outgoing){.kind = kind, .seq = seq, .len = message.len};
    memcpy(o->data, message.data, message.len);
    *l->last = o;
    l->last = &o->next;
    account(l, o, true);
    pump_queue(l);
    return CV_OK;
}

/* A message that has no meaning for the order of updates, and is small.  What
 * a stopped peer makes wait is bounded too. */
static void send_small(struct cv_document_link *l, struct cv_bytes message)
{
    if (l->other_queued > CV_DOCUMENT_OTHER_MAX / 4 ||
        enqueue(l, message, OUTGOING_OTHER, 0) != CV_OK)
        cv_debug(l->d->config.log, "sync: member=%u, message dropped",
                 l->config.member);
}

static void send_number(struct cv_document_link *l, uint64_t kind, uint64_t n)
{
    uint8_t space[16];
    struct cv_writer w;

    cv_writer_init(&w, space, sizeof(space));
    cv_put_varuint(&w, kind);
    cv_put_varuint(&w, n);
    send_small(l, cv_writer_bytes(&w));
}

static void send_ask(struct cv_document_link *l)
{
    static const uint8_t ask = CV_MESSAGE_ASK;

    send_small(l, CV_BYTES(&ask, 1));
}

static int send_step1(struct cv_document_link *l)
{
    struct cv_writer *w = &l->d->message;
    int err;

    l->repair_due = CV_NEVER;
    if (l->step1s)
        return CV_OK; /* one that waits says as much */
    cv_writer_reset(w);
    cv_put_varuint(w, CV_MESSAGE_SYNC);
    err = cv_sync_put_step1(w, l->d->doc);
    if (err == CV_OK)
        err = enqueue(l, cv_writer_bytes(w), OUTGOING_STEP1, 0);
    return err;
}

/* The answer to a step1; from here on the peer gets every update. */
static int send_step2(struct cv_document_link *l, struct cv_bytes vector)
{
    struct cv_document *d = l->d;
    struct cv_writer *w = &d->message;
    int err;

    cv_writer_reset(w);
    cv_put_varuint(w, CV_MESSAGE_SYNC);
    err = cv_sync_put_step2(w, d->doc, vector);
    if (err == CV_OK)
        err = enqueue(l, cv_writer_bytes(w), OUTGOING_STEP2, d->commits);
    if (w->cap > CV_DOCUMENT_QUEUE_MAX) {
        cv_writer_fini(w);
        cv_writer_init_heap(w, CV_DOCUMENT_UPDATE_MAX + 64);
    }
    if (err == CV_OK)
        set_state(l, CV_LINK_IN_STEP);
    return err == CV_ERR_FORMAT ? CV_ERR_PEER : err;
}

static void note_traffic(struct cv_document_link *l)
{
    if (l->repair_due == CV_NEVER)
        l->repair_due = cv_document_now(l->d) + CV_DOCUMENT_REPAIR;
}

/* ---- what becomes due when there is room ---- */

static void pump(struct cv_document_link *l)
{
    struct cv_document *d = l->d;

    pump_queue(l);
    if (l->first || l->dead)
        return;
    if (l->asked) {
        uint8_t *vector = l->asked;

        l->asked = NULL;
        if (send_step2(l, CV_BYTES(vector, l->asked_len)) != CV_OK)
            l->dead = true;
        free(vector);
    }
    if (l->state == CV_LINK_LAGGING && !l->first && !l->full) {
        set_state(l, CV_LINK_WAITING);
        send_ask(l);
    }
    if (l->awareness_owed && !l->first && !l->full) {
        l->awareness_owed = false;
        cv_writer_reset(&d->message);
        if (cv_people_put_all(d, &d->message) == CV_OK && d->message.len)
            send_small(l, cv_writer_bytes(&d->message));
    }
}

void cv_document_link_writable(struct cv_document_link *l)
{
    l->full = false;
    pump(l);
}

/* Updates are dropped from here on; the neighbour is asked what it has when
 * the queue is empty, or, if it is that already, in the next step. */
static void lag_behind(struct cv_document_link *l)
{
    set_state(l, CV_LINK_LAGGING);
    l->repair_due =
        cv_time_min(l->repair_due, cv_document_now(l->d) + CV_SECOND);
}

/* ---- to all ---- */

/* Inserts tell who made them, deletes do not: before an update that is passed
 * on and deletes something goes the replica that made it. */
static size_t put_by(const struct cv_document *d, uint8_t space[16],
                     struct cv_bytes update, uint64_t by)
{
    struct cv_writer w;

    /* Ours end with the deletes, and those with a length that is not 0, or
     * with their number, 0. */
    if (by == cv_doc_client(d->doc) || !update.len ||
        update.data[update.len - 1] == 0)
        return 0;
    cv_writer_init(&w, space, 16);
    cv_put_varuint(&w, CV_MESSAGE_BY);
    cv_put_varuint(&w, by);
    return w.len;
}

static int send_update(struct cv_document_link *l, struct cv_bytes by,
                       struct cv_bytes message)
{
    int err = CV_OK;

    if (by.len)
        err = enqueue(l, by, OUTGOING_BY, 0);
    if (err == CV_OK)
        err = enqueue(l, message, OUTGOING_UPDATE, l->d->commits);
    return err;
}

void cv_links_update(struct cv_document *d, struct cv_bytes update,
                     const struct cv_document_link *from, uint64_t by)
{
    struct cv_writer *w = &d->message;
    uint8_t maker[16];
    size_t maker_len;

    if (!d->n_links)
        return;
    maker_len = put_by(d, maker, update, by);
    cv_writer_reset(w);
    cv_put_varuint(w, CV_MESSAGE_SYNC);
    if (cv_sync_put_update(w, update) != CV_OK) {
        /* They are told when they next ask. */
        for (unsigned i = 0; i < d->n_links; i++)
            if (d->links[i]->state == CV_LINK_IN_STEP)
                lag_behind(d->links[i]);
        return;
    }
    for (unsigned i = 0; i < d->n_links; i++) {
        struct cv_document_link *l = d->links[i];

        if (l == from || l->state != CV_LINK_IN_STEP || l->dead)
            continue;
        /* What waits behind a step2 (which is as large as the document) is
         * bounded like what waits behind nothing. */
        if (l->first && l->queued + w->len > CV_DOCUMENT_QUEUE_MAX &&
            !(l->first->kind == OUTGOING_STEP2 &&
              l->queued - l->first->len + w->len <= CV_DOCUMENT_QUEUE_MAX)) {
            lag_behind(l);
            continue;
        }
        if (send_update(l, CV_BYTES(maker, maker_len), cv_writer_bytes(w)) !=
            CV_OK)
            lag_behind(l);
        note_traffic(l);
    }
}

void cv_links_send(struct cv_document *d, struct cv_bytes message,
                   const struct cv_document_link *from, bool awareness)
{
    for (unsigned i = 0; i < d->n_links; i++) {
        struct cv_document_link *l = d->links[i];

        if (l == from || l->dead)
            continue;
        if (awareness && (l->first || l->full))
            l->awareness_owed = true;
        else
            send_small(l, message);
    }
}

const struct cv_document_link *cv_links_owner(const struct cv_document *d,
                                              uint64_t client)
{
    for (unsigned i = 0; i < d->n_links; i++)
        if (client && d->links[i]->client == client)
            return d->links[i];
    return NULL;
}

void cv_links_client_changed(struct cv_document *d)
{
    for (unsigned i = 0; i < d->n_links; i++)
        send_number(d->links[i], CV_MESSAGE_WHO, cv_doc_client(d->doc));
}

/* Updates that wait are no longer ours to send. */
static void drop_updates(struct cv_document_link *l)
{
    static const uint8_t abandon[] = {CV_MESSAGE_PART, CV_PART_ABANDON};
    struct cv_outgoing **at = &l->first;

    free(l->asked);
    l->asked = NULL;
    while (*at) {
        struct cv_outgoing *o = *at;

        if (!is_counted(o->kind) && o->kind != OUTGOING_BY) {
            at = &o->next;
            continue;
        }
        account(l, o, false);
        if (o->at) {
            /* Some parts have gone, and there is room for two bytes. */
            o->kind = OUTGOING_OTHER;
            o->at = 0;
            o->len = sizeof(abandon);
            memcpy(o->data, abandon, sizeof(abandon));
            account(l, o, true);
            at = &o->next;
            continue;
        }
        *at = o->next;
        free(o);
    }
    l->last = at;
}

void cv_links_role_changed(struct cv_document *d, bool writes)
{
    for (unsigned i = 0; i < d->n_links; i++) {
        struct cv_document_link *l = d->links[i];

        set_state(l, CV_LINK_WAITING);
        if (writes)
            send_ask(l); /* we did not answer their step1 as a viewer */
        else
            drop_updates(l);
    }
}

/* ---- receiving ---- */

static int on_step1(struct cv_document_link *l, struct cv_bytes vector)
{
    uint8_t *copy;

    if (l->d->role < CV_ROLE_EDITOR)
        return CV_OK;
    if (!l->step2s)
        return send_step2(l, vector);
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

/* Is all that this link brought integrated?  What others brought may wait for
 * ever, and that is no matter of this link. */
static bool is_settled(struct cv_document_link *l)
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
    if (!is_settled(l))
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

    if (!may_write(l))
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
        note_traffic(l);
    first_text = step2 && !d->in_step_told;
    if (first_text)
        d->in_step_told = true;
    if (d->text_changed && d->unresolved)
        d->people_changed = true;
    cv_document_wake(d);

    if (d->text_changed && d->events.text_done)
        d->events.text_done(d->user);
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

    if (!may_write(l))
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
    l->parts.max =
        may_write(l) ? CV_DOCUMENT_UPDATE_MAX + 64 : CV_DOCUMENT_OTHER_MAX;
    if (l->parts.len + body.len > l->parts.max)
        return may_write(l) ? CV_ERR_LIMIT : CV_ERR_DENIED;
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
        return send_step1(l);
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

/* ---- timers ---- */

/* Only what is integrated and in the journal is confirmed. */
static void send_acks(struct cv_document_link *l, cv_time now)
{
    if (now >= l->ack_due && l->received_marked == l->received_acked) {
        if (!is_settled(l) || l->other_queued > ACKS_QUEUED) {
            l->ack_due = now + CV_SECOND;
            return;
        }
        l->ack_due = CV_NEVER;
        l->received_marked = l->received;
        l->ack_mark = cv_document_mark(l->d);
    }
    if (l->received_marked == l->received_acked ||
        !cv_document_has_kept(l->d, l->ack_mark))
        return;
    l->received_acked = l->received_marked;
    send_number(l, CV_MESSAGE_ACK, l->received_acked);
}

/* Find out, in both directions, whether something is missing. */
static void repair(struct cv_document_link *l, cv_time now)
{
    if (send_step1(l) != CV_OK)
        l->repair_due = now + CV_DOCUMENT_REPAIR;
    if (l->d->role >= CV_ROLE_EDITOR && l->state == CV_LINK_IN_STEP)
        send_ask(l);
}

cv_time cv_links_deadline(const struct cv_document *d)
{
    cv_time due = CV_NEVER;

    for (unsigned i = 0; i < d->n_links; i++) {
        /* The journal wakes us for those that are being written. */
        if (d->links[i]->received_marked == d->links[i]->received_acked)
            due = cv_time_min(due, d->links[i]->ack_due);
        due = cv_time_min(due, d->links[i]->repair_due);
    }
    return due;
}

void cv_links_step(struct cv_document *d, cv_time now)
{
    for (unsigned i = 0; i < d->n_links; i++) {
        struct cv_document_link *l = d->links[i];

        send_acks(l, now);
        if (now >= l->repair_due)
            repair(l, now);
        /* A queue that ran empty without being told of room. */
        if (!l->full)
            pump(l);
    }
}

/* ---- making and ending a link ---- */

static int send_claims(struct cv_document_link *l)
{
    struct cv_document *d = l->d;
    struct cv_writer *w = &d->message;
    const struct cv_claim *claim = cv_claims_at(d->claims, 0);

    if (!claim || d->role < CV_ROLE_EDITOR)
        return CV_OK;
    cv_writer_reset(w);
    cv_put_varuint(w, CV_MESSAGE_CLAIM);
    for (size_t i = 0; (claim = cv_claims_at(d->claims, i)); i++)
        cv_put_claim(w, claim);
    if (w->err != CV_OK)
        return w->err;
    return enqueue(l, cv_writer_bytes(w), OUTGOING_OTHER, 0);
}

int cv_document_link_new(struct cv_document_link **out, struct cv_document *d,
                         const struct cv_document_link_config *config)
{
    struct cv_document_link *l;
    int err;

    if (d->n_links == CV_DOCUMENT_LINKS_MAX)
        return CV_ERR_LIMIT;
    l = calloc(1, sizeof(*l));
    if (!l)
        return CV_ERR_NOMEM;
    l->d = d;
    l->config = *config;
    l->role = config->role;
    l->state = CV_LINK_WAITING;
    l->last = &l->first;
    l->ack_due = l->repair_due = CV_NEVER;
    cv_writer_init_heap(&l->parts, CV_DOCUMENT_OTHER_MAX);

    /* Our cursor with a new clock, so that it counts again for who had given
     * us up; the others hear of it as of any change. */
    err = cv_people_greet(d);
    d->links[d->n_links++] = l;
    send_number(l, CV_MESSAGE_WHO, cv_doc_client(d->doc));
    if (err == CV_OK)
        err = send_step1(l);
    if (err == CV_OK)
        err = send_claims(l);
    if (err != CV_OK) {
        cv_document_link_free(l);
        return err;
    }
    l->awareness_owed = true;
    pump(l);
    cv_document_wake(d);
    *out = l;
    return CV_OK;
}

void cv_document_link_free(struct cv_document_link *l)
{
    struct cv_document *d;
    unsigned i;

    if (!l)
        return;
    d = l->d;
    for (i = 0; d->links[i] != l; i++)
        ;
    memmove(&d->links[i], &d->links[i + 1],
            (--d->n_links - i) * sizeof(d->links[0]));
    if (l->client && !cv_links_owner(d, l->client))
        cv_people_left(d, l->client);
    while (l->first)
        drop_first(l);
    free(l->asked);
    cv_writer_fini(&l->parts);
    free(l);
    cv_links_ask_again(d);
    cv_document_wake(d);
}

void cv_links_ask_again(struct cv_document *d)
{
    if (!d->held)
        return;
    d->held = false;
    for (unsigned i = 0; i < d->n_links; i++)
        d->links[i]->repair_due = cv_time_min(d->links[i]->repair_due,
                                              cv_document_now(d) + CV_SECOND);
    cv_document_wake(d);
}

void cv_document_link_set_role(struct cv_document_link *l, enum cv_role role)
{
    bool wrote = may_write(l);

    l->role = role;
    if (wrote && !may_write(l))
        cv_links_ask_again(l->d);
}

size_t cv_document_link_queued(const struct cv_document_link *l)
{
    return l->queued;
}

bool cv_document_link_in_step(const struct cv_document_link *l)
{
    return l->state == CV_LINK_IN_STEP && !l->first && l->sent == l->sent_acked;
}
