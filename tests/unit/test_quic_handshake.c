#include "tests/test.h"
#include "tests/unit/quic_world.h"
#include "transport/quic_impl.h"
#include <dlfcn.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>

static const struct world_link good = {.delay = 20 * CV_MILLISECOND};

static bool both_closed(void *user)
{
    struct world *w = user;

    return w->end[0].closed && w->end[1].closed;
}

static bool both_dead(void *user)
{
    struct world *w = user;

    return w->end[0].dead && w->end[1].dead;
}

TEST(handshake_takes_one_round_trip_of_a_client)
{
    struct world *w = world_new(1, &good);
    cv_time start = w->now, rtt = 2 * good.delay;

    world_join(w);
    /* The server's Finished reaches the client, the client's the server: 1 and
     * 1.5 round trips. */
    CHECK(w->end[1].confirmed_at - start <= 3 * rtt / 2 + CV_MILLISECOND);
    CHECK(w->end[0].confirmed_at - start <= rtt + CV_MILLISECOND);
    CHECK(cv_quic_is_confirmed(w->end[0].conn));
    CHECK(cv_conn_is_client(w->end[0].conn));
    CHECK(!cv_conn_is_client(w->end[1].conn));
    CHECK(cv_key_equal(cv_conn_peer(w->end[0].conn), &w->end[1].key.pub));
    CHECK_EQ(cv_conn_attempt(w->end[1].conn)[7], 8);
    world_free(w);
}

TEST(unknown_round_trip_time_does_not_slow_the_handshake)
{
    struct world_link near = {.delay = CV_MILLISECOND / 10};
    struct world *w = world_new(2, &near);
    cv_time start = w->now;

    w->end[0].initial_rtt = w->end[1].initial_rtt = 0;
    world_join(w);
    CHECK(w->end[0].confirmed_at - start < CV_MILLISECOND);
    world_free(w);
}

TEST(handshake_survives_a_bad_link)
{
    struct world_link bad = {.delay = 30 * CV_MILLISECOND,
                             .jitter = 40 * CV_MILLISECOND,
                             .loss = 200,
                             .dup = 100,
                             .corrupt = 50};

    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world *w = world_new(seed, &bad);

        world_join(w);
        CHECK(w->end[0].conn && w->end[1].conn);
        world_free(w);
    }
}

static void export_both(struct world *w, const char *label, uint8_t out[2][32])
{
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(cv_conn_export(w->end[i].conn, label, out[i], 32) == CV_OK);
}

TEST(exported_keys_are_equal_and_depend_on_the_label)
{
    struct world *w = world_new(3, &good);
    uint8_t a[2][32], b[2][32];

    world_connect(w);
    CHECK_EQ(cv_conn_export(w->end[0].conn, "x", a[0], 32), CV_ERR_CLOSED);
    world_run(w, w->now + CV_SECOND, NULL, NULL);
    export_both(w, "covim one", a);
    export_both(w, "covim two", b);
    CHECK_MEM(a[0], a[1], 32);
    CHECK_MEM(b[0], b[1], 32);
    CHECK(memcmp(a[0], b[0], 32) != 0);
    world_free(w);
}

/* ---- keys -------------------------------------------------------------- */

enum key_case {
    KEY_OTHER, /* not the pinned one */
    KEY_NONE,
    KEY_X509,
};

static void use_no_key(struct cv_quic_ctx *ctx)
{
    gnutls_certificate_free_credentials(ctx->cred);
    REQUIRE(gnutls_certificate_allocate_credentials(&ctx->cred) == 0);
}

/* A self-signed certificate of the very key that is pinned. */
static void use_x509(struct cv_quic_ctx *ctx)
{
    static const char priority[] =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:%DISABLE_TLS13_COMPAT_MODE";
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    uint8_t serial = 1;

    use_no_key(ctx);
    REQUIRE(gnutls_x509_privkey_init(&key) == 0);
    REQUIRE(gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0) ==
            0);
    REQUIRE(gnutls_x509_crt_init(&crt) == 0);
    REQUIRE(gnutls_x509_crt_set_version(crt, 3) == 0);
    REQUIRE(gnutls_x509_crt_set_key(crt, key) == 0);
    REQUIRE(gnutls_x509_crt_set_serial(crt, &serial, 1) == 0);
    REQUIRE(gnutls_x509_crt_set_activation_time(crt, time(NULL)) == 0);
    REQUIRE(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600) == 0);
    REQUIRE(gnutls_x509_crt_set_dn(crt, "CN=x", NULL) == 0);
    REQUIRE(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0) == 0);
    REQUIRE(gnutls_certificate_set_x509_key(ctx->cred, &crt, 1, key) == 0);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
    gnutls_priority_deinit(ctx->priority);
    REQUIRE(gnutls_priority_init(&ctx->priority, priority, NULL) == 0);
}

