/* Whole sessions: real meetings, documents and journals, over a network and a
 * DHT in memory. */
#include "people.h"

#include "fake_net.h"
#include "session/document_impl.h"
#include "session/node.h"

static struct cv_loop *loop;
static struct person ann, bob, cy;

static void setup(void)
{
    if (loop != NULL) { /* a test before has failed */
        person_crash(&ann);
        person_crash(&bob);
        person_crash(&cy);
        memset(&ann, 0, sizeof ann);
        memset(&bob, 0, sizeof bob);
        memset(&cy, 0, sizeof cy);
        fake_reset();
        cv_loop_free(loop);
    }
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    fake_use_loop(loop);
    person_start(&ann, loop, "Ann", NULL);
    person_start(&bob, loop, "Bob", NULL);
}

static void end_all(void)
{
    person_end(&ann);
    person_end(&bob);
    if (cy.node != NULL)
        person_end(&cy);
    fake_run();
    REQUIRE(fake_living() == 0);
    fake_use_loop(NULL);
    fake_reset();
    cv_loop_free(loop);
    loop = NULL;
}

/* Ann shares, Bob joins and is let in with `role`. */
static struct cv_keytext pair(const char *text, enum cv_role role)
{
    struct cv_keytext key = person_share(&ann, text, CV_ADMIT_ASK, role);

    REQUIRE(person_join(&bob, &key) == CV_OK);
    UNTIL(loop, 10, ann.knocks == 1);
    REQUIRE(cv_session_accept(ann.session, ann.knock.id, role) == CV_OK);
    UNTIL(loop, 10, person_has(&bob, text));
    UNTIL(loop, 10,
          ann.state == CV_SESSION_DIRECT && bob.state == CV_SESSION_DIRECT);
    return key;
}

static bool wire_has(const void *what, size_t len)
{
    struct cv_bytes log = fake_log();

    return log.len >= len && memmem(log.data, log.len, what, len) != NULL;
}

TEST(a_joiner_is_let_in_and_both_edit)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "hello\n", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    CHECK(cv_session_is_mine(ann.session));
    CHECK_EQ(cv_session_role(ann.session), CV_ROLE_HOST);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, ann.knocks == 1);
    CHECK_STR(ann.knock.name, "Bob");
    CHECK_EQ(ann.knock.wants, CV_ROLE_EDITOR);
    UNTIL(loop, 10, bob.state == CV_SESSION_WAITING);
    CHECK_STR(bob.stage, "Waiting for Ann to let you in");
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id + 1, CV_ROLE_EDITOR),
             CV_ERR_NOTFOUND);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 10, person_has(&bob, "hello\n"));
    CHECK_EQ(bob.role, CV_ROLE_EDITOR);
    UNTIL(loop, 10,
          ann.state == CV_SESSION_DIRECT && bob.state == CV_SESSION_DIRECT);
    CHECK_EQ(ann.gone, 1);
    CHECK_EQ(person_type(&bob, 5, " there"), CV_OK);
    UNTIL(loop, 10, person_has(&ann, "hello there\n"));
    CHECK_EQ(person_type(&ann, 0, "oh, "), CV_OK);
    UNTIL(loop, 10, person_has(&bob, "oh, hello there\n"));
    UNTIL(loop, 10, bob.kept == 1 && bob.shared == 1);
    UNTIL(loop, 10, ann.kept == 1 && ann.shared == 1);
    end_all();
}

/* Between some NATs strangers get no path: Ann is asked for Bob's knock, and
 * once is enough. */
TEST(who_can_be_reached_only_when_trusted_is_asked_about_at_the_knock)
{
    struct cv_keytext key;

    setup();
    fake_hard_nat(&bob.node->key.pub);
    key = person_share(&ann, "hello\n", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, ann.knocks == 1);
    CHECK_STR(ann.knock.name, "Bob");
    CHECK(bob.document == NULL);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 20, person_has(&bob, "hello\n"));
    CHECK_EQ(bob.role, CV_ROLE_EDITOR);
    CHECK_EQ(ann.knocks, 1);
    CHECK_EQ(ann.gone, 1);
    end_all();
}

/* Ann's NAT forgets just before Bob knocks: she tells him where she is not, and
 * then, as soon as she notices, where she is. */
