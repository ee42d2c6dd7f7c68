/* transport/portmap_impl.h - what the files of transport/portmap.h share.
 *
 *   portmap.c         which way serves, leases, asking, time
 *   portmap_answer.c  what the gateway says, and what is believed of it */
#ifndef CV_TRANSPORT_PORTMAP_IMPL_H
#define CV_TRANSPORT_PORTMAP_IMPL_H
#include "transport/portmap.h"

/* --- portmap.c --- */

extern const enum cv_pcp_proto cv_portmap_protos[CV_PORTMAP_PORTS];

/* Has this way said no, and is that still to be respected? */
bool cv_portmap_is_refused(const struct cv_portmap *pm, enum cv_portmap_way way,
                           cv_time now);
/* Nothing is mapped; ask at `next`. */
void cv_portmap_forget(struct cv_portmap_lease *l, cv_time next);
/* From now on this way serves. */
void cv_portmap_choose(struct cv_portmap *pm, enum cv_portmap_way way,
                       cv_time now);
/* This way says no: the next that has answered, or might. */
void cv_portmap_refuse(struct cv_portmap *pm, enum cv_portmap_way way,
                       cv_time how_long, const char *why, cv_time now);
/* Has every way said no?  Then it is refused. */
void cv_portmap_all_refused(struct cv_portmap *pm, cv_time now);
/* The gateway gives `mapped` for so many seconds. */
void cv_portmap_give(struct cv_portmap *pm, enum cv_portmap_port port,
                     const struct cv_addr *mapped, uint32_t lifetime,
                     cv_time now);
/* Ask for a mapping by PCP or NAT-PMP; `lifetime` 0: give it back. */
void cv_portmap_send(struct cv_portmap *pm, enum cv_portmap_way way,
                     enum cv_portmap_port port, uint32_t lifetime);
/* It has lost our mappings: ask again within `spread`. */
void cv_portmap_ask_again(struct cv_portmap *pm, cv_time spread, cv_time now);
#endif
