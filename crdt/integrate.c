#include "crdt/integrate.h"

#include "crdt/chain.h"
#include "crdt/gap.h"
#include "crdt/run.h"
#include "crdt/siblings.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <assert.h>
#include <stdlib.h>

/* Where an item goes: behind `left` (CV_NONE: at the start) in `list`; `right`
 * is the item of its right origin.  No list: the parent is gone. */
struct target {
    uint32_t list, left, right;
    uint32_t pos; /* of left in its leaf, while `direct` */
    bool direct;  /* right follows left: there is no conflict */
};

int cv_append_item(struct cv_doc *doc, const struct cv_item *x, uint32_t list,
                   uint32_t left, struct cv_bytes content, uint32_t *item)
{
    uint32_t i, client = x->client;
    struct cv_item *y;
    int err = cv_store_reserve(doc);

    if (err == CV_OK)
        err = cv_store_log_reserve(doc, client, content.len);
    if (err == CV_OK)
        err = cv_txn_room(doc);
    if (err != CV_OK)
        return err;
    i = cv_store_item_new(doc);
    y = &doc->items[i];
    *y = *x;
    y->clock = doc->clients[client].next;
    y->leaf = CV_NONE;
    y->fresh = 0;
    doc->hot.room = doc->hot.back = 0; /* the log may move */
    cv_chain_append(doc, i);
    y->off = 0;
    if (content.len > 0)
        y->off = cv_store_log_append(doc, client, content.data, content.len);
    y->bytes = (uint32_t)content.len;
    if (y->kind == CV_KIND_TYPE)
        y->bytes -= (uint32_t)sizeof(uint32_t);
    if (y->kind == CV_KIND_STRING)
        cv_item_set_newlines(y, cv_item_count_newlines(doc, y));
    cv_txn_touch(doc, client);
    doc->clients[client].next += y->len;
    if (y->kind != CV_KIND_GC)
        cv_tree_insert(doc, list, left, i, cv_item_newlines(doc, y));
    if (y->kind == CV_KIND_DELETED)
        cv_txn_deleted(doc, client, y->clock, y->len);
    *item = i;
    return CV_OK;
}

/* The longest prefix of whole characters that fits one run. */
static size_t run_prefix(struct cv_bytes text)
{
    size_t n = CV_RUN_BYTES;

    if (text.len <= n)
        return text.len;
    while (!cv_utf8_border(text.data, n))
        n--;
    return n;
}

int cv_append_text(struct cv_doc *doc, struct cv_item x, uint32_t list,
                   uint32_t left, struct cv_bytes text, uint32_t *item)
{
    while (text.len > 0) {
        struct cv_bytes piece = {text.data, run_prefix(text)};
        int err;

        x.len = (uint32_t)cv_utf8_units(piece.data, piece.len);
        err = cv_append_item(doc, &x, list, left, piece, item);
        if (err != CV_OK)
            return err;
        text.data += piece.len;
        text.len -= piece.len;
        /* What follows carries the run on. */
        left = *item;
        x.oclient = x.client;
        x.oclock = doc->clients[x.client].next - 1;
    }
    return CV_OK;
}

/* The item that ends with that unit, after a cut if need be. */
static int ending_with(struct cv_doc *doc, uint32_t client, uint32_t clock,
                       uint32_t *item)
{
    const struct cv_item *x;
    int err;

    *item = cv_chain_find(doc, client, clock);
    x = &doc->items[*item];
    if (x->kind == CV_KIND_GC || cv_item_end(x) == clock + 1)
        return CV_OK;
    err = cv_run_split(doc, *item, clock + 1 - x->clock);
    /* Cutting a pair leaves the unit in an item of its own. */
    *item = cv_chain_find(doc, client, clock);
    return err;
}

/* The item that begins with that unit, after a cut if need be. */
static int beginning_with(struct cv_doc *doc, uint32_t client, uint32_t clock,
                          uint32_t *item)
{
    const struct cv_item *x;
    int err;

    *item = cv_chain_find(doc, client, clock);
    x = &doc->items[*item];
    if (x->kind == CV_KIND_GC || x->clock == clock)
        return CV_OK;
    err = cv_run_split(doc, *item, clock - x->clock);
    *item = cv_chain_find(doc, client, clock);
    return err;
}

static bool is_gc(const struct cv_doc *doc, uint32_t item)
{
    return item != CV_NONE && doc->items[item].kind == CV_KIND_GC;
}