TEST(an_answer_that_has_become_wrong_is_made_good)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "hello\n", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    fake_forget(&ann.node->key.pub);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, fake_is_called(&ann.node->key.pub));
    CHECK(bob.document == NULL);
    fake_notice(&ann.node->key.pub);
    UNTIL(loop, 5, person_has(&bob, "hello\n"));
    end_all();
}

/* An attempt is given up after 30 s; nobody who waits for a text does that. */
TEST(who_knocked_where_the_inbox_was_knocks_where_it_is)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "hello\n", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    UNTIL(loop, 10, ann.seen[CV_SESSION_ALONE]);
    fake_fill(ann.node->dht);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, fake_refused() > 0);
    CHECK(!fake_is_called(&ann.node->key.pub));
    fake_hear_junk();
    UNTIL(loop, 5, person_has(&bob, "hello\n"));
    end_all();
}

TEST(who_is_sent_away_at_the_knock_is_not_asked_about_again)
{
    struct cv_keytext key;

    setup();
    fake_hard_nat(&bob.node->key.pub);
    key = person_share(&ann, "hello\n", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, ann.knocks == 1);
    CHECK_EQ(cv_session_reject(ann.session, ann.knock.id, ""), CV_OK);
    CHECK_EQ(ann.gone, 1);
    UNTIL(loop, 10, bob.state == CV_SESSION_FINDING);
    CHECK_EQ(ann.knocks, 1);
    CHECK(bob.document == NULL);
    end_all();
}

TEST(before_consent_nothing_of_the_session_travels)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "the secret text", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, bob.state == CV_SESSION_WAITING);
    CHECK(wire_has("Bob", 3)); /* hello did */
    CHECK(!wire_has("the secret text", 15));
    CHECK(!wire_has("notes.txt", 9));
    CHECK(!wire_has(key.key.b, CV_KEY_LEN)); /* nor does S, in hello */
    CHECK_EQ(bob.members_in, 0);
    CHECK(bob.document == NULL);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 10, person_has(&bob, "the secret text"));
    CHECK(wire_has("the secret text", 15));
    end_all();
}

TEST(a_no_ends_the_joining)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "x", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, ann.knocks == 1);
    CHECK_EQ(cv_session_reject(ann.session, ann.knock.id, "not now"), CV_OK);
    UNTIL(loop, 10, bob.state == CV_SESSION_ENDED);
    CHECK_STR(bob.stage, "Ann did not let you in: not now");
    CHECK_EQ(ann.gone, 1);
    CHECK(bob.document == NULL);
    end_all();
}

TEST(who_was_sent_away_cannot_ask_again_at_once)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "x", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, ann.knocks == 1);
    CHECK_EQ(cv_session_reject(ann.session, ann.knock.id, "no"), CV_OK);
    UNTIL(loop, 10, bob.state == CV_SESSION_ENDED);
    cv_session_leave(bob.session, on_left, &bob);
    UNTIL(loop, 5, bob.left);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10,
          strstr(bob.stage, "a host must") != NULL ||
              strstr(bob.stage, "nobody who may") != NULL);
    CHECK_EQ(ann.knocks, 1);
    end_all();
}

TEST(without_a_network_it_is_said_and_tried_again)
{
    struct cv_keytext key;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    fake_use_loop(loop);
    fake_no_network(true);
    person_start(&ann, loop, "Ann", NULL);
    person_start(&bob, loop, "Bob", NULL);
    key = person_share(&ann, "x", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 5, strstr(ann.hint, "no usable network") != NULL);
    UNTIL(loop, 5, strstr(bob.hint, "no usable network") != NULL);
    CHECK_EQ(person_type(&ann, 1, "y"), CV_OK); /* one can work on */
    fake_no_network(false);
    UNTIL(loop, 15, person_has(&bob, "xy"));
    UNTIL(loop, 5, ann.hint[0] == '\0');
    end_all();
}

TEST(a_journal_that_cannot_be_written_refuses_the_share)
{
    struct cv_share_options o = {
        .meta = {.path = "x", .ff = "unix"},
        .text = CV_BYTES("x", 1),
        .role = CV_ROLE_EDITOR,
    };
    char why[256], path[128];
    FILE *f;

    setup();
    (void)snprintf(path, sizeof path, "%s/sessions", ann.dir);
    f = fopen(path, "w");
    CHECK(f != NULL);
    (void)fclose(f);
    CHECK(cv_session_share(&ann.session, ann.node, &o, &session_events, &ann,
                           why, sizeof why) != CV_OK);
    CHECK(why[0] != '\0');
    end_all();
}

