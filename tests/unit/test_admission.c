#include "session_kit.h"

#include "session/frame.h"

/* Two ends and what is on its way between them. */
struct pair {
    struct kit kit;
    struct cv_admission_config ca, cb;
    struct cv_admitting a, b;
    struct cv_writer to_a, to_b;
    cv_time now;
    uint64_t unix_s;
};

static struct pair p;

static void setup(const struct someone *a, const struct someone *b)
{
    kit_config(&p.kit, &p.ca, a, b);
    kit_config(&p.kit, &p.cb, b, a);
    p.now = CV_HOUR;
    p.unix_s = KIT_UNIX;
    cv_writer_init_heap(&p.to_a, CV_CONTROL_MAX);
    cv_writer_init_heap(&p.to_b, CV_CONTROL_MAX);
}

static void start(void)
{
    REQUIRE(cv_admission_init(&p.a, &p.ca, p.now, &p.to_b) == CV_OK);
    REQUIRE(cv_admission_init(&p.b, &p.cb, p.now, &p.to_a) == CV_OK);
}

static void teardown(void)
{
    cv_writer_fini(&p.to_a);
    cv_writer_fini(&p.to_b);
}

static bool is_final(const struct cv_admitting *a)
{
    return a->state == CV_ADMISSION_MEMBER || a->state == CV_ADMISSION_CLOSED;
}

struct feed {
    struct cv_admitting *to;
    struct cv_writer *reply;
};

static int feed_one(void *user, struct cv_bytes m)
{
    struct feed *f = user;

    if (is_final(f->to))
        return CV_OK;
    return cv_admission_message(f->to, m, p.now, p.unix_s, f->reply);
}

static bool deliver(struct cv_writer *in, struct cv_admitting *to,
                    struct cv_writer *reply)
{
    struct feed f = {to, reply};
    struct cv_frames frames;
    struct cv_bytes all;
    size_t len;
    uint8_t *data;

    if (in->len == 0)
        return false;
    data = cv_writer_take(in, &len);
    cv_writer_init_heap(in, CV_CONTROL_MAX);
    all = (struct cv_bytes){data, len};
    cv_frames_init(&frames, CV_CONTROL_MAX, CV_FRAME_NO_BUDGET);
    REQUIRE(cv_frames_feed(&frames, all, feed_one, &f) == CV_OK);
    cv_frames_fini(&frames);
    free(data);
    return true;
}

static void run(void)
{
    while (deliver(&p.to_a, &p.a, &p.to_b) || deliver(&p.to_b, &p.b, &p.to_a))
        ;
}

static void wait_for(cv_time how_long)
{
    p.now += how_long;
    REQUIRE(cv_admission_step(&p.a, p.now, &p.to_b) == CV_OK);
    REQUIRE(cv_admission_step(&p.b, p.now, &p.to_a) == CV_OK);
    run();
}

TEST(two_with_grants_are_members_at_once)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.a.peer_role, CV_ROLE_EDITOR);
    CHECK_EQ(p.b.peer_role, CV_ROLE_HOST);
    CHECK_EQ(p.b.peer_flags & CV_GRANT_ADMIT, CV_GRANT_ADMIT);
    CHECK_EQ(p.a.peer_flags, 0);
    CHECK_STR(p.a.hello.name, "Bob");
    teardown();
}

TEST(a_newcomer_waits_for_a_person_and_is_let_in)
{
    enum cv_role role;
    uint8_t flags;

    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_ASKED);
    CHECK_EQ(p.b.state, CV_ADMISSION_WAITING);
    CHECK(p.b.pending);
    CHECK_EQ(p.b.peer_role, CV_ROLE_HOST);
    CHECK_EQ(p.a.peer_role, CV_ROLE_NONE);
    CHECK_EQ(
        cv_admission_accept(&p.a, CV_ROLE_VIEWER, p.unix_s, p.now, &p.to_b),
        CV_OK);
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.a.peer_role, CV_ROLE_VIEWER);
    CHECK_EQ(cv_grants_verify(&p.b.given, &p.kit.session.pub,
                              &p.kit.guest.identity.pub, KIT_UNIX, &role,
                              &flags),
             CV_OK);
    CHECK_EQ(role, CV_ROLE_VIEWER);
    teardown();
}

