#include "cli/mirror.h"

#include <stdlib.h>
#include <string.h>

#include "cli/delta.h"
#include "cli/textbuf.h"
#include "session/textdiff.h"

/* One edit that the editor has not confirmed: `bytes` holds what it took away,
 * then what it put there. */
struct pending {
    size_t at;
    size_t deleted;
    size_t inserted;
    uint8_t *bytes;
    bool joined;
};

struct cv_mirror {
    struct cv_textbuf text; /* with all pending edits */
    bool eol;               /* what the editor was told, or told us */
    uint64_t erev;
    uint64_t rev; /* confirmed */
    struct pending *pending;
    size_t first, n, cap; /* pending[first, first + n) */
    const struct cv_mirror_events *events;
    void *user;
};

int cv_mirror_new(struct cv_mirror **out, struct cv_bytes text, bool eol,
                  const struct cv_mirror_events *events, void *user)
{
    struct cv_mirror *m = calloc(1, sizeof(*m));
    int err;

    if (!m)
        return CV_ERR_NOMEM;
    cv_textbuf_init(&m->text);
    m->eol = text.len ? text.data[text.len - 1] == '\n' : eol;
    m->events = events;
    m->user = user;
    err = cv_textbuf_splice(&m->text, 0, 0, text);
    if (err != CV_OK) {
        cv_mirror_free(m);
        return err;
    }
    *out = m;
    return CV_OK;
}

static void drop_pending(struct cv_mirror *m, size_t count)
{
    for (; count; count--, m->n--)
        free(m->pending[m->first++].bytes);
    if (!m->n)
        m->first = 0;
}

void cv_mirror_free(struct cv_mirror *m)
{
    if (!m)
        return;
    drop_pending(m, m->n);
    free(m->pending);
    cv_textbuf_fini(&m->text);
    free(m);
}

uint64_t cv_mirror_erev(const struct cv_mirror *m)
{
    return m->erev;
}

uint64_t cv_mirror_rev(const struct cv_mirror *m)
{
    return m->rev;
}

bool cv_mirror_in_step(const struct cv_mirror *m)
{
    return m->n == 0;
}

struct cv_bytes cv_mirror_text(const struct cv_mirror *m)
{
    return CV_BYTES(m->text.data, m->text.len);
}

static bool ends_with_lf(const struct cv_textbuf *t)
{
    return t->len && t->data[t->len - 1] == '\n';
}

size_t cv_mirror_lines(const struct cv_mirror *m)
{
    if (!m->text.len)
        return 1;
    return m->text.newlines + (ends_with_lf(&m->text) ? 0 : 1);
}

/* The length of what the editor shows: all but a last LF. */
static size_t shown(const struct cv_textbuf *t)
{
    return t->len - (ends_with_lf(t) ? 1 : 0);
}

int cv_mirror_ack(struct cv_mirror *m, uint64_t rev)
{
    if (rev < m->rev || rev - m->rev > m->n)
        return CV_ERR_INVALID;
    drop_pending(m, (size_t)(rev - m->rev));
    m->rev = rev;
    return CV_OK;
}

/* Take back, or do again, the unconfirmed edits in the text. */
static int undo_pending(struct cv_mirror *m)
{
    int err = CV_OK;

    for (size_t i = m->n; err == CV_OK && i-- > 0;) {
        const struct pending *p = &m->pending[m->first + i];

        err = cv_textbuf_splice(&m->text, p->at, p->inserted,
                                CV_BYTES(p->bytes, p->deleted));
    }
    return err;
}

static int redo_pending(struct cv_mirror *m)
{
    int err = CV_OK;

    for (size_t i = 0; err == CV_OK && i < m->n; i++) {
        const struct pending *p = &m->pending[m->first + i];

        err = cv_textbuf_splice(&m->text, p->at, p->deleted,
                                CV_BYTES(p->bytes + p->deleted, p->inserted));
    }
    return err;
}

