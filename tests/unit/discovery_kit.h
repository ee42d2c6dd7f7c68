/* tests/unit/discovery_kit.h - people, keys and a DHT for discovery's tests.
 *
 * Everything is made from seeds, so that records come out the same each time.
 * The DHT runs on a virtual clock and delays, loses and keeps values as told;
 * `kit_run` moves the clock and the meeting places that hang on it. */
#ifndef CV_TESTS_DISCOVERY_KIT_H
#define CV_TESTS_DISCOVERY_KIT_H
#include "tests/test.h"

#include "discovery/dht.h"
#include "discovery/knock.h"
#include "discovery/location.h"
#include "discovery/pointer.h"
#include "discovery/rendezvous.h"

#define KIT_MEMBERS 4
#define KIT_VALUES  4096
#define KIT_OPS     1024
#define KIT_EVENTS  65536
#define KIT_LIFE    (10 * CV_MINUTE) /* of a value, as in OpenDHT */

/* 2025-06-15 12:10:00 UTC, ten minutes into its epoch. */
#define KIT_UNIX_S  UINT64_C(1749989400)
#define KIT_UNIX_MS (KIT_UNIX_S * 1000)

static inline struct cv_keypair kit_keypair(uint8_t fill)
{
    uint8_t seed[CV_KEY_LEN];
    struct cv_keypair k;

    memset(seed, fill, sizeof(seed));
    REQUIRE(cv_keypair_from_seed(&k, seed) == CV_OK);
    return k;
}

/* A person: identity key, node key, certificate and, once granted, a chain. */
struct kit_person {
    struct cv_keypair identity;
    struct cv_keypair node;
    struct cv_cert cert;
    struct cv_grants grants;
};

static inline struct kit_person kit_person(uint8_t fill)
{
    struct kit_person p = {.identity = kit_keypair(fill),
                           .node = kit_keypair((uint8_t)(fill + 1))};

    REQUIRE(cv_cert_make(&p.cert, &p.identity, &p.node.pub,
                         KIT_UNIX_S + CV_CERT_LIFETIME_S) == CV_OK);
    return p;
}

static inline struct cv_grants kit_grant(const struct kit_person *parent,
                                         const struct cv_keypair *session,
                                         const struct cv_key *subject,
                                         enum cv_role role, uint8_t flags)
{
    struct cv_rng_seeded state;
    const struct cv_rng rng = cv_rng_from_seed(&state, 7);
    struct cv_grants out;

    REQUIRE(cv_grants_issue(&out, parent ? &parent->grants : NULL,
                            &session->pub, parent ? &parent->identity : session,
                            subject, role, flags,
                            KIT_UNIX_S + CV_GRANT_LIFETIME_S, &rng) == CV_OK);
    return out;
}

/* n candidates on 192.0.2.0/24, every third one IPv6, preferences falling. */
static inline struct cv_candidates kit_candidates(unsigned n)
{
    struct cv_candidates c = {.n = n, .nat = CV_NAT_MAPPING_EIM};

    for (unsigned i = 0; i < n; i++) {
        c.c[i].type = CV_CANDIDATE_HOST;
        c.c[i].pref = (uint8_t)(200 - i);
        c.c[i].addr = cv_addr_ipv4(0xc0000201u + i, (uint16_t)(40000 + i));
        if (i % 3 == 2) {
            static const uint8_t net[] = {0x20, 0x01, 0x0d, 0xb8};

            c.c[i].addr.family = CV_FAMILY_IPV6;
            memset(c.c[i].addr.ip, 0, 16);
            memcpy(c.c[i].addr.ip, net, sizeof(net));
            c.c[i].addr.ip[15] = (uint8_t)(i + 1);
        }
    }
    return c;
}

static inline void kit_print_hex(const char *what, const void *data, size_t len)
{
    const uint8_t *b = data;

    printf("%s\n", what);
    for (size_t i = 0; i < len; i++)
        printf("%02x%s", b[i], i % 32 == 31 || i + 1 == len ? "\n" : "");
}

/* --- a DHT ---------------------------------------------------------------- */

struct kit_value {
    struct cv_loc loc;
    cv_time until;
    size_t len;
    uint8_t data[CV_DHT_VALUE_MAX];
};

