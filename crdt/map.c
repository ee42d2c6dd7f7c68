/* Local edits of the keys of root maps. */
#include "crdt/doc.h"

#include "crdt/any.h"
#include "crdt/hot.h"
#include "crdt/integrate.h"
#include "crdt/run.h"
#include "crdt/utf8.h"

static struct cv_bytes name_of(const char *name)
{
    return (struct cv_bytes){(const uint8_t *)name, strlen(name)};
}

/* The item that holds the value of a key; CV_NONE. */
static uint32_t find_value(const struct cv_doc *doc, const char *root,
                           struct cv_bytes key)
{
    uint32_t type = cv_store_list(doc, CV_NONE, name_of(root)), list, item;

    if (type == CV_NONE)
        return CV_NONE;
    list = cv_store_list(doc, type, key);
    if (list == CV_NONE)
        return CV_NONE;
    item = cv_tree_last(doc, list);
    if (item == CV_NONE || cv_item_deleted(&doc->items[item]))
        return CV_NONE;
    return item;
}

int cv_doc_map_set(struct cv_doc *doc, const char *root, struct cv_bytes key,
                   struct cv_bytes value)
{
    struct cv_item x = {.client = doc->self & CV_CLIENT_MASK,
                        .kind = CV_KIND_ANY,
                        .len = 1,
                        .oclient = CV_NONE,
                        .rclient = CV_NONE};
    uint32_t type, list, former, item;
    struct cv_reader r;
    size_t units;
    int err;

    cv_hot_settle(doc);
    if (!doc->txn.open)
        return CV_ERR_INVALID;
    cv_reader_init(&r, value.data, value.len);
    cv_any_skip(&r, doc->limits.nesting);
    if (cv_reader_end(&r) != CV_OK ||
        !cv_utf8_measure(key.data, key.len, &units))
        return CV_ERR_FORMAT;
    if (value.len + key.len > doc->limits.log_bytes - doc->log_total ||
        doc->clients[doc->self].next == CV_DOC_CLOCK_MAX ||
        doc->items_used >= doc->limits.items)
        return CV_ERR_LIMIT;
    err = cv_store_list_add(doc, CV_NONE, name_of(root), &type);
    if (err == CV_OK)
        err = cv_store_list_add(doc, type, key, &list);
    if (err != CV_OK)
        return err;
    former = cv_tree_last(doc, list);
    if (former != CV_NONE) {
        x.oclient = doc->items[former].client;
        x.oclock = cv_item_end(&doc->items[former]) - 1;
    }
    err = cv_append_item(doc, &x, list, former, value, &item);
    if (err != CV_OK || former == CV_NONE ||
        cv_item_deleted(&doc->items[former]))
        return err;
    return cv_run_delete(doc, former);
}

int cv_doc_map_delete(struct cv_doc *doc, const char *root, struct cv_bytes key)
{
    uint32_t item;

    cv_hot_settle(doc);
    if (!doc->txn.open)
        return CV_ERR_INVALID;
    item = find_value(doc, root, key);
    return item == CV_NONE ? CV_ERR_NOTFOUND : cv_run_delete(doc, item);
}

static int get_value(const struct cv_doc *doc, uint32_t item,
                     struct cv_bytes *value)
{
    const struct cv_item *x = &doc->items[item];
    struct cv_bytes all = {cv_item_content(doc, x), x->bytes};
    size_t at;

    if (x->kind != CV_KIND_ANY)
        return CV_ERR_UNSUPPORTED;
    /* Of several elements the last is the value. */
    at = cv_elements_offset(x->kind, all, x->len - 1);
    *value = (struct cv_bytes){all.data + at, all.len - at};
    return CV_OK;
}

int cv_doc_map_get(const struct cv_doc *doc, const char *root,
                   struct cv_bytes key, struct cv_bytes *value)
{
    uint32_t item = find_value(doc, root, key);

    return item == CV_NONE ? CV_ERR_NOTFOUND : get_value(doc, item, value);
}

void cv_doc_map_each(const struct cv_doc *doc, const char *root,
                     void (*fn)(void *user, struct cv_bytes key,
                                struct cv_bytes value),
                     void *user)
{
    uint32_t type = cv_store_list(doc, CV_NONE, name_of(root));

    if (type == CV_NONE)
        return;
    for (uint32_t i = doc->lists[type].keys; i != CV_NONE;
         i = doc->lists[i].next_key) {
        const struct cv_list *l = &doc->lists[i];
        struct cv_bytes value = {NULL, 0};
        uint32_t item = cv_tree_last(doc, i);

        if (item == CV_NONE || cv_item_deleted(&doc->items[item]))
            continue;
        (void)!get_value(doc, item, &value);
        fn(user, (struct cv_bytes){l->name, l->name_len}, value);
    }
}
