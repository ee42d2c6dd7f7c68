#include "cli/diagnose_struct.h"

#include <stdio.h>
#include <string.h>

#define OWN_TEXT 200

static const char *kind_name(const struct cv_addr *a)
{
    bool v6 = a->family == CV_FAMILY_IPV6;

    switch (cv_addr_kind(a)) {
    case CV_ADDR_LOOPBACK:
        return "loopback";
    case CV_ADDR_LINK_LOCAL:
        return "link-local";
    case CV_ADDR_PRIVATE:
        return v6 ? "private IPv6" : "private IPv4";
    case CV_ADDR_SHARED:
        return "carrier-grade IPv4";
    case CV_ADDR_GLOBAL:
        return v6 ? "public IPv6" : "public IPv4";
    case CV_ADDR_UNUSABLE:
        break;
    }
    return "unusable";
}

/* Without the port, which is 0. */
static const char *ip_text(const struct cv_addr *a, char out[CV_ADDR_TEXT])
{
    char *colon = strrchr(cv_addr_format(a, out), ':');

    if (colon != NULL)
        *colon = '\0';
    return out;
}

/* "private IPv4, public IPv6", or with the addresses. */
static void own_addresses(const struct cv_doctor_facts *f, char *out,
                          size_t len)
{
    const struct cv_local *l = &f->node.net.local;
    char text[CV_ADDR_TEXT];
    size_t at = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < l->n && at < len; i++) {
        int n = snprintf(out + at, len - at, "%s%s", i > 0 ? ", " : "",
                         kind_name(&l->net[i].addr));

        at += n > 0 ? (size_t)n : 0;
        if (f->addresses && at < len) {
            n = snprintf(out + at, len - at, " %s",
                         ip_text(&l->net[i].addr, text));
            at += n > 0 ? (size_t)n : 0;
        }
    }
}

static void interfaces(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_local *l = &f->node.net.local;
    char own[OWN_TEXT];
    struct cv_finding *line;

    own_addresses(f, own, sizeof own);
    if (!f->node.network || l->n == 0) {
        line =
            cv_finding_add(out, "interfaces", CV_FINDING_PROBLEM, "no network");
    } else if (l->only_loopback) {
        line = cv_finding_add(out, "interfaces", CV_FINDING_PROBLEM,
                              "no network but loopback");
    } else {
        line = cv_finding_add(out, "interfaces", CV_FINDING_OK,
                              "%u address%s: %s; UDP port %u", l->n,
                              l->n == 1 ? "" : "es", own, f->node.net.port);
        if (l->n_gateways == 0) {
            line->status = CV_FINDING_NOTE;
            cv_finding_means(line, "there is no default route: only peers on "
                                   "the same LAN are reached");
        }
        return;
    }
    cv_finding_means(line, "only peers on this machine are reached");
    cv_finding_todo(line, "connect to a network; it is noticed at once");
}

static unsigned answers(const struct cv_net_report *net, unsigned family,
                        cv_time *rtt)
{
    unsigned n = 0;

    for (unsigned i = 0; i < net->n_servers; i++)
        if (net->server[i].seen[family].family != CV_FAMILY_NONE) {
            if (n == 0 || net->server[i].rtt[family] < *rtt)
                *rtt = net->server[i].rtt[family];
            n++;
        }
    return n;
}

bool cv_facts_udp(const struct cv_doctor_facts *f)
{
    cv_time rtt;

    return answers(&f->node.net, 0, &rtt) + answers(&f->node.net, 1, &rtt) > 0;
}

