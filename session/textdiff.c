#include "session/textdiff.h"

#include <stdlib.h>
#include <string.h>

/* E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986: section
 * 4b.  Above these many differences in one search the furthest point reached
 * is taken for the middle. */
#define LINE_BOUND 512
#define CHAR_BOUND 64
/* A search through n symbols with bound D takes n * D steps at worst. */
#define STEPS     (1u << 24)
#define LOW_BOUND 16
/* Changed lines above this size are told apart once more: by what they hold
 * but for blanks, else by their place. */
#define PASSAGE 2048u
/* What is still above this size is replaced between its common ends. */
#define HUNK_CHARS (64u * 1024u)
/* Changes with no more characters than this between them are one. */
#define SMALL_GAP 2
#define TEXT_MAX  (UINT32_C(1) << 28)

/* Two sequences of symbols, and which of them have no partner. */
struct pair {
    const uint32_t *a, *b;
    uint8_t *a_gone, *b_new;
    int32_t *forward, *backward; /* furthest x by diagonal, from -bound */
    int32_t bound;
};

struct point {
    int32_t x, y;
};

/* Find a point on a shortest (or, above the bound, some) path from (0, 0) to
 * (n, m), neither of which it is.  Both are positive, the sequences differ in
 * their first and in their last symbol. */
static struct point find_middle(const struct pair *p, const uint32_t *a,
                                int32_t n, const uint32_t *b, int32_t m)
{
    int32_t *const f = p->forward + p->bound + 1;
    int32_t *const g = p->backward + p->bound + 1;
    const int32_t delta = n - m;
    struct point best = {0, 0};
    int32_t far = -1;

    f[0] = 0;
    g[0] = n;
    for (int32_t d = 1; d <= p->bound; d++) {
        for (int32_t k = -d; k <= d; k += 2) {
            int32_t right = k > -d ? f[k - 1] : -1;
            int32_t down = k < d ? f[k + 1] : -1;
            int32_t x = -1, y;

            if (right >= 0 && right < n)
                x = right + 1;
            if (down > x && down - k <= m)
                x = down;
            f[k] = x;
            if (x < 0)
                continue;
            y = x - k;
            while (x < n && y < m && a[x] == b[y])
                x++, y++;
            f[k] = x;
            if ((delta & 1) && k - delta >= -(d - 1) && k - delta <= d - 1 &&
                g[k - delta] <= x)
                return (struct point){x, y};
        }
        for (int32_t k = -d; k <= d; k += 2) {
            int32_t left = k < d ? g[k + 1] : INT32_MAX;
            int32_t up = k > -d ? g[k - 1] : INT32_MAX;
            int32_t x = INT32_MAX, y;

            if (left != INT32_MAX && left > 0)
                x = left - 1;
            if (up < x && up - (k + delta) >= 0)
                x = up;
            g[k] = x;
            if (x == INT32_MAX)
                continue;
            y = x - (k + delta);
            while (x > 0 && y > 0 && a[x - 1] == b[y - 1])
                x--, y--;
            g[k] = x;
            if (!(delta & 1) && k + delta >= -d && k + delta <= d &&
                f[k + delta] >= x)
                return (struct point){x, y};
        }
    }
    for (int32_t k = -p->bound; k <= p->bound; k += 2) {
        if (f[k] >= 0 && f[k] + f[k] - k > far) {
            far = f[k] + f[k] - k;
            best = (struct point){f[k], f[k] - k};
        }
        if (g[k] != INT32_MAX && n + m - (g[k] + g[k] - k - delta) > far) {
            far = n + m - (g[k] + g[k] - k - delta);
            best = (struct point){g[k], g[k] - k - delta};
        }
    }
    return best;
}

/* Mark what differs in a[a0, a1) and b[b0, b1).  Recursion goes into the
 * smaller half, so its depth is logarithmic. */
static void compare(const struct pair *p, int32_t a0, int32_t a1, int32_t b0,
                    int32_t b1)
{
    for (;;) {
        struct point mid;

        while (a0 < a1 && b0 < b1 && p->a[a0] == p->b[b0])
            a0++, b0++;
        while (a0 < a1 && b0 < b1 && p->a[a1 - 1] == p->b[b1 - 1])
            a1--, b1--;
        if (a0 == a1 || b0 == b1) {
            memset(p->a_gone + a0, 1, (size_t)(a1 - a0));
            memset(p->b_new + b0, 1, (size_t)(b1 - b0));
            return;
        }
        mid = find_middle(p, p->a + a0, a1 - a0, p->b + b0, b1 - b0);
        mid.x += a0;
        mid.y += b0;
        if ((mid.x - a0) + (mid.y - b0) < (a1 - mid.x) + (b1 - mid.y)) {
            compare(p, a0, mid.x, b0, mid.y);
            a0 = mid.x;
            b0 = mid.y;
        } else {
            compare(p, mid.x, a1, mid.y, b1);
            a1 = mid.x;
            b1 = mid.y;
        }
    }
}

