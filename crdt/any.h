/* crdt/any.h - the self-describing values of map entries (lib0 `any`).
 *
 *   any := u8 tag, ...: 127 undefined; 126 null; 125 varint; 124 float32;
 *   123 float64; 122 int64; 121 false; 120 true; 119 string; 118 object:
 *   varuint n, n * (string key, any); 117 array: varuint n, n * any; 116 bytes
 */
#ifndef CV_CRDT_ANY_H
#define CV_CRDT_ANY_H
#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>

enum cv_any_tag {
    CV_ANY_BYTES = 116,
    CV_ANY_ARRAY = 117,
    CV_ANY_OBJECT = 118,
    CV_ANY_STRING = 119,
    CV_ANY_TRUE = 120,
    CV_ANY_FALSE = 121,
    CV_ANY_INT64 = 122,
    CV_ANY_FLOAT64 = 123,
    CV_ANY_FLOAT32 = 124,
    CV_ANY_INTEGER = 125,
    CV_ANY_NULL = 126,
    CV_ANY_UNDEFINED = 127,
};

/* Step over one value, checking it; the reader fails when it is malformed or
 * nested deeper than `depth`. */
void cv_any_skip(struct cv_reader *r, unsigned depth);

/* Writers of the common values; containers are written by hand: tag, count,
 * then the elements. */
int cv_put_any_string(struct cv_writer *w, const void *text, size_t len);
int cv_put_any_integer(struct cv_writer *w, int32_t v);
int cv_put_any_bool(struct cv_writer *w, bool v);
int cv_put_any_null(struct cv_writer *w);

/* Readers of a whole value: false if it is of another kind. */
bool cv_any_string(struct cv_bytes any, struct cv_bytes *text);
bool cv_any_integer(struct cv_bytes any, int64_t *v);
bool cv_any_bool(struct cv_bytes any, bool *v);
#endif
