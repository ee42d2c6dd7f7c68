#include "fake_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cv_stream {
    struct cv_conn *conn;
    struct cv_stream *next, *other; /* `other`: at the far end; NULL: ended */
    uint64_t id;
    const struct cv_stream_events *events;
    void *user;
    uint8_t *in; /* sent by the far end, not yet delivered */
    size_t in_len;
    bool in_fin, in_reset;
    bool announced; /* our end knows of it */
    bool paused;
    bool out_done; /* finished or reset by us */
    bool in_done;  /* fin was delivered */
    bool wants;    /* was told CV_ERR_AGAIN */
    bool dead;
};

struct cv_conn {
    struct cv_conn *next, *other;
    struct cv_net *net; /* may be NULL */
    struct cv_key self, peer;
    uint8_t attempt[8];
    bool trusted;
    uint8_t secret[32];
    bool client;
    const struct cv_conn_events *events;
    void *user;
    struct cv_stream *streams;
    uint64_t next_id;
    bool announced; /* the owner of the net has it */
    bool silenced;  /* nothing arrives */
    bool closing;
    int close_err;
    uint64_t close_code;
    char close_reason[129];
};

struct want {
    struct want *next;
    struct cv_net *net;
    struct cv_contact contact;
};

struct cv_net {
    struct cv_net *next;
    struct cv_net_config config;
    const struct cv_net_events *events;
    void *user;
    bool unplugged;
    bool told;
    uint16_t port, believed; /* where it is, and where it thinks it is */
};

static struct cv_conn *conns;
static struct cv_net *nets;
static struct want *wants;
static struct cv_loop *the_loop;
static bool scheduled;
static uint64_t rng_state = 1;
static uint64_t next_conn = 1;
static uint8_t *wire;
static size_t wire_len;

static uint64_t rnd(void)
{
    rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
    return rng_state >> 33;
}

static void run_posted(void *user)
{
    (void)user;
    scheduled = false;
    fake_run();
}

static void schedule(void)
{
    if (the_loop == NULL || scheduled)
        return;
    scheduled = true;
    if (cv_loop_post(the_loop, run_posted, NULL) != CV_OK)
        abort();
}

void fake_use_loop(struct cv_loop *loop)
{
    the_loop = loop;
    scheduled = false;
}

static struct cv_conn *new_conn(const struct cv_key *self,
                                const struct cv_key *peer, bool client)
{
    struct cv_conn *c = calloc(1, sizeof *c);

    assert(c != NULL);
    c->self = *self;
    c->peer = *peer;
    c->client = client;
    c->next_id = client ? 0 : 1;
    c->next = conns;
    conns = c;
    return c;
}

void fake_connect(const struct cv_key *client, const struct cv_key *server,
                  struct cv_conn **client_end, struct cv_conn **server_end)
{
    struct cv_conn *a = new_conn(client, server, true);
    struct cv_conn *b = new_conn(server, client, false);

    a->other = b;
    b->other = a;
    memset(a->secret, 0, sizeof a->secret);
    memcpy(a->secret, &next_conn, sizeof next_conn);
    next_conn++;
    memcpy(b->secret, a->secret, sizeof a->secret);
    a->announced = b->announced = true;
    if (client_end != NULL)
        *client_end = a;
    if (server_end != NULL)
        *server_end = b;
}

unsigned fake_living(void)
{
    unsigned n = 0;

    for (struct cv_conn *c = conns; c != NULL; c = c->next)
        n++;
    return n;
}

struct cv_bytes fake_log(void)
{
    return (struct cv_bytes){wire, wire_len};
}

/* --- delivery --- */

static struct cv_stream *add_stream(struct cv_conn *c, uint64_t id)
{
    struct cv_stream *s = calloc(1, sizeof *s);

    assert(s != NULL);
    s->conn = c;
    s->id = id;
    s->next = c->streams;
    c->streams = s;
    return s;
}