static void use_bad_key(struct world *w, unsigned end, enum key_case key)
{
    switch (key) {
    case KEY_OTHER:
        REQUIRE(cv_keypair_generate(&w->end[end].key, &w->rng_of_ends) ==
                CV_OK);
        break;
    case KEY_NONE:
        use_no_key(w->end[end].ctx);
        break;
    case KEY_X509:
        use_x509(w->end[end].ctx);
        break;
    }
}

TEST(wrong_keys_are_refused_and_both_sides_know_why)
{
    static const struct {
        enum key_case key;
        unsigned bad; /* whose */
        int err[2];   /* of client and server */
    } cases[] = {
        {KEY_OTHER, 1, {CV_ERR_AUTH, CV_ERR_DENIED}},
        {KEY_OTHER, 0, {CV_ERR_DENIED, CV_ERR_AUTH}},
        {KEY_NONE, 0, {CV_ERR_DENIED, CV_ERR_AUTH}},
        {KEY_NONE, 1, {CV_ERR_DENIED, CV_ERR_AUTH}},
        {KEY_X509, 0, {CV_ERR_DENIED, CV_ERR_AUTH}},
        {KEY_X509, 1, {CV_ERR_DENIED, CV_ERR_AUTH}},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = world_new(10 + i, &good);

        use_bad_key(w, cases[i].bad, cases[i].key);
        world_connect(w);
        CHECK(world_run(w, w->now + 5 * CV_SECOND, both_closed, w));
        if (w->end[0].err != cases[i].err[0] ||
            w->end[1].err != cases[i].err[1])
            print_error("case %u: %d (%s), %d (%s)\n", i, w->end[0].err,
                        w->end[0].reason, w->end[1].err, w->end[1].reason);
        CHECK_EQ(w->end[0].err, cases[i].err[0]);
        CHECK_EQ(w->end[1].err, cases[i].err[1]);
        /* Only a client whose own key is wrong was told of a connection. */
        if (cases[i].err[0] == CV_ERR_AUTH)
            CHECK_EQ(w->end[0].confirmed_at, CV_NEVER);
        CHECK_EQ(w->end[1].confirmed_at, CV_NEVER);
        CHECK(w->end[0].reason[0] && w->end[1].reason[0]);
        CHECK(world_run(w, w->now + 30 * CV_SECOND, both_dead, w));
        world_free(w);
    }
}

/* GnuTLS's, as the library below QUIC calls it: the ends that are to, send no
 * transport parameters. */
static bool omit[2];

static int send_nothing(gnutls_session_t tls, gnutls_buffer_t data)
{
    (void)tls;
    (void)data;
    return 0;
}

int gnutls_session_ext_register(gnutls_session_t tls, const char *name, int id,
                                gnutls_ext_parse_type_t when,
                                gnutls_ext_recv_func on_recv,
                                gnutls_ext_send_func on_send,
                                gnutls_ext_deinit_data_func on_deinit,
                                gnutls_ext_pack_func pack,
                                gnutls_ext_unpack_func unpack, unsigned flags)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(tls);
    const struct cv_conn *conn = ref->user_data;
    int (*real)(gnutls_session_t, const char *, int, gnutls_ext_parse_type_t,
                gnutls_ext_recv_func, gnutls_ext_send_func,
                gnutls_ext_deinit_data_func, gnutls_ext_pack_func,
                gnutls_ext_unpack_func, unsigned);
    void *found = dlsym(RTLD_NEXT, "gnutls_session_ext_register");

    memcpy(&real, &found, sizeof(real));
    return real(tls, name, id, when, on_recv,
                omit[conn->client ? 0 : 1] ? send_nothing : on_send, on_deinit,
                pack, unpack, flags);
}

TEST(a_hello_without_transport_parameters_is_refused)
{
    for (unsigned bad = 0; bad < 2; bad++) {
        struct world *w = world_new(60 + bad, &good);

        omit[bad] = true;
        world_connect(w);
        CHECK(world_run(w, w->now + 5 * CV_SECOND, both_closed, w));
        CHECK_EQ(w->end[!bad].err, CV_ERR_PEER);
        CHECK_EQ(w->end[0].confirmed_at, CV_NEVER);
        CHECK_EQ(w->end[1].confirmed_at, CV_NEVER);
        world_free(w);
        omit[bad] = false;
    }
}

TEST(another_protocol_is_called_another_version)
{
    for (unsigned bad = 0; bad < 2; bad++) {
        struct world *w = world_new(20 + bad, &good);

        w->end[bad].ctx->alpn = "h3";
        world_connect(w);
        CHECK(world_run(w, w->now + 5 * CV_SECOND, both_closed, w));
        CHECK_EQ(w->end[0].err, CV_ERR_VERSION);
        CHECK_EQ(w->end[1].err, CV_ERR_VERSION);
        world_free(w);
    }
}

