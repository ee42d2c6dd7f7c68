/* gate/core_struct.h - the inside of a gate, for its files:
 *
 *   core.c     its life, cookies, UDP, and what is due
 *   client.c   who is in: their budgets, their links' life
 *   link.c     what comes over a link: proofs and frames
 *   source.c   what one address or /64 has and may do
 *   room.c     rooms, knocks and those that wait
 *   channel.c  channels, and packets along them
 *   ask.c      requests with a ticket, over UDP
 *   shelf.c    sealed pointers */
#ifndef CV_GATE_CORE_STRUCT_H
#define CV_GATE_CORE_STRUCT_H
#include "base/bucket.h"
#include "gate/core.h"
#include "gate/table.h"

/* An IPv4 address, or the first 64 bits of an IPv6 one. */
struct cv_gate_source {
    struct cv_table_node node;
    uint8_t key[9]; /* family, then 4 or 8 bytes */
    unsigned links, mails;
    unsigned users; /* things that point here; it stays while there are any */
    cv_time seen;
    struct cv_bucket connects, rings, fetches, asks;
};

/* Bytes that a client may still send. */
struct cv_gate_budget {
    int64_t bytes; /* negative: wait */
    cv_time filled;
};

/* One end of a channel. */
struct cv_gate_end {
    struct cv_table_node node; /* in core->ends, by id */
    uint32_t id;
    uint8_t which; /* 0: who opened it, 1: the room's owner */
    bool bound;    /* packets may come from, and go to, `udp` */
    uint8_t key[CV_GATE_CHANNEL];
    uint64_t counter; /* of the last BIND */
    struct cv_addr udp;
    struct cv_gate_client *client;
    struct cv_gate_end *next; /* of the client's */
};

struct cv_gate_channel {
    struct cv_gate_end end[2];
    uint8_t room[CV_GATE_ROOM];
    cv_time heard; /* when a packet last passed */
};

struct cv_gate_mail {
    struct cv_gate_mail *next; /* of the room, oldest first */
    struct cv_gate_source *from;
    cv_time until;
    uint8_t tag[CV_GATE_TAG];
    size_t len;
    uint8_t knock[];
};

struct cv_gate_room {
    struct cv_table_node node; /* in core->rooms, by name */
    uint8_t name[CV_GATE_ROOM];
    struct cv_gate_client *owner; /* NULL: only mails wait here */
    struct cv_gate_room *next;    /* of the owner's */
    unsigned n_mails;
    struct cv_gate_mail *mails;
};

struct cv_gate_pointer {
    struct cv_table_node node; /* in core->shelf, by location */
    uint8_t loc[20];
    struct cv_key owner; /* N */
    struct cv_gate_source *from;
    cv_time until;
    size_t len;
    uint8_t sealed[];
};

/* Who is in: with a link, or for a while longer with a ticket. */
struct cv_gate_client {
    struct cv_table_node node; /* in core->clients, by ticket */
    uint8_t ticket[CV_GATE_TICKET_ID];
    struct cv_gate_core *core;
    void *link; /* NULL: only the ticket is left */
    struct cv_gate_source *source;
    struct cv_addr addr; /* of the link */
    bool authenticated;
    bool may_register;
    bool bound;                          /* `udp` is proved */
    struct cv_gate_handshake *handshake; /* until it is authenticated */
    struct cv_key key;                   /* N */
    uint8_t ticket_key[CV_GATE_TICKET_KEY];
    cv_time ticket_until;
    uint64_t counter; /* of the last request with the ticket */
    struct cv_addr udp;
    cv_time heard, opened;
    struct cv_gate_budget budget;
    cv_time slow_at; /* SLOW may be said again */
    struct cv_gate_room *rooms;
    struct cv_gate_end *ends;
    unsigned n_rooms, n_ends;
};

struct cv_gate_core {
    struct cv_gate_core_config config;
    const struct cv_gate_out *out;
    void *user;
    cv_time now;
    cv_unix_ms unix_now;
    uint8_t secret[32]; /* of cookies */
    bool draining;
    size_t links, mails, mail_bytes, pointer_bytes;
    struct cv_table clients, rooms, ends, shelf, sources;
    struct cv_gate_counters counters;
};

/* --- core.c --- */

/* A cookie for `what`, now, for this address; and whether one is good. */
void cv_gate_make_cookie(const struct cv_gate_core *core,
                         uint8_t out[CV_GATE_COOKIE],
                         const struct cv_addr *from, struct cv_bytes what);
