#include "discovery/name.h"

#include <string.h>

/* Control characters, and those that turn the direction of the text around. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
           c == 0x061c || c == 0x200e || c == 0x200f;
}

static size_t utf8_len(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static uint32_t utf8_code(const uint8_t *s, size_t len)
{
    static const uint8_t mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & mask[len];

    for (size_t i = 1; i < len; i++)
        c = c << 6 | (s[i] & 0x3fu);
    return c;
}

void cv_name_clean(char out[CV_NAME_MAX + 1], const char *in)
{
    const size_t n = strlen(in);
    size_t len = 0;

    memset(out, 0, CV_NAME_MAX + 1);
    if (!cv_utf8_valid(in, n))
        return;
    for (size_t i = 0; i < n;) {
        const uint8_t *at = (const uint8_t *)in + i;
        const size_t one = utf8_len(*at);

        i += one;
        if (is_control(utf8_code(at, one)))
            continue;
        if (len + one > CV_NAME_MAX)
            return;
        memcpy(out + len, at, one);
        len += one;
    }
}