/* The list that the struct names itself. */
static int named_list(struct cv_doc *doc, const struct cv_struct *s,
                      const uint8_t *base, uint32_t *list)
{
    uint32_t type = CV_NONE;
    int err;

    *list = CV_NONE;
    if (s->parent == CV_PARENT_ROOT) {
        err = cv_store_list_add(doc, CV_NONE, cv_struct_root(s, base), &type);
        if (err != CV_OK)
            return err;
    } else {
        const struct cv_item *x =
            &doc->items[cv_chain_find(doc, s->pclient, s->pclock)];

        if (x->kind != CV_KIND_TYPE)
            return CV_OK;
        type = cv_item_list(doc, x);
    }
    if (s->info & CV_INFO_KEY)
        return cv_store_list_add(
            doc, type, (struct cv_bytes){base + s->key, s->key_len}, list);
    *list = type;
    return CV_OK;
}

static int find_target(struct cv_doc *doc, const struct cv_struct *s,
                       const struct cv_item *x, const uint8_t *base,
                       struct target *t)
{
    int err;

    *t = (struct target){CV_NONE, CV_NONE, CV_NONE, 0, false};
    if (x->oclient != CV_NONE) {
        err = ending_with(doc, x->oclient, x->oclock, &t->left);
        if (err != CV_OK)
            return err;
        /* Mostly the right origin is simply what follows. */
        if (!is_gc(doc, t->left))
            t->direct = cv_tree_followed(doc, t->left, x->rclient, x->rclock,
                                         &t->pos, &t->right);
    }
    if (x->rclient != CV_NONE && !t->direct) {
        err = beginning_with(doc, x->rclient, x->rclock, &t->right);
        if (err != CV_OK)
            return err;
        /* A malicious right origin lies inside of the left item. */
        if (x->oclient != CV_NONE)
            t->left = cv_chain_find(doc, x->oclient, x->oclock);
    }
    if (is_gc(doc, t->left) || is_gc(doc, t->right))
        return CV_OK;
    if (t->left == CV_NONE && s->parent != CV_PARENT_NONE)
        return named_list(doc, s, base, &t->list);
    t->list = cv_tree_list(doc, t->left != CV_NONE ? t->left : t->right);
    return CV_OK;
}

static bool same_origin(const struct cv_item *a, const struct cv_item *b)
{
    return a->oclient == b->oclient &&
           (a->oclient == CV_NONE || a->oclock == b->oclock);
}

static bool same_right(const struct cv_item *a, const struct cv_item *b)
{
    return a->rclient == b->rclient &&
           (a->rclient == CV_NONE || a->rclock == b->rclock);
}

/* Does `item` lie behind `left`, which may be the start of the list? */
static bool behind(const struct cv_doc *doc, uint32_t left, uint32_t item)
{
    return left == CV_NONE || (left != item && cv_tree_before(doc, left, item));
}

/* Is the last unit of `a` the origin of b? */
static bool carries_on(const struct cv_item *a, const struct cv_item *b)
{
    return b->oclient == a->client && b->oclock == cv_item_end(a) - 1;
}

/* The conflict scan of YATA, with positions in the place of its two sets:
 * `scanned` is what lies behind the first left, `conflicting` what lies behind
 * the present one.  Inside a run each unit has the one before it as origin, so
 * only the first needs a look.  `x` has its clock. */
static uint32_t resolve(struct cv_doc *doc, const struct cv_item *x,
                        const struct target *t)
{
    const struct cv_client *clients = doc->clients;
    uint32_t first = t->left, left = t->left, holder, steps = 0;
    uint32_t before = CV_NONE; /* o in the list, among the scanned */
    struct cv_place o;

    o.item = first == CV_NONE ? cv_tree_first(doc, t->list)
                              : cv_tree_next(doc, first);
    if (o.item == CV_NONE || o.item == t->right)
        return left;
    o.leaf = doc->items[o.item].leaf;
    o.pos = cv_tree_pos(doc, o.item);
    while (o.item != CV_NONE && o.item != t->right) {
        const struct cv_item *y = &doc->items[o.item];

        if (before != CV_NONE && carries_on(&doc->items[before], y)) {
            /* Most items: the one before is the origin. */
            if (left == before)
                left = o.item;
        } else if (same_origin(x, y)) {
            if (clients[y->client].id < clients[x->client].id) {
                left = o.item;
                if (steps > CV_SCAN_STEPS && same_right(x, y))
                    cv_siblings_add(doc, t->list, y);
            } else if (same_right(x, y)) {
                break;
            }
        } else {
            if (y->oclient == CV_NONE)
                break;
            holder = cv_chain_find(doc, y->oclient, y->oclock);
            if (is_gc(doc, holder) || cv_tree_list(doc, holder) != t->list ||
                !behind(doc, first, holder))
                break;
            if (!behind(doc, left, holder))
                left = o.item;
        }
        if (++steps == CV_SCAN_STEPS) {
            uint32_t near = cv_siblings_before(doc, t->list, x);

            if (near != CV_NONE && cv_tree_before(doc, o.item, near)) {
                left = near;
                o.item = near;
                o.leaf = doc->items[near].leaf;
                o.pos = cv_tree_pos(doc, near);
            }
        }
        before = o.item;
        cv_place_next(doc, &o);
    }
    if (steps >= CV_SCAN_STEPS)
        cv_siblings_add(doc, t->list, x);
    doc->scanned += steps;
    return left;
}

