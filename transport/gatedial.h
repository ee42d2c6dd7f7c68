/* transport/gatedial.h - get a stream to a gate: every way there is, raced.
 *
 * The ways are TLS with the gate's own protocol and a WebSocket in TLS, each
 * through the proxy that https_proxy names, if it does, and without one.  They
 * are started one after the other, CV_GATEDIAL_NEXT apart or as soon as one
 * has failed; each of them tries the addresses of its name, IPv6 and IPv4 by
 * turns, CV_GATEDIAL_ADDR apart (RFC 8305).  The first that is whole wins, and
 * is the first one next time. */
#ifndef CV_TRANSPORT_GATEDIAL_H
#define CV_TRANSPORT_GATEDIAL_H
#include "transport/gatetry.h"

struct cv_gatedial;

#define CV_GATEDIAL_ADDRS 4 /* of a name that are tried */
#define CV_GATEDIAL_NEXT  (500 * CV_MILLISECOND)
#define CV_GATEDIAL_ADDR  (250 * CV_MILLISECOND)

/* What is remembered of a gate from one dial to the next. */
struct cv_gatedial_memory {
    uint8_t order[CV_GATE_WAYS]; /* the ways, in the order they are tried */
    struct cv_addr last;         /* of the gate itself; family NONE: unknown */
};
void cv_gatedial_memory_init(struct cv_gatedial_memory *m);
/* This way has let us in: it comes first; or it led nowhere: last. */
void cv_gatedial_good(struct cv_gatedial_memory *m, unsigned way);
void cv_gatedial_bad(struct cv_gatedial_memory *m, unsigned way);

/* Called once; the dial is to be freed then.  `why` is NULL and `stream` to be
 * taken over, or it is the most telling sentence of all that failed; `err` is
 * CV_ERR_AUTH when somebody else answered in the gate's place. */
typedef void (*cv_gatedial_fn)(void *user, struct cv_gatestream *stream,
                               int err, const char *why);
/* `config` is copied, what it points to is kept, `memory`, too.  `done` comes
 * from the loop, later. */
CV_MUST_USE int cv_gatedial_new(struct cv_gatedial **out,
                                const struct cv_gatetry_config *config,
                                struct cv_gatedial_memory *memory,
                                cv_gatedial_fn done, void *user);
/* Ends all tries; NULL is fine. */
void cv_gatedial_free(struct cv_gatedial *d);

/* IPv6 and IPv4 by turns, beginning with the family of addrs[0]; in place
 * (RFC 8305, 4). */
void cv_gatedial_interleave(struct cv_addr *addrs, unsigned n);
#endif
