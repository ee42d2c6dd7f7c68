/* transport/tcp_struct.h - what the files of transport/tcp.h share.
 *
 *   tcp.c       links: what is sent and received, and how they end
 *   tcp_open.c  how they begin: listening, accepting, SYNs */
#ifndef CV_TRANSPORT_TCP_STRUCT_H
#define CV_TRANSPORT_TCP_STRUCT_H
#include "transport/tcp.h"
#include "transport/tcpframe.h"
#include "transport/tcpqueue.h"
#include <sys/socket.h>

enum link_state {
    CONNECTING, /* our SYN is out */
    UP,
    GONE, /* freed when no call of ours is under way */
};

struct link {
    struct link *next;
    struct cv_tcp *tcp;
    enum link_state state;
    enum cv_tcp_kind kind;
    bool ours; /* we connected; else accepted */
    bool kept;
    bool full; /* somebody waits for `writable` */
    int fd;
    struct cv_watch *watch;
    struct cv_path_addr addr;
    cv_time prove_by;  /* CV_NEVER once kept, or while connecting */
    unsigned low_ttl;  /* of our SYNs; 0: the system's */
    cv_time lower_at;  /* when it has to be low again; CV_NEVER: need not */
    unsigned repeated; /* SYNs by the kernel */
    struct cv_tcpframe frames;
    struct cv_tcpqueue queue;
};

struct end { /* a listener */
    struct cv_tcp *tcp;
    int fd; /* -1: none */
    uint16_t port;
    struct cv_watch *watch;
};

struct cv_tcp {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_tcp_events *events;
    void *user;
    struct end v4, v6;
    struct link *links;
    unsigned n_links;
    uint32_t last_channel;
    struct cv_timer *timer;
    unsigned depth; /* of our own callbacks */
    bool freed;     /* by one of them: the last one out does it */
    uint8_t *buffer;
};

static inline void cv_tcp_set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* --- tcp.c --- */

/* NULL: there is none, or it is gone. */
struct link *cv_tcp_find(const struct cv_tcp *tcp, uint32_t channel);
/* Takes the descriptor on success.  NULL: too many, or no memory. */
struct link *cv_tcp_add_link(struct cv_tcp *tcp, int fd, enum cv_tcp_kind kind,
                             const struct cv_addr *remote, unsigned watch);
/* Once connected: no Nagle, a bounded rest in the kernel, RST at the end. */
void cv_tcp_set_up(struct link *l, cv_time now);
/* End it and tell. */
void cv_tcp_lose(struct link *l, int err);
void cv_tcp_set_timer(struct cv_tcp *tcp);
/* Around what calls back: links and the whole are freed by the last one out. */
void cv_tcp_enter(struct cv_tcp *tcp);
void cv_tcp_leave(struct cv_tcp *tcp);

/* --- tcp_open.c --- */

/* Listen on this port, or on any; CV_OK also where the family is missing. */
CV_MUST_USE int cv_tcp_listen(struct cv_tcp *tcp, struct end *end,
                              enum cv_family family, uint16_t port);
void cv_tcp_unlisten(struct end *end);
/* A SYN that waits for the other side's: low TTL while the kernel is about to
 * repeat it, else the system's, for the answer to the other side.  What is
 * answered just then is answered again a second later. */
void cv_tcp_watch_low(struct link *l, cv_time now);
#endif
