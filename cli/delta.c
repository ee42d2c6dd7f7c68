#include "cli/delta.h"

#include <stdlib.h>
#include <string.h>

void cv_delta_init(struct cv_delta *d)
{
    memset(d, 0, sizeof(*d));
}

void cv_delta_fini(struct cv_delta *d)
{
    free(d->steps);
    free(d->text);
    cv_delta_init(d);
}

void cv_delta_clear(struct cv_delta *d)
{
    d->n = 0;
    d->text_len = 0;
}

static int push(struct cv_delta *d, enum cv_step_kind kind, size_t len,
                size_t text)
{
    struct cv_step *last = d->n ? &d->steps[d->n - 1] : NULL;

    if (!len)
        return CV_OK;
    if (last && last->kind == kind) {
        last->len += len;
        return CV_OK;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 8;
        struct cv_step *steps = realloc(d->steps, cap * sizeof(*steps));

        if (!steps)
            return CV_ERR_NOMEM;
        d->steps = steps;
        d->cap = cap;
    }
    d->steps[d->n++] = (struct cv_step){kind, len, text};
    return CV_OK;
}

int cv_delta_keep(struct cv_delta *d, size_t len)
{
    return push(d, CV_STEP_KEEP, len, 0);
}

int cv_delta_delete(struct cv_delta *d, size_t len)
{
    return push(d, CV_STEP_DELETE, len, 0);
}

int cv_delta_insert(struct cv_delta *d, struct cv_bytes text)
{
    size_t need = d->text_len + text.len;
    int err;

    if (!text.len)
        return CV_OK;
    if (need > d->text_cap) {
        size_t cap = need > 2 * d->text_cap ? need : 2 * d->text_cap;
        uint8_t *data = realloc(d->text, cap);

        if (!data)
            return CV_ERR_NOMEM;
        d->text = data;
        d->text_cap = cap;
    }
    err = push(d, CV_STEP_INSERT, text.len, d->text_len);
    if (err != CV_OK)
        return err;
    memcpy(d->text + d->text_len, text.data, text.len);
    d->text_len = need;
    return CV_OK;
}

/* Reads a delta step by step, in pieces of any size; past the end it keeps. */
struct cursor {
    const struct cv_delta *d;
    size_t i;    /* the step */
    size_t used; /* of it */
};

static enum cv_step_kind cursor_kind(const struct cursor *c)
{
    return c->i < c->d->n ? c->d->steps[c->i].kind : CV_STEP_KEEP;
}

static size_t cursor_left(const struct cursor *c)
{
    return c->i < c->d->n ? c->d->steps[c->i].len - c->used : SIZE_MAX;
}

static struct cv_bytes cursor_text(const struct cursor *c, size_t len)
{
    return (struct cv_bytes){c->d->text + c->d->steps[c->i].text + c->used,
                             len};
}

static void cursor_skip(struct cursor *c, size_t len)
{
    if (c->i == c->d->n)
        return;
    c->used += len;
    if (c->used == c->d->steps[c->i].len) {
        c->i++;
        c->used = 0;
    }
}

static int over_insert(struct cv_delta *out, struct cursor *a)
{
    size_t len = cursor_left(a);
    int err = cv_delta_insert(out, cursor_text(a, len));

    cursor_skip(a, len);
    return err;
}

int cv_delta_over(struct cv_delta *out, const struct cv_delta *a,
                  const struct cv_delta *b, bool a_first)
{
    struct cursor ca = {a, 0, 0}, cb = {b, 0, 0};
    int err = CV_OK;

    cv_delta_clear(out);
    while (err == CV_OK && ca.i < a->n) {
        bool a_inserts = cursor_kind(&ca) == CV_STEP_INSERT;
        bool b_inserts = cursor_kind(&cb) == CV_STEP_INSERT;
        size_t len;

        if (a_inserts && (a_first || !b_inserts)) {
            err = over_insert(out, &ca);
            continue;
        }
        len = cursor_left(&cb);
        if (b_inserts) {
            err = cv_delta_keep(out, len);
            cursor_skip(&cb, len);
            continue;
        }
        if (cursor_left(&ca) < len)
            len = cursor_left(&ca);
        /* What b deleted is gone for a, too. */
        if (cursor_kind(&cb) != CV_STEP_DELETE)
            err = push(out, cursor_kind(&ca), len, 0);
        cursor_skip(&ca, len);
        cursor_skip(&cb, len);
    }
    return err;
}

size_t cv_delta_position(const struct cv_delta *d, size_t at)
{
    size_t left = at, moved = 0;

    for (size_t i = 0; i < d->n; i++) {
        const struct cv_step *s = &d->steps[i];

        if (s->kind == CV_STEP_INSERT) {
            if (!left)
                return moved;
            moved += s->len;
            continue;
        }
        if (s->len >= left)
            return s->kind == CV_STEP_KEEP ? moved + left : moved;
        left -= s->len;
        if (s->kind == CV_STEP_KEEP)
            moved += s->len;
    }
    return moved + left;
}

int cv_delta_span(const struct cv_delta *d, const void *text, size_t *at,
                  size_t *deleted, struct cv_writer *out)
{
    size_t first = 0, end = d->n, old;

    *at = *deleted = 0;
    if (end && d->steps[0].kind == CV_STEP_KEEP)
        *at = d->steps[first++].len;
    if (end > first && d->steps[end - 1].kind == CV_STEP_KEEP)
        end--;
    old = *at;
    for (size_t i = first; i < end; i++) {
        const struct cv_step *s = &d->steps[i];

        if (s->kind == CV_STEP_KEEP)
            cv_put_raw(out, (const uint8_t *)text + old, s->len);
        else if (s->kind == CV_STEP_INSERT)
            cv_put_raw(out, d->text + s->text, s->len);
        if (s->kind != CV_STEP_INSERT)
            old += s->len;
    }
    *deleted = old - *at;
    return out->err;
}

int cv_delta_splices(const struct cv_delta *d,
                     int (*fn)(void *user, size_t at, size_t deleted,
                               struct cv_bytes inserted),
                     void *user)
{
    size_t at = 0, i = 0;
    int err;

    while (i < d->n) {
        size_t deleted = 0;
        struct cv_bytes text = {NULL, 0};

        if (d->steps[i].kind == CV_STEP_KEEP) {
            at += d->steps[i++].len;
            continue;
        }
        for (; i < d->n && d->steps[i].kind != CV_STEP_KEEP; i++) {
            const struct cv_step *s = &d->steps[i];

            if (s->kind == CV_STEP_DELETE)
                deleted += s->len;
            else if (text.len) /* insert, delete, insert: two calls */
                break;
            else
                text = (struct cv_bytes){d->text + s->text, s->len};
        }
        err = fn(user, at, deleted, text);
        if (err != CV_OK)
            return err;
        at += text.len;
    }
    return CV_OK;
}
