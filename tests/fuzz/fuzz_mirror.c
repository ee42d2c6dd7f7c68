/* Changes of an editor and of a document, as the bytes say, in any order and
 * with any numbers: refused or done, but always the same text at the end. */
#include <stdlib.h>
#include <string.h>

#include "cli/mirror.h"
#include "cli/textbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int on_splice(void *user, size_t at, size_t deleted,
                     struct cv_bytes inserted)
{
    struct cv_textbuf *document = user;

    if (at > document->len || deleted > document->len - at)
        abort();
    return cv_textbuf_splice(document, at, deleted, inserted);
}

static void on_edit(void *user, const struct cv_mirror_edit *edit)
{
    (void)user;
    if (edit->range.line < 1 || edit->range.end_line < edit->range.line)
        abort();
}

static void on_eol(void *user, bool eol)
{
    (void)user;
    (void)eol;
}

static const struct cv_mirror_events events = {on_splice, on_edit, on_eol};

static void change(struct cv_mirror *m, struct cv_reader *r)
{
    struct cv_bytes lines[4];
    struct cv_mirror_change c = {.lines = lines};
    uint8_t flags = cv_get_u8(r);

    c.rev = cv_mirror_rev(m) + cv_get_u8(r) % 4;
    c.lo = cv_get_u8(r) % 8;
    c.tail = cv_get_u8(r) % 8;
    c.n_lines = flags & 3;
    c.has_eol = flags & 4;
    c.eol = flags & 8;
    c.has_cursor = flags & 16;
    c.cursor_line = c.lo + (flags >> 6);
    c.cursor_column = flags >> 5;
    for (size_t i = 0; i < c.n_lines; i++)
        lines[i] = cv_get_varbytes(r, 16);
    (void)!cv_mirror_change(m, &c);
}

static void remote(struct cv_mirror *m, struct cv_textbuf *document,
                   struct cv_reader *r)
{
    size_t at = cv_get_u8(r), deleted = cv_get_u8(r) % 16;
    struct cv_bytes text = cv_get_varstring(r, 16);

    if (at > document->len || deleted > document->len - at)
        return;
    if (cv_textbuf_splice(document, at, deleted, text) != CV_OK ||
        cv_mirror_remote(m, at, deleted, text) != CV_OK)
        abort();
    if (!cv_utf8_valid(document->data, document->len)) {
        /* A document never cuts a character; nor do we go on from it. */
        r->at = r->end;
        r->err = CV_ERR_FORMAT;
    }
}

/* Two at once, told as one. */
static void join(struct cv_mirror *m, struct cv_textbuf *document,
                 struct cv_reader *r)
{
    for (int i = 0; i < 2; i++) {
        size_t at = cv_get_u8(r), deleted = cv_get_u8(r) % 16;
        struct cv_bytes text = cv_get_varstring(r, 16);

        if (at <= document->len && deleted <= document->len - at &&
            cv_textbuf_splice(document, at, deleted, text) != CV_OK)
            abort();
    }
    if (!cv_utf8_valid(document->data, document->len)) {
        r->at = r->end;
        r->err = CV_ERR_FORMAT;
    }
    if (cv_mirror_join(m, CV_BYTES(document->data, document->len)) != CV_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cv_textbuf document;
    struct cv_mirror *m;
    struct cv_reader r;
    struct cv_bytes text;
    size_t at;

    cv_textbuf_init(&document);
    cv_reader_init(&r, data, len);
    text = cv_get_varstring(&r, 64);
    if (cv_textbuf_splice(&document, 0, 0, text) != CV_OK ||
        cv_mirror_new(&m, text, len & 1, &events, &document) != CV_OK)
        abort();
    while (cv_reader_left(&r)) {
        switch (cv_get_u8(&r) % 5) {
        case 4:
            join(m, &document, &r);
            break;
        case 0:
            remote(m, &document, &r);
            break;
        case 1:
            (void)!cv_mirror_ack(m, cv_mirror_rev(m) + cv_get_u8(&r) % 4);
            break;
        case 2:
            (void)!cv_mirror_offset(m, cv_mirror_rev(m), cv_get_u8(&r),
                                    cv_get_u8(&r), &at);
            break;
        default:
            change(m, &r);
        }
        text = cv_mirror_text(m);
        if (text.len != document.len ||
            (text.len && memcmp(text.data, document.data, text.len) != 0))
            abort();
    }
    cv_mirror_free(m);
    cv_textbuf_fini(&document);
    return 0;
}
