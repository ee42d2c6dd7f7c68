#include "crdt/plan.h"

#include "crdt/pending.h"
#include "crdt/run.h"
#include <assert.h>
#include <stdlib.h>

/* Vectors that are larger than this are not kept for the next update. */
#define KEEP_ENTRIES 1024

/* What a struct of a state takes on the wire, most often. */
#define STRUCT_BYTES 16

/* ---- what is ready ---- */

/* The state of a client as the plan makes it. */
static uint32_t state(const struct cv_doc *doc, uint32_t client)
{
    const struct cv_client *c = &doc->clients[client];

    return c->plan == doc->plan_serial ? c->sim : c->next;
}

static struct cv_client *enlist(struct cv_doc *doc, uint32_t client)
{
    struct cv_client *c = &doc->clients[client];

    if (c->plan == doc->plan_serial)
        return c;
    c->plan = doc->plan_serial;
    c->sim = c->next;
    c->source = CV_NONE;
    c->queued = false;
    return c;
}

/* Does a struct need units of another client that are not there yet? */
static bool lacks(const struct cv_doc *doc, const struct cv_struct *s,
                  uint32_t *client, uint32_t *clock)
{
    for (unsigned i = 0; i < 3; i++) {
        if (cv_struct_needs(s, client, clock, i) &&
            state(doc, *client) <= *clock)
            return true;
    }
    return false;
}

/* Is it ready, behind those that came before it?  That is the case for all
 * structs of nearly every update. */
static bool is_ready(struct cv_doc *doc, const struct cv_struct *s)
{
    uint32_t client, clock;
    struct cv_client *c = enlist(doc, s->client);

    if (s->clock > c->sim || lacks(doc, s, &client, &clock))
        return false;
    if (s->clock + s->len > c->sim)
        c->sim = s->clock + s->len;
    return true;
}

/* ---- decoding ---- */

struct decoding {
    struct cv_bytes update;
    uint64_t id; /* of the client that was looked up last */
    uint32_t client;
    /* What the update may add at most. */
    uint64_t items, content, lists;
};

static int to_client(struct cv_doc *doc, struct decoding *d, uint64_t id,
                     uint32_t *client)
{
    if (d->client == CV_NONE || d->id != id) {
        int err = cv_store_client_add(doc, id, &d->client);

        if (err != CV_OK) {
            d->client = CV_NONE;
            return err;
        }
        d->id = id;
    }
    *client = d->client;
    return CV_OK;
}

static int to_unit(struct cv_doc *doc, struct decoding *d,
                   const struct cv_id *id, uint32_t *client, uint32_t *clock)
{
    if (id->clock > CV_DOC_CLOCK_MAX)
        return CV_ERR_LIMIT;
    *clock = (uint32_t)id->clock;
    return to_client(doc, d, id->client, client);
}

static uint32_t offset_of(const struct decoding *d, struct cv_bytes part)
{
    return part.len == 0 ? 0 : (uint32_t)(part.data - d->update.data);
}

static int to_struct(struct cv_doc *doc, struct decoding *d,
                     const struct cv_wire *w, struct cv_struct *s)
{
    int err;

    *s = (struct cv_struct){.kind = w->kind,
                            .info = w->info,
                            .parent = w->parent,
                            .clock = (uint32_t)w->clock,
                            .len = (uint32_t)w->len,
                            .oclient = CV_NONE,
                            .rclient = CV_NONE,
                            .key = offset_of(d, w->key),
                            .key_len = (uint32_t)w->key.len,
                            .content = offset_of(d, w->content),
                            .content_len = (uint32_t)w->content.len};
    if (w->clock + w->len > CV_DOC_CLOCK_MAX)
        return CV_ERR_LIMIT;
    err = to_client(doc, d, w->client, &s->client);
    if (err == CV_OK && (w->info & CV_INFO_ORIGIN))
        err = to_unit(doc, d, &w->origin, &s->oclient, &s->oclock);
    if (err == CV_OK && (w->info & CV_INFO_RIGHT))
        err = to_unit(doc, d, &w->right, &s->rclient, &s->rclock);
    if (err == CV_OK && w->parent == CV_PARENT_ITEM)
        err = to_unit(doc, d, &w->parent_id, &s->pclient, &s->pclock);
    if (w->parent == CV_PARENT_ROOT) {
        s->name = offset_of(d, w->root);
        s->name_len = (uint32_t)w->root.len;
    }
    return err;
}