/* A text cut into symbols: lines or characters. */
struct cut {
    const uint8_t *text;
    uint32_t *symbols;
    uint32_t *starts; /* n + 1 of them */
    uint8_t *differs;
    size_t n;
};

static void free_cut(struct cut *c)
{
    free(c->symbols);
    free(c->starts);
    free(c->differs);
}

static int alloc_cut(struct cut *c, const uint8_t *text, size_t n)
{
    c->text = text;
    c->n = n;
    c->symbols = malloc((n + 1) * sizeof(*c->symbols));
    c->starts = malloc((n + 1) * sizeof(*c->starts));
    c->differs = calloc(n + 1, 1);
    return c->symbols && c->starts && c->differs ? CV_OK : CV_ERR_NOMEM;
}

/* Compare two cuts. */
static int match(struct cut *old, struct cut *new_cut, int32_t bound)
{
    const size_t fair = STEPS / (old->n + new_cut->n + 1);

    if ((size_t)bound > fair)
        bound = fair < LOW_BOUND ? LOW_BOUND : (int32_t)fair;

    const size_t width = 2 * (size_t)bound + 3;
    int32_t *v = malloc(2 * width * sizeof(*v));

    if (!v)
        return CV_ERR_NOMEM;

    const struct pair p = {old->symbols,
                           new_cut->symbols,
                           old->differs,
                           new_cut->differs,
                           v,
                           v + width,
                           bound};

    compare(&p, 0, (int32_t)old->n, 0, (int32_t)new_cut->n);
    free(v);
    return CV_OK;
}

/* ---- lines ---- */

struct line {
    const uint8_t *at;
    size_t len;
    uint64_t hash;
};

struct lines {
    struct line *table; /* open addressing; at == NULL: free */
    size_t mask;
};

static uint64_t hash_bytes(const uint8_t *p, size_t len)
{
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ len;
    uint64_t word;

    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    for (; len; p++, len--)
        h = (h ^ *p) * UINT64_C(0x100000001b3);
    h ^= h >> 29;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 32;
}

/* The same number for the same line. */
static uint32_t line_number(struct lines *l, const uint8_t *at, size_t len)
{
    uint64_t hash = hash_bytes(at, len);
    size_t i = hash & l->mask;

    while (l->table[i].at &&
           (l->table[i].hash != hash || l->table[i].len != len ||
            memcmp(l->table[i].at, at, len) != 0))
        i = (i + 1) & l->mask;
    l->table[i] = (struct line){at, len, hash};
    return (uint32_t)i;
}

static size_t count_lines(struct cv_bytes text)
{
    const uint8_t *p = text.data, *end = text.data + text.len;
    size_t n = 0;

    while (p < end) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));

        n++;
        p = nl ? nl + 1 : end;
    }
    return n;
}

/* `squeezed` is NULL, or room for the text without its blanks: then lines that
 * differ in these alone are one symbol. */
static void cut_lines(struct cut *c, size_t len, struct lines *l,
                      uint8_t *squeezed)
{
    size_t i = 0;

    for (size_t at = 0, end; at < len; i++, at = end) {
        const uint8_t *nl = memchr(c->text + at, '\n', len - at);
        size_t out = 0;

        end = nl ? (size_t)(nl - c->text) + 1 : len;
        c->starts[i] = (uint32_t)at;
        if (!squeezed) {
            c->symbols[i] = line_number(l, c->text + at, end - at);
            continue;
        }
        for (size_t k = at; k < end; k++)
            if (c->text[k] != ' ' && c->text[k] != '\t')
                squeezed[out++] = c->text[k];
        c->symbols[i] = line_number(l, squeezed, out);
        squeezed += out;
    }
    c->starts[i] = (uint32_t)len;
}

static int open_lines(struct lines *l, size_t n)
{
    size_t size = 16;

    while (size < 2 * n)
        size *= 2;
    l->mask = size - 1;
    l->table = calloc(size, sizeof(*l->table));
    return l->table ? CV_OK : CV_ERR_NOMEM;
}

/* ---- characters ---- */

static bool is_inside(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

static size_t count_chars(struct cv_bytes text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += !is_inside(text.data[i]);
    return n;
}

static void cut_chars(struct cut *c, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (!is_inside(c->text[i])) {
            c->starts[n] = (uint32_t)i;
            c->symbols[n++] = 0;
        }
        /* Not the code point, but as good: the bytes in a row. */
        c->symbols[n - 1] = c->symbols[n - 1] << 8 | c->text[i];
    }
    c->starts[n] = (uint32_t)len;
}

