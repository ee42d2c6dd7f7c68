#include "cli/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* A value of ours is jansson's under another name. */
static const json_t *to_jansson(const struct cv_json *v)
{
    return (const json_t *)(const void *)v;
}

static const struct cv_json *from_jansson(const json_t *v)
{
    return (const struct cv_json *)(const void *)v;
}

int cv_json_parse(struct cv_json **out, struct cv_bytes text)
{
    json_error_t error;
    json_t *root =
        json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, &error);

    if (!root)
        return CV_ERR_FORMAT;
    *out = (struct cv_json *)(void *)root;
    return CV_OK;
}

void cv_json_free(struct cv_json *root)
{
    json_decref((json_t *)(void *)root);
}

const struct cv_json *cv_json_get(const struct cv_json *object, const char *key)
{
    return object ? from_jansson(json_object_get(to_jansson(object), key))
                  : NULL;
}

size_t cv_json_count(const struct cv_json *array)
{
    return array ? json_array_size(to_jansson(array)) : 0;
}

const struct cv_json *cv_json_at(const struct cv_json *array, size_t i)
{
    return array ? from_jansson(json_array_get(to_jansson(array), i)) : NULL;
}

bool cv_json_string(const struct cv_json *v, struct cv_bytes *out)
{
    const json_t *j = to_jansson(v);

    if (!v || !json_is_string(j))
        return false;
    *out = CV_BYTES(json_string_value(j), json_string_length(j));
    return true;
}

bool cv_json_uint(const struct cv_json *v, uint64_t *out)
{
    const json_t *j = to_jansson(v);

    if (!v || !json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

bool cv_json_bool(const struct cv_json *v, bool *out)
{
    const json_t *j = to_jansson(v);

    if (!v)
        return false;
    if (json_is_boolean(j))
        *out = json_is_true(j);
    else if (json_is_integer(j)) /* Vim has numbers for most truths */
        *out = json_integer_value(j) != 0;
    else
        return false;
    return true;
}

bool cv_json_get_string(const struct cv_json *o, const char *key,
                        struct cv_bytes *out)
{
    return cv_json_string(cv_json_get(o, key), out);
}

bool cv_json_get_uint(const struct cv_json *o, const char *key, uint64_t *out)
{
    return cv_json_uint(cv_json_get(o, key), out);
}

bool cv_json_get_int(const struct cv_json *o, const char *key, int64_t *out)
{
    const json_t *j = to_jansson(cv_json_get(o, key));

    if (!j || !json_is_integer(j))
        return false;
    *out = json_integer_value(j);
    return true;
}

bool cv_json_get_bool(const struct cv_json *o, const char *key, bool *out)
{
    return cv_json_bool(cv_json_get(o, key), out);
}

bool cv_json_copy(const struct cv_json *o, const char *key, char *out,
                  size_t len)
{
    struct cv_bytes text;
    size_t n;

    out[0] = '\0';
    if (!cv_json_get_string(o, key, &text))
        return false;
    n = text.len < len ? text.len : len - 1;
    while (n && n < text.len && (text.data[n] & 0xc0) == 0x80)
        n--;
    memcpy(out, text.data, n);
    out[n] = '\0';
    return true;
}

void cv_json_out_init(struct cv_json_out *o, struct cv_writer *w)
{
    o->w = w;
    o->comma = false;
}

static void put_raw_text(struct cv_json_out *o, const char *text)
{
    cv_put_raw(o->w, text, strlen(text));
}

static void put_quoted(struct cv_json_out *o, struct cv_bytes text)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;

    cv_put_u8(o->w, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        char escape[7] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], 0};

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        cv_put_raw(o->w, text.data + from, i - from);
        from = i + 1;
        if (c == '\n')
            put_raw_text(o, "\\n");
        else
            put_raw_text(o, escape);
    }
    if (text.len > from)
        cv_put_raw(o->w, text.data + from, text.len - from);
    cv_put_u8(o->w, '"');
}

static void put_key(struct cv_json_out *o, const char *key)
{
    if (o->comma)
        cv_put_u8(o->w, ',');
    o->comma = true;
    if (key) {
        put_quoted(o, CV_BYTES(key, strlen(key)));
        cv_put_u8(o->w, ':');
    }
}

void cv_json_begin(struct cv_json_out *o, const char *key, char bracket)
{
    put_key(o, key);
    cv_put_u8(o->w, (uint8_t)bracket);
    o->comma = false;
}

void cv_json_end(struct cv_json_out *o, char bracket)
{
    cv_put_u8(o->w, (uint8_t)bracket);
    o->comma = true;
}

void cv_json_put_string(struct cv_json_out *o, const char *key,
                        struct cv_bytes text)
{
    put_key(o, key);
    put_quoted(o, text);
}

void cv_json_put_text(struct cv_json_out *o, const char *key, const char *text)
{
    cv_json_put_string(o, key, CV_BYTES(text, strlen(text)));
}

void cv_json_put_uint(struct cv_json_out *o, const char *key, uint64_t v)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, v);
    put_key(o, key);
    put_raw_text(o, text);
}

void cv_json_put_int(struct cv_json_out *o, const char *key, int64_t v)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, v);
    put_key(o, key);
    put_raw_text(o, text);
}

void cv_json_put_ms(struct cv_json_out *o, const char *key, cv_time v)
{
    uint64_t us = (uint64_t)((v < 0 ? -v : v) / CV_MICROSECOND);
    char text[40];

    snprintf(text, sizeof(text), "%s%" PRIu64 ".%03" PRIu64, v < 0 ? "-" : "",
             us / 1000, us % 1000);
    put_key(o, key);
    put_raw_text(o, text);
}

void cv_json_put_bool(struct cv_json_out *o, const char *key, bool v)
{
    put_key(o, key);
    put_raw_text(o, v ? "true" : "false");
}

void cv_json_put_null(struct cv_json_out *o, const char *key)
{
    put_key(o, key);
    put_raw_text(o, "null");
}
