#include "tests/unit/gate_kit.h"

static struct kit *k;

static struct kit *open_gate(void)
{
    k = kit_new();
    kit_init(k);
    return k;
}

static void refused(struct kit_link *l, enum cv_gate_type of,
                    enum cv_gate_refusal why)
{
    struct cv_gate_frame f = kit_want(l, CV_GATE_REFUSED);

    REQUIRE(f.u.refused.of == of);
    if (f.u.refused.why != why)
        print_error("refused with %u, not %u\n", f.u.refused.why, why);
    REQUIRE(f.u.refused.why == why);
}

TEST(a_knock_reaches_the_owner_of_the_room_with_its_first_packet)
{
    struct kit_link *host, *guest;
    struct cv_gate_frame f;
    uint8_t room[CV_GATE_ROOM];

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    f = kit_ring(room, "knock", "initial");
    kit_say(k, guest, &f);
    f = kit_want(host, CV_GATE_RUNG);
    CHECK_MEM(f.u.ring.room, room, sizeof room);
    CHECK_EQ(f.u.ring.knock.len, 5);
    CHECK_MEM(f.u.ring.packet.data, "initial", 7);
    CHECK_EQ(kit_want(guest, CV_GATE_RANG).u.rang.result,
             CV_GATE_RANG_DELIVERED);
    kit_fini(k);
}

TEST(only_the_owner_of_a_key_can_register_its_room)
{
    struct kit_link *host, *thief;
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};
    uint8_t room[CV_GATE_ROOM];

    open_gate();
    host = kit_join(k, 1);
    thief = kit_join(k, 2);
    kit_register(k, host, 5, room);
    memset(f.u.room_key, 5, CV_GATE_ROOM_KEY); /* knows the room's key */
    kit_say(k, thief, &f);
    f = kit_want(thief, CV_GATE_REGISTERED);
    CHECK(memcmp(f.u.room, room, sizeof room) != 0); /* another room */
    kit_fini(k);
}

TEST(a_proof_for_another_session_or_gate_is_refused)
{
    for (int bad = 0; bad < 3; bad++) {
        struct kit_link *l;
        struct cv_gate_frame f;
        struct cv_gate_handshake h = {.bound = true};

        open_gate();
        l = kit_connect(k, 1);
        f = kit_want(l, CV_GATE_CHALLENGE);
        h.gate = bad == 0 ? l->key.pub : k->key.pub;
        memcpy(h.gate_nonce, f.u.challenge.nonce, 32);
        memcpy(h.exporter, l->exporter, 32);
        h.exporter[0] ^= bad == 1;
        h.gate_nonce[0] ^= bad == 2;
        memset(&f, 0, sizeof f);
        f.type = CV_GATE_AUTH;
        CHECK_EQ(cv_gate_auth_sign(&f.u.auth, &h, &l->key), CV_OK);
        kit_say(k, l, &f);
        refused(l, CV_GATE_AUTH, CV_GATE_REFUSAL_AUTH);
        CHECK(l->closed);
        CHECK_EQ(cv_gate_core_counters(k->core)->auth_failed, 1);
        CHECK_EQ(cv_gate_core_gauges(k->core).clients, 0);
        kit_fini(k);
    }
}

TEST(nothing_is_served_before_the_proof_and_the_proof_has_ten_seconds)
{
    struct kit_link *l;
    struct cv_gate_frame f = {.type = CV_GATE_PING};

    open_gate();
    l = kit_connect(k, 1);
    (void)kit_want(l, CV_GATE_CHALLENGE);
    kit_say(k, l, &f);
    CHECK(l->closed);
    l = kit_connect(k, 2);
    kit_pass(k, 9 * CV_SECOND);
    CHECK(!l->closed);
    kit_pass(k, 2 * CV_SECOND);
    CHECK(l->closed);
    CHECK_EQ(cv_gate_core_gauges(k->core).clients, 0);
    kit_fini(k);
}

