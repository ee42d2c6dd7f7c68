#include "tests/kit.h"
#include "tests/unit/gate_frames.h"

TEST(every_frame_is_read_as_it_was_written)
{
    for (int type = GATE_FRAME_FIRST; type <= GATE_FRAME_LAST; type++)
        for (uint8_t seed = 0; seed < 4; seed++) {
            struct cv_gate_frame f = gate_frame((enum cv_gate_type)type, seed);
            struct cv_gate_frame g;
            uint8_t one[4096], two[4096];
            struct cv_writer w, x;
            size_t used;

            cv_writer_init(&w, one, sizeof one);
            cv_writer_init(&x, two, sizeof two);
            CHECK_EQ(cv_gate_put(&w, &f), CV_OK);
            CHECK_EQ(cv_gate_get(&g, one, w.len, &used), CV_OK);
            CHECK_EQ(used, w.len);
            CHECK_EQ(g.type, type);
            CHECK_EQ(cv_gate_put(&x, &g), CV_OK);
            CHECK_EQ(x.len, w.len);
            CHECK_MEM(two, one, w.len);
        }
}

TEST(a_frame_that_is_not_whole_is_waited_for)
{
    struct cv_gate_frame f = gate_frame(CV_GATE_RING, 9), g;
    uint8_t buf[4096];
    struct cv_writer w;
    size_t used;

    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_gate_put(&w, &f), CV_OK);
    for (size_t n = 0; n < w.len; n++)
        CHECK_EQ(cv_gate_get(&g, buf, n, &used), CV_ERR_AGAIN);
}

/* A body cut short, its length made to fit: never read past, never taken for
 * whole where the type has a fixed form. */
TEST(a_body_cut_short_or_too_long_is_refused)
{
    for (int type = GATE_FRAME_FIRST; type <= GATE_FRAME_LAST; type++) {
        struct cv_gate_frame f = gate_frame((enum cv_gate_type)type, 3), g;
        /* From here on what is left is the packet. */
        size_t rest = type == CV_GATE_DATA    ? 1 + 4 + 1
                      : type == CV_GATE_STORE ? 1 + 20 + 2 + 1
                      : type == CV_GATE_FOUND ? 1 + 20 + 1
                                              : SIZE_MAX;
        uint8_t buf[4096];
        struct cv_writer w;
        size_t used;

        cv_writer_init(&w, buf, sizeof buf);
        CHECK_EQ(cv_gate_put(&w, &f), CV_OK);
        for (size_t n = 1; n <= w.len - 2 + 1; n++) {
            int err;

            if (n == w.len - 2)
                continue;
            buf[0] = (uint8_t)(n >> 8);
            buf[1] = (uint8_t)n;
            err = cv_gate_get(&g, buf, 2 + n, &used);
            CHECK_EQ(err, n >= rest && n < w.len - 2 ? CV_OK : CV_ERR_FORMAT);
            CHECK_EQ(used, 2 + n);
        }
    }
}

TEST(an_unknown_type_is_passed_over_and_a_huge_one_is_not)
{
    uint8_t unknown[] = {0, 3, 0x7f, 1, 2}, none[] = {0, 0},
            huge[] = {0xff, 0xff, 1};
    struct cv_gate_frame f;
    size_t used;

    CHECK_EQ(cv_gate_get(&f, unknown, sizeof unknown, &used), CV_ERR_FORMAT);
    CHECK_EQ(used, 5);
    CHECK_EQ(cv_gate_get(&f, none, sizeof none, &used), CV_ERR_FORMAT);
    CHECK_EQ(used, 0);
    CHECK_EQ(cv_gate_get(&f, huge, sizeof huge, &used), CV_ERR_FORMAT);
    CHECK_EQ(used, 0);
}

TEST(what_does_not_fit_the_format_is_not_written)
{
    struct cv_gate_frame f = gate_frame(CV_GATE_DATA, 1);
    uint8_t buf[4096], big[2000] = {0};
    struct cv_writer w;

    cv_writer_init(&w, buf, sizeof buf);
    f.u.data.packet = CV_BYTES(big, CV_GATE_PACKET_MAX + 1);
    CHECK_EQ(cv_gate_put(&w, &f), CV_ERR_INVALID);
    f.u.data.packet = CV_BYTES(big, 0);
    CHECK_EQ(cv_gate_put(&w, &f), CV_ERR_INVALID);
    f = gate_frame(CV_GATE_RING, 1);
    f.u.ring.knock.len = 0;
    CHECK_EQ(cv_gate_put(&w, &f), CV_ERR_INVALID);
    f = gate_frame(CV_GATE_STORE, 1);
    f.u.store.ttl = 901;
    CHECK_EQ(cv_gate_put(&w, &f), CV_ERR_INVALID);
    CHECK_EQ(w.len, 0);
}

