/* discovery/dht.h - a place to put records, and to listen for them.
 *
 * The only file that knows OpenDHT is dht_runner.c; tests make a struct cv_dht
 * of their own.  Values at a location come from anybody: the caller verifies.
 * Nothing is called back from within a call to the operations. */
#ifndef CV_DISCOVERY_DHT_H
#define CV_DISCOVERY_DHT_H
#include "base/bytes.h"
#include "base/log.h"
#include "base/loop.h"

#define CV_LOC_LEN 20
struct cv_loc {
    uint8_t b[CV_LOC_LEN];
};

/* Read at most so much of one location in one get (junk is free to make). */
#define CV_DHT_GET_VALUES 64
#define CV_DHT_GET_BYTES  65536u
#define CV_DHT_VALUE_MAX  4096u /* larger values are not ours: dropped */

#define CV_DHT_DEFAULT_PORT 4222

typedef uint64_t cv_dht_token; /* 0 is none */
typedef void (*cv_dht_value_fn)(void *user, struct cv_bytes value);
typedef void (*cv_dht_done_fn)(void *user, bool ok);

struct cv_dht {
    const struct cv_dht_ops *ops;
};

/* Every `done` may be NULL. */
struct cv_dht_ops {
    /* Store for about 10 minutes; done may come late or never.  The token
     * cancels: no callback after it, and no re-announcing. */
    cv_dht_token (*put)(struct cv_dht *dht, const struct cv_loc *loc,
                        struct cv_bytes value, cv_dht_done_fn done, void *user);
    /* Values there now, then done; each once, as far as it can be told (the
     * last sixteen are).  0 when it cannot be started. */
    cv_dht_token (*get)(struct cv_dht *dht, const struct cv_loc *loc,
                        cv_dht_value_fn value, cv_dht_done_fn done, void *user);
    /* Values there now and those that come, until cancelled. */
    cv_dht_token (*listen)(struct cv_dht *dht, const struct cv_loc *loc,
                           cv_dht_value_fn value, void *user);
    /* Harmless on tokens that have ended. */
    void (*cancel)(struct cv_dht *dht, cv_dht_token token);
};

enum cv_dht_state {
    CV_DHT_DISCONNECTED, /* no node answers */
    CV_DHT_CONNECTING,
    CV_DHT_CONNECTED,
};

struct cv_dht_config {
    struct cv_loop *loop;         /* kept */
    struct cv_log *log;           /* kept, may be NULL */
    uint16_t port;                /* 0: any */
    bool lan;                     /* multicast discovery on the LAN */
    const char *persist_path;     /* node cache; NULL: none; copied */
    const char *neighbours;       /* folder in which this user's agents on this
                                     machine find each other; NULL: none; copied */
    const char *const *bootstrap; /* "HOST:PORT"[n], copied */
    unsigned n_bootstrap;
    void (*state)(void *user, enum cv_dht_state state); /* may be NULL */
    void *user;
};

/* A real OpenDHT node.  Starting it does not block on the network.
 * CV_ERR_BUSY: the port is taken; CV_ERR_NONET: no socket can be opened;
 * CV_ERR_INVALID: a bootstrap node is not "HOST:PORT"; CV_ERR_NOMEM. */
CV_MUST_USE int cv_dht_open(struct cv_dht **out,
                            const struct cv_dht_config *config);
/* Ends it within `grace_ms`; nothing is called back afterwards. */
void cv_dht_close(struct cv_dht *dht, unsigned grace_ms);
enum cv_dht_state cv_dht_state(const struct cv_dht *dht);
uint16_t cv_dht_port(const struct cv_dht *dht);
/* The machine's network changed (an address came or went): begin afresh, with
 * all that was asked for, but not twice within 30 s while connected. */
void cv_dht_network_changed(struct cv_dht *dht);
/* A NAT has given us another port or address: where we listen we are told
 * nothing until this. */
void cv_dht_mapping_changed(struct cv_dht *dht);
#endif
