/* transport/gatelink.h - one link to one gate: a stream to it, its proof and
 * ours, then frames both ways; made anew when it breaks.
 *
 * Knows frames, not what they are for: transport/gates.h does. */
#ifndef CV_TRANSPORT_GATELINK_H
#define CV_TRANSPORT_GATELINK_H
#include "transport/gatedial.h"

struct cv_gatelink;

#define CV_GATELINK_QUEUE (256 * 1024)     /* bytes that wait to be written */
#define CV_GATELINK_PROVE (5 * CV_SECOND)  /* for both proofs */
#define CV_GATELINK_PING  (60 * CV_SECOND) /* NATs forget idle TCP later */
/* Nothing came for so long after something was sent: the gate is asked whether
 * it is there.  When nothing at all comes for PONG after that, as when its
 * network swallows every packet, the link is down; so within 4 s of the first
 * frame that was lost, and within PING and PONG when nobody sends. */
#define CV_GATELINK_ASK  (1 * CV_SECOND)
#define CV_GATELINK_PONG (3 * CV_SECOND)
/* A gate that went away is restarted, most often: for so long it is asked
 * every few seconds whether it is back. */
#define CV_GATELINK_LATELY (5 * CV_MINUTE)

enum cv_gatelink_state {
    CV_GATELINK_DOWN,       /* waits to try again */
    CV_GATELINK_CONNECTING, /* name, TCP, TLS, proofs */
    CV_GATELINK_UP,
};

struct cv_gatelink_config {
    struct cv_loop *loop;          /* kept */
    struct cv_log *log;            /* kept, may be NULL */
    const struct cv_rng *rng;      /* kept */
    const struct cv_keypair *node; /* kept: N */
    const struct cv_cert *cert;    /* kept, may be NULL: for gates that list
                                      identities */
    struct cv_gate_name name;      /* copied */
    char token[256];               /* copied; "": none */
    const struct cv_proxy *proxy;  /* kept, may be NULL */
    const char *ca_file; /* kept; who vouches for hosts of gates behind a
                            reverse proxy (PEM), NULL: as this machine says */
};

struct cv_gatelink_events {
    /* Let in; `welcome` is verified. */
    void (*up)(void *user, const struct cv_gate_welcome *welcome);
    /* A frame of the gate, never CHALLENGE, WELCOME, PING or PONG. */
    void (*frame)(void *user, const struct cv_gate_frame *f);
    /* The link broke or could not be made; it is tried again.  `why` is a
     * sentence for a person. */
    void (*down)(void *user, const char *why);
    /* There is room again after CV_ERR_AGAIN. */
    void (*writable)(void *user);
};

/* Begins at once.  `events` is kept.  None of them may free the link. */
CV_MUST_USE int cv_gatelink_new(struct cv_gatelink **out,
                                const struct cv_gatelink_config *config,
                                const struct cv_gatelink_events *events,
                                void *user);
void cv_gatelink_free(struct cv_gatelink *l);
enum cv_gatelink_state cv_gatelink_state(const struct cv_gatelink *l);
/* The sentence of the last `down`, "" before. */
const char *cv_gatelink_trouble(const struct cv_gatelink *l);
/* The gate's address; family NONE while it is not up, and where only a proxy
 * knows it. */
struct cv_addr cv_gatelink_remote(const struct cv_gatelink *l);
/* Which way it is up by, CV_GATE_WAY_*; 0 while it is not. */
unsigned cv_gatelink_way(const struct cv_gatelink *l);
/* The smoothed round trip of PINGs, 0 until measured. */
cv_time cv_gatelink_rtt(const struct cv_gatelink *l);
/* Queue a frame; it is written at the end of this turn of the loop.
 *   CV_ERR_CLOSED  it is not up
 *   CV_ERR_AGAIN   the queue is full; `writable` follows */
int cv_gatelink_send(struct cv_gatelink *l, const struct cv_gate_frame *f);
/* How long to wait after `tries` failures in a row; `lately`: for a gate that
 * was there within CV_GATELINK_LATELY.  `random` spreads it (by half of it up
 * and down), so that ten thousand clients of a gate that comes back do not come
 * all at once; at most 6 s lately, else 45 s. */
cv_time cv_gatelink_wait(unsigned tries, bool lately, uint64_t random);
/* See at once whether it lives, if it is up. */
void cv_gatelink_ask(struct cv_gatelink *l);
/* The network changed: see at once whether it lives, or try again now. */
void cv_gatelink_recheck(struct cv_gatelink *l);
#endif