TEST(a_no_of_a_person_reaches_the_newcomer_with_its_reason)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    CHECK_EQ(cv_admission_reject(&p.a, "not today", &p.to_b), CV_OK);
    CHECK(p.a.told);
    run();
    CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
    CHECK(p.b.refused_by_peer);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_PERSON);
    CHECK_STR(p.b.reason, "not today");
    CHECK_EQ(
        cv_admission_accept(&p.a, CV_ROLE_EDITOR, p.unix_s, p.now, &p.to_b),
        CV_ERR_INVALID);
    teardown();
}

TEST(an_unanswered_knock_lapses_and_is_repeated_for_five_minutes)
{
    unsigned asked = 1;

    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    for (unsigned s = 0; s < 299; s++) {
        enum cv_admission_state before = p.a.state;

        wait_for(CV_SECOND);
        if (before == CV_ADMISSION_LAPSED && p.a.state == CV_ADMISSION_ASKED)
            asked++;
    }
    CHECK_EQ(asked, 5);
    CHECK(p.a.state != CV_ADMISSION_CLOSED);
    wait_for(2 * CV_SECOND);
    wait_for(70 * CV_SECOND);
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_TIMEOUT);
    teardown();
}

TEST(a_lapsed_knock_can_still_be_accepted)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    p.now += CV_ADMISSION_ASK;
    CHECK_EQ(cv_admission_step(&p.a, p.now, &p.to_b), CV_OK);
    CHECK_EQ(p.a.state, CV_ADMISSION_LAPSED);
    CHECK_EQ(
        cv_admission_accept(&p.a, CV_ROLE_EDITOR, p.unix_s, p.now, &p.to_b),
        CV_OK);
    run();
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    teardown();
}

TEST(open_sessions_let_in_with_at_most_the_role_wanted)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    p.ca.open = true;
    p.cb.wants = CV_ROLE_VIEWER;
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.a.peer_role, CV_ROLE_VIEWER);
    teardown();
}

/* They find others, who have room. */
TEST(who_has_no_room_lets_in_and_parts)
{
    for (unsigned asked = 0; asked < 2; asked++) {
        kit_init(&p.kit);
        setup(&p.kit.host, &p.kit.guest);
        p.ca.full = true;
        p.ca.open = !asked;
        start();
        run();
        if (asked)
            CHECK_EQ(cv_admission_accept(&p.a, CV_ROLE_EDITOR, p.unix_s, p.now,
                                         &p.to_b),
                     CV_OK);
        run();
        CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
        CHECK(p.a.told);
        CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
        CHECK_EQ(p.b.refusal, CV_REFUSAL_FULL);
        CHECK(p.b.refused_by_peer);
        CHECK(cv_grants_are_for(&p.b.given, &p.cb.identity->pub));
        CHECK(cv_grants_role(&p.b.given) == CV_ROLE_EDITOR);
        teardown();
    }
}

/* Who has a grant wanted to stay. */
TEST(a_member_is_not_taken_where_there_is_no_room)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    p.ca.full = true;
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_FULL);
    teardown();
}

TEST(our_own_identity_is_let_in_without_asking)
{
    kit_init(&p.kit);
    p.kit.twin.grants.n = 0;
    setup(&p.kit.host, &p.kit.twin);
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.a.peer_role, CV_ROLE_HOST);
    CHECK_EQ(p.b.given.n, 1);
    teardown();
}

TEST(who_may_not_admit_names_somebody_who_may)
{
    kit_init(&p.kit);
    setup(&p.kit.editor, &p.kit.guest);
    strcpy(p.ca.host_name, "Ann");
    start();
    run();
    CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
    CHECK(p.b.refused_by_peer);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_NO_HOST);
    CHECK_STR(p.b.name, "Ann");
    teardown();
}