TEST(packets_pass_over_links_and_over_udp_from_the_bound_address_only)
{
    struct kit_link *host, *guest;
    struct cv_addr a = cv_addr_ipv4(0x0b000001, 7), b = a, c = a;
    const struct cv_addr *to = NULL;
    struct kit_channel ch;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    uint8_t room[CV_GATE_ROOM], data[5 + 6], *id = data + 1;

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    ch = kit_open(k, guest, host, room);
    CHECK(ch.caller.u.opened.caller && !ch.owner.u.opened.caller);
    CHECK(ch.caller.u.opened.channel != ch.owner.u.opened.channel);

    f.u.data.channel = ch.caller.u.opened.channel;
    f.u.data.packet = CV_LITERAL("packet");
    kit_say(k, guest, &f);
    f = kit_want(host, CV_GATE_DATA);
    CHECK_EQ(f.u.data.channel, ch.owner.u.opened.channel);
    CHECK_MEM(f.u.data.packet.data, "packet", 6);
    /* Another's channel is nobody's. */
    f.u.data.channel = ch.caller.u.opened.channel;
    kit_say(k, host, &f);
    CHECK(!kit_next(guest, &f) && !kit_next(host, &f));

    b.port = 8;
    c.port = 9;
    kit_bind(k, &ch.caller, &a, 1);
    kit_bind(k, &ch.owner, &b, 1);
    data[0] = CV_GATE_UDP_DATA;
    for (int i = 0; i < 4; i++)
        id[i] = (uint8_t)(ch.caller.u.opened.channel >> (24 - 8 * i));
    memcpy(data + 5, "packet", 6);
    CHECK(!kit_udp_in(k, &c, data, sizeof data, &to));
    CHECK(kit_udp_in(k, &a, data, sizeof data, &to));
    CHECK(cv_addr_equal(to, &b));
    for (int i = 0; i < 4; i++)
        CHECK_EQ(id[i], (uint8_t)(ch.owner.u.opened.channel >> (24 - 8 * i)));
    CHECK_EQ(cv_gate_core_counters(k->core)->packets_udp, 1);
    kit_fini(k);
}

TEST(an_address_counts_only_with_its_cookie_and_counters_only_grow)
{
    struct kit_link *host, *guest;
    struct cv_addr a = cv_addr_ipv4(0x0b000001, 7), victim = a;
    struct kit_channel ch;
    struct cv_gate_bind bind = {0};
    const struct cv_addr *to;
    uint8_t room[CV_GATE_ROOM], out[CV_GATE_UDP_BIND_LEN], data[16] = {0};
    unsigned sent;

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    ch = kit_open(k, guest, host, room);
    kit_bind(k, &ch.caller, &a, 1);
    /* With a's cookie from elsewhere: a spoofed source gets one short answer
     * and no data. */
    victim.port = 99;
    bind.channel = ch.caller.u.opened.channel;
    bind.counter = 10;
    memcpy(bind.cookie, kit_last_udp(k)->data + 13, CV_GATE_COOKIE);
    cv_gate_bind_write(out, &bind, ch.caller.u.opened.key);
    CHECK(!kit_udp_in(k, &victim, out, sizeof out, &to));
    CHECK(kit_last_udp(k)->len <= sizeof out);
    data[0] = CV_GATE_UDP_DATA;
    for (int i = 0; i < 4; i++)
        data[1 + i] = (uint8_t)(bind.channel >> (24 - 8 * i));
    CHECK(!kit_udp_in(k, &victim, data, sizeof data, &to));
    /* Replayed: silence. */
    sent = k->n_udp;
    CHECK(!kit_udp_in(k, &victim, out, sizeof out, &to));
    CHECK_EQ(k->n_udp, sent);
    /* Under another key: silence. */
    bind.counter = 11;
    cv_gate_bind_write(out, &bind, ch.owner.u.opened.key);
    CHECK(!kit_udp_in(k, &a, out, sizeof out, &to));
    CHECK_EQ(k->n_udp, sent);
    kit_fini(k);
}