TEST(both_ends_prove_their_keys_for_this_session_only)
{
    struct cv_keypair gate = key_of(1), node = key_of(2), other = key_of(3);
    struct cv_gate_handshake h = {.gate = gate.pub, .bound = true}, bad;
    struct cv_gate_auth auth = {0};
    struct cv_gate_welcome m = gate_frame(CV_GATE_WELCOME, 5).u.welcome;

    memset(h.gate_nonce, 7, 32);
    memset(h.exporter, 8, 32);
    memset(auth.nonce, 9, 32);
    CHECK_EQ(cv_gate_auth_sign(&auth, &h, &node), CV_OK);
    CHECK_EQ(cv_gate_auth_verify(&auth, &h), CV_OK);
    bad = h;
    bad.exporter[0]++; /* another TLS session: somebody in the middle */
    CHECK_EQ(cv_gate_auth_verify(&auth, &bad), CV_ERR_AUTH);
    bad = h;
    bad.gate = other.pub; /* passed on to another gate */
    CHECK_EQ(cv_gate_auth_verify(&auth, &bad), CV_ERR_AUTH);
    bad = h;
    bad.gate_nonce[31]++; /* replayed */
    CHECK_EQ(cv_gate_auth_verify(&auth, &bad), CV_ERR_AUTH);
    bad = h;
    bad.bound = false;
    CHECK_EQ(cv_gate_auth_verify(&auth, &bad), CV_ERR_AUTH);

    CHECK_EQ(cv_gate_welcome_sign(&m, &h, &auth, &gate), CV_OK);
    CHECK_EQ(cv_gate_welcome_verify(&m, &h, &auth), CV_OK);
    m.rate++;
    CHECK_EQ(cv_gate_welcome_verify(&m, &h, &auth), CV_ERR_AUTH);
    m.rate--;
    auth.nonce[0]++;
    CHECK_EQ(cv_gate_welcome_verify(&m, &h, &auth), CV_ERR_AUTH);
}

TEST(a_voucher_is_for_one_asker_one_peer_one_address_and_one_time)
{
    struct cv_keypair gate = key_of(1), a = key_of(2), b = key_of(3);
    struct cv_addr at = cv_addr_ipv4(0x05060708, 99), elsewhere;
    uint8_t sig[CV_SIG_LEN];

    CHECK_EQ(cv_gate_vouch_sign(sig, &gate, &a.pub, &b.pub, &at, 10), CV_OK);
    at.port = 0; /* ports change */
    CHECK_EQ(cv_gate_vouch_verify(sig, &gate.pub, &a.pub, &b.pub, &at, 10),
             CV_OK);
    CHECK_EQ(cv_gate_vouch_verify(sig, &gate.pub, &b.pub, &a.pub, &at, 10),
             CV_ERR_AUTH);
    CHECK_EQ(cv_gate_vouch_verify(sig, &gate.pub, &a.pub, &b.pub, &at, 11),
             CV_ERR_AUTH);
    elsewhere = cv_addr_ipv4(0x05060709, 0);
    CHECK_EQ(
        cv_gate_vouch_verify(sig, &gate.pub, &a.pub, &b.pub, &elsewhere, 10),
        CV_ERR_AUTH);
}

TEST(a_bind_is_answered_with_no_more_bytes_and_only_for_its_key)
{
    struct cv_gate_bind bind = {.channel = 77, .counter = 3}, got;
    uint8_t key[CV_GATE_CHANNEL] = {1}, wrong[CV_GATE_CHANNEL] = {2};
    uint8_t out[CV_GATE_UDP_BIND_LEN], back[CV_GATE_UDP_BIND_LEN];
    struct cv_writer w;
    uint32_t channel;

    memset(bind.cookie, 5, sizeof bind.cookie);
    cv_gate_bind_write(out, &bind, key);
    CHECK_EQ(cv_gate_bind_channel(out, sizeof out, &channel), CV_OK);
    CHECK_EQ(channel, 77);
    CHECK_EQ(cv_gate_bind_read(&got, out, sizeof out, key), CV_OK);
    CHECK_EQ(got.counter, 3);
    CHECK_MEM(got.cookie, bind.cookie, sizeof got.cookie);
    CHECK_EQ(cv_gate_bind_read(&got, out, sizeof out, wrong), CV_ERR_AUTH);
    for (size_t i = 0; i < 29; i++) {
        out[i] ^= 1;
        CHECK(cv_gate_bind_read(&got, out, sizeof out, key) != CV_OK);
        out[i] ^= 1;
    }
    bind.seen.family = CV_FAMILY_IPV6;
    bind.seen.port = 65535;
    cv_writer_init(&w, back, sizeof back);
    CHECK_EQ(cv_gate_bound_write(&w, &bind, key), CV_OK);
    CHECK_EQ(cv_gate_bound_read(&got, back, w.len, key), CV_OK);
    CHECK_EQ(got.seen.port, 65535);
    CHECK_EQ(cv_gate_bound_read(&got, back, w.len, wrong), CV_ERR_AUTH);
}