TEST(an_editor_cannot_hand_out_grants)
{
    struct cv_grants g;

    kit_init(&p.kit);
    CHECK_EQ(cv_admission_issue(&g, &p.kit.editor.grants, &p.kit.session.pub,
                                &p.kit.editor.identity,
                                &p.kit.guest.identity.pub, CV_ROLE_VIEWER,
                                KIT_UNIX, &p.kit.rng),
             CV_ERR_DENIED);
    CHECK_EQ(cv_admission_issue(&g, &p.kit.guest.grants, &p.kit.session.pub,
                                &p.kit.guest.identity,
                                &p.kit.viewer.identity.pub, CV_ROLE_VIEWER,
                                KIT_UNIX, &p.kit.rng),
             CV_ERR_DENIED);
}

TEST(two_strangers_part)
{
    kit_init(&p.kit);
    p.kit.viewer.grants.n = 0;
    setup(&p.kit.guest, &p.kit.viewer);
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, CV_REFUSAL_STRANGERS);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_STRANGERS);
    teardown();
}

/* What a liar at b's place may try; a must close, with that code. */
static void check_lie(void **test_state_, enum cv_refusal want)
{
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, want);
    CHECK_EQ(p.a.peer_role == CV_ROLE_NONE || want == CV_REFUSAL_AUTH, 1);
    teardown();
}

TEST(a_certificate_of_another_node_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    p.cb.cert = p.kit.viewer.cert;
    check_lie(test_state_, CV_REFUSAL_AUTH);
}

TEST(an_expired_certificate_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    p.unix_s = KIT_UNIX + 3600 + CV_CLOCK_SLACK_S + 1;
    check_lie(test_state_, CV_REFUSAL_AUTH);
}

TEST(who_does_not_know_the_session_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    p.cb.session = p.kit.other_session.pub;
    check_lie(test_state_, CV_REFUSAL_AUTH);
}

TEST(a_hello_of_another_connection_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    memset(p.cb.exporter, 1, sizeof p.cb.exporter);
    check_lie(test_state_, CV_REFUSAL_AUTH);
}

TEST(our_own_hello_sent_back_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    REQUIRE(cv_admission_init(&p.a, &p.ca, p.now, &p.to_a) == CV_OK);
    deliver(&p.to_a, &p.a, &p.to_b);
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, CV_REFUSAL_AUTH);
    teardown();
}

TEST(an_identity_that_differs_from_the_record_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    p.ca.peer_identity_known = true;
    p.ca.peer_identity = p.kit.viewer.identity.pub;
    check_lie(test_state_, CV_REFUSAL_AUTH);
}

TEST(a_grant_of_another_session_is_refused)
{
    kit_init(&p.kit);
    REQUIRE(cv_grants_issue(&p.kit.guest.grants, NULL, &p.kit.other_session.pub,
                            &p.kit.other_session, &p.kit.guest.identity.pub,
                            CV_ROLE_HOST, CV_GRANT_ADMIT, KIT_UNIX + 7200,
                            &p.kit.rng) == CV_OK);
    setup(&p.kit.host, &p.kit.guest);
    check_lie(test_state_, CV_REFUSAL_GRANT);
}

TEST(a_grant_of_somebody_else_is_refused)
{
    kit_init(&p.kit);
    p.kit.guest.grants = p.kit.editor.grants;
    setup(&p.kit.host, &p.kit.guest);
    check_lie(test_state_, CV_REFUSAL_GRANT);
}

TEST(a_role_that_was_raised_by_hand_is_refused)
{
    kit_init(&p.kit);
    p.kit.viewer.grants.chain[p.kit.viewer.grants.n - 1].role = CV_ROLE_EDITOR;
    setup(&p.kit.host, &p.kit.viewer);
    check_lie(test_state_, CV_REFUSAL_GRANT);
}

TEST(another_version_is_refused)
{
    const uint8_t hello[] = {CV_CONTROL_HELLO, 9, 1, 2, 3};

    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    start();
    CHECK_EQ(cv_admission_message(&p.a, (struct cv_bytes){hello, 5}, p.now,
                                  p.unix_s, &p.to_b),
             CV_OK);
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, CV_REFUSAL_VERSION);
    teardown();
}