static void unlink_stream(struct cv_stream *s)
{
    struct cv_stream **at = &s->conn->streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->other != NULL)
        s->other->other = NULL;
    free(s->in);
    free(s);
}

static void end_stream(struct cv_stream *s, int err)
{
    const struct cv_stream_events *ev = s->events;
    bool known = s->announced;

    s->dead = true;
    s->events = NULL;
    if (known && ev != NULL && ev->closed != NULL)
        ev->closed(s->user, s, err);
    unlink_stream(s);
}

/* One step on this stream; true if something happened (it may be gone). */
static bool step_stream(struct cv_stream *s)
{
    uint8_t piece[4096];
    size_t n;

    if (!s->announced) {
        if (s->in_len == 0 && !s->in_fin && !s->in_reset)
            return false;
        s->announced = true;
        if (s->conn->events != NULL && s->conn->events->stream != NULL)
            s->conn->events->stream(s->conn->user, s->conn, s);
        return true;
    }
    if (s->in_reset) {
        end_stream(s, CV_ERR_PEER);
        return true;
    }
    if (s->paused || s->conn->silenced || (!s->conn->trusted && s->id != 0))
        return false;
    if (s->in_len > 0) {
        n = 1 + rnd() % (rnd() % 4 == 0 ? 16 : sizeof piece);
        if (n > s->in_len)
            n = s->in_len;
        memcpy(piece, s->in, n);
        memmove(s->in, s->in + n, s->in_len - n);
        s->in_len -= n;
        if (s->other != NULL && s->other->wants && s->in_len == 0) {
            struct cv_stream *o = s->other;

            o->wants = false;
            if (o->events != NULL && o->events->writable != NULL)
                o->events->writable(o->user, o);
        }
        if (s->events != NULL && s->events->data != NULL)
            s->events->data(s->user, s, (struct cv_bytes){piece, n}, false);
        return true;
    }
    if (s->in_fin && !s->in_done) {
        s->in_done = true;
        if (s->events != NULL && s->events->data != NULL)
            s->events->data(s->user, s, (struct cv_bytes){piece, 0}, true);
        return true;
    }
    if (s->in_done && s->out_done) {
        end_stream(s, CV_OK);
        return true;
    }
    return false;
}

static void finish_conn(struct cv_conn *c)
{
    struct cv_conn **at = &conns;
    const struct cv_conn_events *ev;

    while (c->streams != NULL)
        end_stream(c->streams, CV_ERR_CLOSED);
    ev = c->events;
    if (ev != NULL && ev->closed != NULL)
        ev->closed(c->user, c, c->close_err, c->close_code, c->close_reason);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->other != NULL)
        c->other->other = NULL;
    free(c);
}

static bool step_conn(struct cv_conn *c)
{
    if (!c->announced) {
        c->announced = true;
        c->net->events->conn(c->net->user, c);
        return true;
    }
    for (struct cv_stream *s = c->streams; s != NULL; s = s->next)
        if (step_stream(s))
            return true;
    if (c->closing) {
        finish_conn(c);
        return true;
    }
    return false;
}

static struct cv_key blocked[2];

void fake_block(const struct cv_key *a, const struct cv_key *b)
{
    blocked[0] = *a;
    blocked[1] = *b;
}

static struct cv_key hard_node;
static bool hard;

void fake_hard_nat(const struct cv_key *node)
{
    hard = node != NULL;
    if (hard)
        hard_node = *node;
}

static bool is_hard(const struct cv_net *net)
{
    return hard && cv_key_equal(&net->config.node->pub, &hard_node);
}

static struct cv_net *net_of(const struct cv_key *node)
{
    for (struct cv_net *n = nets; n != NULL; n = n->next)
        if (cv_key_equal(&n->config.node->pub, node))
            return n;
    abort();
}

void fake_forget(const struct cv_key *node)
{
    net_of(node)->port++;
}

