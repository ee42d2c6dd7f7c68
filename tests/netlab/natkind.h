/* tests/netlab/natkind.h - what kind of NAT is this?
 *
 * The tests of RFC 5780, section 4, for UDP and in the same way for TCP, over
 * any world that can send: sockets in a namespace (natprobe.c), or the NATs of
 * tests/sim on a virtual clock.  The server has two addresses and NAT_PORTS
 * ports on each. */
#ifndef CV_TESTS_NATKIND_H
#define CV_TESTS_NATKIND_H
#include "base/addr.h"

#define NAT_PORTS 16
#define NAT_443   15 /* the last ports of the server are 80 and 443 */
#define NAT_TEXT  128

enum nat_proto {
    NAT_UDP,
    NAT_TCP,
};

enum nat_mapping {
    NAT_BLOCKED,
    NAT_443_ONLY, /* blocked, but for that port */
    NAT_EIM,      /* endpoint-independent, RFC 4787, 4.1 */
    NAT_ADM,      /* address-dependent */
    NAT_APDM,     /* address- and port-dependent */
};

enum nat_filter {
    NAT_EIF,
    NAT_ADF,
    NAT_APDF,
};

enum nat_ports {
    NAT_NOT, /* the address is kept, too: no NAT */
    NAT_PRESERVED,
    NAT_SHIFTED,    /* another port, the same for everybody */
    NAT_SEQUENTIAL, /* each flow the next one */
    NAT_RANDOM,     /* anywhere in 1024..65535 */
    NAT_NARROW,     /* neither */
};

enum nat_strays {
    NAT_SILENT,   /* nothing comes back: dropped */
    NAT_ACCEPTED, /* refused by the gateway's own stack, and remembered: the
                   * next flow to the sender gets another port */
    NAT_REJECTED, /* refused, and no trace */
    NAT_REFUSED,  /* one of the two; this mapping cannot tell */
    NAT_ANSWERED, /* they reach the host */
};

struct nat_found {
    enum nat_mapping mapping;
    enum nat_filter filter;
    enum nat_ports ports;
    enum nat_strays strays;
};

/* A port of the server. */
struct nat_point {
    unsigned ip, port; /* 0 or 1; below NAT_PORTS */
};

struct nat_world {
    /* A fresh local port, from which nothing was sent; 0 if there is none. */
    uint16_t (*bind)(void *user, enum nat_proto proto);
    /* Ask `to` what it sees, and to answer from `from` (with TCP: to dial from
     * there).  True when that arrives. */
    bool (*ask)(void *user, enum nat_proto proto, uint16_t local,
                struct nat_point to, struct nat_point from,
                struct cv_addr *mapped);
    /* The server sends something unasked. */
    enum nat_strays (*stray)(void *user, enum nat_proto proto,
                             struct nat_point from, const struct cv_addr *to);
    struct cv_addr (*own)(void *user); /* the host's address */
    void *user;
};

void nat_find(const struct nat_world *w, enum nat_proto proto,
              struct nat_found *out);
/* "eim/apdf/preserved/silent", "blocked" or "443only"; returns `out`. */
char *nat_format(const struct nat_found *f, char out[NAT_TEXT]);
#endif
