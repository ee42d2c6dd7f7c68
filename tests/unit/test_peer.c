/* Peers over connections in memory: friends, and those who are not. */
#include "session_kit.h"

#include "fake_net.h"
#include "session/peer.h"

struct end {
    struct cv_peer *peer;
    unsigned members, streams, controls, ends, given;
    struct cv_peer_end last;
    char reason[129];
    struct cv_stream *stream;
    uint8_t got[64];
    size_t got_len;
    enum cv_control_type control;
};

static struct kit kit;
static struct cv_admission_config ca, cb;
static struct end a, b;
static cv_time the_time;

static cv_time now(void *user)
{
    (void)user;
    return the_time;
}

static uint64_t unix_s(void *user)
{
    (void)user;
    return KIT_UNIX + (uint64_t)(the_time / CV_SECOND);
}

static void on_given(void *user, struct cv_peer *p, const struct cv_grants *g)
{
    struct end *e = user;

    (void)p;
    (void)g;
    e->given++;
}

static void on_member(void *user, struct cv_peer *p)
{
    struct end *e = user;

    (void)p;
    e->members++;
}

static void on_control(void *user, struct cv_peer *p,
                       const struct cv_control *c)
{
    struct end *e = user;

    (void)p;
    e->controls++;
    e->control = c->type;
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct end *e = user;

    (void)s;
    (void)fin;
    REQUIRE(e->got_len + data.len <= sizeof e->got);
    memcpy(e->got + e->got_len, data.data, data.len);
    e->got_len += data.len;
}

static const struct cv_stream_events stream_events = {.data = on_data};

static void on_stream(void *user, struct cv_peer *p, struct cv_stream *s)
{
    struct end *e = user;

    REQUIRE(cv_peer_is_member(p));
    e->streams++;
    cv_stream_set_events(s, &stream_events, e);
}

static void on_end(void *user, struct cv_peer *p, const struct cv_peer_end *end)
{
    struct end *e = user;

    (void)p;
    e->ends++;
    e->last = *end;
    strcpy(e->reason, end->reason);
    e->peer = NULL;
}

static const struct cv_peer_events events = {
    .given = on_given,
    .member = on_member,
    .control = on_control,
    .stream = on_stream,
    .end = on_end,
};

/* a is the server and the first of the two, b knocked. */
static void prepare(const struct someone *x, const struct someone *y)
{
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    kit_config(&kit, &ca, x, y);
    kit_config(&kit, &cb, y, x);
    the_time = CV_HOUR;
}

static void make(struct end *e, const struct cv_admission_config *c,
                 struct cv_conn *conn)
{
    struct cv_peer_config config = {
        .conn = conn,
        .admission = *c,
        .now = now,
        .unix_s = unix_s,
        .events = &events,
        .user = e,
    };

    REQUIRE(cv_peer_new(&e->peer, &config) == CV_OK);
}

static void meet(void)
{
    struct cv_conn *server, *client;

    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&a, &ca, server);
    make(&b, &cb, client);
    fake_run();
}

/* A hostile client: the connection, and a stream to write what it likes. */
static struct cv_conn *hostile(struct cv_stream **s)
{
    struct cv_conn *server, *client;

    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&a, &ca, server);
    REQUIRE(cv_conn_open(client, s) == CV_OK);
    fake_run();
    return client;
}

static void step(cv_time t)
{
    the_time += t;
    if (a.peer != NULL)
        cv_peer_step(a.peer);
    if (b.peer != NULL)
        cv_peer_step(b.peer);
    fake_run();
}

static void finish(void **test_state_)
{
    cv_peer_free(a.peer, CV_REFUSAL_LEAVING);
    cv_peer_free(b.peer, CV_REFUSAL_LEAVING);
    fake_run();
    CHECK_EQ(fake_living(), 0);
    fake_reset();
}

static void say(struct cv_stream *s, const void *data, size_t len)
{
    REQUIRE(cv_stream_send(s, CV_BYTES(data, len)) == CV_OK);
}