void fake_notice(const struct cv_key *node)
{
    struct cv_net *net = net_of(node);

    net->believed = net->port;
    net->told = false;
    schedule();
}

bool fake_is_called(const struct cv_key *node)
{
    for (struct want *w = wants; w != NULL; w = w->next)
        if (w->net == net_of(node) && !w->contact.knocked)
            return true;
    return false;
}

static bool knows(const struct want *w, const struct cv_net *net)
{
    for (unsigned i = 0; i < w->contact.peer.n; i++)
        if (w->contact.peer.c[i].addr.port == net->port)
            return true;
    return false;
}

static void lose(struct want *w)
{
    struct cv_net *net = w->net;
    uint8_t id[8];

    memcpy(id, w->contact.attempt, sizeof id);
    cv_net_abandon(net, id);
    net->events->attempt(net->user, id, CV_ATTEMPT_FAILED, "no direct path");
}

static bool is_blocked(const struct cv_key *a, const struct cv_key *b)
{
    return (cv_key_equal(a, &blocked[0]) && cv_key_equal(b, &blocked[1])) ||
           (cv_key_equal(a, &blocked[1]) && cv_key_equal(b, &blocked[0]));
}

/* Two nodes that both want the same attempt get a connection. */
static bool step_wants(void)
{
    for (struct want **a = &wants; *a != NULL; a = &(*a)->next)
        for (struct want **b = &wants; *b != NULL; b = &(*b)->next) {
            struct want *x = *a, *y = *b;
            struct cv_conn *cx, *cy;

            if (!x->contact.knocked || y->contact.knocked ||
                memcmp(x->contact.attempt, y->contact.attempt, 8) != 0 ||
                x->net->unplugged || y->net->unplugged || !knows(x, y->net) ||
                is_blocked(&x->net->config.node->pub,
                           &y->net->config.node->pub))
                continue;
            if ((is_hard(x->net) || is_hard(y->net)) && !y->contact.trusted) {
                lose(y);
                lose(x);
                return true;
            }
            fake_connect(&x->net->config.node->pub, &y->net->config.node->pub,
                         &cx, &cy);
            cx->net = x->net;
            cy->net = y->net;
            memcpy(cx->attempt, x->contact.attempt, 8);
            memcpy(cy->attempt, x->contact.attempt, 8);
            cx->announced = cy->announced = false;
            *a = x->next;
            for (b = &wants; *b != y; b = &(*b)->next)
                ;
            *b = y->next;
            free(x);
            free(y);
            return true;
        }
    return false;
}

static bool step_nets(void)
{
    struct cv_candidates own;

    for (struct cv_net *n = nets; n != NULL; n = n->next)
        if (!n->told) {
            n->told = true;
            cv_net_candidates(n, &own);
            n->events->candidates(n->user, &own);
            return true;
        }
    return false;
}

static bool step_dht(void);

static bool step_conns(void)
{
    for (struct cv_conn *c = conns; c != NULL; c = c->next)
        if (step_conn(c))
            return true;
    return false;
}

void fake_run(void)
{
    while (step_wants() || step_nets() || step_dht() || step_conns())
        ;
}

/* --- transport/conn.h --- */

void cv_conn_set_events(struct cv_conn *c, const struct cv_conn_events *events,
                        void *user)
{
    c->events = events;
    c->user = user;
}

const struct cv_key *cv_conn_peer(const struct cv_conn *c)
{
    return &c->peer;
}

const uint8_t *cv_conn_attempt(const struct cv_conn *c)
{
    return c->attempt;
}

bool cv_conn_is_client(const struct cv_conn *c)
{
    return c->client;
}

void cv_conn_path(const struct cv_conn *c, struct cv_path_info *out)
{
    memset(out, 0, sizeof *out);
    (void)c;
    out->kind = CV_PATH_LAN;
    out->rtt = 3 * CV_MILLISECOND;
}