TEST(knocks_wait_a_minute_for_an_owner_who_is_away)
{
    struct kit_link *host, *guest;
    struct cv_gate_frame f;
    uint8_t room[CV_GATE_ROOM], r[CV_GATE_ROOM_KEY];
    struct cv_keypair key = kit_key(1);

    open_gate();
    guest = kit_join(k, 2);
    memset(r, 5, sizeof r);
    cv_gate_room(room, &key.pub, r);
    f = kit_ring(room, "first", "packet");
    kit_say(k, guest, &f);
    CHECK_EQ(kit_want(guest, CV_GATE_RANG).u.rang.result, CV_GATE_RANG_STORED);
    host = kit_join(k, 1);
    kit_register(k, host, 5, room);
    f = kit_want(host, CV_GATE_RUNG);
    CHECK_MEM(f.u.ring.knock.data, "first", 5);
    CHECK_EQ(f.u.ring.packet.len, 0); /* a mailbox keeps the knock only */
    CHECK_EQ(cv_gate_core_gauges(k->core).mails, 0);

    cv_gate_link_closed(host->client, k->now);
    f = kit_ring(room, "second", "");
    kit_say(k, guest, &f);
    CHECK_EQ(kit_want(guest, CV_GATE_RANG).u.rang.result, CV_GATE_RANG_STORED);
    kit_pass(k, 61 * CV_SECOND);
    CHECK_EQ(cv_gate_core_gauges(k->core).mails, 0);
    CHECK_EQ(cv_gate_core_gauges(k->core).rooms, 0);
    kit_fini(k);
}

TEST(knocks_of_one_source_are_few)
{
    struct kit_link *guest;
    struct cv_gate_frame f;
    uint8_t room[CV_GATE_ROOM] = {1};
    unsigned stored = 0, full = 0, limited = 0;

    open_gate();
    guest = kit_join(k, 2);
    for (unsigned i = 0; i < 20; i++) {
        f = kit_ring(room, "knock", "");
        kit_say(k, guest, &f);
        CHECK(kit_next(guest, &f));
        if (f.type == CV_GATE_REFUSED)
            limited++;
        else if (f.u.rang.result == CV_GATE_RANG_STORED)
            stored++;
        else
            full++;
    }
    CHECK_EQ(stored, k->config.limits.mails_per_source);
    CHECK_EQ(stored + full, k->config.limits.rings_burst);
    CHECK_EQ(limited, 20 - k->config.limits.rings_burst);
    kit_fini(k);
}

TEST(a_sender_that_is_too_fast_is_told_and_held_up_but_not_cut)
{
    struct kit_link *host, *guest;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    struct kit_channel ch;
    uint8_t room[CV_GATE_ROOM], packet[1000] = {0};
    cv_time wait;
    unsigned slow = 0;

    k = kit_new();
    k->config.limits = cv_gate_limits_default();
    k->config.limits.rate = 100000;
    k->config.limits.burst = 20000;
    kit_init(k);
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    ch = kit_open(k, guest, host, room);
    f.u.data.channel = ch.caller.u.opened.channel;
    f.u.data.packet = CV_BYTES(packet, sizeof packet);
    CHECK_EQ(cv_gate_link_paused(guest->client, k->now), k->now);
    for (int i = 0; i < 40; i++)
        kit_say(k, guest, &f);
    for (int i = 0; i < 40; i++)
        (void)kit_want(host, CV_GATE_DATA);
    while (kit_next(guest, &f))
        slow += f.type == CV_GATE_SLOW;
    CHECK_EQ(slow, 1);
    wait = cv_gate_link_paused(guest->client, k->now) - k->now;
    CHECK(wait > 150 * CV_MILLISECOND && wait < 250 * CV_MILLISECOND);
    kit_fini(k);
}

TEST(a_reader_that_is_too_slow_costs_packets_and_no_memory)
{
    struct kit_link *host, *guest;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    struct kit_channel ch;
    uint8_t room[CV_GATE_ROOM];

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    ch = kit_open(k, guest, host, room);
    host->full = true;
    f.u.data.channel = ch.caller.u.opened.channel;
    f.u.data.packet = CV_LITERAL("packet");
    for (int i = 0; i < 100; i++)
        kit_say(k, guest, &f);
    CHECK_EQ(cv_gate_core_counters(k->core)->packets_slow, 100);
    CHECK(!host->closed);
    kit_fini(k);
}