static void say_hello(struct cv_conn *client, struct cv_stream *control)
{
    struct cv_admitting honest;
    struct cv_writer w;

    cv_writer_init_heap(&w, CV_CONTROL_MAX);
    REQUIRE(cv_conn_export(client, "EXPORTER-covim-hello", cb.exporter, 32) ==
            CV_OK);
    REQUIRE(cv_admission_init(&honest, &cb, the_time, &w) == CV_OK);
    say(control, w.data, w.len);
    cv_writer_fini(&w);
}

TEST(members_meet_talk_and_part)
{
    struct cv_control c = {.type = CV_CONTROL_NAME, .u.name.name = "Bobby"};
    struct cv_stream *s;

    kit_init(&kit);
    prepare(&kit.host, &kit.editor);
    meet();
    CHECK_EQ(a.members, 1);
    CHECK_EQ(b.members, 1);
    CHECK_EQ(cv_peer_role(a.peer), CV_ROLE_EDITOR);
    CHECK_EQ(cv_peer_role(b.peer), CV_ROLE_HOST);
    CHECK(cv_key_equal(cv_peer_identity(a.peer), &kit.editor.identity.pub));
    CHECK_STR(cv_peer_name(a.peer), "Bob");
    CHECK_EQ(cv_peer_send(b.peer, &c), CV_OK);
    REQUIRE(cv_conn_open(cv_peer_conn(b.peer), &s) == CV_OK);
    say(s, "hello", 5);
    fake_run();
    CHECK_EQ(a.control, CV_CONTROL_NAME);
    CHECK_STR(cv_peer_name(a.peer), "Bobby");
    CHECK_EQ(a.streams, 1);
    CHECK_MEM(a.got, "hello", 5);
    cv_peer_leave(b.peer, "bye");
    fake_run();
    CHECK_EQ(a.ends, 1);
    CHECK(a.last.left);
    CHECK(!a.last.violation);
    CHECK_EQ(b.ends, 1);
    finish(test_state_);
}

TEST(a_newcomer_is_let_in_by_a_person)
{
    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    meet();
    CHECK_EQ(cv_peer_admission(a.peer)->state, CV_ADMISSION_ASKED);
    CHECK_EQ(a.members, 0);
    CHECK_EQ(cv_peer_accept(a.peer, CV_ROLE_EDITOR), CV_OK);
    fake_run();
    CHECK_EQ(b.given, 1);
    CHECK_EQ(a.members, 1);
    CHECK_EQ(b.members, 1);
    CHECK_EQ(cv_peer_role(a.peer), CV_ROLE_EDITOR);
    finish(test_state_);
}

TEST(who_was_let_in_elsewhere_shows_it_to_who_was_asked)
{
    for (unsigned crossing = 0; crossing < 2; crossing++) {
        kit_init(&kit);
        prepare(&kit.host, &kit.guest);
        cb.vouched = true;
        meet();
        cv_peer_show(a.peer); /* nobody is to let it in */
        kit_grant(&kit, &kit.guest, CV_ROLE_EDITOR);
        if (crossing)
            CHECK_EQ(cv_peer_accept(a.peer, CV_ROLE_EDITOR), CV_OK);
        cv_peer_show(b.peer);
        fake_run();
        CHECK_EQ(a.members, 1);
        CHECK_EQ(b.members, 1);
        CHECK_EQ(a.given + b.given, 0);
        CHECK_EQ(a.ends + b.ends, 0);
        CHECK_EQ(cv_peer_role(a.peer), CV_ROLE_EDITOR);
        CHECK_EQ(cv_peer_role(b.peer), CV_ROLE_HOST);
        finish(test_state_);
    }
}

TEST(a_refusal_is_read_before_the_connection_ends)
{
    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    meet();
    CHECK_EQ(cv_peer_reject(a.peer, "not today"), CV_OK);
    fake_run();
    CHECK_EQ(b.ends, 1);
    CHECK(b.last.refused_by_peer);
    CHECK_EQ(b.last.refusal, CV_REFUSAL_PERSON);
    CHECK_STR(b.reason, "not today");
    CHECK_EQ(a.ends, 1);
    CHECK(!a.last.violation);
    finish(test_state_);
}

