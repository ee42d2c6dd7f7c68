/* Local edits: of text, and of the keys of root maps. */
#include "crdt/doc.h"

#include "crdt/any.h"
#include "crdt/encode.h"
#include "crdt/integrate.h"
#include "crdt/run.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"

int cv_doc_begin(struct cv_doc *doc)
{
    if (doc->txn.open)
        return CV_ERR_INVALID;
    cv_txn_begin(doc, false);
    doc->txn.open = true;
    return CV_OK;
}

int cv_doc_commit(struct cv_doc *doc, struct cv_writer *update)
{
    int err = CV_OK;

    if (!doc->txn.open)
        return CV_ERR_INVALID;
    if (update != NULL)
        err = cv_encode_txn(doc, update);
    doc->txn.open = false;
    cv_txn_end(doc);
    cv_store_tidy(doc);
    return err;
}

/* The item of the hot leaf that holds what ends or begins at `at`. */
static bool find_hot(struct cv_doc *doc, uint32_t at, bool ending,
                     struct cv_place *p)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_leaf *l;
    uint32_t left, i = 0;

    if (hot->leaf == CV_NONE || at < hot->start)
        return false;
    l = &doc->leaves[hot->leaf];
    left = at - hot->at;
    if (at >= hot->at && (ending ? left > 0 && left <= l->vis[hot->pos]
                                 : left < l->vis[hot->pos])) {
        *p = (struct cv_place){l->item[hot->pos], hot->leaf, hot->pos, hot->at};
        return true;
    }
    left = at - hot->start;
    if (ending ? left == 0 || left > l->sum[CV_BYTES]
               : left >= l->sum[CV_BYTES])
        return false;
    while (left > l->vis[i] || (left == l->vis[i] && !ending))
        left -= l->vis[i++];
    hot->pos = i;
    hot->at = at - left;
    *p = (struct cv_place){l->item[i], hot->leaf, i, hot->at};
    return true;
}

/* Remember a place in the text. */
static void heat(struct cv_doc *doc, const struct cv_place *p)
{
    struct cv_hot *hot = &doc->hot;

    *hot = (struct cv_hot){
        .leaf = p->leaf, .start = p->start, .pos = p->pos, .at = p->start};
    for (uint32_t i = 0; i < p->pos; i++)
        hot->start -= doc->leaves[p->leaf].vis[i];
}

/* cv_tree_find() in the text, beginning with the leaf of the last edit. */
static struct cv_place find_text(struct cv_doc *doc, uint32_t at, bool ending)
{
    struct cv_place p;

    if (find_hot(doc, at, ending, &p))
        return p;
    p = cv_tree_find(doc, doc->text, CV_BYTES, at, ending);
    if (p.item != CV_NONE)
        heat(doc, &p);
    return p;
}

/* Is there a character border at `at`, which lies in or at the end of p? */
static bool on_border(const struct cv_doc *doc, const struct cv_place *p,
                      size_t at)
{
    const struct cv_item *x = &doc->items[p->item];

    at -= p->start;
    return at == x->bytes || cv_utf8_border(cv_item_content(doc, x), at);
}

/* UTF-16 units of the first `bytes` bytes of an item. */
static uint32_t units_before(const struct cv_doc *doc, const struct cv_item *x,
                             size_t bytes)
{
    if (x->bytes == x->len)
        return (uint32_t)bytes;
    return (uint32_t)cv_utf8_units(cv_item_content(doc, x), bytes);
}

/* ---- inserting ---- */

/* Is it plain ASCII, and short?  *newlines: how many there are. */
static inline bool is_keystroke(const uint8_t *text, size_t len,
                                uint32_t *newlines)
{
    uint8_t all = 0;
    uint32_t n = 0;

    if (len == 1) {
        *newlines = *text == '\n';
        return *text < 0x80;
    }
    if (len - 1 > 15)
        return false;
    for (size_t i = 0; i < len; i++) {
        all |= text[i];
        n += text[i] == '\n';
    }
    *newlines = n;
    return all < 0x80;
}

/* Type on at the end of the run that was typed last; false if this has to go
 * the long way. */
static inline bool type_on(struct cv_doc *doc, size_t at, const uint8_t *text,
                           size_t len)
{
    struct cv_hot *hot = &doc->hot;
    struct cv_client *c;
    struct cv_item *x;
    uint32_t n = (uint32_t)len, newlines;

    if (!hot->typing || hot->end != at || !doc->txn.open ||
        !is_keystroke(text, len, &newlines))
        return false;
    c = &doc->clients[doc->self];
    x = &doc->items[hot->item];
    if (x->bytes + n > CV_RUN_BYTES || cv_item_end(x) != c->next ||
        x->off + x->bytes != c->log_len || n > c->log_cap - c->log_len ||
        c->next > CV_DOC_CLOCK_MAX - n || doc->txn.touched.cap == 0 ||
        doc->log_total + n > doc->limits.log_bytes)
        return false;
    cv_txn_touch(doc, doc->self);
    cv_store_log_append(doc, doc->self, text, len);
    x->bytes += n;
    x->len += n;
    c->next += n;
    hot->end += n;
    cv_tree_resize_at(doc, hot->leaf, hot->pos, (int32_t)n, (int32_t)n,
                      (int32_t)newlines);
    return true;
}

