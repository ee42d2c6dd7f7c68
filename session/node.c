/* Timers: one; the certificate is renewed at half of its life, and a network
 * that could not be opened is tried again. */
#include "session/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/bootstrap.h"
#include "session/meeting.h"

#define DHT_GRACE_MS 500

uint64_t cv_node_unix_s(const struct cv_node *node)
{
    (void)node;
    return cv_unix_now() / 1000;
}

uint32_t cv_node_next_id(struct cv_node *node)
{
    if (++node->last_id == 0)
        node->last_id = 1;
    return node->last_id;
}

const char *cv_node_dht_state(const struct cv_node *node)
{
    if (node->dht == NULL)
        return "disconnected";
    switch (cv_dht_state(node->dht)) {
    case CV_DHT_CONNECTED:
        return "connected";
    case CV_DHT_CONNECTING:
        return "connecting";
    case CV_DHT_DISCONNECTED:
        break;
    }
    return "disconnected";
}

bool cv_node_is_settled(const struct cv_node *node)
{
    return node->net != NULL && node->gathered && cv_net_settled(node->net);
}

bool cv_node_has_gate(const struct cv_node *node)
{
    return node->net != NULL && cv_net_has_gate(node->net);
}

bool cv_node_is_ready(const struct cv_node *node)
{
    return node->net != NULL && node->gathered &&
           (cv_dht_state(node->dht) == CV_DHT_CONNECTED ||
            cv_node_has_gate(node));
}

int cv_node_host(const struct cv_node *node, const struct cv_keypair *session,
                 struct cv_grants *out)
{
    return cv_grants_issue(
        out, NULL, &session->pub, session, &node->identity.pub, CV_ROLE_HOST,
        CV_GRANT_ADMIT, cv_node_unix_s(node) + CV_GRANT_LIFETIME_S, node->rng);
}

bool cv_node_meets(const struct cv_node *node, const struct cv_key *session)
{
    for (unsigned i = 0; i < node->n_meetings; i++)
        if (cv_key_equal(cv_meeting_session(node->meetings[i]), session))
            return true;
    return false;
}

int cv_node_add_meeting(struct cv_node *node, struct cv_meeting *m)
{
    if (node->n_meetings == CV_NODE_MEETINGS)
        return CV_ERR_LIMIT;
    node->meetings[node->n_meetings++] = m;
    return CV_OK;
}

void cv_node_remove_meeting(struct cv_node *node, struct cv_meeting *m)
{
    for (unsigned i = 0; i < node->n_meetings; i++)
        if (node->meetings[i] == m) {
            memmove(&node->meetings[i], &node->meetings[i + 1],
                    (node->n_meetings - i - 1) * sizeof m);
            node->n_meetings--;
            cv_node_rooms_changed(node);
            return;
        }
}

/* --- the network --- */

static void on_candidates(void *user, const struct cv_candidates *own)
{
    struct cv_node *node = user;

    (void)own;
    if (node->gathered && node->dht != NULL)
        cv_dht_mapping_changed(node->dht);
    node->gathered = true;
    for (unsigned i = 0; i < node->n_meetings; i++)
        cv_meeting_candidates(node->meetings[i]);
}

static void on_rung(void *user, const uint8_t room_key[CV_ROOM_KEY],
                    struct cv_bytes ring)
{
    struct cv_node *node = user;

    for (unsigned i = 0; i < node->n_meetings; i++)
        if (cv_meeting_rung(node->meetings[i], room_key, ring))
            return;
}

static void on_found(void *user, const uint8_t loc[20], struct cv_bytes sealed)
{
    struct cv_node *node = user;

    for (unsigned i = 0; i < node->n_meetings; i++)
        cv_meeting_found(node->meetings[i], loc, sealed);
}

