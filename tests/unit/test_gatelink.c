/* A real gate and real links, on loopback. */
#include "tests/unit/gatelink_kit.h"

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

TEST(a_gate_that_was_there_lately_is_asked_every_few_seconds)
{
    static const uint64_t random[] = {0, 1, UINT64_MAX / 2, UINT64_MAX};

    for (unsigned tries = 0; tries < 100; tries++)
        for (unsigned i = 0; i < 4; i++) {
            cv_time soon = cv_gatelink_wait(tries, true, random[i]);
            cv_time late = cv_gatelink_wait(tries, false, random[i]);

            CHECK(soon >= 125 * CV_MILLISECOND && soon <= 6 * CV_SECOND);
            CHECK(late >= soon && late <= 45 * CV_SECOND);
        }
    CHECK(cv_gatelink_wait(9, false, 0) >= 15 * CV_SECOND);
    /* Spread over as long as it waits, in the middle. */
    CHECK(cv_gatelink_wait(9, true, (uint64_t)(4 * CV_SECOND) - 1) -
              cv_gatelink_wait(9, true, 0) >
          3 * CV_SECOND);
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
          T(a_gate_that_was_there_lately_is_asked_every_few_seconds),
          T(a_gate_that_comes_back_is_found_again))
