#include "base/keytext.h"
#include "transport/gateframe.h"
#include <stdio.h>
#include <string.h>

#define PORT 443

#define WSS "wss://"

/* What may stand in a request: visible, and nothing that means more. */
static bool take_path(struct cv_gate_name *out, const char *path)
{
    size_t len = strlen(path);

    if (len <= 1) {
        strcpy(out->path, CV_GATE_PATH);
        return true;
    }
    for (size_t i = 0; i < len; i++)
        if (path[i] <= ' ' || path[i] > '~' || path[i] == '#')
            return false;
    if (len >= sizeof out->path)
        return false;
    memcpy(out->path, path, len + 1);
    return true;
}

/* "HOST:PORT" or "wss://HOST:PORT/PATH". */
static bool take_place(struct cv_gate_name *out, const char *text)
{
    bool proxied = strncmp(text, WSS, strlen(WSS)) == 0;
    char place[300];
    size_t len;

    if (proxied)
        text += strlen(WSS);
    len = proxied ? strcspn(text, "/") : strlen(text);
    if (len == 0 || len >= sizeof place ||
        (proxied && !take_path(out, text + len)))
        return false;
    memcpy(place, text, len);
    place[len] = '\0';
    return cv_host_port_parse(place, PORT, out->host, &out->port) == CV_OK;
}

int cv_gate_name_parse(struct cv_gate_name *out, const char *text, char *why,
                       size_t why_len)
{
    const char *at = strchr(text, '@');
    struct cv_keytext key;
    char head[CV_KEYTEXT_MAX * 2];

    memset(out, 0, sizeof *out);
    if (!at || at == text || at[1] == '\0') {
        snprintf(why, why_len,
                 "a gate is named covimgate1…@HOST:PORT, as \"covim-gate "
                 "--print-name\" shows it: the key comes first, so that nobody "
                 "else can answer in its place");
        return CV_ERR_FORMAT;
    }
    if ((size_t)(at - text) >= sizeof head) {
        snprintf(why, why_len,
                 "what stands before the @ is too long for a "
                 "gate's key");
        return CV_ERR_FORMAT;
    }
    memcpy(head, text, (size_t)(at - text));
    head[at - text] = '\0';
    if (cv_keytext_parse(&key, CV_KEYTEXT_GATE, head, why, why_len) != CV_OK)
        return CV_ERR_FORMAT;
    out->key = key.key;
    if (!take_place(out, at + 1)) {
        snprintf(why, why_len,
                 "what stands after the @ has to be HOST, HOST:PORT or "
                 "[IPV6]:PORT, or wss://HOST:PORT/PATH for a gate behind a "
                 "reverse proxy");
        return CV_ERR_FORMAT;
    }
    return CV_OK;
}

char *cv_gate_name_format(const struct cv_gate_name *name,
                          char out[CV_GATE_NAME_TEXT])
{
    struct cv_keytext key = {.kind = CV_KEYTEXT_GATE, .key = name->key};
    char text[CV_KEYTEXT_MAX];
    bool v6 = strchr(name->host, ':') != NULL;

    snprintf(out, CV_GATE_NAME_TEXT, "%s@%s%s%s%s:%u%s",
             cv_keytext_format(&key, text), name->path[0] ? WSS : "",
             v6 ? "[" : "", name->host, v6 ? "]" : "", (unsigned)name->port,
             name->path);
    return out;
}
