/* tests/bench/gate_client.h - a client of a gate that blocks: for benchmarks,
 * and for tests that break rules which transport/gatelink.h keeps.  It ends
 * the program when what it needs fails. */
#ifndef CV_TESTS_GATE_CLIENT_H
#define CV_TESTS_GATE_CLIENT_H
#include "transport/gateframe.h"
#include "transport/tls.h"

#define GC_BUFFER (128 * 1024)

enum gc_carriage {
    GC_TLS,       /* frames in TLS */
    GC_WEBSOCKET, /* messages in TLS */
    GC_PLAIN,     /* messages without TLS, as a reverse proxy sends them */
};

struct gc_link {
    int fd;
    enum gc_carriage carriage;
    struct cv_tls *tls;
    struct cv_keypair key;
    struct cv_gate_welcome welcome;
    uint8_t *in; /* [GC_BUFFER], bytes of frames from `at` to `have` */
    size_t at, have;
    uint8_t *raw; /* [GC_BUFFER], of WebSocket messages */
    size_t raw_have;
};

/* One gate, one process. */
struct gc_gate {
    struct cv_addr tcp;   /* its listener */
    struct cv_addr plain; /* for GC_PLAIN */
    struct cv_key key;
    struct cv_tls_ctx *ctx;
};

#define GC_NEED(cond)                                                          \
    do {                                                                       \
        if (!(cond))                                                           \
            gc_die(__FILE__, __LINE__, #cond);                                 \
    } while (0)
_Noreturn void gc_die(const char *file, int line, const char *what);

void gc_random(void *out, size_t len);
/* A connected TCP socket from `from` (family NONE: any); -1: refused. */
int gc_connect(const struct cv_addr *to, const struct cv_addr *from);
/* Connected, shaken hands and welcome.  False: refused or cut off. */
bool gc_link_try(struct gc_link *l, const struct gc_gate *gate,
                 enum gc_carriage carriage, const struct cv_addr *from);
void gc_link_open(struct gc_link *l, const struct gc_gate *gate,
                  enum gc_carriage carriage, const struct cv_addr *from);
void gc_link_close(struct gc_link *l);
/* Write bytes of frames as they are.  False: the link is broken. */
bool gc_write(struct gc_link *l, const uint8_t *frames, size_t len);
void gc_send(struct gc_link *l, const struct cv_gate_frame *f);
/* The next frame; its bytes stay until the next call.  False: the end. */
bool gc_recv(struct gc_link *l, struct cv_gate_frame *f);
/* Wait for bytes and count the payload of DATA in them; false: the end. */
bool gc_drain(struct gc_link *l, uint64_t *packets, uint64_t *bytes);
/* The next frame of this type; others are dropped. */
struct cv_gate_frame gc_want(struct gc_link *l, enum cv_gate_type type);
void gc_register(struct gc_link *l, uint8_t room[CV_GATE_ROOM]);

struct gc_end {
    uint32_t id;
    uint8_t key[CV_GATE_CHANNEL];
};
/* A channel from `a` to the room that `b` has registered. */
void gc_channel(struct gc_link *a, struct gc_link *b,
                const uint8_t room[CV_GATE_ROOM], struct gc_end *end_a,
                struct gc_end *end_b);
/* A UDP socket that is connected to the gate. */
int gc_udp(const struct gc_gate *gate, const struct cv_addr *from);
/* Bind this end to that socket. */
void gc_bind(int udp, const struct gc_end *end);
/* A request with the ticket of a link, and the cookie in its answer.  False:
 * no answer within a second. */
bool gc_ask(int udp, const struct cv_gate_welcome *welcome, uint64_t counter,
            const uint8_t cookie[CV_GATE_COOKIE],
            const struct cv_gate_frame *f);
bool gc_answer(int udp, const struct cv_gate_welcome *welcome,
               uint8_t cookie[CV_GATE_COOKIE]);
#endif
