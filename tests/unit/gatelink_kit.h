/* tests/unit/gatelink_kit.h - a real gate and real links to it, on loopback. */
#ifndef CV_TESTS_GATELINK_KIT_H
#define CV_TESTS_GATELINK_KIT_H
#include "gate/server.h"
#include "tests/kit.h"
#include "transport/gatelink.h"

#define ENDS 3

struct end {
    struct cv_keypair key;
    struct cv_gatelink *link;
    struct cv_gate_welcome welcome;
    unsigned ups, downs, frames;
    bool writable;
    char why[256];
    struct cv_gate_frame last; /* without its borrowed bytes */
    uint8_t knock[CV_GATE_KNOCK_MAX], packet[CV_GATE_PACKET_MAX];
    size_t knock_len, packet_len;
    uint32_t channel;
    uint64_t bytes;
};

static struct cv_loop *loop;
static struct cv_gate_server *server;
static struct cv_keypair gate_key;
static struct end end[ENDS];
/* Of the server, to be set before it is opened; 0 and NULL: none. */
static uint16_t proxied_port;
static const char *cert_file, *key_file;
/* Of links, to be set before they are made: where they think the gate is. */
static struct cv_proxy proxy;
static uint16_t link_port; /* 0: where it is */
static const char *link_host, *link_path, *ca_file;

static inline void on_up(void *user, const struct cv_gate_welcome *welcome)
{
    struct end *e = user;

    e->ups++;
    e->welcome = *welcome;
}

static inline void on_frame(void *user, const struct cv_gate_frame *f)
{
    struct end *e = user;

    e->frames++;
    e->last = *f;
    if (f->type == CV_GATE_RUNG) {
        e->knock_len = f->u.ring.knock.len;
        memcpy(e->knock, f->u.ring.knock.data, e->knock_len);
    }
    if (f->type == CV_GATE_OPENED)
        e->channel = f->u.opened.channel;
    if (f->type == CV_GATE_DATA) {
        e->packet_len = f->u.data.packet.len;
        memcpy(e->packet, f->u.data.packet.data, e->packet_len);
        e->bytes += e->packet_len;
    }
}

static inline void on_down(void *user, const char *why)
{
    struct end *e = user;

    e->downs++;
    snprintf(e->why, sizeof e->why, "%s", why);
}

static inline void on_writable(void *user)
{
    struct end *e = user;

    e->writable = true;
}

static const struct cv_gatelink_events events = {on_up, on_frame, on_down,
                                                 on_writable};

static inline void open_server(uint16_t port, enum cv_gate_policy policy)
{
    struct cv_gate_server_config config = {.loop = loop, .n_listen = 1};
    char why[300];

    config.cert_file = cert_file;
    config.key_file = key_file;
    if (proxied_port != 0) {
        config.n_proxied = 1;
        config.proxied[0] = cv_addr_ipv4(0x7f000001, proxied_port);
    }

    config.listen[0] = cv_addr_ipv4(0x7f000001, port);
    config.udp = config.stun = true;
    config.core.key = &gate_key;
    config.core.rng = &cv_rng_system;
    config.core.policy = policy;
    config.core.token = CV_LITERAL("sesame sesame sesame");
    config.core.limits = cv_gate_limits_default();
    config.core.limits.rate = 1u << 30;
    config.core.limits.burst = 1u << 30;
    config.core.limits.links_per_source = 100;
    config.core.limits.connects_per_source = 100;
    if (cv_gate_server_new(&server, &config, why, sizeof why) != CV_OK)
        print_error("%s\n", why);
    REQUIRE(server != NULL);
}

static inline void setup(enum cv_gate_policy policy)
{
    memset(end, 0, sizeof end);
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    gate_key = key_of(200);
    open_server(0, policy);
}

static inline void teardown(void)
{
    for (unsigned i = 0; i < ENDS; i++)
        cv_gatelink_free(end[i].link);
    cv_gate_server_free(server);
    server = NULL;
    cv_loop_free(loop);
    proxied_port = link_port = 0;
    link_host = link_path = ca_file = cert_file = key_file = NULL;
    memset(&proxy, 0, sizeof proxy);
}

static inline struct end *join(unsigned i, const char *token,
                               const struct cv_key *pinned)
{
    struct cv_gatelink_config config = {.loop = loop, .rng = &cv_rng_system};
    struct end *e = &end[i];

    e->key = key_of((uint8_t)(i + 1));
    config.node = &e->key;
    config.name.key = pinned ? *pinned : gate_key.pub;
    strcpy(config.name.host, link_host ? link_host : "127.0.0.1");
    config.name.port = link_port ? link_port : cv_gate_server_port(server);
    strcpy(config.name.path, link_path ? link_path : "");
    strcpy(config.token, token);
    config.proxy = &proxy;
    config.ca_file = ca_file;
    REQUIRE(cv_gatelink_new(&e->link, &config, &events, e) == CV_OK);
    return e;
}

static inline void open_channel(struct end *host, struct end *guest)
{
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};
    uint8_t room[CV_GATE_ROOM];

    cv_gate_room(room, &host->key.pub, f.u.room_key);
    REQUIRE(cv_gatelink_send(host->link, &f) == CV_OK);
    WAIT(host->frames == 1, 5 * CV_SECOND);
    REQUIRE(host->last.type == CV_GATE_REGISTERED);
    f = (struct cv_gate_frame){.type = CV_GATE_RING};
    memcpy(f.u.ring.room, room, sizeof room);
    f.u.ring.knock = CV_LITERAL("knock knock");
    REQUIRE(cv_gatelink_send(guest->link, &f) == CV_OK);
    f = (struct cv_gate_frame){.type = CV_GATE_OPEN};
    memcpy(f.u.open.room, room, sizeof room);
    REQUIRE(cv_gatelink_send(guest->link, &f) == CV_OK);
    WAIT(host->channel && guest->channel, 5 * CV_SECOND);
    REQUIRE(host->channel && guest->channel);
    REQUIRE(host->knock_len == 11);
}
#endif
