#include "crdt/change.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool cv_change_grow(void **at, size_t *cap, size_t n, size_t more, size_t size)
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

#define RESERVE(at, cap, n, more)                                              \
    cv_change_grow((void **)&(at), &(cap), (n), (more), sizeof(*(at)))

size_t cv_change_bytes(const struct cv_change *c)
{
    return c->n_ours * sizeof(*c->ours) + c->n_gone * sizeof(*c->gone) +
           c->n_text;
}

void cv_change_fini(struct cv_change *c)
{
    free(c->ours);
    free(c->gone);
    free(c->text);
    *c = (struct cv_change){0};
}

/* ---- remembering ---- */

bool cv_change_add_ours(struct cv_change *c, struct cv_units r)
{
    struct cv_units *last = c->n_ours ? &c->ours[c->n_ours - 1] : NULL;

    if (last != NULL && last->client == r.client &&
        last->clock + last->len == r.clock) {
        last->len += r.len;
        return true;
    }
    if (!RESERVE(c->ours, c->cap_ours, c->n_ours, 1))
        return false;
    assert(c->ours != NULL);
    c->ours[c->n_ours++] = r;
    return true;
}

bool cv_change_add_gone(struct cv_change *c, const struct cv_doc *doc,
                        const struct cv_span *s)
{
    struct cv_gone *last;
    struct cv_writer w;

    if (!RESERVE(c->text, c->cap_text, c->n_text, s->bytes) ||
        !RESERVE(c->gone, c->cap_gone, c->n_gone, 1))
        return false;
    cv_writer_init(&w, c->text + c->n_text, s->bytes);
    if (cv_doc_read(doc, s->at, s->bytes, &w) != CV_OK)
        return false;
    assert(c->gone != NULL);
    last = c->n_gone ? &c->gone[c->n_gone - 1] : NULL;
    if (last != NULL && last->range.client == s->id.client &&
        last->range.clock + last->range.len == s->id.clock) {
        last->range.len += s->units;
        last->bytes += s->bytes;
    } else {
        struct cv_gone *x = &c->gone[c->n_gone++];

        *x = (struct cv_gone){{s->id.client, s->id.clock, s->units},
                              {0, 0},
                              false,
                              c->n_text,
                              s->bytes};
        x->has_left = cv_span_left(doc, s->id, &x->left);
    }
    c->n_text += s->bytes;
    return true;
}

bool cv_change_add_all_gone(struct cv_change *c, const struct cv_doc *doc,
                            const struct cv_change *more)
{
    struct cv_span live;

    if (more->n_gone == 0)
        return true;
    if (!RESERVE(c->text, c->cap_text, c->n_text, more->n_text) ||
        !RESERVE(c->gone, c->cap_gone, c->n_gone, more->n_gone))
        return false;
    assert(c->gone != NULL);
    for (size_t i = 0; i < more->n_gone; i++) {
        struct cv_gone x = more->gone[i];

        if (cv_span_live(doc, (struct cv_id){x.range.client, x.range.clock},
                         x.range.len, &live))
            continue;
        memcpy(c->text + c->n_text, more->text + x.text, x.bytes);
        x.text = c->n_text;
        c->n_text += x.bytes;
        c->gone[c->n_gone++] = x;
    }
    return true;
}

/* ---- planning ---- */

/* Text that goes back as one piece. */
struct piece {
    struct cv_id id;
    uint64_t units;
    struct cv_bytes text;
    size_t at;
};

struct step {
    struct cv_doc *doc;
    const struct cv_change *from; /* what is taken back */
    struct cv_change *to;         /* what will take that back */
    struct cv_moves *moves;
    void (*text)(void *user, const struct cv_text_change *change);
    void *user;
    struct cv_taken *out;
    struct cv_span *live;
    size_t n_live, cap_live;
    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    uint8_t *joined; /* text of neighbours, in the order of their ids */
    /* A change that may still grow. */
    struct cv_text_change pending;
    struct cv_writer inserted;
};

static void step_fini(struct step *s)
{
    free(s->live);
    free(s->pieces);
    free(s->joined);
    cv_writer_fini(&s->inserted);
}