static void close_end(struct cv_conn *c, int err, uint64_t code,
                      const char *reason)
{
    if (c == NULL || c->closing)
        return;
    c->closing = true;
    c->close_err = err;
    c->close_code = code;
    strncpy(c->close_reason, reason, sizeof c->close_reason - 1);
    for (struct cv_stream *s = c->streams; s != NULL; s = s->next)
        s->in_len = 0; /* queued data is not waited for */
}

void cv_conn_close(struct cv_conn *c, uint64_t code, const char *reason)
{
    close_end(c, CV_OK, code, reason);
    if (!c->silenced)
        close_end(c->other, CV_OK, code, reason);
    schedule();
}

void fake_cut(struct cv_conn *c)
{
    close_end(c->other, CV_ERR_TIMEOUT, 0, "");
    close_end(c, CV_ERR_TIMEOUT, 0, "");
    schedule();
}

int cv_conn_export(struct cv_conn *c, const char *label, uint8_t *out,
                   size_t len)
{
    const struct cv_bytes info = {(const uint8_t *)label, strlen(label)};

    cv_hkdf_expand(out, len, c->secret, &info, 1);
    return CV_OK;
}

struct cv_stream *fake_stream(struct cv_conn *c, uint64_t id)
{
    for (struct cv_stream *s = c->streams; s != NULL; s = s->next)
        if (s->id == id)
            return s;
    return NULL;
}

void cv_conn_trust(struct cv_conn *c)
{
    c->trusted = true;
    schedule();
}

int cv_conn_open(struct cv_conn *c, struct cv_stream **out)
{
    struct cv_stream *s, *o;

    if (c->closing || c->other == NULL)
        return CV_ERR_CLOSED;
    s = add_stream(c, c->next_id);
    o = add_stream(c->other, c->next_id);
    c->next_id += 4;
    s->other = o;
    o->other = s;
    s->announced = true;
    *out = s;
    return CV_OK;
}

int cv_conn_datagram(struct cv_conn *c, struct cv_bytes data)
{
    if (data.len > CV_DATAGRAM_MAX)
        return CV_ERR_NOBUF;
    if (c->other != NULL && !c->silenced && c->other->events != NULL &&
        c->other->events->datagram != NULL)
        c->other->events->datagram(c->other->user, c->other, data);
    return CV_OK;
}

void cv_stream_set_events(struct cv_stream *s,
                          const struct cv_stream_events *events, void *user)
{
    s->events = events;
    s->user = user;
}

struct cv_conn *cv_stream_conn(const struct cv_stream *s)
{
    return s->conn;
}

uint64_t cv_stream_id(const struct cv_stream *s)
{
    return s->id;
}

int cv_stream_send(struct cv_stream *s, struct cv_bytes data)
{
    uint8_t *in;

    assert(!s->dead);
    if (s->out_done || s->conn->closing || s->other == NULL)
        return CV_ERR_CLOSED;
    if (s->other->in_len > 0 &&
        s->other->in_len + data.len > CV_STREAM_SEND_MAX) {
        s->wants = true;
        return CV_ERR_AGAIN;
    }
    in = realloc(s->other->in, s->other->in_len + data.len + 1);
    assert(in != NULL);
    s->other->in = in;
    memcpy(in + s->other->in_len, data.data, data.len);
    s->other->in_len += data.len;
    wire = realloc(wire, wire_len + data.len + 1);
    assert(wire != NULL);
    memcpy(wire + wire_len, data.data, data.len);
    wire_len += data.len;
    schedule();
    return CV_OK;
}

size_t cv_stream_unsent(const struct cv_stream *s)
{
    return s->other != NULL ? s->other->in_len : 0;
}

void cv_stream_finish(struct cv_stream *s)
{
    s->out_done = true;
    if (s->other != NULL)
        s->other->in_fin = true;
    schedule();
}

