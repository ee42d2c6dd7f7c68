#include "tests/bench/floor.h"

#include "crdt/pen.h"
#include "crdt/sort.h"
#include "crdt/utf8.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NONE   CV_NONE
#define ITEMS  64 /* of a leaf */
#define NODES  16 /* of an inner node */
#define SPARE  4  /* items or leaves that one edit may add */
#define RISE   16 /* inner nodes that one edit may add */
#define TYPED  16 /* bytes of a keystroke at most */
#define HEADER 64 /* of a struct or an update: more than its numbers take */

#define HERE __attribute__((always_inline))

struct item {
    uint32_t clock, len; /* units */
    uint32_t bytes;      /* 0: a tombstone */
    uint32_t off;        /* in the log */
    uint32_t origin, right;
    uint32_t leaf;
    uint32_t succ; /* by clock */
};

struct weight {
    uint32_t bytes, units, newlines;
};

struct leaf {
    uint32_t parent, slot, prev, next, n;
    struct weight sum;
    uint32_t item[ITEMS], vis[ITEMS];
};

struct inner {
    uint32_t parent, slot, n, level;
    uint32_t child[NODES], bytes[NODES];
    struct weight sum[NODES]; /* the same bytes, and the rest */
};

struct floor {
    struct item *items;
    struct leaf *leaves;
    struct inner *inners;
    uint32_t items_n, items_cap, leaves_n, leaves_cap, inners_n, inners_cap;
    uint8_t *log; /* and CV_UTF8_PAD bytes */
    uint32_t log_n, log_cap;
    uint32_t root, height;
    uint32_t lazy;       /* leaf whose sums its parents do not know */
    uint32_t last, next; /* item, clock */
    struct {             /* place of the last edit: an item in a leaf */
        uint32_t leaf, start, pos, at;
        bool typing; /* it is the last one, and ends at `end` */
        uint32_t end, typed;
    } hot;
    bool touched;
    uint32_t before, from; /* `next` when it began; an item before that */
    uint64_t *deleted;     /* cv_range_key(), and as much room to sort them */
    uint32_t deleted_n, deleted_cap;
    uint8_t *out;
    size_t out_cap;
};

/* ---- memory ---- */

static void *grown(void *at, uint32_t *cap, uint32_t want, size_t size)
{
    *cap = want + want / 8 + 64;
    at = realloc(at, *cap * size);
    if (at == NULL)
        abort();
    return at;
}

static void reserve(struct floor *f)
{
    if (f->items_cap - f->items_n < SPARE)
        f->items = grown(f->items, &f->items_cap, f->items_n + SPARE,
                         sizeof(*f->items));
    if (f->leaves_cap - f->leaves_n < SPARE)
        f->leaves = grown(f->leaves, &f->leaves_cap, f->leaves_n + SPARE,
                          sizeof(*f->leaves));
    if (f->inners_cap - f->inners_n < RISE)
        f->inners = grown(f->inners, &f->inners_cap, f->inners_n + RISE,
                          sizeof(*f->inners));
}

struct floor *floor_new(void)
{
    struct floor *f = calloc(1, sizeof(*f));

    if (f == NULL)
        abort();
    floor_reset(f);
    return f;
}

void floor_reset(struct floor *f)
{
    f->items_n = f->leaves_n = f->inners_n = f->log_n = f->deleted_n = 0;
    f->height = f->lazy = f->next = 0;
    f->last = NONE;
    f->touched = false;
    memset(&f->hot, 0, sizeof(f->hot));
    reserve(f);
    f->root = f->leaves_n++;
    memset(f->leaves, 0, sizeof(*f->leaves));
    f->leaves->parent = f->leaves->prev = f->leaves->next = NONE;
}

void floor_free(struct floor *f)
{
    free(f->items);
    free(f->leaves);
    free(f->inners);
    free(f->log);
    free(f->deleted);
    free(f->out);
    free(f);
}

/* ---- the tree ---- */

static void add(struct weight *to, struct weight w)
{
    to->bytes += w.bytes;
    to->units += w.units;
    to->newlines += w.newlines;
}

static struct weight less(struct weight a, struct weight b)
{
    return (struct weight){a.bytes - b.bytes, a.units - b.units,
                           a.newlines - b.newlines};
}

