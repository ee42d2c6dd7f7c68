#include "transport/http.h"
#include "base/crypto.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* RFC 6455, 1.3 */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

bool cv_http_header(const char *head, size_t len, const char *name, char *out,
                    size_t out_len)
{
    size_t name_len = strlen(name);
    const char *end = head + len, *line = head;
    bool found = false;

    while (line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        const char *v = line + name_len, *last;

        if (!eol)
            eol = end;
        if ((size_t)(eol - line) > name_len && v[0] == ':' &&
            strncasecmp(line, name, name_len) == 0) {
            for (v++; v < eol && (*v == ' ' || *v == '\t'); v++)
                ;
            for (last = eol; last > v && (last[-1] == '\r' || last[-1] == ' ' ||
                                          last[-1] == '\t');
                 last--)
                ;
            if ((size_t)(last - v) >= out_len)
                return false;
            memcpy(out, v, (size_t)(last - v));
            out[last - v] = '\0';
            found = true;
        }
        line = eol + 1;
    }
    return found;
}

bool cv_http_has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    while (*list) {
        size_t len;

        list += strspn(list, " \t,");
        len = strcspn(list, ",");
        if (len >= n && strncasecmp(list, word, n) == 0 &&
            (list[n] == '\0' || strchr(" \t,", list[n])))
            return true;
        list += len;
    }
    return false;
}

void cv_http_accept(char out[CV_HTTP_ACCEPT], const char *key)
{
    char joined[64 + sizeof GUID];
    struct cv_bytes part;
    uint8_t hash[20];

    snprintf(joined, sizeof joined, "%.63s%s", key, GUID);
    part = CV_BYTES(joined, strlen(joined));
    cv_sha1(hash, &part, 1);
    cv_base64(out, hash, sizeof hash);
}

static unsigned digit(char c)
{
    return (unsigned)(c - '0');
}

/* "HTTP/1.1 200 Connection established" in line[len]. */
static bool status_line(struct cv_http_answer *out, const char *line,
                        size_t len)
{
    size_t n = 0;

    if (len < 12 || strncasecmp(line, "HTTP/1.", 7) != 0 ||
        digit(line[7]) > 9 || line[8] != ' ' || digit(line[9]) > 9 ||
        digit(line[10]) > 9 || digit(line[11]) > 9 ||
        (len > 12 && line[12] != ' '))
        return false;
    out->status = 100 * digit(line[9]) + 10 * digit(line[10]) + digit(line[11]);
    /* A person may see it: nothing that moves a cursor. */
    for (size_t i = 13; i < len && n < sizeof out->reason - 1; i++)
        if (line[i] >= ' ' && line[i] <= '~')
            out->reason[n++] = line[i];
    return out->status >= 100 && out->status <= 599;
}

static void check_upgrade(struct cv_http_answer *out, const char *head,
                          size_t len)
{
    char value[256];

    out->upgraded =
        out->status == 101 &&
        cv_http_header(head, len, "Upgrade", value, sizeof value) &&
        cv_http_has_word(value, "websocket") &&
        cv_http_header(head, len, "Connection", value, sizeof value) &&
        cv_http_has_word(value, "upgrade") &&
        !cv_http_header(head, len, "Sec-WebSocket-Extensions", value,
                        sizeof value);
    if (!cv_http_header(head, len, "Sec-WebSocket-Accept", out->accept,
                        sizeof out->accept))
        out->accept[0] = '\0';
}

int cv_http_answer_parse(struct cv_http_answer *out, const uint8_t *data,
                         size_t len, size_t *used)
{
    size_t max = len < CV_HTTP_HEAD_MAX ? len : CV_HTTP_HEAD_MAX;
    const char *head = (const char *)data, *end, *eol;

    memset(out, 0, sizeof *out);
    *used = 0;
    if (max == 0)
        return CV_ERR_AGAIN;
    /* What is not HTTP need not come to an end to be seen as such. */
    if (strncasecmp(head, "HTTP/1.", max < 7 ? max : 7) != 0)
        return CV_ERR_FORMAT;
    end = memmem(data, max, "\r\n\r\n", 4);
    if (memchr(data, '\0', end ? (size_t)(end - head) : max))
        return CV_ERR_FORMAT;
    if (!end)
        return len < CV_HTTP_HEAD_MAX ? CV_ERR_AGAIN : CV_ERR_FORMAT;
    *used = (size_t)(end - head) + 4;
    eol = memchr(head, '\r', *used);
    if (!status_line(out, head, (size_t)(eol - head)))
        return CV_ERR_FORMAT;
    check_upgrade(out, eol + 2, end - eol > 2 ? (size_t)(end - eol - 2) : 0);
    return CV_OK;
}