void cv_node_rooms_changed(struct cv_node *node)
{
    uint8_t all[CV_NODE_MEETINGS * CV_RENDEZVOUS_ROOMS][CV_ROOM_KEY];
    unsigned n = 0;

    if (node->net == NULL)
        return;
    for (unsigned i = 0; i < node->n_meetings; i++)
        n += cv_meeting_rooms(node->meetings[i], &all[n]);
    cv_net_set_rooms(node->net, (const uint8_t(*)[CV_ROOM_KEY])all, n);
}

static void on_network_changed(void *user)
{
    struct cv_node *node = user;

    if (node->dht != NULL)
        cv_dht_network_changed(node->dht);
}

static void on_attempt(void *user, const uint8_t attempt[8],
                       enum cv_attempt_state state, const char *reason)
{
    struct cv_node *node = user;

    for (unsigned i = 0; i < node->n_meetings; i++)
        if (cv_meeting_attempt(node->meetings[i], attempt, state, reason))
            return;
}

static void on_mark(void *user, const uint8_t attempt[8],
                    const struct cv_mark *mark)
{
    struct cv_node *node = user;

    for (unsigned i = 0; i < node->n_meetings; i++)
        if (cv_meeting_attempt_mark(node->meetings[i], attempt, mark))
            return;
}

static void on_conn(void *user, struct cv_conn *conn)
{
    struct cv_node *node = user;
    char key[9];

    node->counters.connections++;
    for (unsigned i = 0; i < node->n_meetings; i++)
        if (cv_meeting_conn(node->meetings[i], conn))
            return;
    cv_debug(node->log, "node: nobody waits for this connection, peer=%s",
             cv_key_short(cv_conn_peer(conn), key));
    node->counters.unexpected++;
    cv_conn_close(conn, CV_REFUSAL_STRANGERS, "");
}

static const struct cv_net_events net_events = {
    .candidates = on_candidates,
    .rung = on_rung,
    .found = on_found,
    .network_changed = on_network_changed,
    .attempt = on_attempt,
    .mark = on_mark,
    .conn = on_conn,
};

static int make_cert(struct cv_node *node)
{
    uint64_t not_after = cv_node_unix_s(node) + CV_CERT_LIFETIME_S;
    int err =
        cv_cert_make(&node->cert, &node->identity, &node->key.pub, not_after);

    if (err == CV_OK)
        node->renew_at = cv_loop_now(node->loop) +
                         (cv_time)CV_CERT_LIFETIME_S / 2 * CV_SECOND;
    return err;
}

static void on_timer(void *user)
{
    struct cv_node *node = user;
    cv_time now = cv_loop_now(node->loop), next;
    struct cv_candidates own;

    if (now >= node->renew_at) {
        if (make_cert(node) == CV_OK)
            for (unsigned i = 0; i < node->n_meetings; i++)
                cv_meeting_renew(node->meetings[i]);
        else
            node->renew_at = now + CV_MINUTE;
    }
    next = node->renew_at;
    if (node->net == NULL) {
        if (cv_net_new(&node->net, &node->net_config, &net_events, node) ==
            CV_OK) {
            cv_info(node->log, "node: the network is there now");
            cv_net_candidates(node->net, &own);
            on_candidates(node, &own);
        } else {
            next = cv_time_min(next, now + CV_NODE_NET_RETRY);
        }
    }
    cv_timer_set(node->timer, next);
}

/* --- making it --- */

static int load_identity(struct cv_node *node, const char *data_dir, char *why,
                         size_t why_len)
{
    char path[sizeof node->data_dir + 16];
    int err;

    if (data_dir != NULL) {
        if (strlen(data_dir) >= sizeof node->data_dir) {
            (void)snprintf(why, why_len,
                           "the path of the data folder is "
                           "too long");
            return CV_ERR_INVALID;
        }
        (void)snprintf(node->data_dir, sizeof node->data_dir, "%s", data_dir);
    } else {
        err = cv_data_dir(node->data_dir, sizeof node->data_dir);
        if (err != CV_OK) {
            (void)snprintf(why, why_len,
                           "no home folder: set HOME or "
                           "XDG_DATA_HOME");
            return err;
        }
    }
    (void)snprintf(path, sizeof path, "%s/identity", node->data_dir);
    return cv_identity_load(&node->identity, path, why, why_len);
}