/* ---- changes ---- */

struct change {
    size_t at, deleted;
    const uint8_t *inserted;
    size_t inserted_len;
};

struct changes {
    struct change *list;
    size_t n, cap;
};

static int add_change(struct changes *c, size_t at, size_t deleted,
                      const uint8_t *inserted, size_t inserted_len)
{
    struct change *last = c->n ? &c->list[c->n - 1] : NULL;

    if (!deleted && !inserted_len)
        return CV_OK;
    /* Those that touch are one. */
    if (last && last->at + last->deleted == at &&
        (!inserted_len || !last->inserted_len ||
         last->inserted + last->inserted_len == inserted)) {
        last->deleted += deleted;
        if (!last->inserted_len)
            last->inserted = inserted;
        last->inserted_len += inserted_len;
        return CV_OK;
    }
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 64;
        struct change *list = realloc(c->list, cap * sizeof(*list));

        if (!list)
            return CV_ERR_NOMEM;
        c->list = list;
        c->cap = cap;
    }
    c->list[c->n++] = (struct change){at, deleted, inserted, inserted_len};
    return CV_OK;
}

void cv_textdiff_ends(struct cv_bytes a, struct cv_bytes b, size_t *head,
                      size_t *tail)
{
    size_t n = a.len < b.len ? a.len : b.len, h = 0, t = 0;

    while (h + 8 <= n && memcmp(a.data + h, b.data + h, 8) == 0)
        h += 8;
    while (h < n && a.data[h] == b.data[h])
        h++;
    while (h && ((h < a.len && is_inside(a.data[h])) ||
                 (h < b.len && is_inside(b.data[h]))))
        h--;
    n -= h;
    while (t + 8 <= n &&
           memcmp(a.data + a.len - t - 8, b.data + b.len - t - 8, 8) == 0)
        t += 8;
    while (t < n && a.data[a.len - t - 1] == b.data[b.len - t - 1])
        t++;
    while (t && is_inside(a.data[a.len - t]))
        t--;
    *head = h;
    *tail = t;
}

/* Drop what both begin and end with; how much that is at the start. */
static size_t common_ends(struct cv_bytes *a, struct cv_bytes *b)
{
    size_t head, tail;

    cv_textdiff_ends(*a, *b, &head, &tail);
    a->data += head;
    b->data += head;
    a->len -= head + tail;
    b->len -= head + tail;
    return head;
}

/* Collect the runs of symbols that differ. */
static int each_run(const struct cut *old, const struct cut *new_cut,
                    size_t gap,
                    int (*fn)(struct changes *c, size_t at, struct cv_bytes del,
                              struct cv_bytes ins),
                    struct changes *c, size_t base)
{
    size_t i = 0, k = 0;

