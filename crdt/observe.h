/* crdt/observe.h - tell an observer what a transaction changed.  For crdt/
 * only. */
#ifndef CV_CRDT_OBSERVE_H
#define CV_CRDT_OBSERVE_H
#include "crdt/store.h"

struct cv_event {
    uint32_t at;        /* byte offset in the text as it is now */
    uint32_t deleted;   /* bytes */
    uint32_t item;      /* that holds what came; CV_NONE */
    uint32_t from, len; /* bytes of its content */
};

struct cv_events {
    CV_VEC(struct cv_event) event;
    CV_VEC(uint32_t) keys; /* key lists */
};

/* Collect while the transaction is open. */
CV_MUST_USE int cv_events_collect(struct cv_doc *doc, struct cv_events *e);
/* Call the observer; the transaction may be over. */
void cv_events_tell(const struct cv_doc *doc, struct cv_events *e,
                    const struct cv_doc_observer *observer);
void cv_events_fini(struct cv_events *e);
#endif
