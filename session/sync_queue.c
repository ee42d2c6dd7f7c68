#include "session/sync_struct.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

void cv_queue_clear(struct cv_document_link *l)
{
    while (l->first)
        drop_first(l);
}

void cv_queue_pump(struct cv_document_link *l)
{
    while (l->first && pump_one(l, l->first)) {
        if (is_counted(l->first->kind))
            note_sent(l, l->first->seq);
        drop_first(l);
    }
}

int cv_queue_put(struct cv_document_link *l, struct cv_bytes message,
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
    cv_queue_pump(l);
    return CV_OK;
}

void cv_queue_small(struct cv_document_link *l, struct cv_bytes message)
{
    if (l->other_queued > CV_DOCUMENT_OTHER_MAX / 4 ||
        cv_queue_put(l, message, OUTGOING_OTHER, 0) != CV_OK)
        cv_debug(l->d->config.log, "sync: member=%u, message dropped",
                 l->config.member);
}

void cv_queue_number(struct cv_document_link *l, uint64_t kind, uint64_t n)
{
    uint8_t space[16];
    struct cv_writer w;

    cv_writer_init(&w, space, sizeof(space));
    cv_put_varuint(&w, kind);
    cv_put_varuint(&w, n);
    cv_queue_small(l, cv_writer_bytes(&w));
}

void cv_queue_drop_updates(struct cv_document_link *l)
{
    static const uint8_t abandon[] = {CV_MESSAGE_PART, CV_PART_ABANDON};
    struct cv_outgoing **at = &l->first;

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
