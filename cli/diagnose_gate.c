#include "cli/diagnose_struct.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Is this word an address, a host, or one with a port? */
static bool is_place(const char *word, size_t len, const char *host)
{
    const char *colon = memchr(word, ':', len);

    return (colon != NULL && colon > word && colon + 1 < word + len &&
            isdigit((unsigned char)colon[1])) ||
           (strlen(host) > 0 && len >= strlen(host) &&
            memcmp(word, host, strlen(host)) == 0);
}

/* A sentence without the names and addresses in it. */
static void without_places(char *out, size_t max, const char *text,
                           const char *host)
{
    struct cv_writer w;

    cv_writer_init(&w, out, max - 1);
    while (*text != '\0') {
        size_t len = strcspn(text, " "), gap = strspn(text + len, " ");

        if (is_place(text, len, host))
            (void)cv_put_raw(&w, "\xe2\x80\xa6", 3); /* … */
        else
            (void)cv_put_raw(&w, text, len);
        (void)cv_put_raw(&w, text + len, gap);
        text += len + gap;
    }
    out[w.len] = '\0';
}

static const char *way_words(unsigned way)
{
    switch (way) {
    case CV_GATE_WAY_WS:
        return "a WebSocket";
    case CV_GATE_WAY_PROXY:
        return "TLS through the proxy";
    case CV_GATE_WAY_WS | CV_GATE_WAY_PROXY:
        return "a WebSocket through the proxy";
    default:
        return "TLS";
    }
}

static void udp_words(const struct cv_doctor_gate *g, char *out, size_t len)
{
    if (g->udp_port == 0)
        snprintf(out, len, "it takes no UDP");
    else if (!g->udp_tried)
        snprintf(out, len, "UDP is not used: only the proxy knows where it is");
    else if (g->udp_err == CV_OK)
        snprintf(out, len, "UDP port %u answers in %lld ms", g->udp_port,
                 (long long)(g->udp_took / CV_MILLISECOND));
    else
        snprintf(out, len, "UDP port %u does not answer", g->udp_port);
}

static void linked(const struct cv_doctor_gate *g, const char *who,
                   struct cv_findings *out)
{
    bool udp = g->udp_tried && g->udp_err == CV_OK;
    struct cv_finding *line;
    char words[100];

    udp_words(g, words, sizeof words);
    line = cv_finding_add(out, "gate", udp ? CV_FINDING_OK : CV_FINDING_NOTE,
                          "%s lets us in, by %s, and answers in %lld ms; %s",
                          who, way_words(g->way),
                          (long long)(g->rtt / CV_MILLISECOND), words);
    if (udp) {
        cv_finding_means(line, "whoever has this gate, too, or comes to it for "
                               "us, is reached at once");
        return;
    }
    cv_finding_means(line, "peers are reached over it, by TCP: when packets "
                           "are lost, the text comes late");
    if (g->udp_tried)
        cv_finding_todo(line,
                        "have UDP port %u let out; if nobody gets an answer "
                        "there, it is closed at the gate",
                        g->udp_port);
}

static void one(const struct cv_doctor_facts *f, const struct cv_doctor_gate *g,
                unsigned number, struct cv_findings *out)
{
    char who[300], why[CV_FINDING_TEXT];
    struct cv_finding *line;

    snprintf(who, sizeof who, "gate %u of %u", number, f->n_gates);
    if (f->addresses)
        snprintf(who, sizeof who, "%.255s:%u", g->name.host, g->name.port);
    if (g->linked) {
        linked(g, who, out);
        return;
    }
    if (f->addresses)
        snprintf(why, sizeof why, "%s", g->trouble);
    else
        without_places(why, sizeof why, g->trouble, g->name.host);
    line = cv_finding_add(out, "gate", CV_FINDING_PROBLEM, "%s: %s", who,
                          why[0] != '\0' ? why : "no answer yet");
    cv_finding_means(line, "over it nobody is reached");
    cv_finding_todo(line, "see that its name is right and that TCP gets out to "
                          "its port, or set https_proxy; who runs it sees more "
                          "in its log");
}

void cv_diagnose_gates(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    for (unsigned i = 0; i < f->n_gates; i++)
        one(f, &f->gate[i], i + 1, out);
}
