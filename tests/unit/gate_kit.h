/* tests/unit/gate_kit.h - a gate core with links that are lists of frames. */
#ifndef CV_TESTS_GATE_KIT_H
#define CV_TESTS_GATE_KIT_H
#include "gate/core.h"
#include "tests/test.h"

#define KIT_LINKS 64
#define KIT_QUEUE 65536
#define KIT_UDP   64
#define KIT_START (1000 * CV_SECOND)
#define KIT_UNIX  UINT64_C(1700000000000)

struct kit_link {
    struct cv_gate_client *client;
    struct cv_keypair key;
    struct cv_addr addr;
    uint8_t exporter[32];
    bool closed; /* by the gate */
    bool full;   /* takes nothing */
    uint8_t queue[KIT_QUEUE];
    size_t len, read;
    struct cv_gate_welcome welcome;
};

struct kit_udp {
    struct cv_addr to;
    size_t len;
    uint8_t data[2048];
};

struct kit {
    struct cv_gate_core *core;
    struct cv_gate_core_config config;
    struct cv_keypair key;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    cv_time now;
    struct kit_link link[KIT_LINKS];
    unsigned n;
    struct kit_udp udp[KIT_UDP]; /* the last ones that were sent */
    unsigned n_udp;
};

static inline struct cv_keypair kit_key(uint8_t number)
{
    struct cv_keypair k;
    uint8_t raw[CV_KEY_LEN];

    memset(raw, number, sizeof raw);
    REQUIRE(cv_keypair_from_seed(&k, raw) == CV_OK);
    return k;
}

static inline int kit_send(void *user, void *link, const uint8_t *data,
                           size_t len)
{
    struct kit_link *l = link;

    (void)user;
    if (l->full || l->len + len > sizeof l->queue)
        return CV_ERR_AGAIN;
    memcpy(l->queue + l->len, data, len);
    l->len += len;
    return CV_OK;
}

static inline void kit_close(void *user, void *link)
{
    struct kit_link *l = link;

    (void)user;
    l->closed = true;
    l->client = NULL;
}

static inline void kit_udp_out(void *user, const struct cv_addr *to,
                               const uint8_t *data, size_t len)
{
    struct kit *k = user;
    struct kit_udp *u = &k->udp[k->n_udp++ % KIT_UDP];

    REQUIRE(len <= sizeof u->data);
    u->to = *to;
    u->len = len;
    memcpy(u->data, data, len);
}

static const struct cv_gate_out kit_out = {kit_send, kit_close, kit_udp_out};

/* Set k->config before, or leave it zero for the defaults. */
static inline void kit_init(struct kit *k)
{
    k->key = kit_key(200);
    k->rng = cv_rng_from_seed(&k->seed, 42);
    k->config.key = &k->key;
    k->config.rng = &k->rng;
    k->config.udp_port = 443;
    if (k->config.limits.links == 0)
        k->config.limits = cv_gate_limits_default();
    k->now = KIT_START;
    REQUIRE(cv_gate_core_new(&k->core, &k->config, &kit_out, k, k->now) ==
            CV_OK);
    cv_gate_core_step(k->core, k->now, KIT_UNIX);
}

static inline void kit_pass(struct kit *k, cv_time time)
{
    for (cv_time until = k->now + time; k->now < until;) {
        k->now = cv_time_min(k->now + CV_SECOND, until);
        cv_gate_core_step(
            k->core, k->now,
            KIT_UNIX + (cv_unix_ms)((k->now - KIT_START) / CV_MILLISECOND));
    }
}

static inline void kit_fini(struct kit *k)
{
    cv_gate_core_free(k->core);
    free(k);
}

static inline struct kit *kit_new(void)
{
    struct kit *k = calloc(1, sizeof *k);

    REQUIRE(k != NULL);
    return k;
}

/* The next frame that the gate sent to it; false: none. */
static inline bool kit_next(struct kit_link *l, struct cv_gate_frame *f)
{
    size_t used;

    if (l->read == l->len)
        return false;
    REQUIRE(cv_gate_get(f, l->queue + l->read, l->len - l->read, &used) ==
            CV_OK);
    l->read += used;
    return true;
}

/* The next frame, which has to be of this type. */
static inline struct cv_gate_frame kit_want(struct kit_link *l,
                                            enum cv_gate_type type)
{
    struct cv_gate_frame f;

    REQUIRE(kit_next(l, &f));
    if (f.type != type)
        print_error("type is 0x%02x, not 0x%02x\n", f.type, type);
    REQUIRE(f.type == type);
    return f;
}

static inline void kit_say(struct kit *k, struct kit_link *l,
                           const struct cv_gate_frame *f)
{
    uint8_t out[CV_GATE_FRAME_MAX + 2];
    struct cv_writer w;
    ptrdiff_t used;

    cv_writer_init(&w, out, sizeof out);
    REQUIRE(cv_gate_put(&w, f) == CV_OK);
    used = cv_gate_link_input(l->client, out, w.len, k->now);
    REQUIRE(used == (ptrdiff_t)w.len || used < 0);
}