enum kit_op_kind { KIT_FREE, KIT_PUT, KIT_GET, KIT_LISTEN };

struct kit_dht;

struct kit_op {
    enum kit_op_kind kind;
    uint64_t token;
    struct kit_dht *dht;
    struct cv_loc loc;
    cv_dht_value_fn value;
    cv_dht_done_fn done;
    void *user;
};

enum kit_event_kind { KIT_STORE, KIT_READ, KIT_VALUE, KIT_DONE };

struct kit_event {
    cv_time at;
    uint64_t order;
    enum kit_event_kind kind;
    uint64_t token;
    struct kit_value *value; /* KIT_STORE: owned; KIT_VALUE: stored */
    bool ok;
};

struct kit_net {
    cv_time now;
    struct cv_rng_seeded rng_state;
    struct cv_rng rng;
    cv_time delay_min, delay_max;
    unsigned loss_percent;
    uint64_t next_token, next_order;
    unsigned n_values;
    struct kit_value *values[KIT_VALUES];
    struct kit_op ops[KIT_OPS];
    unsigned n_events;
    struct kit_event events[KIT_EVENTS];
    uint64_t puts, gets, listens; /* started, for bounds */
};

/* One client's end of it. */
struct kit_dht {
    struct cv_dht base;
    struct kit_net *net;
    bool down; /* nothing gets through */
};

static inline uint64_t kit_random(struct kit_net *net, uint64_t below)
{
    return cv_random_u64(&net->rng) % below;
}

static inline cv_time kit_delay(struct kit_net *net)
{
    const uint64_t span = (uint64_t)(net->delay_max - net->delay_min) + 1;

    return net->delay_min + (cv_time)kit_random(net, span);
}

static inline bool kit_lost(struct kit_net *net)
{
    return kit_random(net, 100) < net->loss_percent;
}

static inline void kit_event_add(struct kit_net *net, struct kit_event e)
{
    REQUIRE(net->n_events < KIT_EVENTS);
    e.order = net->next_order++;
    net->events[net->n_events++] = e;
}

static inline struct kit_op *kit_op_find(struct kit_net *net, uint64_t token)
{
    for (unsigned i = 0; i < KIT_OPS; i++) {
        if (net->ops[i].kind != KIT_FREE && net->ops[i].token == token)
            return &net->ops[i];
    }
    return NULL;
}

static inline struct kit_op *
kit_op_add(struct kit_dht *dht, enum kit_op_kind kind, const struct cv_loc *loc)
{
    struct kit_net *net = dht->net;

    for (unsigned i = 0; i < KIT_OPS; i++) {
        if (net->ops[i].kind == KIT_FREE) {
            net->ops[i] = (struct kit_op){.kind = kind,
                                          .token = ++net->next_token,
                                          .dht = dht,
                                          .loc = *loc};
            return &net->ops[i];
        }
    }
    REQUIRE(false && "more operations than a client should have");
    return NULL;
}

static inline cv_dht_token kit_put(struct cv_dht *base,
                                   const struct cv_loc *loc,
                                   struct cv_bytes value, cv_dht_done_fn done,
                                   void *user)
{
    struct kit_dht *dht = (struct kit_dht *)base;
    struct kit_op *op = kit_op_add(dht, KIT_PUT, loc);
    struct kit_value *v = calloc(1, sizeof(*v));
    const cv_time at = dht->net->now + kit_delay(dht->net);
    const bool ok = !dht->down && !kit_lost(dht->net);

    REQUIRE(v != NULL && value.len <= sizeof(v->data));
    op->done = done;
    op->user = user;
    dht->net->puts++;
    v->loc = *loc;
    v->len = value.len;
    memcpy(v->data, value.data, value.len);
    if (ok)
        kit_event_add(dht->net, (struct kit_event){.at = at,
                                                   .kind = KIT_STORE,
                                                   .token = op->token,
                                                   .value = v});
    else
        free(v);
    kit_event_add(dht->net,
                  (struct kit_event){.at = ok ? at + kit_delay(dht->net)
                                              : at + 20 * CV_SECOND,
                                     .kind = KIT_DONE,
                                     .token = op->token,
                                     .ok = ok});
    return op->token;
}

