/* transport/netif.h - the interfaces of this machine: which of their addresses
 * are worth telling a peer, and when they change. */
#ifndef CV_TRANSPORT_NETIF_H
#define CV_TRANSPORT_NETIF_H
#include "base/log.h"
#include "base/loop.h"
#include "transport/local.h"

struct cv_netif { /* one address of an interface that is up */
    char name[16];
    struct cv_addr addr; /* port 0 */
    uint8_t bits;
};

#define CV_NETIFS_MAX 128

/* Put the usable ones into `out` (net, only_loopback; the rest is left alone):
 * no loopback, no link-local address, nothing of docker, veth, virbr, br-,
 * tun, tap and the like.  If that leaves nothing, those virtual ones after
 * all; if there are none either, loopback.  Pure. */
void cv_netif_filter(struct cv_local *out, const struct cv_netif *all,
                     unsigned n);

/* Read the system's: fills net, only_loopback and gateway. */
CV_MUST_USE int cv_netif_read(struct cv_local *out);

/* Call `fn` soon after addresses, links or routes changed (netlink), and once
 * more a second later, when routes have settled; and when the machine wakes
 * from a suspend. */
struct cv_netif_watch;
CV_MUST_USE int cv_netif_watch_new(struct cv_netif_watch **out,
                                   struct cv_loop *loop, cv_loop_fn fn,
                                   void *user);
/* Was the machine asleep since this was last asked?  Then its network may be
 * another one, whatever its addresses say. */
bool cv_netif_watch_slept(struct cv_netif_watch *w);
void cv_netif_watch_free(struct cv_netif_watch *w);
#endif