static void flush(struct floor *f)
{
    const struct leaf *l = &f->leaves[f->lazy];
    uint32_t node = l->parent, slot = l->slot;
    struct weight d;

    if (node == NONE)
        return;
    d = less(l->sum, f->inners[node].sum[slot]);
    for (; node != NONE; node = f->inners[node].parent) {
        add(&f->inners[node].sum[slot], d);
        f->inners[node].bytes[slot] += d.bytes;
        slot = f->inners[node].slot;
    }
}

static void weigh(struct floor *f, uint32_t leaf, struct weight d)
{
    if (f->lazy != leaf) {
        flush(f);
        f->lazy = leaf;
    }
    add(&f->leaves[leaf].sum, d);
}

static void adopt(struct floor *f, uint32_t node, uint32_t i)
{
    const struct inner *in = &f->inners[node];

    for (; i < in->n; i++) {
        uint32_t child = in->child[i];

        if (in->level == 1) {
            f->leaves[child].parent = node;
            f->leaves[child].slot = i;
        } else {
            f->inners[child].parent = node;
            f->inners[child].slot = i;
        }
    }
}

static void put_child(struct floor *f, uint32_t node, uint32_t i,
                      uint32_t child, struct weight sum)
{
    struct inner *in = &f->inners[node];
    uint32_t behind = in->n++ - i;

    memmove(&in->child[i + 1], &in->child[i], behind * sizeof(*in->child));
    memmove(&in->bytes[i + 1], &in->bytes[i], behind * sizeof(*in->bytes));
    memmove(&in->sum[i + 1], &in->sum[i], behind * sizeof(*in->sum));
    in->child[i] = child;
    in->bytes[i] = sum.bytes;
    in->sum[i] = sum;
    adopt(f, node, i);
}

static uint32_t inner_new(struct floor *f, uint32_t level, uint32_t parent)
{
    struct inner *in = &f->inners[f->inners_n];

    in->n = 0;
    in->level = level;
    in->parent = parent;
    return f->inners_n++;
}

/* Move what a full node has from `keep` on into a new one behind it. */
static uint32_t split_inner(struct floor *f, uint32_t node, uint32_t keep)
{
    struct inner *in = &f->inners[node], *t;
    uint32_t twin = inner_new(f, in->level, in->parent);

    t = &f->inners[twin];
    t->n = in->n - keep;
    in->n = keep;
    memcpy(t->child, in->child + keep, t->n * sizeof(*t->child));
    memcpy(t->bytes, in->bytes + keep, t->n * sizeof(*t->bytes));
    memcpy(t->sum, in->sum + keep, t->n * sizeof(*t->sum));
    adopt(f, twin, 0);
    return twin;
}

static struct weight sum_of(const struct inner *in)
{
    struct weight sum = {0, 0, 0};

    for (uint32_t i = 0; i < in->n; i++)
        add(&sum, in->sum[i]);
    return sum;
}

/* Leaf b was split off a: tell those above. */
static void link_right(struct floor *f, uint32_t a, uint32_t b)
{
    struct weight wa = f->leaves[a].sum, wb = f->leaves[b].sum;
    uint32_t node = f->leaves[a].parent, slot = f->leaves[a].slot, level = 1;

    for (; node != NONE; level++) {
        struct inner *in = &f->inners[node];
        uint32_t keep = slot + 1 == NODES ? NODES - 1 : NODES / 2, twin;

        in->sum[slot] = wa;
        in->bytes[slot] = wa.bytes;
        if (in->n < NODES) {
            put_child(f, node, slot + 1, b, wb);
            return;
        }
        twin = split_inner(f, node, keep);
        if (slot < keep)
            put_child(f, node, slot + 1, b, wb);
        else
            put_child(f, twin, slot + 1 - keep, b, wb);
        wa = sum_of(in);
        wb = sum_of(&f->inners[twin]);
        a = node;
        b = twin;
        slot = in->slot;
        node = in->parent;
    }
    f->root = inner_new(f, level, NONE);
    f->height = level;
    put_child(f, f->root, 0, a, wa);
    put_child(f, f->root, 1, b, wb);
}

static uint32_t newlines(const struct floor *f, const struct item *x)
{
    return (uint32_t)cv_utf8_newlines_padded(f->log + x->off, x->bytes);
}

/* Split a leaf that is too full for more at *pos; the leaf and the place there
 * where they go, and the hot leaf with them. */
