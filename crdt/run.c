#include "crdt/run.h"

#include "crdt/chain.h"
#include "crdt/piece.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <assert.h>

#define PAIR_BYTES 4

void cv_run_cut(struct cv_doc *doc, uint32_t item, uint32_t right, uint32_t n,
                uint32_t at)
{
    struct cv_item *x = &doc->items[item], *y = &doc->items[right];

    cv_item_copy(y, x);
    y->clock += n;
    y->len -= n;
    y->oclient = x->client;
    y->oclock = y->clock - 1;
    y->off += at;
    y->bytes -= at;
    x->len = n;
    x->bytes = at;
    if (x->kind == CV_KIND_STRING)
        cv_item_share_newlines(doc, x, y, x->lines);
    cv_chain_divide(doc, item, right);
}

/* Cut before unit `n`, which begins at byte `at` of the content. */
static int cut(struct cv_doc *doc, uint32_t item, uint32_t n, uint32_t at)
{
    uint32_t right;
    int err = cv_store_reserve(doc);

    if (err != CV_OK)
        return err;
    right = cv_store_item_new(doc);
    cv_run_cut(doc, item, right, n, at);
    cv_tree_divide(doc, item, right);
    return CV_OK;
}

/* Turn an item that is one surrogate pair into two of U+FFFD. */
static int break_pair(struct cv_doc *doc, uint32_t item)
{
    static const char halves[] = CV_UTF8_REPLACEMENT CV_UTF8_REPLACEMENT;
    uint32_t client = doc->items[item].client, right, off, old;
    bool noted;
    struct cv_item *x, *y;
    int err = cv_store_reserve(doc);

    if (err == CV_OK)
        err = cv_txn_room(doc);
    if (err == CV_OK)
        err = cv_store_log_reserve(doc, client, sizeof(halves) - 1);
    if (err != CV_OK)
        return err;
    right = cv_store_item_new(doc);
    x = &doc->items[item];
    y = &doc->items[right];
    *y = *x;
    y->clock++;
    y->len = 1;
    y->oclient = client;
    y->oclock = x->clock;
    cv_chain_divide(doc, item, right);
    old = x->off;
    off = cv_store_log_append(doc, client, halves, sizeof(halves) - 1);
    cv_store_log_lose(doc, client, old, PAIR_BYTES);
    x->len = 1;
    x->off = off;
    y->off = off + CV_UTF8_REPLACEMENT_LEN;
    x->bytes = y->bytes = CV_UTF8_REPLACEMENT_LEN;
    noted = doc->txn.notes_on && cv_tree_list(doc, item) == doc->text &&
            x->clock < cv_txn_before(doc, client);
    if (noted) {
        cv_txn_note(doc, CV_NOTE_GONE, client, x->clock, PAIR_BYTES);
        cv_txn_note(doc, CV_NOTE_HALF, client, x->clock, 0);
        cv_txn_note(doc, CV_NOTE_HALF, client, y->clock, 0);
        x->fresh = y->fresh = 1;
    }
    cv_tree_resize(doc, item, CV_UTF8_REPLACEMENT_LEN - PAIR_BYTES, -1, 0);
    cv_tree_insert(doc, cv_tree_list(doc, item), item, right, 0);
    return CV_OK;
}

int cv_run_split(struct cv_doc *doc, uint32_t item, uint32_t n)
{
    const struct cv_item *x = &doc->items[item];
    struct cv_bytes content = {cv_item_content(doc, x), x->bytes};
    uint32_t clock = x->clock + n, client = x->client;
    bool inside = false;
    uint32_t at = 0;
    int err;

    assert(n > 0 && n < x->len && x->kind != CV_KIND_GC);
    if (x->kind == CV_KIND_STRING) {
        at = x->bytes == x->len ? n
                                : (uint32_t)cv_utf8_offset(
                                      content.data, content.len, n, &inside);
    } else if (x->kind != CV_KIND_DELETED) {
        at = (uint32_t)cv_elements_offset(x->kind, content, n);
    }
    if (!inside)
        return cut(doc, item, n, at);

    /* Single the pair out, then break it. */
    if (n + 1 < x->len) {
        err = cut(doc, item, n + 1, at + PAIR_BYTES);
        if (err != CV_OK)
            return err;
    }
    if (n > 1) {
        err = cut(doc, item, n - 1, at);
        if (err != CV_OK)
            return err;
    }
    return break_pair(doc, cv_chain_find(doc, client, clock));
}

/* ---- deleting ---- */

/* Join tombstone b, which follows a, into a if they are one run. */
static bool join(struct cv_doc *doc, uint32_t a, uint32_t b)
{
    struct cv_item *x, *y;

    if (a == CV_NONE || b == CV_NONE)
        return false;
    x = &doc->items[a];
    y = &doc->items[b];
    if (x->kind != CV_KIND_DELETED || !cv_item_joins(x, y))
        return false;
    cv_chain_join(doc, a, b);
    x->len += y->len;
    cv_tree_remove(doc, b);
    cv_store_item_free(doc, b);
    return true;
}

/* Delete everything a type holds.  The items become GC: their place is of no
 * further use to anybody. */