/* A run of text or tombstones that goes on where its client stopped, in the
 * same place, is no new item. */
static bool extend(struct cv_doc *doc, const struct cv_item *x,
                   const struct target *t, struct cv_bytes content, int *err)
{
    uint32_t left = t->left;
    struct cv_client *c = &doc->clients[x->client];
    struct cv_item *y;

    if (left == CV_NONE || cv_list_is_key(&doc->lists[cv_tree_list(doc, left)]))
        return false;
    y = &doc->items[left];
    if (y->client != x->client || cv_item_end(y) != c->next ||
        y->kind != x->kind || x->oclient != x->client ||
        x->oclock != c->next - 1 || !same_right(x, y))
        return false;
    if (x->kind == CV_KIND_STRING) {
        struct cv_text text = {content.data, content.len, x->len, 0};

        if (!cv_gap_grows(doc, y, content.len))
            return false;
        text.newlines = (uint32_t)cv_utf8_newlines(content.data, content.len);
        *err = cv_gap_grow(doc, left,
                           t->direct ? t->pos : cv_tree_pos(doc, left), &text);
        return true;
    }
    if (x->kind != CV_KIND_DELETED)
        return false;
    *err = cv_txn_room(doc);
    if (*err != CV_OK)
        return true;
    cv_txn_touch(doc, x->client);
    y->len += x->len;
    cv_txn_deleted(doc, x->client, c->next, x->len);
    c->next += x->len;
    return true;
}

/* A value has come to a map key: the last one counts, the others go. */
static int settle_key(struct cv_doc *doc, uint32_t list, uint32_t item)
{
    uint32_t former;

    cv_txn_key(doc, list);
    if (cv_tree_next(doc, item) != CV_NONE) {
        if (cv_item_deleted(&doc->items[item]))
            return CV_OK;
        return cv_run_delete(doc, item);
    }
    former = cv_tree_prev(doc, item);
    if (former == CV_NONE || cv_item_deleted(&doc->items[former]))
        return CV_OK;
    return cv_run_delete(doc, former);
}

static int put_gc(struct cv_doc *doc, uint32_t client, uint32_t len)
{
    struct cv_client *c = &doc->clients[client];
    uint32_t last = c->last, item;
    struct cv_item x = {.client = client & CV_CLIENT_MASK,
                        .kind = CV_KIND_GC,
                        .len = len,
                        .oclient = CV_NONE,
                        .rclient = CV_NONE};
    int err;

    if (last == CV_NONE || doc->items[last].kind != CV_KIND_GC)
        return cv_append_item(doc, &x, CV_NONE, CV_NONE,
                              (struct cv_bytes){NULL, 0}, &item);
    err = cv_txn_room(doc);
    if (err != CV_OK)
        return err;
    cv_txn_touch(doc, client);
    doc->items[last].len += len;
    c->next += len;
    return CV_OK;
}

/* The units of the content from `off` on.  *half: they begin with a cut pair,
 * so U+FFFD comes first. */
static struct cv_bytes content_from(const struct cv_struct *s,
                                    const uint8_t *base, uint32_t off,
                                    bool *half)
{
    struct cv_bytes c = {base + s->content, s->content_len};
    size_t at = 0;

    *half = false;
    if (off == 0)
        return c;
    if (s->kind == CV_KIND_STRING) {
        at = cv_utf8_offset(c.data, c.len, off, half);
        if (*half)
            at += cv_utf8_char_len(c.data[at]);
    } else if (s->kind == CV_KIND_JSON || s->kind == CV_KIND_ANY) {
        at = cv_elements_offset(s->kind, c, off);
    }
    return (struct cv_bytes){c.data + at, c.len - at};
}

/* JSON, ANY and single elements: in runs of bounded size where there are
 * several elements. */
