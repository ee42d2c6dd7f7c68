/* The decoder of port 5351, and the machine behind it: whatever the gateway
 * sends, in whatever order, no lease is unbounded and nothing unusable is
 * published.  Input: u8 what, u8 seconds, u8 length, bytes; repeated. */
#include "transport/portmap.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t last[64]; /* what was asked, so that answers can fit */
static size_t last_len;

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void on_send(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    check(len <= sizeof last);
    memcpy(last, data, len);
    last_len = len;
}

static void on_find(void *user)
{
    (void)user;
}

static void on_map(void *user, enum cv_portmap_port port, uint16_t internal,
                   uint16_t external, uint32_t lifetime)
{
    (void)user;
    check(port < CV_PORTMAP_PORTS && internal && external && lifetime);
}

static void on_unmap(void *user, enum cv_portmap_port port)
{
    (void)user;
    check(port < CV_PORTMAP_PORTS);
}

static void on_changed(void *user)
{
    (void)user;
}

static const struct cv_portmap_events events = {
    .send = on_send,
    .upnp_find = on_find,
    .upnp_map = on_map,
    .upnp_unmap = on_unmap,
    .changed = on_changed,
};

static void check_leases(const struct cv_portmap *pm)
{
    for (enum cv_portmap_port p = 0; p < CV_PORTMAP_PORTS; p++) {
        const struct cv_addr *a = cv_portmap_public(pm, p);
        const struct cv_portmap_lease *l = &pm->lease[p];

        check(!a || (a->port && cv_addr_kind(a) == CV_ADDR_GLOBAL));
        if (l->mapped.family != CV_FAMILY_NONE)
            check(l->expires - l->given <= CV_PORTMAP_LEASE_MAX * CV_SECOND &&
                  l->expires - l->given >= CV_PORTMAP_LEASE_MIN * CV_SECOND);
    }
}

/* An answer to what was asked last, with the input's bytes over it. */
static void answer(struct cv_portmap *pm, struct cv_bytes over, cv_time now)
{
    uint8_t out[64] = {0};

    memcpy(out, last, last_len);
    out[1] |= 0x80;
    for (size_t i = 0; i + 1 < over.len; i += 2)
        out[over.data[i] % sizeof out] = over.data[i + 1];
    cv_portmap_input(pm, &pm->gateway,
                     CV_BYTES(out, last_len == 60   ? 60
                                   : last_len == 12 ? 16
                                                    : 12),
                     now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cv_addr gateway = cv_addr_ipv4(0xc0a80101, 0);
    const struct cv_addr client = cv_addr_ipv4(0xc0a80102, 0);
    struct cv_rng_seeded seed;
    struct cv_rng rng = cv_rng_from_seed(&seed, 1);
    struct cv_portmap pm;
    struct cv_reader r;
    cv_time now = CV_HOUR;

    last_len = 0;
    cv_portmap_init(&pm, &rng, NULL, CV_PORTMAP_ALL, &events, NULL);
    cv_portmap_want(&pm, CV_PORTMAP_UDP, 40000, now);
    cv_portmap_want(&pm, CV_PORTMAP_TCP, 40000, now);
    cv_portmap_network(&pm, &gateway, &client, now);
    cv_portmap_step(&pm, now);
    cv_reader_init(&r, data, size);
    while (cv_reader_left(&r) >= 3) {
        uint8_t what = cv_get_u8(&r), wait = cv_get_u8(&r);
        uint8_t len = cv_get_u8(&r);
        struct cv_bytes b = cv_get_bytes(
            &r, len < cv_reader_left(&r) ? len : cv_reader_left(&r));
        struct cv_addr mapped = cv_addr_ipv4(
            b.len >= 4 ? (uint32_t)b.data[0] << 24 | b.data[3] : 0, len);

        now += (cv_time)wait * (what & 0x80 ? CV_MINUTE : CV_SECOND);
        switch (what & 3) {
        case 0:
            cv_portmap_input(&pm, &pm.gateway, b, now);
            break;
        case 1:
            answer(&pm, b, now);
            break;
        case 2:
            cv_portmap_upnp_found(&pm, len & 1, now);
            break;
        case 3:
            cv_portmap_upnp_mapped(&pm, len & 1, len & 2 ? CV_OK : CV_ERR_IO,
                                   &mapped, len, "no", now);
            break;
        }
        for (unsigned i = 0; i < 64 && cv_portmap_deadline(&pm) <= now; i++)
            cv_portmap_step(&pm, now);
        check(cv_portmap_deadline(&pm) > now);
        check_leases(&pm);
    }
    cv_portmap_close(&pm);
    return 0;
}