bool cv_gate_cookie_is_good(const struct cv_gate_core *core,
                            const uint8_t cookie[CV_GATE_COOKIE],
                            const struct cv_addr *from, struct cv_bytes what);

/* --- client.c --- */

/* Send one frame.  CV_ERR_AGAIN: the link is full; CV_ERR_NOTFOUND: none. */
int cv_gate_client_send(struct cv_gate_client *c,
                        const struct cv_gate_frame *f);
void cv_gate_client_refuse(struct cv_gate_client *c, enum cv_gate_type of,
                           enum cv_gate_refusal why, const uint8_t *tag);
/* Everything of it goes, its link too. */
void cv_gate_client_end(struct cv_gate_client *c);
/* May it send `len` bytes more? */
bool cv_gate_client_charge(struct cv_gate_client *c, size_t len);
/* It has sent them over its link, which is paused until they are paid for. */
void cv_gate_client_owe(struct cv_gate_client *c, size_t len);
/* It has proved who it is, or it ends. */
void cv_gate_client_forget_handshake(struct cv_gate_client *c);
/* End those that are late, silent or over. */
void cv_gate_clients_sweep(struct cv_gate_core *core);

/* --- source.c --- */

/* NULL: there are too many.  Hold it with `users`. */
struct cv_gate_source *cv_gate_source(struct cv_gate_core *core,
                                      const struct cv_addr *from);
void cv_gate_source_hold(struct cv_gate_source *s);
void cv_gate_source_release(struct cv_gate_source *s);
/* Forget those that nothing points to and that have been quiet. */
void cv_gate_sources_sweep(struct cv_gate_core *core);

/* --- room.c --- */

/* CV_GATE_REFUSAL_*, or 0. */
int cv_gate_room_register(struct cv_gate_client *c,
                          const uint8_t r[CV_GATE_ROOM_KEY],
                          uint8_t name[CV_GATE_ROOM]);
void cv_gate_room_leave(struct cv_gate_client *c,
                        const uint8_t name[CV_GATE_ROOM]);
void cv_gate_rooms_leave_all(struct cv_gate_client *c);
struct cv_gate_room *cv_gate_room_find(struct cv_gate_core *core,
                                       const uint8_t name[CV_GATE_ROOM]);
/* Hand it over or keep it.  CV_GATE_REFUSAL_* or 0, then `result` says. */
int cv_gate_room_ring(struct cv_gate_client *c, struct cv_gate_source *from,
                      const struct cv_gate_frame *ring,
                      enum cv_gate_rang *result);
/* What waits in it, to its owner. */
void cv_gate_room_hand_over(struct cv_gate_core *core,
                            struct cv_gate_room *room);
void cv_gate_rooms_sweep(struct cv_gate_core *core);
void cv_gate_rooms_free(struct cv_gate_core *core);

/* --- channel.c --- */

int cv_gate_channel_open(struct cv_gate_client *c,
                         const struct cv_gate_frame *f);
void cv_gate_channel_close(struct cv_gate_client *c, uint32_t id);
void cv_gate_channel_unbind(struct cv_gate_client *c, uint32_t id);
void cv_gate_channels_close_all(struct cv_gate_client *c);
void cv_gate_channel_vouch(struct cv_gate_client *c, uint32_t id);
void cv_gate_channel_data(struct cv_gate_client *c, uint32_t id,
                          struct cv_bytes packet);
void cv_gate_channel_bind(struct cv_gate_core *core, const struct cv_addr *from,
                          const uint8_t *data, size_t len);
/* As cv_gate_udp_input(). */
size_t cv_gate_channel_forward(struct cv_gate_core *core,
                               const struct cv_addr *from, uint8_t *data,
                               size_t len, size_t segment,
                               const struct cv_addr **to);
void cv_gate_channels_sweep(struct cv_gate_core *core);

/* --- ask.c --- */

void cv_gate_ask(struct cv_gate_core *core, const struct cv_addr *from,
                 const uint8_t *data, size_t len);
/* To a client that has only its ticket.  False: it has no proved address. */
bool cv_gate_tell(struct cv_gate_client *c, const struct cv_gate_frame *f);

/* --- shelf.c --- */

int cv_gate_shelf_store(struct cv_gate_client *c,
                        const struct cv_gate_frame *f);
int cv_gate_shelf_fetch(struct cv_gate_client *c, const uint8_t loc[20]);
void cv_gate_shelf_sweep(struct cv_gate_core *core);
void cv_gate_shelf_free(struct cv_gate_core *core);
#endif