static int reserve_pending(struct cv_mirror *m)
{
    struct pending *grown;
    size_t cap;

    if (m->n == CV_MIRROR_PENDING_MAX)
        return CV_ERR_LIMIT;
    if (m->first + m->n < m->cap)
        return CV_OK;
    if (m->first) {
        memmove(m->pending, m->pending + m->first, m->n * sizeof(*m->pending));
        m->first = 0;
        return CV_OK;
    }
    cap = m->cap ? 2 * m->cap : 16;
    grown = realloc(m->pending, cap * sizeof(*grown));
    if (!grown)
        return CV_ERR_NOMEM;
    m->pending = grown;
    m->cap = cap;
    return CV_OK;
}

static void tell_eol(struct cv_mirror *m)
{
    if (m->text.len && ends_with_lf(&m->text) != m->eol) {
        m->eol = !m->eol;
        m->events->eol(m->user, m->eol);
    }
}

/* Do an edit to the text, remember it, tell the editor. */
static int send_edit(struct cv_mirror *m, size_t at, size_t deleted,
                     struct cv_bytes inserted, bool joined)
{
    size_t old_shown = shown(&m->text), new_shown, start, end, keep;
    struct cv_mirror_edit edit = {.erev = m->erev, .joined = joined};
    struct pending p = {at, deleted, inserted.len, NULL, joined};
    int err = reserve_pending(m);

    if (err != CV_OK)
        return err;
    p.bytes = malloc(deleted + inserted.len + 1);
    if (!p.bytes)
        return CV_ERR_NOMEM;
    if (deleted)
        memcpy(p.bytes, m->text.data + at, deleted);
    if (inserted.len)
        memcpy(p.bytes + deleted, inserted.data, inserted.len);

    /* The range in what the editor shows, before the edit. */
    start = at < old_shown ? at : old_shown;
    end = at + deleted < old_shown ? at + deleted : old_shown;
    keep = old_shown - end; /* shown bytes behind it, which stay */
    cv_mirror_place(m, end, &edit.range.end_line, &edit.range.end_column);
    cv_mirror_place(m, start, &edit.range.line, &edit.range.column);
    err = cv_textbuf_splice(&m->text, at, deleted,
                            CV_BYTES(p.bytes + deleted, inserted.len));
    if (err != CV_OK) {
        free(p.bytes);
        return err;
    }
    new_shown = shown(&m->text);
    /* Removing all after a shown LF makes that LF the hidden one. */
    if (start > new_shown - keep) {
        start = new_shown - keep;
        cv_mirror_place(m, start, &edit.range.line, &edit.range.column);
    }
    edit.text = CV_BYTES(m->text.data + start, new_shown - keep - start);
    m->pending[m->first + m->n++] = p;
    m->events->edit(m->user, &edit);
    tell_eol(m);
    return CV_OK;
}

int cv_mirror_remote(struct cv_mirror *m, size_t at, size_t deleted,
                     struct cv_bytes inserted)
{
    if (at > m->text.len || deleted > m->text.len - at)
        return CV_ERR_INVALID;
    return send_edit(m, at, deleted, inserted, false);
}

/* One edit of many changes, if they come to anything. */
static int send_joined(struct cv_mirror *m, size_t at, size_t deleted,
                       struct cv_bytes inserted)
{
    if (!deleted && !inserted.len)
        return CV_OK;
    return send_edit(m, at, deleted, inserted, true);
}

int cv_mirror_join(struct cv_mirror *m, struct cv_bytes text)
{
    struct cv_bytes old = cv_mirror_text(m);
    size_t head, tail;

    if (!text.len)
        text = CV_BYTES("", 0);
    cv_textdiff_ends(old, text, &head, &tail);
    return send_joined(m, head, old.len - head - tail,
                       CV_BYTES(text.data + head, text.len - head - tail));
}

/* --- the editor's change, as a delta of the text it rests on --- */

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Several places are possible for text[at, at + len) when it repeats: move it
 * left so that it begins at `want`, if it may. */