TEST(what_is_asked_with_a_ticket_is_bound_to_its_key)
{
    struct cv_gate_ask ask = {.counter = 4}, got;
    uint8_t key[CV_GATE_TICKET_KEY] = {1}, wrong[CV_GATE_TICKET_KEY] = {2};
    uint8_t buf[2048], ticket[CV_GATE_TICKET_ID];
    struct cv_writer w;

    memset(ask.ticket, 6, sizeof ask.ticket);
    ask.frame = gate_frame(CV_GATE_REGISTER, 8);
    cv_writer_init(&w, buf, sizeof buf);
    CHECK_EQ(cv_gate_ask_write(&w, false, &ask, key), CV_OK);
    CHECK_EQ(cv_gate_ask_ticket(buf, w.len, ticket), CV_OK);
    CHECK_MEM(ticket, ask.ticket, sizeof ticket);
    CHECK_EQ(cv_gate_ask_read(&got, false, buf, w.len, key), CV_OK);
    CHECK_EQ(got.frame.type, CV_GATE_REGISTER);
    CHECK_EQ(got.counter, 4);
    CHECK(!got.empty);
    CHECK_EQ(cv_gate_ask_read(&got, true, buf, w.len, key), CV_ERR_FORMAT);
    CHECK_EQ(cv_gate_ask_read(&got, false, buf, w.len, wrong), CV_ERR_AUTH);
    ask.empty = true;
    cv_writer_reset(&w);
    CHECK_EQ(cv_gate_ask_write(&w, true, &ask, key), CV_OK);
    CHECK_EQ(cv_gate_ask_read(&got, true, buf, w.len, key), CV_OK);
    CHECK(got.empty);
}

TEST(a_gate_is_named_by_its_key_and_where_it_is)
{
    struct cv_gate_name name = {.key = key_of(1).pub, .port = 8443}, got;
    char text[CV_GATE_NAME_TEXT], again[CV_GATE_NAME_TEXT], why[300];

    strcpy(name.host, "gate.example");
    cv_gate_name_format(&name, text);
    CHECK_EQ(cv_gate_name_parse(&got, text, why, sizeof why), CV_OK);
    CHECK_STR(got.host, "gate.example");
    CHECK_EQ(got.port, 8443);
    CHECK(cv_key_equal(&got.key, &name.key));
    strcpy(name.host, "2001:db8::1");
    name.port = 443;
    cv_gate_name_format(&name, text);
    CHECK_EQ(cv_gate_name_parse(&got, text, why, sizeof why), CV_OK);
    CHECK_STR(cv_gate_name_format(&got, again), text);
    *strrchr(text, ':') = '\0'; /* 443 needs no saying */
    CHECK_EQ(cv_gate_name_parse(&got, text, why, sizeof why), CV_OK);
    CHECK_EQ(got.port, 443);
    CHECK_EQ(cv_gate_name_parse(&got, "gate.example:443", why, sizeof why),
             CV_ERR_FORMAT);
    CHECK(strstr(why, "covimgate1") != NULL);
    text[12] = text[12] == 'q' ? 'p' : 'q';
    CHECK_EQ(cv_gate_name_parse(&got, text, why, sizeof why), CV_ERR_FORMAT);
    CHECK(strstr(why, "character") != NULL);
}

RUN_TESTS(T(every_frame_is_read_as_it_was_written),
          T(a_frame_that_is_not_whole_is_waited_for),
          T(a_body_cut_short_or_too_long_is_refused),
          T(an_unknown_type_is_passed_over_and_a_huge_one_is_not),
          T(what_does_not_fit_the_format_is_not_written),
          T(both_ends_prove_their_keys_for_this_session_only),
          T(a_voucher_is_for_one_asker_one_peer_one_address_and_one_time),
          T(a_bind_is_answered_with_no_more_bytes_and_only_for_its_key),
          T(what_is_asked_with_a_ticket_is_bound_to_its_key),
          T(a_gate_is_named_by_its_key_and_where_it_is))
