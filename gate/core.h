/* gate/core.h - what a gate does: it lets clients in by their keys, holds rooms
 * for those who can be rung, hands knocks over, joins two clients by a channel
 * and passes packets along it, and keeps sealed pointers for a while.
 * connectivity.md, 13; docs/protocol.md, 8.
 *
 * Pure: links and UDP packets come in as bytes with the time, and go out by
 * the calls of struct cv_gate_out.  What carries a link (TLS, WebSocket) is
 * the server's.
 *
 * Nothing is kept for whom has not proved an address (TCP's handshake, or a
 * cookie), and no answer over UDP is longer than what asked for it. */
#ifndef CV_GATE_CORE_H
#define CV_GATE_CORE_H
#include "base/log.h"
#include "gate/limits.h"
#include "transport/gateframe.h"

struct cv_gate_core;
struct cv_gate_client;

enum cv_gate_policy {
    CV_GATE_OPEN_TO_ALL,
    CV_GATE_KEYS,  /* the identities listed may use it */
    CV_GATE_HOSTS, /* they may register, anybody may ring and open */
    CV_GATE_TOKEN, /* whoever has the token */
};

struct cv_gate_core_config {
    const struct cv_keypair *key; /* kept: of the gate */
    const struct cv_rng *rng;     /* kept */
    struct cv_log *log;           /* kept, may be NULL */
    enum cv_gate_policy policy;
    const struct cv_key *identities; /* [n_identities], kept */
    size_t n_identities;
    struct cv_bytes token; /* kept */
    uint16_t udp_port;     /* told in WELCOME */
    bool behind_proxy;     /* accept b = 0 */
    struct cv_gate_limits limits;
};

struct cv_gate_out {
    /* Append whole frames to a link.  CV_ERR_AGAIN: its queue is full, nothing
     * was taken.  None of these may call back into the core. */
    int (*send)(void *user, void *link, const uint8_t *data, size_t len);
    /* Flush what was sent to the link and close it.  No link_closed follows. */
    void (*close)(void *user, void *link);
    void (*udp)(void *user, const struct cv_addr *to, const uint8_t *data,
                size_t len);
};

/* `out` is kept. */
CV_MUST_USE int cv_gate_core_new(struct cv_gate_core **core,
                                 const struct cv_gate_core_config *config,
                                 const struct cv_gate_out *out, void *user,
                                 cv_time now);
void cv_gate_core_free(struct cv_gate_core *core);

/* Other policy, lists or limits (SIGHUP); who is in stays in. */
void cv_gate_core_configure(struct cv_gate_core *core,
                            const struct cv_gate_core_config *config);
/* Say goodbye to everybody and let nobody in. */
void cv_gate_core_drain(struct cv_gate_core *core, uint32_t within_ms);
/* Links that are open. */
size_t cv_gate_core_links(const struct cv_gate_core *core);

/* ---- links -------------------------------------------------------------- */

/* May another connection from this address be accepted?  Asked before any
 * memory is spent on it. */
bool cv_gate_link_allowed(struct cv_gate_core *core, const struct cv_addr *from,
                          cv_time now);
/* A link is ready: sends CHALLENGE. `exporter` is of its TLS session, NULL
 * where there is none. NULL: refused, close it. */
struct cv_gate_client *cv_gate_link_open(struct cv_gate_core *core, void *link,
                                         const struct cv_addr *from,
                                         const uint8_t exporter[32],
                                         cv_time now);
/* Bytes came.  How many were used is returned; what is left is the beginning
 * of a frame, at most CV_GATE_FRAME_MAX + 2 bytes.  Negative: the link was
 * closed and the client is gone. */
ptrdiff_t cv_gate_link_input(struct cv_gate_client *client, const uint8_t *data,
                             size_t len, cv_time now);
/* It sends faster than it may: read no more from it until then. */
cv_time cv_gate_link_paused(const struct cv_gate_client *client, cv_time now);
/* The link is closed, by the other side or by an error. */
void cv_gate_link_closed(struct cv_gate_client *client, cv_time now);

/* ---- UDP ---------------------------------------------------------------- */

/* What came together: `len` bytes, packets of `segment` bytes each, the last
 * one maybe shorter; the first byte is 0x10..0x14.  Deals with the first of
 * them, and those behind it that go along the same channel, and returns how
 * many bytes that was.  `*to`: these are to be passed on, as they now are in
 * `data`, to there (which the core keeps); NULL: they are not. */
size_t cv_gate_udp_input(struct cv_gate_core *core, const struct cv_addr *from,
                         uint8_t *data, size_t len, size_t segment, cv_time now,
                         const struct cv_addr **to);

/* ---- time --------------------------------------------------------------- */

/* Do what is due; call about once a second. */
void cv_gate_core_step(struct cv_gate_core *core, cv_time now,
                       cv_unix_ms unix_now);

/* ---- numbers ------------------------------------------------------------ */

/* X(name, help) */
#define CV_GATE_COUNTERS(X)                                                    \
    X(links_accepted, "links that were let in")                                \
    X(links_refused, "connections turned away for a limit")                    \
    X(auth_failed, "links whose proof was wrong")                              \
    X(policy_refused, "links refused by the policy")                           \
    X(registrations, "rooms registered")                                       \
    X(rings_delivered, "knocks handed over")                                   \
    X(rings_stored, "knocks kept for an owner who was away")                   \
    X(rings_refused, "knocks refused for a limit")                             \
    X(channels_opened, "channels opened")                                      \
    X(packets_udp, "packets passed on over UDP")                               \
    X(packets_link, "packets passed on over a link")                           \
    X(bytes_passed, "bytes passed on")                                         \
    X(packets_limited, "packets dropped because their sender was too fast")    \
    X(packets_slow, "packets dropped because their reader was too slow")       \
    X(packets_unknown, "packets of no channel, or from another address")       \
    X(bad_frames, "frames and datagrams that could not be read")               \
    X(stored, "pointers stored")                                               \
    X(fetched, "pointers fetched")

struct cv_gate_counters {
#define X(name, help) uint64_t name;
    CV_GATE_COUNTERS(X)
#undef X
};

struct cv_gate_gauges {
    size_t clients, links, rooms, channels, mails, pointers, sources;
    size_t mail_bytes, pointer_bytes;
};
const struct cv_gate_counters *
cv_gate_core_counters(const struct cv_gate_core *core);
struct cv_gate_gauges cv_gate_core_gauges(const struct cv_gate_core *core);
#endif