TEST(handshake_without_an_answer_is_given_up)
{
    struct world *w = world_new(22, &good);
    cv_time start = w->now;

    w->end[1].deaf = true;
    world_connect(w);
    world_run(w, w->now + CV_MINUTE, NULL, NULL);
    CHECK(w->end[0].dead);
    CHECK_EQ(w->end[0].err, CV_ERR_TIMEOUT);
    CHECK(w->now - start <= CV_MINUTE);
    world_free(w);
}

/* ---- retry ------------------------------------------------------------- */

TEST(retry_proves_the_address_first)
{
    struct world *w = world_new(30, &good);

    w->end[1].require_token = true;
    world_join(w);
    CHECK_EQ(w->end[1].retries, 1);
    world_free(w);
}

TEST(retry_works_on_a_bad_link)
{
    struct world_link bad = {.delay = 10 * CV_MILLISECOND,
                             .jitter = 20 * CV_MILLISECOND,
                             .loss = 150,
                             .dup = 100,
                             .corrupt = 20};

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_new(seed, &bad);

        w->end[1].require_token = true;
        world_join(w);
        CHECK(w->end[0].conn && w->end[1].conn);
        world_free(w);
    }
}

static void move_the_client(struct world_end *end, uint8_t *data, size_t *len)
{
    (void)data;
    (void)len;
    if (end->retries > 0)
        end->world->end[0].addr.port = 4001;
}

TEST(retry_token_of_another_address_is_refused)
{
    struct world *w = world_new(31, &good);

    w->end[1].require_token = true;
    w->end[1].on_packet = move_the_client;
    world_connect(w);
    world_run(w, w->now + CV_SECOND, NULL, NULL);
    CHECK_EQ(w->end[1].accept_err, CV_ERR_AUTH);
    CHECK(w->end[1].conn == NULL);
    world_free(w);
}

TEST(retry_token_expires)
{
    struct world_link slow = {.delay = 6 * CV_SECOND};
    struct world *w = world_new(32, &slow);

    w->end[1].require_token = true;
    world_connect(w);
    world_run(w, w->now + 19 * CV_SECOND, NULL, NULL);
    CHECK_EQ(w->end[1].accept_err, CV_ERR_AUTH);
    world_free(w);
}

/* ---- routing and form -------------------------------------------------- */

TEST(packets_are_routed_by_their_first_id)
{
    uint8_t p[1200] = {0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8};
    struct cv_quic_cid cid;

    CHECK(cv_quic_packet_dcid(p, sizeof(p), &cid));
    CHECK_EQ(cid.len, 8);
    CHECK_EQ(cid.b[7], 8);
    CHECK(cv_quic_packet_is_initial(p, sizeof(p)));
    CHECK(!cv_quic_packet_is_initial(p, sizeof(p) - 1));
    p[5] = 7; /* RFC 9000, 7.2 */
    CHECK(!cv_quic_packet_is_initial(p, sizeof(p)));
    p[5] = 21;
    CHECK(!cv_quic_packet_dcid(p, sizeof(p), &cid));
    p[5] = 0;
    CHECK(!cv_quic_packet_dcid(p, sizeof(p), &cid));
    p[5] = 20;
    CHECK(!cv_quic_packet_dcid(p, 25, &cid));
    CHECK(cv_quic_packet_dcid(p, 26, &cid));
    p[4] = 2;
    CHECK(!cv_quic_packet_dcid(p, sizeof(p), &cid));
    p[4] = 1;
    p[0] = 0xe0; /* Handshake */
    p[5] = 8;
    CHECK(cv_quic_packet_dcid(p, sizeof(p), &cid));
    CHECK(!cv_quic_packet_is_initial(p, sizeof(p)));
    p[0] = 0x40;
    CHECK(cv_quic_packet_dcid(p, 9, &cid));
    CHECK_EQ(cid.b[3], 1);
    CHECK(!cv_quic_packet_dcid(p, 8, &cid));
    p[0] = 0x00; /* RFC 9443: STUN */
    CHECK(!cv_quic_packet_dcid(p, sizeof(p), &cid));
}

/* ---- hostile packets --------------------------------------------------- */

TEST(forged_initials_leave_no_memory)
{
    struct world *w = world_new(40, &good);
    uint8_t p[1200];
    size_t before, after = 0;

    for (unsigned round = 0; round < 2; round++) {
        before = world_heap();
        for (unsigned i = 0; i < 500; i++) {
            cv_random(&w->rng_of_ends, p, sizeof(p));
            memcpy(p, "\xc0\0\0\0\1\x08", 6);
            p[14] = 8;                             /* source id */
            p[23] = 0;                             /* no token */
            p[24] = (uint8_t)(0x40 | (1168 >> 8)); /* length of the rest */
            p[25] = (uint8_t)1168;
            world_deliver(w, 1, p, sizeof(p));
            CHECK_EQ(w->end[1].accept_err, CV_ERR_FORMAT);
            CHECK(w->end[1].conn == NULL);
        }
        after = world_heap();
    }
    CHECK(after <= before + 256);
    world_free(w);
}