TEST(an_expired_grant_counts_as_none_and_the_host_is_asked)
{
    kit_init(&p.kit);
    REQUIRE(cv_grants_issue(
                &p.kit.guest.grants, &p.kit.host.grants, &p.kit.session.pub,
                &p.kit.host.identity, &p.kit.guest.identity.pub, CV_ROLE_EDITOR,
                0, KIT_UNIX - CV_CLOCK_SLACK_S - 10, &p.kit.rng) == CV_OK);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_ASKED);
    CHECK_EQ(p.a.peer_role, CV_ROLE_NONE);
    CHECK_EQ(p.b.state, CV_ADMISSION_WAITING);
    CHECK_EQ(
        cv_admission_accept(&p.a, CV_ROLE_EDITOR, p.unix_s, p.now, &p.to_b),
        CV_OK);
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.b.given.n, 2);
    teardown();
}

TEST(a_host_without_a_grant_of_the_session_gets_nothing_but_hello)
{
    /* The joiner meets somebody who claims to be the sharer. */
    kit_init(&p.kit);
    REQUIRE(cv_grants_issue(
                &p.kit.editor.grants, NULL, &p.kit.other_session.pub,
                &p.kit.other_session, &p.kit.editor.identity.pub, CV_ROLE_HOST,
                CV_GRANT_ADMIT, KIT_UNIX + 7200, &p.kit.rng) == CV_OK);
    setup(&p.kit.guest, &p.kit.editor);
    start();
    deliver(&p.to_a, &p.a, &p.to_b); /* only their hello */
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, CV_REFUSAL_GRANT);
    teardown();
}

static void say_grant(struct cv_writer *to, const struct cv_grants *g)
{
    struct cv_control c;

    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_GRANT;
    c.u.grant = *g;
    REQUIRE(cv_control_put(to, &c) == CV_OK);
    run();
}

TEST(a_grant_that_is_not_for_us_is_refused)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    say_grant(&p.to_b, &p.kit.editor.grants);
    CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_GRANT);
    CHECK_EQ(p.b.given.n, 0);
    teardown();
}

/* Meanwhile the editor, a host too, lets the guest in. */
static void let_in_elsewhere(enum cv_role role)
{
    struct kit *k = &p.kit;

    kit_grant(k, &k->editor, CV_ROLE_HOST);
    REQUIRE(cv_grants_issue(&k->guest.grants, &k->editor.grants,
                            &k->session.pub, &k->editor.identity,
                            &k->guest.identity.pub, role, 0, KIT_UNIX + 7200,
                            &k->rng) == CV_OK);
}

TEST(who_was_let_in_elsewhere_takes_its_question_back)
{
    for (unsigned lapsed = 0; lapsed < 2; lapsed++) {
        kit_init(&p.kit);
        setup(&p.kit.host, &p.kit.guest);
        start();
        run();
        CHECK_EQ(cv_admission_show(&p.b, p.now, &p.to_a), CV_ERR_INVALID);
        if (lapsed) {
            p.now += CV_ADMISSION_ASK;
            CHECK_EQ(cv_admission_step(&p.a, p.now, &p.to_b), CV_OK);
            CHECK_EQ(p.a.state, CV_ADMISSION_LAPSED);
        }
        let_in_elsewhere(CV_ROLE_VIEWER);
        CHECK_EQ(cv_admission_show(&p.b, p.now, &p.to_a), CV_OK);
        CHECK_EQ(p.b.state, CV_ADMISSION_READY);
        run();
        CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
        CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
        CHECK_EQ(p.a.peer_role, CV_ROLE_VIEWER);
        CHECK_EQ(p.a.peer_flags, 0);
        CHECK_EQ(p.b.given.n, 0);
        CHECK_EQ(
            cv_admission_accept(&p.a, CV_ROLE_EDITOR, p.unix_s, p.now, &p.to_b),
            CV_ERR_INVALID);
        CHECK_EQ(cv_admission_show(&p.b, p.now, &p.to_a), CV_ERR_INVALID);
        teardown();
    }
}