static uint32_t split(struct floor *f, uint32_t leaf, uint32_t *pos)
{
    uint32_t twin = f->leaves_n++, keep;
    struct leaf *l = &f->leaves[leaf], *t = &f->leaves[twin];

    flush(f);
    f->lazy = leaf;
    keep = *pos == l->n && l->next == NONE ? l->n - 1 : l->n / 2;
    t->n = l->n - keep;
    l->n = keep;
    t->parent = l->parent;
    memcpy(t->item, l->item + keep, t->n * sizeof(*t->item));
    memcpy(t->vis, l->vis + keep, t->n * sizeof(*t->vis));
    t->sum = (struct weight){0, 0, 0};
    for (uint32_t i = 0; i < t->n; i++) {
        struct item *x = &f->items[t->item[i]];

        x->leaf = twin;
        if (x->bytes > 0)
            add(&t->sum,
                (struct weight){x->bytes, x->len,
                                l->sum.newlines > 0 ? newlines(f, x) : 0});
    }
    l->sum = less(l->sum, t->sum);
    t->prev = leaf;
    t->next = l->next;
    if (l->next != NONE)
        f->leaves[l->next].prev = twin;
    l->next = twin;
    link_right(f, leaf, twin);
    if (*pos <= keep)
        return leaf;
    *pos -= keep;
    f->hot.start += l->sum.bytes;
    return twin;
}

/* Room for `k` items in a leaf. */
static uint32_t open_leaf(struct floor *f, uint32_t leaf, uint32_t *pos,
                          uint32_t k)
{
    struct leaf *l;
    uint32_t behind;

    if (f->leaves[leaf].n + k > ITEMS)
        leaf = split(f, leaf, pos);
    l = &f->leaves[leaf];
    behind = l->n - *pos;
    memmove(&l->item[*pos + k], &l->item[*pos], behind * sizeof(*l->item));
    memmove(&l->vis[*pos + k], &l->vis[*pos], behind * sizeof(*l->vis));
    l->n += k;
    f->hot.leaf = leaf;
    return leaf;
}

/* ---- places ---- */

/* Make the item that holds a byte the hot one. */
static void find(struct floor *f, uint32_t byte)
{
    const struct leaf *l = &f->leaves[f->hot.leaf];
    uint32_t left = byte - f->hot.start, i = 0;

    if (left >= l->sum.bytes) {
        uint32_t next = l->next, prev = l->prev;

        if (next != NONE && left - l->sum.bytes < f->leaves[next].sum.bytes) {
            left -= l->sum.bytes;
            f->hot.leaf = next;
        } else if (prev != NONE && byte < f->hot.start &&
                   f->hot.start - byte <= f->leaves[prev].sum.bytes) {
            left += f->leaves[prev].sum.bytes;
            f->hot.leaf = prev;
        } else {
            uint32_t node = f->root;

            flush(f);
            left = byte;
            for (uint32_t h = f->height; h > 0; h--) {
                const struct inner *in = &f->inners[node];

                for (i = 0; left >= in->bytes[i]; i++)
                    left -= in->bytes[i];
                node = in->child[i];
            }
            f->hot.leaf = node;
        }
        f->hot.start = byte - left;
        l = &f->leaves[f->hot.leaf];
    }
    for (i = 0; left >= l->vis[i]; i++)
        left -= l->vis[i];
    f->hot.pos = i;
    f->hot.at = byte - left;
}

/* The next visible item behind a place; NONE: that is the end. */
static uint32_t next_live(struct floor *f, uint32_t *leaf, uint32_t *pos)
{
    for (;;) {
        const struct leaf *l = &f->leaves[*leaf];

        while (++*pos < l->n) {
            if (l->vis[*pos] > 0)
                return l->item[*pos];
        }
        if (l->next == NONE)
            return NONE;
        f->hot.start += l->sum.bytes;
        *leaf = l->next;
        *pos = NONE; /* before the first */
    }
}

/* What keystrokes added, for the item and the tree. */
static CV_APART void settle_now(struct floor *f)
{
    uint32_t n = f->hot.typed;
    struct leaf *l = &f->leaves[f->hot.leaf];
    struct item *x;

    f->hot.typed = 0;
    x = &f->items[l->item[f->hot.pos]];
    x->len += n;
    x->bytes += n;
    l->vis[f->hot.pos] += n;
    weigh(
        f, f->hot.leaf,
        (struct weight){
            n, n, (uint32_t)cv_utf8_newlines_padded(f->log + f->log_n - n, n)});
}

