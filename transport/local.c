#include "transport/local.h"
#include <string.h>

static bool in_own_subnet(const struct cv_local *local, const struct cv_addr *a)
{
    for (unsigned i = 0; i < local->n; i++)
        if (cv_addr_in_prefix(a, &local->net[i].addr, local->net[i].bits))
            return true;
    return false;
}

static bool is_own(const struct cv_local *local, const struct cv_addr *a)
{
    for (unsigned i = 0; i < local->n; i++)
        if (cv_addr_same_ip(a, &local->net[i].addr))
            return true;
    return false;
}

/* The all-ones or all-zeros host of a subnet of ours (not of a /31 or /32). */
static bool is_subnet_broadcast(const struct cv_local *local,
                                const struct cv_addr *a)
{
    uint32_t ip = (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 |
                  (uint32_t)a->ip[2] << 8 | a->ip[3];

    if (a->family != CV_FAMILY_IPV4)
        return false;
    for (unsigned i = 0; i < local->n; i++) {
        const struct cv_local_net *net = &local->net[i];
        uint32_t host;

        if (net->addr.family != CV_FAMILY_IPV4 || net->bits > 30 ||
            !cv_addr_in_prefix(a, &net->addr, net->bits))
            continue;
        host = net->bits == 0 ? UINT32_MAX : UINT32_MAX >> net->bits;
        if ((ip & host) == host || (ip & host) == 0)
            return true;
    }
    return false;
}

static bool have_shared(const struct cv_local *local)
{
    for (unsigned i = 0; i < local->n; i++)
        if (cv_addr_kind(&local->net[i].addr) == CV_ADDR_SHARED)
            return true;
    return local->reflexive.family != CV_FAMILY_NONE &&
           cv_addr_kind(&local->reflexive) == CV_ADDR_SHARED;
}

bool cv_local_may_send(const struct cv_local *local, const struct cv_addr *a,
                       bool same_nat)
{
    if (a->port < 1024)
        return false;
    if (a->family == CV_FAMILY_IPV4 ? !local->ipv4 : !local->ipv6)
        return false;
    if (a->port == local->port && is_own(local, a))
        return false;
    if (is_subnet_broadcast(local, a))
        return false;
    for (unsigned i = 0; i < local->n_gateways; i++)
        if (cv_addr_same_ip(a, &local->gateway[i]))
            return false;

    switch (cv_addr_kind(a)) {
    case CV_ADDR_UNUSABLE:
    case CV_ADDR_LINK_LOCAL:
        return false;
    case CV_ADDR_LOOPBACK:
        return local->only_loopback;
    case CV_ADDR_PRIVATE:
        return same_nat || in_own_subnet(local, a);
    case CV_ADDR_SHARED:
        return in_own_subnet(local, a) || have_shared(local);
    case CV_ADDR_GLOBAL:
        return true;
    }
    return false;
}

bool cv_local_may_connect(const struct cv_local *local, const struct cv_addr *a,
                          bool trusted)
{
    uint16_t own =
        a->family == CV_FAMILY_IPV4 ? local->tcp_port : local->tcp_port6;

    if (own == 0 || (a->port == own && is_own(local, a)))
        return false;
    if (cv_addr_kind(a) == CV_ADDR_PRIVATE && !trusted)
        return false;
    return cv_local_may_send(local, a, false);
}

bool cv_local_same_nat(const struct cv_local *local,
                       const struct cv_candidates *peer)
{
    if (local->reflexive.family == CV_FAMILY_NONE)
        return false;
    for (unsigned i = 0; i < peer->n; i++)
        if ((peer->c[i].type == CV_CANDIDATE_SRFLX ||
             peer->c[i].type == CV_CANDIDATE_MAPPED) &&
            cv_addr_same_ip(&peer->c[i].addr, &local->reflexive))
            return true;
    return false;
}

bool cv_local_same_nets(const struct cv_local *a, const struct cv_local *b)
{
    if (a->n != b->n || a->n_gateways != b->n_gateways ||
        a->only_loopback != b->only_loopback)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!cv_addr_equal(&a->net[i].addr, &b->net[i].addr) ||
            a->net[i].bits != b->net[i].bits)
            return false;
    for (unsigned i = 0; i < a->n_gateways; i++)
        if (!cv_addr_equal(&a->gateway[i], &b->gateway[i]))
            return false;
    return true;
}

enum cv_path_kind cv_local_path_kind(const struct cv_local *local,
                                     const struct cv_addr *a)
{
    enum cv_addr_kind kind = cv_addr_kind(a);

    if (kind == CV_ADDR_LOOPBACK || kind == CV_ADDR_PRIVATE ||
        kind == CV_ADDR_LINK_LOCAL || in_own_subnet(local, a))
        return CV_PATH_LAN;
    return a->family == CV_FAMILY_IPV6 ? CV_PATH_IPV6 : CV_PATH_IPV4;
}