static inline cv_dht_token kit_get(struct cv_dht *base,
                                   const struct cv_loc *loc,
                                   cv_dht_value_fn value, cv_dht_done_fn done,
                                   void *user)
{
    struct kit_dht *dht = (struct kit_dht *)base;
    struct kit_op *op = kit_op_add(dht, KIT_GET, loc);
    const cv_time at = dht->net->now + kit_delay(dht->net);

    op->value = value;
    op->done = done;
    op->user = user;
    dht->net->gets++;
    if (!dht->down)
        kit_event_add(
            dht->net,
            (struct kit_event){.at = at, .kind = KIT_READ, .token = op->token});
    kit_event_add(dht->net, (struct kit_event){.at = at + 2 * CV_SECOND,
                                               .kind = KIT_DONE,
                                               .token = op->token,
                                               .ok = !dht->down});
    return op->token;
}

static inline cv_dht_token kit_listen(struct cv_dht *base,
                                      const struct cv_loc *loc,
                                      cv_dht_value_fn value, void *user)
{
    struct kit_dht *dht = (struct kit_dht *)base;
    struct kit_op *op = kit_op_add(dht, KIT_LISTEN, loc);

    op->value = value;
    op->user = user;
    dht->net->listens++;
    if (!dht->down)
        kit_event_add(dht->net, (struct kit_event){.at = dht->net->now +
                                                         kit_delay(dht->net),
                                                   .kind = KIT_READ,
                                                   .token = op->token});
    return op->token;
}

static inline void kit_cancel(struct cv_dht *base, cv_dht_token token)
{
    struct kit_op *op = kit_op_find(((struct kit_dht *)base)->net, token);

    if (op != NULL)
        op->kind = KIT_FREE;
}

static inline void kit_net_init(struct kit_net *net, uint64_t seed)
{
    memset(net, 0, sizeof(*net));
    net->rng = cv_rng_from_seed(&net->rng_state, seed);
    net->delay_min = 20 * CV_MILLISECOND;
    net->delay_max = 200 * CV_MILLISECOND;
}

static inline void kit_net_fini(struct kit_net *net)
{
    for (unsigned i = 0; i < net->n_values; i++)
        free(net->values[i]);
    for (unsigned i = 0; i < net->n_events; i++) {
        if (net->events[i].kind == KIT_STORE)
            free(net->events[i].value);
    }
}

static inline void kit_dht_init(struct kit_dht *dht, struct kit_net *net)
{
    static const struct cv_dht_ops ops = {kit_put, kit_get, kit_listen,
                                          kit_cancel};

    *dht = (struct kit_dht){.base = {&ops}, .net = net};
}

static inline unsigned kit_ops_open(const struct kit_net *net,
                                    const struct kit_dht *dht)
{
    unsigned n = 0;

    for (unsigned i = 0; i < KIT_OPS; i++)
        n += net->ops[i].kind != KIT_FREE && net->ops[i].dht == dht;
    return n;
}

/* Put something into the DHT without being anybody. */
static inline void kit_inject(struct kit_net *net, const struct cv_loc *loc,
                              struct cv_bytes value)
{
    struct kit_value *v = calloc(1, sizeof(*v));

    REQUIRE(v != NULL && value.len <= sizeof(v->data));
    v->loc = *loc;
    v->len = value.len;
    memcpy(v->data, value.data, value.len);
    kit_event_add(
        net, (struct kit_event){.at = net->now, .kind = KIT_STORE, .value = v});
}

static inline void kit_deliver(struct kit_net *net, const struct kit_op *op,
                               struct kit_value *v)
{
    if (op->dht->down || kit_lost(net))
        return;
    kit_event_add(net, (struct kit_event){.at = net->now + kit_delay(net),
                                          .kind = KIT_VALUE,
                                          .token = op->token,
                                          .value = v});
}

static inline void kit_store(struct kit_net *net, struct kit_value *v)
{
    REQUIRE(net->n_values < KIT_VALUES);
    v->until = net->now + KIT_LIFE;
    net->values[net->n_values++] = v;
    for (unsigned i = 0; i < KIT_OPS; i++) {
        if (net->ops[i].kind == KIT_LISTEN &&
            cv_loc_equal(&net->ops[i].loc, &v->loc))
            kit_deliver(net, &net->ops[i], v);
    }
}

