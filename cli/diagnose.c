#include "cli/diagnose_struct.h"

#include <stdlib.h>
#include <string.h>

/* What pointers and grants stand, docs/protocol.md, 4. */
#define CLOCK_MATTERS_S 3600
#define CLOCK_ERROR_MS  60000

static void versions(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    struct cv_finding *line;

    cv_finding_add(out, "version", CV_FINDING_OK, "covim %s on %s",
                   COVIM_VERSION, f->system);
    if (f->editor.name[0] == '\0')
        return;
    line = cv_finding_add(
        out, "editor",
        strcmp(f->editor.plugin, COVIM_VERSION) == 0 ? CV_FINDING_OK
                                                     : CV_FINDING_PROBLEM,
        "%s, plugin %s%s%s", f->editor.name, f->editor.plugin,
        f->editor.features[0] != '\0' ? "; " : "", f->editor.features);
    if (line == NULL || line->status == CV_FINDING_OK)
        return;
    cv_finding_means(line, "the plugin and the program are of different "
                           "versions: they may misunderstand each other");
    cv_finding_todo(line, "install both of one version, then restart the "
                          "editor");
}

static void clock_of(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_doctor_clock *c = &f->clock;
    struct cv_finding *line;

    if (c->ahead_s < -CLOCK_MATTERS_S) {
        line = cv_finding_add(out, "clock", CV_FINDING_PROBLEM,
                              "the clock is %lld h behind a file that was "
                              "written here before",
                              (long long)(-c->ahead_s / 3600));
        cv_finding_means(line, "what we publish is stale to others, and what "
                               "they publish lies in our future: nobody is "
                               "found");
        cv_finding_todo(line, "set the clock");
    } else if (!c->known) {
        cv_finding_add(out, "clock", CV_FINDING_UNKNOWN,
                       "the system does not say how good its clock is");
    } else if (!c->synchronised || c->error_ms > CLOCK_ERROR_MS) {
        line = cv_finding_add(out, "clock", CV_FINDING_NOTE,
                              "the clock is not kept by NTP");
        cv_finding_means(line, "it may be wrong; more than an hour off, and "
                               "nobody is found");
        cv_finding_todo(line, "compare it with another clock");
    } else {
        cv_finding_add(out, "clock", CV_FINDING_OK,
                       "kept by the system, right to within %llu ms",
                       (unsigned long long)c->error_ms);
    }
}

static void dht_of(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    bool connected = strcmp(f->node.dht, "connected") == 0;
    struct cv_finding *line;

    if (connected && f->roundtrip) {
        line = cv_finding_add(out, "dht", CV_FINDING_OK,
                              "connected; a test value came back after %lld ms",
                              (long long)(f->roundtrip_took / CV_MILLISECOND));
        cv_finding_means(line, "a peer can be found by its key");
    } else if (connected) {
        line = cv_finding_add(out, "dht", CV_FINDING_PROBLEM,
                              "connected, but a test value did not come back");
        cv_finding_means(line, "what we publish may not be found");
        cv_finding_todo(line, "name another node: g:covim_bootstrap, "
                              "--bootstrap HOST:PORT");
    } else {
        line =
            cv_finding_add(out, "dht", CV_FINDING_PROBLEM,
                           "%s: none of %u bootstrap node%s answers",
                           f->node.dht, f->n_bootstrap > 0 ? f->n_bootstrap : 1,
                           f->n_bootstrap > 1 ? "s" : "");
        cv_finding_means(line, "nobody is found by a key%s",
                         f->lan ? ", but on the same LAN" : "");
        cv_finding_todo(line,
                        "%s; without a DHT exchange tokens by hand "
                        "(:CoVim start, covim token)",
                        cv_facts_udp(f) ? "name a node that is up: "
                                          "g:covim_bootstrap, --bootstrap "
                                          "HOST:PORT"
                                        : "let UDP out");
    }
}

void cv_diagnose(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    memset(out, 0, sizeof *out);
    versions(f, out);
    cv_diagnose_net(f, out);
    cv_diagnose_gates(f, out);
    dht_of(f, out);
    clock_of(f, out);
    if (f->key.asked)
        cv_diagnose_key(f, out);
}
