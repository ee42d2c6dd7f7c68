/* A real gate and real links, on loopback. */
#include "gate/server.h"
#include "tests/test.h"
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

#define WAIT(cond, limit)                                                      \
    do {                                                                       \
        cv_time until_ = cv_time_now() + (limit);                              \
        while (!(cond) && cv_time_now() < until_)                              \
            cv_loop_once(loop, until_);                                        \
    } while (0)

static void on_up(void *user, const struct cv_gate_welcome *welcome)
{
    struct end *e = user;

    e->ups++;
    e->welcome = *welcome;
}

static void on_frame(void *user, const struct cv_gate_frame *f)
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

static void on_down(void *user, const char *why)
{
    struct end *e = user;

    e->downs++;
    snprintf(e->why, sizeof e->why, "%s", why);
}

static void on_writable(void *user)
{
    struct end *e = user;

    e->writable = true;
}

static const struct cv_gatelink_events events = {on_up, on_frame, on_down,
                                                 on_writable};

static struct cv_keypair key_of(uint8_t seed)
{
    struct cv_keypair k;
    uint8_t raw[CV_KEY_LEN];

    memset(raw, seed, sizeof raw);
    REQUIRE(cv_keypair_from_seed(&k, raw) == CV_OK);
    return k;
}

static void open_server(uint16_t port, enum cv_gate_policy policy)
{
    struct cv_gate_server_config config = {.loop = loop, .n_listen = 1};
    char why[300];

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

static void setup(enum cv_gate_policy policy)
{
    memset(end, 0, sizeof end);
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    gate_key = key_of(200);
    open_server(0, policy);
}

static void teardown(void)
{
    for (unsigned i = 0; i < ENDS; i++)
        cv_gatelink_free(end[i].link);
    cv_gate_server_free(server);
    server = NULL;
    cv_loop_free(loop);
}

static struct end *join(unsigned i, const char *token,
                        const struct cv_key *pinned)
{
    struct cv_gatelink_config config = {.loop = loop, .rng = &cv_rng_system};
    struct end *e = &end[i];

    e->key = key_of((uint8_t)(i + 1));
    config.node = &e->key;
    config.name.key = pinned ? *pinned : gate_key.pub;
    strcpy(config.name.host, "127.0.0.1");
    config.name.port = cv_gate_server_port(server);
    strcpy(config.token, token);
    REQUIRE(cv_gatelink_new(&e->link, &config, &events, e) == CV_OK);
    return e;
}

static void open_channel(struct end *host, struct end *guest)
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

TEST(two_clients_meet_at_a_gate_and_packets_pass)
{
    struct end *host, *guest;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};

    setup(CV_GATE_OPEN_TO_ALL);
    host = join(0, "", NULL);
    guest = join(1, "", NULL);
    WAIT(host->ups && guest->ups, 5 * CV_SECOND);
    CHECK(host->ups == 1 && guest->ups == 1);
    CHECK_EQ(guest->welcome.udp_port, cv_gate_server_port(server));
    CHECK(cv_addr_kind(&guest->welcome.seen) == CV_ADDR_LOOPBACK);
    open_channel(host, guest);
    f.u.data.channel = guest->channel;
    f.u.data.packet = CV_LITERAL("hello");
    CHECK_EQ(cv_gatelink_send(guest->link, &f), CV_OK);
    WAIT(host->packet_len > 0, 5 * CV_SECOND);
    CHECK_EQ(host->packet_len, 5);
    CHECK_MEM(host->packet, "hello", 5);
    WAIT(cv_gatelink_rtt(guest->link) > 0, 5 * CV_SECOND);
    CHECK(cv_gatelink_rtt(guest->link) > 0);
    teardown();
}

/* More than every buffer on the way holds: the sender is told to wait. */
TEST(a_sender_that_outruns_the_link_waits_and_goes_on)
{
    static uint8_t packet[CV_GATE_PACKET_MAX];
    const uint64_t total = 20u << 20;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    struct end *host, *guest;
    uint64_t sent = 0;
    unsigned waits = 0;
    cv_time until;

    setup(CV_GATE_OPEN_TO_ALL);
    host = join(0, "", NULL);
    guest = join(1, "", NULL);
    WAIT(host->ups && guest->ups, 5 * CV_SECOND);
    open_channel(host, guest);
    f.u.data.channel = guest->channel;
    f.u.data.packet = CV_BYTES(packet, sizeof packet);
    guest->writable = true;
    until = cv_time_now() + 20 * CV_SECOND;
    while (sent < total && cv_time_now() < until) {
        int err =
            guest->writable ? cv_gatelink_send(guest->link, &f) : CV_ERR_AGAIN;

        if (err == CV_OK) {
            sent += sizeof packet;
            continue;
        }
        CHECK_EQ(err, CV_ERR_AGAIN);
        waits += guest->writable;
        guest->writable = false;
        cv_loop_once(loop, until);
    }
    CHECK(sent >= total);
    CHECK(waits > 10);
    WAIT(host->bytes == sent, 2 * CV_SECOND);
    /* The gate may have dropped some where the reader was slow, not most. */
    CHECK(host->bytes > 0 && host->bytes <= sent);
    CHECK_EQ(guest->downs + host->downs, 0);
    teardown();
}

TEST(a_gate_with_another_key_gets_nothing)
{
    struct cv_keypair other = key_of(99);
    struct end *e;

    setup(CV_GATE_OPEN_TO_ALL);
    e = join(0, "", &other.pub);
    WAIT(e->downs > 0, 5 * CV_SECOND);
    CHECK_EQ(e->ups, 0);
    CHECK(strstr(e->why, "another key") != NULL);
    teardown();
}

TEST(a_gate_that_refuses_says_why)
{
    struct end *without, *with;

    setup(CV_GATE_TOKEN);
    without = join(0, "", NULL);
    with = join(1, "sesame sesame sesame", NULL);
    WAIT(without->downs && with->ups, 5 * CV_SECOND);
    CHECK_EQ(with->ups, 1);
    CHECK_EQ(without->ups, 0);
    CHECK(strstr(without->why, "token") != NULL);
    teardown();
}

TEST(a_gate_that_comes_back_is_found_again)
{
    struct end *e;
    uint16_t port;

    setup(CV_GATE_OPEN_TO_ALL);
    e = join(0, "", NULL);
    WAIT(e->ups == 1, 5 * CV_SECOND);
    port = cv_gate_server_port(server);
    cv_gate_server_free(server);
    server = NULL;
    WAIT(e->downs > 1, 5 * CV_SECOND);
    CHECK(e->downs > 1);
    open_server(port, CV_GATE_OPEN_TO_ALL);
    WAIT(e->ups == 2, 10 * CV_SECOND);
    CHECK_EQ(e->ups, 2);
    teardown();
}

RUN_TESTS(T(two_clients_meet_at_a_gate_and_packets_pass),
          T(a_sender_that_outruns_the_link_waits_and_goes_on),
          T(a_gate_with_another_key_gets_nothing),
          T(a_gate_that_refuses_says_why),
          T(a_gate_that_comes_back_is_found_again))