/* Add up what a struct that is new may need. */
static void weigh(struct decoding *d, const struct cv_struct *s)
{
    d->items += 3; /* itself and a cut on both sides */
    if (s->content_len > CV_RUN_BYTES)
        d->items += s->kind == CV_KIND_STRING
                        ? s->content_len / (CV_RUN_BYTES / 2)
                        : s->len;
    d->content += s->content_len + s->key_len + cv_struct_root_len(s);
    d->lists += s->kind == CV_KIND_TYPE ? 1 : 0;
    d->lists += s->parent != CV_PARENT_NONE ? 2 : 0;
}

/* Room for one more; for what is said to come, too, but no more than the bytes
 * that are left could hold. */
static bool reserve_structs(const struct cv_doc *doc, struct cv_plan *plan,
                            const struct cv_update_reader *u)
{
    uint64_t more = u->structs, most;

    if (plan->bulk.doc != NULL ? plan->bulk.n < doc->items_cap
                               : plan->structs.n < plan->structs.cap)
        return true;
    most = cv_reader_left(&u->r) / STRUCT_BYTES;
    more = 1 + (more < most ? more : most);
    if (plan->bulk.doc != NULL)
        return cv_bulk_reserve(&plan->bulk, more);
    return cv_vec_reserve(&plan->structs, more);
}

/* Add one that is new.  What a bulk cannot take is CV_ERR_UNSUPPORTED. */
static int add_struct(struct cv_doc *doc, struct cv_plan *plan,
                      const struct cv_struct *s)
{
    uint32_t client, clock;

    if (plan->bulk.doc == NULL) {
        plan->structs.at[plan->structs.n++] = *s;
        plan->natural = plan->natural && is_ready(doc, s);
    } else if (lacks(doc, s, &client, &clock) ||
               !cv_bulk_take(&plan->bulk, s)) {
        return CV_ERR_UNSUPPORTED;
    }
    return CV_OK;
}

static int decode_structs(struct cv_doc *doc, struct cv_plan *plan,
                          struct cv_update_reader *u, struct decoding *d)
{
    struct cv_wire w;