/* Two persons let it in at the same moment. */
TEST(of_two_grants_that_cross_the_lower_one_counts)
{
    static const struct {
        enum cv_role here, elsewhere;
        unsigned taken;
    } cases[] = {
        {CV_ROLE_EDITOR, CV_ROLE_EDITOR, 0},
        {CV_ROLE_EDITOR, CV_ROLE_VIEWER, 0},
        {CV_ROLE_VIEWER, CV_ROLE_EDITOR, 2},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kit_init(&p.kit);
        setup(&p.kit.host, &p.kit.guest);
        start();
        run();
        let_in_elsewhere(cases[i].elsewhere);
        CHECK_EQ(
            cv_admission_accept(&p.a, cases[i].here, p.unix_s, p.now, &p.to_b),
            CV_OK);
        CHECK_EQ(cv_admission_show(&p.b, p.now, &p.to_a), CV_OK);
        run();
        CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
        CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
        CHECK_EQ(p.a.peer_role, cases[i].here);
        CHECK_EQ(p.b.given.n, cases[i].taken);
        teardown();
    }
}

TEST(a_false_grant_does_not_answer_the_question)
{
    for (unsigned accepted = 0; accepted < 2; accepted++) {
        kit_init(&p.kit);
        setup(&p.kit.host, &p.kit.guest);
        start();
        run();
        if (accepted)
            CHECK_EQ(cv_admission_accept(&p.a, CV_ROLE_VIEWER, p.unix_s, p.now,
                                         &p.to_b),
                     CV_OK);
        say_grant(&p.to_a, &p.kit.editor.grants); /* not of the guest */
        CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
        CHECK_EQ(p.a.refusal, CV_REFUSAL_GRANT);
        teardown();
    }
}

TEST(a_grant_of_a_member_does_not_let_us_in)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    say_grant(&p.to_b, &p.kit.host.grants);
    CHECK_EQ(p.b.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.b.refusal, CV_REFUSAL_GRANT);
    teardown();
}

TEST(messages_out_of_turn_end_it)
{
    static const enum cv_control_type early[] = {
        CV_CONTROL_PENDING,     CV_CONTROL_ASK,       CV_CONTROL_GRANT,
        CV_CONTROL_READY,       CV_CONTROL_BYE,       CV_CONTROL_NAME,
        CV_CONTROL_MEMBER_LIST, CV_CONTROL_FILE_LIST,
    };

    kit_init(&p.kit);
    for (unsigned i = 0; i < sizeof early / sizeof early[0]; i++) {
        struct cv_control c;

        setup(&p.kit.host, &p.kit.guest);
        start();
        cv_writer_reset(&p.to_a);
        memset(&c, 0, sizeof c);
        c.type = early[i];
        CHECK_EQ(cv_control_put(&p.to_a, &c), CV_OK);
        run();
        CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
        CHECK_EQ(p.a.refusal, CV_REFUSAL_PROTOCOL);
        teardown();
    }
}

TEST(a_newcomer_cannot_call_itself_ready)
{
    struct cv_control c;

    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    run();
    memset(&c, 0, sizeof c);
    c.type = CV_CONTROL_READY;
    CHECK_EQ(cv_control_put(&p.to_a, &c), CV_OK);
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_ASKED);
    CHECK_EQ(p.a.peer_role, CV_ROLE_NONE);
    teardown();
}

/* What a knows of b from b's record lets it say READY with its hello. */
static bool one_flight(void)
{
    p.ca.vouched = false;
    p.cb.vouched = true;
    start();
    return deliver(&p.to_a, &p.a, &p.to_b);
}

TEST(who_is_vouched_for_makes_the_other_a_member_in_one_flight)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    p.ca.open = true;
    p.ca.offer = CV_ROLE_EDITOR;
    CHECK(one_flight());
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER);
    CHECK_EQ(p.a.peer_role, CV_ROLE_EDITOR);
    /* We are none before their hello, grant and ready have come. */
    CHECK_EQ(p.b.state, CV_ADMISSION_HELLO);
    CHECK(deliver(&p.to_b, &p.b, &p.to_a));
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    teardown();
}

TEST(who_calls_itself_ready_still_waits_for_a_person)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    CHECK(one_flight());
    CHECK_EQ(p.a.state, CV_ADMISSION_ASKED);
    CHECK_EQ(p.a.peer_role, CV_ROLE_NONE);
    CHECK(deliver(&p.to_b, &p.b, &p.to_a));
    CHECK_EQ(p.b.state, CV_ADMISSION_WAITING);
    CHECK_EQ(
        cv_admission_accept(&p.a, CV_ROLE_VIEWER, KIT_UNIX, p.now, &p.to_b),
        CV_OK);
    CHECK_EQ(p.a.state, CV_ADMISSION_MEMBER); /* it has verified us before */
    CHECK(deliver(&p.to_b, &p.b, &p.to_a));
    CHECK_EQ(p.b.state, CV_ADMISSION_MEMBER);
    teardown();
}

