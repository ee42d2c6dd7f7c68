/* gate/limits.h - every bound of a gate, with its default.  All of them are
 * settings; what counts per source counts per IPv4 address or IPv6 /64,
 * because keys are free. */
#ifndef CV_GATE_LIMITS_H
#define CV_GATE_LIMITS_H
#include "base/time.h"
#include <stddef.h>
#include <stdint.h>

/* X(type, name, default, help) */
#define CV_GATE_LIMITS(X)                                                      \
    X(uint32_t, links, 4096, "links at a time")                                \
    X(uint32_t, links_per_source, 20, "of them from one source")               \
    X(uint32_t, connects_per_source, 20, "new connections a second from one")  \
    X(uint32_t, clients, 16384, "clients, with a link or without")             \
    X(uint32_t, rate, 1u << 20, "bytes a second that a client may send")       \
    X(uint32_t, burst, 4u << 20, "bytes at once")                              \
    X(uint32_t, rooms_per_client, 64, "rooms that a client may register")      \
    X(uint32_t, channels_per_room, 16, "channels in one room")                 \
    X(uint32_t, channels_per_client, 64, "channels of one client")             \
    X(uint32_t, rings_per_source, 1, "knocks a second from one source")        \
    X(uint32_t, rings_burst, 10, "knocks at once from one source")             \
    X(uint32_t, mails_per_room, 16, "knocks kept for one room")                \
    X(uint32_t, mails_per_source, 2, "of them from one source")                \
    X(uint32_t, mails, 16384, "knocks kept in all")                            \
    X(uint32_t, pointers_per_client, 4, "pointers that a client may store")    \
    X(uint32_t, pointers_per_location, 16, "pointers at one location")         \
    X(uint32_t, pointers, 16384, "pointers kept in all")                       \
    X(uint32_t, fetches_per_source, 5, "fetches a second from one source")     \
    X(uint32_t, asks_per_source, 50,                                           \
      "datagrams a second that are verified for clients of one source")        \
    X(uint32_t, waiting, 64u << 20, "bytes that wait for slow readers")        \
    X(uint32_t, handshakes, 1024, "connections that are no links yet")         \
    X(uint32_t, sources, 65536, "sources that are counted at a time")

struct cv_gate_limits {
#define X(type, name, value, help) type name;
    CV_GATE_LIMITS(X)
#undef X
};

static inline struct cv_gate_limits cv_gate_limits_default(void)
{
    return (struct cv_gate_limits){
#define X(type, name, value, help) .name = (value),
        CV_GATE_LIMITS(X)
#undef X
    };
}

/* Serving a frame that is no DATA is paid for as so many bytes more. */
#define CV_GATE_FRAME_COST 256

#define CV_GATE_AUTH_TIME   (10 * CV_SECOND) /* for the whole of it */
#define CV_GATE_IDLE_TIME   (120 * CV_SECOND)
#define CV_GATE_TICKET_TIME (15 * CV_MINUTE)
#define CV_GATE_MAIL_TIME   (60 * CV_SECOND)
/* A channel on which nobody sent for so long is closed. */
#define CV_GATE_CHANNEL_IDLE (300 * CV_SECOND)
#endif