/* Connected and challenged; `number` gives key and address. */
static inline struct kit_link *kit_connect(struct kit *k, uint8_t number)
{
    struct kit_link *l = &k->link[k->n++];

    REQUIRE(k->n <= KIT_LINKS);
    l->key = kit_key(number);
    l->addr = cv_addr_ipv4(0x0a000000u + number, 1000);
    memset(l->exporter, number, sizeof l->exporter);
    REQUIRE(cv_gate_link_allowed(k->core, &l->addr, k->now));
    l->client = cv_gate_link_open(k->core, l, &l->addr, l->exporter, k->now);
    REQUIRE(l->client != NULL);
    return l;
}

/* Answer its challenge with `auth`, whose further proofs are filled in. */
static inline void kit_prove(struct kit *k, struct kit_link *l,
                             struct cv_gate_auth *auth, struct cv_bytes token)
{
    struct cv_gate_frame f = kit_want(l, CV_GATE_CHALLENGE);
    struct cv_gate_handshake h = {.gate = k->key.pub, .bound = true};

    memcpy(h.gate_nonce, f.u.challenge.nonce, 32);
    memcpy(h.exporter, l->exporter, 32);
    memset(auth->nonce, 7, sizeof auth->nonce);
    REQUIRE(cv_gate_auth_sign(auth, &h, &l->key) == CV_OK);
    if (token.len > 0) {
        auth->has_token = true;
        cv_gate_auth_token(auth->token, token, &h, auth);
    }
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_AUTH;
    f.u.auth = *auth;
    kit_say(k, l, &f);
    if (l->closed)
        return;
    f = kit_want(l, CV_GATE_WELCOME);
    REQUIRE(cv_gate_welcome_verify(&f.u.welcome, &h, auth) == CV_OK);
    l->welcome = f.u.welcome;
}

/* Connected and welcome. */
static inline struct kit_link *kit_join(struct kit *k, uint8_t number)
{
    struct kit_link *l = kit_connect(k, number);
    struct cv_gate_auth auth = {0};

    kit_prove(k, l, &auth, (struct cv_bytes){0});
    REQUIRE(!l->closed);
    return l;
}

/* Register a room of `l` under a room key of bytes `r`. */
static inline void kit_register(struct kit *k, struct kit_link *l, uint8_t r,
                                uint8_t room[CV_GATE_ROOM])
{
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};

    memset(f.u.room_key, r, CV_GATE_ROOM_KEY);
    cv_gate_room(room, &l->key.pub, f.u.room_key);
    kit_say(k, l, &f);
    f = kit_want(l, CV_GATE_REGISTERED);
    REQUIRE(memcmp(f.u.room, room, CV_GATE_ROOM) == 0);
}

static inline struct cv_gate_frame kit_ring(const uint8_t room[CV_GATE_ROOM],
                                            const char *knock,
                                            const char *packet)
{
    struct cv_gate_frame f = {.type = CV_GATE_RING};

    memcpy(f.u.ring.room, room, CV_GATE_ROOM);
    memset(f.u.ring.tag, 9, CV_GATE_TAG);
    f.u.ring.knock = CV_BYTES(knock, strlen(knock));
    f.u.ring.packet = CV_BYTES(packet, strlen(packet));
    return f;
}

struct kit_channel {
    struct cv_gate_frame caller, owner; /* OPENED */
};

static inline struct kit_channel kit_open(struct kit *k, struct kit_link *from,
                                          struct kit_link *to,
                                          const uint8_t room[CV_GATE_ROOM])
{
    struct cv_gate_frame f = {.type = CV_GATE_OPEN};
    struct kit_channel ch;

    memcpy(f.u.open.room, room, CV_GATE_ROOM);
    memset(f.u.open.tag, 9, CV_GATE_TAG);
    kit_say(k, from, &f);
    ch.caller = kit_want(from, CV_GATE_OPENED);
    ch.owner = kit_want(to, CV_GATE_OPENED);
    return ch;
}

/* A UDP packet to the gate; true: it is passed on, now in `data`. */
static inline bool kit_udp_in(struct kit *k, const struct cv_addr *from,
                              uint8_t *data, size_t len,
                              const struct cv_addr **to)
{
    REQUIRE(cv_gate_udp_input(k->core, from, data, len, len, k->now, to) ==
            len);
    return *to != NULL;
}

static inline struct kit_udp *kit_last_udp(struct kit *k)
{
    REQUIRE(k->n_udp > 0);
    return &k->udp[(k->n_udp - 1) % KIT_UDP];
}

/* Bind an end of a channel to `from`: twice, as the cookie wants it. */
static inline void kit_bind(struct kit *k, const struct cv_gate_frame *opened,
                            const struct cv_addr *from, uint64_t counter)
{
    struct cv_gate_bind bind = {.channel = opened->u.opened.channel};
    uint8_t out[CV_GATE_UDP_BIND_LEN];
    const struct cv_addr *to;

    for (unsigned i = 0; i < 2; i++) {
        struct cv_gate_bind bound;
        struct kit_udp *u;

        bind.counter = counter + i;
        cv_gate_bind_write(out, &bind, opened->u.opened.key);
        REQUIRE(!kit_udp_in(k, from, out, sizeof out, &to));
        u = kit_last_udp(k);
        REQUIRE(u->len <= sizeof out);
        REQUIRE(cv_gate_bound_read(&bound, u->data, u->len,
                                   opened->u.opened.key) == CV_OK);
        memcpy(bind.cookie, bound.cookie, CV_GATE_COOKIE);
    }
}
#endif
