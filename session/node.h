/* session/node.h - the inside of a node, for the files of this folder.
 *
 * One identity, one node key, one UDP socket, one DHT node; any number of
 * meetings, to which attempts and connections are handed by attempt id. */
#ifndef CV_SESSION_NODE_H
#define CV_SESSION_NODE_H
#include "discovery/dht.h"
#include "session/session.h"
#include "transport/net.h"

struct cv_meeting;

#define CV_NODE_GATES     4
#define CV_NODE_MEETINGS  32
#define CV_NODE_NET_RETRY (5 * CV_SECOND)

/* What peers did wrong, and what became of connections. */
struct cv_node_counters {
    uint64_t connections; /* handshakes done */
    uint64_t admitted;
    uint64_t violations;     /* cut: broke the protocol or lied */
    uint64_t writes_refused; /* text from viewers */
    uint64_t unexpected;     /* connections that nobody waited for */
    uint64_t refused;        /* not let in */
};

struct cv_node {
    struct cv_loop *loop;
    struct cv_log *log;
    const struct cv_rng *rng;
    char data_dir[512];
    char name[CV_NAME_MAX_TEXT];
    struct cv_keypair identity; /* I */
    struct cv_keypair key;      /* N */
    struct cv_cert cert;        /* of N by I */
    cv_time renew_at;
    struct cv_net *net; /* NULL: no usable network at the moment */
    struct cv_net_config net_config;
    char *stun[CV_NET_STUN_SERVERS];
    struct cv_net_gate gates[CV_NODE_GATES];
    char gate_token[256];
    bool gathered; /* our addresses were told at least once */
    struct cv_dht *dht;
    struct cv_timer *timer; /* renewal of the certificate, retry of the net */
    struct cv_meeting *meetings[CV_NODE_MEETINGS];
    unsigned n_meetings;
    uint32_t last_id; /* of members, knocks */
    struct cv_node_counters counters;
};

uint64_t cv_node_unix_s(const struct cv_node *node);
uint32_t cv_node_next_id(struct cv_node *node);
/* Are our addresses known, as far as they will be? */
bool cv_node_is_settled(const struct cv_node *node);
/* Is all there that dialling wants: addresses of ours, and a DHT or a gate? */
bool cv_node_is_ready(const struct cv_node *node);
/* Is it linked to a gate of its settings? */
bool cv_node_has_gate(const struct cv_node *node);
const char *cv_node_dht_state(const struct cv_node *node);
/* Make us the host of a session that lives as long as this process. */
CV_MUST_USE int cv_node_host(const struct cv_node *node,
                             const struct cv_keypair *session,
                             struct cv_grants *out);
/* Is there a meeting of that session? */
bool cv_node_meets(const struct cv_node *node, const struct cv_key *session);
/* The rooms of a meeting may be others now: tell the gates. */
void cv_node_rooms_changed(struct cv_node *node);
/* CV_ERR_LIMIT. */
CV_MUST_USE int cv_node_add_meeting(struct cv_node *node, struct cv_meeting *m);
void cv_node_remove_meeting(struct cv_node *node, struct cv_meeting *m);
#endif
