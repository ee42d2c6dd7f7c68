#include "cli/textbuf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TEXTBUF_MIN 4096u

void cv_textbuf_init(struct cv_textbuf *t)
{
    memset(t, 0, sizeof(*t));
}

void cv_textbuf_fini(struct cv_textbuf *t)
{
    free(t->data);
    cv_textbuf_init(t);
}

static size_t count_newlines(const char *data, size_t len)
{
    const char *end = data + len;
    size_t n = 0;

    while (data != end && (data = memchr(data, '\n', (size_t)(end - data)))) {
        n++;
        data++;
    }
    return n;
}

static int reserve(struct cv_textbuf *t, size_t need)
{
    size_t cap = t->cap ? t->cap : TEXTBUF_MIN;
    char *data;

    if (t->data && need <= t->cap)
        return CV_OK;
    while (cap < need) {
        if (cap > SIZE_MAX / 2)
            return CV_ERR_NOMEM;
        cap *= 2;
    }
    data = realloc(t->data, cap);
    if (!data)
        return CV_ERR_NOMEM;
    t->data = data;
    t->cap = cap;
    return CV_OK;
}

int cv_textbuf_splice(struct cv_textbuf *t, size_t at, size_t deleted,
                      struct cv_bytes inserted)
{
    size_t tail;
    int err;

    assert(at <= t->len && deleted <= t->len - at);
    if (inserted.len > SIZE_MAX - t->len)
        return CV_ERR_NOMEM;
    err = reserve(t, t->len - deleted + inserted.len);
    if (err != CV_OK)
        return err;

    /* The known line start is lost only if the change comes before it. */
    if (t->seen_at > at) {
        t->seen_at = 0;
        t->seen_line = 0;
    }
    if (deleted)
        t->newlines -= count_newlines(t->data + at, deleted);
    tail = t->len - at - deleted;
    if (tail)
        memmove(t->data + at + inserted.len, t->data + at + deleted, tail);
    if (inserted.len) {
        memcpy(t->data + at, inserted.data, inserted.len);
        t->newlines += count_newlines(t->data + at, inserted.len);
    }
    t->len = t->len - deleted + inserted.len;
    return CV_OK;
}

/* Walk from the known line start to the start of `line`. */
static size_t walk_to_line(struct cv_textbuf *t, size_t line)
{
    const char *hit;

    if (line < t->seen_line / 2) {
        t->seen_at = 0;
        t->seen_line = 0;
    }
    while (t->seen_line < line) {
        hit = memchr(t->data + t->seen_at, '\n', t->len - t->seen_at);
        assert(hit);
        t->seen_at = (size_t)(hit - t->data) + 1;
        t->seen_line++;
    }
    while (t->seen_line > line) {
        t->seen_at--; /* the LF that ends the line before */
        hit = t->seen_at ? memrchr(t->data, '\n', t->seen_at) : NULL;
        t->seen_at = hit ? (size_t)(hit - t->data) + 1 : 0;
        t->seen_line--;
    }
    return t->seen_at;
}

size_t cv_textbuf_line_start(struct cv_textbuf *t, size_t line)
{
    if (line > t->newlines)
        return t->len + 1;
    return walk_to_line(t, line);
}

void cv_textbuf_locate(struct cv_textbuf *t, size_t at, size_t *line,
                       size_t *column)
{
    size_t n, start;
    const char *hit;

    assert(at <= t->len);
    if (at >= t->seen_at)
        n = t->seen_line +
            (t->data ? count_newlines(t->data + t->seen_at, at - t->seen_at)
                     : 0);
    else
        n = t->seen_line - count_newlines(t->data + at, t->seen_at - at);
    hit = at ? memrchr(t->data, '\n', at) : NULL;
    start = hit ? (size_t)(hit - t->data) + 1 : 0;
    t->seen_at = start;
    t->seen_line = n;
    *line = n;
    *column = at - start;
}