static size_t slide(struct cv_bytes text, size_t at, size_t len, size_t want)
{
    size_t by;

    if (want >= at || is_continuation(text.data[want]))
        return at;
    by = at - want;
    for (size_t i = 0; i < by; i++)
        if (text.data[want + i] != text.data[want + i + len])
            return at;
    return want;
}

/* The replaced region of the text, what is there now, and the cursor in it. */
struct region {
    size_t start, end;
    struct cv_writer text;
    size_t cursor; /* SIZE_MAX: unknown */
    int eol;       /* -1 take the last LF away, +1 add one, 0 */
};

static bool is_emptied(const struct cv_mirror_change *c)
{
    return c->lo == 1 && !c->tail &&
           (!c->n_lines || (c->n_lines == 1 && !c->lines[0].len));
}

static int region_text(struct region *g, const struct cv_mirror_change *c,
                       bool lf_before)
{
    if (lf_before)
        cv_put_u8(&g->text, '\n');
    for (size_t i = 0; i < c->n_lines; i++) {
        if (c->has_cursor && c->cursor_line == c->lo + i &&
            c->cursor_column <= c->lines[i].len)
            g->cursor = g->text.len + c->cursor_column;
        cv_put_raw(&g->text, c->lines[i].data, c->lines[i].len);
        cv_put_u8(&g->text, '\n');
    }
    return g->text.err;
}

/* Take the LF behind the last line away, where that leaves a text of the same
 * lines: "a" and an empty line without its LF would be "a" and its LF. */
static void drop_last_lf(const struct cv_mirror *m, struct region *g)
{
    const char *text = m->text.data;
    const uint8_t *now = g->text.data;
    size_t len = g->text.len;

    if (len >= 2 ? now[len - 2] != '\n' : len == 1 && !g->start)
        g->text.len--;
    else if (!len && g->start && (g->start < 2 || text[g->start - 2] != '\n'))
        g->start--;
}

/* Fill `g`.  The text of an editor is its lines, each with an LF, the last one
 * only if `eol`; one empty line is the empty text. */
static int find_region(struct cv_mirror *m, const struct cv_mirror_change *c,
                       struct region *g)
{
    size_t lines = cv_mirror_lines(m);
    bool had_lf = ends_with_lf(&m->text), empty = !m->text.len;
    bool eol = c->has_eol && !m->n ? c->eol : empty ? m->eol : had_lf;
    int err;

    if (c->lo < 1 || c->lo > lines + 1 || c->tail > lines + 1 - c->lo)
        return CV_ERR_INVALID;
    g->start = cv_textbuf_line_start(&m->text, c->lo - 1);
    g->end = cv_textbuf_line_start(&m->text, lines - c->tail);
    g->eol = 0;
    g->cursor = SIZE_MAX;
    if (c->has_eol && !m->n)
        m->eol = c->eol;

    if (is_emptied(c)) {
        g->end = m->text.len;
        return CV_OK;
    }
    err = region_text(g, c, g->start > m->text.len);
    if (err != CV_OK)
        return err;
    if (g->start > m->text.len)
        g->start = m->text.len;
    if (g->end > m->text.len)
        g->end = m->text.len;
    if (!c->tail && !eol)
        drop_last_lf(m, g);
    else if (c->tail && !had_lf && (eol || empty))
        g->eol = 1;
    else if (c->tail && had_lf && !eol && m->text.len > 1 &&
             m->text.data[m->text.len - 2] != '\n')
        g->eol = -1;
    return CV_OK;
}

struct builder {
    struct cv_delta *delta;
    size_t at; /* in the old text, from its start */
    size_t base;
    int err;
};

static void build_splice(void *user, size_t at, size_t deleted,
                         struct cv_bytes inserted)
{
    struct builder *b = user;

    if (b->err == CV_OK)
        b->err = cv_delta_keep(b->delta, b->base + at - b->at);
    if (b->err == CV_OK)
        b->err = cv_delta_delete(b->delta, deleted);
    if (b->err == CV_OK)
        b->err = cv_delta_insert(b->delta, inserted);
    b->at = b->base + at + deleted;
}

