/* transport/upnp.h - a port of the gateway by UPnP IGD (miniupnpc).
 *
 * The library blocks, for seconds where a gateway is slow, and the loop's
 * worker writes journals: so this has a thread of its own, which only posts to
 * the loop.  The search goes to the whole LAN, as UPnP's does, but only an
 * answer whose addresses are the gateway's is used. */
#ifndef CV_TRANSPORT_UPNP_H
#define CV_TRANSPORT_UPNP_H
#include "base/log.h"
#include "base/loop.h"
#include "transport/portmap.h"

struct cv_upnp;

/* How long cv_upnp_free() waits for mappings to be given back. */
#define CV_UPNP_LEAVE (500 * CV_MILLISECOND)

struct cv_upnp_events {
    void (*found)(void *user, bool found);
    /* As cv_portmap_upnp_mapped() wants it. */
    void (*mapped)(void *user, enum cv_portmap_port port, int err,
                   const struct cv_addr *mapped, uint32_t lifetime,
                   const char *why);
};

/* Begin to look for the gateway; `found` comes in any case.  CV_ERR_NOMEM,
 * CV_ERR_LIMIT: no thread. */
CV_MUST_USE int cv_upnp_new(struct cv_upnp **out, struct cv_loop *loop,
                            struct cv_log *log, const struct cv_addr *gateway,
                            const struct cv_addr *client,
                            const struct cv_upnp_events *events, void *user);
/* After `found`: map, or map again; `mapped` comes in any case. */
void cv_upnp_map(struct cv_upnp *u, enum cv_portmap_port port,
                 uint16_t internal, uint16_t external, uint32_t lifetime);
void cv_upnp_unmap(struct cv_upnp *u, enum cv_portmap_port port);
/* No event comes any more; what is mapped is given back, and with `wait` that
 * is waited for a while. */
void cv_upnp_free(struct cv_upnp *u, bool wait);
#endif
