/* covim/covim.h - libcovim: reach a peer by its public key.
 *
 * No server of anybody's: whoever listens gets a key, whoever has the key
 * dials it.  The two find each other by signed records in a DHT, open a path
 * through their NATs, and have one encrypted connection, authenticated both
 * ways, with what a user of TCP expects: ordered reliable streams both ways,
 * back pressure, half close; and unreliable datagrams.  The connection moves
 * between paths without a lost byte.
 *
 * One thread: everything belongs to the thread that runs the node, except
 * covim_stop() and covim_post().  No callback comes from within a call, but
 * from covim_run() or covim_step().  A callback may call anything here except
 * covim_node_free().
 *
 * Functions return COVIM_OK or a negative error; covim_strerror() has the
 * sentence. */
#ifndef COVIM_COVIM_H
#define COVIM_COVIM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COVIM_API_VERSION  1
#define COVIM_KEY_LEN      32
#define COVIM_KEY_TEXT     66   /* "covim1…" and its NUL */
#define COVIM_NAME_TEXT    33   /* a name and its NUL */
#define COVIM_PRINT_TEXT   24   /* a fingerprint and its NUL */
#define COVIM_DATAGRAM_MAX 1100 /* bytes */

enum covim_error {
    COVIM_OK = 0,
    COVIM_ERR_NOMEM = -1,
    COVIM_ERR_FORMAT = -3,    /* not a key */
    COVIM_ERR_INVALID = -4,   /* an argument, or not at this moment */
    COVIM_ERR_LIMIT = -5,     /* too many, or too large */
    COVIM_ERR_TIMEOUT = -6,   /* the peer vanished */
    COVIM_ERR_DENIED = -10,   /* a person or a rule said no */
    COVIM_ERR_NOTFOUND = -11, /* nobody like that (any more) */
    COVIM_ERR_IO = -13,
    COVIM_ERR_PERM = -14,   /* the identity file or its folder */
    COVIM_ERR_CLOSED = -15, /* it has ended */
    COVIM_ERR_AGAIN = -16,  /* not now: wait for `writable` */
    COVIM_ERR_BUSY = -17,   /* the port is taken */
    COVIM_ERR_NONET = -18,
    COVIM_ERR_PEER = -22, /* the other side broke off */
};
const char *covim_strerror(int err);

typedef struct covim_node covim_node;     /* our end of the network */
typedef struct covim_place covim_place;   /* a key that is listened at, or
                                             dialled */
typedef struct covim_peer covim_peer;     /* a connection to somebody */
typedef struct covim_stream covim_stream; /* on it */

/* --- a node --- */

struct covim_config {
    const char *data_dir;         /* identity; NULL: the user's own */
    const char *name;             /* what others see, may be NULL */
    const char *const *bootstrap; /* "HOST:PORT"[n] of the DHT; n == 0: the
                                     public network */
    unsigned n_bootstrap;
    bool no_bootstrap;       /* none at all: others bootstrap from us, or LAN */
    const char *const *stun; /* "HOST:PORT"[n] */
    unsigned n_stun;
    const char *const *gates; /* "covimgate1…@HOST:PORT"[n]: relays to be
                                 reached through where nothing else works */
    unsigned n_gates;
    const char *gate_token; /* for gates that want one; NULL: none */
    bool lan;               /* find peers on the LAN by multicast */
    bool port_mapping;      /* ask the gateway for a port: PCP, NAT-PMP, UPnP */
    bool gentle_birthday;   /* a quarter of the packets by which two NATs that
                               nothing else joins are joined; some routers fall
                               over */
    bool no_birthday;       /* none of them */
    uint16_t port;          /* of UDP; 0: any */
    uint16_t dht_port;      /* 0: any */
    /* Lines of the log up to `log_level` (0 errors … 4 packets); may be NULL.
     * Any thread. */
    void (*log)(void *user, int level, const char *line);
    int log_level;
    void *log_user;
};

/* On failure `why` says what to do. */
int covim_node_new(covim_node **out, const struct covim_config *config,
                   char *why, size_t why_len);
/* Ends everything; covim_close() the places first to say goodbye. */
void covim_node_free(covim_node *node);
/* Our own public key, [COVIM_KEY_LEN]: what others see of us. */
const uint8_t *covim_node_identity(const covim_node *node);
uint16_t covim_node_dht_port(const covim_node *node);

/* Run until covim_stop(). */
void covim_run(covim_node *node);
/* Handle what is ready; wait for something at most `wait_ms`. */
void covim_step(covim_node *node, unsigned wait_ms);
/* Any thread. */
void covim_stop(covim_node *node);
/* Run fn(user) in the node's thread, soon.  Any thread. */
int covim_post(covim_node *node, void (*fn)(void *user), void *user);

/* --- places --- */