static void udp(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_net_report *net = &f->node.net;
    bool dht = strcmp(f->node.dht, "connected") == 0;
    struct cv_finding *line;
    cv_time rtt = 0;
    unsigned n = answers(net, 0, &rtt);

    if (n == 0)
        n = answers(net, 1, &rtt);
    if (n > 0) {
        line = cv_finding_add(out, "udp", CV_FINDING_OK,
                              "%u of %u STUN servers answer, the nearest in "
                              "%lld ms",
                              n, net->n_servers,
                              (long long)(rtt / CV_MILLISECOND));
        if (n < net->n_servers)
            cv_finding_means(line, "the others are down, or their names do "
                                   "not resolve");
    } else if (net->n_servers == 0) {
        line = cv_finding_add(out, "udp",
                              dht ? CV_FINDING_NOTE : CV_FINDING_UNKNOWN,
                              "no STUN server is configured%s",
                              dht ? "; the DHT answers over UDP" : "");
        cv_finding_means(line, "our public address and the kind of NAT are "
                               "not known: peers elsewhere may not reach us");
        cv_finding_todo(line, "name two: g:covim_stun, --stun HOST:PORT "
                              "(\"covim stun\" is one)");
    } else {
        line = cv_finding_add(
            out, "udp", CV_FINDING_PROBLEM, "none of %u STUN servers answers%s",
            net->n_servers, dht ? ", though the DHT does" : "");
        cv_finding_means(line,
                         dht ? "our public address is not known"
                             : "UDP seems to be blocked: peers are reached "
                               "over TCP only, and not found by the DHT");
        cv_finding_todo(line, dht ? "check their names and ports"
                                  : "try another network, or have UDP let "
                                    "out");
    }
}

static const char *filter_words(enum cv_natkind_filter filter)
{
    switch (filter) {
    case CV_FILTER_UNKNOWN:
        break;
    case CV_FILTER_OPEN:
        return "it lets anybody in (full cone)";
    case CV_FILTER_ADDRESS:
        return "it lets in whom we wrote to, from any port (address-"
               "restricted)";
    case CV_FILTER_PORT:
        return "it lets in only what answers us (port-restricted)";
    }
    return "whom it lets in is not known";
}

static void nat_by_mapping(const struct cv_net_report *net,
                           struct cv_findings *out)
{
    const char *strays =
        net->strays == CV_STRAYS_DROPPED  ? "; strays are dropped"
        : net->strays == CV_STRAYS_TRACED ? "; strays leave a trace"
                                          : "";
    struct cv_finding *line;

    switch (net->own.nat & CV_NAT_MAPPING_MASK) {
    case CV_NAT_MAPPING_EIM:
        line = cv_finding_add(out, "nat", CV_FINDING_OK,
                              "behind a NAT that keeps one port for all "
                              "destinations; %s%s",
                              filter_words(net->filter), strays);
        cv_finding_means(line, "direct connections to nearly everybody");
        return;
    case CV_NAT_MAPPING_SEQ:
        line = cv_finding_add(out, "nat", CV_FINDING_NOTE,
                              "behind a NAT that gives every destination the "
                              "next port (symmetric, sequential)");
        cv_finding_means(line, "direct by guessing the port, if the other "
                               "side's NAT keeps its own");
        cv_finding_todo(line, "to do better: port mapping in the router, IPv6");
        return;
    case CV_NAT_MAPPING_RANDOM:
        line = cv_finding_add(out, "nat", CV_FINDING_NOTE,
                              "behind a NAT that gives every destination "
                              "another port at random (symmetric)");
        cv_finding_means(line, "direct with many packets, if the other side's "
                               "NAT keeps one port; with another NAT of this "
                               "kind there is no direct way");
        cv_finding_todo(line, "to do better: port mapping in the router, IPv6");
        return;
    default:
        line = cv_finding_add(out, "nat", CV_FINDING_UNKNOWN,
                              "behind a NAT, or a firewall; its kind is not "
                              "known");
        cv_finding_means(line, "two answers from different addresses are "
                               "needed to know it");
        if (net->n_servers < 2)
            cv_finding_todo(line, "name a second STUN server");
        return;
    }
}

