#include "crdt/any.h"

void cv_any_skip(struct cv_reader *r, unsigned depth)
{
    uint64_t n;

    switch (cv_get_u8(r)) {
    case CV_ANY_UNDEFINED:
    case CV_ANY_NULL:
    case CV_ANY_TRUE:
    case CV_ANY_FALSE:
        return;
    case CV_ANY_INTEGER:
        cv_get_varint(r);
        return;
    case CV_ANY_FLOAT32:
        cv_get_bytes(r, 4);
        return;
    case CV_ANY_FLOAT64:
    case CV_ANY_INT64:
        cv_get_bytes(r, 8);
        return;
    case CV_ANY_STRING:
        cv_get_varstring(r, SIZE_MAX);
        return;
    case CV_ANY_BYTES:
        cv_get_varbytes(r, SIZE_MAX);
        return;
    case CV_ANY_OBJECT:
        n = cv_get_varuint(r);
        if (depth == 0 || n > cv_reader_left(r) / 2)
            break;
        for (; n > 0 && r->err == CV_OK; n--) {
            cv_get_varstring(r, SIZE_MAX);
            cv_any_skip(r, depth - 1);
        }
        return;
    case CV_ANY_ARRAY:
        n = cv_get_varuint(r);
        if (depth == 0 || n > cv_reader_left(r))
            break;
        for (; n > 0 && r->err == CV_OK; n--)
            cv_any_skip(r, depth - 1);
        return;
    default:
        break;
    }
    cv_reader_fail(r);
}

int cv_put_any_string(struct cv_writer *w, const void *text, size_t len)
{
    cv_put_u8(w, CV_ANY_STRING);
    return cv_put_varbytes(w, text, len);
}

int cv_put_any_integer(struct cv_writer *w, int32_t v)
{
    cv_put_u8(w, CV_ANY_INTEGER);
    return cv_put_varint(w, v);
}

int cv_put_any_bool(struct cv_writer *w, bool v)
{
    return cv_put_u8(w, v ? CV_ANY_TRUE : CV_ANY_FALSE);
}

int cv_put_any_null(struct cv_writer *w)
{
    return cv_put_u8(w, CV_ANY_NULL);
}

bool cv_any_string(struct cv_bytes any, struct cv_bytes *text)
{
    struct cv_reader r;

    cv_reader_init(&r, any.data, any.len);
    if (cv_get_u8(&r) != CV_ANY_STRING)
        return false;
    *text = cv_get_varstring(&r, SIZE_MAX);
    return cv_reader_end(&r) == CV_OK;
}

bool cv_any_integer(struct cv_bytes any, int64_t *v)
{
    struct cv_reader r;

    cv_reader_init(&r, any.data, any.len);
    if (cv_get_u8(&r) != CV_ANY_INTEGER)
        return false;
    *v = cv_get_varint(&r);
    return cv_reader_end(&r) == CV_OK;
}

bool cv_any_bool(struct cv_bytes any, bool *v)
{
    if (any.len != 1 ||
        (any.data[0] != CV_ANY_TRUE && any.data[0] != CV_ANY_FALSE))
        return false;
    *v = any.data[0] == CV_ANY_TRUE;
    return true;
}