static void settle(struct floor *f)
{
    if (f->hot.typed > 0)
        settle_now(f);
}

/* ---- editing ---- */

static uint32_t units(const struct floor *f, const struct item *x,
                      uint32_t bytes)
{
    if (x->bytes == x->len)
        return bytes;
    return (uint32_t)cv_utf8_units(f->log + x->off, bytes);
}

static void touch(struct floor *f, uint32_t item)
{
    if (f->touched)
        return;
    f->touched = true;
    f->before = f->next;
    f->from = item;
}

/* A new item of what `item` holds from byte `at` on; it is behind it by clock,
 * not yet in the tree. */
static uint32_t cut(struct floor *f, uint32_t item, uint32_t at)
{
    uint32_t rest = f->items_n++, n;
    struct item *x = &f->items[item], *z = &f->items[rest];

    n = units(f, x, at);
    *z = *x;
    z->clock += n;
    z->len -= n;
    z->bytes -= at;
    z->off += at;
    z->origin = z->clock - 1;
    x->len = n;
    x->bytes = at;
    x->succ = rest;
    if (f->last == item)
        f->last = rest;
    return rest;
}

static bool type(struct floor *f, size_t at, const uint8_t *text, size_t len)
{
    uint8_t all = 0;

    if (!f->hot.typing || at != f->hot.end || len > TYPED ||
        f->log_cap - f->log_n < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        all |= text[i];
        f->log[f->log_n + i] = text[i];
    }
    if (all >= 0x80)
        return false;
    touch(f, f->last);
    f->log_n += (uint32_t)len;
    f->next += (uint32_t)len;
    f->hot.typed += (uint32_t)len;
    f->hot.end += (uint32_t)len;
    return true;
}

/* The place for text at `at`: before the next visible item.  *rest: bytes of
 * the item before it that go behind. */
static void find_gap(struct floor *f, uint32_t at, uint32_t *leaf,
                     uint32_t *pos, struct item *y, uint32_t *rest)
{
    const struct item *x;
    uint32_t right;

    *rest = 0;
    *leaf = f->root;
    *pos = NONE; /* before the first */
    if (at > 0) {
        find(f, at - 1);
        *leaf = f->hot.leaf;
        *pos = f->hot.pos;
        x = &f->items[f->leaves[*leaf].item[*pos]];
        *rest = f->hot.at + x->bytes - at;
    } else {
        for (uint32_t h = f->height; h > 0; h--)
            *leaf = f->inners[*leaf].child[0];
        f->hot.start = 0;
    }
    if (*rest > 0) {
        ++*pos;
        return;
    }
    right = next_live(f, leaf, pos);
    y->right = right == NONE ? NONE : f->items[right].clock;
    if (*pos == 0 && f->leaves[*leaf].prev != NONE) {
        *leaf = f->leaves[*leaf].prev;
        *pos = f->leaves[*leaf].n;
        f->hot.start -= f->leaves[*leaf].sum.bytes;
    }
    if (*pos > 0) {
        x = &f->items[f->leaves[*leaf].item[*pos - 1]];
        y->origin = x->clock + x->len - 1;
    }
}

static CV_APART void insert(struct floor *f, size_t at, const void *text,
                            size_t len)
{
    struct item y = {.bytes = (uint32_t)len, .origin = NONE, .right = NONE};
    uint32_t leaf, pos, rest, item;
    struct leaf *l;
    size_t n;

    settle(f);
    reserve(f);
    if (f->log_cap - f->log_n < len + CV_UTF8_PAD) {
        f->log = grown(f->log, &f->log_cap, f->log_n + (uint32_t)len, 1);
        f->log_cap -= CV_UTF8_PAD;
    }
    if (!cv_utf8_measure(text, len, &n))
        n = cv_utf8_units(text, len);
    find_gap(f, (uint32_t)at, &leaf, &pos, &y, &rest);
    leaf = open_leaf(f, leaf, &pos, rest > 0 ? 2 : 1);
    l = &f->leaves[leaf];
    if (rest > 0) {
        uint32_t left = l->item[pos - 1], z;

        z = cut(f, left, f->items[left].bytes - rest);
        l->vis[pos - 1] = f->items[left].bytes;
        l->item[pos + 1] = z;
        l->vis[pos + 1] = rest;
        y.right = f->items[z].clock;
        y.origin = y.right - 1;
    }
    item = f->items_n++;
    y.clock = f->next;
    y.len = (uint32_t)n;
    y.off = f->log_n;
    y.leaf = leaf;
    y.succ = NONE;
    f->items[item] = y;
    if (f->last != NONE)
        f->items[f->last].succ = item;
    f->last = item;
    touch(f, item);
    f->next += y.len;
    memcpy(f->log + f->log_n, text, len);
    f->log_n += y.bytes;
    l->item[pos] = item;
    l->vis[pos] = y.bytes;
    weigh(f, leaf, (struct weight){y.bytes, y.len, newlines(f, &y)});
    f->hot.pos = pos;
    f->hot.at = (uint32_t)at;
    f->hot.typing = true;
    f->hot.end = (uint32_t)(at + len);
}