TEST(who_does_not_read_a_refusal_is_cut_after_the_linger)
{
    struct cv_stream *s;
    struct cv_conn *conn;

    kit_init(&kit);
    prepare(&kit.editor, &kit.guest); /* an editor may not admit */
    conn = hostile(&s);
    say_hello(conn, s);
    fake_run();
    CHECK_EQ(a.ends, 0);
    step(CV_PEER_LINGER);
    CHECK_EQ(a.ends, 1);
    CHECK_EQ(a.last.refusal, CV_REFUSAL_NO_HOST);
    finish(test_state_);
}

TEST(the_reason_of_a_refusal_is_whole_after_the_linger)
{
    struct cv_stream *s;
    struct cv_conn *conn;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    conn = hostile(&s);
    say_hello(conn, s);
    fake_run();
    CHECK_EQ(cv_peer_reject(a.peer, "not today"), CV_OK);
    fake_run();
    CHECK_EQ(a.ends, 0);
    step(CV_PEER_LINGER);
    CHECK_EQ(a.ends, 1);
    CHECK_STR(a.reason, "not today");
    finish(test_state_);
}

TEST(nothing_but_hello_is_sent_to_who_has_not_proved_anything)
{
    struct cv_stream *s;
    struct cv_bytes log;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    (void)hostile(&s);
    say(s, "\x01", 1); /* a frame begins; no more */
    fake_run();
    log = fake_log();
    CHECK(log.len < CV_CONTROL_PRE_MAX);
    step(CV_ADMISSION_STEP);
    CHECK_EQ(a.ends, 1);
    CHECK_EQ(a.last.refusal, CV_REFUSAL_TIMEOUT);
    finish(test_state_);
}

static unsigned resets;

static void on_reset(void *user, struct cv_stream *s, int err)
{
    (void)user;
    (void)s;
    resets += err == CV_ERR_PEER;
}

static const struct cv_stream_events reset_events = {.data = on_data,
                                                     .closed = on_reset};

/* All messages of a hello of b, as an honest client says them. */
TEST(streams_before_admission_wait_and_are_few)
{
    struct cv_stream *control, *s;
    struct cv_conn *client;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    client = hostile(&control);
    say(control, "\x01", 1); /* a frame begins; no more */
    resets = 0;
    for (unsigned i = 0; i < CV_PEER_EARLY_STREAMS + 2; i++) {
        REQUIRE(cv_conn_open(client, &s) == CV_OK);
        cv_stream_set_events(s, &reset_events, NULL);
        say(s, "\x02\x01\x01", 3);
    }
    fake_run();
    CHECK_EQ(a.ends, 0);
    CHECK_EQ(a.streams, 0);
    CHECK_EQ(resets, 2);
    step(CV_ADMISSION_STEP);
    CHECK_EQ(a.ends, 1);
    CHECK_EQ(a.last.refusal, CV_REFUSAL_TIMEOUT);
    CHECK_EQ(a.streams, 0);
    finish(test_state_);
}

TEST(a_stream_may_overtake_hello)
{
    struct cv_stream *control, *s;
    struct cv_conn *server, *client;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    ca.open = cb.vouched = true;
    ca.offer = CV_ROLE_EDITOR;
    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&a, &ca, server);
    REQUIRE(cv_conn_open(client, &control) == CV_OK);
    REQUIRE(cv_conn_open(client, &s) == CV_OK);
    say(s, "early", 5);
    fake_run();
    CHECK_EQ(a.ends, 0);
    CHECK_EQ(a.members, 0);
    CHECK_EQ(a.got_len, 0);
    say_hello(client, control);
    fake_run();
    CHECK_EQ(a.members, 1);
    CHECK_EQ(a.streams, 1);
    CHECK_MEM(a.got, "early", 5);
    finish(test_state_);
}

TEST(a_stream_goes_along_with_hello_to_who_is_vouched_for)
{
    struct cv_conn *server, *client;
    struct cv_stream *s;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    ca.open = cb.vouched = true;
    ca.offer = CV_ROLE_EDITOR;
    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&a, &ca, server);
    make(&b, &cb, client);
    CHECK_EQ(cv_peer_open(a.peer, &s), CV_ERR_INVALID);
    REQUIRE(cv_peer_open(b.peer, &s) == CV_OK);
    CHECK(!cv_peer_is_member(b.peer));
    say(s, "at once", 7);
    fake_run();
    CHECK_EQ(a.members, 1);
    CHECK_EQ(b.members, 1);
    CHECK_EQ(a.streams, 1);
    CHECK_MEM(a.got, "at once", 7);
    CHECK_EQ(cv_peer_open(a.peer, &s), CV_OK);
    finish(test_state_);
}