TEST(an_open_session_asks_nobody)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "open", CV_ADMIT_OPEN, CV_ROLE_VIEWER);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 10, person_has(&bob, "open"));
    CHECK_EQ(ann.knocks, 0);
    CHECK_EQ(cv_session_role(bob.session), CV_ROLE_VIEWER);
    end_all();
}

TEST(a_viewer_reads_and_cannot_write)
{
    setup();
    (void)pair("read me", CV_ROLE_VIEWER);
    CHECK_EQ(person_type(&bob, 0, "x"), CV_ERR_DENIED);
    CHECK_EQ(person_type(&ann, 0, "please "), CV_OK);
    UNTIL(loop, 10, person_has(&bob, "please read me"));
    end_all();
}

/* Viewers pass nothing on: connections among them serve nobody, and must not
 * keep one from who does. */
TEST(many_viewers_find_the_host_that_comes_back)
{
    static struct person viewers[24];
    const unsigned n = sizeof viewers / sizeof viewers[0];
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "read me", CV_ADMIT_OPEN, CV_ROLE_VIEWER);
    for (unsigned i = 0; i < n; i++) {
        person_start(&viewers[i], loop, "Viewer", NULL);
        REQUIRE(person_join(&viewers[i], &key) == CV_OK);
    }
    UNTIL(loop, 60, people_have(viewers, n, "read me") == n);
    person_crash(&ann);
    UNTIL(loop, 20, viewers[0].members_out > 0);
    person_start(&ann, loop, "Ann", NULL);
    CHECK_EQ(person_resume(&ann, &key), CV_OK);
    CHECK_EQ(person_type(&ann, 0, "please "), CV_OK);
    UNTIL(loop, 60, people_have(viewers, n, "please read me") == n);
    for (unsigned i = 0; i < n; i++)
        person_end(&viewers[i]);
    end_all();
}

TEST(what_a_viewer_writes_all_the_same_is_refused_by_the_receiver)
{
    setup();
    (void)pair("read me", CV_ROLE_VIEWER);
    cv_document_set_role(bob.document, CV_ROLE_EDITOR); /* a changed program */
    CHECK_EQ(person_type(&bob, 0, "graffiti "), CV_OK);
    UNTIL(loop, 10, ann.node->counters.writes_refused == 1);
    CHECK(person_has(&ann, "read me"));
    CHECK_EQ(ann.node->counters.violations, 1);
    UNTIL(loop, 10, ann.members_out == 1);
    end_all();
}

TEST(a_stored_grant_asks_nobody_again)
{
    struct cv_keytext key;

    setup();
    key = pair("again", CV_ROLE_EDITOR);
    cv_session_leave(bob.session, on_left, &bob);
    UNTIL(loop, 5, bob.left);
    UNTIL(loop, 5, ann.state == CV_SESSION_ALONE);
    CHECK_EQ(ann.members_out, 1);
    CHECK_EQ(person_type(&ann, 5, " and again"), CV_OK);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 15, person_has(&bob, "again and again"));
    CHECK_EQ(ann.knocks, 1);
    end_all();
}

TEST(our_own_second_agent_joins_without_asking)
{
    struct cv_keytext key;

    setup();
    key = person_share(&ann, "mine", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    strcpy(cy.dir, ann.dir);
    cy.keep_dir = true;
    person_start(&cy, loop, "Ann too", NULL);
    CHECK(cv_key_equal(cv_node_identity(cy.node), cv_node_identity(ann.node)));
    CHECK_EQ(person_resume(&cy, &key), CV_ERR_BUSY);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 10, person_has(&cy, "mine"));
    CHECK_EQ(ann.knocks, 0);
    CHECK_EQ(cv_session_role(cy.session), CV_ROLE_HOST);
    CHECK_EQ(person_type(&cy, 4, "!"), CV_OK);
    UNTIL(loop, 10, person_has(&ann, "mine!"));
    end_all();
}