void floor_insert(struct floor *f, size_t at, const void *text, size_t len)
{
    if (!type(f, at, text, len))
        insert(f, at, text, len);
}

static void note_deleted(struct floor *f, uint32_t clock, uint32_t len)
{
    if (f->deleted_n > 0) {
        uint64_t *last = &f->deleted[f->deleted_n - 1];
        uint32_t from = (uint32_t)(*last >> 32), n = (uint32_t)*last;

        if (from + n == clock || clock + len == from) {
            *last = cv_range_key(from < clock ? from : clock, n + len);
            return;
        }
    }
    if (f->deleted_n == f->deleted_cap)
        f->deleted = grown(f->deleted, &f->deleted_cap, f->deleted_n + 1,
                           2 * sizeof(*f->deleted));
    f->deleted[f->deleted_n++] = cv_range_key(clock, len);
}

/* The end or the start of an item goes, and a tombstone of its run is beside
 * it: move the border between them. */
static bool move_border(struct floor *f, const struct leaf *l, uint32_t pos,
                        bool front, uint32_t bytes, uint32_t n)
{
    struct item *x = &f->items[l->item[pos]], *y;

    if (!front && pos + 1 < l->n) {
        y = &f->items[l->item[pos + 1]];
        if (y->bytes > 0 || y->clock != x->clock + x->len ||
            y->origin != y->clock - 1 || y->right != x->right)
            return false;
        y->clock -= n;
        y->origin -= n;
    } else if (front && pos > 0) {
        y = &f->items[l->item[pos - 1]];
        if (y->bytes > 0 || y->clock + y->len != x->clock ||
            x->origin != x->clock - 1 || y->right != x->right)
            return false;
        x->clock += n;
        x->origin += n;
        x->off += bytes;
    } else {
        return false;
    }
    y->len += n;
    x->len -= n;
    x->bytes -= bytes;
    return true;
}

/* Delete bytes of the hot item, not all of them. */
static void erase_part(struct floor *f, uint32_t from, uint32_t bytes)
{
    uint32_t leaf = f->hot.leaf, pos = f->hot.pos;
    struct leaf *l = &f->leaves[leaf];
    uint32_t item = l->item[pos], behind, before, n, lines;
    struct item *x = &f->items[item];

    before = units(f, x, from);
    n = units(f, x, from + bytes) - before;
    behind = x->bytes - from - bytes;
    lines = (uint32_t)cv_utf8_newlines_padded(f->log + x->off + from, bytes);
    note_deleted(f, x->clock + before, n);
    if ((from == 0 || behind == 0) &&
        move_border(f, l, pos, from == 0, bytes, n)) {
        l->vis[pos] -= bytes;
    } else {
        pos++;
        leaf = open_leaf(f, leaf, &pos,
                         (from > 0 ? 1u : 0u) + (behind > 0 ? 1u : 0u));
        pos--;
        l = &f->leaves[leaf];
        if (from > 0) {
            l->vis[pos++] = from;
            item = l->item[pos] = cut(f, item, from);
        }
        if (behind > 0) {
            l->item[pos + 1] = cut(f, item, bytes);
            l->vis[pos + 1] = behind;
        }
        f->items[item].bytes = 0;
        l->vis[pos] = 0;
    }
    weigh(f, leaf,
          less((struct weight){0, 0, 0}, (struct weight){bytes, n, lines}));
}

/* Delete whole items from the hot one to the end of its leaf, at most `most`
 * bytes; how many it were. */
