#include "crdt/undo.h"

#include "crdt/span.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Units of one client. */
struct range {
    uint64_t client, clock, len;
};

/* A deleted range and its text. */
struct gone {
    struct range range;
    struct cv_id left; /* unit before it, when it was deleted */
    bool has_left;
    size_t text, bytes; /* in the text of the group */
};

#define VEC(type)                                                              \
    struct {                                                                   \
        type *at;                                                              \
        size_t n, cap;                                                         \
    }

struct group {
    uint64_t number;
    uint64_t client; /* ours, when it was made */
    VEC(struct range) ours;
    VEC(struct gone) gone; /* none of them in `ours` */
    VEC(uint8_t) text;
};

/* The oldest first; those before `first` are dropped. */
struct stack {
    struct group *at;
    size_t first, n, cap;
};

struct cv_undo {
    struct cv_doc *doc;
    size_t max_bytes;
    size_t held;
    uint64_t number; /* of the edits that follow */
    bool open;       /* the newest group may grow */
    struct stack stack[2];
};

static bool grow(void **at, size_t *cap, size_t n, size_t more, size_t size)
{
    size_t want = *cap ? *cap : 4;
    void *grown;

    if (*cap - n >= more)
        return true;
    while (want - n < more)
        want *= 2;
    grown = realloc(*at, want * size);
    if (grown == NULL)
        return false;
    *at = grown;
    *cap = want;
    return true;
}

#define RESERVE(vec, more)                                                     \
    grow((void **)&(vec)->at, &(vec)->cap, (vec)->n, (more), sizeof(*(vec)->at))

/* ---- what is held ---- */

static size_t group_bytes(const struct group *g)
{
    return sizeof(*g) + g->ours.n * sizeof(*g->ours.at) +
           g->gone.n * sizeof(*g->gone.at) + g->text.n;
}

static void group_fini(struct group *g)
{
    free(g->ours.at);
    free(g->gone.at);
    free(g->text.at);
}

static struct group *top(struct cv_undo *u, enum cv_undo_way way)
{
    struct stack *s = &u->stack[way];

    return s->n ? &s->at[s->first + s->n - 1] : NULL;
}

/* Moves the group in, on success only. */
static bool push(struct cv_undo *u, enum cv_undo_way way, struct group *g)
{
    struct stack *s = &u->stack[way];

    if (s->first > 0 && s->first + s->n == s->cap) {
        memmove(s->at, s->at + s->first, s->n * sizeof(*s->at));
        s->first = 0;
    }
    if (!grow((void **)&s->at, &s->cap, s->first + s->n, 1, sizeof(*s->at)))
        return false;
    s->at[s->first + s->n++] = *g;
    u->held += group_bytes(g);
    return true;
}

/* Moves the newest group out. */
static struct group pop(struct cv_undo *u, enum cv_undo_way way)
{
    struct group g = *top(u, way);

    u->stack[way].n--;
    u->held -= group_bytes(&g);
    return g;
}

static void drop_oldest(struct cv_undo *u, enum cv_undo_way way)
{
    struct stack *s = &u->stack[way];
    struct group *g = &s->at[s->first];

    u->held -= group_bytes(g);
    group_fini(g);
    s->first++;
    s->n--;
}

static void forget(struct cv_undo *u, enum cv_undo_way way)
{
    while (u->stack[way].n)
        drop_oldest(u, way);
    u->stack[way].first = 0;
}

void cv_undo_forget(struct cv_undo *u)
{
    forget(u, CV_UNDO_BACK);
    forget(u, CV_UNDO_AGAIN);
    u->open = false;
}

static void bound(struct cv_undo *u)
{
    while (u->held > u->max_bytes && u->stack[CV_UNDO_BACK].n)
        drop_oldest(u, CV_UNDO_BACK);
    while (u->held > u->max_bytes && u->stack[CV_UNDO_AGAIN].n)
        drop_oldest(u, CV_UNDO_AGAIN);
    if (!u->stack[CV_UNDO_BACK].n)
        u->open = false;
}

int cv_undo_new(struct cv_undo **out, struct cv_doc *doc, size_t max_bytes)
{
    struct cv_undo *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return CV_ERR_NOMEM;
    u->doc = doc;
    u->max_bytes = max_bytes;
    *out = u;
    return CV_OK;
}

void cv_undo_free(struct cv_undo *u)
{
    if (u == NULL)
        return;
    cv_undo_forget(u);
    free(u->stack[CV_UNDO_BACK].at);
    free(u->stack[CV_UNDO_AGAIN].at);
    free(u);
}

