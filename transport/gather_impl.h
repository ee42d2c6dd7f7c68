/* transport/gather_impl.h - what the files of transport/gather.h share.
 *
 *   gather.c        whom we ask how we are seen, and when
 *   gather_own.c    what follows: our candidates, and how the NAT maps
 *   gather_tests.c  what the NAT filters, and how long it keeps a mapping */
#ifndef CV_TRANSPORT_GATHER_IMPL_H
#define CV_TRANSPORT_GATHER_IMPL_H
#include "transport/gather.h"

/* Is it a further address of a server, asked once? */
static inline bool cv_gather_is_other(const struct cv_gather *g,
                                      const struct cv_gather_source *src)
{
    return src >= g->other && src < g->other + CV_GATHER_OTHERS;
}

/* --- gather.c --- */

/* There is news: tell it when a little more may have come. */
void cv_gather_soon(struct cv_gather *g, cv_time now);
/* Is this the address of a configured server? */
bool cv_gather_is_server(const struct cv_gather *g, const struct cv_addr *a);

/* --- gather_own.c --- */

/* IPv6 global, mapped, reflexive, then addresses of the LAN. */
void cv_gather_collect(struct cv_gather *g, struct cv_candidates *c);
/* A port that was counted up is no news: who asks gets the newest. */
bool cv_gather_same(const struct cv_candidates *a,
                    const struct cv_candidates *b);

/* --- gather_tests.c --- */

/* The first server that has a second address is asked there as well; what is
 * asked already would only tell of its one mapping again, as if it were new. */
void cv_gather_ask_other(struct cv_gather *g,
                         const struct cv_gather_source *src,
                         const struct cv_addr *other, cv_time now);
/* Another network: nothing is known of its NAT. */
void cv_gather_forget(struct cv_gather *g);
/* An answer to one of the two tests? */
bool cv_gather_tests_input(struct cv_gather *g, const struct cv_path_addr *from,
                           const struct cv_stun *m, cv_time now);
cv_time cv_gather_tests_deadline(const struct cv_gather *g);
void cv_gather_tests_step(struct cv_gather *g, cv_time now);
#endif
