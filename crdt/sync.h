/* crdt/sync.h - the sync messages of y-protocols.
 *
 *   step1  := varuint 0, varbytes state-vector   "this is what I have"
 *   step2  := varuint 1, varbytes update         the answer to it
 *   update := varuint 2, varbytes update         every later change
 *
 * On connecting each side sends step1; whoever gets one answers step2.  To
 * repair a doubtful link, send step1 again. */
#ifndef CV_CRDT_SYNC_H
#define CV_CRDT_SYNC_H
#include "crdt/doc.h"

enum cv_sync_kind {
    CV_SYNC_STEP1 = 0,
    CV_SYNC_STEP2 = 1,
    CV_SYNC_UPDATE = 2,
};

struct cv_sync_message {
    enum cv_sync_kind kind;
    struct cv_bytes payload; /* borrowed: state vector or update */
};

/* Split one message; the payload is not looked into.  CV_ERR_FORMAT. */
CV_MUST_USE int cv_sync_parse(struct cv_sync_message *out,
                              struct cv_bytes message);

/* Append one message each; the errors are those of what they wrap. */
CV_MUST_USE int cv_sync_put_step1(struct cv_writer *w,
                                  const struct cv_doc *doc);
CV_MUST_USE int cv_sync_put_step2(struct cv_writer *w, const struct cv_doc *doc,
                                  struct cv_bytes state_vector);
CV_MUST_USE int cv_sync_put_update(struct cv_writer *w, struct cv_bytes update);

/* Do what a message asks: answer a step1 into `reply`, apply the others (see
 * cv_doc_apply for the rest).  `applied` is cleared for a step1. */
CV_MUST_USE int cv_sync_handle(struct cv_doc *doc, struct cv_bytes message,
                               const struct cv_doc_observer *observer,
                               struct cv_writer *reply, struct cv_writer *news,
                               struct cv_doc_applied *applied);
#endif