static int diff_region(const struct cv_mirror *m, const struct region *g,
                       struct builder *b)
{
    struct cv_bytes before = CV_BYTES(m->text.data, m->text.len);
    struct cv_bytes now = CV_BYTES("", 0);
    size_t head, tail, deleted, at;

    if (g->text.len)
        now = cv_writer_bytes(&g->text);
    if (g->start < before.len)
        before.data += g->start;
    before.len = g->end - g->start;
    cv_textdiff_ends(before, now, &head, &tail);
    deleted = before.len - head - tail;
    at = head;
    now.len -= tail;
    if (!deleted && at == now.len)
        return CV_OK;
    if (!deleted && g->cursor != SIZE_MAX) {
        size_t len = now.len - at;

        now.len += tail;
        if (g->cursor >= len)
            at = slide(now, at, len, g->cursor - len);
        now.len = at + len;
    } else if (at == now.len && g->cursor != SIZE_MAX) {
        at = slide(before, at, deleted, g->cursor);
        now.len = at;
    } else if (deleted && at < now.len) {
        int err;

        b->base = g->start + head;
        now.data += head;
        now.len -= head;
        err = cv_textdiff(CV_BYTES(before.data + head, deleted), now,
                          build_splice, b);
        return err != CV_OK ? err : b->err;
    }
    b->base = g->start;
    build_splice(b, at, deleted, CV_BYTES(now.data + at, now.len - at));
    return b->err;
}

static int line_delta(struct cv_mirror *m, const struct cv_mirror_change *c,
                      struct cv_delta *delta)
{
    struct region g;
    struct builder b = {.delta = delta};
    int err;

    cv_writer_init_heap(&g.text, SIZE_MAX / 2);
    err = find_region(m, c, &g);
    if (err == CV_OK)
        err = diff_region(m, &g, &b);
    if (err == CV_OK && g.eol) {
        b.base = 0;
        if (g.eol > 0)
            build_splice(&b, m->text.len, 0, CV_BYTES("\n", 1));
        else
            build_splice(&b, m->text.len - 1, 1, CV_BYTES(NULL, 0));
        err = b.err;
    }
    cv_writer_fini(&g.text);
    return err;
}

/* --- moving the change and the unconfirmed edits past each other --- */

static int splice_send(void *user, size_t at, size_t deleted,
                       struct cv_bytes inserted)
{
    return send_edit(user, at, deleted, inserted, false);
}

/* Do a delta to the text in one go, for each splice moves what is behind it;
 * `send`: and tell the editor. */
static int apply_delta(struct cv_mirror *m, const struct cv_delta *delta,
                       bool send)
{
    struct cv_writer now;
    size_t at, deleted;
    int err;

    cv_writer_init_heap(&now, SIZE_MAX / 2);
    err = cv_delta_span(delta, m->text.data, &at, &deleted, &now);
    if (err == CV_OK && send)
        err = send_joined(m, at, deleted, cv_writer_bytes(&now));
    else if (err == CV_OK)
        err = cv_textbuf_splice(&m->text, at, deleted, cv_writer_bytes(&now));
    cv_writer_fini(&now);
    return err;
}

/* What lies between the changes of a joined one stays: nobody's text and no
 * place there may move to its ends. */
static int pending_delta(const struct pending *p, struct cv_delta *out)
{
    struct cv_bytes old = CV_BYTES(p->bytes, p->deleted);
    struct cv_bytes now = CV_BYTES(p->bytes + p->deleted, p->inserted);
    struct builder b = {.delta = out, .base = p->at};

    cv_delta_clear(out);
    if (p->joined) {
        int err = cv_textdiff(old, now, build_splice, &b);

        return err != CV_OK ? err : b.err;
    }
    build_splice(&b, 0, p->deleted, now);
    return b.err;
}

/* Send the edits old[n] again, each moved over the change; the change ends up
 * moved over all of them. */
