/* discovery/quicksend.h - the socket and the timer of discovery/quickput.h. */
#ifndef CV_DISCOVERY_QUICKSEND_H
#define CV_DISCOVERY_QUICKSEND_H
#include "base/loop.h"
#include "discovery/quickput.h"

struct cv_quicksend;

/* IPv4 only.  `value` is kept, called from the loop, and may not free it.
 * CV_ERR_NONET, CV_ERR_NOMEM. */
CV_MUST_USE int
cv_quicksend_new(struct cv_quicksend **out, struct cv_loop *loop,
                 void (*value)(void *user, uint64_t get, struct cv_bytes value),
                 void *user);
void cv_quicksend_free(struct cv_quicksend *s);
void cv_quicksend_boot(struct cv_quicksend *s, const struct cv_addr *addr);
/* Not certain: what is too long, or too much, is left to others. */
void cv_quicksend_put(struct cv_quicksend *s, const struct cv_loc *loc,
                      struct cv_bytes value);
/* As cv_quickput_get(). */
void cv_quicksend_get(struct cv_quicksend *s, const struct cv_loc *loc,
                      uint64_t get);
/* As cv_quickput_listen(), _moved() and _end(). */
void cv_quicksend_listen(struct cv_quicksend *s, const struct cv_loc *loc,
                         uint64_t get);
void cv_quicksend_moved(struct cv_quicksend *s);
void cv_quicksend_end(struct cv_quicksend *s, uint64_t get);
#endif
