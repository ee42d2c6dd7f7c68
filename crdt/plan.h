/* crdt/plan.h - decide what an update will do, before it does anything.  For
 * crdt/ only.
 *
 * The update is decoded whole and put into an order in which every struct is
 * ready, together with structs that were waiting and can go now; what is not
 * ready is added to those that wait.  All limits are checked here.  If this
 * succeeds nothing is left to refuse. */
#ifndef CV_CRDT_PLAN_H
#define CV_CRDT_PLAN_H
#include "crdt/bulk.h"
#include "crdt/integrate.h"
#include "crdt/store.h"

/* The rest of one block whose first struct is not ready. */
struct cv_source {
    uint32_t at, end; /* structs */
    uint32_t next;    /* of the same client; CV_NONE */
};

struct cv_step {
    const struct cv_struct *s;
    const uint8_t *base;
    struct cv_wait_node *node; /* it was waiting; NULL */
};

struct cv_plan {
    const uint8_t *base; /* the update */
    size_t len;
    bool own_id;
    bool natural; /* the structs are ready in the order they came; no steps */
    CV_VEC(struct cv_struct) structs;
    CV_VEC(struct cv_deleted) ranges;
    CV_VEC(struct cv_source) sources;
    CV_VEC(struct cv_step) steps;
    CV_VEC(uint32_t) queue;     /* clients to try */
    CV_VEC(uint32_t) recheck;   /* clients whose waiting structs changed */
    struct cv_wait_set blocked; /* what the sources need */
    struct cv_bulk bulk;        /* in use: it has all structs, none is here */
};

/* CV_ERR_FORMAT, CV_ERR_LIMIT or CV_ERR_NOMEM: nothing changed. */
CV_MUST_USE int cv_plan_make(struct cv_doc *doc, struct cv_plan *plan,
                             struct cv_bytes update);
/* Carry it out.  CV_ERR_NOMEM: partly done. */
CV_MUST_USE int cv_plan_run(struct cv_doc *doc, struct cv_plan *plan);
/* Empty it, give large memory back. */
void cv_plan_reset(struct cv_plan *plan);
void cv_plan_fini(struct cv_plan *plan);
#endif