TEST(when_one_goes_the_other_is_told_and_nothing_is_left)
{
    struct kit_link *host, *guest;
    struct kit_channel ch;
    uint8_t room[CV_GATE_ROOM];
    struct cv_gate_gauges g;

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    ch = kit_open(k, guest, host, room);
    cv_gate_link_closed(host->client, k->now);
    CHECK_EQ(kit_want(guest, CV_GATE_GONE).u.channel,
             ch.caller.u.opened.channel);
    cv_gate_link_closed(guest->client, k->now);
    kit_pass(k, 2 * CV_MINUTE);
    g = cv_gate_core_gauges(k->core);
    CHECK_EQ(g.clients + g.links + g.rooms + g.channels + g.sources, 0);
    kit_fini(k);
}

TEST(links_and_new_connections_of_one_source_are_limited)
{
    struct cv_addr one = cv_addr_ipv4(0x01020304, 1), two = one;
    unsigned allowed = 0;

    open_gate();
    for (unsigned i = 0; i < 1000; i++)
        allowed += cv_gate_link_allowed(k->core, &one, k->now);
    CHECK_EQ(allowed, 2 * k->config.limits.connects_per_source);
    two.ip[3]++;
    CHECK(cv_gate_link_allowed(k->core, &two, k->now));
    kit_fini(k);
}

TEST(an_ipv6_network_is_one_source)
{
    struct cv_addr a = {.family = CV_FAMILY_IPV6, .port = 1};
    unsigned allowed = 0;

    open_gate();
    for (unsigned i = 0; i < 1000; i++) {
        a.ip[15] = (uint8_t)i;
        a.ip[14] = (uint8_t)(i >> 8);
        allowed += cv_gate_link_allowed(k->core, &a, k->now);
    }
    CHECK_EQ(allowed, 2 * k->config.limits.connects_per_source);
    CHECK_EQ(cv_gate_core_gauges(k->core).sources, 1);
    kit_fini(k);
}

TEST(a_gate_for_listed_keys_lets_in_only_them)
{
    struct cv_keypair identity = kit_key(77);
    struct kit_link *l;
    struct cv_gate_auth auth = {0};

    k = kit_new();
    k->config.policy = CV_GATE_KEYS;
    k->config.identities = &identity.pub;
    k->config.n_identities = 1;
    kit_init(k);
    l = kit_connect(k, 1);
    kit_prove(k, l, &auth, (struct cv_bytes){0});
    refused(l, CV_GATE_AUTH, CV_GATE_REFUSAL_POLICY);
    CHECK(l->closed);

    l = kit_connect(k, 2);
    auth.has_identity = true;
    CHECK_EQ(cv_cert_make(&auth.cert, &identity, &l->key.pub,
                          KIT_UNIX / 1000 + 1000),
             CV_OK);
    kit_prove(k, l, &auth, (struct cv_bytes){0});
    CHECK(!l->closed);
    /* That certificate is another node's. */
    l = kit_connect(k, 3);
    kit_prove(k, l, &auth, (struct cv_bytes){0});
    CHECK(l->closed);
    kit_fini(k);
}

TEST(at_a_gate_for_hosts_guests_may_ring_but_not_register)
{
    struct cv_keypair identity = kit_key(77);
    struct kit_link *host, *guest;
    struct cv_gate_auth auth = {.has_identity = true};
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};
    uint8_t room[CV_GATE_ROOM];

    k = kit_new();
    k->config.policy = CV_GATE_HOSTS;
    k->config.identities = &identity.pub;
    k->config.n_identities = 1;
    kit_init(k);
    host = kit_connect(k, 1);
    CHECK_EQ(cv_cert_make(&auth.cert, &identity, &host->key.pub,
                          KIT_UNIX / 1000 + 1000),
             CV_OK);
    kit_prove(k, host, &auth, (struct cv_bytes){0});
    kit_register(k, host, 5, room);
    guest = kit_join(k, 2);
    kit_say(k, guest, &f);
    refused(guest, CV_GATE_REGISTER, CV_GATE_REFUSAL_POLICY);
    (void)kit_open(k, guest, host, room);
    kit_fini(k);
}