static inline void kit_read(struct kit_net *net, const struct kit_op *op)
{
    for (unsigned i = 0; i < net->n_values; i++) {
        if (net->values[i]->until > net->now &&
            cv_loc_equal(&op->loc, &net->values[i]->loc))
            kit_deliver(net, op, net->values[i]);
    }
}

/* The next event's index, or -1. */
static inline int kit_next(const struct kit_net *net)
{
    int best = -1;

    for (unsigned i = 0; i < net->n_events; i++) {
        const struct kit_event *e = &net->events[i];

        if (best < 0 || e->at < net->events[best].at ||
            (e->at == net->events[best].at &&
             e->order < net->events[best].order))
            best = (int)i;
    }
    return best;
}

static inline void kit_handle(struct kit_net *net, int index)
{
    const struct kit_event e = net->events[index];
    struct kit_op *op = kit_op_find(net, e.token);

    net->events[index] = net->events[--net->n_events];
    switch (e.kind) {
    case KIT_STORE:
        kit_store(net, e.value);
        return;
    case KIT_READ:
        if (op != NULL)
            kit_read(net, op);
        return;
    case KIT_VALUE:
        if (op != NULL && !op->dht->down)
            op->value(op->user, CV_BYTES(e.value->data, e.value->len));
        return;
    case KIT_DONE:
        if (op != NULL) {
            const struct kit_op done = *op;

            op->kind = KIT_FREE;
            if (done.done != NULL)
                done.done(done.user, e.ok);
        }
        return;
    }
}

/* --- meeting places that hang on it --------------------------------------- */

struct kit_peer {
    struct kit_person person;
    struct kit_dht dht;
    struct cv_rendezvous *rv;
    struct cv_rng_seeded rng_state;
    struct cv_rng rng;
    int64_t skew_ms; /* its clock is ahead by so much */
    /* What it was told. */
    unsigned n_pointers, n_knocks, n_answers, n_gone, n_left;
    unsigned stages[4];
    struct cv_pointer_info pointer; /* the last */
    struct cv_knock_info knock;
    struct cv_answer_info answer;
    cv_time pointer_at, knock_at, answer_at;
    bool answer_at_once;
    void (*on_pointer)(struct kit_peer *p, const struct cv_pointer_info *info);
    void (*on_knock)(struct kit_peer *p, const struct cv_knock_info *info);
};

struct kit_world {
    struct kit_net net;
    struct cv_keypair session;
    cv_unix_ms unix_start;
    unsigned n;
    struct kit_peer peers[KIT_MEMBERS];
};

static inline void kit_on_stage(void *user, enum cv_rendezvous_stage stage)
{
    ((struct kit_peer *)user)->stages[stage]++;
}

static inline void kit_on_pointer(void *user, const struct cv_pointer_info *i)
{
    struct kit_peer *p = user;

    if (i->gone)
        p->n_gone++;
    else if (p->n_pointers++ == 0)
        p->pointer_at = p->dht.net->now;
    p->pointer = *i;
    if (p->on_pointer != NULL)
        p->on_pointer(p, i);
}

static inline void kit_on_knock(void *user, const struct cv_knock_info *k)
{
    struct kit_peer *p = user;

    if (p->n_knocks++ == 0)
        p->knock_at = p->dht.net->now;
    p->knock = *k;
    if (p->answer_at_once) {
        const struct cv_candidates own = kit_candidates(2);

        REQUIRE(cv_rendezvous_answer(p->rv, k->contact.attempt, CV_VERDICT_OK,
                                     &own) == CV_OK);
    }
    if (p->on_knock != NULL)
        p->on_knock(p, k);
}

static inline void kit_on_answer(void *user, const struct cv_answer_info *a)
{
    struct kit_peer *p = user;

    if (p->n_answers++ == 0)
        p->answer_at = p->dht.net->now;
    p->answer = *a;
}

static inline void kit_on_left(void *user)
{
    ((struct kit_peer *)user)->n_left++;
}

/* Storage is the caller's (it is large: static).  `shelf`, if any, is handed a
 * struct kit_peer. */