static int by_place(const void *a, const void *b)
{
    const struct cv_span *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* Find what is left of what was inserted; *bytes of it. */
static int plan_live(struct step *s, const struct cv_doc *doc, size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 0; i < s->from->n_ours; i++) {
        struct cv_units r = s->from->ours[i];
        struct cv_span span;

        while (r.len > 0 && cv_span_live(doc, (struct cv_id){r.client, r.clock},
                                         r.len, &span)) {
            if (!RESERVE(s->live, s->cap_live, s->n_live, 1))
                return CV_ERR_NOMEM;
            s->live[s->n_live++] = span;
            *bytes += span.bytes;
            r.len -= span.id.clock + span.units - r.clock;
            r.clock = span.id.clock + span.units;
        }
    }
    if (s->n_live > 1)
        qsort(s->live, s->n_live, sizeof(*s->live), by_place);
    return CV_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct cv_units *x = &((const struct cv_gone *)a)->range;
    const struct cv_units *y = &((const struct cv_gone *)b)->range;

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
static int plan_range(struct step *s, const struct cv_doc *doc,
                      const struct cv_gone *x, struct cv_bytes text)
{
    struct cv_id id = {x->range.client, x->range.clock};
    uint64_t left = x->range.len;

    while (text.len > 0) {
        struct piece p = {.id = id, .text = text};
        size_t back;

        if (!cv_span_place(doc, id, left, &p.at, &p.units))
            return CV_OK; /* not of this text any more */
        p.text.len = bytes_of(text, p.units);
        back = cv_span_returned(doc, id, x->has_left ? &x->left : NULL, p.text);
        if (back > 0)
            p.text.len = back;
        p.units = units_of(p.text);
        if (back == 0) {
            if (!RESERVE(s->pieces, s->cap_pieces, s->n_pieces, 1))
                return CV_ERR_NOMEM;
            s->pieces[s->n_pieces++] = p;
        }
        text.data += p.text.len;
        text.len -= p.text.len;
        id.clock += p.units;
        left -= p.units < left ? p.units : left;
    }
    return CV_OK;
}

/* What was deleted, neighbours joined, as pieces.  `from` is sorted. */
static int plan_pieces(struct step *s, const struct cv_doc *doc)
{
    const struct cv_change *c = s->from;
    size_t used = 0;

    if (c->n_gone == 0)
        return CV_OK;
    s->joined = malloc(c->n_text);
    if (s->joined == NULL)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < c->n_gone;) {
        struct cv_gone x = c->gone[i];
        size_t start = used;
        int err;

        x.range.len = 0;
        do {
            const struct cv_gone *y = &c->gone[i];

            memcpy(s->joined + used, c->text + y->text, y->bytes);
            used += y->bytes;
            x.range.len += y->range.len;
        } while (++i < c->n_gone && c->gone[i].range.client == x.range.client &&
                 c->gone[i].range.clock == x.range.clock + x.range.len);
        err = plan_range(s, doc, &x, CV_BYTES(s->joined + start, used - start));
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

static int in_text_order(const void *a, const void *b, void *user)
{
    const struct cv_doc *const *doc = user;
    const struct piece *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    if (x == y)
        return 0;
    return cv_span_before(*doc, x->id, y->id) ? -1 : 1;
}

static void sort_pieces(struct step *s, const struct cv_doc *doc)
{
    if (s->n_pieces > 1)
        qsort_r(s->pieces, s->n_pieces, sizeof(*s->pieces), in_text_order,
                (void *)&doc);
}

/* ---- counting ---- */

/* Spans that touch are one piece to a reader. */
static void count_removed(const struct step *s, struct cv_taken *out)
{
    for (size_t i = 0; i < s->n_live; i++) {
        const struct cv_span *x = &s->live[i];

        out->removed += i == 0 || x[-1].at + x[-1].bytes != x->at;
        out->removed_bytes += x->bytes;
    }
}

static void count_restored(const struct step *s, struct cv_taken *out)
{
    for (size_t i = 0; i < s->n_pieces; i++) {
        out->restored += i == 0 || s->pieces[i - 1].at != s->pieces[i].at;
        out->restored_bytes += s->pieces[i].text.len;
    }
}

static void sort_gone(struct cv_change *c)
{
    if (c->n_gone > 1)
        qsort(c->gone, c->n_gone, sizeof(*c->gone), by_id);
}

int cv_change_measure(const struct cv_doc *doc, struct cv_change *c,
                      struct cv_taken *out)
{
    struct step s = {.from = c};
    size_t bytes;
    int err;

    *out = (struct cv_taken){0};
    cv_writer_init_heap(&s.inserted, 0);
    sort_gone(c);
    err = plan_live(&s, doc, &bytes);
    if (err == CV_OK)
        err = plan_pieces(&s, doc);
    if (err == CV_OK) {
        sort_pieces(&s, doc);
        count_removed(&s, out);
        count_restored(&s, out);
    }
    step_fini(&s);
    return err;
}

/* ---- taking back ---- */

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
    if (!s->out->changed || at < s->out->first)
        s->out->first = at;
    s->out->changed = true;
}

/* Delete what is left of what was inserted, from the end on: each span alone,
 * since what lies between two of them is not ours. */
static int take_out(struct step *s)
{
    int err = CV_OK;

    for (size_t i = 0; i < s->n_live; i++)
        if (!cv_change_add_gone(s->to, s->doc, &s->live[i]))
            return CV_ERR_NOMEM;
    count_removed(s, s->out);
    for (size_t i = s->n_live; err == CV_OK && i-- > 0;) {
        const struct cv_span *x = &s->live[i];

        err = cv_doc_delete(s->doc, x->at, x->bytes);
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

static int put_back(struct step *s)
{
    struct cv_doc *doc = s->doc;
    uint64_t client = cv_doc_client(doc);
    size_t shift = 0;
    int err = plan_pieces(s, doc);

    if (err != CV_OK)
        return err;
    if (!RESERVE(s->moves->at, s->moves->cap, s->moves->n, s->n_pieces))
        return CV_ERR_NOMEM;
    sort_pieces(s, doc);
    count_restored(s, s->out);
    for (size_t i = 0; err == CV_OK && i < s->n_pieces; i++) {
        const struct piece *p = &s->pieces[i];
        uint64_t before = cv_doc_clock(doc, client), n;
        size_t at = p->at + shift;

        err = cv_span_insert(doc, p->id, p->text);
        n = cv_doc_clock(doc, client) - before;
        if (err != CV_OK || n == 0)
            break; /* a part at most, and forgotten by the caller */
        if (!cv_change_add_ours(s->to, (struct cv_units){client, before, n}))
            err = CV_ERR_NOMEM;
        s->moves->at[s->moves->n++] = (struct cv_moved){
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
    const struct cv_units *x = &((const struct cv_moved *)a)->from;
    const struct cv_units *y = &((const struct cv_moved *)b)->from;

    if (x->client != y->client)
        return x->client < y->client ? -1 : 1;
    return x->clock < y->clock ? -1 : x->clock > y->clock;
}

int cv_change_take_back(
    struct cv_doc *doc, struct cv_change *from, size_t max_text,
    void (*text)(void *user, const struct cv_text_change *change), void *user,
    struct cv_change *back, struct cv_moves *moves, struct cv_taken *out)
{
    struct step s = {.doc = doc,
                     .from = from,
                     .to = back,
                     .moves = moves,
                     .text = text,
                     .user = user,
                     .out = out};
    size_t bytes;
    int err;

    *out = (struct cv_taken){0};
    cv_writer_init_heap(&s.inserted, SIZE_MAX / 2);
    sort_gone(from);
    err = plan_live(&s, doc, &bytes);
    /* What comes back may be less, when somebody has put it back. */
    if (err == CV_OK && from->n_text > bytes &&
        cv_doc_text_bytes(doc) + (from->n_text - bytes) > max_text)
        err = CV_ERR_LIMIT;
    if (err == CV_OK)
        err = take_out(&s);
    if (err == CV_OK)
        err = put_back(&s);
    if (moves->n > 1)
        qsort(moves->at, moves->n, sizeof(*moves->at), moved_order);
    step_fini(&s);
    return err;
}

/* ---- following ---- */

/* The first move that ends behind the start of a range. */
static size_t first_move(const struct cv_moves *moves, const struct cv_units *r)
{
    size_t low = 0, high = moves->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct cv_units *m = &moves->at[mid].from;

        if (m->client < r->client ||
            (m->client == r->client && m->clock + m->len <= r->clock))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool touches(const struct cv_moves *moves, size_t move,
                    const struct cv_units *r)
{
    const struct cv_units *m;

    if (move == moves->n)
        return false;
    m = &moves->at[move].from;
    return m->client == r->client && m->clock < r->clock + r->len;
}

/* Append a range to `new`, the units that have moved as what they are now. */
static bool follow_range(const struct cv_moves *moves, struct cv_units r,
                         struct cv_change *new)
{
    size_t k = first_move(moves, &r);
    bool fits = true;

    for (; fits && touches(moves, k, &r); k++) {
        const struct cv_moved *m = &moves->at[k];
        uint64_t skip = 0, n;

        if (m->from.clock > r.clock) {
            n = m->from.clock - r.clock;
            fits = cv_change_add_ours(new,
                                      (struct cv_units){r.client, r.clock, n});
            r.clock += n;
            r.len -= n;
        } else {
            skip = r.clock - m->from.clock;
        }
        n = m->from.len - skip < r.len ? m->from.len - skip : r.len;
        fits = fits &&
               cv_change_add_ours(
                   new, (struct cv_units){m->to.client, m->to.clock + skip, n});
        r.clock += n;
        r.len -= n;
    }
    return fits && (r.len == 0 || cv_change_add_ours(new, r));
}

int cv_change_follow(struct cv_change *c, const struct cv_moves *moves)
{
    struct cv_change new = {0};
    bool any = false, fits = true;

    for (size_t i = 0; i < c->n_ours && !any; i++)
        any = touches(moves, first_move(moves, &c->ours[i]), &c->ours[i]);
    if (!any)
        return CV_OK;
    for (size_t i = 0; i < c->n_ours && fits; i++)
        fits = follow_range(moves, c->ours[i], &new);
    if (!fits) {
        cv_change_fini(&new);
        return CV_ERR_NOMEM;
    }
    free(c->ours);
    c->ours = new.ours;
    c->n_ours = new.n_ours;
    c->cap_ours = new.cap_ours;
    return CV_OK;
}