static uint8_t taken[4096][1252];
static size_t taken_len[4096];
static unsigned taken_to[4096];
static unsigned n_taken;

static void take(struct world_end *end, uint8_t *data, size_t *len)
{
    if (n_taken == 4096 || *len > sizeof(taken[0]))
        return;
    memcpy(taken[n_taken], data, *len);
    taken_to[n_taken] = end->index;
    taken_len[n_taken++] = *len;
}

/* Every truncation and many damages of real packets, into ends in every state
 * that they meet; the connection lives on. */
TEST(damaged_packets_do_no_harm)
{
    struct world *w = world_new(41, &good);
    uint8_t copy[1252];

    n_taken = 0;
    w->end[0].on_packet = w->end[1].on_packet = take;
    world_join(w);
    world_run(w, w->now + CV_SECOND, NULL, NULL);
    CHECK(n_taken >= 6);
    for (unsigned i = 0; i < n_taken; i++) {
        for (size_t len = 0; len < taken_len[i]; len++)
            world_deliver(w, taken_to[i], taken[i], len);
        for (unsigned k = 0; k < 300; k++) {
            memcpy(copy, taken[i], taken_len[i]);
            copy[world_random(w) % (k < 150 ? 32 : taken_len[i])] ^=
                (uint8_t)(1 + world_random(w) % 255);
            world_deliver(w, taken_to[i], copy, taken_len[i]);
        }
        world_run(w, w->now + CV_MILLISECOND, NULL, NULL);
    }
    world_run(w, w->now + CV_SECOND, NULL, NULL);
    CHECK(!w->end[0].closed);
    CHECK(!w->end[1].closed);
    world_free(w);
}

TEST(damaged_first_packets_do_no_harm)
{
    struct world *from = world_new(42, &good), *w;
    uint8_t copy[1252];

    n_taken = 0;
    from->end[1].on_packet = take;
    world_connect(from);
    world_run(from, from->now + 30 * CV_MILLISECOND, NULL, NULL);
    CHECK_EQ(n_taken, 1);
    w = world_new(43, &good);
    for (unsigned k = 0; k < 1500; k++) {
        memcpy(copy, taken[0], taken_len[0]);
        copy[k < 1200 ? k : world_random(w) % 60] ^=
            (uint8_t)(1 + world_random(w) % 255);
        world_deliver(w, 1, copy, taken_len[0]);
        cv_quic_free(w->end[1].conn);
        w->end[1].conn = NULL;
        CHECK_EQ(w->end[1].cids, 0);
    }
    world_free(w);
    world_free(from);
}

/* ---- memory ------------------------------------------------------------ */

TEST(idle_connection_costs_less_than_100_kib)
{
    struct world *w = world_new(50, &good);
    size_t before = world_heap(), used;

    world_join(w);
    world_run(w, w->now + 10 * CV_SECOND, NULL, NULL);
    used = (world_heap() - before) / 2;
    print_message("# %zu bytes a connection end\n", used);
    CHECK(used < (size_t)100 * 1024);
    world_free(w);
}

TEST(closed_connection_keeps_little)
{
    struct world *w = world_new(51, &good);
    size_t before = world_heap(), used;

    world_join(w);
    world_run(w, w->now + CV_SECOND, NULL, NULL);
    cv_conn_close(w->end[0].conn, 1, "");
    CHECK(world_run(w, w->now + CV_SECOND, both_closed, w));
    used = (world_heap() - before) / 2;
    print_message("# %zu bytes a closing end\n", used);
    CHECK(used < (size_t)8 * 1024);
    world_free(w);
}

RUN_TESTS(T(handshake_takes_one_round_trip_of_a_client),
          T(unknown_round_trip_time_does_not_slow_the_handshake),
          T(handshake_survives_a_bad_link),
          T(exported_keys_are_equal_and_depend_on_the_label),
          T(wrong_keys_are_refused_and_both_sides_know_why),
          T(a_hello_without_transport_parameters_is_refused),
          T(another_protocol_is_called_another_version),
          T(handshake_without_an_answer_is_given_up),
          T(retry_proves_the_address_first), T(retry_works_on_a_bad_link),
          T(retry_token_of_another_address_is_refused), T(retry_token_expires),
          T(packets_are_routed_by_their_first_id),
          T(forged_initials_leave_no_memory), T(damaged_packets_do_no_harm),
          T(damaged_first_packets_do_no_harm),
          T(idle_connection_costs_less_than_100_kib),
          T(closed_connection_keeps_little))
