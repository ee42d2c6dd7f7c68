#include "session/covim_struct.h"

#include <assert.h>
#include <stdlib.h>

#define SAME(name)                                                             \
    static_assert((int)COVIM_##name == (int)CV_##name, "one table of errors")
SAME(OK);
SAME(ERR_NOMEM);
SAME(ERR_FORMAT);
SAME(ERR_INVALID);
SAME(ERR_LIMIT);
SAME(ERR_TIMEOUT);
SAME(ERR_DENIED);
SAME(ERR_NOTFOUND);
SAME(ERR_IO);
SAME(ERR_PERM);
SAME(ERR_CLOSED);
SAME(ERR_AGAIN);
SAME(ERR_BUSY);
SAME(ERR_NONET);
SAME(ERR_PEER);
static_assert(COVIM_KEY_LEN == CV_KEY_LEN, "one length of keys");
static_assert(COVIM_KEY_TEXT == CV_KEYTEXT_LEN + 1, "one length of text");
static_assert(COVIM_NAME_TEXT == CV_NAME_MAX_TEXT, "one length of names");
static_assert(COVIM_PRINT_TEXT == CV_FINGERPRINT_TEXT, "one fingerprint");
static_assert(COVIM_DATAGRAM_MAX == CV_DATAGRAM_MAX, "one datagram");

const char *covim_strerror(int err)
{
    return cv_strerror(err);
}

static void on_log(void *user, enum cv_log_level level, const char *line)
{
    covim_node *n = user;

    n->sink(n->sink_user, (int)level, line);
}

int covim_node_new(covim_node **out, const struct covim_config *config,
                   char *why, size_t why_len)
{
    covim_node *n = calloc(1, sizeof *n);
    struct cv_node_config c = {
        .rng = &cv_rng_system,
        .data_dir = config->data_dir,
        .name = config->name,
        .bootstrap = config->bootstrap,
        .n_bootstrap = config->n_bootstrap,
        .no_bootstrap = config->no_bootstrap,
        .stun = config->stun,
        .n_stun = config->n_stun,
        .gates = config->gates,
        .n_gates = config->n_gates,
        .gate_token = config->gate_token,
        .lan = config->lan,
        .port_mapping = config->port_mapping,
        .birthday = config->no_birthday       ? CV_NET_BIRTHDAY_OFF
                    : config->gentle_birthday ? CV_NET_BIRTHDAY_GENTLE
                                              : CV_NET_BIRTHDAY,
        .port = config->port,
        .dht_port = config->dht_port,
    };
    int err;

    if (n == NULL)
        return COVIM_ERR_NOMEM;
    n->sink = config->log;
    n->sink_user = config->log_user;
    n->log = (struct cv_log){
        .level = (enum cv_log_level)config->log_level,
        .sink = on_log,
        .user = n,
    };
    if (n->sink != NULL)
        c.log = &n->log;
    err = cv_loop_new(&n->loop);
    if (err == CV_OK) {
        c.loop = n->loop;
        err = cv_node_new(&n->node, &c, why, why_len);
    }
    if (err != CV_OK) {
        if (n->loop != NULL)
            cv_loop_free(n->loop);
        free(n);
        return err;
    }
    *out = n;
    return COVIM_OK;
}

void covim_node_free(covim_node *n)
{
    if (n == NULL)
        return;
    cv_node_free(n->node);
    cv_loop_free(n->loop);
    free(n);
}

const uint8_t *covim_node_identity(const covim_node *n)
{
    return cv_node_identity(n->node)->b;
}

uint16_t covim_node_dht_port(const covim_node *n)
{
    return cv_dht_port(n->node->dht);
}

void covim_run(covim_node *n)
{
    cv_loop_run(n->loop);
}

void covim_step(covim_node *n, unsigned wait_ms)
{
    cv_loop_once(n->loop,
                 cv_loop_now(n->loop) + (cv_time)wait_ms * CV_MILLISECOND);
}

void covim_stop(covim_node *n)
{
    cv_loop_stop(n->loop);
}

int covim_post(covim_node *n, void (*fn)(void *user), void *user)
{
    return cv_loop_post(n->loop, fn, user);
}
