#include "crdt/observe.h"

#include "crdt/chain.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <stdlib.h>

static int add(struct cv_events *e, struct cv_event event)
{
    if (!cv_vec_reserve(&e->event, 1))
        return CV_ERR_NOMEM;
    e->event.at[e->event.n++] = event;
    return CV_OK;
}

static bool in_text(const struct cv_doc *doc, const struct cv_item *x)
{
    return x->leaf != CV_NONE && doc->leaves[x->leaf].list == doc->text;
}

/* What a client has brought and is visible. */
static int add_new(struct cv_doc *doc, struct cv_events *e, uint32_t client)
{
    const struct cv_client *c = &doc->clients[client];
    uint32_t item = cv_chain_find(doc, client, c->before);
    int err;

    for (; item != CV_NONE; item = doc->items[item].succ) {
        uint32_t from = 0, at;
        const struct cv_item *x = &doc->items[item];
        bool inside;

        if (x->kind != CV_KIND_STRING || !in_text(doc, x))
            continue;
        /* The first item may have grown from an older one. */
        if (x->clock < c->before)
            from = (uint32_t)cv_utf8_offset(cv_item_content(doc, x), x->bytes,
                                            c->before - x->clock, &inside);
        at = cv_tree_offset(doc, item, CV_BYTES) + from;
        err = add(e, (struct cv_event){at, 0, item, from, x->bytes - from});
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

/* By place; at one place first what went, for it lies before what came. */
static int in_text_order(const void *a, const void *b)
{
    const struct cv_event *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)(y->deleted > 0) - (int)(x->deleted > 0);
}

int cv_events_collect(struct cv_doc *doc, struct cv_events *e)
{
    const struct cv_txn *t = &doc->txn;
    int err = CV_OK;

    if (t->keys.n > 0) {
        if (!cv_vec_reserve(&e->keys, t->keys.n))
            return CV_ERR_NOMEM;
        memcpy(e->keys.at, t->keys.at, t->keys.n * sizeof(*t->keys.at));
        e->keys.n = t->keys.n;
    }
    for (uint32_t i = 0; i < t->touched.n && err == CV_OK; i++)
        err = add_new(doc, e, t->touched.at[i]);
    for (uint32_t i = 0; i < t->notes.n && err == CV_OK; i++) {
        const struct cv_note *n = &t->notes.at[i];
        uint32_t item = cv_chain_find(doc, n->client, n->clock);
        const struct cv_item *x = &doc->items[item];
        uint32_t at = cv_tree_offset(doc, item, CV_BYTES);

        if (n->kind == CV_NOTE_GONE)
            err = add(e, (struct cv_event){at, n->bytes, CV_NONE, 0, 0});
        else if (x->kind == CV_KIND_STRING)
            err = add(e, (struct cv_event){at, 0, item, 0, x->bytes});
    }
    if (e->event.n > 1)
        qsort(e->event.at, e->event.n, sizeof(*e->event.at), in_text_order);
    return err;
}

static void tell_text(const struct cv_doc *doc, struct cv_events *e,
                      const struct cv_doc_observer *observer)
{
    struct cv_writer text;
    uint32_t i = 0;

    cv_writer_init_heap(&text, SIZE_MAX / 2);
    while (i < e->event.n) {
        const struct cv_event *v = &e->event.at[i];
        struct cv_text_change change = {.at = v->at};
        uint32_t pieces = 0;

        cv_writer_reset(&text);
        /* All that follows directly is one change. */
        for (; i < e->event.n; i++) {
            const uint8_t *content;

            v = &e->event.at[i];
            if (v->at != change.at + change.inserted_len)
                break;
            change.deleted += v->deleted;
            if (v->item == CV_NONE)
                continue;
            content = cv_item_content(doc, &doc->items[v->item]) + v->from;
            if (pieces == 1 &&
                cv_put_raw(&text, change.inserted, change.inserted_len))
                break;
            if (pieces > 0 && cv_put_raw(&text, content, v->len) != CV_OK)
                break; /* without memory the pieces are told one by one */
            change.inserted = pieces == 0 ? content : text.data;
            change.inserted_len += v->len;
            pieces++;
        }
        if (pieces > 1)
            change.inserted = text.data;
        observer->text(observer->user, &change);
    }
    cv_writer_fini(&text);
}

static void tell_keys(const struct cv_doc *doc, const struct cv_events *e,
                      const struct cv_doc_observer *observer)
{
    for (uint32_t i = 0; i < e->keys.n; i++) {
        const struct cv_list *l = &doc->lists[e->keys.at[i]], *root;

        if (!l->used || !cv_list_is_key(l))
            continue; /* gone with its type */
        root = &doc->lists[l->owner];
        if (root->name == NULL || cv_list_is_key(root))
            continue;
        observer->key(observer->user,
                      (struct cv_bytes){root->name, root->name_len},
                      (struct cv_bytes){l->name, l->name_len});
    }
}

void cv_events_tell(const struct cv_doc *doc, struct cv_events *e,
                    const struct cv_doc_observer *observer)
{
    if (observer->text != NULL)
        tell_text(doc, e, observer);
    if (observer->key != NULL)
        tell_keys(doc, e, observer);
}

void cv_events_fini(struct cv_events *e)
{
    free(e->event.at);
    free(e->keys.at);
}
