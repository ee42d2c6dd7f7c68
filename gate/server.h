/* gate/server.h - a gate on its sockets: TCP for links, UDP for packets and
 * STUN, a page with metrics. */
#ifndef CV_GATE_SERVER_H
#define CV_GATE_SERVER_H
#include "base/loop.h"
#include "gate/core.h"

struct cv_gate_server;

#define CV_GATE_BINDS 8

struct cv_gate_server_config {
    struct cv_loop *loop; /* kept */
    struct cv_gate_core_config core;
    /* TCP with TLS, and UDP on the same addresses. */
    struct cv_addr listen[CV_GATE_BINDS];
    unsigned n_listen;
    /* TCP without TLS for WebSockets, behind a reverse proxy. */
    struct cv_addr proxied[CV_GATE_BINDS];
    unsigned n_proxied;
    struct cv_addr metrics;           /* family NONE: no metrics */
    const char *cert_file, *key_file; /* PEM; NULL: raw public key only */
    bool udp;                         /* carry packets over UDP */
    bool stun;                        /* answer STUN, on the UDP port */
};

/* The sentence of an error goes to `why`.  CV_ERR_BUSY, CV_ERR_PERM,
 * CV_ERR_NONET: an address cannot be bound; CV_ERR_FORMAT: the certificate. */
CV_MUST_USE int cv_gate_server_new(struct cv_gate_server **out,
                                   const struct cv_gate_server_config *config,
                                   char *why, size_t why_len);
void cv_gate_server_free(struct cv_gate_server *s);
/* Policy and limits; listeners stay as they are. */
void cv_gate_server_configure(struct cv_gate_server *s,
                              const struct cv_gate_core_config *config);
/* No new links; tell those that are to go within `ms`.  `done` is called when
 * the last one has gone, at the latest then. */
void cv_gate_server_drain(struct cv_gate_server *s, uint32_t ms,
                          cv_loop_fn done, void *user);
/* The port that was bound for `listen[0]`. */
uint16_t cv_gate_server_port(const struct cv_gate_server *s);
#endif