static uint32_t sweep(struct floor *f, uint32_t most)
{
    struct leaf *l = &f->leaves[f->hot.leaf];
    struct weight gone = {0, 0, 0};

    for (uint32_t i = f->hot.pos; i < l->n && l->vis[i] <= most - gone.bytes;
         i++) {
        struct item *x = &f->items[l->item[i]];

        if (l->vis[i] == 0)
            continue;
        note_deleted(f, x->clock, x->len);
        add(&gone, (struct weight){x->bytes, x->len,
                                   l->sum.newlines > 0 ? newlines(f, x) : 0});
        x->bytes = l->vis[i] = 0;
    }
    weigh(f, f->hot.leaf, less((struct weight){0, 0, 0}, gone));
    return gone.bytes;
}

void floor_delete(struct floor *f, size_t at, size_t len)
{
    uint32_t left = (uint32_t)len, from, n;

    settle(f);
    f->hot.typing = false;
    while (left > 0) {
        reserve(f);
        find(f, (uint32_t)at);
        from = (uint32_t)at - f->hot.at;
        n = f->leaves[f->hot.leaf].vis[f->hot.pos] - from;
        if (from == 0 && n <= left) {
            left -= sweep(f, left);
            continue;
        }
        n = n < left ? n : left;
        erase_part(f, from, n);
        left -= n;
    }
}

/* ---- the bytes for the peers ---- */

static uint8_t *put_id(uint8_t *p, uint32_t clock)
{
    *p++ = 1;
    return cv_pen_uint(p, clock);
}

/* Info byte, origins, and the parent where there are none. */
HERE static inline uint8_t *put_origins(uint8_t *p, const struct item *x,
                                        uint32_t clock, unsigned kind)
{
    static const uint8_t parent[] = "\1\7content";
    uint32_t origin = clock > x->clock ? clock - 1 : x->origin;

    *p++ = (uint8_t)(kind | (origin != NONE ? CV_INFO_ORIGIN : 0) |
                     (x->right != NONE ? CV_INFO_RIGHT : 0));
    if (origin != NONE)
        p = put_id(p, origin);
    if (x->right != NONE)
        p = put_id(p, x->right);
    if (origin == NONE && x->right == NONE) {
        memcpy(p, parent, sizeof(parent) - 1);
        p += sizeof(parent) - 1;
    }
    return p;
}

/* Is b the next item in the document, and one run with a? */
static bool joins(const struct floor *f, uint32_t a, uint32_t b)
{
    const struct item *x = &f->items[a], *y = &f->items[b];
    const struct leaf *l = &f->leaves[x->leaf];
    uint32_t i = 0;

    if ((x->bytes == 0) != (y->bytes == 0) || y->origin != y->clock - 1 ||
        y->clock != x->clock + x->len || y->right != x->right)
        return false;
    while (l->item[i] != a)
        i++;
    if (i + 1 < l->n)
        return l->item[i + 1] == b;
    return l->next != NONE && f->leaves[l->next].item[0] == b;
}

static uint8_t *put_text(uint8_t *p, const struct floor *f,
                         const struct item *x, uint32_t skip)
{
    memcpy(p, f->log + x->off + skip, x->bytes - skip);
    return p + x->bytes - skip;
}

/* Items that are one run, from a clock on; *item: what follows by clock.  p
 * NULL: only step over them. */
static uint8_t *put_run(uint8_t *p, const struct floor *f, uint32_t *item,
                        uint32_t *clock)
{
    uint32_t a = *item, b, end = a, skip = 0, bytes, len;
    const struct item *x = &f->items[a];
    bool half;

    if (*clock > x->clock && x->bytes > 0)
        skip = (uint32_t)cv_utf8_offset(f->log + x->off, x->bytes,
                                        *clock - x->clock, &half);
    bytes = x->bytes - skip;
    len = x->clock + x->len - *clock;
    while ((b = f->items[end].succ) != NONE && joins(f, end, b)) {
        bytes += f->items[b].bytes;
        len += f->items[b].len;
        end = b;
    }
    if (p != NULL && x->bytes == 0) {
        p = cv_pen_uint(put_origins(p, x, *clock, CV_KIND_DELETED), len);
    } else if (p != NULL) {
        p = cv_pen_uint(put_origins(p, x, *clock, CV_KIND_STRING), bytes);
        p = put_text(p, f, x, skip);
        while (a != end) {
            a = f->items[a].succ;
            p = put_text(p, f, &f->items[a], 0);
        }
    }
    *item = b;
    *clock += len;
    return p;
}

