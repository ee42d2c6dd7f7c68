/* tests/bench/gate_flow.h - packets through a relay over UDP: at a pace, in
 * bursts, counted and timed.  The relay is a gate or a TURN server. */
#ifndef CV_TESTS_GATE_FLOW_H
#define CV_TESTS_GATE_FLOW_H
#include "tests/bench/gate_client.h"

/* Packets go in at `tx` behind a header, and come out at `rx`. */
struct gf_flow {
    int tx, rx;
    uint8_t header[CV_GATE_UDP_HEADER];
    size_t tx_header, rx_header;
    struct gc_link *link[2]; /* of both ends to a gate; else NULL */
};

void gf_gate(struct gf_flow *flow, const struct gc_gate *gate,
             const struct cv_addr *from);
/* An allocation, and a channel (RFC 8656) to a socket of ours. */
void gf_turn(struct gf_flow *flow, const struct cv_addr *server);
/* Through gf_forward(): the socket that it is to read. */
int gf_bare(struct gf_flow *flow, struct cv_addr *to);
/* Pass on what comes, trains as trains, with nothing but the two calls of the
 * kernel that this takes: what no relay can go below.  Does not return. */
_Noreturn void gf_forward(int fd, const struct cv_addr *to);
/* An allocation and nothing more; the socket. */
int gf_turn_idle(const struct cv_addr *server);

struct gf_load {
    double pps;
    unsigned burst; /* packets at once */
    bool gso;       /* as one train, as QUIC sends; else one by one */
    double warm_s, seconds;
    size_t size;      /* bytes that the ends see */
    double flood_pps; /* beside it: 100 B each to `flood`, one by one */
    int flood;
    uint8_t flood_kind; /* first byte */
};

struct gf_result {
    uint64_t sent, got; /* after the warm-up */
    double seconds, p50_ms, p99_ms;
    double cpu_us; /* of the relay, in all */
    uint64_t flooded;
};

/* `pid`: the relay's. */
struct gf_result gf_run(const struct gf_flow *flow, const struct gf_load *load,
                        int pid);

double gf_now(void);
/* Microseconds of CPU that all threads of a process have used. */
double gf_cpu_us(int pid);
double gf_rss_kib(int pid);
#endif