size_t cv_undo_count(const struct cv_undo *u, enum cv_undo_way way)
{
    return u->stack[way].n;
}

size_t cv_undo_held(const struct cv_undo *u)
{
    return u->held;
}

/* ---- remembering ---- */

static bool add_ours(struct group *g, struct range r)
{
    struct range *last = g->ours.n ? &g->ours.at[g->ours.n - 1] : NULL;

    if (last != NULL && last->client == r.client &&
        last->clock + last->len == r.clock) {
        last->len += r.len;
        return true;
    }
    if (!RESERVE(&g->ours, 1))
        return false;
    g->ours.at[g->ours.n++] = r;
    return true;
}

/* Visible text that is about to be deleted. */
static bool add_gone(struct group *g, const struct cv_doc *doc,
                     const struct cv_span *s)
{
    struct gone *last;
    struct cv_writer w;

    if (!RESERVE(&g->text, s->bytes) || !RESERVE(&g->gone, 1))
        return false;
    cv_writer_init(&w, g->text.at + g->text.n, s->bytes);
    if (cv_doc_read(doc, s->at, s->bytes, &w) != CV_OK)
        return false;
    last = g->gone.n ? &g->gone.at[g->gone.n - 1] : NULL;
    if (last != NULL && last->range.client == s->id.client &&
        last->range.clock + last->range.len == s->id.clock) {
        last->range.len += s->units;
        last->bytes += s->bytes;
    } else {
        struct gone *x = &g->gone.at[g->gone.n++];

        *x = (struct gone){{s->id.client, s->id.clock, s->units},
                           {0, 0},
                           false,
                           g->text.n,
                           s->bytes};
        x->has_left = cv_span_left(doc, s->id, &x->left);
    }
    g->text.n += s->bytes;
    return true;
}

void cv_undo_group(struct cv_undo *u, uint64_t group)
{
    if (u->number != group)
        u->open = false;
    u->number = group;
}

/* The group that local edits go to; NULL without memory.  It is not counted
 * in `held` until close_group(). */
static struct group *open_group(struct cv_undo *u)
{
    struct group *g = top(u, CV_UNDO_BACK);
    struct group new = {.number = u->number, .client = cv_doc_client(u->doc)};

    forget(u, CV_UNDO_AGAIN);
    if (g == NULL || !u->open || g->client != new.client) {
        if (!push(u, CV_UNDO_BACK, &new))
            return NULL;
        u->open = true;
        g = top(u, CV_UNDO_BACK);
        assert(g != NULL);
    }
    u->held -= group_bytes(g);
    return g;
}

/* `kept`: everything could be remembered. */
static void close_group(struct cv_undo *u, struct group *g, bool kept)
{
    if (g != NULL)
        u->held += group_bytes(g);
    if (g == NULL || !kept)
        cv_undo_forget(u);
    bound(u);
}

int cv_undo_insert(struct cv_undo *u, size_t at, const void *text, size_t len)
{
    uint64_t client = cv_doc_client(u->doc);
    uint64_t before = cv_doc_clock(u->doc, client);
    int err = cv_doc_insert(u->doc, at, text, len);
    uint64_t n = cv_doc_clock(u->doc, client) - before;
    struct group *g;

    if (n == 0)
        return err;
    g = open_group(u);
    close_group(u, g,
                g != NULL && add_ours(g, (struct range){client, before, n}));
    return err;
}

/* How many units from `id` on, at most `n`, did the open group insert, or, if
 * not *ours, did it not?  Its own ranges ascend. */
static uint64_t whose(const struct group *g, struct cv_id id, uint64_t n,
                      bool *ours)
{
    size_t low = 0, high = g->ours.n;
    const struct range *r;

    *ours = false;
    if (id.client != g->client)
        return n;
    while (low < high) { /* the first that ends behind `id` */
        size_t mid = low + (high - low) / 2;

        r = &g->ours.at[mid];
        if (r->clock + r->len <= id.clock)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == g->ours.n)
        return n;
    r = &g->ours.at[low];
    *ours = r->clock <= id.clock;
    if (*ours)
        return r->clock + r->len - id.clock < n ? r->clock + r->len - id.clock
                                                : n;
    return r->clock - id.clock < n ? r->clock - id.clock : n;
}

/* A span that is about to be deleted: what the group itself inserted is not
 * worth remembering. */
