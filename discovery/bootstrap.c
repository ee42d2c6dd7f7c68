#include "discovery/bootstrap.h"

#include "base/addr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 4222 /* OpenDHT's */
#define BLANKS       " \t\r\n\v\f"

void cv_bootstrap_init(struct cv_bootstrap *b)
{
    memset(b, 0, sizeof(*b));
}

static void say(char *why, size_t why_len, const char *where, const char *what,
                const char *entry)
{
    if (why_len > 0)
        snprintf(why, why_len, "%s%s: \"%.64s\"", where, what, entry);
}

static bool plain_name(const char *host)
{
    for (; *host != '\0'; host++) {
        if ((unsigned char)*host <= ' ' || *host == 0x7f)
            return false;
    }
    return true;
}

static int add_one(struct cv_bootstrap *b, const char *entry, const char *where,
                   char *why, size_t why_len)
{
    char node[CV_BOOTSTRAP_TEXT + 8], host[256];
    uint16_t port;

    if (strcmp(entry, "none") == 0) {
        b->none = true;
        return CV_OK;
    }
    if (cv_host_port_parse(entry, DEFAULT_PORT, host, &port) != CV_OK ||
        port == 0 || host[0] == '\0' || !plain_name(host)) {
        say(why, why_len, where, "not a HOST:PORT", entry);
        return CV_ERR_FORMAT;
    }
    snprintf(node, sizeof(node), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
             port);
    for (unsigned i = 0; i < b->n; i++) {
        if (strcmp(b->node[i], node) == 0)
            return CV_OK;
    }
    if (b->n == CV_BOOTSTRAP_MAX || strlen(node) >= CV_BOOTSTRAP_TEXT) {
        say(why, why_len, where, "one bootstrap node too many", entry);
        return CV_ERR_LIMIT;
    }
    memcpy(b->node[b->n++], node, strlen(node) + 1);
    return CV_OK;
}

static int add_list(struct cv_bootstrap *b, const char *text, const char *where,
                    char *why, size_t why_len)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        const char *next = text + len + (text[len] == ',');
        char entry[512];
        int err;

        while (len > 0 && strchr(BLANKS, *text) != NULL) {
            text++;
            len--;
        }
        while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
            len--;
        if (len >= sizeof(entry)) {
            say(why, why_len, where, "not a HOST:PORT", "(too long)");
            return CV_ERR_FORMAT;
        }
        memcpy(entry, text, len);
        entry[len] = '\0';
        if (len > 0) {
            err = add_one(b, entry, where, why, why_len);
            if (err != CV_OK)
                return err;
        }
        text = next;
    }
    return CV_OK;
}

int cv_bootstrap_add(struct cv_bootstrap *b, const char *text, char *why,
                     size_t why_len)
{
    return text == NULL ? CV_OK : add_list(b, text, "", why, why_len);
}

int cv_bootstrap_file(struct cv_bootstrap *b, const char *path, char *why,
                      size_t why_len)
{
    char line[1024], where[300];
    size_t total = 0;
    unsigned n = 0;
    int err = CV_OK;
    FILE *f = fopen(path, "re");

    if (f == NULL && errno == ENOENT)
        return CV_OK;
    if (f == NULL) {
        say(why, why_len, "", "cannot be read", path);
        return CV_ERR_IO;
    }
    while (err == CV_OK && fgets(line, sizeof(line), f) != NULL) {
        const bool whole = strchr(line, '\n') != NULL || feof(f);

        n++;
        total += strlen(line);
        snprintf(where, sizeof(where), "%.256s, line %u: ", path, n);
        if (!whole || total > CV_BOOTSTRAP_FILE) {
            say(why, why_len, where, "too long", "");
            err = CV_ERR_FORMAT;
            break;
        }
        line[strcspn(line, "#\r\n")] = '\0';
        err = add_list(b, line, where, why, why_len);
    }
    if (err == CV_OK && ferror(f)) {
        say(why, why_len, "", "cannot be read", path);
        err = CV_ERR_IO;
    }
    fclose(f);
    return err;
}

int cv_bootstrap_path(char *out, size_t len)
{
    const char *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    int n;

    if (base != NULL && base[0] == '/')
        n = snprintf(out, len, "%s/covim/bootstrap", base);
    else if (home != NULL && home[0] == '/')
        n = snprintf(out, len, "%s/.config/covim/bootstrap", home);
    else
        return CV_ERR_NOTFOUND;
    return n >= 0 && (size_t)n < len ? CV_OK : CV_ERR_NOBUF;
}

void cv_bootstrap_finish(struct cv_bootstrap *b)
{
    if (b->n == 0 && !b->none) {
        snprintf(b->node[0], sizeof(b->node[0]), "%s", CV_BOOTSTRAP_DEFAULT);
        b->n = 1;
    }
    for (unsigned i = 0; i < b->n; i++)
        b->list[i] = b->node[i];
}
