/* tests/netlab/natkind.c - see natkind.h. */
#include "tests/netlab/natkind.h"
#include <stdio.h>
#include <string.h>

#define FLOWS  12 /* of one local port, to see in what order ports come */
#define LOCALS 6  /* local ports, to see how far they are apart */
#define SPREAD                                                                 \
    48000u /* what FLOWS * LOCALS random ports span, nearly surely             \
            */

static bool seen_by(const struct nat_world *w, enum nat_proto proto,
                    uint16_t local, unsigned ip, unsigned port,
                    struct cv_addr *mapped)
{
    const struct nat_point p = {ip, port};

    return w->ask(w->user, proto, local, p, p, mapped);
}

/* RFC 5780, 4.3. */
static enum nat_mapping find_mapping(const struct nat_world *w,
                                     enum nat_proto proto, uint16_t local,
                                     struct cv_addr *mapped)
{
    struct cv_addr b, c;

    if (!seen_by(w, proto, local, 0, 0, mapped))
        return seen_by(w, proto, w->bind(w->user, proto), 0, NAT_443, &b)
                   ? NAT_443_ONLY
                   : NAT_BLOCKED;
    if (!seen_by(w, proto, local, 1, 0, &b) ||
        !seen_by(w, proto, local, 1, 1, &c))
        return NAT_BLOCKED;
    if (cv_addr_equal(mapped, &b) && cv_addr_equal(mapped, &c))
        return NAT_EIM;
    return cv_addr_equal(&b, &c) ? NAT_ADM : NAT_APDM;
}

/* RFC 5780, 4.4, from a port that only the first address was sent to.  (Each
 * time to another port: a closed TCP connection blocks its own way.) */
static enum nat_filter find_filter(const struct nat_world *w,
                                   enum nat_proto proto)
{
    const struct nat_point to[] = {{0, 2}, {0, 3}}, from[] = {{1, 1}, {0, 1}};
    struct cv_addr mapped;
    uint16_t local = w->bind(w->user, proto);

    seen_by(w, proto, local, 0, 0, &mapped);
    if (w->ask(w->user, proto, local, to[0], from[0], &mapped))
        return NAT_EIF;
    if (w->ask(w->user, proto, local, to[1], from[1], &mapped))
        return NAT_ADF;
    return NAT_APDF;
}

/* How the outer ports of one local port follow each other, and whether those
 * of several fill the range. */
static enum nat_ports find_order(const struct nat_world *w,
                                 enum nat_proto proto)
{
    unsigned low = UINT16_MAX, high = 0, ones = 0;

    for (unsigned i = 0; i < LOCALS; i++) {
        uint16_t local = w->bind(w->user, proto), last = 0;

        for (unsigned k = 0; k < FLOWS; k++) {
            struct cv_addr m = {0};

            seen_by(w, proto, local, 0, k, &m);
            ones += m.port == last + 1;
            last = m.port;
            low = m.port < low ? m.port : low;
            high = m.port > high ? m.port : high;
        }
    }
    if (ones >= LOCALS * (FLOWS - 1))
        return NAT_SEQUENTIAL;
    return ones < LOCALS && low >= 1024 && high - low > SPREAD ? NAT_RANDOM
                                                               : NAT_NARROW;
}

static enum nat_ports find_ports(const struct nat_world *w,
                                 enum nat_proto proto, uint16_t local,
                                 const struct cv_addr *mapped,
                                 enum nat_mapping mapping)
{
    struct cv_addr own = w->own(w->user);

    if (mapping != NAT_EIM)
        return find_order(w, proto);
    if (mapped->port != local)
        return NAT_SHIFTED;
    return cv_addr_same_ip(mapped, &own) ? NAT_NOT : NAT_PRESERVED;
}

/* A stray to a port that was never used; then a flow from that port to the
 * stray's sender.  (While ports are preserved, it is known where to send.) */
static enum nat_strays find_strays(const struct nat_world *w,
                                   enum nat_proto proto, enum nat_ports ports,
                                   struct cv_addr gateway)
{
    const struct nat_point from = {1, 9};
    struct cv_addr mapped;
    enum nat_strays s;

    gateway.port = w->bind(w->user, proto);
    s = w->stray(w->user, proto, from, &gateway);
    if (s != NAT_REFUSED || ports != NAT_PRESERVED)
        return s;
    if (!seen_by(w, proto, gateway.port, from.ip, from.port, &mapped))
        return NAT_REFUSED;
    return mapped.port == gateway.port ? NAT_REJECTED : NAT_ACCEPTED;
}

void nat_find(const struct nat_world *w, enum nat_proto proto,
              struct nat_found *out)
{
    uint16_t local = w->bind(w->user, proto);
    struct cv_addr mapped;

    memset(out, 0, sizeof(*out));
    out->mapping = find_mapping(w, proto, local, &mapped);
    if (out->mapping < NAT_EIM)
        return;
    out->filter = find_filter(w, proto);
    out->ports = find_ports(w, proto, local, &mapped, out->mapping);
    out->strays = find_strays(w, proto, out->ports, mapped);
}

char *nat_format(const struct nat_found *f, char out[NAT_TEXT])
{
    static const char *const mapping[] = {"blocked", "443only", "eim", "adm",
                                          "apdm"};
    static const char *const filter[] = {"eif", "adf", "apdf"};
    static const char *const ports[] = {"not",        "preserved", "shifted",
                                        "sequential", "random",    "narrow"};
    static const char *const strays[] = {"silent", "accept", "reject",
                                         "refused", "answered"};

    if (f->mapping < NAT_EIM)
        snprintf(out, NAT_TEXT, "%s", mapping[f->mapping]);
    else
        snprintf(out, NAT_TEXT, "%s/%s/%s/%s", mapping[f->mapping],
                 filter[f->filter], ports[f->ports], strays[f->strays]);
    return out;
}
