/* crdt/json.h - is this text JSON, and not too deep?  Nothing is kept. */
#ifndef CV_CRDT_JSON_H
#define CV_CRDT_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CV_JSON_DEPTH_MAX 64

/* One JSON value (RFC 8259) with nothing but white space around it, nested at
 * most CV_JSON_DEPTH_MAX deep.  The text must be valid UTF-8 already. */
bool cv_json_valid(const uint8_t *text, size_t len);

/* What the value is, from its first character: '{', '[', '"', 'n' for null,
 * 't', 'f', '0' for a number; 0 for empty text.  For valid JSON. */
char cv_json_kind(const uint8_t *text, size_t len);
#endif
