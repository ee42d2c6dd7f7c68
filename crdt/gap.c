#include "crdt/gap.h"

#include "crdt/chain.h"
#include "crdt/run.h"
#include "crdt/tree.h"
#include "crdt/txn.h"

int cv_gap_grow(struct cv_doc *doc, uint32_t item, uint32_t pos,
                const struct cv_text *text)
{
    struct cv_item *x = &doc->items[item];
    uint32_t client = x->client, n = (uint32_t)text->len;
    int32_t newlines = (int32_t)text->newlines;
    int err = cv_store_log_reserve(doc, client, n);

    if (err == CV_OK)
        err = cv_txn_room(doc);
    if (err != CV_OK)
        return err;
    cv_txn_touch(doc, client);
    cv_store_log_type(doc, client, text->data, n);
    x->bytes += n;
    x->len += text->units;
    cv_item_add_newlines(x, newlines);
    doc->clients[client].next += text->units;
    cv_tree_resize_at(doc, x->leaf, pos, (int32_t)n, (int32_t)text->units,
                      newlines);
    return CV_OK;
}

/* Cut the rest off the item before a gap, which was opened for two items, and
 * put it behind.  The rest. */
static inline uint32_t cut_rest(struct cv_doc *doc, const struct cv_gap *gap)
{
    struct cv_leaf *l = &doc->leaves[gap->leaf];
    uint32_t rest = cv_store_item_new(doc);
    const struct cv_item *x = &doc->items[gap->left];
    uint32_t at = x->bytes - gap->rest;

    cv_run_cut(doc, gap->left, rest, cv_item_units_before(doc, x, at), at);
    l->at[gap->pos - 1].vis = at;
    l->at[gap->pos + 1] = (struct cv_entry){rest, gap->rest};
    return rest;
}

bool cv_gap_fill(struct cv_doc *doc, struct cv_gap *gap, uint32_t client,
                 const struct cv_text *text)
{
    uint32_t len = (uint32_t)text->len, k = gap->rest > 0 ? 2 : 1;
    uint32_t item, right = gap->right;
    const struct cv_item *x;
    struct cv_item *y;
    struct cv_client *c;
    struct cv_leaf *l;

    if (cv_store_reserve(doc) != CV_OK ||
        cv_store_log_reserve(doc, client, len) != CV_OK ||
        cv_txn_room(doc) != CV_OK)
        return false;
    if (doc->leaves[gap->leaf].n + k > CV_LEAF_ITEMS)
        gap->leaf = cv_tree_split(doc, gap->leaf, &gap->pos);
    l = &doc->leaves[gap->leaf];
    item = cv_store_item_new(doc);
    y = &doc->items[item];
    c = &doc->clients[client];
    *y = (struct cv_item){.client = client & CV_CLIENT_MASK,
                          .kind = CV_KIND_STRING,
                          .clock = c->next,
                          .len = text->units,
                          .rclient = CV_NONE,
                          .bytes = len,
                          .leaf = gap->leaf};
    cv_tree_open(l, gap->pos, k);
    if (gap->rest > 0)
        right = cut_rest(doc, gap);
    cv_chain_append(doc, item);
    x = &doc->items[gap->left];
    y->oclient = x->client;
    y->oclock = cv_item_end(x) - 1;
    if (right != CV_NONE) {
        y->rclient = doc->items[right].client;
        y->rclock = doc->items[right].clock;
    }
    y->off = cv_store_log_append(doc, client, text->data, len);
    cv_item_set_newlines(y, text->newlines);
    l->at[gap->pos] = (struct cv_entry){item, 0};
    cv_txn_touch(doc, client);
    c->next += text->units;
    cv_tree_resize_at(doc, gap->leaf, gap->pos, (int32_t)len,
                      (int32_t)text->units, (int32_t)text->newlines);
    return true;
}