/* The item that was the last one may have been cut since. */
static uint32_t first_item(const struct floor *f)
{
    uint32_t item = f->from;

    while (f->items[item].clock + f->items[item].len <= f->before)
        item = f->items[item].succ;
    return item;
}

static uint8_t *put_structs(uint8_t *p, struct floor *f)
{
    uint32_t first, item, clock = f->before, n = 0;

    settle(f);
    first = first_item(f);
    for (item = first; item != NONE; n++)
        put_run(NULL, f, &item, &clock);
    *p++ = 1;
    p = put_id(cv_pen_uint(p, n), f->before);
    clock = f->before;
    for (item = first; item != NONE;)
        p = put_run(p, f, &item, &clock);
    return p;
}

/* All of it is ASCII at the end of one item. */
static bool typed_only(const struct floor *f)
{
    const struct item *x = &f->items[f->last];

    return x->clock <= f->before && x->bytes == x->len;
}

HERE static inline uint8_t *put_typed(uint8_t *p, const struct floor *f)
{
    const struct item *x = &f->items[f->last];
    uint32_t skip = f->before - x->clock, len = x->len + f->hot.typed - skip;
    const uint8_t *text = f->log + x->off + skip;

    *p++ = 1;
    *p++ = 1;
    p = put_id(p, f->before);
    p = put_origins(p, x, f->before, CV_KIND_STRING);
    p = cv_pen_uint(p, len);
    if (len == 1)
        *p = *text;
    else
        memcpy(p, text, len);
    return p + len;
}

static uint8_t *put_deleted(uint8_t *p, struct floor *f)
{
    uint32_t n = f->deleted_n;
    uint64_t *at;

    if (n == 0) {
        *p++ = 0;
        return p;
    }
    at = cv_sort_ranges(f->deleted, f->deleted + f->deleted_cap, n);
    n = cv_join_ranges(at, n);
    *p++ = 1;
    p = put_id(p, n);
    for (uint32_t i = 0; i < n; i++)
        p = cv_pen_uint(cv_pen_uint(p, (uint32_t)(at[i] >> 32)),
                        (uint32_t)at[i]);
    return p;
}

static CV_APART size_t commit(struct floor *f, const uint8_t **update)
{
    uint32_t fresh = f->touched ? f->next - f->before : 0;
    /* Four bytes a unit at most, and a struct for each at worst. */
    size_t most = HEADER * (2 + (size_t)fresh + f->deleted_n);
    uint8_t *p;

    if (!f->touched && f->deleted_n == 0)
        return 0;
    if (most > f->out_cap) {
        f->out_cap = most;
        free(f->out);
        f->out = malloc(most);
        if (f->out == NULL)
            abort();
    }
    p = f->out;
    if (!f->touched)
        *p++ = 0;
    else if (typed_only(f))
        p = put_typed(p, f);
    else
        p = put_structs(p, f);
    p = put_deleted(p, f);
    f->touched = false;
    f->deleted_n = 0;
    *update = f->out;
    return (size_t)(p - f->out);
}

size_t floor_commit(struct floor *f, const uint8_t **update)
{
    uint8_t *p;

    if (!f->touched || f->deleted_n > 0 || f->next - f->before > TYPED ||
        f->out_cap < 2 * HEADER || !typed_only(f))
        return commit(f, update);
    p = put_typed(f->out, f);
    *p++ = 0;
    f->touched = false;
    *update = f->out;
    return (size_t)(p - f->out);
}

size_t floor_text(struct floor *f, uint8_t *to)
{
    uint32_t leaf = f->root;
    size_t n = 0;

    settle(f);
    for (uint32_t h = f->height; h > 0; h--)
        leaf = f->inners[leaf].child[0];
    for (; leaf != NONE; leaf = f->leaves[leaf].next) {
        const struct leaf *l = &f->leaves[leaf];

        for (uint32_t i = 0; i < l->n; i++) {
            if (to != NULL && l->vis[i] > 0)
                memcpy(to + n, f->log + f->items[l->item[i]].off, l->vis[i]);
            n += l->vis[i];
        }
    }
    return n;
}
