/* transport/net_report.h - what the node knows of its network, as facts: for
 * the doctor, who says what they mean. */
#ifndef CV_TRANSPORT_NET_REPORT_H
#define CV_TRANSPORT_NET_REPORT_H
#include "transport/local.h"
#include "transport/natkind.h"
#include "transport/natlife.h"
#include "transport/net.h"
#include "transport/portmap.h"

struct cv_net_report_server { /* a STUN server that was configured */
    char host[256];
    uint16_t port;
    bool resolved;
    struct cv_addr addr[2]; /* IPv4 and IPv6; family NONE: has none */
    struct cv_addr seen[2]; /* as it sees us; family NONE: no answer */
    cv_time rtt[2];
};

struct cv_net_report {
    uint16_t port;                    /* our UDP port */
    bool settled;                     /* everybody has had his say */
    bool kind_known;                  /* filter and strays were tested */
    enum cv_natlife_state life_state; /* is it known how long the NAT… */
    cv_time life;      /* … keeps an idle mapping: as keep-alives take it */
    cv_time life_kept; /* the longest time seen; 0: none */
    bool life_lost;    /* and a longer one was too long */
    bool life_set;     /* by our user */
    struct cv_local local;         /* interfaces, routes, families */
    struct cv_candidates own;      /* as they are told to peers */
    bool is_public;                /* our own IPv4 address is the outer one */
    bool port_mapping;             /* it is wanted */
    bool mapped;                   /* … and the gateway gave us a port */
    bool maps_settled;             /* … or said no */
    bool is_inside;                /* the gateway is behind another NAT */
    char mapping[CV_PORTMAP_TEXT]; /* a sentence on it; no addresses */
    enum cv_natkind_filter filter;
    enum cv_natkind_strays strays;
    unsigned n_servers;
    struct cv_net_report_server server[CV_NET_STUN_SERVERS];
};

void cv_net_report(const struct cv_net *net, struct cv_net_report *out);
#endif