void cv_stream_reset(struct cv_stream *s, uint64_t code)
{
    (void)code;
    s->out_done = true;
    s->in_done = true;
    s->in_len = 0;
    s->in_reset = true; /* ends here too, later */
    if (s->other != NULL)
        s->other->in_reset = true;
    schedule();
}

void cv_stream_pause(struct cv_stream *s, bool paused)
{
    s->paused = paused;
    schedule();
}

/* --- transport/net.h --- */

static bool no_network;

void fake_no_network(bool none)
{
    no_network = none;
}

int cv_net_new(struct cv_net **out, const struct cv_net_config *config,
               const struct cv_net_events *events, void *user)
{
    struct cv_net *n = calloc(1, sizeof *n);

    assert(n != NULL);
    if (no_network) {
        free(n);
        return CV_ERR_NONET;
    }
    n->config = *config;
    n->events = events;
    n->user = user;
    n->port = n->believed = 4000;
    n->next = nets;
    nets = n;
    *out = n;
    schedule();
    return CV_OK;
}

void cv_net_free(struct cv_net *net)
{
    struct cv_net **at = &nets;

    if (net == NULL)
        return;
    for (struct want **w = &wants, *gone; *w != NULL;) {
        gone = *w;
        if (gone->net != net) {
            w = &gone->next;
            continue;
        }
        *w = gone->next;
        free(gone);
    }
    for (struct cv_conn *c = conns; c != NULL; c = c->next)
        if (c->net == net) {
            c->events = NULL;
            c->announced = true;
            for (struct cv_stream *s = c->streams; s != NULL; s = s->next)
                s->events = NULL;
            cv_conn_close(c, 0, "");
        }
    while (*at != net)
        at = &(*at)->next;
    *at = net->next;
    free(net);
}

void cv_net_candidates(const struct cv_net *net, struct cv_candidates *out)
{
    memset(out, 0, sizeof *out);
    out->nat = is_hard(net) ? CV_NAT_MAPPING_RANDOM : CV_NAT_MAPPING_EIM;
    out->n = 1;
    out->c[0].type = CV_CANDIDATE_HOST;
    out->c[0].addr = cv_addr_ipv4(0x0a000001, net->believed);
}

bool cv_net_gates_settled(const struct cv_net *net)
{
    (void)net;
    return true;
}

bool cv_net_settled(const struct cv_net *net)
{
    (void)net;
    return true;
}

uint16_t cv_net_port(const struct cv_net *net)
{
    (void)net;
    return 4000;
}

int cv_net_connect(struct cv_net *net, const struct cv_contact *contact)
{
    struct want *w;

    for (w = wants; w != NULL; w = w->next)
        if (w->net == net && w->contact.knocked == contact->knocked &&
            memcmp(w->contact.attempt, contact->attempt, 8) == 0) {
            w->contact.peer = contact->peer;
            schedule();
            return CV_OK;
        }
    w = calloc(1, sizeof *w);
    assert(w != NULL);
    w->net = net;
    w->contact = *contact;
    w->next = wants;
    wants = w;
    schedule();
    return CV_OK;
}

void cv_net_abandon(struct cv_net *net, const uint8_t attempt[8])
{
    for (struct want **w = &wants; *w != NULL; w = &(*w)->next)
        if ((*w)->net == net &&
            memcmp((*w)->contact.attempt, attempt, 8) == 0) {
            struct want *gone = *w;

            *w = gone->next;
            free(gone);
            return;
        }
}

void cv_net_set_rooms(struct cv_net *net, const uint8_t (*keys)[CV_ROOM_KEY],
                      unsigned n)
{
    (void)net;
    (void)keys;
    (void)n;
}

void cv_net_store(struct cv_net *net, const uint8_t loc[20], unsigned ttl_s,
                  struct cv_bytes sealed)
{
    (void)net;
    (void)loc;
    (void)ttl_s;
    (void)sealed;
}

