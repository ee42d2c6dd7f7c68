/* transport/portmapper.h - portmap.h on real sockets: one to the gateway's port
 * 5351, one for its announcements, and UPnP's thread. */
#ifndef CV_TRANSPORT_PORTMAPPER_H
#define CV_TRANSPORT_PORTMAPPER_H
#include "base/loop.h"
#include "transport/local.h"
#include "transport/portmap.h"

struct cv_portmapper;

/* `ways`: as for cv_portmap_init().  `changed`, from the loop: a mapping or the
 * state is another. */
CV_MUST_USE int cv_portmapper_new(struct cv_portmapper **out,
                                  struct cv_loop *loop, struct cv_log *log,
                                  const struct cv_rng *rng, unsigned ways,
                                  cv_loop_fn changed, void *user);
/* Gives the mappings back; may take CV_UPNP_LEAVE where UPnP mapped. */
void cv_portmapper_free(struct cv_portmapper *p);
/* The network is this one now; asks its default gateway for local->port.  Where
 * it is the same as before, the machine may have slept: mappings are renewed.
 */
void cv_portmapper_network(struct cv_portmapper *p,
                           const struct cv_local *local);
/* Have this TCP port mapped, too; 0: no more. */
void cv_portmapper_want_tcp(struct cv_portmapper *p, uint16_t port);
/* What is known: cv_portmap_public(), _settled(), _describe(). */
const struct cv_portmap *cv_portmapper_state(const struct cv_portmapper *p);
#endif