TEST(nothing_is_opened_to_who_is_not_vouched_for)
{
    struct cv_conn *server, *client;
    struct cv_stream *s;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&a, &ca, server);
    make(&b, &cb, client);
    CHECK_EQ(cv_peer_open(b.peer, &s), CV_ERR_INVALID);
    fake_run(); /* a person is asked */
    CHECK_EQ(cv_peer_open(b.peer, &s), CV_ERR_INVALID);
    CHECK_EQ(cv_peer_open(a.peer, &s), CV_ERR_INVALID);
    finish(test_state_);
}

/* The server answers on the stream, and never says hello. */
TEST(an_answer_before_hello_is_not_heard)
{
    struct cv_conn *server, *client;
    struct cv_stream *s, *theirs;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    cb.vouched = true;
    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&b, &cb, client);
    REQUIRE(cv_peer_open(b.peer, &s) == CV_OK);
    cv_stream_set_events(s, &stream_events, &b);
    say(s, "who is there", 12);
    fake_run();
    REQUIRE(cv_conn_open(server, &theirs) == CV_OK);
    say(theirs, "take this", 9);
    say(fake_stream(server, cv_stream_id(s)), "and that", 8);
    fake_run();
    CHECK_EQ(b.got_len, 0);
    CHECK_EQ(b.streams, 0);
    CHECK_EQ(b.members, 0);
    step(CV_ADMISSION_STEP);
    CHECK_EQ(b.ends, 1);
    CHECK_EQ(b.got_len, 0);
    finish(test_state_);
}

TEST(a_refusal_resets_the_streams_that_waited)
{
    struct cv_conn *server, *client;
    struct cv_stream *s;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    cb.vouched = true;
    fake_connect(&cb.node, &ca.node, &client, &server);
    make(&a, &ca, server);
    make(&b, &cb, client);
    REQUIRE(cv_peer_open(b.peer, &s) == CV_OK);
    cv_stream_set_events(s, &reset_events, &b);
    say(s, "may I", 5);
    fake_run();
    CHECK_EQ(cv_peer_admission(a.peer)->state, CV_ADMISSION_ASKED);
    CHECK_EQ(a.got_len, 0);
    resets = 0;
    CHECK_EQ(cv_peer_reject(a.peer, "no"), CV_OK);
    fake_run();
    CHECK_EQ(resets, 1);
    CHECK_EQ(a.streams, 0);
    CHECK_EQ(b.ends, 1);
    CHECK_EQ(b.last.refusal, CV_REFUSAL_PERSON);
    finish(test_state_);
}

TEST(a_stream_that_overtakes_the_last_ready_waits)
{
    struct cv_admitting other;
    struct cv_writer w;
    struct cv_stream *control, *s;
    struct cv_conn *client;

    kit_init(&kit);
    prepare(&kit.host, &kit.editor);
    client = hostile(&control);
    cv_writer_init_heap(&w, CV_CONTROL_MAX);
    REQUIRE(cv_conn_export(client, "EXPORTER-covim-hello", cb.exporter, 32) ==
            CV_OK);
    REQUIRE(cv_admission_init(&other, &cb, the_time, &w) == CV_OK);
    say(control, w.data, w.len);
    fake_run();
    CHECK_EQ(cv_peer_admission(a.peer)->state, CV_ADMISSION_READY);
    REQUIRE(cv_conn_open(client, &s) == CV_OK);
    say(s, "early", 5);
    fake_run();
    CHECK_EQ(a.streams, 0);
    CHECK_EQ(a.got_len, 0);
    say(control, "\x01\x06", 2); /* READY */
    fake_run();
    CHECK_EQ(a.members, 1);
    CHECK_EQ(a.streams, 1);
    CHECK_EQ(a.got_len, 5);
    cv_writer_fini(&w);
    finish(test_state_);
}

TEST(an_oversized_frame_is_a_violation)
{
    struct cv_stream *s;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    (void)hostile(&s);
    say(s, "\xff\xff\xff\x7f", 4);
    fake_run();
    CHECK_EQ(a.ends, 1);
    CHECK(a.last.violation);
    finish(test_state_);
}