static void drop_list(struct cv_doc *doc, uint32_t list)
{
    uint32_t todo = list;

    /* `type_item` links the lists that are still to be done. */
    doc->lists[todo].type_item = CV_NONE;
    while (todo != CV_NONE) {
        uint32_t at = todo, leaf = CV_NONE, keys = doc->lists[at].keys;

        todo = doc->lists[at].type_item;
        for (uint32_t k = keys; k != CV_NONE; k = doc->lists[k].next_key) {
            doc->lists[k].type_item = todo;
            todo = k;
        }
        if (doc->lists[at].root != CV_NONE)
            leaf = doc->items[cv_tree_first(doc, at)].leaf;
        for (; leaf != CV_NONE; leaf = doc->leaves[leaf].next) {
            for (uint32_t i = 0; i < doc->leaves[leaf].n; i++) {
                struct cv_item *x = &doc->items[doc->leaves[leaf].at[i].item];

                if (!cv_item_deleted(x)) {
                    /* Peers infer it from the type: going without is no
                     * loss when memory is short. */
                    if (cv_txn_room(doc) == CV_OK)
                        cv_txn_deleted(doc, x->client, x->clock, x->len);
                    if (x->kind == CV_KIND_TYPE) {
                        uint32_t nested = cv_item_list(doc, x);

                        doc->lists[nested].type_item = todo;
                        todo = nested;
                    }
                    cv_store_log_lose(doc, x->client, x->off,
                                      cv_item_stored(x));
                }
                x->kind = CV_KIND_GC;
                x->leaf = CV_NONE;
                x->off = x->bytes = 0;
            }
        }
        cv_tree_clear(doc, at);
        /* A type with keys goes when the last of them has gone. */
        while (at != CV_NONE && doc->lists[at].keys == CV_NONE &&
               doc->lists[at].root == CV_NONE) {
            uint32_t owner = doc->lists[at].owner;
            bool more = owner != CV_NONE && doc->lists[owner].root == CV_NONE;

            cv_store_list_free(doc, at);
            at = more ? owner : CV_NONE;
        }
    }
}

/* Note for the observer what of an item was there before the transaction; what
 * it brought and deletes again is no news. */
static void note_gone(struct cv_doc *doc, const struct cv_item *x)
{
    uint32_t before = cv_txn_before(doc, x->client);
    size_t bytes = x->bytes;
    bool inside;

    if (!doc->txn.notes_on || x->fresh || x->clock >= before)
        return;
    if (cv_item_end(x) > before)
        bytes = cv_utf8_offset(cv_item_content(doc, x), x->bytes,
                               before - x->clock, &inside);
    cv_txn_note(doc, CV_NOTE_GONE, x->client, x->clock, (uint32_t)bytes);
}

int cv_run_delete(struct cv_doc *doc, uint32_t item)
{
    struct cv_item *x = &doc->items[item];
    uint32_t list = cv_tree_list(doc, item),
             newlines = cv_item_newlines(doc, x);
    uint32_t prev;
    int err = cv_txn_room(doc);

    if (err != CV_OK)
        return err;
    if (x->kind == CV_KIND_TYPE)
        drop_list(doc, cv_item_list(doc, x));
    if (list == doc->text && x->kind == CV_KIND_STRING)
        note_gone(doc, x);
    /* drop_list() may have used the room. */
    err = cv_txn_room(doc);
    if (err == CV_OK)
        cv_txn_deleted(doc, x->client, x->clock, x->len);
    if (cv_list_is_key(&doc->lists[list]))
        cv_txn_key(doc, list);
    cv_tree_resize(doc, item, -(int32_t)cv_item_visible(x),
                   -(int32_t)cv_item_units(x), -(int32_t)newlines);
    cv_store_log_lose(doc, x->client, x->off, cv_item_stored(x));
    x->kind = CV_KIND_DELETED;
    x->off = x->bytes = 0;
    join(doc, item, cv_tree_next(doc, item));
    prev = cv_tree_prev(doc, item);
    join(doc, prev, item);
    return err;
}

/* Delete a part of an item of ASCII in place; no place is hot, as always when
 * updates are applied.  False: nothing was changed. */
static bool delete_in_place(struct cv_doc *doc, uint32_t item, uint32_t from,
                            uint32_t n)
{
    const struct cv_item *x = &doc->items[item];
    struct cv_place p = {item, x->leaf, 0, 0};
    struct cv_piece d = {from, n, from, n};
    uint32_t client = x->client, clock = x->clock + from, list;
    bool noted;

    assert(doc->hot.leaf == CV_NONE);
    if (x->kind != CV_KIND_STRING || x->bytes != x->len)
        return false;
    list = cv_tree_list(doc, item);
    noted = doc->txn.notes_on && list == doc->text;
    if (cv_list_is_key(&doc->lists[list]) || cv_txn_room(doc) != CV_OK ||
        (noted && (x->fresh || clock + n > cv_txn_before(doc, client))))
        return false;
    p.pos = cv_tree_pos(doc, item);
    if (!cv_piece_delete(doc, &p, &d))
        return false;
    if (noted)
        cv_txn_note(doc, CV_NOTE_GONE, client, clock, n);
    return true;
}

int cv_run_delete_range(struct cv_doc *doc, uint32_t client, uint32_t clock,
                        uint32_t len)
{
    uint32_t end = doc->clients[client].next;
    int err;

    if (clock >= end)
        return CV_OK;
    if (len < end - clock)
        end = clock + len;
    while (clock < end) {
        uint32_t item = cv_chain_find(doc, client, clock);
        struct cv_item *x = &doc->items[item];
        uint32_t stop = cv_item_end(x);

        if (cv_item_deleted(x)) {
            clock = stop;
            continue;
        }
        if ((x->clock < clock || stop > end) &&
            delete_in_place(doc, item, clock - x->clock,
                            (stop < end ? stop : end) - clock)) {
            clock = stop;
            continue;
        }
        if (x->clock < clock) {
            err = cv_run_split(doc, item, clock - x->clock);
            if (err != CV_OK)
                return err;
            continue;
        }
        if (stop > end) {
            err = cv_run_split(doc, item, end - x->clock);
            if (err != CV_OK)
                return err;
            continue;
        }
        err = cv_run_delete(doc, item);
        if (err != CV_OK)
            return err;
        clock = stop;
    }
    return CV_OK;
}
