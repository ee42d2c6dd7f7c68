/* transport/gates_struct.h - what the files of transport/gates.h share.
 *
 *   gates.c          the gates: links, what they say, rooms, pointers
 *   gates_channel.c  the channels: packets over a link, and over UDP */
#ifndef CV_TRANSPORT_GATES_STRUCT_H
#define CV_TRANSPORT_GATES_STRUCT_H
#include "transport/gates.h"

enum cv_gates_channel_state {
    CV_GATES_CHANNEL_FREE,
    CV_GATES_CHANNEL_WANTED, /* RING and OPEN are to be sent, or are on their
                                way */
    CV_GATES_CHANNEL_RUNG,   /* somebody rang; OPENED is to come */
    CV_GATES_CHANNEL_OPEN,
};

struct cv_gates_waiting {
    size_t len;
    uint8_t data[CV_GATE_PACKET_MAX];
};

struct cv_gates_channel {
    enum cv_gates_channel_state state;
    struct cv_gates_gate *gate;
    uint32_t number;                  /* ours: the path's channel */
    uint32_t id;                      /* the gate's */
    struct cv_gates_channel *same_id; /* next in cv_gates.by_id */
    uint8_t tag[CV_GATE_TAG], room[CV_GATE_ROOM];
    uint8_t key[CV_GATE_CHANNEL];
    bool claimed;
    bool asked;     /* RING and OPEN are sent… */
    cv_time ask_at; /* …not before: the first packet is to go with RING */
    cv_time open_by;
    cv_time ring_at; /* RING alone, which was refused; CV_NEVER */
    size_t knock_len;
    uint8_t knock[CV_GATE_KNOCK_MAX];
    /* To be sent (WANTED, or RUNG and claimed) or to be handed over (RUNG). */
    struct cv_gates_waiting *waiting; /* [CV_GATES_WAITING], NULL: none yet */
    unsigned n_waiting;
    /* UDP. */
    bool bound;
    uint64_t counter;
    uint8_t cookie[CV_GATE_COOKIE];
    unsigned bind_tries;
    cv_time bind_at; /* CV_NEVER: no UDP */
    cv_time since;   /* when something was sent and nothing came yet, or 0 */
};

struct cv_gates_gate {
    struct cv_gates *all;
    bool used, own;
    struct cv_gate_name name;
    struct cv_gatelink *link;
    struct cv_gate_welcome welcome;
    cv_time idle_since;
};

struct cv_gates {
    struct cv_gates_config config;
    cv_time life; /* of an idle mapping in our NAT; 0: not known */
    const struct cv_gates_events *events;
    void *user;
    struct cv_gates_gate gate[CV_GATES_MAX];
    struct cv_gates_channel channel[CV_GATES_CHANNELS];
    struct cv_gates_channel *by_id[CV_GATES_CHANNELS]; /* open, by id modulo */
    uint8_t rooms[CV_GATES_ROOMS][CV_GATE_ROOM_KEY];
    unsigned n_rooms;
    struct {
        uint8_t loc[20];
        cv_time until; /* 0: free */
    } looks[CV_GATES_LOOKS];
    unsigned next_look;
    uint32_t rounds; /* of the numbers of channels */
    struct cv_timer *timer;
    struct cv_proxy proxy; /* to be used for links, if there is one */
};

static inline cv_time cv_gates_now(const struct cv_gates *g)
{
    return cv_loop_now(g->config.loop);
}

static inline void cv_gates_wake(struct cv_gates *g)
{
    cv_timer_set(g->timer, 0);
}

/* --- gates_channel.c --- */

/* NULL: there is none. `gate` NULL: at any. */
struct cv_gates_channel *
cv_gates_channel_by_tag(struct cv_gates *g, const struct cv_gates_gate *gate,
                        const uint8_t tag[CV_GATE_TAG]);
/* An open one by the gate's number of it. */
struct cv_gates_channel *
cv_gates_channel_by_id(struct cv_gates *g, const struct cv_gates_gate *gate,
                       uint32_t id);
/* NULL: there are CV_GATES_CHANNELS. */
struct cv_gates_channel *
cv_gates_channel_new(struct cv_gates *g, struct cv_gates_gate *gate,
                     const uint8_t tag[CV_GATE_TAG],
                     const uint8_t room[CV_GATE_ROOM],
                     enum cv_gates_channel_state state);
void cv_gates_channel_free(struct cv_gates_channel *ch);
/* The gate keeps one for minutes that nobody uses, and allows few: it is told
 * that there is no use for this one of its numbers. */
void cv_gates_give_back(struct cv_gates_gate *gate, uint32_t id);
/* Too many rang at the gate: ring again in a while.  False: it is too late. */
bool cv_gates_channel_ring_later(struct cv_gates_channel *ch);
/* Freed, and whoever has claimed it is told. */
void cv_gates_channel_lost(struct cv_gates_channel *ch, const char *why);
/* The same of one that the gate may still have. */
void cv_gates_channel_give_up(struct cv_gates_channel *ch, const char *why);
struct cv_path_addr cv_gates_channel_path(const struct cv_gates_channel *ch);
/* Keep a packet until the channel is open, or claimed. */
void cv_gates_channel_hold(struct cv_gates_channel *ch, const uint8_t *data,
                           size_t len);
/* The gate has handed our knock over. */
void cv_gates_channel_rang(struct cv_gates_channel *ch);
/* The gate has opened it. */
void cv_gates_channel_opened(struct cv_gates_channel *ch,
                             const struct cv_gate_frame *opened);
/* A packet came. */
void cv_gates_channel_packet(struct cv_gates_channel *ch, const uint8_t *data,
                             size_t len);
/* Do what is due; returns when to come back.  May lose it. */
cv_time cv_gates_channel_step(struct cv_gates_channel *ch, cv_time now);
#endif
