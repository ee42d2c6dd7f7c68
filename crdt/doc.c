#include "crdt/doc.h"

#include "crdt/chain.h"
#include "crdt/encode.h"
#include "crdt/hot.h"
#include "crdt/observe.h"
#include "crdt/pending.h"
#include "crdt/plan.h"
#include "crdt/quick.h"
#include "crdt/siblings.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <stdlib.h>

#define MIB ((size_t)1 << 20)

/* Indexes, offsets and sums are 32 bits. */
#define ITEMS_MAX  ((uint32_t)1 << 30)
#define LOG_MAX    ((size_t)1 << 30)
#define UPDATE_MAX ((size_t)1 << 30)

const struct cv_doc_limits cv_doc_limits_default = {
    .update_bytes = 256 * MIB,
    .log_bytes = 1024 * MIB,
    .items = 64u << 20,
    .clients = 256u << 10,
    .lists = 1u << 20,
    .waiting = 1000000,
    .waiting_bytes = 64 * MIB,
    .nesting = 64,
    .scan = 16u << 20,
};

/* ---- life ---- */

int cv_doc_new(struct cv_doc **out, uint64_t client_id,
               const struct cv_doc_limits *limits)
{
    struct cv_doc *doc;
    int err;

    if (client_id > CV_VARUINT_MAX)
        return CV_ERR_INVALID;
    doc = calloc(1, sizeof(*doc));
    if (doc == NULL)
        return CV_ERR_NOMEM;
    doc->limits = limits == NULL ? cv_doc_limits_default : *limits;
    if (doc->limits.items > ITEMS_MAX)
        doc->limits.items = ITEMS_MAX;
    if (doc->limits.log_bytes > LOG_MAX)
        doc->limits.log_bytes = LOG_MAX;
    if (doc->limits.update_bytes > UPDATE_MAX)
        doc->limits.update_bytes = UPDATE_MAX;
    if (doc->limits.scan == 0)
        doc->limits.scan = cv_doc_limits_default.scan;
    doc->items_free = doc->leaves_free = doc->inners_free = CV_NONE;
    doc->lists_free = CV_NONE;
    doc->lazy = CV_NONE;
    cv_hot_forget(doc);
    doc->waiting.seed = (uint32_t)((uintptr_t)doc >> 4);
    doc->txn.serial = 1;
    err = CV_ERR_NOMEM;
    doc->plan = calloc(1, sizeof(*doc->plan));
    if (doc->plan != NULL)
        err = cv_store_client_add(doc, client_id, &doc->self);
    if (err == CV_OK)
        err = cv_doc_use_text(doc, CV_DOC_TEXT);
    if (err != CV_OK) {
        cv_doc_free(doc);
        return err;
    }
    *out = doc;
    return CV_OK;
}

void cv_doc_free(struct cv_doc *doc)
{
    if (doc == NULL)
        return;
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        struct cv_client *c = &doc->clients[i];

        cv_chain_clear(c);
        free(c->log);
    }
    for (uint32_t i = 0; i < doc->lists_n; i++)
        free(doc->lists[i].name);
    if (doc->plan != NULL)
        cv_plan_fini(doc->plan);
    free(doc->plan);
    cv_pending_fini(doc);
    cv_siblings_fini(doc);
    free(doc->txn.touched.at);
    free(doc->txn.deleted.at);
    free(doc->txn.notes.at);
    free(doc->txn.keys.at);
    free(doc->items);
    free(doc->leaves);
    free(doc->inners);
    free(doc->clients);
    free(doc->client_hash);
    free(doc->lists);
    free(doc->list_hash);
    free(doc);
}

uint64_t cv_doc_client(const struct cv_doc *doc)
{
    return doc->clients[doc->self].id;
}

int cv_doc_set_client(struct cv_doc *doc, uint64_t client_id)
{
    uint32_t c = cv_store_client(doc, client_id);
    int err;

    cv_hot_settle(doc);
    if (doc->txn.open || client_id > CV_VARUINT_MAX ||
        (c != CV_NONE && doc->clients[c].next > 0))
        return CV_ERR_INVALID;
    err = cv_store_client_add(doc, client_id, &c);
    if (err == CV_OK)
        doc->self = c;
    cv_hot_stop(doc);
    return err;
}

uint64_t cv_doc_clock(const struct cv_doc *doc, uint64_t client_id)
{
    uint32_t c = cv_store_client(doc, client_id);

    cv_hot_settle(doc);
    return c == CV_NONE ? 0 : doc->clients[c].next;
}

int cv_doc_use_text(struct cv_doc *doc, const char *name)
{
    struct cv_bytes n = {(const uint8_t *)name, strlen(name)};

    cv_hot_settle(doc);
    cv_hot_forget(doc);
    return cv_store_list_add(doc, CV_NONE, n, &doc->text);
}