static bool note_span(struct cv_undo *u, struct group *g, struct cv_span span)
{
    struct cv_id id = span.id;
    uint64_t left = span.units;

    while (left > 0) {
        bool ours;
        uint64_t n = whose(g, id, left, &ours);
        struct cv_span part;

        /* Whole characters: what another client cut stays one piece. */
        if (!ours && cv_span_live(u->doc, id, n, &part) &&
            !add_gone(g, u->doc, &part))
            return false;
        id.clock += n;
        left -= n;
    }
    return true;
}

int cv_undo_delete(struct cv_undo *u, size_t at, size_t len)
{
    size_t total = cv_doc_text_bytes(u->doc), done = 0, units;
    struct group *g;
    bool kept;
    int err;

    if (at > total || len > total - at ||
        cv_doc_bytes_to_units(u->doc, at, &units) != CV_OK ||
        cv_doc_bytes_to_units(u->doc, at + len, &units) != CV_OK)
        return CV_ERR_INVALID;
    if (len == 0)
        return cv_doc_delete(u->doc, at, len);
    g = open_group(u);
    kept = g != NULL;
    while (kept && done < len) {
        struct cv_span span;

        cv_span_at(u->doc, at + done, len - done, &span);
        kept = note_span(u, g, span);
        done += span.bytes;
    }
    close_group(u, g, kept);
    err = cv_doc_delete(u->doc, at, len);
    if (err != CV_OK)
        cv_undo_forget(u); /* of a text that is partly still there */
    return err;
}

/* ---- taking back ---- */

/* Old units that are new ones now. */
struct moved {
    struct range from;
    struct cv_id to;
};

/* Text that goes back as one piece. */
struct piece {
    struct cv_id id;
    uint64_t units;
    struct cv_bytes text;
    size_t at;
};

struct step {
    struct cv_undo *u;
    struct group *from; /* what is taken back */
    struct group to;    /* what will take that back */
    void (*text)(void *user, const struct cv_text_change *change);
    void *user;
    bool changed;
    size_t first; /* start of the topmost change */
    VEC(struct cv_span) live;
    VEC(struct piece) pieces;
    VEC(struct moved) moved;
    uint8_t *joined; /* text of neighbours, in the order of their ids */
    /* A change that may still grow. */
    struct cv_text_change pending;
    struct cv_writer inserted;
};

static void tell(struct step *s)
{
    struct cv_text_change *c = &s->pending;

    c->inserted = s->inserted.data;
    c->inserted_len = s->inserted.len;
    if (s->text != NULL && (c->deleted > 0 || c->inserted_len > 0))
        s->text(s->user, c);
    *c = (struct cv_text_change){0};
    cv_writer_reset(&s->inserted);
}

static void note_change(struct step *s, size_t at)
{
    if (!s->changed || at < s->first)
        s->first = at;
    s->changed = true;
}

static int by_place(const void *a, const void *b)
{
    const struct cv_span *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* Delete what is left of what the group inserted, from the end on: each span
 * alone, since what lies between two of them is not ours. */
static int take_out(struct step *s)
{
    struct cv_doc *doc = s->u->doc;
    int err = CV_OK;

    for (size_t i = 0; i < s->from->ours.n; i++) {
        struct range r = s->from->ours.at[i];
        struct cv_span span;

        while (r.len > 0 && cv_span_live(doc, (struct cv_id){r.client, r.clock},
                                         r.len, &span)) {
            if (!RESERVE(&s->live, 1))
                return CV_ERR_NOMEM;
            s->live.at[s->live.n++] = span;
            r.len -= span.id.clock + span.units - r.clock;
            r.clock = span.id.clock + span.units;
        }
    }
    if (s->live.n > 1)
        qsort(s->live.at, s->live.n, sizeof(*s->live.at), by_place);
    for (size_t i = 0; i < s->live.n; i++)
        if (!add_gone(&s->to, doc, &s->live.at[i]))
            return CV_ERR_NOMEM;
    for (size_t i = s->live.n; err == CV_OK && i-- > 0;) {
        const struct cv_span *x = &s->live.at[i];

        err = cv_doc_delete(doc, x->at, x->bytes);
        if (err != CV_OK)
            break;
        if (s->pending.deleted > 0 && s->pending.at != x->at + x->bytes)
            tell(s);
        s->pending.at = x->at;
        s->pending.deleted += x->bytes;
        note_change(s, x->at);
    }
    tell(s);
    return err;
}

static int by_id(const void *a, const void *b)
{
    const struct range *x = &((const struct gone *)a)->range;
    const struct range *y = &((const struct gone *)b)->range;

    if (x->client != y->client)
        return x->client < y->client ? -1 : 1;
    return x->clock < y->clock ? -1 : x->clock > y->clock;
}

static size_t bytes_of(struct cv_bytes text, uint64_t units)
{
    size_t at = 0;

    while (units > 0 && at < text.len) {
        uint8_t c = text.data[at];

        at += c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        units -= c >= 0xF0 && units > 1 ? 2 : 1;
    }
    return at;
}

static uint64_t units_of(struct cv_bytes text)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        if ((text.data[i] & 0xC0) != 0x80)
            n += text.data[i] >= 0xF0 ? 2 : 1;
    return n;
}

