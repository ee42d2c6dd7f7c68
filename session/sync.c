#include "session/sync_struct.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/sync.h"

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

/* ---- sending ---- */

static void send_ask(struct cv_document_link *l)
{
    static const uint8_t ask = CV_MESSAGE_ASK;

    cv_queue_small(l, CV_BYTES(&ask, 1));
}

int cv_links_step1(struct cv_document_link *l)
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
        err = cv_queue_put(l, cv_writer_bytes(w), OUTGOING_STEP1, 0);
    return err;
}

int cv_links_step2(struct cv_document_link *l, struct cv_bytes vector)
{
    struct cv_document *d = l->d;
    struct cv_writer *w = &d->message;
    int err;

    cv_writer_reset(w);
    cv_put_varuint(w, CV_MESSAGE_SYNC);
    err = cv_sync_put_step2(w, d->doc, vector);
    if (err == CV_OK)
        err = cv_queue_put(l, cv_writer_bytes(w), OUTGOING_STEP2, d->commits);
    cv_document_trim(w);
    if (err == CV_OK)
        set_state(l, CV_LINK_IN_STEP);
    return err == CV_ERR_FORMAT ? CV_ERR_PEER : err;
}

void cv_links_traffic(struct cv_document_link *l)
{
    if (l->repair_due == CV_NEVER)
        l->repair_due = cv_document_now(l->d) + CV_DOCUMENT_REPAIR;
}

/* ---- what becomes due when there is room ---- */

static void pump(struct cv_document_link *l)
{
    struct cv_document *d = l->d;

    cv_queue_pump(l);
    if (l->first || l->dead)
        return;
    if (l->asked) {
        uint8_t *vector = l->asked;

        l->asked = NULL;
        if (cv_links_step2(l, CV_BYTES(vector, l->asked_len)) != CV_OK)
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
            cv_queue_small(l, cv_writer_bytes(&d->message));
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
        err = cv_queue_put(l, by, OUTGOING_BY, 0);
    if (err == CV_OK)
        err = cv_queue_put(l, message, OUTGOING_UPDATE, l->d->commits);
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
        cv_links_traffic(l);
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
            cv_queue_small(l, message);
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
        cv_queue_number(d->links[i], CV_MESSAGE_WHO, cv_doc_client(d->doc));
}

/* What waits, or was asked for, is no longer ours to send. */
static void stop_updates(struct cv_document_link *l)
{
    free(l->asked);
    l->asked = NULL;
    cv_queue_drop_updates(l);
}

void cv_links_role_changed(struct cv_document *d, bool writes)
{
    for (unsigned i = 0; i < d->n_links; i++) {
        struct cv_document_link *l = d->links[i];

        set_state(l, CV_LINK_WAITING);
        if (writes)
            send_ask(l); /* we did not answer their step1 as a viewer */
        else
            stop_updates(l);
    }
}

/* ---- timers ---- */

/* Only what is integrated and in the journal is confirmed. */
static void send_acks(struct cv_document_link *l, cv_time now)
{
    if (now >= l->ack_due && l->received_marked == l->received_acked) {
        if (!cv_links_settled(l) || l->other_queued > ACKS_QUEUED) {
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
    cv_queue_number(l, CV_MESSAGE_ACK, l->received_acked);
}

/* Find out, in both directions, whether something is missing. */
static void repair(struct cv_document_link *l, cv_time now)
{
    if (cv_links_step1(l) != CV_OK)
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
    return cv_queue_put(l, cv_writer_bytes(w), OUTGOING_OTHER, 0);
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
    cv_queue_number(l, CV_MESSAGE_WHO, cv_doc_client(d->doc));
    if (err == CV_OK)
        err = cv_links_step1(l);
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
    cv_queue_clear(l);
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
    bool wrote = cv_links_may_write(l);

    l->role = role;
    if (wrote && !cv_links_may_write(l))
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