TEST(a_gate_with_a_token_lets_in_who_has_it)
{
    struct kit_link *l;
    struct cv_gate_auth auth = {0};

    k = kit_new();
    k->config.policy = CV_GATE_TOKEN;
    k->config.token = CV_LITERAL("open sesame");
    kit_init(k);
    l = kit_connect(k, 1);
    kit_prove(k, l, &auth, CV_LITERAL("open sesam"));
    CHECK(l->closed);
    l = kit_connect(k, 2);
    kit_prove(k, l, &auth, CV_LITERAL("open sesame"));
    CHECK(!l->closed);
    kit_fini(k);
}

TEST(pointers_are_kept_found_replaced_and_forgotten)
{
    struct kit_link *host, *guest;
    struct cv_gate_frame f = {.type = CV_GATE_STORE};

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    memset(f.u.store.loc, 3, sizeof f.u.store.loc);
    f.u.store.ttl = 100;
    f.u.store.sealed = CV_LITERAL("old");
    kit_say(k, host, &f);
    f.u.store.sealed = CV_LITERAL("new");
    kit_say(k, host, &f);
    CHECK_EQ(cv_gate_core_gauges(k->core).pointers, 1);
    f.u.store.sealed = CV_LITERAL("guest's");
    kit_say(k, guest, &f);
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_FETCH;
    memset(f.u.loc, 3, sizeof f.u.loc);
    kit_say(k, guest, &f);
    f = kit_want(guest, CV_GATE_FOUND);
    CHECK(f.u.store.sealed.len == 3 || f.u.store.sealed.len == 7);
    (void)kit_want(guest, CV_GATE_FOUND);
    (void)kit_want(guest, CV_GATE_NONE);
    kit_pass(k, 101 * CV_SECOND);
    CHECK_EQ(cv_gate_core_gauges(k->core).pointers, 0);
    CHECK_EQ(cv_gate_core_gauges(k->core).pointer_bytes, 0);
    kit_fini(k);
}

/* One client fills a location with its share and cannot push others out. */
TEST(a_client_stores_no_more_than_its_share)
{
    struct kit_link *host;
    struct cv_gate_frame f = {.type = CV_GATE_STORE};

    open_gate();
    host = kit_join(k, 1);
    f.u.store.ttl = 900;
    f.u.store.sealed = CV_LITERAL("pointer");
    for (uint8_t i = 0; i < 10; i++) {
        memset(f.u.store.loc, i, sizeof f.u.store.loc);
        kit_say(k, host, &f);
        kit_pass(k, CV_SECOND);
    }
    CHECK_EQ(cv_gate_core_gauges(k->core).pointers,
             k->config.limits.pointers_per_client);
    kit_fini(k);
}

TEST(who_has_only_a_ticket_is_still_rung)
{
    struct kit_link *host, *guest;
    struct cv_addr udp = cv_addr_ipv4(0x0b000001, 7);
    struct cv_gate_ask ask = {.counter = 1}, got;
    const struct cv_addr *to;
    struct cv_gate_frame f;
    uint8_t out[1024], room[CV_GATE_ROOM];
    struct cv_writer w;

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    memcpy(ask.ticket, host->welcome.ticket, sizeof ask.ticket);
    ask.frame.type = CV_GATE_REGISTER;
    memset(ask.frame.u.room_key, 5, CV_GATE_ROOM_KEY);
    for (int i = 0; i < 2; i++) { /* the second time with the cookie */
        cv_writer_init(&w, out, sizeof out);
        CHECK_EQ(cv_gate_ask_write(&w, false, &ask, host->welcome.ticket_key),
                 CV_OK);
        CHECK(!kit_udp_in(k, &udp, out, w.len, &to));
        CHECK(kit_last_udp(k)->len <= w.len);
        CHECK_EQ(cv_gate_ask_read(&got, true, kit_last_udp(k)->data,
                                  kit_last_udp(k)->len,
                                  host->welcome.ticket_key),
                 CV_OK);
        CHECK_EQ(memcmp(got.cookie, ask.cookie, CV_GATE_COOKIE) == 0, i == 1);
        memcpy(ask.cookie, got.cookie, CV_GATE_COOKIE);
        ask.counter++;
    }
    cv_gate_link_closed(host->client, k->now);
    f = kit_ring(room, "knock", "packet");
    kit_say(k, guest, &f);
    CHECK_EQ(kit_want(guest, CV_GATE_RANG).u.rang.result,
             CV_GATE_RANG_DELIVERED);
    CHECK(cv_addr_equal(&kit_last_udp(k)->to, &udp));
    CHECK_EQ(cv_gate_ask_read(&got, true, kit_last_udp(k)->data,
                              kit_last_udp(k)->len, host->welcome.ticket_key),
             CV_OK);
    CHECK_EQ(got.frame.type, CV_GATE_RUNG);
    CHECK_EQ(got.frame.u.ring.packet.len, 0);
    kit_pass(k, 16 * CV_MINUTE);
    CHECK_EQ(cv_gate_core_gauges(k->core).rooms, 0);
    kit_fini(k);
}

