#include "cli/portal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void cv_portal_request(struct cv_writer *out, const char *host)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "GET / HTTP/1.0\r\nHost: %s\r\nUser-Agent: covim-doctor"
                     "\r\nConnection: close\r\n\r\n",
                     host);

    cv_put_raw(out, text, (size_t)n);
}

/* The next line without its end; false: there is no whole one. */
static bool next_line(struct cv_bytes *rest, struct cv_bytes *line)
{
    const uint8_t *end =
        rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;

    if (end == NULL)
        return false;
    *line = CV_BYTES(rest->data, (size_t)(end - rest->data));
    rest->len -= line->len + 1;
    rest->data = end + 1;
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->len--;
    return true;
}

static bool begins(struct cv_bytes line, const char *word)
{
    size_t len = strlen(word);

    return line.len >= len &&
           strncasecmp((const char *)line.data, word, len) == 0;
}

/* The host of an absolute URL after "Location:". */
static void host_of(struct cv_bytes line, char to[CV_PORTAL_HOST])
{
    size_t i = strlen("location:"), n = 0;

    while (i < line.len && line.data[i] == ' ')
        i++;
    while (i + 2 < line.len && memcmp(line.data + i, "://", 3) != 0)
        i++;
    for (i += 3; i < line.len && n < CV_PORTAL_HOST - 1; i++) {
        uint8_t c = line.data[i];

        if (c <= ' ' || c > '~' || strchr("/:?#\"\\", c) != NULL)
            break;
        to[n++] = (char)c;
    }
    to[n] = '\0';
}

enum cv_portal cv_portal_judge(struct cv_bytes answer, const char *host,
                               char to[CV_PORTAL_HOST])
{
    struct cv_bytes rest = answer, line;
    unsigned status = 0;

    to[0] = '\0';
    if (!next_line(&rest, &line) || !begins(line, "HTTP/1.") || line.len < 12)
        return CV_PORTAL_NONE;
    for (size_t i = 9; i < 12; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return CV_PORTAL_NONE;
        status = 10 * status + (unsigned)(line.data[i] - '0');
    }
    while (next_line(&rest, &line) && line.len > 0)
        if (begins(line, "location:"))
            host_of(line, to);
    if (status == 511)
        return CV_PORTAL_YES;
    if (status >= 300 && status < 400 && to[0] != '\0')
        return strcasecmp(to, host) == 0 ? CV_PORTAL_PAGE : CV_PORTAL_YES;
    return CV_PORTAL_PAGE;
}