static void nat(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_net_report *net = &f->node.net;
    struct cv_finding *line;
    char text[CV_ADDR_TEXT];

    if (!cv_facts_udp(f)) {
        cv_finding_add(out, "nat", CV_FINDING_UNKNOWN,
                       "not known: nobody tells us our public address");
        return;
    }
    if (net->is_public) {
        line = cv_finding_add(out, "nat", CV_FINDING_OK,
                              "none: our own "
                              "address is public");
        cv_finding_means(line,
                         "anybody reaches us, if no firewall here drops "
                         "UDP to port %u",
                         net->port);
    } else if (net->server[0].seen[0].family == CV_FAMILY_NONE &&
               net->own.nat & CV_NAT_IPV6) {
        cv_finding_add(out, "nat", CV_FINDING_OK, "none on IPv6");
    } else {
        nat_by_mapping(net, out);
    }
    for (unsigned i = 0; f->addresses && i < net->n_servers; i++)
        if (net->server[i].seen[0].family != CV_FAMILY_NONE)
            cv_finding_add(out, "outside", CV_FINDING_OK, "%s:%u sees us at %s",
                           net->server[i].host, net->server[i].port,
                           cv_addr_format(&net->server[i].seen[0], text));
}

static void timeout_seen(const struct cv_net_report *net,
                         struct cv_findings *out)
{
    int kept = (int)(net->life_kept / CV_SECOND);

    if (net->life_set)
        cv_finding_add(out, "timeout", CV_FINDING_OK,
                       "the NAT keeps an idle UDP mapping for %d s, as it was "
                       "told (--nat-timeout)",
                       (int)(net->life / CV_SECOND));
    else if (net->life_lost && kept == 0)
        cv_finding_add(out, "timeout", CV_FINDING_NOTE,
                       "the NAT keeps an idle UDP mapping for less than 5 s");
    else if (net->life_lost)
        cv_finding_add(out, "timeout",
                       net->life_kept < CV_NATLIFE_SHORT ? CV_FINDING_NOTE
                                                         : CV_FINDING_OK,
                       "the NAT keeps an idle UDP mapping for %d s, but not "
                       "for twice as long",
                       kept);
    else
        cv_finding_add(out, "timeout", CV_FINDING_OK,
                       "the NAT keeps an idle UDP mapping for %d s at least%s",
                       kept,
                       net->life_state == CV_NATLIFE_RUNS
                           ? "; longer times are being tried"
                           : "");
}

/* How long the NAT keeps what is idle; where there is one. */
static void timeout(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_net_report *net = &f->node.net;
    bool runs = net->life_state == CV_NATLIFE_RUNS;
    cv_time rtt;

    if (net->is_public || answers(net, 0, &rtt) == 0)
        return;
    if (net->life_set || net->life_lost || net->life_kept > 0)
        timeout_seen(net, out);
    else
        cv_finding_add(out, "timeout", CV_FINDING_OK,
                       "how long the NAT keeps an idle UDP mapping is %s; "
                       "%d s are assumed",
                       runs ? "being measured" : "not known",
                       (int)(CV_NATLIFE_ASSUMED / CV_SECOND));
    cv_finding_means(&out->f[out->n - 1],
                     "paths that are idle are used every %d s, so that they "
                     "stay",
                     (int)(cv_keep_used(net->life) / CV_SECOND));
    if (runs && !net->life_lost)
        cv_finding_todo(&out->f[out->n - 1],
                        "to know it, wait two minutes: \"covim doctor "
                        "--slow\"");
    else if (net->life_state == CV_NATLIFE_UNABLE)
        cv_finding_todo(&out->f[out->n - 1],
                        "to know it, name a STUN server with two addresses "
                        "(\"covim stun\" is one)");
}

static void tcp(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    unsigned tried = 0, open = 0, refused = 0;
    struct cv_finding *line;
    cv_time took = 0;

    for (unsigned i = 0; i < CV_DOCTOR_TCP; i++) {
        if (!f->tcp[i].tried)
            continue;
        tried++;
        refused += f->tcp[i].err == CV_ERR_IO;
        if (f->tcp[i].err == CV_OK && (open++ == 0 || f->tcp[i].took < took))
            took = f->tcp[i].took;
    }
    if (tried == 0) {
        cv_finding_add(out, "tcp", CV_FINDING_UNKNOWN,
                       "not tried: no STUN server's address is known");
    } else if (open > 0) {
        line = cv_finding_add(out, "tcp", CV_FINDING_OK,
                              "connected to %u of %u STUN servers, the nearest "
                              "in %lld ms",
                              open, tried, (long long)(took / CV_MILLISECOND));
        if (!cv_facts_udp(f))
            cv_finding_means(line, "peers with an open or cone NAT can be "
                                   "reached over TCP, with tokens");
    } else {
        line = cv_finding_add(
            out, "tcp", cv_facts_udp(f) ? CV_FINDING_NOTE : CV_FINDING_PROBLEM,
            "none of %u STUN servers takes a TCP connection", tried);
        cv_finding_means(line, cv_facts_udp(f)
                                   ? "there is no second way if UDP fails"
                                   : "nothing gets out of this network but, "
                                     "maybe, web pages");
        if (refused == tried)
            cv_finding_means(line, "they answer, and serve no TCP there");
    }
}