static int take_gates(struct cv_node *node, const struct cv_node_config *config,
                      char *why, size_t why_len)
{
    if (config->n_gates > CV_NODE_GATES) {
        (void)snprintf(why, why_len, "%u gates are too many: name at most %d",
                       config->n_gates, CV_NODE_GATES);
        return CV_ERR_INVALID;
    }
    if (config->gate_token != NULL)
        (void)snprintf(node->gate_token, sizeof node->gate_token, "%s",
                       config->gate_token);
    for (unsigned i = 0; i < config->n_gates; i++) {
        if (cv_gate_name_parse(&node->gates[i].name, config->gates[i], why,
                               why_len) != CV_OK)
            return CV_ERR_INVALID;
        node->gates[i].token =
            node->gate_token[0] != '\0' ? node->gate_token : NULL;
    }
    return CV_OK;
}

static int open_net(struct cv_node *node, const struct cv_node_config *config,
                    char *why, size_t why_len)
{
    unsigned n = config->n_stun;
    int err;

    if (n > CV_NET_STUN_SERVERS)
        n = CV_NET_STUN_SERVERS;
    for (unsigned i = 0; i < n; i++) {
        node->stun[i] = strdup(config->stun[i]);
        if (node->stun[i] == NULL)
            return CV_ERR_NOMEM;
    }
    err = take_gates(node, config, why, why_len);
    if (err != CV_OK)
        return err;
    node->net_config = (struct cv_net_config){
        .loop = node->loop,
        .log = node->log,
        .rng = node->rng,
        .node = &node->key,
        .port = config->port,
        .port_mapping = config->port_mapping,
        .retry = config->path_retry,
        .nat_timeout = config->nat_timeout,
        .birthday = config->birthday,
        .stun = (const char *const *)node->stun,
        .n_stun = n,
        .gates = node->gates,
        .n_gates = config->n_gates,
        .cert = &node->cert,
    };
    err = cv_net_new(&node->net, &node->net_config, &net_events, node);
    if (err == CV_OK || err == CV_ERR_NONET)
        return CV_OK; /* without: tried again, and said so */
    (void)snprintf(why, why_len,
                   err == CV_ERR_BUSY
                       ? "UDP port %u is taken: choose another one"
                       : "the UDP socket (port %u) cannot be opened",
                   config->port);
    return err;
}

/* Where to begin: what the program names, else the user's file, else the node
 * that everybody knows. */
static int choose_bootstrap(struct cv_bootstrap *b,
                            const struct cv_node_config *config, char *why,
                            size_t why_len)
{
    char path[512];
    int err = CV_OK;

    cv_bootstrap_init(b);
    if (config->no_bootstrap)
        return CV_OK;
    for (unsigned i = 0; i < config->n_bootstrap && err == CV_OK; i++)
        err = cv_bootstrap_add(b, config->bootstrap[i], why, why_len);
    if (err == CV_OK && config->n_bootstrap == 0 &&
        cv_bootstrap_path(path, sizeof path) == CV_OK)
        err = cv_bootstrap_file(b, path, why, why_len);
    if (err == CV_OK)
        cv_bootstrap_finish(b);
    return err;
}