TEST(three_are_in_step_and_the_session_outlives_its_starter)
{
    struct cv_keytext key;

    setup();
    key = pair("one ", CV_ROLE_EDITOR);
    person_start(&cy, loop, "Cy", NULL);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 15, ann.knocks == 2);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 15, person_has(&cy, "one "));
    CHECK_EQ(person_type(&cy, 4, "two "), CV_OK);
    UNTIL(loop, 15, person_has(&bob, "one two "));
    UNTIL(loop, 15, cy.members_in >= 2); /* Bob and Cy find each other */
    cv_session_leave(ann.session, on_left, &ann);
    UNTIL(loop, 5, ann.left);
    CHECK_EQ(person_type(&bob, 8, "three"), CV_OK);
    UNTIL(loop, 15, person_has(&cy, "one two three"));
    CHECK_EQ(cy.state, CV_SESSION_DIRECT);
    end_all();
}

TEST(who_cannot_be_reached_is_served_through_the_others)
{
    struct cv_keytext key;

    setup();
    key = pair("one ", CV_ROLE_EDITOR);
    person_start(&cy, loop, "Cy", NULL);
    fake_block(&cy.node->key.pub, &bob.node->key.pub);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 15, ann.knocks == 2);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 15, person_has(&cy, "one "));
    CHECK_EQ(person_type(&cy, 4, "two "), CV_OK);
    UNTIL(loop, 15, person_has(&bob, "one two "));
    CHECK_EQ(person_type(&bob, 8, "three"), CV_OK);
    UNTIL(loop, 15, person_has(&cy, "one two three"));
    CHECK_EQ(cy.members_in, 1);
    end_all();
}

TEST(a_lost_connection_is_made_again_and_edits_merge)
{
    setup();
    (void)pair("base", CV_ROLE_EDITOR);
    fake_unplug(&bob.node->key.pub, false);
    UNTIL(loop, 5,
          ann.state == CV_SESSION_OFFLINE && bob.state == CV_SESSION_OFFLINE);
    CHECK_EQ(person_type(&ann, 0, "A"), CV_OK);
    CHECK_EQ(person_type(&bob, 4, "B"), CV_OK);
    fake_unplug(&bob.node->key.pub, true);
    UNTIL(loop, 40, person_has(&ann, "AbaseB") && person_has(&bob, "AbaseB"));
    UNTIL(loop, 5,
          ann.state == CV_SESSION_DIRECT && bob.state == CV_SESSION_DIRECT);
    CHECK_EQ(ann.knocks, 1);
    end_all();
}

TEST(both_come_back_after_a_crash_and_nothing_is_lost)
{
    struct cv_keytext key;

    setup();
    key = pair("kept", CV_ROLE_EDITOR);
    CHECK_EQ(person_type(&bob, 4, " bob"), CV_OK);
    UNTIL(loop, 5, person_has(&ann, "kept bob"));
    person_crash(&bob);
    UNTIL(loop, 5, ann.state == CV_SESSION_OFFLINE);
    CHECK_EQ(person_type(&ann, 8, " ann"), CV_OK);
    person_crash(&ann);
    person_start(&ann, loop, "Ann", NULL);
    CHECK_EQ(person_resume(&ann, &key), CV_OK);
    CHECK(person_has(&ann, "kept bob ann")); /* at once */
    CHECK(cv_session_is_mine(ann.session));
    person_start(&bob, loop, "Bob", NULL);
    CHECK_EQ(person_resume(&bob, &key), CV_OK);
    CHECK(person_has(&bob, "kept bob"));
    UNTIL(loop, 20, person_has(&bob, "kept bob ann"));
    CHECK_EQ(ann.knocks, 1); /* the first time only */
    end_all();
}

TEST(leaving_sends_the_last_edit_and_takes_the_cursor_away)
{
    const struct cv_presence_range r = {1, 1};

    setup();
    (void)pair("text", CV_ROLE_EDITOR);
    cv_document_set_cursor(bob.document, 1, &r, "n");
    UNTIL(loop, 5, ann.presence > 0);
    CHECK_EQ(person_type(&bob, 4, " end"), CV_OK);
    cv_session_leave(bob.session, on_left, &bob);
    UNTIL(loop, 5, bob.left);
    UNTIL(loop, 1, ann.state == CV_SESSION_ALONE);
    CHECK(person_has(&ann, "text end"));
    CHECK(strstr(ann.stage, "Everybody has left") != NULL);
    end_all();
}