static void ipv6(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_net_report *net = &f->node.net;
    struct cv_finding *line;
    cv_time rtt = 0;
    bool asked = false;

    for (unsigned i = 0; i < net->n_servers; i++)
        asked |= net->server[i].addr[1].family != CV_FAMILY_NONE;
    if (answers(net, 1, &rtt) > 0) {
        line = cv_finding_add(out, "ipv6", CV_FINDING_OK,
                              "works, %lld ms to the nearest STUN server",
                              (long long)(rtt / CV_MILLISECOND));
        cv_finding_means(line, "no NAT stands between us and peers that have "
                               "it, too");
    } else if (net->own.nat & CV_NAT_IPV6) {
        line =
            cv_finding_add(out, "ipv6", asked ? CV_FINDING_NOTE : CV_FINDING_OK,
                           "there is a public address%s",
                           asked ? ", but no STUN server answers over it"
                                 : "; no STUN server to try it with");
        if (asked)
            cv_finding_means(line, "a firewall may drop it");
    } else {
        line =
            cv_finding_add(out, "ipv6", CV_FINDING_NOTE, "no public address");
        cv_finding_means(line, "only IPv4 is used; nothing is wrong with that");
    }
}

static void portmap(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_net_report *net = &f->node.net;
    struct cv_finding *line;

    if (!net->port_mapping || net->local.n_gateways == 0) {
        cv_finding_add(out, "portmap", CV_FINDING_NOTE,
                       net->port_mapping ? "no gateway to ask"
                                         : "switched off");
        return;
    }
    line = cv_finding_add(out, "portmap",
                          net->mapped ? CV_FINDING_OK : CV_FINDING_NOTE, "%s",
                          net->mapping);
    if (net->mapped) {
        cv_finding_means(line, "anybody reaches us, whatever the NAT");
    } else if (net->is_inside) {
        cv_finding_means(line, "what the router opens, the carrier's NAT "
                               "closes again");
    } else if (!net->is_public) {
        cv_finding_means(line, "the NAT has to be punched");
        cv_finding_todo(line,
                        "only if connections fail: switch on UPnP or "
                        "NAT-PMP in the router, or forward UDP port %u "
                        "(--port N keeps it)",
                        net->port);
    }
}

static void portal(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    struct cv_finding *line;

    if (f->portal == CV_PORTAL_NONE)
        return;
    line = cv_finding_add(out, "portal",
                          f->portal == CV_PORTAL_YES ? CV_FINDING_PROBLEM
                                                     : CV_FINDING_NOTE,
                          f->portal == CV_PORTAL_YES
                              ? "a captive portal: web pages are answered by "
                                "this network itself%s%s"
                              : "a web page answers where none should be: "
                                "maybe a captive portal%s%s",
                          f->addresses && f->portal_to[0] != '\0' ? ", it "
                                                                    "sends to "
                                                                  : "",
                          f->addresses ? f->portal_to : "");
    cv_finding_means(line, "nothing gets out before somebody signs in there");
    cv_finding_todo(line, "open any web page in a browser, sign in, and try "
                          "again");
}

void cv_diagnose_net(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    interfaces(f, out);
    if (!f->node.network)
        return;
    udp(f, out);
    nat(f, out);
    timeout(f, out);
    portal(f, out);
    tcp(f, out);
    ipv6(f, out);
    portmap(f, out);
}
