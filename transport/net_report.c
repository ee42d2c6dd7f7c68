#include "transport/net_report.h"
#include <stdio.h>
#include <string.h>

#include "transport/net_struct.h"

static void report_server(const struct cv_net *net, unsigned i,
                          struct cv_net_report_server *out)
{
    const struct cv_net_server *s = &net->server[i];

    snprintf(out->host, sizeof out->host, "%s", s->host);
    out->port = s->port;
    out->resolved = s->known;
    for (unsigned k = 0; k < CV_GATHER_ADDRS; k++) {
        out->addr[k] = net->gather.source[i][k].addr;
        out->seen[k] = net->gather.source[i][k].mapped;
        out->rtt[k] = net->gather.source[i][k].rtt;
    }
}

static bool is_ours(const struct cv_local *local, const struct cv_addr *a)
{
    for (unsigned i = 0; i < local->n; i++)
        if (cv_addr_same_ip(&local->net[i].addr, a))
            return true;
    return false;
}

void cv_net_report(const struct cv_net *net, struct cv_net_report *out)
{
    const struct cv_gather *g = &net->gather;
    const struct cv_portmap *pm;

    memset(out, 0, sizeof *out);
    out->port = cv_net_port(net);
    out->settled = cv_net_settled(net);
    out->kind_known = g->kind_tested;
    out->life_state = g->life.state;
    out->life = cv_net_life(net);
    out->life_kept = g->life.kept;
    out->life_lost = g->life.lost;
    out->life_set = net->nat_timeout > 0;
    out->filter = g->filter;
    out->strays = g->strays;
    out->local = net->local;
    cv_net_candidates(net, &out->own);
    out->n_servers = net->n_servers;
    for (unsigned i = 0; i < net->n_servers; i++) {
        report_server(net, i, &out->server[i]);
        if (out->server[i].seen[0].family != CV_FAMILY_NONE)
            out->is_public |= is_ours(&out->local, &out->server[i].seen[0]);
    }
    out->port_mapping = net->portmapper != NULL;
    if (!out->port_mapping)
        return;
    pm = cv_portmapper_state(net->portmapper);
    out->mapped = cv_portmap_public(pm, CV_PORTMAP_UDP) != NULL;
    out->maps_settled = cv_portmap_settled(pm);
    out->is_inside = cv_portmap_is_inside(pm);
    cv_portmap_describe(pm, out->mapping, sizeof out->mapping);
}