TEST(an_editor_cannot_let_others_in_but_says_who_can)
{
    struct cv_keytext key;

    setup();
    key = pair("x", CV_ROLE_EDITOR);
    CHECK_EQ(cv_session_accept(bob.session, 1, CV_ROLE_EDITOR),
             CV_ERR_NOTFOUND);
    /* Ann is gone; only Bob is there when Cy comes. */
    person_crash(&ann);
    UNTIL(loop, 5, bob.state == CV_SESSION_OFFLINE);
    person_start(&cy, loop, "Cy", NULL);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 20,
          strstr(cy.stage, "nobody who may let you in") != NULL ||
              cy.state == CV_SESSION_CONTACTING);
    CHECK_EQ(bob.knocks, 0);
    CHECK(cy.document == NULL);
    person_start(&ann, loop, "Ann", NULL);
    CHECK_EQ(person_resume(&ann, &key), CV_OK);
    UNTIL(loop, 60, ann.knocks == 2);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 10, person_has(&cy, "x"));
    end_all();
}

TEST(a_second_host_lets_others_in_when_the_first_is_gone)
{
    struct cv_keytext key;

    setup();
    key = pair("x", CV_ROLE_HOST);
    CHECK_EQ(cv_session_role(bob.session), CV_ROLE_HOST);
    CHECK(!cv_session_is_mine(bob.session));
    person_crash(&ann);
    UNTIL(loop, 5, bob.state == CV_SESSION_OFFLINE);
    person_start(&cy, loop, "Cy", NULL);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 20, bob.knocks == 1);
    CHECK_EQ(cv_session_accept(bob.session, bob.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 10, person_has(&cy, "x"));
    /* And the first host takes the grant of the second for good. */
    person_start(&ann, loop, "Ann", NULL);
    CHECK_EQ(person_resume(&ann, &key), CV_OK);
    CHECK_EQ(person_type(&cy, 1, "y"), CV_OK);
    UNTIL(loop, 20, person_has(&ann, "xy"));
    UNTIL(loop, 20, ann.members_in >= 2);
    CHECK_EQ(ann.knocks, 1);
    end_all();
}

TEST(names_change_for_the_others)
{
    struct cv_member found;

    setup();
    (void)pair("x", CV_ROLE_EDITOR);
    cv_node_set_name(bob.node, "Robert\x1b[31m");
    for (unsigned i = 0; i < 20; i++)
        cv_loop_once(loop, cv_loop_now(loop) + 10 * CV_MILLISECOND);
    memset(&found, 0, sizeof found);
    UNTIL(loop, 5, ann.members_in == 2); /* joined, changed */
    CHECK_STR(cv_node_name(bob.node), "Robert[31m");
    end_all();
}

static void count_stored(void *user, const struct cv_stored *s)
{
    unsigned *n = user;

    if (strcmp(s->path, "notes.txt") == 0 && s->role == CV_ROLE_HOST && s->mine)
        *n += 1;
    if (strcmp(s->path, "notes.txt") == 0 && s->role == CV_ROLE_EDITOR &&
        !s->mine)
        *n += 100;
    REQUIRE(s->used > cv_unix_now() - 60000 && s->used <= cv_unix_now());
}

TEST(what_is_stored_is_listed)
{
    unsigned n = 0;
    struct cv_keytext key;
    char text[2048];

    setup();
    key = pair("x", CV_ROLE_EDITOR);
    UNTIL(loop, 5,
          (n = 0, cv_node_stored(ann.node, count_stored, &n),
           cv_node_stored(bob.node, count_stored, &n), n == 101));
    cv_session_describe(ann.session, text, sizeof text);
    CHECK(strstr(text, "state: direct") != NULL);
    CHECK(strstr(text, "connected members: 1") != NULL);
    memset(key.key.b, 1, CV_KEY_LEN);
    CHECK_EQ(person_resume(&bob, &key), CV_ERR_NOTFOUND);
    end_all();
}

struct listed {
    unsigned n;
    struct cv_key session[CV_STORED_MAX];
    cv_unix_ms used[CV_STORED_MAX];
};

static void note_stored(void *user, const struct cv_stored *s)
{
    struct listed *l = user;

    REQUIRE(l->n < CV_STORED_MAX);
    l->session[l->n] = s->session;
    l->used[l->n++] = s->used;
}

static const struct listed *list_stored(void)
{
    static struct listed l;

    l.n = 0;
    cv_node_stored(ann.node, note_stored, &l);
    return &l;
}

static void leave_as(struct person *p)
{
    p->left = false;
    cv_session_leave(p->session, on_left, p);
    UNTIL(loop, 5, p->left);
}