size_t cv_doc_held_bytes(const struct cv_doc *doc)
{
    const struct cv_plan *p = doc->plan;
    size_t n = sizeof(*doc) + sizeof(*p);

    n += doc->items_cap * sizeof(*doc->items);
    n += doc->leaves_cap * sizeof(*doc->leaves);
    n += doc->inners_cap * sizeof(*doc->inners);
    n += doc->clients_cap * sizeof(*doc->clients);
    n += doc->lists_cap * sizeof(*doc->lists);
    n += ((size_t)doc->client_mask + doc->list_mask + 2) * sizeof(uint32_t);
    n += doc->txn.touched.cap * sizeof(*doc->txn.touched.at);
    n += doc->txn.deleted.cap * sizeof(*doc->txn.deleted.at);
    n += doc->txn.notes.cap * sizeof(*doc->txn.notes.at);
    n += p->structs.cap * sizeof(*p->structs.at);
    n += p->steps.cap * sizeof(*p->steps.at);
    n += p->ranges.cap * sizeof(*p->ranges.at);
    n += ((size_t)doc->waiting.structs.n + doc->waiting.ranges.n +
          doc->waiting.blocked.n) *
         sizeof(struct cv_wait_node);
    n += doc->waiting.bytes;
    for (uint32_t i = 0; doc->siblings.n > 0 && i <= doc->siblings.mask; i++) {
        const struct cv_group *g = doc->siblings.slot[i];

        n += sizeof(g);
        if (g != NULL)
            n += sizeof(*g) + g->members.n * sizeof(struct cv_wait_node);
    }
    for (uint32_t i = 0; i < doc->clients_n; i++) {
        const struct cv_client *c = &doc->clients[i];

        n +=
            c->log_cap + cv_chain_size(c) + (c->log != NULL ? CV_LOG_SLACK : 0);
    }
    for (uint32_t i = 0; i < doc->lists_n; i++)
        n += doc->lists[i].name_len;
    return n;
}

int cv_doc_compact(struct cv_doc *doc)
{
    cv_hot_settle(doc);
    cv_hot_stop(doc);
    return cv_store_compact(doc, true);
}

bool cv_doc_waiting(const struct cv_doc *doc)
{
    return doc->waiting.structs.n > 0 || doc->waiting.ranges.n > 0;
}

/* ---- reading ---- */

size_t cv_doc_text_bytes(const struct cv_doc *doc)
{
    cv_hot_settle(doc);
    return doc->lists[doc->text].sum[CV_BYTES];
}

size_t cv_doc_text_units(const struct cv_doc *doc)
{
    cv_hot_settle(doc);
    return doc->lists[doc->text].sum[CV_UNITS];
}

size_t cv_doc_text_newlines(const struct cv_doc *doc)
{
    cv_hot_settle(doc);
    return doc->lists[doc->text].sum[CV_NEWLINES];
}

int cv_doc_read(const struct cv_doc *doc, size_t at, size_t len,
                struct cv_writer *out)
{
    size_t total = cv_doc_text_bytes(doc);
    const struct cv_leaf *l;
    struct cv_place p;
    uint8_t *to;

    if (at > total || len > total - at)
        return CV_ERR_INVALID;
    if (len == 0 || (to = cv_put_space(out, len)) == NULL)
        return out->err;
    p = cv_tree_find(doc, doc->text, CV_BYTES, (uint32_t)at, false);
    at -= p.start;
    l = &doc->leaves[p.leaf];
    while (len > 0) {
        struct cv_entry e;
        const struct cv_item *x;
        size_t n;

        if (p.pos == l->n) {
            l = &doc->leaves[l->next];
            p.pos = 0;
            continue;
        }
        e = l->at[p.pos++];
        if (e.vis == 0)
            continue;
        x = &doc->items[e.item];
        n = e.vis - at < len ? e.vis - at : len;
        if (len >= CV_UTF8_PAD)
            cv_utf8_copy_block(to, cv_item_content(doc, x) + at, n);
        else
            memcpy(to, cv_item_content(doc, x) + at, n);
        to += n;
        len -= n;
        at = 0;
    }
    return CV_OK;
}

int cv_doc_line_offset(const struct cv_doc *doc, size_t line, size_t *at)
{
    const struct cv_item *x;
    struct cv_place p;

    if (line == 0) {
        *at = 0;
        return CV_OK;
    }
    if (line > cv_doc_text_newlines(doc))
        return CV_ERR_INVALID;
    p = cv_tree_find(doc, doc->text, CV_NEWLINES, (uint32_t)line, true);
    x = &doc->items[p.item];
    *at = cv_tree_offset(doc, p.item, CV_BYTES) +
          cv_utf8_after_newline(cv_item_content(doc, x), x->bytes,
                                line - p.start);
    return CV_OK;
}