/* The pieces of one deleted range: cut where something lies in between. */
static int plan_range(struct step *s, const struct gone *x,
                      struct cv_bytes text)
{
    struct cv_id id = {x->range.client, x->range.clock};
    uint64_t left = x->range.len;

    while (text.len > 0) {
        struct piece p = {.id = id, .text = text};
        size_t back;

        if (!cv_span_place(s->u->doc, id, left, &p.at, &p.units))
            return CV_OK; /* not of this text any more */
        p.text.len = bytes_of(text, p.units);
        back = cv_span_returned(s->u->doc, id, x->has_left ? &x->left : NULL,
                                p.text);
        if (back > 0)
            p.text.len = back;
        p.units = units_of(p.text);
        if (back == 0) {
            if (!RESERVE(&s->pieces, 1))
                return CV_ERR_NOMEM;
            s->pieces.at[s->pieces.n++] = p;
        }
        text.data += p.text.len;
        text.len -= p.text.len;
        id.clock += p.units;
        left -= p.units < left ? p.units : left;
    }
    return CV_OK;
}

/* What the group deleted, neighbours joined, as pieces. */
static int plan_pieces(struct step *s)
{
    struct group *g = s->from;
    size_t used = 0;

    if (g->gone.n == 0)
        return CV_OK;
    s->joined = malloc(g->text.n);
    if (s->joined == NULL)
        return CV_ERR_NOMEM;
    if (g->gone.n > 1)
        qsort(g->gone.at, g->gone.n, sizeof(*g->gone.at), by_id);
    for (size_t i = 0; i < g->gone.n;) {
        struct gone x = g->gone.at[i];
        size_t start = used;
        int err;

        x.range.len = 0;
        do {
            const struct gone *y = &g->gone.at[i];

            memcpy(s->joined + used, g->text.at + y->text, y->bytes);
            used += y->bytes;
            x.range.len += y->range.len;
        } while (++i < g->gone.n &&
                 g->gone.at[i].range.client == x.range.client &&
                 g->gone.at[i].range.clock == x.range.clock + x.range.len);
        err = plan_range(s, &x, CV_BYTES(s->joined + start, used - start));
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

static int in_text_order(const void *a, const void *b, void *doc)
{
    const struct piece *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    if (x == y)
        return 0;
    return cv_span_before(doc, x->id, y->id) ? -1 : 1;
}

static int put_back(struct step *s)
{
    struct cv_doc *doc = s->u->doc;
    uint64_t client = cv_doc_client(doc);
    size_t shift = 0;
    int err = plan_pieces(s);

    if (err != CV_OK)
        return err;
    if (!RESERVE(&s->moved, s->pieces.n))
        return CV_ERR_NOMEM;
    if (s->pieces.n > 1)
        qsort_r(s->pieces.at, s->pieces.n, sizeof(*s->pieces.at), in_text_order,
                doc);
    for (size_t i = 0; err == CV_OK && i < s->pieces.n; i++) {
        const struct piece *p = &s->pieces.at[i];
        uint64_t before = cv_doc_clock(doc, client), n;
        size_t at = p->at + shift;

        err = cv_span_insert(doc, p->id, p->text);
        n = cv_doc_clock(doc, client) - before;
        if (err != CV_OK || n == 0)
            break; /* a part at most, and forgotten by the caller */
        if (!add_ours(&s->to, (struct range){client, before, n}))
            err = CV_ERR_NOMEM;
        s->moved.at[s->moved.n++] = (struct moved){
            {p->id.client, p->id.clock, p->units}, {client, before}};
        if (s->inserted.len > 0 && s->pending.at + s->inserted.len != at)
            tell(s);
        if (s->inserted.len == 0)
            s->pending.at = at;
        if (cv_put_raw(&s->inserted, p->text.data, p->text.len) != CV_OK)
            err = CV_ERR_NOMEM;
        shift += p->text.len;
        note_change(s, at);
    }
    tell(s);
    return err;
}

static int moved_order(const void *a, const void *b)
{
    const struct range *x = &((const struct moved *)a)->from;
    const struct range *y = &((const struct moved *)b)->from;

    if (x->client != y->client)
        return x->client < y->client ? -1 : 1;
    return x->clock < y->clock ? -1 : x->clock > y->clock;
}

/* The first move that ends behind the start of a range. */
static size_t first_move(const struct step *s, const struct range *r)
{
    size_t low = 0, high = s->moved.n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct range *m = &s->moved.at[mid].from;

        if (m->client < r->client ||
            (m->client == r->client && m->clock + m->len <= r->clock))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool touches(const struct step *s, size_t move, const struct range *r)
{
    const struct range *m;

    if (move == s->moved.n)
        return false;
    m = &s->moved.at[move].from;
    return m->client == r->client && m->clock < r->clock + r->len;
}

/* The ranges that a group inserted, where units of them have moved. */
static bool follow_group(const struct step *s, struct group *g)
{
    struct group new = {0};
    bool any = false, fits = true;

    for (size_t i = 0; i < g->ours.n && !any; i++)
        any = touches(s, first_move(s, &g->ours.at[i]), &g->ours.at[i]);
    if (!any)
        return true;
    for (size_t i = 0; i < g->ours.n && fits; i++) {
        struct range r = g->ours.at[i];
        size_t k = first_move(s, &r);

        for (; fits && touches(s, k, &r); k++) {
            const struct moved *m = &s->moved.at[k];
            uint64_t skip = 0, n;

            if (m->from.clock > r.clock) {
                n = m->from.clock - r.clock;
                fits = add_ours(&new, (struct range){r.client, r.clock, n});
                r.clock += n;
                r.len -= n;
            } else {
                skip = r.clock - m->from.clock;
            }
            n = m->from.len - skip < r.len ? m->from.len - skip : r.len;
            fits =
                fits && add_ours(&new, (struct range){m->to.client,
                                                      m->to.clock + skip, n});
            r.clock += n;
            r.len -= n;
        }
        if (fits && r.len > 0)
            fits = add_ours(&new, r);
    }
    if (!fits) {
        free(new.ours.at);
        return false;
    }
    free(g->ours.at);
    memcpy(&g->ours, &new.ours, sizeof(g->ours));
    return true;
}

/* All groups follow the units that have moved. */
static int follow(struct step *s)
{
    if (s->moved.n > 1)
        qsort(s->moved.at, s->moved.n, sizeof(*s->moved.at), moved_order);
    for (int way = 0; way < 2 && s->moved.n; way++) {
        struct stack *k = &s->u->stack[way];

        for (size_t i = 0; i < k->n; i++) {
            struct group *g = &k->at[k->first + i];
            bool fits;

            s->u->held -= group_bytes(g);
            fits = follow_group(s, g);
            s->u->held += group_bytes(g);
            if (!fits)
                return CV_ERR_NOMEM;
        }
    }
    return CV_OK;
}

static int take_back(struct step *s)
{
    int err = take_out(s);

    if (err == CV_OK)
        err = put_back(s);
    if (err == CV_OK)
        err = follow(s);
    return err;
}

int cv_undo_step(struct cv_undo *u, enum cv_undo_way way,
                 void (*text)(void *user, const struct cv_text_change *change),
                 void *user, struct cv_undone *out)
{
    enum cv_undo_way other = way == CV_UNDO_BACK ? CV_UNDO_AGAIN : CV_UNDO_BACK;
    int err = cv_doc_delete(u->doc, 0, 0); /* is there a transaction? */
    bool changed = false;

    if (err != CV_OK)
        return err;
    u->open = false;
    while (err == CV_OK && !changed && u->stack[way].n) {
        struct group from = pop(u, way);
        struct step s = {.u = u, .from = &from, .text = text, .user = user};

        s.to.number = from.number;
        s.to.client = cv_doc_client(u->doc);
        cv_writer_init_heap(&s.inserted, SIZE_MAX / 2);
        err = take_back(&s);
        changed = s.changed;
        *out = (struct cv_undone){from.number, s.first};
        if (err != CV_OK || !changed || !push(u, other, &s.to)) {
            group_fini(&s.to);
            if (err == CV_OK && changed)
                cv_undo_forget(u); /* done, but not to be taken back */
        }
        group_fini(&from);
        free(s.live.at);
        free(s.pieces.at);
        free(s.moved.at);
        free(s.joined);
        cv_writer_fini(&s.inserted);
    }
    if (err != CV_OK) {
        cv_undo_forget(u);
        return err;
    }
    bound(u);
    return changed ? CV_OK : CV_ERR_NOTFOUND;
}