static int open_dht(struct cv_node *node, const struct cv_node_config *config,
                    char *why, size_t why_len)
{
    char path[sizeof node->data_dir + 16], near[sizeof path];
    struct cv_bootstrap *b = malloc(sizeof *b);
    struct cv_dht_config dht = {
        .loop = node->loop,
        .log = node->log,
        .port = config->dht_port,
        .lan = config->lan,
    };
    int err;

    if (b == NULL)
        return CV_ERR_NOMEM;
    err = choose_bootstrap(b, config, why, why_len);
    if (err == CV_OK) {
        dht.bootstrap = b->list;
        dht.n_bootstrap = b->n;
        /* The nodes met are remembered of the public network only. */
        (void)snprintf(path, sizeof path, "%s/dht", node->data_dir);
        if (config->n_bootstrap == 0 && !config->no_bootstrap)
            dht.persist_path = path;
        /* Other agents of this user, on this machine. */
        (void)snprintf(near, sizeof near, "%s/nodes", node->data_dir);
        if (config->lan)
            dht.neighbours = near;
        err = cv_dht_open(&node->dht, &dht);
        if (err != CV_OK)
            (void)snprintf(why, why_len,
                           "the DHT node cannot be started (%s); is UDP port "
                           "%u free?",
                           cv_strerror(err), config->dht_port);
    }
    free(b);
    return err;
}

int cv_node_new(struct cv_node **out, const struct cv_node_config *config,
                char *why, size_t why_len)
{
    struct cv_node *node = calloc(1, sizeof *node);
    int err;

    if (why_len > 0)
        why[0] = '\0';
    if (node == NULL)
        return CV_ERR_NOMEM;
    node->loop = config->loop;
    node->log = config->log;
    node->rng = config->rng != NULL ? config->rng : &cv_rng_system;
    cv_text_clean(node->name, sizeof node->name,
                  config->name != NULL ? config->name : "",
                  config->name != NULL ? strlen(config->name) : 0);
    err = load_identity(node, config->data_dir, why, why_len);
    if (err == CV_OK)
        err = cv_keypair_generate(&node->key, node->rng);
    if (err == CV_OK)
        err = make_cert(node);
    if (err == CV_OK)
        err = cv_timer_new(&node->timer, node->loop, on_timer, node);
    if (err == CV_OK)
        err = open_net(node, config, why, why_len);
    if (err == CV_OK)
        err = open_dht(node, config, why, why_len);
    if (err != CV_OK) {
        if (why_len > 0 && why[0] == '\0')
            (void)snprintf(why, why_len, "%s", cv_strerror(err));
        cv_node_free(node);
        return err;
    }
    cv_timer_set(node->timer, node->net == NULL
                                  ? cv_loop_now(node->loop) + CV_NODE_NET_RETRY
                                  : node->renew_at);
    *out = node;
    return CV_OK;
}

void cv_node_free(struct cv_node *node)
{
    if (node == NULL)
        return;
    while (node->n_meetings > 0)
        cv_meeting_end(node->meetings[0]);
    cv_net_free(node->net);
    if (node->dht != NULL)
        cv_dht_close(node->dht, DHT_GRACE_MS);
    cv_timer_free(node->timer);
    for (unsigned i = 0; i < CV_NET_STUN_SERVERS; i++)
        free(node->stun[i]);
    cv_wipe(&node->identity, sizeof node->identity);
    cv_wipe(&node->key, sizeof node->key);
    free(node);
}

const struct cv_key *cv_node_identity(const struct cv_node *node)
{
    return &node->identity.pub;
}

const char *cv_node_data_dir(const struct cv_node *node)
{
    return node->data_dir;
}

const char *cv_node_name(const struct cv_node *node)
{
    return node->name;
}

void cv_node_set_name(struct cv_node *node, const char *name)
{
    cv_text_clean(node->name, sizeof node->name, name, strlen(name));
    for (unsigned i = 0; i < node->n_meetings; i++)
        cv_meeting_renamed(node->meetings[i]);
}

void cv_node_status(const struct cv_node *node, struct cv_node_status *out)
{
    struct cv_facts f;

    memset(out, 0, sizeof *out);
    out->dht = cv_node_dht_state(node);
    if (node->net != NULL)
        cv_net_describe(node->net, out->network, sizeof out->network);
    else
        (void)snprintf(out->network, sizeof out->network,
                       "no usable network: no socket could be opened");
    for (unsigned i = 0; i < node->n_meetings; i++) {
        cv_meeting_facts(node->meetings[i], &f);
        out->connections += f.members;
    }
}