static int rebase(struct cv_mirror *m, struct cv_delta *change,
                  const struct pending *old, size_t n)
{
    struct cv_delta edit, moved, next;
    int err = CV_OK;

    cv_delta_init(&edit);
    cv_delta_init(&moved);
    cv_delta_init(&next);
    for (size_t i = 0; err == CV_OK && i < n; i++) {
        struct cv_delta swap;

        err = pending_delta(&old[i], &edit);
        if (err == CV_OK)
            err = cv_delta_over(&moved, &edit, change, false);
        if (err == CV_OK)
            err = cv_delta_over(&next, change, &edit, true);
        if (err == CV_OK)
            err = old[i].joined ? apply_delta(m, &moved, true)
                                : cv_delta_splices(&moved, splice_send, m);
        swap = *change;
        *change = next;
        next = swap;
    }
    cv_delta_fini(&edit);
    cv_delta_fini(&moved);
    cv_delta_fini(&next);
    return err;
}

static bool lines_ok(const struct cv_mirror_change *c)
{
    for (size_t i = 0; i < c->n_lines; i++)
        if ((c->lines[i].len &&
             (memchr(c->lines[i].data, '\n', c->lines[i].len) ||
              memchr(c->lines[i].data, '\0', c->lines[i].len))) ||
            !cv_utf8_valid(c->lines[i].data, c->lines[i].len))
            return false;
    return true;
}

int cv_mirror_change(struct cv_mirror *m, const struct cv_mirror_change *change)
{
    struct pending *old;
    size_t n, first;
    struct cv_delta delta;
    int err;

    if (!lines_ok(change))
        return CV_ERR_FORMAT;
    err = cv_mirror_ack(m, change->rev);
    if (err != CV_OK)
        return err;

    cv_delta_init(&delta);
    err = undo_pending(m);
    if (err == CV_OK)
        err = line_delta(m, change, &delta);
    if (err == CV_ERR_INVALID) {
        cv_delta_fini(&delta);
        return redo_pending(m) == CV_OK ? CV_ERR_INVALID : CV_ERR_NOMEM;
    }
    m->erev++;
    if (err == CV_OK)
        err = apply_delta(m, &delta, false);

    /* From here the editor drops what it has not applied. */
    old = m->pending;
    n = m->n;
    first = m->first;
    m->pending = NULL;
    m->first = m->n = m->cap = 0;
    if (err == CV_OK)
        err = rebase(m, &delta, n ? old + first : NULL, n);
    if (err == CV_OK)
        err = cv_delta_splices(&delta, m->events->splice, m->user);
    tell_eol(m);
    for (size_t i = 0; i < n; i++)
        free(old[first + i].bytes);
    free(old);
    cv_delta_fini(&delta);
    return err;
}

/* --- places --- */

int cv_mirror_offset(struct cv_mirror *m, uint64_t rev, size_t line,
                     size_t column, size_t *at)
{
    size_t start, end, offset;
    struct cv_delta delta;
    int err = cv_mirror_ack(m, rev);

    if (err != CV_OK)
        return err;
    err = undo_pending(m);
    if (err != CV_OK)
        return err;
    if (line < 1)
        line = 1;
    if (line > cv_mirror_lines(m))
        line = cv_mirror_lines(m);
    start = cv_textbuf_line_start(&m->text, line - 1);
    end = cv_textbuf_line_start(&m->text, line) - 1;
    if (end > m->text.len || end < start) /* the empty text has no LF */
        end = start;
    offset = column < end - start ? start + column : end;
    while (offset > start && offset < m->text.len &&
           is_continuation((uint8_t)m->text.data[offset]))
        offset--;
    err = redo_pending(m);

    cv_delta_init(&delta);
    for (size_t i = 0; err == CV_OK && i < m->n; i++) {
        err = pending_delta(&m->pending[m->first + i], &delta);
        if (err == CV_OK)
            offset = cv_delta_position(&delta, offset);
    }
    cv_delta_fini(&delta);
    *at = offset;
    return err;
}

void cv_mirror_place(struct cv_mirror *m, size_t at, size_t *line,
                     size_t *column)
{
    size_t most = shown(&m->text);

    cv_textbuf_locate(&m->text, at < most ? at : most, line, column);
    (*line)++;
}
