/* What a check that came before its knock makes a node send, and where: the
 * first packets of a connection over a gate go there, too, but somebody who
 * puts a victim's address on such a check has nothing of it.  Over real
 * sockets of this machine. */
#include "transport/net_struct.h"

#include "gate/server.h"
#include "tests/kit.h"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define BULK (64u * 1024)

static struct cv_loop *loop;
static struct cv_gate_server *server;
static struct cv_keypair gate_key, joiner_key, sharer_key;
static struct cv_net *joiner, *sharer;
static struct cv_conn *conn[2]; /* the joiner's, the sharer's */
static uint64_t got;            /* by the joiner */
static int victim;
static size_t quic, stun; /* bytes that the victim got */

static const uint8_t attempt[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t room_key[CV_ROOM_KEY] = {9};

static struct cv_contact contact_with(const struct cv_keypair *key)
{
    struct cv_contact c = {.node = key->pub, .trusted = true};

    memcpy(c.attempt, attempt, sizeof attempt);
    memset(c.shared, 42, sizeof c.shared);
    return c;
}

static void on_candidates(void *user, const struct cv_candidates *own)
{
    (void)user;
    (void)own;
}

static void on_attempt(void *user, const uint8_t id[8],
                       enum cv_attempt_state state, const char *reason)
{
    (void)user;
    (void)id;
    (void)state;
    (void)reason;
}

/* The knock is there; the record names no address at all. */
static void on_rung(void *user, const uint8_t key[CV_ROOM_KEY],
                    struct cv_bytes ring)
{
    struct cv_contact c = contact_with(&joiner_key);

    (void)user;
    (void)key;
    (void)ring;
    REQUIRE(cv_net_connect(sharer, &c) == CV_OK);
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    (void)user;
    (void)s;
    (void)fin;
    got += data.len;
}

static const struct cv_stream_events stream_events = {.data = on_data};

static void on_stream(void *user, struct cv_conn *c, struct cv_stream *s)
{
    (void)user;
    (void)c;
    cv_stream_set_events(s, &stream_events, NULL);
}

static const struct cv_conn_events conn_events = {.stream = on_stream};

static void on_conn(void *user, struct cv_conn *c)
{
    (void)user;
    conn[cv_conn_is_client(c) ? 0 : 1] = c;
    cv_conn_set_events(c, &conn_events, NULL);
    cv_conn_trust(c);
}

static const struct cv_net_events net_events = {.candidates = on_candidates,
                                                .attempt = on_attempt,
                                                .rung = on_rung,
                                                .conn = on_conn};

static struct cv_net *open_node(const struct cv_keypair *key)
{
    struct cv_net_gate gate = {
        .name = {.key = gate_key.pub, .port = cv_gate_server_port(server)}};
    struct cv_net_config config = {.loop = loop,
                                   .rng = &cv_rng_system,
                                   .node = key,
                                   .gates = &gate,
                                   .n_gates = 1};
    struct cv_net *net;

    strcpy(gate.name.host, "127.0.0.1");
    REQUIRE(cv_net_new(&net, &config, &net_events, NULL) == CV_OK);
    return net;
}

static void open_all(void)
{
    struct cv_gate_server_config config = {.loop = loop, .n_listen = 1};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char why[300];

    gate_key = key_of(200);
    joiner_key = key_of(1);
    sharer_key = key_of(2);
    config.listen[0] = cv_addr_ipv4(0x7f000001, 0);
    config.core.key = &gate_key;
    config.core.rng = &cv_rng_system;
    config.core.limits = cv_gate_limits_default();
    REQUIRE(cv_gate_server_new(&server, &config, why, sizeof why) == CV_OK);
    sharer = open_node(&sharer_key);
    cv_net_set_rooms(sharer, &room_key, 1);
    joiner = open_node(&joiner_key);
    WAIT(cv_net_has_gate(joiner) && cv_net_has_gate(sharer), 5 * CV_SECOND);
    REQUIRE(cv_net_has_gate(joiner) && cv_net_has_gate(sharer));
    WAIT(false, 20 * CV_MILLISECOND); /* and the room is registered */
    victim = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(victim >= 0);
    REQUIRE(bind(victim, (struct sockaddr *)&at, sizeof at) == 0);
}

static void close_all(void)
{
    close(victim);
    cv_net_free(joiner);
    cv_net_free(sharer);
    cv_gate_server_free(server);
    cv_loop_free(loop);
}

/* A genuine check of the joiner's that seems to come from the victim. */
static void spoof(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(cv_net_port(sharer)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct cv_contact c = contact_with(&sharer_key);
    struct cv_path_addr dest = {.remote = cv_addr_ipv4(0x7f000001, 4000)};
    uint8_t buf[CV_CHECK_MAX];
    struct cv_checks checks;
    struct cv_writer w;

    cv_checks_init(&checks, &cv_rng_system, attempt, c.shared, true);
    cv_writer_init(&w, buf, sizeof buf);
    REQUIRE(cv_checks_request(&checks, cv_time_now(), &dest, 1, &w) == CV_OK);
    REQUIRE(sendto(victim, buf, w.len, 0, (struct sockaddr *)&to, sizeof to) ==
            (ssize_t)w.len);
}

static void count(void)
{
    uint8_t buf[2048];
    ssize_t n;

    while ((n = recv(victim, buf, sizeof buf, 0)) > 0)
        *(buf[0] >= 64 ? &quic : &stun) += (size_t)n;
}

static void knock(void)
{
    struct cv_contact c = contact_with(&sharer_key);
    struct cv_candidates own;

    c.knocked = true;
    cv_net_candidates(sharer, &own);
    c.peer.gates = own.gates;
    memcpy(c.room_key, room_key, sizeof room_key);
    c.ring_len = 1;
    REQUIRE(cv_net_connect(joiner, &c) == CV_OK);
}

TEST(a_spoofed_early_check_costs_its_victim_no_more_than_the_joiner)
{
    static const uint8_t data[BULK];
    struct cv_stream *s;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    open_all();
    spoof();
    WAIT(false, 20 * CV_MILLISECOND);
    count();
    CHECK_EQ(quic + stun, 0); /* nothing is answered before the knock */
    knock();
    WAIT(conn[0] && conn[1], 5 * CV_SECOND);
    REQUIRE(conn[0] && conn[1]);
    count();
    CHECK(quic > 0); /* it could have been the joiner */
    REQUIRE(sharer->links != NULL);
    CHECK(quic <= sharer->links->came);
    CHECK_EQ(cv_conn_open(conn[1], &s), CV_OK);
    CHECK_EQ(cv_stream_send(s, CV_BYTES(data, sizeof data)), CV_OK);
    WAIT(got == BULK, 5 * CV_SECOND);
    CHECK_EQ(got, BULK); /* over the gate */
    WAIT(false, 1500 * CV_MILLISECOND);
    count();
    CHECK(quic <= CV_NET_DOUBLED_BACK);
    CHECK(quic <= sharer->links->came);
    CHECK(stun <= 3 * CV_CHECK_MAX); /* three bytes for one */
    CHECK(quic + stun <= CV_ATTEMPT_BUDGET * CV_CHECK_MAX);
    close_all();
}

RUN_TESTS(T(a_spoofed_early_check_costs_its_victim_no_more_than_the_joiner))