int cv_doc_offset_line(const struct cv_doc *doc, size_t at, size_t *line)
{
    const struct cv_item *x;
    struct cv_place p;

    if (at > cv_doc_text_bytes(doc))
        return CV_ERR_INVALID;
    *line = 0;
    if (at == 0)
        return CV_OK;
    p = cv_tree_find(doc, doc->text, CV_BYTES, (uint32_t)at, true);
    x = &doc->items[p.item];
    *line = cv_tree_offset(doc, p.item, CV_NEWLINES) +
            cv_utf8_newlines(cv_item_content(doc, x), at - p.start);
    return CV_OK;
}

int cv_doc_bytes_to_units(const struct cv_doc *doc, size_t at, size_t *units)
{
    const struct cv_item *x;
    const uint8_t *text;
    struct cv_place p;

    if (at > cv_doc_text_bytes(doc))
        return CV_ERR_INVALID;
    *units = 0;
    if (at == 0)
        return CV_OK;
    p = cv_tree_find(doc, doc->text, CV_BYTES, (uint32_t)at, true);
    x = &doc->items[p.item];
    text = cv_item_content(doc, x);
    at -= p.start;
    if (at < x->bytes && !cv_utf8_border(text, at))
        return CV_ERR_INVALID;
    *units = cv_tree_offset(doc, p.item, CV_UNITS) + cv_utf8_units(text, at);
    return CV_OK;
}

int cv_doc_units_to_bytes(const struct cv_doc *doc, size_t units, size_t *at)
{
    const struct cv_item *x;
    struct cv_place p;
    bool inside = false;

    if (units > cv_doc_text_units(doc))
        return CV_ERR_INVALID;
    *at = 0;
    if (units == 0)
        return CV_OK;
    p = cv_tree_find(doc, doc->text, CV_UNITS, (uint32_t)units, true);
    x = &doc->items[p.item];
    *at = cv_tree_offset(doc, p.item, CV_BYTES);
    if (x->kind == CV_KIND_STRING)
        *at += cv_utf8_offset(cv_item_content(doc, x), x->bytes,
                              units - p.start, &inside);
    return inside ? CV_ERR_INVALID : CV_OK;
}

int cv_doc_author(const struct cv_doc *doc, size_t at, struct cv_id *id)
{
    const struct cv_item *x;
    const uint8_t *text;
    struct cv_place p;

    if (at >= cv_doc_text_bytes(doc))
        return CV_ERR_INVALID;
    p = cv_tree_find(doc, doc->text, CV_BYTES, (uint32_t)at, false);
    x = &doc->items[p.item];
    text = cv_item_content(doc, x);
    if (!cv_utf8_border(text, at - p.start))
        return CV_ERR_INVALID;
    id->client = doc->clients[x->client].id;
    id->clock = x->clock + cv_utf8_units(text, at - p.start);
    return CV_OK;
}

/* ---- remote updates ---- */

int cv_doc_apply(struct cv_doc *doc, struct cv_bytes update,
                 const struct cv_doc_observer *observer, struct cv_writer *news,
                 struct cv_doc_applied *applied)
{
    struct cv_events events = {0};
    int err, told = CV_OK, written = CV_OK;
    bool quick;

    if (applied != NULL)
        *applied = (struct cv_doc_applied){0};
    if (doc->txn.open)
        return CV_ERR_INVALID;
    if (update.len > doc->limits.update_bytes)
        return CV_ERR_LIMIT;
    cv_hot_settle(doc);
    cv_hot_forget(doc);
    cv_txn_begin(doc, observer != NULL);
    quick = cv_quick_apply(doc, update, &err);
    if (!quick) {
        err = cv_plan_make(doc, doc->plan, update);
        if (err != CV_OK) {
            cv_plan_reset(doc->plan);
            return err;
        }
        err = cv_plan_run(doc, doc->plan);
    }
    if (applied != NULL) {
        applied->news = cv_txn_news(doc);
        applied->waiting = cv_doc_waiting(doc);
        applied->own_id = doc->plan->own_id;
    }
    if (observer != NULL)
        told = cv_events_collect(doc, &events);
    if (news != NULL)
        written = cv_encode_txn(doc, news);
    if (!quick)
        cv_plan_reset(doc->plan);
    cv_txn_end(doc);
    if (observer != NULL && told == CV_OK)
        cv_events_tell(doc, &events, observer);
    cv_events_fini(&events);
    if (err == CV_OK)
        err = told != CV_OK ? told : written;
    cv_store_tidy(doc);
    return err;
}
