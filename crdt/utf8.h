/* crdt/utf8.h - counting in UTF-8, UTF-16 and lines.
 *
 * Except where it says so the text has been validated before. */
#ifndef CV_CRDT_UTF8_H
#define CV_CRDT_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* U+FFFD: what both halves of a surrogate pair become when it is cut. */
#define CV_UTF8_REPLACEMENT     "\xEF\xBF\xBD"
#define CV_UTF8_REPLACEMENT_LEN 3

bool cv_utf8_measure_long(const uint8_t *text, size_t len, size_t *units);
/* Validate (RFC 3629) and count UTF-16 units in one pass. */
static inline bool cv_utf8_measure(const uint8_t *text, size_t len,
                                   size_t *units)
{
    if (len == 1) { /* a key stroke */
        *units = 1;
        return text[0] < 0x80;
    }
    return cv_utf8_measure_long(text, len, units);
}

/* Text that is to be inserted, and what it weighs. */
struct cv_text {
    const uint8_t *data;
    size_t len;
    uint32_t units, newlines;
};
/* Validate and weigh it; `len` is below 2^32. */
bool cv_text_measure_long(struct cv_text *t);
/* The same of what is mostly a keystroke. */
static inline bool cv_text_measure(struct cv_text *t)
{
    if (t->len == 1) {
        t->units = 1;
        t->newlines = t->data[0] == '\n';
        return t->data[0] < 0x80;
    }
    return cv_text_measure_long(t);
}

/* UTF-16 units of valid text. */
size_t cv_utf8_units(const uint8_t *text, size_t len);

/* Byte offset of unit `units`; when that is the second half of a pair, the
 * offset of the pair and *inside = true.  `units` <= those of the text. */
size_t cv_utf8_offset(const uint8_t *text, size_t len, size_t units,
                      bool *inside);

/* Is there a character border before text[at]? (`at` < length) */
static inline bool cv_utf8_border(const uint8_t *text, size_t at)
{
    return (text[at] & 0xC0) != 0x80;
}

/* Bytes of the character that begins with this byte. */
static inline size_t cv_utf8_char_len(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

size_t cv_utf8_newlines_long(const uint8_t *text, size_t len);
/* '\n' characters. */
static inline size_t cv_utf8_newlines(const uint8_t *text, size_t len)
{
    if (len == 1)
        return text[0] == '\n';
    return cv_utf8_newlines_long(text, len);
}
/* Behind text that is `padded` so many bytes may be read; behind a copy that
 * is, so many may be written.  Mostly text is that short, and its length is
 * hard to foresee: a block of that size needs no loop and no branch. */
#define CV_UTF8_PAD 16
size_t cv_utf8_newlines_padded(const uint8_t *text, size_t len);
/* Is it ASCII?  Up to CV_UTF8_PAD bytes that are padded. */
bool cv_utf8_short_ascii(const uint8_t *text, size_t len);
/* Copy text; only the copy is padded. */
void cv_utf8_copy_padded(uint8_t *to, const uint8_t *text, size_t len);
/* Both are. */
static inline void cv_utf8_copy_block(uint8_t *to, const uint8_t *text,
                                      size_t len)
{
    if (len <= CV_UTF8_PAD)
        memcpy(to, text, CV_UTF8_PAD);
    else
        memcpy(to, text, len);
}
/* Offset behind the n-th (from 1) newline; there are that many. */
size_t cv_utf8_after_newline(const uint8_t *text, size_t len, size_t n);
#endif