/* The items on both sides of where text for `at` goes: between the visible
 * neighbours, behind all tombstones, as Yjs does. */
static int open_gap(struct cv_doc *doc, uint32_t at, uint32_t *left,
                    uint32_t *right)
{
    struct cv_place p = {CV_NONE, CV_NONE, 0, 0};
    const struct cv_item *x;
    bool live;

    *left = *right = CV_NONE;
    if (at > 0) {
        p = find_text(doc, at, true);
        x = &doc->items[p.item];
        if (!on_border(doc, &p, at))
            return CV_ERR_INVALID;
        if (at - p.start < x->bytes) {
            int err =
                cv_run_split(doc, p.item, units_before(doc, x, at - p.start));

            *left = p.item;
            *right = cv_tree_next(doc, p.item);
            return err;
        }
        live = cv_place_next_live(doc, &p);
    } else {
        p.item = cv_tree_first(doc, doc->text);
        if (p.item == CV_NONE)
            return CV_OK;
        p.leaf = doc->items[p.item].leaf;
        heat(doc, &p);
        live = cv_place_live(doc, &p);
    }
    if (!live)
        *left = cv_tree_last(doc, doc->text);
    else if (p.pos > 0)
        *left = doc->leaves[p.leaf].item[p.pos - 1];
    else
        *left = cv_tree_prev(doc, p.item);
    *right = p.item;
    return CV_OK;
}

static int insert(struct cv_doc *doc, size_t at, const void *text, size_t len)
{
    struct cv_bytes bytes = {text, len};
    struct cv_item x = {.client = doc->self & CV_CLIENT_MASK,
                        .kind = CV_KIND_STRING,
                        .oclient = CV_NONE,
                        .rclient = CV_NONE};
    uint32_t left, right, item;
    struct cv_place p;
    size_t units;
    int err;

    if (!doc->txn.open || at > cv_doc_text_bytes(doc))
        return CV_ERR_INVALID;
    if (!cv_utf8_measure(bytes.data, len, &units))
        return CV_ERR_FORMAT;
    if (len == 0)
        return CV_OK;
    if (len > doc->limits.log_bytes - doc->log_total ||
        units > CV_DOC_CLOCK_MAX - doc->clients[doc->self].next ||
        doc->items_used + len / (CV_RUN_BYTES / 2) + 3 > doc->limits.items)
        return CV_ERR_LIMIT;
    doc->hot.typing = false;
    err = open_gap(doc, (uint32_t)at, &left, &right);
    if (err != CV_OK)
        return err;
    if (left != CV_NONE) {
        x.oclient = doc->items[left].client;
        x.oclock = cv_item_end(&doc->items[left]) - 1;
    }
    if (right != CV_NONE) {
        x.rclient = doc->items[right].client;
        x.rclock = doc->items[right].clock;
    }
    err = cv_append_text(doc, x, doc->text, left, bytes, &item);
    if (err != CV_OK)
        return err;
    /* It ends before something visible, so what is typed next joins it. */
    p = (struct cv_place){item, doc->items[item].leaf, cv_tree_pos(doc, item),
                          (uint32_t)(at + len) - doc->items[item].bytes};
    heat(doc, &p);
    doc->hot.typing = true;
    doc->hot.item = item;
    doc->hot.end = (uint32_t)(at + len);
    return CV_OK;
}

int cv_doc_insert(struct cv_doc *doc, size_t at, const void *text, size_t len)
{
    if (type_on(doc, at, text, len))
        return CV_OK;
    return insert(doc, at, text, len);
}

/* ---- deleting ---- */

/* Delete what counts but is no text (embeds) between an item and the next
 * text. */
static int delete_embeds(struct cv_doc *doc, uint32_t item)
{
    struct cv_place p = {item, doc->items[item].leaf, cv_tree_pos(doc, item),
                         0};

    while (cv_place_next_live(doc, &p)) {
        const struct cv_item *x = &doc->items[p.item];
        int err;

        if (x->kind == CV_KIND_STRING)
            break;
        if (!cv_kind_countable(x->kind))
            continue;
        err = cv_run_delete(doc, p.item);
        if (err != CV_OK)
            return err;
        p = (struct cv_place){item, doc->items[item].leaf,
                              cv_tree_pos(doc, item), 0};
    }
    return CV_OK;
}

/* A piece of an item of text, in units and in bytes. */
struct piece {
    uint32_t from, n;
    uint32_t bfrom, bytes;
};