TEST(ready_without_a_hello_ends_it)
{
    struct cv_control c = {.type = CV_CONTROL_READY};

    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.editor);
    start();
    cv_writer_reset(&p.to_a);
    CHECK_EQ(cv_control_put(&p.to_a, &c), CV_OK);
    run();
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, CV_REFUSAL_PROTOCOL);
    teardown();
}

TEST(silence_ends_it)
{
    kit_init(&p.kit);
    setup(&p.kit.host, &p.kit.guest);
    start();
    p.now += CV_ADMISSION_STEP;
    CHECK_EQ(cv_admission_step(&p.a, p.now, &p.to_b), CV_OK);
    CHECK_EQ(p.a.state, CV_ADMISSION_CLOSED);
    CHECK_EQ(p.a.refusal, CV_REFUSAL_TIMEOUT);
    CHECK_EQ(p.a.deadline, CV_NEVER);
    teardown();
}

TEST(random_bytes_never_admit)
{
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 99);
    uint8_t junk[64];

    kit_init(&p.kit);
    for (unsigned i = 0; i < 2000; i++) {
        size_t len = 1 + cv_random_u64(&rng) % sizeof junk;

        setup(&p.kit.host, &p.kit.guest);
        start();
        cv_random(&rng, junk, sizeof junk);
        junk[0] %= 20;
        CHECK_EQ(cv_admission_message(&p.a, (struct cv_bytes){junk, len}, p.now,
                                      p.unix_s, &p.to_b),
                 CV_OK);
        CHECK(p.a.state == CV_ADMISSION_HELLO ||
              p.a.state == CV_ADMISSION_CLOSED);
        CHECK_EQ(p.a.peer_role, CV_ROLE_NONE);
        teardown();
    }
}

RUN_TESTS(T(two_with_grants_are_members_at_once),
          T(a_newcomer_waits_for_a_person_and_is_let_in),
          T(a_no_of_a_person_reaches_the_newcomer_with_its_reason),
          T(an_unanswered_knock_lapses_and_is_repeated_for_five_minutes),
          T(a_lapsed_knock_can_still_be_accepted),
          T(open_sessions_let_in_with_at_most_the_role_wanted),
          T(who_has_no_room_lets_in_and_parts),
          T(a_member_is_not_taken_where_there_is_no_room),
          T(our_own_identity_is_let_in_without_asking),
          T(who_may_not_admit_names_somebody_who_may),
          T(an_editor_cannot_hand_out_grants), T(two_strangers_part),
          T(a_certificate_of_another_node_is_refused),
          T(an_expired_certificate_is_refused),
          T(who_does_not_know_the_session_is_refused),
          T(a_hello_of_another_connection_is_refused),
          T(our_own_hello_sent_back_is_refused),
          T(an_identity_that_differs_from_the_record_is_refused),
          T(a_grant_of_another_session_is_refused),
          T(a_grant_of_somebody_else_is_refused),
          T(a_role_that_was_raised_by_hand_is_refused),
          T(another_version_is_refused),
          T(an_expired_grant_counts_as_none_and_the_host_is_asked),
          T(a_host_without_a_grant_of_the_session_gets_nothing_but_hello),
          T(a_grant_that_is_not_for_us_is_refused),
          T(who_was_let_in_elsewhere_takes_its_question_back),
          T(of_two_grants_that_cross_the_lower_one_counts),
          T(a_false_grant_does_not_answer_the_question),
          T(a_grant_of_a_member_does_not_let_us_in),
          T(messages_out_of_turn_end_it),
          T(a_newcomer_cannot_call_itself_ready),
          T(who_is_vouched_for_makes_the_other_a_member_in_one_flight),
          T(who_calls_itself_ready_still_waits_for_a_person),
          T(ready_without_a_hello_ends_it), T(silence_ends_it),
          T(random_bytes_never_admit))