    while (cv_update_struct(u, &w)) {
        struct cv_struct s;
        int err;

        if (w.kind == CV_KIND_SKIP)
            continue;
        if (!reserve_structs(doc, plan, u))
            return CV_ERR_NOMEM;
        err = to_struct(doc, d, &w, &s);
        if (err != CV_OK)
            return err;
        /* Known; a bulk knows what came before in the update alone, and which
         * of two wins is for the plan to say. */
        if (plan->bulk.doc == NULL &&
            s.clock + s.len <= doc->clients[s.client].next)
            continue;
        weigh(d, &s);
        if (s.client == doc->self)
            plan->own_id = true;
        err = add_struct(doc, plan, &s);
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

static int decode_ranges(struct cv_doc *doc, struct cv_plan *plan,
                         struct cv_update_reader *u, struct decoding *d)
{
    struct cv_range r;

    while (cv_update_range(u, &r)) {
        uint32_t client;
        int err;

        if (r.clock + r.len > CV_DOC_CLOCK_MAX)
            return CV_ERR_LIMIT;
        err = to_client(doc, d, r.client, &client);
        if (err != CV_OK)
            return err;
        if (!cv_vec_reserve(&plan->ranges, 1))
            return CV_ERR_NOMEM;
        plan->ranges.at[plan->ranges.n++] =
            (struct cv_deleted){client, (uint32_t)r.clock, (uint32_t)r.len};
        d->items += 2;
    }
    return CV_OK;
}

static int decode(struct cv_doc *doc, struct cv_plan *plan,
                  struct cv_bytes update)
{
    struct decoding d = {.update = update, .client = CV_NONE};
    const struct cv_doc_limits *limits = &doc->limits;
    struct cv_update_reader u;
    int err;

    cv_update_open(&u, update, limits->nesting);
    err = decode_structs(doc, plan, &u, &d);
    if (err == CV_OK)
        err = decode_ranges(doc, plan, &u, &d);
    if (err != CV_OK)
        return err;
    if (cv_update_close(&u) != CV_OK)
        return CV_ERR_FORMAT;
    if (doc->items_used + d.items > limits->items ||
        doc->log_total + d.content > limits->log_bytes ||
        (d.lists > 0 && doc->lists_used + d.lists > limits->lists))
        return CV_ERR_LIMIT;
    return CV_OK;
}

/* ---- putting into order ---- */

/* The first struct behind i that does not go on where the one before it ends;
 * a hole is no end. */
static uint32_t block_end(const struct cv_plan *plan, uint32_t i)
{
    const struct cv_struct *s = plan->structs.at;

    for (i++; i < plan->structs.n; i++) {
        if (s[i].client != s[i - 1].client ||
            s[i].clock < s[i - 1].clock + s[i - 1].len)
            break;
    }
    return i;
}

static int add_step(struct cv_plan *plan, const struct cv_struct *s,
                    const uint8_t *base, struct cv_wait_node *node)
{
    if (!cv_vec_reserve(&plan->steps, 1))
        return CV_ERR_NOMEM;
    plan->steps.at[plan->steps.n++] = (struct cv_step){s, base, node};
    return CV_OK;
}

static int enqueue(struct cv_doc *doc, struct cv_plan *plan, uint32_t client)
{
    struct cv_client *c = enlist(doc, client);

    if (!cv_vec_reserve(&plan->queue, 1))
        return CV_ERR_NOMEM;
    if (!c->queued)
        plan->queue.at[plan->queue.n++] = client;
    c->queued = true;
    return CV_OK;
}

static int want_recheck(struct cv_plan *plan, uint32_t client)
{
    if (!cv_vec_reserve(&plan->recheck, 1))
        return CV_ERR_NOMEM;
    plan->recheck.at[plan->recheck.n++] = client;
    return CV_OK;
}

/* A client has moved on: queue those that needed that. */
static int wake(struct cv_doc *doc, struct cv_plan *plan, uint32_t client)
{
    uint32_t now = state(doc, client), other;
    struct cv_wait_node *n;
    int err = CV_OK;

    while (err == CV_OK &&
           (n = cv_wait_from(&plan->blocked, client, 0, 0)) != NULL &&
           n->key[0] == client && n->key[1] < now) {
        err = enqueue(doc, plan, n->key[2]);
        cv_wait_take(&plan->blocked, n);
        cv_wait_node_free(n);
    }
    while (err == CV_OK &&
           (other = cv_pending_unblock(doc, client, now)) != CV_NONE) {
        err = want_recheck(plan, other);
        if (err == CV_OK)
            err = enqueue(doc, plan, other);
    }
    return err;
}

/* Note what keeps a client from going on. */
static int block(struct cv_doc *doc, struct cv_plan *plan,
                 const struct cv_struct *s)
{
    struct cv_wait_node *n;
    uint32_t on, clock;

    if (!lacks(doc, s, &on, &clock))
        return CV_OK; /* a hole in its own clocks */
    n = cv_wait_from(&plan->blocked, on, clock, s->client);
    if (n != NULL && n->key[0] == on && n->key[1] == clock &&
        n->key[2] == s->client)
        return CV_OK;
    n = cv_wait_node_new(&doc->waiting.seed, on, clock, s->client);
    if (n == NULL)
        return CV_ERR_NOMEM;
    cv_wait_insert(&plan->blocked, n);
    return CV_OK;
}

/* Take a struct if it is ready (or known).  *moved: the state grew. */
static bool take_struct(struct cv_doc *doc, struct cv_client *c,
                        const struct cv_struct *s, bool *moved)
{
    uint32_t client, clock;

    if (s->clock + s->len <= c->sim)
        return true;
    if (s->clock > c->sim || lacks(doc, s, &client, &clock))
        return false;
    c->sim = s->clock + s->len;
    *moved = true;
    return true;
}

/* Take what is ready in one block. */
static int advance_source(struct cv_doc *doc, struct cv_plan *plan,
                          struct cv_client *c, struct cv_source *src,
                          bool *moved)
{
    while (src->at < src->end) {
        const struct cv_struct *s = &plan->structs.at[src->at];
        int err;

        if (!take_struct(doc, c, s, moved))
            return CV_OK;
        src->at++;
        err = add_step(plan, s, plan->base, NULL);
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

/* Take what is ready of what has been waiting before this update. */
static int advance_pending(struct cv_doc *doc, struct cv_plan *plan,
                           uint32_t client, bool *moved)
{
    struct cv_client *c = &doc->clients[client];
    struct cv_wait_node *n;

    while ((n = cv_pending_first(doc, client)) != NULL) {
        struct cv_pending *p = n->data;
        int err = want_recheck(plan, client);

        if (err != CV_OK)
            return err;
        if (!cv_vec_reserve(&plan->steps, 1))
            return CV_ERR_NOMEM;
        if (!take_struct(doc, c, &p->s, moved))
            return CV_OK;
        cv_pending_take(doc, n);
        err = add_step(plan, &p->s, p->bytes, n);
        assert(err == CV_OK);
    }
    return CV_OK;
}

/* Take all that is ready of one client, then note what it needs. */
static int advance(struct cv_doc *doc, struct cv_plan *plan, uint32_t client)
{
    struct cv_client *c = &doc->clients[client];
    bool moved = true, any = false;
    struct cv_wait_node *n;
    int err = CV_OK;

    c->queued = false;
    while (moved && err == CV_OK) {
        moved = false;
        for (uint32_t i = c->source; i != CV_NONE && err == CV_OK;
             i = plan->sources.at[i].next)
            err = advance_source(doc, plan, c, &plan->sources.at[i], &moved);
        if (err == CV_OK)
            err = advance_pending(doc, plan, client, &moved);
        any = any || moved;
    }
    for (uint32_t i = c->source; i != CV_NONE && err == CV_OK;
         i = plan->sources.at[i].next) {
        const struct cv_source *src = &plan->sources.at[i];

        if (src->at < src->end)
            err = block(doc, plan, &plan->structs.at[src->at]);
    }
    n = cv_pending_first(doc, client);
    if (err == CV_OK && n != NULL)
        err = block(doc, plan, &((struct cv_pending *)n->data)->s);
    if (err == CV_OK && any)
        err = wake(doc, plan, client);
    return err;
}

static int put_into_order(struct cv_doc *doc, struct cv_plan *plan)
{
    int err;

    /* Forget what is_ready() has found out. */
    doc->plan_serial++;
    for (uint32_t i = 0, end; i < plan->structs.n; i = end) {
        uint32_t client = plan->structs.at[i].client;
        struct cv_client *c = enlist(doc, client);

        end = block_end(plan, i);
        if (!cv_vec_reserve(&plan->sources, 1))
            return CV_ERR_NOMEM;
        plan->sources.at[plan->sources.n] =
            (struct cv_source){i, end, c->source};
        c->source = plan->sources.n++;
        err = enqueue(doc, plan, client);
        if (err != CV_OK)
            return err;
    }
    /* Local edits may have brought what others wait for. */
    err = wake(doc, plan, doc->self);
    if (err == CV_OK)
        err = enqueue(doc, plan, doc->self);
    for (uint32_t i = 0; doc->unsettled && i < doc->clients_n; i++) {
        if (err == CV_OK && doc->clients[i].waiting_structs > 0)
            err = enqueue(doc, plan, i);
    }
    while (err == CV_OK && plan->queue.n > 0)
        err = advance(doc, plan, plan->queue.at[--plan->queue.n]);
    return err;
}

/* ---- what is left over ---- */

static bool left_over(const struct cv_doc *doc, const struct cv_struct *s)
{
    return s->clock + s->len > state(doc, s->client) && !cv_pending_has(doc, s);
}

/* Will what has to wait fit? */
static int check_waiting(struct cv_doc *doc, const struct cv_plan *plan)
{
    uint64_t n = (uint64_t)doc->waiting.structs.n + doc->waiting.ranges.n;
    uint64_t bytes = doc->waiting.bytes;
    bool more = false;

    for (uint32_t i = 0; i < plan->sources.n; i++) {
        const struct cv_source *src = &plan->sources.at[i];

        for (uint32_t k = src->at; k < src->end; k++) {
            if (!left_over(doc, &plan->structs.at[k]))
                continue;
            more = true;
            n++;
            bytes += cv_pending_size(&plan->structs.at[k]);
        }
    }
    for (uint32_t i = 0; i < plan->ranges.n; i++) {
        const struct cv_deleted *r = &plan->ranges.at[i];
        uint32_t known = state(doc, r->client), end = r->clock + r->len;
        uint32_t from = r->clock > known ? r->clock : known;

        if (end > known &&
            !cv_pending_has_range(doc, r->client, from, end - from)) {
            more = true;
            n++;
        }
    }
    /* What is ready may have to wait behind what was put off. */
    if (doc->put_off && plan->structs.n > 0) {
        more = true;
        n += plan->steps.n;
        for (uint32_t i = 0; i < plan->steps.n; i++)
            bytes += cv_pending_size(plan->steps.at[i].s);
    }
    if (more && (n > doc->limits.waiting || bytes > doc->limits.waiting_bytes))
        return CV_ERR_LIMIT;
    return CV_OK;
}

static int keep_waiting(struct cv_doc *doc, struct cv_plan *plan)
{
    for (uint32_t i = 0; i < plan->sources.n; i++) {
        const struct cv_source *src = &plan->sources.at[i];

        for (uint32_t k = src->at; k < src->end; k++) {
            const struct cv_struct *s = &plan->structs.at[k];
            int err;

            if (!left_over(doc, s))
                continue;
            err = want_recheck(plan, s->client);
            if (err == CV_OK)
                err = cv_pending_add(doc, s, plan->base);
            if (err != CV_OK)
                return err;
        }
    }
    return CV_OK;
}

static void recheck(struct cv_doc *doc, struct cv_plan *plan)
{
    for (uint32_t i = 0; i < plan->recheck.n; i++)
        cv_pending_recheck(doc, plan->recheck.at[i]);
    plan->recheck.n = 0;
}

/* Put back the waiting structs that steps[from..] took. */
static void untake(struct cv_doc *doc, struct cv_plan *plan, uint32_t from)
{
    for (uint32_t i = from; i < plan->steps.n; i++) {
        if (plan->steps.at[i].node != NULL)
            cv_pending_return(doc, plan->steps.at[i].node);
    }
    plan->steps.n = from;
    recheck(doc, plan);
}

/* Build an empty document without a plan, if what comes is a state of a text
 * and ready as it comes.  False: nothing was done. */
static bool make_bulk(struct cv_doc *doc, struct cv_plan *plan,
                      struct cv_bytes update)
{
    uint32_t clients = doc->clients_n;

    if (update.len < CV_BULK_BYTES || !cv_bulk_open(&plan->bulk, doc, update))
        return false;
    if (decode(doc, plan, update) == CV_OK &&
        check_waiting(doc, plan) == CV_OK && cv_bulk_link(&plan->bulk, NULL, 0))
        return true;
    cv_bulk_drop(&plan->bulk);
    cv_store_client_undo(doc, clients);
    plan->ranges.n = 0;
    plan->own_id = false;
    return false;
}

int cv_plan_make(struct cv_doc *doc, struct cv_plan *plan,
                 struct cv_bytes update)
{
    uint32_t clients = doc->clients_n;
    int err;

    plan->base = update.data;
    plan->len = update.len;
    plan->natural = true;
    doc->plan_serial++;
    if (make_bulk(doc, plan, update))
        return CV_OK;
    err = decode(doc, plan, update);
    if (err == CV_OK && (doc->waiting.structs.n > 0 || !plan->natural)) {
        plan->natural = false;
        err = put_into_order(doc, plan);
    }
    if (err == CV_OK)
        err = check_waiting(doc, plan);
    cv_wait_clear(&plan->blocked);
    if (err != CV_OK) {
        untake(doc, plan, 0);
        cv_store_client_undo(doc, clients);
        doc->unsettled = doc->unsettled || err == CV_ERR_NOMEM;
        return err;
    }
    err = keep_waiting(doc, plan);
    if (err != CV_OK)
        untake(doc, plan, 0);
    doc->unsettled = doc->unsettled || err == CV_ERR_NOMEM;
    return err;
}

/* ---- carrying out ---- */

static int delete_ranges(struct cv_doc *doc, struct cv_plan *plan)
{
    int err = CV_OK;

    for (uint32_t i = 0; i < plan->ranges.n && err == CV_OK; i++) {
        const struct cv_deleted *r = &plan->ranges.at[i];
        uint32_t known = doc->clients[r->client].next;
        uint32_t end = r->clock + r->len;

        err = cv_run_delete_range(doc, r->client, r->clock, r->len);
        if (err == CV_OK && end > known) {
            uint32_t from = r->clock > known ? r->clock : known;

            err = cv_pending_range(doc, r->client, from, end - from);
        }
    }
    for (uint32_t i = 0; i < doc->txn.touched.n && err == CV_OK; i++)
        err = cv_pending_delete(doc, doc->txn.touched.at[i]);
    if (err == CV_OK)
        err = cv_pending_delete(doc, doc->self);
    for (uint32_t i = 0; doc->unsettled && i < doc->clients_n; i++) {
        if (err == CV_OK)
            err = cv_pending_delete(doc, i);
    }
    return err;
}

/* One struct that came has to wait although it is ready. */
static int put_off(struct cv_doc *doc, struct cv_plan *plan,
                   const struct cv_struct *s)
{
    int err;

    doc->put_off = true;
    if (s->clock + s->len <= doc->clients[s->client].next ||
        cv_pending_has(doc, s))
        return CV_OK;
    err = want_recheck(plan, s->client);
    return err == CV_OK ? cv_pending_add(doc, s, plan->base) : err;
}

static int run_natural(struct cv_doc *doc, struct cv_plan *plan, uint64_t stop)
{
    int err = CV_OK;

    for (uint32_t i = 0; i < plan->structs.n && err == CV_OK; i++) {
        const struct cv_struct *s = &plan->structs.at[i];

        if (doc->scanned > stop)
            err = put_off(doc, plan, s);
        else
            err = cv_integrate(doc, s, plan->base);
    }
    return err;
}

static int run_steps(struct cv_doc *doc, struct cv_plan *plan, uint64_t stop)
{
    int err = CV_OK;
    uint32_t i;

    for (i = 0; i < plan->steps.n && doc->scanned <= stop; i++) {
        struct cv_step *step = &plan->steps.at[i];

        err = cv_integrate(doc, step->s, step->base);
        if (err != CV_OK)
            break;
        cv_wait_node_free(step->node);
        step->node = NULL;
    }
    for (uint32_t k = i; k < plan->steps.n && err == CV_OK; k++) {
        doc->put_off = true;
        if (plan->steps.at[k].node == NULL)
            err = put_off(doc, plan, plan->steps.at[k].s);
    }
    untake(doc, plan, i);
    return err;
}

/* Structs that had to be put into order may be all of a state, too. */
static bool make_bulk_of_steps(struct cv_doc *doc, struct cv_plan *plan)
{
    struct cv_bulk *b = &plan->bulk;
    bool fits = true;

    if (plan->natural || plan->steps.n != plan->structs.n ||
        plan->steps.n < CV_BULK_STRUCTS ||
        !cv_bulk_open(b, doc, (struct cv_bytes){plan->base, plan->len}))
        return false;
    for (uint32_t i = 0; i < plan->steps.n && fits; i++)
        fits = plan->steps.at[i].node == NULL;
    fits = fits && cv_bulk_reserve(b, plan->structs.n);
    for (uint32_t i = 0; i < plan->structs.n && fits; i++)
        fits = cv_bulk_take(b, &plan->structs.at[i]);
    fits = fits && cv_bulk_link(b, plan->steps.at, plan->steps.n);
    if (!fits)
        cv_bulk_drop(b);
    return fits;
}

int cv_plan_run(struct cv_doc *doc, struct cv_plan *plan)
{
    uint64_t stop = doc->scanned + doc->limits.scan;
    int err = CV_OK;

    doc->put_off = false;
    if (plan->bulk.doc != NULL || make_bulk_of_steps(doc, plan)) {
        cv_bulk_commit(&plan->bulk);
        plan->ranges.n =
            cv_bulk_skim(&plan->bulk, plan->ranges.at, plan->ranges.n);
    } else {
        err = plan->natural ? run_natural(doc, plan, stop)
                            : run_steps(doc, plan, stop);
    }
    if (err == CV_OK)
        err = delete_ranges(doc, plan);
    doc->unsettled = err != CV_OK || doc->put_off;
    recheck(doc, plan);
    return err;
}

#define RESET(vec)                                                             \
    do {                                                                       \
        if ((vec)->cap > KEEP_ENTRIES) {                                       \
            free((vec)->at);                                                   \
            (vec)->at = NULL;                                                  \
            (vec)->cap = 0;                                                    \
        }                                                                      \
        (vec)->n = 0;                                                          \
    } while (0)

void cv_plan_reset(struct cv_plan *plan)
{
    if (plan->bulk.doc != NULL)
        cv_bulk_close(&plan->bulk);
    RESET(&plan->structs);
    RESET(&plan->ranges);
    RESET(&plan->sources);
    RESET(&plan->steps);
    RESET(&plan->queue);
    RESET(&plan->recheck);
    plan->own_id = false;
}

void cv_plan_fini(struct cv_plan *plan)
{
    free(plan->structs.at);
    free(plan->ranges.at);
    free(plan->sources.at);
    free(plan->steps.at);
    free(plan->queue.at);
    free(plan->recheck.at);
}