void cv_net_look(struct cv_net *net, const uint8_t loc[20])
{
    (void)net;
    (void)loc;
}

bool cv_net_has_gate(const struct cv_net *net)
{
    (void)net;
    return false;
}

unsigned cv_net_gates(const struct cv_net *net, struct cv_gates_info *out,
                      unsigned max)
{
    (void)net;
    (void)out;
    (void)max;
    return 0;
}

void cv_net_describe(const struct cv_net *net, char *out, size_t len)
{
    (void)net;
    (void)snprintf(out, len, "in memory");
}

void fake_unplug(const struct cv_key *node, bool up)
{
    for (struct cv_net *n = nets; n != NULL; n = n->next)
        if (cv_key_equal(&n->config.node->pub, node))
            n->unplugged = !up;
    if (!up)
        for (struct cv_conn *c = conns; c != NULL; c = c->next)
            if (cv_key_equal(&c->self, node))
                fake_cut(c);
    schedule();
}

void fake_silence(const struct cv_key *node)
{
    const struct cv_path_info silent = {.kind = CV_PATH_IPV4, .silent = true};

    net_of(node)->unplugged = true;
    for (struct cv_conn *c = conns; c != NULL; c = c->next) {
        if (!cv_key_equal(&c->self, node) || c->other == NULL)
            continue;
        c->silenced = c->other->silenced = true;
        if (c->other->events != NULL && c->other->events->path != NULL)
            c->other->events->path(c->other->user, c->other, &silent);
    }
}

/* --- discovery/dht.h --- */

struct value {
    struct value *next;
    struct cv_loc loc;
    size_t len;
    uint8_t data[CV_DHT_VALUE_MAX];
    uint64_t number; /* counts up */
};

struct op {
    struct op *next;
    struct cv_dht *dht;
    cv_dht_token token;
    enum { OP_PUT, OP_GET, OP_LISTEN } kind;
    struct cv_loc loc;
    cv_dht_value_fn value;
    cv_dht_done_fn done;
    void *user;
    uint64_t seen; /* number of the last value that was delivered */
};

#define FULL_KEYS 16

static struct value *values;
static struct op *ops;
static uint64_t next_token = 1, next_value = 1;
static struct cv_loc full[FULL_KEYS];
static unsigned n_full, n_refused;

static struct op *add_op(struct cv_dht *dht, const struct cv_loc *loc,
                         void *user)
{
    struct op *o = calloc(1, sizeof *o);

    assert(o != NULL);
    o->dht = dht;
    o->token = next_token++;
    o->loc = *loc;
    o->user = user;
    o->next = ops;
    ops = o;
    schedule();
    return o;
}

static void remove_op(struct op *gone)
{
    struct op **at = &ops;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    free(gone);
}

static void add_value(const struct cv_loc *loc, struct cv_bytes value)
{
    struct value *v = calloc(1, sizeof *v);

    assert(v != NULL && value.len <= sizeof v->data);
    v->loc = *loc;
    v->len = value.len;
    memcpy(v->data, value.data, value.len);
    v->number = next_value++;
    v->next = values;
    values = v;
    schedule();
}

static bool is_full(const struct cv_loc *loc)
{
    for (unsigned i = 0; i < n_full; i++)
        if (memcmp(&full[i], loc, sizeof *loc) == 0)
            return true;
    return false;
}

static cv_dht_token dht_put(struct cv_dht *dht, const struct cv_loc *loc,
                            struct cv_bytes value, cv_dht_done_fn done,
                            void *user)
{
    struct op *o = add_op(dht, loc, user);

    if (is_full(loc))
        n_refused++;
    else
        add_value(loc, value);
    o->kind = OP_PUT;
    o->done = done;
    return o->token;
}

static bool is_empty(const struct cv_loc *loc)
{
    for (const struct value *v = values; v != NULL; v = v->next)
        if (memcmp(&v->loc, loc, sizeof *loc) == 0)
            return false;
    return true;
}