static inline struct piece piece_of(const struct cv_doc *doc,
                                    const struct cv_item *x, uint32_t bfrom,
                                    uint32_t bytes)
{
    uint32_t from = units_before(doc, x, bfrom);

    return (struct piece){from, units_before(doc, x, bfrom + bytes) - from,
                          bfrom, bytes};
}

/* Where the end or the start of an item goes and a tombstone of the same run
 * is beside it, move the border between the two: backspacing makes no new
 * items.  False if it is not so, or they are in different leaves. */
static inline bool move_border(struct cv_doc *doc, const struct cv_place *p,
                               const struct piece *d)
{
    const struct cv_leaf *l = &doc->leaves[p->leaf];
    struct cv_item *x = &doc->items[p->item], *y;
    uint32_t clock = x->clock + d->from, off = x->off + d->bfrom, newlines;

    if (d->n == x->len || doc->txn.deleted.n == doc->txn.deleted.cap)
        return false;
    if (d->from > 0 && d->from + d->n == x->len && p->pos + 1 < l->n) {
        y = &doc->items[l->item[p->pos + 1]];
        if (y->kind != CV_KIND_DELETED || y->client != x->client ||
            y->clock != clock + d->n || y->oclient != x->client ||
            y->oclock != y->clock - 1 || y->rclient != x->rclient ||
            y->rclock != x->rclock)
            return false;
        y->clock -= d->n;
        y->oclock -= d->n;
    } else if (d->from == 0 && p->pos > 0) {
        y = &doc->items[l->item[p->pos - 1]];
        if (y->kind != CV_KIND_DELETED || y->client != x->client ||
            cv_item_end(y) != x->clock || x->oclient != x->client ||
            x->oclock != x->clock - 1 || y->rclient != x->rclient ||
            y->rclock != x->rclock)
            return false;
        x->clock += d->n;
        x->oclock = x->clock - 1;
        x->off += d->bytes;
    } else {
        return false;
    }
    newlines =
        (uint32_t)cv_utf8_newlines(doc->clients[x->client].log + off, d->bytes);
    y->len += d->n;
    x->len -= d->n;
    x->bytes -= d->bytes;
    cv_store_log_lose(doc, x->client, off, d->bytes);
    cv_txn_deleted(doc, x->client, clock, d->n);
    cv_tree_resize_at(doc, p->leaf, p->pos, -(int32_t)d->bytes, -(int32_t)d->n,
                      -(int32_t)newlines);
    return true;
}

/* Delete a piece: cut it out, delete what is then an item. */
static int delete_piece(struct cv_doc *doc, const struct cv_place *p,
                        const struct piece *d)
{
    const struct cv_item *x = &doc->items[p->item];
    uint32_t client = x->client, clock = x->clock + d->from;
    int err;

    if (move_border(doc, p, d))
        return CV_OK;
    if (d->from + d->n < x->len) {
        err = cv_run_split(doc, p->item, d->from + d->n);
        if (err != CV_OK)
            return err;
    }
    if (d->from == 0)
        return cv_run_delete(doc, p->item);
    err = cv_run_split(doc, p->item, d->from);
    if (err != CV_OK)
        return err;
    return cv_run_delete(doc, cv_store_find(doc, client, clock));
}

/* Are both ends on character borders?  *p: the item that holds the first. */
static bool deletable(struct cv_doc *doc, size_t at, size_t len,
                      struct cv_place *p)
{
    *p = find_text(doc, (uint32_t)at, false);
    if (!on_border(doc, p, at))
        return false;
    if (at + len <= p->start + doc->items[p->item].bytes)
        return on_border(doc, p, at + len);
    *p = find_text(doc, (uint32_t)(at + len), true);
    if (!on_border(doc, p, at + len))
        return false;
    *p = find_text(doc, (uint32_t)at, false);
    return true;
}

int cv_doc_delete(struct cv_doc *doc, size_t at, size_t len)
{
    size_t total = cv_doc_text_bytes(doc);
    struct cv_place p;

    if (!doc->txn.open || at > total || len > total - at)
        return CV_ERR_INVALID;
    if (len == 0)
        return CV_OK;
    if (!deletable(doc, at, len, &p))
        return CV_ERR_INVALID;
    doc->hot.typing = false;
    for (;;) {
        const struct cv_item *x = &doc->items[p.item];
        uint32_t from = (uint32_t)at - p.start, n = x->bytes - from;
        struct piece d;
        int err;

        if (n > len)
            n = (uint32_t)len;
        d = piece_of(doc, x, from, n);
        len -= n;
        if (len > 0) {
            err = delete_embeds(doc, p.item);
            if (err != CV_OK)
                return err;
            p.leaf = doc->items[p.item].leaf;
            p.pos = cv_tree_pos(doc, p.item);
        }
        err = delete_piece(doc, &p, &d);
        if (err != CV_OK || len == 0)
            return err;
        p = find_text(doc, (uint32_t)at, false);
    }
}

/* ---- root maps ---- */

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