TEST(the_session_used_last_is_listed_first)
{
    struct cv_keytext key[3];
    const struct listed *l;

    setup();
    person_start(&ann, loop, "Ann", NULL);
    for (unsigned i = 0; i < 3; i++) {
        key[i] = person_share(&ann, "x", CV_ADMIT_ASK, CV_ROLE_EDITOR);
        leave_as(&ann);
    }
    CHECK_EQ(person_join(&ann, &key[1]), CV_OK);
    leave_as(&ann);
    l = list_stored();
    CHECK_EQ(l->n, 3);
    CHECK(cv_key_equal(&l->session[0], &key[1].key));
    CHECK(cv_key_equal(&l->session[1], &key[2].key));
    CHECK(cv_key_equal(&l->session[2], &key[0].key));
    CHECK(l->used[0] > l->used[1] && l->used[1] > l->used[2]);
    end_all();
}

/* So many as somebody has after years. */
TEST(of_too_many_sessions_the_oldest_are_not_listed)
{
    const struct listed *l;
    cv_unix_ms began;

    setup();
    person_start(&ann, loop, "Ann", NULL);
    for (unsigned i = 0; i < 5; i++) {
        (void)person_share(&ann, "x", CV_ADMIT_ASK, CV_ROLE_EDITOR);
        leave_as(&ann);
    }
    began = cv_unix_now();
    for (unsigned i = 0; i < CV_STORED_MAX; i++) {
        (void)person_share(&ann, "x", CV_ADMIT_ASK, CV_ROLE_EDITOR);
        person_crash(&ann); /* quicker than leaving */
        person_start(&ann, loop, "Ann", NULL);
    }
    l = list_stored();
    CHECK_EQ(l->n, CV_STORED_MAX);
    CHECK(l->used[CV_STORED_MAX - 1] >= began);
    end_all();
}

TEST(texts_that_cannot_be_shared_are_refused)
{
    struct cv_share_options o = {
        .meta = {.path = "../../etc/passwd", .ff = "unix"},
        .text = CV_BYTES("bad\xff", 4),
        .role = CV_ROLE_EDITOR,
    };
    char why[256];

    setup();
    CHECK_EQ(cv_session_share(&ann.session, ann.node, &o, &session_events, &ann,
                              why, sizeof why),
             CV_ERR_FORMAT);
    CHECK(why[0] != '\0');
    o.text.len = 3;
    CHECK_EQ(cv_session_share(&ann.session, ann.node, &o, &session_events, &ann,
                              why, sizeof why),
             CV_OK);
    CHECK_STR(cv_document_meta(cv_session_document(ann.session))->path,
              "passwd");
    end_all();
}

RUN_TESTS(T(a_joiner_is_let_in_and_both_edit),
          T(who_can_be_reached_only_when_trusted_is_asked_about_at_the_knock),
          T(an_answer_that_has_become_wrong_is_made_good),
          T(who_knocked_where_the_inbox_was_knocks_where_it_is),
          T(who_is_sent_away_at_the_knock_is_not_asked_about_again),
          T(before_consent_nothing_of_the_session_travels),
          T(who_was_sent_away_cannot_ask_again_at_once),
          T(without_a_network_it_is_said_and_tried_again),
          T(a_journal_that_cannot_be_written_refuses_the_share),
          T(a_no_ends_the_joining), T(an_open_session_asks_nobody),
          T(a_viewer_reads_and_cannot_write),
          T(many_viewers_find_the_host_that_comes_back),
          T(what_a_viewer_writes_all_the_same_is_refused_by_the_receiver),
          T(a_stored_grant_asks_nobody_again),
          T(our_own_second_agent_joins_without_asking),
          T(three_are_in_step_and_the_session_outlives_its_starter),
          T(who_cannot_be_reached_is_served_through_the_others),
          T(a_lost_connection_is_made_again_and_edits_merge),
          T(both_come_back_after_a_crash_and_nothing_is_lost),
          T(leaving_sends_the_last_edit_and_takes_the_cursor_away),
          T(an_editor_cannot_let_others_in_but_says_who_can),
          T(a_second_host_lets_others_in_when_the_first_is_gone),
          T(names_change_for_the_others), T(what_is_stored_is_listed),
          T(the_session_used_last_is_listed_first),
          T(of_too_many_sessions_the_oldest_are_not_listed),
          T(texts_that_cannot_be_shared_are_refused))