enum covim_state {
    COVIM_FINDING,    /* looks for whoever listens */
    COVIM_CONTACTING, /* knocked, no answer yet */
    COVIM_PUNCHING,   /* a path is being opened */
    COVIM_WAITING,    /* connected; they have to accept us */
    COVIM_CONNECTED,  /* to at least one peer */
    COVIM_LISTENING,  /* nobody is there at the moment */
    COVIM_LOST,       /* was connected; is being sought again */
    COVIM_ENDED,      /* final: refused */
};

enum covim_path {
    COVIM_PATH_NONE, /* no path works at the moment */
    COVIM_PATH_LAN,
    COVIM_PATH_DIRECT,
    COVIM_PATH_GATE,
};

/* All may be NULL.  A peer is gone when `closed` returns; a dialled place goes
 * on looking, and tells of a new peer by `established`. */
struct covim_events {
    /* `stage`: what is going on, a sentence; `hint`: what to check, or "". */
    void (*state)(void *user, covim_place *place, enum covim_state state,
                  const char *stage, const char *hint);
    /* Somebody wants in: covim_accept() or covim_reject(), now or within a
     * minute.  Asked again while they wait.  NULL: everybody is accepted. */
    void (*ask)(void *user, covim_peer *peer);
    void (*established)(void *user, covim_peer *peer);
    void (*path)(void *user, covim_peer *peer, enum covim_path path,
                 unsigned rtt_ms);
    /* They opened a stream: set its events now. */
    void (*stream)(void *user, covim_peer *peer, covim_stream *stream);
    void (*datagram)(void *user, covim_peer *peer, const void *data,
                     size_t len);
    /* COVIM_OK: they said goodbye, or we closed it. */
    void (*closed)(void *user, covim_peer *peer, int err);
    /* Dialled, and it is who listens: streams may be opened already.  What is
     * sent leaves with the end of the handshake, 64 KiB at most, and waits
     * there until we are accepted; what comes back, for `established`.  Again
     * when another connection takes the place of one that was not established.
     */
    void (*opening)(void *user, covim_peer *peer);
};

/* Listen.  `secret` is the private half of the key, [32] random bytes that the
 * caller keeps if the key is to stay the same; NULL: a new one.  `events` is
 * kept. */
int covim_listen(covim_place **out, covim_node *node, const uint8_t *secret,
                 const struct covim_events *events, void *user);
/* Dial "covim1…".  Goes on until it is closed.  COVIM_ERR_FORMAT: `why` says
 * which character is wrong. */
int covim_dial(covim_place **out, covim_node *node, const char *key,
               const struct covim_events *events, void *user, char *why,
               size_t why_len);
/* The key as people paste it; returns `out`. */
char *covim_place_key(const covim_place *place, char out[COVIM_KEY_TEXT]);
/* Say goodbye to everybody and withdraw our record; done(user) within 2 s (may
 * be NULL).  The place is gone then; no other event comes. */
void covim_close(covim_place *place, void (*done)(void *user), void *user);

/* --- peers --- */

int covim_accept(covim_peer *peer); /* COVIM_ERR_NOTFOUND: too late */
int covim_reject(covim_peer *peer, const char *reason);
const uint8_t *covim_peer_identity(const covim_peer *peer); /* [32] */
char *covim_peer_fingerprint(const covim_peer *peer,
                             char out[COVIM_PRINT_TEXT]);
/* As they call themselves: control characters are removed, else anything. */
const char *covim_peer_name(const covim_peer *peer);
covim_place *covim_peer_place(const covim_peer *peer);
void covim_peer_set_user(covim_peer *peer, void *user);
void *covim_peer_user(const covim_peer *peer);
/* End the connection; `closed` follows. */
void covim_peer_close(covim_peer *peer);
/* Unreliable, unordered.  COVIM_ERR_AGAIN: dropped. */
int covim_datagram(covim_peer *peer, const void *data, size_t len);

/* --- streams --- */

struct covim_stream_events {
    /* In order; `fin` with the last, which may be empty. */
    void (*data)(void *user, covim_stream *stream, const void *data, size_t len,
                 bool fin);
    void (*writable)(void *user, covim_stream *stream);
    /* Final: the stream is gone when this returns. */
    void (*closed)(void *user, covim_stream *stream, int err);
};

/* The peer hears of it with the first byte. */
int covim_stream_open(covim_stream **out, covim_peer *peer);
void covim_stream_set_events(covim_stream *stream,
                             const struct covim_stream_events *events,
                             void *user);
covim_peer *covim_stream_peer(const covim_stream *stream);
/* All of it, or COVIM_ERR_AGAIN and nothing (1 MiB may wait). */
int covim_stream_send(covim_stream *stream, const void *data, size_t len);
/* Bytes that the peer has not acknowledged. */
size_t covim_stream_unsent(const covim_stream *stream);
/* Half close, after what is queued. */
void covim_stream_finish(covim_stream *stream);
void covim_stream_reset(covim_stream *stream);
/* Stop reading: the peer feels it; false: go on. */
void covim_stream_pause(covim_stream *stream, bool paused);

#ifdef __cplusplus
}
#endif
#endif
