#include "crdt/json.h"

#include <string.h>

struct scan {
    const uint8_t *at, *end;
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' ||
                              *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != (uint8_t)c)
        return false;
    s->at++;
    return true;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
           (c >= 'A' && c <= 'F');
}

static bool word(struct scan *s, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, text, len) != 0)
        return false;
    s->at += len;
    return true;
}

static bool string(struct scan *s)
{
    if (!take(s, '"'))
        return false;
    while (s->at < s->end) {
        uint8_t c = *s->at++;

        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (s->at == s->end)
            return false;
        c = *s->at++;
        if (c == 'u') {
            for (int i = 0; i < 4; i++) {
                if (s->at == s->end || !is_hex(*s->at++))
                    return false;
            }
        } else if (c == 0 || strchr("\"\\/bfnrt", c) == NULL) {
            return false;
        }
    }
    return false;
}

static bool digits(struct scan *s)
{
    const uint8_t *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > start;
}

static bool number(struct scan *s)
{
    take(s, '-');
    if (!take(s, '0') && !digits(s))
        return false;
    if (take(s, '.') && !digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            take(s, '-');
        return digits(s);
    }
    return true;
}

static bool value(struct scan *s, unsigned depth);

static bool object(struct scan *s, unsigned depth)
{
    take(s, '{');
    skip_space(s);
    if (take(s, '}'))
        return true;
    do {
        skip_space(s);
        if (!string(s))
            return false;
        skip_space(s);
        if (!take(s, ':') || !value(s, depth))
            return false;
    } while (take(s, ','));
    return take(s, '}');
}

static bool array(struct scan *s, unsigned depth)
{
    take(s, '[');
    skip_space(s);
    if (take(s, ']'))
        return true;
    do {
        if (!value(s, depth))
            return false;
    } while (take(s, ','));
    return take(s, ']');
}

/* Also the white space on both sides. */
static bool value(struct scan *s, unsigned depth)
{
    bool ok;

    skip_space(s);
    if (s->at == s->end || depth == 0)
        return false;
    switch (*s->at) {
    case '{':
        ok = object(s, depth - 1);
        break;
    case '[':
        ok = array(s, depth - 1);
        break;
    case '"':
        ok = string(s);
        break;
    case 't':
        ok = word(s, "true");
        break;
    case 'f':
        ok = word(s, "false");
        break;
    case 'n':
        ok = word(s, "null");
        break;
    default:
        ok = number(s);
    }
    skip_space(s);
    return ok;
}

bool cv_json_valid(const uint8_t *text, size_t len)
{
    struct scan s = {text, text + len};

    return value(&s, CV_JSON_DEPTH_MAX) && s.at == s.end;
}

char cv_json_kind(const uint8_t *text, size_t len)
{
    struct scan s = {text, text + len};

    skip_space(&s);
    if (s.at == s.end)
        return 0;
    if (*s.at == '-' || (*s.at >= '0' && *s.at <= '9'))
        return '0';
    return (char)*s.at;
}