TEST(more_than_four_kibibytes_before_admission_are_a_violation)
{
    static const uint8_t unknown[] = {20, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                      0,  0,    0, 0, 0, 0, 0, 0, 0, 0};
    struct cv_stream *s;

    kit_init(&kit);
    prepare(&kit.host, &kit.guest);
    (void)hostile(&s);
    for (unsigned i = 0; i * sizeof unknown <= CV_CONTROL_PRE_MAX; i++)
        say(s, unknown, sizeof unknown);
    fake_run();
    CHECK_EQ(a.ends, 1);
    CHECK(a.last.violation);
    finish(test_state_);
}

TEST(garbage_is_a_violation_and_never_a_crash)
{
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 5);
    uint8_t junk[200];

    kit_init(&kit);
    for (unsigned i = 0; i < 300; i++) {
        struct cv_stream *s;

        prepare(&kit.host, &kit.guest);
        (void)hostile(&s);
        cv_random(&rng, junk, sizeof junk);
        junk[0] = (uint8_t)(1 + junk[0] % 127);
        junk[1] %= 24;
        say(s, junk, sizeof junk);
        fake_run();
        CHECK_EQ(a.members, 0);
        finish(test_state_);
    }
}

TEST(hello_again_between_members_is_a_violation)
{
    struct cv_control c = {.type = CV_CONTROL_PENDING};

    kit_init(&kit);
    prepare(&kit.host, &kit.editor);
    meet();
    CHECK_EQ(cv_peer_send(b.peer, &c), CV_OK);
    fake_run();
    CHECK_EQ(a.ends, 1);
    CHECK(a.last.violation);
    CHECK_EQ(b.ends, 1);
    CHECK_EQ(b.last.refusal, CV_REFUSAL_PROTOCOL);
    finish(test_state_);
}

TEST(a_lost_connection_is_neither_goodbye_nor_violation)
{
    kit_init(&kit);
    prepare(&kit.host, &kit.editor);
    meet();
    fake_cut(cv_peer_conn(a.peer));
    fake_run();
    CHECK_EQ(a.ends, 1);
    CHECK_EQ(a.last.err, CV_ERR_TIMEOUT);
    CHECK(!a.last.left);
    CHECK(!a.last.violation);
    CHECK_EQ(a.last.refusal, CV_REFUSAL_TIMEOUT);
    finish(test_state_);
}

TEST(freeing_a_peer_leaves_nothing)
{
    kit_init(&kit);
    prepare(&kit.host, &kit.editor);
    meet();
    cv_peer_free(a.peer, CV_REFUSAL_REPLACED);
    a.peer = NULL;
    fake_run();
    CHECK_EQ(a.ends, 0);
    CHECK_EQ(b.ends, 1);
    CHECK_EQ(b.last.refusal, CV_REFUSAL_REPLACED);
    finish(test_state_);
}

RUN_TESTS(T(members_meet_talk_and_part), T(a_newcomer_is_let_in_by_a_person),
          T(who_was_let_in_elsewhere_shows_it_to_who_was_asked),
          T(a_refusal_is_read_before_the_connection_ends),
          T(who_does_not_read_a_refusal_is_cut_after_the_linger),
          T(the_reason_of_a_refusal_is_whole_after_the_linger),
          T(nothing_but_hello_is_sent_to_who_has_not_proved_anything),
          T(streams_before_admission_wait_and_are_few),
          T(a_stream_may_overtake_hello),
          T(a_stream_goes_along_with_hello_to_who_is_vouched_for),
          T(nothing_is_opened_to_who_is_not_vouched_for),
          T(an_answer_before_hello_is_not_heard),
          T(a_refusal_resets_the_streams_that_waited),
          T(a_stream_that_overtakes_the_last_ready_waits),
          T(an_oversized_frame_is_a_violation),
          T(more_than_four_kibibytes_before_admission_are_a_violation),
          T(garbage_is_a_violation_and_never_a_crash),
          T(hello_again_between_members_is_a_violation),
          T(a_lost_connection_is_neither_goodbye_nor_violation),
          T(freeing_a_peer_leaves_nothing))