static inline void
kit_world_init_beside(struct kit_world *w, unsigned n, uint64_t seed,
                      const struct cv_rendezvous_shelf *shelf)
{
    static const struct cv_rendezvous_events events = {
        kit_on_stage, kit_on_pointer, kit_on_knock, kit_on_answer};

    memset(w, 0, sizeof(*w));
    kit_net_init(&w->net, seed);
    w->net.now = 1000 * CV_SECOND;
    w->unix_start = KIT_UNIX_MS;
    w->session = kit_keypair(1);
    w->n = n;
    for (unsigned i = 0; i < n; i++) {
        struct kit_peer *p = &w->peers[i];
        struct cv_rendezvous_config config = {.dht = &p->dht.base,
                                              .rng = &p->rng,
                                              .session = w->session.pub,
                                              .node = &p->person.node,
                                              .shelf = shelf};

        p->person = kit_person((uint8_t)(10 + 2 * i));
        p->rng = cv_rng_from_seed(&p->rng_state, seed * 100 + i);
        kit_dht_init(&p->dht, &w->net);
        config.cert = p->person.cert;
        REQUIRE(cv_rendezvous_new(&p->rv, &config, &events, p) == CV_OK);
    }
    /* The first is the sharer. */
    w->peers[0].person.grants =
        kit_grant(NULL, &w->session, &w->peers[0].person.identity.pub,
                  CV_ROLE_HOST, CV_GRANT_ADMIT);
}

static inline void kit_world_init(struct kit_world *w, unsigned n,
                                  uint64_t seed)
{
    kit_world_init_beside(w, n, seed, NULL);
}

static inline void kit_world_fini(struct kit_world *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        cv_rendezvous_free(w->peers[i].rv);
        REQUIRE(kit_ops_open(&w->net, &w->peers[i].dht) == 0);
    }
    kit_net_fini(&w->net);
}

static inline cv_unix_ms kit_unix(const struct kit_world *w,
                                  const struct kit_peer *p)
{
    const cv_unix_ms since =
        (cv_unix_ms)((w->net.now - 1000 * CV_SECOND) / CV_MILLISECOND);

    return w->unix_start + since + (cv_unix_ms)p->skew_ms;
}

static inline void kit_step(struct kit_world *w, struct kit_peer *p)
{
    if (p->rv != NULL)
        cv_rendezvous_step(p->rv, w->net.now, kit_unix(w, p));
}

/* Let `time` pass. */
static inline void kit_run(struct kit_world *w, cv_time time)
{
    const cv_time end = w->net.now + time;

    for (unsigned i = 0; i < w->n; i++)
        kit_step(w, &w->peers[i]);
    for (;;) {
        const int e = kit_next(&w->net);
        cv_time at = e >= 0 ? w->net.events[e].at : CV_NEVER;
        struct kit_peer *due = NULL;

        for (unsigned i = 0; i < w->n; i++) {
            struct kit_peer *p = &w->peers[i];
            cv_time d = p->rv ? cv_rendezvous_deadline(p->rv) : CV_NEVER;

            if (d < w->net.now)
                d = w->net.now;
            if (d < at) {
                at = d;
                due = p;
            }
        }
        if (at > end) {
            w->net.now = end;
            return;
        }
        w->net.now = at;
        if (due != NULL)
            kit_step(w, due);
        else
            kit_handle(&w->net, e);
    }
}

static inline void kit_publish(struct kit_world *w, struct kit_peer *p,
                               unsigned n_candidates)
{
    const struct cv_candidates own = kit_candidates(n_candidates);

    REQUIRE(cv_rendezvous_publish(p->rv, &p->person.grants, &own) == CV_OK);
    kit_step(w, p);
}

static inline void kit_search(struct kit_world *w, struct kit_peer *p)
{
    cv_rendezvous_search(p->rv, true);
    kit_step(w, p);
}

static inline int kit_knock(struct kit_world *w, struct kit_peer *p,
                            const struct kit_peer *at,
                            struct cv_contact *contact)
{
    const struct cv_candidates own = kit_candidates(3);
    const int err = cv_rendezvous_knock(p->rv, &at->person.node.pub, "Ada",
                                        NULL, &own, contact);

    kit_step(w, p);
    return err;
}

static inline struct cv_rendezvous_counters kit_counters(struct kit_peer *p)
{
    struct cv_rendezvous_counters c;

    cv_rendezvous_counters(p->rv, &c);
    return c;
}
#endif