    while (i < old->n || k < new_cut->n) {
        size_t i0 = i, k0 = k, i1 = i, k1 = k;
        int err;

        if (!old->differs[i] && !new_cut->differs[k]) {
            i++, k++;
            continue;
        }
        for (;;) {
            while (i < old->n && old->differs[i])
                i++;
            while (k < new_cut->n && new_cut->differs[k])
                k++;
            i1 = i;
            k1 = k;
            /* A small gap is taken in if there is a change behind it. */
            while (i < old->n && k < new_cut->n && !old->differs[i] &&
                   !new_cut->differs[k] && i - i1 < gap)
                i++, k++;
            if (i == i1 || ((i == old->n || !old->differs[i]) &&
                            (k == new_cut->n || !new_cut->differs[k])))
                break;
        }
        i = i1;
        k = k1;
        err = fn(c, base + old->starts[i0],
                 (struct cv_bytes){old->text + old->starts[i0],
                                   old->starts[i1] - old->starts[i0]},
                 (struct cv_bytes){new_cut->text + new_cut->starts[k0],
                                   new_cut->starts[k1] - new_cut->starts[k0]});
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

static int on_chars(struct changes *c, size_t at, struct cv_bytes del,
                    struct cv_bytes ins)
{
    return add_change(c, at, del.len, ins.data, ins.len);
}

/* Changed lines: which of their characters are? */
static int on_lines(struct changes *c, size_t at, struct cv_bytes del,
                    struct cv_bytes ins)
{
    struct cut old = {0}, fresh = {0};
    size_t n_old, n_new;
    int err;

    at += common_ends(&del, &ins);
    n_old = count_chars(del);
    n_new = count_chars(ins);
    if (!n_old || !n_new || n_old > HUNK_CHARS || n_new > HUNK_CHARS)
        return add_change(c, at, del.len, ins.data, ins.len);
    err = alloc_cut(&old, del.data, n_old);
    if (err == CV_OK)
        err = alloc_cut(&fresh, ins.data, n_new);
    if (err == CV_OK) {
        cut_chars(&old, del.len);
        cut_chars(&fresh, ins.len);
        err = match(&old, &fresh, CHAR_BOUND);
    }
    if (err == CV_OK)
        err = each_run(&old, &fresh, SMALL_GAP, on_chars, c, at);
    free_cut(&old);
    free_cut(&fresh);
    return err;
}

static struct cv_bytes lines_of(const struct cut *c, size_t from, size_t to)
{
    return (struct cv_bytes){c->text + c->starts[from],
                             c->starts[to] - c->starts[from]};
}

/* The lines of a passage, those that are a pair or at the same place in as many
 * others each by itself. */
static int each_line(const struct cut *old, const struct cut *fresh,
                     struct changes *c, size_t base)
{
    size_t i = 0, k = 0;
    int err = CV_OK;

    while (err == CV_OK && (i < old->n || k < fresh->n)) {
        size_t i1 = i, k1 = k;

        while (i1 < old->n && old->differs[i1])
            i1++;
        while (k1 < fresh->n && fresh->differs[k1])
            k1++;
        if (i1 == i && k1 == k)
            i1++, k1++; /* they are a pair */
        if (i1 - i != k1 - k) {
            err = on_lines(c, base + old->starts[i], lines_of(old, i, i1),
                           lines_of(fresh, k, k1));
            i = i1;
            k = k1;
        }
        for (; err == CV_OK && i < i1; i++, k++)
            err = on_lines(c, base + old->starts[i], lines_of(old, i, i + 1),
                           lines_of(fresh, k, k + 1));
    }
    return err;
}

/* Find out which lines differ; `blanks` as much as others, or not. */
static int compare_lines(struct cv_bytes del, struct cv_bytes ins, bool blanks,
                         int (*each)(const struct cut *old,
                                     const struct cut *fresh, struct changes *c,
                                     size_t base),
                         struct changes *c, size_t base)
{
    struct cut old = {0}, fresh = {0};
    struct lines lines = {0};
    size_t n_old = count_lines(del), n_new = count_lines(ins);
    uint8_t *squeezed = blanks ? NULL : malloc(del.len + ins.len);
    int err =
        blanks || squeezed ? open_lines(&lines, n_old + n_new) : CV_ERR_NOMEM;

    if (err == CV_OK)
        err = alloc_cut(&old, del.data, n_old);
    if (err == CV_OK)
        err = alloc_cut(&fresh, ins.data, n_new);
    if (err == CV_OK) {
        cut_lines(&old, del.len, &lines, squeezed);
        cut_lines(&fresh, ins.len, &lines,
                  squeezed ? squeezed + del.len : NULL);
        err = match(&old, &fresh, LINE_BOUND);
    }
    if (err == CV_OK)
        err = each(&old, &fresh, c, base);
    free(lines.table);
    free(squeezed);
    free_cut(&old);
    free_cut(&fresh);
    return err;
}

/* Changed lines, perhaps many. */
static int on_passage(struct changes *c, size_t at, struct cv_bytes del,
                      struct cv_bytes ins)
{
    if (!del.len || !ins.len || (del.len <= PASSAGE && ins.len <= PASSAGE))
        return on_lines(c, at, del, ins);
    return compare_lines(del, ins, false, each_line, c, at);
}

static int each_passage(const struct cut *old, const struct cut *fresh,
                        struct changes *c, size_t base)
{
    return each_run(old, fresh, 0, on_passage, c, base);
}

int cv_textdiff(struct cv_bytes old, struct cv_bytes new_text,
                cv_textdiff_fn splice, void *user)
{
    struct changes c = {0};
    size_t base;
    int err = CV_OK;

    if (old.len > TEXT_MAX || new_text.len > TEXT_MAX)
        return CV_ERR_LIMIT;
    if (!cv_utf8_valid(old.data, old.len) ||
        !cv_utf8_valid(new_text.data, new_text.len))
        return CV_ERR_FORMAT;
    base = common_ends(&old, &new_text);
    if (!old.len || !new_text.len)
        err = add_change(&c, base, old.len, new_text.data, new_text.len);
    else
        err = compare_lines(old, new_text, true, each_passage, &c, base);
    for (size_t i = 0; i < c.n && err == CV_OK; i++)
        splice(user, c.list[i].at, c.list[i].deleted,
               (struct cv_bytes){c.list[i].inserted, c.list[i].inserted_len});
    free(c.list);
    return err;
}
