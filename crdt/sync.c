#include "crdt/sync.h"

int cv_sync_parse(struct cv_sync_message *out, struct cv_bytes message)
{
    struct cv_reader r;
    uint64_t kind;

    cv_reader_init(&r, message.data, message.len);
    kind = cv_get_varuint(&r);
    out->payload = cv_get_varbytes(&r, SIZE_MAX);
    if (cv_reader_end(&r) != CV_OK || kind > CV_SYNC_UPDATE)
        return CV_ERR_FORMAT;
    out->kind = (enum cv_sync_kind)kind;
    return CV_OK;
}

int cv_sync_put_update(struct cv_writer *w, struct cv_bytes update)
{
    cv_put_varuint(w, CV_SYNC_UPDATE);
    return cv_put_varbytes(w, update.data, update.len);
}

/* The length goes in front of what is not known before it is written. */
static int put_wrapped(struct cv_writer *w, enum cv_sync_kind kind, int err,
                       struct cv_writer *body)
{
    if (err == CV_OK) {
        cv_put_varuint(w, kind);
        err = cv_put_varbytes(w, body->data, body->len);
    }
    cv_writer_fini(body);
    return err;
}

int cv_sync_put_step1(struct cv_writer *w, const struct cv_doc *doc)
{
    struct cv_writer body;
    int err;

    cv_writer_init_heap(&body, SIZE_MAX / 2);
    err = cv_doc_state_vector(doc, &body);
    return put_wrapped(w, CV_SYNC_STEP1, err, &body);
}

int cv_sync_put_step2(struct cv_writer *w, const struct cv_doc *doc,
                      struct cv_bytes state_vector)
{
    struct cv_writer body;
    int err;

    cv_writer_init_heap(&body, SIZE_MAX / 2);
    err = cv_doc_encode(doc, state_vector, &body);
    return put_wrapped(w, CV_SYNC_STEP2, err, &body);
}

int cv_sync_handle(struct cv_doc *doc, struct cv_bytes message,
                   const struct cv_doc_observer *observer,
                   struct cv_writer *reply, struct cv_writer *news,
                   struct cv_doc_applied *applied)
{
    struct cv_sync_message m;
    int err;

    if (applied != NULL)
        *applied = (struct cv_doc_applied){0};
    err = cv_sync_parse(&m, message);
    if (err != CV_OK)
        return err;
    if (m.kind == CV_SYNC_STEP1)
        return cv_sync_put_step2(reply, doc, m.payload);
    return cv_doc_apply(doc, m.payload, observer, news, applied);
}