static int append_elements(struct cv_doc *doc, struct cv_item x, uint32_t list,
                           uint32_t left, struct cv_bytes content,
                           uint32_t *item)
{
    uint32_t rest = x.len;

    while (content.len > CV_RUN_BYTES && rest > 1) {
        /* Elements differ in size; one at a time keeps this simple. */
        size_t n = cv_elements_offset(x.kind, content, 1);
        int err;

        x.len = 1;
        err = cv_append_item(doc, &x, list, left,
                             (struct cv_bytes){content.data, n}, item);
        if (err != CV_OK)
            return err;
        content.data += n;
        content.len -= n;
        rest--;
        left = *item;
        x.oclient = x.client;
        x.oclock = doc->clients[x.client].next - 1;
    }
    x.len = rest;
    return cv_append_item(doc, &x, list, left, content, item);
}

/* A type item carries the number of its list in front of its content. */
static int append_type(struct cv_doc *doc, const struct cv_item *x,
                       uint32_t list, uint32_t left, struct cv_bytes content,
                       uint32_t *item)
{
    uint8_t *copy;
    uint32_t nested;
    int err;

    copy = malloc(sizeof(nested) + content.len);
    if (copy == NULL)
        return CV_ERR_NOMEM;
    err = cv_store_list_new(doc, &nested);
    if (err != CV_OK) {
        free(copy);
        return err;
    }
    memcpy(copy, &nested, sizeof(nested));
    memcpy(copy + sizeof(nested), content.data, content.len);
    err = cv_append_item(doc, x, list, left,
                         (struct cv_bytes){copy, sizeof(nested) + content.len},
                         item);
    free(copy);
    if (err != CV_OK)
        cv_store_list_free(doc, nested);
    else
        doc->lists[nested].type_item = *item;
    return err;
}

/* One new item, or several for long content.  The value of a map key stays in
 * one: each item there would push out the one before it. */
static int append(struct cv_doc *doc, const struct cv_item *x,
                  const struct target *t, struct cv_bytes content,
                  uint32_t *item)
{
    if (x->kind == CV_KIND_TYPE)
        return append_type(doc, x, t->list, t->left, content, item);
    if (cv_list_is_key(&doc->lists[t->list]))
        return cv_append_item(doc, x, t->list, t->left, content, item);
    if (x->kind == CV_KIND_STRING)
        return cv_append_text(doc, *x, t->list, t->left, content, item);
    return append_elements(doc, *x, t->list, t->left, content, item);
}

static int place(struct cv_doc *doc, const struct cv_struct *s,
                 const uint8_t *base, const struct cv_item *x,
                 const struct target *t, uint32_t off)
{
    bool half;
    struct cv_bytes content = content_from(s, base, off, &half);
    uint32_t item = CV_NONE;
    uint8_t *joined = NULL;
    int err = CV_OK;

    if (half) {
        joined = malloc(CV_UTF8_REPLACEMENT_LEN + content.len);
        if (joined == NULL)
            return CV_ERR_NOMEM;
        memcpy(joined, CV_UTF8_REPLACEMENT, CV_UTF8_REPLACEMENT_LEN);
        memcpy(joined + CV_UTF8_REPLACEMENT_LEN, content.data, content.len);
        content =
            (struct cv_bytes){joined, CV_UTF8_REPLACEMENT_LEN + content.len};
    }
    if (!extend(doc, x, t, content, &err))
        err = append(doc, x, t, content, &item);
    if (err == CV_OK && item != CV_NONE && cv_list_is_key(&doc->lists[t->list]))
        err = settle_key(doc, t->list, item);
    free(joined);
    return err;
}

int cv_integrate(struct cv_doc *doc, const struct cv_struct *s,
                 const uint8_t *base)
{
    uint32_t next = doc->clients[s->client].next, off = next - s->clock;
    struct cv_item x = {.client = s->client & CV_CLIENT_MASK,
                        .kind = s->kind & 0xfu,
                        .clock = next,
                        .len = s->len - off,
                        .oclient = s->oclient,
                        .oclock = cv_struct_oclock(s),
                        .rclient = s->rclient,
                        .rclock = cv_struct_rclock(s)};
    struct target t;
    int err;

    assert(s->clock <= next);
    if (off >= s->len || s->kind == CV_KIND_SKIP)
        return CV_OK;
    if (s->kind == CV_KIND_GC)
        return put_gc(doc, s->client, s->len - off);
    if (off > 0) {
        x.oclient = s->client;
        x.oclock = next - 1;
    }
    err = find_target(doc, s, &x, base, &t);
    if (err != CV_OK)
        return err;
    if (t.list == CV_NONE)
        return put_gc(doc, s->client, s->len - off);
    if (!t.direct)
        t.left = resolve(doc, &x, &t);
    return place(doc, s, base, &x, &t, off);
}