TEST(draining_says_goodbye_and_lets_nobody_in)
{
    struct kit_link *l;
    struct cv_addr other = cv_addr_ipv4(0x01020304, 1);

    open_gate();
    l = kit_join(k, 1);
    cv_gate_core_drain(k->core, 5000);
    CHECK_EQ(kit_want(l, CV_GATE_BYE).u.bye, 5000);
    CHECK(!cv_gate_link_allowed(k->core, &other, k->now));
    kit_fini(k);
}

TEST(a_voucher_names_where_the_other_end_comes_from)
{
    struct kit_link *host, *guest;
    struct cv_gate_frame f = {.type = CV_GATE_VOUCH};
    struct kit_channel ch;
    uint8_t room[CV_GATE_ROOM];

    open_gate();
    host = kit_join(k, 1);
    guest = kit_join(k, 2);
    kit_register(k, host, 5, room);
    ch = kit_open(k, guest, host, room);
    f.u.channel = ch.owner.u.opened.channel;
    kit_say(k, host, &f);
    f = kit_want(host, CV_GATE_VOUCHED);
    CHECK(cv_addr_same_ip(&f.u.vouched.addr, &guest->addr));
    CHECK_EQ(cv_gate_vouch_verify(f.u.vouched.sig, &k->key.pub, &host->key.pub,
                                  &guest->key.pub, &f.u.vouched.addr,
                                  f.u.vouched.time),
             CV_OK);
    kit_fini(k);
}

RUN_TESTS(T(a_knock_reaches_the_owner_of_the_room_with_its_first_packet),
          T(only_the_owner_of_a_key_can_register_its_room),
          T(a_proof_for_another_session_or_gate_is_refused),
          T(nothing_is_served_before_the_proof_and_the_proof_has_ten_seconds),
          T(packets_pass_over_links_and_over_udp_from_the_bound_address_only),
          T(an_address_counts_only_with_its_cookie_and_counters_only_grow),
          T(knocks_wait_a_minute_for_an_owner_who_is_away),
          T(knocks_of_one_source_are_few),
          T(a_sender_that_is_too_fast_is_told_and_held_up_but_not_cut),
          T(a_reader_that_is_too_slow_costs_packets_and_no_memory),
          T(when_one_goes_the_other_is_told_and_nothing_is_left),
          T(links_and_new_connections_of_one_source_are_limited),
          T(an_ipv6_network_is_one_source),
          T(a_gate_for_listed_keys_lets_in_only_them),
          T(at_a_gate_for_hosts_guests_may_ring_but_not_register),
          T(a_gate_with_a_token_lets_in_who_has_it),
          T(pointers_are_kept_found_replaced_and_forgotten),
          T(a_client_stores_no_more_than_its_share),
          T(who_has_only_a_ticket_is_still_rung),
          T(draining_says_goodbye_and_lets_nobody_in),
          T(a_voucher_names_where_the_other_end_comes_from))