void fake_fill(const struct cv_dht *dht)
{
    for (const struct op *o = ops; o != NULL; o = o->next)
        if (o->dht == dht && o->kind == OP_LISTEN && is_empty(&o->loc) &&
            !is_full(&o->loc)) {
            assert(n_full < FULL_KEYS);
            full[n_full++] = o->loc;
        }
    assert(n_full > 0);
}

unsigned fake_refused(void)
{
    return n_refused;
}

void fake_hear_junk(void)
{
    for (uint8_t i = 0; i < 200; i++)
        add_value(&full[i % n_full], CV_BYTES(&i, 1));
}

static cv_dht_token dht_get(struct cv_dht *dht, const struct cv_loc *loc,
                            cv_dht_value_fn value, cv_dht_done_fn done,
                            void *user)
{
    struct op *o = add_op(dht, loc, user);

    o->kind = OP_GET;
    o->value = value;
    o->done = done;
    return o->token;
}

static cv_dht_token dht_listen(struct cv_dht *dht, const struct cv_loc *loc,
                               cv_dht_value_fn value, void *user)
{
    struct op *o = add_op(dht, loc, user);

    o->kind = OP_LISTEN;
    o->value = value;
    return o->token;
}

static void dht_cancel(struct cv_dht *dht, cv_dht_token token)
{
    (void)dht;
    for (struct op *o = ops; o != NULL; o = o->next)
        if (o->token == token) {
            remove_op(o);
            return;
        }
}

static bool step_dht(void)
{
    for (struct op *o = ops; o != NULL; o = o->next) {
        struct value *first = NULL;

        for (struct value *v = values; v != NULL && o->kind != OP_PUT;
             v = v->next)
            if (memcmp(&v->loc, &o->loc, sizeof v->loc) == 0 &&
                v->number > o->seen &&
                (first == NULL || v->number < first->number))
                first = v;
        if (first != NULL) {
            o->seen = first->number;
            o->value(o->user, (struct cv_bytes){first->data, first->len});
            return true;
        }
        if (o->kind != OP_LISTEN) {
            cv_dht_done_fn done = o->done;
            void *user = o->user;

            remove_op(o);
            if (done != NULL)
                done(user, true);
            return true;
        }
    }
    return false;
}

static const struct cv_dht_ops dht_ops = {
    .put = dht_put,
    .get = dht_get,
    .listen = dht_listen,
    .cancel = dht_cancel,
};

int cv_dht_open(struct cv_dht **out, const struct cv_dht_config *config)
{
    struct cv_dht *d = calloc(1, sizeof *d);

    (void)config;
    assert(d != NULL);
    d->ops = &dht_ops;
    *out = d;
    return CV_OK;
}

void cv_dht_close(struct cv_dht *dht, unsigned grace_ms)
{
    struct op *next;

    (void)grace_ms;
    for (struct op *o = ops; o != NULL; o = next) {
        next = o->next;
        if (o->dht == dht)
            remove_op(o);
    }
    free(dht);
}

enum cv_dht_state cv_dht_state(const struct cv_dht *dht)
{
    (void)dht;
    return CV_DHT_CONNECTED;
}

void cv_dht_network_changed(struct cv_dht *dht)
{
    (void)dht;
}

void cv_dht_mapping_changed(struct cv_dht *dht)
{
    (void)dht;
}

uint16_t cv_dht_port(const struct cv_dht *dht)
{
    (void)dht;
    return 4001;
}

void fake_reset(void)
{
    struct value *next;

    fake_run();
    for (struct value *v = values; v != NULL; v = next) {
        next = v->next;
        free(v);
    }
    values = NULL;
    memset(blocked, 0, sizeof blocked);
    hard = false;
    n_full = n_refused = 0;
    free(wire);
    wire = NULL;
    wire_len = 0;
}
