/* cli/json.h - JSON in and out (RFC 8259): parsing through jansson, writing by
 * hand, since what we write is small, often and must not wait. */
#ifndef CV_CLI_JSON_H
#define CV_CLI_JSON_H
#include "base/bytes.h"
#include "base/err.h"
#include "base/time.h"

/* --- reading --- */

struct cv_json; /* a value; borrowed from the root that was parsed */

/* CV_ERR_FORMAT: not one JSON value, NUL in a string, or nested too deeply. */
CV_MUST_USE int cv_json_parse(struct cv_json **out, struct cv_bytes text);
void cv_json_free(struct cv_json *root);

/* All take NULL for "missing" and then answer that. */
const struct cv_json *cv_json_get(const struct cv_json *object,
                                  const char *key);
size_t cv_json_count(const struct cv_json *array); /* 0: not an array */
const struct cv_json *cv_json_at(const struct cv_json *array, size_t i);
bool cv_json_string(const struct cv_json *v, struct cv_bytes *out);
bool cv_json_uint(const struct cv_json *v, uint64_t *out);
bool cv_json_bool(const struct cv_json *v, bool *out);
/* The same on a member; false leaves `out` alone. */
bool cv_json_get_string(const struct cv_json *o, const char *key,
                        struct cv_bytes *out);
bool cv_json_get_uint(const struct cv_json *o, const char *key, uint64_t *out);
bool cv_json_get_int(const struct cv_json *o, const char *key, int64_t *out);
bool cv_json_get_bool(const struct cv_json *o, const char *key, bool *out);
/* Copy a member that is a string into out[len], cut at a character; false if
 * it is missing (then `out` is empty). */
bool cv_json_copy(const struct cv_json *o, const char *key, char *out,
                  size_t len);

/* --- writing --- */

struct cv_json_out {
    struct cv_writer *w; /* kept; its error is the error */
    bool comma;
};

void cv_json_out_init(struct cv_json_out *o, struct cv_writer *w);
/* `key` NULL inside an array or at the top; `bracket` is '{' or '['. */
void cv_json_begin(struct cv_json_out *o, const char *key, char bracket);
void cv_json_end(struct cv_json_out *o, char bracket); /* '}' or ']' */
/* `text` must be UTF-8. */
void cv_json_put_string(struct cv_json_out *o, const char *key,
                        struct cv_bytes text);
void cv_json_put_text(struct cv_json_out *o, const char *key, const char *text);
void cv_json_put_uint(struct cv_json_out *o, const char *key, uint64_t v);
void cv_json_put_int(struct cv_json_out *o, const char *key, int64_t v);
void cv_json_put_bool(struct cv_json_out *o, const char *key, bool v);
/* Milliseconds with three digits behind the point. */
void cv_json_put_ms(struct cv_json_out *o, const char *key, cv_time v);
void cv_json_put_null(struct cv_json_out *o, const char *key);
#endif
