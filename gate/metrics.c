#include "gate/metrics.h"
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *answer(int code, const char *type, const char *body)
{
    size_t room = strlen(body) + 256;
    char *out = malloc(room);

    if (out)
        snprintf(out, room,
                 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 code, code == 200 ? "OK" : "Service Unavailable", type,
                 strlen(body), body);
    return out;
}

/* Resident bytes, from the kernel; 0: unknown. */
static long resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size, pages = 0;

    if (f && fscanf(f, "%ld %ld", &size, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static void put_counters(FILE *f, const struct cv_gate_counters *c)
{
#define X(name, help)                                                          \
    fprintf(f,                                                                 \
            "# HELP covim_gate_" #name "_total %s\n"                           \
            "# TYPE covim_gate_" #name "_total counter\n"                      \
            "covim_gate_" #name "_total %" PRIu64 "\n",                        \
            help, c->name);
    CV_GATE_COUNTERS(X)
#undef X
}

static void put_gauge(FILE *f, const char *name, const char *help,
                      long long value)
{
    fprintf(f,
            "# HELP covim_gate_%s %s\n# TYPE covim_gate_%s gauge\n"
            "covim_gate_%s %lld\n",
            name, help, name, name, value);
}

static char *metrics(const struct cv_gate_core *core, int64_t up_s)
{
    struct cv_gate_gauges g = cv_gate_core_gauges(core);
    char *text = NULL, *out = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return NULL;
    put_counters(f, cv_gate_core_counters(core));
    put_gauge(f, "clients", "clients, with a link or a ticket",
              (long long)g.clients);
    put_gauge(f, "links", "links that are open", (long long)g.links);
    put_gauge(f, "rooms", "rooms", (long long)g.rooms);
    put_gauge(f, "channels", "channels", (long long)g.channels);
    put_gauge(f, "mails", "knocks that wait", (long long)g.mails);
    put_gauge(f, "mail_bytes", "bytes of them", (long long)g.mail_bytes);
    put_gauge(f, "pointers", "pointers kept", (long long)g.pointers);
    put_gauge(f, "pointer_bytes", "bytes of them", (long long)g.pointer_bytes);
    put_gauge(f, "sources", "addresses that are counted", (long long)g.sources);
    put_gauge(f, "uptime_seconds", "since the start", (long long)up_s);
    put_gauge(f, "resident_bytes", "memory in use", resident());
    if (fclose(f) == 0 && text)
        out = answer(200, "text/plain; version=0.0.4; charset=utf-8", text);
    free(text);
    return out;
}

char *cv_gate_page(const struct cv_gate_core *core, const char *path,
                   int64_t up_s, bool draining)
{
    if (strcmp(path, "/metrics") == 0)
        return metrics(core, up_s);
    if (strcmp(path, "/health") == 0)
        return draining ? answer(503, "text/plain", "draining\n")
                        : answer(200, "text/plain", "ok\n");
    return NULL;
}

char *cv_gate_front_page(void)
{
    return answer(200, "text/plain; charset=utf-8",
                  "This is a gate of covim: it passes encrypted packets on "
                  "between people who edit together.\nIt cannot read them.\n");
}
