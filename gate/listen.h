/* gate/listen.h - accept TCP connections on one address. */
#ifndef CV_GATE_LISTEN_H
#define CV_GATE_LISTEN_H
#include "base/loop.h"

struct cv_gate_listen;

#define CV_GATE_BACKLOG 1024
#define CV_GATE_ACCEPTS 64 /* in one turn of the loop */

/* `accepted` owns the socket, which does not block. */
typedef void (*cv_gate_accept_fn)(void *user, int fd,
                                  const struct cv_addr *from);

/* CV_ERR_BUSY, CV_ERR_PERM, CV_ERR_NONET, CV_ERR_IO. */
CV_MUST_USE int cv_gate_listen_new(struct cv_gate_listen **out,
                                   struct cv_loop *loop,
                                   const struct cv_addr *at,
                                   cv_gate_accept_fn accepted, void *user);
void cv_gate_listen_free(struct cv_gate_listen *l);
uint16_t cv_gate_listen_port(const struct cv_gate_listen *l);
#endif
