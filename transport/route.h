/* transport/route.h - which connection a connection id belongs to.
 *
 * A hash table with a seed of its own, so that ids chosen by others do not
 * collide on purpose. */
#ifndef CV_TRANSPORT_ROUTE_H
#define CV_TRANSPORT_ROUTE_H
#include "transport/quic.h"

#define CV_ROUTES_MAX 4096 /* ids at once */

struct cv_route;

struct cv_routes {
    struct cv_route *bucket[256];
    struct cv_route *last; /* found: packets come in trains */
    uint64_t seed;
    unsigned n;
};

void cv_routes_init(struct cv_routes *r, const struct cv_rng *rng);
void cv_routes_fini(struct cv_routes *r);
/* Replaces what was there.  CV_ERR_NOMEM, CV_ERR_LIMIT. */
int cv_routes_add(struct cv_routes *r, const struct cv_quic_cid *cid,
                  void *value);
void cv_routes_remove(struct cv_routes *r, const struct cv_quic_cid *cid,
                      const void *value);
void *cv_routes_find(struct cv_routes *r, const struct cv_quic_cid *cid);
#endif
