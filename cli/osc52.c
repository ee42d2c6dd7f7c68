#include "cli/osc52.h"

#include <stdio.h>
#include <string.h>

#include "base/keytext.h"

static size_t base64(char *out, const char *text, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;

    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)(uint8_t)text[i] << 16;

        if (i + 1 < len)
            v |= (unsigned)(uint8_t)text[i + 1] << 8;
        if (i + 2 < len)
            v |= (uint8_t)text[i + 2];
        out[n++] = digits[v >> 18];
        out[n++] = digits[(v >> 12) & 63];
        out[n++] = i + 1 < len ? digits[(v >> 6) & 63] : '=';
        out[n++] = i + 2 < len ? digits[v & 63] : '=';
    }
    return n;
}

void cv_osc52_put_key(struct cv_json_out *o, const struct cv_key *session)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION, .key = *session};
    char key[CV_KEYTEXT_MAX], sequence[2 * CV_KEYTEXT_MAX + 16];
    size_t n = (size_t)snprintf(sequence, sizeof(sequence), "\033]52;c;");

    cv_keytext_format(&text, key);
    n += base64(sequence + n, key, strlen(key));
    sequence[n++] = '\a';
    cv_json_put_string(o, "osc52", CV_BYTES(sequence, n));
}
