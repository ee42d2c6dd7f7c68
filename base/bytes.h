/* base/bytes.h - the one bounded reader and writer.
 *
 * Both are sticky: after the first failure every later call fails the same way
 * and changes nothing, so a codec reads or writes a whole record and looks at
 * the error once.  Fixed-size integers are big-endian; `varuint` and `varint`
 * are the variable-length numbers of the document format (lib0). */
#ifndef CV_BASE_BYTES_H
#define CV_BASE_BYTES_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest number that `varuint` carries: 2^53 - 1. */
#define CV_VARUINT_MAX ((UINT64_C(1) << 53) - 1)

/* Borrowed bytes. */
struct cv_bytes {
    const uint8_t *data;
    size_t len;
};

#define CV_BYTES(p, n) ((struct cv_bytes){(const uint8_t *)(p), (n)})
#define CV_LITERAL(s)  CV_BYTES(s, sizeof(s) - 1)

/* Not for secrets: cv_equal() of base/crypto.h. */
bool cv_bytes_equal(struct cv_bytes a, struct cv_bytes b);

struct cv_reader {
    const uint8_t *at;  /* the next byte */
    const uint8_t *end; /* one past the last */
    int err;            /* CV_OK or CV_ERR_FORMAT */
};

void cv_reader_init(struct cv_reader *r, const void *data, size_t len);

/* Bytes that are left; 0 after a failure. */
size_t cv_reader_left(const struct cv_reader *r);

/* Fail from outside, e.g. for a value out of its range. */
void cv_reader_fail(struct cv_reader *r);

/* CV_OK if nothing failed and nothing is left, else CV_ERR_FORMAT. */
int cv_reader_end(const struct cv_reader *r);

/* Each returns 0 (or empty bytes) after a failure. */
uint8_t cv_get_u8(struct cv_reader *r);
uint16_t cv_get_u16(struct cv_reader *r);
uint32_t cv_get_u32(struct cv_reader *r);
uint64_t cv_get_u64(struct cv_reader *r);
/* LEB128, at most 8 bytes and 2^53 - 1; longer than needed is accepted. */
uint64_t cv_get_varuint(struct cv_reader *r);
/* Sign in bit 6 of the first byte; magnitude at most 2^53 - 1. */
int64_t cv_get_varint(struct cv_reader *r);
/* Copy exactly `len` bytes into `out` (zeros after a failure). */
void cv_get_raw(struct cv_reader *r, void *out, size_t len);
/* Borrow exactly `len` bytes. */
struct cv_bytes cv_get_bytes(struct cv_reader *r, size_t len);
/* varuint length, then the bytes; fails above `max`. */
struct cv_bytes cv_get_varbytes(struct cv_reader *r, size_t max);
/* The same, and the bytes must be UTF-8. */
struct cv_bytes cv_get_varstring(struct cv_reader *r, size_t max);

/* A writer into the caller's storage, or into heap memory that grows up to a
 * named maximum. */
struct cv_writer {
    uint8_t *data;
    size_t len; /* written so far */
    size_t cap;
    size_t max; /* never grows beyond; == cap for fixed storage */
    int err;    /* CV_OK, CV_ERR_NOBUF or CV_ERR_NOMEM */
    bool heap;
};

void cv_writer_init(struct cv_writer *w, void *storage, size_t cap);
void cv_writer_init_heap(struct cv_writer *w, size_t max);
/* Release heap storage and clear; harmless on fixed storage. */
void cv_writer_fini(struct cv_writer *w);
/* Forget the content and the error, keep the storage. */
static inline void cv_writer_reset(struct cv_writer *w)
{
    w->len = 0;
    w->err = CV_OK;
}
/* Hand over the heap storage (caller frees with free()); NULL when empty or
 * failed.  The writer is as new. */
uint8_t *cv_writer_take(struct cv_writer *w, size_t *len);
/* What was written. */
struct cv_bytes cv_writer_bytes(const struct cv_writer *w);

/* All return w->err. */
int cv_put_u8(struct cv_writer *w, uint8_t v);
int cv_put_u16(struct cv_writer *w, uint16_t v);
int cv_put_u32(struct cv_writer *w, uint32_t v);
int cv_put_u64(struct cv_writer *w, uint64_t v);
int cv_put_varuint(struct cv_writer *w, uint64_t v); /* v <= CV_VARUINT_MAX */
int cv_put_varint(struct cv_writer *w, int64_t v);
int cv_put_raw(struct cv_writer *w, const void *data, size_t len);
int cv_put_varbytes(struct cv_writer *w, const void *data, size_t len);
int cv_put_zeros(struct cv_writer *w, size_t len);
/* Make room for `len` bytes and hand out where they go; NULL on failure. */
uint8_t *cv_put_space(struct cv_writer *w, size_t len);

/* UTF-8 as of RFC 3629: no surrogates, no overlong forms. */
bool cv_utf8_valid(const void *data, size_t len);

/* Lower-case hex; `out` holds 2 * len + 1. */
void cv_hex(char *out, const void *data, size_t len);
/* RFC 4648, 4, with padding; `out` holds 4 * ((len + 2) / 3) + 1. */
void cv_base64(char *out, const void *data, size_t len);
/* CV_ERR_FORMAT unless `text` is exactly 2 * len hex digits. */
int cv_unhex(void *out, size_t len, const char *text);
#endif
